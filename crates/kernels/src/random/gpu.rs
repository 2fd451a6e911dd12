//! The counter-based draws in device kernels: the uniform bits are those of the CPU, what is made of them differs by
//! rounding to single precision.

#![allow(
    clippy::manual_is_multiple_of,
    reason = "kernels are written in what CubeCL translates"
)]

use cubecl::prelude::*;

use super::{PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL};
use crate::device_math::{TWO_TO_MINUS_32, ln, ln_1p, sincos_turn};

const MULTIPLIER_0: u32 = PHILOX_MULTIPLIERS[0];
const MULTIPLIER_1: u32 = PHILOX_MULTIPLIERS[1];
const WEYL_0: u32 = PHILOX_WEYL[0];
const WEYL_1: u32 = PHILOX_WEYL[1];
/// Attempts at a Gamma draw; each fails with a probability of at most 5 %, so that 64 failures are not to be seen. The
/// bound ends the loop where NaN would not.
const MAX_ATTEMPTS: u32 = 64;
/// 2^-53 and half of it: one of 2^53 cells of the unit interval, and its middle.
const CELL: f32 = 1.110_223e-16;
/// Below this the fourth and higher terms of ln(1 + w) are summed as a series.
const SERIES_BELOW: f32 = 0.25;
/// Highest power of that series.
const SERIES_POWER: u32 = 13;

/// The two words of uniform number `index` in the stream of `position` under the seed (`key0`, `key1`).
#[cube]
fn uniform_words(key0: u32, key1: u32, position: u32, index: u32) -> (u32, u32) {
    let mut c0 = position;
    let mut c1 = 0u32.runtime();
    let mut c2 = index / 2;
    let mut c3 = 0u32.runtime();
    let mut k0 = key0;
    let mut k1 = key1;
    #[unroll]
    for _ in 0..PHILOX_ROUNDS {
        let high0 = c0.mul_hi(MULTIPLIER_0);
        let low0 = c0 * MULTIPLIER_0;
        let high1 = c2.mul_hi(MULTIPLIER_1);
        let low1 = c2 * MULTIPLIER_1;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    let is_first = index % 2 == 0;
    (select(is_first, c0, c2), select(is_first, c1, c3))
}

/// The uniform number of two words: the middle of one of 2^53 cells of (0, 1).
#[cube]
fn unit(low: u32, high: u32) -> f32 {
    f32::cast_from(high) * TWO_TO_MINUS_32 + f32::cast_from(low >> 11) * CELL + 0.5 * CELL
}

/// The logarithm of the uniform number of two words, also where that rounds to 1.
#[cube]
fn ln_uniform(low: u32, high: u32) -> f32 {
    let is_low = high < 0x8000_0000;
    let near_zero = select(is_low, unit(low, high), 1.0f32);
    // 1 - u is the uniform number of the complementary bits.
    let below_one = select(is_low, 0.0f32, unit(!low, !high));
    select(is_low, ln(near_zero), ln_1p(-below_one))
}

/// ln(1 + `w`) - w + w^2 / 2 - w^3 / 3, for `w` above -1.
#[cube]
fn ln_1p_beyond_cubic(w: f32) -> f32 {
    let mut series = 0.0f32;
    #[unroll]
    for k in 0..SERIES_POWER - 3 {
        series = 1.0 / f32::cast_from(SERIES_POWER - k) - w * series;
    }
    select(
        w.abs() < SERIES_BELOW,
        -(w * w * w * w) * series,
        ln_1p(w) - w + w * w * (0.5 - w * comptime!(1.0f32 / 3.0)),
    )
}

/// The logit of a sample of Beta(`alpha`, `beta`), as [`super::PositionStream::sample_beta_logit`]; NaN of NaN.
///
/// The acceptance test of Marsaglia & Tsang is written without its cancellation: with w = c x,
/// x^2 / 2 + d (1 - v + ln v) = 3 d (ln(1 + w) - w + w^2 / 2 - w^3 / 3).
#[cube]
pub(crate) fn sample_beta_logit(alpha: f32, beta: f32, key0: u32, key1: u32, position: u32) -> f32 {
    let mut index = 0u32.runtime();
    let mut second_normal = 0.0f32.runtime();
    let mut has_second = false.runtime();
    let mut boost = 0.0f32.runtime();
    let mut ratio = 1.0f32.runtime();
    for which in 0..2u32 {
        let is_first = which == 0;
        let concentration = select(is_first, alpha, beta);
        let is_small = concentration < 1.0;
        let d = select(is_small, concentration + 1.0, concentration) - comptime!(1.0f32 / 3.0);
        let c = 1.0 / (d * 9.0).sqrt();
        let mut gamma = d;
        for _ in 0..MAX_ATTEMPTS {
            let mut x = second_normal;
            if !has_second {
                let (low0, high0) = uniform_words(key0, key1, position, index);
                let (low1, high1) = uniform_words(key0, key1, position, index + 1);
                index += 2;
                let radius = (ln_uniform(low0, high0) * -2.0f32).sqrt();
                let (sin, cos) = sincos_turn(low1, high1);
                second_normal = radius * sin;
                x = radius * cos;
            }
            has_second = !has_second;
            let w = c * x;
            let root = 1.0 + w;
            if root > 0.0 {
                let (low, high) = uniform_words(key0, key1, position, index);
                index += 1;
                if ln_uniform(low, high) < d * 3.0 * ln_1p_beyond_cubic(w) {
                    gamma = d * root * root * root;
                    break;
                }
            }
        }
        ratio = select(is_first, gamma, ratio / gamma);
        if is_small {
            let (low, high) = uniform_words(key0, key1, position, index);
            index += 1;
            let share = ln_uniform(low, high) / concentration;
            boost += select(is_first, share, -share);
        }
    }
    ln(ratio) + boost
}
