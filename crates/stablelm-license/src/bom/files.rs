//! What a file of a release is, judged by its path, and so which license it is under.

use crate::component::{Component, ComponentKind, RelationKind};
use crate::ledger::Ledger;

/// What a file is to its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role<'a> {
    /// Numbers of the model and what says how to read them.
    Weights,
    /// What turns text into tokens.
    Tokenizer,
    /// Data of a source of the mixture.
    Source(&'a str),
    /// A document that was generated about the release.
    Paper,
    /// A document about the whole folder, which lists or signs the others and so is listed nowhere.
    AboutTheFolder,
    /// A license text or a statement of licenses, under no license of its own.
    LicenseText,
    /// Anything else.
    Other,
}

/// Names of generated documents.
const PAPERS: [&str; 12] = [
    "README.md",
    "NOTICE",
    "CHANGES.json",
    "CITATION.cff",
    "ledger.json",
    "ATTRIBUTION.md",
    "croissant.json",
    "manifest.json",
    "report.json",
    "report.html",
    "neox.yml",
    "sources.lock.json",
];

/// Names of a tokenizer's files.
const TOKENIZER: [&str; 8] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
];

/// Names of a model's files beside those that end as in [`WEIGHTS_ENDINGS`].
const WEIGHTS: [&str; 3] = ["config.json", "generation_config.json", "latest"];

const WEIGHTS_ENDINGS: [&str; 6] = [
    ".safetensors",
    ".safetensors.index.json",
    ".gguf",
    ".pt",
    ".bin",
    ".yml",
];

/// Endings of documents about the whole folder.
const ABOUT_ENDINGS: [&str; 4] = [".spdx3.json", ".spdx.json", ".cdx.json", ".sig"];

/// Folders of a prepared data set that hold data of its sources.
const DATA_FOLDERS: [&str; 4] = ["tokens", "text", "dropped", "quarantine"];

/// True for documents that list or sign the files of a folder, and so can't be among them.
///
/// Takes a path relative to the folder. Bills of materials and signatures are such documents, by
/// the endings of their names; so are the files of version control.
pub fn is_about_the_folder(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or(path);
    matches!(first, ".git" | ".gitignore" | ".gitattributes" | ".github")
        || ABOUT_ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// Says what a file is.
pub(crate) fn role<'a>(ledger: &'a Ledger, path: &str) -> Role<'a> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if is_about_the_folder(path) {
        return Role::AboutTheFolder;
    }
    let upper = name.to_ascii_uppercase();
    if folder.starts_with("LICENSES")
        || upper.starts_with("LICENSE")
        || upper.starts_with("COPYING")
        || name == "REUSE.toml"
        || name.ends_with(".license")
    {
        return Role::LicenseText;
    }
    if DATA_FOLDERS.contains(&folder) {
        return source_of(ledger, name).map_or(Role::Other, Role::Source);
    }
    if PAPERS.contains(&name) && folder.is_empty() {
        Role::Paper
    } else if TOKENIZER.contains(&name) {
        Role::Tokenizer
    } else if WEIGHTS.contains(&name) || WEIGHTS_ENDINGS.iter().any(|end| name.ends_with(end)) {
        Role::Weights
    } else {
        Role::Other
    }
}

/// Returns the licenses of files of a role; none for what nobody knows.
pub(crate) fn licenses_of<'a>(ledger: &'a Ledger, role: Role<'_>) -> Vec<&'a str> {
    match role {
        Role::Weights => ledger
            .subject()
            .map(|subject| subject.license.as_str())
            .into_iter()
            .collect(),
        Role::Tokenizer => tokenizer(ledger)
            .map(|tokenizer| tokenizer.license.as_str())
            .into_iter()
            .collect(),
        Role::Source(name) => ledger
            .sources
            .iter()
            .filter(|source| source.name == name)
            .map(|source| source.license.as_str())
            .collect(),
        Role::Paper | Role::AboutTheFolder => vec!["CC0-1.0"],
        Role::LicenseText | Role::Other => Vec::new(),
    }
}

/// Returns whose files of a role are, as components.
pub(crate) fn owners<'a>(ledger: &'a Ledger, role: Role<'_>) -> Vec<&'a Component> {
    match role {
        Role::Weights => ledger.subject().into_iter().collect(),
        Role::Tokenizer => tokenizer(ledger).into_iter().collect(),
        Role::Source(name) => ledger
            .sources
            .iter()
            .filter(|source| source.name == name)
            .filter_map(|source| ledger.component(source.component.as_deref()?))
            .collect(),
        Role::Paper | Role::AboutTheFolder | Role::LicenseText | Role::Other => Vec::new(),
    }
}

/// Returns the tokenizer of the subject, else the only one there is.
fn tokenizer(ledger: &Ledger) -> Option<&Component> {
    let of_subject = ledger.subject().and_then(|subject| {
        ledger
            .related(&subject.id, RelationKind::UsesTokenizer)
            .next()
    });
    of_subject.or_else(|| {
        let mut all = ledger
            .components
            .iter()
            .filter(|component| component.kind == ComponentKind::Tokenizer);
        all.next().filter(|_| all.next().is_none())
    })
}

/// Returns the source whose name a data file begins with; of several the longest, as `pile_v2`
/// begins with `pile_` too.
fn source_of<'a>(ledger: &'a Ledger, name: &str) -> Option<&'a str> {
    ledger
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .filter(|source| {
            name.strip_prefix(source)
                .is_some_and(|rest| rest.starts_with(['_', '.']))
        })
        .max_by_key(|source| source.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::SourceUse;
    use crate::registry::Registry;

    #[test]
    fn a_file_is_known_by_its_path() {
        let registry = Registry::builtin();
        let source = |name: &str| SourceUse::from_registry(&registry, name, "jsonl", None);
        let sources = vec![source("pile"), source("pile_v2")];
        let ledger = Ledger::for_mixture("x", sources, Vec::new(), &registry);
        let check =
            |path: &str, expected: Role<'_>| assert_eq!(role(&ledger, path), expected, "{path}");
        check("model-00001-of-00002.safetensors", Role::Weights);
        check(
            "global_step0/layer_00-model_00-model_states.pt",
            Role::Weights,
        );
        check("tokenizer.json", Role::Tokenizer);
        check("README.md", Role::Paper);
        check("docs/README.md", Role::Other);
        check("LICENSE", Role::LicenseText);
        check("LICENSES/CC0-1.0.txt", Role::LicenseText);
        check("bom.spdx3.json", Role::AboutTheFolder);
        check("model.sig", Role::AboutTheFolder);
        check("tokens/pile_train_text_document.bin", Role::Source("pile"));
        check(
            "tokens/pile_v2_train_text_document.bin",
            Role::Source("pile_v2"),
        );
        check("text/pile.parquet", Role::Source("pile"));
        check("tokens/other.bin", Role::Other);
        check("train.py", Role::Other);
    }
}
