//! What shall go: lines that name documents.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::str::Utf8Error;

use crate::write::documents::DocumentRow;

/// The lines of a file, and which of them named a document.
#[derive(Debug, Default)]
pub(super) struct Requests {
    lines: Vec<(String, bool)>,
    by_name: HashMap<String, usize>,
    name: String,
}

impl Requests {
    /// Reads one request a line, the same one once.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Utf8Error> {
        let mut requests = Self::default();
        for line in std::str::from_utf8(bytes)?.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') || requests.by_name.contains_key(line) {
                continue;
            }
            let number = requests.lines.len();
            requests.lines.push((line.to_owned(), false));
            requests.by_name.insert(line.to_owned(), number);
            // Tables have hashes in lower case.
            if line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let lower = line.to_ascii_lowercase();
                requests.by_name.entry(lower).or_insert(number);
            }
        }
        Ok(requests)
    }

    /// How many different requests there are.
    pub(super) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Whether a request names this document by any of its names; all that do are ticked off.
    pub(super) fn select(&mut self, row: &DocumentRow) -> bool {
        self.name.clear();
        write!(self.name, "{}/{}:{}", row.source, row.path, row.row)
            .expect("writing to a string can't fail");
        let without_source = &self.name[row.source.len() + 1..];
        let names = [
            row.id.as_deref(),
            Some(self.name.as_str()),
            Some(without_source),
            Some(row.text_sha256.as_str()),
        ];
        let mut found = false;
        for name in names.into_iter().flatten() {
            if let Some(&number) = self.by_name.get(name) {
                self.lines[number].1 = true;
                found = true;
            }
        }
        found
    }

    /// Whether a request is this very name.
    pub(super) fn names(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Requests that named no document so far.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.lines.iter().filter(|(_, found)| !found);
        missing.map(|(line, _)| line.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_four_names() {
        fn check(line: &str, expected: bool) {
            let mut requests = Requests::parse(format!("# x\n\n  {line}\r\n").as_bytes()).unwrap();
            let row = DocumentRow {
                document: 0,
                source: "src".into(),
                subset: None,
                path: "in/a.jsonl".into(),
                row: 7,
                id: Some("the id".to_owned()),
                text_sha256: "ab".repeat(32),
                license: "MIT".into(),
                num_tokens: 1,
            };
            assert_eq!(requests.len(), 1);
            assert_eq!(requests.select(&row), expected, "{line}");
            assert_eq!(requests.missing().is_empty(), expected, "{line}");
        }
        check("the id", true);
        check("in/a.jsonl:7", true);
        check("src/in/a.jsonl:7", true);
        check(&"AB".repeat(32), true);
        check(&"ab".repeat(32), true);
        check("the", false);
        check("in/a.jsonl:70", false);
        check("a.jsonl:7", false);
        check("7", false);
    }
}
