//! The Kullback-Leibler divergence of a Beta distribution from a fixed one, with its gradient.

use super::gamma_functions::{ln_gamma_and_digamma, trigamma};

/// The fixed distribution Beta(`alpha`, `beta`) that the mask is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marginal {
    alpha: f64,
    beta: f64,
    ln_beta: f64,
}

impl Marginal {
    /// Prepares Beta(`alpha`, `beta`); both positive.
    pub(crate) fn new((alpha, beta): (f64, f64)) -> Self {
        let ln_gamma = |x| ln_gamma_and_digamma(x).0;
        Self {
            alpha,
            beta,
            ln_beta: ln_gamma(alpha) + ln_gamma(beta) - ln_gamma(alpha + beta),
        }
    }

    /// Returns KL(Beta(`alpha`, `beta`) || self), in nats.
    ///
    /// ln B(α0, β0) - ln B(α, β) + (α - α0) ψ(α) + (β - β0) ψ(β) + (α0 - α + β0 - β) ψ(α + β)
    #[inline]
    pub(crate) fn divergence_of(&self, alpha: f64, beta: f64) -> f64 {
        let (ln_gamma_alpha, digamma_alpha) = ln_gamma_and_digamma(alpha);
        let (ln_gamma_beta, digamma_beta) = ln_gamma_and_digamma(beta);
        let (ln_gamma_sum, digamma_sum) = ln_gamma_and_digamma(alpha + beta);
        let ln_beta = ln_gamma_alpha + ln_gamma_beta - ln_gamma_sum;
        // Grouped by difference of digammas: each product is then small where the concentrations are large.
        (self.ln_beta - ln_beta)
            + (alpha - self.alpha) * (digamma_alpha - digamma_sum)
            + (beta - self.beta) * (digamma_beta - digamma_sum)
    }

    /// Returns the derivatives of [`Marginal::divergence_of`] with respect to `alpha` and `beta`.
    ///
    /// (α - α0) ψ'(α) - (α - α0 + β - β0) ψ'(α + β), and the same with β.
    #[inline]
    pub(crate) fn divergence_gradient(&self, alpha: f64, beta: f64) -> (f64, f64) {
        let (excess_alpha, excess_beta) = (alpha - self.alpha, beta - self.beta);
        let common = (excess_alpha + excess_beta) * trigamma(alpha + beta);
        (
            excess_alpha * trigamma(alpha) - common,
            excess_beta * trigamma(beta) - common,
        )
    }
}
