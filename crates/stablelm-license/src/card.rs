//! The model card: a hub `README.md` written from a ledger, and a ledger read from one.

use crate::attribution::{attribution_line, exclusion_sentences, license_with_address, statement};
use crate::card_merge::marked;
use crate::changes::ChangeKind;
use crate::cite::cite_bibtex;
use crate::component::{
    Claim, ClaimKind, ClaimStatus, Component, ComponentKind, Relation, RelationKind,
};
use crate::front_matter::FrontMatter;
use crate::ledger::Ledger;
use crate::notice::{DISCLAIMER, warranty_sentence};
use crate::registry::Registry;
use crate::spdx::{self, NOASSERTION, hub_license_id};
use crate::text::{Page, one_line, thousands, yaml};

/// What a card says about the model itself. What is empty or zero is not known and left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFacts {
    /// The architecture's class, such as `StableLmForCausalLM`.
    pub architecture: String,
    /// How many parameters it has.
    pub parameters: u64,
    /// The type its numbers are stored in, such as `bf16`.
    pub dtype: String,
    /// The longest text it reads, in tokens.
    pub context: u64,
    /// The tokenizer's name.
    pub tokenizer: String,
    /// The library that loads it, such as `transformers`.
    pub library_name: String,
}

/// Returns `README.md`: front matter for the hub, then attribution, license, changes, training
/// data and citation, between marks ([`CARD_BEGIN`](crate::CARD_BEGIN)) that tell what was generated.
pub fn model_card(ledger: &Ledger, facts: &ModelFacts) -> String {
    let mut front = Page::default();
    front_matter(&mut front, ledger, facts);
    let mut page = Page::default();
    page.heading(1, &one_line(&ledger.title));
    page.line(&one_line(&attribution_line(ledger)));
    details(&mut page, ledger, facts);
    license(&mut page, ledger);
    changes(&mut page, ledger);
    training_data(&mut page, ledger);
    page.heading(2, "Citation");
    page.line("```bibtex");
    page.line(cite_bibtex(ledger).trim_end());
    page.line("```");
    page.heading(2, "About This Card");
    page.line(DISCLAIMER);
    format!("{}{}", front.finish(), marked(&page.finish()))
}

/// Returns the ledger of what a hub card describes; `None` when it has no front matter.
///
/// A card whose title the registry knows is that component; what the card itself declares is kept
/// beside the registry's claims. Any other card makes a new component from its own front matter,
/// derived from its `base_model` where it names one.
pub fn ledger_from_card(readme: &str, registry: &Registry) -> Option<Ledger> {
    let (front, body) = FrontMatter::split(readme)?;
    let title = title_of(body).or_else(|| front.first("base_model").map(str::to_owned));
    let title = title.unwrap_or_else(|| "Untitled model".to_owned());
    let known = registry
        .get(&title)
        .filter(|known| known.kind == ComponentKind::Weights);
    let model = match known {
        Some(known) => with_declared(known.clone(), &front),
        None => described(&title, &front, registry),
    };
    let mut ledger = Ledger::for_model_in(&model, registry);
    // Datasets that the registry does not know are named all the same.
    for id in front
        .list("datasets")
        .iter()
        .filter(|id| registry.get(id).is_none())
    {
        let mut dataset = Component::unknown(id, ComponentKind::Dataset);
        dataset.hf_id = Some(id.clone());
        ledger.add(&dataset);
        ledger.connect(&model.id, &dataset.id, RelationKind::TrainedOn);
    }
    Some(ledger)
}

fn front_matter(page: &mut Page, ledger: &Ledger, facts: &ModelFacts) {
    page.line("---");
    hub_license(page, ledger.subject());
    let languages = ledger
        .subject()
        .map_or(&[][..], |subject| &subject.languages);
    yaml_list(page, "language", languages.iter().map(String::as_str));
    if !facts.library_name.is_empty() {
        page.line(&format!("library_name: {}", yaml(&facts.library_name)));
    }
    page.line("pipeline_tag: text-generation");
    if let Some(base) = base_model(ledger) {
        page.line(&format!("base_model: {}", yaml(base)));
        if let Some(relation) = base_relation(ledger) {
            page.line(&format!("base_model_relation: {relation}"));
        }
    }
    yaml_list(
        page,
        "datasets",
        ledger.datasets().filter_map(|dataset| hub_id(dataset)),
    );
    yaml_list(page, "tags", ["causal-lm", "stablelm"].into_iter());
    page.line("---");
}

fn hub_license(page: &mut Page, subject: Option<&Component>) {
    let license = subject.map_or(NOASSERTION, |subject| &subject.license);
    if license == NOASSERTION {
        page.line("license: unknown");
    } else if let Some(id) = hub_license_id(license) {
        page.line(&format!("license: {id}"));
    } else {
        let link = subject.and_then(Component::license_address);
        page.line("license: other");
        page.line(&format!("license_name: {}", yaml(&license_name(license))));
        page.line(&format!(
            "license_link: {}",
            yaml(link.as_deref().unwrap_or("LICENSE"))
        ));
    }
}

/// Makes the lower-case name the hub wants of a license it has no id for.
pub(crate) fn license_name(license: &str) -> String {
    let bare = license.strip_prefix("LicenseRef-").unwrap_or(license);
    bare.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

/// Returns a hub id of the form `name` or `organization/name`; anything else is left out.
fn hub_id(component: &Component) -> Option<&str> {
    let id = component.hf_id.as_deref()?;
    let plain = id.split('/').count() <= 2
        && id.split('/').all(|part| !part.is_empty())
        && !id.contains(char::is_whitespace);
    plain.then_some(id)
}

/// A changed copy is based on what it is a copy of; an unchanged one on what that was made from.
fn base_model(ledger: &Ledger) -> Option<&str> {
    let subject = ledger.subject()?;
    if !ledger.changes.is_empty()
        && let Some(id) = hub_id(subject)
    {
        return Some(id);
    }
    ledger
        .related(&subject.id, RelationKind::DerivedFrom)
        .find_map(hub_id)
}

/// The hub has no relation for a copy in another format, so most changes give none.
fn base_relation(ledger: &Ledger) -> Option<&'static str> {
    let has = |kind| ledger.changes.iter().any(|change| change.kind == kind);
    if has(ChangeKind::Merge) {
        Some("merge")
    } else if has(ChangeKind::Finetune) {
        Some("finetune")
    } else if has(ChangeKind::Quantize) {
        Some("quantized")
    } else {
        None
    }
}

/// Writes a list of front matter; nothing when it is empty.
pub(crate) fn yaml_list<'a>(page: &mut Page, key: &str, values: impl Iterator<Item = &'a str>) {
    let mut seen: Vec<&str> = Vec::new();
    for value in values.filter(|value| !value.is_empty()) {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    if seen.is_empty() {
        return;
    }
    page.line(&format!("{key}:"));
    for value in seen {
        page.line(&format!("- {}", yaml(value)));
    }
}

fn details(page: &mut Page, ledger: &Ledger, facts: &ModelFacts) {
    page.heading(2, "Model Details");
    if let Some(subject) = ledger.subject() {
        page.line(&format!(
            "- **Developed by:** {}",
            one_line(&subject.creators_phrase())
        ));
        if !subject.url.is_empty() {
            page.line(&format!("- **Source:** <{}>", one_line(&subject.url)));
        }
    }
    let parameters = known_number(facts.parameters, "");
    let context = known_number(facts.context, " tokens");
    let rows = [
        ("Model type", &facts.architecture),
        ("Parameters", &parameters),
        ("Data type", &facts.dtype),
        ("Context length", &context),
        ("Tokenizer", &facts.tokenizer),
    ];
    for (label, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        page.line(&format!("- **{label}:** {}", one_line(value)));
    }
}

fn known_number(number: u64, unit: &str) -> String {
    if number == 0 {
        String::new()
    } else {
        format!("{}{unit}", thousands(number))
    }
}

fn license(page: &mut Page, ledger: &Ledger) {
    page.heading(2, "License");
    if let Some(subject) = ledger.subject() {
        page.line(&format!("{}.", one_line(&license_with_address(subject))));
        page.line(&warranty_sentence(subject));
    } else {
        page.line("No license is known.");
    }
    page.line("The files `LICENSE`, `NOTICE` and `CHANGES.json` go with every copy.");
}

fn changes(page: &mut Page, ledger: &Ledger) {
    page.heading(2, "Changes");
    if ledger.changes.is_empty() {
        page.line("None recorded.");
        return;
    }
    let rows = ledger.changes.iter().map(|change| {
        vec![
            change.when.clone(),
            change.kind.name().to_owned(),
            one_line(&format!("{} {}", change.tool, change.version)),
            change.detail.clone(),
        ]
    });
    page.table(
        &[
            ("When", false),
            ("Kind", false),
            ("By", false),
            ("What", false),
        ],
        rows.collect(),
    );
}

fn training_data(page: &mut Page, ledger: &Ledger) {
    page.heading(2, "Training Details");
    page.line("### Training Data");
    page.gap();
    if ledger.datasets().next().is_none() {
        page.line("Not known.");
    }
    for dataset in ledger.datasets() {
        statement(page, dataset);
    }
    if ledger
        .datasets()
        .any(|dataset| ledger.parts(&dataset.id).next().is_some())
    {
        page.gap();
        page.line("The terms of their parts stand in `NOTICE`.");
    }
    for sentence in exclusion_sentences(ledger) {
        page.gap();
        page.line(&sentence);
    }
}

/// Returns the first heading of a card's body, without marks and without what we add to a title.
fn title_of(body: &str) -> Option<String> {
    let heading = body.lines().find_map(|line| line.strip_prefix("# "))?;
    let plain = one_line(&heading.replace(['`', '*'], ""));
    let plain = plain
        .strip_suffix("(converted)")
        .unwrap_or(&plain)
        .trim_end();
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// Adds what a card declares to a known component.
fn with_declared(mut component: Component, front: &FrontMatter) -> Component {
    for value in front.list("license") {
        component.claims.push(declared(value));
    }
    component
}

/// Makes a component of what a card declares.
fn described(title: &str, front: &FrontMatter, registry: &Registry) -> Component {
    let mut component = Component::unknown(title, ComponentKind::Weights);
    let values = front.list("license");
    component
        .claims
        .splice(0..0, values.iter().map(|value| declared(value)));
    component.languages = front.list("language").to_vec();
    if let [only] = values {
        component.license = concluded(only, front.first("license_name"));
        component.license_url = front.first("license_link").map(str::to_owned);
    }
    if !component.is_unlicensed() {
        component.attribution = format!(
            "{title}, {}; its creators are not known.",
            component.license
        );
        for claim in component
            .claims
            .iter_mut()
            .filter(|claim| claim.kind == ClaimKind::Concluded)
        {
            claim.value.clone_from(&component.license);
            "README.md".clone_into(&mut claim.source);
        }
    }
    let related = |key: &str, kind: RelationKind| {
        front.list(key).iter().filter_map(move |id| {
            registry.get(id).map(|known| Relation {
                kind,
                to: known.id.clone(),
            })
        })
    };
    component.relations = related("base_model", RelationKind::DerivedFrom)
        .chain(related("datasets", RelationKind::TrainedOn))
        .collect();
    component
}

/// Concludes a license from one hub id; families and unknown ids stay unknown.
fn concluded(hub_license: &str, name: Option<&str>) -> String {
    if let Some(id) = spdx::spdx_from_hub_id(hub_license) {
        return id.to_owned();
    }
    let is_id = |name: &&str| {
        name.chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    };
    match name.filter(|name| !name.is_empty()).filter(is_id) {
        Some(name) if hub_license == "other" => format!("LicenseRef-{name}"),
        _ => NOASSERTION.to_owned(),
    }
}

fn declared(value: &str) -> Claim {
    Claim {
        value: value.to_owned(),
        kind: ClaimKind::Declared,
        source: "README.md".to_owned(),
        revision: None,
        read: String::new(),
        evidence_sha256: None,
        status: ClaimStatus::Verified,
        note: Some("The front matter of the card that came with the files.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(card: &str) -> Ledger {
        ledger_from_card(card, &Registry::builtin()).expect("the card has front matter")
    }

    #[test]
    fn the_published_card_is_recognized_by_its_title() {
        let found = ledger("---\nlicense: cc-by-sa-4.0\n---\n# `StableLM-3B-4E1T`\n\ntext\n");
        assert_eq!(found.subject.as_deref(), Some("stablelm-3b-4e1t"));
        let subject = found.subject().expect("just checked");
        assert_eq!(subject.claims.last(), Some(&declared("cc-by-sa-4.0")));
    }

    #[test]
    fn a_card_cannot_give_a_known_model_another_license() {
        let found = ledger("---\nlicense: mit\n---\n# StableLM-3B-4E1T\n");
        let subject = found.subject().expect("it has a subject");
        assert_eq!(subject.license, "CC-BY-SA-4.0");
        assert!(subject.claims.contains(&declared("mit")));
    }

    #[test]
    fn a_fine_tune_keeps_its_base_and_its_data() {
        let found = ledger(
            "---\nlicense: cc-by-sa-4.0\nbase_model: stabilityai/stablelm-3b-4e1t\n\
             datasets:\n- someone/some-data\n---\n# My tune\n",
        );
        let subject = found.subject().expect("it has a subject");
        assert_eq!(subject.license, "CC-BY-SA-4.0");
        assert!(found.component("stablelm-3b-4e1t").is_some());
        assert!(
            found
                .datasets()
                .any(|dataset| dataset.hf_id.as_deref() == Some("someone/some-data"))
        );
    }

    #[test]
    fn a_license_is_concluded_only_from_one_clear_id() {
        let check = |front: &str, expected: &str| {
            let found = ledger(&format!("---\n{front}\n---\n# X\n"));
            assert_eq!(
                found.subject().expect("subject").license,
                expected,
                "{front}"
            );
        };
        check("license: apache-2.0", "Apache-2.0");
        check(
            "license: other\nlicense_name: my-terms\nlicense_link: LICENSE",
            "LicenseRef-my-terms",
        );
        check("license: other", "NOASSERTION");
        check("license: cc", "NOASSERTION");
        check("license: [mit, apache-2.0]", "NOASSERTION");
        check("tags: [a]", "NOASSERTION");
    }

    #[test]
    fn a_page_without_front_matter_says_nothing() {
        assert_eq!(
            ledger_from_card("# StableLM-3B-4E1T\n", &Registry::builtin()),
            None
        );
    }
}
