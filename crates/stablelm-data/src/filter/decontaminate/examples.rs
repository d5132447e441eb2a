//! Evaluation examples out of files.

use std::io;
use std::path::Path;

use serde_json::Value;

/// A question and its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) query: String,
    pub(super) answers: Vec<String>,
}

/// Examples with their line, from 1, or their place in a list.
pub(super) type Examples = Vec<(usize, Example)>;

/// Reads the examples of a file; `keys` are those of answers and those of the question.
pub(super) fn read(path: &str, bytes: &[u8], keys: (&[String], &[String])) -> io::Result<Examples> {
    let text = std::str::from_utf8(bytes).map_err(|error| bad(path, 0, &error.to_string()))?;
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    if !holds_objects(path) {
        let answer = |line: &str| Example {
            query: String::new(),
            answers: vec![line.to_owned()],
        };
        return Ok(lines.map(|(number, line)| (number, answer(line))).collect());
    }
    let parse = |number: usize, text: &str| -> io::Result<Value> {
        serde_json::from_str(text).map_err(|error| bad(path, number, &error.to_string()))
    };
    let example = |number: usize, value: &Value| -> io::Result<(usize, Example)> {
        let example = to_example(value, keys).map_err(|message| bad(path, number, &message))?;
        Ok((number, example))
    };
    if text.trim_start().starts_with('[') {
        let list = parse(0, text)?;
        let list = list.as_array().map_or(&[][..], Vec::as_slice).iter();
        return list
            .enumerate()
            .map(|(index, value)| example(index + 1, value))
            .collect();
    }
    lines
        .map(|(number, line)| example(number, &parse(number, line)?))
        .collect()
}

/// Whether a file's name says so, before a suffix of its compression.
fn holds_objects(path: &str) -> bool {
    let path = Path::new(path);
    let is_json = |path: &Path| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| matches!(extension, "json" | "jsonl" | "ndjson"))
    };
    is_json(path)
        || path
            .file_stem()
            .is_some_and(|stem| is_json(Path::new(stem)))
}

fn to_example(value: &Value, (text, query): (&[String], &[String])) -> Result<Example, String> {
    let object = value.as_object().ok_or("expected an object")?;
    let mut answers = Vec::new();
    for value in text.iter().filter_map(|key| object.get(key)) {
        add_strings(value, &mut answers);
    }
    if answers.is_empty() {
        return Err(format!(
            "expected text under one of the keys {}",
            text.join(", ")
        ));
    }
    let mut queries = Vec::new();
    for value in query.iter().filter_map(|key| object.get(key)) {
        add_strings(value, &mut queries);
    }
    Ok(Example {
        query: queries.join("\n"),
        answers,
    })
}

fn add_strings(value: &Value, strings: &mut Vec<String>) {
    match value {
        Value::String(string) => strings.push(string.clone()),
        Value::Number(number) => strings.push(number.to_string()),
        Value::Array(values) => values.iter().for_each(|value| add_strings(value, strings)),
        Value::Null | Value::Bool(_) | Value::Object(_) => {}
    }
}

fn bad(path: &str, line: usize, message: &str) -> io::Error {
    let place = if line == 0 {
        String::new()
    } else {
        format!(" at line {line}")
    };
    let message = format!("bad evaluation file `{path}`{place}: {message}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
