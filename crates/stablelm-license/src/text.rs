//! How facts become text: one line, one table cell, one YAML scalar, one number.
//!
//! Facts may come from files we did not write, so each function leaves nothing in them that could
//! break out of its place: no line breaks, no control characters, no cell borders.

/// A part of a text document.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A line, or several lines of a text that is kept as it is.
    Line(String),
    /// An empty line.
    Gap,
    /// A heading of plain text, and what it is underlined with.
    Underlined(String, char),
    /// A Markdown heading of a level.
    Heading(usize, String),
    /// A table: the names of the columns, whether each holds numbers, and the rows.
    Table {
        /// The columns.
        head: Vec<(&'static str, bool)>,
        /// The cells of each row.
        rows: Vec<Vec<String>>,
    },
}

/// A text document written line by line.
#[derive(Debug, Default)]
pub(crate) struct Page {
    entries: Vec<Entry>,
}

impl Page {
    /// Appends a line.
    pub(crate) fn line(&mut self, line: &str) {
        self.entries.push(Entry::Line(line.to_owned()));
    }

    /// Appends an empty line.
    pub(crate) fn gap(&mut self) {
        self.entries.push(Entry::Gap);
    }

    /// Appends a heading of plain text with its underline, and the empty line before it.
    pub(crate) fn underlined(&mut self, title: &str, mark: char) {
        self.entries.push(Entry::Underlined(title.to_owned(), mark));
    }

    /// Appends a Markdown heading between empty lines.
    pub(crate) fn heading(&mut self, level: usize, title: &str) {
        self.entries.push(Entry::Heading(level, title.to_owned()));
    }

    /// Appends a table.
    pub(crate) fn table(&mut self, head: &[(&'static str, bool)], rows: Vec<Vec<String>>) {
        self.entries.push(Entry::Table {
            head: head.to_vec(),
            rows,
        });
    }

    /// Returns the parts, in order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the first heading.
    pub(crate) fn title(&self) -> &str {
        let heading = self.entries.iter().find_map(|entry| match entry {
            Entry::Underlined(title, _) | Entry::Heading(_, title) => Some(title.as_str()),
            _ => None,
        });
        heading.unwrap_or_default()
    }

    /// Returns the text.
    pub(crate) fn finish(self) -> String {
        let mut text = String::new();
        for entry in self.entries {
            let is_heading = matches!(entry, Entry::Underlined(..) | Entry::Heading(..));
            if is_heading && !text.is_empty() {
                text.push('\n');
            }
            match entry {
                Entry::Line(line) => text.push_str(&format!("{line}\n")),
                Entry::Gap => text.push('\n'),
                Entry::Underlined(title, mark) => {
                    let underline: String =
                        std::iter::repeat_n(mark, title.chars().count()).collect();
                    text.push_str(&format!("{title}\n{underline}\n"));
                }
                Entry::Heading(level, title) => {
                    text.push_str(&format!("{} {title}\n\n", "#".repeat(level)));
                }
                Entry::Table { head, rows } => {
                    let names: Vec<&str> = head.iter().map(|(name, _)| *name).collect();
                    let rules = head
                        .iter()
                        .map(|(_, is_number)| if *is_number { "---:" } else { "---" });
                    let rules: Vec<&str> = rules.collect();
                    text.push_str(&format!(
                        "| {} |\n| {} |\n",
                        names.join(" | "),
                        rules.join(" | ")
                    ));
                    for row in rows {
                        let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
                        text.push_str(&format!("| {} |\n", cells.join(" | ")));
                    }
                }
            }
        }
        text
    }
}

/// Returns text on one line: control characters become spaces, spaces are joined, ends trimmed.
pub(crate) fn one_line(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|c| if is_control(c) { ' ' } else { c })
        .collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns text for one cell of a Markdown table.
pub(crate) fn cell(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('|', "\\|")
}

/// Returns a YAML scalar that reads back as exactly this string.
pub(crate) fn yaml(text: &str) -> String {
    const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | '/' | '-'))
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { quoted(text) }
}

/// Returns a whole number with commas between its thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a double-quoted scalar in the part of YAML that is also JSON.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // YAML takes these for line breaks or forbids them.
            c if is_control(c) || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    let digit = (u32::from(c) >> shift) & 0xf;
                    out.push(char::from_digit(digit, 16).expect("four bits are a digit"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// True for characters that steer a reader or a terminal instead of being read.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_no_control_characters() {
        assert_eq!(one_line(" a\n\tb\u{1b}[31m  c\u{202e} "), "a b [31m c");
    }

    #[test]
    fn a_cell_keeps_its_borders() {
        assert_eq!(cell("a|b\nc"), "a\\|b c");
    }

    #[test]
    fn a_scalar_is_quoted_when_it_could_be_read_as_something_else() {
        let check = |text: &str, expected: &str| assert_eq!(yaml(text), expected);
        check("cc-by-sa-4.0", "cc-by-sa-4.0");
        check("tiiuae/falcon-refinedweb", "tiiuae/falcon-refinedweb");
        check("no", "\"no\"");
        check("1.2.0", "\"1.2.0\"");
        check("a: b", "\"a: b\"");
        check("x\ny\"", "\"x\\ny\\\"\"");
        check("", "\"\"");
        check("\u{85}", "\"\\u0085\"");
    }

    #[test]
    fn thousands_are_separated() {
        let check = |number, expected: &str| assert_eq!(thousands(number), expected);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(2_795_443_200, "2,795,443,200");
    }
}
