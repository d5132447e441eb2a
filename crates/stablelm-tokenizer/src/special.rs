//! Special tokens: which there are, what becomes of them in a text, and where they stand in it.

use std::fmt;
use std::str::FromStr;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use memchr::memmem::Finder;

use crate::encode::EncodeError;

/// A token that means something else than its text, such as the end of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// How it is written.
    pub text: String,
}

/// What becomes of a special token that stands literally in a text to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialTokensInText {
    /// It is tokenized like any other text and never becomes the special id.
    Escape,
    /// It is cut from the text, as is one that only appears when the parts around it join.
    Drop,
    /// The text is refused.
    Error,
    /// It becomes the special id, as in Hugging Face tokenizers and gpt-neox: a text can then end
    /// its document early.
    Encode,
}

impl SpecialTokensInText {
    /// Every choice, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Escape, Self::Drop, Self::Error, Self::Encode];

    /// Returns the choice's name, as recipes and options spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Escape => "escape",
            Self::Drop => "drop",
            Self::Error => "error",
            Self::Encode => "encode",
        }
    }
}

impl fmt::Display for SpecialTokensInText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for SpecialTokensInText {
    type Err = UnknownSpecialTokensInText;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.as_str() == name)
            .ok_or_else(|| UnknownSpecialTokensInText {
                found: name.to_owned(),
            })
    }
}

/// A name that is none of [`SpecialTokensInText::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `escape`, `drop`, `error` or `encode` for special tokens in text, found `{found}`"
)]
pub struct UnknownSpecialTokensInText {
    /// The name given.
    pub found: String,
}

/// Whether decoded text shows special tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialTokensInOutput {
    /// They appear as they are written.
    Keep,
    /// They are left out.
    Skip,
}

/// Finds special tokens in texts.
#[derive(Clone, Debug)]
pub(crate) struct Literals {
    /// Longest first, so that the first that fits is the longest.
    tokens: Vec<SpecialToken>,
    automaton: Option<AhoCorasick>,
    /// What all of them start with: most texts don't have it, which is soon known.
    prefix: Finder<'static>,
    ends: [bool; 256],
}

impl Literals {
    pub(crate) fn new(special_tokens: &[SpecialToken]) -> Self {
        let mut tokens: Vec<SpecialToken> = special_tokens
            .iter()
            .filter(|token| !token.text.is_empty())
            .cloned()
            .collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.text.len()));

        let mut ends = [false; 256];
        for token in &tokens {
            let bytes = token.text.as_bytes();
            ends[usize::from(bytes[bytes.len() - 1])] = true;
        }
        Self {
            automaton: leftmost_longest(tokens.iter().map(|token| token.text.as_str())),
            prefix: Finder::new(common_prefix(&tokens)).into_owned(),
            tokens,
            ends,
        }
    }

    /// Returns each special token in a text with its byte offset: leftmost first, the longest of
    /// those that start at one place, and none that overlaps the one before.
    pub(crate) fn find_in<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = (usize, &'a SpecialToken)> {
        let start = self.prefix.find(text.as_bytes());
        let automaton = self.automaton.as_ref().zip(start);
        let found = automaton.into_iter().flat_map(move |(automaton, start)| {
            automaton.find_iter(Input::new(text).range(start..))
        });
        found.map(|found| (found.start(), &self.tokens[found.pattern().as_usize()]))
    }

    /// Returns the error for a text that has a special token.
    pub(crate) fn refuse(&self, text: &str) -> EncodeError {
        let (offset, token) = self.find_in(text).next().expect("one was found");
        EncodeError::SpecialToken {
            token: token.text.clone(),
            offset,
        }
    }

    /// Returns a text without any special token, and how many were cut.
    ///
    /// Looks back after each character instead of searching again after each cut: the same result
    /// in one pass, however deep a text nests them.
    pub(crate) fn cut_from(&self, text: &str) -> (String, u64) {
        let mut kept = String::with_capacity(text.len());
        let mut num_cut = 0;
        for character in text.chars() {
            kept.push(character);
            if !self.ends[usize::from(kept.as_bytes()[kept.len() - 1])] {
                continue;
            }
            if let Some(token) = self.tokens.iter().find(|token| kept.ends_with(&token.text)) {
                kept.truncate(kept.len() - token.text.len());
                num_cut += 1;
            }
        }
        (kept, num_cut)
    }
}

/// Returns what all tokens start with, which may be nothing.
fn common_prefix(tokens: &[SpecialToken]) -> &[u8] {
    let mut texts = tokens.iter().map(|token| token.text.as_bytes());
    let first = texts.next().unwrap_or_default();
    texts.fold(first, |prefix, text| {
        let same = prefix
            .iter()
            .zip(text)
            .take_while(|(left, right)| left == right);
        &prefix[..same.count()]
    })
}

/// Returns what finds texts: leftmost first, then longest; `None` for no texts.
pub(crate) fn leftmost_longest<'a>(texts: impl Iterator<Item = &'a str>) -> Option<AhoCorasick> {
    let mut texts = texts.peekable();
    texts.peek()?;
    let mut builder = AhoCorasick::builder();
    let built = builder.match_kind(MatchKind::LeftmostLongest).build(texts);
    Some(built.expect("added tokens are few and short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals() -> Literals {
        let token = |id, text: &str| SpecialToken {
            id,
            text: text.to_owned(),
        };
        Literals::new(&[token(0, "<|end|>"), token(1, "<|end|>>"), token(2, "é!")])
    }

    fn check_found(text: &str, expected: &[(usize, u32)]) {
        let literals = literals();
        let found: Vec<(usize, u32)> = literals
            .find_in(text)
            .map(|(at, token)| (at, token.id))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    fn check_cut(text: &str, expected: &str, num_cut: u64) {
        assert_eq!(
            literals().cut_from(text),
            (expected.to_owned(), num_cut),
            "{text}"
        );
    }

    #[test]
    fn finds_the_leftmost_and_longest() {
        check_found("", &[]);
        check_found("<|en", &[]);
        check_found("a<|end|>b", &[(1, 0)]);
        check_found("<|end|>><|end|>", &[(0, 1), (8, 0)]);
        check_found("<<|end|>", &[(1, 0)]);
        check_found("né!", &[(1, 2)]);
    }

    #[test]
    fn cuts_until_none_appears() {
        check_cut("a b", "a b", 0);
        check_cut("a<|end|>b<|end|>", "ab", 2);
        check_cut("<|e<|end|>nd|>", "", 2);
        check_cut("é<|end|>!x", "x", 2);
    }

    #[test]
    fn deep_nesting_takes_one_pass() {
        let depth = 50_000;
        let text = format!("{}{}", "<|e".repeat(depth), "nd|>".repeat(depth));
        check_cut(&text, "", depth as u64);
    }

    #[test]
    fn names_are_read_back() {
        for choice in SpecialTokensInText::ALL {
            assert_eq!(choice.as_str().parse(), Ok(choice));
        }
        let error = "Escape".parse::<SpecialTokensInText>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected `escape`, `drop`, `error` or `encode` for special tokens in text, found `Escape`"
        );
    }
}
