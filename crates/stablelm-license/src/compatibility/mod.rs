//! Whether licenses go together: what comes in, what goes out, and what is done in between.
//!
//! The matrix is data (see `table.rs`): first by context, then by the terms of each license. An
//! `AND` takes the worst of its sides, an `OR` the best, several inputs the worst. What is not known
//! never gives a good verdict. None of it is legal advice: [`DISCLAIMER`](crate::DISCLAIMER).

mod input;
mod table;

use serde::{Deserialize, Serialize};

pub use input::CheckInput;

use crate::component::ComponentKind;
use crate::finding::{Finding, Severity};
use crate::rules;
use crate::terms::{LicenseExpression, LicenseTerm};
use table::{Case, Row};

/// The answer, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It goes together. Duties that always come with the license are listed as findings.
    Ok,
    /// It goes together if the duties are met that arise from doing just this.
    Obligations,
    /// A person has to look.
    Review,
    /// A license or the name of one is not known.
    Unknown,
    /// It does not go together.
    Conflict,
}

impl Verdict {
    /// Returns the name as reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Obligations => "OBLIGATIONS",
            Verdict::Review => "REVIEW",
            Verdict::Unknown => "UNKNOWN",
            Verdict::Conflict => "CONFLICT",
        }
    }

    fn severity(self) -> Severity {
        match self {
            Verdict::Ok => Severity::Info,
            Verdict::Obligations => Severity::Obligation,
            Verdict::Review => Severity::Review,
            Verdict::Unknown => Severity::Warning,
            Verdict::Conflict => Severity::Error,
        }
    }
}

/// What is done with the material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// Side by side in one release.
    Agg,
    /// Into one set of weights: fine-tuned, merged, pruned.
    Adapt,
    /// From data into weights.
    Train,
    /// Merged data published again.
    Data,
    /// Used inside, shared with nobody.
    Private,
}

/// How open questions of law are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Posture {
    /// Training follows the licenses of its data.
    #[default]
    Conservative,
    /// Training may need no permission, where an exception to copyright covers it.
    Permissive,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// What is done with the material.
    pub context: Context,
    /// The license that the result goes out under; side by side and in private none is needed.
    pub outbound: Option<LicenseExpression>,
    /// How open questions are read.
    pub posture: Posture,
    /// Who asks: the licensor of a component is not bound by the license that it gave to others.
    /// Only believed where the component names no other creator.
    pub owner: Option<String>,
    /// Whether data is published as a recipe only, without its text.
    pub recipe_only: bool,
}

/// The answer about everything that comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The worst verdict of all inputs.
    pub verdict: Verdict,
    /// What is done with the material.
    pub context: Context,
    /// How open questions were read.
    pub posture: Posture,
    /// The outbound license.
    pub outbound: Option<String>,
    /// Why: a finding an input and license, then the duties.
    pub findings: Vec<Judgment>,
}

/// A finding about one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgment {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// What it is about.
    pub input: String,
    /// The verdict it leads to; none for a duty that comes along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// What a part of an expression came to.
struct Part {
    verdict: Verdict,
    findings: Vec<Judgment>,
    duties: Vec<&'static str>,
}

/// Judges everything that comes in.
///
/// ```
/// use stablelm_license::{
///     CheckInput, CheckOptions, Context, LicenseExpression, Posture, Verdict, check,
/// };
///
/// let license = |text| LicenseExpression::parse(text).expect("a license");
/// let options = CheckOptions {
///     context: Context::Adapt,
///     outbound: Some(license("Apache-2.0")),
///     posture: Posture::Conservative,
///     owner: None,
///     recipe_only: false,
/// };
/// let weights = CheckInput::from_expression(license("cc-by-sa-4.0"));
/// let report = check(&[weights], &options);
/// assert_eq!(report.verdict, Verdict::Conflict);
/// assert_eq!(report.findings[0].finding.clause, "CC BY-SA 4.0 3(b)(1)");
/// ```
pub fn check(inputs: &[CheckInput], options: &CheckOptions) -> CheckReport {
    let mut verdict = if inputs.is_empty() {
        Verdict::Unknown
    } else {
        Verdict::Ok
    };
    let mut findings = Vec::new();
    let mut duties = Vec::new();
    for input in inputs {
        let part = judge_input(input, options);
        verdict = verdict.max(part.verdict);
        findings.extend(part.findings);
        duties.extend(part.duties.into_iter().map(|rule| (rule, &input.label)));
    }
    // A duty stands once for each input, below what it follows from.
    let mut listed = Vec::new();
    for duty in duties {
        if !listed.contains(&duty) {
            listed.push(duty);
        }
    }
    findings.extend(listed.into_iter().map(|(rule, label)| duty(rule, label)));
    CheckReport {
        verdict,
        context: options.context,
        posture: options.posture,
        outbound: options.outbound.as_ref().map(ToString::to_string),
        findings,
    }
}

/// Judges one license into another as adapted material, by the careful reading.
pub(crate) fn adapts(from: &LicenseExpression, to: &LicenseExpression) -> CheckReport {
    check(
        &[CheckInput::from_expression(from.clone())],
        &CheckOptions {
            context: Context::Adapt,
            outbound: Some(to.clone()),
            posture: Posture::Conservative,
            owner: None,
            recipe_only: false,
        },
    )
}

fn judge_input(input: &CheckInput, options: &CheckOptions) -> Part {
    let part = judge_expression(input, options);
    let part = match &options.owner {
        Some(owner) if part.verdict != Verdict::Ok => as_owner(part, input, owner),
        _ => part,
    };
    if options.context == Context::Private {
        with_sharing_outlook(part, input, options)
    } else {
        part
    }
}

fn judge_expression(input: &CheckInput, options: &CheckOptions) -> Part {
    input.license.fold(
        |term| judge_term(term, input, options),
        |mut left, right| {
            left.verdict = left.verdict.max(right.verdict);
            left.findings.extend(right.findings);
            left.duties.extend(right.duties);
            left
        },
        // The receiver of a choice takes the side that suits.
        |left, right| {
            if right.verdict < left.verdict {
                right
            } else {
                left
            }
        },
    )
}

/// Judges one license against every license that goes out: recipients may pick any of them.
fn judge_term(term: &LicenseTerm, input: &CheckInput, options: &CheckOptions) -> Part {
    let unknown = LicenseExpression::unknown();
    let outbound: Vec<Option<&LicenseTerm>> = match (&options.outbound, options.context) {
        (Some(outbound), _) => outbound.terms().map(Some).collect(),
        (None, Context::Agg | Context::Private) => vec![None],
        (None, Context::Adapt | Context::Train | Context::Data) => {
            unknown.terms().map(Some).collect()
        }
    };
    let mut part = Part {
        verdict: Verdict::Ok,
        findings: Vec::new(),
        duties: Vec::new(),
    };
    for to in outbound {
        let case = Case {
            from: term,
            to,
            is_taken_down: input.takedown.is_some(),
            is_contents: input.is_contents,
            is_recipe_only: options.recipe_only && options.context == Context::Data,
        };
        let row = find_row(&case, input.kind, options.context);
        let verdict = match options.posture {
            Posture::Conservative => row.conservative,
            Posture::Permissive => row.permissive,
        };
        // A text that is added to a license by reference can say anything.
        let is_open = term
            .exception
            .as_deref()
            .is_some_and(|exception| exception.contains("AdditionRef-"));
        let verdict = if is_open {
            verdict.max(Verdict::Unknown)
        } else {
            verdict
        };
        part.verdict = part.verdict.max(verdict);
        part.findings.push(judgment(row, verdict, &case, input));
        if verdict <= Verdict::Obligations {
            part.duties.extend(row.duties);
        }
    }
    part
}

fn find_row(case: &Case, kind: Option<ComponentKind>, context: Context) -> &'static Row {
    let rows = match (context, kind) {
        (Context::Private, _) => table::PRIVATE,
        (Context::Data, _) => table::DATA,
        // Tokenizers and programs lie beside the weights, whatever is done with those.
        (Context::Agg, _) | (_, Some(ComponentKind::Tokenizer | ComponentKind::Code)) => table::AGG,
        (Context::Adapt, Some(ComponentKind::Dataset))
        | (Context::Train, Some(ComponentKind::Dataset) | None) => table::TRAIN,
        (Context::Adapt, Some(ComponentKind::Weights) | None)
        | (Context::Train, Some(ComponentKind::Weights)) => table::ADAPT,
    };
    table::TAKEN_DOWN
        .iter()
        .chain(table::RECIPE)
        .chain(table::UNKNOWNS)
        .chain(rows)
        .find(|row| row.fits(case))
        .expect("the last row of each table fits every case")
}

fn judgment(row: &Row, verdict: Verdict, case: &Case, input: &CheckInput) -> Judgment {
    let into = case.to.map_or_else(String::new, |to| format!(" into {to}"));
    let contents = if input.is_contents {
        ", as contents"
    } else {
        ""
    };
    let name = if input.label == case.from.to_string() {
        input.label.clone()
    } else {
        format!("{} ({}{contents})", input.label, case.from)
    };
    let mut reason = format!("{name}{into}: {}", row.reason);
    if let Some(takedown) = &input.takedown {
        reason = format!("{reason} ({takedown})");
    }
    if let Some(exception) = &case.from.exception {
        reason = format!("{reason}; `WITH {exception}` was not weighed");
    }
    Judgment {
        finding: Finding {
            rule: row.rule.to_owned(),
            clause: row.clause.to_owned(),
            severity: verdict.severity(),
            reason,
            source: row.source.to_owned(),
            file: None,
            line: None,
            column: None,
            next_step: (!row.next_step.is_empty()).then(|| row.next_step.to_owned()),
        },
        input: input.label.clone(),
        verdict: Some(verdict),
    }
}

fn duty(rule: &'static str, label: &str) -> Judgment {
    let rule = rules::rule(rule).expect("a test asks for the rule of every duty in the table");
    Judgment {
        finding: Finding {
            rule: rule.id.to_owned(),
            clause: rule.clause.to_owned(),
            severity: Severity::Obligation,
            reason: format!("{label}: {}", rule.title),
            source: rule.source.to_owned(),
            file: None,
            line: None,
            column: None,
            next_step: Some(rule.help.to_owned()),
        },
        input: label.to_owned(),
        verdict: None,
    }
}

/// A license binds those who receive it, not the one who gives it.
fn as_owner(part: Part, input: &CheckInput, owner: &str) -> Part {
    let is_open = input.takedown.is_some() || input.license.terms().any(LicenseTerm::is_unknown);
    let is_proved = input.is_made_by(owner);
    // An unknown outbound license stays unknown for its owner too.
    let is_unnamed = part.verdict == Verdict::Unknown;
    let (verdict, reason) = if is_open || is_unnamed {
        return part;
    } else if is_proved {
        (
            Verdict::Ok,
            format!(
                "OK-OWNER: {owner} is recorded as its only creator, and a licensor is not bound by the license that it gave to others"
            ),
        )
    } else {
        (
            part.verdict,
            format!(
                "`{owner}` is not proved to be its only creator ({}), so the license binds",
                input.creators_phrase()
            ),
        )
    };
    let finding = Judgment {
        finding: Finding {
            rule: "OK-OWNER".to_owned(),
            clause: "CC BY-SA 4.0 6(d), 7(b)".to_owned(),
            severity: Severity::Info,
            reason: format!("{}: {reason}", input.label),
            source: "https://creativecommons.org/licenses/by-sa/4.0/legalcode".to_owned(),
            file: None,
            line: None,
            column: None,
            next_step: (!is_proved).then(|| {
                "record the owner as creator in the ledger, and name the ledger or registry id"
                    .to_owned()
            }),
        },
        input: input.label.clone(),
        verdict: Some(verdict),
    };
    if is_proved {
        Part {
            verdict,
            findings: vec![finding],
            duties: Vec::new(),
        }
    } else {
        let mut part = part;
        part.findings.push(finding);
        part
    }
}

/// Says what sharing would come to, as information.
fn with_sharing_outlook(mut part: Part, input: &CheckInput, options: &CheckOptions) -> Part {
    if options.outbound.is_none() || input.takedown.is_some() {
        return part;
    }
    let shared = judge_expression(
        input,
        &CheckOptions {
            context: Context::Adapt,
            ..options.clone()
        },
    );
    let worse = shared.findings.into_iter().filter(|judgment| {
        judgment
            .verdict
            .is_some_and(|verdict| verdict == Verdict::Conflict)
    });
    part.findings.extend(worse.map(|mut judgment| {
        judgment.finding.severity = Severity::Info;
        judgment.finding.reason = format!("once shared: {}", judgment.finding.reason);
        judgment.verdict = None;
        judgment
    }));
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> impl Iterator<Item = &'static Row> {
        [
            table::TAKEN_DOWN,
            table::RECIPE,
            table::UNKNOWNS,
            table::ADAPT,
            table::TRAIN,
            table::DATA,
            table::AGG,
            table::PRIVATE,
        ]
        .into_iter()
        .flatten()
    }

    #[test]
    fn every_row_names_its_clause_its_source_and_its_duties() {
        for row in rows() {
            for text in [row.rule, row.clause, row.source, row.reason] {
                assert!(!text.is_empty(), "{row:?}");
            }
            for duty in row.duties {
                assert!(rules::rule(duty).is_some(), "{duty} of {row:?}");
            }
            let is_good = row.conservative == Verdict::Ok;
            assert!(
                is_good || !row.next_step.is_empty() || !row.duties.is_empty(),
                "{row:?}"
            );
        }
    }

    #[test]
    fn the_permissive_reading_is_never_the_stricter_one() {
        for row in rows() {
            assert!(row.permissive <= row.conservative, "{row:?}");
        }
    }
}
