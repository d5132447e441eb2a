//! The splitter against spaCy: datatrove's figures for the oracle's documents, and texts with the
//! tokens that spaCy 3.8.18 makes of them.

use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::words::{Scratch, WordSplitter};

fn words(scratch: &mut Scratch, text: &str) -> Vec<String> {
    scratch.next_text();
    let words = scratch.words(WordSplitter::SpacyEn, text).iter();
    words
        .map(|word| text[word.start as usize..word.end as usize].to_owned())
        .collect()
}

#[derive(Deserialize)]
struct Text {
    text: String,
    id: String,
}

#[derive(Deserialize)]
struct Decision {
    id: String,
    n_words: usize,
    words_sha: String,
    n_sentences: Option<u64>,
}

#[test]
fn words_and_sentences_are_datatroves() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: no shared oracles");
        return;
    };
    let lines = |name: &str| {
        let file = File::open(oracles.join("data").join(name)).unwrap();
        BufReader::new(GzDecoder::new(file))
            .lines()
            .map(Result::unwrap)
    };
    let mut scratch = Scratch::default();
    let mut count = 0;
    let mut wrong = Vec::new();
    for (text, decision) in lines("docs.jsonl.gz").zip(lines("datatrove_decisions.jsonl.gz")) {
        let text: Text = serde_json::from_str(&text).unwrap();
        let decision: Decision = serde_json::from_str(&decision).unwrap();
        assert_eq!(text.id, decision.id);
        count += 1;
        let words = words(&mut scratch, &text.text);
        let hash = Sha256::digest(words.join("\u{1f}"));
        let hash = u64::from_be_bytes(*hash.first_chunk().unwrap());
        let hash = format!("{hash:016x}");
        let sentences = scratch.count_sentences(WordSplitter::SpacyEn, &text.text);
        if hash != decision.words_sha
            || words.len() != decision.n_words
            || decision
                .n_sentences
                .is_some_and(|expected| expected != sentences)
        {
            wrong.push((
                text.id,
                words.len(),
                decision.n_words,
                sentences,
                decision.n_sentences,
            ));
        }
    }
    assert_eq!(count, 1170);
    assert!(
        wrong.is_empty(),
        "{} {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}

#[test]
fn words_and_sentences_are_spacys() {
    let mut scratch = Scratch::default();
    // A second time from what the thread remembers.
    for _ in 0..2 {
        for &(text, expected, sentences) in GOLDEN {
            let expected: Vec<_> = expected.split('|').collect();
            assert_eq!(words(&mut scratch, text), expected, "{text:?}");
            let found = scratch.count_sentences(WordSplitter::SpacyEn, text);
            assert_eq!(found, sentences, "{text:?}");
        }
    }
}

#[test]
fn a_text_without_words_is_one_sentence() {
    let mut scratch = Scratch::default();
    for text in ["", " ", "\n", "\u{a0}\t"] {
        assert!(words(&mut scratch, text).is_empty());
        for splitter in WordSplitter::ALL {
            assert_eq!(scratch.count_sentences(splitter, text), 1, "{text:?}");
        }
    }
}

#[test]
fn white_space_after_a_full_stop_is_a_sentence_of_its_own() {
    let mut scratch = Scratch::default();
    let mut check = |text, expected| {
        let found = scratch.count_sentences(WordSplitter::SpacyEn, text);
        assert_eq!(found, expected, "{text:?}");
    };
    check("Stop!", 1);
    check("Stop! ", 1);
    check("Stop!\n", 2);
    check("Stop!  ", 2);
    check("Stop! \n", 2);
    check("Stop!\nGo on", 2);
    check("Stop! Go on", 2);
}

#[test]
fn other_splitters_count_sentences_by_the_punctuation_before_white_space() {
    let mut scratch = Scratch::default();
    let mut check = |text, expected| {
        for splitter in [WordSplitter::Uax29, WordSplitter::Whitespace] {
            let found = scratch.count_sentences(splitter, text);
            assert_eq!(found, expected, "{text:?}");
        }
    };
    check("It is 3.14, not more. \"Really?\" - Yes", 3);
    check("One line\nand the next.\n", 1);
    check("No (really!) yes", 2);
    check("\u{6f22}\u{3002} \u{5b57}", 2);
}

/// Hostile chunks are cut in one pass: each of these took minutes if it were not so.
#[test]
fn long_chunks_take_no_longer_a_byte_than_short_ones() {
    let pieces = [
        "(", "a.", ":)", "a@a.aa", "-", "a--", "\u{2026}", "10$", "ab://", "$", "'s", "1km", "a,",
    ];
    for piece in pieces {
        let text = piece.repeat(300_000 / piece.len());
        let found = words(&mut Scratch::default(), &text);
        assert_eq!(found.concat(), text, "{piece:?}");
    }
}

fn a_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z]{1,12}",
        "[.,:;'\"()!?*/_-]{1,3}",
        "[ \\n\\t\u{a0}\u{3000}]{1,2}",
        "[0-9]{1,3}(km|\\$|%|am)?",
        "\\PC{1,4}",
        (0..GOLDEN.len()).prop_map(|index| GOLDEN[index].0.to_owned()),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// The words hold everything but white space, and do not depend on what a thread remembers.
    #[test]
    fn words_cover_the_text(texts in proptest::collection::vec(a_text(), 1..4)) {
        let mut scratch = Scratch::default();
        for text in texts {
            let found = words(&mut scratch, &text);
            prop_assert_eq!(&found, &words(&mut Scratch::default(), &text));
            let black: String = text.chars().filter(|&c| !crate::text::is_space(c)).collect();
            prop_assert_eq!(found.concat(), black);
            prop_assert!(found.iter().all(|word| !word.is_empty()));
        }
    }
}

/// Texts, their tokens with `|` between, and the number of their sentences.
#[rustfmt::skip]
const GOLDEN: &[(&str, &str, u64)] = &[
    ("He said: \"I can't, won't and shouldn't've!\" (It's 5 o'clock.)", "He|said|:|\"|I|ca|n't|,|wo|n't|and|should|n't|'ve|!|\"|(|It|'s|5|o'clock|.|)", 2),
    ("They’re sure it’s ‘fine’… isn’t it?", "They|’re|sure|it|’s|‘|fine|’|…|is|n’t|it|?", 1),
    ("Mr. Smith of the U.S. paid $3.50 (10US$) to Acme Inc. at 10a.m. sharp.", "Mr.|Smith|of|the|U.S.|paid|$|3.50|(|10|US$|)|to|Acme|Inc.|at|10|a.m.|sharp|.", 1),
    ("10km/h, 5km², 3kg. 7MB 100% 20°C. 5+5 2-3 4*4 1,000.50", "10|km/h|,|5|km²|,|3|kg|.|7|MB|100|%|20|°|C|.|5|+|5|2|-|3|4|*|4|1,000.50", 3),
    ("ill-advised co-operation -- a--b a---b a—b a–b 1999–2001 x~y", "ill|-|advised|co|-|operation|--|a|--|b|a|---|b|a|—|b|a|–|b|1999–2001|x|~|y", 1),
    ("and/or w/o a/b key=value a:b a<b x>y 1/2 /usr/bin", "and/or|w/o|a|/|b|key|=|value|a|:|b|a|<|b|x|>|y|1/2|/usr|/|bin", 1),
    ("See https://example.com/a?b=c#d, (www.example.co.uk). mail: me@example.com; ftp://10.0.0.1 8.8.8.8:80", "See|https://example.com/a?b=c#d|,|(|www.example.co.uk|)|.|mail|:|me@example.com|;|ftp://10.0.0.1|8.8.8.8:80", 2),
    ("example.com:8080/path example.Com 127.0.0.1 223.255.255.254 224.0.0.1 1.2.3 x.y.zz", "example.com:8080/path|example|.|Com|127.0.0.1|223.255.255.254|224.0.0.1|1.2.3|x.y.zz", 2),
    ("hello:) (hello:) :-) :( x:D ¯\\(ツ)/¯ (ಠ_ಠ) ^_^ <3 o.O", "hello|:)|(|hello|:)|:-)|:(|x|:D|¯\\(ツ)/¯|(ಠ_ಠ)|^_^|<3|o.O", 1),
    ("end.Start foo,bar \"quoted\".Next a.B U.S.A. e.g. i.e. vs. etc. Ph.D.", "end|.|Start|foo|,|bar|\"|quoted\"|.|Next|a.|B|U.S.A.|e.g.|i.e.|vs.|etc|.|Ph.D.", 4),
    ("a\t\tb\n\nc \n d\u{a0}e\u{3000}f\u{2028}g\u{1c}h\u{85}i", "a|b|c|d|e|f|g|h|i", 1),
    ("漢字。かな、カナ「引用」！ 한글.", "漢字。かな、カナ「引用|」|！|한글|.", 2),
    ("Привет, мир! Ёлка-палка 10кг 5км/ч.", "Привет|,|мир|!|Ёлка|-|палка|10|кг|5|км/ч|.", 2),
    ("naïve café e\u{301} résumé.É 5€ €5 £3 ₿1", "naïve|café|e\u{301}|résumé|.|É|5|€|€|5|£|3|₿|1", 2),
    ("👍😀 ok👍 ©2020 Foo™ a®b ½", "👍|😀|ok|👍|©|2020|Foo|™|a|®|b|½", 1),
    ("... .. ....a …… a…b a...b .5 -5 +5 +a", "...|..|....|a|…|…|a|…|b|a|...|b|.5|-5|+5|+|a", 1),
    ("`code` _emph_ *bold* **x** #tag @user #1 a_b __init__", "`|code|`|_|emph|_|*|bold|*|*|*|x|*|*|#|tag|@user|#|1|a_b|_|_|init|_|_", 1),
    ("foo(bar, baz[0])->qux; if (x != y) { return x++; } // a::b C++", "foo(bar|,|baz[0])->qux|;|if|(|x|!|=|y|)|{|return|x++|;|}|//|a::b|C++", 2),
    ("<p class=\"x\">Hi&amp;bye</p> \\n \\t \\\") x\\ny", "<|p|class=\"x\">Hi&amp;bye</p|>|\\n|\\t|\\\")|x\\ny", 1),
    ("'em 'cause 'twas rock'n'roll dogs' James's \"'s", "'em|'cause|'|twas|rock'n'roll|dogs|'|James|'s|\"|'s", 1),
    ("Ima gonna y'all cant Cant im Im its Its dont 10am 12pm 1a.m.", "I|m|a|gon|na|y'|all|ca|nt|Ca|nt|i|m|I|m|its|Its|do|nt|10|am|12|pm|1|a.m.", 1),
    ("(((x))) [[y]] {{z}} <<w>> !!??", "(|(|(|x|)|)|)|[|[|y|]|]|{|{|z|}|}|<|<|w|>|>|!|!|?|?", 1),
    ("10.", "10|.", 1),
    ("a.", "a.", 1),
    ("A. B. C.D. EF. x1. 5). °F. 20°F. ?. ).", "A.|B.|C.D.|EF|.|x1|.|5|)|.|°|F|.|20|°|F|.|?|.|)|.", 5),
    ("x-He's (He's \"He'll,\" -can't it's-a", "x|-|He|'s|(|He|'s|\"|He|'ll|,|\"|-can't|it's|-|a", 1),
    ("km 1km 1m/s 1Pa 1тбكم 5غرام", "km|1|km|1|m/s|1|Pa|1|тбكم|5|غرام", 1),
    ("C$5 A$5 US$5 5C$ 5A$ 5US$ AUS$5", "C$|5|A$|5|US$|5|5|C$|5|A$|5|US$|AUS$5", 1),
    ("a-1 1-a 1-1 1--1 a-- --a -a- 5^2 5^-2", "a-1|1|-|a|1|-|1|1|-|-1|a--|--a|-a-|5|^|2|5|^|-2", 1),
    ("user:pass@host.com http:// http://x http://localhost:80 x@y foo://bar.baz file.name.ext", "user:pass@host.com|http://|http://x|http://localhost:80|x@y|foo://bar.baz|file.name.ext", 1),
    ("xD XD :P :p=) (-: 8-) =D;", "xD|XD|:P|:|p=|)|(-:|8-)|=D|;", 1),
    ("\u{200b}zero\u{200b}width\u{feff} \u{ad}soft", "\u{200b}zero\u{200b}width\u{feff}|\u{ad}soft", 1),
    ("¿Qué? ¡Hola! «Oui» „Ja“ ‚x‘", "¿|Qué|?|¡|Hola|!|«|Oui|»|„|Ja|“|‚|x|‘", 3),
    ("a . m . p.m. ( : ) : )", "a|.|m|.|p.m.|(|:|)|:|)", 3),
    ("! ) :( :( ) '' \" \"", "!|)|:(|:(|)|''|\"|\"", 1),
    ("__ --- *** === ~~~ ___x___", "_|_|---|*|*|*|=|=|=|~~~|_|_|_|x|_|_|_", 1),
    ("Gen.,Sen. Gen.Sen Inc., Co.’s L.A.’s", "Gen.|,Sen|.|Gen.|Sen|Inc.|,|Co.|’s|L.A.|’s", 2),
    ("9.99.9 v1.2.3 2020-01-02T03:04:05Z 12:30 1:2:3", "9.99.9|v1.2.3|2020|-|01|-|02T03:04:05Z|12:30|1:2:3", 1),
    ("I'm I’m I'd've I’d’ve Who’s who're", "I|'m|I|’m|I|'d|'ve|I|’d|’ve|Who|’s|who|'re", 1),
    ("IS_PUNCT é.É É.é ß.A À.B a.À", "IS_PUNCT|é|.|É|É.é|ß|.|A|À.B|a.|À", 3),
    ("x\u{0}y \u{7}.", "x\u{0}y|\u{7}.", 1),
    ("ab://a.bc @a.bc a@a.bc ab://x@a.bc:12?z", "ab://a.bc|@a.bc|a@a.bc|ab://x@a.bc:12?z", 1),
    ("hello:) ) hello:) x", "hello|:|)|)|hello|:)|x", 1),
    ("(a:)) ) (b:( ( (c:)", "(|a|:|)|)|)|(|b|:|(|(|(|c|:)", 1),
];
