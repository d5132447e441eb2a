//! Byte pair encoding of long pretokens in linear time.
//!
//! Tokens are taken from left to right, the longest first. A token may stand beside the one before
//! it only when byte pair encoding of the two together gives these two; a shorter one is tried
//! otherwise, and when none is left, the one before is taken back. A bit per place remembers where
//! no way led on, so that none is tried twice. The idea is that of the crate `bpe` (GitHub's
//! rust-gems) and its report "So many tokens, so little time" (2024).

use super::{Merges, NONE, Symbol};

/// Finds tokens at the start of a text.
pub(crate) struct Matcher {
    /// Children of nodes: the node and a byte above, the child below; 0 is empty.
    edges: Vec<u64>,
    nodes: Vec<Node>,
    /// The longest token that a symbol starts with, itself excluded.
    prefixes: Vec<Symbol>,
}

/// The start of some tokens.
struct Node {
    /// The token that ends here.
    token: Symbol,
    /// This start without its last byte.
    parent: u32,
}

/// The node that every text starts in.
const ROOT: u32 = 0;

impl Matcher {
    pub(crate) fn new(merges: &Merges) -> Self {
        let mut matcher = Self {
            edges: vec![0; (4 * merges.num_symbols()).next_power_of_two()],
            nodes: vec![Node {
                token: NONE,
                parent: ROOT,
            }],
            prefixes: Vec::with_capacity(merges.num_symbols()),
        };
        let mut ends: Vec<u32> = Vec::with_capacity(merges.num_symbols());
        for symbol in 0..merges.num_symbols() {
            // The start of a merged token is known, being a token.
            let (left, right) = merges.parts[symbol];
            let end = match ends.get(usize::from(left)) {
                Some(&node) => matcher.insert(node, &merges.bytes[usize::from(right)]),
                None => matcher.insert(ROOT, &merges.bytes[symbol]),
            };
            ends.push(end);
            if merges.is_reachable[symbol] {
                let token = Symbol::try_from(symbol).expect("symbols are this wide");
                matcher.nodes[end as usize].token = token;
            }
        }
        for end in ends {
            let mut node = matcher.nodes[end as usize].parent;
            while node != ROOT && matcher.nodes[node as usize].token == NONE {
                node = matcher.nodes[node as usize].parent;
            }
            let prefix = matcher.nodes[node as usize].token;
            matcher.prefixes.push(prefix);
        }
        matcher
    }

    /// Makes what is missing of a path; returns its end.
    fn insert(&mut self, start: u32, bytes: &[u8]) -> u32 {
        let mut node = start;
        for &byte in bytes {
            let place = self.place(node, byte);
            if self.edges[place] == 0 {
                let child = self.nodes.len() as u32;
                self.edges[place] = key(node, byte) << 32 | u64::from(child);
                self.nodes.push(Node {
                    token: NONE,
                    parent: node,
                });
                if self.nodes.len() > self.edges.len() / 4 * 3 {
                    self.grow();
                }
                node = child;
            } else {
                node = self.edges[place] as u32;
            }
        }
        node
    }

    fn grow(&mut self) {
        let edges = vec![0; 2 * self.edges.len()];
        for edge in std::mem::replace(&mut self.edges, edges) {
            if edge != 0 {
                let place = self.place_of(edge >> 32);
                self.edges[place] = edge;
            }
        }
    }

    /// Where the edge of a node and a byte lies, or would.
    #[inline(always)]
    fn place(&self, node: u32, byte: u8) -> usize {
        self.place_of(key(node, byte))
    }

    #[inline(always)]
    fn place_of(&self, key: u64) -> usize {
        let mask = self.edges.len() - 1;
        let mut at = (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize & mask;
        while self.edges[at] != 0 && self.edges[at] >> 32 != key {
            at = (at + 1) & mask;
        }
        at
    }

    /// Returns the longest token that a text starts with, or [`NONE`] for an empty text.
    fn longest(&self, text: &[u8]) -> Symbol {
        let (mut node, mut longest) = (ROOT, NONE);
        for &byte in text {
            let edge = self.edges[self.place(node, byte)];
            if edge == 0 {
                break;
            }
            node = edge as u32;
            let token = self.nodes[node as usize].token;
            if token != NONE {
                longest = token;
            }
        }
        longest
    }

    /// Appends the symbols of a text; gives what [`merge`](super::merge) gives, however long it is.
    pub(crate) fn encode(&self, text: &[u8], merges: &Merges, symbols: &mut Vec<Symbol>) {
        let first = symbols.len();
        // A cleared bit: no way leads from this place to the end.
        let mut is_open = vec![u64::MAX; text.len() / 64 + 1];
        let mut at = 0;
        let mut next = self.longest(text);
        while next != NONE {
            let last = symbols[first..].last().copied();
            let end = at + merges.bytes[usize::from(next)].len();
            if is_open[end / 64] >> (end % 64) & 1 != 0
                && last.is_none_or(|last| stand_together(last, next, merges))
            {
                symbols.push(next);
                at = end;
                next = self.longest(&text[at..]);
                continue;
            }
            next = self.prefixes[usize::from(next)];
            if next == NONE {
                is_open[at / 64] &= !(1 << (at % 64));
                let last = symbols
                    .pop()
                    .expect("some way leads to the end of any text");
                at -= merges.bytes[usize::from(last)].len();
                next = last;
            }
        }
    }
}

fn key(node: u32, byte: u8) -> u64 {
    // One more than the number, because 0 means empty.
    (u64::from(node) << 8 | u64::from(byte)) + 1
}

/// Whether the bytes of two tokens together are encoded as these two.
///
/// Follows the seam between them back through the merges: it must never be that the symbols beside
/// it would merge before one of them is merged with its other neighbor.
fn stand_together(mut left: Symbol, mut right: Symbol, merges: &Merges) -> bool {
    let mut limit = NONE;
    loop {
        // `NONE` is above every limit.
        if merges.pairs.get(left, right) < limit {
            return false;
        }
        // The later of the two merges is undone; equal ones were made from the left.
        if left > right {
            limit = left;
            left = merges.parts_of(left).1;
            if left == limit {
                limit = right + 1;
                right = merges.parts_of(right).0;
                if right + 1 == limit {
                    return true;
                }
            }
        } else {
            limit = right + 1;
            right = merges.parts_of(right).0;
            if right + 1 == limit {
                limit = left;
                left = merges.parts_of(left).1;
                if left == limit {
                    return true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::merge::merge_any;
    use super::super::tests::sample;
    use super::*;

    fn check(text: &[u8]) {
        let merges = sample();
        let mut symbols = vec![7];
        Matcher::new(&merges).encode(text, &merges, &mut symbols);
        assert_eq!(symbols[0], 7, "what was there stays");
        assert_eq!(symbols[1..], merge_any(text, &merges.pairs));
    }

    #[test]
    fn long_runs_are_encoded_as_by_merging() {
        check(b"");
        for len in 1..70 {
            check(&vec![b'a'; len]);
        }
        check(b"abcabcaabca the theaaaaab");
    }

    proptest! {
        #[test]
        fn any_bytes_are_encoded_as_by_merging(text in "[abcteh é\u{1}]{0,40}") {
            check(text.as_bytes());
        }
    }
}
