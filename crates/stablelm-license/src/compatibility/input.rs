//! What comes in: a bare license, a component, or all of a ledger that the context touches.

use crate::component::{Component, ComponentKind, RelationKind};
use crate::ledger::{Ledger, SourceUse};
use crate::notice::licensed_material;
use crate::terms::{ExpressionError, LicenseExpression};

use super::Context;

/// One thing that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckInput {
    /// What reports call it.
    pub label: String,
    /// Its license.
    pub license: LicenseExpression,
    /// What it is; nothing for a bare license.
    pub kind: Option<ComponentKind>,
    /// True for what lies in a database under terms of its own.
    pub is_contents: bool,
    /// Who made it, as names or ids.
    pub creators: Vec<String>,
    /// The accounts on the hub that it belongs to.
    pub accounts: Vec<String>,
    /// Why it was taken down, if it was.
    pub takedown: Option<String>,
}

impl CheckInput {
    /// Makes an input of a bare license.
    pub fn from_expression(license: LicenseExpression) -> CheckInput {
        CheckInput {
            label: license.to_string(),
            license,
            kind: None,
            is_contents: false,
            creators: Vec::new(),
            accounts: Vec::new(),
            takedown: None,
        }
    }

    /// Makes an input of a component.
    ///
    /// # Errors
    /// When the component's license is no expression.
    pub fn from_component(component: &Component) -> Result<CheckInput, ExpressionError> {
        let account = component
            .hf_id
            .as_deref()
            .and_then(|id| id.split_once('/'))
            .map(|(account, _)| account.to_owned());
        Ok(CheckInput {
            label: component.id.clone(),
            license: LicenseExpression::parse(&component.license)?,
            kind: Some(component.kind),
            is_contents: component.part_of.is_some(),
            creators: component.creators.clone(),
            accounts: account.into_iter().collect(),
            takedown: component
                .takedown
                .as_ref()
                .map(|takedown| takedown.reason.clone()),
        })
    }

    /// Makes the inputs that a ledger brings to a context: the weights and what they derive from;
    /// for training and data, also the data; side by side, also the tokenizer.
    ///
    /// What was left out does not come in, unless documents of it remain.
    ///
    /// # Errors
    /// When a license in the ledger is no expression.
    pub fn from_ledger(
        ledger: &Ledger,
        context: Context,
    ) -> Result<Vec<CheckInput>, ExpressionError> {
        let mut inputs = Vec::new();
        if context != Context::Data || ledger.sources.is_empty() {
            for component in components(ledger, context) {
                inputs.push(CheckInput::from_component(component)?);
            }
        }
        for source in &ledger.sources {
            inputs.push(of_source(ledger, source)?);
        }
        for exclusion in ledger.exclusions.iter().filter(|left| left.remaining > 0) {
            inputs.push(CheckInput {
                label: exclusion.component.clone(),
                kind: Some(ComponentKind::Dataset),
                takedown: Some(format!("{} documents remain", exclusion.remaining)),
                ..CheckInput::from_expression(LicenseExpression::unknown())
            });
        }
        Ok(inputs)
    }

    /// True when the owner is recorded as the one who made it, and nobody else is.
    pub(super) fn is_made_by(&self, owner: &str) -> bool {
        let is_owner = |name: &String| plain(name) == plain(owner);
        let by_name = !self.creators.is_empty() && self.creators.iter().all(is_owner);
        // An account stands for the one creator that is named beside it.
        by_name || (self.creators.len() == 1 && self.accounts.iter().any(is_owner))
    }

    pub(super) fn creators_phrase(&self) -> String {
        if self.creators.is_empty() {
            "no creator is recorded".to_owned()
        } else {
            format!("recorded: {}", self.creators.join(", "))
        }
    }
}

/// Returns a name without what differs between its spellings.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

fn components(ledger: &Ledger, context: Context) -> Vec<&Component> {
    let mut found = licensed_material(ledger);
    if context == Context::Agg {
        found.extend(ledger.components.iter().filter(|component| {
            component.kind == ComponentKind::Tokenizer
                && ledger
                    .edges
                    .iter()
                    .any(|edge| edge.to == component.id && edge.kind == RelationKind::UsesTokenizer)
        }));
    }
    if matches!(context, Context::Train | Context::Data) && ledger.sources.is_empty() {
        for dataset in ledger.datasets() {
            let parts: Vec<_> = ledger.parts(&dataset.id).collect();
            // A whole without a license of its own is known by its parts.
            if dataset.is_unlicensed() && !parts.is_empty() {
                let present = parts.into_iter().filter(|part| part.takedown.is_none());
                found.extend(present);
            } else {
                found.push(dataset);
            }
        }
    }
    found
}

fn of_source(ledger: &Ledger, source: &SourceUse) -> Result<CheckInput, ExpressionError> {
    let component = source
        .component
        .as_deref()
        .and_then(|id| ledger.component(id));
    let label = match &source.subset {
        Some(subset) => format!("{}/{subset}", source.name),
        None => source.name.clone(),
    };
    let known = component.map(CheckInput::from_component).transpose()?;
    let known = known.unwrap_or_else(|| CheckInput::from_expression(LicenseExpression::unknown()));
    // A subset that is defunct because of one part may stay once that part is proved absent.
    let is_cleaned = component
        .and_then(|component| component.takedown.as_ref())
        .is_some_and(|takedown| takedown.state == "defunct")
        && ledger.exclusions.iter().any(|left| left.remaining == 0);
    Ok(CheckInput {
        label,
        license: LicenseExpression::parse(&source.license)?,
        kind: Some(ComponentKind::Dataset),
        takedown: known.takedown.clone().filter(|_| !is_cleaned),
        ..known
    })
}
