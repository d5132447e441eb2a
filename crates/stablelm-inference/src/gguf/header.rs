//! The header of a GGUF file: metadata, and where tensors lie.
//!
//! By the specification (ggml's `docs/gguf.md`), versions 1 to 3, little endian. Nothing that the file says is believed
//! before it is compared with the bytes that there are, so that no number in it takes memory or time of its own.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use candle_core::quantized::GgmlDType;
use stablelm_model::{BlockFormat, Dtype};

/// How deep lists may lie in lists.
const DEEPEST: usize = 8;

/// The most dimensions of a tensor, as ggml has it.
const MOST_DIMENSIONS: u32 = 4;

/// How long a text of the metadata may be, in bytes, to be kept; none that we read is near it.
const LONGEST_TEXT: usize = 1 << 16;

/// Where tensors start, unless the metadata say otherwise: at a multiple of this many bytes.
const DEFAULT_ALIGNMENT: usize = 32;

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The first four bytes are others.
    #[error("it starts with {found:02x?}, expected `GGUF`: it is not a GGUF file")]
    Magic {
        /// The first bytes, at most four.
        found: Vec<u8>,
    },
    /// The version is not one that we know; a file in big endian seems to have a huge one.
    #[error("it is of version {found}, expected 1, 2 or 3")]
    Version {
        /// The version.
        found: u32,
    },
    /// The file ends too soon.
    #[error("{what} at byte {at} would take {needed} bytes, but {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        at: usize,
        /// How many bytes it takes at least.
        needed: u64,
        /// How many there are.
        left: usize,
    },
    /// A value's type is not one of the specification's.
    #[error("metadata key `{key}` is of the unknown type {found}")]
    ValueType {
        /// The key.
        key: String,
        /// The number of the type.
        found: u32,
    },
    /// Lists lie in lists too deep.
    #[error("metadata key `{key}` holds lists in lists, {DEEPEST} deep or more")]
    Depth {
        /// The key.
        key: String,
    },
    /// A name occurs twice.
    #[error("the tensor `{name}` occurs twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// The tensors' alignment is not a power of two.
    #[error("`general.alignment` is {found}, expected a power of two")]
    Alignment {
        /// What it says.
        found: u64,
    },
    /// A tensor has more dimensions than there can be, or their product is too large.
    #[error("tensor `{name}` has the impossible shape {found:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its sizes as far as they were read, innermost first.
        found: Vec<u64>,
    },
    /// A tensor's number format is one that can't be read.
    #[error(
        "tensor `{name}` is of type {found}, which is not supported; quantize to q8_0, q4_0, q4_k, q5_k or q6_k instead"
    )]
    TensorType {
        /// The tensor.
        name: String,
        /// The type's name in ggml, or its number.
        found: String,
    },
    /// A row of a quantized tensor is no whole number of blocks.
    #[error("tensor `{name}` has rows of {columns} weights, expected a multiple of {block_len}")]
    Row {
        /// The tensor.
        name: String,
        /// The innermost size.
        columns: usize,
        /// Weights in a block of its type.
        block_len: usize,
    },
    /// A tensor lies beyond the end of the file.
    #[error(
        "tensor `{name}` would take {needed} bytes from byte {start} on, but the file has {file_len} bytes; it may be \
         cut off"
    )]
    Outside {
        /// The tensor.
        name: String,
        /// Where it should start.
        start: u64,
        /// Its size in bytes.
        needed: u64,
        /// The size of the file in bytes.
        file_len: usize,
    },
}

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Text(String),
    /// A list, of which only the place is kept.
    List(List),
}

/// Where a list lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) len: u64,
    at: usize,
    short: bool,
}

impl List {
    /// Returns the items of the file that the header was read from, if they are texts.
    pub(crate) fn texts(&self, file: &[u8]) -> Option<Vec<String>> {
        self.items(file, 8, |cursor| cursor.text(LIST))
    }

    /// Returns the items of the file that the header was read from, if they are of the type `i32`.
    pub(crate) fn numbers(&self, file: &[u8]) -> Option<Vec<i32>> {
        self.items(file, 5, |cursor| {
            Ok(i32::from_le_bytes(cursor.array(LIST)?))
        })
    }

    fn items<T>(
        &self,
        file: &[u8],
        kind: u32,
        read: impl Fn(&mut Cursor<'_>) -> Result<T, HeaderError>,
    ) -> Option<Vec<T>> {
        let mut cursor = Cursor {
            file,
            at: self.at,
            short: self.short,
        };
        if cursor.u32(LIST).ok()? != kind {
            return None;
        }
        let len = cursor.length(LIST).ok()?;
        (0..len).map(|_| read(&mut cursor).ok()).collect()
    }
}

/// What errors call the place where a list is read.
const LIST: &str = "a list in the metadata";

/// In what a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// Numbers as they are.
    Plain(Dtype),
    /// Blocks that products can be made with.
    Blocks(BlockFormat),
    /// Blocks that are dequantized.
    Other(GgmlDType),
}

/// A tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) storage: Storage,
    /// The sizes, outermost first.
    pub(crate) shape: Vec<usize>,
    /// Where its bytes are in the file; they are there.
    pub(crate) place: Range<usize>,
}

/// What a file says of itself.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: HashMap<String, Value>,
    pub(crate) tensors: BTreeMap<String, Entry>,
}

impl Header {
    pub(crate) fn read(file: &[u8]) -> Result<Self, HeaderError> {
        let mut cursor = Cursor::start(file)?;
        let num_tensors = cursor.length("the number of tensors")?;
        let num_values = cursor.length("the number of metadata values")?;
        let mut metadata = HashMap::new();
        for _ in 0..num_values {
            let key = cursor.text("a metadata key")?;
            let kind = cursor.u32("a metadata value")?;
            let value = cursor.value(&key, kind, 0)?;
            metadata.insert(key, value);
        }
        let mut described = Vec::new();
        for _ in 0..num_tensors {
            described.push(cursor.tensor()?);
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(found)) if found.is_power_of_two() && *found <= 1 << 20 => {
                usize::try_from(*found).unwrap_or(DEFAULT_ALIGNMENT)
            }
            Some(Value::Unsigned(found)) => {
                return Err(HeaderError::Alignment { found: *found });
            }
            Some(_) => return Err(HeaderError::Alignment { found: 0 }),
        };
        let start = cursor.at.next_multiple_of(alignment);
        let mut tensors = BTreeMap::new();
        for described in described {
            let (name, entry) = described.place(start, file.len())?;
            if tensors.contains_key(&name) {
                return Err(HeaderError::Twice { name });
            }
            tensors.insert(name, entry);
        }
        Ok(Self { metadata, tensors })
    }
}

/// A tensor as the header describes it.
struct Described {
    name: String,
    kind: u32,
    /// Innermost first.
    sizes: Vec<u64>,
    offset: u64,
}

impl Described {
    /// Finds the tensor in the file.
    fn place(self, start: usize, file_len: usize) -> Result<(String, Entry), HeaderError> {
        let Some((storage, block_len, block_bytes)) = storage(self.kind) else {
            return Err(HeaderError::TensorType {
                name: self.name,
                found: type_name(self.kind),
            });
        };
        let sizes = self.sizes.iter().map(|size| usize::try_from(*size).ok());
        let shape: Option<Vec<usize>> = sizes.rev().collect();
        let elements = shape.as_ref().and_then(|shape| {
            shape
                .iter()
                .try_fold(1usize, |product, size| product.checked_mul(*size))
        });
        let (Some(shape), Some(elements)) = (shape, elements) else {
            return Err(HeaderError::Shape {
                name: self.name,
                found: self.sizes,
            });
        };
        let columns = shape.last().copied().unwrap_or(1);
        if !columns.is_multiple_of(block_len) {
            return Err(HeaderError::Row {
                name: self.name,
                columns,
                block_len,
            });
        }
        let needed = (elements / block_len).checked_mul(block_bytes);
        let first = usize::try_from(self.offset).ok();
        let first = first.and_then(|offset| start.checked_add(offset));
        let place = first.zip(needed).and_then(|(first, needed)| {
            let end = first.checked_add(needed)?;
            (end <= file_len).then_some(first..end)
        });
        let Some(place) = place else {
            return Err(HeaderError::Outside {
                name: self.name,
                start: self.offset.saturating_add(start as u64),
                needed: needed.map_or(u64::MAX, |needed| needed as u64),
                file_len,
            });
        };
        let entry = Entry {
            storage,
            shape,
            place,
        };
        Ok((self.name, entry))
    }
}

/// Returns what a ggml type is, how many weights a block of it has, and how many bytes.
fn storage(kind: u32) -> Option<(Storage, usize, usize)> {
    let plain = |dtype: Dtype| Some((Storage::Plain(dtype), 1, dtype.width()));
    let blocks = |format: BlockFormat| {
        let (len, bytes) = (format.block_len(), format.block_bytes());
        Some((Storage::Blocks(format), len, bytes))
    };
    let other = |dtype: GgmlDType| {
        let (len, bytes) = (dtype.block_size(), dtype.type_size());
        Some((Storage::Other(dtype), len, bytes))
    };
    match kind {
        0 => plain(Dtype::F32),
        1 => plain(Dtype::F16),
        2 => blocks(BlockFormat::Q4_0),
        3 => other(GgmlDType::Q4_1),
        6 => other(GgmlDType::Q5_0),
        7 => other(GgmlDType::Q5_1),
        8 => blocks(BlockFormat::Q8_0),
        10 => other(GgmlDType::Q2K),
        11 => other(GgmlDType::Q3K),
        12 => blocks(BlockFormat::Q4K),
        13 => blocks(BlockFormat::Q5K),
        14 => blocks(BlockFormat::Q6K),
        28 => plain(Dtype::F64),
        30 => plain(Dtype::Bf16),
        _ => None,
    }
}

/// Returns the name in ggml (`enum ggml_type`) of a type that is not read.
fn type_name(kind: u32) -> String {
    let name = match kind {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("number {kind}"),
    };
    name.to_owned()
}

/// A place in the file, behind which the next thing is.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
    /// Whether lengths have 4 bytes, as in version 1.
    short: bool,
}

impl<'a> Cursor<'a> {
    /// Reads what every version starts with.
    fn start(file: &'a [u8]) -> Result<Self, HeaderError> {
        if !file.starts_with(b"GGUF") {
            return Err(HeaderError::Magic {
                found: file.iter().take(4).copied().collect(),
            });
        }
        let mut cursor = Self {
            file,
            at: 4,
            short: false,
        };
        let version = cursor.u32("the version")?;
        if !(1..=3).contains(&version) {
            return Err(HeaderError::Version { found: version });
        }
        cursor.short = version == 1;
        Ok(cursor)
    }

    fn take(&mut self, what: &'static str, len: u64) -> Result<&'a [u8], HeaderError> {
        let rest = &self.file[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or(HeaderError::Truncated {
            what,
            at: self.at,
            needed: len,
            left: rest.len(),
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], HeaderError> {
        let bytes = self.take(what, N as u64)?;
        Ok(*bytes.first_chunk().expect("as many bytes were taken"))
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, HeaderError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, HeaderError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn length(&mut self, what: &'static str) -> Result<u64, HeaderError> {
        if self.short {
            Ok(u64::from(self.u32(what)?))
        } else {
            self.u64(what)
        }
    }

    /// Reads a text; one that is too long to be meant is cut.
    fn text(&mut self, what: &'static str) -> Result<String, HeaderError> {
        let len = self.length(what)?;
        let bytes = self.take(what, len)?;
        let bytes = &bytes[..bytes.len().min(LONGEST_TEXT)];
        let text = String::from_utf8_lossy(bytes);
        // Some writers end texts as C does.
        Ok(text.trim_end_matches('\0').to_owned())
    }

    fn value(&mut self, key: &str, kind: u32, depth: usize) -> Result<Value, HeaderError> {
        const WHAT: &str = "a metadata value";
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array(WHAT)?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array(WHAT)?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array(WHAT)?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array(WHAT)?).into()),
            4 => Value::Unsigned(u32::from_le_bytes(self.array(WHAT)?).into()),
            5 => Value::Signed(i32::from_le_bytes(self.array(WHAT)?).into()),
            6 => Value::F32(f32::from_le_bytes(self.array(WHAT)?)),
            7 => Value::Bool(self.array::<1>(WHAT)? != [0]),
            8 => Value::Text(self.text(WHAT)?),
            9 => Value::List(self.skip_list(key, depth)?),
            10 => Value::Unsigned(self.u64(WHAT)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(WHAT)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(WHAT)?)),
            found => {
                return Err(HeaderError::ValueType {
                    key: key.to_owned(),
                    found,
                });
            }
        })
    }

    /// Passes over a list and returns where it is.
    fn skip_list(&mut self, key: &str, depth: usize) -> Result<List, HeaderError> {
        let at = self.at;
        if depth >= DEEPEST {
            return Err(HeaderError::Depth {
                key: key.to_owned(),
            });
        }
        let short = self.short;
        let list = |len| List { len, at, short };
        let kind = self.u32(LIST)?;
        let len = self.length(LIST)?;
        let width = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            _ => {
                for _ in 0..len {
                    if kind == 8 {
                        let len = self.length(LIST)?;
                        self.take(LIST, len)?;
                    } else {
                        self.value(key, kind, depth + 1)?;
                    }
                }
                return Ok(list(len));
            }
        };
        self.take(LIST, len.saturating_mul(width))?;
        Ok(list(len))
    }

    fn tensor(&mut self) -> Result<Described, HeaderError> {
        const WHAT: &str = "the description of a tensor";
        let name = self.text(WHAT)?;
        let dimensions = self.u32(WHAT)?;
        let mut sizes = Vec::new();
        for _ in 0..dimensions {
            if sizes.len() as u64 == u64::from(MOST_DIMENSIONS) {
                return Err(HeaderError::Shape { name, found: sizes });
            }
            sizes.push(self.length(WHAT)?);
        }
        Ok(Described {
            name,
            kind: self.u32(WHAT)?,
            sizes,
            offset: self.u64(WHAT)?,
        })
    }
}

#[cfg(test)]
mod tests;
