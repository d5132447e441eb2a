use std::num::NonZeroUsize;

use super::*;
use crate::f8::{f8_from_f32, f32_from_f8};
use crate::stored::f32_from_f16;

const SHAPE: HeadShape = HeadShape {
    num_heads: 6,
    num_key_value_heads: 3,
    head_dim: 20,
};

fn rows(first: usize, count: usize, sign: f32) -> Rows {
    let width = SHAPE.num_key_value_heads * SHAPE.head_dim;
    Rows {
        width,
        values: (first * width..(first + count) * width)
            .map(|i| sign * (i % 1999) as f32)
            .collect(),
    }
}

/// Checks that each key and value is where the layout says, rounded, and zeros beyond the head.
fn check<T: Cached>(
    heads: &[HeadCache<T>],
    len: usize,
    widen: impl Fn(T) -> f32,
    round: impl Fn(f32) -> f32,
) {
    let (head_dim, vectors) = (SHAPE.head_dim, SHAPE.head_dim.div_ceil(LANES));
    for (index, head) in heads.iter().enumerate() {
        assert_eq!(head.values.len(), len * vectors);
        assert_eq!(head.keys.len(), len.div_ceil(LANES) * vectors * LANES);
        for position in 0..len {
            let start = position * SHAPE.num_key_value_heads * head_dim + index * head_dim;
            for dimension in 0..vectors * LANES {
                let expected = if dimension < head_dim {
                    round(((start + dimension) % 1999) as f32)
                } else {
                    0.0
                };
                let row = position / LANES * vectors * LANES + dimension;
                let key = widen(head.keys[row][position % LANES]);
                let place = position * vectors + dimension / LANES;
                let value = widen(head.values[place][dimension % LANES]);
                assert_eq!(
                    (key, value),
                    (expected, -expected),
                    "{position} {dimension}"
                );
            }
        }
    }
}

#[test]
fn positions_lie_where_the_kernels_look_for_them_however_they_came() {
    for level in Level::all() {
        for dtype in KvDtype::ALL {
            let pool = Pool::new(NonZeroUsize::new(2).unwrap()).unwrap();
            let mut cache = HeadCaches::new(SHAPE, dtype, 5);
            for (count, kept) in [
                (1, 1),
                (1, 2),
                (40, 37),
                (1, 38),
                (10, 32),
                (320, 343),
                (1, 400),
            ] {
                let first = cache.len();
                let (keys, values) = (rows(first, count, 1.0), rows(first, count, -1.0));
                cache.append(&pool, level, &keys, &values);
                cache.truncate(kept);
            }
            assert_eq!(cache.len(), 344);
            match cache.heads() {
                Heads::F32(heads) => check(heads, 344, |value| value, |value| value),
                // Whole numbers below 2048 are halves.
                Heads::F16(heads) => check(heads, 344, f32_from_f16, |value| value),
                Heads::F8(heads) => check(heads, 344, f32_from_f8, |value| {
                    f32_from_f8(f8_from_f32(value))
                }),
            }
        }
    }
}

#[test]
fn what_a_format_has_no_room_for_becomes_its_largest() {
    let pool = Pool::new(NonZeroUsize::MIN).unwrap();
    let shape = HeadShape {
        num_heads: 1,
        num_key_value_heads: 1,
        head_dim: 2,
    };
    let new = Rows {
        width: 2,
        values: vec![1e6, -1e6],
    };
    for dtype in KvDtype::ALL {
        let mut cache = HeadCaches::new(shape, dtype, 1);
        cache.append(&pool, Level::detect(), &new, &new);
        match cache.heads() {
            Heads::F32(heads) => assert_eq!(heads[0].values[0][..3], [1e6, -1e6, 0.0]),
            Heads::F16(heads) => assert_eq!(heads[0].values[0][..3], [0x7bff, 0xfbff, 0]),
            Heads::F8(heads) => assert_eq!(heads[0].values[0][..3], [0x7e, 0xfe, 0]),
        }
    }
}
