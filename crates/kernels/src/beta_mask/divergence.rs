//! The Kullback-Leibler divergence of a Beta distribution from a fixed one, with its gradient.

use super::gamma_functions::{ln_gamma_and_digamma, trigamma};

/// The fixed distribution Beta(`alpha`, `beta`) that the mask is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marginal {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) ln_beta: f64,
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

#[cfg(test)]
mod tests {
    use super::super::golden::{assert_close, golden};
    use super::super::reference::divergence_reference;
    use super::*;

    const KL: &[u8] = include_bytes!("../../tests/golden/beta_kl.safetensors");

    #[test]
    fn divergence_agrees_with_golden() {
        // The golden gradients are PyTorch's in double precision, whose trigamma is off by up to 4e-7.
        const TORCH_TRIGAMMA: f64 = 1e-6;
        let (alpha, beta) = (golden(KL, "alpha"), golden(KL, "beta"));
        for case in [
            "hard_0.1_0.12222",
            "soft_10_90",
            "uniform_1_1",
            "sharp_100_900",
        ] {
            let marginal = golden(KL, &format!("{case}.marginal"));
            let marginal = (marginal[0], marginal[1]);
            let fast = Marginal::new(marginal);
            let pairs = || alpha.iter().copied().zip(beta.iter().copied());
            let exact = golden(KL, &format!("exact.{case}.kl"));
            let found: Vec<f64> = pairs().map(|(a, b)| fast.divergence_of(a, b)).collect();
            assert_close(case, &found, &exact, 1e-11, 1e-11);
            let found: Vec<f64> = pairs()
                .map(|(a, b)| divergence_reference(a, b, marginal))
                .collect();
            assert_close(&format!("{case}, reference"), &found, &exact, 1e-11, 1e-11);
            let (dalpha, dbeta): (Vec<f64>, Vec<f64>) =
                pairs().map(|(a, b)| fast.divergence_gradient(a, b)).unzip();
            for (name, found) in [("dalpha", dalpha), ("dbeta", dbeta)] {
                let expected = golden(KL, &format!("f64.{case}.{name}"));
                assert_close(
                    &format!("{case} {name}"),
                    &found,
                    &expected,
                    TORCH_TRIGAMMA,
                    1e-9,
                );
            }
        }
    }

    #[expect(
        clippy::excessive_precision,
        reason = "17 digits, as the other program printed them"
    )]
    #[test]
    fn divergence_gradient_agrees_with_mpmath() {
        // mpmath 1.3 at 30 digits, where PyTorch's golden is furthest off. The terms are 1e5 times their sum.
        const CANCELLATION: f64 = 1e-10;
        let marginal = Marginal::new((100.0, 900.0));
        let cases = [
            (
                (0.316_227_766_016_837_94, 1.0),
                (5.651_876_282_473_865, -365.147_123_229_530_34),
            ),
            (
                (0.01, 0.177_827_941_003_892_3),
                (-970_436.854_044_700_02, -0.261_501_420_469_736_5),
            ),
        ];
        for ((alpha, beta), (dalpha, dbeta)) in cases {
            let found = marginal.divergence_gradient(alpha, beta);
            assert_close(
                "divergence gradient",
                &[found.0, found.1],
                &[dalpha, dbeta],
                CANCELLATION,
                0.0,
            );
        }
    }
}
