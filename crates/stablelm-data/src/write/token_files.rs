//! The names of token files in a prepared folder, and which of them a source has.

use std::io;
use std::path::Path;

use crate::document::Split;
use crate::prepare::TOKENS;

/// A pair of token files of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenFile {
    pub(crate) split: Split,
    /// Its number, where the recipe asks for shards.
    pub(crate) shard: Option<u32>,
    /// Its path without endings, relative to the prepared folder.
    pub(crate) prefix: String,
}

/// Finds the token files of a source, splits in their order and shards in theirs.
pub(crate) fn find(folder: &Path, source: &str) -> io::Result<Vec<TokenFile>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder.join(TOKENS))? {
        let name = entry?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".idx"));
        files.extend(stem.and_then(|stem| parse(stem, source)));
    }
    files.sort();
    Ok(files)
}

fn parse(stem: &str, source: &str) -> Option<TokenFile> {
    let rest = stem.strip_prefix(source)?.strip_prefix('_')?;
    let rest = rest.strip_suffix("_text_document")?;
    let split = |name: &str| Split::ALL.into_iter().find(|split| split.as_str() == name);
    let (split, shard) = if let Some(split) = split(rest) {
        (split, None)
    } else {
        let (name, shard) = rest.rsplit_once('_')?;
        let digits = shard.len() >= 5 && shard.bytes().all(|byte| byte.is_ascii_digit());
        (split(name)?, Some(shard.parse().ok().filter(|_| digits)?))
    };
    Some(TokenFile {
        split,
        shard,
        prefix: format!("{TOKENS}/{stem}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_split_and_shard() {
        fn check(stem: &str, source: &str, expected: Option<(Split, Option<u32>)>) {
            let found = parse(stem, source).map(|file| (file.split, file.shard));
            assert_eq!(found, expected, "{stem}");
        }
        check("a_train_text_document", "a", Some((Split::Train, None)));
        let sharded = "a_valid_00012_text_document";
        check(sharded, "a", Some((Split::Valid, Some(12))));
        check("a_b_train_text_document", "a", None);
        check("a_train_train_text_document", "a", None);
        check("a_train_12_text_document", "a", None);
        check("a_train_00000_train_text_document", "a", None);
        check("ab_train_text_document", "a", None);
    }
}
