//! Matrix products on slices, on the calling thread.

/// A matrix stored in a slice: element `(i, j)` is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows stored one after the other, `stride` floats apart.
    pub(crate) fn rows(values: &'a [f32], stride: usize) -> Self {
        Self {
            values,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The same matrix turned over its diagonal.
    pub(crate) fn transposed(self) -> Self {
        Self {
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Whether all of an `n_row` by `n_column` matrix lies inside the slice.
    fn holds(&self, n_row: usize, n_column: usize) -> bool {
        n_row == 0
            || n_column == 0
            || (n_row - 1) * self.row_stride + (n_column - 1) * self.column_stride
                < self.values.len()
    }
}

/// Whether a product replaces or adds to what is in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    Replace,
    Add,
}

/// Writes `lhs rhs`, `[m, k]` by `[k, n]`, into rows of `out` that are `out_stride` floats apart.
///
/// # Panics
/// When a matrix does not lie inside its slice.
pub(crate) fn matmul(
    [m, n, k]: [usize; 3],
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    out: &mut [f32],
    out_stride: usize,
    into: Into,
) {
    assert!(lhs.holds(m, k) && rhs.holds(k, n) && n <= out_stride);
    assert!(Matrix::rows(out, out_stride).holds(m, n));
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: the assertions above show that every element of the three matrices lies inside its slice;
    // `out` is borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            into == Into::Add,
            lhs.values.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.values.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matmul_multiplies_adds_and_transposes() {
        // [1 2; 3 4; 5 6] [1 0 2; 0 1 3] = [1 2 8; 3 4 18; 5 6 28]
        let (a, b) = (
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            [1.0, 0.0, 2.0, 0.0, 1.0, 3.0],
        );
        let expected = [1.0, 2.0, 8.0, 3.0, 4.0, 18.0, 5.0, 6.0, 28.0];
        let mut out = [7.0; 9];
        let (a_rows, b_rows) = (Matrix::rows(&a, 2), Matrix::rows(&b, 3));
        matmul([3, 3, 2], a_rows, b_rows, &mut out, 3, Into::Replace);
        assert_eq!(out, expected);
        matmul([3, 3, 2], a_rows, b_rows, &mut out, 3, Into::Add);
        assert_eq!(out, expected.map(|v| 2.0 * v));
        let mut out = [0.0; 9];
        matmul(
            [3, 3, 2],
            b_rows.transposed(),
            a_rows.transposed(),
            &mut out,
            3,
            Into::Replace,
        );
        // The transpose of the product above.
        assert_eq!(out, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 8.0, 18.0, 28.0]);
    }

    #[test]
    #[should_panic(expected = "holds")]
    fn matmul_outside_its_slice_panics() {
        let a = [1.0; 5];
        let mut out = [0.0; 9];
        let a = Matrix::rows(&a, 2);
        matmul([3, 3, 2], a, a.transposed(), &mut out, 3, Into::Replace);
    }
}
