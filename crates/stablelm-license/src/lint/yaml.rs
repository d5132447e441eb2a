//! YAML as a tree that knows where each node stands.
//!
//! Aliases stay what they are and are not followed, so a small text never becomes a large tree.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};

/// A node and the bytes it takes.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Value,
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last one. Only scalars on one line know it exactly.
    pub(crate) end: usize,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A scalar: its text, and whether it stands without quotes.
    Scalar { text: String, plain: bool },
    /// A list.
    List(Vec<Node>),
    /// A map, with its keys in order.
    Map(Vec<(Node, Node)>),
    /// A reference to another node.
    Alias,
}

/// Why a text is no YAML, and where.
#[derive(Clone, Debug)]
pub(crate) struct YamlError {
    pub(crate) message: String,
    pub(crate) at: usize,
}

/// The kinds of scalar that the core schema tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Map,
    Alias,
}

impl Kind {
    pub(crate) fn phrase(self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Bool => "a truth value",
            Kind::Number => "a number",
            Kind::Text => "text",
            Kind::List => "a list",
            Kind::Map => "a map",
            Kind::Alias => "an alias",
        }
    }
}

impl Node {
    /// Returns a value of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Returns a key of a map and its value.
    pub(crate) fn entry(&self, key: &str) -> Option<(&Node, &Node)> {
        self.entries().find(|(name, _)| name.text() == Some(key))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Node, &Node)> {
        let entries = match &self.value {
            Value::Map(entries) => &entries[..],
            _ => &[],
        };
        entries.iter().map(|(key, value)| (key, value))
    }

    /// Returns the items of a list, or a single node as a list of itself.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// Returns the text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match &self.value {
            Value::List(_) => Kind::List,
            Value::Map(_) => Kind::Map,
            Value::Alias => Kind::Alias,
            Value::Scalar { plain: false, .. } => Kind::Text,
            Value::Scalar { text, .. } => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
                "true" | "false" | "True" | "False" | "TRUE" | "FALSE" => Kind::Bool,
                number if is_number(number) => Kind::Number,
                _ => Kind::Text,
            },
        }
    }

    /// Returns the texts of a scalar or of a list of scalars, with their nodes.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&Node, &str)> {
        self.items()
            .iter()
            .filter(|item| item.kind() != Kind::Null)
            .filter_map(|item| item.text().map(|text| (item, text)))
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.bytes().any(|byte| byte.is_ascii_digit())
        && digits.parse::<f64>().is_ok()
}

/// Reads the first document of a text; `base` is added to every position.
pub(crate) fn parse(text: &str, base: usize) -> Result<Option<Node>, YamlError> {
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| YamlError {
            message: error.kind().to_string(),
            at: base + byte_at(text, error.marker().index(), error.marker().byte_offset()),
        })?;
        let start = base + span.start.byte_offset().unwrap_or_default();
        let end = base + span.end.byte_offset().unwrap_or_default();
        match event {
            Event::Scalar(text, style, _, _) => builder.add(Node {
                value: Value::Scalar {
                    text: text.into_owned(),
                    plain: style == ScalarStyle::Plain,
                },
                start,
                end,
            }),
            Event::Alias(_) | Event::UnresolvedAlias(_) => builder.add(Node {
                value: Value::Alias,
                start,
                end,
            }),
            Event::SequenceStart(..) => builder.open.push((Vec::new(), start, false)),
            Event::MappingStart(..) => builder.open.push((Vec::new(), start, true)),
            Event::SequenceEnd | Event::MappingEnd => builder.close(end),
            Event::DocumentEnd => break,
            _ => {}
        }
    }
    Ok(builder.root)
}

/// Returns the byte of a position that may only be known in characters.
fn byte_at(text: &str, characters: usize, bytes: Option<usize>) -> usize {
    bytes.unwrap_or_else(|| {
        text.char_indices()
            .nth(characters)
            .map_or(text.len(), |(at, _)| at)
    })
}

/// Collections that are not closed yet: their nodes, where they begin, whether they are maps.
#[derive(Default)]
struct Builder {
    open: Vec<(Vec<Node>, usize, bool)>,
    root: Option<Node>,
}

impl Builder {
    fn add(&mut self, node: Node) {
        match self.open.last_mut() {
            Some((nodes, ..)) => nodes.push(node),
            None => self.root = self.root.take().or(Some(node)),
        }
    }

    fn close(&mut self, end: usize) {
        let Some((nodes, start, is_map)) = self.open.pop() else {
            return;
        };
        let value = if is_map {
            let mut entries = Vec::with_capacity(nodes.len() / 2);
            let mut nodes = nodes.into_iter();
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                entries.push((key, value));
            }
            Value::Map(entries)
        } else {
            Value::List(nodes)
        };
        self.add(Node { value, start, end });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_where_they_stand() {
        let text = "a: é\nlist:\n- 'x'\n- 2\nmap: {k: yes}\n";
        let root = parse(text, 100).expect("valid").expect("not empty");
        let a = root.get("a").expect("there");
        assert_eq!(&text[a.start - 100..a.end - 100], "é");
        let items = root.get("list").expect("there").items();
        assert_eq!(&text[items[0].start - 100..items[0].end - 100], "'x'");
        assert_eq!(items[0].text(), Some("x"));
        assert_eq!(items[1].kind(), Kind::Number);
        let (key, value) = root.get("map").expect("there").entry("k").expect("there");
        assert_eq!((key.kind(), value.kind()), (Kind::Text, Kind::Text));
    }

    #[test]
    fn an_error_says_where() {
        let error = parse("a: 1\nb: [1, 2\n", 0).expect_err("not closed");
        assert!(error.at >= 8, "{error:?}");
        assert!(!error.message.is_empty());
        assert!(parse("", 0).expect("nothing is valid").is_none());
    }
}
