//! The definition of Hyena's operator in plain loops.

/// Computes one sequence's output, `[length, d_model]`.
///
/// # Shapes
/// - `x`: `[length, 3 d_model]`; `short_weight`: `[3 d_model, d_short]`; `short_bias`: `[3 d_model]`
/// - `filter`: `[length, d_model]`; `skip`: `[d_model]`
pub fn hyena_operator_reference(
    x: &[f64],
    short_weight: &[f64],
    short_bias: &[f64],
    filter: &[f64],
    skip: &[f64],
) -> Vec<f64> {
    let d_model = skip.len();
    let width = 3 * d_model;
    let (length, d_short) = (x.len() / width, short_weight.len() / width);
    let short = |t: usize, column: usize| -> f64 {
        let taps = (0..d_short).filter(|k| t + k + 1 >= d_short);
        let sum: f64 = taps
            .map(|k| short_weight[column * d_short + k] * x[(t + k + 1 - d_short) * width + column])
            .sum();
        short_bias[column] + sum
    };
    let mut y = vec![0.0; length * d_model];
    for c in 0..d_model {
        let p: Vec<f64> = (0..length)
            .map(|t| short(t, d_model + c) * short(t, 2 * d_model + c))
            .collect();
        for t in 0..length {
            let long: f64 = (0..=t).map(|s| filter[s * d_model + c] * p[t - s]).sum();
            y[t * d_model + c] = short(t, c) * (long + skip[c] * p[t]);
        }
    }
    y
}
