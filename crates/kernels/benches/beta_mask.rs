//! Times the Beta mask and its head at the published window, 200,000 positions, on one thread and on all.
//!
//! `cargo bench -p kernels --bench beta_mask`; results are checked against the `f64` reference first. The mask's
//! throughput is in positions per second, the head's in bytes of its input per second. `train` is forward and
//! backward through Burn's autodiff, the sum that starts the backward pass included.

use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernels::beta_mask::reference::{ReferenceArguments, ReferenceDraw, beta_mask_reference};
use kernels::random::PositionStream;
use kernels::rms_norm_linear::reference::rms_norm_linear_reference;
use kernels::{BetaMaskConfig, MaskDraw, beta_mask, rms_norm_linear};

/// Bases of the published window.
const LENGTH: usize = 200_000;
/// Width of the published model.
const D_MODEL: usize = 128;
/// Positions that the check compares.
const CHECKED: usize = 2053;
/// Single-precision output of double-precision arithmetic, and single-precision sums of 128 terms.
const TOLERANCE: f64 = 2e-6;

/// Arguments as a network half trained gives them: logits of a few units, tracks zero at most positions.
struct Arguments {
    logits: Vec<f32>,
    tracks: Vec<f32>,
    overwrite: Vec<f32>,
}

impl Arguments {
    fn new() -> Self {
        let mut stream = PositionStream::new(1, 0);
        let mut normal = |count: usize| -> Vec<f32> {
            (0..count).map(|_| stream.sample_normal() as f32).collect()
        };
        let logits = normal(2 * LENGTH).iter().map(|x| 2.0 * x).collect();
        let tracks = normal(3 * LENGTH)
            .iter()
            .map(|x| (2.0 * x).exp() - 1.0)
            .map(|x| x.max(0.0))
            .collect();
        Self {
            logits,
            tracks,
            overwrite: vec![-1.0; LENGTH],
        }
    }

    fn run(
        &self,
        config: &BetaMaskConfig,
        draw: MaskDraw,
        device: &Device,
        length: usize,
    ) -> (Tensor<3>, Tensor<3>) {
        let tensor = |values: &[f32], width: usize| {
            let data = TensorData::new(values[..length * width].to_vec(), [1, length, width]);
            Tensor::<3>::from_data(data, device)
        };
        let mut logits = tensor(&self.logits, 2);
        if device.is_autodiff() {
            logits = logits.require_grad();
        }
        let overwrite = tensor(&self.overwrite, 1).reshape([1, length]);
        let output = beta_mask(
            logits.clone(),
            tensor(&self.tracks, 3),
            overwrite,
            config,
            draw,
        );
        (output.expect("the shapes above agree"), logits)
    }

    fn check(&self, config: &BetaMaskConfig) {
        let (output, _) = self.run(config, sample(), &Device::flex(), CHECKED);
        let double = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let arguments = ReferenceArguments {
            logits: &double(&self.logits[..2 * CHECKED]),
            tracks: &double(&self.tracks[..3 * CHECKED]),
            overwrite: &double(&self.overwrite[..CHECKED]),
            length: CHECKED,
        };
        let expected = beta_mask_reference(arguments, config, ReferenceDraw::Sample(&[SEED]))
            .expect("the lengths above agree");
        assert_close(output, &[expected.mask, expected.divergence].concat());
    }
}

const SEED: u64 = 22;

fn sample() -> MaskDraw {
    MaskDraw::Sample { seeds: vec![SEED] }
}

fn assert_close(found: Tensor<3>, expected: &[f64]) {
    let found: Vec<f32> = found.into_data().try_to_vec().expect("single precision");
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs() / (1.0 + expected.abs());
        assert!(error <= TOLERANCE, "{found} is not {expected}");
    }
}

fn thread_pools() -> [(&'static str, rayon::ThreadPool); 2] {
    [("1 thread", 1), ("all threads", 0)].map(|(name, n_threads)| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build();
        (name, pool.expect("threads can be started"))
    })
}

#[expect(clippy::type_complexity, reason = "a table of cases, read once")]
fn mask(criterion: &mut Criterion) {
    let arguments = Arguments::new();
    let draws: [(&str, fn() -> MaskDraw); 2] = [("mean", || MaskDraw::Mean), ("sample", sample)];
    for (setting, config) in [
        ("soft", BetaMaskConfig::seq2exp_soft()),
        ("hard", BetaMaskConfig::seq2exp_hard()),
    ] {
        arguments.check(&config);
        let mut group = criterion.benchmark_group(format!("beta_mask/{setting}"));
        group
            .sample_size(10)
            .throughput(Throughput::Elements(LENGTH as u64));
        for (threads, pool) in thread_pools() {
            for (name, draw) in draws {
                group.bench_function(format!("forward/{name}/{threads}"), |bencher| {
                    let device = Device::flex();
                    bencher.iter(|| {
                        pool.install(|| {
                            black_box(arguments.run(&config, draw(), &device, LENGTH).0)
                        })
                    });
                });
                group.bench_function(format!("train/{name}/{threads}"), |bencher| {
                    let device = Device::flex().autodiff();
                    bencher.iter(|| {
                        pool.install(|| {
                            let (output, logits) = arguments.run(&config, draw(), &device, LENGTH);
                            black_box(logits.grad(&output.sum().backward()))
                        })
                    });
                });
            }
        }
    }
}

fn head(criterion: &mut Criterion) {
    let mut stream = PositionStream::new(1, 1);
    let mut normal =
        |count: usize| -> Vec<f32> { (0..count).map(|_| stream.sample_normal() as f32).collect() };
    let (x, norm_weight, weight, bias) = (
        normal(LENGTH * D_MODEL),
        normal(D_MODEL),
        normal(2 * D_MODEL),
        normal(2),
    );
    let run = |length: usize, device: &Device| {
        let x = TensorData::new(x[..length * D_MODEL].to_vec(), [1, length, D_MODEL]);
        let mut x = Tensor::<3>::from_data(x, device);
        if device.is_autodiff() {
            x = x.require_grad();
        }
        let weight = Tensor::<2>::from_data(TensorData::new(weight.clone(), [2, D_MODEL]), device);
        (
            x,
            Tensor::<1>::from_data(&norm_weight[..], device),
            weight,
            Tensor::<1>::from_data(&bias[..], device),
        )
    };
    let double = |values: &[f32]| values.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let expected = rms_norm_linear_reference(
        &double(&x[..CHECKED * D_MODEL]),
        &double(&norm_weight),
        &double(&weight),
        &double(&bias),
    );
    let (checked, scale, matrix, offset) = run(CHECKED, &Device::flex());
    assert_close(
        rms_norm_linear(checked, scale, matrix, offset).expect("the shapes above agree"),
        &expected,
    );

    let mut group = criterion.benchmark_group("rms_norm_linear");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes((4 * LENGTH * D_MODEL) as u64));
    for (threads, pool) in thread_pools() {
        for (name, device) in [
            ("forward", Device::flex()),
            ("train", Device::flex().autodiff()),
        ] {
            let (x, norm_weight, weight, bias) = run(LENGTH, &device);
            group.bench_function(format!("{name}/{threads}"), |bencher| {
                bencher.iter(|| {
                    pool.install(|| {
                        let output = rms_norm_linear(
                            x.clone(),
                            norm_weight.clone(),
                            weight.clone(),
                            bias.clone(),
                        );
                        let output = output.expect("the shapes above agree");
                        if device.is_autodiff() {
                            black_box(x.grad(&output.sum().backward()));
                        } else {
                            black_box(output);
                        }
                    })
                });
            });
        }
    }
}

criterion_group!(benches, mask, head);
criterion_main!(benches);
