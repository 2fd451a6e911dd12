//! The gate, (y_forward + y_reverse) silu(z), and its adjoint, at the positions asked for; a unit walks one channel.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{CHANNELS, WALK, element, silu, silu_slope};
use super::extent::Extent;
use super::scan::channel_blocks;

/// gated = (y_forward + y_reverse) silu(z)
#[cube(launch)]
fn multiply<E: Float>(
    y: &Tensor<E>,
    z: &Tensor<E>,
    gated: &mut Tensor<E>,
    n_row: usize,
    #[comptime] d_inner: usize,
    #[comptime] walk: usize,
    #[define(E)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS_X as usize;
    if channel >= d_inner {
        terminate!();
    }
    let block = CUBE_POS_Z as usize * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize;
    let first = clamp_max::<usize>(block * walk, n_row);
    let end = clamp_max::<usize>(first + walk, n_row);
    for row in first..end {
        let at = row * d_inner + channel;
        let sum = f32::cast_from(y[at]) + f32::cast_from(y[at + n_row * d_inner]);
        gated[at] = E::cast_from(sum * silu(f32::cast_from(z[at])));
    }
}

/// y' = q silu(z)
#[cube(launch)]
fn multiply_gradient<E: Float>(
    q: &Tensor<E>,
    z: &Tensor<E>,
    dy: &mut Tensor<E>,
    n_row: usize,
    #[comptime] d_inner: usize,
    #[comptime] walk: usize,
    #[define(E)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS_X as usize;
    if channel >= d_inner {
        terminate!();
    }
    let block = CUBE_POS_Z as usize * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize;
    let first = clamp_max::<usize>(block * walk, n_row);
    let end = clamp_max::<usize>(first + walk, n_row);
    for row in first..end {
        let at = row * d_inner + channel;
        dy[at] = E::cast_from(f32::cast_from(q[at]) * silu(f32::cast_from(z[at])));
    }
}

/// z' = q y silu'(z) in place of q, and y silu(z) in place of z.
#[cube(launch)]
fn gate_gradient<E: Float>(
    y: &Tensor<E>,
    q: &mut Tensor<E>,
    z: &mut Tensor<E>,
    n_row: usize,
    #[comptime] d_inner: usize,
    #[comptime] walk: usize,
    #[define(E)] _element: ElemType,
) {
    let channel = ABSOLUTE_POS_X as usize;
    if channel >= d_inner {
        terminate!();
    }
    let block = CUBE_POS_Z as usize * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize;
    let first = clamp_max::<usize>(block * walk, n_row);
    let end = clamp_max::<usize>(first + walk, n_row);
    for row in first..end {
        let at = row * d_inner + channel;
        let sum = f32::cast_from(y[at]) + f32::cast_from(y[at + n_row * d_inner]);
        let gate = f32::cast_from(z[at]);
        q[at] = E::cast_from(f32::cast_from(q[at]) * sum * silu_slope(gate));
        z[at] = E::cast_from(sum * silu(gate));
    }
}

/// Cubes of [`WALK`] rows in two axes, because devices allow 65,535 in each.
fn grid(extent: &Extent) -> CubeCount {
    let blocks = (extent.batch * extent.n_out()).div_ceil(WALK);
    let per_plane = blocks.min(1 << 15);
    CubeCount::Static(
        channel_blocks(extent.sizes.d_inner, CHANNELS),
        per_plane as u32,
        blocks.div_ceil(per_plane) as u32,
    )
}

/// The gated sum of both directions' outputs; `y` is `[sequence output, d_inner]`, `z` `[batch output, d_inner]`.
pub(super) fn gate(extent: &Extent, y: CubeTensor, z: CubeTensor) -> CubeTensor {
    let gated = extent.new_tensor(&z, &z.shape().to_vec(), z.dtype());
    multiply::launch(
        &gated.client,
        grid(extent),
        CubeDim::new_1d(CHANNELS as u32),
        y.into_tensor_arg(),
        z.into_tensor_arg(),
        gated.clone().into_tensor_arg(),
        extent.batch * extent.n_out(),
        extent.sizes.d_inner,
        WALK,
        element(gated.dtype()),
    );
    gated
}

/// Gradient of both directions' outputs from that of the gated sum, `q`.
pub(super) fn output_gradient(extent: &Extent, q: &CubeTensor, z: &CubeTensor) -> CubeTensor {
    let dy = extent.new_tensor(z, &z.shape().to_vec(), z.dtype());
    multiply_gradient::launch(
        &z.client,
        grid(extent),
        CubeDim::new_1d(CHANNELS as u32),
        q.clone().into_tensor_arg(),
        z.clone().into_tensor_arg(),
        dy.clone().into_tensor_arg(),
        extent.batch * extent.n_out(),
        extent.sizes.d_inner,
        WALK,
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
    gate_gradient::launch(
        &z.client,
        grid(extent),
        CubeDim::new_1d(CHANNELS as u32),
        y.into_tensor_arg(),
        q.clone().into_tensor_arg(),
        z.clone().into_tensor_arg(),
        extent.batch * extent.n_out(),
        extent.sizes.d_inner,
        WALK,
        element(z.dtype()),
    );
    (q, z)
}
