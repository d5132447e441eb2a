//! Where the prompt comes from.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lines::PromptLines;
use crate::args::Run;
use crate::error::CommandError;

/// What to continue.
pub(super) enum Prompt {
    /// One prompt, known now.
    Given(PromptText),
    /// Lines that are still to be typed.
    Interactive,
    /// A line of JSON each.
    Lines(PromptLines),
    /// The prompts of a reference folder.
    Check(PathBuf),
}

/// A prompt before tokenization.
#[derive(Debug, PartialEq)]
pub(super) enum PromptText {
    Text(String),
    Ids(Vec<u32>),
    /// Of a chat: objects with `role` and `content`.
    Messages(Vec<Value>),
}

pub(super) fn read(args: &Run) -> Result<Prompt, CommandError> {
    if let Some(ids) = &args.prompt_ids {
        return Ok(Prompt::Given(PromptText::Ids(ids.clone())));
    }
    if let Some(text) = &args.prompt {
        return Ok(Prompt::Given(PromptText::Text(text.clone())));
    }
    if let Some(file) = &args.prompts {
        return PromptLines::open(file).map(Prompt::Lines);
    }
    if let Some(folder) = &args.self_check {
        return Ok(Prompt::Check(folder.clone()));
    }
    match &args.prompt_file {
        Some(file) if file != Path::new("-") => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                let what = format!("failed to read the prompt from `{}`", file.display());
                CommandError::input(anyhow::Error::new(error).context(what))
            })?;
            Ok(Prompt::Given(PromptText::Text(text)))
        }
        None if args.interactive || io::stdin().is_terminal() && !args.json.json => {
            Ok(Prompt::Interactive)
        }
        _ => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| {
                CommandError::input(
                    anyhow::Error::new(error)
                        .context("failed to read the prompt from standard input"),
                )
            })?;
            // A shell's `echo` ends its line; a model would take the line end for part of the text.
            let text = text.strip_suffix('\n').map_or(text.as_str(), |text| {
                text.strip_suffix('\r').unwrap_or(text)
            });
            Ok(Prompt::Given(PromptText::Text(text.to_owned())))
        }
    }
}
