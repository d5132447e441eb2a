//! Writes `data/spacy_en.txt` from spaCy's own patterns, and fails when it is stale.
//!
//! `STABLELM_BLESS=1 cargo test -p stablelm-data make_tables` writes the file again. The patterns
//! are those of spaCy 3.8's blank English tokenizer (MIT, Explosion); each must have the shape that
//! the matchers beside this file were written for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use regex_syntax::hir::{Class, HirKind};
use serde::Deserialize;

use super::tables::{Flags, LETTERS_OF_FLAGS};

/// What the oracle file holds of spaCy's English tokenizer.
#[derive(Deserialize)]
struct Patterns {
    spacy: String,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    infixes: Vec<String>,
    url_regex: String,
    exceptions: BTreeMap<String, Vec<String>>,
    sentencizer_punct_chars: Vec<String>,
}

#[test]
fn the_tables_are_those_of_spacy() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no shared oracles");
        return;
    };
    let path = oracles.join("data/spacy_en_tokenizer.json");
    let patterns: Patterns = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let text = write(&patterns);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/spacy_en.txt");
    #[expect(
        clippy::disallowed_methods,
        reason = "tests write generated files when asked"
    )]
    if std::env::var_os("STABLELM_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "{} is stale, see make_tables.rs",
        path.display()
    );
}

fn write(patterns: &Patterns) -> String {
    let mut text = format!(
        "# The tables of spaCy {}'s English tokenizer and sentencizer (MIT, copyright ExplosionAI GmbH,\n\
         # spaCy GmbH, Matthew Honnibal), written by `src/words/spacy/make_tables.rs`.\n",
        patterns.spacy
    );
    text += "\n# Code points and what they are to the rules: the letters stand beside `Flags`.\n[characters]\n";
    let (flags, units) = classify(patterns);
    let mut first = 0;
    for next in 1..=flags.len() {
        if next == flags.len() || flags[next] != flags[first] {
            if flags[first] != Flags::default() {
                let letters: String = LETTERS_OF_FLAGS
                    .iter()
                    .filter(|(_, flag)| flags[first].any(*flag))
                    .map(|(letter, _)| letter)
                    .collect();
                writeln!(text, "{first:x}-{:x} {letters}", next - 1).unwrap();
            }
            first = next;
        }
    }
    text += "\n# Currencies and units that a digit makes into a suffix.\n[units]\n";
    for unit in units {
        writeln!(text, "{unit}").unwrap();
    }
    text += "\n# Exceptions, with a tab where two of their tokens meet.\n[exceptions]\n";
    for (exception, tokens) in &patterns.exceptions {
        assert_eq!(*exception, tokens.concat());
        // White space is never part of a word, and its tokens stand alone.
        if exception.trim().is_empty() {
            continue;
        }
        assert!(!exception.contains(char::is_whitespace), "{exception:?}");
        writeln!(text, "{}", tokens.join("\t")).unwrap();
    }
    text
}

/// The flags of every code point, and the strings that are suffixes after a digit.
fn classify(patterns: &Patterns) -> (Vec<Flags>, BTreeSet<String>) {
    let mut all = vec![Flags::default(); 0x11_0000];
    let mut units = BTreeSet::new();
    let mut mark = |pattern: &str, flag: Flags| {
        for (first, last) in ranges(pattern).unwrap_or_else(|| panic!("{pattern} is not a class")) {
            for flags in &mut all[first as usize..=last as usize] {
                *flags = flags.with(flag);
            }
        }
    };
    mark("\u{2026}", Flags::INFIX);

    // spaCy leaves out empty patterns.
    for pattern in patterns
        .prefixes
        .iter()
        .filter(|pattern| !pattern.is_empty())
    {
        match pattern.as_str() {
            "\\+(?![0-9])" | "\\.\\.+" | "US\\$" | "C\\$" | "A\\$" | "\u{2026}\u{2026}" => {}
            _ => mark(pattern, Flags::PREFIX),
        }
    }
    let mut before_last_dot = Vec::new();
    for pattern in patterns
        .suffixes
        .iter()
        .filter(|pattern| !pattern.is_empty())
    {
        match pattern.as_str() {
            "\\.\\.+" | "\u{2026}\u{2026}" | "'s" | "'S" | "\u{2019}s" | "\u{2019}S"
            | "(?<=[0-9])\\+" | "(?<=°[FfCcKk])\\." => {}
            _ => {
                if let Some(list) = pattern.strip_prefix("(?<=[0-9])(?:") {
                    for unit in list.strip_suffix(')').unwrap().split('|') {
                        let unit = unit.replace("\\$", "$");
                        assert!(!unit.contains('\\'), "{unit}");
                        mark(&escape(unit.chars().last().unwrap()), Flags::UNIT_END);
                        units.insert(unit);
                    }
                } else if let Some(rest) = pattern.strip_prefix("(?<=") {
                    before_last_dot.push(rest.strip_suffix(")\\.").unwrap());
                } else {
                    mark(pattern, Flags::SUFFIX);
                }
            }
        }
    }
    let [before, twice] = before_last_dot[..] else {
        panic!("two rules about a last full stop")
    };
    mark(before, Flags::BEFORE_LAST_DOT);
    let upper = &twice[..twice.len() / 2];
    assert_eq!(twice, upper.repeat(2));
    mark(upper, Flags::UPPER);
    mark_infixes(&patterns.infixes, &mut mark);
    mark(tld(&patterns.url_regex), Flags::TLD);
    // Python 3.11 has the categories of Unicode 14.
    mark(r"[\p{L}\p{N}&&\p{Age:14.0}]", Flags::WORD);
    mark(r"[\p{Nd}&&\p{Age:14.0}]", Flags::DIGIT);
    mark(r"[\p{P}&&\p{Age:14.0}]", Flags::PUNCTUATION);
    for end in &patterns.sentencizer_punct_chars {
        let mut chars = end.chars();
        mark(&escape(chars.next().unwrap()), Flags::SENTENCE_END);
        assert_eq!(chars.next(), None);
    }
    (all, units)
}

fn mark_infixes(infixes: &[String], mark: &mut impl FnMut(&str, Flags)) {
    let [
        dots,
        ellipsis,
        icons,
        operators,
        full_stop,
        comma,
        hyphens,
        signs,
    ] = infixes
    else {
        panic!("eight infix rules")
    };
    assert_eq!(
        [dots.as_str(), ellipsis, operators],
        ["\\.\\.+", "\u{2026}", "(?<=[0-9])[+\\-\\*^](?=[0-9-])"]
    );
    mark(icons, Flags::INFIX);
    let around = |pattern: &str, middle: &str| {
        let (before, after) = pattern.split_once(middle).unwrap();
        (
            before.strip_prefix("(?<=").unwrap().to_owned(),
            after.strip_suffix(')').unwrap().to_owned(),
        )
    };
    let (before, after) = around(full_stop, ")\\.(?=");
    mark(&before, Flags::BEFORE_INNER_DOT);
    mark(&after, Flags::AFTER_INNER_DOT);
    let (alpha, after) = around(comma, "),(?=");
    assert_eq!(alpha, after);
    mark(&alpha, Flags::ALPHA);
    let alphanumeric = format!("{}0-9]", alpha.strip_suffix(']').unwrap());
    let hyphen = ")(?:-|\u{2013}|\u{2014}|--|---|\u{2014}\u{2014}|~)(?=";
    for (pattern, middle) in [(hyphens, hyphen), (signs, ")[:<>=/](?=")] {
        assert_eq!(
            around(pattern, middle),
            (alphanumeric.clone(), alpha.clone())
        );
    }
}

/// The class of letters of a top-level domain; the rest of the URL rule is as `url.rs` has it.
fn tld(url: &str) -> &str {
    let start = concat!(
        r"(?u)^(?:(?:[\w\+\-\.]{2,})://)?(?:\S+(?::\S*)?@)?(?:(?!(?:10|127)(?:\.\d{1,3}){3})",
        r"(?!(?:169\.254|192\.168)(?:\.\d{1,3}){2})(?!172\.(?:1[6-9]|2\d|3[0-1])(?:\.\d{1,3}){2})",
        r"(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.(?:1?\d{1,2}|2[0-4]\d|25[0-5])){2}",
        r"(?:\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4]))|(?:(?:[A-Za-z0-9\u00a1-\uffff]",
        r"[A-Za-z0-9\u00a1-\uffff_-]{0,62})?[A-Za-z0-9\u00a1-\uffff]\.)+(?:",
    );
    url.strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(r"{2,63}))(?::\d{2,5})?(?:[/?#]\S*)?$"))
        .expect("the URL rule has the shape it was read for")
}

fn escape(c: char) -> String {
    format!("\\x{{{:x}}}", u32::from(c))
}

/// The code points of a pattern for one character; `None` where it is for more.
fn ranges(pattern: &str) -> Option<Vec<(u32, u32)>> {
    match regex_syntax::parse(pattern).unwrap().kind() {
        HirKind::Literal(literal) => {
            let mut chars = std::str::from_utf8(&literal.0).unwrap().chars();
            let c = u32::from(chars.next()?);
            chars.next().is_none().then(|| vec![(c, c)])
        }
        HirKind::Class(Class::Unicode(class)) => Some(
            class
                .iter()
                .map(|range| (u32::from(range.start()), u32::from(range.end())))
                .collect(),
        ),
        _ => None,
    }
}
