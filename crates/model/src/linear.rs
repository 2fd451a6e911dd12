//! An affine map with its weight in PyTorch's layout.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::initialization::{Initializer, kaiming_bound};

/// `y = x weightᵀ + bias`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[n_out, n_in]`.
    pub weight: Param<Tensor<2>>,
    /// `[n_out]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Draws the weight as PyTorch does; the bias is 0.
    pub fn init(n_in: usize, n_out: usize, initializer: &Initializer<'_>) -> Self {
        Self {
            weight: initializer.uniform("weight", [n_out, n_in], kaiming_bound(n_in)),
            bias: initializer.fill([n_out], |_| 0.0),
        }
    }

    /// Draws weight and bias as PyTorch does.
    pub fn init_biased(n_in: usize, n_out: usize, initializer: &Initializer<'_>) -> Self {
        Self {
            bias: initializer.uniform("bias", [n_out], kaiming_bound(n_in)),
            ..Self::init(n_in, n_out, initializer)
        }
    }

    /// Draws the weight from a normal distribution; the bias is 0.
    pub fn init_normal(n_in: usize, n_out: usize, sd: f64, initializer: &Initializer<'_>) -> Self {
        Self {
            weight: initializer.normal("weight", [n_out, n_in], sd),
            bias: initializer.fill([n_out], |_| 0.0),
        }
    }

    /// Applies the map to every position, one product per example.
    ///
    /// # Shapes
    /// - `x`: `[batch, length, n_in]`; output: `[batch, length, n_out]`
    pub fn forward_rows(&self, x: Tensor<3>) -> Tensor<3> {
        project(x, self.weight.val()) + self.bias.val().unsqueeze::<3>()
    }

    /// Applies the map to one row per example, one product per example so that a result does not depend on its
    /// batch mates.
    ///
    /// # Shapes
    /// - `x`: `[batch, n_in]`; output: `[batch, n_out]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val().transpose().unsqueeze_dim::<3>(0);
        let product = x.unsqueeze_dim::<3>(1).matmul(weight).squeeze_dim::<2>(1);
        product + self.bias.val().unsqueeze_dim::<2>(0)
    }

    /// The weight with the bias as a last column, for inputs that end in a column of ones.
    ///
    /// # Shapes
    /// - output: `[n_out, n_in + 1]`
    pub fn augmented(&self) -> Tensor<2> {
        Tensor::cat(
            vec![self.weight.val(), self.bias.val().unsqueeze_dim::<2>(1)],
            1,
        )
    }
}

/// Multiplies each position of a narrow input with a weight, in one product per example.
///
/// # Shapes
/// - `narrow`: `[batch, length, n_in]`; `weight`: `[d_model, n_in]`; output: `[batch, length, d_model]`
pub(crate) fn project(narrow: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    narrow.matmul(weight.transpose().unsqueeze_dim::<3>(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn linear() -> Linear {
        let device = Device::flex();
        Linear {
            weight: Param::from_data(
                TensorData::from([[1.0_f32, 2.0, 3.0], [0.0, -1.0, 4.0]]),
                &device,
            ),
            bias: Param::from_data(TensorData::from([0.5_f32, -0.5]), &device),
        }
    }

    #[test]
    fn forward_two_rows_matches_hand_computation() {
        let x = Tensor::<2>::from_data(
            TensorData::from([[1.0_f32, 0.0, 2.0], [0.0, 3.0, 1.0]]),
            &Device::flex(),
        );
        // [1 + 6 + 0.5, 8 - 0.5], [6 + 3 + 0.5, -3 + 4 - 0.5]
        let y = linear().forward(x).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(y, [7.5, 7.5, 9.5, 0.5]);
    }

    #[test]
    fn project_augmented_input_adds_the_bias_scaled_by_the_last_column() {
        let x = Tensor::<3>::from_data(
            TensorData::from([[[1.0_f32, 0.0, 2.0, 1.0], [0.0, 3.0, 1.0, 0.0]]]),
            &Device::flex(),
        );
        // The second position's last column is 0, so it has no bias: [6 + 3, -3 + 4].
        let y = project(x, linear().augmented())
            .into_data()
            .try_to_vec::<f32>()
            .unwrap();
        assert_eq!(y, [7.5, 7.5, 9.0, 1.0]);
    }
}
