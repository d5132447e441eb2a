//! Byte pair encoding of one pretoken: bytes to tokens, without a memory of earlier ones.
//!
//! A [`Symbol`] is a token by its place in the training order: the 256 bytes first, then what each
//! merge makes. So the order of symbols is the order of merges, and "the merge that comes first"
//! is "the smallest symbol". Vocabulary ids are looked up at the very end.

mod backtrack;
mod cuts;
mod merge;
mod pairs;

use std::collections::HashMap;

pub(crate) use backtrack::Matcher;
pub(crate) use cuts::Cuts;
pub(crate) use merge::{MAX_MERGE_LEN, merge};
pub(crate) use pairs::Pairs;

/// A token by its place in the training order.
pub(crate) type Symbol = u16;

/// No symbol: two symbols that don't merge.
pub(crate) const NONE: Symbol = Symbol::MAX;

/// Symbols that are single bytes.
pub(crate) const NUM_BYTES: usize = 256;

/// Why merges can't be carried out by this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsuited {
    /// More tokens than a symbol can tell apart.
    TooManyMerges,
    /// A merge of a token that no earlier merge makes.
    Order,
    /// Two merges that make the same token.
    Twice,
    /// The table of pairs can't be built.
    Pairs,
}

/// Merges in training order, ready to be carried out.
pub(crate) struct Merges {
    /// The bytes of every symbol.
    bytes: Vec<Box<[u8]>>,
    /// What each symbol was merged from; a byte is its own.
    parts: Vec<(Symbol, Symbol)>,
    /// Whether the bytes of a symbol give that symbol; others never come out of a text.
    is_reachable: Vec<bool>,
    pub(crate) pairs: Pairs,
    pub(crate) cuts: Cuts,
}

impl Merges {
    /// Takes the merges of a vocabulary, each as the bytes of its two parts.
    pub(crate) fn new(merges: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, Unsuited> {
        if NUM_BYTES + merges.len() >= usize::from(NONE) {
            return Err(Unsuited::TooManyMerges);
        }
        let mut bytes: Vec<Box<[u8]>> = (0..=u8::MAX).map(|byte| [byte].into()).collect();
        let symbol = |at: usize| Symbol::try_from(at).expect("the number of merges was checked");
        let mut parts: Vec<_> = (0..NUM_BYTES).map(|at| (symbol(at), symbol(at))).collect();
        let mut by_bytes: HashMap<Box<[u8]>, Symbol> = (bytes.iter().cloned()).zip(0..).collect();
        for (left, right) in merges {
            let find = |part: &Vec<u8>| by_bytes.get(part.as_slice()).copied();
            let pair = find(left).zip(find(right)).ok_or(Unsuited::Order)?;
            let whole: Box<[u8]> = [left.as_slice(), right].concat().into();
            let known = by_bytes.insert(whole.clone(), symbol(bytes.len()));
            if known.is_some() {
                return Err(Unsuited::Twice);
            }
            bytes.push(whole);
            parts.push(pair);
        }
        let pairs = Pairs::new(&parts).ok_or(Unsuited::Pairs)?;
        let cuts = Cuts::new(bytes[NUM_BYTES..].iter().map(AsRef::as_ref));
        let mut merges = Self {
            is_reachable: vec![true; bytes.len()],
            bytes,
            parts,
            pairs,
            cuts,
        };
        merges.is_reachable = (0..merges.bytes.len())
            .map(|at| merges.gives(&merges.bytes[at], symbol(at)))
            .collect();
        Ok(merges)
    }

    /// Whether a token's bytes merge to that token and nothing else.
    fn gives(&self, bytes: &[u8], symbol: Symbol) -> bool {
        if bytes.len() <= MAX_MERGE_LEN {
            let mut symbols = [0; MAX_MERGE_LEN];
            return merge(bytes, &self.pairs, &mut symbols) == 1 && symbols[0] == symbol;
        }
        merge::merge_any(bytes, &self.pairs) == [symbol]
    }

    pub(crate) fn num_symbols(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn bytes_of(&self, symbol: Symbol) -> &[u8] {
        &self.bytes[usize::from(symbol)]
    }

    pub(crate) fn is_reachable(&self, symbol: Symbol) -> bool {
        self.is_reachable[usize::from(symbol)]
    }

    fn parts_of(&self, symbol: Symbol) -> (Symbol, Symbol) {
        self.parts[usize::from(symbol)]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Merges of a small made-up vocabulary: "a" to the eighth, and some words.
    pub(crate) fn sample() -> Merges {
        let merges = [
            ("a", "a"),
            ("aa", "aa"),
            ("aaaa", "aaaa"),
            ("t", "h"),
            ("th", "e"),
            (" ", "the"),
            ("a", "b"),
            ("ab", "c"),
            ("b", "c"),
            ("c", "a"),
            ("é", ""),
        ];
        let merges: Vec<_> = merges[..10]
            .iter()
            .map(|(left, right)| (left.as_bytes().to_vec(), right.as_bytes().to_vec()))
            .chain([(vec![0xC3], vec![0xA9])])
            .collect();
        Merges::new(&merges).unwrap_or_else(|error| panic!("{error:?}"))
    }

    #[test]
    fn merges_out_of_order_are_refused() {
        let merges = [
            (b"ab".to_vec(), b"c".to_vec()),
            (b"a".to_vec(), b"b".to_vec()),
        ];
        assert_eq!(Merges::new(&merges).err(), Some(Unsuited::Order));
        let twice = [
            (b"a".to_vec(), b"b".to_vec()),
            (b"b".to_vec(), b"c".to_vec()),
            (b"ab".to_vec(), b"c".to_vec()),
            (b"a".to_vec(), b"bc".to_vec()),
        ];
        assert_eq!(Merges::new(&twice).err(), Some(Unsuited::Twice));
    }

    #[test]
    fn every_symbol_of_the_sample_is_reachable_but_those_that_lose() {
        let merges = sample();
        for symbol in 0..merges.num_symbols() {
            let symbol = Symbol::try_from(symbol).unwrap();
            assert!(merges.is_reachable(symbol), "{:?}", merges.bytes_of(symbol));
        }
    }
}
