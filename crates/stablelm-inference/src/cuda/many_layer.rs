//! One layer of a step of several sequences: normalization, projections, attention, output projection, normalization, the
//! inner half of the MLP, down projection.
//!
//! The last matrices of attention and MLP leave sums beside the residual stream, in parts; the next normalization adds them.

use cudarc::driver::CudaSlice;

use crate::backend::BackendError;
use crate::cuda::decode::LINEAR;
use crate::cuda::kernels::{self, Argument, Grid};
use crate::cuda::many::{ManyStep, parts, splits, tile_grid};
use crate::cuda::matrix::Matrix;
use crate::cuda::{Cuda, address, blocks, int, nonlinearity_number, scale, single};
use crate::decoder::{Decoder, Layer, Residual};
use crate::mlp::{Linear, Mlp};
use crate::norm::Norm;

use Argument::{Float, Int, Pointer, Weight};

/// Up to three matrices of one format, with their biases, by the rows of an input.
pub(super) struct Product<'a> {
    pub(super) output: Argument,
    pub(super) linears: &'a [(&'a Matrix, Option<&'a CudaSlice<f32>>)],
    pub(super) input: &'a CudaSlice<u8>,
    /// How wide a row of the output is.
    pub(super) width: usize,
    /// Into how many parts the columns are cut.
    pub(super) parts: usize,
    /// With a nonlinearity, rows of the output are in `row_format`.
    pub(super) nonlinearity: i32,
    pub(super) row_format: i32,
}

/// A layer, the `nth`, of a step of `count` sequences.
#[derive(Clone, Copy)]
pub(super) struct LayerStep<'a> {
    pub(super) step: &'a ManyStep,
    pub(super) decoder: &'a Decoder<Cuda>,
    pub(super) layer: &'a Layer<Cuda>,
    pub(super) nth: usize,
    pub(super) count: usize,
}

impl LayerStep<'_> {
    /// Queues the layer after one that has left so many parts, and returns how many it leaves.
    pub(super) fn queue(self, parts: usize) -> Result<usize, BackendError> {
        let Layer {
            input_norm,
            attention,
            residual,
            mlp,
        } = self.layer;
        let attended = &self.step.attended;
        let query_format = attention.query.weight.format;
        let inner_format = mlp.up.weight.format;
        let normalize = |norm: &Norm<Cuda>, format, parts| {
            let step = self.step;
            step.queue_normalize(self.decoder, norm, format, self.count, parts)
        };
        normalize(input_norm, query_format, parts)?;
        self.queue_qkv()?;
        self.queue_attend()?;
        let attended_parts = match residual {
            Residual::Sequential(norm) => {
                let left = self.queue_project(&attention.output, attended, 0)?;
                normalize(norm, inner_format, left)?;
                0
            }
            Residual::ParallelSharedNorm => {
                // The rows are those that the projections have read, unless theirs are of another format.
                if query_format.row_format() != inner_format.row_format() {
                    normalize(input_norm, inner_format, 0)?;
                }
                self.queue_project(&attention.output, attended, 0)?
            }
            Residual::Parallel(norm) => {
                normalize(norm, inner_format, 0)?;
                self.queue_project(&attention.output, attended, 0)?
            }
        };
        self.queue_inner(mlp)?;
        let fed_parts = self.queue_project(&mlp.down, &self.step.inner, attended_parts)?;
        Ok(attended_parts + fed_parts)
    }

    /// Queues the projections: in one launch where all three matrices have one format, else in one for each.
    fn queue_qkv(self) -> Result<(), BackendError> {
        let attention = &self.layer.attention;
        let linears = [&attention.query, &attention.key, &attention.value];
        let linears = linears.map(|linear| (&linear.weight, linear.bias.as_ref()));
        let width = linears.iter().map(|(weight, _)| weight.rows).sum();
        let queue = |linears: &[_], start: usize| {
            let output = address(&self.step.projected, &self.step.stream) + 4 * start as u64;
            let product = Product {
                output: Pointer(output),
                linears,
                input: &self.step.normed,
                width,
                parts: 1,
                nonlinearity: LINEAR,
                row_format: 0,
            };
            self.step.queue_product(self.decoder, self.count, &product)
        };
        let format = linears[0].0.format;
        if linears.iter().all(|(weight, _)| weight.format == format) {
            return queue(&linears, 0);
        }
        let mut start = 0;
        for linear in linears {
            queue(&[linear], start)?;
            start += linear.0.rows;
        }
        Ok(())
    }

    fn queue_attend(self) -> Result<(), BackendError> {
        let attention = &self.layer.attention;
        let (shape, step) = (attention.shape, self.step);
        let query_norm = attention.query_norm.as_ref();
        let key_norm = attention.key_norm.as_ref();
        let [cos, sin] = step.angles();
        let splits = splits(self.decoder, self.count);
        let arguments = [
            step.at(&step.attended),
            step.at(&step.projected),
            step.sequences(self.nth),
            step.at_or_null(query_norm.map(|norm| &norm.weight)),
            step.at_or_null(key_norm.map(|norm| &norm.weight)),
            cos,
            sin,
            step.at(&step.splits_left),
            step.at(&step.splits_finished),
            int(shape.num_heads),
            int(shape.num_key_value_heads),
            int(shape.head_dim),
            int(self.decoder.rotary.num_pairs()),
            int(splits),
            Int(attention.output.weight.format.row_format()),
            Float(scale(shape)),
            Float(query_norm.map_or(0.0, |norm| single(norm.epsilon))),
        ];
        let heads = blocks(shape.num_key_value_heads);
        let grid = Grid::new((heads, blocks(splits * self.count)), 128);
        let (kernel, variant) = (&kernels::MANY_ATTEND, self.decoder.kv_dtype.as_str());
        // SAFETY: there is a row of queries, keys and values for each sequence, whose cache has room for one more position,
        // and no two share a cache; there is room for what each split of each head leaves.
        unsafe { step.launch(self.decoder, kernel, variant, grid, &arguments) }
    }

    /// Queues a matrix that leaves its products beside the residual stream, after `start` parts; returns in how many.
    fn queue_project(
        self,
        linear: &Linear<Cuda>,
        input: &CudaSlice<u8>,
        start: usize,
    ) -> Result<usize, BackendError> {
        let step = self.step;
        let (weight, parts) = (&linear.weight, parts(self.decoder, &linear.weight));
        let bytes = start * super::many::MOST * weight.rows * size_of::<f32>();
        let product = Product {
            output: Pointer(address(&step.partial, &step.stream) + bytes as u64),
            linears: &[(weight, linear.bias.as_ref())],
            input,
            width: weight.rows,
            parts,
            nonlinearity: LINEAR,
            row_format: 0,
        };
        step.queue_product(self.decoder, self.count, &product)?;
        Ok(parts)
    }

    /// Queues the inner half of the MLP.
    fn queue_inner(self, mlp: &Mlp<Cuda>) -> Result<(), BackendError> {
        let step = self.step;
        let up = &mlp.up.weight;
        let nonlinearity = nonlinearity_number(mlp.nonlinearity);
        let row_format = mlp.down.weight.format.row_format();
        let Some(gate) = &mlp.gate else {
            let product = Product {
                output: step.at(&step.inner),
                linears: &[(up, mlp.up.bias.as_ref())],
                input: &step.normed,
                width: up.rows,
                parts: 1,
                nonlinearity,
                row_format,
            };
            return step.queue_product(self.decoder, self.count, &product);
        };
        let arguments = [
            step.at(&step.inner),
            step.at(&step.normed),
            Weight(gate.weight.address(&step.stream)),
            Weight(up.address(&step.stream)),
            step.at_or_null(gate.bias.as_ref()),
            step.at_or_null(mlp.up.bias.as_ref()),
            int(up.columns),
            int(up.rows),
            Int(nonlinearity),
            Int(row_format),
            int(self.count),
        ];
        let grid = tile_grid(self.decoder, up.rows.div_ceil(super::many::TILE_ROWS), 1);
        let (kernel, variant) = (&kernels::MANY_INNER, up.format.variant());
        // SAFETY: both matrices have one shape and one format, which is that of the input's rows as well; the output has a
        // row as long as they have rows for each sequence, and so have the biases.
        unsafe { step.launch(self.decoder, kernel, variant, grid, &arguments) }
    }
}
