//! Exponential and logarithm without branches or calls, so that the compiler turns a loop over them into
//! vector instructions of whatever width the enclosing function may use.
//!
//! Plain multiplications and additions only: no fused ones, so every vector width gives the same bits.

/// 1.5 * 2^52: adding it rounds to an integer, which then sits in the low bits of the sum.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// ln 2 split in two, the first with 32 trailing zero bits (fdlibm `e_exp.c`).
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
/// See [`LN2_HIGH`].
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// 1 / k! for k = 1..=13: (e^r - 1) / r to 1e-17 on |r| <= ln 2 / 2.
const EXP_SERIES: [f64; 13] = [
    1.0,
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5040.0,
    1.0 / 40_320.0,
    1.0 / 362_880.0,
    1.0 / 3_628_800.0,
    1.0 / 39_916_800.0,
    1.0 / 479_001_600.0,
    1.0 / 6_227_020_800.0,
];
/// 2 / (2k + 1) for k = 0..=9: ln((1 + s) / (1 - s)) / s in s^2, to 3e-17 on the reduced range.
const LOG_SERIES: [f64; 10] = [
    2.0,
    2.0 / 3.0,
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
];
/// Bits of √½: the reduced argument of the logarithm lies in [√½, √2).
const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_667f_3bcd;

/// Returns 2^k and (e^r - 1), where x = k ln 2 + r; `x` in [-700, 700].
#[inline(always)]
fn split_exp(x: f64) -> (f64, f64) {
    let rounded = x * std::f64::consts::LOG2_E + ROUND;
    let k = rounded - ROUND;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let mut sum = EXP_SERIES[12];
    for term in (0..12).rev() {
        sum = sum * r + EXP_SERIES[term];
    }
    let power = f64::from_bits((rounded.to_bits() << 52).wrapping_add(1023 << 52));
    (power, sum * r)
}

/// e^x for `x` in [-700, 700].
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    let (power, fraction) = split_exp(x);
    power * fraction + power
}

/// e^x - 1 for `x` in [-700, 700], accurate near 0.
#[inline(always)]
pub(super) fn exp_m1(x: f64) -> f64 {
    let (power, fraction) = split_exp(x);
    power * fraction + (power - 1.0)
}

/// ln(1 + x) for non-negative, finite `x`, accurate near 0.
#[inline(always)]
pub(super) fn ln_1p(x: f64) -> f64 {
    let sum = 1.0 + x;
    let lost = (x - (sum - 1.0)) / sum;
    let k = sum.to_bits().wrapping_sub(SQRT_HALF_BITS) >> 52;
    let mantissa = f64::from_bits(sum.to_bits().wrapping_sub(k << 52));
    let k = f64::from_bits(ROUND.to_bits().wrapping_add(k)) - ROUND;
    let f = mantissa - 1.0;
    let s = f / (2.0 + f);
    let squared = s * s;
    let mut series = LOG_SERIES[9];
    for term in (0..9).rev() {
        series = series * squared + LOG_SERIES[term];
    }
    k * LN2_HIGH + (s * series + (k * LN2_LOW + lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two units in the last place, the error of libm included.
    const TOLERANCE: f64 = 4.5e-16;

    #[test]
    fn functions_agree_with_libm_over_their_range() {
        for k in -3000..=3000 {
            let exponent = f64::from(k) * 0.2301;
            let small = libm::pow(10.0, f64::from(k) / 150.0);
            let cases = [
                ("exp", exp(exponent), libm::exp(exponent)),
                ("exp_m1", exp_m1(exponent), libm::expm1(exponent)),
                (
                    "exp_m1 near 0",
                    exp_m1(-small.min(700.0)),
                    libm::expm1(-small.min(700.0)),
                ),
                ("ln_1p", ln_1p(small), libm::log1p(small)),
            ];
            for (name, found, expected) in cases {
                let error = (found / expected - 1.0).abs();
                assert!(
                    found == expected || error <= TOLERANCE,
                    "{name}: {found:e} is not {expected:e}, error {error:e}"
                );
            }
        }
    }

    #[test]
    fn functions_are_exact_at_zero() {
        assert_eq!((exp(0.0), exp_m1(0.0), ln_1p(0.0)), (1.0, 0.0, 0.0));
    }
}
