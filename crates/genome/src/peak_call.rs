//! Peaks of a track: where its values stay above a cutoff.

use crate::bed::Region;
use crate::bigwig::BigWig;
use crate::error::GenomeError;
use crate::interval::Interval;

/// What counts as a peak of a track.
///
/// Stretches of values at or above the cutoff are joined when the gap between them is at most `max_gap`; what is then
/// at least `min_length` long is a peak. A base without data has the value 0.
///
/// # Reference
/// `macs3 bdgpeakcall`, MACS3 3.0.3, whose defaults for `min_length` and `max_gap` these are
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeakCaller {
    /// Lowest value inside a stretch, above 0, in the unit of the track.
    pub cutoff: f32,
    /// Shortest peak, in bases; 200.
    pub min_length: u64,
    /// Longest gap inside a peak, in bases; 30.
    pub max_gap: u64,
}

impl PeakCaller {
    /// A caller with the usual lengths.
    pub fn new(cutoff: f32) -> Self {
        PeakCaller {
            cutoff,
            min_length: 200,
            max_gap: 30,
        }
    }

    /// Calls the peaks of every chromosome, in the order of their names and by start, as rows of a narrowPeak file.
    ///
    /// A row is named `peak_<number>`; its score is ten times the highest value, as in MACS3; its summit is the middle of
    /// the stretch with that value, of several the middle one. The columns for enrichment, p and q are 0: a track alone
    /// does not tell them. Memory does not grow with the file.
    ///
    /// # Errors
    /// As [`BigWig::read_values`].
    pub fn call(&self, track: &BigWig) -> Result<Vec<Region>, GenomeError> {
        let mut chroms: Vec<(&str, u64)> = track.chrom_sizes().iter().collect();
        chroms.sort_unstable();
        let mut peaks = Vec::new();
        for (chrom, length) in chroms {
            let mut open = Open::new(self);
            for start in (0..length).step_by(CHUNK as usize) {
                let interval = Interval::try_new(chrom, start, (start + CHUNK).min(length))?;
                let values = track.read_values(&interval)?;
                let mut position = start;
                for run in values.chunk_by(|a, b| value_of(*a) == value_of(*b)) {
                    let end = position + run.len() as u64;
                    open.push(
                        position,
                        end,
                        run.first().map_or(0.0, |value| value_of(*value)),
                    );
                    position = end;
                }
            }
            for peak in open.finish() {
                let mut region = Region::new(Interval::try_new(chrom, peak.start, peak.end)?);
                region.name = Some(format!("peak_{}", peaks.len() + 1));
                // Toward 0, as Python's int() does.
                region.score = Some((10.0 * f64::from(peak.highest)).trunc());
                region.rest = ["0", "0", "0"].map(String::from).to_vec();
                region.rest.push((peak.summit - peak.start).to_string());
                peaks.push(region);
            }
        }
        Ok(peaks)
    }
}

/// Bases that are read at once.
const CHUNK: u64 = 1 << 20;

fn value_of(value: f32) -> f32 {
    if value.is_nan() { 0.0 } else { value }
}

/// A stretch of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    start: u64,
    end: u64,
    value: f32,
}

/// A peak of one chromosome.
#[derive(Debug, Clone, PartialEq)]
struct Peak {
    start: u64,
    end: u64,
    highest: f32,
    summit: u64,
}

/// The peaks of a chromosome up to some position, with the one that may go on.
struct Open<'a> {
    caller: &'a PeakCaller,
    /// The last run, which the next chunk may continue.
    last: Option<Run>,
    /// The runs at or above the cutoff of the peak that may go on.
    runs: Vec<Run>,
    peaks: Vec<Peak>,
}

impl<'a> Open<'a> {
    fn new(caller: &'a PeakCaller) -> Self {
        Open {
            caller,
            last: None,
            runs: Vec::new(),
            peaks: Vec::new(),
        }
    }

    /// Takes the run that begins where the last one ended.
    fn push(&mut self, start: u64, end: u64, value: f32) {
        match &mut self.last {
            Some(last) if last.value == value => last.end = end,
            _ => {
                let next = Run { start, end, value };
                if let Some(last) = self.last.replace(next) {
                    self.settle(last);
                }
            }
        }
    }

    /// Adds a whole run to the peak that may go on, or begins another.
    fn settle(&mut self, run: Run) {
        if run.value < self.caller.cutoff {
            return;
        }
        if let Some(last) = self.runs.last()
            && run.start - last.end > self.caller.max_gap
        {
            self.close();
        }
        self.runs.push(run);
    }

    fn close(&mut self) {
        let runs = std::mem::take(&mut self.runs);
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            return;
        };
        if last.end - first.start < self.caller.min_length {
            return;
        }
        let highest = runs.iter().map(|run| run.value).fold(f32::MIN, f32::max);
        let summits: Vec<u64> = runs
            .iter()
            .filter(|run| run.value == highest)
            .map(|run| (run.start + run.end) / 2)
            .collect();
        self.peaks.push(Peak {
            start: first.start,
            end: last.end,
            highest,
            summit: summits[summits.len().div_ceil(2) - 1],
        });
    }

    fn finish(mut self) -> Vec<Peak> {
        if let Some(last) = self.last.take() {
            self.settle(last);
        }
        self.close();
        self.peaks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bigwig::write_bigwig;
    use crate::chrom_sizes::ChromSizes;
    use proptest::prelude::*;

    fn call(caller: PeakCaller, values: &[f32]) -> Vec<Peak> {
        let mut open = Open::new(&caller);
        for (position, &value) in (0..).zip(values) {
            open.push(position, position + 1, value);
        }
        open.finish()
    }

    #[test]
    fn peaks_by_hand() {
        let caller = PeakCaller {
            cutoff: 2.0,
            min_length: 3,
            max_gap: 1,
        };
        let peak = |start, end, highest, summit| Peak {
            start,
            end,
            highest,
            summit,
        };
        let cases: [(&[f32], Vec<Peak>); 8] = [
            (&[], vec![]),
            (&[2.0], vec![]),
            (&[1.9, 1.9, 1.9, 1.9], vec![]),
            // At the cutoff counts; the whole chromosome; middle of [0, 3) is 1.
            (&[2.0, 2.0, 2.0], vec![peak(0, 3, 2.0, 1)]),
            // A gap of one base is bridged, of two not, and what is left is too short.
            (&[2.0, 0.0, 3.0], vec![peak(0, 3, 3.0, 2)]),
            (&[2.0, 0.0, 0.0, 3.0, 3.0], vec![]),
            // Three runs of the highest value, middles 0, 2 and 4: the second.
            (&[5.0, 2.0, 5.0, 2.0, 5.0], vec![peak(0, 5, 5.0, 2)]),
            // Two: the first.
            (
                &[0.0, 5.0, 2.0, 5.0, 0.0, 0.0, 2.0, 2.0, 2.0],
                vec![peak(1, 4, 5.0, 1), peak(6, 9, 2.0, 7)],
            ),
        ];
        for (values, expected) in cases {
            assert_eq!(call(caller, values), expected, "{values:?}");
        }
    }

    #[test]
    fn call_crosses_chunks_and_chromosomes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bw");
        let length = CHUNK + 500;
        let sizes = ChromSizes::new(vec![("b".into(), length), ("a".into(), 300)]);
        let row = |chrom, start, end, value| (Interval::try_new(chrom, start, end).unwrap(), value);
        let rows = [
            // Over the end of the first chunk, in one run; then one to the end of the chromosome.
            row("b", CHUNK - 100, CHUNK + 100, 7.26),
            row("b", CHUNK + 200, CHUNK + 300, 1.0),
            row("b", length - 200, length, 3.0),
            row("a", 0, 200, 4.0),
        ];
        write_bigwig(&path, &sizes, rows).unwrap();
        let caller = PeakCaller::new(2.0);
        let found = caller.call(&BigWig::open(&path).unwrap()).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|peak| {
                let interval = &peak.interval;
                let (name, score) = (peak.name.as_deref().unwrap(), peak.score.unwrap());
                (
                    interval.chrom(),
                    interval.start(),
                    interval.end(),
                    name,
                    score,
                    peak.summit(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("a", 0, 200, "peak_1", 40.0, Some(100)),
                ("b", CHUNK - 100, CHUNK + 100, "peak_2", 72.0, Some(CHUNK)),
                (
                    "b",
                    length - 200,
                    length,
                    "peak_3",
                    30.0,
                    Some(length - 100)
                ),
            ]
        );
    }

    proptest! {
        // Few values, so that runs, gaps and ties are common; the caller below looks at single bases.
        #[test]
        fn call_equals_a_search_base_by_base(
            values in prop::collection::vec(0_u8..4, 0..60), cutoff in 1_u8..4, min_length in 0_u64..8, max_gap in 0_u64..5,
        ) {
            let caller = PeakCaller { cutoff: f32::from(cutoff), min_length, max_gap };
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let above: Vec<usize> = (0..values.len()).filter(|&i| values[i] >= caller.cutoff).collect();
            let expected: Vec<(u64, u64)> = above
                .chunk_by(|a, b| ((b - a - 1) as u64) <= max_gap)
                .map(|group| (group[0] as u64, group[group.len() - 1] as u64 + 1))
                .filter(|(start, end)| end - start >= min_length)
                .collect();
            let found = call(caller, &values);
            let spans: Vec<(u64, u64)> = found.iter().map(|peak| (peak.start, peak.end)).collect();
            prop_assert_eq!(spans, expected);
            for peak in found {
                let inside = &values[peak.start as usize..peak.end as usize];
                let highest = inside.iter().copied().fold(0.0, f32::max);
                prop_assert_eq!(peak.highest, highest);
                prop_assert_eq!(values[peak.summit as usize], highest);
            }
        }
    }
}
