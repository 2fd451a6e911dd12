//! The causal depthwise convolution with SiLU of both directions; a unit walks a vector of channels.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{CHANNELS, WALK, element, silu_each};
use super::extent::{Extent, vector_size};
use super::masked::DeviceMask;
use super::scan::channel_blocks;
use super::taps::{convolve_taps, load_weights, next_taps, taps_before};
use crate::bimamba_block::layout::BlockSizes;

/// Most channels of a unit, whose taps and weights stay in registers.
const MOST_CHANNELS: usize = 4;

/// u = silu(conv(v)) of both directions, in the order of their steps.
#[cube(launch)]
fn convolve<E: Float, N: Size>(
    v: &Tensor<Vector<E, N>>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    u: &mut Tensor<Vector<E, N>>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] walk: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let column = ABSOLUTE_POS_X as usize;
    let sequence = CUBE_POS_Z as usize;
    let n_column = comptime!(sizes.d_inner) / N::value();
    if column >= n_column {
        terminate!();
    }
    let d_conv = comptime!(sizes.d_conv);
    let (direction, batch_index) = (sequence / batch, sequence % batch);
    let mut weights = Array::<Vector<f32, N>>::new(d_conv);
    let bias = load_weights::<N>(params, direction, column, &mut weights, sizes);
    let first = CUBE_POS_Y as usize * walk;
    let end = clamp_max::<usize>(first + walk, steps);
    let mut taps = Array::<Vector<f32, N>>::new(d_conv);
    taps_before::<E, N>(
        &mut taps,
        v,
        first,
        batch_index,
        direction,
        column,
        length,
        sizes,
    );
    for step in first..end {
        next_taps::<E, N>(
            &mut taps,
            v,
            mask,
            sources,
            step,
            batch_index,
            direction,
            column,
            length,
            sizes,
            masked,
        );
        let s = convolve_taps::<N>(&weights, bias, &taps, d_conv);
        u[(sequence * steps + step) * n_column + column] =
            Vector::<E, N>::cast_from(silu_each::<N>(s));
    }
}

/// Inputs of the scans, `[sequence step, d_inner]`, from `v`, `[batch length, d_inner]`.
pub(super) fn convolve_silu(
    extent: &Extent,
    v: &CubeTensor,
    params: &CubeTensor,
    mask: Option<&DeviceMask>,
) -> CubeTensor {
    let sizes = extent.sizes;
    let rows = extent.n_sequence() * extent.steps();
    let u = extent.new_tensor(v, &[rows, sizes.d_inner], v.dtype());
    let [values, sources] = mask_tensors(mask, params);
    let channels = channels_of_a_unit(extent, v);
    let grid = CubeCount::Static(
        channel_blocks(sizes.d_inner, channels * CHANNELS),
        extent.steps().div_ceil(WALK) as u32,
        extent.n_sequence() as u32,
    );
    convolve::launch(
        &v.client,
        grid,
        CubeDim::new_1d(CHANNELS as u32),
        channels,
        v.clone().into_tensor_arg(),
        params.clone().into_tensor_arg(),
        values.into_tensor_arg(),
        sources.into_tensor_arg(),
        u.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        sizes,
        WALK,
        mask.is_some(),
        element(v.dtype()),
    );
    u
}

/// Channels of a unit: a vector of them is loaded at once.
pub(super) fn channels_of_a_unit(extent: &Extent, v: &CubeTensor) -> usize {
    let mut channels = vector_size(v, extent.sizes.d_inner);
    while channels > MOST_CHANNELS {
        channels /= 2;
    }
    channels
}

/// The mask's values and sources; without a mask tensors that no kernel reads.
pub(super) fn mask_tensors(mask: Option<&DeviceMask>, unread: &CubeTensor) -> [CubeTensor; 2] {
    match mask {
        Some(mask) => [mask.values.clone(), mask.sources.clone()],
        None => [unread.clone(), unread.clone()],
    }
}
