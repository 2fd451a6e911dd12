//! From logits, tracks and regions to the mask.

use burn::tensor::{Tensor, TensorData};
use kernels::{BetaMaskConfig, MaskDraw, beta_mask};
use serde::{Deserialize, Serialize};

use crate::config::positive;
use crate::error::ModelError;
use crate::input::ModelInput;
use crate::mask::bins::Bins;
use crate::network::Pass;

mod bins;
mod random;

pub use random::RandomShare;

/// The latent mask: its prior from the tracks, its marginal, and how it is decoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// Concentration of each track toward 0, before scaling; (1.5, 0.2, 1.0). Released name: `prior_beta`.
    pub track_beta: Vec<f32>,
    /// Weight of each track in the combined concentrations; (0.4, 0.4, 0.2). Released name: `prior_weight`.
    pub track_weight: Vec<f32>,
    /// Scale of the tracks' concentrations; 10 (soft), 1 (hard), 0 leaves them out. Released name: `prior_scale_factor`.
    pub prior_scale_factor: f32,
    /// Floor added to every concentration; 1 (soft), 0 (hard). Released name: `beta_min`.
    pub beta_min: f32,
    /// Scale of the combined concentrations; 1. Released name: `z_scale`.
    pub z_scale: f32,
    /// Mean of the marginal Beta; 0.1 (soft), 0.45 (hard). Released name: `marginal_mean`.
    pub marginal_mean: f64,
    /// First concentration of the marginal Beta; 10 (soft), 0.1 (hard). Released name: `marginal_scale`.
    pub marginal_scale: f64,
    /// Subtract 1 from the combined concentrations, as in the paper's product of densities; false, as in the code.
    pub minus_one: bool,
    /// What the generator's logits start from, toward 0 and toward 1: the biases of its last layer; (0, 0). With
    /// (-3, 3) the mask starts near 1. Zeros are not written out, as in settings that are older than this field.
    #[serde(default, skip_serializing_if = "are_zero")]
    pub initial_logits: [f32; 2],
    /// Bases that share one draw, from the mean of their logits and tracks: bins from the window's start, the last of which
    /// may be shorter; 1, as published. Not written out when 1, as in settings that are older than this field.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub resolution: usize,
    /// The mask of a training pass, from a sample.
    pub train: TrainDecoding,
    /// The mask of an evaluation pass, from the mean. Released names: `test_soft`, `test_hard`, `test_top`.
    pub evaluate: MaskDecoding,
}

fn are_zero(logits: &[f32; 2]) -> bool {
    *logits == [0.0; 2]
}

fn one() -> usize {
    1
}

fn is_one(n: &usize) -> bool {
    *n == 1
}

/// How a sample becomes the mask of a training pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainDecoding {
    /// The sample itself.
    Sample,
    /// 1 where the sample reaches the threshold, else 0; gradients pass straight through. Released name: `post_hard_dist`.
    Threshold(f32),
}

/// How the mean becomes the mask of an evaluation pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskDecoding {
    /// The mean itself.
    Mean,
    /// 1 where the mean reaches the threshold, else 0.
    Threshold(f32),
    /// 1 for this fraction of the window's positions, those with the highest mean, else 0.
    TopFraction(f32),
}

impl MaskConfig {
    /// Concentrations toward 1 and toward 0 of the marginal Beta: `scale`, `scale * (1 - mean) / mean`.
    pub fn marginal(&self) -> (f64, f64) {
        (
            self.marginal_scale,
            self.marginal_scale * (1.0 - self.marginal_mean) / self.marginal_mean,
        )
    }

    pub(crate) fn add_problems(&self, problems: &mut Vec<String>, n_tracks: usize) {
        for (field, values) in [
            ("track_beta", &self.track_beta),
            ("track_weight", &self.track_weight),
        ] {
            if values.len() != n_tracks {
                problems.push(format!(
                    "mask.{field} has {} values for {n_tracks} tracks; give one per track",
                    values.len()
                ));
            }
            if let Some(value) = values
                .iter()
                .find(|value| !(value.is_finite() && **value >= 0.0))
            {
                problems.push(format!(
                    "mask.{field} holds {value}; it must be finite and not negative"
                ));
            }
        }
        positive(problems, "mask.resolution", self.resolution);
        for (field, value) in [
            ("prior_scale_factor", self.prior_scale_factor),
            ("beta_min", self.beta_min),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                problems.push(format!(
                    "mask.{field} is {value}; it must be finite and not negative"
                ));
            }
        }
        if !(self.z_scale.is_finite() && self.z_scale > 0.0) {
            problems.push(format!(
                "mask.z_scale is {}; it must be finite and above 0",
                self.z_scale
            ));
        }
        if !(self.marginal_mean > 0.0 && self.marginal_mean < 1.0) {
            problems.push(format!(
                "mask.marginal_mean is {}; it must lie between 0 and 1, both excluded",
                self.marginal_mean
            ));
        }
        if !(self.marginal_scale.is_finite() && self.marginal_scale > 0.0) {
            problems.push(format!(
                "mask.marginal_scale is {}; it must be finite and above 0",
                self.marginal_scale
            ));
        }
        if !self.initial_logits.iter().all(|logit| logit.is_finite()) {
            problems.push(format!(
                "mask.initial_logits is {:?}; both must be finite",
                self.initial_logits
            ));
        }
        let mut threshold = |field: &str, value: f32| {
            if !(value > 0.0 && value < 1.0) {
                problems.push(format!(
                    "mask.{field}.threshold is {value}; it must lie between 0 and 1, both excluded"
                ));
            }
        };
        if let TrainDecoding::Threshold(value) = self.train {
            threshold("train", value);
        }
        match self.evaluate {
            MaskDecoding::Threshold(value) => threshold("evaluate", value),
            MaskDecoding::TopFraction(value) if !(value > 0.0 && value <= 1.0) => {
                problems.push(format!(
                    "mask.evaluate.top_fraction is {value}; it must be above 0 and at most 1"
                ));
            }
            _ => {}
        }
    }
}

/// The mask of a batch and what it costs.
#[derive(Clone, Debug)]
pub struct Mask {
    /// `[batch, length]`, each in [0, 1].
    pub mask: Tensor<2>,
    /// Divergence of each position's Beta from the marginal, in nats: `[batch, length]`.
    pub kl: Tensor<2>,
}

impl MaskConfig {
    /// These settings as the kernel takes them.
    pub fn beta_mask(&self, decoding: kernels::MaskDecoding) -> BetaMaskConfig {
        BetaMaskConfig {
            track_beta: self.track_beta.clone(),
            track_weight: self.track_weight.clone(),
            prior_scale_factor: self.prior_scale_factor,
            beta_min: self.beta_min,
            z_scale: self.z_scale,
            marginal: self.marginal(),
            decoding,
            minus_one: self.minus_one,
        }
    }

    /// Draws the mask of a pass; the promoter is always 1.
    ///
    /// # Shapes
    /// - `logits`: `[batch, length, 2]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the tensors disagree.
    pub fn draw(
        &self,
        logits: Tensor<3>,
        input: &ModelInput,
        promoter: usize,
        pass: &Pass,
    ) -> Result<Mask, ModelError> {
        let overwrite = input.forced(promoter)?;
        let [batch, length] = overwrite.dims();
        let bins = Bins {
            length,
            size: self.resolution,
        };
        let (logits, tracks) = (bins.mean(logits), bins.mean(input.tracks.clone()));
        let train = match self.train {
            TrainDecoding::Sample => kernels::MaskDecoding::Soft,
            TrainDecoding::Threshold(threshold) => kernels::MaskDecoding::Threshold(threshold),
        };
        let (decoding, draw) = match pass {
            Pass::Train { seeds } | Pass::TrainRevealing { seeds, .. } => (
                train,
                MaskDraw::Sample {
                    seeds: seeds.clone(),
                },
            ),
            Pass::TrainMean => (train, MaskDraw::Mean),
            Pass::TrainGiven(sample) => (train, MaskDraw::Given(bins.plane_mean(sample.clone()))),
            Pass::Evaluate => match self.evaluate {
                MaskDecoding::Mean => (kernels::MaskDecoding::Soft, MaskDraw::Mean),
                MaskDecoding::Threshold(threshold) => {
                    (kernels::MaskDecoding::Threshold(threshold), MaskDraw::Mean)
                }
                MaskDecoding::TopFraction(fraction) => {
                    let free = Tensor::full([batch, bins.len()], -1.0, &input.device());
                    let config = self.beta_mask(kernels::MaskDecoding::Soft);
                    let mean = split(beta_mask(logits, tracks, free, &config, MaskDraw::Mean)?);
                    let mask = top_fraction(&bins.expand(mean.mask), &overwrite, fraction)?;
                    return Ok(Mask {
                        mask,
                        kl: bins.expand(mean.kl),
                    });
                }
            },
        };
        let config = self.beta_mask(decoding);
        if bins.size == 1 {
            return Ok(split(beta_mask(logits, tracks, overwrite, &config, draw)?));
        }
        let free = Tensor::full([batch, bins.len()], -1.0, &input.device());
        let drawn = split(beta_mask(logits, tracks, free, &config, draw)?);
        Ok(Mask {
            mask: with_forced(bins.expand(drawn.mask), overwrite),
            kl: bins.expand(drawn.kl),
        })
    }
}

/// The mask of an evaluation pass and what it was decoded from.
#[derive(Clone, Debug)]
pub struct EvaluationMask {
    /// The mask, `[batch, length]`.
    pub mask: Tensor<2>,
    /// The mean of each position's Beta, `[batch, length]`, 1 in the promoter; it ranks positions also where the mask is 0
    /// or 1. A mask that is given stands here too.
    pub mean: Tensor<2>,
}

impl MaskConfig {
    /// Decodes logits as an evaluation pass does.
    ///
    /// # Shapes
    /// - `logits`: `[batch, length, 2]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the tensors disagree.
    pub fn evaluation(
        &self,
        logits: Tensor<3>,
        input: &ModelInput,
        promoter: usize,
    ) -> Result<EvaluationMask, ModelError> {
        let mean = self.mean(logits.clone(), input, promoter)?;
        let mask = match self.evaluate {
            MaskDecoding::Mean => mean.clone(),
            _ => self.draw(logits, input, promoter, &Pass::Evaluate)?.mask,
        };
        Ok(EvaluationMask { mask, mean })
    }

    /// The mean of each position's Beta, `[batch, length]`, whatever the settings decode it to; the promoter is 1.
    ///
    /// # Shapes
    /// - `logits`: `[batch, length, 2]`
    ///
    /// # Errors
    /// [`ModelError::Shape`] when the tensors disagree.
    pub fn mean(
        &self,
        logits: Tensor<3>,
        input: &ModelInput,
        promoter: usize,
    ) -> Result<Tensor<2>, ModelError> {
        let graded = Self {
            evaluate: MaskDecoding::Mean,
            ..self.clone()
        };
        let drawn = graded.draw(logits, input, promoter, &Pass::Evaluate)?;
        Ok(drawn.mask)
    }
}

/// Takes the kernel's two planes apart.
fn split(planes: Tensor<3>) -> Mask {
    let [_, batch, length] = planes.dims();
    let plane = |index: usize| {
        planes
            .clone()
            .slice([index..index + 1, 0..batch, 0..length])
            .squeeze_dim::<2>(0)
    };
    Mask {
        mask: plane(0),
        kl: plane(1),
    }
}

/// A mask with the forced values, which are not negative, put on it.
///
/// # Shapes
/// - `mask`, `forced`: `[batch, length]`
pub(crate) fn with_forced(mask: Tensor<2>, forced: Tensor<2>) -> Tensor<2> {
    let is_forced = forced.clone().greater_equal_elem(0.0);
    mask.mask_where(is_forced, forced)
}

/// 1 at the `floor(fraction * length)` positions (at least one) with the highest mean of each example, ties to the
/// lower position; then the forced values.
pub(crate) fn top_fraction(
    mean: &Tensor<2>,
    overwrite: &Tensor<2>,
    fraction: f32,
) -> Result<Tensor<2>, ModelError> {
    let ([batch, length], device) = (mean.dims(), mean.device());
    let forced = read(overwrite)?;
    let mean = read(mean)?;
    let n_selected = ((f64::from(fraction) * length as f64).floor() as usize).clamp(1, length);
    let mut mask = vec![0.0_f32; batch * length];
    for (example, mask) in mask.chunks_mut(length).enumerate() {
        let mean = &mean[example * length..(example + 1) * length];
        let mut order: Vec<usize> = (0..length).collect();
        order.sort_by(|&a, &b| mean[b].total_cmp(&mean[a]).then(a.cmp(&b)));
        for &position in &order[..n_selected] {
            mask[position] = 1.0;
        }
    }
    for (value, forced) in mask.iter_mut().zip(forced) {
        if forced >= 0.0 {
            *value = forced;
        }
    }
    Ok(Tensor::from_data(
        TensorData::new(mask, [batch, length]),
        &device.without_autodiff(),
    ))
}

/// The values of a tensor, without its graph.
pub(crate) fn read<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f32>, ModelError> {
    let data = tensor
        .clone()
        .without_autodiff()
        .try_into_data()
        .map_err(|error| ModelError::Device {
            message: error.to_string(),
        })?;
    data.try_to_vec::<f32>()
        .map_err(|error| ModelError::Device {
            message: format!("{error:?}"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn top_fraction_ties_and_forced_values_by_hand() {
        let device = Device::flex();
        let mean = Tensor::from_data(
            TensorData::from([[0.1_f32, 0.9, 0.9, 0.2, 0.9], [0.5, 0.4, 0.3, 0.2, 0.1]]),
            &device,
        );
        let overwrite = Tensor::from_data(
            TensorData::from([
                [-1.0_f32, 0.0, -1.0, -1.0, -1.0],
                [-1.0, -1.0, -1.0, -1.0, 1.0],
            ]),
            &device,
        );
        // floor(0.5 * 5) = 2: positions 1 and 2 of the first (tie with 4), 0 and 1 of the second; then 1 is excluded
        // in the first and 4 included in the second.
        let mask = top_fraction(&mean, &overwrite, 0.5).unwrap();
        assert_eq!(
            read(&mask).unwrap(),
            [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]
        );
        // floor(0.1 * 5) = 0 still selects one
        let mask = top_fraction(&mean, &(overwrite * 0.0 - 1.0), 0.1).unwrap();
        assert_eq!(
            read(&mask).unwrap(),
            [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
        );
    }
}
