//! What lies between the two passes of the block, in the storage that was asked for.

use burn::backend::Backend;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::tensor::FloatTensor;
use burn::tensor::FloatDType;

/// The block's input and its scan states, `T` the backend's tensor.
#[derive(Debug, Clone)]
pub(super) enum KeptPass<T> {
    /// In single precision; the input is the tensor itself, shared with whoever else keeps it.
    Shared { x: NodeId, states: T },
    /// Copies in bfloat16, so that the tensors can be freed.
    Rounded { x: T, states: T },
}

impl<T> KeptPass<T> {
    /// Keeps both; `shared` is the input's node where it stays as it is.
    pub(super) fn new<B>(shared: Option<NodeId>, x: T, states: T) -> Self
    where
        B: Backend<FloatTensorPrimitive = T>,
    {
        match shared {
            Some(x) => Self::Shared { x, states },
            None => {
                let rounded = |tensor| B::float_cast(tensor, FloatDType::BF16);
                Self::Rounded {
                    x: rounded(x),
                    states: rounded(states),
                }
            }
        }
    }

    /// Input and states in single precision.
    pub(super) fn restore<B>(self, checkpointer: &mut Checkpointer) -> (T, T)
    where
        B: Backend<FloatTensorPrimitive = T>,
        T: Clone + Send + 'static,
    {
        match self {
            Self::Shared { x, states } => (
                checkpointer.retrieve_node_output::<FloatTensor<B>>(x),
                states,
            ),
            Self::Rounded { x, states } => {
                let single = |tensor| B::float_cast(tensor, FloatDType::F32);
                (single(x), single(states))
            }
        }
    }
}
