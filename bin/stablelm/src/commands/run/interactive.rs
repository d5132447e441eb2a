//! A conversation, line by line.

use std::io::{self, BufRead};

use serde_json::{Value, json};
use stablelm_inference::Session;

use super::generate_error;
use super::prompt::PromptText;
use super::responder::{Responder, Show};
use crate::error::CommandError;

/// How many tokens the memory of a conversation begins with.
const RESERVED_TOKENS: usize = 512;

const HELP: &str = "\
/reset  forget what was said
/exit   leave; Ctrl-D does the same
/help   this list
Ctrl-C ends an answer, or the conversation where there is none. A line that ends with \\ goes on in the next.";

/// A line that was typed.
#[derive(Debug, PartialEq)]
enum Typed {
    Nothing,
    Say(String),
    Reset,
    Exit,
    Help,
    Unknown(String),
}

impl Responder<'_> {
    /// Answers each line that is typed, until `/exit` or the end of input.
    pub(super) fn converse(&self) -> Result<(), CommandError> {
        let is_chat = self.chat.is_some();
        self.ui.note(if is_chat {
            "Type a message and press Enter; /help says what else can be typed."
        } else {
            "Type a prompt and press Enter; each stands alone. /help says what else can be typed."
        });
        let mut session = Session::new(self.model, RESERVED_TOKENS).map_err(generate_error)?;
        let mut messages = Vec::new();
        let mut input = io::stdin().lock();
        loop {
            self.interrupt.wait_for_input();
            self.ui.ask("> ");
            let Some(line) = read_line(&mut input)? else {
                self.ui.ask("\n");
                return Ok(());
            };
            match parse(&line) {
                Typed::Nothing => {}
                Typed::Exit => return Ok(()),
                Typed::Help => self.ui.note(HELP),
                Typed::Unknown(word) => self.ui.note(&format!(
                    "There is no {word}; /help says what can be typed."
                )),
                Typed::Reset => {
                    messages.clear();
                    session.truncate(0);
                    self.ui.note("Forgotten.");
                }
                Typed::Say(text) => {
                    self.interrupt.begin();
                    let turn = if is_chat {
                        self.turn(&mut session, &mut messages, &text)
                    } else {
                        self.ids(&PromptText::Text(text))
                            .and_then(|ids| self.respond(&mut session, ids, Show::Stream))
                            .map(drop)
                    };
                    self.after(turn)?;
                }
            }
        }
    }

    /// Adds a message and the answer to it; neither where there is no answer.
    fn turn(
        &self,
        session: &mut Session<'_>,
        messages: &mut Vec<Value>,
        text: &str,
    ) -> Result<(), CommandError> {
        messages.push(json!({ "role": "user", "content": text }));
        let ids = self.ids(&PromptText::Messages(messages.clone()));
        match ids.and_then(|ids| self.respond(session, ids, Show::Stream)) {
            Ok(response) => {
                messages.push(json!({ "role": "assistant", "content": response.text }));
                Ok(())
            }
            Err(error) => {
                messages.pop();
                Err(error)
            }
        }
    }

    /// Goes on after what a shorter or another message can mend.
    fn after(&self, turn: Result<(), CommandError>) -> Result<(), CommandError> {
        match turn {
            Err(error) if error.status() == crate::exit_status::ExitStatus::Input => {
                self.ui.error(&error);
                self.ui
                    .note("The message was not added; /reset forgets what was said.");
                Ok(())
            }
            other => other,
        }
    }
}

/// Reads a line, and the ones it goes on in; `None` at the end.
fn read_line(input: &mut dyn BufRead) -> Result<Option<String>, CommandError> {
    let mut whole = String::new();
    loop {
        let mut line = String::new();
        let len = input.read_line(&mut line).map_err(|error| {
            let what = "failed to read from standard input";
            CommandError::input(anyhow::Error::new(error).context(what))
        })?;
        let line = line.trim_end_matches(['\n', '\r']);
        match line.strip_suffix('\\').filter(|_| len > 0) {
            Some(line) => {
                whole.push_str(line);
                whole.push('\n');
            }
            None if len == 0 && whole.is_empty() => return Ok(None),
            None => {
                whole.push_str(line);
                return Ok(Some(whole));
            }
        }
    }
}

fn parse(line: &str) -> Typed {
    match line.trim() {
        "" => Typed::Nothing,
        "/exit" | "/quit" => Typed::Exit,
        "/reset" => Typed::Reset,
        "/help" => Typed::Help,
        word if word.starts_with('/') && word[1..].chars().all(char::is_alphabetic) => {
            Typed::Unknown(word.to_owned())
        }
        _ => Typed::Say(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_a_slash_are_commands_and_all_else_is_said() {
        for (line, expected) in [
            ("", Typed::Nothing),
            ("  ", Typed::Nothing),
            ("/exit", Typed::Exit),
            (" /quit ", Typed::Exit),
            ("/reset", Typed::Reset),
            ("/help", Typed::Help),
            ("/rest", Typed::Unknown("/rest".to_owned())),
            (
                "/usr/bin is a path",
                Typed::Say("/usr/bin is a path".to_owned()),
            ),
            (
                " an indented line",
                Typed::Say(" an indented line".to_owned()),
            ),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_backslash_goes_on_in_the_next_line() {
        let mut input = "one\\\ntwo\n\nthree\\\r\nfour\nlast\\".as_bytes();
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["one\ntwo", "", "three\nfour", "last\n"]);
    }
}
