//! What the fuzz targets call, and nobody else: this module is there only when fuzzing.

use std::path::Path;

use stablelm_model::TensorSource;

use crate::inspect_file::walk;
use crate::mapped::MappedFile;
use crate::neox::pickle::parse_from;
use crate::neox::torch_file::TorchFile;
use crate::safetensors::index::parse_index;
use crate::safetensors::read::SafetensorsSource;

/// Reads a pickle and looks at every tensor it describes.
pub fn pickle(bytes: &[u8]) {
    if let Ok((pickle, len)) = parse_from(bytes, Path::new("x")) {
        assert!(len <= bytes.len());
        drop(walk(&pickle));
    }
}

/// Reads a PyTorch file of either kind, and the numbers of every tensor in it.
pub fn torch_file(bytes: &[u8]) {
    let Ok(file) = TorchFile::new(Path::new("x"), MappedFile::in_memory(bytes)) else {
        return;
    };
    let Ok(pickle) = file.pickle() else { return };
    for (name, view) in walk(&pickle) {
        if file.check(&name, view).is_err() {
            continue;
        }
        if let Ok(bytes) = file.read(view) {
            let num_elements: usize = view.shape.iter().product();
            assert_eq!(bytes.len(), num_elements * view.dtype.width());
        }
    }
    drop(file.tensors(&pickle, pickle.root()));
}

/// Reads a safetensors file, and every tensor in it.
pub fn safetensors_file(bytes: &[u8]) {
    let Ok(source) = SafetensorsSource::in_memory(bytes) else {
        return;
    };
    for name in source.names() {
        let len = source.info(name).and_then(|info| info.byte_len());
        let found = source.bytes(name).map(|bytes| bytes.len());
        assert_eq!(found.ok(), len, "{name}");
    }
}

/// Reads an index of shards.
pub fn index(bytes: &[u8]) {
    drop(parse_index(bytes));
}
