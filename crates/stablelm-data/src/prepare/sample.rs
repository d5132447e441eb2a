//! The first rows of a source, and what its files say of themselves on the way.

use std::path::Path;
use std::time::Instant;

use crate::prepare::PrepareError;
use crate::prepare::plan::{Fetched, FilePlan};
use crate::prepare::source::{SourceFile, name_remote};
use crate::read::{FileRows, RawRow, ReadError, Schema};
use crate::recipe::SourceRecipe;
use crate::remote::{FetchedCopy, RemoteError, RemoteFile, Remotes};

/// Rows of a sample that a thread works on at once.
const SAMPLE_ROWS: usize = 64;
/// Bytes decoded at once while sampling.
const BATCH_BYTES: usize = 1 << 20;

/// A look at the files of a source, in their order, until enough rows were seen.
pub(super) struct Sampling<'a> {
    source: &'a str,
    files: &'a [SourceFile],
    schema: &'a Schema,
    /// One a file; of remote ones only those that were fetched are known well.
    pub(super) planned: Vec<FilePlan>,
    /// With the number of their file, a few at a time.
    pub(super) rows: Vec<(usize, Vec<RawRow>)>,
    /// Number of those rows.
    pub(super) num_rows: u64,
    /// What was fetched to read them.
    pub(super) fetched: Fetched,
    /// How long that took.
    pub(super) fetch_seconds: f64,
    /// Bytes of the files that the rows stand for.
    bytes_read: u64,
    /// Whether these are all the rows there are.
    complete: bool,
}

impl<'a> Sampling<'a> {
    /// Opens every local file.
    pub(super) fn new(
        source: &'a SourceRecipe,
        files: &'a [SourceFile],
        schema: &'a Schema,
    ) -> Result<Self, ReadError> {
        let mut planned = Vec::new();
        for file in files {
            let mut plan = FilePlan {
                path: file.shown.to_string(),
                bytes: file.len,
                remote: file.remote.is_some(),
                compression: None,
                rows: None,
            };
            if !plan.remote {
                look_at(&FileRows::open(&file.path, schema, BATCH_BYTES)?, &mut plan);
            }
            planned.push(plan);
        }
        Ok(Self {
            source: &source.name,
            files,
            schema,
            planned,
            rows: Vec::new(),
            num_rows: 0,
            fetched: Fetched::default(),
            fetch_seconds: 0.0,
            bytes_read: 0,
            complete: false,
        })
    }

    /// Reads rows until there are `wanted`; fetches no more remote files than that takes.
    pub(super) fn read(
        &mut self,
        wanted: usize,
        remotes: &Remotes,
        folder: Option<&Path>,
    ) -> Result<(), PrepareError> {
        let mut left = wanted;
        let mut passed_over = false;
        for (index, file) in self.files.iter().enumerate() {
            if left == 0 {
                return Ok(());
            }
            let Some(remote) = &file.remote else {
                self.read_file(index, &file.path, &mut left)?;
                continue;
            };
            let Some(folder) = folder else {
                passed_over = true;
                continue;
            };
            let copy = self.fetch(remote, remotes, folder)?;
            self.read_file(index, copy.path(), &mut left)
                .map_err(|error| name_remote(error, file))?;
        }
        self.complete = left > 0 && !passed_over;
        Ok(())
    }

    fn read_file(&mut self, index: usize, path: &Path, left: &mut usize) -> Result<(), ReadError> {
        let mut rows = FileRows::open(path, self.schema, BATCH_BYTES)?;
        look_at(&rows, &mut self.planned[index]);
        let mut part = Vec::new();
        while *left > 0 {
            let Some(row) = rows.next_row()? else { break };
            part.push(row);
            *left -= 1;
            self.num_rows += 1;
            if part.len() == SAMPLE_ROWS {
                self.rows.push((index, std::mem::take(&mut part)));
            }
        }
        self.rows.push((index, part));
        self.bytes_read += match *left {
            0 => rows.bytes_read(),
            _ => self.files[index].len,
        };
        Ok(())
    }

    fn fetch(
        &mut self,
        file: &RemoteFile,
        remotes: &Remotes,
        folder: &Path,
    ) -> Result<FetchedCopy, RemoteError> {
        let start = Instant::now();
        let stage = format!("{}: fetch a sample", self.source);
        let copy = FetchedCopy::fetch(remotes, file, folder, &stage)?;
        self.fetched.files += 1;
        self.fetched.bytes += file.size;
        self.fetch_seconds += start.elapsed().as_secs_f64();
        Ok(copy)
    }

    /// How many times the sample the whole source is.
    pub(super) fn scale(&self) -> f64 {
        let bytes: u64 = self.planned.iter().map(|file| file.bytes).sum();
        // Files that were not opened are taken for as dense as the others.
        let opened = self
            .planned
            .iter()
            .filter(|file| file.compression.is_some());
        let opened_bytes: u64 = opened.clone().map(|file| file.bytes).sum();
        let opened_rows: Option<u64> = opened.map(|file| file.rows).sum();
        match opened_rows {
            Some(rows) if self.num_rows > 0 => {
                let density = rows as f64 / self.num_rows as f64;
                density * (bytes as f64 / opened_bytes as f64)
            }
            _ if self.complete || self.bytes_read == 0 => 1.0,
            _ => bytes as f64 / self.bytes_read as f64,
        }
    }

    /// Time for all remote files at the pace of the fetched ones; 0 where there were none.
    pub(super) fn seconds_to_fetch_all(&self) -> f64 {
        let remote = self.planned.iter().filter(|file| file.remote);
        let bytes: u64 = remote.map(|file| file.bytes).sum();
        if self.fetched.bytes == 0 {
            return 0.0;
        }
        self.fetch_seconds * (bytes as f64 / self.fetched.bytes as f64)
    }
}

/// Notes what an open file says of itself.
fn look_at(rows: &FileRows, plan: &mut FilePlan) {
    plan.compression = Some(rows.compression());
    plan.rows = rows.num_rows();
}
