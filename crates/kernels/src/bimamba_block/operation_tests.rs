//! The block as an operation of burn, the same suite on the CPU and on a device.

use burn::tensor::{Device, Tensor, TensorData};

use super::bimamba_block;
use super::layout::BlockSizes;
use super::plan::{BlockOptions, Numerics, Storage};
use super::reference::{bimamba_block as bimamba_block_reference, bimamba_block_backward};
use super::tests::{
    F32_SHARE, Numbers, PRIME, check_params, extreme_cases, random_params, relative_error,
    tensor_params, to_f64, to_vec,
};
use crate::golden::assert_close;
use crate::test_device::suite;

suite!(
    crate::bimamba_block::operation_tests:
    output_and_gradients_agree_with_reference,
    sizes_of_every_kind_agree_with_reference,
    outputs_of_a_range_agree_with_reference,
    results_do_not_depend_on_batch_mates,
    only_tracked_inputs_receive_gradients,
    strided_input_gives_the_same_as_a_copy,
    inference_gives_the_same_as_training,
    results_are_the_same_from_run_to_run,
    extreme_inputs_give_no_nan_that_the_reference_does_not_give,
    nan_in_the_input_reaches_the_output,
    bf16_gradients_are_those_of_the_rounded_input,
    bf16_keeps_the_output_and_the_gradient_to_three_digits,
);

/// A device, and what its single precision may lose.
pub(super) struct Target {
    device: Device,
    /// Share of a tensor's largest magnitude.
    share: f64,
}

pub(super) fn cpu() -> Option<Target> {
    Some(Target {
        device: crate::test_device::cpu()?,
        share: F32_SHARE,
    })
}

#[cfg(feature = "gpu")]
pub(super) fn gpu() -> Option<Target> {
    Some(Target {
        device: crate::test_device::gpu()?,
        share: super::gpu::tests::single_share(),
    })
}

/// Numbers of a call: input, all parameters and the output's gradient.
struct Call {
    sizes: BlockSizes,
    shape: [usize; 3],
    x: Vec<f32>,
    params: Vec<f32>,
    dout: Vec<f32>,
    options: BlockOptions,
}

impl Call {
    fn random(batch: usize, length: usize, sizes: BlockSizes) -> Self {
        let mut numbers = Numbers(length as u64);
        let params = random_params(sizes, &mut numbers);
        let x = numbers.vec(batch * length * sizes.d_model, 1.0);
        let dout = numbers.vec(x.len(), 1.0);
        Self {
            sizes,
            shape: [batch, length, sizes.d_model],
            x,
            params,
            dout,
            options: BlockOptions::default(),
        }
    }

    fn stored_as(mut self, storage: Storage) -> Self {
        self.options.numerics = Numerics {
            storage,
            ..Numerics::default()
        };
        self
    }

    /// The sequence of number `row` alone.
    fn alone(&self, row: usize) -> Self {
        let [_, length, d_model] = self.shape;
        let part = row * length * d_model..(row + 1) * length * d_model;
        Self {
            shape: [1, length, d_model],
            x: self.x[part.clone()].to_vec(),
            dout: self.dout[part].to_vec(),
            params: self.params.clone(),
            options: self.options.clone(),
            ..*self
        }
    }

    /// Output and gradients of `x` and of the parameters on a device.
    fn run(&self, target: &Target) -> [Vec<f32>; 3] {
        let device = target.device.clone().autodiff();
        let x = self.x_on(&device).require_grad();
        let params = self.params_on(&device).require_grad();
        let out = self.apply(x.clone(), &params);
        let [_, n_out, d_model] = out.dims();
        let dout = TensorData::new(self.dout.clone(), [self.shape[0], n_out, d_model]);
        let dout = Tensor::<3>::from_data(dout, &device);
        let gradients = (out.clone() * dout).sum().backward();
        [
            to_vec(out),
            to_vec(x.grad(&gradients).expect("x is tracked")),
            to_vec(params.grad(&gradients).expect("parameters are tracked")),
        ]
    }

    fn x_on(&self, device: &Device) -> Tensor<3> {
        Tensor::from_data(TensorData::new(self.x.clone(), self.shape), device)
    }

    fn params_on(&self, device: &Device) -> Tensor<1> {
        let data = TensorData::new(self.params.clone(), [self.params.len()]);
        Tensor::from_data(data, device)
    }

    fn apply(&self, x: Tensor<3>, params: &Tensor<1>) -> Tensor<3> {
        let params = tensor_params(params, self.sizes);
        bimamba_block(x, params, self.options.clone()).expect("shapes agree")
    }

    /// The same of the reference in double precision, with outputs at every position.
    fn reference(&self) -> [Vec<f64>; 3] {
        let [_, length, _] = self.shape;
        let [x, params, dout] = [&self.x, &self.params, &self.dout].map(|values| to_f64(values));
        let out = bimamba_block_reference(&x, &params, self.sizes, length);
        let (dx, dparams) = bimamba_block_backward(&x, &params, self.sizes, length, &dout);
        [out, dx, dparams]
    }

    fn check(&self, target: &Target) {
        let what = format!("{:?} {:?}", self.shape, self.sizes);
        let [out, dx, dparams] = self.run(target);
        let [expected_out, expected_dx, expected_dparams] = self.reference();
        assert_close(&what, &out, &expected_out, target.share);
        assert_close(&format!("{what}: dx"), &dx, &expected_dx, target.share);
        check_params(&what, self.sizes, &dparams, &expected_dparams, target.share);
    }
}

impl Target {
    /// Whether the device can store activations in bfloat16; prints that it cannot.
    fn stores_bf16(&self) -> bool {
        let stores = Storage::Bf16.is_supported_by(&self.device);
        if !stores {
            println!("skipped: the adapter stores no bfloat16");
        }
        stores
    }
}

fn output_and_gradients_agree_with_reference(target: &Target) {
    for (batch, length) in [(2, 1), (3, 2), (2, 37), (1, 1000), (1, 4096 + 3)] {
        Call::random(batch, length, PRIME).check(target);
    }
    // Around the chunks of a device, of 128 steps.
    for length in [127, 128, 129, 257] {
        Call::random(1, length, PRIME).check(target);
    }
}

/// Sizes below, at and above those of vectors and of groups of channels and states, with convolutions of one tap and of many.
fn sizes_of_every_kind_agree_with_reference(target: &Target) {
    for (length, [d_model, d_inner, d_state, d_conv, dt_rank]) in [
        (41, [1, 1, 1, 1, 1]),
        (5, [3, 16, 16, 7, 1]),
        (19, [13, 17, 17, 2, 3]),
        (150, [19, 70, 16, 4, 3]),
        (23, [32, 64, 16, 4, 2]),
        (300, [5, 11, 33, 3, 1]),
        // Groups of states that do not divide a run's steps on a device: five of one state, nine of four in pairs of channels.
        (134, [6, 12, 5, 3, 7]),
        (134, [6, 66, 36, 3, 9]),
        (134, [6, 7, 1, 3, 1]),
    ] {
        let sizes = BlockSizes {
            d_model,
            d_inner,
            d_state,
            d_conv,
            dt_rank,
        };
        Call::random(2, length, sizes).check(target);
    }
}

fn outputs_of_a_range_agree_with_reference(target: &Target) {
    for (length, outputs) in [
        (1, 0..1),
        (37, 0..1),
        (37, 36..37),
        (37, 12..20),
        (265, 125..133),
        (265, 0..265),
    ] {
        let mut call = Call::random(2, length, PRIME);
        let d_model = call.sizes.d_model;
        // What is asked for of every sequence, and the rest without a gradient.
        let asked: Vec<bool> = (0..call.x.len())
            .map(|i| outputs.contains(&(i / d_model % length)))
            .collect();
        for (dout, &asked) in call.dout.iter_mut().zip(&asked) {
            *dout = if asked { *dout } else { 0.0 };
        }
        let at_outputs = |values: &[f64]| -> Vec<f64> {
            let values = values.iter().zip(&asked);
            values
                .filter_map(|(&v, &asked)| asked.then_some(v))
                .collect()
        };
        let [out, dx, dparams] = call.reference();
        let out = at_outputs(&out);
        call.dout = at_outputs(&to_f64(&call.dout))
            .iter()
            .map(|&v| v as f32)
            .collect();
        call.options.outputs = Some(outputs.clone());
        let found = call.run(target);
        let what = format!("{length}, {outputs:?}");
        assert_close(&what, &found[0], &out, target.share);
        assert_close(&format!("{what}: dx"), &found[1], &dx, target.share);
        check_params(&what, call.sizes, &found[2], &dparams, target.share);
    }
}

fn results_do_not_depend_on_batch_mates(target: &Target) {
    let (batch, length) = (3, 263);
    let call = Call::random(batch, length, PRIME);
    let [out, dx, dparams] = call.run(target);
    let mut sum = vec![0.0f64; dparams.len()];
    let n = length * PRIME.d_model;
    for row in 0..batch {
        let alone = call.alone(row).run(target);
        assert_eq!(alone[0], out[row * n..(row + 1) * n]);
        assert_eq!(alone[1], dx[row * n..(row + 1) * n]);
        for (sum, value) in sum.iter_mut().zip(&alone[2]) {
            *sum += f64::from(*value);
        }
    }
    check_params("batch", PRIME, &dparams, &sum, target.share);
}

fn only_tracked_inputs_receive_gradients(target: &Target) {
    let device = target.device.clone().autodiff();
    let call = Call::random(1, 11, PRIME);
    let (x, params) = (call.x_on(&device), call.params_on(&device));

    let tracked = x.clone().require_grad();
    let gradients = call.apply(tracked.clone(), &params).sum().backward();
    assert!(tracked.grad(&gradients).is_some());
    assert!(params.grad(&gradients).is_none());

    let tracked = params.clone().require_grad();
    let gradients = call.apply(x.clone(), &tracked).sum().backward();
    assert!(tracked.grad(&gradients).is_some());
    assert!(x.grad(&gradients).is_none());
}

fn strided_input_gives_the_same_as_a_copy(target: &Target) {
    let call = Call::random(1, 11, PRIME);
    let params = call.params_on(&target.device);
    let data = TensorData::new(call.x.clone(), [1, PRIME.d_model, 11]);
    let turned = Tensor::<3>::from_data(data, &target.device).swap_dims(1, 2);
    let data = TensorData::new(to_vec(turned.clone()), call.shape);
    let copied = Tensor::<3>::from_data(data, &target.device);
    let run = |x| to_vec(call.apply(x, &params));
    assert_eq!(run(turned), run(copied));
}

fn inference_gives_the_same_as_training(target: &Target) {
    let call = Call::random(2, 263, PRIME);
    let x = call.x_on(&target.device);
    let inferred = to_vec(call.apply(x, &call.params_on(&target.device)));
    assert_eq!(inferred, call.run(target)[0]);
}

fn results_are_the_same_from_run_to_run(target: &Target) {
    let call = Call::random(1, 265, PRIME);
    assert_eq!(call.run(target), call.run(target));
}

fn extreme_inputs_give_no_nan_that_the_reference_does_not_give(target: &Target) {
    let call = Call::random(1, 37, PRIME);
    for (what, x, params) in extreme_cases(PRIME, &call.x, &call.params) {
        let dout = call.dout.clone();
        let call = Call {
            x,
            params,
            dout,
            options: BlockOptions::default(),
            ..call
        };
        let parts = call.run(target).into_iter().zip(call.reference());
        for (part, (found, expected)) in ["out", "dx", "dparams"].into_iter().zip(parts) {
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert!(
                    !found.is_nan() || expected.is_nan(),
                    "{what}, {part} {i}: NaN, expected {expected:e}"
                );
            }
        }
    }
}

fn nan_in_the_input_reaches_the_output(target: &Target) {
    let mut call = Call::random(1, 37, PRIME);
    call.x[5 * PRIME.d_model] = f32::NAN;
    let x = call.x_on(&target.device);
    let out = to_vec(call.apply(x, &call.params_on(&target.device)));
    // Every position reads position 5 through one of the two directions.
    assert!(out.iter().all(|v| v.is_nan()));
}

/// The nearest number with seven bits behind the point, ties to even.
fn to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    f32::from_bits(rounded & 0xffff_0000)
}

fn bf16_gradients_are_those_of_the_rounded_input(target: &Target) {
    if !target.stores_bf16() {
        return;
    }
    // Within one tile of the CPU, and one chunk of a device, no state but zero is stored, so the rounding of the input is all
    // that happens.
    let mut call = Call::random(1, 37, PRIME).stored_as(Storage::Bf16);
    let [_, dx, dparams] = call.run(target);
    let rounded: Vec<f32> = call.x.iter().map(|&x| to_bf16(x)).collect();
    assert_ne!(rounded, call.x);
    call.x = rounded;
    let [_, expected_dx, expected] = call.reference();
    assert_close("dx", &dx, &expected_dx, target.share);
    check_params("params", PRIME, &dparams, &expected, target.share);
}

fn bf16_keeps_the_output_and_the_gradient_to_three_digits(target: &Target) {
    if !target.stores_bf16() {
        return;
    }
    // A rounding moves a value by at most 2^-9 = 0.2 % of itself, on average by a third of that and to either side.
    let tolerance = 4e-3f64;
    let sizes = BlockSizes {
        d_model: 32,
        d_inner: 64,
        d_state: 16,
        d_conv: 4,
        dt_rank: 2,
    };
    let length = 3 * super::sweep::TILE + 41;
    let single = Call::random(1, length, sizes);
    let rounded = Call::random(1, length, sizes).stored_as(Storage::Bf16);
    let [_, expected_dx, expected_dparams] = single.reference();
    let (single, rounded) = (single.run(target), rounded.run(target));
    assert_eq!(single[0], rounded[0]);
    for (name, limit, [_, dx, dparams]) in [
        ("f32", target.share, single),
        ("bf16", tolerance.max(target.share), rounded),
    ] {
        let dx = relative_error(&dx, &expected_dx);
        let dparams = relative_error(&dparams, &expected_dparams);
        println!(
            "{name}: relative error of dx {dx:.1e}, of the parameters' gradient {dparams:.1e}"
        );
        assert!(dx < limit && dparams < limit, "{name}: {dx:e}, {dparams:e}");
    }
}
