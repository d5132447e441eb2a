//! Documents in, training tokens out: readers, filters, dedup and indexed datasets.
//!
//! A [`Recipe`] says where documents come from and which of them are kept; [`prepare`] turns it into
//! a folder of token files with a report on every document that was dropped, and [`write_manifest`]
//! closes the folder. [`plan`] says beforehand what to expect. [`tokenize`] does the last step
//! alone, byte-equal to GPT-NeoX, and [`inspect`] looks at what any of them reads or writes.
//!
//! Books3 is always excluded, and a recipe that asks for it is refused.
//!
//! ```
//! use std::path::Path;
//!
//! let recipe = r#"
//!     name = "notes"
//!     [tokenizer]
//!     source = "tokenizer.json"
//!     [[sources]]
//!     name = "notes"
//!     kind = "jsonl"
//!     paths = ["notes/*.jsonl.zst"]
//! "#;
//! let recipe = stablelm_data::parse_recipe(recipe, Path::new("data/recipe.toml"))?;
//! assert_eq!(recipe.tokenizer_path(), Path::new("data/tokenizer.json"));
//!
//! let wrong = "name = 'notes'\nsoruces = []";
//! let error = stablelm_data::parse_recipe(wrong, Path::new("recipe.toml")).unwrap_err();
//! assert!(error.to_string().contains("the nearest known one is `sources`"));
//! # Ok::<(), stablelm_data::RecipeError>(())
//! ```

mod dedup;
mod document;
mod filter;
mod hash;
mod inspect;
mod manifest;
mod pipeline;
mod prepare;
mod progress;
mod read;
mod recipe;
mod report;
mod report_html;
mod split;
mod tokenize;
mod write;

pub use dedup::exact::DedupError;
pub use document::{RowError, Split};
pub use filter::FilterRecipe;
pub use filter::gopher_quality::{GopherQuality, WordSplitter};
pub use filter::length::Length;
pub use inspect::{
    ColumnInspection, DocumentInspection, InspectError, InspectOptions, Inspection,
    LengthsInspection, PreparedInspection, RowsInspection, TokensInspection, inspect,
};
pub use manifest::{ManifestError, OutputFile, list_files_with_hashes, write_manifest};
pub use pipeline::ThreadsError;
pub use prepare::{
    Estimate, FilePlan, InputFile, LicenseCount, LicenseOf, PlanOptions, PrepareError,
    PrepareOptions, PreparePlan, Prepared, SourcePlan, SourceSummary, TokenizerSummary, plan,
    prepare,
};
pub use read::compression::Compression;
pub use read::{ColumnarError, ReadError};
pub use recipe::{
    DedupRecipe, OutputRecipe, Recipe, RecipeError, Sampling, SourceKind, SourceRecipe,
    TokenizerRecipe, TomlSyntax, parse_recipe,
};
pub use report::{
    Books3Report, Mixture, MixtureSource, Report, SourceReport, SplitReport, StageReport,
    SubsetReport,
};
pub use split::SplitShares;
pub use tokenize::{PhaseSeconds, TokenizeError, TokenizeOptions, TokenizeSummary, tokenize};
pub use write::WriteError;
pub use write::indexed::TokenDtype;
pub use write::indexed_read::{IndexedDataset, IndexedError};
