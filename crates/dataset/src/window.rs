//! The window of one gene: where it lies and what of it is padding.

use genome::{Interval, MAX_POSITION};

use crate::error::DatasetError;

/// `length` positions around a transcription start site, which may reach over both ends of the
/// chromosome.
///
/// Position `i` of the window (its *offset*) is base `start + i` of the forward strand, whatever
/// the gene's strand: the window is never flipped. Offsets outside the chromosome are padding.
/// All coordinates are 0-based, ranges half-open.
///
/// ```
/// use dataset::Window;
/// let window = Window::centered_on("chr1", 3, 10, 6)?;
/// assert_eq!(window.start(), -2);
/// assert_eq!(window.inside().to_string(), "chr1:1-6");
/// assert_eq!((window.left_padding(), window.right_padding()), (2, 2));
/// assert_eq!(window.offset_of(3), Some(5));
/// # Ok::<(), dataset::DatasetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    inside: Interval,
    tss: u64,
    length: u64,
    start: i64,
    chrom_length: u64,
}

impl Window {
    /// Places `length` bases around a start site: `[tss - length/2, tss - length/2 + length)`.
    ///
    /// # Units
    /// - `tss`: 0-based position of the first transcribed base; `length`, `chrom_length`: bases
    ///
    /// # Errors
    /// [`DatasetError::InvalidWindow`] when `length` is 0, the start site is not on the
    /// chromosome, or a number is larger than any chromosome.
    pub fn centered_on(
        chrom: &str,
        tss: u64,
        length: u64,
        chrom_length: u64,
    ) -> Result<Self, DatasetError> {
        let refuse = |reason| DatasetError::InvalidWindow {
            chrom: chrom.to_string(),
            tss,
            length,
            chrom_length,
            reason,
        };
        if length == 0 {
            return Err(refuse("a window holds at least one base"));
        }
        if tss >= chrom_length {
            return Err(refuse("the start site is past the end of the chromosome"));
        }
        if length.max(chrom_length) > MAX_POSITION / 2 {
            return Err(refuse("no chromosome is that long"));
        }
        // Both ends are at most one and a half times that from 0, so that they fit i64.
        let start = tss as i64 - (length / 2) as i64;
        let end = start + length as i64;
        let inside = Interval::try_new(chrom, start.max(0) as u64, (end as u64).min(chrom_length))?;
        Ok(Window {
            inside,
            tss,
            length,
            start,
            chrom_length,
        })
    }

    /// The chromosome.
    pub fn chrom(&self) -> &str {
        self.inside.chrom()
    }

    /// The start site, 0-based.
    pub fn tss(&self) -> u64 {
        self.tss
    }

    /// Number of positions, padding included.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Length of the chromosome in bases.
    pub fn chrom_length(&self) -> u64 {
        self.chrom_length
    }

    /// Genome position of offset 0, 0-based; negative when the window begins before the chromosome.
    pub fn start(&self) -> i64 {
        self.start
    }

    /// Genome position one past the last offset; may lie past the end of the chromosome.
    pub fn end(&self) -> i64 {
        self.start + self.length as i64
    }

    /// The part that lies on the chromosome; it always holds the start site.
    pub fn inside(&self) -> &Interval {
        &self.inside
    }

    /// Number of positions before the chromosome begins.
    pub fn left_padding(&self) -> u64 {
        (-self.start).max(0) as u64
    }

    /// Number of positions after the chromosome ends.
    pub fn right_padding(&self) -> u64 {
        self.length - self.left_padding() - self.inside.len()
    }

    /// Offset of a genome position (0-based), or nothing when it is not in the window.
    pub fn offset_of(&self, position: u64) -> Option<usize> {
        self.inside
            .contains(position)
            .then(|| (position as i64 - self.start) as usize)
    }

    /// Genome position (0-based) of an offset, or nothing when the offset is padding or too large.
    pub fn position_at(&self, offset: usize) -> Option<u64> {
        let position = self.start.checked_add_unsigned(offset as u64)?;
        u64::try_from(position)
            .ok()
            .filter(|position| self.inside.contains(*position))
    }

    /// Offsets of the part of an interval that lies in the window and on the chromosome.
    ///
    /// Empty when they share no base.
    pub fn offsets_of(&self, interval: &Interval) -> std::ops::Range<usize> {
        if !self.inside.overlaps(interval) {
            return 0..0;
        }
        let first = interval.start().max(self.inside.start());
        let end = interval.end().min(self.inside.end());
        (first as i64 - self.start) as usize..(end as i64 - self.start) as usize
    }

    /// Whether the two windows share at least one base of the chromosome.
    pub fn overlaps(&self, other: &Window) -> bool {
        self.inside.overlaps(&other.inside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn centered_on_pads_exactly_outside_the_chromosome() {
        // tss, length, chrom_length → start, inside start, inside end, left, right padding
        let cases = [
            (50, 20, 100, 40, 40, 60, 0, 0),
            (10, 20, 100, 0, 0, 20, 0, 0), // touches the left end
            (9, 20, 100, -1, 0, 19, 1, 0),
            (0, 20, 100, -10, 0, 10, 10, 0),
            (90, 20, 100, 80, 80, 100, 0, 0), // touches the right end
            (91, 20, 100, 81, 81, 100, 0, 1),
            (99, 20, 100, 89, 89, 100, 0, 9),
            (3, 20, 6, -7, 0, 6, 7, 7), // longer than the chromosome
            (0, 1, 1, 0, 0, 1, 0, 0),
            (5, 1, 10, 5, 5, 6, 0, 0),
            (5, 3, 10, 4, 4, 7, 0, 0), // odd: one base on each side
            (0, 2, 1, -1, 0, 1, 1, 0),
        ];
        for (tss, length, chrom_length, start, inside_start, inside_end, left, right) in cases {
            let window = Window::centered_on("chr1", tss, length, chrom_length).unwrap();
            let found = (
                window.start(),
                window.inside().start(),
                window.inside().end(),
                window.left_padding(),
                window.right_padding(),
            );
            assert_eq!(
                found,
                (start, inside_start, inside_end, left, right),
                "tss {tss} length {length} chrom {chrom_length}"
            );
        }
    }

    #[test]
    fn centered_on_impossible_window_is_an_error() {
        let cases = [
            (5, 0, 10, "at least one base"),
            (10, 4, 10, "past the end"),
            (0, 4, 0, "past the end"),
            (5, u64::MAX, 10, "that long"),
            (5, 4, u64::MAX, "that long"),
            // The window would end past i64::MAX.
            (i64::MAX as u64 - 1, 4, i64::MAX as u64, "that long"),
        ];
        for (tss, length, chrom_length, part) in cases {
            let error = Window::centered_on("chr1", tss, length, chrom_length).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn centered_on_the_last_base_of_the_longest_chromosome() {
        let longest = i64::MAX as u64 / 2;
        let window = Window::centered_on("chr1", longest - 1, longest, longest).unwrap();
        // [longest - 1 - longest / 2, ... + longest)
        assert_eq!(window.end(), window.start() + longest as i64);
        assert_eq!(window.inside().end(), longest);
        assert_eq!(window.right_padding(), longest - longest / 2 - 1);
    }

    #[test]
    fn offset_of_outside_the_window_or_chromosome_is_none() {
        let window = Window::centered_on("chr1", 2, 10, 20).unwrap(); // [-3, 7)
        let cases = [
            (0, Some(3)),
            (2, Some(5)),
            (6, Some(9)),
            (7, None),
            (19, None),
        ];
        for (position, expected) in cases {
            assert_eq!(window.offset_of(position), expected, "{position}");
        }
        assert_eq!(window.position_at(2), None);
        assert_eq!(window.position_at(3), Some(0));
        assert_eq!(window.position_at(10), None);
    }

    #[test]
    fn offsets_of_touching_interval_is_empty() {
        let window = Window::centered_on("chr1", 10, 10, 20).unwrap(); // [5, 15)
        let cases = [
            ("chr1", 0, 5, 0..0),
            ("chr1", 0, 6, 0..1),
            ("chr1", 14, 30, 9..10),
            ("chr1", 15, 16, 0..0),
            ("chr1", 0, 30, 0..10),
            ("chr2", 5, 15, 0..0),
            ("chr1", 7, 7, 0..0),
        ];
        for (chrom, start, end, expected) in cases {
            let interval = Interval::try_new(chrom, start, end).unwrap();
            assert_eq!(window.offsets_of(&interval), expected, "{interval}");
        }
    }

    proptest! {
        // Chromosomes of 1 to 60 bases and windows of 1 to 60: all overhangs occur often.
        #[test]
        fn parts_add_up_and_positions_round_trip(
            chrom_length in 1_u64..60, tss in 0_u64..60, length in 1_u64..60,
        ) {
            prop_assume!(tss < chrom_length);
            let window = Window::centered_on("c", tss, length, chrom_length).unwrap();
            prop_assert_eq!(
                window.left_padding() + window.inside().len() + window.right_padding(), length);
            prop_assert_eq!(window.offset_of(tss), Some((length / 2) as usize));
            for offset in 0..length as usize {
                // Counted in plain signed arithmetic.
                let position = tss as i64 - (length / 2) as i64 + offset as i64;
                let on_chrom = (0..chrom_length as i64).contains(&position);
                prop_assert_eq!(window.position_at(offset).is_some(), on_chrom);
                if on_chrom {
                    prop_assert_eq!(window.offset_of(position as u64), Some(offset));
                }
            }
        }
    }
}
