//! Shape checks shared by every operation.

/// Says which argument of which operation has a dimension that disagrees with the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// One axis of an argument has another size than the rest of the call implies.
    #[error("{op}: axis {axis} of `{argument}` is {found}, expected {expected}")]
    Axis {
        /// Operation that was called.
        op: &'static str,
        /// Argument as it is named in the operation's documentation.
        argument: &'static str,
        /// Axis as it is named in the operation's documentation, such as `d_inner`.
        axis: &'static str,
        /// Size that the other arguments imply.
        expected: usize,
        /// Size that was given.
        found: usize,
    },
    /// A size of an argument is not one the operation is defined for, such as an empty axis.
    #[error("{op}: axis {axis} of `{argument}` is {found}, but {requirement}")]
    Size {
        /// Operation that was called.
        op: &'static str,
        /// Argument as it is named in the operation's documentation.
        argument: &'static str,
        /// Axis as it is named in the operation's documentation.
        axis: &'static str,
        /// Size that was given.
        found: usize,
        /// What the size must be.
        requirement: &'static str,
    },
}

/// Checks that each named axis of an argument has the expected size.
///
/// `axes` holds the name and the expected size of each axis, in the order of `found`.
///
/// # Errors
/// [`ShapeError::Axis`] for the first axis that disagrees.
pub fn check_axes<const N: usize>(
    op: &'static str,
    argument: &'static str,
    axes: [(&'static str, usize); N],
    found: [usize; N],
) -> Result<(), ShapeError> {
    for ((axis, expected), found) in axes.into_iter().zip(found) {
        if expected != found {
            return Err(ShapeError::Axis {
                op,
                argument,
                axis,
                expected,
                found,
            });
        }
    }
    Ok(())
}

/// Checks that no named axis of an argument is empty.
///
/// # Errors
/// [`ShapeError::Size`] for the first axis of size 0.
pub fn check_not_empty<const N: usize>(
    op: &'static str,
    argument: &'static str,
    axes: [&'static str; N],
    found: [usize; N],
) -> Result<(), ShapeError> {
    for (axis, found) in axes.into_iter().zip(found) {
        if found == 0 {
            return Err(ShapeError::Size {
                op,
                argument,
                axis,
                found,
                requirement: "it must be at least 1",
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_axes_names_the_first_axis_that_disagrees() {
        let cases = [
            ([5, 3], None),
            (
                [4, 3],
                Some("scan: axis d_inner of `a` is 4, expected 5".to_string()),
            ),
            (
                [5, 0],
                Some("scan: axis d_state of `a` is 0, expected 3".to_string()),
            ),
        ];
        for (found, expected) in cases {
            let result = check_axes("scan", "a", [("d_inner", 5), ("d_state", 3)], found);
            assert_eq!(result.err().map(|error| error.to_string()), expected);
        }
    }

    #[test]
    fn check_not_empty_names_the_empty_axis() {
        assert_eq!(
            check_not_empty("scan", "x", ["batch", "length"], [1, 7]),
            Ok(())
        );
        assert_eq!(
            check_not_empty("scan", "x", ["batch", "length"], [1, 0])
                .map_err(|error| error.to_string()),
            Err("scan: axis length of `x` is 0, but it must be at least 1".to_string())
        );
    }
}
