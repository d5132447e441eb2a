//! Every tensor of a PyTorch file that opens has the bytes it says, or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stablelm_checkpoint::fuzzing::torch_file(bytes));
