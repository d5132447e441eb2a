//! Which weights are no numbers: asked once logits are not finite.

use stablelm_model::{Dtype, TensorSource, TensorSourceError};

/// A tensor that holds something other than numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFiniteTensor {
    /// Its name in Hugging Face transformers.
    pub name: String,
    /// How many of its values are NaN or infinite.
    pub count: u64,
}

/// Reads every tensor and returns those that hold NaN or infinity.
pub fn find_non_finite(
    source: &dyn TensorSource,
) -> Result<Vec<NonFiniteTensor>, TensorSourceError> {
    let mut found = Vec::new();
    for name in source.names() {
        let Some(info) = source.info(name) else {
            continue;
        };
        let count = count(info.dtype, &source.bytes(name)?);
        source.release(name);
        if count > 0 {
            let name = name.to_owned();
            found.push(NonFiniteTensor { name, count });
        }
    }
    Ok(found)
}

/// Counts the values whose exponent has all bits set.
fn count(dtype: Dtype, bytes: &[u8]) -> u64 {
    let halves = |mask: u16| {
        let all = bytes.as_chunks().0.iter();
        all.filter(|bytes| u16::from_le_bytes(**bytes) & mask == mask)
            .count() as u64
    };
    match dtype {
        Dtype::Bf16 => halves(0x7f80),
        Dtype::F16 => halves(0x7c00),
        Dtype::F32 => {
            let all = bytes.as_chunks().0.iter();
            all.filter(|bytes| !f32::from_le_bytes(**bytes).is_finite())
                .count() as u64
        }
        Dtype::F64 => {
            let all = bytes.as_chunks().0.iter();
            all.filter(|bytes| !f64::from_le_bytes(**bytes).is_finite())
                .count() as u64
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_counted_in_every_dtype() {
        let check = |dtype, bytes: Vec<u8>, expected| {
            assert_eq!(count(dtype, &bytes), expected, "{dtype}");
        };
        let singles = [1.0, f32::NAN, f32::MAX, f32::NEG_INFINITY];
        check(
            Dtype::F32,
            singles.iter().flat_map(|v| v.to_le_bytes()).collect(),
            2,
        );
        let upper = singles.map(|v| (v.to_bits() >> 16) as u16);
        check(
            Dtype::Bf16,
            upper.iter().flat_map(|v| v.to_le_bytes()).collect(),
            2,
        );
        // 1, the largest half, infinity, NaN.
        let halves = [0x3c00u16, 0x7bff, 0x7c00, 0xfe00];
        check(
            Dtype::F16,
            halves.iter().flat_map(|v| v.to_le_bytes()).collect(),
            2,
        );
    }
}
