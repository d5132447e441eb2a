//! The files of a source, found and read one after another.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::filter::books3::says_books3;
use crate::prepare::PrepareError;
use crate::read::{FileRows, RawRow, ReadError, Schema};
use crate::recipe::{Recipe, SourceRecipe};

/// Most rows in a batch; a batch of tiny rows must still be read ahead of.
const MAX_BATCH_ROWS: usize = 8192;

/// A file that a source's pattern matched.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    /// The path relative to the recipe's folder, as outputs show it.
    pub(crate) shown: Arc<str>,
    pub(crate) len: u64,
}

/// An input of a run, as its manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputFile {
    /// The source that it belongs to.
    pub source: String,
    /// Its path, relative to the recipe where it was given so.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the file as it lies on disk, in hex.
    pub sha256: String,
}

/// Finds the files of a source: patterns in the order given, the files of each by name.
pub(crate) fn find_files(
    recipe: &Recipe,
    source: &SourceRecipe,
) -> Result<Vec<SourceFile>, PrepareError> {
    let mut files: Vec<SourceFile> = Vec::new();
    for pattern in &source.paths {
        let mut paths = expand(recipe, source, pattern)?;
        paths.retain(|path| !path.is_dir());
        if paths.is_empty() {
            return Err(PrepareError::NoFiles {
                source_name: source.name.clone(),
                pattern: recipe.resolve(pattern),
            });
        }
        for path in paths {
            let shown = path
                .strip_prefix(&recipe.folder)
                .unwrap_or(&path)
                .to_string_lossy();
            if says_books3(&shown) {
                let source_name = source.name.clone();
                return Err(PrepareError::Books3Refused { source_name, path });
            }
            if files.iter().any(|file| file.path == path) {
                continue;
            }
            let metadata = std::fs::metadata(&path);
            let metadata = metadata.map_err(|source| ReadError::Io {
                path: path.clone(),
                source,
            })?;
            let shown = shown.as_ref().into();
            files.push(SourceFile {
                shown,
                len: metadata.len(),
                path,
            });
        }
    }
    Ok(files)
}

fn expand(
    recipe: &Recipe,
    source: &SourceRecipe,
    pattern: &str,
) -> Result<Vec<PathBuf>, PrepareError> {
    // A file may be called like a pattern.
    let literal = recipe.resolve(pattern);
    if literal.is_file() {
        return Ok(vec![literal]);
    }
    let folder = glob::Pattern::escape(&recipe.folder.to_string_lossy());
    let full = Path::new(&folder)
        .join(pattern)
        .to_string_lossy()
        .into_owned();
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let matches = glob::glob_with(&full, options).map_err(|error| PrepareError::Pattern {
        source_name: source.name.clone(),
        pattern: pattern.to_owned(),
        message: error.msg,
    })?;
    let mut paths = Vec::new();
    for path in matches {
        paths.push(path.map_err(|error| ReadError::Io {
            path: error.path().to_path_buf(),
            source: error.into(),
        })?);
    }
    paths.sort();
    Ok(paths)
}

/// Rows of a source with the number of their file.
pub(crate) struct Batch {
    pub(crate) rows: Vec<(usize, RawRow)>,
    /// Bytes of the source's files that were read so far.
    pub(crate) bytes_read: u64,
}

/// Reads the files of a source in batches of bounded size.
pub(crate) struct SourceReader<'s> {
    source: &'s str,
    files: &'s [SourceFile],
    schema: &'s Schema,
    batch_bytes: usize,
    next_file: usize,
    current: Option<FileRows>,
    bytes_done: u64,
    inputs: Vec<InputFile>,
}

impl<'s> SourceReader<'s> {
    pub(crate) fn new(
        source: &'s str,
        files: &'s [SourceFile],
        schema: &'s Schema,
        batch_bytes: usize,
    ) -> Self {
        let inputs = Vec::with_capacity(files.len());
        Self {
            source,
            files,
            schema,
            batch_bytes,
            next_file: 0,
            current: None,
            bytes_done: 0,
            inputs,
        }
    }

    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ReadError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while bytes < self.batch_bytes && rows.len() < MAX_BATCH_ROWS {
            let Some(file) = self.current_file()? else {
                break;
            };
            let row = file.next_row()?;
            // The current file is the one before the next.
            let index = self.next_file - 1;
            match row {
                Some(row) => {
                    bytes += row.size();
                    rows.push((index, row));
                }
                None => self.finish_file(index)?,
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let current = self.current.as_ref().map_or(0, FileRows::bytes_read);
        Ok(Some(Batch {
            rows,
            bytes_read: self.bytes_done + current,
        }))
    }

    /// The files that were read, all of them after the last batch.
    pub(crate) fn into_inputs(self) -> Vec<InputFile> {
        self.inputs
    }

    fn current_file(&mut self) -> Result<Option<&mut FileRows>, ReadError> {
        if self.current.is_none() {
            let Some(file) = self.files.get(self.next_file) else {
                return Ok(None);
            };
            self.current = Some(FileRows::open(&file.path, self.schema, self.batch_bytes)?);
            self.next_file += 1;
        }
        Ok(self.current.as_mut())
    }

    fn finish_file(&mut self, index: usize) -> Result<(), ReadError> {
        let file = &self.files[index];
        if let Some(rows) = self.current.take() {
            let (bytes, sha256) = rows.finish(&file.path)?;
            self.bytes_done += file.len;
            let (source, path) = (self.source.to_owned(), file.shown.to_string());
            self.inputs.push(InputFile {
                source,
                path,
                bytes,
                sha256,
            });
        }
        Ok(())
    }
}
