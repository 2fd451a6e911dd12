//! The indexes beside a FASTA file: `.fai` (where each sequence lies) and `.gzi` (where each
//! BGZF block starts).

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use crate::error::{GenomeError, shorten};
use crate::fasta::blocks::{BlockStart, Bytes};
use crate::interval::Interval;
use crate::table::Lines;

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

/// Reads a `.gzi` and adds the block at 0, which the format leaves out.
///
/// `n_stored` is the size of the indexed file.
pub(super) fn read_gzi(
    path: &Path,
    indexed: &Path,
    n_stored: u64,
) -> Result<Vec<BlockStart>, GenomeError> {
    let bytes = std::fs::read(path).map_err(GenomeError::io(path, "read"))?;
    let stale = |reason: String| GenomeError::StaleIndex {
        path: path.to_path_buf(),
        indexed: indexed.to_path_buf(),
        reason,
    };
    let mut numbers = bytes
        .chunks_exact(8)
        .map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    let n_blocks = numbers.next().unwrap_or(u64::MAX);
    let expected = n_blocks.checked_mul(16).and_then(|n| n.checked_add(8));
    if expected != Some(bytes.len() as u64) {
        return Err(stale(format!(
            "it has {} bytes, which is not what its first number promises",
            bytes.len()
        )));
    }
    let mut last = BlockStart {
        compressed: 0,
        uncompressed: 0,
    };
    let mut blocks = vec![last];
    while let (Some(compressed), Some(uncompressed)) = (numbers.next(), numbers.next()) {
        let block = BlockStart {
            compressed,
            uncompressed,
        };
        // Some writers list the first block, and those at which nothing has been added.
        if block == last {
            continue;
        }
        if compressed <= last.compressed || uncompressed < last.uncompressed {
            return Err(stale(format!("its entry {} is out of order", blocks.len())));
        }
        // No deflate stream unpacks to more than 1032 times its size.
        if compressed >= n_stored || uncompressed / 1100 > n_stored {
            return Err(stale(format!(
                "it has a block at byte {compressed} ({uncompressed} unpacked) of a file of \
                 {n_stored} bytes"
            )));
        }
        blocks.push(block);
        last = block;
    }
    Ok(blocks)
}

/// Writes the bytes of a `.gzi`; the block at 0 is left out as the format wants it.
pub(super) fn write_gzi(blocks: &[BlockStart], out: &mut impl Write) -> io::Result<()> {
    let listed = blocks.get(1..).unwrap_or_default();
    out.write_all(&(listed.len() as u64).to_le_bytes())?;
    for block in listed {
        out.write_all(&block.compressed.to_le_bytes())?;
        out.write_all(&block.uncompressed.to_le_bytes())?;
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

/// The name in a header line without its `>`: all up to the first white space.
fn name_of(header: &[u8]) -> &[u8] {
    header
        .split(|byte| byte.is_ascii_whitespace())
        .next()
        .unwrap_or_default()
}

/// Finds the sequences of a FASTA file.
pub(super) fn build_fai(path: &Path, bytes: &Bytes) -> Result<Vec<Record>, GenomeError> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let mut scan = Scan::new(path);
    let mut chunk = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(start + CHUNK_BYTES);
        chunk.clear();
        bytes.read(start, end, &mut chunk)?;
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            scan.take(piece)?;
        }
        start = end;
    }
    scan.finish()
}

/// Goes through a FASTA file in pieces of lines.
struct Scan<'a> {
    path: &'a Path,
    records: Vec<Record>,
    first_lines: HashMap<String, u64>,
    /// Line being read, from 1.
    line: u64,
    /// Byte at which it starts.
    line_start: u64,
    /// Bytes of it so far.
    n_bytes: u64,
    last_byte: u8,
    kind: LineKind,
    header: Vec<u8>,
    /// Line after which the present sequence must not go on.
    ended: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LineKind {
    NotBegun,
    Header,
    Bases,
}

impl<'a> Scan<'a> {
    fn new(path: &'a Path) -> Self {
        Scan {
            path,
            records: Vec::new(),
            first_lines: HashMap::new(),
            line: 1,
            line_start: 0,
            n_bytes: 0,
            last_byte: 0,
            kind: LineKind::NotBegun,
            header: Vec::new(),
            ended: None,
        }
    }

    fn refuse(&self, reason: impl Into<String>) -> GenomeError {
        GenomeError::InvalidLine {
            path: self.path.to_path_buf(),
            line: self.line,
            reason: reason.into(),
        }
    }

    /// Takes the next piece of the file: at most one line end, and that at its end.
    fn take(&mut self, piece: &[u8]) -> Result<(), GenomeError> {
        const MAX_HEADER_BYTES: usize = 1 << 16;
        if self.line_start + self.n_bytes == 0
            && let Some(rest) = piece.strip_prefix(BYTE_ORDER_MARK)
        {
            self.line_start = BYTE_ORDER_MARK.len() as u64;
            return self.take(rest);
        }
        if self.kind == LineKind::NotBegun {
            self.kind = match piece.first() {
                Some(b'>') => LineKind::Header,
                _ => LineKind::Bases,
            };
        }
        let (text, complete) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        if self.kind == LineKind::Header {
            self.header.extend_from_slice(text);
            if self.header.len() > MAX_HEADER_BYTES {
                return Err(self.refuse(match self.header.contains(&b'\r') {
                    true => OLD_LINE_ENDS,
                    false => "the header line is longer than 65536 bytes",
                }));
            }
        } else if self.last_byte == b'\r' && !text.is_empty() {
            return Err(self.refuse(OLD_LINE_ENDS));
        } else {
            // A carriage return at the end of a piece may belong to a line end in the next one.
            if let Some(bad) = invalid_base(without_cr(text)) {
                return Err(self.refuse(invalid_base_reason(bad)));
            }
        }
        self.n_bytes += piece.len() as u64;
        self.last_byte = text.last().copied().unwrap_or(self.last_byte);
        if complete {
            self.end_line(1 + u64::from(self.last_byte == b'\r'))?;
        }
        Ok(())
    }

    /// Closes the line; `n_line_end` is the number of bytes of its line end, 0 at the file's end.
    fn end_line(&mut self, n_line_end: u64) -> Result<(), GenomeError> {
        match self.kind {
            LineKind::Header => self.end_header()?,
            LineKind::Bases => self.end_bases(self.n_bytes - n_line_end, n_line_end)?,
            LineKind::NotBegun => {}
        }
        self.line_start += self.n_bytes;
        self.line += 1;
        self.n_bytes = 0;
        self.last_byte = 0;
        self.kind = LineKind::NotBegun;
        Ok(())
    }

    fn end_header(&mut self) -> Result<(), GenomeError> {
        let header = std::mem::take(&mut self.header);
        let text = without_cr(header.get(1..).unwrap_or_default());
        if text.contains(&b'\r') {
            return Err(self.refuse(OLD_LINE_ENDS));
        }
        let name = std::str::from_utf8(name_of(text))
            .ok()
            .filter(|name| Interval::try_new(*name, 0, 0).is_ok())
            .ok_or_else(|| self.refuse("the header line names no sequence; write >chr1"))?;
        if let Some(first_line) = self.first_lines.insert(name.to_string(), self.line) {
            return Err(GenomeError::Duplicate {
                path: self.path.to_path_buf(),
                line: self.line,
                column: "sequence".to_string(),
                value: shorten(name),
                first_line,
            });
        }
        self.records.push(Record {
            name: name.to_string(),
            length: 0,
            offset: self.line_start + self.n_bytes,
            line_bases: 0,
            line_width: 0,
        });
        self.ended = None;
        Ok(())
    }

    fn end_bases(&mut self, n_bases: u64, n_line_end: u64) -> Result<(), GenomeError> {
        let (line, ended) = (self.line, self.ended);
        let Some(record) = self.records.last_mut() else {
            return match n_bases {
                0 => Ok(()),
                _ => Err(self.refuse("bases before the first header line; is this a FASTA file?")),
            };
        };
        if n_bases == 0 {
            self.ended = ended.or(Some(line));
            return Ok(());
        }
        if let Some(short) = ended {
            let name = shorten(&record.name);
            return Err(self.refuse(format!(
                "{name} goes on after line {short}, which is blank or shorter than the lines \
                 above it; all lines of a sequence but the last must be equally long"
            )));
        }
        let n_bytes = n_bases + n_line_end;
        if record.line_bases == 0 {
            record.line_bases = n_bases;
            // Without a line end the width plays no part; one byte is what samtools assumes.
            record.line_width = n_bases + n_line_end.max(1);
        } else if n_bases > record.line_bases {
            let reason = format!(
                "a line of {n_bases} bases after lines of {}; all lines of a sequence but the \
                 last must be equally long",
                record.line_bases
            );
            return Err(self.refuse(reason));
        }
        if n_bases != record.line_bases || n_bytes != record.line_width {
            self.ended = Some(line);
        }
        record.length += n_bases;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Record>, GenomeError> {
        if self.n_bytes > 0 {
            let carriage_return = self.last_byte == b'\r' && self.kind == LineKind::Bases;
            self.end_line(u64::from(carriage_return))?;
        }
        if self.records.is_empty() {
            return Err(GenomeError::Empty {
                path: self.path.to_path_buf(),
                what: "sequence",
            });
        }
        Ok(self.records)
    }
}

const OLD_LINE_ENDS: &str = "a carriage return inside the line; write line ends as \\n or \\r\\n";

/// What some editors write at the start of a text file; it belongs to no line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn without_cr(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// The first byte that is no base: bases are letters, `*` and `-`.
pub(super) fn invalid_base(bases: &[u8]) -> Option<u8> {
    // Without an early end, so that the compiler turns the usual case into vector code.
    let all_letters = bases
        .iter()
        .fold(true, |all, byte| all & (byte | 0x20).is_ascii_lowercase());
    if all_letters {
        return None;
    }
    bases
        .iter()
        .copied()
        .find(|byte| !(byte.is_ascii_alphabetic() || matches!(byte, b'*' | b'-')))
}

fn invalid_base_reason(bad: u8) -> String {
    match bad {
        b'>' => "a > inside a line of bases; a header line must start its own line".to_string(),
        b' ' | b'\t' => "white space among the bases; remove it".to_string(),
        bad => format!("{:?} is no base; is this a FASTA file?", char::from(bad)),
    }
}
