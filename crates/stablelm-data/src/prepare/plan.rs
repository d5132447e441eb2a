//! What a run would do, from a look at every file's head and at the first documents of a source.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use serde::Serialize;
use stablelm_tokenizer::Tokenizer;

use crate::hash::Sha256Bytes;
use crate::pipeline::{Pool, Workers};
use crate::prepare::commit::NO_LICENSE;
use crate::prepare::judge::{EncodeFailure, Shared, Stages, Worker, judge};
use crate::prepare::source::{SourceFile, find_files};
use crate::prepare::{LicenseOf, PrepareError, documents, outcomes, shared};
use crate::read::compression::Compression;
use crate::read::{FileRows, RawRow};
use crate::recipe::{Recipe, SourceKind, SourceRecipe};
use crate::remote::{RemoteOptions, Remotes};

/// Bytes of index and provenance a document, measured on tables of a few thousand rows.
const BYTES_PER_DOCUMENT: f64 = 20.0 + 90.0;
/// Rows of a sample that a thread works on at once.
const SAMPLE_ROWS: usize = 64;
/// Bytes decoded at once while sampling.
const BATCH_BYTES: usize = 1 << 20;

/// What [`plan`] works with.
#[derive(Clone, Copy)]
pub struct PlanOptions<'a> {
    /// What would be done.
    pub recipe: &'a Recipe,
    /// Where the recipe came from.
    pub recipe_path: &'a Path,
    /// The tokenizer that the recipe names.
    pub tokenizer: &'a Tokenizer,
    /// Rows of each source to look at.
    pub sample: usize,
    /// Threads to work on, and to estimate for.
    pub threads: NonZeroUsize,
    /// How remote paths are reached. A plan can't read their files yet, and fails on them.
    pub remote: &'a RemoteOptions,
    /// Licenses of sources and subsets.
    pub license_of: LicenseOf<'a>,
}

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PreparePlan {
    /// Name of the recipe.
    pub name: String,
    /// One part a source, in the recipe's order.
    pub sources: Vec<SourcePlan>,
    /// The sum over all sources.
    pub estimate: Estimate,
}

/// What would become of one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourcePlan {
    /// Its name.
    pub name: String,
    /// The schema of its files.
    pub kind: SourceKind,
    /// The columns or keys that are read.
    pub columns: Vec<String>,
    /// Its files, in reading order.
    pub files: Vec<FilePlan>,
    /// Bytes of all files.
    pub bytes: u64,
    /// Rows that were looked at.
    pub sampled_rows: u64,
    /// Share of them that would be kept.
    pub kept_share: f64,
    /// Sampled rows that would not, as `stage/reason`.
    pub dropped: BTreeMap<String, u64>,
    /// Kept sampled documents a license.
    pub licenses: BTreeMap<String, u64>,
    /// What to expect of the whole source. Duplicates are only looked for within the sample.
    pub estimate: Estimate,
}

/// One file of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilePlan {
    /// Its path, relative to the recipe where it was given so.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its compression.
    pub compression: Compression,
    /// Its rows, for files that say so.
    pub rows: Option<u64>,
}

/// Numbers to expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Rows to read.
    pub rows: f64,
    /// Documents to keep.
    pub documents: f64,
    /// Tokens to write.
    pub tokens: f64,
    /// Bytes to write.
    pub bytes_out: f64,
    /// Time on these threads.
    pub seconds: f64,
}

impl Estimate {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.documents += other.documents;
        self.tokens += other.tokens;
        self.bytes_out += other.bytes_out;
        self.seconds += other.seconds;
    }
}

/// Says what a run would do. Opens every file, reads `sample` rows a source, writes nothing.
pub fn plan(options: &PlanOptions<'_>) -> Result<PreparePlan, PrepareError> {
    let workers = Workers::new(options.threads)?;
    let shared = shared(options.recipe, options.tokenizer)?;
    let mut plan = PreparePlan {
        name: options.recipe.name.clone(),
        sources: Vec::new(),
        estimate: Estimate::default(),
    };
    for source in &options.recipe.sources {
        let planned = plan_source(options, &workers, &shared, source)?;
        plan.estimate.add(&planned.estimate);
        plan.sources.push(planned);
    }
    Ok(plan)
}

fn plan_source(
    options: &PlanOptions<'_>,
    workers: &Workers,
    shared: &Shared<'_>,
    source: &SourceRecipe,
) -> Result<SourcePlan, PrepareError> {
    let stages = Stages::new(options.recipe, source);
    let files = find_files(
        options.recipe,
        source,
        &Remotes::new(options.remote.clone()),
    )?;
    let mut planned = Vec::new();
    for file in &files {
        let rows = FileRows::open(&file.path, &stages.schema, BATCH_BYTES)?;
        planned.push(FilePlan {
            path: file.shown.to_string(),
            bytes: file.len,
            compression: rows.compression(),
            rows: rows.num_rows(),
        });
    }
    let start = Instant::now();
    let sample = read_sample(&files, &stages, options.sample)?;
    let sampled_rows: u64 = sample.rows.iter().map(|(_, rows)| rows.len() as u64).sum();
    let pool = Pool::default();
    let judged = workers.map(sample.rows, |(file, rows)| {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| row.parse(&stages.schema))
            .collect();
        let batch = documents::to_batch(&rows);
        let path = &files[file].shown;
        let judged = pool.with(
            || Worker::new(shared),
            |worker| judge(&batch, 0, path, &stages, shared, worker),
        );
        judged.map_err(|EncodeFailure { row, source }| PrepareError::Encode {
            path: path.to_string(),
            row,
            source,
        })
    });
    let mut seen = Seen::default();
    for outcomes in judged {
        seen.count(
            &outcomes?.rows,
            &stages,
            shared,
            source.kind,
            options.license_of,
        );
    }
    let seconds = start.elapsed().as_secs_f64();

    let bytes: u64 = files.iter().map(|file| file.len).sum();
    let known_rows: Option<u64> = planned.iter().map(|file| file.rows).sum();
    let scale = match known_rows {
        Some(rows) if sampled_rows > 0 => rows as f64 / sampled_rows as f64,
        _ if sample.complete || sample.bytes_read == 0 => 1.0,
        _ => bytes as f64 / sample.bytes_read as f64,
    };
    let dtype = shared.dtype;
    let documents = seen.documents as f64 * scale;
    let tokens = seen.tokens as f64 * scale;
    Ok(SourcePlan {
        name: source.name.clone(),
        kind: source.kind,
        columns: stages.schema.columns(),
        files: planned,
        bytes,
        sampled_rows,
        kept_share: if sampled_rows == 0 {
            0.0
        } else {
            seen.documents as f64 / sampled_rows as f64
        },
        dropped: seen.dropped,
        licenses: seen.licenses,
        estimate: Estimate {
            rows: sampled_rows as f64 * scale,
            documents,
            tokens,
            bytes_out: tokens * dtype.size() as f64 + documents * BYTES_PER_DOCUMENT,
            seconds: seconds * scale,
        },
    })
}

/// The first rows of a source.
struct Sample {
    /// With the number of their file, a few at a time.
    rows: Vec<(usize, Vec<RawRow>)>,
    /// Bytes of the files that they stand for.
    bytes_read: u64,
    /// Whether these are all the rows there are.
    complete: bool,
}

fn read_sample(
    files: &[SourceFile],
    stages: &Stages<'_>,
    wanted: usize,
) -> Result<Sample, PrepareError> {
    let mut sample = Sample {
        rows: Vec::new(),
        bytes_read: 0,
        complete: false,
    };
    let mut left = wanted;
    for (index, file) in files.iter().enumerate() {
        let mut rows = FileRows::open(&file.path, &stages.schema, BATCH_BYTES)?;
        let mut part = Vec::new();
        while left > 0 {
            let Some(row) = rows.next_row()? else { break };
            part.push(row);
            left -= 1;
            if part.len() == SAMPLE_ROWS {
                sample.rows.push((index, std::mem::take(&mut part)));
            }
        }
        sample.rows.push((index, part));
        if left == 0 {
            sample.bytes_read += rows.bytes_read();
            return Ok(sample);
        }
        sample.bytes_read += file.len;
    }
    sample.complete = true;
    Ok(sample)
}

/// What the sample showed.
#[derive(Default)]
struct Seen {
    documents: u64,
    tokens: u64,
    dropped: BTreeMap<String, u64>,
    licenses: BTreeMap<String, u64>,
    texts: HashSet<Sha256Bytes>,
}

impl Seen {
    fn count(
        &mut self,
        rows: &RecordBatch,
        stages: &Stages<'_>,
        shared: &Shared<'_>,
        kind: SourceKind,
        license_of: LicenseOf<'_>,
    ) {
        for at in 0..rows.num_rows() {
            let row = outcomes::row(rows, at);
            let duplicate = row
                .text_sha256
                .is_some_and(|text| !self.texts.insert(*text));
            let dropped = match (row.stage, stages.dedup()) {
                (Some(stage), _) => Some((usize::from(stage), row.reason.unwrap_or_default())),
                (None, Some(stage)) if duplicate => Some((stage, "exact_duplicate")),
                (None, _) => None,
            };
            if let Some((stage, reason)) = dropped {
                let name = format!("{}/{reason}", stages.names()[stage]);
                *self.dropped.entry(name).or_default() += 1;
                continue;
            }
            self.documents += 1;
            self.tokens += row.tokens.map_or(0, <[u8]>::len) as u64 / shared.dtype.size();
            let license = row.license.map(str::to_owned);
            let license = license.or_else(|| license_of(kind, row.subset));
            let license = license.unwrap_or_else(|| NO_LICENSE.to_owned());
            *self.licenses.entry(license).or_default() += 1;
        }
    }
}
