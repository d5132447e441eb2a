//! GGUF files: one of llama.cpp's with golden values, and ones written here.

use std::fs;
use std::path::PathBuf;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use serde_json::Value;
use stablelm_inference::{LoadOptions, Model, WeightDtype, gguf, load};
use stablelm_model::{Architecture, ModelConfig, TensorSource};

use crate::oracles::{check_close, floats, greedy, ids, read_json};
use crate::safetensors::Safetensors;
use crate::source::{Weights, config, prompt};

fn scratch(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("inference-gguf");
    fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{name}.gguf"))
}

fn load_model(model: &gguf::GgufModel) -> Model {
    load_as(model, WeightDtype::Auto)
}

fn load_as(model: &gguf::GgufModel, dtype: WeightDtype) -> Model {
    let options = LoadOptions {
        dtype,
        ..LoadOptions::default()
    };
    load(&model.config, model, &options).unwrap()
}

#[test]
fn a_quantized_file_of_llama_cpp_gives_the_golden_values() {
    let Some(oracles) = stablelm_testkit::shared_oracles() else {
        eprintln!("skipped: the golden values are not beside the repository");
        return;
    };
    let stem = oracles.join("inference/gguf/stable-code-3b-q8_0");
    let file = gguf::open(&stem.with_extension("gguf")).unwrap();
    assert_eq!(file.config.rope_theta.to_bits(), 1e6f64.to_bits());
    assert_eq!(file.config.layer_norm_eps.to_bits(), 1e-5f64.to_bits());
    assert_eq!(file.config.rotary_ndims(), 16);
    // The golden values are those of the dequantized weights and f32 activations.
    let model = load_as(&file, WeightDtype::F32);
    let packed = load_model(&file);
    assert_eq!(packed.dtype(), "q8_0");
    let golden = read_json(&stem.with_extension("golden.json"));
    let tensors = Safetensors::open(&stem.with_extension("golden.safetensors"));
    // The golden file gives lengths only. These are the draws of the generator that made the other variants' prompts
    // (numpy's `default_rng(seed).integers(1, vocab_size, length)`, one after the other).
    let prompts: Value =
        serde_json::from_str(include_str!("data/stable-code-3b.prompts.json")).unwrap();
    for (index, golden) in golden["prompts"].as_array().unwrap().iter().enumerate() {
        let prompt = ids(&prompts[index]);
        assert_eq!(Some(prompt.len() as u64), golden["length"].as_u64());
        let generation = greedy(&model, &prompt, Vec::new());
        assert_eq!(generation.ids, ids(&golden["greedy"]), "prompt {index}");
        let logprobs: Vec<f32> = generation
            .logprobs
            .iter()
            .map(|token| token.logprob)
            .collect();
        check_close(
            "greedy_logprob",
            &logprobs,
            &floats(&golden["greedy_logprob"]),
            1e-3,
        );
        let logits = model.logits(&prompt).unwrap().pop().unwrap();
        let expected = tensors.floats(&format!("p{index}.logits_last"));
        check_close("logits_last", &logits, &expected, 1e-3);
        // Activations of 8 bits stray, and a cache of halves does: llama.cpp's by 0.23.
        let logits = packed.logits(&prompt).unwrap().pop().unwrap();
        check_close("logits_last of 8 bits", &logits, &expected, 0.3);
        let differences = logits.iter().zip(&expected);
        let squares = differences.map(|(left, right)| (left - right).powi(2));
        let mean = squares.sum::<f32>() / expected.len() as f32;
        assert!(mean.sqrt() < 0.07, "prompt {index}: {}", mean.sqrt());
    }
}

#[test]
fn k_quants_of_llama_cpp_give_the_golden_values_of_their_weights() {
    let stem = stablelm_testkit::fixtures().join("inference/gguf/stablelm-q4_k_m");
    let file = gguf::open(&stem.with_extension("gguf")).unwrap();
    let golden = read_json(&stem.with_extension("golden.json"));
    let types: Vec<&Value> = golden["tensor_types"]
        .as_object()
        .unwrap()
        .values()
        .collect();
    assert!(types.contains(&&Value::from("Q4_K")) && types.contains(&&Value::from("Q6_K")));
    assert_eq!(file.config.num_key_value_heads, 2);
    assert_eq!(file.config.rope_theta.to_bits(), 500_000f64.to_bits());
    let options = LoadOptions {
        dtype: WeightDtype::F32,
        ..LoadOptions::default()
    };
    let model = load(&file.config, &file, &options).unwrap();
    let tensors = Safetensors::open(&stem.with_extension("golden.safetensors"));
    for (index, golden) in golden["prompts"].as_array().unwrap().iter().enumerate() {
        let prompt = ids(&golden["ids"]);
        let generation = greedy(&model, &prompt, Vec::new());
        assert_eq!(generation.ids, ids(&golden["greedy"]), "prompt {index}");
        let logits = model.logits(&prompt).unwrap().pop().unwrap();
        let expected = tensors.floats(&format!("p{index}.logits_last"));
        check_close("logits_last", &logits, &expected, 1e-3);
    }
}

/// Writes a GGUF file with f32 tensors under llama.cpp's names, as its converter lays them out.
fn to_gguf(config: &ModelConfig, weights: &Weights, with_base: bool) -> Vec<u8> {
    to_gguf_as(config, weights, with_base, GgmlDType::F32)
}

/// Writes matrices in a number format of ggml's.
fn to_gguf_as(
    config: &ModelConfig,
    weights: &Weights,
    with_base: bool,
    dtype: GgmlDType,
) -> Vec<u8> {
    let arch = match config.architecture {
        Architecture::StableLm => "stablelm",
        Architecture::GptNeoX => "gptneox",
    };
    let size = |key: &str, value: usize| (format!("{arch}.{key}"), number(value));
    let mut metadata = vec![
        ("general.architecture".to_owned(), text(arch)),
        size("context_length", config.max_position_embeddings),
        size("embedding_length", config.hidden_size),
        size("block_count", config.num_hidden_layers),
        size("feed_forward_length", config.intermediate_size),
        size("rope.dimension_count", config.rotary_ndims()),
        size("attention.head_count", config.num_attention_heads),
        size("attention.head_count_kv", config.num_key_value_heads),
        ("tokenizer.ggml.eos_token_id".to_owned(), number(7)),
        (
            format!("{arch}.use_parallel_residual"),
            vec![7, 0, 0, 0, u8::from(config.use_parallel_residual)],
        ),
        (format!("{arch}.attention.layer_norm_epsilon"), float(1e-5)),
    ];
    if with_base {
        metadata.push((format!("{arch}.rope.freq_base"), float(500_000.0)));
    }
    let tensors = llama_tensors(config, weights);
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        file.extend(string(&key));
        file.extend(value);
    }
    let mut data = Vec::new();
    for (name, shape, values) in tensors {
        file.extend(string(&name));
        file.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
        file.extend(
            shape
                .iter()
                .rev()
                .flat_map(|size| (*size as u64).to_le_bytes()),
        );
        let dtype = if shape.len() == 2 && !name.contains("norm") {
            dtype
        } else {
            GgmlDType::F32
        };
        file.extend(ggml_type(dtype).to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let quantized = QTensor::quantize(&tensor, dtype).unwrap();
        data.extend(quantized.data().unwrap().iter());
        data.resize(data.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    [file, data].concat()
}

/// The numbers of ggml's `enum ggml_type`.
fn ggml_type(dtype: GgmlDType) -> u32 {
    match dtype {
        GgmlDType::F32 => 0,
        GgmlDType::F16 => 1,
        GgmlDType::Q4_0 => 2,
        GgmlDType::Q5_0 => 6,
        GgmlDType::Q8_0 => 8,
        GgmlDType::Q4K => 12,
        GgmlDType::Q5K => 13,
        GgmlDType::Q6K => 14,
        GgmlDType::BF16 => 30,
        other => panic!("{other:?}"),
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [8u32.to_le_bytes().to_vec(), string(text)].concat()
}

fn number(value: usize) -> Vec<u8> {
    [
        4u32.to_le_bytes(),
        u32::try_from(value).unwrap().to_le_bytes(),
    ]
    .concat()
}

fn float(value: f32) -> Vec<u8> {
    [6u32.to_le_bytes(), value.to_le_bytes()].concat()
}

type LlamaTensor = (String, Vec<usize>, Vec<f32>);

fn llama_tensors(config: &ModelConfig, weights: &Weights) -> Vec<LlamaTensor> {
    let mut tensors = LlamaTensors::default();
    for (name, (shape, values)) in &weights.tensors {
        let renamed = rename(name);
        if let Some((stacked, _head)) = renamed.split_once(".norms.") {
            tensors.stack(&format!("{stacked}.weight"), shape, values, config);
        } else if renamed.contains("attn_qkv") {
            tensors
                .0
                .push((renamed, shape.clone(), thirds_together(config, values)));
        } else {
            tensors.0.push((renamed, shape.clone(), values.clone()));
        }
    }
    tensors.0
}

/// Tensors in the making; heads of one normalization follow each other, since there are fewer than ten of them.
#[derive(Default)]
struct LlamaTensors(Vec<LlamaTensor>);

impl LlamaTensors {
    fn stack(&mut self, name: &str, shape: &[usize], values: &[f32], config: &ModelConfig) {
        assert!(config.num_attention_heads < 10);
        match self.0.last_mut() {
            Some((last, stacked, all)) if last == name => {
                stacked[0] += 1;
                all.extend(values);
            }
            _ => self
                .0
                .push((name.to_owned(), vec![1, shape[0]], values.to_vec())),
        }
    }
}

fn thirds_together(config: &ModelConfig, values: &[f32]) -> Vec<f32> {
    let run = values.len() / (3 * config.num_attention_heads);
    let part = |part| {
        values
            .chunks_exact(run)
            .skip(part)
            .step_by(3)
            .flatten()
            .copied()
    };
    (0..3).flat_map(part).collect()
}

fn rename(name: &str) -> String {
    [
        ("gpt_neox.", "model."),
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.embed_in", "token_embd"),
        ("model.norm", "output_norm"),
        ("model.final_layer_norm", "output_norm"),
        ("lm_head", "output"),
        ("embed_out", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_layernorm", "attn_q_norm"),
        ("self_attn.k_layernorm", "attn_k_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("attention.query_key_value", "attn_qkv"),
        ("attention.dense", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("mlp.dense_h_to_4h", "ffn_up"),
        ("mlp.dense_4h_to_h", "ffn_down"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (ours, theirs)| {
        name.replace(ours, theirs)
    })
}

#[track_caller]
fn check_round_trip(fields: &str) {
    let mut expected = config(fields);
    let weights = Weights::random(&expected, 21);
    let path = scratch(&format!("round-trip-{}", fields.len()));
    fs::write(&path, to_gguf(&expected, &weights, true)).unwrap();
    let file = gguf::open(&path).unwrap();
    expected.rope_theta = 500_000.0;
    expected.eos_token_ids = vec![7];
    // The file says how many dimensions are rotated: 2 or 3 of 12.
    expected.partial_rotary_factor = expected.rotary_ndims() as f64 / 12.0;
    assert_eq!(file.config, expected);
    let mut names = weights.names();
    names.sort_unstable();
    assert_eq!(file.names(), names);
    for name in names {
        assert_eq!(file.info(name), weights.info(name), "{name}");
        assert_eq!(
            file.bytes(name).unwrap(),
            weights.bytes(name).unwrap(),
            "{name}"
        );
    }
    let ids = prompt(9);
    let direct = weights
        .load(&expected, WeightDtype::F32)
        .logits(&ids)
        .unwrap();
    assert_eq!(load_model(&file).logits(&ids).unwrap(), direct);
}

#[test]
fn every_layout_of_the_converter_is_undone() {
    check_round_trip(r#""model_type": "stablelm""#);
    check_round_trip(
        r#""model_type": "stablelm", "use_qkv_bias": true, "tie_word_embeddings": true"#,
    );
    check_round_trip(
        r#""model_type": "stablelm", "qk_layernorm": true, "use_parallel_residual": true, "num_key_value_heads": 2"#,
    );
    check_round_trip(r#""model_type": "gpt_neox""#);
    check_round_trip(r#""model_type": "gpt_neox", "use_parallel_residual": false"#);
}

/// Loads a file in its own number format and in f32, and compares the logits.
#[track_caller]
fn check_packed(fields: &str, dtype: GgmlDType, expected: &str, tolerance: f32) {
    let config = config(fields);
    let weights = Weights::random(&config, 21);
    let path = scratch(&format!("packed-{dtype:?}-{}", fields.len()));
    fs::write(&path, to_gguf_as(&config, &weights, true, dtype)).unwrap();
    let file = gguf::open(&path).unwrap();
    let packed = load_model(&file);
    assert_eq!(packed.dtype(), expected);
    let whole = load_as(&file, WeightDtype::F32);
    assert_eq!(whole.dtype(), "f32");
    let ids = prompt(17);
    let stray = stray(&packed, &whole, &ids);
    assert!(stray < tolerance, "{dtype:?} strays by {stray}");
}

/// Returns how far logits differ, as a share of their size.
fn stray(left: &Model, right: &Model, ids: &[u32]) -> f32 {
    let [left, right] = [left, right].map(|model| model.logits(ids).unwrap().concat());
    let differences = left.iter().zip(&right).map(|(left, right)| left - right);
    let size: f32 = right.iter().map(|logit| logit * logit).sum();
    let differences: f32 = differences.map(|difference| difference * difference).sum();
    (differences / size).sqrt()
}

/// How far activations of 8 bits may carry logits away. Weights this large make attention sharp, so that what is rounded
/// counts for more than in a trained model; an error of layout makes it about 1.
const EIGHT_BITS: f32 = 0.1;

const LARGE: &str = r#""hidden_size": 256, "intermediate_size": 512, "vocab_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 128"#;

#[test]
fn quantized_blocks_give_the_logits_of_their_weights() {
    for (dtype, name) in [
        (GgmlDType::Q8_0, "q8_0"),
        (GgmlDType::Q4_0, "q4_0"),
        (GgmlDType::Q4K, "q4_k"),
        (GgmlDType::Q5K, "q5_k"),
        (GgmlDType::Q6K, "q6_k"),
    ] {
        check_packed(
            &format!(r#""model_type": "stablelm", {LARGE}"#),
            dtype,
            name,
            EIGHT_BITS,
        );
        check_packed(
            &format!(r#""model_type": "gpt_neox", {LARGE}"#),
            dtype,
            name,
            EIGHT_BITS,
        );
    }
    let tied = format!(r#""model_type": "stablelm", "tie_word_embeddings": true, {LARGE}"#);
    check_packed(&tied, GgmlDType::Q6K, "q6_k", EIGHT_BITS);
}

#[test]
fn other_blocks_and_halves_are_read_as_numbers() {
    let fields = format!(r#""model_type": "stablelm", {LARGE}"#);
    check_packed(&fields, GgmlDType::Q5_0, "f32", 1e-6);
    // The cache is of halves, and activations may be rounded to bf16 beside bf16 weights.
    check_packed(&fields, GgmlDType::BF16, "bf16", 0.05);
    check_packed(&fields, GgmlDType::F16, "f16", 0.01);
}

#[test]
fn weights_are_quantized_as_a_model_is_loaded() {
    for family in ["stablelm", "gpt_neox"] {
        let config = config(&format!(r#""model_type": "{family}", {LARGE}"#));
        // One network says little about 4 bits: by its seed, either encoder strays up to a third less than the other.
        let seeds = 1..5u8;
        let (mut eight, mut four, mut theirs) = (0.0, 0.0, 0.0);
        for seed in seeds.clone() {
            let weights = Weights::random(&config, seed.into());
            let whole = weights.load(&config, WeightDtype::F32);
            let stray = |model: &Model| stray(model, &whole, &prompt(9)) / f32::from(seeds.end - 1);
            let load = |dtype: WeightDtype| {
                let model = weights.load(&config, dtype);
                assert_eq!(model.dtype(), dtype.as_str());
                stray(&model)
            };
            eight += load(WeightDtype::Q8_0);
            four += load(WeightDtype::Q4K);
            let path = scratch(&format!("encoded-{family}"));
            let file = to_gguf_as(&config, &weights, true, GgmlDType::Q4K);
            fs::write(&path, file).unwrap();
            let mut file = gguf::open(&path).unwrap();
            file.config = config.clone();
            theirs += stray(&load_model(&file));
        }
        assert!(eight < EIGHT_BITS, "{family} as q8_0 strays by {eight}");
        assert!(
            four < 1.1 * theirs,
            "{family} as q4_k strays by {four}, candle's by {theirs}"
        );
    }
    // Rows of 96 fit q8_0 only, rows of 48 neither.
    for (hidden_size, expected) in [(96, "q8_0"), (48, "bf16")] {
        let size = hidden_size.to_string();
        let fields = LARGE.replace("256", &size).replace("512", &size);
        let config = config(&format!(r#""model_type": "stablelm", {fields}"#));
        let model = Weights::random(&config, 4).load(&config, WeightDtype::Q4K);
        assert_eq!(model.dtype(), expected);
    }
}

#[test]
fn a_quantized_file_can_be_quantized_again() {
    let config = config(&format!(r#""model_type": "stablelm", {LARGE}"#));
    let weights = Weights::random(&config, 21);
    let path = scratch("again");
    fs::write(&path, to_gguf_as(&config, &weights, true, GgmlDType::Q6K)).unwrap();
    let file = gguf::open(&path).unwrap();
    let again = load_as(&file, WeightDtype::Q8_0);
    assert_eq!(again.dtype(), "q8_0");
    let stray = stray(&again, &load_model(&file), &prompt(9));
    assert!(stray < EIGHT_BITS, "{stray}");
}

#[test]
fn a_missing_rotary_base_is_taken_to_be_ten_thousand() {
    let config = config(r#""model_type": "stablelm""#);
    let path = scratch("no-base");
    fs::write(&path, to_gguf(&config, &Weights::random(&config, 3), false)).unwrap();
    let file = gguf::open(&path).unwrap();
    assert_eq!(file.config.rope_theta.to_bits(), 10_000f64.to_bits());
}

#[track_caller]
fn check_refused(name: &str, bytes: &[u8], expected: &str) {
    let path = scratch(name);
    fs::write(&path, bytes).unwrap();
    let error = gguf::open(&path).unwrap_err().to_string();
    let message = error.replace(&path.display().to_string(), "FILE");
    assert_eq!(message, expected);
}

#[test]
fn other_files_are_refused_with_a_reason() {
    check_refused("text", b"hello", "failed to read the header of `FILE`");
    let config = config(r#""model_type": "stablelm""#);
    let good = to_gguf(&config, &Weights::random(&config, 3), true);
    check_refused("short", &good[..300], "failed to read the header of `FILE`");
    let swap = |from: &str, to: &str| {
        let at = good
            .windows(from.len())
            .position(|window| window == from.as_bytes())
            .unwrap();
        [&good[..at], to.as_bytes(), &good[at + to.len()..]].concat()
    };
    check_refused(
        "llama",
        &swap("stablelm", "somellm1"),
        "`FILE` holds a model of architecture `somellm1`, expected `stablelm` or `gptneox`",
    );
    check_refused(
        "no-context",
        &swap("stablelm.context_length", "stablelm.context_lengtX"),
        "`FILE`: metadata key `stablelm.context_length` is missing, expected a whole number",
    );
    let mut layers = good.clone();
    let key = b"stablelm.block_count";
    let at = good.windows(key.len()).position(|window| window == key);
    // The value follows its type, the key's end.
    layers[at.unwrap() + key.len() + 4..][..4].copy_from_slice(&4_194_306u32.to_le_bytes());
    check_refused(
        "layers",
        &layers,
        "`FILE`: metadata key `stablelm.block_count` is `4194306`, expected no more layers than there are tensors",
    );
    check_refused(
        "unknown-tensor",
        &swap("blk.0.attn_q.weight", "blk.0.attn_x.weight"),
        "`FILE`: tensor `blk.0.attn_x.weight` has no place in the architecture",
    );
    let missing = gguf::open(&scratch("not-there")).unwrap_err();
    assert!(std::error::Error::source(&missing).is_some());
}

#[test]
fn broken_bytes_give_errors_and_nothing_worse() {
    let config = config(r#""model_type": "stablelm", "qk_layernorm": true"#);
    let good = to_gguf(&config, &Weights::random(&config, 3), true);
    let header = good
        .windows(4)
        .rposition(|window| window == b"bias")
        .unwrap();
    let path = scratch("mutated");
    for round in 0..600usize {
        let mut bytes = good.clone();
        let at = round * 7919 % header;
        let change = [0x01u8, 0x80, 0xff][round % 3];
        bytes[at] ^= change;
        if round % 5 == 0 {
            bytes.truncate(at);
        }
        fs::write(&path, &bytes).unwrap();
        let Ok(file) = gguf::open(&path) else {
            continue;
        };
        let options = LoadOptions::default();
        // Whatever is still accepted must also load or be refused, without a panic.
        let _ = load(&file.config, &file, &options);
    }
}
