//! What is left of a run's sums over channels.

#![allow(
    clippy::too_many_arguments,
    reason = "parts of a kernel take its tensors one by one"
)]

use cubecl::prelude::*;

use super::super::channel::position;
use super::ahead::Scan;
use super::places::{Exchange, Places, RUN, Role, within};

/// Adds up the channels' parts of the gradients of B and C, and under a mask of the mask, at a run's `n_step` steps from `first`
/// on, and writes them as the block of channels' own.
#[cube]
pub(super) fn sum_rows(
    partial_rows: &mut Tensor<f32>,
    partial_mask: &mut Tensor<f32>,
    exchange: &Exchange,
    scan: &Scan,
    role: &Role,
    first: usize,
    n_step: usize,
    n_row: usize,
    #[comptime] places: Places,
) {
    let rank = comptime!(places.sizes.dt_rank);
    let width = comptime!(places.sizes.d_x_proj());
    let both = comptime!(2 * places.sizes.d_state);
    let block = CUBE_POS_X as usize;
    let block_row = (block * n_row + scan.first_row + first) * width;
    let n_sum = comptime!(2 * RUN * places.sizes.d_state);
    #[unroll]
    for turn in 0..comptime!((2 * RUN * places.sizes.d_state).div_ceil(places.units())) {
        let item = role.unit + turn * comptime!(places.units());
        let i = item / both;
        if comptime!((2 * RUN * places.sizes.d_state).is_multiple_of(places.units()))
            || item < n_sum
        {
            let mut sum = 0.0f32;
            #[unroll]
            for column in 0..comptime!(places.n_column()) {
                sum += exchange.state_sums[item * comptime!(places.state_pitch()) + column];
            }
            if i < n_step {
                partial_rows[block_row + i * width + rank + item % both] = sum;
            }
        }
    }
    if comptime!(places.masked) {
        let i = role.unit;
        if i < n_step {
            let mut sum = 0.0f32;
            for channel in 0..comptime!(places.channels) {
                sum += exchange.channel_sums[i * comptime!(places.sum_pitch()) + channel];
            }
            let at = position(first + i, scan.length, scan.direction);
            let block_sequence = block * CUBE_COUNT_Z as usize + scan.sequence;
            partial_mask[block_sequence * scan.length + at] = sum;
        }
    }
}

/// Leaves each part of the channels' sum for the gradients of a run's step-size inputs.
#[cube]
pub(super) fn share_draw_sums(exchange: &mut Exchange, role: &Role, #[comptime] places: Places) {
    let rank = comptime!(places.sizes.dt_rank);
    let pitch = comptime!(places.draw_pitch());
    let n_input = comptime!(RUN * places.sizes.dt_rank);
    let n_sum = comptime!(RUN * places.sizes.dt_rank * places.draw_parts());
    let per_part = comptime!(places.channels / places.draw_parts());
    #[unroll]
    for turn in
        0..comptime!((RUN * places.sizes.dt_rank * places.draw_parts()).div_ceil(places.units()))
    {
        let item = role.unit + turn * comptime!(places.units());
        if comptime!(
            (RUN * places.sizes.dt_rank * places.draw_parts()).is_multiple_of(places.units())
        ) || item < n_sum
        {
            let first = item / n_input * per_part;
            let draws_at = item % n_input / rank * pitch + first;
            let draws_at = within(draws_at, comptime!(places.draws()));
            let weights_at = within(item % rank * pitch + first, comptime!(places.weights()));
            let mut sum = 0.0f32;
            #[unroll]
            for channel in 0..per_part {
                sum += exchange.draws[draws_at + channel] * exchange.weights[weights_at + channel];
            }
            exchange.draw_sums[item] = sum;
        }
    }
}

/// Adds up the parts that [`share_draw_sums`] left behind a barrier, and writes them.
#[cube]
pub(super) fn sum_draws(
    partial_rows: &mut Tensor<f32>,
    exchange: &Exchange,
    scan: &Scan,
    role: &Role,
    first: usize,
    n_step: usize,
    n_row: usize,
    #[comptime] places: Places,
) {
    let rank = comptime!(places.sizes.dt_rank);
    let width = comptime!(places.sizes.d_x_proj());
    let block_row = (CUBE_POS_X as usize * n_row + scan.first_row + first) * width;
    let n_input = comptime!(RUN * places.sizes.dt_rank);
    #[unroll]
    for turn in 0..comptime!((RUN * places.sizes.dt_rank).div_ceil(places.units())) {
        let item = role.unit + turn * comptime!(places.units());
        if item < n_step * rank {
            let mut sum = 0.0f32;
            #[unroll]
            for part in 0..comptime!(places.draw_parts()) {
                sum += exchange.draw_sums[part * n_input + item];
            }
            partial_rows[block_row + item / rank * width + item % rank] = sum;
        }
    }
}
