//! A writer of PyTorch files: a pickle of protocol 2 that `torch.load(weights_only=True)` accepts, in a zip container.

mod container;
mod pickler;

pub(crate) use self::container::TorchLayout;
pub(crate) use self::pickler::{Plain, TorchTensor, pickle_plain, pickle_tensors};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use stablelm_model::Dtype;

    use super::*;
    use crate::mapped::MappedFile;
    use crate::neox::pickle::parse;
    use crate::neox::torch_file::TorchFile;

    #[test]
    fn what_is_written_reads_back_aligned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("layer_02-model_00-model_states.pt");
        let tensor = |name: &str, dtype, shape: &[usize]| TorchTensor {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        };
        let tensors = [
            tensor("a.weight", Dtype::Bf16, &[2, 3]),
            tensor("a.bias", Dtype::F32, &[2]),
            tensor("scalar", Dtype::F16, &[]),
        ];
        let contents: [&[u8]; 3] = [&[7; 12], &[8; 8], &[9; 2]];
        let pickle = pickle_tensors(&tensors);
        let layout = TorchLayout::new("x", &pickle, &[12, 8, 2]);
        let mut file = Vec::new();
        let mut put = |at: u64, bytes: &[u8]| {
            let at = usize::try_from(at).unwrap();
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..at + bytes.len()].copy_from_slice(bytes);
        };
        for (nth, content) in contents.iter().enumerate() {
            put(layout.storage_at(nth), content);
        }
        for (at, bytes) in layout.frame(&pickle, &contents.map(crc32fast::hash)) {
            put(at, &bytes);
        }
        std::fs::write(&path, &file).unwrap();

        let file = TorchFile::new(&path, MappedFile::open(&path).unwrap()).unwrap();
        let pickle = file.pickle().unwrap();
        let found = file.tensors(&pickle, pickle.root()).unwrap();
        assert_eq!(found.len(), 3);
        for (((name, view), tensor), content) in found.iter().zip(&tensors).zip(contents) {
            assert_eq!(
                (name, view.dtype, &view.shape),
                (&tensor.name, tensor.dtype, &tensor.shape)
            );
            assert_eq!(file.read(view).unwrap(), content);
        }
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).unwrap();
            assert_eq!(entry.data_start().unwrap() % 64, 0, "{:?}", entry.name());
            std::io::copy(&mut entry, &mut std::io::sink()).unwrap();
        }
    }

    #[test]
    fn plain_state_reads_back() {
        let state = Plain::Dict(vec![
            ("module", Plain::None),
            ("iteration", Plain::Int(u64::from(u32::MAX))),
            ("args", Plain::Dict(vec![("num_layers", Plain::Int(3))])),
        ]);
        let bytes = pickle_plain(&state);
        let pickle = parse(&bytes, Path::new("x")).unwrap();
        let arguments = pickle.get(pickle.root(), "args").unwrap();
        let size = |dict, key| pickle.size(pickle.get(dict, key).unwrap());
        assert_eq!(size(arguments, "num_layers"), Some(3));
    }
}
