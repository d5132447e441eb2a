//! The stages with AVX-512 and VBMI2: Intel since Ice Lake, AMD since Zen 4.

use std::arch::x86_64::{
    __m128i, __m512i, __mmask8, __mmask16, _bzhi_u32, _mm_cvtsi128_si32, _mm_cvtsi128_si64,
    _mm_extract_epi64, _mm_loadu_si128, _mm_mask_mov_epi16, _mm_mask_set1_epi16,
    _mm_maskz_loadu_epi8, _mm_min_epu16, _mm_minpos_epu16, _mm_set_epi16, _mm_set1_epi16,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_min_epu16, _mm512_add_epi32,
    _mm512_broadcast_i64x2, _mm512_castsi512_si128, _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask,
    _mm512_cmpeq_epi16_mask, _mm512_cmpeq_epi64_mask, _mm512_cmpge_epu8_mask,
    _mm512_cmple_epu8_mask, _mm512_cvtepu8_epi32, _mm512_extracti32x4_epi32,
    _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_mask_set1_epi16,
    _mm512_maskz_compress_epi8, _mm512_movepi8_mask, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi16, _mm512_set1_epi32, _mm512_storeu_si512, _mm512_sub_epi8,
};

use super::avx2::{gather, prefetch};
use super::lookup::{BATCH_LEN, MAX_KEY_LEN};
use super::{Found, Keys, Stages};
use crate::fast::bpe::{MAX_MERGE_LEN, NONE, Pairs, Symbol};
use crate::fast::cache::{Bucket, bucket_of, other_bucket};
use crate::fast::split::{AsciiMasks, BLOCK_LEN, Lanes, Splitter, Starts};
use crate::fast::unicode::Kinds;

/// Exists only where the instructions do: [`stages`](super::stages) asks first.
pub(super) struct Avx512;

pub(super) fn is_available() -> bool {
    super::avx2::is_available()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vbmi2")
}

impl Stages for Avx512 {
    fn split(&self, splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
        // SAFETY: `Avx512` is given out only where these instructions exist.
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

#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
fn split(splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
    splitter.split::<Avx512>(text, kinds, starts);
}

/// Makes keys as [`lookup::keys`] does; reads no byte beyond a pretoken.
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
fn make_keys(text: &[u8], starts: &[u32], buckets: &[Bucket], keys: &mut Keys) {
    let len = (starts.len() - 1).min(BATCH_LEN);
    let starts = &starts[..=len];
    assert!(starts[len] as usize <= text.len());
    debug_assert!(starts.is_sorted());
    let places = keys.values[..len].iter_mut().zip(&mut keys.buckets[..len]);
    for ((value, bucket), bounds) in places.zip(starts.windows(2)) {
        let len = (bounds[1] - bounds[0]).min(MAX_KEY_LEN as u32 + 1);
        let mask = _bzhi_u32(0x7FFF, len) as __mmask16;
        // SAFETY: starts ascend up to one within the text. Only bytes of the pretoken are read, at
        // most 15 of them.
        let bytes = unsafe {
            let pretoken = text.as_ptr().add(bounds[0] as usize);
            _mm_maskz_loadu_epi8(mask, pretoken.cast())
        };
        let low = _mm_cvtsi128_si64(bytes) as u64;
        let high = _mm_extract_epi64::<1>(bytes) as u64 | u64::from(len) << 56;
        *value = [low, high];
        let place = bucket_of(*value, buckets.len());
        prefetch(&buckets[place]);
        *bucket = place as u32;
    }
    keys.len = len;
}

/// Finds ids as [`lookup::find`] does, with both entries of a bucket compared at once.
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
fn find(keys: &Keys, from: usize, buckets: &[Bucket], found: &mut Found) -> usize {
    let mut len = found.len;
    let mut at = from;
    while at < keys.len {
        let key = &keys.values[at];
        // SAFETY: a key has the 16 bytes that are read.
        let key = unsafe { _mm_loadu_si128(key.as_ptr().cast()) };
        let key = _mm512_broadcast_i64x2(key);
        let bucket = keys.buckets[at] as usize;
        let mut entries = &buckets[bucket];
        let mut place = place_of(key, entries);
        // A key goes to its other bucket only when this one is full.
        if place == 0 && entries[5] != 0 {
            entries = &buckets[other_bucket(keys.values[at], bucket, buckets.len())];
            place = place_of(key, entries);
        }
        if place == 0 {
            break;
        }
        // The lowest bit is that of the first word of the entry.
        let ids = &entries[(place.trailing_zeros() as usize & 4) + 2..][..2];
        let room = found.ids[len..].first_chunk_mut::<8>();
        *room.expect("there is room") = bytemuck::cast([ids[0], ids[1]]);
        len += (ids[1] >> 48) as usize;
        at += 1;
    }
    found.len = len;
    at
}

/// Returns a bit for each entry with this key, in the place of its first word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn place_of(key: __m512i, bucket: &Bucket) -> u8 {
    // SAFETY: a bucket has the 64 bytes that are read.
    let bucket = unsafe { _mm512_loadu_si512(bucket.as_ptr().cast()) };
    let same = _mm512_cmpeq_epi64_mask(bucket, key);
    same & same >> 1 & 0b1_0001
}

impl Lanes for Avx512 {
    #[inline(always)]
    fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
        // SAFETY: called only by `split`, which has these instructions.
        unsafe { classify(block, watched) }
    }

    #[inline(always)]
    fn push_bits(bits: u64, base: u32, starts: &mut Starts) {
        // SAFETY: as above.
        unsafe { push_bits(bits, base, starts) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
    // SAFETY: a block has the 64 bytes that are read.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    let space = is(bytes, b' ');
    AsciiMasks {
        letter: is_within(_mm512_or_si512(bytes, _mm512_set1_epi8(0x20)), b'a', b'z'),
        number: is_within(bytes, b'0', b'9'),
        white: is_within(bytes, b'\t', b'\r') | space,
        space,
        apostrophe: is(bytes, b'\''),
        wide: _mm512_movepi8_mask(bytes),
        lead: _mm512_cmpge_epu8_mask(bytes, _mm512_set1_epi8(0xC0_u8.cast_signed())),
        watched: watched.map(|wanted| is(bytes, wanted)),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn is(bytes: __m512i, byte: u8) -> u64 {
    _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn is_within(bytes: __m512i, first: u8, last: u8) -> u64 {
    let above = _mm512_sub_epi8(bytes, _mm512_set1_epi8(first.cast_signed()));
    _mm512_cmple_epu8_mask(above, _mm512_set1_epi8((last - first).cast_signed()))
}

/// The numbers of the bytes in a block.
const PLACES: [u8; BLOCK_LEN] = {
    let mut places = [0; BLOCK_LEN];
    let mut at = 0;
    while at < BLOCK_LEN {
        places[at] = at as u8;
        at += 1;
    }
    places
};

/// Presses the places whose bit is set together, and widens them sixteen at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
fn push_bits(bits: u64, base: u32, starts: &mut Starts) {
    // SAFETY: there are 64 places to read.
    let places = unsafe { _mm512_loadu_si512(PLACES.as_ptr().cast()) };
    let places = _mm512_maskz_compress_epi8(bits, places);
    let base = _mm512_set1_epi32(base.cast_signed());
    let room = starts.places[starts.len..].first_chunk_mut::<BLOCK_LEN>();
    let room = room.expect("a batch has room for two blocks").as_mut_ptr();
    let num = bits.count_ones() as usize;
    starts.len += num;
    let quarters = [
        _mm512_castsi512_si128(places),
        _mm512_extracti32x4_epi32::<1>(places),
        _mm512_extracti32x4_epi32::<2>(places),
        _mm512_extracti32x4_epi32::<3>(places),
    ];
    for (at, quarter) in quarters.into_iter().enumerate() {
        if at >= 2 && num <= 16 * at {
            break;
        }
        let wide = _mm512_add_epi32(_mm512_cvtepu8_epi32(quarter), base);
        // SAFETY: there is room for 64 places, and this is one quarter of them.
        unsafe { _mm512_storeu_si512(room.add(16 * at).cast(), wide) };
    }
}

/// Merges as the reference does, with all candidates in one register.
///
/// Symbols stay where their first byte was; a bit a place says which are left. A candidate is what
/// the symbol at its place merges to with the next one.
#[target_feature(
    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vbmi2,bmi1,bmi2,lzcnt,popcnt"
)]
fn merge(bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> usize {
    if bytes.len() <= Eight::NUM_BYTES {
        merge_in(
            Eight::new(bytes, pairs, symbols),
            bytes.len(),
            pairs,
            symbols,
        )
    } else {
        merge_in(All::new(bytes, pairs, symbols), bytes.len(), pairs, symbols)
    }
}

/// Whether there is a symbol before or after can't be foretold, so that nothing here branches on it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,lzcnt")]
fn merge_in<C: Candidates>(
    mut candidates: C,
    len: usize,
    pairs: &Pairs,
    symbols: &mut [Symbol; MAX_MERGE_LEN],
) -> usize {
    let mut alive = u32::MAX >> (MAX_MERGE_LEN - len);
    loop {
        let (symbol, at) = candidates.smallest();
        if symbol == NONE {
            break;
        }
        symbols[at as usize] = symbol;
        // The lowest bit is the symbol that was merged, the one above it is the next.
        let after = alive & (u32::MAX << at << 1);
        let merged = after & after.wrapping_neg();
        alive &= !merged;
        let after = after & !merged;
        let next = after.trailing_zeros() as usize % MAX_MERGE_LEN;
        let right = pairs.get(symbol, symbols[next]);
        let right = std::hint::select_unpredictable(after == 0, NONE, right);

        let before = alive & !(u32::MAX << at);
        let previous = (before | 1).ilog2();
        let left = pairs.get(symbols[previous as usize], symbol);

        candidates.set(merged, NONE);
        candidates.set(1 << at, right);
        candidates.set(before & 1 << previous, left);
    }
    gather(alive, symbols)
}

/// Candidates in a register.
trait Candidates {
    /// Returns the smallest candidate, and the first place where it stands.
    fn smallest(&self) -> (Symbol, u32);

    /// Puts a candidate in the places whose bit is set.
    fn set(&mut self, places: u32, symbol: Symbol);
}

/// Candidates of up to nine bytes.
struct Eight(__m128i);

impl Eight {
    const NUM_BYTES: usize = 9;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi2")]
    fn new(bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> Self {
        let len = bytes.len().min(Self::NUM_BYTES);
        let mut padded = [0_u8; 16];
        padded[..len].copy_from_slice(&bytes[..len]);
        for (symbol, &byte) in symbols.iter_mut().zip(&padded) {
            *symbol = Symbol::from(byte);
        }
        let pair = |at: usize| pairs.get_bytes(padded[at], padded[at + 1]).cast_signed();
        let all = _mm_set_epi16(
            pair(7),
            pair(6),
            pair(5),
            pair(4),
            pair(3),
            pair(2),
            pair(1),
            pair(0),
        );
        let is_pair = _bzhi_u32(0xFF, len as u32 - 1) as __mmask8;
        Self(_mm_mask_mov_epi16(
            _mm_set1_epi16(NONE.cast_signed()),
            is_pair,
            all,
        ))
    }
}

impl Candidates for Eight {
    #[inline(always)]
    fn smallest(&self) -> (Symbol, u32) {
        // SAFETY: made and used only where the instructions exist.
        let both = unsafe { _mm_cvtsi128_si32(_mm_minpos_epu16(self.0)) } as u32;
        (both as Symbol, both >> 16 & 7)
    }

    #[inline(always)]
    fn set(&mut self, places: u32, symbol: Symbol) {
        // A merged symbol at place 8 has no candidate of its own.
        // SAFETY: as above.
        self.0 = unsafe { _mm_mask_set1_epi16(self.0, places as __mmask8, symbol.cast_signed()) };
    }
}

/// Candidates of up to 32 bytes.
struct All(__m512i);

impl All {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn new(bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> Self {
        let mut candidates = [NONE; MAX_MERGE_LEN];
        symbols[0] = Symbol::from(bytes[0]);
        for (at, two) in bytes.windows(2).enumerate() {
            candidates[at] = pairs.get_bytes(two[0], two[1]);
            symbols[at + 1] = Symbol::from(two[1]);
        }
        // SAFETY: 32 symbols are the 64 bytes that are read.
        Self(unsafe { _mm512_loadu_si512(candidates.as_ptr().cast()) })
    }
}

impl Candidates for All {
    #[inline(always)]
    fn smallest(&self) -> (Symbol, u32) {
        // SAFETY: made and used only where the instructions exist.
        unsafe { smallest(self.0) }
    }

    #[inline(always)]
    fn set(&mut self, places: u32, symbol: Symbol) {
        // SAFETY: as above.
        self.0 = unsafe { _mm512_mask_set1_epi16(self.0, places, symbol.cast_signed()) };
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn smallest(candidates: __m512i) -> (Symbol, u32) {
    let halves = _mm256_min_epu16(
        _mm512_castsi512_si256(candidates),
        _mm512_extracti64x4_epi64::<1>(candidates),
    );
    let quarter = _mm_min_epu16(
        _mm256_castsi256_si128(halves),
        _mm256_extracti128_si256::<1>(halves),
    );
    let symbol = _mm_cvtsi128_si32(_mm_minpos_epu16(quarter)) as Symbol;
    let wanted = _mm512_set1_epi16(symbol.cast_signed());
    let places = _mm512_cmpeq_epi16_mask(candidates, wanted);
    (symbol, places.trailing_zeros())
}
