//! How much of a source file is comments.
//!
//! bigcode-dataset (`utils/text_extraction.py`) takes comments from Pygments, and for Python from its
//! tokenizer and the documentation strings. One pass of our own knows four ways to write comments,
//! and strings, so that a `//` in an address between quotes is none; at the edges it differs.

use super::language::Format;

/// How a language writes comments.
#[derive(Clone, Copy)]
struct Syntax {
    line: &'static str,
    block: Option<(&'static str, &'static str)>,
    has_docstrings: bool,
}

impl Syntax {
    fn of(format: Format) -> Option<Self> {
        let (line, block, has_docstrings) = match format {
            Format::Braces => ("//", Some(("/*", "*/")), false),
            Format::Css => ("", Some(("/*", "*/")), false),
            Format::Dashes => ("--", None, false),
            Format::Hashes => ("#", None, false),
            Format::Percents => ("%", None, false),
            Format::Python => ("#", None, true),
            Format::Html => ("", Some(("<!--", "-->")), false),
            Format::Data | Format::Xslt | Format::Other => return None,
        };
        Some(Self {
            line,
            block,
            has_docstrings,
        })
    }
}

/// Characters in comments; `None` for a language whose comments are not known.
pub(super) fn count(code: &str, format: Format) -> Option<u64> {
    let syntax = Syntax::of(format)?;
    let is_markup = format == Format::Html;
    let mut count = 0;
    let mut at = 0;
    let mut is_line_start = true;
    while let Some(c) = code[at..].chars().next() {
        let rest = &code[at..];
        let length = if !syntax.line.is_empty() && rest.starts_with(syntax.line) {
            let length = rest.find('\n').unwrap_or(rest.len());
            count += chars(&rest[..length]);
            length
        } else if let Some((_, close)) = syntax.block.filter(|(open, _)| rest.starts_with(open)) {
            let end = rest.find(close).map_or(rest.len(), |end| end + close.len());
            count += chars(&rest[..end]);
            end
        } else if !is_markup && matches!(c, '"' | '\'') {
            let length = string_len(rest, c, syntax.has_docstrings);
            if syntax.has_docstrings && is_line_start && is_triple(rest, c) {
                count += chars(&rest[..length]);
            }
            length
        } else {
            c.len_utf8()
        };
        is_line_start = c == '\n' || (is_line_start && c.is_whitespace());
        at += length;
    }
    Some(count)
}

fn chars(text: &str) -> u64 {
    text.chars().count() as u64
}

fn is_triple(text: &str, quote: char) -> bool {
    text.chars().take(3).filter(|&c| c == quote).count() == 3
}

/// The length of the string that starts here with `quote`: to the same quote, or to the line's end.
fn string_len(text: &str, quote: char, may_be_triple: bool) -> usize {
    let marks = if may_be_triple && is_triple(text, quote) {
        3
    } else {
        1
    };
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(marks) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if marks == 3 && c == quote && is_triple(&text[at..], quote) {
            return at + 3;
        } else if marks == 1 && (c == quote || c == '\n') {
            return if c == quote { at + 1 } else { at };
        }
    }
    text.len()
}
