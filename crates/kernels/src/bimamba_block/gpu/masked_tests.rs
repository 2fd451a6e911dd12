//! The masked block's suite on a device, Mesa's software Vulkan included.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};

use super::scan::CHUNK;
use super::tests::{half_precisions, half_share, single_share};
use crate::bimamba_block::bimamba_block;
use crate::bimamba_block::layout::BlockSizes;
use crate::bimamba_block::masked::masked_bimamba_block;
use crate::bimamba_block::masked_tests::{Expected, random_mask};
use crate::bimamba_block::plan::{BlockOptions, Numerics as BlockNumerics, Precision};
use crate::bimamba_block::tests::{
    Numbers, PRIME, check_params, random_params, tensor_params, to_vec,
};
use crate::golden::assert_close;
use crate::test_device::gpu;

/// Compares output and gradients under a mask with the reference.
fn check(batch: usize, length: usize, outputs: Range<usize>, sizes: BlockSizes, mask: &[f32]) {
    check_in(Precision::F32, batch, length, outputs, sizes, mask);
}

/// The same in any precision.
fn check_in(
    precision: Precision,
    batch: usize,
    length: usize,
    outputs: Range<usize>,
    sizes: BlockSizes,
    mask: &[f32],
) {
    let Some(device) = gpu() else { return };
    let device = device.autodiff();
    let mut numbers = Numbers(length as u64);
    let params = random_params(sizes, &mut numbers);
    let d_model = sizes.d_model;
    let x = numbers.vec(batch * length * d_model, 1.0);
    let dout = numbers.vec(batch * outputs.len() * d_model, 1.0);

    let tensor = |values: &[f32], shape: [usize; 3]| {
        Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &device)
    };
    let x_tensor = tensor(&x, [batch, length, d_model]).require_grad();
    let mask_tensor =
        Tensor::<2>::from_data(TensorData::new(mask.to_vec(), [batch, length]), &device)
            .require_grad();
    let params_tensor =
        Tensor::<1>::from_data(TensorData::new(params.clone(), [params.len()]), &device)
            .require_grad();
    let options = BlockOptions {
        outputs: Some(outputs.clone()),
        numerics: BlockNumerics {
            precision,
            ..BlockNumerics::default()
        },
    };
    let share = match precision {
        Precision::F32 => single_share(),
        half => half_share(half),
    };
    let out = masked_bimamba_block(
        x_tensor.clone(),
        mask_tensor.clone(),
        tensor_params(&params_tensor, sizes),
        options,
    )
    .expect("shapes agree");
    let weights = tensor(&dout, [batch, outputs.len(), d_model]);
    let gradients = (out.clone() * weights).sum().backward();
    let dx = to_vec(x_tensor.grad(&gradients).expect("x is tracked"));
    let dmask = to_vec(mask_tensor.grad(&gradients).expect("the mask is tracked"));
    let dparams = params_tensor.grad(&gradients);
    let dparams = to_vec(dparams.expect("parameters are tracked"));

    let expected = Expected::new(&x, mask, &params, sizes, length, &outputs, &dout);
    let what = format!("{precision:?} masked, {batch} x {length} {outputs:?} {sizes:?}");
    assert_close(&what, &to_vec(out), &expected.out, share);
    for (name, found, expected) in [
        ("dx", &dx, &expected.dx),
        ("dmask", &dmask, &expected.dmask),
    ] {
        assert_close(&format!("{what}: {name}"), found, expected, share);
    }
    check_params(&what, sizes, &dparams, &expected.dparams, share);
}

#[test]
fn masked_half_precision_agrees_with_reference_on_a_device() {
    for precision in half_precisions() {
        for (batch, length) in [(2, 37), (1, 2 * CHUNK + 9)] {
            let mask = random_mask(batch * length, &mut Numbers(9));
            check_in(precision, batch, length, 0..length, PRIME, &mask);
        }
    }
}

#[test]
fn masked_device_agrees_with_reference() {
    let long = 2 * CHUNK + 9;
    for (batch, length, outputs) in [
        (2, 1, 0..1),
        (3, 2, 0..2),
        (2, 37, 0..37),
        (2, 37, 12..20),
        (1, CHUNK, 0..CHUNK),
        (2, long, 0..long),
        (1, long, CHUNK - 3..CHUNK + 5),
        // Not one sequence: the gradients that its first position has cancel, and another last bit of the inputs would change
        // them by six times the tolerance.
        (2, long, 0..1),
        (1, 1000, 0..1000),
    ] {
        let mask = random_mask(batch * length, &mut Numbers(7 + length as u64));
        check(batch, length, outputs, PRIME, &mask);
    }
}

#[test]
fn masked_device_agrees_with_reference_for_other_sizes() {
    let sizes = |d_model, d_inner, d_state, d_conv, dt_rank| BlockSizes {
        d_model,
        d_inner,
        d_state,
        d_conv,
        dt_rank,
    };
    for sizes in [
        sizes(1, 1, 1, 1, 1),
        sizes(3, 16, 16, 7, 1),
        sizes(19, 70, 16, 4, 3),
        // Sums of a step that fill shared memory but for the mask's: 2 + 2 x 30 = 62 values of 65 channels.
        sizes(2, 65, 30, 2, 1),
    ] {
        let mask = random_mask(2 * 150, &mut Numbers(3));
        check(2, 150, 0..150, sizes, &mask);
    }
}

#[test]
fn device_under_masks_of_zeros_and_ones_is_the_reference() {
    let length = CHUNK + 30;
    let few = (0..length).map(|i| f32::from(u8::from(i % 41 == 5)));
    for mask in [vec![0.0; length], vec![1.0; length], few.collect()] {
        check(1, length, 0..length, PRIME, &mask);
    }
}

/// Between selected positions lie chunks without one, which the gradient passes over by their sums.
#[test]
fn positions_far_apart_on_a_device_are_the_reference() {
    let length = 8 * CHUNK + 21;
    let selected = |chosen: &[usize]| {
        let mut mask = random_mask(length, &mut Numbers(11));
        for (at, present) in mask.iter_mut().enumerate() {
            // Some of them partly present.
            *present = if chosen.contains(&at) {
                0.25 + 0.5 * *present
            } else {
                0.0
            };
        }
        mask
    };
    let one = selected(&[3 * CHUNK + 7]);
    let far = selected(&[5, 3 * CHUNK - 1, 3 * CHUNK, 7 * CHUNK + 20]);
    let ends = selected(&[0, 4 * CHUNK, length - 1]);
    for (mask, outputs) in [
        (&one, 0..length),
        (&far, 0..length),
        (&ends, 0..length),
        (&far, 2 * CHUNK..2 * CHUNK + 40),
    ] {
        check(1, length, outputs, PRIME, mask);
    }
    let batch: Vec<f32> = [one, far, ends].concat();
    check(3, length, 0..length, PRIME, &batch);
}

#[test]
fn full_mask_of_a_device_is_the_plain_block_to_the_bit() {
    let Some(device) = gpu() else { return };
    let (sizes, length) = (PRIME, CHUNK + 3);
    let mut numbers = Numbers(5);
    let params = random_params(sizes, &mut numbers);
    let params = Tensor::<1>::from_data(TensorData::new(params.clone(), [params.len()]), &device);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let x = Tensor::<3>::from_data(TensorData::new(x, [1, length, sizes.d_model]), &device);
    let params = || tensor_params(&params, sizes);
    let plain = bimamba_block(x.clone(), params(), BlockOptions::default());
    let ones = Tensor::<2>::ones([1, length], &device);
    let masked = masked_bimamba_block(x, ones, params(), BlockOptions::default());
    let [plain, masked] = [plain, masked].map(|out| to_vec(out.expect("shapes agree")));
    assert_eq!(masked, plain);
}
