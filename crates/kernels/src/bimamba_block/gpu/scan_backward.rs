//! The adjoint of the selective scan, parallel over chunks of steps, walking each chunk from its end.
//!
//! In the letters of `docs/kernels/bimamba_block.md`: Q = G + y' C, G <- exp(delta A) Q. Two kernels as in the
//! forward pass give the G that is carried into each chunk; the third recomputes the chunk's states from the one that
//! the forward pass kept (two levels: at the start of every run of steps, then every step of one run at a time) and
//! has every gradient of the scan, of the step sizes and of their projection. Sums over channels are formed in
//! shared memory, one row of step-size input, B and C at a time; sums over steps stay in registers until the chunk
//! ends, and are added up over chunks in a fixed order by the caller.

#![allow(
    clippy::manual_div_ceil,
    reason = "kernels are written in what CubeCL translates"
)]

use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, Shape, TensorMetadata};
use burn::tensor::FloatDType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{
    CHANNELS, STAGE, direction_stride, element, load_channel, position, presence, raw_step_size,
    sigmoid, softplus, stage_rows,
};
use super::extent::Extent;
use super::products::reshape;
use super::scan::{CHUNK, ScanTensors, carry_states, channel_blocks, scan_grid};
use crate::bimamba_block::layout::BlockSizes;

/// Steps whose states are held at a time.
const RUN: usize = 4;

/// Shared memory that a cube uses at most, where the device has it: several cubes then share a processor.
const SHARED_BYTES: usize = 32 * 1024;

/// Partial sums of a sum over channels, so that additions overlap.
const SUMS: usize = 4;

/// Gradient of the outputs at a step; 0 where no output is asked for.
#[cube]
fn output_gradient<E: Float>(
    dy: &Tensor<E>,
    at: usize,
    channel: usize,
    batch_index: usize,
    out_start: usize,
    n_out: usize,
    #[comptime] d_inner: usize,
) -> f32 {
    let mut gradient = 0.0f32;
    if at >= out_start && at < out_start + n_out {
        let row = batch_index * n_out + at - out_start;
        gradient = f32::cast_from(dy[row * d_inner + channel]);
    }
    gradient
}

/// G before the first step of each chunk, from a G of zero behind its last, and the chunk's sum of step sizes.
#[cube(launch)]
fn chunk_adjoints<E: Float>(
    dy: &Tensor<E>,
    projected: &Tensor<f32>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    adjoints: &mut Tensor<f32>,
    step_sums: &mut Tensor<f32>,
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
    let mut rows = Shared::<[f32]>::new_slice(comptime!(stage * sizes.d_x_proj()));
    let direction = sequence / batch;
    let batch_index = sequence % batch;
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
    let mut g = Array::<f32>::new(n_state);
    #[unroll]
    for n in 0..n_state {
        g[n] = 0.0f32;
    }
    let mut sum = 0.0f32;
    let first = chunk * chunk_len;
    let end = clamp_max::<usize>(first + chunk_len, steps);
    let n_stage = (end - first + stage - 1) / stage;
    for k in 0..n_stage {
        // Stages are cut from the chunk's end, the first of them last.
        let to = end - k * stage;
        let n_step = clamp_max::<usize>(to - first, stage);
        let from = to - n_step;
        let row = sequence * steps + from;
        stage_rows(projected, row, n_step, &mut rows, unit, units, width, stage);
        for back in 0..n_step {
            let i = n_step - 1 - back;
            let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
            let at = position(from + i, length, direction);
            let delta = softplus(raw) * presence(mask, batch_index * length + at, masked);
            sum += delta;
            let y = output_gradient::<E>(dy, at, channel, batch_index, out_start, n_out, d_inner);
            #[unroll]
            for n in 0..n_state {
                g[n] =
                    f32::exp(delta * rates[n]) * (g[n] + y * rows[i * width + rank + n_state + n]);
            }
        }
        sync_cube();
    }
    if active {
        let at = (sequence * n_chunk + chunk) * d_inner;
        #[unroll]
        for n in 0..n_state {
            adjoints[at * n_state + n * d_inner + channel] = g[n];
        }
        step_sums[at + channel] = sum;
    }
}

/// Every gradient of a chunk, from the state before it and the G behind it.
///
/// `partial_rows` holds the gradients of step-size inputs, B and C of each block of channels,
/// `[channel block, sequence, step, dt_rank + 2 d_state]`; `partial_params` those of dt_weight, dt_bias, a_log and d of
/// each chunk, in the order of the parameters, `[sequence, chunk, ..]`; `partial_mask` that of each position's mask in each
/// block of channels and direction, `[channel block, direction, batch, length]`, and nothing without a mask.
#[cube(launch)]
fn chunk_gradients<E: Float>(
    dy: &Tensor<E>,
    u: &Tensor<E>,
    projected: &Tensor<f32>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    states: &Tensor<f32>,
    adjoints: &Tensor<f32>,
    y: &mut Tensor<E>,
    du: &mut Tensor<E>,
    partial_rows: &mut Tensor<f32>,
    partial_params: &mut Tensor<f32>,
    partial_mask: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    out_start: usize,
    n_out: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
    #[comptime] stage: usize,
    #[comptime] run_len: usize,
    #[comptime] channels: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let chunk = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let n_chunk = CUBE_COUNT_Y as usize;
    let n_sequence = CUBE_COUNT_Z as usize;
    let unit = UNIT_POS_X as usize;
    let d_inner = comptime!(sizes.d_inner);
    let n_state = comptime!(sizes.d_state);
    let rank = comptime!(sizes.dt_rank);
    let width = comptime!(sizes.d_x_proj());
    let direction = sequence / batch;
    let batch_index = sequence % batch;
    // Units without a channel stay for the barriers, on the last channel, and add nothing.
    let active = (ABSOLUTE_POS_X as usize) < d_inner;
    let channel = clamp_max::<usize>(ABSOLUTE_POS_X as usize, d_inner - 1);
    let column_len = comptime!(padded(channels));
    let counted = select(active, 1.0f32, 0.0f32);

    // Contributions to the sums of a step, a column per row of units, padded so that neither access meets a bank twice.
    let mut shared =
        Shared::<[f32]>::new_slice(comptime!(row_sums(sizes, masked) * padded(channels)));
    // The states before each step of a run, a column per unit.
    let mut before = Shared::<[f32]>::new_slice(comptime!(run_len * sizes.d_state * channels));
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
    let mut g = Array::<f32>::new(n_state);
    let mut da = Array::<f32>::new(n_state);
    let mut b_row = Array::<f32>::new(n_state);
    let mut c_row = Array::<f32>::new(n_state);
    let mut dt_row = Array::<f32>::new(rank);
    let mut dweight = Array::<f32>::new(rank);
    let mut dbias = 0.0f32;
    let mut dskip = 0.0f32;
    let at_chunk = (sequence * n_chunk + chunk) * d_inner;
    #[unroll]
    for n in 0..n_state {
        h[n] = states[at_chunk * n_state + n * d_inner + channel];
        g[n] = adjoints[at_chunk * n_state + n * d_inner + channel];
        da[n] = 0.0f32;
    }
    #[unroll]
    for j in 0..rank {
        dweight[j] = 0.0f32;
    }

    let first = chunk * chunk_len;
    let end = clamp_max::<usize>(first + chunk_len, steps);
    let n_run = (end - first + run_len - 1) / run_len;
    let mut starts = Array::<f32>::new(comptime!(chunk_len / run_len * sizes.d_state));
    let n_stage = (end - first + stage - 1) / stage;
    for k in 0..n_stage {
        let from = first + k * stage;
        let n_step = clamp_max::<usize>(end - from, stage);
        let row = sequence * steps + from;
        stage_rows(
            projected, row, n_step, &mut rows, unit, channels, width, stage,
        );
        for i in 0..n_step {
            let run = (k * stage + i) / run_len;
            if i % run_len == 0 {
                #[unroll]
                for n in 0..n_state {
                    starts[run * n_state + n] = h[n];
                }
            }
            let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
            let at = batch_index * length + position(from + i, length, direction);
            let delta = softplus(raw) * presence(mask, at, masked);
            let input = delta * f32::cast_from(u[(row + i) * d_inner + channel]);
            #[unroll]
            for n in 0..n_state {
                h[n] = f32::exp(delta * rates[n]) * h[n] + input * rows[i * width + rank + n];
            }
        }
        sync_cube();
    }

    for run_back in 0..n_run {
        let run = n_run - 1 - run_back;
        let run_first = first + run * run_len;
        let n_step = clamp_max::<usize>(end - run_first, run_len);
        let run_row = sequence * steps + run_first;
        stage_rows(
            projected, run_row, n_step, &mut rows, unit, channels, width, run_len,
        );
        #[unroll]
        for n in 0..n_state {
            h[n] = starts[run * n_state + n];
        }
        for i in 0..n_step {
            let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
            let at = batch_index * length + position(run_first + i, length, direction);
            let delta = softplus(raw) * presence(mask, at, masked);
            let input = delta * f32::cast_from(u[(run_row + i) * d_inner + channel]);
            // Before any state is written, which for all a compiler knows could be over it.
            #[unroll]
            for n in 0..n_state {
                b_row[n] = rows[i * width + rank + n];
            }
            #[unroll]
            for n in 0..n_state {
                before[(i * n_state + n) * channels + unit] = h[n];
                h[n] = f32::exp(delta * rates[n]) * h[n] + input * b_row[n];
            }
        }
        for k in 0..n_step {
            let i = n_step - 1 - k;
            let row = run_row + i;
            let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
            let at = position(run_first + i, length, direction);
            let present = presence(mask, batch_index * length + at, masked);
            let whole = softplus(raw);
            let delta = whole * present;
            let value = f32::cast_from(u[row * d_inner + channel]);
            let dout =
                output_gradient::<E>(dy, at, channel, batch_index, out_start, n_out, d_inner);
            // Everything that is read from shared memory before anything is written to it.
            let input = delta * value;
            let counted_input = counted * input;
            let counted_dout = counted * dout;
            #[unroll]
            for n in 0..n_state {
                b_row[n] = rows[i * width + rank + n];
                c_row[n] = rows[i * width + rank + n_state + n];
                h[n] = before[(i * n_state + n) * channels + unit];
            }
            #[unroll]
            for j in 0..rank {
                dt_row[j] = rows[i * width + j];
            }
            let mut output = skip * value;
            let mut dinput = 0.0f32;
            let mut ddelta = 0.0f32;
            #[unroll]
            for n in 0..n_state {
                let decay = f32::exp(delta * rates[n]);
                let h_after = decay * h[n] + input * b_row[n];
                let q = g[n] + dout * c_row[n];
                output += h_after * c_row[n];
                shared[(rank + n) * column_len + unit] = q * counted_input;
                shared[(rank + n_state + n) * column_len + unit] = h_after * counted_dout;
                dinput += q * b_row[n];
                g[n] = q * decay;
                let dexponent = g[n] * h[n];
                ddelta += dexponent * rates[n];
                da[n] += dexponent * delta;
            }
            let dstep = ddelta + dinput * value;
            let draw = dstep * present * sigmoid(raw);
            if comptime!(masked) {
                shared[width * column_len + unit] = counted * dstep * whole;
            }
            #[unroll]
            for j in 0..rank {
                shared[j * column_len + unit] = counted * draw * dt_weight[j];
                dweight[j] += draw * dt_row[j];
            }
            dbias += draw;
            dskip += dout * value;
            if active {
                du[row * d_inner + channel] = E::cast_from(dinput * delta + dout * skip);
                if at >= out_start && at < out_start + n_out {
                    y[(sequence * n_out + at - out_start) * d_inner + channel] =
                        E::cast_from(output);
                }
            }
            sync_cube();
            let block_row = (CUBE_POS_X as usize * n_sequence * steps + row) * width;
            #[unroll]
            for turn in 0..comptime!(row_sums(sizes, masked).div_ceil(channels)) {
                let column = unit + turn * channels;
                if column < comptime!(row_sums(sizes, masked)) {
                    let parts = comptime!(SUMS.min(channels));
                    let mut sums = Array::<f32>::new(parts);
                    #[unroll]
                    for k in 0..parts {
                        sums[k] = 0.0f32;
                    }
                    #[unroll]
                    for other in 0..comptime!(channels / SUMS.min(channels)) {
                        #[unroll]
                        for k in 0..parts {
                            sums[k] += shared[column * column_len + other * parts + k];
                        }
                    }
                    let mut sum = 0.0f32;
                    #[unroll]
                    for k in 0..parts {
                        sum += sums[k];
                    }
                    if column < width {
                        partial_rows[block_row + column] = sum;
                    } else {
                        let block_sequence = CUBE_POS_X as usize * n_sequence + sequence;
                        partial_mask[block_sequence * length + at] = sum;
                    }
                }
            }
            sync_cube();
        }
    }

    if active {
        let weight_len = comptime!(sizes.d_inner * sizes.dt_rank);
        let a_log_at = comptime!(sizes.d_inner * (sizes.dt_rank + 1));
        let skip_grad_at = comptime!(sizes.d_inner * (sizes.dt_rank + 1 + sizes.d_state));
        let row_len = comptime!(scan_params_len(sizes));
        let row = (sequence * n_chunk + chunk) * row_len;
        #[unroll]
        for j in 0..rank {
            partial_params[row + channel * rank + j] = dweight[j];
        }
        partial_params[row + weight_len + channel] = dbias;
        #[unroll]
        for n in 0..n_state {
            partial_params[row + a_log_at + channel * n_state + n] = da[n] * rates[n];
        }
        partial_params[row + skip_grad_at + channel] = dskip;
    }
}

/// Floats of one direction's dt_weight, dt_bias, a_log and d, which lie one after the other.
pub(super) fn scan_params_len(sizes: BlockSizes) -> usize {
    sizes.d_inner * (sizes.dt_rank + 1 + sizes.d_state + 1)
}

/// Sums over channels at each step: step-size inputs, B and C, and under a mask the mask.
fn row_sums(sizes: BlockSizes, masked: bool) -> usize {
    sizes.d_x_proj() + usize::from(masked)
}

/// Floats from one column of contributions to the next.
fn padded(channels: usize) -> usize {
    channels + SUMS
}

/// Channels that a cube of [`chunk_gradients`] takes, so that what it shares fits in `bytes`.
fn channels_that_fit(sizes: BlockSizes, masked: bool, bytes: usize) -> usize {
    let fits = |channels: usize| {
        let sums = row_sums(sizes, masked) * padded(channels);
        let states = RUN * sizes.d_state * channels;
        (sums + states + STAGE * sizes.d_x_proj()) * size_of::<f32>() <= bytes
    };
    let mut channels = CHANNELS;
    while channels > 1 && !fits(channels) {
        channels /= 2;
    }
    channels
}

/// What the adjoint scan leaves; see [`chunk_gradients`] for the partial sums.
#[derive(Debug)]
pub(super) struct ScanGradients {
    /// The scan's outputs again, `[sequence, output, d_inner]`.
    pub(super) y: CubeTensor,
    /// Gradient of `u` through the scan, `[sequence, step, d_inner]`.
    pub(super) du: CubeTensor,
    pub(super) partial_rows: CubeTensor,
    pub(super) partial_params: CubeTensor,
    pub(super) partial_mask: Option<CubeTensor>,
}

/// Gradients of the scan from those of its outputs, `dy`, `[batch, output, d_inner]`, the same for both directions.
pub(super) fn scan_gradients(
    extent: &Extent,
    scan: &ScanTensors,
    states: CubeTensor,
    dy: CubeTensor,
) -> ScanGradients {
    let sizes = extent.sizes;
    let dtype: DType = scan.u.dtype();
    let masked = scan.mask.is_some();
    let adjoints = extent.new_states(&scan.u);
    let step_sums = extent.new_step_sums(&scan.u);
    chunk_adjoints::launch(
        &scan.u.client,
        scan_grid(extent, CHANNELS),
        CubeDim::new_1d(CHANNELS as u32),
        dy.clone().into_tensor_arg(),
        scan.projected.clone().into_tensor_arg(),
        scan.params.clone().into_tensor_arg(),
        scan.mask_values().into_tensor_arg(),
        adjoints.clone().into_tensor_arg(),
        step_sums.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        extent.outputs.start,
        extent.n_out(),
        sizes,
        CHUNK,
        STAGE,
        CHANNELS,
        masked,
        element(dtype),
    );
    carry_states(extent, &scan.params, step_sums, &adjoints, true);

    let hardware = &scan.u.client.properties().hardware;
    let shared_bytes = SHARED_BYTES.min(hardware.max_shared_memory_size);
    let channels = channels_that_fit(sizes, masked, shared_bytes);
    let n_block = channel_blocks(sizes.d_inner, channels) as usize;
    let rows = extent.n_sequence() * extent.steps();
    let new = |shape: &[usize], dtype| extent.new_tensor(&scan.u, shape, dtype);
    let y = new(
        &[extent.n_sequence() * extent.n_out(), sizes.d_inner],
        dtype,
    );
    let du = new(&[rows, sizes.d_inner], dtype);
    let partial_rows = new(&[n_block, rows, sizes.d_x_proj()], DType::F32);
    let partial_params = new(
        &[2, extent.batch * extent.n_chunk(), scan_params_len(sizes)],
        DType::F32,
    );
    // Positions behind the last step stay 0.
    let partial_mask = masked.then(|| {
        let shape = [n_block * 2, extent.batch * extent.length];
        // CUDA pads the rows of what is allocated with more than one axis.
        let flat = Shape::from([shape[0] * shape[1]]);
        let zeros = CubeBackend::float_zeros(flat, &scan.u.device, FloatDType::F32);
        reshape(zeros, &shape)
    });
    chunk_gradients::launch(
        &scan.u.client,
        scan_grid(extent, channels),
        CubeDim::new_1d(channels as u32),
        dy.into_tensor_arg(),
        scan.u.clone().into_tensor_arg(),
        scan.projected.clone().into_tensor_arg(),
        scan.params.clone().into_tensor_arg(),
        scan.mask_values().into_tensor_arg(),
        states.into_tensor_arg(),
        adjoints.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        du.clone().into_tensor_arg(),
        partial_rows.clone().into_tensor_arg(),
        partial_params.clone().into_tensor_arg(),
        // Without a mask nothing is written there.
        partial_mask
            .as_ref()
            .unwrap_or(&partial_params)
            .clone()
            .into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        extent.outputs.start,
        extent.n_out(),
        sizes,
        CHUNK,
        STAGE,
        RUN,
        channels,
        masked,
        element(dtype),
    );
    ScanGradients {
        y,
        du,
        partial_rows,
        partial_params,
        partial_mask,
    }
}
