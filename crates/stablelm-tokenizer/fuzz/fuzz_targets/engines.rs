//! Every kind of instructions beside the one that is easy to check, and ids back to text.
//!
//! The first byte chooses the tokenizer, the others are a text. Encoders live as long as the run,
//! so that they also meet memories in every state; new ones then say whether an input alone is
//! enough to find the fault again.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use stablelm_tokenizer::{
    Encoder, EncoderOptions, Instructions, SpecialTokensInOutput, SpecialTokensInText,
};
use stablelm_tokenizer_fuzz::{POLICIES, Pair, found, pairs};

thread_local! {
    static ENCODERS: RefCell<Vec<Encoders>> =
        RefCell::new(pairs().iter().map(Encoders::new).collect());
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    ENCODERS.with_borrow_mut(|all| {
        let at = usize::from(choice) % all.len();
        let encoders = &mut all[at];
        for (special, _) in POLICIES {
            encoders.check(&text, special);
        }
    });
});

struct Encoders {
    pair: &'static Pair,
    scalar: Encoder<'static>,
    all: Vec<(EncoderOptions, Encoder<'static>)>,
}

impl Encoders {
    fn new(pair: &'static Pair) -> Self {
        let mut all = Vec::new();
        for instructions in Instructions::available() {
            for cache_bytes in [0, 1 << 12, 1 << 16] {
                let options = EncoderOptions {
                    cache_bytes,
                    instructions: Some(instructions),
                };
                all.push((options, pair.ours.encoder_with(options)));
            }
        }
        Self {
            pair,
            scalar: pair.ours.encoder_with(SCALAR),
            all,
        }
    }

    fn check(&mut self, text: &str, special: SpecialTokensInText) {
        let expected = found(&mut self.scalar, text, special);
        for (options, encoder) in &mut self.all {
            for pass in 0..2 {
                let ids = found(encoder, text, special);
                if ids != expected {
                    let mut new = self.pair.ours.encoder_with(*options);
                    let again = found(&mut new, text, special) != expected;
                    panic!(
                        "{options:?} {special}, pass {pass}, new encoder too: {again}: {text:?}\n\
                         {ids:?}\n{expected:?}"
                    );
                }
            }
        }
        if special == SpecialTokensInText::Escape
            && let Some(normal) = self.pair.decoded(text)
        {
            let decoded = self
                .pair
                .ours
                .decode(&expected, SpecialTokensInOutput::Keep);
            assert_eq!(decoded.expect("ids of tokens"), normal);
        }
    }
}

/// What the others are compared with: it remembers nothing.
const SCALAR: EncoderOptions = EncoderOptions {
    cache_bytes: 0,
    instructions: Some(Instructions::Scalar),
};
