//! What a run would do, from a look at the heads of files and at the first documents of a source.

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
use crate::prepare::sample::Sampling;
use crate::prepare::source::{SourceFile, find_files};
use crate::prepare::{LicenseOf, PrepareError, documents, outcomes, shared};
use crate::read::RawRow;
use crate::read::compression::Compression;
use crate::recipe::{Recipe, SourceKind, SourceRecipe};
use crate::remote::{RemoteOptions, Remotes};

/// Bytes of index and provenance a document, measured on tables of a few thousand rows.
const BYTES_PER_DOCUMENT: f64 = 20.0 + 90.0;

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
    /// How remote paths are reached.
    pub remote: &'a RemoteOptions,
    /// A folder for the remote files that the sample takes in, one at a time; each is deleted after
    /// it was read. Without a folder none is fetched, and a plan knows of them what listings say.
    pub fetch_folder: Option<&'a Path>,
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
    /// What was fetched of remote files to look at them.
    pub fetched: Fetched,
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
    /// Its path, relative to the recipe where it was given so, or its address.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Whether it is remote.
    pub remote: bool,
    /// Its compression; not known of a remote file that was not fetched.
    pub compression: Option<Compression>,
    /// Its rows, for files that say so and were opened.
    pub rows: Option<u64>,
}

/// How much was fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// Whole files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
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
    /// Time on these threads, or to fetch remote files at the pace of the sample where that is more.
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

/// Says what a run would do. Opens every local file and those remote files that it takes to read
/// `sample` rows a source; writes nothing but [`PlanOptions::fetch_folder`].
pub fn plan(options: &PlanOptions<'_>) -> Result<PreparePlan, PrepareError> {
    let workers = Workers::new(options.threads)?;
    let shared = shared(options.recipe, options.tokenizer)?;
    let remotes = Remotes::new(options.remote.clone());
    let mut plan = PreparePlan {
        name: options.recipe.name.clone(),
        sources: Vec::new(),
        estimate: Estimate::default(),
    };
    for source in &options.recipe.sources {
        let planned = plan_source(options, &workers, &shared, &remotes, source)?;
        plan.estimate.add(&planned.estimate);
        plan.sources.push(planned);
    }
    Ok(plan)
}

fn plan_source(
    options: &PlanOptions<'_>,
    workers: &Workers,
    shared: &Shared<'_>,
    remotes: &Remotes,
    source: &SourceRecipe,
) -> Result<SourcePlan, PrepareError> {
    let stages = Stages::new(options.recipe, source);
    let files = find_files(options.recipe, source, remotes)?;
    let mut sampling = Sampling::new(source, &files, &stages.schema)?;
    let start = Instant::now();
    sampling.read(options.sample, remotes, options.fetch_folder)?;
    let judged = judge_sample(
        std::mem::take(&mut sampling.rows),
        &files,
        workers,
        shared,
        &stages,
    )?;
    let mut seen = Seen::default();
    for outcomes in &judged {
        seen.count(outcomes, &stages, shared, source.kind, options.license_of);
    }
    let seconds = start.elapsed().as_secs_f64() - sampling.fetch_seconds;

    let sampled_rows = sampling.num_rows;
    let scale = sampling.scale();
    let documents = seen.documents as f64 * scale;
    let tokens = seen.tokens as f64 * scale;
    Ok(SourcePlan {
        name: source.name.clone(),
        kind: source.kind,
        columns: stages.schema.columns(),
        bytes: files.iter().map(|file| file.len).sum(),
        fetched: sampling.fetched,
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
            bytes_out: tokens * shared.dtype.size() as f64 + documents * BYTES_PER_DOCUMENT,
            // A run fetches and works at the same time.
            seconds: (seconds * scale).max(sampling.seconds_to_fetch_all()),
        },
        files: sampling.planned,
    })
}

/// Judges the rows of a sample, each batch with the number of its file.
fn judge_sample(
    rows: Vec<(usize, Vec<RawRow>)>,
    files: &[SourceFile],
    workers: &Workers,
    shared: &Shared<'_>,
    stages: &Stages<'_>,
) -> Result<Vec<RecordBatch>, PrepareError> {
    let pool = Pool::default();
    let judged = workers.map(rows, |(file, rows)| {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| row.parse(&stages.schema))
            .collect();
        let batch = documents::to_batch(&rows);
        let path = &files[file].shown;
        let judged = pool.with(
            || Worker::new(shared),
            |worker| judge(&batch, 0, path, stages, shared, worker),
        );
        let outcomes = judged.map_err(|EncodeFailure { row, source }| PrepareError::Encode {
            path: path.to_string(),
            row,
            source,
        })?;
        Ok(outcomes.rows)
    });
    judged.into_iter().collect()
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
