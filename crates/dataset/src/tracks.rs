//! Track values over a window.

use std::collections::BTreeMap;

use genome::{Conversion, Interval, TrackFile};

use crate::chrom_alias::ChromNames;
use crate::error::DatasetError;
use crate::track_config::{NOT_FINITE, TrackConfig};
use crate::window::Window;

/// Half the width of the region whose mean is a track's activity at the start site, in bases.
///
/// # Reference
/// Promoter activity is taken over TSS ± 500 bp (ABC model convention).
pub const ACTIVITY_FLANK: u64 = 500;

/// One open track.
#[derive(Debug)]
pub(crate) struct Track {
    config: TrackConfig,
    file: TrackFile,
    names: ChromNames,
}

/// Values of one track over one window, and around its start site.
pub(crate) struct TrackValues {
    /// `[length]`, transformed; 0 where there is no data or no chromosome
    pub(crate) values: Vec<f32>,
    /// Mean of the scaled values over TSS ± [`ACTIVITY_FLANK`], no data and no chromosome = 0
    pub(crate) activity: f64,
}

impl Track {
    pub(crate) fn new(config: &TrackConfig, file: TrackFile, names: ChromNames) -> Self {
        Track {
            config: config.clone(),
            file,
            names,
        }
    }

    /// Chromosomes that genes lie on and the file does not have.
    pub(crate) fn absent_chroms(&self) -> &BTreeMap<String, usize> {
        self.names.absent()
    }

    /// What the track's file was converted into, when it is no bigWig.
    pub(crate) fn conversion(&self) -> Option<&Conversion> {
        self.file.conversion()
    }

    /// Mean of the scaled values over an interval of the genome; no data and no chromosome count as 0.
    ///
    /// # Errors
    /// [`DatasetError::InvalidTrackValue`] for an infinite value; [`DatasetError::Genome`] for a file
    /// that cannot be read there.
    pub(crate) fn mean(&self, interval: &Interval) -> Result<f64, DatasetError> {
        let Some(chrom) = self.names.get(interval.chrom())? else {
            return Ok(0.0);
        };
        let interval = Interval::try_new(chrom, interval.start(), interval.end())?;
        let values = self.file.read_values(&interval)?;
        let sum =
            sum_of_data(&values).map_err(|index| self.infinite(&interval, index, values[index]))?;
        Ok(f64::from(self.config.scale) * sum / interval.len().max(1) as f64)
    }

    /// Reads the track over a window.
    ///
    /// # Errors
    /// [`DatasetError::InvalidTrackValue`] for an infinite value or one that the transform does
    /// not take; [`DatasetError::Genome`] for a file that cannot be read there.
    pub(crate) fn read(&self, window: &Window) -> Result<TrackValues, DatasetError> {
        let mut values = vec![0.0; window.length() as usize];
        let Some(chrom) = self.names.get(window.chrom())? else {
            return Ok(TrackValues {
                values,
                activity: 0.0,
            });
        };
        let near = near_tss(window);
        // One read serves both the window and the surroundings of the start site.
        let hull = Interval::try_new(
            chrom,
            window.inside().start().min(near.0),
            window.inside().end().max(near.1),
        )?;
        let mut raw = self.file.read_values(&hull)?;
        let scale = self.config.scale;
        raw.iter_mut().for_each(|value| *value *= scale);
        let at = |position: u64| (position - hull.start()) as usize;

        let inside = &raw[at(window.inside().start())..at(window.inside().end())];
        let left = window.left_padding() as usize;
        for (index, (value, raw)) in values[left..].iter_mut().zip(inside).enumerate() {
            *value = self.config.transformed(*raw).map_err(|reason| {
                let offset = at(window.inside().start()) + index;
                self.invalid(&hull, offset, *raw, reason)
            })?;
        }
        let activity = mean_of_data(&raw[at(near.0)..at(near.1)]).map_err(|index| {
            let offset = at(near.0) + index;
            self.infinite(&hull, offset, raw[offset])
        })?;
        Ok(TrackValues { values, activity })
    }

    fn infinite(&self, interval: &Interval, offset: usize, value: f32) -> DatasetError {
        self.invalid(interval, offset, value, NOT_FINITE)
    }

    /// The error for the value of one base of an interval of the file.
    fn invalid(
        &self,
        interval: &Interval,
        offset: usize,
        value: f32,
        reason: &'static str,
    ) -> DatasetError {
        let base = interval.start() + offset as u64 + 1;
        DatasetError::InvalidTrackValue {
            path: self.file.path().to_path_buf(),
            region: format!("{}:{base}-{base}", interval.chrom()),
            value,
            reason,
        }
    }
}

/// The part of `[tss - 500, tss + 500)` that lies on the chromosome, 0-based half-open.
pub(crate) fn near_tss(window: &Window) -> (u64, u64) {
    (
        window.tss().saturating_sub(ACTIVITY_FLANK),
        (window.tss() + ACTIVITY_FLANK).min(window.chrom_length()),
    )
}

/// Mean over the whole `2 * ACTIVITY_FLANK` bases; bases without data and bases that are not on the
/// chromosome count as 0.
///
/// # Errors
/// The index of an infinite value.
fn mean_of_data(values: &[f32]) -> Result<f64, usize> {
    Ok(sum_of_data(values)? / (2 * ACTIVITY_FLANK) as f64)
}

/// Sum of the values, NaN (no data) counting as 0.
///
/// # Errors
/// The index of the first infinite value.
fn sum_of_data(values: &[f32]) -> Result<f64, usize> {
    let sum: f64 = values
        .iter()
        .filter(|value| !value.is_nan())
        .map(|value| f64::from(*value))
        .sum();
    // A sum of finite single-precision values is finite in double precision.
    match sum.is_finite() {
        true => Ok(sum),
        false => Err(values
            .iter()
            .position(|value| value.is_infinite())
            .unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_data_counts_missing_bases_as_zero() {
        assert_eq!(mean_of_data(&[]), Ok(0.0));
        assert_eq!(mean_of_data(&[f32::NAN; 1000]), Ok(0.0));
        assert_eq!(mean_of_data(&[4.0; 250]), Ok(1.0)); // 250 * 4 / 1000
    }

    #[test]
    fn sum_of_data_finds_the_first_infinite_value() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let cases: [(&[f32], Result<f64, usize>); 5] = [
            (&[1.0, nan, 2.0], Ok(3.0)),
            (&[f32::MAX, f32::MAX], Ok(2.0 * f64::from(f32::MAX))),
            (&[1.0, nan, inf, -inf], Err(2)),
            (&[-inf], Err(0)),
            (&[nan, -inf, inf], Err(1)),
        ];
        for (values, expected) in cases {
            assert_eq!(sum_of_data(values), expected, "{values:?}");
        }
    }

    #[test]
    fn near_tss_is_clipped_at_both_chromosome_ends() {
        let cases = [
            (600, 5000, (100, 1100)),
            (500, 5000, (0, 1000)),
            (0, 5000, (0, 500)),
            (4999, 5000, (4499, 5000)),
            (0, 1, (0, 1)),
        ];
        for (tss, chrom_length, expected) in cases {
            let window = Window::centered_on("c", tss, 10, chrom_length).unwrap();
            assert_eq!(near_tss(&window), expected, "{tss}");
        }
    }
}
