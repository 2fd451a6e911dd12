//! What a call of the block is asked for besides its tensors.

use std::ops::Range;

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

/// What the caller of the block may choose; the default is every position, kept in single precision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockOptions {
    /// Positions whose output is wanted, 0-based half-open; none = all.
    pub outputs: Option<Range<usize>>,
    /// How the input and the scan's states are kept for the backward pass.
    pub storage: Storage,
}

/// A checked call: what a backend needs to know besides the tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlan {
    /// Sizes of the parameters.
    pub sizes: BlockSizes,
    /// Positions whose output is wanted, not empty and inside the sequence; a backend may compute all and slice.
    pub outputs: Range<usize>,
    /// Applied by the registration of the backward pass; kernels see single precision.
    pub storage: Storage,
}
