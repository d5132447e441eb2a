//! Reads indexed datasets and checks everything that their index says.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::write::indexed::{HEADER_LEN, MAGIC, TokenDtype, VERSION, with_suffix};

/// Why an indexed dataset can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexedError {
    /// A file can't be opened or read.
    #[error("failed to read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("`{}` is not an index: it does not begin with `MMIDIDX`", path.display())]
    NotAnIndex {
        /// The file.
        path: PathBuf,
    },
    /// A version from another time.
    #[error("`{}` has version {found}, expected {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version.
        found: u64,
    },
    /// A token type that no language model uses.
    #[error("`{}` has tokens of type code {found}, expected 8 (u16) or 4 (i32)", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The code.
        found: u8,
    },
    /// A file is shorter or longer than the index says.
    #[error("`{}` has {found} bytes, expected {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// The length that the index asks for.
        expected: u64,
        /// The length of the file.
        found: u64,
    },
    /// The counts of the header are beyond any file.
    #[error("`{}` claims {sequences} sequences and {bounds} document bounds", path.display())]
    Counts {
        /// The file.
        path: PathBuf,
        /// Number of sequences.
        sequences: u64,
        /// Number of document bounds.
        bounds: u64,
    },
    /// The length or place of a sequence is off.
    #[error("sequence {sequence} of `{}` has {what} {found}, expected {expected}", path.display())]
    Sequence {
        /// The file.
        path: PathBuf,
        /// Number of the sequence, from 0.
        sequence: u64,
        /// What is off.
        what: &'static str,
        /// What is possible.
        expected: String,
        /// What the index says.
        found: i64,
    },
    /// The bounds of a document are off.
    #[error("document bound {bound} of `{}` is {found}, expected {expected}", path.display())]
    Bound {
        /// The file.
        path: PathBuf,
        /// Number of the bound, from 0.
        bound: u64,
        /// What is possible.
        expected: String,
        /// What the index says.
        found: i64,
    },
    /// A document beyond the last one.
    #[error("`{}` has no document {document}: it has {documents}", path.display())]
    NoDocument {
        /// The file.
        path: PathBuf,
        /// The number that was asked for, from 0.
        document: u64,
        /// How many there are.
        documents: u64,
    },
    /// A token that is no id.
    #[error("token {token} of `{}` is {found}, expected an id of 0 or more", path.display())]
    NegativeToken {
        /// The file.
        path: PathBuf,
        /// Number of the token in the file, from 0.
        token: u64,
        /// What the file says.
        found: i32,
    },
}

/// An indexed dataset whose index is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedDataset {
    /// Type of a token.
    pub dtype: TokenDtype,
    /// Number of sequences.
    pub num_sequences: u64,
    /// Number of documents.
    pub num_documents: u64,
    /// Number of tokens.
    pub num_tokens: u64,
    /// Length of the shortest sequence, in tokens; 0 where there is none.
    pub min_length: u64,
    /// Length of the longest sequence, in tokens.
    pub max_length: u64,
    idx_path: PathBuf,
    bin_path: PathBuf,
}

impl IndexedDataset {
    /// Opens `<prefix>.idx` and `<prefix>.bin` and checks the whole index in one pass.
    pub fn open(prefix: &Path) -> Result<Self, IndexedError> {
        let (idx_path, bin_path) = (with_suffix(prefix, ".idx"), with_suffix(prefix, ".bin"));
        let idx_len = Section::open(&idx_path, 0)?.file_len()?;
        let bin_len = Section::open(&bin_path, 0)?.file_len()?;
        let mut dataset = Self {
            dtype: TokenDtype::U16,
            num_sequences: 0,
            num_documents: 0,
            num_tokens: 0,
            min_length: 0,
            max_length: 0,
            idx_path,
            bin_path,
        };
        dataset.read_header(idx_len)?;
        dataset.read_sequences(bin_len)?;
        dataset.read_bounds()?;
        Ok(dataset)
    }

    /// Token ids of one document, all its sequences together.
    pub fn read_document(&self, document: u64) -> Result<Vec<u32>, IndexedError> {
        if document >= self.num_documents {
            return Err(IndexedError::NoDocument {
                path: self.idx_path.clone(),
                document,
                documents: self.num_documents,
            });
        }
        let mut bounds = Section::open(&self.idx_path, self.bounds_at() + 8 * document)?;
        let (first, end) = (bounds.i64()?, bounds.i64()?);
        let (Ok(first), Ok(end)) = (u64::try_from(first), u64::try_from(end)) else {
            return Ok(Vec::new());
        };
        let mut ids = Vec::new();
        for sequence in first..end.min(self.num_sequences) {
            let length = Section::open(&self.idx_path, HEADER_LEN + 4 * sequence)?.i32()?;
            let pointers = HEADER_LEN + 4 * self.num_sequences;
            let pointer = Section::open(&self.idx_path, pointers + 8 * sequence)?.i64()?;
            let (Ok(length), Ok(pointer)) = (u64::try_from(length), u64::try_from(pointer)) else {
                continue;
            };
            self.read_tokens(pointer, length, &mut ids)?;
        }
        Ok(ids)
    }

    fn read_tokens(
        &self,
        pointer: u64,
        length: u64,
        ids: &mut Vec<u32>,
    ) -> Result<(), IndexedError> {
        let mut tokens = Section::open(&self.bin_path, pointer)?;
        for offset in 0..length {
            ids.push(match self.dtype {
                TokenDtype::U16 => u32::from(u16::from_le_bytes(tokens.read()?)),
                TokenDtype::I32 => {
                    let found = tokens.i32()?;
                    u32::try_from(found).map_err(|_| IndexedError::NegativeToken {
                        path: self.bin_path.clone(),
                        token: pointer / self.dtype.size() + offset,
                        found,
                    })?
                }
            });
        }
        Ok(())
    }

    /// Where the document bounds begin. The header was checked against the file's length, so this
    /// can't overflow.
    fn bounds_at(&self) -> u64 {
        HEADER_LEN + 12 * self.num_sequences
    }

    fn read_header(&mut self, len: u64) -> Result<(), IndexedError> {
        let idx_path = self.idx_path.clone();
        let path = || idx_path.clone();
        let mut idx = Section::open(&idx_path, 0)?;
        if len < HEADER_LEN {
            return Err(IndexedError::Length {
                path: path(),
                expected: HEADER_LEN,
                found: len,
            });
        }
        if idx.read::<9>()? != *MAGIC {
            return Err(IndexedError::NotAnIndex { path: path() });
        }
        let version = idx.u64()?;
        if version != VERSION {
            return Err(IndexedError::Version {
                path: path(),
                found: version,
            });
        }
        let [code] = idx.read()?;
        self.dtype = TokenDtype::from_code(code).ok_or_else(|| IndexedError::Dtype {
            path: path(),
            found: code,
        })?;
        let (sequences, bounds) = (idx.u64()?, idx.u64()?);
        let expected = sequences
            .checked_mul(12)
            .zip(bounds.checked_mul(8))
            .and_then(|(sequences, bounds)| sequences.checked_add(bounds)?.checked_add(HEADER_LEN));
        let counts = || IndexedError::Counts {
            path: path(),
            sequences,
            bounds,
        };
        let expected = expected.ok_or_else(counts)?;
        if expected != len {
            return Err(IndexedError::Length {
                path: path(),
                expected,
                found: len,
            });
        }
        self.num_sequences = sequences;
        self.num_documents = bounds.checked_sub(1).ok_or_else(counts)?;
        Ok(())
    }

    fn read_sequences(&mut self, bin_len: u64) -> Result<(), IndexedError> {
        let mut lengths = Section::open(&self.idx_path, HEADER_LEN)?;
        let mut pointers = Section::open(&self.idx_path, HEADER_LEN + 4 * self.num_sequences)?;
        let off = |sequence, what, expected: String, found| IndexedError::Sequence {
            path: self.idx_path.clone(),
            sequence,
            what,
            expected,
            found,
        };
        let mut place = 0_u64;
        let (mut min, mut max) = (u64::MAX, 0);
        for sequence in 0..self.num_sequences {
            let found = i64::from(lengths.i32()?);
            let length = u64::try_from(found)
                .map_err(|_| off(sequence, "length", "0 or more".to_owned(), found))?;
            let pointer = pointers.i64()?;
            if u64::try_from(pointer) != Ok(place) {
                return Err(off(sequence, "place", place.to_string(), pointer));
            }
            let after = length
                .checked_mul(self.dtype.size())
                .and_then(|len| place.checked_add(len));
            place = after.filter(|&after| after <= bin_len).ok_or_else(|| {
                off(
                    sequence,
                    "length",
                    "an end inside the `.bin`".to_owned(),
                    found,
                )
            })?;
            min = min.min(length);
            max = max.max(length);
        }
        if place != bin_len {
            let path = self.bin_path.clone();
            return Err(IndexedError::Length {
                path,
                expected: place,
                found: bin_len,
            });
        }
        self.num_tokens = place / self.dtype.size();
        self.min_length = if self.num_sequences == 0 { 0 } else { min };
        self.max_length = max;
        Ok(())
    }

    fn read_bounds(&self) -> Result<(), IndexedError> {
        let mut bounds = Section::open(&self.idx_path, self.bounds_at())?;
        let off = |bound, expected: String, found| IndexedError::Bound {
            path: self.idx_path.clone(),
            bound,
            expected,
            found,
        };
        let mut before = 0;
        for bound in 0..=self.num_documents {
            let found = bounds.i64()?;
            let sequence = u64::try_from(found)
                .ok()
                .filter(|&sequence| sequence >= before && sequence <= self.num_sequences)
                .ok_or_else(|| off(bound, format!("{before} to {}", self.num_sequences), found))?;
            if bound == 0 && sequence != 0 {
                return Err(off(bound, "0".to_owned(), found));
            }
            if bound == self.num_documents && sequence != self.num_sequences {
                return Err(off(bound, self.num_sequences.to_string(), found));
            }
            before = sequence;
        }
        Ok(())
    }
}

/// Numbers read in a row from one place of a file.
struct Section<'p> {
    reader: BufReader<File>,
    path: &'p Path,
}

impl<'p> Section<'p> {
    fn open(path: &'p Path, at: u64) -> Result<Self, IndexedError> {
        let open = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(at))?;
            Ok(file)
        };
        let file = open().map_err(|source| IndexedError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        Ok(Self {
            reader: BufReader::new(file),
            path,
        })
    }

    fn file_len(&self) -> Result<u64, IndexedError> {
        self.reader
            .get_ref()
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|e| self.failed(e))
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], IndexedError> {
        let mut bytes = [0; N];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| self.failed(error))?;
        Ok(bytes)
    }

    fn u64(&mut self) -> Result<u64, IndexedError> {
        Ok(u64::from_le_bytes(self.read()?))
    }

    fn i64(&mut self) -> Result<i64, IndexedError> {
        Ok(i64::from_le_bytes(self.read()?))
    }

    fn i32(&mut self) -> Result<i32, IndexedError> {
        Ok(i32::from_le_bytes(self.read()?))
    }

    fn failed(&self, source: io::Error) -> IndexedError {
        IndexedError::Io {
            path: self.path.to_path_buf(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::Config as ProptestConfig;

    use super::*;
    use crate::write::indexed::IndexedWriter;

    fn write(folder: &Path, dtype: TokenDtype, documents: &[&[u32]]) -> PathBuf {
        let prefix = folder.join("a.b_text_document");
        let mut writer = IndexedWriter::create(&prefix, dtype).unwrap();
        for ids in documents {
            let bytes: Vec<u8> = match dtype {
                TokenDtype::U16 => ids
                    .iter()
                    .flat_map(|&id| u16::try_from(id).unwrap().to_le_bytes())
                    .collect(),
                TokenDtype::I32 => ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
            };
            writer.push_bytes(&bytes).unwrap();
        }
        writer.finish().unwrap();
        prefix
    }

    #[test]
    fn what_is_written_is_read_again() {
        for dtype in [TokenDtype::U16, TokenDtype::I32] {
            let folder = tempfile::tempdir().unwrap();
            let documents: [&[u32]; 4] = [&[1, 2, 3], &[], &[65_535], &[0]];
            let prefix = write(folder.path(), dtype, &documents);
            let dataset = IndexedDataset::open(&prefix).unwrap();
            assert_eq!((dataset.num_documents, dataset.num_tokens), (4, 5));
            assert_eq!((dataset.min_length, dataset.max_length), (0, 3));
            for (document, ids) in documents.iter().enumerate() {
                assert_eq!(dataset.read_document(document as u64).unwrap(), *ids);
            }
            assert!(matches!(
                dataset.read_document(4),
                Err(IndexedError::NoDocument { .. })
            ));
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = write(folder.path(), TokenDtype::U16, &[&[258], &[3, 4]]);
        assert_eq!(
            std::fs::read(with_suffix(&prefix, ".bin")).unwrap(),
            [2, 1, 3, 0, 4, 0]
        );
        let mut expected = b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0\x08".to_vec();
        for number in [2_u64, 3] {
            expected.extend(number.to_le_bytes());
        }
        for number in [1_i32, 2] {
            expected.extend(number.to_le_bytes());
        }
        for number in [0_i64, 2, 0, 1, 2] {
            expected.extend(number.to_le_bytes());
        }
        assert_eq!(
            std::fs::read(with_suffix(&prefix, ".idx")).unwrap(),
            expected
        );
    }

    #[test]
    fn an_index_that_lies_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = write(folder.path(), TokenDtype::U16, &[&[1, 2], &[3]]);
        let idx = with_suffix(&prefix, ".idx");
        let sound = std::fs::read(&idx).unwrap();
        let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
            let mut bytes = sound.clone();
            change(&mut bytes);
            std::fs::write(&idx, bytes).unwrap();
            let error = IndexedDataset::open(&prefix).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&|bytes| bytes.truncate(20), "20 bytes, expected 34");
        check(&|bytes| bytes.push(0), "bytes, expected");
        check(&|bytes| bytes[0] = b'X', "not an index");
        check(&|bytes| bytes[9] = 2, "version 2");
        check(&|bytes| bytes[17] = 7, "code 7");
        check(&|bytes| bytes[18..26].fill(0xff), "claims");
        check(&|bytes| bytes[26..34].fill(0), "bytes, expected");
        check(&|bytes| bytes[34..38].fill(0xff), "length -1");
        check(
            &|bytes| bytes[34] = 200,
            "length 200, expected an end inside",
        );
        check(&|bytes| bytes[34] = 1, "place 4, expected 2");
        check(&|bytes| bytes[38] = 0, "bytes, expected 4");
        check(&|bytes| bytes[58] = 1, "bound 0");
        check(&|bytes| bytes[66] = 9, "bound 1");
        check(&|bytes| bytes[74] = 1, "bound 2");
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_the_reader_panic(idx: Vec<u8>, bin: Vec<u8>, real_head: bool) {
            let folder = tempfile::tempdir().unwrap();
            let prefix = folder.path().join("x");
            let head: &[u8] = if real_head { b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0\x08" } else { b"" };
            std::fs::write(with_suffix(&prefix, ".idx"), [head, &idx].concat()).unwrap();
            std::fs::write(with_suffix(&prefix, ".bin"), bin).unwrap();
            if let Ok(dataset) = IndexedDataset::open(&prefix) {
                let _ = dataset.read_document(0);
            }
        }
    }
}
