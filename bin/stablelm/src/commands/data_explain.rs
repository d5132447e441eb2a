//! `stablelm data explain`

use std::fmt::Write as _;
use std::io;

use anyhow::anyhow;
use serde_json::Value;
use stablelm_data::{ExplainError, ExplainOptions, Explanation, Which};

use crate::args::Explain;
use crate::commands::data_prepare::read_recipe;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::settings;
use crate::ui::Ui;

/// Bytes of the answer that are written at once.
const WRITE_LEN: usize = 64 << 10;

pub(crate) fn run(args: &Explain, ui: &Ui) -> Result<ExitStatus, CommandError> {
    model_input::require_path(&args.input)?;
    let recipe = read_recipe(&args.recipe)?;
    let mut sources = recipe.sources.iter();
    let source = sources.find(|source| source.name == args.source);
    let source = source.ok_or_else(|| {
        let names: Vec<_> = recipe
            .sources
            .iter()
            .map(|source| format!("`{}`", source.name))
            .collect();
        let (path, name) = (args.recipe.display(), &args.source);
        CommandError::input(anyhow!("recipe `{path}` has no source `{name}`"))
            .hint(format!("its sources are {}", names.join(", ")))
    })?;
    let options = ExplainOptions {
        input: &args.input,
        recipe: &recipe,
        source,
        which: match (args.row, &args.id) {
            (Some(row), _) => Which::Row(row),
            (None, Some(id)) => Which::Id(id),
            (None, None) => Which::All,
        },
        threads: settings::threads(args.threads)?,
    };
    let mut failed = None;
    let mut waiting = String::new();
    let explained = stablelm_data::explain(&options, |explanation| {
        if args.json.json {
            waiting += &serde_json::to_string(explanation)?;
            waiting.push('\n');
        } else {
            waiting += &text(explanation);
        }
        if waiting.len() < WRITE_LEN {
            return Ok(());
        }
        let shown = ui.answer(&waiting);
        waiting.clear();
        shown.map_err(|error| {
            failed = Some(error);
            io::ErrorKind::Other.into()
        })
    });
    if failed.is_none() {
        ui.answer(&waiting)?;
    }
    match (explained, failed) {
        (_, Some(error)) => Err(error),
        (Err(error @ ExplainError::NotFound { .. }), None) => Err(CommandError::input(error).hint(
            "rows are counted from 0, blank lines too; without --row and --id all are explained",
        )),
        (Err(error), None) => Err(CommandError::input(error)),
        (Ok(()), None) => Ok(ExitStatus::Success),
    }
}

/// A document in a few lines.
fn text(explanation: &Explanation) -> String {
    let mut text = format!("row {}", explanation.row);
    let mut add = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line)
            .expect("writing to a string does not fail");
    };
    if let Some(id) = &explanation.id {
        add(format_args!(" {id}"));
    }
    let pipeline = &explanation.pipeline;
    let stage = pipeline.stage.as_deref().unwrap_or_default();
    match &pipeline.reason {
        None => add(format_args!(": kept\n")),
        Some(reason) => add(format_args!(": dropped by {stage}, {reason}\n")),
    }
    if let Some(error) = &explanation.error {
        add(format_args!("  {error}\n"));
    }
    for (name, judgement) in &explanation.filters {
        let reason = judgement["reason"].as_str();
        add(format_args!("  {name}: {}\n", reason.unwrap_or("keep")));
        let metrics = judgement["metrics"].as_object().into_iter().flatten();
        for (metric, value) in metrics {
            match value {
                Value::Number(number) if number.is_f64() => {
                    add(format_args!(
                        "    {metric} {:.4}\n",
                        number.as_f64().unwrap_or(f64::NAN)
                    ));
                }
                Value::String(value) => add(format_args!("    {metric} {value}\n")),
                value => add(format_args!("    {metric} {value}\n")),
            }
        }
    }
    text
}
