//! The definition of the Beta mask: plain loops in double precision, gradients by quadrature of their integrals.
//!
//! Nothing is shared with the fast path but the random stream, whose draws define a sample.

use super::{BetaMaskConfig, CONCENTRATION_FLOOR, MaskDecoding, check_config, check_slices};
use crate::ShapeError;
use crate::random::PositionStream;
use crate::shape::check_axes;

/// Where the value behind the mask comes from, as [`super::MaskDraw`].
#[derive(Debug, Clone, Copy)]
pub enum ReferenceDraw<'a> {
    /// The mean of the combined distribution.
    Mean,
    /// A sample; one seed per batch row.
    Sample(&'a [u64]),
    /// These values, `[batch, length]` flattened, treated as samples.
    Given(&'a [f64]),
}

/// Mask and divergence of every position.
#[derive(Debug, Clone, PartialEq)]
pub struct ReferenceMask {
    /// `[batch, length]` flattened.
    pub mask: Vec<f64>,
    /// KL to the marginal in nats, `[batch, length]` flattened.
    pub divergence: Vec<f64>,
}

/// Arguments of the reference, in double precision and flattened; shapes as in [`super::beta_mask`].
#[derive(Debug, Clone, Copy)]
pub struct ReferenceArguments<'a> {
    /// `[batch, length, 2]`
    pub logits: &'a [f64],
    /// `[batch, length, n_tracks]`
    pub tracks: &'a [f64],
    /// `[batch, length]`
    pub overwrite: &'a [f64],
    /// Bases in a row.
    pub length: usize,
}

/// Computes mask and divergence, slowly.
///
/// # Errors
/// [`ShapeError`] when the lengths disagree.
pub fn beta_mask_reference(
    arguments: ReferenceArguments<'_>,
    config: &BetaMaskConfig,
    draw: ReferenceDraw<'_>,
) -> Result<ReferenceMask, ShapeError> {
    let n_positions = check(arguments, config, draw)?;
    let mut result = ReferenceMask {
        mask: Vec::with_capacity(n_positions),
        divergence: Vec::with_capacity(n_positions),
    };
    for index in 0..n_positions {
        let (alpha, beta) = concentrations_reference(arguments, config, index);
        let (value, _) = value(arguments, draw, index, alpha, beta);
        let decoded = match config.decoding {
            MaskDecoding::Soft => value,
            MaskDecoding::Threshold(threshold) => f64::from(value as f32 >= threshold),
        };
        let overwrite = arguments.overwrite[index];
        result
            .mask
            .push(if overwrite >= 0.0 { overwrite } else { decoded });
        result
            .divergence
            .push(divergence_reference(alpha, beta, config.marginal));
    }
    Ok(result)
}

/// Computes the gradient of `logits` from that of mask and divergence, slowly.
///
/// # Errors
/// [`ShapeError`] when the lengths disagree.
pub fn beta_mask_backward_reference(
    gradient: &ReferenceMask,
    arguments: ReferenceArguments<'_>,
    config: &BetaMaskConfig,
    draw: ReferenceDraw<'_>,
) -> Result<Vec<f64>, ShapeError> {
    let n_positions = check(arguments, config, draw)?;
    let mut result = Vec::with_capacity(2 * n_positions);
    let (alpha0, beta0) = config.marginal;
    for index in 0..n_positions {
        let (alpha, beta) = concentrations_reference(arguments, config, index);
        let (value_dalpha, value_dbeta) = match draw {
            ReferenceDraw::Mean => {
                let sum = alpha + beta;
                (beta / (sum * sum), -alpha / (sum * sum))
            }
            _ => {
                let (low, high) = value(arguments, draw, index, alpha, beta);
                sample_gradient_reference(low, high, alpha, beta)
            }
        };
        let through_mask = if arguments.overwrite[index] >= 0.0 {
            0.0
        } else {
            gradient.mask[index]
        };
        let common = (alpha - alpha0 + beta - beta0) * trigamma_reference(alpha + beta);
        let mut along = [
            through_mask * value_dbeta
                + gradient.divergence[index] * ((beta - beta0) * trigamma_reference(beta) - common),
            through_mask * value_dalpha
                + gradient.divergence[index]
                    * ((alpha - alpha0) * trigamma_reference(alpha) - common),
        ];
        for (gradient, concentration) in along.iter_mut().zip([beta, alpha]) {
            if concentration <= CONCENTRATION_FLOOR {
                *gradient = 0.0;
            }
        }
        for (column, gradient) in along.into_iter().enumerate() {
            let logit = arguments.logits[2 * index + column];
            let slope = if logit > 20.0 {
                1.0
            } else {
                1.0 / (1.0 + (-logit).exp())
            };
            result.push(gradient * slope * f64::from(config.z_scale));
        }
    }
    Ok(result)
}

/// Returns KL(Beta(`alpha`, `beta`) || Beta(`marginal`)) in nats.
pub fn divergence_reference(alpha: f64, beta: f64, marginal: (f64, f64)) -> f64 {
    let (alpha0, beta0) = marginal;
    let ln_beta = |a, b| libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b);
    ln_beta(alpha0, beta0) - ln_beta(alpha, beta)
        + (alpha - alpha0) * digamma_reference(alpha)
        + (beta - beta0) * digamma_reference(beta)
        + (alpha0 - alpha + beta0 - beta) * digamma_reference(alpha + beta)
}

/// Returns (dz/dalpha, dz/dbeta) of the sample z = `low` = 1 - `high` of Beta(`alpha`, `beta`) at a fixed
/// quantile.
///
/// dz/dalpha = -∂F/∂alpha / f(z) with ∂F/∂alpha = ∫_0^z f(t) (ln t - ψ(alpha) + ψ(alpha + beta)) dt, or minus the
/// integral from z to 1, whichever side holds less of the distribution. Either integral is taken in
/// y = ln(z / t), or the same of the distance to 1, with the double-exponential rule y = e^(π/2 sinh x).
///
/// # Reference
/// Figurnov, Mohamed & Mnih 2018; Takahasi & Mori 1974 for the quadrature
pub fn sample_gradient_reference(low: f64, high: f64, alpha: f64, beta: f64) -> (f64, f64) {
    let below = tail_reference(low, high, alpha, beta);
    let above = tail_reference(high, low, beta, alpha);
    // Areas are relative to f(z): t f(t) / f(z) dy below, (1 - t) f(t) / f(z) dy above.
    if low * below[0] <= high * above[0] {
        (-low * below[1], -low * below[2])
    } else {
        (high * above[2], high * above[1])
    }
}

/// Returns ∫ g dy, ∫ g (ln t - E ln t) dy and ∫ g (ln(1 - t) - E ln(1 - t)) dy over y from 0 to infinity, where
/// t = `low` e^-y, g = t f(t) / (`low` f(`low`)) for the density f of Beta(`a`, `b`), E its expectations.
fn tail_reference(low: f64, high: f64, a: f64, b: f64) -> [f64; 3] {
    const STEP: f64 = 1.0 / 128.0;
    const REACH: i32 = 5 * 128;
    let mean_ln_low = -digamma_difference_reference(a, b);
    let mean_ln_high = -digamma_difference_reference(b, a);
    let mut sums = [0.0; 3];
    for node in -REACH..=REACH {
        let x = f64::from(node) * STEP;
        let y = (std::f64::consts::FRAC_PI_2 * x.sinh()).exp();
        let ln_ratio = (-low / high * (-y).exp_m1()).ln_1p();
        let density = ((b - 1.0) * ln_ratio - a * y).exp();
        if density == 0.0 {
            continue;
        }
        let weight = STEP * std::f64::consts::FRAC_PI_2 * x.cosh() * y * density;
        sums[0] += weight;
        sums[1] += weight * (low.ln() - y - mean_ln_low);
        sums[2] += weight * (high.ln() + ln_ratio - mean_ln_high);
    }
    sums
}

/// Returns ψ(x) of a positive `x`: recurrence up to 30, then the asymptotic series.
pub fn digamma_reference(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 30.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    sum + x.ln() - 0.5 / x - digamma_tail(x)
}

/// Returns ψ(x + step) - ψ(x) of positive arguments, every difference taken before it can cancel.
pub fn digamma_difference_reference(mut x: f64, step: f64) -> f64 {
    let mut sum = 0.0;
    while x < 30.0 {
        sum += step / (x * (x + step));
        x += 1.0;
    }
    sum + (step / x).ln_1p() + 0.5 * step / (x * (x + step)) + digamma_tail(x)
        - digamma_tail(x + step)
}

/// Σ B_2k / (2k x^2k), k = 1..5.
fn digamma_tail(x: f64) -> f64 {
    let s = 1.0 / (x * x);
    s * (1.0 / 12.0 - s * (1.0 / 120.0 - s * (1.0 / 252.0 - s * (1.0 / 240.0 - s / 132.0))))
}

/// Returns ψ'(x) of a positive `x`: recurrence up to 30, then the asymptotic series.
pub fn trigamma_reference(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 30.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let s = 1.0 / (x * x);
    let series =
        1.0 / 6.0 - s * (1.0 / 30.0 - s * (1.0 / 42.0 - s * (1.0 / 30.0 - s * 5.0 / 66.0)));
    sum + 1.0 / x + 0.5 * s + s / x * series
}

/// Returns the combined (alpha, beta) of position `index`; the formulas are those of [`BetaMaskConfig`].
pub fn concentrations_reference(
    arguments: ReferenceArguments<'_>,
    config: &BetaMaskConfig,
    index: usize,
) -> (f64, f64) {
    let n_tracks = config.n_tracks();
    let [beta_min, scale, z_scale] =
        [config.beta_min, config.prior_scale_factor, config.z_scale].map(f64::from);
    let softplus = |logit: f64| {
        if logit > 20.0 {
            logit
        } else {
            logit.exp().ln_1p()
        }
    };
    let mut alpha = softplus(arguments.logits[2 * index + 1]) + beta_min + CONCENTRATION_FLOOR;
    let mut beta = softplus(arguments.logits[2 * index]) + beta_min + CONCENTRATION_FLOOR;
    for track in 0..n_tracks {
        let value = arguments.tracks[n_tracks * index + track];
        let weight = f64::from(config.track_weight[track]);
        alpha += weight * ((value + beta_min) * scale + CONCENTRATION_FLOOR);
        beta += weight * (f64::from(config.track_beta[track]) + beta_min) * scale;
    }
    if config.minus_one {
        alpha -= 1.0;
        beta -= 1.0;
    }
    (
        (alpha * z_scale).max(CONCENTRATION_FLOOR),
        (beta * z_scale).max(CONCENTRATION_FLOOR),
    )
}

/// Returns the value behind a position's mask and its distance to 1.
fn value(
    arguments: ReferenceArguments<'_>,
    draw: ReferenceDraw<'_>,
    index: usize,
    alpha: f64,
    beta: f64,
) -> (f64, f64) {
    match draw {
        ReferenceDraw::Mean => (alpha / (alpha + beta), beta / (alpha + beta)),
        ReferenceDraw::Sample(seeds) => {
            let (row, position) = (index / arguments.length, index % arguments.length);
            let logit =
                PositionStream::new(seeds[row], position as u64).sample_beta_logit(alpha, beta);
            // 2^-126 from either end, as the fast path.
            let logit = logit.clamp(
                -126.0 * std::f64::consts::LN_2,
                126.0 * std::f64::consts::LN_2,
            );
            (1.0 / (1.0 + (-logit).exp()), 1.0 / (1.0 + logit.exp()))
        }
        ReferenceDraw::Given(values) => (values[index], 1.0 - values[index]),
    }
}

fn check(
    arguments: ReferenceArguments<'_>,
    config: &BetaMaskConfig,
    draw: ReferenceDraw<'_>,
) -> Result<usize, ShapeError> {
    const OP: &str = "beta_mask_reference";
    check_config(OP, config)?;
    let n_positions = check_slices(OP, arguments.logits, arguments.tracks, config)?;
    check_axes(
        OP,
        "overwrite",
        [("elements", n_positions)],
        [arguments.overwrite.len()],
    )?;
    match draw {
        ReferenceDraw::Mean => {}
        ReferenceDraw::Sample(seeds) => {
            check_axes(
                OP,
                "seeds",
                [("elements", seeds.len() * arguments.length)],
                [n_positions],
            )?;
        }
        ReferenceDraw::Given(values) => {
            check_axes(OP, "given", [("elements", n_positions)], [values.len()])?
        }
    }
    Ok(n_positions)
}
