//! What can be wrong with a recipe.

use std::path::PathBuf;

/// Why a recipe can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The text is not TOML.
    #[error("`{}` is not TOML: line {line}", path.display())]
    Syntax {
        /// The recipe.
        path: PathBuf,
        /// Line of the mistake, from 1.
        line: usize,
        /// What the parser says.
        #[source]
        source: TomlSyntax,
    },
    /// A key that means nothing here.
    #[error("unknown key `{key}` in {table} at line {line} of `{}`{}", path.display(), suggest(nearest.as_deref()))]
    UnknownKey {
        /// The recipe.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
        /// The key.
        key: Box<str>,
        /// The table that it stands in.
        table: Box<str>,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A key that must be there is not.
    #[error("{table} of `{}` has no `{key}`", path.display())]
    MissingKey {
        /// The recipe.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The table that it should stand in.
        table: Box<str>,
    },
    /// A value of the wrong type or out of bounds.
    #[error("`{key}` in {table} at line {line} of `{}` is {found}, expected {expected}", path.display())]
    Value {
        /// The recipe.
        path: PathBuf,
        /// Line of the value, from 1.
        line: usize,
        /// The key.
        key: Box<str>,
        /// The table that it stands in.
        table: Box<str>,
        /// What is possible.
        expected: Box<str>,
        /// What was found.
        found: Box<str>,
    },
    /// A name that nobody has heard of.
    #[error("unknown {what} `{name}` in {table} at line {line} of `{}`{}", path.display(), suggest(nearest.as_deref()))]
    UnknownName {
        /// The recipe.
        path: PathBuf,
        /// Line of the name, from 1.
        line: usize,
        /// What kind of thing it should name.
        what: &'static str,
        /// The name.
        name: Box<str>,
        /// The table that it stands in.
        table: Box<str>,
        /// The known name that looks most like it.
        nearest: Option<&'static str>,
    },
    /// Something that recipes may ask for one day.
    #[error("{what} `{name}` at line {line} of `{}` is not supported yet; supported: {supported}", path.display())]
    NotSupported {
        /// The recipe.
        path: PathBuf,
        /// Line of the name, from 1.
        line: usize,
        /// What kind of thing it names.
        what: &'static str,
        /// The name.
        name: Box<str>,
        /// What can be used today.
        supported: Box<str>,
    },
    /// The shares of the splits do not sum to 1.
    #[error("the shares in `[split]` of `{}` sum to {sum}, expected 1", path.display())]
    SplitSum {
        /// The recipe.
        path: PathBuf,
        /// Their sum.
        sum: f64,
    },
    /// Two sources have one name.
    #[error("two sources of `{}` are named `{name}`", path.display())]
    SameName {
        /// The recipe.
        path: PathBuf,
        /// The name.
        name: Box<str>,
    },
    /// Some sources have weights and some have epochs.
    #[error("source `{name}` of `{}` sets `{found}` and another one does not: all sources need the same of `weight` and `epochs`", path.display())]
    MixedSampling {
        /// The recipe.
        path: PathBuf,
        /// The source that differs from the first one.
        name: Box<str>,
        /// What it sets.
        found: &'static str,
    },
    /// The recipe asks for Books3, which is always excluded.
    #[error("`{}` asks for Books3 at line {line}: {what} `{value}`; Books3 is always excluded", path.display())]
    Books3Refused {
        /// The recipe.
        path: PathBuf,
        /// Line of the request, from 1.
        line: usize,
        /// Where it stands.
        what: Box<str>,
        /// How it is spelled.
        value: Box<str>,
    },
}

fn suggest(nearest: Option<&str>) -> String {
    nearest
        .map(|nearest| format!("; the nearest known one is `{nearest}`"))
        .unwrap_or_default()
}

/// What the TOML parser says, without its drawing of the place.
#[derive(Debug)]
pub struct TomlSyntax(pub(crate) toml::de::Error);

impl std::fmt::Display for TomlSyntax {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.message())
    }
}

impl std::error::Error for TomlSyntax {}
