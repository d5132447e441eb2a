//! An indexed dataset and one of its documents.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stablelm_tokenizer::{SpecialTokensInOutput, Tokenizer};

use crate::inspect::{DocumentInspection, InspectError, InspectOptions, rows};
use crate::write::indexed::{TokenDtype, with_suffix};
use crate::write::indexed_read::IndexedDataset;

/// What an indexed dataset holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokensInspection {
    /// The dataset, without `.bin` and `.idx`.
    pub prefix: PathBuf,
    /// Type of a token.
    pub dtype: TokenDtype,
    /// Number of documents.
    pub documents: u64,
    /// Number of sequences.
    pub sequences: u64,
    /// Number of tokens.
    pub tokens: u64,
    /// Tokens of the shortest sequence.
    pub min_length: u64,
    /// Tokens of the longest sequence.
    pub max_length: u64,
    /// Mean tokens of a sequence.
    pub mean_length: f64,
    /// The document that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentInspection>,
}

/// The prefix of a dataset that `path` names, if it names one.
pub(super) fn prefix(path: &Path) -> Option<PathBuf> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("idx" | "bin") => Some(path.with_extension("")),
        _ if !path.exists() && with_suffix(path, ".idx").exists() => Some(path.to_path_buf()),
        _ => None,
    }
}

pub(super) fn inspect(
    prefix: &Path,
    options: &InspectOptions<'_>,
) -> Result<TokensInspection, InspectError> {
    let dataset = IndexedDataset::open(prefix)?;
    let document = options
        .document
        .map(|number| document(&dataset, prefix, number, options));
    Ok(TokensInspection {
        prefix: prefix.to_path_buf(),
        dtype: dataset.dtype,
        documents: dataset.num_documents,
        sequences: dataset.num_sequences,
        tokens: dataset.num_tokens,
        min_length: dataset.min_length,
        max_length: dataset.max_length,
        mean_length: match dataset.num_sequences {
            0 => 0.0,
            sequences => dataset.num_tokens as f64 / sequences as f64,
        },
        document: document.transpose()?,
    })
}

fn document(
    dataset: &IndexedDataset,
    prefix: &Path,
    number: u64,
    options: &InspectOptions<'_>,
) -> Result<DocumentInspection, InspectError> {
    let ids = dataset.read_document(number)?;
    let decode = |tokenizer: &Tokenizer| tokenizer.decode(&ids, SpecialTokensInOutput::Keep);
    let text = options
        .tokenizer
        .map(decode)
        .transpose()
        .map_err(|source| InspectError::Decode {
            path: prefix.to_path_buf(),
            document: number,
            source,
        })?;
    let table = with_suffix(prefix, ".documents.parquet");
    let provenance = if table.is_file() {
        rows::parquet_row(&table, number)?
    } else {
        None
    };
    Ok(DocumentInspection {
        document: number,
        ids: Some(ids),
        text,
        provenance,
        ..DocumentInspection::default()
    })
}
