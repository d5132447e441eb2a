//! Carries out a plan: several threads read, cast, hash and write tensors, each from its first row to its last.
//!
//! One of the few files of this crate that know threads. A thread holds a few rows of two tensors at a time, however large
//! they are, and writes them where they belong in the file; rows that lie together in the input and need no cast are written
//! from the map as they are. The pages of the input are let go behind it. One more thread has what was written put on
//! disk while the others go on, so that little is left to wait for at the end.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cast::cast;
use crate::convert::disk::{reserve, sync_folder, write_at};
use crate::convert::journal::{Journal, Noted};
use crate::convert::lane::{Lane, Piece};
use crate::convert::plan::{Content, Fill, Frame, Output, Part, Plan};
use crate::convert::target::with_format;
use crate::convert::{ConvertError, thread_pool};
use crate::hash::TensorHashes;
use crate::neox::partitions::{Extent, split};
use crate::open::Checkpoint;
use crate::safetensors::write::header;
use crate::stored::{Chunks, matrix};

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
        if let Some(journal) = run.journal.held().as_deref_mut()
            && let Err(error) = journal.save()
        {
            tracing::debug!(%error, "what was done can't be gone on with");
        }
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
        let name = &content.parameter;
        let hash = content.hash(content.info.dtype, &found.source);
        before.insert(name.clone(), hash);
        after.insert(name.clone(), content.hash(content.dtype, &found.sha256));
        warnings.extend(found.warning(name));
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

fn make_folders(plan: &Plan, output: &Path) -> Result<HashSet<PathBuf>, ConvertError> {
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

    /// What each thread does: reads two parameters in turn, since two are hashed in little more time than one.
    fn work(&self, flushes: &Sender<Flush>) {
        let mut buffer = Vec::new();
        let mut passes: Vec<Pass<'_>> = Vec::new();
        loop {
            while passes.len() < 2
                && let Some((nth, job)) = self.next_job()
            {
                match self.begin(nth, job, &mut buffer, flushes) {
                    Ok(pass) => passes.extend(pass),
                    Err(error) => return self.fail(nth, error),
                }
            }
            if passes.is_empty() || self.failed.load(Ordering::Relaxed) {
                return;
            }
            if let Err((nth, error)) = self.advance(&mut passes, flushes) {
                return self.fail(nth, error);
            }
        }
    }

    fn next_job(&self) -> Option<(usize, Job)> {
        let nth = self.next.fetch_add(1, Ordering::Relaxed);
        self.jobs.get(nth).map(|&job| (nth, job))
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

    /// Begins to read a parameter, or makes a tensor that is more than one.
    fn begin(
        &self,
        nth: usize,
        job: Job,
        buffer: &mut Vec<u8>,
        flushes: &Sender<Flush>,
    ) -> Result<Option<Pass<'_>>, ConvertError> {
        let (content, writing) = match job {
            Job::Hash(content) => (content, None),
            Job::Write(output, part) => {
                let mut writing = self.open(output, part)?;
                if !matches!(writing.part.fill, Fill::Whole) {
                    self.make(&mut writing, buffer)?;
                    return self.close(writing, flushes).map(|()| None);
                }
                (writing.part.contents[0], Some(writing))
            }
        };
        let content = &self.plan.contents[content];
        Ok(Some(Pass {
            nth,
            content,
            lane: Lane::new(self.checkpoint, content),
            writing,
        }))
    }

    /// Takes each parameter some rows further, and ends those that have no more.
    fn advance(
        &self,
        passes: &mut Vec<Pass<'_>>,
        flushes: &Sender<Flush>,
    ) -> Result<(), (usize, ConvertError)> {
        let mut steps = Vec::with_capacity(passes.len());
        for pass in &mut *passes {
            let nth = pass.nth;
            let piece = pass.lane.next().map_err(|error| (nth, error))?;
            steps.push((nth, piece, pass.writing.as_mut()));
        }
        Piece::hash_each(steps.iter_mut().filter_map(|(_, piece, _)| piece.as_mut()));
        let mut ended = Vec::new();
        for (nth, piece, writing) in steps {
            match (piece, writing) {
                (None, _) => ended.push(nth),
                (Some(_), None) => {}
                (Some(piece), Some(writing)) => {
                    let written = writing.write(piece.bytes());
                    written.map_err(|error| (nth, error))?;
                }
            }
        }
        for pass in passes.extract_if(.., |pass| ended.contains(&pass.nth)) {
            let nth = pass.nth;
            self.end(pass, flushes).map_err(|error| (nth, error))?;
        }
        Ok(())
    }

    fn end(&self, pass: Pass<'_>, flushes: &Sender<Flush>) -> Result<(), ConvertError> {
        if pass.writing.is_none() || !self.noted.held().contains_key(&pass.content.parameter) {
            self.remember(pass.content, pass.lane.finish());
        }
        match pass.writing {
            Some(writing) => self.close(writing, flushes),
            None => Ok(()),
        }
    }

    fn remember(&self, content: &Content, noted: Noted) {
        if let Some(journal) = self.journal.held().as_deref_mut() {
            journal.note_tensor(&content.parameter, &noted);
        }
        self.noted.held().insert(content.parameter.clone(), noted);
    }

    /// Begins a tensor of a file.
    fn open(&self, output: usize, part: usize) -> Result<Writing<'_>, ConvertError> {
        let (planned, open) = (&self.plan.outputs[output], &self.files[output]);
        let path = self.output.join(&planned.path);
        let file = open.file(&path, planned);
        let file = file.map_err(|source| write_error(&path, source))?;
        Ok(Writing {
            output,
            place: part,
            part: &planned.parts[part],
            progress: &self.progress,
            file,
            turn: &open.turn,
            path,
            offset: planned.parts[part].offset,
            crc: matches!(planned.frame, Frame::Torch { .. }).then(crc32fast::Hasher::new),
        })
    }

    /// Writes a tensor that is put together from several, or part of one.
    fn make(&self, writing: &mut Writing<'_>, buffer: &mut Vec<u8>) -> Result<(), ConvertError> {
        let part = writing.part;
        let Fill::Tiles { tiles, from } = &part.fill else {
            return writing.write(&self.split(part)?);
        };
        let extent = matrix(&part.shape);
        let mut chunks = Chunks::new(self.checkpoint.pieces(), tiles, extent, *from);
        while let Some(bytes) = chunks.next(buffer).map_err(ConvertError::Inconsistent)? {
            writing.write(&cast(bytes, *from, part.dtype))?;
        }
        Ok(())
    }

    /// Ends a tensor of a file, and the file with its last one.
    fn close(&self, writing: Writing<'_>, flushes: &Sender<Flush>) -> Result<(), ConvertError> {
        let Writing {
            output, file, path, ..
        } = writing;
        let open = &self.files[output];
        if let Some(crc) = writing.crc {
            open.crcs.held()[writing.place] = crc.finalize();
        }
        let last = open.remaining.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            let crcs = open.crcs.held();
            write_frame(&self.plan.outputs[output].frame, &file, &crcs)
                .map_err(|source| write_error(&path, source))?;
            *open.file.held() = None;
        }
        let len = writing.part.byte_len();
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
    fn file(&self, path: &Path, planned: &Output) -> io::Result<Arc<File>> {
        let mut slot = self.file.held();
        if let Some(file) = slot.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::create(path)?);
        let ends = planned
            .parts
            .iter()
            .map(|part| part.offset + part.byte_len());
        reserve(&file, ends.max().unwrap_or(0))?;
        *slot = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// A parameter that a thread is reading.
struct Pass<'a> {
    /// The number of the job.
    nth: usize,
    content: &'a Content,
    lane: Lane<'a>,
    /// Nothing where it is only hashed.
    writing: Option<Writing<'a>>,
}

/// The place in a file where a tensor is being written.
struct Writing<'a> {
    /// The file's place in the plan.
    output: usize,
    /// The tensor's place in the file.
    place: usize,
    part: &'a Part,
    progress: &'a Mutex<Progress>,
    file: Arc<File>,
    /// Systems let one thread at a time write to a file, and the others turn in circles until it is done; here they sleep.
    turn: &'a Mutex<()>,
    path: PathBuf,
    offset: u64,
    crc: Option<crc32fast::Hasher>,
}

impl Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
        {
            let _turn = self.turn.held();
            write_at(&self.file, bytes, self.offset)
                .map_err(|source| write_error(&self.path, source))?;
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
