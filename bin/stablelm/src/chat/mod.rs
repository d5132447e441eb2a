//! Chat templates: from messages to the text that a model was trained to answer.
//!
//! A template is a Jinja program that comes with a model, in `chat_template.jinja` or in `tokenizer_config.json`. It is
//! given what Hugging Face transformers gives it: `messages`, `add_generation_prompt`, the special tokens by name,
//! `raise_exception`, `strftime_now`, `tojson` as Python writes JSON, loop controls, Python's string methods, and blocks
//! that leave no blank lines. `{% generation %}` marks are passed over. It can reach nothing else, and its steps are
//! limited. Of what Jinja2 has, only Python's `%` between a text and values is known to be missing.

mod python;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Jinja};
use minijinja::{Environment, ErrorKind};
use serde_json::{Map, Value};

use crate::error::CommandError;

/// How many steps a template may take: thousands of messages, and no endless loop.
const FUEL: u64 = 50_000_000;

/// The special tokens of `tokenizer_config.json` that a template sees.
const SPECIAL_TOKENS: [&str; 8] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
    "additional_special_tokens",
];

/// A model's template, ready to be used.
#[derive(Debug)]
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    /// Where it stands.
    path: PathBuf,
    special_tokens: Map<String, Value>,
    /// Whether it marks turns as `ChatML` does.
    is_chatml: bool,
}

impl ChatTemplate {
    /// Finds the template of a model in the first of `folders` that has one; `given` is used instead of it.
    pub(crate) fn find(
        given: Option<&Path>,
        folders: &[PathBuf],
        now: SystemTime,
    ) -> Result<Option<Self>, CommandError> {
        for folder in folders {
            let config_path = folder.join("tokenizer_config.json");
            let config = read_config(&config_path)?;
            let special_tokens = special_tokens(&config);
            let jinja = folder.join("chat_template.jinja");
            let (path, source) = match given {
                // Special tokens come from the model in any case.
                Some(_) if config.is_empty() => continue,
                Some(given) => (given.to_owned(), read(given)?),
                None if jinja.is_file() => (jinja.clone(), read(&jinja)?),
                None => match config_template(&config, &config_path)? {
                    Some(source) => (config_path, source),
                    None => continue,
                },
            };
            return Self::new(path, &source, special_tokens, now).map(Some);
        }
        let alone = |given: &Path| Self::new(given.to_owned(), &read(given)?, Map::new(), now);
        given.map(alone).transpose()
    }

    /// Takes a template as it stands in `path`, and the texts that it may ask for.
    pub(crate) fn new(
        path: PathBuf,
        source: &str,
        special_tokens: Map<String, Value>,
        now: SystemTime,
    ) -> Result<Self, CommandError> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the delimiters are the usual ones"));
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", python::to_json);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", move |format: &str| {
            python::strftime(format, now)
        });
        let added = environment.add_template_owned("chat_template", without_marks(source));
        added.map_err(|error| {
            let what = format!("`{}` holds no valid chat template", path.display());
            CommandError::input(anyhow::Error::new(error).context(what))
        })?;
        Ok(Self {
            environment,
            is_chatml: source.contains("<|im_end|>"),
            path,
            special_tokens,
        })
    }

    /// Returns the text for `messages`: objects with `role` and `content`.
    ///
    /// With `add_generation_prompt` it ends where the assistant's answer begins.
    pub(crate) fn render(
        &self,
        messages: &[Value],
        add_generation_prompt: bool,
    ) -> Result<String, CommandError> {
        let mut variables = self.special_tokens.clone();
        variables.insert("messages".to_owned(), messages.into());
        variables.insert(
            "add_generation_prompt".to_owned(),
            add_generation_prompt.into(),
        );
        variables.insert("tools".to_owned(), Value::Null);
        variables.insert("documents".to_owned(), Value::Null);
        let template = self.environment.get_template("chat_template");
        let rendered = template.and_then(|template| template.render(Jinja::from(Serde(variables))));
        rendered.map_err(|error| {
            let what = format!(
                "failed to apply the chat template of `{}`",
                self.path.display()
            );
            CommandError::input(anyhow::Error::new(error).context(what))
        })
    }

    /// Returns the tokens that end the assistant's turn, as they are written.
    pub(crate) fn end_tokens(&self) -> Vec<&str> {
        let eos = self.special_tokens.get("eos_token").and_then(Value::as_str);
        eos.into_iter()
            .chain(self.is_chatml.then_some("<|im_end|>"))
            .collect()
    }
}

fn raise_exception(message: String) -> Result<Jinja, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

fn read(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the chat template `{}`", path.display()))
        .map_err(CommandError::input)
}

/// Reads `tokenizer_config.json`; nothing where there is none.
fn read_config(path: &Path) -> Result<Map<String, Value>, CommandError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => {
            let what = format!("failed to read `{}`", path.display());
            return Err(CommandError::input(anyhow::Error::new(error).context(what)));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let what = format!("`{}` is no JSON object", path.display());
        CommandError::input(anyhow::Error::new(error).context(what))
    })
}

/// Returns the special tokens by name; a token is a text, or an object with `content`.
fn special_tokens(config: &Map<String, Value>) -> Map<String, Value> {
    let text = |token: &Value| match token {
        Value::Object(token) => token.get("content").cloned(),
        Value::String(_) => Some(token.clone()),
        _ => None,
    };
    let token = |name: &str| {
        let value = match config.get(name)? {
            Value::Array(tokens) => tokens.iter().filter_map(text).collect(),
            one => text(one)?,
        };
        Some((name.to_owned(), value))
    };
    SPECIAL_TOKENS.into_iter().filter_map(token).collect()
}

/// Returns the template that a configuration holds: the only one, or the one named `default`.
fn config_template(
    config: &Map<String, Value>,
    path: &Path,
) -> Result<Option<String>, CommandError> {
    let bad = |what: String| Err(CommandError::input(anyhow!("`{}`: {what}", path.display())));
    match config.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(source)) => Ok(Some(source.clone())),
        Some(Value::Array(named)) => {
            let text = |entry: &Value, key: &str| Some(entry.get(key)?.as_str()?.to_owned());
            let default = named.iter().find(|entry| entry["name"] == "default");
            if let Some(source) = default.and_then(|entry| text(entry, "template")) {
                return Ok(Some(source));
            }
            let found = named.iter().filter_map(|entry| text(entry, "name"));
            let found: Vec<String> = found.collect();
            bad(format!(
                "`chat_template` has the templates {found:?}, expected one named `default`"
            ))
        }
        Some(_) => bad("`chat_template` is neither a text nor a list of named texts".to_owned()),
    }
}

/// Takes the marks out that say which text is the assistant's own: they only matter in training.
fn without_marks(source: &str) -> String {
    let mut rest = source;
    let mut text = String::with_capacity(source.len());
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        text.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (inside, after) = tag.split_at(end);
        match inside.trim_matches(['-', '+']).trim() {
            "generation" => text.push_str(&inside.replace("generation", "if true")),
            "endgeneration" => text.push_str(&inside.replace("endgeneration", "endif")),
            _ => text.push_str(inside),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}
