//! `stablelm inspect`

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use stablelm_inference::gguf::GgufModel;
use stablelm_model::{Dtype, TensorSource as _};

use crate::args::Inspect;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input;
use crate::ui::{Align, Table, Ui};

pub(crate) fn run(args: &Inspect, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let value = if let Some(model) = model_input::open_gguf(&args.path)? {
        gguf(&args.path, &model)
    } else if is_alone(&args.path) {
        let inspected = stablelm_checkpoint::inspect_file(&args.path);
        json_of(&inspected.map_err(CommandError::input)?)
    } else {
        let checkpoint = model_input::open_checkpoint(&args.path, args.neox_config.as_deref())?;
        json_of(&stablelm_checkpoint::inspect(&checkpoint))
    };
    if args.json.json {
        ui.json(&value)?;
    } else {
        ui.answer(&text(&value))?;
    }
    Ok(ExitStatus::Success)
}

fn json_of(inspection: &impl Serialize) -> Value {
    serde_json::to_value(inspection).expect("an inspection is plain data")
}

/// Whether a path is a file that is described by itself, because no configuration belongs to it.
fn is_alone(path: &Path) -> bool {
    let is_safetensors = path.extension().is_some_and(|end| end == "safetensors");
    path.is_file() && !(is_safetensors && path.with_file_name("config.json").is_file())
}

/// Describes a GGUF file under the names of Hugging Face transformers.
fn gguf(path: &Path, model: &GgufModel) -> Value {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut dtypes: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut tensors, mut bytes) = (Vec::new(), 0);
    for name in model.names() {
        let Some(stored) = model.stored_as(name) else {
            continue;
        };
        *dtypes.entry(stored.dtype).or_insert(0) += 1;
        bytes += stored.byte_len;
        tensors.push(json!({
            "name": name,
            "dtype": stored.dtype,
            "shape": stored.shape,
            "bytes": stored.byte_len,
            "file": file,
        }));
    }
    let config = model
        .config
        .to_config_json(model.config.dtype.unwrap_or(Dtype::F32));
    let config: Value = serde_json::from_str(&config).expect("it was written as JSON");
    json!({
        "format": "gguf",
        "layout": "file",
        "tensor_parallel": 1,
        "step": null,
        "dtypes": dtypes,
        "architecture": model.config.architecture.class_name(),
        "config": config,
        "num_tensors": tensors.len(),
        "parameters": model.config.num_parameters(),
        "bytes": bytes,
        "num_files": 1,
        "metadata": model.texts,
        "unplaced": [],
        "tensors": tensors,
    })
}

fn text(inspection: &Value) -> String {
    let mut text = String::new();
    let mut facts = Table::new(&[("fact", Align::Left), ("value", Align::Left)]);
    for (key, value) in inspection
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
    for tensor in inspection["tensors"].as_array().into_iter().flatten() {
        let field = |key: &str| tensor[key].as_str().unwrap_or_default().to_owned();
        let sizes = tensor["shape"].as_array().into_iter().flatten();
        let shape = sizes
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" x ");
        tensors.row(vec![
            field("name"),
            field("dtype"),
            shape,
            tensor["bytes"].to_string(),
        ]);
    }
    text.push('\n');
    text.push_str(&tensors.render());
    text
}
