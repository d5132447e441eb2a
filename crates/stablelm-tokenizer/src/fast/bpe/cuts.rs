//! Where a pretoken can be cut in two without changing its tokens.
//!
//! A cut between two characters is safe when no token of the vocabulary spans it: merges left and
//! right of it then never meet. Scripts without spaces fall into pieces of a few characters that
//! way, which are short enough to be remembered.

/// Bits of the hash that two characters have.
const HASH_BITS: u32 = 16;

/// The pairs of neighboring characters that stand inside some token.
pub(crate) struct Cuts {
    /// By the hash of two whole characters; a collision only forgoes a cut.
    characters: Box<Bits>,
    /// By the last byte of one character and the first of the next, where a token begins or ends
    /// inside one of them.
    bytes: Box<Bits>,
}

struct Bits([u64; 1 << (HASH_BITS - 6)]);

impl Bits {
    fn insert(&mut self, at: u16) {
        self.0[usize::from(at >> 6)] |= 1 << (at & 63);
    }

    #[inline(always)]
    fn contains(&self, at: u16) -> bool {
        self.0[usize::from(at >> 6)] >> (at & 63) & 1 != 0
    }
}

impl Cuts {
    pub(crate) fn new<'a>(tokens: impl Iterator<Item = &'a [u8]>) -> Self {
        let empty = || Box::new(Bits([0; _]));
        let mut cuts = Self {
            characters: empty(),
            bytes: empty(),
        };
        for token in tokens {
            for at in (1..token.len()).filter(|&at| is_boundary(token[at])) {
                match (last_character(&token[..at]), first_character(&token[at..])) {
                    (Some(left), Some(right)) => cuts.characters.insert(hash(left, right)),
                    _ => cuts.bytes.insert(edge(token[at - 1], token[at])),
                }
            }
        }
        cuts
    }

    /// Returns the length of the shortest start of a text that can be cut off, which may be all of
    /// it.
    ///
    /// The text begins and ends between characters.
    pub(crate) fn first(&self, text: &[u8]) -> usize {
        let cuts = self.characters(text, 0, text.len());
        let first = cuts.skip(1).find(|&(_, is_cut)| is_cut);
        first.map_or(text.len(), |(at, _)| at)
    }

    /// Returns the place of each character in a part of a text, and whether a cut before it is safe;
    /// what is said of the first means nothing.
    #[inline(always)]
    pub(crate) fn characters<'a>(
        &'a self,
        text: &'a [u8],
        start: usize,
        end: usize,
    ) -> Characters<'a> {
        Characters {
            cuts: self,
            text,
            at: start,
            end,
            left: 0,
        }
    }
}

/// The characters of a part of a text, one after another.
pub(crate) struct Characters<'a> {
    cuts: &'a Cuts,
    text: &'a [u8],
    at: usize,
    end: usize,
    /// The character before, as a number; 0 before the first.
    left: u32,
}

impl Iterator for Characters<'_> {
    type Item = (usize, bool);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, bool)> {
        let at = self.at;
        if at >= self.end {
            return None;
        }
        let len = len_of(self.text[at]);
        let right = character(self.text, at, len);
        let before = self.text[at.saturating_sub(1)];
        let is_spanned = self.cuts.bytes.contains(edge(before, self.text[at]))
            | self.cuts.characters.contains(hash(self.left, right));
        self.left = right;
        self.at = at + len;
        Some((at, !is_spanned))
    }
}

/// Returns the bytes of a whole character as a number.
#[inline(always)]
fn character(text: &[u8], at: usize, len: usize) -> u32 {
    if let Some(bytes) = text[at..].first_chunk() {
        return u32::from_le_bytes(*bytes) & (u32::MAX >> (32 - 8 * len));
    }
    let mut bytes = [0; 4];
    bytes[..len].copy_from_slice(&text[at..at + len]);
    u32::from_le_bytes(bytes)
}

/// Whether a byte starts a character.
fn is_boundary(byte: u8) -> bool {
    byte & 0xC0 != 0x80
}

/// Returns the last character as a number, if it is whole.
fn last_character(bytes: &[u8]) -> Option<u32> {
    let start = bytes.iter().rposition(|&byte| is_boundary(byte))?;
    let len = bytes.len() - start;
    (len_of(bytes[start]) == len).then(|| character(bytes, start, len))
}

/// Returns the first character as a number, if it is whole.
fn first_character(bytes: &[u8]) -> Option<u32> {
    let len = len_of(bytes[0]);
    (len <= bytes.len()).then(|| character(bytes, 0, len))
}

/// Returns the length of the character that a byte starts.
#[inline(always)]
fn len_of(byte: u8) -> usize {
    match byte {
        0..0xC0 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}

fn edge(left: u8, right: u8) -> u16 {
    u16::from(left) << 8 | u16::from(right)
}

fn hash(left: u32, right: u32) -> u16 {
    let mixed = left.wrapping_mul(0x9E37_79B1).rotate_left(15) ^ right;
    (mixed.wrapping_mul(0x85EB_CA77) >> (32 - HASH_BITS)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts() -> Cuts {
        let tokens: [&[u8]; 5] = [
            "the".as_bytes(),
            "漢字".as_bytes(),
            b" \xE6",
            b"\xA2x",
            "é".as_bytes(),
        ];
        Cuts::new(tokens.into_iter())
    }

    fn check(text: &str, expected: &[&str]) {
        let (cuts, mut found, mut from) = (cuts(), Vec::new(), 0);
        while from < text.len() {
            let to = from + cuts.first(&text.as_bytes()[from..]);
            found.push(&text[from..to]);
            from = to;
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn no_cut_goes_through_a_token() {
        check("theta", &["the", "t", "a"]);
        check("漢字漢", &["漢字", "漢"]);
        check(" 漢", &[" 漢"]);
        check("語 語", &["語", " ", "語"]);
        check("語 法", &["語", " 法"]);
        check("éé", &["é", "é"]);
        check("\u{2222}x\u{2223}x", &["\u{2222}x", "\u{2223}", "x"]);
    }

    #[test]
    fn a_token_that_begins_or_ends_inside_a_character_is_not_cut_either() {
        check("é\u{2222}x", &["é", "\u{2222}x"]);
        check("a 漢", &["a", " 漢"]);
    }
}
