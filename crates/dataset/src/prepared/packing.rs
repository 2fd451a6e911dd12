//! Two bits a base, and runs of equal values.

use std::ops::Range;

use crate::one_hot::NO_BASE;

/// Bases in two bits each, four a byte from the lowest bits up, with the runs of no base apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PackedBases {
    /// `[length / 4]`, rounded up; positions without a base and the rest of the last byte are 0
    pub(super) bytes: Vec<u8>,
    pub(super) n_starts: Vec<u32>,
    pub(super) n_lengths: Vec<u32>,
}

/// Packs base codes (0 to 4).
pub(super) fn pack_bases(codes: &[u8]) -> PackedBases {
    let bytes = codes
        .chunks(4)
        .map(|chunk| {
            chunk.iter().enumerate().fold(0, |byte, (index, &code)| {
                byte | if code < NO_BASE {
                    code << (2 * index)
                } else {
                    0
                }
            })
        })
        .collect();
    let mut packed = PackedBases {
        bytes,
        ..Default::default()
    };
    let mut start = 0;
    for run in codes.chunk_by(|a, b| (*a >= NO_BASE) == (*b >= NO_BASE)) {
        if run.first().is_some_and(|&code| code >= NO_BASE) {
            packed.n_starts.push(start);
            packed.n_lengths.push(run.len() as u32);
        }
        start += run.len() as u32;
    }
    packed
}

/// Unpacks `length` base codes; the error says what does not fit.
pub(super) fn unpack_bases(
    bytes: &[u8],
    n_starts: &[u32],
    n_lengths: &[u32],
    length: usize,
) -> Result<Vec<u8>, &'static str> {
    if bytes.len() != length.div_ceil(4) {
        return Err("the sequence does not have the window's length");
    }
    if n_starts.len() != n_lengths.len() {
        return Err("the runs of N have unequal numbers of starts and lengths");
    }
    let mut codes = Vec::with_capacity(bytes.len() * 4);
    for &byte in bytes {
        codes.extend_from_slice(&[byte & 3, (byte >> 2) & 3, (byte >> 4) & 3, byte >> 6]);
    }
    codes.truncate(length);
    for (&start, &n) in n_starts.iter().zip(n_lengths) {
        let end = start as usize + n as usize;
        codes
            .get_mut(start as usize..end)
            .ok_or("a run of N reaches over the window's end")?
            .fill(NO_BASE);
    }
    Ok(codes)
}

/// Values and lengths of the runs of a column; `same` decides whether a run goes on.
pub(super) fn runs<T: Copy>(
    values: impl Iterator<Item = T>,
    same: impl Fn(T, T) -> bool,
) -> (Vec<T>, Vec<u32>) {
    let mut run_values: Vec<T> = Vec::new();
    let mut run_lengths: Vec<u32> = Vec::new();
    for value in values {
        match (run_values.last(), run_lengths.last_mut()) {
            (Some(&last), Some(length)) if same(last, value) => *length += 1,
            _ => {
                run_values.push(value);
                run_lengths.push(1);
            }
        }
    }
    (run_values, run_lengths)
}

/// Starts and lengths of the runs of `true`.
pub(super) fn true_runs(values: &[bool]) -> (Vec<u32>, Vec<u32>) {
    let (mut starts, mut lengths) = (Vec::new(), Vec::new());
    let mut start = 0;
    for run in values.chunk_by(|a, b| a == b) {
        if run.first() == Some(&true) {
            starts.push(start);
            lengths.push(run.len() as u32);
        }
        start += run.len() as u32;
    }
    (starts, lengths)
}

/// `length` values that are `true` in the runs; nothing when the runs do not fit.
pub(super) fn fill_runs(starts: &[u32], lengths: &[u32], length: usize) -> Option<Vec<bool>> {
    let mut values = vec![false; length];
    if starts.len() != lengths.len() {
        return None;
    }
    for (&start, &n) in starts.iter().zip(lengths) {
        let end = start as usize + n as usize;
        values.get_mut(start as usize..end)?.fill(true);
    }
    Some(values)
}

/// Value and range of each run; the error says what does not fit a column of `length` cells.
pub(super) fn run_ranges<T: Copy>(
    values: &[T],
    lengths: &[u32],
    length: usize,
) -> Result<Vec<(T, Range<usize>)>, &'static str> {
    if values.len() != lengths.len() {
        return Err("a column has unequal numbers of run values and run lengths");
    }
    let mut ranges = Vec::with_capacity(values.len());
    let mut start = 0_usize;
    for (&value, &n) in values.iter().zip(lengths) {
        let end = start.saturating_add(n as usize);
        ranges.push((value, start..end));
        start = end;
    }
    if start != length {
        return Err("the runs of a column do not have the window's length");
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pack_bases_puts_the_first_base_in_the_lowest_bits() {
        let cases: [(&[u8], PackedBases); 4] = [
            (&[], PackedBases::default()),
            (
                &[3],
                PackedBases {
                    bytes: vec![0b11],
                    ..Default::default()
                },
            ),
            (
                // T G C A, then N N C
                &[3, 2, 1, 0, 4, 4, 1],
                PackedBases {
                    bytes: vec![0b00_01_10_11, 0b01_00_00],
                    n_starts: vec![4],
                    n_lengths: vec![2],
                },
            ),
            (
                &[4, 0, 4],
                PackedBases {
                    bytes: vec![0],
                    n_starts: vec![0, 2],
                    n_lengths: vec![1, 1],
                },
            ),
        ];
        for (codes, expected) in cases {
            assert_eq!(pack_bases(codes), expected, "{codes:?}");
        }
    }

    #[test]
    fn unpack_bases_of_damaged_parts_is_an_error() {
        type Case = (&'static [u8], &'static [u32], &'static [u32], usize);
        let cases: [Case; 5] = [
            (&[0], &[], &[], 5),
            (&[0, 0], &[], &[], 4),
            (&[0], &[0], &[], 4),
            (&[0], &[3], &[2], 4),
            (&[0], &[u32::MAX], &[u32::MAX], 4),
        ];
        for (bytes, starts, lengths, length) in cases {
            assert!(unpack_bases(bytes, starts, lengths, length).is_err());
        }
    }

    #[test]
    fn run_ranges_of_damaged_parts_is_an_error() {
        let cases: [(&[u8], &[u32]); 5] = [
            (&[1], &[]),
            (&[1], &[2]),
            (&[1, 2], &[3, 1]),
            (&[1, 2], &[u32::MAX, 4]),
            (&[], &[]),
        ];
        for (values, lengths) in cases {
            assert!(run_ranges(values, lengths, 3).is_err());
        }
        assert_eq!(
            run_ranges(&[7, 8], &[1, 2], 3),
            Ok(vec![(7, 0..1), (8, 1..3)])
        );
    }

    #[test]
    fn fill_runs_of_damaged_parts_is_nothing() {
        for (starts, lengths) in [
            (&[0_u32][..], &[][..]),
            (&[2], &[2]),
            (&[u32::MAX], &[u32::MAX]),
        ] {
            assert_eq!(fill_runs(starts, lengths, 3), None);
        }
        assert_eq!(
            fill_runs(&[0, 2], &[1, 1], 3),
            Some(vec![true, false, true])
        );
    }

    proptest! {
        // Runs of up to eight equal values, as peaks are.
        #[test]
        fn fill_runs_inverts_true_runs(parts in prop::collection::vec((any::<bool>(), 1_usize..9), 0..20)) {
            let values: Vec<bool> =
                parts.iter().flat_map(|&(value, n)| std::iter::repeat_n(value, n)).collect();
            let (starts, lengths) = true_runs(&values);
            prop_assert_eq!(fill_runs(&starts, &lengths, values.len()), Some(values));
        }

        // Codes drawn in runs, as real sequence has its N.
        #[test]
        fn unpack_inverts_pack(
            parts in prop::collection::vec((0_u8..=4, 1_usize..9), 0..20),
        ) {
            let codes: Vec<u8> =
                parts.iter().flat_map(|&(code, n)| std::iter::repeat_n(code, n)).collect();
            let packed = pack_bases(&codes);
            let back =
                unpack_bases(&packed.bytes, &packed.n_starts, &packed.n_lengths, codes.len());
            prop_assert_eq!(back, Ok(codes));
        }

        #[test]
        fn run_ranges_invert_runs(
            parts in prop::collection::vec((0_u8..4, 1_usize..9), 0..20),
        ) {
            let values: Vec<u8> =
                parts.iter().flat_map(|&(value, n)| std::iter::repeat_n(value, n)).collect();
            let (run_values, run_lengths) = runs(values.iter().copied(), |a, b| a == b);
            prop_assert!(run_values.windows(2).all(|pair| pair[0] != pair[1]));
            let ranges = run_ranges(&run_values, &run_lengths, values.len());
            let mut back = vec![9; values.len()];
            for (value, range) in ranges.unwrap_or_default() {
                back[range].fill(value);
            }
            prop_assert_eq!(back, values);
        }
    }
}
