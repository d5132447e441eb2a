//! Safetensors files as a source of tensors.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use safetensors::SafeTensors;
use stablelm_model::{Dtype, TensorInfo, TensorSource, TensorSourceError};

use crate::mapped::MappedFile;
use crate::neox::source::NeoxReadError;
use crate::open::OpenError;
use crate::safetensors::index::parse_index;
use crate::stored::{Piece, Pieces, Placement, Stored, Tile, matrix};

/// Why a safetensors file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The header is broken or does not fit the file.
    #[error("the safetensors header is not valid")]
    Header(#[source] io::Error),
    /// The file is longer or shorter than its header says.
    #[error("the file has {found} bytes, expected {expected} by its header")]
    Length {
        /// Bytes by the header.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A tensor has a number format that no code here reads.
    #[error("tensor `{tensor}` has dtype {dtype}, which is not supported")]
    Dtype {
        /// The tensor.
        tensor: String,
        /// The dtype as the header spells it.
        dtype: String,
    },
    /// A tensor is in two files.
    #[error("tensor `{tensor}` is stored twice")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
}

/// The tensors of one or more files.
#[derive(Debug)]
pub(crate) struct SafetensorsSource {
    files: Vec<(PathBuf, MappedFile)>,
    tensors: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    info: TensorInfo,
    bytes: Range<usize>,
}

impl SafetensorsSource {
    /// Opens files; no tensor's bytes are read.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self, OpenError> {
        let mut source = Self {
            files: Vec::with_capacity(paths.len()),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        for path in paths {
            let file = MappedFile::open(path).map_err(|error| OpenError::io(path, error))?;
            source
                .add(file.bytes())
                .map_err(|error| OpenError::Safetensors {
                    path: path.clone(),
                    source: error,
                })?;
            source.files.push((path.clone(), file));
        }
        Ok(source)
    }

    /// Reads a file from memory.
    #[cfg(fuzzing)]
    pub(crate) fn in_memory(bytes: &[u8]) -> Result<Self, SafetensorsError> {
        let file = MappedFile::in_memory(bytes);
        let mut source = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            metadata: BTreeMap::new(),
        };
        source.add(file.bytes())?;
        source.files.push((PathBuf::from("x"), file));
        Ok(source)
    }

    /// Opens the shards that an index names and makes sure that they hold what it says.
    pub(crate) fn open_index(index: &Path) -> Result<Self, OpenError> {
        let bytes = fs::read(index).map_err(|error| OpenError::io(index, error))?;
        let weight_map = parse_index(&bytes).map_err(|source| OpenError::Index {
            path: index.to_owned(),
            source,
        })?;
        let folder = index.parent().unwrap_or(Path::new(""));
        let names: BTreeSet<&String> = weight_map.values().collect();
        let paths: Vec<PathBuf> = names.into_iter().map(|name| folder.join(name)).collect();
        let source = Self::open(&paths)?;
        for (tensor, file) in &weight_map {
            let found = source.file_of(tensor).and_then(Path::file_name);
            if found.is_none_or(|found| found != file.as_str()) {
                return Err(OpenError::MissingTensor {
                    tensor: tensor.clone(),
                    path: folder.join(file),
                });
            }
        }
        Ok(source)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), SafetensorsError> {
        let header =
            |error| SafetensorsError::Header(io::Error::new(io::ErrorKind::InvalidData, error));
        let (header_len, metadata) = SafeTensors::read_metadata(bytes).map_err(header)?;
        let data_start = header_len.saturating_add(8);
        let expected = data_start.saturating_add(metadata.data_len());
        if expected != bytes.len() {
            return Err(SafetensorsError::Length {
                expected: expected as u64,
                found: bytes.len() as u64,
            });
        }
        for (tensor, info) in metadata.tensors() {
            let Some(dtype) = dtype(info.dtype) else {
                let dtype = format!("{:?}", info.dtype);
                return Err(SafetensorsError::Dtype { tensor, dtype });
            };
            let (start, end) = info.data_offsets;
            let entry = Entry {
                file: self.files.len(),
                info: TensorInfo {
                    dtype,
                    shape: info.shape.clone(),
                },
                bytes: data_start + start..data_start + end,
            };
            if self.tensors.insert(tensor.clone(), entry).is_some() {
                return Err(SafetensorsError::DuplicateTensor { tensor });
            }
        }
        for (key, value) in metadata.metadata().iter().flatten() {
            self.metadata
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
        Ok(())
    }

    pub(crate) fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().map(|(path, _)| path)
    }

    pub(crate) fn file_of(&self, name: &str) -> Option<&Path> {
        let entry = self.tensors.get(name)?;
        Some(&self.files[entry.file].0)
    }

    /// Returns where a parameter's elements are.
    pub(crate) fn placement(&self, name: &str) -> Option<Placement> {
        let entry = self.tensors.get(name)?;
        let (rows, columns) = matrix(&entry.info.shape);
        let piece = Piece {
            file: entry.file,
            record: String::new(),
            start: entry.bytes.start,
            num_elements: rows * columns,
        };
        let stored = Arc::new(Stored {
            name: name.to_owned(),
            dtype: entry.info.dtype,
            pieces: vec![piece],
        });
        Some(Placement::Tiles(vec![Tile {
            stored,
            row: 0,
            column: 0,
            rows,
            columns,
            start: 0,
            row_stride: columns,
            column_stride: 1,
        }]))
    }

    pub(crate) fn path_of(&self, file: usize) -> &Path {
        &self.files[file].0
    }

    fn place(&self, name: &str) -> Result<(&MappedFile, Range<usize>), TensorSourceError> {
        let entry = self.tensors.get(name);
        let entry = entry.ok_or_else(|| TensorSourceError::Missing {
            name: name.to_owned(),
        })?;
        Ok((&self.files[entry.file].1, entry.bytes.clone()))
    }
}

impl Pieces for SafetensorsSource {
    fn piece(&self, piece: &Piece, _end: usize) -> Result<&[u8], NeoxReadError> {
        Ok(&self.files[piece.file].1.bytes()[piece.start..])
    }

    fn release(&self, file: usize, part: &[u8]) {
        self.files[file].1.release(part);
    }
}

impl TensorSource for SafetensorsSource {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        Some(self.tensors.get(name)?.info.clone())
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let (file, range) = self.place(name)?;
        Ok(Cow::Borrowed(&file.bytes()[range]))
    }

    fn shared(&self, name: &str) -> Result<Bytes, TensorSourceError> {
        let (file, range) = self.place(name)?;
        Ok(file.share(&file.bytes()[range]))
    }

    fn release(&self, name: &str) {
        if let Ok((file, range)) = self.place(name) {
            file.release(&file.bytes()[range]);
        }
    }
}

fn dtype(dtype: safetensors::Dtype) -> Option<Dtype> {
    Some(match dtype {
        safetensors::Dtype::F64 => Dtype::F64,
        safetensors::Dtype::F32 => Dtype::F32,
        safetensors::Dtype::F16 => Dtype::F16,
        safetensors::Dtype::BF16 => Dtype::Bf16,
        safetensors::Dtype::I64 => Dtype::I64,
        safetensors::Dtype::I32 => Dtype::I32,
        safetensors::Dtype::I16 => Dtype::I16,
        safetensors::Dtype::I8 => Dtype::I8,
        safetensors::Dtype::U8 => Dtype::U8,
        safetensors::Dtype::BOOL => Dtype::Bool,
        _ => return None,
    })
}
