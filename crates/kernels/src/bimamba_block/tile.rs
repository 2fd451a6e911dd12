//! The parts of the block that treat a tile of positions row by row: norm, convolution, gate.

use super::mask_taps::DirectionTaps;
use crate::lanes::{Lanes, Simd, WIDTH};
use crate::simd_level::for_each_simd_level;

/// Added to the mean square in RMSNorm, as in the released code.
const NORM_EPSILON: f32 = 1e-5;

for_each_simd_level! {
    /// Writes RMSNorm of the rows of `x`, each as long as `weight`, to `out`.
    pub(super) fn rms_norm(x: &[f32], weight: &[f32], out: &mut [f32]) = rms_norm_body
}

/// Sum of sixteen partial sums, in a fixed order.
#[inline(always)]
fn fold<L: Lanes>(sums: L) -> f32 {
    let mut sums = sums.to_array();
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0]
}

#[inline(always)]
fn inverse_rms<S: Simd>(s: S, row: &[f32]) -> f32 {
    let (whole, tail) = row.as_chunks::<WIDTH>();
    let mut sums = s.zero();
    for x in whole {
        let x = s.load_array(x);
        sums = x.mul_add(x, sums);
    }
    let mut sum = fold(sums);
    for x in tail {
        sum += x * x;
    }
    1.0 / (sum / row.len() as f32 + NORM_EPSILON).sqrt()
}

#[inline(always)]
fn rms_norm_body<S: Simd>(s: S, x: &[f32], weight: &[f32], out: &mut [f32]) {
    let d_model = weight.len();
    for (row, out) in x.chunks_exact(d_model).zip(out.chunks_exact_mut(d_model)) {
        let scale = inverse_rms(s, row);
        for ((out, x), weight) in out.iter_mut().zip(row).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

for_each_simd_level! {
    /// Writes `dout` plus the gradient of RMSNorm's input to `dx` and adds the weight's gradient to `dweight`.
    pub(super) fn rms_norm_backward(
        x: &[f32],
        weight: &[f32],
        dh: &[f32],
        dout: &[f32],
        dx: &mut [f32],
        dweight: &mut [f32],
    ) = rms_norm_backward_body
}

#[inline(always)]
fn rms_norm_backward_body<S: Simd>(
    s: S,
    x: &[f32],
    weight: &[f32],
    dh: &[f32],
    dout: &[f32],
    dx: &mut [f32],
    dweight: &mut [f32],
) {
    let d_model = weight.len();
    let rows = x
        .chunks_exact(d_model)
        .zip(dh.chunks_exact(d_model))
        .zip(dout.chunks_exact(d_model))
        .zip(dx.chunks_exact_mut(d_model));
    for (((x, dh), dout), dx) in rows {
        let scale = inverse_rms(s, x);
        let mut sums = s.zero();
        let whole = d_model - d_model % WIDTH;
        for i in (0..whole).step_by(WIDTH) {
            let scaled = s.load(dh, i) * s.load(weight, i);
            sums = scaled.mul_add(s.load(x, i), sums);
        }
        let mut dot = fold(sums);
        for i in whole..d_model {
            dot += dh[i] * weight[i] * x[i];
        }
        let shrink = dot * scale * scale * scale / d_model as f32;
        for i in (0..whole).step_by(WIDTH) {
            let (x, scaled) = (s.load(x, i), s.load(dh, i) * s.splat(scale));
            let through = scaled * s.load(weight, i) - x * s.splat(shrink);
            (s.load(dout, i) + through).store(dx, i);
            scaled.mul_add(x, s.load(dweight, i)).store(dweight, i);
        }
        for i in whole..d_model {
            dx[i] = dout[i] + (dh[i] * scale * weight[i] - x[i] * shrink);
            dweight[i] += dh[i] * scale * x[i];
        }
    }
}

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
    // Two copies of the loop, so that the one without a mask asks nothing on the way.
    match &convolution.taps {
        Some(taps) => convolve_silu_with(s, convolution, Some(taps), u, blocks),
        None => convolve_silu_with(s, convolution, None, u, blocks),
    }
}

#[inline(always)]
fn convolve_silu_with<S: Simd>(
    s: S,
    convolution: &Convolution<'_>,
    taps: Option<&DirectionTaps<'_>>,
    u: &mut [f32],
    blocks: &mut [f32],
) {
    let d_inner = convolution.bias.len();
    let n_row = u.len() / d_inner;
    for (row, u) in u.chunks_exact_mut(d_inner).enumerate() {
        for channel in (0..d_inner).step_by(WIDTH) {
            let v = convolution.at(s, taps, row, channel);
            let v = v * s.sigmoid(v);
            v.store(u, channel);
            v.store(blocks, channel * n_row + row * WIDTH);
        }
    }
}

for_each_simd_level! {
    /// Writes the gradient of the scan's output, `dgated SiLU(z)`, of a tile to `blocks`, `[n_block, n_row, 16]`.
    ///
    /// `z` and `dgated` are rows of `d_inner` floats.
    pub(super) fn scan_output_gradient(
        z: &[f32],
        dgated: &[f32],
        d_inner: usize,
        blocks: &mut [f32],
    ) = scan_output_gradient_body
}

#[inline(always)]
fn scan_output_gradient_body<S: Simd>(
    s: S,
    z: &[f32],
    dgated: &[f32],
    d_inner: usize,
    blocks: &mut [f32],
) {
    let n_row = z.len() / d_inner;
    let rows = z.chunks_exact(d_inner).zip(dgated.chunks_exact(d_inner));
    for (row, (z, dgated)) in rows.enumerate() {
        for channel in (0..d_inner).step_by(WIDTH) {
            let z = s.load(z, channel);
            let dy = s.load(dgated, channel) * z * s.sigmoid(z);
            dy.store(blocks, channel * n_row + row * WIDTH);
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
    match &convolution.taps {
        Some(taps) => {
            convolve_silu_backward_with(s, convolution, Some(taps), du, dweight, dbias);
        }
        None => convolve_silu_backward_with(s, convolution, None, du, dweight, dbias),
    }
}

#[inline(always)]
fn convolve_silu_backward_with<S: Simd>(
    s: S,
    convolution: &Convolution<'_>,
    taps: Option<&DirectionTaps<'_>>,
    du: &mut [f32],
    dweight: &mut [f32],
    dbias: &mut [f32],
) {
    let d_inner = convolution.bias.len();
    for (row, du) in du.chunks_exact_mut(d_inner).enumerate() {
        for channel in (0..d_inner).step_by(WIDTH) {
            let v = convolution.at(s, taps, row, channel);
            let dv = s.load(du, channel) * silu_slope(s, v, s.sigmoid(v));
            dv.store(du, channel);
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

/// Derivative of `v sigmoid(v)`.
#[inline(always)]
fn silu_slope<S: Simd>(s: S, v: S::Lanes, sigmoid: S::Lanes) -> S::Lanes {
    let one = s.splat(1.0);
    sigmoid * v.mul_add(one - sigmoid, one)
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
    for (row, dx) in dx.chunks_exact_mut(d_inner).enumerate() {
        for channel in (0..d_inner).step_by(WIDTH) {
            let mut sum = if add { s.load(dx, channel) } else { s.zero() };
            for k in 0..d_conv {
                let source = if reverse {
                    row + k
                } else {
                    row + d_conv - 1 - k
                };
                let weight = s.load(weight, k * d_inner + channel);
                sum = weight.mul_add(s.load(dv, source * d_inner + channel), sum);
            }
            sum.store(dx, channel);
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

/// Outputs of the scan stored by blocks of channels, `[n_block, length, 16]`, seen from one tile.
#[derive(Clone, Copy)]
pub(super) struct BlockedRows<'a> {
    pub(super) values: &'a [f32],
    /// Rows of each block.
    pub(super) length: usize,
    /// Row of the block that is the tile's first.
    pub(super) start: usize,
}

impl BlockedRows<'_> {
    #[inline(always)]
    fn at<S: Simd>(&self, s: S, row: usize, channel: usize) -> S::Lanes {
        let block = channel / WIDTH;
        s.load(
            self.values,
            (block * self.length + self.start + row) * WIDTH,
        )
    }
}

for_each_simd_level! {
    /// Copies a tile to rows of `d_inner` floats.
    pub(super) fn copy_rows(blocked: &BlockedRows<'_>, d_inner: usize, out: &mut [f32]) = copy_rows_body
}

#[inline(always)]
fn copy_rows_body<S: Simd>(s: S, blocked: &BlockedRows<'_>, d_inner: usize, out: &mut [f32]) {
    for (row, out) in out.chunks_exact_mut(d_inner).enumerate() {
        for channel in (0..d_inner).step_by(WIDTH) {
            blocked.at(s, row, channel).store(out, channel);
        }
    }
}

for_each_simd_level! {
    /// Replaces `z` by `y SiLU(z)`, rows of `d_inner` floats.
    pub(super) fn gate(y: &BlockedRows<'_>, d_inner: usize, z: &mut [f32]) = gate_body
}

#[inline(always)]
fn gate_body<S: Simd>(s: S, y: &BlockedRows<'_>, d_inner: usize, z: &mut [f32]) {
    for (row, z) in z.chunks_exact_mut(d_inner).enumerate() {
        for channel in (0..d_inner).step_by(WIDTH) {
            let v = s.load(z, channel);
            (y.at(s, row, channel) * v * s.sigmoid(v)).store(z, channel);
        }
    }
}

for_each_simd_level! {
    /// Replaces the gated output's gradient in `dgated` by the gated output itself, and `z` by its gradient.
    pub(super) fn gate_backward(
        y: &BlockedRows<'_>,
        d_inner: usize,
        z: &mut [f32],
        dgated: &mut [f32],
    ) = gate_backward_body
}

#[inline(always)]
fn gate_backward_body<S: Simd>(
    s: S,
    y: &BlockedRows<'_>,
    d_inner: usize,
    z: &mut [f32],
    dgated: &mut [f32],
) {
    let rows = z
        .chunks_exact_mut(d_inner)
        .zip(dgated.chunks_exact_mut(d_inner));
    for (row, (z, dgated)) in rows.enumerate() {
        for channel in (0..d_inner).step_by(WIDTH) {
            let v = s.load(z, channel);
            let y = y.at(s, row, channel);
            let sigmoid = s.sigmoid(v);
            let dz = s.load(dgated, channel) * y * silu_slope(s, v, sigmoid);
            (y * v * sigmoid).store(dgated, channel);
            dz.store(z, channel);
        }
    }
}
