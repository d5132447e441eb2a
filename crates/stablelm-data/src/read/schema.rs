//! What each kind of source calls the parts of a document.

use std::path::Path;

use crate::document::{Document, RowError};
use crate::read::container::Containers;
use crate::read::fields::{Fields, Meta, MetaSlot, Slot, Value};
use crate::read::jsonl::MAX_LINE_LEN;
use crate::read::{code, redpajama};
use crate::recipe::{SourceKind, SourceRecipe};

/// Where the parts of a document lie in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schema {
    kind: SourceKind,
    text: String,
    /// Where the text is in files that have no `text`.
    second_text: Option<&'static str>,
    id: Option<String>,
    /// Whether a table without the id's column is refused.
    id_required: bool,
}

/// What the place of a file says of its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The folder it lies in.
    pub(crate) folder: Option<String>,
    /// The subset of RedPajama that its name, or that of a folder around it, speaks of.
    pub(crate) red_pajama_subset: Option<&'static str>,
}

impl Origin {
    pub(crate) fn of(path: &Path) -> Self {
        let folder = path.parent().and_then(Path::file_name);
        Self {
            folder: folder.map(|name| name.to_string_lossy().into_owned()),
            red_pajama_subset: redpajama::subset_of_path(path),
        }
    }
}

impl Schema {
    /// The schema of a source, with the names that its recipe gives.
    pub(crate) fn of(source: &SourceRecipe) -> Self {
        let mut schema = Self::of_kind(source.kind);
        if let Some(text) = &source.text {
            schema.text.clone_from(text);
        }
        if let Some(id) = &source.id {
            schema.id = Some(id.clone());
            schema.id_required = true;
        }
        schema
    }

    /// The schema of a kind, with the usual names.
    pub(crate) fn of_kind(kind: SourceKind) -> Self {
        let of = |text: &str, id: Option<&str>| Self {
            kind,
            text: text.to_owned(),
            second_text: None,
            id: id.map(str::to_owned),
            id_required: false,
        };
        match kind {
            SourceKind::Redpajama | SourceKind::Pile => of("text", None),
            SourceKind::Pes2o
            | SourceKind::Pilev2
            | SourceKind::Jsonl
            | SourceKind::Parquet
            | SourceKind::Arrow => of("text", Some("id")),
            SourceKind::FalconRefinedweb => Self {
                id_required: true,
                ..of("content", Some("url"))
            },
            SourceKind::Starcoderdata => Self {
                // Notebooks, issues and commits lie beside the languages, with other columns.
                second_text: Some("text"),
                ..of("content", Some("id"))
            },
        }
    }

    /// A schema of nothing but a text.
    pub(crate) fn of_text(kind: SourceKind, text: &str) -> Self {
        Self {
            kind,
            text: text.to_owned(),
            second_text: None,
            id: None,
            id_required: false,
        }
    }

    /// The columns or keys that are read, but for those that every source may have.
    pub(crate) fn columns(&self) -> Vec<String> {
        std::iter::once(&self.text)
            .chain(&self.id)
            .cloned()
            .collect()
    }

    /// The formats that files of this source may have.
    pub(crate) fn containers(&self) -> Containers {
        match self.kind {
            SourceKind::Jsonl => Containers::Lines,
            SourceKind::Parquet => Containers::Parquet,
            SourceKind::Arrow => Containers::Arrow,
            SourceKind::FalconRefinedweb
            | SourceKind::Redpajama
            | SourceKind::Pile
            | SourceKind::Pes2o
            | SourceKind::Pilev2
            | SourceKind::Starcoderdata => Containers::Any,
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(crate) fn id_required(&self) -> bool {
        self.id_required
    }

    /// What a key or column is for; `None` for one that is of no interest.
    pub(crate) fn slot(&self, key: &str) -> Option<Slot> {
        if key == self.text {
            Some(Slot::Text)
        } else if self.second_text == Some(key) {
            Some(Slot::SecondText)
        } else if self.id.as_deref() == Some(key) {
            Some(Slot::Id)
        } else {
            Slot::of(key)
        }
    }

    /// Makes a document of what a row holds.
    pub(crate) fn document(
        &self,
        mut fields: Fields<'_>,
        row: u64,
        origin: &Origin,
    ) -> Result<Document, RowError> {
        let text = self.take_text(&mut fields)?;
        let mut document = Document {
            row,
            text,
            ..Document::default()
        };
        match self.kind {
            SourceKind::Redpajama => redpajama::classify(&mut document, &mut fields, origin)?,
            SourceKind::Pile => {
                document.subset = Some(pile_set_name(&mut fields)?);
            }
            SourceKind::Pilev2 => {
                if let Meta::Unreadable(message) = &fields.meta {
                    return Err(bad_meta(message));
                }
                document.subset = fields
                    .meta
                    .take(MetaSlot::Source)
                    .or_else(|| origin.folder.clone());
            }
            SourceKind::Starcoderdata => code::classify(&mut document, &mut fields, origin),
            SourceKind::Pes2o => document.subset = fields.take_name(Slot::Source),
            SourceKind::FalconRefinedweb => {}
            // A copy of a known corpus is still that corpus.
            SourceKind::Jsonl | SourceKind::Parquet | SourceKind::Arrow => {
                let set_name = fields.meta.take(MetaSlot::SetName);
                document.subset = set_name.or_else(|| fields.take_name(Slot::SetName));
                if document.subset.is_none() && fields.has(Slot::Label) {
                    redpajama::classify(&mut document, &mut fields, origin)?;
                }
            }
        }
        self.fill(&mut document, fields);
        Ok(document)
    }

    fn take_text(&self, fields: &mut Fields<'_>) -> Result<String, RowError> {
        let key = || self.text.clone();
        let value = match fields.take(Slot::Text) {
            Some(value) => Some(value),
            None => fields.take(Slot::SecondText),
        };
        match value {
            None => Err(RowError::MissingText { key: key() }),
            Some(Value::Text(text)) if text.len() as u64 > MAX_LINE_LEN => Err(RowError::TooLong {
                bytes: text.len() as u64,
                limit: MAX_LINE_LEN,
            }),
            Some(Value::Text(text)) => Ok(text.into_owned()),
            Some(other) => Err(RowError::WrongType {
                key: key(),
                found: other.type_name(),
            }),
        }
    }

    /// Fills what no rule of the source filled before.
    fn fill(&self, document: &mut Document, mut fields: Fields<'_>) {
        let id = fields.take_name(Slot::Id);
        let mut meta = std::mem::take(&mut fields.meta);
        if self.id.as_deref() == Some("url") {
            document.url.clone_from(&id);
        }
        document.id = document.id.take().or(id);
        let mut or_meta = |found: Option<String>, slot: Slot, meta_slot: MetaSlot| {
            found
                .or_else(|| match (slot, fields.take(slot)?) {
                    (Slot::License, value) => value.into_license(),
                    (_, value) => value.into_name(),
                })
                .or_else(|| meta.take(meta_slot))
        };
        document.url = or_meta(document.url.take(), Slot::Url, MetaSlot::Url);
        document.title = or_meta(document.title.take(), Slot::Title, MetaSlot::Title);
        document.language = or_meta(document.language.take(), Slot::Language, MetaSlot::Language);
        document.license = or_meta(document.license.take(), Slot::License, MetaSlot::License);
        document.file = or_meta(document.file.take(), Slot::File, MetaSlot::File);
        if document.title.is_none() {
            document.title = meta.take(MetaSlot::ShortTitle);
        }
    }
}

/// The subset of a row of The Pile. One that names none may be of Books3 as well.
fn pile_set_name(fields: &mut Fields<'_>) -> Result<String, RowError> {
    let found = fields.meta.take(MetaSlot::SetName);
    match found.or_else(|| fields.take_name(Slot::SetName)) {
        Some(name) => Ok(name),
        None => Err(match &fields.meta {
            Meta::Unreadable(message) => bad_meta(message),
            Meta::Missing => bad_meta("there is none"),
            Meta::Found(_) => bad_meta("it has no `pile_set_name`"),
        }),
    }
}

pub(crate) fn bad_meta(message: &str) -> RowError {
    RowError::BadMeta {
        message: message.to_owned(),
    }
}
