//! The adjoint of a masked convolution, of its input and of the mask, position by position.

#![allow(
    clippy::manual_div_ceil,
    reason = "kernels are written in what CubeCL translates"
)]

use burn::backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{CHANNELS, WALK, direction_stride, element, position};
use super::convolution_gradient::position_grid;
use super::extent::Extent;
use super::masked::DeviceMask;
use super::scan::{CHUNK, scan_grid};
use crate::bimamba_block::layout::BlockSizes;

/// Sum of s' over each chunk of steps none of which is selected, `[sequence, chunk, d_inner]`; other chunks' are not written.
#[cube(launch)]
fn sum_unselected<E: Float>(
    ds: &Tensor<E>,
    unselected: &Tensor<i32>,
    sums: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] d_inner: usize,
    #[comptime] chunk_len: usize,
    #[define(E)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let flag = unselected_at(sequence, chunk, batch, length, chunk_len);
    if channel >= d_inner || unselected[flag] == 0 {
        terminate!();
    }
    let first = chunk * chunk_len;
    let end = clamp_max::<usize>(first + chunk_len, steps);
    let mut sum = 0.0f32;
    for step in first..end {
        sum += f32::cast_from(ds[(sequence * steps + step) * d_inner + channel]);
    }
    sums[(sequence * CUBE_COUNT_Y as usize + chunk) * d_inner + channel] = sum;
}

/// Where [`DeviceMask::unselected`] has a chunk of a scan.
#[cube]
fn unselected_at(
    sequence: usize,
    chunk: usize,
    batch: usize,
    length: usize,
    #[comptime] chunk_len: usize,
) -> usize {
    let n_chunk = (length + chunk_len - 1) / chunk_len;
    (sequence % batch * 2 + sequence / batch) * n_chunk + chunk
}

/// v' at every position under a mask, and each channel's part of the mask's gradient, `[batch length, d_inner]`.
///
/// A position reads itself with its last tap. Later steps read it, if it is selected, with tap 1 until the next selected
/// position is passed, with tap 2 until the one after, and so on: all positions together are visited d_conv - 1 times. Chunks
/// without a selected position are passed over by their sums, so that a few positions far apart are no long walks.
#[cube(launch)]
fn masked_input_gradient<E: Float>(
    ds: &Tensor<E>,
    sums: &Tensor<f32>,
    v: &Tensor<E>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    unselected: &Tensor<i32>,
    dv: &mut Tensor<E>,
    dmask: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] walk: usize,
    #[comptime] chunk_len: usize,
    #[define(E)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS_X as usize;
    let batch_index = CUBE_POS_Z as usize;
    let d_inner = comptime!(sizes.d_inner);
    let d_conv = comptime!(sizes.d_conv);
    let stride = comptime!(direction_stride(sizes));
    let weight = comptime!(sizes.layout().directions[0].conv_weight.start);
    if channel >= d_inner {
        terminate!();
    }
    let n_chunk = (steps + chunk_len - 1) / chunk_len;
    let first = CUBE_POS_Y as usize * walk;
    let end = clamp_max::<usize>(first + walk, length);
    for t in first..end {
        let at = (batch_index * length + t) * d_inner + channel;
        let present = mask[batch_index * length + t];
        let mut own = 0.0f32;
        let mut others = 0.0f32;
        #[unroll]
        for direction in 0..2usize {
            let taps = direction * stride + weight + channel * d_conv;
            let sequence = direction * batch + batch_index;
            let rows = sequence * steps;
            let step = position(t, length, direction);
            if step < steps {
                own += params[taps + d_conv - 1]
                    * f32::cast_from(ds[(rows + step) * d_inner + channel]);
            }
            if present != 0.0f32 {
                let mut later = step + 1;
                let mut passed = 1usize;
                while later < steps && passed < d_conv {
                    let tap = params[taps + d_conv - 1 - passed];
                    let chunk = later / chunk_len;
                    let flag = unselected_at(sequence, chunk, batch, length, chunk_len);
                    if later == chunk * chunk_len && unselected[flag] != 0 {
                        others += tap * sums[(sequence * n_chunk + chunk) * d_inner + channel];
                        later += chunk_len;
                    } else {
                        others += tap * f32::cast_from(ds[(rows + later) * d_inner + channel]);
                        let other = batch_index * length + position(later, length, direction);
                        passed += select(mask[other] != 0.0f32, 1usize, 0usize);
                        later += 1;
                    }
                }
            }
        }
        dv[at] = E::cast_from(own + present * others);
        dmask[at] = others * f32::cast_from(v[at]);
    }
}

/// Gradient of `v` from that of the scans' inputs before SiLU, and each channel's part of the mask's gradient,
/// `[batch length, d_inner]`.
pub(super) fn masked_input_gradients(
    extent: &Extent,
    v: &CubeTensor,
    params: &CubeTensor,
    mask: &DeviceMask,
    ds: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let d_inner = extent.sizes.d_inner;
    let units = CubeDim::new_1d(CHANNELS as u32);
    let shape = [extent.n_sequence(), extent.n_chunk(), d_inner];
    let sums = extent.new_tensor(v, &shape, DType::F32);
    sum_unselected::launch(
        &v.client,
        scan_grid(extent, CHANNELS),
        units,
        ds.clone().into_tensor_arg(),
        mask.unselected.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        d_inner,
        CHUNK,
        element(v.dtype()),
    );
    let dv = extent.new_tensor(v, &v.shape().to_vec(), v.dtype());
    let dmask = extent.new_tensor(v, &v.shape().to_vec(), DType::F32);
    masked_input_gradient::launch(
        &v.client,
        position_grid(extent, CHANNELS),
        units,
        ds.into_tensor_arg(),
        sums.into_tensor_arg(),
        v.clone().into_tensor_arg(),
        params.clone().into_tensor_arg(),
        mask.values.clone().into_tensor_arg(),
        mask.unselected.clone().into_tensor_arg(),
        dv.clone().into_tensor_arg(),
        dmask.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        extent.sizes,
        WALK,
        CHUNK,
        element(v.dtype()),
    );
    (dv, dmask)
}
