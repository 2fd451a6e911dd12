//! The forward pass on the processor: tiles, threads and vector instructions.
//!
//! Per sequence: (1) every tile is normalised and projected to the convolution input of both directions;
//! (2) the two directions walk the sequence from its two ends, a panel of tiles at a time, and add their scan
//! outputs in one buffer; (3) every tile is gated and projected out once for both. Where no output is wanted a
//! direction only passes, on its way to where one is, and the last step is left out.

use std::ops::Range;

use rayon::prelude::*;

use super::channels::{BlockChannels, scan_rows};
use super::convolution::{Convolution, convolve_silu};
use super::mask_taps::MaskTaps;
use super::sweep::{
    Panel, Step, TILE, Tiles, Visit, panel_parts, sequences_at_once, tiles_per_panel,
};
use super::tile::{BlockedRows, gate, rms_norm, scan_output_gradient};
use super::weights::{Padded, Weights};
use crate::lanes::WIDTH;
use crate::matmul::{Into, Matrix, matmul};
use crate::scratch::{Scratch, with_thread_scratch};
use crate::selective_scan::cpu::{Channels, ProjectedStep, ScanSink};
use crate::simd_level::SimdLevel;

/// The direction (0 forward, 1 reverse) whose scan runs with the right-walking chain, then with the other.
const SCAN_DIRECTIONS: [usize; 2] = [0, 1];

/// What the block reads.
#[derive(Clone, Copy)]
pub(super) struct BlockInput<'a> {
    /// `[batch, length, d_model]`
    pub(super) x: &'a [f32],
    /// `[batch, length]`; none = all positions as they are.
    pub(super) mask: Option<&'a [f32]>,
    pub(super) length: usize,
}

impl<'a> BlockInput<'a> {
    /// The mask of one sequence.
    pub(super) fn mask_of(&self, sequence: usize) -> Option<&'a [f32]> {
        let part = sequence * self.length..(sequence + 1) * self.length;
        self.mask.map(|mask| &mask[part])
    }
}

/// Computes the block at the positions `outputs`.
///
/// With `states`, `[batch, 2, n_block, n_tile, d_state * 16]`, also stores the state of every scan before
/// each tile that it enters.
pub(super) fn forward(
    level: SimdLevel,
    input: BlockInput<'_>,
    outputs: &Range<usize>,
    weights: &Weights,
    states: Option<&mut [f32]>,
) -> Vec<f32> {
    let BlockInput { x, length, .. } = input;
    let d_model = weights.padded.sizes.d_model;
    let (row_len, out_len) = (length * d_model, outputs.len() * d_model);
    let padded = weights.padded;
    let tiles = Tiles::new(length, outputs);
    let mut out = vec![0.0; x.len() / row_len * out_len];
    let mut states = states.map(|states| states.chunks_mut(states_len(&padded, length)));
    let mut sequences: Vec<_> = x
        .chunks(row_len)
        .zip(out.chunks_mut(out_len))
        .enumerate()
        .map(|(index, (x, out))| {
            let mask = input.mask_of(index);
            (x, mask, out, states.as_mut().and_then(Iterator::next))
        })
        .collect();
    for together in sequences.chunks_mut(sequences_at_once(tiles.n_tile, padded.n_block)) {
        together.par_iter_mut().for_each(|(x, mask, out, states)| {
            let forward = Forward {
                level,
                weights,
                padded,
                tiles: tiles.clone(),
                taps: mask.map(|mask| MaskTaps::new(mask, padded.sizes.d_conv)),
            };
            forward.run(x, outputs, out, states.as_deref_mut());
        });
    }
    out
}

/// Floats of the saved states of one sequence.
pub(super) fn states_len(padded: &Padded, length: usize) -> usize {
    2 * padded.n_block * length.div_ceil(TILE) * padded.state_len()
}

struct Forward<'a> {
    level: SimdLevel,
    weights: &'a Weights,
    padded: Padded,
    tiles: Tiles,
    taps: Option<MaskTaps<'a>>,
}

impl Forward<'_> {
    fn run(
        &self,
        x: &[f32],
        outputs: &Range<usize>,
        out: &mut [f32],
        mut states: Option<&mut [f32]>,
    ) {
        let d_inner = self.padded.d_inner;
        let mut inputs = Scratch::take(self.tiles.length * d_inner);
        let mut y = Scratch::take(self.tiles.output_positions().len() * d_inner);
        self.project_in(x, &mut inputs);

        let tiles_per_panel = tiles_per_panel().min(self.tiles.n_tile);
        let mut panels = PanelBuffers::new(&self.padded, tiles_per_panel * TILE);
        let mut running = Scratch::zeroed(2 * self.padded.n_block * self.padded.state_len());
        for step in self.tiles.scan_steps(tiles_per_panel) {
            let source = PanelSource {
                inputs: &inputs,
                taps: self.taps.as_ref(),
                directions: SCAN_DIRECTIONS,
                gate: None,
            };
            panels.fill(self.level, self.weights, &step.panels, &source);
            self.scan_panels(&step, &panels, &mut running, states.as_deref_mut(), &mut y);
        }
        self.project_out(x, outputs, &y, out);
    }

    fn project_in(&self, x: &[f32], inputs: &mut [f32]) {
        let (d_model, d_inner) = (self.padded.sizes.d_model, self.padded.d_inner);
        inputs
            .par_chunks_mut(TILE * d_inner)
            .zip(x.par_chunks(TILE * d_model))
            .for_each(|(inputs, x)| {
                with_thread_scratch(x.len(), |h| {
                    rms_norm(self.level, x, &self.weights.norm, h);
                    matmul(
                        [x.len() / d_model, d_inner, d_model],
                        Matrix::rows(h, d_model),
                        Matrix::rows(&self.weights.in_x, d_model).transposed(),
                        inputs,
                        d_inner,
                        Into::Replace,
                    );
                });
            });
    }

    fn scan_panels(
        &self,
        step: &Step,
        panels: &PanelBuffers,
        running: &mut [f32],
        states: Option<&mut [f32]>,
        y: &mut [f32],
    ) {
        let n_block = self.padded.n_block;
        let state_len = self.padded.state_len();
        let saved_len = self.tiles.n_tile * state_len;
        let read = self.tiles.output_positions();
        let mut sinks = [Vec::with_capacity(n_block), Vec::with_capacity(n_block)];
        for y in y.chunks_mut(read.len() * WIDTH) {
            let parts = match step.visit {
                Visit::Alone => [(); 2].map(|()| None),
                Visit::First | Visit::Second => {
                    panel_parts(y, &step.panels, read.start, WIDTH).map(Some)
                }
            };
            for (sinks, part) in sinks.iter_mut().zip(parts) {
                sinks.push(part);
            }
        }
        let mut saved: Vec<Option<&mut [f32]>> = match states {
            Some(states) => states.chunks_mut(saved_len).map(Some).collect(),
            None => (0..2 * n_block).map(|_| None).collect(),
        };
        let tasks: Vec<_> = sinks
            .into_iter()
            .flatten()
            .zip(running.chunks_mut(state_len))
            .zip(&mut saved)
            .enumerate()
            .collect();
        tasks
            .into_par_iter()
            .for_each(|(task, ((mut y, state), saved))| {
                let (direction, block) = (task / n_block, task % n_block);
                let panel = &step.panels[direction];
                let mask = self.taps.as_ref().map(|taps| panel.mask(taps));
                let channels = panels.channels(self.weights, mask, direction, direction, block);
                let mut visit = |tile: usize| {
                    if let Some(saved) = saved {
                        saved[tile * state_len..(tile + 1) * state_len].copy_from_slice(state);
                    }
                    let sink = match (y.as_deref_mut(), step.visit) {
                        (None, _) => ScanSink::Nowhere,
                        (Some(y), Visit::Second) => ScanSink::Add(y),
                        (Some(y), _) => ScanSink::Write(y),
                    };
                    let rows = panel.rows(tile);
                    let u = panels.block(&panels.u_blocks[direction], &rows, block);
                    scan_rows(self.level, &channels, rows, u, state, sink);
                };
                if direction == 0 {
                    panel.tiles.clone().for_each(&mut visit);
                } else {
                    panel.tiles.clone().rev().for_each(&mut visit);
                }
            });
    }

    fn project_out(&self, x: &[f32], outputs: &Range<usize>, y: &[f32], out: &mut [f32]) {
        let (d_model, d_inner) = (self.padded.sizes.d_model, self.padded.d_inner);
        let read = self.tiles.output_positions();
        out.par_chunks_mut(TILE * d_model)
            .zip(x[outputs.start * d_model..outputs.end * d_model].par_chunks(TILE * d_model))
            .enumerate()
            .for_each(|(run, (out, x))| {
                let n_row = x.len() / d_model;
                with_thread_scratch(n_row * (d_model + d_inner), |scratch| {
                    let (h, z) = scratch.split_at_mut(n_row * d_model);
                    rms_norm(self.level, x, &self.weights.norm, h);
                    matmul(
                        [n_row, d_inner, d_model],
                        Matrix::rows(h, d_model),
                        Matrix::rows(&self.weights.in_z, d_model).transposed(),
                        z,
                        d_inner,
                        Into::Replace,
                    );
                    let y = BlockedRows {
                        values: y,
                        length: read.len(),
                        start: outputs.start - read.start + run * TILE,
                    };
                    gate(self.level, &y, d_inner, z);
                    out.copy_from_slice(x);
                    matmul(
                        [n_row, d_model, d_inner],
                        Matrix::rows(z, d_inner),
                        Matrix::rows(&self.weights.out, d_inner).transposed(),
                        out,
                        d_model,
                        Into::Add,
                    );
                });
            });
    }
}

/// What the gradient of the scan's output is made of: rows of `d_inner` floats from position `start` on.
pub(super) struct GateRows<'a> {
    /// Gate before SiLU.
    pub(super) z: &'a [f32],
    /// Gradient of the gated output.
    pub(super) dgated: &'a [f32],
    pub(super) start: usize,
}

/// What the panels of one step are computed from.
pub(super) struct PanelSource<'a> {
    /// Convolution inputs of the whole sequence, `[length, d_inner]`.
    pub(super) inputs: &'a [f32],
    pub(super) taps: Option<&'a MaskTaps<'a>>,
    /// Direction of each chain.
    pub(super) directions: [usize; 2],
    /// Where the gradient of the scan's output is wanted, too.
    pub(super) gate: Option<GateRows<'a>>,
}

/// What the scans of the two chains read in one step, row 0 being each panel's first position.
pub(super) struct PanelBuffers {
    d_inner: usize,
    d_x_proj: usize,
    dt_rank: usize,
    d_state: usize,
    /// Inputs of the scan, per chain `[rows, d_inner]`.
    pub(super) u: [Scratch; 2],
    /// The same by tiles, each `[n_block, rows, 16]`: a block's rows lie together, where reading them from `u` would be a
    /// cache line every kilobyte.
    pub(super) u_blocks: [Scratch; 2],
    /// Gradient of the scan's output where it was read, arranged alike; empty unless asked for.
    pub(super) dy_blocks: [Scratch; 2],
    /// Step-size inputs, B and C, per chain `[rows, d_x_proj]`.
    pub(super) projected: [Scratch; 2],
}

impl PanelBuffers {
    pub(super) fn new(padded: &Padded, n_row: usize) -> Self {
        let whole = || [(); 2].map(|()| Scratch::take(n_row * padded.d_inner));
        Self {
            d_inner: padded.d_inner,
            d_x_proj: padded.d_x_proj,
            dt_rank: padded.sizes.dt_rank,
            d_state: padded.d_state,
            u: whole(),
            u_blocks: whole(),
            dy_blocks: [(); 2].map(|()| Scratch::take(0)),
            projected: [(); 2].map(|()| Scratch::take(n_row * padded.d_x_proj)),
        }
    }

    /// The same with room for the gradient of the scan's output.
    pub(super) fn with_output_gradient(mut self) -> Self {
        self.dy_blocks = self.u.each_ref().map(|u| Scratch::take(u.len()));
        self
    }

    /// Convolves and projects the panels, and computes the gradient of the scan's output where the source has a gate.
    pub(super) fn fill(
        &mut self,
        level: SimdLevel,
        weights: &Weights,
        panels: &[Panel; 2],
        source: &PanelSource<'_>,
    ) {
        let (d_inner, d_x_proj) = (self.d_inner, self.d_x_proj);
        let mut tasks = Vec::new();
        let chains = self
            .u
            .iter_mut()
            .zip(&mut self.u_blocks)
            .zip(&mut self.dy_blocks)
            .zip(&mut self.projected);
        for (chain, (((u, u_blocks), dy_blocks), projected)) in chains.enumerate() {
            let tiles = panels[chain].tiles.clone().map(|tile| (chain, tile));
            let u = u
                .chunks_mut(TILE * d_inner)
                .zip(u_blocks.chunks_mut(TILE * d_inner));
            let mut dy_blocks = dy_blocks.chunks_mut(TILE * d_inner);
            let projected = projected.chunks_mut(TILE * d_x_proj);
            for (tile, (u, projected)) in tiles.zip(u.zip(projected)) {
                tasks.push((tile, u, dy_blocks.next().unwrap_or_default(), projected));
            }
        }
        tasks
            .into_par_iter()
            .for_each(|((chain, tile), (u, u_blocks), dy_blocks, projected)| {
                let n_row = panels[chain].rows(tile).len();
                let u = &mut u[..n_row * d_inner];
                let of_chain = source.directions[chain];
                let direction = &weights.directions[of_chain];
                let convolution = Convolution {
                    x: source.inputs,
                    weight: &direction.conv,
                    bias: &direction.conv_bias,
                    start: tile * TILE,
                    reverse: of_chain == 1,
                    taps: source.taps.map(|taps| taps.direction(of_chain)),
                };
                convolve_silu(level, &convolution, u, u_blocks);
                if let Some(gate) = &source.gate {
                    let start = (tile * TILE - gate.start) * d_inner;
                    let at = start..start + n_row * d_inner;
                    let (z, dgated) = (&gate.z[at.clone()], &gate.dgated[at]);
                    scan_output_gradient(level, z, dgated, d_inner, dy_blocks);
                }
                matmul(
                    [n_row, d_x_proj, d_inner],
                    Matrix::rows(u, d_inner),
                    Matrix::rows(&direction.x_proj, d_inner).transposed(),
                    projected,
                    d_x_proj,
                    Into::Replace,
                );
            });
    }

    /// Rows of a tile in one block of channels, sixteen floats each, of an array arranged by tiles and blocks.
    pub(super) fn block<'a>(
        &self,
        blocks: &'a [f32],
        rows: &Range<usize>,
        block: usize,
    ) -> &'a [f32] {
        let len = rows.len() * WIDTH;
        &blocks[rows.start * self.d_inner + block * len..][..len]
    }

    /// One block of channels of a chain as the scan sees it.
    pub(super) fn channels<'a>(
        &'a self,
        weights: &'a Weights,
        mask: Option<&'a [f32]>,
        chain: usize,
        direction: usize,
        block: usize,
    ) -> BlockChannels<'a> {
        let (rank, state_len) = (self.dt_rank, self.d_state * WIDTH);
        let direction_weights = &weights.directions[direction];
        let lanes = block * WIDTH..(block + 1) * WIDTH;
        let channels = Channels {
            step: ProjectedStep {
                rows: &self.projected[chain],
                stride: self.d_x_proj,
                weight: &direction_weights.dt_blocks
                    [block * rank * WIDTH..(block + 1) * rank * WIDTH],
                bias: &direction_weights.dt_bias[lanes.clone()],
            },
            bc: &self.projected[chain],
            bc_stride: self.d_x_proj,
            b_offset: rank,
            c_offset: rank + self.d_state,
            a: &direction_weights.a[block * state_len..(block + 1) * state_len],
            d: &direction_weights.d[lanes],
            reverse: direction == 1,
        };
        BlockChannels { channels, mask }
    }
}
