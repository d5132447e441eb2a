//! The files of a source, found and read one after another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::books3::says_books3;
use crate::document::{BrokenRow, Document};
use crate::prepare::PrepareError;
use crate::read::json_row::RowParser;
use crate::read::source_file::{self, PieceLimits, Position, SourceFileReader};
use crate::read::{ReadError, Schema};
use crate::recipe::{Recipe, SourceRecipe};
use crate::remote::{Prefetch, RemoteFile, Remotes};

/// A file that a source's pattern matched.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    /// The path relative to the recipe's folder, as outputs show it.
    pub(crate) shown: Arc<str>,
    pub(crate) len: u64,
    /// When it was changed last, in nanoseconds since 1970, where the system knows.
    pub(crate) modified: Option<u128>,
    /// Where the file is to be fetched from first; then `path` is its address.
    pub(crate) remote: Option<RemoteFile>,
}

impl SourceFile {
    /// A file given by its path.
    pub(crate) fn local(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let modified = metadata.modified().ok();
        let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            path: path.to_path_buf(),
            shown: path.to_string_lossy().into(),
            len: metadata.len(),
            modified: modified.map(|since| since.as_nanos()),
            remote: None,
        })
    }
}

/// An input of a run, as its manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    remotes: &Remotes,
) -> Result<Vec<SourceFile>, PrepareError> {
    let mut files: Vec<SourceFile> = Vec::new();
    for pattern in &source.paths {
        if Remotes::is_remote(pattern) {
            find_remote(source, pattern, remotes, &mut files)?;
            continue;
        }
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
            let file = SourceFile::local(&path).map_err(ReadError::io(&path))?;
            let shown = shown.as_ref().into();
            files.push(SourceFile { shown, ..file });
        }
    }
    Ok(files)
}

fn find_remote(
    source: &SourceRecipe,
    pattern: &str,
    remotes: &Remotes,
    files: &mut Vec<SourceFile>,
) -> Result<(), PrepareError> {
    let found = remotes.expand(pattern)?;
    if found.is_empty() {
        return Err(PrepareError::NoFiles {
            source_name: source.name.clone(),
            pattern: pattern.into(),
        });
    }
    for remote in found {
        let shown = remote.shown();
        if says_books3(&shown) {
            return Err(PrepareError::Books3Refused {
                source_name: source.name.clone(),
                path: shown.into(),
            });
        }
        if let Some(earlier) = files.iter().find(|file| *file.shown == *shown) {
            // Documents are told apart by what is shown.
            if earlier.remote.as_ref().map(|file| &file.url) != Some(&remote.url) {
                return Err(PrepareError::SameAddress {
                    source_name: source.name.clone(),
                    url: shown,
                });
            }
            continue;
        }
        files.push(SourceFile {
            path: PathBuf::from(&shown),
            shown: shown.into(),
            len: remote.size,
            modified: None,
            remote: Some(remote),
        });
    }
    Ok(())
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

/// Rows that follow one another in one file, for one thread to work on.
#[derive(Default)]
pub(crate) struct Piece {
    /// Number of the file in its source.
    pub(crate) file: usize,
    rows: source_file::Piece,
    /// The file, when it was read to its end: then there are no rows.
    pub(crate) finished: Option<InputFile>,
    /// Bytes of the source's files that were read so far.
    pub(crate) bytes_read: u64,
}

impl Piece {
    /// Where the rows after these are.
    pub(crate) fn after(&self) -> Position {
        self.rows.end
    }

    /// Makes documents of the rows, in order.
    pub(crate) fn parse(
        &mut self,
        schema: &Schema,
        parser: &mut RowParser,
        rows: &mut Vec<Result<Document, BrokenRow>>,
    ) {
        if self.finished.is_none() {
            source_file::parse_piece(&mut self.rows, schema, parser, rows);
        }
    }
}

/// Reads the files of a source in pieces of bounded size.
pub(crate) struct SourceReader<'s> {
    source: &'s str,
    files: &'s [SourceFile],
    schema: &'s Schema,
    limits: PieceLimits,
    file: usize,
    /// Where to begin in the next file that is opened.
    start: Position,
    current: Option<SourceFileReader>,
    bytes_done: u64,
    /// Fetches the remote files ahead.
    prefetch: Option<Prefetch>,
    /// The local copy of the current file, if that is remote.
    copy: Option<PathBuf>,
}

impl<'s> SourceReader<'s> {
    /// Reads from `start` in file number `file`.
    pub(crate) fn new(
        source: &'s str,
        files: &'s [SourceFile],
        schema: &'s Schema,
        piece_len: usize,
        (file, start): (usize, Position),
        prefetch: Option<Prefetch>,
    ) -> Self {
        Self {
            source,
            files,
            schema,
            limits: PieceLimits {
                piece_len,
                ..PieceLimits::default()
            },
            file,
            start,
            current: None,
            bytes_done: files.iter().take(file).map(|file| file.len).sum(),
            prefetch,
            copy: None,
        }
    }

    /// Fills `piece` with what comes next; false when there is nothing more.
    pub(crate) fn next_piece(&mut self, piece: &mut Piece) -> Result<bool, PrepareError> {
        let Some(file) = self.files.get(self.file) else {
            return Ok(false);
        };
        piece.file = self.file;
        piece.finished = None;
        let start = std::mem::take(&mut self.start);
        let current = match &mut self.current {
            Some(current) => current,
            slot => {
                let (schema, limits) = (self.schema, self.limits);
                self.copy = match (&file.remote, &mut self.prefetch) {
                    (Some(_), Some(prefetch)) => fetched(prefetch)?,
                    _ => None,
                };
                let path = self.copy.as_ref().unwrap_or(&file.path);
                let opened = SourceFileReader::open(path, schema, start, limits);
                slot.insert(opened.map_err(|error| name_remote(error, file))?)
            }
        };
        let found = current.next_piece(&mut piece.rows);
        let found = found.map_err(|error| name_remote(error, file))?;
        piece.bytes_read = self.bytes_done + current.bytes_read();
        if !found {
            piece.finished = Some(self.finish_file(file)?);
        }
        Ok(true)
    }

    fn finish_file(&mut self, file: &SourceFile) -> Result<InputFile, ReadError> {
        let reader = self.current.take().expect("a file is open");
        let (bytes, sha256) = reader.finish()?;
        if let (Some(copy), Some(prefetch)) = (self.copy.take(), &mut self.prefetch) {
            prefetch.release(&copy);
        }
        self.bytes_done += file.len;
        self.file += 1;
        Ok(InputFile {
            source: self.source.to_owned(),
            path: file.shown.to_string(),
            bytes,
            sha256,
        })
    }
}

fn fetched(prefetch: &mut Prefetch) -> Result<Option<PathBuf>, PrepareError> {
    let next = prefetch.next().transpose()?;
    Ok(next.map(|(_, path)| path))
}

/// Says of an error about the local copy of a remote file which file that is.
pub(crate) fn name_remote(error: ReadError, file: &SourceFile) -> PrepareError {
    match &file.remote {
        None => error.into(),
        Some(_) => PrepareError::RemoteFile {
            url: file.shown.to_string(),
            source: error,
        },
    }
}
