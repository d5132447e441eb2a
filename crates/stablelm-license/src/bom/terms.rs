//! Licenses as the formats take them: exact identifiers, `LicenseRef-` names, expressions, texts.

use crate::component::{ClaimKind, Component};
use crate::ledger::Ledger;
use crate::spdx::{self, NOASSERTION, license_text};
use crate::text::one_line;

/// What stands in `LICENSES/` and in `REUSE.toml` for files nobody knows a license of.
pub(crate) const UNKNOWN_REF: &str = "LicenseRef-unknown";

/// A license in the form that documents tell apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Terms {
    /// None is known, or what is written is no license expression.
    Unknown,
    /// One identifier of the SPDX list, in its exact case.
    Listed(String),
    /// One `LicenseRef-` name.
    Custom(String),
    /// An expression of several.
    Compound(String),
}

impl Terms {
    /// Reads what a ledger says.
    pub(crate) fn read(license: &str) -> Terms {
        let license = license.trim();
        // The list of the library knows this word as if it were a license.
        if spdx::identifiers(license).contains(&NOASSERTION) {
            return Terms::Unknown;
        }
        if let Some(id) = listed(license) {
            return Terms::Listed(id.to_owned());
        }
        if is_custom(license) {
            return Terms::Custom(license.to_owned());
        }
        let names_hold = spdx::identifiers(license)
            .into_iter()
            .all(|id| !id.starts_with("LicenseRef-") || is_custom(id));
        if names_hold && ::spdx::Expression::parse(license).is_ok() {
            return Terms::Compound(one_line(license));
        }
        Terms::Unknown
    }

    /// Returns the SPDX expression, `None` when nothing is known.
    pub(crate) fn expression(&self) -> Option<&str> {
        match self {
            Terms::Unknown => None,
            Terms::Listed(text) | Terms::Custom(text) | Terms::Compound(text) => Some(text),
        }
    }

    /// Returns every license that has to be kept at once. One unknown license makes all unknown.
    pub(crate) fn all_of<'a>(licenses: impl IntoIterator<Item = &'a str>) -> Terms {
        let mut parts: Vec<String> = Vec::new();
        for license in licenses {
            match Terms::read(license) {
                Terms::Unknown => return Terms::Unknown,
                Terms::Listed(id) | Terms::Custom(id) => push(&mut parts, id),
                Terms::Compound(text) if text.contains(" OR ") => {
                    push(&mut parts, format!("({text})"));
                }
                Terms::Compound(text) => {
                    for part in text.split(" AND ") {
                        push(&mut parts, part.to_owned());
                    }
                }
            }
        }
        match parts.as_slice() {
            [] => Terms::Unknown,
            _ => Terms::read(&parts.join(" AND ")),
        }
    }
}

/// Returns what the makers of a component declare, where that is clear.
///
/// Claims may contradict each other over time, or be about the code of a data set. The one we
/// conclude from them wins where it is among them; else there has to be exactly one; and where
/// nothing could be concluded, nothing clear was declared.
pub(crate) fn declared(component: &Component) -> Terms {
    let concluded = Terms::read(&component.license);
    if concluded == Terms::Unknown {
        return Terms::Unknown;
    }
    let mut found: Vec<Terms> = Vec::new();
    for claim in &component.claims {
        let terms = Terms::read(&claim.value);
        if claim.kind == ClaimKind::Declared && terms != Terms::Unknown && !found.contains(&terms) {
            found.push(terms);
        }
    }
    if found.contains(&concluded) {
        return concluded;
    }
    match found.as_slice() {
        [only] => only.clone(),
        _ => Terms::Unknown,
    }
}

/// Returns the text of a license or exception, or what we can say of one whose text we lack.
pub(crate) fn text_of(ledger: &Ledger, id: &str) -> String {
    if let Some(text) = license_text(id) {
        return text.to_owned();
    }
    if let Some(found) = ::spdx::license_id(id) {
        return found.text().to_owned();
    }
    if let Some(found) = ::spdx::exception_id(id) {
        return found.text().to_owned();
    }
    if id == UNKNOWN_REF {
        return "No license is known for these files. Without one, nobody may share them.\n"
            .to_owned();
    }
    let address = ledger
        .components
        .iter()
        .filter(|component| spdx::identifiers(&component.license).contains(&id))
        .find_map(|component| component.license_url.as_deref());
    match address {
        Some(address) => format!(
            "{id}\n\nThe terms stand at {}. Their text is not part of stablelm.\n",
            one_line(address)
        ),
        None => format!("{id}\n\nWhere the terms of this name stand is not known.\n"),
    }
}

/// Returns the list's own spelling of an identifier; hub ids and other letter case are understood.
fn listed(license: &str) -> Option<&'static str> {
    let exact = ::spdx::identifiers::LICENSES
        .iter()
        .find(|known| known.name.eq_ignore_ascii_case(license));
    exact
        .map(|known| known.name)
        .or_else(|| spdx::spdx_from_hub_id(license))
}

fn is_custom(license: &str) -> bool {
    license.strip_prefix("LicenseRef-").is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
    })
}

fn push(parts: &mut Vec<String>, part: String) {
    if !parts.contains(&part) {
        parts.push(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn a_license_has_the_spelling_of_the_list() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(Terms::read(text).expression(), expected, "{text}");
        };
        check("CC-BY-SA-4.0", Some("CC-BY-SA-4.0"));
        check("cc-by-sa-4.0", Some("CC-BY-SA-4.0"));
        check("odc-by", Some("ODC-By-1.0"));
        check("LicenseRef-TheStack-ToU", Some("LicenseRef-TheStack-ToU"));
        check("Apache-2.0 AND MIT", Some("Apache-2.0 AND MIT"));
        check("NOASSERTION", None);
        check("NOT ((( A", None);
        check("MIT\" onload=\"x", None);
        check("LicenseRef-", None);
        check("", None);
    }

    #[test]
    fn licenses_add_up_without_repeats_and_one_unknown_makes_all_unknown() {
        let check = |licenses: &[&str], expected: Option<&str>| {
            let terms = Terms::all_of(licenses.iter().copied());
            assert_eq!(terms.expression(), expected, "{licenses:?}");
        };
        check(&["MIT", "MIT"], Some("MIT"));
        check(
            &["CC-BY-SA-3.0", "CC-BY-SA-2.5 AND CC-BY-SA-3.0"],
            Some("CC-BY-SA-3.0 AND CC-BY-SA-2.5"),
        );
        check(
            &["MIT OR Apache-2.0", "ISC"],
            Some("(MIT OR Apache-2.0) AND ISC"),
        );
        check(&["MIT", "NOASSERTION"], None);
        check(&[], None);
    }

    #[test]
    fn contradicting_claims_declare_nothing_unless_one_was_concluded() {
        let registry = Registry::builtin();
        let check = |id: &str, expected: Option<&str>| {
            let component = registry.get(id).expect("known");
            assert_eq!(declared(component).expression(), expected, "{id}");
        };
        check("falcon-refinedweb", Some("ODC-By-1.0"));
        check("stablelm-3b-4e1t", Some("CC-BY-SA-4.0"));
        check("starcoderdata", Some("LicenseRef-TheStack-ToU"));
        check("pilev2-dev", None);
    }

    #[test]
    fn every_listed_license_has_its_text() {
        let ledger = Ledger::for_unknown("x");
        for id in ["MIT", "CC-BY-SA-3.0", "Classpath-exception-2.0"] {
            assert!(text_of(&ledger, id).len() > 500, "{id}");
        }
        assert!(text_of(&ledger, UNKNOWN_REF).contains("No license is known"));
    }
}
