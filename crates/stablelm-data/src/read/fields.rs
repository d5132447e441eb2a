//! What is kept of a row, whatever its file holds it as.
//!
//! JSON and tables fill the same [`Fields`], and only [`Schema`](super::schema::Schema) makes a
//! document of them, so that a source means the same in every format.

use std::borrow::Cow;

use crate::read::python;

/// A value of a row. Null is none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    /// As it is written.
    Number(String),
    /// The strings of a list.
    List(Vec<String>),
    /// Anything else, by its type.
    Other(&'static str),
}

impl Value<'_> {
    /// The value as a name, if it can be one.
    pub(crate) fn into_name(self) -> Option<String> {
        match self {
            Self::Text(name) => Some(name.into_owned()),
            Self::Number(name) => Some(name),
            Self::List(_) | Self::Other(_) => None,
        }
    }

    /// The value as a license: all licenses of a list hold.
    pub(crate) fn into_license(self) -> Option<String> {
        match self {
            Self::List(list) if list.is_empty() => None,
            Self::List(list) => Some(list.join(" AND ")),
            other => other.into_name(),
        }
    }

    /// The type, with its article.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::List(_) => "an array",
            Self::Other(found) => found,
        }
    }
}

/// What a key of a row is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Text,
    /// Where the text is in tables of the same source that have no [`Self::Text`].
    SecondText,
    Id,
    /// `red_pajama_subset`, as Hugging Face's copy of RedPajama has it.
    Label,
    /// `pile_set_name`.
    SetName,
    Source,
    Url,
    Title,
    Language,
    License,
    Repository,
    File,
    /// What RedPajama's Common Crawl rows have in place of a `meta`.
    Score,
    Meta,
}

impl Slot {
    const COUNT: usize = Self::Meta as usize + 1;

    /// The slot of a key that means the same in every source.
    pub(crate) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "meta" => Self::Meta,
            "red_pajama_subset" => Self::Label,
            "pile_set_name" => Self::SetName,
            "source" => Self::Source,
            "url" => Self::Url,
            "title" | "short_book_title" => Self::Title,
            "language" | "lang" => Self::Language,
            "license" | "licenses" | "max_stars_repo_licenses" => Self::License,
            "max_stars_repo_name" | "repo_name" => Self::Repository,
            "max_stars_repo_path" | "path" => Self::File,
            "pred_label" | "pred_label_prob" | "wiki_prob" => Self::Score,
            _ => return None,
        })
    }
}

/// What a row holds.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fields<'a> {
    values: [Option<Value<'a>>; Slot::COUNT],
    pub(crate) meta: Meta,
}

impl<'a> Fields<'a> {
    pub(crate) fn set(&mut self, slot: Slot, value: Value<'a>) {
        self.values[slot as usize] = Some(value);
    }

    pub(crate) fn take(&mut self, slot: Slot) -> Option<Value<'a>> {
        self.values[slot as usize].take()
    }

    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.values[slot as usize].is_some()
    }

    pub(crate) fn take_name(&mut self, slot: Slot) -> Option<String> {
        self.take(slot).and_then(Value::into_name)
    }

    /// The value as a text, without taking it.
    pub(crate) fn text(&self, slot: Slot) -> Option<&str> {
        match &self.values[slot as usize] {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// What the row's `meta` says.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made a row and moved once; a box would be an allocation a row"
)]
pub(crate) enum Meta {
    /// There is none, or null.
    #[default]
    Missing,
    Found(MetaFields),
    /// It is neither an object nor a text that spells one.
    Unreadable(String),
}

impl Meta {
    /// Parses a `meta` that is a text: JSON or, as Python prints a dictionary, nearly JSON.
    pub(crate) fn parse(text: &str) -> Self {
        if let Ok(found) = serde_json::from_str(text) {
            return Self::Found(found);
        }
        match python::parse_fields(text) {
            Ok(found) => Self::Found(found),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }

    pub(crate) fn of_type(found: &str) -> Self {
        Self::Unreadable(format!("it is {found}"))
    }

    pub(crate) fn take(&mut self, slot: MetaSlot) -> Option<String> {
        match self {
            Self::Found(fields) => fields.values[slot as usize].take(),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }

    pub(crate) fn get(&self, slot: MetaSlot) -> Option<&str> {
        match self {
            Self::Found(fields) => fields.values[slot as usize].as_deref(),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }
}

/// What a key of a `meta` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaSlot {
    SetName,
    Source,
    Title,
    ShortTitle,
    Url,
    Language,
    License,
    Repository,
    File,
    Id,
}

impl MetaSlot {
    const COUNT: usize = Self::Id as usize + 1;

    pub(crate) fn of(key: &str) -> Option<Self> {
        Some(match key {
            "pile_set_name" => Self::SetName,
            "source" => Self::Source,
            "title" => Self::Title,
            "short_book_title" => Self::ShortTitle,
            "url" => Self::Url,
            "language" => Self::Language,
            "license" | "max_stars_repo_licenses" => Self::License,
            "repo_name" => Self::Repository,
            "path" => Self::File,
            "arxiv_id" | "id" => Self::Id,
            _ => return None,
        })
    }
}

/// What a `meta` holds: a few values, and the names of all its keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MetaFields {
    values: [Option<String>; MetaSlot::COUNT],
    /// Names of keys that hold something, parted by [`Self::SEPARATOR`].
    keys: String,
    num_keys: usize,
}

impl MetaFields {
    /// Longest list of keys that is kept; only their number counts beyond it.
    const MAX_KEYS_LEN: usize = 4096;
    const SEPARATOR: char = '\u{1f}';

    /// Notes that a key holds something.
    pub(crate) fn add_key(&mut self, key: &str) {
        self.num_keys += 1;
        if self.keys.len() + key.len() < Self::MAX_KEYS_LEN {
            self.keys.push_str(key);
            self.keys.push(Self::SEPARATOR);
        }
    }

    pub(crate) fn set(&mut self, slot: MetaSlot, value: Value<'_>) {
        self.values[slot as usize] = match slot {
            MetaSlot::License => value.into_license(),
            _ => value.into_name(),
        };
    }

    /// Whether this is the only key.
    pub(crate) fn has_only(&self, key: &str) -> bool {
        self.num_keys == 1 && self.has(key)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys().any(|known| known == key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.split_terminator(Self::SEPARATOR)
    }
}
