//! The keys of filters in recipes, and what is refused.

use std::path::Path;

use toml::de::DeTable;

use super::FilterRecipe;
use super::c4::C4;
use super::c4_badwords::C4Badwords;
use super::c4_paragraph::C4Paragraph;
use super::fineweb_quality::FinewebQuality;
use super::gopher_repetition::GopherRepetition;
use super::pii::Pii;
use crate::recipe::RecipeError;
use crate::recipe::fields::Source;
use crate::words::WordSplitter;

fn parse(text: &str) -> Result<FilterRecipe, RecipeError> {
    let path = Path::new("recipe.toml");
    let table = DeTable::parse(text).unwrap();
    FilterRecipe::parse(Source { path, text }, table.get_ref(), "filter 1")
}

fn check(text: &str, expected: &FilterRecipe) {
    assert_eq!(&parse(text).unwrap(), expected, "{text}");
}

fn check_refused(text: &str, expected: &str) {
    let error = parse(text).unwrap_err().to_string();
    assert!(error.contains(expected), "{text}: {error}");
}

#[test]
fn nothing_but_names_means_the_published_settings() {
    let words = WordSplitter::SpacyEn;
    check(
        "name = 'gopher-repetition'\nwords = 'spacy-en'",
        &FilterRecipe::GopherRepetition(GopherRepetition::published(words)),
    );
    check(
        "name = 'c4'\nwords = 'spacy-en'",
        &FilterRecipe::C4(C4::published(words)),
    );
    check(
        "name = 'fineweb-quality'\nwords = 'spacy-en'",
        &FilterRecipe::FinewebQuality(FinewebQuality::published(words)),
    );
    check(
        "name = 'c4-paragraph'",
        &FilterRecipe::C4Paragraph(C4Paragraph::published()),
    );
    check("name = 'pii'", &FilterRecipe::Pii(Pii::published()));
    check(
        "name = 'c4-badwords'",
        &FilterRecipe::C4Badwords(C4Badwords::published()),
    );
}

#[test]
fn settings_have_datatroves_names() {
    let words = WordSplitter::Whitespace;
    let repetition = GopherRepetition {
        dup_para_char_frac: 0.0,
        top_n_grams: [(1, 0.5), (12, 1.0)].into(),
        dup_n_grams: [].into(),
        ..GopherRepetition::published(words)
    };
    check(
        "name = 'gopher-repetition'\nwords = 'whitespace'\ndup_para_char_frac = 0\n\
         top_n_grams = { 12 = 1, 1 = 0.5 }\ndup_n_grams = {}",
        &FilterRecipe::GopherRepetition(repetition),
    );
    let mut c4 = C4 {
        max_word_length: 0,
        ..C4::published(words)
    };
    c4.lines.filter_no_terminal_punct = false;
    c4.documents.filter_curly_bracket = false;
    check(
        "name = 'c4'\nwords = 'whitespace'\nfilter_no_terminal_punct = false\n\
         filter_curly_bracket = false\nmax_word_length = 0",
        &FilterRecipe::C4(c4),
    );
    let fineweb = FinewebQuality {
        line_punct_exclude_zero: true,
        stop_chars: Some(vec![".".to_owned()]),
        ..FinewebQuality::published(words)
    };
    check(
        "name = 'fineweb-quality'\nwords = 'whitespace'\nline_punct_exclude_zero = true\n\
         stop_chars = ['.']",
        &FilterRecipe::FinewebQuality(fineweb),
    );
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    check_refused("name = 'c4'", "has no `words`");
    check_refused(
        "name = 'gopher-repetition'\nwords = 'uax29'\ntop_n_grams = { 21 = 0.1 }",
        "`21`",
    );
    check_refused(
        "name = 'c4-paragraph'\nmin_paragraphs = 10",
        "a whole number from 1 to 9",
    );
    check_refused(
        "name = 'pii'\nip_replacement = []",
        "a list of one or more strings",
    );
    check_refused(
        "name = 'c4-badwords'\nkeep_fraction = 1.5",
        "a number from 0 to 1",
    );
    check_refused("name = 'c4-badwords'\nwords_file = ''", "`words_file`");
}

/// The manifest and the run's identity hold the settings as a recipe has them.
#[test]
fn settings_are_written_flat() {
    let recipe = FilterRecipe::C4(C4::published(WordSplitter::SpacyEn));
    let json = serde_json::to_value(recipe).unwrap();
    assert_eq!(json["name"], "c4");
    assert_eq!(json["filter_no_terminal_punct"], true);
    assert_eq!(json["filter_curly_bracket"], true);
    let recipe = GopherRepetition::published(WordSplitter::SpacyEn);
    let json = serde_json::to_value(FilterRecipe::GopherRepetition(recipe)).unwrap();
    assert_eq!(json["top_n_grams"]["3"], 0.18);
}
