//! Which documents are duplicates of which others: the merge of the keys of all sources.
//!
//! Documents are numbered in the order of the recipe, every row counted. Exact duplicates are found
//! first, and only what they leave is compared by MinHash.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::dedup::{BandKeys, DedupError, ExactKeys, PairReader, Pairs};
use crate::prepare::PrepareError;
use crate::prepare::journal::SourceJournal;
use crate::prepare::keys;
use crate::prepare::spool::SpoolReader;
use crate::progress::Progress;
use crate::recipe::DedupRecipe;
use crate::write::WriteError;

/// The reason of a document whose text came before.
const EXACT: &str = "exact_duplicate";
/// The reason of a document that another one is nearly equal to.
const NEAR: &str = "near_duplicate";
/// Bytes of a place: source (u32), file (u32) and row (u64).
const PLACE_LEN: usize = 16;

/// The duplicates of a run.
pub(crate) struct Duplicates {
    exact: Option<Pairs>,
    near: Option<Pairs>,
    places: File,
    places_path: PathBuf,
}

/// Where a document lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: u32,
    pub(crate) file: u32,
    pub(crate) row: u64,
}

/// The spool of keys of source number `source`.
pub(crate) fn keys_path(work: &Path, source: usize) -> PathBuf {
    work.join(format!("{source}.keys"))
}

/// Finds the duplicates among all documents of the spools.
pub(crate) fn find(
    work: &Path,
    sources: &[SourceJournal],
    recipe: DedupRecipe,
    memory_limit: u64,
) -> Result<Duplicates, PrepareError> {
    let places_path = work.join("places");
    let places = File::create(&places_path).map_err(WriteError::io(&places_path))?;
    let mut writer = BufWriter::with_capacity(256 << 10, places);
    let mut exact = recipe
        .exact
        .then(|| ExactKeys::new(work.join("exact.tmp"), memory_limit));
    let total: u64 = sources.iter().map(|source| source.keys_len).sum();
    let passes = 1 + u64::from(recipe.minhash.is_some());
    let mut progress = Progress::new("dedup", total * passes);
    let mut done = 0;
    for_each_key(work, sources, &mut |document, source, row| {
        let mut place = [0; PLACE_LEN];
        place[..4].copy_from_slice(&source.to_le_bytes());
        place[4..8].copy_from_slice(&row.file.to_le_bytes());
        place[8..].copy_from_slice(&row.row.to_le_bytes());
        writer
            .write_all(&place)
            .map_err(WriteError::io(&places_path))?;
        if let (Some(exact), Some(hash)) = (&mut exact, row.text_sha256) {
            exact.add(
                document,
                hash[..16].try_into().expect("a hash has 32 bytes"),
            )?;
        }
        done += key_len(&row);
        progress.bytes(done.min(total));
        Ok(())
    })?;
    let writer = writer.into_inner().map_err(io::IntoInnerError::into_error);
    drop(writer.map_err(WriteError::io(&places_path))?);
    let exact = exact.map(|exact| exact.finish(&work.join("exact")));
    let exact = exact.transpose()?;

    let near = match recipe.minhash {
        None => None,
        Some(minhash) => {
            let mut near = BandKeys::new(work.join("near.tmp"), memory_limit, minhash.keep);
            let mut known = exact.as_ref().map(Pairs::read).transpose()?;
            let mut next = next_pair(&mut known)?;
            let mut done = total;
            for_each_key(work, sources, &mut |document, _, row| {
                while next.is_some_and(|(duplicate, _)| duplicate < document) {
                    next = next_pair(&mut known)?;
                }
                let is_known = next.is_some_and(|(duplicate, _)| duplicate == document);
                if let Some(bands) = row.bands
                    && !is_known
                {
                    near.add(document, bands, row.characters)?;
                }
                done += key_len(&row);
                progress.bytes(done.min(2 * total));
                Ok(())
            })?;
            Some(near.finish(&work.join("near"))?)
        }
    };
    progress.bytes(total * passes);
    let places = File::open(&places_path).map_err(WriteError::io(&places_path))?;
    Ok(Duplicates {
        exact,
        near,
        places,
        places_path,
    })
}

/// Bytes that a row takes in the spool, roughly.
fn key_len(row: &keys::KeyRow<'_>) -> u64 {
    60 + row.bands.map_or(0, <[u8]>::len) as u64
}

fn for_each_key(
    work: &Path,
    sources: &[SourceJournal],
    visit: &mut dyn FnMut(u64, u32, keys::KeyRow<'_>) -> Result<(), PrepareError>,
) -> Result<(), PrepareError> {
    let mut document = 0;
    for (number, source) in sources.iter().enumerate() {
        let path = keys_path(work, number);
        let spool = |error| WriteError::Io {
            path: path.clone(),
            source: error,
        };
        let mut reader = SpoolReader::open(&path, source.keys_len).map_err(spool)?;
        let source = u32::try_from(number).expect("a recipe has few sources");
        while let Some(batch) = reader.next_batch().map_err(spool)? {
            for at in 0..batch.num_rows() {
                visit(document, source, keys::row(&batch, at))?;
                document += 1;
            }
        }
    }
    Ok(())
}

fn next_pair(reader: &mut Option<PairReader>) -> Result<Option<(u64, u64)>, DedupError> {
    match reader {
        None => Ok(None),
        Some(reader) => {
            let pair = reader.next().transpose()?;
            Ok(pair.map(|pair| (pair.duplicate, pair.original)))
        }
    }
}

impl Duplicates {
    /// Looks documents up one after another, from the first on.
    pub(crate) fn cursor(&self) -> Result<Cursor<'_>, PrepareError> {
        let open = |pairs: &Option<Pairs>, reason| -> Result<_, DedupError> {
            let mut reader = pairs.as_ref().map(Pairs::read).transpose()?;
            let next = next_pair(&mut reader)?;
            Ok(List {
                reason,
                reader,
                next,
            })
        };
        Ok(Cursor {
            of: self,
            lists: [open(&self.exact, EXACT)?, open(&self.near, NEAR)?],
        })
    }

    fn place(&self, document: u64) -> Result<Place, WriteError> {
        let mut bytes = [0; PLACE_LEN];
        self.places
            .read_exact_at(&mut bytes, document * PLACE_LEN as u64)
            .map_err(WriteError::io(&self.places_path))?;
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        Ok(Place {
            source: u32_at(0),
            file: u32_at(4),
            row: u64::from_le_bytes(bytes[8..].try_into().expect("8 bytes")),
        })
    }
}

/// Goes over all documents in order.
pub(crate) struct Cursor<'d> {
    of: &'d Duplicates,
    lists: [List; 2],
}

/// The pairs of one reason.
struct List {
    reason: &'static str,
    reader: Option<PairReader>,
    /// The next document and the one that stays in its place.
    next: Option<(u64, u64)>,
}

impl Cursor<'_> {
    /// The reason why `document` goes and the one that stays; documents are asked for in order.
    pub(crate) fn duplicate(
        &mut self,
        document: u64,
    ) -> Result<Option<(&'static str, Place)>, PrepareError> {
        for list in &mut self.lists {
            let List {
                reason,
                reader,
                next,
            } = list;
            while next.is_some_and(|(duplicate, _)| duplicate < document) {
                *next = next_pair(reader)?;
            }
            if let Some((duplicate, original)) = *next
                && duplicate == document
            {
                return Ok(Some((reason, self.of.place(original)?)));
            }
        }
        Ok(None)
    }
}
