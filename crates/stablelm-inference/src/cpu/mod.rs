//! The processor as a backend: plain vectors of f32, threads in `pool.rs`, products of matrices in `dense.rs` and `packed.rs`.

mod attend;
#[doc(hidden)]
pub mod bench;
mod cache;
pub(crate) mod dense;
mod elementwise;
pub(crate) mod level;
mod matrix;
pub(crate) mod packed;
pub(crate) mod pool;
mod simd;

use std::num::NonZeroUsize;
use std::thread;

use stablelm_model::Blocks;

use crate::backend::{Backend, BackendError, HeadShape, Nonlinearity};
use crate::cpu::cache::HeadCaches;
use crate::cpu::level::Level;
use crate::cpu::packed::PackedMatrix;
use crate::cpu::pool::{Pool, ThreadsError};
use crate::kv_cache::KvDtype;
use crate::rotary::Angles;
use crate::stored::{Encoding, StoredMatrix};

/// The processor, as one model uses it.
pub(crate) struct Cpu {
    pool: Pool,
    level: Level,
}

impl Cpu {
    /// Takes that many threads, or as many as there are processors.
    pub(crate) fn new(threads: Option<NonZeroUsize>) -> Result<Self, ThreadsError> {
        let available = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            pool: Pool::new(threads.unwrap_or_else(available))?,
            level: Level::detect(),
        })
    }
}

/// A weight matrix.
pub(crate) enum Matrix {
    /// Plain numbers, used where the file holds them if that can be.
    Plain(StoredMatrix),
    /// A few bits a weight.
    Packed(PackedMatrix),
}

/// Activations: rows of equal width, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

impl Rows {
    fn len(&self) -> usize {
        self.values.len() / self.width
    }
}

impl Backend for Cpu {
    type Matrix = Matrix;
    type Vector = Vec<f32>;
    type Tensor = Rows;
    type LayerCache = HeadCaches;

    const USES_FILES_IN_PLACE: bool = true;

    fn load_matrix(&self, matrix: StoredMatrix) -> Result<Matrix, BackendError> {
        Ok(Matrix::Plain(matrix))
    }

    fn load_blocks(&self, blocks: &Blocks) -> Result<Matrix, BackendError> {
        let packed = PackedMatrix::from_blocks(&self.pool, blocks);
        Ok(Matrix::Packed(packed))
    }

    fn quantize(&self, matrix: &StoredMatrix, encoding: Encoding) -> Result<Matrix, BackendError> {
        let packed = PackedMatrix::quantize(&self.pool, self.level, matrix, encoding);
        Ok(Matrix::Packed(packed))
    }

    fn byte_len(&self, matrix: &Matrix) -> usize {
        match matrix {
            Matrix::Plain(matrix) => matrix.values.byte_len(),
            Matrix::Packed(matrix) => matrix.byte_len(),
        }
    }

    fn load_vector(&self, values: Vec<f32>) -> Result<Vec<f32>, BackendError> {
        Ok(values)
    }

    fn embed(&self, table: &Matrix, ids: &[u32]) -> Result<Rows, BackendError> {
        let (Matrix::Plain(StoredMatrix { columns: width, .. })
        | Matrix::Packed(PackedMatrix { columns: width, .. })) = *table;
        let mut values = Vec::with_capacity(ids.len() * width);
        for &id in ids {
            let id = id as usize;
            match table {
                Matrix::Plain(table) => matrix::widen_rows(table, id..id + 1, &mut values),
                Matrix::Packed(table) => table.widen_row(id, &mut values),
            }
        }
        Ok(Rows { width, values })
    }

    fn linears(
        &self,
        input: &Rows,
        weights: &[(&Matrix, Option<&Vec<f32>>)],
    ) -> Result<Vec<Rows>, BackendError> {
        let (mut plain, mut packed) = (Vec::new(), Vec::new());
        for (weight, _) in weights {
            match weight {
                Matrix::Plain(weight) => plain.push(weight),
                Matrix::Packed(weight) => packed.push(weight),
            }
        }
        let mut plain = dense::products(&self.pool, self.level, input, &plain).into_iter();
        let mut packed = packed::products(&self.pool, self.level, input, &packed).into_iter();
        let biased = |(weight, bias): &(&Matrix, Option<&Vec<f32>>)| {
            let (width, values) = match weight {
                Matrix::Plain(weight) => (weight.rows, plain.next()),
                Matrix::Packed(weight) => (weight.rows, packed.next()),
            };
            let mut values = values.expect("each matrix gives one product");
            if let Some(bias) = bias {
                for row in values.chunks_exact_mut(width) {
                    elementwise::add(row, bias);
                }
            }
            Rows { width, values }
        };
        Ok(weights.iter().map(biased).collect())
    }

    fn normalize(
        &self,
        input: &Rows,
        weight: &Vec<f32>,
        bias: Option<&Vec<f32>>,
        group: usize,
        epsilon: f64,
    ) -> Result<Rows, BackendError> {
        let factors = elementwise::Factors {
            weight,
            bias: bias.map(Vec::as_slice),
        };
        Ok(elementwise::normalize(
            &self.pool, self.level, input, group, epsilon, factors,
        ))
    }

    fn rotate(
        &self,
        heads: &mut Rows,
        head_dim: usize,
        angles: &Angles,
    ) -> Result<(), BackendError> {
        elementwise::rotate(&self.pool, heads, head_dim, angles);
        Ok(())
    }

    fn new_layer_cache(
        &self,
        shape: HeadShape,
        dtype: KvDtype,
        reserve: usize,
    ) -> Result<HeadCaches, BackendError> {
        Ok(HeadCaches::new(shape, dtype, reserve))
    }

    fn append(
        &self,
        cache: &mut HeadCaches,
        keys: &Rows,
        values: &Rows,
    ) -> Result<(), BackendError> {
        cache.append(&self.pool, self.level, keys, values);
        Ok(())
    }

    fn truncate(&self, cache: &mut HeadCaches, len: usize) {
        cache.truncate(len);
    }

    fn attend(
        &self,
        queries: &Rows,
        cache: &HeadCaches,
        shape: HeadShape,
    ) -> Result<Rows, BackendError> {
        Ok(attend::attend(
            &self.pool, self.level, queries, cache, shape,
        ))
    }

    fn add(&self, left: &mut Rows, right: &Rows) -> Result<(), BackendError> {
        elementwise::add_rows(&self.pool, &mut left.values, &right.values);
        Ok(())
    }

    fn activate(
        &self,
        values: &mut Rows,
        nonlinearity: Nonlinearity,
        factor: Option<&Rows>,
    ) -> Result<(), BackendError> {
        let factor = factor.map(|factor| factor.values.as_slice());
        elementwise::activate(
            &self.pool,
            self.level,
            &mut values.values,
            nonlinearity,
            factor,
        );
        Ok(())
    }

    fn row(&self, tensor: &Rows, nth: usize) -> Result<Rows, BackendError> {
        Ok(Rows {
            width: tensor.width,
            values: tensor.values[nth * tensor.width..][..tensor.width].to_vec(),
        })
    }

    fn stack(&self, tensors: &[Rows]) -> Result<Rows, BackendError> {
        let values = tensors.iter().flat_map(|tensor| &tensor.values);
        Ok(Rows {
            width: tensors[0].width,
            values: values.copied().collect(),
        })
    }

    fn to_host(&self, tensor: &Rows) -> Result<Vec<f32>, BackendError> {
        Ok(tensor.values.clone())
    }
}
