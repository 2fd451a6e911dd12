//! Hyena's operator of order 2, a short and a long convolution between two gates, as one differentiable operation.
//!
//! The long convolution runs by fast Fourier transform, O(length log length); only the arguments are kept for
//! backward, which recomputes the rest.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use crate::ShapeError;
use crate::flex_tensor::single_precision;
use crate::shape::{check_axes, check_not_empty};

mod autodiff;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;
pub mod reference;
#[cfg(test)]
mod tests;

/// Arguments of [`hyena_operator`], each of which gets a gradient.
#[derive(Debug, Clone)]
pub struct HyenaArguments {
    /// Columns of the output gate, the input gate and the value, `[batch, length, 3 d_model]`.
    pub x: Tensor<3>,
    /// Causal depthwise convolution of every column, `[3 d_model, d_short]`; the last tap reads the current position.
    pub short_weight: Tensor<2>,
    /// `[3 d_model]`
    pub short_bias: Tensor<1>,
    /// Long filters, `[length, d_model]`; row 0 reads the current position.
    pub filter: Tensor<2>,
    /// Weight of the gated value itself beside its long convolution, `[d_model]`.
    pub skip: Tensor<1>,
}

/// Computes Hyena's gated long convolution.
///
/// With (g, u, v) the columns after the short convolution, p = u v and h the filter:
/// y_t = g_t (Σ_{s <= t} h_s p_{t-s} + skip p_t)
///
/// A sequence's result does not depend on the others in its batch, nor on the number of threads.
///
/// # Shapes
/// - arguments: see [`HyenaArguments`]; output: `[batch, length, d_model]`
///
/// # Units
/// - `length` in bases
///
/// # Errors
/// [`ShapeError`] when a dimension disagrees or is empty; it names argument and axis.
///
/// # Reference
/// Poli et al. 2023, section 3; `HyenaOperator` of HazyResearch/hyena-dna with `order = 2`
pub fn hyena_operator(arguments: HyenaArguments) -> Result<Tensor<3>, ShapeError> {
    const OP: &str = "hyena_operator";
    let HyenaArguments {
        x,
        short_weight,
        short_bias,
        filter,
        skip,
    } = arguments;
    let [batch, length, columns] = x.dims();
    let [d_model] = skip.dims();
    check_not_empty(OP, "skip", ["d_model"], [d_model])?;
    check_not_empty(OP, "x", ["batch", "length"], [batch, length])?;
    check_axes(OP, "x", [("3 d_model", 3 * d_model)], [columns])?;
    let [rows, d_short] = short_weight.dims();
    check_axes(OP, "short_weight", [("3 d_model", 3 * d_model)], [rows])?;
    check_not_empty(OP, "short_weight", ["d_short"], [d_short])?;
    check_axes(
        OP,
        "short_bias",
        [("3 d_model", 3 * d_model)],
        short_bias.dims(),
    )?;
    check_axes(
        OP,
        "filter",
        [("length", length), ("d_model", d_model)],
        filter.dims(),
    )?;
    Ok(Tensor::from_dispatch(Dispatch::hyena_operator(
        single_precision(x).into_dispatch(),
        single_precision(short_weight).into_dispatch(),
        single_precision(short_bias).into_dispatch(),
        single_precision(filter).into_dispatch(),
        single_precision(skip).into_dispatch(),
    )))
}

/// What a backend must do for [`hyena_operator`]; tensors are single precision and of checked shapes.
#[doc(hidden)]
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait HyenaOperatorBackend: Backend {
    /// Returns the output, `[batch, length, d_model]`.
    fn hyena_operator(
        x: FloatTensor<Self>,
        short_weight: FloatTensor<Self>,
        short_bias: FloatTensor<Self>,
        filter: FloatTensor<Self>,
        skip: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// Returns the gradients of the five arguments from that of the output.
    #[allow(
        clippy::type_complexity,
        reason = "one gradient per argument; the backend macro knows tuples, not arrays"
    )]
    fn hyena_operator_backward(
        gradient: FloatTensor<Self>,
        x: FloatTensor<Self>,
        short_weight: FloatTensor<Self>,
        short_bias: FloatTensor<Self>,
        filter: FloatTensor<Self>,
        skip: FloatTensor<Self>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}
