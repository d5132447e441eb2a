//! Token files and tables, copied without the selected documents.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use stablelm_tokenizer::{SpecialTokensInOutput, SpecialTokensInText, Tokenizer};

use crate::document::Split;
use crate::hash::{sha256, to_hex};
use crate::prepare::{DROPPED, TEXT};
use crate::remove::RemoveError;
use crate::remove::counts::{REASON, STAGE, SourceCounts};
use crate::remove::requests::Requests;
use crate::remove::tables::{Rows, StoredRow, has_column};
use crate::write::documents::DocumentRow;
use crate::write::dropped::{DroppedRow, DroppedTextRow};
use crate::write::indexed::{HEADER_LEN, IndexedWriter, TokenDtype, with_suffix};
use crate::write::indexed_read::IndexedDataset;
use crate::write::neox_yml::NeoxFile;
use crate::write::table::TableWriter;
use crate::write::text::TextRow;
use crate::write::token_files::{self, TokenFile};

const DOCUMENTS: &str = ".documents.parquet";

/// Where documents come from and go to, and which of them stay behind.
pub(super) struct Folders<'f> {
    pub(super) from: &'f Path,
    pub(super) to: &'f Path,
    pub(super) tokenizer: &'f Tokenizer,
    /// Whether each document ends with the end-of-document token.
    pub(super) append_eod: bool,
    pub(super) requests: &'f Requests,
    pub(super) selected: &'f Selected,
}

/// The documents that go.
#[derive(Default)]
pub(super) struct Selected {
    /// Their numbers in each token file, ascending.
    numbers: HashMap<String, Vec<i64>>,
    /// Source, path and row of each.
    places: HashSet<String>,
    pub(super) documents: u64,
    pub(super) tokens: u64,
}

impl Selected {
    /// The numbers of what goes from a token file.
    fn of(&self, prefix: &str) -> &[i64] {
        self.numbers.get(prefix).map_or(&[], Vec::as_slice)
    }
}

/// Finds every document that a request names.
pub(super) fn select(
    folder: &Path,
    sources: &[String],
    requests: &mut Requests,
) -> Result<Selected, RemoveError> {
    let mut selected = Selected::default();
    for source in sources {
        let files = token_files::find(folder, source).map_err(RemoveError::io(folder))?;
        for file in files {
            let table = with_suffix(&folder.join(&file.prefix), DOCUMENTS);
            let mut rows = Rows::<DocumentRow>::open(&table)?;
            let mut numbers = Vec::new();
            while let Some(row) = rows.next_row()? {
                if requests.select(&row) {
                    numbers.push(row.document);
                    selected
                        .places
                        .insert(place(&row.source, &row.path, row.row));
                    selected.documents += 1;
                    selected.tokens += u64::from(row.num_tokens.unsigned_abs());
                }
            }
            selected.numbers.insert(file.prefix, numbers);
        }
    }
    Ok(selected)
}

/// A document as tables name it.
fn place(source: &str, path: &str, row: i64) -> String {
    format!("{source}/{path}:{row}")
}

/// Copies everything of a source; returns the token files that it has then.
pub(super) fn rewrite_source(
    folders: &Folders<'_>,
    counts: &mut SourceCounts<'_>,
) -> Result<Vec<(Split, NeoxFile)>, RemoveError> {
    let source = counts.report.name.clone();
    let files = token_files::find(folders.from, &source);
    let files = files.map_err(RemoveError::io(folders.from))?;
    let text = format!("{TEXT}/{source}.parquet");
    let has_text = folders.from.join(&text).is_file();
    if has_text {
        rewrite_text(folders, &text, &files, counts)?;
    }
    let dropped = format!("{DROPPED}/{source}.parquet");
    let rewriting = Rewriting { folders, has_text };
    if has_column(&folders.from.join(&dropped), "text")? {
        let blank = |row: &mut DroppedTextRow| {
            if folders.must_be_blank(&row.dropped) {
                row.text.clear();
            }
        };
        let wrap = |dropped| DroppedTextRow {
            dropped,
            text: String::new(),
        };
        rewriting.rewrite_tokens(&dropped, &files, counts, blank, wrap)
    } else {
        rewriting.rewrite_tokens(
            &dropped,
            &files,
            counts,
            |_| {},
            |dropped: DroppedRow| dropped,
        )
    }
}

impl Folders<'_> {
    /// Whether the text of a dropped document shall go, too: it was asked for, or is equal or nearly
    /// equal to one that was.
    fn must_be_blank(&self, row: &DroppedRow) -> bool {
        let place = place(&row.source, &row.path, row.row);
        let without_source = &place[row.source.len() + 1..];
        row.id.as_deref().is_some_and(|id| self.requests.names(id))
            || self.requests.names(&place)
            || self.requests.names(without_source)
            || row
                .duplicate_of
                .as_ref()
                .is_some_and(|original| self.selected.places.contains(original))
    }

    /// Special tokens that stand in a text, for sources that have any.
    fn count_special(&self, text: &str, counts: &SourceCounts<'_>) -> Result<u64, RemoveError> {
        if counts.report.special_tokens_found == 0 {
            return Ok(0);
        }
        let encoding = self.tokenizer.encode(text, SpecialTokensInText::Escape);
        Ok(encoding.map_err(RemoveError::Encode)?.special_tokens_found)
    }
}

fn rewrite_text(
    folders: &Folders<'_>,
    name: &str,
    files: &[TokenFile],
    counts: &mut SourceCounts<'_>,
) -> Result<(), RemoveError> {
    let numbers = files.iter().map(|file| {
        let numbers = folders.selected.of(&file.prefix);
        ((file.split, file.shard.unwrap_or(0)), numbers)
    });
    let numbers: HashMap<_, _> = numbers.collect();
    let mut rows = Rows::<TextRow>::open(&folders.from.join(name))?;
    let mut writer = TableWriter::create(folders.to.join(name))?;
    while let Some(mut row) = rows.next_row()? {
        let gone = numbers.get(&(row.split, row.shard)).copied();
        match gone.unwrap_or_default().binary_search(&row.document) {
            Ok(_) => {
                let special = folders.count_special(&row.text, counts)?;
                counts.take_text(&row.text, special, true);
            }
            Err(before) => {
                row.document -= i64::try_from(before).expect("no table has 2^63 rows");
                writer.push(row)?;
            }
        }
    }
    Ok(writer.finish()?)
}

struct Rewriting<'f> {
    folders: &'f Folders<'f>,
    /// Whether texts lie in a table, where they were counted.
    has_text: bool,
}

impl Rewriting<'_> {
    /// Copies the token files, and the table of dropped documents with what they lose after its rows.
    fn rewrite_tokens<R: StoredRow>(
        &self,
        dropped: &str,
        files: &[TokenFile],
        counts: &mut SourceCounts<'_>,
        change: impl Fn(&mut R),
        wrap: impl Fn(DroppedRow) -> R,
    ) -> Result<Vec<(Split, NeoxFile)>, RemoveError> {
        let mut rows = Rows::<R>::open(&self.folders.from.join(dropped))?;
        let mut writer = TableWriter::create(self.folders.to.join(dropped))?;
        while let Some(mut row) = rows.next_row()? {
            change(&mut row);
            writer.push(row)?;
        }
        let mut left = Vec::new();
        for file in files {
            let tokens = self.rewrite_file(file, |row, text| {
                counts.take(file.split, &row);
                if let Some(text) = text {
                    let special = self.folders.count_special(&text, counts)?;
                    let is_exact = to_hex(&sha256(text.as_bytes())) == row.text_sha256;
                    counts.take_text(&text, special, is_exact);
                }
                Ok(writer.push(wrap(DroppedRow {
                    source: row.source,
                    subset: row.subset,
                    path: row.path,
                    row: row.row,
                    id: row.id,
                    stage: STAGE.into(),
                    reason: REASON.to_owned(),
                    value: None,
                    threshold: None,
                    duplicate_of: None,
                }))?)
            })?;
            left.extend(tokens.map(|tokens| {
                let (source, prefix) = (counts.report.name.clone(), file.prefix.clone());
                let file_left = NeoxFile {
                    source,
                    prefix,
                    tokens,
                };
                (file.split, file_left)
            }));
        }
        writer.finish()?;
        Ok(left)
    }

    /// Copies a token file and its provenance; `gone` gets what stays behind, with its text where
    /// that is not known from a table. Returns the tokens of the copy, if there is one: a file with
    /// no document is not written.
    fn rewrite_file(
        &self,
        file: &TokenFile,
        mut gone: impl FnMut(DocumentRow, Option<String>) -> Result<(), RemoveError>,
    ) -> Result<Option<u64>, RemoveError> {
        let prefix = self.folders.from.join(&file.prefix);
        let numbers = self.folders.selected.of(&file.prefix);
        let mut documents = Documents::open(&prefix)?;
        let dtype = documents.dtype;
        let mut writers = None;
        let mut number = 0;
        while let Some((mut row, bytes)) = documents.next()? {
            number += 1;
            if numbers.binary_search(&(number - 1)).is_ok() {
                let text = (!self.has_text).then(|| self.decode(&prefix, &row, bytes, dtype));
                gone(row, text.transpose()?)?;
                continue;
            }
            let (tokens, table) = match &mut writers {
                Some(writers) => writers,
                none => {
                    let prefix = self.folders.to.join(&file.prefix);
                    let tokens = IndexedWriter::create(&prefix, dtype)?;
                    let table = TableWriter::create(with_suffix(&prefix, DOCUMENTS))?;
                    none.insert((tokens, table))
                }
            };
            row.document = tokens.num_documents().cast_signed();
            tokens.push_bytes(bytes)?;
            table.push(row)?;
        }
        let Some((tokens, table)) = writers else {
            return Ok(None);
        };
        let num_tokens = tokens.num_tokens();
        tokens.finish()?;
        table.finish()?;
        Ok(Some(num_tokens))
    }

    /// The text of tokens as they lie in a file.
    fn decode(
        &self,
        prefix: &Path,
        row: &DocumentRow,
        bytes: &[u8],
        dtype: TokenDtype,
    ) -> Result<String, RemoveError> {
        let mut ids: Vec<u32> = match dtype {
            TokenDtype::U16 => {
                let (ids, _) = bytes.as_chunks();
                ids.iter()
                    .map(|&id| u16::from_le_bytes(id).into())
                    .collect()
            }
            TokenDtype::I32 => {
                let (ids, _) = bytes.as_chunks();
                ids.iter().map(|&id| u32::from_le_bytes(id)).collect()
            }
        };
        if self.folders.append_eod {
            ids.pop();
        }
        let tokenizer = self.folders.tokenizer;
        let text = tokenizer.decode(&ids, SpecialTokensInOutput::Keep);
        text.map_err(|source| RemoveError::Decode {
            path: prefix.to_path_buf(),
            document: row.document.unsigned_abs(),
            source,
        })
    }
}

/// The documents of a token file with their provenance, in order.
struct Documents {
    dtype: TokenDtype,
    rows: Rows<DocumentRow>,
    lengths: BufReader<File>,
    tokens: BufReader<File>,
    bytes: Vec<u8>,
    prefix: PathBuf,
    next: u64,
    end: u64,
}

impl Documents {
    /// Opens a token file whose documents are one sequence each.
    fn open(prefix: &Path) -> Result<Self, RemoveError> {
        let dataset = IndexedDataset::open(prefix)?;
        let open = |suffix, at| -> Result<_, RemoveError> {
            let path = with_suffix(prefix, suffix);
            let open = || -> io::Result<File> {
                let mut file = File::open(&path)?;
                file.seek(SeekFrom::Start(at))?;
                Ok(file)
            };
            let file = open().map_err(RemoveError::io(&path))?;
            Ok(BufReader::with_capacity(128 << 10, file))
        };
        let documents = Self {
            dtype: dataset.dtype,
            rows: Rows::open(&with_suffix(prefix, DOCUMENTS))?,
            lengths: open(".idx", HEADER_LEN)?,
            tokens: open(".bin", 0)?,
            bytes: Vec::new(),
            prefix: prefix.to_path_buf(),
            next: 0,
            end: dataset.num_documents,
        };
        let sequences = dataset.num_sequences;
        documents.expect(".idx", "sequences", documents.end, sequences)?;
        Ok(documents)
    }

    fn next(&mut self) -> Result<Option<(DocumentRow, &[u8])>, RemoveError> {
        let row = self.rows.next_row()?;
        let Some(row) = row.filter(|_| self.next < self.end) else {
            let rows = self.next;
            self.expect(DOCUMENTS, "rows", self.end, rows)?;
            return Ok(None);
        };
        self.expect(
            DOCUMENTS,
            "as the number of a document",
            self.next,
            row.document.unsigned_abs(),
        )?;
        self.next += 1;
        let mut length = [0; 4];
        let read = self.lengths.read_exact(&mut length);
        read.map_err(RemoveError::io(&with_suffix(&self.prefix, ".idx")))?;
        let length = u32::from_le_bytes(length);
        let said = row.num_tokens.unsigned_abs();
        self.expect(DOCUMENTS, "tokens in a row", length.into(), said.into())?;
        let len = u64::from(length) * self.dtype.size();
        self.bytes.clear();
        let read = (&mut self.tokens).take(len).read_to_end(&mut self.bytes);
        read.map_err(RemoveError::io(&with_suffix(&self.prefix, ".bin")))?;
        self.expect(".bin", "bytes of a document", len, self.bytes.len() as u64)?;
        Ok(Some((row, &self.bytes)))
    }

    fn expect(
        &self,
        suffix: &str,
        what: &'static str,
        expected: u64,
        found: u64,
    ) -> Result<(), RemoveError> {
        if found == expected {
            return Ok(());
        }
        Err(RemoveError::Inconsistent {
            path: with_suffix(&self.prefix, suffix),
            what,
            expected,
            found,
        })
    }
}
