//! The block as an operation of burn: dispatch to a backend, and registration of the backward pass.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::layout::BlockSizes;
use super::weights::Weights;
use super::{cpu, cpu_backward};
use crate::simd_level::SimdLevel;

/// Backends that offer the block, differentiable ones included.
///
/// `params` is the flat array that [`BlockSizes::layout`] describes.
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait BimambaBackend: Backend {
    /// Computes the block for `x`, `[batch, length, d_model]`.
    fn bimamba_block(
        x: FloatTensor<Self>,
        params: FloatTensor<Self>,
        sizes: BlockSizes,
    ) -> FloatTensor<Self>;
}

/// Backends that implement both passes of the block.
pub trait BimambaKernel: BimambaBackend {
    /// Computes the block and what its backward pass needs besides `x`.
    fn bimamba_block_saving(
        x: FloatTensor<Self>,
        params: FloatTensor<Self>,
        sizes: BlockSizes,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Computes the gradients of `x` and of `params`.
    fn bimamba_block_backward(
        x: FloatTensor<Self>,
        params: FloatTensor<Self>,
        saved: FloatTensor<Self>,
        dout: FloatTensor<Self>,
        sizes: BlockSizes,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape),
        DType::F32,
    )
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .expect("the public function lets only f32 through, and `contiguous` was called")
}

impl BimambaBackend for Flex {
    fn bimamba_block(x: FlexTensor, params: FlexTensor, sizes: BlockSizes) -> FlexTensor {
        let (x, params) = (contiguous(x), contiguous(params));
        let shape = x.layout().shape().clone();
        let weights = Weights::new(values(&params), sizes);
        let out = cpu::forward(SimdLevel::detect(), values(&x), shape[1], &weights, None);
        tensor(out, shape)
    }
}

impl BimambaKernel for Flex {
    fn bimamba_block_saving(
        x: FlexTensor,
        params: FlexTensor,
        sizes: BlockSizes,
    ) -> (FlexTensor, FlexTensor) {
        let (x, params) = (contiguous(x), contiguous(params));
        let shape = x.layout().shape().clone();
        let weights = Weights::new(values(&params), sizes);
        let n_state = shape[0] * cpu::states_len(&weights.padded, shape[1]);
        let mut states = vec![0.0; n_state];
        let out = cpu::forward(
            SimdLevel::detect(),
            values(&x),
            shape[1],
            &weights,
            Some(&mut states),
        );
        (tensor(out, shape), tensor(states, Shape::from([n_state])))
    }

    fn bimamba_block_backward(
        x: FlexTensor,
        params: FlexTensor,
        saved: FlexTensor,
        dout: FlexTensor,
        sizes: BlockSizes,
    ) -> (FlexTensor, FlexTensor) {
        let [x, params, saved, dout] = [x, params, saved, dout].map(contiguous);
        let shape = x.layout().shape().clone();
        let weights = Weights::new(values(&params), sizes);
        let (dx, dparams) = cpu_backward::backward(
            SimdLevel::detect(),
            values(&x),
            shape[1],
            &weights,
            values(&saved),
            values(&dout),
        );
        let n_param = Shape::from([dparams.len()]);
        (tensor(dx, shape), tensor(dparams, n_param))
    }
}

#[derive(Debug)]
struct BimambaBackward;

#[derive(Debug, Clone)]
struct Saved<T> {
    x: NodeId,
    params: NodeId,
    states: T,
    sizes: BlockSizes,
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
        let Saved {
            x,
            params,
            states,
            sizes,
        } = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let params = checkpointer.retrieve_node_output::<FloatTensor<B>>(params);
        let (dx, dparams) = B::bimamba_block_backward(x, params, states, dout, sizes);
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
        sizes: BlockSizes,
    ) -> FloatTensor<Self> {
        let prepared = BimambaBackward
            .prepare::<C>([x.node(), params.node()])
            .compute_bound()
            .stateful();
        match prepared {
            OpsKind::Tracked(mut prepared) => {
                let nodes = [prepared.checkpoint(&x), prepared.checkpoint(&params)];
                let (out, states) =
                    B::bimamba_block_saving(x.into_primitive(), params.into_primitive(), sizes);
                let saved = Saved {
                    x: nodes[0],
                    params: nodes[1],
                    states,
                    sizes,
                };
                prepared.finish(saved, out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::bimamba_block(
                x.into_primitive(),
                params.into_primitive(),
                sizes,
            )),
        }
    }
}
