//! Signatures that nearly equal texts share in part: MinHash with locality-sensitive hashing.
//!
//! Broder, "On the resemblance and containment of documents" (1997): the least hash of a text's
//! shingles under a random permutation equals another text's with the probability that is their
//! Jaccard similarity. Values are grouped into bands; texts that share a whole band are taken for
//! nearly equal, from a similarity of about `(1 / bands)^(1 / rows)` on.

mod hasher;
mod minima;
mod permutations;

use serde::Serialize;

use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::words::WordSplitter;

pub(crate) use hasher::{Hasher, MinhashScratch};

/// The keys of `[dedup.minhash]`.
pub(crate) const KEYS: &[&str] = &[
    "preset",
    "ngram",
    "bands",
    "rows",
    "hash",
    "hash_bits",
    "keep",
    "words",
    "seed",
];

/// Most words a shingle.
const MAX_NGRAM: u64 = 1_000;
/// Most values a signature.
const MAX_VALUES: u64 = 65_536;

/// Parameters of `[dedup.minhash]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MinhashRecipe {
    /// Whose numbers these are where the recipe names none.
    pub preset: MinhashPreset,
    /// Words a shingle.
    pub ngram: u32,
    /// Bands of the signature; texts that share one are nearly equal.
    pub bands: u32,
    /// Values a band.
    pub rows: u32,
    /// How a shingle is hashed.
    pub hash: MinhashHash,
    /// Bits of a hash and of a value: 64 or 32.
    pub hash_bits: u32,
    /// Which of nearly equal texts stays.
    pub keep: KeepRule,
    /// How words of the simplified text are cut; `None` for BigCode's identifiers.
    pub words: Option<WordSplitter>,
    /// Seed of the permutations.
    pub seed: u32,
}

/// Published sets of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MinhashPreset {
    /// 14 bands of 8 over shingles of 5 words: datatrove's defaults, with which FineWeb was made.
    Fineweb,
    /// 450 bands of 20: what RefinedWeb's paper calls 20 buckets of 450 hashes.
    Refinedweb,
    /// 25 bands of 10 over 5 identifiers of the text as it is, as StarCoder's data was made
    /// (`near_deduplication/minhash_deduplication.py` of bigcode-dataset, threshold 0.7).
    Bigcode,
}

/// How a shingle is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MinhashHash {
    /// XXH64 with seed 0; for 32 bits XXH32.
    Xxhash64,
    /// The first bytes of SHA-1 as a little-endian number.
    Sha1,
}

/// Which of nearly equal texts stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeepRule {
    /// The one with most characters, the first of those.
    Longest,
    /// The one that comes first.
    First,
}

impl MinhashPreset {
    /// The parameters of this set.
    pub fn recipe(self) -> MinhashRecipe {
        let fineweb = MinhashRecipe {
            preset: self,
            ngram: 5,
            bands: 14,
            rows: 8,
            hash: MinhashHash::Xxhash64,
            hash_bits: 64,
            keep: KeepRule::Longest,
            words: Some(WordSplitter::SpacyEn),
            seed: 1,
        };
        match self {
            Self::Fineweb => fineweb,
            Self::Refinedweb => MinhashRecipe {
                bands: 450,
                rows: 20,
                ..fineweb
            },
            Self::Bigcode => MinhashRecipe {
                bands: 25,
                rows: 10,
                hash: MinhashHash::Sha1,
                hash_bits: 32,
                keep: KeepRule::First,
                words: None,
                seed: 42,
                ..fineweb
            },
        }
    }
}

impl MinhashRecipe {
    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let presets = [
            ("fineweb", MinhashPreset::Fineweb),
            ("refinedweb", MinhashPreset::Refinedweb),
            ("bigcode", MinhashPreset::Bigcode),
        ];
        let preset = one_of(fields, "preset", "preset", presets)?;
        let mut recipe = preset.unwrap_or(MinhashPreset::Fineweb).recipe();
        let hashes = [
            ("xxhash64", MinhashHash::Xxhash64),
            ("sha1", MinhashHash::Sha1),
        ];
        recipe.hash = one_of(fields, "hash", "hash", hashes)?.unwrap_or(recipe.hash);
        let rules = [("longest", KeepRule::Longest), ("first", KeepRule::First)];
        recipe.keep = one_of(fields, "keep", "keep rule", rules)?.unwrap_or(recipe.keep);
        if fields.has("words") {
            if recipe.words.is_none() {
                return Err(fields.wrong("words", "no splitter beside the preset `bigcode`"));
            }
            recipe.words = Some(fields.words()?);
        }
        recipe.ngram = bounded(fields, "ngram", 1, MAX_NGRAM)?.unwrap_or(recipe.ngram);
        recipe.bands = bounded(fields, "bands", 1, MAX_VALUES)?.unwrap_or(recipe.bands);
        let most_rows = MAX_VALUES / u64::from(recipe.bands);
        recipe.rows = bounded(fields, "rows", 1, most_rows)?.unwrap_or(recipe.rows);
        if u64::from(recipe.rows) > most_rows {
            // The rows are the preset's: what the recipe wrote is the bands.
            let most_bands = MAX_VALUES / u64::from(recipe.rows);
            bounded(fields, "bands", 1, most_bands)?;
        }
        recipe.seed = bounded(fields, "seed", 0, u64::from(u32::MAX))?.unwrap_or(recipe.seed);
        recipe.hash_bits = bounded(fields, "hash_bits", 32, 64)?.unwrap_or(recipe.hash_bits);
        if !matches!(recipe.hash_bits, 32 | 64) {
            return Err(fields.wrong("hash_bits", "32 or 64"));
        }
        Ok(recipe)
    }
}

/// The value whose name `key` holds.
fn one_of<T: Copy, const N: usize>(
    fields: &Fields<'_>,
    key: &str,
    what: &'static str,
    values: [(&'static str, T); N],
) -> Result<Option<T>, RecipeError> {
    let Some(name) = fields.string(key)? else {
        return Ok(None);
    };
    let value = values.iter().find(|(known, _)| *known == name);
    let value = value.map(|&(_, value)| value);
    let unknown = || fields.unknown_name(key, what, &values.map(|(known, _)| known));
    value.ok_or_else(unknown).map(Some)
}

/// A whole number between two bounds, both allowed.
fn bounded(
    fields: &Fields<'_>,
    key: &str,
    least: u64,
    most: u64,
) -> Result<Option<u32>, RecipeError> {
    let Some(number) = fields.whole(key)? else {
        return Ok(None);
    };
    if !(least..=most).contains(&number) {
        return Err(fields.wrong(key, &format!("a whole number from {least} to {most}")));
    }
    Ok(u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(keys: &str) -> Result<MinhashRecipe, RecipeError> {
        let recipe = format!(
            "name = 'x'\n[tokenizer]\nsource = 't'\n[[sources]]\nname = 's'\nkind = 'jsonl'\n\
             paths = ['s']\n[dedup.minhash]\n{keys}"
        );
        let recipe = crate::recipe::parse_recipe(&recipe, Path::new("recipe.toml"))?;
        Ok(recipe.dedup.minhash.expect("the table is there"))
    }

    #[test]
    fn an_empty_table_asks_for_what_fineweb_was_made_with() {
        assert_eq!(parse("").unwrap(), MinhashPreset::Fineweb.recipe());
    }

    #[test]
    fn keys_win_over_the_preset() {
        let keys = "preset = 'refinedweb'\nrows = 10\nhash = 'sha1'\nkeep = 'first'\n\
                    words = 'uax29'\nseed = 7\nngram = 13\nhash_bits = 32";
        let expected = MinhashRecipe {
            preset: MinhashPreset::Refinedweb,
            ngram: 13,
            bands: 450,
            rows: 10,
            hash: MinhashHash::Sha1,
            hash_bits: 32,
            keep: KeepRule::First,
            words: Some(WordSplitter::Uax29),
            seed: 7,
        };
        assert_eq!(parse(keys).unwrap(), expected);
    }

    #[test]
    fn wrong_values_name_their_key_and_line() {
        fn check(keys: &str, expected: &str) {
            let error = parse(keys).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("line 9"), "{error}");
        }
        check("hash = 'xxhash'", "the nearest known one is `xxhash64`");
        check("keep = 'shortest'", "keep rule `shortest`");
        check("preset = 'fine-web'", "the nearest known one is `fineweb`");
        check("words = 'spacy'", "the nearest known one is `spacy-en`");
        check("ngram = 0", "from 1 to 1000");
        check("bands = 0", "from 1 to 65536");
        check("bands = 65536", "from 1 to 8192");
        check("rows = 4682", "from 1 to 4681");
        check("hash_bits = 48", "32 or 64");
        check("seed = 4294967296", "from 0 to 4294967295");
        check("row = 8", "the nearest known one is `rows`");
        check("words = 'uax29'\npreset = 'bigcode'", "beside the preset");
    }
}
