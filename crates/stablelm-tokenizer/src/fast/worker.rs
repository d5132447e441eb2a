//! Text to ids: the order of the stages, and what happens off the fast path.

use std::borrow::Cow;

use super::bpe::{MAX_MERGE_LEN, Symbol};
use super::cache::{MAX_IDS, Table};
use super::memory::{self, Arena};
use super::model::Model;
use super::split::{Splitter, Starts};
use super::stages::{Found, Key, Keys, MAX_KEY_LEN, Stages, marked};
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
}

/// Bytes that no text has, to be watched for.
const NOTHING: [u8; 2] = [0xFF; 2];

/// Pretokens up to this length are looked up whole even if they could be cut.
const MAX_UNCUT_LEN: usize = 11;

/// What is remembered, and how to make what is not.
struct Memo {
    stages: &'static dyn Stages,
    table: Table,
    arena: Arena,
    /// The ids of the pretoken that was made last.
    made: Vec<u16>,
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
                    table,
                    arena: Arena::new(cache_bytes / 4),
                    made: Vec::new(),
                    symbols: Vec::new(),
                },
            },
        }
    }

    /// Appends the ids of a text if it has no added token and is in NFC; returns whether it was.
    ///
    /// That is known only on the way, which is the fastest way to know it. Some ids may have been
    /// appended if it was not.
    pub(crate) fn encode_simple<I: TokenInt>(
        &mut self,
        model: &Model,
        text: &str,
        ids: &mut Vec<I>,
    ) -> bool {
        let Some(watched) = model.watched else {
            return false;
        };
        self.encode_normal(model, text, !model.has_nfc, watched, ids)
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
        let is_whole = self.encode_normal(model, piece, true, NOTHING, ids);
        debug_assert!(is_whole, "nothing is left to normalize");
    }

    /// Encodes a piece; stops where it turns out not to be in NFC, or to have what is watched for, and
    /// returns whether it came to the end.
    fn encode_normal<I: TokenInt>(
        &mut self,
        model: &Model,
        piece: &str,
        mut is_normal: bool,
        watched: [u8; 2],
        ids: &mut Vec<I>,
    ) -> bool {
        let text = piece.as_bytes();
        let mut splitter = Splitter::new(model.max_run(), watched);
        self.starts.len = 0;
        while !splitter.is_done() {
            self.stages
                .split(&mut splitter, text, kinds(), &mut self.starts);
            if splitter.nfc.is_doubtful && !is_normal {
                is_normal = matches!(nfc(piece), Cow::Borrowed(_));
                if !is_normal {
                    return false;
                }
            }
            if splitter.seen.watched {
                return false;
            }
            if splitter.seen.wide {
                splitter.seen.wide = false;
                self.encode_pieces(model, text, ids);
            } else {
                self.parts.encode(model, text, &self.starts, ids);
            }
            self.starts.keep_last();
        }
        true
    }

    /// Encodes the pretokens between the starts that were found, and cuts those of wide characters
    /// into pieces that may have been seen before.
    fn encode_pieces<I: TokenInt>(&mut self, model: &Model, text: &[u8], ids: &mut Vec<I>) {
        self.pieces.len = 0;
        for bounds in self.starts.as_slice().windows(2) {
            let (start, end) = (bounds[0] as usize, bounds[1] as usize);
            self.pieces.push(bounds[0]);
            if end - start > MAX_UNCUT_LEN && !text[start..end].is_ascii() {
                for (at, is_cut) in model.merges.cuts.characters(text, start, end).skip(1) {
                    // Whether there is a cut can't be foretold: no branch.
                    self.pieces.push_if(at as u32, is_cut);
                    if self.pieces.is_full() {
                        self.parts.encode(model, text, &self.pieces, ids);
                        self.pieces.keep_last();
                    }
                }
            }
            if self.pieces.is_full() {
                self.parts.encode(model, text, &self.pieces, ids);
                self.pieces.keep_last();
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
            if !self.found.has_room() {
                I::extend(ids, self.found.as_slice());
                self.found.len = 0;
            }
            let mut at = 0;
            loop {
                let buckets = self.memo.table.buckets();
                at = self.stages.find(&self.keys, at, buckets, &mut self.found);
                if at == self.keys.len {
                    break;
                }
                let bounds = [0, 1].map(|end| starts[at + end] as usize);
                let pretoken = &text[bounds[0]..bounds[1]];
                let (key, bucket) = (self.keys.values[at], self.keys.buckets[at] as usize);
                self.memo.make(model, pretoken, key, bucket);
                if self.memo.made.len() <= Found::STEP {
                    self.found.push(&self.memo.made);
                } else {
                    I::extend(ids, self.found.as_slice());
                    self.found.len = 0;
                    I::extend(ids, &self.memo.made);
                }
                at += 1;
            }
            first += self.keys.len;
        }
        I::extend(ids, self.found.as_slice());
        self.found.len = 0;
    }
}

impl Memo {
    /// Makes the ids of a pretoken that was not found, or finds them in the arena, and remembers
    /// them.
    fn make(&mut self, model: &Model, pretoken: &[u8], key: Key, bucket: usize) {
        self.made.clear();
        if let Some(max_run) = model.run_of(pretoken) {
            self.made
                .extend(model.tokens_of_run(pretoken.len(), max_run));
            return;
        }
        if pretoken.len() > memory::MAX_LEN {
            return self.merge(model, pretoken);
        }
        let marked = marked(key, pretoken.len());
        // Fewer bytes can't have become too many ids.
        let place = (pretoken.len() > MAX_IDS)
            .then(|| self.table.find_marked(bucket, marked))
            .flatten();
        if place.is_some_and(|place| self.arena.find(place, pretoken, &mut self.made)) {
            return;
        }
        self.merge(model, pretoken);
        if pretoken.len() <= MAX_KEY_LEN && self.made.len() <= MAX_IDS {
            self.table.insert(bucket, key, &self.made);
        } else if let Some(place) = self.arena.push(pretoken, &self.made) {
            self.table.insert_marked(bucket, marked, place);
        }
    }

    /// Appends the ids of any number of bytes.
    fn merge(&mut self, model: &Model, bytes: &[u8]) {
        if bytes.len() <= MAX_MERGE_LEN {
            return self.merge_short(model, bytes);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(model.merges.cuts.first(rest));
            rest = after;
            if piece.len() <= MAX_MERGE_LEN {
                self.merge_short(model, piece);
            } else {
                self.symbols.clear();
                model
                    .matcher
                    .encode(piece, &model.merges, &mut self.symbols);
                self.made
                    .extend(self.symbols.iter().map(|&symbol| model.id_of(symbol)));
            }
        }
    }

    fn merge_short(&mut self, model: &Model, bytes: &[u8]) {
        let mut symbols = [0; MAX_MERGE_LEN];
        let len = self.stages.merge(bytes, &model.merges.pairs, &mut symbols);
        self.made
            .extend(symbols[..len].iter().map(|&symbol| model.id_of(symbol)));
    }
}
