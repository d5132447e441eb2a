//! Python literals, such as `str(dict)` prints them: the `meta` of pilev2.
//!
//! Reads what `ast.literal_eval` reads of them, and JSON's words beside Python's. Nothing is ever
//! run. Depth and size are limited, for the text comes from outside.

use std::borrow::Cow;

use crate::read::fields::{MetaFields, MetaSlot, Value};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// Most values of all kinds in one literal.
const MAX_VALUES: usize = 1 << 16;

/// A value that a literal spells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal<'t> {
    Text(Cow<'t, str>),
    /// As it is written.
    Number(&'t str),
    Bool,
    None,
    /// A list, a tuple or a set.
    List(Vec<Literal<'t>>),
    Dict(Vec<(Literal<'t>, Literal<'t>)>),
}

/// Why a text is no literal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no dictionary: {message} at byte {at}")]
pub(crate) struct LiteralError {
    message: &'static str,
    at: usize,
}

/// Reads the fields of a dictionary.
pub(crate) fn parse_fields(text: &str) -> Result<MetaFields, LiteralError> {
    let Literal::Dict(pairs) = parse(text)? else {
        return Err(LiteralError {
            message: "expected `{`",
            at: 0,
        });
    };
    let mut fields = MetaFields::default();
    for (key, value) in pairs {
        let Literal::Text(key) = key else { continue };
        let value = match value {
            Literal::None => continue,
            Literal::Text(text) => Value::Text(text),
            Literal::Number(number) => Value::Number(number.to_owned()),
            Literal::Bool => Value::Other("a boolean"),
            Literal::Dict(_) => Value::Other("an object"),
            Literal::List(list) => Value::List(
                list.into_iter()
                    .filter_map(|item| match item {
                        Literal::Text(text) => Some(text.into_owned()),
                        _ => None,
                    })
                    .collect(),
            ),
        };
        fields.add_key(&key);
        if let Some(slot) = MetaSlot::of(&key) {
            fields.set(slot, value);
        }
    }
    Ok(fields)
}

/// Reads one literal, and nothing after it.
pub(crate) fn parse(text: &str) -> Result<Literal<'_>, LiteralError> {
    let mut parser = Parser {
        text,
        at: 0,
        values: 0,
    };
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.error("something after the value"));
    }
    Ok(value)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    values: usize,
}

impl<'t> Parser<'t> {
    fn error(&self, message: &'static str) -> LiteralError {
        LiteralError {
            message,
            at: self.at,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0c)) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Literal<'t>, LiteralError> {
        self.skip_space();
        self.values += 1;
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        if self.values > MAX_VALUES {
            return Err(self.error("too many values"));
        }
        match self.peek() {
            Some(b'{') => self.braces(depth),
            Some(b'[') => self.list(b']', depth),
            Some(b'(') => self.parentheses(depth),
            Some(b'\'' | b'"') => self.string(),
            Some(b'u' | b'U' | b'b' | b'B')
                if matches!(self.text.as_bytes().get(self.at + 1), Some(b'\'' | b'"')) =>
            {
                self.at += 1;
                self.string()
            }
            Some(b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z') => self.word(),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("it ends too early")),
        }
    }

    /// A dictionary or a set.
    fn braces(&mut self, depth: usize) -> Result<Literal<'t>, LiteralError> {
        self.at += 1;
        let mut pairs = Vec::new();
        loop {
            self.skip_space();
            if self.eat(b'}') {
                return Ok(Literal::Dict(pairs));
            }
            let key = self.value(depth + 1)?;
            self.skip_space();
            if !self.eat(b':') {
                if !pairs.is_empty() {
                    return Err(self.error("expected `:`"));
                }
                return self.items(vec![key], b'}', depth);
            }
            pairs.push((key, self.value(depth + 1)?));
            self.skip_space();
            if !self.eat(b',') && self.peek() != Some(b'}') {
                return Err(self.error("expected `,` or `}`"));
            }
        }
    }

    fn list(&mut self, end: u8, depth: usize) -> Result<Literal<'t>, LiteralError> {
        self.at += 1;
        self.skip_space();
        if self.eat(end) {
            return Ok(Literal::List(Vec::new()));
        }
        let first = self.value(depth + 1)?;
        self.items(vec![first], end, depth)
    }

    /// A tuple, or a value that stands in parentheses for no reason.
    fn parentheses(&mut self, depth: usize) -> Result<Literal<'t>, LiteralError> {
        let start = self.at;
        self.at += 1;
        self.skip_space();
        if self.eat(b')') {
            return Ok(Literal::List(Vec::new()));
        }
        let first = self.value(depth + 1)?;
        self.skip_space();
        if self.eat(b')') {
            return Ok(first);
        }
        if self.peek() != Some(b',') {
            self.at = start;
            return Err(self.error("an open `(`"));
        }
        self.items(vec![first], b')', depth)
    }

    /// The items after the first one.
    fn items(
        &mut self,
        mut items: Vec<Literal<'t>>,
        end: u8,
        depth: usize,
    ) -> Result<Literal<'t>, LiteralError> {
        loop {
            self.skip_space();
            if self.eat(end) {
                return Ok(Literal::List(items));
            }
            if !self.eat(b',') {
                return Err(self.error("expected `,` or the end of the list"));
            }
            self.skip_space();
            if self.eat(end) {
                return Ok(Literal::List(items));
            }
            items.push(self.value(depth + 1)?);
        }
    }

    /// A number or a word.
    fn word(&mut self) -> Result<Literal<'t>, LiteralError> {
        let rest = &self.text[self.at..];
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let len = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let word = &rest[..len];
        let found = match word {
            "True" | "False" | "true" | "false" => Literal::Bool,
            "None" | "null" => Literal::None,
            _ if is_number(word) => Literal::Number(word),
            _ => return Err(self.error("neither a number nor a known word")),
        };
        self.at += len;
        Ok(found)
    }

    fn string(&mut self) -> Result<Literal<'t>, LiteralError> {
        let quote = self.text.as_bytes()[self.at];
        self.at += 1;
        let start = self.at;
        let mut text = Cow::Borrowed("");
        let mut from = start;
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let Some(len) = memchr::memchr3(quote, b'\\', b'\n', rest) else {
                self.at = start - 1;
                return Err(self.error("an open string"));
            };
            self.at += len;
            let piece = &self.text[from..self.at];
            match rest[len] {
                b'\\' => {
                    text.to_mut().push_str(piece);
                    self.escape(text.to_mut())?;
                    from = self.at;
                }
                b'\n' => return Err(self.error("a line end in a string")),
                _ => {
                    self.at += 1;
                    if from == start {
                        return Ok(Literal::Text(Cow::Borrowed(piece)));
                    }
                    text.to_mut().push_str(piece);
                    return Ok(Literal::Text(text));
                }
            }
        }
    }

    /// What stands after a backslash.
    fn escape(&mut self, text: &mut String) -> Result<(), LiteralError> {
        self.at += 1;
        let Some(escaped) = self.text[self.at..].chars().next() else {
            return Err(self.error("it ends too early"));
        };
        self.at += escaped.len_utf8();
        match escaped {
            '\\' | '\'' | '"' => text.push(escaped),
            // Python joins the lines.
            '\n' => {}
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'a' => text.push('\u{7}'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'v' => text.push('\u{b}'),
            'x' => text.push(self.digits(2, 2, 16)?),
            'u' => text.push(self.digits(4, 4, 16)?),
            'U' => text.push(self.digits(8, 8, 16)?),
            '0'..='7' => {
                self.at -= 1;
                text.push(self.digits(1, 3, 8)?);
            }
            'N' => return Err(self.error("a character by its name")),
            // Python keeps the backslash of what is no escape.
            other => text.extend(['\\', other]),
        }
        Ok(())
    }

    /// A character by its number; a lone surrogate, which is none, becomes U+FFFD.
    fn digits(&mut self, min: usize, max: usize, radix: u32) -> Result<char, LiteralError> {
        let digits = self.text[self.at..].chars().take(max);
        let digits = digits.map_while(|c| c.to_digit(radix));
        let (len, number) = digits.fold((0, 0_u32), |(len, number), digit| {
            // Eight hex digits are 32 bits.
            (len + 1, number.wrapping_mul(radix) + digit)
        });
        if len < min || number > 0x0010_ffff {
            return Err(self.error("a bad escape"));
        }
        self.at += len;
        Ok(char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

/// Whether Python prints a number so.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    let is =
        |rest: &str, radix| !rest.is_empty() && rest.chars().all(|c| c == '_' || c.is_digit(radix));
    for (prefixes, radix) in [(["0x", "0X"], 16), (["0o", "0O"], 8), (["0b", "0B"], 2)] {
        if let Some(rest) = prefixes
            .iter()
            .find_map(|prefix| digits.strip_prefix(prefix))
        {
            return is(rest, radix);
        }
    }
    // Words for what is no number go through with those for infinity.
    digits.replace('_', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Literal<'_> {
        Literal::Text(Cow::Borrowed(text))
    }

    fn check(input: &str, expected: &Literal<'_>) {
        assert_eq!(parse(input).as_ref(), Ok(expected), "{input}");
    }

    #[test]
    fn strings_with_both_quotes_and_escapes_are_read() {
        check(r"'a'", &text("a"));
        check(r#""it's""#, &text("it's"));
        check(r#"'say "x"'"#, &text("say \"x\""));
        check(r#"'it\'s "x"'"#, &text("it's \"x\""));
        check(r"'a\n\t\r\\b'", &text("a\n\t\r\\b"));
        check(
            r"'\x41\u00e9\U0001f600\101\0'",
            &text("A\u{e9}\u{1f600}A\0"),
        );
        check(r"'\ud800'", &text("\u{fffd}"));
        check(r"'\q\d'", &text("\\q\\d"));
        check("'a\\\nb'", &text("ab"));
        check("u'\u{e9}'", &text("\u{e9}"));
        check("b'raw\\xff'", &text("raw\u{ff}"));
        check("''", &text(""));
    }

    #[test]
    fn numbers_and_words_are_read() {
        for number in [
            "0", "-1", "+2.5", "1e5", "1_000", "0xff", ".5", "nan", "-inf", "1E-7",
        ] {
            check(number, &Literal::Number(number));
        }
        check("True", &Literal::Bool);
        check("None", &Literal::None);
        check("null", &Literal::None);
    }

    #[test]
    fn containers_are_read() {
        check("[]", &Literal::List(vec![]));
        check("()", &Literal::List(vec![]));
        check("(1)", &Literal::Number("1"));
        check("(1,)", &Literal::List(vec![Literal::Number("1")]));
        check(
            "[1, 'a', ]",
            &Literal::List(vec![Literal::Number("1"), text("a")]),
        );
        check(
            "{1, 2}",
            &Literal::List(vec![Literal::Number("1"), Literal::Number("2")]),
        );
        check("{}", &Literal::Dict(vec![]));
        check(
            "{'a': {'b': [None]}, 2: 'c'}",
            &Literal::Dict(vec![
                (
                    text("a"),
                    Literal::Dict(vec![(text("b"), Literal::List(vec![Literal::None]))]),
                ),
                (Literal::Number("2"), text("c")),
            ]),
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for input in [
            "",
            "{",
            "{'a'",
            "{'a':",
            "{'a': 1",
            "{'a': 1 'b': 2}",
            "{'a': 1}}",
            "'a",
            "'a\nb'",
            "'\\",
            "'\\x4'",
            "'\\U00110000'",
            "'\\N{DASH}'",
            "foo",
            "f('x')",
            "1 2",
            "[1 2]",
            "(1",
            "1+",
            "__import__('os')",
            "{'a': datetime.date(2020, 1, 1)}",
            "\u{e9}",
            "[,]",
            "{,}",
        ] {
            assert!(parse(input).is_err(), "{input}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("[{}]", "1,".repeat(100_000))).is_err());
        let deep = format!("{}{}", "(".repeat(60), ")".repeat(60));
        assert!(parse(&deep).is_ok());
    }

    #[test]
    fn the_fields_of_a_meta_are_kept() {
        let fields = parse_fields("{'source': 'ArXiv', 'title': None, 'n': 1}").unwrap();
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["source", "n"]);
        assert!(parse_fields("['source']").is_err());
    }
}
