//! Memory that starts at a cache line.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes from the start of a cache line on, 0 at first, which the system need not have given memory for yet.
pub(crate) struct Buffer {
    /// One more than needed, so that some of them start at a line.
    lines: Vec<[u64; LINE / 8]>,
    start: usize,
    len: usize,
}

impl Buffer {
    pub(crate) fn zeros(len: usize) -> Self {
        let lines = vec![[0u64; LINE / 8]; len.div_ceil(LINE) + 1];
        let bytes: &[u8] = bytemuck::cast_slice(&lines);
        // Only a compiler's interpreter may answer more than a line.
        let start = bytes.as_ptr().align_offset(LINE).min(LINE);
        Self { lines, start, len }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes: &[u8] = bytemuck::cast_slice(&self.lines);
        &bytes[self.start..][..self.len]
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.lines);
        &mut bytes[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_start_at_a_line() {
        for len in [0, 1, 64, 65, 1 << 20] {
            let mut buffer = Buffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().align_offset(LINE), 0);
            assert!(buffer.iter().all(|byte| *byte == 0));
            buffer.fill(1);
        }
    }
}
