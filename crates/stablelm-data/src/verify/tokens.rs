//! Every dataset, token by token, beside its provenance and under the rules of Books3.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use stablelm_tokenizer::{SpecialTokensInOutput, Tokenizer};

use crate::books3::{Books3Rules, Books3Scratch};
use crate::document::{Document, Split};
use crate::pipeline::Pool;
use crate::prepare::TOKENS;
use crate::verify::manifest::ManifestFile;
use crate::verify::table::{Provenance, ProvenanceRows};
use crate::verify::{BATCH_BYTES, Run, chain};
use crate::write::indexed::{TokenDtype, with_suffix};
use crate::write::indexed_read::IndexedDataset;

/// Where the lengths of sequences begin in an `.idx`.
const LENGTHS_AT: u64 = 34;
/// Documents with bad tokens that are told one by one in each dataset.
const MAX_TOLD: u64 = 20;

pub(super) fn check(
    run: &mut Run<'_>,
    manifest: &ManifestFile,
    tokenizer: Option<&Tokenizer>,
    rules: &Books3Rules,
) {
    let judge = Judge {
        tokenizer,
        rules,
        scratches: Pool::default(),
        eod: tokenizer.and_then(|tokenizer| tokenizer.end_of_document().ok()),
        ends_with_eod: manifest.appends_eod(),
        eod_inside: manifest.encodes_special_tokens(),
        vocab_size: manifest.tokenizer.vocab_size as u64,
    };
    let outputs = manifest.outputs.iter().map(|output| output.path.as_str());
    let names = outputs.filter_map(|path| path.strip_suffix(".idx"));
    for name in names.filter(|name| name.starts_with(TOKENS)) {
        let Some((source, split)) = source_and_split(name) else {
            run.find(
                "index",
                name,
                "name",
                "`<source>_<split>_text_document`",
                name,
            );
            continue;
        };
        check_dataset(run, name, (source, split), &judge);
    }
}

/// How documents are judged, the same for all.
struct Judge<'j> {
    tokenizer: Option<&'j Tokenizer>,
    rules: &'j Books3Rules,
    scratches: Pool<Books3Scratch>,
    eod: Option<u32>,
    ends_with_eod: bool,
    eod_inside: bool,
    vocab_size: u64,
}

/// What is wrong with one document.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    NotAnId { at: usize, found: u32 },
    NoEnd,
    EndInside { at: usize },
    Undecodable(String),
    Books3(&'static str),
}

impl Judge<'_> {
    fn judge(&self, ids: &[u32], provenance: Option<&Provenance>) -> Vec<Fault> {
        let beyond = ids.iter().position(|&id| u64::from(id) >= self.vocab_size);
        if let Some(at) = beyond {
            return vec![Fault::NotAnId { at, found: ids[at] }];
        }
        let mut faults = Vec::new();
        let mut text_ids = ids;
        if let Some(eod) = self.eod {
            if self.ends_with_eod {
                match ids.split_last() {
                    Some((&last, rest)) if last == eod => text_ids = rest,
                    _ => faults.push(Fault::NoEnd),
                }
            }
            if !self.eod_inside
                && let Some(at) = text_ids.iter().position(|&id| id == eod)
            {
                faults.push(Fault::EndInside { at });
            }
        }
        let Some(tokenizer) = self.tokenizer else {
            return faults;
        };
        let text = match tokenizer.decode(text_ids, SpecialTokensInOutput::Keep) {
            Ok(text) => text,
            Err(error) => {
                faults.push(Fault::Undecodable(chain(&error)));
                return faults;
            }
        };
        let document = Document {
            subset: provenance.and_then(|row| row.subset.clone()),
            id: provenance.and_then(|row| row.id.clone()),
            text,
            ..Document::default()
        };
        let path = provenance.map_or("", |row| row.path.as_str());
        let reason = self.scratches.with(Books3Scratch::default, |scratch| {
            self.rules.judge(&document, path, scratch)
        });
        faults.extend(reason.map(|reason| Fault::Books3(reason.name)));
        faults
    }
}

/// `tokens/<source>_<split>_text_document`, with the number of a shard before `_text_document`.
fn source_and_split(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix(TOKENS)?.strip_prefix('/')?;
    let mut name = name.strip_suffix("_text_document")?;
    if let Some((before, shard)) = name.rsplit_once('_')
        && shard.len() == 5
        && shard.bytes().all(|byte| byte.is_ascii_digit())
    {
        name = before;
    }
    let (source, split) = name.rsplit_once('_')?;
    Split::ALL
        .iter()
        .any(|known| known.as_str() == split)
        .then_some((source, split))
}

fn check_dataset(run: &mut Run<'_>, name: &str, of: (&str, &str), judge: &Judge<'_>) {
    let prefix = run.options.folder.join(name);
    let dataset = match IndexedDataset::open(&prefix) {
        Ok(dataset) => dataset,
        Err(error) => {
            return run.find(
                "index",
                &format!("{name}.idx"),
                "",
                "a sound index",
                chain(&error),
            );
        }
    };
    run.verification.checked.datasets += 1;
    run.verification.checked.documents += dataset.num_documents;
    run.verification.checked.tokens += dataset.num_tokens;
    let counts = run
        .splits
        .entry((of.0.to_owned(), of.1.to_owned()))
        .or_default();
    counts.0 += dataset.num_documents;
    counts.1 += dataset.num_tokens;
    let expected =
        TokenDtype::for_vocab_size(usize::try_from(judge.vocab_size).unwrap_or(usize::MAX));
    let idx = format!("{name}.idx");
    run.expect(
        "index",
        &idx,
        "type of a token",
        &expected.to_string(),
        &dataset.dtype.to_string(),
    );
    let table_name = format!("{name}.documents.parquet");
    let mut table = match ProvenanceRows::open(&run.options.folder.join(&table_name)) {
        Ok(table) => Some(table),
        Err(error) => {
            run.find(
                "provenance",
                &table_name,
                "",
                "a provenance table",
                chain(&error),
            );
            None
        }
    };
    let mut documents = match Documents::open(&prefix, &dataset) {
        Ok(documents) => documents,
        Err(error) => return run.find("tokens", &idx, "", "a dataset that can be read", error),
    };
    let mut told = 0;
    loop {
        let (batch, ended) = match next_batch(run, &mut documents, &mut table, &table_name, of.0) {
            Ok(batch) => batch,
            Err(error) => {
                return run.find("tokens", name, "", "a dataset that can be read", error);
            }
        };
        let judged = run.workers.map(batch, |(number, ids, provenance)| {
            (number, judge.judge(&ids, provenance.as_ref()))
        });
        for (number, faults) in judged {
            for fault in faults {
                tell(run, name, number, &fault, judge, &mut told);
            }
        }
        if ended {
            break;
        }
    }
    if let Some(Ok(Some(_))) = table.as_mut().map(ProvenanceRows::next_row) {
        let expected = dataset.num_documents;
        run.find(
            "provenance",
            &table_name,
            "number of rows",
            expected,
            "more",
        );
    }
}

type Judged = (u64, Vec<u32>, Option<Provenance>);

/// Reads documents with their provenance until there are enough for all threads.
fn next_batch(
    run: &mut Run<'_>,
    documents: &mut Documents,
    table: &mut Option<ProvenanceRows>,
    table_name: &str,
    source: &str,
) -> io::Result<(Vec<Judged>, bool)> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES {
        let Some((number, ids)) = documents.next()? else {
            return Ok((batch, true));
        };
        bytes += 4 * ids.len() + 64;
        let row = match table.as_mut().map(ProvenanceRows::next_row) {
            None => None,
            Some(Ok(Some(row))) => {
                check_provenance(run, table_name, source, number, ids.len(), &row);
                Some(row)
            }
            Some(Ok(None)) => {
                let place = "number of rows";
                run.find("provenance", table_name, place, "one a document", number);
                *table = None;
                None
            }
            Some(Err(error)) => {
                let place = format!("row {number}");
                run.find(
                    "provenance",
                    table_name,
                    place,
                    "a row that can be read",
                    chain(&error),
                );
                *table = None;
                None
            }
        };
        batch.push((number, ids, row));
    }
    Ok((batch, false))
}

fn check_provenance(
    run: &mut Run<'_>,
    file: &str,
    source: &str,
    number: u64,
    num_tokens: usize,
    row: &Provenance,
) {
    const CHECK: &str = "provenance";
    let place = |what: &str| format!("row {number}, {what}");
    if u64::try_from(row.document) != Ok(number) {
        run.find(CHECK, file, place("`document`"), number, row.document);
    }
    if usize::try_from(row.num_tokens) != Ok(num_tokens) {
        run.find(
            CHECK,
            file,
            place("`num_tokens`"),
            num_tokens,
            row.num_tokens,
        );
    }
    if row.source != source {
        run.find(CHECK, file, place("`source`"), source, &row.source);
    }
    let kept = run
        .kept
        .entry((source.to_owned(), row.path.clone()))
        .or_default();
    if !u64::try_from(row.row).is_ok_and(|row| kept.insert(row)) {
        let found = format!("row {} of `{}` again", row.row, row.path);
        run.find(
            CHECK,
            file,
            place("`row`"),
            "a row that no other document came from",
            found,
        );
    }
}

fn tell(
    run: &mut Run<'_>,
    name: &str,
    number: u64,
    fault: &Fault,
    judge: &Judge<'_>,
    told: &mut u64,
) {
    let document = format!("document {number}");
    if let Fault::Books3(rule) = fault {
        run.verification.books3.remaining += 1;
        let found = format!("excluded by `{rule}`");
        return run.find("books3", name, document, "no Books3", found);
    }
    *told += 1;
    if *told > MAX_TOLD {
        run.verification.more_findings += 1;
        return;
    }
    let at = |at: usize| format!("document {number}, token {at}");
    let end = judge
        .eod
        .map_or_else(String::new, |eod| format!("end of document ({eod})"));
    match fault {
        Fault::NotAnId { at: token, found } => {
            let expected = format!("an id below {}", judge.vocab_size);
            run.find("tokens", name, at(*token), expected, found);
        }
        Fault::NoEnd => run.find(
            "tokens",
            name,
            document,
            format!("{end} as last token"),
            "none",
        ),
        Fault::EndInside { at: token } => {
            run.find(
                "tokens",
                name,
                at(*token),
                format!("no {end} inside"),
                "one",
            );
        }
        Fault::Undecodable(error) => run.find("tokens", name, document, "a text", error),
        Fault::Books3(_) => {}
    }
}

/// The documents of a dataset, read from front to back.
///
/// The index was checked when the dataset was opened; the file may change while it is read, so that
/// nothing here relies on it for more than a bounded read.
struct Documents {
    lengths: BufReader<File>,
    bounds: BufReader<File>,
    tokens: BufReader<File>,
    dtype: TokenDtype,
    next: u64,
    end: u64,
    /// The first sequence of the next document.
    bound: i64,
}

impl Documents {
    fn open(prefix: &Path, dataset: &IndexedDataset) -> io::Result<Self> {
        let open = |suffix, at| -> io::Result<BufReader<File>> {
            let mut file = File::open(with_suffix(prefix, suffix))?;
            file.seek(SeekFrom::Start(at))?;
            Ok(BufReader::with_capacity(128 << 10, file))
        };
        let mut documents = Self {
            lengths: open(".idx", LENGTHS_AT)?,
            bounds: open(".idx", LENGTHS_AT + 12 * dataset.num_sequences)?,
            tokens: open(".bin", 0)?,
            dtype: dataset.dtype,
            next: 0,
            end: dataset.num_documents,
            bound: 0,
        };
        documents.bound = i64::from_le_bytes(read(&mut documents.bounds)?);
        Ok(documents)
    }

    fn next(&mut self) -> io::Result<Option<(u64, Vec<u32>)>> {
        if self.next == self.end {
            return Ok(None);
        }
        let bound = i64::from_le_bytes(read(&mut self.bounds)?);
        let mut ids = Vec::new();
        for _ in self.bound..bound {
            let length = i32::from_le_bytes(read(&mut self.lengths)?);
            for _ in 0..length {
                ids.push(match self.dtype {
                    TokenDtype::U16 => u16::from_le_bytes(read(&mut self.tokens)?).into(),
                    // A negative number is far above every vocabulary.
                    TokenDtype::I32 => u32::from_le_bytes(read(&mut self.tokens)?),
                });
            }
        }
        self.bound = bound;
        self.next += 1;
        Ok(Some((self.next - 1, ids)))
    }
}

fn read<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_says_source_and_split() {
        for (name, expected) in [
            ("tokens/pile_train_text_document", Some(("pile", "train"))),
            ("tokens/a_b_test_00003_text_document", Some(("a_b", "test"))),
            (
                "tokens/a_00001_valid_text_document",
                Some(("a_00001", "valid")),
            ),
            ("tokens/pile_text_document", None),
            ("text/pile_train_text_document", None),
        ] {
            assert_eq!(source_and_split(name), expected, "{name}");
        }
    }
}
