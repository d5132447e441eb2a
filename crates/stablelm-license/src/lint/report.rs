//! Collects findings about one text.

use std::ops::Range;

use super::place::Places;
use super::{Fix, Lint};
use crate::finding::{Finding, Severity};

pub(crate) const YAML_SOURCE: &str = "https://yaml.org/spec/1.2.2/";
pub(crate) const HUB_SOURCE: &str = "https://huggingface.co/docs/hub/model-cards";
pub(crate) const HUB_LICENSE_SOURCE: &str = "https://huggingface.co/docs/hub/repositories-licenses";
pub(crate) const HUB_GATE_SOURCE: &str = "https://huggingface.co/docs/hub/models-gated";
pub(crate) const CFF_SOURCE: &str =
    "https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema-guide.md";

/// Where a rule comes from.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) severity: Severity,
    pub(crate) source: &'static str,
}

/// The findings about one text so far.
pub(crate) struct Report<'a> {
    name: &'a str,
    places: Places<'a>,
    lints: Vec<(usize, Lint)>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        Self {
            name,
            places: Places::new(text),
            lints: Vec::new(),
        }
    }

    /// Adds a finding at a byte.
    pub(crate) fn add(&mut self, rule: Rule, at: usize, reason: String, next_step: &str) {
        self.push(rule, at, reason, next_step, None);
    }

    /// Adds a finding with the change that puts it right.
    pub(crate) fn add_fix(
        &mut self,
        rule: Rule,
        bytes: Range<usize>,
        reason: String,
        replacement: String,
    ) {
        let step = if replacement.is_empty() {
            "remove it".to_owned()
        } else {
            format!("write `{}`", crate::text::one_line(&replacement))
        };
        let at = bytes.start;
        self.push(rule, at, reason, &step, Some(Fix { bytes, replacement }));
    }

    fn push(&mut self, rule: Rule, at: usize, reason: String, next_step: &str, fix: Option<Fix>) {
        let (line, column) = self.places.at(at);
        let finding = Finding {
            rule: rule.id.to_owned(),
            clause: rule.clause.to_owned(),
            severity: rule.severity,
            reason,
            source: rule.source.to_owned(),
            file: Some(self.name.to_owned()),
            line: Some(line),
            column: Some(column),
            next_step: (!next_step.is_empty()).then(|| next_step.to_owned()),
        };
        self.lints.push((at, Lint { finding, fix }));
    }

    /// Returns the findings in the order of the text.
    pub(crate) fn finish(mut self) -> Vec<Lint> {
        self.lints.sort_by_key(|(at, _)| *at);
        self.lints.into_iter().map(|(_, lint)| lint).collect()
    }
}
