//! The rule `subset_name`: names of the data set, however they are written.
//!
//! Two questions are asked. A *label* (the subset of a document, a path, a word of a recipe) may hold
//! nothing that reads as Books3: it is better to refuse a file once too often. An *address* (the id
//! or the URL of a document, its path in a repository) is only the data set's when one of its parts
//! is nothing but its name: a page that writes about Books3 has the name in its URL too.

use crate::books3::fold;

/// Words that end in "books" by themselves: `notebooks3` is the third file of notebooks.
const COMPOUNDS: [&str; 34] = [
    "note", "text", "cook", "work", "audio", "hand", "case", "log", "run", "guide", "chap",
    "story", "phrase", "play", "sketch", "year", "scrap", "check", "cheque", "mac", "chrome",
    "pocket", "bank", "pass", "song", "hymn", "prayer", "picture", "comic", "school", "code",
    "day", "rule", "face",
];

/// Words that may stand before the name of the data set in an address.
const BEFORE: [&str; 9] = [
    "the",
    "pile",
    "thepile",
    "eleutherai",
    "eleuther",
    "ai",
    "hf",
    "datasets",
    "dataset",
];

/// Words that may stand after it.
const AFTER: [&str; 19] = [
    "train",
    "valid",
    "validation",
    "val",
    "test",
    "data",
    "dataset",
    "corpus",
    "raw",
    "full",
    "text",
    "txt",
    "shard",
    "part",
    "row",
    "doc",
    "document",
    "book",
    "of",
];

/// Ends of file names that hold data rather than a page.
const DATA_FILES: [&str; 18] = [
    ".jsonl", ".json", ".parquet", ".arrow", ".zst", ".gz", ".xz", ".bz2", ".tar", ".tgz", ".zip",
    ".txt", ".epub", ".csv", ".tsv", ".npy", ".bin", ".7z",
];

/// One letter or digit of a name.
#[derive(Clone, Copy, Debug)]
struct Letter {
    /// Lower-case ASCII; [`FOREIGN`] for a letter that looks like none.
    folded: u8,
    is_digit: bool,
    /// Whether something else than a letter or digit stands before it, or nothing.
    starts_word: bool,
}

const FOREIGN: u8 = b'*';

/// Whether a label speaks of Books3, in any letter case, script and with any separators.
///
/// The parts of a path are judged one by one, so that the file `3.jsonl` of a folder `books` may stay.
pub(crate) fn says_books3(name: &str) -> bool {
    let decoded = decode_percent(name);
    let name = decoded.as_deref().unwrap_or(name);
    name.split(['/', '\\']).any(part_says_books3)
}

/// Whether an address lies inside the data set.
pub(super) fn lies_in_books3(address: &str) -> bool {
    let decoded = decode_percent(address);
    let address = decoded.as_deref().unwrap_or(address);
    let path = address.split(['?', '#']).next().unwrap_or_default();
    let (scheme, path) = match path.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, path),
    };
    let web = scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    if web {
        let Some((_host, path)) = path.split_once('/') else {
            return false;
        };
        return lies_in_data_file(path);
    }
    let parts = path.split(['/', '\\', ':', '|', '@']);
    parts.take(8).any(is_data_set)
}

/// The same of a path in a repository, where only a file of data can be a part of the data set.
pub(super) fn lies_in_data_file(path: &str) -> bool {
    let file = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let lower = file.to_ascii_lowercase();
    DATA_FILES.iter().any(|end| lower.ends_with(end)) && path.split(['/', '\\']).any(is_data_set)
}

fn part_says_books3(part: &str) -> bool {
    let letters = fold_name(part);
    let is_pile = find(&letters, b"pile").next().is_some();
    let variants: [&[u8]; 3] = [b"book3", b"booksiii", b"booksthree"];
    find(&letters, b"books3").any(|at| is_the_name(&letters, at))
        // Other spellings count only beside the name of the collection that it belongs to.
        || (is_pile && variants.iter().any(|name| find(&letters, name).next().is_some()))
        || says_bibliotik(&letters)
}

/// Where `name` stands.
fn find<'l>(letters: &'l [Letter], name: &'l [u8]) -> impl Iterator<Item = usize> + 'l {
    let windows = letters.windows(name.len()).enumerate();
    windows.filter_map(move |(at, window)| {
        let same = window
            .iter()
            .zip(name)
            .all(|(letter, &expected)| letter.folded == expected);
        same.then_some(at)
    })
}

/// Whether the `books3` at `at` is a name and no part of another word or number.
fn is_the_name(letters: &[Letter], at: usize) -> bool {
    let after = letters.get(at + 6);
    if after.is_some_and(|letter| letter.is_digit && !letter.starts_word) {
        return false;
    }
    if letters[at].starts_word {
        return true;
    }
    // The letters right before it, back to the start of the word.
    let word = letters[..at].iter().rposition(|letter| letter.starts_word);
    let before: Vec<u8> = letters[word.unwrap_or(0)..at]
        .iter()
        .map(|letter| letter.folded)
        .collect();
    before != b"e"
        && !COMPOUNDS
            .iter()
            .any(|compound| before.ends_with(compound.as_bytes()))
}

/// Looks for the library that the books come from; `l`, `1` and `i` are taken for one another.
fn says_bibliotik(letters: &[Letter]) -> bool {
    const NAME: &[u8] = b"bibliotik";
    let thin = |letter: u8| {
        if matches!(letter, b'l' | b'1') {
            b'i'
        } else {
            letter
        }
    };
    letters.windows(NAME.len()).any(|window| {
        let mut pairs = window.iter().zip(NAME);
        pairs.all(|(letter, &expected)| thin(letter.folded) == thin(expected))
    })
}

/// Whether a part of an address is the name of the data set and nothing else.
fn is_data_set(part: &str) -> bool {
    let letters = fold_name(part);
    let words = letters.chunk_by(|_, next| !next.starts_word);
    let words: Vec<Vec<u8>> = words
        .map(|word| word.iter().map(|l| l.folded).collect())
        .collect();
    let mut rest = words.as_slice();
    while let [first, more @ ..] = rest {
        if !BEFORE
            .iter()
            .any(|word| word.as_bytes() == first.as_slice())
        {
            break;
        }
        rest = more;
    }
    let after = match rest {
        [first, rest @ ..] if is_name_word(first) => rest,
        [first, second, rest @ ..] if first == b"books" && second == b"3" => rest,
        _ => return false,
    };
    after.iter().all(|word| {
        word.iter().all(u8::is_ascii_digit)
            // A zero reads as an `o`.
            || word.iter().all(|&letter| letter == b'o' || letter.is_ascii_digit())
            || AFTER.iter().any(|known| known.as_bytes() == word.as_slice())
            || DATA_FILES.iter().any(|end| &end.as_bytes()[1..] == word.as_slice())
    })
}

fn is_name_word(word: &[u8]) -> bool {
    matches!(
        word,
        b"books3" | b"thepilebooks3" | b"pilebooks3" | b"bibliotik"
    )
}

fn fold_name(name: &str) -> Vec<Letter> {
    let mut letters = Vec::with_capacity(name.len());
    let mut starts_word = true;
    for c in name.chars() {
        if fold::is_invisible(c) {
            continue;
        }
        match fold::to_ascii(c) {
            Some(shown) => {
                for byte in shown.bytes() {
                    letters.push(Letter {
                        // A zero in a word is an `o`: `B00ks3`.
                        folded: if byte == b'0' { b'o' } else { byte },
                        is_digit: byte.is_ascii_digit(),
                        starts_word,
                    });
                    starts_word = false;
                }
            }
            None if c.is_alphanumeric() => {
                letters.push(Letter {
                    folded: FOREIGN,
                    is_digit: false,
                    starts_word,
                });
                starts_word = false;
            }
            None => starts_word = true,
        }
    }
    letters
}

/// Resolves `%xx`; `None` where there is none or the bytes are no text.
fn decode_percent(name: &str) -> Option<String> {
    name.contains('%').then_some(())?;
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let [first, more @ ..] = rest {
        let code = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(question: fn(&str) -> bool, expected: bool, names: &[&str]) {
        for name in names {
            assert_eq!(question(name), expected, "{name}");
        }
    }

    #[test]
    fn a_label_says_books3_in_any_spelling() {
        let names = [
            "Books3",
            "books3",
            "BOOKS3",
            "Books-3",
            "books_3",
            "Books 3",
            "BooKs.3",
            "B o o k s 3",
            "B00ks3",
            "Bibliotik",
            "BIBLIOTIK",
            "BibIiotik",
            "bib1iotik",
            "the_pile_books3",
            "the-pile-Books3",
            "thepilebooks3",
            "mybooks3",
            "the_pile_book_3",
            "pile-books-three",
            "The Pile: Books III",
            "Books3 (Bibliotik)",
            "Ｂｏｏｋｓ３",
            "Вооkѕ3",
            "Books³",
            "Books\u{200b}3",
            "bo\u{ad}oks3",
            "𝐁𝐨𝐨𝐤𝐬𝟑",
            "ВОOKS3",
            "Bóòks3",
            "books%33",
            "data/books3/00.jsonl.zst",
            "data/BOOKS 3/*.parquet",
            "books3_00.jsonl",
            "books3v2",
        ];
        check(says_books3, true, &names);
    }

    #[test]
    fn a_label_of_something_else_stays() {
        check(
            says_books3,
            false,
            &[
                "BookCorpus2",
                "Gutenberg (PG-19)",
                "books",
                "Books1",
                "3",
                "",
                "Pile-CC",
                "gutenberg/books/3.jsonl",
                "books-00003.jsonl",
                "books30.jsonl",
                "notebooks3.parquet",
                "data/textbooks_3",
                "ebooks3",
                "bibliothek",
                "Bibliotek",
                "book3",
                "Histories Books III",
                "ThePile/Book3",
                "книги3",
            ],
        );
    }

    #[test]
    fn an_address_inside_the_data_set_is_seen() {
        check(
            lies_in_books3,
            true,
            &[
                "books3/17",
                "books3:17",
                "Books3_000017",
                "the_pile_books3-train-00017",
                "hf://datasets/the_pile_books3/train.parquet",
                "s3://pile/Books3/00.jsonl.zst",
                "https://huggingface.co/datasets/the_pile_books3/resolve/main/books3.tar.gz",
                "https://example.org/pile/books3/a%20book.epub.txt",
                "bibliotik/0001.txt",
            ],
        );
    }

    #[test]
    fn an_address_that_only_talks_of_it_stays() {
        check(
            lies_in_books3,
            false,
            &[
                "https://example.org/2023/08/books3-ai-meta-llama-pirated-books/675063/",
                "https://en.wikipedia.org/wiki/Books3",
                "https://books3.example.org/",
                "https://example.org/?q=books3.txt",
                "https://huggingface.co/datasets/the_pile_books3",
                "how-i-found-books3",
                "what is books3",
                "reader3",
                "https://example.org/why-books3-matters.txt",
                "",
            ],
        );
        check(
            lies_in_data_file,
            false,
            &["src/books3.py", "docs/books3.md", "books/3.json"],
        );
        check(
            lies_in_data_file,
            true,
            &["data/books3.jsonl", "Books3/alice.txt"],
        );
    }
}
