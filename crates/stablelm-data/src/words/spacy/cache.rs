//! What a thread remembers of the chunks that it cut: a table of fixed size, without order.
//!
//! A new chunk takes the place of another with the same hash, so neither memory nor time depends on
//! the text, and what is forgotten is only cut again.

use std::ops::Range;

use super::tables::Tables;

/// Slots, each of 32 bytes: 1 MiB a thread.
const SLOTS: usize = 1 << 15;
/// Longest chunk that is kept, in bytes.
const MAX_LEN: usize = 24;
/// Most tokens of a chunk that is kept.
const MAX_TOKENS: usize = 7;
/// In the count of tokens: the matcher finds something in this chunk.
const MUST_MATCH: u8 = 0x80;
/// Bits of the filter for exceptions of letters alone.
const FILTER_BITS: usize = 1 << 14;

/// Chunks of a few bytes and where their tokens end.
pub(super) struct Cache {
    slots: Box<[Slot]>,
    /// A bit for each exception that has letters only, by its hash.
    exceptions: Box<[u64]>,
    longest_exception: usize,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Slot {
    key: [u64; MAX_LEN / 8],
    /// 0 for a slot that holds nothing.
    len: u8,
    /// Tokens, and perhaps [`MUST_MATCH`].
    count: u8,
    /// Where each token but the last ends.
    ends: [u8; MAX_TOKENS - 1],
}

/// A chunk, padded with zeros, and the slot where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Place {
    key: [u64; MAX_LEN / 8],
    slot: usize,
}

/// What the cache says of a chunk.
pub(super) enum Known<'c> {
    Cut(&'c Slot),
    /// Where to keep it, if it is short enough.
    New(Option<Place>),
}

impl Cache {
    pub(super) fn new(tables: &Tables) -> Self {
        let mut exceptions = vec![0; FILTER_BITS / 64].into_boxed_slice();
        let mut longest_exception = 0;
        for (exception, _) in tables.exceptions() {
            if exception.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                let bit = filter_bit(exception.as_bytes(), &(0..exception.len()));
                exceptions[bit / 64] |= 1_u64 << (bit % 64);
                longest_exception = longest_exception.max(exception.len());
            }
        }
        Self {
            slots: vec![Slot::default(); SLOTS].into_boxed_slice(),
            exceptions,
            longest_exception,
        }
    }

    /// Whether a chunk of ASCII letters is surely one word.
    #[inline]
    pub(super) fn is_plain(&self, text: &[u8], place: &Range<usize>) -> bool {
        if place.len() > self.longest_exception {
            return true;
        }
        let bit = filter_bit(text, place);
        self.exceptions[bit / 64] & (1_u64 << (bit % 64)) == 0
    }

    #[inline]
    pub(super) fn find(&self, text: &[u8], place: &Range<usize>) -> Known<'_> {
        let len = place.len();
        if len > MAX_LEN {
            return Known::New(None);
        }
        let key = key_of(text, place);
        let slot = (hash(key) >> 40) as usize % SLOTS;
        let known = &self.slots[slot];
        if usize::from(known.len) == len && known.key == key {
            Known::Cut(known)
        } else {
            Known::New(Some(Place { key, slot }))
        }
    }

    /// Keeps a chunk whose tokens end at `ends`, if there are few enough.
    pub(super) fn keep(&mut self, place: Place, chunk: &str, ends: &[usize], must_match: bool) {
        if ends.len() > MAX_TOKENS {
            return;
        }
        let byte = |number: usize| u8::try_from(number).expect("a kept chunk has few bytes");
        let mut slot = Slot {
            key: place.key,
            len: byte(chunk.len()),
            count: byte(ends.len()) | if must_match { MUST_MATCH } else { 0 },
            ends: [0; MAX_TOKENS - 1],
        };
        for (kept, &end) in slot.ends.iter_mut().zip(ends) {
            *kept = byte(end);
        }
        self.slots[place.slot] = slot;
    }
}

impl Slot {
    #[inline]
    pub(super) fn append_words(&self, place: &Range<usize>, words: &mut Vec<Range<u32>>) {
        let mut start = super::offset(place.start);
        let first = start;
        let inner = usize::from(self.count & !MUST_MATCH) - 1;
        for &end in &self.ends[..inner] {
            let end = first + u32::from(end);
            words.push(start..end);
            start = end;
        }
        words.push(start..super::offset(place.end));
    }

    pub(super) fn must_match(&self) -> bool {
        self.count & MUST_MATCH != 0
    }
}

/// The bytes of a chunk of at most [`MAX_LEN`], padded with zeros.
#[inline]
fn key_of(text: &[u8], place: &Range<usize>) -> [u64; MAX_LEN / 8] {
    let mut key = [0; MAX_LEN / 8];
    if let Some(window) = text.get(place.start..place.start + MAX_LEN) {
        // A fixed number of bytes is read, and those behind the chunk are masked.
        let (words, _) = window.as_chunks::<8>();
        let mut left = place.len();
        for (part, word) in key.iter_mut().zip(words) {
            *part = u64::from_le_bytes(*word) & low_bytes(left);
            left = left.saturating_sub(8);
        }
    } else {
        let mut padded = [0; MAX_LEN];
        padded[..place.len()].copy_from_slice(&text[place.clone()]);
        for (part, word) in key.iter_mut().zip(padded.as_chunks::<8>().0) {
            *part = u64::from_le_bytes(*word);
        }
    }
    key
}

/// A mask for the first `count` bytes of a word.
#[inline]
fn low_bytes(count: usize) -> u64 {
    match count {
        0 => 0,
        1..8 => (1 << (8 * count)) - 1,
        _ => u64::MAX,
    }
}

#[inline]
fn hash(key: [u64; MAX_LEN / 8]) -> u64 {
    // Odd multipliers from the digits of the golden ratio and of the square roots of 2 and 3.
    let [a, b, c] = key;
    let mixed = a.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ b.wrapping_mul(0x6a09_e667_f3bc_c909).rotate_left(23)
        ^ c.wrapping_mul(0xbb67_ae85_84ca_a73b).rotate_left(41);
    (mixed ^ (mixed >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The place of a word of letters in the filter for exceptions, by its length and first letters.
#[inline]
fn filter_bit(text: &[u8], place: &Range<usize>) -> usize {
    let len = place.len();
    let word = match text[place.start..].first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word) & low_bytes(len),
        None => text[place.clone()]
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    let word = word ^ ((len as u64) << 5);
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % FILTER_BITS
}
