//! What one model or one prepared data set is made of, and what was done to it.
//!
//! A ledger is one JSON document. Its order is that of the fields and lists here, so the same
//! ledger always has the same bytes. Fields that a newer minor addition brings are ignored when
//! read; a higher version is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::changes::{self, ChainError, ChangeRecord, NewChange};
use crate::component::{Component, ComponentKind, RelationKind};
use crate::registry::Registry;
use crate::spdx::NOASSERTION;

/// The version of the ledger's JSON form that this crate writes, and the highest it reads.
pub const LEDGER_VERSION: u32 = 1;

/// What one model or one prepared data set is made of, and what was done to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The version of this form.
    pub version: u32,
    /// What the documents call the whole.
    pub title: String,
    /// The id of the component that this is a copy or a change of; none for a mixture of data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Everything with a license of its own, the subject first.
    pub components: Vec<Component>,
    /// How the components came from one another.
    #[serde(default)]
    pub edges: Vec<Edge>,
    /// The data that was used, with counts.
    #[serde(default)]
    pub sources: Vec<SourceUse>,
    /// The data that was kept out, with counts.
    #[serde(default)]
    pub exclusions: Vec<Exclusion>,
    /// What was done, oldest first.
    #[serde(default)]
    pub changes: Vec<ChangeRecord>,
    /// What the licenses ask for, and how far it was met when somebody last looked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obligations: Vec<Obligation>,
    /// What licensors asked to remove from the documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removal_requests: Vec<RemovalRequest>,
    /// Broken terms, and when they were discovered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// Notices that came with the material and say more than the ledger does, byte for byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// What one rule came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligation {
    /// The rule's name, such as `SA-01`.
    pub rule: String,
    /// Whether it is met.
    pub state: ObligationState,
    /// What was looked at or found, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
}

/// Whether a rule is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObligationState {
    /// It is kept.
    Met,
    /// Something is still to be done or to be looked at.
    Open,
    /// It is broken.
    Broken,
    /// It asks for nothing here.
    NotApplicable,
}

/// That a licensor asked to remove its name or another notice, as CC BY-SA 4.0 3(a)(3) lets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalRequest {
    /// The id of the component.
    pub component: String,
    /// The text to remove.
    pub text: String,
    /// The day of the request, `YYYY-MM-DD`.
    pub date: String,
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// That a term was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule's name.
    pub rule: String,
    /// The day of its discovery, `YYYY-MM-DD`; from then on there are 30 days to cure it.
    pub discovered: String,
    /// The day on which it was cured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cured: Option<String>,
}

/// That one component came from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The id of the component that was made.
    pub from: String,
    /// The id of the component it was made from or with.
    pub to: String,
    /// What `to` was to `from`.
    pub kind: RelationKind,
}

/// Data that was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceUse {
    /// The id of the component, where it is a known one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The source's name in the recipe.
    pub name: String,
    /// The source's kind in the recipe.
    pub kind: String,
    /// The subset, where the source has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// Documents kept.
    pub documents: u64,
    /// Tokens kept.
    pub tokens: u64,
    /// An SPDX expression, a `LicenseRef-...` or `NOASSERTION`.
    pub license: String,
}

/// Data that was kept out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// The id of the component.
    pub component: String,
    /// Documents left out.
    pub documents_excluded: u64,
    /// Documents left out by each rule.
    #[serde(default)]
    pub by_rule: BTreeMap<String, u64>,
    /// Documents set aside because the rules could not tell.
    pub quarantined: u64,
    /// Documents of it that are left in the output.
    pub remaining: u64,
}

/// Why bytes are not a ledger.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The bytes are not JSON of the ledger's form.
    #[error("failed to read the license ledger")]
    Json(#[source] serde_json::Error),
    /// The ledger is of a later version.
    #[error("the license ledger is of version {found}, the highest known one is {supported}")]
    Version {
        /// The ledger's version.
        found: u32,
        /// The highest version this crate reads.
        supported: u32,
    },
}

impl SourceUse {
    /// Looks up what a recipe's source is and makes an entry of it.
    pub fn from_registry(
        registry: &Registry,
        name: &str,
        kind: &str,
        subset: Option<&str>,
    ) -> SourceUse {
        let component = registry.data_component(kind, subset);
        SourceUse {
            component: component.map(|component| component.id.clone()),
            name: name.to_owned(),
            kind: kind.to_owned(),
            subset: subset.map(str::to_owned),
            documents: 0,
            tokens: 0,
            license: component
                .map_or(NOASSERTION, |component| &component.license)
                .to_owned(),
        }
    }
}

impl Ledger {
    /// Starts the ledger of a model, with everything the built-in registry says it was made from.
    pub fn for_model(model: &Component) -> Ledger {
        Ledger::for_model_in(model, &Registry::builtin())
    }

    /// Starts the ledger of a model, with everything a registry says it was made from.
    pub fn for_model_in(model: &Component, registry: &Registry) -> Ledger {
        let mut ledger = Ledger::empty(&model.name);
        ledger.subject = Some(model.id.clone());
        ledger.add(model);
        ledger.follow_relations(registry);
        ledger
    }

    /// Starts the ledger of weights of which only the title is known.
    pub fn for_unknown(title: &str) -> Ledger {
        let model = Component::unknown(title, ComponentKind::Weights);
        let mut ledger = Ledger::empty(title);
        ledger.subject = Some(model.id.clone());
        ledger.add(&model);
        ledger
    }

    /// Starts the ledger of a mixture of data: its sources' components and what they are part of.
    pub fn for_mixture(
        title: &str,
        sources: Vec<SourceUse>,
        exclusions: Vec<Exclusion>,
        registry: &Registry,
    ) -> Ledger {
        let mut ledger = Ledger::empty(title);
        for source in &sources {
            let mut next = source.component.as_deref().and_then(|id| registry.get(id));
            while let Some(component) = next.filter(|component| ledger.add(component)) {
                next = component.part_of.as_deref().and_then(|id| registry.get(id));
                if let Some(whole) = next {
                    ledger.connect(&component.id, &whole.id, RelationKind::PartOf);
                }
            }
        }
        for exclusion in &exclusions {
            if let Some(component) = registry.get(&exclusion.component) {
                ledger.add(component);
            }
        }
        ledger.sources = sources;
        ledger.exclusions = exclusions;
        ledger
    }

    /// Reads a ledger.
    pub fn from_json(bytes: &[u8]) -> Result<Ledger, LedgerError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(LedgerError::Json)?;
        if version > LEDGER_VERSION {
            return Err(LedgerError::Version {
                found: version,
                supported: LEDGER_VERSION,
            });
        }
        serde_json::from_slice(bytes).map_err(LedgerError::Json)
    }

    /// Returns the ledger as JSON, one field a line, always the same bytes.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("a ledger is made of strings and numbers, which always have a JSON form");
        text.push('\n');
        text
    }

    /// Appends a change to the record.
    pub fn record(&mut self, change: NewChange) {
        changes::append(&mut self.changes, change);
    }

    /// Checks that no change was altered or taken out since it was recorded.
    pub fn verify_chain(&self) -> Result<(), ChainError> {
        changes::verify(&self.changes)
    }

    /// Returns the content of `CHANGES.json`.
    pub fn changes_json(&self) -> String {
        changes::to_json(&self.changes)
    }

    /// Returns the component this is a copy or a change of.
    pub fn subject(&self) -> Option<&Component> {
        self.component(self.subject.as_deref()?)
    }

    /// Returns a component by its id.
    pub fn component(&self, id: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.id == id)
    }

    /// Returns what a component was made from or with, in one way.
    pub fn related(&self, id: &str, kind: RelationKind) -> impl Iterator<Item = &Component> {
        self.edges
            .iter()
            .filter(move |edge| edge.from == id && edge.kind == kind)
            .filter_map(|edge| self.component(&edge.to))
    }

    /// Adds a component unless it is there; says whether it was added.
    pub fn add(&mut self, component: &Component) -> bool {
        let is_new = self.component(&component.id).is_none();
        if is_new {
            self.components.push(component.clone());
        }
        is_new
    }

    /// Returns the datasets in use that are not part of another one in the ledger.
    pub(crate) fn datasets(&self) -> impl Iterator<Item = &Component> {
        self.components.iter().filter(|component| {
            component.kind == ComponentKind::Dataset
                && !self.is_left_out(&component.id)
                && self.whole_of(component).is_none()
                && self.subject.as_ref() != Some(&component.id)
        })
    }

    /// Returns the components in the ledger that are subsets of another.
    pub(crate) fn parts(&self, id: &str) -> impl Iterator<Item = &Component> {
        self.components
            .iter()
            .filter(move |component| component.part_of.as_deref() == Some(id))
    }

    /// Returns the components that were kept out.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = &Component> {
        self.components
            .iter()
            .filter(|component| self.is_left_out(&component.id))
    }

    pub(crate) fn is_left_out(&self, id: &str) -> bool {
        self.exclusions
            .iter()
            .any(|exclusion| exclusion.component == id)
            || self
                .edges
                .iter()
                .any(|edge| edge.to == id && edge.kind == RelationKind::Excludes)
    }

    fn whole_of(&self, component: &Component) -> Option<&Component> {
        self.component(component.part_of.as_deref()?)
    }

    /// Adds what the subject and its ancestors were made from. A dataset without a license of its
    /// own comes with its parts, which may have one.
    pub(crate) fn follow_relations(&mut self, registry: &Registry) {
        let mut followed = 0;
        while let Some(component) = self.components.get(followed).cloned() {
            followed += 1;
            for relation in &component.relations {
                if let Some(other) = registry.get(&relation.to) {
                    self.add(other);
                    self.connect(&component.id, &other.id, relation.kind);
                }
            }
            if component.kind == ComponentKind::Dataset && component.is_unlicensed() {
                for part in registry.parts(&component.id) {
                    self.add(part);
                    self.connect(&part.id, &component.id, RelationKind::PartOf);
                }
            }
        }
    }

    pub(crate) fn connect(&mut self, from: &str, to: &str, kind: RelationKind) {
        let edge = Edge {
            from: from.to_owned(),
            to: to.to_owned(),
            kind,
        };
        if !self.edges.contains(&edge) {
            self.edges.push(edge);
        }
    }

    fn empty(title: &str) -> Ledger {
        Ledger {
            version: LEDGER_VERSION,
            title: title.to_owned(),
            subject: None,
            components: Vec::new(),
            edges: Vec::new(),
            sources: Vec::new(),
            exclusions: Vec::new(),
            changes: Vec::new(),
            obligations: Vec::new(),
            removal_requests: Vec::new(),
            violations: Vec::new(),
            notices: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_b() -> Ledger {
        let registry = Registry::builtin();
        Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"))
    }

    #[test]
    fn a_model_brings_its_data_tokenizer_and_code() {
        let ledger = three_b();
        let datasets: Vec<_> = ledger
            .datasets()
            .map(|dataset| dataset.id.as_str())
            .collect();
        assert_eq!(
            datasets,
            [
                "falcon-refinedweb",
                "redpajama-data-1t",
                "pilev2-dev",
                "starcoderdata",
                "pes2o",
                "the-pile"
            ]
        );
        assert!(ledger.component("gpt-neox-20b-tokenizer").is_some());
        assert!(ledger.component("redpajama-c4").is_some());
        let left_out: Vec<_> = ledger.left_out().map(|left| left.id.as_str()).collect();
        assert_eq!(left_out, ["books3"]);
    }

    #[test]
    fn a_fine_tune_brings_what_its_base_brings() {
        let registry = Registry::builtin();
        let ledger = Ledger::for_model(registry.get("stablelm-zephyr-3b").expect("known"));
        assert!(ledger.component("stablelm-3b-4e1t").is_some());
        assert!(ledger.component("falcon-refinedweb").is_some());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let ledger = three_b();
        let text = ledger.to_json();
        assert_eq!(
            Ledger::from_json(text.as_bytes()).expect("just written"),
            ledger
        );
        assert_eq!(three_b().to_json(), text);
    }

    #[test]
    fn a_later_version_is_refused_before_its_form_is_judged() {
        let read = Ledger::from_json(br#"{"version": 2, "title": 7}"#);
        assert!(matches!(
            read,
            Err(LedgerError::Version {
                found: 2,
                supported: 1
            })
        ));
        assert!(matches!(
            Ledger::from_json(b"not json"),
            Err(LedgerError::Json(_))
        ));
    }

    #[test]
    fn a_mixture_brings_the_whole_of_each_part() {
        let registry = Registry::builtin();
        let sources = vec![
            SourceUse::from_registry(&registry, "wiki", "pile", Some("Wikipedia (en)")),
            SourceUse::from_registry(&registry, "own", "jsonl", None),
        ];
        assert_eq!(sources[1].license, NOASSERTION);
        let ledger = Ledger::for_mixture("demo", sources, Vec::new(), &registry);
        let ids: Vec<_> = ledger
            .components
            .iter()
            .map(|found| found.id.as_str())
            .collect();
        assert_eq!(ids, ["pile-wikipedia-en", "the-pile"]);
        assert_eq!(ledger.edges.len(), 1);
    }
}
