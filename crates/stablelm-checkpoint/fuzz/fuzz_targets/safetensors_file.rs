//! Every tensor of a safetensors file that opens has the bytes it says.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stablelm_checkpoint::fuzzing::safetensors_file(bytes));
