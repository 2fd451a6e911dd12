//! The selective scan, the recurrence inside a Mamba mixer, on plain slices.
//!
//! [`bimamba_block`](crate::bimamba_block()) runs the same inner loops fused with everything around them; these
//! functions exist to use and to check the recurrence alone.

pub(crate) mod cpu;
pub mod reference;
#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

use self::cpu::{BackwardRows, ChannelGradients, Channels, GROUP, GivenStep, backward_scratch_len};
use crate::lanes::{Simd, WIDTH};
use crate::scratch::with_thread_scratch;
use crate::shape::{ShapeError, check_axes, check_not_empty};
use crate::simd_level::{SimdLevel, for_each_simd_level};

const OP: &str = "selective_scan";

/// Rows between two states that the backward pass starts from.
const TILE: usize = 256;

/// Inputs of one scan over one sequence, row-major and channels-last.
#[derive(Debug, Clone, Copy)]
pub struct ScanInputs<'a> {
    /// Inputs, `[length, d_inner]`.
    pub u: &'a [f32],
    /// Step sizes (after softplus), `[length, d_inner]`.
    pub delta: &'a [f32],
    /// State matrix, `[d_inner, d_state]`; negative for a state that decays.
    pub a: &'a [f32],
    /// Input map, `[length, d_state]`.
    pub b: &'a [f32],
    /// Output map, `[length, d_state]`.
    pub c: &'a [f32],
    /// Skip connection, `[d_inner]`.
    pub d: &'a [f32],
}

/// Result of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanOutput {
    /// Outputs, `[length, d_inner]`.
    pub y: Vec<f32>,
    /// State after the last position, `[d_inner, d_state]`.
    pub last_state: Vec<f32>,
}

/// Gradients of a scan, each in the shape of the input it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanGradients {
    /// Gradient of `u`.
    pub u: Vec<f32>,
    /// Gradient of `delta`.
    pub delta: Vec<f32>,
    /// Gradient of `a`.
    pub a: Vec<f32>,
    /// Gradient of `b`.
    pub b: Vec<f32>,
    /// Gradient of `c`.
    pub c: Vec<f32>,
    /// Gradient of `d`.
    pub d: Vec<f32>,
}

/// Runs the selective scan along one sequence.
///
/// h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t;  y_t = C_t h_t + D u_t, with h = 0 before the first position
///
/// # Shapes
/// See [`ScanInputs`]; `d_inner` is the length of `d`.
///
/// # Errors
/// [`ShapeError`] when a length disagrees or is 0; it names argument and axis.
///
/// # Reference
/// Gu & Dao 2023, eq. 2a; `selective_scan_ref` of state-spaces/mamba
pub fn selective_scan(inputs: &ScanInputs<'_>) -> Result<ScanOutput, ShapeError> {
    let packed = Packed::new(inputs)?;
    let (y, last_state, _) = packed.run(SimdLevel::detect());
    Ok(ScanOutput {
        y: packed.rows(&y),
        last_state: packed.per_state(&last_state),
    })
}

/// Computes the gradients of a scan's inputs from the gradient of its outputs, `[length, d_inner]`.
///
/// # Errors
/// [`ShapeError`] when a length disagrees or is 0; it names argument and axis.
pub fn selective_scan_backward(
    inputs: &ScanInputs<'_>,
    dy: &[f32],
) -> Result<ScanGradients, ShapeError> {
    let packed = Packed::new(inputs)?;
    check_axes(OP, "dy", [("length * d_inner", inputs.u.len())], [dy.len()])?;
    Ok(packed.run_backward(SimdLevel::detect(), dy))
}

/// Inputs with channels and states padded to sixteen.
struct Packed {
    length: usize,
    d_inner: usize,
    d_state: usize,
    n_block: usize,
    /// `d_state` after padding.
    n_state: usize,
    /// `[n_block, length, 16]`
    u: Vec<f32>,
    delta: Vec<f32>,
    /// `[length, 2 n_state]`
    bc: Vec<f32>,
    /// `[n_block, n_state, 16]`
    a: Vec<f32>,
    d: Vec<f32>,
}

/// Copies rows of `width` columns into rows of `stride` columns from `start`.
fn spread(rows: &[f32], width: usize, out: &mut [f32], stride: usize, start: usize) {
    for (row, out) in rows.chunks(width).zip(out.chunks_mut(stride)) {
        out[start..start + width].copy_from_slice(row);
    }
}

/// Turns `[length, d_inner]` into `[n_block, length, 16]`, the last block filled up with zeros.
fn blocks(rows: &[f32], d_inner: usize) -> Vec<f32> {
    let length = rows.len() / d_inner;
    let mut out = vec![0.0; d_inner.div_ceil(WIDTH) * length * WIDTH];
    for (t, row) in rows.chunks(d_inner).enumerate() {
        for (block, channels) in row.chunks(WIDTH).enumerate() {
            out[(block * length + t) * WIDTH..][..channels.len()].copy_from_slice(channels);
        }
    }
    out
}

impl Packed {
    fn new(inputs: &ScanInputs<'_>) -> Result<Self, ShapeError> {
        let d_inner = inputs.d.len();
        check_not_empty(OP, "d", ["d_inner"], [d_inner])?;
        let (length, d_state) = (inputs.u.len() / d_inner, inputs.a.len() / d_inner);
        check_not_empty(OP, "u", ["length"], [length])?;
        check_not_empty(OP, "a", ["d_state"], [d_state])?;
        let (rows, maps) = (length * d_inner, length * d_state);
        let check = |argument, axes, expected: usize, found: &[f32]| {
            check_axes(OP, argument, [(axes, expected)], [found.len()])
        };
        check("u", "length * d_inner", rows, inputs.u)?;
        check("delta", "length * d_inner", rows, inputs.delta)?;
        check("a", "d_inner * d_state", d_inner * d_state, inputs.a)?;
        check("b", "length * d_state", maps, inputs.b)?;
        check("c", "length * d_state", maps, inputs.c)?;

        let n_block = d_inner.div_ceil(WIDTH);
        let n_state = d_state.next_multiple_of(GROUP);
        let width = n_block * WIDTH;
        let mut packed = Self {
            length,
            d_inner,
            d_state,
            n_block,
            n_state,
            u: blocks(inputs.u, d_inner),
            delta: blocks(inputs.delta, d_inner),
            bc: vec![0.0; length * 2 * n_state],
            a: vec![0.0; width * n_state],
            d: vec![0.0; width],
        };
        spread(inputs.b, d_state, &mut packed.bc, 2 * n_state, 0);
        spread(inputs.c, d_state, &mut packed.bc, 2 * n_state, n_state);
        packed.d[..d_inner].copy_from_slice(inputs.d);
        for i in 0..d_inner {
            for n in 0..d_state {
                let at = (i / WIDTH * n_state + n) * WIDTH + i % WIDTH;
                let value = f64::from(inputs.a[i * d_state + n]) * std::f64::consts::LOG2_E;
                packed.a[at] = value as f32;
            }
        }
        Ok(packed)
    }

    fn state_len(&self) -> usize {
        self.n_state * WIDTH
    }

    fn channels(&self, block: usize) -> Channels<'_, GivenStep<'_>> {
        let rows = block * self.length * WIDTH..(block + 1) * self.length * WIDTH;
        Channels {
            step: GivenStep(&self.delta[rows]),
            bc: &self.bc,
            bc_stride: 2 * self.n_state,
            b_offset: 0,
            c_offset: self.n_state,
            a: &self.a[block * self.state_len()..(block + 1) * self.state_len()],
            d: &self.d[block * WIDTH..(block + 1) * WIDTH],
            reverse: false,
        }
    }

    /// A run of rows of one block in an array `[n_block, length, 16]`.
    fn run_of<'a>(&self, values: &'a [f32], block: usize, rows: &Range<usize>) -> &'a [f32] {
        &values[(block * self.length + rows.start) * WIDTH..][..rows.len() * WIDTH]
    }

    /// Outputs `[n_block, length, 16]`, last states `[n_block, n_state, 16]`, and the states before each tile.
    fn run(&self, level: SimdLevel) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let (length, state_len) = (self.length, self.state_len());
        let saved_len = length.div_ceil(TILE) * state_len;
        let mut y = vec![0.0; self.n_block * length * WIDTH];
        let mut state = vec![0.0; self.n_block * state_len];
        let mut saved = vec![0.0; self.n_block * saved_len];
        y.par_chunks_mut(length * WIDTH)
            .zip(state.par_chunks_mut(state_len))
            .zip(saved.par_chunks_mut(saved_len))
            .enumerate()
            .for_each(|(block, ((y, state), saved))| {
                for (tile, saved) in saved.chunks_mut(state_len).enumerate() {
                    saved.copy_from_slice(state);
                    let rows = tile * TILE..((tile + 1) * TILE).min(length);
                    let u = self.run_of(&self.u, block, &rows);
                    scan_given(level, &self.channels(block), rows, u, state, y);
                }
            });
        (y, state, saved)
    }

    fn run_backward(&self, level: SimdLevel, dy: &[f32]) -> ScanGradients {
        let (length, state_len, width) = (self.length, self.state_len(), self.n_block * WIDTH);
        let (_, _, saved) = self.run(level);
        let saved_len = length.div_ceil(TILE) * state_len;
        let dy = blocks(dy, self.d_inner);
        let mut y = vec![0.0; length * width];
        let mut du = vec![0.0; length * width];
        let mut ddelta = vec![0.0; length * width];
        let mut dbc = vec![0.0; self.n_block * length * 2 * self.n_state];
        let mut da = vec![0.0; self.n_block * state_len];
        let mut dd = vec![0.0; width];
        y.par_chunks_mut(length * WIDTH)
            .zip(du.par_chunks_mut(length * WIDTH))
            .zip(ddelta.par_chunks_mut(length * WIDTH))
            .zip(dbc.par_chunks_mut(length * 2 * self.n_state))
            .zip(da.par_chunks_mut(state_len))
            .zip(dd.par_chunks_mut(WIDTH))
            .enumerate()
            .for_each(|(block, (((((y, u), step), bc), a), d))| {
                let mut out = ChannelGradients {
                    state: &mut vec![0.0; state_len],
                    y,
                    add_y: false,
                    u,
                    step,
                    bc,
                    a,
                    d,
                    step_bias: &mut [0.0; WIDTH],
                    mask: &mut [],
                };
                let saved = &saved[block * saved_len..(block + 1) * saved_len];
                with_thread_scratch(backward_scratch_len(TILE), |scratch| {
                    for (tile, start) in saved.chunks(state_len).enumerate().rev() {
                        let rows = tile * TILE..((tile + 1) * TILE).min(length);
                        let channels = self.channels(block);
                        let run = BackwardRows {
                            u: self.run_of(&self.u, block, &rows),
                            dy: Some(self.run_of(&dy, block, &rows)),
                            start,
                        };
                        scan_given_backward(level, &channels, rows, &run, &mut out, scratch);
                    }
                });
            });
        let sum_bc = |offset: usize| {
            let mut out = vec![0.0; length * self.d_state];
            for partial in dbc.chunks(length * 2 * self.n_state) {
                for (out, row) in out
                    .chunks_mut(self.d_state)
                    .zip(partial.chunks(2 * self.n_state))
                {
                    for (out, value) in out.iter_mut().zip(&row[offset..]) {
                        *out += value;
                    }
                }
            }
            out
        };
        dd.truncate(self.d_inner);
        ScanGradients {
            u: self.rows(&du),
            delta: self.rows(&ddelta),
            a: self.per_state(&da),
            b: sum_bc(0),
            c: sum_bc(self.n_state),
            d: dd,
        }
    }

    /// Turns `[n_block, length, 16]` into `[length, d_inner]`.
    fn rows(&self, blocked: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; self.length * self.d_inner];
        for (t, row) in out.chunks_mut(self.d_inner).enumerate() {
            for (i, value) in row.iter_mut().enumerate() {
                *value = blocked[(i / WIDTH * self.length + t) * WIDTH + i % WIDTH];
            }
        }
        out
    }

    /// Turns `[n_block, n_state, 16]` into `[d_inner, d_state]`.
    fn per_state(&self, blocked: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.d_inner * self.d_state);
        for i in 0..self.d_inner {
            for n in 0..self.d_state {
                out.push(blocked[(i / WIDTH * self.n_state + n) * WIDTH + i % WIDTH]);
            }
        }
        out
    }
}

for_each_simd_level! {
    fn scan_given(
        channels: &Channels<'_, GivenStep<'_>>,
        rows: Range<usize>,
        u: &[f32],
        state: &mut [f32],
        y: &mut [f32],
    ) = scan_given_body
}

#[inline(always)]
fn scan_given_body<S: Simd>(
    s: S,
    channels: &Channels<'_, GivenStep<'_>>,
    rows: Range<usize>,
    u: &[f32],
    state: &mut [f32],
    y: &mut [f32],
) {
    cpu::scan(s, channels, rows, u, state, cpu::ScanSink::Write(y));
}

for_each_simd_level! {
    fn scan_given_backward(
        channels: &Channels<'_, GivenStep<'_>>,
        rows: Range<usize>,
        run: &BackwardRows<'_>,
        out: &mut ChannelGradients<'_>,
        scratch: &mut [f32],
    ) = scan_given_backward_body
}

#[inline(always)]
fn scan_given_backward_body<S: Simd>(
    s: S,
    channels: &Channels<'_, GivenStep<'_>>,
    rows: Range<usize>,
    run: &BackwardRows<'_>,
    out: &mut ChannelGradients<'_>,
    scratch: &mut [f32],
) {
    cpu::scan_backward(s, channels, rows, run, out, scratch);
}
