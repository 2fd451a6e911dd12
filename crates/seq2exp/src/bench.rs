//! How fast the network and its block run on this machine.

mod agreement;
pub mod block;
mod timing;

use burn::tensor::{DType, Device, Tensor, TensorData};
use dataset::N_FEATURES;
use model::Candidates;
use model::mask::MaskConfig;
use model::{MaskCost, ModelInput, Network, NetworkConfig, Pass, no_decay};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::batch::read_values;
use crate::cost::Cost;
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::metric::quantile;
use crate::optimizer::{AdamW, clip_global_norm};
use crate::train::{Precision, Storage, TrainConfig, numerics};

pub use self::agreement::Agreement;
use self::timing::Repetition;
pub use self::timing::Timing;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchKind {
    /// One evaluation pass.
    Forward,
    /// Forward, loss, backward, clipping and optimiser update.
    Train,
    /// Reading and writing `length` single-precision numbers: what the device's memory can do.
    Copy,
    /// The product of two square matrices of `length` rows: what the device's arithmetic can do.
    Matmul,
    /// The same of half-precision matrices.
    MatmulHalf,
}

/// What to time, on random input.
#[derive(Debug, Clone)]
pub struct Bench {
    /// What is timed.
    pub kind: BenchKind,
    /// The network.
    pub network: NetworkConfig,
    /// Window length in bases.
    pub length: usize,
    /// Genes at once.
    pub batch: usize,
    /// Timed repetitions, after one that is not timed.
    pub n_runs: usize,
    /// How a training step keeps activations; a forward pass keeps none.
    pub storage: Storage,
    /// What the blocks compute in.
    pub precision: Precision,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchRecord {
    /// What was timed.
    pub kind: BenchKind,
    /// The device.
    pub device: String,
    /// What one repetition took.
    #[serde(flatten)]
    pub timing: Timing,
    /// Floating-point operations of one repetition, by [`Cost`].
    pub flops: u64,
    /// `flops / seconds / 1e9`.
    pub gflops: f64,
    /// Bytes of one repetition between a device and its memory, by [`Cost`], or those copied or multiplied; `null` for networks on
    /// the processor, which works through a window in tiles, and for those whose traffic is not counted.
    pub bytes: Option<u64>,
    /// `bytes / seconds / 1e9`.
    pub gbytes_per_second: Option<f64>,
    /// Median seconds of the mask's part of a training step (sample, divergence and their gradients), timed alone;
    /// `null` for forward passes and networks without a mask.
    pub mask_seconds: Option<f64>,
    /// `mask_seconds / seconds`.
    pub mask_share: Option<f64>,
    /// Window length in bases.
    pub length: usize,
    /// Genes at once.
    pub batch: usize,
    /// How a training step keeps activations.
    pub storage: Storage,
    /// What the blocks compute in, or what was multiplied is.
    pub precision: Precision,
    /// Where it was measured.
    #[serde(flatten)]
    pub environment: Environment,
}

/// Machine and program of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Environment {
    /// Largest resident memory of this process so far, in bytes; `null` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// Worker threads.
    pub threads: usize,
    /// Vector instructions in use.
    pub simd: String,
    /// Version of this tool.
    pub version: String,
}

impl Environment {
    fn here() -> Self {
        Self {
            peak_rss_bytes: peak_rss_bytes(),
            threads: rayon::current_num_threads(),
            simd: kernels::SimdLevel::detect().name().to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
        }
    }
}

impl Bench {
    /// Runs it on a device.
    ///
    /// # Errors
    /// What building or running the network causes, for example a window shorter than the promoter.
    pub fn run(&self, open: &OpenDevice) -> Result<BenchRecord, RunError> {
        let device = &open.device;
        let cost = Cost::of(&self.network);
        let (length, batch) = (self.length, self.batch);
        if matches!(self.kind, BenchKind::Forward | BenchKind::Train) {
            open.check_buffers(&self.network, length, batch)?;
        }
        let n_bytes = self.precision.n_bytes();
        let on_device = |bytes: Option<u64>| bytes.filter(|_| !open.is_cpu());
        let (timing, flops, bytes) = match self.kind {
            BenchKind::Forward => (
                self.time_forward(open)?,
                cost.forward_flops(length, batch),
                on_device(cost.forward_traffic_bytes(length, batch, n_bytes)),
            ),
            BenchKind::Train => (
                self.time_train(open)?,
                cost.train_flops(length, batch),
                on_device(cost.train_traffic_bytes(length, batch, n_bytes)),
            ),
            BenchKind::Copy => {
                let length = length as u64;
                (self.time_copy(device)?, length, Some(8 * length))
            }
            BenchKind::Matmul => {
                let cells = (length * length) as u64;
                let runs = self.time_matmul(device, DType::F32)?;
                (runs, 2 * cells * length as u64, Some(12 * cells))
            }
            BenchKind::MatmulHalf => {
                let cells = (length * length) as u64;
                let runs = self.time_matmul(device, DType::F16)?;
                (runs, 2 * cells * length as u64, Some(6 * cells))
            }
        };
        let seconds = timing.seconds;
        let environment = Environment::here();
        let mask_seconds = match (self.kind, &self.network) {
            (BenchKind::Train, NetworkConfig::Seq2Exp(network)) => {
                let timing = self.time_mask(&network.mask, network.promoter, device)?;
                Some(timing.seconds)
            }
            _ => None,
        };
        Ok(BenchRecord {
            kind: self.kind,
            device: open.name.clone(),
            timing,
            flops,
            gflops: flops as f64 / seconds / 1e9,
            bytes,
            gbytes_per_second: bytes.map(|bytes| bytes as f64 / seconds / 1e9),
            mask_seconds,
            mask_share: mask_seconds.map(|mask| mask / seconds),
            length: self.length,
            batch: self.batch,
            storage: self.storage,
            precision: match self.kind {
                BenchKind::MatmulHalf => Precision::F16,
                _ => self.precision,
            },
            environment,
        })
    }

    /// Logits as a generator gives them at the start: near 0, different everywhere.
    fn time_mask(
        &self,
        mask: &MaskConfig,
        promoter: usize,
        device: &Device,
    ) -> Result<Timing, RunError> {
        let device = device.clone().autodiff();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let logits: Vec<f32> = (0..self.batch * self.length * 2)
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        let logits = TensorData::new(logits, [self.batch, self.length, 2]);
        let logits = Tensor::<3>::from_data(logits, &device).require_grad();
        let input = self.input(&device);
        let pass = Pass::Train {
            seeds: (0..self.batch as u64).collect(),
        };
        self.time(|| {
            let drawn = mask.draw(logits.clone(), &input, promoter, &pass)?;
            let gradients = (drawn.mask.mean() + drawn.kl.mean()).backward();
            wait(&device)?;
            drop(gradients);
            Ok(())
        })
    }

    fn time_forward(&self, open: &OpenDevice) -> Result<Timing, RunError> {
        let numerics = numerics(Storage::F32, self.precision, &self.network, open)?;
        let network = Network::init(&self.network, 2, &open.device)?.with_numerics(numerics);
        let input = self.input(&open.device);
        self.time(|| {
            let output = network.forward(input.clone(), &Pass::Evaluate)?;
            read_values(output.prediction).map(|_| ())
        })
    }

    fn time_train(&self, open: &OpenDevice) -> Result<Timing, RunError> {
        let numerics = numerics(self.storage, self.precision, &self.network, open)?;
        let device = open.device.clone().autodiff();
        let mut network = Network::init(&self.network, 2, &device)?.with_numerics(numerics);
        let config = TrainConfig::default();
        let named = network.named_parameters();
        let parameters = named
            .iter()
            .map(|p| (p.name.clone(), p.len(), !no_decay(&p.name)));
        let mut optimizer = AdamW::new(config.adamw(), parameters);
        let mut values = network.read_parameters()?;
        let input = self.input(&device);
        let seeds: Vec<u64> = (0..self.batch as u64).collect();
        self.time(|| {
            let output = network.forward(
                input.clone(),
                &Pass::Train {
                    seeds: seeds.clone(),
                },
            )?;
            let target = Tensor::zeros([self.batch, 1], &device);
            let loss = model::loss(&output, target, MaskCost::PUBLISHED);
            let mut gradients = network.read_gradients(&loss.total.backward())?;
            clip_global_norm(&mut gradients, config.clip_norm);
            optimizer.update(config.lr, &mut values, &gradients);
            network = network.clone().with_parameters(values.clone())?;
            Ok(())
        })
    }

    fn time_copy(&self, device: &Device) -> Result<Timing, RunError> {
        let values = Tensor::<1>::zeros([self.length], device);
        wait(device)?;
        self.time(|| {
            let copy = values.clone().add_scalar(1.0);
            wait(device)?;
            drop(copy);
            Ok(())
        })
    }

    fn time_matmul(&self, device: &Device, dtype: DType) -> Result<Timing, RunError> {
        let shape = [self.length, self.length];
        // Not constant, so that no product can be cheaper than it looks.
        let matrix = Tensor::<1>::from_data(
            TensorData::new(
                (0..self.length * self.length)
                    .map(|index| (index % 97) as f32 / 97.0)
                    .collect(),
                [self.length * self.length],
            ),
            device,
        )
        .reshape(shape)
        .cast(dtype);
        wait(device)?;
        self.time(|| {
            let product = matrix.clone().matmul(matrix.clone());
            wait(device)?;
            drop(product);
            Ok(())
        })
    }

    fn time(&self, mut body: impl FnMut() -> Result<(), RunError>) -> Result<Timing, RunError> {
        body()?;
        let repetitions: Result<Vec<_>, RunError> = (0..self.n_runs.max(1))
            .map(|_| Repetition::of(&mut body))
            .collect();
        Ok(Timing::of(&repetitions?))
    }

    /// Random bases, and tracks that are zero but for a peak every 2 kb, as real ones mostly are.
    fn input(&self, device: &Device) -> ModelInput {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let n_positions = self.batch * self.length;
        let n_tracks = self.network.n_tracks();
        let mut sequence = vec![0.0_f32; n_positions * 4];
        for base in sequence.chunks_exact_mut(4) {
            base[rng.random_range(0..4)] = 1.0;
        }
        let mut tracks = vec![0.0_f32; n_positions * n_tracks];
        for (position, values) in tracks.chunks_exact_mut(n_tracks.max(1)).enumerate() {
            if position % 2_000 < 200 {
                values.fill(rng.random_range(0.0..5.0));
            }
        }
        let peaks: Vec<f32> = (0..n_positions)
            .map(|position| f32::from(u8::from(position % 2_000 < 200)))
            .collect();
        let tensor = |values: Vec<f32>, width: usize| {
            Tensor::<3>::from_data(
                TensorData::new(values, [self.batch, self.length, width]),
                device,
            )
        };
        ModelInput {
            sequence: tensor(sequence, 4),
            tracks: tensor(tracks, n_tracks),
            overwrite: Tensor::full([self.batch, self.length], -1.0, device),
            features: Tensor::zeros([self.batch, N_FEATURES], device),
            peaks: Some(Tensor::from_data(
                TensorData::new(peaks, [self.batch, self.length]),
                device,
            )),
            candidates: self.candidates(device),
        }
    }
}

impl Bench {
    /// As many candidates of A as the network takes, of a network that reads them.
    fn candidates(&self, device: &Device) -> Option<Candidates> {
        let NetworkConfig::Epinformer(network) = &self.network else {
            return None;
        };
        let (n, length) = (network.n_candidates, network.element_length);
        let base = Tensor::<4>::zeros([self.batch, n, length, 4], device);
        let ones = Tensor::ones([self.batch, n, length, 1], device);
        Some(Candidates {
            sequence: base.slice_assign([0..self.batch, 0..n, 0..length, 0..1], ones),
            features: Tensor::ones([self.batch, n, 3], device),
        })
    }
}

/// Waits until the device has done all it was asked to.
fn wait(device: &Device) -> Result<(), RunError> {
    device.sync().map_err(|error| RunError::Tensor {
        message: error.to_string(),
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5).expect("at least one run is timed")
}

/// Largest resident memory of this process so far, in bytes; none where the system does not tell.
pub fn peak_rss_bytes() -> Option<u64> {
    // Linux: "VmHWM:   123456 kB" in /proc/self/status.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_even_and_odd_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
    }

    #[test]
    fn bench_records_every_run() {
        let text = r#"{"kind": "seq2exp_soft", "d_model": 16, "n_layer_generator": 1, "n_layer_predictor": 1, "promoter": 20}"#;
        let network: NetworkConfig = serde_json::from_str(text).expect("valid settings");
        for kind in [
            BenchKind::Forward,
            BenchKind::Train,
            BenchKind::Copy,
            BenchKind::Matmul,
        ] {
            let bench = Bench {
                kind,
                network: network.clone(),
                length: 100,
                batch: 2,
                n_runs: 3,
                storage: Storage::Bf16,
                precision: Precision::F32,
            };
            let record = bench.run(&OpenDevice::cpu()).expect("it runs");
            assert_eq!(record.timing.runs.len(), 3);
            assert!(record.timing.seconds > 0.0 && record.gflops > 0.0);
            // A network's traffic is that of a device's kernels.
            let counted = matches!(kind, BenchKind::Copy | BenchKind::Matmul);
            assert_eq!(record.bytes.is_some(), counted, "{kind:?}");
        }
    }
}
