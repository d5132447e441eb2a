//! From a source of tensors to a network on a device.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stablelm_model::{
    Activation, Architecture, Dtype, ModelConfig, Parameter, ParameterPart, ParameterRole,
    TensorSource, parameters,
};

use crate::attention::Attention;
use crate::backend::{Backend, HeadShape, Nonlinearity};
use crate::check::{LoadError, TensorMismatch};
use crate::decoder::{Decoder, Layer, Residual};
use crate::kv_cache::KvDtype;
use crate::mlp::{Linear, Mlp};
use crate::norm::Norm;
use crate::rotary::Rotary;
use crate::stored::{StoredDtype, StoredMatrix, StoredValues, WeightDtype, floats};

/// A network and what its weights take.
pub(crate) struct Loaded<B: Backend> {
    pub(crate) decoder: Decoder<B>,
    pub(crate) dtype: StoredDtype,
    pub(crate) weight_bytes: u64,
    /// The share of the embedding in `weight_bytes`.
    pub(crate) embedding_bytes: u64,
}

/// Loads a network whose tensors [`check`](crate::check::check) has passed.
pub(crate) fn load<B: Backend>(
    backend: B,
    config: &ModelConfig,
    source: &dyn TensorSource,
    dtype: WeightDtype,
) -> Result<Loaded<B>, LoadError> {
    let matrices = parameters(config).filter(|parameter| parameter.shape.len() == 2);
    let dtypes = matrices.filter_map(|parameter| Some(source.info(&parameter.name)?.dtype));
    let dtype = StoredDtype::resolve(dtype, dtypes);
    let mut loader = Loader {
        backend: &backend,
        config,
        source,
        dtype,
        parameters: parameters(config)
            .map(|parameter| (Place::of(&parameter), parameter))
            .collect(),
        nonlinearity: nonlinearity(config.hidden_act)?,
        weight_bytes: 0,
        progress: Progress::new(config.num_parameters()),
    };
    let embed_tokens = loader.matrix(None, ParameterRole::EmbedTokens)?;
    let embedding_bytes = loader.weight_bytes;
    let layers = (0..config.num_hidden_layers)
        .map(|layer| loader.layer(layer))
        .collect::<Result<Vec<_>, _>>()?;
    let final_norm = loader.norm(None, ParameterRole::FinalNorm)?;
    let lm_head = if config.tie_word_embeddings {
        None
    } else {
        Some(loader.matrix(None, ParameterRole::LmHead)?)
    };
    loader.progress.finish();
    let weight_bytes = loader.weight_bytes;
    let decoder = Decoder {
        shape: shape(config),
        kv_dtype: KvDtype::beside(dtype),
        rotary: Rotary::new(config.rotary_ndims(), config.rope_theta),
        embed_tokens,
        layers,
        final_norm,
        lm_head,
        backend,
    };
    Ok(Loaded {
        decoder,
        dtype,
        weight_bytes,
        embedding_bytes,
    })
}

fn shape(config: &ModelConfig) -> HeadShape {
    HeadShape {
        num_heads: config.num_attention_heads,
        num_key_value_heads: config.num_key_value_heads,
        head_dim: config.head_dim(),
    }
}

fn nonlinearity(activation: Activation) -> Result<Nonlinearity, LoadError> {
    match activation {
        Activation::Silu => Ok(Nonlinearity::Silu),
        Activation::Gelu => Ok(Nonlinearity::Gelu),
        Activation::GeluTanh => Ok(Nonlinearity::GeluTanh),
        other => Err(LoadError::UnsupportedActivation {
            name: other.as_str(),
        }),
    }
}

/// What identifies a parameter without its name, which differs between families.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    layer: Option<usize>,
    role: ParameterRole,
    part: ParameterPart,
    head: Option<usize>,
}

impl Place {
    fn of(parameter: &Parameter) -> Self {
        Self {
            layer: parameter.layer,
            role: parameter.role,
            part: parameter.part,
            head: parameter.head,
        }
    }
}

struct Loader<'a, B: Backend> {
    backend: &'a B,
    config: &'a ModelConfig,
    source: &'a dyn TensorSource,
    dtype: StoredDtype,
    parameters: HashMap<Place, Parameter>,
    nonlinearity: Nonlinearity,
    weight_bytes: u64,
    progress: Progress,
}

impl<B: Backend> Loader<'_, B> {
    fn layer(&mut self, index: usize) -> Result<Layer<B>, LoadError> {
        let layer = Some(index);
        let input_norm = self.norm(layer, ParameterRole::InputNorm)?;
        let attention = self.attention(layer)?;
        let parallel = self.config.use_parallel_residual;
        let residual = match (parallel, self.config.architecture) {
            (true, Architecture::StableLm) => Residual::ParallelSharedNorm,
            (true, Architecture::GptNeoX) => {
                Residual::Parallel(self.norm(layer, ParameterRole::PostAttentionNorm)?)
            }
            (false, _) => Residual::Sequential(self.norm(layer, ParameterRole::PostAttentionNorm)?),
        };
        let gate = match self.config.architecture {
            Architecture::StableLm => Some(self.linear(layer, ParameterRole::Gate)?),
            Architecture::GptNeoX => None,
        };
        let mlp = Mlp {
            gate,
            up: self.linear(layer, ParameterRole::Up)?,
            down: self.linear(layer, ParameterRole::Down)?,
            nonlinearity: self.nonlinearity,
        };
        Ok(Layer {
            input_norm,
            attention,
            residual,
            mlp,
        })
    }

    fn attention(&mut self, layer: Option<usize>) -> Result<Attention<B>, LoadError> {
        let [query, key, value] = match self.config.architecture {
            Architecture::StableLm => [
                self.linear(layer, ParameterRole::Query)?,
                self.linear(layer, ParameterRole::Key)?,
                self.linear(layer, ParameterRole::Value)?,
            ],
            Architecture::GptNeoX => self.fused(layer)?,
        };
        Ok(Attention {
            shape: shape(self.config),
            query,
            key,
            value,
            output: self.linear(layer, ParameterRole::AttentionOutput)?,
            query_norm: self.head_norm(layer, ParameterRole::QueryNorm)?,
            key_norm: self.head_norm(layer, ParameterRole::KeyNorm)?,
        })
    }

    fn linear(
        &mut self,
        layer: Option<usize>,
        role: ParameterRole,
    ) -> Result<Linear<B>, LoadError> {
        let weight = self.matrix(layer, role)?;
        let bias = self.floats(layer, role, ParameterPart::Bias, None)?;
        let bias = bias.map(|bias| self.vector(bias)).transpose()?;
        Ok(Linear { weight, bias })
    }

    /// Splits GPT-NeoX's fused matrix, whose rows go head by head (query, key, value), into three.
    fn fused(&mut self, layer: Option<usize>) -> Result<[Linear<B>; 3], LoadError> {
        let role = ParameterRole::FusedQueryKeyValue;
        let (head_dim, columns) = (self.config.head_dim(), self.config.hidden_size);
        let parameter = self.parameter(layer, role);
        let (dtype, bytes) = self.read(&parameter)?;
        let width = bytes.len() / parameter.shape[0];
        let bias = self.floats(layer, role, ParameterPart::Bias, None)?;
        let mut linears = Vec::with_capacity(3);
        for part in 0..3 {
            let rows: Vec<u8> = take_third(&bytes, part, head_dim * width);
            let weight = self.store(&parameter, rows.into(), dtype, columns)?;
            let bias = bias.as_ref().map(|bias| take_third(bias, part, head_dim));
            let bias = bias.map(|bias| self.vector(bias)).transpose()?;
            linears.push(Linear { weight, bias });
        }
        let three: Result<[Linear<B>; 3], _> = linears.try_into();
        Ok(three.unwrap_or_else(|_| unreachable!("the loop above ran three times")))
    }

    fn norm(&mut self, layer: Option<usize>, role: ParameterRole) -> Result<Norm<B>, LoadError> {
        let weight = self.floats(layer, role, ParameterPart::Weight, None)?;
        let weight = weight.expect("every normalization that is asked for has a weight");
        let bias = self.floats(layer, role, ParameterPart::Bias, None)?;
        Ok(Norm {
            group: self.config.hidden_size,
            epsilon: self.config.layer_norm_eps,
            weight: self.vector(weight)?,
            bias: bias.map(|bias| self.vector(bias)).transpose()?,
        })
    }

    /// Joins the heads' factors to one row, or returns `None` where heads are not normalized.
    fn head_norm(
        &mut self,
        layer: Option<usize>,
        role: ParameterRole,
    ) -> Result<Option<Norm<B>>, LoadError> {
        let mut weight = Vec::new();
        for head in 0.. {
            let part = ParameterPart::Weight;
            match self.floats(layer, role, part, Some(head))? {
                Some(values) => weight.extend(values),
                None => break,
            }
        }
        if weight.is_empty() {
            return Ok(None);
        }
        Ok(Some(Norm {
            weight: self.vector(weight)?,
            bias: None,
            group: self.config.head_dim(),
            epsilon: self.config.layer_norm_eps,
        }))
    }

    fn matrix(
        &mut self,
        layer: Option<usize>,
        role: ParameterRole,
    ) -> Result<B::Matrix, LoadError> {
        let parameter = self.parameter(layer, role);
        let (dtype, bytes) = self.read(&parameter)?;
        self.store(&parameter, bytes, dtype, parameter.shape[1])
    }

    fn store(
        &mut self,
        parameter: &Parameter,
        bytes: Bytes,
        dtype: Dtype,
        columns: usize,
    ) -> Result<B::Matrix, LoadError> {
        let values =
            StoredValues::from_bytes(bytes, dtype, self.dtype).ok_or_else(|| changed(parameter))?;
        if !values.is_shared() {
            self.source.release(&parameter.name);
        }
        self.weight_bytes += (values.len() * self.dtype.width()) as u64;
        let rows = values.len() / columns;
        Ok(self.backend.load_matrix(StoredMatrix {
            rows,
            columns,
            values,
        })?)
    }

    fn vector(&mut self, values: Vec<f32>) -> Result<B::Vector, LoadError> {
        self.weight_bytes += size_of_val(values.as_slice()) as u64;
        Ok(self.backend.load_vector(values)?)
    }

    /// Returns a parameter that every model of this configuration has.
    fn parameter(&self, layer: Option<usize>, role: ParameterRole) -> Parameter {
        let place = Place {
            layer,
            role,
            part: ParameterPart::Weight,
            head: None,
        };
        let parameter = self.parameters.get(&place);
        parameter
            .expect("each family's layers ask for the parameters of that family")
            .clone()
    }

    /// Returns a parameter as f32, or `None` where the configuration has none.
    fn floats(
        &mut self,
        layer: Option<usize>,
        role: ParameterRole,
        part: ParameterPart,
        head: Option<usize>,
    ) -> Result<Option<Vec<f32>>, LoadError> {
        let place = Place {
            layer,
            role,
            part,
            head,
        };
        let Some(parameter) = self.parameters.get(&place).cloned() else {
            return Ok(None);
        };
        let (dtype, bytes) = self.read(&parameter)?;
        let values = floats(&bytes, dtype);
        values.map(Some).ok_or_else(|| changed(&parameter))
    }

    fn read(&mut self, parameter: &Parameter) -> Result<(Dtype, Bytes), LoadError> {
        let name = &parameter.name;
        self.progress.advance(parameter.num_elements() as u64);
        let info = self.source.info(name).ok_or_else(|| changed(parameter))?;
        let bytes = self.source.shared(name)?;
        match info.byte_len() {
            Some(expected) if expected == bytes.len() => Ok((info.dtype, bytes)),
            expected => Err(LoadError::WrongLength {
                name: name.clone(),
                expected: expected.unwrap_or(usize::MAX),
                found: bytes.len(),
            }),
        }
    }
}

/// The error of a source that no longer says what it said when it was checked.
fn changed(parameter: &Parameter) -> LoadError {
    LoadError::Mismatch {
        mismatches: vec![TensorMismatch::Missing {
            name: parameter.name.clone(),
            expected: parameter.shape.clone(),
        }],
    }
}

/// Takes every third run of `run` items, from the run number `part` on.
fn take_third<T: Copy>(items: &[T], part: usize, run: usize) -> Vec<T> {
    let runs = items.chunks_exact(run).skip(part).step_by(3);
    runs.flatten().copied().collect()
}

/// Tells how far loading is, at most ten times a second.
struct Progress {
    done: u64,
    total: u64,
    last: Instant,
}

impl Progress {
    fn new(total: u64) -> Self {
        Self {
            done: 0,
            total,
            last: Instant::now(),
        }
    }

    fn advance(&mut self, by: u64) {
        self.done += by;
        if self.last.elapsed() >= Duration::from_millis(100) {
            self.last = Instant::now();
            self.tell();
        }
    }

    fn finish(&mut self) {
        self.done = self.total;
        self.tell();
    }

    fn tell(&self) {
        let (done, total) = (self.done, self.total);
        tracing::info!(target: "progress", stage = "load", done, total, unit = "weights");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_rows_are_taken_head_by_head() {
        // Two heads of two rows: q q k k v v, q q k k v v.
        let fused = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        assert_eq!(take_third(&fused, 0, 2), [0, 1, 6, 7]);
        assert_eq!(take_third(&fused, 1, 2), [2, 3, 8, 9]);
        assert_eq!(take_third(&fused, 2, 2), [4, 5, 10, 11]);
    }
}
