//! Regions of a BED or narrowPeak file, in and out.

mod position_index;
mod write;

use std::path::Path;

use crate::error::{GenomeError, shorten};
use crate::interval::{Interval, Strand};
use crate::lines::Lines;
use crate::mask_pickle;

pub use write::{write_bed, write_bed_tabix};

/// One row of a BED file.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Where it lies.
    pub interval: Interval,
    /// Column 4, unless it is `.`.
    pub name: Option<String>,
    /// Column 5, unless it is `.`; finite, in no fixed range.
    pub score: Option<f64>,
    /// Column 6, unless it is `.`.
    pub strand: Option<Strand>,
    /// The columns from the 7th on, as text.
    pub rest: Vec<String>,
}

impl Region {
    /// Makes a region that is only an interval.
    pub fn new(interval: Interval) -> Self {
        Region {
            interval,
            name: None,
            score: None,
            strand: None,
            rest: Vec::new(),
        }
    }

    /// The summit of a narrowPeak row (10 columns), 0-based; `None` when it was not called, or lies
    /// [outside](Self::summit_outside).
    pub fn summit(&self) -> Option<u64> {
        let offset: u64 = self.summit_offset()?.parse().ok()?;
        let position = self.interval.start().checked_add(offset)?;
        self.interval.contains(position).then_some(position)
    }

    /// The offset of a narrowPeak row's summit when that is no base of the peak; -1 says that none was called.
    ///
    /// Tools that cut peaks (`bedtools subtract`) leave it as it was.
    pub fn summit_outside(&self) -> Option<&str> {
        let offset = self.summit_offset()?;
        let is_number = offset.parse::<i64>().is_ok_and(|offset| offset != -1);
        (is_number && self.summit().is_none()).then_some(offset)
    }

    /// Column 10 of a row that has so many.
    fn summit_offset(&self) -> Option<&str> {
        match self.rest.as_slice() {
            [_signal, _p_value, _q_value, offset] => Some(offset),
            _ => None,
        }
    }
}

/// Reads a BED file with 3 or more columns, or a narrowPeak file; plain, gzip or bgzip.
///
/// Columns are separated by tabs, or by blanks in a line without a tab. Empty lines, lines that
/// start with `#` and `track` and `browser` lines are skipped. Rows keep the order of the file;
/// rows that repeat an interval are kept (narrowPeak has one row a summit).
///
/// A file that begins with the byte 0x80 is a Python pickle: a dictionary of chromosome names and
/// one-dimensional numpy arrays of booleans, one a base, as the released data set has its
/// blocklist. It is read without executing anything and without holding an array in memory.
///
/// # Errors
/// [`GenomeError`] with path and line: too few columns, a position that is no number, an end
/// before its start, a score that is no finite number, a strand that is not `+`, `-` or `.`.
pub fn read_regions(path: impl AsRef<Path>) -> Result<Vec<Region>, GenomeError> {
    let mut regions = Vec::new();
    for_each_region(path, |_, region| {
        regions.push(region);
        Ok::<(), GenomeError>(())
    })?;
    Ok(regions)
}

/// Hands each region of a file that [`read_regions`] reads to `visit`, with its line, from 1, in the
/// order of the file; a pickle has no lines.
///
/// # Errors
/// As [`read_regions`], and whatever `visit` returns, which ends the reading.
pub fn for_each_region<E: From<GenomeError>>(
    path: impl AsRef<Path>,
    mut visit: impl FnMut(Option<u64>, Region) -> Result<(), E>,
) -> Result<(), E> {
    let path = path.as_ref();
    if mask_pickle::is_pickle(path)? {
        let mut regions = mask_pickle::read_mask_pickle(path)?.into_iter();
        return regions.try_for_each(|region| visit(None, region));
    }
    let mut lines = Lines::open(path)?;
    while let Some((line, text)) = lines.next_line()? {
        if !is_comment(text) {
            visit(Some(line), parse_row(path, line, text)?)?;
        }
    }
    Ok(())
}

/// The comments, lines that start with `#`, before the first row of a BED file.
///
/// # Errors
/// [`GenomeError`] when the file cannot be read.
pub fn read_bed_comments(path: impl AsRef<Path>) -> Result<Vec<String>, GenomeError> {
    let mut lines = Lines::open(path.as_ref())?;
    let mut comments = Vec::new();
    while let Some((_, text)) = lines.next_line()? {
        match is_comment(text) {
            true if text.starts_with('#') => comments.push(text.to_string()),
            true => {}
            false => break,
        }
    }
    Ok(comments)
}

/// Whether a line holds no row: it is empty, a comment or a line for a genome browser.
pub(crate) fn is_comment(text: &str) -> bool {
    text.trim().is_empty()
        || text.starts_with('#')
        || ["track", "browser"].iter().any(|word| {
            text.strip_prefix(word)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
}

/// Cuts a row at its tabs, or at its blanks when it has no tab.
pub(crate) fn fields_of(text: &str) -> Vec<&str> {
    match text.contains('\t') {
        true => text.split('\t').collect(),
        false => text.split_whitespace().collect(),
    }
}

/// A row of a file and what to call its columns in an error.
#[derive(Clone, Copy)]
pub(crate) struct BedRow<'a> {
    pub(crate) path: &'a Path,
    pub(crate) line: u64,
    /// Appended to the column names, for example ` 2` for the second end of a pair.
    pub(crate) suffix: &'static str,
}

impl BedRow<'_> {
    fn invalid(&self, column: &str, value: &str, expected: &'static str) -> GenomeError {
        GenomeError::InvalidField {
            path: self.path.to_path_buf(),
            line: self.line,
            column: format!("{column}{}", self.suffix),
            value: shorten(value),
            expected,
        }
    }

    /// Reads three columns as an interval.
    pub(crate) fn interval(
        &self,
        chrom: &str,
        start: &str,
        end: &str,
    ) -> Result<Interval, GenomeError> {
        let position = |column, value: &str| {
            value
                .trim()
                .parse::<u64>()
                .map_err(|_| self.invalid(column, value, "a whole number (0-based position)"))
        };
        let (first, last) = (position("start", start)?, position("end", end)?);
        if last < first {
            return Err(self.invalid("end", end, "at or after the start of the row"));
        }
        Interval::try_new(chrom, first, last).map_err(|error| match error {
            GenomeError::InvalidInterval { reason, .. } if reason.contains("long") => {
                self.invalid("end", end, "a position on a chromosome: it is too large")
            }
            _ => self.invalid("chromosome", chrom, "a chromosome's name"),
        })
    }

    /// Reads a score; nothing for `.` or an empty field.
    pub(crate) fn score(&self, text: Option<&str>) -> Result<Option<f64>, GenomeError> {
        known(text)
            .map(|text| match text.parse::<f64>() {
                Ok(score) if score.is_finite() => Ok(score),
                _ => Err(self.invalid("score", text, "a finite number or \".\"")),
            })
            .transpose()
    }

    /// Reads a strand; nothing for `.` or an empty field.
    pub(crate) fn strand(&self, text: Option<&str>) -> Result<Option<Strand>, GenomeError> {
        known(text)
            .map(|text| {
                text.parse()
                    .map_err(|_| self.invalid("strand", text, "+, - or \".\""))
            })
            .transpose()
    }
}

/// The text of an optional column; nothing for `.` or an empty field.
pub(crate) fn known(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !matches!(*text, "" | "."))
}

/// Reads one row of a BED file.
fn parse_row(path: &Path, line: u64, text: &str) -> Result<Region, GenomeError> {
    let fields = fields_of(text);
    let [chrom, start, end, others @ ..] = fields.as_slice() else {
        return Err(GenomeError::FieldCount {
            path: path.to_path_buf(),
            line,
            expected: "at least 3 (chromosome, start, end)".to_string(),
            found: fields.len(),
        });
    };
    let row = BedRow {
        path,
        line,
        suffix: "",
    };
    let column = |index: usize| others.get(index).copied();
    Ok(Region {
        interval: row.interval(chrom, start, end)?,
        name: known(column(0)).map(str::to_string),
        score: row.score(column(1))?,
        strand: row.strand(column(2))?,
        rest: others.iter().skip(3).map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests;
