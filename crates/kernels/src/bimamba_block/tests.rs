//! One suite for the block: reference against goldens and finite differences, CPU path against the reference.

use std::ops::Range;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::layout::BlockSizes;

use super::cpu::BlockInput;
use super::plan::BlockOptions;
use super::reference::{bimamba_block as bimamba_block_reference, bimamba_block_backward};
use super::sweep::TILE;
use super::weights::Weights;
use super::{BimambaParams, DirectionParams, bimamba_block, cpu, cpu_backward};
use crate::golden::assert_close;
use crate::simd_level::SimdLevel;

/// Share of a tensor's largest magnitude that single precision may lose over the block's chains of about a
/// thousand roundings (6e-8 each, adding as a random walk, with the scan's memory on top).
pub(super) const F32_SHARE: f64 = 2e-5;

/// Uniform numbers in [-1, 1), the same on every machine (SplitMix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub(super) fn vec(&mut self, n: usize, scale: f64) -> Vec<f32> {
        (0..n).map(|_| (scale * self.next()) as f32).collect()
    }
}

pub(super) fn to_f64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Parameters of a realistic size: projections of about unit gain, step sizes between 1e-3 and 1e-1.
pub(super) fn random_params(sizes: BlockSizes, numbers: &mut Numbers) -> Vec<f32> {
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

/// Norm of the difference by the norm of what is expected.
pub(super) fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(f, e)| f64::from(*f) - e));
    difference / norm(&mut expected.iter().copied())
}

/// Compares each parameter's gradient on its own scale.
pub(super) fn assert_params_close(
    what: &str,
    sizes: BlockSizes,
    found: &[f32],
    expected: &[f64],
    share: f64,
) {
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

/// Share of a tensor's largest magnitude that a device's single precision may lose: as on the CPU, 2e-5, but with
/// exponentials that WGSL promises to 3 + 2 |x| units in the last place instead of 1.
pub(super) const DEVICE_SHARE: f64 = 4e-5;

/// Compares the parameters' gradients: one by one, or as a whole where factors are rounded, because terms of a sum over
/// positions are off by their share then, and may cancel in single parameters.
pub(super) fn check_params(
    what: &str,
    sizes: BlockSizes,
    dparams: &[f32],
    expected: &[f64],
    share: f64,
) {
    if share <= DEVICE_SHARE {
        return assert_params_close(what, sizes, dparams, expected, share);
    }
    let error = relative_error(dparams, expected);
    assert!(error <= share, "{what}: parameters off by {error:.1e}");
}

pub(super) struct CpuResult {
    pub(super) out: Vec<f32>,
    pub(super) dx: Vec<f32>,
    pub(super) dparams: Vec<f32>,
}

/// Both passes of the CPU path with all outputs.
fn run_cpu(
    level: SimdLevel,
    x: &[f32],
    params: &[f32],
    sizes: BlockSizes,
    length: usize,
    dout: &[f32],
) -> CpuResult {
    run_cpu_at(level, x, params, sizes, length, &(0..length), dout)
}

/// An input without a mask.
pub(super) fn plain_input(x: &[f32], length: usize) -> BlockInput<'_> {
    BlockInput {
        x,
        mask: None,
        length,
    }
}

/// Both passes of the CPU path; `dout` is the gradient at `outputs`.
pub(super) fn run_cpu_at(
    level: SimdLevel,
    x: &[f32],
    params: &[f32],
    sizes: BlockSizes,
    length: usize,
    outputs: &Range<usize>,
    dout: &[f32],
) -> CpuResult {
    let weights = Weights::new(params, sizes);
    let batch = x.len() / (length * sizes.d_model);
    let mut states = vec![f32::NAN; batch * cpu::states_len(&weights.padded, length)];
    let input = plain_input(x, length);
    let out = cpu::forward(level, input, outputs, &weights, Some(&mut states));
    let gradients = cpu_backward::backward(level, input, outputs, &weights, &states, dout);
    CpuResult {
        out,
        dx: gradients.x,
        dparams: gradients.params,
    }
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

pub(super) const PRIME: BlockSizes = BlockSizes {
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

pub(super) fn tensor_params(params: &Tensor<1>, sizes: BlockSizes) -> BimambaParams {
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

pub(super) fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("f32 data")
}

fn run_block(x: &Tensor<3>, params: &Tensor<1>, sizes: BlockSizes) -> Tensor<3> {
    let params = tensor_params(params, sizes);
    bimamba_block(x.clone(), params, BlockOptions::default()).expect("shapes agree")
}

#[test]
fn reference_backward_agrees_with_finite_differences() {
    let sizes = PRIME;
    let (batch, length) = (2, 5);
    let mut numbers = Numbers(5);
    let mut params = to_f64(&random_params(sizes, &mut numbers));
    let mut x = to_f64(&numbers.vec(batch * length * sizes.d_model, 1.0));
    let dout = to_f64(&numbers.vec(x.len(), 1.0));
    let (dx, dparams) = bimamba_block_backward(&x, &params, sizes, length, &dout);
    // Central differences with step 1e-5 leave 1e-10 of the third derivative and 1e-10 of rounding.
    let (step, share) = (1e-5, 1e-7);
    let loss = |x: &[f64], params: &[f64]| -> f64 {
        let out = bimamba_block_reference(x, params, sizes, length);
        out.iter().zip(&dout).map(|(out, dout)| out * dout).sum()
    };
    let mut expected = Vec::new();
    for i in 0..x.len() {
        let kept = x[i];
        x[i] = kept + step;
        let up = loss(&x, &params);
        x[i] = kept - step;
        let down = loss(&x, &params);
        x[i] = kept;
        expected.push((up - down) / (2.0 * step));
    }
    assert_close("dx", &dx, &expected, share);
    let mut expected = Vec::new();
    for i in 0..params.len() {
        let kept = params[i];
        params[i] = kept + step;
        let up = loss(&x, &params);
        params[i] = kept - step;
        let down = loss(&x, &params);
        params[i] = kept;
        expected.push((up - down) / (2.0 * step));
    }
    assert_close("dparams", &dparams, &expected, share);
}

/// Sizes of one whole block of channels and of states, so that every vector is full.
pub(super) const FULL: BlockSizes = BlockSizes {
    d_model: 16,
    d_inner: 32,
    d_state: 16,
    d_conv: 4,
    dt_rank: 1,
};

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (sizes, batch, length) in [
        (PRIME, 2, 37),
        (PRIME, 1, 9 * TILE + 11),
        (FULL, 2, 5 * TILE),
    ] {
        let mut numbers = Numbers(3);
        let params = random_params(sizes, &mut numbers);
        let x = numbers.vec(batch * length * sizes.d_model, 1.0);
        let dout = numbers.vec(x.len(), 1.0);
        let run = |n_thread: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_thread)
                .build()
                .expect("threads start");
            pool.install(|| run_cpu(SimdLevel::detect(), &x, &params, sizes, length, &dout))
        };
        let one = run(1);
        for n_thread in [2, 5, 13] {
            let many = run(n_thread);
            assert_eq!(one.out, many.out, "{n_thread} threads");
            assert_eq!(one.dx, many.dx, "{n_thread} threads");
            assert_eq!(one.dparams, many.dparams, "{n_thread} threads");
        }
    }
}

#[test]
fn inference_saves_nothing_and_returns_the_same_bits() {
    let (sizes, length) = (PRIME, TILE + 7);
    let mut numbers = Numbers(21);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let weights = Weights::new(&params, sizes);
    let level = SimdLevel::detect();
    let mut states = vec![f32::NAN; cpu::states_len(&weights.padded, length)];
    let saving = cpu::forward(
        level,
        plain_input(&x, length),
        &(0..length),
        &weights,
        Some(&mut states),
    );
    let plain = cpu::forward(level, plain_input(&x, length), &(0..length), &weights, None);
    assert_eq!(saving, plain);
    assert!(states.iter().all(|v| v.is_finite()));
}

/// Inputs and parameters at the ends of what single precision holds, each with what is extreme of it.
pub(super) fn extreme_cases(
    sizes: BlockSizes,
    x: &[f32],
    params: &[f32],
) -> Vec<(&'static str, Vec<f32>, Vec<f32>)> {
    let layout = sizes.layout();
    let scaled = |values: &[f32], factor: f32| values.iter().map(|v| v * factor).collect();
    let filled = |place: &std::ops::Range<usize>, value: f32| {
        let mut params = params.to_vec();
        params[place.clone()].fill(value);
        params
    };
    let forward = &layout.directions[0];
    let mut one_huge = x.to_vec();
    one_huge[19] = 1e18;
    vec![
        ("zero input", scaled(x, 0.0), params.to_vec()),
        ("tiny input", scaled(x, 1e-30), params.to_vec()),
        ("huge input", scaled(x, 1e15), params.to_vec()),
        ("one huge value", one_huge, params.to_vec()),
        ("large projections", x.to_vec(), scaled(params, 8.0)),
        ("large step", x.to_vec(), filled(&forward.dt_bias, 300.0)),
        ("no step", x.to_vec(), filled(&forward.dt_bias, -300.0)),
        ("fast decay", x.to_vec(), filled(&forward.a_log, 40.0)),
        ("no decay", x.to_vec(), filled(&forward.a_log, -60.0)),
        ("closed gate", x.to_vec(), filled(&layout.in_proj, -1e4)),
    ]
}

#[test]
fn extreme_inputs_give_no_nan_that_the_reference_does_not_give() {
    let (sizes, length) = (PRIME, 37);
    let mut numbers = Numbers(13);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let dout = numbers.vec(x.len(), 1.0);
    for (what, x, params) in extreme_cases(sizes, &x, &params) {
        let expected = {
            let (x, params, dout) = (to_f64(&x), to_f64(&params), to_f64(&dout));
            let out = bimamba_block_reference(&x, &params, sizes, length);
            let (dx, dparams) = bimamba_block_backward(&x, &params, sizes, length, &dout);
            [out, dx, dparams]
        };
        for level in SimdLevel::available() {
            let found = run_cpu(level, &x, &params, sizes, length, &dout);
            let arrays = [found.out, found.dx, found.dparams];
            for (part, (found, expected)) in ["out", "dx", "dparams"]
                .into_iter()
                .zip(arrays.iter().zip(&expected))
            {
                for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                    assert!(
                        !found.is_nan() || expected.is_nan(),
                        "{what}, {part} {i}: NaN, expected {expected:e} ({})",
                        level.name()
                    );
                }
            }
        }
    }
}

#[test]
fn nan_in_the_input_reaches_the_output() {
    let (sizes, length) = (PRIME, 37);
    let mut numbers = Numbers(17);
    let params = random_params(sizes, &mut numbers);
    let mut x = numbers.vec(length * sizes.d_model, 1.0);
    x[5 * sizes.d_model] = f32::NAN;
    let weights = Weights::new(&params, sizes);
    for level in SimdLevel::available() {
        let out = cpu::forward(level, plain_input(&x, length), &(0..length), &weights, None);
        // Every position reads position 5 through one of the two directions.
        assert!(out.iter().all(|v| v.is_nan()), "{}", level.name());
    }
}

#[test]
fn input_of_another_precision_gives_the_same_as_its_values_in_single() {
    let (sizes, length) = (PRIME, 11);
    let mut numbers = Numbers(6);
    let device = Device::flex();
    let params = random_params(sizes, &mut numbers);
    let params = Tensor::<1>::from_data(TensorData::new(params.clone(), [params.len()]), &device);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let x = Tensor::<3>::from_data(TensorData::new(x, [1, length, sizes.d_model]), &device);
    let (x, params) = (x.cast(DType::F64), params.cast(DType::F64));
    let single = run_block(
        &x.clone().cast(DType::F32),
        &params.clone().cast(DType::F32),
        sizes,
    );
    assert_eq!(to_vec(run_block(&x, &params, sizes)), to_vec(single));
}

#[test]
fn wrong_shapes_name_the_argument_and_axis() {
    let device = Device::flex();
    let sizes = PRIME;
    let params = Tensor::<1>::zeros([sizes.layout().len], &device);
    let x = |shape: [usize; 3]| Tensor::<3>::zeros(shape, &device);
    let good = || tensor_params(&params, sizes);
    let message = |x, params| {
        bimamba_block(x, params, BlockOptions::default())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(message(x([1, 4, 7]), good()), Ok(()));
    assert_eq!(
        message(x([1, 0, 7]), good()),
        Err("bimamba_block: axis length of `x` is 0, but it must be at least 1".to_string())
    );
    assert_eq!(
        message(x([1, 4, 6]), good()),
        Err("bimamba_block: axis d_model of `norm_weight` is 7, expected 6".to_string())
    );
    let mut params = good();
    params.reverse.x_proj = Tensor::zeros([7, 5], &device);
    assert_eq!(
        message(x([1, 4, 7]), params),
        Err(
            "bimamba_block: axis dt_rank + 2 d_state of `reverse.x_proj` is 7, expected 8"
                .to_string()
        )
    );
}
