//! From a table of a recipe to a filter with its settings.

use toml::de::DeTable;

use crate::filter::FilterRecipe;
use crate::filter::gopher_quality::{self, GopherQuality, WordSplitter};
use crate::filter::length::{self, Length};
use crate::recipe::error::RecipeError;
use crate::recipe::fields::{Fields, Source};

/// Filters that recipes may name one day.
const FILTERS_TO_COME: [&str; 11] = [
    "c4",
    "c4-badwords",
    "c4-paragraph",
    "code-quality",
    "decontaminate",
    "fineweb-quality",
    "gopher-repetition",
    "language",
    "pii",
    "refinedweb-lines",
    "url",
];
/// Word splitters that recipes may name one day.
const SPLITTERS_TO_COME: [&str; 2] = ["spacy-en", "uax29"];

/// Parses one table of `[[sources.filters]]`; messages call it `called`.
pub(super) fn parse_filter(
    source: Source<'_>,
    table: &DeTable<'_>,
    called: &str,
) -> Result<FilterRecipe, RecipeError> {
    let name = table.iter().find(|(key, _)| key.get_ref() == "name");
    let name = name.and_then(|(_, value)| value.get_ref().as_str());
    let fields = |known: &[&'static str]| Fields::new(source, called.to_owned(), table, known);
    match name {
        Some(gopher_quality::NAME) => parse_gopher_quality(&fields(&GOPHER_KEYS)?),
        Some(length::NAME) => parse_length(&fields(&["name", "min_characters", "max_characters"])?),
        _ => {
            // The keys of a filter that nobody knows can't be checked.
            let fields = Fields::unchecked(source, called.to_owned(), table);
            let name = fields.required_string("name")?;
            if FILTERS_TO_COME.contains(&name) {
                return Err(fields.not_supported("name", "filter", name, &FilterRecipe::NAMES));
            }
            Err(fields.unknown_name("name", "filter", &FilterRecipe::NAMES))
        }
    }
}

const GOPHER_KEYS: [&str; 12] = [
    "name",
    "words",
    "min_doc_words",
    "max_doc_words",
    "min_avg_word_length",
    "max_avg_word_length",
    "max_symbol_word_ratio",
    "max_bullet_lines_ratio",
    "max_ellipsis_lines_ratio",
    "max_non_alpha_words_ratio",
    "min_stop_words",
    "stop_words",
];

fn parse_gopher_quality(fields: &Fields<'_>) -> Result<FilterRecipe, RecipeError> {
    let splitter = fields.required_string("words")?;
    if SPLITTERS_TO_COME.contains(&splitter) {
        return Err(fields.not_supported("words", "word splitter", splitter, &["whitespace"]));
    }
    if splitter != "whitespace" {
        return Err(fields.unknown_name("words", "word splitter", &["whitespace"]));
    }
    let mut filter = GopherQuality::published(WordSplitter::Whitespace);
    let whole = |key, value: &mut u64| -> Result<(), RecipeError> {
        *value = fields.whole(key)?.unwrap_or(*value);
        Ok(())
    };
    whole("min_doc_words", &mut filter.min_doc_words)?;
    whole("max_doc_words", &mut filter.max_doc_words)?;
    whole("min_stop_words", &mut filter.min_stop_words)?;
    let number = |key, value: &mut f64| -> Result<(), RecipeError> {
        *value = fields.number(key)?.unwrap_or(*value);
        Ok(())
    };
    number("min_avg_word_length", &mut filter.min_avg_word_length)?;
    number("max_avg_word_length", &mut filter.max_avg_word_length)?;
    number("max_symbol_word_ratio", &mut filter.max_symbol_word_ratio)?;
    number("max_bullet_lines_ratio", &mut filter.max_bullet_lines_ratio)?;
    number(
        "max_ellipsis_lines_ratio",
        &mut filter.max_ellipsis_lines_ratio,
    )?;
    number(
        "max_non_alpha_words_ratio",
        &mut filter.max_non_alpha_words_ratio,
    )?;
    if let Some(words) = fields.strings("stop_words")? {
        filter.stop_words = words;
    }
    Ok(FilterRecipe::GopherQuality(filter))
}

fn parse_length(fields: &Fields<'_>) -> Result<FilterRecipe, RecipeError> {
    let filter = Length {
        min_characters: fields.whole("min_characters")?,
        max_characters: fields.whole("max_characters")?,
    };
    if filter == Length::default() {
        return Err(fields.missing("min_characters"));
    }
    Ok(FilterRecipe::Length(filter))
}
