//! Repeated n-grams of words, counted exactly and without a string for each.

use std::ops::Range;

use crate::text::count_chars;
use crate::text::distinct::{Numbering, hash_bytes, mix, permute};

/// Counts the most frequent n-grams, for one n after another.
///
/// An n-gram can be there twice only where the (n-1)-grams it starts and ends with are. So a step
/// from n-1 to n looks at few places, and knows an n-gram by the number of its start and its last
/// word. No word holds a space, so different words are different when joined by spaces.
pub(super) struct TopNgrams<'t> {
    text: &'t str,
    words: &'t [Range<u32>],
    /// The number of the word at each place.
    word_numbers: Vec<u32>,
    /// Of the n-gram at each place, or [`ONCE`].
    numbers: Vec<u32>,
    n: usize,
    /// The place and count of the most frequent one that is there at least twice.
    top: Option<(usize, u64)>,
    /// No n-gram that is there at least twice has more bytes in all its occurrences, with a space
    /// after each.
    most_bytes: u64,
}

/// The number of an n-gram that has no second occurrence.
const ONCE: u32 = u32::MAX;

impl<'t> TopNgrams<'t> {
    pub(super) fn new(text: &'t str, words: &'t [Range<u32>]) -> Self {
        let mut counts = Counts::default();
        let word_numbers = number_words(text, words, &mut counts);
        let mut numbers = word_numbers.clone();
        counts.forget_single(&mut numbers);
        let mut ngrams = Self {
            text,
            words,
            word_numbers,
            numbers,
            n: 1,
            top: None,
            most_bytes: 0,
        };
        ngrams.find_top(&counts);
        ngrams
    }

    /// Whether [`TopNgrams::chars`] is surely a number that `is_fine`, if all smaller ones are. Asks
    /// for n in ascending order.
    ///
    /// The words of an n-gram are those of some shorter ones, each there at least as often. So what
    /// is known of those often is enough, and no longer ones are counted.
    pub(super) fn is_surely(&mut self, n: usize, is_fine: impl Fn(u64) -> bool) -> bool {
        while self.n < n {
            let repeated = n.div_ceil(self.n) as u64 * self.most_bytes;
            let first = self.words.get(..n).map_or(0, joined_bytes);
            if is_fine(repeated.max(first)) {
                return true;
            }
            self.lengthen();
        }
        false
    }

    /// The characters in all occurrences of the most frequent n-gram, the first one of equals;
    /// nothing where there are fewer than n words. Asks for n in ascending order.
    pub(super) fn chars(&mut self, n: usize) -> Option<u64> {
        debug_assert!(n >= self.n, "n-grams are counted in ascending order");
        while self.n < n {
            self.lengthen();
        }
        // Where all are there once, the first is the most frequent.
        let (place, count) = self.top.unwrap_or((0, 1));
        let words = self.words.get(place..place + n)?;
        let chars = words.iter().map(|word| count_chars(slice(self.text, word)));
        Some((chars.sum::<u64>() + n as u64 - 1) * count)
    }

    fn lengthen(&mut self) {
        let places = self.numbers.len().saturating_sub(1);
        let mut numbering = Numbering::with_room(places / 4);
        let mut counts = Counts::default();
        for place in 0..places {
            let start = self.numbers[place];
            self.numbers[place] = if start == ONCE || self.numbers[place + 1] == ONCE {
                ONCE
            } else {
                let last = self.word_numbers[place + self.n];
                let key = u64::from(start) << 32 | u64::from(last);
                // Different keys have different hashes here.
                counts.add(numbering.number(permute(key), |_| true), place)
            };
        }
        self.numbers.truncate(places);
        self.n += 1;
        counts.forget_single(&mut self.numbers);
        self.find_top(&counts);
    }

    fn find_top(&mut self, counts: &Counts) {
        (self.top, self.most_bytes) = (None, 0);
        for &(place, count) in counts.0.iter().filter(|&&(_, count)| count > 1) {
            let (place, count) = (place as usize, u64::from(count));
            if self.top.is_none_or(|(_, most)| count > most) {
                self.top = Some((place, count));
            }
            let bytes = joined_bytes(&self.words[place..place + self.n]) + 1;
            self.most_bytes = self.most_bytes.max(bytes * count);
        }
    }
}

/// The first place and the count of each n-gram, by its number.
#[derive(Default)]
struct Counts(Vec<(u32, u32)>);

impl Counts {
    /// Counts the n-gram of this number, which is new where there are no more.
    fn add(&mut self, number: usize, place: usize) -> u32 {
        let small = |number: usize| u32::try_from(number).expect("no text has 4 GiB");
        match self.0.get_mut(number) {
            Some((_, count)) => *count += 1,
            None => self.0.push((small(place), 1)),
        }
        small(number)
    }

    fn forget_single(&self, numbers: &mut [u32]) {
        for number in numbers {
            if *number != ONCE && self.0[*number as usize].1 == 1 {
                *number = ONCE;
            }
        }
    }
}

/// Gives each word a number and counts it.
fn number_words(text: &str, words: &[Range<u32>], counts: &mut Counts) -> Vec<u32> {
    let bytes = text.as_bytes();
    let mut numbering = Numbering::with_room(words.len() / 4);
    // The start and the first place of each different word.
    let mut different: Vec<(u128, &Range<u32>)> = Vec::new();
    let number = words.iter().enumerate().map(|(place, word)| {
        let start = first_bytes(bytes, word);
        let (low, high) = halves(start);
        let len = word.len();
        let hash = if len <= PREFIX {
            mix(len as u64, low, high)
        } else {
            hash_bytes(slice(text, word).as_bytes())
        };
        let number = numbering.number(hash, |number| {
            let (other_start, other) = different[number];
            // Most words are their first bytes, and need no look at the text.
            other_start == start
                && other.len() == len
                && (len <= PREFIX || slice(text, other) == slice(text, word))
        });
        if number == different.len() {
            different.push((start, word));
        }
        counts.add(number, place)
    });
    number.collect()
}

/// So many bytes are compared at once.
const PREFIX: usize = 16;

/// The first [`PREFIX`] bytes of a word as a number, with zeros behind a shorter one.
fn first_bytes(bytes: &[u8], word: &Range<u32>) -> u128 {
    let rest = &bytes[word.start as usize..];
    let start = if let Some(start) = rest.first_chunk::<PREFIX>() {
        u128::from_le_bytes(*start)
    } else {
        let mut start = [0; PREFIX];
        start[..rest.len()].copy_from_slice(rest);
        u128::from_le_bytes(start)
    };
    let unused = 8 * PREFIX.saturating_sub(word.len());
    start << unused >> unused
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a number are taken apart"
)]
fn halves(number: u128) -> (u64, u64) {
    (number as u64, (number >> 64) as u64)
}

/// Finds n-grams that were there before, as words joined without anything between them: "a bc" is
/// "ab c" here.
pub(super) struct NgramRepeats {
    /// The words, one after another.
    joined: Vec<u8>,
    /// Where each word starts in it, and the end.
    starts: Vec<u32>,
    /// The places of n-grams that may have an equal.
    candidates: Vec<u32>,
}

impl NgramRepeats {
    /// For n-grams of at least `smallest` words.
    pub(super) fn new(text: &str, words: &[Range<u32>], smallest: usize) -> Self {
        let bytes = text.as_bytes();
        let mut joined = vec![0; bytes.len() + PREFIX];
        let mut starts = Vec::with_capacity(words.len() + 1);
        let (mut end, mut place) = (0, 0_u32);
        starts.push(place);
        for word in words {
            let from = word.start as usize;
            let len = word.len();
            // A copy of fixed length is faster. What it takes too much is overwritten by the next.
            let copied = if len <= PREFIX && from + PREFIX <= bytes.len() {
                PREFIX
            } else {
                len
            };
            joined[end..end + copied].copy_from_slice(&bytes[from..from + copied]);
            end += len;
            place += word.end - word.start;
            starts.push(place);
        }
        joined.truncate(end);
        let candidates = candidates(&joined, &starts, smallest);
        Self {
            joined,
            starts,
            candidates,
        }
    }

    /// The characters of n-grams that an earlier one equals. What was counted is not looked at
    /// again: the search goes on after it.
    pub(super) fn chars(&self, n: usize) -> u64 {
        let mut numbering = Numbering::with_room(self.candidates.len());
        let mut different: Vec<&[u8]> = Vec::new();
        let (mut chars, mut next) = (0, 0);
        for &place in &self.candidates {
            let place = place as usize;
            let Some(&end) = self.starts.get(place + n) else {
                break;
            };
            if place < next {
                continue;
            }
            let ngram = &self.joined[self.starts[place] as usize..end as usize];
            let number = numbering.number(hash_bytes(ngram), |number| different[number] == ngram);
            if number == different.len() {
                different.push(ngram);
            } else {
                // Every character has one byte that continues none.
                let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
                chars += (ngram.len() - ngram.iter().filter(continues).count()) as u64;
                next = place + n;
            }
        }
        chars
    }
}

/// The places where an n-gram of at least `smallest` words may have an equal elsewhere.
///
/// Equal n-grams of [`PREFIX`] bytes or more start with the same bytes, so where no other place does
/// there is no equal, however many words follow. Where even `smallest` words are shorter than that,
/// nothing is known.
fn candidates(joined: &[u8], starts: &[u32], smallest: usize) -> Vec<u32> {
    // A bit for each hash of a prefix, so many bits that few hashes share one. Those that do cost
    // time, no exactness.
    let places = starts.len().saturating_sub(smallest);
    let bits = (16 * places).next_power_of_two().max(64);
    let mut seen = vec![0_u64; bits / 64];
    let mut again = vec![0_u64; bits / 64];
    let hash = |place: usize| {
        let prefix = joined[starts[place] as usize..].first_chunk::<PREFIX>()?;
        let (low, high) = halves(u128::from_le_bytes(*prefix));
        let bit = mix(0, low, high) & (bits as u64 - 1);
        let bit = usize::try_from(bit).expect("it is below the number of bits");
        Some((bit / 64, 1_u64 << (bit % 64)))
    };
    for place in 0..places {
        if let Some((at, bit)) = hash(place) {
            again[at] |= seen[at] & bit;
            seen[at] |= bit;
        }
    }
    let is_candidate = |&place: &u32| {
        let place = place as usize;
        let len = (starts[place + smallest] - starts[place]) as usize;
        len < PREFIX || hash(place).is_some_and(|(at, bit)| again[at] & bit != 0)
    };
    (0_u32..).take(places).filter(is_candidate).collect()
}

/// At least the bytes of words joined by spaces.
fn joined_bytes(words: &[Range<u32>]) -> u64 {
    let (Some(first), Some(last)) = (words.first(), words.last()) else {
        return 0;
    };
    // In the text there may be nothing between two words, or more than a space.
    u64::from(last.end - first.start) + words.len() as u64 - 1
}

fn slice<'t>(text: &'t str, word: &Range<u32>) -> &'t str {
    &text[word.start as usize..word.end as usize]
}
