//! What the taps of the convolution read, step after step, and their weights.

use cubecl::prelude::*;

use super::channel::{direction_stride, position};
use crate::bimamba_block::layout::BlockSizes;

/// The value `back` steps before a step, 0 before the first.
#[cube]
fn value_back<E: Float>(
    v: &Tensor<E>,
    step: usize,
    batch_index: usize,
    direction: usize,
    channel: usize,
    length: usize,
    #[comptime] back: usize,
    #[comptime] d_inner: usize,
) -> f32 {
    let mut value = 0.0f32;
    if step >= back {
        let row = batch_index * length + position(step - back, length, direction);
        value = f32::cast_from(v[row * d_inner + channel]);
    }
    value
}

/// What a tap reads at a step, 0 before the first: the position `back` steps before; under a mask the `back`-th selected
/// position before, times its mask.
#[cube]
fn tap_value<E: Float>(
    v: &Tensor<E>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    step: usize,
    batch_index: usize,
    direction: usize,
    channel: usize,
    length: usize,
    #[comptime] back: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] masked: bool,
) -> f32 {
    let d_inner = comptime!(sizes.d_inner);
    let mut value = 0.0f32;
    if comptime!(masked && back > 0) {
        let at = (batch_index * 2 + direction) * length + position(step, length, direction);
        let source = sources[at * comptime!(sizes.d_conv - 1) + comptime!(back - 1)];
        if source >= 0 {
            let row = batch_index * length + usize::cast_from(source);
            value = mask[row] * f32::cast_from(v[row * d_inner + channel]);
        }
    } else {
        value = value_back::<E>(
            v,
            step,
            batch_index,
            direction,
            channel,
            length,
            back,
            d_inner,
        );
    }
    value
}

/// What the taps read before `first`, so that [`next_taps`] goes on from there; of no use under a mask, which has no order.
#[cube]
pub(super) fn taps_before<E: Float>(
    taps: &mut Array<f32>,
    v: &Tensor<E>,
    first: usize,
    batch_index: usize,
    direction: usize,
    channel: usize,
    length: usize,
    #[comptime] sizes: BlockSizes,
) {
    let d_conv = comptime!(sizes.d_conv);
    taps[0] = 0.0f32;
    #[unroll]
    for k in 1..d_conv {
        taps[k] = value_back::<E>(
            v,
            first,
            batch_index,
            direction,
            channel,
            length,
            comptime!(sizes.d_conv - k),
            comptime!(sizes.d_inner),
        );
    }
}

/// What the taps read at a step, from what they read at the step before: one value is new, unless a mask chooses them.
#[cube]
pub(super) fn next_taps<E: Float>(
    taps: &mut Array<f32>,
    v: &Tensor<E>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    step: usize,
    batch_index: usize,
    direction: usize,
    channel: usize,
    length: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] masked: bool,
) {
    let d_conv = comptime!(sizes.d_conv);
    #[unroll]
    for k in 0..d_conv {
        if comptime!(masked || k + 1 == sizes.d_conv) {
            taps[k] = tap_value::<E>(
                v,
                mask,
                sources,
                step,
                batch_index,
                direction,
                channel,
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

/// Reads a channel's taps' weights; returns the bias.
#[cube]
pub(super) fn load_weights(
    params: &Tensor<f32>,
    direction: usize,
    channel: usize,
    weights: &mut Array<f32>,
    #[comptime] sizes: BlockSizes,
) -> f32 {
    let stride = comptime!(direction_stride(sizes));
    let weight = comptime!(sizes.layout().directions[0].conv_weight.start);
    let bias = comptime!(sizes.layout().directions[0].conv_bias.start);
    let d_conv = comptime!(sizes.d_conv);
    #[unroll]
    for k in 0..d_conv {
        weights[k] = params[direction * stride + weight + channel * d_conv + k];
    }
    params[direction * stride + bias + channel]
}

/// One output of the convolution before SiLU.
#[cube]
pub(super) fn convolve_taps(
    weights: &Array<f32>,
    bias: f32,
    taps: &Array<f32>,
    #[comptime] d_conv: usize,
) -> f32 {
    let mut sum = bias;
    #[unroll]
    for k in 0..d_conv {
        sum += weights[k] * taps[k];
    }
    sum
}
