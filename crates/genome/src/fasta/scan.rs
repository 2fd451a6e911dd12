//! Finding the sequences of a FASTA file by reading all of it.

use std::collections::HashMap;
use std::path::Path;

use super::blocks::Bytes;
use super::fai::Record;
use crate::error::{GenomeError, shorten};
use crate::interval::Interval;

/// Finds the sequences of a FASTA file.
pub(super) fn find_records(path: &Path, bytes: &Bytes) -> Result<Vec<Record>, GenomeError> {
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
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The name in a header line without its `>`: all up to the first white space.
pub(super) fn name_of(header: &[u8]) -> &[u8] {
    header
        .split(|byte| byte.is_ascii_whitespace())
        .next()
        .unwrap_or_default()
}

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
