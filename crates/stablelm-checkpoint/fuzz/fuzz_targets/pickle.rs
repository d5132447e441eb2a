//! A pickle ends as values or as an error, in memory that its length bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stablelm_checkpoint::fuzzing::pickle(bytes));
