//! The implementations that the suite runs on.

use burn::tensor::{Device, Tensor, TensorData};

use crate::test_device;

/// An implementation under test.
pub(super) struct Target {
    pub(super) device: Device,
    pub(super) arithmetic: Arithmetic,
}

/// What an implementation computes in, and with it how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Arithmetic {
    Double,
    #[cfg(feature = "gpu")]
    Single,
}

/// The CPU's kernels.
pub(super) fn cpu() -> Option<Target> {
    Some(Target {
        device: test_device::cpu()?,
        arithmetic: Arithmetic::Double,
    })
}

/// The device kernels on whatever adapter there is; nothing without one.
#[cfg(feature = "gpu")]
pub(super) fn gpu() -> Option<Target> {
    Some(Target {
        device: test_device::gpu()?,
        arithmetic: Arithmetic::Single,
    })
}

/// A tensor of row-major values.
pub(super) fn tensor_on<const D: usize>(
    values: &[f32],
    shape: [usize; D],
    device: &Device,
) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// The values of a tensor, row-major.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}
