//! The selective scan of both directions, parallel over chunks of steps.
//!
//! Three kernels: every chunk from a state of zero, for its last state and its sum of step sizes; the states carried
//! from chunk to chunk, h <- exp(A sum delta) h + last state; every chunk again from its true state, for the outputs.
//! A unit walks one channel of one chunk with all its states in registers. Step sizes are computed from their
//! projection where they are used. States and sums are single precision whatever the type of `u` and `y`.

#![allow(
    clippy::manual_div_ceil,
    reason = "kernels are written in what CubeCL translates"
)]

use burn::backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{
    CHANNELS, STAGE, direction_stride, element, load_channel, output_row, position, presence, rate,
    raw_step_size, softplus, stage_rows,
};
use super::extent::Extent;
use super::masked::DeviceMask;
use crate::bimamba_block::layout::BlockSizes;
pub(super) use crate::bimamba_block::layout::DEVICE_CHUNK as CHUNK;
use crate::native_math::power;

/// Chunks whose values are loaded together while states are carried, so that loads overlap.
const CARRY: usize = 32;

/// Last state of each chunk, `[sequence, chunk, d_state, d_inner]`, from a state of zero, and its sum of step sizes,
/// `[sequence, chunk, d_inner]`.
#[cube(launch)]
pub(super) fn chunk_ends<E: Float>(
    u: &Tensor<E>,
    projected: &Tensor<f32>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    states: &mut Tensor<f32>,
    step_sums: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
    #[comptime] stage: usize,
    #[comptime] units: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let unit = UNIT_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let n_chunk = CUBE_COUNT_Y as usize;
    let d_inner = comptime!(sizes.d_inner);
    let n_state = comptime!(sizes.d_state);
    let rank = comptime!(sizes.dt_rank);
    let width = comptime!(sizes.d_x_proj());
    // Units without a channel stay for the barriers, on the last channel, and write nothing.
    let active = (ABSOLUTE_POS_X as usize) < d_inner;
    let channel = clamp_max::<usize>(ABSOLUTE_POS_X as usize, d_inner - 1);
    let mut rows = Shared::<[f32]>::new_slice(comptime!(stage * sizes.d_x_proj()));
    let mut rates = Array::<f32>::new(n_state);
    let mut dt_weight = Array::<f32>::new(rank);
    let bias = load_channel(
        params,
        sequence / batch,
        channel,
        &mut rates,
        &mut dt_weight,
        sizes,
    );
    let mut h = Array::<f32>::new(n_state);
    #[unroll]
    for n in 0..n_state {
        h[n] = 0.0f32;
    }
    let mut sum = 0.0f32;
    let first = chunk * chunk_len;
    let end = clamp_max::<usize>(first + chunk_len, steps);
    let n_stage = (end - first + stage - 1) / stage;
    for k in 0..n_stage {
        let from = first + k * stage;
        let n_step = clamp_max::<usize>(end - from, stage);
        let row = sequence * steps + from;
        stage_rows(projected, row, n_step, &mut rows, unit, units, width, stage);
        for i in 0..n_step {
            let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
            let at = (sequence % batch) * length + position(from + i, length, sequence / batch);
            let delta = softplus(raw) * presence(mask, at, masked);
            let input = delta * f32::cast_from(u[(row + i) * d_inner + channel]);
            sum += delta;
            #[unroll]
            for n in 0..n_state {
                h[n] = power(delta * rates[n]) * h[n] + input * rows[i * width + rank + n];
            }
        }
        sync_cube();
    }
    if active {
        let at = (sequence * n_chunk + chunk) * d_inner;
        #[unroll]
        for n in 0..n_state {
            states[at * n_state + n * d_inner + channel] = h[n];
        }
        step_sums[at + channel] = sum;
    }
}

/// Replaces the last value of each chunk by the value that is carried into it; a unit walks one state of a channel.
#[cube(launch)]
fn carry(
    params: &Tensor<f32>,
    step_sums: &Tensor<f32>,
    states: &mut Tensor<f32>,
    batch: usize,
    n_chunk: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] backward: bool,
    #[comptime] group: usize,
) {
    let channel = ABSOLUTE_POS_X as usize;
    let n = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let d_inner = comptime!(sizes.d_inner);
    let n_state = comptime!(sizes.d_state);
    let stride = comptime!(direction_stride(sizes));
    let a_log = comptime!(sizes.layout().directions[0].a_log.start);
    if channel >= d_inner {
        terminate!();
    }
    let direction = sequence / batch;
    let rate = rate(params[direction * stride + a_log + channel * n_state + n]);
    let mut decays = Array::<f32>::new(group);
    let mut ends = Array::<f32>::new(group);
    let mut carried = 0.0f32;
    let n_group = (n_chunk + group - 1) / group;
    for g in 0..n_group {
        #[unroll]
        for i in 0..group {
            let k = clamp_max::<usize>(g * group + i, n_chunk - 1);
            let chunk = if comptime!(backward) {
                n_chunk - 1 - k
            } else {
                k
            };
            let at = (sequence * n_chunk + chunk) * d_inner;
            decays[i] = power(rate * step_sums[at + channel]);
            ends[i] = states[at * n_state + n * d_inner + channel];
        }
        #[unroll]
        for i in 0..group {
            let k = g * group + i;
            if k < n_chunk {
                let chunk = if comptime!(backward) {
                    n_chunk - 1 - k
                } else {
                    k
                };
                let at = (sequence * n_chunk + chunk) * d_inner;
                states[at * n_state + n * d_inner + channel] = carried;
                carried = decays[i] * carried + ends[i];
            }
        }
    }
}

/// Outputs of the scan at the positions asked for, `[sequence, output, d_inner]`.
#[cube(launch)]
pub(super) fn outputs<E: Float>(
    u: &Tensor<E>,
    projected: &Tensor<f32>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    states: &Tensor<f32>,
    y: &mut Tensor<E>,
    batch: usize,
    length: usize,
    steps: usize,
    out_start: usize,
    n_out: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
    #[comptime] stage: usize,
    #[comptime] units: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let unit = UNIT_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let n_chunk = CUBE_COUNT_Y as usize;
    let d_inner = comptime!(sizes.d_inner);
    let n_state = comptime!(sizes.d_state);
    let rank = comptime!(sizes.dt_rank);
    let width = comptime!(sizes.d_x_proj());
    let active = (ABSOLUTE_POS_X as usize) < d_inner;
    let channel = clamp_max::<usize>(ABSOLUTE_POS_X as usize, d_inner - 1);
    let direction = sequence / batch;
    let first = chunk * chunk_len;
    // Steps whose outputs are asked for.
    let from = select(direction == 0, out_start, length - out_start - n_out);
    let to = from + n_out;
    let end = clamp_max::<usize>(clamp_max::<usize>(first + chunk_len, steps), to);
    // The same for every unit of the cube: no barrier is left waiting.
    if first + chunk_len <= from || end <= first {
        terminate!();
    }
    let mut rows = Shared::<[f32]>::new_slice(comptime!(stage * sizes.d_x_proj()));
    let mut rates = Array::<f32>::new(n_state);
    let mut dt_weight = Array::<f32>::new(rank);
    let bias = load_channel(
        params,
        direction,
        channel,
        &mut rates,
        &mut dt_weight,
        sizes,
    );
    let skip_at = comptime!(sizes.layout().directions[0].d.start);
    let stride = comptime!(direction_stride(sizes));
    let skip = params[direction * stride + skip_at + channel];
    let mut h = Array::<f32>::new(n_state);
    let at = (sequence * n_chunk + chunk) * d_inner;
    #[unroll]
    for n in 0..n_state {
        h[n] = states[at * n_state + n * d_inner + channel];
    }
    let n_stage = (end - first + stage - 1) / stage;
    for k in 0..n_stage {
        let stage_first = first + k * stage;
        let n_step = clamp_max::<usize>(end - stage_first, stage);
        let row = sequence * steps + stage_first;
        stage_rows(projected, row, n_step, &mut rows, unit, units, width, stage);
        for i in 0..n_step {
            let step = stage_first + i;
            let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
            let at = position(step, length, direction);
            let delta = softplus(raw) * presence(mask, (sequence % batch) * length + at, masked);
            let value = f32::cast_from(u[(row + i) * d_inner + channel]);
            let input = delta * value;
            let mut sum = skip * value;
            #[unroll]
            for n in 0..n_state {
                h[n] = power(delta * rates[n]) * h[n] + input * rows[i * width + rank + n];
                sum += h[n] * rows[i * width + rank + n_state + n];
            }
            if active && step >= from {
                let row = output_row(at, sequence, out_start, n_out);
                y[row * d_inner + channel] = E::cast_from(sum);
            }
        }
        sync_cube();
    }
}

/// Values of both directions that the scan walks, in the order of steps.
#[derive(Debug, Clone)]
pub(super) struct ScanTensors {
    /// `[2 batch steps, d_inner]`
    pub(super) u: CubeTensor,
    /// Step-size inputs, B and C, `[2 batch steps, dt_rank + 2 d_state]`, single precision.
    pub(super) projected: CubeTensor,
    /// All parameters, in the order of [`BlockSizes::layout`].
    pub(super) params: CubeTensor,
    /// How present each position is, if not all are.
    pub(super) mask: Option<DeviceMask>,
}

impl ScanTensors {
    /// The mask's values; without a mask a tensor that no kernel reads.
    pub(super) fn mask_values(&self) -> CubeTensor {
        let values = self.mask.as_ref().map(|mask| &mask.values);
        values.unwrap_or(&self.params).clone()
    }
}

pub(super) fn channel_blocks(d_inner: usize, channels: usize) -> u32 {
    d_inner.div_ceil(channels) as u32
}

/// One cube per block of channels, chunk and sequence.
pub(super) fn scan_grid(extent: &Extent, channels: usize) -> CubeCount {
    CubeCount::Static(
        channel_blocks(extent.sizes.d_inner, channels),
        extent.n_chunk() as u32,
        extent.n_sequence() as u32,
    )
}

/// Carries the last values of chunks along each sequence, in place.
pub(super) fn carry_states(
    extent: &Extent,
    params: &CubeTensor,
    step_sums: CubeTensor,
    states: &CubeTensor,
    backward: bool,
) {
    let grid = CubeCount::Static(
        channel_blocks(extent.sizes.d_inner, CHANNELS),
        extent.sizes.d_state as u32,
        extent.n_sequence() as u32,
    );
    carry::launch(
        &params.client,
        grid,
        CubeDim::new_1d(CHANNELS as u32),
        params.clone().into_tensor_arg(),
        step_sums.into_tensor_arg(),
        states.clone().into_tensor_arg(),
        extent.batch,
        extent.n_chunk(),
        extent.sizes,
        backward,
        CARRY,
    );
}

/// The states before each chunk, `[sequence, chunk, d_state, d_inner]`.
pub(super) fn chunk_states(extent: &Extent, scan: &ScanTensors) -> CubeTensor {
    let states = extent.new_states(&scan.u);
    let step_sums = extent.new_step_sums(&scan.u);
    chunk_ends::launch(
        &scan.u.client,
        scan_grid(extent, CHANNELS),
        CubeDim::new_1d(CHANNELS as u32),
        scan.u.clone().into_tensor_arg(),
        scan.projected.clone().into_tensor_arg(),
        scan.params.clone().into_tensor_arg(),
        scan.mask_values().into_tensor_arg(),
        states.clone().into_tensor_arg(),
        step_sums.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        extent.sizes,
        CHUNK,
        STAGE,
        CHANNELS,
        scan.mask.is_some(),
        element(scan.u.dtype()),
    );
    carry_states(extent, &scan.params, step_sums, &states, false);
    states
}

/// The scan's outputs at the positions asked for, `[sequence, output, d_inner]`.
pub(super) fn scan_outputs(extent: &Extent, scan: &ScanTensors, states: &CubeTensor) -> CubeTensor {
    let rows = extent.n_sequence() * extent.n_out();
    let dtype: DType = scan.u.dtype();
    let y = extent.new_tensor(&scan.u, &[rows, extent.sizes.d_inner], dtype);
    outputs::launch(
        &scan.u.client,
        scan_grid(extent, CHANNELS),
        CubeDim::new_1d(CHANNELS as u32),
        scan.u.clone().into_tensor_arg(),
        scan.projected.clone().into_tensor_arg(),
        scan.params.clone().into_tensor_arg(),
        scan.mask_values().into_tensor_arg(),
        states.clone().into_tensor_arg(),
        y.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        extent.outputs.start,
        extent.n_out(),
        extent.sizes,
        CHUNK,
        STAGE,
        CHANNELS,
        scan.mask.is_some(),
        element(dtype),
    );
    y
}
