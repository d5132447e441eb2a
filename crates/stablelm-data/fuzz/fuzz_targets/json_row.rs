//! A line of JSON: the fast parser and the one that decides say the same, for every kind of source.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| stablelm_data::fuzzing::json_row(line));
