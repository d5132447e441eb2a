//! A `meta` as a text: read or refused, and what JSON reads has the fields that JSON says.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| stablelm_data::fuzzing::python_literal(text));
