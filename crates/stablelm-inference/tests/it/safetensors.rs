//! The least reader of safetensors that the tests can do with.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use stablelm_model::{Dtype, TensorInfo, TensorSource, TensorSourceError};

/// A whole file in memory.
pub(crate) struct Safetensors {
    tensors: BTreeMap<String, (TensorInfo, Vec<u8>)>,
}

impl Safetensors {
    pub(crate) fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let header_len = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let data = 8 + usize::try_from(header_len).unwrap();
        let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..data]).unwrap();
        let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let tensors = header
            .into_iter()
            .filter(|(name, _)| name != "__metadata__")
            .map(|(name, entry)| {
                let shape = entry["shape"].as_array().unwrap();
                let dtype: Dtype = entry["dtype"].as_str().unwrap().parse().unwrap();
                let info = TensorInfo {
                    dtype,
                    shape: shape.iter().map(number).collect(),
                };
                let [start, end] = [0, 1].map(|i| data + number(&entry["data_offsets"][i]));
                (name, (info, bytes[start..end].to_vec()))
            })
            .collect();
        Self { tensors }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Returns an f32 tensor, flat.
    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        let (info, bytes) = &self.tensors[name];
        assert_eq!(info.dtype, Dtype::F32);
        let (values, []) = bytes.as_chunks() else {
            panic!("`{name}` has a broken length");
        };
        values
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect()
    }
}

impl TensorSource for Safetensors {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|(info, _)| info.clone())
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        Ok(Cow::Borrowed(&self.tensors[name].1))
    }
}
