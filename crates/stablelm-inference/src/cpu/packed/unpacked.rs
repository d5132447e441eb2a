//! The numbers of a matrix in blocks, row after row, for devices that read rows: each kind in a run of its own.
//!
//! Nothing is rounded: these are the numbers that [`PackedMatrix`](super::PackedMatrix) holds in another order.

use stablelm_model::{BlockFormat, Blocks};

use crate::cpu::level::Level;
use crate::cpu::packed::chunk::Chunk;
use crate::cpu::packed::layout::{GROUP, PANEL, Shape, SubScales};
use crate::cpu::packed::{BlockReader, NumberReader};
use crate::cpu::pool::Pool;
use crate::stored::{Encoding, StoredMatrix};

/// Columns whose 4-bit weights share 16 bytes: the first half of them in low halves, the second in high halves.
const NIBBLES: usize = 32;

/// A matrix in blocks, taken apart.
pub(crate) struct Unpacked {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) format: BlockFormat,
    /// Weights from 0 up: a byte each, or half a byte (`Q4_0`, `Q4K`).
    pub(crate) quants: Vec<u8>,
    /// Half-precision bits: a factor for every block, in `Q4K` and `Q5K` followed by that of minima.
    pub(crate) factors: Vec<u16>,
    /// `Q4K` and `Q5K`: a scale and a minimum for every 32 columns. `Q6K`: a signed scale for every 16. Else nothing.
    pub(crate) subs: Vec<u8>,
}

impl Unpacked {
    /// Takes blocks apart.
    pub(crate) fn from_blocks(pool: &Pool, blocks: &Blocks) -> Self {
        let reader = BlockReader(blocks);
        Self::new(
            pool,
            blocks.format,
            blocks.rows,
            blocks.columns,
            |at, rows, chunk| {
                reader.read(at, rows, chunk);
            },
        )
    }

    /// Quantizes a matrix; its columns are a multiple of the format's block.
    pub(crate) fn quantize(pool: &Pool, matrix: &StoredMatrix, encoding: Encoding) -> Self {
        let reader = NumberReader {
            level: Level::detect(),
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
        read: impl Fn(usize, std::ops::Range<usize>, &mut Chunk) + Send + Sync,
    ) -> Self {
        let shape = Shape::of(format);
        let chunks = columns / shape.chunk;
        let sizes = Sizes::of(shape);
        let mut unpacked = Self {
            rows,
            columns,
            format,
            quants: vec![0; rows * chunks * sizes.quants],
            factors: vec![0; rows * chunks * sizes.factors],
            subs: vec![0; rows * chunks * sizes.subs],
        };
        let of_panel = |size: usize| (PANEL * chunks * size).max(1);
        let quants = unpacked.quants.chunks_mut(of_panel(sizes.quants));
        let factors = unpacked.factors.chunks_mut(of_panel(sizes.factors));
        let mut subs = unpacked.subs.chunks_mut(of_panel(sizes.subs));
        let mut panels: Vec<_> = quants
            .zip(factors)
            .map(|(quants, factors)| (quants, factors, subs.next().unwrap_or_default()))
            .collect();
        pool.for_each_chunk(&mut panels, 1, |panel, places| {
            let rows = panel * PANEL..rows.min((panel + 1) * PANEL);
            let mut chunk = Chunk::zeros(shape);
            for (quants, factors, subs) in places {
                for at in 0..chunks {
                    read(at, rows.clone(), &mut chunk);
                    for row in 0..rows.len() {
                        let place = row * chunks + at;
                        write_quants(shape, &chunk, row, &mut quants[place * sizes.quants..]);
                        factors[place * sizes.factors] = chunk.factors[row];
                        if shape.minima() {
                            factors[place * sizes.factors + 1] = chunk.minimum_factors[row];
                        }
                        write_subs(shape, &chunk, row, &mut subs[place * sizes.subs..]);
                    }
                }
            }
        });
        unpacked
    }
}

/// How many numbers of each kind a block of one row has.
#[derive(Clone, Copy)]
struct Sizes {
    quants: usize,
    factors: usize,
    subs: usize,
}

impl Sizes {
    fn of(shape: Shape) -> Self {
        Self {
            quants: if is_nibbles(shape) {
                shape.chunk / 2
            } else {
                shape.chunk
            },
            factors: 1 + usize::from(shape.minima()),
            subs: match shape.sub_scales {
                SubScales::None => 0,
                SubScales::Signed => shape.runs(),
                SubScales::WithMinima => 2 * shape.runs(),
            },
        }
    }
}

fn is_nibbles(shape: Shape) -> bool {
    shape.high_bits == Some(0)
}

fn write_quants(shape: Shape, chunk: &Chunk, row: usize, quants: &mut [u8]) {
    let weight = |column: usize| chunk.groups[column / GROUP][row * GROUP + column % GROUP];
    if !is_nibbles(shape) {
        for (column, quant) in quants[..shape.chunk].iter_mut().enumerate() {
            *quant = weight(column);
        }
        return;
    }
    let runs = quants[..shape.chunk / 2].chunks_exact_mut(NIBBLES / 2);
    for (run, quants) in runs.enumerate() {
        for (at, both) in quants.iter_mut().enumerate() {
            let low = run * NIBBLES + at;
            *both = weight(low) & 15 | weight(low + NIBBLES / 2) << 4;
        }
    }
}

fn write_subs(shape: Shape, chunk: &Chunk, row: usize, subs: &mut [u8]) {
    match shape.sub_scales {
        SubScales::None => {}
        SubScales::Signed => {
            for (run, sub) in subs[..shape.runs()].iter_mut().enumerate() {
                *sub = chunk.scales[run][row];
            }
        }
        SubScales::WithMinima => {
            let pairs = subs[..2 * shape.runs()].chunks_exact_mut(2);
            for (run, pair) in pairs.enumerate() {
                pair.copy_from_slice(&[chunk.scales[run][row], chunk.minima[run][row]]);
            }
        }
    }
}
