//! What a run shall do: a recipe as its author wrote it, checked.
//!
//! Nothing here touches a file. [`parse_recipe`] refuses what it does not understand, what this
//! version can't do yet, and everything that asks for Books3.

mod error;
pub(crate) mod fields;
mod parse;
pub(crate) mod profiles;
mod refuse_books3;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, Serializer};
use stablelm_tokenizer::SpecialTokensInText;

use crate::dedup::minhash::MinhashRecipe;
use crate::filter::FilterRecipe;
use crate::lists::ListFile;
use crate::remote;
use crate::split::SplitShares;

pub use error::{RecipeError, TomlSyntax};
pub use parse::parse_recipe;

/// A recipe as resolved: defaults filled in, every value checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Name of the data set it makes.
    pub name: String,
    /// Who makes it, for the papers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    /// Where it will be published, for the papers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
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
    /// What is written, and how.
    pub output: OutputRecipe,
    /// Tokens of the training run that the mixture is planned for, e.g. 4e12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training_tokens: Option<u64>,
    /// Lists that extend what is known of Books3.
    pub books3: Books3Recipe,
    /// Files that filters and rules look into, once [`load_lists`](crate::load_lists) has read them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<ListFile>,
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
    /// Glob patterns, as written; serialized without passwords and signatures in addresses.
    #[serde(serialize_with = "without_secrets")]
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

fn without_secrets<S: Serializer>(paths: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| remote::shown(path)))
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
    /// Falcon RefinedWeb: parquet with a column `content`.
    FalconRefinedweb,
    /// RedPajama 1T: JSON lines of its seven subsets, as released or raw.
    Redpajama,
    /// The Pile: JSON lines, or a table, of `text` and `meta.pile_set_name`.
    Pile,
    /// pilev2-dev: parquet of `text` and `meta`, a Python dictionary in a string.
    Pilev2,
    /// StarCoder data: parquet with a column `content`, a folder a language.
    Starcoderdata,
    /// peS2o: JSON lines, or a table, of papers.
    Pes2o,
    /// JSON lines with a key for the text.
    Jsonl,
    /// Parquet with a column for the text.
    Parquet,
    /// Arrow IPC, file or stream, with a column for the text.
    Arrow,
}

impl SourceKind {
    /// Every kind that can be read.
    pub const ALL: [Self; 9] = [
        Self::FalconRefinedweb,
        Self::Redpajama,
        Self::Pile,
        Self::Pilev2,
        Self::Starcoderdata,
        Self::Pes2o,
        Self::Jsonl,
        Self::Parquet,
        Self::Arrow,
    ];

    /// The word used in recipes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FalconRefinedweb => "falcon-refinedweb",
            Self::Redpajama => "redpajama",
            Self::Pile => "pile",
            Self::Pilev2 => "pilev2",
            Self::Starcoderdata => "starcoderdata",
            Self::Pes2o => "pes2o",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
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
    /// How texts that are nearly equal are found, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minhash: Option<MinhashRecipe>,
}

/// Files that extend what is known of Books3: the rules can be sharpened, never turned off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Books3Recipe {
    /// Files of titles, one a line, relative to the recipe.
    pub titles: Vec<String>,
    /// Files of text fingerprints, relative to the recipe.
    pub fingerprints: Vec<String>,
}

/// What is written, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutputRecipe {
    /// Most tokens in a shard of a source and split; 0 for one shard.
    pub shard_tokens: u64,
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
