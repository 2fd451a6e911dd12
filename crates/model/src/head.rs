//! From the promoter's hidden states to predicted expression.

use burn::module::Module;
use burn::tensor::{Tensor, activation::relu};

use crate::initialization::Initializer;
use crate::linear::Linear;

/// Epsilon of every RMSNorm. Released name: `norm_epsilon`.
pub(crate) const NORM_EPSILON: f64 = 1e-5;

/// `Linear → ReLU → Linear → ReLU → Linear` on the pooled promoter and the messenger RNA's features.
#[derive(Module, Debug)]
pub struct ExpressionHead {
    /// `d_model + n_features` to `d_model`.
    pub hidden1: Linear,
    /// `d_model` to `d_model`.
    pub hidden2: Linear,
    /// `d_model` to 1.
    pub output: Linear,
}

impl ExpressionHead {
    /// Draws the parameters; biases are 0.
    pub fn init(d_model: usize, n_features: usize, initializer: &Initializer<'_>) -> Self {
        Self {
            hidden1: Linear::init(d_model + n_features, d_model, &initializer.at("hidden1")),
            hidden2: Linear::init(d_model, d_model, &initializer.at("hidden2")),
            output: Linear::init(d_model, 1, &initializer.at("output")),
        }
    }

    /// Draws the parameters with hidden layers of `d_hidden`; biases are drawn too, as PyTorch does.
    pub fn init_biased(
        d_model: usize,
        d_hidden: usize,
        n_features: usize,
        initializer: &Initializer<'_>,
    ) -> Self {
        let layer = |n_in, n_out, name| Linear::init_biased(n_in, n_out, &initializer.at(name));
        Self {
            hidden1: layer(d_model + n_features, d_hidden, "hidden1"),
            hidden2: layer(d_hidden, d_hidden, "hidden2"),
            output: layer(d_hidden, 1, "output"),
        }
    }

    /// Predicts expression.
    ///
    /// # Shapes
    /// - `pooled`: `[batch, d_model]`; `features`: `[batch, n_features]`; output: `[batch, 1]`
    pub fn forward(&self, pooled: Tensor<2>, features: Tensor<2>) -> Tensor<2> {
        let x = Tensor::cat(vec![pooled, features], 1);
        let x = relu(self.hidden1.forward(x));
        let x = relu(self.hidden2.forward(x));
        self.output.forward(x)
    }
}

/// The mean over positions of the RMSNorm of a residual stream.
///
/// # Shapes
/// - `x`: `[batch, n_positions, d_model]`; `norm_weight`: `[d_model]`; output: `[batch, d_model]`
pub(crate) fn normed_mean(x: Tensor<3>, norm_weight: Tensor<1>) -> Tensor<2> {
    let scale = (x.clone().square().mean_dim(2) + NORM_EPSILON)
        .sqrt()
        .recip();
    let pooled = (x * scale).mean_dim(1).squeeze_dim::<2>(1);
    // The weight is the same at every position, so it is applied once, after the mean.
    pooled * norm_weight.unsqueeze_dim::<2>(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn normed_mean_two_positions_matches_hand_computation() {
        let device = Device::flex();
        let x = TensorData::from([[[3.0_f32, 4.0], [0.0, 2.0]]]);
        let weight = Tensor::<1>::from_data(TensorData::from([1.0_f32, 2.0]), &device);
        let pooled = normed_mean(Tensor::<3>::from_data(x, &device), weight);
        // RMS of (3, 4) is sqrt(12.5); of (0, 2) sqrt(2); epsilon 1e-5 is below the tolerance.
        let (a, b) = (12.5_f32.sqrt(), 2.0_f32.sqrt());
        let expected = [(3.0 / a + 0.0) / 2.0, 2.0 * (4.0 / a + 2.0 / b) / 2.0];
        for (found, expected) in pooled
            .into_data()
            .try_to_vec::<f32>()
            .unwrap()
            .iter()
            .zip(expected)
        {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
