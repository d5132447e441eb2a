//! What the fuzz targets call, and nobody else: this module is there only when fuzzing.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::read::json_row::{RowParser, parse_any};
use crate::read::schema::{Origin, Schema};
use crate::read::source_file::{Piece, PieceLimits, Position, SourceFileReader, parse_piece};
use crate::read::{ReadError, python};
use crate::recipe::SourceKind;

/// Parses a line in both ways, for every kind of source.
pub fn json_row(line: &[u8]) {
    let mut parser = RowParser::default();
    let origin = Origin::of(Path::new("folder/file.jsonl"));
    for kind in SourceKind::ALL {
        let schema = Schema::of_kind(kind);
        let found = parser.parse_line(line, 3, &schema, &origin);
        assert_eq!(found, parse_any(line, 3, &schema, &origin), "{kind}");
    }
}

/// Parses a text as a Python literal.
pub fn python_literal(text: &str) {
    let literal = python::parse(text);
    let fields = python::parse_fields(text);
    assert!(literal.is_ok() || fields.is_err());
}

/// Reads a file of these bytes, written into `folder`, for sources of every kind that may be a table.
///
/// Panics of the libraries are caught and become errors, so only what comes out of the readers counts:
/// the fuzzer's hook, which ends the process at any panic, is put aside until then.
pub fn table(bytes: &[u8], magic: &[u8], folder: &Path) {
    let hook = panic::take_hook();
    let last = Arc::new(Mutex::new(String::new()));
    let seen = last.clone();
    panic::set_hook(Box::new(move |info| {
        *seen.lock().expect("nothing panics meanwhile") = info.to_string();
    }));
    let done = panic::catch_unwind(AssertUnwindSafe(|| read_table(bytes, magic, folder)));
    panic::set_hook(hook);
    let last = last.lock().expect("nothing panics meanwhile");
    assert!(done.is_ok(), "{last}");
}

fn read_table(bytes: &[u8], magic: &[u8], folder: &Path) {
    let path = folder.join("a.table");
    std::fs::create_dir_all(folder).expect("a folder for the file");
    std::fs::write(&path, [magic, bytes].concat()).expect("room for the file");
    let kind = if magic.is_empty() {
        SourceKind::Arrow
    } else {
        SourceKind::Parquet
    };
    for kind in [kind, SourceKind::Redpajama] {
        let Ok((rows, middle)) = read(&path, kind, Position::default()) else {
            continue;
        };
        let Some((num_rows, position)) = middle else {
            continue;
        };
        let (rest, _) = read(&path, kind, position).expect("it was read before");
        assert_eq!(rest, rows[num_rows..]);
    }
}

type Row = Result<crate::document::Document, crate::document::BrokenRow>;
type Rows = (Vec<Row>, Option<(usize, Position)>);

/// The rows from a position on, and one position among them.
fn read(path: &Path, kind: SourceKind, start: Position) -> Result<Rows, ReadError> {
    let limits = PieceLimits {
        piece_len: 64,
        ..PieceLimits::default()
    };
    let schema = Schema::of_kind(kind);
    let mut reader = SourceFileReader::open(path, &schema, start, limits)?;
    let (mut piece, mut parser) = (Piece::default(), RowParser::default());
    let (mut rows, mut middle) = (Vec::new(), None);
    while reader.next_piece(&mut piece)? {
        parse_piece(&mut piece, &schema, &mut parser, &mut rows);
        middle = middle.or(Some((rows.len(), piece.end)));
    }
    Ok((rows, middle))
}
