//! The writing half of pickles: tensors and plain containers in protocol 2.

use stablelm_model::Dtype;

use crate::neox::pickle::globals::storage_name;

/// A tensor as the pickle describes it; its bytes follow in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TorchTensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
}

/// Pickles an `OrderedDict` of tensors, each with a storage of its own, numbered in order.
pub(crate) fn pickle_tensors(tensors: &[TorchTensor]) -> Vec<u8> {
    let mut pickler = Pickler::new();
    pickler.tensors(tensors);
    pickler.stop()
}

/// A plain value for a rank's state file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    None,
    Int(u64),
    Dict(Vec<(&'static str, Plain)>),
    /// An `OrderedDict` of tensors.
    Tensors(Vec<TorchTensor>),
}

/// Pickles plain containers.
pub(crate) fn pickle_plain(value: &Plain) -> Vec<u8> {
    let mut pickler = Pickler::new();
    pickler.plain(value);
    pickler.stop()
}

/// Instructions of protocol 2, without a memo: nothing here is worth sharing.
struct Pickler {
    bytes: Vec<u8>,
    num_storages: usize,
}

impl Pickler {
    fn new() -> Self {
        Self {
            bytes: vec![0x80, 2],
            num_storages: 0,
        }
    }

    fn stop(mut self) -> Vec<u8> {
        self.bytes.push(b'.');
        self.bytes
    }

    fn mark(&mut self) {
        self.bytes.push(b'(');
    }

    fn set_items(&mut self) {
        self.bytes.push(b'u');
    }

    fn global(&mut self, module: &str, name: &str) {
        self.bytes
            .extend(format!("c{module}\n{name}\n").into_bytes());
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.bytes.extend(b")R");
    }

    fn text(&mut self, text: &str) {
        let len = u32::try_from(text.len()).expect("names are short");
        self.bytes.push(b'X');
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn int(&mut self, number: u64) {
        if let Ok(number) = i32::try_from(number) {
            self.bytes.push(b'J');
            self.bytes.extend(number.to_le_bytes());
        } else {
            // LONG1 with a ninth byte, so that no number looks negative.
            self.bytes.extend([0x8a, 9]);
            self.bytes.extend(number.to_le_bytes());
            self.bytes.push(0);
        }
    }

    fn sizes(&mut self, sizes: &[usize]) {
        self.mark();
        for &size in sizes {
            self.int(size as u64);
        }
        self.bytes.push(b't');
    }

    fn tensors(&mut self, tensors: &[TorchTensor]) {
        self.ordered_dict();
        self.mark();
        for tensor in tensors {
            self.text(&tensor.name);
            self.tensor(tensor);
        }
        self.set_items();
    }

    /// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
    fn tensor(&mut self, tensor: &TorchTensor) {
        let storage_type = storage_name(tensor.dtype).expect("every dtype has a storage");
        let num_elements: usize = tensor.shape.iter().product();
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.mark();
        self.mark();
        self.text("storage");
        self.global("torch", storage_type);
        let storage = self.num_storages.to_string();
        self.num_storages += 1;
        self.text(&storage);
        self.text("cpu");
        self.int(num_elements as u64);
        self.bytes.extend(b"tQ");
        self.int(0);
        self.sizes(&tensor.shape);
        self.sizes(&strides(&tensor.shape));
        self.bytes.push(0x89);
        self.ordered_dict();
        self.bytes.extend(b"tR");
    }

    fn plain(&mut self, value: &Plain) {
        match value {
            Plain::None => self.bytes.push(b'N'),
            Plain::Int(number) => self.int(*number),
            Plain::Tensors(tensors) => self.tensors(tensors),
            Plain::Dict(entries) => {
                self.bytes.extend(b"}(");
                for (key, value) in entries {
                    self.text(key);
                    self.plain(value);
                }
                self.set_items();
            }
        }
    }
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for nth in (1..shape.len()).rev() {
        strides[nth - 1] = strides[nth] * shape[nth];
    }
    strides
}
