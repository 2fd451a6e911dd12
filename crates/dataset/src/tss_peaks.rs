//! Start sites moved from the annotation to where transcription is seen to begin.

use std::path::PathBuf;

use genome::{ChromSizes, Gene, Interval, Region, RegionIndex, Strand};
use serde::{Deserialize, Serialize};

use crate::chrom_alias::ChromAlias;
use crate::error::DatasetError;
use crate::region_file::{RegionsLeftOut, read_region_files};

/// Peaks of transcription starts, for example refTSS or FANTOM5 CAGE peaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TssPeaksConfig {
    /// BED, with the strand in column 6 and, if the peaks differ in strength, the score in column 5.
    pub path: PathBuf,
    /// Farthest a peak may lie from the annotated start site, in bases. Default: 500.
    #[serde(default = "default_max_distance")]
    pub max_distance: u64,
}

fn default_max_distance() -> u64 {
    500
}

/// What became of the start sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TssCounts {
    /// Genes whose start site moved to a peak.
    pub moved: usize,
    /// Genes whose chosen peak begins where the annotation says.
    pub confirmed: usize,
    /// Genes without a peak near enough, which keep the annotated start site.
    pub without_peak: usize,
}

/// Moves each gene's start site to the peak chosen for it.
///
/// A peak can be chosen when it is on the gene's chromosome, has the gene's strand or none, and has
/// a base at most `max_distance` from the annotated start site. The one with the highest score is
/// chosen (a peak without one counts as 0); among equals the one whose site is nearest, then the
/// leftmost. A peak's site is the base of columns 7 and 8 where they are one base (FANTOM5), else
/// the summit of a narrowPeak row, else the middle of the peak. Peaks that lie on no chromosome of
/// the genome are added to `left_out`.
///
/// # Errors
/// [`DatasetError::Genome`] for a BED that cannot be read or lies outside the genome.
pub(crate) fn move_to_peaks(
    config: &TssPeaksConfig,
    genes: &mut [Gene],
    sizes: &ChromSizes,
    alias: &ChromAlias,
    left_out: &mut Vec<RegionsLeftOut>,
) -> Result<TssCounts, DatasetError> {
    let peaks = read_region_files("tss_peaks", [&config.path], alias, sizes, left_out)?;
    let mut counts = TssCounts::default();
    for gene in genes {
        let chrom_length = sizes.get(&gene.chrom).unwrap_or(0);
        let near = Interval::try_new(
            gene.chrom.as_str(),
            gene.tss.saturating_sub(config.max_distance),
            gene.tss
                .saturating_add(config.max_distance)
                .saturating_add(1)
                .min(chrom_length.max(gene.tss + 1)),
        )?;
        match choose_site(&peaks, &near, gene.tss, gene.strand) {
            None => counts.without_peak += 1,
            Some(site) if site == gene.tss => counts.confirmed += 1,
            Some(site) => {
                gene.tss = site;
                counts.moved += 1;
            }
        }
    }
    Ok(counts)
}

fn choose_site(peaks: &RegionIndex, near: &Interval, tss: u64, strand: Strand) -> Option<u64> {
    peaks
        .overlapping(near)
        .filter(|peak| peak.strand.is_none_or(|of_peak| of_peak == strand))
        .map(|peak| (peak.score.unwrap_or(0.0), site_of(peak)))
        .min_by(|(a_score, a_site), (b_score, b_site)| {
            let distance = |site: u64| (site.abs_diff(tss), site);
            b_score
                .total_cmp(a_score)
                .then(distance(*a_site).cmp(&distance(*b_site)))
        })
        .map(|(_, site)| site)
}

/// The base that stands for a peak, 0-based.
fn site_of(peak: &Region) -> u64 {
    let thick = match peak.rest.as_slice() {
        [start, end, ..] => start.parse::<u64>().ok().zip(end.parse::<u64>().ok()),
        _ => None,
    };
    thick
        .filter(|(start, end)| start.checked_add(1) == Some(*end) && peak.interval.contains(*start))
        .map(|(start, _)| start)
        .or_else(|| peak.summit())
        .unwrap_or_else(|| peak.interval.start() + peak.interval.len().saturating_sub(1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chooses among the lines of a BED file for a start site at 1000 on the forward strand.
    fn chosen(bed: &str, max_distance: u64) -> Option<u64> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peaks.bed");
        std::fs::write(&path, bed).unwrap();
        let peaks = RegionIndex::new(genome::read_regions(&path).unwrap());
        let near = Interval::try_new("c", 1000 - max_distance, 1001 + max_distance).unwrap();
        choose_site(&peaks, &near, 1000, Strand::Forward)
    }

    #[test]
    fn choose_site_takes_score_then_distance_then_position() {
        let cases = [
            // nothing near: touching but outside, other strand, other chromosome
            ("c\t890\t900\n", None),
            ("c\t1101\t1110\n", None),
            ("c\t990\t1010\tp\t5\t-\n", None),
            ("d\t990\t1010\tp\t5\t+\n", None),
            // the last base of the zone, on either side: middle of [891, 901) is 895
            ("c\t891\t901\n", Some(895)),
            ("c\t1100\t1101\n", Some(1100)),
            // the higher score, though farther
            (
                "c\t998\t1003\tp\t5\t+\nc\t1050\t1051\tq\t6\t+\n",
                Some(1050),
            ),
            // equal scores: the nearer site, then the left one
            ("c\t980\t981\tp\t5\t+\nc\t1010\t1011\tq\t5\t+\n", Some(1010)),
            ("c\t1010\t1011\tq\t5\t+\nc\t990\t991\tp\t5\t+\n", Some(990)),
            // no strand fits both; no score is 0
            ("c\t1001\t1002\tp\t0\t.\nc\t1000\t1001\n", Some(1000)),
            // a FANTOM5 row names the site in columns 7 and 8
            ("c\t900\t1100\tp\t9\t+\t1043\t1044\t0,0,0\n", Some(1043)),
            // thick part longer than a base: the middle of [901, 1100) is 1000
            ("c\t901\t1100\tp\t9\t+\t901\t1100\t0,0,0\n", Some(1000)),
            // the summit of a narrowPeak row
            ("c\t900\t1100\tp\t9\t+\t1.5\t-1\t-1\t30\n", Some(930)),
        ];
        for (bed, expected) in cases {
            assert_eq!(chosen(bed, 100), expected, "{bed}");
        }
    }
}
