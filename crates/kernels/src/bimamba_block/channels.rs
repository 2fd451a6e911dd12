//! The scan of the block, sixteen channels of one direction over a run of tiles.

use std::ops::Range;

use crate::lanes::{Lanes, Simd, WIDTH};
use crate::selective_scan::cpu::{
    ChannelGradients, Channels, OutputGradient, ProjectedStep, ScanSink, StepSize, Unread, scan,
    scan_backward,
};
use crate::simd_level::for_each_simd_level;

/// Sixteen channels of one direction, and the mask that multiplies every row's step size if there is one.
pub(super) struct BlockChannels<'a> {
    pub(super) channels: Channels<'a, ProjectedStep<'a>>,
    /// One value per row, row 0 as for the channels.
    pub(super) mask: Option<&'a [f32]>,
}

for_each_simd_level! {
    /// Advances `state` over `rows`.
    pub(super) fn scan_rows(
        channels: &BlockChannels<'_>,
        rows: Range<usize>,
        state: &mut [f32],
        sink: ScanSink<'_>,
    ) = scan_rows_body
}

#[inline(always)]
fn scan_rows_body<S: Simd>(
    s: S,
    BlockChannels { channels, mask }: &BlockChannels<'_>,
    rows: Range<usize>,
    state: &mut [f32],
    sink: ScanSink<'_>,
) {
    match mask {
        Some(mask) => scan(s, &channels.masked(mask), rows, state, sink),
        None => scan(s, channels, rows, state, sink),
    }
}

/// What the gradient of the scan's output is made of: rows of `d_inner` floats, row 0 as for the channels.
pub(super) struct GatedGradient<'a> {
    /// Gradient of the gated output.
    pub(super) dgated: &'a [f32],
    /// Gate before SiLU.
    pub(super) z: &'a [f32],
    pub(super) d_inner: usize,
    /// First of the sixteen channels.
    pub(super) channel: usize,
}

impl OutputGradient for GatedGradient<'_> {
    const READ: bool = true;

    #[inline(always)]
    fn read<S: Simd>(&self, s: S, row: usize) -> [S::Lanes; 2] {
        let at = row * self.d_inner + self.channel;
        [s.load(self.dgated, at), s.load(self.z, at)]
    }

    #[inline(always)]
    fn of_parts<S: Simd>(&self, s: S, [dgated, z]: [S::Lanes; 2]) -> S::Lanes {
        dgated * z * s.sigmoid(z)
    }
}

for_each_simd_level! {
    /// Recomputes `rows` from the state `start` and walks them backwards; without a `gradient` nobody read them.
    pub(super) fn scan_rows_backward(
        channels: &BlockChannels<'_>,
        rows: Range<usize>,
        start: &[f32],
        gradient: Option<&GatedGradient<'_>>,
        out: &mut ChannelGradients<'_>,
        scratch: &mut [f32],
    ) = scan_rows_backward_body
}

#[inline(always)]
fn scan_rows_backward_body<S: Simd>(
    s: S,
    BlockChannels { channels, mask }: &BlockChannels<'_>,
    rows: Range<usize>,
    start: &[f32],
    gradient: Option<&GatedGradient<'_>>,
    out: &mut ChannelGradients<'_>,
    scratch: &mut [f32],
) {
    match mask {
        Some(mask) => {
            let channels = channels.masked(mask);
            read_or_not(s, &channels, rows, start, gradient, out, scratch);
        }
        None => read_or_not(s, channels, rows, start, gradient, out, scratch),
    }
}

#[inline(always)]
fn read_or_not<D: StepSize, S: Simd>(
    s: S,
    channels: &Channels<'_, D>,
    rows: Range<usize>,
    start: &[f32],
    gradient: Option<&GatedGradient<'_>>,
    out: &mut ChannelGradients<'_>,
    scratch: &mut [f32],
) {
    match gradient {
        Some(gradient) => scan_backward(s, channels, rows, start, gradient, out, scratch),
        None => scan_backward(s, channels, rows, start, &Unread, out, scratch),
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
