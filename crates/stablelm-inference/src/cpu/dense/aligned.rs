//! Memory that begins with a cache line: vector loads that straddle two lines are slower.

use std::ops::{Deref, DerefMut};

const LINE: usize = 64;

/// Zeros at first, from the beginning of a cache line on.
pub(super) struct Aligned<T> {
    values: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(super) fn zeros(len: usize) -> Self {
        let values = vec![T::default(); len + LINE / size_of::<T>()];
        let start = values.as_ptr().align_offset(LINE);
        Self { values, start, len }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start..self.start + self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..self.start + self.len]
    }
}
