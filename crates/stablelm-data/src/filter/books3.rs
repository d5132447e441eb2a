//! Keeps Books3 out, whatever a recipe says.
//!
//! Looks at declared names only: the subset of a document, and what a recipe calls its sources and
//! files. Names are compared as a person would read them, so that `Books-3` and `BOOKS 3` are the
//! same, and a name that merely contains it counts too: it is better to refuse a file once too often.

use crate::document::Document;
use crate::filter::{Reason, Verdict};

/// The name of this stage in reports.
pub(crate) const NAME: &str = "books3";

/// The rule that looks at the declared subset.
pub(crate) const SUBSET_RULE: &str = "subset_name";

/// Books3, and the library whose books it holds, under which The Pile's own code files it.
const FOLDED_NAMES: [&str; 2] = ["books3", "bibliotik"];

/// Drops a document that its source files under Books3.
pub(crate) fn verdict(document: &Document) -> Verdict {
    match &document.subset {
        Some(subset) if says_books3(subset) => Verdict::Drop(Reason::named("excluded_subset")),
        // A source without subsets can't hold this one by declaration.
        Some(_) | None => Verdict::Keep,
    }
}

/// Whether a name speaks of Books3, in any letter case and with any separators.
pub(crate) fn says_books3(name: &str) -> bool {
    let folded: String = name
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    FOLDED_NAMES.iter().any(|books3| folded.contains(books3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(subset: Option<&str>, expected: bool) {
        let document = Document {
            subset: subset.map(str::to_owned),
            ..Document::default()
        };
        assert_eq!(verdict(&document) != Verdict::Keep, expected, "{subset:?}");
    }

    #[test]
    fn drops_the_subset_in_any_spelling() {
        for subset in [
            "Books3",
            "books3",
            "BOOKS3",
            "Books-3",
            "books_3",
            "Books 3",
            "BooKs.3",
            "Bibliotik",
            "BIBLIOTIK",
            "the_pile_books3",
            "the-pile-Books3",
            "Books3 (Bibliotik)",
        ] {
            check(Some(subset), true);
        }
    }

    #[test]
    fn keeps_everything_else() {
        for subset in [
            "BookCorpus2",
            "Gutenberg (PG-19)",
            "books",
            "Books1",
            "3",
            "",
            "Pile-CC",
        ] {
            check(Some(subset), false);
        }
        check(None, false);
    }
}
