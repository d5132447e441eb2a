//! What kind of character the pattern sees, and whether NFC could change a text.
//!
//! The pattern of GPT-2 knows letters, numbers, white space, and everything else. The tables are
//! fixed, because ids must not change with the version of a library: categories are of Unicode 16,
//! as in the regular expressions that Hugging Face tokenizers 0.23 are built with, normalization is
//! of Unicode 9, as in the crate that they normalize with.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization_alignments::UnicodeNormalization as _;

mod tables;

/// What the pattern of GPT-2 sees in a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Neither of the others: `[^\s\p{L}\p{N}]`.
    Other,
    /// `\p{L}`.
    Letter,
    /// `\p{N}`.
    Number,
    /// `\s`.
    White,
}

/// What is known of a character, a bit each.
#[derive(Clone, Copy)]
pub(crate) struct Kind(u8);

impl Kind {
    const LETTER: u8 = 1;
    const NUMBER: u8 = 2;
    const WHITE: u8 = 4;
    const NFC: u8 = 8;

    pub(crate) fn class(self) -> Class {
        match self.0 & (Self::LETTER | Self::NUMBER | Self::WHITE) {
            Self::LETTER => Class::Letter,
            Self::NUMBER => Class::Number,
            Self::WHITE => Class::White,
            _ => Class::Other,
        }
    }

    /// Numbers below this are those of a class.
    pub(crate) const NUM_CLASSES: usize = 8;

    /// Returns a number of its class.
    #[inline(always)]
    pub(crate) fn number(self) -> usize {
        usize::from(self.0) % Self::NUM_CLASSES
    }

    /// Returns what there is for letters, numbers and white space, in that order, of things that
    /// are numbered by class.
    pub(crate) fn in_order<T: Copy>(things: [T; Self::NUM_CLASSES]) -> [T; 3] {
        [Self::LETTER, Self::NUMBER, Self::WHITE].map(|class| things[usize::from(class)])
    }

    /// Whether a text with this character may not be in NFC.
    #[inline(always)]
    pub(crate) fn matters_to_nfc(self) -> bool {
        self.0 & Self::NFC != 0
    }
}

/// Bits of a code point that choose a place in its block.
const LOW_BITS: u32 = 6;
const BLOCK_LEN: usize = 1 << LOW_BITS;
/// Blocks of everything that four UTF-8 bytes can spell, so that no index is out of bounds.
const NUM_BLOCKS: usize = 1 << (21 - LOW_BITS);
/// Room for different blocks; a power of two, for the same reason.
const NUM_VALUES: usize = 1 << 15;

/// A byte for each code point, with equal blocks stored once.
pub(crate) struct Trie {
    starts: Box<[u16; NUM_BLOCKS]>,
    values: Box<[u8; NUM_VALUES]>,
}

impl Trie {
    fn new(value: impl Fn(u32) -> u8) -> Self {
        let mut starts = vec![0_u16; NUM_BLOCKS].into_boxed_slice();
        let mut values = vec![0_u8; BLOCK_LEN];
        for (block, start) in (0_u32..).zip(starts.iter_mut()) {
            let first = block << LOW_BITS;
            let row: [u8; BLOCK_LEN] =
                std::array::from_fn(|low| value(first + u32::try_from(low).expect("below 64")));
            let found = values.chunks(BLOCK_LEN).position(|known| known == row);
            let at = found.unwrap_or_else(|| {
                values.extend_from_slice(&row);
                values.len() / BLOCK_LEN - 1
            });
            *start = u16::try_from(at * BLOCK_LEN).expect("a test counts the blocks");
        }
        values.resize(NUM_VALUES, 0);
        let (starts, values) = (starts.try_into(), values.into_boxed_slice().try_into());
        Self {
            starts: starts.expect("it was made with this length"),
            values: values.expect("a test counts the blocks"),
        }
    }

    #[inline(always)]
    fn get(&self, point: u32) -> u8 {
        let start = self.starts[(point >> LOW_BITS) as usize & (NUM_BLOCKS - 1)];
        let place = usize::from(start) | (point as usize & (BLOCK_LEN - 1));
        self.values[place & (NUM_VALUES - 1)]
    }
}

/// Returns a byte for each code point: `value` of the range that holds it, else 0.
fn spread<R: Copy>(ranges: &[R], bounds: impl Fn(R) -> (u32, u32, u8), bytes: &mut [u8]) {
    for &range in ranges {
        let (first, last, value) = bounds(range);
        for byte in &mut bytes[first as usize..=last as usize] {
            *byte |= value;
        }
    }
}

/// The kind of every character.
pub(crate) struct Kinds(Trie);

/// The canonical combining class of every character, and 255 for what NFC may change.
struct Combining(Trie);

const NUM_POINTS: usize = 0x11_0000;
const MAY_CHANGE: u8 = 255;

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let mut bytes = vec![0; NUM_POINTS];
    for (ranges, kind) in [
        (tables::LETTERS, Kind::LETTER),
        (tables::NUMBERS, Kind::NUMBER),
        (tables::WHITE_SPACE, Kind::WHITE),
    ] {
        spread(ranges, |(first, last)| (first, last, kind), &mut bytes);
    }
    let matters = |(first, last, _)| (first, last, Kind::NFC);
    spread(tables::COMBINING, matters, &mut bytes);
    Kinds(Trie::new(|point| {
        bytes.get(point as usize).copied().unwrap_or(0)
    }))
});

static COMBINING: LazyLock<Combining> = LazyLock::new(|| {
    let mut bytes = vec![0; NUM_POINTS];
    spread(tables::COMBINING, |range| range, &mut bytes);
    Combining(Trie::new(|point| {
        bytes.get(point as usize).copied().unwrap_or(0)
    }))
});

/// Returns the table of kinds, made once.
pub(crate) fn kinds() -> &'static Kinds {
    &KINDS
}

impl Kinds {
    /// Returns the kind of a code point.
    #[inline(always)]
    pub(crate) fn of(&self, point: u32) -> Kind {
        Kind(self.0.get(point))
    }
}

/// Follows a text character by character with the quick check of UAX #15, section 9.
#[derive(Clone, Copy, Default)]
pub(crate) struct QuickCheck {
    /// The class of the last character that was told, and where that ended.
    class: u8,
    end: usize,
    /// Whether the text may not be in NFC.
    pub(crate) is_doubtful: bool,
}

impl QuickCheck {
    /// Takes a character that [matters to NFC](Kind::matters_to_nfc), and where it stands.
    ///
    /// Those between it and the last one did not, and so have combining class 0.
    #[inline]
    pub(crate) fn add(&mut self, point: u32, start: usize, end: usize) {
        let class = COMBINING.0.get(point);
        let is_before = start == self.end && class < self.class;
        self.is_doubtful |= class == MAY_CHANGE || is_before;
        (self.class, self.end) = (class, end);
    }
}

/// Returns the text in NFC; borrowed when it already is.
///
/// A character with combining class 0 that NFC does not change starts anew: nothing before it
/// combines with it. Between two such characters stands the quick check of UAX #15, section 9, and
/// what fails it is normalized by the crate that Hugging Face tokenizers use.
pub(crate) fn nfc(text: &str) -> Cow<'_, str> {
    let mut normal = Normal::default();
    // Where what may combine starts, and whether it may not be in NFC.
    let (mut start, mut is_doubtful, mut previous) = (0, false, 0);
    for (at, character) in text.char_indices() {
        let class = match character {
            '\0'..='\x7F' => 0,
            _ => COMBINING.0.get(u32::from(character)),
        };
        if class == 0 {
            if is_doubtful {
                normal.add(text, start, at);
                is_doubtful = false;
            }
            start = at;
        } else {
            is_doubtful |= class == MAY_CHANGE || class < previous;
        }
        previous = class;
    }
    if is_doubtful {
        normal.add(text, start, text.len());
    }
    if normal.done == 0 {
        return Cow::Borrowed(text);
    }
    normal.text.push_str(&text[normal.done..]);
    Cow::Owned(normal.text)
}

/// The start of a text in NFC, made when some part of it is not.
#[derive(Default)]
struct Normal {
    text: String,
    /// How much of the original it stands for.
    done: usize,
    part: String,
}

impl Normal {
    /// Normalizes a part, and everything before it if that was not done yet.
    fn add(&mut self, original: &str, start: usize, end: usize) {
        let doubtful = &original[start..end];
        self.part.clear();
        self.part
            .extend(doubtful.nfc().map(|(character, _)| character));
        if self.part != doubtful {
            self.text.push_str(&original[self.done..start]);
            self.text.push_str(&self.part);
            self.done = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(character: char, expected: Class) {
        assert_eq!(
            kinds().of(u32::from(character)).class(),
            expected,
            "{character:?}"
        );
    }

    #[test]
    fn classes_are_those_of_the_pattern() {
        check('a', Class::Letter);
        check('é', Class::Letter);
        check('漢', Class::Letter);
        check('7', Class::Number);
        check('²', Class::Number);
        check('Ⅷ', Class::Number);
        check('\u{1C}', Class::Other);
        check('\u{85}', Class::White);
        check('\u{3000}', Class::White);
        check('\u{180E}', Class::Other);
        check('\u{200B}', Class::Other);
        check('\u{301}', Class::Other);
        check('\u{10_FFFF}', Class::Other);
    }

    #[test]
    fn there_are_as_many_of_each_as_in_the_pattern() {
        let count = |class| {
            let characters = '\0'..=char::MAX;
            let of = |&character: &char| kinds().of(u32::from(character)).class() == class;
            characters.filter(of).count()
        };
        assert_eq!(count(Class::Letter), 141_028);
        assert_eq!(count(Class::Number), 1_911);
        assert_eq!(count(Class::White), 25);
    }

    #[test]
    fn nfc_leaves_alone_what_it_can_not_change() {
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            let all: String = text.nfc().map(|(character, _)| character).collect();
            assert_eq!(nfc(&text), all, "{character:?}");
            if matches!(nfc(&text), Cow::Owned(_)) {
                assert!(kinds().of(u32::from(character)).matters_to_nfc());
            }
        }
    }

    proptest! {
        #[test]
        fn nfc_is_that_of_the_whole_text(
            text in "([ae ]|[\u{300}-\u{330}]|[\u{1100}-\u{11FF}]|[\u{AC00}-\u{AC1F}]|\u{93C}|[\u{915}-\u{940}]|.){0,12}",
        ) {
            let all: String = text.nfc().map(|(character, _)| character).collect();
            prop_assert_eq!(nfc(&text), all);
        }
    }

    #[test]
    fn nfc_orders_and_composes() {
        assert_eq!(nfc("e\u{301}"), "é");
        assert_eq!(nfc("a\u{316}\u{301}"), "á\u{316}");
        assert_eq!(nfc("\u{5D0}\u{5BC}\u{5B7}"), "\u{5D0}\u{5B7}\u{5BC}");
        assert!(matches!(nfc("ก่\u{E38}"), Cow::Owned(_)));
        assert!(matches!(nfc("ज़"), Cow::Borrowed(_)));
        assert!(matches!(nfc("ภาษาไทยที่"), Cow::Borrowed(_)));
    }
}
