//! Many prompts, a line of JSON each.

use std::io::{self, BufRead as _};

use anyhow::anyhow;
use serde_json::{Map, Value, json};
use stablelm_inference::Session;

use super::generate_error;
use super::prompt::{Prompt, PromptLines, PromptText};
use super::responder::{Responder, Show};
use crate::error::CommandError;
use crate::ui::{Progress, show_progress};

/// How many tokens the memory of a sequence begins with.
const RESERVED_TOKENS: usize = 512;

impl Responder<'_> {
    /// Answers each line; an error at the end counts those that had none.
    ///
    /// Each line is read and forgotten before the next, and gets the answer that it would get alone.
    pub(super) fn answer_lines(&self, mut lines: PromptLines) -> Result<(), CommandError> {
        let mut session = Session::new(self.model, RESERVED_TOKENS).map_err(generate_error)?;
        let mut progress = Progress {
            stage: "prompts".to_owned(),
            total: lines.len,
            unit: "bytes".to_owned(),
            ..Progress::default()
        };
        let (mut number, mut answered, mut failed) = (0u64, 0u64, 0u64);
        let mut line = Vec::new();
        while !self.interrupt.is_asked() {
            line.clear();
            let len = lines.reader.read_until(b'\n', &mut line);
            let len = len.map_err(|error| read_error(error, &lines.name))?;
            if len == 0 {
                break;
            }
            number += 1;
            if !line.trim_ascii().is_empty() {
                let (document, is_answer) = self.answer_line(&mut session, number, &line)?;
                self.ui.json_line(&document)?;
                answered += u64::from(is_answer);
                failed += u64::from(!is_answer);
            }
            progress.done += len as u64;
            show_progress(&progress);
        }
        if failed == 0 {
            return Ok(());
        }
        let total = answered + failed;
        let name = &lines.name;
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
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let len = lines.reader.read_until(b'\n', &mut line);
            if len.map_err(|error| read_error(error, &lines.name))? == 0 {
                break;
            }
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

    /// Returns what to print for a line, and whether it is an answer.
    fn answer_line(
        &self,
        session: &mut Session<'_>,
        number: u64,
        line: &[u8],
    ) -> Result<(Value, bool), CommandError> {
        let mut document = Map::from_iter([("line".to_owned(), json!(number))]);
        let answer = parse(line, &mut document).and_then(|prompt| {
            // What two prompts have in common could be kept, at the price of other roundings.
            session.truncate(0);
            self.respond(session, self.ids(&prompt)?, Show::Nothing)
        });
        match answer {
            Ok(response) => {
                document.append(&mut self.fields(&response));
                Ok((document.into(), true))
            }
            Err(error) if error.status() == crate::exit_status::ExitStatus::Input => {
                let messages = error.messages().join(": ");
                document.insert("error".to_owned(), messages.into());
                Ok((document.into(), false))
            }
            Err(error) => Err(error),
        }
    }
}

fn read_error(error: io::Error, name: &str) -> CommandError {
    CommandError::input(anyhow::Error::new(error).context(format!("failed to read {name}")))
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
