//! Which license a text is: exactly one of the SPDX list, or one that was changed.
//!
//! A score alone cannot tell: the text of CC BY-SA 4.0 with "for `NonCommercial` purposes only" put
//! in is 99.9 percent CC BY-SA 4.0 and another license. So a text counts as the license only when
//! every word of its terms is there and in order, after the matching guidelines of the SPDX list;
//! anything else is reported as changed, with the words that differ. A file may hold several texts.
//!
//! ```
//! use stablelm_license::detect::{MatchKind, detect};
//! use stablelm_license::license_text;
//!
//! let text = license_text("CC-BY-SA-4.0").expect("a text the crate carries");
//! assert_eq!(detect(text).expression().as_deref(), Some("CC-BY-SA-4.0"));
//!
//! let changed = text.replace("irrevocable license to exercise", "license to exercise");
//! let found = detect(&changed);
//! assert!(!found.is_exact());
//! let MatchKind::Modified { differences, .. } = &found.matches[0].kind else { panic!() };
//! assert_eq!(differences[0].removed, "irrevocable");
//! ```

mod diff;
mod index;
mod words;

use std::ops::Range;

use serde::Serialize;

use crate::text::one_line;
use diff::Hunk;
use index::{ANCHOR, Index, Listed, index};
use words::{Words, hash_of_run};

/// Words in a run that count as common to two texts.
const RUN: usize = 4;
/// Share of a license's runs that a text must have to be held for a changed copy of it.
const MIN_CONTAINED: f64 = 0.5;
/// Texts of fewer words are not looked at.
const MIN_WORDS: usize = 20;
/// Runs further apart than this many words belong to different texts.
const MAX_GAP: usize = 300;
/// Differences told in full.
const MAX_DIFFERENCES: usize = 20;
/// Characters of a passage that are shown.
const MAX_SHOWN: usize = 240;

/// What was found in a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// The licenses, in the order they stand there.
    pub matches: Vec<LicenseMatch>,
    /// Passages that belong to none of them: headings, notices, or terms of somebody's own.
    pub rest: Vec<Passage>,
}

/// One license in a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LicenseMatch {
    /// Its SPDX identifier.
    pub id: String,
    /// Other identifiers that have the same terms, such as `GPL-3.0-or-later`.
    pub also: Vec<String>,
    /// The first line, counted from 1.
    pub line: usize,
    /// The last line.
    pub last_line: usize,
    /// Whether every word of its terms is there.
    #[serde(flatten)]
    pub kind: MatchKind,
}

/// How a text matches a license.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "match", rename_all = "lowercase")]
pub enum MatchKind {
    /// Word for word.
    Exact,
    /// With words added, taken out or replaced.
    Modified {
        /// Twice the common words over the words of both, from 0 to 1.
        similarity: f64,
        /// The first differences.
        differences: Vec<WordDifference>,
        /// How many more there are.
        more: usize,
    },
}

/// Words that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WordDifference {
    /// The line of the text, counted from 1.
    pub line: usize,
    /// What the license says there; empty when words were put in.
    pub removed: String,
    /// What the text says instead; empty when words were taken out.
    pub inserted: String,
}

/// A passage of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Passage {
    /// Its first line, counted from 1.
    pub line: usize,
    /// Its last line.
    pub last_line: usize,
    /// How many words it has.
    pub words: usize,
    /// How it begins.
    pub text: String,
}

impl Detection {
    /// Returns the licenses as an SPDX expression, each once; `None` when there is none. A changed
    /// license is named too, so ask [`Detection::is_exact`] first.
    pub fn expression(&self) -> Option<String> {
        let mut ids: Vec<&str> = Vec::new();
        for found in &self.matches {
            if !ids.contains(&found.id.as_str()) {
                ids.push(&found.id);
            }
        }
        (!ids.is_empty()).then(|| ids.join(" AND "))
    }

    /// True when there is a license and each is there word for word.
    pub fn is_exact(&self) -> bool {
        !self.matches.is_empty()
            && self
                .matches
                .iter()
                .all(|found| found.kind == MatchKind::Exact)
    }
}

/// Finds the licenses in a text.
///
/// The list is split into words at the first call (a fraction of a second); later calls take
/// milliseconds.
pub fn detect(text: &str) -> Detection {
    let index = index();
    let words = Words::of(text);
    let file = File { text, words };
    let mut found = file.exact(index);
    found.sort_by_key(|found| found.words.start);
    for gap in gaps(&found, file.words.len()) {
        file.modified(index, gap, &mut found);
    }
    found.sort_by_key(|found| found.words.start);
    let rest = gaps(&found, file.words.len())
        .into_iter()
        .map(|gap| file.passage(gap))
        .collect();
    Detection {
        matches: found.into_iter().map(|found| found.license).collect(),
        rest,
    }
}

struct File<'a> {
    text: &'a str,
    words: Words,
}

struct Found {
    words: Range<usize>,
    license: LicenseMatch,
}

impl File<'_> {
    /// Returns the texts that are there word for word, the longest first where they overlap.
    fn exact(&self, index: &Index) -> Vec<Found> {
        let hashes = &self.words.hashes;
        let mut candidates: Vec<(Range<usize>, &Listed)> = Vec::new();
        for (start, window) in hashes.windows(ANCHOR).enumerate() {
            let Some(texts) = index.by_anchor.get(&hash_of_run(window)) else {
                continue;
            };
            for listed in texts.iter().map(|text| &index.listed[*text]) {
                let core = listed.core_hashes();
                if hashes[start..].starts_with(core) {
                    candidates.push((start..start + core.len(), listed));
                }
            }
        }
        candidates.sort_by_key(|(range, _)| (std::cmp::Reverse(range.len()), range.start));
        let mut found: Vec<Found> = Vec::new();
        for (range, listed) in candidates {
            if found.iter().any(|other| overlap(&other.words, &range)) {
                continue;
            }
            found.extend(self.widened(range, listed));
        }
        found
    }

    /// Takes in what may stand around the terms; nothing when that was changed to say more.
    fn widened(&self, core: Range<usize>, listed: &Listed) -> Option<Found> {
        let before = &listed.hashes[..listed.core.start];
        let after = &listed.hashes[listed.core.end..];
        let window = core.start - (before.len() * 3 / 2).min(core.start)..core.start;
        let start = match self.around(before, window.clone(), Side::Before) {
            Around::Absent => core.start,
            Around::There(hunks) => {
                // What stands before the first common word belongs to no license.
                window.start + hunks.first().map_or(0, lead)
            }
            Around::Changed => return None,
        };
        let window = core.end..(core.end + after.len() * 3 / 2).min(self.words.len());
        let end = match self.around(after, window.clone(), Side::After) {
            Around::Absent => core.end,
            Around::There(hunks) => match hunks.last() {
                Some(last) if last.new.end == window.len() => window.start + last.new.start,
                _ => window.end,
            },
            Around::Changed => return None,
        };
        Some(self.found(start..end, listed, MatchKind::Exact))
    }

    /// Compares what stands beside the terms with what the license has there.
    fn around(&self, optional: &[u64], window: Range<usize>, side: Side) -> Around {
        let hashes = &self.words.hashes[window.clone()];
        if optional.is_empty() || hashes.is_empty() {
            return Around::Absent;
        }
        let hunks = diff::diff(optional, hashes);
        let removed: usize = hunks.iter().map(|hunk| hunk.old.len()).sum();
        if (optional.len() - removed) * 2 < optional.len() {
            return Around::Absent;
        }
        let says_more = hunks.iter().any(|hunk| {
            // Between this and the terms nothing belongs; beyond it, anything may stand.
            let is_outside = match side {
                Side::Before => hunk.new.start == 0,
                Side::After => hunk.new.end == hashes.len(),
            };
            !is_outside
                && self.words.has_terms(
                    self.text,
                    window.start + hunk.new.start..window.start + hunk.new.end,
                )
        });
        if says_more {
            Around::Changed
        } else {
            Around::There(hunks)
        }
    }

    fn found(&self, words: Range<usize>, listed: &Listed, kind: MatchKind) -> Found {
        Found {
            license: LicenseMatch {
                id: listed.id.to_owned(),
                also: listed.also.iter().map(|id| (*id).to_owned()).collect(),
                line: self.line(words.start),
                last_line: self.line(words.end - 1),
                kind,
            },
            words,
        }
    }

    /// Finds changed copies in a part that holds none word for word, the best first.
    fn modified(&self, index: &Index, part: Range<usize>, found: &mut Vec<Found>) {
        let mut parts = vec![part];
        while let Some(part) = parts.pop() {
            let Some((listed, copy)) = self.nearest(index, &part) else {
                continue;
            };
            let Some(kind) = self.compared(listed, &copy) else {
                continue;
            };
            parts.push(part.start..copy.start);
            parts.push(copy.end..part.end);
            found.push(self.found(copy, listed, kind));
        }
    }

    /// Returns the license that a part has most runs in common with, and where they are.
    fn nearest<'i>(
        &self,
        index: &'i Index,
        part: &Range<usize>,
    ) -> Option<(&'i Listed, Range<usize>)> {
        if part.len() < MIN_WORDS {
            return None;
        }
        let hashes = &self.words.hashes[part.clone()];
        let own = Runs::of(hashes);
        let mut best: Option<(f64, &Listed)> = None;
        for listed in &index.listed {
            let core = listed.core_hashes();
            let runs = core.len() + 1 - RUN;
            let common = core
                .windows(RUN)
                .filter(|run| own.contains(hash_of_run(run)))
                .count();
            if (common as f64) < MIN_CONTAINED * runs as f64 {
                continue;
            }
            let score = 2.0 * common as f64 / (runs + hashes.len()) as f64;
            if best.is_none_or(|(highest, _)| score > highest) {
                best = Some((score, listed));
            }
        }
        let (_, listed) = best?;
        let theirs = Runs::of(&listed.hashes);
        let common: Vec<usize> = hashes
            .windows(RUN)
            .enumerate()
            .filter(|(_, run)| theirs.contains(hash_of_run(run)))
            .map(|(position, _)| position)
            .collect();
        let cluster = common
            .chunk_by(|a, b| b - a <= MAX_GAP)
            .max_by_key(|cluster| cluster.len())?;
        let (first, last) = (cluster.first()?, cluster.last()?);
        Some((listed, part.start + first..part.start + last + RUN))
    }

    /// Compares a copy with a license word by word; nothing when they have too little in common.
    fn compared(&self, listed: &Listed, copy: &Range<usize>) -> Option<MatchKind> {
        let original = Words::of(listed.text);
        let new = &self.words.hashes[copy.clone()];
        let hunks = diff::diff(&original.hashes, new);
        let removed: usize = hunks.iter().map(|hunk| hunk.old.len()).sum();
        let common = original.len() - removed;
        // What may be left out of a license is no difference.
        let told: Vec<_> = hunks
            .iter()
            .filter(|hunk| !hunk.new.is_empty() || overlap(&hunk.old, &listed.core))
            .collect();
        let optional: usize = hunks
            .iter()
            .filter(|hunk| hunk.new.is_empty() && !overlap(&hunk.old, &listed.core))
            .map(|hunk| hunk.old.len())
            .sum();
        let total = original.len() - optional + new.len();
        let similarity = 2.0 * common as f64 / total.max(1) as f64;
        if similarity < MIN_CONTAINED {
            return None;
        }
        let differences: Vec<WordDifference> = told
            .iter()
            .take(MAX_DIFFERENCES)
            .map(|hunk| {
                let at = copy.start + hunk.new.start;
                WordDifference {
                    line: self.line(at.min(self.words.len().saturating_sub(1))),
                    removed: shown(listed.text, &original, &hunk.old),
                    inserted: shown(
                        self.text,
                        &self.words,
                        &(copy.start + hunk.new.start..copy.start + hunk.new.end),
                    ),
                }
            })
            .collect();
        Some(MatchKind::Modified {
            similarity,
            more: told.len() - differences.len(),
            differences,
        })
    }

    fn passage(&self, words: Range<usize>) -> Passage {
        Passage {
            line: self.line(words.start),
            last_line: self.line(words.end - 1),
            words: words.len(),
            text: shown(self.text, &self.words, &words),
        }
    }

    /// Returns the line a word stands in, counted from 1.
    fn line(&self, word: usize) -> usize {
        let start = self.words.spans.get(word).map_or(0, |span| span.0 as usize);
        let before = self.text.get(..start).unwrap_or_default();
        1 + before.matches('\n').count()
    }
}

/// Where something stands, seen from the terms of a license.
#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// What stands beside the terms of a license.
enum Around {
    /// Something else, or nothing.
    Absent,
    /// What the license has there, but for these differences.
    There(Vec<Hunk>),
    /// The same with terms put in.
    Changed,
}

/// Returns how many words stand before what is common.
fn lead(first: &Hunk) -> usize {
    if first.new.start == 0 {
        first.new.end
    } else {
        0
    }
}

/// Returns the parts between the found texts.
fn gaps(found: &[Found], len: usize) -> Vec<Range<usize>> {
    let mut gaps = Vec::new();
    let mut at = 0;
    for range in found.iter().map(|found| &found.words) {
        if at < range.start {
            gaps.push(at..range.start);
        }
        at = at.max(range.end);
    }
    if at < len {
        gaps.push(at..len);
    }
    gaps
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Returns the words as they stand in a text, on one line.
fn shown(text: &str, words: &Words, range: &Range<usize>) -> String {
    let spans = &words.spans[range.clone()];
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
        return String::new();
    };
    let passage = text
        .get(first.0 as usize..last.1 as usize)
        .unwrap_or_default();
    let mut shown = one_line(passage);
    if let Some((end, _)) = shown.char_indices().nth(MAX_SHOWN) {
        shown.truncate(end);
        shown.push('\u{2026}');
    }
    shown
}

/// The runs of words of a text, to look single ones up.
struct Runs {
    /// One bit for each value of a hash's lowest bits; most lookups end here.
    bits: Vec<u64>,
    hashes: Vec<u64>,
}

const BITS: usize = 1 << 18;

impl Runs {
    fn of(words: &[u64]) -> Runs {
        let mut hashes: Vec<u64> = words.windows(RUN).map(hash_of_run).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut bits = vec![0; BITS / 64];
        for hash in &hashes {
            let bit = low_bits(*hash);
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Runs { bits, hashes }
    }

    fn contains(&self, hash: u64) -> bool {
        let bit = low_bits(hash);
        self.bits[bit / 64] >> (bit % 64) & 1 == 1 && self.hashes.binary_search(&hash).is_ok()
    }
}

fn low_bits(hash: u64) -> usize {
    usize::try_from(hash & (BITS as u64 - 1)).unwrap_or_default()
}
