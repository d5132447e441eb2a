//! Special tokens that stand literally in a text, and in the output.

use proptest::prelude::*;
use stablelm_tokenizer::{
    EncodeError, SpecialTokensInOutput, SpecialTokensInText, Tokenizer, TokenizerError,
};

use crate::inputs::{FIXTURE, ids, metaspace, texts};

const TEXT: &str = "é <|endoftext|>the lamp<|padding|><|endoftext|>";

#[test]
fn escaped_ones_become_plain_text() {
    let encoding = FIXTURE.encode(TEXT, SpecialTokensInText::Escape).unwrap();
    assert_eq!(encoding.special_tokens_found, 3);
    assert!(!encoding.ids.iter().any(|&id| id < 2));
    let text = FIXTURE.decode(&encoding.ids, SpecialTokensInOutput::Skip);
    assert_eq!(text.unwrap(), TEXT);
}

#[test]
fn dropped_ones_leave_the_rest() {
    let encoding = FIXTURE.encode(TEXT, SpecialTokensInText::Drop).unwrap();
    assert_eq!(encoding.special_tokens_found, 3);
    assert_eq!(
        encoding.ids,
        ids(&FIXTURE, "é the lamp", SpecialTokensInText::Escape)
    );
}

#[test]
fn dropping_leaves_none_that_it_joined() {
    let text = "a<|endof<|padding|>text|>b";
    let encoding = FIXTURE.encode(text, SpecialTokensInText::Drop).unwrap();
    assert_eq!(encoding.special_tokens_found, 2);
    assert_eq!(
        encoding.ids,
        ids(&FIXTURE, "ab", SpecialTokensInText::Escape)
    );
}

#[test]
fn a_refusal_says_which_and_where() {
    let error = FIXTURE
        .encode(TEXT, SpecialTokensInText::Error)
        .unwrap_err();
    assert!(matches!(error, EncodeError::SpecialToken { offset: 3, .. }));
    assert_eq!(
        error.to_string(),
        "expected no special token in the text, found `<|endoftext|>` at byte 3"
    );
    let encoding = FIXTURE.encode("the lamp", SpecialTokensInText::Error);
    assert_eq!(encoding.unwrap().special_tokens_found, 0);
}

#[test]
fn encoded_ones_become_their_ids() {
    let encoding = FIXTURE.encode(TEXT, SpecialTokensInText::Encode).unwrap();
    assert_eq!(encoding.special_tokens_found, 3);
    let special: Vec<u32> = encoding.ids.iter().copied().filter(|&id| id < 2).collect();
    assert_eq!(special, [0, 1, 0]);
    let keep = FIXTURE.decode(&encoding.ids, SpecialTokensInOutput::Keep);
    assert_eq!(keep.unwrap(), TEXT);
    let skip = FIXTURE.decode(&encoding.ids, SpecialTokensInOutput::Skip);
    assert_eq!(skip.unwrap(), "é the lamp");
}

#[test]
fn a_vocabulary_that_can_not_escape_is_refused() {
    let tokenizer = Tokenizer::from_bytes(metaspace().to_string().as_bytes()).unwrap();
    let error = tokenizer
        .encode("the [UNK]", SpecialTokensInText::Escape)
        .unwrap_err();
    assert!(matches!(error, EncodeError::NotEscaped { token } if token == "[UNK]"));
}

#[test]
fn a_vocabulary_without_an_end_of_document_lists_what_it_has() {
    let tokenizer = Tokenizer::from_bytes(metaspace().to_string().as_bytes()).unwrap();
    let error = tokenizer.end_of_document().unwrap_err();
    assert!(matches!(error, TokenizerError::NoEndOfDocument { .. }));
    assert_eq!(
        error.to_string(),
        "expected the token `<|endoftext|>` to end documents with, found the special tokens `[UNK]`"
    );
}

proptest! {
    #[test]
    fn only_encode_gives_special_ids(text in texts()) {
        for policy in [SpecialTokensInText::Escape, SpecialTokensInText::Drop] {
            prop_assert!(!ids(&FIXTURE, &text, policy).iter().any(|&id| id < 2));
        }
        let encoding = FIXTURE.encode(&text, SpecialTokensInText::Encode).unwrap();
        let num_special = encoding.ids.iter().filter(|&&id| id < 2).count() as u64;
        prop_assert_eq!(num_special, encoding.special_tokens_found);
        let refused = FIXTURE.encode(&text, SpecialTokensInText::Error).is_err();
        prop_assert_eq!(refused, num_special > 0);
    }
}
