//! Croissant 1.1 metadata of a prepared data set: JSON-LD with every field the format requires.
//!
//! The context is the one the format's own tool writes, so that the tool does not warn.

use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::spdx::{self, NOASSERTION};
use crate::text::one_line;

const CONTEXT: &str = include_str!("../data/croissant-context-1.1.json");
const CONFORMS_TO: &str = "http://mlcommons.org/croissant/1.1";
const RAI_CONFORMS_TO: &str = "http://mlcommons.org/croissant/RAI/1.0";
const UNKNOWN_LICENSE: &str =
    "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense";

/// The folder of the document, as an address relative to it.
const HERE: &str = "./";

/// What a prepared data set says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CroissantDataset {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Where it is published; `None` when nobody said, and then it is where this document lies.
    pub url: Option<String>,
    /// The day it was published, `YYYY-MM-DD`.
    pub date_published: String,
    /// Who made it; `None` when nobody said.
    pub creator: Option<String>,
    /// Its files.
    pub files: Vec<CroissantFile>,
    /// Its tables.
    pub record_sets: Vec<CroissantRecordSet>,
    /// What it says of itself for responsible use; with any statement the document also conforms to
    /// the RAI extension.
    pub rai: Vec<(RaiTerm, Vec<String>)>,
    /// What made it, where that is known.
    pub generated_by: Option<String>,
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

/// A table of a prepared data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CroissantRecordSet {
    /// Its name, also its identifier; unlike that of every file and every other table.
    pub name: String,
    /// What its rows are.
    pub description: String,
    /// The name of the file that holds it.
    pub file: String,
    /// The columns whose values name a row.
    pub key: Vec<&'static str>,
    /// Its columns.
    pub fields: Vec<CroissantField>,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CroissantField {
    /// Its name in the file.
    pub name: &'static str,
    /// What it holds.
    pub description: &'static str,
    /// Of what type its values are.
    pub data_type: CroissantType,
}

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CroissantType {
    /// Characters.
    Text,
    /// A whole number.
    Integer,
}

/// A term of the RAI extension 1.0, under the names of its vocabulary, not of its prose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaiTerm {
    /// How the data came together.
    DataCollection,
    /// What is missing.
    DataCollectionMissingData,
    /// What it was made from.
    DataCollectionRawData,
    /// What was done to it.
    DataPreprocessingProtocol,
    /// What it is known to be one-sided in.
    DataBiases,
    /// What it is for.
    DataUseCases,
    /// What it is not good for.
    DataLimitations,
    /// What it may do to people.
    DataSocialImpact,
    /// What it holds about people.
    PersonalSensitiveInformation,
    /// How it is kept up.
    DataReleaseMaintenancePlan,
}

impl RaiTerm {
    /// Returns the key of the document.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataCollection => "rai:dataCollection",
            Self::DataCollectionMissingData => "rai:dataCollectionMissingData",
            Self::DataCollectionRawData => "rai:dataCollectionRawData",
            Self::DataPreprocessingProtocol => "rai:dataPreprocessingProtocol",
            Self::DataBiases => "rai:dataBiases",
            Self::DataUseCases => "rai:dataUseCases",
            Self::DataLimitations => "rai:dataLimitations",
            Self::DataSocialImpact => "rai:dataSocialImpact",
            Self::PersonalSensitiveInformation => "rai:personalSensitiveInformation",
            Self::DataReleaseMaintenancePlan => "rai:dataReleaseMaintenancePlan",
        }
    }
}

/// Returns the JSON-LD document of a prepared data set.
pub fn croissant(ledger: &Ledger, dataset: &CroissantDataset) -> Value {
    let context: Value =
        serde_json::from_str(CONTEXT).expect("a test reads the context built into the crate");
    let files: Vec<Value> = dataset.files.iter().map(file_object).collect();
    let mut document = json!({
        "@context": context,
        "@type": "sc:Dataset",
        "conformsTo": if dataset.rai.is_empty() { json!(CONFORMS_TO) } else { json!([CONFORMS_TO, RAI_CONFORMS_TO]) },
        "name": dataset.name,
        "description": dataset.description,
        "license": license_addresses(ledger),
        "url": dataset.url.as_deref().unwrap_or(HERE),
        "creator": creator(dataset),
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
    });
    let mut add = |key: &str, value: Value| document[key] = value;
    if !dataset.record_sets.is_empty() {
        add(
            "recordSet",
            dataset.record_sets.iter().map(record_set).collect(),
        );
    }
    for (term, statements) in &dataset.rai {
        add(term.as_str(), json!(statements));
    }
    let origins: Vec<Value> = origins(ledger).map(|url| json!({ "@id": url })).collect();
    if !origins.is_empty() {
        add("prov:wasDerivedFrom", json!(origins));
    }
    if let Some(tool) = &dataset.generated_by {
        add(
            "prov:wasGeneratedBy",
            json!({ "@type": "prov:Activity", "prov:label": tool }),
        );
    }
    document
}

/// Returns the addresses of the data sets that were used.
fn origins(ledger: &Ledger) -> impl Iterator<Item = &str> {
    let addresses = ledger.datasets().map(|dataset| dataset.url.as_str());
    addresses.filter(|url| !url.is_empty())
}

fn record_set(set: &CroissantRecordSet) -> Value {
    let id = |field: &str| format!("{}/{field}", set.name);
    let fields = set.fields.iter().map(|field| {
        json!({
            "@type": "cr:Field",
            "@id": id(field.name),
            "name": field.name,
            "description": field.description,
            "dataType": match field.data_type {
                CroissantType::Text => "sc:Text",
                CroissantType::Integer => "sc:Integer",
            },
            "source": {
                "fileObject": { "@id": set.file },
                "extract": { "column": field.name }
            }
        })
    });
    let fields: Vec<Value> = fields.collect();
    let keys = set.key.iter().map(|field| json!({ "@id": id(field) }));
    let keys: Vec<Value> = keys.collect();
    let mut record_set = json!({
        "@type": "cr:RecordSet",
        "@id": set.name,
        "name": set.name,
        "description": set.description,
        "field": fields,
    });
    if !keys.is_empty() {
        record_set["key"] = json!(keys);
    }
    record_set
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
    let author = dataset
        .creator
        .as_deref()
        .map_or_else(String::new, |creator| {
            format!(" author = {{{{{}}}}},", plain(creator))
        });
    let url = dataset
        .url
        .as_deref()
        .map_or_else(String::new, |url| format!(", url = {{{}}}", plain(url)));
    format!(
        "@misc{{{key},{author} title = {{{{{}}}}}, year = {{{year}}}{url}}}",
        plain(&dataset.name)
    )
}

/// The format asks for a maker; where nobody is named, the document says just that.
fn creator(dataset: &CroissantDataset) -> Value {
    match &dataset.creator {
        Some(name) => json!({ "@type": "sc:Organization", "name": one_line(name) }),
        None => json!({
            "@type": "sc:Organization",
            "name": "Not stated",
            "description": "Neither the recipe nor whoever wrote this document named a maker."
        }),
    }
}
