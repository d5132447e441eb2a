//! Text to ids: the order of the stages, and what happens off the fast path.

use std::borrow::Cow;

use super::bpe::{MAX_MERGE_LEN, Symbol};
use super::cache::{MAX_IDS, Table};
use super::memory::{self, LongTable};
use super::model::Model;
use super::split::{Splitter, Starts};
use super::stages::{Found, Key, Keys, MAX_KEY_LEN, Stages};
use super::unicode::{kinds, nfc};
use crate::encoder::TokenInt;

/// What one thread has to itself.
pub(crate) struct Worker {
    stages: &'static dyn Stages,
    starts: Starts,
    pieces: Starts,
    parts: Parts,
}

/// What encodes the parts of a text.
struct Parts {
    stages: &'static dyn Stages,
    keys: Keys,
    found: Found,
    memo: Memo,
    /// Ids of a long pretoken.
    long: Vec<u16>,
}

/// Pretokens up to this length are looked up whole even if they could be cut.
const MAX_UNCUT_LEN: usize = 11;

/// What is remembered, and how to make what is not.
struct Memo {
    stages: &'static dyn Stages,
    table: Table,
    long_table: LongTable,
    symbols: Vec<Symbol>,
}

impl Worker {
    /// Makes a worker that remembers in at most `cache_bytes`.
    pub(crate) fn new(model: &Model, stages: &'static dyn Stages, cache_bytes: usize) -> Self {
        let mut table = Table::new(cache_bytes / 4 * 3);
        model.seed(&mut table);
        Self {
            stages,
            starts: Starts::new(),
            pieces: Starts::new(),
            parts: Parts {
                stages,
                keys: Keys::new(),
                found: Found::new(),
                memo: Memo {
                    stages,
                    long_table: LongTable::new(cache_bytes / 4),
                    table,
                    symbols: Vec::new(),
                },
                long: Vec::new(),
            },
        }
    }

    /// Appends the ids of a text.
    pub(crate) fn encode<I: TokenInt>(
        &mut self,
        model: &Model,
        text: &str,
        cuts_special: bool,
        ids: &mut Vec<I>,
    ) {
        for (piece, token) in model.raw.cut(text, cuts_special) {
            self.encode_piece(model, piece, cuts_special, ids);
            ids.extend(token.map(|id| I::from_id(id.into())));
        }
    }

    /// Encodes text between added tokens that is not in NFC yet.
    fn encode_piece<I: TokenInt>(
        &mut self,
        model: &Model,
        piece: &str,
        cuts_special: bool,
        ids: &mut Vec<I>,
    ) {
        if model.normalized.is_empty() {
            let before = ids.len();
            if let Err(normalized) = self.encode_normal(model, piece, !model.has_nfc, ids) {
                ids.truncate(before);
                self.encode_in_nfc(model, &normalized, ids);
            }
            return;
        }
        let piece = if model.has_nfc {
            nfc(piece)
        } else {
            Cow::Borrowed(piece)
        };
        for (piece, token) in model.normalized.cut(&piece, cuts_special) {
            self.encode_in_nfc(model, piece, ids);
            ids.extend(token.map(|id| I::from_id(id.into())));
        }
    }

    fn encode_in_nfc<I: TokenInt>(&mut self, model: &Model, piece: &str, ids: &mut Vec<I>) {
        let encoded = self.encode_normal(model, piece, true, ids);
        debug_assert!(encoded.is_ok(), "nothing is left to normalize");
    }

    /// Encodes a piece; gives it back in NFC when it turns out not to be.
    ///
    /// Some ids of the piece may have been appended by then.
    fn encode_normal<I: TokenInt>(
        &mut self,
        model: &Model,
        piece: &str,
        mut is_normal: bool,
        ids: &mut Vec<I>,
    ) -> Result<(), String> {
        let text = piece.as_bytes();
        let mut splitter = Splitter::new(model.max_run());
        self.starts.len = 0;
        while !splitter.is_done() {
            self.stages
                .split(&mut splitter, text, kinds(), &mut self.starts);
            if splitter.has_nfc && !is_normal {
                if let Cow::Owned(normalized) = nfc(piece) {
                    return Err(normalized);
                }
                is_normal = true;
            }
            if splitter.has_wide {
                splitter.has_wide = false;
                self.encode_pieces(model, text, ids);
            } else {
                self.parts.encode(model, text, &self.starts, ids);
            }
            self.starts.keep_last();
        }
        Ok(())
    }

    /// Encodes the pretokens between the starts that were found, and cuts those of wide characters
    /// into pieces that may have been seen before.
    fn encode_pieces<I: TokenInt>(&mut self, model: &Model, text: &[u8], ids: &mut Vec<I>) {
        let cuts = &model.merges.cuts;
        self.pieces.len = 0;
        for bounds in self.starts.as_slice().windows(2) {
            let (mut at, end) = (bounds[0] as usize, bounds[1] as usize);
            if end - at > MAX_UNCUT_LEN && !text[at..end].is_ascii() {
                while at < end {
                    if self.pieces.is_full() {
                        self.pieces.push(at as u32);
                        self.parts.encode(model, text, &self.pieces, ids);
                        self.pieces.len = 0;
                    }
                    self.pieces.push(at as u32);
                    at += cuts.first(&text[at..end]);
                }
            } else {
                if self.pieces.is_full() {
                    self.pieces.push(at as u32);
                    self.parts.encode(model, text, &self.pieces, ids);
                    self.pieces.len = 0;
                }
                self.pieces.push(at as u32);
            }
        }
        let end = self.starts.as_slice().last().copied();
        self.pieces.push(end.expect("the end of the text is one"));
        self.parts.encode(model, text, &self.pieces, ids);
    }
}

impl Parts {
    /// Encodes the parts of a text between the starts that were found.
    fn encode<I: TokenInt>(
        &mut self,
        model: &Model,
        text: &[u8],
        starts: &Starts,
        ids: &mut Vec<I>,
    ) {
        let all = starts.as_slice();
        let mut first = 0;
        while first + 1 < all.len() {
            let starts = &all[first..];
            let buckets = self.memo.table.buckets();
            self.stages.keys(text, starts, buckets, &mut self.keys);
            self.found.len = 0;
            let mut at = 0;
            loop {
                let buckets = self.memo.table.buckets();
                at = self.stages.find(&self.keys, at, buckets, &mut self.found);
                if at == self.keys.len {
                    break;
                }
                let bounds = [0, 1].map(|end| starts[at + end] as usize);
                let pretoken = &text[bounds[0]..bounds[1]];
                if pretoken.len() <= MAX_KEY_LEN {
                    let (key, bucket) = (self.keys.values[at], self.keys.buckets[at] as usize);
                    let made = self.memo.make_short(model, pretoken, key, bucket);
                    self.found.push(made.as_slice());
                } else {
                    I::extend(ids, self.found.as_slice());
                    self.found.len = 0;
                    self.memo.make_long(model, pretoken, &mut self.long);
                    I::extend(ids, &self.long);
                    self.long.clear();
                }
                at += 1;
            }
            I::extend(ids, self.found.as_slice());
            first += self.keys.len;
        }
    }
}

/// Ids of a pretoken with a key.
#[derive(Default)]
struct Made {
    ids: [u16; MAX_MERGE_LEN],
    len: usize,
}

impl FromIterator<u16> for Made {
    fn from_iter<T: IntoIterator<Item = u16>>(more: T) -> Self {
        let (mut ids, mut len) = ([0; MAX_MERGE_LEN], 0);
        for id in more {
            ids[len] = id;
            len += 1;
        }
        Self { ids, len }
    }
}

impl Made {
    fn as_slice(&self) -> &[u16] {
        &self.ids[..self.len]
    }
}

impl Memo {
    /// Merges a pretoken with a key, and remembers it.
    fn make_short(&mut self, model: &Model, bytes: &[u8], key: Key, bucket: usize) -> Made {
        // What became too many ids for the one table lies in the other.
        if bytes.len() > MAX_IDS {
            let mut found = Made::default();
            found.len = self.long_table.find(bytes, &mut found.ids);
            if found.len > 0 {
                return found;
            }
        }
        let made = match model.run_of(bytes) {
            Some(max_run) => model.tokens_of_run(bytes.len(), max_run).collect(),
            None => self.merge(model, bytes),
        };
        if made.len <= MAX_IDS {
            self.table.insert(bucket, key, made.as_slice());
        } else {
            self.long_table.insert(bytes, made.as_slice());
        }
        made
    }

    fn merge(&self, model: &Model, bytes: &[u8]) -> Made {
        let mut ids = [0; MAX_MERGE_LEN];
        let len = self.stages.merge(bytes, &model.merges.pairs, &mut ids);
        for id in &mut ids[..len] {
            *id = model.id_of(*id);
        }
        Made { ids, len }
    }

    /// Writes the ids of a pretoken without a key to `ids`, which is empty.
    fn make_long(&mut self, model: &Model, bytes: &[u8], ids: &mut Vec<u16>) {
        if let Some(max_run) = model.run_of(bytes) {
            ids.extend(model.tokens_of_run(bytes.len(), max_run));
        } else if bytes.len() > memory::MAX_LEN {
            self.merge_long(model, bytes, ids);
        } else {
            let mut found = [0; memory::MAX_LEN];
            let len = self.long_table.find(bytes, &mut found);
            ids.extend_from_slice(&found[..len]);
            if len == 0 {
                self.merge_long(model, bytes, ids);
                self.long_table.insert(bytes, ids);
            }
        }
    }

    /// Merges any number of bytes, in pieces where they can be cut.
    fn merge_long(&mut self, model: &Model, bytes: &[u8], ids: &mut Vec<u16>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(model.merges.cuts.first(rest));
            rest = after;
            if piece.len() <= MAX_MERGE_LEN {
                ids.extend_from_slice(self.merge(model, piece).as_slice());
            } else {
                self.symbols.clear();
                model
                    .matcher()
                    .encode(piece, &model.merges, &mut self.symbols);
                ids.extend(self.symbols.iter().map(|&symbol| model.id_of(symbol)));
            }
        }
    }
}
