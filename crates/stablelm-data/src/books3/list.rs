//! A list of fingerprints: the file format, its checks, and the lookup of one gram.
//!
//! The format is written up in `docs/concepts/books3.md`. A list is read where it lies, in memory or
//! in a mapped file: nothing of it is copied but the prefilter.

use std::sync::Arc;

use crate::books3::grams::{GRAM_LETTERS, SAMPLE_BITS};
use crate::hash::{Sha256Bytes, sha256};

pub(super) const MAGIC: &[u8; 8] = b"STLMBKFP";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_LEN: usize = 48;
/// Shortest and longest block of a list that can be used.
pub(super) const BLOCK_LETTERS: std::ops::RangeInclusive<u32> = 32..=65_536;
/// Entries that a bucket holds on average.
pub(super) const BUCKET_LEN: u64 = 16;
/// Keys are spread evenly, so a bucket longer than this was made to slow a run down.
const MAX_BUCKET_LEN: u32 = 4096;
const MAX_BUCKET_BITS: u32 = 28;
/// The prefilter knows this many more bits of a key than its bucket says.
const PREFILTER_BITS: u32 = 10;
/// Most bits of a key that the prefilter knows: 256 MiB.
const MAX_PREFILTER_BITS: u32 = 31;

/// The bytes of a list: a vector, or a file that somebody has mapped.
pub(crate) type ListBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Why a file is no list of fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintListError {
    /// The file is something else.
    #[error("it does not begin with `STLMBKFP`")]
    Magic,
    /// A version from another time.
    #[error("it has version {found}, expected {VERSION}")]
    Version {
        /// The version.
        found: u32,
    },
    /// A parameter that this version can't work with.
    #[error("`{name}` is {found}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What the file says.
        found: u64,
        /// What is possible.
        expected: String,
    },
    /// The file is shorter or longer than its header says.
    #[error("it has {found} bytes, expected {expected}")]
    Length {
        /// The length that the header asks for.
        expected: u64,
        /// The length of the file.
        found: u64,
    },
    /// A table contradicts itself.
    #[error("entry {place} of the {table} is {found}, expected {expected}")]
    Table {
        /// The table.
        table: &'static str,
        /// The place in it, from 0.
        place: u64,
        /// What is possible.
        expected: String,
        /// What the file says.
        found: u64,
    },
    /// The names of the works are not UTF-8.
    #[error("the names of the works are not UTF-8")]
    Names,
}

/// Where the tables of a list lie, all in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) works: u32,
    pub(super) entries: u64,
    pub(super) names_len: u64,
    pub(super) bucket_bits: u32,
}

impl Layout {
    pub(super) const FIRST_BLOCKS: u64 = HEADER_LEN as u64;

    pub(super) fn name_ends(self) -> u64 {
        Self::FIRST_BLOCKS + 4 * (u64::from(self.works) + 1)
    }

    pub(super) fn names(self) -> u64 {
        self.name_ends() + 4 * u64::from(self.works)
    }

    pub(super) fn buckets(self) -> u64 {
        (self.names() + self.names_len).next_multiple_of(8)
    }

    pub(super) fn remainders(self) -> u64 {
        self.buckets() + 4 * ((1 << self.bucket_bits) + 1)
    }

    pub(super) fn blocks(self) -> u64 {
        (self.remainders() + 2 * self.entries).next_multiple_of(4)
    }

    pub(super) fn len(self) -> u64 {
        self.blocks() + 4 * self.entries
    }

    /// The number of bucket bits for so many entries.
    pub(super) fn bucket_bits_for(entries: u64) -> u32 {
        (entries / BUCKET_LEN).max(1).ilog2().min(MAX_BUCKET_BITS)
    }
}

/// The bucket of a key and what is left of it.
pub(super) fn split_key(key: u64, bucket_bits: u32) -> (u64, u16) {
    // A shift by 64 is none.
    let bucket = key.checked_shr(64 - bucket_bits).unwrap_or(0);
    let remainder = (key << bucket_bits) >> 48;
    (bucket, u16::try_from(remainder).expect("16 bits are left"))
}

/// A sound list.
#[derive(Clone)]
pub(super) struct List {
    bytes: ListBytes,
    layout: Layout,
    block_letters: u32,
    sha256: Sha256Bytes,
    /// A bit for every entry, so that most grams of other texts cost one look.
    prefilter: Vec<u64>,
    /// What is left of a key is its place there.
    prefilter_shift: u32,
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("List");
        shown.field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl List {
    /// Checks a whole list; nothing in it can make a lookup fail or take long afterwards.
    pub(super) fn new(bytes: ListBytes) -> Result<Self, FingerprintListError> {
        let (layout, block_letters) = read_header((*bytes).as_ref())?;
        let sha256 = sha256((*bytes).as_ref());
        let mut list = Self {
            layout,
            block_letters,
            sha256,
            prefilter: Vec::new(),
            prefilter_shift: 64 - prefilter_bits(layout.bucket_bits),
            bytes,
        };
        list.check_works()?;
        list.prefilter = list.check_entries()?;
        Ok(list)
    }

    pub(super) fn works(&self) -> u32 {
        self.layout.works
    }

    pub(super) fn sha256(&self) -> Sha256Bytes {
        self.sha256
    }

    /// Length of the file.
    #[cfg(test)]
    pub(super) fn bytes_len(&self) -> usize {
        self.all().len()
    }

    /// Letters in a block: neighbors in the list are about so far apart in their work.
    pub(super) fn block_letters(&self) -> u32 {
        self.block_letters
    }

    /// Whether some entry may have this key; asked of most grams, it costs one look at memory.
    #[inline]
    pub(super) fn may_have(&self, key: u64) -> bool {
        let place = key >> self.prefilter_shift;
        self.prefilter[index(place >> 6)] & (1 << (place & 63)) != 0
    }

    /// Calls `found` with each block whose gram has this key.
    #[inline]
    pub(super) fn look_up(&self, key: u64, mut found: impl FnMut(u32)) {
        if !self.may_have(key) {
            return;
        }
        let (bucket, remainder) = split_key(key, self.layout.bucket_bits);
        let buckets = self.layout.buckets();
        let (first, end) = (
            self.u32(buckets + 4 * bucket),
            self.u32(buckets + 4 * bucket + 4),
        );
        for entry in u64::from(first)..u64::from(end) {
            let other = self.u16(self.layout.remainders() + 2 * entry);
            if other == remainder {
                found(self.block_at(entry));
            } else if other > remainder {
                break;
            }
        }
    }

    /// The work that a block lies in.
    pub(super) fn work_of(&self, block: u32) -> u32 {
        let (mut low, mut high) = (0, self.layout.works);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.first_block(middle + 1) <= block {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// What the list calls a work.
    #[cfg(test)]
    pub(super) fn name_of(&self, work: u32) -> &str {
        let end = |work: u32| self.u32(self.layout.name_ends() + 4 * u64::from(work));
        let first = if work == 0 { 0 } else { end(work - 1) };
        let at = |offset: u32| usize::try_from(self.layout.names()).unwrap() + offset as usize;
        std::str::from_utf8(&self.all()[at(first)..at(end(work))]).unwrap()
    }

    fn all(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    fn u32(&self, at: u64) -> u32 {
        u32::from_le_bytes(read(self.all(), at))
    }

    fn u16(&self, at: u64) -> u16 {
        u16::from_le_bytes(read(self.all(), at))
    }

    fn first_block(&self, work: u32) -> u32 {
        self.u32(Layout::FIRST_BLOCKS + 4 * u64::from(work))
    }

    fn block_at(&self, entry: u64) -> u32 {
        self.u32(self.layout.blocks() + 4 * entry)
    }

    fn check_works(&self) -> Result<(), FingerprintListError> {
        let off = |table, place, expected: String, found| FingerprintListError::Table {
            table,
            place,
            expected,
            found,
        };
        let (mut block, mut name) = (0, 0);
        for work in 0..=self.layout.works {
            let found = self.first_block(work);
            if found < block || (work == 0 && found != 0) {
                let expected = if work == 0 {
                    "0".to_owned()
                } else {
                    format!("{block} or more")
                };
                return Err(off("blocks of works", work.into(), expected, found.into()));
            }
            block = found;
        }
        let names = self.layout.names();
        let end = names + self.layout.names_len;
        let text = self
            .all()
            .get(index(names)..index(end))
            .and_then(|text| std::str::from_utf8(text).ok());
        let text = text.ok_or(FingerprintListError::Names)?;
        for work in 0..self.layout.works {
            let found = self.u32(self.layout.name_ends() + 4 * u64::from(work));
            let last = work + 1 == self.layout.works;
            if found < name
                || !text.is_char_boundary(found as usize)
                || (last && u64::from(found) != self.layout.names_len)
            {
                let expected = format!("{name} to {}", self.layout.names_len);
                return Err(off("names of works", work.into(), expected, found.into()));
            }
            name = found;
        }
        Ok(())
    }

    /// Checks buckets and entries in one pass; returns the prefilter.
    fn check_entries(&self) -> Result<Vec<u64>, FingerprintListError> {
        let off = |table, place, expected: String, found| FingerprintListError::Table {
            table,
            place,
            expected,
            found,
        };
        let Layout {
            entries,
            bucket_bits,
            ..
        } = self.layout;
        let bits = prefilter_bits(bucket_bits);
        let mut prefilter = vec![0_u64; (1 << bits) / 64];
        let blocks = self.first_block(self.layout.works);
        let mut first = 0;
        for bound in 0..=1_u64 << bucket_bits {
            let end = self.u32(self.layout.buckets() + 4 * bound);
            let most = u64::from(first) + u64::from(MAX_BUCKET_LEN);
            let possible = match bound {
                0 => 0..=0,
                _ if bound == 1 << bucket_bits => entries..=entries,
                _ => first.into()..=most.min(entries),
            };
            if !possible.contains(&end.into()) || u64::from(end) > most || end < first {
                let expected = format!("{} to {}", possible.start(), possible.end());
                return Err(off("buckets", bound, expected, end.into()));
            }
            let mut before = 0;
            for entry in u64::from(first)..u64::from(end) {
                let remainder = self.u16(self.layout.remainders() + 2 * entry);
                if remainder < before {
                    let expected = format!("{before} or more");
                    return Err(off("hashes", entry, expected, remainder.into()));
                }
                before = remainder;
                let block = self.block_at(entry);
                if block >= blocks {
                    let expected = format!("less than {blocks}");
                    return Err(off("blocks", entry, expected, block.into()));
                }
                // Bound 0 ends no bucket, so there is one before this.
                let known = ((bound - 1) << 16) | u64::from(remainder);
                let place = known >> (bucket_bits + 16 - bits);
                prefilter[index(place >> 6)] |= 1 << (place & 63);
            }
            first = end;
        }
        Ok(prefilter)
    }
}

/// How many high bits of a key the prefilter of a list knows.
fn prefilter_bits(bucket_bits: u32) -> u32 {
    (bucket_bits + PREFILTER_BITS).min(MAX_PREFILTER_BITS)
}

/// Checks everything that the length of the file depends on.
fn read_header(bytes: &[u8]) -> Result<(Layout, u32), FingerprintListError> {
    if !bytes.starts_with(MAGIC) {
        return Err(FingerprintListError::Magic);
    }
    let found = bytes.len() as u64;
    if bytes.len() < HEADER_LEN {
        let expected = HEADER_LEN as u64;
        return Err(FingerprintListError::Length { expected, found });
    }
    let number = |at| u32::from_le_bytes(read(bytes, at));
    let version = number(8);
    if version != VERSION {
        return Err(FingerprintListError::Version { found: version });
    }
    let limits = [
        (
            "gram_letters",
            u64::from(number(12)),
            GRAM_LETTERS as u64..=GRAM_LETTERS as u64,
        ),
        (
            "sample_bits",
            u64::from(number(16)),
            SAMPLE_BITS.into()..=SAMPLE_BITS.into(),
        ),
        (
            "block_letters",
            u64::from(number(20)),
            u64::from(*BLOCK_LETTERS.start())..=u64::from(*BLOCK_LETTERS.end()),
        ),
        (
            "bucket_bits",
            u64::from(number(24)),
            0..=u64::from(MAX_BUCKET_BITS),
        ),
        ("works", u64::from(number(28)), 0..=u64::from(u32::MAX - 1)),
        (
            "entries",
            u64::from_le_bytes(read(bytes, 32)),
            0..=u64::from(u32::MAX),
        ),
        (
            "names_len",
            u64::from_le_bytes(read(bytes, 40)),
            0..=u64::from(u32::MAX),
        ),
    ];
    for (name, found, possible) in limits {
        if !possible.contains(&found) {
            let expected = format!("{} to {}", possible.start(), possible.end());
            return Err(FingerprintListError::Parameter {
                name,
                found,
                expected,
            });
        }
    }
    let layout = Layout {
        bucket_bits: number(24),
        works: number(28),
        entries: u64::from_le_bytes(read(bytes, 32)),
        names_len: u64::from_le_bytes(read(bytes, 40)),
    };
    let expected = layout.len();
    if expected != found {
        return Err(FingerprintListError::Length { expected, found });
    }
    Ok((layout, number(20)))
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("no more than the bytes of a slice in memory")
}

/// The bytes at a place that the layout has found inside the file.
fn read<const N: usize>(bytes: &[u8], at: u64) -> [u8; N] {
    let at = index(at);
    let found = bytes
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok());
    found.expect("the length of the file was checked against its header")
}
