//! RMSNorm of the rows of `x` and its adjoint; a cube takes four rows at a time, sixteen units each.

use burn::backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::element;
use super::extent::Extent;
use crate::bimamba_block::layout::BlockSizes;
use crate::bimamba_block::reference::NORM_EPSILON;

/// Units that share a row.
const LANES: usize = 16;

/// Rows of a cube at a time.
const ROWS: usize = 4;

/// Rows that a cube takes one after the other in each of its places.
const TURNS: usize = 16;

/// Adds up what the units of a row have; every unit gets the sum.
#[cube]
fn sum_over_lanes(
    value: f32,
    shared: &mut Shared<[f32]>,
    unit: usize,
    #[comptime] lanes: usize,
) -> f32 {
    sync_cube();
    shared[unit] = value;
    sync_cube();
    let first = unit / lanes * lanes;
    let mut sum = 0.0f32;
    #[unroll]
    for lane in 0..lanes {
        sum += shared[first + lane];
    }
    sum
}

/// h = w x / sqrt(mean(x^2) + epsilon)
#[cube(launch)]
fn normalize<E: Float>(
    x: &Tensor<f32>,
    params: &Tensor<f32>,
    h: &mut Tensor<E>,
    length: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] lanes: usize,
    #[comptime] rows: usize,
    #[comptime] turns: usize,
    #[define(E)] _element: ElemType,
) {
    let unit = UNIT_POS_X as usize;
    let lane = unit % lanes;
    let d_model = comptime!(sizes.d_model);
    let weight = comptime!(sizes.layout().norm_weight.start);
    let per_lane = comptime!(sizes.d_model.div_ceil(lanes));
    let mut shared = Shared::<[f32]>::new_slice(comptime!(rows * lanes));
    for turn in 0..turns {
        let t = (CUBE_POS_X as usize * turns + turn) * rows + unit / lanes;
        // Units behind the last row repeat it for the barriers.
        let row = CUBE_POS_Y as usize * length + clamp_max::<usize>(t, length - 1);
        let mut square = 0.0f32;
        #[unroll]
        for k in 0..per_lane {
            let i = lane + k * lanes;
            if i < d_model {
                square += x[row * d_model + i] * x[row * d_model + i];
            }
        }
        let mean =
            sum_over_lanes(square, &mut shared, unit, lanes) / comptime!(sizes.d_model as f32);
        let scale = 1.0f32 / f32::sqrt(mean + comptime!(NORM_EPSILON as f32));
        if t < length {
            #[unroll]
            for k in 0..per_lane {
                let i = lane + k * lanes;
                if i < d_model {
                    h[row * d_model + i] =
                        E::cast_from(x[row * d_model + i] * scale * params[weight + i]);
                }
            }
        }
    }
}

/// dx = dout + w dh r - x r^3 sum(dh w x) / d_model, and sums of dh x r over a cube's rows for the weight.
///
/// The gradient of h is `dh` at every position plus `dh_out` at the positions asked for, where `dout` is, too.
#[cube(launch)]
fn normalize_gradient(
    x: &Tensor<f32>,
    params: &Tensor<f32>,
    dh: &Tensor<f32>,
    dh_out: &Tensor<f32>,
    dout: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    partial_weight: &mut Tensor<f32>,
    length: usize,
    out_start: usize,
    n_out: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] lanes: usize,
    #[comptime] rows: usize,
    #[comptime] turns: usize,
) {
    let unit = UNIT_POS_X as usize;
    let lane = unit % lanes;
    let batch_index = CUBE_POS_Y as usize;
    let d_model = comptime!(sizes.d_model);
    let weight = comptime!(sizes.layout().norm_weight.start);
    let per_lane = comptime!(sizes.d_model.div_ceil(lanes));
    let mut shared = Shared::<[f32]>::new_slice(comptime!(rows * lanes));
    let mut dweight = Array::<f32>::new(per_lane);
    let mut gradient = Array::<f32>::new(per_lane);
    #[unroll]
    for k in 0..per_lane {
        dweight[k] = 0.0f32;
    }
    for turn in 0..turns {
        let t = (CUBE_POS_X as usize * turns + turn) * rows + unit / lanes;
        let row = batch_index * length + clamp_max::<usize>(t, length - 1);
        let asked = t >= out_start && t < out_start + n_out;
        let out_row = batch_index * n_out + select(asked, t - out_start, 0);
        let mut square = 0.0f32;
        let mut product = 0.0f32;
        #[unroll]
        for k in 0..per_lane {
            let i = lane + k * lanes;
            gradient[k] = 0.0f32;
            if i < d_model {
                let value = x[row * d_model + i];
                let mut dvalue = dh[row * d_model + i];
                if asked {
                    dvalue += dh_out[out_row * d_model + i];
                }
                gradient[k] = dvalue;
                square += value * value;
                product += dvalue * params[weight + i] * value;
            }
        }
        let n = comptime!(sizes.d_model as f32);
        let mean = sum_over_lanes(square, &mut shared, unit, lanes) / n;
        let dot = sum_over_lanes(product, &mut shared, unit, lanes) / n;
        let scale = 1.0f32 / f32::sqrt(mean + comptime!(NORM_EPSILON as f32));
        if t < length {
            #[unroll]
            for k in 0..per_lane {
                let i = lane + k * lanes;
                if i < d_model {
                    let value = x[row * d_model + i];
                    let mut sum =
                        scale * (params[weight + i] * gradient[k] - value * scale * scale * dot);
                    if asked {
                        sum += dout[out_row * d_model + i];
                    }
                    dx[row * d_model + i] = sum;
                    dweight[k] += gradient[k] * value * scale;
                }
            }
        }
    }
    let place = (batch_index * CUBE_COUNT_X as usize + CUBE_POS_X as usize) * rows + unit / lanes;
    #[unroll]
    for k in 0..per_lane {
        let i = lane + k * lanes;
        if i < d_model {
            partial_weight[place * d_model + i] = dweight[k];
        }
    }
}

fn cubes_per_sequence(extent: &Extent) -> usize {
    extent.length.div_ceil(ROWS * TURNS)
}

fn grid(extent: &Extent) -> CubeCount {
    CubeCount::Static(cubes_per_sequence(extent) as u32, extent.batch as u32, 1)
}

/// RMSNorm of every row, `[batch length, d_model]`, in the given type.
pub(super) fn rms_norm(
    extent: &Extent,
    x: &CubeTensor,
    params: &CubeTensor,
    dtype: DType,
) -> CubeTensor {
    let shape = [extent.batch * extent.length, extent.sizes.d_model];
    let h = extent.new_tensor(x, &shape, dtype);
    normalize::launch(
        &x.client,
        grid(extent),
        CubeDim::new_1d((LANES * ROWS) as u32),
        x.clone().into_tensor_arg(),
        params.clone().into_tensor_arg(),
        h.clone().into_tensor_arg(),
        extent.length,
        extent.sizes,
        LANES,
        ROWS,
        TURNS,
        element(dtype),
    );
    h
}

/// Gradient of `x` and partial sums of the weight's gradient, `[.., d_model]`.
///
/// `dh` is of shape `[batch length, d_model]`, `dh_out` and `dout` of `[batch output, d_model]`.
pub(super) fn rms_norm_gradient(
    extent: &Extent,
    x: &CubeTensor,
    params: &CubeTensor,
    dh: CubeTensor,
    dh_out: CubeTensor,
    dout: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let d_model = extent.sizes.d_model;
    let dx = extent.new_tensor(x, &x.shape().to_vec(), DType::F32);
    let n_partial = extent.batch * cubes_per_sequence(extent) * ROWS;
    let partial_weight = extent.new_tensor(x, &[n_partial, d_model], DType::F32);
    normalize_gradient::launch(
        &x.client,
        grid(extent),
        CubeDim::new_1d((LANES * ROWS) as u32),
        x.clone().into_tensor_arg(),
        params.clone().into_tensor_arg(),
        dh.into_tensor_arg(),
        dh_out.into_tensor_arg(),
        dout.into_tensor_arg(),
        dx.clone().into_tensor_arg(),
        partial_weight.clone().into_tensor_arg(),
        extent.length,
        extent.outputs.start,
        extent.n_out(),
        extent.sizes,
        LANES,
        ROWS,
        TURNS,
    );
    (dx, partial_weight)
}
