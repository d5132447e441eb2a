//! One layer of a step of one token: five launches, or six where heads are normalized as a whole.

use cudarc::driver::CudaSlice;

use crate::backend::BackendError;
use crate::cuda::cache::LayerCache;
use crate::cuda::decode::{SPLITS, Step};
use crate::cuda::kernels::{self, Argument, Grid, ProjectionAddresses};
use crate::cuda::matrix::{Format, Matrix};
use crate::cuda::{Cuda, address, blocks, int, nonlinearity_number, scale, single};
use crate::decoder::{Decoder, Layer, Residual};
use crate::mlp::Mlp;
use crate::norm::Norm;

use Argument::{Float, Int, Pointer, Projections, Weight};

/// One layer of a step.
#[derive(Clone, Copy)]
pub(super) struct LayerStep<'a> {
    pub(super) step: &'a Step,
    pub(super) decoder: &'a Decoder<Cuda>,
    pub(super) layer: &'a Layer<Cuda>,
    pub(super) cache: &'a LayerCache,
}

impl LayerStep<'_> {
    pub(super) fn queue(self) -> Result<(), BackendError> {
        let Layer {
            input_norm,
            attention,
            residual,
            mlp,
        } = self.layer;
        self.queue_qkv()?;
        if let (Some(query_norm), Some(key_norm)) = (&attention.query_norm, &attention.key_norm) {
            self.queue_head_norm(query_norm, key_norm)?;
        }
        self.queue_attend()?;
        let attended = &self.step.attended;
        let project_attended = || {
            self.queue_project(
                &attention.output.weight,
                attention.output.bias.as_ref(),
                attended,
            )
        };
        match residual {
            Residual::Sequential(norm) => {
                project_attended()?;
                self.queue_inner(mlp, norm)?;
            }
            // The MLP reads the residual stream as it was before attention wrote to it.
            Residual::ParallelSharedNorm => {
                self.queue_inner(mlp, input_norm)?;
                project_attended()?;
            }
            Residual::Parallel(norm) => {
                self.queue_inner(mlp, norm)?;
                project_attended()?;
            }
        }
        self.queue_project(&mlp.down.weight, mlp.down.bias.as_ref(), &self.step.inner)
    }

    fn addresses(self) -> ProjectionAddresses {
        let Layer {
            attention,
            input_norm,
            ..
        } = self.layer;
        let stream = &self.step.stream;
        let of = |slice: &CudaSlice<f32>| address(slice, stream);
        let or_null = |slice: Option<&CudaSlice<f32>>| slice.map_or(0, of);
        let (key_cache, value_cache) = self.cache.addresses();
        ProjectionAddresses {
            residual: of(&self.step.residual),
            norm_weight: of(&input_norm.weight),
            norm_bias: or_null(input_norm.bias.as_ref()),
            query_bias: or_null(attention.query.bias.as_ref()),
            key_bias: or_null(attention.key.bias.as_ref()),
            value_bias: or_null(attention.value.bias.as_ref()),
            cos: of(&self.step.cos),
            sin: of(&self.step.sin),
            state: address(&self.step.state, stream),
            queries: of(&self.step.queries),
            raw_keys: match attention.query_norm {
                Some(_) => of(&self.step.raw_keys),
                None => 0,
            },
            key_cache,
            value_cache,
        }
    }

    /// Queues the projections: in one launch where all three matrices have one format, else in one for each.
    fn queue_qkv(self) -> Result<(), BackendError> {
        let attention = &self.layer.attention;
        let shape = attention.shape;
        let weights = [
            &attention.query.weight,
            &attention.key.weight,
            &attention.value.weight,
        ];
        let formats = weights.map(|weight| weight.format);
        let ends = [
            shape.num_heads,
            shape.num_heads + shape.num_key_value_heads,
            shape.num_heads + 2 * shape.num_key_value_heads,
        ];
        if formats[0] == formats[1] && formats[1] == formats[2] {
            return self.queue_heads(weights, formats[0], 0, ends[2]);
        }
        self.queue_heads(weights, formats[0], 0, ends[0])?;
        self.queue_heads(weights, formats[1], ends[0], ends[1])?;
        self.queue_heads(weights, formats[2], ends[1], ends[2])
    }

    fn queue_heads(
        self,
        weights: [&Matrix; 3],
        format: Format,
        first: usize,
        last: usize,
    ) -> Result<(), BackendError> {
        let shape = self.layer.attention.shape;
        let hidden = weights[0].columns;
        let [query, key, value] = weights.map(|weight| Weight(weight.address(&self.step.stream)));
        let arguments = [
            query,
            key,
            value,
            Projections(self.addresses()),
            int(hidden),
            int(shape.num_heads),
            int(shape.num_key_value_heads),
            int(shape.head_dim),
            int(self.decoder.rotary.num_pairs()),
            int(self.cache.capacity),
            self.cache.format(),
            int(first),
            int(last),
            Float(single(self.layer.input_norm.epsilon)),
        ];
        let warps = (last - first) * shape.head_dim / 2;
        let grid = Step::grid(self.decoder, warps, hidden);
        let (kernel, variant) = (&kernels::DECODE_QKV, format.variant());
        // SAFETY: matrices, biases and outputs are of the shape given, and those of the heads from `first` to `last` are
        // in the variant's format; cache and angles have room for the position, as the caller has seen to; and shared
        // memory has room for a row.
        unsafe {
            self.step
                .launch(self.decoder, kernel, variant, grid, &arguments)
        }
    }

    fn queue_head_norm(
        self,
        query_norm: &Norm<Cuda>,
        key_norm: &Norm<Cuda>,
    ) -> Result<(), BackendError> {
        let shape = self.layer.attention.shape;
        let step = self.step;
        let arguments = [
            step.at(&step.queries),
            step.at(&step.raw_keys),
            Pointer(self.cache.addresses().0),
            step.at(&query_norm.weight),
            step.at(&key_norm.weight),
            step.at(&step.cos),
            step.at(&step.sin),
            step.at(&step.state),
            int(shape.num_heads),
            int(shape.head_dim),
            int(self.decoder.rotary.num_pairs()),
            int(self.cache.capacity),
            self.cache.format(),
            Float(single(query_norm.epsilon)),
        ];
        let heads = blocks(shape.num_heads + shape.num_key_value_heads);
        let grid = Grid::new((heads, 1), 64);
        // SAFETY: queries, keys, factors and cache are of the shape given.
        unsafe {
            step.launch(
                self.decoder,
                &kernels::DECODE_HEAD_NORM,
                "",
                grid,
                &arguments,
            )
        }
    }

    fn queue_attend(self) -> Result<(), BackendError> {
        let shape = self.layer.attention.shape;
        let step = self.step;
        let (key_cache, value_cache) = self.cache.addresses();
        let arguments = [
            step.at(&step.attended),
            step.at(&step.queries),
            Pointer(key_cache),
            Pointer(value_cache),
            step.at(&step.partial),
            step.at(&step.finished),
            step.at(&step.state),
            int(shape.num_heads),
            int(shape.num_key_value_heads),
            int(shape.head_dim),
            int(self.cache.capacity),
            Float(scale(shape)),
        ];
        let grid = Grid::new((blocks(shape.num_heads), blocks(SPLITS)), 128);
        let variant = self.cache.variant();
        // SAFETY: queries and output are of all heads, the cache holds the position, and there is room for the parts of
        // as many splits as the grid has.
        unsafe {
            step.launch(
                self.decoder,
                &kernels::DECODE_ATTEND,
                variant,
                grid,
                &arguments,
            )
        }
    }

    /// Queues a matrix whose products are added to the residual stream.
    fn queue_project(
        self,
        weight: &Matrix,
        bias: Option<&CudaSlice<f32>>,
        input: &CudaSlice<f32>,
    ) -> Result<(), BackendError> {
        let step = self.step;
        let arguments = [
            step.at(&step.residual),
            Weight(weight.address(&step.stream)),
            step.at(input),
            step.at_or_null(bias),
            int(weight.rows),
            int(weight.columns),
        ];
        let grid = Step::grid(self.decoder, weight.rows.div_ceil(2), 0);
        let (kernel, variant) = (&kernels::DECODE_PROJECT, weight.format.variant());
        // SAFETY: the residual is as long as the matrix has rows, and the input at least as long as it has columns.
        unsafe { step.launch(self.decoder, kernel, variant, grid, &arguments) }
    }

    /// Queues the inner half of the MLP.
    fn queue_inner(self, mlp: &Mlp<Cuda>, norm: &Norm<Cuda>) -> Result<(), BackendError> {
        let step = self.step;
        let up = &mlp.up;
        let nonlinearity = nonlinearity_number(mlp.nonlinearity);
        let output = step.at(&step.inner);
        let Some(gate) = &mlp.gate else {
            let bias = up.bias.as_ref();
            return step.queue_up(self.decoder, norm, &up.weight, bias, nonlinearity, output);
        };
        let [norm_weight, norm_bias] = step.norm(norm);
        let arguments = [
            output,
            step.at(&step.residual),
            norm_weight,
            norm_bias,
            Weight(gate.weight.address(&step.stream)),
            Weight(up.weight.address(&step.stream)),
            step.at_or_null(gate.bias.as_ref()),
            step.at_or_null(up.bias.as_ref()),
            int(up.weight.columns),
            int(up.weight.rows),
            Int(nonlinearity),
            Float(single(norm.epsilon)),
        ];
        let grid = Step::grid(self.decoder, up.weight.rows, up.weight.columns);
        let (kernel, variant) = (&kernels::DECODE_GATE_UP, up.weight.format.variant());
        // SAFETY: both matrices have one shape and one format, the residual and the norm's factors are as wide, output
        // and biases as long as they have rows; and shared memory has room for a row.
        unsafe { step.launch(self.decoder, kernel, variant, grid, &arguments) }
    }
}
