//! The definition of the normalised linear layer: plain loops in double precision.

use super::RMS_NORM_EPSILON;

/// Gradients of every argument of [`super::rms_norm_linear`], shaped as the arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct RmsNormLinearGradients {
    /// `[rows, d_model]`
    pub x: Vec<f64>,
    /// `[d_model]`
    pub norm_weight: Vec<f64>,
    /// `[n_out, d_model]`
    pub weight: Vec<f64>,
    /// `[n_out]`
    pub bias: Vec<f64>,
}

/// Computes Linear(RMSNorm(x)) of every row, slowly.
///
/// # Shapes
/// - `x`: `[rows, d_model]`; `norm_weight`: `[d_model]`; `weight`: `[n_out, d_model]`; `bias`: `[n_out]`;
///   output: `[rows, n_out]`; all flattened
pub fn rms_norm_linear_reference(
    x: &[f64],
    norm_weight: &[f64],
    weight: &[f64],
    bias: &[f64],
) -> Vec<f64> {
    let d_model = norm_weight.len();
    let mut output = Vec::new();
    for row in x.chunks_exact(d_model) {
        let normalised = normalise(row, norm_weight);
        for (weight, bias) in weight.chunks_exact(d_model).zip(bias) {
            output.push(
                bias + weight
                    .iter()
                    .zip(&normalised)
                    .map(|(w, x)| w * x)
                    .sum::<f64>(),
            );
        }
    }
    output
}

/// Computes the gradients of [`rms_norm_linear_reference`] from that of its output, by the chain rule through
/// the two layers one after the other.
///
/// # Shapes
/// - `gradient`: `[rows, n_out]`, the rest as in [`rms_norm_linear_reference`]
pub fn rms_norm_linear_backward_reference(
    gradient: &[f64],
    x: &[f64],
    norm_weight: &[f64],
    weight: &[f64],
) -> RmsNormLinearGradients {
    let d_model = norm_weight.len();
    let n_out = weight.len() / d_model;
    let mut result = RmsNormLinearGradients {
        x: Vec::new(),
        norm_weight: vec![0.0; d_model],
        weight: vec![0.0; weight.len()],
        bias: vec![0.0; n_out],
    };
    for (row, gradient) in x.chunks_exact(d_model).zip(gradient.chunks_exact(n_out)) {
        let normalised = normalise(row, norm_weight);
        let mut normalised_gradient = vec![0.0; d_model];
        for (index, gradient) in gradient.iter().enumerate() {
            result.bias[index] += gradient;
            for column in 0..d_model {
                result.weight[index * d_model + column] += gradient * normalised[column];
                normalised_gradient[column] += gradient * weight[index * d_model + column];
            }
        }
        let inverse = inverse_root_mean_square(row);
        let mut along = 0.0;
        for column in 0..d_model {
            result.norm_weight[column] += normalised_gradient[column] * row[column] * inverse;
            along += normalised_gradient[column] * norm_weight[column] * row[column];
        }
        for column in 0..d_model {
            let direct = normalised_gradient[column] * norm_weight[column] * inverse;
            result
                .x
                .push(direct - row[column] * along * inverse.powi(3) / d_model as f64);
        }
    }
    result
}

fn inverse_root_mean_square(row: &[f64]) -> f64 {
    let mean_square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
    1.0 / (mean_square + RMS_NORM_EPSILON).sqrt()
}

fn normalise(row: &[f64], norm_weight: &[f64]) -> Vec<f64> {
    let inverse = inverse_root_mean_square(row);
    row.iter()
        .zip(norm_weight)
        .map(|(x, w)| x * inverse * w)
        .collect()
}
