//! A training pass beside the CPU's in single precision.

use burn::tensor::Tensor;
use model::{MaskCost, Network, Pass};

use super::Bench;
use crate::batch::read_values;
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::train::{Precision, Storage, numerics};

/// Largest relative differences of a training pass that is taken for a right one; a wrong kernel is far above.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tolerance {
    /// Of the loss.
    loss: f64,
    /// Norm of the gradients' difference over the gradient's norm.
    gradient: f64,
}

impl Tolerance {
    /// For one way to keep and compute numbers.
    fn of(storage: Storage, precision: Precision) -> Self {
        // Single precision through eight blocks stays below a tenth of the loss's; the gradient's are sums over all
        // positions in another order, and CUDA's products with eleven significant bits.
        let single = Self {
            loss: 1e-3,
            gradient: 1e-2,
        };
        // Eight roundings in each of eight blocks, of 2^-11 or 2^-8 each at most, add as a random walk: 8 times as
        // much, and as much again in the backward pass. What is only kept in bfloat16 is rounded once a block.
        let rounded = |unit: f64, n_roundings: f64| Self {
            loss: single.loss + n_roundings * unit,
            gradient: single.gradient + 2.0 * n_roundings * unit,
        };
        match (precision, storage) {
            (Precision::Bf16, _) => rounded(1.0 / 256.0, 8.0),
            (Precision::F16, Storage::F32) => rounded(1.0 / 2048.0, 8.0),
            (Precision::F16, Storage::Bf16) => rounded(1.0 / 256.0, 3.0),
            (Precision::F32, Storage::Bf16) => Self {
                gradient: rounded(1.0 / 256.0, 3.0).gradient,
                ..single
            },
            (Precision::F32, Storage::F32) => single,
        }
    }
}

/// How far a device's training pass is from the CPU's, relative to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Of the loss.
    pub loss: f64,
    /// Norm of the gradients' difference over the gradient's norm.
    pub gradient: f64,
}

impl Bench {
    /// Compares loss and gradient of one training pass on `open`, in the storage and precision asked for, with those of
    /// the CPU in single precision.
    ///
    /// # Errors
    /// [`RunError::Differs`] when the loss differs by more than roundings explain, relative to itself, or the gradient,
    /// relative to its norm; as [`Bench::run`].
    pub fn verify(&self, open: &OpenDevice) -> Result<Agreement, RunError> {
        let pass = |open: &OpenDevice, storage, precision| -> Result<(f64, Vec<f32>), RunError> {
            let numerics = numerics(storage, precision, &self.network, open)?;
            let device = open.device.clone().autodiff();
            let network = Network::init(&self.network, 2, &device)?.with_numerics(numerics);
            let seeds = (0..self.batch as u64).collect();
            let output = network.forward(self.input(&device), &Pass::Train { seeds })?;
            let target = Tensor::zeros([self.batch, 1], &device);
            let loss = model::loss(&output, target, MaskCost::PUBLISHED);
            let value = read_values(loss.total.clone())?;
            let gradients = network.read_gradients(&loss.total.backward())?;
            Ok((
                f64::from(value[0]),
                gradients.into_iter().flatten().flatten().collect(),
            ))
        };
        let (loss, gradient) = pass(open, self.storage, self.precision)?;
        let (cpu_loss, cpu_gradient) = pass(&OpenDevice::cpu(), Storage::F32, Precision::F32)?;
        let tolerance = Tolerance::of(self.storage, self.precision);
        let norm =
            |values: &mut dyn Iterator<Item = f64>| values.map(|g| g * g).sum::<f64>().sqrt();
        let difference = norm(
            &mut gradient
                .iter()
                .zip(&cpu_gradient)
                .map(|(found, expected)| f64::from(*found) - f64::from(*expected)),
        );
        let agreement = Agreement {
            loss: (loss - cpu_loss).abs() / cpu_loss.abs(),
            gradient: difference / norm(&mut cpu_gradient.iter().map(|g| f64::from(*g))),
        };
        // A difference that is not a number is one.
        let is_close = gradient.len() == cpu_gradient.len()
            && agreement.loss <= tolerance.loss
            && agreement.gradient <= tolerance.gradient;
        if is_close {
            Ok(agreement)
        } else {
            Err(RunError::Differs {
                device: open.name.clone(),
                loss: agreement.loss,
                gradient: agreement.gradient,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use model::NetworkConfig;

    use super::*;
    use crate::bench::BenchKind;

    fn agreement(storage: Storage) -> Agreement {
        let text = r#"{"kind": "seq2exp_soft", "d_model": 16, "n_layer_generator": 1, "n_layer_predictor": 1, "promoter": 20}"#;
        let network: NetworkConfig = serde_json::from_str(text).expect("valid settings");
        let bench = Bench {
            kind: BenchKind::Train,
            network,
            length: 100,
            batch: 2,
            n_runs: 1,
            storage,
            precision: Precision::F32,
        };
        bench.verify(&OpenDevice::cpu()).expect("within tolerance")
    }

    #[test]
    fn processor_agrees_with_itself_to_the_bit() {
        let same = agreement(Storage::F32);
        assert_eq!((same.loss, same.gradient), (0.0, 0.0));
    }

    #[test]
    fn what_is_kept_in_bfloat16_changes_gradients_and_not_the_loss() {
        let rounded = agreement(Storage::Bf16);
        assert_eq!(rounded.loss, 0.0);
        // Numbers of eight bits: neither exact nor worse than a rounding a block, there and back.
        assert!(rounded.gradient > 1e-6 && rounded.gradient < 1e-2);
    }
}
