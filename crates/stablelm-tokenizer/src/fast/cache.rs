//! What a worker remembers of pretokens: a table that never grows.
//!
//! A bucket is a cache line with two entries of a key and up to seven ids; a key may lie in either of
//! two buckets. A new entry takes a free place, or that of the second entry of its first bucket: the
//! first entry stays, so that what comes first and often, such as the vocabulary itself, is not
//! driven out. Four places also bound what crafted text can do: it is not remembered, and that is
//! all.
//!
//! What does not fit an entry lies in an arena; the entry then has a marked key, which no pretoken
//! has, and says where.

use memmap2::MmapMut;

use super::memory::Place;
use super::stages::{Key, MAX_KEY_LEN, key_of};

/// Two entries of four words: two of the key, two of up to seven ids with their number above.
pub(crate) type Bucket = [u64; 8];

/// The most ids that a key can have and be remembered.
pub(crate) const MAX_IDS: usize = 7;

/// Ids by pretoken, of up to 15 bytes.
pub(crate) struct Table {
    memory: Memory,
}

/// Zeros from the system, in pages that are large where it has such.
enum Memory {
    Mapped(MmapMut),
    Owned(Box<[Bucket]>),
}

impl Table {
    /// Makes an empty table in at most `num_bytes`, and in two buckets at least.
    pub(crate) fn new(num_bytes: usize) -> Self {
        let num_buckets = 1 << (num_bytes / size_of::<Bucket>()).max(2).ilog2();
        Self {
            memory: Memory::zeros(num_buckets),
        }
    }

    pub(crate) fn buckets(&self) -> &[Bucket] {
        match &self.memory {
            Memory::Mapped(map) => bytemuck::cast_slice(map),
            Memory::Owned(buckets) => buckets,
        }
    }

    /// Returns where in the arena a pretoken lies whose key is marked.
    pub(crate) fn find_marked(&self, bucket: usize, key: Key) -> Option<Place> {
        let buckets = self.buckets();
        let (bucket, at) = place_of(key, bucket, buckets)?;
        Some([buckets[bucket][at + 2], buckets[bucket][at + 3]])
    }

    /// Remembers where in the arena a pretoken lies whose key is marked.
    pub(crate) fn insert_marked(&mut self, bucket: usize, key: Key, place: Place) {
        let buckets = self.memory.buckets_mut();
        match place_of(key, bucket, buckets) {
            Some((bucket, at)) => buckets[bucket][at + 2..at + 4].copy_from_slice(&place),
            None => self.insert_words(bucket, key, place),
        }
    }

    /// Remembers the ids of a pretoken that is not remembered.
    ///
    /// # Panics
    ///
    /// When there are more than [`MAX_IDS`].
    pub(crate) fn insert(&mut self, bucket: usize, key: Key, ids: &[u16]) {
        let mut words = [0_u16; 8];
        words[..ids.len()].copy_from_slice(ids);
        words[MAX_IDS] = u16::try_from(ids.len()).expect("at most seven");
        let words: [u64; 2] = bytemuck::cast(words);
        self.insert_words(bucket, key, words.map(u64::from_le));
    }

    fn insert_words(&mut self, bucket: usize, key: Key, words: [u64; 2]) {
        let buckets = self.memory.buckets_mut();
        // A key is never all zeros: it has its length in it.
        let free = places(key, bucket, buckets.len())
            .into_iter()
            .find(|&(bucket, at)| buckets[bucket][at + 1] == 0);
        let (bucket, at) = free.unwrap_or((bucket, 4));
        buckets[bucket][at..at + 4].copy_from_slice(&[key[0], key[1], words[0], words[1]]);
    }

    /// Remembers a pretoken without looking at it first.
    pub(crate) fn seed(&mut self, pretoken: &[u8], ids: &[u16]) {
        debug_assert!(pretoken.len() <= MAX_KEY_LEN);
        let key = key_of(pretoken);
        self.insert(bucket_of(key, self.buckets().len()), key, ids);
    }
}

/// Returns a number that depends on every bit of a key: both halves of a product, folded.
#[inline(always)]
fn hash(key: Key) -> u64 {
    let [low, high] = [
        key[0] ^ 0x2D35_8DCC_AA6C_78A5,
        key[1] ^ 0x8BB8_4B93_962E_ACC9,
    ];
    let product = u128::from(low) * u128::from(high);
    product as u64 ^ (product >> 64) as u64
}

/// Returns the bucket where a key lies, of a power of two.
#[inline(always)]
pub(crate) fn bucket_of(key: Key, num_buckets: usize) -> usize {
    (hash(key) >> 32) as usize & (num_buckets - 1)
}

/// Returns the bucket where a key lies when its own has no room.
#[inline(always)]
pub(crate) fn other_bucket(key: Key, bucket: usize, num_buckets: usize) -> usize {
    (bucket ^ (hash(key) as usize | 1)) & (num_buckets - 1)
}

/// Returns where a key lies. Its other bucket is looked at only when its first is full.
fn place_of(key: Key, bucket: usize, buckets: &[Bucket]) -> Option<(usize, usize)> {
    let places = places(key, bucket, buckets.len()).into_iter();
    let mut used = places.take_while(|&(bucket, at)| buckets[bucket][at + 1] != 0);
    used.find(|&(bucket, at)| buckets[bucket][at..at + 2] == key)
}

/// Returns the four places where a key may lie, the first choice first.
fn places(key: Key, bucket: usize, num_buckets: usize) -> [(usize, usize); 4] {
    let other = other_bucket(key, bucket, num_buckets);
    [(bucket, 0), (bucket, 4), (other, 0), (other, 4)]
}

impl Memory {
    fn zeros(num_buckets: usize) -> Self {
        let Ok(map) = MmapMut::map_anon(num_buckets * size_of::<Bucket>()) else {
            return Self::Owned(vec![[0; 8]; num_buckets].into());
        };
        // Advice that is not taken costs speed only.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Self::Mapped(map)
    }

    fn buckets_mut(&mut self) -> &mut [Bucket] {
        match self {
            Self::Mapped(map) => bytemuck::cast_slice_mut(map),
            Self::Owned(buckets) => buckets,
        }
    }
}
