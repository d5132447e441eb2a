//! The rule `title`: titles of books, compared without case, accents, punctuation and release marks.
//!
//! A list has one title a line, with an author after a tab where one is known; blank lines and lines
//! that begin with `#` are skipped. Books3 calls its rows `<number> <series> - <title> (<mark>) -
//! <author> (<mark>)`, and so may a list.

use std::collections::BTreeSet;

use crate::books3::fold;

/// What parts a title from a series or an author.
const DASHES: [&str; 3] = [" - ", " – ", " — "];

/// A bare title is no proof beside a known author, unless as much text as a book has comes with it.
const BOOK_LEN: usize = 100_000;

/// Words in brackets that only releases of books carry.
const RELEASE_MARKS: [&str; 9] = [
    "retail", "epub", "mobi", "azw3", "pdf", "v5 0", "v4 0", "v3 0", "html",
];

/// A set of titles.
#[derive(Clone, Debug, Default)]
pub(super) struct Titles {
    /// Title and author, both folded; the author's words are sorted, and none is an empty string.
    known: BTreeSet<(String, String)>,
}

impl Titles {
    /// Adds the titles of a list; returns how many it has.
    pub(super) fn add_list(&mut self, list: &str) -> usize {
        let mut count = 0;
        for line in list.lines() {
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('\t') {
                Some((title, author)) => self.add(title, author),
                // A line as Books3 has it is known as a whole and by its parts.
                None => self.add(line, ""),
            }
            count += 1;
        }
        count
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Every title, for a hash of the list.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.known
            .iter()
            .map(|(title, author)| (title.as_str(), author.as_str()))
    }

    /// Whether a document with this title and a text of so many bytes is one of the works.
    pub(super) fn has(&self, title: &str, text_len: usize) -> bool {
        let parts = Parts::of(title);
        let bookish = parts.is_release || text_len >= BOOK_LEN;
        let whole = parts.words_of(0..parts.segments.len());
        if self.is_known(&whole, None, bookish) {
            return true;
        }
        let last = parts.segments.len() - 1;
        if last == 0 {
            return false;
        }
        // `series - title - author`, then `author - series - title`.
        let ways = [(0..last, last), (1..last + 1, 0)];
        ways.into_iter().any(|(titles, author)| {
            let author = sorted(&parts.segments[author]);
            let end = titles.end;
            // A series before the title may be missing in the list.
            titles.into_iter().any(|first| {
                let title = parts.words_of(first..end);
                self.is_known(&title, Some(&author), bookish)
            })
        })
    }

    fn add(&mut self, title: &str, author: &str) {
        let parts = Parts::of(title);
        let title = parts.words_of(0..parts.segments.len());
        if !title.is_empty() {
            self.known.insert((title, sorted(&fold_words(author))));
        }
    }

    /// `author` is `None` where the document names none.
    fn is_known(&self, title: &str, author: Option<&str>, bookish: bool) -> bool {
        if title.is_empty() {
            return false;
        }
        let mut found = self.known.range((title.to_owned(), String::new())..);
        let mut same = std::iter::from_fn(|| found.next().filter(|(known, _)| known == title));
        same.any(|(_, known)| match author {
            _ if known.is_empty() => true,
            Some(author) => known == author,
            None => bookish,
        })
    }
}

/// A title taken apart.
struct Parts {
    /// What dashes part, folded; never none.
    segments: Vec<String>,
    /// Whether a bracket says that it is a released file.
    is_release: bool,
}

impl Parts {
    fn of(title: &str) -> Self {
        let (plain, is_release) = without_brackets(title);
        let mut pieces = vec![plain.as_str()];
        for dash in DASHES {
            pieces = pieces.iter().flat_map(|piece| piece.split(dash)).collect();
        }
        let mut segments: Vec<String> = pieces.into_iter().map(fold_words).collect();
        if let Some(first) = segments.first_mut() {
            *first = without_number(first).to_owned();
        }
        segments.retain(|segment| !segment.is_empty());
        if segments.is_empty() {
            segments.push(String::new());
        }
        Self {
            segments,
            is_release,
        }
    }

    fn words_of(&self, range: std::ops::Range<usize>) -> String {
        self.segments[range].join(" ")
    }
}

/// Takes out `(…)` and `[…]`, and the end of a file name; says whether one was a release mark.
fn without_brackets(title: &str) -> (String, bool) {
    let mut plain = String::with_capacity(title.len());
    let mut inside = String::new();
    let (mut depth, mut is_release) = (0_u32, false);
    for c in title.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' if depth > 0 => {
                depth -= 1;
                let mark = fold_words(&inside);
                is_release |= RELEASE_MARKS.contains(&mark.as_str());
                inside.clear();
            }
            _ if depth > 0 => inside.push(c),
            _ => plain.push(c),
        }
    }
    if depth > 0 {
        // A bracket that is never closed belongs to the title.
        plain.push(' ');
        plain.push_str(&inside);
    }
    let trimmed = plain.trim_end();
    for end in [".epub.txt", ".epub", ".txt", ".mobi", ".pdf", ".azw3"] {
        if let Some(bare) = trimmed.strip_suffix(end) {
            return (bare.to_owned(), true);
        }
    }
    (plain, is_release)
}

/// Lower-case words of letters and digits with a space between; other scripts stay as they are.
fn fold_words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        // An apostrophe parts nothing: `Don't` is `dont`.
        if fold::is_invisible(c) || matches!(c, '\'' | '’' | '‘' | 'ʼ' | '`') {
            continue;
        }
        let shown = fold::to_ascii(c);
        if shown.is_none() && !c.is_alphanumeric() {
            gap = true;
            continue;
        }
        if gap && !words.is_empty() {
            words.push(' ');
        }
        gap = false;
        match shown {
            Some(shown) => words.push_str(shown),
            None => words.extend(c.to_lowercase()),
        }
    }
    words
}

/// Drops the number of a series from the front, if something is left: `07 lego ninjago`.
fn without_number(title: &str) -> &str {
    match title.split_once(' ') {
        Some((number, rest)) if number.len() <= 3 && number.bytes().all(|b| b.is_ascii_digit()) => {
            rest
        }
        _ => title,
    }
}

/// The words of a name in one order, so that `Howard, Kate` is `Kate Howard`.
fn sorted(name: &str) -> String {
    let mut words: Vec<&str> = name.split(' ').collect();
    words.sort_unstable();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_known_however_it_is_written() {
        let mut titles = Titles::default();
        titles.add_list(
            "# a comment\n\nThe Search for Zane\tHoward, Kate\nThe Salt Café: A Novel\n\
             03 Harbour Tales - The Lamp - Ann Miller (retail)\nEmma\tJane Austen\n",
        );
        assert_eq!(titles.len(), 4);
        let check = |title: &str, expected| assert_eq!(titles.has(title, 500), expected, "{title}");
        check(
            "07 LEGO Ninjago - The Search For Zane (Scholastic) - Kate Howard (retail)",
            true,
        );
        check("The Search For Zane - Kate Howard", true);
        check("Kate Howard - The Search for Zane", true);
        check("Howard, Kate — The Search for Zane [epub]", true);
        check("The Search for Zane (retail)", true);
        check("The Search for Zane - Kate Howard.epub", true);
        check("the salt cafe, a novel", true);
        check("THE SALT CAFE - A NOVEL", true);
        check("Harbour Tales - The Lamp - Ann Miller", true);
        // A page on a book is not the book.
        check("The Search for Zane", false);
        check("The Search for Zane - Someone Else", false);
        check("The Search for Zane: a review - Kate Howard", false);
        check("Emma", false);
        check("", false);
        check("07", false);
        check("(retail)", false);
        assert!(titles.has("Emma", 900_000));
    }

    #[test]
    fn a_title_of_nothing_but_numbers_keeps_them() {
        let mut titles = Titles::default();
        titles.add_list("1984\tGeorge Orwell\n");
        assert!(titles.has("1984 - George Orwell (retail)", 0));
        assert!(!titles.has("George Orwell", 1_000_000));
    }
}
