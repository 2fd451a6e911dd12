//! What only a device's block does: groups of sequences, half precision, long sums. The suite that it shares with the CPU is
//! `operation_tests`.

use burn::backend::DispatchDevice;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{TensorData, read_sync};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::products::sum_axis;
use super::scan::CHUNK;
use super::{Block, Gradients, join, widest};
use crate::bimamba_block::boundary_tests::{check_cases, length_and_outputs};
use crate::bimamba_block::layout::BlockSizes;
use crate::bimamba_block::plan::{BlockPlan, Numerics, Precision};
use crate::bimamba_block::reference::{
    bimamba_block as bimamba_block_reference, bimamba_block_backward,
};
use crate::bimamba_block::tests::{
    DEVICE_SHARE, Numbers, PRIME, check_params, random_params, to_f64,
};
use crate::golden::assert_close;
use crate::test_device::gpu;

/// Share that single precision may lose on the test device: on one whose products round their factors to TF32, eleven
/// bits as f16's, what f16 may lose.
pub(in crate::bimamba_block) fn single_share() -> f64 {
    let rounds = gpu().is_some_and(|device| match device.as_dispatch() {
        DispatchDevice::Cube(device) => {
            let tf32 = cubecl::tf32::elem_type_native();
            device.client().properties().supports_type(tf32)
        }
        _ => false,
    });
    match rounds {
        true => half_share(Precision::F16),
        false => DEVICE_SHARE,
    }
}

/// A call for every position.
fn plan(sizes: BlockSizes, length: usize) -> BlockPlan {
    BlockPlan {
        sizes,
        outputs: 0..length,
        numerics: Numerics::default(),
    }
}

/// Puts values on the test device.
fn on_device<const D: usize>(values: &[f32], shape: [usize; D]) -> Option<CubeTensor> {
    let device = gpu()?;
    let DispatchDevice::Cube(device) = device.as_dispatch() else {
        panic!("the test device runs CubeCL kernels");
    };
    let data = TensorData::new(values.to_vec(), shape);
    Some(CubeBackend::float_from_data(data, device))
}

fn to_host(tensor: CubeTensor) -> Vec<f32> {
    let data = read_sync(CubeBackend::float_into_data(tensor)).expect("the device computed it");
    data.try_to_vec::<f32>().expect("f32 data")
}

/// [`check_block_of`] the smallest sizes.
fn check_block(batch: usize, length: usize, share: f64, set: impl Fn(&mut Block)) {
    check_block_of(PRIME, batch, length, share, set);
}

/// Compares both passes of a block that was changed by `set` with the reference at its outputs.
fn check_block_of(
    sizes: BlockSizes,
    batch: usize,
    length: usize,
    share: f64,
    set: impl Fn(&mut Block),
) {
    let mut numbers = Numbers(length as u64);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(batch * length * sizes.d_model, 1.0);
    let shape = [batch, length, sizes.d_model];
    let Some(x_device) = on_device(&x, shape) else {
        return;
    };
    let params_device = on_device(&params, [params.len()]).expect("the device is there");
    let mut block = Block::new(&x_device, params_device, plan(sizes, length));
    set(&mut block);
    let outputs = block.outputs.clone();
    let asked = |row: usize| outputs.contains(&(row % length));
    let at_outputs = |values: &[f64]| -> Vec<f64> {
        let rows = values.chunks(sizes.d_model).enumerate();
        rows.filter(|(row, _)| asked(*row))
            .flat_map(|(_, values)| values.to_vec())
            .collect()
    };
    let mut dout = numbers.vec(x.len(), 1.0);
    for (row, values) in dout.chunks_mut(sizes.d_model).enumerate() {
        if !asked(row) {
            values.fill(0.0);
        }
    }
    let dout_out: Vec<f32> = at_outputs(&to_f64(&dout))
        .iter()
        .map(|&v| v as f32)
        .collect();
    let dout_device =
        on_device(&dout_out, [batch, outputs.len(), sizes.d_model]).expect("the device is there");

    let mut states = Vec::new();
    let out = block.forward(x_device.clone(), Some(&mut states));
    let Gradients {
        x: dx,
        params: dparams,
        ..
    } = block.backward(x_device, join(states), dout_device);

    let (x, params, dout) = (to_f64(&x), to_f64(&params), to_f64(&dout));
    let what = format!("{batch} x {length}, outputs {outputs:?}");
    let expected = at_outputs(&bimamba_block_reference(&x, &params, sizes, length));
    assert_close(&what, &to_host(out), &expected, share);
    let (expected_dx, expected_dparams) = bimamba_block_backward(&x, &params, sizes, length, &dout);
    assert_close(&format!("{what}: dx"), &to_host(dx), &expected_dx, share);
    check_params(&what, sizes, &to_host(dparams), &expected_dparams, share);
}

#[test]
fn widest_temporary_counts_a_part_of_the_gradients_for_every_block_of_channels() {
    let published = BlockSizes::PUBLISHED;
    // Both directions' 256 channels, or 8 + 2 x 16 gradients of 256 / 64 blocks, of 256 / 32 and of 256 / 16.
    for (shared_kib, expected) in [(227, 512), (48, 640), (32, 640), (16, 1280)] {
        let found = widest(published, shared_kib * 1024);
        assert_eq!(found, expected, "{shared_kib} KiB");
    }
}

#[test]
fn sums_of_many_terms_are_those_of_the_host() {
    // In parts once, with and without something left over, and in parts of parts.
    for (terms, columns) in [(1037, 5), (512, 3), (256 * 600 + 1, 2)] {
        let values = Numbers(terms as u64).vec(terms * columns, 1.0);
        let mut by_column = vec![0.0; columns];
        for row in values.chunks(columns) {
            for (sum, &value) in by_column.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let Some(down) = on_device(&values, [terms, columns]) else {
            return;
        };
        let turned: Vec<f32> = (0..columns)
            .flat_map(|column| values.iter().skip(column).step_by(columns).copied())
            .collect();
        let along = on_device(&turned, [columns, terms]).expect("the device is there");
        for (axis, tensor) in [down, along].into_iter().enumerate() {
            let found = to_host(sum_axis(tensor, axis));
            assert_close(&format!("axis {axis}, {terms}"), &found, &by_column, 1e-5);
        }
    }
}

#[test]
fn sequences_in_groups_agree_with_reference() {
    // Two sequences of 37 positions, 2 x 8 values of 4 bytes each, fit in 5,000 bytes: groups of 2 and 1.
    check_block(3, 37, single_share(), |block| block.buffer_bytes = 5000);
    check_block(3, 37, single_share(), |block| block.buffer_bytes = 1);
}

/// Share of a tensor's largest magnitude that a type of half the width may lose: eight roundings, of 2^-11 (f16) or 2^-8
/// (bfloat16) each, lie between `x` and any result (h, v or z, u, the factors of a product, y, the gated sum).
pub(super) fn half_share(precision: Precision) -> f64 {
    match precision {
        Precision::Bf16 => 8.0 / 256.0,
        Precision::F16 | Precision::F32 => 8.0 / 2048.0,
    }
}

/// Those of the types of half the width that the test device computes in; prints which are skipped.
pub(super) fn half_precisions() -> Vec<Precision> {
    let Some(device) = gpu() else {
        return Vec::new();
    };
    let (has, lacks): (Vec<_>, Vec<_>) = [Precision::F16, Precision::Bf16]
        .into_iter()
        .partition(|precision| precision.is_supported_by(&device));
    for precision in lacks {
        println!("skipped: the adapter has no {precision:?}");
    }
    has
}

#[test]
fn half_precision_agrees_with_reference_on_a_device() {
    for precision in half_precisions() {
        let share = half_share(precision);
        for (batch, length) in [(2, 1), (2, 37), (1, 2 * CHUNK + 9)] {
            check_block(batch, length, share, |block| {
                block.dtype = precision.dtype();
            });
        }
    }
}

/// Rows of multiples of 16 bytes, which a card may move otherwise than single elements.
#[test]
fn half_precision_of_whole_vectors_agrees_with_reference_on_a_device() {
    let sizes = BlockSizes {
        d_model: 16,
        d_inner: 32,
        d_state: 8,
        d_conv: 4,
        dt_rank: 8,
    };
    for precision in half_precisions() {
        check_block_of(sizes, 2, 2 * CHUNK + 9, half_share(precision), |block| {
            block.dtype = precision.dtype();
        });
    }
}

#[test]
fn small_gradients_survive_half_precision_on_a_device() {
    let (sizes, length) = (PRIME, 37);
    let mut numbers = Numbers(11);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let dout = numbers.vec(x.len(), 1.0);
    let shape = [1, length, sizes.d_model];
    // A power of two, so that nothing but a loss of bits can make a difference; the smallest f16 is 2^-24.
    let run = |precision: Precision, factor: f32| {
        let dout: Vec<f32> = dout.iter().map(|value| value * factor).collect();
        let on = |values: &[f32]| on_device(values, shape).expect("the device is there");
        let params = on_device(&params, [params.len()]).expect("the device is there");
        let mut block = Block::new(&on(&x), params, plan(sizes, length));
        block.dtype = precision.dtype();
        let mut states = Vec::new();
        block.forward(on(&x), Some(&mut states));
        let gradients = block.backward(on(&x), join(states), on(&dout));
        [gradients.x, gradients.params].map(|tensor| {
            let values = to_host(tensor).into_iter();
            values.map(|value| value / factor).collect::<Vec<f32>>()
        })
    };
    for precision in half_precisions() {
        assert_eq!(
            run(precision, 0.5f32.powi(40)),
            run(precision, 1.0),
            "{precision:?}"
        );
    }
}

#[test]
fn block_of_a_device_near_any_boundary_agrees_with_the_reference() {
    if gpu().is_none() {
        return;
    }
    let cases = (length_and_outputs(CHUNK, 0..3, 3 * CHUNK), 1usize..3);
    check_cases(12, cases, |((length, outputs), batch)| {
        check_block(batch, length, single_share(), |block| {
            block.outputs = outputs.clone();
        });
    });
}
