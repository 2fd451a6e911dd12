//! What is left of a run's sums over channels.

use cubecl::prelude::*;

use super::super::channel::position;
use super::own::Scan;
use super::places::{Exchange, Places, RUN, Role};

/// Adds up the channels' parts of the gradients of step-size inputs, B and C, and under a mask of the mask, at a run's `n_step`
/// steps from `first` on, and writes them as the block of channels' own.
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
    let block = CUBE_POS_X as usize;
    let block_row = (block * n_row + scan.first_row + first) * width;
    let n_channel = comptime!(places.channels);
    let pitch = comptime!(places.draw_pitch());
    let n_dt = comptime!(RUN * places.sizes.dt_rank);
    let n_both = comptime!(RUN * places.sizes.d_x_proj());
    let n_sum = comptime!(RUN * places.row_sums());
    #[unroll]
    for turn in 0..comptime!((RUN * places.row_sums()).div_ceil(places.units())) {
        let item = role.unit + turn * comptime!(places.units());
        if item < n_dt {
            let i = item / rank;
            let j = item % rank;
            let mut sum = 0.0f32;
            #[unroll]
            for channel in 0..n_channel {
                let draw = exchange.draws[i * pitch + channel];
                sum += draw * exchange.weights[j * pitch + channel];
            }
            if i < n_step {
                partial_rows[block_row + i * width + j] = sum;
            }
        } else if item < n_both {
            let row = item - n_dt;
            let i = row / comptime!(2 * places.sizes.d_state);
            let mut sum = 0.0f32;
            #[unroll]
            for column in 0..comptime!(places.n_column()) {
                sum += exchange.state_sums[row * comptime!(places.state_pitch()) + column];
            }
            if i < n_step {
                let n = row % comptime!(2 * places.sizes.d_state);
                partial_rows[block_row + i * width + rank + n] = sum;
            }
        } else if item < n_sum {
            let i = item - n_both;
            let mut sum = 0.0f32;
            for channel in 0..n_channel {
                sum += exchange.draws[(RUN + i) * pitch + channel];
            }
            if i < n_step {
                let at = position(first + i, scan.length, scan.direction);
                let block_sequence = block * CUBE_COUNT_Z as usize + scan.sequence;
                partial_mask[block_sequence * scan.length + at] = sum;
            }
        }
    }
}
