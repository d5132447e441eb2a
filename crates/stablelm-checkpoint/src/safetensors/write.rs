//! The header of safetensors files, and the order of the tensors behind it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stablelm_model::TensorInfo;

/// Puts tensors in the order they are stored in: wide numbers first, so that all of them are aligned, then by name.
pub(crate) fn sort_for_file(tensors: &mut [(String, TensorInfo)]) {
    tensors.sort_by(|(a, a_info), (b, b_info)| {
        let widths = b_info.dtype.width().cmp(&a_info.dtype.width());
        widths.then_with(|| a.cmp(b))
    });
}

/// Makes the header of a file: its length, JSON padded to a multiple of eight bytes.
///
/// Tensors are laid out in the order given, without gaps.
pub(crate) fn header(
    tensors: &[(String, TensorInfo)],
    metadata: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut map = Map::new();
    if !metadata.is_empty() {
        map.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut offset = 0;
    for (name, info) in tensors {
        let end = offset + info.byte_len().expect("the tensor was found in a file");
        let dtype = info.dtype.as_str().to_ascii_uppercase();
        let entry = json!({ "dtype": dtype, "shape": info.shape, "data_offsets": [offset, end] });
        map.insert(name.clone(), entry);
        offset = end;
    }
    let mut json = serde_json::to_vec(&Value::Object(map)).expect("a JSON value always prints");
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    header
}

#[cfg(test)]
mod tests {
    use stablelm_model::Dtype;

    use super::*;

    #[test]
    fn the_header_is_sorted_padded_and_readable() {
        let info = |dtype, shape: &[usize]| TensorInfo {
            dtype,
            shape: shape.to_vec(),
        };
        let mut tensors = vec![
            ("b".to_owned(), info(Dtype::Bf16, &[3])),
            ("c".to_owned(), info(Dtype::F32, &[2, 1])),
            ("a".to_owned(), info(Dtype::Bf16, &[])),
        ];
        sort_for_file(&mut tensors);
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut file = header(&tensors, &metadata);
        assert_eq!(file.len() % 8, 0);
        file.extend(0..16u8);
        let read = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(read.tensor("c").unwrap().data(), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(read.tensor("a").unwrap().data(), [8, 9]);
        assert_eq!(read.tensor("b").unwrap().data(), [10, 11, 12, 13, 14, 15]);
    }
}
