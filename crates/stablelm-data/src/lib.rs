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

mod books3;
mod dedup;
mod document;
mod explain;
mod filter;
#[cfg(fuzzing)]
pub mod fuzzing;
mod hash;
mod inspect;
mod lists;
mod manifest;
mod mixture;
mod pipeline;
mod prepare;
mod progress;
mod read;
mod recipe;
mod remote;
mod remove;
mod report;
mod report_html;
mod split;
mod text;
mod tokenize;
mod verify;
mod words;
mod write;

pub use books3::{
    Books3ListError, DEFAULT_BLOCK_LETTERS, FingerprintError, FingerprintListError,
    FingerprintOptions, FingerprintSummary, build_fingerprints,
};
pub use dedup::DedupError;
pub use dedup::minhash::{KeepRule, MinhashHash, MinhashPreset, MinhashRecipe};
pub use document::{RowError, Split};
pub use explain::{
    ExplainError, ExplainOptions, Explanation, Judgement, PipelineOutcome, Which, explain,
};
pub use filter::FilterRecipe;
pub use filter::c4::{C4, C4DocumentRules, C4LineRules};
pub use filter::c4_badwords::{BadWordsError, C4Badwords};
pub use filter::c4_paragraph::C4Paragraph;
pub use filter::code_quality::{CodeQuality, CodeRules};
pub use filter::decontaminate::Decontaminate;
pub use filter::fineweb_quality::FinewebQuality;
pub use filter::gopher_quality::GopherQuality;
pub use filter::gopher_repetition::GopherRepetition;
pub use filter::language::Language;
pub use filter::length::Length;
pub use filter::pii::Pii;
pub use filter::refinedweb_lines::RefinedwebLines;
pub use filter::url::{Url, UrlFiles, UrlLists};
pub use inspect::{
    ColumnInspection, DocumentInspection, InspectError, InspectOptions, Inspection,
    LengthsInspection, PreparedInspection, RowsInspection, TokensInspection, inspect,
};
pub use lists::{ListError, ListFile, load_lists};
pub use manifest::{ManifestError, OutputFile, Removal, list_files_with_hashes, write_manifest};
pub use pipeline::ThreadsError;
pub use prepare::{
    Estimate, Fetched, FilePlan, InputFile, LicenseCount, LicenseOf, PlanOptions, PrepareError,
    PrepareOptions, PreparePlan, Prepared, SourcePlan, SourceSummary, TokenizerSummary,
    is_resumable, plan, prepare,
};
pub use read::compression::Compression;
pub use read::{ColumnarError, ReadError};
pub use recipe::{
    Books3Recipe, DedupRecipe, OutputRecipe, Recipe, RecipeError, Sampling, SourceKind,
    SourceRecipe, TokenizerRecipe, TomlSyntax, parse_recipe,
};
pub use remote::{
    ConnectionError, RemoteError, RemoteOptions, StoreError, TransferError, TransferOptions,
    is_remote,
};
pub use remove::{RemoveError, RemoveOptions, Removed, remove};
pub use report::{
    Books3Report, DroppedSample, Histogram, Mixture, MixtureSource, Report, SourceReport,
    SplitReport, StageReport, SubsetReport,
};
pub use split::SplitShares;
pub use tokenize::{PhaseSeconds, TokenizeError, TokenizeOptions, TokenizeSummary, tokenize};
pub use verify::{
    Books3Verification, Checked, Finding, NotChecked, RemoteInputs, Verification, VerifyError,
    VerifyOptions, verify,
};
pub use words::WordSplitter;
pub use write::WriteError;
pub use write::indexed::TokenDtype;
pub use write::indexed_read::{IndexedDataset, IndexedError};
