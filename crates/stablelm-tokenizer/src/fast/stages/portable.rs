//! The stages on bits, without vector instructions.

use super::lookup;
use super::{Found, Keys, Stages};
use crate::fast::bpe::{self, MAX_MERGE_LEN, Pairs, Symbol};
use crate::fast::cache::Bucket;
use crate::fast::split::{AsciiMasks, BLOCK_LEN, Lanes, Splitter, Starts};
use crate::fast::unicode::Kinds;

pub(super) struct Portable;

impl Stages for Portable {
    fn split(&self, splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
        splitter.split::<Self>(text, kinds, starts);
    }

    fn keys(&self, text: &[u8], starts: &[u32], buckets: &[Bucket], keys: &mut Keys) {
        lookup::keys(text, starts, buckets, keys, |_| {});
    }

    fn find(&self, keys: &Keys, from: usize, buckets: &[Bucket], found: &mut Found) -> usize {
        lookup::find(keys, from, buckets, found)
    }

    fn merge(&self, bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> usize {
        bpe::merge(bytes, pairs, symbols)
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
        let bits = |is_in: fn(u8) -> bool| {
            (block.iter().enumerate())
                .fold(0, |bits, (at, &byte)| bits | u64::from(is_in(byte)) << at)
        };
        AsciiMasks {
            letter: bits(|byte| byte.is_ascii_alphabetic()),
            number: bits(|byte| byte.is_ascii_digit()),
            white: bits(|byte| matches!(byte, b'\t'..=b'\r' | b' ')),
            space: bits(|byte| byte == b' '),
            apostrophe: bits(|byte| byte == b'\''),
            wide: bits(|byte| !byte.is_ascii()),
            watched: watched.map(|wanted| {
                (block.iter().enumerate()).fold(0, |bits, (at, &byte)| {
                    bits | u64::from(byte == wanted) << at
                })
            }),
        }
    }

    #[inline(always)]
    fn push_bits(bits: u64, base: u32, starts: &mut Starts) {
        push_bits(bits, base, starts);
    }
}

/// Appends `base` plus the place of each bit that is set.
#[inline(always)]
pub(super) fn push_bits(mut bits: u64, base: u32, starts: &mut Starts) {
    while bits != 0 {
        starts.push(base + bits.trailing_zeros());
        bits &= bits - 1;
    }
}
