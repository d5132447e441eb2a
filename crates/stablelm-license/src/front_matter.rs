//! Reads the few front-matter keys of a hub card that say what the card is about.
//!
//! A tolerant reading of a small part of YAML: `key: value`, `key: [a, b]` and lists of `- item`
//! at the top level, with quotes and comments. Nested maps are skipped. Never fails.

/// The top-level keys of a card's front matter that hold a string or a list of strings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FrontMatter {
    entries: Vec<(String, Vec<String>)>,
}

impl FrontMatter {
    /// Splits a card into front matter and body; `None` when it does not start with `---`.
    pub(crate) fn split(card: &str) -> Option<(FrontMatter, &str)> {
        let card = card.strip_prefix('\u{feff}').unwrap_or(card);
        let mut lines = card.split_inclusive('\n');
        let first = lines.next()?;
        if first.trim_end() != "---" {
            return None;
        }
        let mut end = first.len();
        let mut header = Vec::new();
        for line in lines {
            end += line.len();
            if matches!(line.trim_end(), "---" | "...") {
                return Some((FrontMatter::parse(&header), &card[end..]));
            }
            header.push(line.trim_end());
        }
        None
    }

    /// Returns every value of a key.
    pub(crate) fn list(&self, key: &str) -> &[String] {
        self.entries
            .iter()
            .find(|(name, _)| name == key)
            .map_or(&[], |(_, values)| values)
    }

    /// Returns the first value of a key.
    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        self.list(key).first().map(String::as_str)
    }

    fn parse(lines: &[&str]) -> FrontMatter {
        let mut entries: Vec<(String, Vec<String>)> = Vec::new();
        let mut in_list = false;
        for line in lines {
            let trimmed = line.trim_start();
            let indented = trimmed.len() < line.len();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if let Some(item) = trimmed.strip_prefix("- ") {
                if let Some((_, values)) = entries.last_mut().filter(|_| in_list) {
                    values.extend(scalar(item));
                }
            } else if indented {
                // A nested map, or a scalar over several lines: none of ours.
                in_list = false;
            } else if let Some((key, rest)) = trimmed.split_once(':') {
                let values = values(rest.trim());
                in_list = values.is_empty();
                entries.push((scalar(key).unwrap_or_default(), values));
            }
        }
        FrontMatter { entries }
    }
}

/// Reads what follows a key: nothing, a scalar or a list in brackets.
fn values(text: &str) -> Vec<String> {
    match text
        .strip_prefix('[')
        .and_then(|rest| rest.rsplit_once(']'))
    {
        Some((inner, _)) => inner.split(',').filter_map(scalar).collect(),
        None => scalar(text).into_iter().collect(),
    }
}

/// Reads one scalar without its quotes and comment; nothing when it is empty or a block marker.
fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with('#') || matches!(text, "" | "|" | ">" | "|-" | ">-" | "~" | "null") {
        return None;
    }
    for quote in ['"', '\''] {
        if let Some((inner, _)) = text
            .strip_prefix(quote)
            .and_then(|rest| rest.rsplit_once(quote))
        {
            let unescaped = if quote == '"' {
                unescape(inner)
            } else {
                inner.replace("''", "'")
            };
            return Some(unescaped);
        }
    }
    let text = text
        .split_once(" #")
        .map_or(text, |(value, _)| value.trim_end());
    Some(text.to_owned())
}

/// Undoes the escapes of a double-quoted scalar; what is not valid stays as it is.
fn unescape(inner: &str) -> String {
    serde_json::from_str(&format!("\"{inner}\"")).unwrap_or_else(|_| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::yaml;

    #[test]
    fn keys_are_read_in_each_form() {
        let card = "\u{feff}---\r\nlicense: cc-by-sa-4.0 # terms\r\ndatasets:\r\n- a/b\r\n  - 'c/d'\r\n\
                    language: [en, \"de\"]\r\nextra_gated_fields:\r\n  Name: text\r\n- stray\r\n\
                    base_model: x/y\r\n---\r\n# Title\r\n";
        let (front, body) = FrontMatter::split(card).expect("it has front matter");
        let check = |key: &str, expected: &[&str]| assert_eq!(front.list(key), expected, "{key}");
        check("license", &["cc-by-sa-4.0"]);
        check("datasets", &["a/b", "c/d"]);
        check("language", &["en", "de"]);
        check("extra_gated_fields", &[]);
        check("base_model", &["x/y"]);
        check("missing", &[]);
        assert_eq!(body, "# Title\r\n");
    }

    #[test]
    fn a_page_without_front_matter_has_none() {
        assert_eq!(FrontMatter::split("# Title\n"), None);
        assert_eq!(FrontMatter::split("---\nlicense: mit\n"), None);
        assert_eq!(FrontMatter::split(""), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in "(---\n)?(\\PC|\n|:|-|\\[|\"|#){0,80}(---)?") {
            let _ = FrontMatter::split(&text);
        }

        #[test]
        fn what_we_write_is_read_back(value in "\\PC{1,40}") {
            let card = format!("---\nkey: {}\n---\n", yaml(&value));
            let (front, _) = FrontMatter::split(&card).expect("it has front matter");
            prop_assert_eq!(front.first("key"), Some(value.as_str()));
        }
    }
}
