//! A folder and its ledger as the checks look at them.

use std::collections::BTreeMap;

use crate::component::{Component, ComponentKind, RelationKind};
use crate::ledger::Ledger;
use crate::notice::licensed_material;
use crate::registry::Registry;
use crate::release::Release;
use crate::terms::{LicenseClass, LicenseExpression, LicenseTerm};
use crate::{card, safetensors};

/// The documents that we write, and that others read first.
pub(crate) const DOCUMENTS: [&str; 4] = ["README.md", "NOTICE", "ATTRIBUTION.md", "CITATION.cff"];

/// A folder and its ledger.
pub(crate) struct View<'a> {
    pub(crate) release: &'a Release,
    pub(crate) ledger: Option<&'a Ledger>,
    /// The subject and what it derives from.
    pub(crate) materials: Vec<&'a Component>,
    /// The data in use, wholes and parts.
    pub(crate) data: Vec<&'a Component>,
}

/// Returns the ledger of a folder: its own, else what the weights' headers or the card say.
pub(super) fn effective_ledger(release: &Release) -> Option<Ledger> {
    release
        .ledger
        .clone()
        .or_else(|| {
            release
                .metadata
                .values()
                .find_map(safetensors::ledger_from_safetensors_metadata)
        })
        .or_else(|| {
            let readme = release.texts.get("README.md")?;
            card::ledger_from_card(readme, &Registry::builtin())
        })
}

impl<'a> View<'a> {
    pub(super) fn new(release: &'a Release, ledger: Option<&'a Ledger>) -> View<'a> {
        View {
            release,
            ledger,
            materials: ledger.map(licensed_material).unwrap_or_default(),
            data: ledger.map(data_in_use).unwrap_or_default(),
        }
    }

    /// True for prepared data, which has no subject of its own.
    pub(crate) fn is_data(&self) -> bool {
        self.ledger
            .is_some_and(|ledger| ledger.subject.is_none() && !ledger.sources.is_empty())
    }

    /// Returns what the folder is a copy or a change of.
    pub(crate) fn subject(&self) -> Option<&'a Component> {
        self.materials.first().copied()
    }

    /// Returns the materials under CC BY or CC BY-SA, whose section 3(a) is the same.
    pub(crate) fn credited(&self) -> Vec<&'a Component> {
        self.materials
            .iter()
            .copied()
            .filter(|material| is_creative_commons(material))
            .collect()
    }

    /// Returns the materials under CC BY-SA.
    pub(crate) fn share_alike(&self) -> Vec<&'a Component> {
        self.materials
            .iter()
            .copied()
            .filter(|material| has_class(material, &[LicenseClass::ShareAlike]))
            .collect()
    }

    /// Returns the data under a kind of terms.
    pub(crate) fn data_under(&self, class: LicenseClass) -> Vec<&'a Component> {
        self.data
            .iter()
            .copied()
            .filter(|component| has_class(component, &[class]))
            .collect()
    }

    /// Returns what is in the folder itself: the materials, and the tokenizer where its file is.
    pub(crate) fn included(&self) -> Vec<&'a Component> {
        let mut found = self.materials.clone();
        let has_tokenizer = self.release.files.keys().any(|path| {
            path.ends_with("tokenizer.json") || path.ends_with("tokenizer_config.json")
        });
        if let (true, Some(ledger)) = (has_tokenizer, self.ledger) {
            found.extend(ledger.components.iter().filter(|component| {
                component.kind == ComponentKind::Tokenizer
                    && ledger.edges.iter().any(|edge| {
                        edge.to == component.id && edge.kind == RelationKind::UsesTokenizer
                    })
            }));
        }
        found
    }

    /// Returns a text of the folder.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.release.texts.get(name).map(String::as_str)
    }

    /// Returns the document that credits the data: `ATTRIBUTION.md`, else `NOTICE`.
    pub(crate) fn credits(&self) -> Option<(&'static str, &'a str)> {
        ["ATTRIBUTION.md", "NOTICE"]
            .into_iter()
            .find_map(|name| self.text(name).map(|text| (name, text)))
    }

    /// Returns the documents that are there.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        DOCUMENTS
            .into_iter()
            .filter_map(|name| self.text(name).map(|text| (name, text)))
    }

    /// Returns the texts of licenses, by path.
    pub(crate) fn license_files(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.release
            .texts
            .iter()
            .filter(|(path, _)| is_license_file(path))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Returns the headers of the weights, by path.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&'a str, &'a BTreeMap<String, String>)> {
        self.release
            .metadata
            .iter()
            .map(|(path, entries)| (path.as_str(), entries))
    }

    /// True when a licensor asked to be unnamed, or for that text to go.
    pub(crate) fn is_to_be_removed(&self, text: &str) -> bool {
        self.ledger.is_some_and(|ledger| {
            ledger
                .removal_requests
                .iter()
                .any(|request| !request.text.is_empty() && text.contains(&request.text))
        })
    }
}

/// True for `LICENSE`, `LICENSES/MIT.txt`, `COPYING` and their like.
pub(crate) fn is_license_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_uppercase();
    path.starts_with("LICENSES/")
        || name.starts_with("LICENSE")
        || name.starts_with("LICENCE")
        || name.starts_with("COPYING")
}

/// True when the license of a component names terms of one of these kinds.
pub(crate) fn has_class(component: &Component, classes: &[LicenseClass]) -> bool {
    LicenseExpression::parse(&component.license)
        .is_ok_and(|license| license.terms().any(|term| classes.contains(&term.class)))
}

fn is_creative_commons(component: &Component) -> bool {
    let asks_credit = |term: &LicenseTerm| {
        matches!(
            term.class,
            LicenseClass::ShareAlike | LicenseClass::Attribution
        ) && term.id.starts_with("CC-")
    };
    LicenseExpression::parse(&component.license)
        .is_ok_and(|license| license.terms().any(asks_credit))
}

fn data_in_use(ledger: &Ledger) -> Vec<&Component> {
    ledger
        .components
        .iter()
        .filter(|component| component.kind == ComponentKind::Dataset)
        .filter(|component| component.takedown.is_none())
        .filter(|component| ledger.subject.as_ref() != Some(&component.id))
        .filter(|component| !ledger.is_left_out(&component.id))
        .collect()
}

/// Returns line and column of the first place of a text, both counted from 1.
pub(crate) fn place_of(text: &str, needle: &str) -> Option<(usize, usize)> {
    text.find(needle).map(|at| place_at(text, at))
}

/// Returns line and column of a byte offset, both counted from 1, the column in characters.
pub(crate) fn place_at(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    (line, before[start..].chars().count() + 1)
}
