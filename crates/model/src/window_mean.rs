//! The mean over the positions of a batch's windows.

use burn::tensor::Tensor;

/// The mean of all values.
///
/// They are added up in parts, and then the parts: a sum in single precision of a million numbers one after the other
/// may be off by a hundredth.
///
/// # Shapes
/// - `x`: `[batch, length]`, not empty; output: `[1]`
pub(crate) fn window_mean(x: Tensor<2>) -> Tensor<1> {
    let [batch, length] = x.dims();
    let part = length.isqrt();
    let n_parts = length.div_ceil(part);
    let n_missing = n_parts * part - length;
    let filled = match n_missing {
        0 => x,
        _ => {
            let zeros = Tensor::zeros([batch, n_missing], &x.device());
            Tensor::cat(vec![x, zeros], 1)
        }
    };
    let sums = filled.reshape([batch, n_parts, part]).sum_dim(2).sum_dim(1);
    sums.sum() * (1.0 / (batch * length) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    /// Sums of at most 448 numbers and of a few more, each rounded to half of 2^-23 of itself.
    const TOLERANCE: f64 = 1e-5;

    fn plane(values: Vec<f32>, batch: usize, device: &Device) -> Tensor<2> {
        let length = values.len() / batch;
        Tensor::from_data(TensorData::new(values, [batch, length]), device)
    }

    #[test]
    fn window_mean_of_long_windows_keeps_single_precision() {
        // 200,003 is prime: no number of equal parts fits.
        for (batch, length) in [(8, 200_000), (3, 200_003), (1, 1), (2, 3), (1, 2)] {
            for value in [0.1_f32, 0.3, 0.037, 0.9] {
                let values = vec![value; batch * length];
                let mean: f32 = window_mean(plane(values, batch, &Device::flex())).into_scalar();
                let error = f64::from(mean) / f64::from(value) - 1.0;
                assert!(error.abs() < TOLERANCE, "{batch} {length}: {mean}");
            }
        }
    }

    #[test]
    fn window_mean_of_unequal_values_matches_hand_computation() {
        let values = vec![1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0];
        // (15 + 150) / 10
        let mean: f32 = window_mean(plane(values, 2, &Device::flex())).into_scalar();
        assert!((mean - 16.5).abs() < 1e-5, "{mean}");
    }

    #[test]
    fn window_mean_gradient_is_one_over_the_number_of_values() {
        let x = plane(vec![0.5; 14], 2, &Device::flex().autodiff()).require_grad();
        let gradients = window_mean(x.clone()).backward();
        let found = x.grad(&gradients).unwrap().into_data();
        let found = found.try_to_vec::<f32>().unwrap();
        assert_eq!(found, [1.0_f32 / 14.0; 14]);
    }
}
