//! Regions of a BED or narrowPeak file, in and out.

use std::borrow::Borrow;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use noodles::bgzf;
use noodles::core::Position;
use noodles::csi::binning_index::index::header;
use noodles::csi::binning_index::index::reference_sequence::bin::Chunk;
use noodles::tabix;

use crate::atomic::{AtomicFile, write_atomic};
use crate::error::{GenomeError, shorten};
use crate::interval::{Interval, Strand};
use crate::mask_pickle;
use crate::table::Lines;

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

/// Writes a BED file as BGZF with a tabix index beside it (`.tbi`).
///
/// Each of `header_lines` starts with `#`. A row is written with as many columns as it needs;
/// unknown name, score and strand before the last one are `.`. Rows must be sorted: those of a
/// chromosome together, by start. [`read_regions`] reads the rows back as they are.
///
/// Both files are written to temporary neighbours and renamed at the end. An older index is
/// removed before the new data appear, so that the two never disagree.
///
/// # Errors
/// [`GenomeError::Unsorted`]; [`GenomeError::Unwritable`] for text that would break the format,
/// a score that is not finite, or a position over 2^29 (tabix cannot index it);
/// [`GenomeError::Io`].
pub fn write_bed_tabix<R: Borrow<Region>>(
    path: impl AsRef<Path>,
    header_lines: &[String],
    rows: impl IntoIterator<Item = R>,
) -> Result<(), GenomeError> {
    let path = path.as_ref();
    let index_path = {
        let mut name = std::ffi::OsString::from(path);
        name.push(".tbi");
        PathBuf::from(name)
    };
    let mut data_file = AtomicFile::create(path)?;
    let mut index_file = AtomicFile::create(&index_path)?;
    let index = write_data(path, data_file.writer(), header_lines, rows)?;
    let mut index_writer = tabix::io::Writer::new(index_file.writer());
    index_writer
        .write_index(&index)
        .and_then(|()| index_writer.try_finish())
        .map_err(GenomeError::io(&index_path, "write to"))?;
    drop(index_writer);

    index_file.remove_older()?;
    data_file.commit()?;
    index_file.commit()
}

/// Writes a plain BED file, with as many columns a row as it needs; unknown name, score and strand before the last one
/// are `.`.
///
/// # Errors
/// As [`write_bed_tabix`], but rows may have any order and position.
pub fn write_bed<R: Borrow<Region>>(
    path: impl AsRef<Path>,
    rows: impl IntoIterator<Item = R>,
) -> Result<(), GenomeError> {
    let path = path.as_ref();
    let mut text = String::new();
    for (row, region) in (1..).zip(rows) {
        format_row(path, row, region.borrow(), &mut text)?;
    }
    write_atomic(path, |file| file.write_all(text.as_bytes()))
}

/// Writes header and rows as BGZF and returns their index.
fn write_data<R: Borrow<Region>>(
    path: &Path,
    out: impl io::Write,
    header_lines: &[String],
    rows: impl IntoIterator<Item = R>,
) -> Result<tabix::Index, GenomeError> {
    let refuse = GenomeError::io(path, "write to");
    let mut writer = bgzf::io::Writer::new(out);
    for (row, header_line) in (1..).zip(header_lines) {
        if !header_line.starts_with('#') || header_line.contains(['\n', '\r']) {
            return Err(GenomeError::Unwritable {
                path: path.to_path_buf(),
                row,
                column: "header line",
                value: shorten(header_line),
                reason: "a header line is one line that starts with #",
            });
        }
        writeln!(writer, "{header_line}").map_err(&refuse)?;
    }

    let mut indexer = tabix::index::Indexer::default();
    indexer.set_header(header::Builder::bed().build());
    let mut order = Order::default();
    let mut text = String::new();
    for (row, region) in (1..).zip(rows) {
        let region = region.borrow();
        let interval = &region.interval;
        if !order.allows(interval) {
            return Err(GenomeError::Unsorted {
                path: path.to_path_buf(),
                row,
                region: interval.to_string(),
            });
        }
        text.clear();
        format_row(path, row, region, &mut text)?;
        let from = writer.virtual_position();
        writer.write_all(text.as_bytes()).map_err(&refuse)?;
        let chunk = Chunk::new(from, writer.virtual_position());
        let (first, last) = index_positions(interval).ok_or_else(|| GenomeError::Unwritable {
            path: path.to_path_buf(),
            row,
            column: "end",
            value: interval.end().to_string(),
            reason: "a tabix index ends at position 536870912",
        })?;
        indexer
            .add_record(interval.chrom(), first, last, chunk)
            .map_err(&refuse)?;
    }
    writer.try_finish().map_err(&refuse)?;
    Ok(indexer.build())
}

/// First and last position of an interval, 1-based, as the index wants them; an empty interval
/// counts as the base at its start.
fn index_positions(interval: &Interval) -> Option<(Position, Position)> {
    const MAX_INDEXED: u64 = 1 << 29;
    let first = interval.start() + 1;
    let last = interval.end().max(first);
    if last > MAX_INDEXED {
        return None;
    }
    let position = |value: u64| Position::try_from(usize::try_from(value).ok()?).ok();
    Some((position(first)?, position(last)?))
}

/// The order of the rows that came so far.
#[derive(Default)]
struct Order {
    chroms: std::collections::HashSet<String>,
    last: Option<Interval>,
}

impl Order {
    /// Whether a row may come next; if so it becomes the last one.
    fn allows(&mut self, interval: &Interval) -> bool {
        let allowed = match &self.last {
            Some(last) if last.chrom() == interval.chrom() => last.start() <= interval.start(),
            _ => self.chroms.insert(interval.chrom().to_string()),
        };
        if allowed {
            self.last = Some(interval.clone());
        }
        allowed
    }
}

/// Appends the line of a region.
fn format_row(
    path: &Path,
    row: u64,
    region: &Region,
    text: &mut String,
) -> Result<(), GenomeError> {
    let unwritable = |column, value: &str, reason| GenomeError::Unwritable {
        path: path.to_path_buf(),
        row,
        column,
        value: shorten(value),
        reason,
    };
    let chrom = region.interval.chrom();
    if chrom.starts_with('#') {
        return Err(unwritable("chromosome", chrom, "it would be a comment"));
    }
    if let Some(name) = &region.name
        && matches!(name.as_str(), "" | ".")
    {
        return Err(unwritable("name", name, "it means that there is no name"));
    }
    for (column, value) in region.name.iter().map(|name| ("name", name)).chain(
        region
            .rest
            .iter()
            .map(|value| ("column after the strand", value)),
    ) {
        if value.contains(|c: char| c.is_control()) {
            return Err(unwritable(
                column,
                value,
                "it has a tab or a line end in it",
            ));
        }
    }
    if let Some(score) = region.score
        && !score.is_finite()
    {
        return Err(unwritable("score", &score.to_string(), "it is not finite"));
    }

    let n_columns = if !region.rest.is_empty() {
        6 + region.rest.len()
    } else if region.strand.is_some() {
        6
    } else if region.score.is_some() {
        5
    } else if region.name.is_some() {
        4
    } else {
        3
    };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{chrom}\t{}\t{}",
        region.interval.start(),
        region.interval.end()
    );
    for column in 3..n_columns {
        text.push('\t');
        let _ = match (column, &region.name, region.score, region.strand) {
            (3, Some(name), _, _) => write!(text, "{name}"),
            (4, _, Some(score), _) => write!(text, "{score}"),
            (5, _, _, Some(strand)) => write!(text, "{strand}"),
            (6.., ..) => write!(text, "{}", region.rest.get(column - 6).map_or("", |v| v)),
            _ => write!(text, "."),
        };
    }
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests;
