//! Dropout whose draws depend on an example's seed and the position alone.

use burn::tensor::{Tensor, TensorData};
use kernels::random::PositionStream;

use crate::network::Pass;

/// A place in a network, so that no two places share their draws.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DropoutSite(pub(crate) u64);

/// Sets each value to 0 with probability `p` and divides the others by `1 - p`, in a training pass with seeds; every
/// other pass returns `x` as it is.
///
/// # Shapes
/// - `x` and output: `[batch, length, d_model]`
pub(crate) fn dropout(x: Tensor<3>, p: f64, site: DropoutSite, pass: &Pass) -> Tensor<3> {
    let Pass::Train { seeds } = pass else {
        return x;
    };
    if p == 0.0 {
        return x;
    }
    let [batch, length, d_model] = x.dims();
    // Positions stay below 2^32, so a site has the upper half of the stream's position to itself.
    let first = site.0 << 32;
    let kept = (1.0 / (1.0 - p)) as f32;
    let mut factors = Vec::with_capacity(batch * length * d_model);
    for seed in seeds {
        for position in 0..length as u64 {
            let mut stream = PositionStream::new(*seed, first + position);
            let draw = || {
                if stream.sample_uniform() < p {
                    0.0
                } else {
                    kept
                }
            };
            factors.extend(std::iter::repeat_with(draw).take(d_model));
        }
    }
    let device = x.device().without_autodiff();
    let factors = Tensor::from_data(TensorData::new(factors, [batch, length, d_model]), &device);
    x * Tensor::from_inner(factors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn dropout_keeps_the_mean_and_depends_on_the_seed_alone() {
        let device = Device::flex().autodiff();
        let run = |seeds: &[u64]| {
            let x = Tensor::<3>::ones([seeds.len(), 500, 8], &device);
            let pass = Pass::Train {
                seeds: seeds.to_vec(),
            };
            dropout(x, 0.1, DropoutSite(0), &pass)
                .into_data()
                .try_to_vec::<f32>()
                .unwrap()
        };
        let one = run(&[4]);
        // 4000 draws: the share of zeros has standard deviation sqrt(0.09 / 4000) = 0.005.
        let zeros = one.iter().filter(|&&value| value == 0.0).count() as f64 / 4000.0;
        assert!((zeros - 0.1).abs() < 0.02, "{zeros}");
        assert!(
            one.iter()
                .all(|&v| v == 0.0 || (v - 1.0 / 0.9).abs() < 1e-6)
        );
        let two = run(&[9, 4]);
        assert_eq!(two[4000..], one);
        assert_ne!(two[..4000], one);
        // Positions and sites have draws of their own.
        let at = |site, length| {
            let x = Tensor::<3>::ones([1, length, 64], &device);
            let pass = Pass::Train { seeds: vec![4] };
            let values = dropout(x, 0.5, DropoutSite(site), &pass).into_data();
            values.try_to_vec::<f32>().unwrap()
        };
        let rows = at(1, 3);
        assert_eq!(rows[..128], at(1, 2));
        assert!(rows[..64] != rows[64..128] && rows[64..128] != rows[128..]);
        assert_ne!(at(0, 3), rows);
        assert_ne!(at(2, 3), rows);
        let x = Tensor::<3>::ones([1, 2, 3], &device);
        let same = dropout(x, 0.1, DropoutSite(0), &Pass::TrainMean).into_data();
        assert_eq!(same.try_to_vec::<f32>().unwrap(), [1.0; 6]);
    }
}
