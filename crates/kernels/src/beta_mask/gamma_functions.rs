//! The logarithm of the Gamma function and its first two derivatives, for positive arguments.
//!
//! Each is shifted to an argument of at least [`STIRLING_FROM`] by the recurrence Γ(x + 1) = x Γ(x) and
//! evaluated there by Stirling's series. The shift's eight reciprocals are brought to one denominator, so a
//! call costs one logarithm, or two, and three divisions.

/// From here on Stirling's series with the terms below is exact to double precision: the first term left out
/// is at most 3e-15 relative (B_16 / (2 k x^16) and its kin at x = 8).
const STIRLING_FROM: f64 = 8.0;
/// B_2k / (2k (2k - 1)), k = 1..7: ln Γ; Abramowitz & Stegun 6.1.41.
const LN_GAMMA_SERIES: [f64; 7] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1260.0,
    -1.0 / 1680.0,
    1.0 / 1188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
];
/// B_2k / 2k, k = 1..8: digamma; Abramowitz & Stegun 6.3.18.
const DIGAMMA_SERIES: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 120.0,
    1.0 / 252.0,
    -1.0 / 240.0,
    1.0 / 132.0,
    -691.0 / 32_760.0,
    1.0 / 12.0,
    -3617.0 / 8160.0,
];
/// B_2k, k = 1..8: trigamma; Abramowitz & Stegun 6.4.12.
const TRIGAMMA_SERIES: [f64; 8] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
];
/// ln √(2π); Abramowitz & Stegun 6.1.41.
const LN_SQRT_TAU: f64 = 0.918_938_533_204_672_8;

/// Returns ln Γ(x) and ψ(x) = d ln Γ(x) / dx of a positive `x`.
#[inline]
pub(crate) fn ln_gamma_and_digamma(x: f64) -> (f64, f64) {
    let (shifted, product, reciprocals) = shift(x);
    let ln = libm::log(shifted);
    let inverse = 1.0 / shifted;
    let squared = inverse * inverse;
    let ln_gamma = (shifted - 0.5) * ln - shifted
        + LN_SQRT_TAU
        + inverse * polynomial(&LN_GAMMA_SERIES, squared);
    let digamma = digamma_series(ln, inverse) - reciprocals;
    if product == 1.0 {
        (ln_gamma, digamma)
    } else {
        (ln_gamma - libm::log(product), digamma)
    }
}

/// Returns ψ(x) of a positive `x`.
#[inline]
pub(crate) fn digamma(x: f64) -> f64 {
    let (shifted, _, reciprocals) = shift(x);
    digamma_series(libm::log(shifted), 1.0 / shifted) - reciprocals
}

/// Returns ψ'(x) of a positive `x`.
#[inline]
pub(crate) fn trigamma(x: f64) -> f64 {
    let mut shifted = x;
    let mut reciprocals = 0.0;
    if x < STIRLING_FROM {
        shifted = x + 8.0;
        let squares: [f64; 8] = std::array::from_fn(|k| (x + k as f64) * (x + k as f64));
        reciprocals = sum_of_reciprocals(&squares).1;
    }
    let inverse = 1.0 / shifted;
    let squared = inverse * inverse;
    inverse
        + 0.5 * squared
        + inverse * squared * polynomial(&TRIGAMMA_SERIES, squared)
        + reciprocals
}

/// Returns ψ(x + step) - ψ(x), for positive `x` and non-negative `step`, without the cancellation of two
/// nearly equal values.
#[inline]
pub(crate) fn digamma_difference(x: f64, step: f64) -> f64 {
    // The midpoint rule's relative error is (step / x)^2 / 12 at most about x = 0, and less above.
    const MIDPOINT_BELOW: f64 = 1e-5;
    if step < MIDPOINT_BELOW * x {
        step * trigamma(x + 0.5 * step)
    } else {
        digamma(x + step) - digamma(x)
    }
}

/// ψ(α + 1), ψ(β + 1) and ψ(α + β), which the gradient of a sample needs.
///
/// The first two are shifted by one so that no 1 / concentration is lost to cancellation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Digammas {
    pub(crate) alpha_plus_1: f64,
    pub(crate) beta_plus_1: f64,
    pub(crate) sum: f64,
}

impl Digammas {
    #[inline]
    pub(crate) fn new(alpha: f64, beta: f64) -> Self {
        Self {
            alpha_plus_1: digamma(alpha + 1.0),
            beta_plus_1: digamma(beta + 1.0),
            sum: digamma(alpha + beta),
        }
    }
}

#[inline]
fn digamma_series(ln: f64, inverse: f64) -> f64 {
    let squared = inverse * inverse;
    ln - 0.5 * inverse - squared * polynomial(&DIGAMMA_SERIES, squared)
}

/// Returns the argument moved to Stirling's range, Π (x + k) and Σ 1 / (x + k) over the steps moved.
#[inline]
fn shift(x: f64) -> (f64, f64, f64) {
    if x >= STIRLING_FROM {
        return (x, 1.0, 0.0);
    }
    let steps: [f64; 8] = std::array::from_fn(|k| x + k as f64);
    let (product, reciprocals) = sum_of_reciprocals(&steps);
    (x + 8.0, product, reciprocals)
}

/// Returns Π v and Σ 1 / v over eight values, with one division.
#[inline]
fn sum_of_reciprocals(values: &[f64; 8]) -> (f64, f64) {
    let [a, b, c, d, e, f, g, h] = *values;
    let join = |(n0, d0): (f64, f64), (n1, d1): (f64, f64)| (n0 * d1 + n1 * d0, d0 * d1);
    let low = join((a + b, a * b), (c + d, c * d));
    let high = join((e + f, e * f), (g + h, g * h));
    let (numerator, product) = join(low, high);
    (product, numerator / product)
}

#[inline]
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients
        .iter()
        .rev()
        .fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative to max(1, |expected|): a few rounding errors of double precision.
    const TOLERANCE: f64 = 2e-14;

    fn assert_close(what: &str, found: f64, expected: f64) {
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(
            error <= TOLERANCE,
            "{what}: {found} is not {expected}, error {error:e}"
        );
    }

    // Expected values: mpmath 1.3 at 40 digits, `loggamma(x)`, `psi(0, x)`, `psi(1, x)`.
    const CASES: [(f64, f64, f64, f64); 15] = [
        (
            1e-08,
            18.42068073818021,
            -100000000.57721564,
            1.0000000000000002e+16,
        ),
        (
            0.0001,
            9.210282658633963,
            -10000.577051183514,
            100000001.64469367,
        ),
        (
            0.03125,
            3.4484891277979584,
            -32.526953288606116,
            1025.5728544782378,
        ),
        (
            0.5,
            0.5723649429247001,
            -1.9635100260214235,
            4.934802200544679,
        ),
        (1.0, 0.0, -0.5772156649015329, 1.6449340668482264),
        (
            1.4616321449683622,
            -0.12148629053584961,
            -9.241265521729427e-17,
            0.9676722454476212,
        ),
        (2.0, 0.0, 0.42278433509846713, 0.6449340668482264),
        (
            3.75,
            1.486815578593417,
            1.1825373886117962,
            0.3053398526902531,
        ),
        (
            7.984375,
            8.493683226314115,
            2.013559048516728,
            0.1334141452909962,
        ),
        (8.0, 8.525161361065415, 2.01564147795561, 0.1331370146940314),
        (
            12.5,
            18.734347511936445,
            2.4851956512749123,
            0.08328522460157838,
        ),
        (
            100.0,
            359.1342053695754,
            4.600161852738087,
            0.010050166663333571,
        ),
        (
            12345.678,
            103959.91990554606,
            9.421020820741761,
            8.100328723111207e-05,
        ),
        (
            1000000.0,
            12815504.569147611,
            13.815510057964191,
            1.0000005000001667e-06,
        ),
        (
            10000000000.0,
            220258509288.81058,
            23.025850929890456,
            1.00000000005e-10,
        ),
    ];

    #[test]
    fn gamma_functions_agree_with_mpmath() {
        for (x, ln_gamma, psi, psi1) in CASES {
            let (found_ln_gamma, found_psi) = ln_gamma_and_digamma(x);
            assert_close(&format!("ln_gamma({x})"), found_ln_gamma, ln_gamma);
            assert_close(&format!("digamma({x})"), found_psi, psi);
            assert_close(&format!("digamma({x}) alone"), digamma(x), psi);
            assert_close(&format!("trigamma({x})"), trigamma(x), psi1);
        }
    }

    #[test]
    fn ln_gamma_agrees_with_libm() {
        for k in -320..=320 {
            let x = 10f64.powf(f64::from(k) / 40.0);
            assert_close(
                &format!("ln_gamma({x})"),
                ln_gamma_and_digamma(x).0,
                libm::lgamma(x),
            );
        }
    }

    #[test]
    fn digamma_difference_keeps_relative_precision_for_small_steps() {
        // step * psi1(x) + step^2 / 2 * psi2(x) with psi1(1) = π²/6, psi2(1) = -2 ζ(3).
        for step in [1e-12, 1e-8, 1e-6] {
            let expected =
                step * (std::f64::consts::PI.powi(2) / 6.0) - step * step * 1.202_056_903_159_594;
            let found = digamma_difference(1.0, step);
            assert!(
                (found / expected - 1.0).abs() < 1e-11,
                "{found} is not {expected}"
            );
        }
        assert_close(
            "digamma_difference(1, 1)",
            digamma_difference(1.0, 1.0),
            1.0,
        );
    }
}
