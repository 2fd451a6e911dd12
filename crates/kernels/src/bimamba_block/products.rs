//! The block's matrix products alone: what the block is measured against.

use std::hint::black_box;

use rayon::prelude::*;

use super::layout::BlockSizes;
use super::sweep::TILE;
use crate::aligned::AlignedFloats;
use crate::matmul::{Into, Matrix, matmul};

/// Passes whose products are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// The forward pass.
    Forward,
    /// The forward and the backward pass, which runs all forward products but the last again.
    Both,
}

/// One product of `[m, k]` by `[k, n]`, as the block stores its factors.
struct Product {
    shape: [usize; 3],
    turned: Turned,
}

/// The factor that is read along its columns.
#[derive(Clone, Copy, PartialEq)]
enum Turned {
    Neither,
    /// Gradients of weights.
    Left,
    /// Weights, stored `[n, k]`.
    Right,
}

/// Products of one tile of `rows` positions.
fn products(sizes: BlockSizes, rows: usize, passes: Passes) -> Vec<Product> {
    let BlockSizes {
        d_model: d,
        d_inner: i,
        dt_rank: r,
        ..
    } = sizes;
    let p = sizes.d_x_proj();
    let mut list = Vec::new();
    let mut add = |shapes: &[[usize; 3]], turned| {
        list.extend(shapes.iter().map(|&shape| Product { shape, turned }));
    };
    let (project_in, project_x) = ([rows, i, d], [rows, p, i]);
    add(
        &[project_in, project_in, project_x, project_x],
        Turned::Right,
    );
    add(&[[rows, d, i]], Turned::Right);
    if passes == Passes::Both {
        add(
            &[project_in, project_in, project_x, project_x],
            Turned::Right,
        );
        // Gradients of the gated output, and per direction of the step size's input and of the scan's input.
        add(&[project_in], Turned::Neither);
        add(&[[rows, r, i], [rows, r, i]], Turned::Neither);
        add(&[[rows, i, p], [rows, i, p]], Turned::Neither);
        // Gradient of the normed input, through both halves of the projection.
        add(&[[rows, d, i], [rows, d, i]], Turned::Neither);
        // Gradients of weights.
        add(&[[i, r, rows], [i, r, rows]], Turned::Left);
        add(&[[p, i, rows], [p, i, rows]], Turned::Left);
        add(&[[d, i, rows], [i, d, rows], [i, d, rows]], Turned::Left);
    }
    list
}

/// Runs the matrix products of a block over one sequence of `length` positions, on constants, in the block's own tiles
/// on the current threads.
pub fn run_products(sizes: BlockSizes, length: usize, passes: Passes) {
    let widest = sizes.d_model.max(sizes.d_inner).max(sizes.d_x_proj());
    let len = widest * widest.max(TILE);
    (0..length.div_ceil(TILE)).into_par_iter().for_each_init(
        || {
            [(); 3].map(|()| {
                let mut values = AlignedFloats::zeroed(len);
                values.fill(0.5);
                values
            })
        },
        |[lhs, rhs, out], tile| {
            let rows = TILE.min(length - tile * TILE);
            for Product { shape, turned } in products(sizes, rows, passes) {
                let [m, n, k] = shape;
                let lhs = match turned {
                    Turned::Left => Matrix::rows(lhs, m).transposed(),
                    _ => Matrix::rows(lhs, k),
                };
                let rhs = match turned {
                    Turned::Right => Matrix::rows(rhs, k).transposed(),
                    _ => Matrix::rows(rhs, n),
                };
                matmul(shape, lhs, rhs, out, n, Into::Replace);
            }
            black_box(&out);
        },
    );
}

/// Multiply-adds of these products per position.
pub fn multiply_adds(sizes: BlockSizes, passes: Passes) -> usize {
    products(sizes, 1, passes)
        .iter()
        .map(|product| product.shape.iter().product::<usize>())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiply_adds_of_the_published_block_match_a_count_by_hand() {
        let sizes = BlockSizes::PUBLISHED;
        // Forward: convolution input, gate and output 3 * 128 * 256, x projections 2 * 256 * 40 = 118784.
        assert_eq!(multiply_adds(sizes, Passes::Forward), 118_784);
        // Again in the backward pass (q in place of the output): 118784. Gradients: 5 * 128 * 256, per direction
        // 2 * 256 * 8 + 2 * 256 * 40, together 212992.
        assert_eq!(multiply_adds(sizes, Passes::Both), 2 * 118_784 + 212_992);
    }

    #[test]
    fn run_products_of_any_size_stays_inside_its_buffers() {
        for (d_model, d_inner, length) in [(1, 1, 1), (7, 5, 300), (300, 600, 2)] {
            let sizes = BlockSizes {
                d_model,
                d_inner,
                d_state: 3,
                d_conv: 4,
                dt_rank: 2,
            };
            run_products(sizes, length, Passes::Both);
        }
    }
}
