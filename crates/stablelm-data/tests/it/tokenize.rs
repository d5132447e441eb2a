//! Tokenizing without a recipe.

use std::io::BufRead;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::StringArray;
use stablelm_data::{IndexedDataset, TokenizeError, TokenizeOptions, TokenizeSummary, tokenize};
use stablelm_tokenizer::{SpecialTokensInOutput, SpecialTokensInText, Tokenizer};

use crate::scratch::Scratch;

fn options<'a>(
    inputs: &'a [PathBuf],
    tokenizer: &'a Tokenizer,
    output_prefix: &'a Path,
) -> TokenizeOptions<'a> {
    TokenizeOptions {
        inputs,
        text_key: "text",
        append_eod: true,
        special: SpecialTokensInText::Escape,
        tokenizer,
        output_prefix,
        threads: NonZeroUsize::new(2).unwrap(),
        memory_limit: 1 << 20,
    }
}

fn run(
    scratch: &Scratch,
    inputs: &[&str],
    stdin: Option<&[u8]>,
) -> Result<TokenizeSummary, TokenizeError> {
    let path = |name: &&str| {
        if *name == "-" {
            PathBuf::from("-")
        } else {
            scratch.path(name)
        }
    };
    let inputs: Vec<_> = inputs.iter().map(path).collect();
    let mut stdin = stdin;
    let stdin = stdin
        .as_mut()
        .map(|bytes| bytes as &mut (dyn BufRead + Send));
    tokenize(
        &options(&inputs, &scratch.tokenizer, &scratch.path("out")),
        stdin,
    )
}

fn texts(scratch: &Scratch) -> Vec<String> {
    let dataset = IndexedDataset::open(&scratch.path("out_text_document")).unwrap();
    let eod = scratch.tokenizer.end_of_document().unwrap();
    (0..dataset.num_documents)
        .map(|document| {
            let mut ids = dataset.read_document(document).unwrap();
            assert_eq!(ids.pop(), Some(eod));
            scratch
                .tokenizer
                .decode(&ids, SpecialTokensInOutput::Keep)
                .unwrap()
        })
        .collect()
}

#[test]
fn files_tables_and_standard_input_are_read_in_order() {
    let scratch = Scratch::new();
    scratch.write(
        "one.jsonl",
        "{\"text\": \"first\"}\n\n{\"text\": \"\"}\n{\"text\": \"second\"}\n",
    );
    scratch.write_table(
        "two.parquet",
        vec![("text", Arc::new(StringArray::from(vec!["third"])))],
    );
    let stdin = zstd::encode_all(&b"{\"text\": \"fourth <|endoftext|>\"}"[..], 1).unwrap();
    let summary = run(&scratch, &["one.jsonl", "two.parquet", "-"], Some(&stdin)).unwrap();
    assert_eq!(
        (
            summary.documents,
            summary.skipped,
            summary.special_tokens_found
        ),
        (4, 1, 1)
    );
    assert_eq!(summary.bytes_in, 36);
    assert_eq!(
        texts(&scratch),
        ["first", "second", "third", "fourth <|endoftext|>"]
    );
}

#[test]
fn a_broken_row_is_an_error_that_names_file_and_row_and_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.write("one.jsonl", "{\"text\": \"first\"}\n\n{\"text\": 3}\n");
    let error = run(&scratch, &["one.jsonl"], None).unwrap_err();
    assert!(
        matches!(error, TokenizeError::Row { row: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("one.jsonl"), "{error}");
    let mut left = std::fs::read_dir(scratch.path("")).unwrap();
    assert!(left.all(|entry| entry.unwrap().file_name() == "one.jsonl"));
}

#[test]
fn standard_input_has_to_be_there_and_only_once() {
    let scratch = Scratch::new();
    assert!(matches!(
        run(&scratch, &["-"], None),
        Err(TokenizeError::NoStdin)
    ));
    assert!(matches!(
        run(&scratch, &["-", "-"], Some(b"")),
        Err(TokenizeError::NoStdin)
    ));
}

#[test]
fn special_tokens_are_refused_where_that_is_asked_for() {
    let scratch = Scratch::new();
    scratch.write(
        "one.jsonl",
        "{\"text\": \"a\"}\n{\"text\": \"b <|endoftext|>\"}\n",
    );
    let inputs = [scratch.path("one.jsonl")];
    let prefix = scratch.path("out");
    let options = TokenizeOptions {
        special: SpecialTokensInText::Error,
        ..options(&inputs, &scratch.tokenizer, &prefix)
    };
    let error = tokenize(&options, None).unwrap_err();
    assert!(
        matches!(error, TokenizeError::Encode { row: 1, .. }),
        "{error}"
    );
}
