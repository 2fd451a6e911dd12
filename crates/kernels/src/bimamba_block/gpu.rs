//! The block on a device: CubeCL kernels around burn's matrix products, one source for every runtime.
//!
//! Both directions are walked in one launch, each in the order of its own steps. Only positions that the outputs asked
//! for depend on are scanned, and only those are gated and projected out. Sequences of a batch that would need a
//! buffer larger than the device allows are computed in groups.

mod channel;
mod convolution;
mod convolution_gradient;
#[cfg(all(test, feature = "cuda-cpp"))]
mod cuda_source;
mod extent;
mod gate;
mod masked;
mod masked_gradient;
#[cfg(test)]
mod masked_tests;
mod norm;
mod products;
mod scan;
mod scan_backward;
mod scan_gradients;
mod taps;
#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, TensorMetadata};
use burn::tensor::Slice;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use self::extent::Extent;
use self::masked::{DeviceMask, mask_gradient};
use self::products::{
    cast, product, reshape, slice_first, sum_axis, sum_of_outer_products, transposed,
};
use self::scan::ScanTensors;
pub(crate) use self::scan_gradients::MOST_TENSORS;
use self::scan_gradients::Places;
use super::autodiff::{BimambaBackend, BimambaKernel};
use super::layout::BlockSizes;
use super::plan::BlockPlan;

/// Largest magnitude of the output's gradient while a backward pass computes in half precision, whose numbers reach from
/// 6e-8 to 65,504: the products and sums on the way through the block may grow to 4,000 times the largest, and values down to
/// 4e-9 of it are told from zero.
const HALF_GRADIENT: f32 = 16.0;

/// Most bytes of one temporary, where the device allows more.
const BUFFER_BYTES: usize = 1 << 30;

impl BimambaBackend for CubeBackend {
    fn bimamba_block(x: CubeTensor, params: CubeTensor, plan: BlockPlan) -> CubeTensor {
        Block::new(&x, params, plan).forward(x, None)
    }
}

impl BimambaKernel for CubeBackend {
    fn bimamba_block_saving(
        x: CubeTensor,
        params: CubeTensor,
        plan: BlockPlan,
    ) -> (CubeTensor, CubeTensor) {
        let mut states = Vec::new();
        let out = Block::new(&x, params, plan).forward(x, Some(&mut states));
        (out, join(states))
    }

    fn bimamba_block_backward(
        x: CubeTensor,
        params: CubeTensor,
        saved: CubeTensor,
        dout: CubeTensor,
        plan: BlockPlan,
    ) -> (CubeTensor, CubeTensor) {
        let gradients = Block::new(&x, params, plan).backward(x, saved, dout);
        (gradients.x, gradients.params)
    }
}

/// Joins tensors along their first axis.
fn join(mut tensors: Vec<CubeTensor>) -> CubeTensor {
    if tensors.len() == 1 {
        tensors.remove(0)
    } else {
        CubeBackend::float_cat(tensors, 0)
    }
}

/// Floats a position of the largest temporary of a block, on a device with so much shared memory: both directions' channels, or
/// the parts of the gradients of step-size inputs, B and C, of which each cube's block of channels has one.
pub(crate) fn widest(sizes: BlockSizes, shared_bytes: usize) -> usize {
    let n_block = Places::that_fit(sizes, false, shared_bytes).n_block();
    2 * sizes.d_inner.max(n_block * sizes.d_x_proj())
}

/// Bases that one of the cubes in a row along a window takes at least.
pub(crate) const BASES_OF_A_CUBE: usize = channel::WALK;

/// Most sequences of a group: a device has 65,535 cubes in a row at least, and each sequence takes two.
const MOST_SEQUENCES: usize = 32_767;

/// Units of the largest cube of a block.
pub(crate) fn most_units(sizes: BlockSizes) -> usize {
    let largest = Places::that_fit(sizes, false, usize::MAX).units();
    largest.max(extent::UNITS as usize)
}

/// Bytes that the units of a cube share where a block's kernels are cut as small as they can be.
pub(crate) fn least_shared_bytes(sizes: BlockSizes) -> usize {
    let rows = channel::STAGE * sizes.d_x_proj() * size_of::<f32>();
    rows.max(Places::that_fit(sizes, false, 0).bytes())
}

/// Parameters on the device and what is computed with them.
struct Block {
    sizes: BlockSizes,
    outputs: Range<usize>,
    /// All parameters in the order of [`BlockSizes::layout`], single precision.
    params: CubeTensor,
    /// Type of the activations between the kernels and of the operands of products.
    dtype: DType,
    /// Most bytes of one temporary.
    buffer_bytes: usize,
    /// How present each position of every sequence is; none when all are.
    mask: Option<DeviceMask>,
}

/// What a backward pass leaves.
struct Gradients {
    /// Of the sequences, `[batch, length, d_model]`.
    x: CubeTensor,
    /// Of all parameters.
    params: CubeTensor,
    /// Of the mask, `[batch, length]`.
    mask: Option<CubeTensor>,
}

/// What both passes compute first.
struct Inputs {
    /// Normalised rows, `[batch length, d_model]`.
    h: CubeTensor,
    /// The same at the positions asked for, `[batch output, d_model]`.
    h_out: CubeTensor,
    /// Convolution input, `[batch length, d_inner]`.
    v: CubeTensor,
    /// Gate, `[batch output, d_inner]`.
    z: CubeTensor,
    scan: ScanTensors,
}

impl Block {
    fn new(x: &CubeTensor, params: CubeTensor, plan: BlockPlan) -> Self {
        Self {
            sizes: plan.sizes,
            outputs: plan.outputs,
            params: into_contiguous(params),
            dtype: plan.numerics.precision.dtype(),
            buffer_bytes: BUFFER_BYTES.min(x.client.properties().memory.max_page_size as usize),
            mask: None,
        }
    }

    /// The same block whose positions are as present as `mask`, `[batch, length]`, says.
    fn under(self, mask: CubeTensor) -> Self {
        let mask = Some(DeviceMask::new(mask, self.sizes.d_conv));
        Self { mask, ..self }
    }

    /// Output of every sequence, `[batch, output, d_model]`; the states before each chunk go to `keep`.
    fn forward(&self, x: CubeTensor, mut keep: Option<&mut Vec<CubeTensor>>) -> CubeTensor {
        let outputs = self.groups(x).map(|(x, mask)| {
            let (out, states) = self.forward_group(&x, mask);
            if let Some(keep) = &mut keep {
                keep.push(states);
            }
            out
        });
        join(outputs.collect())
    }

    /// Gradients of the sequences, of all parameters and of the mask.
    fn backward(&self, x: CubeTensor, states: CubeTensor, dout: CubeTensor) -> Gradients {
        let (dout, unit) = match self.dtype {
            DType::F16 => {
                let (dout, unit) = in_units_of_largest(dout);
                (dout, Some(unit))
            }
            _ => (dout, None),
        };
        let (mut state_rows, mut output_rows) = (0, 0);
        let (mut dx, mut dparams, mut dmask) = (Vec::new(), Vec::new(), Vec::new());
        for (x, mask) in self.groups(x) {
            let extent = self.extent(&x);
            let next = state_rows + extent.n_sequence() * extent.n_chunk();
            let states = into_contiguous(slice_first(states.clone(), state_rows..next));
            state_rows = next;
            let next = output_rows + extent.batch;
            let dout = into_contiguous(slice_first(dout.clone(), output_rows..next));
            output_rows = next;
            let group = self.backward_group(&x, mask, states, dout);
            dx.push(group.x);
            dparams.push(group.params);
            dmask.extend(group.mask);
        }
        let dparams = dparams.into_iter().reduce(CubeBackend::float_add);
        let dparams = dparams.expect("a checked batch has at least one sequence");
        let mask = (!dmask.is_empty()).then(|| join(dmask));
        let whole = |gradient: CubeTensor| match &unit {
            Some(unit) => {
                let ones = vec![1; gradient.shape().num_dims()];
                CubeBackend::float_mul(gradient, reshape(unit.clone(), &ones))
            }
            None => gradient,
        };
        Gradients {
            x: whole(join(dx)),
            params: whole(dparams),
            mask: mask.map(whole),
        }
    }

    fn extent(&self, x: &CubeTensor) -> Extent {
        let [batch, length, _] = x.shape().dims::<3>();
        Extent {
            sizes: self.sizes,
            batch,
            length,
            outputs: self.outputs.clone(),
        }
    }

    /// The sequences of `x` with their mask, as many at a time as the largest temporary allows.
    fn groups(
        &self,
        x: CubeTensor,
    ) -> impl Iterator<Item = (CubeTensor, Option<DeviceMask>)> + use<'_> {
        let [batch, length, _] = x.shape().dims::<3>();
        let shared_bytes = x.client.properties().hardware.max_shared_memory_size;
        let bytes = length * widest(self.sizes, shared_bytes) * size_of::<f32>();
        let group = (self.buffer_bytes / bytes).clamp(1, batch.min(MOST_SEQUENCES));
        let x = into_contiguous(x);
        (0..batch).step_by(group).map(move |start| {
            let end = (start + group).min(batch);
            let mask = self.mask.as_ref().map(|mask| mask.of(start..end));
            (into_contiguous(slice_first(x.clone(), start..end)), mask)
        })
    }

    /// A matrix among the parameters, `[1, rows, columns]`, in the type of the products.
    fn matrix(&self, place: Range<usize>, rows: usize) -> CubeTensor {
        let columns = place.len() / rows;
        let matrix = reshape(slice_first(self.params.clone(), place), &[1, rows, columns]);
        cast(matrix, self.dtype)
    }

    /// The projections to step size, B and C of both directions, `[2, dt_rank + 2 d_state, d_inner]`.
    fn x_projs(&self) -> CubeTensor {
        let [forward, reverse] = self.sizes.layout().directions.map(|direction| {
            let rows = self.sizes.d_x_proj();
            self.matrix(direction.x_proj, rows)
        });
        CubeBackend::float_cat(vec![forward, reverse], 0)
    }

    /// The projections to convolution input and gate, `[1, d_inner, d_model]` each.
    fn in_projs(&self) -> [CubeTensor; 2] {
        let place = self.sizes.layout().in_proj;
        let middle = place.start + place.len() / 2;
        [place.start..middle, middle..place.end].map(|half| self.matrix(half, self.sizes.d_inner))
    }

    fn out_proj(&self) -> CubeTensor {
        self.matrix(self.sizes.layout().out_proj, self.sizes.d_model)
    }

    /// Rows `[batch length, columns]` at the positions asked for, `[batch output, columns]`.
    fn at_outputs(&self, extent: &Extent, rows: &CubeTensor) -> CubeTensor {
        if extent.n_out() == extent.length {
            return rows.clone();
        }
        let columns = rows.shape()[1];
        let rows = reshape(rows.clone(), &[extent.batch, extent.length, columns]);
        let slices = [Slice::full(), Slice::from(self.outputs.clone())];
        let rows = into_contiguous(CubeBackend::float_slice(rows, &slices));
        reshape(rows, &[extent.batch * extent.n_out(), columns])
    }

    fn inputs(&self, extent: &Extent, x: &CubeTensor, mask: Option<DeviceMask>) -> Inputs {
        let (dtype, sizes) = (self.dtype, self.sizes);
        let h = norm::rms_norm(extent, x, &self.params, dtype);
        let h_out = self.at_outputs(extent, &h);
        let [in_v, in_z] = self.in_projs();
        let v = rows(product(batched(h.clone()), transposed(in_v), dtype));
        let z = rows(product(batched(h_out.clone()), transposed(in_z), dtype));
        let u = convolution::convolve_silu(extent, &v, &self.params, mask.as_ref());
        let n_row = extent.batch * extent.steps();
        let by_direction = reshape(u.clone(), &[2, n_row, sizes.d_inner]);
        let projected = product(by_direction, transposed(self.x_projs()), DType::F32);
        Inputs {
            h,
            h_out,
            v,
            z,
            scan: ScanTensors {
                u,
                projected: reshape(projected, &[2 * n_row, sizes.d_x_proj()]),
                params: self.params.clone(),
                mask,
            },
        }
    }

    /// Output of a group of sequences, and the states before each chunk.
    fn forward_group(&self, x: &CubeTensor, mask: Option<DeviceMask>) -> (CubeTensor, CubeTensor) {
        let extent = self.extent(x);
        let Inputs { z, scan, .. } = self.inputs(&extent, x, mask);
        let states = scan::chunk_states(&extent, &scan);
        let y = scan::scan_outputs(&extent, &scan, &states);
        let gated = gate::gate(&extent, y, z);
        let mixed = product(batched(gated), transposed(self.out_proj()), DType::F32);
        let shape = [extent.batch * extent.length, self.sizes.d_model];
        let x_out = self.at_outputs(&extent, &reshape(x.clone(), &shape));
        let out = CubeBackend::float_add(x_out, rows(mixed));
        let shape = [extent.batch, extent.n_out(), self.sizes.d_model];
        (reshape(out, &shape), states)
    }

    /// Gradients of a group's sequences, of all parameters and of the mask.
    fn backward_group(
        &self,
        x: &CubeTensor,
        mask: Option<DeviceMask>,
        states: CubeTensor,
        dout: CubeTensor,
    ) -> Gradients {
        let (dtype, sizes) = (self.dtype, self.sizes);
        let extent = self.extent(x);
        let Inputs {
            h,
            h_out,
            v,
            z,
            scan,
        } = self.inputs(&extent, x, mask);
        let n_out_row = extent.batch * extent.n_out();
        let dout = reshape(dout, &[n_out_row, sizes.d_model]);
        let dmixed = cast(dout.clone(), dtype);

        let q = rows(product(batched(dmixed.clone()), self.out_proj(), dtype));
        let dy = gate::output_gradient(&extent, &q, &z);
        let scanned = scan_backward::scan_gradients(&extent, &scan, states, dy);
        let (dz, gated) = gate::gate_and_gradient(&extent, scanned.y, q, z);
        let out_proj = sum_of_outer_products(dmixed, gated);

        let n_row = extent.batch * extent.steps();
        let dprojected = reshape(scanned.projected, &[2, n_row, sizes.d_x_proj()]);
        let du_projected = product(dprojected.clone(), self.x_projs(), dtype);
        let du_projected = reshape(du_projected, &[2 * n_row, sizes.d_inner]);
        let dprojected = reshape(dprojected, &[2 * n_row, sizes.d_x_proj()]);
        let x_proj = [0, 1].map(|direction| {
            let steps = direction * n_row..(direction + 1) * n_row;
            sum_of_outer_products(
                into_contiguous(slice_first(dprojected.clone(), steps.clone())),
                into_contiguous(slice_first(scan.u.clone(), steps)),
            )
        });

        let convolved = convolution_gradient::convolve_silu_gradient(
            &extent,
            &v,
            &self.params,
            scan.mask.as_ref(),
            scanned.du,
            du_projected,
        );
        let mask = scanned.partial_mask.zip(convolved.partial_mask);
        let mask = mask.map(|(steps, taps)| mask_gradient(steps, taps, extent.batch));
        let dv = convolved.dv;
        let in_proj = [(&dv, h), (&dz, h_out)]
            .map(|(gradient, h)| sum_of_outer_products(gradient.clone(), h));
        let [in_v, in_z] = self.in_projs();
        let dh = rows(product(batched(dv), in_v, DType::F32));
        let dh_out = rows(product(batched(dz), in_z, DType::F32));
        let (dx, norm) = norm::rms_norm_gradient(&extent, x, &self.params, dh, dh_out, dout);

        let mut parts = vec![sum_axis(norm, 0)];
        parts.extend(in_proj);
        parts.push(out_proj);
        let [conv, scan] =
            [convolved.partial_params, scanned.partial_params].map(|p| sum_axis(p, 1));
        for (direction, x_proj) in x_proj.into_iter().enumerate() {
            let of_direction =
                |sums: &CubeTensor| slice_first(sums.clone(), direction..direction + 1);
            parts.extend([of_direction(&conv), x_proj, of_direction(&scan)]);
        }
        let flat = |part: CubeTensor| {
            let len = part.shape().num_elements();
            reshape(part, &[len])
        };
        Gradients {
            x: dx,
            params: CubeBackend::float_cat(parts.into_iter().map(flat).collect(), 0),
            mask,
        }
    }
}

/// A gradient divided so that its largest magnitude is [`HALF_GRADIENT`], and the divisor, `[1]`.
///
/// Both stay on the device; a gradient of zeros is divided by the smallest normal number.
fn in_units_of_largest(gradient: CubeTensor) -> (CubeTensor, CubeTensor) {
    let largest = CubeBackend::float_max(CubeBackend::float_abs(gradient.clone()));
    let unit = CubeBackend::float_mul_scalar(largest, (1.0 / HALF_GRADIENT).into());
    let unit = CubeBackend::float_clamp_min(unit, f32::MIN_POSITIVE.into());
    let scaled = CubeBackend::float_div(gradient, reshape(unit.clone(), &[1, 1, 1]));
    (scaled, unit)
}

/// `[rows, columns]` as one matrix of a batch.
fn batched(tensor: CubeTensor) -> CubeTensor {
    let [rows, columns] = tensor.shape().dims::<2>();
    reshape(tensor, &[1, rows, columns])
}

/// One matrix of a batch as `[rows, columns]`.
fn rows(tensor: CubeTensor) -> CubeTensor {
    let [_, rows, columns] = tensor.shape().dims::<3>();
    reshape(tensor, &[rows, columns])
}
