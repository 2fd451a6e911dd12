//! A linear layer over RMS-normalised rows, as one differentiable operation: the mask's head.
//!
//! With r = 1 / √(mean(x²) + eps), an output is r Σ_i x_i (w_i W_oi) + b_o: one pass over x, no normalised copy of
//! it. Backward recomputes r and the sums.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use crate::ShapeError;
use crate::flex_tensor::single_precision;
use crate::shape::{check_axes, check_not_empty};

mod autodiff;
mod cpu;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub mod reference;
#[cfg(test)]
mod tests;

/// Added to the mean square before its root; Caduceus' `norm_epsilon`.
pub const RMS_NORM_EPSILON: f64 = 1e-5;

/// Computes Linear(RMSNorm(x)) of every position.
///
/// y_o = Σ_i W_oi w_i x_i / √(mean_i x_i² + 1e-5) + b_o
///
/// Every argument gets a gradient; only the arguments are kept for it. The gradient of `x` is the one temporary
/// of its size.
///
/// # Shapes
/// - `x`: `[batch, length, d_model]`; `norm_weight`: `[d_model]`
/// - `weight`: `[n_out, d_model]`; `bias`: `[n_out]`; output: `[batch, length, n_out]`
///
/// # Errors
/// [`ShapeError`] when a dimension disagrees or is empty; it names argument and axis.
///
/// # Reference
/// Zhang & Sennrich 2019 (RMSNorm); `RMSNorm` of mamba_ssm 1.1.2 followed by `torch.nn.Linear`
pub fn rms_norm_linear(
    x: Tensor<3>,
    norm_weight: Tensor<1>,
    weight: Tensor<2>,
    bias: Tensor<1>,
) -> Result<Tensor<3>, ShapeError> {
    const OP: &str = "rms_norm_linear";
    let [batch, length, d_model] = x.dims();
    check_not_empty(
        OP,
        "x",
        ["batch", "length", "d_model"],
        [batch, length, d_model],
    )?;
    let [n_out, columns] = weight.dims();
    check_not_empty(OP, "weight", ["n_out"], [n_out])?;
    check_axes(OP, "weight", [("d_model", d_model)], [columns])?;
    check_axes(
        OP,
        "norm_weight",
        [("d_model", d_model)],
        norm_weight.dims(),
    )?;
    check_axes(OP, "bias", [("n_out", n_out)], bias.dims())?;
    Ok(Tensor::from_dispatch(Dispatch::rms_norm_linear(
        single_precision(x).into_dispatch(),
        single_precision(norm_weight).into_dispatch(),
        single_precision(weight).into_dispatch(),
        single_precision(bias).into_dispatch(),
    )))
}

/// What a backend must do for [`rms_norm_linear`]; tensors are single precision and of checked shapes.
#[doc(hidden)]
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait RmsNormLinearBackend: Backend {
    /// Returns the output, `[batch, length, n_out]`.
    fn rms_norm_linear(
        x: FloatTensor<Self>,
        norm_weight: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Returns the gradients of `x`, `norm_weight`, `weight` and `bias` from that of the output.
    fn rms_norm_linear_backward(
        gradient: FloatTensor<Self>,
        x: FloatTensor<Self>,
        norm_weight: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}
