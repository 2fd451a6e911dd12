//! The backward pass on the processor; recomputes everything but the input and the scan states at tile starts.
//!
//! Per sequence: (1) every tile is normalised and projected again, and the output's gradient is carried through
//! out_proj; (2) the adjoints of the two directions walk the sequence from its two ends, a panel of tiles at a
//! time; the first to reach a tile leaves its part of the scan output and of the convolution input's gradient,
//! the second adds to them; (3) every tile finishes gate, projections and norm once for both directions. Where no
//! output was wanted the gradient of the scan's output is zero: gate and output projection are left out.

mod buffers;
mod masked;
mod sums;

use std::ops::Range;

use rayon::prelude::*;

use self::buffers::{ChainBuffers, Exchange};
use self::sums::Sums;
use super::channels::{GatedGradient, scan_rows_backward, sum_blocks};
use super::cpu::{BlockInput, PanelBuffers, states_len};
use super::mask_taps::MaskTaps;
use super::sweep::{
    N_SLOT, Step, TILE, Tiles, Visit, panel_parts, sequences_at_once, tiles_per_panel,
};
use super::tile::{
    BlockedRows, Convolution, convolve_silu_backward, convolve_transposed, copy_rows,
    gate_backward, rms_norm, rms_norm_backward,
};
use super::weights::{Padded, Weights};
use crate::lanes::WIDTH;
use crate::matmul::{Into, Matrix, matmul};
use crate::scratch::{Scratch, with_thread_scratch};
use crate::selective_scan::cpu::{ChannelGradients, backward_scratch_len};
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
        let mut panels = PanelBuffers::new(&self.padded, n_row);
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
            panels.fill(
                self.level,
                self.weights,
                &exchange.inputs,
                self.taps.as_ref(),
                &step.panels,
                ADJOINT_DIRECTIONS,
            );
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

    /// Walks the adjoint of the scan over the panels, each block of channels on its own.
    fn scan_panels(
        &self,
        step: &Step,
        panels: &PanelBuffers,
        states: &[f32],
        exchange: &mut Exchange,
        chains: &mut [ChainBuffers; 2],
        sums: &mut Sums,
    ) {
        let (n_block, state_len) = (self.padded.n_block, self.padded.state_len());
        let d_inner = self.padded.d_inner;
        let saved_len = self.tiles.n_tile * state_len;
        let read = self.tiles.output_positions();
        let mut outputs = [Vec::with_capacity(n_block), Vec::with_capacity(n_block)];
        for y in exchange.y.chunks_mut(read.len() * WIDTH) {
            let parts: [&mut [f32]; 2] = match step.visit {
                Visit::Alone => [&mut [], &mut []],
                Visit::First | Visit::Second => panel_parts(y, &step.panels, read.start, WIDTH),
            };
            for (outputs, part) in outputs.iter_mut().zip(parts) {
                outputs.push(part);
            }
        }
        let (forward_sums, reverse_sums) = sums
            .channels
            .split_at_mut(n_block * self.padded.channel_len());
        let channel_sums = [reverse_sums, forward_sums];
        let mut tasks = Vec::with_capacity(2 * n_block);
        for (chain, ((buffers, outputs), sums)) in
            chains.iter_mut().zip(outputs).zip(channel_sums).enumerate()
        {
            let n_row = step.panels[chain].positions.len();
            if n_row == 0 {
                continue;
            }
            let mut dmasks = buffers
                .dmask
                .chunks_mut(if_masked(self.taps.as_ref(), n_row * WIDTH).max(1));
            let blocks = buffers
                .du
                .chunks_mut(n_row * WIDTH)
                .zip(buffers.dstep.chunks_mut(n_row * WIDTH))
                .zip(buffers.dbc.chunks_mut(n_row * 2 * self.padded.d_state))
                .zip(buffers.adjoint.chunks_mut(state_len))
                .zip(outputs)
                .zip(sums.chunks_mut(self.padded.channel_len()))
                .enumerate();
            for (block, (((((u, dstep), bc), state), y), sums)) in blocks {
                let sums = self.padded.channel(sums);
                let gradients = ChannelGradients {
                    state,
                    y,
                    add_y: step.visit == Visit::Second,
                    u,
                    step: dstep,
                    bc,
                    a: sums.a,
                    d: sums.d,
                    step_bias: sums.dt_bias,
                    mask: dmasks.next().unwrap_or_default(),
                };
                tasks.push((chain, block, gradients));
            }
        }
        let (z, dgated) = (&exchange.z, &exchange.dgated);
        tasks
            .into_par_iter()
            .for_each(|(chain, block, mut gradients)| {
                let direction = ADJOINT_DIRECTIONS[chain];
                let panel = &step.panels[chain];
                let mask = self.taps.as_ref().map(|taps| panel.mask(taps));
                let channels = panels.channels(self.weights, mask, chain, direction, block);
                let gated = (step.visit != Visit::Alone).then(|| {
                    let start = (panel.positions.start - read.start) * d_inner;
                    GatedGradient {
                        dgated: &dgated[start..],
                        z: &z[start..],
                        d_inner,
                        channel: block * WIDTH,
                    }
                });
                let saved = &states[(direction * n_block + block) * saved_len..][..saved_len];
                with_thread_scratch(backward_scratch_len(TILE), |scratch| {
                    let mut visit = |tile: usize| {
                        scan_rows_backward(
                            self.level,
                            &channels,
                            panel.rows(tile),
                            &saved[tile * state_len..(tile + 1) * state_len],
                            gated.as_ref(),
                            &mut gradients,
                            scratch,
                        );
                    };
                    if chain == 0 {
                        panel.tiles.clone().for_each(&mut visit);
                    } else {
                        panel.tiles.clone().rev().for_each(&mut visit);
                    }
                });
            });
    }

    /// Carries the scan's gradients through the projections to step size, B and C, and through SiLU.
    fn finish_scans(
        &self,
        step: &Step,
        panels: &PanelBuffers,
        exchange: &Exchange,
        chains: &mut [ChainBuffers; 2],
        sums: &mut Sums,
    ) {
        let (d_inner, d_x_proj) = (self.padded.d_inner, self.padded.d_x_proj);
        let rank = self.padded.sizes.dt_rank;
        let halo = (self.padded.sizes.d_conv - 1) * d_inner;
        let [forward_sums, reverse_sums] = &mut sums.directions;
        let mut tasks = Vec::new();
        for (chain, (buffers, sums)) in chains
            .iter_mut()
            .zip([reverse_sums, forward_sums])
            .enumerate()
        {
            let panel = &step.panels[chain];
            let n_row = panel.positions.len();
            let direction = ADJOINT_DIRECTIONS[chain];
            let (own, kept) = if direction == 0 {
                buffers.dconv.split_at_mut(n_row * d_inner)
            } else {
                let (kept, own) = buffers.dconv.split_at_mut(halo);
                (own, kept)
            };
            kept[..halo].copy_from_slice(&buffers.carried);
            let mut slots: Vec<_> = sums
                .chunks_mut(self.padded.direction_len())
                .map(Some)
                .collect();
            for (tile, dconv) in panel.tiles.clone().zip(own.chunks_mut(TILE * d_inner)) {
                let slot = slots[tile % N_SLOT]
                    .take()
                    .expect("a panel has at most N_SLOT consecutive tiles");
                let dconv = &mut dconv[..panel.rows(tile).len() * d_inner];
                let blocked = (&buffers.du[..], &buffers.dstep[..], &buffers.dbc[..]);
                tasks.push((chain, tile, slot, dconv, blocked));
            }
        }
        let shared: &[f32] = &exchange.inputs;
        tasks
            .into_par_iter()
            .for_each(|(chain, tile, slot, dconv, (du, dstep, dbc))| {
                let panel = &step.panels[chain];
                let panel_len = panel.positions.len();
                let rows = panel.rows(tile);
                let n_row = rows.len();
                let direction = ADJOINT_DIRECTIONS[chain];
                let weights = &self.weights.directions[direction];
                let slot = self.padded.direction(slot);
                let blocked = |values| BlockedRows {
                    values,
                    length: panel_len,
                    start: rows.start,
                };
                let projected = &panels.projected[chain][rows.start * d_x_proj..];
                let u = &panels.u[chain][rows.start * d_inner..];
                with_thread_scratch(n_row * (d_inner + d_x_proj), |scratch| {
                    let (drows, dprojected) = scratch.split_at_mut(n_row * d_inner);
                    copy_rows(self.level, &blocked(dstep), d_inner, drows);
                    let drows = Matrix::rows(drows, d_inner);
                    matmul(
                        [n_row, rank, d_inner],
                        drows,
                        Matrix::rows(&weights.dt, rank),
                        dprojected,
                        d_x_proj,
                        Into::Replace,
                    );
                    matmul(
                        [d_inner, rank, n_row],
                        drows.transposed(),
                        Matrix::rows(projected, d_x_proj),
                        slot.dt,
                        rank,
                        Into::Add,
                    );
                    sum_blocks(
                        self.level,
                        dbc,
                        [self.padded.n_block, panel_len, 2 * self.padded.d_state],
                        rows.start,
                        dprojected,
                        d_x_proj,
                        rank,
                    );
                    let dprojected = Matrix::rows(dprojected, d_x_proj);
                    matmul(
                        [d_x_proj, d_inner, n_row],
                        dprojected.transposed(),
                        Matrix::rows(u, d_inner),
                        slot.x_proj,
                        d_inner,
                        Into::Add,
                    );
                    copy_rows(self.level, &blocked(du), d_inner, dconv);
                    matmul(
                        [n_row, d_inner, d_x_proj],
                        dprojected,
                        Matrix::rows(&weights.x_proj, d_inner),
                        dconv,
                        d_inner,
                        Into::Add,
                    );
                });
                let convolution = Convolution {
                    x: shared,
                    weight: &weights.conv,
                    bias: &weights.conv_bias,
                    start: tile * TILE,
                    reverse: direction == 1,
                    taps: self.taps.as_ref().map(|taps| taps.direction(direction)),
                };
                convolve_silu_backward(self.level, &convolution, dconv, slot.conv, slot.conv_bias);
            });
    }

    /// Carries the gradients through the convolutions and keeps the rows that the next panels need.
    fn finish_convolutions(
        &self,
        step: &Step,
        exchange: &mut Exchange,
        chains: &mut [ChainBuffers; 2],
    ) {
        let d_inner = self.padded.d_inner;
        let halo = (self.padded.sizes.d_conv - 1) * d_inner;
        let parts = panel_parts(&mut exchange.dinputs, &step.panels, 0, d_inner);
        let mut tasks = Vec::new();
        for (chain, dinputs) in parts.into_iter().enumerate() {
            for (index, dinputs) in dinputs.chunks_mut(TILE * d_inner).enumerate() {
                tasks.push((chain, index * TILE * d_inner, dinputs));
            }
        }
        let shared: &[ChainBuffers; 2] = chains;
        tasks.into_par_iter().for_each(|(chain, start, dinputs)| {
            let direction = ADJOINT_DIRECTIONS[chain];
            convolve_transposed(
                self.level,
                &shared[chain].dconv[start..start + dinputs.len() + halo],
                &self.weights.directions[direction].conv,
                d_inner,
                direction == 1,
                dinputs,
                step.visit == Visit::Second,
            );
        });
        for (chain, buffers) in chains.iter_mut().enumerate() {
            let n = step.panels[chain].positions.len() * d_inner;
            let kept = if ADJOINT_DIRECTIONS[chain] == 0 {
                0..halo
            } else {
                n..n + halo
            };
            buffers.carried.copy_from_slice(&buffers.dconv[kept]);
        }
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
