//! Which positions of a window the mask may decide, which are fixed, and which lie in a peak.

use genome::Interval;
use serde::{Deserialize, Serialize};

use crate::window::Window;

/// What is known about the mask at one position before any model looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RegionCode {
    /// The model decides.
    Keep = 0,
    /// The mask is 0: an excluded region.
    Zero = 1,
    /// The mask is 1: an included region or the promoter.
    One = 2,
}

impl RegionCode {
    /// Reads the code of [`RegionCode::Keep`], [`Zero`](RegionCode::Zero) or [`One`](RegionCode::One).
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(RegionCode::Keep),
            1 => Some(RegionCode::Zero),
            2 => Some(RegionCode::One),
            _ => None,
        }
    }

    /// The value that overwrites the mask: 0, 1, or -1 where the model decides.
    pub fn overwrite(self) -> f32 {
        match self {
            RegionCode::Keep => -1.0,
            RegionCode::Zero => 0.0,
            RegionCode::One => 1.0,
        }
    }
}

/// Fixes the mask of one window: excluded regions become [`RegionCode::Zero`], then included ones
/// [`RegionCode::One`], then the promoter [`RegionCode::One`]; later rules beat earlier ones.
///
/// The promoter is the central `promoter` positions of the window, `[tss - promoter/2,
/// tss - promoter/2 + promoter)`, also where it reaches over the end of the chromosome: the model
/// averages over all of them.
///
/// # Shapes
/// - output: `[length]` of `window`
///
/// # Units
/// - `promoter`: bases; the part outside the window is ignored
pub fn region_codes<'a>(
    window: &Window,
    exclude: impl IntoIterator<Item = &'a Interval>,
    include: impl IntoIterator<Item = &'a Interval>,
    promoter: u64,
) -> Vec<RegionCode> {
    let length = window.length() as usize;
    let mut codes = vec![RegionCode::Keep; length];
    for interval in exclude {
        codes[window.offsets_of(interval)].fill(RegionCode::Zero);
    }
    for interval in include {
        codes[window.offsets_of(interval)].fill(RegionCode::One);
    }
    let promoter = promoter.min(2 * window.length()) as usize;
    let center = length / 2;
    let first = center.saturating_sub(promoter / 2);
    let end = (center + promoter - promoter / 2).min(length);
    codes[first..end].fill(RegionCode::One);
    codes
}

/// Whether each position of a window lies in one of the regions.
///
/// # Shapes
/// - output: `[length]` of `window`
pub(crate) fn covered<'a>(
    window: &Window,
    regions: impl IntoIterator<Item = &'a Interval>,
) -> Vec<bool> {
    let mut covered = vec![false; window.length() as usize];
    for interval in regions {
        covered[window.offsets_of(interval)].fill(true);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;
    use RegionCode::{Keep as K, One as O, Zero as Z};
    use proptest::prelude::*;

    fn intervals(ranges: &[(u64, u64)]) -> Vec<Interval> {
        ranges
            .iter()
            .map(|&(start, end)| Interval::try_new("c", start, end).unwrap())
            .collect()
    }

    #[test]
    fn region_codes_apply_exclude_then_include_then_promoter() {
        // The window is [6, 14) of a chromosome of 20, the start site 10.
        let window = Window::centered_on("c", 10, 8, 20).unwrap();
        type Ranges = &'static [(u64, u64)];
        let cases: [(Ranges, Ranges, u64, [RegionCode; 8]); 6] = [
            (&[], &[], 0, [K; 8]),
            (&[], &[], 2, [K, K, K, O, O, K, K, K]),
            (&[(0, 20)], &[], 2, [Z, Z, Z, O, O, Z, Z, Z]),
            (&[(6, 9)], &[(8, 10)], 2, [Z, Z, O, O, O, K, K, K]),
            (&[(0, 6), (14, 20)], &[(0, 6), (14, 20)], 0, [K; 8]), // touching, outside
            (&[], &[], 100, [O; 8]),
        ];
        for (exclude, include, promoter, expected) in cases {
            let found = region_codes(&window, &intervals(exclude), &intervals(include), promoter);
            assert_eq!(found, expected, "{exclude:?} {include:?} {promoter}");
        }
    }

    #[test]
    fn covered_is_the_union_inside_the_window() {
        // The window is [6, 14) of a chromosome of 20.
        let window = Window::centered_on("c", 10, 8, 20).unwrap();
        type Ranges = &'static [(u64, u64)];
        let cases: [(Ranges, &str); 5] = [
            (&[], "........"),
            (&[(0, 20)], "11111111"),
            (&[(0, 6), (14, 20), (9, 9)], "........"), // touching, outside, empty
            (&[(7, 9), (8, 11)], ".1111..."),
            (&[(0, 7), (13, 20)], "1......1"),
        ];
        for (ranges, expected) in cases {
            let found = covered(&window, &intervals(ranges));
            let found: String = found.iter().map(|c| if *c { '1' } else { '.' }).collect();
            assert_eq!(found, expected, "{ranges:?}");
        }
    }

    #[test]
    fn region_codes_of_a_promoter_over_the_chromosome_end_stay_one() {
        let window = Window::centered_on("c", 0, 8, 2).unwrap(); // [-4, 4), two bases exist
        let exclude = intervals(&[(0, 2)]);
        let found = region_codes(&window, &exclude, &[], 4);
        assert_eq!(found, [K, K, O, O, O, O, K, K]);
    }

    proptest! {
        // Short chromosomes, so that regions meet the promoter and the ends all the time.
        #[test]
        fn promoter_beats_exclude(
            tss in 0_u64..40, length in 1_u64..40, promoter in 0_u64..40,
            start in 0_u64..40, extent in 0_u64..40,
        ) {
            let window = Window::centered_on("c", tss, length, 40).unwrap();
            let codes = region_codes(&window, &intervals(&[(start, start + extent)]), &[], promoter);
            for (offset, code) in codes.iter().enumerate() {
                let distance = offset as i64 - (length / 2) as i64;
                let in_promoter = -((promoter / 2) as i64) <= distance
                    && distance < (promoter - promoter / 2) as i64;
                let position = tss as i64 + distance;
                let excluded = (0..40).contains(&position)
                    && position >= start as i64 && position < (start + extent) as i64;
                let expected = if in_promoter { O } else if excluded { Z } else { K };
                prop_assert_eq!(*code, expected);
            }
        }
    }
}
