//! Line by line. What is expected was written by hand after DCLM's functions; for the lines given to
//! `check`, those functions (commit 15af3ce) were run once in the order of `refinedweb.yaml`, and
//! agree.

use super::*;
use crate::filter::FilterRecipe;
use crate::recipe::profiles::parse_filters;

fn apply(filter: &RefinedwebLines, text: &str) -> Outcome {
    let document = Document {
        text: text.to_owned(),
        ..Document::default()
    };
    let outcome = filter.apply(&document, &mut Scratch::default(), &mut Metrics::off());
    let mut metrics = Metrics::on();
    let measured = filter.apply(&document, &mut Scratch::default(), &mut metrics);
    assert_eq!(outcome, measured);
    outcome
}

/// What stays of `line` between two paragraphs that are long enough to lose a few words.
#[track_caller]
fn check(line: &str, expected: Option<&str>) {
    let long = "the river runs past the old mill and on to the sea ".repeat(30);
    let long = long.trim_end();
    let text = format!("{long}\n{line}\n{long}");
    let expected = match expected {
        Some(kept) if kept == line => Outcome::Keep,
        Some(kept) => Outcome::Rewrite(format!("{long}\n{kept}\n{long}")),
        None => Outcome::Rewrite(format!("{long}\n{long}")),
    };
    assert_eq!(
        apply(&RefinedwebLines::published(), &text),
        expected,
        "{line:?}"
    );
}

#[test]
fn shouting_numbers_and_short_lines_go() {
    check("", Some(""));
    check("two words", Some("two words"));
    check("word", None);
    check("  ", None);
    check("ABC abc", Some("ABC abc"));
    check("ABCD ab", None);
    check("123 456", Some("123 456"));
    check("A1 B2 C", Some("A1 B2 C"));
    check("AB CD E", None);
    check("\u{c9}\u{c9}\u{c9} \u{e9}", None);
    check("12345", None);
    check("\u{b2}\u{2460}", None);
}

#[test]
fn counters_go() {
    for line in [
        "3 likes",
        "1,203 Likes!",
        " * 3.5K \u{a0} views (",
        "7.. m followers",
        "2B\tshares",
        "\u{663} comments",
        "5\u{212a} bookmar\u{212a}s",
    ] {
        let kept = matches!(line, "7.. m followers").then_some(line);
        check(line, kept);
    }
    for line in [
        "3 likes it",
        "likes 3 quotes",
        "3likes them",
        "a 3 likes",
        "3 k likes",
        "_3 likes",
        "3 like us",
        "3 \u{130}views x",
        "\u{b2}3 likes",
    ] {
        check(line, Some(line));
    }
}

#[test]
fn phrases_are_cut_out_of_short_lines() {
    check("3 items in cart", Some("3"));
    check(
        "3  Items In Cart and 4 items in cart, ok",
        Some("3  and 4, ok"),
    );
    check("items in cart", None);
    check("items in cart items in cart", None);
    check("\u{131}tem\u{17f} in cart here now", Some(" here now"));
    check("and so on Read more...", Some("and so on"));
    check("and so on read moreabc", Some("and so on"));
    check("and so on read more..", Some("and so on read more.."));
    check("and so on read more...!", Some("and so on read more...!"));
    check("Sign-in now please", Some("now please"));
    check("sign-in", None);
    check("please Sign-in now", Some("please Sign-in now"));
    let long = "one two three four five six seven eight nine items in cart";
    check(long, Some(long));
}

#[test]
fn a_document_may_lose_one_word_in_twenty() {
    let filter = RefinedwebLines::published();
    let text = |words: usize| "word ".repeat(words) + "\nmenu";
    let kept = Outcome::Rewrite("word ".repeat(19).trim_end().to_owned());
    assert_eq!(apply(&filter, &text(19)), kept);
    let dropped = Outcome::Drop(Reason::measured("too_many_words_removed", 1.0 / 19.0, 0.05));
    assert_eq!(apply(&filter, &text(18)), dropped);
    // A word that starts with a mark is none.
    let text = "word ".repeat(10) + "\n-- \u{e9}t\u{e9}";
    assert!(matches!(apply(&filter, &text), Outcome::Keep));
    let text = "word ".repeat(10) + "\n(menu)";
    assert!(matches!(apply(&filter, &text), Outcome::Rewrite(_)));
}

#[test]
fn a_document_without_lines_or_words_goes() {
    let filter = RefinedwebLines::published();
    for text in ["", " \n ", "MENU\nHOME", "a\n\n\nb"] {
        let dropped = Outcome::Drop(Reason::named("no_lines_left"));
        assert_eq!(apply(&filter, text), dropped, "{text:?}");
    }
    let dropped = Outcome::Drop(Reason::named("no_words"));
    assert_eq!(apply(&filter, "-- --"), dropped);
}

#[test]
fn rules_can_be_turned_off() {
    let toml = "[[filters]]\nname = \"refinedweb-lines\"\nmax_uppercase_ratio = 0\n\
        max_numeric_ratio = 0\nremove_counters = false\nmin_line_words = 0\nphrases = []\n\
        suffix_phrases = []\nprefix_phrases = []\nmax_removed_ratio = 0\nmax_consecutive_newlines = 2";
    let Some(FilterRecipe::RefinedwebLines(filter)) = parse_filters(toml).unwrap().pop() else {
        panic!("{toml}")
    };
    let text = "MENU\n123\n\n3 likes\nitems in cart";
    assert_eq!(apply(&filter, text), Outcome::Keep);
    let limited = Outcome::Rewrite("a\n\nb\nc".to_owned());
    assert_eq!(apply(&filter, "a\n\n\n\nb\nc"), limited);
    let empty = "[[filters]]\nname = \"refinedweb-lines\"\nphrases = [\"\"]";
    assert!(parse_filters(empty).is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd(text in "(\\PC{0,12}\n|[A-Z0-9 .,KMBk]{0,9}( likes|items in cart|Read more...)\n){0,6}") {
        apply(&RefinedwebLines::published(), &text);
    }
}
