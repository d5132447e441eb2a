//! Models made of random numbers, for configurations that no file is at hand for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use stablelm_inference::{KvDtype, LoadOptions, Model, WeightDtype, load};
use stablelm_model::{
    Dtype, ModelConfig, ParameterPart, ParameterRole, TensorInfo, TensorSource, TensorSourceError,
    parameters,
};

/// Named f32 tensors in memory.
#[derive(Clone, Default)]
pub(crate) struct Weights {
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    /// Fills every parameter: normalization factors around 1, matrices large enough that each rule shows in the logits.
    pub(crate) fn random(config: &ModelConfig, seed: u64) -> Self {
        let mut noise = Noise(seed);
        let tensors = parameters(config).map(|parameter| {
            let is_norm = matches!(
                parameter.role,
                ParameterRole::InputNorm
                    | ParameterRole::PostAttentionNorm
                    | ParameterRole::FinalNorm
                    | ParameterRole::QueryNorm
                    | ParameterRole::KeyNorm
            );
            let (mean, spread) = match parameter.part {
                ParameterPart::Weight if is_norm => (1.0, 0.5),
                ParameterPart::Weight => (0.0, 0.6),
                ParameterPart::Bias => (0.0, 0.5),
            };
            let draw = |_| mean + spread * noise.next();
            let values = (0..parameter.num_elements()).map(draw).collect();
            (parameter.name, (parameter.shape, values))
        });
        Self {
            tensors: tensors.collect(),
        }
    }

    pub(crate) fn load(&self, config: &ModelConfig, dtype: WeightDtype) -> Model {
        self.load_with_cache(config, dtype, None)
    }

    pub(crate) fn load_with_cache(
        &self,
        config: &ModelConfig,
        dtype: WeightDtype,
        kv_dtype: Option<KvDtype>,
    ) -> Model {
        let options = LoadOptions {
            dtype,
            kv_dtype,
            ..LoadOptions::default()
        };
        load(config, self, &options).unwrap()
    }
}

impl TensorSource for Weights {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|(shape, _)| TensorInfo {
            dtype: Dtype::F32,
            shape: shape.clone(),
        })
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let (_, values) = &self.tensors[name];
        Ok(Cow::Owned(
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        ))
    }
}

/// Numbers between -1 and 1, always the same for a seed.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// One step of xorshift64* (Vigna, 2016).
    pub(crate) fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        bits as f32 / 8_388_608.0 - 1.0
    }
}

/// Reads a configuration from JSON fields on top of small sizes.
pub(crate) fn config(fields: &str) -> ModelConfig {
    let json = format!(
        r#"{{"hidden_size": 48, "intermediate_size": 40, "vocab_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": 128, {fields}}}"#
    );
    ModelConfig::from_config_json(json.as_bytes()).unwrap()
}

/// Fields of [`config`] for sizes that whole blocks of any format divide.
pub(crate) const BLOCK_SIZES: &str = r#""hidden_size": 256, "intermediate_size": 512"#;

/// What weights, and keys and values, can be kept in.
pub(crate) const FORMATS: [(WeightDtype, Option<KvDtype>); 6] = [
    (WeightDtype::F32, None),
    (WeightDtype::Bf16, None),
    (WeightDtype::F16, None),
    (WeightDtype::Q8_0, None),
    (WeightDtype::Q4K, None),
    (WeightDtype::Bf16, Some(KvDtype::F8)),
];

/// Returns ids below 96.
pub(crate) fn prompt(len: usize) -> Vec<u32> {
    (0..len)
        .map(|i| u32::try_from(i * 29 + i * i * 5 + 3).unwrap() % 96)
        .collect()
}
