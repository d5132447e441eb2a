//! Every operation, and whole networks, on a device beside the processor or a sum in f64.

use std::borrow::Cow;
use std::ops::ControlFlow;

use stablelm_model::{
    Dtype, ModelConfig, Parameter, TensorInfo, TensorSource, TensorSourceError, parameters,
};

use super::{FORMATS, noise, random_blocks};
use crate::backend::{Backend, HeadShape, Nonlinearity};
use crate::cpu::{Cpu, Rows};
use crate::cuda::{Cuda, Matrix, driver};
use crate::decoder::{Rows as Wanted, Sequence};
use crate::device::Device;
use crate::generate::{FinishReason, GenerateOptions};
use crate::kv_cache::KvDtype;
use crate::model::{LoadOptions, Model, load};
use crate::rotary::Rotary;
use crate::sample::Sampling;
use crate::session::Session;
use crate::stored::{
    Encoding, StoredMatrix, StoredValues, WeightDtype, bf16_from_f32, f16_from_f32,
};

/// Opens the first device, or says why the test is skipped.
pub(super) fn device() -> Option<(Cuda, u32)> {
    match driver::devices() {
        Ok(devices) => {
            let ordinal = devices[0].ordinal;
            Some((Cuda::new(ordinal, None, None, true).unwrap(), ordinal))
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn cpu() -> Cpu {
    Cpu::new(None).unwrap()
}

/// Returns the same rows for both.
fn both(cuda: &Cuda, seed: usize, rows: usize, width: usize) -> (super::super::Rows, Rows) {
    let values = noise(seed, rows * width);
    let on_device = super::super::Rows {
        rows,
        width,
        values: cuda.send(&values).unwrap(),
    };
    (on_device, Rows { width, values })
}

/// Compares with `absolute + relative * |expected|`.
#[track_caller]
pub(super) fn check(what: &str, found: &[f32], expected: &[f32], absolute: f32, relative: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = absolute + relative * expected.abs();
        assert!(
            (found - expected).abs() <= allowed,
            "{what}[{at}]: {found}, expected {expected}"
        );
    }
}

fn plain(rows: usize, columns: usize, dtype: WeightDtype) -> StoredMatrix {
    let values = noise(rows * 3 + columns, rows * columns);
    let values = match dtype {
        WeightDtype::Bf16 => StoredValues::Bf16(
            values
                .into_iter()
                .map(bf16_from_f32)
                .collect::<Vec<_>>()
                .into(),
        ),
        WeightDtype::F16 => StoredValues::F16(
            values
                .into_iter()
                .map(f16_from_f32)
                .collect::<Vec<_>>()
                .into(),
        ),
        _ => StoredValues::F32(values.into()),
    };
    StoredMatrix {
        rows,
        columns,
        values,
    }
}

#[test]
fn values_one_by_one_are_the_processor_s() {
    let Some((cuda, _)) = device() else { return };
    let cpu = cpu();
    for (rows, width) in [(1, 64), (3, 160), (70, 2560)] {
        let (mut here, mut there) = both(&cuda, 1, rows, width);
        let right = both(&cuda, 2, rows, width);
        cuda.add(&mut here, &right.0).unwrap();
        cpu.add(&mut there, &right.1).unwrap();
        check(
            "add",
            &cuda.to_host(&here).unwrap(),
            &there.values,
            0.0,
            0.0,
        );
        for nonlinearity in [
            Nonlinearity::Silu,
            Nonlinearity::Gelu,
            Nonlinearity::GeluTanh,
        ] {
            for with_factor in [false, true] {
                let (mut here, mut there) = both(&cuda, 3, rows, width);
                cuda.activate(&mut here, nonlinearity, with_factor.then_some(&right.0))
                    .unwrap();
                cpu.activate(&mut there, nonlinearity, with_factor.then_some(&right.1))
                    .unwrap();
                let found = cuda.to_host(&here).unwrap();
                check("activate", &found, &there.values, 1e-6, 1e-5);
            }
        }
        let last = cuda.row(&here, here.rows - 1).unwrap();
        let expected = &there.values[(rows - 1) * width..];
        check("row", &cuda.to_host(&last).unwrap(), expected, 0.0, 0.0);
    }
}

#[test]
fn normalization_is_the_processor_s() {
    let Some((cuda, _)) = device() else { return };
    let cpu = cpu();
    for (rows, width, group) in [(1, 64, 64), (5, 160, 16), (70, 2560, 2560), (3, 5120, 160)] {
        let (here, there) = both(&cuda, 4, rows, width);
        let (weight, bias) = (noise(5, width), noise(6, width));
        let on_device = [cuda.send(&weight).unwrap(), cuda.send(&bias).unwrap()];
        for with_bias in [false, true] {
            let found = cuda.normalize(
                &here,
                &on_device[0],
                with_bias.then_some(&on_device[1]),
                group,
                1e-5,
            );
            let expected = cpu.normalize(&there, &weight, with_bias.then_some(&bias), group, 1e-5);
            let found = cuda.to_host(&found.unwrap()).unwrap();
            check("normalize", &found, &expected.unwrap().values, 1e-5, 1e-5);
        }
    }
}

#[test]
fn rotation_is_the_processor_s() {
    let Some((cuda, _)) = device() else { return };
    let cpu = cpu();
    for (rows, heads, head_dim, rotated) in [(1, 2, 8, 2), (3, 4, 80, 20), (50, 32, 64, 16)] {
        let (mut here, mut there) = both(&cuda, 7, rows, heads * head_dim);
        let angles = Rotary::new(rotated, 10_000.0).angles(100..100 + rows);
        cuda.rotate(&mut here, head_dim, &angles).unwrap();
        cpu.rotate(&mut there, head_dim, &angles).unwrap();
        check(
            "rotate",
            &cuda.to_host(&here).unwrap(),
            &there.values,
            1e-6,
            1e-6,
        );
    }
}

/// Returns the weights that a matrix stands for, which the rows of an embedding are.
fn check_products(cuda: &Cuda, what: &str, matrix: &Matrix, weights: &[f32], rounding: f32) {
    let (rows, columns) = (matrix.rows, matrix.columns);
    let ids: Vec<u32> = (0..rows).map(|row| u32::try_from(row).unwrap()).collect();
    let embedded = cuda.embed(matrix, &ids).unwrap();
    let embedded = cuda.to_host(&embedded).unwrap();
    check(&format!("{what} embed"), &embedded, weights, 0.0, 0.0);
    let bias = noise(8, rows);
    let on_device = cuda.send(&bias).unwrap();
    for positions in [1, 3, 5, 70] {
        let (here, there) = both(cuda, 9, positions, columns);
        let found = cuda.linear(&here, matrix, Some(&on_device)).unwrap();
        let mut expected = Vec::new();
        for input in there.values.chunks_exact(columns) {
            for (row, bias) in weights.chunks_exact(columns).zip(&bias) {
                let products = row.iter().zip(input);
                let sum: f64 = products
                    .map(|(weight, value)| f64::from(*weight) * f64::from(*value))
                    .sum();
                #[expect(clippy::cast_possible_truncation, reason = "the rounding of a result")]
                expected.push((sum + f64::from(*bias)) as f32);
            }
        }
        // Random signs: errors grow with the root of the number of products.
        let typical = (columns as f32).sqrt();
        let largest = weights
            .iter()
            .fold(0f32, |most, weight| most.max(weight.abs()));
        let allowed = typical * largest * if positions > 4 { rounding } else { 1e-6 };
        let found = cuda.to_host(&found).unwrap();
        check(
            &format!("{what} x {positions}"),
            &found,
            &expected,
            allowed,
            1e-5,
        );
    }
}

#[test]
fn products_are_sums_of_the_very_weights() {
    let Some((cuda, _)) = device() else { return };
    let cpu = cpu();
    for (rows, columns) in [(1, 64), (33, 160), (257, 2560), (64, 36)] {
        // With 16 bits, activations are rounded for products of many rows: to 8 or 11 bits. In f32, sums over thousands of
        // products one after the other are rounded each time.
        for (dtype, rounding) in [
            (WeightDtype::F32, 4e-6),
            (WeightDtype::Bf16, 1e-2),
            (WeightDtype::F16, 2e-3),
        ] {
            let matrix = plain(rows, columns, dtype);
            let mut weights = Vec::new();
            matrix.values.widen(0..rows * columns, &mut weights);
            let matrix = cuda.load_matrix(matrix).unwrap();
            check_products(&cuda, &dtype.to_string(), &matrix, &weights, rounding);
        }
    }
    for format in FORMATS {
        let blocks = random_blocks(format, 67, 768);
        let ids: Vec<u32> = (0..67).collect();
        let there = cpu.load_blocks(&blocks).unwrap();
        let weights = cpu.embed(&there, &ids).unwrap().values;
        let matrix = cuda.load_blocks(&blocks).unwrap();
        check_products(&cuda, format.as_str(), &matrix, &weights, 4e-6);
    }
    for encoding in [Encoding::Q8_0, Encoding::Q4K] {
        let matrix = plain(67, 768, WeightDtype::Bf16);
        let ids: Vec<u32> = (0..67).collect();
        let there = cpu.quantize(&matrix, encoding).unwrap();
        let weights = cpu.embed(&there, &ids).unwrap().values;
        let matrix = cuda.quantize(&matrix, encoding).unwrap();
        check_products(&cuda, "quantized", &matrix, &weights, 4e-6);
    }
}

#[test]
fn attention_is_the_processor_s_over_a_cache_that_grows_and_is_cut() {
    let Some((cuda, _)) = device() else { return };
    let cpu = cpu();
    for (num_heads, num_key_value_heads, head_dim) in [
        (2, 2, 8),
        (4, 2, 64),
        (4, 4, 80),
        (2, 1, 128),
        (8, 2, 160),
        (2, 2, 200),
    ] {
        let shape = HeadShape {
            num_heads,
            num_key_value_heads,
            head_dim,
        };
        // Beside a cache that is not f32, queries and shares are rounded to 11 bits for products of many rows.
        for dtype in KvDtype::ALL {
            let tolerance = if dtype == KvDtype::F32 { 1e-5 } else { 2e-3 };
            let mut here = cuda.new_layer_cache(shape, dtype, 1).unwrap();
            let mut there = cpu.new_layer_cache(shape, dtype, 1).unwrap();
            for (step, positions) in [5, 1, 300, 40, 1].into_iter().enumerate() {
                if step == 3 {
                    cuda.truncate(&mut here, 290);
                    cpu.truncate(&mut there, 290);
                }
                let width = num_key_value_heads * head_dim;
                let keys = both(&cuda, 10 + step, positions, width);
                let values = both(&cuda, 20 + step, positions, width);
                let queries = both(&cuda, 30 + step, positions, num_heads * head_dim);
                cuda.append(&mut here, &keys.0, &values.0).unwrap();
                cpu.append(&mut there, &keys.1, &values.1).unwrap();
                let found = cuda.attend(&queries.0, &here, shape).unwrap();
                let expected = cpu.attend(&queries.1, &there, shape).unwrap();
                let found = cuda.to_host(&found).unwrap();
                check(
                    &format!("attend {shape:?} {dtype}"),
                    &found,
                    &expected.values,
                    tolerance,
                    tolerance,
                );
            }
        }
    }
}

/// A model of random weights.
pub(super) struct Random(pub(super) Vec<Parameter>);

impl TensorSource for Random {
    fn names(&self) -> Vec<&str> {
        self.0
            .iter()
            .map(|parameter| parameter.name.as_str())
            .collect()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let parameter = self.0.iter().find(|parameter| parameter.name == name)?;
        Some(TensorInfo {
            dtype: Dtype::F32,
            shape: parameter.shape.clone(),
        })
    }

    fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, TensorSourceError> {
        let at = self.0.iter().position(|parameter| parameter.name == name);
        let at = at.expect("only names that are there are asked for");
        let values = noise(at + 1, self.0[at].num_elements());
        let bytes = values.iter().flat_map(|value| (0.2 * value).to_le_bytes());
        Ok(Cow::Owned(bytes.collect()))
    }
}

pub(super) fn random_model(
    config: &str,
    device: Device,
    dtype: WeightDtype,
    kv_dtype: Option<KvDtype>,
) -> Model {
    let config = ModelConfig::from_config_json(config.as_bytes()).unwrap();
    let source = Random(parameters(&config).collect());
    let options = LoadOptions {
        device,
        dtype,
        kv_dtype,
        threads: None,
        kernel_cache: None,
        overlapping_launches: true,
    };
    load(&config, &source, &options).unwrap()
}

/// Every shape of block: gated and not, with and without biases, sequential and parallel, with heads normalized or shared
/// or both, with the head tied.
pub(super) const CONFIGS: [&str; 5] = [
    r#"{"model_type": "stablelm", "hidden_size": 256, "intermediate_size": 512, "vocab_size": 300,
        "num_hidden_layers": 2, "num_attention_heads": 4}"#,
    r#"{"model_type": "stablelm", "hidden_size": 160, "intermediate_size": 432, "vocab_size": 301,
        "num_hidden_layers": 2, "num_attention_heads": 2, "use_qkv_bias": true, "tie_word_embeddings": true}"#,
    r#"{"model_type": "stablelm", "hidden_size": 320, "intermediate_size": 96, "vocab_size": 300,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "qk_layernorm": true,
        "use_parallel_residual": true}"#,
    r#"{"model_type": "gpt_neox", "hidden_size": 128, "intermediate_size": 512, "vocab_size": 300,
        "num_hidden_layers": 2, "num_attention_heads": 2, "use_parallel_residual": true}"#,
    r#"{"model_type": "gpt_neox", "hidden_size": 128, "intermediate_size": 512, "vocab_size": 300,
        "num_hidden_layers": 2, "num_attention_heads": 2, "use_parallel_residual": false}"#,
];

pub(super) fn ids(from: u32, len: u32) -> Vec<u32> {
    (from..from + len).map(|at| at * 7919 % 300).collect()
}

/// Feeds a prompt, single tokens until a graph runs and the cache grows, and others after a cut.
fn logits(model: &Model) -> Vec<Vec<f32>> {
    let mut sequence = model.start(16).unwrap();
    let mut rows = vec![sequence.feed(&ids(0, 40), Wanted::Last).unwrap()];
    let one_by_one = |sequence: &mut dyn Sequence, rows: &mut Vec<Vec<f32>>, from, len| {
        for id in ids(from, len) {
            rows.push(sequence.feed(&[id], Wanted::Last).unwrap());
        }
    };
    one_by_one(&mut *sequence, &mut rows, 40, 5);
    rows.push(sequence.feed(&ids(45, 205), Wanted::Last).unwrap());
    one_by_one(&mut *sequence, &mut rows, 250, 12);
    sequence.truncate(100);
    one_by_one(&mut *sequence, &mut rows, 7, 3);
    // Several side by side, one of which leaves off, and whose caches grow.
    let mut sequences = model.start_many();
    for (nth, len) in [3, 254, 70].into_iter().enumerate() {
        sequences.begin(16).unwrap();
        rows.push(sequences.feed(nth, &ids(9, len), Wanted::Last).unwrap());
    }
    for id in ids(60, 4) {
        let step = sequences.step(&[(0, id), (1, id + 1), (2, id)]).unwrap();
        rows.extend(step.chunks_exact(step.len() / 3).map(<[f32]>::to_vec));
    }
    for tokens in [&[(0, 5), (2, 6)][..], &[(1, 7)]] {
        rows.push(sequences.step(tokens).unwrap());
    }
    rows
}

#[test]
fn whole_networks_give_the_processor_s_logits() {
    let Some((_, ordinal)) = device() else { return };
    for config in CONFIGS {
        // The processor rounds activations to 8 bits where weights are in blocks, and keeps them in f32 beside 16 bits.
        // With a cache of FP8, keys and values that differ in the last bit may be rounded an eighth apart.
        for (dtype, kv_dtype, tolerance) in [
            (WeightDtype::F32, None, 1e-3),
            (WeightDtype::Bf16, None, 0.3),
            (WeightDtype::F16, None, 0.1),
            (WeightDtype::Q8_0, None, 0.5),
            (WeightDtype::Q4K, None, 0.5),
            (WeightDtype::F32, Some(KvDtype::F8), 0.1),
        ] {
            let [here, there] = [Device::Cuda(ordinal), Device::Cpu]
                .map(|device| logits(&random_model(config, device, dtype, kv_dtype)));
            for (step, (here, there)) in here.iter().zip(&there).enumerate() {
                let what = format!("{config} {dtype} {kv_dtype:?} step {step}");
                check(&what, here, there, tolerance, 1e-3);
            }
        }
    }
}

#[test]
fn tokens_that_the_device_chooses_are_those_that_the_host_would() {
    let Some((_, ordinal)) = device() else { return };
    for (nth, config) in CONFIGS.into_iter().enumerate() {
        let dtypes = [WeightDtype::F32, WeightDtype::Bf16];
        // Of formats, one network says as much as all.
        for dtype in dtypes.into_iter().take(if nth == 0 { 2 } else { 1 }) {
            let model = random_model(config, Device::Cuda(ordinal), dtype, None);
            // The cache begins small, and grows on the way.
            let mut session = Session::new(&model, 16).unwrap();
            let prompt = ids(3, 20);
            let mut write = |logprobs, eos_token_ids, most| {
                let options = GenerateOptions {
                    max_new_tokens: most,
                    sampling: Sampling::greedy(),
                    eos_token_ids,
                    // The vocabulary of one configuration is longer than that.
                    vocab_size: 300,
                    logprobs,
                    prompt_logprobs: false,
                };
                let written =
                    session.generate(&prompt, &options, &mut |_| ControlFlow::Continue(()));
                written.unwrap()
            };
            let on_device = write(None, Vec::new(), 250).ids;
            // Log-probabilities need the logits, and the host chooses.
            let on_host = write(Some(0), Vec::new(), 250).ids;
            assert_eq!(on_device, on_host, "{config} {dtype}");
            // One that ends early leaves a step too many behind, which the next text overwrites.
            let end = on_host[10];
            let len = on_host.iter().position(|id| *id == end).unwrap() + 1;
            let short = write(None, vec![end], 250);
            assert_eq!(short.finish_reason, FinishReason::Stop, "{config} {dtype}");
            assert_eq!(short.ids, on_host[..len], "{config} {dtype}");
            assert_eq!(write(None, Vec::new(), 40).ids, on_host[..40]);
        }
    }
}
