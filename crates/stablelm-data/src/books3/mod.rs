//! Keeps Books3 out, whatever a recipe says.
//!
//! Four rules look at a document, each by itself: the names that it is filed under (`subset_name`),
//! the keys of its row (`book_row`), its title (`title`) and its text (`fingerprint`). The lists of
//! the last two can be extended by a recipe, and nothing can be taken out of them.

mod build;
mod fold;
mod grams;
mod inputs;
mod list;
mod matches;
mod names;
#[cfg(test)]
mod tests;
mod titles;

use std::io;

use crate::document::{BookShape, Document};
use crate::filter::Reason;
use crate::hash::{sha256, to_hex};
use crate::recipe::Books3Recipe;
use list::List;
use matches::find_copy;
use titles::Titles;

pub use build::DEFAULT_BLOCK_LETTERS;
pub use inputs::{FingerprintError, FingerprintOptions, FingerprintSummary, build_fingerprints};
pub use list::FingerprintListError;
pub(crate) use list::ListBytes;
pub(crate) use matches::Books3Scratch;
pub(crate) use names::says_books3;

/// The name of this stage in reports.
pub(crate) const NAME: &str = "books3";

/// The rule that looks at declared names.
pub(crate) const SUBSET_RULE: &str = "subset_name";
/// The rule that looks at the keys of a row.
pub(crate) const ROW_RULE: &str = "book_row";
/// The rule that looks at the title.
pub(crate) const TITLE_RULE: &str = "title";
/// The rule that looks at the text.
pub(crate) const FINGERPRINT_RULE: &str = "fingerprint";

/// Every rule, in the order in which they are asked: the first that says yes gets the document.
pub(crate) const RULES: [&str; 4] = [SUBSET_RULE, ROW_RULE, TITLE_RULE, FINGERPRINT_RULE];

/// Titles that are always known: those that public pages about Books3 name.
const TITLES: &str = include_str!("../../data/books3/titles.txt");

/// Why a list of a recipe can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Books3ListError {
    /// The file can't be read.
    #[error("failed to read `{path}`")]
    Io {
        /// The file, as the recipe names it.
        path: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A list of titles that is not text.
    #[error("`{path}` is not UTF-8 at byte {byte}")]
    NotText {
        /// The file.
        path: String,
        /// First bad byte, from 0.
        byte: usize,
    },
    /// A list of titles without one.
    #[error("`{path}` holds no title")]
    NoTitles {
        /// The file.
        path: String,
    },
    /// A list of fingerprints that is damaged, or none.
    #[error("`{path}` is not a list of fingerprints that this version can use")]
    Fingerprints {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: FingerprintListError,
    },
}

/// Everything that is known of Books3, made once a run.
#[derive(Clone, Debug)]
pub(crate) struct Books3Rules {
    titles: Titles,
    lists: Vec<List>,
    sha256: String,
}

impl Books3Rules {
    /// Loads the lists that come with the program and those that a recipe adds.
    ///
    /// `read` gives the bytes of a file by the name that the recipe has for it.
    pub(crate) fn load(
        recipe: &Books3Recipe,
        read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Self, Books3ListError> {
        Self::load_shared(recipe, &|path| Ok(std::sync::Arc::new(read(path)?)))
    }

    /// The same for files that need not lie in memory: a mapped list takes only its prefilter.
    pub(crate) fn load_shared(
        recipe: &Books3Recipe,
        read: &dyn Fn(&str) -> io::Result<ListBytes>,
    ) -> Result<Self, Books3ListError> {
        let open = |path: &String| {
            read(path).map_err(|source| Books3ListError::Io {
                path: path.clone(),
                source,
            })
        };
        let mut titles = Titles::default();
        titles.add_list(TITLES);
        for path in &recipe.titles {
            let bytes = open(path)?;
            let text = std::str::from_utf8((*bytes).as_ref());
            let text = text.map_err(|error| Books3ListError::NotText {
                path: path.clone(),
                byte: error.valid_up_to(),
            })?;
            if titles.add_list(text) == 0 {
                return Err(Books3ListError::NoTitles { path: path.clone() });
            }
        }
        let mut lists = Vec::new();
        for path in &recipe.fingerprints {
            let list = List::new(open(path)?).map_err(|source| Books3ListError::Fingerprints {
                path: path.clone(),
                source,
            })?;
            lists.push(list);
        }
        let sha256 = hash_lists(&titles, &lists);
        Ok(Self {
            titles,
            lists,
            sha256,
        })
    }

    /// The rule that excludes a document, with what it measured; `None` for one that may stay.
    ///
    /// `path` is the file that it lies in, as outputs show it.
    pub(crate) fn judge(
        &self,
        document: &Document,
        path: &str,
        scratch: &mut Books3Scratch,
    ) -> Option<Reason> {
        if says_books3(path) {
            return Some(Reason::named(SUBSET_RULE));
        }
        if let Some(reason) = verdict(document) {
            return Some(reason);
        }
        let Document { title, text, .. } = document;
        let mut titles = title.iter().map(|title| self.titles.has(title, text.len()));
        if titles.any(|known| known) {
            return Some(Reason::named(TITLE_RULE));
        }
        self.judge_text(text, scratch)
    }

    /// The rule `fingerprint` alone, for a text of which nothing else is known.
    pub(crate) fn judge_text(&self, text: &str, scratch: &mut Books3Scratch) -> Option<Reason> {
        let copied = find_copy(text, &self.lists, scratch)?;
        Some(Reason::measured(
            FINGERPRINT_RULE,
            copied.grams.into(),
            copied.threshold.into(),
        ))
    }

    /// Number of titles that are known.
    pub(crate) fn titles(&self) -> u64 {
        self.titles.len() as u64
    }

    /// Number of works whose text is known.
    pub(crate) fn fingerprints(&self) -> u64 {
        self.lists.iter().map(|list| u64::from(list.works())).sum()
    }

    /// SHA-256 of all lists, in hex: two runs with the same value asked the same questions.
    pub(crate) fn lists_sha256(&self) -> &str {
        &self.sha256
    }
}

/// What the rules without lists say of a document.
pub(crate) fn verdict(document: &Document) -> Option<Reason> {
    let Document {
        subset,
        url,
        id,
        file,
        ..
    } = document;
    let is_filed = subset.as_deref().is_some_and(says_books3)
        || id.as_deref().is_some_and(names::lies_in_books3)
        || url.as_deref().is_some_and(names::lies_in_books3)
        || file.as_deref().is_some_and(names::lies_in_data_file);
    if is_filed {
        return Some(Reason::named(SUBSET_RULE));
    }
    (document.book == Some(BookShape::Books3)).then(|| Reason::named(ROW_RULE))
}

fn hash_lists(titles: &Titles, lists: &[List]) -> String {
    let mut bytes = Vec::new();
    for (title, author) in titles.iter() {
        bytes.extend(format!("{title}\t{author}\n").into_bytes());
    }
    let mut hashes = sha256(&bytes).to_vec();
    for list in lists {
        hashes.extend(list.sha256());
    }
    to_hex(&sha256(&hashes))
}
