//! Expression read from a track: what CAGE or RNA-seq counted around a start site.

use crate::error::GenomeError;
use crate::interval::{Interval, Strand};
use crate::track_file::TrackFile;

/// Bases around a start site whose sum is its expression: three bins of 128, as in the published
/// tables (column `<cell>_CAGE_128*3_sum`).
pub const TSS_SIGNAL_BASES: u64 = 384;

/// Counts of transcripts along the genome, in one file or in one for each strand.
#[derive(Debug)]
pub struct TssSignal {
    forward: TrackFile,
    reverse: Option<TrackFile>,
    n_bases: u64,
}

impl TssSignal {
    /// Sums `n_bases` around a start site; `reverse` is the file of genes on the minus strand,
    /// which otherwise are read from `forward` too.
    pub fn new(forward: TrackFile, reverse: Option<TrackFile>, n_bases: u64) -> Self {
        TssSignal {
            forward,
            reverse,
            n_bases,
        }
    }

    /// The file that a gene of this strand is read from.
    pub fn file(&self, strand: Strand) -> &TrackFile {
        match (&self.reverse, strand) {
            (Some(reverse), Strand::Reverse) => reverse,
            _ => &self.forward,
        }
    }

    /// The sum over `[tss - n/2, tss + n/2)`, 0-based, as far as it lies on the chromosome; bases
    /// without data count as 0.
    ///
    /// The site is the first base of the right half, as it is in a window centred on it. `chrom`
    /// is the chromosome's name in the file. A file of the minus strand that stores its counts as
    /// negative numbers is read by their absolute value.
    ///
    /// # Errors
    /// [`GenomeError::UnknownChrom`], [`GenomeError::OutsideChrom`] for a site that is not in the
    /// file; [`GenomeError::CorruptRegion`] for values that are infinite, negative, or of both
    /// signs; whatever reading the file causes.
    pub fn read(&self, chrom: &str, tss: u64, strand: Strand) -> Result<f64, GenomeError> {
        let file = self.file(strand);
        let site = Interval::try_new(chrom, tss, tss.saturating_add(1))?;
        let length = file.chrom_sizes().check(file.path(), &site)?;
        let start = tss.saturating_sub(self.n_bases / 2);
        let end = tss.saturating_add(self.n_bases.div_ceil(2)).min(length);
        let window = Interval::try_new(site.shared_chrom(), start, end.max(start))?;
        let values = file.read_values(&window)?;
        let refuse_at = |region: &Interval, reason: String| GenomeError::CorruptRegion {
            path: file.path().to_path_buf(),
            region: region.to_string(),
            reason,
        };
        let (mut above, mut below) = (0.0, 0.0);
        for (base, value) in (start..).zip(values) {
            match value {
                value if value.is_nan() => {}
                value if value.is_infinite() => {
                    let base = Interval::try_new(site.shared_chrom(), base, base + 1)?;
                    let reason = format!(
                        "the value is {value}; an expression must be finite, write the track again \
                         without it"
                    );
                    return Err(refuse_at(&base, reason));
                }
                value if value < 0.0 => below -= f64::from(value),
                value => above += f64::from(value),
            }
        }
        let refuse = |reason: &str| refuse_at(&window, reason.to_string());
        let may_be_negative = self.reverse.is_some() && strand == Strand::Reverse;
        match (above > 0.0, below > 0.0) {
            (_, false) => Ok(above),
            (false, true) if may_be_negative => Ok(below),
            (true, true) if may_be_negative => Err(refuse(
                "values of both signs; a file of the minus strand has counts of one sign, give one strand only",
            )),
            _ => Err(refuse(
                "a negative value is no count; is this the file of the minus strand?",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::alignment::ReadFilter;
    use crate::bigwig::write_bigwig;
    use crate::chrom_sizes::ChromSizes;

    fn track(folder: &Path, name: &str, rows: &[(u64, u64, f32)]) -> TrackFile {
        let path = folder.join(name);
        let sizes = ChromSizes::new(vec![("c".into(), 1000), ("one".into(), 1)]);
        let interval = |start, end| Interval::try_new("c", start, end).unwrap();
        let rows = rows.iter().map(|row| (interval(row.0, row.1), row.2));
        write_bigwig(&path, &sizes, rows).unwrap();
        TrackFile::open(&path, &sizes, Path::new("none.fa"), &ReadFilter::default()).unwrap()
    }

    #[test]
    fn read_sums_half_open_around_the_site() {
        let folder = tempfile::tempdir().unwrap();
        // Base 308 is the first of [308, 692) around 500, base 692 is outside.
        let rows = [
            (307, 308, 1.0),
            (308, 310, 10.0),
            (690, 692, 100.0),
            (692, 700, 1000.0),
        ];
        let plus = track(folder.path(), "plus.bw", &rows);
        let minus = track(folder.path(), "minus.bw", &[(0, 1, -2.5), (400, 401, -4.0)]);
        let signal = TssSignal::new(plus, Some(minus), TSS_SIGNAL_BASES);
        let cases = [
            (500, Strand::Forward, 220.0),
            (499, Strand::Forward, 121.0), // [307, 691): 1 + 20 + 100
            (500, Strand::Reverse, 4.0),
            (0, Strand::Reverse, 2.5),   // clipped to [0, 192)
            (999, Strand::Forward, 0.0), // no data in [807, 1000)
        ];
        for (tss, strand, expected) in cases {
            assert_eq!(
                signal.read("c", tss, strand).unwrap(),
                expected,
                "{tss} {strand}"
            );
        }
        assert_eq!(signal.read("one", 0, Strand::Forward).unwrap(), 0.0);
        let outside = signal
            .read("c", 1000, Strand::Forward)
            .unwrap_err()
            .to_string();
        assert!(
            outside.ends_with("c:1001-1001 is outside c (1000 bp)"),
            "{outside}"
        );
    }

    #[test]
    fn read_signs_that_make_no_count_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let plus = || track(folder.path(), "plus.bw", &[(500, 501, -1.0)]);
        let mixed = track(
            folder.path(),
            "mixed.bw",
            &[(500, 501, -1.0), (502, 503, 1.0)],
        );
        let one = TssSignal::new(plus(), None, 4);
        for strand in [Strand::Forward, Strand::Reverse] {
            let message = one.read("c", 500, strand).unwrap_err().to_string();
            assert!(
                message.contains("plus.bw: c:499-502: a negative value"),
                "{message}"
            );
        }
        // The forward strand's counts are positive also where the reverse strand has a file of its own.
        let negative = track(folder.path(), "minus.bw", &[(500, 501, -1.0)]);
        let both = TssSignal::new(plus(), Some(negative), 4);
        let message = both
            .read("c", 500, Strand::Forward)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("plus.bw: c:499-502: a negative value"),
            "{message}"
        );
        assert_eq!(both.read("c", 500, Strand::Reverse).unwrap(), 1.0);
        let two = TssSignal::new(plus(), Some(mixed), TSS_SIGNAL_BASES);
        let message = two.read("c", 500, Strand::Reverse).unwrap_err().to_string();
        assert!(
            message.contains("mixed.bw: c:309-692: values of both signs"),
            "{message}"
        );
    }
}
