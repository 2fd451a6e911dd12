//! How a Beta sample moves with its concentrations, in single precision: the methods of
//! [`super::super::sample_gradient`], with differences of digammas taken as such.

use cubecl::prelude::*;

use super::gamma_functions::{digamma_difference, gamma_remainders};
use crate::device_math::{exp, exp_m1, held_between, ln, ln_1p};

/// As on the CPU: the series serves where (nearer distance to 0 or 1) * (opposite concentration) is below this.
const SERIES_BELOW: f32 = 2.0;
/// Terms after which the series stops in any case; at a distance of one half it needs about 30.
const SERIES_TERMS: u32 = 64;
/// The series stops once a term is this small; the first is 1.
const SERIES_TOLERANCE: f32 = 1e-9;
/// The quadrature ends where the integrand has fallen by e^-DEPTH, below half a unit in the last place.
const DEPTH: f32 = 17.0;
/// Exponents and ends of the quadrature are held to this.
const REACH: f32 = 80.0;
/// Nearest a point comes to 0: the smallest normal number.
const SMALLEST: f32 = f32::MIN_POSITIVE;
/// The largest number below 1.
pub(super) const LARGEST: f32 = 0.999_999_94;
/// Largest size of a logit, 126 ln 2.
const LOGIT_REACH: f32 = 87.336_54;

/// A number strictly between 0 and 1 with its distance to 1 and both logarithms, each to full precision.
#[derive(CubeType, Clone, Copy)]
pub(super) struct DevicePoint {
    pub(super) low: f32,
    high: f32,
    ln_low: f32,
    ln_high: f32,
}

/// Holds a value strictly between 0 and 1.
#[cube]
pub(super) fn held(value: f32) -> f32 {
    held_between(value, SMALLEST, LARGEST)
}

/// The point of a logit.
#[cube]
pub(super) fn point_of_logit(logit: f32) -> DevicePoint {
    let size = select(logit.abs() > LOGIT_REACH, LOGIT_REACH, logit.abs());
    let odds = exp(-size);
    let ln_near_one = -ln_1p(odds);
    let near_one = 1.0 / (1.0 + odds);
    let near_zero = odds / (1.0 + odds);
    let ln_near_zero = ln_near_one - size;
    let is_low = logit < 0.0;
    DevicePoint {
        low: select(is_low, near_zero, near_one),
        high: select(is_low, near_one, near_zero),
        ln_low: select(is_low, ln_near_zero, ln_near_one),
        ln_high: select(is_low, ln_near_one, ln_near_zero),
    }
}

/// The point `value`.
#[cube]
pub(super) fn point_of_value(value: f32) -> DevicePoint {
    let low = held(value);
    let high = 1.0 - low;
    let is_low = low < 0.5;
    DevicePoint {
        low,
        high,
        ln_low: select(is_low, ln(low), ln_1p(-select(is_low, 0.5f32, high))),
        ln_high: ln_1p(-low),
    }
}

/// The point as seen from the other end where `is_other`.
#[cube]
fn seen_from(point: &DevicePoint, is_other: bool) -> DevicePoint {
    DevicePoint {
        low: select(is_other, point.high, point.low),
        high: select(is_other, point.low, point.high),
        ln_low: select(is_other, point.ln_high, point.ln_low),
        ln_high: select(is_other, point.ln_low, point.ln_high),
    }
}

/// Returns dz/dalpha and dz/dbeta of the sample `z` of Beta(`alpha`, `beta`); `rule` holds the nodes, then the weights,
/// of `n_nodes`-point quadrature on [0, 1] from `rule_start` on.
#[cube]
pub(super) fn gradient_of_sample(
    z: &DevicePoint,
    alpha: f32,
    beta: f32,
    rule: &Tensor<f32>,
    #[comptime] rule_start: usize,
    #[comptime] n_nodes: usize,
) -> (f32, f32) {
    // Exchanging 0 and 1, and with them the concentrations, changes both signs.
    let is_upper = z.low > 0.5;
    let near = seen_from(z, is_upper);
    let a = select(is_upper, beta, alpha);
    let b = select(is_upper, alpha, beta);
    let (for_a, for_b) = if near.low * select(b > 1.0, b, 1.0f32) < SERIES_BELOW {
        series(&near, a, b)
    } else {
        let is_other = a * near.high <= b * near.low;
        let side = seen_from(&near, is_other);
        let (da, db) = tail(
            &side,
            select(is_other, b, a),
            select(is_other, a, b),
            rule,
            rule_start,
            n_nodes,
        );
        (select(is_other, -db, da), select(is_other, -da, db))
    };
    (
        select(is_upper, -for_b, for_a),
        select(is_upper, -for_a, for_b),
    )
}

/// Sums the power series of the incomplete Beta function and of its derivatives, for z <= 1/2.
#[cube]
fn series(z: &DevicePoint, alpha: f32, beta: f32) -> (f32, f32) {
    let total = alpha + beta;
    let (_, e_total) = gamma_remainders(total);
    let (_, e_alpha) = gamma_remainders(alpha + 1.0);
    // ln z - ψ(α + 1) + ψ(α + β)
    let log_term = z.ln_low + ln(total / (alpha + 1.0)) + (e_total - e_alpha);
    let psi_rise = digamma_difference(beta, alpha);
    let mut c = 1.0f32.runtime();
    let mut dc = 0.0f32.runtime();
    let mut sum = 1.0f32.runtime();
    let mut sum_alpha = log_term;
    let mut sum_beta = 0.0f32.runtime();
    for k in 1..SERIES_TERMS {
        let n = f32::cast_from(k);
        let step = z.low / n;
        let ratio = (n - beta) * step;
        dc = dc * ratio - c * step;
        c *= ratio;
        let inverse = 1.0 / (alpha + n);
        let share = alpha * inverse;
        sum += c * share;
        sum_alpha += c * (share * log_term + n * inverse * inverse);
        sum_beta += dc * share;
        if c.abs() + dc.abs() < SERIES_TOLERANCE {
            break;
        }
    }
    let scale = -z.low * exp((1.0 - beta) * z.ln_high) / alpha;
    (scale * sum_alpha, scale * (sum_beta + psi_rise * sum))
}

/// Integrates from 0 to z: with t = z e^-y, f(t) dt / f(z) = -z e^E dy, E = (b - 1) ln((1 - t) / (1 - z)) - a y.
#[cube]
fn tail(
    z: &DevicePoint,
    a: f32,
    b: f32,
    rule: &Tensor<f32>,
    #[comptime] rule_start: usize,
    #[comptime] n_nodes: usize,
) -> (f32, f32) {
    let odds = z.low / z.high;
    let b_minus_1 = b - 1.0;
    let end = tail_end(a, b_minus_1, odds);
    let mut area = 0.0f32.runtime();
    let mut area_y = 0.0f32.runtime();
    let mut area_ln = 0.0f32.runtime();
    for k in 0..n_nodes {
        let y = end * rule[rule_start + k];
        let ln_ratio = ln_1p(-odds * exp_m1(-y));
        let exponent = b_minus_1 * ln_ratio - a * y;
        let density =
            rule[rule_start + n_nodes + k] * exp(select(exponent > 0.0, 0.0f32, exponent));
        area += density;
        area_y += density * y;
        area_ln += density * ln_ratio;
    }
    let scale = -z.low * end;
    // ln z - ψ(a) + ψ(a + b), and the same of 1 - z and b.
    let log_a = z.ln_low + digamma_difference(a, b);
    let log_b = z.ln_high + digamma_difference(b, a);
    (
        scale * (area * log_a - area_y),
        scale * (area * log_b + area_ln),
    )
}

/// Returns about the y at which the exponent falls to -[`DEPTH`], as on the CPU.
#[cube]
fn tail_end(a: f32, b_minus_1: f32, odds: f32) -> f32 {
    let slope = a - b_minus_1 * odds;
    let curvature = b_minus_1 * odds * (1.0 + odds);
    let discriminant = slope * slope + 2.0 * DEPTH * curvature;
    let root = select(discriminant > 0.0, discriminant, 0.0f32).sqrt();
    let first = 2.0 * DEPTH / (slope + root);
    let mut y = select(first < REACH, first, REACH);
    #[unroll]
    for _ in 0..2 {
        let shrink = exp_m1(-y);
        let growth = -odds * shrink;
        let fall = a * y - b_minus_1 * ln_1p(growth);
        let slope = a - b_minus_1 * odds * (1.0 + shrink) / (1.0 + growth);
        let next = y - (fall - DEPTH) / slope;
        y = select(next > 0.0 && next < REACH, next, y);
    }
    y
}
