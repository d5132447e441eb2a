//! CC BY-SA 4.0, sections 2(a)(5), 2(a)(6), 2(b)(2), 3(a)(3) and 6: what may not be added, said or
//! kept, and what happens then.

use crate::finding::{Finding, Severity};
use crate::front_matter::FrontMatter;
use crate::ledger::ObligationState;
use crate::terms::LicenseClass;

use super::view::{DOCUMENTS, View, has_class, is_license_file, place_at, place_of};
use super::{Check, Outcome, rule};

/// Phrases that claim the licensor's support.
const ENDORSEMENTS: [&str; 9] = [
    "endorsed by",
    "approved by",
    "sponsored by",
    "certified by",
    "supported by",
    "in partnership with",
    "on behalf of",
    "in collaboration with",
    "official",
];

/// How far from the licensor's name, in bytes, a phrase still speaks of it.
const NEAR: usize = 60;

/// Words that limit what a recipient may do.
const USE_LIMITS: [&str; 14] = [
    "non-commercial",
    "noncommercial",
    "non commercial",
    "research only",
    "research purposes only",
    "only for",
    "may not",
    "must not",
    "shall not",
    "not use",
    "not be used",
    "prohibited",
    "restrict",
    "agree not",
];

/// Phrases of license texts that limit use.
const LIMITING_TEXTS: [&str; 11] = [
    "non-commercial",
    "noncommercial",
    "openrail",
    "responsible ai license",
    "use-based restrictions",
    "community license agreement",
    "acceptable use policy",
    "end user license agreement",
    "research purposes only",
    "may not be used for",
    "no derivatives",
];

/// File names, in lower case, of terms beside the license.
const TERMS_FILES: [&str; 6] = [
    "eula",
    "use_policy",
    "use-policy",
    "acceptable_use",
    "terms_of_use",
    "terms-of-use",
];

/// Endings of files that only a key opens.
const ENCRYPTED: [&str; 5] = [".enc", ".gpg", ".age", ".aes", ".pgp"];

/// Endings of files with weights in them.
const WEIGHTS: [&str; 5] = [".safetensors", ".gguf", ".bin", ".pt", ".pth"];

/// SA-08: what the licensor asked to remove is gone.
pub(super) fn removals(view: &View) -> Check {
    let Some(ledger) = view
        .ledger
        .filter(|ledger| !ledger.removal_requests.is_empty())
    else {
        return Check::absent();
    };
    let mut check = Check::of(format!(
        "{} requests to remove a notice, followed",
        ledger.removal_requests.len()
    ));
    for request in &ledger.removal_requests {
        for (name, text) in view.documents() {
            if let Some(place) = place_of(text, &request.text) {
                let reason = format!(
                    "still holds \"{}\", which the licensor asked to remove on {}",
                    request.text, request.date
                );
                check.add_at(Severity::Error, Some(name), Some(place), reason);
            }
        }
        for (path, entries) in view.headers() {
            if entries.values().any(|value| value.contains(&request.text)) {
                let reason = format!(
                    "the header still holds \"{}\", which the licensor asked to remove",
                    request.text
                );
                check.add(Severity::Error, Some(path), reason);
            }
        }
    }
    check
}

/// SA-09: nothing says that the licensor stands behind the copy.
pub(super) fn endorsement(view: &View) -> Check {
    let materials = view.credited();
    let creators: Vec<&str> = materials
        .iter()
        .flat_map(|material| material.creators.iter().map(String::as_str))
        .collect();
    if creators.is_empty() {
        return Check::absent();
    }
    let mut check = Check::of("no claim of endorsement beside the licensor's name");
    for (path, text) in &view.release.texts {
        if !is_prose(path) {
            continue;
        }
        for (place, phrase) in endorsements(text, &creators) {
            let reason = format!("\"{phrase}\" beside the licensor's name can imply endorsement");
            check.add_at(Severity::Warning, Some(path), Some(place), reason);
        }
    }
    for path in view.release.files.keys() {
        let lower = path.to_ascii_lowercase();
        let is_image = [".png", ".svg", ".jpg", ".jpeg", ".webp"]
            .iter()
            .any(|end| lower.ends_with(end));
        if is_image && lower.contains("logo") {
            check.add(
                Severity::Warning,
                Some(path),
                "a logo; trademarks are not licensed and can imply endorsement",
            );
        }
    }
    check
}

/// True for texts that people write, and that are no license.
fn is_prose(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let is_text = [".md", ".txt"].iter().any(|end| lower.ends_with(end));
    !is_license_file(path) && (is_text || DOCUMENTS.contains(&path))
}

/// Returns the places of phrases that claim support near one of the names.
fn endorsements(text: &str, names: &[&str]) -> Vec<((usize, usize), &'static str)> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        for phrase in ENDORSEMENTS {
            for (at, _) in lower.match_indices(phrase) {
                let end = at + phrase.len();
                let is_word = !lower[..at].ends_with(|c: char| c.is_alphanumeric())
                    && !lower[end..].starts_with(|c: char| c.is_alphanumeric());
                if is_word && !is_denied(&lower[..at]) && is_near(&lower, at, end, names) {
                    found.push((place_at(text, start + at), phrase));
                }
            }
        }
        start += line.len();
    }
    found.sort_unstable();
    found
}

/// True after a word that turns the phrase around.
fn is_denied(before: &str) -> bool {
    let last: Vec<&str> = before.split_whitespace().rev().take(3).collect();
    last.iter().any(|word| {
        matches!(
            word.trim_matches('*'),
            "not" | "nor" | "no" | "never" | "neither"
        )
    })
}

fn is_near(line: &str, start: usize, end: usize, names: &[&str]) -> bool {
    names.iter().any(|name| {
        let name = name.to_ascii_lowercase();
        !name.is_empty()
            && line
                .match_indices(&name)
                .any(|(at, _)| at <= end + NEAR && at + name.len() + NEAR >= start)
    })
}

/// SA-10: no terms beside the license, and no lock on the weights.
pub(super) fn extra_terms(view: &View) -> Check {
    let is_limited = view.subject().is_some_and(|subject| {
        has_class(
            subject,
            &[LicenseClass::NonCommercial, LicenseClass::UseRestricted],
        )
    });
    // A licensor may change its own terms; SA-12 asks whether it is one.
    if view.credited().is_empty() || is_limited {
        return Check::absent();
    }
    let mut check = Check::of("no gate, no other terms and no lock on the weights");
    gate(view, &mut check);
    for (path, text) in &view.release.texts {
        other_terms(view, &mut check, path, text);
    }
    for path in view.release.files.keys() {
        let lower = path.to_ascii_lowercase();
        let has_text = view.release.texts.contains_key(path);
        if !has_text && TERMS_FILES.iter().any(|name| lower.contains(name)) {
            check.add(
                Severity::Error,
                Some(path),
                "terms beside the license of the weights",
            );
        }
    }
    locked(view, &mut check);
    check
}

fn gate(view: &View, check: &mut Check) {
    let file = Some("README.md");
    let Some(readme) = view.text("README.md") else {
        return;
    };
    let Some((_, body)) = FrontMatter::split(readme) else {
        return;
    };
    let front = &readme[..readme.len() - body.len()];
    if let Some((at, prompt)) = yaml_block(front, "extra_gated_prompt") {
        let lower = prompt.to_lowercase();
        let place = Some(place_at(front, at));
        match USE_LIMITS.iter().find(|limit| lower.contains(*limit)) {
            Some(limit) => check.add_at(
                Severity::Error,
                file,
                place,
                format!("`extra_gated_prompt` adds limits on use (\"{limit}\")"),
            ),
            None => check.add_at(
                Severity::Review,
                file,
                place,
                "`extra_gated_prompt` asks to agree to something; see that it adds no terms",
            ),
        }
    }
    if let Some((at, value)) = yaml_block(front, "extra_gated_eu_disallowed")
        && value.trim() == "true"
    {
        check.add_at(
            Severity::Error,
            file,
            Some(place_at(front, at)),
            "`extra_gated_eu_disallowed` keeps recipients from their rights",
        );
    }
}

/// Returns the place and raw text of a top-level key's value, with the indented lines below it.
fn yaml_block<'a>(front: &'a str, key: &str) -> Option<(usize, &'a str)> {
    let mut at = 0;
    for line in front.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix(key)
            && rest.trim_start().starts_with(':')
        {
            let after = at + line.len();
            let more: usize = front[after..]
                .split_inclusive('\n')
                .take_while(|next| next.trim().is_empty() || next.starts_with([' ', '\t']))
                .map(str::len)
                .sum();
            let value = front[at..after + more].split_once(':')?.1;
            return Some((at, value));
        }
        at += line.len();
    }
    None
}

fn other_terms(view: &View, check: &mut Check, path: &str, text: &str) {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let is_terms = TERMS_FILES.iter().any(|known| name.contains(known)) || name == "terms.md";
    if is_terms {
        check.add(
            Severity::Error,
            Some(path),
            "terms beside the license of the weights",
        );
        return;
    }
    // In our own documents the names of other components' licenses have their place.
    if !is_license_file(path) && path != "README.md" && path != "NOTICE" {
        return;
    }
    let known = known_terms(view);
    let stem = path
        .strip_prefix("LICENSES/")
        .and_then(|name| name.rsplit_once('.'))
        .map(|(stem, _)| stem);
    if stem.is_some_and(|stem| {
        known
            .iter()
            .any(|words| words == &stem.to_ascii_lowercase())
    }) {
        return;
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let lower = line.to_lowercase();
        let is_of_another = known.iter().any(|words| lower.contains(words.as_str()));
        let limit = LIMITING_TEXTS.iter().find(|limit| lower.contains(*limit));
        if let Some(limit) = limit.filter(|_| !is_of_another || is_license_file(path)) {
            let reason = format!("\"{limit}\" limits what the license of the weights permits");
            check.add_at(
                Severity::Error,
                Some(path),
                Some(place_at(text, start)),
                reason,
            );
            return;
        }
        start += line.len();
    }
}

/// Returns the names and credits of the other components, in lower case.
fn known_terms(view: &View) -> Vec<String> {
    let components = view.ledger.map_or(&[][..], |ledger| &ledger.components);
    components
        .iter()
        .flat_map(|component| [&component.license, &component.attribution, &component.name])
        .filter(|text| !text.is_empty())
        .map(|text| text.to_lowercase())
        .collect()
}

fn locked(view: &View, check: &mut Check) {
    let ends = |path: &str, endings: &[&str]| endings.iter().any(|end| path.ends_with(end));
    let paths: Vec<String> = view
        .release
        .files
        .keys()
        .map(|path| path.to_ascii_lowercase())
        .collect();
    let has_weights = paths.iter().any(|path| ends(path, &WEIGHTS));
    for path in paths.iter().filter(|path| ends(path, &ENCRYPTED)) {
        if !has_weights {
            check.add(
                Severity::Error,
                Some(path),
                "the weights are there in locked form only",
            );
        }
    }
}

/// SA-15: what a broken term leads to. Filled in when all other rules have been asked.
pub(super) fn termination(outcomes: &mut [Outcome], view: &View) {
    let is_broken = outcomes
        .iter()
        .any(|outcome| outcome.rule.starts_with("SA-") && outcome.state == ObligationState::Broken);
    let Some(outcome) = outcomes.iter_mut().find(|outcome| outcome.rule == "SA-15") else {
        return;
    };
    if !is_broken {
        return;
    }
    let discovered = view
        .ledger
        .and_then(|ledger| ledger.violations.first())
        .map_or_else(
            || "the day of this report, unless the ledger records an earlier one".to_owned(),
            |violation| format!("{} ({})", violation.discovered, violation.rule),
        );
    let rule = rule("SA-15").expect("the outcome was made from the rule");
    outcome.state = ObligationState::Open;
    outcome.findings.push(Finding {
        rule: rule.id.to_owned(),
        clause: rule.clause.to_owned(),
        severity: Severity::Info,
        reason: format!(
            "rights under the license end when a term is broken; cured within 30 days of discovery, \
             they come back. Discovered: {discovered}"
        ),
        source: rule.source.to_owned(),
        file: None,
        line: None,
        column: None,
        next_step: Some(rule.help.to_owned()),
    });
}

/// SA-15 by itself has nothing to look at.
pub(super) fn cure(view: &View) -> Check {
    stated(view, "no broken term of CC BY-SA found")
}

/// SA-16: patents and trademarks are not licensed.
pub(super) fn not_granted(view: &View) -> Check {
    stated(view, "patent and trademark rights are not licensed")
}

/// SA-17: internal use is not sharing.
pub(super) fn internal_use(view: &View) -> Check {
    stated(view, "the duties begin when copies are shared")
}

fn stated(view: &View, text: &str) -> Check {
    if view.share_alike().is_empty() {
        Check::absent()
    } else {
        Check::of(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn praise_from_the_licensor_is_found_and_denial_is_not() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<_> = endorsements(text, &["Stability AI"])
                .into_iter()
                .map(|(_, phrase)| phrase)
                .collect();
            assert_eq!(found, expected, "{text}");
        };
        check("Endorsed by Stability AI.", &["endorsed by"]);
        check("The official StableLM, by Stability AI", &["official"]);
        check("In partnership with Stability AI", &["in partnership with"]);
        check("Not endorsed by Stability AI.", &[]);
        check("An unofficial copy of Stability AI's model", &[]);
        check("Not an official copy of Stability AI's model", &[]);
        check("The official page of somebody else", &[]);
        check("official\nStability AI", &[]);
    }

    #[test]
    fn a_key_of_the_front_matter_is_read_with_its_block() {
        let front = "---\na: b\nextra_gated_prompt: >-\n  one\n  two\nc: d\n---\n";
        let (at, value) = yaml_block(front, "extra_gated_prompt").expect("it is there");
        assert_eq!(at, 9);
        assert_eq!(value, " >-\n  one\n  two\n");
        assert_eq!(yaml_block(front, "extra"), None);
    }
}
