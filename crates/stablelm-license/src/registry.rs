//! The components we know, read from the crate's data files.
//!
//! The files hold `{"components": [...]}`; a component stands in exactly one of them. Nothing here
//! decides what a license allows.

use std::sync::OnceLock;

use serde::Deserialize;
use thiserror::Error;

use crate::component::Component;

/// The data files, in the order their components are listed.
const FILES: [&str; 9] = [
    include_str!("../data/registry/stablelm-3b-4e1t.json"),
    include_str!("../data/registry/stablelm-alpha.json"),
    include_str!("../data/registry/stablelm-family.json"),
    include_str!("../data/registry/tokenizer-and-code.json"),
    include_str!("../data/registry/datasets.json"),
    include_str!("../data/registry/redpajama.json"),
    include_str!("../data/registry/the-pile.json"),
    include_str!("../data/registry/other-datasets.json"),
    include_str!("../data/registry/fixtures.json"),
];

/// How many names [`Registry::nearest`] returns at most.
const NEAREST: usize = 3;

/// The known components.
#[derive(Clone, Debug)]
pub struct Registry {
    components: Vec<Component>,
}

/// Why bytes are not a registry file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The bytes are not JSON of the form `{"components": [...]}`.
    #[error("failed to read the license registry")]
    Json(#[source] serde_json::Error),
    /// Two components have the same id.
    #[error("component `{0}` stands in the license registry twice")]
    Twice(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    components: Vec<Component>,
}

impl Registry {
    /// Returns the registry that comes with this crate.
    pub fn builtin() -> Registry {
        static BUILTIN: OnceLock<Registry> = OnceLock::new();
        BUILTIN.get_or_init(read_builtin).clone()
    }

    /// Returns a registry without components, to be filled by [`Registry::with_user`].
    pub fn empty() -> Registry {
        Registry {
            components: Vec::new(),
        }
    }

    /// Returns this registry with the components of a user's file, `{"components": [...]}`.
    ///
    /// A component of the user stands before all others and replaces the one with its id, so what
    /// the user knows better counts. The statement that something was taken down stays.
    ///
    /// # Errors
    /// When the bytes are no registry file, or an id stands in it twice.
    pub fn with_user(mut self, bytes: &[u8]) -> Result<Registry, RegistryError> {
        let file: RegistryFile = serde_json::from_slice(bytes).map_err(RegistryError::Json)?;
        let mut components: Vec<Component> = Vec::new();
        for mut component in file.components {
            if components.iter().any(|other| other.id == component.id) {
                return Err(RegistryError::Twice(component.id));
            }
            let replaced = self
                .components
                .iter()
                .position(|old| old.id == component.id);
            if let Some(position) = replaced {
                let old = self.components.remove(position);
                component.takedown = component.takedown.or(old.takedown);
            }
            components.push(component);
        }
        components.append(&mut self.components);
        Ok(Registry { components })
    }

    /// Returns a component by id, hub id (with or without `@revision`), name or alias, in any
    /// letter case.
    pub fn get(&self, id: &str) -> Option<&Component> {
        let wanted = id.split_once('@').map_or(id, |(id, _)| id).trim();
        self.components
            .iter()
            .find(|component| names(component).any(|name| name.eq_ignore_ascii_case(wanted)))
    }

    /// Returns every component, in the order of the files.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        self.components.iter()
    }

    /// Returns the ids that a mistyped one was probably meant to be, best first, at most three.
    pub fn nearest(&self, id: &str) -> Vec<&str> {
        let wanted = id.to_ascii_lowercase();
        let limit = (wanted.chars().count() / 3).max(2);
        let mut found: Vec<(usize, &str)> = self
            .components
            .iter()
            .filter_map(|component| {
                let closest = names(component)
                    .map(|name| edit_distance(&name.to_ascii_lowercase(), &wanted))
                    .min()?;
                (closest <= limit).then_some((closest, component.id.as_str()))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().take(NEAREST).map(|(_, id)| id).collect()
    }

    /// Returns the components that are subsets of another, in the order of the files.
    pub fn parts(&self, id: &str) -> impl Iterator<Item = &Component> {
        self.components
            .iter()
            .filter(move |component| component.part_of.as_deref() == Some(id))
    }

    /// Returns the license of a recipe's source: an SPDX expression, a `LicenseRef-...` or
    /// `NOASSERTION`; `None` for kinds that say nothing about where the text came from.
    pub fn data_license(&self, source_kind: &str, subset: Option<&str>) -> Option<&str> {
        self.data_component(source_kind, subset)
            .map(|component| component.license.as_str())
    }

    /// Returns what a recipe's source is: the named subset, or the whole where the subset is not
    /// known or not given. `None` for kinds such as `jsonl` that name no dataset.
    pub fn data_component(&self, source_kind: &str, subset: Option<&str>) -> Option<&Component> {
        let of_subset = subset.and_then(|subset| {
            self.matching(source_kind, |subsets| {
                subsets.iter().any(|name| name.eq_ignore_ascii_case(subset))
            })
        });
        of_subset.or_else(|| self.matching(source_kind, <[String]>::is_empty))
    }

    fn matching(&self, kind: &str, wanted: impl Fn(&[String]) -> bool) -> Option<&Component> {
        self.components.iter().find(|component| {
            component
                .sources
                .iter()
                .any(|source| source.kind == kind && wanted(&source.subsets))
        })
    }
}

fn read_builtin() -> Registry {
    let components = FILES
        .iter()
        .flat_map(|text| {
            serde_json::from_str::<RegistryFile>(text)
                .expect("a test reads the files that are built into the crate")
                .components
        })
        .collect();
    Registry { components }
}

/// Returns every name a component is found by.
fn names(component: &Component) -> impl Iterator<Item = &str> {
    [component.id.as_str(), component.name.as_str()]
        .into_iter()
        .chain(component.hf_id.as_deref())
        .chain(component.aliases.iter().map(String::as_str))
}

/// Returns how many insertions, deletions and replacements of a character lie between two words.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (left_idx, left_char) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = left_idx + 1;
        for (right_idx, right_char) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left_char != *right_char);
            diagonal = row[right_idx + 1];
            row[right_idx + 1] = replaced.min(diagonal + 1).min(row[right_idx] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_found_by_each_of_its_names() {
        let registry = Registry::builtin();
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(
                registry.get(name).map(|found| found.id.as_str()),
                expected,
                "{name}"
            );
        };
        check("stablelm-3b-4e1t", Some("stablelm-3b-4e1t"));
        check("StabilityAI/StableLM-3B-4E1T", Some("stablelm-3b-4e1t"));
        check(
            "stabilityai/stablelm-3b-4e1t@9449c7d",
            Some("stablelm-3b-4e1t"),
        );
        check("StableLM 3B 4E1T", Some("stablelm-3b-4e1t"));
        check("BIBLIOTIK", Some("books3"));
        check("stablelm-4b", None);
    }

    #[test]
    fn a_mistyped_name_leads_to_the_right_one() {
        let registry = Registry::builtin();
        assert_eq!(registry.nearest("stablelm-3b-4e1")[0], "stablelm-3b-4e1t");
        assert_eq!(
            registry.nearest("falcon-refined-web")[0],
            "falcon-refinedweb"
        );
        assert!(registry.nearest("something entirely different").is_empty());
    }

    #[test]
    fn edits_are_counted() {
        let check = |left, right, expected| assert_eq!(edit_distance(left, right), expected);
        check("", "abc", 3);
        check("kitten", "sitting", 3);
        check("same", "same", 0);
    }

    #[test]
    fn a_source_has_the_license_of_its_subset() {
        let registry = Registry::builtin();
        let check = |kind: &str, subset: Option<&str>, expected: Option<&str>| {
            assert_eq!(
                registry.data_license(kind, subset),
                expected,
                "{kind} {subset:?}"
            );
        };
        check("pile", Some("Wikipedia (en)"), Some("CC-BY-SA-3.0"));
        check("pile", Some("FreeLaw"), Some("NOASSERTION"));
        check("pile", Some("a subset nobody knows"), Some("NOASSERTION"));
        check("pile", None, Some("NOASSERTION"));
        check("redpajama", Some("c4"), Some("ODC-By-1.0"));
        check(
            "redpajama",
            Some("common_crawl"),
            Some("LicenseRef-CommonCrawl-ToU"),
        );
        check("falcon-refinedweb", None, Some("ODC-By-1.0"));
        check("falcon-refinedweb", Some("whatever"), Some("ODC-By-1.0"));
        check(
            "starcoderdata",
            Some("rust"),
            Some("LicenseRef-TheStack-ToU"),
        );
        check("pes2o", None, Some("ODC-By-1.0"));
        check("pilev2", None, Some("NOASSERTION"));
        check("jsonl", None, None);
        check("parquet", Some("x"), None);
    }

    #[test]
    fn books3_is_recognized_in_every_source_that_held_it() {
        let registry = Registry::builtin();
        let check = |kind: &str, subset: &str| {
            let component = registry.data_component(kind, Some(subset)).expect("known");
            assert_eq!(component.id, "books3");
            assert!(component.takedown.is_some());
        };
        check("pile", "Books3");
        check("pile", "bibliotik");
        check("redpajama", "books3");
        check("pilev2", "books3");
    }
}
