//! Files of documents to one indexed dataset, byte-equal to what GPT-NeoX's `preprocess_data.py`
//! makes of them.
//!
//! No filters and no quarantine: a row that is no document ends the run.

use std::io::{BufRead, Cursor, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use stablelm_tokenizer::{EncodeError, SpecialTokensInText, Tokenizer, TokenizerError};

use crate::document::RowError;
use crate::pipeline::{ThreadsError, Workers};
use crate::progress::Progress;
use crate::read::compression::{self, Compression};
use crate::read::jsonl::{JsonLines, JsonSchema};
use crate::read::parquet::ParquetSchema;
use crate::read::{FileRows, RawRow, ReadError, Schema};
use crate::write::WriteError;
use crate::write::indexed::{IndexedWriter, TokenDtype, with_suffix};

/// The input that means standard input.
const STDIN: &str = "-";
const MAX_BATCH_ROWS: usize = 8192;

/// What [`tokenize`] works with.
#[derive(Clone, Copy)]
pub struct TokenizeOptions<'a> {
    /// Files of JSON lines or parquet, in order; `-` is the reader given beside.
    pub inputs: &'a [PathBuf],
    /// Key or column of the text.
    pub text_key: &'a str,
    /// Whether each document ends with the end-of-document token.
    pub append_eod: bool,
    /// What happens to special tokens that are spelled out in a text; GPT-NeoX encodes them.
    pub special: SpecialTokensInText,
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The dataset becomes `<output_prefix>_text_document.{bin,idx}`.
    pub output_prefix: &'a Path,
    /// Threads to work on; they never change the outcome.
    pub threads: NonZeroUsize,
    /// Bytes for batches; they never change the outcome.
    pub memory_limit: u64,
}

/// What [`tokenize`] did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenizeSummary {
    /// Documents in the dataset.
    pub documents: u64,
    /// Tokens in the dataset, end-of-document tokens too.
    pub tokens: u64,
    /// Bytes of text that were read.
    pub bytes_in: u64,
    /// Documents without tokens, which are not in the dataset.
    pub skipped: u64,
    /// Special tokens that stood in texts.
    pub special_tokens_found: u64,
    /// Type of a token in the dataset.
    pub dtype: TokenDtype,
    /// The dataset, without `.bin` and `.idx`.
    pub prefix: PathBuf,
    /// Where the time went.
    pub seconds: PhaseSeconds,
}

/// Seconds a phase; reading runs beside the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PhaseSeconds {
    /// Reading and decompressing.
    pub read: f64,
    /// Parsing and encoding.
    pub encode: f64,
    /// Writing.
    pub write: f64,
}

/// Why tokens can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizeError {
    /// A file can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An output can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A row is no document.
    #[error("row {row} of `{}` is no document", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// What is wrong with it.
        #[source]
        source: RowError,
    },
    /// A text can't be encoded, or holds a special token where none is allowed.
    #[error("failed to encode row {row} of `{}`", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// What the tokenizer says.
        #[source]
        source: EncodeError,
    },
    /// The tokenizer has no end-of-document token.
    #[error("the tokenizer can't end documents")]
    NoEndOfDocument(#[source] TokenizerError),
    /// `-` was named without a reader, or twice.
    #[error("standard input can be read once, and only where it is given")]
    NoStdin,
    /// The system gives no threads.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

/// Tokenizes files into one indexed dataset, which appears under its name only when complete.
///
/// `stdin` is what the input `-` stands for. A document without tokens is skipped and counted.
pub fn tokenize(
    options: &TokenizeOptions<'_>,
    stdin: Option<&mut (dyn BufRead + Send)>,
) -> Result<TokenizeSummary, TokenizeError> {
    let prefix = with_suffix(options.output_prefix, "_text_document");
    let partial = with_suffix(&prefix, ".partial-tokens");
    let result = tokenize_into(options, stdin, &partial, &prefix);
    if result.is_err() {
        for suffix in [".bin", ".idx", ".lengths"] {
            // The failure that is reported is the first one.
            let _ = std::fs::remove_file(with_suffix(&partial, suffix));
        }
    }
    result
}

fn tokenize_into(
    options: &TokenizeOptions<'_>,
    stdin: Option<&mut (dyn BufRead + Send)>,
    partial: &Path,
    prefix: &Path,
) -> Result<TokenizeSummary, TokenizeError> {
    let workers = Workers::new(options.threads)?;
    let eod = options
        .append_eod
        .then(|| options.tokenizer.end_of_document())
        .transpose();
    let eod = eod.map_err(TokenizeError::NoEndOfDocument)?;
    let dtype = TokenDtype::for_vocab_size(options.tokenizer.vocab_size());
    let mut inputs = Inputs::open(options, stdin)?;
    let mut progress = Progress::new("tokenize", inputs.total);
    let mut writer = IndexedWriter::create(partial, dtype)?;
    let mut counts = Counts::default();
    let mut seconds = PhaseSeconds::default();
    let mut read_time = Duration::ZERO;
    workers.read_ahead(
        || {
            let start = Instant::now();
            let batch = inputs.next_batch();
            read_time += start.elapsed();
            batch
        },
        |batch: Batch| {
            let start = Instant::now();
            let encoded = workers.map(batch.rows, |(file, row)| {
                encode_row(options, eod, row, &batch.schemas[file])
                    .map_err(|error| error.at(&options.inputs[file]))
            });
            seconds.encode += start.elapsed().as_secs_f64();
            let start = Instant::now();
            for document in encoded {
                let document = document?;
                counts.bytes_in += document.bytes;
                counts.special_tokens_found += document.special_tokens_found;
                if document.ids.is_empty() {
                    counts.skipped += 1;
                } else {
                    writer.push(&document.ids)?;
                }
            }
            seconds.write += start.elapsed().as_secs_f64();
            progress.bytes(batch.bytes_read);
            Ok(())
        },
    )?;
    let start = Instant::now();
    let (documents, tokens) = (writer.num_documents(), writer.num_tokens());
    writer.finish()?;
    for suffix in [".bin", ".idx"] {
        let path = with_suffix(prefix, suffix);
        std::fs::rename(with_suffix(partial, suffix), &path).map_err(WriteError::io(&path))?;
    }
    seconds.write += start.elapsed().as_secs_f64();
    seconds.read = read_time.as_secs_f64();
    Ok(TokenizeSummary {
        documents,
        tokens,
        bytes_in: counts.bytes_in,
        skipped: counts.skipped,
        special_tokens_found: counts.special_tokens_found,
        dtype,
        prefix: prefix.to_path_buf(),
        seconds,
    })
}

#[derive(Default)]
struct Counts {
    bytes_in: u64,
    skipped: u64,
    special_tokens_found: u64,
}

struct EncodedDocument {
    ids: Vec<u32>,
    bytes: u64,
    special_tokens_found: u64,
}

/// What is wrong with a row, before anybody says of which file.
enum RowFailure {
    Broken(u64, RowError),
    Encode(u64, EncodeError),
}

impl RowFailure {
    fn at(self, path: &Path) -> TokenizeError {
        let path = path.to_path_buf();
        match self {
            Self::Broken(row, source) => TokenizeError::Row { path, row, source },
            Self::Encode(row, source) => TokenizeError::Encode { path, row, source },
        }
    }
}

fn encode_row(
    options: &TokenizeOptions<'_>,
    eod: Option<u32>,
    row: RawRow,
    schema: &Schema,
) -> Result<EncodedDocument, RowFailure> {
    let document = row
        .parse(schema)
        .map_err(|broken| RowFailure::Broken(broken.row, broken.error))?;
    let encoding = options.tokenizer.encode(&document.text, options.special);
    let encoding = encoding.map_err(|error| RowFailure::Encode(document.row, error))?;
    let mut ids = encoding.ids;
    if !ids.is_empty() {
        ids.extend(eod);
    }
    Ok(EncodedDocument {
        ids,
        bytes: document.text.len() as u64,
        special_tokens_found: encoding.special_tokens_found,
    })
}

struct Batch {
    rows: Vec<(usize, RawRow)>,
    schemas: std::sync::Arc<[Schema]>,
    bytes_read: u64,
}

/// The inputs, read one after another.
struct Inputs<'a, 's> {
    paths: &'a [PathBuf],
    schemas: std::sync::Arc<[Schema]>,
    stdin: Option<JsonLines<Box<dyn BufRead + Send + 's>>>,
    current: Option<FileRows>,
    next: usize,
    batch_bytes: usize,
    bytes_done: u64,
    /// Bytes of all files; 0 when standard input is one of them.
    total: u64,
}

impl<'a, 's> Inputs<'a, 's> {
    fn open(
        options: &TokenizeOptions<'a>,
        stdin: Option<&'s mut (dyn BufRead + Send)>,
    ) -> Result<Self, TokenizeError> {
        let mut total = 0;
        let mut schemas = Vec::new();
        let mut stdins = 0;
        for path in options.inputs {
            if path.as_os_str() == STDIN {
                stdins += 1;
                schemas.push(schema(options.text_key, false));
                continue;
            }
            let io = |source| ReadError::Io {
                path: path.clone(),
                source,
            };
            total += std::fs::metadata(path).map_err(io)?.len();
            schemas.push(schema(
                options.text_key,
                compression::is_parquet(path).map_err(io)?,
            ));
        }
        if stdins > 1 || (stdins == 1 && stdin.is_none()) {
            return Err(TokenizeError::NoStdin);
        }
        let stdin = stdin.filter(|_| stdins == 1).map(open_stdin).transpose();
        let stdin = stdin.map_err(|source| ReadError::Io {
            path: PathBuf::from(STDIN),
            source,
        })?;
        let bytes = (options.memory_limit / 16).clamp(64 << 10, 32 << 20);
        Ok(Self {
            paths: options.inputs,
            schemas: schemas.into(),
            stdin,
            current: None,
            next: 0,
            batch_bytes: usize::try_from(bytes).expect("at most 32 MiB"),
            bytes_done: 0,
            total: if stdins == 0 { total } else { 0 },
        })
    }

    fn next_batch(&mut self) -> Result<Option<Batch>, TokenizeError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while bytes < self.batch_bytes
            && rows.len() < MAX_BATCH_ROWS
            && self.next < self.paths.len()
        {
            if let Some(row) = self.next_row()? {
                bytes += row.size();
                rows.push((self.next, row));
            } else {
                self.bytes_done += self.current.take().map_or(0, |file| file.bytes_read());
                self.next += 1;
            }
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let bytes_read = self.bytes_done + self.current.as_ref().map_or(0, FileRows::bytes_read);
        Ok(Some(Batch {
            rows,
            schemas: self.schemas.clone(),
            bytes_read,
        }))
    }

    fn next_row(&mut self) -> Result<Option<RawRow>, ReadError> {
        let path = &self.paths[self.next];
        if path.as_os_str() == STDIN {
            return self.stdin.as_mut().map_or(Ok(None), JsonLines::next_row);
        }
        if self.current.is_none() {
            self.current = Some(FileRows::open(
                path,
                &self.schemas[self.next],
                self.batch_bytes,
            )?);
        }
        self.current.as_mut().map_or(Ok(None), FileRows::next_row)
    }
}

fn schema(text_key: &str, parquet: bool) -> Schema {
    let text = text_key.to_owned();
    if parquet {
        Schema::Parquet(ParquetSchema {
            text,
            id: None,
            id_required: false,
        })
    } else {
        Schema::Json(JsonSchema { text, id: None })
    }
}

fn open_stdin<'a>(
    stdin: &'a mut (dyn BufRead + Send),
) -> std::io::Result<JsonLines<Box<dyn BufRead + Send + 'a>>> {
    let (head, rest) = compression::split_head(stdin)?;
    let compression = compression::detect(&head);
    let reader = compression::decompress(compression, Cursor::new(head).chain(rest))?;
    Ok(JsonLines::new(
        reader,
        PathBuf::from(STDIN),
        Compression::None,
        None,
    ))
}
