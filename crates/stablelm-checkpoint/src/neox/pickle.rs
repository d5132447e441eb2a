//! A reader of pickles that executes nothing.
//!
//! A pickle is a program for a small stack machine; Python's own reader lets it call any function. This one knows the
//! instructions that tensors and plain containers need and a short list of names ([`globals`]); any other name ends the
//! reading, before anything is made of it. What the listed names would do in Python is not done either: a tensor
//! becomes a description of where its numbers lie, everything else an inert value.
//!
//! Values live in one list and refer to each other by place, so sharing costs nothing, dropping them does not recurse,
//! and a pickle of `n` bytes takes memory in proportion to `n` at worst, whatever depth or doubling it spells out.
//! Strings are slices of the pickle; their stated lengths are held against the bytes that are there.

pub(crate) mod globals;
mod machine;

use std::path::PathBuf;

use stablelm_model::Dtype;

pub(crate) use machine::{parse, parse_from};

/// Longest pickle that is read. Tensors' numbers are not in it, so real ones stay below a megabyte.
pub(crate) const MAX_PICKLE_LEN: usize = 64 << 20;
/// Most values, stack slots, memo entries and container items a pickle may make, each.
pub(crate) const MAX_VALUES: usize = 1 << 20;

/// Why a pickle was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It names something that is neither a tensor nor a plain container.
    #[error(
        "the pickle in `{}` asks for `{callable}` (at byte {offset}), which is neither a tensor nor a plain container; \
         nothing was executed",
        file.display()
    )]
    Refused {
        /// Module and name with a dot between, for example `os.system`.
        callable: String,
        /// The file that holds the pickle.
        file: PathBuf,
        /// Where in the pickle.
        offset: usize,
    },
    /// An instruction that no tensor file needs.
    #[error(
        "the pickle holds instruction 0x{opcode:02x} at byte {offset}, which tensor files don't use"
    )]
    UnknownInstruction {
        /// The instruction.
        opcode: u8,
        /// Where in the pickle.
        offset: usize,
    },
    /// It ends in the middle of an instruction, or claims more bytes than there are.
    #[error("the pickle needs {needed} bytes at byte {offset} but only {remaining} remain")]
    Truncated {
        /// Where in the pickle.
        offset: usize,
        /// Bytes that the instruction claims.
        needed: u64,
        /// Bytes that are left.
        remaining: usize,
    },
    /// The values on the stack are not what the instruction takes.
    #[error("the pickle is malformed at byte {offset}: expected {expected}")]
    Malformed {
        /// Where in the pickle.
        offset: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// It is larger than any real one.
    #[error("the pickle holds more than {limit} {what}")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
}

/// The place of a value in a [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ValueId(u32);

/// What a pickle described.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    List(Vec<ValueId>),
    Tuple(Vec<ValueId>),
    Dict(Vec<(ValueId, ValueId)>),
    Set(Vec<ValueId>),
    Global(globals::Global),
    Storage(Storage<'a>),
    Tensor(TensorView),
    /// Anything that nobody asks about: floats, bytes, large integers, numpy arrays.
    Inert,
}

/// A reference to a run of numbers outside the pickle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: Dtype,
    pub(crate) num_elements: usize,
}

/// A tensor as the file describes it; nothing in it has been held against the storage yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorView {
    pub(crate) storage: String,
    pub(crate) dtype: Dtype,
    /// Elements that the storage is said to have.
    pub(crate) storage_len: usize,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// All values of a pickle and the one it stands for.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: ValueId,
}

impl<'a> Pickle<'a> {
    pub(crate) fn root(&self) -> ValueId {
        self.root
    }

    pub(crate) fn value(&self, id: ValueId) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    /// Returns the entries of a dictionary in file order, or `None` when the value is something else.
    pub(crate) fn entries(&self, id: ValueId) -> Option<&[(ValueId, ValueId)]> {
        match self.value(id) {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns what a dictionary holds under a text key; the last entry counts, as in Python.
    pub(crate) fn get(&self, dict: ValueId, key: &str) -> Option<ValueId> {
        let entries = self.entries(dict)?.iter().rev();
        entries
            .filter(|(name, _)| self.text(*name) == Some(key))
            .map(|(_, value)| *value)
            .next()
    }

    pub(crate) fn text(&self, id: ValueId) -> Option<&'a str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns every reference to a storage, in the order of the pickle.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// Returns a truth value.
    pub(crate) fn truth(&self, id: ValueId) -> Option<bool> {
        match self.value(id) {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// Returns the items of a list or tuple.
    pub(crate) fn items(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.value(id) {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Returns a tuple or list of whole numbers that are not negative.
    pub(crate) fn sizes(&self, id: ValueId) -> Option<Vec<usize>> {
        self.items(id)?
            .iter()
            .map(|&item| self.size(item))
            .collect()
    }

    /// Returns a whole number that is not negative.
    pub(crate) fn size(&self, id: ValueId) -> Option<usize> {
        match self.value(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }
}
