//! Plain slices in and out of Burn's CPU tensors.

use burn::tensor::{Bytes, DType, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};

/// Returns the tensor with its elements in row-major order; they are copied only if they are not.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The tensor's own elements, row-major; its storage may begin with those of the tensor it is a view of.
pub(crate) fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("`contiguous` was called on this single-precision tensor")
}

/// Makes a tensor of row-major `values`.
pub(crate) fn from_values(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape.into()),
        DType::F32,
    )
}

/// Returns the tensor in single precision, as the operations of this crate take it.
pub(crate) fn single_precision<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.dtype() == DType::F32 {
        tensor
    } else {
        tensor.cast(DType::F32)
    }
}
