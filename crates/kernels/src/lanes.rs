//! Sixteen floats handled together, and the elementary functions of the kernels on them.
//!
//! A kernel's body is generic over [`Simd`], a token that proves which instructions may be executed, and is
//! instantiated for each [`SimdLevel`](crate::simd_level::SimdLevel). All functions carry NaN through.

#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

use std::ops::{Add, Div, Mul, Sub};

/// Floats handled together.
pub(crate) const WIDTH: usize = 16;

/// Magnitudes below this are set to zero where a recurrence would drive them into denormal numbers, which
/// some processors handle a hundred times more slowly. It is 1e8 times the smallest normal `f32`.
const TINY: f32 = 1.2e-30;

/// Calls an intrinsic on values whose existence proves that its instructions are there.
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
macro_rules! proven {
    ($call:expr) => {
        // SAFETY: `self` is, or was made by, a token whose constructor demands these instructions.
        unsafe { $call }
    };
}
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
use proven;

/// Repeats a block for the constants 0 to 15, so that arrays indexed by them live in registers.
macro_rules! sixteen_times {
    ($n:ident => $body:block) => {
        $crate::lanes::sixteen_times!(@ $n $body 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $n:ident $body:block $($value:literal)*) => {
        $({
            #[allow(non_upper_case_globals)]
            const $n: usize = $value;
            $body
        })*
    };
}
pub(crate) use sixteen_times;

/// Sixteen floats, one per channel.
pub(crate) trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn to_array(self) -> [f32; WIDTH];

    fn store_array(self, values: &mut [f32; WIDTH]);

    /// `self * factor + addend`.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// The larger of the two; NaN where `self` is.
    fn at_least(self, floor: Self) -> Self;

    /// The smaller of the two; NaN where `self` is.
    fn at_most(self, ceiling: Self) -> Self;

    fn abs(self) -> Self;

    /// `below` where `self < limit`, else (also where `self` is NaN) `otherwise`.
    fn where_below(self, limit: Self, below: Self, otherwise: Self) -> Self;

    /// The floats whose exponent bits are the lowest eight bits of these.
    fn bits_to_exponent(self) -> Self;

    /// Writes the sixteen floats at `start`.
    #[inline(always)]
    fn store(self, values: &mut [f32], start: usize) {
        match values[start..].first_chunk_mut() {
            Some(values) => self.store_array(values),
            None => out_of_bounds(),
        }
    }
}

#[cold]
#[inline(never)]
fn out_of_bounds() -> ! {
    panic!("a kernel reached outside its slice")
}

/// `2^r` for `r` in [-0.5, 0.5].
#[inline(always)]
fn exp2_polynomial<S: Simd>(s: S, r: S::Lanes) -> S::Lanes {
    // 2^r = 1 + r q(r); q is a degree-5 minimax fit (Lawson iteration in f64) with error 7.5e-9 to
    // (2^r - 1) / r.
    #[expect(
        clippy::approx_constant,
        clippy::excessive_precision,
        reason = "fitted, not ln 2"
    )]
    const Q: [f32; 6] = [
        0.693_147_2,
        0.240_226_51,
        0.055_503_57,
        0.009_618_031,
        0.001_339_086_7,
        0.000_154_697_3,
    ];
    let q = s.splat(Q[5]).mul_add(r, s.splat(Q[4]));
    let q = q.mul_add(r, s.splat(Q[3]));
    let q = q.mul_add(r, s.splat(Q[2]));
    let q = q.mul_add(r, s.splat(Q[1]));
    let q = q.mul_add(r, s.splat(Q[0]));
    q.mul_add(r, s.splat(1.0))
}

/// A token that proves which vector instructions may be executed, and makes values for them.
pub(crate) trait Simd: Copy {
    type Lanes: Lanes;

    fn splat(self, value: f32) -> Self::Lanes;

    fn load_array(self, values: &[f32; WIDTH]) -> Self::Lanes;

    /// The sum of the sixteen floats of each of sixteen values, in a fixed order.
    fn sum_each(self, values: &[Self::Lanes; WIDTH]) -> Self::Lanes;

    /// Asks for the cache line of a value that will be read soon; nothing happens outside the slice.
    #[inline(always)]
    fn prefetch(self, _values: &[f32], _index: usize) {}

    #[inline(always)]
    fn zero(self) -> Self::Lanes {
        self.splat(0.0)
    }

    /// Reads the sixteen floats at `start`.
    #[inline(always)]
    fn load(self, values: &[f32], start: usize) -> Self::Lanes {
        match values[start..].first_chunk() {
            Some(values) => self.load_array(values),
            None => out_of_bounds(),
        }
    }

    /// Zero where the magnitude is below `TINY`, unchanged elsewhere.
    #[inline(always)]
    fn flush_tiny(self, x: Self::Lanes) -> Self::Lanes {
        x.abs().where_below(self.splat(TINY), self.zero(), x)
    }

    /// `2^x`, relative error below 2e-7 (and below 8e-8 times `x` near 0, no more than `x` itself is rounded by, so that
    /// decays close to 1 are not biased); by level, infinite from 127.5 or 128, and 0 from -126.5 or from where even
    /// denormal numbers end.
    #[inline(always)]
    fn exp2(self, x: Self::Lanes) -> Self::Lanes {
        self.exp2_nonpositive(x.at_most(self.splat(128.0)))
    }

    /// [`exp2`](Self::exp2) for arguments that are known to be at most 128.
    #[inline(always)]
    fn exp2_nonpositive(self, x: Self::Lanes) -> Self::Lanes {
        // Adding 1.5 * 2^23 rounds to an integer in the low bits; the 127 more is the exponent's bias. For -127 the
        // bits are those of 0, for 128 those of infinity.
        let magic = self.splat(12_582_912.0 + 127.0);
        let x = x.at_least(self.splat(-127.0));
        let shifted = x + magic;
        let r = x - (shifted - magic);
        exp2_polynomial(self, r) * shifted.bits_to_exponent()
    }

    /// Logistic function `1 / (1 + exp(-x))`.
    #[inline(always)]
    fn sigmoid(self, x: Self::Lanes) -> Self::Lanes {
        let one = self.splat(1.0);
        one / (one + self.exp2(x * self.splat(-std::f32::consts::LOG2_E)))
    }

    /// `ln(1 + exp(x))` and its derivative, the logistic function.
    ///
    /// Above 20 the value is the argument itself and the derivative 1, as in PyTorch's `softplus`.
    #[inline(always)]
    fn softplus(self, x: Self::Lanes) -> (Self::Lanes, Self::Lanes) {
        // ln(1 + w) = 2 s (1 + s^2 Q(s^2)) with s = w / (2 + w); for w in [0, 1], s^2 <= 1/9, Q a degree-4
        // minimax fit to the series of atanh with error 4.3e-9.
        const Q: [f32; 5] = [
            0.333_333_34,
            0.199_999_24,
            0.142_938_33,
            0.108_816_534,
            0.114_984_594,
        ];
        let (zero, one, two) = (self.zero(), self.splat(1.0), self.splat(2.0));
        let w = self.exp2(x.abs() * self.splat(-std::f32::consts::LOG2_E));
        let quotient = w / (two + w);
        let z = quotient * quotient;
        let q = self.splat(Q[4]).mul_add(z, self.splat(Q[3]));
        let q = q.mul_add(z, self.splat(Q[2]));
        let q = q.mul_add(z, self.splat(Q[1]));
        let q = q.mul_add(z, self.splat(Q[0]));
        let series = q.mul_add(z, one) * quotient;
        let limit = self.splat(20.0);
        // NaN is in neither range below and comes back as itself plus something.
        let value = series.mul_add(two, x.at_least(zero));
        let value = limit.where_below(x, x, value);
        let slope = x.where_below(zero, w, one) / (one + w);
        let slope = limit.where_below(x, one, slope);
        (value, slope)
    }
}

/// Plain arrays: every processor can execute them, and the compiler may find vector instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

/// Sixteen floats in an array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PortableLanes([f32; WIDTH]);

macro_rules! per_lane {
    ($i:ident => $value:expr) => {{
        let mut out = [0.0f32; WIDTH];
        let mut $i = 0;
        while $i < WIDTH {
            out[$i] = $value;
            $i += 1;
        }
        PortableLanes(out)
    }};
}

macro_rules! operator {
    ($trait:ident, $method:ident, $operator:tt) => {
        impl $trait for PortableLanes {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                per_lane!(i => self.0[i] $operator other.0[i])
            }
        }
    };
}

operator!(Add, add, +);
operator!(Sub, sub, -);
operator!(Mul, mul, *);
operator!(Div, div, /);

impl Lanes for PortableLanes {
    #[inline(always)]
    fn to_array(self) -> [f32; WIDTH] {
        self.0
    }

    #[inline(always)]
    fn store_array(self, values: &mut [f32; WIDTH]) {
        *values = self.0;
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            per_lane!(i => self.0[i].mul_add(factor.0[i], addend.0[i]))
        } else {
            self * factor + addend
        }
    }

    #[inline(always)]
    fn at_least(self, floor: Self) -> Self {
        per_lane!(i => if self.0[i] < floor.0[i] { floor.0[i] } else { self.0[i] })
    }

    #[inline(always)]
    fn at_most(self, ceiling: Self) -> Self {
        per_lane!(i => if self.0[i] > ceiling.0[i] { ceiling.0[i] } else { self.0[i] })
    }

    #[inline(always)]
    fn abs(self) -> Self {
        per_lane!(i => self.0[i].abs())
    }

    #[inline(always)]
    fn where_below(self, limit: Self, below: Self, otherwise: Self) -> Self {
        per_lane!(i => if self.0[i] < limit.0[i] { below.0[i] } else { otherwise.0[i] })
    }

    #[inline(always)]
    fn bits_to_exponent(self) -> Self {
        per_lane!(i => f32::from_bits(self.0[i].to_bits() << 23))
    }
}

impl Simd for Portable {
    type Lanes = PortableLanes;

    #[inline(always)]
    fn splat(self, value: f32) -> PortableLanes {
        PortableLanes([value; WIDTH])
    }

    #[inline(always)]
    fn load_array(self, values: &[f32; WIDTH]) -> PortableLanes {
        PortableLanes(*values)
    }

    #[inline(always)]
    fn sum_each(self, values: &[PortableLanes; WIDTH]) -> PortableLanes {
        per_lane!(n => sum_of_one(&values[n].0))
    }
}

#[inline(always)]
fn sum_of_one(x: &[f32; WIDTH]) -> f32 {
    let mut quarter = [0.0f32; 4];
    let mut i = 0;
    while i < 4 {
        quarter[i] = (x[i] + x[i + 4]) + (x[i + 8] + x[i + 12]);
        i += 1;
    }
    (quarter[0] + quarter[2]) + (quarter[1] + quarter[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd_level::{SimdLevel, for_each_simd_level};

    /// Applies one of the elementary functions to groups of sixteen.
    #[derive(Debug, Clone, Copy)]
    enum Function {
        Exp2,
        Exp2Nonpositive,
        Sigmoid,
        Softplus,
        SoftplusSlope,
        FlushTiny,
    }

    for_each_simd_level! {
        fn apply(function: Function, values: &mut [f32]) = apply_body
    }

    #[inline(always)]
    fn apply_body<S: Simd>(s: S, function: Function, values: &mut [f32]) {
        for start in (0..values.len()).step_by(WIDTH) {
            let x = s.load(values, start);
            let y = match function {
                Function::Exp2 => s.exp2(x),
                Function::Exp2Nonpositive => s.exp2_nonpositive(x),
                Function::Sigmoid => s.sigmoid(x),
                Function::Softplus => s.softplus(x).0,
                Function::SoftplusSlope => s.softplus(x).1,
                Function::FlushTiny => s.flush_tiny(x),
            };
            y.store(values, start);
        }
    }

    for_each_simd_level! {
        fn sum_rows(values: &[f32], out: &mut [f32]) = sum_rows_body
    }

    #[inline(always)]
    fn sum_rows_body<S: Simd>(s: S, values: &[f32], out: &mut [f32]) {
        let mut rows = [s.zero(); WIDTH];
        for (n, row) in rows.iter_mut().enumerate() {
            *row = s.load(values, n * WIDTH);
        }
        s.sum_each(&rows).store(out, 0);
    }

    #[expect(clippy::type_complexity, reason = "a table of cases, read once")]
    #[test]
    fn elementary_functions_agree_with_libm_in_f64() {
        let logistic = |x: f64| 1.0 / (1.0 + libm::exp(-x));
        // Two roundings of f32 (6e-8 each) and the polynomial; the argument of an exponential is itself rounded,
        // which adds |x| * 6e-8.
        let cases: [(Function, f32, f32, &dyn Fn(f64) -> f64, f64); 7] = [
            (Function::Exp2, -126.0, 127.0, &libm::exp2, 2e-7),
            (Function::Exp2Nonpositive, -126.0, 0.0, &libm::exp2, 2e-7),
            (Function::Exp2, -2e-3, -1e-5, &libm::exp2, 6.1e-8),
            (Function::Sigmoid, -80.0, 80.0, &logistic, 8e-6),
            (
                Function::Softplus,
                -15.0,
                19.9,
                &|x| libm::log1p(libm::exp(x)),
                2e-6,
            ),
            (Function::Softplus, 20.1, 90.0, &|x| x, 0.0),
            (Function::SoftplusSlope, -15.0, 19.9, &logistic, 2e-6),
        ];
        for level in SimdLevel::available() {
            for (function, from, to, exact, tolerance) in cases {
                let n = 4096 * WIDTH;
                let x: Vec<f32> = (0..n)
                    .map(|i| from + (to - from) * (i as f32 / n as f32))
                    .collect();
                let mut y = x.clone();
                apply(level, function, &mut y);
                for (x, y) in x.into_iter().zip(y) {
                    let expected = exact(f64::from(x));
                    let error = (f64::from(y) - expected).abs() / expected.abs();
                    assert!(
                        error <= tolerance,
                        "{function:?}({x}) = {y}, expected {expected} ({})",
                        level.name()
                    );
                }
            }
        }
    }

    #[test]
    fn elementary_functions_carry_nan_and_bound_infinities() {
        for level in SimdLevel::available() {
            let value = |function, x: f32| {
                let mut values = [x; WIDTH];
                apply(level, function, &mut values);
                values[0]
            };
            for function in [
                Function::Exp2,
                Function::Exp2Nonpositive,
                Function::Sigmoid,
                Function::Softplus,
                Function::SoftplusSlope,
                Function::FlushTiny,
            ] {
                let name = level.name();
                assert!(value(function, f32::NAN).is_nan(), "{function:?} {name}");
            }
            assert_eq!(value(Function::Sigmoid, f32::INFINITY), 1.0);
            assert_eq!(value(Function::Softplus, f32::INFINITY), f32::INFINITY);
            assert_eq!(value(Function::SoftplusSlope, f32::INFINITY), 1.0);
            assert_eq!(value(Function::Exp2, f32::INFINITY), f32::INFINITY);
            for function in [
                Function::Sigmoid,
                Function::Softplus,
                Function::SoftplusSlope,
            ] {
                assert_eq!(value(function, f32::NEG_INFINITY), 0.0);
            }
            for function in [Function::Exp2, Function::Exp2Nonpositive] {
                assert_eq!(value(function, f32::NEG_INFINITY), 0.0);
                assert_eq!(value(function, -1e30), 0.0);
            }
            assert_eq!(value(Function::FlushTiny, -1e-31), 0.0);
            assert_eq!(value(Function::FlushTiny, -1e-29), -1e-29);
        }
    }

    #[test]
    fn sum_each_returns_sums_in_the_order_of_the_values() {
        let values: Vec<f32> = (0..256).map(|i| (100 * (i / 16) + i % 16) as f32).collect();
        for level in SimdLevel::available() {
            let mut sums = [0.0; WIDTH];
            sum_rows(level, &values, &mut sums);
            // Sum over i = 0..16 of (100 n + i) is 1600 n + 120.
            for (n, sum) in sums.into_iter().enumerate() {
                assert_eq!(sum, (1600 * n + 120) as f32, "{}", level.name());
            }
        }
    }
}
