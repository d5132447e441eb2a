//! A list of words, and whether a text holds one of them as datatrove's regular expression does.

use aho_corasick::{AhoCorasick, BuildError, MatchKind};

use crate::text::digits::is_word;
use crate::text::strip;

/// Words that C4's makers found common inside innocent words of Japanese and Chinese. datatrove takes
/// them out of every list.
const ALLOWED: [&str; 4] = [
    "sm",
    "\u{30b0}\u{30ed}",
    "\u{5973}\u{306e}\u{5b50}",
    "\u{6027}",
];

/// A list, ready to search for.
#[derive(Clone, Debug)]
pub(crate) struct BadWords {
    words: Vec<String>,
    finder: AhoCorasick,
    /// Whether a word counts even where letters are next to it.
    anywhere: bool,
}

impl PartialEq for BadWords {
    fn eq(&self, other: &Self) -> bool {
        (&self.words, self.anywhere) == (&other.words, other.anywhere)
    }
}

impl BadWords {
    /// Some words that offend nobody, for those who want to see what the filter does.
    pub(crate) fn example() -> Self {
        let words = [
            "blasted",
            "crikey",
            "damn",
            "darn",
            "drat",
            "gosh darn",
            "heck",
        ];
        let words = words.map(str::to_owned).to_vec();
        Self::new(words, false).expect("seven short words make a small automaton")
    }

    /// Reads a list with one word or phrase a line.
    pub(crate) fn parse(list: &str, anywhere: bool) -> Result<Self, BuildError> {
        // Python reads lines with universal newlines, and no other line ends.
        let words = list.split(['\n', '\r']).map(strip);
        // An empty word would be found between any two characters that are no part of words.
        let words = words.filter(|word| !word.is_empty() && !ALLOWED.contains(word));
        let mut words: Vec<_> = words.map(str::to_owned).collect();
        words.sort_unstable();
        words.dedup();
        Self::new(words, anywhere)
    }

    fn new(words: Vec<String>, anywhere: bool) -> Result<Self, BuildError> {
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&words)?;
        Ok(Self {
            words,
            finder,
            anywhere,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// One of the words that `text` holds in lower case.
    pub(crate) fn find(&self, text: &str) -> Option<&str> {
        let text = text.to_lowercase();
        // A longer word may count where a shorter one inside it doesn't.
        let found = self.finder.find_overlapping_iter(&text).find(|found| {
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            self.anywhere || !before.is_some_and(is_word) && !after.is_some_and(is_word)
        });
        found.map(|found| self.words[found.pattern().as_usize()].as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_between_characters_that_are_no_part_of_words() {
        fn check(text: &str, expected: Option<&str>) {
            let list =
                BadWords::parse("heck\r\n darn \nheck of a day\n\nsm\nC++\nx", false).unwrap();
            assert_eq!(list.find(text), expected, "{text:?}");
        }
        check("", None);
        check("heck", Some("heck"));
        check("Oh HECK!", Some("heck"));
        check("checks and hecks", None);
        check("_heck 1darn \u{e9}darn darn\u{661}", None);
        check("darn\u{301}", Some("darn"));
        check("-darn\u{2026}", Some("darn"));
        // The shorter word ends before a letter, the longer one is whole.
        check("a heck of a day", Some("heck"));
        check("a heck of a days", Some("heck"));
        check("aheck of a day", None);
        check("sm", None);
        check("(x)", Some("x"));
        // Texts are in lower case, the list is as it is.
        check("C++", None);
    }

    #[test]
    fn some_languages_have_no_boundaries() {
        let list = BadWords::parse("heck", true).unwrap();
        assert_eq!(list.find("checks"), Some("heck"));
    }
}
