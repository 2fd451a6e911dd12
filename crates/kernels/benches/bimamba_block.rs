//! Times the BiMamba block at the models' full width beside its own matrix products alone.
//!
//! `cargo bench -p kernels --bench bimamba_block`; results are checked against the `f64` reference first.
//! The products run in the same shapes and tiles on the same threads, so the ratio of the two times does not
//! depend on how busy the machine is. Throughput is in positions per second.

use std::hint::black_box;

use burn::tensor::{Device, Tensor, TensorData};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kernels::bimamba_block::layout::{BlockSizes, DirectionLayout};
use kernels::bimamba_block::products::{Passes, run_products};
use kernels::bimamba_block::reference;
use kernels::{BimambaParams, BlockOptions, DirectionParams, SimdLevel, bimamba_block};

/// The published model's block.
const SIZES: BlockSizes = BlockSizes::PUBLISHED;

/// Positions of the check: more than a tile of 256.
const CHECKED: usize = 293;

/// Numbers in [-1, 1) from a linear congruential generator.
fn numbers(seed: u64, n: usize, scale: f32) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            scale * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
        })
        .collect()
}

fn params() -> Vec<f32> {
    let layout = SIZES.layout();
    let mut params = numbers(1, layout.len, 0.1);
    let mut shift = |place: &std::ops::Range<usize>, offset: f32| {
        for value in &mut params[place.clone()] {
            *value += offset;
        }
    };
    shift(&layout.norm_weight, 1.0);
    for direction in &layout.directions {
        shift(&direction.dt_bias, -4.0);
        shift(&direction.a_log, 1.5);
        shift(&direction.d, 1.0);
    }
    params
}

fn direction_params(params: &Tensor<1>, place: &DirectionLayout) -> DirectionParams {
    let BlockSizes {
        d_inner,
        d_state,
        d_conv,
        dt_rank,
        ..
    } = SIZES;
    let part = |place: &std::ops::Range<usize>| params.clone().slice([place.clone()]);
    DirectionParams {
        conv_weight: part(&place.conv_weight).reshape([d_inner, d_conv]),
        conv_bias: part(&place.conv_bias),
        x_proj: part(&place.x_proj).reshape([SIZES.d_x_proj(), d_inner]),
        dt_weight: part(&place.dt_weight).reshape([d_inner, dt_rank]),
        dt_bias: part(&place.dt_bias),
        a_log: part(&place.a_log).reshape([d_inner, d_state]),
        d: part(&place.d),
    }
}

fn tensor_params(params: &Tensor<1>) -> BimambaParams {
    let layout = SIZES.layout();
    let part = |place: &std::ops::Range<usize>| params.clone().slice([place.clone()]);
    let [forward, reverse] = &layout.directions;
    BimambaParams {
        norm_weight: part(&layout.norm_weight),
        in_proj: part(&layout.in_proj).reshape([2 * SIZES.d_inner, SIZES.d_model]),
        out_proj: part(&layout.out_proj).reshape([SIZES.d_model, SIZES.d_inner]),
        forward: direction_params(params, forward),
        reverse: direction_params(params, reverse),
    }
}

fn input(length: usize, device: &Device) -> Tensor<3> {
    let values = numbers(2, length * SIZES.d_model, 1.0);
    Tensor::from_data(TensorData::new(values, [1, length, SIZES.d_model]), device)
}

fn run_forward(x: &Tensor<3>, params: &Tensor<1>) -> Tensor<3> {
    bimamba_block(x.clone(), tensor_params(params), BlockOptions::default()).expect("shapes agree")
}

/// Gradient of `x` for an output gradient of ones.
fn run_both(x: &Tensor<3>, params: &Tensor<1>) -> Tensor<3> {
    let gradients = run_forward(x, params).sum().backward();
    black_box(params.grad(&gradients));
    x.grad(&gradients).expect("x is tracked")
}

fn check_against_reference(params: &[f32]) {
    let device = Device::flex().autodiff();
    let length = CHECKED;
    let x = input(length, &device).require_grad();
    let tensor = Tensor::<1>::from_data(TensorData::new(params.to_vec(), [params.len()]), &device)
        .require_grad();
    let out = run_forward(&x, &tensor);
    let dx = run_both(&x, &tensor);
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
    let values = |tensor: Tensor<3>| wide(tensor.into_data().try_to_vec().expect("f32 data"));
    let (x, params) = (values(x), wide(params.to_vec()));
    let expected = reference::bimamba_block(&x, &params, SIZES, length);
    let ones = vec![1.0; x.len()];
    let (expected_dx, _) = reference::bimamba_block_backward(&x, &params, SIZES, length, &ones);
    for (found, expected) in [(values(out), expected), (values(dx), expected_dx)] {
        let scale = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            // Single precision over chains of about a thousand roundings, as in the unit tests.
            assert!(
                (found - expected).abs() <= 2e-5 * scale,
                "{found} {expected}"
            );
        }
    }
}

fn benchmark(criterion: &mut Criterion) {
    let params = params();
    check_against_reference(&params);
    eprintln!(
        "{} threads, {}",
        rayon::current_num_threads(),
        SimdLevel::detect().name()
    );
    let (plain, tracked) = (Device::flex(), Device::flex().autodiff());
    let data = TensorData::new(params.clone(), [params.len()]);
    let plain_params = Tensor::<1>::from_data(data.clone(), &plain);
    let tracked_params = Tensor::<1>::from_data(data, &tracked).require_grad();
    let mut group = criterion.benchmark_group("bimamba_block");
    group.sample_size(10);
    for length in [2_000, 20_000, 200_000] {
        group.throughput(Throughput::Elements(length as u64));
        group.bench_function(format!("forward products/{length}"), |bencher| {
            bencher.iter(|| run_products(SIZES, length, Passes::Forward));
        });
        let x = input(length, &plain);
        group.bench_function(format!("forward/{length}"), |bencher| {
            bencher.iter(|| run_forward(&x, &plain_params));
        });
        group.bench_function(format!("both products/{length}"), |bencher| {
            bencher.iter(|| run_products(SIZES, length, Passes::Both));
        });
        let x = input(length, &tracked).require_grad();
        group.bench_function(format!("both/{length}"), |bencher| {
            bencher.iter(|| run_both(&x, &tracked_params));
        });
    }
    group.finish();
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
