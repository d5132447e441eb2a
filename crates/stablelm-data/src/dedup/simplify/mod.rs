//! Texts without what nearly equal texts differ in: case, numbers, punctuation, white space, accents.
//!
//! Source: `simplify_text` in `utils/text.py` of datatrove 0.10.1 with its default settings. In
//! order: lower case, each number to `0`, punctuation to spaces, each run of white space to one
//! space, canonical decomposition without nonspacing marks.
//!
//! Equal to Python 3.11 but for 75 characters that came after its Unicode 14.0, which have a lower
//! case or a decomposition here.

mod tables;

use unicode_normalization::UnicodeNormalization;

use crate::text::digits::is_decimal_of_17;
use crate::text::is_space;
use crate::text::punctuation::is_in;
use tables::{MARKS, PUNCTUATION};

/// Puts the simplified `text` into `simplified`; `plain` is room for a step between.
pub(crate) fn simplify(text: &str, plain: &mut String, simplified: &mut String) {
    simplified.clear();
    // The lower case of a capital sigma depends on what stands around it; texts that have one are
    // lowered as a whole first. Doing it again changes nothing.
    if text.contains('\u{3a3}') {
        collapse(&text.to_lowercase(), simplified);
    } else {
        collapse(text, simplified);
    }
    if !simplified.is_ascii() {
        std::mem::swap(simplified, plain);
        remove_marks(plain, simplified);
    }
}

/// Everything before the decomposition.
fn collapse(text: &str, collapsed: &mut String) {
    collapsed.reserve(text.len());
    let mut writer = Writer {
        collapsed,
        is_apart: false,
    };
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match ASCII.get(usize::from(byte)) {
            Some(Class::Digit) => {
                writer.write('0');
                at = number_end(text, at);
            }
            Some(Class::Apart) => {
                writer.is_apart = true;
                at += 1;
            }
            Some(Class::Letter) => {
                let end = letters_end(bytes, at);
                writer.write_letters(&text[at..end]);
                at = end;
            }
            None => {
                let c = char_at(text, at).expect("a byte that is not ASCII starts a character");
                at += c.len_utf8();
                if is_decimal_of_17(c) {
                    writer.write('0');
                    at = number_end(text, at);
                } else if is_space(c) || is_in(PUNCTUATION, c) {
                    writer.is_apart = true;
                } else {
                    c.to_lowercase().for_each(|lower| writer.write(lower));
                }
            }
        }
    }
}

/// Writes characters, with one space where any number of them was asked for, and none at the ends.
struct Writer<'t> {
    collapsed: &'t mut String,
    is_apart: bool,
}

impl Writer<'_> {
    fn write(&mut self, c: char) {
        self.set_apart();
        self.collapsed.push(c);
    }

    /// Writes ASCII letters in lower case.
    fn write_letters(&mut self, letters: &str) {
        self.set_apart();
        let start = self.collapsed.len();
        self.collapsed.push_str(letters);
        self.collapsed[start..].make_ascii_lowercase();
    }

    fn set_apart(&mut self) {
        if std::mem::take(&mut self.is_apart) && !self.collapsed.is_empty() {
            self.collapsed.push(' ');
        }
    }
}

/// What a character of ASCII is; all but letters and digits is punctuation, control or white space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Digit,
    Apart,
}

const ASCII: [Class; 128] = {
    let mut table = [Class::Apart; 128];
    let mut byte = 0;
    while byte < 128_u8 {
        if byte.is_ascii_digit() {
            table[byte as usize] = Class::Digit;
        } else if byte.is_ascii_alphabetic() {
            table[byte as usize] = Class::Letter;
        }
        byte += 1;
    }
    table
};

fn letters_end(bytes: &[u8], at: usize) -> usize {
    let mut letters = bytes[at..].iter();
    let end = letters.position(|&byte| ASCII.get(usize::from(byte)) != Some(&Class::Letter));
    end.map_or(bytes.len(), |len| at + len)
}

/// Where the number ends that has a digit just before or at `at`: digits, and once a separator
/// between two of them. As the expression `\p{Nd}+([.,،٫⎖⎗⎘]{1}\p{Nd}+)?` has it.
fn number_end(text: &str, at: usize) -> usize {
    let end = digits_end(text, at);
    let Some(separator) = char_at(text, end).filter(|&c| is_separator(c)) else {
        return end;
    };
    let fraction = end + separator.len_utf8();
    match digits_end(text, fraction) {
        fraction_end if fraction_end > fraction => fraction_end,
        _ => end,
    }
}

fn is_separator(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | '\u{60c}' | '\u{66b}' | '\u{2396}' | '\u{2397}' | '\u{2398}'
    )
}

fn digits_end(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    at + rest.find(|c| !is_decimal_of_17(c)).unwrap_or(rest.len())
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

/// The decomposed text without nonspacing marks, nor spaces at its ends.
///
/// ASCII stays as it is, and nothing moves across it: only what lies between is decomposed.
fn remove_marks(text: &str, simplified: &mut String) {
    simplified.clear();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii()).unwrap_or(rest.len());
        let (ascii, beyond) = rest.split_at(end);
        simplified.push_str(ascii);
        let end = beyond.find(|c: char| c.is_ascii()).unwrap_or(beyond.len());
        let (beyond, after) = beyond.split_at(end);
        simplified.extend(beyond.nfd().filter(|&c| c.is_ascii() || !is_in(MARKS, c)));
        rest = after;
    }
    simplified.truncate(simplified.trim_end_matches(is_space).len());
    let start = simplified.len() - simplified.trim_start_matches(is_space).len();
    simplified.drain(..start);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let (mut plain, mut simplified) = (String::from("old"), String::from("old"));
        simplify(text, &mut plain, &mut simplified);
        assert_eq!(simplified, expected, "{text:?}");
    }

    #[test]
    fn case_punctuation_and_white_space_are_leveled() {
        check("", "");
        check(" \t\u{1c}!.\u{a0}", "");
        check("Hello,  World!\r\n\u{3000}A_b", "hello world a b");
        check("don\u{2019}t \u{ab}x\u{bb}", "don t x");
        check("\u{130}", "i");
        check(
            "\u{39f}\u{394}\u{39f}\u{3a3} \u{3a3}A",
            "\u{3bf}\u{3b4}\u{3bf}\u{3c2} \u{3c3}a",
        );
    }

    #[test]
    fn numbers_become_zero_with_one_separator_each() {
        check("7", "0");
        check("1,234,567", "0 0");
        check("1.2.3.4", "0 0");
        check("3. x4.", "0 x0");
        check("\u{663}\u{66b}\u{664}", "0");
        check("\u{663}\u{66b}x", "0\u{66b}x");
        check("1\u{2396}2\u{2396}3", "0\u{2396}0");
        check("\u{1d7ce}9", "0");
        // A digit of Unicode 16.0.
        check("\u{10d40}\u{663}", "0");
    }

    #[test]
    fn marks_are_removed_after_the_spaces_were_counted() {
        check("\u{c9}t\u{e9} e\u{301}", "ete e");
        check("a \u{301} b", "a  b");
        check("\u{301} a \u{301}", "a");
        check("\u{ac00}", "\u{1100}\u{1161}");
        // The Greek question mark becomes a semicolon when punctuation is already gone.
        check("a\u{37e}", "a;");
        // A spacing mark moves before one of a higher class, which is then removed.
        check("\u{1d158}\u{301}\u{1d165}", "\u{1d158}\u{1d165}");
    }
}
