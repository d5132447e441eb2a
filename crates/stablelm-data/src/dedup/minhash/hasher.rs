//! From a text to its signature, and to one key a band.

use sha1::{Digest, Sha1};
use sha2::Sha256;
use twox_hash::{XxHash32, XxHash64};

use super::minima;
use super::permutations::{DrawOrder, LANES, Permutations};
use super::{MinhashHash, MinhashRecipe};
use crate::dedup::simplify::simplify;
use crate::words::{Scratch, WordSplitter};

/// Bytes of the key that stands for a band.
pub(crate) const BAND_KEY_LEN: usize = 16;

/// Hashes that are looked at together: they and the minima stay in the first cache.
const BATCH: usize = 1024;
/// Hashes that are remembered, so that what a text repeats is looked at once.
const RECENT: usize = 1024;

/// Makes signatures by one recipe: made once, shared by all threads.
#[derive(Debug)]
pub(crate) struct Hasher {
    ngram: usize,
    rows: usize,
    num_values: usize,
    words: Option<WordSplitter>,
    hash: fn(&[u8]) -> u64,
    /// The bits of a value that count.
    mask: u64,
    permutations: Permutations,
}

/// What a thread keeps from text to text.
#[derive(Debug, Default)]
pub(crate) struct MinhashScratch {
    plain: String,
    simplified: String,
    joined: Joined,
    hashes: Vec<u64>,
    recent: Vec<u64>,
    minima: Vec<[u64; LANES]>,
}

/// Words with a space between them, so that a shingle is a slice.
#[derive(Debug, Default)]
struct Joined {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    ends: Vec<usize>,
}

impl Joined {
    fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
        self.ends.clear();
    }

    fn push(&mut self, word: &str) {
        if !self.ends.is_empty() {
            self.bytes.push(b' ');
        }
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(word.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// Where each run of `ngram` words starts, and where it ends.
    fn shingles(&self, ngram: usize) -> (&[usize], &[usize]) {
        let ends = self.ends.get(ngram - 1..).unwrap_or_default();
        (&self.starts[..ends.len()], ends)
    }
}

impl Hasher {
    pub(crate) fn new(recipe: &MinhashRecipe) -> Self {
        let size = |number: u32| usize::try_from(number).expect("a number of 32 bits fits");
        let num_values = size(recipe.bands) * size(recipe.rows);
        let order = match recipe.words {
            Some(_) => DrawOrder::MultipliersFirst,
            None => DrawOrder::InPairs,
        };
        let is_short = recipe.hash_bits == 32;
        Self {
            ngram: size(recipe.ngram),
            rows: size(recipe.rows),
            num_values,
            words: recipe.words,
            hash: match recipe.hash {
                MinhashHash::Xxhash64 if is_short => |bytes| XxHash32::oneshot(0, bytes).into(),
                MinhashHash::Xxhash64 => |bytes| XxHash64::oneshot(0, bytes),
                MinhashHash::Sha1 if is_short => |bytes| sha1(bytes) & u64::from(u32::MAX),
                MinhashHash::Sha1 => sha1,
            },
            mask: if is_short { u32::MAX.into() } else { u64::MAX },
            permutations: Permutations::draw(recipe.seed, num_values, order),
        }
    }

    /// Appends a key of 16 bytes a band; texts with a common key are nearly equal.
    ///
    /// Returns false and appends nothing for a text with fewer words than a shingle has: it is
    /// like no other.
    pub(crate) fn bands(
        &self,
        text: &str,
        scratch: &mut Scratch,
        own: &mut MinhashScratch,
        out: &mut Vec<u8>,
    ) -> bool {
        if !self.fill_minima(text, scratch, own) {
            return false;
        }
        let values = &own.minima.as_flattened()[..self.num_values];
        for (band, values) in (0_u32..).zip(values.chunks_exact(self.rows)) {
            let mut key = Sha256::new();
            key.update(band.to_le_bytes());
            for value in values {
                key.update(value.to_le_bytes());
            }
            out.extend_from_slice(&key.finalize()[..BAND_KEY_LEN]);
        }
        true
    }

    /// The values of all bands, if the text has enough words for one shingle.
    pub(crate) fn signature(
        &self,
        text: &str,
        scratch: &mut Scratch,
        own: &mut MinhashScratch,
    ) -> Option<Vec<u64>> {
        self.fill_minima(text, scratch, own)
            .then(|| own.minima.as_flattened()[..self.num_values].to_vec())
    }

    fn fill_minima(&self, text: &str, scratch: &mut Scratch, own: &mut MinhashScratch) -> bool {
        own.joined.clear();
        if let Some(splitter) = self.words {
            simplify(text, &mut own.plain, &mut own.simplified);
            // The words that lie there are of the text as it was.
            scratch.next_text();
            for word in scratch.words(splitter, &own.simplified) {
                let word = &own.simplified[word.start as usize..word.end as usize];
                own.joined.push(word);
            }
            scratch.next_text();
        } else {
            // Between two separators lies an empty word.
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let words = text.split(|c| !is_part(c));
            words.for_each(|word| own.joined.push(word));
        }
        self.lower_minima(own)
    }

    /// Goes over the shingles of the joined words.
    fn lower_minima(&self, own: &mut MinhashScratch) -> bool {
        own.minima.clear();
        let groups = self.permutations.multipliers.len();
        own.minima.resize(groups, [u64::MAX; LANES]);
        own.recent.clear();
        own.recent.resize(RECENT, 0);
        let (starts, ends) = own.joined.shingles(self.ngram);
        for (starts, ends) in starts.chunks(BATCH).zip(ends.chunks(BATCH)) {
            own.hashes.clear();
            for (&start, &end) in starts.iter().zip(ends) {
                let hash = (self.hash)(&own.joined.bytes[start..end]);
                let place = &mut own.recent[usize::try_from(hash % RECENT as u64).expect("small")];
                // The place of a hash that was not seen yet holds 0, or another one.
                if *place != hash || hash == 0 {
                    *place = hash;
                    own.hashes.push(hash);
                }
            }
            minima::lower(&mut own.minima, &self.permutations, &own.hashes, self.mask);
        }
        !starts.is_empty()
    }
}

/// The first 8 bytes of a SHA-1 value.
fn sha1(bytes: &[u8]) -> u64 {
    let digest: [u8; 20] = Sha1::digest(bytes).into();
    let (first, _) = digest.split_first_chunk().expect("a value has 20 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fmt::Write as _;
    use std::io::{BufRead, BufReader};

    use serde_json::{Value, json};

    use super::*;
    use crate::dedup::minhash::{KeepRule, MinhashPreset};
    use crate::dedup::near::BandKeys;
    use crate::hash::{sha256, to_hex};

    /// Texts whose words every splitter cuts alike.
    const TEXTS: [&str; 5] = [
        "The quick brown fox jumps over the lazy dog, and then the quick brown fox jumps over it \
         again; 3.5 times.",
        "one two three four five",
        "word0 word1 word2 word3 word4 word5 word6 word0 word1 word2 word3 word4 word5 word6 word0",
        "fn main() { println!(\"Hello, world!\"); }\n\nfn other_name(x: u32) -> u32 { x + 1 }\n",
        "Caf\u{e9} d\u{e9}j\u{e0} vu na\u{ef}ve r\u{e9}sum\u{e9} co\u{f6}perate \u{4f60}\u{597d} \
         \u{4e16}\u{754c} \u{391}\u{3a3} end",
    ];

    fn signature(recipe: MinhashRecipe, text: &str) -> Option<Vec<u64>> {
        let hasher = Hasher::new(&recipe);
        hasher.signature(
            text,
            &mut Scratch::default(),
            &mut MinhashScratch::default(),
        )
    }

    /// The start of the hash of the values, written with commas.
    fn digest(values: &[u64]) -> String {
        let values: Vec<_> = values.iter().map(u64::to_string).collect();
        to_hex(&sha256(values.join(",").as_bytes())[..8])
    }

    fn check(recipe: MinhashRecipe, expected: [&str; 5]) {
        for (text, expected) in TEXTS.into_iter().zip(expected) {
            let words = recipe.words.map(|_| WordSplitter::Whitespace);
            let found = signature(MinhashRecipe { words, ..recipe }, text).unwrap();
            assert_eq!(digest(&found), expected, "{recipe:?} {text:?}");
        }
    }

    /// Values of datatrove 0.10.1.
    #[test]
    fn other_settings_give_the_values_of_datatrove() {
        let fineweb = MinhashPreset::Fineweb.recipe();
        check(
            MinhashRecipe {
                hash_bits: 32,
                ..fineweb
            },
            [
                "c01766169644346e",
                "91d9ca0dd85c6393",
                "72042681812782f6",
                "4596eccf4094bad9",
                "bbda4674378132bb",
            ],
        );
        check(
            MinhashRecipe {
                hash: MinhashHash::Sha1,
                hash_bits: 32,
                ..fineweb
            },
            [
                "ed72ad1f57b1b6e2",
                "f3971fff4c417916",
                "3921171bf931a60d",
                "e0bbf6bbdb59fbfc",
                "cf7b90c26badd811",
            ],
        );
        check(
            MinhashPreset::Refinedweb.recipe(),
            [
                "64d0f2c4a7b4ba2e",
                "dcf9ba516520c787",
                "43a42ae60d94f420",
                "82cb1269bb83c75d",
                "8421bed093de7a7a",
            ],
        );
        check(
            MinhashRecipe {
                ngram: 3,
                bands: 3,
                rows: 5,
                seed: 42,
                hash: MinhashHash::Sha1,
                ..fineweb
            },
            [
                "82fece71a7c3d0c6",
                "2f2d17601c6fd1b7",
                "09465fa8f23c10ab",
                "2e199005c2cf918e",
                "66047c26b79ebf8c",
            ],
        );
    }

    /// Values of `embed_func` in `near_deduplication/minhash_deduplication.py` of bigcode-dataset.
    #[test]
    fn the_preset_bigcode_gives_the_values_of_their_script() {
        check(
            MinhashPreset::Bigcode.recipe(),
            [
                "0afa07aca1aa37f8",
                "67a07ab141dcd282",
                "61491a3d4e8bd2ef",
                "820c85fe620c7d85",
                "357adfd7a7ac7e83",
            ],
        );
    }

    #[test]
    fn fewer_words_than_a_shingle_have_no_signature() {
        let recipe = MinhashRecipe {
            words: Some(WordSplitter::Whitespace),
            ..MinhashPreset::Fineweb.recipe()
        };
        assert_eq!(signature(recipe, "one two three, four -- !"), None);
        assert_eq!(signature(recipe, ""), None);
        assert_eq!(signature(MinhashPreset::Bigcode.recipe(), "a b c d"), None);
        // Empty words count there.
        assert!(signature(MinhashPreset::Bigcode.recipe(), "a()  b").is_some());
    }

    #[test]
    fn equal_bands_have_equal_keys_and_others_do_not() {
        let recipe = MinhashRecipe {
            words: Some(WordSplitter::Whitespace),
            ..MinhashPreset::Fineweb.recipe()
        };
        let hasher = Hasher::new(&recipe);
        let (mut scratch, mut own) = (Scratch::default(), MinhashScratch::default());
        let mut keys = |text: &str| {
            let mut keys = Vec::new();
            assert!(hasher.bands(text, &mut scratch, &mut own, &mut keys));
            keys
        };
        let text = "the river ran under the old bridge and on to the mill by the weir ".repeat(9);
        let first = keys(&text);
        assert_eq!(first.len(), 14 * BAND_KEY_LEN);
        let (bands, _) = first.as_chunks::<BAND_KEY_LEN>();
        let different: std::collections::HashSet<_> = bands.iter().collect();
        assert_eq!(different.len(), 14, "a band's number is part of its key");
        assert_eq!(first, keys(&text.to_uppercase()));
        let other = keys("a wholly different text about ships that pass in the night");
        assert!(first.chunks(16).zip(other.chunks(16)).all(|(a, b)| a != b));
    }

    fn golden_lines(name: &str) -> Option<impl Iterator<Item = Value>> {
        let Some(oracles) = stablelm_testkit::shared_oracles() else {
            eprintln!("skipped: there are no golden values beside the repository");
            return None;
        };
        let file = std::fs::File::open(oracles.join("data").join(name)).unwrap();
        let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
        Some(lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
    }

    #[test]
    fn golden_documents_have_the_signatures_of_datatrove() {
        let Some(documents) = golden_lines("docs.jsonl.gz") else {
            return;
        };
        let key = |kind: &Value, id: &Value| (kind.to_string(), id.to_string());
        let texts: HashMap<_, _> = documents
            .map(|document| {
                let key = key(&document["metadata"]["kind"], &document["id"]);
                (key, document["text"].as_str().unwrap().to_owned())
            })
            .collect();
        let golden = golden_lines("minhash_signatures.jsonl.gz").unwrap();
        let fineweb = MinhashPreset::Fineweb.recipe();
        let hashers = [MinhashHash::Xxhash64, MinhashHash::Sha1]
            .map(|hash| Hasher::new(&MinhashRecipe { hash, ..fineweb }));
        let (mut scratch, mut own) = (Scratch::default(), MinhashScratch::default());
        let mut checked = 0;
        for golden in golden {
            let text = &texts[&key(&golden["kind"], &golden["id"])];
            for (hasher, name) in hashers.iter().zip(["xxhash64", "sha1_64"]) {
                let found = hasher.signature(text, &mut scratch, &mut own).unwrap();
                let found: Vec<_> = found.iter().map(u64::to_string).collect();
                assert_eq!(json!(found), golden[name], "{name} of {}", golden["id"]);
            }
            let simplified = to_hex(&sha256(own.simplified.as_bytes())[..8]);
            assert_eq!(json!(simplified), golden["simplified_sha"]);
            let (shingles, _) = own.joined.shingles(5);
            assert_eq!(json!(shingles.len()), golden["n_shingles"]);
            checked += 1;
        }
        assert_eq!(checked, 182);
    }

    /// The clusters that datatrove 0.10.1 finds with its defaults in the golden documents, every
    /// seventh of them cut short, and every eleventh with another article.
    #[test]
    fn golden_documents_form_the_clusters_of_datatrove() {
        let Some(documents) = golden_lines("docs.jsonl.gz") else {
            return;
        };
        let mut texts: Vec<_> = documents
            .map(|document| document["text"].as_str().unwrap().to_owned())
            .collect();
        let cut = texts.iter().step_by(7).map(|text| {
            let len = text.chars().count() * 19 / 20;
            text.chars().take(len).collect()
        });
        let changed = texts.iter().skip(3).step_by(11);
        let changed = changed.map(|text| text.replace("the", "that"));
        let variants: Vec<String> = cut.chain(changed).collect();
        texts.extend(variants);

        let hasher = Hasher::new(&MinhashPreset::Fineweb.recipe());
        let (mut scratch, mut own) = (Scratch::default(), MinhashScratch::default());
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("bands");
        let mut bands = BandKeys::new(folder, 1 << 16, KeepRule::First);
        for (document, text) in texts.iter().enumerate() {
            let mut keys = Vec::new();
            if hasher.bands(text, &mut scratch, &mut own, &mut keys) {
                bands.add(document as u64, &keys, 1).unwrap();
            }
        }
        let pairs = bands.finish(&parent.path().join("pairs")).unwrap();
        let mut lines = String::new();
        for pair in pairs.read().unwrap() {
            let pair = pair.unwrap();
            writeln!(lines, "{} {}", pair.duplicate, pair.original).unwrap();
        }
        assert_eq!((texts.len(), pairs.len()), (1445, 220));
        assert_eq!(to_hex(&sha256(lines.as_bytes())[..8]), "d5e89973657e3486");
    }
}
