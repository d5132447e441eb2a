//! Makes a list of fingerprints from the works themselves.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::books3::grams::{GRAM_LETTERS, Letters, SAMPLE_BITS, take_grams};
use crate::books3::list::{BLOCK_LETTERS, Layout, MAGIC, VERSION, split_key};
use crate::books3::matches::MIN_LETTERS;

/// Letters in a block of a list, if nobody asks for another number.
pub const DEFAULT_BLOCK_LETTERS: u32 = 112;

/// A gram that more works share is a phrase of the trade (`all rights reserved`) and of no work. Well
/// above the editions and collections in which one work may come.
const MAX_WORKS: usize = 32;
/// A gram of fewer different letters is a table of contents or a line of dots.
const MIN_DIFFERENT_LETTERS: u32 = 7;

/// Collects works and writes them as a list.
#[derive(Debug)]
pub(super) struct Builder {
    block_letters: u32,
    letters: Letters,
    /// Keys with the blocks that they were chosen for.
    entries: Vec<(u64, u32)>,
    /// The first block of each work, and the first that is free.
    first_blocks: Vec<u32>,
    names: String,
    name_ends: Vec<u32>,
    /// Grams of one work: how often each appears.
    seen: HashMap<u64, u32>,
    grams: Vec<(u64, u64)>,
}

impl Builder {
    /// `None` for blocks of a length that lists can't have.
    pub(super) fn new(block_letters: u32) -> Option<Self> {
        BLOCK_LETTERS.contains(&block_letters).then(|| Self {
            block_letters,
            letters: Letters::default(),
            entries: Vec::new(),
            first_blocks: vec![0],
            names: String::new(),
            name_ends: Vec::new(),
            seen: HashMap::new(),
            grams: Vec::new(),
        })
    }

    pub(super) fn works(&self) -> u64 {
        self.name_ends.len() as u64
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Adds a work; false for one that is too short to be found again, or one too many.
    pub(super) fn add(&mut self, name: &str, text: &str) -> bool {
        let Self {
            letters,
            seen,
            grams,
            ..
        } = self;
        seen.clear();
        grams.clear();
        let read = take_grams(text, letters, |gram| {
            let different = gram.letters.iter().fold([0_u64; 4], |mut set, &letter| {
                set[usize::from(letter >> 6)] |= 1 << (letter & 63);
                set
            });
            if different.iter().map(|set| set.count_ones()).sum::<u32>() >= MIN_DIFFERENT_LETTERS {
                *seen.entry(gram.key).or_default() += 1;
                grams.push((gram.key, gram.place));
            }
            ControlFlow::Continue(())
        });
        let first = self.first_blocks.last().copied().unwrap_or(0);
        let blocks = u32::try_from(read / u64::from(self.block_letters) + 1).ok();
        let end = blocks.and_then(|blocks| first.checked_add(blocks));
        let name_end = u32::try_from(self.names.len() + name.len()).ok();
        let (Some(end), Some(name_end), true) = (end, name_end, read >= MIN_LETTERS) else {
            return false;
        };
        // In each block the gram with the least key that appears only once in the work.
        let mut chosen: Option<(u64, u32)> = None;
        for &(key, place) in &self.grams {
            if self.seen.get(&key) != Some(&1) {
                continue;
            }
            let block =
                u32::try_from(place / u64::from(self.block_letters)).map_or(end, |b| first + b);
            match &mut chosen {
                Some((least, same)) if *same == block => *least = key.min(*least),
                _ => {
                    self.entries.extend(chosen.replace((key, block)));
                }
            }
        }
        self.entries.extend(chosen);
        self.first_blocks.push(end);
        self.names.push_str(name);
        self.name_ends.push(name_end);
        true
    }

    /// The bytes of the list.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entries.sort_unstable();
        let mut kept = Vec::with_capacity(self.entries.len());
        for same in self.entries.chunk_by(|one, other| one.0 == other.0) {
            if same.len() <= MAX_WORKS {
                kept.extend_from_slice(same);
            }
        }
        self.entries = kept;
        let bucket_bits = Layout::bucket_bits_for(self.entries());
        // Inside a bucket only the remainder of a key is known; equal ones are ordered by block.
        self.entries
            .sort_unstable_by_key(|&(key, block)| (split_key(key, bucket_bits), block));
        let layout = Layout {
            works: u32::try_from(self.works()).expect("each work has a block, and blocks are u32"),
            entries: self.entries(),
            names_len: self.names.len() as u64,
            bucket_bits,
        };
        self.write(layout)
    }

    fn write(&self, layout: Layout) -> Vec<u8> {
        let len = usize::try_from(layout.len()).expect("the entries are in memory already");
        let mut bytes = Vec::with_capacity(len);
        bytes.extend(MAGIC);
        let parameters = [
            VERSION,
            u32::try_from(GRAM_LETTERS).expect("a small constant"),
            SAMPLE_BITS,
            self.block_letters,
            layout.bucket_bits,
            layout.works,
        ];
        put(&mut bytes, parameters);
        bytes.extend(layout.entries.to_le_bytes());
        bytes.extend(layout.names_len.to_le_bytes());
        put(&mut bytes, self.first_blocks.iter().copied());
        put(&mut bytes, self.name_ends.iter().copied());
        bytes.extend(self.names.as_bytes());
        pad(&mut bytes, layout.buckets());
        let mut entries = self
            .entries
            .iter()
            .map(|&(key, _)| split_key(key, layout.bucket_bits).0);
        let mut next = entries.next();
        let mut end = 0;
        for bucket in 0..=1_u64 << layout.bucket_bits {
            while next.is_some_and(|of| of < bucket) {
                end += 1;
                next = entries.next();
            }
            put(&mut bytes, [end]);
        }
        for &(key, _) in &self.entries {
            bytes.extend(split_key(key, layout.bucket_bits).1.to_le_bytes());
        }
        pad(&mut bytes, layout.blocks());
        put(&mut bytes, self.entries.iter().map(|&(_, block)| block));
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        bytes.extend(number.to_le_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>, to: u64) {
    bytes.resize(
        usize::try_from(to).expect("it is no more than the whole list"),
        0,
    );
}
