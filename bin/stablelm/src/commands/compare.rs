//! `stablelm compare`

use std::path::Path;

use anyhow::anyhow;
use serde_json::json;
use stablelm_checkpoint::{Checkpoint, Comparison, Outcome};
use stablelm_inference::gguf::GgufModel;
use stablelm_model::TensorSource;

use crate::args::Compare;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::ui::{Align, Table, Ui};

/// Differences that are listed for people; `--json` lists all.
const SHOWN: usize = 20;

pub(crate) fn run(args: &Compare, ui: &Ui) -> Result<ExitStatus, CommandError> {
    if args.tolerance.is_nan() || args.tolerance < 0.0 {
        return Err(CommandError::usage(anyhow!(
            "--tolerance is {}, expected 0 or more",
            args.tolerance
        )));
    }
    let comparison = compare(args)?;
    if args.json.json {
        let mut answer = json!({ "equal": comparison.equal() });
        let rest = serde_json::to_value(&comparison).expect("a comparison is plain data");
        let fields = answer.as_object_mut().expect("made as an object above");
        fields.extend(rest.as_object().cloned().unwrap_or_default());
        ui.json(&answer)?;
    } else {
        ui.answer(&text(&comparison))?;
    }
    Ok(if comparison.equal() {
        ExitStatus::Success
    } else {
        ExitStatus::Failed
    })
}

/// Reads both a few rows at a time where they are checkpoints, a tensor at a time where one is a GGUF file.
fn compare(args: &Compare) -> Result<Comparison, CommandError> {
    let open = |path: &Path| {
        let gguf = model_input::open_gguf(path)?;
        let checkpoint = gguf
            .is_none()
            .then(|| model_input::open_checkpoint(path, None));
        Ok((gguf, checkpoint.transpose()?))
    };
    let (a, b): (Opened, Opened) = (open(&args.a)?, open(&args.b)?);
    let compared = match (&a, &b) {
        ((_, Some(a)), (_, Some(b))) => stablelm_checkpoint::compare(a, b, args.tolerance),
        _ => stablelm_checkpoint::compare_sources(source(&a), source(&b), args.tolerance),
    };
    compared.map_err(CommandError::input)
}

type Opened = (Option<GgufModel>, Option<Checkpoint>);

fn source(opened: &Opened) -> &dyn TensorSource {
    match opened {
        (Some(model), _) => model,
        (None, Some(checkpoint)) => checkpoint.source(),
        (None, None) => unreachable!("what is no GGUF file was opened as a checkpoint"),
    }
}

fn text(comparison: &Comparison) -> String {
    let total = comparison.tensors.len();
    if comparison.equal() {
        return format!("equal: {total} tensors\n");
    }
    let differences: Vec<_> = comparison.differences().collect();
    let mut table = Table::new(&[("tensor", Align::Left), ("difference", Align::Left)]);
    for tensor in differences.iter().take(SHOWN) {
        table.row(vec![tensor.name.clone(), outcome(&tensor.outcome)]);
    }
    let mut text = table.render();
    if differences.len() > SHOWN {
        text.push_str(&format!(
            "... and {} more; --json lists all\n",
            differences.len() - SHOWN
        ));
    }
    text.push_str(&format!(
        "different: {} of {total} tensors\n",
        differences.len()
    ));
    text
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Differs {
            max_abs_diff: None,
            a,
            b,
            ..
        } => format!("{a} and {b}, some are not numbers"),
        Outcome::Differs {
            max_abs_diff: Some(difference),
            a,
            b,
            ..
        } => {
            format!("{a} and {b}, by up to {difference:e}")
        }
        Outcome::ShapeDiffers { a, b } => format!("shapes {a:?} and {b:?}"),
        Outcome::OnlyInA => "only in the first".to_owned(),
        Outcome::OnlyInB => "only in the second".to_owned(),
        _ => "equal".to_owned(),
    }
}
