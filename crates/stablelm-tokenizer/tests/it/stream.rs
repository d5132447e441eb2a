//! Decoding one id at a time.

use std::time::Instant;

use proptest::prelude::*;
use stablelm_tokenizer::{DecodeError, SpecialTokensInOutput, SpecialTokensInText, Tokenizer};

use crate::inputs::{FIXTURE, ids, metaspace, oracle};

/// Checks that the parts joined are the whole, and that no part ends inside a character.
fn check(tokenizer: &Tokenizer, ids: &[u32]) {
    let mut stream = tokenizer.decode_stream();
    let mut text = String::new();
    for &id in ids {
        text.push_str(&stream.push(id).unwrap());
    }
    text.push_str(&stream.finish());
    assert_eq!(
        text,
        tokenizer.decode(ids, SpecialTokensInOutput::Keep).unwrap()
    );
    assert_eq!(stream.finish(), "");
}

#[test]
fn a_character_comes_when_its_last_byte_does() {
    let ids = ids(&FIXTURE, "漢", SpecialTokensInText::Escape);
    assert_eq!(ids.len(), 3, "the fixture has no token for half of it");
    let mut stream = FIXTURE.decode_stream();
    let parts: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(parts, ["", "", "漢"]);
    assert_eq!(stream.finish(), "");
}

#[test]
fn an_unfinished_character_is_replaced_at_the_end() {
    let ids = ids(&FIXTURE, "漢", SpecialTokensInText::Escape);
    let mut stream = FIXTURE.decode_stream();
    assert_eq!(stream.push(ids[0]).unwrap(), "");
    assert_eq!(stream.finish(), "\u{FFFD}");
}

#[test]
fn an_unknown_id_leaves_the_stream_as_it_was() {
    let ids = ids(&FIXTURE, "漢", SpecialTokensInText::Escape);
    let mut stream = FIXTURE.decode_stream();
    stream.push(ids[0]).unwrap();
    let error = stream.push(1000).unwrap_err();
    assert!(matches!(error, DecodeError::UnknownId { id: 1000, .. }));
    stream.push(ids[1]).unwrap();
    assert_eq!(stream.push(ids[2]).unwrap(), "漢");
}

#[test]
fn words_of_a_library_decoder_come_one_by_one() {
    let tokenizer = Tokenizer::from_bytes(metaspace().to_string().as_bytes()).unwrap();
    let ids = ids(&tokenizer, "the lamp burns", SpecialTokensInText::Escape);
    assert_eq!(ids, [1, 2, 3], "truncation in the file is left out");
    let mut stream = tokenizer.decode_stream();
    let parts: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(parts, ["the", " lamp", " burns"]);
    check(&tokenizer, &[3, 3, 0, 2, 1, 1]);
}

#[test]
fn a_long_stream_takes_time_in_proportion() {
    let ids: Vec<u32> = (0..2_000_000).map(|n| 2 + n % 990).collect();
    let start = Instant::now();
    check(&FIXTURE, &ids);
    // Decoding everything again for each id would take hours.
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn streaming_any_ids_of_neox_gives_what_decoding_gives() {
    let Some((_, tokenizer)) = oracle() else {
        return;
    };
    proptest!(|(ids in prop::collection::vec(0..50_277_u32, 0..60))| {
        check(&tokenizer, &ids);
    });
}

proptest! {
    #[test]
    fn streaming_any_ids_gives_what_decoding_gives(
        // Single bytes more often than not, because they break characters.
        ids in prop::collection::vec(prop_oneof![2..258_u32, 0..1000_u32], 0..60),
    ) {
        check(&FIXTURE, &ids);
    }
}
