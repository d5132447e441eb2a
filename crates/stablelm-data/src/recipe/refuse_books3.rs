//! Refuses a recipe that asks for Books3.

use toml::de::{DeTable, DeValue};

use crate::books3::says_books3;
use crate::recipe::error::RecipeError;
use crate::recipe::fields::Source;

/// The table that extends what is known of Books3, and all that it may hold.
const LISTS_TABLE: &str = "books3";
const LISTS: [&str; 2] = ["titles", "fingerprints"];

/// Looks for Books3 before anything else, so that an unknown way to ask for it is refused as well:
/// in every key, and in every string below `sources`.
///
/// The table `[books3]` may name lists; a switch in it is refused, and other keys are left to the
/// parser, which knows none.
pub(super) fn refuse_books3(source: Source<'_>, table: &DeTable<'_>) -> Result<(), RecipeError> {
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(lists) if key.get_ref() == LISTS_TABLE => {
                refuse_switches(source, lists)?;
            }
            other => refuse_key(source, key, other)?,
        }
    }
    let mut sources = table.iter().filter(|(key, _)| key.get_ref() == "sources");
    sources.try_for_each(|(_, value)| refuse_in_strings(source, "source", value))
}

/// Refuses what could only be meant to let Books3 in: values that are neither names nor lists of
/// names, and tables.
fn refuse_switches(source: Source<'_>, lists: &DeTable<'_>) -> Result<(), RecipeError> {
    for (key, value) in lists {
        let key_name = key.get_ref().as_ref();
        let names = matches!(value.get_ref(), DeValue::String(_) | DeValue::Array(_));
        if !LISTS.contains(&key_name) && (!names || says_books3(key_name)) {
            return Err(refused(source, &key.span(), "key `books3`", key_name));
        }
    }
    Ok(())
}

fn refuse_key(
    source: Source<'_>,
    key: &toml::Spanned<std::borrow::Cow<'_, str>>,
    value: &DeValue<'_>,
) -> Result<(), RecipeError> {
    if says_books3(key.get_ref()) {
        return Err(refused(source, &key.span(), "key", key.get_ref()));
    }
    for table in tables_in(value) {
        for (key, value) in table {
            refuse_key(source, key, value.get_ref())?;
        }
    }
    Ok(())
}

fn tables_in<'v, 't>(value: &'v DeValue<'t>) -> Vec<&'v DeTable<'t>> {
    match value {
        DeValue::Table(table) => vec![table],
        DeValue::Array(items) => items
            .iter()
            .flat_map(|item| tables_in(item.get_ref()))
            .collect(),
        _ => Vec::new(),
    }
}

fn refuse_in_strings(
    source: Source<'_>,
    what: &str,
    value: &toml::Spanned<DeValue<'_>>,
) -> Result<(), RecipeError> {
    match value.get_ref() {
        DeValue::String(text) if says_books3(text) => {
            Err(refused(source, &value.span(), what, text))
        }
        DeValue::Array(items) => items
            .iter()
            .try_for_each(|item| refuse_in_strings(source, what, item)),
        DeValue::Table(table) => table.iter().try_for_each(|(key, value)| {
            refuse_in_strings(source, &format!("source {}", key.get_ref()), value)
        }),
        _ => Ok(()),
    }
}

fn refused(
    source: Source<'_>,
    span: &std::ops::Range<usize>,
    what: &str,
    value: &str,
) -> RecipeError {
    RecipeError::Books3Refused {
        path: source.path.to_path_buf(),
        line: source.line(span),
        what: what.into(),
        value: value.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn check(table: &str) -> Result<(), RecipeError> {
        let text = format!("name = 'x'\n[[sources]]\nname = 'web'\n{table}");
        let source = Source {
            path: Path::new("recipe.toml"),
            text: &text,
        };
        refuse_books3(source, DeTable::parse(&text).unwrap().get_ref())
    }

    #[test]
    fn lists_extend_the_rules() {
        for table in [
            "[books3]\ntitles = ['books3-titles.txt']\nfingerprints = ['books3.fingerprints']",
            "books3_free = 1",
            "[books3]\ntitle = ['a typo that the parser names']",
        ] {
            let refused = check(table).is_err();
            assert_eq!(refused, table.starts_with("books3"), "{table}");
        }
    }

    #[test]
    fn no_setting_turns_a_rule_off() {
        for table in [
            "books3 = true",
            "[books3]\nenabled = false",
            "[books3]\nmin_grams = 1000",
            "[books3.rules]\nfingerprint = false",
            "[books3]\nallow_books3 = 'yes'",
            "[[books3]]\ntitles = []",
            "[dedup]\nkeep_books3 = true",
        ] {
            let refused = check(table);
            assert!(
                matches!(refused, Err(RecipeError::Books3Refused { .. })),
                "{table}"
            );
        }
    }
}
