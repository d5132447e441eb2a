//! The rules together, on planted rows, and the fingerprints measured on public-domain books.

use std::fmt::Write as _;
use std::io::Read as _;

use super::build::Builder;
use super::*;

/// splitmix64 (Steele, Lea and Flood, 2014), to choose places and words.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((value ^ (value >> 31)) % end as u64).unwrap()
    }
}

/// Makes rules with one list of these works.
pub(super) fn rules_of(works: &[(&str, &str)], block_letters: u32) -> Books3Rules {
    let mut builder = Builder::new(block_letters).unwrap();
    for (name, text) in works {
        assert!(builder.add(name, text), "{name}");
    }
    let bytes = builder.finish();
    let recipe = Books3Recipe {
        titles: Vec::new(),
        fingerprints: vec!["list".to_owned()],
    };
    Books3Rules::load(&recipe, &|_| Ok(bytes.clone())).unwrap()
}

fn is_copy(rules: &Books3Rules, text: &str, scratch: &mut Books3Scratch) -> bool {
    rules.judge_text(text, scratch).is_some()
}

/// Changes so many of a hundred words: replaced, left out, doubled or misspelled.
fn change_words(text: &str, percent: usize, words: &[&str], random: &mut Random) -> String {
    let mut changed = String::new();
    for word in text.split_whitespace() {
        let word = word.to_owned();
        let word = match (random.below(100) < percent, random.below(4)) {
            (false, _) => word,
            (true, 0 | 1) => words[random.below(words.len())].to_owned(),
            (true, 2) => String::new(),
            (true, _) => format!("{word}{}", words[random.below(words.len())]),
        };
        // Lines wrapped elsewhere, other case, other punctuation.
        let word = match random.below(10) {
            0 => word.to_uppercase(),
            1 => format!("{word},"),
            2 => format!("“{word}”"),
            _ => word,
        };
        let _ = write!(changed, "{word}{}", ["\n", "  ", " "][random.below(3)]);
    }
    changed
}

/// Confuses so many of a thousand letters, as scanners do.
fn misread(text: &str, per_mille: usize, random: &mut Random) -> String {
    let swap = |c: char| match c {
        'e' => 'c',
        'l' => '1',
        'o' => '0',
        'h' => 'b',
        'i' => 'l',
        'n' => 'u',
        _ => 'x',
    };
    let letters = text.chars().map(|c| {
        let hit = c.is_alphabetic() && random.below(1000) < per_mille;
        if hit { swap(c) } else { c }
    });
    letters.collect()
}

/// A piece of so many characters from a random place.
fn excerpt<'t>(text: &'t [char], len: usize, random: &mut Random) -> &'t [char] {
    let first = random.below(text.len() - len);
    &text[first..first + len]
}

struct Oracle {
    kind: String,
    origin: String,
    text: String,
}

fn oracle_documents() -> Option<Vec<Oracle>> {
    let path = stablelm_testkit::shared_oracles()?.join("data/docs.jsonl.gz");
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::MultiGzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let parse = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let string = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Oracle {
            kind: string(&row["metadata"]["kind"]),
            origin: string(&row["metadata"]["origin"]),
            text: string(&row["text"]),
        }
    };
    Some(text.lines().map(parse).collect())
}

/// How many of `tries` made texts are found.
fn rate(rules: &Books3Rules, tries: usize, mut make: impl FnMut(&mut Random) -> String) -> usize {
    let (mut random, mut scratch) = (Random(7), Books3Scratch::default());
    (0..tries)
        .filter(|_| is_copy(rules, &make(&mut random), &mut scratch))
        .count()
}

/// So many words of a text from a random place, one space between.
fn quote(text: &[char], words: usize, random: &mut Random) -> String {
    let text: String = excerpt(text, 12 * words, random).iter().collect();
    // A dash parts words too.
    let text = text.replace(['—', '–'], " ");
    let quoted: Vec<&str> = text.split_whitespace().skip(1).take(words).collect();
    quoted.join(" ")
}

/// The public-domain books of the oracles, and everything else there.
struct Library {
    books: Vec<Oracle>,
    others: Vec<Oracle>,
    chars: Vec<Vec<char>>,
}

impl Library {
    fn open() -> Option<Self> {
        let documents = oracle_documents()?;
        let (books, others): (Vec<_>, Vec<_>) = documents
            .into_iter()
            .partition(|document| document.kind == "book");
        let chars = books
            .iter()
            .map(|book| book.text.chars().collect())
            .collect();
        Some(Self {
            books,
            others,
            chars,
        })
    }

    fn works(&self) -> Vec<(&str, &str)> {
        let works = self.books.iter();
        works
            .map(|book| (book.origin.as_str(), book.text.as_str()))
            .collect()
    }

    fn words(&self) -> Vec<&str> {
        let words = self
            .others
            .iter()
            .flat_map(|other| other.text.split_whitespace());
        words.take(20_000).collect()
    }

    fn any_book(&self, random: &mut Random) -> &[char] {
        &self.chars[random.below(self.chars.len())]
    }

    /// How many of 500 excerpts are found with so many characters and changed words.
    fn found(&self, rules: &Books3Rules, len: usize, percent: usize) -> usize {
        let words = self.words();
        rate(rules, 500, |random| {
            let text: String = excerpt(self.any_book(random), len, random).iter().collect();
            change_words(&text, percent, &words, random)
        })
    }
}

#[test]
fn excerpts_are_found_and_quotes_are_not() {
    let Some(library) = Library::open() else {
        eprintln!("skipped: no shared oracles");
        return;
    };
    let rules = rules_of(&library.works(), DEFAULT_BLOCK_LETTERS);
    assert_eq!(library.found(&rules, 2000, 0), 500);
    let changed = library.found(&rules, 2000, 5);
    assert!(changed >= 495, "{changed} of 500");
    let much_changed = library.found(&rules, 2000, 10);
    assert!(much_changed >= 475, "{much_changed} of 500");
    assert_eq!(library.found(&rules, 5000, 10), 500);
    let misread = rate(&rules, 500, |random| {
        let text: String = excerpt(library.any_book(random), 2000, random)
            .iter()
            .collect();
        misread(&text, 20, random)
    });
    assert!(misread >= 485, "{misread} of 500");
    let quoted = rate(&rules, 500, |random| {
        let page = &library.others[random.below(library.others.len())].text;
        let quote = quote(library.any_book(random), 150, random);
        format!("{page}\n\n“{quote}”\n\n{page}")
    });
    assert_eq!(quoted, 0);
    eprintln!("found of 500: 5 % {changed}, 10 % {much_changed}, misread {misread}");
}

#[test]
fn other_documents_stay() {
    let Some(library) = Library::open() else {
        eprintln!("skipped: no shared oracles");
        return;
    };
    let works = library.works();
    let mut scratch = Books3Scratch::default();
    for block_letters in [DEFAULT_BLOCK_LETTERS, 1024] {
        let rules = rules_of(&works, block_letters);
        let others = library.others.iter().map(|other| other.text.as_str());
        let made = stablelm_testkit::corpus(1234, 800);
        let mut all = others.chain(made.iter().map(|document| document.text.as_str()));
        assert_eq!(all.find(|text| is_copy(&rules, text, &mut scratch)), None);
        // A book is no copy of the books beside it, and surely one of itself.
        for (own, (name, text)) in works.iter().enumerate() {
            let mut rest = works.clone();
            rest.remove(own);
            assert!(
                !is_copy(&rules_of(&rest, block_letters), text, &mut scratch),
                "{name}"
            );
            assert!(is_copy(&rules, text, &mut scratch), "{name}");
        }
    }
}

#[test]
fn a_list_with_long_blocks_is_small_and_finds_chapters() {
    let Some(library) = Library::open() else {
        eprintln!("skipped: no shared oracles");
        return;
    };
    let rules = rules_of(&library.works(), 1024);
    let text: usize = library.books.iter().map(|book| book.text.len()).sum();
    let share = rules.lists[0].bytes_len() as f64 / text as f64;
    // A Books3 of 196,640 books with 551 kB each stays below 600 MB.
    assert!(share * 551_000.0 * 196_640.0 < 6e8, "{share}");
    let found = library.found(&rules, 12_000, 5);
    assert!(found >= 490, "{found} of 500");
    eprintln!("found of 500: {found}; {share:.5} of the text");
}

/// A book of our own: letters of the corpus one after another.
pub(super) fn stand_in(seed: u64, documents: usize) -> String {
    let texts = stablelm_testkit::corpus(seed, documents);
    texts
        .iter()
        .map(|document| document.text.as_str())
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// Words that no other text has.
fn noise(seed: u64, words: usize) -> String {
    let mut random = Random(seed);
    let mut text = String::new();
    for _ in 0..words {
        for _ in 0..3 + random.below(6) {
            text.push(char::from(b'a' + u8::try_from(random.below(26)).unwrap()));
        }
        text.push(' ');
    }
    text
}

#[test]
fn each_disguise_falls_to_its_rule() {
    let book = stand_in(9001, 60);
    let rules = rules_of(&[("stand-in", &book)], DEFAULT_BLOCK_LETTERS);
    let plain = || Document {
        subset: Some("Pile-CC".to_owned()),
        text: "A page about nothing much.".to_owned(),
        ..Document::default()
    };
    let check = |document: &Document, path: &str, expected: Option<&str>| {
        let found = rules.judge(document, path, &mut Books3Scratch::default());
        assert_eq!(found.map(|reason| reason.name), expected, "{document:?}");
    };
    check(&plain(), "pile/00.jsonl.zst", None);
    check(&plain(), "pile/Books3/00.jsonl.zst", Some("subset_name"));
    let subset = |subset: &str| Document {
        subset: Some(subset.to_owned()),
        ..plain()
    };
    check(&subset("Bibliotik"), "a", Some("subset_name"));
    check(&subset("Ｂооks-³"), "a", Some("subset_name"));
    let id = Some("books3/000017".to_owned());
    check(&Document { id, ..plain() }, "a", Some("subset_name"));
    let book_row = |book| Document {
        book: Some(book),
        ..plain()
    };
    check(&book_row(BookShape::Books3), "a", Some("book_row"));
    check(&book_row(BookShape::Pg19), "a", None);
    let title = "07 LEGO Ninjago - The Search For Zane (Scholastic) - Kate Howard (retail)";
    let title = Some(title.to_owned());
    check(&Document { title, ..plain() }, "a", Some("title"));
    let text = |text: String| Document { text, ..plain() };
    check(&text(book.clone()), "a", Some("fingerprint"));
    check(
        &text(book[..book.len() / 2].to_uppercase()),
        "a",
        Some("fingerprint"),
    );
    check(&text(stand_in(9002, 60)), "a", None);
    assert_eq!((rules.titles(), rules.fingerprints()), (1, 1));
}

#[test]
fn a_list_keeps_names_and_drops_what_many_works_share() {
    let shared = noise(1, 400);
    let own: Vec<String> = (2..50).map(|seed| noise(seed, 400)).collect();
    let texts: Vec<String> = own.iter().map(|own| format!("{shared}\n{own}")).collect();
    let works: Vec<(&str, &str)> = texts.iter().map(|text| ("ä book", text.as_str())).collect();
    let rules = rules_of(&works, DEFAULT_BLOCK_LETTERS);
    let mut scratch = Books3Scratch::default();
    assert!(!is_copy(&rules, &shared, &mut scratch));
    for text in &own {
        let found = find_copy(text, &rules.lists, &mut scratch).unwrap();
        assert_eq!(own[found.work as usize], *text);
        assert_eq!(rules.lists[0].name_of(found.work), "ä book");
    }
}

#[test]
fn a_broken_list_is_refused_and_never_breaks_us() {
    let book = stand_in(9001, 30);
    let mut builder = Builder::new(DEFAULT_BLOCK_LETTERS).unwrap();
    builder.add("one", &book);
    let good = builder.finish();
    let open = |bytes: Vec<u8>| List::new(std::sync::Arc::new(bytes));
    assert_eq!(open(good.clone()).unwrap().works(), 1);
    for len in 0..good.len() {
        assert!(open(good[..len].to_vec()).is_err(), "{len}");
    }
    let (mut random, mut scratch) = (Random(3), Books3Scratch::default());
    for _ in 0..3000 {
        let mut bytes = good.clone();
        let head = random.below(2) == 0;
        let at = random.below(if head { 128 } else { bytes.len() });
        bytes[at] = u8::try_from(random.below(256)).unwrap();
        if let Ok(list) = open(bytes) {
            find_copy(&book, &[list], &mut scratch);
        }
    }
    let mut huge = good.clone();
    huge[32..40].fill(0xff);
    let error = open(huge).unwrap_err();
    let is_parameter = matches!(
        error,
        FingerprintListError::Parameter {
            name: "entries",
            ..
        }
    );
    assert!(is_parameter, "{error}");
    assert_eq!(
        open(b"hello".to_vec()).unwrap_err(),
        FingerprintListError::Magic
    );
    // A list of nothing is sound.
    let empty = Builder::new(DEFAULT_BLOCK_LETTERS).unwrap().finish();
    assert!(find_copy(&book, &[open(empty).unwrap()], &mut scratch).is_none());
}

#[test]
fn files_of_a_recipe_are_added_and_named_in_errors() {
    let load = |titles: &[&str], fingerprints: &[&str], bytes: &'static [u8]| {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let recipe = Books3Recipe {
            titles: owned(titles),
            fingerprints: owned(fingerprints),
        };
        Books3Rules::load(&recipe, &|path| match path {
            "gone" => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(bytes.to_vec()),
        })
    };
    let plain = load(&[], &[], b"").unwrap();
    let more = load(&["a.txt"], &[], b"The Lamp\tAnn Miller\n").unwrap();
    assert_eq!((plain.titles(), more.titles()), (1, 2));
    assert_ne!(plain.lists_sha256(), more.lists_sha256());
    let check = |result: Result<Books3Rules, Books3ListError>, expected: &str| {
        assert_eq!(result.unwrap_err().to_string(), expected);
    };
    check(load(&["gone"], &[], b""), "failed to read `gone`");
    check(load(&["t"], &[], b"\xff"), "`t` is not UTF-8 at byte 0");
    check(load(&["t"], &[], b"# none\n"), "`t` holds no title");
    let expected = "`f` is not a list of fingerprints that this version can use";
    check(load(&[], &["f"], b"text"), expected);
}

#[test]
fn works_are_read_from_text_and_json_lines() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("one.txt"), stand_in(11, 30)).unwrap();
    let row = |row: serde_json::Value| row.to_string() + "\n";
    let lines = row(serde_json::json!({"title": "Two", "text": stand_in(12, 30)}))
        + "\n"
        + &row(serde_json::json!({"text": stand_in(13, 30), "meta": {"title": "Three"}}))
        + &row(serde_json::json!({"text": "short"}));
    std::fs::write(at("more.jsonl"), lines).unwrap();
    let inputs = [at("one.txt"), at("more.jsonl")];
    let output = at("list.fingerprints");
    let options = FingerprintOptions {
        inputs: &inputs,
        output: &output,
        block_letters: DEFAULT_BLOCK_LETTERS,
    };
    let summary = build_fingerprints(&options).unwrap();
    assert_eq!((summary.works, summary.too_short), (3, 1));
    let bytes = std::fs::read(&output).unwrap();
    assert_eq!(summary.bytes, bytes.len() as u64);
    let list = List::new(std::sync::Arc::new(bytes)).unwrap();
    let names: Vec<&str> = (0..3).map(|work| list.name_of(work)).collect();
    assert_eq!(names, ["one", "Two", "Three"]);
    std::fs::write(at("bad.jsonl"), "{\"text\": 1}").unwrap();
    let inputs = [at("bad.jsonl")];
    let error = build_fingerprints(&FingerprintOptions {
        inputs: &inputs,
        ..options
    });
    assert!(error.unwrap_err().to_string().contains("line 1 of"));
}

/// The list that lies in the repository: what was written once stays readable, and says the same.
#[test]
fn the_format_stays_what_it_was() {
    const SHIPPED: &[u8] = include_bytes!("../../data/books3/stand-ins.fingerprints");
    let mut builder = Builder::new(DEFAULT_BLOCK_LETTERS).unwrap();
    for seed in 9001..9004 {
        assert!(builder.add(&format!("stand-in {seed}"), &stand_in(seed, 60)));
    }
    assert!(
        builder.finish() == SHIPPED,
        "run the example make_books3_stand_ins if the change is meant"
    );
    let list = List::new(std::sync::Arc::new(SHIPPED)).unwrap();
    assert_eq!(list.name_of(1), "stand-in 9002");
    let mut scratch = Books3Scratch::default();
    let copied = find_copy(&stand_in(9002, 60), &[list], &mut scratch).unwrap();
    assert_eq!(
        (copied.work, copied.grams, copied.threshold),
        (1, copied.grams.max(4), 4)
    );
}
