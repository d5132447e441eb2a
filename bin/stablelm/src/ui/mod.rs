//! The only writer to standard output and standard error.
//!
//! Standard output holds the answer and nothing else; everything said along the way goes to standard error.

mod log;
mod progress;
mod style;
mod table;

use std::io::{self, Write as _};

use serde::Serialize;

use crate::error::CommandError;

pub(crate) use progress::{Progress, ProgressForm, show as show_progress};
use style::Style;
pub(crate) use table::{Align, Table};

/// How to talk to the user.
#[derive(Clone, Debug)]
pub(crate) struct UiSettings {
    /// 1: no progress or status; 2: errors only.
    pub(crate) quiet: u8,
    /// 1: our debug events; 2: all.
    pub(crate) verbose: u8,
    /// Whether messages are colored.
    pub(crate) color: bool,
    /// How progress is shown.
    pub(crate) progress: ProgressForm,
    /// Levels by target, in the syntax of `RUST_LOG`.
    pub(crate) log: Option<String>,
}

/// Standard output and standard error.
#[derive(Debug)]
pub(crate) struct Ui {
    stdout: io::Stdout,
    quiet: u8,
    style: Style,
}

impl Ui {
    /// Starts to listen to the libraries' events.
    pub(crate) fn new(settings: &UiSettings) -> Self {
        let style = Style::new(settings.color);
        log::listen(settings, style);
        Self {
            stdout: io::stdout(),
            quiet: settings.quiet,
            style,
        }
    }

    /// Writes a part of the answer, as it is, at once.
    pub(crate) fn answer(&self, text: &str) -> Result<(), CommandError> {
        progress::hidden(|| {
            let mut stdout = self.stdout.lock();
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush())
                .map_err(CommandError::stdout)
        })
    }

    /// Writes the answer as one JSON document.
    pub(crate) fn json(&self, answer: &impl Serialize) -> Result<(), CommandError> {
        let mut text = serde_json::to_string_pretty(answer)
            .expect("our answers have string keys and finite numbers");
        text.push('\n');
        self.answer(&text)
    }

    /// Writes one of many answers as a line of JSON.
    pub(crate) fn json_line(&self, answer: &impl Serialize) -> Result<(), CommandError> {
        let mut text =
            serde_json::to_string(answer).expect("our answers have string keys and finite numbers");
        text.push('\n');
        self.answer(&text)
    }

    /// Invites the user to type.
    pub(crate) fn ask(&self, text: &str) {
        if self.quiet == 0 {
            to_stderr(text);
        }
    }

    /// Says what was done: a green verb and the rest.
    pub(crate) fn status(&self, verb: &str, text: &str) {
        if self.quiet == 0 {
            to_stderr(&format!(
                "{} {text}\n",
                self.style.done(&format!("{verb:>10}"))
            ));
        }
    }

    /// Says something that is neither the answer nor a warning.
    pub(crate) fn note(&self, text: &str) {
        if self.quiet == 0 {
            to_stderr(&format!("{text}\n"));
        }
    }

    /// Warns.
    pub(crate) fn warn(&self, text: &str) {
        if self.quiet < 2 {
            to_stderr(&format!("{} {text}\n", self.style.warning("warning:")));
        }
    }

    /// Says what went wrong, why, and what to type.
    pub(crate) fn error(&self, error: &CommandError) {
        if error.is_output_closed() {
            return;
        }
        let mut messages = error.messages().into_iter();
        let first = messages.next().unwrap_or_default();
        let mut text = format!("{} {first}\n", self.style.error("error:"));
        for cause in messages {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        if !error.hints().is_empty() {
            text.push('\n');
        }
        for hint in error.hints() {
            text.push_str(&format!("{} {hint}\n", self.style.hint("hint:")));
        }
        to_stderr(&text);
    }

    /// Asks for a report of a bug of ours.
    pub(crate) fn internal_error(&self) {
        let error = self.style.error("error:");
        to_stderr(&format!(
            "{error} this is a bug in stablelm; please report it with the message above\n"
        ));
    }
}

/// Writes to standard error, above a progress bar if there is one.
fn to_stderr(text: &str) {
    progress::hidden(|| {
        // When standard error is gone there is nobody to tell.
        drop(io::stderr().lock().write_all(text.as_bytes()));
    });
}
