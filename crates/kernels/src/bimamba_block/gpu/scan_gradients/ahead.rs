//! What the next steps read, on its way while the steps before them are computed.

#![allow(
    clippy::too_many_arguments,
    reason = "parts of a kernel take its tensors one by one"
)]

use cubecl::prelude::*;

use super::super::channel::{is_output, output_row, position, presence};
use super::exchange::Exchange;
use super::places::{Places, Role};

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

/// Values of a unit's channels at the steps that it owns, of as many as a run or a stage has, and its share of the rows.
///
/// A step that does not exist has zeros. Values are kept as they were read: a conversion would wait for them.
#[derive(CubeType)]
pub(super) struct Ahead<E: Float, N: Size, S: Size> {
    pub(super) values: Array<Vector<E, N>>,
    pub(super) douts: Array<Vector<E, N>>,
    /// The mask at each step.
    pub(super) presents: Array<f32>,
    rows: Array<Vector<f32, S>>,
}

#[cube]
impl<E: Float, N: Size, S: Size> Ahead<E, N, S> {
    pub(super) fn new(#[comptime] steps: usize, #[comptime] places: Places) -> Ahead<E, N, S> {
        let n_own = comptime!(places.n_own(steps));
        Ahead::<E, N, S> {
            values: Array::<Vector<E, N>>::new(n_own),
            douts: Array::<Vector<E, N>>::new(n_own),
            presents: Array::<f32>::new(n_own),
            rows: Array::<Vector<f32, S>>::new(comptime!(places.row_turns(steps))),
        }
    }

    /// Loads what `n_step` of `steps` steps from `first` on read, without the outputs' gradient.
    pub(super) fn load_inputs(
        &mut self,
        u: &Tensor<Vector<E, N>>,
        projected: &Tensor<Vector<f32, S>>,
        mask: &Tensor<f32>,
        scan: &Scan,
        role: &Role,
        first: usize,
        n_step: usize,
        #[comptime] steps: usize,
        #[comptime] places: Places,
    ) {
        let row_len = comptime!(places.row_len());
        let n_column = comptime!(places.n_column_of_all());
        let row = scan.first_row + first;
        #[unroll]
        for turn in 0..comptime!(places.row_turns(steps)) {
            let i = role.unit + turn * comptime!(places.units());
            self.rows[turn] = Vector::<f32, S>::zeroed();
            if i < n_step * row_len {
                self.rows[turn] = projected[row * row_len + i];
            }
        }
        #[unroll]
        for k in 0..comptime!(places.n_own(steps)) {
            let i = k * comptime!(places.n_group()) + role.group;
            self.presents[k] = 0.0f32;
            self.values[k] = Vector::<E, N>::zeroed();
            if i < n_step {
                let at = position(first + i, scan.length, scan.direction);
                let at = scan.batch_index * scan.length + at;
                self.values[k] = u[(row + i) * n_column + role.own];
                self.presents[k] = presence(mask, at, comptime!(places.masked));
            }
        }
    }

    /// Loads the outputs' gradient of the same steps.
    pub(super) fn load_douts(
        &mut self,
        dy: &Tensor<Vector<E, N>>,
        scan: &Scan,
        role: &Role,
        first: usize,
        n_step: usize,
        #[comptime] steps: usize,
        #[comptime] places: Places,
    ) {
        let n_column = comptime!(places.n_column_of_all());
        #[unroll]
        for k in 0..comptime!(places.n_own(steps)) {
            let i = k * comptime!(places.n_group()) + role.group;
            let at = position(first + i, scan.length, scan.direction);
            self.douts[k] = Vector::<E, N>::zeroed();
            if role.active && i < n_step && is_output(at, scan.out_start, scan.n_out) {
                let row = output_row(at, scan.batch_index, scan.out_start, scan.n_out);
                self.douts[k] = dy[row * n_column + role.own];
            }
        }
    }

    /// Shares the rows of `steps` steps, from the step `first` among those that are shared on.
    pub(super) fn share_rows(
        &self,
        exchange: &mut Exchange<N, S>,
        role: &Role,
        first: usize,
        #[comptime] steps: usize,
        #[comptime] places: Places,
    ) {
        let row_len = comptime!(places.row_len());
        let n_input = comptime!(places.n_input());
        let per_group = comptime!(places.per_group);
        let n = comptime!(steps * places.row_len());
        #[unroll]
        for turn in 0..comptime!(places.row_turns(steps)) {
            let i = role.unit + turn * comptime!(places.units());
            if i < n {
                let step = first + i / row_len;
                let vector = i % row_len;
                if vector < n_input {
                    let at = (step * n_input + vector) * per_group;
                    #[unroll]
                    for j in 0..per_group {
                        exchange.inputs[at + j] = self.rows[turn].extract(j);
                    }
                } else {
                    let at = step * comptime!(2 * places.n_group()) + vector - n_input;
                    exchange.states[at] = self.rows[turn];
                }
            }
        }
    }
}
