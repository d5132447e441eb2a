//! Texts that tokenizers get wrong, made from a seed.

use crate::corpus::corpus;
use crate::random::Random;

/// Pieces that patterns, normalization and added tokens stumble over.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    " ", "  ", "   ", "    ", "\n", "\n\n", "\r\n", "\t", "\t\t", "\u{B}", "\u{C}", "\u{1C}", "\u{1F}",
    "\u{85}", "\u{A0}", "\u{1680}", "\u{180E}", "\u{2003}", "\u{200B}", "\u{2028}", "\u{202F}", "\u{3000}",
    "\u{FEFF}", "\u{FFFD}", "\u{0}", "\u{7F}",
    "'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'", "''", "'r", "'l", "' s", "’s", "'s's",
    "don't", "we'll", "I'd've", "o'clock", "'tis",
    "a", "A", "the", " the", "keeper", " lamp", "Ab", "x1", "1x", "12", "3.14", "²", "½", "Ⅷ", "१२", "٣", "_", "-",
    "--", "...", "!?", "//", "==", "{\"", "\"}", "<", "<|", "|>", "<|endoftext|>", "<|padding|>", "<|endoftext",
    "endoftext|>", "<<|endoftext|>>", "<|END|>",
    "é", "e\u{301}", "e\u{301}\u{323}", "e\u{323}\u{301}", "\u{301}", "\u{308}\u{301}", "n\u{303}", "Å", "\u{212B}",
    "ﬁ", "ß", "İ", "ǆ",
    "가", "\u{1100}\u{1161}", "\u{1100}\u{1161}\u{11A8}", "\u{AC00}\u{11A8}", "\u{1112}", "\u{1161}",
    "漢字", "日本語", "の", "、", "。", "中华人民共和国", "\u{F900}", "\u{2F800}",
    "привет", " мир", "Ёж", "й", "и\u{306}", "ελληνικά", "ά", "α\u{301}", "שלום", "שָׁלוֹם", "מרחבא",
    "مرحبا", "مُحَمَّد", "ﷺ", "नमस्ते", "क\u{93C}", "\u{958}", "न\u{93C}", "কথা", "বো", "ব\u{9C7}\u{9BE}", "ไทย", "ที่", "ก\u{E38}\u{E48}",
    "ខ្មែរ", "မြန်မာ", "ქართული", "Հայ", "አማርኛ", "Tiếng Việt", "Tie\u{302}\u{301}ng",
    "👩\u{200D}🚀", "🇩🇪", "👍🏽", "😀", "𝔘", "𐐷", "\u{11935}\u{11930}", "\u{898}", "\u{1E08F}", "\u{1ABF}", "\u{10FFFF}",
    "\u{E000}", "\u{D7FF}", "\u{FFFF}", "\u{10000}",
];

/// Blocks of characters whose neighbors are chosen together.
#[rustfmt::skip]
const BLOCKS: &[(u32, u32)] = &[
    (0x21, 0x7E), (0xA1, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x591, 0x5F4), (0x610, 0x6FF),
    (0x900, 0x97F), (0x980, 0x9FE), (0xE01, 0xE5B), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F),
    (0x2150, 0x218B), (0x3041, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE00, 0xFFEF),
    (0x1_0000, 0x1_0FFF), (0x1_1000, 0x1_1FFF), (0x1_D400, 0x1_D7FF), (0x1_F300, 0x1_F9FF), (0x2_F800, 0x2_FA1F), (0, 0x10_FFFF),
];

/// Returns a text of up to a few hundred bytes, always the same for a seed and a number.
pub fn tricky_text(seed: u64, number: u64) -> String {
    let mut random = Random::for_item(seed, number);
    let mut text = String::new();
    // A vector works on 64 bytes: what stands at their border matters.
    if random.below(3) == 0 {
        let len = 64 * random.below(3) + random.between(48, 66);
        text.extend((0..len).map(|_| *random.pick(&['a', 'b', ' ', '.', '\n'])));
    }
    for _ in 0..random.between(1, 24) {
        append_piece(&mut random, &mut text);
    }
    text
}

fn append_piece(random: &mut Random, text: &mut String) {
    match random.below(12) {
        0..6 => text.push_str(random.pick::<&str>(PIECES)),
        6 => text.push_str(&" ".repeat(random.between(1, 60))),
        7 => {
            let piece = *random.pick(PIECES);
            text.push_str(&piece.repeat(random.between(2, 40)));
        }
        8 | 9 => {
            let &(first, last) = random.pick(BLOCKS);
            for _ in 0..random.between(1, 12) {
                let point = random.between(first as usize, last as usize);
                text.extend(u32::try_from(point).ok().and_then(char::from_u32));
            }
        }
        10 => text.extend(
            (0..random.between(1, 24)).map(|_| *random.pick(&['e', 't', 'x', 'Q', '7', '_'])),
        ),
        _ => {
            let document = corpus(random.next_u64(), 1).remove(0).text;
            let words: Vec<&str> = document.split(' ').collect();
            let first = random.below(words.len());
            let last = (first + random.between(1, 12)).min(words.len());
            text.push_str(&words[first..last].join(" "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_by_number_and_repeat_by_seed() {
        let texts: Vec<_> = (0..50).map(|number| tricky_text(1, number)).collect();
        let again: Vec<_> = (0..50).map(|number| tricky_text(1, number)).collect();
        assert_eq!(texts, again);
        let mut different = texts.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), texts.len());
    }
}
