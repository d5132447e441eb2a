//! `stablelm inspect`

use stablelm_checkpoint::Inspection;

use crate::args::Inspect;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::ui::{Align, Table, Ui};

pub(crate) fn run(args: &Inspect, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let checkpoint = model_input::open_checkpoint(&args.path, args.neox_config.as_deref())?;
    let inspection = stablelm_checkpoint::inspect(&checkpoint);
    if args.json.json {
        ui.json(&inspection)?;
    } else {
        ui.answer(&text(&inspection))?;
    }
    Ok(ExitStatus::Success)
}

fn text(inspection: &Inspection) -> String {
    let value = serde_json::to_value(inspection).expect("an inspection is plain data");
    let mut text = String::new();
    let mut facts = Table::new(&[("fact", Align::Left), ("value", Align::Left)]);
    for (key, value) in value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| *key != "tensors")
    {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => facts.row(vec![key.clone(), text.clone()]),
            serde_json::Value::Object(map) => {
                for (inner, value) in map {
                    let plain = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    facts.row(vec![format!("{key}.{inner}"), plain]);
                }
            }
            other => facts.row(vec![key.clone(), other.to_string()]),
        }
    }
    text.push_str(&facts.render());
    let mut tensors = Table::new(&[
        ("tensor", Align::Left),
        ("dtype", Align::Left),
        ("shape", Align::Left),
        ("bytes", Align::Right),
    ]);
    for tensor in &inspection.tensors {
        let shape = tensor
            .shape
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" x ");
        tensors.row(vec![
            tensor.name.clone(),
            tensor.dtype.to_string(),
            shape,
            tensor.bytes.to_string(),
        ]);
    }
    text.push('\n');
    text.push_str(&tensors.render());
    text
}
