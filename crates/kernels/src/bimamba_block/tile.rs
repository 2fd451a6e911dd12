//! The parts of the block that treat a tile of positions row by row: norm and gate.

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
pub(super) fn fold<L: Lanes>(sums: L) -> f32 {
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

/// Derivative of `v sigmoid(v)`.
#[inline(always)]
pub(super) fn silu_slope<S: Simd>(s: S, v: S::Lanes, sigmoid: S::Lanes) -> S::Lanes {
    let one = s.splat(1.0);
    sigmoid * v.mul_add(one - sigmoid, one)
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
