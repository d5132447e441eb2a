//! Letters and digits as a reader sees them: accents, look-alikes and styled forms become ASCII.
//!
//! The tables are our own; the code points come from the Unicode charts of the blocks named beside
//! them. They serve names, where disguise is the worry, and texts, where scanners and typesetters
//! leave ligatures and accents.

/// U+00C0 to U+00FF; `*` stands for two letters, `-` for a sign that is none.
const LATIN_1: &[u8; 64] = b"aaaaaa*ceeeeiiiidnooooo-ouuuuy**aaaaaa*ceeeeiiiidnooooo-ouuuuy*y";

/// U+0100 to U+017F, in the same way.
const LATIN_EXTENDED_A: &[u8; 128] =
    b"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii**jjkkkllll\
llllllnnnnnnnnnoooooo**rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

/// Where the decimal digits of other scripts begin (general category Nd).
const ZEROS: [u32; 16] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xe50,
    0xed0, 0xf20, 0xff10,
];

/// Where the numbers 1 to 9 in circles, brackets or with a dot begin.
const ONES: [u32; 7] = [0x2460, 0x2474, 0x2488, 0x2776, 0x2780, 0x278a, 0x24f5];

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
const DIGITS: &str = "0123456789";

/// Whether `c` takes no room: marks that join the letter before, and characters that nobody sees.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0xad | 0x300..=0x36f
            | 0x61c
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180e
            | 0x1ab0..=0x1aff
            | 0x1dc0..=0x1dff
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0x20d0..=0x20ff
            | 0x3164
            | 0xfe00..=0xfe0f
            | 0xfe20..=0xfe2f
            | 0xfeff
            | 0xffa0
            | 0xe0000..=0xe01ef
    )
}

/// The lower-case ASCII letters or digit that `c` shows; `None` where it shows none.
pub(super) fn to_ascii(c: char) -> Option<&'static str> {
    let code = u32::from(c);
    match code {
        0x30..=0x39 => nth(DIGITS, code - 0x30),
        0x41..=0x5a => nth(LETTERS, code - 0x41),
        0x61..=0x7a => nth(LETTERS, code - 0x61),
        0..=0x7f => None,
        0xb2 | 0xb3 => nth(DIGITS, code - 0xb0),
        0xb9 => Some("1"),
        0xc0..=0xff => base(LATIN_1[(code - 0xc0) as usize]).or_else(|| two_letters(c)),
        0x100..=0x17f => base(LATIN_EXTENDED_A[(code - 0x100) as usize]).or_else(|| two_letters(c)),
        _ => look_alike(c)
            .or_else(|| vietnamese(code))
            .or_else(|| styled(code))
            .or_else(|| other_digit(code))
            .or_else(|| two_letters(c)),
    }
}

fn nth(characters: &'static str, index: u32) -> Option<&'static str> {
    let index = index as usize;
    characters.get(index..=index)
}

fn base(letter: u8) -> Option<&'static str> {
    letter
        .is_ascii_lowercase()
        .then(|| nth(LETTERS, u32::from(letter - b'a')))
        .flatten()
}

/// Ligatures, and letters that are written as two where they are missing.
fn two_letters(c: char) -> Option<&'static str> {
    Some(match c {
        'Æ' | 'æ' => "ae",
        'Œ' | 'œ' => "oe",
        'Þ' | 'þ' => "th",
        'ß' | 'ẞ' => "ss",
        'Ĳ' | 'ĳ' => "ij",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        'Ⅲ' | 'ⅲ' => "iii",
        _ => return None,
    })
}

/// Letters of Cyrillic, Greek and the phonetic alphabets that look like Latin ones.
fn look_alike(c: char) -> Option<&'static str> {
    Some(match c {
        'А' | 'а' | 'Α' | 'α' | 'ɑ' | 'ᴀ' => "a",
        'В' | 'в' | 'Β' | 'β' | 'Ь' | 'ь' | 'ʙ' | 'Ƅ' | 'ƅ' => "b",
        'С' | 'с' | 'ϲ' | 'Ϲ' | 'ᴄ' => "c",
        'ԁ' | 'Ԁ' | 'ᴅ' => "d",
        'Е' | 'е' | 'Ё' | 'ё' | 'Ε' | 'ε' | 'ᴇ' => "e",
        'Н' | 'н' | 'һ' | 'Һ' | 'Η' | 'ʜ' => "h",
        'І' | 'і' | 'Ї' | 'ї' | 'Ι' | 'ι' | 'ɪ' | 'ɩ' | 'ǀ' => "i",
        'Ј' | 'ј' | 'ᴊ' => "j",
        'К' | 'к' | 'Κ' | 'κ' | 'ᴋ' | 'ĸ' => "k",
        'Ӏ' | 'ӏ' | 'ʟ' | 'ⅼ' | 'Ⅼ' => "l",
        'М' | 'м' | 'Μ' | 'ᴍ' => "m",
        'Ν' | 'η' | 'ɴ' => "n",
        'О' | 'о' | 'Ο' | 'ο' | 'օ' | 'Օ' | 'ᴏ' | 'σ' => "o",
        'Р' | 'р' | 'Ρ' | 'ρ' | 'ᴘ' => "p",
        'Ѕ' | 'ѕ' | 'ꜱ' => "s",
        'Т' | 'т' | 'Τ' | 'τ' | 'ᴛ' => "t",
        'υ' | 'ᴜ' => "u",
        'ν' | 'ѵ' | 'Ѵ' | 'ᴠ' => "v",
        'ѡ' | 'ԝ' | 'Ԝ' | 'ᴡ' => "w",
        'Х' | 'х' | 'Χ' | 'χ' => "x",
        'У' | 'у' | 'Υ' | 'ʏ' => "y",
        'Ζ' | 'ᴢ' => "z",
        'З' | 'з' | 'Ӡ' | 'ӡ' | 'Ʒ' | 'ʒ' | 'Ȝ' | 'ȝ' | 'Ɜ' | 'ɜ' => "3",
        _ => return None,
    })
}

/// Latin Extended Additional, U+1EA0 to U+1EF9.
fn vietnamese(code: u32) -> Option<&'static str> {
    Some(match code {
        0x1ea0..=0x1eb7 => "a",
        0x1eb8..=0x1ec7 => "e",
        0x1ec8..=0x1ecb => "i",
        0x1ecc..=0x1ee3 => "o",
        0x1ee4..=0x1ef1 => "u",
        0x1ef2..=0x1ef9 => "y",
        _ => return None,
    })
}

/// Full-width, mathematical, circled and squared letters.
fn styled(code: u32) -> Option<&'static str> {
    let index = match code {
        0xff21..=0xff3a => code - 0xff21,
        0xff41..=0xff5a => code - 0xff41,
        0x1d400..=0x1d6a3 => (code - 0x1d400) % 26,
        0x249c..=0x24b5 => code - 0x249c,
        0x24b6..=0x24cf => code - 0x24b6,
        0x24d0..=0x24e9 => code - 0x24d0,
        0x1f110..=0x1f129 => code - 0x1f110,
        0x1f130..=0x1f149 => code - 0x1f130,
        0x1f150..=0x1f169 => code - 0x1f150,
        0x1f170..=0x1f189 => code - 0x1f170,
        _ => return None,
    };
    nth(LETTERS, index)
}

fn other_digit(code: u32) -> Option<&'static str> {
    let from = |starts: &[u32], count: u32| {
        let start = starts
            .iter()
            .find(|&&start| (start..start + count).contains(&code));
        start.map(|start| code - start)
    };
    match code {
        0x1d7ce..=0x1d7ff => nth(DIGITS, (code - 0x1d7ce) % 10),
        0x2070..=0x2079 => nth(DIGITS, code - 0x2070),
        0x2080..=0x2089 => nth(DIGITS, code - 0x2080),
        _ => from(&ONES, 9)
            .map(|digit| digit + 1)
            .or_else(|| from(&ZEROS, 10))
            .and_then(|digit| nth(DIGITS, digit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(text: &str) -> String {
        let visible = text.chars().filter(|&c| !is_invisible(c));
        visible.filter_map(to_ascii).collect()
    }

    #[test]
    fn what_looks_like_ascii_becomes_ascii() {
        for (text, expected) in [
            ("BoOkS3", "books3"),
            ("Ｂｏｏｋｓ３", "books3"),
            ("Вооkѕ³", "books3"),
            ("𝐁𝐨𝐨𝐤𝐬𝟑", "books3"),
            ("𝔹𝕠𝕠𝕜𝕤𝟛", "books3"),
            ("ⓑⓞⓞⓚⓢ③", "books3"),
            ("bo\u{200b}ok\u{ad}s\u{301}3", "books3"),
            ("books٣", "books3"),
            ("Ъ", ""),
            ("Ŵĳſłéßﬁ", "wijslessfi"),
        ] {
            assert_eq!(fold(text), expected, "{text}");
        }
    }
}
