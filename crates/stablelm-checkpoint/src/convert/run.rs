//! Carries out a plan: several threads read, cast, hash and write tensors, each from its first row to its last.
//!
//! One of the few files of this crate that know threads. A thread holds a few rows at a time, however large the tensor
//! is, and writes them where they belong in the file; rows that lie together in the input and need no cast are written
//! from the map as they are. The pages of the input are let go behind it. One more thread has what was written put on
//! disk while the others go on, so that little is left to wait for at the end.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cast::{NonFiniteCount, cast};
use crate::convert::journal::{Journal, Noted};
use crate::convert::plan::{Content, Fill, Frame, Output, Part, Plan};
use crate::convert::target::with_format;
use crate::convert::{ConvertError, thread_pool};
use crate::hash::{TensorHash, TensorHashes};
use crate::neox::partitions::{Extent, split};
use crate::open::Checkpoint;
use crate::safetensors::write::header;
use crate::stored::{Chunks, matrix};
use crate::stream::{Tally, stream};

/// What a conversion did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Converted {
    /// Number of parameters that are tensors of their own in Hugging Face transformers.
    pub tensors: usize,
    /// Number of numbers in them.
    pub parameters: u64,
    /// Bytes of tensors in the output.
    pub bytes: u64,
    /// Tensors that hold NaN or infinity.
    pub warnings: Vec<NonFinite>,
    /// Lower-case hexadecimal SHA-256 of the input's tensors, see [`TensorHashes`]; the same for the same weights in
    /// any format.
    pub source_sha256: String,
    /// What the output's tensors hash to.
    pub hashes: TensorHashes,
}

/// A tensor that holds something other than numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NonFinite {
    /// The tensor's name in Hugging Face transformers.
    pub tensor: String,
    /// How many numbers are NaN or infinite.
    pub count: u64,
    /// How many of them are NaN.
    pub nan: u64,
}

/// Writes what a plan says into an existing folder and waits until it is on disk, if the plan says so.
///
/// The folder is the caller's to make and, after an error, to remove: it may hold some of the files then. With a
/// journal, files that it names as complete are left as they are.
pub fn convert(
    plan: &Plan,
    checkpoint: &Checkpoint,
    output: &Path,
    journal: Option<&mut Journal>,
) -> Result<Converted, ConvertError> {
    let folders = make_folders(plan, output)?;
    let known = journal.as_ref().map_or_else(BTreeMap::new, |journal| {
        journal.tensors.clone().into_iter().collect()
    });
    let run = Run {
        plan,
        checkpoint,
        output,
        jobs: jobs(plan, journal.as_deref(), &known),
        files: plan.outputs.iter().map(OpenFile::new).collect(),
        noted: Mutex::new(known),
        journal: Mutex::new(journal),
        next: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
        error: Mutex::new(None),
        progress: Mutex::new(Progress::new(plan.byte_len())),
    };
    run.progress.held().done = run.bytes_of_complete_files();
    let pool = thread_pool(plan.threads)?;
    let (flushes, queue) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| run.flush(queue));
        pool.broadcast(|_| run.work(&flushes));
        // Without senders the other thread ends when all is on disk.
        drop(flushes);
    });
    if let Some((_, error)) = run.error.held().take() {
        return Err(error);
    }
    for (path, content) in &plan.small_files {
        let path = output.join(path);
        write_small(&path, content, plan.sync).map_err(|source| write_error(&path, source))?;
    }
    for folder in folders.iter().filter(|_| plan.sync) {
        sync_folder(folder).map_err(|source| write_error(folder, source))?;
    }
    run.progress.held().report(true);
    let noted = std::mem::take(&mut *run.noted.held());
    Ok(converted(plan, &noted))
}

/// Puts other metadata into the headers of safetensors that were converted; they must be as long as those planned.
pub fn write_metadata(
    plan: &Plan,
    output: &Path,
    metadata: &BTreeMap<String, String>,
) -> Result<(), ConvertError> {
    let metadata = with_format(metadata);
    for file in &plan.outputs {
        let Frame::Safetensors {
            tensors,
            header: planned,
        } = &file.frame
        else {
            continue;
        };
        let path = output.join(&file.path);
        let header = header(tensors, &metadata);
        if header.len() != planned.len() {
            return Err(ConvertError::HeaderLength {
                path,
                expected: planned.len(),
                found: header.len(),
            });
        }
        let write = || {
            let file = File::options().write(true).open(&path)?;
            write_at(&file, &header, 0)?;
            if plan.sync { file.sync_all() } else { Ok(()) }
        };
        write().map_err(|source| write_error(&path, source))?;
    }
    Ok(())
}

fn converted(plan: &Plan, noted: &BTreeMap<String, Noted>) -> Converted {
    let mut warnings = Vec::new();
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    for content in &plan.contents {
        let Some(found) = noted.get(&content.parameter) else {
            continue;
        };
        let hash = |dtype: stablelm_model::Dtype, sha256: &str| TensorHash {
            dtype: dtype.as_str().to_owned(),
            shape: content.info.shape.clone(),
            sha256: sha256.to_owned(),
        };
        let name = content.parameter.clone();
        before.insert(name.clone(), hash(content.info.dtype, &found.source));
        after.insert(name.clone(), hash(content.dtype, &found.sha256));
        if found.non_finite() != NonFiniteCount::default() {
            warnings.push(NonFinite {
                tensor: name,
                count: found.nan + found.infinite,
                nan: found.nan,
            });
        }
    }
    Converted {
        tensors: plan.num_tensors(),
        parameters: plan.num_parameters(),
        bytes: plan.byte_len(),
        warnings,
        source_sha256: TensorHashes::new(before).sha256,
        hashes: TensorHashes::new(after),
    }
}

fn make_folders(plan: &Plan, output: &Path) -> Result<HashSet<std::path::PathBuf>, ConvertError> {
    let mut folders = HashSet::new();
    let paths = plan.files().iter().map(|file| file.path.as_path());
    for folder in paths.filter_map(Path::parent) {
        let folder = output.join(folder);
        fs::create_dir_all(&folder).map_err(|source| write_error(&folder, source))?;
        folders.insert(folder);
    }
    Ok(folders)
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> ConvertError {
    ConvertError::Write {
        path: path.to_owned(),
        source,
    }
}

fn write_small(path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    if sync { file.sync_all() } else { Ok(()) }
}

/// Makes new names in a folder survive a crash, where the system lets folders be opened.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if len == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[len..];
        offset += len as u64;
    }
    Ok(())
}

/// One thing for a thread to do.
#[derive(Clone, Copy, Debug)]
enum Job {
    /// Write a tensor of a file, by their places in the plan.
    Write(usize, usize),
    /// Only hash a parameter that no tensor of the output is alone.
    Hash(usize),
}

/// Lists what is to be done: file by file, each parameter hashed soon after it was last read.
fn jobs(plan: &Plan, journal: Option<&Journal>, known: &BTreeMap<String, Noted>) -> Vec<Job> {
    let is_complete = |output: &Output| journal.is_some_and(|journal| journal.has(&output.path));
    let mut hashed: HashSet<usize> = plan
        .outputs
        .iter()
        .flat_map(|output| &output.parts)
        .filter(|part| matches!(part.fill, Fill::Whole))
        .flat_map(|part| part.contents.clone())
        .collect();
    hashed.extend(
        (0..plan.contents.len()).filter(|&nth| known.contains_key(&plan.contents[nth].parameter)),
    );
    let mut jobs = Vec::new();
    let mut first = 0;
    // Files of the same parameters, the ranks of one layer or of all, are written side by side: what one reads, the
    // others find in memory.
    for group in plan.outputs.chunk_by(has_same_contents) {
        for part in 0..group[0].parts.len() {
            for (nth, output) in group.iter().enumerate() {
                if !is_complete(output) {
                    jobs.push(Job::Write(first + nth, part));
                }
            }
            for &content in &group[0].parts[part].contents {
                if hashed.insert(content) {
                    jobs.push(Job::Hash(content));
                }
            }
        }
        first += group.len();
    }
    jobs
}

fn has_same_contents(a: &Output, b: &Output) -> bool {
    let contents = |output: &Output| -> Vec<Vec<usize>> {
        let parts = output.parts.iter();
        parts.map(|part| part.contents.clone()).collect()
    };
    contents(a) == contents(b)
}

/// A lock that a panic elsewhere does not matter to: the panic goes on by itself.
trait Held<T> {
    fn held(&self) -> MutexGuard<'_, T>;
}

impl<T> Held<T> for Mutex<T> {
    fn held(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Run<'a> {
    plan: &'a Plan,
    checkpoint: &'a Checkpoint,
    output: &'a Path,
    jobs: Vec<Job>,
    files: Vec<OpenFile>,
    noted: Mutex<BTreeMap<String, Noted>>,
    journal: Mutex<Option<&'a mut Journal>>,
    next: AtomicUsize,
    failed: AtomicBool,
    /// The error of the earliest job that failed.
    error: Mutex<Option<(usize, ConvertError)>>,
    progress: Mutex<Progress>,
}

/// An output file while it is written.
struct OpenFile {
    file: Mutex<Option<Arc<File>>>,
    turn: Mutex<()>,
    crcs: Mutex<Vec<u32>>,
    remaining: AtomicUsize,
    /// Bytes written since the disk was last asked for them.
    unflushed: AtomicU64,
}

/// Bytes of a file after which the disk begins with them.
const FLUSH_LEN: u64 = 256 << 20;

/// A file that is to be put on disk, as far as it is written.
struct Flush {
    /// Its place in the plan.
    output: usize,
    file: Arc<File>,
    /// Whether all of it is written.
    last: bool,
}

impl OpenFile {
    fn new(output: &Output) -> Self {
        Self {
            file: Mutex::new(None),
            turn: Mutex::new(()),
            crcs: Mutex::new(vec![0; output.parts.len()]),
            remaining: AtomicUsize::new(output.parts.len()),
            unflushed: AtomicU64::new(0),
        }
    }
}

impl Run<'_> {
    fn bytes_of_complete_files(&self) -> u64 {
        let journal = self.journal.held();
        let is_complete = |output: &&Output| {
            let journal = journal.as_deref();
            journal.is_some_and(|journal| journal.has(&output.path))
        };
        let outputs = self.plan.outputs.iter().filter(is_complete);
        outputs
            .flat_map(|output| &output.parts)
            .map(Part::byte_len)
            .sum()
    }

    /// What each thread does: one job after another.
    fn work(&self, flushes: &Sender<Flush>) {
        let mut buffers = Buffers::default();
        loop {
            let nth = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&job) = self.jobs.get(nth) else {
                return;
            };
            if self.failed.load(Ordering::Relaxed) {
                return;
            }
            let done = match job {
                Job::Write(output, part) => self.write(output, part, &mut buffers, flushes),
                Job::Hash(content) => self.hash(content, &mut buffers),
            };
            if let Err(error) = done {
                self.fail(nth, error);
                return;
            }
        }
    }

    fn fail(&self, nth: usize, error: ConvertError) {
        self.failed.store(true, Ordering::Relaxed);
        let mut first = self.error.held();
        if first.as_ref().is_none_or(|(earlier, _)| nth < *earlier) {
            *first = Some((nth, error));
        }
    }

    /// What one more thread does: waits for the disk, so that the others need not.
    fn flush(&self, queue: Receiver<Flush>) {
        for Flush { output, file, last } in queue {
            let path = &self.plan.outputs[output].path;
            let synced = match (self.plan.sync, last) {
                (false, _) => Ok(()),
                (true, false) => file.sync_data(),
                (true, true) => file.sync_all(),
            };
            let done = synced
                .map_err(|source| write_error(&self.output.join(path), source))
                .and_then(|()| self.note_file(path, last));
            if let Err(error) = done {
                self.fail(usize::MAX, error);
                return;
            }
        }
    }

    fn note_file(&self, path: &Path, is_whole: bool) -> Result<(), ConvertError> {
        match self.journal.held().as_deref_mut() {
            Some(journal) if is_whole => journal.note_file(path).map_err(ConvertError::Journal),
            _ => Ok(()),
        }
    }

    fn hash(&self, content: usize, buffers: &mut Buffers) -> Result<(), ConvertError> {
        let content = &self.plan.contents[content];
        let noted = self.note(content, buffers, |_| Ok(()))?;
        self.remember(content, noted)
    }

    /// Reads a parameter from its first row to its last, hashing it, and gives its rows as the output holds them.
    fn note(
        &self,
        content: &Content,
        buffers: &mut Buffers,
        mut give: impl FnMut(&[u8]) -> Result<(), ConvertError>,
    ) -> Result<Noted, ConvertError> {
        let mut source = Tally::new();
        let mut output = (content.dtype != content.info.dtype).then(Tally::new);
        let (from, to) = (content.info.dtype, content.dtype);
        stream(self.checkpoint, content, &mut buffers.rows, &mut |bytes| {
            source.hash(bytes);
            match &mut output {
                None => {
                    source.count(bytes, from);
                    give(bytes)
                }
                Some(output) => {
                    let bytes = cast(bytes.into(), from, to);
                    output.hash(&bytes);
                    output.count(&bytes, to);
                    give(&bytes)
                }
            }
        })?;
        let (source, non_finite) = source.finish();
        let (sha256, non_finite) = match output {
            Some(output) => output.finish(),
            None => (source.clone(), non_finite),
        };
        Ok(Noted {
            source,
            sha256,
            nan: non_finite.nan,
            infinite: non_finite.infinite,
        })
    }

    fn remember(&self, content: &Content, noted: Noted) -> Result<(), ConvertError> {
        if let Some(journal) = self.journal.held().as_deref_mut() {
            journal
                .note_tensor(&content.parameter, &noted)
                .map_err(ConvertError::Journal)?;
        }
        self.noted.held().insert(content.parameter.clone(), noted);
        Ok(())
    }

    fn write(
        &self,
        output: usize,
        part: usize,
        buffers: &mut Buffers,
        flushes: &Sender<Flush>,
    ) -> Result<(), ConvertError> {
        let (planned, open) = (&self.plan.outputs[output], &self.files[output]);
        let tensor = &planned.parts[part];
        let path = self.output.join(&planned.path);
        let file = open
            .file(&path)
            .map_err(|source| write_error(&path, source))?;
        let mut sink = Sink {
            progress: &self.progress,
            file: &file,
            turn: &open.turn,
            path: &path,
            offset: tensor.offset,
            crc: matches!(planned.frame, Frame::Torch { .. }).then(crc32fast::Hasher::new),
        };
        match &tensor.fill {
            Fill::Whole => {
                let content = &self.plan.contents[tensor.contents[0]];
                let noted = self.note(content, buffers, |bytes| sink.write(bytes))?;
                if !self.noted.held().contains_key(&content.parameter) {
                    self.remember(content, noted)?;
                }
            }
            Fill::Tiles { tiles, from } => {
                let extent = matrix(&tensor.shape);
                let mut chunks = Chunks::new(self.checkpoint.pieces(), tiles, extent, *from);
                while let Some(bytes) = chunks
                    .next(&mut buffers.rows)
                    .map_err(ConvertError::Inconsistent)?
                {
                    sink.write(&cast(bytes, *from, tensor.dtype))?;
                }
            }
            Fill::Split { .. } => sink.write(&self.split(tensor)?)?,
        }
        if let Some(crc) = sink.crc.take() {
            open.crcs.held()[part] = crc.finalize();
        }
        let last = open.remaining.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            let crcs = open.crcs.held();
            write_frame(&planned.frame, &file, &crcs)
                .map_err(|source| write_error(&path, source))?;
            *open.file.held() = None;
        }
        let len = tensor.byte_len();
        let unflushed = open.unflushed.fetch_add(len, Ordering::Relaxed) + len;
        if last || unflushed >= FLUSH_LEN {
            open.unflushed.store(0, Ordering::Relaxed);
            // After an error over there nothing is flushed any more, and this thread is about to see that.
            let _ = flushes.send(Flush { output, file, last });
        }
        Ok(())
    }

    /// Makes a small tensor in memory.
    fn split(&self, part: &Part) -> Result<Vec<u8>, ConvertError> {
        let Fill::Split {
            tensor,
            rank,
            num_ranks,
        } = &part.fill
        else {
            unreachable!("only called for tensors that are split in memory");
        };
        let mut parameters = Vec::with_capacity(tensor.slots.len());
        for (slot, &content) in tensor.slots.iter().zip(&part.contents) {
            let content = &self.plan.contents[content];
            let bytes = self.checkpoint.source().bytes(&content.parameter);
            let bytes = bytes.map_err(ConvertError::Read)?;
            parameters.push((slot.pick, cast(bytes, content.info.dtype, part.dtype)));
        }
        let extent = Extent {
            rows: tensor.rows(),
            columns: tensor.columns(),
            dtype: part.dtype,
        };
        let mut ranks = split(tensor.rule, extent, &parameters, *num_ranks);
        Ok(ranks.swap_remove(*rank).into_owned())
    }
}

/// Writes what is around the tensors of a file.
fn write_frame(frame: &Frame, file: &File, crcs: &[u32]) -> io::Result<()> {
    match frame {
        Frame::Safetensors { header, .. } => write_at(file, header, 0),
        Frame::Torch { layout, pickle } => {
            for (offset, bytes) in layout.frame(pickle, crcs) {
                write_at(file, &bytes, offset)?;
            }
            Ok(())
        }
    }
}

impl OpenFile {
    /// Makes the file for the first tensor that is written to it.
    fn file(&self, path: &Path) -> io::Result<Arc<File>> {
        let mut slot = self.file.held();
        if let Some(file) = slot.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::create(path)?);
        *slot = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// Memory that a thread uses again and again.
#[derive(Default)]
struct Buffers {
    rows: Vec<u8>,
}

/// The place in a file where a tensor is being written.
struct Sink<'a> {
    progress: &'a Mutex<Progress>,
    file: &'a File,
    /// Systems let one thread at a time write to a file, and the others turn in circles until it is done; here they sleep.
    turn: &'a Mutex<()>,
    path: &'a Path,
    offset: u64,
    crc: Option<crc32fast::Hasher>,
}

impl Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
        {
            let _turn = self.turn.held();
            write_at(self.file, bytes, self.offset)
                .map_err(|source| write_error(self.path, source))?;
        }
        self.offset += bytes.len() as u64;
        let mut progress = self.progress.held();
        progress.done += bytes.len() as u64;
        progress.report(false);
        Ok(())
    }
}

struct Progress {
    done: u64,
    total: u64,
    reported: Option<Instant>,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self {
            done: 0,
            total,
            reported: None,
        }
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
