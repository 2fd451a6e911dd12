//! What training minimises.

use burn::tensor::Tensor;

use crate::network::Output;

/// The loss of a batch, with its parts.
#[derive(Clone, Debug)]
pub struct Loss {
    /// `prediction + kl_weight * kl`: `[1]`.
    pub total: Tensor<1>,
    /// Smooth L1 of the prediction: `[1]`.
    pub prediction: Tensor<1>,
    /// Mean divergence of the mask from its marginal, in nats; none for networks without a mask.
    pub kl: Option<Tensor<1>>,
}

/// Weight of the divergence in the published loss.
pub const KL_WEIGHT: f64 = 0.01;

/// `smooth_l1(prediction, target) + kl_weight * kl`.
///
/// # Shapes
/// - `target`: `[batch, 1]`
pub fn loss(output: &Output, target: Tensor<2>, kl_weight: f64) -> Loss {
    let prediction = smooth_l1(output.prediction.clone(), target);
    let total = match &output.kl {
        Some(kl) => prediction.clone() + kl.clone() * kl_weight,
        None => prediction.clone(),
    };
    Loss {
        total,
        prediction,
        kl: output.kl.clone(),
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
            prediction: column(vec![2.5]),
            mask: None,
            kl: Some(kl),
        };
        // 0.125 + 0.01 * 40
        assert!((scalar(&loss(&output, column(vec![2.0]), KL_WEIGHT).total) - 0.525).abs() < 1e-6);
        output.kl = None;
        assert_eq!(
            scalar(&loss(&output, column(vec![2.0]), KL_WEIGHT).total),
            0.125
        );
    }
}
