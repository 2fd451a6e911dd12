//! Windows that share bases across splits.

use std::collections::HashMap;

use genome::Gene;
use serde::{Deserialize, Serialize};

use crate::fold::{Assignment, Split};

/// Windows of one split that share a base with a window of another, on which a model was fitted or
/// chosen: it has seen a part of what it is judged on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitOverlap {
    /// The split that is judged.
    pub split: Split,
    /// The split seen before.
    pub with: Split,
    /// Windows of `split` that share a base with one of `with`.
    pub n_windows: usize,
    /// Windows of `split`.
    pub of: usize,
}

/// Counts the windows of validation and test genes that share a base with one of a split before;
/// one entry each for (valid, train), (test, train) and (test, valid), also when there is none.
pub(crate) fn count_overlaps(genes: &[Gene], splits: &[Split], length: u64) -> Vec<SplitOverlap> {
    [
        (Split::Valid, Split::Train),
        (Split::Test, Split::Train),
        (Split::Test, Split::Valid),
    ]
    .into_iter()
    .map(|(split, with)| {
        let seen = StartSites::of(genes, splits, with);
        let judged = || {
            let of_split = genes.iter().zip(splits);
            of_split.filter(|(_, of_gene)| **of_gene == split)
        };
        SplitOverlap {
            split,
            with,
            n_windows: judged()
                .filter(|(gene, _)| seen.overlapping(gene, length).is_some())
                .count(),
            of: judged().count(),
        }
    })
    .collect()
}

/// Leaves out genes whose window shares a base with a window of a later split in the order train,
/// valid, test.
pub(crate) fn leave_out_overlaps(genes: &[Gene], splits: &[Split], length: u64) -> Vec<Assignment> {
    let test = StartSites::of(genes, splits, Split::Test);
    let valid = StartSites::of(genes, splits, Split::Valid);
    genes
        .iter()
        .zip(splits)
        .map(|(gene, &split)| {
            let later: &[(&StartSites, Split)] = match split {
                Split::Test => &[],
                Split::Valid => &[(&test, Split::Test)],
                Split::Train => &[(&test, Split::Test), (&valid, Split::Valid)],
            };
            later
                .iter()
                .find_map(|(sites, other)| {
                    let symbol = sites.overlapping(gene, length)?;
                    Some(Assignment::Overlaps {
                        split: *other,
                        symbol: symbol.to_string(),
                    })
                })
                .unwrap_or(Assignment::Use(split))
        })
        .collect()
}

/// Sorted start sites of the genes of one split, by chromosome.
struct StartSites<'a>(HashMap<&'a str, Vec<(u64, &'a str)>>);

impl<'a> StartSites<'a> {
    fn of(genes: &'a [Gene], splits: &[Split], wanted: Split) -> Self {
        let mut sites: HashMap<&str, Vec<(u64, &str)>> = HashMap::new();
        for (gene, split) in genes.iter().zip(splits) {
            if *split == wanted {
                let list = sites.entry(gene.chrom.as_str()).or_default();
                list.push((gene.tss, gene.symbol.as_str()));
            }
        }
        for list in sites.values_mut() {
            list.sort_unstable();
        }
        StartSites(sites)
    }

    /// Symbol of a gene whose window overlaps. Two windows of `length` share a base exactly when
    /// their start sites are less than `length` apart.
    fn overlapping(&self, gene: &Gene, length: u64) -> Option<&'a str> {
        let list = self.0.get(gene.chrom.as_str())?;
        let first = list.partition_point(|(tss, _)| tss + length <= gene.tss);
        list.get(first)
            .filter(|(tss, _)| *tss < gene.tss + length)
            .map(|(_, symbol)| *symbol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use genome::Strand;

    fn gene(symbol: &str, chrom: &str, tss: u64) -> Gene {
        Gene {
            gene_id: symbol.to_string(),
            symbol: symbol.to_string(),
            chrom: chrom.to_string(),
            tss,
            strand: Strand::Forward,
            gene_type: None,
            split: None,
            line: 7,
        }
    }

    #[test]
    fn count_overlaps_counts_each_window_once() {
        use Split::{Test, Train, Valid};
        // Windows of 100: start sites less than 100 apart share a base.
        let genes = [
            gene("A", "chr1", 100),
            gene("B", "chr1", 150),
            gene("C", "chr1", 199), // 99 from A, 49 from B: one window
            gene("D", "chr1", 250), // touches that of B
            gene("E", "chr2", 150),
            gene("F", "chr1", 298), // 48 from D
            gene("G", "chr3", 150),
            gene("H", "chr3", 250), // touches that of G, which comes first
            gene("I", "chr3", 349), // 99 from H
        ];
        let splits = [Train, Train, Test, Valid, Test, Test, Test, Train, Valid];
        let found: Vec<(Split, Split, usize, usize)> = count_overlaps(&genes, &splits, 100)
            .iter()
            .map(|row| (row.split, row.with, row.n_windows, row.of))
            .collect();
        assert_eq!(
            found,
            [
                (Valid, Train, 1, 2),
                (Test, Train, 1, 4),
                (Test, Valid, 2, 4)
            ]
        );
    }

    #[test]
    fn leave_out_overlaps_prefers_the_later_split_and_other_chromosomes_do_not_count() {
        let genes = [
            gene("T", "chr1", 100),
            gene("V", "chr1", 150),
            gene("N", "chr1", 220),
            gene("O", "chr3", 100),
        ];
        let splits = [Split::Test, Split::Valid, Split::Train, Split::Train];
        let overlaps = |split, symbol: &str| Assignment::Overlaps {
            split,
            symbol: symbol.to_string(),
        };
        let expected = [
            Assignment::Use(Split::Test),
            overlaps(Split::Test, "T"),
            overlaps(Split::Valid, "V"),
            Assignment::Use(Split::Train),
        ];
        assert_eq!(leave_out_overlaps(&genes, &splits, 100), expected);
    }
}
