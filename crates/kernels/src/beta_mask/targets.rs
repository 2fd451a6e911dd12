//! The implementations that the suite runs on.

use burn::tensor::{Device, Tensor, TensorData};

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

impl Target {
    pub(super) fn cpu() -> Option<Self> {
        Some(Self {
            device: Device::flex(),
            arithmetic: Arithmetic::Double,
        })
    }

    /// The device kernels on whatever adapter there is; nothing without one.
    #[cfg(feature = "gpu")]
    pub(super) fn gpu() -> Option<Self> {
        Some(Self {
            device: crate::test_device::test_device()?,
            arithmetic: Arithmetic::Single,
        })
    }
}

/// Makes a test on every implementation of each function that takes a [`Target`]: another implementation is another line.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        $crate::beta_mask::targets::suite_on!(cpu: $($test),*);
        #[cfg(feature = "gpu")]
        $crate::beta_mask::targets::suite_on!(gpu: $($test),*);
    };
}

macro_rules! suite_on {
    ($implementation:ident: $($test:ident),*) => {
        mod $implementation {
            $(
                #[test]
                fn $test() {
                    use $crate::beta_mask::targets::Target;
                    if let Some(target) = Target::$implementation() {
                        super::$test(&target);
                    }
                }
            )*
        }
    };
}

pub(super) use {suite, suite_on};

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
