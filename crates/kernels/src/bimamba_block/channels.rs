//! The scan of the block, sixteen channels of one direction over a run of tiles.

use std::ops::Range;

use crate::lanes::{Lanes, Simd, WIDTH};
use crate::selective_scan::cpu::{
    BackwardRows, ChannelGradients, Channels, ProjectedStep, ScanSink, scan, scan_backward,
};
use crate::simd_level::for_each_simd_level;

/// Sixteen channels of one direction, and the mask that multiplies every row's step size if there is one.
pub(super) struct BlockChannels<'a> {
    pub(super) channels: Channels<'a, ProjectedStep<'a>>,
    /// One value per row, row 0 as for the channels.
    pub(super) mask: Option<&'a [f32]>,
}

for_each_simd_level! {
    /// Advances `state` over `rows`, whose inputs are `u`, sixteen per row.
    pub(super) fn scan_rows(
        channels: &BlockChannels<'_>,
        rows: Range<usize>,
        u: &[f32],
        state: &mut [f32],
        sink: ScanSink<'_>,
    ) = scan_rows_body
}

#[inline(always)]
fn scan_rows_body<S: Simd>(
    s: S,
    BlockChannels { channels, mask }: &BlockChannels<'_>,
    rows: Range<usize>,
    u: &[f32],
    state: &mut [f32],
    sink: ScanSink<'_>,
) {
    match mask {
        Some(mask) => scan(s, &channels.masked(mask), rows, u, state, sink),
        None => scan(s, channels, rows, u, state, sink),
    }
}

for_each_simd_level! {
    /// Recomputes `rows` and walks them backwards.
    pub(super) fn scan_rows_backward(
        channels: &BlockChannels<'_>,
        rows: Range<usize>,
        run: &BackwardRows<'_>,
        out: &mut ChannelGradients<'_>,
        scratch: &mut [f32],
    ) = scan_rows_backward_body
}

#[inline(always)]
fn scan_rows_backward_body<S: Simd>(
    s: S,
    BlockChannels { channels, mask }: &BlockChannels<'_>,
    rows: Range<usize>,
    run: &BackwardRows<'_>,
    out: &mut ChannelGradients<'_>,
    scratch: &mut [f32],
) {
    match mask {
        Some(mask) => scan_backward(s, &channels.masked(mask), rows, run, out, scratch),
        None => scan_backward(s, channels, rows, run, out, scratch),
    }
}

for_each_simd_level! {
    /// Sums the gradients of B and C over blocks of channels into the last columns of `out`.
    ///
    /// `partial` is `[n_block, n_row, width]` with the tile's first row at `start`; rows of `out` are `stride`
    /// long and the sums go to columns `column..column + width`.
    pub(super) fn sum_blocks(
        partial: &[f32],
        shape: [usize; 3],
        start: usize,
        out: &mut [f32],
        stride: usize,
        column: usize,
    ) = sum_blocks_body
}

#[inline(always)]
fn sum_blocks_body<S: Simd>(
    s: S,
    partial: &[f32],
    [n_block, n_row, width]: [usize; 3],
    start: usize,
    out: &mut [f32],
    stride: usize,
    column: usize,
) {
    for (row, out) in out.chunks_exact_mut(stride).enumerate() {
        for offset in (0..width).step_by(WIDTH) {
            let mut sum = s.zero();
            for block in 0..n_block {
                let at = (block * n_row + start + row) * width + offset;
                sum = sum + s.load(partial, at);
            }
            sum.store(out, column + offset);
        }
    }
}
