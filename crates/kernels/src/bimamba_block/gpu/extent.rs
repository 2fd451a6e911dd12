//! How far a call reaches: its sizes, its sequences and the positions it computes, and tensors to hold them.

use std::ops::Range;

use burn::backend::{DType, Shape};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

use super::scan::CHUNK;
use crate::bimamba_block::layout::BlockSizes;

/// One launch's sequences, positions and sizes.
///
/// Each sequence is scanned twice; scan `direction * batch + b` belongs to sequence `b`. Step s of a scan is position
/// s of the forward direction and position `length - 1 - s` of the reverse one.
#[derive(Debug, Clone)]
pub(super) struct Extent {
    pub(super) sizes: BlockSizes,
    pub(super) batch: usize,
    pub(super) length: usize,
    /// Positions whose outputs are asked for.
    pub(super) outputs: Range<usize>,
}

impl Extent {
    pub(super) fn n_sequence(&self) -> usize {
        2 * self.batch
    }

    pub(super) fn n_out(&self) -> usize {
        self.outputs.len()
    }

    /// Steps until both directions have passed the last position asked for.
    pub(super) fn steps(&self) -> usize {
        self.outputs.end.max(self.length - self.outputs.start)
    }

    pub(super) fn n_chunk(&self) -> usize {
        self.steps().div_ceil(CHUNK)
    }

    /// An uninitialised tensor on the device of `like`, rows without padding.
    pub(super) fn new_tensor(
        &self,
        like: &CubeTensor,
        shape: &[usize],
        dtype: DType,
    ) -> CubeTensor {
        empty_device_contiguous_dtype(
            like.client.clone(),
            like.device.clone(),
            Shape::from(shape.to_vec()),
            dtype,
        )
    }

    /// Room for one state per chunk, `[sequence, chunk, d_state, d_inner]`.
    pub(super) fn new_states(&self, like: &CubeTensor) -> CubeTensor {
        let rows = self.n_sequence() * self.n_chunk();
        let shape = [rows, self.sizes.d_state, self.sizes.d_inner];
        self.new_tensor(like, &shape, DType::F32)
    }

    /// Room for one sum of step sizes per chunk, `[sequence, chunk, d_inner]`.
    pub(super) fn new_step_sums(&self, like: &CubeTensor) -> CubeTensor {
        let rows = self.n_sequence() * self.n_chunk();
        self.new_tensor(like, &[rows, self.sizes.d_inner], DType::F32)
    }
}
