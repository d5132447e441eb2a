//! A report like that of a real run, to test the page with and to look at.
//!
//! Its numbers of documents are those of the data sets that the StableLM-3B-4E1T card names; what
//! is dropped and kept of them is made up.

use std::collections::BTreeMap;

use crate::document::Split;
use crate::mixture;
use crate::recipe::{Sampling, SourceKind};
use crate::report::{
    Books3Report, DroppedSample, Histogram, Report, SourceReport, SplitReport, StageReport,
    SubsetReport,
};

/// Of a stage: its name, and of each reason how many of a million documents it drops.
type Stage = (&'static str, &'static [(&'static str, u64)]);

const GOPHER: Stage = (
    "gopher-quality",
    &[
        ("gopher_below_alpha_threshold", 91_240),
        ("gopher_short_doc", 52_117),
        ("gopher_too_many_end_ellipsis", 8_031),
        ("gopher_enough_stop_words", 6_420),
        ("gopher_too_many_bullets", 2_215),
        ("gopher_above_avg", 1_204),
        ("gopher_below_avg", 702),
        ("gopher_too_many_hashes", 95),
        ("gopher_long_doc", 14),
    ],
);
const REPETITION: Stage = (
    "gopher-repetition",
    &[
        ("dup_line_frac", 31_870),
        ("duplicated_5_n_grams", 22_404),
        ("top_2_gram", 9_903),
        ("dup_para_char_frac", 411),
    ],
);
const DEDUP: Stage = (
    "dedup",
    &[("minhash_duplicate", 61_005), ("exact_duplicate", 18_733)],
);
const READ: Stage = ("read", &[("bad_json", 12), ("empty_text", 240)]);

const WEB: &[Stage] = &[
    READ,
    ("books3", &[("fingerprint", 3)]),
    (
        "url",
        &[
            ("domain_blocklist", 20_440),
            ("soft_words", 1_120),
            ("hard_words", 3_007),
        ],
    ),
    ("language", &[("language_score", 14_556)]),
    GOPHER,
    REPETITION,
    (
        "fineweb-quality",
        &[
            ("line_punct_ratio", 70_120),
            ("short_line_ratio", 41_088),
            ("char_dup_ratio", 33_190),
            ("list_ratio", 16_001),
        ],
    ),
    DEDUP,
];
const PILE: &[Stage] = &[
    READ,
    (
        "books3",
        &[("subset_name", 933), ("title", 41), ("fingerprint", 12)],
    ),
    GOPHER,
    REPETITION,
    DEDUP,
];
const CODE: &[Stage] = &[
    READ,
    ("books3", &[]),
    (
        "code-quality",
        &[
            ("max_line_length", 44_120),
            ("alphanum_fraction", 12_540),
            ("average_line_length", 9_018),
            ("xml", 3_300),
        ],
    ),
    DEDUP,
];
const PAPERS: &[Stage] = &[
    READ,
    ("books3", &[]),
    ("length", &[("too_short", 80_100), ("too_long", 55)]),
    DEDUP,
];

/// A run over five sources.
pub(super) fn report() -> Report {
    use SourceKind::{FalconRefinedweb, Pes2o, Pile, Redpajama, Starcoderdata};
    let sources = vec![
        source(
            "refinedweb",
            FalconRefinedweb,
            968_000_015,
            2_858,
            WEB,
            &[("ODC-By-1.0", 100)],
        ),
        source(
            "redpajama",
            Redpajama,
            930_514_322,
            4_830,
            WEB,
            &[
                ("ODC-By-1.0", 74),
                ("NOASSERTION", 15),
                ("CC-BY-SA-3.0", 9),
                ("LicenseRef-arXiv-mixed", 2),
            ],
        ),
        source(
            "pile",
            Pile,
            210_607_728,
            5_910,
            PILE,
            &[("NOASSERTION", 100)],
        ),
        source(
            "starcoder",
            Starcoderdata,
            206_640_114,
            4_020,
            CODE,
            &[("LicenseRef-TheStack-ToU", 100)],
        ),
        source(
            "pes2o",
            Pes2o,
            38_972_211,
            6_430,
            PAPERS,
            &[("ODC-By-1.0", 100)],
        ),
    ];
    let sum = |value: fn(&SourceReport) -> u64| sources.iter().map(value).sum::<u64>();
    let weights = [2.4, 3.0, 0.9, 1.4, 1.6];
    let planned: Vec<_> = sources
        .iter()
        .zip(weights)
        .map(|(source, weight)| {
            let tokens = source.splits[&Split::Train].tokens;
            (source.name.as_str(), Sampling::Weight(weight), tokens)
        })
        .collect();
    Report {
        name: "stablelm-3b-4e1t".to_owned(),
        seed: 1234,
        documents_in: sum(|source| source.documents_in),
        documents_kept: sum(|source| source.documents_kept),
        bytes_in: sum(|source| source.bytes_in),
        bytes_kept: sum(|source| source.bytes_kept),
        tokens: sum(|source| source.tokens),
        special_tokens_found: sum(|source| source.special_tokens_found),
        books3: books3(&sources),
        mixture: mixture::plan(&planned, Some(4_000_000_000_000)),
        sources,
    }
}

fn books3(sources: &[SourceReport]) -> Books3Report {
    let mut by_rule = BTreeMap::from([("book_row".to_owned(), 0)]);
    let stages = sources.iter().map(|source| &source.stages[1]);
    for (rule, documents) in stages.clone().flat_map(|stage| &stage.reasons) {
        *by_rule.entry(rule.clone()).or_default() += documents;
    }
    Books3Report {
        documents_checked: stages.map(|stage| stage.documents_in).sum(),
        documents_excluded: by_rule.values().sum(),
        by_rule,
        remaining: 0,
        quarantined: 17,
        titles: 183_244,
        fingerprints: 196_640,
        lists_sha256: "7a1c0e5f9b3d48261f0c7be5d94a2368c0fd1b7e6a35942d8870fe21c6b9d034".to_owned(),
    }
}

fn source(
    name: &str,
    kind: SourceKind,
    documents_in: u64,
    bytes_per_document: u64,
    stages: &[Stage],
    licenses: &[(&str, u64)],
) -> SourceReport {
    let mut left = documents_in;
    let stages: Vec<_> = stages
        .iter()
        .map(|(stage, reasons)| {
            let reasons: BTreeMap<String, u64> = reasons
                .iter()
                .map(|(reason, per_million)| {
                    ((*reason).to_owned(), documents_in * per_million / 1_000_000)
                })
                .filter(|(_, documents)| *documents > 0)
                .collect();
            let documents = left;
            left -= reasons.values().sum::<u64>();
            StageReport {
                name: (*stage).to_owned(),
                documents_in: documents,
                documents_out: left,
                bytes_in: documents * bytes_per_document,
                bytes_out: left * bytes_per_document,
                samples: samples(name, &reasons),
                reasons,
            }
        })
        .collect();
    let tokens = left * bytes_per_document / 4;
    let part = |percent: u64| SplitReport {
        documents: left / 100 * percent,
        tokens: tokens / 100 * percent,
    };
    let splits = [(Split::Train, 98), (Split::Valid, 1), (Split::Test, 1)];
    let licenses = licenses.iter();
    SourceReport {
        name: name.to_owned(),
        kind,
        documents_in,
        documents_kept: left,
        bytes_in: documents_in * bytes_per_document,
        bytes_kept: left * bytes_per_document,
        tokens,
        special_tokens_found: documents_in / 9_973,
        quarantined: documents_in * 12 / 1_000_000,
        unknown_subset_documents: 0,
        splits: splits.map(|(split, percent)| (split, part(percent))).into(),
        subsets: subsets(kind, left, tokens),
        licenses: licenses
            .map(|(license, percent)| ((*license).to_owned(), part(*percent)))
            .collect(),
        tokens_histogram: bell(left, bytes_per_document / 4),
        characters_histogram: bell(left, bytes_per_document),
        dropped: dropped(name, &stages),
        stages,
    }
}

fn samples(source: &str, reasons: &BTreeMap<String, u64>) -> BTreeMap<String, Vec<String>> {
    let sample = |(reason, documents): (&String, &u64)| {
        let rows = (0..3).map(|n| format!("{source}/part-00{n}.parquet:{}", documents % (997 + n)));
        (reason.clone(), rows.collect())
    };
    reasons.iter().map(sample).collect()
}

fn subsets(kind: SourceKind, documents: u64, tokens: u64) -> BTreeMap<String, SubsetReport> {
    let names: &[&str] = match kind {
        SourceKind::Redpajama => &["common_crawl", "c4", "github", "stackexchange", "wikipedia"],
        SourceKind::Pile => &["Pile-CC", "PubMed Central", "OpenWebText2", "FreeLaw"],
        SourceKind::Starcoderdata => &["python", "java", "javascript", "rust"],
        _ => &[],
    };
    let mut part = 2;
    let subset = |name: &&str| {
        let (documents, tokens) = (documents / part, tokens / part);
        part *= 2;
        let counts = SubsetReport {
            documents_in: documents * 5 / 3,
            documents_kept: documents,
            tokens,
        };
        ((*name).to_owned(), counts)
    };
    names.iter().map(subset).collect()
}

/// A histogram that falls by a factor that grows with the distance from `middle`.
fn bell(documents: u64, middle: u64) -> Histogram {
    let middle = i64::from(middle.ilog2());
    let height = |bucket: i64| {
        let away = (bucket - middle).unsigned_abs();
        documents * 3 / 10 / (1 << (away * (away + 1) / 2).min(60))
    };
    Histogram {
        buckets: (0..middle + 7).map(height).collect(),
    }
}

fn dropped(source: &str, stages: &[StageReport]) -> Vec<DroppedSample> {
    let excerpts = [
        "Home | About | Contact\nSign in to continue reading …\n\tRead more...",
        "1,204 likes\n88 comments\nShare this\nShare this\nShare this",
        "<script>alert(\"not run\")</script> & other markup",
        "invoice\u{202e}fdp.exe looks like another name\u{200b}",
        "Die Straße ist naß. Ἡ γλῶσσα. 日本語のテキスト。",
    ];
    let reasons = stages.iter().flat_map(|stage| {
        let reasons = stage.reasons.keys();
        reasons.map(move |reason| (stage.name.clone(), reason.clone()))
    });
    let sample = |(index, (stage, reason)): (usize, (String, String))| {
        let measured = !matches!(stage.as_str(), "read" | "books3" | "dedup" | "url");
        DroppedSample {
            value: measured.then_some(0.7341 + index as f64 / 100.0),
            threshold: measured.then_some(0.8),
            id: format!("{source}/part-000.parquet:{}", 41 * index),
            excerpt: if stage == "books3" {
                String::new()
            } else {
                excerpts[index % excerpts.len()].to_owned()
            },
            stage,
            reason,
        }
    };
    reasons.enumerate().map(sample).collect()
}
