//! Registers the hand-written backward of Hyena's operator with Burn's autodiff.

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::HyenaOperatorBackend;

#[derive(Debug)]
struct HyenaOperatorBackward;

impl<B: HyenaOperatorBackend> Backward<B, 5> for HyenaOperatorBackward {
    /// The arguments.
    type State = [FloatTensor<B>; 5];

    fn backward(
        self,
        ops: Ops<Self::State, 5>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let [x, short_weight, short_bias, filter, skip] = ops.state;
        let (x, short_weight, short_bias, filter, skip) =
            B::hyena_operator_backward(gradient, x, short_weight, short_bias, filter, skip);
        let gradients = [x, short_weight, short_bias, filter, skip];
        for (parent, gradient) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: HyenaOperatorBackend, C: CheckpointStrategy> HyenaOperatorBackend for Autodiff<B, C> {
    fn hyena_operator(
        x: FloatTensor<Self>,
        short_weight: FloatTensor<Self>,
        short_bias: FloatTensor<Self>,
        filter: FloatTensor<Self>,
        skip: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let arguments = [x, short_weight, short_bias, filter, skip];
        let nodes = arguments.each_ref().map(|argument| argument.node());
        let arguments = arguments.map(|argument| argument.into_primitive());
        let run = |[x, short_weight, short_bias, filter, skip]: [FloatTensor<B>; 5]| {
            B::hyena_operator(x, short_weight, short_bias, filter, skip)
        };
        match HyenaOperatorBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(arguments.clone(), run(arguments)),
            OpsKind::UnTracked(prep) => prep.finish(run(arguments)),
        }
    }

    fn hyena_operator_backward(
        _gradient: FloatTensor<Self>,
        _x: FloatTensor<Self>,
        _short_weight: FloatTensor<Self>,
        _short_bias: FloatTensor<Self>,
        _filter: FloatTensor<Self>,
        _skip: FloatTensor<Self>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        unreachable!(
            "a backward pass runs on the inner backend; this operator has no second derivative"
        )
    }
}
