//! How well a run predicts when only the highest part of its mask is kept.

use burn::tensor::{Device, Tensor, TensorData};
use dataset::Example;
use model::{Network, Pass};
use serde::Serialize;

use super::{SPARSITIES, highest_first};
use crate::batch::{Batch, read_values};
use crate::error::RunError;
use crate::evaluate::Scores;
use crate::experiment::TrainedNetworks;
use crate::metric::{BootstrapConfig, Estimate};

/// Accuracy under the highest part of the mask.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SparseAccuracy {
    /// Share of each window's free bases whose mask is kept.
    pub sparsity: f64,
    /// Mean squared error over the genes.
    pub mse: Estimate,
    /// Pearson correlation over the genes.
    pub pearson: Estimate,
}

/// A mask with its highest free bases as they are and the other free ones at 0; what is not free stays. Of equal bases
/// the first are kept.
///
/// # Shapes
/// - `mask`, `is_free`: `[length]`
pub fn keep_highest(mask: &[f32], is_free: &[bool], share: f64) -> Vec<f32> {
    let order = highest_first(mask, is_free);
    let n_kept = (share * order.len() as f64).round() as usize;
    let mut kept = mask.to_vec();
    for &position in order.iter().skip(n_kept) {
        kept[position] = 0.0;
    }
    kept
}

/// Predictions of one gene after the other, mean over a run's networks, at every sparsity.
#[derive(Debug, Clone, Default)]
pub struct SparseTally {
    observed: Vec<f64>,
    predicted: [Vec<f64>; SPARSITIES.len()],
}

impl SparseTally {
    /// Predicts a gene with the highest part of each network's own mask; a gene that was not measured is left out.
    /// False, and nothing is done, when the networks have no mask.
    ///
    /// # Errors
    /// What running a network causes; [`RunError::NotFinite`] for a prediction that is NaN or infinite.
    pub fn add(
        &mut self,
        networks: &TrainedNetworks,
        example: &Example,
        is_free: &[bool],
        device: &Device,
    ) -> Result<bool, RunError> {
        let mut sums = [0.0; SPARSITIES.len()];
        for (_, network) in &networks.networks {
            let Some(predicted) = predict_sparse(network, example, is_free, device)? else {
                return Ok(false);
            };
            for (sum, value) in sums.iter_mut().zip(predicted) {
                *sum += f64::from(value);
            }
        }
        if let Some(observed) = example.target() {
            self.observed.push(f64::from(observed));
            for (predicted, sum) in self.predicted.iter_mut().zip(sums) {
                predicted.push(sum / networks.networks.len() as f64);
            }
        }
        Ok(true)
    }

    /// The scores over all genes, in the order of [`SPARSITIES`]; intervals are drawn with `seed`.
    pub fn finish(&self, config: BootstrapConfig, seed: u64) -> Vec<SparseAccuracy> {
        let score = |(predicted, sparsity): (&Vec<f64>, f64)| {
            let scores = Scores::new(predicted, &self.observed, config, seed);
            SparseAccuracy {
                sparsity,
                mse: scores.mse,
                pearson: scores.pearson,
            }
        };
        self.predicted.iter().zip(SPARSITIES).map(score).collect()
    }
}

/// What a network predicts at each of [`SPARSITIES`]; none for one without a mask.
fn predict_sparse(
    network: &Network,
    example: &Example,
    is_free: &[bool],
    device: &Device,
) -> Result<Option<[f32; SPARSITIES.len()]>, RunError> {
    let batch = Batch::new(std::slice::from_ref(example), device)?;
    let Some(mask) = network.forward(batch.input.clone(), &Pass::Evaluate)?.mask else {
        return Ok(None);
    };
    let mask = read_values(mask)?;
    let mut predicted = [0.0; SPARSITIES.len()];
    for (predicted, sparsity) in predicted.iter_mut().zip(SPARSITIES) {
        let kept = keep_highest(&mask, is_free, sparsity);
        let kept = Tensor::from_data(TensorData::new(kept, [1, mask.len()]), device);
        let prediction = read_values(network.predict_with_mask(&batch.input, kept)?)?;
        *predicted = prediction.first().copied().unwrap_or(f32::NAN);
    }
    match predicted.iter().all(|value| value.is_finite()) {
        true => Ok(Some(predicted)),
        false => Err(RunError::NotFinite {
            what: "a prediction under part of the mask",
            step: None,
            genes: batch.symbols,
            inputs: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::{PROMOTER, SyntheticSource};
    use dataset::{ExampleSource, RegionCode};
    use model::{NetworkConfig, NetworkKind, NetworkSize};

    const LENGTH: usize = 37;

    #[test]
    fn keep_highest_by_hand() {
        let mask = [1.0, 0.2, 0.9, 0.5, 0.5, 1.0];
        let is_free = [false, true, true, true, true, true];
        // Five free bases: 0.4 of them are 2 (bases 5 and 2), 0.6 are 3 with the first of the two of 0.5.
        for (share, expected) in [
            (0.0, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            (0.4, [1.0, 0.0, 0.9, 0.0, 0.0, 1.0]),
            (0.6, [1.0, 0.0, 0.9, 0.5, 0.0, 1.0]),
            (1.0, mask),
        ] {
            assert_eq!(keep_highest(&mask, &is_free, share), expected, "{share}");
        }
        assert_eq!(keep_highest(&[], &[], 0.5), [0.0; 0]);
    }

    fn networks(kind: NetworkKind, change: impl Fn(&mut NetworkConfig)) -> TrainedNetworks {
        let mut config = kind.preset().with_size(NetworkSize {
            d_model: 8,
            n_layer: 1,
            promoter: PROMOTER,
            length: LENGTH,
        });
        change(&mut config);
        let network = |seed| Network::init(&config, seed, &Device::flex()).expect("sound");
        TrainedNetworks {
            networks: vec![(2, network(2)), (3, network(3))],
            digest: String::new(),
        }
    }

    #[test]
    fn sparse_predictions_are_those_under_a_mask_written_by_hand() {
        let source = SyntheticSource::new(4, LENGTH);
        let device = Device::flex();
        // The mask is 1 everywhere, so the first of the free bases are kept.
        let all = networks(NetworkKind::Macs3, |config| {
            if let NetworkConfig::FixedMask(config) = config {
                config.mask_source = model::config::FixedMaskSource::All;
            }
        });
        let mut tally = SparseTally::default();
        let mut expected = [const { Vec::new() }; SPARSITIES.len()];
        let mut observed = Vec::new();
        for gene in 0..4 {
            let example = source.read(gene).expect("an example");
            let codes = example.regions();
            let is_free: Vec<bool> = codes.iter().map(|c| *c == RegionCode::Keep).collect();
            assert!(
                tally
                    .add(&all, &example, &is_free, &device)
                    .expect("predicted")
            );
            observed.extend(example.target().map(f64::from));
            let batch = Batch::new(std::slice::from_ref(&example), &device).expect("a batch");
            for (sums, sparsity) in expected.iter_mut().zip(SPARSITIES) {
                let n_free = is_free.iter().filter(|free| **free).count();
                let mut left = (sparsity * n_free as f64).round() as usize;
                let mask: Vec<f32> = codes
                    .iter()
                    .map(|code| match code {
                        RegionCode::One => 1.0,
                        RegionCode::Keep if left > 0 => {
                            left -= 1;
                            1.0
                        }
                        _ => 0.0,
                    })
                    .collect();
                let sum: f64 = all
                    .networks
                    .iter()
                    .map(|(_, network)| {
                        let data = TensorData::new(mask.clone(), [1, LENGTH]);
                        let mask = Tensor::from_data(data, &device);
                        let prediction = network.predict_with_mask(&batch.input, mask);
                        f64::from(read_values(prediction.expect("sound")).expect("read")[0])
                    })
                    .sum();
                sums.push(sum / 2.0);
            }
        }
        let expected = expected.iter().map(|predicted| {
            let errors = predicted
                .iter()
                .zip(&observed)
                .map(|(p, o)| (p - o) * (p - o));
            errors.sum::<f64>() / observed.len() as f64
        });
        let config = BootstrapConfig {
            n_resamples: 10,
            ..BootstrapConfig::default()
        };
        let found = tally.finish(config, 2);
        assert_eq!(found.len(), SPARSITIES.len());
        for (found, expected) in found.iter().zip(expected) {
            let mse = found.mse.value.expect("measured genes");
            assert!((mse - expected).abs() < 1e-12, "{mse} {expected}");
        }
    }

    #[test]
    fn networks_without_a_mask_are_not_scored() {
        let plain = networks(NetworkKind::Caduceus, |_| {});
        let example = SyntheticSource::new(1, LENGTH).read(0).expect("an example");
        let mut tally = SparseTally::default();
        let is_free = vec![true; LENGTH];
        assert!(
            !tally
                .add(&plain, &example, &is_free, &Device::flex())
                .expect("run")
        );
        assert!(tally.observed.is_empty());
    }
}
