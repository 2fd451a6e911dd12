//! Elementary functions in single precision for device kernels.
//!
//! A device's own may be off by far more than rounding: Vulkan allows an error of 2^-11 in a sine, 5e-7 in a logarithm
//! near 1 and 3 + 2 |x| units in the last place in an exponential. These are within 2e-7 relative on every device,
//! use nothing but additions, multiplications, divisions and bits, and need no order of rounding that a compiler
//! might not keep.

use cubecl::prelude::*;

/// ln 2 split in two, the first with nine significant bits (Cephes `logf.c`).
const LN2_HIGH: f32 = 0.693_359_4;
/// See [`LN2_HIGH`].
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Bits of √½: the reduced argument of the logarithm lies in [√½, √2).
const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
/// Below this size ln(1 + x) is a series in x / (2 + x), at most 1/4; above, 1 + x loses nothing that matters.
const LN_1P_SERIES_BELOW: f32 = 0.4;
/// Exponents are held within these, where 2^n is a normal number.
const LOWEST_EXPONENT: f32 = -87.33;
/// See [`LOWEST_EXPONENT`].
const HIGHEST_EXPONENT: f32 = 88.0;

/// Whether `x` is a NaN by its bits: shader compilers may take `x * 0` for 0 and "not less" for "at least".
#[cube]
pub(crate) fn is_nan(x: f32) -> bool {
    (u32::reinterpret(x) & 0x7fff_ffffu32) > 0x7f80_0000u32
}

/// `x` held between `low` and `high`; a NaN stays one, where a compiler that makes a minimum and a maximum of the two
/// comparisons would return `low`.
#[cube]
pub(crate) fn held_between(x: f32, low: f32, high: f32) -> f32 {
    let not_low = select(x < low, low, x);
    let held = select(not_low > high, high, not_low);
    select(is_nan(x), x, held)
}

/// ln `x` of a positive normal `x`.
#[cube]
pub(crate) fn ln(x: f32) -> f32 {
    let bits = i32::reinterpret(x);
    let exponent = (bits - SQRT_HALF_BITS) >> 23;
    let mantissa = f32::reinterpret(bits - (exponent << 23));
    let k = f32::cast_from(exponent);
    k * LN2_HIGH + (ln_quotient((mantissa - 1.0) / (mantissa + 1.0)) + k * LN2_LOW)
}

/// ln(1 + `x`) of an `x` above -1, accurate near 0.
#[cube]
pub(crate) fn ln_1p(x: f32) -> f32 {
    let is_small = x.abs() < LN_1P_SERIES_BELOW;
    let near = select(is_small, x, 0.0f32);
    let far = select(is_small, 1.0f32, 1.0 + x);
    select(is_small, ln_quotient(near / (2.0 + near)), ln(far))
}

/// ln((1 + `t`) / (1 - `t`)) of a `t` within a quarter of 0: 2 (t + t^3 / 3 + t^5 / 5 + ...).
#[cube]
fn ln_quotient(t: f32) -> f32 {
    let s = t * t;
    let series = comptime!(1.0f32 / 3.0)
        + s * (comptime!(1.0f32 / 5.0)
            + s * (comptime!(1.0f32 / 7.0)
                + s * (comptime!(1.0f32 / 9.0) + s * (comptime!(1.0f32 / 11.0)))));
    2.0 * t + 2.0 * t * s * series
}

/// e^`x`, held within the range of normal numbers.
#[cube]
pub(crate) fn exp(x: f32) -> f32 {
    let (power, fraction) = split_exp(x);
    power * fraction + power
}

/// e^`x` - 1, accurate near 0.
#[cube]
pub(crate) fn exp_m1(x: f32) -> f32 {
    let (power, fraction) = split_exp(x);
    power * fraction + (power - 1.0)
}

/// 2^n and e^r - 1, where x = n ln 2 + r.
#[cube]
fn split_exp(x: f32) -> (f32, f32) {
    let not_low = select(x < LOWEST_EXPONENT, LOWEST_EXPONENT, x);
    let x = select(not_low > HIGHEST_EXPONENT, HIGHEST_EXPONENT, not_low);
    let n = (x * std::f32::consts::LOG2_E + 0.5).floor();
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let series = comptime!(1.0f32 / 24.0)
        + r * (comptime!(1.0f32 / 120.0)
            + r * (comptime!(1.0f32 / 720.0) + r * (comptime!(1.0f32 / 5040.0))));
    let fraction = r * (1.0 + r * (0.5 + r * (comptime!(1.0f32 / 6.0) + r * series)));
    let power = f32::reinterpret((i32::cast_from(n) + 127) << 23);
    (power, fraction)
}

/// Sine and cosine of the fraction of a full turn that 64 bits in two words are.
#[cube]
pub(crate) fn sincos_turn(low: u32, high: u32) -> (f32, f32) {
    // To the nearest quarter turn exactly, in whole numbers; the rest is at most an eighth.
    let quarter = (high + 0x2000_0000) >> 30;
    let rest = i32::reinterpret(high - (quarter << 30));
    let turns = f32::cast_from(rest) * TWO_TO_MINUS_32
        + f32::cast_from(low) * (TWO_TO_MINUS_32 * TWO_TO_MINUS_32);
    let angle = turns * std::f32::consts::TAU;
    let s = angle * angle;
    let sin = angle
        + angle
            * s
            * (-comptime!(1.0f32 / 6.0)
                + s * (comptime!(1.0f32 / 120.0)
                    + s * (-comptime!(1.0f32 / 5040.0) + s * (comptime!(1.0f32 / 362_880.0)))));
    let high_terms = comptime!(1.0f32 / 720.0)
        - s * (comptime!(1.0f32 / 40_320.0) - s * (comptime!(1.0f32 / 3_628_800.0)));
    let cos = 1.0 - s * (0.5 - s * (comptime!(1.0f32 / 24.0) - s * high_terms));
    let is_odd = quarter % 2 == 1;
    let for_sin = select(is_odd, cos, sin);
    let for_cos = select(is_odd, sin, cos);
    (
        select(quarter >= 2, -for_sin, for_sin),
        select(quarter == 1 || quarter == 2, -for_cos, for_cos),
    )
}

/// 2^-32.
pub(crate) const TWO_TO_MINUS_32: f32 = 2.328_306_4e-10;
