//! What training minimises.

use burn::tensor::Tensor;

use crate::network::Output;
use crate::window_mean::window_mean;

/// The loss of a batch, with its parts.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is minimised: `[1]`.
    pub total: Tensor<1>,
    /// Smooth L1 of the prediction: `[1]`.
    pub prediction: Tensor<1>,
    /// Mean divergence of the mask from its marginal, in nats; none for networks without a mask.
    pub kl: Option<Tensor<1>>,
    /// Smooth L1 of the intervened prediction; none for networks without interventions.
    pub intervention: Option<Tensor<1>>,
}

/// What a mask costs in the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskCost {
    /// Weight of its mean divergence from the marginal.
    pub kl: f64,
    /// Weight of its mean, promoter included.
    pub mean: f64,
}

impl MaskCost {
    /// The published loss has the divergence alone.
    pub const PUBLISHED: Self = Self {
        kl: 0.01,
        mean: 0.0,
    };
}

/// `smooth_l1(prediction, target) + cost.kl * kl + cost.mean * mean(mask)`; for networks with interventions
/// `smooth_l1(prediction, target) + weight * smooth_l1(intervened, target) + uniformity`.
///
/// # Shapes
/// - `target`: `[batch, 1]`
pub fn loss(output: &Output, target: Tensor<2>, cost: MaskCost) -> Loss {
    let prediction = smooth_l1(output.prediction.clone(), target.clone());
    let mut total = prediction.clone();
    if let Some(kl) = &output.kl {
        total = total + kl.clone() * cost.kl;
    }
    if let (Some(mask), true) = (&output.mask, cost.mean > 0.0) {
        total = total + window_mean(mask.clone()) * cost.mean;
    }
    let intervention = output.intervention.as_ref().map(|intervention| {
        let intervened = smooth_l1(intervention.prediction.clone(), target);
        let uniformity = intervention.uniformity.clone();
        total = total.clone() + intervened.clone() * intervention.weight + uniformity;
        intervened
    });
    Loss {
        total,
        prediction,
        kl: output.kl.clone(),
        intervention,
    }
}

/// Mean of `d² / 2` where `|d| < 1` and `|d| - 1/2` elsewhere, with `d = prediction - target`.
///
/// # Shapes
/// - `prediction`, `target`: `[batch, 1]`; output: `[1]`
pub fn smooth_l1(prediction: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    // With c = min(|d|, 1): c (|d| - c / 2) is d² / 2 below 1 and |d| - 1/2 above.
    let distance = (prediction - target).abs();
    let clamped = distance.clone().clamp_max(1.0);
    (clamped.clone() * (distance - clamped * 0.5)).mean()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Intervention;
    use burn::tensor::{Device, TensorData};

    fn column(values: Vec<f32>) -> Tensor<2> {
        let n = values.len();
        Tensor::from_data(TensorData::new(values, [n, 1]), &Device::flex())
    }

    fn scalar(tensor: &Tensor<1>) -> f32 {
        tensor.clone().into_scalar()
    }

    #[test]
    fn smooth_l1_each_branch_matches_hand_computation() {
        // distance 0, 0.5, 1, 3, -2: 0, 0.125, 0.5, 2.5, 1.5
        for (prediction, expected) in [(2.0, 0.0), (2.5, 0.125), (3.0, 0.5), (5.0, 2.5), (0.0, 1.5)]
        {
            assert_eq!(
                scalar(&smooth_l1(column(vec![prediction]), column(vec![2.0]))),
                expected
            );
        }
        let mean = smooth_l1(column(vec![2.5, 5.0]), column(vec![2.0, 2.0]));
        assert_eq!(scalar(&mean), (0.125 + 2.5) / 2.0);
    }

    #[test]
    fn loss_adds_the_weighted_divergence() {
        let kl = Tensor::<1>::from_data(TensorData::from([40.0_f32]), &Device::flex());
        let mut output = Output {
            kl: Some(kl),
            ..Output::plain(column(vec![2.5]))
        };
        // 0.125 + 0.01 * 40
        assert!(
            (scalar(&loss(&output, column(vec![2.0]), MaskCost::PUBLISHED).total) - 0.525).abs()
                < 1e-6
        );
        output.kl = None;
        assert_eq!(
            scalar(&loss(&output, column(vec![2.0]), MaskCost::PUBLISHED).total),
            0.125
        );
    }

    #[test]
    fn loss_adds_the_weighted_mean_of_the_mask() {
        let mask = Tensor::<2>::from_data(TensorData::from([[1.0_f32, 0.5, 0.0]]), &Device::flex());
        let output = Output {
            mask: Some(mask),
            ..Output::plain(column(vec![2.5]))
        };
        let cost = MaskCost { kl: 1.0, mean: 0.5 };
        // 0.125 + 0.5 * 0.5; without a divergence its weight is nothing.
        let total = scalar(&loss(&output, column(vec![2.0]), cost).total);
        assert_eq!(total, 0.375);
        let published = loss(&output, column(vec![2.0]), MaskCost::PUBLISHED);
        assert_eq!(scalar(&published.total), 0.125);
    }

    #[test]
    fn loss_with_interventions_adds_both_predictions_and_the_uniformity() {
        let uniformity = Tensor::<1>::from_data(TensorData::from([0.75_f32]), &Device::flex());
        let output = Output {
            intervention: Some(Intervention {
                prediction: column(vec![2.0, 5.0]),
                weight: 0.5,
                uniformity,
            }),
            ..Output::plain(column(vec![3.0, 1.0]))
        };
        // Distances 1 and -1: (0.5 + 0.5) / 2; 0 and 3: (0 + 2.5) / 2; 0.5 + 0.5 * 1.25 + 0.75.
        let loss = loss(&output, column(vec![2.0, 2.0]), MaskCost::PUBLISHED);
        assert_eq!(scalar(&loss.total), 1.875);
        assert_eq!(scalar(&loss.intervention.unwrap()), 1.25);
    }
}
