//! What travels through the pipeline: documents, rows that are none, and the three splits.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One document as its source holds it, with the place it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    /// Row in its file, from 0, counting every row.
    pub(crate) row: u64,
    pub(crate) id: Option<String>,
    /// The part of its source that it is filed under (`pile_set_name` for The Pile).
    pub(crate) subset: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) title: Option<String>,
    /// The path that the document has in its repository.
    pub(crate) file: Option<String>,
    /// The language that its source says it is in, of people or of programs.
    pub(crate) language: Option<String>,
    /// The license that its row states, as it stands there.
    pub(crate) license: Option<String>,
    /// Which books a RedPajama `book` row belongs to, by its keys.
    pub(crate) book: Option<BookShape>,
    pub(crate) text: String,
}

/// What the keys of a RedPajama `book` row say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BookShape {
    /// `short_book_title`, `publication_date` and `url`.
    Pg19,
    /// Nothing but `title`.
    Books3,
}

/// Why a row is not a document. The text goes into the quarantine table, the name is counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The line is not JSON.
    #[error("broken JSON at column {column}: {message}")]
    BadJson {
        /// Column in the line, from 1; 0 when the parser gives none.
        column: usize,
        /// What the JSON parser says.
        message: String,
    },
    /// The line is JSON, but not an object.
    #[error("expected a JSON object: {message}")]
    NotAnObject {
        /// What the JSON parser says.
        message: String,
    },
    /// The object has no text.
    #[error("no key `{key}`")]
    MissingText {
        /// The key that should hold the text.
        key: String,
    },
    /// The text is something else than a string.
    #[error("`{key}` is {found}, expected a string")]
    WrongType {
        /// The key that should hold the text.
        key: String,
        /// What it holds.
        found: &'static str,
    },
    /// The row is not UTF-8.
    #[error("invalid UTF-8 at byte {byte} of the row")]
    InvalidUtf8 {
        /// First bad byte, from 0.
        byte: usize,
    },
    /// The line is longer than a reader will hold.
    #[error("the row has {bytes} bytes, more than the limit of {limit}")]
    TooLong {
        /// Length of the line.
        bytes: u64,
        /// Longest line that is read.
        limit: u64,
    },
    /// A row of books whose keys are neither those of PG-19 nor those of Books3.
    #[error("a book row of unknown shape, with the keys {}", keys.join(", "))]
    UnknownBookRow {
        /// The keys of its `meta`.
        keys: Vec<String>,
    },
    /// The row's `meta` can't be read, so that nobody can tell what the row is.
    #[error("`meta` can't be read: {message}")]
    BadMeta {
        /// What is wrong with it.
        message: String,
    },
    /// The compressed stream broke off or is damaged: nothing after this row can be read.
    #[error("the compressed stream is damaged after {byte} decompressed bytes: {message}")]
    DamagedStream {
        /// Decompressed bytes read before the damage.
        byte: u64,
        /// What the decoder says.
        message: String,
    },
    /// A part of a table can't be decoded; this stands for all of its rows.
    #[error("{} can't be decoded: {message}", rows_from_here(*rows))]
    DamagedRows {
        /// How many rows, where the file says it.
        rows: Option<u64>,
        /// What is wrong with them.
        message: String,
    },
}

fn rows_from_here(rows: Option<u64>) -> String {
    match rows {
        Some(1) => "this row".to_owned(),
        Some(rows) => format!("{rows} rows from this one on"),
        None => "an unknown number of rows from this one on".to_owned(),
    }
}

impl RowError {
    /// A stable name, counted in the report.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadJson { .. } => "bad_json",
            Self::NotAnObject { .. } => "not_an_object",
            Self::MissingText { .. } => "missing_text",
            Self::WrongType { .. } => "wrong_type",
            Self::InvalidUtf8 { .. } => "invalid_utf8",
            Self::TooLong { .. } => "too_long",
            Self::UnknownBookRow { .. } => "unknown_book_row",
            Self::BadMeta { .. } => "bad_meta",
            Self::DamagedStream { .. } => "damaged_stream",
            Self::DamagedRows { .. } => "damaged_rows",
        }
    }
}

/// A row that is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokenRow {
    pub(crate) row: u64,
    pub(crate) error: RowError,
    /// The row as it lies in the file, cut at [`MAX_RAW_LEN`].
    pub(crate) raw: String,
    /// Length of the row before the cut.
    pub(crate) len: u64,
}

/// Longest piece of a broken row that is kept, in bytes.
const MAX_RAW_LEN: usize = 64 * 1024;

impl BrokenRow {
    /// Keeps the start of `raw`, with U+FFFD in place of what is not UTF-8.
    pub(crate) fn new(row: u64, error: RowError, raw: &[u8]) -> Self {
        let kept = &raw[..raw.len().min(MAX_RAW_LEN)];
        let mut text = String::from_utf8_lossy(kept).into_owned();
        // A replacement character takes three bytes where the bad byte took one.
        let mut end = text.len().min(MAX_RAW_LEN);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Self {
            row,
            error,
            raw: text,
            len: raw.len() as u64,
        }
    }
}

/// The three parts that documents are dealt to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// What the model learns from.
    Train,
    /// What is measured while training.
    Valid,
    /// What is measured after it.
    Test,
}

impl Split {
    /// Every split, in the order of files and reports.
    pub const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Test];

    /// The word used in file names and recipes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Train => 0,
            Self::Valid => 1,
            Self::Test => 2,
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_broken_row_is_cut_at_a_character() {
        let error = RowError::InvalidUtf8 { byte: 0 };
        let row = BrokenRow::new(3, error, &vec![0xff; 100_000]);
        assert!(row.raw.len() <= MAX_RAW_LEN);
        assert!(row.raw.chars().all(|c| c == '\u{fffd}'));
        assert_eq!(row.len, 100_000);
    }
}
