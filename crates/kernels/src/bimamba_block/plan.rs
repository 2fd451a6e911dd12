//! What a call of the block is asked for besides its tensors.

use std::ops::Range;

use burn::backend::{Backend, DTypeUsage, Dispatch, DispatchDevice};
use burn::tensor::{DType, Device};

use super::layout::BlockSizes;

/// How the block keeps what its backward pass needs.
///
/// The scan's running state and every sum are single precision either way, and the output is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// As it was computed, 4 bytes per value.
    #[default]
    F32,
    /// Rounded to bfloat16, 2 bytes per value; gradients then differ by what the rounding of the block's input does.
    Bf16,
}

impl Storage {
    /// Whether a device can convert to this type and back.
    pub fn is_supported_by(self, device: &Device) -> bool {
        match self {
            Self::F32 => true,
            Self::Bf16 => Dispatch::dtype_usage(device.as_dispatch(), DType::BF16)
                .contains(DTypeUsage::Storage),
        }
    }
}

/// Type of the activations between a device's kernels, and of the factors of its matrix products.
///
/// Sums, the scan's states, step sizes, B, C and every parameter's gradient are single precision whatever this says; the
/// processor's kernels compute in single precision throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision. Gradients are taken in units of their largest on their way through the block, so that small ones
    /// survive.
    F16,
    /// bfloat16.
    Bf16,
}

impl Precision {
    /// The type of tensors of this precision.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// Whether the kernels for a device compute in this type.
    pub fn is_supported_by(self, device: &Device) -> bool {
        let device = device.clone().without_autodiff();
        let is_processor = matches!(device.as_dispatch(), DispatchDevice::Flex(_));
        self == Self::F32 || (!is_processor && device.supports_dtype(self.dtype()))
    }
}

/// How numbers are computed and kept; the default is single precision throughout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numerics {
    /// How the input and the scan's states are kept for the backward pass.
    pub storage: Storage,
    /// What a device computes in; without effect on the processor.
    pub precision: Precision,
}

/// What the caller of the block may choose; the default is every position, in single precision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockOptions {
    /// Positions whose output is wanted, 0-based half-open; none = all.
    pub outputs: Option<Range<usize>>,
    /// How numbers are computed and kept.
    pub numerics: Numerics,
}

/// A checked call: what a backend needs to know besides the tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlan {
    /// Sizes of the parameters.
    pub sizes: BlockSizes,
    /// Positions whose output is wanted, not empty and inside the sequence; a backend may compute all and slice.
    pub outputs: Range<usize>,
    /// The storage is applied by the registration of the backward pass, so that kernels see single precision.
    pub numerics: Numerics,
}
