//! The BiMamba block over lengths, on the processor beside its own matrix products.

use burn::tensor::{Device, Tensor, TensorData};
use kernels::bimamba_block::layout::BlockSizes;
use kernels::bimamba_block::products::{Passes, multiply_adds, run_products};
use model::config::Seq2ExpConfig;
use model::initialization::Initializer;
use model::mamba::BiMamba;
use model::{ModelError, NetworkConfig};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::timing::{Repetition, Timing};
use super::{Environment, median, wait};
use crate::cost::{Cost, block_sizes};
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::train::{Precision, Storage, numerics};

/// Lengths of the default table, in bases.
pub const LENGTHS: [usize; 4] = [2_000, 20_000, 200_000, 1_000_000];

/// What to time: one block at the published width, with freshly drawn parameters.
#[derive(Debug, Clone)]
pub struct BlockBench {
    /// Sequence lengths in bases.
    pub lengths: Vec<usize>,
    /// Timed repetitions, after one that is not timed.
    pub n_runs: usize,
    /// Channels of the residual stream.
    pub d_model: usize,
    /// Sequences at once.
    pub batch: usize,
    /// How activations are kept between the passes.
    pub storage: Storage,
    /// What a device computes in.
    pub precision: Precision,
}

/// One length. Every repetition times all in turn, so that a busy machine slows all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockLength {
    /// Bases.
    pub length: usize,
    /// The forward pass.
    pub forward: BlockPass,
    /// Forward and backward pass.
    pub both: BlockPass,
}

/// A pass of the block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockPass {
    /// What the block took.
    pub block: Timing,
    /// Operations by [`Cost`] over its seconds, in Gflop/s.
    pub gflops: f64,
    /// Bytes by [`Cost`] over its seconds, in GB/s: those of a device's kernels; `null` on the processor.
    pub gbytes_per_second: Option<f64>,
    /// Its products alone; `null` on another device than the processor, whose products are not taken apart.
    #[serde(flatten)]
    pub comparison: Option<Comparison>,
}

/// A pass of the block beside its matrix products alone, in the same tiles on the same threads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What its matrix products alone took.
    pub products: Timing,
    /// Median over repetitions of the block's seconds on the wall by those of its products.
    pub ratio: f64,
    /// The same in processor time; `null` where the system does not tell.
    pub cpu_ratio: Option<f64>,
    /// Rate of the products alone, in Gflop/s.
    pub products_gflops: f64,
}

impl Comparison {
    fn of(block: &[Repetition], products: &[Repetition], multiply_adds: usize) -> Self {
        let pairs = || block.iter().zip(products);
        let ratios: Vec<f64> = pairs().map(|(b, p)| b.seconds / p.seconds).collect();
        let cpu_ratios: Option<Vec<f64>> = pairs()
            .map(|(b, p)| Some(b.cpu_seconds? / p.cpu_seconds?))
            .collect();
        let products = Timing::of(products);
        Self {
            ratio: median(&ratios),
            cpu_ratio: cpu_ratios.map(|ratios| median(&ratios)),
            products_gflops: 2e-9 * multiply_adds as f64 / products.seconds,
            products,
        }
    }
}

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockRecord {
    /// `block`.
    pub kind: &'static str,
    /// The device.
    pub device: String,
    /// Channels of the residual stream.
    pub d_model: usize,
    /// Sequences at once.
    pub batch: usize,
    /// How activations are kept between the passes.
    pub storage: Storage,
    /// What the device computes in.
    pub precision: Precision,
    /// One entry per length.
    pub lengths: Vec<BlockLength>,
    /// Where it was measured.
    #[serde(flatten)]
    pub environment: Environment,
}

impl BlockBench {
    /// Times the block on a device.
    ///
    /// # Errors
    /// [`RunError::Model`] when a length is 0, [`RunError::Numerics`] and [`RunError::Buffer`] when the device lacks the precision or
    /// cannot hold a length in one buffer.
    pub fn run(&self, open: &OpenDevice) -> Result<BlockRecord, RunError> {
        let config = Seq2ExpConfig::soft();
        let network = NetworkConfig::Seq2Exp(config.clone());
        for &length in &self.lengths {
            open.check_buffers(&network, length, self.batch)?;
        }
        let numerics = numerics(self.storage, self.precision, &network, open)?;
        let device = &open.device;
        let init = |device: &Device| {
            let initializer = Initializer::new(2, device);
            BiMamba::init(
                self.d_model,
                config.n_layer_predictor,
                &config.mamba,
                &config.initialization,
                &initializer,
            )
        };
        let sizes = block_sizes(&config.mamba, self.d_model);
        let mut blocks = [init(device), init(&device.clone().autodiff())];
        for block in &mut blocks {
            block.set_numerics(numerics);
        }
        let lengths = self
            .lengths
            .iter()
            .map(|&length| self.time(&blocks, sizes, length, open))
            .collect::<Result<_, RunError>>()?;
        Ok(BlockRecord {
            kind: "block",
            device: open.name.clone(),
            d_model: self.d_model,
            batch: self.batch,
            storage: self.storage,
            precision: self.precision,
            lengths,
            environment: Environment::here(),
        })
    }

    /// `blocks` are one without and one with gradients.
    fn time(
        &self,
        [plain, tracked]: &[BiMamba; 2],
        sizes: BlockSizes,
        length: usize,
        open: &OpenDevice,
    ) -> Result<BlockLength, RunError> {
        let device = &open.device;
        let n_positions = self.batch * length;
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let values: Vec<f32> = (0..n_positions * self.d_model)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let data = TensorData::new(values, [self.batch, length, self.d_model]);
        let x = Tensor::<3>::from_data(data.clone(), device);
        let x_tracked = Tensor::<3>::from_data(data, &device.clone().autodiff()).require_grad();
        let forward = || -> Result<(), RunError> {
            let out = plain
                .forward(x.clone(), None, None)
                .map_err(ModelError::Shape)?;
            wait(device)?;
            drop(out);
            Ok(())
        };
        let both = || -> Result<(), RunError> {
            let out = tracked.forward(x_tracked.clone(), None, None);
            // In two steps, because a device adds up all values of a tensor on a few units only.
            let sum = out.map_err(ModelError::Shape)?.sum_dim(2).sum();
            let gradients = sum.backward();
            wait(device)?;
            drop(gradients);
            Ok(())
        };
        let products = |passes| {
            move || -> Result<(), RunError> {
                if open.is_cpu() {
                    run_products(sizes, n_positions, passes);
                }
                Ok(())
            }
        };
        let (of_forward, of_both) = (products(Passes::Forward), products(Passes::Both));
        let mut runs: [Vec<Repetition>; 4] = [(); 4].map(|()| Vec::with_capacity(self.n_runs));
        for run in 0..=self.n_runs.max(1) {
            let repetitions = [
                Repetition::of(forward)?,
                Repetition::of(of_forward)?,
                Repetition::of(both)?,
                Repetition::of(of_both)?,
            ];
            // The first fills caches and buffers.
            if run > 0 {
                for (runs, repetition) in runs.iter_mut().zip(repetitions) {
                    runs.push(repetition);
                }
            }
        }
        let [forward, of_forward, both, of_both] = &runs;
        let cost = Cost::of_block(&Seq2ExpConfig::soft().mamba, self.d_model);
        let n_bytes = self.precision.n_bytes();
        let pass = |block: &[Repetition], products: &[Repetition], passes, flops, bytes| {
            let timing = Timing::of(block);
            let seconds = timing.seconds;
            let bytes: Option<u64> = if open.is_cpu() { None } else { bytes };
            BlockPass {
                block: timing,
                gflops: flops as f64 / seconds / 1e9,
                gbytes_per_second: bytes.map(|bytes| bytes as f64 / seconds / 1e9),
                comparison: open.is_cpu().then(|| {
                    Comparison::of(block, products, n_positions * multiply_adds(sizes, passes))
                }),
            }
        };
        Ok(BlockLength {
            length,
            forward: pass(
                forward,
                of_forward,
                Passes::Forward,
                cost.forward_flops(length, self.batch),
                cost.forward_traffic_bytes(length, self.batch, n_bytes),
            ),
            both: pass(
                both,
                of_both,
                Passes::Both,
                cost.train_flops(length, self.batch),
                cost.train_traffic_bytes(length, self.batch, n_bytes),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_bench_times_every_length() {
        let bench = BlockBench {
            lengths: vec![1, 300],
            n_runs: 2,
            d_model: 16,
            batch: 2,
            storage: Storage::F32,
            precision: Precision::F32,
        };
        let record = bench.run(&OpenDevice::cpu()).expect("it runs");
        assert_eq!(record.lengths.len(), 2);
        for row in record.lengths {
            for pass in [row.forward, row.both] {
                assert_eq!(pass.block.runs.len(), 2);
                assert!(pass.gflops > 0.0 && pass.gbytes_per_second.is_none());
                let comparison = pass.comparison.expect("on the processor");
                assert!(comparison.ratio > 0.0 && comparison.products_gflops > 0.0);
            }
        }
    }

    #[test]
    fn block_bench_without_a_length_is_an_error() {
        let bench = BlockBench {
            lengths: vec![0],
            n_runs: 1,
            d_model: 16,
            batch: 1,
            storage: Storage::F32,
            precision: Precision::F32,
        };
        assert!(bench.run(&OpenDevice::cpu()).is_err());
    }
}
