//! The stack machine: one instruction after another, until STOP.

use std::collections::HashMap;
use std::path::Path;

use super::globals::{Global, resolve};
use super::{MAX_PICKLE_LEN, MAX_VALUES, Pickle, PickleError, Storage, TensorView, Value, ValueId};

/// Reads a pickle; `file` is only named in refusals.
pub(crate) fn parse<'a>(bytes: &'a [u8], file: &Path) -> Result<Pickle<'a>, PickleError> {
    if bytes.len() > MAX_PICKLE_LEN {
        return Err(PickleError::TooLarge {
            limit: MAX_PICKLE_LEN,
            what: "bytes",
        });
    }
    Ok(parse_from(bytes, file)?.0)
}

/// Reads the pickle that bytes start with, and returns its length too.
pub(crate) fn parse_from<'a>(
    bytes: &'a [u8],
    file: &Path,
) -> Result<(Pickle<'a>, usize), PickleError> {
    let bytes = &bytes[..bytes.len().min(MAX_PICKLE_LEN)];
    let mut machine = Machine {
        bytes,
        file,
        position: 0,
        instruction: 0,
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        num_items: 0,
    };
    loop {
        if let Some(root) = machine.step()? {
            let pickle = Pickle {
                values: machine.values,
                root,
            };
            return Ok((pickle, machine.position));
        }
    }
}

struct Machine<'a, 'f> {
    bytes: &'a [u8],
    file: &'f Path,
    position: usize,
    /// Where the instruction under way began.
    instruction: usize,
    values: Vec<Value<'a>>,
    stack: Vec<ValueId>,
    /// Stack heights.
    marks: Vec<usize>,
    memo: HashMap<u32, ValueId>,
    num_items: usize,
}

type Step<T = ()> = Result<T, PickleError>;

impl<'a> Machine<'a, '_> {
    /// Carries out one instruction; returns the result after STOP.
    fn step(&mut self) -> Step<Option<ValueId>> {
        self.instruction = self.position;
        let opcode = self.take_array::<1>()?[0];
        match opcode {
            // PROTO and FRAME carry nothing that matters here.
            0x80 => drop(self.take_array::<1>()?),
            0x95 => drop(self.take_array::<8>()?),
            b'.' => return self.stop().map(Some),
            b'(' => {
                check_limit(self.marks.len(), "marks")?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 | 0x89 => self.push(Value::Bool(opcode == 0x88))?,
            b'J' | b'K' | b'M' | 0x8a | 0x8b => self.integer(opcode)?,
            b'G' => {
                self.take_array::<8>()?;
                self.push(Value::Inert)?;
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.text(opcode)?,
            b'B' | b'C' | 0x8e => self.raw_bytes(opcode)?,
            b']' => self.push(Value::List(Vec::new()))?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            0x8f => self.push(Value::Set(Vec::new()))?,
            b't' | 0x85..=0x87 | b'l' | 0x91 => self.collect(opcode)?,
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(&items)?;
            }
            b'a' | b'e' | 0x90 => self.append(opcode)?,
            b's' | b'u' => self.insert(opcode)?,
            b'q' | b'r' | 0x94 => self.remember(opcode)?,
            b'h' | b'j' => self.recall(opcode)?,
            b'c' | 0x93 | b'i' => self.global(opcode)?,
            b'Q' => self.persistent()?,
            b'R' | 0x81 => self.reduce()?,
            b'b' => self.build()?,
            _ => {
                return Err(PickleError::UnknownInstruction {
                    opcode,
                    offset: self.instruction,
                });
            }
        }
        Ok(None)
    }

    fn stop(&mut self) -> Step<ValueId> {
        let root = self.pop()?;
        if self.stack.is_empty() && self.marks.is_empty() {
            Ok(root)
        } else {
            Err(self.malformed("nothing left on the stack at the end"))
        }
    }

    // Bytes of the pickle.

    fn take(&mut self, len: u64) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.position..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let Some(taken) = taken else {
            return Err(PickleError::Truncated {
                offset: self.position,
                needed: len,
                remaining: rest.len(),
            });
        };
        self.position += taken.len();
        Ok(taken)
    }

    fn take_array<const LEN: usize>(&mut self) -> Step<[u8; LEN]> {
        let bytes = self.take(LEN as u64)?;
        Ok(bytes.try_into().expect("as many bytes were taken"))
    }

    fn take_line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.position..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let Some(end) = end else {
            return Err(PickleError::Truncated {
                offset: self.position,
                needed: rest.len() as u64 + 1,
                remaining: rest.len(),
            });
        };
        self.position += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| self.malformed("a name in UTF-8"))
    }

    fn malformed(&self, expected: &'static str) -> PickleError {
        PickleError::Malformed {
            offset: self.instruction,
            expected,
        }
    }

    // The stack.

    fn push(&mut self, value: Value<'a>) -> Step {
        check_limit(self.values.len(), "values")?;
        let place = u32::try_from(self.values.len()).expect("the limit is far below");
        self.values.push(value);
        self.push_id(ValueId(place))
    }

    fn push_id(&mut self, id: ValueId) -> Step {
        check_limit(self.stack.len(), "values on the stack")?;
        self.stack.push(id);
        Ok(())
    }

    /// Height below which the stack belongs to an enclosing mark.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Step<ValueId> {
        if self.stack.len() > self.floor() {
            Ok(self.stack.pop().expect("just found to hold something"))
        } else {
            Err(self.malformed("a value on the stack"))
        }
    }

    fn top(&self) -> Step<ValueId> {
        if self.stack.len() > self.floor() {
            Ok(self.stack[self.stack.len() - 1])
        } else {
            Err(self.malformed("a value on the stack"))
        }
    }

    fn pop_mark(&mut self) -> Step<Vec<ValueId>> {
        let Some(height) = self.marks.pop() else {
            return Err(self.malformed("a mark on the stack"));
        };
        Ok(self.stack.split_off(height))
    }

    fn value(&self, id: ValueId) -> &Value<'a> {
        &self.values[id.0 as usize]
    }

    fn value_mut(&mut self, id: ValueId) -> &mut Value<'a> {
        &mut self.values[id.0 as usize]
    }

    fn count_items(&mut self, more: usize) -> Step {
        self.num_items += more;
        check_limit(self.num_items, "items in containers")
    }

    // Plain values.

    fn integer(&mut self, opcode: u8) -> Step {
        let value = match opcode {
            b'J' => Value::Int(i32::from_le_bytes(self.take_array()?).into()),
            b'K' => Value::Int(self.take_array::<1>()?[0].into()),
            b'M' => Value::Int(u16::from_le_bytes(self.take_array()?).into()),
            _ => {
                let len = if opcode == 0x8a {
                    self.take_array::<1>()?[0].into()
                } else {
                    u32::from_le_bytes(self.take_array()?).into()
                };
                long(self.take(len)?)
            }
        };
        self.push(value)
    }

    fn text(&mut self, opcode: u8) -> Step {
        let len = match opcode {
            b'X' | b'T' => u32::from_le_bytes(self.take_array()?).into(),
            0x8d => u64::from_le_bytes(self.take_array()?),
            _ => self.take_array::<1>()?[0].into(),
        };
        let bytes = self.take(len)?;
        let value = match (std::str::from_utf8(bytes), opcode) {
            (Ok(text), _) => Value::Text(text),
            // Python 2 strings hold any bytes.
            (Err(_), b'T' | b'U') => Value::Inert,
            (Err(_), _) => return Err(self.malformed("text in UTF-8")),
        };
        self.push(value)
    }

    fn raw_bytes(&mut self, opcode: u8) -> Step {
        let len = match opcode {
            b'B' => u32::from_le_bytes(self.take_array()?).into(),
            b'C' => self.take_array::<1>()?[0].into(),
            _ => u64::from_le_bytes(self.take_array()?),
        };
        self.take(len)?;
        self.push(Value::Inert)
    }

    // Containers.

    fn collect(&mut self, opcode: u8) -> Step {
        let items = match opcode {
            0x85..=0x87 => {
                let mut items = Vec::with_capacity(3);
                for _ in 0..=opcode - 0x85 {
                    items.push(self.pop()?);
                }
                items.reverse();
                items
            }
            _ => self.pop_mark()?,
        };
        self.count_items(items.len())?;
        self.push(match opcode {
            b'l' => Value::List(items),
            0x91 => Value::Set(items),
            _ => Value::Tuple(items),
        })
    }

    fn append(&mut self, opcode: u8) -> Step {
        let items = if opcode == b'a' {
            vec![self.pop()?]
        } else {
            self.pop_mark()?
        };
        self.count_items(items.len())?;
        let target = self.top()?;
        match (self.value_mut(target), opcode) {
            (Value::List(list), b'a' | b'e') | (Value::Set(list), 0x90) => list.extend(items),
            _ => return Err(self.malformed("a list or set to add to")),
        }
        Ok(())
    }

    fn insert(&mut self, opcode: u8) -> Step {
        let items = if opcode == b's' {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_mark()?
        };
        self.set_items(&items)
    }

    fn set_items(&mut self, items: &[ValueId]) -> Step {
        self.count_items(items.len())?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed("keys and values in pairs"));
        }
        let target = self.top()?;
        match self.value_mut(target) {
            Value::Dict(entries) => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(self.malformed("a dictionary to set items of")),
        }
    }

    // The memo.

    fn remember(&mut self, opcode: u8) -> Step {
        check_limit(self.memo.len(), "memo entries")?;
        let key = match opcode {
            b'q' => self.take_array::<1>()?[0].into(),
            b'r' => u32::from_le_bytes(self.take_array()?),
            _ => u32::try_from(self.memo.len()).expect("the limit is far below"),
        };
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Step {
        let key = match opcode {
            b'h' => self.take_array::<1>()?[0].into(),
            _ => u32::from_le_bytes(self.take_array()?),
        };
        match self.memo.get(&key).copied() {
            Some(id) => self.push_id(id),
            None => Err(self.malformed("a memo entry that was set before")),
        }
    }

    // Names and what they stand for.

    fn global(&mut self, opcode: u8) -> Step {
        let (module, name) = if opcode == 0x93 {
            let (name, module) = (self.pop()?, self.pop()?);
            match (self.value(module), self.value(name)) {
                (Value::Text(module), Value::Text(name)) => (*module, *name),
                _ => return Err(self.malformed("module and name as text")),
            }
        } else {
            (self.take_line()?, self.take_line()?)
        };
        match resolve(module, name) {
            // INST names and calls at once: nothing that PyTorch writes uses it.
            Some(global) if opcode != b'i' => self.push(Value::Global(global)),
            _ => Err(PickleError::Refused {
                callable: format!("{module}.{name}"),
                file: self.file.to_owned(),
                offset: self.instruction,
            }),
        }
    }

    /// `("storage", type, key, location, number of elements)` stands for numbers outside the pickle; the stream format
    /// adds None, or what part of another storage it is, which nobody writes any more.
    fn persistent(&mut self) -> Step {
        let id = self.pop()?;
        let storage = match self.value(id) {
            Value::Tuple(items) => self.storage(items),
            _ => None,
        };
        match storage {
            Some(storage) => self.push(Value::Storage(storage)),
            None => Err(self.malformed("a reference to a storage")),
        }
    }

    fn storage(&self, items: &[ValueId]) -> Option<Storage<'a>> {
        let &[tag, kind, key, _, len, ref rest @ ..] = items else {
            return None;
        };
        let none = |&id: &ValueId| matches!(self.value(id), Value::None);
        if rest.len() > 1 || !rest.iter().all(none) {
            return None;
        }
        match (
            self.value(tag),
            self.value(kind),
            self.value(key),
            self.value(len),
        ) {
            (
                Value::Text("storage"),
                &Value::Global(Global::Storage(dtype)),
                &Value::Text(key),
                &Value::Int(len),
            ) => Some(Storage {
                key,
                dtype,
                num_elements: usize::try_from(len).ok()?,
            }),
            _ => None,
        }
    }

    fn reduce(&mut self) -> Step {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let &Value::Global(global) = self.value(callable) else {
            return Err(self.malformed("a name to call"));
        };
        let Value::Tuple(arguments) = self.value(arguments) else {
            return Err(self.malformed("arguments in a tuple"));
        };
        let value = match (global, arguments.as_slice()) {
            (Global::OrderedDict, []) => Value::Dict(Vec::new()),
            (Global::RebuildTensor, &[storage, offset, shape, strides, ..]) => {
                match self.tensor([storage, offset, shape, strides]) {
                    Some(view) => Value::Tensor(view),
                    None => return Err(self.malformed("a storage, an offset, a shape and strides")),
                }
            }
            (Global::RebuildParameter, &[data, ..]) => return self.push_id(data),
            (Global::Size, &[sizes]) => return self.push_id(sizes),
            (Global::Set, []) => Value::Set(Vec::new()),
            (Global::Set, &[items]) => match self.value(items) {
                Value::List(items) => {
                    let items = items.clone();
                    self.count_items(items.len())?;
                    Value::Set(items)
                }
                _ => return Err(self.malformed("a list to make a set of")),
            },
            (Global::Inert, _) => Value::Inert,
            _ => return Err(self.malformed("the arguments PyTorch writes for this name")),
        };
        self.push(value)
    }

    fn tensor(&self, [storage, offset, shape, strides]: [ValueId; 4]) -> Option<TensorView> {
        let &Value::Storage(storage) = self.value(storage) else {
            return None;
        };
        let size = |id: ValueId| match self.value(id) {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        let sizes = |id: ValueId| match self.value(id) {
            Value::Tuple(items) => items.iter().map(|&item| size(item)).collect(),
            _ => None,
        };
        let (shape, strides): (Vec<usize>, Vec<usize>) = (sizes(shape)?, sizes(strides)?);
        (shape.len() == strides.len() && shape.len() <= MAX_DIMENSIONS).then_some(TensorView {
            storage: storage.key.to_owned(),
            dtype: storage.dtype,
            storage_len: storage.num_elements,
            offset: size(offset)?,
            shape,
            strides,
        })
    }

    /// State of an object: of a dictionary's extra attributes or of an inert value, so of no interest.
    fn build(&mut self) -> Step {
        self.pop()?;
        let target = self.top()?;
        match self.value(target) {
            Value::Dict(_) | Value::Inert => Ok(()),
            _ => Err(self.malformed("a dictionary or an array to set the state of")),
        }
    }
}

/// More than PyTorch itself allows.
const MAX_DIMENSIONS: usize = 64;

fn check_limit(count: usize, what: &'static str) -> Step {
    if count < MAX_VALUES {
        Ok(())
    } else {
        Err(PickleError::TooLarge {
            limit: MAX_VALUES,
            what,
        })
    }
}

/// Reads a little-endian two's complement number of any length.
fn long<'a>(bytes: &[u8]) -> Value<'a> {
    if bytes.len() > 8 {
        return Value::Inert;
    }
    let negative = bytes.last().is_some_and(|&byte| byte & 0x80 != 0);
    let mut extended = [if negative { 0xff } else { 0 }; 8];
    extended[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(extended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pickle: &[u8], expected: &str) {
        let found = match parse(pickle, Path::new("x.pt")) {
            Ok(pickle) => format!("{:?}", pickle.value(pickle.root())),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn plain_values_are_read() {
        check(b"\x80\x02N.", "None");
        check(b"\x80\x02K\x07.", "Int(7)");
        check(b"\x80\x02J\xff\xff\xff\xff.", "Int(-1)");
        check(b"\x80\x02\x8a\x02\x00\x80.", "Int(-32768)");
        check(b"\x80\x02\x8a\x00.", "Int(0)");
        check(b"\x80\x02X\x02\x00\x00\x00hi.", "Text(\"hi\")");
        check(b"}(X\x01\x00\x00\x00aK\x01u.", "Dict");
    }

    #[test]
    fn any_other_name_is_refused_and_told() {
        check(b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", "`os.system`");
        check(b"(X\x02\x00\x00\x00lsios\nsystem\n.", "`os.system`");
        check(b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "`os.system`");
        check(b"(X\x01\x00\x00\x001ic\nd\n.", "`c.d`");
        check(b"cbuiltins\neval\n.", "`builtins.eval` (at byte 0)");
    }

    #[test]
    fn claims_are_held_against_the_bytes() {
        check(b"X\xf0\xff\xff\xffabc.", "needs 4294967280 bytes");
        check(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.", "bytes at byte");
        check(b"\x8b\xff\xff\xff\xff.", "needs 4294967295 bytes");
        check(b"K", "needs 1 bytes");
        check(b"cos", "needs 3 bytes");
        check(b"", "needs 1 bytes");
    }

    #[test]
    fn broken_stacks_are_errors() {
        check(b"R.", "a value on the stack");
        check(b"t.", "a mark on the stack");
        check(b"(K\x01K\x02.", "nothing left on the stack");
        check(b"K\x01(R.", "a value on the stack");
        check(b"h\x05.", "memo entry");
        check(b"}(K\x01u.", "in pairs");
        check(b"K\x01K\x02a.", "a list or set");
        check(b"K\x01K\x02s.", "a value on the stack");
        check(
            b"ccollections\nOrderedDict\nK\x01R.",
            "arguments in a tuple",
        );
        check(
            b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
            "the arguments PyTorch writes",
        );
        check(b"P1\n.", "instruction 0x50");
    }

    #[test]
    fn doubling_through_the_memo_costs_nothing() {
        let mut pickle = b"]q\x00".to_vec();
        for level in 0..60 {
            pickle.extend([b'0', b'h', level, b'h', level, 0x86, b'q', level + 1]);
        }
        pickle.push(b'.');
        check(&pickle, "Tuple");
    }

    #[test]
    fn depth_costs_no_stack() {
        let mut pickle = vec![b']'; 200_000];
        pickle.extend(vec![b'a'; 199_999]);
        pickle.push(b'.');
        check(&pickle, "List");
    }

    #[test]
    fn a_flood_of_values_ends() {
        check(&vec![b'N'; MAX_VALUES + 1], "more than 1048576 values");
        check(&vec![b'('; MAX_VALUES + 1], "more than 1048576 marks");
        let mut pickle = b"]q\x00".to_vec();
        for _ in 0..MAX_VALUES / 16 {
            pickle.extend(b"(h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00h\x00e");
        }
        check(&pickle, "more than 1048576 items");
    }
}
