//! Neighbouring positions that share one draw of the mask.

use burn::tensor::{Tensor, TensorData};

/// Positions in bins of `size`, counted from the window's start; the last bin may be shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bins {
    /// Positions of the window.
    pub length: usize,
    /// Positions of a bin, at least 1.
    pub size: usize,
}

impl Bins {
    /// Number of bins.
    pub fn len(self) -> usize {
        self.length.div_ceil(self.size)
    }

    /// Mean of each bin's positions: `[batch, length, n]` to `[batch, bins, n]`.
    pub fn mean(self, values: Tensor<3>) -> Tensor<3> {
        if self.size == 1 {
            return values;
        }
        let ([batch, _, n], n_bins, device) = (values.dims(), self.len(), values.device());
        let n_missing = n_bins * self.size - self.length;
        let filled = match n_missing {
            0 => values,
            _ => Tensor::cat(
                vec![values, Tensor::zeros([batch, n_missing, n], &device)],
                1,
            ),
        };
        let mut weights = vec![1.0 / self.size as f32; n_bins];
        if let Some(last) = weights.last_mut() {
            *last = 1.0 / (self.size - n_missing) as f32;
        }
        let weights = Tensor::from_data(TensorData::new(weights, [1, n_bins, 1]), &device);
        let sums = filled.reshape([batch, n_bins, self.size, n]).sum_dim(2);
        sums.squeeze_dim::<3>(2) * weights
    }

    /// Mean of each bin's positions: `[batch, length]` to `[batch, bins]`.
    pub fn plane_mean(self, values: Tensor<2>) -> Tensor<2> {
        self.mean(values.unsqueeze_dim::<3>(2)).squeeze_dim::<2>(2)
    }

    /// Each position's bin: `[batch, bins]` to `[batch, length]`.
    pub fn expand(self, values: Tensor<2>) -> Tensor<2> {
        if self.size == 1 {
            return values;
        }
        let [batch, n_bins] = values.dims();
        values
            .unsqueeze_dim::<3>(2)
            .expand([batch, n_bins, self.size])
            .reshape([batch, n_bins * self.size])
            .slice([0..batch, 0..self.length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::read;
    use burn::tensor::Device;

    #[test]
    fn mean_and_expand_by_hand_with_a_shorter_last_bin() {
        let device = Device::flex();
        let bins = Bins { length: 5, size: 2 };
        assert_eq!(bins.len(), 3);
        let plane = [[1.0_f32, 3.0, 2.0, 6.0, 7.0], [0.0, 1.0, 0.0, -1.0, 5.0]];
        let means = bins.plane_mean(Tensor::from_data(plane, &device));
        assert_eq!(read(&means).unwrap(), [2.0, 4.0, 7.0, 0.5, -0.5, 5.0]);
        let expanded = bins.expand(means);
        assert_eq!(
            read(&expanded).unwrap(),
            [2.0, 2.0, 4.0, 4.0, 7.0, 0.5, 0.5, -0.5, -0.5, 5.0]
        );
        // Two columns, 2 bins of 2: each column for itself.
        let columns = Tensor::<3>::from_data(
            [[[1.0_f32, 10.0], [3.0, 30.0], [5.0, 50.0], [6.0, 60.0]]],
            &device,
        );
        let means = Bins { length: 4, size: 2 }.mean(columns);
        assert_eq!(read(&means).unwrap(), [2.0, 20.0, 5.5, 55.0]);
    }

    #[test]
    fn gradient_of_a_bin_is_shared_by_its_positions() {
        let device = Device::flex().autodiff();
        let bins = Bins { length: 3, size: 2 };
        let plane = Tensor::<2>::from_data([[1.0_f32, 2.0, 3.0]], &device).require_grad();
        let weights = Tensor::<2>::from_data([[1.0_f32, 4.0, 2.0]], &device);
        let loss = (bins.expand(bins.plane_mean(plane.clone())) * weights).sum();
        let gradient = plane.grad(&loss.backward()).unwrap();
        // The first bin's mean is read with weights 1 + 4, half of it from each position.
        assert_eq!(read(&gradient).unwrap(), [2.5, 2.5, 2.0]);
    }
}
