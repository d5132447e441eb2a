//! The small tokenizer that the repository carries.

use std::fs;
use std::thread;

use proptest::prelude::*;
use stablelm_tokenizer::{
    DecodeError, EncodeError, SpecialTokensInOutput, SpecialTokensInText, Tokenizer, TokenizerError,
};

use crate::inputs::{FIXTURE, fixture_path, ids, nfc, texts};

#[test]
fn has_the_layout_of_neox() {
    assert_eq!(FIXTURE.vocab_size(), 1000);
    assert_eq!(FIXTURE.end_of_document().unwrap(), 0);
    let special: Vec<_> = FIXTURE
        .special_tokens()
        .iter()
        .map(|token| (token.id, token.text.as_str()))
        .collect();
    assert_eq!(special, [(0, "<|endoftext|>"), (1, "<|padding|>")]);
    for num_spaces in 2..=24 {
        let spaces = " ".repeat(num_spaces);
        assert_eq!(
            ids(
                &FIXTURE,
                &format!("a{spaces}b"),
                SpecialTokensInText::Escape
            )[1],
            1001 - u32::try_from(num_spaces).unwrap()
        );
    }
}

#[test]
fn says_where_it_comes_from() {
    let bytes = fs::read(fixture_path()).unwrap();
    assert_eq!(FIXTURE.bytes(), bytes);
    assert_eq!(FIXTURE.sha256().len(), 64);
    assert_eq!(
        FIXTURE.sha256(),
        Tokenizer::from_bytes(&bytes).unwrap().sha256()
    );
    assert_eq!(FIXTURE.engine(), "stablelm");
}

#[test]
fn a_folder_will_do() {
    let folder = Tokenizer::from_file(fixture_path().parent().unwrap()).unwrap();
    assert_eq!(folder.sha256(), FIXTURE.sha256());
}

#[test]
fn every_id_has_a_token_and_no_other_has() {
    for id in 0..1000 {
        FIXTURE.decode(&[id], SpecialTokensInOutput::Keep).unwrap();
    }
    for id in [1000, 1023, u32::MAX] {
        let error = FIXTURE
            .decode(&[5, id], SpecialTokensInOutput::Keep)
            .unwrap_err();
        assert!(
            matches!(error, DecodeError::UnknownId { id: found, vocab_size: 1000 } if found == id)
        );
    }
}

#[test]
fn the_corpus_survives_a_round_trip_in_short() {
    let mut num_bytes = 0;
    let mut num_ids = 0;
    for document in stablelm_testkit::corpus(99, 100) {
        let ids = ids(&FIXTURE, &document.text, SpecialTokensInText::Escape);
        let text = FIXTURE.decode(&ids, SpecialTokensInOutput::Keep).unwrap();
        assert_eq!(text, document.text);
        num_bytes += text.len();
        num_ids += ids.len();
    }
    assert!(num_bytes > 3 * num_ids, "{num_bytes} bytes, {num_ids} ids");
}

#[test]
fn threads_share_one_tokenizer() {
    let documents = stablelm_testkit::corpus(5, 60);
    let encode = || -> Vec<Vec<u32>> {
        let policies = [SpecialTokensInText::Encode, SpecialTokensInText::Escape];
        documents
            .iter()
            .flat_map(|document| policies.map(|policy| ids(&FIXTURE, &document.text, policy)))
            .collect()
    };
    let expected = encode();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(encode)).collect();
        for thread in threads {
            assert!(thread.join().unwrap() == expected);
        }
    });
}

#[test]
fn a_batch_has_the_ids_of_its_texts() {
    let documents = stablelm_testkit::corpus(6, 80);
    let texts: Vec<&str> = documents
        .iter()
        .map(|document| document.text.as_str())
        .collect();
    let batch = FIXTURE
        .encode_batch::<u32>(&texts, SpecialTokensInText::Escape)
        .unwrap();
    for (text, found) in texts.iter().zip(batch) {
        assert_eq!(found, ids(&FIXTURE, text, SpecialTokensInText::Escape));
    }
    let refused = ["a", "b<|padding|>", "<|endoftext|>"];
    let error = FIXTURE
        .encode_batch::<u16>(&refused, SpecialTokensInText::Error)
        .unwrap_err();
    assert!(matches!(error, EncodeError::SpecialToken { offset: 1, .. }));
}

#[test]
fn ids_that_do_not_fit_are_refused() {
    let mut file: serde_json::Value = serde_json::from_slice(FIXTURE.bytes()).unwrap();
    file["model"]["vocab"]["far"] = 70_000.into();
    let tokenizer = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap();
    let mut ids = vec![3_u16];
    let error = tokenizer
        .encoder()
        .encode_into("a", SpecialTokensInText::Escape, &mut ids);
    assert!(matches!(
        error,
        Err(EncodeError::TooNarrow {
            vocab_size: 70_001,
            max_id: 65_535
        })
    ));
    assert_eq!(ids, [3]);
}

#[test]
fn other_tokenizers_are_left_to_the_library() {
    let original: serde_json::Value = serde_json::from_slice(FIXTURE.bytes()).unwrap();
    let check = |pointer: &str, value: serde_json::Value| {
        let mut file = original.clone();
        *file.pointer_mut(pointer).unwrap() = value;
        let tokenizer = Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap();
        assert_eq!(tokenizer.engine(), "huggingface", "{pointer}");
        let library = tokenizers::Tokenizer::from_bytes(file.to_string().as_bytes()).unwrap();
        let text = "The keeper  lit <|endoftext|> the lamp's e\u{301}";
        let expected = library.encode_fast(text, false).unwrap();
        assert_eq!(
            ids(&tokenizer, text, SpecialTokensInText::Encode),
            expected.get_ids()
        );
        tokenizer.why_not_fast().unwrap()
    };
    let reason = check("/normalizer", serde_json::json!({ "type": "NFKC" }));
    assert_eq!(reason, "its normalizer is `NFKC`");
    let reason = check("/pre_tokenizer/add_prefix_space", true.into());
    assert_eq!(reason, "`add_prefix_space` is set");
    let reason = check("/pre_tokenizer/use_regex", false.into());
    assert_eq!(reason, "`use_regex: false` is set");
    let reason = check("/added_tokens/0/lstrip", true.into());
    assert_eq!(
        reason,
        "the added token `<|endoftext|>` is more than plain text"
    );
}

#[test]
fn a_missing_file_is_named() {
    let path = fixture_path().with_file_name("absent.json");
    let error = Tokenizer::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("absent.json"), "{error}");
    assert!(matches!(error, TokenizerError::Read { .. }));
}

#[test]
fn a_file_that_is_no_tokenizer_is_named() {
    let path = fixture_path().with_file_name("README.md");
    let error = Tokenizer::from_file(&path).unwrap_err();
    assert!(error.to_string().contains("README.md"), "{error}");
    let TokenizerError::InFile { source, .. } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*source, TokenizerError::Parse { .. }));
}

proptest! {
    #[test]
    fn decoding_gives_back_the_text_in_nfc(text in texts()) {
        let ids = ids(&FIXTURE, &text, SpecialTokensInText::Escape);
        let decoded = FIXTURE.decode(&ids, SpecialTokensInOutput::Keep).unwrap();
        prop_assert_eq!(decoded, nfc(&text));
    }
}
