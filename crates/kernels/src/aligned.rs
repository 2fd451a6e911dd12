//! Floats that begin at a cache line.

use std::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// Floats of a cache line.
const LINE_LEN: usize = LINE / size_of::<f32>();

/// An array of floats whose first lies at the start of a cache line.
///
/// A vector of sixteen floats is one line then. Large allocations begin sixteen bytes behind a page's start, where
/// every such vector touches two lines.
#[derive(Debug)]
pub(crate) struct AlignedFloats {
    /// Never grows, so that its memory stays where it is.
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl AlignedFloats {
    /// No floats.
    pub(crate) const EMPTY: Self = Self {
        values: Vec::new(),
        start: 0,
        len: 0,
    };

    /// Makes `len` floats, all zero.
    pub(crate) fn zeroed(len: usize) -> Self {
        let values = vec![0.0; len + LINE_LEN - 1];
        // A platform may answer that it cannot tell (`usize::MAX`); alignment is for speed alone.
        let start = values.as_ptr().align_offset(LINE).min(LINE_LEN - 1);
        Self { values, start, len }
    }
}

impl From<&[f32]> for AlignedFloats {
    fn from(values: &[f32]) -> Self {
        let mut aligned = Self::zeroed(values.len());
        aligned.copy_from_slice(values);
        aligned
    }
}

impl Deref for AlignedFloats {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedFloats {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_floats_begin_at_a_line_and_hold_what_they_were_given() {
        for len in [0, 1, 15, 16, 17, 1000, 1_000_003] {
            let zeros = AlignedFloats::zeroed(len);
            assert_eq!(zeros.len(), len);
            assert!(zeros.iter().all(|&value| value == 0.0));
            let numbers: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let copy = AlignedFloats::from(numbers.as_slice());
            assert_eq!(*copy, *numbers);
            if len > 0 && !cfg!(miri) {
                assert_eq!(copy.as_ptr().addr() % LINE, 0);
            }
        }
    }
}
