//! The files that filters and rules look into: word lists, domains, evaluation sets, fingerprints.
//!
//! Parsing a recipe touches no file; this does, once, before a run.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::sync::Arc;

use memmap2::Mmap;
use serde::Serialize;

use crate::books3::{Books3ListError, Books3Rules};
use crate::hash::{sha256, sha256_file, to_hex};
use crate::recipe::Recipe;

/// A file that a recipe names as a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListFile {
    /// Its path, as the recipe has it.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// Why a list can't be used.
#[derive(Debug, thiserror::Error)]
#[error("source `{source_name}`: failed to load the lists of filter `{filter}`")]
pub struct ListError {
    source_name: String,
    filter: &'static str,
    #[source]
    source: io::Error,
}

/// Reads the lists that the filters of a recipe name, and notes the hash of each in the recipe.
pub fn load_lists(recipe: &mut Recipe) -> Result<(), ListError> {
    let folder = recipe.folder.clone();
    let files = RefCell::new(Vec::<ListFile>::new());
    let read = |path: &str| -> io::Result<Vec<u8>> {
        let full = folder.join(path);
        let bytes = std::fs::read(&full).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("failed to read `{}`: {error}", full.display()),
            )
        })?;
        note(
            &mut files.borrow_mut(),
            path,
            bytes.len() as u64,
            to_hex(&sha256(&bytes)),
        );
        Ok(bytes)
    };
    for source in &mut recipe.sources {
        for filter in &mut source.filters {
            let loaded = filter.load(&read);
            loaded.map_err(|error| ListError {
                source_name: source.name.clone(),
                filter: filter.as_filter().name(),
                source: error,
            })?;
        }
    }
    let mut files = files.into_inner();
    for path in recipe
        .books3
        .titles
        .iter()
        .chain(&recipe.books3.fingerprints)
    {
        // A file that can't be read is an error of the rules, which name it.
        if let Ok((bytes, sha256)) = sha256_file(&folder.join(path)) {
            note(&mut files, path, bytes, sha256);
        }
    }
    recipe.lists = files;
    Ok(())
}

fn note(files: &mut Vec<ListFile>, path: &str, bytes: u64, sha256: String) {
    if files.iter().all(|file| file.path != path) {
        let path = path.to_owned();
        files.push(ListFile {
            path,
            bytes,
            sha256,
        });
    }
}

/// The rules that keep Books3 out, with the lists of a recipe; fingerprints are mapped, not read.
pub(crate) fn books3_rules(recipe: &Recipe) -> Result<Books3Rules, Books3ListError> {
    Books3Rules::load_shared(&recipe.books3, &|path| {
        let file = File::open(recipe.resolve(path))?;
        // SAFETY: the list is only read, and its layout is checked before use. Someone who writes
        // to the file meanwhile can change what is found, or end the process, but not its memory.
        let bytes = unsafe { Mmap::map(&file)? };
        Ok(Arc::new(bytes))
    })
}
