//! What storing activations in bfloat16 does to outputs and gradients.

use burn::tensor::{Device, Tensor, TensorData};

use super::bimamba_block;
use super::layout::BlockSizes;
use super::plan::{BlockOptions, Numerics, Storage};
use super::reference::bimamba_block_backward;
use super::sweep::TILE;
use super::tests::{
    F32_SHARE, Numbers, PRIME, assert_params_close, random_params, relative_error, tensor_params,
    to_f64, to_vec,
};
use crate::golden::assert_close;

/// Output and gradients of `x` and of the parameters, through burn, for an output gradient `dout`.
fn run(
    x: &[f32],
    params: &[f32],
    sizes: BlockSizes,
    dout: &[f32],
    storage: Storage,
) -> [Vec<f32>; 3] {
    let device = Device::flex().autodiff();
    let shape = [1, x.len() / sizes.d_model, sizes.d_model];
    let tensor =
        |values: &[f32]| Tensor::<3>::from_data(TensorData::new(values.to_vec(), shape), &device);
    let x = tensor(x).require_grad();
    let data = TensorData::new(params.to_vec(), [params.len()]);
    let params = Tensor::<1>::from_data(data, &device).require_grad();
    let options = BlockOptions {
        numerics: Numerics {
            storage,
            ..Numerics::default()
        },
        ..BlockOptions::default()
    };
    let out = bimamba_block(x.clone(), tensor_params(&params, sizes), options);
    let out = out.expect("shapes agree");
    let gradients = (out.clone() * tensor(dout)).sum().backward();
    [
        to_vec(out),
        to_vec(x.grad(&gradients).expect("x is tracked")),
        to_vec(params.grad(&gradients).expect("parameters are tracked")),
    ]
}

/// The nearest number with seven bits behind the point, ties to even.
fn to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    f32::from_bits(rounded & 0xffff_0000)
}

#[test]
fn bf16_gradients_are_those_of_the_rounded_input() {
    // Within one tile no state is stored, so the rounding of the input is all that happens.
    let (sizes, length) = (PRIME, 37);
    let mut numbers = Numbers(6);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let dout = numbers.vec(x.len(), 1.0);
    let [_, dx, dparams] = run(&x, &params, sizes, &dout, Storage::Bf16);
    let rounded: Vec<f32> = x.iter().map(|&x| to_bf16(x)).collect();
    assert_ne!(rounded, x);
    let (x, params, dout) = (to_f64(&rounded), to_f64(&params), to_f64(&dout));
    let (expected_dx, expected) = bimamba_block_backward(&x, &params, sizes, length, &dout);
    assert_close("dx", &dx, &expected_dx, F32_SHARE);
    assert_params_close("params", sizes, &dparams, &expected, F32_SHARE);
}

#[test]
fn bf16_keeps_the_output_and_the_gradient_to_three_digits() {
    // A rounding moves a value by at most 2^-9 = 0.2 % of itself, on average by a third of that and to either side.
    let tolerance = 4e-3;
    let sizes = BlockSizes {
        d_model: 32,
        d_inner: 64,
        d_state: 16,
        d_conv: 4,
        dt_rank: 2,
    };
    let length = 3 * TILE + 41;
    let mut numbers = Numbers(8);
    let params = random_params(sizes, &mut numbers);
    let x = numbers.vec(length * sizes.d_model, 1.0);
    let dout = numbers.vec(x.len(), 1.0);
    let single = run(&x, &params, sizes, &dout, Storage::F32);
    let rounded = run(&x, &params, sizes, &dout, Storage::Bf16);
    assert_eq!(single[0], rounded[0]);
    let expected = {
        let (x, params, dout) = (to_f64(&x), to_f64(&params), to_f64(&dout));
        let (dx, dparams) = bimamba_block_backward(&x, &params, sizes, length, &dout);
        [dx, dparams]
    };
    for (name, storage, found) in [
        ("f32", Storage::F32, single),
        ("bf16", Storage::Bf16, rounded),
    ] {
        let errors = [1, 2].map(|i| relative_error(&found[i], &expected[i - 1]));
        let [dx, dparams] = errors;
        println!(
            "{name}: relative error of dx {dx:.1e}, of the parameters' gradient {dparams:.1e}"
        );
        let limit = if storage == Storage::F32 {
            F32_SHARE
        } else {
            tolerance
        };
        assert!(errors.iter().all(|&error| error < limit), "{errors:?}");
    }
}
