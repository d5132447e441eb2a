//! `stablelm license check`

use std::path::Path;

use anyhow::anyhow;
use serde_json::json;
use stablelm_license::{
    CheckInput, CheckOptions, CheckReport, ComponentKind, Context, DISCLAIMER, ExpressionError,
    Finding, Judgment, Ledger, LicenseExpression, Posture, Registry, Severity, Verdict, check,
    sarif,
};

use super::folder;
use crate::args::{CheckContext, CheckPosture, LicenseCheck};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::output;
use crate::papers;
use crate::ui::Ui;

/// What stands before a license of the contents of a database.
const CONTENTS: &str = "contents:";

pub(super) fn run(args: &LicenseCheck, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let registry = folder::registry(&args.registry)?;
    let options = options(args)?;
    let mut inputs = inputs(&args.base, Place::Base, args, &registry)?;
    for with in &args.with {
        inputs.extend(self::inputs(with, Place::With, args, &registry)?);
    }
    let report = check(&inputs, &options);
    if let Some(file) = &args.sarif {
        let findings: Vec<Finding> = report
            .findings
            .iter()
            .map(|judgment| judgment.finding.clone())
            .collect();
        let mut text = serde_json::to_string_pretty(&sarif(&findings, env!("CARGO_PKG_VERSION")))
            .expect("a JSON value always prints");
        text.push('\n');
        output::write_new_file(file, text.as_bytes())?;
        ui.status("Wrote", &file.display().to_string());
    }
    if args.json.json {
        ui.json(&json!({
            "type": "license-check",
            "verdict": report.verdict,
            "context": report.context,
            "posture": report.posture,
            "outbound": report.outbound,
            "findings": report.findings,
            "disclaimer": DISCLAIMER,
        }))?;
    } else {
        ui.answer(&report_text(&report))?;
    }
    let is_open = matches!(report.verdict, Verdict::Review | Verdict::Unknown);
    if report.verdict == Verdict::Conflict || (args.strict && is_open) {
        return Ok(ExitStatus::Failed);
    }
    Ok(ExitStatus::Success)
}

fn options(args: &LicenseCheck) -> Result<CheckOptions, CommandError> {
    let outbound = args
        .outbound
        .as_deref()
        .map(|text| LicenseExpression::parse(text).map_err(|error| malformed("--outbound", error)))
        .transpose()?;
    Ok(CheckOptions {
        context: context(args.context),
        outbound,
        posture: match args.posture {
            CheckPosture::Conservative => Posture::Conservative,
            CheckPosture::Permissive => Posture::Permissive,
        },
        owner: args.owner.clone(),
        recipe_only: args.recipe_only,
    })
}

fn context(context: CheckContext) -> Context {
    match context {
        CheckContext::Agg => Context::Agg,
        CheckContext::Adapt => Context::Adapt,
        CheckContext::Train => Context::Train,
        CheckContext::Data => Context::Data,
        CheckContext::Private => Context::Private,
    }
}

/// Which option an input was given by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Base,
    With,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Base => "--base",
            Place::With => "--with",
        }
    }
}

/// Finds out what a text stands for: a path, a component or a license, in this order.
fn inputs(
    text: &str,
    place: Place,
    args: &LicenseCheck,
    registry: &Registry,
) -> Result<Vec<CheckInput>, CommandError> {
    if let Some(license) = text.strip_prefix(CONTENTS) {
        let license =
            LicenseExpression::parse(license).map_err(|error| malformed(place.name(), error))?;
        return Ok(vec![CheckInput {
            is_contents: true,
            kind: Some(ComponentKind::Dataset),
            ..CheckInput::from_expression(license)
        }]);
    }
    let path = Path::new(text);
    if path.exists() {
        let ledger = if path.is_file() && path.extension().is_some_and(|end| end == "json") {
            Ledger::from_json(&folder::read(path)?).map_err(|error| folder::in_file(path, error))?
        } else {
            papers::ledger_of_subject_in(text, registry)?
        };
        return of_ledger(&ledger, args).map_err(|error| malformed(text, error));
    }
    if let Some(component) = registry.get(text) {
        let ledger = Ledger::for_model_in(component, registry);
        // A dataset is what it is or the sum of its parts; only weights stand on other things.
        return of_ledger(&ledger, args).map_err(|error| malformed(text, error));
    }
    if text.contains('/') && !text.contains(char::is_whitespace) {
        return Err(nothing(text, place, registry));
    }
    let license = LicenseExpression::parse(text).map_err(|error| malformed(place.name(), error))?;
    let is_model =
        place == Place::Base && args.context == CheckContext::Train && !args.with.is_empty();
    Ok(vec![CheckInput {
        kind: is_model.then_some(ComponentKind::Weights),
        ..CheckInput::from_expression(license)
    }])
}

/// The data behind a model was its maker's to judge, unless nothing else is asked about.
fn of_ledger(ledger: &Ledger, args: &LicenseCheck) -> Result<Vec<CheckInput>, ExpressionError> {
    let context = match args.context {
        CheckContext::Train if !args.with.is_empty() && ledger.sources.is_empty() => Context::Adapt,
        other => context(other),
    };
    CheckInput::from_ledger(ledger, context)
}

fn malformed(place: &str, error: ExpressionError) -> CommandError {
    CommandError::input(anyhow::Error::new(error).context(format!("failed to read {place}")))
        .hint("write SPDX identifiers joined by AND, OR and WITH, such as `MIT OR Apache-2.0`")
}

fn nothing(text: &str, place: Place, registry: &Registry) -> CommandError {
    let error = CommandError::input(anyhow!(
        "{} `{text}` is neither a path nor a component nor a license expression",
        place.name()
    ));
    let error = match registry.nearest(text).first() {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    error.hint("`stablelm license show` lists the components")
}

fn report_text(report: &CheckReport) -> String {
    let outbound = report
        .outbound
        .as_ref()
        .map_or_else(String::new, |outbound| format!(", outbound {outbound}"));
    let mut text = format!(
        "{}: context {}{outbound}, {} reading\n",
        report.verdict.name(),
        super::name_of(&report.context),
        super::name_of(&report.posture),
    );
    for judgment in report.findings.iter().filter(|found| !is_duty(found)) {
        let finding = &judgment.finding;
        let label = judgment.verdict.map_or("INFO", Verdict::name);
        text.push_str(&format!(
            "\n{label} {} ({})\n  {}\n  source: {}\n",
            finding.rule, finding.clause, finding.reason, finding.source
        ));
        if let Some(step) = &finding.next_step {
            text.push_str(&format!("  next: {step}\n"));
        }
    }
    let duties: Vec<_> = report
        .findings
        .iter()
        .filter(|found| is_duty(found))
        .collect();
    if !duties.is_empty() {
        text.push_str("\nDuties when copies are shared\n");
    }
    for duty in duties {
        let finding = &duty.finding;
        text.push_str(&format!(
            "  {}  {}: {}\n",
            finding.rule, finding.clause, finding.reason
        ));
    }
    text.push_str(&format!("\n{DISCLAIMER}\n"));
    text
}

fn is_duty(judgment: &Judgment) -> bool {
    judgment.verdict.is_none() && judgment.finding.severity == Severity::Obligation
}
