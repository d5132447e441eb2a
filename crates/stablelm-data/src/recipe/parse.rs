//! From the text of a recipe to a [`Recipe`].

use std::path::Path;
use std::str::FromStr;

use stablelm_tokenizer::SpecialTokensInText;
use toml::de::DeTable;

use crate::dedup::minhash::{self, MinhashRecipe};
use crate::filter::FilterRecipe;
use crate::recipe::error::{RecipeError, TomlSyntax};
use crate::recipe::fields::{Fields, Source};
use crate::recipe::profiles;
use crate::recipe::refuse_books3::refuse_books3;
use crate::recipe::{
    Books3Recipe, DedupRecipe, OutputRecipe, Recipe, Sampling, SourceKind, SourceRecipe,
    TokenizerRecipe, folder_of,
};
use crate::split::SplitShares;

/// Parses and checks a recipe.
///
/// `recipe_path` names the recipe in messages, and its folder is where relative paths start.
pub fn parse_recipe(text: &str, recipe_path: &Path) -> Result<Recipe, RecipeError> {
    let source = Source {
        path: recipe_path,
        text,
    };
    let document = DeTable::parse(text).map_err(|error| RecipeError::Syntax {
        path: recipe_path.to_path_buf(),
        line: error.span().map_or(1, |span| source.line(&span)),
        source: TomlSyntax(error),
    })?;
    let table = document.get_ref();
    refuse_books3(source, table)?;

    let known = [
        "name",
        "creator",
        "url",
        "seed",
        "tokenizer",
        "split",
        "sources",
        "dedup",
        "output",
        "training_tokens",
        "books3",
    ];
    let root = Fields::new(source, "the recipe".to_owned(), table, &known)?;
    Ok(Recipe {
        name: root.required_string("name")?.to_owned(),
        creator: root.string("creator")?.map(str::to_owned),
        url: root.string("url")?.map(str::to_owned),
        seed: root.whole("seed")?.unwrap_or(0),
        tokenizer: parse_tokenizer(&root)?,
        split: parse_split(&root)?,
        sources: parse_sources(&root)?,
        dedup: parse_dedup(&root)?,
        output: parse_output(&root)?,
        training_tokens: root.whole("training_tokens")?,
        books3: parse_books3(&root)?,
        lists: Vec::new(),
        folder: folder_of(recipe_path),
    })
}

fn parse_tokenizer(root: &Fields<'_>) -> Result<TokenizerRecipe, RecipeError> {
    let known = ["source", "append_eod", "special_tokens_in_text"];
    let fields = root.table("tokenizer", "`[tokenizer]`", &known)?;
    let fields = fields.ok_or_else(|| root.missing("tokenizer"))?;
    let key = "special_tokens_in_text";
    let policy = fields
        .string(key)?
        .unwrap_or(SpecialTokensInText::Escape.as_str());
    Ok(TokenizerRecipe {
        source: fields.required_string("source")?.to_owned(),
        append_eod: fields.bool("append_eod")?.unwrap_or(true),
        special_tokens_in_text: SpecialTokensInText::from_str(policy)
            .map_err(|_| fields.wrong(key, "one of `escape`, `drop`, `error`, `encode`"))?,
    })
}

fn parse_split(root: &Fields<'_>) -> Result<SplitShares, RecipeError> {
    let all_train = SplitShares {
        train: 1.0,
        valid: 0.0,
        test: 0.0,
    };
    let Some(fields) = root.table("split", "`[split]`", &["train", "valid", "test"])? else {
        return Ok(all_train);
    };
    let shares = SplitShares {
        train: fields.number("train")?.unwrap_or(0.0),
        valid: fields.number("valid")?.unwrap_or(0.0),
        test: fields.number("test")?.unwrap_or(0.0),
    };
    let sum = shares.train + shares.valid + shares.test;
    if (sum - 1.0).abs() > 1e-9 {
        return Err(RecipeError::SplitSum {
            path: root.source().path.to_path_buf(),
            sum,
        });
    }
    Ok(shares)
}

fn parse_dedup(root: &Fields<'_>) -> Result<DedupRecipe, RecipeError> {
    let Some(fields) = root.table("dedup", "`[dedup]`", &["exact", "minhash"])? else {
        return Ok(DedupRecipe::default());
    };
    let minhash = fields.table("minhash", "`[dedup.minhash]`", minhash::KEYS)?;
    let minhash = minhash.map(|fields| MinhashRecipe::parse(&fields));
    Ok(DedupRecipe {
        minhash: minhash.transpose()?,
        exact: fields.bool("exact")?.unwrap_or(false),
    })
}

fn parse_output(root: &Fields<'_>) -> Result<OutputRecipe, RecipeError> {
    let known = ["shard_tokens", "text", "dropped_text"];
    let Some(fields) = root.table("output", "`[output]`", &known)? else {
        return Ok(OutputRecipe::default());
    };
    Ok(OutputRecipe {
        shard_tokens: fields.whole("shard_tokens")?.unwrap_or(0),
        text: fields.bool("text")?.unwrap_or(false),
        dropped_text: fields.bool("dropped_text")?.unwrap_or(false),
    })
}

fn parse_books3(root: &Fields<'_>) -> Result<Books3Recipe, RecipeError> {
    let Some(fields) = root.table("books3", "`[books3]`", &["titles", "fingerprints"])? else {
        return Ok(Books3Recipe::default());
    };
    Ok(Books3Recipe {
        titles: fields.strings("titles")?.unwrap_or_default(),
        fingerprints: fields.strings("fingerprints")?.unwrap_or_default(),
    })
}

fn parse_sources(root: &Fields<'_>) -> Result<Vec<SourceRecipe>, RecipeError> {
    let mut sources: Vec<SourceRecipe> = Vec::new();
    let path = || root.source().path.to_path_buf();
    for table in root.tables("sources")? {
        let source = parse_source(root.source(), table, sources.len())?;
        if sources.iter().any(|other| other.name == source.name) {
            return Err(RecipeError::SameName {
                path: path(),
                name: source.name.into(),
            });
        }
        let same = |other: &SourceRecipe| {
            std::mem::discriminant(&other.sampling) == std::mem::discriminant(&source.sampling)
        };
        if !sources.iter().all(same) {
            let found = match source.sampling {
                Sampling::Weight(_) => "weight",
                Sampling::Epochs(_) => "epochs",
            };
            return Err(RecipeError::MixedSampling {
                path: path(),
                name: source.name.into(),
                found,
            });
        }
        sources.push(source);
    }
    if sources.is_empty() {
        return Err(root.missing("sources"));
    }
    Ok(sources)
}

fn parse_source(
    source: Source<'_>,
    table: &DeTable<'_>,
    index: usize,
) -> Result<SourceRecipe, RecipeError> {
    let called = table.iter().find(|(key, _)| key.get_ref() == "name");
    let called = match called.and_then(|(_, value)| value.get_ref().as_str()) {
        Some(name) => format!("source `{name}`"),
        None => format!("source {}", index + 1),
    };
    let known = [
        "name", "kind", "paths", "weight", "epochs", "text", "id", "filters", "profile",
    ];
    let fields = Fields::new(source, called.clone(), table, &known)?;
    let name = fields.required_string("name")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.chars().all(plain) || name.starts_with('.') {
        return Err(fields.wrong(
            "name",
            "letters, digits, `-`, `_` and `.`, as it names files",
        ));
    }
    let kind = parse_kind(&fields)?;
    let generic = matches!(
        kind,
        SourceKind::Jsonl | SourceKind::Parquet | SourceKind::Arrow
    );
    for key in ["text", "id"] {
        if fields.has(key) && !generic {
            return Err(fields.wrong(key, &format!("nothing: kind `{kind}` has its own columns")));
        }
    }
    let mut filters = match fields.string("profile")? {
        None => Vec::new(),
        Some(profile) => profiles::filters(profile)
            .ok_or_else(|| fields.unknown_name("profile", "profile", &profiles::NAMES))?,
    };
    for (index, table) in fields.tables("filters")?.into_iter().enumerate() {
        filters.push(FilterRecipe::parse(
            source,
            table,
            &format!("filter {} of {called}", index + 1),
        )?);
    }
    Ok(SourceRecipe {
        name: name.to_owned(),
        kind,
        paths: parse_paths(&fields)?,
        sampling: parse_sampling(&fields)?,
        text: fields.string("text")?.map(str::to_owned),
        id: fields.string("id")?.map(str::to_owned),
        filters,
    })
}

fn parse_kind(fields: &Fields<'_>) -> Result<SourceKind, RecipeError> {
    let kind = fields.required_string("kind")?;
    let supported = SourceKind::ALL.map(SourceKind::as_str);
    if let Some(found) = SourceKind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind)
    {
        return Ok(found);
    }
    Err(fields.unknown_name("kind", "kind", &supported))
}

fn parse_paths(fields: &Fields<'_>) -> Result<Vec<String>, RecipeError> {
    let paths = fields
        .strings("paths")?
        .ok_or_else(|| fields.missing("paths"))?;
    if paths.is_empty() || paths.iter().any(String::is_empty) {
        return Err(fields.wrong("paths", "at least one path, and none empty"));
    }
    Ok(paths)
}

fn parse_sampling(fields: &Fields<'_>) -> Result<Sampling, RecipeError> {
    let positive = |key| match fields.number(key)? {
        Some(0.0) => Err(fields.wrong(key, "a number above 0")),
        number => Ok(number),
    };
    match (positive("weight")?, positive("epochs")?) {
        (Some(_), Some(_)) => Err(fields.wrong("epochs", "nothing, beside `weight`")),
        (None, Some(epochs)) => Ok(Sampling::Epochs(epochs)),
        (weight, None) => Ok(Sampling::Weight(weight.unwrap_or(1.0))),
    }
}
