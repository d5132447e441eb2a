//! The seven subsets of RedPajama 1T, told apart by what their rows hold.
//!
//! Hugging Face's copy names the subset in each row (`red_pajama_subset`, with `meta` as a text);
//! the raw files do not, and each has a `meta` of its own (RedPajama-Data, branch `rp_v1`,
//! `data_prep/`). Of the books only the keys of their `meta` say which are PG-19 and which Books3.

use std::path::Path;

use crate::document::{BookShape, Document, RowError};
use crate::read::fields::{Fields, Meta, MetaFields, MetaSlot, Slot};
use crate::read::schema::{Origin, bad_meta};

const SUBSETS: [&str; 7] = [
    "arxiv",
    "book",
    "c4",
    "common_crawl",
    "github",
    "stackexchange",
    "wikipedia",
];
const BOOK: &str = "book";
const COMMON_CRAWL: &str = "common_crawl";
const WIKIPEDIA: &str = "wikipedia";
/// Folders above a file that may name its subset.
const MAX_FOLDERS: usize = 3;

/// Finds the subset, and what only some subsets have.
pub(crate) fn classify(
    document: &mut Document,
    fields: &mut Fields<'_>,
    origin: &Origin,
) -> Result<(), RowError> {
    if let Meta::Unreadable(message) = &fields.meta {
        return Err(bad_meta(message));
    }
    let subset = subset(fields, origin)?;
    if subset.as_deref().is_some_and(is_book) {
        document.book = Some(book_shape(&fields.meta)?);
    }
    if subset.as_deref() == Some(COMMON_CRAWL) {
        let place = fields.take_name(Slot::Source);
        document.id = place.or_else(|| fields.meta.take(MetaSlot::Source));
    }
    if document.id.is_none() {
        document.id = fields.meta.take(MetaSlot::Id);
    }
    document.subset = subset;
    Ok(())
}

/// The subset that the path of a file speaks of: `arxiv_1.jsonl`, `common_crawl/2019-30/...`.
pub(crate) fn subset_of_path(path: &Path) -> Option<&'static str> {
    let names = path.ancestors().take(1 + MAX_FOLDERS);
    let mut names = names.filter_map(|path| path.file_name()?.to_str());
    names.find_map(|name| {
        let name = name.to_ascii_lowercase();
        let start: &str = name.split(['.', '-']).next().unwrap_or_default();
        if matches!(start, "wiki" | "books") {
            return Some(if start == "wiki" { WIKIPEDIA } else { BOOK });
        }
        let of = |subset: &&str| {
            let rest = start.strip_prefix(*subset);
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
        };
        SUBSETS.into_iter().find(of)
    })
}

fn is_book(subset: &str) -> bool {
    subset.eq_ignore_ascii_case(BOOK) || subset.eq_ignore_ascii_case("books")
}

fn subset(fields: &Fields<'_>, origin: &Origin) -> Result<Option<String>, RowError> {
    let known = |subset: &str| Ok(Some(subset.to_owned()));
    if let Some(label) = fields.text(Slot::Label).filter(|label| !label.is_empty()) {
        return known(label);
    }
    let source = fields.meta.get(MetaSlot::Source);
    match source.or_else(|| fields.text(Slot::Source)) {
        Some(source) if source.starts_with("cc/") => return known(COMMON_CRAWL),
        Some(source) if !source.is_empty() => return known(source),
        _ => {}
    }
    let hint = origin.red_pajama_subset;
    let Meta::Found(meta) = &fields.meta else {
        return match hint {
            _ if fields.has(Slot::Score) => known(COMMON_CRAWL),
            Some(hint) => known(hint),
            None => Err(bad_meta("there is none, and nothing else names the subset")),
        };
    };
    if hint == Some(BOOK) || meta.has("short_book_title") || meta.has_only("title") {
        return known(BOOK);
    }
    if meta.has("title") && meta.has("url") && (meta.has("language") || meta.has("timestamp")) {
        return known(WIKIPEDIA);
    }
    if meta.has("wiki_prob") || meta.has("pred_label") {
        return known(COMMON_CRAWL);
    }
    match hint {
        Some(hint) => known(hint),
        // It may well be a book that somebody changed.
        None if meta.has("title") => Err(unknown_book(meta)),
        None => Ok(None),
    }
}

fn book_shape(meta: &Meta) -> Result<BookShape, RowError> {
    match meta {
        Meta::Found(meta) if meta.has("short_book_title") => Ok(BookShape::Pg19),
        Meta::Found(meta) if meta.has_only("title") => Ok(BookShape::Books3),
        Meta::Found(meta) => Err(unknown_book(meta)),
        Meta::Missing | Meta::Unreadable(_) => Err(RowError::UnknownBookRow { keys: Vec::new() }),
    }
}

fn unknown_book(meta: &MetaFields) -> RowError {
    RowError::UnknownBookRow {
        keys: meta.keys().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_speak_of_subsets() {
        for (path, expected) in [
            ("data/arxiv_023827cd.jsonl", Some("arxiv")),
            ("c4-train.00000-of-01024.jsonl", Some("c4")),
            ("book.jsonl", Some("book")),
            ("Books.jsonl.zst", Some("book")),
            (
                "common_crawl/2019-30/en_head_0000.json.gz.dedup.jsonl.zst",
                Some("common_crawl"),
            ),
            ("redpajama/github/filtered_1.jsonl", Some("github")),
            ("wiki.jsonl", Some("wikipedia")),
            ("stackexchange.jsonl", Some("stackexchange")),
            ("bookcorpus/1.jsonl", None),
            ("notes.jsonl", None),
            ("c4x.jsonl", None),
        ] {
            assert_eq!(subset_of_path(Path::new(path)), expected, "{path}");
        }
    }
}
