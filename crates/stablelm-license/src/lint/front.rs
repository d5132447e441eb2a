//! The front matter of a card: the keys that the hub reads.

use super::card::Card;
use super::report::{HUB_GATE_SOURCE, HUB_LICENSE_SOURCE, HUB_SOURCE, Report, Rule};
use super::yaml::{Kind, Node};
use crate::finding::Severity;
use crate::spdx;

/// The license ids of the hub, one a line.
const LICENSES: &str = include_str!("../../data/hub-licenses.txt");

/// How many license ids the hub has.
pub const HUB_LICENSES: usize = 83;

const fn rule(id: &'static str, clause: &'static str, severity: Severity) -> Rule {
    Rule {
        id,
        clause,
        severity,
        source: HUB_SOURCE,
    }
}

const TWICE: Rule = rule("CARD-KEY-TWICE", "YAML 1.2, 3.2.1.1", Severity::Error);
const MISSING: Rule = rule("CARD-KEY-MISSING", "model card metadata", Severity::Warning);
const OPTIONAL: Rule = rule("CARD-KEY-MISSING", "model card metadata", Severity::Info);
const NO_LICENSE: Rule = rule("CARD-LICENSE-MISSING", "license", Severity::Error);
const TYPE: Rule = rule("CARD-TYPE", "model card metadata", Severity::Error);
const LANGUAGE: Rule = rule("CARD-LANGUAGE", "language, ISO 639", Severity::Warning);
const HUB_ID: Rule = rule("CARD-HUB-ID", "hub ids", Severity::Error);
const RELATION: Rule = rule("CARD-RELATION", "base_model_relation", Severity::Error);
const REPEATED: Rule = rule("CARD-REPEATED", "model card metadata", Severity::Warning);
const LICENSE_ID: Rule = Rule {
    id: "CARD-LICENSE-ID",
    clause: "license",
    severity: Severity::Error,
    source: HUB_LICENSE_SOURCE,
};
const LICENSE_LIST: Rule = Rule {
    id: "CARD-LICENSE-LIST",
    severity: Severity::Info,
    ..LICENSE_ID
};
const LICENSE_OTHER: Rule = Rule {
    id: "CARD-LICENSE-OTHER",
    ..LICENSE_ID
};
const LICENSE_NAME: Rule = Rule {
    id: "CARD-LICENSE-NAME",
    severity: Severity::Warning,
    ..LICENSE_ID
};
const GATE: Rule = Rule {
    id: "CARD-GATE-TYPE",
    clause: "extra_gated_fields",
    severity: Severity::Error,
    source: HUB_GATE_SOURCE,
};
const GATE_LIFTED: Rule = Rule {
    id: "CARD-GATE-LIFTED",
    severity: Severity::Warning,
    ..GATE
};

/// The kind each key has to have: text, a list of texts or one text, a truth value, a list, a map.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Texts,
    Bool,
    List,
    Map,
}

const SHAPES: [(&str, Shape); 24] = [
    ("license", Shape::Texts),
    ("license_name", Shape::Text),
    ("license_link", Shape::Text),
    ("language", Shape::Texts),
    ("library_name", Shape::Text),
    ("pipeline_tag", Shape::Text),
    ("tags", Shape::Texts),
    ("datasets", Shape::Texts),
    ("base_model", Shape::Texts),
    ("base_model_relation", Shape::Text),
    ("new_version", Shape::Text),
    ("metrics", Shape::List),
    ("thumbnail", Shape::Text),
    ("model-index", Shape::List),
    ("pretty_name", Shape::Text),
    ("size_categories", Shape::Texts),
    ("source_datasets", Shape::Texts),
    ("task_categories", Shape::Texts),
    ("extra_gated_fields", Shape::Map),
    ("extra_gated_prompt", Shape::Text),
    ("extra_gated_heading", Shape::Text),
    ("extra_gated_description", Shape::Text),
    ("extra_gated_button_content", Shape::Text),
    ("extra_gated_eu_disallowed", Shape::Bool),
];

const RELATIONS: [&str; 4] = ["adapter", "finetune", "merge", "quantized"];
const GATE_TYPES: [&str; 4] = ["checkbox", "country", "date_picker", "text"];

/// ISO 639-1, two letters each.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch \
    co cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he \
    hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv \
    kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny \
    oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st \
    su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";

/// Names that are written where codes belong.
const LANGUAGE_NAMES: [(&str, &str); 12] = [
    ("arabic", "ar"),
    ("chinese", "zh"),
    ("dutch", "nl"),
    ("english", "en"),
    ("french", "fr"),
    ("german", "de"),
    ("italian", "it"),
    ("japanese", "ja"),
    ("korean", "ko"),
    ("portuguese", "pt"),
    ("russian", "ru"),
    ("spanish", "es"),
];

/// Returns whether the hub knows a license by this id.
///
/// ```
/// assert!(stablelm_license::lint::is_hub_license("cc-by-sa-4.0"));
/// assert!(!stablelm_license::lint::is_hub_license("CC-BY-SA-4.0"));
/// ```
pub fn is_hub_license(id: &str) -> bool {
    LICENSES.lines().any(|known| known == id)
}

pub(crate) fn lint(card: &Card<'_>, report: &mut Report<'_>) {
    let Some(front) = card.front else {
        return;
    };
    keys_once(front, report);
    shapes(front, report);
    license(front, report);
    languages(front, report);
    hub_ids(front, report);
    missing(card, front, report);
    gate(card, front, report);
}

fn keys_once(front: &Node, report: &mut Report<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (key, _) in front.entries() {
        let name = key.text().unwrap_or_default();
        if seen.contains(&name) {
            let reason = format!("`{name}` is there twice");
            report.add(TWICE, key.start, reason, "keep one of them");
        }
        seen.push(name);
    }
}

fn shapes(front: &Node, report: &mut Report<'_>) {
    for (name, shape) in SHAPES {
        let Some(value) = front.get(name) else {
            continue;
        };
        let kind = value.kind();
        let (fits, expected) = match shape {
            Shape::Text => (matches!(kind, Kind::Text), "text"),
            Shape::Bool => (matches!(kind, Kind::Bool), "`true` or `false`"),
            Shape::List => (matches!(kind, Kind::List), "a list"),
            Shape::Map => (matches!(kind, Kind::Map), "a map"),
            Shape::Texts => (
                matches!(kind, Kind::Text)
                    || kind == Kind::List
                        && value.items().iter().all(|item| item.kind() == Kind::Text),
                "text or a list of texts",
            ),
        };
        if !fits {
            let wrong = value
                .items()
                .iter()
                .find(|item| kind == Kind::List && item.kind() != Kind::Text)
                .unwrap_or(value);
            let reason = format!(
                "`{name}` holds {}, expected {expected}",
                wrong.kind().phrase()
            );
            report.add(
                TYPE,
                wrong.start,
                reason,
                "put it in quotes if text was meant",
            );
        }
        if shape == Shape::Texts {
            repeated(name, value, report);
        }
    }
}

fn repeated(name: &str, value: &Node, report: &mut Report<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (item, text) in value.texts() {
        if seen.contains(&text) {
            let reason = format!("`{text}` is in `{name}` twice");
            report.add(REPEATED, item.start, reason, "keep one of them");
        }
        seen.push(text);
    }
}

fn license(front: &Node, report: &mut Report<'_>) {
    let Some((key, value)) = front.entry("license") else {
        let reason = "the card names no license".to_owned();
        report.add(NO_LICENSE, front.start, reason, "add `license: ...`");
        return;
    };
    let mut count = 0;
    for (item, text) in value.texts() {
        count += 1;
        if !is_hub_license(text) {
            unknown_license(item, text, report);
        }
    }
    if count == 0 {
        let reason = "`license` is empty".to_owned();
        report.add(NO_LICENSE, key.start, reason, "name the license");
    }
    if count > 1 {
        let reason = "the hub does not say whether a list of licenses means all or any of them";
        let step = "say in the text which applies to what";
        report.add(LICENSE_LIST, key.start, reason.to_owned(), step);
    }
    let is_other = value.texts().any(|(_, text)| text == "other");
    for name in ["license_name", "license_link"] {
        let given = front.entry(name);
        if is_other && given.is_none() {
            let reason = format!("`license: other` needs `{name}`");
            report.add(LICENSE_OTHER, value.start, reason, "add it");
        }
        if let Some((key, _)) = given.filter(|_| !is_other && name == "license_name") {
            let reason = "the hub reads `license_name` only with `license: other`".to_owned();
            report.add(
                LICENSE_NAME,
                key.start,
                reason,
                "remove it, or write `license: other`",
            );
        }
    }
    let name = front
        .get("license_name")
        .and_then(|name| Some((name, name.text()?)));
    if let Some((node, name)) = name {
        let plain =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        if name.is_empty() || !name.chars().all(plain) {
            let reason = format!("`{name}` is no name of lower-case letters, digits, `-` and `.`");
            report.add(
                LICENSE_NAME,
                node.start,
                reason,
                "write it like `my-license-1.0`",
            );
        }
    }
}

fn unknown_license(item: &Node, text: &str, report: &mut Report<'_>) {
    let hub = spdx::hub_license_id(text)
        .filter(|_| spdx_exists(text))
        .or_else(|| {
            let lower = text.to_ascii_lowercase();
            LICENSES.lines().find(|known| *known == lower)
        });
    if let Some(hub) = hub {
        let reason = format!("the hub calls `{text}` `{hub}`");
        report.add_fix(LICENSE_ID, item.start..item.end, reason, hub.to_owned());
        return;
    }
    let near = LICENSES
        .lines()
        .filter(|known| known.len() > 3)
        .find(|known| {
            let text = text.to_ascii_lowercase();
            text.starts_with(*known) || known.starts_with(text.as_str()) && text.len() > 3
        });
    let reason = format!("the hub knows no license `{text}`");
    let step = match near {
        Some(near) => format!("was `{near}` meant? Otherwise write `license: other` with its name"),
        None => "write `license: other` with `license_name` and `license_link`".to_owned(),
    };
    report.add(LICENSE_ID, item.start, reason, &step);
}

fn spdx_exists(id: &str) -> bool {
    ::spdx::license_id(id).is_some() || ::spdx::license_id(&id.to_ascii_uppercase()).is_some()
}

fn languages(front: &Node, report: &mut Report<'_>) {
    let Some(value) = front.get("language") else {
        return;
    };
    for (item, text) in value.texts() {
        let primary = text.split(['-', '_']).next().unwrap_or_default();
        let known = matches!(text, "multilingual" | "code")
            || LANGUAGES.split_whitespace().any(|code| code == primary)
            || primary.len() == 3 && primary.bytes().all(|byte| byte.is_ascii_lowercase());
        if known {
            continue;
        }
        let lower = text.to_ascii_lowercase();
        let code = LANGUAGE_NAMES
            .iter()
            .find(|(name, _)| *name == lower)
            .map(|(_, code)| *code)
            .or_else(|| LANGUAGES.split_whitespace().find(|code| *code == lower));
        let reason = format!("`{text}` is no ISO 639 code");
        match code {
            Some(code) => report.add_fix(LANGUAGE, item.start..item.end, reason, code.to_owned()),
            None => report.add(LANGUAGE, item.start, reason, "write a code such as `en`"),
        }
    }
}

fn hub_ids(front: &Node, report: &mut Report<'_>) {
    for name in ["datasets", "base_model", "new_version"] {
        for (item, text) in front.get(name).into_iter().flat_map(Node::texts) {
            let parts: Vec<&str> = text.split('/').collect();
            let plain = |part: &&str| {
                !part.is_empty()
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            };
            if parts.len() > 2 || !parts.iter().all(plain) {
                let reason = format!("`{text}` in `{name}` is no hub id");
                report.add(HUB_ID, item.start, reason, "write `organization/name`");
            }
        }
    }
    let relation = front.get("base_model_relation");
    let relation = relation.and_then(|node| Some((node, node.text()?)));
    if let Some((node, text)) = relation.filter(|(_, text)| !RELATIONS.contains(text)) {
        let reason = format!("`{text}` is no relation the hub knows");
        let step = format!(
            "one of {}; leave it out for another format",
            RELATIONS.join(", ")
        );
        report.add(RELATION, node.start, reason, &step);
    }
}

fn missing(card: &Card<'_>, front: &Node, report: &mut Report<'_>) {
    let mut lacks = |name: &str, rule: Rule, reason: &str, step: &str| {
        if front.get(name).is_none() {
            report.add(
                rule,
                front.start,
                format!("`{name}` is missing: {reason}"),
                step,
            );
        }
    };
    lacks(
        "library_name",
        MISSING,
        "the hub can't say how to load the model",
        "add `library_name: transformers`, or the library that loads it",
    );
    lacks(
        "pipeline_tag",
        MISSING,
        "the hub can't say what the model does",
        "add `pipeline_tag: text-generation`, or what fits",
    );
    lacks(
        "license_link",
        OPTIONAL,
        "the hub links no license text",
        "add `license_link: LICENSE` when the text lies in the repository",
    );
    let prose = card.prose().to_lowercase();
    let says_derived = [
        "fine-tuned from",
        "fine-tuned version",
        "finetuned from",
        "finetuned version",
        "based on [",
        "(converted)",
        "converted from",
        "quantized version",
        "derived from",
    ];
    let derived = says_derived.iter().find(|phrase| prose.contains(*phrase));
    let base = match derived {
        Some(phrase) => (MISSING, format!("the text says `{phrase}`")),
        None => (
            OPTIONAL,
            "a model made from another one names it here".to_owned(),
        ),
    };
    lacks(
        "base_model",
        base.0,
        &base.1,
        "add `base_model: organization/name`",
    );
    if front.get("language").is_none() {
        let reason = "`language` is missing: the hub can't say what the model speaks".to_owned();
        report.add(
            OPTIONAL,
            front.start,
            reason,
            "add `language: en`, or what fits",
        );
    }
}

fn gate(card: &Card<'_>, front: &Node, report: &mut Report<'_>) {
    let Some((key, fields)) = front.entry("extra_gated_fields") else {
        return;
    };
    for (name, field) in fields.entries() {
        gated_field(name, field, report);
    }
    let lifted = card
        .subject
        .and_then(|subject| subject.gate.as_ref())
        .filter(|gate| gate.state == "lifted");
    if let Some(gate) = lifted {
        let reason = format!(
            "the card describes a gate that was lifted ({}): nobody is asked these things",
            gate.source
        );
        report.add(
            GATE_LIFTED,
            key.start,
            reason,
            "remove `extra_gated_fields`",
        );
    } else {
        let rule = Rule {
            severity: Severity::Info,
            ..GATE_LIFTED
        };
        let reason = "these fields are asked for only while the repository's settings keep a gate";
        report.add(
            rule,
            key.start,
            reason.to_owned(),
            "remove them when the gate is lifted",
        );
    }
}

fn gated_field(name: &Node, field: &Node, report: &mut Report<'_>) {
    let label = name.text().unwrap_or_default();
    let kind = match field.kind() {
        Kind::Map => field.get("type").and_then(Node::text).unwrap_or_default(),
        _ => field.text().unwrap_or_default(),
    };
    let is_select = field.kind() == Kind::Map && kind == "select";
    if !GATE_TYPES.contains(&kind) && !is_select {
        let reason = format!("the gated field `{label}` is of type `{kind}`");
        let step = format!(
            "one of {}, or a map with `type: select`",
            GATE_TYPES.join(", ")
        );
        report.add(GATE, field.start, reason, &step);
    }
    if is_select
        && field
            .get("options")
            .is_none_or(|list| list.kind() != Kind::List)
    {
        let reason = format!("the gated field `{label}` lets choose from no `options`");
        report.add(GATE, field.start, reason, "add a list `options`");
    }
}
