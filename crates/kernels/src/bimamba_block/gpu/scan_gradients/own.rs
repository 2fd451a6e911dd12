//! The channel that a unit owns: step sizes, and the gradients that are sums over states.

#![allow(
    clippy::too_many_arguments,
    reason = "parts of a kernel take its tensors one by one"
)]

use cubecl::prelude::*;

use super::super::channel::{
    direction_stride, output_gradient, position, presence, raw_step_size, softplus,
    softplus_and_slope, stage_rows,
};
use super::places::{CHANNEL_SUMS, Exchange, Places, RUN, Role, STAGE};
use super::scan_params_len;
use crate::native_math::ln_base;

/// The scan that a cube walks, and what of it was asked for.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Scan {
    pub(super) sequence: usize,
    pub(super) direction: usize,
    pub(super) batch_index: usize,
    pub(super) length: usize,
    /// First row of the sequence among `[sequence, step]`.
    pub(super) first_row: usize,
    pub(super) out_start: usize,
    pub(super) n_out: usize,
}

/// What a run reads of a unit's channel, on its way while the run before is computed.
#[derive(CubeType)]
pub(super) struct NextRun {
    values: Array<f32>,
    douts: Array<f32>,
    /// The mask, 0 without a channel.
    presents: Array<f32>,
    rows: Array<f32>,
}

#[cube]
impl NextRun {
    pub(super) fn new(#[comptime] places: Places) -> NextRun {
        let n_own = comptime!(RUN / places.parts);
        NextRun {
            values: Array::<f32>::new(n_own),
            douts: Array::<f32>::new(n_own),
            presents: Array::<f32>::new(n_own),
            rows: Array::<f32>::new(comptime!(places.row_turns())),
        }
    }

    /// Loads the run of `n_step` steps from `first` on.
    pub(super) fn load<E: Float>(
        &mut self,
        dy: &Tensor<E>,
        u: &Tensor<E>,
        projected: &Tensor<f32>,
        mask: &Tensor<f32>,
        scan: &Scan,
        role: &Role,
        first: usize,
        n_step: usize,
        #[comptime] places: Places,
    ) {
        let width = comptime!(places.sizes.d_x_proj());
        let d_inner = comptime!(places.sizes.d_inner);
        let counted = select(role.active, 1.0f32, 0.0f32);
        #[unroll]
        for turn in 0..comptime!(places.row_turns()) {
            let i = role.unit + turn * comptime!(places.units());
            self.rows[turn] = 0.0f32;
            if i < n_step * width {
                self.rows[turn] = projected[(scan.first_row + first) * width + i];
            }
        }
        #[unroll]
        for k in 0..comptime!(RUN / places.parts) {
            let i = k * comptime!(places.parts) + role.part;
            self.values[k] = 0.0f32;
            self.douts[k] = 0.0f32;
            self.presents[k] = 0.0f32;
            if i < n_step {
                let at = position(first + i, scan.length, scan.direction);
                let row = scan.first_row + first + i;
                self.values[k] = f32::cast_from(u[row * d_inner + role.own]);
                self.douts[k] = counted
                    * output_gradient::<E>(
                        dy,
                        at,
                        role.own,
                        scan.batch_index,
                        scan.out_start,
                        scan.n_out,
                        d_inner,
                    );
                let at = scan.batch_index * scan.length + at;
                self.presents[k] = counted * presence(mask, at, comptime!(places.masked));
            }
        }
    }

    /// Shares the rows of the run that was loaded.
    pub(super) fn share_rows(
        &self,
        exchange: &mut Exchange,
        role: &Role,
        #[comptime] places: Places,
    ) {
        #[unroll]
        for turn in 0..comptime!(places.row_turns()) {
            let i = role.unit + turn * comptime!(places.units());
            if i < comptime!(RUN * places.sizes.d_x_proj()) {
                exchange.rows[i] = self.rows[turn];
            }
        }
    }
}

/// A channel's parameters, its values at the steps of a run that the unit owns, and its sums over steps.
#[derive(CubeType)]
pub(super) struct OwnChannel {
    bias: f32,
    skip: f32,
    values: Array<f32>,
    /// softplus of the raw step size, 0 without a channel; read under a mask only.
    wholes: Array<f32>,
    /// Derivative of the step size by the raw one.
    slopes: Array<f32>,
    /// Gradients of dt_weight, then of dt_bias and of d.
    sums: Array<f32>,
}

#[cube]
impl OwnChannel {
    /// Reads the channel's parameters and shares its projection to step sizes.
    pub(super) fn new(
        params: &Tensor<f32>,
        exchange: &mut Exchange,
        scan: &Scan,
        role: &Role,
        #[comptime] places: Places,
    ) -> OwnChannel {
        let rank = comptime!(places.sizes.dt_rank);
        let start = scan.direction * comptime!(direction_stride(places.sizes));
        let weight_at = start + comptime!(places.sizes.layout().directions[0].dt_weight.start);
        let bias_at = start + comptime!(places.sizes.layout().directions[0].dt_bias.start);
        let skip_at = start + comptime!(places.sizes.layout().directions[0].d.start);
        let n_own = comptime!(RUN / places.parts);
        let mut sums = Array::<f32>::new(comptime!(places.sizes.dt_rank + 2));
        #[unroll]
        for j in 0..rank {
            // Read by the unit that wrote it, and by others only behind a barrier.
            exchange.weights[j * comptime!(places.draw_pitch()) + role.owned] =
                params[weight_at + role.own * rank + j];
        }
        #[unroll]
        for j in 0..rank + 2 {
            sums[j] = 0.0f32;
        }
        OwnChannel {
            bias: params[bias_at + role.own],
            skip: params[skip_at + role.own],
            values: Array::<f32>::new(n_own),
            wholes: Array::<f32>::new(n_own),
            slopes: Array::<f32>::new(n_own),
            sums,
        }
    }

    /// Shares step sizes and inputs of a stage's `n_step` steps from `from` on.
    pub(super) fn share_stage<E: Float>(
        &self,
        exchange: &mut Exchange,
        u: &Tensor<E>,
        projected: &Tensor<f32>,
        mask: &Tensor<f32>,
        scan: &Scan,
        role: &Role,
        from: usize,
        n_step: usize,
        #[comptime] places: Places,
    ) {
        let rank = comptime!(places.sizes.dt_rank);
        let width = comptime!(places.sizes.d_x_proj());
        let n_channel = comptime!(places.channels);
        let n_own = comptime!(STAGE.div_ceil(places.parts));
        let counted = select(role.active, 1.0f32, 0.0f32);
        let row = scan.first_row + from;
        let mut values = Array::<f32>::new(n_own);
        #[unroll]
        for k in 0..n_own {
            let i = k * comptime!(places.parts) + role.part;
            values[k] = 0.0f32;
            if i < n_step {
                values[k] =
                    f32::cast_from(u[(row + i) * comptime!(places.sizes.d_inner) + role.own]);
            }
        }
        let units = comptime!(places.units());
        stage_rows(
            projected,
            row,
            n_step,
            &mut exchange.rows,
            role.unit,
            units,
            width,
            STAGE,
        );
        let weight = own_weight(exchange, role, places);
        #[unroll]
        for k in 0..n_own {
            let i = k * comptime!(places.parts) + role.part;
            if i < n_step {
                let raw = raw_step_size(&exchange.rows, i * width, &weight, self.bias, rank);
                let at = position(from + i, scan.length, scan.direction);
                let present = presence(
                    mask,
                    scan.batch_index * scan.length + at,
                    comptime!(places.masked),
                );
                let delta = counted * softplus(raw) * present;
                exchange.scalars[(2 * i) * n_channel + role.owned] = delta;
                exchange.scalars[(2 * i + 1) * n_channel + role.owned] = delta * values[k];
            }
        }
    }

    /// Takes over the run that was loaded and shares its scalars.
    pub(super) fn share_run(
        &mut self,
        exchange: &mut Exchange,
        next: &NextRun,
        role: &Role,
        #[comptime] places: Places,
    ) {
        let rank = comptime!(places.sizes.dt_rank);
        let width = comptime!(places.sizes.d_x_proj());
        let n_channel = comptime!(places.channels);
        let weight = own_weight(exchange, role, places);
        #[unroll]
        for k in 0..comptime!(RUN / places.parts) {
            let i = k * comptime!(places.parts) + role.part;
            let raw = raw_step_size(&exchange.rows, i * width, &weight, self.bias, rank);
            let (whole, slope) = softplus_and_slope(raw);
            let delta = whole * next.presents[k];
            let value = next.values[k];
            self.values[k] = value;
            self.slopes[k] = slope * next.presents[k];
            if comptime!(places.masked) {
                self.wholes[k] = select(role.active, whole, 0.0f32);
            }
            let at = (CHANNEL_SUMS * i) * n_channel + role.owned;
            exchange.scalars[at] = delta;
            exchange.scalars[at + n_channel] = delta * value;
            exchange.scalars[at + 2 * n_channel] = next.douts[k];
        }
    }

    /// Adds up what the groups of states left of a run's `n_step` steps from `first` on; writes outputs and gradients of inputs,
    /// and shares those of raw step sizes and of the mask.
    pub(super) fn gradients<E: Float>(
        &mut self,
        exchange: &mut Exchange,
        y: &mut Tensor<E>,
        du: &mut Tensor<E>,
        scan: &Scan,
        role: &Role,
        first: usize,
        n_step: usize,
        #[comptime] places: Places,
    ) {
        let rank = comptime!(places.sizes.dt_rank);
        let width = comptime!(places.sizes.d_x_proj());
        let d_inner = comptime!(places.sizes.d_inner);
        let n_channel = comptime!(places.channels);
        let n_group = comptime!(places.n_group);
        let pitch = comptime!(places.draw_pitch());
        #[unroll]
        for k in 0..comptime!(RUN / places.parts) {
            let i = k * comptime!(places.parts) + role.part;
            if i < n_step {
                let value = self.values[k];
                let mut output = self.skip * value;
                let mut dinput = 0.0f32;
                let mut dexponents = 0.0f32;
                #[unroll]
                for group in 0..n_group {
                    let row = (CHANNEL_SUMS * i) * n_group + group;
                    output += exchange.channel_sums[row * n_channel + role.owned];
                    dinput += exchange.channel_sums[(row + n_group) * n_channel + role.owned];
                    dexponents +=
                        exchange.channel_sums[(row + 2 * n_group) * n_channel + role.owned];
                }
                let dstep = dexponents * ln_base() + dinput * value;
                let draw = dstep * self.slopes[k];
                exchange.draws[i * pitch + role.owned] = draw;
                if comptime!(places.masked) {
                    exchange.draws[(RUN + i) * pitch + role.owned] = dstep * self.wholes[k];
                }
                #[unroll]
                for j in 0..rank {
                    self.sums[j] += draw * exchange.rows[i * width + j];
                }
                let dout = exchange.scalars[(CHANNEL_SUMS * i + 2) * n_channel + role.owned];
                self.sums[rank] += draw;
                self.sums[comptime!(places.sizes.dt_rank + 1)] += dout * value;
                if role.active {
                    let delta = exchange.scalars[(CHANNEL_SUMS * i) * n_channel + role.owned];
                    du[(scan.first_row + first + i) * d_inner + role.own] =
                        E::cast_from(dinput * delta + dout * self.skip);
                    let at = position(first + i, scan.length, scan.direction);
                    if at >= scan.out_start && at < scan.out_start + scan.n_out {
                        let row = scan.sequence * scan.n_out + at - scan.out_start;
                        y[row * d_inner + role.own] = E::cast_from(output);
                    }
                }
            }
        }
    }

    /// Adds up the parts of a channel's sums over steps and writes them, the unit that owns the first part for all.
    pub(super) fn store(
        &mut self,
        exchange: &mut Exchange,
        partial_params: &mut Tensor<f32>,
        row: usize,
        role: &Role,
        #[comptime] places: Places,
    ) {
        let rank = comptime!(places.sizes.dt_rank);
        let n_channel = comptime!(places.channels);
        let n_sum = comptime!(places.sizes.dt_rank + 2);
        if comptime!(places.parts > 1) {
            if role.part > 0 {
                #[unroll]
                for j in 0..n_sum {
                    let at = (role.part - 1) * n_sum + j;
                    exchange.channel_sums[at * n_channel + role.owned] = self.sums[j];
                }
            }
            sync_cube();
            #[unroll]
            for other in 1..comptime!(places.parts) {
                #[unroll]
                for j in 0..n_sum {
                    let at = (other - 1) * n_sum + j;
                    self.sums[j] += exchange.channel_sums[at * n_channel + role.owned];
                }
            }
        }
        if role.active && role.part == 0 {
            let first = row * comptime!(scan_params_len(places.sizes));
            let bias_at = first + comptime!(places.sizes.d_inner * places.sizes.dt_rank);
            let skip_at = first
                + comptime!(
                    places.sizes.d_inner * (places.sizes.dt_rank + 1 + places.sizes.d_state)
                );
            #[unroll]
            for j in 0..rank {
                partial_params[first + role.own * rank + j] = self.sums[j];
            }
            partial_params[bias_at + role.own] = self.sums[rank];
            partial_params[skip_at + role.own] = self.sums[comptime!(places.sizes.dt_rank + 1)];
        }
    }
}

/// The projection to the step size of the channel that a unit owns.
#[cube]
fn own_weight(exchange: &mut Exchange, role: &Role, #[comptime] places: Places) -> Array<f32> {
    let rank = comptime!(places.sizes.dt_rank);
    let mut weight = Array::<f32>::new(rank);
    #[unroll]
    for j in 0..rank {
        weight[j] = exchange.weights[j * comptime!(places.draw_pitch()) + role.owned];
    }
    weight
}
