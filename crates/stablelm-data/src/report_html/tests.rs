//! The whole page: that it is sound, harmless and the same twice.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::report::{Books3Report, DroppedSample, Mixture, SplitReport, SubsetReport};

fn page(report: &Report) -> String {
    render(report, None, Some("c0ffee"))
}

/// The values of an attribute, in order.
fn values<'p>(page: &'p str, attribute: &str) -> Vec<&'p str> {
    let start = format!(" {attribute}=");
    page.split(&start)
        .skip(1)
        .map(|rest| match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next().unwrap(),
            None => rest.split([' ', '>']).next().unwrap(),
        })
        .collect()
}

#[test]
fn the_page_needs_nothing_else() {
    let page = page(&sample::report());
    assert!(page.contains("default-src 'none'"));
    for request in [
        "http://", "https://", "url(", "@import", "src=", "<link", "<script>",
    ] {
        assert!(!page.contains(request), "{request}");
    }
}

#[test]
fn every_label_and_link_points_to_something() {
    let page = page(&sample::report());
    let ids: Vec<_> = values(&page, "id");
    let unique: BTreeSet<_> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    let labels = values(&page, "aria-labelledby");
    assert!(labels.len() > 30);
    for id in labels.iter().flat_map(|label| label.split(' ')) {
        assert!(unique.contains(id), "{id}");
    }
    for link in values(&page, "href") {
        assert!(unique.contains(link.trim_start_matches('#')), "{link}");
    }
}

#[test]
fn what_opens_is_closed() {
    let page = page(&sample::report());
    for tag in [
        "html", "head", "body", "main", "header", "nav", "section", "article", "table", "thead",
        "tbody", "dl", "ul", "ol", "details", "summary", "svg", "figure", "p", "pre", "h2", "h3",
    ] {
        let opened =
            page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        let closed = page.matches(&format!("</{tag}>")).count();
        assert_eq!(opened, closed, "{tag}");
    }
}

#[test]
fn the_headline_says_what_was_kept() {
    let report = sample::report();
    let page = page(&report);
    for part in [
        format!(
            "{} of {} documents",
            Grouped(report.documents_kept),
            Grouped(report.documents_in)
        ),
        "968,000,015".to_owned(),
        "None left.".to_owned(),
        "no license stated".to_owned(),
        "c0ffee".to_owned(),
        "stablelm data verify DIR".to_owned(),
        "gopher_below_alpha_threshold".to_owned(),
        "invoice⟨U+202E⟩fdp.exe".to_owned(),
    ] {
        assert!(page.contains(&part), "{part}");
    }
}

#[test]
fn an_empty_report_gives_a_page() {
    let report = Report {
        sources: Vec::new(),
        mixture: Mixture::default(),
        books3: Books3Report::default(),
        documents_in: 0,
        documents_kept: 0,
        bytes_in: 0,
        bytes_kept: 0,
        tokens: 0,
        ..sample::report()
    };
    let page = page(&report);
    assert!(page.contains("No documents came in.") && !page.contains("NaN"));
}

#[test]
fn books3_that_is_left_is_an_alarm() {
    let mut report = sample::report();
    report.books3.remaining = 2;
    let page = page(&report);
    assert!(page.contains("✗ 2 left.") && !page.contains("None left."));
}

#[test]
fn names_and_excerpts_of_others_stay_text() {
    let hostile = "</title></style><script>alert(1)</script>\u{202e}\0\"'&";
    let mut report = sample::report();
    report.name = hostile.to_owned();
    let source = &mut report.sources[0];
    source.name = hostile.to_owned();
    source.stages[0].name = hostile.to_owned();
    let reason = (hostile.to_owned(), 7);
    source.stages[0].reasons = [reason].into();
    source.stages[0].samples = [(hostile.to_owned(), vec![hostile.to_owned()])].into();
    source.subsets = [(hostile.to_owned(), SubsetReport::default())].into();
    source.licenses = [(hostile.to_owned(), SplitReport::default())].into();
    source.dropped = vec![DroppedSample {
        stage: hostile.to_owned(),
        reason: hostile.to_owned(),
        value: Some(f64::NAN),
        threshold: Some(f64::INFINITY),
        id: hostile.repeat(300),
        excerpt: hostile.to_owned(),
    }];
    report.mixture.sources[0].name = hostile.to_owned();
    report.mixture.sources[0].warning = Some(hostile.to_owned());
    report.books3.by_rule = [(hostile.to_owned(), 1)].into();
    report.books3.lists_sha256 = hostile.to_owned();
    let page = render(&report, None, Some(hostile));
    for hidden in ["<script", "\u{202e}", "\0", "alert(1)</"] {
        assert!(!page.contains(hidden), "{hidden:?}");
    }
    assert_eq!(page.matches("</style>").count(), 1);
    assert_eq!(page.matches("</title>").count(), 1);
}

#[test]
fn a_recipe_adds_what_it_says() {
    let recipe = r#"
        name = "demo"
        training_tokens = 4_000_000_000_000
        [tokenizer]
        source = "neox/tokenizer.json"
        [[sources]]
        name = "web"
        kind = "jsonl"
        paths = ["web/*.jsonl"]
    "#;
    let recipe = crate::parse_recipe(recipe, Path::new("recipe.toml")).unwrap();
    let recipe = serde_json::to_value(recipe).unwrap();
    let page = render(&sample::report(), Some(&recipe), None);
    for part in [
        "as the recipe plans",
        "neox/tokenizer.json",
        "4,000,000,000,000",
        "&quot;web/*.jsonl&quot;",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn the_same_report_gives_the_same_page() {
    assert_eq!(page(&sample::report()), page(&sample::report()));
}
