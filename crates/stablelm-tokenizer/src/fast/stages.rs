//! The stages of encoding, each in a version for every kind of processor.
//!
//! All versions give the same: `scalar` is the one to read, and the one that tests compare the
//! others with.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lookup;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod scalar;

use super::bpe::{self, MAX_MERGE_LEN, Pairs, Symbol};
use super::cache::Bucket;
use super::split::{Splitter, Starts};
use super::unicode::Kinds;

pub(crate) use lookup::{Found, Key, Keys, MAX_KEY_LEN, key_of, marked};

/// Instructions that the fast engine can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Instructions {
    /// The pattern followed character by character: slow, and easy to check.
    Scalar,
    /// The arithmetic on bits that all faster ones share, in plain Rust.
    Portable,
    /// AVX2 on x86-64.
    Avx2,
    /// AVX-512 with VBMI2 on x86-64.
    Avx512,
    /// NEON on 64-bit Arm.
    Neon,
}

impl Instructions {
    /// Returns what this processor can do, the fastest last.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::Scalar, Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(avx2::is_available().then_some(Self::Avx2));
            all.extend(avx512::is_available().then_some(Self::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self::Neon);
        all
    }

    /// Returns the name, as reports spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        }
    }
}

/// The stages that are worth vector instructions. Each call does the work of a batch; what is given
/// here is plain Rust.
pub(crate) trait Stages: Sync {
    /// Appends the next starts of pretokens, as [`Splitter::split`] says.
    fn split(&self, splitter: &mut Splitter, text: &[u8], kinds: &Kinds, starts: &mut Starts);

    /// Makes the keys of pretokens and fetches where they may be remembered.
    fn keys(&self, text: &[u8], starts: &[u32], buckets: &[Bucket], keys: &mut Keys) {
        lookup::keys(text, starts, buckets, keys, |_| {});
    }

    /// Writes the ids of remembered pretokens, up to the first that is not.
    fn find(&self, keys: &Keys, from: usize, buckets: &[Bucket], found: &mut Found) -> usize {
        lookup::find(keys, from, buckets, found)
    }

    /// Merges the bytes of a pretoken, as [`merge`](bpe::merge) says.
    fn merge(&self, bytes: &[u8], pairs: &Pairs, symbols: &mut [Symbol; MAX_MERGE_LEN]) -> usize {
        bpe::merge(bytes, pairs, symbols)
    }
}

/// The stages that every processor has.
pub(crate) const PORTABLE: &dyn Stages = &portable::Portable;

/// Returns the stages for a choice of instructions, if this processor has them.
pub(crate) fn stages(instructions: Instructions) -> Option<&'static dyn Stages> {
    if !Instructions::available().contains(&instructions) {
        return None;
    }
    match instructions {
        Instructions::Scalar => Some(&scalar::Scalar),
        Instructions::Portable => Some(&portable::Portable),
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => Some(&avx2::Avx2),
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => Some(&avx512::Avx512),
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => Some(&neon::Neon),
        _ => None,
    }
}
