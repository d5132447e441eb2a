//! Prose of our own about a country that does not exist, for tests, fixtures and the tiny model.
//!
//! Every sentence comes from a template in `genres`, filled from the lists in `words` and from the
//! names of one `scene`, so that a document speaks of the same town and people throughout. All of
//! it was written for this repository and is dedicated to the public domain (CC0-1.0).

mod genres;
mod scene;
mod template;
mod words;

use scene::Scene;

use crate::random::Random;

/// One made document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusDocument {
    /// What kind of text it is.
    pub genre: Genre,
    /// A title of a few words, on one line; not unique.
    pub title: String,
    /// The text, 80 to 260 words, paragraphs parted by an empty line; the title is not in it.
    pub text: String,
}

/// The kinds of text in the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Genre {
    /// An entry about a town in an encyclopedia.
    Encyclopedia,
    /// A page from a lighthouse keeper's log.
    KeepersLog,
    /// A recipe, as a coastal cook would tell it.
    Recipe,
    /// A letter from one inhabitant to another.
    Letter,
    /// Questions of visitors with their answers.
    QuestionsAndAnswers,
    /// An article that explains how a thing is done.
    HowTo,
}

impl Genre {
    /// Every genre, in the order of their declaration.
    pub const ALL: [Self; 6] = [
        Self::Encyclopedia,
        Self::KeepersLog,
        Self::Recipe,
        Self::Letter,
        Self::QuestionsAndAnswers,
        Self::HowTo,
    ];

    /// Returns the genre's name, lower case with hyphens.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Encyclopedia => "encyclopedia",
            Self::KeepersLog => "keepers-log",
            Self::Recipe => "recipe",
            Self::Letter => "letter",
            Self::QuestionsAndAnswers => "questions-and-answers",
            Self::HowTo => "how-to",
        }
    }
}

/// Makes `documents` documents from a seed.
///
/// A document depends on the seed and on its place only: the first ten of a thousand are the ten
/// that `corpus(seed, 10)` gives.
pub fn corpus(seed: u64, documents: usize) -> Vec<CorpusDocument> {
    (0..documents as u64)
        .map(|index| document(seed, index))
        .collect()
}

fn document(seed: u64, index: u64) -> CorpusDocument {
    let mut random = Random::for_item(seed, index);
    let genre = *random.pick(&Genre::ALL);
    let mut scene = Scene::new(&mut random);
    let (title, text) = match genre {
        Genre::Encyclopedia => genres::encyclopedia::write(&mut scene, &mut random),
        Genre::KeepersLog => genres::keepers_log::write(&mut scene, &mut random),
        Genre::Recipe => genres::recipe::write(&mut scene, &mut random),
        Genre::Letter => genres::letter::write(&mut scene, &mut random),
        Genre::QuestionsAndAnswers => genres::questions::write(&mut scene, &mut random),
        Genre::HowTo => genres::how_to::write(&mut scene, &mut random),
    };
    CorpusDocument { genre, title, text }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const STOP_WORDS: [&str; 8] = ["the", "be", "to", "of", "and", "that", "have", "with"];

    /// Checks what the Gopher quality rules ask of a document, with whitespace words.
    fn check_quality(document: &CorpusDocument) {
        let words: Vec<&str> = document.text.split_whitespace().collect();
        let num_words = words.len();
        let show = || format!("{num_words} words in {document:#?}");
        assert!((80..=260).contains(&num_words), "{}", show());

        let num_characters: usize = words.iter().map(|word| word.chars().count()).sum();
        let mean_len = num_characters as f64 / num_words as f64;
        assert!((3.0..=10.0).contains(&mean_len), "{mean_len}: {}", show());

        let stop_words = STOP_WORDS
            .iter()
            .filter(|word| words.contains(word))
            .count();
        assert!(stop_words >= 2, "{}", show());

        let with_letter = words
            .iter()
            .filter(|word| word.chars().any(char::is_alphabetic))
            .count();
        assert!(with_letter * 10 >= num_words * 8, "{}", show());
    }

    #[test]
    fn every_document_passes_the_quality_rules() {
        for seed in [0, 1234, u64::MAX] {
            corpus(seed, 800).iter().for_each(check_quality);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_documents() {
        assert_eq!(corpus(7, 40), corpus(7, 40));
        assert_ne!(corpus(7, 40), corpus(8, 40));
    }

    #[test]
    fn a_longer_corpus_begins_with_the_shorter_one() {
        assert_eq!(corpus(7, 10), corpus(7, 50)[..10]);
    }

    #[test]
    fn no_two_documents_are_equal() {
        let documents = corpus(1234, 800);
        let texts: HashSet<&str> = documents.iter().map(|d| d.text.as_str()).collect();
        assert_eq!(texts.len(), documents.len());
    }

    #[test]
    fn every_genre_appears() {
        let documents = corpus(1234, 800);
        for genre in Genre::ALL {
            let num_documents = documents.iter().filter(|d| d.genre == genre).count();
            assert!(num_documents >= 80, "{}: {num_documents}", genre.as_str());
        }
    }

    #[test]
    fn no_document_shows_a_trace_of_its_templates() {
        for document in corpus(1234, 800) {
            for text in [&document.title, &document.text] {
                assert!(!text.contains(['{', '}', '[', ']', '|']), "{text}");
                assert!(!text.contains("  "), "{text}");
                assert_eq!(text.trim(), text);
            }
            assert!(!document.title.contains('\n'));
        }
    }
}
