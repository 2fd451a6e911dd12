//! The block at some of its positions: the definition is the whole block, sliced.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use super::layout::BlockSizes;
use super::plan::BlockOptions;
use super::reference::{bimamba_block as bimamba_block_reference, bimamba_block_backward};
use super::sweep::TILE;
use super::tests::{
    F32_SHARE, FULL, Numbers, PRIME, assert_params_close, random_params, run_cpu_at, tensor_params,
    to_f64, to_vec,
};
use super::{bimamba_block, cpu};
use crate::golden::assert_close;
use crate::simd_level::SimdLevel;

/// Rows of `width` values of every sequence of `length` rows, at `positions` only.
fn sliced<T: Copy>(values: &[T], length: usize, positions: &Range<usize>, width: usize) -> Vec<T> {
    values
        .chunks(length * width)
        .flat_map(|row| {
            row[positions.start * width..positions.end * width]
                .iter()
                .copied()
        })
        .collect()
}

/// The gradient of all outputs when that of those at `positions` is `dout` and nobody reads the others.
fn padded(dout: &[f32], length: usize, positions: &Range<usize>, width: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in dout.chunks(positions.len() * width) {
        out.resize(out.len() + positions.start * width, 0.0);
        out.extend_from_slice(row);
        out.resize(out.len() + (length - positions.end) * width, 0.0);
    }
    out
}

/// Ranges at both ends, of length 1, the whole, inside one tile, from boundary to boundary and across.
fn cases() -> Vec<(usize, Range<usize>)> {
    let mut cases = vec![
        (1, 0..1),
        (37, 0..1),
        (37, 36..37),
        (37, 5..20),
        (37, 0..37),
    ];
    let length = 2 * TILE + 188;
    for range in [
        0..1,
        0..length,
        length - 1..length,
        TILE - 1..TILE,
        TILE..TILE + 1,
        TILE - 1..TILE + 1,
        TILE..2 * TILE,
        3..TILE + 2,
        2 * TILE - 3..length,
    ] {
        cases.push((length, range));
    }
    cases.push((9 * TILE, 4 * TILE + 3..5 * TILE - 7));
    cases
}

/// Compares output and gradients at `outputs` with the reference's whole ones.
pub(super) fn check_part(
    level: SimdLevel,
    batch: usize,
    length: usize,
    outputs: &Range<usize>,
    sizes: BlockSizes,
    seed: u64,
) {
    let d_model = sizes.d_model;
    let mut numbers = Numbers(seed);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(batch * length * d_model, 1.0);
    let dout = numbers.vec(batch * outputs.len() * d_model, 1.0);
    let found = run_cpu_at(level, &x, &params, sizes, length, outputs, &dout);
    let dout = to_f64(&padded(&dout, length, outputs, d_model));
    let (x, params) = (to_f64(&x), to_f64(&params));
    let what = format!(
        "{} {batch} x {outputs:?} of {length} {sizes:?}",
        level.name()
    );
    let out = bimamba_block_reference(&x, &params, sizes, length);
    let out = sliced(&out, length, outputs, d_model);
    assert_close(&what, &found.out, &out, F32_SHARE);
    let (dx, dparams) = bimamba_block_backward(&x, &params, sizes, length, &dout);
    assert_close(&format!("{what}: dx"), &found.dx, &dx, F32_SHARE);
    assert_params_close(&what, sizes, &found.dparams, &dparams, F32_SHARE);
}

#[test]
fn part_of_the_block_agrees_with_the_sliced_reference() {
    let narrow = BlockSizes {
        d_model: 3,
        ..PRIME
    };
    for level in SimdLevel::available() {
        for (length, outputs) in cases() {
            let sizes = if length < 100 { PRIME } else { narrow };
            check_part(level, 2, length, &outputs, sizes, length as u64);
        }
    }
}

#[test]
fn part_of_the_block_costs_no_accuracy_against_the_whole() {
    // Which direction comes first to a tile, and with how many rows it is multiplied, may differ: the order of the sums
    // over taps, directions and channels, about forty roundings of 6e-8 each.
    let share = 40.0 * 6e-8;
    let sizes = FULL;
    for (length, outputs) in cases() {
        let mut numbers = Numbers(1);
        let params = random_params(sizes, &mut numbers);
        let x = numbers.vec(length * sizes.d_model, 1.0);
        let dout = numbers.vec(outputs.len() * sizes.d_model, 1.0);
        let level = SimdLevel::detect();
        let part = run_cpu_at(level, &x, &params, sizes, length, &outputs, &dout);
        let dout = padded(&dout, length, &outputs, sizes.d_model);
        let whole = run_cpu_at(level, &x, &params, sizes, length, &(0..length), &dout);
        let what = format!("{outputs:?} of {length}");
        let expected = to_f64(&sliced(&whole.out, length, &outputs, sizes.d_model));
        assert_close(&what, &part.out, &expected, share);
        assert_close(&format!("{what}: dx"), &part.dx, &to_f64(&whole.dx), share);
        let whole = to_f64(&whole.dparams);
        assert_params_close(&what, sizes, &part.dparams, &whole, share);
    }
}

#[test]
fn part_of_the_block_does_not_depend_on_the_number_of_threads() {
    let (sizes, length) = (FULL, 9 * TILE + 11);
    for outputs in [0..5, 3 * TILE - 1..5 * TILE + 8, length - 1..length] {
        let mut numbers = Numbers(3);
        let params = random_params(sizes, &mut numbers);
        let x = numbers.vec(2 * length * sizes.d_model, 1.0);
        let dout = numbers.vec(2 * outputs.len() * sizes.d_model, 1.0);
        let run = |n_thread: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_thread)
                .build()
                .expect("threads start");
            let level = SimdLevel::detect();
            pool.install(|| run_cpu_at(level, &x, &params, sizes, length, &outputs, &dout))
        };
        let one = run(1);
        for n_thread in [2, 13] {
            let many = run(n_thread);
            assert_eq!(one.out, many.out, "{n_thread} threads");
            assert_eq!(one.dx, many.dx, "{n_thread} threads");
            assert_eq!(one.dparams, many.dparams, "{n_thread} threads");
        }
    }
}

#[test]
fn part_of_the_block_is_differentiable_through_burn() {
    let (sizes, length, outputs) = (PRIME, 37, 11..17);
    let mut numbers = Numbers(11);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(2 * length * sizes.d_model, 1.0);
    let device = Device::flex().autodiff();
    let run = |wanted: Option<Range<usize>>| {
        let x = TensorData::new(x.clone(), [2, length, sizes.d_model]);
        let x = Tensor::<3>::from_data(x, &device).require_grad();
        let params = TensorData::new(params.clone(), [params.len()]);
        let params = Tensor::<1>::from_data(params, &device).require_grad();
        let options = BlockOptions {
            outputs: wanted.clone(),
            ..BlockOptions::default()
        };
        let out = bimamba_block(x.clone(), tensor_params(&params, sizes), options);
        let mut out = out.expect("shapes agree");
        if wanted.is_none() {
            out = out.slice([0..2, outputs.clone(), 0..sizes.d_model]);
        }
        assert_eq!(out.dims(), [2, outputs.len(), sizes.d_model]);
        // A gradient that differs from position to position.
        let gradients = out.clone().square().sum().backward();
        let dx = x.grad(&gradients).expect("x is tracked");
        let dparams = params.grad(&gradients).expect("parameters are tracked");
        (to_vec(out), to_vec(dx), to_vec(dparams))
    };
    let (out, dx, dparams) = run(Some(outputs.clone()));
    let (whole_out, whole_dx, whole_dparams) = run(None);
    assert_close("out", &out, &to_f64(&whole_out), 1e-6);
    assert_close("dx", &dx, &to_f64(&whole_dx), 1e-6);
    assert_params_close("params", sizes, &dparams, &to_f64(&whole_dparams), 1e-6);
}

#[test]
fn states_are_saved_only_where_a_scan_goes() {
    let (sizes, length) = (PRIME, 5 * TILE);
    let mut numbers = Numbers(21);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let weights = super::weights::Weights::new(&params, sizes);
    let state_len = weights.padded.state_len();
    let mut states = vec![f32::NAN; cpu::states_len(&weights.padded, length)];
    let outputs = TILE..2 * TILE;
    let level = SimdLevel::detect();
    cpu::forward(
        level,
        super::tests::plain_input(&x, length),
        &outputs,
        &weights,
        Some(&mut states),
    );
    // One block of channels: five tiles of the forward direction, of which two are entered, then the reverse
    // direction's, of which all but the first are.
    let entered: Vec<bool> = states
        .chunks(state_len)
        .map(|state| state.iter().all(|v| v.is_finite()))
        .collect();
    let (yes, no) = (true, false);
    assert_eq!(entered, [yes, yes, no, no, no, no, yes, yes, yes, yes]);
}

#[test]
fn outputs_outside_the_sequence_are_refused() {
    let device = Device::flex();
    let params = Tensor::<1>::zeros([PRIME.layout().len], &device);
    #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
    let cases = [
        (0..4, None),
        (3..4, None),
        (0..5, Some(5)),
        (4..5, Some(5)),
        (2..2, Some(2)),
        (3..1, Some(1)),
    ];
    for (outputs, refused) in cases {
        let x = Tensor::<3>::zeros([1, 4, 7], &device);
        let options = BlockOptions {
            outputs: Some(outputs),
            ..BlockOptions::default()
        };
        let result = bimamba_block(x, tensor_params(&params, PRIME), options);
        let expected = refused.map(|end| {
            format!(
                "bimamba_block: axis end of `outputs` is {end}, but it must lie behind the start and inside the sequence"
            )
        });
        assert_eq!(result.err().map(|error| error.to_string()), expected);
    }
}
