//! What version 1.2.0 of the citation file format allows: keys, types, licenses and forms.

/// The license identifiers of the format, one a line.
const LICENSES: &str = include_str!("../../data/cff-1.2.0-licenses.txt");

pub(crate) const REQUIRED: [&str; 4] = ["cff-version", "message", "title", "authors"];
pub(crate) const TYPES: [&str; 2] = ["software", "dataset"];

pub(crate) const KEYS: [&str; 21] = [
    "abstract",
    "authors",
    "cff-version",
    "commit",
    "contact",
    "date-released",
    "doi",
    "identifiers",
    "keywords",
    "license",
    "license-url",
    "message",
    "preferred-citation",
    "references",
    "repository",
    "repository-artifact",
    "repository-code",
    "title",
    "type",
    "url",
    "version",
];

pub(crate) const REFERENCE_KEYS: &str = "abbreviation abstract authors collection-doi \
    collection-title collection-type commit conference contact copyright data-type database \
    database-provider date-accessed date-downloaded date-published date-released department doi \
    edition editors editors-series end entry filename format identifiers institution isbn issn \
    issue issue-date issue-title journal keywords languages license license-url loc-end loc-start \
    location medium month nihmsid notes number number-volumes pages patent-states pmcid publisher \
    recipients repository repository-artifact repository-code scope section senders start status \
    term thesis-type title translators type url version volume volume-title year year-original";

pub(crate) const REFERENCE_TYPES: &str = "art article audiovisual bill blog book catalogue \
    conference-paper conference data database dictionary edited-work encyclopedia film-broadcast \
    generic government-document grant hearing historical-work legal-case legal-rule \
    magazine-article manual map multimedia music newspaper-article pamphlet patent \
    personal-communication proceedings report serial slides software-code software-container \
    software-executable software-virtual-machine software sound-recording standard statute thesis \
    unpublished video website";

pub(crate) const PERSON_KEYS: &str = "address affiliation alias city country email family-names fax \
    given-names name-particle name-suffix orcid post-code region tel website";

pub(crate) const ENTITY_KEYS: &str = "address alias city country date-end date-start email fax \
    location name orcid post-code region tel website";

pub(crate) const DATES: [&str; 4] = [
    "date-released",
    "date-published",
    "date-accessed",
    "date-downloaded",
];

pub(crate) const ADDRESSES: [&str; 6] = [
    "url",
    "license-url",
    "repository",
    "repository-artifact",
    "repository-code",
    "website",
];

/// True for an identifier of the format's list, in its case.
pub(crate) fn is_license(id: &str) -> bool {
    LICENSES.lines().any(|known| known == id)
}

/// Returns an identifier that is right but for its case.
pub(crate) fn license_in_case(id: &str) -> Option<&'static str> {
    LICENSES
        .lines()
        .find(|known| known.eq_ignore_ascii_case(id))
}

/// True for a day of the calendar in the form `YYYY-MM-DD`.
pub(crate) fn is_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shaped = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(position, byte)| match position {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            });
    if !shaped {
        return false;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().unwrap_or_default();
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// True for a DOI without the address of its resolver.
pub(crate) fn is_doi(text: &str) -> bool {
    let Some((prefix, suffix)) = text.split_once('/') else {
        return false;
    };
    let Some(registrant) = prefix.strip_prefix("10.") else {
        return false;
    };
    let mut parts = registrant.split('.');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let first = parts.next().unwrap_or_default();
    (4..=9).contains(&first.len())
        && is_number(first)
        && parts.next().is_none_or(is_number)
        && parts.next().is_none()
        && !suffix.is_empty()
        && suffix
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || ":/_;-.()[]\\".contains(c))
}

/// True for the address of an ORCID.
pub(crate) fn is_orcid(text: &str) -> bool {
    let Some(number) = text.strip_prefix("https://orcid.org/") else {
        return false;
    };
    let groups: Vec<&str> = number.split('-').collect();
    groups.len() == 4
        && groups.iter().enumerate().all(|(index, group)| {
            let (digits, last) = group.split_at(group.len().min(3));
            group.len() == 4
                && digits.bytes().all(|byte| byte.is_ascii_digit())
                && last
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || index == 3 && byte == b'X')
        })
}

/// Returns a known key that differs by case, by `_` for `-`, or by one letter.
pub(crate) fn near<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = name.to_ascii_lowercase().replace(['_', ' '], "-");
    known
        .iter()
        .find(|key| {
            let key = key.to_ascii_lowercase();
            key == plain || is_one_letter_off(&plain, &key)
        })
        .copied()
}

fn is_one_letter_off(a: &str, b: &str) -> bool {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let (long, short) = (long.as_bytes(), short.as_bytes());
    if short.len() < 3 || long.len() - short.len() > 1 {
        return false;
    }
    let prefix = long.iter().zip(short).take_while(|(a, b)| a == b).count();
    let rest = &long[(prefix + 1).min(long.len())..];
    // One more letter, another letter, or two letters in the other order.
    rest == &short[prefix.min(short.len())..]
        || long.len() == short.len()
            && (rest == &short[(prefix + 1).min(short.len())..]
                || prefix + 2 <= long.len()
                    && long[prefix] == short[prefix + 1]
                    && long[prefix + 1] == short[prefix]
                    && long[prefix + 2..] == short[prefix + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        assert!(is_day("2024-02-29") && !is_day("2023-02-29") && !is_day("29.09.2023"));
        assert!(is_doi("10.5281/zenodo.1003150") && !is_doi("https://doi.org/10.5281/zenodo.1"));
        assert!(
            is_orcid("https://orcid.org/0000-0001-2345-678X") && !is_orcid("0000-0001-2345-6789")
        );
        assert_eq!(LICENSES.lines().count(), 459);
        assert!(is_license("CC-BY-SA-4.0") && is_license("ODC-By-1.0"));
        assert_eq!(license_in_case("cc-by-sa-4.0"), Some("CC-BY-SA-4.0"));
    }

    #[test]
    fn a_key_is_recognized_when_misspelt() {
        let check = |name, expected| assert_eq!(near(name, &KEYS), expected, "{name}");
        check("date_released", Some("date-released"));
        check("licence", Some("license"));
        check("titel", Some("title"));
        check("author", Some("authors"));
        check("nonsense", None);
    }
}
