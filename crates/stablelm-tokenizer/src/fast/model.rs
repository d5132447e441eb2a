//! What all workers share and none changes.

use aho_corasick::AhoCorasick;

use super::bpe::{Matcher, Merges, Symbol};
use super::cache::Table;
use super::family::{Added, Family};
use super::stages::MAX_KEY_LEN;
use crate::special::leftmost_longest;

/// A tokenizer of the family, ready to encode.
pub(crate) struct Model {
    pub(crate) merges: Merges,
    ids: Box<[u16; 1 << 16]>,
    pub(crate) has_nfc: bool,
    pub(crate) raw: Literals,
    pub(crate) normalized: Literals,
    /// Two bytes that all added tokens start with, if there are such.
    pub(crate) watched: Option<[u8; 2]>,
    /// The ids of runs of two and more spaces.
    pub(crate) runs: Vec<u16>,
    pub(crate) matcher: Matcher,
}

impl Model {
    pub(crate) fn new(family: Family) -> Self {
        // Whatever a symbol is, it is no index out of bounds.
        let mut ids = family.ids;
        ids.resize(1 << 16, 0);
        let ids = ids.into_boxed_slice().try_into();
        let mut added = family.raw.iter().chain(&family.normalized);
        let start = |token: &Added| token.text.as_bytes().first_chunk().copied();
        // No text has these bytes.
        let first = added.next().map_or(Some([0xFF; 2]), start);
        Self {
            watched: first.filter(|&first| added.all(|token| start(token) == Some(first))),
            matcher: Matcher::new(&family.merges),
            merges: family.merges,
            ids: ids.expect("there is an id for every 16-bit number"),
            has_nfc: family.has_nfc,
            raw: Literals::new(family.raw),
            normalized: Literals::new(family.normalized),
            runs: family.runs,
        }
    }

    pub(crate) fn id_of(&self, symbol: Symbol) -> u16 {
        self.ids[usize::from(symbol)]
    }

    /// Returns the longest run of spaces that is a token, or 0.
    pub(crate) fn max_run(&self) -> usize {
        match self.runs.len() {
            0 => 0,
            num_runs => num_runs + 1,
        }
    }

    /// Returns the longest run of spaces, when a pretoken is one.
    pub(crate) fn run_of(&self, pretoken: &[u8]) -> Option<usize> {
        (!self.runs.is_empty() && pretoken.starts_with(b"  ")).then(|| self.max_run())
    }

    /// Returns the ids of a run of spaces: the longest first, as often as it fits.
    pub(crate) fn tokens_of_run(&self, len: usize, max_run: usize) -> impl Iterator<Item = u16> {
        let rest = (len % max_run).checked_sub(2).map(|at| self.runs[at]);
        std::iter::repeat_n(self.runs[max_run - 2], len / max_run).chain(rest)
    }

    /// Lets a table remember the vocabulary, in the order of training: the frequent first.
    pub(crate) fn seed(&self, table: &mut Table) {
        let is_run = |bytes: &[u8]| self.run_of(bytes).is_some();
        for len in (2..)
            .take(self.runs.len())
            .take_while(|len| *len <= MAX_KEY_LEN)
        {
            table.seed(&b"               "[..len], &[self.runs[len - 2]]);
        }
        for symbol in 0..self.merges.num_symbols() {
            let symbol = Symbol::try_from(symbol).expect("symbols are this wide");
            let bytes = self.merges.bytes_of(symbol);
            if bytes.len() <= MAX_KEY_LEN && self.merges.is_reachable(symbol) && !is_run(bytes) {
                table.seed(bytes, &[self.id_of(symbol)]);
            }
        }
    }
}

/// Added tokens that are cut out of a text before anything else looks at it.
pub(crate) struct Literals {
    tokens: Vec<Added>,
    automaton: Option<AhoCorasick>,
    /// Whether some are not special.
    has_plain: bool,
}

impl Literals {
    fn new(tokens: Vec<Added>) -> Self {
        let automaton = leftmost_longest(tokens.iter().map(|token| token.text.as_str()));
        Self {
            has_plain: tokens.iter().any(|token| !token.is_special),
            tokens,
            automaton,
        }
    }

    /// Returns the text between tokens, each with the id of the token that ends it.
    ///
    /// Special tokens are cut out only if `cuts_special`; they stay part of the text otherwise, and
    /// it is not searched when there are no others.
    pub(crate) fn cut<'a>(
        &'a self,
        text: &'a str,
        cuts_special: bool,
    ) -> impl Iterator<Item = (&'a str, Option<u16>)> {
        let mut from = 0;
        let automaton = self
            .automaton
            .as_ref()
            .filter(|_| cuts_special || self.has_plain);
        let mut found = automaton.map(|automaton| automaton.find_iter(text));
        let mut is_done = false;
        std::iter::from_fn(move || {
            if is_done {
                return None;
            }
            for token in found.iter_mut().flatten() {
                let added = &self.tokens[token.pattern().as_usize()];
                if added.is_special && !cuts_special {
                    continue;
                }
                let piece = &text[from..token.start()];
                from = token.end();
                return Some((piece, Some(added.id)));
            }
            is_done = true;
            Some((&text[from..], None))
        })
    }
}
