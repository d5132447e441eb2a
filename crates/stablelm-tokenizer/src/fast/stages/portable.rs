//! The stages on bits, without vector instructions.

use super::Stages;
use crate::fast::split::{AsciiMasks, BLOCK_LEN, Lanes, Splitter, Starts};
use crate::fast::unicode::Kinds;

pub(super) struct Portable;

impl Stages for Portable {
    fn split(&self, splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
        splitter.split::<Self>(text, kinds, starts);
    }
}

const LETTER: u8 = 1;
const NUMBER: u8 = 2;
const WHITE: u8 = 4;
const SPACE: u8 = 8;
const APOSTROPHE: u8 = 16;
const WIDE: u8 = 32;
const LEAD: u8 = 64;

/// What each byte is, a bit each.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    loop {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'0'..=b'9' => NUMBER,
            b'\t'..=b'\r' => WHITE,
            b' ' => WHITE | SPACE,
            b'\'' => APOSTROPHE,
            0x80..0xC0 => WIDE,
            0xC0.. => WIDE | LEAD,
            _ => 0,
        };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    kinds
};

impl Lanes for Portable {
    #[inline(always)]
    fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks {
        let mut masks = AsciiMasks::default();
        for (at, &byte) in block.iter().enumerate() {
            let kind = KINDS[usize::from(byte)];
            let bit = |wanted: u8| u64::from(kind & wanted != 0) << at;
            masks.letter |= bit(LETTER);
            masks.number |= bit(NUMBER);
            masks.white |= bit(WHITE);
            masks.space |= bit(SPACE);
            masks.apostrophe |= bit(APOSTROPHE);
            masks.wide |= bit(WIDE);
            masks.lead |= bit(LEAD);
            masks.watched[0] |= u64::from(byte == watched[0]) << at;
            masks.watched[1] |= u64::from(byte == watched[1]) << at;
        }
        masks
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
