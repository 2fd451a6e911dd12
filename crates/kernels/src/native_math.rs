//! Exponential and reciprocal in one instruction each where the hardware has one and the compiler lets us name it.
//!
//! Scans evaluate an exponential for every channel, state and step, so its cost is theirs. CUDA's `exp` takes eight
//! instructions and its division ten with a branch, because they reach further and round better than the processor's own
//! `ex2.approx` and `rcp.approx` (relative error 2^-22.5 and 2^-23, PTX ISA, "Floating Point Instructions"). CubeCL has no
//! name for these; in a build that hands C++ to CUDA (feature `cuda-cpp`) [`instructions`] adds them. Everywhere else the
//! same functions are CubeCL's `exp` and division, which drivers translate to such instructions by themselves.
//!
//! To have no multiplication beside the instruction, exponentials are taken to a base: `power(x * per_ln_base())` is e^x.

use cubecl::prelude::*;

#[cfg(feature = "cuda-cpp")]
mod instructions;

/// Whether a device is reached through CUDA: the fingerprint is then the compute capability (cubecl-cuda, `runtime.rs`).
pub(crate) fn is_cuda(device: &cubecl::ir::DeviceProperties) -> bool {
    device.identity.fingerprint.starts_with("ptx_sm")
}

/// base^`x`; underflows to 0.
#[allow(unused_variables, reason = "the body is what `expand` below emits")]
pub(crate) fn power(x: f32) -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`power`] that a kernel calls.
pub(crate) mod power {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope, x: NativeExpand<f32>) -> NativeExpand<f32> {
        #[cfg(feature = "cuda-cpp")]
        if super::instructions::are_named(scope) {
            return super::instructions::exp2(scope, x);
        }
        f32::__expand_exp(scope, x)
    }
}

/// 1 / `x`
#[allow(unused_variables, reason = "the body is what `expand` below emits")]
pub(crate) fn reciprocal(x: f32) -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`reciprocal`] that a kernel calls.
pub(crate) mod reciprocal {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope, x: NativeExpand<f32>) -> NativeExpand<f32> {
        #[cfg(feature = "cuda-cpp")]
        if super::instructions::are_named(scope) {
            return super::instructions::reciprocal(scope, x);
        }
        super::quotient_of_one::expand(scope, x)
    }
}

#[cube]
fn quotient_of_one(x: f32) -> f32 {
    1.0f32 / x
}

/// 1 / ln(base) of [`power`].
pub(crate) fn per_ln_base() -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`per_ln_base`] that a kernel calls.
pub(crate) mod per_ln_base {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope) -> NativeExpand<f32> {
        super::constant(scope, std::f32::consts::LOG2_E)
    }
}

/// ln(base) of [`power`].
pub(crate) fn ln_base() -> f32 {
    cubecl::unexpanded!()
}

/// The counterpart of [`ln_base`] that a kernel calls.
pub(crate) mod ln_base {
    use cubecl::ir::Scope;
    use cubecl::prelude::*;

    pub(crate) fn expand(scope: &Scope) -> NativeExpand<f32> {
        super::constant(scope, std::f32::consts::LN_2)
    }
}

/// `binary` where the base is 2, and 1 where it is e.
fn constant(scope: &cubecl::ir::Scope, binary: f32) -> NativeExpand<f32> {
    #[cfg(feature = "cuda-cpp")]
    let is_binary = instructions::are_named(scope);
    #[cfg(not(feature = "cuda-cpp"))]
    let is_binary = false;
    let value = if is_binary { binary } else { 1.0 };
    value.into_expand(scope)
}

#[cfg(test)]
mod tests {
    use burn::backend::ops::FloatTensorOps;
    use burn::backend::{DType, DispatchDevice, Shape};
    use burn::tensor::{TensorData, read_sync};
    use burn_cubecl::CubeBackend;
    use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
    use cubecl::prelude::*;

    use super::{ln_base, per_ln_base, power, reciprocal};
    use crate::test_device::gpu;

    #[cube(launch)]
    fn evaluate(x: &Tensor<f32>, powers: &mut Tensor<f32>, reciprocals: &mut Tensor<f32>) {
        if ABSOLUTE_POS < x.len() {
            powers[ABSOLUTE_POS] =
                power(x[ABSOLUTE_POS] * per_ln_base()) * (per_ln_base() * ln_base());
            reciprocals[ABSOLUTE_POS] = reciprocal(x[ABSOLUTE_POS]);
        }
    }

    /// What devices promise: Vulkan 3 + 2 |x| units in the last place of an exponential and 2.5 of a quotient; PTX less. One more
    /// unit for the product with ln 2 / ln 2, and |x| for the rounding of the argument.
    #[test]
    fn exponential_and_reciprocal_of_a_gpu_are_those_of_the_host() {
        let Some(device) = gpu() else { return };
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            panic!("the test device runs CubeCL kernels");
        };
        let x: Vec<f32> = (1..4000).map(|i| 0.01 * (i as f32 - 2000.5)).collect();
        let x_device = CubeBackend::float_from_data(TensorData::new(x.clone(), [x.len()]), device);
        let new = || {
            empty_device_contiguous_dtype(
                x_device.client.clone(),
                x_device.device.clone(),
                Shape::from([x.len()]),
                DType::F32,
            )
        };
        let (powers, reciprocals) = (new(), new());
        let units = 64;
        evaluate::launch(
            &x_device.client,
            CubeCount::Static(x.len().div_ceil(units) as u32, 1, 1),
            CubeDim::new_1d(units as u32),
            x_device.clone().into_tensor_arg(),
            powers.clone().into_tensor_arg(),
            reciprocals.clone().into_tensor_arg(),
        );
        let [powers, reciprocals] = [powers, reciprocals].map(|tensor| {
            let data = read_sync(CubeBackend::float_into_data(tensor)).expect("computed");
            data.try_to_vec::<f32>().expect("f32 data")
        });
        let unit = f64::from(f32::EPSILON);
        for ((&x, &power), &reciprocal) in x.iter().zip(&powers).zip(&reciprocals) {
            let x = f64::from(x);
            let error = (f64::from(power) / x.exp() - 1.0).abs();
            assert!(
                error <= (4.0 + 3.0 * x.abs()) * unit,
                "exp({x}) is off by {error:.1e}"
            );
            let error = (f64::from(reciprocal) * x - 1.0).abs();
            assert!(error <= 2.5 * unit, "1 / {x} is off by {error:.1e}");
        }
    }
}
