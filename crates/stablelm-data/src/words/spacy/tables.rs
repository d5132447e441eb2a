//! The tables of spaCy's English tokenizer, read once from `data/spacy_en.txt`.

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::FixedState;

/// What a character is to the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Flags(u16);

impl Flags {
    /// Alone it is a prefix.
    pub(super) const PREFIX: Self = Self(1);
    /// Alone it is a suffix.
    pub(super) const SUFFIX: Self = Self(1 << 1);
    /// Alone it is an infix.
    pub(super) const INFIX: Self = Self(1 << 2);
    /// A full stop behind it is a suffix.
    pub(super) const BEFORE_LAST_DOT: Self = Self(1 << 3);
    /// A full stop behind two of these is a suffix.
    pub(super) const UPPER: Self = Self(1 << 4);
    /// A full stop is an infix between this and [`Self::AFTER_INNER_DOT`].
    pub(super) const BEFORE_INNER_DOT: Self = Self(1 << 5);
    /// See [`Self::BEFORE_INNER_DOT`].
    pub(super) const AFTER_INNER_DOT: Self = Self(1 << 6);
    /// A letter beside an infix.
    pub(super) const ALPHA: Self = Self(1 << 7);
    /// May end a unit or a currency.
    pub(super) const UNIT_END: Self = Self(1 << 8);
    /// May stand in a top-level domain.
    pub(super) const TLD: Self = Self(1 << 9);
    /// Python's `\w` without the underscore.
    pub(super) const WORD: Self = Self(1 << 10);
    /// Python's `\d`.
    pub(super) const DIGIT: Self = Self(1 << 11);
    /// General category P.
    pub(super) const PUNCTUATION: Self = Self(1 << 12);
    /// Alone it ends a sentence.
    pub(super) const SENTENCE_END: Self = Self(1 << 13);

    pub(super) const fn any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// How `data/spacy_en.txt` writes the flags.
pub(super) const LETTERS_OF_FLAGS: [(char, Flags); 14] = [
    ('p', Flags::PREFIX),
    ('s', Flags::SUFFIX),
    ('i', Flags::INFIX),
    ('f', Flags::BEFORE_LAST_DOT),
    ('u', Flags::UPPER),
    ('b', Flags::BEFORE_INNER_DOT),
    ('a', Flags::AFTER_INNER_DOT),
    ('l', Flags::ALPHA),
    ('e', Flags::UNIT_END),
    ('t', Flags::TLD),
    ('w', Flags::WORD),
    ('d', Flags::DIGIT),
    ('c', Flags::PUNCTUATION),
    ('z', Flags::SENTENCE_END),
];

/// The tables.
pub(super) static TABLES: LazyLock<Tables> =
    LazyLock::new(|| Tables::read(include_str!("../../../data/spacy_en.txt")));

/// Characters in a block of the flag table.
const BLOCK: usize = 256;

/// Characters, units and exceptions of the rules.
pub(super) struct Tables {
    /// The block of each 256 code points, and the blocks, each one once.
    block_of: Vec<u8>,
    blocks: Vec<[Flags; BLOCK]>,
    /// Suffixes after a digit by their last character, longest first.
    units: HashMap<char, Vec<&'static str>, FixedState>,
    /// Where the tokens of each exception end.
    exceptions: HashMap<String, Box<[u8]>, FixedState>,
    /// Length of the longest exception, in bytes.
    longest_exception: usize,
}

impl Tables {
    fn read(file: &'static str) -> Self {
        const ORDER: &str = "the table file is checked by its test";
        let mut flags = vec![Flags::default(); 0x11_0000];
        let mut units: HashMap<_, Vec<_>, _> = HashMap::default();
        let mut exceptions = HashMap::default();
        let mut section = "";
        for line in file.lines() {
            // No exception starts with this sign and a space, and no unit with a bracket.
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            if ["[characters]", "[units]", "[exceptions]"].contains(&line) {
                section = line;
                continue;
            }
            match section {
                "[characters]" => {
                    let (range, letters) = line.split_once(' ').expect(ORDER);
                    let (first, last) = range.split_once('-').expect(ORDER);
                    let code = |text| usize::from_str_radix(text, 16).expect(ORDER);
                    let set = letters.chars().fold(Flags::default(), |set, letter| {
                        let named = LETTERS_OF_FLAGS.iter().find(|flag| flag.0 == letter);
                        set.with(named.expect(ORDER).1)
                    });
                    flags[code(first)..=code(last)].fill(set);
                }
                "[units]" => {
                    let last = line.chars().next_back().expect(ORDER);
                    units.entry(last).or_default().push(line);
                }
                _ => {
                    let mut ends = Vec::new();
                    let mut end = 0;
                    for token in line.split('\t') {
                        end += token.len();
                        ends.push(u8::try_from(end).expect(ORDER));
                    }
                    exceptions.insert(line.replace('\t', ""), ends.into_boxed_slice());
                }
            }
        }
        for units in units.values_mut() {
            units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
        }
        let (block_of, blocks) = fold(&flags);
        Self {
            block_of,
            blocks,
            units,
            longest_exception: exceptions.keys().map(String::len).max().unwrap_or(0),
            exceptions,
        }
    }

    pub(super) fn flags(&self, c: char) -> Flags {
        let code = u32::from(c) as usize;
        self.blocks[usize::from(self.block_of[code / BLOCK])][code % BLOCK]
    }

    /// The units and currencies that end with `last`, longest first.
    pub(super) fn units(&self, last: char) -> &[&'static str] {
        self.units.get(&last).map_or(&[], Vec::as_slice)
    }

    /// Where the tokens of `text` end, if it is an exception.
    pub(super) fn exception(&self, text: &str) -> Option<&[u8]> {
        if text.len() > self.longest_exception {
            return None;
        }
        self.exceptions.get(text).map(AsRef::as_ref)
    }

    pub(super) fn exceptions(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.exceptions
            .iter()
            .map(|(text, ends)| (text.as_str(), ends.as_ref()))
    }
}

fn fold(flags: &[Flags]) -> (Vec<u8>, Vec<[Flags; BLOCK]>) {
    let mut blocks: Vec<[Flags; BLOCK]> = Vec::new();
    let mut seen = HashMap::new();
    let mut block_of = Vec::with_capacity(flags.len() / BLOCK);
    for block in flags.as_chunks::<BLOCK>().0 {
        let index = *seen.entry(*block).or_insert_with(|| {
            blocks.push(*block);
            blocks.len() - 1
        });
        block_of.push(u8::try_from(index).expect("the rules know fewer than 256 kinds of blocks"));
    }
    (block_of, blocks)
}
