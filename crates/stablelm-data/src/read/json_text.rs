//! One string out of a line of JSON, fast.
//!
//! A SIMD parser takes the lines that are plain documents. Whatever it does not take goes to
//! `serde_json`, which alone decides what is wrong with a row; a property test holds the two
//! together.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use simd_json::Tape;
use simd_json::prelude::ValueIntoString;

use crate::document::RowError;
use crate::read::fields::Value;
use crate::read::json_row::Key;
use crate::read::json_tape::TapeParser;
use crate::read::jsonl;

/// A parser that keeps its memory from line to line.
#[derive(Default)]
pub(crate) struct TextParser(TapeParser);

impl TextParser {
    /// Appends the text of a line, under `key`, to `texts`, which stays as it was when the line has
    /// none.
    pub(crate) fn append_text(
        &mut self,
        line: &[u8],
        key: &str,
        texts: &mut String,
    ) -> Result<(), RowError> {
        if !self.append_plain_text(line, key, texts) {
            texts.push_str(&parse_text(line, key)?);
        }
        Ok(())
    }

    /// Returns false when the line is not an object whose last value for `key` is a string.
    fn append_plain_text(&mut self, line: &[u8], key: &str, texts: &mut String) -> bool {
        let found = self.0.parse(line, |tape| {
            texts.push_str(last_string(tape, key)?);
            Some(())
        });
        found.is_some()
    }
}

/// The last value of a key, if it is a string.
fn last_string<'l>(tape: &Tape<'l>, key: &str) -> Option<&'l str> {
    let object = tape.as_value().as_object()?;
    let values = object.iter().filter(|(name, _)| *name == key);
    values.last().and_then(|(_, value)| value.into_string())
}

/// Parses any line at all, more slowly.
fn parse_text(line: &[u8], key: &str) -> Result<String, RowError> {
    let missing = || RowError::MissingText {
        key: key.to_owned(),
    };
    match jsonl::parse(line, TextSeed(key))?.ok_or_else(missing)? {
        Value::Text(text) => Ok(text.into_owned()),
        other => Err(RowError::WrongType {
            key: key.to_owned(),
            found: other.type_name(),
        }),
    }
}

/// The last value of a key.
struct TextSeed<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = Option<Value<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TextSeed<'_> {
    type Value = Option<Value<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Key<'de>>()? {
            if key.0 == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config as ProptestConfig;

    use super::*;
    use crate::read::json_tape::MAX_LEN;

    /// Both parsers say the same of a line, and a line that has no text adds none.
    fn check(parser: &mut TextParser, line: &[u8]) {
        let mut texts = "before".to_owned();
        let found = parser.append_text(line, "text", &mut texts);
        let expected = parse_text(line, "text");
        let shown = String::from_utf8_lossy(line);
        assert_eq!(
            found,
            expected.as_ref().map(drop).map_err(Clone::clone),
            "{shown}"
        );
        let text = expected.unwrap_or_default();
        assert_eq!(texts.strip_prefix("before"), Some(text.as_str()), "{shown}");
    }

    fn is_fast(line: &str) -> bool {
        TextParser::default().append_plain_text(line.as_bytes(), "text", &mut String::new())
    }

    #[test]
    fn a_text_is_found_among_other_keys() {
        for (line, expected) in [
            (r#"{"text": "a\u00e9\n"}"#, Ok("a\u{e9}\n")),
            (r#"{"n": [1, {"text": 2}], "text": ""}"#, Ok("")),
            (r#"{"text": "t", "meta": {"text": "s"}}"#, Ok("t")),
            (r#"{"text": "first", "t\u0065xt": "last"}"#, Ok("last")),
            (r#"{"text": "a""#, Err("bad_json")),
            (r#"{"text": "a"} x"#, Err("bad_json")),
            (r#"{"text": "\ud800"}"#, Err("bad_json")),
            ("[1]", Err("not_an_object")),
            (r#""text""#, Err("not_an_object")),
            (r#"{"id": 1}"#, Err("missing_text")),
            (r#"{"text": null}"#, Err("wrong_type")),
            (r#"{"text": 3.5}"#, Err("wrong_type")),
            (r#"{"text": ["a"]}"#, Err("wrong_type")),
            (r#"{"text": {"a": 1}}"#, Err("wrong_type")),
        ] {
            let found = parse_text(line.as_bytes(), "text");
            let found = found.as_deref().map_err(RowError::name);
            assert_eq!(found, expected, "{line}");
        }
        let error = parse_text(b"{\"text\": \"\xff\"}", "text").unwrap_err();
        assert_eq!(error, RowError::InvalidUtf8 { byte: 10 });
    }

    #[test]
    fn plain_documents_are_parsed_fast() {
        assert!(is_fast(r#"{"text": ""}"#));
        assert!(is_fast(
            r#"{"id": 1, "text": "a\u00e9\ud83d\ude00\n", "meta": {"n": [1.5, null]}}"#
        ));
        assert!(is_fast(r#"{"text": 1, "t\u0065xt": "last"}"#));
        assert!(!is_fast(r#"{"text": "first", "text": 1}"#));
        assert!(!is_fast(r#"["text", "a"]"#));
        assert!(!is_fast(r#"{"meta": {"text": "a"}}"#));
    }

    #[test]
    fn odd_lines_are_judged_as_by_the_other_parser() {
        let mut parser = TextParser::default();
        let lines: [&[u8]; 36] = [
            b"",
            b"{}",
            b"[]",
            b"1",
            b"\"text\"",
            b"{\"text\": \"a\"",
            b"{\"text\": \"a\"} x",
            b"{\"text\": \"a\"}{}",
            b"{\"text\": \"a\",}",
            b"{\"text\" \"a\"}",
            b"{\"text\": \"a\" \"b\": 1}",
            b"{\"text\": \"a\"x}",
            b"{\"text\": \"\\ud800\"}",
            b"{\"text\": \"\\udc00\\ud800\"}",
            b"{\"text\": \"\\ud83d\\ude00\"}",
            b"{\"text\": \"\\u00g0\"}",
            b"{\"text\": \"\\x\"}",
            b"{\"text\": \"a\tb\"}",
            b"{\"text\": \"a\x00b\"}",
            b"{\"text\": \"\xff\"}",
            b"{\"text\": \"\xed\xa0\x80\"}",
            b"{\"text\": \"a\", \"n\": \"\\ud800\"}",
            b"{\"text\": \"a\", \"n\": 1e999}",
            b"{\"text\": \"a\", \"meta\": 1e999}",
            b"{\"text\": \"a\", \"meta\": {\"pile_set_name\": -1e999}}",
            b"{\"text\": \"a\", \"n\": 123456789012345678901234567890}",
            b"{\"text\": \"a\", \"n\": -0}",
            b"{\"text\": \"a\", \"n\": 01}",
            b"{\"text\": \"a\", \"n\": 1.}",
            b"{\"text\": \"a\", \"n\": -}",
            b"{\"text\": \"a\", \"n\": +1}",
            b"{\"text\": \"a\", \"n\": 1.5e}",
            b"{\"text\": \"a\", \"n\": trux}",
            b"{\"text\": \"a\", \"n\": NaN}",
            b"\xef\xbb\xbf{\"text\": \"a\"}",
            b"{\"text\": \"a\"}\x0c",
        ];
        for line in lines {
            check(&mut parser, line);
        }
        for depth in [100, 127, 128, 129, 1023, 1024, 1025, 20_000] {
            let nested = [vec![b'['; depth], vec![b']'; depth]].concat();
            for key in ["n", "meta", "text"] {
                let start = format!("{{\"{key}\": ");
                let line = [start.as_bytes(), &nested, b", \"text\": \"a\"}"].concat();
                check(&mut parser, &line);
            }
        }
    }

    #[test]
    fn long_lines_are_left_to_the_other_parser() {
        for len in [MAX_LEN - 20, MAX_LEN, 2 * MAX_LEN] {
            let line = format!("{{\"text\": \"{}\"}}", "a\\n".repeat(len / 3));
            check(&mut TextParser::default(), line.as_bytes());
        }
    }

    /// Pieces of JSON, whole and broken, that make lines worth parsing when strung together.
    pub(crate) fn piece() -> impl Strategy<Value = Vec<u8>> {
        let parts = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            " ",
            "\t",
            "\r",
            "\u{c}",
            "\"",
            "\\",
            "\"text\"",
            "\"text\": ",
            "\"t\\u0065xt\": ",
            "\"meta\": ",
            "\"pile_set_name\": ",
            "\"a\"",
            "\"\\n\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\\/\"",
            "1",
            "-1",
            "0",
            "-0",
            "01",
            "1.5",
            "1e5",
            "1E+400",
            "-",
            ".",
            "e",
            "18446744073709551616",
            "true",
            "false",
            "null",
            "nul",
            "truex",
            "\u{e9}",
            "\u{1f600}",
            "\u{0}",
            "\u{1f}",
            "\u{7f}",
            "{\"a\": [1, {}]}",
            "[[], \"x\", null]",
            ", \"n\": ",
        ];
        prop_oneof![
            8 => proptest::sample::select(parts.map(|part| part.as_bytes().to_vec()).to_vec()),
            1 => any::<Vec<u8>>(),
            1 => any::<String>().prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn both_parsers_say_the_same(
            text in any::<String>(),
            value in proptest::collection::vec(piece(), 0..4),
            change in proptest::option::of((any::<proptest::sample::Index>(), piece())),
            loose in proptest::collection::vec(piece(), 0..12),
        ) {
            let mut parser = TextParser::default();
            let text = serde_json::to_string(&text).unwrap();
            let mut line = [b"{\"n\": ".as_slice(), &value.concat(), b", \"text\": ", text.as_bytes(), b"}"].concat();
            check(&mut parser, &line);
            if let Some((at, piece)) = change {
                let at = at.index(line.len());
                line.splice(at..=at, piece);
                check(&mut parser, &line);
            }
            check(&mut parser, &loose.concat());
        }
    }
}
