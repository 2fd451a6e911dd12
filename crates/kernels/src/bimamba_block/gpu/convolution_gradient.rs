//! The adjoint of the convolution with SiLU of both directions: first of what follows the convolution, step by step, then of
//! its input, position by position.

use burn::backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{CHANNELS, WALK, element, silu_slope_each};
use super::convolution::{channels_of_a_unit, mask_tensors};
use super::extent::Extent;
use super::masked::DeviceMask;
use super::masked_gradient::masked_input_gradients;
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
    let (dv, partial_mask) = match mask {
        None => (input_gradients(extent, v, params, du), None),
        Some(mask) => {
            let (dv, dmask) = masked_input_gradients(extent, v, params, mask, du);
            (dv, Some(dmask))
        }
    };
    ConvolutionGradients {
        dv,
        partial_params,
        partial_mask,
    }
}

/// Gradient of `v` from that of the scans' inputs before SiLU.
fn input_gradients(
    extent: &Extent,
    v: &CubeTensor,
    params: &CubeTensor,
    ds: CubeTensor,
) -> CubeTensor {
    let channels = channels_of_a_unit(extent, v);
    let dv = extent.new_tensor(v, &v.shape().to_vec(), v.dtype());
    input_gradient::launch(
        &v.client,
        position_grid(extent, channels * CHANNELS),
        CubeDim::new_1d(CHANNELS as u32),
        channels,
        ds.into_tensor_arg(),
        params.clone().into_tensor_arg(),
        dv.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        extent.sizes,
        WALK,
        element(v.dtype()),
    );
    dv
}

/// One cube per block of channels, [`WALK`] positions and sequence of the batch.
pub(super) fn position_grid(extent: &Extent, channels: usize) -> CubeCount {
    CubeCount::Static(
        channel_blocks(extent.sizes.d_inner, channels),
        extent.length.div_ceil(WALK) as u32,
        extent.batch as u32,
    )
}
