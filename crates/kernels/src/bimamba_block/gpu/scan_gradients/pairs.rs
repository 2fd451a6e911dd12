//! The pairs of channel and state that a unit walks.

#![allow(
    clippy::too_many_arguments,
    reason = "parts of a kernel take its tensors one by one"
)]

use cubecl::prelude::*;

use super::super::channel::rate;
use super::exchange::{Exchange, within};
use super::places::{CHANNEL_SUMS, Places, RUN, RUN_SCALARS, Role, STAGE, STAGE_SCALARS};
use crate::native_math::{ln_base, power};

/// Rates, states, adjoints and sums over steps of a unit's pairs: the group's states of each channel of the column.
#[derive(CubeType)]
pub(super) struct Pairs<S: Size> {
    rates: Array<Vector<f32, S>>,
    h: Array<Vector<f32, S>>,
    g: Array<Vector<f32, S>>,
    da: Array<Vector<f32, S>>,
    /// States before each run of a chunk.
    starts: Array<Vector<f32, S>>,
}

#[cube]
impl<S: Size> Pairs<S> {
    /// Reads the rates from the direction's `a_log`, which begins at `a_log_at`.
    pub(super) fn new(
        params: &Tensor<f32>,
        a_log_at: usize,
        role: &Role,
        #[comptime] places: Places,
        #[comptime] chunk_len: usize,
    ) -> Pairs<S> {
        let per_column = comptime!(places.per_column);
        let per_group = comptime!(places.per_group);
        let mut rates = Array::<Vector<f32, S>>::new(per_column);
        let mut da = Array::<Vector<f32, S>>::new(per_column);
        #[unroll]
        for c in 0..per_column {
            let channel = role.own * per_column + c;
            let at = a_log_at + channel * comptime!(places.sizes.d_state) + role.group * per_group;
            let mut values = Vector::<f32, S>::zeroed();
            #[unroll]
            for j in 0..per_group {
                values.insert(j, rate(params[at + j]));
            }
            rates[c] = values;
            da[c] = Vector::<f32, S>::zeroed();
        }
        let n_start = comptime!(chunk_len.div_ceil(RUN) * places.per_column);
        Pairs::<S> {
            rates,
            h: Array::<Vector<f32, S>>::new(per_column),
            g: Array::<Vector<f32, S>>::new(per_column),
            da,
            starts: Array::<Vector<f32, S>>::new(n_start),
        }
    }

    /// Begins a chunk, whose values are in `states` and `adjoints` from `at` on.
    pub(super) fn load(
        &mut self,
        states: &Tensor<f32>,
        adjoints: &Tensor<f32>,
        at: usize,
        role: &Role,
        #[comptime] places: Places,
    ) {
        let per_column = comptime!(places.per_column);
        let per_group = comptime!(places.per_group);
        #[unroll]
        for c in 0..per_column {
            let mut h = Vector::<f32, S>::zeroed();
            let mut g = Vector::<f32, S>::zeroed();
            #[unroll]
            for j in 0..per_group {
                let n = role.group * per_group + j;
                let place = at + n * comptime!(places.sizes.d_inner) + role.own * per_column + c;
                h.insert(j, states[place]);
                g.insert(j, adjoints[place]);
            }
            self.h[c] = h;
            self.g[c] = g;
        }
    }

    /// Walks the steps of a stage and keeps the states before each run.
    ///
    /// Steps that do not exist have a step size and an input of 0 and change nothing, here as in a run.
    pub(super) fn walk_stage<N: Size>(
        &mut self,
        exchange: &mut Exchange<N, S>,
        role: &Role,
        stage: usize,
        #[comptime] places: Places,
        #[comptime] chunk_len: usize,
    ) {
        let per_column = comptime!(places.per_column);
        #[unroll]
        for i in 0..STAGE {
            if comptime!(i % RUN == 0) {
                let run = (stage * STAGE + i) / RUN % comptime!(chunk_len / RUN);
                #[unroll]
                for c in 0..per_column {
                    self.starts[run * per_column + c] = self.h[c];
                }
            }
            let at = i * comptime!(places.scalar_pitch(STAGE_SCALARS)) + role.column;
            self.step::<N>(exchange, role, 0usize, i, at, places);
        }
    }

    /// Goes back to the states before a run.
    pub(super) fn rewind(
        &mut self,
        run: usize,
        #[comptime] places: Places,
        #[comptime] chunk_len: usize,
    ) {
        let per_column = comptime!(places.per_column);
        #[unroll]
        for c in 0..per_column {
            self.h[c] = self.starts[run % comptime!(chunk_len / RUN) * per_column + c];
        }
    }

    /// Walks the steps of a run, the steps from `first` on among those whose rows are shared, and leaves the states before each.
    pub(super) fn walk_run<N: Size>(
        &mut self,
        exchange: &mut Exchange<N, S>,
        role: &Role,
        first: usize,
        #[comptime] places: Places,
    ) {
        #[unroll]
        for i in 0..RUN {
            #[unroll]
            for c in 0..comptime!(places.per_column) {
                exchange.before[place_before(i, c, role.unit, places)] = self.h[c];
            }
            let at = i * comptime!(places.scalar_pitch(RUN_SCALARS)) + role.column;
            self.step::<N>(exchange, role, first, i, at, places);
        }
    }

    /// h <- exp(delta A) h + input B at step `i` from `first` on of those whose rows are shared, whose scalars begin at `at`.
    fn step<N: Size>(
        &mut self,
        exchange: &mut Exchange<N, S>,
        role: &Role,
        first: usize,
        #[comptime] i: usize,
        at: usize,
        #[comptime] places: Places,
    ) {
        let deltas = exchange.scalars[at];
        let inputs = exchange.scalars[at + comptime!(places.n_column())];
        let row = comptime!(i * 2 * places.n_group());
        let b = exchange.states[states_place(role, first, places) + row];
        #[unroll]
        for c in 0..comptime!(places.per_column) {
            let delta = deltas.extract(c);
            let input = inputs.extract(c);
            let rates = self.rates[c];
            let mut h = self.h[c];
            // Pair by pair: operations on whole vectors hold more registers.
            #[unroll]
            for j in 0..comptime!(places.per_group) {
                let decayed = power(delta * rates.extract(j)) * h.extract(j);
                h.insert(j, decayed + input * b.extract(j));
            }
            self.h[c] = h;
        }
    }

    /// Walks the steps of a run from its last to its first and leaves the unit's share of every sum over states or channels.
    pub(super) fn walk_back<N: Size>(
        &mut self,
        exchange: &mut Exchange<N, S>,
        role: &Role,
        first: usize,
        #[comptime] places: Places,
    ) {
        let n_column = comptime!(places.n_column());
        #[unroll]
        for back in 0..RUN {
            let i = comptime!(RUN - 1 - back);
            let at = i * comptime!(places.scalar_pitch(RUN_SCALARS)) + role.column;
            let deltas = exchange.scalars[at];
            let inputs = exchange.scalars[at + n_column];
            let douts = exchange.scalars[at + 2 * n_column];
            let row = states_place(role, first, places);
            let b = exchange.states[row + comptime!(i * 2 * places.n_group())];
            let c_row = exchange.states[row + comptime!((i * 2 + 1) * places.n_group())];
            let mut db = Vector::<f32, S>::zeroed();
            let mut dc = Vector::<f32, S>::zeroed();
            let mut outputs = Vector::<f32, N>::zeroed();
            let mut dinputs = Vector::<f32, N>::zeroed();
            let mut dexponents = Vector::<f32, N>::zeroed();
            #[unroll]
            for c in 0..comptime!(places.per_column) {
                let delta = deltas.extract(c);
                let input = inputs.extract(c);
                let dout = douts.extract(c);
                let before = exchange.before[place_before(i, c, role.unit, places)];
                let rates = self.rates[c];
                let h = self.h[c];
                let mut g = self.g[c];
                let mut da = self.da[c];
                let mut output = 0.0f32;
                let mut dinput = 0.0f32;
                let mut dexponent = 0.0f32;
                #[unroll]
                for j in 0..comptime!(places.per_group) {
                    let q = g.extract(j) + dout * c_row.extract(j);
                    output += h.extract(j) * c_row.extract(j);
                    db.insert(j, db.extract(j) + q * input);
                    dc.insert(j, dc.extract(j) + h.extract(j) * dout);
                    dinput += q * b.extract(j);
                    let carried = q * power(delta * rates.extract(j));
                    let of_pair = carried * before.extract(j);
                    dexponent += of_pair * rates.extract(j);
                    da.insert(j, da.extract(j) + of_pair * delta);
                    g.insert(j, carried);
                }
                self.g[c] = g;
                self.da[c] = da;
                self.h[c] = before;
                outputs.insert(c, output);
                dinputs.insert(c, dinput);
                dexponents.insert(c, dexponent);
            }
            let at = i * comptime!(CHANNEL_SUMS * places.units()) + role.unit;
            exchange.channel_sums[at] = outputs;
            exchange.channel_sums[at + comptime!(places.units())] = dinputs;
            exchange.channel_sums[at + comptime!(2 * places.units())] = dexponents;
            let at = (i * comptime!(2 * places.n_group()) + role.group)
                * comptime!(places.state_pitch())
                + role.column;
            exchange.state_sums[at] = db;
            exchange.state_sums[at + comptime!(places.n_group() * places.state_pitch())] = dc;
        }
    }

    /// Writes the gradients of a_log, which begin at `at`.
    pub(super) fn store(
        &self,
        partial_params: &mut Tensor<f32>,
        at: usize,
        role: &Role,
        #[comptime] places: Places,
    ) {
        let per_column = comptime!(places.per_column);
        let per_group = comptime!(places.per_group);
        if role.active {
            #[unroll]
            for c in 0..per_column {
                let channel = role.own * per_column + c;
                let at = at + channel * comptime!(places.sizes.d_state) + role.group * per_group;
                let da = self.da[c] * self.rates[c];
                #[unroll]
                for j in 0..per_group {
                    partial_params[at + j] = da.extract(j) * ln_base();
                }
            }
        }
    }
}

/// Where the unit's B of a step is shared.
#[cube]
fn states_place(role: &Role, step: usize, #[comptime] places: Places) -> usize {
    let at = step * comptime!(2 * places.n_group()) + role.group;
    within(at, comptime!(places.row_steps() * 2 * places.n_group()))
}

/// Where a unit keeps the states of channel `c` of its column before a step of a run.
#[cube]
fn place_before(
    #[comptime] step: usize,
    #[comptime] c: usize,
    unit: usize,
    #[comptime] places: Places,
) -> usize {
    unit + comptime!((step * places.per_column + c) * places.units())
}
