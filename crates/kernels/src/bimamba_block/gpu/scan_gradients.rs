//! Every gradient of a chunk of the selective scan, from the state before it and the G behind it.
//!
//! In the letters of `docs/kernels/bimamba_block.md`: Q = G + y' C, E = exp(delta A) Q H, G <- exp(delta A) Q. The chunk's
//! states are recomputed in two levels: first those at the start of every run of steps, then every step of one run at
//! a time, from the last run to the first.
//!
//! A unit has two parts to play. It owns one channel at some steps: step sizes, inputs and the gradients that are sums
//! over states. And it walks pairs of channel and state, those of a few channels and a few states ([`Places`]), so
//! that much of a sum over channels or over states is added up in its registers. What is left of a run's sums crosses
//! between units through shared memory, four barriers a run. Sums over steps stay in registers until the chunk ends,
//! and are added up over chunks in a fixed order by the caller.

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
    CHANNELS, direction_stride, element, position, presence, rate, raw_step_size, softplus,
    softplus_and_slope, stage_rows,
};
use super::extent::{Cover, Extent};
use super::products::reshape;
use super::scan::{CHUNK, ScanTensors, channel_blocks};
use super::scan_backward::output_gradient;
use crate::bimamba_block::layout::BlockSizes;
use crate::native_math::{ln_base, power};

/// Steps whose states are held at a time, in registers.
const RUN: usize = 4;

/// Steps whose step sizes a cube shares at a time on its first way through a chunk.
const STAGE: usize = 8;

/// Shared memory that a cube uses at most, where the device has it: several cubes then share a processor.
const SHARED_BYTES: usize = 56 * 1024;

/// Cubes that fill a device several times over.
const CUBES: usize = 4096;

/// Most chunks that a cube takes one after the other.
const MOST_CHUNKS: usize = 8;

/// Units that own a channel, where the states can be divided by as many.
const PARTS: usize = 2;

/// Floats of the widest access to shared memory.
const VECTOR: usize = 4;

/// What a unit leaves of each of its channels at each step: output, gradients of input and step size.
const CHANNEL_SUMS: usize = 3;

/// Writes the gradients of `chunks` chunks a cube.
///
/// `partial_rows` holds the gradients of step-size inputs, B and C of each block of channels,
/// `[channel block, sequence, step, dt_rank + 2 d_state]`; `partial_params` those of dt_weight, dt_bias, a_log and d of
/// the `chunks` chunks of each cube, in the order of the parameters, `[sequence, cube, ..]`; `partial_mask` that of each position's mask in each
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
    chunks: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
    #[comptime] places: Places,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let sequence = CUBE_POS_Z as usize;
    let n_sequence = CUBE_COUNT_Z as usize;
    let unit = UNIT_POS_X as usize;
    let direction = sequence / batch;
    let batch_index = sequence % batch;
    let d_inner = comptime!(sizes.d_inner);
    let n_state = comptime!(sizes.d_state);
    let rank = comptime!(sizes.dt_rank);
    let width = comptime!(sizes.d_x_proj());
    let n_channel = comptime!(places.channels);
    let n_part = comptime!(places.parts);
    let units = comptime!(places.units());
    let n_column = comptime!(places.n_column());
    let n_group = comptime!(places.n_group);
    let per_column = comptime!(places.per_column);
    let per_group = comptime!(places.per_group);
    let n_pair = comptime!(places.per_column * places.per_group);
    let block_first = CUBE_POS_X as usize * n_channel;

    // The pairs that the unit walks: channels from `column * per_column` on, states from `first_state` on.
    let column = unit % n_column;
    let group = unit / n_column;
    let first_state = group * per_group;
    let first_channel = column * per_column;
    // The channel that it owns, at every `n_part`-th step from `part` on. Without a channel it stays for the barriers, on the
    // last one, and adds nothing.
    let owned = unit % n_channel;
    let part = unit / n_channel;
    let active = block_first + owned < d_inner;
    let own = clamp_max::<usize>(block_first + owned, d_inner - 1);
    let counted = select(active, 1.0f32, 0.0f32);

    let mut rows = Shared::<[f32]>::new_slice(comptime!(STAGE.max(RUN) * sizes.d_x_proj()));
    // Step size, input and output's gradient of each channel at each step.
    let mut scalars = Shared::<[f32]>::new_slice(comptime!(places.scalars()));
    let mut channel_sums = Shared::<[f32]>::new_slice(comptime!(places.channel_sums(sizes)));
    let mut state_sums = Shared::<[f32]>::new_slice(comptime!(places.state_sums(sizes)));
    // The states before each step of a run.
    let mut before = Shared::<[f32]>::new_slice(comptime!(places.before()));
    let mut draws = Shared::<[f32]>::new_slice(comptime!(places.draws(masked)));
    let mut weights = Shared::<[f32]>::new_slice(comptime!(places.draw_pitch() * sizes.dt_rank));

    let of_direction = direction * comptime!(direction_stride(sizes));
    let a_log_at = of_direction + comptime!(sizes.layout().directions[0].a_log.start);
    let weight_at = of_direction + comptime!(sizes.layout().directions[0].dt_weight.start);
    let bias_at = of_direction + comptime!(sizes.layout().directions[0].dt_bias.start);
    let skip_at = of_direction + comptime!(sizes.layout().directions[0].d.start);
    let bias = params[bias_at + own];
    let skip = params[skip_at + own];
    let mut dweight = Array::<f32>::new(rank);
    #[unroll]
    for j in 0..rank {
        // Read by the unit that wrote it, and by others only behind a barrier.
        weights[j * places.draw_pitch() + owned] = params[weight_at + own * rank + j];
        dweight[j] = 0.0f32;
    }
    let mut dbias = 0.0f32;
    let mut dskip = 0.0f32;

    let mut rates = Array::<f32>::new(n_pair);
    let mut h = Array::<f32>::new(n_pair);
    let mut g = Array::<f32>::new(n_pair);
    let mut da = Array::<f32>::new(n_pair);
    #[unroll]
    for k in 0..per_column {
        let channel = clamp_max::<usize>(block_first + first_channel + k, d_inner - 1);
        #[unroll]
        for j in 0..per_group {
            let pair = comptime!(k * places.per_group + j);
            rates[pair] = rate(params[a_log_at + channel * n_state + first_state + j]);
            da[pair] = 0.0f32;
        }
    }
    let n_own = comptime!(RUN / places.parts);
    let mut values = Array::<f32>::new(n_own);
    let mut wholes = Array::<f32>::new(n_own);
    let mut slopes = Array::<f32>::new(n_own);
    // What the run after the current one reads, on its way meanwhile.
    let n_turn = comptime!((RUN * sizes.d_x_proj()).div_ceil(places.units()));
    let mut next_values = Array::<f32>::new(n_own);
    let mut next_douts = Array::<f32>::new(n_own);
    let mut next_presents = Array::<f32>::new(n_own);
    let mut next_rows = Array::<f32>::new(n_turn);
    let n_chunk = (steps + chunk_len - 1) / chunk_len;
    let first_row = sequence * steps;
    let mut starts = Array::<f32>::new(comptime!(chunk_len.div_ceil(RUN) * n_pair));
    let first_chunk = CUBE_POS_Y as usize * chunks;
    for chunk in first_chunk..clamp_max::<usize>(first_chunk + chunks, n_chunk) {
        let at_chunk = (sequence * n_chunk + chunk) * d_inner * n_state;
        #[unroll]
        for k in 0..per_column {
            let channel = clamp_max::<usize>(block_first + first_channel + k, d_inner - 1);
            #[unroll]
            for j in 0..per_group {
                let pair = comptime!(k * places.per_group + j);
                let at = at_chunk + (first_state + j) * d_inner + channel;
                h[pair] = states[at];
                g[pair] = adjoints[at];
            }
        }
        let first = chunk * chunk_len;
        let end = clamp_max::<usize>(first + chunk_len, steps);
        let n_stage = (end - first + STAGE - 1) / STAGE;
        for stage in 0..n_stage {
            let from = first + stage * STAGE;
            let n_step = clamp_max::<usize>(end - from, STAGE);
            let mut inputs = Array::<f32>::new(comptime!(STAGE.div_ceil(places.parts)));
            #[unroll]
            for k in 0..comptime!(STAGE.div_ceil(places.parts)) {
                inputs[k] = 0.0f32;
                let i = k * n_part + part;
                if i < n_step {
                    inputs[k] = f32::cast_from(u[(first_row + from + i) * d_inner + own]);
                }
            }
            let row = first_row + from;
            stage_rows(projected, row, n_step, &mut rows, unit, units, width, STAGE);
            let mut dt_weight = Array::<f32>::new(rank);
            #[unroll]
            for j in 0..rank {
                dt_weight[j] = weights[j * places.draw_pitch() + owned];
            }
            #[unroll]
            for k in 0..comptime!(STAGE.div_ceil(places.parts)) {
                let i = k * n_part + part;
                if i < n_step {
                    let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
                    let at = batch_index * length + position(from + i, length, direction);
                    let delta = counted * softplus(raw) * presence(mask, at, masked);
                    scalars[(2 * i) * n_channel + owned] = delta;
                    scalars[(2 * i + 1) * n_channel + owned] = delta * inputs[k];
                }
            }
            sync_cube();
            for i in 0..n_step {
                if i % RUN == 0 {
                    let run = (stage * STAGE + i) / RUN % comptime!(chunk_len / RUN);
                    #[unroll]
                    for pair in 0..n_pair {
                        starts[run * n_pair + pair] = h[pair];
                    }
                }
                #[unroll]
                for k in 0..per_column {
                    let delta = scalars[(2 * i) * n_channel + first_channel + k];
                    let input = scalars[(2 * i + 1) * n_channel + first_channel + k];
                    #[unroll]
                    for j in 0..per_group {
                        let pair = comptime!(k * places.per_group + j);
                        let b = rows[i * width + rank + first_state + j];
                        h[pair] = power(delta * rates[pair]) * h[pair] + input * b;
                    }
                }
            }
            sync_cube();
        }

        let n_run = (end - first + RUN - 1) / RUN;
        for run_back in 0..n_run + 1 {
            // A turn before the first run only loads.
            let run = n_run - run_back;
            let run_first = first + run * RUN;
            let n_step = clamp_max::<usize>(end - clamp_max::<usize>(run_first, end), RUN);
            let run_row = first_row + run_first;
            if run_back > 0 {
                #[unroll]
                for pair in 0..n_pair {
                    h[pair] = starts[run % comptime!(chunk_len / RUN) * n_pair + pair];
                }
                let mut dt_weight = Array::<f32>::new(rank);
                #[unroll]
                for j in 0..rank {
                    dt_weight[j] = weights[j * places.draw_pitch() + owned];
                }
                #[unroll]
                for k in 0..n_own {
                    let i = k * n_part + part;
                    let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
                    let (whole, slope) = softplus_and_slope(raw);
                    let delta = whole * next_presents[k];
                    values[k] = next_values[k];
                    slopes[k] = slope * next_presents[k];
                    if comptime!(masked) {
                        wholes[k] = counted * whole;
                    }
                    scalars[(CHANNEL_SUMS * i) * n_channel + owned] = delta;
                    scalars[(CHANNEL_SUMS * i + 1) * n_channel + owned] = delta * values[k];
                    scalars[(CHANNEL_SUMS * i + 2) * n_channel + owned] = next_douts[k];
                }
                sync_cube();
            }
            if run > 0 {
                let next_first = run_first - RUN;
                let n_next = clamp_max::<usize>(end - next_first, RUN);
                #[unroll]
                for turn in 0..n_turn {
                    let i = unit + turn * units;
                    next_rows[turn] = 0.0f32;
                    if i < n_next * width {
                        next_rows[turn] = projected[(first_row + next_first) * width + i];
                    }
                }
                #[unroll]
                for k in 0..n_own {
                    let i = k * n_part + part;
                    next_values[k] = 0.0f32;
                    next_douts[k] = 0.0f32;
                    next_presents[k] = 0.0f32;
                    if i < n_next {
                        let at = position(next_first + i, length, direction);
                        let row = first_row + next_first + i;
                        next_values[k] = f32::cast_from(u[row * d_inner + own]);
                        next_douts[k] = counted
                            * output_gradient::<E>(
                                dy,
                                at,
                                own,
                                batch_index,
                                out_start,
                                n_out,
                                d_inner,
                            );
                        next_presents[k] =
                            counted * presence(mask, batch_index * length + at, masked);
                    }
                }
            }
            if run_back > 0 {
                for step in 0..n_step {
                    // What the remainder says lets a compiler move vectors.
                    let i = step % RUN;
                    #[unroll]
                    for pair in 0..n_pair {
                        before[state_place(i, unit, pair, n_pair, units)] = h[pair];
                    }
                    #[unroll]
                    for k in 0..per_column {
                        let channel = first_channel + k;
                        let delta = scalars[(CHANNEL_SUMS * i) * n_channel + channel];
                        let input = scalars[(CHANNEL_SUMS * i + 1) * n_channel + channel];
                        #[unroll]
                        for j in 0..per_group {
                            let pair = comptime!(k * places.per_group + j);
                            let b = rows[i * width + rank + first_state + j];
                            h[pair] = power(delta * rates[pair]) * h[pair] + input * b;
                        }
                    }
                }
                for back in 0..n_step {
                    let i = (n_step - 1 - back) % RUN;
                    let mut b_row = Array::<f32>::new(per_group);
                    let mut c_row = Array::<f32>::new(per_group);
                    let mut db = Array::<f32>::new(per_group);
                    let mut dc = Array::<f32>::new(per_group);
                    let mut h_before = Array::<f32>::new(n_pair);
                    let mut sums = Array::<f32>::new(comptime!(CHANNEL_SUMS * places.per_column));
                    #[unroll]
                    for pair in 0..n_pair {
                        h_before[pair] = before[state_place(i, unit, pair, n_pair, units)];
                    }
                    #[unroll]
                    for j in 0..per_group {
                        b_row[j] = rows[i * width + rank + first_state + j];
                        c_row[j] = rows[i * width + rank + n_state + first_state + j];
                        db[j] = 0.0f32;
                        dc[j] = 0.0f32;
                    }
                    #[unroll]
                    for k in 0..per_column {
                        let channel = first_channel + k;
                        let delta = scalars[(CHANNEL_SUMS * i) * n_channel + channel];
                        let input = scalars[(CHANNEL_SUMS * i + 1) * n_channel + channel];
                        let dout = scalars[(CHANNEL_SUMS * i + 2) * n_channel + channel];
                        let mut output = 0.0f32;
                        let mut dinput = 0.0f32;
                        let mut dexponents = 0.0f32;
                        #[unroll]
                        for j in 0..per_group {
                            let pair = comptime!(k * places.per_group + j);
                            let q = g[pair] + dout * c_row[j];
                            output += h[pair] * c_row[j];
                            db[j] += q * input;
                            dc[j] += h[pair] * dout;
                            dinput += q * b_row[j];
                            g[pair] = q * power(delta * rates[pair]);
                            let dexponent = g[pair] * h_before[pair];
                            dexponents += dexponent * rates[pair];
                            da[pair] += dexponent * delta;
                            h[pair] = h_before[pair];
                        }
                        sums[k] = output;
                        sums[comptime!(places.per_column + k)] = dinput;
                        sums[comptime!(2 * places.per_column + k)] = dexponents;
                    }
                    let at = (i * CHANNEL_SUMS * n_group + group) * n_channel + first_channel;
                    #[unroll]
                    for sum in 0..CHANNEL_SUMS {
                        #[unroll]
                        for k in 0..per_column {
                            channel_sums
                                [at + comptime!(sum * places.n_group * places.channels + k)] =
                                sums[comptime!(sum * places.per_column + k)];
                        }
                    }
                    let at = (i * 2 * n_state + first_state) * places.state_pitch() + column;
                    #[unroll]
                    for j in 0..per_group {
                        state_sums[at + comptime!(j * places.state_pitch())] = db[j];
                        state_sums[at + comptime!((sizes.d_state + j) * places.state_pitch())] =
                            dc[j];
                    }
                }
                sync_cube();

                #[unroll]
                for k in 0..n_own {
                    let i = k * n_part + part;
                    if i < n_step {
                        let mut output = skip * values[k];
                        let mut dinput = 0.0f32;
                        let mut dexponents = 0.0f32;
                        #[unroll]
                        for other in 0..n_group {
                            let row = (CHANNEL_SUMS * i) * n_group + other;
                            output += channel_sums[row * n_channel + owned];
                            dinput += channel_sums[(row + n_group) * n_channel + owned];
                            dexponents += channel_sums[(row + 2 * n_group) * n_channel + owned];
                        }
                        let dstep = dexponents * ln_base() + dinput * values[k];
                        let draw = dstep * slopes[k];
                        draws[i * places.draw_pitch() + owned] = draw;
                        if comptime!(masked) {
                            draws[(RUN + i) * places.draw_pitch() + owned] = dstep * wholes[k];
                        }
                        #[unroll]
                        for j in 0..rank {
                            dweight[j] += draw * rows[i * width + j];
                        }
                        dbias += draw;
                        let dout = scalars[(CHANNEL_SUMS * i + 2) * n_channel + owned];
                        dskip += dout * values[k];
                        if active {
                            let delta = scalars[(CHANNEL_SUMS * i) * n_channel + owned];
                            du[(run_row + i) * d_inner + own] =
                                E::cast_from(dinput * delta + dout * skip);
                            let at = position(run_first + i, length, direction);
                            if at >= out_start && at < out_start + n_out {
                                y[(sequence * n_out + at - out_start) * d_inner + own] =
                                    E::cast_from(output);
                            }
                        }
                    }
                }
                sync_cube();
            }
            if run > 0 {
                #[unroll]
                for turn in 0..n_turn {
                    let i = unit + turn * units;
                    if i < RUN * width {
                        rows[i] = next_rows[turn];
                    }
                }
            }
            if run_back > 0 {
                let block_row = (CUBE_POS_X as usize * n_sequence * steps + run_row) * width;
                let n_dt = comptime!(RUN * sizes.dt_rank);
                let n_both = comptime!(RUN * sizes.d_x_proj());
                let n_sum = comptime!(RUN * row_sums(sizes, masked));
                #[unroll]
                for turn in 0..comptime!((RUN * row_sums(sizes, masked)).div_ceil(places.units())) {
                    let item = unit + turn * units;
                    if item < n_dt {
                        let i = item / rank;
                        let j = item % rank;
                        let mut sum = 0.0f32;
                        #[unroll]
                        for channel in 0..n_channel {
                            sum += draws[i * places.draw_pitch() + channel]
                                * weights[j * places.draw_pitch() + channel];
                        }
                        if i < n_step {
                            partial_rows[block_row + i * width + j] = sum;
                        }
                    } else if item < n_both {
                        let row = item - n_dt;
                        let i = row / comptime!(2 * sizes.d_state);
                        let mut sum = 0.0f32;
                        #[unroll]
                        for other in 0..n_column {
                            sum += state_sums[row * places.state_pitch() + other];
                        }
                        if i < n_step {
                            let n = row % comptime!(2 * sizes.d_state);
                            partial_rows[block_row + i * width + rank + n] = sum;
                        }
                    } else if item < n_sum {
                        let i = item - n_both;
                        let mut sum = 0.0f32;
                        for other in 0..n_channel {
                            sum += draws[(RUN + i) * places.draw_pitch() + other];
                        }
                        if i < n_step {
                            let at = position(run_first + i, length, direction);
                            let block_sequence = CUBE_POS_X as usize * n_sequence + sequence;
                            partial_mask[block_sequence * length + at] = sum;
                        }
                    }
                }
            }
            sync_cube();
        }
    }

    // The parts of a channel's sums over steps, added up by the unit that owns the first.
    if comptime!(places.parts > 1) {
        if part > 0 {
            let first = (part - 1) * (rank + 2);
            #[unroll]
            for j in 0..rank {
                channel_sums[(first + j) * n_channel + owned] = dweight[j];
            }
            channel_sums[(first + rank) * n_channel + owned] = dbias;
            channel_sums[(first + rank + 1) * n_channel + owned] = dskip;
        }
        sync_cube();
        #[unroll]
        for other in 1..n_part {
            let first = comptime!((other - 1) * (sizes.dt_rank + 2));
            #[unroll]
            for j in 0..rank {
                dweight[j] += channel_sums[(first + j) * n_channel + owned];
            }
            dbias += channel_sums[(first + rank) * n_channel + owned];
            dskip += channel_sums[(first + rank + 1) * n_channel + owned];
        }
    }
    let weight_len = comptime!(sizes.d_inner * sizes.dt_rank);
    let a_log_grad_at = comptime!(sizes.d_inner * (sizes.dt_rank + 1));
    let skip_grad_at = comptime!(sizes.d_inner * (sizes.dt_rank + 1 + sizes.d_state));
    let row_len = comptime!(scan_params_len(sizes));
    let row = (sequence * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize) * row_len;
    if active && part == 0 {
        #[unroll]
        for j in 0..rank {
            partial_params[row + own * rank + j] = dweight[j];
        }
        partial_params[row + weight_len + own] = dbias;
        partial_params[row + skip_grad_at + own] = dskip;
    }
    #[unroll]
    for k in 0..per_column {
        let channel = block_first + first_channel + k;
        if channel < d_inner {
            #[unroll]
            for j in 0..per_group {
                let pair = comptime!(k * places.per_group + j);
                let n = first_state + j;
                partial_params[row + a_log_grad_at + channel * n_state + n] =
                    da[pair] * rates[pair] * ln_base();
            }
        }
    }
}

/// Where a unit keeps the state of a pair at a step of a run: vectors of four, so that they move in one access.
#[cube]
fn state_place(
    step: usize,
    unit: usize,
    #[comptime] pair: usize,
    #[comptime] n_pair: usize,
    #[comptime] units: usize,
) -> usize {
    let vector = step * comptime!(n_pair.div_ceil(VECTOR)) + comptime!(pair / VECTOR);
    (vector * units + unit) * VECTOR + comptime!(pair % VECTOR)
}

/// Adds up what each block of channels has of the rows' gradients, in the type of the activations.
#[cube(launch)]
fn add_blocks<E: Float, N: Size>(
    partial_rows: &Tensor<Vector<f32, N>>,
    rows: &mut Tensor<Vector<E, N>>,
    n_vector: usize,
    #[comptime] n_block: usize,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= n_vector {
        terminate!();
    }
    let mut sum = partial_rows[at];
    #[unroll]
    for block in 1..n_block {
        sum += partial_rows[at + block * n_vector];
    }
    rows[at] = Vector::<E, N>::cast_from(sum);
}

/// Floats of one direction's dt_weight, dt_bias, a_log and d, which lie one after the other.
pub(super) fn scan_params_len(sizes: BlockSizes) -> usize {
    sizes.d_inner * (sizes.dt_rank + 1 + sizes.d_state + 1)
}

/// Sums over channels at each step: step-size inputs, B and C, and under a mask the mask.
fn row_sums(sizes: BlockSizes, masked: bool) -> usize {
    sizes.d_x_proj() + usize::from(masked)
}

/// Chunks that a cube takes one after the other, so that it sums up their gradients of parameters, when there are so many
/// that a device is filled several times over by fewer cubes.
fn chunks_of_a_cube(chunks: usize) -> usize {
    (chunks / CUBES).clamp(1, MOST_CHUNKS)
}

/// How a cube of [`chunk_gradients`] divides its channels, and the floats that its units share.
///
/// Rows are padded by a vector of four floats, so that the units of a plane meet different banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Places {
    channels: usize,
    /// Units that own a channel, at different steps.
    parts: usize,
    /// Groups of states.
    n_group: usize,
    /// States of a group.
    per_group: usize,
    /// Channels whose pairs with a group of states a unit walks.
    per_column: usize,
}

impl Places {
    fn new(sizes: BlockSizes, channels: usize) -> Self {
        let parts = 1 + usize::from(sizes.d_state.is_multiple_of(PARTS) && channels > 1);
        let n_pair = sizes.d_state / parts;
        let mut per_column: usize = 1;
        while (2 * per_column).pow(2) <= n_pair
            && n_pair.is_multiple_of(2 * per_column)
            && channels.is_multiple_of(2 * per_column)
        {
            per_column *= 2;
        }
        let per_group = n_pair / per_column;
        Self {
            channels,
            parts,
            n_group: sizes.d_state / per_group,
            per_group,
            per_column,
        }
    }

    /// As many channels as a cube has, at most, whose shared memory fits in `bytes`.
    fn that_fit(sizes: BlockSizes, masked: bool, bytes: usize) -> Self {
        let mut places = Self::new(sizes, CHANNELS);
        while places.channels > 1 && places.bytes(sizes, masked) > bytes {
            places = Self::new(sizes, places.channels / 2);
        }
        places
    }

    fn units(&self) -> usize {
        self.channels * self.parts
    }

    /// Units that walk the same group of states.
    fn n_column(&self) -> usize {
        self.channels / self.per_column
    }

    fn scalars(&self) -> usize {
        (2 * STAGE).max(CHANNEL_SUMS * RUN) * self.channels
    }

    fn channel_sums(&self, sizes: BlockSizes) -> usize {
        let of_a_run = RUN * CHANNEL_SUMS * self.n_group;
        of_a_run.max((self.parts - 1) * (sizes.dt_rank + 2)) * self.channels
    }

    fn before(&self) -> usize {
        let n_pair = self.per_column * self.per_group;
        RUN * n_pair.next_multiple_of(VECTOR) * self.units()
    }

    fn state_pitch(&self) -> usize {
        self.n_column() + VECTOR
    }

    fn state_sums(&self, sizes: BlockSizes) -> usize {
        RUN * 2 * sizes.d_state * self.state_pitch()
    }

    fn draw_pitch(&self) -> usize {
        self.channels + VECTOR
    }

    fn draws(&self, masked: bool) -> usize {
        RUN * (1 + usize::from(masked)) * self.draw_pitch()
    }

    fn bytes(&self, sizes: BlockSizes, masked: bool) -> usize {
        let rows = STAGE.max(RUN) * sizes.d_x_proj();
        let sums = self.channel_sums(sizes) + self.state_sums(sizes) + self.draws(masked);
        let weights = self.draw_pitch() * sizes.dt_rank;
        (rows + self.scalars() + self.before() + sums + weights) * size_of::<f32>()
    }
}

/// What the adjoint scan leaves; see [`chunk_gradients`] for the partial sums.
#[derive(Debug)]
pub(super) struct ScanGradients {
    /// The scan's outputs again, `[sequence, output, d_inner]`.
    pub(super) y: CubeTensor,
    /// Gradient of `u` through the scan, `[sequence, step, d_inner]`.
    pub(super) du: CubeTensor,
    /// Gradients of step-size inputs, B and C through the scan, `[sequence step, dt_rank + 2 d_state]`.
    pub(super) projected: CubeTensor,
    pub(super) partial_params: CubeTensor,
    pub(super) partial_mask: Option<CubeTensor>,
}

/// Gradients of the scan from those of its outputs, `dy`, `[batch, output, d_inner]`, the states before each chunk and the G
/// behind it.
pub(super) fn gradients_of_chunks(
    extent: &Extent,
    scan: &ScanTensors,
    states: CubeTensor,
    adjoints: CubeTensor,
    dy: CubeTensor,
) -> ScanGradients {
    let sizes = extent.sizes;
    let dtype: DType = scan.u.dtype();
    let masked = scan.mask.is_some();
    let hardware = &scan.u.client.properties().hardware;
    let shared_bytes = SHARED_BYTES.min(hardware.max_shared_memory_size);
    let places = Places::that_fit(sizes, masked, shared_bytes);
    let n_block = channel_blocks(sizes.d_inner, places.channels) as usize;
    let rows = extent.n_sequence() * extent.steps();
    let new = |shape: &[usize], dtype| extent.new_tensor(&scan.u, shape, dtype);
    let y = new(
        &[extent.n_sequence() * extent.n_out(), sizes.d_inner],
        dtype,
    );
    let du = new(&[rows, sizes.d_inner], dtype);
    let partial_rows = new(&[n_block, rows, sizes.d_x_proj()], DType::F32);
    let chunks = chunks_of_a_cube(n_block * extent.n_sequence() * extent.n_chunk());
    let n_cube = extent.n_chunk().div_ceil(chunks);
    let partial_params = new(
        &[2, extent.batch * n_cube, scan_params_len(sizes)],
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
        CubeCount::Static(n_block as u32, n_cube as u32, extent.n_sequence() as u32),
        CubeDim::new_1d(places.units() as u32),
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
        chunks,
        sizes,
        CHUNK,
        places,
        masked,
        element(dtype),
    );
    ScanGradients {
        y,
        du,
        projected: sum_of_blocks(extent, partial_rows, dtype),
        partial_params,
        partial_mask,
    }
}

/// Sum over the first axis of `partial_rows`, `[channel block, row, d_x_proj]`.
fn sum_of_blocks(extent: &Extent, partial_rows: CubeTensor, dtype: DType) -> CubeTensor {
    let [n_block, n_row, width] = partial_rows.shape().dims::<3>();
    let rows = extent.new_tensor(&partial_rows, &[n_row, width], dtype);
    let cover = Cover::new(&partial_rows, width, n_row * width);
    add_blocks::launch(
        &rows.client,
        cover.cubes,
        cover.units,
        cover.vector_size,
        partial_rows.into_tensor_arg(),
        rows.clone().into_tensor_arg(),
        cover.n_vector,
        n_block,
        element(dtype),
    );
    rows
}
