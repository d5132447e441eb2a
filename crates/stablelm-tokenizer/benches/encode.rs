//! How fast texts become ids, in bytes a second: `just bench`.
//!
//! The tokenizer of the fixtures over texts made from a seed: quick, to see what a change did.
//! `just bench-tokenizer` is the one that compares with peers on real text.

use std::sync::LazyLock;

use divan::Bencher;
use divan::counter::BytesCount;
use stablelm_testkit::{corpus, fixtures};
use stablelm_tokenizer::{Encoder, EncoderOptions, Instructions, SpecialTokensInText, Tokenizer};

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::from_file(&fixtures().join("tokenizer")).expect("the fixture is a tokenizer")
});

/// Texts to encode, one call each.
#[derive(Clone, Copy, Debug)]
enum Texts {
    /// English documents of about a kilobyte.
    Documents,
    /// One word of one letter.
    OneLetter,
    /// Chinese characters without spaces.
    Chinese,
}

const ALL: [Texts; 3] = [Texts::Documents, Texts::OneLetter, Texts::Chinese];

fn main() {
    divan::main();
}

/// An encoder that has seen nothing: what a short run pays.
#[divan::bench(args = ALL)]
fn fresh(bencher: Bencher, texts: Texts) {
    let texts = texts.make();
    let mut ids = Vec::new();
    bencher
        .counter(bytes(&texts))
        .with_inputs(|| TOKENIZER.encoder())
        .bench_local_refs(|encoder| encode(encoder, &texts, &mut ids));
}

/// An encoder that has seen the texts before: what a long run comes to.
#[divan::bench(args = ALL)]
fn warm(bencher: Bencher, texts: Texts) {
    let texts = texts.make();
    let mut ids = Vec::new();
    let mut encoder = TOKENIZER.encoder();
    encode(&mut encoder, &texts, &mut ids);
    bencher
        .counter(bytes(&texts))
        .bench_local(|| encode(&mut encoder, &texts, &mut ids));
}

/// A warm encoder with each kind of instructions that this processor has.
#[divan::bench(args = Instructions::available())]
fn warm_with(bencher: Bencher, instructions: Instructions) {
    let texts = Texts::Documents.make();
    let mut ids = Vec::new();
    let mut encoder = TOKENIZER.encoder_with(EncoderOptions {
        instructions: Some(instructions),
        ..EncoderOptions::BULK
    });
    encode(&mut encoder, &texts, &mut ids);
    bencher
        .counter(bytes(&texts))
        .bench_local(|| encode(&mut encoder, &texts, &mut ids));
}

impl Texts {
    fn make(self) -> Vec<String> {
        match self {
            Self::Documents => corpus(1234, 500)
                .into_iter()
                .map(|made| made.text)
                .collect(),
            Self::OneLetter => vec!["a".repeat(100_000)],
            Self::Chinese => {
                let characters = (0..50_000_u32).map(|at| 0x4E00 + at * 7_919 % 20_000);
                vec![characters.filter_map(char::from_u32).collect()]
            }
        }
    }
}

fn bytes(texts: &[String]) -> BytesCount {
    BytesCount::new(texts.iter().map(String::len).sum::<usize>())
}

fn encode(encoder: &mut Encoder, texts: &[String], ids: &mut Vec<u16>) {
    ids.clear();
    for text in texts {
        encoder
            .encode_into(text, SpecialTokensInText::Encode, ids)
            .expect("special tokens are encoded, not refused");
    }
}
