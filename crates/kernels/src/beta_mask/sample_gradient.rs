//! How a Beta sample moves with its concentrations while its quantile stays: implicit reparameterisation.
//!
//! With F the distribution function and f the density, dz/dalpha = -(dF/dalpha) / f, and the same for beta
//! (Figurnov, Mohamed & Mnih 2018). Two methods cover every sample and every pair of concentrations:
//! a power series where the integrand has at most a few terms' worth of structure between the sample and its
//! nearer end, and 24-point quadrature of the tail on the sample's side elsewhere. `docs/kernels/beta_mask.md`
//! derives both and records their error.

use super::gamma_functions::{Digammas, digamma_difference};
use super::vector_math::{exp, exp_m1, ln_1p};
use crate::lanes::Simd;
use crate::simd_level::{SimdLevel, for_each_simd_level};

/// The series serves where (nearer distance to 0 or 1) * (opposite concentration) is below this: its terms are
/// then below e^2, and above it the quadrature's integrand has no singularity near its interval.
const SERIES_BELOW: f64 = 2.0;
/// Terms after which the series stops in any case; at a distance of one half it needs about 55.
const SERIES_TERMS: usize = 128;
/// The series stops once a term is this small; the first is 1.
const SERIES_TOLERANCE: f64 = 1e-16;
/// The quadrature ends where the integrand has fallen by e^-DEPTH.
const DEPTH: f64 = 26.0;
/// Nodes of the quadrature, a multiple of every vector width.
pub(super) const NODES: usize = 24;
/// Nodes of 24-point Gauss-Legendre quadrature on [0, 1]; mpmath 1.3, roots of `legendre(24, 2x - 1)`.
pub(super) const NODE: [f64; NODES] = [
    0.00240639000148932,
    0.012635722014345251,
    0.030862723998633622,
    0.056792236497799485,
    0.08999900701304854,
    0.12993790421072282,
    0.17595317403151223,
    0.22728926430558022,
    0.2831032461869774,
    0.3424786601519183,
    0.40444056626319186,
    0.4679715535686972,
    0.5320284464313028,
    0.5955594337368082,
    0.6575213398480817,
    0.7168967538130225,
    0.7727107356944197,
    0.8240468259684878,
    0.8700620957892772,
    0.9100009929869515,
    0.9432077635022005,
    0.9691372760013663,
    0.9873642779856547,
    0.9975936099985107,
];
/// Weights that go with [`NODE`].
pub(super) const WEIGHT: [f64; NODES] = [
    0.0061706148999936,
    0.014265694314466832,
    0.022138719408709904,
    0.02964929245771839,
    0.03667324070554015,
    0.04309508076597664,
    0.04880932605205694,
    0.05372213505798282,
    0.0577528340268628,
    0.060835236463901696,
    0.06291872817341415,
    0.06396909767337608,
    0.06396909767337608,
    0.06291872817341415,
    0.060835236463901696,
    0.0577528340268628,
    0.05372213505798282,
    0.04880932605205694,
    0.04309508076597664,
    0.03667324070554015,
    0.02964929245771839,
    0.022138719408709904,
    0.014265694314466832,
    0.0061706148999936,
];

/// A number strictly between 0 and 1 with its distance to 1 and both logarithms, each to full precision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct UnitPoint {
    /// Distance to 0: the number.
    pub(crate) low: f64,
    /// Distance to 1.
    pub(crate) high: f64,
    /// Logarithm of `low`.
    pub(crate) ln_low: f64,
    /// Logarithm of `high`.
    pub(crate) ln_high: f64,
}

impl UnitPoint {
    /// Nearest a point comes to 0 or to 1: the smallest normal single-precision number.
    pub(crate) const MARGIN: f64 = f32::MIN_POSITIVE as f64;
    /// Logit of `1 - MARGIN`, 126 ln 2.
    const MARGIN_LOGIT: f64 = 126.0 * std::f64::consts::LN_2;

    /// Returns the point with this logit, held [`UnitPoint::MARGIN`] away from 0 and 1.
    #[inline]
    pub(crate) fn from_logit(logit: f64) -> Self {
        let logit = logit.clamp(-Self::MARGIN_LOGIT, Self::MARGIN_LOGIT);
        let odds = libm::exp(-logit.abs());
        let ln_near_one = -libm::log1p(odds);
        let (near_one, near_zero) = (1.0 / (1.0 + odds), odds / (1.0 + odds));
        let ln_near_zero = ln_near_one - logit.abs();
        if logit < 0.0 {
            Self {
                low: near_zero,
                high: near_one,
                ln_low: ln_near_zero,
                ln_high: ln_near_one,
            }
        } else {
            Self {
                low: near_one,
                high: near_zero,
                ln_low: ln_near_one,
                ln_high: ln_near_zero,
            }
        }
    }

    /// Returns the point `value`, held [`UnitPoint::MARGIN`] away from 0 and one part in 2^24 from 1.
    #[inline]
    pub(crate) fn from_value(value: f64) -> Self {
        let low = value.clamp(Self::MARGIN, f64::from(Self::LARGEST));
        Self {
            low,
            high: 1.0 - low,
            ln_low: libm::log(low),
            ln_high: libm::log1p(-low),
        }
    }

    /// The largest single-precision number below 1.
    pub(crate) const LARGEST: f32 = 1.0 - f32::EPSILON / 2.0;

    /// Rounds to the nearest single-precision number strictly between 0 and 1; NaN stays.
    #[inline]
    pub(crate) fn clamp_single(value: f64) -> f32 {
        (value as f32).clamp(f32::MIN_POSITIVE, Self::LARGEST)
    }

    #[inline]
    fn mirrored(self) -> Self {
        Self {
            low: self.high,
            high: self.low,
            ln_low: self.ln_high,
            ln_high: self.ln_low,
        }
    }
}

/// Computes the gradient of Beta samples; finds out once what the machine can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleGradient {
    level: SimdLevel,
}

impl SampleGradient {
    /// Detects the machine's vectors.
    pub(crate) fn new() -> Self {
        Self {
            level: SimdLevel::detect(),
        }
    }

    /// Returns (dz/dalpha, dz/dbeta) of the sample `z` of Beta(`alpha`, `beta`); NaN in, NaN out.
    #[inline]
    pub(crate) fn at(&self, z: UnitPoint, alpha: f64, beta: f64) -> (f64, f64) {
        let psi = Digammas::new(alpha, beta);
        if z.low <= 0.5 {
            self.in_lower_half(z, alpha, beta, psi)
        } else {
            let psi = Digammas {
                alpha_plus_1: psi.beta_plus_1,
                beta_plus_1: psi.alpha_plus_1,
                sum: psi.sum,
            };
            let (dbeta, dalpha) = self.in_lower_half(z.mirrored(), beta, alpha, psi);
            (-dalpha, -dbeta)
        }
    }

    #[inline]
    fn in_lower_half(&self, z: UnitPoint, alpha: f64, beta: f64, psi: Digammas) -> (f64, f64) {
        if z.low * beta.max(1.0) < SERIES_BELOW {
            return series(z, alpha, beta, psi);
        }
        // ψ(x) = ψ(x + 1) - 1 / x; here beta > 4, and alpha is small only where its own term dominates.
        let psi_alpha = psi.alpha_plus_1 - 1.0 / alpha - psi.sum;
        let psi_beta = psi.beta_plus_1 - 1.0 / beta - psi.sum;
        if alpha * z.high > beta * z.low {
            self.tail(z, alpha, beta, psi_alpha, psi_beta)
        } else {
            let (dbeta, dalpha) = self.tail(z.mirrored(), beta, alpha, psi_beta, psi_alpha);
            (-dalpha, -dbeta)
        }
    }

    /// Integrates from 0 to z; `psi_a` is ψ(a) - ψ(a + b), `psi_b` is ψ(b) - ψ(a + b).
    ///
    /// With t = z e^-y, f(t) dt / f(z) = -z e^E dy, E = -a y + (b - 1) ln((1 - t) / (1 - z)).
    #[inline]
    fn tail(&self, z: UnitPoint, a: f64, b: f64, psi_a: f64, psi_b: f64) -> (f64, f64) {
        let odds = z.low / z.high;
        let integrand = TailIntegrand {
            a,
            b_minus_1: b - 1.0,
            odds,
        };
        let end = integrand.end();
        let mut sums = [0.0; 3];
        integrate(self.level, integrand, end, &mut sums);
        let [area, area_y, area_ln] = sums;
        let scale = -z.low;
        (
            scale * (area * (z.ln_low - psi_a) - area_y),
            scale * (area * (z.ln_high - psi_b) + area_ln),
        )
    }
}

#[derive(Debug, Clone, Copy)]
struct TailIntegrand {
    a: f64,
    b_minus_1: f64,
    odds: f64,
}

impl TailIntegrand {
    /// Returns about the y at which E falls to -[`DEPTH`]: the root of the quadratic through E's value, slope
    /// and curvature at 0, improved by two Newton steps. The root needs no precision, only the integral to it.
    #[inline]
    fn end(&self) -> f64 {
        let slope = self.a - self.b_minus_1 * self.odds;
        let curvature = self.b_minus_1 * self.odds * (1.0 + self.odds);
        let discriminant = (slope * slope + 2.0 * DEPTH * curvature).max(0.0);
        let mut y = (2.0 * DEPTH / (slope + discriminant.sqrt())).min(600.0);
        for _ in 0..2 {
            let shrink = exp_m1(-y);
            let growth = -self.odds * shrink;
            let fall = self.a * y - self.b_minus_1 * ln_1p(growth);
            let slope = self.a - self.b_minus_1 * self.odds * (1.0 + shrink) / (1.0 + growth);
            let next = y - (fall - DEPTH) / slope;
            if next > 0.0 && next < 600.0 {
                y = next;
            }
        }
        y
    }
}

for_each_simd_level! {
    /// Sets `sums` to ∫ e^E dy, ∫ y e^E dy and ∫ ln((1 - t) / (1 - z)) e^E dy over [0, `end`].
    ///
    /// Multiplications and additions stay apart and sums keep their order, so every level gives the same bits.
    fn integrate(integrand: TailIntegrand, end: f64, sums: &mut [f64; 3]) = integrate_body
}

#[inline(always)]
fn integrate_body(_simd: impl Simd, integrand: TailIntegrand, end: f64, sums: &mut [f64; 3]) {
    let mut terms = [[0.0; NODES]; 3];
    for k in 0..NODES {
        let y = end * NODE[k];
        let ln_ratio = ln_1p(-integrand.odds * exp_m1(-y));
        let exponent = integrand.b_minus_1 * ln_ratio - integrand.a * y;
        let density = WEIGHT[k] * exp(exponent.clamp(-700.0, 0.0));
        terms[0][k] = density;
        terms[1][k] = density * y;
        terms[2][k] = density * ln_ratio;
    }
    for (sum, term) in sums.iter_mut().zip(terms) {
        let mut lanes = [0.0; 8];
        for k in 0..NODES {
            lanes[k % 8] += term[k];
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        *sum = end * (((a + e) + (b + f)) + ((c + g) + (d + h)));
    }
}

/// Sums the power series of the incomplete Beta function and of its derivatives, for z <= 1/2.
///
/// With c_n = (1 - β)_n / n! z^n: ∫_0^z t^(α-1) (1-t)^(β-1) dt = z^α Σ c_n / (α + n). The n = 0 term, which
/// alone is singular at α = 0, is kept apart and combined with ψ(α) by hand, so that nothing cancels there.
#[inline]
fn series(z: UnitPoint, alpha: f64, beta: f64, psi: Digammas) -> (f64, f64) {
    let log_term = z.ln_low - psi.alpha_plus_1 + psi.sum;
    // ψ(α + β) - ψ(β)
    let psi_rise = digamma_difference(beta, alpha);
    let (mut c, mut dc) = (1.0, 0.0);
    let (mut sum_alpha, mut sum_beta, mut sum) = (log_term, 0.0, 1.0);
    for n in 1..SERIES_TERMS {
        let n = n as f64;
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
    let scale = -z.low * libm::exp((1.0 - beta) * z.ln_high) / alpha;
    (scale * sum_alpha, scale * (sum_beta + psi_rise * sum))
}

#[cfg(test)]
mod tests {
    use super::super::golden::{assert_close, golden};
    use super::super::reference::sample_gradient_reference;
    use super::*;
    use crate::random::PositionStream;

    const IMPLICIT: &[u8] = include_bytes!("../../tests/golden/beta_implicit_grad.safetensors");

    #[test]
    fn integrate_gives_the_same_bits_at_every_simd_level() {
        for (a, b, odds) in [
            (12.0, 20.0, 0.5),
            (1e-8, 5.0, 0.9),
            (1e6, 3e5, 1e-3),
            (1.0, 1e6, 0.01),
        ] {
            let integrand = TailIntegrand {
                a,
                b_minus_1: b - 1.0,
                odds,
            };
            let bits = SimdLevel::available().into_iter().map(|level| {
                let mut sums = [0.0; 3];
                integrate(level, integrand, integrand.end(), &mut sums);
                sums.map(f64::to_bits)
            });
            let bits: Vec<_> = bits.collect();
            assert!(bits.iter().all(|other| *other == bits[0]), "{integrand:?}");
        }
    }

    #[test]
    fn sample_gradient_agrees_with_golden_over_its_range() {
        /// 24-point quadrature at its worst, where the tail ends in a corner.
        const QUADRATURE: f64 = 1e-9;
        let [alpha, beta, z, dalpha, dbeta] =
            ["alpha", "beta", "z", "exact.dz_dalpha", "exact.dz_dbeta"]
                .map(|name| golden(IMPLICIT, name));
        let gradient = SampleGradient::new();
        let mut n_possible = 0;
        for index in 0..z.len() {
            let point = UnitPoint {
                ln_low: z[index].ln(),
                ln_high: (-z[index]).ln_1p(),
                low: z[index],
                high: 1.0 - z[index],
            };
            let (a, b) = (alpha[index], beta[index]);
            let fast = gradient.at(point, a, b);
            assert!(
                fast.0.is_finite() && fast.1.is_finite(),
                "Beta({a}, {b}) at {}",
                z[index]
            );
            if dalpha[index].is_nan() {
                continue;
            }
            n_possible += 1;
            let expected = [dalpha[index], dbeta[index]];
            let what = format!("Beta({a}, {b}) at {}", z[index]);
            assert_close(&what, &[fast.0, fast.1], &expected, QUADRATURE, 0.0);
            let slow = sample_gradient_reference(z[index], 1.0 - z[index], a, b);
            assert_close(
                &format!("{what}, reference"),
                &[slow.0, slow.1],
                &expected,
                1e-10,
                0.0,
            );
        }
        assert_eq!(n_possible, 1235);
    }

    #[test]
    fn sample_gradient_agrees_with_reference_far_beyond_the_golden() {
        // Concentrations from 1e-8 to 1e6, samples of them and points that no sample reaches.
        let gradient = SampleGradient::new();
        let mut stream = PositionStream::new(7, 0);
        for index in 0..3000 {
            let mut concentration = || 10f64.powf(-8.0 + 14.0 * stream.sample_uniform());
            let (alpha, beta) = (concentration(), concentration());
            let logit = if index % 4 == 0 {
                200.0 * (stream.sample_uniform() - 0.5)
            } else {
                PositionStream::new(3, index).sample_beta_logit(alpha, beta)
            };
            let point = UnitPoint::from_logit(logit);
            let fast = gradient.at(point, alpha, beta);
            let slow = sample_gradient_reference(point.low, point.high, alpha, beta);
            // Below the smallest single-precision number neither matters.
            assert_close(
                &format!("Beta({alpha:e}, {beta:e}) at {:e}", point.low),
                &[fast.0, fast.1],
                &[slow.0, slow.1],
                1e-8,
                1e-45,
            );
        }
    }

    #[test]
    fn sample_gradient_keeps_the_quantile() {
        // statrs' regularised incomplete Beta function: F(z + dz, alpha + h) = F(z, alpha).
        const STEP: f64 = 1e-5;
        let cdf = |alpha: f64, beta: f64, z: f64| statrs::function::beta::beta_reg(alpha, beta, z);
        let quantile = |alpha: f64, beta: f64, target: f64| {
            let (mut low, mut high) = (0.0, 1.0);
            for _ in 0..200 {
                let middle = 0.5 * (low + high);
                if cdf(alpha, beta, middle) < target {
                    low = middle
                } else {
                    high = middle
                }
            }
            0.5 * (low + high)
        };
        for (alpha, beta, z) in [
            (12.0, 20.0, 0.4),
            (0.7, 1.3, 0.1),
            (0.7, 1.3, 0.9),
            (35.0, 2.5, 0.95),
            (3.0, 150.0, 0.02),
        ] {
            let target = cdf(alpha, beta, z);
            let (ha, hb) = (STEP * alpha, STEP * beta);
            let expected = [
                (quantile(alpha + ha, beta, target) - quantile(alpha - ha, beta, target))
                    / (2.0 * ha),
                (quantile(alpha, beta + hb, target) - quantile(alpha, beta - hb, target))
                    / (2.0 * hb),
            ];
            let found = SampleGradient::new().at(UnitPoint::from_value(z), alpha, beta);
            assert_close(
                &format!("Beta({alpha}, {beta}) at {z}"),
                &[found.0, found.1],
                &expected,
                1e-6,
                0.0,
            );
        }
    }
}
