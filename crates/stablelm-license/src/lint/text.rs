//! Damage to the text itself: bytes read in the wrong encoding, and characters nobody sees.

use std::ops::Range;

use super::report::{Report, Rule};
use crate::finding::Severity;

const MOJIBAKE: Rule = Rule {
    id: "TEXT-MOJIBAKE",
    clause: "UTF-8",
    severity: Severity::Error,
    source: "https://www.unicode.org/faq/utf_bom.html",
};
const INVISIBLE: Rule = Rule {
    id: "TEXT-INVISIBLE",
    clause: "Unicode, format characters",
    severity: Severity::Warning,
    source: "https://www.unicode.org/reports/tr36/",
};

/// The characters of Windows-1252 from 0x80 to 0x9F.
const WINDOWS: [char; 32] = [
    '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}',
    '\u{2c6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}',
    '\u{90}', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}',
    '\u{2dc}', '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
];

/// Finds damage in a part of a text.
pub(crate) fn lint(text: &str, part: Range<usize>, report: &mut Report<'_>) {
    let mut at = part.start;
    while let Some(character) = text.get(at..part.end).and_then(|rest| rest.chars().next()) {
        if let Some((meant, len)) = misread(&text[at..part.end]) {
            let wrong = &text[at..at + len];
            let (name, replacement) = if is_invisible(meant) {
                (
                    format!("U+{:04X}, which nobody sees", u32::from(meant)),
                    String::new(),
                )
            } else {
                (format!("`{meant}`"), meant.to_string())
            };
            let reason = format!("`{wrong}` is {name}, read in the wrong encoding");
            report.add_fix(MOJIBAKE, at..at + len, reason, replacement);
            at += len;
            continue;
        }
        let len = character.len_utf8();
        if is_invisible(character) && at > 0 {
            let reason = format!(
                "U+{:04X} is in the text and nobody sees it",
                u32::from(character)
            );
            report.add_fix(INVISIBLE, at..at + len, reason, String::new());
        } else if is_steering(character) {
            let reason = format!(
                "U+{:04X} changes the order in which the text is shown",
                u32::from(character)
            );
            report.add(
                INVISIBLE,
                at,
                reason,
                "remove it unless the language needs it",
            );
        }
        at += len;
    }
}

/// Returns the character that was meant where UTF-8 was read as Windows-1252, and how many bytes
/// of the text stand for it.
fn misread(text: &str) -> Option<(char, usize)> {
    let mut bytes = [0_u8; 4];
    let mut len = 0;
    let mut wanted = 4;
    for (index, character) in text.chars().take(4).enumerate() {
        let byte = windows_byte(character)?;
        if index == 0 {
            wanted = match byte {
                // Most other pairs make sense as they are, such as a unit and its power.
                0xc2 | 0xc3 => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => return None,
            };
        }
        bytes[index] = byte;
        len += character.len_utf8();
        if index + 1 == wanted {
            let meant = std::str::from_utf8(&bytes[..wanted]).ok()?.chars().next()?;
            return Some((meant, len));
        }
    }
    None
}

fn windows_byte(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0..=0x7f | 0xa0..=0xff) => u8::try_from(code).ok(),
        _ => WINDOWS
            .iter()
            .position(|other| *other == character)
            .and_then(|index| u8::try_from(index + 0x80).ok()),
    }
}

fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{ad}')
}

fn is_steering(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found() {
        let check = |text: &str, expected| assert_eq!(misread(text), expected, "{text}");
        check("\u{e2}\u{20ac}\u{2039} As", Some(('\u{200b}', 8)));
        check("\u{e2}\u{20ac}\u{2122}s", Some(('\u{2019}', 8)));
        check("\u{c3}\u{a9}", Some(('\u{e9}', 4)));
        check("\u{e9}t\u{e9}", None);
        check("\u{c3}", None);
        check("plain", None);
        check("\u{20ac}5", None);
    }
}
