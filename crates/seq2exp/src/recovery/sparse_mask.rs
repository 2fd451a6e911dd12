//! How well a run predicts when only the highest part of its mask is kept.

use burn::tensor::{Device, Tensor, TensorData};
use dataset::Example;
use model::Network;
use serde::Serialize;

use super::{SPARSITIES, highest_first};
use crate::batch::{Batch, read_values};
use crate::error::RunError;
use crate::evaluate::Scores;
use crate::metric::{BootstrapConfig, Estimate};
use crate::trained_networks::TrainedNetworks;

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

/// The mask of one gene by one network.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkMask {
    /// The evaluation mask, `[length]`.
    pub mask: Vec<f32>,
    /// What ranks the bases, `[length]`: the mean of each base's Beta, also where the mask itself is 0 or 1.
    pub mean: Vec<f32>,
}

impl NetworkMask {
    /// The masks of one gene, one per network; none when the networks have no mask.
    ///
    /// # Errors
    /// What running a network causes.
    pub fn of_each(
        networks: &TrainedNetworks,
        example: &Example,
        device: &Device,
    ) -> Result<Option<Vec<Self>>, RunError> {
        let batch = Batch::new(std::slice::from_ref(example), device)?;
        let of = |(_, network): &(u64, Network)| -> Result<Option<Self>, RunError> {
            let Some(found) = network.evaluation_mask(&batch.input)? else {
                return Ok(None);
            };
            Ok(Some(Self {
                mask: read_values(found.mask)?,
                mean: read_values(found.mean)?,
            }))
        };
        networks.networks.iter().map(of).collect()
    }
}

/// A mask with those free bases as they are that `ranking` has highest, and the other free ones at 0; what is not free
/// stays. Of equal bases the first are kept.
///
/// # Shapes
/// - `mask`, `ranking`, `is_free`: `[length]`
pub fn keep_highest(mask: &[f32], ranking: &[f32], is_free: &[bool], share: f64) -> Vec<f32> {
    let order = highest_first(ranking, is_free);
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
    /// Predicts a gene with the highest part of each network's own mask, one of `masks` each; a gene that was not
    /// measured is left out.
    ///
    /// # Errors
    /// What running a network causes; [`RunError::NotFinite`] for a prediction that is NaN or infinite.
    pub fn add(
        &mut self,
        networks: &TrainedNetworks,
        masks: &[NetworkMask],
        example: &Example,
        is_free: &[bool],
        device: &Device,
    ) -> Result<(), RunError> {
        let Some(observed) = example.target() else {
            return Ok(());
        };
        let mut sums = [0.0; SPARSITIES.len()];
        for ((_, network), mask) in networks.networks.iter().zip(masks) {
            let predicted = predict_sparse(network, mask, example, is_free, device)?;
            for (sum, value) in sums.iter_mut().zip(predicted) {
                *sum += f64::from(value);
            }
        }
        self.observed.push(f64::from(observed));
        for (predicted, sum) in self.predicted.iter_mut().zip(sums) {
            predicted.push(sum / networks.networks.len() as f64);
        }
        Ok(())
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

/// What a network predicts at each of [`SPARSITIES`].
fn predict_sparse(
    network: &Network,
    mask: &NetworkMask,
    example: &Example,
    is_free: &[bool],
    device: &Device,
) -> Result<[f32; SPARSITIES.len()], RunError> {
    let batch = Batch::new(std::slice::from_ref(example), device)?;
    let mut predicted = [0.0; SPARSITIES.len()];
    for (predicted, sparsity) in predicted.iter_mut().zip(SPARSITIES) {
        let kept = keep_highest(&mask.mask, &mask.mean, is_free, sparsity);
        let kept = Tensor::from_data(TensorData::new(kept, [1, mask.mask.len()]), device);
        let prediction = read_values(network.predict_with_mask(&batch.input, kept)?)?;
        *predicted = prediction.first().copied().unwrap_or(f32::NAN);
    }
    match predicted.iter().all(|value| value.is_finite()) {
        true => Ok(predicted),
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
            assert_eq!(
                keep_highest(&mask, &mask, &is_free, share),
                expected,
                "{share}"
            );
        }
        // A mask of zeros and ones, ranked by what it was decoded from.
        let (mask, ranking) = ([1.0, 0.0, 1.0, 1.0], [0.1, 0.3, 0.6, 0.9]);
        let kept = keep_highest(&mask, &ranking, &[false, true, true, true], 0.34);
        assert_eq!(kept, [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(keep_highest(&[], &[], &[], 0.5), [0.0; 0]);
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
            unfinished: Vec::new(),
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
            let masks = NetworkMask::of_each(&all, &example, &device)
                .expect("run")
                .expect("masks");
            tally
                .add(&all, &masks, &example, &is_free, &device)
                .expect("predicted");
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
    fn hard_mask_is_ranked_by_its_mean_and_a_network_without_one_is_left_out() {
        let example = SyntheticSource::new(1, LENGTH).read(0).expect("an example");
        let of = |kind| NetworkMask::of_each(&networks(kind, |_| {}), &example, &Device::flex());
        let hard = of(NetworkKind::Seq2ExpHard).expect("run").expect("masks");
        assert_eq!(hard.len(), 2);
        for NetworkMask { mask, mean } in hard {
            for ((mask, mean), code) in mask.iter().zip(&mean).zip(example.regions()) {
                match code {
                    RegionCode::Keep => assert_eq!(*mask == 1.0, *mean >= 0.5, "{mask} {mean}"),
                    _ => assert_eq!(mask, mean),
                }
            }
            assert!(mean.iter().any(|mean| *mean != 0.0 && *mean != 1.0));
        }
        let soft = of(NetworkKind::Seq2ExpSoft).expect("run").expect("masks");
        for NetworkMask { mask, mean } in soft {
            assert_eq!(mask, mean);
        }
        assert_eq!(of(NetworkKind::Caduceus).expect("run"), None);
    }
}
