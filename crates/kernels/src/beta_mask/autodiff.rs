//! Registers the hand-written backward of the Beta mask with Burn's autodiff, for every backend that has it.

use std::sync::Arc;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::{BetaMaskBackend, MaskPlan};

#[derive(Debug)]
struct BetaMaskBackward;

/// The four tensors of the call, in its order, and its plan.
type Saved<B> = ([FloatTensor<B>; 4], Arc<MaskPlan>);

impl<B: BetaMaskBackend> Backward<B, 2> for BetaMaskBackward {
    type State = Saved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<B>(&ops.node);
        let ([logits, tracks, overwrite, given], plan) = ops.state;
        let (logits, tracks) =
            B::beta_mask_backward(gradient, logits, tracks, overwrite, given, plan);
        for (parent, gradient) in ops.parents.into_iter().zip([logits, tracks]) {
            if let Some(parent) = parent {
                grads.register::<B>(parent.id, gradient);
            }
        }
    }
}

impl<B: BetaMaskBackend, C: CheckpointStrategy> BetaMaskBackend for Autodiff<B, C> {
    fn beta_mask(
        logits: FloatTensor<Self>,
        tracks: FloatTensor<Self>,
        overwrite: FloatTensor<Self>,
        given: FloatTensor<Self>,
        plan: Arc<MaskPlan>,
    ) -> FloatTensor<Self> {
        let nodes = [logits.node(), tracks.node()];
        let [logits, tracks, overwrite, given] =
            [logits, tracks, overwrite, given].map(|tensor| tensor.into_primitive());
        match BetaMaskBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let saved = [
                    logits.clone(),
                    tracks.clone(),
                    overwrite.clone(),
                    given.clone(),
                ];
                let output = B::beta_mask(logits, tracks, overwrite, given, plan.clone());
                prep.finish((saved, plan), output)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::beta_mask(logits, tracks, overwrite, given, plan))
            }
        }
    }

    fn beta_mask_backward(
        _gradient: FloatTensor<Self>,
        _logits: FloatTensor<Self>,
        _tracks: FloatTensor<Self>,
        _overwrite: FloatTensor<Self>,
        _given: FloatTensor<Self>,
        _plan: Arc<MaskPlan>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!(
            "a backward pass runs on the inner backend; the Beta mask has no second derivative"
        )
    }
}
