//! Filters that suit a kind of text, each profile with the reasons for its choice.

use std::path::Path;

use toml::de::DeTable;

use crate::filter::FilterRecipe;
use crate::recipe::RecipeError;
use crate::recipe::error::TomlSyntax;
use crate::recipe::fields::{Fields, Source};

/// The names of the profiles.
pub(super) const NAMES: [&str; 5] = ["web", "code", "prose", "papers", "forum"];

/// The filters of a profile; `None` for a name that is none.
pub(super) fn filters(profile: &str) -> Option<Vec<FilterRecipe>> {
    let text = match profile {
        "web" => WEB,
        "code" => CODE,
        "prose" => PROSE,
        "papers" => PAPERS,
        "forum" => FORUM,
        _ => return None,
    };
    Some(parse_filters(text).expect("every profile is parsed by a test"))
}

/// Web pages: `FineWeb`'s filters as published (Penedo et al. 2024; datatrove `examples/fineweb.py`).
///
/// Strict on purpose, as there is more web than anybody needs: spaCy's words count punctuation, so
/// that one clean news page in seven has fewer than 80 % words with a letter and goes.
const WEB: &str = r#"
[[filters]]
name = "url"
[[filters]]
name = "language"
[[filters]]
name = "gopher-repetition"
words = "spacy-en"
[[filters]]
name = "gopher-quality"
words = "spacy-en"
[[filters]]
name = "c4"
words = "spacy-en"
# FineWeb keeps lines that end without a full stop here; its own rules look at them below.
filter_no_terminal_punct = false
[[filters]]
name = "fineweb-quality"
words = "spacy-en"
[[filters]]
name = "pii"
"#;

/// Source code: StarCoder's filters (Li et al. 2023, section 3.2).
///
/// Every rule on words is left out: code is one half punctuation, has no stop words, repeats its
/// lines and ends none with a full stop. Of 180 clean files, `FineWeb`'s filters keep none.
const CODE: &str = r#"
[[filters]]
name = "code-quality"
rules = "starcoder"
"#;

/// Books, speeches and encyclopedias: Gopher's rules on words and repetition.
///
/// C4's and `FineWeb`'s rules on lines are left out: verse, dialogue and lines that are cut at 70
/// characters break them, and a `{` drops a whole book.
const PROSE: &str = r#"
[[filters]]
name = "language"
[[filters]]
name = "gopher-quality"
words = "spacy-en"
# A book may have more than 100,000 words.
max_doc_words = 0
# Gopher's 0.8 is for words between white space. Dialogue has much punctuation, which spaCy counts.
max_non_alpha_words_ratio = 0.6
[[filters]]
name = "gopher-repetition"
words = "spacy-en"
"#;

/// Scientific papers: Gopher's rules, with room for formulas and references.
///
/// C4's and `FineWeb`'s rules on lines are left out, as running heads, tables and lists of references
/// break them.
const PAPERS: &str = r#"
[[filters]]
name = "language"
[[filters]]
name = "gopher-quality"
words = "spacy-en"
# peS2o keeps papers of 500 words or more; what is shorter is an abstract, or a scan that failed.
min_doc_words = 500
max_doc_words = 0
# Numbers, brackets of citations and signs of formulas are words of spaCy's: of 91 papers, 79 % are
# below 0.8.
max_non_alpha_words_ratio = 0.5
[[filters]]
name = "gopher-repetition"
words = "spacy-en"
"#;

/// Questions and answers, threads and mails: Gopher's rules, with room for short posts and code.
///
/// C4's rules are left out, as a `{` or the word `javascript` is what many answers are about.
const FORUM: &str = r#"
[[filters]]
name = "language"
# A short answer around code looks like several languages.
threshold = 0.3
[[filters]]
name = "gopher-quality"
words = "spacy-en"
# A good answer may be two sentences.
min_doc_words = 20
# Markdown writes headings with `#`, and shell sessions comments.
max_symbol_word_ratio = 0.2
# Answers are lists as often as not.
max_bullet_lines_ratio = 0.95
# Code in answers is one half punctuation and more.
max_non_alpha_words_ratio = 0.4
[[filters]]
name = "gopher-repetition"
words = "spacy-en"
# A single frequent pair of words fills a fifth of a text of thirty words.
top_n_grams = { 2 = 0.3, 3 = 0.25, 4 = 0.2 }
# Code repeats lines such as `}`: characters in them are counted still.
dup_line_frac = 0.5
[[filters]]
name = "pii"
"#;

/// Reads the `[[filters]]` of a piece of a recipe.
pub(crate) fn parse_filters(text: &str) -> Result<Vec<FilterRecipe>, RecipeError> {
    let source = Source {
        path: Path::new("profiles.rs"),
        text,
    };
    let table = DeTable::parse(text).map_err(|error| RecipeError::Syntax {
        path: source.path.to_path_buf(),
        line: error.span().map_or(1, |span| source.line(&span)),
        source: TomlSyntax(error),
    })?;
    let fields = Fields::unchecked(source, "the profile".to_owned(), table.get_ref());
    let tables = fields.tables("filters")?.into_iter();
    tables
        .enumerate()
        .map(|(index, table)| FilterRecipe::parse(source, table, &format!("filter {}", index + 1)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{BufRead, BufReader};

    use serde_json::Value;

    use super::*;
    use crate::document::Document;
    use crate::filter::{Metrics, Outcome};
    use crate::words::Scratch;

    /// Documents by kind, with the names of their kinds.
    fn documents() -> Option<Vec<(String, Document)>> {
        let path = stablelm_testkit::shared_oracles()?.join("data/docs.jsonl.gz");
        let lines =
            BufReader::new(flate2::read::MultiGzDecoder::new(File::open(path).unwrap())).lines();
        let documents = lines.map(|line| {
            let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let string = |value: &Value| value.as_str().map(str::to_owned);
            let metadata = &value["metadata"];
            let document = Document {
                id: string(&value["id"]),
                url: string(&metadata["url"]),
                file: string(&metadata["path"]),
                text: string(&value["text"]).unwrap(),
                ..Document::default()
            };
            (string(&metadata["kind"]).unwrap(), document)
        });
        Some(documents.collect())
    }

    /// The stage and reason for which `filters` drop a document.
    fn judge(
        filters: &[FilterRecipe],
        document: &Document,
        scratch: &mut Scratch,
    ) -> Option<String> {
        let mut document = document.clone();
        for filter in filters {
            let filter = filter.as_filter();
            scratch.next_text();
            match filter.apply(&document, scratch, &mut Metrics::off()) {
                Outcome::Keep => {}
                Outcome::Rewrite(text) => document.text = text,
                Outcome::Drop(reason) => return Some(format!("{} {}", filter.name(), reason.name)),
            }
        }
        None
    }

    #[test]
    fn every_name_has_a_profile() {
        for name in NAMES {
            assert!(
                filters(name).is_some_and(|filters| !filters.is_empty()),
                "{name}"
            );
        }
        assert!(filters("books").is_none());
    }

    /// Documents of its own kind that a profile keeps, and hand-made edge cases, mostly junk, that it drops.
    #[test]
    fn profiles_keep_their_own_kind_and_drop_junk() {
        let Some(documents) = documents() else {
            eprintln!("skipped: there are no golden values beside the repository");
            return;
        };
        let mut scratch = Scratch::default();
        let mut check = |profile: &str, kinds: &[&str], kept: f64, junk: f64| {
            let filters = filters(profile).unwrap();
            let mut share = |kinds: &[&str]| {
                let own = documents
                    .iter()
                    .filter(|(kind, _)| kinds.contains(&kind.as_str()));
                let reasons: Vec<_> = own
                    .map(|(_, own)| judge(&filters, own, &mut scratch))
                    .collect();
                let kept = reasons.iter().filter(|reason| reason.is_none()).count();
                (kept as f64 / reasons.len() as f64, reasons)
            };
            let (found, reasons) = share(kinds);
            eprintln!("{profile} keeps {:.1} % of {kinds:?}", 100.0 * found);
            assert!(
                found >= kept,
                "{profile} keeps {found} of {kinds:?}: {reasons:?}"
            );
            let (found, reasons) = share(&["edge"]);
            eprintln!("{profile} keeps {:.1} % of the edge cases", 100.0 * found);
            assert!(
                1.0 - found >= junk,
                "{profile} keeps {found} of the edge cases: {reasons:?}"
            );
        };
        check("prose", &["book", "prose_misc"], 1.0, 0.9);
        check("papers", &["pes2o_papers"], 0.9, 1.0);
        check("forum", &["stackexchange_qa"], 0.8, 0.7);
        // Most edge cases are prose, which rules on code can't tell from comments.
        check("code", &["starcoder_code"], 1.0, 0.5);
        // Nothing there is a web page; clean prose passes all of FineWeb's rules.
        check("web", &["prose_misc"], 1.0, 1.0);
    }
}
