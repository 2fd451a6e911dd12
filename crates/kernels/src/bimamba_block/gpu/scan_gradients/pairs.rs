//! The pairs of channel and state that a unit walks.

#![allow(
    clippy::too_many_arguments,
    reason = "parts of a kernel take its tensors one by one"
)]

use cubecl::prelude::*;

use super::super::channel::rate;
use super::places::{
    CHANNEL_SUMS, Exchange, Places, RUN, RUN_SCALARS, Role, STAGE, STAGE_SCALARS, VECTOR,
};
use crate::native_math::{ln_base, power};

/// Rates, states, adjoints and sums over steps of a unit's pairs: `per_group` states of each of `per_column` channels.
#[derive(CubeType)]
pub(super) struct Pairs {
    rates: Array<f32>,
    h: Array<f32>,
    g: Array<f32>,
    da: Array<f32>,
    /// States before each run of a chunk.
    starts: Array<f32>,
}

#[cube]
impl Pairs {
    /// Reads the rates from the direction's `a_log`, which begins at `a_log_at`.
    pub(super) fn new(
        params: &Tensor<f32>,
        a_log_at: usize,
        role: &Role,
        #[comptime] places: Places,
        #[comptime] chunk_len: usize,
    ) -> Pairs {
        let n_pair = comptime!(places.n_pair());
        let mut rates = Array::<f32>::new(n_pair);
        let mut da = Array::<f32>::new(n_pair);
        #[unroll]
        for k in 0..comptime!(places.per_column) {
            let channel = role.own + k;
            #[unroll]
            for j in 0..comptime!(places.per_group) {
                let pair = comptime!(k * places.per_group + j);
                let n = role.first_state + j;
                rates[pair] =
                    rate(params[a_log_at + channel * comptime!(places.sizes.d_state) + n]);
                da[pair] = 0.0f32;
            }
        }
        Pairs {
            rates,
            h: Array::<f32>::new(n_pair),
            g: Array::<f32>::new(n_pair),
            da,
            starts: Array::<f32>::new(comptime!(chunk_len.div_ceil(RUN) * places.n_pair())),
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
        #[unroll]
        for k in 0..comptime!(places.per_column) {
            let channel = role.own + k;
            #[unroll]
            for j in 0..comptime!(places.per_group) {
                let pair = comptime!(k * places.per_group + j);
                let place = at + (role.first_state + j) * comptime!(places.sizes.d_inner) + channel;
                self.h[pair] = states[place];
                self.g[pair] = adjoints[place];
            }
        }
    }

    /// Walks the steps of a stage and keeps the states before each run.
    ///
    /// Steps that do not exist have a step size and an input of 0 and change nothing, here as in a run.
    pub(super) fn walk_stage(
        &mut self,
        exchange: &mut Exchange,
        role: &Role,
        stage: usize,
        #[comptime] places: Places,
        #[comptime] chunk_len: usize,
    ) {
        let n_pair = comptime!(places.n_pair());
        #[unroll]
        for i in 0..STAGE {
            if comptime!(i % RUN == 0) {
                let run = (stage * STAGE + i) / RUN % comptime!(chunk_len / RUN);
                #[unroll]
                for pair in 0..n_pair {
                    self.starts[run * n_pair + pair] = self.h[pair];
                }
            }
            self.step(exchange, role, 0usize, i, STAGE_SCALARS, places);
        }
    }

    /// Goes back to the states before a run.
    pub(super) fn rewind(
        &mut self,
        run: usize,
        #[comptime] places: Places,
        #[comptime] chunk_len: usize,
    ) {
        let n_pair = comptime!(places.n_pair());
        #[unroll]
        for pair in 0..n_pair {
            self.h[pair] = self.starts[run % comptime!(chunk_len / RUN) * n_pair + pair];
        }
    }

    /// Walks the steps of a run, whose rows begin at `rows_at`, and leaves the states before each.
    pub(super) fn walk_run(
        &mut self,
        exchange: &mut Exchange,
        role: &Role,
        rows_at: usize,
        #[comptime] places: Places,
    ) {
        #[unroll]
        for i in 0..RUN {
            #[unroll]
            for pair in 0..comptime!(places.n_pair()) {
                exchange.before[state_place(i, role.unit, pair, places)] = self.h[pair];
            }
            self.step(exchange, role, rows_at, i, RUN_SCALARS, places);
        }
    }

    /// h <- exp(delta A) h + input B at step `i` of what is shared, whose rows begin at `rows_at` and which has `n_scalar`
    /// scalars a step.
    fn step(
        &mut self,
        exchange: &mut Exchange,
        role: &Role,
        rows_at: usize,
        i: usize,
        #[comptime] n_scalar: usize,
        #[comptime] places: Places,
    ) {
        let n_channel = comptime!(places.channels);
        let b_at = rows_at
            + i * comptime!(places.sizes.d_x_proj())
            + comptime!(places.sizes.dt_rank)
            + role.first_state;
        #[unroll]
        for k in 0..comptime!(places.per_column) {
            let channel = role.first_channel + k;
            let at = i * comptime!(places.scalar_pitch(n_scalar)) + channel;
            let delta = exchange.scalars[at];
            let input = exchange.scalars[at + n_channel];
            #[unroll]
            for j in 0..comptime!(places.per_group) {
                let pair = comptime!(k * places.per_group + j);
                let b = exchange.rows[b_at + j];
                self.h[pair] = power(delta * self.rates[pair]) * self.h[pair] + input * b;
            }
        }
    }

    /// Walks the steps of a run from its last to its first and leaves the unit's share of every sum over states or channels.
    pub(super) fn walk_back(
        &mut self,
        exchange: &mut Exchange,
        role: &Role,
        rows_at: usize,
        #[comptime] places: Places,
    ) {
        let n_channel = comptime!(places.channels);
        let n_state = comptime!(places.sizes.d_state);
        let per_column = comptime!(places.per_column);
        let per_group = comptime!(places.per_group);
        #[unroll]
        for back in 0..RUN {
            let i = comptime!(RUN - 1 - back);
            let mut b_row = Array::<f32>::new(per_group);
            let mut c_row = Array::<f32>::new(per_group);
            let mut db = Array::<f32>::new(per_group);
            let mut dc = Array::<f32>::new(per_group);
            let mut before = Array::<f32>::new(comptime!(places.n_pair()));
            let mut sums = Array::<f32>::new(comptime!(CHANNEL_SUMS * places.per_column));
            #[unroll]
            for pair in 0..comptime!(places.n_pair()) {
                before[pair] = exchange.before[state_place(i, role.unit, pair, places)];
            }
            let b_at = rows_at
                + i * comptime!(places.sizes.d_x_proj())
                + comptime!(places.sizes.dt_rank)
                + role.first_state;
            #[unroll]
            for j in 0..per_group {
                b_row[j] = exchange.rows[b_at + j];
                c_row[j] = exchange.rows[b_at + n_state + j];
                db[j] = 0.0f32;
                dc[j] = 0.0f32;
            }
            #[unroll]
            for k in 0..per_column {
                let channel = role.first_channel + k;
                let at = i * comptime!(places.scalar_pitch(RUN_SCALARS)) + channel;
                let delta = exchange.scalars[at];
                let input = exchange.scalars[at + n_channel];
                let dout = exchange.scalars[at + 2 * n_channel];
                let mut output = 0.0f32;
                let mut dinput = 0.0f32;
                let mut dexponents = 0.0f32;
                #[unroll]
                for j in 0..per_group {
                    let pair = comptime!(k * places.per_group + j);
                    let q = self.g[pair] + dout * c_row[j];
                    output += self.h[pair] * c_row[j];
                    db[j] += q * input;
                    dc[j] += self.h[pair] * dout;
                    dinput += q * b_row[j];
                    self.g[pair] = q * power(delta * self.rates[pair]);
                    let dexponent = self.g[pair] * before[pair];
                    dexponents += dexponent * self.rates[pair];
                    self.da[pair] += dexponent * delta;
                    self.h[pair] = before[pair];
                }
                sums[k] = output;
                sums[comptime!(places.per_column + k)] = dinput;
                sums[comptime!(2 * places.per_column + k)] = dexponents;
            }
            // The unit's group and column, counted in channels.
            let at = i * comptime!(places.sum_pitch()) + role.unit * per_column;
            #[unroll]
            for sum in 0..CHANNEL_SUMS {
                #[unroll]
                for k in 0..per_column {
                    exchange.channel_sums
                        [at + comptime!(sum * places.n_group() * places.channels + k)] =
                        sums[comptime!(sum * places.per_column + k)];
                }
            }
            let at = (i * 2 * n_state + role.first_state) * comptime!(places.state_pitch())
                + role.column;
            #[unroll]
            for j in 0..per_group {
                exchange.state_sums[at + comptime!(j * places.state_pitch())] = db[j];
                exchange.state_sums
                    [at + comptime!((places.sizes.d_state + j) * places.state_pitch())] = dc[j];
            }
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
        if role.active {
            #[unroll]
            for k in 0..comptime!(places.per_column) {
                #[unroll]
                for j in 0..comptime!(places.per_group) {
                    let pair = comptime!(k * places.per_group + j);
                    let n = role.first_state + j;
                    partial_params[at + (role.own + k) * comptime!(places.sizes.d_state) + n] =
                        self.da[pair] * self.rates[pair] * ln_base();
                }
            }
        }
    }
}

/// Where a unit keeps the state of a pair at a step of a run: vectors of four, so that they move in one access.
#[cube]
fn state_place(
    #[comptime] step: usize,
    unit: usize,
    #[comptime] pair: usize,
    #[comptime] places: Places,
) -> usize {
    let vector = step * comptime!(places.n_pair().div_ceil(VECTOR)) + comptime!(pair / VECTOR);
    (vector * comptime!(places.units()) + unit) * VECTOR + comptime!(pair % VECTOR)
}
