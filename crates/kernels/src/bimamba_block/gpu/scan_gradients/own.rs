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
use super::exchange::{Exchange, within};
use super::places::{CHANNEL_SUMS, Places, RUN, RUN_SCALARS, Role, STAGE, STAGE_SCALARS};
use super::scan_params_len;
use crate::native_math::ln_base;

/// A column's channels, their values at the steps of a run that the unit owns, and their sums over steps.
#[derive(CubeType)]
pub(super) struct OwnChannels<N: Size> {
    values: Array<Vector<f32, N>>,
    /// softplus of the raw step size, 0 without a channel; read under a mask only.
    wholes: Array<Vector<f32, N>>,
    /// Gradients of dt_weight, those of the unit's group of step-size inputs at every step.
    dweights: Array<Vector<f32, N>>,
    dbias: Vector<f32, N>,
    dskip: Vector<f32, N>,
}

#[cube]
impl<N: Size> OwnChannels<N> {
    /// Reads the channels' parameters and shares them.
    pub(super) fn new<S: Size>(
        params: &Tensor<f32>,
        exchange: &mut Exchange<N, S>,
        scan: &Scan,
        role: &Role,
        #[comptime] places: Places,
    ) -> OwnChannels<N> {
        let rank = comptime!(places.sizes.dt_rank);
        let start = scan.direction * comptime!(direction_stride(places.sizes));
        let weight_at = start + comptime!(places.sizes.layout().directions[0].dt_weight.start);
        let bias_at = start + comptime!(places.sizes.layout().directions[0].dt_bias.start);
        let skip_at = start + comptime!(places.sizes.layout().directions[0].d.start);
        let per_column = comptime!(places.per_column);
        let pitch = comptime!(places.draw_pitch());
        // Every group writes the same; each reads what it wrote before the first barrier.
        #[unroll]
        for j in 0..rank + 2 {
            let mut values = Vector::<f32, N>::zeroed();
            #[unroll]
            for c in 0..per_column {
                let channel = role.own * per_column + c;
                let at = if comptime!(j < places.sizes.dt_rank) {
                    weight_at + channel * rank + j
                } else if comptime!(j == places.sizes.dt_rank) {
                    bias_at + channel
                } else {
                    skip_at + channel
                };
                values.insert(c, params[at]);
            }
            exchange.weights[j * pitch + role.column] = values;
        }
        let n_weight = comptime!(places.n_weight());
        let mut dweights = Array::<Vector<f32, N>>::new(n_weight);
        #[unroll]
        for k in 0..n_weight {
            dweights[k] = Vector::<f32, N>::zeroed();
        }
        OwnChannels::<N> {
            values: Array::<Vector<f32, N>>::new(comptime!(places.n_own(RUN))),
            wholes: Array::<Vector<f32, N>>::new(comptime!(places.n_own(RUN))),
            dweights,
            dbias: Vector::<f32, N>::zeroed(),
            dskip: Vector::<f32, N>::zeroed(),
        }
    }

    /// Shares step sizes and inputs of the stage that was loaded.
    pub(super) fn share_stage<E: Float, S: Size>(
        &self,
        exchange: &mut Exchange<N, S>,
        stage: &Ahead<E, N, S>,
        role: &Role,
        #[comptime] places: Places,
    ) {
        let raws = raw_step_sizes::<N, S>(exchange, role, 0usize, STAGE, places);
        #[unroll]
        for k in 0..comptime!(places.n_own(STAGE)) {
            let i = k * comptime!(places.n_group()) + role.group;
            if comptime!(places.own_all(STAGE)) || i < STAGE {
                let present = select(role.active, stage.presents[k], 0.0f32);
                let mut deltas = Vector::<f32, N>::zeroed();
                #[unroll]
                for c in 0..comptime!(places.per_column) {
                    deltas.insert(c, softplus(raws[k].extract(c)) * present);
                }
                let at = i * comptime!(places.scalar_pitch(STAGE_SCALARS)) + role.column;
                let at = within(at, comptime!(places.scalars()));
                exchange.scalars[at] = deltas;
                exchange.scalars[at + comptime!(places.n_column())] =
                    deltas * Vector::<f32, N>::cast_from(stage.values[k]);
            }
        }
    }

    /// Takes over the run that was loaded, the steps from `first` on among those whose rows are shared, and shares its scalars.
    pub(super) fn share_run<E: Float, S: Size>(
        &mut self,
        exchange: &mut Exchange<N, S>,
        run: &Ahead<E, N, S>,
        role: &Role,
        first: usize,
        #[comptime] places: Places,
    ) {
        let n_column = comptime!(places.n_column());
        let raws = raw_step_sizes::<N, S>(exchange, role, first, RUN, places);
        #[unroll]
        for k in 0..comptime!(places.n_own(RUN)) {
            let i = k * comptime!(places.n_group()) + role.group;
            if comptime!(places.own_all(RUN)) || i < RUN {
                let present = select(role.active, run.presents[k], 0.0f32);
                let mut deltas = Vector::<f32, N>::zeroed();
                let mut slopes = Vector::<f32, N>::zeroed();
                let mut wholes = Vector::<f32, N>::zeroed();
                #[unroll]
                for c in 0..comptime!(places.per_column) {
                    let (whole, slope) = softplus_and_slope(raws[k].extract(c));
                    deltas.insert(c, whole * present);
                    slopes.insert(c, slope * present);
                    wholes.insert(c, select(role.active, whole, 0.0f32));
                }
                self.values[k] = Vector::<f32, N>::cast_from(run.values[k]);
                if comptime!(places.masked) {
                    self.wholes[k] = wholes;
                }
                let at = i * comptime!(places.scalar_pitch(RUN_SCALARS)) + role.column;
                let at = within(at, comptime!(places.scalars()));
                exchange.scalars[at] = deltas;
                exchange.scalars[at + n_column] = deltas * self.values[k];
                exchange.scalars[at + 2 * n_column] = Vector::<f32, N>::cast_from(run.douts[k]);
                exchange.scalars[at + 3 * n_column] = slopes;
            }
        }
    }

    /// Adds up what the groups of states left of a run's `n_step` steps from `first` on; writes outputs and gradients of inputs,
    /// and shares those of raw step sizes and of the mask.
    pub(super) fn gradients<E: Float, S: Size>(
        &mut self,
        exchange: &mut Exchange<N, S>,
        y: &mut Tensor<Vector<E, N>>,
        du: &mut Tensor<Vector<E, N>>,
        scan: &Scan,
        role: &Role,
        first: usize,
        n_step: usize,
        #[comptime] places: Places,
    ) {
        let n_column = comptime!(places.n_column_of_all());
        #[unroll]
        for k in 0..comptime!(places.n_own(RUN)) {
            let i = k * comptime!(places.n_group()) + role.group;
            if comptime!(places.own_all(RUN)) || i < RUN {
                let (outputs, dvalues) = self.gradients_of_step::<S>(exchange, role, i, k, places);
                if role.active && i < n_step {
                    du[(scan.first_row + first + i) * n_column + role.own] =
                        Vector::<E, N>::cast_from(dvalues);
                    let at = position(first + i, scan.length, scan.direction);
                    if is_output(at, scan.out_start, scan.n_out) {
                        let row = output_row(at, scan.sequence, scan.out_start, scan.n_out);
                        y[row * n_column + role.own] = Vector::<E, N>::cast_from(outputs);
                    }
                }
            }
        }
    }

    /// Outputs and gradients of u at step `i`, the `k`-th that the unit owns.
    fn gradients_of_step<S: Size>(
        &mut self,
        exchange: &mut Exchange<N, S>,
        role: &Role,
        i: usize,
        #[comptime] k: usize,
        #[comptime] places: Places,
    ) -> (Vector<f32, N>, Vector<f32, N>) {
        let n_column = comptime!(places.n_column());
        let sums_at = i * comptime!(CHANNEL_SUMS * places.units()) + role.column;
        let sums_at = within(sums_at, comptime!(places.channel_sums()));
        let mut sums = Array::<Vector<f32, N>>::new(CHANNEL_SUMS);
        #[unroll]
        for sum in 0..CHANNEL_SUMS {
            let mut total = exchange.channel_sums[sums_at + comptime!(sum * places.units())];
            #[unroll]
            for group in 1..comptime!(places.n_group()) {
                let at = comptime!(sum * places.units() + group * places.n_column());
                total += exchange.channel_sums[sums_at + at];
            }
            sums[sum] = total;
        }
        let scalars_at = i * comptime!(places.scalar_pitch(RUN_SCALARS)) + role.column;
        let scalars_at = within(scalars_at, comptime!(places.scalars()));
        let delta = exchange.scalars[scalars_at];
        let dout = exchange.scalars[scalars_at + 2 * n_column];
        let slope = exchange.scalars[scalars_at + 3 * n_column];
        let skip_at = comptime!((places.sizes.dt_rank + 1) * places.draw_pitch());
        let skip = exchange.weights[role.column + skip_at];
        let value = self.values[k];
        let dinput = sums[1];
        let dstep = sums[2] * Vector::<f32, N>::new(ln_base()) + dinput * value;
        let draw = dstep * slope;
        exchange.draws[i * comptime!(places.draw_pitch()) + role.column] = draw;
        if comptime!(places.masked) {
            // Nobody else reads this place.
            exchange.channel_sums[sums_at] = dstep * self.wholes[k];
        }
        self.dbias += draw;
        self.dskip += dout * value;
        (skip * value + sums[0], dinput * delta + dout * skip)
    }

    /// Adds to the gradients of dt_weight those of a run, the steps from `first` on among those whose rows are shared.
    pub(super) fn add_dweights<S: Size>(
        &mut self,
        exchange: &Exchange<N, S>,
        role: &Role,
        first: usize,
        #[comptime] places: Places,
    ) {
        let rank = comptime!(places.sizes.dt_rank);
        let n_weight = comptime!(places.n_weight());
        let inputs_at = within(
            first * rank + role.group * n_weight,
            comptime!(places.row_steps() * places.sizes.dt_rank),
        );
        #[unroll]
        for i in 0..RUN {
            let draw = exchange.draws[i * comptime!(places.draw_pitch()) + role.column];
            #[unroll]
            for k in 0..n_weight {
                let j = role.group * n_weight + k;
                if comptime!(places.sizes.dt_rank == places.n_weight() * places.n_group())
                    || j < rank
                {
                    let input = exchange.inputs[inputs_at + (i * rank + k)];
                    self.dweights[k] += draw * Vector::<f32, N>::new(input);
                }
            }
        }
    }

    /// Writes the channels' sums over steps to row `row`; the first group adds up those of which each has a part.
    pub(super) fn store<S: Size>(
        &self,
        exchange: &mut Exchange<N, S>,
        partial_params: &mut Tensor<f32>,
        row: usize,
        role: &Role,
        #[comptime] places: Places,
    ) {
        let rank = comptime!(places.sizes.dt_rank);
        let n_weight = comptime!(places.n_weight());
        let first = row * comptime!(scan_params_len(places.sizes));
        let bias_at = first + comptime!(places.sizes.d_inner * places.sizes.dt_rank);
        let skip_at = first
            + comptime!(places.sizes.d_inner * (places.sizes.dt_rank + 1 + places.sizes.d_state));
        exchange.channel_sums[role.unit] = self.dbias;
        exchange.channel_sums[role.unit + comptime!(places.units())] = self.dskip;
        sync_cube();
        if role.active {
            #[unroll]
            for c in 0..comptime!(places.per_column) {
                let channel = role.own * comptime!(places.per_column) + c;
                #[unroll]
                for k in 0..n_weight {
                    let j = role.group * n_weight + k;
                    if j < rank {
                        partial_params[first + channel * rank + j] = self.dweights[k].extract(c);
                    }
                }
                if role.group == 0 {
                    let mut dbias = 0.0f32;
                    let mut dskip = 0.0f32;
                    #[unroll]
                    for group in 0..comptime!(places.n_group()) {
                        let at = group * comptime!(places.n_column()) + role.column;
                        dbias += exchange.channel_sums[at].extract(c);
                        dskip += exchange.channel_sums[at + comptime!(places.units())].extract(c);
                    }
                    partial_params[bias_at + channel] = dbias;
                    partial_params[skip_at + channel] = dskip;
                }
            }
        }
    }
}

/// Step sizes before softplus at the steps that the unit owns, of `steps` from `first` on among those whose rows are shared.
#[cube]
fn raw_step_sizes<N: Size, S: Size>(
    exchange: &mut Exchange<N, S>,
    role: &Role,
    first: usize,
    #[comptime] steps: usize,
    #[comptime] places: Places,
) -> Array<Vector<f32, N>> {
    let n_own = comptime!(places.n_own(steps));
    let rank = comptime!(places.sizes.dt_rank);
    let pitch = comptime!(places.draw_pitch());
    let bias =
        exchange.weights[role.column + comptime!(places.sizes.dt_rank * places.draw_pitch())];
    let inputs_at = within(
        (first + role.group) * rank,
        comptime!(places.row_steps() * places.sizes.dt_rank),
    );
    let last_at = (first + steps - 1) * rank;
    let mut raws = Array::<Vector<f32, N>>::new(n_own);
    #[unroll]
    for k in 0..n_own {
        raws[k] = bias;
    }
    #[unroll]
    for j in 0..rank {
        let weight = exchange.weights[role.column + j * pitch];
        #[unroll]
        for k in 0..n_own {
            let mut at = inputs_at + comptime!(k * places.n_group() * places.sizes.dt_rank);
            if comptime!(!places.own_all(steps)) {
                // A step behind the last that a unit owns reads the last again.
                at = clamp_max::<usize>(at, last_at);
            }
            let input = exchange.inputs[at + j];
            raws[k] += weight * Vector::<f32, N>::new(input);
        }
    }
    raws
}
