//! Many prompts, a line of JSON each.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use anyhow::anyhow;
use serde_json::{Map, Value, json};
use stablelm_inference::{Batch, Device};

use super::generate_error;
use super::lines::{NextLine, PromptLines};
use super::prompt::{Prompt, PromptText};
use super::responder::{Reply, Responder, Response, Show};
use crate::error::CommandError;
use crate::exit_status::ExitStatus;
use crate::ui::{Progress, show_progress};

/// How many answers wait at most for one of a line before them.
const MOST_WAITING: usize = 1024;

/// How many prompts a GPU answers side by side where nothing is said.
const ON_A_GPU: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// How many the processor does: as many as get the answers that they would get alone.
const ON_THE_PROCESSOR: NonZeroUsize = NonZeroUsize::new(Batch::EXACT).unwrap();

/// A line that has been read.
enum Line<'a> {
    /// Its answer is being written.
    Waiting(Map<String, Value>, Vec<u32>, Box<Reply<'a>>),
    /// What is to be printed, and whether it is an answer.
    Done(Map<String, Value>, bool),
}

impl Responder<'_> {
    /// Answers each line; an error at the end counts those that had none.
    ///
    /// Several are answered side by side, and printed in the order of the lines. A line that is written when the answers
    /// before it are there need not wait for another.
    pub(super) fn answer_lines(&self, lines: PromptLines) -> Result<(), CommandError> {
        let size = self.args.batch_size.unwrap_or(match self.model.device() {
            Device::Cpu => ON_THE_PROCESSOR,
            _ => ON_A_GPU,
        });
        let mut answers = Answers {
            responder: self,
            batch: Batch::new(self.model, size),
            lines: VecDeque::new(),
            first: 0,
            answered: 0,
            failed: 0,
        };
        let mut progress = Progress {
            stage: "prompts".to_owned(),
            total: lines.len.unwrap_or(0),
            unit: "bytes".to_owned(),
            ..Progress::default()
        };
        let name = lines.name.clone();
        let lines = lines.read_ahead().map_err(|error| {
            CommandError::environment(anyhow::Error::new(error).context("failed to start a thread"))
        })?;
        let mut number = 0u64;
        let mut is_at_end = false;
        loop {
            while !is_at_end && answers.takes_more() && !self.interrupt.is_asked() {
                let mut next = lines.look()?;
                if matches!(next, NextLine::Later) && answers.batch.is_empty() {
                    // Who is to write the next line may wait for these.
                    answers.print()?;
                    next = lines.wait(&self.interrupt)?;
                }
                match next {
                    NextLine::Line(line) => {
                        number += 1;
                        if !line.trim_ascii().is_empty() {
                            answers.begin(number, &line)?;
                        }
                        progress.done += line.len() as u64;
                    }
                    NextLine::Later => break,
                    NextLine::End => is_at_end = true,
                }
            }
            answers.print()?;
            show_progress(&progress);
            if answers.batch.is_empty() {
                break;
            }
            answers.step()?;
        }
        let Answers {
            answered, failed, ..
        } = answers;
        if failed == 0 {
            return Ok(());
        }
        let total = answered + failed;
        Err(CommandError::input(anyhow!(
            "{failed} of {total} prompts of {name} have no answer"
        ))
        .hint("see `error` in the output"))
    }

    /// Returns the tokens of the one prompt, or of each line.
    pub(super) fn prompts(&self, prompt: Prompt) -> Result<Vec<Vec<u32>>, CommandError> {
        let mut lines = match prompt {
            Prompt::Given(prompt) => return Ok(vec![self.ids(&prompt)?]),
            Prompt::Lines(lines) => lines,
            Prompt::Interactive | Prompt::Check(_) => {
                return Err(CommandError::usage(anyhow!("there is no prompt to save"))
                    .hint("give PROMPT or --prompts FILE"));
            }
        };
        let mut prompts = Vec::new();
        let mut number = 0u64;
        while let Some(line) = lines.next()? {
            number += 1;
            if !line.trim_ascii().is_empty() {
                let prompt = parse(&line, &mut Map::new()).and_then(|prompt| self.ids(&prompt));
                prompts
                    .push(prompt.map_err(|error| {
                        error.context(format!("{}, line {number}", lines.name))
                    })?);
            }
        }
        Ok(prompts)
    }
}

/// The lines that have been read and not printed.
struct Answers<'a> {
    responder: &'a Responder<'a>,
    batch: Batch<'a>,
    lines: VecDeque<Line<'a>>,
    /// How many were printed before the first of them.
    first: u64,
    answered: u64,
    failed: u64,
}

impl Answers<'_> {
    fn takes_more(&self) -> bool {
        self.batch.has_room() && self.lines.len() < MOST_WAITING
    }

    /// Reads a line's prompt.
    fn begin(&mut self, number: u64, line: &[u8]) -> Result<(), CommandError> {
        let mut document = Map::from_iter([("line".to_owned(), json!(number))]);
        let key = self.first + self.lines.len() as u64;
        let responder = self.responder;
        let begun = parse(line, &mut document)
            .and_then(|prompt| responder.ids(&prompt))
            .and_then(|ids| {
                let pushed = self.batch.push(key, &ids, &responder.options);
                pushed.map_err(generate_error).map(|()| ids)
            });
        self.lines.push_back(match begun {
            Ok(ids) => Line::Waiting(document, ids, Box::new(responder.reply(Show::Nothing))),
            Err(error) => without_answer(document, error)?,
        });
        Ok(())
    }

    /// Adds a token to each answer.
    fn step(&mut self) -> Result<(), CommandError> {
        let (first, lines) = (self.first, &mut self.lines);
        let place = |key: u64| usize::try_from(key - first).expect("it is one of those that wait");
        let finished = self
            .batch
            .step(&mut |key, token| match &mut lines[place(key)] {
                Line::Waiting(_, _, reply) => reply.push(token),
                Line::Done(..) => ControlFlow::Break(()),
            });
        for (key, generation) in finished.map_err(generate_error)? {
            let line = &mut lines[place(key)];
            let Line::Waiting(document, ids, reply) =
                std::mem::replace(line, Line::Done(Map::new(), false))
            else {
                continue;
            };
            let response = generation
                .map_err(generate_error)
                .and_then(|generation| reply.finish(ids, generation));
            *line = match response {
                Ok(response) => self.responder.with_answer(document, &response),
                Err(error) => without_answer(document, error)?,
            };
        }
        Ok(())
    }

    /// Prints the answers that no line before them is waiting for.
    fn print(&mut self) -> Result<(), CommandError> {
        while let Some(Line::Done(..)) = self.lines.front() {
            let Some(Line::Done(document, is_answer)) = self.lines.pop_front() else {
                break;
            };
            self.responder.ui.json_line(&Value::Object(document))?;
            self.first += 1;
            self.answered += u64::from(is_answer);
            self.failed += u64::from(!is_answer);
        }
        Ok(())
    }
}

impl Responder<'_> {
    fn with_answer<'a>(&self, mut document: Map<String, Value>, response: &Response) -> Line<'a> {
        document.append(&mut self.fields(response));
        if self.args.stats {
            self.print_stats(&response.generation);
        }
        Line::Done(document, true)
    }
}

/// Returns what to print of a line that gets no answer; an error that is not the line's stays one.
fn without_answer<'a>(
    mut document: Map<String, Value>,
    error: CommandError,
) -> Result<Line<'a>, CommandError> {
    if error.status() != ExitStatus::Input {
        return Err(error);
    }
    let messages = error.messages().join(": ");
    document.insert("error".to_owned(), messages.into());
    Ok(Line::Done(document, false))
}

/// Reads a line; its `id` goes into `document` whatever comes of it.
fn parse(line: &[u8], document: &mut Map<String, Value>) -> Result<PromptText, CommandError> {
    let bad = |what: String| Err(CommandError::input(anyhow!(what)));
    let mut fields: Map<String, Value> = match serde_json::from_slice(line) {
        Ok(fields) => fields,
        Err(error) => return bad(format!("the line is no JSON object: {error}")),
    };
    if let Some(id) = fields.remove("id") {
        document.insert("id".to_owned(), id);
    }
    let given = ["prompt", "prompt_ids", "messages"].map(|key| fields.remove(key));
    match given {
        [Some(Value::String(text)), None, None] => Ok(PromptText::Text(text)),
        [None, Some(ids), None] => serde_json::from_value(ids)
            .map(PromptText::Ids)
            .or_else(|error| bad(format!("`prompt_ids` is no list of token ids: {error}"))),
        [None, None, Some(Value::Array(messages))] if messages.iter().all(is_message) => {
            Ok(PromptText::Messages(messages))
        }
        [Some(_), None, None] => bad("`prompt` is no text".to_owned()),
        [None, None, Some(_)] => {
            bad("`messages` is no list of objects with `role` and `content`".to_owned())
        }
        [None, None, None] => {
            bad("the line has none of `prompt`, `prompt_ids` and `messages`".to_owned())
        }
        _ => bad("the line has more than one of `prompt`, `prompt_ids` and `messages`".to_owned()),
    }
}

fn is_message(message: &Value) -> bool {
    message["role"].is_string() && message.get("content").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Result<PromptText, &str>) {
        let mut document = Map::new();
        let found = parse(line.as_bytes(), &mut document);
        let found = found.map_err(|error| error.messages().join(": "));
        match (&found, expected) {
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => assert_eq!(*found, expected.map_err(str::to_owned)),
        }
        assert_eq!(document.get("id").is_some(), line.contains("\"id\""));
    }

    #[test]
    fn a_line_has_one_prompt_of_three_kinds() {
        check(
            r#"{"prompt": "a", "id": 7, "other": 1}"#,
            Ok(PromptText::Text("a".to_owned())),
        );
        check(r#"{"prompt_ids": [1, 2]}"#, Ok(PromptText::Ids(vec![1, 2])));
        let message = json!({"role": "user", "content": "a"});
        let line = json!({ "messages": [message] }).to_string();
        check(&line, Ok(PromptText::Messages(vec![message])));
        check(r#"{"id": "x"}"#, Err("none of"));
        check(r#"{"id": "x", "prompt": 3}"#, Err("`prompt` is no text"));
        check(
            r#"{"prompt": "a", "prompt_ids": [1]}"#,
            Err("more than one"),
        );
        check(r#"{"prompt_ids": [-1]}"#, Err("no list of token ids"));
        check(
            r#"{"messages": [{"role": "user"}]}"#,
            Err("objects with `role`"),
        );
        check("[]", Err("no JSON object"));
        check("{", Err("no JSON object"));
    }
}
