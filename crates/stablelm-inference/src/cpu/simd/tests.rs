use super::*;
use crate::cpu::cache::Cached;
use crate::f8::f8_from_f32;

/// Applies a function to vectors of values.
struct Map<'a, F> {
    values: &'a [f32],
    function: F,
}

trait Function {
    fn of<S: Simd>(&self, simd: S, x: S::Lanes) -> S::Lanes;
}

macro_rules! functions {
    ($($name:ident: $function:expr;)*) => {$(
        struct $name;

        impl Function for $name {
            fn of<S: Simd>(&self, simd: S, x: S::Lanes) -> S::Lanes {
                let function: fn(S, S::Lanes) -> S::Lanes = $function;
                function(simd, x)
            }
        }
    )*};
}

functions! {
    Exp2: exp2;
    Sigmoid: sigmoid;
    Erf: erf;
    Round: S::round;
    Halves: |simd, x| {
        let mut bits = [0; LANES];
        simd.store_halves(x, &mut bits);
        simd.load_halves(&bits)
    };
    F8: |simd, x| {
        let mut bits = [0u8; LANES];
        Cached::store(simd, x, &mut bits);
        Cached::load(simd, &bits)
    };
    Extremes: |simd, x| {
        let zero = simd.splat(0.0);
        simd.add(simd.max(zero, x), simd.min(zero, x))
    };
    Totals: |simd, x| {
        let sum = simd.splat(simd.sum(x));
        simd.sub(sum, simd.splat(simd.largest(x)))
    };
}

impl<F: Function> Kernel for Map<'_, F> {
    type Output = Vec<f32>;

    fn run<S: Simd>(self, simd: S) -> Vec<f32> {
        let mut output = Vec::new();
        for values in self.values.chunks(LANES) {
            let mut filled = [0f32; LANES];
            filled[..values.len()].copy_from_slice(values);
            simd.store(self.function.of(simd, simd.load(&filled)), &mut filled);
            output.extend_from_slice(&filled[..values.len()]);
        }
        output
    }
}

fn map(level: Level, values: &[f32], function: impl Function) -> Vec<f32> {
    run(level, Map { values, function })
}

fn range(from: f32, to: f32, count: usize) -> Vec<f32> {
    let step = (to - from) / count as f32;
    (0..=count).map(|i| from + i as f32 * step).collect()
}

#[test]
fn powers_of_two_are_accurate_and_end_in_zero_and_infinity() {
    let values = range(-126.0, 127.49, 200_000);
    for level in Level::all() {
        for (x, found) in values.iter().zip(map(level, &values, Exp2)) {
            let expected = f64::from(*x).exp2();
            let error = (f64::from(found) - expected).abs() / expected;
            assert!(error < 2e-7, "{level:?} {x}: {found:e} is off by {error:e}");
        }
        let ends = [f32::NEG_INFINITY, -1e38, -127.0, 128.0, f32::INFINITY, 0.0];
        let found = map(level, &ends, Exp2);
        let expected = [0.0, 0.0, 0.0, f32::INFINITY, f32::INFINITY, 1.0];
        assert_eq!(found, expected, "{level:?}");
        assert!(map(level, &[f32::NAN], Exp2)[0].is_nan());
    }
}

#[test]
fn sigmoids_are_accurate() {
    let values = range(-87.0, 30.0, 100_000);
    for level in Level::all() {
        for (x, found) in values.iter().zip(map(level, &values, Sigmoid)) {
            let expected = 1.0 / (1.0 + (-f64::from(*x)).exp());
            let error = (f64::from(found) - expected).abs() / expected;
            // The rounding of the power's argument counts as much as that is large.
            let tolerance = 3e-7 + 9e-8 * f64::from(x.abs());
            assert!(error < tolerance, "{level:?} {x}: {error:e}");
        }
    }
}

/// The Maclaurin series of the error function, for up to 5 or so: a hundred terms, in f64.
fn series(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..200 {
        // The form without alternating signs: e^(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!.
        term *= 2.0 * x * x / (2.0 * f64::from(n) + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[test]
fn the_error_function_is_accurate() {
    // From tables: erf(0.5), erf(1), erf(2).
    for (x, expected) in [
        (0.5, 0.520_499_877_8),
        (1.0, 0.842_700_792_9),
        (2.0, 0.995_322_265_0),
    ] {
        assert!((series(x) - expected).abs() < 1e-10);
    }
    let values = range(-5.0, 5.0, 100_000);
    for level in Level::all() {
        for (x, found) in values.iter().zip(map(level, &values, Erf)) {
            let error = (f64::from(found) - series(f64::from(*x))).abs();
            assert!(error < 2e-7, "{level:?} {x}: {error:e}");
        }
        let ends = [f32::NEG_INFINITY, -9.0, 9.0, f32::INFINITY, 0.0];
        assert_eq!(map(level, &ends, Erf), [-1.0, -1.0, 1.0, 1.0, 0.0]);
        assert!(map(level, &[f32::NAN], Erf)[0].is_nan());
    }
}

#[test]
fn halves_are_rounded_to_nearest_and_kept_finite() {
    let mut values: Vec<f32> = (0..100_000u32)
        .map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9)))
        .filter(|value| !value.is_nan())
        .collect();
    values.extend([
        65504.0,
        65519.0,
        65520.0,
        1e9,
        f32::INFINITY,
        2f32.powi(-25),
    ]);
    let expected: Vec<u32> = values
        .iter()
        .map(|value| f32_from_f16(f16_from_f32(value.clamp(-65504.0, 65504.0))).to_bits())
        .collect();
    for level in Level::all() {
        let found: Vec<u32> = map(level, &values, Halves)
            .iter()
            .map(|value| value.to_bits())
            .collect();
        assert_eq!(found, expected, "{level:?}");
        assert_eq!(map(level, &[-f32::INFINITY], Halves), [-65504.0]);
        assert!(map(level, &[f32::NAN], Halves)[0].is_nan());
    }
}

#[test]
fn every_level_rounds_to_f8_and_widens_it_as_plain_code_does() {
    let mut values: Vec<f32> = (0..100_000u32)
        .map(|i| f32::from_bits(0x3a00_0000 + i * 0x6e1))
        .collect();
    values.extend((0..0x7f).map(f32_from_f8));
    values.extend([1e9, f32::INFINITY, f32::from_bits(1)]);
    let negative: Vec<f32> = values.iter().map(|value| -value).collect();
    values.extend(negative);
    let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
    let expected: Vec<f32> = values
        .iter()
        .map(|value| f32_from_f8(f8_from_f32(*value)))
        .collect();
    for level in Level::all() {
        let found = map(level, &values, F8);
        assert_eq!(bits(&found), bits(&expected), "{level:?}");
        let nan = map(level, &[f32::NAN, -f32::NAN, 1.0], F8);
        assert!(nan[0].is_nan() && nan[1].is_nan(), "{level:?}");
        assert_eq!(nan[2..], [1.0]);
    }
}

#[test]
fn the_rest_of_the_operations_do_as_they_say() {
    let values = range(-3.0, 5.0, 15);
    for level in Level::all() {
        assert_eq!(
            map(level, &[0.5, 1.5, -0.5, -2.4, 3.0], Round),
            [0.0, 2.0, 0.0, -2.0, 3.0]
        );
        assert_eq!(map(level, &values, Extremes), values);
        let sum: f32 = values.iter().sum();
        for total in map(level, &values, Totals) {
            assert!((total - (sum - 5.0)).abs() < 1e-5, "{level:?} {total}");
        }
    }
}
