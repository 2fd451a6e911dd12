//! How far a call reaches: its sizes, its sequences and the positions it computes, and tensors to hold them.

use std::ops::Range;

use burn::backend::{DType, Shape};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::{CubeCount, CubeDim};

use super::scan::CHUNK;
use crate::bimamba_block::layout::BlockSizes;

/// Units of a cube of [`Cover`].
pub(super) const UNITS: u32 = 256;

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

/// Elements of a row of `columns` that the device moves in one access.
pub(super) fn vector_size(tensor: &CubeTensor, columns: usize) -> usize {
    let mut sizes = tensor.client.io_optimized_vector_sizes(tensor.dtype.size());
    sizes
        .find(|size| columns.is_multiple_of(*size))
        .unwrap_or(1)
}

/// Units with a vector each, as many as cover a number of elements.
#[derive(Debug)]
pub(super) struct Cover {
    pub(super) vector_size: usize,
    pub(super) n_vector: usize,
    pub(super) cubes: CubeCount,
    pub(super) units: CubeDim,
}

impl Cover {
    /// Covers `n_element` elements of the type of `tensor` in rows of `columns`.
    pub(super) fn new(tensor: &CubeTensor, columns: usize, n_element: usize) -> Self {
        let vector_size = vector_size(tensor, columns);
        let n_vector = n_element / vector_size;
        let units = CubeDim::new_1d(UNITS);
        Self {
            vector_size,
            n_vector,
            cubes: calculate_cube_count_elemwise(&tensor.client, n_vector, units),
            units,
        }
    }
}
