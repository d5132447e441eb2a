//! Finds clusters of nearly equal documents from the keys of their bands, and what stays of each.
//!
//! Documents that share a band are connected, and so are those connected with the same one: as
//! datatrove and BigCode's near deduplication have it. One of each cluster stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::components::connect;
use super::error::DedupError;
use super::exact_keys::split_key;
use super::minhash::KeepRule;
use super::pairs::Pairs;
use super::sort::{RunFolder, Sorted, Sorter, distinct};

/// Band keys of documents: 24 bytes a band, and 16 a document where lengths count, in memory or
/// on disk.
#[derive(Debug)]
pub(crate) struct BandKeys {
    keep: KeepRule,
    records: Sorter<3>,
    lengths: Sorter<2>,
    folder: Arc<RunFolder>,
    /// Memory for each of the four things that are in memory at a time.
    share: u64,
}

impl BandKeys {
    /// Knows no document. What `memory_limit`, in bytes, has no room for goes to `folder`, which
    /// is emptied before it is used, and removed when this is dropped.
    pub(crate) fn new(folder: PathBuf, memory_limit: u64, keep: KeepRule) -> Self {
        let folder = RunFolder::new(folder);
        let share = memory_limit / 4;
        Self {
            keep,
            records: Sorter::new(&folder, share * 2),
            lengths: Sorter::new(&folder, share),
            folder,
            share,
        }
    }

    /// Adds a document by its number, the keys of its bands and its length in characters, once.
    pub(crate) fn add(
        &mut self,
        document: u64,
        band_keys: &[u8],
        length: u64,
    ) -> Result<(), DedupError> {
        let (keys, rest) = band_keys.as_chunks();
        debug_assert!(rest.is_empty(), "keys have 16 bytes");
        for &key in keys {
            let [first, second] = split_key(key);
            self.records.push([first, second, document])?;
        }
        match self.keep {
            KeepRule::Longest => self.lengths.push([document, length]),
            KeepRule::First => Ok(()),
        }
    }

    /// Takes over the documents of another part, which has the same rule.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "parts of a run on several machines are merged by it"
        )
    )]
    pub(crate) fn absorb(&mut self, other: Self) -> Result<(), DedupError> {
        debug_assert_eq!(self.keep, other.keep);
        self.records.absorb(other.records)?;
        self.lengths.absorb(other.lengths)
    }

    /// Writes to `output` each document that goes, with the one of its cluster that stays.
    pub(crate) fn finish(self, output: &Path) -> Result<Pairs, DedupError> {
        let mut edges = Sorter::new(&self.folder, self.share);
        let mut current: Option<([u64; 2], u64)> = None;
        for record in self.records.finish()? {
            let [first, second, document] = record?;
            match current {
                Some((key, least)) if key == [first, second] => {
                    if document != least {
                        edges.push([document, least])?;
                    }
                }
                _ => current = Some(([first, second], document)),
            }
        }
        let members = connect(edges, &self.folder, self.share)?;
        match self.keep {
            KeepRule::First => Pairs::write(output, members),
            KeepRule::Longest => {
                let (lengths, folder) = (self.lengths.finish()?, &self.folder);
                let survivors = keep_longest(members, lengths, folder, self.share)?;
                Pairs::write(output, survivors)
            }
        }
    }
}

/// From members with the least of their cluster to members with the longest of it, in order.
fn keep_longest(
    members: impl Iterator<Item = Result<[u64; 2], DedupError>>,
    lengths: Sorted<2>,
    folder: &Arc<RunFolder>,
    memory_limit: u64,
) -> Result<Sorted<2>, DedupError> {
    let mut all = Sorter::new(folder, memory_limit);
    for member in members {
        let [document, cluster] = member?;
        all.push([document, cluster])?;
        all.push([cluster, cluster])?;
    }
    let mut clusters = Sorter::new(folder, memory_limit);
    let mut lengths = lengths;
    for member in distinct(all.finish()?) {
        let [document, cluster] = member?;
        let length = loop {
            match lengths.next().expect("each document has a length")? {
                [of, length] if of == document => break length,
                _ => {}
            }
        };
        // The longest comes first, and of several the one with the lowest number.
        clusters.push([cluster, u64::MAX - length, document])?;
    }
    drop(lengths);
    let mut pairs = Sorter::new(folder, memory_limit);
    let mut current = None;
    for member in clusters.finish()? {
        let [cluster, _, document] = member?;
        match current {
            Some((of, survivor)) if of == cluster => pairs.push([document, survivor])?,
            _ => current = Some((cluster, document)),
        }
    }
    pairs.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::sha256;

    /// The pairs, by looking at every document with every other.
    fn expected(documents: &[(Vec<u8>, u64)], keep: KeepRule) -> Vec<[u64; 2]> {
        let mut clusters: Vec<usize> = (0..documents.len()).collect();
        for (a, (bands, _)) in documents.iter().enumerate() {
            for (b, (other, _)) in documents.iter().enumerate() {
                if bands.iter().zip(other).any(|(band, other)| band == other) {
                    let (from, to) = (clusters[a], clusters[b]);
                    let of_both = clusters.iter_mut().filter(|cluster| **cluster == from);
                    of_both.for_each(|cluster| *cluster = to);
                }
            }
        }
        let survivor = |cluster: usize| {
            let members = (0..documents.len()).filter(|&of| clusters[of] == cluster);
            match keep {
                KeepRule::First => members.min(),
                KeepRule::Longest => members.min_by_key(|&of| (u64::MAX - documents[of].1, of)),
            }
        };
        let pairs = clusters.iter().enumerate().filter_map(|(document, &of)| {
            let survivor = survivor(of).unwrap();
            (survivor != document).then_some([document as u64, survivor as u64])
        });
        pairs.collect()
    }

    fn keys(bands: &[u8]) -> Vec<u8> {
        let keys = (0_u8..).zip(bands);
        keys.flat_map(|(band, &value)| sha256(&[band, value])[..16].to_vec())
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_order_parts_and_limits_give_what_brute_force_gives(
            documents in prop::collection::vec(
                (prop::collection::vec(0_u8..90, 3), 0_u64..5), 0..100),
            order in any::<u64>(),
            cut in 0_usize..100,
            limit in 0_u64..12_000,
            first in any::<bool>(),
        ) {
            let keep = if first { KeepRule::First } else { KeepRule::Longest };
            let mut shuffled: Vec<_> = (0_u64..).zip(&documents).collect();
            shuffled.sort_by_key(|&(document, _)| (document ^ order).wrapping_mul(order | 1));
            let parent = tempfile::tempdir().unwrap();
            let mut one = BandKeys::new(parent.path().join("one"), limit, keep);
            let mut two = BandKeys::new(parent.path().join("two"), limit / 5, keep);
            for (index, (document, (bands, length))) in shuffled.into_iter().enumerate() {
                let part = if index < cut { &mut one } else { &mut two };
                part.add(document, &keys(bands), *length).unwrap();
            }
            one.absorb(two).unwrap();
            let pairs = one.finish(&parent.path().join("pairs")).unwrap();
            let found = pairs.read().unwrap().map(Result::unwrap);
            let found: Vec<_> = found.map(|pair| [pair.duplicate, pair.original]).collect();
            prop_assert_eq!(found, expected(&documents, keep));
            prop_assert_eq!(parent.path().read_dir().unwrap().count(), 1);
        }
    }
}
