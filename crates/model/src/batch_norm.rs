//! Batch normalisation whose running statistics belong to the training loop.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::initialization::Initializer;

/// PyTorch's default epsilon.
const EPSILON: f64 = 1e-5;

/// Part of each training batch in the running statistics. PyTorch's default.
pub const BATCH_MOMENTUM: f64 = 0.1;

/// The mean or variance of one training batch, for the running statistic of the same name.
#[derive(Clone, Debug)]
pub struct BatchStatistic {
    /// Name of the running statistic, such as `context.norm1.running_mean`.
    pub name: String,
    /// Of the batch: `[channels]`.
    pub value: Tensor<1>,
}

/// Which statistics normalise a pass.
pub(crate) enum Statistics<'a> {
    /// The running ones.
    Running,
    /// Those of the batch, which are collected.
    Batch(&'a mut Vec<BatchStatistic>),
}

/// `(x - mean) / sqrt(variance + 1e-5) * weight + bias` of every channel.
///
/// The running statistics are saved with the parameters but not trained: a training pass hands back its batch's
/// statistics, and whoever runs it blends them in by [`BATCH_MOMENTUM`].
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// `[channels]`, without gradient.
    pub running_mean: Param<Tensor<1>>,
    /// `[channels]`, without gradient; unbiased.
    pub running_var: Param<Tensor<1>>,
}

/// Whether a parameter is a running statistic, which no gradient reaches.
pub fn is_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

impl BatchNorm {
    /// Starts at weight 1, bias 0, mean 0 and variance 1.
    pub fn init(n_channels: usize, initializer: &Initializer<'_>) -> Self {
        let fill = |value: f32| initializer.fill([n_channels], |_| value);
        Self {
            weight: fill(1.0),
            bias: fill(0.0),
            running_mean: fill(0.0).set_require_grad(false),
            running_var: fill(1.0).set_require_grad(false),
        }
    }

    /// Normalises every channel; `name` is this layer's path in its network.
    ///
    /// # Shapes
    /// - `x` and output: `[batch, channels, length]`
    pub(crate) fn forward(
        &self,
        x: Tensor<3>,
        name: &str,
        statistics: &mut Statistics<'_>,
    ) -> Tensor<3> {
        let [batch, n_channels, length] = x.dims();
        let column = |value: Tensor<1>| value.reshape([1, n_channels, 1]);
        let (centered, variance) = match statistics {
            Statistics::Running => (
                x - column(self.running_mean.val()),
                column(self.running_var.val()),
            ),
            Statistics::Batch(found) => {
                let mean = mean_of_rows(x.clone()).mean_dim(0);
                let centered = x - mean.clone();
                let variance = mean_of_rows(centered.clone().square()).mean_dim(0);
                let n = (batch * length) as f64;
                let values = [
                    ("running_mean", mean),
                    ("running_var", variance.clone() * (n / (n - 1.0).max(1.0))),
                ];
                found.extend(values.map(|(field, value)| BatchStatistic {
                    name: format!("{name}.{field}"),
                    value: value.without_autodiff().reshape([n_channels]),
                }));
                (centered, variance)
            }
        };
        centered / (variance + EPSILON).sqrt() * column(self.weight.val()) + column(self.bias.val())
    }
}

/// The mean over the last axis, as a mean of means of equal parts where it can be cut so: a sum of thousands of numbers in
/// single precision one after the other loses three digits.
///
/// # Shapes
/// - `x`: `[batch, channels, length]`; output: `[batch, channels, 1]`
fn mean_of_rows(x: Tensor<3>) -> Tensor<3> {
    let [batch, n_channels, length] = x.dims();
    let n_parts = (1..=length.isqrt())
        .rev()
        .find(|n_parts| length.is_multiple_of(*n_parts))
        .unwrap_or(1);
    x.reshape([batch, n_channels, n_parts, length / n_parts])
        .mean_dim(3)
        .mean_dim(2)
        .squeeze_dim::<3>(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn layer(device: &Device) -> BatchNorm {
        let param = |values: [f32; 2]| Param::from_data(TensorData::from(values), device);
        BatchNorm {
            weight: param([1.0, 2.0]),
            bias: param([0.0, 1.0]),
            running_mean: param([1.0, 0.0]),
            running_var: param([4.0, 1.0]),
        }
    }

    #[test]
    fn forward_each_mode_matches_hand_computation() {
        let device = Device::flex();
        let x = TensorData::from([[[1.0_f32, 3.0], [0.0, 0.0]], [[5.0, 7.0], [2.0, 2.0]]]);
        let x = Tensor::<3>::from_data(x, &device);
        let values = |tensor: Tensor<3>| tensor.into_data().try_to_vec::<f32>().unwrap();
        // Running: (x - 1) / 2, and 2 x + 1.
        let found = values(layer(&device).forward(x.clone(), "n", &mut Statistics::Running));
        for (found, expected) in found.iter().zip([0.0, 1.0, 1.0, 1.0, 2.0, 3.0, 5.0, 5.0]) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        // Batch: channel 0 has mean 4 and variance (9 + 1 + 1 + 9) / 4 = 5, unbiased 20 / 3; channel 1 mean 1,
        // variance 1, unbiased 4 / 3.
        let mut collected = Vec::new();
        let mut statistics = Statistics::Batch(&mut collected);
        let found = values(layer(&device).forward(x, "n", &mut statistics));
        let root = 5.0_f32.sqrt();
        let expected = [
            -3.0 / root,
            -1.0 / root,
            -1.0,
            -1.0,
            1.0 / root,
            3.0 / root,
            3.0,
            3.0,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
        let statistic = |index: usize| {
            let BatchStatistic { name, value } = collected[index].clone();
            (name, value.into_data().try_to_vec::<f32>().unwrap())
        };
        assert_eq!(statistic(0), ("n.running_mean".to_owned(), vec![4.0, 1.0]));
        let (name, variance) = statistic(1);
        assert_eq!(name, "n.running_var");
        assert!((variance[0] - 20.0 / 3.0).abs() < 1e-5 && (variance[1] - 4.0 / 3.0).abs() < 1e-5);
    }
}
