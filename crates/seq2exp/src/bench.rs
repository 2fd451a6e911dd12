//! How fast the network runs on this machine.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use dataset::N_FEATURES;
use model::{ModelInput, Network, NetworkConfig, Pass, no_decay};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::batch::read_values;
use crate::cost::Cost;
use crate::error::RunError;
use crate::optimizer::{AdamW, clip_global_norm};
use crate::train::TrainConfig;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BenchKind {
    /// One evaluation pass.
    Forward,
    /// Forward, loss, backward, clipping and optimiser update.
    Train,
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
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchRecord {
    /// What was timed.
    pub kind: BenchKind,
    /// Median seconds of one repetition.
    pub seconds: f64,
    /// Seconds of every repetition, in order.
    pub runs: Vec<f64>,
    /// Floating-point operations of one repetition, by [`Cost`].
    pub flops: u64,
    /// `flops / seconds / 1e9`.
    pub gflops: f64,
    /// Largest resident memory of this process so far, in bytes; `null` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// Worker threads.
    pub threads: usize,
    /// Vector instructions in use.
    pub simd: String,
    /// Window length in bases.
    pub length: usize,
    /// Genes at once.
    pub batch: usize,
    /// Version of this tool.
    pub version: String,
}

impl Bench {
    /// Runs it on `device`.
    ///
    /// # Errors
    /// What building or running the network causes, for example a window shorter than the promoter.
    pub fn run(&self, device: &Device) -> Result<BenchRecord, RunError> {
        let cost = Cost::of(&self.network);
        let (runs, flops) = match self.kind {
            BenchKind::Forward => (
                self.time_forward(device)?,
                cost.forward_flops(self.length, self.batch),
            ),
            BenchKind::Train => (
                self.time_train(device)?,
                cost.train_flops(self.length, self.batch),
            ),
        };
        let seconds = median(&runs);
        Ok(BenchRecord {
            kind: self.kind,
            seconds,
            runs,
            flops,
            gflops: flops as f64 / seconds / 1e9,
            peak_rss_bytes: peak_rss_bytes(),
            threads: rayon::current_num_threads(),
            simd: kernels::SimdLevel::detect().name().to_string(),
            length: self.length,
            batch: self.batch,
            version: env!("CARGO_PKG_VERSION").to_string(),
        })
    }

    fn time_forward(&self, device: &Device) -> Result<Vec<f64>, RunError> {
        let network = Network::init(&self.network, 2, device)?;
        let input = self.input(device);
        self.time(|| {
            let output = network.forward(input.clone(), &Pass::Evaluate)?;
            read_values(output.prediction).map(|_| ())
        })
    }

    fn time_train(&self, device: &Device) -> Result<Vec<f64>, RunError> {
        let device = device.clone().autodiff();
        let mut network = Network::init(&self.network, 2, &device)?;
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
            let loss = model::loss(&output, target, config.kl_weight);
            let mut gradients = network.read_gradients(&loss.total.backward())?;
            clip_global_norm(&mut gradients, config.clip_norm);
            optimizer.update(config.lr, &mut values, &gradients);
            network = network.clone().with_parameters(values.clone())?;
            Ok(())
        })
    }

    fn time(&self, mut body: impl FnMut() -> Result<(), RunError>) -> Result<Vec<f64>, RunError> {
        body()?;
        let timed = |_| {
            let start = Instant::now();
            body()?;
            Ok(start.elapsed().as_secs_f64())
        };
        (0..self.n_runs.max(1)).map(timed).collect()
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
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        0.5 * (sorted[middle - 1] + sorted[middle])
    }
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
        for kind in [BenchKind::Forward, BenchKind::Train] {
            let bench = Bench {
                kind,
                network: network.clone(),
                length: 100,
                batch: 2,
                n_runs: 3,
            };
            let record = bench.run(&Device::flex()).expect("it runs");
            assert_eq!(record.runs.len(), 3);
            assert!(record.seconds > 0.0 && record.gflops > 0.0);
        }
    }
}
