//! The dataset card: a hub `README.md` of prepared data, written from its ledger.

use crate::attribution::{
    data_statements, endorsement, exclusion_sentences, unknown_sources_sentence,
};
use crate::card::{license_name, yaml_list};
use crate::card_merge::marked;
use crate::ledger::Ledger;
use crate::notice::DISCLAIMER;
use crate::spdx::{NOASSERTION, hub_license_id};
use crate::text::{Page, one_line, thousands, yaml};

/// A table of prepared data that the hub's viewer can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardTable {
    /// What the card calls it; unique in the card.
    pub name: String,
    /// The split of its rows and the file that holds them, relative to the card.
    pub files: Vec<(String, String)>,
}

/// Returns `README.md` of prepared data: front matter for the hub, then sources, the statements
/// that their licenses ask for, and what was left out.
pub fn dataset_card(ledger: &Ledger, tables: &[CardTable]) -> String {
    let mut page = Page::default();
    front_matter(&mut page, ledger, tables);
    let mut body = Page::default();
    let title = one_line(&ledger.title);
    body.line(&format!("# {title}"));
    body.gap();
    body.line(
        "Tokens for GPT-NeoX training, with the origin and the license of every document beside \
         them, prepared by `stablelm data prepare`.",
    );
    body.heading(2, "Dataset Details");
    let total = |of: fn(&crate::ledger::SourceUse) -> u64| -> String {
        thousands(ledger.sources.iter().map(of).sum())
    };
    body.line(&format!("- **Documents:** {}", total(|one| one.documents)));
    body.line(&format!("- **Tokens:** {}", total(|one| one.tokens)));
    body.heading(2, "Source Data");
    body.table(
        &[
            ("Source", false),
            ("Subset", false),
            ("Documents", true),
            ("Tokens", true),
            ("License", false),
        ],
        ledger
            .sources
            .iter()
            .map(|source| {
                vec![
                    source.name.clone(),
                    source.subset.clone().unwrap_or_default(),
                    thousands(source.documents),
                    thousands(source.tokens),
                    source.license.clone(),
                ]
            })
            .collect(),
    );
    body.heading(2, "License");
    body.line("Each source keeps its own license. The statements they ask for:");
    body.gap();
    for dataset in ledger.datasets() {
        data_statements(&mut body, ledger, dataset);
    }
    if let Some(sentence) = unknown_sources_sentence(ledger) {
        body.gap();
        body.line(&sentence);
    }
    let left_out = exclusion_sentences(ledger);
    if !left_out.is_empty() {
        body.heading(2, "Left Out");
        for sentence in left_out {
            body.line(&sentence);
        }
    }
    body.heading(2, "Personal and Sensitive Information");
    body.line("Texts may hold personal information. `croissant.json` says what was done about it.");
    body.heading(2, "About This Card");
    body.line(&endorsement(&ledger.datasets().collect::<Vec<_>>()));
    body.gap();
    body.line(DISCLAIMER);
    format!("{}{}", page.finish(), marked(&body.finish()))
}

fn front_matter(page: &mut Page, ledger: &Ledger, tables: &[CardTable]) {
    page.line("---");
    license(page, ledger);
    let languages = ledger.datasets().flat_map(|dataset| &dataset.languages);
    yaml_list(page, "language", languages.map(String::as_str));
    page.line(&format!("pretty_name: {}", yaml(&one_line(&ledger.title))));
    page.line("annotations_creators:\n- no-annotation");
    let documents = ledger.sources.iter().map(|source| source.documents).sum();
    page.line(&format!("size_categories:\n- {}", yaml(size(documents))));
    yaml_list(
        page,
        "source_datasets",
        ledger
            .datasets()
            .filter_map(|dataset| dataset.hf_id.as_deref()),
    );
    page.line("task_categories:\n- text-generation");
    yaml_list(
        page,
        "tags",
        ["gpt-neox", "pretraining", "stablelm"].into_iter(),
    );
    if !tables.is_empty() {
        page.line("configs:");
    }
    for (index, table) in tables.iter().enumerate() {
        page.line(&format!("- config_name: {}", yaml(&one_line(&table.name))));
        if index == 0 {
            page.line("  default: true");
        }
        page.line("  data_files:");
        for (split, path) in &table.files {
            page.line(&format!("  - split: {}", yaml(split)));
            page.line(&format!("    path: {}", yaml(path)));
        }
    }
    page.line("---");
}

/// One license where all sources agree, a list where the hub has a name for each, else `other`.
fn license(page: &mut Page, ledger: &Ledger) {
    let mut licenses: Vec<&str> = Vec::new();
    for source in &ledger.sources {
        if !licenses.contains(&source.license.as_str()) {
            licenses.push(&source.license);
        }
    }
    let ids: Option<Vec<&str>> = licenses.iter().map(|id| hub_license_id(id)).collect();
    match (licenses.as_slice(), ids) {
        ([] | [NOASSERTION], _) => page.line("license: unknown"),
        (_, Some(ids)) => match ids.as_slice() {
            [only] => page.line(&format!("license: {only}")),
            _ => yaml_list(page, "license", ids.into_iter()),
        },
        (several, None) => {
            let name = match several {
                [only] => license_name(only),
                _ => "several-see-attribution".to_owned(),
            };
            page.line("license: other");
            page.line(&format!("license_name: {}", yaml(&name)));
            page.line("license_link: ATTRIBUTION.md");
        }
    }
}

/// Returns the hub's name for how many rows a data set has.
fn size(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        1_000_000_000..10_000_000_000 => "1B<n<10B",
        10_000_000_000..100_000_000_000 => "10B<n<100B",
        100_000_000_000..1_000_000_000_000 => "100B<n<1T",
        _ => "n>1T",
    }
}
