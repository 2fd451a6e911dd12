//! Registers the hand-written backward of the normalised linear layer with Burn's autodiff.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::RmsNormLinearBackend;

#[derive(Debug)]
struct RmsNormLinearBackward;

impl<B: RmsNormLinearBackend> Backward<B, 4> for RmsNormLinearBackward {
    /// `x`, `norm_weight` and `weight`.
    type State = [FloatTensor<B>; 3];

    fn backward(
        self,
        ops: Ops<Self::State, 4>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let [x, norm_weight, weight] = ops.state;
        let (x, norm_weight, weight, bias) =
            B::rms_norm_linear_backward(gradient, x, norm_weight, weight);
        for (parent, gradient) in ops.parents.into_iter().zip([x, norm_weight, weight, bias]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: RmsNormLinearBackend, C: CheckpointStrategy> RmsNormLinearBackend for Autodiff<B, C> {
    fn rms_norm_linear(
        x: FloatTensor<Self>,
        norm_weight: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), norm_weight.node(), weight.node(), bias.node()];
        let [x, norm_weight, weight, bias] =
            [x, norm_weight, weight, bias].map(|tensor| tensor.into_primitive());
        match RmsNormLinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let saved = [x.clone(), norm_weight.clone(), weight.clone()];
                prep.finish(saved, B::rms_norm_linear(x, norm_weight, weight, bias))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::rms_norm_linear(x, norm_weight, weight, bias))
            }
        }
    }

    fn rms_norm_linear_backward(
        _gradient: FloatTensor<Self>,
        _x: FloatTensor<Self>,
        _norm_weight: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        unreachable!(
            "a backward pass runs on the inner backend; this layer has no second derivative"
        )
    }
}
