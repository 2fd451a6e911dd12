//! The adjoint of the convolution with SiLU of both directions: first of what follows the convolution, step by step, then of
//! its input, position by position.

use burn::backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{CHANNELS, WALK, direction_stride, element, position, silu_slope_each};
use super::convolution::{channels_of_a_unit, mask_tensors};
use super::extent::Extent;
use super::masked::DeviceMask;
use super::scan::{CHUNK, channel_blocks, scan_grid};
use super::taps::{convolve_taps, load_weights, next_taps, taps_before};
use crate::bimamba_block::layout::BlockSizes;

/// s' = (u' of the scan + u' of its projections) silu'(s), in place of the former, and a chunk's sums for weight and
/// bias, `[sequence, chunk, d_inner (d_conv + 1)]` in the order of the parameters.
#[cube(launch)]
fn convolve_gradient<E: Float, N: Size>(
    v: &Tensor<Vector<E, N>>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    sources: &Tensor<i32>,
    du_projected: &Tensor<Vector<E, N>>,
    du: &mut Tensor<Vector<E, N>>,
    partial_params: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let column = ABSOLUTE_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let n_column = comptime!(sizes.d_inner) / N::value();
    let d_conv = comptime!(sizes.d_conv);
    if column >= n_column {
        terminate!();
    }
    let direction = sequence / batch;
    let batch_index = sequence % batch;
    let mut dweight = Array::<Vector<f32, N>>::new(d_conv);
    #[unroll]
    for k in 0..d_conv {
        dweight[k] = Vector::<f32, N>::zeroed();
    }
    let mut dbias = Vector::<f32, N>::zeroed();
    let mut weights = Array::<Vector<f32, N>>::new(d_conv);
    let bias = load_weights::<N>(params, direction, column, &mut weights, sizes);
    let first = chunk * chunk_len;
    let end = clamp_max::<usize>(first + chunk_len, steps);
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
        let at = (sequence * steps + step) * n_column + column;
        let of_u =
            Vector::<f32, N>::cast_from(du[at]) + Vector::<f32, N>::cast_from(du_projected[at]);
        let ds = of_u * silu_slope_each::<N>(s);
        du[at] = Vector::<E, N>::cast_from(ds);
        dbias += ds;
        #[unroll]
        for k in 0..d_conv {
            dweight[k] += ds * taps[k];
        }
    }
    let row_len = comptime!(convolution_params_len(sizes));
    let row = (sequence * CUBE_COUNT_Y as usize + chunk) * row_len;
    let biases = row + comptime!(sizes.d_inner * sizes.d_conv);
    #[unroll]
    for i in 0..N::value() {
        let channel = column * N::value() + i;
        #[unroll]
        for k in 0..d_conv {
            partial_params[row + channel * d_conv + k] = dweight[k].extract(i);
        }
        partial_params[biases + channel] = dbias.extract(i);
    }
}

/// s' at a step of the sequence whose rows start at `rows`, 0 behind the last.
#[cube]
fn gradient_at<E: Float, N: Size>(
    ds: &Tensor<Vector<E, N>>,
    rows: usize,
    step: usize,
    steps: usize,
    column: usize,
    n_column: usize,
) -> Vector<f32, N> {
    let mut gradient = Vector::<f32, N>::zeroed();
    if step < steps {
        gradient = Vector::<f32, N>::cast_from(ds[(rows + step) * n_column + column]);
    }
    gradient
}

/// v' at every position, from s' of both directions.
#[cube(launch)]
fn input_gradient<E: Float, N: Size>(
    ds: &Tensor<Vector<E, N>>,
    params: &Tensor<f32>,
    dv: &mut Tensor<Vector<E, N>>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] walk: usize,
    #[define(E)] _element: ElemType,
) {
    let column = ABSOLUTE_POS_X as usize;
    let batch_index = CUBE_POS_Z as usize;
    let n_column = comptime!(sizes.d_inner) / N::value();
    let d_conv = comptime!(sizes.d_conv);
    if column >= n_column {
        terminate!();
    }
    let first = CUBE_POS_Y as usize * walk;
    let end = clamp_max::<usize>(first + walk, length);
    let mut forward_weights = Array::<Vector<f32, N>>::new(d_conv);
    let mut reverse_weights = Array::<Vector<f32, N>>::new(d_conv);
    load_weights::<N>(params, 0, column, &mut forward_weights, sizes);
    load_weights::<N>(params, 1, column, &mut reverse_weights, sizes);
    let forward_rows = batch_index * steps;
    let reverse_rows = (batch + batch_index) * steps;
    // s' of a direction at the step that reads a position with the last tap, and at those after it, which read it with
    // earlier taps; at first of the position before, but for the value that is moved out.
    let mut forward = Array::<Vector<f32, N>>::new(d_conv);
    let mut reverse = Array::<Vector<f32, N>>::new(d_conv);
    forward[0] = Vector::<f32, N>::zeroed();
    reverse[comptime!(sizes.d_conv - 1)] = Vector::<f32, N>::zeroed();
    #[unroll]
    for k in 1..d_conv {
        let earlier = comptime!(k - 1);
        forward[k] =
            gradient_at::<E, N>(ds, forward_rows, first + earlier, steps, column, n_column);
        reverse[earlier] = gradient_at::<E, N>(
            ds,
            reverse_rows,
            length - first + earlier,
            steps,
            column,
            n_column,
        );
    }
    for t in first..end {
        // Steps grow with positions in one direction and shrink in the other.
        #[unroll]
        for k in 1..d_conv {
            forward[comptime!(k - 1)] = forward[k];
            let place = comptime!(sizes.d_conv - k);
            reverse[place] = reverse[comptime!(place - 1)];
        }
        forward[comptime!(sizes.d_conv - 1)] =
            gradient_at::<E, N>(ds, forward_rows, t + d_conv - 1, steps, column, n_column);
        reverse[0] = gradient_at::<E, N>(ds, reverse_rows, length - 1 - t, steps, column, n_column);
        let mut sum = Vector::<f32, N>::zeroed();
        #[unroll]
        for k in 0..d_conv {
            sum += forward_weights[k] * forward[comptime!(sizes.d_conv - 1 - k)];
        }
        #[unroll]
        for k in 0..d_conv {
            sum += reverse_weights[k] * reverse[comptime!(sizes.d_conv - 1 - k)];
        }
        dv[(batch_index * length + t) * n_column + column] = Vector::<E, N>::cast_from(sum);
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
    let channels = channels_of_a_unit(extent, v);
    let dim = CubeDim::new_1d(CHANNELS as u32);
    convolve_gradient::launch(
        &v.client,
        scan_grid(extent, channels * CHANNELS),
        dim,
        channels,
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
    let grid = |channels: usize| {
        CubeCount::Static(
            channel_blocks(sizes.d_inner, channels * CHANNELS),
            extent.length.div_ceil(WALK) as u32,
            extent.batch as u32,
        )
    };
    let mut partial_mask = None;
    match mask {
        None => input_gradient::launch(
            &v.client,
            grid(channels),
            dim,
            channels,
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
                grid(1),
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
