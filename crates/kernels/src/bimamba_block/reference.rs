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
}

impl Mamba<'_> {
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
        let conv = causal_conv1d(
            &x,
            &params[direction.conv_weight.clone()],
            &params[direction.conv_bias.clone()],
        );
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
        let delta: Vec<f64> = raw_delta.iter().map(|&v| softplus(v)).collect();
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

    /// Adds the parameters' gradients to `dparams` and returns the gradient of `h`.
    fn backward(&self, h: &[f64], dout: &[f64], dparams: &mut [f64]) -> Vec<f64> {
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
            .map(|i| scan.delta[i] * softplus_slope(mixer.raw_delta[i]))
            .collect();
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
        let (dx, dconv_weight, dconv_bias) = causal_conv1d_backward(
            &mixer.x,
            &params[direction.conv_weight.clone()],
            d_inner,
            &dconv,
        );
        add(&direction.conv_weight, &dconv_weight);
        add(&direction.conv_bias, &dconv_bias);

        let mut dxz = vec![0.0; 2 * dx.len()];
        put_columns(&dx, d_inner, &mut dxz, 2 * d_inner, 0);
        put_columns(&dz, d_inner, &mut dxz, 2 * d_inner, d_inner);
        let (dh, din_proj) =
            linear_backward(h, &params[self.layout.in_proj.clone()], d_model, &dxz);
        add(&self.layout.in_proj, &din_proj);
        dh
    }
}

/// Runs one direction's mixer (0 forward, 1 reverse) over one sequence `h`, `[length, d_model]`.
///
/// The reverse mixer reads the sequence from its end and its output is turned round again.
pub fn mamba(h: &[f64], params: &[f64], sizes: BlockSizes, direction: usize) -> Vec<f64> {
    let layout = sizes.layout();
    let mamba = Mamba {
        sizes,
        layout: &layout,
        direction: &layout.directions[direction],
        params,
    };
    if direction == 0 {
        mamba.output(&mamba.run(h))
    } else {
        let flipped = mamba.output(&mamba.run(&flip(h, sizes.d_model)));
        flip(&flipped, sizes.d_model)
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
    let layout = sizes.layout();
    let mamba = Mamba {
        sizes,
        layout: &layout,
        direction: &layout.directions[direction],
        params,
    };
    if direction == 0 {
        mamba.backward(h, dout, dparams)
    } else {
        let d_model = sizes.d_model;
        let dh = mamba.backward(&flip(h, d_model), &flip(dout, d_model), dparams);
        flip(&dh, d_model)
    }
}

/// Computes `x + BiMamba(RMSNorm(x))` for `x`, `[batch, length, d_model]`.
///
/// `params` is the flat array that [`BlockSizes::layout`] describes.
pub fn bimamba_block(x: &[f64], params: &[f64], sizes: BlockSizes, length: usize) -> Vec<f64> {
    let norm_weight = &params[sizes.layout().norm_weight];
    let mut out = Vec::with_capacity(x.len());
    for x in x.chunks(length * sizes.d_model) {
        let h = rms_norm(x, norm_weight);
        let forward = mamba(&h, params, sizes, 0);
        let reverse = mamba(&h, params, sizes, 1);
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
    let layout = sizes.layout();
    let norm_weight = &params[layout.norm_weight.clone()];
    let mut dx = Vec::with_capacity(x.len());
    let mut dparams = vec![0.0; params.len()];
    let n = length * sizes.d_model;
    for (x, dout) in x.chunks(n).zip(dout.chunks(n)) {
        let h = rms_norm(x, norm_weight);
        let mut dh = mamba_backward(&h, params, sizes, 0, dout, &mut dparams);
        let reverse = mamba_backward(&h, params, sizes, 1, dout, &mut dparams);
        for (dh, reverse) in dh.iter_mut().zip(reverse) {
            *dh += reverse;
        }
        let (dnorm, dweight) = rms_norm_backward(x, norm_weight, &dh);
        for (sum, g) in dparams[layout.norm_weight.clone()].iter_mut().zip(dweight) {
            *sum += g;
        }
        dx.extend(dnorm.iter().zip(dout).map(|(dnorm, dout)| dnorm + dout));
    }
    (dx, dparams)
}
