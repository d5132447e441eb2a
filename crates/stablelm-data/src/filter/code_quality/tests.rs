//! Rule by rule, at the limits.

use super::*;
use crate::filter::FilterRecipe;
use crate::recipe::profiles::parse_filters;

fn filter(settings: &str) -> CodeQuality {
    let toml = format!("[[filters]]\nname = \"code-quality\"\n{settings}");
    match parse_filters(&toml).unwrap().pop() {
        Some(FilterRecipe::CodeQuality(filter)) => filter,
        other => panic!("{other:?}"),
    }
}

fn starcoder() -> CodeQuality {
    CodeQuality::published(CodeRules::Starcoder)
}

fn redpajama() -> CodeQuality {
    CodeQuality::published(CodeRules::Redpajama)
}

#[track_caller]
fn check(filter: &CodeQuality, file: &str, text: &str, expected: Option<&str>) {
    let document = Document {
        file: (!file.is_empty()).then(|| file.to_owned()),
        text: text.to_owned(),
        ..Document::default()
    };
    for mut metrics in [Metrics::off(), Metrics::on()] {
        let found = match filter.apply(&document, &mut Scratch::default(), &mut metrics) {
            Outcome::Drop(reason) => Some(reason.name),
            _ => None,
        };
        let start: String = text.chars().take(60).collect();
        assert_eq!(found, expected, "{file} {start:?}");
    }
}

#[test]
fn lines_are_bounded_in_length_and_mean() {
    let line = |length| "a".repeat(length) + "\n";
    let short = line(9).repeat(100);
    check(&starcoder(), "", &(line(1000) + &short), None);
    check(
        &starcoder(),
        "",
        &(line(1001) + &short),
        Some("max_line_length"),
    );
    check(&starcoder(), "", &line(100).repeat(3), None);
    check(
        &starcoder(),
        "",
        &(line(100).repeat(3) + &line(101)),
        Some("avg_line_length"),
    );
    // RedPajama counts the ends of lines.
    check(&redpajama(), "", &line(99).repeat(3), None);
    check(
        &redpajama(),
        "",
        &line(100).repeat(3),
        Some("avg_line_length"),
    );
    check(&starcoder(), "", &"\u{e9}".repeat(100), None);
}

#[test]
fn a_quarter_of_the_characters_must_be_letters_or_numbers() {
    check(&starcoder(), "", &"{}(a".repeat(20), None);
    check(
        &starcoder(),
        "",
        &("{}(a".repeat(20) + "\n"),
        Some("alphanum_fraction"),
    );
    check(
        &starcoder(),
        "",
        &"_{}(".repeat(20),
        Some("alphanum_fraction"),
    );
    check(&starcoder(), "", &"{}(\u{663}".repeat(20), None);
    check(&starcoder(), "", "", Some("alphanum_fraction"));
}

#[test]
fn redpajama_keeps_known_extensions_in_their_case() {
    for file in [
        "a/b.rs",
        "x.C",
        "Dockerfile",
        "src/Makefile",
        "x.c++",
        "a.b.md",
    ] {
        check(&redpajama(), file, "let a = b;", None);
    }
    for file in ["a.RS", "a.json", "README", "rs", "a.rs.bak", "makefile"] {
        check(&redpajama(), file, "let a = b;", Some("extension"));
    }
    check(&redpajama(), "", "let a = b;", None);
    check(&starcoder(), "a.unknown", "let a = b;", None);
    assert_eq!(redpajama().extensions.len(), 66);
}

#[test]
fn xml_is_told_by_its_declaration_in_the_first_hundred_characters() {
    let declaration = "<?xml version=\"1.0\"?> <a>text</a>";
    check(&starcoder(), "a.c", declaration, Some("xml"));
    check(&redpajama(), "a.c", declaration, None);
    check(&starcoder(), "a.xslt", declaration, None);
    // The fourteen characters must all lie in the first hundred.
    check(
        &starcoder(),
        "a.c",
        &("\u{e9}".repeat(86) + "\n" + declaration),
        None,
    );
    check(
        &starcoder(),
        "a.c",
        &("\u{e9}".repeat(85) + "\n" + declaration),
        Some("xml"),
    );
}

#[test]
fn html_must_show_text() {
    let page = |tags: usize, text: usize| "<br/>\n".repeat(tags) + &"a".repeat(text);
    check(&starcoder(), "a.html", &page(10, 100), None);
    check(
        &starcoder(),
        "a.html",
        &page(1, 99),
        Some("html_text_length"),
    );
    check(&starcoder(), "a.html", &page(1, 100), None);
    let hidden = format!(
        "<p>{}</p><script>{}</script>",
        "a".repeat(101),
        "b = 1;\n".repeat(90)
    );
    check(&starcoder(), "a.html", &hidden, Some("html_text_ratio"));
    check(&starcoder(), "a.c", &hidden, None);
    check(&redpajama(), "a.html", &hidden, None);
}

/// The values are those of `BeautifulSoup` 4 with Python's `html.parser`.
#[test]
fn visible_text_is_what_is_left_of_markup() {
    fn check(html: &str, expected: &str) {
        let visible = html::visible_characters(html);
        assert_eq!(visible, expected.chars().count() as u64, "{html:?}");
    }
    check("<p class='a'>a b</p>\n", "a b\n");
    check("a <!-- <b> --> c", "a  c");
    check("<!DOCTYPE html><title>T</title>", "T");
    check("<a href=\"x>y\">z</a>", "z");
    check("<script>if (a</b) {}</script>x", "x");
    check("<STYLE>a{}</Style>x", "x");
    check("a &amp; b &#233; &c", "a & b \u{e9} &c");
    check("1 < 2 and <3", "1 < 2 and <3");
    check("<br>\u{e9}<br/>", "\u{e9}");
    check("<p>\n\n  <b> \t</b>\n x", "\n \n x");
    check("", "");
}

#[test]
fn data_files_are_bounded_in_size() {
    let data = |length| {
        "aaaaaaaaa\n"
            .chars()
            .cycle()
            .take(length)
            .collect::<String>()
    };
    for length in [99, 100, 5000, 5001] {
        let is_bounded = (100..=5000).contains(&length);
        let expected = (!is_bounded).then_some("data_length");
        check(&starcoder(), "a.json", &data(length), expected);
        check(&starcoder(), "a.YML", &data(length), expected);
        check(&starcoder(), "a.js", &data(length), None);
        check(&redpajama(), "a.rs", &data(length), None);
    }
}

#[test]
fn comments_are_counted_where_their_syntax_is_known() {
    fn check(format: Format, code: &str, expected: Option<&str>) {
        let count = comments::count(code, format);
        assert_eq!(
            count,
            expected.map(|text| text.chars().count() as u64),
            "{code:?}"
        );
    }
    check(
        Format::Braces,
        "int a; // b\n/* c\n */ d",
        Some("// b/* c\n */"),
    );
    check(Format::Braces, "\"http://a\" '/*' \"\\\"//\"", Some(""));
    check(
        Format::Python,
        "\"\"\"doc\n\"\"\"\nx = '''no'''\n# c\ny = '#'",
        Some("\"\"\"doc\n\"\"\"# c"),
    );
    check(Format::Hashes, "a # \u{e9}", Some("# \u{e9}"));
    check(Format::Dashes, "select 1 -- one", Some("-- one"));
    check(
        Format::Html,
        "<p title='<!--'><!-- a -->",
        Some("<!--'><!-- a -->"),
    );
    check(Format::Other, "// a", None);
    check(Format::Braces, "/* never ends", Some("/* never ends"));
}

#[test]
fn santacoders_rule_on_comments_can_be_asked_for() {
    let filter =
        filter("rules = \"starcoder\"\nmin_comments_ratio = 0.01\nmax_comments_ratio = 0.8");
    check(&filter, "a.rs", "let a = b;", Some("comments_ratio"));
    check(&filter, "a.rs", "let a = b; // abc", None);
    check(
        &filter,
        "a.rs",
        "// abcdefghijklmnopqrstuvwxyz",
        Some("comments_ratio"),
    );
    check(&filter, "a.unknown", "let a = b;", None);
}

#[test]
fn a_recipe_names_the_rules_and_can_move_each_limit() {
    assert_eq!(filter("rules = \"starcoder\""), starcoder());
    assert_eq!(filter("rules = \"redpajama\""), redpajama());
    let own = filter("rules = \"redpajama\"\nmin_alpha_per_word = 2.5\nextensions = [\".x\"]");
    check(&own, "a.x", "abc 1ab", None);
    check(&own, "a.x", "abc 12b", Some("alpha_per_word"));
    check(&own, "a.rs", "abc 1ab", Some("extension"));
    for settings in ["", "rules = \"own\"", "rules = \"starcoder\"\nmax_line = 3"] {
        let toml = format!("[[filters]]\nname = \"code-quality\"\n{settings}");
        assert!(parse_filters(&toml).is_err(), "{settings}");
    }
}

#[test]
fn the_language_that_the_source_states_goes_before_the_extension() {
    let document = Document {
        language: Some("Jupyter Notebook".to_owned()),
        file: Some("a.html".to_owned()),
        ..Document::default()
    };
    assert_eq!(Format::of(&document), Format::Other);
    let document = Document {
        language: Some("C#".to_owned()),
        ..Document::default()
    };
    assert_eq!(Format::of(&document), Format::Braces);
}

proptest::proptest! {
    #[test]
    fn no_file_is_too_odd(text in "(\\PC{0,8}|[<>&!#/'\"\\-a;=\n]{0,9}|<script|-->|&amp;|\"\"\"|<\u{e9}){0,9}") {
        for file in ["a.html", "a.py", "a.c", "a.json", ""] {
            let document = Document {
                file: Some(file.to_owned()),
                text: text.clone(),
                ..Document::default()
            };
            for filter in [starcoder(), redpajama()] {
                filter.apply(&document, &mut Scratch::default(), &mut Metrics::on());
            }
        }
    }
}
