//! The index beside a FASTA file, `.fai`: where each sequence lies.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use super::blocks::Bytes;
use super::scan::{BYTE_ORDER_MARK, name_of};
use crate::error::{GenomeError, shorten};
use crate::interval::Interval;
use crate::lines::Lines;

/// Where one sequence lies among the uncompressed bytes of a FASTA file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    /// Number of bases.
    pub(super) length: u64,
    /// Byte of the first base.
    pub(super) offset: u64,
    /// Bases of a full line.
    pub(super) line_bases: u64,
    /// Bytes of a full line with its line end.
    pub(super) line_width: u64,
}

impl Record {
    /// Byte of a base, 0-based; `None` when the index's numbers overflow.
    pub(super) fn byte_of(&self, position: u64) -> Option<u64> {
        if self.line_bases == 0 {
            return (position == 0).then_some(self.offset);
        }
        (position / self.line_bases)
            .checked_mul(self.line_width)?
            .checked_add(position % self.line_bases)?
            .checked_add(self.offset)
    }

    /// One past the byte of the last base.
    pub(super) fn end(&self) -> Option<u64> {
        match self.length {
            0 => Some(self.offset),
            n => self.byte_of(n - 1)?.checked_add(1),
        }
    }
}

/// Reads a `.fai`: name, length, offset, bases of a line, bytes of a line.
pub(super) fn read_fai(path: &Path) -> Result<Vec<Record>, GenomeError> {
    let mut lines = Lines::open(path)?;
    let mut records = Vec::new();
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    while let Some((line, text)) = lines.next_line()? {
        if text.is_empty() {
            continue;
        }
        let fields: Vec<&str> = text.split('\t').collect();
        let [name, length, offset, line_bases, line_width] = fields[..] else {
            return Err(GenomeError::FieldCount {
                path: path.to_path_buf(),
                line,
                expected: "5 (name, length, offset, bases and bytes of a line)".to_string(),
                found: fields.len(),
            });
        };
        let invalid = |column: &str, value: &str, expected| GenomeError::InvalidField {
            path: path.to_path_buf(),
            line,
            column: column.to_string(),
            value: shorten(value),
            expected,
        };
        let number = |column, value: &str| {
            value
                .parse::<u64>()
                .map_err(|_| invalid(column, value, "a whole number"))
        };
        let record = Record {
            name: name.to_string(),
            length: number("length", length)?,
            offset: number("offset", offset)?,
            line_bases: number("bases of a line", line_bases)?,
            line_width: number("bytes of a line", line_width)?,
        };
        Interval::try_new(name, 0, record.length)
            .map_err(|_| invalid("name", name, "a sequence's name, or it is too long"))?;
        let line_end = record.line_width.checked_sub(record.line_bases);
        if line_end.is_none_or(|n| n > 2) || (record.length > 0 && record.line_bases == 0) {
            return Err(invalid(
                "bytes of a line",
                line_width,
                "the bases of a line and one or two bytes of line end",
            ));
        }
        if record.end().is_none() {
            return Err(invalid("offset", offset, "a byte of any file"));
        }
        if let Some(first_line) = first_lines.insert(record.name.clone(), line) {
            return Err(GenomeError::Duplicate {
                path: path.to_path_buf(),
                line,
                column: "sequence".to_string(),
                value: shorten(&record.name),
                first_line,
            });
        }
        records.push(record);
    }
    if records.is_empty() {
        return Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "sequence",
        });
    }
    Ok(records)
}

/// Writes the text of a `.fai`.
pub(super) fn write_fai(records: &[Record], out: &mut impl Write) -> io::Result<()> {
    for r in records {
        writeln!(
            out,
            "{}\t{}\t{}\t{}\t{}",
            r.name, r.length, r.offset, r.line_bases, r.line_width
        )?;
    }
    Ok(())
}

/// Compares an index with the file: before each sequence there must be its header line, and
/// nowhere between or after them any base. Sequences without a base may be missing from an
/// index: samtools leaves them out.
///
/// Together with the line ends that every read checks this finds each edit that moves a base.
pub(super) fn check_fai(
    path: &Path,
    indexed: &Path,
    records: &[Record],
    bytes: &Bytes,
) -> Result<(), GenomeError> {
    let stale = |reason: String| GenomeError::StaleIndex {
        path: path.to_path_buf(),
        indexed: indexed.to_path_buf(),
        reason,
    };
    let mut in_file: Vec<&Record> = records.iter().collect();
    in_file.sort_by_key(|record| record.offset);
    let mut gap = Vec::new();
    let (mut previous_end, mut after_bases) = (0, false);
    for record in in_file {
        let name = shorten(&record.name);
        let end = record.end().unwrap_or(u64::MAX);
        if end > bytes.len() {
            return Err(stale(format!(
                "{name} would end at byte {end} of {}; the sequence file was cut off or changed",
                bytes.len()
            )));
        }
        let header = read_gap(bytes, previous_end, record.offset, &mut gap)?
            .then(|| last_header(&gap, after_bases))
            .flatten();
        // The last header line may stand without a line end, before no base.
        let complete = gap.ends_with(b"\n") || record.offset == bytes.len();
        if !complete || header.map(name_of) != Some(record.name.as_bytes()) {
            return Err(stale(format!(
                "no header line {name} before byte {}",
                record.offset
            )));
        }
        (previous_end, after_bases) = (end, record.length > 0);
    }
    let only_headers = read_gap(bytes, previous_end, bytes.len(), &mut gap)?
        && last_header(&gap, after_bases).is_some();
    if only_headers {
        return Ok(());
    }
    Err(stale(format!(
        "{} bytes follow the last sequence it knows; the sequence file was changed",
        bytes.len() - previous_end
    )))
}

/// Reads what lies between two sequences; `false` when that is too long or runs backwards.
fn read_gap(bytes: &Bytes, start: u64, end: u64, gap: &mut Vec<u8>) -> Result<bool, GenomeError> {
    /// Header lines and blank lines between two sequences with bases.
    const MAX_GAP_BYTES: u64 = 1 << 20;
    gap.clear();
    if end.checked_sub(start).is_none_or(|n| n > MAX_GAP_BYTES) {
        return Ok(false);
    }
    bytes.read(start, end, gap)?;
    Ok(true)
}

/// The last header line without its `>`, empty when there is none; `None` when a line is
/// neither blank nor a header line.
///
/// After bases the text starts with the rest of their line, which must be blank.
fn last_header(gap: &[u8], after_bases: bool) -> Option<&[u8]> {
    let mut last: &[u8] = b"";
    for (index, line) in gap.split(|byte| *byte == b'\n').enumerate() {
        let line = match index {
            0 => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            _ => line,
        };
        match line.trim_ascii_end().strip_prefix(b">") {
            Some(_) if index == 0 && after_bases => return None,
            Some(header) => last = header,
            None if line.trim_ascii().is_empty() => {}
            None => return None,
        }
    }
    Some(last)
}
