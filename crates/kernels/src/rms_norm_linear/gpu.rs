//! The normalised linear layer on a device: several units share a row, and each cube takes a run of rows whose share of
//! the parameters' gradients it sums.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, Shape, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::{RMS_NORM_EPSILON, RmsNormLinearBackend};

/// Units that share a row; their reads of it are neighbours.
const LANES: usize = 32;
/// Rows a cube works on at a time.
const ROWS: usize = 8;
/// Units of a cube.
pub(crate) const UNITS: usize = LANES * ROWS;
/// Rows of a cube in the backward pass.
const RUN: usize = 128;
/// Outputs that one pass over a row computes at most; more take further cubes.
const OUTPUTS: usize = 4;
/// What the units of a cube share at most: sums of squares and of each output's products.
pub(crate) const SHARED_BYTES: usize = (1 + OUTPUTS) * UNITS * size_of::<f32>();

const EPSILON: f32 = RMS_NORM_EPSILON as f32;

/// Sums each of the first `n_sums` planes of `shared` over the lanes of every row, in a fixed order; the totals are then
/// in lane 0.
#[cube]
fn sum_lanes(shared: &mut Shared<[f32]>, lane: usize, #[comptime] n_sums: usize) {
    let unit = UNIT_POS as usize;
    sync_cube();
    #[unroll]
    for step in 0..5u32 {
        let distance = comptime!(LANES >> (step as usize + 1));
        if lane < distance {
            #[unroll]
            for plane in 0..n_sums {
                let place = comptime!(plane * UNITS) + unit;
                let other = shared[place + distance];
                shared[place] += other;
            }
        }
        sync_cube();
    }
}

#[cube(launch)]
fn forward_kernel(
    x: &Tensor<f32>,
    folded: &Tensor<f32>,
    bias: &Tensor<f32>,
    output: &mut Tensor<f32>,
    #[comptime] n_outputs: usize,
) {
    let d_model = x.shape(2);
    let n_rows = x.len() / d_model;
    let n_out = bias.len();
    let unit = UNIT_POS as usize;
    let lane = unit % LANES;
    // Units beyond the last row repeat it, so that all of them meet at the barriers.
    let row = CUBE_POS_X as usize * ROWS
        + unit / LANES
        + CUBE_POS_Z as usize * CUBE_COUNT_X as usize * ROWS;
    let is_row = row < n_rows;
    let start = select(is_row, row, n_rows - 1) * d_model;
    let first_output = CUBE_POS_Y as usize * n_outputs;
    let mut shared = Shared::<[f32]>::new_slice(comptime!((1 + n_outputs) * UNITS));
    let mut square = 0.0f32.runtime();
    let mut products = Array::<f32>::new(n_outputs);
    #[unroll]
    for k in 0..n_outputs {
        products[k] = 0.0f32;
    }
    for column in range_stepped(lane, d_model, LANES) {
        let value = x[start + column];
        square += value * value;
        #[unroll]
        for k in 0..n_outputs {
            let index = select(first_output + k < n_out, first_output + k, n_out - 1);
            products[k] += value * folded[index * d_model + column];
        }
    }
    shared[unit] = square;
    #[unroll]
    for k in 0..n_outputs {
        shared[comptime!((1 + k) * UNITS) + unit] = products[k];
    }
    sum_lanes(&mut shared, lane, comptime!(1 + n_outputs));
    if is_row && lane == 0 {
        let mean = shared[unit] / f32::cast_from(d_model);
        let inverse = 1.0 / (mean + EPSILON).sqrt();
        #[unroll]
        for k in 0..n_outputs {
            let index = first_output + k;
            if index < n_out {
                let product = shared[comptime!((1 + k) * UNITS) + unit];
                output[row * n_out + index] = inverse * product + bias[index];
            }
        }
    }
}

/// Writes the gradient of `x`, and of each run of rows Σ r g_o x_i and Σ g_o.
#[cube(launch)]
fn backward_kernel(
    gradient: &Tensor<f32>,
    x: &Tensor<f32>,
    folded: &Tensor<f32>,
    x_gradient: &mut Tensor<f32>,
    folded_sums: &mut Tensor<f32>,
    bias_sums: &mut Tensor<f32>,
) {
    let d_model = x.shape(2);
    let n_out = gradient.shape(2);
    let n_rows = x.len() / d_model;
    let unit = UNIT_POS as usize;
    let lane = unit % LANES;
    let run = CUBE_POS;
    let first_row = run * RUN;
    let mut shared = Shared::<[f32]>::new_slice(comptime!(2 * UNITS));
    let mut inverses = Shared::<[f32]>::new_slice(RUN);
    let width = f32::cast_from(d_model);
    for group in 0..comptime!(RUN / ROWS) {
        let offset = group * ROWS + unit / LANES;
        let row = first_row + offset;
        let is_row = row < n_rows;
        let row = select(is_row, row, n_rows - 1);
        let start = row * d_model;
        let mut square = 0.0f32.runtime();
        let mut along = 0.0f32.runtime();
        for column in range_stepped(lane, d_model, LANES) {
            let value = x[start + column];
            square += value * value;
            let mut through = 0.0f32.runtime();
            for index in 0..n_out {
                through += gradient[row * n_out + index] * folded[index * d_model + column];
            }
            along += value * through;
        }
        shared[unit] = square;
        shared[UNITS + unit] = along;
        sum_lanes(&mut shared, lane, 2usize);
        let total = unit - lane;
        let inverse = 1.0 / (shared[total] / width + EPSILON).sqrt();
        let shrink = inverse * inverse * inverse / width * shared[UNITS + total];
        if lane == 0 {
            inverses[offset] = inverse;
        }
        if is_row {
            for column in range_stepped(lane, d_model, LANES) {
                let mut through = 0.0f32.runtime();
                for index in 0..n_out {
                    through += gradient[row * n_out + index] * folded[index * d_model + column];
                }
                x_gradient[start + column] = inverse * through - shrink * x[start + column];
            }
        }
        // The sums are read before the next group overwrites them.
        sync_cube();
    }
    let end = select(first_row + RUN < n_rows, first_row + RUN, n_rows);
    if first_row < n_rows {
        for place in range_stepped(unit, n_out * d_model, UNITS) {
            let index = place / d_model;
            let column = place % d_model;
            let mut sum = 0.0f32.runtime();
            for row in first_row..end {
                sum += inverses[row - first_row]
                    * gradient[row * n_out + index]
                    * x[row * d_model + column];
            }
            folded_sums[run * n_out * d_model + place] = sum;
        }
        for index in range_stepped(unit, n_out, UNITS) {
            let mut sum = 0.0f32.runtime();
            for row in first_row..end {
                sum += gradient[row * n_out + index];
            }
            bias_sums[run * n_out + index] = sum;
        }
    }
}

/// An uninitialised tensor beside another.
fn empty_beside(tensor: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    empty_device_contiguous_dtype(
        tensor.client.clone(),
        tensor.device.clone(),
        shape.into(),
        DType::F32,
    )
}

/// `norm_weight` times each row of `weight`, `[n_out, d_model]`.
fn fold(norm_weight: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let [d_model] = norm_weight.shape().dims();
    let row = CubeBackend::float_reshape(norm_weight, Shape::new([1, d_model]));
    into_contiguous(CubeBackend::float_mul(weight, row))
}

impl RmsNormLinearBackend for CubeBackend {
    fn rms_norm_linear(
        x: CubeTensor,
        norm_weight: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
    ) -> CubeTensor {
        let [batch, length, _] = x.shape().dims();
        let [n_out, _] = weight.shape().dims();
        let x = into_contiguous(x);
        let output = empty_beside(&x, [batch, length, n_out]);
        let n_outputs = n_out.min(OUTPUTS);
        let (columns, layers) = split((batch * length).div_ceil(ROWS));
        let client = x.client.clone();
        forward_kernel::launch(
            &client,
            CubeCount::Static(columns, n_out.div_ceil(n_outputs) as u32, layers),
            CubeDim::new_1d(UNITS as u32),
            x.into_tensor_arg(),
            fold(norm_weight, weight).into_tensor_arg(),
            into_contiguous(bias).into_tensor_arg(),
            output.clone().into_tensor_arg(),
            n_outputs,
        );
        output
    }

    fn rms_norm_linear_backward(
        gradient: CubeTensor,
        x: CubeTensor,
        norm_weight: CubeTensor,
        weight: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor, CubeTensor) {
        let [batch, length, d_model] = x.shape().dims();
        let [n_out, _] = weight.shape().dims();
        let (x, gradient) = (into_contiguous(x), into_contiguous(gradient));
        let n_runs = (batch * length).div_ceil(RUN);
        let x_gradient = empty_beside(&x, x.shape());
        let folded_sums = empty_beside(&x, [n_runs, n_out * d_model]);
        let bias_sums = empty_beside(&x, [n_runs, n_out]);
        let client = x.client.clone();
        let dim = CubeDim::new_1d(UNITS as u32);
        backward_kernel::launch(
            &client,
            calculate_cube_count_elemwise(&client, n_runs * UNITS, dim),
            dim,
            gradient.into_tensor_arg(),
            x.into_tensor_arg(),
            fold(norm_weight.clone(), weight.clone()).into_tensor_arg(),
            x_gradient.clone().into_tensor_arg(),
            folded_sums.clone().into_tensor_arg(),
            bias_sums.clone().into_tensor_arg(),
        );
        let sum = |tensor, shape: Shape| {
            CubeBackend::float_reshape(CubeBackend::float_sum_dim(tensor, 0), shape)
        };
        let folded = sum(folded_sums, Shape::new([n_out, d_model]));
        let row = CubeBackend::float_reshape(norm_weight, Shape::new([1, d_model]));
        let norm_gradient =
            CubeBackend::float_sum_dim(CubeBackend::float_mul(folded.clone(), weight), 0);
        (
            x_gradient,
            CubeBackend::float_reshape(norm_gradient, Shape::new([d_model])),
            CubeBackend::float_mul(folded, row),
            sum(bias_sums, Shape::new([n_out])),
        )
    }
}

/// A number of cubes as columns and layers, because a device takes at most 65,535 in a row; a few may be too many.
fn split(n_cubes: usize) -> (u32, u32) {
    const LONGEST: usize = 65_535;
    let layers = n_cubes.div_ceil(LONGEST);
    (n_cubes.div_ceil(layers) as u32, layers as u32)
}
