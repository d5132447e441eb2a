//! Trains the tiny StableLM that the fixtures and the demo run, on the processor, from a seed.
//!
//! ```sh
//! cargo run --release -p stablelm-inference --example train_fixture_model -- TOKENS.bin OUTPUT [STEPS]
//! ```
//!
//! `TOKENS.bin` is the data file of an indexed dataset: ids of 16 bits, little endian, documents ending with id 0.
//! `OUTPUT` becomes a folder with `config.json` and `model.safetensors` in bf16. The forward pass is written here once
//! more, with operations that have gradients; at the end it is compared with the crate's own.

#![expect(
    clippy::print_stdout,
    reason = "a program for people who make fixtures"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::f64::consts::PI;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

use candle_core::backprop::GradStore;
use candle_core::{D, DType, Device, Tensor, Var};
use serde_json::json;
use stablelm_inference::{LoadOptions, load};
use stablelm_model::{
    Dtype, ModelConfig, Parameter, ParameterPart, ParameterRole, TensorInfo, TensorSource,
    TensorSourceError, parameters,
};

const CONFIG: &[u8] = br#"{
    "model_type": "stablelm", "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1024, "max_position_embeddings": 256,
    "partial_rotary_factor": 0.25, "rope_theta": 10000, "layer_norm_eps": 1e-5, "hidden_act": "silu",
    "use_qkv_bias": false, "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 0
}"#;
const SEED: u64 = 1234;
const STEPS: usize = 900;
const WARMUP: usize = 100;
const LEARNING_RATE: f64 = 4e-3;
const LAST_LEARNING_RATE: f64 = 1e-4;
const WEIGHT_DECAY: f64 = 0.1;
const BETAS: (f64, f64) = (0.9, 0.95);
const LARGEST_GRADIENT: f64 = 1.0;
/// Sequences and their length; the last fifth of the steps takes half as many of twice the length, the whole context.
const BATCH: (usize, usize) = (16, 128);

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = env::args_os().skip(1);
    let (Some(tokens), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: train_fixture_model TOKENS.bin OUTPUT [STEPS]".into());
    };
    let steps = match arguments.next() {
        Some(steps) => steps.to_string_lossy().parse()?,
        None => STEPS,
    };
    let (tokens, output) = (PathBuf::from(tokens), PathBuf::from(output));
    let config = ModelConfig::from_config_json(CONFIG)?;
    let tokens = read_tokens(&tokens, config.padded_vocab_size)?;
    let mut random = Random(SEED);
    let network = Network::new(&config, &mut random)?;
    println!(
        "{} parameters, {} tokens",
        config.num_parameters(),
        tokens.len()
    );
    train(&network, &tokens, steps, &mut random)?;
    network.round_to_bf16()?;
    let saved = Saved::new(&network)?;
    fs::create_dir_all(&output)?;
    saved.write(&output.join("model.safetensors"))?;
    fs::write(
        output.join("config.json"),
        config.to_config_json(Dtype::Bf16),
    )?;
    compare(&network, &saved, &tokens)
}

fn read_tokens(path: &Path, vocab_size: usize) -> Result<Vec<u32>, Failure> {
    let bytes = fs::read(path)?;
    let (pairs, rest) = bytes.as_chunks();
    let tokens: Vec<u32> = pairs
        .iter()
        .map(|pair| u16::from_le_bytes(*pair).into())
        .collect();
    if !rest.is_empty() || tokens.len() < 2 * BATCH.1 + 1 {
        return Err("the tokens are too few, or not of 16 bits".into());
    }
    match tokens.iter().find(|id| **id as usize >= vocab_size) {
        Some(id) => Err(format!("token {id} is not below {vocab_size}").into()),
        None => Ok(tokens),
    }
}

fn train(
    network: &Network,
    tokens: &[u32],
    steps: usize,
    random: &mut Random,
) -> Result<(), Failure> {
    let started = Instant::now();
    let mut optimizer = AdamW::new(network)?;
    let mut recent = Vec::new();
    for step in 0..steps {
        let (mut batch, mut len) = BATCH;
        if step * 5 >= steps * 4 {
            (batch, len) = (batch / 2, len * 2);
        }
        let starts: Vec<usize> = (0..batch)
            .map(|_| random.below(tokens.len() - len))
            .collect();
        let window = |shift: usize| {
            let ids: Vec<u32> = starts
                .iter()
                .flat_map(|start| &tokens[start + shift..][..len])
                .copied()
                .collect();
            Tensor::from_vec(ids, batch * len, &Device::Cpu)
        };
        let loss = cross_entropy(&network.forward(&window(0)?, batch, len)?, &window(1)?)?;
        optimizer.step(&loss.backward()?, learning_rate(step, steps))?;
        recent.push(f64::from(loss.to_scalar::<f32>()?));
        if (step + 1) % 50 == 0 || step + 1 == steps {
            let mean = recent.iter().sum::<f64>() / recent.len() as f64;
            println!(
                "step {} loss {mean:.4} after {:.0} s",
                step + 1,
                started.elapsed().as_secs_f64()
            );
            recent.clear();
        }
    }
    Ok(())
}

/// Rises in a line, then falls as half a cosine.
fn learning_rate(step: usize, steps: usize) -> f64 {
    if step < WARMUP {
        return LEARNING_RATE * (step + 1) as f64 / WARMUP as f64;
    }
    let done = (step - WARMUP) as f64 / (steps - WARMUP).max(1) as f64;
    LAST_LEARNING_RATE + 0.5 * (LEARNING_RATE - LAST_LEARNING_RATE) * (1.0 + (PI * done).cos())
}

/// Returns the mean of `log(sum(exp(logits))) - logits[target]`.
fn cross_entropy(logits: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
    let largest = logits.max_keepdim(D::Minus1)?.detach();
    let shifted = logits.broadcast_sub(&largest)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let right = shifted.gather(&targets.unsqueeze(1)?, 1)?;
    (log_sum - right)?.mean_all()
}

/// The model as variables with gradients.
struct Network {
    config: ModelConfig,
    parameters: Vec<(Parameter, Var)>,
    by_name: BTreeMap<String, Tensor>,
}

impl Network {
    fn new(config: &ModelConfig, random: &mut Random) -> candle_core::Result<Self> {
        let mut all = Vec::new();
        for parameter in parameters(config) {
            let shrink = match parameter.role {
                // Each layer adds to the residual twice; this keeps the sum's spread (GPT-2).
                ParameterRole::AttentionOutput | ParameterRole::Down => {
                    1.0 / (2.0 * config.num_hidden_layers as f64).sqrt()
                }
                _ => 1.0,
            };
            let draw = |_| match (parameter.shape.len(), parameter.part) {
                (1, ParameterPart::Weight) => 1.0,
                (1, ParameterPart::Bias) => 0.0,
                _ => 0.02 * shrink * random.normal(),
            };
            let values: Vec<f64> = (0..parameter.num_elements()).map(draw).collect();
            let tensor = Tensor::from_vec(values, parameter.shape.as_slice(), &Device::Cpu)?;
            let variable = Var::from_tensor(&tensor.to_dtype(DType::F32)?)?;
            all.push((parameter, variable));
        }
        let by_name = all
            .iter()
            .map(|(parameter, variable)| (parameter.name.clone(), variable.as_tensor().clone()));
        Ok(Self {
            config: config.clone(),
            by_name: by_name.collect(),
            parameters: all,
        })
    }

    /// Returns the logits `[batch * len, vocabulary]` of ids `[batch * len]`.
    fn forward(&self, ids: &Tensor, batch: usize, len: usize) -> candle_core::Result<Tensor> {
        let mut stream = self.by_name["model.embed_tokens.weight"].index_select(ids, 0)?;
        let positions = Positions::new(&self.config, len)?;
        for layer in 0..self.config.num_hidden_layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}");
            let normed = self.norm(&name("input_layernorm"), &stream)?;
            let attended = self.attention(&name("self_attn"), &normed, batch, &positions)?;
            stream = (stream + attended)?;
            let normed = self.norm(&name("post_attention_layernorm"), &stream)?;
            let gate = self.linear(&name("mlp.gate_proj"), &normed)?.silu()?;
            let inner = (gate * self.linear(&name("mlp.up_proj"), &normed)?)?;
            stream = (stream + self.linear(&name("mlp.down_proj"), &inner)?)?;
        }
        self.linear("lm_head", &self.norm("model.norm", &stream)?)
    }

    fn attention(
        &self,
        name: &str,
        x: &Tensor,
        batch: usize,
        positions: &Positions,
    ) -> candle_core::Result<Tensor> {
        let (heads, head_dim) = (self.config.num_attention_heads, self.config.head_dim());
        let len = positions.len;
        let split = |part: &str| {
            let projected = self.linear(&format!("{name}.{part}"), x)?;
            projected
                .reshape((batch, len, heads, head_dim))?
                .transpose(1, 2)?
                .contiguous()
        };
        let query = (positions.rotate(&split("q_proj")?)? * (1.0 / (head_dim as f64).sqrt()))?;
        let key = positions.rotate(&split("k_proj")?)?;
        let scores = query
            .matmul(&key.transpose(2, 3)?)?
            .broadcast_add(&positions.mask)?;
        let largest = scores.max_keepdim(D::Minus1)?.detach();
        let weights = scores.broadcast_sub(&largest)?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        let joined = weights
            .matmul(&split("v_proj")?)?
            .transpose(1, 2)?
            .contiguous()?;
        self.linear(
            &format!("{name}.o_proj"),
            &joined.reshape((batch * len, heads * head_dim))?,
        )
    }

    fn linear(&self, name: &str, x: &Tensor) -> candle_core::Result<Tensor> {
        x.matmul(&self.by_name[&format!("{name}.weight")].t()?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> candle_core::Result<Tensor> {
        let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
        let scaled = centered.broadcast_div(&(variance + self.config.layer_norm_eps)?.sqrt()?)?;
        let weight = &self.by_name[&format!("{name}.weight")];
        scaled
            .broadcast_mul(weight)?
            .broadcast_add(&self.by_name[&format!("{name}.bias")])
    }

    /// Makes the variables what the file will hold.
    fn round_to_bf16(&self) -> candle_core::Result<()> {
        for (_, variable) in &self.parameters {
            variable.set(&variable.to_dtype(DType::BF16)?.to_dtype(DType::F32)?)?;
        }
        Ok(())
    }
}

/// What depends on the length of sequences alone.
struct Positions {
    len: usize,
    pairs: usize,
    cos: Tensor,
    sin: Tensor,
    /// 0 where a position may look, far below where not.
    mask: Tensor,
}

impl Positions {
    fn new(config: &ModelConfig, len: usize) -> candle_core::Result<Self> {
        let pairs = config.rotary_ndims() / 2;
        let angle = |i: usize| {
            let frequency = config.rope_theta.powf(-((i % pairs) as f64) / pairs as f64);
            (i / pairs) as f64 * frequency
        };
        let table = |function: fn(f64) -> f64| {
            let values: Vec<f64> = (0..len * pairs).map(|i| function(angle(i))).collect();
            Tensor::from_vec(values, (len, pairs), &Device::Cpu)?.to_dtype(DType::F32)
        };
        let hidden = |i: usize| if i % len > i / len { -1e9f32 } else { 0.0 };
        let mask = (0..len * len).map(hidden).collect();
        Ok(Self {
            len,
            pairs,
            cos: table(f64::cos)?,
            sin: table(f64::sin)?,
            mask: Tensor::from_vec(mask, (len, len), &Device::Cpu)?,
        })
    }

    fn rotate(&self, heads: &Tensor) -> candle_core::Result<Tensor> {
        let pairs = self.pairs;
        let (a, b) = (heads.narrow(3, 0, pairs)?, heads.narrow(3, pairs, pairs)?);
        let rest = heads.narrow(3, 2 * pairs, heads.dim(3)? - 2 * pairs)?;
        let first = (a.broadcast_mul(&self.cos)? - b.broadcast_mul(&self.sin)?)?;
        let second = (b.broadcast_mul(&self.cos)? + a.broadcast_mul(&self.sin)?)?;
        Tensor::cat(&[first, second, rest], 3)
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter, 2019), on matrices only.
struct AdamW {
    step: i32,
    slots: Vec<Slot>,
}

struct Slot {
    variable: Var,
    first: Tensor,
    second: Tensor,
    decay: f64,
}

impl AdamW {
    fn new(network: &Network) -> candle_core::Result<Self> {
        let slot = |(parameter, variable): &(Parameter, Var)| {
            Ok(Slot {
                variable: variable.clone(),
                first: variable.zeros_like()?,
                second: variable.zeros_like()?,
                decay: if parameter.shape.len() == 2 {
                    WEIGHT_DECAY
                } else {
                    0.0
                },
            })
        };
        let slots = network
            .parameters
            .iter()
            .map(slot)
            .collect::<candle_core::Result<_>>()?;
        Ok(Self { step: 0, slots })
    }

    fn step(&mut self, gradients: &GradStore, learning_rate: f64) -> Result<(), Failure> {
        self.step += 1;
        let mut squares = 0.0;
        for slot in &self.slots {
            let gradient = gradients
                .get(&slot.variable)
                .ok_or("a parameter has no gradient")?;
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let shrink = (LARGEST_GRADIENT / squares.sqrt()).min(1.0);
        let first_scale = 1.0 / (1.0 - BETAS.0.powi(self.step));
        let second_scale = 1.0 / (1.0 - BETAS.1.powi(self.step));
        for slot in &mut self.slots {
            let gradient = gradients
                .get(&slot.variable)
                .ok_or("a parameter has no gradient")?;
            let gradient = (gradient * shrink)?;
            slot.first = ((&slot.first * BETAS.0)? + (&gradient * (1.0 - BETAS.0))?)?;
            slot.second = ((&slot.second * BETAS.1)? + (gradient.sqr()? * (1.0 - BETAS.1))?)?;
            let spread = ((&slot.second * second_scale)?.sqrt()? + 1e-8)?;
            let update = ((&slot.first * first_scale)? / spread)?;
            let kept = (slot.variable.as_tensor() * (1.0 - learning_rate * slot.decay))?;
            slot.variable.set(&(kept - (update * learning_rate)?)?)?;
        }
        Ok(())
    }
}

/// The trained weights as bf16 bytes.
struct Saved {
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl Saved {
    fn new(network: &Network) -> candle_core::Result<Self> {
        let mut tensors = BTreeMap::new();
        for (parameter, variable) in &network.parameters {
            let values = variable.flatten_all()?.to_vec1::<f32>()?;
            // The variables have been rounded, so the upper half is all there is.
            let bytes = values.iter().flat_map(|value| {
                let [_, _, low, high] = value.to_le_bytes();
                [low, high]
            });
            tensors.insert(
                parameter.name.clone(),
                (parameter.shape.clone(), bytes.collect()),
            );
        }
        Ok(Self { tensors })
    }

    /// Writes the safetensors format: header length, header as JSON padded to 8 bytes, data.
    fn write(&self, path: &Path) -> Result<(), Failure> {
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
        let mut data = Vec::new();
        for (name, (shape, bytes)) in &self.tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            header.insert(
                name.clone(),
                json!({ "dtype": "BF16", "shape": shape, "data_offsets": offsets }),
            );
            data.extend(bytes);
        }
        let mut header = serde_json::to_vec(&header)?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let len = (header.len() as u64).to_le_bytes();
        fs::write(path, [&len[..], &header, &data].concat())?;
        Ok(())
    }
}

impl TensorSource for Saved {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let (shape, _) = self.tensors.get(name)?;
        Some(TensorInfo {
            dtype: Dtype::Bf16,
            shape: shape.clone(),
        })
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        match self.tensors.get(name) {
            Some((_, bytes)) => Ok(Cow::Borrowed(bytes)),
            None => Err(TensorSourceError::Missing {
                name: name.to_owned(),
            }),
        }
    }
}

/// Reads a stretch of the text with the crate and with the forward pass above.
fn compare(network: &Network, saved: &Saved, tokens: &[u32]) -> Result<(), Failure> {
    let ids = &tokens[..200];
    let options = LoadOptions::default();
    let found = load(&network.config, saved, &options)?
        .logits(ids)?
        .concat();
    let expected = network.forward(&Tensor::new(ids, &Device::Cpu)?, 1, ids.len())?;
    let expected = expected.flatten_all()?.to_vec1::<f32>()?;
    let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0f32, f32::max);
    println!("logits of training and inference differ by at most {worst:.2e}");
    if worst < 1e-3 && found.len() == expected.len() {
        Ok(())
    } else {
        Err("training and inference disagree".into())
    }
}

/// Numbers from a seed: `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// Returns a number in `(0, 1]`.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than `bound`")]
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Returns a standard normal number (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (2.0 * PI * self.unit()).cos()
    }
}
