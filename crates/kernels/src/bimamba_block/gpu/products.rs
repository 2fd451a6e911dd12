//! Matrix products on a device, through burn's, with single-precision accumulation whatever the operands' type.

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, Shape, TensorMetadata};
use burn::tensor::Slice;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

/// Rows that one part of a long sum over rows has at least, and the most parts.
///
/// A product of two tall matrices has few outputs, each a sum over every row: in parts, it fills the device.
const PART_ROWS: usize = 512;
const PARTS: usize = 512;

/// Gives a tensor another shape of as many elements.
pub(super) fn reshape(tensor: CubeTensor, shape: &[usize]) -> CubeTensor {
    CubeBackend::float_reshape(tensor, Shape::from(shape.to_vec()))
}

/// Converts to another type, if it is another.
pub(super) fn cast(tensor: CubeTensor, dtype: DType) -> CubeTensor {
    if tensor.dtype() == dtype {
        tensor
    } else {
        CubeBackend::float_cast(tensor, dtype.into())
    }
}

/// Part of the first axis.
pub(super) fn slice_first(tensor: CubeTensor, range: std::ops::Range<usize>) -> CubeTensor {
    let mut slices = vec![Slice::full(); tensor.shape().num_dims()];
    slices[0] = Slice::from(range);
    CubeBackend::float_slice(tensor, &slices)
}

/// Terms of a sum that one unit of a device adds up; twice as many are cut in parts.
const TERMS: usize = 256;

/// Sum over one axis, which stays with size 1.
///
/// A unit adds up one sum, so that few sums of many terms would leave a device idle: they are cut in parts first.
pub(super) fn sum_axis(tensor: CubeTensor, axis: usize) -> CubeTensor {
    let shape = tensor.shape();
    let terms = shape[axis];
    if terms == 1 {
        return tensor;
    }
    // Parts of equal length; what is left over is added to them.
    let parts = terms / TERMS;
    if parts < 2 {
        return into_contiguous(CubeBackend::float_sum_dim(tensor, axis));
    }
    let part = |range: std::ops::Range<usize>| {
        let mut slices = vec![Slice::full(); shape.num_dims()];
        slices[axis] = Slice::from(range);
        into_contiguous(CubeBackend::float_slice(tensor.clone(), &slices))
    };
    let whole = parts * TERMS;
    let cut: Vec<usize> = shape.iter().copied().collect();
    let mut in_parts = cut.clone();
    in_parts.splice(axis..=axis, [parts, TERMS]);
    let sums = CubeBackend::float_sum_dim(reshape(part(0..whole), &in_parts), axis + 1);
    let mut sums_shape = cut;
    sums_shape[axis] = parts;
    let sums = reshape(into_contiguous(sums), &sums_shape);
    let sum = sum_axis(sums, axis);
    if whole == terms {
        return sum;
    }
    CubeBackend::float_add(sum, sum_axis(part(whole..terms), axis))
}

/// Exchanges rows and columns of every matrix, without moving them.
pub(super) fn transposed(tensor: CubeTensor) -> CubeTensor {
    let last = tensor.shape().num_dims() - 1;
    CubeBackend::float_swap_dims(tensor, last - 1, last)
}

/// Products of the matrices of two tensors of rank 3, `[n, rows, inner] x [n, inner, columns]`.
pub(super) fn product(left: CubeTensor, right: CubeTensor, dtype: DType) -> CubeTensor {
    let [n, rows, _] = left.shape().dims::<3>();
    let [_, _, columns] = right.shape().dims::<3>();
    let out = empty_device_contiguous_dtype(
        left.client.clone(),
        left.device.clone(),
        Shape::from([n, rows, columns]),
        dtype,
    );
    if is_half(&left) {
        let bulk = is_bulk(&left) && is_bulk(&right);
        let launched = (bulk && launch(&bulk_copies(), &left, &right, &out).is_ok())
            || launch(&tensor_cores(), &left, &right, &out).is_ok();
        if launched {
            return out;
        }
    }
    matmul(left, right, Some(out), MatmulStrategy::default(), dtype)
        .expect("burn has a product for every pair of shapes that agree")
}

fn is_half(tensor: &CubeTensor) -> bool {
    matches!(tensor.dtype(), DType::F16 | DType::BF16)
}

/// Products of half-precision tiles in registers, the next tile on its way meanwhile; for devices with such instructions.
///
/// Burn's own choice keeps tiles in fragments that NVIDIA's compiler spills: the block's products took 1.7 times as long.
fn tensor_cores() -> Strategy {
    Strategy::MultiLevel(multi_level::Strategy::DoubleCyclicMma(Default::default()))
}

/// The same with tiles that the card's copy engine fetches for planes that do nothing else (NVIDIA's since Hopper): the products
/// into the block took 0.86, those out of it 0.6 times as long.
fn bulk_copies() -> Strategy {
    Strategy::MultiLevel(multi_level::Strategy::SpecializedTmaMma(Default::default()))
}

/// Whether the copy engine can fetch tiles of a tensor, whose rows must start at multiples of 16 bytes.
fn is_bulk(tensor: &CubeTensor) -> bool {
    let size = tensor.dtype().size();
    let mut strides = tensor.meta.strides().iter().filter(|stride| **stride != 1);
    strides.all(|stride| (stride * size).is_multiple_of(16))
}

/// Launches a product, unless the device lacks what the strategy needs.
fn launch(
    strategy: &Strategy,
    left: &CubeTensor,
    right: &CubeTensor,
    out: &CubeTensor,
) -> Result<(), MatmulSetupError> {
    let element = |tensor: &CubeTensor| dtype_to_storage_type(tensor.dtype());
    let mut elements = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: element(left),
        rhs: element(right),
        out: element(out),
    });
    launch_ref(
        strategy,
        &out.client,
        InputBinding::new(left.clone().binding(), element(left)),
        InputBinding::new(right.clone().binding(), element(right)),
        out.clone().binding(),
        &mut elements,
    )
}

/// Sum over rows of the outer products of two tensors' rows, `[rows, m] and [rows, n] -> [m, n]`.
pub(super) fn sum_of_outer_products(left: CubeTensor, right: CubeTensor) -> CubeTensor {
    let [rows, m] = left.shape().dims::<2>();
    let [_, n] = right.shape().dims::<2>();
    // The parts' products are one tensor, which a buffer of the device must hold.
    let buffer_bytes = left.client.properties().memory.max_page_size as usize;
    let most = (buffer_bytes / (m * n * size_of::<f32>())).clamp(1, PARTS);
    let part = PART_ROWS.max(rows.div_ceil(most)).min(rows);
    let n_part = rows / part;
    let whole = n_part * part;
    let sum = |range: std::ops::Range<usize>, n_part: usize| {
        let part = range.len() / n_part;
        let left = reshape(slice_first(left.clone(), range.clone()), &[n_part, part, m]);
        let right = reshape(slice_first(right.clone(), range), &[n_part, part, n]);
        sum_axis(product(transposed(left), right, DType::F32), 0)
    };
    let mut total = sum(0..whole, n_part);
    if whole < rows {
        total = CubeBackend::float_add(total, sum(whole..rows, 1));
    }
    reshape(total, &[m, n])
}
