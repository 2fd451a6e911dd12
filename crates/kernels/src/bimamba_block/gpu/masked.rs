//! The masked block on a device: the mask, what its taps read and pass over, and the operation's two passes.

use burn::backend::TensorMetadata;
use burn::backend::ops::{FloatTensorOps, IntTensorOps};
use burn::tensor::TensorData;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::super::mask_taps::MaskTaps;
use super::super::masked::{MaskedBimambaBackend, MaskedBimambaKernel};
use super::super::plan::BlockPlan;
use super::products::{reshape, slice_first, sum_axis};
use super::scan::CHUNK;
use super::{Block, join};
use crate::device_transfer::to_host;
use crate::flex_tensor::elements;

/// How present each position of some sequences is.
#[derive(Debug, Clone)]
pub(super) struct DeviceMask {
    /// `[batch, length]`, single precision.
    pub(super) values: CubeTensor,
    /// The positions that taps 1, 2, … of every position read, -1 outside the sequence:
    /// `[batch, direction, length, d_conv - 1]`.
    pub(super) sources: CubeTensor,
    /// 1 for each chunk of a direction's steps none of which is selected, else 0: `[batch, direction chunk]`.
    pub(super) unselected: CubeTensor,
}

impl DeviceMask {
    /// Finds what taps read and where nothing is selected on the host, and copies both over.
    pub(super) fn new(values: CubeTensor, d_conv: usize) -> Self {
        let values = into_contiguous(values);
        let [batch, length] = values.shape().dims::<2>();
        let on_host = to_host(values.clone());
        let mut sources = Vec::with_capacity(2 * batch * length * (d_conv - 1));
        let mut unselected = Vec::with_capacity(2 * batch * length.div_ceil(CHUNK));
        for mask in elements(&on_host).chunks(length) {
            sources.extend(MaskTaps::new(mask, d_conv).table());
            let absent = |steps: &[f32]| i32::from(steps.iter().all(|present| *present == 0.0));
            unselected.extend(mask.chunks(CHUNK).map(absent));
            unselected.extend(mask.rchunks(CHUNK).map(absent));
        }
        // With one tap there is nothing to find, and a tensor has at least one value.
        sources.resize(sources.len().max(batch), -1);
        let on_device = |table: Vec<i32>| {
            let shape = [batch, table.len() / batch];
            CubeBackend::int_from_data(TensorData::new(table, shape), &values.device)
        };
        let [sources, unselected] = [sources, unselected].map(on_device);
        Self {
            values,
            sources,
            unselected,
        }
    }

    /// The mask of some of the sequences.
    pub(super) fn of(&self, sequences: std::ops::Range<usize>) -> Self {
        let part =
            |tensor: &CubeTensor| into_contiguous(slice_first(tensor.clone(), sequences.clone()));
        Self {
            values: part(&self.values),
            sources: part(&self.sources),
            unselected: part(&self.unselected),
        }
    }
}

/// Gradient of the mask, `[batch, length]`, from that of the step sizes, `[.., batch length]`, and of the taps,
/// `[batch length, channel]`.
pub(super) fn mask_gradient(steps: CubeTensor, taps: CubeTensor, batch: usize) -> CubeTensor {
    let n_position = taps.shape()[0];
    let shape = [batch, n_position / batch];
    let [steps, taps] = [sum_axis(steps, 0), sum_axis(taps, 1)];
    CubeBackend::float_add(reshape(steps, &shape), reshape(taps, &shape))
}

impl MaskedBimambaBackend for CubeBackend {
    fn masked_bimamba_block(
        x: CubeTensor,
        mask: CubeTensor,
        params: CubeTensor,
        plan: BlockPlan,
    ) -> CubeTensor {
        Block::new(&x, params, plan).under(mask).forward(x, None)
    }
}

impl MaskedBimambaKernel for CubeBackend {
    fn masked_bimamba_block_saving(
        x: CubeTensor,
        mask: CubeTensor,
        params: CubeTensor,
        plan: BlockPlan,
    ) -> (CubeTensor, CubeTensor) {
        let mut states = Vec::new();
        let block = Block::new(&x, params, plan).under(mask);
        let out = block.forward(x, Some(&mut states));
        (out, join(states))
    }

    fn masked_bimamba_block_backward(
        x: CubeTensor,
        mask: CubeTensor,
        params: CubeTensor,
        saved: CubeTensor,
        dout: CubeTensor,
        plan: BlockPlan,
    ) -> [CubeTensor; 3] {
        let block = Block::new(&x, params, plan).under(mask);
        let gradients = block.backward(x, saved, dout);
        let mask = gradients.mask.expect("the block is under a mask");
        [gradients.x, mask, gradients.params]
    }
}
