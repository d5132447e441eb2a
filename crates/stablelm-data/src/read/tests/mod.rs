//! Every kind of source, read as it lies on disk.

mod damage;
mod fixtures;
mod hostile;
mod pieces;
mod sources;
mod tables;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use crate::document::{BrokenRow, Document, RowError};
use crate::read::json_row::RowParser;
use crate::read::source_file::{Piece, PieceLimits, Position, SourceFileReader, parse_piece};
use crate::read::{ReadError, Schema};
use crate::recipe::{Sampling, SourceKind, SourceRecipe};

type Row = Result<Document, BrokenRow>;
/// How many rows there were at the end of each piece, and where that is.
type Ends = Vec<(usize, Position)>;

fn schema(kind: SourceKind) -> Schema {
    Schema::of(&SourceRecipe {
        name: "source".to_owned(),
        kind,
        paths: Vec::new(),
        sampling: Sampling::Weight(1.0),
        text: None,
        id: None,
        filters: Vec::new(),
    })
}

/// The rows of a file from a position on, and the positions behind its pieces.
fn read_from(
    path: &Path,
    schema: &Schema,
    start: Position,
    limits: PieceLimits,
) -> Result<(Vec<Row>, Ends), ReadError> {
    let mut reader = SourceFileReader::open(path, schema, start, limits)?;
    let (mut piece, mut parser) = (Piece::default(), RowParser::default());
    let (mut rows, mut ends) = (Vec::new(), Vec::new());
    while reader.next_piece(&mut piece)? {
        parse_piece(&mut piece, schema, &mut parser, &mut rows);
        assert_eq!(piece.end, reader.position());
        ends.push((rows.len(), piece.end));
    }
    let hashed = reader.finish()?;
    assert_eq!(hashed, crate::hash::sha256_file(path).unwrap());
    Ok((rows, ends))
}

fn read(path: &Path, kind: SourceKind) -> Result<Vec<Row>, ReadError> {
    let start = Position::default();
    let limits = PieceLimits::default();
    read_from(path, &schema(kind), start, limits).map(|(rows, _)| rows)
}

/// A file in a folder of its own.
struct Scratch {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn scratch(name: &str) -> Scratch {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    Scratch {
        _folder: folder,
        path,
    }
}

fn lines_file(name: &str, lines: &[&str]) -> Scratch {
    let file = scratch(name);
    std::fs::write(&file.path, lines.join("\n")).unwrap();
    file
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn write_parquet(path: &Path, batches: &[RecordBatch], properties: WriterProperties) {
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}

fn write_arrow_file(path: &Path, batches: &[RecordBatch], options: IpcWriteOptions) {
    let file = File::create(path).unwrap();
    let mut writer = FileWriter::try_new_with_options(file, &batches[0].schema(), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

fn write_arrow_stream(path: &Path, batches: &[RecordBatch], options: IpcWriteOptions) {
    let file = File::create(path).unwrap();
    let mut writer =
        StreamWriter::try_new_with_options(file, &batches[0].schema(), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(arrow::array::StringArray::from(values.to_vec()))
}
