//! Runs of words found and not found; the rules are those of datatrove's example in `n_grams.py`.

use super::*;
use crate::filter::FilterRecipe;
use crate::recipe::profiles::parse_filters;

fn parse(settings: &str) -> Result<Decontaminate, RecipeError> {
    let toml = format!("[[filters]]\nname = \"decontaminate\"\n{settings}");
    match parse_filters(&toml)?.pop() {
        Some(FilterRecipe::Decontaminate(filter)) => Ok(filter),
        other => panic!("{other:?}"),
    }
}

fn filter(settings: &str, file: &str) -> Decontaminate {
    let settings = format!("words = \"whitespace\"\n{settings}");
    let mut filter = parse(&settings).unwrap();
    filter.load(&|_| Ok(file.as_bytes().to_vec())).unwrap();
    filter
}

#[track_caller]
fn check(filter: &Decontaminate, text: &str, is_dropped: bool) {
    let document = Document {
        text: text.to_owned(),
        ..Document::default()
    };
    for mut metrics in [Metrics::off(), Metrics::on()] {
        let outcome = filter.apply(&document, &mut Scratch::default(), &mut metrics);
        let dropped = Outcome::Drop(Reason::named("contaminated"));
        let expected = if is_dropped { dropped } else { Outcome::Keep };
        assert_eq!(outcome, expected, "{text}");
    }
}

const EXAMPLE: &str = r#"{"query": "A, B; C d. E!", "text": "F g H i J"}"#;

#[test]
fn runs_are_looked_for_as_datatrove_does() {
    let settings = "files = [\"e.jsonl\"]\nn_grams = 4";
    let of_answers = filter(&format!("{settings}\nfind_overlap_ngrams = false"), EXAMPLE);
    let default = filter(settings, EXAMPLE);
    let all = filter(&format!("{settings}\nfind_query_ngrams = true"), EXAMPLE);
    let cases = [
        ("x f g h i x", [true, true, true]),
        ("G H-I... J", [true, true, true]),
        ("c d e f", [false, true, true]),
        ("d e f g", [false, true, true]),
        ("e f g h", [false, true, true]),
        ("a b c d", [false, false, true]),
        ("b c d e", [false, false, true]),
        ("f g h x i j", [false, false, false]),
        ("f g h", [false, false, false]),
        ("", [false, false, false]),
    ];
    for (text, expected) in cases {
        for (filter, expected) in [&of_answers, &default, &all].into_iter().zip(expected) {
            check(filter, text, expected);
        }
    }
}

#[test]
fn short_questions_and_answers_overlap_as_far_as_they_go() {
    let settings = "files = [\"e.jsonl\"]\nn_grams = 4";
    let filter = filter(settings, r#"{"query": "a b", "text": ["c d", "e", 7]}"#);
    check(&filter, "a b c d", true);
    check(&filter, "a b e x", false);
    let filter = self::filter(settings, r#"{"query": "a b c", "text": ["d", 42]}"#);
    check(&filter, "a b c d", true);
    check(&filter, "a b c 99", true);
    let one = self::filter(
        "files = [\"e.jsonl\"]\nn_grams = 1",
        r#"{"query": "a", "text": "b"}"#,
    );
    check(&one, "a", false);
    check(&one, "c b", true);
}

#[test]
fn case_numbers_punctuation_and_accents_do_not_matter() {
    let filter = filter(
        "files = [\"e.txt\"]",
        "one two three four five six seven eight nine t\u{e9}n 11 12.5 times\n\nshort line",
    );
    check(
        &filter,
        "(One) two, three four five six seven eight NINE ten 3 4",
        true,
    );
    check(
        &filter,
        "one two three four five six seven eight nine ten 11",
        false,
    );
    check(&filter, "short line", false);
}

#[test]
fn metrics_name_the_run_its_file_and_line() {
    let filter = filter(
        "files = [\"a.jsonl\"]\nn_grams = 2\ntext_keys = [\"answer\"]\nquery_keys = []",
        "{\"answer\": \"x y\"}\n\n{\"answer\": [\"P q R\"]}\n",
    );
    let document = Document {
        text: "o p q, r s".to_owned(),
        ..Document::default()
    };
    let mut metrics = Metrics::on();
    filter.apply(&document, &mut Scratch::default(), &mut metrics);
    let metrics = metrics.into_map();
    assert_eq!(metrics["contaminated_ngrams"], 2);
    assert_eq!(metrics["contaminated_ngram"], "p q");
    assert_eq!(metrics["contaminated_task"], "a.jsonl");
    assert_eq!(metrics["contaminated_line"], 3);
}

#[test]
fn files_are_lists_of_objects_or_lines() {
    fn answers(path: &str, text: &str) -> Vec<(usize, Vec<String>)> {
        let keys = [String::from("text")];
        let examples = examples::read(path, text.as_bytes(), (&keys, &[])).unwrap();
        examples
            .into_iter()
            .map(|(line, example)| (line, example.answers))
            .collect()
    }
    let expected = [
        (1, vec!["a".to_owned()]),
        (2, vec!["b".to_owned(), "c".to_owned()]),
    ];
    assert_eq!(
        answers("x.json", r#"[{"text": "a"}, {"text": ["b", "c"]}]"#),
        expected
    );
    assert_eq!(
        answers(
            "x.jsonl.gz",
            "{\"text\": \"a\"}\n{\"text\": [\"b\", \"c\"]}"
        ),
        expected
    );
    assert_eq!(answers("x", "{\"text\": 1}")[0].1, ["{\"text\": 1}"]);
}

#[test]
fn broken_files_and_settings_are_refused() {
    let settings = "words = \"uax29\"\nfiles = [\"e.jsonl\"]";
    for (file, expected) in [
        ("{\"text\": \"a\"}\n{\"text\"", "line 2"),
        ("{\"other\": 1}", "keys text"),
        ("3", "an object"),
    ] {
        let mut filter = parse(settings).unwrap();
        let error = filter.load(&|_| Ok(file.as_bytes().to_vec())).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut filter = parse(settings).unwrap();
    assert!(filter.load(&|_| Ok(vec![0xff])).is_err());
    for settings in [
        "files = [\"a\"]",
        "words = \"uax29\"",
        "words = \"uax29\"\nfiles = []",
        "words = \"uax29\"\nfiles = [\"a\"]\nn_grams = 0",
    ] {
        assert!(parse(settings).is_err(), "{settings}");
    }
}

proptest::proptest! {
    #[test]
    fn a_text_with_an_answer_in_it_is_found(
        before in "[a-z ]{0,40}", answer in "[a-z]{1,4}( [a-z]{1,4}){2,9}", after in "[a-z ]{0,40}", other in "\\PC{0,60}"
    ) {
        let filter = filter("files = [\"e\"]\nn_grams = 3", &answer);
        check(&filter, &format!("{before} {answer} {after}"), true);
        let document = Document { text: other, ..Document::default() };
        filter.apply(&document, &mut Scratch::default(), &mut Metrics::on());
    }
}
