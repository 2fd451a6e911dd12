//! The divergence from the marginal and its gradient in single precision.

use cubecl::prelude::*;

use super::gamma_functions::{gamma_remainders, trigamma, trigamma_differences};
use crate::device_math::{ln, ln_1p};

/// Returns KL(Beta(`alpha`, `beta`) || Beta(`alpha0`, `beta0`)); `ln_beta0` is ln B(alpha0, beta0).
///
/// With ln Γ(x) = x ln x - x + g(x) and ψ(x) = ln x + e(x), the terms in α ln α and β ln β, which grow without bound,
/// drop out and leave, with σ = α + β,
/// ln B(α0, β0) - α0 ln(α/σ) - β0 ln(β/σ) - g(α) - g(β) + g(σ) + (α - α0)(e(α) - e(σ)) + (β - β0)(e(β) - e(σ)).
#[cube]
pub(super) fn divergence_from_marginal(
    alpha: f32,
    beta: f32,
    alpha0: f32,
    beta0: f32,
    ln_beta0: f32,
) -> f32 {
    let sum = alpha + beta;
    let (g_alpha, e_alpha) = gamma_remainders(alpha);
    let (g_beta, e_beta) = gamma_remainders(beta);
    let (g_sum, e_sum) = gamma_remainders(sum);
    let alpha_is_less = alpha < beta;
    let less = select(alpha_is_less, alpha, beta) / sum;
    let (ln_less, ln_more) = (ln(less), ln_1p(-less));
    let ln_alpha = select(alpha_is_less, ln_less, ln_more);
    let ln_beta = select(alpha_is_less, ln_more, ln_less);
    (ln_beta0 - alpha0 * ln_alpha - beta0 * ln_beta) - ((g_alpha + g_beta) - g_sum)
        + ((alpha - alpha0) * (e_alpha - e_sum) + (beta - beta0) * (e_beta - e_sum))
}

/// Returns the derivatives of [`divergence_from_marginal`] with respect to `alpha` and `beta`.
///
/// (α - α0) ψ'(α) - (α - α0 + β - β0) ψ'(σ) = [α ψ'(α) - σ ψ'(σ)] - α0 [ψ'(α) - ψ'(σ)] + β0 ψ'(σ).
#[cube]
pub(super) fn divergence_gradient(alpha: f32, beta: f32, alpha0: f32, beta0: f32) -> (f32, f32) {
    let of_sum = trigamma(alpha + beta);
    let (fall_alpha, excess_alpha) = trigamma_differences(alpha, beta, of_sum);
    let (fall_beta, excess_beta) = trigamma_differences(beta, alpha, of_sum);
    (
        excess_alpha - alpha0 * fall_alpha + beta0 * of_sum,
        excess_beta - beta0 * fall_beta + alpha0 * of_sum,
    )
}
