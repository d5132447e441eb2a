//! Files of documents to one indexed dataset, byte-equal to what GPT-NeoX's `preprocess_data.py`
//! makes of them.
//!
//! No filters and no quarantine: a row that is no document ends the run.
//!
//! Each thread takes the next piece of the input, makes tokens of it, and takes the next one, while
//! what is done is written in the order of the input.

mod encode;
mod inputs;

use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use stablelm_tokenizer::{EncodeError, SpecialTokensInText, Tokenizer, TokenizerError};

use crate::document::RowError;
use crate::pipeline::{ThreadsError, Workers};
use crate::progress::Progress;
use crate::read::ReadError;
use crate::write::WriteError;
use crate::write::indexed::{IndexedWriter, TokenDtype, with_suffix};
use encode::{Encoded, RowFailure, Rules, StoredToken, Worker};
use inputs::{Inputs, Limits, Piece};

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

/// Seconds a phase, summed over threads, so that bytes of text over seconds are the speed of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PhaseSeconds {
    /// Reading and decompressing.
    pub read: f64,
    /// Finding the texts in their lines.
    pub parse: f64,
    /// Making tokens of them.
    pub encode: f64,
    /// Writing, until both files lie on the disk.
    pub write: f64,
    /// From start to end.
    pub wall: f64,
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
    let limits = Limits::new(options.memory_limit, options.threads.get());
    tokenize_within(options, limits, stdin)
}

fn tokenize_within(
    options: &TokenizeOptions<'_>,
    limits: Limits,
    stdin: Option<&mut (dyn BufRead + Send)>,
) -> Result<TokenizeSummary, TokenizeError> {
    let start = Instant::now();
    let prefix = with_suffix(options.output_prefix, "_text_document");
    let partial = with_suffix(&prefix, ".partial-tokens");
    let result = match TokenDtype::for_vocab_size(options.tokenizer.vocab_size()) {
        TokenDtype::U16 => tokenize_into::<u16>(options, limits, stdin, &partial, &prefix),
        TokenDtype::I32 => tokenize_into::<u32>(options, limits, stdin, &partial, &prefix),
    };
    if result.is_err() {
        for suffix in [".bin", ".idx", ".lengths"] {
            // The failure that is reported is the first one.
            let _ = std::fs::remove_file(with_suffix(&partial, suffix));
        }
    }
    result.map(|mut summary| {
        summary.seconds.wall = start.elapsed().as_secs_f64();
        summary
    })
}

fn tokenize_into<I: StoredToken>(
    options: &TokenizeOptions<'_>,
    limits: Limits,
    stdin: Option<&mut (dyn BufRead + Send)>,
    partial: &Path,
    prefix: &Path,
) -> Result<TokenizeSummary, TokenizeError> {
    let workers = Workers::new(options.threads)?;
    let dtype = dtype(options)?;
    let mut inputs = Inputs::open(options, limits, stdin)?;
    let rules = Rules::<I> {
        text_key: options.text_key.to_owned(),
        special: options.special,
        eod: end_of_document(options, dtype)?,
        limits,
    };
    let mut writer = IndexedWriter::create(partial, dtype)?;
    writer.sync_meanwhile()?;
    let mut read_time = Duration::ZERO;
    let mut sink = Sink {
        options,
        progress: Progress::new("tokenize", inputs.total),
        writer,
        rows_before: 0,
        totals: Totals::default(),
    };
    workers.map_in_order(
        |piece: &mut Piece| {
            let start = Instant::now();
            let found = inputs.next_piece(piece);
            read_time += start.elapsed();
            Ok(found?)
        },
        || Worker::new(options.tokenizer.encoder()),
        |worker, piece, encoded: &mut Encoded<I>| worker.encode(piece, &rules, encoded),
        |encoded| sink.take(encoded),
    )?;
    let (mut totals, writer) = (sink.totals, sink.writer);
    let (documents, tokens) = (writer.num_documents(), writer.num_tokens());
    let start = Instant::now();
    writer.finish()?;
    for suffix in [".bin", ".idx"] {
        let path = with_suffix(prefix, suffix);
        std::fs::rename(with_suffix(partial, suffix), &path).map_err(WriteError::io(&path))?;
    }
    totals.write += start.elapsed();
    Ok(TokenizeSummary {
        documents,
        tokens,
        bytes_in: totals.bytes_in,
        skipped: totals.skipped,
        special_tokens_found: totals.special_tokens_found,
        dtype,
        prefix: prefix.to_path_buf(),
        seconds: PhaseSeconds {
            read: read_time.as_secs_f64(),
            parse: totals.parse.as_secs_f64(),
            encode: totals.encode.as_secs_f64(),
            write: totals.write.as_secs_f64(),
            wall: 0.0,
        },
    })
}

/// The type that holds every token of the vocabulary.
fn dtype(options: &TokenizeOptions<'_>) -> Result<TokenDtype, WriteError> {
    let vocab_size = options.tokenizer.vocab_size();
    let dtype = TokenDtype::for_vocab_size(vocab_size);
    let highest = u32::try_from(vocab_size.saturating_sub(1)).unwrap_or(u32::MAX);
    match i32::try_from(highest) {
        Ok(_) => Ok(dtype),
        Err(_) => Err(token_misfit(options, highest, dtype)),
    }
}

fn token_misfit(options: &TokenizeOptions<'_>, id: u32, dtype: TokenDtype) -> WriteError {
    WriteError::TokenId {
        path: options.output_prefix.to_path_buf(),
        id,
        dtype,
    }
}

/// The token after each document, where one is wanted.
fn end_of_document<I: StoredToken>(
    options: &TokenizeOptions<'_>,
    dtype: TokenDtype,
) -> Result<Option<I>, TokenizeError> {
    if !options.append_eod {
        return Ok(None);
    }
    let id = options.tokenizer.end_of_document();
    let id = id.map_err(TokenizeError::NoEndOfDocument)?;
    match I::from_token(id) {
        Some(token) => Ok(Some(token)),
        None => Err(token_misfit(options, id, dtype).into()),
    }
}

/// Where the tokens of the pieces go, in order.
struct Sink<'a> {
    options: &'a TokenizeOptions<'a>,
    progress: Progress,
    writer: IndexedWriter,
    /// Rows of the current input in the pieces so far.
    rows_before: u64,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    bytes_in: u64,
    skipped: u64,
    special_tokens_found: u64,
    parse: Duration,
    encode: Duration,
    write: Duration,
}

impl Sink<'_> {
    fn take<I: StoredToken>(&mut self, encoded: &mut Encoded<I>) -> Result<(), TokenizeError> {
        if encoded.is_first {
            self.rows_before = 0;
        }
        if let Some((row, failure)) = encoded.failure.take() {
            let path = self.options.inputs[encoded.input].clone();
            let row = self.rows_before + row;
            return Err(match failure {
                RowFailure::Broken(source) => TokenizeError::Row { path, row, source },
                RowFailure::Encode(source) => TokenizeError::Encode { path, row, source },
            });
        }
        self.rows_before += encoded.rows;
        let totals = &mut self.totals;
        totals.bytes_in += encoded.bytes;
        totals.skipped += encoded.skipped;
        totals.special_tokens_found += encoded.special_tokens_found;
        totals.parse += encoded.parse_time;
        totals.encode += encoded.encode_time;
        let start = Instant::now();
        self.writer.push_all(encoded.bytes(), &encoded.lengths)?;
        totals.write += start.elapsed();
        self.progress.bytes(encoded.bytes_read);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
