//! Recipes are read strictly, and never with Books3.

use std::path::Path;

use stablelm_data::{FilterRecipe, RecipeError, Sampling, parse_recipe};

const GOOD: &str = r#"name = "demo"
seed = 7
[tokenizer]
source = "tokenizer.json"
special_tokens_in_text = "drop"
[split]
train = 0.98
valid = 0.01
test = 0.01
[[sources]]
name = "web"
kind = "falcon-refinedweb"
paths = ["web/*.parquet"]
weight = 2
[[sources.filters]]
name = "gopher-quality"
words = "whitespace"
min_doc_words = 20
max_symbol_word_ratio = 0.5
[[sources.filters]]
name = "length"
max_characters = 1_000
[dedup]
exact = true
[output]
shard_tokens = 0
text = true
"#;

#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from), "{from}");
    let error =
        parse_recipe(&GOOD.replacen(from, to, 1), Path::new("recipes/demo.toml")).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(expected), "{message}");
    assert!(message.contains("demo.toml"), "{message}");
}

#[test]
fn a_recipe_is_read_with_its_defaults() {
    let recipe = parse_recipe(GOOD, Path::new("recipes/demo.toml")).unwrap();
    assert_eq!((recipe.name.as_str(), recipe.seed), ("demo", 7));
    assert!(recipe.tokenizer.append_eod && recipe.dedup.exact && recipe.output.text);
    assert_eq!(recipe.tokenizer_path(), Path::new("recipes/tokenizer.json"));
    let source = &recipe.sources[0];
    assert_eq!(source.sampling, Sampling::Weight(2.0));
    let FilterRecipe::GopherQuality(filter) = &source.filters[0] else {
        panic!("{source:?}")
    };
    assert_eq!((filter.min_doc_words, filter.max_doc_words), (20, 100_000));
    assert!((filter.max_symbol_word_ratio - 0.5).abs() < f64::EPSILON);
    assert!(
        matches!(&source.filters[1], FilterRecipe::Length(length) if length.max_characters == Some(1000))
    );
}

#[test]
fn mistakes_name_key_and_line_and_the_nearest_known_key() {
    check("seed", "sed", "unknown key `sed` in the recipe at line 2");
    check("seed", "sed", "the nearest known one is `seed`");
    check(
        "weight = 2",
        "wieght = 2",
        "unknown key `wieght` in source `web` at line 14",
    );
    check(
        "weight = 2",
        "wieght = 2",
        "the nearest known one is `weight`",
    );
    check(
        "min_doc_words",
        "min_words",
        "in filter 1 of source `web` at line 18",
    );
    check(
        "min_doc_words",
        "min_words",
        "the nearest known one is `min_doc_words`",
    );
    check("exact = true", "exakt = true", "`exact`");
    check(
        "exact = true",
        "xyz = true",
        "unknown key `xyz` in `[dedup]` at line 24 of `recipes/demo.toml`",
    );
    check(
        "source = \"tokenizer.json\"\n",
        "",
        "`[tokenizer]` of `recipes/demo.toml` has no `source`",
    );
    check("kind = \"falcon-refinedweb\"\n", "", "has no `kind`");
    check(
        "seed = 7",
        "seed = -7",
        "`seed` in the recipe at line 2 of `recipes/demo.toml` is `-7`, expected a whole number",
    );
    check("weight = 2", "weight = 0", "expected a number above 0");
    check("weight = 2", "weight = 2\nepochs = 1", "beside `weight`");
    check("weight = 2", "text = \"body\"", "has its own columns");
    check("train = 0.98", "train = 0.9", "sum to 0.92");
    check("train = 0.98", "train = \"all\"", "expected a number");
    check(
        "\"drop\"",
        "\"keep\"",
        "one of `escape`, `drop`, `error`, `encode`",
    );
    check(
        "name = \"web\"",
        "name = \"../web\"",
        "expected letters, digits",
    );
    check(
        "paths = [\"web/*.parquet\"]",
        "paths = []",
        "at least one path",
    );
    check("name = \"demo\"", "name = ", "is not TOML: line 1");
    check(
        "words = \"whitespace\"\n",
        "",
        "filter 1 of source `web` of `recipes/demo.toml` has no `words`",
    );
}

#[test]
fn books3_is_refused_however_it_is_asked_for() {
    for (from, to) in [
        ("name = \"web\"", "name = \"Books3\""),
        ("name = \"web\"", "name = \"the_pile_books-3\""),
        ("web/*.parquet", "books3/*.parquet"),
        ("web/*.parquet", "data/BOOKS 3/*.parquet"),
        ("web/*.parquet", "Bibliotik.jsonl.zst"),
        ("weight = 2", "subset = \"Books3\""),
        ("weight = 2", "subsets = [\"Pile-CC\", \"bibliotik\"]"),
        ("exact = true", "allow_books3 = true"),
    ] {
        let error = parse_recipe(&GOOD.replacen(from, to, 1), Path::new("demo.toml")).unwrap_err();
        assert!(
            matches!(error, RecipeError::Books3Refused { .. }),
            "{to}: {error}"
        );
    }
    let other = GOOD.replace("\"demo\"", "\"demo-without-books3\"");
    assert!(parse_recipe(&other, Path::new("no-books3/demo.toml")).is_ok());
}

#[test]
fn sources_have_their_own_names_and_one_way_of_sampling() {
    let source = "[[sources]]\nname = \"more\"\nkind = \"jsonl\"\npaths = [\"x\"]\n";
    let two = |source: &str| parse_recipe(&format!("{GOOD}{source}"), Path::new("demo.toml"));
    assert_eq!(two(source).unwrap().sources.len(), 2);
    let same = two(&source.replace("more", "web")).unwrap_err();
    assert!(
        same.to_string()
            .contains("two sources of `demo.toml` are named `web`"),
        "{same}"
    );
    let mixed = two(&format!("{source}epochs = 2\n")).unwrap_err();
    assert!(
        matches!(mixed, RecipeError::MixedSampling { .. }),
        "{mixed}"
    );
}

#[test]
fn a_recipe_may_say_who_makes_the_data_and_where_it_will_be() {
    let path = Path::new("recipes/demo.toml");
    let silent = parse_recipe(GOOD, path).unwrap();
    assert_eq!((silent.creator, silent.url), (None, None));
    let text = format!("creator = \"Example Lab\"\nurl = \"https://example.org\"\n{GOOD}");
    let recipe = parse_recipe(&text, path).unwrap();
    assert_eq!(recipe.creator.as_deref(), Some("Example Lab"));
    assert_eq!(recipe.url.as_deref(), Some("https://example.org"));
}
