//! One loaded model answering one prompt or many.

use std::io::{self, BufRead as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use serde_json::json;
use stablelm_inference::{FinishReason, GenerateOptions, GeneratedToken, Generation, Model};
use stablelm_tokenizer::{SpecialTokensInOutput, SpecialTokensInText, Tokenizer};

use super::prompt::PromptText;
use super::{generate_error, go_on_unless, logprob_json, timings_json};
use crate::args::Run;
use crate::error::CommandError;
use crate::stop::StopFilter;
use crate::ui::Ui;

/// A loaded model and how to use it.
pub(super) struct Session<'a> {
    pub(super) args: &'a Run,
    pub(super) ui: &'a Ui,
    pub(super) model: &'a Model,
    pub(super) tokenizer: Option<&'a Tokenizer>,
    pub(super) options: GenerateOptions,
    pub(super) load_s: f64,
    pub(super) interrupted: &'a AtomicBool,
}

/// What came out of one prompt.
struct Answer {
    text: String,
    finish_reason: FinishReason,
    generation: Generation,
}

impl Session<'_> {
    /// Continues one prompt.
    pub(super) fn answer(&self, prompt: &PromptText) -> Result<(), CommandError> {
        let ids = self.ids(prompt)?;
        if self.args.echo && !self.args.json.json {
            self.ui.answer(&self.decode(&ids)?)?;
        }
        let answer = self.generate(&ids)?;
        if self.args.json.json {
            self.print_json(&ids, &answer)?;
        } else {
            self.ui.answer("\n")?;
        }
        if self.args.stats {
            self.print_stats(&answer.generation);
        }
        Ok(())
    }

    /// Continues each line that is typed, until the end of input or Ctrl-C.
    pub(super) fn converse(&self) -> Result<(), CommandError> {
        self.ui
            .note("Type a prompt and press Enter; an empty line ends. Each line stands alone.");
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| CommandError::input(anyhow::Error::new(error)))?;
            if line.is_empty() || self.interrupted.load(Ordering::Relaxed) {
                break;
            }
            self.answer(&PromptText::Text(line))?;
        }
        Ok(())
    }

    fn ids(&self, prompt: &PromptText) -> Result<Vec<u32>, CommandError> {
        match (prompt, self.tokenizer) {
            (PromptText::Ids(ids), _) => Ok(ids.clone()),
            (PromptText::Text(text), Some(tokenizer)) => {
                let encoding = tokenizer
                    .encode(text, SpecialTokensInText::Encode)
                    .map_err(CommandError::input)?;
                Ok(encoding.ids)
            }
            (PromptText::Text(_), None) => {
                let model = self.args.model.display();
                let error = CommandError::input(anyhow!("`{model}` has no tokenizer.json"));
                Err(error.hint("give one with --tokenizer, or the prompt as --prompt-ids"))
            }
        }
    }

    fn decode(&self, ids: &[u32]) -> Result<String, CommandError> {
        let Some(tokenizer) = self.tokenizer else {
            return Ok(String::new());
        };
        tokenizer
            .decode(ids, SpecialTokensInOutput::Skip)
            .map_err(CommandError::input)
    }

    /// Generates, streaming text unless the answer is JSON.
    fn generate(&self, ids: &[u32]) -> Result<Answer, CommandError> {
        let mut text = Streamed {
            session: self,
            text: String::new(),
            stop: StopFilter::new(&self.args.stop),
        };
        let mut decoder = self.tokenizer.map(Tokenizer::decode_stream);
        let mut failure = None;
        let mut on_token = |token: &GeneratedToken| {
            let is_eos = self.options.eos_token_ids.contains(&token.id);
            let piece = match decoder.as_mut().filter(|_| !is_eos) {
                Some(decoder) => decoder.push(token.id).map_err(CommandError::input),
                None => Ok(String::new()),
            };
            match piece.and_then(|piece| text.push(&piece)) {
                Ok(()) => {
                    go_on_unless(text.stop.is_stopped() || self.interrupted.load(Ordering::Relaxed))
                }
                Err(error) => {
                    failure = Some(error);
                    go_on_unless(true)
                }
            }
        };
        let generation =
            stablelm_inference::generate(self.model, ids, &self.options, &mut on_token);
        let generation = generation.map_err(generate_error)?;
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(mut decoder) = decoder {
            text.push(&decoder.finish())?;
        }
        text.finish()?;
        let finish_reason = if text.stop.is_stopped() {
            FinishReason::Stop
        } else {
            generation.finish_reason
        };
        Ok(Answer {
            text: text.text,
            finish_reason,
            generation,
        })
    }

    fn print_json(&self, prompt_ids: &[u32], answer: &Answer) -> Result<(), CommandError> {
        let generation = &answer.generation;
        let mut document = json!({
            "prompt_ids": prompt_ids,
            "ids": generation.ids,
            "text": answer.text,
            "finish_reason": match answer.finish_reason {
                FinishReason::Stop => "stop",
                FinishReason::Length => "length",
            },
        });
        let fields = document.as_object_mut().expect("made as an object above");
        if self.args.logprobs.is_some() {
            let logprobs: Vec<_> = generation.logprobs.iter().map(logprob_json).collect();
            fields.insert("logprobs".to_owned(), json!(logprobs));
        }
        if self.options.prompt_logprobs {
            let of_position = |position: &Option<_>| position.as_ref().map(logprob_json);
            let logprobs: Vec<_> = generation.prompt_logprobs.iter().map(of_position).collect();
            fields.insert("prompt_logprobs".to_owned(), json!(logprobs));
        }
        fields.insert("timings".to_owned(), timings_json(generation, self.load_s));
        fields.insert("device".to_owned(), json!(self.model.device()));
        fields.insert("dtype".to_owned(), json!(self.model.dtype()));
        self.ui.json(&document)
    }

    fn print_stats(&self, generation: &Generation) {
        let timings = &generation.timings;
        let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds.max(1e-9);
        self.ui.note(&format!(
            "load {:.2} s · prompt {} tokens, {:.1} tokens/s · generated {} tokens, {:.1} tokens/s · {} on {}",
            self.load_s,
            timings.prefill_tokens,
            rate(timings.prefill_tokens, timings.prefill_s),
            generation.ids.len(),
            rate(timings.decode_tokens, timings.decode_s),
            self.model.dtype(),
            self.model.device(),
        ));
    }
}

/// Text on its way to standard output.
struct Streamed<'a, 'b> {
    session: &'a Session<'b>,
    text: String,
    stop: StopFilter<'a>,
}

impl Streamed<'_, '_> {
    fn push(&mut self, piece: &str) -> Result<(), CommandError> {
        let shown = self.stop.push(piece);
        self.show(&shown)
    }

    fn finish(&mut self) -> Result<(), CommandError> {
        let rest = self.stop.finish();
        self.show(&rest)
    }

    fn show(&mut self, text: &str) -> Result<(), CommandError> {
        self.text.push_str(text);
        if text.is_empty() || self.session.args.json.json {
            Ok(())
        } else {
            self.session.ui.answer(text)
        }
    }
}
