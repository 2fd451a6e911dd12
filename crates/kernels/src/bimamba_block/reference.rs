//! The block in plain `f64` loops, forward and backward: the definition the fast paths are measured against.
//!
//! It follows the published form to the letter: two complete Mamba mixers, the second on the reversed
//! sequence, that happen to share `in_proj` and `out_proj`.

use super::layout::{BlockSizes, DirectionLayout, ParamLayout};
use crate::selective_scan::reference::Scan;

/// Added to the mean square in RMSNorm, as in the released code.
pub const NORM_EPSILON: f64 = 1e-5;

/// Divides each row of `x`, `[rows, d_model]`, by its root mean square and multiplies by `weight`.
pub fn rms_norm(x: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks(weight.len()) {
        let scale = inverse_rms(row);
        out.extend(row.iter().zip(weight).map(|(x, w)| x * scale * w));
    }
    out
}

fn inverse_rms(row: &[f64]) -> f64 {
    let mean_square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    1.0 / (mean_square + NORM_EPSILON).sqrt()
}

/// Gradients of [`rms_norm`]: of `x`, and of `weight`.
pub fn rms_norm_backward(x: &[f64], weight: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let d_model = weight.len();
    let mut dx = Vec::with_capacity(x.len());
    let mut dweight = vec![0.0; d_model];
    for (row, dy) in x.chunks(d_model).zip(dy.chunks(d_model)) {
        let scale = inverse_rms(row);
        let mut dot = 0.0;
        for i in 0..d_model {
            dweight[i] += dy[i] * row[i] * scale;
            dot += dy[i] * weight[i] * row[i];
        }
        let shrink = dot * scale.powi(3) / d_model as f64;
        for i in 0..d_model {
            dx.push(dy[i] * weight[i] * scale - row[i] * shrink);
        }
    }
    (dx, dweight)
}

/// Convolves each channel with the `d_conv` latest positions: `out_t = bias + sum_k weight_k x_{t-(d_conv-1)+k}`.
///
/// `x` is `[length, d_inner]`, `weight` `[d_inner, d_conv]`; positions before the first count as zero.
pub fn causal_conv1d(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let d_inner = bias.len();
    let d_conv = weight.len() / d_inner;
    let mut out = vec![0.0; x.len()];
    for t in 0..x.len() / d_inner {
        for i in 0..d_inner {
            let mut sum = bias[i];
            for k in 0..d_conv {
                if t + k + 1 >= d_conv {
                    sum += weight[i * d_conv + k] * x[(t + k + 1 - d_conv) * d_inner + i];
                }
            }
            out[t * d_inner + i] = sum;
        }
    }
    out
}

/// [`causal_conv1d`] under a mask, one value per position: the taps before a position's own reach to the latest
/// positions whose mask is not 0, each of which counts as often as its mask says.
pub fn masked_conv1d(x: &[f64], mask: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let d_inner = bias.len();
    let d_conv = weight.len() / d_inner;
    let mut out = Vec::with_capacity(x.len());
    let mut selected: Vec<usize> = Vec::new();
    for (t, &m) in mask.iter().enumerate() {
        for i in 0..d_inner {
            let tap = |back: usize| weight[i * d_conv + d_conv - 1 - back];
            let mut sum = bias[i] + tap(0) * x[t * d_inner + i];
            for (back, &s) in (1..d_conv).zip(selected.iter().rev()) {
                sum += tap(back) * mask[s] * x[s * d_inner + i];
            }
            out.push(sum);
        }
        if m != 0.0 {
            selected.push(t);
        }
    }
    out
}

/// Gradients of [`masked_conv1d`] of `d_inner` channels: of `x`, of `mask`, of `weight` and of `bias`.
pub fn masked_conv1d_backward(
    x: &[f64],
    mask: &[f64],
    weight: &[f64],
    d_inner: usize,
    dout: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>, Vec<f64>) {
    let d_conv = weight.len() / d_inner;
    let mut dx = vec![0.0; x.len()];
    let mut dmask = vec![0.0; mask.len()];
    let mut dweight = vec![0.0; weight.len()];
    let mut dbias = vec![0.0; d_inner];
    let mut selected: Vec<usize> = Vec::new();
    for (t, &m) in mask.iter().enumerate() {
        for i in 0..d_inner {
            let tap = |back: usize| i * d_conv + d_conv - 1 - back;
            let d = dout[t * d_inner + i];
            dbias[i] += d;
            dweight[tap(0)] += d * x[t * d_inner + i];
            dx[t * d_inner + i] += d * weight[tap(0)];
            for (back, &s) in (1..d_conv).zip(selected.iter().rev()) {
                dweight[tap(back)] += d * mask[s] * x[s * d_inner + i];
                dx[s * d_inner + i] += d * weight[tap(back)] * mask[s];
                dmask[s] += d * weight[tap(back)] * x[s * d_inner + i];
            }
        }
        if m != 0.0 {
            selected.push(t);
        }
    }
    (dx, dmask, dweight, dbias)
}

/// Gradients of [`causal_conv1d`] of `d_inner` channels: of `x`, of `weight` and of `bias`.
pub fn causal_conv1d_backward(
    x: &[f64],
    weight: &[f64],
    d_inner: usize,
    dout: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let d_conv = weight.len() / d_inner;
    let mut dx = vec![0.0; x.len()];
    let mut dweight = vec![0.0; weight.len()];
    let mut dbias = vec![0.0; d_inner];
    for t in 0..x.len() / d_inner {
        for i in 0..d_inner {
            let d = dout[t * d_inner + i];
            dbias[i] += d;
            for k in 0..d_conv {
                if t + k + 1 >= d_conv {
                    let source = (t + k + 1 - d_conv) * d_inner + i;
                    dweight[i * d_conv + k] += d * x[source];
                    dx[source] += d * weight[i * d_conv + k];
                }
            }
        }
    }
    (dx, dweight, dbias)
}

/// `x weight^T` for `x` of `n_in` columns and `weight` of `n_in` columns, `[n_out, n_in]`.
fn linear(x: &[f64], weight: &[f64], n_in: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len() / n_in * (weight.len() / n_in));
    for row in x.chunks(n_in) {
        for weight in weight.chunks(n_in) {
            out.push(row.iter().zip(weight).map(|(x, w)| x * w).sum());
        }
    }
    out
}

/// Gradients of [`linear`]: of `x` and of `weight`.
fn linear_backward(x: &[f64], weight: &[f64], n_in: usize, dout: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n_out = weight.len() / n_in;
    let mut dx = vec![0.0; x.len()];
    let mut dweight = vec![0.0; weight.len()];
    for ((x, dx), dout) in x
        .chunks(n_in)
        .zip(dx.chunks_mut(n_in))
        .zip(dout.chunks(n_out))
    {
        for o in 0..n_out {
            for i in 0..n_in {
                dx[i] += dout[o] * weight[o * n_in + i];
                dweight[o * n_in + i] += dout[o] * x[i];
            }
        }
    }
    (dx, dweight)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

fn silu_slope(x: f64) -> f64 {
    sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))
}

/// `ln(1 + exp(x))`, and `x` itself above 20 as in the released code.
fn softplus(x: f64) -> f64 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

fn softplus_slope(x: f64) -> f64 {
    if x > 20.0 { 1.0 } else { sigmoid(x) }
}

/// Everything a mixer computes on the way, one sequence.
struct Mixer {
    /// Convolution input, `[length, d_inner]`.
    x: Vec<f64>,
    /// Gate before SiLU.
    z: Vec<f64>,
    /// Convolution output before SiLU.
    conv: Vec<f64>,
    u: Vec<f64>,
    /// Rank-`dt_rank` input of the step size, `[length, dt_rank]`.
    dt: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
    /// Step size before softplus.
    raw_delta: Vec<f64>,
    /// Step size before the mask.
    unmasked: Vec<f64>,
    delta: Vec<f64>,
    a: Vec<f64>,
    /// Output of the scan.
    y: Vec<f64>,
    gated: Vec<f64>,
}

/// Copies `width` columns from `start` of rows with `stride` columns.
fn columns(rows: &[f64], stride: usize, start: usize, width: usize) -> Vec<f64> {
    rows.chunks(stride)
        .flat_map(|row| row[start..start + width].iter().copied())
        .collect()
}

/// Writes rows of `width` columns into columns from `start` of rows with `stride` columns.
fn put_columns(values: &[f64], width: usize, rows: &mut [f64], stride: usize, start: usize) {
    for (row, values) in rows.chunks_mut(stride).zip(values.chunks(width)) {
        row[start..start + width].copy_from_slice(values);
    }
}

/// Reverses the order of rows of `width` columns.
fn flip(rows: &[f64], width: usize) -> Vec<f64> {
    rows.chunks(width).rev().flatten().copied().collect()
}

/// One Mamba mixer over one sequence; borrows what both passes need.
struct Mamba<'a> {
    sizes: BlockSizes,
    layout: &'a ParamLayout,
    direction: &'a DirectionLayout,
    params: &'a [f64],
    /// One value per position; none = all 1.
    mask: Option<&'a [f64]>,
}

impl Mamba<'_> {
    /// The mask of entry `index` of an array with `width` values per position.
    fn mask_at(&self, index: usize, width: usize) -> f64 {
        self.mask.map_or(1.0, |mask| mask[index / width])
    }

    fn run(&self, h: &[f64]) -> Mixer {
        let BlockSizes {
            d_model,
            d_inner,
            d_state,
            dt_rank,
            ..
        } = self.sizes;
        let (params, direction) = (self.params, self.direction);
        let xz = linear(h, &params[self.layout.in_proj.clone()], d_model);
        let x = columns(&xz, 2 * d_inner, 0, d_inner);
        let z = columns(&xz, 2 * d_inner, d_inner, d_inner);
        let conv_weight = &params[direction.conv_weight.clone()];
        let conv_bias = &params[direction.conv_bias.clone()];
        let conv = match self.mask {
            Some(mask) => masked_conv1d(&x, mask, conv_weight, conv_bias),
            None => causal_conv1d(&x, conv_weight, conv_bias),
        };
        let u: Vec<f64> = conv.iter().map(|&v| silu(v)).collect();
        let projected = linear(&u, &params[direction.x_proj.clone()], d_inner);
        let stride = self.sizes.d_x_proj();
        let dt = columns(&projected, stride, 0, dt_rank);
        let b = columns(&projected, stride, dt_rank, d_state);
        let c = columns(&projected, stride, dt_rank + d_state, d_state);
        let mut raw_delta = linear(&dt, &params[direction.dt_weight.clone()], dt_rank);
        for row in raw_delta.chunks_mut(d_inner) {
            for (v, bias) in row.iter_mut().zip(&params[direction.dt_bias.clone()]) {
                *v += bias;
            }
        }
        let unmasked: Vec<f64> = raw_delta.iter().map(|&v| softplus(v)).collect();
        let delta: Vec<f64> = (0..unmasked.len())
            .map(|i| self.mask_at(i, d_inner) * unmasked[i])
            .collect();
        let a: Vec<f64> = params[direction.a_log.clone()]
            .iter()
            .map(|v| -v.exp())
            .collect();
        let scan = Scan {
            u: &u,
            delta: &delta,
            a: &a,
            b: &b,
            c: &c,
            d: &params[direction.d.clone()],
        };
        let (y, _) = scan.forward();
        let gated = y.iter().zip(&z).map(|(y, &z)| y * silu(z)).collect();
        Mixer {
            x,
            z,
            conv,
            u,
            dt,
            b,
            c,
            raw_delta,
            unmasked,
            delta,
            a,
            y,
            gated,
        }
    }

    fn output(&self, mixer: &Mixer) -> Vec<f64> {
        linear(
            &mixer.gated,
            &self.params[self.layout.out_proj.clone()],
            self.sizes.d_inner,
        )
    }

    /// Adds the parameters' gradients to `dparams` and returns those of `h` and of the mask.
    fn backward(&self, h: &[f64], dout: &[f64], dparams: &mut [f64]) -> (Vec<f64>, Vec<f64>) {
        let BlockSizes {
            d_model,
            d_inner,
            d_state,
            dt_rank,
            ..
        } = self.sizes;
        let (params, direction) = (self.params, self.direction);
        let mixer = self.run(h);
        let mut add = |place: &std::ops::Range<usize>, gradient: &[f64]| {
            for (sum, g) in dparams[place.clone()].iter_mut().zip(gradient) {
                *sum += g;
            }
        };

        let out_proj = &params[self.layout.out_proj.clone()];
        let (dgated, dout_proj) = linear_backward(&mixer.gated, out_proj, d_inner, dout);
        add(&self.layout.out_proj, &dout_proj);
        let dz: Vec<f64> = (0..dgated.len())
            .map(|i| dgated[i] * mixer.y[i] * silu_slope(mixer.z[i]))
            .collect();
        let dy: Vec<f64> = (0..dgated.len())
            .map(|i| dgated[i] * silu(mixer.z[i]))
            .collect();

        let scan = Scan {
            u: &mixer.u,
            delta: &mixer.delta,
            a: &mixer.a,
            b: &mixer.b,
            c: &mixer.c,
            d: &params[direction.d.clone()],
        };
        let scan = scan.backward(&dy);
        let da_log: Vec<f64> = scan.a.iter().zip(&mixer.a).map(|(g, a)| g * a).collect();
        add(&direction.a_log, &da_log);
        add(&direction.d, &scan.d);

        let draw_delta: Vec<f64> = (0..scan.delta.len())
            .map(|i| scan.delta[i] * self.mask_at(i, d_inner) * softplus_slope(mixer.raw_delta[i]))
            .collect();
        let mut dmask = vec![0.0; self.mask.map_or(0, <[f64]>::len)];
        for (t, dmask) in dmask.iter_mut().enumerate() {
            for i in t * d_inner..(t + 1) * d_inner {
                *dmask += scan.delta[i] * mixer.unmasked[i];
            }
        }
        let mut dt_bias = vec![0.0; d_inner];
        for row in draw_delta.chunks(d_inner) {
            for (sum, g) in dt_bias.iter_mut().zip(row) {
                *sum += g;
            }
        }
        add(&direction.dt_bias, &dt_bias);
        let (ddt, ddt_weight) = linear_backward(
            &mixer.dt,
            &params[direction.dt_weight.clone()],
            dt_rank,
            &draw_delta,
        );
        add(&direction.dt_weight, &ddt_weight);

        let stride = self.sizes.d_x_proj();
        let mut dprojected = vec![0.0; h.len() / d_model * stride];
        put_columns(&ddt, dt_rank, &mut dprojected, stride, 0);
        put_columns(&scan.b, d_state, &mut dprojected, stride, dt_rank);
        put_columns(&scan.c, d_state, &mut dprojected, stride, dt_rank + d_state);
        let (du, dx_proj) = linear_backward(
            &mixer.u,
            &params[direction.x_proj.clone()],
            d_inner,
            &dprojected,
        );
        add(&direction.x_proj, &dx_proj);
        let dconv: Vec<f64> = (0..du.len())
            .map(|i| (du[i] + scan.u[i]) * silu_slope(mixer.conv[i]))
            .collect();
        let conv_weight = &params[direction.conv_weight.clone()];
        let (dx, dconv_weight, dconv_bias) = match self.mask {
            Some(mask) => {
                let (dx, through_taps, dweight, dbias) =
                    masked_conv1d_backward(&mixer.x, mask, conv_weight, d_inner, &dconv);
                for (sum, g) in dmask.iter_mut().zip(through_taps) {
                    *sum += g;
                }
                (dx, dweight, dbias)
            }
            None => causal_conv1d_backward(&mixer.x, conv_weight, d_inner, &dconv),
        };
        add(&direction.conv_weight, &dconv_weight);
        add(&direction.conv_bias, &dconv_bias);

        let mut dxz = vec![0.0; 2 * dx.len()];
        put_columns(&dx, d_inner, &mut dxz, 2 * d_inner, 0);
        put_columns(&dz, d_inner, &mut dxz, 2 * d_inner, d_inner);
        let (dh, din_proj) =
            linear_backward(h, &params[self.layout.in_proj.clone()], d_model, &dxz);
        add(&self.layout.in_proj, &din_proj);
        (dh, dmask)
    }
}

/// Runs one direction's mixer (0 forward, 1 reverse) over one sequence `h`, `[length, d_model]`.
///
/// The reverse mixer reads the sequence from its end and its output is turned round again.
pub fn mamba(h: &[f64], params: &[f64], sizes: BlockSizes, direction: usize) -> Vec<f64> {
    masked_mamba(h, None, params, sizes, direction)
}

/// [`mamba`] under a mask of one value per position, if one is given.
pub fn masked_mamba(
    h: &[f64],
    mask: Option<&[f64]>,
    params: &[f64],
    sizes: BlockSizes,
    direction: usize,
) -> Vec<f64> {
    let layout = sizes.layout();
    let turned = mask.map(|mask| in_direction(mask, 1, direction));
    let mamba = Mamba {
        sizes,
        layout: &layout,
        direction: &layout.directions[direction],
        params,
        mask: turned.as_deref(),
    };
    let h = in_direction(h, sizes.d_model, direction);
    in_direction(&mamba.output(&mamba.run(&h)), sizes.d_model, direction)
}

/// Rows of `width` columns in the order in which a direction reads them, or back again.
fn in_direction(rows: &[f64], width: usize, direction: usize) -> Vec<f64> {
    if direction == 0 {
        rows.to_vec()
    } else {
        flip(rows, width)
    }
}

/// Adds the gradients of [`mamba`]'s parameters to `dparams` and returns the gradient of `h`.
pub fn mamba_backward(
    h: &[f64],
    params: &[f64],
    sizes: BlockSizes,
    direction: usize,
    dout: &[f64],
    dparams: &mut [f64],
) -> Vec<f64> {
    masked_mamba_backward(h, None, params, sizes, direction, dout, dparams).0
}

/// Adds the gradients of [`masked_mamba`]'s parameters to `dparams` and returns those of `h` and of the mask (empty
/// without one).
pub fn masked_mamba_backward(
    h: &[f64],
    mask: Option<&[f64]>,
    params: &[f64],
    sizes: BlockSizes,
    direction: usize,
    dout: &[f64],
    dparams: &mut [f64],
) -> (Vec<f64>, Vec<f64>) {
    let layout = sizes.layout();
    let turned = mask.map(|mask| in_direction(mask, 1, direction));
    let mamba = Mamba {
        sizes,
        layout: &layout,
        direction: &layout.directions[direction],
        params,
        mask: turned.as_deref(),
    };
    let turn = |rows: &[f64], width| in_direction(rows, width, direction);
    let d_model = sizes.d_model;
    let (dh, dmask) = mamba.backward(&turn(h, d_model), &turn(dout, d_model), dparams);
    (turn(&dh, d_model), turn(&dmask, 1))
}

/// Computes `x + BiMamba(RMSNorm(x))` for `x`, `[batch, length, d_model]`.
///
/// `params` is the flat array that [`BlockSizes::layout`] describes.
pub fn bimamba_block(x: &[f64], params: &[f64], sizes: BlockSizes, length: usize) -> Vec<f64> {
    masked_bimamba_block(x, None, params, sizes, length)
}

/// [`bimamba_block`] under a mask, `[batch, length]`, if one is given.
pub fn masked_bimamba_block(
    x: &[f64],
    mask: Option<&[f64]>,
    params: &[f64],
    sizes: BlockSizes,
    length: usize,
) -> Vec<f64> {
    let norm_weight = &params[sizes.layout().norm_weight];
    let mut out = Vec::with_capacity(x.len());
    for (index, x) in x.chunks(length * sizes.d_model).enumerate() {
        let mask = mask.map(|mask| &mask[index * length..(index + 1) * length]);
        let h = rms_norm(x, norm_weight);
        let forward = masked_mamba(&h, mask, params, sizes, 0);
        let reverse = masked_mamba(&h, mask, params, sizes, 1);
        out.extend((0..x.len()).map(|i| x[i] + forward[i] + reverse[i]));
    }
    out
}

/// Computes the gradients of `x` and of `params` from the gradient of [`bimamba_block`]'s output.
pub fn bimamba_block_backward(
    x: &[f64],
    params: &[f64],
    sizes: BlockSizes,
    length: usize,
    dout: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let (dx, _, dparams) = masked_bimamba_block_backward(x, None, params, sizes, length, dout);
    (dx, dparams)
}

/// Computes the gradients of `x`, of the mask (empty without one) and of `params` from the gradient of
/// [`masked_bimamba_block`]'s output.
pub fn masked_bimamba_block_backward(
    x: &[f64],
    mask: Option<&[f64]>,
    params: &[f64],
    sizes: BlockSizes,
    length: usize,
    dout: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let layout = sizes.layout();
    let norm_weight = &params[layout.norm_weight.clone()];
    let mut dx = Vec::with_capacity(x.len());
    let mut dmask = Vec::with_capacity(mask.map_or(0, <[f64]>::len));
    let mut dparams = vec![0.0; params.len()];
    let n = length * sizes.d_model;
    for (index, (x, dout)) in x.chunks(n).zip(dout.chunks(n)).enumerate() {
        let mask = mask.map(|mask| &mask[index * length..(index + 1) * length]);
        let h = rms_norm(x, norm_weight);
        let mut backward = |direction| {
            masked_mamba_backward(&h, mask, params, sizes, direction, dout, &mut dparams)
        };
        let (mut dh, forward_mask) = backward(0);
        let (reverse, reverse_mask) = backward(1);
        for (dh, reverse) in dh.iter_mut().zip(reverse) {
            *dh += reverse;
        }
        dmask.extend(forward_mask.iter().zip(reverse_mask).map(|(f, r)| f + r));
        let (dnorm, dweight) = rms_norm_backward(x, norm_weight, &dh);
        for (sum, g) in dparams[layout.norm_weight.clone()].iter_mut().zip(dweight) {
            *sum += g;
        }
        dx.extend(dnorm.iter().zip(dout).map(|(dnorm, dout)| dnorm + dout));
    }
    (dx, dmask, dparams)
}
