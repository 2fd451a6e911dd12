//! The channels that a unit owns: step sizes, and the gradients that are sums over states.

#![allow(
    clippy::too_many_arguments,
    reason = "parts of a kernel take its tensors one by one"
)]

use cubecl::prelude::*;

use super::super::channel::{
    direction_stride, is_output, output_row, position, softplus, softplus_and_slope,
};
use super::ahead::{Ahead, Scan};
use super::places::{
    CHANNEL_SUMS, Exchange, Places, RUN, RUN_SCALARS, Role, STAGE, STAGE_SCALARS, within,
};
use super::scan_params_len;
use crate::native_math::ln_base;

/// A column's channels, their values at the steps of a run that the unit owns, and their sums over steps.
#[derive(CubeType)]
pub(super) struct OwnChannels {
    values: Array<f32>,
    /// softplus of the raw step size, 0 without a channel; read under a mask only.
    wholes: Array<f32>,
    /// Gradients of dt_weight, those of the unit's group of step-size inputs at every step.
    dweights: Array<f32>,
    dbias: Array<f32>,
    dskip: Array<f32>,
}

#[cube]
impl OwnChannels {
    /// Reads the channels' parameters and shares their projection to step sizes.
    pub(super) fn new(
        params: &Tensor<f32>,
        exchange: &mut Exchange,
        scan: &Scan,
        role: &Role,
        #[comptime] places: Places,
    ) -> OwnChannels {
        let rank = comptime!(places.sizes.dt_rank);
        let start = scan.direction * comptime!(direction_stride(places.sizes));
        let weight_at = start + comptime!(places.sizes.layout().directions[0].dt_weight.start);
        let bias_at = start + comptime!(places.sizes.layout().directions[0].dt_bias.start);
        let skip_at = start + comptime!(places.sizes.layout().directions[0].d.start);
        let per_column = comptime!(places.per_column);
        let n_value = comptime!(places.n_own(RUN) * places.per_column);
        let n_dweight = comptime!(places.n_weight() * places.per_column);
        let mut dbias = Array::<f32>::new(per_column);
        let mut dskip = Array::<f32>::new(per_column);
        let mut dweights = Array::<f32>::new(n_dweight);
        #[unroll]
        for c in 0..per_column {
            dbias[c] = 0.0f32;
            dskip[c] = 0.0f32;
            // Every group writes the same; each reads what it wrote before the first barrier.
            let channel = role.own + c;
            let at = role.first_channel + c;
            let pitch = comptime!(places.draw_pitch());
            #[unroll]
            for j in 0..rank {
                exchange.weights[at + j * pitch] = params[weight_at + channel * rank + j];
            }
            exchange.weights[at + rank * pitch] = params[bias_at + channel];
            exchange.weights[at + (rank + 1) * pitch] = params[skip_at + channel];
        }
        #[unroll]
        for i in 0..n_dweight {
            dweights[i] = 0.0f32;
        }
        OwnChannels {
            values: Array::<f32>::new(n_value),
            wholes: Array::<f32>::new(n_value),
            dweights,
            dbias,
            dskip,
        }
    }

    /// Shares step sizes and inputs of the stage that was loaded.
    pub(super) fn share_stage<E: Float, N: Size>(
        &self,
        exchange: &mut Exchange,
        stage: &Ahead<E, N>,
        role: &Role,
        #[comptime] places: Places,
    ) {
        let n_channel = comptime!(places.channels);
        let raws = raw_step_sizes(exchange, role, 0usize, STAGE, places);
        #[unroll]
        for k in 0..comptime!(places.n_own(STAGE)) {
            let i = k * comptime!(places.n_group()) + role.group;
            if comptime!(STAGE.is_multiple_of(places.n_group())) || i < STAGE {
                let at = i * comptime!(places.scalar_pitch(STAGE_SCALARS)) + role.first_channel;
                let at = within(at, comptime!(places.scalars()));
                let values = Vector::<f32, N>::cast_from(stage.values[k]);
                #[unroll]
                for c in 0..comptime!(places.per_column) {
                    let own = comptime!(k * places.per_column + c);
                    let delta = softplus(raws[own]) * stage.presents[k];
                    exchange.scalars[at + c] = delta;
                    exchange.scalars[at + n_channel + c] = delta * values.extract(c);
                }
            }
        }
    }

    /// Takes over the run that was loaded, whose rows begin at `rows_at`, and shares its scalars.
    pub(super) fn share_run<E: Float, N: Size>(
        &mut self,
        exchange: &mut Exchange,
        run: &Ahead<E, N>,
        role: &Role,
        rows_at: usize,
        #[comptime] places: Places,
    ) {
        let n_channel = comptime!(places.channels);
        let raws = raw_step_sizes(exchange, role, rows_at, RUN, places);
        #[unroll]
        for k in 0..comptime!(places.n_own(RUN)) {
            let i = k * comptime!(places.n_group()) + role.group;
            if comptime!(RUN.is_multiple_of(places.n_group())) || i < RUN {
                let present = run.presents[k];
                let values = Vector::<f32, N>::cast_from(run.values[k]);
                let douts = Vector::<f32, N>::cast_from(run.douts[k]);
                let at = i * comptime!(places.scalar_pitch(RUN_SCALARS)) + role.first_channel;
                let at = within(at, comptime!(places.scalars()));
                let mut deltas = Array::<f32>::new(comptime!(places.per_column));
                let mut slopes = Array::<f32>::new(comptime!(places.per_column));
                #[unroll]
                for c in 0..comptime!(places.per_column) {
                    let own = comptime!(k * places.per_column + c);
                    let (whole, slope) = softplus_and_slope(raws[own]);
                    deltas[c] = whole * present;
                    slopes[c] = slope * present;
                    self.values[own] = values.extract(c);
                    if comptime!(places.masked) {
                        self.wholes[own] = select(role.active, whole, 0.0f32);
                    }
                }
                #[unroll]
                for c in 0..comptime!(places.per_column) {
                    exchange.scalars[at + c] = deltas[c];
                    exchange.scalars[at + n_channel + c] = deltas[c] * values.extract(c);
                    exchange.scalars[at + 2 * n_channel + c] = douts.extract(c);
                    exchange.scalars[at + 3 * n_channel + c] = slopes[c];
                }
            }
        }
    }

    /// Adds up what the groups of states left of a run's `n_step` steps from `first` on; writes outputs and gradients of inputs,
    /// and shares those of raw step sizes and of the mask.
    pub(super) fn gradients<E: Float, N: Size>(
        &mut self,
        exchange: &mut Exchange,
        y: &mut Tensor<Vector<E, N>>,
        du: &mut Tensor<Vector<E, N>>,
        scan: &Scan,
        role: &Role,
        first: usize,
        n_step: usize,
        #[comptime] places: Places,
    ) {
        let per_row = comptime!(places.sizes.d_inner / places.per_column);
        let per_column = comptime!(places.per_column);
        #[unroll]
        for k in 0..comptime!(places.n_own(RUN)) {
            let i = k * comptime!(places.n_group()) + role.group;
            if comptime!(RUN.is_multiple_of(places.n_group())) || i < RUN {
                let (outputs, dvalues) = self.gradients_of_step::<N>(exchange, role, i, k, places);
                if role.active && i < n_step {
                    let column = role.own / per_column;
                    du[(scan.first_row + first + i) * per_row + column] =
                        Vector::<E, N>::cast_from(dvalues);
                    let at = position(first + i, scan.length, scan.direction);
                    if is_output(at, scan.out_start, scan.n_out) {
                        let row = output_row(at, scan.sequence, scan.out_start, scan.n_out);
                        y[row * per_row + column] = Vector::<E, N>::cast_from(outputs);
                    }
                }
            }
        }
    }

    /// Outputs and gradients of u at step `i`, the `k`-th that the unit owns.
    fn gradients_of_step<N: Size>(
        &mut self,
        exchange: &mut Exchange,
        role: &Role,
        i: usize,
        #[comptime] k: usize,
        #[comptime] places: Places,
    ) -> (Vector<f32, N>, Vector<f32, N>) {
        let n_group = comptime!(places.n_group());
        let per_column = comptime!(places.per_column);
        let mut sums = Array::<f32>::new(comptime!(CHANNEL_SUMS * places.per_column));
        let sums_at = i * comptime!(places.sum_pitch()) + role.first_channel;
        let sums_at = within(sums_at, comptime!(places.channel_sums()));
        #[unroll]
        for sum in 0..CHANNEL_SUMS {
            #[unroll]
            for group in 0..n_group {
                let row = comptime!((sum * places.n_group() + group) * places.channels);
                #[unroll]
                for c in 0..per_column {
                    let part = exchange.channel_sums[sums_at + comptime!(row + c)];
                    let place = comptime!(sum * places.per_column + c);
                    sums[place] = if comptime!(group == 0) {
                        part
                    } else {
                        sums[place] + part
                    };
                }
            }
        }
        let mut outputs = Vector::<f32, N>::zeroed();
        let mut dvalues = Vector::<f32, N>::zeroed();
        let at = i * comptime!(places.draw_pitch()) + role.first_channel;
        let scalars_at = i * comptime!(places.scalar_pitch(RUN_SCALARS)) + role.first_channel;
        let scalars_at = within(scalars_at, comptime!(places.scalars()));
        let mut scalars = Array::<f32>::new(comptime!(RUN_SCALARS * places.per_column));
        #[unroll]
        for scalar in 0..RUN_SCALARS {
            #[unroll]
            for c in 0..per_column {
                scalars[comptime!(scalar * places.per_column + c)] =
                    exchange.scalars[scalars_at + comptime!(scalar * places.channels + c)];
            }
        }
        #[unroll]
        for c in 0..per_column {
            let own = comptime!(k * places.per_column + c);
            let value = self.values[own];
            let delta = scalars[c];
            let dout = scalars[comptime!(2 * places.per_column + c)];
            let slope = scalars[comptime!(3 * places.per_column + c)];
            let dinput = sums[comptime!(places.per_column + c)];
            let dexponents = sums[comptime!(2 * places.per_column + c)];
            let skip_at = comptime!((places.sizes.dt_rank + 1) * places.draw_pitch() + c);
            let skip = exchange.weights[role.first_channel + skip_at];
            let dstep = dexponents * ln_base() + dinput * value;
            let draw = dstep * slope;
            exchange.draws[at + c] = draw;
            if comptime!(places.masked) {
                // Nobody else reads this place.
                exchange.channel_sums[sums_at + c] = dstep * self.wholes[own];
            }
            self.dbias[c] += draw;
            self.dskip[c] += dout * value;
            outputs.insert(c, skip * value + sums[c]);
            dvalues.insert(c, dinput * delta + dout * skip);
        }
        (outputs, dvalues)
    }

    /// Adds to the gradients of dt_weight those of a run, whose rows begin at `rows_at`.
    pub(super) fn add_dweights(
        &mut self,
        exchange: &Exchange,
        role: &Role,
        rows_at: usize,
        #[comptime] places: Places,
    ) {
        let width = comptime!(places.sizes.d_x_proj());
        let pitch = comptime!(places.draw_pitch());
        let rank = comptime!(places.sizes.dt_rank);
        let n_weight = comptime!(places.n_weight());
        #[unroll]
        for i in 0..RUN {
            #[unroll]
            for k in 0..n_weight {
                let j = role.group * n_weight + k;
                if comptime!(places.sizes.dt_rank == places.n_weight() * places.n_group())
                    || j < rank
                {
                    let row = exchange.rows[rows_at + i * width + j];
                    #[unroll]
                    for c in 0..comptime!(places.per_column) {
                        self.dweights[comptime!(k * places.per_column + c)] +=
                            exchange.draws[i * pitch + role.first_channel + c] * row;
                    }
                }
            }
        }
    }

    /// Writes the channels' sums over steps to row `row`; the first group adds up those of which each has a part.
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
        let n_weight = comptime!(places.n_weight());
        let first = row * comptime!(scan_params_len(places.sizes));
        let bias_at = first + comptime!(places.sizes.d_inner * places.sizes.dt_rank);
        let skip_at = first
            + comptime!(places.sizes.d_inner * (places.sizes.dt_rank + 1 + places.sizes.d_state));
        #[unroll]
        for c in 0..comptime!(places.per_column) {
            let at = (2 * role.group) * n_channel + role.first_channel + c;
            exchange.channel_sums[at] = self.dbias[c];
            exchange.channel_sums[at + n_channel] = self.dskip[c];
        }
        sync_cube();
        #[unroll]
        for c in 0..comptime!(places.per_column) {
            if role.active {
                #[unroll]
                for k in 0..n_weight {
                    let j = role.group * n_weight + k;
                    if j < rank {
                        partial_params[first + (role.own + c) * rank + j] =
                            self.dweights[comptime!(k * places.per_column + c)];
                    }
                }
                if role.group == 0 {
                    let mut dbias = 0.0f32;
                    let mut dskip = 0.0f32;
                    #[unroll]
                    for group in 0..comptime!(places.n_group()) {
                        let at = (2 * group) * n_channel + role.first_channel + c;
                        dbias += exchange.channel_sums[at];
                        dskip += exchange.channel_sums[at + n_channel];
                    }
                    partial_params[bias_at + role.own + c] = dbias;
                    partial_params[skip_at + role.own + c] = dskip;
                }
            }
        }
    }
}

/// Step sizes before softplus at the steps that the unit owns, of each step, then of each channel; the rows begin at
/// `rows_at`.
#[cube]
fn raw_step_sizes(
    exchange: &mut Exchange,
    role: &Role,
    rows_at: usize,
    #[comptime] steps: usize,
    #[comptime] places: Places,
) -> Array<f32> {
    let n_own = comptime!(places.n_own(steps));
    let per_column = comptime!(places.per_column);
    let mut raws = Array::<f32>::new(comptime!(places.n_own(steps) * places.per_column));
    let bias_at = role.first_channel + comptime!(places.sizes.dt_rank * places.draw_pitch());
    #[unroll]
    for c in 0..per_column {
        let bias = exchange.weights[bias_at + c];
        #[unroll]
        for k in 0..n_own {
            raws[comptime!(k * places.per_column + c)] = bias;
        }
    }
    #[unroll]
    for j in 0..comptime!(places.sizes.dt_rank) {
        #[unroll]
        for c in 0..per_column {
            let at = j * comptime!(places.draw_pitch()) + role.first_channel + c;
            let weight = exchange.weights[at];
            #[unroll]
            for k in 0..n_own {
                // A step behind the last that a unit owns reads the last again.
                let i = clamp_max::<usize>(
                    k * comptime!(places.n_group()) + role.group,
                    comptime!(steps - 1),
                );
                let row = exchange.rows[rows_at + i * comptime!(places.sizes.d_x_proj()) + j];
                raws[comptime!(k * places.per_column + c)] += weight * row;
            }
        }
    }
    raws
}
