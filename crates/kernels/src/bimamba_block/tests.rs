//! One suite for the block: reference against goldens and finite differences, CPU path against the reference.

use burn::tensor::{Device, Tensor, TensorData};

use super::layout::BlockSizes;
use super::reference::{bimamba_block as bimamba_block_reference, bimamba_block_backward};
use super::sweep::TILE;
use super::weights::Weights;
use super::{BimambaParams, DirectionParams, bimamba_block, cpu, cpu_backward};
use crate::simd_level::SimdLevel;

/// Share of a tensor's largest magnitude that single precision may lose over the block's chains of about a
/// thousand roundings (6e-8 each, adding as a random walk, with the scan's memory on top).
const F32_SHARE: f64 = 2e-5;

/// Uniform numbers in [-1, 1), the same on every machine (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn vec(&mut self, n: usize, scale: f64) -> Vec<f32> {
        (0..n).map(|_| (scale * self.next()) as f32).collect()
    }
}

fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Parameters of a realistic size: projections of about unit gain, step sizes between 1e-3 and 1e-1.
fn random_params(sizes: BlockSizes, numbers: &mut Numbers) -> Vec<f32> {
    let layout = sizes.layout();
    let mut params = vec![0.0f32; layout.len];
    let mut put = |place: &std::ops::Range<usize>, value: &mut dyn FnMut() -> f64| {
        for v in &mut params[place.clone()] {
            *v = value() as f32;
        }
    };
    let gain = |n: usize| (3.0 / n as f64).sqrt();
    put(&layout.norm_weight, &mut || 1.0 + 0.3 * numbers.next());
    put(&layout.in_proj, &mut || {
        gain(sizes.d_model) * numbers.next()
    });
    put(&layout.out_proj, &mut || {
        gain(sizes.d_inner) * numbers.next()
    });
    for place in &layout.directions {
        put(&place.conv_weight, &mut || {
            gain(sizes.d_conv) * numbers.next()
        });
        put(&place.conv_bias, &mut || 0.3 * numbers.next());
        put(&place.x_proj, &mut || gain(sizes.d_inner) * numbers.next());
        put(&place.dt_weight, &mut || numbers.next());
        put(&place.dt_bias, &mut || -4.0 + 2.0 * numbers.next());
        put(&place.a_log, &mut || 1.0 + 1.5 * numbers.next());
        put(&place.d, &mut || 1.0 + 0.3 * numbers.next());
    }
    params
}

/// Panics with the worst element when one differs by more than `share` of the largest expected magnitude.
fn assert_close(what: &str, found: &[f32], expected: &[f64], share: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let scale = expected
        .iter()
        .fold(0.0f64, |m, v| m.max(v.abs()))
        .max(1e-30);
    let mut worst = (0, 0.0f64);
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs() / (share * scale);
        if error.is_nan() || error > worst.1 {
            worst = (i, if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    assert!(
        worst.1 <= 1.0,
        "{what}: element {} is {}, expected {}: {:.0} % of the tolerance",
        worst.0,
        found[worst.0],
        expected[worst.0],
        100.0 * worst.1
    );
}

/// Compares each parameter's gradient on its own scale.
fn assert_params_close(what: &str, sizes: BlockSizes, found: &[f32], expected: &[f64], share: f64) {
    let layout = sizes.layout();
    let check = |name: &str, place: &std::ops::Range<usize>| {
        assert_close(
            &format!("{what}: {name}"),
            &found[place.clone()],
            &expected[place.clone()],
            share,
        );
    };
    check("norm_weight", &layout.norm_weight);
    check("in_proj", &layout.in_proj);
    check("out_proj", &layout.out_proj);
    for (name, place) in ["forward", "reverse"].into_iter().zip(&layout.directions) {
        check(&format!("{name}.conv_weight"), &place.conv_weight);
        check(&format!("{name}.conv_bias"), &place.conv_bias);
        check(&format!("{name}.x_proj"), &place.x_proj);
        check(&format!("{name}.dt_weight"), &place.dt_weight);
        check(&format!("{name}.dt_bias"), &place.dt_bias);
        check(&format!("{name}.a_log"), &place.a_log);
        check(&format!("{name}.d"), &place.d);
    }
}

struct CpuResult {
    out: Vec<f32>,
    dx: Vec<f32>,
    dparams: Vec<f32>,
}

/// Both passes of the CPU path.
fn run_cpu(
    level: SimdLevel,
    x: &[f32],
    params: &[f32],
    sizes: BlockSizes,
    length: usize,
    dout: &[f32],
) -> CpuResult {
    let weights = Weights::new(params, sizes);
    let batch = x.len() / (length * sizes.d_model);
    let mut states = vec![f32::NAN; batch * cpu::states_len(&weights.padded, length)];
    let out = cpu::forward(level, x, length, &weights, Some(&mut states));
    let (dx, dparams) = cpu_backward::backward(level, x, length, &weights, &states, dout);
    CpuResult { out, dx, dparams }
}

fn check_against_reference(level: SimdLevel, batch: usize, length: usize, sizes: BlockSizes) {
    let mut numbers = Numbers(length as u64);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(batch * length * sizes.d_model, 1.0);
    let dout = numbers.vec(x.len(), 1.0);
    let found = run_cpu(level, &x, &params, sizes, length, &dout);
    let (x, params, dout) = (to_f64(&x), to_f64(&params), to_f64(&dout));
    let what = format!("{} {batch} x {length} {sizes:?}", level.name());
    let out = bimamba_block_reference(&x, &params, sizes, length);
    assert_close(&what, &found.out, &out, F32_SHARE);
    let (dx, dparams) = bimamba_block_backward(&x, &params, sizes, length, &dout);
    assert_close(&format!("{what}: dx"), &found.dx, &dx, F32_SHARE);
    assert_params_close(&what, sizes, &found.dparams, &dparams, F32_SHARE);
}

const PRIME: BlockSizes = BlockSizes {
    d_model: 7,
    d_inner: 5,
    d_state: 3,
    d_conv: 4,
    dt_rank: 2,
};

#[test]
fn cpu_path_agrees_with_reference() {
    let sizes = |d_model, d_inner, d_state, d_conv, dt_rank| BlockSizes {
        d_model,
        d_inner,
        d_state,
        d_conv,
        dt_rank,
    };
    let cases = [
        (2, 37, PRIME),
        (1, 1, PRIME),
        (3, 2, PRIME),
        (1, 41, sizes(1, 1, 1, 1, 1)),
        (1, 5, sizes(3, 16, 16, 7, 1)),
        (2, 19, sizes(13, 17, 17, 2, 3)),
        (1, 300, sizes(19, 37, 16, 4, 2)),
        (1, 23, sizes(32, 64, 16, 4, 2)),
        (1, 600, sizes(5, 11, 33, 3, 1)),
    ];
    for level in SimdLevel::available() {
        for (batch, length, sizes) in cases {
            check_against_reference(level, batch, length, sizes);
        }
    }
}

#[test]
fn cpu_path_agrees_with_reference_across_tile_boundaries() {
    let sizes = BlockSizes {
        d_model: 3,
        d_inner: 5,
        ..PRIME
    };
    for tiles in [1, 2, 3, 8, 9] {
        for length in tiles * TILE - 2..=tiles * TILE + 4 {
            check_against_reference(SimdLevel::detect(), 1, length, sizes);
        }
    }
}

fn direction_params(
    params: &Tensor<1>,
    place: &super::layout::DirectionLayout,
    sizes: BlockSizes,
) -> DirectionParams {
    let BlockSizes {
        d_inner,
        d_state,
        d_conv,
        dt_rank,
        ..
    } = sizes;
    let part = |place: &std::ops::Range<usize>| params.clone().slice([place.clone()]);
    DirectionParams {
        conv_weight: part(&place.conv_weight).reshape([d_inner, d_conv]),
        conv_bias: part(&place.conv_bias),
        x_proj: part(&place.x_proj).reshape([sizes.d_x_proj(), d_inner]),
        dt_weight: part(&place.dt_weight).reshape([d_inner, dt_rank]),
        dt_bias: part(&place.dt_bias),
        a_log: part(&place.a_log).reshape([d_inner, d_state]),
        d: part(&place.d),
    }
}

fn tensor_params(params: &Tensor<1>, sizes: BlockSizes) -> BimambaParams {
    let layout = sizes.layout();
    let part = |place: &std::ops::Range<usize>| params.clone().slice([place.clone()]);
    let [forward, reverse] = &layout.directions;
    BimambaParams {
        norm_weight: part(&layout.norm_weight),
        in_proj: part(&layout.in_proj).reshape([2 * sizes.d_inner, sizes.d_model]),
        out_proj: part(&layout.out_proj).reshape([sizes.d_model, sizes.d_inner]),
        forward: direction_params(params, forward, sizes),
        reverse: direction_params(params, reverse, sizes),
    }
}

fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("f32 data")
}

#[test]
fn operation_through_burn_autodiff_agrees_with_reference() {
    let sizes = PRIME;
    let (batch, length) = (2, 37);
    let mut numbers = Numbers(11);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(batch * length * sizes.d_model, 1.0);
    let dout = numbers.vec(x.len(), 1.0);

    let device = Device::flex().autodiff();
    let shape = [batch, length, sizes.d_model];
    let x_tensor =
        Tensor::<3>::from_data(TensorData::new(x.clone(), shape), &device).require_grad();
    let params_tensor =
        Tensor::<1>::from_data(TensorData::new(params.clone(), [params.len()]), &device)
            .require_grad();
    let dout_tensor = Tensor::<3>::from_data(TensorData::new(dout.clone(), shape), &device);
    let out = bimamba_block(x_tensor.clone(), tensor_params(&params_tensor, sizes))
        .expect("shapes agree");
    let gradients = (out.clone() * dout_tensor).sum().backward();
    let dx = to_vec(x_tensor.grad(&gradients).expect("x is tracked"));
    let dparams = to_vec(
        params_tensor
            .grad(&gradients)
            .expect("parameters are tracked"),
    );

    let (x, params, dout) = (to_f64(&x), to_f64(&params), to_f64(&dout));
    let expected = bimamba_block_reference(&x, &params, sizes, length);
    assert_close("out", &to_vec(out), &expected, F32_SHARE);
    let (expected_dx, expected_dparams) = bimamba_block_backward(&x, &params, sizes, length, &dout);
    assert_close("dx", &dx, &expected_dx, F32_SHARE);
    assert_params_close("params", sizes, &dparams, &expected_dparams, F32_SHARE);
}
