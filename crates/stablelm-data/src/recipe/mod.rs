//! What a run shall do: a recipe as its author wrote it, checked.
//!
//! Nothing here touches a file. [`parse_recipe`] refuses what it does not understand, what this
//! version can't do yet, and everything that asks for Books3.

mod error;
mod fields;
mod filters;
mod parse;
mod refuse_books3;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stablelm_tokenizer::SpecialTokensInText;

use crate::filter::FilterRecipe;
use crate::split::SplitShares;

pub use error::{RecipeError, TomlSyntax};
pub use parse::parse_recipe;

/// A recipe as resolved: defaults filled in, every value checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Name of the data set it makes.
    pub name: String,
    /// Decides the split of every document.
    pub seed: u64,
    /// What turns text into tokens.
    pub tokenizer: TokenizerRecipe,
    /// Shares of train, valid and test.
    pub split: SplitShares,
    /// Where documents come from, in order: earlier ones win over duplicates in later ones.
    pub sources: Vec<SourceRecipe>,
    /// Which duplicates are dropped.
    pub dedup: DedupRecipe,
    /// What is written besides tokens.
    pub output: OutputRecipe,
    /// The folder of the recipe, which relative paths start from.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Recipe {
    /// A path of this recipe as seen from the working directory.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The tokenizer as a path, for a source that is one and not a hub id.
    pub fn tokenizer_path(&self) -> PathBuf {
        self.resolve(&self.tokenizer.source)
    }
}

/// What turns text into tokens, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TokenizerRecipe {
    /// A path (relative to the recipe) or a hub id, as written.
    pub source: String,
    /// Whether each document ends with the end-of-document token.
    pub append_eod: bool,
    /// What happens to special tokens that are spelled out in a text.
    #[serde(serialize_with = "as_word")]
    pub special_tokens_in_text: SpecialTokensInText,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn as_word<S: serde::Serializer>(
    policy: &SpecialTokensInText,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(policy.as_str())
}

/// One source of documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceRecipe {
    /// Its name, also in file names.
    pub name: String,
    /// The schema of its files.
    pub kind: SourceKind,
    /// Glob patterns, as written.
    pub paths: Vec<String>,
    /// How often its documents are seen in training.
    pub sampling: Sampling,
    /// Column or key of the text, for the generic kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Column or key of the document's id, for the generic kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Filters, in order.
    pub filters: Vec<FilterRecipe>,
}

/// How often a source is seen in training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// In proportion to this number.
    Weight(f64),
    /// So many times over.
    Epochs(f64),
}

/// The schema of a source's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SourceKind {
    /// The Pile: JSON lines of `text` and `meta.pile_set_name`.
    Pile,
    /// Falcon RefinedWeb: parquet with a column `content`.
    FalconRefinedweb,
    /// JSON lines with a key for the text.
    Jsonl,
    /// Parquet with a column for the text.
    Parquet,
}

impl SourceKind {
    /// Every kind that can be read.
    pub const ALL: [Self; 4] = [
        Self::Pile,
        Self::FalconRefinedweb,
        Self::Jsonl,
        Self::Parquet,
    ];

    /// The word used in recipes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pile => "pile",
            Self::FalconRefinedweb => "falcon-refinedweb",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which duplicates are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DedupRecipe {
    /// Whether a text that was seen before, in any source, is dropped.
    pub exact: bool,
}

/// What is written besides tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutputRecipe {
    /// Whether the text of kept documents is written too.
    pub text: bool,
    /// Whether the table of dropped documents holds their text.
    pub dropped_text: bool,
}

/// The folder that holds the recipe; empty for a bare file name.
fn folder_of(recipe_path: &Path) -> PathBuf {
    recipe_path
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}
