//! The stages with NEON, which every 64-bit Arm processor has.

use std::arch::aarch64::{
    uint8x16_t, vandq_u8, vceqq_u8, vcgeq_u8, vcleq_u8, vdupq_n_u8, vgetq_lane_u64, vld1q_u8,
    vorrq_u8, vpaddq_u8, vreinterpretq_u64_u8, vsubq_u8,
};

use super::Stages;
use crate::fast::split::{AsciiMasks, BLOCK_LEN, Lanes, Splitter, Starts};
use crate::fast::unicode::Kinds;

pub(super) struct Neon;

impl Stages for Neon {
    fn split(&self, splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
        splitter.split::<Self>(text, kinds, starts);
    }
}

impl Lanes for Neon {
    #[inline(always)]
    fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
        // SAFETY: a block has four times the 16 bytes that are read, and NEON is always there.
        unsafe { classify(block, watched) }
    }

    #[inline(always)]
    fn push_bits(bits: u64, base: u32, starts: &mut Starts) {
        super::portable::push_bits(bits, base, starts);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
    // SAFETY: a block has four times the 16 bytes that are read.
    let parts = [0, 16, 32, 48].map(|at| unsafe { vld1q_u8(block.as_ptr().add(at)) });
    AsciiMasks {
        letter: bits(parts, |bytes| {
            is_within(vorrq_u8(bytes, vdupq_n_u8(0x20)), b'a', b'z')
        }),
        number: bits(parts, |bytes| is_within(bytes, b'0', b'9')),
        white: bits(parts, |bytes| {
            vorrq_u8(is_within(bytes, b'\t', b'\r'), is(bytes, b' '))
        }),
        space: bits(parts, |bytes| is(bytes, b' ')),
        apostrophe: bits(parts, |bytes| is(bytes, b'\'')),
        wide: bits(parts, |bytes| vcgeq_u8(bytes, vdupq_n_u8(0x80))),
        lead: bits(parts, |bytes| vcgeq_u8(bytes, vdupq_n_u8(0xC0))),
        watched: watched.map(|wanted| bits(parts, |bytes| is(bytes, wanted))),
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn is(bytes: uint8x16_t, byte: u8) -> uint8x16_t {
    vceqq_u8(bytes, vdupq_n_u8(byte))
}

#[inline]
#[target_feature(enable = "neon")]
fn is_within(bytes: uint8x16_t, first: u8, last: u8) -> uint8x16_t {
    vcleq_u8(vsubq_u8(bytes, vdupq_n_u8(first)), vdupq_n_u8(last - first))
}

/// The bit of each byte in a group of eight.
const WEIGHTS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];

/// Returns a bit a byte: each byte keeps its own bit, and three times neighbors are added.
#[inline]
#[target_feature(enable = "neon")]
fn bits(parts: [uint8x16_t; 4], is_in: impl Fn(uint8x16_t) -> uint8x16_t) -> u64 {
    // SAFETY: there are 16 weights to read.
    let weights = unsafe { vld1q_u8(WEIGHTS.as_ptr()) };
    let [a, b, c, d] = parts.map(|part| vandq_u8(is_in(part), weights));
    let pairs = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(pairs, pairs)))
}
