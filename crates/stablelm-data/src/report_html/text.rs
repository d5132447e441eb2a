//! How numbers and text of others appear in the page.

use std::fmt::{self, Display, Formatter, Write};

/// Text of others, harmless in a page: markup is escaped, and what the eye can't see is spelled out.
pub(super) struct Escaped<'t>(pub(super) &'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Where lines end must show in an excerpt, and must not break a name apart.
                '\n' => f.write_str("↵\n")?,
                '\t' => f.write_str("⇥\t")?,
                '\0'..='\x1f' => f.write_char(picture(c))?,
                '\x7f' => f.write_char('␡')?,
                _ if is_invisible(c) => write!(f, "⟨U+{:04X}⟩", u32::from(c))?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A name of others that may break after each `_`, so that long ones fit on a phone.
pub(super) struct Name<'t>(pub(super) &'t str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive('_') {
            write!(f, "{}", Escaped(part))?;
            if part.ends_with('_') {
                f.write_str("<wbr>")?;
            }
        }
        Ok(())
    }
}

/// The picture of a control character, from the block Control Pictures.
fn picture(control: char) -> char {
    char::from_u32(0x2400 + u32::from(control)).expect("the block has a picture of every control")
}

/// Whether a character shows nothing, or changes how its neighbors show: C1 controls, marks of
/// direction (which can make a text read as another one), joiners, fillers, tags and private use.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}

/// A count with a comma before each three digits.
pub(super) struct Grouped(pub(super) u64);

impl Display for Grouped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A count in three digits and the field's letter for its size, such as `968 M` or `1.34 T`.
pub(super) struct Rounded(pub(super) u64);

impl Display for Rounded {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1000, &["", " k", " M", " B", " T"])
    }
}

/// A number of bytes, such as `2.52 TiB`.
pub(super) struct Bytes(pub(super) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let units = [" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"];
        scaled(f, self.0, 1024, &units)
    }
}

fn scaled(f: &mut Formatter<'_>, value: u64, step: u32, units: &[&str]) -> fmt::Result {
    let mut scaled = value as f64;
    let mut unit = 0;
    // From 999.5 on, three digits would round to a fourth.
    while scaled >= f64::from(step) - 0.5 && unit + 1 < units.len() {
        scaled /= f64::from(step);
        unit += 1;
    }
    let decimals = match scaled {
        _ if unit == 0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    write!(f, "{scaled:.decimals$}{}", units[unit])
}

/// A share of a whole in percent; what is neither all nor nothing never shows as such.
pub(super) struct Percent {
    pub(super) part: u64,
    pub(super) whole: u64,
}

impl Display for Percent {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let &Self { part, whole } = self;
        let percent = share(part, whole) * 100.0;
        match percent {
            _ if whole == 0 => f.write_str("–"),
            _ if part == 0 || part == whole => write!(f, "{percent:.0} %"),
            ..0.05 => f.write_str("&lt; 0.1 %"),
            99.95.. => f.write_str("&gt; 99.9 %"),
            _ => write!(f, "{percent:.1} %"),
        }
    }
}

/// The part as a number from 0 to 1; of nothing, nothing.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A measured value in at most four decimals, without zeros at the end.
pub(super) struct Measured(pub(super) f64);

impl Display for Measured {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = format!("{:.4}", self.0);
        let text = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        let lost = text.trim_start_matches('-') == "0" && self.0 != 0.0;
        if lost {
            write!(f, "{:e}", self.0)
        } else {
            f.write_str(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Display>(value: impl Fn(u64) -> T, cases: &[(u64, &str)]) {
        for (number, expected) in cases {
            assert_eq!(value(*number).to_string(), *expected);
        }
    }

    #[test]
    fn counts_are_grouped_or_rounded() {
        let grouped = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (968_000_015, "968,000,015"),
        ];
        check(Grouped, &grouped);
        let rounded = [
            (0, "0"),
            (999, "999"),
            (1000, "1.00 k"),
            (9994, "9.99 k"),
            (9996, "10.0 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (968_000_015, "968 M"),
            (1_340_000_000_000, "1.34 T"),
            (u64::MAX, "18446744 T"),
        ];
        check(Rounded, &rounded);
        check(
            Bytes,
            &[
                (1023, "1023 B"),
                (1024, "1.00 KiB"),
                (2_766_953_721_769, "2.52 TiB"),
            ],
        );
    }

    #[test]
    fn shares_never_claim_all_or_nothing() {
        let percent = |part| Percent {
            part,
            whole: 100_000,
        };
        let cases = [
            (0, "0 %"),
            (1, "&lt; 0.1 %"),
            (50_000, "50.0 %"),
            (99_999, "&gt; 99.9 %"),
            (100_000, "100 %"),
        ];
        check(percent, &cases);
        assert_eq!(Percent { part: 0, whole: 0 }.to_string(), "–");
    }

    #[test]
    fn measured_values_keep_what_matters() {
        for (value, expected) in [
            (0.0, "0"),
            (50.0, "50"),
            (0.8, "0.8"),
            (0.123_456, "0.1235"),
            (-0.5, "-0.5"),
            (0.000_001, "1e-6"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(Measured(value).to_string(), expected);
        }
    }

    #[test]
    fn text_of_others_can_neither_break_nor_fake_the_page() {
        for (text, expected) in [
            ("<b a=\"&'\">", "&lt;b a=&quot;&amp;&#39;&quot;&gt;"),
            ("a\nb\tc", "a↵\nb⇥\tc"),
            ("\0\x1b\r\x7f", "␀␛␍␡"),
            ("exe.\u{202e}txt", "exe.⟨U+202E⟩txt"),
            (
                "a\u{200b}\u{feff}\u{e0041}\u{85}",
                "a⟨U+200B⟩⟨U+FEFF⟩⟨U+E0041⟩⟨U+0085⟩",
            ),
            ("naïve – 日本 😀", "naïve – 日本 😀"),
        ] {
            assert_eq!(Escaped(text).to_string(), expected);
        }
        assert_eq!(
            Name("top_<2>_gram").to_string(),
            "top_<wbr>&lt;2&gt;_<wbr>gram"
        );
    }
}
