//! A writer of PyTorch files: a zip of stored records, each starting at a multiple of 64 bytes, after a pickle of
//! protocol 2 that `torch.load(weights_only=True)` accepts.

mod fused;
mod pickler;

use std::fs::File;
use std::io::{self, Seek, Write};
use std::mem::ManuallyDrop;
use std::path::Path;

use zip::result::ZipError;
use zip::write::{SimpleFileOptions, ZipWriter};

use self::fused::Fused;
pub(crate) use self::pickler::{Plain, TorchTensor, pickle_plain, pickle_tensors};

/// What PyTorch aligns records to.
const ALIGNMENT: u16 = 64;
/// Entries of this size need 64-bit sizes in the container.
const LARGE: u64 = u32::MAX as u64;

/// A file being written. `W` is a file, or memory for small ones.
///
/// One that is not finished, which only an error brings about, leaves its file open: the container's writer would try to
/// complete it when dropped, and panics or complains to the terminal when it can't.
#[derive(Debug)]
pub(crate) struct TorchWriter<W: Write + Seek> {
    zip: ManuallyDrop<ZipWriter<Fused<W>>>,
    prefix: String,
    num_storages: usize,
}

impl TorchWriter<File> {
    /// Makes a file named after its own records, as PyTorch does, and writes its pickle.
    pub(crate) fn create(path: &Path, pickle: &[u8]) -> io::Result<Self> {
        let prefix = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::new(File::create_new(path)?, &prefix, pickle)
    }
}

impl<W: Write + Seek> TorchWriter<W> {
    pub(crate) fn new(file: W, prefix: &str, pickle: &[u8]) -> io::Result<Self> {
        let mut writer = Self {
            zip: ManuallyDrop::new(ZipWriter::new(Fused::new(file))),
            prefix: prefix.to_owned(),
            num_storages: 0,
        };
        writer.record("data.pkl", pickle)?;
        writer.record("byteorder", b"little")?;
        Ok(writer)
    }

    /// Writes the next tensor's storage, in the order of the pickle.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let name = format!("data/{}", self.num_storages);
        self.num_storages += 1;
        self.record(&name, bytes)
    }

    /// Completes the container and returns the file.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.record("version", b"3\n")?;
        let zip = ManuallyDrop::into_inner(self.zip);
        Ok(zip.finish().map_err(io_error)?.into_inner())
    }

    fn record(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .with_alignment(ALIGNMENT)
            .large_file(bytes.len() as u64 >= LARGE);
        let name = format!("{}/{name}", self.prefix);
        self.zip.start_file(name, options).map_err(io_error)?;
        self.zip.write_all(bytes)
    }
}

/// Takes the system's own error out of the container's, so that a full disk is still told as such.
fn io_error(error: ZipError) -> io::Error {
    match error {
        ZipError::Io(error) => error,
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, SeekFrom};

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
        let mut writer = TorchWriter::create(&path, &pickle_tensors(&tensors)).unwrap();
        for content in contents {
            writer.write(content).unwrap();
        }
        writer.finish().unwrap();

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
            let entry = zip.by_index_raw(index).unwrap();
            assert_eq!(entry.data_start().unwrap() % 64, 0, "{:?}", entry.name());
        }
    }

    /// A disk with room for so many bytes.
    struct Full(io::Cursor<Vec<u8>>, usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.get_ref().len() + bytes.len() > self.1 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Full {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn a_full_disk_is_told_as_such_wherever_it_strikes() {
        let write = |room| {
            let file = Full(io::Cursor::new(Vec::new()), room);
            let mut writer = TorchWriter::new(file, "x", &pickle_plain(&Plain::None))?;
            writer.write(&[1; 100])?;
            writer.finish().map(|file| file.0.into_inner().len())
        };
        let whole = write(usize::MAX).unwrap();
        for room in 0..whole {
            assert_eq!(
                write(room).unwrap_err().kind(),
                ErrorKind::StorageFull,
                "{room}"
            );
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
