//! What has a license: weights, tokenizers, code and datasets, and the claims made about them.
//!
//! Plain data as it lies in the registry's files and in a ledger. Optional fields are left out of
//! the JSON when empty.

use serde::{Deserialize, Serialize};

use crate::spdx::{self, NOASSERTION};

/// A thing with a license of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Our own name for it: lower case, stable.
    pub id: String,
    /// Its name as its makers write it.
    pub name: String,
    /// What it is.
    pub kind: ComponentKind,
    /// Its `organization/name` on the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hf_id: Option<String>,
    /// Other names it is found by, in any letter case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The id of the component this one is a subset of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<String>,
    /// Where it is published; empty when nobody said.
    pub url: String,
    /// Who made it; empty when unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub creators: Vec<String>,
    /// Copyright notices it came with, byte for byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copyright: Vec<String>,
    /// The year of its first publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// The day of its first publication, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<String>,
    /// Languages of its text, as ISO 639 codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// What we conclude from the claims: an SPDX expression, a `LicenseRef-...`, or `NOASSERTION`.
    pub license: String,
    /// Where the terms stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_url: Option<String>,
    /// The credit to print, as plain text that is also Markdown.
    pub attribution: String,
    /// What the license does not cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents_caveat: Option<String>,
    /// Set when it was taken down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takedown: Option<Takedown>,
    /// What users have to do before they may download it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// How it asks to be cited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub citation: Option<Citation>,
    /// What it was made from and with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<Relation>,
    /// Which source kinds and subsets of a data recipe it stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceMatch>,
    /// Every statement found about its license, contradictions included.
    pub claims: Vec<Claim>,
}

impl Component {
    /// Returns a component of which only the title is known, with the license `NOASSERTION`.
    pub fn unknown(title: &str, kind: ComponentKind) -> Component {
        Component {
            id: id_from_title(title),
            name: title.to_owned(),
            kind,
            hf_id: None,
            aliases: Vec::new(),
            part_of: None,
            url: String::new(),
            creators: Vec::new(),
            copyright: Vec::new(),
            year: None,
            released: None,
            languages: Vec::new(),
            license: NOASSERTION.to_owned(),
            license_url: None,
            attribution: format!("{title}; neither its creators nor its license are known."),
            contents_caveat: None,
            takedown: None,
            gate: None,
            citation: None,
            relations: Vec::new(),
            sources: Vec::new(),
            claims: vec![Claim {
                value: NOASSERTION.to_owned(),
                kind: ClaimKind::Concluded,
                source: "nothing that came with it".to_owned(),
                revision: None,
                read: String::new(),
                evidence_sha256: None,
                status: ClaimStatus::Unverified,
                note: None,
            }],
        }
    }

    /// Returns where the license's terms stand: the component's own address, else the usual one.
    pub fn license_address(&self) -> Option<String> {
        self.license_url
            .clone()
            .or_else(|| spdx::license_url(&self.license))
    }

    /// Returns the creators as one phrase, or `unknown`.
    pub fn creators_phrase(&self) -> String {
        if self.creators.is_empty() {
            "unknown".to_owned()
        } else {
            self.creators.join(", ")
        }
    }

    /// True when no license is known.
    pub fn is_unlicensed(&self) -> bool {
        self.license == NOASSERTION
    }
}

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentKind {
    /// The parameters of a model.
    Weights,
    /// A tokenizer's vocabulary and merges.
    Tokenizer,
    /// A program.
    Code,
    /// Text that models are trained on.
    Dataset,
}

/// One statement about a license, with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What was said, in the source's own words or as an SPDX expression.
    pub value: String,
    /// Who says so.
    pub kind: ClaimKind,
    /// Where it was read.
    pub source: String,
    /// The revision of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The day it was read, `YYYY-MM-DD`; empty when nobody noted it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub read: String,
    /// The SHA-256 of the source as it was read, in lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_sha256: Option<String>,
    /// Whether the source itself was read.
    pub status: ClaimStatus,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Who makes a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimKind {
    /// The makers of the component.
    Declared,
    /// We do, from the other claims.
    Concluded,
    /// What is in the files, whatever is said about them.
    Observed,
}

/// Whether the source of a claim was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimStatus {
    /// The named source was read and says so.
    Verified,
    /// It was not, or only through another page.
    Unverified,
}

/// That a component was taken down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Takedown {
    /// `removed` or `defunct`.
    pub state: String,
    /// When, as exactly as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Why.
    pub reason: String,
    /// Where that was read.
    pub source: String,
}

/// What stands between a user and a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// `lifted`, `gated` or `click-through`.
    pub state: String,
    /// What the gate asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Where that was read.
    pub source: String,
    /// What else there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How a component asks to be cited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The BibTeX entry type, such as `misc`.
    pub kind: String,
    /// The BibTeX key.
    pub key: String,
    /// The authors, in order.
    pub authors: Vec<Author>,
    /// True when more authors follow the named ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub others: bool,
    /// The title.
    pub title: String,
    /// The year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// The address.
    pub url: String,
    /// The arXiv identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arxiv: Option<String>,
    /// The institution that published a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub institution: Option<String>,
}

/// A person or an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Author {
    /// A person.
    Person {
        /// Family name.
        family: String,
        /// Given names.
        given: String,
    },
    /// An organization or a group.
    Entity {
        /// Its name.
        name: String,
    },
}

/// How a component came from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// What the other one was to it.
    pub kind: RelationKind,
    /// The other component's id.
    pub to: String,
}

/// What one component is to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelationKind {
    /// Weights made by fine-tuning, merging or pruning the other.
    DerivedFrom,
    /// Weights trained on the other.
    TrainedOn,
    /// A dataset deliberately left out.
    Excludes,
    /// Weights that read text through the other.
    UsesTokenizer,
    /// Weights made by running the other.
    TrainedWith,
    /// A subset of the other.
    PartOf,
}

/// A source of a data recipe that a component stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMatch {
    /// The `kind` of the recipe's source, such as `pile`.
    pub kind: String,
    /// The subsets, in any letter case; none stands for the source as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsets: Vec<String>,
}

/// Makes an id from a title: lower case, everything but letters, digits, `.` and `_` becomes `-`.
fn id_from_title(title: &str) -> String {
    let mut id = String::with_capacity(title.len());
    for character in title.chars() {
        match character {
            'A'..='Z' => id.push(character.to_ascii_lowercase()),
            'a'..='z' | '0'..='9' | '.' | '_' => id.push(character),
            _ if id.ends_with('-') || id.is_empty() => {}
            _ => id.push('-'),
        }
    }
    let trimmed = id.trim_end_matches('-');
    if trimmed.is_empty() {
        "unnamed".to_owned()
    } else {
        trimmed.to_owned()
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde gives the field by reference"
)]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_plain_characters() {
        let check = |title: &str, expected: &str| assert_eq!(id_from_title(title), expected);
        check("My Model (v2)", "my-model-v2");
        check("stablelm-2-1_6b", "stablelm-2-1_6b");
        check("  ", "unnamed");
        check("模型", "unnamed");
    }

    #[test]
    fn an_unknown_component_claims_nothing() {
        let component = Component::unknown("Something", ComponentKind::Weights);
        assert!(component.is_unlicensed());
        assert_eq!(component.creators_phrase(), "unknown");
        assert_eq!(component.license_address(), None);
    }
}
