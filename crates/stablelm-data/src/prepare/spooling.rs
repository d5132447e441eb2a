//! From the files of a source to its spools: rows are read in order and judged on all threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::pipeline::Workers;
use crate::prepare::duplicates::keys_path;
use crate::prepare::journal::{Journal, SourceJournal};
use crate::prepare::judge::{EncodeFailure, Shared, Stages, Worker, judge};
use crate::prepare::source::{InputFile, Piece, SourceFile, SourceReader};
use crate::prepare::spool::{SpoolWriter, frame};
use crate::prepare::{PrepareError, PrepareOptions, documents};
use crate::progress::Progress;
use crate::read::source_file::Position;
use crate::recipe::SourceRecipe;
use crate::remote::{Prefetch, PrefetchLimits, Remotes};

/// How much work a killed run may lose.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);
/// Text that a thread works on at once.
const PIECE_BYTES: usize = 512 << 10;

/// What lies fetched on the disk: the file that is read and the next, or a few small ones.
const FETCHED: PrefetchLimits = PrefetchLimits {
    files: 4,
    bytes: 8 << 30,
};

/// One source of a run, and what all of them share.
pub(crate) struct Spooling<'a> {
    pub(crate) options: &'a PrepareOptions<'a>,
    pub(crate) workers: &'a Workers,
    pub(crate) remotes: &'a Arc<Remotes>,
    pub(crate) shared: &'a Shared<'a>,
    pub(crate) work: &'a Path,
    pub(crate) index: usize,
    pub(crate) source: &'a SourceRecipe,
    pub(crate) files: &'a [SourceFile],
}

/// The spool of rows of source number `source`.
pub(crate) fn rows_path(work: &Path, source: usize) -> PathBuf {
    work.join(format!("{source}.rows"))
}

/// What became of a piece.
#[derive(Default)]
struct Judged {
    rows: Vec<u8>,
    keys: Vec<u8>,
    documents: u64,
    kept: u64,
    after: Position,
    finished: Option<InputFile>,
    bytes_read: u64,
    file: usize,
    failure: Option<EncodeFailure>,
}

/// Judges a source from where its journal stands to its end.
pub(crate) fn spool_source(
    spooling: &Spooling<'_>,
    journal: &mut Journal,
) -> Result<(), PrepareError> {
    let Spooling {
        shared,
        source,
        files,
        ..
    } = *spooling;
    let stages = Stages::new(spooling.options.recipe, source);
    let begun = journal.sources[spooling.index].clone();
    let start = (begun.inputs.len(), begun.position);
    let piece_bytes = piece_bytes(spooling.options);
    let mut reader = SourceReader::new(
        &source.name,
        files,
        &stages.schema,
        piece_bytes,
        start,
        prefetch(spooling, start.0)?,
    );
    let total = files.iter().map(|file| file.len).sum();
    let mut sink = Sink::open(spooling, journal, total)?;
    spooling.workers.map_in_order(
        |piece: &mut Piece| reader.next_piece(piece),
        || Worker::new(shared),
        |worker, piece, judged: &mut Judged| {
            judge_piece(piece, files, &stages, shared, worker, judged);
        },
        |judged| sink.take(judged),
    )?;
    sink.finish()
}

/// Begins to fetch the remote files from number `first` on, if there are any.
fn prefetch(spooling: &Spooling<'_>, first: usize) -> Result<Option<Prefetch>, PrepareError> {
    let files = spooling.files.iter().skip(first);
    let files: Vec<_> = files.filter_map(|file| file.remote.clone()).collect();
    if files.is_empty() {
        return Ok(None);
    }
    let folder = spooling.work.join("fetched");
    let remotes = Arc::clone(spooling.remotes);
    Ok(Some(Prefetch::new(remotes, files, &folder, FETCHED)?))
}

/// Pieces in flight take several times their text, for each thread.
fn piece_bytes(options: &PrepareOptions<'_>) -> usize {
    let bytes = options.memory_limit / (32 * options.threads.get() as u64);
    usize::try_from(bytes)
        .unwrap_or(PIECE_BYTES)
        .clamp(32 << 10, PIECE_BYTES)
}

fn judge_piece(
    piece: &mut Piece,
    files: &[SourceFile],
    stages: &Stages<'_>,
    shared: &Shared<'_>,
    worker: &mut Worker<'_>,
    judged: &mut Judged,
) {
    let (mut rows, mut keys) = (
        std::mem::take(&mut judged.rows),
        std::mem::take(&mut judged.keys),
    );
    rows.clear();
    keys.clear();
    // One long document should not hold its memory for good.
    rows.shrink_to(4 * PIECE_BYTES);
    let parsed = &mut worker.parsed;
    parsed.clear();
    piece.parse(&stages.schema, &mut worker.parser, parsed);
    *judged = Judged {
        after: piece.after(),
        finished: piece.finished.take(),
        bytes_read: piece.bytes_read,
        file: piece.file,
        ..Judged::default()
    };
    if !parsed.is_empty() {
        let batch = documents::to_batch(parsed);
        parsed.clear();
        let file = u32::try_from(piece.file).expect("no source has 4 billion files");
        let path = &files[piece.file].shown;
        match judge(&batch, file, path, stages, shared, worker) {
            Ok(outcomes) => {
                judged.documents = batch.num_rows() as u64;
                judged.kept = outcomes.kept;
                frame(&outcomes.rows, &mut rows);
                if let Some(batch) = &outcomes.keys {
                    frame(batch, &mut keys);
                }
            }
            Err(failure) => judged.failure = Some(failure),
        }
    }
    judged.rows = rows;
    judged.keys = keys;
}

/// Where outcomes go, in order.
struct Sink<'a, 'j> {
    spooling: &'a Spooling<'a>,
    journal: &'j mut Journal,
    /// What the journal will say of this source when it is stored next.
    next: SourceJournal,
    rows: SpoolWriter,
    keys: SpoolWriter,
    stored: Instant,
    progress: Progress,
}

impl<'a, 'j> Sink<'a, 'j> {
    fn open(
        spooling: &'a Spooling<'a>,
        journal: &'j mut Journal,
        total: u64,
    ) -> Result<Self, PrepareError> {
        let next = journal.sources[spooling.index].clone();
        let rows = rows_path(spooling.work, spooling.index);
        let keys = keys_path(spooling.work, spooling.index);
        Ok(Self {
            rows: SpoolWriter::open(rows, next.rows_len)?,
            keys: SpoolWriter::open(keys, next.keys_len)?,
            progress: Progress::new(&spooling.source.name, total),
            spooling,
            journal,
            next,
            stored: Instant::now(),
        })
    }

    fn take(&mut self, judged: &mut Judged) -> Result<(), PrepareError> {
        if let Some(EncodeFailure { row, source }) = judged.failure.take() {
            let path = self.spooling.files[judged.file].shown.to_string();
            return Err(PrepareError::Encode { path, row, source });
        }
        self.rows.append(&judged.rows)?;
        self.keys.append(&judged.keys)?;
        self.next.documents += judged.documents;
        self.next.kept += judged.kept;
        self.next.position = judged.after;
        if let Some(input) = judged.finished.take() {
            self.next.inputs.push(input);
            self.next.position = Position::default();
        }
        self.progress
            .documents(judged.bytes_read, self.next.documents, self.next.kept);
        if self.stored.elapsed() >= CHECKPOINT_INTERVAL {
            self.store()?;
        }
        Ok(())
    }

    /// Makes sure that a killed run goes on from here.
    fn store(&mut self) -> Result<(), PrepareError> {
        self.next.rows_len = self.rows.sync()?;
        self.next.keys_len = self.keys.sync()?;
        self.journal.sources[self.spooling.index] = self.next.clone();
        self.journal.store(self.spooling.work)?;
        self.stored = Instant::now();
        Ok(())
    }

    fn finish(mut self) -> Result<(), PrepareError> {
        self.next.done = true;
        self.store()?;
        self.progress.finish();
        tracing::info!(
            source = self.spooling.source.name,
            documents_in = self.next.documents,
            "judged a source"
        );
        Ok(())
    }
}
