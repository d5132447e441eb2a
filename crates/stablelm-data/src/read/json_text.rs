//! One string out of a line of JSON, fast.
//!
//! A SIMD parser takes the lines that are plain documents. Whatever it does not take goes to the
//! parser of [`jsonl`](crate::read::jsonl), which alone decides what is wrong with a row; a property
//! test holds the two together.

use std::mem;

use simd_json::prelude::ValueIntoString;
use simd_json::{Buffers, INPUT_PADDING, Tape};

use crate::document::RowError;
use crate::read::jsonl::{JsonSchema, parse_line};

/// Longest line for the fast parser, whose index of a line can be many times as long as the line.
const MAX_FAST_LEN: usize = 1 << 20;

/// A parser that keeps its memory from line to line.
pub(crate) struct TextParser {
    /// A copy of the line, which the parser writes unescaped strings into.
    line: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
}

impl TextParser {
    pub(crate) fn new() -> Self {
        Self {
            line: Vec::new(),
            buffers: Buffers::default(),
            tape: Tape(Vec::new()),
        }
    }

    /// Appends the text of a line to `texts`, which stays as it was when the line has none.
    pub(crate) fn append_text(
        &mut self,
        line: &[u8],
        schema: &JsonSchema,
        texts: &mut String,
    ) -> Result<(), RowError> {
        if line.len() <= MAX_FAST_LEN && self.append_plain_text(line, &schema.text, texts) {
            return Ok(());
        }
        texts.push_str(&parse_line(line, 0, schema)?.text);
        Ok(())
    }

    /// Returns false when the line is not an object whose last value for `key` is a string.
    fn append_plain_text(&mut self, line: &[u8], key: &str, texts: &mut String) -> bool {
        self.line.clear();
        self.line.extend_from_slice(line);
        self.line.resize(line.len() + INPUT_PADDING, 0);
        let mut tape = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let parsed =
            simd_json::fill_tape_padded(&mut self.line, line.len(), &mut self.buffers, &mut tape);
        let text = parsed.ok().and_then(|()| last_string(&tape, key));
        if let Some(text) = text {
            texts.push_str(text);
        }
        let found = text.is_some();
        self.tape = tape.reset();
        found
    }
}

/// The last value of a key, if it is a string.
fn last_string<'l>(tape: &Tape<'l>, key: &str) -> Option<&'l str> {
    let object = tape.as_value().as_object()?;
    let values = object.iter().filter(|(name, _)| *name == key);
    values.last().and_then(|(_, value)| value.into_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config as ProptestConfig;

    use super::*;

    fn schema() -> JsonSchema {
        JsonSchema {
            text: "text".to_owned(),
            id: None,
        }
    }

    /// Both parsers say the same of a line, and a line that has no text adds none.
    fn check(parser: &mut TextParser, line: &[u8]) {
        let mut texts = "before".to_owned();
        let found = parser.append_text(line, &schema(), &mut texts);
        let expected = parse_line(line, 0, &schema());
        let shown = String::from_utf8_lossy(line);
        assert_eq!(
            found,
            expected.as_ref().map(drop).map_err(Clone::clone),
            "{shown}"
        );
        let text = expected.map_or(String::new(), |document| document.text);
        assert_eq!(texts.strip_prefix("before"), Some(text.as_str()), "{shown}");
    }

    fn is_fast(line: &str) -> bool {
        TextParser::new().append_plain_text(line.as_bytes(), "text", &mut String::new())
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
        let mut parser = TextParser::new();
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
        for len in [MAX_FAST_LEN - 20, MAX_FAST_LEN, 2 * MAX_FAST_LEN] {
            let line = format!("{{\"text\": \"{}\"}}", "a\\n".repeat(len / 3));
            check(&mut TextParser::new(), line.as_bytes());
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
            let mut parser = TextParser::new();
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
