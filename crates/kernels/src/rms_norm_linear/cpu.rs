//! The normalised linear layer on the CPU: rows stay in the first cache while all that is needed of them is
//! computed; fixed runs of rows for the threads, whose partial sums are added in order.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{RMS_NORM_EPSILON, RmsNormLinearBackend};
use crate::flex_tensor::{contiguous, elements, from_values};
use crate::lanes::Simd;
use crate::simd_level::{SimdLevel, for_each_simd_level};

/// Rows a thread takes at a time.
const RUN: usize = 512;
/// Partial sums of a row's products, in a fixed order for every vector width.
const LANES: usize = 16;

/// Parameters of a call; `folded` is `norm_weight` times each row of `weight`, `[n_out, d_model]`.
#[derive(Debug, Clone, Copy)]
struct Layer<'a> {
    folded: &'a [f32],
    d_model: usize,
    n_out: usize,
}

/// Sums over a run of rows: Σ r g_o x_i, `[n_out, d_model]`, and Σ g_o, `[n_out]`.
struct PartialGradient {
    folded: Vec<f32>,
    bias: Vec<f32>,
}

impl PartialGradient {
    fn zeros(layer: Layer<'_>) -> Self {
        Self {
            folded: vec![0.0; layer.folded.len()],
            bias: vec![0.0; layer.n_out],
        }
    }
}

/// Returns `norm_weight` times each row of `weight`.
fn fold(norm_weight: &[f32], weight: &[f32]) -> Vec<f32> {
    weight
        .chunks_exact(norm_weight.len())
        .flat_map(|row| row.iter().zip(norm_weight).map(|(w, scale)| w * scale))
        .collect()
}

fn forward(x: &[f32], layer: Layer<'_>, bias: &[f32], level: SimdLevel) -> Vec<f32> {
    let Layer { d_model, n_out, .. } = layer;
    let mut output = vec![0.0; x.len() / d_model * n_out];
    output
        .par_chunks_mut(RUN * n_out)
        .zip(x.par_chunks(RUN * d_model))
        .for_each(|(output, x)| forward_run(level, x, layer, bias, output));
    output
}

/// Returns the gradient of `x` and, summed over all rows in double precision, those of `folded` and `bias`.
fn backward(
    gradient: &[f32],
    x: &[f32],
    layer: Layer<'_>,
    level: SimdLevel,
) -> (Vec<f32>, Vec<f64>, Vec<f64>) {
    let Layer { d_model, n_out, .. } = layer;
    let mut x_gradient = vec![0.0; x.len()];
    let partials: Vec<PartialGradient> = x_gradient
        .par_chunks_mut(RUN * d_model)
        .zip(x.par_chunks(RUN * d_model))
        .zip(gradient.par_chunks(RUN * n_out))
        .map(|((x_gradient, x), gradient)| {
            let mut partial = PartialGradient::zeros(layer);
            backward_run(level, gradient, x, layer, x_gradient, &mut partial);
            partial
        })
        .collect();
    let mut folded = vec![0.0; n_out * d_model];
    let mut bias = vec![0.0; n_out];
    for partial in &partials {
        for (sum, part) in folded.iter_mut().zip(&partial.folded) {
            *sum += f64::from(*part);
        }
        for (sum, part) in bias.iter_mut().zip(&partial.bias) {
            *sum += f64::from(*part);
        }
    }
    (x_gradient, folded, bias)
}

/// Returns Σ a_i b_i.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += a * b;
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn inverse_root_mean_square(row: &[f32]) -> f32 {
    1.0 / (dot(row, row) / row.len() as f32 + RMS_NORM_EPSILON as f32).sqrt()
}

for_each_simd_level! {
    /// Fills the `output` of a run of rows of `x`.
    fn forward_run(x: &[f32], layer: Layer<'_>, bias: &[f32], output: &mut [f32]) = forward_run_body
}

#[inline(always)]
fn forward_run_body(
    _simd: impl Simd,
    x: &[f32],
    layer: Layer<'_>,
    bias: &[f32],
    output: &mut [f32],
) {
    let Layer {
        folded,
        d_model,
        n_out,
    } = layer;
    for (row, output) in x.chunks_exact(d_model).zip(output.chunks_exact_mut(n_out)) {
        let inverse = inverse_root_mean_square(row);
        for (index, (value, bias)) in output.iter_mut().zip(bias).enumerate() {
            *value = inverse * dot(row, &folded[index * d_model..][..d_model]) + bias;
        }
    }
}

for_each_simd_level! {
    /// Adds the gradients of a run of rows to `x_gradient`, zero so far, and to `partial`.
    fn backward_run(
        gradient: &[f32],
        x: &[f32],
        layer: Layer<'_>,
        x_gradient: &mut [f32],
        partial: &mut PartialGradient,
    ) = backward_run_body
}

#[inline(always)]
fn backward_run_body(
    _simd: impl Simd,
    gradient: &[f32],
    x: &[f32],
    layer: Layer<'_>,
    x_gradient: &mut [f32],
    partial: &mut PartialGradient,
) {
    let Layer {
        folded,
        d_model,
        n_out,
    } = layer;
    let rows = x
        .chunks_exact(d_model)
        .zip(x_gradient.chunks_exact_mut(d_model));
    for ((row, row_gradient), gradient) in rows.zip(gradient.chunks_exact(n_out)) {
        let inverse = inverse_root_mean_square(row);
        let mut along = 0.0;
        for (index, gradient) in gradient.iter().enumerate() {
            partial.bias[index] += gradient;
            let scaled = inverse * gradient;
            let folded = &folded[index * d_model..][..d_model];
            along += scaled * dot(row, folded);
            let sums = &mut partial.folded[index * d_model..][..d_model];
            for (((sum, row_gradient), value), weight) in sums
                .iter_mut()
                .zip(row_gradient.iter_mut())
                .zip(row)
                .zip(folded)
            {
                *sum += scaled * value;
                *row_gradient += scaled * weight;
            }
        }
        let shrink = along * inverse * inverse / d_model as f32;
        for (row_gradient, value) in row_gradient.iter_mut().zip(row) {
            *row_gradient -= shrink * value;
        }
    }
}

impl RmsNormLinearBackend for Flex {
    fn rms_norm_linear(
        x: FlexTensor,
        norm_weight: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
    ) -> FlexTensor {
        let [batch, length, d_model] = x.shape().dims();
        let [n_out, _] = weight.shape().dims();
        let [x, norm_weight, weight, bias] = [x, norm_weight, weight, bias].map(contiguous);
        let folded = fold(elements(&norm_weight), elements(&weight));
        let layer = Layer {
            folded: &folded,
            d_model,
            n_out,
        };
        let output = forward(elements(&x), layer, elements(&bias), SimdLevel::detect());
        from_values(output, [batch, length, n_out])
    }

    fn rms_norm_linear_backward(
        gradient: FlexTensor,
        x: FlexTensor,
        norm_weight: FlexTensor,
        weight: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let [batch, length, d_model] = x.shape().dims();
        let [n_out, _] = weight.shape().dims();
        let [gradient, x, norm_weight, weight] = [gradient, x, norm_weight, weight].map(contiguous);
        let (norm_weight, weight): (&[f32], &[f32]) = (elements(&norm_weight), elements(&weight));
        let folded = fold(norm_weight, weight);
        let layer = Layer {
            folded: &folded,
            d_model,
            n_out,
        };
        let (x_gradient, folded_gradient, bias_gradient) = backward(
            elements(&gradient),
            elements(&x),
            layer,
            SimdLevel::detect(),
        );
        let mut norm_gradient = vec![0.0; d_model];
        let mut weight_gradient = vec![0.0; n_out * d_model];
        for (index, gradient) in folded_gradient.iter().enumerate() {
            let column = index % d_model;
            weight_gradient[index] = (gradient * f64::from(norm_weight[column])) as f32;
            norm_gradient[column] += gradient * f64::from(weight[index]);
        }
        let single = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
        (
            from_values(x_gradient, [batch, length, d_model]),
            from_values(single(norm_gradient), [d_model]),
            from_values(weight_gradient, [n_out, d_model]),
            from_values(single(bias_gradient), [n_out]),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::PositionStream;

    #[test]
    fn every_simd_level_gives_the_same_bits() {
        let mut stream = PositionStream::new(4, 4);
        let mut normal = |count: usize| -> Vec<f32> {
            (0..count).map(|_| stream.sample_normal() as f32).collect()
        };
        let (rows, d_model, n_out) = (41, 53, 3);
        let (x, folded, bias, gradient) = (
            normal(rows * d_model),
            normal(n_out * d_model),
            normal(n_out),
            normal(rows * n_out),
        );
        let layer = Layer {
            folded: &folded,
            d_model,
            n_out,
        };
        let bits =
            |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
        let runs: Vec<_> = SimdLevel::available()
            .into_iter()
            .map(|level| {
                let (x_gradient, folded, _) = backward(&gradient, &x, layer, level);
                (
                    bits(&forward(&x, layer, &bias, level)),
                    bits(&x_gradient),
                    folded,
                )
            })
            .collect();
        assert!(runs.iter().all(|run| *run == runs[0]));
    }
}
