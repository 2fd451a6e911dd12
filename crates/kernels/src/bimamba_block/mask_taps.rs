//! Which positions a masked block's convolutions read.

/// Marks a tap that reaches over the sequence's end.
const OUTSIDE: u32 = u32::MAX;

/// The mask of one sequence, and the positions that every tap but a position's own reads.
///
/// A position is selected when its mask is not 0. Tap `back` of a position reads the `back`-th selected position
/// before it (after it, for the reverse direction), times that position's mask: what is not selected is not there.
#[derive(Debug)]
pub(super) struct MaskTaps<'a> {
    /// One value per position.
    pub(super) mask: &'a [f32],
    /// Taps besides a position's own.
    n_other: usize,
    /// Per direction `[length, n_other]`, nearest first.
    sources: [Vec<u32>; 2],
}

/// The taps of one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct DirectionTaps<'a> {
    /// Mask of the whole sequence.
    pub(super) mask: &'a [f32],
    n_other: usize,
    sources: &'a [u32],
}

impl<'a> MaskTaps<'a> {
    pub(super) fn new(mask: &'a [f32], d_conv: usize) -> Self {
        let n_other = d_conv - 1;
        let positions = 0..mask.len();
        Self {
            mask,
            n_other,
            sources: [
                sources(mask, n_other, positions.clone()),
                sources(mask, n_other, positions.rev()),
            ],
        }
    }

    pub(super) fn direction(&self, direction: usize) -> DirectionTaps<'_> {
        DirectionTaps {
            mask: self.mask,
            n_other: self.n_other,
            sources: &self.sources[direction],
        }
    }
}

#[cfg(feature = "gpu")]
impl MaskTaps<'_> {
    /// Per direction and position what tap 1, 2, … reads, -1 outside the sequence: `[2, length, d_conv - 1]`.
    pub(super) fn table(&self) -> impl Iterator<Item = i32> {
        // `OUTSIDE` is all ones, and no sequence is longer than 2^31.
        self.sources.iter().flatten().map(|source| *source as i32)
    }
}

/// For every position the latest selected ones that were walked before it, in the order of `walk`.
fn sources(mask: &[f32], n_other: usize, walk: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut sources = vec![OUTSIDE; mask.len() * n_other];
    let mut latest = vec![OUTSIDE; n_other];
    for position in walk {
        sources[position * n_other..(position + 1) * n_other].copy_from_slice(&latest);
        if mask[position] != 0.0 && n_other > 0 {
            latest.rotate_right(1);
            latest[0] = position as u32;
        }
    }
    sources
}

impl DirectionTaps<'_> {
    /// The position that tap `back` (at least 1) of a position reads; `None` outside the sequence.
    #[inline(always)]
    pub(super) fn source(&self, position: usize, back: usize) -> Option<usize> {
        let source = self.sources[position * self.n_other + back - 1];
        (source != OUTSIDE).then_some(source as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(taps: &DirectionTaps<'_>, position: usize) -> Vec<Option<usize>> {
        (1..=taps.n_other)
            .map(|back| taps.source(position, back))
            .collect()
    }

    #[test]
    fn taps_pass_over_positions_that_are_not_selected() {
        let mask = [1.0, 0.0, 0.2, 0.0, 0.0, 1.0, 0.5];
        let taps = MaskTaps::new(&mask, 3);
        let forward = taps.direction(0);
        for (position, expected) in [
            (0, [None, None]),
            (1, [Some(0), None]),
            (2, [Some(0), None]),
            (3, [Some(2), Some(0)]),
            (5, [Some(2), Some(0)]),
            (6, [Some(5), Some(2)]),
        ] {
            assert_eq!(read(&forward, position), expected, "{position}");
        }
        let reverse = taps.direction(1);
        for (position, expected) in [
            (6, [None, None]),
            (4, [Some(5), Some(6)]),
            (2, [Some(5), Some(6)]),
            (0, [Some(2), Some(5)]),
        ] {
            assert_eq!(read(&reverse, position), expected, "{position}");
        }
    }

    #[test]
    fn taps_of_a_full_mask_are_the_neighbours() {
        let taps = MaskTaps::new(&[0.1; 5], 4);
        assert_eq!(read(&taps.direction(0), 4), [Some(3), Some(2), Some(1)]);
        assert_eq!(read(&taps.direction(0), 1), [Some(0), None, None]);
        assert_eq!(read(&taps.direction(1), 1), [Some(2), Some(3), Some(4)]);
        assert_eq!(read(&MaskTaps::new(&[0.1; 5], 1).direction(0), 3), []);
    }
}
