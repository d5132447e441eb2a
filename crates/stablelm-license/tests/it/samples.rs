//! Ledgers and facts that several tests use.

use stablelm_license::{
    BomContext, ChangeKind, CroissantDataset, CroissantFile, Exclusion, Ledger, ModelFacts,
    NewChange, Registry, ReleaseFile, SourceUse,
};

/// The published model, converted once.
pub(crate) fn converted() -> Ledger {
    let registry = Registry::builtin();
    let mut ledger = Ledger::for_model(registry.get("stablelm-3b-4e1t").expect("known"));
    ledger.record(change(
        ChangeKind::Format,
        "GPT-NeoX checkpoint to safetensors",
    ));
    ledger.record(change(
        ChangeKind::Reshard,
        "2 tensor-parallel ranks to 1 file",
    ));
    ledger
}

/// A mixture with known, partly known and unknown sources.
pub(crate) fn mixture() -> Ledger {
    let registry = Registry::builtin();
    let source = |name: &str, kind: &str, subset: Option<&str>, documents| SourceUse {
        documents,
        tokens: documents * 100,
        ..SourceUse::from_registry(&registry, name, kind, subset)
    };
    let sources = vec![
        source("web", "falcon-refinedweb", None, 1200),
        source("pile", "pile", Some("Wikipedia (en)"), 30),
        source("pile", "pile", Some("FreeLaw"), 4),
        source("rp", "redpajama", Some("c4"), 5),
        source("code", "starcoderdata", Some("rust"), 6),
        source("own", "jsonl", None, 7),
    ];
    let exclusion = Exclusion {
        component: "books3".to_owned(),
        documents_excluded: 9,
        by_rule: [("subset-name".to_owned(), 9)].into(),
        quarantined: 1,
        remaining: 0,
    };
    Ledger::for_mixture("demo mixture", sources, vec![exclusion], &registry)
}

/// The numbers of the published model.
pub(crate) fn facts() -> ModelFacts {
    ModelFacts {
        architecture: "StableLmForCausalLM".to_owned(),
        parameters: 2_795_443_200,
        dtype: "bf16".to_owned(),
        context: 4096,
        tokenizer: "GPT-NeoX-20B".to_owned(),
        library_name: "transformers".to_owned(),
    }
}

/// A prepared data set of two files.
pub(crate) fn dataset() -> CroissantDataset {
    let file = |name: &str, encoding_format: &str| CroissantFile {
        name: name.to_owned(),
        size: 3,
        // Of the bytes `abc`.
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        encoding_format: encoding_format.to_owned(),
        content_url: format!("tokens/{name}"),
    };
    CroissantDataset {
        name: "demo-mixture".to_owned(),
        description: "Tokenized training data.".to_owned(),
        url: Some("https://stablelm.example/demo".to_owned()),
        date_published: "2026-11-23".to_owned(),
        creator: Some("Example Org".to_owned()),
        files: vec![
            file("web_train_text_document.bin", "application/octet-stream"),
            file("web_train_text_document.idx", "application/octet-stream"),
        ],
        record_sets: Vec::new(),
        rai: Vec::new(),
        generated_by: None,
    }
}

/// A small release, converted at a fixed time.
pub(crate) fn context() -> BomContext {
    let file = |path: &str| {
        let file = ReleaseFile {
            size: 3,
            // Of the bytes `abc`.
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        };
        (path.to_owned(), file)
    };
    let paths = [
        "model.safetensors",
        "tokenizer.json",
        "NOTICE",
        "bom.spdx3.json",
    ];
    BomContext {
        created: "2026-11-23T12:00:00Z".to_owned(),
        tool_version: "0.1.0".to_owned(),
        files: paths.into_iter().map(file).collect(),
        facts: facts(),
    }
}

/// A change at a fixed time.
pub(crate) fn change(kind: ChangeKind, detail: &str) -> NewChange {
    NewChange {
        when: "2026-11-23T12:00:00Z".to_owned(),
        tool: "stablelm".to_owned(),
        version: "0.1.0".to_owned(),
        kind,
        from_sha256: Some("5e".repeat(32)),
        detail: detail.to_owned(),
    }
}

/// The SHA-256 of bytes in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(bytes);
    digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
