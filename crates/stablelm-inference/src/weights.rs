//! From a source of tensors to a network on a device.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use stablelm_model::{
    Activation, Architecture, Blocks, Dtype, ModelConfig, Parameter, ParameterPart, ParameterRole,
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
use crate::stored::{Encoding, StoredDtype, StoredMatrix, StoredValues, WeightDtype, floats};

/// How the numbers of a network are kept.
pub(crate) struct Kept {
    /// What most weights of matrices are kept in.
    pub(crate) dtype: &'static str,
    pub(crate) kv_dtype: KvDtype,
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
    kv_dtype: Option<KvDtype>,
) -> Result<(Decoder<B>, Kept), LoadError> {
    let mut dtypes = Vec::new();
    if dtype == WeightDtype::Auto {
        for matrix in parameters(config).filter(|parameter| parameter.shape.len() == 2) {
            if source.blocks(&matrix.name)?.is_none() {
                dtypes.extend(source.info(&matrix.name).map(|info| info.dtype));
            }
        }
    }
    let mut loader = Loader {
        backend: &backend,
        config,
        source,
        wanted: dtype,
        plain: StoredDtype::resolve(dtype, dtypes),
        kept: BTreeMap::new(),
        parameters: parameters(config)
            .map(|parameter| (Place::of(&parameter), parameter))
            .collect(),
        nonlinearity: nonlinearity(config.hidden_act)?,
        weight_bytes: 0,
        progress: Progress::new(config.num_parameters()),
    };
    // The two largest matrices come first, while little else takes memory.
    let embed_tokens = loader.matrix(None, ParameterRole::EmbedTokens)?;
    let embedding_bytes = loader.weight_bytes;
    let lm_head = if config.tie_word_embeddings {
        None
    } else {
        Some(loader.matrix(None, ParameterRole::LmHead)?)
    };
    let layers = (0..config.num_hidden_layers)
        .map(|layer| loader.layer(layer))
        .collect::<Result<Vec<_>, _>>()?;
    let final_norm = loader.norm(None, ParameterRole::FinalNorm)?;
    backend.finish_loading()?;
    loader.progress.finish();
    let (dtype, weight_bytes) = (loader.dtype(), loader.weight_bytes);
    let kept = Kept {
        dtype,
        kv_dtype: kv_dtype.unwrap_or(KvDtype::beside(dtype)),
        weight_bytes,
        embedding_bytes,
    };
    let decoder = Decoder {
        shape: shape(config),
        kv_dtype: kept.kv_dtype,
        rotary: Rotary::new(config.rotary_ndims(), config.rope_theta),
        embed_tokens,
        layers,
        final_norm,
        lm_head,
        backend,
    };
    Ok((decoder, kept))
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
    wanted: WeightDtype,
    /// What matrices are kept in that are not quantized.
    plain: StoredDtype,
    /// How many weights of matrices are kept in what.
    kept: BTreeMap<&'static str, usize>,
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
        let found = self.find(&parameter)?;
        let bias = self.floats(layer, role, ParameterPart::Bias, None)?;
        let mut linears = Vec::with_capacity(3);
        for part in 0..3 {
            let third = |bytes: &Bytes, row_bytes| {
                Bytes::from(take_third::<u8>(bytes, part, head_dim * row_bytes))
            };
            let found = match &found {
                Found::Blocks(blocks) => Found::Blocks(Blocks {
                    rows: blocks.rows / 3,
                    bytes: third(&blocks.bytes, blocks.row_bytes()),
                    ..*blocks
                }),
                Found::Plain(dtype, bytes) => {
                    Found::Plain(*dtype, third(bytes, columns * dtype.width()))
                }
            };
            let weight = self.store(&parameter, found)?;
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
        let found = self.find(&parameter)?;
        self.store(&parameter, found)
    }

    /// Returns a matrix as it is to be loaded: in its blocks, where they are kept as they are, else as numbers.
    fn find(&mut self, parameter: &Parameter) -> Result<Found, LoadError> {
        let Some(blocks) = self.source.blocks(&parameter.name)? else {
            let (dtype, bytes) = self.read(parameter)?;
            return Ok(Found::Plain(dtype, bytes));
        };
        let keep = match self.wanted {
            WeightDtype::Auto => true,
            _ => self
                .encoding(parameter)
                .is_some_and(|encoding| encoding.format() == blocks.format),
        };
        if !keep {
            let (dtype, bytes) = self.read(parameter)?;
            return Ok(Found::Plain(dtype, bytes));
        }
        self.progress.advance(parameter.num_elements() as u64);
        let expected = parameter.shape[0].saturating_mul(blocks.row_bytes());
        let whole = [blocks.rows, blocks.columns] == parameter.shape[..]
            && blocks.columns.is_multiple_of(blocks.format.block_len());
        if whole && blocks.bytes.len() == expected {
            return Ok(Found::Blocks(blocks));
        }
        Err(LoadError::WrongLength {
            name: parameter.name.clone(),
            expected,
            found: blocks.bytes.len(),
        })
    }

    /// Returns what a matrix of plain numbers is quantized to, if it is.
    fn encoding(&self, parameter: &Parameter) -> Option<Encoding> {
        let logits = match parameter.role {
            ParameterRole::LmHead => true,
            ParameterRole::EmbedTokens => self.config.tie_word_embeddings,
            _ => false,
        };
        let fits = |encoding: Encoding| {
            let block_len = encoding.format().block_len();
            parameter.shape[1]
                .is_multiple_of(block_len)
                .then_some(encoding)
        };
        match self.wanted {
            WeightDtype::Q4K if !logits => fits(Encoding::Q4K).or_else(|| fits(Encoding::Q8_0)),
            WeightDtype::Q4K | WeightDtype::Q8_0 => fits(Encoding::Q8_0),
            _ => None,
        }
    }

    fn store(&mut self, parameter: &Parameter, found: Found) -> Result<B::Matrix, LoadError> {
        let columns = parameter.shape[1];
        let (kept, rows, matrix) = match found {
            Found::Blocks(blocks) => {
                let matrix = self.backend.load_blocks(&blocks)?;
                let kept = blocks.format.as_str();
                let rows = blocks.rows;
                drop(blocks);
                self.source.release(&parameter.name);
                (kept, rows, matrix)
            }
            Found::Plain(dtype, bytes) => {
                let encoding = self.encoding(parameter);
                let stored = match encoding {
                    Some(_) => StoredDtype::unchanged(dtype),
                    None => self.plain,
                };
                let values = StoredValues::from_bytes(bytes, dtype, stored)
                    .ok_or_else(|| changed(parameter))?;
                let rows = values.len() / columns;
                let release = encoding.is_some() || !values.is_shared() || !B::USES_FILES_IN_PLACE;
                let matrix = StoredMatrix {
                    rows,
                    columns,
                    values,
                };
                let loaded = match encoding {
                    Some(encoding) => {
                        let loaded = self.backend.quantize(&matrix, encoding)?;
                        drop(matrix);
                        (encoding.format().as_str(), rows, loaded)
                    }
                    None => (stored.as_str(), rows, self.backend.load_matrix(matrix)?),
                };
                if release {
                    self.source.release(&parameter.name);
                }
                loaded
            }
        };
        *self.kept.entry(kept).or_default() += rows * columns;
        self.weight_bytes += self.backend.byte_len(&matrix) as u64;
        Ok(matrix)
    }

    /// Returns what most weights of matrices are kept in.
    fn dtype(&self) -> &'static str {
        let most = self.kept.iter().max_by_key(|(_, weights)| **weights);
        most.map_or(self.plain.as_str(), |(name, _)| name)
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

/// A matrix as the source gives it.
enum Found {
    Blocks(Blocks),
    Plain(Dtype, Bytes),
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
