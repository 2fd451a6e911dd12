//! Writing a track as bigWig.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use bigwig::{BigWigWriter, ChromIdOrder, ChromInfo, WriterOptions};

use crate::atomic::AtomicFile;
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::interval::Interval;

/// Intervals handed to the bigWig library at a time.
const BATCH_LEN: usize = 4096;

/// Writes a bigWig file with zoom levels: each interval gets one value, all others no data.
///
/// The chromosome tree precedes the data, as IGV and igv.js need it. Intervals come chromosome by
/// chromosome in the order of `chrom_sizes`, by start within each, and do not overlap. The file
/// appears whole or not at all, and its bytes depend on the arguments only. Chromosomes of length
/// 0 are left out.
///
/// # Errors
/// Rows count from 1. [`GenomeError::UnknownChrom`] or [`GenomeError::OutsideChrom`] for an
/// interval that its chromosome does not hold; [`GenomeError::Unsorted`] and
/// [`GenomeError::Overlapping`]; [`GenomeError::Unwritable`] for an empty interval, a value that
/// is NaN or infinite, or a chromosome longer than the format can say; [`GenomeError::Io`].
pub fn write_bigwig(
    path: impl AsRef<Path>,
    chrom_sizes: &ChromSizes,
    values: impl IntoIterator<Item = (Interval, f32)>,
) -> Result<(), GenomeError> {
    write_bigwig_with(path, chrom_sizes, |rows| {
        values
            .into_iter()
            .try_for_each(|(interval, value)| rows.push(interval, value))
    })
}

/// Writes a bigWig file, as [`write_bigwig`] does, from whatever `write` hands in.
///
/// For values that are computed or read on the way: when `write` fails, nothing is written.
///
/// # Errors
/// What `write` returns, and what [`BigWigRows::push`] and the file system refuse.
pub fn write_bigwig_with(
    path: impl AsRef<Path>,
    chrom_sizes: &ChromSizes,
    write: impl FnOnce(&mut BigWigRows<'_>) -> Result<(), GenomeError>,
) -> Result<(), GenomeError> {
    let path = path.as_ref();
    let chroms = chrom_infos(path, chrom_sizes)?;
    let mut file = AtomicFile::create(path)?;
    {
        let writer = WriterOptions::new()
            .chrom_id_order(ChromIdOrder::Listed)
            .create_with(file.writer(), &chroms)
            .map_err(|error| failed(path, error))?;
        let mut rows = BigWigRows {
            path,
            chrom_sizes,
            writer,
            batch: Vec::with_capacity(BATCH_LEN),
            previous: None,
            row: 0,
        };
        write(&mut rows)?;
        rows.push_batch()?;
        rows.writer.finish().map_err(|error| failed(path, error))?;
    }
    file.commit()
}

/// Takes the intervals of a bigWig that is being written, one after the other.
pub struct BigWigRows<'a> {
    path: &'a Path,
    chrom_sizes: &'a ChromSizes,
    writer: BigWigWriter<&'a mut BufWriter<File>>,
    /// Start, end and value of rows on one chromosome, not yet handed on.
    batch: Vec<(u32, u32, f32)>,
    /// The last row and the number of its chromosome.
    previous: Option<(usize, Interval)>,
    row: u64,
}

impl BigWigRows<'_> {
    /// Gives an interval its value.
    ///
    /// # Errors
    /// As [`write_bigwig`].
    pub fn push(&mut self, interval: Interval, value: f32) -> Result<(), GenomeError> {
        self.row += 1;
        let (start, end) = check_row(
            self.path,
            self.chrom_sizes,
            self.previous.as_ref(),
            self.row,
            &interval,
            value,
        )?;
        let chrom_index = self
            .chrom_sizes
            .index_of(interval.chrom())
            .unwrap_or(usize::MAX);
        if self.batch.len() == BATCH_LEN
            || self
                .previous
                .as_ref()
                .is_some_and(|(last_index, _)| *last_index != chrom_index)
        {
            self.push_batch()?;
        }
        self.batch.push((start, end, value));
        self.previous = Some((chrom_index, interval));
        Ok(())
    }

    fn push_batch(&mut self) -> Result<(), GenomeError> {
        if let Some((_, last)) = &self.previous {
            self.writer
                .push_intervals(last.chrom(), &self.batch)
                .map_err(|error| failed(self.path, error))?;
        }
        self.batch.clear();
        Ok(())
    }
}

fn failed(path: &Path, error: bigwig::Error) -> GenomeError {
    match error {
        bigwig::Error::Io(source) => GenomeError::io(path, "write to")(source),
        other => GenomeError::io(path, "write to")(io::Error::other(other)),
    }
}

fn chrom_infos(path: &Path, chrom_sizes: &ChromSizes) -> Result<Vec<ChromInfo>, GenomeError> {
    let mut chroms = Vec::new();
    for (index, (name, length)) in chrom_sizes.iter().enumerate() {
        let refuse = |value: String, reason| GenomeError::Unwritable {
            path: path.to_path_buf(),
            row: index as u64 + 1,
            column: "chromosome",
            value,
            reason,
        };
        // The format's keys are padded with zero bytes, and its readers split text at spaces.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refuse(
                name.to_string(),
                "a bigWig holds names of printable ASCII characters only",
            ));
        }
        let length = u32::try_from(length).map_err(|_| {
            refuse(
                format!("{name} ({length} bp)"),
                "a bigWig holds chromosomes up to 4294967295 bp",
            )
        })?;
        if length > 0 {
            chroms.push(ChromInfo::new(name, length));
        }
    }
    if chroms.is_empty() {
        return Err(GenomeError::Unwritable {
            path: path.to_path_buf(),
            row: 0,
            column: "chromosome",
            value: String::new(),
            reason: "there is no chromosome with any base",
        });
    }
    Ok(chroms)
}

/// Checks one row against its chromosome and the row before; returns its start and end.
fn check_row(
    path: &Path,
    chrom_sizes: &ChromSizes,
    previous: Option<&(usize, Interval)>,
    row: u64,
    interval: &Interval,
    value: f32,
) -> Result<(u32, u32), GenomeError> {
    chrom_sizes.check(path, interval)?;
    let unwritable = |column, value: String, reason| GenomeError::Unwritable {
        path: path.to_path_buf(),
        row,
        column,
        value,
        reason,
    };
    let region = || interval.to_string();
    if interval.is_empty() {
        return Err(unwritable("interval", region(), "it holds no base"));
    }
    if !value.is_finite() {
        return Err(unwritable(
            "value",
            value.to_string(),
            "a bigWig holds finite numbers; leave the interval out where there is no data",
        ));
    }
    if let Some((last_index, last)) = previous {
        let this_index = chrom_sizes.index_of(interval.chrom()).unwrap_or(usize::MAX);
        if (this_index, interval.start()) < (*last_index, last.start()) {
            return Err(GenomeError::Unsorted {
                path: path.to_path_buf(),
                row,
                region: region(),
            });
        }
        if this_index == *last_index && interval.start() < last.end() {
            return Err(GenomeError::Overlapping {
                path: path.to_path_buf(),
                row,
                region: region(),
            });
        }
    }
    // The chromosome's length fits in 32 bits, and the interval lies inside it.
    match (
        u32::try_from(interval.start()),
        u32::try_from(interval.end()),
    ) {
        (Ok(start), Ok(end)) => Ok((start, end)),
        _ => Err(unwritable("interval", region(), "it is past 4294967295 bp")),
    }
}
