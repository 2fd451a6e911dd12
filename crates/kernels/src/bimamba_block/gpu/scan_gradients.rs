//! Every gradient of a chunk of the selective scan, from the state before it and the G behind it.
//!
//! In the letters of `docs/kernels/bimamba_block.md`: Q = G + y' C, E = exp(delta A) Q H, G <- exp(delta A) Q. The chunk's
//! states are recomputed in two levels: first those at the start of every run of steps, then every step of one run at
//! a time, from the last run to the first.
//!
//! A unit has two parts to play. It walks pairs of channel and state, those of a column of channels and a group of states
//! ([`Places`]), so that much of a sum over channels or over states is added up in its registers. And it owns the column's channels
//! at some of the steps: step sizes, inputs and the gradients that are sums over states. What is left of a run's sums crosses
//! between units through shared memory, three barriers a run. Sums over steps stay in registers until the cube's last chunk ends,
//! and are added up over cubes in a fixed order by the caller.

#![allow(
    clippy::manual_div_ceil,
    reason = "kernels are written in what CubeCL translates"
)]

mod ahead;
mod exchange;
mod own;
mod pairs;
mod places;
mod rows;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, Shape, TensorMetadata};
use burn::tensor::FloatDType;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use self::ahead::{Ahead, Scan};
use self::exchange::Exchange;
use self::own::OwnChannels;
use self::pairs::Pairs;
pub(super) use self::places::Places;
use self::places::{RUN, Role, STAGE};
use self::rows::{share_parts, sum_mask, sum_parts};
use super::channel::{direction_stride, element};
use super::extent::{Cover, Extent};
use super::products::reshape;
use super::scan::{CHUNK, ScanTensors};
use crate::bimamba_block::layout::{BlockSizes, DEVICE_CHUNKS_OF_A_CUBE};
use crate::native_math::is_cuda;

/// Cubes that fill a device several times over; few in tests, so that a cube of theirs takes several chunks too.
const CUBES: usize = if cfg!(test) { 8 } else { 4096 };

/// Tensors of [`chunk_gradients`], more than any other kernel has.
pub(crate) const MOST_TENSORS: u32 = 12;

/// Steps, of all scans together, that one launch of [`chunk_gradients`] walks at most on a device that may draw a screen,
/// whose driver ends what keeps it busy for about two seconds; few in tests, so that theirs are cut too.
const LAUNCH_STEPS: usize = if cfg!(test) { 4 * CHUNK } else { 1 << 18 };

/// Writes the gradients of `chunks` chunks a cube, of the cubes of each scan from `first_cube` on.
///
/// `partial_rows` holds the gradients of step-size inputs, B and C of each block of channels,
/// `[channel block, sequence, step, dt_rank + 2 d_state]`; `partial_params` those of dt_weight, dt_bias, a_log and d of
/// the `chunks` chunks of each cube, in the order of the parameters, `[sequence, cube, ..]`; `partial_mask` that of each position's mask in each
/// block of channels and direction, `[channel block, direction, batch, length]`, and nothing without a mask.
#[cube(launch)]
pub(super) fn chunk_gradients<E: Float, N: Size, S: Size>(
    dy: &Tensor<Vector<E, N>>,
    u: &Tensor<Vector<E, N>>,
    projected: &Tensor<Vector<f32, S>>,
    params: &Tensor<f32>,
    mask: &Tensor<f32>,
    states: &Tensor<f32>,
    adjoints: &Tensor<f32>,
    y: &mut Tensor<Vector<E, N>>,
    du: &mut Tensor<Vector<E, N>>,
    partial_rows: &mut Tensor<Vector<f32, S>>,
    partial_params: &mut Tensor<f32>,
    partial_mask: &mut Tensor<f32>,
    batch: usize,
    length: usize,
    steps: usize,
    out_start: usize,
    n_out: usize,
    chunks: usize,
    first_cube: usize,
    #[comptime] chunk_len: usize,
    #[comptime] places: Places,
    #[define(E)] _element: ElemType,
) {
    let sequence = CUBE_POS_Z as usize;
    let scan = Scan {
        sequence,
        direction: sequence / batch,
        batch_index: sequence % batch,
        length,
        first_row: sequence * steps,
        out_start,
        n_out,
    };
    let role = Role::new(places);
    let mut exchange = Exchange::<N, S>::new(places);
    let mut channels = OwnChannels::<N>::new::<S>(params, &mut exchange, &scan, &role, places);
    let a_log_at = scan.direction * comptime!(direction_stride(places.sizes))
        + comptime!(places.sizes.layout().directions[0].a_log.start);
    let mut pairs = Pairs::<S>::new(params, a_log_at, &role, places, chunk_len);
    let mut next_stage = Ahead::<E, N, S>::new(STAGE, places);
    let mut next_run = Ahead::<E, N, S>::new(RUN, places);
    let n_row = CUBE_COUNT_Z as usize * steps;

    let n_chunk = (steps + chunk_len - 1) / chunk_len;
    let cube = first_cube + CUBE_POS_Y as usize;
    let first_chunk = cube * chunks;
    for chunk in first_chunk..clamp_max::<usize>(first_chunk + chunks, n_chunk) {
        let at =
            (sequence * n_chunk + chunk) * comptime!(places.sizes.d_inner * places.sizes.d_state);
        pairs.load(states, adjoints, at, &role, places);
        let first = chunk * chunk_len;
        let end = clamp_max::<usize>(first + chunk_len, steps);
        let n_step = clamp_max::<usize>(end - first, STAGE);
        next_stage.load_inputs(
            u, projected, mask, &scan, &role, first, n_step, STAGE, places,
        );
        let n_stage = (end - first + STAGE - 1) / STAGE;
        for stage in 0..n_stage {
            next_stage.share_rows(&mut exchange, &role, 0usize, STAGE, places);
            sync_cube();
            channels.share_stage::<E, S>(&mut exchange, &next_stage, &role, places);
            // Behind the last stage the last again, for nothing.
            let next = clamp_max::<usize>(stage + 1, n_stage - 1);
            let from = first + next * STAGE;
            let n_step = clamp_max::<usize>(end - from, STAGE);
            next_stage.load_inputs(
                u, projected, mask, &scan, &role, from, n_step, STAGE, places,
            );
            sync_cube();
            pairs.walk_stage::<N>(&mut exchange, &role, stage, places, chunk_len);
            sync_cube();
        }

        let n_run = (end - first + RUN - 1) / RUN;
        let run_first = first + (n_run - 1) * RUN;
        let n_step = end - run_first;
        let shared = (n_run - 1) % 2 * RUN;
        next_run.load_inputs(
            u, projected, mask, &scan, &role, run_first, n_step, RUN, places,
        );
        next_run.load_douts(dy, &scan, &role, run_first, n_step, RUN, places);
        pairs.rewind(n_run - 1, places, chunk_len);
        next_run.share_rows(&mut exchange, &role, shared, RUN, places);
        sync_cube();
        channels.share_run::<E, S>(&mut exchange, &next_run, &role, shared, places);
        sync_cube();
        for back in 0..n_run {
            let run = n_run - 1 - back;
            let run_first = first + run * RUN;
            let n_step = clamp_max::<usize>(end - run_first, RUN);
            let shared = run % 2 * RUN;
            let next_shared = (run + 1) % 2 * RUN;
            // Before the first run the first again, for nothing.
            let next = clamp_min::<usize>(run, 1usize) - 1;
            let next_first = first + next * RUN;
            let n_next = clamp_max::<usize>(end - next_first, RUN);
            pairs.walk_run::<N>(&mut exchange, &role, shared, places);
            // Early enough to arrive, and late enough that registers do not run out (`scripts/kernel-code`).
            next_run.load_inputs(
                u, projected, mask, &scan, &role, next_first, n_next, RUN, places,
            );
            next_run.load_douts(dy, &scan, &role, next_first, n_next, RUN, places);
            pairs.walk_back::<N>(&mut exchange, &role, shared, places);
            sync_cube();
            // Of the run behind, if there is one.
            let behind = clamp_max::<usize>(run_first + RUN, end);
            let n_behind = clamp_max::<usize>(end - behind, RUN);
            sum_parts::<N, S>(
                partial_rows,
                &exchange,
                &scan,
                &role,
                behind,
                n_behind,
                n_row,
                places,
            );
            pairs.rewind(next, places, chunk_len);
            channels.gradients::<E, S>(
                &mut exchange,
                y,
                du,
                &scan,
                &role,
                run_first,
                n_step,
                places,
            );
            next_run.share_rows(&mut exchange, &role, next_shared, RUN, places);
            sync_cube();
            share_parts::<N, S>(&mut exchange, &role, places);
            if comptime!(places.masked) {
                sum_mask::<N, S>(
                    partial_mask,
                    &exchange,
                    &scan,
                    &role,
                    run_first,
                    n_step,
                    places,
                );
            }
            channels.add_dweights::<S>(&exchange, &role, shared, places);
            channels.share_run::<E, S>(&mut exchange, &next_run, &role, next_shared, places);
            sync_cube();
        }
        let n_step = clamp_max::<usize>(end - first, RUN);
        sum_parts::<N, S>(
            partial_rows,
            &exchange,
            &scan,
            &role,
            first,
            n_step,
            n_row,
            places,
        );
    }

    let n_cube = (n_chunk + chunks - 1) / chunks;
    let row = sequence * n_cube + cube;
    channels.store::<S>(&mut exchange, partial_params, row, &role, places);
    let a_log_grad_at = row * comptime!(scan_params_len(places.sizes))
        + comptime!(places.sizes.d_inner * (places.sizes.dt_rank + 1));
    pairs.store(partial_params, a_log_grad_at, &role, places);
}

/// Adds up what each block of channels has of the rows' gradients, in the type of the activations.
#[cube(launch)]
fn add_blocks<E: Float, N: Size>(
    partial_rows: &Tensor<Vector<f32, N>>,
    rows: &mut Tensor<Vector<E, N>>,
    n_vector: usize,
    #[comptime] n_block: usize,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= n_vector {
        terminate!();
    }
    let mut sum = partial_rows[at];
    #[unroll]
    for block in 1..n_block {
        sum += partial_rows[at + block * n_vector];
    }
    rows[at] = Vector::<E, N>::cast_from(sum);
}

/// Floats of one direction's dt_weight, dt_bias, a_log and d, which lie one after the other.
pub(super) fn scan_params_len(sizes: BlockSizes) -> usize {
    sizes.d_inner * (sizes.dt_rank + 1 + sizes.d_state + 1)
}

/// Chunks that a cube takes one after the other, so that it sums up their gradients of parameters, when there are so many
/// that a device is filled several times over by fewer cubes.
fn chunks_of_a_cube(chunks: usize) -> usize {
    (chunks / CUBES).clamp(1, DEVICE_CHUNKS_OF_A_CUBE)
}

/// Cubes of each scan that one launch takes, of `n_cube` with `chunks` chunks each.
///
/// One launch has all of them on a card that computes through CUDA.
fn cubes_of_a_launch(scan: &ScanTensors, n_sequence: usize, n_cube: usize, chunks: usize) -> usize {
    if is_cuda(scan.u.client.properties()) {
        return n_cube;
    }
    (LAUNCH_STEPS / (n_sequence * chunks * CHUNK)).clamp(1, n_cube)
}

/// What the adjoint scan leaves; see [`chunk_gradients`] for the partial sums.
#[derive(Debug)]
pub(super) struct ScanGradients {
    /// The scan's outputs again, `[sequence, output, d_inner]`.
    pub(super) y: CubeTensor,
    /// Gradient of `u` through the scan, `[sequence, step, d_inner]`.
    pub(super) du: CubeTensor,
    /// Gradients of step-size inputs, B and C through the scan, `[sequence step, dt_rank + 2 d_state]`.
    pub(super) projected: CubeTensor,
    pub(super) partial_params: CubeTensor,
    pub(super) partial_mask: Option<CubeTensor>,
}

/// Gradients of the scan from those of its outputs, `dy`, `[batch, output, d_inner]`, the states before each chunk and the G
/// behind it.
pub(super) fn gradients_of_chunks(
    extent: &Extent,
    scan: &ScanTensors,
    states: CubeTensor,
    adjoints: CubeTensor,
    dy: CubeTensor,
) -> ScanGradients {
    let sizes = extent.sizes;
    let dtype: DType = scan.u.dtype();
    let masked = scan.mask.is_some();
    let hardware = &scan.u.client.properties().hardware;
    let places = Places::that_fit(sizes, masked, hardware.max_shared_memory_size);
    let n_block = places.n_block();
    let rows = extent.n_sequence() * extent.steps();
    let new = |shape: &[usize], dtype| extent.new_tensor(&scan.u, shape, dtype);
    let y = new(
        &[extent.n_sequence() * extent.n_out(), sizes.d_inner],
        dtype,
    );
    let du = new(&[rows, sizes.d_inner], dtype);
    let partial_rows = new(&[n_block, rows, sizes.d_x_proj()], DType::F32);
    let chunks = chunks_of_a_cube(n_block * extent.n_sequence() * extent.n_chunk());
    let n_cube = extent.n_chunk().div_ceil(chunks);
    let partial_params = new(
        &[2, extent.batch * n_cube, scan_params_len(sizes)],
        DType::F32,
    );
    // Positions behind the last step stay 0.
    let partial_mask = masked.then(|| {
        let shape = [n_block * 2, extent.batch * extent.length];
        // CUDA pads the rows of what is allocated with more than one axis.
        let flat = Shape::from([shape[0] * shape[1]]);
        let zeros = CubeBackend::float_zeros(flat, &scan.u.device, FloatDType::F32);
        reshape(zeros, &shape)
    });
    let most = cubes_of_a_launch(scan, extent.n_sequence(), n_cube, chunks);
    for first_cube in (0..n_cube).step_by(most) {
        let cubes = most.min(n_cube - first_cube) as u32;
        chunk_gradients::launch(
            &scan.u.client,
            CubeCount::Static(n_block as u32, cubes, extent.n_sequence() as u32),
            CubeDim::new_1d(places.units() as u32),
            places.per_column,
            places.per_group,
            dy.clone().into_tensor_arg(),
            scan.u.clone().into_tensor_arg(),
            scan.projected.clone().into_tensor_arg(),
            scan.params.clone().into_tensor_arg(),
            scan.mask_values().into_tensor_arg(),
            states.clone().into_tensor_arg(),
            adjoints.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            du.clone().into_tensor_arg(),
            partial_rows.clone().into_tensor_arg(),
            partial_params.clone().into_tensor_arg(),
            // Without a mask nothing is written there.
            partial_mask
                .as_ref()
                .unwrap_or(&partial_params)
                .clone()
                .into_tensor_arg(),
            extent.batch,
            extent.length,
            extent.steps(),
            extent.outputs.start,
            extent.n_out(),
            chunks,
            first_cube,
            CHUNK,
            places,
            element(dtype),
        );
    }
    drop((dy, states, adjoints));
    ScanGradients {
        y,
        du,
        projected: sum_of_blocks(extent, partial_rows, dtype),
        partial_params,
        partial_mask,
    }
}

/// Sum over the first axis of `partial_rows`, `[channel block, row, d_x_proj]`.
fn sum_of_blocks(extent: &Extent, partial_rows: CubeTensor, dtype: DType) -> CubeTensor {
    let [n_block, n_row, width] = partial_rows.shape().dims::<3>();
    let rows = extent.new_tensor(&partial_rows, &[n_row, width], dtype);
    let cover = Cover::new(&partial_rows, width, n_row * width);
    add_blocks::launch(
        &rows.client,
        cover.cubes,
        cover.units,
        cover.vector_size,
        partial_rows.into_tensor_arg(),
        rows.clone().into_tensor_arg(),
        cover.n_vector,
        n_block,
        element(dtype),
    );
    rows
}
