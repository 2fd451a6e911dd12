//! The backward pass on the processor; recomputes everything but the input and the scan states at tile starts.
//!
//! Per sequence: (1) every tile is normalised and projected again, and the output's gradient is carried through
//! out_proj; (2) the adjoints of the two directions walk the sequence from its two ends, a panel of tiles at a
//! time; the first to reach a tile leaves its part of the scan output and of the convolution input's gradient,
//! the second adds to them; (3) every tile finishes gate, projections and norm once for both directions. Where no
//! output was wanted the gradient of the scan's output is zero: gate and output projection are left out.

mod buffers;
mod masked;
mod panels;
mod sums;

use std::ops::Range;

use rayon::prelude::*;

use self::buffers::{ChainBuffers, Exchange};
use self::sums::Sums;
use super::cpu::{BlockInput, GateRows, PanelBuffers, PanelSource, states_len};
use super::mask_taps::MaskTaps;
use super::sweep::{N_SLOT, TILE, Tiles, Visit, sequences_at_once, tiles_per_panel};
use super::tile::{BlockedRows, gate_backward, rms_norm, rms_norm_backward};
use super::weights::{Padded, Weights};
use crate::matmul::{Into, Matrix, matmul};
use crate::scratch::{Scratch, with_thread_scratch};
use crate::simd_level::SimdLevel;

/// The direction whose adjoint runs with the right-walking chain, then with the other: against its scan.
const ADJOINT_DIRECTIONS: [usize; 2] = [1, 0];

/// Gradients of a call of the block.
pub(super) struct BlockGradients {
    /// Of `x`, `[batch, length, d_model]`.
    pub(super) x: Vec<f32>,
    /// Of the mask, `[batch, length]`; empty without one.
    pub(super) mask: Vec<f32>,
    /// Of the flat parameters.
    pub(super) params: Vec<f32>,
}

/// Computes the gradients of the input, of its mask and of the flat parameters.
///
/// `states` is what [`forward`](super::cpu::forward) stored, `dout` the gradient of its output at `outputs`.
pub(super) fn backward(
    level: SimdLevel,
    input: BlockInput<'_>,
    outputs: &Range<usize>,
    weights: &Weights,
    states: &[f32],
    dout: &[f32],
) -> BlockGradients {
    let BlockInput { x, mask, length } = input;
    let padded = weights.padded;
    let d_model = padded.sizes.d_model;
    let row_len = length * d_model;
    let mut dx = vec![0.0; x.len()];
    let mut dmask = vec![0.0; mask.map_or(0, <[f32]>::len)];
    let mut dmasks = dmask.chunks_mut(length);
    let tiles = Tiles::new(length, outputs);
    let read = tiles.output_positions();
    let mut sequences: Vec<_> = x
        .chunks(row_len)
        .zip(dout.chunks(outputs.len() * d_model))
        .zip(dx.chunks_mut(row_len))
        .zip(states.chunks(states_len(&padded, length)))
        .enumerate()
        .map(|(index, (((x, dout), dx), states))| Sequence {
            x,
            mask: input.mask_of(index),
            dout,
            states,
            dx,
            dmask: dmasks.next().unwrap_or_default(),
        })
        .collect();
    let mut total: Option<Sums> = None;
    for together in sequences.chunks_mut(sequences_at_once(tiles.n_tile, padded.n_block)) {
        let sums: Vec<Sums> = together
            .par_iter_mut()
            .map(|sequence| {
                let mut sums = Sums::new(&padded, tiles.n_tile.min(N_SLOT));
                let backward = Backward {
                    level,
                    weights,
                    padded,
                    tiles: tiles.clone(),
                    taps: sequence
                        .mask
                        .map(|mask| MaskTaps::new(mask, padded.sizes.d_conv)),
                };
                let dout = sequence.dout;
                if read == *outputs {
                    backward.run(sequence, dout, &mut sums);
                } else {
                    // The first and the last tile hold other positions too, whose gradient is zero.
                    let mut whole_tiles = Scratch::zeroed(read.len() * d_model);
                    let start = (outputs.start - read.start) * d_model;
                    whole_tiles[start..start + dout.len()].copy_from_slice(dout);
                    backward.run(sequence, &whole_tiles, &mut sums);
                }
                sums.fold_slots(&padded);
                sums
            })
            .collect();
        for sums in sums {
            match &mut total {
                Some(total) => total.add(&sums, &padded),
                None => total = Some(sums),
            }
        }
    }
    let total = total.expect("the batch is not empty");
    BlockGradients {
        x: dx,
        mask: dmask,
        params: total.finish(weights),
    }
}

/// One sequence of the batch.
struct Sequence<'a> {
    x: &'a [f32],
    mask: Option<&'a [f32]>,
    dout: &'a [f32],
    states: &'a [f32],
    dx: &'a mut [f32],
    /// Empty without a mask.
    dmask: &'a mut [f32],
}

/// Floats per position of what only a mask needs: none without one.
fn if_masked(taps: Option<&MaskTaps<'_>>, n: usize) -> usize {
    if taps.is_some() { n } else { 0 }
}

struct Backward<'a> {
    level: SimdLevel,
    weights: &'a Weights,
    padded: Padded,
    tiles: Tiles,
    taps: Option<MaskTaps<'a>>,
}

impl Backward<'_> {
    /// Walks one sequence; `dout` is its output's gradient at all positions of the tiles that are read.
    fn run(&self, sequence: &mut Sequence<'_>, dout: &[f32], sums: &mut Sums) {
        let Sequence {
            x,
            states,
            dx,
            dmask,
            ..
        } = sequence;
        let d_inner = self.padded.d_inner;
        let whole = || Scratch::take(self.tiles.length * d_inner);
        let read = || Scratch::take(self.tiles.output_positions().len() * d_inner);
        let mut exchange = Exchange {
            inputs: whole(),
            z: read(),
            dgated: read(),
            y: read(),
            dinputs: whole(),
        };
        self.project_again(x, dout, &mut exchange);

        let tiles_per_panel = tiles_per_panel().min(self.tiles.n_tile);
        let n_row = tiles_per_panel * TILE;
        let halo = (self.padded.sizes.d_conv - 1) * d_inner;
        let mut panels = PanelBuffers::new(&self.padded, n_row).with_output_gradient();
        let mut chains = [(); 2].map(|()| ChainBuffers {
            du: Scratch::take(n_row * d_inner),
            dstep: Scratch::take(n_row * d_inner),
            dbc: Scratch::take(n_row * self.padded.n_block * 2 * self.padded.d_state),
            dconv: Scratch::take(n_row * d_inner + halo),
            carried: Scratch::zeroed(halo),
            adjoint: Scratch::zeroed(self.padded.n_block * self.padded.state_len()),
            dmask: Scratch::take(if_masked(self.taps.as_ref(), n_row * d_inner)),
        });
        for step in self.tiles.adjoint_steps(tiles_per_panel) {
            let gate = (step.visit != Visit::Alone).then(|| GateRows {
                z: &exchange.z,
                dgated: &exchange.dgated,
                start: self.tiles.output_positions().start,
            });
            let source = PanelSource {
                inputs: &exchange.inputs,
                taps: self.taps.as_ref(),
                directions: ADJOINT_DIRECTIONS,
                gate,
            };
            panels.fill(self.level, self.weights, &step.panels, &source);
            self.scan_panels(&step, &panels, states, &mut exchange, &mut chains, sums);
            self.finish_scans(&step, &panels, &exchange, &mut chains, sums);
            match &self.taps {
                Some(taps) => {
                    self.finish_masked(taps, &step, &mut exchange, &mut chains, dmask);
                }
                None => self.finish_convolutions(&step, &mut exchange, &mut chains),
            }
        }
        self.finish_tiles(x, dout, &mut exchange, dx, &mut sums.shared);
    }

    fn project_again(&self, x: &[f32], dout: &[f32], exchange: &mut Exchange) {
        let (d_model, d_inner) = (self.padded.sizes.d_model, self.padded.d_inner);
        let mut read = exchange
            .z
            .chunks_mut(TILE * d_inner)
            .zip(exchange.dgated.chunks_mut(TILE * d_inner))
            .zip(dout.chunks(TILE * d_model));
        let tasks: Vec<_> = exchange
            .inputs
            .chunks_mut(TILE * d_inner)
            .zip(x.chunks(TILE * d_model))
            .enumerate()
            .map(|(tile, (inputs, x))| {
                let is_read = self.tiles.outputs.contains(&tile);
                (inputs, x, if is_read { read.next() } else { None })
            })
            .collect();
        tasks.into_par_iter().for_each(|(inputs, x, read)| {
            with_thread_scratch(x.len(), |h| {
                rms_norm(self.level, x, &self.weights.norm, h);
                let project = |rows: &[f32], weight: Matrix<'_>, out: &mut [f32]| {
                    let shape = [rows.len() / d_model, d_inner, d_model];
                    let rows = Matrix::rows(rows, d_model);
                    matmul(shape, rows, weight, out, d_inner, Into::Replace);
                };
                project(
                    h,
                    Matrix::rows(&self.weights.in_x, d_model).transposed(),
                    inputs,
                );
                if let Some(((z, dgated), dout)) = read {
                    project(h, Matrix::rows(&self.weights.in_z, d_model).transposed(), z);
                    project(dout, Matrix::rows(&self.weights.out, d_inner), dgated);
                }
            });
        });
    }

    fn finish_tiles(
        &self,
        x: &[f32],
        dout: &[f32],
        exchange: &mut Exchange,
        dx: &mut [f32],
        sums: &mut [f32],
    ) {
        let (d_model, d_inner) = (self.padded.sizes.d_model, self.padded.d_inner);
        let read_positions = self.tiles.output_positions();
        let (inputs, outputs): (&[f32], &[f32]) = (&exchange.dinputs, &exchange.y);
        let mut read = exchange
            .z
            .chunks_mut(TILE * d_inner)
            .zip(exchange.dgated.chunks_mut(TILE * d_inner))
            .zip(dout.chunks(TILE * d_model));
        let mut tasks: Vec<_> = dx
            .chunks_mut(TILE * d_model)
            .enumerate()
            .map(|(tile, dx)| {
                let is_read = self.tiles.outputs.contains(&tile);
                (tile * TILE, dx, if is_read { read.next() } else { None })
            })
            .collect();
        let unread = vec![0.0; TILE * d_model];
        sums.par_chunks_mut(self.padded.shared_len())
            .zip(tasks.par_chunks_mut(self.tiles.tiles_per_slot()))
            .for_each(|(sums, tasks)| {
                let sums = self.padded.shared(sums);
                for (start, dx, read) in tasks {
                    let n_row = dx.len() / d_model;
                    let x = &x[*start * d_model..][..n_row * d_model];
                    let dinputs = Matrix::rows(&inputs[*start * d_inner..], d_inner);
                    with_thread_scratch(2 * n_row * d_model, |scratch| {
                        let (h, dh) = scratch.split_at_mut(n_row * d_model);
                        rms_norm(self.level, x, &self.weights.norm, h);
                        let h = Matrix::rows(h, d_model);
                        let weight_shape = [d_inner, d_model, n_row];
                        let turned = dinputs.transposed();
                        matmul(weight_shape, turned, h, sums.in_x, d_model, Into::Add);
                        let shape = [n_row, d_model, d_inner];
                        let in_x = Matrix::rows(&self.weights.in_x, d_model);
                        matmul(shape, dinputs, in_x, dh, d_model, Into::Replace);
                        let mut dout = &unread[..n_row * d_model];
                        if let Some(((z, dgated), of_outputs)) = read {
                            dout = of_outputs;
                            let y = BlockedRows {
                                values: outputs,
                                length: read_positions.len(),
                                start: *start - read_positions.start,
                            };
                            gate_backward(self.level, &y, d_inner, z, dgated);
                            let turned = Matrix::rows(dout, d_model).transposed();
                            let gated = Matrix::rows(dgated, d_inner);
                            let out_shape = [d_model, d_inner, n_row];
                            matmul(out_shape, turned, gated, sums.out, d_inner, Into::Add);
                            let dz = Matrix::rows(z, d_inner);
                            let turned = dz.transposed();
                            matmul(weight_shape, turned, h, sums.in_z, d_model, Into::Add);
                            let in_z = Matrix::rows(&self.weights.in_z, d_model);
                            matmul(shape, dz, in_z, dh, d_model, Into::Add);
                        }
                        rms_norm_backward(
                            self.level,
                            x,
                            &self.weights.norm,
                            dh,
                            dout,
                            dx,
                            sums.norm,
                        );
                    });
                }
            });
    }
}
