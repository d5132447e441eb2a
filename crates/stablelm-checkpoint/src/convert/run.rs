//! Carries out a plan: reads, splits and casts ahead on several threads, writes and hashes in order.
//!
//! The only file of this crate that knows threads. Memory is bounded by two windows of tensors; a window is a single
//! tensor once that one is large.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use stablelm_model::TensorSource;

use crate::cast::{NonFiniteCount, cast, count_non_finite};
use crate::convert::ConvertError;
use crate::convert::plan::{Group, GroupKind, Move, Plan};
use crate::hash::hexadecimal;
use crate::neox::names::NeoxTensor;
use crate::neox::partitions::{Extent, split};
use crate::neox::write::TorchWriter;
use crate::open::Checkpoint;
use crate::safetensors::write::SafetensorsWriter;

/// Bytes of output that are prepared ahead of the writer.
const WINDOW_LEN: usize = 32 << 20;

/// What a conversion did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Converted {
    /// Number of parameters that are tensors of their own in Hugging Face transformers.
    pub tensors: usize,
    /// Number of numbers in them.
    pub parameters: u64,
    /// Bytes of tensors written.
    pub bytes: u64,
    /// Tensors that hold NaN or infinity.
    pub warnings: Vec<NonFinite>,
    /// Lower-case hexadecimal SHA-256 over the bytes of all tensors, in the order they were written; for one safetensors
    /// file, over everything behind its header.
    pub tensor_bytes_sha256: String,
}

/// A tensor that holds something other than numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NonFinite {
    /// The tensor's name in the output.
    pub tensor: String,
    /// How many numbers are NaN or infinite.
    pub count: u64,
    /// How many of them are NaN.
    pub nan: u64,
}

/// Writes what a plan says into an existing folder and waits until it is on disk.
///
/// The folder is the caller's to make and, after an error, to remove: it may hold some of the files then.
pub fn convert(
    plan: &Plan,
    checkpoint: &Checkpoint,
    output: &Path,
) -> Result<Converted, ConvertError> {
    let threads = plan.threads;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| ConvertError::Threads {
        threads,
        source: io::Error::other(error),
    })?;
    pool.install(|| {
        let mut run = Run {
            checkpoint,
            output,
            hasher: Sha256::new(),
            warnings: Vec::new(),
            done: 0,
            total: plan.byte_len(),
            reported: None,
        };
        let mut folders = HashSet::new();
        let paths = plan.files().iter().map(|file| file.path.as_path());
        for folder in paths.filter_map(Path::parent) {
            let folder = output.join(folder);
            fs::create_dir_all(&folder).map_err(|source| write_error(&folder, source))?;
            folders.insert(folder);
        }
        for group in &plan.groups {
            run.group(group)?;
        }
        for (path, content) in &plan.small_files {
            let path = output.join(path);
            write_small(&path, content).map_err(|source| write_error(&path, source))?;
        }
        for folder in &folders {
            sync_folder(folder).map_err(|source| write_error(folder, source))?;
        }
        run.report(true);
        Ok(Converted {
            tensors: plan.num_tensors(),
            parameters: plan.num_parameters(),
            bytes: run.done,
            warnings: run.warnings,
            tensor_bytes_sha256: hexadecimal(&run.hasher.finalize()),
        })
    })
}

fn write_error(path: &Path, source: io::Error) -> ConvertError {
    ConvertError::Write {
        path: path.to_owned(),
        source,
    }
}

fn write_small(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes new names in a folder survive a crash, where the system lets folders be opened.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

struct Run<'a> {
    checkpoint: &'a Checkpoint,
    output: &'a Path,
    hasher: Sha256,
    warnings: Vec<NonFinite>,
    done: u64,
    total: u64,
    reported: Option<Instant>,
}

/// A tensor ready to be written: bytes for each file of its group.
struct Ready<'a> {
    /// The name in the output, with the layer's number where the output has one.
    name: String,
    files: Vec<Cow<'a, [u8]>>,
    non_finite: NonFiniteCount,
}

impl Run<'_> {
    fn group(&mut self, group: &Group) -> Result<(), ConvertError> {
        let mut sinks = Vec::with_capacity(group.files.len());
        for (path, begin) in &group.files {
            let path = self.output.join(path);
            sinks.push(Sink::create(path, group.kind, begin)?);
        }
        let source = self.checkpoint.source();
        let num_files = group.files.len();
        let mut windows = Windows(&group.moves);
        let first = windows.next().unwrap_or_default();
        let mut ready = prepare_window(source, first, num_files)?;
        // While one window is written, the next one is prepared.
        while !ready.is_empty() {
            let next = windows.next().unwrap_or_default();
            let (written, prepared) = rayon::join(
                || self.write(&ready, &mut sinks),
                || prepare_window(source, next, num_files),
            );
            written?;
            ready = prepared?;
        }
        sinks.into_iter().try_for_each(Sink::finish)
    }

    /// Writes a window's tensors in order and hashes the same bytes beside it.
    fn write(&mut self, ready: &[Ready<'_>], sinks: &mut [Sink]) -> Result<(), ConvertError> {
        for tensor in ready {
            let hasher = &mut self.hasher;
            let ((), written) = rayon::join(
                || tensor.files.iter().for_each(|bytes| hasher.update(bytes)),
                || {
                    let mut pairs = sinks.iter_mut().zip(&tensor.files);
                    pairs.try_for_each(|(sink, bytes)| sink.write(bytes))
                },
            );
            written?;
            if tensor.non_finite != NonFiniteCount::default() {
                self.warnings.push(NonFinite {
                    tensor: tensor.name.clone(),
                    count: tensor.non_finite.nan + tensor.non_finite.infinite,
                    nan: tensor.non_finite.nan,
                });
            }
            let lens = tensor.files.iter().map(|bytes| bytes.len() as u64);
            self.done += lens.sum::<u64>();
            self.report(false);
        }
        Ok(())
    }

    fn report(&mut self, last: bool) {
        let due = self
            .reported
            .is_none_or(|at| at.elapsed() > Duration::from_millis(100));
        if due || last {
            self.reported = Some(Instant::now());
            let (done, total) = (self.done, self.total);
            tracing::info!(target: "progress", stage = "convert", done, total, unit = "bytes");
        }
    }
}

fn prepare_window<'a>(
    source: &'a dyn TensorSource,
    moves: &'a [Move],
    num_files: usize,
) -> Result<Vec<Ready<'a>>, ConvertError> {
    let prepared = moves
        .par_iter()
        .map(|moved| prepare(source, moved, num_files));
    prepared.collect()
}

/// Reads a tensor's parameters, splits them and casts them.
fn prepare<'a>(
    source: &'a dyn TensorSource,
    moved: &'a Move,
    num_files: usize,
) -> Result<Ready<'a>, ConvertError> {
    let mut inputs = Vec::with_capacity(moved.inputs.len());
    for input in &moved.inputs {
        let bytes = source.bytes(&input.parameter).map_err(ConvertError::Read)?;
        let expected = input.info.byte_len().unwrap_or(usize::MAX);
        if bytes.len() != expected {
            return Err(ConvertError::ByteLen {
                tensor: input.parameter.clone(),
                expected,
                found: bytes.len(),
            });
        }
        inputs.push(cast(bytes, input.info.dtype, moved.dtype));
    }
    let files = match &moved.split {
        None => inputs,
        Some(tensor) => {
            let extent = Extent {
                rows: tensor.rows(),
                columns: tensor.columns(),
                dtype: moved.dtype,
            };
            let picks = tensor.slots.iter().map(|slot| slot.pick);
            let parameters: Vec<_> = picks.zip(inputs).collect();
            split(tensor.rule, extent, &parameters, num_files)
        }
    };
    let mut non_finite = NonFiniteCount::default();
    for bytes in &files {
        let count = count_non_finite(bytes, moved.dtype);
        non_finite.nan += count.nan;
        non_finite.infinite += count.infinite;
    }
    Ok(Ready {
        name: moved
            .split
            .as_ref()
            .map_or_else(|| moved.name.clone(), NeoxTensor::full_name),
        files,
        non_finite,
    })
}

/// Runs of moves that are prepared together.
struct Windows<'a>(&'a [Move]);

impl<'a> Iterator for Windows<'a> {
    type Item = &'a [Move];

    fn next(&mut self) -> Option<Self::Item> {
        let mut len = 0;
        let fits = |moved: &&Move| {
            let more = moved
                .inputs
                .iter()
                .filter_map(|input| input.info.byte_len());
            len += more.sum::<usize>();
            len <= WINDOW_LEN
        };
        let count = self.0.iter().take_while(fits).count().max(1);
        let (window, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(window)
    }
}

/// An output file.
struct Sink {
    path: PathBuf,
    kind: SinkKind,
}

enum SinkKind {
    Safetensors(SafetensorsWriter),
    Torch(Box<TorchWriter<File>>),
}

impl Sink {
    fn create(path: PathBuf, kind: GroupKind, begin: &[u8]) -> Result<Self, ConvertError> {
        let created = match kind {
            GroupKind::Safetensors => {
                SafetensorsWriter::create(&path, begin).map(SinkKind::Safetensors)
            }
            GroupKind::Torch => {
                TorchWriter::create(&path, begin).map(|writer| SinkKind::Torch(Box::new(writer)))
            }
        };
        match created {
            Ok(kind) => Ok(Self { path, kind }),
            Err(source) => Err(write_error(&path, source)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        let written = match &mut self.kind {
            SinkKind::Safetensors(writer) => writer.write(bytes),
            SinkKind::Torch(writer) => writer.write(bytes),
        };
        written.map_err(|source| write_error(&self.path, source))
    }

    fn finish(self) -> Result<(), ConvertError> {
        let finished = match self.kind {
            SinkKind::Safetensors(writer) => writer.finish(),
            SinkKind::Torch(writer) => writer.finish().and_then(|file| file.sync_all()),
        };
        finished.map_err(|source| write_error(&self.path, source))
    }
}
