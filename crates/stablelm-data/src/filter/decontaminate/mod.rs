//! Drops documents that share a run of words with an evaluation set.
//!
//! The rule is datatrove's (`pipeline/decont/n_grams.py`): of each evaluation example, all runs of 12
//! words of the answer are looked for, and the runs that begin in the question and end in the answer;
//! those within the question only when asked. Examples and documents are simplified first, so that
//! case, numbers, punctuation and accents do not matter. datatrove gets its examples from a library of
//! tasks; here they stand in files that a recipe names.
//!
//! Runs are compared by hashes of 64 bits, as in datatrove: with a million runs in the index, one
//! document of a thousand words in 2 * 10^10 is dropped by mistake.

mod examples;
mod index;

use std::io;

use serde::Serialize;

use crate::dedup::simplify::simplify;
use crate::document::Document;
use crate::filter::loaded::Loaded;
use crate::filter::{Filter, Metrics, Outcome, Reason};
use crate::recipe::RecipeError;
use crate::recipe::fields::Fields;
use crate::words::{Scratch, WordSplitter};
use index::{Index, Rolling};

/// The name of this filter in recipes.
pub(crate) const NAME: &str = "decontaminate";
/// The keys of its table in recipes.
pub(crate) const KEYS: &[&str] = &[
    "name",
    "words",
    "files",
    "text_keys",
    "query_keys",
    "n_grams",
    "find_query_ngrams",
    "find_overlap_ngrams",
];

/// N-grams shared with evaluation sets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decontaminate {
    /// The word splitter.
    pub words: WordSplitter,
    /// Evaluation files, relative to the recipe. One that is called `.json`, `.jsonl` or `.ndjson`
    /// holds objects, an example each; any other has an answer a line.
    pub files: Vec<String>,
    /// Keys of the answers of an example; each is a string or a list of strings.
    pub text_keys: Vec<String>,
    /// Keys whose values make up the question.
    pub query_keys: Vec<String>,
    /// Words in a run.
    pub n_grams: u64,
    /// Whether runs within a question are looked for.
    pub find_query_ngrams: bool,
    /// Whether runs from a question into its answer are looked for.
    pub find_overlap_ngrams: bool,
    #[serde(skip)]
    index: Loaded<Index>,
}

impl Decontaminate {
    /// Reads its table.
    pub(crate) fn parse(fields: &Fields<'_>) -> Result<Self, RecipeError> {
        let key_names = |key, default: &str| -> Result<_, RecipeError> {
            Ok(fields.strings(key)?.unwrap_or(vec![default.to_owned()]))
        };
        let filter = Self {
            words: fields.words()?,
            files: fields
                .strings("files")?
                .ok_or_else(|| fields.missing("files"))?,
            text_keys: key_names("text_keys", "text")?,
            query_keys: key_names("query_keys", "query")?,
            n_grams: fields.whole("n_grams")?.unwrap_or(12),
            find_query_ngrams: fields.bool("find_query_ngrams")?.unwrap_or(false),
            find_overlap_ngrams: fields.bool("find_overlap_ngrams")?.unwrap_or(true),
            index: Loaded::absent(),
        };
        if filter.files.is_empty() {
            return Err(fields.wrong("files", "at least one file"));
        }
        if !(1..=1000).contains(&filter.n_grams) {
            return Err(fields.wrong("n_grams", "a number of words from 1 to 1000"));
        }
        Ok(filter)
    }

    /// Reads the evaluation files and puts their runs of words into the index.
    pub(crate) fn load(&mut self, read: &dyn Fn(&str) -> io::Result<Vec<u8>>) -> io::Result<()> {
        let mut index = Index::default();
        let mut scratch = Scratch::default();
        for (file, path) in self.files.iter().enumerate() {
            let bytes = read(path)?;
            let keys = (self.text_keys.as_slice(), self.query_keys.as_slice());
            for (line, example) in examples::read(path, &bytes, keys)? {
                let query = self.hash_words(&example.query, &mut scratch);
                for answer in &example.answers {
                    let answer = self.hash_words(answer, &mut scratch);
                    self.add(&query, &answer, (file, line), &mut index);
                }
            }
        }
        self.index = Loaded::new(index);
        Ok(())
    }

    fn num_words(&self) -> usize {
        usize::try_from(self.n_grams).expect("the recipe was checked")
    }

    fn hash_words(&self, text: &str, scratch: &mut Scratch) -> Vec<u64> {
        let (mut plain, mut simplified) = (String::new(), String::new());
        simplify(text, &mut plain, &mut simplified);
        scratch.next_text();
        let words = scratch.words(self.words, &simplified).iter();
        words.map(|word| index::hash(&simplified, word)).collect()
    }

    fn add(&self, query: &[u64], answer: &[u64], place: (usize, usize), index: &mut Index) {
        let n = self.num_words();
        let mut add = |words: &[u64]| {
            Rolling::over(words, n).for_each(|(_, run)| index.insert(run, place));
        };
        add(answer);
        if self.find_query_ngrams {
            add(query);
        }
        if self.find_overlap_ngrams {
            // Both parts are shorter than a run, so that every run has words of both.
            let before = &query[query.len() - query.len().min(n - 1)..];
            let behind = &answer[..answer.len().min(n - 1)];
            add(&[before, behind].concat());
        }
    }
}

impl Filter for Decontaminate {
    fn name(&self) -> &'static str {
        NAME
    }

    fn apply(&self, document: &Document, scratch: &mut Scratch, metrics: &mut Metrics) -> Outcome {
        let (mut plain, mut simplified) = (String::new(), String::new());
        simplify(&document.text, &mut plain, &mut simplified);
        scratch.next_text();
        let words = scratch.words(self.words, &simplified);
        let hashes: Vec<u64> = words
            .iter()
            .map(|word| index::hash(&simplified, word))
            .collect();
        let n = self.num_words();
        let mut found = Rolling::over(&hashes, n)
            .filter_map(|(at, run)| self.index.get(run).map(|place| (at, place)));
        let first = found.next();
        if metrics.is_on() {
            metrics.note("contaminated_ngrams", first.iter().count() + found.count());
            if let Some((at, (file, line))) = first {
                let run = words[at..at + n].iter();
                let run: Vec<_> = run
                    .map(|word| &simplified[word.start as usize..word.end as usize])
                    .collect();
                metrics.note("contaminated_ngram", run.join(" "));
                metrics.note("contaminated_task", self.files[file].as_str());
                metrics.note("contaminated_line", line);
            }
        }
        // The words that lie there are not those of the document.
        scratch.next_text();
        match first {
            Some(_) => Outcome::Drop(Reason::named("contaminated")),
            None => Outcome::Keep,
        }
    }
}

#[cfg(test)]
mod tests;
