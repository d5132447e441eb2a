//! The first rule that a document breaks, where rules are tried one after another.

use crate::filter::{Metrics, Outcome, Reason};

/// What the rules so far say of a document.
pub(super) struct Verdict {
    broken: Option<Reason>,
    /// Whether the rules after a broken one are measured too.
    go_on: bool,
}

impl Verdict {
    /// No rule is broken yet; where somebody takes `metrics`, all rules are tried.
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            broken: None,
            go_on: metrics.is_on(),
        }
    }

    /// Takes a rule's result; returns whether there is no need to look at the rules after it.
    pub(super) fn drop_if(&mut self, broken: bool, reason: Reason) -> bool {
        if broken && self.broken.is_none() {
            self.broken = Some(reason);
        }
        self.broken.is_some() && !self.go_on
    }

    /// A rule that is broken above its limit, and off where the limit is 0.
    pub(super) fn above(&mut self, name: &'static str, value: f64, limit: f64) -> bool {
        let reason = Reason::measured(name, value, limit);
        self.drop_if(limit != 0.0 && value > limit, reason)
    }

    /// A rule that is broken below its limit, and off where the limit is 0.
    pub(super) fn below(&mut self, name: &'static str, value: f64, limit: f64) -> bool {
        let reason = Reason::measured(name, value, limit);
        self.drop_if(limit != 0.0 && value < limit, reason)
    }

    pub(super) fn outcome(self) -> Outcome {
        self.broken.map_or(Outcome::Keep, Outcome::Drop)
    }
}

/// A quotient of counts as Python has it; not a number where there is nothing to divide, and then
/// no rule is broken.
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    // Texts are far shorter than 2^53 characters, so doubles hold the counts exactly.
    part as f64 / whole as f64
}
