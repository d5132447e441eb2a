//! The texts of the SPDX license list, split into words once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use super::words::{Words, ends_of, hash_of_run, phrase};

/// How many words of a text's beginning find it in a file.
pub(crate) const ANCHOR: usize = 12;

/// A title has not more words than this, and a text with a title has more than this many times it.
const MAX_TITLE: usize = 25;

/// Where the terms of some families begin and end; what stands around them may be left out.
const TERMS: [(&str, Option<&str>, Option<&str>); 6] = [
    ("Apache-2.0", None, Some("end of terms and conditions")),
    ("GPL-", None, Some("end of terms and conditions")),
    ("LGPL-", None, Some("end of terms and conditions")),
    ("AGPL-", None, Some("end of terms and conditions")),
    (
        "CC-BY",
        Some("by exercising the licensed rights defined below"),
        Some("creative commons is not a party to its public licenses"),
    ),
    (
        "CC-BY",
        Some("by exercising the licensed rights defined below"),
        Some("creative commons is not a party to its public license"),
    ),
];

/// One text of the list.
pub(crate) struct Listed {
    pub(crate) id: &'static str,
    /// Other identifiers with the same terms.
    pub(crate) also: Vec<&'static str>,
    pub(crate) text: &'static str,
    pub(crate) hashes: Vec<u64>,
    /// The words that may not be left out.
    pub(crate) core: Range<usize>,
}

impl Listed {
    pub(crate) fn core_hashes(&self) -> &[u64] {
        &self.hashes[self.core.clone()]
    }
}

/// All texts of the list.
pub(crate) struct Index {
    pub(crate) listed: Vec<Listed>,
    /// The texts that begin with these words.
    pub(crate) by_anchor: HashMap<u64, Vec<usize>>,
}

/// Returns the index, made at the first call.
pub(crate) fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(build)
}

fn build() -> Index {
    let mut listed: Vec<Listed> = Vec::new();
    let mut same_core: HashMap<u64, usize> = HashMap::new();
    let mut ids: Vec<&'static str> = spdx::text::LICENSE_TEXTS
        .iter()
        .map(|(id, _)| *id)
        .collect();
    // The plainest identifier speaks for all that have the same terms.
    ids.sort_by_key(|id| (id.ends_with("-or-later"), id.len(), *id));
    for id in ids {
        let Some(license) = spdx::license_id(id).filter(|license| !license.is_deprecated()) else {
            continue;
        };
        let text = license.text();
        let hashes = Words::of(text).hashes;
        let core = core(id, text, &hashes);
        if core.len() < ANCHOR {
            continue;
        }
        match same_core.entry(hash_of_run(&hashes[core.clone()])) {
            std::collections::hash_map::Entry::Occupied(first) => {
                listed[*first.get()].also.push(id);
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(listed.len());
                listed.push(Listed {
                    id,
                    also: Vec::new(),
                    text,
                    hashes,
                    core,
                });
            }
        }
    }
    let mut by_anchor: HashMap<u64, Vec<usize>> = HashMap::new();
    for (position, license) in listed.iter().enumerate() {
        let anchor = hash_of_run(&license.core_hashes()[..ANCHOR]);
        by_anchor.entry(anchor).or_default().push(position);
    }
    Index { listed, by_anchor }
}

/// Returns the words that belong to the terms: no title before them, no advice after them.
fn core(id: &str, text: &str, hashes: &[u64]) -> Range<usize> {
    let mut core = title_len(text, hashes.len())..hashes.len();
    for (family, begin, end) in TERMS {
        if !id.starts_with(family) {
            continue;
        }
        if let Some(begin) = begin {
            let begin = phrase(begin);
            if let Some(after) = ends_of(hashes, &begin).next() {
                core.start = after - begin.len();
            }
        }
        if let Some(end) = end {
            let end = phrase(end);
            if let Some(after) = ends_of(hashes, &end).last() {
                core.end = core.end.min(after - end.len());
            }
        }
    }
    if core.start >= core.end {
        0..hashes.len()
    } else {
        core
    }
}

/// Returns how many words the first paragraph has, if it can be a title.
fn title_len(text: &str, words: usize) -> usize {
    let first = text
        .trim_start()
        .split("\n\n")
        .next()
        .map_or(0, |paragraph| Words::of(paragraph).len());
    let ends_a_sentence = text
        .trim_start()
        .split("\n\n")
        .next()
        .is_some_and(|paragraph| paragraph.trim_end().ends_with(['.', ':', ';']));
    if first <= MAX_TITLE && first * 3 < words && !ends_a_sentence {
        first
    } else {
        0
    }
}
