//! Writes a checkpoint of random bf16 weights in the shape of a `config.json`, to time engines on.
//!
//! ```sh
//! cargo run --release -p stablelm-inference --example make_random_model -- CONFIG.json OUTPUT [SEED]
//! ```
//!
//! `OUTPUT` becomes a folder with `config.json` as given and one `model.safetensors`. Matrices and biases of
//! projections are normal with a spread of 0.02, norms have weight 1 and bias 0. Numbers are made and written piece by
//! piece, so that memory stays small whatever the size; the same seed gives the same bytes.

#![expect(clippy::print_stdout, reason = "a program for people who time engines")]

use std::error::Error;
use std::f32::consts::TAU;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

use serde_json::json;
use stablelm_model::{ModelConfig, Parameter, ParameterPart, ParameterRole, parameters};

const SPREAD: f32 = 0.02;
/// Numbers made at a time.
const PIECE: usize = 1 << 16;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = env::args_os().skip(1);
    let (Some(config), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: make_random_model CONFIG.json OUTPUT [SEED]".into());
    };
    let seed = match arguments.next() {
        Some(seed) => seed.to_string_lossy().parse()?,
        None => 1234,
    };
    let output = PathBuf::from(output);
    let json = fs::read(&config)?;
    let config = ModelConfig::from_config_json(&json)?;
    fs::create_dir_all(&output)?;
    fs::write(output.join("config.json"), &json)?;
    fs::write(
        output.join("generation_config.json"),
        config.to_generation_config_json(),
    )?;
    let started = Instant::now();
    // The file gets its name when it is whole.
    let partial = output.join("model.safetensors.partial");
    let bytes = write_weights(&config, seed, &partial)?;
    fs::rename(&partial, output.join("model.safetensors"))?;
    println!(
        "{} parameters, {bytes} bytes in {:.0} s",
        config.num_parameters(),
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Writes the safetensors format: header length, header as JSON padded to 8 bytes, data. Returns the bytes written.
fn write_weights(config: &ModelConfig, seed: u64, path: &Path) -> Result<u64, Failure> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut end = 0;
    for parameter in parameters(config) {
        let start = end;
        end += 2 * parameter.num_elements() as u64;
        header.insert(
            parameter.name,
            json!({ "dtype": "BF16", "shape": parameter.shape, "data_offsets": [start, end] }),
        );
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (index, parameter) in parameters(config).enumerate() {
        let mut random = Random::new(seed, index as u64);
        let mut left = parameter.num_elements();
        let mut piece = Vec::with_capacity(2 * PIECE);
        while left > 0 {
            let count = left.min(PIECE);
            piece.clear();
            fill(&mut piece, count, &parameter, &mut random);
            file.write_all(&piece)?;
            left -= count;
        }
    }
    file.into_inner()?.sync_all()?;
    Ok(8 + header.len() as u64 + end)
}

/// Appends `count` values of a parameter as bf16.
fn fill(piece: &mut Vec<u8>, count: usize, parameter: &Parameter, random: &mut Random) {
    let constant = match (parameter.role, parameter.part) {
        (
            ParameterRole::InputNorm
            | ParameterRole::PostAttentionNorm
            | ParameterRole::FinalNorm
            | ParameterRole::QueryNorm
            | ParameterRole::KeyNorm,
            part,
        ) => Some(if part == ParameterPart::Weight {
            1.0
        } else {
            0.0
        }),
        _ => None,
    };
    if let Some(value) = constant {
        piece.extend(bf16(value).repeat(count));
        return;
    }
    for _ in 0..count.div_ceil(2) {
        let [first, second] = random.normals();
        piece.extend(bf16(SPREAD * first));
        piece.extend(bf16(SPREAD * second));
    }
    piece.truncate(2 * count);
}

/// Rounds to the nearest bf16, little endian.
fn bf16(value: f32) -> [u8; 2] {
    let bits = value.to_bits();
    let [_, _, low, high] = (bits + 0x7fff + (bits >> 16 & 1)).to_le_bytes();
    [low, high]
}

/// A stream of `SplitMix64` (Steele, Lea and Flood, 2014) for each parameter.
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed);
        let start = random.next();
        Self(start.wrapping_add(stream.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// Two independent numbers of the normal distribution (Box and Muller, 1958).
    fn normals(&mut self) -> [f32; 2] {
        let bits = self.next();
        // Both are in (0, 1], so that the logarithm is finite.
        let [first, second] =
            [bits >> 40, bits >> 16 & 0xff_ffff].map(|bits| (bits + 1) as f32 / 16_777_216.0);
        let radius = (-2.0 * first.ln()).sqrt();
        let (sine, cosine) = (TAU * second).sin_cos();
        [radius * cosine, radius * sine]
    }
}
