//! The fast engine, with every kind of instructions, beside Hugging Face tokenizers.

use std::sync::LazyLock;

use stablelm_testkit::{corpus, tricky_text};
use stablelm_tokenizer::{EncoderOptions, Instructions, SpecialTokensInText, Tokenizer};

use crate::inputs::{FIXTURE, oracle};

/// Two tokenizers, each as ours and as the library's.
struct Pair<'a> {
    ours: &'a Tokenizer,
    library: tokenizers::Tokenizer,
}

impl<'a> Pair<'a> {
    fn new(ours: &'a Tokenizer) -> Self {
        assert_eq!(ours.engine(), "stablelm", "{:?}", ours.why_not_fast());
        let library = tokenizers::Tokenizer::from_bytes(ours.bytes()).unwrap();
        Self { ours, library }
    }

    /// Checks the ids of texts, each with every kind of instructions, twice in a row, with a memory
    /// for next to nothing and with one for all.
    fn check(&mut self, texts: impl Iterator<Item = String>) {
        let mut encoders = Vec::new();
        for instructions in Instructions::available() {
            for cache_bytes in [0, 1 << 20] {
                let instructions = Some(instructions);
                let options = EncoderOptions {
                    cache_bytes,
                    instructions,
                };
                encoders.push((options, self.ours.encoder_with(options)));
            }
        }
        for text in texts {
            for (special, encodes_special) in [
                (SpecialTokensInText::Encode, false),
                (SpecialTokensInText::Escape, true),
            ] {
                self.library.set_encode_special_tokens(encodes_special);
                let expected = self.library.encode_fast(text.as_str(), false).unwrap();
                for (options, encoder) in &mut encoders {
                    for _ in 0..2 {
                        let mut ids = vec![7_u16];
                        encoder.encode_into(&text, special, &mut ids).unwrap();
                        let ids: Vec<u32> = ids[1..].iter().map(|&id| id.into()).collect();
                        assert!(
                            ids == expected.get_ids(),
                            "{options:?} {special} {text:?}\n{ids:?}\n{:?}",
                            expected.get_ids()
                        );
                    }
                }
            }
        }
    }
}

/// Texts that no random choice should be needed to find.
static EDGES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut texts = vec![String::new()];
    // Every length around a block, ending in everything that looks ahead.
    for len in (0..5).chain(58..70).chain(122..134) {
        for end in [
            "",
            " ",
            "  ",
            "   ",
            "\n",
            " x",
            "'s",
            "'ll",
            "'",
            "\u{3000}",
            "\u{3000}x",
            "é",
            "漢",
            "😀",
            "e\u{301}",
        ] {
            texts.push("a".repeat(len) + end);
            texts.push(" ".repeat(len) + end);
            texts.push(".".repeat(len) + end + "b");
        }
    }
    for len in (1..80).chain([127, 128, 129, 255, 256, 257, 1000]) {
        for piece in [
            "a",
            "\n",
            "-",
            "7",
            "é",
            "漢",
            "\u{301}",
            " \n",
            "'s",
            "<|endoftext|>",
        ] {
            texts.push(piece.repeat(len));
        }
    }
    texts
});

#[test]
fn edges_have_the_ids_of_the_library() {
    Pair::new(&FIXTURE).check(EDGES.iter().cloned());
}

#[test]
fn edges_have_the_ids_of_the_library_with_neox() {
    if let Some((_, tokenizer)) = oracle() {
        Pair::new(&tokenizer).check(EDGES.iter().cloned());
    }
}

#[test]
fn tricky_texts_have_the_ids_of_the_library() {
    Pair::new(&FIXTURE).check((0..2000).map(|number| tricky_text(1, number)));
}

#[test]
fn tricky_texts_have_the_ids_of_the_library_with_neox() {
    if let Some((_, tokenizer)) = oracle() {
        Pair::new(&tokenizer).check((0..4000).map(|number| tricky_text(2, number)));
    }
}

#[test]
fn prose_has_the_ids_of_the_library() {
    Pair::new(&FIXTURE).check(corpus(11, 60).into_iter().map(|document| document.text));
}

/// All that differs between characters, in texts of many characters.
#[test]
fn every_code_point_has_the_ids_of_the_library() {
    let points: Vec<char> = ('\0'..=char::MAX).collect();
    let texts = points.chunks(997).map(|points| {
        let mut text = String::new();
        for point in points {
            text.extend(
                ["a", " ", "\n"][u32::from(*point) as usize % 3]
                    .chars()
                    .chain([*point]),
            );
        }
        text
    });
    let pair = Pair::new(&FIXTURE);
    let mut encoder = FIXTURE.encoder();
    for text in texts {
        let expected = pair.library.encode_fast(text.as_str(), false).unwrap();
        let mut ids = Vec::<u32>::new();
        encoder
            .encode_into(&text, SpecialTokensInText::Encode, &mut ids)
            .unwrap();
        assert!(ids == expected.get_ids(), "{text:?}");
    }
}
