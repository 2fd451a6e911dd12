//! Writing regions as BED.

use std::borrow::Borrow;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use noodles::bgzf;
use noodles::csi::binning_index::index::reference_sequence::bin::Chunk;

use super::Region;
use super::position_index::PositionIndex;
use crate::atomic::{AtomicFile, remove_if_there, write_atomic};
use crate::error::{GenomeError, shorten};
use crate::interval::Interval;

/// Writes a BED file as BGZF with an index beside it that tabix reads: `.tbi`, or `.csi` when a row ends past position
/// 2^29, which is as far as the former reaches.
///
/// Each of `header_lines` starts with `#`. A row is written with as many columns as it needs;
/// unknown name, score and strand before the last one are `.`. Rows must be sorted: those of a
/// chromosome together, by start. [`read_regions`](crate::read_regions) reads the rows back as they are.
///
/// Both files are written to temporary neighbours and renamed at the end. An older index is
/// removed before the new data appear, so that the two never disagree.
///
/// # Errors
/// [`GenomeError::Unsorted`]; [`GenomeError::Unwritable`] for text that would break the format,
/// a score that is not finite, or a position over 2^32 (no index reaches it); [`GenomeError::Io`].
pub fn write_bed_tabix<R: Borrow<Region>>(
    path: impl AsRef<Path>,
    header_lines: &[String],
    rows: impl IntoIterator<Item = R>,
) -> Result<(), GenomeError> {
    let path = path.as_ref();
    let mut data_file = AtomicFile::create(path)?;
    let index = write_data(path, data_file.writer(), header_lines, rows)?;
    let beside = |ending: &str| {
        let mut name = OsString::from(path);
        name.push(ending);
        PathBuf::from(name)
    };
    let ending = index.ending();
    let index_path = beside(ending);
    let mut index_file = AtomicFile::create(&index_path)?;
    index
        .write(index_file.writer())
        .map_err(GenomeError::io(&index_path, "write to"))?;

    index_file.remove_older()?;
    for other in PositionIndex::ENDINGS {
        if other != ending {
            remove_if_there(&beside(other))?;
        }
    }
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
) -> Result<PositionIndex, GenomeError> {
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

    let mut index = PositionIndex::default();
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
        if !index.add(interval, chunk) {
            return Err(GenomeError::Unwritable {
                path: path.to_path_buf(),
                row,
                column: "end",
                value: interval.end().to_string(),
                reason: "an index ends at position 4294967296",
            });
        }
    }
    writer.try_finish().map_err(&refuse)?;
    Ok(index)
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
