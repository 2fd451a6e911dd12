//! What is left of a run's sums over channels: every unit adds up a part of the columns, and behind a barrier few add up parts.

#![allow(
    clippy::too_many_arguments,
    reason = "parts of a kernel take its tensors one by one"
)]

use cubecl::prelude::*;

use super::super::channel::{position, sum_of_elements};
use super::ahead::Scan;
use super::exchange::{Exchange, within};
use super::places::{CHANNEL_SUMS, Places, RUN, Role};

/// Leaves each part's sums for the gradients of a run's step-size inputs, B and C.
#[cube]
pub(super) fn share_parts<N: Size, S: Size>(
    exchange: &mut Exchange<N, S>,
    role: &Role,
    #[comptime] places: Places,
) {
    let n_sum = comptime!(places.n_state_sum());
    let per_part = comptime!(places.n_column() / places.state_parts());
    let n_item = comptime!(places.n_state_sum() * places.state_parts());
    #[unroll]
    for turn in 0..n_item.div_ceil(comptime!(places.units())) {
        let item = role.unit + turn * comptime!(places.units());
        if comptime!((places.n_state_sum() * places.state_parts()).is_multiple_of(places.units()))
            || item < n_item
        {
            let at = item % n_sum * comptime!(places.state_pitch()) + item / n_sum * per_part;
            let at = within(at, comptime!(places.state_sums()));
            let mut sum = exchange.state_sums[at];
            #[unroll]
            for column in 1..per_part {
                sum += exchange.state_sums[at + column];
            }
            exchange.state_parts[item] = sum;
        }
    }

    let rank = comptime!(places.sizes.dt_rank);
    let pitch = comptime!(places.draw_pitch());
    let n_sum = comptime!(places.n_draw_sum());
    let per_part = comptime!(places.n_column() / places.draw_parts());
    let n_item = comptime!(places.n_draw_sum() * places.draw_parts());
    #[unroll]
    for turn in 0..n_item.div_ceil(comptime!(places.units())) {
        let item = role.unit + turn * comptime!(places.units());
        if comptime!((places.n_draw_sum() * places.draw_parts()).is_multiple_of(places.units()))
            || item < n_item
        {
            let first = item / n_sum * per_part;
            let draws_at = item % n_sum / rank * pitch + first;
            let draws_at = within(draws_at, comptime!(places.draws()));
            let weights_at = within(item % rank * pitch + first, comptime!(places.weights()));
            let mut sum = Vector::<f32, N>::zeroed();
            #[unroll]
            for column in 0..per_part {
                sum += exchange.draws[draws_at + column] * exchange.weights[weights_at + column];
            }
            exchange.draw_parts[item] = sum_of_elements::<N>(sum);
        }
    }
}

/// Adds up the parts that [`share_parts`] left of a run's `n_step` steps from `first` on, and writes them as the block of channels'
/// own.
#[cube]
pub(super) fn sum_parts<N: Size, S: Size>(
    partial_rows: &mut Tensor<Vector<f32, S>>,
    exchange: &Exchange<N, S>,
    scan: &Scan,
    role: &Role,
    first: usize,
    n_step: usize,
    n_row: usize,
    #[comptime] places: Places,
) {
    let row_len = comptime!(places.row_len());
    let n_input = comptime!(places.n_input());
    let per_group = comptime!(places.per_group);
    let units = comptime!(places.units());
    let block_row = (CUBE_POS_X as usize * n_row + scan.first_row + first) * row_len;
    let n_sum = comptime!(places.n_draw_sum());
    #[unroll]
    for turn in 0..comptime!((RUN * places.n_input()).div_ceil(places.units())) {
        let item = role.unit + turn * units;
        if item < n_step * n_input {
            let mut sum = Vector::<f32, S>::zeroed();
            #[unroll]
            for j in 0..per_group {
                let mut element = exchange.draw_parts[item * per_group + j];
                #[unroll]
                for part in 1..comptime!(places.draw_parts()) {
                    element += exchange.draw_parts[item * per_group + (part * n_sum + j)];
                }
                sum.insert(j, element);
            }
            partial_rows[block_row + item / n_input * row_len + item % n_input] = sum;
        }
    }
    // Other units than those above, where there are enough.
    let both = comptime!(2 * places.n_group());
    let n_sum = comptime!(places.n_state_sum());
    #[unroll]
    for turn in 0..comptime!(places.n_state_sum().div_ceil(places.units())) {
        let item = units - 1 - role.unit + turn * units;
        if item < n_step * both {
            let mut sum = exchange.state_parts[item];
            #[unroll]
            for part in 1..comptime!(places.state_parts()) {
                sum += exchange.state_parts[item + part * n_sum];
            }
            partial_rows[block_row + item / both * row_len + n_input + item % both] = sum;
        }
    }
}

/// Adds up the channels' parts of the mask's gradient at a run's `n_step` steps from `first` on, and writes them.
#[cube]
pub(super) fn sum_mask<N: Size, S: Size>(
    partial_mask: &mut Tensor<f32>,
    exchange: &Exchange<N, S>,
    scan: &Scan,
    role: &Role,
    first: usize,
    n_step: usize,
    #[comptime] places: Places,
) {
    let i = role.unit;
    if i < n_step {
        let mut sum = Vector::<f32, N>::zeroed();
        for column in 0..comptime!(places.n_column()) {
            sum += exchange.channel_sums[i * comptime!(CHANNEL_SUMS * places.units()) + column];
        }
        let at = position(first + i, scan.length, scan.direction);
        let block_sequence = CUBE_POS_X as usize * CUBE_COUNT_Z as usize + scan.sequence;
        partial_mask[block_sequence * scan.length + at] = sum_of_elements::<N>(sum);
    }
}
