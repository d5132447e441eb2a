//! An index of shards names plain files or is refused.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stablelm_checkpoint::fuzzing::index(bytes));
