//! The only names a pickle may mention.

use stablelm_model::Dtype;

/// A known name, reduced to what reading needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`, or the one before it; the first four arguments are the same.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.Size`, a tuple of numbers.
    Size,
    /// `set`.
    Set,
    /// A typed storage, for example `torch.BFloat16Storage`.
    Storage(Dtype),
    /// Random number states, dtypes, and what DeepSpeed's optimizer writes down: whatever is made of these is an inert
    /// value.
    Inert,
}

/// Looks a name up; `None` means that it must be refused.
pub(crate) fn resolve(module: &str, name: &str) -> Option<Global> {
    let global = match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        ("torch", "Size") => Global::Size,
        ("__builtin__" | "builtins", "set") => Global::Set,
        ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
        ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
        ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
        ("torch", "BFloat16Storage") => Global::Storage(Dtype::Bf16),
        ("torch", "LongStorage") => Global::Storage(Dtype::I64),
        ("torch", "IntStorage") => Global::Storage(Dtype::I32),
        ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
        ("torch", "CharStorage") => Global::Storage(Dtype::I8),
        ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
        ("torch", "BoolStorage") => Global::Storage(Dtype::Bool),
        ("_codecs", "encode")
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct")
        | ("torch", "float16" | "bfloat16" | "float32" | "float64")
        | ("deepspeed.runtime.fp16.loss_scaler", "LossScaler" | "DynamicLossScaler")
        | ("deepspeed.runtime.zero.config", "ZeroStageEnum")
        | ("deepspeed.utils.tensor_fragment", "fragment_address") => Global::Inert,
        _ => return None,
    };
    Some(global)
}

/// Returns the storage type's name in `torch`, for the writer.
pub(crate) fn storage_name(dtype: Dtype) -> Option<&'static str> {
    const NAMES: [&str; 10] = [
        "DoubleStorage",
        "FloatStorage",
        "HalfStorage",
        "BFloat16Storage",
        "LongStorage",
        "IntStorage",
        "ShortStorage",
        "CharStorage",
        "ByteStorage",
        "BoolStorage",
    ];
    NAMES
        .into_iter()
        .find(|name| resolve("torch", name) == Some(Global::Storage(dtype)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_has_a_storage_name() {
        for dtype in [
            Dtype::F64,
            Dtype::F32,
            Dtype::F16,
            Dtype::Bf16,
            Dtype::I64,
            Dtype::Bool,
        ] {
            assert!(storage_name(dtype).is_some(), "{dtype}");
        }
    }

    #[test]
    fn what_could_run_is_unknown() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("torch", "load"),
            ("functools", "partial"),
        ] {
            assert_eq!(resolve(module, name), None, "{module}.{name}");
        }
    }
}
