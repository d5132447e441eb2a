//! A license text as the words that matter when two are compared.
//!
//! After the matching guidelines of the SPDX license list: case, white space, punctuation, kinds of
//! quotes and hyphens, list markers, copyright lines and varieties of spelling make no difference,
//! and neither do the names in the places that a license leaves for them.

use std::ops::Range;

/// The words of a text as hashes, and where each stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    /// One hash for each word.
    pub(crate) hashes: Vec<u64>,
    /// The first byte of each word and the one after its last.
    pub(crate) spans: Vec<(u32, u32)>,
}

/// Names that may stand between two phrases: not more words than this.
const MAX_NAME: usize = 14;

/// Phrases around a name that the license leaves open: before it, after it.
const OPEN_NAMES: [(&str, &str); 4] = [
    ("neither the name of", "nor the names of"),
    ("neither the names of", "nor the names of"),
    ("software is provided by", "as is and any express"),
    ("in no event shall", "be liable for any"),
];

/// Words that no name holds; with one of them a passage is a term and has to be compared.
const TERMS: [&str; 16] = [
    "commercial",
    "noncommercial",
    "only",
    "must",
    "may",
    "not",
    "license",
    "licensed",
    "use",
    "used",
    "prohibited",
    "permitted",
    "permission",
    "purposes",
    "unless",
    "except",
];

/// Spellings that the guidelines hold for the same word, each with the one we keep.
const SPELLINGS: [(&str, &str); 48] = [
    ("acknowledgement", "acknowledgment"),
    ("analogue", "analog"),
    ("analyse", "analyze"),
    ("artefact", "artifact"),
    ("authorisation", "authorization"),
    ("authorise", "authorize"),
    ("authorised", "authorized"),
    ("calibre", "caliber"),
    ("cancelled", "canceled"),
    ("catalogue", "catalog"),
    ("categorise", "categorize"),
    ("categorised", "categorized"),
    ("centre", "center"),
    ("defence", "defense"),
    ("emphasised", "emphasized"),
    ("favour", "favor"),
    ("favourite", "favorite"),
    ("fulfil", "fulfill"),
    ("fulfilment", "fulfillment"),
    ("https", "http"),
    ("initialise", "initialize"),
    ("judgement", "judgment"),
    ("labelling", "labeling"),
    ("labour", "labor"),
    ("licence", "license"),
    ("licenced", "licensed"),
    ("licences", "licenses"),
    ("maximise", "maximize"),
    ("modelled", "modeled"),
    ("modelling", "modeling"),
    ("offence", "offense"),
    ("optimise", "optimize"),
    ("organisation", "organization"),
    ("organisations", "organizations"),
    ("organise", "organize"),
    ("organised", "organized"),
    ("practise", "practice"),
    ("programme", "program"),
    ("realise", "realize"),
    ("recognise", "recognize"),
    ("recognised", "recognized"),
    ("signalling", "signaling"),
    ("sublicence", "sublicense"),
    ("unauthorised", "unauthorized"),
    ("utilisation", "utilization"),
    ("utilise", "utilize"),
    ("whilst", "while"),
    ("wilful", "willful"),
];

impl Words {
    /// Splits a text.
    pub(crate) fn of(text: &str) -> Words {
        let mut splitter = Splitter::default();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            splitter.line(text, start, line.trim_end_matches(['\n', '\r']));
            start += line.len();
        }
        splitter.flush();
        let mut words = splitter.words;
        words.drop_open_names(text);
        words
    }

    /// Returns how many words there are.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// True when some of the words can be a term of a license.
    pub(crate) fn has_terms(&self, text: &str, range: Range<usize>) -> bool {
        self.spans[range].iter().any(|(from, to)| {
            let word = text.get(*from as usize..*to as usize).unwrap_or_default();
            is_term(&word.to_lowercase())
        })
    }

    /// Takes out names where the license leaves a place for one.
    fn drop_open_names(&mut self, text: &str) {
        let mut keep = vec![true; self.len()];
        for (before, after) in OPEN_NAMES {
            let before = phrase(before);
            let after = phrase(after);
            for end in ends_of(&self.hashes, &before) {
                let window = &self.hashes[end..self.len().min(end + MAX_NAME + after.len())];
                let Some(len) = window
                    .windows(after.len())
                    .position(|part| part == &after[..])
                else {
                    continue;
                };
                if !self.has_terms(text, end..end + len) {
                    keep[end..end + len].fill(false);
                }
            }
        }
        let mut kept = keep.iter();
        self.hashes.retain(|_| *kept.next().unwrap_or(&true));
        let mut kept = keep.iter();
        self.spans.retain(|_| *kept.next().unwrap_or(&true));
    }
}

/// Returns the hashes of a phrase in lower case.
pub(crate) fn phrase(text: &str) -> Vec<u64> {
    text.split(' ').map(hash).collect()
}

/// Returns the positions right after each occurrence of a phrase.
pub(crate) fn ends_of<'a>(
    hashes: &'a [u64],
    phrase: &'a [u64],
) -> impl Iterator<Item = usize> + 'a {
    hashes
        .windows(phrase.len().max(1))
        .enumerate()
        .filter(move |(_, window)| *window == phrase)
        .map(move |(start, _)| start + phrase.len())
}

/// Returns a hash of a word: FNV-1a with a final mix, so that any of its bits can be used.
fn hash(word: &str) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in word.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(hash)
}

/// Returns one hash for a run of words.
pub(crate) fn hash_of_run(hashes: &[u64]) -> u64 {
    hashes
        .iter()
        .fold(0, |all: u64, word| mix(all.rotate_left(5) ^ word))
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value ^ (value >> 29)
}

#[derive(Default)]
struct Splitter {
    words: Words,
    /// The word being read, in lower case.
    word: String,
    start: usize,
    end: usize,
    /// The word ended in a hyphen at the end of a line, and may go on in the next.
    hyphened: bool,
    after_copyright: bool,
}

impl Splitter {
    fn line(&mut self, text: &str, start: usize, line: &str) {
        let content = start + skip_markers(line);
        let line_end = start + line.len();
        let Some(first) = text[content..line_end].chars().next() else {
            self.flush();
            return;
        };
        if !(self.hyphened && content == start + leading_space(line) && first.is_alphanumeric()) {
            self.flush();
        }
        self.hyphened = false;
        let content = content + skip_copyright(&text[content..line_end]);
        let mut characters = text[content..line_end].char_indices().peekable();
        while let Some((offset, character)) = characters.next() {
            let at = content + offset;
            if character.is_alphanumeric() {
                if self.word.is_empty() {
                    self.start = at;
                }
                self.word.extend(character.to_lowercase());
                self.end = at + character.len_utf8();
                continue;
            }
            let next = characters.peek().map(|(_, next)| *next);
            let joins = match character {
                '-' | '\u{2010}' | '\u{2011}' | '\u{ad}' => true,
                '\'' | '\u{2019}' | '\u{200b}' => next.is_some(),
                _ => false,
            };
            if joins && !self.word.is_empty() {
                match next {
                    Some(next) if next.is_alphanumeric() => continue,
                    None => {
                        self.hyphened = true;
                        return;
                    }
                    Some(_) => {}
                }
            }
            self.flush();
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.hyphened = false;
        if self.word.is_empty() {
            return;
        }
        let word = SPELLINGS
            .binary_search_by(|(other, _)| (*other).cmp(self.word.as_str()))
            .map_or(self.word.as_str(), |index| SPELLINGS[index].1);
        let word = if self.after_copyright && word == "owner" {
            "holder"
        } else {
            word
        };
        self.after_copyright = word == "copyright";
        self.words.hashes.push(hash(word));
        self.words
            .spans
            .push((position(self.start), position(self.end)));
        self.word.clear();
    }
}

/// Files of more than 4 GiB are no license texts; their positions would be wrong, nothing else.
fn position(byte: usize) -> u32 {
    u32::try_from(byte).unwrap_or(u32::MAX)
}

fn leading_space(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Returns how many bytes of a line are comment signs, bullets, and numbers of a list.
fn skip_markers(line: &str) -> usize {
    let mut at = 0;
    for _ in 0..4 {
        let rest = &line[at..];
        let body = rest.trim_start_matches(|c: char| !c.is_alphanumeric());
        at = line.len() - body.len();
        let len = body
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
            .unwrap_or(body.len());
        let token = &body[..len];
        let (token, after) = match token.strip_suffix('.') {
            Some(stem) => (stem, &body[len..]),
            None => match body[len..].strip_prefix([')', ']']) {
                Some(after) => (token, after),
                None => break,
            },
        };
        if !is_list_number(token) || after.starts_with(|c: char| !c.is_whitespace()) {
            break;
        }
        at = line.len() - after.len();
    }
    // What opens a parenthesis or a quote belongs to the text, but is no word either way.
    at
}

fn is_list_number(token: &str) -> bool {
    let is_digits = |part: &str| {
        !part.is_empty() && part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit())
    };
    let is_roman = |part: &str| {
        part.len() <= 5
            && part
                .bytes()
                .all(|b| matches!(b.to_ascii_lowercase(), b'i' | b'v' | b'x'))
    };
    !token.is_empty()
        && (token.split('.').all(is_digits)
            || (token.len() == 1 && token.as_bytes()[0].is_ascii_alphabetic())
            || is_roman(token))
}

/// Returns how many bytes of a line's content are a copyright notice: all of it, none of it, or all
/// but a sentence after it that says more than who and when.
fn skip_copyright(content: &str) -> usize {
    let lower = content.to_lowercase();
    let trimmed = lower.trim_end_matches(|c: char| !c.is_alphanumeric());
    if trimmed == "all rights reserved" {
        return content.len();
    }
    let rest = ["copyright", "\u{a9}", "c) ", "copr"]
        .iter()
        .find_map(|sign| lower.strip_prefix(sign));
    let Some(rest) = rest else {
        return 0;
    };
    let names_somebody = ["(c)", "\u{a9}", "<", "[", "{"]
        .iter()
        .any(|sign| rest.trim_start().starts_with(sign))
        || lower.starts_with('\u{a9}')
        || rest.trim_start().starts_with(|c: char| c.is_ascii_digit());
    if !names_somebody {
        return 0;
    }
    let has_terms = rest
        .split(|c: char| !c.is_alphanumeric() && c != '-')
        .any(is_term);
    if has_terms { 0 } else { content.len() }
}

/// True for a lower-case word that changes what is allowed.
fn is_term(word: &str) -> bool {
    TERMS.contains(&word.replace('-', "").as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(a: &str, b: &str) {
        assert_eq!(Words::of(a).hashes, Words::of(b).hashes, "{a:?} {b:?}");
    }

    #[track_caller]
    fn different(a: &str, b: &str) {
        assert_ne!(Words::of(a).hashes, Words::of(b).hashes, "{a:?} {b:?}");
    }

    #[test]
    fn spellings_are_in_order_for_the_search() {
        assert!(SPELLINGS.is_sorted());
    }

    #[test]
    fn form_makes_no_difference() {
        same("The \u{201c}Work\u{201d}", "the   \"work\"\n");
        same("licensor\u{2019}s", "Licensor's");
        same("royalty-free", "royalty\u{2011}\nfree");
        same("# 1. You may\n#  * share", "You may share");
        same("  (a) one\n  (iv) two\n  1.2.3. three", "one two three");
        same("a licence -- here", "A license \u{2014} here");
        same(
            "Copyright (c) 2020 X Inc. All rights reserved.\nHello",
            "hello",
        );
        same("http://a.b/", "https://a.b");
        same("copyright owner", "copyright holder");
    }

    #[test]
    fn words_make_one() {
        different("You may", "You may not");
        different("for any purpose", "for NonCommercial purposes");
        different("Copyright (c) 2020 X. Not for commercial use.", "");
        different("copyright license to reproduce", "");
        different("version 2.0", "version 3.0");
    }

    #[test]
    fn names_in_their_place_make_none_and_terms_do() {
        same(
            "in no event shall the REGENTS be liable for any",
            "in no event shall copyright holder or contributors be liable for any",
        );
        different(
            "in no event shall users who use it commercially, which is not permitted, be liable for any",
            "in no event shall copyright holder or contributors be liable for any",
        );
    }
}
