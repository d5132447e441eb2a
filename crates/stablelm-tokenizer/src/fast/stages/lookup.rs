//! Pretokens that were seen before: their keys, and their ids.

use crate::fast::cache::{Bucket, bucket_of, other_bucket};

/// Pretokens that are looked up together, so that memory answers while others are prepared.
pub(crate) const BATCH_LEN: usize = 128;

/// The longest pretoken that has a key.
pub(crate) const MAX_KEY_LEN: usize = 15;

/// A pretoken of up to 15 bytes as a number: the bytes, zeros, and the length in the last byte.
pub(crate) type Key = [u64; 2];

/// The keys of a batch, and the buckets where they may lie.
pub(crate) struct Keys {
    pub(crate) values: [Key; BATCH_LEN],
    pub(crate) buckets: [u32; BATCH_LEN],
    pub(crate) len: usize,
}

impl Keys {
    pub(crate) fn new() -> Self {
        Self {
            values: [[0; 2]; BATCH_LEN],
            buckets: [0; BATCH_LEN],
            len: 0,
        }
    }
}

/// Ids of some batches, written in steps of [`Found::STEP`] at most.
pub(crate) struct Found {
    pub(crate) ids: Box<[u16; Found::CAPACITY]>,
    pub(crate) len: usize,
}

impl Found {
    /// Ids that one pretoken with a key can have, and that are written at once.
    pub(crate) const STEP: usize = 16;
    /// Ids of a batch, and what is written beyond the last.
    const BATCH: usize = (BATCH_LEN + 1) * Self::STEP;
    const CAPACITY: usize = 2 * Self::BATCH;

    pub(crate) fn new() -> Self {
        Self {
            ids: Box::new([0; Self::CAPACITY]),
            len: 0,
        }
    }

    /// Whether there is room for the ids of another batch.
    pub(crate) fn has_room(&self) -> bool {
        self.len + Self::BATCH <= Self::CAPACITY
    }

    pub(crate) fn as_slice(&self) -> &[u16] {
        &self.ids[..self.len]
    }

    pub(crate) fn push(&mut self, ids: &[u16]) {
        self.ids[self.len..][..ids.len()].copy_from_slice(ids);
        self.len += ids.len();
    }
}

/// Returns the key of a pretoken that starts a text and has up to 15 bytes.
pub(crate) fn key_of(pretoken: &[u8]) -> Key {
    let mut bytes = [0; 16];
    bytes[..pretoken.len()].copy_from_slice(pretoken);
    key_in(bytes, pretoken.len())
}

/// Returns the key of a pretoken, given the 16 bytes from its start.
///
/// A longer one gets a key that is never remembered, because of its length.
#[inline(always)]
fn key_in(bytes: [u8; 16], len: usize) -> Key {
    let len = len.min(MAX_KEY_LEN + 1) as u32;
    let number = u128::from_le_bytes(bytes);
    let low = number as u64 & (u64::MAX >> (64 - (8 * len).min(64)));
    let num_bits = (8 * len).saturating_sub(64).min(56);
    let high = (number >> 64) as u64 & ((1 << num_bits) - 1);
    [low, high | u64::from(len) << 56]
}

/// Returns the key of a pretoken whose ids lie elsewhere, given its first key: with a mark instead of
/// the length, which no first key has.
///
/// Two pretokens may have the same; their bytes are compared.
pub(crate) fn marked(key: Key, len: usize) -> Key {
    let mark = if len > MAX_KEY_LEN + 1 {
        len
    } else {
        len | 0x80
    };
    [key[0], key[1] & (u64::MAX >> 8) | (mark as u64) << 56]
}

/// Makes the keys of a batch: each start up to the next is a pretoken.
#[inline(always)]
pub(super) fn keys(
    text: &[u8],
    starts: &[u32],
    buckets: &[Bucket],
    keys: &mut Keys,
    prefetch: impl Fn(&Bucket),
) {
    let len = (starts.len() - 1).min(BATCH_LEN);
    for (at, bounds) in starts[..=len].windows(2).enumerate() {
        let (start, end) = (bounds[0] as usize, bounds[1] as usize);
        let bytes = match text.get(start..start + 16) {
            Some(bytes) => bytes.try_into().expect("16 bytes"),
            None => last_bytes(text, start),
        };
        let key = key_in(bytes, end - start);
        let bucket = bucket_of(key, buckets.len());
        prefetch(&buckets[bucket]);
        keys.values[at] = key;
        keys.buckets[at] = bucket as u32;
    }
    keys.len = len;
}

#[cold]
fn last_bytes(text: &[u8], start: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    let rest = &text[start..];
    bytes[..rest.len()].copy_from_slice(rest);
    bytes
}

/// Writes the ids of a batch from a place on; returns the place of the first that is unknown.
#[inline(always)]
pub(super) fn find(keys: &Keys, from: usize, buckets: &[Bucket], found: &mut Found) -> usize {
    let mut len = found.len;
    let mut at = from;
    while at < keys.len {
        let (key, bucket) = (keys.values[at], keys.buckets[at] as usize);
        let mut entries = &buckets[bucket];
        let mut place = place_of(entries, key);
        // A key goes to its other bucket only when this one is full.
        if place == UNKNOWN && entries[5] != 0 {
            entries = &buckets[other_bucket(key, bucket, buckets.len())];
            place = place_of(entries, key);
        }
        if place == UNKNOWN {
            break;
        }
        let [low, high] = [entries[place + 2], entries[place + 3]];
        let ids = found.ids[len..].first_chunk_mut::<8>();
        *ids.expect("there is room") = bytemuck::cast([low.to_le(), high.to_le()]);
        len += (high >> 48) as usize;
        at += 1;
    }
    found.len = len;
    at
}

/// A place that no entry has.
const UNKNOWN: usize = 2;

/// Returns where in a bucket the entry of a key starts, or [`UNKNOWN`].
///
/// Which of the two it is can't be foretold, so that choosing must not be a branch.
#[inline(always)]
fn place_of(bucket: &Bucket, key: Key) -> usize {
    let is_first = (bucket[0] ^ key[0] | bucket[1] ^ key[1]) == 0;
    let is_second = (bucket[4] ^ key[0] | bucket[5] ^ key[1]) == 0;
    let place = if is_first { 0 } else { 4 };
    std::hint::select_unpredictable(is_first | is_second, place, UNKNOWN)
}
