//! `x + BiMamba(RMSNorm(x))`, the block that carries nearly all of the models' cost, as one operation.

pub mod autodiff;
#[cfg(test)]
mod boundary_tests;
mod channels;
mod convolution;
mod cpu;
mod cpu_backward;
#[cfg(test)]
mod golden_tests;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
mod kept_pass;
pub mod layout;
mod mask_taps;
pub mod masked;
#[cfg(test)]
mod masked_tests;
#[cfg(test)]
mod operation_tests;
#[cfg(test)]
mod output_tests;
pub mod plan;
pub mod products;
pub mod reference;
mod sweep;
#[cfg(test)]
mod tests;
mod tile;
mod weights;

use std::ops::Range;

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use self::autodiff::BimambaBackend;
use self::layout::BlockSizes;
use self::plan::{BlockOptions, BlockPlan};
use crate::flex_tensor::single_precision;
use crate::shape::{ShapeError, check_axes, check_not_empty};

const OP: &str = "bimamba_block";

/// Parameters of one direction, in the layouts of the released code's PyTorch modules.
#[derive(Debug, Clone)]
pub struct DirectionParams {
    /// Causal depthwise convolution, `[d_inner, d_conv]`; the last tap reads the current position.
    pub conv_weight: Tensor<2>,
    /// `[d_inner]`
    pub conv_bias: Tensor<1>,
    /// Projection to step size, B and C (in this order of rows), `[dt_rank + 2 d_state, d_inner]`.
    pub x_proj: Tensor<2>,
    /// Step-size projection, `[d_inner, dt_rank]`.
    pub dt_weight: Tensor<2>,
    /// `[d_inner]`
    pub dt_bias: Tensor<1>,
    /// `A = -exp(a_log)`, `[d_inner, d_state]`.
    pub a_log: Tensor<2>,
    /// Skip connection of the scan, `[d_inner]`.
    pub d: Tensor<1>,
}

/// Parameters of a block; the two directions share `in_proj` and `out_proj`.
#[derive(Debug, Clone)]
pub struct BimambaParams {
    /// Weight of RMSNorm, `[d_model]`.
    pub norm_weight: Tensor<1>,
    /// Projection to convolution input and gate (in this order of rows), `[2 d_inner, d_model]`.
    pub in_proj: Tensor<2>,
    /// `[d_model, d_inner]`
    pub out_proj: Tensor<2>,
    /// Parameters of the direction that reads the sequence from its start.
    pub forward: DirectionParams,
    /// Parameters of the direction that reads the sequence from its end.
    pub reverse: DirectionParams,
}

/// Computes `x + BiMamba(RMSNorm(x))` where `options` asks for it, differentiable in `x` and every parameter.
///
/// BiMamba(h) = mamba_forward(h) + flip(mamba_reverse(flip(h))), where each mamba projects in, convolves,
/// scans, gates and projects out; RMSNorm has epsilon 1e-5. The result does not depend on the number of threads,
/// and a sequence's result does not depend on the others in its batch. With [`BlockOptions::outputs`] the result is that
/// part of the whole output, without the work that nobody reads: each direction's scan ends behind the last position
/// asked for, and gate, output projection and their gradients are computed there only.
///
/// # Shapes
/// - `x`: `[batch, length, d_model]`; output: `[batch, n_outputs, d_model]`, as `x` when all are wanted
/// - `params`: see [`BimambaParams`] and [`DirectionParams`]
///
/// # Units
/// - `length` in bases
///
/// # Errors
/// [`ShapeError`] when a dimension disagrees or is 0, or `outputs` is empty or ends behind the sequence; it names
/// argument and axis.
///
/// # Reference
/// Gu & Dao 2023; Schiff et al. 2024 (Caduceus), `BiMambaWrapper` with `bidirectional_weight_tie`
pub fn bimamba_block(
    x: Tensor<3>,
    params: BimambaParams,
    options: BlockOptions,
) -> Result<Tensor<3>, ShapeError> {
    let plan = BlockPlan {
        sizes: check(&x, &params)?,
        outputs: check_outputs(options.outputs, x.dims()[1])?,
        numerics: options.numerics,
    };
    let params = flatten(params);
    Ok(Tensor::from_dispatch(Dispatch::bimamba_block(
        single_precision(x).into_dispatch(),
        single_precision(params).into_dispatch(),
        plan,
    )))
}

fn check_outputs(outputs: Option<Range<usize>>, length: usize) -> Result<Range<usize>, ShapeError> {
    let outputs = outputs.unwrap_or(0..length);
    if outputs.is_empty() || outputs.end > length {
        return Err(ShapeError::Size {
            op: OP,
            argument: "outputs",
            axis: "end",
            found: outputs.end,
            requirement: "it must lie behind the start and inside the sequence",
        });
    }
    Ok(outputs)
}

fn check(x: &Tensor<3>, params: &BimambaParams) -> Result<BlockSizes, ShapeError> {
    let [batch, length, d_model] = x.dims();
    check_not_empty(
        OP,
        "x",
        ["batch", "length", "d_model"],
        [batch, length, d_model],
    )?;
    let [d_inner, d_conv] = params.forward.conv_weight.dims();
    check_not_empty(
        OP,
        "forward.conv_weight",
        ["d_inner", "d_conv"],
        [d_inner, d_conv],
    )?;
    let [_, dt_rank] = params.forward.dt_weight.dims();
    check_not_empty(OP, "forward.dt_weight", ["dt_rank"], [dt_rank])?;
    let [_, d_state] = params.forward.a_log.dims();
    check_not_empty(OP, "forward.a_log", ["d_state"], [d_state])?;
    check_axes(
        OP,
        "norm_weight",
        [("d_model", d_model)],
        params.norm_weight.dims(),
    )?;
    check_axes(
        OP,
        "in_proj",
        [("2 d_inner", 2 * d_inner), ("d_model", d_model)],
        params.in_proj.dims(),
    )?;
    check_axes(
        OP,
        "out_proj",
        [("d_model", d_model), ("d_inner", d_inner)],
        params.out_proj.dims(),
    )?;
    let sizes = BlockSizes {
        d_model,
        d_inner,
        d_state,
        d_conv,
        dt_rank,
    };
    check_direction(&params.forward, sizes, &FORWARD_NAMES)?;
    check_direction(&params.reverse, sizes, &REVERSE_NAMES)?;
    Ok(sizes)
}

/// Names of a direction's tensors in messages, in the order of [`DirectionParams`].
type DirectionNames = [&'static str; 7];

const FORWARD_NAMES: DirectionNames = [
    "forward.conv_weight",
    "forward.conv_bias",
    "forward.x_proj",
    "forward.dt_weight",
    "forward.dt_bias",
    "forward.a_log",
    "forward.d",
];

const REVERSE_NAMES: DirectionNames = [
    "reverse.conv_weight",
    "reverse.conv_bias",
    "reverse.x_proj",
    "reverse.dt_weight",
    "reverse.dt_bias",
    "reverse.a_log",
    "reverse.d",
];

fn check_direction(
    params: &DirectionParams,
    sizes: BlockSizes,
    names: &DirectionNames,
) -> Result<(), ShapeError> {
    let inner = ("d_inner", sizes.d_inner);
    let conv = ("d_conv", sizes.d_conv);
    let rank = ("dt_rank", sizes.dt_rank);
    let projected = ("dt_rank + 2 d_state", sizes.d_x_proj());
    check_axes(OP, names[0], [inner, conv], params.conv_weight.dims())?;
    check_axes(OP, names[1], [inner], params.conv_bias.dims())?;
    check_axes(OP, names[2], [projected, inner], params.x_proj.dims())?;
    check_axes(OP, names[3], [inner, rank], params.dt_weight.dims())?;
    check_axes(OP, names[4], [inner], params.dt_bias.dims())?;
    check_axes(
        OP,
        names[5],
        [inner, ("d_state", sizes.d_state)],
        params.a_log.dims(),
    )?;
    check_axes(OP, names[6], [inner], params.d.dims())
}

/// Joins the parameters in the order of [`BlockSizes::layout`], so that the operation has two inputs.
fn flatten(params: BimambaParams) -> Tensor<1> {
    let mut parts = vec![
        params.norm_weight,
        params.in_proj.flatten(0, 1),
        params.out_proj.flatten(0, 1),
    ];
    for direction in [params.forward, params.reverse] {
        parts.extend([
            direction.conv_weight.flatten(0, 1),
            direction.conv_bias,
            direction.x_proj.flatten(0, 1),
            direction.dt_weight.flatten(0, 1),
            direction.dt_bias,
            direction.a_log.flatten(0, 1),
            direction.d,
        ]);
    }
    Tensor::cat(parts, 0)
}
