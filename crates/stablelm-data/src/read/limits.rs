//! How much of a table is held at once, whatever a file claims.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::read::ColumnarError;

/// Most bytes of a batch of rows, decompressed.
pub(crate) const MAX_BATCH_LEN: u64 = 1 << 30;
/// Claims up to this are believed.
const PLAIN_LEN: u64 = 64 << 20;
/// Most bytes that one compressed byte becomes: the limit of deflate, far above any text.
const MAX_RATIO: u64 = 1100;

/// Whether a compressed piece claims to become more than can be.
pub(crate) fn is_bomb(uncompressed: u64, compressed: u64) -> bool {
    uncompressed > MAX_BATCH_LEN
        || uncompressed > PLAIN_LEN.max(compressed.saturating_mul(MAX_RATIO))
}

/// Runs a reader of tables, and makes an error of its panics.
///
/// The libraries check much, but by assertions too: a damaged file may reach one.
pub(crate) fn guarded<T, E: From<ColumnarError>>(
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(message_of(&*panic).into()))
}

fn message_of(panic: &(dyn Any + Send)) -> ColumnarError {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    ColumnarError::refused(format!(
        "the reader gave up: {}",
        text.unwrap_or("no reason given")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_cannot_be_are_found() {
        assert!(!is_bomb(1 << 20, 10));
        assert!(!is_bomb(500 << 20, 1 << 20));
        assert!(is_bomb(500 << 20, 1 << 10));
        assert!(is_bomb(2 << 30, 2 << 30));
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let found: Result<(), ColumnarError> = guarded(|| panic!("row {}", 3));
        assert!(found.unwrap_err().to_string().ends_with("row 3"));
    }
}
