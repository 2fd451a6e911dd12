//! Stretches of a chromosome and the strand a gene is read from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{GenomeError, shorten};

/// The largest coordinate an [`Interval`] accepts: every position also fits `i64`.
pub const MAX_POSITION: u64 = i64::MAX as u64;

/// The strand a gene is transcribed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Strand {
    /// Read from left to right, `+`.
    #[serde(rename = "+")]
    Forward,
    /// Read from right to left, `-`.
    #[serde(rename = "-")]
    Reverse,
}

impl fmt::Display for Strand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strand::Forward => "+",
            Strand::Reverse => "-",
        })
    }
}

/// The text was neither `+` nor `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a strand is + or -")]
pub struct ParseStrandError;

impl FromStr for Strand {
    type Err = ParseStrandError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "+" => Ok(Strand::Forward),
            "-" => Ok(Strand::Reverse),
            _ => Err(ParseStrandError),
        }
    }
}

/// A stretch of one chromosome, 0-based and half-open.
///
/// Holds `start <= end <= MAX_POSITION` and a chromosome name that is not empty and has no
/// white space. It says nothing about the chromosome's length:
/// [`ChromSizes::check`](crate::ChromSizes::check) does. Cloning is cheap.
///
/// [`Display`](fmt::Display) writes the region string, 1-based and inclusive.
///
/// ```
/// use genome::Interval;
/// let interval = Interval::try_new("chr3", 1000, 2000)?;
/// assert_eq!(interval.to_string(), "chr3:1001-2000");
/// assert_eq!(Interval::parse_region("chr3:1,001-2,000")?, interval);
/// # Ok::<(), genome::GenomeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    chrom: Arc<str>,
    start: u64,
    end: u64,
}

impl Interval {
    /// Joins a chromosome with a 0-based half-open range.
    ///
    /// # Errors
    /// [`GenomeError::InvalidInterval`] when the range ends before it starts, reaches over
    /// [`MAX_POSITION`], or the name is empty or has white space.
    pub fn try_new(chrom: impl Into<Arc<str>>, start: u64, end: u64) -> Result<Self, GenomeError> {
        let chrom = chrom.into();
        let reason = if chrom.is_empty() {
            "the chromosome has no name"
        } else if chrom.contains(|c: char| c.is_whitespace() || c.is_control()) {
            "the chromosome's name has white space or control characters in it"
        } else if start > end {
            "it ends before it starts"
        } else if end > MAX_POSITION {
            "no chromosome is that long"
        } else {
            return Ok(Interval { chrom, start, end });
        };
        Err(GenomeError::InvalidInterval {
            chrom: shorten(&chrom),
            start,
            end,
            reason,
        })
    }

    /// Reads a region string such as `chr3:1,001-2,000`: 1-based, both ends included.
    ///
    /// The name may hold colons (`HLA-A*01:01:1-100`): the last one counts.
    ///
    /// # Errors
    /// [`GenomeError::InvalidRegion`] when the text has another form or holds no base.
    pub fn parse_region(text: &str) -> Result<Self, GenomeError> {
        let refuse = |reason| GenomeError::InvalidRegion {
            text: shorten(text),
            reason,
        };
        let (chrom, range) = text
            .trim()
            .rsplit_once(':')
            .ok_or_else(|| refuse("it has no colon"))?;
        let (first, last) = range
            .split_once('-')
            .ok_or_else(|| refuse("it has no last position"))?;
        let first =
            parse_position(first).ok_or_else(|| refuse("the first position is no number"))?;
        let last = parse_position(last).ok_or_else(|| refuse("the last position is no number"))?;
        if first == 0 {
            return Err(refuse("positions count from 1"));
        }
        if last < first {
            return Err(refuse("it ends before it starts"));
        }
        Interval::try_new(chrom, first - 1, last).map_err(|error| match error {
            GenomeError::InvalidInterval { reason, .. } => refuse(reason),
            other => other,
        })
    }

    /// The chromosome's name.
    pub fn chrom(&self) -> &str {
        &self.chrom
    }

    /// The chromosome's name, shared: cloning it does not copy the text.
    pub fn shared_chrom(&self) -> Arc<str> {
        Arc::clone(&self.chrom)
    }

    /// First base, 0-based.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// One past the last base, 0-based.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Number of bases.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it holds no base.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether the 0-based position of the same chromosome lies inside.
    pub fn contains(&self, position: u64) -> bool {
        self.start <= position && position < self.end
    }

    /// Whether the two share at least one base. Touching or empty intervals share none.
    pub fn overlaps(&self, other: &Interval) -> bool {
        self.start.max(other.start) < self.end.min(other.end) && self.chrom == other.chrom
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}-{}", self.chrom, self.start + 1, self.end)
    }
}

/// Reads digits with optional thousands commas between them.
fn parse_position(text: &str) -> Option<u64> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.ends_with(',') {
        return None;
    }
    let mut position = 0_u64;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                position = position
                    .checked_mul(10)?
                    .checked_add(u64::from(byte - b'0'))?;
            }
            b',' => {}
            _ => return None,
        }
    }
    Some(position)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(start: u64, end: u64) -> Interval {
        Interval::try_new("chr1", start, end).unwrap()
    }

    #[test]
    fn try_new_bad_values_are_refused() {
        let cases = [
            ("chr1", 2, 1, "ends before"),
            ("", 0, 1, "no name"),
            ("chr 1", 0, 1, "white space"),
            ("chr1\n", 0, 1, "white space"),
            ("chr1", 0, u64::MAX, "that long"),
        ];
        for (chrom, start, end, expected) in cases {
            let message = Interval::try_new(chrom, start, end)
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn len_empty_and_one_base() {
        assert_eq!((interval(5, 5).len(), interval(5, 5).is_empty()), (0, true));
        assert_eq!(
            (interval(5, 6).len(), interval(5, 6).is_empty()),
            (1, false)
        );
    }

    #[test]
    fn contains_both_ends() {
        let ten = interval(10, 20);
        let cases = [(9, false), (10, true), (19, true), (20, false)];
        for (position, expected) in cases {
            assert_eq!(ten.contains(position), expected, "{position}");
        }
    }

    #[test]
    fn overlaps_touching_is_outside() {
        let ten = interval(10, 20);
        let cases = [
            (interval(0, 10), false),
            (interval(0, 11), true),
            (interval(19, 20), true),
            (interval(20, 30), false),
            (interval(15, 15), false),
            (interval(0, 100), true),
            (Interval::try_new("chr2", 10, 20).unwrap(), false),
        ];
        for (other, expected) in cases {
            assert_eq!(ten.overlaps(&other), expected, "{other}");
            assert_eq!(other.overlaps(&ten), expected, "{other}");
        }
    }

    #[test]
    fn parse_region_reads_1_based_inclusive() {
        let cases = [
            ("chr3:1001-2000", "chr3", 1000, 2000),
            ("chr3:1,001-2,000", "chr3", 1000, 2000),
            (" chr3:1-1 ", "chr3", 0, 1),
            ("HLA-A*01:01:01:01:5-9", "HLA-A*01:01:01:01", 4, 9),
        ];
        for (text, chrom, start, end) in cases {
            assert_eq!(
                Interval::parse_region(text).unwrap(),
                Interval::try_new(chrom, start, end).unwrap()
            );
        }
    }

    #[test]
    fn parse_region_bad_text_is_refused() {
        let cases = [
            ("", "no colon"),
            ("chr3", "no colon"),
            ("chr3:5", "no last"),
            ("chr3:0-5", "from 1"),
            ("chr3:6-5", "ends before"),
            ("chr3:+6-7", "first position"),
            ("chr3:,6-7", "first position"),
            ("chr3:6,-7", "first position"),
            ("chr3:6-7,", "last position"),
            ("chr3:6-7-8", "last position"),
            ("chr3:1-99999999999999999999", "last position"),
            ("chr3:1-18446744073709551615", "that long"),
            (":1-5", "no name"),
        ];
        for (text, expected) in cases {
            let message = Interval::parse_region(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn strand_text_round_trip() {
        for strand in [Strand::Forward, Strand::Reverse] {
            assert_eq!(strand.to_string().parse(), Ok(strand));
        }
        for text in ["", ".", "++", "1"] {
            assert_eq!(text.parse::<Strand>(), Err(ParseStrandError));
        }
    }

    proptest! {
        #[test]
        fn region_string_round_trip(chrom in "[A-Za-z0-9_.*:-]{1,12}", start in 0..MAX_POSITION, length in 1_u64..1_000_000) {
            let end = start.saturating_add(length).min(MAX_POSITION);
            let interval = Interval::try_new(chrom, start, end).unwrap();
            prop_assert_eq!(Interval::parse_region(&interval.to_string()).unwrap(), interval);
        }

        #[test]
        fn parse_region_any_text_never_panics(text in "\\PC{0,40}") {
            let _ = Interval::parse_region(&text);
        }

        #[test]
        fn overlaps_agrees_with_shared_position(a in 0_u64..12, b in 0_u64..12, c in 0_u64..12, d in 0_u64..12) {
            let (one, two) = (interval(a.min(b), a.max(b)), interval(c.min(d), c.max(d)));
            let shared = (0..12).any(|p| one.contains(p) && two.contains(p));
            prop_assert_eq!(one.overlaps(&two), shared);
        }
    }
}
