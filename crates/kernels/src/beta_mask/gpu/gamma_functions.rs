//! What the divergence and the gradients need of the Gamma function in single precision: differences and remainders,
//! each taken before anything large can cancel.
//!
//! Arguments below [`SHIFT_BELOW`] are moved up by it with Γ(x + 1) = x Γ(x); Stirling's series with the terms written
//! out is exact to single precision there (the first term left out is at most 2e-8 relative).

use cubecl::prelude::*;

use crate::device_math::{ln, ln_1p};

/// From here on Stirling's series serves.
const SHIFT_BELOW: f32 = 4.0;
/// Steps by which smaller arguments are moved.
const SHIFT: u32 = 4;
/// ln √(2π); Abramowitz & Stegun 6.1.41.
const LN_SQRT_TAU: f32 = 0.918_938_5;

/// Returns ln Γ(x) - (x ln x - x) and ψ(x) - ln x of a positive `x`.
#[cube]
pub(super) fn gamma_remainders(x: f32) -> (f32, f32) {
    let is_small = x < SHIFT_BELOW;
    let y = select(is_small, x + SHIFT_BELOW, x);
    let u = 1.0 / y;
    let s = u * u;
    let ln_gamma_series = u
        * (comptime!(1.0f32 / 12.0)
            - s * (comptime!(1.0f32 / 360.0)
                - s * (comptime!(1.0f32 / 1260.0) - s * (comptime!(1.0f32 / 1680.0)))));
    let digamma_series = 0.5 * u
        + s * (comptime!(1.0f32 / 12.0)
            - s * (comptime!(1.0f32 / 120.0)
                - s * (comptime!(1.0f32 / 252.0) - s * (comptime!(1.0f32 / 240.0)))));
    let ln_y = ln(y);
    // x (x + 3) and (x + 1)(x + 2) have the same sum of factors.
    let a = x * (x + 3.0);
    let product = select(is_small, a * (a + 2.0), 1.0f32);
    let reciprocals = (x * 2.0 + 3.0) * (a * 2.0 + 2.0) / product;
    let rise = ln_1p(select(is_small, SHIFT_BELOW / x, 0.0f32));
    let moved = (x * rise + (ln_y * 3.5 - SHIFT_BELOW)) - ln(product);
    (
        select(is_small, moved, ln_y * -0.5f32) + LN_SQRT_TAU + ln_gamma_series,
        select(is_small, rise - reciprocals, 0.0f32) - digamma_series,
    )
}

/// Returns ψ(x + step) - ψ(x) of a positive `x` and `step`.
#[cube]
pub(super) fn digamma_difference(x: f32, step: f32) -> f32 {
    let mut sum = 0.0f32;
    let mut y = x;
    if x < SHIFT_BELOW {
        #[unroll]
        for k in 0..SHIFT {
            let at = x + f32::cast_from(k);
            sum += step / at / (at + step);
        }
        y = x + SHIFT_BELOW;
    }
    let u = 1.0 / y;
    let v = 1.0 / (y + step);
    let (su, sv) = (u * u, v * v);
    // The divided difference of s/12 - s²/120 + s³/252 - s⁴/240.
    let b3 = -comptime!(1.0f32 / 240.0);
    let b2 = comptime!(1.0f32 / 252.0) + su * b3;
    let b1 = -comptime!(1.0f32 / 120.0) + su * b2;
    let b0 = comptime!(1.0f32 / 12.0) + su * b1;
    let divided = b0 + sv * (b1 + sv * (b2 + sv * b3));
    sum + ln_1p(step * u) + step * u * v * (0.5 + (u + v) * divided)
}

/// Returns ψ'(x) of a positive `x`.
#[cube]
pub(super) fn trigamma(x: f32) -> f32 {
    let mut sum = 0.0f32;
    let mut y = x;
    if x < SHIFT_BELOW {
        #[unroll]
        for k in 0..SHIFT {
            let inverse = 1.0 / (x + f32::cast_from(k));
            sum += inverse * inverse;
        }
        y = x + SHIFT_BELOW;
    }
    let u = 1.0 / y;
    let s = u * u;
    let series = comptime!(1.0f32 / 6.0)
        - s * (comptime!(1.0f32 / 30.0)
            - s * (comptime!(1.0f32 / 42.0) - s * (comptime!(1.0f32 / 30.0))));
    sum + u + s * (0.5 + u * series)
}

/// Returns ψ'(x) - ψ'(x + step) and x ψ'(x) - (x + step) ψ'(x + step); `trigamma_above` is ψ'(x + step).
#[cube]
pub(super) fn trigamma_differences(x: f32, step: f32, trigamma_above: f32) -> (f32, f32) {
    let is_small = x < SHIFT_BELOW;
    let mut sum = 0.0f32;
    let mut y = x;
    if is_small {
        #[unroll]
        for k in 0..SHIFT {
            let at = x + f32::cast_from(k);
            let above = at + step;
            sum += step / at / above * (1.0 / at + 1.0 / above);
        }
        y = x + SHIFT_BELOW;
    }
    let u = 1.0 / y;
    let v = 1.0 / (y + step);
    let (su, sv) = (u * u, v * v);
    // The divided difference of s/6 - s²/30 + s³/42 - s⁴/30.
    let b3 = -comptime!(1.0f32 / 30.0);
    let b2 = comptime!(1.0f32 / 42.0) + su * b3;
    let b1 = -comptime!(1.0f32 / 30.0) + su * b2;
    let b0 = comptime!(1.0f32 / 6.0) + su * b1;
    let divided = b0 + sv * (b1 + sv * (b2 + sv * b3));
    let fall = step * u * v;
    let difference = sum + fall * (1.0 + 0.5 * (u + v) + su * b0 + v * (u + v) * divided);
    // x ψ'(x) is 1 + u/2 + s/6 - ...: where the argument was not moved, the ones cancel by hand.
    let product = select(
        is_small,
        x * difference - step * trigamma_above,
        fall * (0.5 + (u + v) * divided),
    );
    (difference, product)
}
