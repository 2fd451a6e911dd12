//! What every kernel of the block shares: functions of one value, and the parameters of one channel.

use burn::backend::DType;
use burn::backend::cubecl::dtype_to_storage_type;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use crate::bimamba_block::layout::BlockSizes;
pub(super) use crate::bimamba_block::layout::DEVICE_CHANNELS as CHANNELS;
use crate::native_math::{per_ln_base, power, reciprocal};

/// Steps whose rows of step-size inputs, B and C a cube stages in shared memory at a time.
pub(super) const STAGE: usize = 16;

/// Steps that one cube walks in kernels without a recurrence.
pub(super) const WALK: usize = 32;

/// The type of a kernel's elements.
pub(super) fn element(dtype: DType) -> ElemType {
    dtype_to_storage_type(dtype)
}

/// Floats from a parameter of the first direction to the same of the second.
pub(super) fn direction_stride(sizes: BlockSizes) -> usize {
    let [forward, reverse] = sizes.layout().directions;
    reverse.conv_weight.start - forward.conv_weight.start
}

/// 1 / (1 + exp(-x))
#[cube]
fn sigmoid(x: f32) -> f32 {
    reciprocal(1.0f32 + power(-x * per_ln_base()))
}

/// x sigmoid(x)
#[cube]
pub(super) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// Derivative of [`silu`].
#[cube]
pub(super) fn silu_slope(x: f32) -> f32 {
    let s = sigmoid(x);
    s * (1.0f32 + x * (1.0f32 - s))
}

/// [`silu`] of each element.
#[cube]
pub(super) fn silu_each<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let mut each = Vector::<f32, N>::zeroed();
    #[unroll]
    for i in 0..N::value() {
        each.insert(i, silu(x.extract(i)));
    }
    each
}

/// [`silu_slope`] of each element.
#[cube]
pub(super) fn silu_slope_each<N: Size>(x: Vector<f32, N>) -> Vector<f32, N> {
    let mut each = Vector::<f32, N>::zeroed();
    #[unroll]
    for i in 0..N::value() {
        each.insert(i, silu_slope(x.extract(i)));
    }
    each
}

/// Sum of a vector's elements, from the first to the last.
#[cube]
pub(super) fn sum_of_elements<N: Size>(x: Vector<f32, N>) -> f32 {
    let mut sum = x.extract(0usize);
    #[unroll]
    for i in 1usize..N::value() {
        sum += x.extract(i);
    }
    sum
}

/// log(1 + exp(x)) = max(x, 0) + log(1 + e), e = exp(-|x|).
#[cube]
pub(super) fn softplus(x: f32) -> f32 {
    let e = power(-f32::abs(x) * per_ln_base());
    max_of_zero(x) + log_quotient(e * reciprocal(2.0f32 + e))
}

/// [`softplus`] and its derivative, [`sigmoid`], of one exponential and one reciprocal.
#[cube]
pub(super) fn softplus_and_slope(x: f32) -> (f32, f32) {
    let e = power(-f32::abs(x) * per_ln_base());
    let both = reciprocal((1.0f32 + e) * (2.0f32 + e));
    let slope = (2.0f32 + e) * both;
    let value = max_of_zero(x) + log_quotient(e * ((1.0f32 + e) * both));
    (value, select(x > 0.0f32, slope, e * slope))
}

#[cube]
fn max_of_zero(x: f32) -> f32 {
    select(x > 0.0f32, x, 0.0f32)
}

/// log(1 + e) = 2 atanh(s), s = e / (2 + e), at most 1/3.
///
/// Devices promise an absolute error of 5e-7 for a logarithm near 1, as much as a small step itself; hence a series: the
/// first term left out is 5e-9 of the sum.
#[cube]
fn log_quotient(s: f32) -> f32 {
    let q = s * s;
    let series = q * (1.0f32 / 15.0f32) + 1.0f32 / 13.0f32;
    let series = series * q + 1.0f32 / 11.0f32;
    let series = series * q + 1.0f32 / 9.0f32;
    let series = series * q + 1.0f32 / 7.0f32;
    let series = series * q + 1.0f32 / 5.0f32;
    let series = series * q + 1.0f32 / 3.0f32;
    let series = series * q + 1.0f32;
    2.0f32 * s * series
}

/// The position that a direction reads at a step.
#[cube]
pub(super) fn position(step: usize, length: usize, direction: usize) -> usize {
    select(direction == 0, step, length - 1 - step)
}

/// A = -exp(a_log), as the exponent of [`power`] takes it: exp(delta A) is `power(delta * rate(a_log))`.
#[cube]
pub(super) fn rate(a_log: f32) -> f32 {
    -f32::exp(a_log) * per_ln_base()
}

/// Reads a channel's [`rate`]s and row of the step-size projection; returns the projection's bias.
#[cube]
pub(super) fn load_channel(
    params: &Tensor<f32>,
    direction: usize,
    channel: usize,
    rates: &mut Array<f32>,
    dt_weight: &mut Array<f32>,
    #[comptime] sizes: BlockSizes,
) -> f32 {
    let stride = comptime!(direction_stride(sizes));
    let a_log = comptime!(sizes.layout().directions[0].a_log.start);
    let weight = comptime!(sizes.layout().directions[0].dt_weight.start);
    let bias = comptime!(sizes.layout().directions[0].dt_bias.start);
    let n_state = comptime!(sizes.d_state);
    let rank = comptime!(sizes.dt_rank);
    let start = direction * stride;
    #[unroll]
    for n in 0..n_state {
        rates[n] = rate(params[start + a_log + channel * n_state + n]);
    }
    #[unroll]
    for j in 0..rank {
        dt_weight[j] = params[start + weight + channel * rank + j];
    }
    params[start + bias + channel]
}

/// Copies `n` rows of step-size inputs, B and C, from `projected[first]` on, to shared memory: all units of a cube walk the
/// same rows. The caller waits for every unit before rows are staged over others.
#[cube]
pub(super) fn stage_rows(
    projected: &Tensor<f32>,
    first: usize,
    n: usize,
    rows: &mut Shared<[f32]>,
    unit: usize,
    #[comptime] units: usize,
    #[comptime] width: usize,
    #[comptime] most: usize,
) {
    #[unroll]
    for turn in 0..comptime!((most * width).div_ceil(units)) {
        let i = unit + turn * units;
        if i < n * width {
            rows[i] = projected[first * width + i];
        }
    }
    sync_cube();
}

/// A channel's step size before softplus, from the staged row of step-size inputs at `row`.
#[cube]
pub(super) fn raw_step_size(
    rows: &Shared<[f32]>,
    row: usize,
    dt_weight: &Array<f32>,
    bias: f32,
    #[comptime] rank: usize,
) -> f32 {
    let mut raw = bias;
    #[unroll]
    for j in 0..rank {
        raw += rows[row + j] * dt_weight[j];
    }
    raw
}

/// Whether the output at a position is asked for.
#[cube]
pub(super) fn is_output(at: usize, out_start: usize, n_out: usize) -> bool {
    at >= out_start && at < out_start + n_out
}

/// Row of a position asked for among those of every sequence.
#[cube]
pub(super) fn output_row(at: usize, sequence: usize, out_start: usize, n_out: usize) -> usize {
    sequence * n_out + at - out_start
}

/// Gradient of the outputs at a step; 0 where no output is asked for.
#[cube]
pub(super) fn output_gradient<E: Float>(
    dy: &Tensor<E>,
    at: usize,
    channel: usize,
    batch_index: usize,
    out_start: usize,
    n_out: usize,
    #[comptime] d_inner: usize,
) -> f32 {
    let mut gradient = 0.0f32;
    if is_output(at, out_start, n_out) {
        let row = output_row(at, batch_index, out_start, n_out);
        gradient = f32::cast_from(dy[row * d_inner + channel]);
    }
    gradient
}

/// The factor of a position's step size: its mask, or 1 without one.
#[cube]
pub(super) fn presence(mask: &Tensor<f32>, at: usize, #[comptime] masked: bool) -> f32 {
    let mut presence = 1.0f32;
    if comptime!(masked) {
        presence = mask[at];
    }
    presence
}
