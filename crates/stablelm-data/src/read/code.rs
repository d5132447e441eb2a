//! StarCoder data: a folder a language, and four folders of other things.
//!
//! A text may begin with what it is: `<reponame>name<filename>path<gh_stars>10-100` and a line end
//! (bigcode-dataset, `preprocessing/add_content_with_meta.py`). The marks stay in the text, for the
//! model is to learn them.

use crate::document::Document;
use crate::read::fields::{Fields, Slot};
use crate::read::schema::Origin;

/// Folders of starcoderdata that are no programming language.
const OTHER_FOLDERS: [&str; 4] = [
    "git-commits-cleaned",
    "github-issues-filtered-structured",
    "jupyter-scripts-dedup-filtered",
    "jupyter-structured-clean-dedup",
];

/// Longest value of a mark.
const MAX_VALUE_LEN: usize = 1024;

/// Fills what a row of starcoderdata says in its own way.
pub(crate) fn classify(document: &mut Document, fields: &mut Fields<'_>, origin: &Origin) {
    let (marks, _) = split_marks(&document.text);
    let mark = |value: Option<&str>| value.map(str::to_owned);
    let repository = fields.take_name(Slot::Repository);
    let repository = repository.or_else(|| mark(marks.repository));
    document.file = fields.take_name(Slot::File).or_else(|| mark(marks.file));
    document.id = fields.take_name(Slot::Id).or_else(|| repository.clone());
    // Whom to name: the data has no better place for it.
    document.title = repository;
    document.subset.clone_from(&origin.folder);
    let is_language = |folder: &&String| !OTHER_FOLDERS.contains(&folder.as_str());
    document.language = origin.folder.as_ref().filter(is_language).cloned();
}

/// What the marks at the start of a text say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks<'t> {
    pub(crate) repository: Option<&'t str>,
    pub(crate) file: Option<&'t str>,
    /// A number or a range of stars.
    pub(crate) stars: Option<&'t str>,
}

/// Splits a text into its marks and the rest.
pub(crate) fn split_marks(text: &str) -> (Marks<'_>, &str) {
    let mut marks = Marks::default();
    let mut rest = text;
    for (name, value) in [
        ("<reponame>", &mut marks.repository),
        ("<filename>", &mut marks.file),
        ("<gh_stars>", &mut marks.stars),
    ] {
        let Some(inner) = rest.strip_prefix(name) else {
            continue;
        };
        // The next mark or the line's end stops a value.
        let head = inner.as_bytes();
        let head = &head[..head.len().min(MAX_VALUE_LEN)];
        let Some(end) = memchr::memchr2(b'<', b'\n', head) else {
            return (Marks::default(), text);
        };
        *value = Some(&inner[..end]);
        rest = &inner[end..];
    }
    match rest.strip_prefix('\n') {
        Some(rest) if marks != Marks::default() => (marks, rest),
        _ => (Marks::default(), text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_split_off() {
        let marks = |repository, file, stars| Marks {
            repository,
            file,
            stars,
        };
        for (text, expected, rest) in [
            (
                "<reponame>a/b<filename>c/d.rs<gh_stars>10-100\nfn",
                marks(Some("a/b"), Some("c/d.rs"), Some("10-100")),
                "fn",
            ),
            ("<filename>d.rs\nfn", marks(None, Some("d.rs"), None), "fn"),
            ("<gh_stars>0\n", marks(None, None, Some("0")), ""),
            ("fn", Marks::default(), "fn"),
            ("\nfn", Marks::default(), "\nfn"),
            ("<reponame>a/b", Marks::default(), "<reponame>a/b"),
            ("<reponame>a<b>\n", Marks::default(), "<reponame>a<b>\n"),
        ] {
            assert_eq!(split_marks(text), (expected, rest), "{text:?}");
        }
    }
}
