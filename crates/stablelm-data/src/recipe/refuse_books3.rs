//! Refuses a recipe that asks for Books3.

use toml::de::{DeTable, DeValue};

use crate::filter::books3::says_books3;
use crate::recipe::error::RecipeError;
use crate::recipe::fields::Source;

/// Looks for Books3 before anything else, so that an unknown way to ask for it is refused as well:
/// in every key, and in every string below `sources`.
pub(super) fn refuse_books3(source: Source<'_>, table: &DeTable<'_>) -> Result<(), RecipeError> {
    refuse_in_keys(source, table)?;
    let mut sources = table.iter().filter(|(key, _)| key.get_ref() == "sources");
    sources.try_for_each(|(_, value)| refuse_in_strings(source, "source", value))
}

fn refuse_in_keys(source: Source<'_>, table: &DeTable<'_>) -> Result<(), RecipeError> {
    for (key, value) in table {
        if says_books3(key.get_ref()) {
            return Err(refused(source, &key.span(), "key", key.get_ref()));
        }
        for table in tables_in(value.get_ref()) {
            refuse_in_keys(source, table)?;
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
