//! One thread's work: rows to texts to tokens, for one piece after another.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use stablelm_tokenizer::{EncodeError, Encoder, SpecialTokensInText, TokenInt};

use crate::document::RowError;
use crate::read::RawRow;
use crate::read::chunks::{lines, too_long};
use crate::read::json_text::TextParser;
use crate::read::jsonl::trim;
use crate::tokenize::inputs::{Limits, Piece, PieceKind};

/// Text that is parsed before it is encoded: much for one look at the clock, little for a cache.
const BATCH_LEN: usize = 64 << 10;

/// A token as the dataset holds it: in the machine's memory as in the file, but for the byte order.
pub(crate) trait StoredToken: TokenInt + Pod + Send + Sync {
    /// The token, if it fits.
    fn from_token(id: u32) -> Option<Self>;

    /// Puts the low byte first.
    fn to_le(self) -> Self;
}

impl StoredToken for u16 {
    fn from_token(id: u32) -> Option<Self> {
        Self::try_from(id).ok()
    }

    fn to_le(self) -> Self {
        self.to_le()
    }
}

impl StoredToken for u32 {
    fn from_token(id: u32) -> Option<Self> {
        Some(id)
    }

    fn to_le(self) -> Self {
        self.to_le()
    }
}

/// How rows become tokens; the same for all threads.
#[derive(Clone, Debug)]
pub(crate) struct Rules<I> {
    /// The key of the texts.
    pub(crate) text_key: String,
    pub(crate) special: SpecialTokensInText,
    /// The end-of-document token, where one is appended.
    pub(crate) eod: Option<I>,
    pub(crate) limits: Limits,
}

/// The tokens of a piece.
pub(crate) struct Encoded<I> {
    pub(crate) input: usize,
    pub(crate) is_first: bool,
    pub(crate) bytes_read: u64,
    /// Tokens of all documents, low byte first.
    ids: Vec<I>,
    /// Tokens of each document; those without any are left out.
    pub(crate) lengths: Vec<usize>,
    /// Rows, blank ones too.
    pub(crate) rows: u64,
    /// Bytes of text.
    pub(crate) bytes: u64,
    pub(crate) skipped: u64,
    pub(crate) special_tokens_found: u64,
    /// The first row that can't be encoded, counted in the piece; nothing after it was looked at.
    pub(crate) failure: Option<(u64, RowFailure)>,
    pub(crate) parse_time: Duration,
    pub(crate) encode_time: Duration,
}

impl<I> Default for Encoded<I> {
    fn default() -> Self {
        Self {
            input: 0,
            is_first: false,
            bytes_read: 0,
            ids: Vec::new(),
            lengths: Vec::new(),
            rows: 0,
            bytes: 0,
            skipped: 0,
            special_tokens_found: 0,
            failure: None,
            parse_time: Duration::ZERO,
            encode_time: Duration::ZERO,
        }
    }
}

impl<I: StoredToken> Encoded<I> {
    /// The tokens as they go into the file.
    pub(crate) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.ids)
    }

    fn start(&mut self, piece: &Piece, usual_len: usize) {
        let (mut ids, mut lengths) = (
            std::mem::take(&mut self.ids),
            std::mem::take(&mut self.lengths),
        );
        ids.clear();
        lengths.clear();
        // One long document should not hold its memory for good.
        ids.shrink_to(usual_len);
        *self = Self {
            input: piece.input,
            is_first: piece.is_first,
            bytes_read: piece.bytes_read,
            ids,
            lengths,
            ..Self::default()
        };
    }
}

/// What is wrong with a row, before anybody says of which file.
#[derive(Debug)]
pub(crate) enum RowFailure {
    Broken(RowError),
    Encode(EncodeError),
}

/// What a thread keeps from piece to piece.
pub(crate) struct Worker<'t> {
    encoder: Encoder<'t>,
    parser: TextParser,
    texts: String,
    /// Rows whose texts lie in `texts`, with their places.
    spans: Vec<(u64, Range<usize>)>,
}

impl<'t> Worker<'t> {
    pub(crate) fn new(encoder: Encoder<'t>) -> Self {
        Self {
            encoder,
            parser: TextParser::default(),
            texts: String::new(),
            spans: Vec::new(),
        }
    }

    /// Fills `encoded` with the tokens of a piece, up to the first row that fails.
    pub(crate) fn encode<I: StoredToken>(
        &mut self,
        piece: &mut Piece,
        rules: &Rules<I>,
        encoded: &mut Encoded<I>,
    ) {
        encoded.start(piece, rules.limits.chunk_len);
        self.texts.clear();
        self.texts.shrink_to(rules.limits.chunk_len);
        self.spans.clear();
        let is_first = piece.is_first;
        let encoded_all = match &piece.kind {
            PieceKind::Broken(error) => Err((0, RowFailure::Broken(error.clone()))),
            PieceKind::Lines => {
                let lines = lines(piece.lines.bytes());
                self.encode_rows(rules, encoded, lines, |worker, row, line| {
                    worker.add_line(line, row, is_first && row == 0, rules)
                })
            }
            PieceKind::Rows => {
                self.encode_rows(rules, encoded, piece.rows.drain(..), |worker, at, row| {
                    worker.add_row(row, at, rules)
                })
            }
        };
        encoded.failure = encoded_all.err();
        for id in &mut encoded.ids {
            *id = StoredToken::to_le(*id);
        }
    }

    /// Takes rows until one fails, encoding whenever a batch is full.
    fn encode_rows<I: StoredToken, R>(
        &mut self,
        rules: &Rules<I>,
        encoded: &mut Encoded<I>,
        rows: impl Iterator<Item = R>,
        add: impl Fn(&mut Self, u64, R) -> Result<(), RowError>,
    ) -> Result<(), (u64, RowFailure)> {
        let mut start = Instant::now();
        for found in rows {
            let row = encoded.rows;
            encoded.rows += 1;
            if let Err(error) = add(self, row, found) {
                // A row before this one may fail too, and then it is the first.
                self.encode_batch(rules, encoded, &mut start)?;
                return Err((row, RowFailure::Broken(error)));
            }
            if self.texts.len() >= BATCH_LEN {
                self.encode_batch(rules, encoded, &mut start)?;
            }
        }
        self.encode_batch(rules, encoded, &mut start)
    }

    fn add_line<I>(
        &mut self,
        line: &[u8],
        row: u64,
        is_first: bool,
        rules: &Rules<I>,
    ) -> Result<(), RowError> {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        let max_line_len = rules.limits.max_line_len;
        if content.len() > max_line_len {
            return Err(too_long(line.len() as u64, max_line_len));
        }
        let content = trim(content, is_first);
        if content.is_empty() {
            return Ok(());
        }
        let start = self.texts.len();
        self.parser
            .append_text(content, &rules.text_key, &mut self.texts)?;
        self.spans.push((row, start..self.texts.len()));
        Ok(())
    }

    fn add_row<I>(&mut self, row: RawRow, at: u64, rules: &Rules<I>) -> Result<(), RowError> {
        match row {
            RawRow::Document(document) => {
                let start = self.texts.len();
                self.texts.push_str(&document.text);
                self.spans.push((at, start..self.texts.len()));
                Ok(())
            }
            RawRow::Line { bytes, .. } => self.add_line(&bytes, at, false, rules),
            RawRow::Broken(broken) => Err(broken.error),
        }
    }

    /// Encodes the texts that wait; `start` is when their parsing began.
    fn encode_batch<I: StoredToken>(
        &mut self,
        rules: &Rules<I>,
        encoded: &mut Encoded<I>,
        start: &mut Instant,
    ) -> Result<(), (u64, RowFailure)> {
        let parsed = Instant::now();
        encoded.parse_time += parsed - *start;
        for (row, span) in self.spans.drain(..) {
            let text = &self.texts[span];
            let before = encoded.ids.len();
            encoded.special_tokens_found += self
                .encoder
                .encode_into(text, rules.special, &mut encoded.ids)
                .map_err(|error| (row, RowFailure::Encode(error)))?;
            encoded.bytes += text.len() as u64;
            if encoded.ids.len() == before {
                encoded.skipped += 1;
            } else {
                encoded.ids.extend(rules.eod);
                encoded.lengths.push(encoded.ids.len() - before);
            }
        }
        self.texts.clear();
        *start = Instant::now();
        encoded.encode_time += *start - parsed;
        Ok(())
    }
}
