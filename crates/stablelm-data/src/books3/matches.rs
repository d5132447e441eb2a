//! The rule `fingerprint`: a document that holds a long passage of one work.
//!
//! A gram shared with a work proves little; the same few grams in the same order, as far apart as in
//! the work, prove a copy. So grams are joined to *runs*: blocks of one work that follow one another
//! at the distances they have there. A run of enough grams over enough letters condemns the document.

use std::ops::ControlFlow;

use crate::books3::grams::{GRAM_LETTERS, Letters, take_grams};
use crate::books3::list::List;

/// Fewest grams of a run that condemns, in lists with short and with long blocks: where blocks are
/// long, three in order are as unlikely by chance as four where they are short.
const MIN_GRAMS: [u32; 2] = [4, 3];
const LONG_BLOCK_LETTERS: u32 = 512;
/// Fewest letters from the first to the last gram of it: more than 150 words, so that a quoted
/// paragraph is no copy.
pub(super) const MIN_LETTERS: u64 = 900;
/// Most blocks from one gram of a run to the next.
const MAX_BLOCKS_APART: u32 = 6;
/// Grams that are looked up together.
const MAX_WAITING: usize = 64;
/// Runs that are open at a time; the one that was extended longest ago gives way.
const MAX_RUNS: usize = 32;

/// Memory that serves for one document after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books3Scratch {
    letters: Letters,
    /// Keys and places of grams, looked up together: then memory answers them side by side.
    waiting: Vec<(u64, u64)>,
    runs: Vec<Run>,
}

/// A passage that a document shares with a work so far.
#[derive(Clone, Copy, Debug)]
struct Run {
    list: usize,
    work: u32,
    /// Place of the first gram in the document.
    first: u64,
    /// Place of the last one, and the block that it has in the work.
    last: u64,
    block: u32,
    grams: u32,
}

/// What condemns a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) list: usize,
    pub(super) work: u32,
    /// Grams in the run when it was long enough, and how many were enough.
    pub(super) grams: u32,
    pub(super) threshold: u32,
}

/// Looks for a passage of any work of any list.
pub(super) fn find_copy(text: &str, lists: &[List], scratch: &mut Books3Scratch) -> Option<Copied> {
    // A text has at least as many bytes as letters.
    if lists.is_empty() || (text.len() as u64) < MIN_LETTERS {
        return None;
    }
    let Books3Scratch {
        letters,
        waiting,
        runs,
    } = scratch;
    runs.clear();
    waiting.clear();
    let mut copied = None;
    take_grams(text, letters, |gram| {
        waiting.push((gram.key, gram.place));
        if waiting.len() == MAX_WAITING {
            copied = look_up(waiting, lists, runs);
        }
        match copied {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    });
    copied.or_else(|| look_up(waiting, lists, runs))
}

/// Looks up what waits, and stops at the first gram that makes a run long enough.
fn look_up(waiting: &mut Vec<(u64, u64)>, lists: &[List], runs: &mut Vec<Run>) -> Option<Copied> {
    // With several lists, what any of them may know is looked up in all.
    waiting.retain(|&(key, _)| lists.iter().any(|list| list.may_have(key)));
    let mut copied = None;
    for (key, place) in waiting.drain(..) {
        for (number, list) in lists.iter().enumerate() {
            list.look_up(key, |block| {
                let found = Run {
                    list: number,
                    work: list.work_of(block),
                    first: place,
                    last: place,
                    block,
                    grams: 1,
                };
                let run = join(runs, found, list.block_letters());
                copied = copied.or(run.verdict(list));
            });
        }
        if copied.is_some() {
            break;
        }
    }
    copied
}

fn min_grams(block_letters: u32) -> u32 {
    MIN_GRAMS[usize::from(block_letters >= LONG_BLOCK_LETTERS)]
}

/// Extends the run that a gram fits, or begins one with it; returns that run.
fn join(runs: &mut Vec<Run>, found: Run, block_letters: u32) -> Run {
    if let Some(run) = runs
        .iter_mut()
        .find(|run| run.is_before(&found, block_letters))
    {
        run.last = found.last;
        run.block = found.block;
        run.grams += 1;
        return *run;
    }
    if runs.len() < MAX_RUNS {
        runs.push(found);
    } else if let Some(oldest) = runs.iter_mut().min_by_key(|run| run.last) {
        *oldest = found;
    }
    found
}

impl Run {
    /// What the run proves, if it is long enough.
    fn verdict(&self, list: &List) -> Option<Copied> {
        let threshold = min_grams(list.block_letters());
        let letters = self.last + GRAM_LETTERS as u64 - self.first;
        (self.grams >= threshold && letters >= MIN_LETTERS).then_some(Copied {
            list: self.list,
            work: self.work,
            grams: self.grams,
            threshold,
        })
    }

    /// Whether a gram follows as it would in the work.
    fn is_before(&self, next: &Self, block_letters: u32) -> bool {
        if (self.list, self.work) != (next.list, next.work) || next.block <= self.block {
            return false;
        }
        let blocks = next.block - self.block;
        if blocks > MAX_BLOCKS_APART {
            return false;
        }
        let (apart, block_letters) = (next.last - self.last, u64::from(block_letters));
        // A gram lies anywhere in its block, and edits shift what comes after them.
        let slack = block_letters + apart / 8;
        apart.abs_diff(u64::from(blocks) * block_letters) <= slack
    }
}
