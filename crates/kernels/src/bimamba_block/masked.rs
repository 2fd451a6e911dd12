//! The block under a mask: a position with mask 0 is not there.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;

use super::autodiff::forward;
use super::cpu::BlockInput;
use super::kept_pass::KeptPass;
use super::plan::{BlockOptions, BlockPlan, Storage};
use super::weights::Weights;
use super::{BimambaParams, OP, check, check_outputs, cpu_backward, flatten};
use crate::flex_tensor::{contiguous, elements, from_values, single_precision};
use crate::shape::{ShapeError, check_axes};
use crate::simd_level::SimdLevel;

/// Computes the block of [`bimamba_block`](super::bimamba_block) with every position as present as its mask says,
/// differentiable in `x`, `mask` and every parameter.
///
/// In both directions the step size of a position is multiplied by its mask m, and the convolution's taps reach to the
/// nearest positions whose mask is not 0, each of which counts m times; a position's own tap is not scaled. So m = 1
/// everywhere is the plain block, to the bit; m = 0 leaves the scan's state untouched and is seen by no other position;
/// and with m of 0 and 1 the outputs where m = 1 are those of the plain block on these positions moved together.
/// `docs/mask_site.md` has the proofs and the gradients.
///
/// # Shapes
/// - `x`: `[batch, length, d_model]`; `mask`: `[batch, length]`, each in [0, 1]
/// - output: `[batch, n_outputs, d_model]`, as `x` when all are wanted
///
/// # Errors
/// [`ShapeError`] as for the plain block, or when `mask` disagrees with `x`.
pub fn masked_bimamba_block(
    x: Tensor<3>,
    mask: Tensor<2>,
    params: BimambaParams,
    options: BlockOptions,
) -> Result<Tensor<3>, ShapeError> {
    let [batch, length, _] = x.dims();
    let plan = BlockPlan {
        sizes: check(&x, &params)?,
        outputs: check_outputs(options.outputs, length)?,
        numerics: options.numerics,
    };
    let axes = [("batch", batch), ("length", length)];
    check_axes(OP, "mask", axes, mask.dims())?;
    let params = flatten(params);
    Ok(Tensor::from_dispatch(Dispatch::masked_bimamba_block(
        single_precision(x).into_dispatch(),
        single_precision(mask).into_dispatch(),
        single_precision(params).into_dispatch(),
        plan,
    )))
}

/// Backends that offer the masked block, differentiable ones included.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait MaskedBimambaBackend: Backend {
    /// Computes the block for `x`, `[batch, length, d_model]`, under `mask`, `[batch, length]`.
    fn masked_bimamba_block(
        x: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        params: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> FloatTensor<Self>;
}

/// Backends that implement both passes of the masked block.
pub trait MaskedBimambaKernel: MaskedBimambaBackend {
    /// Computes the block and the scan states that its backward pass needs.
    fn masked_bimamba_block_saving(
        x: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        params: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Computes the gradients of `x`, `mask` and `params` from that of the output.
    fn masked_bimamba_block_backward(
        x: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        params: FloatTensor<Self>,
        saved: FloatTensor<Self>,
        dout: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> [FloatTensor<Self>; 3];
}

impl MaskedBimambaBackend for Flex {
    fn masked_bimamba_block(
        x: FlexTensor,
        mask: FlexTensor,
        params: FlexTensor,
        plan: BlockPlan,
    ) -> FlexTensor {
        forward(x, Some(mask), params, &plan, false).0
    }
}

impl MaskedBimambaKernel for Flex {
    fn masked_bimamba_block_saving(
        x: FlexTensor,
        mask: FlexTensor,
        params: FlexTensor,
        plan: BlockPlan,
    ) -> (FlexTensor, FlexTensor) {
        forward(x, Some(mask), params, &plan, true)
    }

    fn masked_bimamba_block_backward(
        x: FlexTensor,
        mask: FlexTensor,
        params: FlexTensor,
        saved: FlexTensor,
        dout: FlexTensor,
        plan: BlockPlan,
    ) -> [FlexTensor; 3] {
        let [x, mask, params, saved, dout] = [x, mask, params, saved, dout].map(contiguous);
        let weights = Weights::new(elements(&params), plan.sizes);
        let shape = x.layout().shape().clone();
        let gradients = cpu_backward::backward(
            SimdLevel::detect(),
            BlockInput {
                x: elements(&x),
                mask: Some(elements(&mask)),
                length: shape[1],
            },
            &plan.outputs,
            &weights,
            elements(&saved),
            elements(&dout),
        );
        let n_param = Shape::from([gradients.params.len()]);
        [
            from_values(gradients.x, shape),
            from_values(gradients.mask, mask.layout().shape().clone()),
            from_values(gradients.params, n_param),
        ]
    }
}

#[derive(Debug)]
struct MaskedBimambaBackward;

/// What is kept from the forward pass.
#[derive(Debug, Clone)]
struct Saved<T> {
    kept: KeptPass<T>,
    mask: NodeId,
    params: NodeId,
    plan: BlockPlan,
}

impl<B: MaskedBimambaKernel> Backward<B, 3> for MaskedBimambaBackward {
    type State = Saved<FloatTensor<B>>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dout = grads.consume::<B>(&ops.node);
        let saved = ops.state;
        let (x, states) = saved.kept.restore::<B>(checkpointer);
        let mask = checkpointer.retrieve_node_output::<FloatTensor<B>>(saved.mask);
        let params = checkpointer.retrieve_node_output::<FloatTensor<B>>(saved.params);
        let gradients = B::masked_bimamba_block_backward(x, mask, params, states, dout, saved.plan);
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: MaskedBimambaKernel, C: CheckpointStrategy> MaskedBimambaBackend for Autodiff<B, C> {
    fn masked_bimamba_block(
        x: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        params: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> FloatTensor<Self> {
        let prepared = MaskedBimambaBackward
            .prepare::<C>([x.node(), mask.node(), params.node()])
            .compute_bound()
            .stateful();
        match prepared {
            OpsKind::Tracked(mut prepared) => {
                let nodes = [prepared.checkpoint(&mask), prepared.checkpoint(&params)];
                let shared =
                    (plan.numerics.storage == Storage::F32).then(|| prepared.checkpoint(&x));
                let [x, mask, params] = [x, mask, params].map(|tensor| tensor.into_primitive());
                let (out, states) =
                    B::masked_bimamba_block_saving(x.clone(), mask, params, plan.clone());
                let [mask, params] = nodes;
                let saved = Saved {
                    kept: KeptPass::new::<B>(shared, x, states),
                    mask,
                    params,
                    plan,
                };
                prepared.finish(saved, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::masked_bimamba_block(
                x.into_primitive(),
                mask.into_primitive(),
                params.into_primitive(),
                plan,
            )),
        }
    }
}
