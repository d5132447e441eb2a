//! How a text is cut into words: every rule that counts words names one of these ways.

pub(crate) mod spacy;
pub(crate) mod uax29;

use std::ops::Range;

use serde::Serialize;

use self::spacy::{SpacyEn, sentences};

/// How a document is cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WordSplitter {
    /// The tokens of spaCy's blank English tokenizer, stripped, without empty ones.
    SpacyEn,
    /// The words of Unicode Standard Annex 29 that hold a letter or a number.
    Uax29,
    /// What stands between Unicode white space, as Python's `str.split()` has it.
    Whitespace,
}

impl WordSplitter {
    /// Every splitter.
    pub const ALL: [Self; 3] = [Self::SpacyEn, Self::Uax29, Self::Whitespace];

    /// The word used in recipes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SpacyEn => "spacy-en",
            Self::Uax29 => "uax29",
            Self::Whitespace => "whitespace",
        }
    }
}

/// What a thread keeps from text to text: the words of the current one, and what it learned.
#[derive(Default)]
pub(crate) struct Scratch {
    words: Vec<Range<u32>>,
    /// Whose words lie in `words`.
    current: Option<WordSplitter>,
    /// Made when a rule first asks for it: it holds a table of a MiB.
    spacy: Option<Box<SpacyEn>>,
    /// The words of the text whose sentences are counted, apart from those of the current text.
    of_sentences: Vec<Range<u32>>,
}

impl Scratch {
    /// Must be called before a text that is not the one before.
    pub(crate) fn next_text(&mut self) {
        self.current = None;
    }

    /// The byte ranges of the words of `text`, cut once a text and splitter.
    pub(crate) fn words(&mut self, splitter: WordSplitter, text: &str) -> &[Range<u32>] {
        if self.current != Some(splitter) {
            self.words.clear();
            match splitter {
                WordSplitter::SpacyEn => self
                    .spacy
                    .get_or_insert_default()
                    .split(text, &mut self.words),
                WordSplitter::Uax29 => uax29::split(text, &mut self.words),
                WordSplitter::Whitespace => split_whitespace(text, &mut self.words),
            }
            self.current = Some(splitter);
        }
        &self.words
    }

    /// The number of sentences of `text`, and 1 where there is none, as datatrove counts them.
    ///
    /// See [`sentences`] for both rules; the one of words is `spacy-en`'s alone. The text need not be
    /// the current one, whose words stay.
    pub(crate) fn count_sentences(&mut self, splitter: WordSplitter, text: &str) -> u64 {
        let mut count = 1;
        self.cut_sentences(splitter, text, |_| count += 1);
        count
    }

    /// The sentences of `text`, with the white space around them; one where there is none.
    pub(crate) fn sentences<'t>(&mut self, splitter: WordSplitter, text: &'t str) -> Vec<&'t str> {
        let mut sentences = Vec::new();
        let mut start = 0;
        self.cut_sentences(splitter, text, |end| {
            sentences.push(&text[start..end]);
            start = end;
        });
        sentences.push(&text[start..]);
        sentences
    }

    fn cut_sentences(&mut self, splitter: WordSplitter, text: &str, cut: impl FnMut(usize)) {
        match splitter {
            WordSplitter::SpacyEn => {
                let spacy = self.spacy.get_or_insert_default();
                self.of_sentences.clear();
                spacy.split(text, &mut self.of_sentences);
                sentences::cut_at_words(text, &self.of_sentences, cut);
            }
            WordSplitter::Uax29 | WordSplitter::Whitespace => sentences::cut_at_chunks(text, cut),
        }
    }
}

fn split_whitespace(text: &str, words: &mut Vec<Range<u32>>) {
    let start = text.as_ptr().addr();
    words.extend(crate::text::split_whitespace(text).map(|word| {
        let at = word.as_ptr().addr() - start;
        let place = |at: usize| u32::try_from(at).expect("no text has 4 GiB");
        place(at)..place(at + word.len())
    }));
}
