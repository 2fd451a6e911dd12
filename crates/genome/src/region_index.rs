//! Regions that can be asked for what overlaps an interval.

use std::collections::HashMap;

use crate::bed::Region;
use crate::interval::Interval;

/// Regions sorted within each chromosome, to be searched by interval.
#[derive(Debug, Clone, Default)]
pub struct RegionIndex {
    chroms: HashMap<String, Sorted>,
    n_regions: usize,
}

/// The regions of one chromosome by start, with the farthest end up to and with each.
#[derive(Debug, Clone, Default)]
struct Sorted {
    regions: Vec<Region>,
    farthest_end: Vec<u64>,
}

impl RegionIndex {
    /// Sorts the regions; those with equal intervals keep their order.
    pub fn new(regions: Vec<Region>) -> Self {
        let n_regions = regions.len();
        let mut chroms: HashMap<String, Sorted> = HashMap::new();
        for region in regions {
            match chroms.get_mut(region.interval.chrom()) {
                Some(sorted) => sorted.regions.push(region),
                None => {
                    let chrom = region.interval.chrom().to_string();
                    chroms.entry(chrom).or_default().regions.push(region);
                }
            }
        }
        for sorted in chroms.values_mut() {
            sorted
                .regions
                .sort_by_key(|region| (region.interval.start(), region.interval.end()));
            let mut farthest = 0;
            for region in &sorted.regions {
                farthest = farthest.max(region.interval.end());
                sorted.farthest_end.push(farthest);
            }
        }
        RegionIndex { chroms, n_regions }
    }

    /// The regions that share at least one base with the interval, by start.
    pub fn overlapping<'a>(
        &'a self,
        interval: &'a Interval,
    ) -> impl Iterator<Item = &'a Region> + 'a {
        let candidates = self.chroms.get(interval.chrom()).map_or(&[][..], |sorted| {
            // Before `first` all regions end too early, from `end` on all start too late.
            let first = sorted
                .farthest_end
                .partition_point(|farthest| *farthest <= interval.start());
            let end = sorted
                .regions
                .partition_point(|region| region.interval.start() < interval.end());
            sorted.regions.get(first..end).unwrap_or_default()
        });
        candidates
            .iter()
            .filter(move |region| region.interval.overlaps(interval))
    }

    /// Names of the chromosomes that have a region, in alphabetical order.
    pub fn chroms(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.chroms.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Number of regions.
    pub fn len(&self) -> usize {
        self.n_regions
    }

    /// Whether there is no region.
    pub fn is_empty(&self) -> bool {
        self.n_regions == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(chrom: &str, start: u64, end: u64) -> Region {
        Region::new(Interval::try_new(chrom, start, end).unwrap())
    }

    #[test]
    fn overlapping_touching_is_outside() {
        let index = RegionIndex::new(vec![
            region("chr1", 20, 30),
            region("chr1", 0, 100),
            region("chr1", 10, 20),
            region("chr2", 10, 20),
            region("chr1", 15, 15),
        ]);
        let cases = [
            ("chr1", 10, 20, vec![(0, 100), (10, 20)]),
            ("chr1", 19, 21, vec![(0, 100), (10, 20), (20, 30)]),
            ("chr1", 30, 31, vec![(0, 100)]),
            ("chr1", 100, 101, vec![]),
            ("chr1", 15, 15, vec![]),
            ("chr2", 0, 11, vec![(10, 20)]),
            ("chr3", 0, 11, vec![]),
        ];
        for (chrom, start, end, expected) in cases {
            let window = Interval::try_new(chrom, start, end).unwrap();
            let found: Vec<(u64, u64)> = index
                .overlapping(&window)
                .map(|r| (r.interval.start(), r.interval.end()))
                .collect();
            assert_eq!(found, expected, "{window}");
        }
        assert_eq!((index.len(), index.chroms()), (5, vec!["chr1", "chr2"]));
        assert!(RegionIndex::default().is_empty());
    }

    proptest! {
        #[test]
        fn overlapping_equals_a_linear_search(
            regions in proptest::collection::vec((0_u64..60, 0_u64..20), 0..30),
            start in 0_u64..60,
            length in 0_u64..30,
        ) {
            let mut regions: Vec<Region> =
                regions.into_iter().map(|(start, length)| region("a", start, start + length)).collect();
            let window = Interval::try_new("a", start, start + length).unwrap();
            let index = RegionIndex::new(regions.clone());
            let found: Vec<&Region> = index.overlapping(&window).collect();
            regions.sort_by(|a, b| a.interval.cmp(&b.interval));
            let expected: Vec<&Region> =
                regions.iter().filter(|region| region.interval.overlaps(&window)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
