//! The few license identifiers the documents need: hub ids, addresses and texts.
//!
//! Expressions are only split into their identifiers here; deciding what goes with what does not
//! belong in this file.

/// What stands for an unknown license.
pub const NOASSERTION: &str = "NOASSERTION";

/// SPDX identifiers and what the hub calls the same license.
///
/// Where the hub does not tell `-only` from `-or-later`, the stricter one comes first, because
/// the way back takes the first match.
const HUB_IDS: &[(&str, &str)] = &[
    ("Apache-2.0", "apache-2.0"),
    ("MIT", "mit"),
    ("CC-BY-SA-4.0", "cc-by-sa-4.0"),
    ("CC-BY-SA-3.0", "cc-by-sa-3.0"),
    ("CC0-1.0", "cc0-1.0"),
    ("ODC-By-1.0", "odc-by"),
    ("ODbL-1.0", "odbl"),
    ("PDDL-1.0", "pddl"),
    ("CC-BY-2.0", "cc-by-2.0"),
    ("CC-BY-2.5", "cc-by-2.5"),
    ("CC-BY-3.0", "cc-by-3.0"),
    ("CC-BY-4.0", "cc-by-4.0"),
    ("CC-BY-NC-2.0", "cc-by-nc-2.0"),
    ("CC-BY-NC-3.0", "cc-by-nc-3.0"),
    ("CC-BY-NC-4.0", "cc-by-nc-4.0"),
    ("CC-BY-ND-4.0", "cc-by-nd-4.0"),
    ("CC-BY-NC-ND-3.0", "cc-by-nc-nd-3.0"),
    ("CC-BY-NC-ND-4.0", "cc-by-nc-nd-4.0"),
    ("CC-BY-NC-SA-2.0", "cc-by-nc-sa-2.0"),
    ("CC-BY-NC-SA-3.0", "cc-by-nc-sa-3.0"),
    ("CC-BY-NC-SA-4.0", "cc-by-nc-sa-4.0"),
    ("CDLA-Sharing-1.0", "cdla-sharing-1.0"),
    ("CDLA-Permissive-1.0", "cdla-permissive-1.0"),
    ("CDLA-Permissive-2.0", "cdla-permissive-2.0"),
    ("C-UDA-1.0", "c-uda"),
    ("BSD-2-Clause", "bsd-2-clause"),
    ("BSD-3-Clause", "bsd-3-clause"),
    ("BSD-3-Clause-Clear", "bsd-3-clause-clear"),
    ("BSL-1.0", "bsl-1.0"),
    ("ISC", "isc"),
    ("Zlib", "zlib"),
    ("NCSA", "ncsa"),
    ("Unlicense", "unlicense"),
    ("PostgreSQL", "postgresql"),
    ("AFL-3.0", "afl-3.0"),
    ("Artistic-2.0", "artistic-2.0"),
    ("ECL-2.0", "ecl-2.0"),
    ("EPL-1.0", "epl-1.0"),
    ("EPL-2.0", "epl-2.0"),
    ("EUPL-1.1", "eupl-1.1"),
    ("EUPL-1.2", "eupl-1.2"),
    ("MPL-2.0", "mpl-2.0"),
    ("MS-PL", "ms-pl"),
    ("OFL-1.1", "ofl-1.1"),
    ("OSL-3.0", "osl-3.0"),
    ("GPL-2.0-only", "gpl-2.0"),
    ("GPL-2.0-or-later", "gpl-2.0"),
    ("GPL-3.0-only", "gpl-3.0"),
    ("GPL-3.0-or-later", "gpl-3.0"),
    ("LGPL-2.1-only", "lgpl-2.1"),
    ("LGPL-2.1-or-later", "lgpl-2.1"),
    ("LGPL-3.0-only", "lgpl-3.0"),
    ("LGPL-3.0-or-later", "lgpl-3.0"),
    ("AGPL-3.0-only", "agpl-3.0"),
    ("AGPL-3.0-or-later", "agpl-3.0"),
];

/// Addresses of license terms that their makers ask to be linked.
const ADDRESSES: &[(&str, &str)] = &[
    ("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    ("ODC-By-1.0", "https://opendatacommons.org/licenses/by/1-0/"),
    (
        "CC0-1.0",
        "https://creativecommons.org/publicdomain/zero/1.0/",
    ),
];

/// Returns the hub's id of a license, or `None` when the hub has none for exactly this one.
///
/// ```
/// assert_eq!(stablelm_license::hub_license_id("CC-BY-SA-4.0"), Some("cc-by-sa-4.0"));
/// assert_eq!(stablelm_license::hub_license_id("CC-BY-SA-2.5"), None);
/// ```
pub fn hub_license_id(spdx: &str) -> Option<&'static str> {
    HUB_IDS
        .iter()
        .find(|(id, _)| id.eq_ignore_ascii_case(spdx))
        .map(|(_, hub)| *hub)
}

/// Returns the SPDX identifier of a hub id; families such as `cc` and `other` have none.
pub(crate) fn spdx_from_hub_id(hub: &str) -> Option<&'static str> {
    HUB_IDS
        .iter()
        .find(|(_, id)| id.eq_ignore_ascii_case(hub))
        .map(|(spdx, _)| *spdx)
}

/// Returns the text of a license the release folder carries, byte for byte as SPDX has it.
pub fn license_text(spdx_id: &str) -> Option<&'static str> {
    match spdx_id {
        "Apache-2.0" => Some(include_str!("../data/licenses/Apache-2.0.txt")),
        "CC-BY-SA-4.0" => Some(include_str!("../data/licenses/CC-BY-SA-4.0.txt")),
        "CC0-1.0" => Some(include_str!("../data/licenses/CC0-1.0.txt")),
        "ODC-By-1.0" => Some(include_str!("../data/licenses/ODC-By-1.0.txt")),
        _ => None,
    }
}

/// Returns the address of a license's terms, for a single SPDX identifier.
///
/// ```
/// let address = stablelm_license::license_url("CC-BY-SA-4.0");
/// assert_eq!(address.as_deref(), Some("https://creativecommons.org/licenses/by-sa/4.0/"));
/// ```
pub fn license_url(spdx_id: &str) -> Option<String> {
    if let Some((_, address)) = ADDRESSES.iter().find(|(id, _)| *id == spdx_id) {
        return Some((*address).to_owned());
    }
    if let Some(rest) = spdx_id.strip_prefix("CC-") {
        let (terms, version) = rest.rsplit_once('-')?;
        let terms = terms.to_ascii_lowercase();
        return Some(format!(
            "https://creativecommons.org/licenses/{terms}/{version}/"
        ));
    }
    is_plain_identifier(spdx_id).then(|| format!("https://spdx.org/licenses/{spdx_id}.html"))
}

/// Returns the license identifiers of an expression, each once, in order.
pub(crate) fn identifiers(expression: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let words = expression.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
    for word in words.filter(|word| !matches!(*word, "" | "AND" | "OR" | "WITH")) {
        if !found.contains(&word) {
            found.push(word);
        }
    }
    found
}

/// True for one identifier of the SPDX list's form: no expression, no `LicenseRef-`.
pub(crate) fn is_plain_identifier(license: &str) -> bool {
    license != NOASSERTION
        && !license.is_empty()
        && !license.starts_with("LicenseRef-")
        && !license.starts_with("DocumentRef-")
        && license
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+'))
}

/// Where a license disclaims warranties, as a phrase for a notice.
pub(crate) fn warranty_clause(license: &str) -> Option<&'static str> {
    match license {
        "CC-BY-SA-4.0" | "CC-BY-4.0" | "CC-BY-NC-SA-4.0" => Some("section 5"),
        "Apache-2.0" | "ODC-By-1.0" => Some("sections 7 and 8"),
        "CC0-1.0" => Some("section 4"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_share_alike_and_version() {
        let check = |id: &str, expected: Option<&str>| {
            assert_eq!(license_url(id).as_deref(), expected, "{id}");
        };
        check(
            "CC-BY-SA-4.0",
            Some("https://creativecommons.org/licenses/by-sa/4.0/"),
        );
        check(
            "CC-BY-SA-2.5",
            Some("https://creativecommons.org/licenses/by-sa/2.5/"),
        );
        check(
            "CC-BY-NC-SA-4.0",
            Some("https://creativecommons.org/licenses/by-nc-sa/4.0/"),
        );
        check(
            "CC0-1.0",
            Some("https://creativecommons.org/publicdomain/zero/1.0/"),
        );
        check("MIT", Some("https://spdx.org/licenses/MIT.html"));
        check("LicenseRef-arXiv-mixed", None);
        check("Apache-2.0 AND MIT", None);
        check(NOASSERTION, None);
    }

    #[test]
    fn an_expression_is_split_into_its_identifiers() {
        let check = |text: &str, expected: &[&str]| assert_eq!(identifiers(text), expected);
        check("MIT", &["MIT"]);
        check("(Apache-2.0 AND MIT) OR Apache-2.0", &["Apache-2.0", "MIT"]);
        check("", &[]);
    }

    #[test]
    fn the_hub_way_back_takes_the_stricter_reading() {
        assert_eq!(spdx_from_hub_id("gpl-3.0"), Some("GPL-3.0-only"));
        assert_eq!(spdx_from_hub_id("other"), None);
        assert_eq!(hub_license_id("GPL-3.0-or-later"), Some("gpl-3.0"));
    }
}
