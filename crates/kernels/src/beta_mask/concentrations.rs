//! From logits and tracks to the Beta concentrations of each position.

use super::{BetaMaskConfig, CONCENTRATION_FLOOR, check_config, check_slices};
use crate::ShapeError;

/// PyTorch's softplus is the identity above this, `torch.nn.functional.softplus(threshold=20)`.
pub(super) const SOFTPLUS_THRESHOLD: f64 = 20.0;

/// Beta concentrations of every position and of the parts they are made of, for inspection.
///
/// # Shapes
/// - all but `track_beta`: one value a position, `[batch, length]` flattened; `track_alpha` one such per track
/// - `track_beta`: `[n_tracks]`, the same at every position
#[derive(Debug, Clone, PartialEq)]
pub struct Concentrations {
    /// Mass toward 1 according to the sequence.
    pub sequence_alpha: Vec<f32>,
    /// Mass toward 0 according to the sequence.
    pub sequence_beta: Vec<f32>,
    /// Mass toward 1 according to each track.
    pub track_alpha: Vec<Vec<f32>>,
    /// Mass toward 0 according to each track.
    pub track_beta: Vec<f32>,
    /// Combined mass toward 1.
    pub alpha: Vec<f32>,
    /// Combined mass toward 0.
    pub beta: Vec<f32>,
    /// Mean of the combined distribution, `alpha / (alpha + beta)`.
    pub mean: Vec<f32>,
}

/// Computes the Beta concentrations of every position, without a mask and without gradients.
///
/// # Shapes
/// - `logits`: `[batch, length, 2]` flattened, column 1 toward 1; `tracks`: `[batch, length, n_tracks]`
///   flattened, in the order of the configuration
///
/// # Errors
/// [`ShapeError`] when the slices' lengths disagree with the configuration or with each other.
pub fn concentrations(
    logits: &[f32],
    tracks: &[f32],
    config: &BetaMaskConfig,
) -> Result<Concentrations, ShapeError> {
    check_config("concentrations", config)?;
    let n_positions = check_slices("concentrations", logits, tracks, config)?;
    let n_tracks = config.n_tracks();
    let combination = Combination::new(config);
    let single = |value: f64| value as f32;
    let mut result = Concentrations {
        sequence_alpha: Vec::with_capacity(n_positions),
        sequence_beta: Vec::with_capacity(n_positions),
        track_alpha: vec![Vec::with_capacity(n_positions); n_tracks],
        track_beta: combination
            .tracks
            .iter()
            .map(|track| single(track.beta))
            .collect(),
        alpha: Vec::with_capacity(n_positions),
        beta: Vec::with_capacity(n_positions),
        mean: Vec::with_capacity(n_positions),
    };
    for position in 0..n_positions {
        let logits = &logits[2 * position..][..2];
        let tracks = &tracks[n_tracks * position..][..n_tracks];
        let pair = combination.at(logits, tracks);
        result
            .sequence_alpha
            .push(single(combination.sequence(logits[1])));
        result
            .sequence_beta
            .push(single(combination.sequence(logits[0])));
        for (index, value) in tracks.iter().enumerate() {
            result.track_alpha[index].push(single(combination.track_alpha(*value)));
        }
        result.alpha.push(single(pair.alpha));
        result.beta.push(single(pair.beta));
        result
            .mean
            .push(single(pair.alpha / (pair.alpha + pair.beta)));
    }
    Ok(result)
}

/// The configuration's arithmetic, in double precision.
#[derive(Debug, Clone)]
pub(super) struct Combination {
    pub(super) beta_min: f64,
    pub(super) prior_scale_factor: f64,
    pub(super) z_scale: f64,
    /// What every position adds to the sequence's beta before scaling.
    pub(super) beta_offset: f64,
    /// What every position adds to the sequence's and the tracks' alpha before scaling.
    pub(super) alpha_offset: f64,
    pub(super) tracks: Vec<TrackTerm>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct TrackTerm {
    pub(super) weight: f64,
    beta: f64,
}

/// Combined concentrations of one position; an active floor stops that concentration's gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ConcentrationPair {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) alpha_is_floored: bool,
    pub(super) beta_is_floored: bool,
}

impl Combination {
    pub(super) fn new(config: &BetaMaskConfig) -> Self {
        let beta_min = f64::from(config.beta_min);
        let prior_scale_factor = f64::from(config.prior_scale_factor);
        let tracks: Vec<TrackTerm> = config
            .track_beta
            .iter()
            .zip(&config.track_weight)
            .map(|(&beta, &weight)| TrackTerm {
                weight: f64::from(weight),
                beta: (f64::from(beta) + beta_min) * prior_scale_factor,
            })
            .collect();
        let correction = if config.minus_one { -1.0 } else { 0.0 };
        Self {
            beta_min,
            prior_scale_factor,
            z_scale: f64::from(config.z_scale),
            beta_offset: correction
                + tracks
                    .iter()
                    .map(|track| track.weight * track.beta)
                    .sum::<f64>(),
            alpha_offset: correction,
            tracks,
        }
    }

    /// Concentration that the sequence gives: softplus(logit) + beta_min + 1e-8.
    #[inline]
    fn sequence(&self, logit: f32) -> f64 {
        let logit = f64::from(logit);
        let softplus = if logit > SOFTPLUS_THRESHOLD {
            logit
        } else {
            libm::log1p(libm::exp(logit))
        };
        softplus + self.beta_min + CONCENTRATION_FLOOR
    }

    /// Concentration toward 1 that a track's value gives: (value + beta_min) s + 1e-8.
    #[inline]
    fn track_alpha(&self, value: f32) -> f64 {
        (f64::from(value) + self.beta_min) * self.prior_scale_factor + CONCENTRATION_FLOOR
    }

    /// Returns the combined concentrations of a position with two logits and `n_tracks` values.
    #[inline]
    pub(super) fn at(&self, logits: &[f32], tracks: &[f32]) -> ConcentrationPair {
        let mut alpha = self.sequence(logits[1]) + self.alpha_offset;
        for (term, value) in self.tracks.iter().zip(tracks) {
            alpha += term.weight * self.track_alpha(*value);
        }
        let alpha = alpha * self.z_scale;
        let beta = (self.sequence(logits[0]) + self.beta_offset) * self.z_scale;
        // Comparisons, not `max`: a NaN must stay visible.
        let (alpha_is_floored, beta_is_floored) =
            (alpha < CONCENTRATION_FLOOR, beta < CONCENTRATION_FLOOR);
        ConcentrationPair {
            alpha: if alpha_is_floored {
                CONCENTRATION_FLOOR
            } else {
                alpha
            },
            beta: if beta_is_floored {
                CONCENTRATION_FLOOR
            } else {
                beta
            },
            alpha_is_floored,
            beta_is_floored,
        }
    }

    /// Derivative of a combined concentration with respect to its logit.
    #[inline]
    pub(super) fn logit_slope(&self, logit: f32) -> f64 {
        let logit = f64::from(logit);
        let slope = if logit > SOFTPLUS_THRESHOLD {
            1.0
        } else {
            1.0 / (1.0 + libm::exp(-logit))
        };
        slope * self.z_scale
    }

    /// Derivative of the combined alpha with respect to a track's value.
    #[inline]
    pub(super) fn track_slope(&self, track_index: usize) -> f64 {
        self.tracks[track_index].weight * self.prior_scale_factor * self.z_scale
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden::{assert_close, double, golden, single};
    use super::*;

    const SOFT: &[u8] = include_bytes!("../../tests/golden/beta_mask_soft.safetensors");
    const HARD: &[u8] = include_bytes!("../../tests/golden/beta_mask_hard.safetensors");

    #[test]
    fn concentrations_agree_with_released_code() {
        // Single-precision PyTorch: a few roundings, and more in the divergence (method: up to 1.3e-3 at extremes).
        for (name, file, config) in [
            ("soft", SOFT, BetaMaskConfig::seq2exp_soft()),
            ("hard", HARD, BetaMaskConfig::seq2exp_hard()),
        ] {
            let (logits, tracks) = (
                single(golden(file, "logits")),
                single(golden(file, "tracks")),
            );
            let found = concentrations(&logits, &tracks, &config).unwrap();
            // The released track concentrations are [track, batch, length], as ours.
            let cases = [
                ("sequence_alpha", &found.sequence_alpha),
                ("sequence_beta", &found.sequence_beta),
                ("track_alpha", &found.track_alpha.concat()),
                ("track_beta", &found.track_beta),
                ("alpha", &found.alpha),
                ("beta", &found.beta),
                ("mean", &found.mean),
            ];
            for (tensor, found) in cases {
                assert_close(
                    &format!("{name} {tensor}"),
                    &double(found),
                    &golden(file, tensor),
                    1e-6,
                    1e-8,
                );
            }
        }
    }

    /// One rounding to single precision, and a half.
    const ROUNDING: f64 = 1e-7;

    #[test]
    fn minus_one_subtracts_once_and_stays_positive() {
        // One track of weight 1, s = 1, beta_min = 0, c = 2; softplus(0) = ln 2; track value 3:
        // alpha = ln 2 + 3 - 1 + 2e-8, beta = ln 2 + 2 - 1 + 1e-8. Track 0 and logits -80: alpha = -1 + 3e-8 -> floor.
        let config = BetaMaskConfig {
            track_beta: vec![2.0],
            track_weight: vec![1.0],
            minus_one: true,
            ..BetaMaskConfig::seq2exp_hard()
        };
        let found = concentrations(&[0.0, 0.0, -80.0, -80.0], &[3.0, 0.0], &config).unwrap();
        let ln2 = std::f64::consts::LN_2;
        assert_close(
            "alpha",
            &double(&found.alpha),
            &[ln2 + 2.0, 1e-8],
            ROUNDING,
            0.0,
        );
        assert_close(
            "beta",
            &double(&found.beta),
            &[ln2 + 1.0, 1.0],
            ROUNDING,
            0.0,
        );
    }
}
