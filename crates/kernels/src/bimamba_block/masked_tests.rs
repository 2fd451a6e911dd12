//! The masked block: against its reference and finite differences, and what a mask of 0 and of 1 must mean.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use super::cpu;
use super::cpu::BlockInput;
use super::cpu_backward::{BlockGradients, backward};
use super::layout::BlockSizes;
use super::masked::masked_bimamba_block;
use super::plan::BlockOptions;
use super::reference;
use super::sweep::TILE;
use super::tests::{
    F32_SHARE, FULL, Numbers, PRIME, assert_params_close, plain_input, random_params,
    tensor_params, to_f64, to_vec,
};
use super::weights::Weights;
use crate::golden::assert_close;
use crate::simd_level::SimdLevel;

/// About one value in three is 0 and one in three is 1, the rest lies between; zeros come in runs.
pub(super) fn random_mask(n: usize, numbers: &mut Numbers) -> Vec<f32> {
    let kinds = numbers.vec(n.div_ceil(5), 1.5);
    let values = numbers.vec(n, 0.5);
    (0..n)
        .map(|i| match kinds[i / 5] {
            kind if kind < -0.5 => 0.0,
            kind if kind > 0.5 => 1.0,
            _ => 0.5 + values[i],
        })
        .collect()
}

/// What the reference has for some outputs.
pub(super) struct Expected {
    pub(super) out: Vec<f64>,
    pub(super) dx: Vec<f64>,
    pub(super) dmask: Vec<f64>,
    pub(super) dparams: Vec<f64>,
}

impl Expected {
    /// Computes `outputs` of every sequence and the gradients for theirs, `dout`.
    pub(super) fn new(
        x: &[f32],
        mask: &[f32],
        params: &[f32],
        sizes: BlockSizes,
        length: usize,
        outputs: &Range<usize>,
        dout: &[f32],
    ) -> Self {
        let (x, params, mask) = (to_f64(x), to_f64(params), to_f64(mask));
        let all = reference::masked_bimamba_block(&x, Some(&mask), &params, sizes, length);
        let (mut out, mut whole_dout) = (Vec::new(), vec![0.0; x.len()]);
        let n = outputs.len() * sizes.d_model;
        for (row, dout) in dout.chunks(n).enumerate() {
            let start = (row * length + outputs.start) * sizes.d_model;
            out.extend_from_slice(&all[start..start + n]);
            whole_dout[start..start + n].copy_from_slice(&to_f64(dout));
        }
        let (dx, dmask, dparams) = reference::masked_bimamba_block_backward(
            &x,
            Some(&mask),
            &params,
            sizes,
            length,
            &whole_dout,
        );
        Self {
            out,
            dx,
            dmask,
            dparams,
        }
    }
}

struct Case {
    sizes: BlockSizes,
    length: usize,
    params: Vec<f32>,
    x: Vec<f32>,
    mask: Vec<f32>,
}

impl Case {
    fn new(sizes: BlockSizes, batch: usize, length: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        Self {
            sizes,
            length,
            params: random_params(sizes, &mut numbers),
            x: numbers.vec(batch * length * sizes.d_model, 1.0),
            mask: random_mask(batch * length, &mut numbers),
        }
    }

    fn input(&self) -> BlockInput<'_> {
        BlockInput {
            x: &self.x,
            mask: Some(&self.mask),
            length: self.length,
        }
    }

    fn states(&self, level: SimdLevel, outputs: &Range<usize>) -> (Vec<f32>, Vec<f32>) {
        let weights = Weights::new(&self.params, self.sizes);
        let batch = self.mask.len() / self.length;
        let mut states = vec![f32::NAN; batch * cpu::states_len(&weights.padded, self.length)];
        let out = cpu::forward(level, self.input(), outputs, &weights, Some(&mut states));
        (out, states)
    }

    fn run(
        &self,
        level: SimdLevel,
        outputs: &Range<usize>,
        dout: &[f32],
    ) -> (Vec<f32>, BlockGradients) {
        let weights = Weights::new(&self.params, self.sizes);
        let (out, states) = self.states(level, outputs);
        let gradients = backward(level, self.input(), outputs, &weights, &states, dout);
        (out, gradients)
    }

    fn check_against_reference(&self, level: SimdLevel, outputs: &Range<usize>) {
        let (sizes, length) = (self.sizes, self.length);
        let d_model = sizes.d_model;
        let batch = self.mask.len() / length;
        let dout = Numbers(1).vec(batch * outputs.len() * d_model, 1.0);
        let (out, gradients) = self.run(level, outputs, &dout);

        let expected = Expected::new(
            &self.x,
            &self.mask,
            &self.params,
            sizes,
            length,
            outputs,
            &dout,
        );
        let what = format!("{} {batch} x {length} {outputs:?} {sizes:?}", level.name());
        assert_close(&what, &out, &expected.out, F32_SHARE);
        assert_close(
            &format!("{what}: dx"),
            &gradients.x,
            &expected.dx,
            F32_SHARE,
        );
        assert_close(
            &format!("{what}: dmask"),
            &gradients.mask,
            &expected.dmask,
            F32_SHARE,
        );
        assert_params_close(
            &what,
            sizes,
            &gradients.params,
            &expected.dparams,
            F32_SHARE,
        );
    }
}

#[test]
fn masked_cpu_path_agrees_with_reference() {
    let sizes = |d_model, d_inner, d_state, d_conv, dt_rank| BlockSizes {
        d_model,
        d_inner,
        d_state,
        d_conv,
        dt_rank,
    };
    for level in SimdLevel::available() {
        for (batch, length, sizes) in [
            (2, 37, PRIME),
            (1, 1, PRIME),
            (1, 2, PRIME),
            (1, 41, sizes(1, 1, 1, 1, 1)),
            (1, 23, sizes(3, 16, 16, 7, 1)),
            (2, 19, sizes(13, 17, 17, 2, 3)),
            (1, 300, sizes(5, 11, 33, 3, 1)),
        ] {
            Case::new(sizes, batch, length, length as u64)
                .check_against_reference(level, &(0..length));
        }
    }
}

#[test]
fn masked_cpu_path_agrees_with_reference_across_tiles_and_for_some_outputs() {
    let sizes = BlockSizes {
        d_model: 3,
        d_inner: 5,
        ..PRIME
    };
    for length in [TILE - 1, TILE, TILE + 1, 5 * TILE + 3, 9 * TILE + 2] {
        let case = Case::new(sizes, 1, length, length as u64);
        for outputs in [0..length, length / 2..length / 2 + 7, length - 1..length] {
            case.check_against_reference(SimdLevel::detect(), &outputs);
        }
    }
}

#[test]
fn masked_reference_gradients_agree_with_finite_differences() {
    let (sizes, length) = (PRIME, 11);
    let case = Case::new(sizes, 1, length, 23);
    let (mut x, mut params) = (to_f64(&case.x), to_f64(&case.params));
    // Two runs of zeros: the derivative there keeps the set of selected positions, which a difference does not.
    let mut mask = vec![0.7, 0.0, 0.0, 0.3, 1.0, 0.2, 0.0, 0.9, 0.5, 0.4, 0.8];
    let dout = to_f64(&Numbers(4).vec(x.len(), 1.0));
    let (dx, dmask, dparams) =
        reference::masked_bimamba_block_backward(&x, Some(&mask), &params, sizes, length, &dout);
    // As for the plain block: step 1e-5 leaves 1e-10 of the third derivative and 1e-10 of rounding.
    let (step, share) = (1e-5, 1e-7);
    let loss = |x: &[f64], mask: &[f64], params: &[f64]| -> f64 {
        let out = reference::masked_bimamba_block(x, Some(mask), params, sizes, length);
        out.iter().zip(&dout).map(|(out, dout)| out * dout).sum()
    };
    let mut slope = |which: usize, index: usize| -> f64 {
        let mut value = |change: f64| {
            let place = match which {
                0 => &mut x[index],
                1 => &mut mask[index],
                _ => &mut params[index],
            };
            let kept = std::mem::replace(place, *place + change);
            let value = loss(&x, &mask, &params);
            match which {
                0 => x[index] = kept,
                1 => mask[index] = kept,
                _ => params[index] = kept,
            }
            value
        };
        (value(step) - value(-step)) / (2.0 * step)
    };
    let selected = [0, 3, 4, 5, 7, 8, 9, 10];
    let expected: Vec<f64> = selected.iter().map(|&i| slope(1, i)).collect();
    let found: Vec<f64> = selected.iter().map(|&i| dmask[i]).collect();
    assert_close("dmask", &found, &expected, share);
    let expected: Vec<f64> = (0..dx.len()).map(|i| slope(0, i)).collect();
    assert_close("dx", &dx, &expected, share);
    let expected: Vec<f64> = (0..dparams.len()).map(|i| slope(2, i)).collect();
    assert_close("dparams", &dparams, &expected, share);
}

#[test]
fn mask_of_one_is_the_plain_block() {
    for (sizes, length) in [(PRIME, 2 * TILE + 37), (FULL, 300)] {
        let mut case = Case::new(sizes, 2, length, 6);
        case.mask.fill(1.0);
        let dout = Numbers(2).vec(case.x.len(), 1.0);
        let weights = Weights::new(&case.params, sizes);
        for level in SimdLevel::available() {
            let (out, gradients) = case.run(level, &(0..length), &dout);
            let mut states = vec![f32::NAN; 2 * cpu::states_len(&weights.padded, length)];
            let all = 0..length;
            let plain = cpu::forward(
                level,
                plain_input(&case.x, length),
                &all,
                &weights,
                Some(&mut states),
            );
            assert_eq!(out, plain);
            let plain = backward(
                level,
                plain_input(&case.x, length),
                &all,
                &weights,
                &states,
                &dout,
            );
            // The masked adjoint of the convolution adds in another order.
            assert_close("dx", &gradients.x, &to_f64(&plain.x), F32_SHARE);
            let expected = to_f64(&plain.params);
            assert_params_close("ones", sizes, &gradients.params, &expected, F32_SHARE);
            assert!(plain.mask.is_empty());
        }
    }
}

#[test]
fn mask_of_zero_leaves_the_state_untouched_and_is_not_seen() {
    let (sizes, length) = (PRIME, 4 * TILE);
    let mut case = Case::new(sizes, 1, length, 8);
    // One whole tile and 18 positions of the next are not selected.
    let gap = TILE..2 * TILE + 18;
    case.mask.fill(0.6);
    case.mask[gap.clone()].fill(0.0);
    let weights = Weights::new(&case.params, sizes);
    let state_len = weights.padded.state_len();
    let all = 0..length;
    for level in SimdLevel::available() {
        let (out, states) = case.states(level, &all);
        let state = |tile: usize| &states[tile * state_len..(tile + 1) * state_len];
        assert!(state(1).iter().any(|v| *v != 0.0));
        // The forward direction's first block of channels, before the gap's tile and after it.
        assert_eq!(state(1), state(2));
        assert_ne!(state(2), state(3));

        let mut other = Case::new(sizes, 1, length, 8);
        other.mask.clone_from(&case.mask);
        for value in &mut other.x[gap.start * sizes.d_model..gap.end * sizes.d_model] {
            *value = 5.0 - 3.0 * *value;
        }
        let (changed, _) = other.states(level, &all);
        let (before, after) = (gap.start * sizes.d_model, gap.end * sizes.d_model);
        assert_eq!(out[..before], changed[..before]);
        assert_eq!(out[after..], changed[after..]);
        assert_ne!(out[before..after], changed[before..after]);
    }
}

#[test]
fn hard_mask_is_packing() {
    for (sizes, length) in [(PRIME, 97), (PRIME, 3 * TILE + 5), (FULL, 500)] {
        let mut case = Case::new(sizes, 1, length, length as u64);
        for value in &mut case.mask {
            *value = f32::from(*value > 0.4);
        }
        let d_model = sizes.d_model;
        let selected: Vec<usize> = (0..length).filter(|&i| case.mask[i] == 1.0).collect();
        assert!(selected.len() > length / 5 && selected.len() < length);
        let rows = |values: &[f32]| -> Vec<f32> {
            let row = |&i: &usize| values[i * d_model..(i + 1) * d_model].to_vec();
            selected.iter().flat_map(row).collect()
        };
        let packed = to_f64(&rows(&case.x));
        let params = to_f64(&case.params);
        let expected = reference::bimamba_block(&packed, &params, sizes, selected.len());

        // In exact arithmetic the two are one function: here they differ by the rounding of 1e-16 only.
        let (x, mask) = (to_f64(&case.x), to_f64(&case.mask));
        let found = reference::masked_bimamba_block(&x, Some(&mask), &params, sizes, length);
        let at_selected: Vec<f64> = selected
            .iter()
            .flat_map(|&i| found[i * d_model..(i + 1) * d_model].to_vec())
            .collect();
        assert_close("reference", &at_selected, &expected, 1e-14);

        for level in SimdLevel::available() {
            let (out, _) = case.states(level, &(0..length));
            assert_close("cpu", &rows(&out), &expected, F32_SHARE);
        }
    }
}

#[test]
fn masked_results_do_not_depend_on_the_number_of_threads() {
    for (sizes, batch, length) in [(PRIME, 2, 37), (FULL, 1, 5 * TILE + 11)] {
        let case = Case::new(sizes, batch, length, 5);
        let dout = Numbers(3).vec(case.x.len(), 1.0);
        let run = |n_thread: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(n_thread)
                .build()
                .expect("threads start");
            pool.install(|| case.run(SimdLevel::detect(), &(0..length), &dout))
        };
        let (out, gradients) = run(1);
        for n_thread in [2, 5] {
            let (many_out, many) = run(n_thread);
            assert_eq!(out, many_out, "{n_thread} threads");
            assert_eq!(gradients.x, many.x, "{n_thread} threads");
            assert_eq!(gradients.mask, many.mask, "{n_thread} threads");
            assert_eq!(gradients.params, many.params, "{n_thread} threads");
        }
    }
}

#[test]
fn masked_operation_through_burn_autodiff_agrees_with_reference() {
    let (sizes, batch, length) = (PRIME, 2, 37);
    let case = Case::new(sizes, batch, length, 11);
    let dout = Numbers(12).vec(case.x.len(), 1.0);
    let device = Device::flex().autodiff();
    let shape = [batch, length, sizes.d_model];
    let tensor =
        |values: &[f32]| Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &device);
    let x = tensor(&case.x).require_grad();
    let mask = TensorData::new(case.mask.clone(), [batch, length]);
    let mask = Tensor::<2>::from_data(mask, &device).require_grad();
    let params = TensorData::new(case.params.clone(), [case.params.len()]);
    let params = Tensor::<1>::from_data(params, &device).require_grad();
    let run = |options| {
        let params = tensor_params(&params, sizes);
        masked_bimamba_block(x.clone(), mask.clone(), params, options).expect("shapes agree")
    };
    let out = run(BlockOptions::default());
    let gradients = (out.clone() * tensor(&dout)).sum().backward();

    let [x64, mask64, params64, dout64] =
        [&case.x, &case.mask, &case.params, &dout].map(|values| to_f64(values));
    let expected = reference::masked_bimamba_block(&x64, Some(&mask64), &params64, sizes, length);
    assert_close("out", &to_vec(out), &expected, F32_SHARE);
    let (dx, dmask, dparams) = reference::masked_bimamba_block_backward(
        &x64,
        Some(&mask64),
        &params64,
        sizes,
        length,
        &dout64,
    );
    let found = to_vec(x.grad(&gradients).expect("x is tracked"));
    assert_close("dx", &found, &dx, F32_SHARE);
    let found = to_vec(mask.grad(&gradients).expect("the mask is tracked"));
    assert_close("dmask", &found, &dmask, F32_SHARE);
    let found = to_vec(params.grad(&gradients).expect("parameters are tracked"));
    assert_params_close("params", sizes, &found, &dparams, F32_SHARE);

    let short = Tensor::<2>::zeros([batch, length - 1], &device);
    let error = masked_bimamba_block(
        x.clone(),
        short,
        tensor_params(&params, sizes),
        BlockOptions::default(),
    )
    .map(|_| ())
    .expect_err("the mask is too short");
    assert_eq!(
        error.to_string(),
        "bimamba_block: axis length of `mask` is 36, expected 37"
    );
}
