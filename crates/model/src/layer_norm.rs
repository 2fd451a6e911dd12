//! Layer normalisation of the last axis.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, module::layer_norm};

use crate::initialization::Initializer;

/// PyTorch's default epsilon, which every released network uses.
pub(crate) const LAYER_NORM_EPSILON: f64 = 1e-5;

/// `(x - mean) / sqrt(variance + 1e-5) * weight + bias` over the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[d_model]`.
    pub weight: Param<Tensor<1>>,
    /// `[d_model]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// Starts at weight 1 and bias 0.
    pub fn init(d_model: usize, initializer: &Initializer<'_>) -> Self {
        Self {
            weight: initializer.fill([d_model], |_| 1.0),
            bias: initializer.fill([d_model], |_| 0.0),
        }
    }

    /// Normalises every row.
    ///
    /// # Shapes
    /// - `x` and output: `[batch, length, d_model]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        layer_norm(
            x,
            self.weight.val(),
            Some(self.bias.val()),
            LAYER_NORM_EPSILON,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn forward_one_row_matches_hand_computation() {
        let device = Device::flex();
        let norm = LayerNorm {
            weight: Param::from_data(TensorData::from([1.0_f32, 2.0, 3.0]), &device),
            bias: Param::from_data(TensorData::from([0.0_f32, 0.0, 1.0]), &device),
        };
        let x = Tensor::from_data(TensorData::from([[[1.0_f32, 2.0, 6.0]]]), &device);
        // Mean 3, variance (4 + 1 + 9) / 3 = 14 / 3.
        let sd = (14.0_f32 / 3.0 + 1e-5).sqrt();
        let expected = [-2.0 / sd, -2.0 / sd, 3.0 * 3.0 / sd + 1.0];
        let found = norm.forward(x).into_data().try_to_vec::<f32>().unwrap();
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }
}
