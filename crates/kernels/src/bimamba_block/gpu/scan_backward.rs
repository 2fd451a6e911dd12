//! The adjoint of the selective scan, parallel over chunks of steps, walking each chunk from its end.
//!
//! In the letters of `docs/kernels/bimamba_block.md`: Q = G + y' C, G <- exp(delta A) Q. Two kernels as in the
//! forward pass give the G that is carried into each chunk; a third has every gradient from it
//! ([`scan_gradients`](super::scan_gradients)).

#![allow(
    clippy::manual_div_ceil,
    reason = "kernels are written in what CubeCL translates"
)]

use burn::backend::{DType, TensorMetadata};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::channel::{
    CHANNELS, STAGE, element, load_channel, output_gradient, position, presence, raw_step_size,
    softplus, stage_rows,
};
use super::extent::Extent;
use super::scan::{CHUNK, ScanTensors, carry_states, scan_grid};
use super::scan_gradients::{ScanGradients, gradients_of_chunks};
use crate::bimamba_block::layout::BlockSizes;
use crate::native_math::power;

/// G before the first step of each chunk, from a G of zero behind its last, and the chunk's sum of step sizes.
#[cube(launch)]
pub(super) fn chunk_adjoints<E: Float>(
    dy: &Tensor<E>,
    projected: &Tensor<f32>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    adjoints: &mut Tensor<f32>,
    step_sums: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    out_start: usize,
    n_out: usize,
    #[comptime] sizes: BlockSizes,
    #[comptime] chunk_len: usize,
    #[comptime] stage: usize,
    #[comptime] units: usize,
    #[comptime] masked: bool,
    #[define(E)] _element: ElemType,
) {
    let unit = UNIT_POS_X as usize;
    let chunk = CUBE_POS_Y as usize;
    let sequence = CUBE_POS_Z as usize;
    let n_chunk = CUBE_COUNT_Y as usize;
    let d_inner = comptime!(sizes.d_inner);
    let n_state = comptime!(sizes.d_state);
    let rank = comptime!(sizes.dt_rank);
    let width = comptime!(sizes.d_x_proj());
    let active = (ABSOLUTE_POS_X as usize) < d_inner;
    let channel = clamp_max::<usize>(ABSOLUTE_POS_X as usize, d_inner - 1);
    let mut rows = Shared::<[f32]>::new_slice(comptime!(stage * sizes.d_x_proj()));
    let direction = sequence / batch;
    let batch_index = sequence % batch;
    let mut rates = Array::<f32>::new(n_state);
    let mut dt_weight = Array::<f32>::new(rank);
    let bias = load_channel(
        params,
        direction,
        channel,
        &mut rates,
        &mut dt_weight,
        sizes,
    );
    let mut g = Array::<f32>::new(n_state);
    #[unroll]
    for n in 0..n_state {
        g[n] = 0.0f32;
    }
    let mut sum = 0.0f32;
    let first = chunk * chunk_len;
    let end = clamp_max::<usize>(first + chunk_len, steps);
    let n_stage = (end - first + stage - 1) / stage;
    for k in 0..n_stage {
        // Stages are cut from the chunk's end, the first of them last.
        let to = end - k * stage;
        let n_step = clamp_max::<usize>(to - first, stage);
        let from = to - n_step;
        let row = sequence * steps + from;
        stage_rows(projected, row, n_step, &mut rows, unit, units, width, stage);
        for back in 0..n_step {
            // What the remainder says lets a compiler move vectors.
            let i = (n_step - 1 - back) % stage;
            let raw = raw_step_size(&rows, i * width, &dt_weight, bias, rank);
            let at = position(from + i, length, direction);
            let delta = softplus(raw) * presence(mask, batch_index * length + at, masked);
            sum += delta;
            let y = output_gradient::<E>(dy, at, channel, batch_index, out_start, n_out, d_inner);
            #[unroll]
            for n in 0..n_state {
                g[n] = power(delta * rates[n]) * (g[n] + y * rows[i * width + rank + n_state + n]);
            }
        }
        sync_cube();
    }
    if active {
        let at = (sequence * n_chunk + chunk) * d_inner;
        #[unroll]
        for n in 0..n_state {
            adjoints[at * n_state + n * d_inner + channel] = g[n];
        }
        step_sums[at + channel] = sum;
    }
}

/// Gradients of the scan from those of its outputs, `dy`, `[batch, output, d_inner]`, the same for both directions.
pub(super) fn scan_gradients(
    extent: &Extent,
    scan: &ScanTensors,
    states: CubeTensor,
    dy: CubeTensor,
) -> ScanGradients {
    let dtype: DType = scan.u.dtype();
    let masked = scan.mask.is_some();
    let adjoints = extent.new_states(&scan.u);
    let step_sums = extent.new_step_sums(&scan.u);
    chunk_adjoints::launch(
        &scan.u.client,
        scan_grid(extent, CHANNELS),
        CubeDim::new_1d(CHANNELS as u32),
        dy.clone().into_tensor_arg(),
        scan.projected.clone().into_tensor_arg(),
        scan.params.clone().into_tensor_arg(),
        scan.mask_values().into_tensor_arg(),
        adjoints.clone().into_tensor_arg(),
        step_sums.clone().into_tensor_arg(),
        extent.batch,
        extent.length,
        extent.steps(),
        extent.outputs.start,
        extent.n_out(),
        extent.sizes,
        CHUNK,
        STAGE,
        CHANNELS,
        masked,
        element(dtype),
    );
    carry_states(extent, &scan.params, step_sums, &adjoints, true);
    gradients_of_chunks(extent, scan, states, adjoints, dy)
}
