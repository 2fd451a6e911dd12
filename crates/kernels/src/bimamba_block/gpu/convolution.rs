//! The causal depthwise convolution with SiLU of both directions, and its adjoint; a unit walks one channel.

use burn::backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{CHANNELS, WALK, direction_stride, element, position, silu, silu_slope};
use super::extent::Extent;
use super::masked::DeviceMask;
use super::scan::{CHUNK, channel_blocks, scan_grid};
use crate::bimamba_block::layout::BlockSizes;

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
    } else if step >= back {
        let row = batch_index * length + position(step - back, length, direction);
        value = f32::cast_from(v[row * d_inner + channel]);
    }
    value
}

/// One output of the convolution before SiLU.
#[cube]
fn convolve_at<E: Float>(
    v: &Tensor<E>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    step: usize,
    batch_index: usize,
    direction: usize,
    channel: usize,
    length: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] masked: bool,
) -> f32 {
    let stride = comptime!(direction_stride(sizes));
    let weight = comptime!(sizes.layout().directions[0].conv_weight.start);
    let bias = comptime!(sizes.layout().directions[0].conv_bias.start);
    let d_conv = comptime!(sizes.d_conv);
    let mut sum = params[direction * stride + bias + channel];
    #[unroll]
    for k in 0..d_conv {
        let value = tap_value::<E>(
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
        sum += params[direction * stride + weight + channel * d_conv + k] * value;
    }
    sum
}

/// u = silu(conv(v)) of both directions, in the order of their steps.
#[cube(launch)]
fn convolve<E: Float>(
    v: &Tensor<E>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    u: &mut Tensor<E>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] walk: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS_X as usize;
    let sequence = CUBE_POS_Z as usize;
    let d_inner = comptime!(sizes.d_inner);
    if channel >= d_inner {
        terminate!();
    }
    let first = CUBE_POS_Y as usize * walk;
    let end = clamp_max::<usize>(first + walk, steps);
    for step in first..end {
        let s = convolve_at::<E>(
            v,
            params,
            mask,
            sources,
            step,
            sequence % batch,
            sequence / batch,
            channel,
            length,
            sizes,
            masked,
        );
        u[(sequence * steps + step) * d_inner + channel] = E::cast_from(silu(s));
    }
}

/// s' = (u' of the scan + u' of its projections) silu'(s), in place of the former, and a chunk's sums for weight and
/// bias, `[sequence, chunk, d_inner (d_conv + 1)]` in the order of the parameters.
#[cube(launch)]
fn convolve_gradient<E: Float>(
    v: &Tensor<E>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    du_projected: &Tensor<E>,
    du: &mut Tensor<E>,
    partial_params: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let d_inner = comptime!(sizes.d_inner);
    let d_conv = comptime!(sizes.d_conv);
    if channel >= d_inner {
        terminate!();
    }
    let direction = sequence / batch;
    let batch_index = sequence % batch;
    let mut dweight = Array::<f32>::new(d_conv);
    #[unroll]
    for k in 0..d_conv {
        dweight[k] = 0.0f32;
    }
    let mut dbias = 0.0f32;
    let first = chunk * chunk_len;
    let end = clamp_max::<usize>(first + chunk_len, steps);
    for step in first..end {
        let s = convolve_at::<E>(
            v,
            params,
            mask,
            sources,
            step,
            batch_index,
            direction,
            channel,
            length,
            sizes,
            masked,
        );
        let at = (sequence * steps + step) * d_inner + channel;
        let ds = (f32::cast_from(du[at]) + f32::cast_from(du_projected[at])) * silu_slope(s);
        du[at] = E::cast_from(ds);
        dbias += ds;
        #[unroll]
        for k in 0..d_conv {
            let value = tap_value::<E>(
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
            dweight[k] += ds * value;
        }
    }
    let row_len = comptime!(convolution_params_len(sizes));
    let row = (sequence * CUBE_COUNT_Y as usize + chunk) * row_len;
    #[unroll]
    for k in 0..d_conv {
        partial_params[row + channel * d_conv + k] = dweight[k];
    }
    partial_params[row + d_inner * d_conv + channel] = dbias;
}

/// v' at every position, from s' of both directions.
#[cube(launch)]
fn input_gradient<E: Float>(
    ds: &Tensor<E>,
    params: &Tensor<f32>,
    dv: &mut Tensor<E>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] walk: usize,
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
    let first = CUBE_POS_Y as usize * walk;
    let end = clamp_max::<usize>(first + walk, length);
    for t in first..end {
        let mut sum = 0.0f32;
        #[unroll]
        for direction in 0..2usize {
            // The step that reads this position with the last tap; later steps read it with earlier taps.
            let own = position(t, length, direction);
            #[unroll]
            for k in 0..d_conv {
                let step = own + comptime!(sizes.d_conv - 1 - k);
                if step < steps {
                    let row = (direction * batch + batch_index) * steps + step;
                    sum += params[direction * stride + weight + channel * d_conv + k]
                        * f32::cast_from(ds[row * d_inner + channel]);
                }
            }
        }
        dv[(batch_index * length + t) * d_inner + channel] = E::cast_from(sum);
    }
}

/// v' at every position under a mask, and each channel's part of the mask's gradient, `[batch length, d_inner]`.
///
/// A position reads itself with its last tap. Later steps read it, if it is selected, with tap 1 until the next selected
/// position is passed, with tap 2 until the one after, and so on: all positions together are visited d_conv - 1 times.
#[cube(launch)]
fn masked_input_gradient<E: Float>(
    ds: &Tensor<E>,
    v: &Tensor<E>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    dv: &mut Tensor<E>,
    dmask: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] walk: usize,
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
            let rows = (direction * batch + batch_index) * steps;
            let step = position(t, length, direction);
            if step < steps {
                own += params[taps + d_conv - 1]
                    * f32::cast_from(ds[(rows + step) * d_inner + channel]);
            }
            if present != 0.0f32 {
                let mut later = step + 1;
                let mut passed = 1usize;
                while later < steps && passed < d_conv {
                    others += params[taps + d_conv - 1 - passed]
                        * f32::cast_from(ds[(rows + later) * d_inner + channel]);
                    let other = batch_index * length + position(later, length, direction);
                    passed += select(mask[other] != 0.0f32, 1usize, 0usize);
                    later += 1;
                }
            }
        }
        dv[at] = E::cast_from(own + present * others);
        dmask[at] = others * f32::cast_from(v[at]);
    }
}

/// Floats of one direction's convolution weight and bias, which lie one after the other.
pub(super) fn convolution_params_len(sizes: BlockSizes) -> usize {
    sizes.d_inner * (sizes.d_conv + 1)
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
    let grid = CubeCount::Static(
        channel_blocks(sizes.d_inner, CHANNELS),
        extent.steps().div_ceil(WALK) as u32,
        extent.n_sequence() as u32,
    );
    convolve::launch(
        &v.client,
        grid,
        CubeDim::new_1d(CHANNELS as u32),
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

/// The mask's values and sources; without a mask tensors that no kernel reads.
fn mask_tensors(mask: Option<&DeviceMask>, unread: &CubeTensor) -> [CubeTensor; 2] {
    match mask {
        Some(mask) => [mask.values.clone(), mask.sources.clone()],
        None => [unread.clone(), unread.clone()],
    }
}

/// What the convolution's adjoint leaves.
#[derive(Debug)]
pub(super) struct ConvolutionGradients {
    /// Gradient of `v`.
    pub(super) dv: CubeTensor,
    /// Partial sums of weight's and bias' gradients, `[2, .., d_inner (d_conv + 1)]`.
    pub(super) partial_params: CubeTensor,
    /// Each channel's part of the mask's gradient, `[batch length, d_inner]`.
    pub(super) partial_mask: Option<CubeTensor>,
}

/// Gradients of the convolution.
///
/// `du` and `du_projected` are of shape `[sequence step, d_inner]`; their sum is the gradient of the scans' inputs.
pub(super) fn convolve_silu_gradient(
    extent: &Extent,
    v: &CubeTensor,
    params: &CubeTensor,
    mask: Option<&DeviceMask>,
    du: CubeTensor,
    du_projected: CubeTensor,
) -> ConvolutionGradients {
    let sizes = extent.sizes;
    let partial_shape = [
        2,
        extent.batch * extent.n_chunk(),
        convolution_params_len(sizes),
    ];
    let partial_params = extent.new_tensor(v, &partial_shape, DType::F32);
    let [values, sources] = mask_tensors(mask, params);
    convolve_gradient::launch(
        &v.client,
        scan_grid(extent, CHANNELS),
        CubeDim::new_1d(CHANNELS as u32),
        v.clone().into_tensor_arg(),
        params.clone().into_tensor_arg(),
        values.into_tensor_arg(),
        sources.into_tensor_arg(),
        du_projected.into_tensor_arg(),
        du.clone().into_tensor_arg(),
        partial_params.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        sizes,
        CHUNK,
        mask.is_some(),
        element(v.dtype()),
    );
    let dv = extent.new_tensor(v, &v.shape().to_vec(), v.dtype());
    let grid = CubeCount::Static(
        channel_blocks(sizes.d_inner, CHANNELS),
        extent.length.div_ceil(WALK) as u32,
        extent.batch as u32,
    );
    let dim = CubeDim::new_1d(CHANNELS as u32);
    let mut partial_mask = None;
    match mask {
        None => input_gradient::launch(
            &v.client,
            grid,
            dim,
            du.into_tensor_arg(),
            params.clone().into_tensor_arg(),
            dv.clone().into_tensor_arg(),
            extent.batch,
            extent.length,
            extent.steps(),
            sizes,
            WALK,
            element(v.dtype()),
        ),
        Some(mask) => {
            let dmask = extent.new_tensor(v, &v.shape().to_vec(), DType::F32);
            masked_input_gradient::launch(
                &v.client,
                grid,
                dim,
                du.into_tensor_arg(),
                v.clone().into_tensor_arg(),
                params.clone().into_tensor_arg(),
                mask.values.clone().into_tensor_arg(),
                dv.clone().into_tensor_arg(),
                dmask.clone().into_tensor_arg(),
                extent.batch,
                extent.length,
                extent.steps(),
                sizes,
                WALK,
                element(v.dtype()),
            );
            partial_mask = Some(dmask);
        }
    }
    ConvolutionGradients {
        dv,
        partial_params,
        partial_mask,
    }
}
