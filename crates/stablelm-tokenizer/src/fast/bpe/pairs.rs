//! Which two symbols merge, and to what.
//!
//! Pairs of bytes have a table of their own. All others lie in a perfect hash of 16-bit
//! fingerprints: the 32 bits of a pair are mixed by a bijection, the low half chooses a
//! displacement, and the slot is the high half moved by it. Slot and low half together give back
//! the whole pair, so that a fingerprint of 16 bits is exact, and a table of 256 KiB and 32 KiB
//! answers in two loads.

use super::{NONE, NUM_BYTES, Symbol};

const NUM_SLOTS: usize = 1 << 16;
const NUM_GROUPS: usize = 1 << 14;
/// Tables that are tried, each with another mix, before giving up.
const MAX_TRIES: u32 = 64;

pub(crate) struct Pairs {
    /// What two bytes merge to.
    of_bytes: Box<[Symbol; NUM_BYTES * NUM_BYTES]>,
    /// How far the slots of a group are moved.
    displacements: Box<[u16; NUM_GROUPS]>,
    /// The low half of a mixed pair above, what the pair merges to below.
    slots: Box<[u32; NUM_SLOTS]>,
    multiplier: u32,
}

impl Pairs {
    /// Takes the parts of every symbol, in order; those of a byte are the byte itself.
    ///
    /// Returns `None` when no table was found, which happens only close to 65,536 merges.
    pub(crate) fn new(parts: &[(Symbol, Symbol)]) -> Option<Self> {
        let merged = || (0..).zip(parts).skip(NUM_BYTES);
        let mut of_bytes = filled(NONE);
        let mut others = Vec::with_capacity(parts.len());
        for (symbol, &(left, right)) in merged() {
            let (left, right) = (usize::from(left), usize::from(right));
            if left < NUM_BYTES && right < NUM_BYTES {
                of_bytes[left << 8 | right] = symbol;
            }
            // Bytes are in this table too, so that whoever does not know what they have asks here.
            others.push((join(parts[usize::from(symbol)]), symbol));
        }
        let (displacements, slots, multiplier) = (1..=MAX_TRIES)
            .map(|number| number.wrapping_mul(0x9E37_79B9) | 1)
            .find_map(|multiplier| {
                let (displacements, slots) = place(&others, multiplier)?;
                Some((displacements, slots, multiplier))
            })?;
        Some(Self {
            of_bytes,
            displacements,
            slots,
            multiplier,
        })
    }

    /// Returns what two symbols merge to, or [`NONE`].
    #[inline(always)]
    pub(crate) fn get(&self, left: Symbol, right: Symbol) -> Symbol {
        let mixed = mix(join((left, right)), self.multiplier);
        let (slot, low) = (mixed >> 16, mixed & 0xFFFF);
        let displacement = self.displacements[low as usize & (NUM_GROUPS - 1)];
        let found = self.slots[(slot as u16 ^ displacement) as usize];
        if found >> 16 == low {
            found as Symbol
        } else {
            NONE
        }
    }

    /// Returns what two bytes merge to, or [`NONE`].
    #[inline(always)]
    pub(crate) fn get_bytes(&self, left: u8, right: u8) -> Symbol {
        self.of_bytes[usize::from(left) << 8 | usize::from(right)]
    }
}

fn join((left, right): (Symbol, Symbol)) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}

/// A bijection of 32 bits: an odd multiplication and a fold can both be undone.
#[inline(always)]
fn mix(pair: u32, multiplier: u32) -> u32 {
    let mixed = pair.wrapping_mul(multiplier);
    (mixed ^ mixed >> 15).wrapping_mul(0x85EB_CA6B)
}

#[expect(
    clippy::unnecessary_box_returns,
    reason = "tables are too large for the stack"
)]
fn filled<T: Copy, const N: usize>(value: T) -> Box<[T; N]> {
    let values = vec![value; N].into_boxed_slice().try_into();
    values.unwrap_or_else(|_| unreachable!("it was made with this length"))
}

type Placed = (Box<[u16; NUM_GROUPS]>, Box<[u32; NUM_SLOTS]>);

/// Finds a displacement for every group, the largest groups first, while there is room.
fn place(pairs: &[(u32, Symbol)], multiplier: u32) -> Option<Placed> {
    let mut groups: Vec<Vec<(u16, u16, Symbol)>> = vec![Vec::new(); NUM_GROUPS];
    for &(pair, symbol) in pairs {
        let mixed = mix(pair, multiplier);
        let (high, low) = ((mixed >> 16) as u16, mixed as u16);
        groups[usize::from(low) & (NUM_GROUPS - 1)].push((high, low, symbol));
    }
    let mut order: Vec<usize> = (0..NUM_GROUPS).collect();
    order.sort_by_key(|&group| std::cmp::Reverse(groups[group].len()));

    let mut is_taken = vec![false; NUM_SLOTS];
    let mut displacements = filled(0_u16);
    // An empty slot answers `NONE` to whoever finds its fingerprint.
    let mut slots = filled(u32::from(NONE));
    for group in order {
        let members = &groups[group];
        let mut highs: Vec<u16> = members.iter().map(|&(high, ..)| high).collect();
        highs.sort_unstable();
        if highs.windows(2).any(|two| two[0] == two[1]) {
            return None;
        }
        let fits = |displacement: &u16| {
            (highs.iter()).all(|high| !is_taken[usize::from(high ^ displacement)])
        };
        // Starting elsewhere each time keeps the first slots from filling up.
        let first = (group as u16).wrapping_mul(40_503);
        let displacement = (0..=u16::MAX).map(|step| first ^ step).find(fits)?;
        displacements[group] = displacement;
        for &(high, low, symbol) in members {
            let slot = usize::from(high ^ displacement);
            is_taken[slot] = true;
            slots[slot] = u32::from(low) << 16 | u32::from(symbol);
        }
    }
    Some((displacements, slots))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_full_vocabulary_is_found_and_nothing_else() {
        let bytes = (0..256).map(|byte| (byte, byte));
        let made = (0..50_009_u32).map(|at| {
            let wild = at.wrapping_mul(2_654_435_761);
            ((wild >> 9) as u16 % 50_000, (at % 50_000) as u16)
        });
        let parts: Vec<_> = bytes.chain(made).collect();
        let pairs = Pairs::new(&parts).expect("there is room");
        let known: HashMap<_, u16> = (parts.iter().copied().zip(0..)).skip(256).collect();
        for (&(left, right), &symbol) in &known {
            assert_eq!(pairs.get(left, right), symbol);
        }
        let mut found = 0;
        for left in (0..65_535).step_by(97) {
            for right in (0..65_535).step_by(89) {
                let expected = known.get(&(left, right)).copied().unwrap_or(NONE);
                assert_eq!(pairs.get(left, right), expected);
                found += u32::from(expected != NONE);
            }
        }
        assert!(found > 0);
        for (left, right) in (0..=255).flat_map(|left| (0..=255).map(move |right| (left, right))) {
            let expected = pairs.get(u16::from(left), u16::from(right));
            assert_eq!(pairs.get_bytes(left, right), expected);
        }
    }
}
