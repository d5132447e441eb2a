//! The stages with AVX2, for x86-64 since 2013.

use std::arch::x86_64::{
    __m256i, _MM_HINT_T0, _mm_cmpeq_epi16, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_min_epu16,
    _mm_minpos_epu16, _mm_movemask_epi8, _mm_prefetch, _mm_set1_epi16, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_max_epu8, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_sub_epi8,
};

use super::lookup;
use super::{Found, Keys, Stages};
use crate::fast::bpe::{MAX_MERGE_LEN, NONE, Pairs, Symbol};
use crate::fast::cache::Bucket;
use crate::fast::split::{AsciiMasks, BLOCK_LEN, Lanes, Splitter, Starts};
use crate::fast::unicode::Kinds;

/// Exists only where the instructions do: [`stages`](super::stages) asks first.
pub(super) struct Avx2;

pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

impl Stages for Avx2 {
    fn split(&self, splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
        // SAFETY: `Avx2` is given out only where these instructions exist.
        unsafe { split(splitter, text, kinds, starts) }
    }

    fn keys(&self, text: &[u8], starts: &[u32], buckets: &[Bucket], keys: &mut Keys) {
        // SAFETY: as above.
        unsafe { make_keys(text, starts, buckets, keys) }
    }

    fn find(&self, keys: &Keys, from: usize, buckets: &[Bucket], found: &mut Found) -> usize {
        // SAFETY: as above.
        unsafe { find(keys, from, buckets, found) }
    }

    fn merge(&self, bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> usize {
        // SAFETY: as above.
        unsafe { merge(bytes, pairs, symbols) }
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn split(splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
    splitter.split::<Avx2>(text, kinds, starts);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn make_keys(text: &[u8], starts: &[u32], buckets: &[Bucket], keys: &mut Keys) {
    lookup::keys(text, starts, buckets, keys, prefetch);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn find(keys: &Keys, from: usize, buckets: &[Bucket], found: &mut Found) -> usize {
    lookup::find(keys, from, buckets, found)
}

#[inline(always)]
pub(super) fn prefetch(bucket: &Bucket) {
    // SAFETY: a prefetch of any address is allowed, and this one is of a reference.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(bucket).cast()) }
}

impl Lanes for Avx2 {
    #[inline(always)]
    fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
        // SAFETY: called only by `split`, which has these instructions.
        unsafe { classify(block, watched) }
    }

    #[inline(always)]
    fn push_bits(mut bits: u64, base: u32, starts: &mut Starts) {
        let len = starts.len;
        starts.len += bits.count_ones() as usize;
        // Eight at a time, whether or not there are as many: what is too much is overwritten.
        let mut at = len;
        while bits != 0 {
            let places = starts.places[at..].first_chunk_mut::<8>();
            for place in places.expect("a batch has room for two blocks") {
                *place = base.wrapping_add(bits.trailing_zeros());
                bits &= bits.wrapping_sub(1);
            }
            at += 8;
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
    let (low, high) = block.split_at(BLOCK_LEN / 2);
    // SAFETY: each half has the 32 bytes that are read.
    let halves = unsafe {
        [
            _mm256_loadu_si256(low.as_ptr().cast()),
            _mm256_loadu_si256(high.as_ptr().cast()),
        ]
    };
    AsciiMasks {
        letter: bits(halves, |bytes| {
            let lower = _mm256_or_si256(bytes, _mm256_set1_epi8(0x20));
            is_within(lower, b'a', b'z')
        }),
        number: bits(halves, |bytes| is_within(bytes, b'0', b'9')),
        white: bits(halves, |bytes| {
            _mm256_or_si256(is_within(bytes, b'\t', b'\r'), is(bytes, b' '))
        }),
        space: bits(halves, |bytes| is(bytes, b' ')),
        apostrophe: bits(halves, |bytes| is(bytes, b'\'')),
        // The highest bit of a byte is what is moved into the mask.
        wide: bits(halves, |bytes| bytes),
        lead: bits(halves, |bytes| {
            let first = _mm256_set1_epi8(0xC0_u8.cast_signed());
            _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, first), bytes)
        }),
        watched: watched.map(|wanted| bits(halves, |bytes| is(bytes, wanted))),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn bits(halves: [__m256i; 2], is_in: impl Fn(__m256i) -> __m256i) -> u64 {
    let [low, high] = halves.map(|half| _mm256_movemask_epi8(is_in(half)) as u32);
    u64::from(low) | u64::from(high) << 32
}

#[inline]
#[target_feature(enable = "avx2")]
fn is(bytes: __m256i, byte: u8) -> __m256i {
    _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(byte.cast_signed()))
}

/// Compares without sign: what is not above a bound is its own minimum with it.
#[inline]
#[target_feature(enable = "avx2")]
fn is_within(bytes: __m256i, first: u8, last: u8) -> __m256i {
    let above = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first.cast_signed()));
    let bound = _mm256_set1_epi8((last - first).cast_signed());
    _mm256_cmpeq_epi8(_mm256_min_epu8(above, bound), above)
}

/// Merges as the reference does, with the smallest of all candidates found at once.
///
/// Symbols stay where their first byte was; a bit a place says which are left. `candidates[at]` is
/// what the symbol at a place merges to with the next one.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn merge(bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> usize {
    let mut candidates = [NONE; MAX_MERGE_LEN];
    symbols[0] = Symbol::from(bytes[0]);
    for (at, two) in bytes.windows(2).enumerate() {
        candidates[at] = pairs.get_bytes(two[0], two[1]);
        symbols[at + 1] = Symbol::from(two[1]);
    }
    let mut alive = u32::MAX >> (MAX_MERGE_LEN - bytes.len());
    loop {
        let (symbol, at) = smallest(&candidates, bytes.len());
        if symbol == NONE {
            break;
        }
        symbols[at] = symbol;
        let after = alive & (u32::MAX << at << 1);
        let merged = after.trailing_zeros();
        alive &= !(1 << merged);
        candidates[merged as usize] = NONE;
        let after = after & (after - 1);
        candidates[at] = if after == 0 {
            NONE
        } else {
            pairs.get(symbol, symbols[after.trailing_zeros() as usize])
        };
        let before = alive & !(u32::MAX << at);
        if before != 0 {
            let previous = before.ilog2() as usize;
            candidates[previous] = pairs.get(symbols[previous], symbol);
        }
    }
    gather(alive, symbols)
}

/// Moves the symbols that are left to the front; returns their number.
#[inline(always)]
pub(super) fn gather(mut alive: u32, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> usize {
    let mut len = 0;
    while alive != 0 {
        symbols[len] = symbols[alive.trailing_zeros() as usize];
        alive &= alive - 1;
        len += 1;
    }
    len
}

/// Returns the smallest of the first candidates, and the first place where it stands.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
fn smallest(candidates: &[Symbol; MAX_MERGE_LEN], len: usize) -> (Symbol, usize) {
    // SAFETY: four times eight symbols are what there is.
    let parts = unsafe {
        let at = candidates.as_ptr();
        [0, 8, 16, 24].map(|first| _mm_loadu_si128(at.add(first).cast()))
    };
    if len <= 8 {
        // The instruction finds the first place, too.
        let both = _mm_cvtsi128_si32(_mm_minpos_epu16(parts[0])) as u32;
        return (both as Symbol, (both >> 16) as usize & 7);
    }
    let least = _mm_min_epu16(
        _mm_min_epu16(parts[0], parts[1]),
        _mm_min_epu16(parts[2], parts[3]),
    );
    let symbol = _mm_cvtsi128_si32(_mm_minpos_epu16(least)) as Symbol;
    let wanted = _mm_set1_epi16(symbol.cast_signed());
    let places = parts.map(|part| _mm_movemask_epi8(_mm_cmpeq_epi16(part, wanted)) as u64);
    let bits = places[0] | places[1] << 16 | places[2] << 32 | places[3] << 48;
    (symbol, bits.trailing_zeros() as usize / 2)
}
