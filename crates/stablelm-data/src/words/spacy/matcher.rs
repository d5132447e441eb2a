//! Puts exceptions together again that affix rules took apart, in any place of a text.
//!
//! Source: `_apply_special_cases` of `spacy/tokenizer.pyx`, spaCy 3.8. It looks for the tokens that
//! the rules make of an exception, and does not care whether a space stands between them; such a
//! match changes nothing itself, but keeps a shorter one from changing what it overlaps.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::FixedState;

use super::chunk::{self, Exceptions};
use super::tables::Tables;

/// The token sequences of exceptions, as a trie.
pub(super) struct Matcher {
    tokens: HashMap<String, u16, FixedState>,
    next: HashMap<(u16, u16), u16, FixedState>,
    /// By node: whether an exception ends here.
    ends: Vec<bool>,
    /// In bytes.
    longest_token: usize,
    /// In tokens.
    shortest_sequence: usize,
    longest_sequence: usize,
}

/// Tokens of a text, by index, from the start of the first to the end of the last.
#[derive(Clone, Copy, Debug)]
struct Match {
    first: usize,
    end: usize,
}

impl Matcher {
    pub(super) fn new(tables: &Tables) -> Self {
        let mut matcher = Self {
            tokens: HashMap::default(),
            next: HashMap::default(),
            ends: vec![false],
            longest_token: 0,
            shortest_sequence: usize::MAX,
            longest_sequence: 0,
        };
        let (mut ends, mut room) = (Vec::new(), Vec::new());
        for (exception, tokens) in tables.exceptions() {
            if !chunk::has_affix(tables, exception) {
                continue;
            }
            ends.clear();
            chunk::cut(tables, exception, Exceptions::Ignored, &mut ends, &mut room);
            // A token that stays as it is can neither change a text nor keep a longer match from it.
            if ends.len() == 1 && tokens.len() == 1 {
                continue;
            }
            let mut node = 0;
            let mut start = 0;
            for &end in &ends {
                node = matcher.add(node, &exception[start..end]);
                start = end;
            }
            matcher.ends[usize::from(node)] = true;
            matcher.shortest_sequence = matcher.shortest_sequence.min(ends.len());
            matcher.longest_sequence = matcher.longest_sequence.max(ends.len());
        }
        matcher
    }

    fn add(&mut self, node: u16, token: &str) -> u16 {
        const FEW: &str = "exceptions have fewer than 65536 tokens";
        self.longest_token = self.longest_token.max(token.len());
        let fresh = u16::try_from(self.tokens.len()).expect(FEW);
        let token = *self.tokens.entry(token.to_owned()).or_insert(fresh);
        let ends = &mut self.ends;
        *self.next.entry((node, token)).or_insert_with(|| {
            ends.push(false);
            u16::try_from(ends.len() - 1).expect(FEW)
        })
    }

    /// Most tokens in a match.
    pub(super) fn longest_sequence(&self) -> usize {
        self.longest_sequence
    }

    /// The runs of `words` that become the tokens of an exception, in order.
    pub(super) fn find(
        &self,
        text: &str,
        words: &[Range<u32>],
        tables: &Tables,
    ) -> Vec<Range<usize>> {
        if words.len() < self.shortest_sequence {
            return Vec::new();
        }
        let mut matches = Vec::new();
        for first in 0..words.len() {
            let mut node = 0;
            for (at, word) in words.iter().enumerate().skip(first) {
                if at > first && !are_neighbors(text, &words[at - 1], word) {
                    break;
                }
                let Some(next) = self.step(node, &text[as_usize(word)]) else {
                    break;
                };
                node = next;
                if self.ends[usize::from(node)] {
                    matches.push(Match { first, end: at + 1 });
                }
            }
        }
        if matches.is_empty() {
            return Vec::new();
        }
        // Longest first, then leftmost.
        matches.sort_by_key(|found| (found.first + words.len() - found.end, found.first));
        let mut seen = vec![false; words.len()];
        let mut kept = Vec::new();
        for found in matches {
            let is_free = !seen[found.first] && !seen[found.end - 1];
            seen[found.first..found.end].fill(true);
            let place = words[found.first].start as usize..words[found.end - 1].end as usize;
            let changes = |ends: &[u8]| {
                let ends = ends.iter().map(|&end| place.start + usize::from(end));
                let words = &words[found.first..found.end];
                !ends.eq(words.iter().map(|word| word.end as usize))
            };
            if is_free && tables.exception(&text[place.clone()]).is_some_and(changes) {
                kept.push(found.first..found.end);
            }
        }
        kept.sort_by_key(|run| run.start);
        kept
    }

    fn step(&self, node: u16, token: &str) -> Option<u16> {
        if token.len() > self.longest_token {
            return None;
        }
        let token = *self.tokens.get(token)?;
        self.next.get(&(node, token)).copied()
    }
}

/// Whether no token of white space stands between two words.
fn are_neighbors(text: &str, left: &Range<u32>, right: &Range<u32>) -> bool {
    let gap = &text[left.end as usize..right.start as usize];
    gap.is_empty() || gap == " "
}

fn as_usize(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}
