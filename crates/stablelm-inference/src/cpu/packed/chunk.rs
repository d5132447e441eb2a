//! One chunk of columns of one panel, a number a byte: between blocks and the packed form.

use stablelm_model::BlockFormat;

use crate::cpu::packed::layout::{FACTORS, GROUP, PANEL, Shape, SubScales, VECTOR, array};
use crate::stored::f32_from_f16;

/// The most columns of a chunk.
const COLUMNS: usize = 256;

/// The most runs of a chunk.
const RUNS: usize = 16;

/// A chunk of all rows of a panel, taken apart. What a format has less of stays 0.
pub(crate) struct Chunk {
    /// Four columns of each row, group after group, from 0 up.
    pub(crate) groups: [[u8; VECTOR]; COLUMNS / GROUP],
    /// Half-precision bits.
    pub(crate) factors: [u16; PANEL],
    /// Half-precision bits.
    pub(crate) minimum_factors: [u16; PANEL],
    pub(crate) scales: [[u8; PANEL]; RUNS],
    pub(crate) minima: [[u8; PANEL]; RUNS],
}

impl Chunk {
    /// Returns a chunk whose weights are all 0.
    pub(crate) fn zeros(shape: Shape) -> Self {
        // A factor of 0 makes any weight 0; the offset keeps the sums small.
        let zero = shape.offset.to_le_bytes()[0];
        Self {
            groups: [[zero; VECTOR]; COLUMNS / GROUP],
            factors: [0; PANEL],
            minimum_factors: [0; PANEL],
            scales: [[0; PANEL]; RUNS],
            minima: [[0; PANEL]; RUNS],
        }
    }

    /// Takes over one block of one row.
    pub(crate) fn set_block(&mut self, format: BlockFormat, row: usize, block: &[u8]) {
        /// The lowest bit of each byte of a word.
        const ONES: u32 = 0x0101_0101;
        // Four columns a word, as groups have them: single bytes would have to be stored before they could be read again
        // four at a time.
        let mut weights = [0u32; COLUMNS / GROUP];
        match format {
            BlockFormat::Q8_0 => {
                self.factors[row] = half(block, 0);
                for (weights, quants) in weights.iter_mut().zip(words::<32>(block, 2)) {
                    // From two's complement to an offset of 128.
                    *weights = quants ^ (0x80 * ONES);
                }
            }
            BlockFormat::Q4_0 => {
                self.factors[row] = half(block, 0);
                split_nibbles(words::<16>(block, 2), &mut weights[..8]);
            }
            BlockFormat::Q4K => {
                self.set_minima(row, block);
                for (part, weights) in weights.chunks_exact_mut(16).enumerate() {
                    split_nibbles(words::<32>(block, 16 + 32 * part), weights);
                }
            }
            BlockFormat::Q5K => {
                self.set_minima(row, block);
                for (part, weights) in weights.chunks_exact_mut(16).enumerate() {
                    split_nibbles(words::<32>(block, 48 + 32 * part), weights);
                }
                for (bit, weights) in weights.chunks_exact_mut(8).enumerate() {
                    for (weights, fifths) in weights.iter_mut().zip(words::<32>(block, 16)) {
                        *weights |= (fifths >> bit & ONES) << 4;
                    }
                }
            }
            BlockFormat::Q6K => {
                self.factors[row] = half(block, 208);
                for (run, scale) in block[192..208].iter().enumerate() {
                    self.scales[run][row] = *scale;
                }
                for (part, weights) in weights.chunks_exact_mut(32).enumerate() {
                    split_nibbles(words::<64>(block, 64 * part), weights);
                    for (bits, weights) in weights.chunks_exact_mut(8).enumerate() {
                        let high = words::<32>(block, 128 + 32 * part);
                        for (weights, high) in weights.iter_mut().zip(high) {
                            *weights |= (high >> (2 * bits) & (3 * ONES)) << 4;
                        }
                    }
                }
            }
        }
        let groups = self.groups.iter_mut().zip(weights);
        for (group, weights) in groups.take(format.block_len() / GROUP) {
            group.as_chunks_mut().0[row] = weights.to_le_bytes();
        }
    }

    /// Takes the factors and the 6-bit scales and minima that `Q4_K` and `Q5_K` have in common.
    fn set_minima(&mut self, row: usize, block: &[u8]) {
        self.factors[row] = half(block, 0);
        self.minimum_factors[row] = half(block, 2);
        let packed = &block[4..16];
        for run in 0..8 {
            // ggml's `get_scale_min_k4`: four of each in plain bytes, whose upper two bits belong to the other four.
            let (scale, minimum) = if run < 4 {
                (packed[run] & 63, packed[run + 4] & 63)
            } else {
                (
                    packed[run + 4] & 15 | packed[run - 4] >> 6 << 4,
                    packed[run + 4] >> 4 | packed[run] >> 6 << 4,
                )
            };
            self.scales[run][row] = scale;
            self.minima[run][row] = minimum;
        }
    }

    /// Writes the chunk to its two places in a panel.
    pub(crate) fn pack(&self, shape: Shape, quants: &mut [u8], scales: &mut [u8]) {
        let groups = shape.groups();
        let runs = quants.chunks_exact_mut(shape.run_bytes());
        for (quants, weights) in runs.zip(self.groups.chunks_exact(groups)) {
            let (vectors, _) = quants.as_chunks_mut::<VECTOR>();
            let Some(high_bits) = shape.high_bits else {
                vectors.copy_from_slice(weights);
                continue;
            };
            let half = groups / 2;
            for (at, vector) in vectors[..half].iter_mut().enumerate() {
                let (low, high) = (&weights[at], &weights[at + half]);
                for ((byte, low), high) in vector.iter_mut().zip(low).zip(high) {
                    *byte = low & 15 | high << 4;
                }
            }
            if let Some(vector) = vectors.get_mut(half) {
                vector.fill(0);
                for (at, group) in weights.iter().enumerate() {
                    for (byte, weight) in vector.iter_mut().zip(group) {
                        *byte |= weight >> 4 << (at * high_bits);
                    }
                }
            }
        }
        write_halves(&self.factors, scales);
        if shape.minima() {
            write_halves(&self.minimum_factors, &mut scales[FACTORS..]);
        }
        let small = |numbers: &[[u8; PANEL]; RUNS], scales: &mut [u8]| {
            let numbers = numbers[..shape.runs()].as_flattened();
            scales[..numbers.len()].copy_from_slice(numbers);
        };
        match shape.sub_scales {
            SubScales::None => {}
            SubScales::Signed => small(&self.scales, &mut scales[shape.sub_scales_at()..]),
            SubScales::WithMinima => {
                small(&self.scales, &mut scales[shape.sub_scales_at()..]);
                small(&self.minima, &mut scales[shape.sub_minima_at()..]);
            }
        }
    }
}

/// Appends one row of a packed chunk as f32.
///
/// The operations are those of ggml's `dequantize_row`, in its order, so that the bits are the same.
pub(crate) fn widen(shape: Shape, quants: &[u8], scales: &[u8], row: usize, output: &mut Vec<f32>) {
    let factor = |at: usize| f32_from_f16(half(scales, at + 2 * row));
    for (run, quants) in quants.chunks_exact(shape.run_bytes()).enumerate() {
        let small = |at: usize| scales[at + run * PANEL + row];
        let scale = match shape.sub_scales {
            SubScales::None => factor(0),
            SubScales::Signed => factor(0) * f32::from(small(shape.sub_scales_at()).cast_signed()),
            SubScales::WithMinima => factor(0) * f32::from(small(shape.sub_scales_at())),
        };
        let minimum = if shape.minima() {
            factor(FACTORS) * f32::from(small(shape.sub_minima_at()))
        } else {
            0.0
        };
        for column in 0..shape.run {
            let weight = i16::from(weight(shape, quants, row, column));
            let offset = i16::try_from(shape.offset).unwrap_or_default();
            let product = scale * f32::from(weight - offset);
            output.push(if shape.minima() {
                product - minimum
            } else {
                product
            });
        }
    }
}

/// Returns a weight of a packed run, from 0 up.
fn weight(shape: Shape, quants: &[u8], row: usize, column: usize) -> u8 {
    let (group, byte) = (column / GROUP, row * GROUP + column % GROUP);
    let Some(high_bits) = shape.high_bits else {
        return quants[group * VECTOR + byte];
    };
    let half = shape.groups() / 2;
    let both = quants[group % half * VECTOR + byte];
    let low = if group < half { both & 15 } else { both >> 4 };
    if high_bits == 0 {
        return low;
    }
    let high = quants[half * VECTOR + byte] >> (group * high_bits);
    low | (high & ((1 << high_bits) - 1)) << 4
}

/// Returns `N` bytes from `at` on, four in a word.
fn words<const N: usize>(block: &[u8], at: usize) -> impl Iterator<Item = u32> {
    let bytes: &[u8; N] = array(block, at);
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| u32::from_le_bytes(*word))
}

/// Splits bytes into twice as many weights: low halves first, then high halves.
fn split_nibbles(words: impl Iterator<Item = u32>, weights: &mut [u32]) {
    let (low, high) = weights.split_at_mut(weights.len() / 2);
    for ((word, low), high) in words.zip(low).zip(high) {
        *low = word & 0x0f0f_0f0f;
        *high = word >> 4 & 0x0f0f_0f0f;
    }
}

fn half(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

fn write_halves(halves: &[u16; PANEL], bytes: &mut [u8]) {
    for (half, bytes) in halves.iter().zip(bytes.as_chunks_mut().0) {
        *bytes = half.to_le_bytes();
    }
}
