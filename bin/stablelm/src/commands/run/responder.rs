//! A loaded model that answers one prompt or many.

use std::ops::ControlFlow;

use anyhow::anyhow;
use serde_json::{Map, Value, json};
use stablelm_inference::{
    FinishReason, GenerateOptions, GeneratedToken, Generation, Model, Session,
};
use stablelm_tokenizer::{DecodeStream, SpecialTokensInOutput, SpecialTokensInText, Tokenizer};

use super::interrupt::Interrupt;
use super::prompt::PromptText;
use super::{generate_error, go_on_unless, logprob_json, timings_json};
use crate::args::Run;
use crate::chat::ChatTemplate;
use crate::error::CommandError;
use crate::stop::StopFilter;
use crate::ui::Ui;

/// How much further than the prompt memory is reserved at first.
const RESERVED_TOKENS: usize = 256;

/// A loaded model and how to use it.
pub(super) struct Responder<'a> {
    pub(super) args: &'a Run,
    pub(super) ui: &'a Ui,
    pub(super) model: &'a Model,
    pub(super) tokenizer: Option<&'a Tokenizer>,
    pub(super) chat: Option<ChatTemplate>,
    pub(super) options: GenerateOptions,
    pub(super) load_s: f64,
    pub(super) interrupt: Interrupt,
}

/// Whether text is shown as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Stream,
    Nothing,
}

/// What came out of one prompt.
pub(super) struct Response {
    pub(super) prompt_ids: Vec<u32>,
    pub(super) text: String,
    finish_reason: FinishReason,
    pub(super) generation: Generation,
}

impl Responder<'_> {
    /// Continues one prompt.
    pub(super) fn answer(&self, prompt: &PromptText) -> Result<(), CommandError> {
        let ids = self.ids(prompt)?;
        if self.args.echo && !self.args.json.json {
            self.ui.answer(&self.decode(&ids)?)?;
        }
        let reserve = ids.len() + self.options.max_new_tokens.min(RESERVED_TOKENS);
        let reserve = reserve.min(self.model.config().max_position_embeddings);
        let mut session = Session::new(self.model, reserve).map_err(generate_error)?;
        if self.args.json.json {
            let response = self.respond(&mut session, ids, Show::Nothing)?;
            self.ui.json(&self.fields(&response))
        } else {
            self.respond(&mut session, ids, Show::Stream).map(drop)
        }
    }

    /// Continues a prompt in a session.
    pub(super) fn respond(
        &self,
        session: &mut Session<'_>,
        prompt_ids: Vec<u32>,
        show: Show,
    ) -> Result<Response, CommandError> {
        let response = self.generate(session, prompt_ids, show)?;
        if show == Show::Stream {
            self.ui.answer("\n")?;
        }
        if self.args.stats {
            self.print_stats(&response.generation);
        }
        Ok(response)
    }

    /// Returns the tokens of a prompt, in its chat template where there is to be one.
    pub(super) fn ids(&self, prompt: &PromptText) -> Result<Vec<u32>, CommandError> {
        match prompt {
            PromptText::Ids(ids) => Ok(ids.clone()),
            PromptText::Text(text) if self.args.is_chat() => {
                self.encode(&self.render(&[json!({ "role": "user", "content": text })])?)
            }
            PromptText::Text(text) => self.encode(text),
            PromptText::Messages(messages) => self.encode(&self.render(messages)?),
        }
    }

    /// Returns the text in which the model is to answer messages.
    fn render(&self, messages: &[Value]) -> Result<String, CommandError> {
        let Some(chat) = &self.chat else {
            let model = self.args.model.model.display();
            return Err(
                CommandError::input(anyhow!("`{model}` has no chat template"))
                    .hint("give one with --chat-template, or leave --chat and `messages` out"),
            );
        };
        let has_system = messages
            .first()
            .is_some_and(|first| first["role"] == "system");
        match &self.args.system {
            Some(system) if !has_system => {
                let system = json!({ "role": "system", "content": system });
                chat.render(&[&[system], messages].concat(), true)
            }
            _ => chat.render(messages, true),
        }
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, CommandError> {
        let Some(tokenizer) = self.tokenizer else {
            let model = self.args.model.model.display();
            let error = CommandError::input(anyhow!("`{model}` has no tokenizer.json"));
            return Err(error.hint("give one with --tokenizer, or the prompt as --prompt-ids"));
        };
        let encoding = tokenizer
            .encode(text, SpecialTokensInText::Encode)
            .map_err(CommandError::input)?;
        Ok(encoding.ids)
    }

    fn decode(&self, ids: &[u32]) -> Result<String, CommandError> {
        let Some(tokenizer) = self.tokenizer else {
            return Ok(String::new());
        };
        tokenizer
            .decode(ids, SpecialTokensInOutput::Skip)
            .map_err(CommandError::input)
    }

    fn generate(
        &self,
        session: &mut Session<'_>,
        prompt_ids: Vec<u32>,
        show: Show,
    ) -> Result<Response, CommandError> {
        let mut reply = self.reply(show);
        let mut on_token = |token: &GeneratedToken| reply.push(token);
        let generation = session.generate(&prompt_ids, &self.options, &mut on_token);
        reply.finish(prompt_ids, generation.map_err(generate_error)?)
    }

    /// Begins a reply that has no tokens yet.
    pub(super) fn reply(&self, show: Show) -> Reply<'_> {
        Reply {
            eos_token_ids: &self.options.eos_token_ids,
            interrupt: &self.interrupt,
            text: Stream {
                ui: (show == Show::Stream).then_some(self.ui),
                passed: String::new(),
                stop: StopFilter::new(&self.args.stop),
            },
            decoder: self.tokenizer.map(Tokenizer::decode_stream),
            failure: None,
        }
    }

    /// Returns what `--json` tells of a response.
    pub(super) fn fields(&self, response: &Response) -> Map<String, Value> {
        let generation = &response.generation;
        let mut fields = Map::new();
        let mut put = |key: &str, value: Value| fields.insert(key.to_owned(), value);
        put("prompt_ids", json!(response.prompt_ids));
        put("ids", json!(generation.ids));
        put("text", json!(response.text));
        put("finish_reason", json!(response.finish_reason.as_str()));
        if self.options.logprobs.is_some() {
            put(
                "logprobs",
                generation.logprobs.iter().map(logprob_json).collect(),
            );
        }
        if self.options.prompt_logprobs {
            let of_position = |position: &Option<_>| position.as_ref().map(logprob_json);
            let logprobs: Vec<_> = generation.prompt_logprobs.iter().map(of_position).collect();
            put("prompt_logprobs", json!(logprobs));
        }
        put("timings", timings_json(generation, self.load_s));
        put("device", json!(self.model.device().to_string()));
        put("dtype", json!(self.model.dtype()));
        put("kv_dtype", json!(self.model.kv_dtype().as_str()));
        fields
    }

    pub(super) fn print_stats(&self, generation: &Generation) {
        let timings = &generation.timings;
        let rate = |tokens: usize, seconds: f64| tokens as f64 / seconds.max(1e-9);
        let reused = match timings.reused_tokens {
            0 => String::new(),
            tokens => format!(" and {tokens} known"),
        };
        self.ui.note(&format!(
            "load {:.2} s · prompt {} tokens{reused}, {:.1} tokens/s · generated {} tokens, {:.1} tokens/s · {} on {}",
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

/// A reply while its tokens come.
pub(super) struct Reply<'a> {
    eos_token_ids: &'a [u32],
    interrupt: &'a Interrupt,
    text: Stream<'a>,
    decoder: Option<DecodeStream<'a>>,
    failure: Option<CommandError>,
}

impl Reply<'_> {
    /// Takes a token; breaks where the text is to end with it.
    pub(super) fn push(&mut self, token: &GeneratedToken) -> ControlFlow<()> {
        let is_eos = self.eos_token_ids.contains(&token.id);
        let piece = match self.decoder.as_mut().filter(|_| !is_eos) {
            Some(decoder) => decoder.push(token.id).map_err(CommandError::input),
            None => Ok(String::new()),
        };
        match piece.and_then(|piece| self.text.push(&piece)) {
            Ok(()) => go_on_unless(self.text.stop.is_stopped() || self.interrupt.is_asked()),
            Err(error) => {
                self.failure = Some(error);
                go_on_unless(true)
            }
        }
    }

    /// Ends the text.
    pub(super) fn finish(
        mut self,
        prompt_ids: Vec<u32>,
        generation: Generation,
    ) -> Result<Response, CommandError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        if let Some(mut decoder) = self.decoder {
            self.text.push(&decoder.finish())?;
        }
        self.text.finish()?;
        let finish_reason = if self.text.stop.is_stopped() {
            FinishReason::Stop
        } else {
            generation.finish_reason
        };
        Ok(Response {
            prompt_ids,
            text: self.text.passed,
            finish_reason,
            generation,
        })
    }
}

/// Text as it comes, on its way to standard output where it is to be shown.
struct Stream<'a> {
    ui: Option<&'a Ui>,
    passed: String,
    stop: StopFilter<'a>,
}

impl Stream<'_> {
    fn push(&mut self, piece: &str) -> Result<(), CommandError> {
        let passed = self.stop.push(piece);
        self.show(&passed)
    }

    fn finish(&mut self) -> Result<(), CommandError> {
        let rest = self.stop.finish();
        self.show(&rest)
    }

    fn show(&mut self, text: &str) -> Result<(), CommandError> {
        self.passed.push_str(text);
        match self.ui {
            Some(ui) if !text.is_empty() => ui.answer(text),
            _ => Ok(()),
        }
    }
}
