//! Remote paths taken apart, and the patterns in them.

use std::fmt;

use glob::{MatchOptions, Pattern};
use reqwest::Url;

use super::{RemoteError, shown};

/// A remote path, by who answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A file behind http or https.
    Http(Url),
    /// A file or pattern in a repository of the hub.
    Hub { repo: Repo, path: String },
    /// A file or pattern in an object store.
    Store { bucket: Bucket, key: String },
}

/// A repository of the hub at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repo {
    pub(super) is_dataset: bool,
    /// `organization/name`.
    pub(super) name: String,
    /// A branch, tag or commit, where the path names one.
    pub(super) revision: Option<String>,
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_dataset { "datasets/" } else { "" };
        write!(f, "hf://{kind}{}", self.name)?;
        match &self.revision {
            Some(revision) => write!(f, "@{}", revision.replace('/', "%2F")),
            None => Ok(()),
        }
    }
}

/// Who stores a bucket or container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Vendor {
    Aws,
    Google,
    Azure,
}

/// A bucket or container, as its address begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket {
    pub(super) vendor: Vendor,
    pub(super) scheme: String,
    /// Its name; for Azure maybe with the account (`container@account.dfs.core.windows.net`).
    pub(super) name: String,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.name)
    }
}

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, RemoteError> {
        let wrong = |what| RemoteError::Address {
            url: shown(text),
            what,
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let vendor = match scheme {
            "http" | "https" => {
                let mut url = Url::parse(text).map_err(|_| wrong("no host, or a broken one"))?;
                url.set_fragment(None);
                return Ok(Self::Http(url));
            }
            "hf" => return parse_hub(rest).map_err(wrong),
            "s3" | "s3a" => Vendor::Aws,
            "gs" => Vendor::Google,
            "az" | "azure" | "abfs" | "abfss" => Vendor::Azure,
            _ => return Err(wrong("an unknown scheme")),
        };
        let (name, key) = rest.split_once('/').unwrap_or((rest, ""));
        if name.is_empty() || is_pattern(name) {
            return Err(wrong("expected the name of a bucket after the scheme"));
        }
        if key.is_empty() {
            return Err(wrong("expected a file or a pattern after the bucket"));
        }
        let bucket = Bucket {
            vendor,
            scheme: scheme.to_owned(),
            name: name.to_owned(),
        };
        let key = key.to_owned();
        Ok(Self::Store { bucket, key })
    }
}

fn parse_hub(rest: &str) -> Result<Address, &'static str> {
    let (is_dataset, rest) = match rest.strip_prefix("datasets/") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("models/").unwrap_or(rest)),
    };
    let expected = "expected hf://datasets/ORGANIZATION/NAME[@REVISION]/FILE";
    let mut parts = rest.splitn(3, '/');
    let organization = parts.next().unwrap_or_default();
    let name = parts.next().unwrap_or_default();
    let mut path = parts.next().unwrap_or_default();
    let (name, revision) = match name.split_once('@') {
        None => (name, None),
        Some((name, "refs")) => {
            // `refs/convert/parquet` and `refs/pr/1` are the only revisions with slashes that are
            // written as they are.
            let mut parts = path.splitn(3, '/');
            let kind = parts.next().unwrap_or_default();
            let reference = parts.next().unwrap_or_default();
            path = parts.next().unwrap_or_default();
            (name, Some(format!("refs/{kind}/{reference}")))
        }
        Some((name, revision)) => (name, Some(revision.replace("%2F", "/"))),
    };
    let is_word = |word: &str| !word.is_empty() && !is_pattern(word) && word != "." && word != "..";
    if !is_word(organization) || !is_word(name) || path.is_empty() {
        return Err(expected);
    }
    if revision
        .as_deref()
        .is_some_and(|revision| !is_word(revision))
    {
        return Err("the revision after `@` is empty or a pattern");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("the path has an empty or relative part");
    }
    Ok(Address::Hub {
        repo: Repo {
            is_dataset,
            name: format!("{organization}/{name}"),
            revision,
        },
        path: path.to_owned(),
    })
}

/// Whether a path has a character that means something in a pattern.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// A pattern over keys, with the rules that local patterns have.
#[derive(Debug)]
pub(super) struct KeyPattern {
    pattern: Pattern,
    /// The folders that every match lies in, without the last slash; may be empty.
    pub(super) folder: String,
    /// Whether matches may lie deeper than `folder` itself.
    pub(super) is_deep: bool,
}

impl KeyPattern {
    /// Parses `key`; `url` is the whole path, for the error.
    pub(super) fn parse(url: &str, key: &str) -> Result<Self, RemoteError> {
        let pattern = Pattern::new(key).map_err(|error| RemoteError::Pattern {
            url: url.to_owned(),
            message: error.msg,
        })?;
        let first = key.find(['*', '?', '[']).unwrap_or(key.len());
        let folder = key[..first].rfind('/').map_or("", |slash| &key[..slash]);
        let rest = key[folder.len()..].trim_start_matches('/');
        Ok(Self {
            pattern,
            folder: folder.to_owned(),
            is_deep: rest.contains('/') || rest.contains("**"),
        })
    }

    /// The pattern that only `key` matches, whatever characters it has.
    pub(super) fn literal(key: &str) -> Self {
        let escaped = Pattern::escape(key);
        let pattern = Pattern::new(&escaped).expect("an escaped pattern is well-formed");
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self {
            pattern,
            folder: folder.to_owned(),
            is_deep: false,
        }
    }

    pub(super) fn matches(&self, key: &str) -> bool {
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        self.pattern.matches_with(key, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_hub(text: &str, repo: &str, revision: Option<&str>, path: &str) {
        match Address::parse(text).unwrap() {
            Address::Hub {
                repo: found,
                path: rest,
            } => {
                assert_eq!(found.name, repo);
                assert_eq!(found.revision.as_deref(), revision);
                assert_eq!(rest, path);
                // What is written back is read the same.
                let again = Address::parse(&format!("{found}/{rest}")).unwrap();
                assert_eq!(
                    again,
                    Address::Hub {
                        repo: found,
                        path: rest
                    }
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hub_paths_are_taken_apart() {
        check_hub("hf://datasets/a/b/c/*.parquet", "a/b", None, "c/*.parquet");
        check_hub("hf://a/b/c.json", "a/b", None, "c.json");
        check_hub("hf://models/a/b/c.json", "a/b", None, "c.json");
        check_hub("hf://datasets/a/b@v1.0/**", "a/b", Some("v1.0"), "**");
        let convert = Some("refs/convert/parquet");
        check_hub(
            "hf://datasets/a/b@refs/convert/parquet/x/0.parquet",
            "a/b",
            convert,
            "x/0.parquet",
        );
        check_hub(
            "hf://datasets/a/b@refs%2Fconvert%2Fparquet/x.parquet",
            "a/b",
            convert,
            "x.parquet",
        );
    }

    #[test]
    fn buckets_are_taken_apart() {
        let cases = [
            ("s3://b/x/y.jsonl", Vendor::Aws, "b", "x/y.jsonl"),
            ("gs://b/*", Vendor::Google, "b", "*"),
            ("az://c/x", Vendor::Azure, "c", "x"),
            (
                "abfs://c@a.dfs.core.windows.net/x",
                Vendor::Azure,
                "c@a.dfs.core.windows.net",
                "x",
            ),
        ];
        for (text, vendor, name, path) in cases {
            match Address::parse(text).unwrap() {
                Address::Store { bucket, key } => {
                    assert_eq!((bucket.vendor, &*bucket.name, &*key), (vendor, name, path));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn useless_paths_are_refused() {
        let cases = [
            "hf://datasets/a/b",
            "hf://datasets/a",
            "hf://",
            "hf://datasets/a/b@/x",
            "hf://a/../x",
            "hf://datasets/a/b/../x",
            "s3://",
            "s3://bucket",
            "s3://buck*/x",
            "http://",
            "ftp://a/b",
            "hf://datasets/a*/b/x",
            "hf://datasets/a/b//x",
        ];
        for text in cases {
            let error = Address::parse(text).unwrap_err();
            assert!(
                matches!(error, RemoteError::Address { .. }),
                "{text}: {error:?}"
            );
        }
    }

    #[test]
    fn patterns_cross_folders_only_with_two_stars() {
        let cases = [
            ("a/*.json", "a/b.json", true),
            ("a/*.json", "a/b/c.json", false),
            ("a/**/*.json", "a/b/c/d.json", true),
            ("a/**/*.json", "a/d.json", true),
            ("a/*.json", "a/.b.json", false),
            ("a/part-?[0-3].json", "a/part-02.json", true),
            ("a/part-?[0-3].json", "a/part-04.json", false),
            ("**", "a/b", true),
        ];
        for (pattern, key, expected) in cases {
            let parsed = KeyPattern::parse("s3://b", pattern).unwrap();
            assert_eq!(parsed.matches(key), expected, "{pattern} {key}");
        }
        let folders = [
            ("a/b/c*.json", "a/b", false),
            ("a*/b", "", true),
            ("*", "", false),
            ("a/**", "a", true),
        ];
        for (pattern, folder, is_deep) in folders {
            let parsed = KeyPattern::parse("s3://b", pattern).unwrap();
            assert_eq!(
                (&*parsed.folder, parsed.is_deep),
                (folder, is_deep),
                "{pattern}"
            );
        }
        assert!(KeyPattern::parse("s3://b", "a/[").is_err());
    }
}
