//! Shards: their names, which tensor goes where, and the index that says so.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::neox::discover::plain_name;

/// Name of a model in one file.
pub(crate) const SINGLE_FILE: &str = "model.safetensors";
/// Name of the index beside shards.
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

/// Why an index could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// It is not JSON.
    #[error("the index is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// It has no `weight_map`.
    #[error("the index has no `weight_map` of tensor names to file names")]
    NoWeightMap,
    /// A shard is not a plain file name.
    #[error("the index names `{file}` for `{tensor}`, expected the plain name of a file beside it")]
    NotPlain {
        /// The tensor.
        tensor: String,
        /// What the index names.
        file: String,
    },
}

/// Reads an index: tensor names and the files they are in.
pub(crate) fn parse_index(bytes: &[u8]) -> Result<BTreeMap<String, String>, IndexError> {
    let value: Value = serde_json::from_slice(bytes).map_err(IndexError::Json)?;
    let Some(Value::Object(map)) = value.get("weight_map") else {
        return Err(IndexError::NoWeightMap);
    };
    let mut files = BTreeMap::new();
    for (tensor, file) in map {
        let file = file.as_str().ok_or(IndexError::NoWeightMap)?;
        if plain_name(file).is_none() {
            return Err(IndexError::NotPlain {
                tensor: tensor.clone(),
                file: file.to_owned(),
            });
        }
        files.insert(tensor.clone(), file.to_owned());
    }
    Ok(files)
}

/// Writes an index as Hugging Face transformers does, tensors sorted by name.
pub(crate) fn write_index(weight_map: &BTreeMap<String, String>, total_size: u64) -> String {
    let weight_map: Map<String, Value> = weight_map
        .iter()
        .map(|(tensor, file)| (tensor.clone(), json!(file)))
        .collect();
    let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
    let mut text = serde_json::to_string_pretty(&index).expect("a JSON value always prints");
    text.push('\n');
    text
}

/// Parts sizes, in order, into runs of at most `max_size` bytes; a larger one gets a run to itself.
pub(crate) fn shard_lens(sizes: &[u64], max_size: u64) -> Vec<usize> {
    let mut lens = Vec::new();
    let mut run = (0, 0u64);
    for &size in sizes {
        if run.0 > 0 && run.1.saturating_add(size) > max_size {
            lens.push(run.0);
            run = (0, 0);
        }
        run = (run.0 + 1, run.1.saturating_add(size));
    }
    lens.push(run.0);
    lens
}

/// Returns the name of a shard, counted from 0.
pub(crate) fn shard_name(nth: usize, num_shards: usize) -> String {
    if num_shards == 1 {
        SINGLE_FILE.to_owned()
    } else {
        format!("model-{:05}-of-{num_shards:05}.safetensors", nth + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sizes: &[u64], max_size: u64, expected: &[usize]) {
        assert_eq!(shard_lens(sizes, max_size), expected);
    }

    #[test]
    fn shards_are_filled_in_order() {
        check(&[3, 3, 3], 6, &[2, 1]);
        check(&[3, 3, 3], 9, &[3]);
        check(&[9, 1, 1], 6, &[1, 2]);
        check(&[1, 9, 1], 6, &[1, 1, 1]);
        check(&[7], 0, &[1]);
        check(&[1, 1], 0, &[1, 1]);
    }

    #[test]
    fn an_index_reads_back_and_names_no_other_folder() {
        let map = BTreeMap::from([("a".to_owned(), shard_name(0, 2))]);
        assert_eq!(parse_index(write_index(&map, 5).as_bytes()).unwrap(), map);
        for bad in [
            "{",
            "{}",
            r#"{"weight_map": {"a": 1}}"#,
            r#"{"weight_map": {"a": "../b"}}"#,
        ] {
            assert!(parse_index(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
