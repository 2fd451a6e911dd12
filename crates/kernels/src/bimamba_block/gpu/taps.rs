//! What the taps of the convolution read, step after step, and their weights; a unit has a vector of channels.

use cubecl::prelude::*;

use super::channel::{direction_stride, position};
use crate::bimamba_block::layout::BlockSizes;

/// The value `back` steps before a step, 0 before the first.
#[cube]
fn value_back<E: Float, N: Size>(
    v: &Tensor<Vector<E, N>>,
    step: usize,
    batch_index: usize,
    direction: usize,
    column: usize,
    length: usize,
    #[comptime] back: usize,
    #[comptime] d_inner: usize,
) -> Vector<f32, N> {
    let mut value = Vector::<f32, N>::zeroed();
    if step >= back {
        let row = batch_index * length + position(step - back, length, direction);
        value = Vector::<f32, N>::cast_from(v[row * (d_inner / N::value()) + column]);
    }
    value
}

/// What a tap reads at a step, 0 before the first: the position `back` steps before; under a mask the `back`-th selected
/// position before, times its mask.
#[cube]
fn tap_value<E: Float, N: Size>(
    v: &Tensor<Vector<E, N>>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    step: usize,
    batch_index: usize,
    direction: usize,
    column: usize,
    length: usize,
    #[comptime] back: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] masked: bool,
) -> Vector<f32, N> {
    let d_inner = comptime!(sizes.d_inner);
    let mut value = Vector::<f32, N>::zeroed();
    if comptime!(masked && back > 0) {
        let at = (batch_index * 2 + direction) * length + position(step, length, direction);
        let source = sources[at * comptime!(sizes.d_conv - 1) + comptime!(back - 1)];
        if source >= 0 {
            let row = batch_index * length + usize::cast_from(source);
            let read = Vector::<f32, N>::cast_from(v[row * (d_inner / N::value()) + column]);
            value = Vector::<f32, N>::new(mask[row]) * read;
        }
    } else {
        value = value_back::<E, N>(
            v,
            step,
            batch_index,
            direction,
            column,
            length,
            back,
            d_inner,
        );
    }
    value
}

/// What the taps read before `first`, so that [`next_taps`] goes on from there; of no use under a mask, which has no order.
#[cube]
pub(super) fn taps_before<E: Float, N: Size>(
    taps: &mut Array<Vector<f32, N>>,
    v: &Tensor<Vector<E, N>>,
    first: usize,
    batch_index: usize,
    direction: usize,
    column: usize,
    length: usize,
    #[comptime] sizes: BlockSizes,
) {
    let d_conv = comptime!(sizes.d_conv);
    taps[0] = Vector::<f32, N>::zeroed();
    #[unroll]
    for k in 1..d_conv {
        taps[k] = value_back::<E, N>(
            v,
            first,
            batch_index,
            direction,
            column,
            length,
            comptime!(sizes.d_conv - k),
            comptime!(sizes.d_inner),
        );
    }
}

/// What the taps read at a step, from what they read at the step before: one value is new, unless a mask chooses them.
#[cube]
pub(super) fn next_taps<E: Float, N: Size>(
    taps: &mut Array<Vector<f32, N>>,
    v: &Tensor<Vector<E, N>>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    step: usize,
    batch_index: usize,
    direction: usize,
    column: usize,
    length: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] masked: bool,
) {
    let d_conv = comptime!(sizes.d_conv);
    #[unroll]
    for k in 0..d_conv {
        if comptime!(masked || k + 1 == sizes.d_conv) {
            taps[k] = tap_value::<E, N>(
                v,
                mask,
                sources,
                step,
                batch_index,
                direction,
                column,
                length,
                comptime!(sizes.d_conv - 1 - k),
                sizes,
                masked,
            );
        } else {
            taps[k] = taps[comptime!(k + 1)];
        }
    }
}

/// Reads the weights of a vector of channels' taps; returns their biases.
#[cube]
pub(super) fn load_weights<N: Size>(
    params: &Tensor<f32>,
    direction: usize,
    column: usize,
    weights: &mut Array<Vector<f32, N>>,
    #[comptime] sizes: BlockSizes,
) -> Vector<f32, N> {
    let start = direction * comptime!(direction_stride(sizes));
    let weight = start + comptime!(sizes.layout().directions[0].conv_weight.start);
    let bias = start + comptime!(sizes.layout().directions[0].conv_bias.start);
    let d_conv = comptime!(sizes.d_conv);
    let first = column * N::value();
    #[unroll]
    for k in 0..d_conv {
        let mut each = Vector::<f32, N>::zeroed();
        #[unroll]
        for i in 0..N::value() {
            each.insert(i, params[weight + (first + i) * d_conv + k]);
        }
        weights[k] = each;
    }
    let mut biases = Vector::<f32, N>::zeroed();
    #[unroll]
    for i in 0..N::value() {
        biases.insert(i, params[bias + first + i]);
    }
    biases
}

/// One output of the convolution before SiLU.
#[cube]
pub(super) fn convolve_taps<N: Size>(
    weights: &Array<Vector<f32, N>>,
    bias: Vector<f32, N>,
    taps: &Array<Vector<f32, N>>,
    #[comptime] d_conv: usize,
) -> Vector<f32, N> {
    let mut sum = bias;
    #[unroll]
    for k in 0..d_conv {
        sum += weights[k] * taps[k];
    }
    sum
}
