//! Cuts between pieces, compression, damage and threads never change the outcome.

use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZeroUsize;

use stablelm_tokenizer::Tokenizer;

use super::*;

/// Pieces so small that most lines are longer.
const SMALL: Limits = Limits {
    chunk_len: 40,
    max_line_len: 1000,
};

fn tokenizer() -> Tokenizer {
    let path = stablelm_testkit::fixtures().join("tokenizer/tokenizer.json");
    Tokenizer::from_file(&path).unwrap()
}

type Outcome = Result<(Vec<u8>, Vec<u8>, TokenizeSummary), String>;

/// Tokenizes files of these bytes; a failure is its text and the text of its cause.
fn run(tokenizer: &Tokenizer, files: &[&[u8]], threads: usize, limits: Limits) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let inputs: Vec<_> = (0..files.len())
        .map(|number| folder.path().join(number.to_string()))
        .collect();
    for (path, bytes) in inputs.iter().zip(files) {
        std::fs::write(path, bytes).unwrap();
    }
    let options = TokenizeOptions {
        inputs: &inputs,
        text_key: "text",
        append_eod: true,
        special: SpecialTokensInText::Error,
        tokenizer,
        output_prefix: &folder.path().join("out"),
        threads: NonZeroUsize::new(threads).unwrap(),
        memory_limit: 1 << 20,
    };
    match tokenize_within(&options, limits, None) {
        Ok(mut summary) => {
            let read = |suffix| std::fs::read(with_suffix(&summary.prefix, suffix)).unwrap();
            let (bin, idx) = (read(".bin"), read(".idx"));
            summary.prefix = PathBuf::new();
            summary.seconds = PhaseSeconds::default();
            Ok((bin, idx, summary))
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            let message = format!("{error}: {}", cause.unwrap_or_default());
            let left = std::fs::read_dir(folder.path()).unwrap().count();
            assert_eq!(left, files.len(), "a failed run leaves nothing");
            Err(message.replace(&format!("{}/", folder.path().display()), ""))
        }
    }
}

/// Any threads and any cuts give what one thread makes of one piece; returns that.
fn check(tokenizer: &Tokenizer, files: &[&[u8]]) -> Outcome {
    let whole = Limits {
        chunk_len: 1 << 20,
        ..SMALL
    };
    let expected = run(tokenizer, files, 1, whole);
    for threads in [1, 2, 5] {
        for chunk_len in [1, 7, 40, 300] {
            let found = run(tokenizer, files, threads, Limits { chunk_len, ..SMALL });
            assert!(
                found == expected,
                "{threads} threads, pieces of {chunk_len}: {found:?} and {expected:?}"
            );
        }
    }
    expected
}

fn documents(outcome: &Outcome) -> (u64, u64, u64) {
    let (_, _, summary) = outcome.as_ref().unwrap();
    (summary.documents, summary.skipped, summary.bytes_in)
}

fn lines(count: usize) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let text = "the keeper lit the lamp\\n".repeat(number % 9);
        writeln!(lines, "{{\"n\": {number}, \"text\": \"{text}{number}\"}}").unwrap();
    }
    lines
}

#[test]
fn lines_may_end_anywhere() {
    let tokenizer = tokenizer();
    let all = lines(60);
    let expected = check(&tokenizer, &[all.as_bytes()]);
    assert_eq!(documents(&expected).0, 60);
    let unended = check(&tokenizer, &[all.trim_end().as_bytes()]);
    assert_eq!(unended, expected);
    let returns = check(&tokenizer, &[all.replace('\n', "\r\n").as_bytes()]);
    assert_eq!(returns, expected);
    let marked = ["\u{feff}", "\n \n", &all].concat();
    assert_eq!(check(&tokenizer, &[marked.as_bytes()]), expected);
    // Every line ends where a piece ends.
    let even = "{\"text\": \"a\"}\n".repeat(100);
    for times in [1, 2, 3] {
        let limits = Limits {
            chunk_len: 14 * times,
            ..SMALL
        };
        let found = run(&tokenizer, &[even.as_bytes()], 2, limits);
        assert_eq!(documents(&found), (100, 0, 100));
    }
}

#[test]
fn files_without_documents_are_fine() {
    let tokenizer = tokenizer();
    for bytes in ["", "\n", "\u{feff}", "\u{feff}\r\n  \r\n"] {
        assert_eq!(
            documents(&check(&tokenizer, &[bytes.as_bytes()])),
            (0, 0, 0)
        );
    }
    let found = check(
        &tokenizer,
        &[b"", b"{\"text\": \"\"}", b"{\"text\": \"a\"}", b""],
    );
    assert_eq!(documents(&found), (1, 1, 1));
}

#[test]
fn compressed_files_of_several_members_are_read_as_one() {
    let tokenizer = tokenizer();
    let all = lines(60);
    let expected = check(&tokenizer, &[all.as_bytes()]);
    // The cut lies within a line.
    let (head, tail) = all.as_bytes().split_at(all.len() / 2);
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    for file in [
        [gzip(head), gzip(tail)].concat(),
        [zstd(head), zstd(tail)].concat(),
    ] {
        assert_eq!(check(&tokenizer, &[&file]), expected);
        let message = check(&tokenizer, &[&file[..file.len() - 20]]).unwrap_err();
        assert!(
            message.contains("the compressed stream is damaged after"),
            "{message}"
        );
    }
}

#[test]
fn the_first_row_that_fails_is_named_whichever_thread_finds_it() {
    let tokenizer = tokenizer();
    let special = "{\"text\": \"<|endoftext|>\"}\n";
    let fails = |parts: &[&str], expected: &str| {
        let bytes = parts.concat();
        let message = check(&tokenizer, &[lines(10).as_bytes(), bytes.as_bytes()]).unwrap_err();
        assert!(message.starts_with(expected), "{message}");
    };
    let all = lines(30);
    let broken = "\n{\"text\": 3}\n";
    fails(
        &[&all, broken, &all, special, &all],
        "row 31 of `1` is no document: `text` is a number",
    );
    fails(
        &[&all, special, broken, special],
        "failed to encode row 30 of `1`",
    );
    fails(&[broken, special], "row 1 of `1` is no document");
    let long = format!("{{\"text\": \"{}\"}}\n", "a".repeat(1000));
    fails(
        &[&all, &long, broken],
        "row 30 of `1` is no document: the row has 1013 bytes, more than the limit of 1000",
    );
    fails(
        &[&all, "{\"text\": \"\\", "x\"}"],
        "row 30 of `1` is no document: broken JSON at column 12",
    );
}

#[test]
fn a_position_in_a_row_starts_at_its_first_character() {
    let tokenizer = tokenizer();
    let line = b"\xef\xbb\xbf  {\"text\": \"\xff\"}\r\n";
    let message = check(&tokenizer, &[line]).unwrap_err();
    assert!(
        message.ends_with("invalid UTF-8 at byte 10 of the row"),
        "{message}"
    );
}
