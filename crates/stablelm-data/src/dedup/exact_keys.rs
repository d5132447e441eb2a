//! Finds documents that equal an earlier one, whatever the order they are seen in.

use std::path::{Path, PathBuf};

use super::error::DedupError;
use super::pairs::Pairs;
use super::sort::{RunFolder, Sorter};

/// Bytes of a key. Among 10^12 texts the chance of one false match is below 10^-14.
pub(crate) const KEY_LEN: usize = 16;

/// Keys of documents: 24 bytes each, in memory or on disk.
#[derive(Debug)]
pub(crate) struct ExactKeys {
    records: Sorter<3>,
    /// For the duplicates, once they are looked for.
    duplicates: Sorter<2>,
}

impl ExactKeys {
    /// Knows no document. What `memory_limit`, in bytes, has no room for goes to `folder`, which
    /// is emptied before it is used, and removed when this is dropped.
    pub(crate) fn new(folder: PathBuf, memory_limit: u64) -> Self {
        let folder = RunFolder::new(folder);
        Self {
            records: Sorter::new(&folder, memory_limit / 2),
            duplicates: Sorter::new(&folder, memory_limit / 2),
        }
    }

    /// Adds a document by its number and the start of its text's hash, once.
    pub(crate) fn add(&mut self, document: u64, key: [u8; KEY_LEN]) -> Result<(), DedupError> {
        let [first, second] = split_key(key);
        self.records.push([first, second, document])
    }

    /// Takes over the documents of another part.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "parts of a run on several machines are merged by it"
        )
    )]
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), DedupError> {
        self.records.absorb(other.records)
    }

    /// Writes to `output` each document that equals an earlier one, with the earliest.
    pub(crate) fn finish(self, output: &Path) -> Result<Pairs, DedupError> {
        let mut duplicates = self.duplicates;
        let mut original: Option<([u64; 2], u64)> = None;
        for record in self.records.finish()? {
            let [first, second, document] = record?;
            match original {
                Some((key, earliest)) if key == [first, second] => {
                    duplicates.push([document, earliest])?;
                }
                _ => original = Some(([first, second], document)),
            }
        }
        Pairs::write(output, duplicates.finish()?)
    }
}

/// A key as the numbers that it is sorted by.
pub(super) fn split_key(key: [u8; KEY_LEN]) -> [u64; 2] {
    let (halves, _) = key.as_chunks();
    [halves[0], halves[1]].map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::hash::sha256;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_order_parts_and_limits_give_what_a_map_gives(
            texts in prop::collection::vec(0_u8..60, 0..400),
            order in any::<u64>(),
            cut in 0_usize..400,
            limit in 0_u64..12_000,
        ) {
            let mut earliest = BTreeMap::new();
            let mut expected = Vec::new();
            for (document, text) in (0..).zip(&texts) {
                match earliest.get(text) {
                    Some(&original) => expected.push([document, original]),
                    None => {
                        earliest.insert(text, document);
                    }
                }
            }
            let mut documents: Vec<_> = (0_u64..).zip(&texts).collect();
            documents.sort_by_key(|&(document, _)| (document ^ order).wrapping_mul(order | 1));

            let parent = tempfile::tempdir().unwrap();
            let mut first = ExactKeys::new(parent.path().join("first"), limit);
            let mut second = ExactKeys::new(parent.path().join("second"), limit / 3);
            for (index, (document, text)) in documents.into_iter().enumerate() {
                let part = if index < cut { &mut first } else { &mut second };
                let key = sha256(&[*text])[..KEY_LEN].try_into().unwrap();
                part.add(document, key).unwrap();
            }
            first.absorb(second).unwrap();
            let pairs = first.finish(&parent.path().join("pairs")).unwrap();
            let found = pairs.read().unwrap().map(Result::unwrap);
            let found: Vec<_> = found.map(|pair| [pair.duplicate, pair.original]).collect();
            prop_assert_eq!(found.len() as u64, pairs.len());
            prop_assert_eq!(found, expected);
            prop_assert_eq!(parent.path().read_dir().unwrap().count(), 1);
        }
    }
}
