//! A file of pairs: which documents are dropped, and for which others.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::DedupError;

/// Two numbers of 8 bytes, little-endian.
const PAIR_LEN: u64 = 16;

/// A document that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    /// Its number.
    pub(crate) duplicate: u64,
    /// The number of the document that stays instead.
    pub(crate) original: u64,
}

/// Pairs in order of the duplicate, which is in one pair only.
#[derive(Debug)]
pub(crate) struct Pairs {
    path: PathBuf,
    len: u64,
}

impl Pairs {
    /// Writes pairs that come in order; the file has its name only when it is whole.
    pub(super) fn write(
        path: &Path,
        pairs: impl Iterator<Item = Result<[u64; 2], DedupError>>,
    ) -> Result<Self, DedupError> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".partial");
        let beside = PathBuf::from(beside);
        let error = |source| DedupError::new(&beside, source);
        let mut writer = BufWriter::with_capacity(1 << 18, File::create(&beside).map_err(error)?);
        let mut len = 0;
        for pair in pairs {
            let pair = pair?.map(u64::to_le_bytes);
            writer.write_all(pair.as_flattened()).map_err(error)?;
            len += 1;
        }
        let file = writer
            .into_inner()
            .map_err(|failed| error(failed.into_error()))?;
        file.sync_all().map_err(error)?;
        std::fs::rename(&beside, path).map_err(error)?;
        let path = path.to_path_buf();
        Ok(Self { path, len })
    }

    /// Opens a file that was written before.
    #[cfg(test)]
    pub(crate) fn open(path: &Path) -> Result<Self, DedupError> {
        let error = |source| DedupError::new(path, source);
        let bytes = std::fs::metadata(path).map_err(error)?.len();
        if !bytes.is_multiple_of(PAIR_LEN) {
            let what = format!("{bytes} bytes are no whole number of pairs of {PAIR_LEN}");
            return Err(error(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        Ok(Self {
            path: path.to_path_buf(),
            len: bytes / PAIR_LEN,
        })
    }

    /// How many documents are dropped.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// All pairs, in order of the duplicate.
    pub(crate) fn read(&self) -> Result<PairReader, DedupError> {
        self.read_from(0)
    }

    /// The pairs whose duplicate is `document` or a later one.
    pub(crate) fn read_from(&self, document: u64) -> Result<PairReader, DedupError> {
        let error = |source| DedupError::new(&self.path, source);
        let mut file = File::open(&self.path).map_err(error)?;
        let start = first_from(&mut file, self.len, document).map_err(error)?;
        file.seek(SeekFrom::Start(start * PAIR_LEN))
            .map_err(error)?;
        Ok(PairReader {
            reader: BufReader::with_capacity(1 << 16, file),
            left: self.len - start,
            path: self.path.clone(),
        })
    }
}

/// The place of the first pair that is not before `document`.
fn first_from(file: &mut File, len: u64, document: u64) -> io::Result<u64> {
    let (mut before, mut from) = (0, len);
    while document > 0 && before < from {
        let middle = before.midpoint(from);
        file.seek(SeekFrom::Start(middle * PAIR_LEN))?;
        if read_pair(file)?.duplicate < document {
            before = middle + 1;
        } else {
            from = middle;
        }
    }
    Ok(before)
}

fn read_pair(reader: &mut impl Read) -> io::Result<Pair> {
    let mut bytes = [[0; 8]; 2];
    reader.read_exact(bytes.as_flattened_mut())?;
    let [duplicate, original] = bytes.map(u64::from_le_bytes);
    Ok(Pair {
        duplicate,
        original,
    })
}

/// Reads pairs in order.
#[derive(Debug)]
pub(crate) struct PairReader {
    reader: BufReader<File>,
    left: u64,
    path: PathBuf,
}

impl Iterator for PairReader {
    type Item = Result<Pair, DedupError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let pair = read_pair(&mut self.reader);
        Some(pair.map_err(|source| {
            self.left = 0;
            DedupError::new(&self.path, source)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_from_any_document_on() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("pairs");
        let all = [[3, 0], [5, 3], [6, 0], [900, 899]];
        Pairs::write(&path, all.into_iter().map(Ok)).unwrap();
        assert_eq!(parent.path().read_dir().unwrap().count(), 1);
        let pairs = Pairs::open(&path).unwrap();
        assert_eq!(pairs.len(), 4);
        for document in [0, 1, 3, 4, 5, 6, 7, 900, 901, u64::MAX] {
            let found = pairs.read_from(document).unwrap().map(Result::unwrap);
            let found: Vec<_> = found.map(|pair| [pair.duplicate, pair.original]).collect();
            let expected = all.iter().filter(|pair| pair[0] >= document);
            assert_eq!(found, expected.copied().collect::<Vec<_>>(), "{document}");
        }
    }

    #[test]
    fn a_file_that_was_cut_off_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("pairs");
        std::fs::write(&path, [0; 24]).unwrap();
        let error = Pairs::open(&path).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "24 bytes are no whole number of pairs of 16");
    }
}
