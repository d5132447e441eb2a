//! Memory for weights, that starts at a cache line.

use memmap2::MmapMut;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes from which memory is asked for in large pages.
const LARGE: usize = 2 << 20;

/// Bytes from the start of a cache line on, 0 at first, which the system need not have given memory for yet.
///
/// Weights are read from one end to the other for each token: to look up small pages would take time of its own.
pub(crate) enum Buffer {
    /// Pages of their own, large ones where the system has them.
    Mapped(MmapMut),
    Owned {
        /// One more than needed, so that some of them start at a line.
        lines: Vec<[u64; LINE / 8]>,
        start: usize,
        len: usize,
    },
}

impl Buffer {
    pub(crate) fn zeros(len: usize) -> Self {
        if len >= LARGE
            && let Ok(map) = MmapMut::map_anon(len)
        {
            // Advice that is not taken costs speed only.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Self::Mapped(map);
        }
        let lines = vec![[0u64; LINE / 8]; len.div_ceil(LINE) + 1];
        let bytes: &[u8] = bytemuck::cast_slice(&lines);
        // Only a compiler's interpreter may answer more than a line.
        let start = bytes.as_ptr().align_offset(LINE).min(LINE);
        Self::Owned { lines, start, len }
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned { lines, start, len } => {
                let bytes: &[u8] = bytemuck::cast_slice(lines);
                &bytes[*start..][..*len]
            }
        }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned { lines, start, len } => {
                let bytes: &mut [u8] = bytemuck::cast_slice_mut(lines);
                &mut bytes[*start..][..*len]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_start_at_a_line() {
        for len in [0, 1, 64, 65, 1 << 20, LARGE, LARGE + 1] {
            let mut buffer = Buffer::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().align_offset(LINE), 0);
            assert!(buffer.iter().all(|byte| *byte == 0));
            buffer.fill(1);
        }
    }
}
