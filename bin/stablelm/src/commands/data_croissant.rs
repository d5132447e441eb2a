//! What `croissant.json` says of a prepared folder: its files, its tables, and what to know before
//! use. Nothing is claimed that the run did not do.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stablelm_data::{
    ManifestError, OutputFile, Prepared, SourceReport, SourceSummary, TokenizerSummary,
};
use stablelm_license::{
    CroissantDataset, CroissantField, CroissantFile, CroissantRecordSet, CroissantType, RaiTerm,
};

use crate::error::CommandError;

/// Where the table of documents of a token file lies beside it.
const DOCUMENTS: &str = ".documents.parquet";

/// The columns of the tables of documents.
const DOCUMENT_FIELDS: [CroissantField; 9] = [
    integer(
        "document",
        "Number of the document in its token file, from 0",
    ),
    text("source", "Name of its source in the recipe"),
    text("subset", "Subset of the source, where it has them"),
    text("path", "The input file it comes from"),
    integer("row", "Its row in the input file, from 0"),
    text("id", "Its id in the input, where it has one"),
    text("text_sha256", "SHA-256 of its text, in hex"),
    text("license", "SPDX expression, or NOASSERTION"),
    integer(
        "num_tokens",
        "Number of its tokens, the end of document too",
    ),
];

/// The columns of the tables of texts.
const TEXT_FIELDS: [CroissantField; 7] = [
    text("split", "train, valid or test"),
    integer(
        "document",
        "Number of the document in the token file of its split, from 0",
    ),
    text("subset", "Subset of the source, where it has them"),
    text("path", "The input file it comes from"),
    integer("row", "Its row in the input file, from 0"),
    text("id", "Its id in the input, where it has one"),
    text("text", "Its text, as it was turned into tokens"),
];

const fn text(name: &'static str, description: &'static str) -> CroissantField {
    field(name, description, CroissantType::Text)
}

const fn integer(name: &'static str, description: &'static str) -> CroissantField {
    field(name, description, CroissantType::Integer)
}

const fn field(
    name: &'static str,
    description: &'static str,
    data_type: CroissantType,
) -> CroissantField {
    CroissantField {
        name,
        description,
        data_type,
    }
}

/// Describes a prepared folder, published on a day.
pub(super) fn dataset(
    folder: &Path,
    prepared: &Prepared,
    date_published: String,
) -> Result<CroissantDataset, ManifestError> {
    let (files, record_sets) = files(folder)?;
    let report = &prepared.report;
    Ok(CroissantDataset {
        name: report.name.clone(),
        description: format!(
            "{} documents, {} tokens, prepared by stablelm {} for GPT-NeoX training; run {}",
            report.documents_kept, report.tokens, prepared.tool_version, prepared.run_hash
        ),
        url: said(&prepared.recipe, "url"),
        date_published,
        creator: said(&prepared.recipe, "creator"),
        files,
        record_sets,
        rai: rai(prepared),
        generated_by: Some(format!("stablelm data prepare {}", prepared.tool_version)),
    })
}

/// Reads what a description is made from out of a prepared folder; the inputs are not among it.
pub(super) fn read(folder: &Path) -> Result<Prepared, CommandError> {
    #[derive(Deserialize)]
    struct Manifest {
        run_hash: String,
        tool_version: String,
        tokenizer: TokenizerSummary,
        recipe: Value,
        sources: Vec<SourceSummary>,
    }
    let manifest: Manifest = read_json(folder, "manifest.json")?;
    Ok(Prepared {
        report: read_json(folder, "report.json")?,
        run_hash: manifest.run_hash,
        inputs: Vec::new(),
        sources: manifest.sources,
        tokenizer: manifest.tokenizer,
        tool_version: manifest.tool_version,
        recipe: manifest.recipe,
        removed: Vec::new(),
    })
}

fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, CommandError> {
    let file = folder.join(name);
    let read = || -> anyhow::Result<T> { Ok(serde_json::from_slice(&fs::read(&file)?)?) };
    read().map_err(|error| {
        CommandError::input(error.context(format!("failed to read `{}`", file.display())))
            .hint("give a folder that `stablelm data prepare` wrote")
    })
}

/// Returns what the recipe says under a key.
fn said(recipe: &Value, key: &str) -> Option<String> {
    recipe[key]
        .as_str()
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned)
}

/// The token files with their tables, and the texts where they were kept.
fn files(folder: &Path) -> Result<(Vec<CroissantFile>, Vec<CroissantRecordSet>), ManifestError> {
    let mut files = Vec::new();
    let mut tables = Vec::new();
    for part in ["tokens", "text"] {
        if !folder.join(part).is_dir() {
            continue;
        }
        for file in stablelm_data::list_files_with_hashes(&folder.join(part))? {
            tables.extend(table(part, &file));
            files.push(described(part, file));
        }
    }
    Ok((files, tables))
}

/// A file, named by its path, since two folders may hold the same name.
fn described(part: &str, file: OutputFile) -> CroissantFile {
    let path = format!("{part}/{}", file.path);
    CroissantFile {
        name: path.clone(),
        size: file.bytes,
        sha256: file.sha256,
        encoding_format: match file.path.rsplit('.').next() {
            Some("parquet") => "application/x-parquet".to_owned(),
            _ => "application/octet-stream".to_owned(),
        },
        content_url: path,
    }
}

fn table(part: &str, file: &OutputFile) -> Option<CroissantRecordSet> {
    let path = format!("{part}/{}", file.path);
    let (name, description, key, fields) = if part == "tokens" {
        let name = file.path.strip_suffix(DOCUMENTS)?;
        let what = format!("Where each document of {part}/{name}.bin comes from, in its order");
        (name, what, vec!["document"], DOCUMENT_FIELDS.to_vec())
    } else {
        let name = file.path.strip_suffix(".parquet")?;
        let what = format!("The text of each kept document of source {name}");
        (name, what, vec!["split", "document"], TEXT_FIELDS.to_vec())
    };
    Some(CroissantRecordSet {
        name: format!("{part}-{name}"),
        description,
        file: path,
        key,
        fields,
    })
}

fn rai(prepared: &Prepared) -> Vec<(RaiTerm, Vec<String>)> {
    let report = &prepared.report;
    let names = report
        .sources
        .iter()
        .map(|source| format!("{} ({})", source.name, source.kind));
    let names: Vec<String> = names.collect();
    let one = |text: &str| vec![text.to_owned()];
    let quarantined: u64 = report.sources.iter().map(|source| source.quarantined).sum();
    let dropped = report.documents_in - report.documents_kept;
    vec![
        (
            RaiTerm::DataCollection,
            vec![format!(
                "Nothing was collected for it; it is a selection from these sources: {}.",
                names.join(", ")
            )],
        ),
        (
            RaiTerm::DataCollectionRawData,
            one("manifest.json names every input file with its size and SHA-256."),
        ),
        (
            RaiTerm::DataCollectionMissingData,
            vec![format!(
                "{dropped} of {} documents were dropped, each with its reason in dropped/; {quarantined} \
                 rows that could not be read or told apart are in quarantine/.",
                report.documents_in
            )],
        ),
        (RaiTerm::DataPreprocessingProtocol, preprocessing(prepared)),
        (
            RaiTerm::DataBiases,
            one(
                "Not measured. It has those of its sources; filters by word and line statistics favor edited \
                 English prose over other languages, dialects and forms of text.",
            ),
        ),
        (
            RaiTerm::DataUseCases,
            one("Pretraining of language models with GPT-NeoX."),
        ),
        (
            RaiTerm::DataLimitations,
            one(
                "No person read the documents. Filters are heuristics: they drop some good text and keep some bad. \
                 Not meant as a source of facts or for evaluation.",
            ),
        ),
        (
            RaiTerm::DataSocialImpact,
            one(
                "Not assessed. Models trained on it may repeat what its sources say, harmful text included.",
            ),
        ),
        (
            RaiTerm::PersonalSensitiveInformation,
            vec![personal(&report.sources)],
        ),
        (
            RaiTerm::DataReleaseMaintenancePlan,
            one("None. The same recipe and inputs give the same files again."),
        ),
    ]
}

fn preprocessing(prepared: &Prepared) -> Vec<String> {
    let books3 = &prepared.report.books3;
    let mut steps = vec![format!(
        "Books3 is excluded whatever the recipe says: {} documents excluded, {} left.",
        books3.documents_excluded, books3.remaining
    )];
    for source in &prepared.report.sources {
        let stages: Vec<&str> = source
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        steps.push(format!(
            "Source {}: {}; {} of {} documents kept.",
            source.name,
            stages.join(", "),
            source.documents_kept,
            source.documents_in
        ));
    }
    let tokenizer = &prepared.tokenizer;
    steps.push(format!(
        "Tokens are those of {} (SHA-256 {}).",
        tokenizer.source, tokenizer.sha256
    ));
    steps
}

/// Says of which sources email and IP addresses were replaced.
fn personal(sources: &[SourceReport]) -> String {
    let replaced = |source: &&SourceReport| source.stages.iter().any(|stage| stage.name == "pii");
    let names: Vec<&str> = sources
        .iter()
        .filter(replaced)
        .map(|source| source.name.as_str())
        .collect();
    let what = "names, addresses and other information about people";
    if names.is_empty() {
        format!("Texts may hold {what}; the recipe removes none of it.")
    } else {
        format!(
            "Email and IP addresses were replaced in {}. Texts may hold {what}.",
            names.join(", ")
        )
    }
}
