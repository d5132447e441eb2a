//! Croissant 1.1 metadata of a prepared data set: JSON-LD with every field the format requires.
//!
//! The context is the one the format's own tool writes, so that the tool does not warn.

use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::spdx::{self, NOASSERTION};
use crate::text::one_line;

const CONTEXT: &str = include_str!("../data/croissant-context-1.1.json");
const UNKNOWN_LICENSE: &str =
    "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense";

/// What a prepared data set says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CroissantDataset {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Where it is published.
    pub url: String,
    /// The day it was published, `YYYY-MM-DD`.
    pub date_published: String,
    /// Who made it.
    pub creator: String,
    /// Its files.
    pub files: Vec<CroissantFile>,
}

/// A file of a prepared data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CroissantFile {
    /// Its name, also its identifier; unique in the data set.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Its media type, such as `application/x-parquet`.
    pub encoding_format: String,
    /// Where it lies; a path is relative to the document.
    pub content_url: String,
}

/// Returns the JSON-LD document of a prepared data set.
pub fn croissant(ledger: &Ledger, dataset: &CroissantDataset) -> Value {
    let context: Value =
        serde_json::from_str(CONTEXT).expect("a test reads the context built into the crate");
    let files: Vec<Value> = dataset.files.iter().map(file_object).collect();
    json!({
        "@context": context,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": dataset.name,
        "description": dataset.description,
        "license": license_addresses(ledger),
        "url": dataset.url,
        "creator": { "@type": "sc:Organization", "name": dataset.creator },
        "datePublished": dataset.date_published,
        "version": "1.0.0",
        "isLiveDataset": false,
        "citeAs": cite_as(dataset),
        "sdLicense": "https://creativecommons.org/publicdomain/zero/1.0/",
        "usageInfo": {
            "@type": "CreativeWork",
            "name": "Sources, their licenses and the statements they require",
            "url": "ATTRIBUTION.md"
        },
        "distribution": files,
    })
}

fn file_object(file: &CroissantFile) -> Value {
    json!({
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "contentUrl": file.content_url,
        "contentSize": format!("{} B", file.size),
        "encodingFormat": file.encoding_format,
        "sha256": file.sha256,
    })
}

/// Returns the address of every license in use, each once, in the order of the sources.
fn license_addresses(ledger: &Ledger) -> Vec<String> {
    let of_sources = ledger.sources.iter().map(|source| source.license.as_str());
    let of_datasets = ledger.datasets().map(|dataset| dataset.license.as_str());
    let licenses: Vec<&str> = if ledger.sources.is_empty() {
        of_datasets.collect()
    } else {
        of_sources.collect()
    };
    let mut addresses: Vec<String> = Vec::new();
    for id in licenses.into_iter().flat_map(spdx::identifiers) {
        let address = license_address(ledger, id);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        addresses.push(UNKNOWN_LICENSE.to_owned());
    }
    addresses
}

fn license_address(ledger: &Ledger, id: &str) -> String {
    if spdx::is_plain_identifier(id) {
        return format!("https://spdx.org/licenses/{id}.html");
    }
    let stated = || {
        let owner = ledger
            .components
            .iter()
            .find(|component| component.license == id)?;
        owner.license_url.clone()
    };
    if id == NOASSERTION {
        UNKNOWN_LICENSE.to_owned()
    } else {
        stated().unwrap_or_else(|| id.to_owned())
    }
}

fn cite_as(dataset: &CroissantDataset) -> String {
    let plain = |text: &str| one_line(&text.replace(['{', '}', '\\'], ""));
    let key: String = dataset
        .name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect();
    let year: String = dataset
        .date_published
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    format!(
        "@misc{{{key}, author = {{{{{}}}}}, title = {{{{{}}}}}, year = {{{year}}}, url = {{{}}}}}",
        plain(&dataset.creator),
        plain(&dataset.name),
        plain(&dataset.url)
    )
}
