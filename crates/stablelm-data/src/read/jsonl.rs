//! JSON lines: one object a line.
//!
//! A byte order mark, carriage returns and blank lines are accepted. Only the keys that a source
//! needs are kept while parsing.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::document::{BrokenRow, Document, RowError};
use crate::read::compression::TextReader;
use crate::read::{RawRow, ReadError};

/// Longest line that is held in memory, and longest text of any row.
///
/// A thread holds a few copies of a row at most, so that a bomb of one line stays within a few
/// hundred megabytes; the longest books have a tenth of this.
pub(crate) const MAX_LINE_LEN: u64 = 32 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Keys of a source of JSON lines. A subset is always looked for in `meta.pile_set_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonSchema {
    pub(crate) text: String,
    pub(crate) id: Option<String>,
}

/// A stream of lines.
pub(crate) struct JsonLines<R = TextReader> {
    reader: R,
    path: PathBuf,
    max_line_len: u64,
    /// Rows that were read, blank ones too.
    row: u64,
    bytes: u64,
    done: bool,
}

impl<R: BufRead> JsonLines<R> {
    /// Reads lines from a decompressed stream; `path` is for messages.
    pub(crate) fn new(reader: R, path: PathBuf) -> Self {
        let max_line_len = MAX_LINE_LEN;
        Self {
            reader,
            path,
            max_line_len,
            row: 0,
            bytes: 0,
            done: false,
        }
    }

    /// The next line that is not blank.
    pub(crate) fn next_row(&mut self) -> Result<Option<RawRow>, ReadError> {
        while !self.done {
            let mut line = Vec::new();
            let limit = self.max_line_len + 1;
            match (&mut self.reader).take(limit).read_until(b'\n', &mut line) {
                Ok(0) => self.done = true,
                Ok(read) => {
                    self.bytes += read as u64;
                    let row = self.row;
                    self.row += 1;
                    if read as u64 == limit && line.last() != Some(&b'\n') {
                        return self.skip_long_line(row, line).map(Some);
                    }
                    let trimmed = trim(&line, row == 0);
                    if !trimmed.is_empty() {
                        let bytes = if trimmed.len() == line.len() {
                            line
                        } else {
                            trimmed.to_vec()
                        };
                        return Ok(Some(RawRow::Line { row, bytes }));
                    }
                }
                Err(error) => return self.damaged(error, &line).map(Some),
            }
        }
        Ok(None)
    }

    /// Reads past the rest of a line that is too long, holding none of it.
    fn skip_long_line(&mut self, row: u64, mut line: Vec<u8>) -> Result<RawRow, ReadError> {
        let mut bytes = line.len() as u64;
        line.truncate(128 * 1024);
        let mut rest = Vec::new();
        loop {
            rest.clear();
            match (&mut self.reader)
                .take(1 << 20)
                .read_until(b'\n', &mut rest)
            {
                Ok(read) => {
                    self.bytes += read as u64;
                    bytes += read as u64;
                    if read == 0 || rest.last() == Some(&b'\n') {
                        break;
                    }
                }
                Err(error) => return self.damaged(error, &line),
            }
        }
        let error = RowError::TooLong {
            bytes,
            limit: self.max_line_len,
        };
        let mut broken = BrokenRow::new(row, error, &line);
        broken.len = bytes;
        Ok(RawRow::Broken(broken))
    }

    /// An error of the file system ends the run, one of the decoder ends the file.
    fn damaged(&mut self, error: io::Error, line: &[u8]) -> Result<RawRow, ReadError> {
        self.done = true;
        if error.raw_os_error().is_some() {
            return Err(ReadError::Io {
                path: self.path.clone(),
                source: error,
            });
        }
        let byte = self.bytes + line.len() as u64;
        tracing::warn!(
            path = %self.path.display(),
            row = self.row,
            byte,
            "the compressed stream is damaged, the rest of the file is lost: {error}"
        );
        let damage = RowError::DamagedStream {
            byte,
            message: error.to_string(),
        };
        Ok(RawRow::Broken(BrokenRow::new(self.row, damage, line)))
    }
}

/// A line without what may stand around its object; blank lines become empty.
pub(crate) fn trim(line: &[u8], is_first: bool) -> &[u8] {
    let marked = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| is_first);
    marked.unwrap_or(line).trim_ascii()
}

/// Parses one line; the row number goes into the document.
pub(crate) fn parse_line(line: &[u8], row: u64, schema: &JsonSchema) -> Result<Document, RowError> {
    let found = parse(line, RowSeed(schema))?;
    let key = || schema.text.clone();
    let text = match found.text {
        None => return Err(RowError::MissingText { key: key() }),
        Some(Scalar::Text(text)) => text,
        Some(Scalar::Number(_)) => {
            return Err(RowError::WrongType {
                key: key(),
                found: "a number",
            });
        }
        Some(Scalar::Other(found)) => return Err(RowError::WrongType { key: key(), found }),
    };
    Ok(Document {
        row,
        id: found.id.and_then(Scalar::into_name),
        subset: found.subset,
        text,
        ..Document::default()
    })
}

/// Parses one line into what a seed makes of it, and names what is wrong with it.
pub(crate) fn parse<'l, S: DeserializeSeed<'l>>(
    line: &'l [u8],
    seed: S,
) -> Result<S::Value, RowError> {
    let line = std::str::from_utf8(line).map_err(|error| RowError::InvalidUtf8 {
        byte: error.valid_up_to(),
    })?;
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let parsed = seed.deserialize(&mut deserializer);
    parsed
        .and_then(|row| deserializer.end().map(|()| row))
        .map_err(|error| {
            let mut message = error.to_string();
            // Every row is line 1 to the parser, and our own message names the column.
            if let Some(at) = message.rfind(" at line 1 column ") {
                message.truncate(at);
            }
            match error.classify() {
                serde_json::error::Category::Data => RowError::NotAnObject { message },
                _ => RowError::BadJson {
                    column: error.column(),
                    message,
                },
            }
        })
}

/// What is kept of a row.
#[derive(Default)]
struct FoundRow {
    text: Option<Scalar>,
    id: Option<Scalar>,
    subset: Option<String>,
}

struct RowSeed<'s>(&'s JsonSchema);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = FoundRow;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FoundRow, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = FoundRow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FoundRow, A::Error> {
        let mut row = FoundRow::default();
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.0.text {
                row.text = Some(map.next_value()?);
            } else if self.0.id.as_deref() == Some(&key) {
                row.id = Some(map.next_value()?);
            } else if key == "meta" {
                row.subset = map.next_value::<Meta>()?.0;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(row)
    }
}

/// A value of any type, kept only where it can be a text or a name.
enum Scalar {
    Text(String),
    Number(String),
    Other(&'static str),
}

impl Scalar {
    fn into_name(self) -> Option<String> {
        match self {
            Self::Text(name) | Self::Number(name) => Some(name),
            Self::Other(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Number(number.to_string()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other("a boolean"))
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other("null"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other("an object"))
    }
}

/// The subset that a `meta` names, if it does.
struct Meta(Option<String>);

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MetaVisitor).map(Meta)
    }
}

struct MetaVisitor;

impl<'de> Visitor<'de> for MetaVisitor {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        let mut subset = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "pile_set_name" {
                subset = map.next_value::<Scalar>()?.into_name();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(subset)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<String>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::Config as ProptestConfig;

    use super::*;

    fn schema() -> JsonSchema {
        JsonSchema {
            text: "text".to_owned(),
            id: Some("id".to_owned()),
        }
    }

    fn check(line: &str, expected: Result<(&str, Option<&str>, Option<&str>), &str>) {
        let found = parse_line(line.as_bytes(), 7, &schema());
        let found = found.as_ref().map_err(RowError::name).map(|document| {
            (
                document.text.as_str(),
                document.id.as_deref(),
                document.subset.as_deref(),
            )
        });
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn documents_are_found_among_other_keys() {
        check(r#"{"text": "a\u00e9\n"}"#, Ok(("a\u{e9}\n", None, None)));
        check(
            r#"{"id": "x", "n": [1, {"text": 2}], "text": ""}"#,
            Ok(("", Some("x"), None)),
        );
        check(
            r#"{"id": 12, "text": "t", "meta": "s"}"#,
            Ok(("t", Some("12"), None)),
        );
        check(
            r#"{"id": null, "text": "t", "meta": null}"#,
            Ok(("t", None, None)),
        );
        let pile = r#"{"meta": {"x": 1, "pile_set_name": "Pile-CC"}, "text": "t"}"#;
        check(pile, Ok(("t", None, Some("Pile-CC"))));
        check(
            r#"{"text": "first", "t\u0065xt": "last"}"#,
            Ok(("last", None, None)),
        );
    }

    #[test]
    fn every_way_to_be_broken_has_its_name() {
        check(r#"{"text": "a""#, Err("bad_json"));
        check(r#"{"text": "a"} x"#, Err("bad_json"));
        check(r#"{"text": "\ud800"}"#, Err("bad_json"));
        check("[1]", Err("not_an_object"));
        check(r#""text""#, Err("not_an_object"));
        check(r#"{"id": 1}"#, Err("missing_text"));
        check(r#"{"text": null}"#, Err("wrong_type"));
        check(r#"{"text": 3.5}"#, Err("wrong_type"));
        check(r#"{"text": ["a"]}"#, Err("wrong_type"));
        check(r#"{"text": {"a": 1}}"#, Err("wrong_type"));
        let error = parse_line(b"{\"text\": \"\xff\"}", 0, &schema()).unwrap_err();
        assert_eq!(error, RowError::InvalidUtf8 { byte: 10 });
    }

    fn rows(bytes: &[u8]) -> Vec<(u64, String)> {
        let mut lines = JsonLines::new(bytes, PathBuf::new());
        lines.max_line_len = 16;
        let mut rows = Vec::new();
        while let Some(row) = lines.next_row().unwrap() {
            rows.push(match row {
                RawRow::Line { row, bytes } => (row, String::from_utf8_lossy(&bytes).into_owned()),
                RawRow::Broken(broken) => (broken.row, broken.error.name().to_owned()),
                RawRow::Document(_) => unreachable!("lines are not parsed here"),
            });
        }
        rows
    }

    #[test]
    fn marks_returns_and_blank_lines_are_accepted_and_counted() {
        let found = rows(b"\xef\xbb\xbf{1}\r\n\r\n  \n{2}\n{3}");
        assert_eq!(
            found,
            [(0, "{1}".into()), (3, "{2}".into()), (4, "{3}".into())]
        );
        assert!(rows(b"").is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_quarantined_and_the_next_one_read() {
        let long = [b"{1}\n".as_slice(), &[b'x'; 40], b"\n{2}\n"].concat();
        assert_eq!(
            rows(&long),
            [(0, "{1}".into()), (1, "too_long".into()), (2, "{2}".into())]
        );
        assert_eq!(rows(b"0123456789abcdef\n{2}\n").len(), 2);
        assert_eq!(rows(&[b'x'; 17]), [(0, "too_long".into())]);
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_the_parser_panic(line: Vec<u8>) {
            let _ = parse_line(&line, 0, &schema());
            let _ = rows(&line);
        }
    }
}
