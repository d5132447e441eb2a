//! A GPT-NeoX checkpoint as a source of tensors: ranks merged, replicas compared.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use stablelm_model::{Dtype, TensorInfo, TensorSource, TensorSourceError};

use crate::mapped::MappedFile;
use crate::neox::names::{NeoxTensor, Slot};
use crate::neox::partitions::{Extent, Rule, filled, merge};
use crate::neox::pickle::TensorView;
use crate::neox::torch_file::{TorchFile, TorchFileError, record_name};
use crate::stored::{Chunks, Piece, Pieces, Placement, Stored, Tile, matrix};

/// Why a tensor of a GPT-NeoX checkpoint could not be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeoxReadError {
    /// The file is damaged.
    #[error("failed to read `{tensor}` from `{}`", path.display())]
    File {
        /// The tensor's name in GPT-NeoX.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// What the reader says.
        #[source]
        source: Box<TorchFileError>,
    },
    /// Ranks hold different copies of what must be one tensor.
    #[error(
        "`{tensor}` is replicated over ranks but differs between `{}` and `{}`, expected equal bytes",
        first.display(),
        other.display()
    )]
    ReplicasDiffer {
        /// The tensor's name in GPT-NeoX.
        tensor: String,
        /// Rank 0's file.
        first: PathBuf,
        /// The file that differs.
        other: PathBuf,
    },
}

impl NeoxReadError {
    /// Says which tensor was being read when a record of its file failed.
    pub(crate) fn named(self, name: &str) -> Self {
        match self {
            Self::File { path, source, .. } => Self::File {
                tensor: name.to_owned(),
                path,
                source,
            },
            other @ Self::ReplicasDiffer { .. } => other,
        }
    }
}

/// Every tensor of one saved step.
#[derive(Debug)]
pub(crate) struct NeoxSource {
    pub(super) files: Vec<TorchFile>,
    /// Tensors that carry parameters, each with its ranks.
    pub(super) tensors: Vec<(NeoxTensor, Vec<Located>)>,
    /// Index of a tensor and of the slot in it.
    pub(super) by_parameter: BTreeMap<String, (usize, usize)>,
    pub(super) unplaced: Vec<Unplaced>,
    /// The dtype of tensors that are in no file.
    pub(super) dtype: Dtype,
}

/// Where one rank's tensor lies.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    /// The file, or the first of them.
    pub(crate) file: usize,
    pub(crate) view: TensorView,
    pub(crate) stored: Arc<Stored>,
    /// Whether it is out of an optimizer's run of numbers.
    pub(crate) is_master: bool,
}

impl Located {
    pub(super) fn new(file: usize, name: &str, view: TensorView) -> Self {
        let piece = Piece {
            file,
            record: record_name(&view),
            start: 0,
            num_elements: view.storage_len,
        };
        let stored = Arc::new(Stored {
            name: name.to_owned(),
            dtype: view.dtype,
            pieces: vec![piece],
        });
        Self {
            file,
            view,
            stored,
            is_master: false,
        }
    }

    /// A rectangle of this tensor: rows from `first` on and all columns, to be placed somewhere.
    fn tile(&self, first: usize, (rows, columns): (usize, usize), to: (usize, usize)) -> Tile {
        let stride = |nth: usize| self.view.strides.get(nth).copied().unwrap_or(1);
        Tile {
            stored: Arc::clone(&self.stored),
            row: to.0,
            column: to.1,
            rows,
            columns,
            start: self.view.offset + first * stride(0),
            row_stride: stride(0),
            column_stride: stride(1),
        }
    }
}

/// A stored tensor that the model has no place for.
#[derive(Debug)]
pub(crate) struct Unplaced {
    /// Module number and key.
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) path: PathBuf,
    /// Why it may be left out unasked, if it may.
    pub(crate) reason: Option<&'static str>,
    pub(super) ranks: Vec<Located>,
}

impl NeoxSource {
    pub(crate) fn unplaced(&self) -> &[Unplaced] {
        &self.unplaced
    }

    /// Returns whether a tensor without a place is a bias of zeros on every rank, which changes nothing when left out.
    pub(crate) fn is_zero_bias(&self, unplaced: &Unplaced) -> Result<bool, NeoxReadError> {
        if unplaced.key.rsplit('.').next() != Some("bias") {
            return Ok(false);
        }
        for rank in &unplaced.ranks {
            let bytes = self.read(&unplaced.name, rank)?;
            if bytes.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares all replicated tensors; they are small.
    pub(crate) fn check_replicas(&self) -> Result<(), NeoxReadError> {
        for (tensor, ranks) in &self.tensors {
            if tensor.rule == Rule::Replicated && ranks.len() > 1 {
                self.merge(tensor, ranks, &tensor.slots[0])?;
            }
        }
        Ok(())
    }

    /// Returns the file that holds rank 0's part of a parameter.
    pub(crate) fn file_of(&self, parameter: &str) -> Option<&Path> {
        let &(tensor, _) = self.by_parameter.get(parameter)?;
        let rank = self.tensors[tensor].1.first()?;
        Some(self.files[rank.file].path())
    }

    /// Returns the only rank's file of a parameter, or `None` where several ranks hold it.
    fn mapped(&self, parameter: &str) -> Option<&MappedFile> {
        let &(tensor, _) = self.by_parameter.get(parameter)?;
        match self.tensors[tensor].1.as_slice() {
            [rank] => Some(self.files[rank.file].mapped()),
            _ => None,
        }
    }

    fn read(&self, name: &str, rank: &Located) -> Result<Cow<'_, [u8]>, NeoxReadError> {
        let failed = |file: &TorchFile, source| NeoxReadError::File {
            tensor: name.to_owned(),
            path: file.path().to_owned(),
            source: Box::new(source),
        };
        if !rank.is_master {
            let file = &self.files[rank.file];
            return file.read(&rank.view).map_err(|error| failed(file, error));
        }
        let num_elements = rank.view.shape.iter().product();
        let run = Tile {
            row_stride: 1,
            ..rank.tile(0, (num_elements, 1), (0, 0))
        };
        let mut output = Vec::with_capacity(num_elements * rank.view.dtype.width());
        let mut buffer = Vec::new();
        let tiles = [run];
        let mut chunks = Chunks::new(self, &tiles, (num_elements, 1), rank.view.dtype);
        while let Some(bytes) = chunks.next(&mut buffer)? {
            output.extend_from_slice(&bytes);
        }
        Ok(Cow::Owned(output))
    }

    /// Returns where a parameter's elements are, or that they have to be added up.
    pub(crate) fn placement(&self, parameter: &str) -> Option<Placement> {
        let &(index, slot) = self.by_parameter.get(parameter)?;
        let (tensor, ranks) = &self.tensors[index];
        let pick = tensor.slots[slot].pick;
        let columns = tensor.columns();
        let whole = (tensor.rows(), columns);
        let tiles = match tensor.rule {
            Rule::Summed if ranks.len() > 1 => return Some(Placement::Computed),
            Rule::Rows => {
                let tiles = ranks.iter().enumerate().flat_map(|(nth, rank)| {
                    let before = nth * pick.num_rows();
                    pick.starts().enumerate().map(move |(turn, start)| {
                        rank.tile(start, (pick.len, columns), (before + turn * pick.len, 0))
                    })
                });
                tiles.collect()
            }
            Rule::Columns => {
                let tiles = ranks.iter().enumerate();
                tiles
                    .map(|(nth, rank)| rank.tile(0, whole, (0, nth * columns)))
                    .collect()
            }
            Rule::Filled(_) => return Some(Placement::Computed),
            Rule::Replicated | Rule::Summed => {
                vec![ranks[0].tile(0, whole, (0, 0))]
            }
        };
        Some(Placement::Tiles(tiles))
    }

    /// Returns the name and number of elements of every tensor that parameters are taken from, rank by rank.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&NeoxTensor, &Located)> {
        let tensors = self.tensors.iter();
        tensors.flat_map(|(tensor, ranks)| ranks.iter().map(move |rank| (tensor, rank)))
    }

    pub(crate) fn path_of(&self, file: usize) -> &Path {
        self.files[file].path()
    }

    fn merge(
        &self,
        tensor: &NeoxTensor,
        ranks: &[Located],
        slot: &Slot,
    ) -> Result<Cow<'_, [u8]>, NeoxReadError> {
        let name = tensor.full_name();
        if let Rule::Filled(value) = tensor.rule {
            let extent = Extent {
                rows: tensor.rows(),
                columns: tensor.columns(),
                dtype: self.dtype,
            };
            return Ok(Cow::Owned(filled(value, extent)));
        }
        let bytes = ranks
            .iter()
            .map(|rank| self.read(&name, rank))
            .collect::<Result<_, _>>()?;
        let extent = Extent {
            rows: tensor.rows(),
            columns: tensor.columns(),
            dtype: ranks[0].view.dtype,
        };
        merge(tensor.rule, extent, slot.pick, bytes).map_err(|error| {
            NeoxReadError::ReplicasDiffer {
                tensor: name,
                first: self.files[ranks[0].file].path().to_owned(),
                other: self.files[ranks[error.rank].file].path().to_owned(),
            }
        })
    }

    fn dtype(&self, tensor: usize) -> Dtype {
        let rank = self.tensors[tensor].1.first();
        rank.map_or(self.dtype, |rank| rank.view.dtype)
    }
}

impl Pieces for NeoxSource {
    fn piece(&self, piece: &Piece, end: usize) -> Result<&[u8], NeoxReadError> {
        let file = &self.files[piece.file];
        let bytes = file.record_for(&piece.record, piece.start.saturating_add(end));
        let bytes = bytes.map_err(|source| NeoxReadError::File {
            tensor: piece.record.clone(),
            path: file.path().to_owned(),
            source: Box::new(source),
        })?;
        Ok(&bytes[piece.start.min(bytes.len())..])
    }

    fn release(&self, file: usize, part: &[u8]) {
        self.files[file].mapped().release(part);
    }
}

impl TensorSource for NeoxSource {
    fn names(&self) -> Vec<&str> {
        self.by_parameter.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let &(tensor, slot) = self.by_parameter.get(name)?;
        Some(TensorInfo {
            dtype: self.dtype(tensor),
            shape: self.tensors[tensor].0.slots[slot].shape.clone(),
        })
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let Some(&(index, slot)) = self.by_parameter.get(name) else {
            return Err(TensorSourceError::Missing {
                name: name.to_owned(),
            });
        };
        let (tensor, ranks) = &self.tensors[index];
        self.merge(tensor, ranks, &tensor.slots[slot])
            .map_err(|error| TensorSourceError::read(name, error))
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let info = self.info(name);
        let (Some(info), Some(Placement::Tiles(tiles))) = (info, self.placement(name)) else {
            // Only vectors are computed.
            let bytes = self.bytes(name)?;
            let width = self.info(name).map_or(1, |info| info.dtype.width());
            let range = rows.start * width..rows.end * width;
            return Ok(Cow::Owned(bytes[range].to_vec()));
        };
        let extent = matrix(&info.shape);
        let mut output = Vec::with_capacity(rows.len() * extent.1 * info.dtype.width());
        let mut buffer = Vec::new();
        let mut chunks = Chunks::new(self, &tiles, extent, info.dtype).of_rows(rows);
        while let Some(bytes) = chunks
            .next(&mut buffer)
            .map_err(|error| TensorSourceError::read(name, error))?
        {
            output.extend_from_slice(&bytes);
        }
        Ok(Cow::Owned(output))
    }

    fn shared(&self, name: &str) -> Result<Bytes, TensorSourceError> {
        Ok(match (self.bytes(name)?, self.mapped(name)) {
            // Bytes of several ranks are put together, so borrowed ones are the only rank's.
            (Cow::Borrowed(bytes), Some(file)) => file.share(bytes),
            (bytes, _) => Bytes::from(bytes.into_owned()),
        })
    }

    fn release(&self, name: &str) {
        // What several ranks hold would have to be put together first, in memory.
        let Some(file) = self.mapped(name) else {
            return;
        };
        if let Ok(Cow::Borrowed(bytes)) = self.bytes(name) {
            file.release(bytes);
        }
    }
}
