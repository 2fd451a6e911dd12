//! A panel of tiles in the backward pass: the scan's adjoint, and from it the gradients of projections and convolution.

use rayon::prelude::*;

use super::buffers::{ChainBuffers, Exchange};
use super::sums::Sums;
use super::{ADJOINT_DIRECTIONS, Backward, if_masked};
use crate::bimamba_block::channels::{scan_rows_backward, sum_blocks};
use crate::bimamba_block::convolution::{Convolution, convolve_silu_backward, convolve_transposed};
use crate::bimamba_block::cpu::PanelBuffers;
use crate::bimamba_block::sweep::{N_SLOT, Step, TILE, Visit, panel_parts};
use crate::bimamba_block::tile::{BlockedRows, copy_rows};
use crate::lanes::WIDTH;
use crate::matmul::{Into, Matrix, matmul};
use crate::scratch::with_thread_scratch;
use crate::selective_scan::cpu::{BackwardRows, ChannelGradients, backward_scratch_len};

impl Backward<'_> {
    /// Walks the adjoint of the scan over the panels, each block of channels on its own.
    pub(super) fn scan_panels(
        &self,
        step: &Step,
        panels: &PanelBuffers,
        states: &[f32],
        exchange: &mut Exchange,
        chains: &mut [ChainBuffers; 2],
        sums: &mut Sums,
    ) {
        let (n_block, state_len) = (self.padded.n_block, self.padded.state_len());
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
        tasks
            .into_par_iter()
            .for_each(|(chain, block, mut gradients)| {
                let direction = ADJOINT_DIRECTIONS[chain];
                let panel = &step.panels[chain];
                let mask = self.taps.as_ref().map(|taps| panel.mask(taps));
                let channels = panels.channels(self.weights, mask, chain, direction, block);
                let saved = &states[(direction * n_block + block) * saved_len..][..saved_len];
                with_thread_scratch(backward_scratch_len(TILE), |scratch| {
                    let mut visit = |tile: usize| {
                        let rows = panel.rows(tile);
                        let run = BackwardRows {
                            u: panels.block(&panels.u_blocks[chain], &rows, block),
                            dy: (step.visit != Visit::Alone)
                                .then(|| panels.block(&panels.dy_blocks[chain], &rows, block)),
                            start: &saved[tile * state_len..(tile + 1) * state_len],
                        };
                        scan_rows_backward(
                            self.level,
                            &channels,
                            rows,
                            &run,
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
    pub(super) fn finish_scans(
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
    pub(super) fn finish_convolutions(
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
}
