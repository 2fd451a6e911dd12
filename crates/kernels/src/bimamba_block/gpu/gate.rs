//! The gate, (y_forward + y_reverse) silu(z), and its adjoint, at the positions asked for; a unit takes one vector.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{element, silu_each, silu_slope_each};
use super::extent::{Cover, Extent};

/// gated = (y_forward + y_reverse) silu(z)
#[cube(launch)]
fn multiply<E: Float, N: Size>(
    y: &Tensor<Vector<E, N>>,
    z: &Tensor<Vector<E, N>>,
    gated: &mut Tensor<Vector<E, N>>,
    n_vector: usize,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= n_vector {
        terminate!();
    }
    let sum = Vector::<f32, N>::cast_from(y[at]) + Vector::<f32, N>::cast_from(y[at + n_vector]);
    let z = Vector::<f32, N>::cast_from(z[at]);
    gated[at] = Vector::<E, N>::cast_from(sum * silu_each::<N>(z));
}

/// y' = q silu(z)
#[cube(launch)]
fn multiply_gradient<E: Float, N: Size>(
    q: &Tensor<Vector<E, N>>,
    z: &Tensor<Vector<E, N>>,
    dy: &mut Tensor<Vector<E, N>>,
    n_vector: usize,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= n_vector {
        terminate!();
    }
    let q = Vector::<f32, N>::cast_from(q[at]);
    let z = Vector::<f32, N>::cast_from(z[at]);
    dy[at] = Vector::<E, N>::cast_from(q * silu_each::<N>(z));
}

/// z' = q y silu'(z) in place of q, and y silu(z) in place of z.
#[cube(launch)]
fn gate_gradient<E: Float, N: Size>(
    y: &Tensor<Vector<E, N>>,
    q: &mut Tensor<Vector<E, N>>,
    z: &mut Tensor<Vector<E, N>>,
    n_vector: usize,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= n_vector {
        terminate!();
    }
    let sum = Vector::<f32, N>::cast_from(y[at]) + Vector::<f32, N>::cast_from(y[at + n_vector]);
    let gate = Vector::<f32, N>::cast_from(z[at]);
    let slope = silu_slope_each::<N>(gate);
    q[at] = Vector::<E, N>::cast_from(Vector::<f32, N>::cast_from(q[at]) * sum * slope);
    z[at] = Vector::<E, N>::cast_from(sum * silu_each::<N>(gate));
}

/// The gated sum of both directions' outputs; `y` is `[sequence output, d_inner]`, `z` `[batch output, d_inner]`.
pub(super) fn gate(extent: &Extent, y: CubeTensor, z: CubeTensor) -> CubeTensor {
    let gated = extent.new_tensor(&z, &z.shape().to_vec(), z.dtype());
    let cover = Cover::new(&z, extent.sizes.d_inner, z.shape().num_elements());
    multiply::launch(
        &gated.client,
        cover.cubes,
        cover.units,
        cover.vector_size,
        y.into_tensor_arg(),
        z.into_tensor_arg(),
        gated.clone().into_tensor_arg(),
        cover.n_vector,
        element(gated.dtype()),
    );
    gated
}

/// Gradient of both directions' outputs from that of the gated sum, `q`.
pub(super) fn output_gradient(extent: &Extent, q: &CubeTensor, z: &CubeTensor) -> CubeTensor {
    let dy = extent.new_tensor(z, &z.shape().to_vec(), z.dtype());
    let cover = Cover::new(z, extent.sizes.d_inner, z.shape().num_elements());
    multiply_gradient::launch(
        &z.client,
        cover.cubes,
        cover.units,
        cover.vector_size,
        q.clone().into_tensor_arg(),
        z.clone().into_tensor_arg(),
        dy.clone().into_tensor_arg(),
        cover.n_vector,
        element(z.dtype()),
    );
    dy
}

/// The gate's gradient and the gated sum, in the memory of `q` and `z`.
pub(super) fn gate_and_gradient(
    extent: &Extent,
    y: CubeTensor,
    q: CubeTensor,
    z: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let cover = Cover::new(&z, extent.sizes.d_inner, z.shape().num_elements());
    gate_gradient::launch(
        &z.client,
        cover.cubes,
        cover.units,
        cover.vector_size,
        y.into_tensor_arg(),
        q.clone().into_tensor_arg(),
        z.clone().into_tensor_arg(),
        cover.n_vector,
        element(z.dtype()),
    );
    (q, z)
}
