//! C4's list of bad words (Raffel et al. 2020, section 2.2), as datatrove 0.10.1 applies it.
//!
//! The words are files of the user, one word or phrase a line in the format of the list that C4 took
//! (LDNOOBW); without a file, a few mild words stand in for them, to try the filter out. A word
//! counts between characters that are no part of words, in the text in lower case. So a word that is
//! written with capitals in the list is never found, as in datatrove.
//!
//! datatrove draws one number after another for what it keeps in spite of bad words, so its choice
//! depends on the order of documents. Here each document's own text and the seed decide. And where
//! datatrove takes a list for every language, here a filter has one: documents of other languages
//! pass, as with datatrove's `fail_on_missing_language = false`.

mod words;

use std::io;

use serde::Serialize;

pub(crate) use self::words::BadWords;
use crate::document::Document;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::hash::sha256;
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::words::Scratch;

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "c4-badwords";

/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "words_file",
    "language",
    "default_language",
    "keep_fraction",
    "seed",
];

/// The list of bad words and what is kept in spite of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct C4Badwords {
    /// A file with a word or phrase a line; a small list of mild words where there is none.
    pub words_file: Option<String>,
    /// The language of the list. In Japanese, Thai and Chinese (`ja`, `th`, `zh`) a word counts
    /// wherever it stands.
    pub language: String,
    /// The language of documents whose source names none.
    pub default_language: String,
    /// The share of documents with bad words that is kept.
    pub keep_fraction: f64,
    /// Decides which.
    pub seed: u64,
    #[serde(skip)]
    list: Option<BadWords>,
}

/// Why a list of bad words can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadWordsError {
    /// The file can't be read.
    #[error("failed to read the list of bad words `{path}`")]
    Read {
        /// As the recipe names it.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not text.
    #[error("the list of bad words `{path}` is not UTF-8: invalid at byte {byte}")]
    NotUtf8 {
        /// As the recipe names it.
        path: String,
        /// First bad byte, from 0.
        byte: usize,
    },
    /// The file holds no word.
    #[error("the list of bad words `{path}` holds no word")]
    Empty {
        /// As the recipe names it.
        path: String,
    },
    /// The list is longer than can be searched for.
    #[error("the list of bad words `{path}` is too long to search for")]
    TooLong {
        /// As the recipe names it.
        path: String,
    },
}

impl C4Badwords {
    /// datatrove's settings, with the built-in words.
    pub fn published() -> Self {
        Self {
            words_file: None,
            language: "en".to_owned(),
            default_language: "en".to_owned(),
            keep_fraction: 0.0,
            seed: 0,
            list: Some(BadWords::example()),
        }
    }

    /// Reads its table, and no file: [`C4Badwords::load`] does that.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let published = C4Badwords::published();
        let words_file = if fields.has("words_file") {
            Some(fields.required_string("words_file")?.to_owned())
        } else {
            None
        };
        let language =
            |key, default: String| Ok(fields.string(key)?.map_or(default, str::to_owned));
        let keep_fraction = fields.number("keep_fraction")?.unwrap_or_default();
        if keep_fraction > 1.0 {
            return Err(fields.wrong("keep_fraction", "a number from 0 to 1"));
        }
        Ok(Self {
            language: language("language", published.language)?,
            default_language: language("default_language", published.default_language)?,
            keep_fraction,
            seed: fields.whole("seed")?.unwrap_or(published.seed),
            list: published.list.filter(|_| words_file.is_none()),
            words_file,
        })
    }

    /// Reads the list where the recipe names a file. Must be called before the first document.
    pub(crate) fn load(
        &mut self,
        read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<(), BadWordsError> {
        let Some(path) = &self.words_file else {
            return Ok(());
        };
        let bytes = read(path).map_err(|source| BadWordsError::Read {
            path: path.clone(),
            source,
        })?;
        let list = std::str::from_utf8(&bytes).map_err(|error| BadWordsError::NotUtf8 {
            path: path.clone(),
            byte: error.valid_up_to(),
        })?;
        let anywhere = ["ja", "th", "zh"].contains(&self.language.as_str());
        let list = BadWords::parse(list, anywhere)
            .map_err(|_| BadWordsError::TooLong { path: path.clone() })?;
        if list.is_empty() {
            return Err(BadWordsError::Empty { path: path.clone() });
        }
        self.list = Some(list);
        Ok(())
    }

    /// Whether this document is one of those kept in spite of bad words.
    fn is_kept(&self, text: &str) -> bool {
        if self.keep_fraction == 0.0 {
            return false;
        }
        let mut seeded = self.seed.to_le_bytes().to_vec();
        seeded.extend(sha256(text.as_bytes()));
        let draw = sha256(&seeded);
        let draw = draw.first_chunk().expect("a hash has 32 bytes");
        // 53 bits make a double from 0 to 1, as numpy draws it.
        let draw = (u64::from_le_bytes(*draw) >> 11) as f64 / (1_u64 << 53) as f64;
        draw < self.keep_fraction
    }
}

impl Filter for C4Badwords {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, _: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let language = document.language.as_deref();
        if language.unwrap_or(&self.default_language) != self.language {
            metrics.note("missing_badwords_lang", true);
            return Outcome::Keep;
        }
        let list = self.list.as_ref();
        let list = list.expect("lists are loaded before the first document");
        let found = list.find(&document.text);
        metrics.note("badword", found.map(str::to_owned));
        if found.is_none() || self.is_kept(&document.text) {
            return Outcome::Keep;
        }
        Outcome::Drop(Reason::named("document_removed_with_badwords"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(list: &str, filter: C4Badwords) -> C4Badwords {
        let mut filter = C4Badwords {
            words_file: Some("list".to_owned()),
            list: None,
            ..filter
        };
        filter.load(&|_| Ok(list.as_bytes().to_vec())).unwrap();
        filter
    }

    fn is_dropped(filter: &C4Badwords, document: &Document) -> bool {
        match filter.apply(document, &mut Scratch::default(), &mut Metrics::off()) {
            Outcome::Keep => false,
            outcome => {
                let reason = Reason::named("document_removed_with_badwords");
                assert_eq!(outcome, Outcome::Drop(reason));
                true
            }
        }
    }

    fn document(text: &str) -> Document {
        Document {
            text: text.to_owned(),
            ..Document::default()
        }
    }

    #[test]
    fn words_of_the_file_drop_documents_of_its_language() {
        let filter = loaded("darn it\nheck\n", C4Badwords::published());
        assert!(is_dropped(&filter, &document("What the HECK.")));
        assert!(!is_dropped(&filter, &document("What the hecks.")));
        let mut other = document("What the heck.");
        other.language = Some("de".to_owned());
        assert!(!is_dropped(&filter, &other));
        other.language = Some("en".to_owned());
        assert!(is_dropped(&filter, &other));
    }

    #[test]
    fn a_share_of_documents_is_kept_whatever_their_order() {
        let filter = C4Badwords {
            keep_fraction: 0.25,
            ..C4Badwords::published()
        };
        let texts = (0..4000).map(|number| document(&format!("darn {number}")));
        let kept = texts.filter(|text| !is_dropped(&filter, text)).count();
        assert!((900..1100).contains(&kept), "{kept}");
        let always = C4Badwords {
            keep_fraction: 1.0,
            ..filter
        };
        assert!(!is_dropped(&always, &document("darn")));
    }

    #[test]
    fn lists_that_cannot_be_used_are_refused() {
        let mut filter = C4Badwords {
            words_file: Some("list".to_owned()),
            ..C4Badwords::published()
        };
        let mut check = |bytes: &'static [u8], expected: &str| {
            let error = filter.load(&|_| Ok(bytes.to_vec())).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            b"a\n\xff",
            "the list of bad words `list` is not UTF-8: invalid at byte 2",
        );
        check(b" \n\n", "the list of bad words `list` holds no word");
        let missing = |_: &str| Err(io::Error::from(io::ErrorKind::NotFound));
        let error = filter.load(&missing).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to read the list of bad words `list`"
        );
    }
}
