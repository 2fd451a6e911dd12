//! The causal depthwise convolution in front of a scan, and its adjoint, on a tile of positions.

use std::ops::Range;

use super::mask_taps::DirectionTaps;
use super::tile::{fold, silu_slope};
use crate::lanes::{Lanes, Simd, WIDTH};
use crate::simd_level::for_each_simd_level;

/// The convolution of one direction on one tile.
#[derive(Clone, Copy)]
pub(super) struct Convolution<'a> {
    /// Inputs of the whole sequence, `[length, d_inner]`.
    pub(super) x: &'a [f32],
    /// `[d_conv, d_inner]`
    pub(super) weight: &'a [f32],
    /// `[d_inner]`
    pub(super) bias: &'a [f32],
    /// First position of the tile.
    pub(super) start: usize,
    /// Whether the taps reach to later positions instead of earlier ones.
    pub(super) reverse: bool,
    /// Which positions the taps read instead of the nearest ones, and how much of them.
    pub(super) taps: Option<DirectionTaps<'a>>,
}

impl Convolution<'_> {
    #[inline(always)]
    fn d_conv(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// Position in `x` that tap `k` reads for a row of the tile; `None` outside the sequence.
    #[inline(always)]
    fn source(&self, row: usize, k: usize) -> Option<usize> {
        let back = self.d_conv() - 1 - k;
        let at = self.start + row;
        if self.reverse {
            let source = at + back;
            (source * self.bias.len() < self.x.len()).then_some(source)
        } else {
            at.checked_sub(back)
        }
    }

    /// What tap `k` of a row reads in sixteen channels; `None` outside the sequence.
    #[inline(always)]
    fn input<S: Simd>(
        &self,
        s: S,
        taps: Option<&DirectionTaps<'_>>,
        row: usize,
        k: usize,
        channel: usize,
    ) -> Option<S::Lanes> {
        let d_inner = self.bias.len();
        let back = self.d_conv() - 1 - k;
        match taps {
            Some(taps) if back > 0 => {
                let source = taps.source(self.start + row, back)?;
                let x = s.load(self.x, source * d_inner + channel);
                Some(x * s.splat(taps.mask[source]))
            }
            _ => {
                let source = self.source(row, k)?;
                Some(s.load(self.x, source * d_inner + channel))
            }
        }
    }

    /// Output before SiLU for sixteen channels.
    #[inline(always)]
    fn at<S: Simd>(
        &self,
        s: S,
        taps: Option<&DirectionTaps<'_>>,
        row: usize,
        channel: usize,
    ) -> S::Lanes {
        let d_inner = self.bias.len();
        let mut sum = s.load(self.bias, channel);
        for k in 0..self.d_conv() {
            if let Some(x) = self.input(s, taps, row, k, channel) {
                let weight = s.load(self.weight, k * d_inner + channel);
                sum = weight.mul_add(x, sum);
            }
        }
        sum
    }
}

/// Taps of the networks' convolutions, for which rows are treated four at a time.
const TAPS: usize = 4;

/// Rows treated together: a tap's weights and what neighbouring rows read alike are loaded once, and the four chains of
/// instructions run beside each other.
const ROWS: usize = 4;

/// Rows that four taps of four rows read.
const WINDOW: usize = ROWS + TAPS - 1;

/// What four taps read for four rows, one after the other, and their weights; each a row of channels by sixteens.
/// `MIRRORED`: the last tap reads the first of a row's four.
struct Window<'a, const MIRRORED: bool> {
    x: [&'a [[f32; WIDTH]]; WINDOW],
    weight: [&'a [[f32; WIDTH]]; TAPS],
}

/// `N` rows of `d` floats from row `first` on, by sixteens.
#[inline(always)]
fn rows_of<const N: usize>(values: &[f32], first: usize, d: usize) -> [&[[f32; WIDTH]]; N] {
    let mut rows: [&[[f32; WIDTH]]; N] = [&[]; N];
    for (index, row) in rows.iter_mut().enumerate() {
        *row = values[(first + index) * d..][..d].as_chunks().0;
    }
    rows
}

/// The one of a window's rows that tap `k` of `row` reads.
#[inline(always)]
fn source_of<const MIRRORED: bool>(row: usize, k: usize) -> usize {
    row + if MIRRORED { TAPS - 1 - k } else { k }
}

impl<'a, const MIRRORED: bool> Window<'a, MIRRORED> {
    #[inline(always)]
    fn new(x: &'a [f32], first: usize, weight: &'a [f32]) -> Self {
        let d = weight.len() / TAPS;
        Self {
            x: rows_of(x, first, d),
            weight: rows_of(weight, 0, d),
        }
    }

    /// What the rows read in sixteen channels, in the order in which the first tap of each row comes first.
    #[inline(always)]
    fn inputs<S: Simd>(&self, s: S, c: usize) -> [S::Lanes; WINDOW] {
        let mut x = [s.zero(); WINDOW];
        for (index, x) in x.iter_mut().enumerate() {
            *x = s.load_array(&self.x[index][c]);
        }
        x
    }

    /// Adds to `sums` what the taps make of `inputs`, tap after tap.
    #[inline(always)]
    fn add_taps<S: Simd>(
        &self,
        s: S,
        c: usize,
        inputs: &[S::Lanes; WINDOW],
        sums: &mut [S::Lanes; ROWS],
    ) {
        for k in 0..TAPS {
            let weight = s.load_array(&self.weight[k][c]);
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = weight.mul_add(inputs[source_of::<MIRRORED>(row, k)], *sum);
            }
        }
    }
}

impl Convolution<'_> {
    /// The rows of a tile of `n_row` that are treated four at a time: four taps, all inside the sequence, no mask.
    fn fours(&self, n_row: usize) -> Range<usize> {
        if self.d_conv() != TAPS || self.taps.is_some() {
            return 0..0;
        }
        let length = self.x.len() / self.bias.len();
        let inside = if self.reverse {
            0..n_row.min((length - self.start).saturating_sub(TAPS - 1))
        } else {
            (TAPS - 1).saturating_sub(self.start).min(n_row)..n_row
        };
        inside.start..inside.end - inside.len() % ROWS
    }

    /// What the taps of four rows read; `REVERSE` is the convolution's.
    #[inline(always)]
    fn window<const REVERSE: bool>(&self, row: usize) -> Window<'_, REVERSE> {
        let first = self.start + row - if REVERSE { 0 } else { TAPS - 1 };
        Window::new(self.x, first, self.weight)
    }

    /// What the four rows behind these read and these do not.
    #[inline(always)]
    fn next_rows(&self, row: usize) -> &[f32] {
        let ahead = ROWS + if self.reverse { TAPS - 1 } else { 0 };
        let start = (self.start + row + ahead) * self.bias.len();
        self.x.get(start..).unwrap_or_default()
    }

    /// Outputs of four rows before SiLU for sixteen channels.
    #[inline(always)]
    fn four_at<S: Simd, const REVERSE: bool>(
        &self,
        s: S,
        window: &Window<'_, REVERSE>,
        c: usize,
        inputs: &[S::Lanes; WINDOW],
    ) -> [S::Lanes; ROWS] {
        let mut sums = [s.load(self.bias, c * WIDTH); ROWS];
        window.add_taps(s, c, inputs, &mut sums);
        sums
    }
}

for_each_simd_level! {
    /// Writes `u = SiLU(convolution)` of a tile to rows of `d_inner` floats, and once more to `blocks`,
    /// `[n_block, n_row, 16]`.
    pub(super) fn convolve_silu(
        convolution: &Convolution<'_>,
        u: &mut [f32],
        blocks: &mut [f32],
    ) = convolve_silu_body
}

#[inline(always)]
fn convolve_silu_body<S: Simd>(
    s: S,
    convolution: &Convolution<'_>,
    u: &mut [f32],
    blocks: &mut [f32],
) {
    let d_inner = convolution.bias.len();
    let n_row = u.len() / d_inner;
    let fours = convolution.fours(n_row);
    if convolution.reverse {
        convolve_fours::<S, true>(s, convolution, fours.clone(), u, blocks);
    } else {
        convolve_fours::<S, false>(s, convolution, fours.clone(), u, blocks);
    }
    let taps = convolution.taps.as_ref();
    for row in (0..fours.start).chain(fours.end..n_row) {
        for channel in (0..d_inner).step_by(WIDTH) {
            let v = convolution.at(s, taps, row, channel);
            let v = v * s.sigmoid(v);
            v.store(u, row * d_inner + channel);
            v.store(blocks, channel * n_row + row * WIDTH);
        }
    }
}

#[inline(always)]
fn convolve_fours<S: Simd, const REVERSE: bool>(
    s: S,
    convolution: &Convolution<'_>,
    fours: Range<usize>,
    u: &mut [f32],
    blocks: &mut [f32],
) {
    let d_inner = convolution.bias.len();
    let n_row = u.len() / d_inner;
    for row in fours.step_by(ROWS) {
        let window = convolution.window::<REVERSE>(row);
        let next = convolution.next_rows(row);
        for c in 0..d_inner / WIDTH {
            let inputs = window.inputs(s, c);
            for i in 0..ROWS {
                s.prefetch(next, i * d_inner + c * WIDTH);
            }
            let sums = convolution.four_at(s, &window, c, &inputs);
            for (i, v) in sums.into_iter().enumerate() {
                let v = v * s.sigmoid(v);
                v.store(u, (row + i) * d_inner + c * WIDTH);
                v.store(blocks, (c * n_row + row + i) * WIDTH);
            }
        }
    }
}

for_each_simd_level! {
    /// Turns the gradient of `u` in `du` into that of the convolution's output, and adds the gradients of its
    /// weight and bias to `dweight` and `dbias`.
    pub(super) fn convolve_silu_backward(
        convolution: &Convolution<'_>,
        du: &mut [f32],
        dweight: &mut [f32],
        dbias: &mut [f32],
    ) = convolve_silu_backward_body
}

#[inline(always)]
fn convolve_silu_backward_body<S: Simd>(
    s: S,
    convolution: &Convolution<'_>,
    du: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let d_inner = convolution.bias.len();
    let n_row = du.len() / d_inner;
    let fours = convolution.fours(n_row);
    // The sums' order is that of the rows.
    backward_of_rows(s, convolution, 0..fours.start, du, dweight, dbias);
    if convolution.reverse {
        backward_of_fours::<S, true>(s, convolution, fours.clone(), du, dweight, dbias);
    } else {
        backward_of_fours::<S, false>(s, convolution, fours.clone(), du, dweight, dbias);
    }
    backward_of_rows(s, convolution, fours.end..n_row, du, dweight, dbias);
}

#[inline(always)]
fn backward_of_fours<S: Simd, const REVERSE: bool>(
    s: S,
    convolution: &Convolution<'_>,
    fours: Range<usize>,
    du: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let d_inner = convolution.bias.len();
    for row in fours.step_by(ROWS) {
        let window = convolution.window::<REVERSE>(row);
        for c in 0..d_inner / WIDTH {
            let inputs = window.inputs(s, c);
            let mut dv = convolution.four_at(s, &window, c, &inputs);
            let mut dbias_sum = s.load(dbias, c * WIDTH);
            for (i, dv) in dv.iter_mut().enumerate() {
                let at = (row + i) * d_inner + c * WIDTH;
                *dv = s.load(du, at) * silu_slope(s, *dv, s.sigmoid(*dv));
                dv.store(du, at);
                dbias_sum = dbias_sum + *dv;
            }
            dbias_sum.store(dbias, c * WIDTH);
            for k in 0..TAPS {
                let place = k * d_inner + c * WIDTH;
                let mut sum = s.load(dweight, place);
                for (i, dv) in dv.iter().enumerate() {
                    sum = dv.mul_add(inputs[source_of::<REVERSE>(i, k)], sum);
                }
                sum.store(dweight, place);
            }
        }
    }
}

/// Row after row, with any number of taps, at the sequence's ends, and under a mask.
#[inline(always)]
fn backward_of_rows<S: Simd>(
    s: S,
    convolution: &Convolution<'_>,
    rows: Range<usize>,
    du: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let d_inner = convolution.bias.len();
    let taps = convolution.taps.as_ref();
    for row in rows {
        for channel in (0..d_inner).step_by(WIDTH) {
            let v = convolution.at(s, taps, row, channel);
            let dv = s.load(du, row * d_inner + channel) * silu_slope(s, v, s.sigmoid(v));
            dv.store(du, row * d_inner + channel);
            (s.load(dbias, channel) + dv).store(dbias, channel);
            for k in 0..convolution.d_conv() {
                if let Some(x) = convolution.input(s, taps, row, k, channel) {
                    let at = k * d_inner + channel;
                    dv.mul_add(x, s.load(dweight, at)).store(dweight, at);
                }
            }
        }
    }
}

for_each_simd_level! {
    /// Writes (or, if `add`, adds) the gradient of the convolution's input for rows of `d_inner` floats.
    ///
    /// `dv` holds the gradient of the convolution's output for the same rows and for `d_conv - 1` more that
    /// read from them: after these rows, or before them if `reverse`.
    pub(super) fn convolve_transposed(
        dv: &[f32],
        weight: &[f32],
        d_inner: usize,
        reverse: bool,
        dx: &mut [f32],
        add: bool,
    ) = convolve_transposed_body
}

#[inline(always)]
fn convolve_transposed_body<S: Simd>(
    s: S,
    dv: &[f32],
    weight: &[f32],
    d_inner: usize,
    reverse: bool,
    dx: &mut [f32],
    add: bool,
) {
    let d_conv = weight.len() / d_inner;
    let n_row = dx.len() / d_inner;
    let n_four = if d_conv == TAPS {
        n_row - n_row % ROWS
    } else {
        0
    };
    // What a row takes part in lies behind it where its own taps reach back, so the taps' order turns around.
    let fours = &mut dx[..n_four * d_inner];
    if reverse {
        transposed_fours::<S, false>(s, dv, weight, d_inner, fours, add);
    } else {
        transposed_fours::<S, true>(s, dv, weight, d_inner, fours, add);
    }
    for row in n_four..n_row {
        for channel in (0..d_inner).step_by(WIDTH) {
            let at = row * d_inner + channel;
            let mut sum = if add { s.load(dx, at) } else { s.zero() };
            for k in 0..d_conv {
                let source = if reverse {
                    row + k
                } else {
                    row + d_conv - 1 - k
                };
                let weight = s.load(weight, k * d_inner + channel);
                sum = weight.mul_add(s.load(dv, source * d_inner + channel), sum);
            }
            sum.store(dx, at);
        }
    }
}

#[inline(always)]
fn transposed_fours<S: Simd, const MIRRORED: bool>(
    s: S,
    dv: &[f32],
    weight: &[f32],
    d_inner: usize,
    dx: &mut [f32],
    add: bool,
) {
    for (four, dx) in dx.chunks_exact_mut(ROWS * d_inner).enumerate() {
        let window = Window::<MIRRORED>::new(dv, four * ROWS, weight);
        for c in 0..d_inner / WIDTH {
            let mut sums = [s.zero(); ROWS];
            if add {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = s.load(dx, i * d_inner + c * WIDTH);
                }
            }
            let inputs = window.inputs(s, c);
            window.add_taps(s, c, &inputs, &mut sums);
            for (i, sum) in sums.into_iter().enumerate() {
                sum.store(dx, i * d_inner + c * WIDTH);
            }
        }
    }
}

/// What [`convolve_transposed_masked`] reads of a run of rows.
pub(super) struct MaskedAdjoint<'a> {
    /// Gradient of the convolution's output, rows of `d_inner` floats.
    pub(super) dv: &'a [f32],
    /// Inputs of the same rows.
    pub(super) x: &'a [f32],
    /// Mask of the same rows.
    pub(super) mask: &'a [f32],
    /// Gradient of each row's mask through its step sizes, `[n_block, rows, 16]`.
    pub(super) dmask_step: &'a [f32],
    /// `[d_conv, d_inner]`
    pub(super) weight: &'a [f32],
    pub(super) d_inner: usize,
    /// Whether the taps reach to later positions.
    pub(super) reverse: bool,
    /// Whether the other direction has written its part before.
    pub(super) add: bool,
}

for_each_simd_level! {
    /// Writes (or adds) the gradient of a masked convolution's input, and adds the mask's gradient to `dmask`.
    ///
    /// Walks against the direction's time. `pending`, `[d_conv - 1, d_inner]`, holds the gradients of what the
    /// latest, second latest, … selected position before the current row passes on; it is kept between runs.
    pub(super) fn convolve_transposed_masked(
        adjoint: &MaskedAdjoint<'_>,
        pending: &mut [f32],
        dx: &mut [f32],
        dmask: &mut [f32],
    ) = convolve_transposed_masked_body
}

#[inline(always)]
fn convolve_transposed_masked_body<S: Simd>(
    s: S,
    adjoint: &MaskedAdjoint<'_>,
    pending: &mut [f32],
    dx: &mut [f32],
    dmask: &mut [f32],
) {
    let (d_inner, n_row) = (adjoint.d_inner, adjoint.mask.len());
    let d_conv = adjoint.weight.len() / d_inner;
    for time in 0..n_row {
        let row = if adjoint.reverse {
            time
        } else {
            n_row - 1 - time
        };
        let mask = adjoint.mask[row];
        let mut sum = s.zero();
        for channel in (0..d_inner).step_by(WIDTH) {
            let at = row * d_inner + channel;
            let dv = s.load(adjoint.dv, at);
            let x = s.load(adjoint.x, at);
            let mut passed_on = s.zero();
            if mask != 0.0 && d_conv > 1 {
                passed_on = s.load(pending, channel);
                for back in 1..d_conv - 1 {
                    let next = s.load(pending, back * d_inner + channel);
                    next.store(pending, (back - 1) * d_inner + channel);
                }
                s.zero().store(pending, (d_conv - 2) * d_inner + channel);
            }
            for back in 1..d_conv {
                let place = (back - 1) * d_inner + channel;
                let weight = s.load(adjoint.weight, (d_conv - 1 - back) * d_inner + channel);
                weight
                    .mul_add(dv, s.load(pending, place))
                    .store(pending, place);
            }
            let own = s.load(adjoint.weight, (d_conv - 1) * d_inner + channel);
            let mut out = own.mul_add(dv, passed_on * s.splat(mask));
            if adjoint.add {
                out = out + s.load(dx, at);
            }
            out.store(dx, at);
            sum = passed_on.mul_add(x, sum);
            let step = (channel / WIDTH * n_row + row) * WIDTH;
            sum = sum + s.load(adjoint.dmask_step, step);
        }
        dmask[row] += fold(sum);
    }
}
