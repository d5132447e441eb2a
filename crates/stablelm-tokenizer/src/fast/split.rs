//! Where pretokens start: the pattern of GPT-2 as arithmetic on bits.
//!
//! A block of 64 bytes becomes one bit a byte for each class of characters ([`Masks`]); every byte
//! of a character has the bit of its class. Shifted by one place, the bits say what stands before
//! and after each byte, and the pattern
//!
//! ```text
//! 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//! ```
//!
//! becomes: a pretoken starts
//!
//! - where a letter, number or other character follows one of another class, unless that is a
//!   single space, which then starts the pretoken itself;
//! - where white space starts, and again at its last character when something else follows, which
//!   is what `(?!\S)` leaves over;
//! - where a run of two or more spaces starts, if runs are tokens of their own: text before such a
//!   run ends there, and text after it starts anew;
//! - after a contraction, when its apostrophe starts a pretoken, and then not after the apostrophe.
//!
//! `stages/scalar.rs` says the same character by character.

use super::unicode::{Kind, Kinds, QuickCheck};

/// Bytes of a block, and bits of a mask.
pub(crate) const BLOCK_LEN: usize = 64;
/// Bytes that are read of a block: characters and contractions may end in the next.
pub(crate) const WINDOW_LEN: usize = 2 * BLOCK_LEN;

/// A block of text and what follows it, zeros after the end.
pub(crate) type Window = [u8; WINDOW_LEN];

/// One bit a byte for each class of ASCII characters.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct AsciiMasks {
    pub(crate) letter: u64,
    pub(crate) number: u64,
    /// White space, the space included.
    pub(crate) white: u64,
    pub(crate) space: u64,
    pub(crate) apostrophe: u64,
    /// Bytes of characters that are not ASCII, and the first of each.
    pub(crate) wide: u64,
    pub(crate) lead: u64,
    /// The two bytes that are watched for.
    pub(crate) watched: [u64; 2],
}

/// The classes of a block, those of wide characters included.
#[derive(Clone, Copy, Default)]
struct Masks {
    letter: u64,
    number: u64,
    white: u64,
    space: u64,
    apostrophe: u64,
    /// White space of more than a byte.
    wide_white: u64,
    /// Bytes that belong to the text.
    valid: u64,
}

impl Masks {
    fn other(&self) -> u64 {
        self.valid & !(self.letter | self.number | self.white)
    }
}

/// What of a wide character lies in the next block.
#[derive(Clone, Copy, Default)]
struct Spill {
    letter: u64,
    number: u64,
    white: u64,
    all: u64,
}

/// What the bits of a block need to know of the block before.
#[derive(Clone, Copy, Default)]
struct Before {
    letter: u64,
    number: u64,
    other: u64,
    white: u64,
    /// Whether the last byte is a single space.
    lone_space: u64,
    /// Whether the last byte is part of a run of spaces.
    run: u64,
    space: u64,
    /// How many spaces end the block.
    num_spaces: usize,
    /// Starts that a contraction at its end sets and clears.
    set: u64,
    clear: u64,
}

/// What was seen in a text so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    /// A character that is not ASCII.
    pub(crate) wide: bool,
    /// The two bytes that are watched for, one after the other.
    pub(crate) watched: bool,
}

/// How far a text has been split.
pub(crate) struct Splitter {
    /// Where the next block starts.
    at: usize,
    current: Masks,
    before: Before,
    spill: Spill,
    /// The longest run of spaces that is a token; 0 when runs are no tokens.
    max_run: usize,
    pub(crate) seen: Seen,
    pub(crate) nfc: QuickCheck,
    watched: [u8; 2],
    /// Whether the first of them ends the block before.
    is_half_seen: u64,
    is_done: bool,
}

/// Places in a text, as many as fit a batch.
pub(crate) struct Starts {
    pub(crate) places: Box<[u32; Starts::CAPACITY]>,
    pub(crate) len: usize,
}

impl Starts {
    const CAPACITY: usize = 1024;
    /// What a block can add, and what writes may touch beyond.
    const SLACK: usize = 2 * BLOCK_LEN + 2;

    pub(crate) fn new() -> Self {
        Self {
            places: Box::new([0; Self::CAPACITY]),
            len: 0,
        }
    }

    pub(crate) fn as_slice(&self) -> &[u32] {
        &self.places[..self.len]
    }

    /// Whether there is room for another block.
    fn has_room(&self) -> bool {
        self.len < Self::CAPACITY - Self::SLACK
    }

    pub(crate) fn push(&mut self, place: u32) {
        self.places[self.len] = place;
        self.len += 1;
    }

    /// Appends a place or not, without a branch.
    #[inline(always)]
    pub(crate) fn push_if(&mut self, place: u32, is_wanted: bool) {
        self.places[self.len] = place;
        self.len += usize::from(is_wanted);
    }

    /// Whether there is no room for two more.
    pub(crate) fn is_full(&self) -> bool {
        self.len + 2 > Self::CAPACITY
    }

    /// Keeps the last place only, as the first.
    pub(crate) fn keep_last(&mut self) {
        if self.len > 0 {
            self.places[0] = self.places[self.len - 1];
            self.len = 1;
        }
    }
}

/// What differs between processors.
pub(crate) trait Lanes {
    /// Returns the classes of a block's ASCII characters, and where two bytes stand.
    fn classify(block: &[u8; BLOCK_LEN], watched: [u8; 2]) -> AsciiMasks;

    /// Appends `base` plus the place of each bit that is set.
    fn push_bits(bits: u64, base: u32, starts: &mut Starts);
}

impl Splitter {
    pub(crate) fn new(max_run: usize, watched: [u8; 2]) -> Self {
        Self {
            watched,
            is_half_seen: 0,
            at: 0,
            current: Masks::default(),
            before: Before::default(),
            spill: Spill::default(),
            max_run,
            seen: Seen::default(),
            nfc: QuickCheck::default(),
            is_done: false,
        }
    }

    /// Whether all starts were given out, and the end of the text after them.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Appends the next starts of a text, until they fill a batch or the text ends.
    ///
    /// The end of the text comes last, like a start.
    #[inline(always)]
    pub(crate) fn split<L: Lanes>(&mut self, text: &[u8], kinds: &Kinds, starts: &mut Starts) {
        while starts.has_room() && !self.is_done {
            let next = if let Some(window) = window(text, self.at) {
                self.classify::<L>(window, BLOCK_LEN, kinds)
            } else if self.at < text.len() {
                let rest = &text[self.at..];
                let mut window = [0; WINDOW_LEN];
                let len = rest.len().min(WINDOW_LEN);
                window[..len].copy_from_slice(&rest[..len]);
                self.classify::<L>(&window, rest.len().min(BLOCK_LEN), kinds)
            } else {
                self.is_done = true;
                Masks::default()
            };
            if self.at > 0 {
                let base = self.at - BLOCK_LEN;
                let bits = self.starts_of_block(text, base, &next, starts);
                L::push_bits(bits, to_u32(base), starts);
            }
            self.current = next;
            self.at += BLOCK_LEN;
        }
        if self.is_done {
            starts.push(to_u32(text.len()));
        }
    }

    /// Does what [`split`](Self::split) does with a function that returns the length of the next
    /// pretoken.
    pub(crate) fn split_by(
        &mut self,
        text: &str,
        starts: &mut Starts,
        kinds: &Kinds,
        next_len: impl Fn(&str, usize) -> usize,
    ) {
        while starts.has_room() && self.at < text.len() {
            let rest = &text[self.at..];
            let pretoken = &rest[..next_len(rest, self.max_run)];
            self.seen.wide |= !pretoken.is_ascii();
            let with_next =
                &text.as_bytes()[self.at..(self.at + pretoken.len() + 1).min(text.len())];
            self.seen.watched |= with_next.windows(2).any(|two| two == self.watched);
            for (at, character) in pretoken.char_indices() {
                if kinds.of(character.into()).matters_to_nfc() {
                    let start = self.at + at;
                    self.nfc
                        .add(character.into(), start, start + character.len_utf8());
                }
            }
            starts.push(to_u32(self.at));
            self.at += pretoken.len();
        }
        if self.at >= text.len() {
            self.is_done = true;
            starts.push(to_u32(text.len()));
        }
    }

    #[inline(always)]
    fn classify<L: Lanes>(&mut self, window: &Window, len: usize, kinds: &Kinds) -> Masks {
        let block = window
            .first_chunk()
            .expect("a window is longer than a block");
        let ascii = L::classify(block, self.watched);
        let [first, second] = ascii.watched;
        self.seen.watched |= (first << 1 | self.is_half_seen) & second != 0;
        self.is_half_seen = first >> 63;
        let valid = if len == BLOCK_LEN {
            u64::MAX
        } else {
            (1 << len) - 1
        };
        let mut masks = Masks {
            letter: ascii.letter | self.spill.letter,
            number: ascii.number | self.spill.number,
            white: (ascii.white & valid) | self.spill.white,
            space: ascii.space,
            apostrophe: ascii.apostrophe,
            wide_white: self.spill.white,
            valid,
        };
        let wide = ascii.wide & !self.spill.all;
        self.spill = Spill::default();
        if wide != 0 {
            self.seen.wide = true;
            self.classify_wide(window, wide, ascii.lead, &mut masks, kinds);
        }
        masks
    }

    /// Adds the characters that are not ASCII.
    ///
    /// What class one has can't be foretold, so that nothing here branches on it.
    #[inline(always)]
    fn classify_wide(
        &mut self,
        window: &Window,
        wide: u64,
        leads: u64,
        masks: &mut Masks,
        kinds: &Kinds,
    ) {
        let mut by_kind = [0_u64; Kind::NUM_CLASSES];
        let (mut left, mut end) = (leads, 0);
        while left != 0 {
            let at = left.trailing_zeros();
            let (point, len) = decode(window[at as usize..][..4].try_into().expect("four bytes"));
            let kind = kinds.of(point);
            by_kind[kind.number()] |= left & left.wrapping_neg();
            if kind.matters_to_nfc() {
                let start = self.at + at as usize;
                self.nfc.add(point, start, start + len as usize);
            }
            left &= left - 1;
            end = at + len;
        }
        let [letter, number, white] = Kind::in_order(by_kind);
        // Bytes that follow the first of a character have its class.
        let rest = wide & !leads;
        let fill = |leads: u64| {
            let two = leads | leads << 1 & rest;
            let three = two | two << 1 & rest;
            three | three << 1 & rest
        };
        let [letter, number, white] = [letter, number, white].map(fill);
        masks.letter |= letter;
        masks.number |= number;
        masks.white |= white;
        masks.wide_white |= white;
        let all = (1 << end.saturating_sub(64)) - 1;
        self.spill = Spill {
            letter: (letter >> 63) * all,
            number: (number >> 63) * all,
            white: (white >> 63) * all,
            all,
        };
    }

    /// Returns the starts in the current block, given the next.
    #[inline(always)]
    fn starts_of_block(
        &mut self,
        text: &[u8],
        base: usize,
        next: &Masks,
        starts: &mut Starts,
    ) -> u64 {
        let Masks {
            letter,
            number,
            white,
            space,
            valid,
            ..
        } = self.current;
        let other = self.current.other();
        let before = self.before;

        let run = self.runs(space, next.space);
        let text_white = white & !run;
        let lone_space = space & !run;
        let is_text = valid & !white;
        let text_follows = is_text >> 1 | (next.valid & !next.white) << 63;

        let goes_on = letter & (letter << 1 | before.letter)
            | number & (number << 1 | before.number)
            | other & (other << 1 | before.other);
        let after_space = lone_space << 1 | before.lone_space;
        let text_starts = is_text & !goes_on & !after_space;
        let white_starts = text_white & !(text_white << 1 | before.white);
        let last_white = text_white & text_follows;
        let run_starts = run & !(run << 1 | before.run);

        let mut bits = text_starts | white_starts | run_starts;
        if last_white & self.current.wide_white == 0 {
            bits |= last_white;
        } else {
            bits |= place_last_white(text, base, last_white, bits, starts);
        }
        let (mut set, mut clear) = (before.set, before.clear);
        let (mut next_set, mut next_clear) = (0, 0);
        let apostrophes = text_starts & self.current.apostrophe & !clear;
        if apostrophes != 0 {
            let found = contractions(text, base, apostrophes);
            set |= found.set as u64;
            clear |= found.clear as u64;
            next_set = (found.set >> 64) as u64;
            next_clear = (found.clear >> 64) as u64;
        }
        self.before = Before {
            letter: letter >> 63,
            number: number >> 63,
            other: other >> 63,
            white: text_white >> 63,
            lone_space: lone_space >> 63,
            run: run >> 63,
            space: space >> 63,
            num_spaces: self.num_spaces(space),
            set: next_set,
            clear: next_clear,
        };
        (bits & !clear | set) & valid
    }

    /// Returns the spaces that belong to a run which is cut out of the text.
    #[inline(always)]
    fn runs(&self, space: u64, next_space: u64) -> u64 {
        if self.max_run == 0 {
            return 0;
        }
        let run = space & (space << 1 | self.before.space | space >> 1 | next_space << 63);
        if run == 0 {
            return 0;
        }
        let at_start = self.before.num_spaces + space.trailing_ones() as usize;
        if at_start > self.max_run || has_run_of(run, self.max_run + 1) {
            return self.without_left_over(space, next_space, run);
        }
        run
    }

    /// Gives back to the text the space that is left over after a run was cut into tokens.
    #[cold]
    fn without_left_over(&self, space: u64, next_space: u64, mut run: u64) -> u64 {
        let mut at = 0;
        while at < BLOCK_LEN {
            let here = (!(space >> at)).trailing_zeros() as usize;
            let here = here.min(BLOCK_LEN - at);
            let all = here + if at == 0 { self.before.num_spaces } else { 0 };
            let ends_here = at + here < BLOCK_LEN || next_space & 1 == 0;
            if here > 0 && ends_here && all > 1 && all % self.max_run == 1 {
                run &= !(1 << (at + here - 1));
            }
            at += here.max(1);
        }
        run
    }

    /// Returns how many spaces in a row end with this block.
    #[inline(always)]
    fn num_spaces(&self, space: u64) -> usize {
        let here = space.leading_ones() as usize;
        if here == BLOCK_LEN {
            here + self.before.num_spaces
        } else {
            here
        }
    }
}

/// Whether as many bits in a row are set; more than 64 are not.
#[inline(always)]
fn has_run_of(bits: u64, len: usize) -> bool {
    let (mut bits, mut have) = (bits, 1);
    while have < len && bits != 0 {
        let step = have.min(len - have);
        bits &= bits.checked_shr(step as u32).unwrap_or(0);
        have += step;
    }
    bits != 0
}

fn to_u32(place: usize) -> u32 {
    u32::try_from(place).expect("longer texts are not given to this engine")
}

/// Returns the text from a place on, if enough of it is left.
#[inline(always)]
fn window(text: &[u8], at: usize) -> Option<&Window> {
    text.get(at..)?.first_chunk()
}

/// Returns the code point and the length of the character that starts a text in UTF-8.
#[inline(always)]
fn decode(bytes: [u8; 4]) -> (u32, u32) {
    let byte = |at: usize| u32::from(bytes[at]);
    let low = |at: usize| byte(at) & 0x3F;
    match byte(0) {
        lead @ 0..0xE0 => ((lead & 0x1F) << 6 | low(1), 2),
        lead @ 0xE0..0xF0 => ((lead & 0xF) << 12 | low(1) << 6 | low(2), 3),
        lead => ((lead & 7) << 18 | low(1) << 12 | low(2) << 6 | low(3), 4),
    }
}

/// Returns the starts of last characters of white space of which some have more than a byte.
#[cold]
fn place_last_white(
    text: &[u8],
    base: usize,
    mut last_white: u64,
    bits: u64,
    starts: &mut Starts,
) -> u64 {
    let mut moved = 0;
    while last_white != 0 {
        let at = last_white.trailing_zeros() as usize;
        last_white &= last_white - 1;
        let mut place = base + at;
        while text[place] & 0xC0 == 0x80 {
            place -= 1;
        }
        if place >= base {
            moved |= 1 << (place - base);
        } else if starts.as_slice().last() != Some(&to_u32(place)) {
            // It began in the block before, whose starts are out.
            starts.push(to_u32(place));
        }
    }
    moved | bits
}

struct Contractions {
    set: u128,
    clear: u128,
}

/// Finds the contractions that start at apostrophes, and what they change.
fn contractions(text: &[u8], base: usize, mut apostrophes: u64) -> Contractions {
    let mut found = Contractions { set: 0, clear: 0 };
    while apostrophes != 0 {
        let at = apostrophes.trailing_zeros();
        apostrophes &= apostrophes - 1;
        let len = match &text[base + at as usize + 1..] {
            [b's' | b't' | b'm' | b'd', ..] => 2,
            [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => 3,
            _ => continue,
        };
        found.clear |= 1 << (at + 1);
        found.set |= 1 << (at + len);
    }
    found
}
