//! The block as an operation of burn: dispatch to a backend, and registration of the backward pass.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::Shape;
use burn_flex::FlexTensor;

use super::cpu::BlockInput;
use super::kept_pass::KeptPass;
use super::plan::{BlockPlan, Storage};
use super::weights::Weights;
use super::{cpu, cpu_backward};
use crate::flex_tensor::{contiguous, elements, from_values};
use crate::simd_level::SimdLevel;

/// Backends that offer the block, differentiable ones included.
///
/// `params` is the flat array that [`BlockSizes::layout`](super::layout::BlockSizes::layout) describes.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait BimambaBackend: Backend {
    /// Computes the block for `x`, `[batch, length, d_model]`, at the positions `plan.outputs`.
    fn bimamba_block(
        x: FloatTensor<Self>,
        params: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> FloatTensor<Self>;
}

/// Backends that implement both passes of the block.
pub trait BimambaKernel: BimambaBackend {
    /// Computes the block and what its backward pass needs besides `x`.
    fn bimamba_block_saving(
        x: FloatTensor<Self>,
        params: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Computes the gradients of `x` and of `params` from that of the output, `[batch, n_outputs, d_model]`.
    fn bimamba_block_backward(
        x: FloatTensor<Self>,
        params: FloatTensor<Self>,
        saved: FloatTensor<Self>,
        dout: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl BimambaBackend for Flex {
    fn bimamba_block(x: FlexTensor, params: FlexTensor, plan: BlockPlan) -> FlexTensor {
        forward(x, None, params, &plan, false).0
    }
}

impl BimambaKernel for Flex {
    fn bimamba_block_saving(
        x: FlexTensor,
        params: FlexTensor,
        plan: BlockPlan,
    ) -> (FlexTensor, FlexTensor) {
        forward(x, None, params, &plan, true)
    }

    fn bimamba_block_backward(
        x: FlexTensor,
        params: FlexTensor,
        saved: FlexTensor,
        dout: FlexTensor,
        plan: BlockPlan,
    ) -> (FlexTensor, FlexTensor) {
        let [x, params, saved, dout] = [x, params, saved, dout].map(contiguous);
        let shape = x.layout().shape().clone();
        let weights = Weights::new(elements(&params), plan.sizes);
        let gradients = cpu_backward::backward(
            SimdLevel::detect(),
            BlockInput {
                x: elements(&x),
                mask: None,
                length: shape[1],
            },
            &plan.outputs,
            &weights,
            elements(&saved),
            elements(&dout),
        );
        let n_param = Shape::from([gradients.params.len()]);
        (
            from_values(gradients.x, shape),
            from_values(gradients.params, n_param),
        )
    }
}

/// Output and, if asked for, the scan states at the starts of tiles (else nothing).
pub(super) fn forward(
    x: FlexTensor,
    mask: Option<FlexTensor>,
    params: FlexTensor,
    plan: &BlockPlan,
    saving: bool,
) -> (FlexTensor, FlexTensor) {
    let (x, mask, params) = (contiguous(x), mask.map(contiguous), contiguous(params));
    let [batch, length, d_model] = x.layout().shape().dims();
    let weights = Weights::new(elements(&params), plan.sizes);
    let n_state = if saving {
        batch * cpu::states_len(&weights.padded, length)
    } else {
        0
    };
    let mut states = vec![0.0; n_state];
    let out = cpu::forward(
        SimdLevel::detect(),
        BlockInput {
            x: elements(&x),
            mask: mask.as_ref().map(elements),
            length,
        },
        &plan.outputs,
        &weights,
        saving.then_some(&mut states[..]),
    );
    (
        from_values(out, [batch, plan.outputs.len(), d_model]),
        from_values(states, [n_state]),
    )
}

#[derive(Debug)]
struct BimambaBackward;

/// What is kept from the forward pass.
#[derive(Debug, Clone)]
struct Saved<T> {
    kept: KeptPass<T>,
    params: NodeId,
    plan: BlockPlan,
}

impl<B: BimambaKernel> Backward<B, 2> for BimambaBackward {
    type State = Saved<FloatTensor<B>>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let dout = grads.consume::<B>(&ops.node);
        let Saved { kept, params, plan } = ops.state;
        let (x, states) = kept.restore::<B>(checkpointer);
        let params = checkpointer.retrieve_node_output::<FloatTensor<B>>(params);
        let (dx, dparams) = B::bimamba_block_backward(x, params, states, dout, plan);
        for (parent, gradient) in ops.parents.into_iter().zip([dx, dparams]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: BimambaKernel, C: CheckpointStrategy> BimambaBackend for Autodiff<B, C> {
    fn bimamba_block(
        x: FloatTensor<Self>,
        params: FloatTensor<Self>,
        plan: BlockPlan,
    ) -> FloatTensor<Self> {
        let prepared = BimambaBackward
            .prepare::<C>([x.node(), params.node()])
            .compute_bound()
            .stateful();
        match prepared {
            OpsKind::Tracked(mut prepared) => {
                let params_node = prepared.checkpoint(&params);
                let shared =
                    (plan.numerics.storage == Storage::F32).then(|| prepared.checkpoint(&x));
                let (x, params) = (x.into_primitive(), params.into_primitive());
                let (out, states) = B::bimamba_block_saving(x.clone(), params, plan.clone());
                let saved = Saved {
                    kept: KeptPass::new::<B>(shared, x, states),
                    params: params_node,
                    plan,
                };
                prepared.finish(saved, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::bimamba_block(
                x.into_primitive(),
                params.into_primitive(),
                plan,
            )),
        }
    }
}
