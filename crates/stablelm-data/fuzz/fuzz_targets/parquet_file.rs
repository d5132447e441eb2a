//! A parquet file: rows or an error, and the same rows when reading goes on in between.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = std::env::temp_dir().join(format!("stablelm-fuzz-{}", std::process::id()));
    stablelm_data::fuzzing::table(bytes, b"PAR1", &folder);
});
