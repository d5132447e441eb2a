//! A `tokenizer.json` as the fast engine reads it: byte pair encoding only, strings borrowed from the
//! file where it spells them plainly.

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

/// What matters of a file; serde refuses one of another kind.
#[derive(serde::Deserialize)]
pub(crate) struct File<'a> {
    pub(crate) version: String,
    pub(crate) added_tokens: Vec<AddedToken>,
    pub(crate) normalizer: Value,
    pub(crate) pre_tokenizer: Value,
    pub(crate) decoder: Value,
    #[serde(borrow)]
    pub(crate) model: Model<'a>,
}

/// An added token, with every field that the library asks for.
#[derive(serde::Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the file has as many")]
pub(crate) struct AddedToken {
    pub(crate) id: u32,
    pub(crate) content: String,
    pub(crate) single_word: bool,
    pub(crate) lstrip: bool,
    pub(crate) rstrip: bool,
    pub(crate) normalized: bool,
    pub(crate) special: bool,
}

/// The model of a file.
#[derive(serde::Deserialize)]
pub(crate) struct Model<'a> {
    pub(crate) r#type: String,
    pub(crate) continuing_subword_prefix: Option<String>,
    pub(crate) end_of_word_suffix: Option<String>,
    pub(crate) ignore_merges: Option<bool>,
    #[serde(borrow)]
    pub(crate) vocab: HashMap<Text<'a>, u32>,
    #[serde(borrow)]
    pub(crate) merges: Vec<Merge<'a>>,
}

/// A string of the file.
#[derive(PartialEq, Eq, Hash, serde::Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The two parts of a merge, written as one string with a space or as two.
pub(crate) enum Merge<'a> {
    Joined(Text<'a>),
    Parts(Text<'a>, Text<'a>),
}

impl Merge<'_> {
    pub(crate) fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Self::Joined(both) => both.0.split_once(' '),
            Self::Parts(left, right) => Some((&left.0, &right.0)),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = Merge<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a merge")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Merge<'de>, E> {
        Ok(Merge::Joined(Text(Cow::Borrowed(text))))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Merge<'de>, E> {
        Ok(Merge::Joined(Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Merge<'de>, A::Error> {
        let left = parts.next_element()?;
        let right = parts.next_element()?;
        let rest: Option<de::IgnoredAny> = parts.next_element()?;
        match (left, right, rest) {
            (Some(left), Some(right), None) => Ok(Merge::Parts(left, right)),
            _ => Err(de::Error::invalid_length(0, &"two parts")),
        }
    }
}

impl File<'_> {
    /// Whether the library would give the added tokens the ids that the file says: that of the
    /// vocabulary, or the next one after it.
    pub(crate) fn has_ids_of_library(&self) -> bool {
        let mut next = self.model.vocab.len() as u64;
        self.added_tokens.iter().enumerate().all(|(at, token)| {
            let is_new = !self.added_tokens[..at]
                .iter()
                .any(|other| other.content == token.content);
            let known = self.model.vocab.get(token.content.as_str());
            let id = known.map_or(next, |&id| u64::from(id));
            next += u64::from(known.is_none());
            is_new && id == u64::from(token.id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(merge: &str, expected: Option<(&str, &str)>) {
        let merge: Option<Merge<'_>> = serde_json::from_str(merge).ok();
        assert_eq!(merge.as_ref().and_then(Merge::parts), expected);
    }

    #[test]
    fn merges_are_read_in_both_forms() {
        check("\"a b\"", Some(("a", "b")));
        check("\"\\u0120 b\"", Some(("Ġ", "b")));
        check("[\"a\", \"b\"]", Some(("a", "b")));
        check("\"ab\"", None);
        check("[\"a\"]", None);
        check("[\"a\", \"b\", \"c\"]", None);
        check("7", None);
    }
}
