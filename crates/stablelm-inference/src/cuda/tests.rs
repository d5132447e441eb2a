//! What can be tested without a device: PTX against sources and launchers, the layout of blocks, the arithmetic of grids.
//! And every operation beside a plain reference, where there is a device; a test that is skipped says so.

mod device;
mod device_many;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use stablelm_model::{BlockFormat, Blocks};

use crate::cpu::packed::{PackedMatrix, Unpacked};
use crate::cpu::pool::Pool;
use crate::cuda::kernels::{ALL, PTX, ProjectionAddresses, WeightAddress, full_name};
use crate::cuda::retune::expanded;
use crate::stored::f32_from_f16;

const FORMATS: [BlockFormat; 5] = [
    BlockFormat::Q4_0,
    BlockFormat::Q8_0,
    BlockFormat::Q4K,
    BlockFormat::Q5K,
    BlockFormat::Q6K,
];

/// Returns numbers from -1 to 1 that look random.
fn noise(seed: usize, len: usize) -> Vec<f32> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn ptx_is_that_of_the_sources() {
    for (file, ptx) in PTX {
        let source = expanded(&format!("{file}.cu"));
        let mut digest = String::new();
        for byte in Sha256::digest(source.as_bytes()) {
            write!(digest, "{byte:02x}").unwrap();
        }
        let expected = format!("// sha256 {digest}");
        assert_eq!(
            ptx.lines().next(),
            Some(expected.as_str()),
            "`{file}.ptx` is older than its source: run `just ptx`"
        );
    }
}

#[test]
fn every_source_has_its_ptx_in_the_binary() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".cu").map(str::to_owned))
        .collect();
    found.sort();
    assert_eq!(found, PTX.map(|(file, _)| file.to_owned()));
}

/// The oldest driver that we promise to run on reads PTX 8.1, and the oldest device is of compute capability 8.0.
#[test]
fn ptx_is_for_the_oldest_driver_and_device() {
    for (file, ptx) in PTX {
        assert!(ptx.contains(".version 8.1\n"), "{file}");
        assert!(ptx.contains(".target sm_80\n"), "{file}");
    }
}

/// Returns the letters of each kernel's parameters.
fn entries(ptx: &str) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    for entry in ptx.split(".visible .entry ").skip(1) {
        let (name, rest) = entry.split_once('(').unwrap();
        let (parameters, _) = rest.split_once(')').unwrap();
        let letters = parameters.split(',').map(letter).collect();
        entries.insert(name.to_owned(), letters);
    }
    entries
}

fn letter(parameter: &str) -> char {
    let words: Vec<&str> = parameter.split_whitespace().collect();
    match words.as_slice() {
        [".param", ".u64", _] => 'p',
        [".param", ".u32", _] => 'i',
        [".param", ".f32", _] => 'f',
        [".param", ".align", "8", ".b8", name] => {
            let len: usize = name
                .split_once('[')
                .and_then(|(_, len)| len.strip_suffix(']'))
                .unwrap()
                .parse()
                .unwrap();
            match len {
                len if len == size_of::<WeightAddress>() => 'w',
                len if len == size_of::<ProjectionAddresses>() => 'j',
                other => panic!("a struct of {other} bytes that no launch passes"),
            }
        }
        other => panic!("unknown parameter {other:?}"),
    }
}

#[test]
fn every_launch_passes_what_the_ptx_takes() {
    let mut launched = BTreeMap::new();
    for kernel in ALL {
        for variant in kernel.variants {
            let signature = kernel.signature.to_owned();
            launched.insert(full_name(kernel.name, variant), signature);
        }
    }
    let mut found = BTreeMap::new();
    for (_, ptx) in PTX {
        found.extend(entries(ptx));
    }
    assert_eq!(launched, found);
    for kernel in ALL {
        let (_, ptx) = PTX.iter().find(|(file, _)| *file == kernel.file).unwrap();
        let first = full_name(kernel.name, kernel.variants[0]);
        assert!(entries(ptx).contains_key(&first), "{first}");
    }
}

/// Returns a weight as `one` of `weights.cuh` does.
fn one(matrix: &Unpacked, row: usize, column: usize) -> f32 {
    let columns = matrix.columns;
    let at = row * columns + column;
    let half = |index: usize| f32_from_f16(matrix.factors[index]);
    let nibble = |offset: i16| {
        let both = matrix.quants[row * columns / 2 + column / 32 * 16 + column % 16];
        let quant = if column % 32 < 16 {
            both & 15
        } else {
            both >> 4
        };
        f32::from(i16::from(quant) - offset)
    };
    let byte = |offset: i16| f32::from(i16::from(matrix.quants[at]) - offset);
    let minima = || {
        let block = row * (columns / 256) + column / 256;
        let run = row * (columns / 32) + column / 32;
        (
            half(2 * block) * f32::from(matrix.subs[2 * run]),
            half(2 * block + 1) * f32::from(matrix.subs[2 * run + 1]),
        )
    };
    match matrix.format {
        BlockFormat::Q8_0 => half(at / 32) * byte(128),
        BlockFormat::Q4_0 => half(at / 32) * nibble(8),
        BlockFormat::Q4K => {
            let (scale, minimum) = minima();
            scale * nibble(0) - minimum
        }
        BlockFormat::Q5K => {
            let (scale, minimum) = minima();
            scale * byte(0) - minimum
        }
        BlockFormat::Q6K => {
            let sub = matrix.subs[at / 16].cast_signed();
            half(at / 256) * f32::from(sub) * byte(32)
        }
    }
}

/// Returns blocks of any bytes, but for factors that are no numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "any byte will do"
)]
fn random_blocks(format: BlockFormat, rows: usize, columns: usize) -> Blocks {
    let len = rows * columns / format.block_len() * format.block_bytes();
    let numbers = noise(rows + columns, len);
    let mut bytes: Vec<u8> = numbers
        .iter()
        .map(|number| ((number + 1.0) * 127.9) as u8)
        .collect();
    let factors: &[usize] = match format {
        BlockFormat::Q4_0 | BlockFormat::Q8_0 => &[1],
        BlockFormat::Q4K | BlockFormat::Q5K => &[1, 3],
        BlockFormat::Q6K => &[209],
    };
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        for at in factors {
            // The upper byte of a half between 2^-7 and 2^-3, of either sign.
            block[*at] = block[*at] & 0x8f | 0x20;
        }
    }
    Blocks {
        format,
        rows,
        columns,
        bytes: Bytes::from(bytes),
    }
}

#[test]
fn blocks_on_the_device_hold_the_processor_s_weights_bit_for_bit() {
    let pool = Pool::new(std::num::NonZeroUsize::MIN).unwrap();
    for format in FORMATS {
        for (rows, columns) in [(1, 256), (16, 512), (37, 768)] {
            let blocks = random_blocks(format, rows, columns);
            let unpacked = Unpacked::from_blocks(&pool, &blocks);
            let packed = PackedMatrix::from_blocks(&pool, &blocks);
            for row in 0..rows {
                let mut expected = Vec::new();
                packed.widen_row(row, &mut expected);
                for (column, expected) in expected.iter().enumerate() {
                    let found = one(&unpacked, row, column);
                    assert_eq!(
                        found.to_bits(),
                        expected.to_bits(),
                        "{format} [{row}, {column}]: {found}, expected {expected}"
                    );
                }
            }
        }
    }
}

/// `decode_qkv` gives each pair of rows of a head to a warp of its own.
#[test]
fn every_row_of_a_head_is_in_one_pair_and_rotating_rows_meet() {
    for (head_dim, pairs) in [(64, 8), (80, 10), (128, 64), (160, 20), (8, 0), (8, 2)] {
        let mut seen = vec![0; head_dim];
        for pair in 0..head_dim / 2 {
            let rotates = pair < pairs;
            let low = if rotates {
                pair
            } else {
                2 * pairs + 2 * (pair - pairs)
            };
            let high = if rotates { pair + pairs } else { low + 1 };
            seen[low] += 1;
            seen[high] += 1;
        }
        assert!(
            seen.iter().all(|count| *count == 1),
            "{head_dim} {pairs}: {seen:?}"
        );
    }
}

/// `decode_attend` finds its positions from the length alone; the last block to finish is the one that counts them all.
#[test]
fn splits_cover_every_position_once_and_as_many_blocks_work_as_are_counted() {
    let (splits, tile) = (32, 128);
    for len in [1, 127, 128, 129, 4095, 4096, 4097, 20_000] {
        let chunk = usize::div_ceil(usize::div_ceil(len, splits), tile) * tile;
        let counted = len.div_ceil(chunk);
        let ranges = (0..splits).map(|split| (split * chunk, len.min((split + 1) * chunk)));
        let working: Vec<_> = ranges.filter(|(start, _)| *start < len).collect();
        assert_eq!(working.len(), counted, "{len}");
        assert_eq!(
            working
                .iter()
                .map(|(start, end)| end - start)
                .sum::<usize>(),
            len
        );
    }
}
