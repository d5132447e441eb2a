//! The clauses of the licenses as rules that a folder keeps or breaks.
//!
//! Each rule is data, with its clause and where that stands, and a check over a [`Release`]. A
//! check looks for what the clause asks for in the documents, the headers of the weights and the
//! ledger; it can't tell whether a person would find it reasonable.

mod books;
mod changes;
mod databases;
mod limits;
mod notices;
mod share;
mod table;
mod view;

use serde::Serialize;

pub use changes::is_prefix;

use crate::finding::{Finding, Severity};
use crate::ledger::{Ledger, Obligation, ObligationState};
use crate::release::Release;
use table::RULES;
use view::View;

/// One clause as a rule.
#[derive(Debug)]
pub struct Rule {
    /// Its stable name, such as `SA-01`.
    pub id: &'static str,
    /// The clause.
    pub clause: &'static str,
    /// What it asks for, in a phrase.
    pub title: &'static str,
    /// What to do to keep it.
    pub help: &'static str,
    /// How much breaking it weighs at most.
    pub severity: Severity,
    /// Where the clause stands.
    pub source: &'static str,
    check: fn(&View<'_>) -> Check,
}

/// What a rule came to for one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The rule's name.
    pub rule: &'static str,
    /// Whether it is kept.
    pub state: ObligationState,
    /// What was looked at or found, in a sentence.
    pub evidence: String,
    /// What is wrong or open.
    pub findings: Vec<Finding>,
}

/// What a check comes to.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// False when the rule has nothing to say about the folder.
    applies: bool,
    evidence: String,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub(crate) struct Problem {
    severity: Severity,
    reason: String,
    file: Option<String>,
    place: Option<(usize, usize)>,
}

impl Check {
    fn absent() -> Check {
        Check::default()
    }

    fn of(evidence: impl Into<String>) -> Check {
        Check {
            applies: true,
            evidence: evidence.into(),
            problems: Vec::new(),
        }
    }

    fn add(&mut self, severity: Severity, file: Option<&str>, reason: impl Into<String>) {
        self.add_at(severity, file, None, reason);
    }

    fn add_at(
        &mut self,
        severity: Severity,
        file: Option<&str>,
        place: Option<(usize, usize)>,
        reason: impl Into<String>,
    ) {
        self.problems.push(Problem {
            severity,
            reason: reason.into(),
            file: file.map(str::to_owned),
            place,
        });
    }

    fn state(&self) -> ObligationState {
        let worst = self.problems.iter().map(|problem| problem.severity).max();
        match worst {
            _ if !self.applies => ObligationState::NotApplicable,
            None | Some(Severity::Info) => ObligationState::Met,
            Some(Severity::Error) => ObligationState::Broken,
            Some(_) => ObligationState::Open,
        }
    }
}

impl Rule {
    fn finding(&self, problem: Problem) -> Finding {
        let place = problem.place;
        Finding {
            rule: self.id.to_owned(),
            clause: self.clause.to_owned(),
            severity: problem.severity,
            reason: problem.reason,
            source: self.source.to_owned(),
            file: problem.file,
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            next_step: Some(self.help.to_owned()),
        }
    }

    fn outcome(&self, view: &View) -> Outcome {
        let check = (self.check)(view);
        Outcome {
            rule: self.id,
            state: check.state(),
            evidence: check.evidence,
            findings: check
                .problems
                .into_iter()
                .map(|problem| self.finding(problem))
                .collect(),
        }
    }
}

/// Returns every rule, in the order in which they are reported.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter()
}

/// Returns a rule by its name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// Returns what is wrong with a folder or open, rule by rule; nothing when it keeps every rule.
///
/// ```
/// use stablelm_license::{Ledger, Registry, Release, audit};
///
/// let registry = Registry::builtin();
/// let model = registry.get("stablelm-3b-4e1t").expect("the registry knows the model");
/// let release = Release {
///     ledger: Some(Ledger::for_model(model)),
///     ..Release::default()
/// };
/// let findings = audit(&release);
/// assert!(findings.iter().any(|finding| finding.rule == "SA-03"), "it has no NOTICE");
/// ```
pub fn audit(release: &Release) -> Vec<Finding> {
    outcomes(release)
        .into_iter()
        .flat_map(|outcome| outcome.findings)
        .collect()
}

/// Returns what every rule came to, those that are kept or do not apply included.
pub fn outcomes(release: &Release) -> Vec<Outcome> {
    let ledger = view::effective_ledger(release);
    let view = View::new(release, ledger.as_ref());
    let mut outcomes: Vec<_> = RULES.iter().map(|rule| rule.outcome(&view)).collect();
    limits::termination(&mut outcomes, &view);
    outcomes
}

/// Returns what every rule that applies came to, as the ledger keeps it.
pub fn obligations(release: &Release) -> Vec<Obligation> {
    outcomes(release)
        .into_iter()
        .filter(|outcome| outcome.state != ObligationState::NotApplicable)
        .map(|outcome| Obligation {
            rule: outcome.rule.to_owned(),
            state: outcome.state,
            evidence: outcome
                .findings
                .first()
                .map_or(outcome.evidence, |finding| finding.reason.clone()),
        })
        .collect()
}

/// Returns the duties that come with the components of a ledger when copies are shared, with
/// nothing known about a folder: each is open.
pub fn duties(ledger: &Ledger) -> Vec<Obligation> {
    let release = Release::default();
    let view = View::new(&release, Some(ledger));
    RULES
        .iter()
        .filter(|rule| rule.severity > Severity::Info)
        .filter(|rule| (rule.check)(&view).state() != ObligationState::NotApplicable)
        .map(|rule| Obligation {
            rule: rule.id.to_owned(),
            state: ObligationState::Open,
            evidence: rule.title.to_owned(),
        })
        .collect()
}
