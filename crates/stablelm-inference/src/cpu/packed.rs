//! Matrices of a few bits a weight: packed for vectors of 16 rows, multiplied as whole numbers.
//!
//! The weights are exactly those of the blocks they come from. Activations are rounded to 8 bits in runs of 32, as
//! llama.cpp does; that is the one thing which is not exact about a product.

mod activations;
mod buffer;
mod chunk;
mod kernel;
mod layout;
mod portable;
mod quantize;
mod unpacked;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use stablelm_model::{BlockFormat, Blocks};

use crate::cpu::Rows;
use crate::cpu::level::Level;
use crate::cpu::packed::activations::Activations;
use crate::cpu::packed::buffer::Buffer;
use crate::cpu::packed::chunk::Chunk;
use crate::cpu::packed::kernel::{Format, Q4_0, Q4K, Q5K, Q6K, Q8_0, multiply};
use crate::cpu::packed::layout::{PANEL, Shape};
use crate::cpu::packed::portable::Portable;
use crate::cpu::packed::quantize::Block;
use crate::cpu::pool::Pool;
use crate::stored::{Encoding, StoredMatrix, f16_from_f32};

pub(crate) use crate::cpu::packed::unpacked::Unpacked;

/// How many bytes of weights are worth a task of their own: a stretch that stays in the second level cache while tile
/// after tile is multiplied by it.
const TASK: usize = 192 * 1024;

/// How many where a few positions are bound by the reading of weights: a long run for the memory.
const STREAMED_TASK: usize = 768 * 1024;

/// Up to this many positions, weights are bound by memory.
const STREAMED_POSITIONS: usize = 4;

/// A matrix in panels of 16 rows; rows that it lacks for a whole number of them are 0.
pub(crate) struct PackedMatrix {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) format: BlockFormat,
    panels: Buffer,
}

impl PackedMatrix {
    /// Puts blocks into the order in which they are multiplied.
    pub(crate) fn from_blocks(pool: &Pool, blocks: &Blocks) -> Self {
        let reader = BlockReader(blocks);
        Self::new(
            pool,
            blocks.format,
            blocks.rows,
            blocks.columns,
            |at, rows, chunk| reader.read(at, rows, chunk),
        )
    }

    /// Quantizes a matrix; its columns are a multiple of the format's block.
    pub(crate) fn quantize(
        pool: &Pool,
        level: Level,
        matrix: &StoredMatrix,
        encoding: Encoding,
    ) -> Self {
        let reader = NumberReader {
            level,
            matrix,
            encoding,
        };
        let (rows, columns) = (matrix.rows, matrix.columns);
        Self::new(pool, encoding.format(), rows, columns, |at, rows, chunk| {
            reader.read(at, rows, chunk);
        })
    }

    fn new(
        pool: &Pool,
        format: BlockFormat,
        rows: usize,
        columns: usize,
        read: impl Fn(usize, Range<usize>, &mut Chunk) + Send + Sync,
    ) -> Self {
        let shape = Shape::of(format);
        let panel_bytes = shape.panel_bytes(columns);
        let mut panels = Buffer::zeros(rows.div_ceil(PANEL) * panel_bytes);
        pool.for_each_chunk(&mut panels, panel_bytes.max(1), |panel, bytes| {
            let rows = panel * PANEL..rows.min((panel + 1) * PANEL);
            let chunks = bytes.chunks_exact_mut(shape.chunk_bytes());
            let mut chunk = Chunk::zeros(shape);
            for (at, bytes) in chunks.take(columns / shape.chunk).enumerate() {
                let (scales, quants) = bytes.split_at_mut(shape.scales());
                read(at, rows.clone(), &mut chunk);
                chunk.pack(shape, quants, scales);
            }
        });
        Self {
            rows,
            columns,
            format,
            panels,
        }
    }

    /// Returns the bytes that the matrix takes.
    pub(crate) fn byte_len(&self) -> usize {
        self.panels.len()
    }

    /// Appends a row as f32 to `output`.
    pub(crate) fn widen_row(&self, row: usize, output: &mut Vec<f32>) {
        let shape = Shape::of(self.format);
        let panel_bytes = shape.panel_bytes(self.columns);
        let panel = &self.panels[row / PANEL * panel_bytes..][..panel_bytes];
        let chunks = panel.chunks_exact(shape.chunk_bytes());
        for chunk in chunks.take(self.columns / shape.chunk) {
            let (scales, quants) = chunk.split_at(shape.scales());
            chunk::widen(shape, quants, scales, row % PANEL, output);
        }
    }
}

/// Reads a matrix in blocks chunk by chunk.
struct BlockReader<'a>(&'a Blocks);

impl BlockReader<'_> {
    /// Takes over chunk `at` of up to 16 rows.
    fn read(&self, at: usize, rows: Range<usize>, chunk: &mut Chunk) {
        let Self(blocks) = self;
        let (format, row_bytes) = (blocks.format, blocks.row_bytes());
        for row in 0..rows.len() {
            let block = (rows.start + row) * row_bytes + at * format.block_bytes();
            chunk.set_block(format, row, &blocks.bytes[block..][..format.block_bytes()]);
        }
    }
}

/// Quantizes a matrix of plain numbers chunk by chunk.
struct NumberReader<'a> {
    level: Level,
    matrix: &'a StoredMatrix,
    encoding: Encoding,
}

impl NumberReader<'_> {
    /// Quantizes chunk `at` of up to 16 rows.
    fn read(&self, at: usize, rows: Range<usize>, chunk: &mut Chunk) {
        let block_len = self.encoding.format().block_len();
        let mut block = Block::zeros();
        let mut values = Vec::with_capacity(block_len);
        let mut is_broken = [false; PANEL];
        for (lane, row) in rows.enumerate() {
            let start = row * self.matrix.columns + at * block_len;
            values.clear();
            self.matrix
                .values
                .widen(start..start + block_len, &mut values);
            for (column, value) in block.0.iter_mut().zip(&values) {
                column[lane] = *value;
            }
            is_broken[lane] = values.iter().any(|value| value.is_nan());
        }
        match self.encoding {
            Encoding::Q8_0 => quantize::q8_0(self.level, &block, chunk),
            Encoding::Q4K => quantize::q4_k(self.level, &block, chunk),
        }
        // What is no number stays none, and is found where the logits are.
        for (factor, is_broken) in chunk.factors.iter_mut().zip(is_broken) {
            if is_broken {
                *factor = f16_from_f32(f32::NAN);
            }
        }
    }
}

/// Some panels of one matrix, and where their products with each position go.
struct Task<'a> {
    weight: &'a PackedMatrix,
    panels: &'a [u8],
    activations: &'a Activations,
    outputs: Vec<&'a mut [f32]>,
}

/// Returns `input * transpose(weight)` for each of the weights, position after position.
///
/// All are multiplied in one section of the pool, so that threads meet once, and share what the activations become.
pub(crate) fn products(
    pool: &Pool,
    level: Level,
    input: &Rows,
    weights: &[&PackedMatrix],
) -> Vec<Vec<f32>> {
    let positions = input.len();
    let mut quantized: Vec<(Shape, Activations)> = Vec::new();
    for weight in weights {
        let shape = Shape::of(weight.format);
        if quantized.iter().all(|(known, _)| !known.reads_like(shape)) {
            quantized.push((shape, Activations::new(pool, level, input, shape)));
        }
    }
    let zeros = |weight: &&PackedMatrix| vec![0f32; positions * weight.rows];
    let mut outputs: Vec<Vec<f32>> = weights.iter().map(zeros).collect();
    let mut tasks: Vec<Task<'_>> = Vec::new();
    for (weight, output) in weights.iter().zip(&mut outputs) {
        let shape = Shape::of(weight.format);
        let known = quantized.iter().find(|(known, _)| known.reads_like(shape));
        let (_, activations) = known.expect("each weight's activations were made above");
        let panel_bytes = shape.panel_bytes(weight.columns);
        let panels_per_task = match positions {
            0..=STREAMED_POSITIONS => STREAMED_TASK / panel_bytes,
            _ => TASK / panel_bytes,
        };
        let panels_per_task = panels_per_task.max(1);
        let first = tasks.len();
        tasks.extend(
            weight
                .panels
                .chunks(panels_per_task * panel_bytes)
                .map(|panels| Task {
                    weight,
                    panels,
                    activations,
                    outputs: Vec::with_capacity(positions),
                }),
        );
        for position in output.chunks_exact_mut(weight.rows) {
            let parts = position.chunks_mut(panels_per_task * PANEL);
            for (task, part) in tasks[first..].iter_mut().zip(parts) {
                task.outputs.push(part);
            }
        }
    }
    pool.for_each_chunk(&mut tasks, 1, |_, tasks| {
        for task in tasks {
            task.run(level);
        }
    });
    outputs
}

impl Task<'_> {
    fn run(&mut self, level: Level) {
        let PackedMatrix {
            format, columns, ..
        } = *self.weight;
        let panel_bytes = Shape::of(format).panel_bytes(columns);
        for tile in self.activations.tiles() {
            let words = self.activations.words(tile);
            let outputs = &mut self.outputs[tile.first..][..tile.width];
            for (at, panel) in self.panels.chunks_exact(panel_bytes).enumerate() {
                let multiplication = Multiplication {
                    level,
                    panel,
                    columns,
                    words,
                };
                multiplication.run(format, outputs, at * PANEL);
            }
        }
    }
}

/// One panel by one tile.
#[derive(Clone, Copy)]
struct Multiplication<'a> {
    level: Level,
    panel: &'a [u8],
    columns: usize,
    words: &'a [u32],
}

impl Multiplication<'_> {
    /// Writes the products from the row `at` of each output on.
    fn run(self, format: BlockFormat, outputs: &mut [&mut [f32]], at: usize) {
        match format {
            BlockFormat::Q8_0 => self.by_width::<Q8_0>(outputs, at),
            BlockFormat::Q4_0 => self.by_width::<Q4_0>(outputs, at),
            BlockFormat::Q4K => self.by_width::<Q4K>(outputs, at),
            BlockFormat::Q5K => self.by_width::<Q5K>(outputs, at),
            BlockFormat::Q6K => self.by_width::<Q6K>(outputs, at),
        }
    }

    /// Chooses among the widths that [`activations::widths`] gives for the level.
    fn by_width<F: Format>(self, outputs: &mut [&mut [f32]], at: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            let (panel, columns, words) = (self.panel, self.columns, self.words);
            // SAFETY: the level says that the instructions are there.
            unsafe {
                match (self.level, outputs.len()) {
                    (Level::Avx512Bf16, 12) => {
                        return write(
                            &x86::multiply_vnni::<F, 12>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Avx512Bf16, 4) => {
                        return write(
                            &x86::multiply_vnni::<F, 4>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Avx512Bf16, _) => {
                        return write(
                            &x86::multiply_vnni::<F, 1>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Avx512, 12) => {
                        return write(
                            &x86::multiply_avx512::<F, 12>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Avx512, 4) => {
                        return write(
                            &x86::multiply_avx512::<F, 4>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Avx512, _) => {
                        return write(
                            &x86::multiply_avx512::<F, 1>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Avx2, 4) => {
                        return write(
                            &x86::multiply_avx2::<F, 4>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Avx2, _) => {
                        return write(
                            &x86::multiply_avx2::<F, 1>(panel, columns, words),
                            outputs,
                            at,
                        );
                    }
                    (Level::Portable, _) => {}
                }
            }
        }
        match outputs.len() {
            4 => write(&self.portable::<F, 4>(), outputs, at),
            _ => write(&self.portable::<F, 1>(), outputs, at),
        }
    }

    fn portable<F: Format, const P: usize>(self) -> [[f32; PANEL]; P] {
        // SAFETY: plain code needs no instructions.
        unsafe { multiply::<Portable, F, P>(self.panel, self.columns, self.words) }
    }
}

/// Writes the sums of a panel's rows, as many as there are, from `at` on.
fn write(sums: &[[f32; PANEL]], outputs: &mut [&mut [f32]], at: usize) {
    for (sums, output) in sums.iter().zip(outputs) {
        let output = &mut output[at..];
        let len = output.len().min(PANEL);
        output[..len].copy_from_slice(&sums[..len]);
    }
}

#[cfg(test)]
mod tests;
