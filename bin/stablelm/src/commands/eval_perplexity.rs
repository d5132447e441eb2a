//! `stablelm eval perplexity`

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use stablelm_inference::{Model, score};
use stablelm_tokenizer::{SpecialTokensInText, Tokenizer};

use super::run::{generate_error, load};
use crate::args::Perplexity;
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::model_input::ModelInput;
use crate::settings;
use crate::ui::{Progress, Ui, show_progress};

pub(crate) fn run(args: &Perplexity, ui: &Ui) -> Result<ExitStatus, CommandError> {
    let threads = settings::threads(args.model.threads)?;
    let input = ModelInput::open(&args.model)?;
    let context = input.config().max_position_embeddings;
    let max_length = args.max_length.map_or(context, NonZeroUsize::get);
    if max_length > context {
        let error = anyhow!("--max-length is {max_length}, and the model's context has {context}");
        return Err(CommandError::usage(error));
    }
    if max_length < 2 {
        let error =
            anyhow!("--max-length is 1, expected 2 or more: a token is scored after others");
        return Err(CommandError::usage(error));
    }
    let tokenizer = input.tokenizer(args.tokenizer.as_deref())?;
    let mut documents = Documents::open(&args.file, &args.text_key, tokenizer.as_ref())?;
    let model = load(&args.model, &input, threads)?;
    let windows = Windows {
        max_length,
        // A window begins with a token of the one before, or its first would follow nothing.
        stride: args.stride.get().min(max_length - 1),
    };
    let started = Instant::now();
    let mut totals = Totals::default();
    while let Some(document) = documents.next()? {
        totals.add(&model, windows, &document)?;
        show_progress(&documents.progress);
    }
    if totals.tokens == 0 {
        let what = anyhow!(
            "`{}` has no document of two tokens or more",
            args.file.display()
        );
        return Err(
            CommandError::input(what).hint("a first token follows nothing, and is not scored")
        );
    }
    let report = report(&totals, windows, &model, started.elapsed().as_secs_f64());
    if args.json.json {
        ui.json(&report)?;
    } else {
        ui.answer(&for_people(&report))?;
    }
    Ok(ExitStatus::Success)
}

/// How windows lie on a document.
#[derive(Clone, Copy, Debug)]
struct Windows {
    max_length: usize,
    /// Less than `max_length`.
    stride: usize,
}

impl Windows {
    /// Returns each window of a document of `len` tokens, with how many tokens it begins with that are context only.
    fn over(self, len: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let mut scored = 0;
        let mut starts = (0..len).step_by(self.stride);
        std::iter::from_fn(move || {
            if scored == len {
                return None;
            }
            let start = starts.next()?;
            let end = (start + self.max_length).min(len);
            let window = (start..end, scored - start);
            scored = end;
            Some(window)
        })
    }
}

#[derive(Default)]
struct Totals {
    documents: u64,
    tokens: u64,
    nll: f64,
    /// Bytes of text; `None` once a document came as ids.
    text_bytes: Option<u64>,
}

impl Totals {
    fn add(
        &mut self,
        model: &Model,
        windows: Windows,
        document: &Document,
    ) -> Result<(), CommandError> {
        for (window, context) in windows.over(document.ids.len()) {
            let logprobs = score(model, &document.ids[window.clone()], context);
            let logprobs = logprobs.map_err(generate_error).map_err(|error| {
                let number = self.documents + 1;
                error.context(format!(
                    "failed to score tokens {window:?} of document {number}"
                ))
            })?;
            self.tokens += logprobs.len() as u64;
            self.nll -= logprobs
                .iter()
                .map(|logprob| f64::from(*logprob))
                .sum::<f64>();
        }
        self.text_bytes = match (self.documents, self.text_bytes, document.text_bytes) {
            (0, _, bytes) => bytes,
            (_, Some(sum), Some(bytes)) => Some(sum + bytes),
            _ => None,
        };
        self.documents += 1;
        Ok(())
    }
}

struct Document {
    ids: Vec<u32>,
    text_bytes: Option<u64>,
}

/// The documents of a file, one after the other.
struct Documents<'a> {
    reader: Box<dyn BufRead>,
    path: &'a Path,
    /// The field of each line; `None` for a file that is one text.
    text_key: Option<&'a str>,
    tokenizer: Option<&'a Tokenizer>,
    num_lines: u64,
    progress: Progress,
}

impl<'a> Documents<'a> {
    fn open(
        path: &'a Path,
        text_key: &'a str,
        tokenizer: Option<&'a Tokenizer>,
    ) -> Result<Self, CommandError> {
        let open = || {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            Ok::<_, std::io::Error>((file, len))
        };
        let (file, len) = open()
            .with_context(|| format!("failed to open `{}`", path.display()))
            .map_err(CommandError::input)?;
        let is_lines = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"));
        Ok(Self {
            reader: Box::new(BufReader::new(file)),
            path,
            text_key: is_lines.then_some(text_key),
            tokenizer,
            num_lines: 0,
            progress: Progress {
                stage: "perplexity".to_owned(),
                total: len,
                unit: "bytes".to_owned(),
                ..Progress::default()
            },
        })
    }

    fn next(&mut self) -> Result<Option<Document>, CommandError> {
        let failed = || format!("failed to read `{}`", self.path.display());
        let Some(key) = self.text_key else {
            let mut text = String::new();
            let len = self.reader.read_to_string(&mut text);
            self.progress.done += len.with_context(failed).map_err(CommandError::input)? as u64;
            return if text.is_empty() {
                Ok(None)
            } else {
                self.encode(&text).map(Some)
            };
        };
        let mut line = Vec::new();
        while line.trim_ascii().is_empty() {
            line.clear();
            let len = self.reader.read_until(b'\n', &mut line);
            let len = len.with_context(failed).map_err(CommandError::input)?;
            if len == 0 {
                return Ok(None);
            }
            self.num_lines += 1;
            self.progress.done += len as u64;
        }
        let document = self.parse(&line, key).map_err(|error| {
            error.context(format!(
                "`{}`, line {}",
                self.path.display(),
                self.num_lines
            ))
        });
        document.map(Some)
    }

    fn parse(&self, line: &[u8], key: &str) -> Result<Document, CommandError> {
        let mut value: Value = serde_json::from_slice(line).map_err(CommandError::input)?;
        match (&value[key], value.get("ids").is_some()) {
            (Value::String(text), _) => self.encode(text),
            (_, true) => Ok(Document {
                ids: serde_json::from_value(value["ids"].take()).map_err(CommandError::input)?,
                text_bytes: None,
            }),
            _ => {
                let what = anyhow!("there is no text `{key}`, and there are no `ids`");
                Err(CommandError::input(what).hint("name the field with --text-key"))
            }
        }
    }

    fn encode(&self, text: &str) -> Result<Document, CommandError> {
        let Some(tokenizer) = self.tokenizer else {
            return Err(
                CommandError::input(anyhow!("the model has no tokenizer.json"))
                    .hint("give one with --tokenizer, or documents as `ids`"),
            );
        };
        let encoding = tokenizer
            .encode(text, SpecialTokensInText::Encode)
            .map_err(CommandError::input)?;
        Ok(Document {
            ids: encoding.ids,
            text_bytes: Some(text.len() as u64),
        })
    }
}

fn report(totals: &Totals, windows: Windows, model: &Model, seconds: f64) -> Value {
    let nll = totals.nll / totals.tokens as f64;
    let bits = totals.nll / std::f64::consts::LN_2;
    json!({
        "perplexity": nll.exp(),
        "nll": nll,
        "bits_per_byte": totals.text_bytes.map(|bytes| bits / bytes as f64),
        "tokens": totals.tokens,
        "documents": totals.documents,
        "max_length": windows.max_length,
        "stride": windows.stride,
        "seconds": seconds,
        "device": model.device().to_string(),
        "dtype": model.dtype(),
        "kv_dtype": model.kv_dtype().as_str(),
    })
}

fn for_people(report: &Value) -> String {
    let number = |key: &str| report[key].as_f64().unwrap_or_default();
    let bits = report["bits_per_byte"].as_f64();
    let bits = bits
        .map(|bits| format!(" · {bits:.4} bits a byte"))
        .unwrap_or_default();
    format!(
        "perplexity {:.4} · nll {:.5} a token{bits} · {} tokens in {} documents · windows of {}, stride {}\n",
        number("perplexity"),
        number("nll"),
        report["tokens"],
        report["documents"],
        report["max_length"],
        report["stride"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(len: usize, max_length: usize, stride: usize, expected: &[(Range<usize>, usize)]) {
        let windows = Windows { max_length, stride };
        let found: Vec<_> = windows.over(len).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn windows_score_each_token_once_with_as_much_context_as_fits() {
        check(0, 4, 2, &[]);
        check(3, 4, 2, &[(0..3, 0)]);
        check(4, 4, 2, &[(0..4, 0)]);
        check(8, 4, 2, &[(0..4, 0), (2..6, 2), (4..8, 2)]);
        check(7, 4, 2, &[(0..4, 0), (2..6, 2), (4..7, 2)]);
        check(10, 4, 3, &[(0..4, 0), (3..7, 1), (6..10, 1)]);
        check(11, 4, 3, &[(0..4, 0), (3..7, 1), (6..10, 1), (9..11, 1)]);
    }
}
