//! The Beta mask: per-base concentrations from logits and tracks, a mask drawn from them, and its divergence
//! from a fixed Beta, as one differentiable operation.
//!
//! Formulas, the derivation of every gradient, and the numerical method with its measured error are in
//! `docs/kernels/beta_mask.md`.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use crate::ShapeError;
use crate::flex_tensor::single_precision;
use crate::shape::{check_axes, check_not_empty};

mod autodiff;
mod concentrations;
mod cpu;
mod divergence;
mod gamma_functions;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_tests;
#[cfg(feature = "gpu")]
mod gpu;
pub mod reference;
mod sample_gradient;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod tests;
mod vector_math;

pub use concentrations::{Concentrations, concentrations};

/// Smallest concentration, and what the released code adds to a concentration that could be zero
/// (`+ 1e-8` after softplus and after the track prior).
pub const CONCENTRATION_FLOOR: f64 = 1e-8;

/// How a value of the mask is read off its Beta distribution's mean or sample.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum MaskDecoding {
    /// The value itself.
    Soft,
    /// 1 where the value is at least this, else 0; the gradient passes to the value unchanged
    /// (straight-through).
    Threshold(f32),
}

/// Where the value behind the mask comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "one value per call, never stored in bulk"
)]
pub enum MaskDraw {
    /// The mean of the combined Beta distribution, as in evaluation.
    Mean,
    /// A reparameterised sample, as in training: seed of each batch row, counter = position in the row.
    Sample {
        /// `[batch]`; equal seeds give equal rows.
        seeds: Vec<u64>,
    },
    /// These values, `[batch, length]` in (0, 1), treated as samples: they get no gradient themselves, the
    /// concentrations get the gradient a sample of this value has.
    Given(Tensor<2>),
}

/// Settings of the Beta mask.
///
/// With value v_i of track i, logit l_1 toward 1 and l_0 toward 0, s = `prior_scale_factor`:
///
/// - alpha = (softplus(l_1) + `beta_min` + 1e-8 + Σ w_i ((v_i + `beta_min`) s + 1e-8) \[- 1\]) `z_scale`
/// - beta = (softplus(l_0) + `beta_min` + 1e-8 + Σ w_i (c_i + `beta_min`) s \[- 1\]) `z_scale`
///
/// each held at [`CONCENTRATION_FLOOR`] or above; where the floor acts, that concentration has no gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct BetaMaskConfig {
    /// c_i: prior mass toward 0 of each track, before scaling. Published: 1.5, 0.2, 1.0 for H3K27ac, DNase and
    /// contact (`prior_beta`).
    pub track_beta: Vec<f32>,
    /// w_i: weight of each track. Published: 0.4, 0.4, 0.2 (`prior_weight` 2, 2, 1, normalised).
    pub track_weight: Vec<f32>,
    /// s: how strongly a unit of track counts. Published: 10 soft, 1 hard (`prior_scale_factor`).
    pub prior_scale_factor: f32,
    /// Added to every track, to every c_i and to the sequence's concentrations. Published: 1 soft, 0 hard
    /// (`beta_min`).
    pub beta_min: f32,
    /// Factor of the combined concentrations. Published: 1 (`z_scale`).
    pub z_scale: f32,
    /// (alpha, beta) of the distribution that the divergence is taken from. Published: (10, 90) soft,
    /// (0.1, 0.1222…) hard (`marginal_mean` m and `marginal_scale` a: alpha = a, beta = a (1 - m) / m).
    pub marginal: (f64, f64),
    /// How the mask is read off the value.
    pub decoding: MaskDecoding,
    /// Subtract 1 from both combined sums, as the paper's product of two Beta densities does; the released code
    /// leaves it out. Off by default.
    pub minus_one: bool,
}

impl BetaMaskConfig {
    /// Returns the published settings of Seq2Exp-soft (Su et al. 2025, released configuration).
    pub fn seq2exp_soft() -> Self {
        Self {
            track_beta: vec![1.5, 0.2, 1.0],
            track_weight: vec![0.4, 0.4, 0.2],
            prior_scale_factor: 10.0,
            beta_min: 1.0,
            z_scale: 1.0,
            marginal: (10.0, 90.0),
            decoding: MaskDecoding::Soft,
            minus_one: false,
        }
    }

    /// Returns the published settings of Seq2Exp-hard (Su et al. 2025, released configuration).
    pub fn seq2exp_hard() -> Self {
        Self {
            prior_scale_factor: 1.0,
            beta_min: 0.0,
            marginal: (0.1, 0.1 * 0.55 / 0.45),
            decoding: MaskDecoding::Threshold(0.5),
            ..Self::seq2exp_soft()
        }
    }

    /// Number of tracks these settings are for.
    pub fn n_tracks(&self) -> usize {
        self.track_beta.len()
    }

    /// Returns every problem of these settings, none when they can be used.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |valid: bool, problem: String| {
            if !valid {
                problems.push(problem);
            }
        };
        require(
            self.track_beta.len() == self.track_weight.len(),
            format!(
                "track_weight has {} values, track_beta has {}; give one of each per track",
                self.track_weight.len(),
                self.track_beta.len()
            ),
        );
        let not_negative = [
            ("prior_scale_factor", self.prior_scale_factor),
            ("beta_min", self.beta_min),
        ];
        let values = |name: &'static str, values: &[f32]| {
            values
                .iter()
                .map(|value| (name, *value))
                .collect::<Vec<_>>()
        };
        for (name, value) in values("track_beta", &self.track_beta)
            .into_iter()
            .chain(values("track_weight", &self.track_weight))
            .chain(not_negative)
        {
            require(
                value.is_finite() && value >= 0.0,
                format!("{name} is `{value}`, it must be finite and not negative"),
            );
        }
        for (name, value) in [
            ("z_scale", f64::from(self.z_scale)),
            ("marginal alpha", self.marginal.0),
            ("marginal beta", self.marginal.1),
        ] {
            require(
                value.is_finite() && value > 0.0,
                format!("{name} is `{value}`, it must be finite and positive"),
            );
        }
        if let MaskDecoding::Threshold(threshold) = self.decoding {
            require(
                (0.0..=1.0).contains(&threshold),
                format!("threshold is `{threshold}`, it must lie in 0 to 1"),
            );
        }
        problems
    }
}

/// Computes the mask of every position and its divergence from the marginal.
///
/// The value v of a position is the mean of Beta(alpha, beta), a sample of it, or given; see [`MaskDraw`] and
/// [`BetaMaskConfig`]. mask = decoding(v), or the overwrite; divergence = KL(Beta(alpha, beta) || marginal) in
/// nats, at every position, overwritten or not.
///
/// Gradients go to `logits` and `tracks`: through the divergence at every position, and through the mask where
/// it is not overwritten (a sample's by implicit reparameterisation). A mask value is at least
/// 2^-126 and at most 1 - 2^-24 unless decoded or overwritten to exactly 0 or 1, and a gradient is finite
/// whenever inputs and incoming gradient are. NaN inputs stay NaN. Without a gradient to follow, nothing is
/// kept; otherwise the arguments are, and everything else, the samples included, is computed again.
///
/// # Shapes
/// - `logits`: `[batch, length, 2]`, column 1 toward 1 and column 0 toward 0; `tracks`: `[batch, length,
///   n_tracks]` in the order of `config`
/// - `overwrite`: `[batch, length]`, negative = keep the mask, otherwise the value the mask is set to
/// - output: `[2, batch, length]`, plane 0 the mask, plane 1 the divergence
///
/// # Units
/// - tracks as the configuration expects them: raw coverage, contact as log10(x + 1)
///
/// # Errors
/// [`ShapeError`] when a dimension disagrees; it names argument and axis.
///
/// # Reference
/// Su et al. 2025 (Seq2Exp), section 3.3; Figurnov, Mohamed & Mnih 2018 for the gradient of a sample
pub fn beta_mask(
    logits: Tensor<3>,
    tracks: Tensor<3>,
    overwrite: Tensor<2>,
    config: &BetaMaskConfig,
    draw: MaskDraw,
) -> Result<Tensor<3>, ShapeError> {
    const OP: &str = "beta_mask";
    check_config(OP, config)?;
    let [batch, length, columns] = logits.dims();
    check_not_empty(OP, "logits", ["batch", "length"], [batch, length])?;
    check_axes(OP, "logits", [("concentration", 2)], [columns])?;
    check_axes(
        OP,
        "tracks",
        [
            ("batch", batch),
            ("length", length),
            ("n_tracks", config.n_tracks()),
        ],
        tracks.dims(),
    )?;
    let positions = [("batch", batch), ("length", length)];
    check_axes(OP, "overwrite", positions, overwrite.dims())?;
    let overwrite = single_precision(overwrite);
    let (draw, given) = match draw {
        MaskDraw::Mean => (PlannedDraw::Mean, overwrite.clone()),
        MaskDraw::Sample { seeds } => {
            check_axes(OP, "seeds", [("batch", batch)], [seeds.len()])?;
            (PlannedDraw::Sample { seeds }, overwrite.clone())
        }
        MaskDraw::Given(values) => {
            check_axes(OP, "given", positions, values.dims())?;
            (PlannedDraw::Given, single_precision(values))
        }
    };
    let plan = Arc::new(MaskPlan {
        config: config.clone(),
        draw,
    });
    Ok(Tensor::from_dispatch(Dispatch::beta_mask(
        single_precision(logits).into_dispatch(),
        single_precision(tracks).into_dispatch(),
        overwrite.into_dispatch(),
        given.into_dispatch(),
        plan,
    )))
}

/// Everything but the tensors that a call of [`beta_mask`] is made of.
#[doc(hidden)]
#[derive(Debug)]
pub struct MaskPlan {
    config: BetaMaskConfig,
    draw: PlannedDraw,
}

#[derive(Debug)]
enum PlannedDraw {
    Mean,
    Sample { seeds: Vec<u64> },
    Given,
}

/// What a backend must do for [`beta_mask`]; tensors are single precision and of checked shapes.
///
/// `given` is read only when the plan says so, and is any tensor of that shape otherwise.
#[doc(hidden)]
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait BetaMaskBackend: Backend {
    /// Returns mask and divergence, `[2, batch, length]`.
    fn beta_mask(
        logits: FloatTensor<Self>,
        tracks: FloatTensor<Self>,
        overwrite: FloatTensor<Self>,
        given: FloatTensor<Self>,
        plan: Arc<MaskPlan>,
    ) -> FloatTensor<Self>;

    /// Returns the gradients of `logits` and `tracks` from that of the output.
    fn beta_mask_backward(
        gradient: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        tracks: FloatTensor<Self>,
        overwrite: FloatTensor<Self>,
        given: FloatTensor<Self>,
        plan: Arc<MaskPlan>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

fn check_config(op: &'static str, config: &BetaMaskConfig) -> Result<(), ShapeError> {
    check_axes(
        op,
        "track_weight",
        [("n_tracks", config.n_tracks())],
        [config.track_weight.len()],
    )
}

/// Returns the number of positions in flattened `logits`, after checking it against `tracks`.
fn check_slices<T>(
    op: &'static str,
    logits: &[T],
    tracks: &[T],
    config: &BetaMaskConfig,
) -> Result<usize, ShapeError> {
    let n_positions = logits.len() / 2;
    check_axes(
        op,
        "logits",
        [("elements", 2 * n_positions)],
        [logits.len()],
    )?;
    check_axes(
        op,
        "tracks",
        [("elements", config.n_tracks() * n_positions)],
        [tracks.len()],
    )?;
    Ok(n_positions)
}

#[cfg(test)]
mod contract_tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn disagreeing_shapes_name_argument_and_axis() {
        let call =
            |logits: [usize; 3], tracks: [usize; 3], overwrite: [usize; 2], draw: MaskDraw| {
                let device = Device::flex();
                let config = BetaMaskConfig::seq2exp_soft();
                beta_mask(
                    Tensor::zeros(logits, &device),
                    Tensor::zeros(tracks, &device),
                    Tensor::zeros(overwrite, &device),
                    &config,
                    draw,
                )
                .unwrap_err()
                .to_string()
            };
        let seeds = |n: usize| MaskDraw::Sample { seeds: vec![0; n] };
        let given = |shape: [usize; 2]| MaskDraw::Given(Tensor::zeros(shape, &Device::flex()));
        let cases = [
            (
                call([2, 7, 3], [2, 7, 3], [2, 7], MaskDraw::Mean),
                "axis concentration of `logits` is 3, expected 2",
            ),
            (
                call([2, 0, 2], [2, 0, 3], [2, 0], MaskDraw::Mean),
                "axis length of `logits` is 0, but it must be at least 1",
            ),
            (
                call([2, 7, 2], [3, 7, 3], [2, 7], MaskDraw::Mean),
                "axis batch of `tracks` is 3, expected 2",
            ),
            (
                call([2, 7, 2], [2, 5, 3], [2, 7], MaskDraw::Mean),
                "axis length of `tracks` is 5, expected 7",
            ),
            (
                call([2, 7, 2], [2, 7, 4], [2, 7], MaskDraw::Mean),
                "axis n_tracks of `tracks` is 4, expected 3",
            ),
            (
                call([2, 7, 2], [2, 7, 3], [2, 8], MaskDraw::Mean),
                "axis length of `overwrite` is 8, expected 7",
            ),
            (
                call([2, 7, 2], [2, 7, 3], [2, 7], seeds(3)),
                "axis batch of `seeds` is 3, expected 2",
            ),
            (
                call([2, 7, 2], [2, 7, 3], [2, 7], given([2, 6])),
                "axis length of `given` is 6, expected 7",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, format!("beta_mask: {expected}"));
        }
        let config = BetaMaskConfig {
            track_weight: vec![1.0],
            ..BetaMaskConfig::seq2exp_soft()
        };
        assert_eq!(
            concentrations(&[], &[], &config).unwrap_err().to_string(),
            "concentrations: axis n_tracks of `track_weight` is 1, expected 3"
        );
    }

    #[test]
    fn config_lists_every_problem() {
        let config = BetaMaskConfig {
            track_weight: vec![1.0, -2.0],
            z_scale: 0.0,
            marginal: (1.0, f64::NAN),
            decoding: MaskDecoding::Threshold(1.5),
            ..BetaMaskConfig::seq2exp_soft()
        };
        assert_eq!(
            config.validate(),
            [
                "track_weight has 2 values, track_beta has 3; give one of each per track",
                "track_weight is `-2`, it must be finite and not negative",
                "z_scale is `0`, it must be finite and positive",
                "marginal beta is `NaN`, it must be finite and positive",
                "threshold is `1.5`, it must lie in 0 to 1",
            ]
        );
        for (name, config) in [
            ("soft", BetaMaskConfig::seq2exp_soft()),
            ("hard", BetaMaskConfig::seq2exp_hard()),
        ] {
            assert!(config.validate().is_empty(), "{name}");
        }
    }
}
