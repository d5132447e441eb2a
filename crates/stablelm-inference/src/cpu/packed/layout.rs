//! Where the numbers of a packed matrix lie.
//!
//! Rows go in panels of 16, so that one vector register holds one number of every row. A panel is a run of chunks of
//! columns, each with its scales first and then its quantized weights, so that memory is read from front to back:
//!
//! - Weights are whole numbers from 0 up, four columns of one row after four columns of the next: 64 bytes are a
//!   *group* of four columns. At 8 bits that is all. At 4 bits a vector holds two groups, that of its low halves and,
//!   half a run of columns later, that of its high halves. Fifth and sixth bits of a run follow in one more vector, the
//!   first group's in the lowest bits.
//! - Scales are those of the block format, one of each row side by side: factors as half-precision floats, then those
//!   of minima, then the small whole numbers that multiply the first, run after run, then those of the second.
//!
//! All of it is what the blocks said, in another order: nothing is rounded.

use stablelm_model::BlockFormat;

/// Rows in a panel.
pub(crate) const PANEL: usize = 16;

/// Columns in a group: as many as one instruction multiplies and adds up in a lane.
pub(crate) const GROUP: usize = 4;

/// Bytes of a group of all rows of a panel.
pub(crate) const VECTOR: usize = PANEL * GROUP;

/// Bytes of one half-precision factor of every row of a panel.
pub(crate) const FACTORS: usize = PANEL * 2;

/// Columns whose activations share a scale; every format's runs divide it, and it divides every format's chunks.
pub(crate) const ACTIVATIONS: usize = 32;

/// The numbers of one block format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Columns that share a factor.
    pub(crate) chunk: usize,
    /// Columns that share a scale; their products are summed as whole numbers.
    pub(crate) run: usize,
    /// How many of a weight's bits are beyond the four of a nibble; `None` where weights are whole bytes.
    pub(crate) high_bits: Option<usize>,
    /// What was added to make weights start at 0.
    pub(crate) offset: i32,
    /// Whether the factor is multiplied by a small whole number for each run.
    pub(crate) sub_scales: SubScales,
}

/// The small whole numbers that multiply a factor, one for each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubScales {
    /// There are none.
    None,
    /// From -128 to 127.
    Signed,
    /// From 0 to 63, and as many for what is subtracted from all weights of a run.
    WithMinima,
}

impl Shape {
    pub(crate) const Q8_0: Self = Self {
        chunk: 32,
        run: 32,
        high_bits: None,
        offset: 128,
        sub_scales: SubScales::None,
    };
    pub(crate) const Q4_0: Self = Self {
        high_bits: Some(0),
        offset: 8,
        ..Self::Q8_0
    };
    pub(crate) const Q4_K: Self = Self {
        chunk: 256,
        run: 32,
        high_bits: Some(0),
        offset: 0,
        sub_scales: SubScales::WithMinima,
    };
    pub(crate) const Q5_K: Self = Self {
        high_bits: Some(1),
        ..Self::Q4_K
    };
    pub(crate) const Q6_K: Self = Self {
        chunk: 256,
        run: 16,
        high_bits: Some(2),
        offset: 32,
        sub_scales: SubScales::Signed,
    };

    pub(crate) const fn of(format: BlockFormat) -> Self {
        match format {
            BlockFormat::Q8_0 => Self::Q8_0,
            BlockFormat::Q4_0 => Self::Q4_0,
            BlockFormat::Q4K => Self::Q4_K,
            BlockFormat::Q5K => Self::Q5_K,
            BlockFormat::Q6K => Self::Q6_K,
        }
    }

    /// True where activations that are quantized for one are so for the other.
    pub(crate) fn reads_like(self, other: Self) -> bool {
        (self.offset, self.sub_scales) == (other.offset, other.sub_scales)
    }

    /// Returns the number of groups in a run.
    pub(crate) const fn groups(self) -> usize {
        self.run / GROUP
    }

    /// Returns the number of runs in a chunk.
    pub(crate) const fn runs(self) -> usize {
        self.chunk / self.run
    }

    /// Returns the bytes of the weights of a run.
    pub(crate) const fn run_bytes(self) -> usize {
        match self.high_bits {
            None => self.groups() * VECTOR,
            Some(0) => self.groups() / 2 * VECTOR,
            // One bit of 8 groups or two of 4: a vector in any case.
            Some(_) => (self.groups() / 2 + 1) * VECTOR,
        }
    }

    /// Returns the bytes of the weights of a chunk.
    pub(crate) const fn quants(self) -> usize {
        self.runs() * self.run_bytes()
    }

    pub(crate) const fn minima(self) -> bool {
        matches!(self.sub_scales, SubScales::WithMinima)
    }

    /// Returns where a chunk's whole-number scales start within its scales.
    pub(crate) const fn sub_scales_at(self) -> usize {
        if self.minima() { 2 * FACTORS } else { FACTORS }
    }

    /// Returns where a chunk's whole-number minima start within its scales.
    pub(crate) const fn sub_minima_at(self) -> usize {
        self.sub_scales_at() + self.runs() * PANEL
    }

    /// Returns the bytes of the scales of a chunk; of a large chunk they are whole cache lines.
    pub(crate) const fn scales(self) -> usize {
        match self.sub_scales {
            SubScales::None => FACTORS,
            SubScales::Signed => self.sub_minima_at().next_multiple_of(VECTOR),
            SubScales::WithMinima => {
                (self.sub_minima_at() + self.runs() * PANEL).next_multiple_of(VECTOR)
            }
        }
    }

    /// Returns the bytes from a chunk to the next.
    pub(crate) const fn chunk_bytes(self) -> usize {
        self.scales() + self.quants()
    }

    /// Returns the bytes of a panel, whole cache lines.
    pub(crate) const fn panel_bytes(self, columns: usize) -> usize {
        let bytes = columns / self.chunk * self.chunk_bytes();
        bytes.next_multiple_of(VECTOR)
    }
}

/// Returns `N` bytes from `at` on.
#[expect(
    clippy::inline_always,
    reason = "it must take on the instructions of the function that calls it"
)]
#[inline(always)]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..]
        .first_chunk()
        .expect("blocks and chunks are as long as their formats say")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_weights_take_hardly_more_than_blocks() {
        for (format, bits) in [
            (BlockFormat::Q8_0, 8.5),
            (BlockFormat::Q4_0, 4.5),
            (BlockFormat::Q4K, 4.625),
            (BlockFormat::Q5K, 5.625),
            (BlockFormat::Q6K, 6.625),
        ] {
            let bytes = Shape::of(format).panel_bytes(2560);
            let found = bytes as f64 * 8.0 / f64::from(16 * 2560);
            assert!((found - bits).abs() < 1e-9, "{format}: {found}");
        }
    }
}
