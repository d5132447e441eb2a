//! Indexed datasets are byte-equal to those of GPT-NeoX. The golden values were made by its
//! `preprocess_data.py --append-eod --dataset-impl mmap`.

use std::num::NonZeroUsize;
use std::path::Path;

use stablelm_data::{IndexedDataset, TokenDtype, TokenizeOptions, tokenize};
use stablelm_tokenizer::{SpecialTokensInText, Tokenizer};

use crate::scratch::hex_sha256;

fn sha256(path: &Path) -> String {
    hex_sha256(&std::fs::read(path).unwrap())
}

#[test]
fn the_dataset_of_gpt_neox_is_made_to_the_byte() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: there are no golden values beside the repository");
        return;
    };
    let golden = std::fs::read(oracles.join("data/neox_indexed_dataset.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&golden).unwrap();
    let tokenizer = oracles.join("tokenizer/gpt-neox-20b.tokenizer.json");
    let tokenizer = Tokenizer::from_file(&tokenizer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let summary = tokenize(
        &TokenizeOptions {
            inputs: &[oracles.join("data/docs.jsonl.gz")],
            text_key: "text",
            append_eod: true,
            special: SpecialTokensInText::Encode,
            tokenizer: &tokenizer,
            output_prefix: &folder.path().join("docs"),
            threads: NonZeroUsize::new(2).unwrap(),
            memory_limit: 4 << 20,
        },
        None,
    )
    .unwrap();

    assert_eq!(golden["documents"], summary.documents);
    assert_eq!(golden["tokens_with_eod"], summary.tokens);
    assert_eq!((summary.skipped, summary.dtype), (0, TokenDtype::U16));
    let prefix = folder.path().join("docs_text_document");
    assert_eq!(summary.prefix, prefix);
    assert_eq!(golden["bin_sha256"], sha256(&prefix.with_extension("bin")));
    assert_eq!(golden["idx_sha256"], sha256(&prefix.with_extension("idx")));
    let dataset = IndexedDataset::open(&prefix).unwrap();
    assert_eq!(dataset.num_tokens, summary.tokens);
    let last = dataset.read_document(dataset.num_documents - 1).unwrap();
    assert_eq!(last.last(), Some(&0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
