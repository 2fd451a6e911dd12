//! The causal depthwise convolution with SiLU of both directions, and its adjoint; a unit walks one channel.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{CHANNELS, WALK, direction_stride, element, position, silu, silu_slope};
use super::extent::Extent;
use super::scan::{CHUNK, channel_blocks, scan_grid};
use crate::bimamba_block::layout::BlockSizes;

/// One output of the convolution before SiLU; taps before the first step read 0.
#[cube]
fn convolve_at<E: Float>(
    v: &Tensor<E>,
    params: &Tensor<f32>,
    step: usize,
    batch_index: usize,
    direction: usize,
    channel: usize,
    length: usize,
    #[comptime] sizes: BlockSizes,
) -> f32 {
    let stride = comptime!(direction_stride(sizes));
    let weight = comptime!(sizes.layout().directions[0].conv_weight.start);
    let bias = comptime!(sizes.layout().directions[0].conv_bias.start);
    let d_inner = comptime!(sizes.d_inner);
    let d_conv = comptime!(sizes.d_conv);
    let mut sum = params[direction * stride + bias + channel];
    #[unroll]
    for k in 0..d_conv {
        let back = comptime!(sizes.d_conv - 1 - k);
        if step >= back {
            let at = batch_index * length + position(step - back, length, direction);
            sum += params[direction * stride + weight + channel * d_conv + k]
                * f32::cast_from(v[at * d_inner + channel]);
        }
    }
    sum
}

/// u = silu(conv(v)) of both directions, in the order of their steps.
#[cube(launch)]
fn convolve<E: Float>(
    v: &Tensor<E>,
    params: &Tensor<f32>,
    u: &mut Tensor<E>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] walk: usize,
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
            step,
            sequence % batch,
            sequence / batch,
            channel,
            length,
            sizes,
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
    du_projected: &Tensor<E>,
    du: &mut Tensor<E>,
    partial_params: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
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
            step,
            batch_index,
            direction,
            channel,
            length,
            sizes,
        );
        let at = (sequence * steps + step) * d_inner + channel;
        let ds = (f32::cast_from(du[at]) + f32::cast_from(du_projected[at])) * silu_slope(s);
        du[at] = E::cast_from(ds);
        dbias += ds;
        #[unroll]
        for k in 0..d_conv {
            let back = comptime!(sizes.d_conv - 1 - k);
            if step >= back {
                let row = batch_index * length + position(step - back, length, direction);
                dweight[k] += ds * f32::cast_from(v[row * d_inner + channel]);
            }
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

/// Floats of one direction's convolution weight and bias, which lie one after the other.
pub(super) fn convolution_params_len(sizes: BlockSizes) -> usize {
    sizes.d_inner * (sizes.d_conv + 1)
}

/// Inputs of the scans, `[sequence step, d_inner]`, from `v`, `[batch length, d_inner]`.
pub(super) fn convolve_silu(extent: &Extent, v: &CubeTensor, params: &CubeTensor) -> CubeTensor {
    let sizes = extent.sizes;
    let rows = extent.n_sequence() * extent.steps();
    let u = extent.new_tensor(v, &[rows, sizes.d_inner], v.dtype());
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
        u.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        sizes,
        WALK,
        element(v.dtype()),
    );
    u
}

/// Gradient of `v`, and partial sums of weight's and bias' gradients, `[2, .., d_inner (d_conv + 1)]`.
///
/// `du` and `du_projected` are of shape `[sequence step, d_inner]`; their sum is the gradient of the scans' inputs.
pub(super) fn convolve_silu_gradient(
    extent: &Extent,
    v: &CubeTensor,
    params: &CubeTensor,
    du: CubeTensor,
    du_projected: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let sizes = extent.sizes;
    let partial_shape = [
        2,
        extent.batch * extent.n_chunk(),
        convolution_params_len(sizes),
    ];
    let partial_params = extent.new_tensor(v, &partial_shape, burn::backend::DType::F32);
    convolve_gradient::launch(
        &v.client,
        scan_grid(extent, CHANNELS),
        CubeDim::new_1d(CHANNELS as u32),
        v.clone().into_tensor_arg(),
        params.clone().into_tensor_arg(),
        du_projected.into_tensor_arg(),
        du.clone().into_tensor_arg(),
        partial_params.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        sizes,
        CHUNK,
        element(v.dtype()),
    );
    let dv = extent.new_tensor(v, &v.shape().to_vec(), v.dtype());
    let grid = CubeCount::Static(
        channel_blocks(sizes.d_inner, CHANNELS),
        extent.length.div_ceil(WALK) as u32,
        extent.batch as u32,
    );
    input_gradient::launch(
        &v.client,
        grid,
        CubeDim::new_1d(CHANNELS as u32),
        du.into_tensor_arg(),
        params.clone().into_tensor_arg(),
        dv.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        sizes,
        WALK,
        element(v.dtype()),
    );
    (dv, partial_params)
}
