//! Compares our ids with those of Hugging Face tokenizers on as many texts as you have time for.
//!
//! `compare_with_library TOKENIZER [--documents 1000000] [--seed 1] [--code-points]`
//!
//! Texts are those that tokenizers get wrong, by seed and number; or, with `--code-points`, every
//! character in every context of a list. Each is encoded with every kind of instructions of this
//! processor, with a memory for next to nothing and with the usual one, twice in a row. The first
//! difference is shown and ends the run.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "an example is a command of its own"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use stablelm_tokenizer::{Encoder, EncoderOptions, Instructions, SpecialTokensInText, Tokenizer};
use tokenizers::{PaddingParams, TruncationParams};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str =
    "usage: compare_with_library TOKENIZER [--documents 1000000] [--seed 1] [--code-points]";

/// A memory so small that what is remembered is soon forgotten.
const TINY: usize = 1 << 12;

/// Documents between two lines of progress.
const STEP: u64 = 10_000;

/// Characters of a document with `--code-points`.
const NUM_POINTS: usize = 256;

/// What stands around a character, which is `@`: neighbors of every class, and some that NFC joins
/// with what is beside them.
#[rustfmt::skip]
const CONTEXTS: [&str; 24] = [
    "@", "@@", "x@y", "7@8", ".@-", " @x", "  @x", "   @", "\n@x", "\t@ x", "\u{3000}@ \u{3000}", "x@ ", "x @ y",
    "x@  y", "x@\n\ny", "x'@x", "'@'", "@'s", "x\t'@", "@\u{301}", "e@", "e@\u{301}", "\u{1100}@\u{11A8}",
    "\u{915}@\u{93C}",
];

/// Bytes that vectors work on at once.
const BLOCK_LEN: usize = 64;

/// Where in a block a character starts, besides: right before its border.
const PLACES: [usize; 3] = [61, 62, 63];

/// What stands between contexts, so that none sees another.
const BETWEEN: &str = "\nx\n";

/// Contexts that are a text of their own to a tokenizer with this token.
const WHOLE: [&str; 7] = ["@", "@@", " @", "  @", "x@", "@ ", "x\n@"];
const END_OF_TEXT: &str = "<|endoftext|>";

fn main() -> ExitCode {
    match run() {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let ours = Tokenizer::from_file(&options.tokenizer)?;
    if let Some(reason) = ours.why_not_fast() {
        return Err(format!("the library itself encodes for this tokenizer: {reason}").into());
    }
    let mut comparison = Comparison::new(&ours)?;
    let what = if options.has_code_points {
        compare_code_points(&mut comparison)?;
        "every character in every context"
    } else {
        compare_documents(&mut comparison, options.seed, options.num_documents)?;
        "tricky texts"
    };
    Ok(format!(
        "{what}, instructions {}: {}",
        comparison.instructions(),
        comparison.summary()
    ))
}

struct Options {
    tokenizer: PathBuf,
    num_documents: u64,
    seed: u64,
    has_code_points: bool,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut options = Self {
            tokenizer: PathBuf::new(),
            num_documents: 1_000_000,
            seed: 1,
            has_code_points: false,
        };
        while let Some(argument) = arguments.next() {
            let mut number =
                || -> Result<u64, Failure> { Ok(arguments.next().ok_or(USAGE)?.parse()?) };
            match argument.as_str() {
                "--documents" => options.num_documents = number()?,
                "--seed" => options.seed = number()?,
                "--code-points" => options.has_code_points = true,
                _ if argument.starts_with('-') => return Err(USAGE.into()),
                _ => options.tokenizer = argument.into(),
            }
        }
        if options.tokenizer.as_os_str().is_empty() {
            return Err(USAGE.into());
        }
        Ok(options)
    }
}

fn compare_documents(
    comparison: &mut Comparison<'_>,
    seed: u64,
    num_documents: u64,
) -> Result<(), Failure> {
    for number in 0..num_documents {
        let text = stablelm_testkit::tricky_text(seed, number);
        let show = |difference| format!("seed {seed}, number {number}, {difference}");
        let num_special = comparison
            .compare(&text, SpecialTokensInText::Encode)
            .map_err(show)?;
        // Without a special token both choices are one, which is worth a look now and then.
        if num_special > 0 || number % 4 == 0 {
            comparison
                .compare(&text, SpecialTokensInText::Escape)
                .map_err(show)?;
        }
        let num_done = number + 1;
        if num_done % STEP == 0 {
            eprintln!("{num_done} of {num_documents}: {}", comparison.summary());
        }
    }
    Ok(())
}

fn compare_code_points(comparison: &mut Comparison<'_>) -> Result<(), Failure> {
    let points: Vec<char> = ('\0'..=char::MAX).collect();
    for (number, chunk) in points.chunks(NUM_POINTS).enumerate() {
        let mut compare =
            |points: &[char]| comparison.compare(&in_contexts(points), SpecialTokensInText::Encode);
        if let Err(difference) = compare(chunk) {
            // One character is easier to read, if it takes no more to differ.
            let alone = chunk.iter().find_map(|&point| compare(&[point]).err());
            return Err(alone.unwrap_or(difference).into());
        }
        if number % 64 == 63 {
            let num_done = (number + 1) * NUM_POINTS;
            eprintln!("{num_done} of {}: {}", points.len(), comparison.summary());
        }
    }
    Ok(())
}

/// Returns a text of characters in all contexts.
fn in_contexts(points: &[char]) -> String {
    let mut text = String::new();
    for point in points.iter().map(char::to_string) {
        // Blocks are counted from the last special token, which ends the text for this character.
        let start = text.len();
        for place in PLACES {
            let len = text.len() - start;
            let num_before = (place + BLOCK_LEN - len % BLOCK_LEN) % BLOCK_LEN;
            text.push_str(&[" ", "x", "."][place % 3].repeat(num_before));
            text.push_str(&point);
            text.push_str(["'s", " ", "x"][place % 3]);
            text.push_str(BETWEEN);
        }
        for context in CONTEXTS {
            text.push_str(&context.replace('@', &point));
            text.push_str(BETWEEN);
        }
        for context in WHOLE {
            text.push_str(END_OF_TEXT);
            text.push_str(&context.replace('@', &point));
        }
        text.push_str(END_OF_TEXT);
    }
    text
}

/// All encoders of ours beside the library.
struct Comparison<'t> {
    library: tokenizers::Tokenizer,
    encoders: Vec<(EncoderOptions, Encoder<'t>)>,
    /// Reused for all ids.
    ids: Vec<u32>,
    started: Instant,
    num_texts: u64,
    num_bytes: usize,
    num_ids: usize,
}

impl<'t> Comparison<'t> {
    fn new(ours: &'t Tokenizer) -> Result<Self, Failure> {
        let mut library = tokenizers::Tokenizer::from_bytes(ours.bytes())?;
        // What only cuts ids off or adds some is no part of ours.
        library
            .with_truncation(None::<TruncationParams>)?
            .with_padding(None::<PaddingParams>);
        let mut encoders = Vec::new();
        for instructions in Instructions::available() {
            for cache_bytes in [TINY, EncoderOptions::BULK.cache_bytes] {
                let options = EncoderOptions {
                    cache_bytes,
                    instructions: Some(instructions),
                };
                encoders.push((options, ours.encoder_with(options)));
            }
        }
        Ok(Self {
            library,
            encoders,
            ids: Vec::new(),
            started: Instant::now(),
            num_texts: 0,
            num_bytes: 0,
            num_ids: 0,
        })
    }

    /// Returns how many special tokens a text has, or what shows that ids differ.
    fn compare(&mut self, text: &str, special: SpecialTokensInText) -> Result<u64, String> {
        self.library
            .set_encode_special_tokens(special == SpecialTokensInText::Escape);
        let expected = self.library.encode_fast(text, false);
        let expected = expected.map_err(|error| format!("the library fails: {error}"))?;
        let expected = expected.get_ids();
        let mut num_special = 0;
        for (options, encoder) in &mut self.encoders {
            for pass in ["first", "second"] {
                self.ids.clear();
                let encoded = encoder.encode_into(text, special, &mut self.ids);
                if self.ids != expected || encoded.is_err() {
                    return Err(format!(
                        "{options:?}, special tokens `{special}`, {pass} pass, {encoded:?}:\n\
                         text     {text:?}\nfound    {:?}\nexpected {expected:?}",
                        self.ids
                    ));
                }
                num_special = encoded.unwrap_or_default();
            }
        }
        self.num_texts += 1;
        self.num_bytes += text.len();
        self.num_ids += expected.len();
        Ok(num_special)
    }

    fn instructions(&self) -> String {
        let mut names: Vec<_> = (self.encoders.iter())
            .filter_map(|(options, _)| options.instructions.map(Instructions::as_str))
            .collect();
        names.dedup();
        names.join(", ")
    }

    fn summary(&self) -> String {
        format!(
            "{} comparisons, {:.1} MB, {} ids, no difference, {:.0} s",
            self.num_texts,
            self.num_bytes as f64 / 1e6,
            self.num_ids,
            self.started.elapsed().as_secs_f64()
        )
    }
}
