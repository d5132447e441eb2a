//! What a hub id looks like.

use std::fmt;

use hf_hub::{Repo, RepoType};

/// A repository of the hub, and which state of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubId {
    name: String,
    revision: Option<String>,
}

impl HubId {
    /// Reads `org/name` or `org/name@revision`; other texts are not ids.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (text, None),
        };
        let (organization, model) = name.split_once('/')?;
        // A revision can be a branch such as `refs/pr/3`.
        let parts = revision
            .into_iter()
            .flat_map(|revision| revision.split('/'));
        let is_id = [organization, model]
            .into_iter()
            .chain(parts)
            .all(super::is_plain_name);
        is_id.then(|| Self {
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
        })
    }

    /// Returns the organization and the name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the repository in the state asked for, or on its main branch.
    pub(super) fn repo(&self) -> Repo {
        self.repo_at(self.revision.as_deref().unwrap_or("main"))
    }

    /// Returns the repository in a given state.
    pub(super) fn repo_at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.name.clone(), RepoType::Model, revision.to_owned())
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        match &self.revision {
            Some(revision) => write!(formatter, "@{revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, Option<&str>)>) {
        let found = HubId::parse(text);
        let found = found.as_ref();
        let found = found.map(|id| (id.name.as_str(), id.revision.as_deref()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn ids_are_two_plain_names_and_perhaps_a_revision() {
        let stablelm = "stabilityai/stablelm-3b-4e1t";
        check(stablelm, Some((stablelm, None)));
        let pinned = format!("{stablelm}@refs/pr/3");
        check(&pinned, Some((stablelm, Some("refs/pr/3"))));
        check("stablelm", None);
        check("./models/stablelm", None);
        check("../stablelm", None);
        check("a/b/c", None);
        check("a/", None);
        check("a/b@", None);
        check("a/b@../../c", None);
        check("a/b c", None);
    }
}
