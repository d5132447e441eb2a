//! The lists that addresses are looked up in.
//!
//! Lists of domains have millions of lines, so of each line only a hash of 64 bits is kept: 8 bytes a
//! domain, and one address in 4 * 10^12 is taken for one on a list of 4.5 million that it isn't on.
//! Words are few and kept as they are.

use std::borrow::Cow;
use std::collections::HashSet;

use aho_corasick::{AhoCorasick, BuildError};
use twox_hash::XxHash64;

use crate::text::is_space;

/// A set of strings that only tells whether a string is in it.
#[derive(Debug, Default)]
pub(super) struct HashedSet {
    /// Sorted.
    hashes: Vec<u64>,
}

impl HashedSet {
    pub(super) fn new<'l>(lines: impl Iterator<Item = &'l str>) -> Self {
        let mut hashes: Vec<u64> = lines.map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes.shrink_to_fit();
        Self { hashes }
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        !self.hashes.is_empty() && self.hashes.binary_search(&hash(text)).is_ok()
    }
}

fn hash(text: &str) -> u64 {
    XxHash64::oneshot(0, text.as_bytes())
}

/// Every list of the filter.
#[derive(Debug)]
pub(super) struct Lists {
    /// Registered domains and whole hosts.
    pub(super) domains: HashedSet,
    /// Whole addresses.
    pub(super) urls: HashedSet,
    /// One of these words is enough.
    pub(super) banned_words: HashSet<Box<str>>,
    /// Of these it takes several.
    pub(super) soft_words: HashSet<Box<str>>,
    /// Found inside words too, and across them; `None` where there are none.
    pub(super) subwords: Option<AhoCorasick>,
}

/// The lines of a list, without white space around them; empty lines and comments are left out.
///
/// A comment has `#` as the first character of its line.
pub(super) fn lines(list: &str) -> impl Iterator<Item = &str> {
    list.split('\n')
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.trim_matches(is_space))
        .filter(|line| !line.is_empty())
}

/// A list file as text; a line that isn't UTF-8 stays a line, one that no address equals.
pub(super) fn as_text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Words of a list: in lower case, of ASCII letters and digits alone, and only if any are left.
pub(super) fn words<'l>(lines: impl Iterator<Item = &'l str>) -> HashSet<Box<str>> {
    let words = lines.map(|line| squeeze(line).into_boxed_str());
    words.filter(|word| !word.is_empty()).collect()
}

/// The ASCII letters and digits of a text, in lower case.
pub(super) fn squeeze(text: &str) -> String {
    let kept = text.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// Makes the automaton that finds any of `subwords`; `None` where there are none.
pub(super) fn automaton(subwords: &HashSet<Box<str>>) -> Result<Option<AhoCorasick>, BuildError> {
    let build = || AhoCorasick::new(subwords.iter().map(|word| word.as_bytes()));
    (!subwords.is_empty()).then(build).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_may_have_comments_empty_lines_and_any_line_ends() {
        let list = "# name\n a.com \r\n\n#b.com\nc.com";
        assert_eq!(lines(list).collect::<Vec<_>>(), ["a.com", "c.com"]);
        let set = HashedSet::new(lines(list));
        assert!(set.contains("a.com") && set.contains("c.com"));
        assert!(!set.contains("b.com") && !set.contains("") && !set.contains("A.com"));
        assert!(!HashedSet::default().contains(""));
    }

    #[test]
    fn words_are_squeezed() {
        let found = words(["Free-Money 24", "\u{e9}", "--"].into_iter());
        assert_eq!(
            found.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
            ["freemoney24"]
        );
    }
}
