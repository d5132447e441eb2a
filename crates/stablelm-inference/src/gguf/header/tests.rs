//! Headers that lie.

use super::*;

/// A header with one metadata value and one tensor, both as given.
fn header(version: u32, counts: [u64; 2], rest: &[&[u8]]) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(version.to_le_bytes());
    file.extend(counts.iter().flat_map(|count| count.to_le_bytes()));
    file.extend(rest.concat());
    file
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn tensor(name: &str, sizes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend(u32::try_from(sizes.len()).unwrap().to_le_bytes());
    bytes.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

/// A file whose only content is a tensor, with room for 96 bytes of it.
fn with_tensor(tensor: &[u8]) -> Vec<u8> {
    let mut file = header(3, [1, 0], &[tensor]);
    file.resize(file.len().next_multiple_of(32) + 96, 0);
    file
}

#[track_caller]
fn check(file: &[u8], expected: &str) {
    let error = Header::read(file).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn counts_and_lengths_beyond_the_file_are_refused_without_memory_for_them() {
    check(
        &header(3, [u64::MAX, 0], &[]),
        "the description of a tensor at byte 24 would take 8 bytes, but 0 are left",
    );
    check(
        &header(3, [0, u64::MAX], &[]),
        "a metadata key at byte 24 would take 8 bytes, but 0 are left",
    );
    let hundred_gb = 100_000_000_000u64.to_le_bytes();
    check(
        &header(3, [0, 1], &[&hundred_gb, b"general"]),
        "a metadata key at byte 32 would take 100000000000 bytes, but 7 are left",
    );
    let list = [9u32.to_le_bytes(), 12u32.to_le_bytes()].concat();
    check(
        &header(3, [0, 1], &[&text("k"), &list, &u64::MAX.to_le_bytes()]),
        "a list in the metadata at byte 49 would take 18446744073709551615 bytes, but 0 are left",
    );
    let list = [9u32.to_le_bytes(), 8u32.to_le_bytes()].concat();
    check(
        &header(3, [0, 1], &[&text("k"), &list, &u64::MAX.to_le_bytes()]),
        "a list in the metadata at byte 49 would take 8 bytes, but 0 are left",
    );
}

#[test]
fn what_is_no_header_of_a_known_version_is_refused() {
    check(
        b"PK\x03\x04",
        "it starts with [50, 4b, 03, 04], expected `GGUF`: it is not a GGUF file",
    );
    check(
        b"GG",
        "it starts with [47, 47], expected `GGUF`: it is not a GGUF file",
    );
    check(
        &header(4, [0, 0], &[]),
        "it is of version 4, expected 1, 2 or 3",
    );
    check(
        &header(3u32.swap_bytes(), [0, 0], &[]),
        "it is of version 50331648, expected 1, 2 or 3",
    );
    check(
        &header(3, [0, 1], &[&text("k"), &77u32.to_le_bytes()]),
        "metadata key `k` is of the unknown type 77",
    );
    let mut nested = Vec::new();
    for _ in 0..1000 {
        nested.extend(9u32.to_le_bytes());
        nested.extend(1u64.to_le_bytes());
    }
    check(
        &header(3, [0, 1], &[&text("k"), &9u32.to_le_bytes(), &nested]),
        "metadata key `k` holds lists in lists, 8 deep or more",
    );
    let zero = [&text("general.alignment")[..], &[4, 0, 0, 0], &[0; 4]].concat();
    check(
        &header(3, [0, 1], &[&zero]),
        "`general.alignment` is 0, expected a power of two",
    );
}

#[test]
fn tensors_that_can_not_be_where_they_are_said_to_be_are_refused() {
    let file = with_tensor(&tensor("t", &[8, 3], 0, 0));
    let read = Header::read(&file).unwrap();
    let entry = Entry {
        storage: Storage::Plain(Dtype::F32),
        shape: vec![3, 8],
        place: 96..192,
    };
    assert_eq!(read.tensors["t"], entry);
    check(
        &file[..file.len() - 1],
        "tensor `t` would take 96 bytes from byte 96 on, but the file has 191 bytes; it may be cut off",
    );
    for (offset, start) in [(32, 128), (u64::MAX, u64::MAX)] {
        check(
            &with_tensor(&tensor("t", &[8, 3], 0, offset)),
            &format!(
                "tensor `t` would take 96 bytes from byte {start} on, but the file has 192 bytes; it may be cut off"
            ),
        );
    }
    check(
        &with_tensor(&tensor("t", &[1 << 40, 1 << 40], 0, 0)),
        "tensor `t` has the impossible shape [1099511627776, 1099511627776]",
    );
    check(
        &with_tensor(&tensor("t", &[1, 1, 1, 1, 1], 0, 0)),
        "tensor `t` has the impossible shape [1, 1, 1, 1]",
    );
    check(
        &with_tensor(&tensor("t", &[33, 2], 8, 0)),
        "tensor `t` has rows of 33 weights, expected a multiple of 32",
    );
    check(
        &with_tensor(&tensor("t", &[256, 2], 23, 0)),
        "tensor `t` is of type IQ4_XS, which is not supported; quantize to q8_0, q4_0, q4_k, q5_k or q6_k instead",
    );
    let twice = tensor("t", &[1], 0, 0);
    let mut file = header(3, [2, 0], &[&twice, &twice]);
    file.resize(256, 0);
    check(&file, "the tensor `t` occurs twice");
}

#[test]
fn the_first_version_has_short_lengths() {
    let mut file = b"GGUF\x01\0\0\0".to_vec();
    file.extend([0u32.to_le_bytes(), 1u32.to_le_bytes()].concat());
    file.extend([&1u32.to_le_bytes()[..], b"k", &7u32.to_le_bytes(), &[1]].concat());
    let read = Header::read(&file).unwrap();
    assert_eq!(read.metadata["k"], Value::Bool(true));
}
