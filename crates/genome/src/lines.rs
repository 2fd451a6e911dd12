//! Text files line by line, plain or compressed.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::GenomeError;
use crate::input_file::{foreign_content, open_input};
use crate::packing::{GzipMembers, Packing, bgzf_end};

/// Longest line accepted; a binary file given by mistake must not fill the memory.
const MAX_LINE_BYTES: u64 = 1 << 26;

/// The lines of a text file, with their numbers; gzip and bgzip are unpacked on the way.
pub(crate) struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    line: u64,
}

impl Lines {
    /// Opens a file. A BGZF file without its end marker is refused, which was cut off, and so is what
    /// begins as no text does.
    pub(crate) fn open(path: &Path) -> Result<Self, GenomeError> {
        let mut file = open_input(path)?;
        let refuse = GenomeError::io(path, "read");
        if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(refuse(io::ErrorKind::IsADirectory.into()));
        }
        let packing = Packing::of(&mut file).map_err(&refuse)?;
        if packing == Packing::Bgzf {
            bgzf_end(path, &mut file)?;
        }
        let buffered = BufReader::with_capacity(1 << 16, file);
        let mut reader: Box<dyn BufRead + Send> = match packing {
            Packing::Plain => Box::new(buffered),
            Packing::Gzip | Packing::Bgzf => Box::new(BufReader::with_capacity(
                1 << 16,
                GzipMembers::new(buffered),
            )),
        };
        let head = reader
            .fill_buf()
            .map_err(|error| refuse_packed(path, 1, error))?;
        if let Some(content) = foreign_content(head) {
            return Err(GenomeError::CorruptAtByte {
                path: path.to_path_buf(),
                offset: 0,
                reason: format!("this is {content}"),
            });
        }
        Ok(Lines {
            path: path.to_path_buf(),
            reader,
            buffer: Vec::new(),
            line: 0,
        })
    }

    /// The next line without its line end (`\n` or `\r\n`) and its number from 1.
    ///
    /// # Errors
    /// With the line: compressed data that is cut off or damaged, text that is not UTF-8, a line that
    /// is too long, a file whose lines end in `\r` alone.
    pub(crate) fn next_line(&mut self) -> Result<Option<(u64, &str)>, GenomeError> {
        let n_bytes = self.fill_buffer()?;
        if n_bytes == 0 {
            return Ok(None);
        }
        let line = self.line;
        let refuse = |reason: String| GenomeError::InvalidLine {
            path: self.path.clone(),
            line,
            reason,
        };
        if line == 1 && has_old_line_ends(&self.buffer) {
            return Err(refuse(OLD_LINE_ENDS.to_string()));
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
        } else if n_bytes as u64 > MAX_LINE_BYTES {
            return Err(refuse(format!(
                "the line is longer than {MAX_LINE_BYTES} bytes; is this a text file?"
            )));
        }
        let mut bytes = self.buffer.as_slice();
        if line == 1 {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        if bytes.contains(&0) {
            let at = bytes.iter().position(|&byte| byte == 0).unwrap_or(0);
            return Err(refuse(format!(
                "byte {at} of the line is 0, which no text has; the file is damaged or no text, get it again"
            )));
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some((line, text))),
            Err(error) => Err(refuse(format!(
                "byte {} of the line is not UTF-8 text; save the file as UTF-8",
                error.valid_up_to()
            ))),
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The line that [`next_line`](Self::next_line) returned last, but for a byte-order mark.
    pub(crate) fn last_line(&self) -> &str {
        std::str::from_utf8(&self.buffer).unwrap_or_default()
    }

    /// Reads the next line into the buffer, with its line end; the number of its bytes is 0 at the end.
    fn fill_buffer(&mut self) -> Result<usize, GenomeError> {
        self.buffer.clear();
        let line = self.line + 1;
        let n_bytes = (&mut self.reader)
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|error| refuse_packed(&self.path, line, error))?;
        if n_bytes > 0 {
            self.line = line;
        }
        Ok(n_bytes)
    }
}

/// The error for a line that cannot be read.
fn refuse_packed(path: &Path, line: u64, error: io::Error) -> GenomeError {
    match error.kind() {
        // What flate2 reports for compressed data that is cut off or damaged.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            GenomeError::InvalidLine {
                path: path.to_path_buf(),
                line,
                reason: format!(
                    "the compressed data is cut off or damaged here ({error}); get the file again"
                ),
            }
        }
        _ => GenomeError::io(path, "read")(error),
    }
}

/// Unpacks the whole of a compressed text file, and finds out so whether it is damaged.
///
/// # Errors
/// The line where it is; nothing about a file that is not compressed.
pub(crate) fn check_packed(path: &Path) -> Result<(), GenomeError> {
    let mut file = open_input(path)?;
    if Packing::of(&mut file).map_err(GenomeError::io(path, "read"))? == Packing::Plain {
        return Ok(());
    }
    let mut lines = Lines::open(path)?;
    while lines.fill_buffer()? > 0 {}
    Ok(())
}

const OLD_LINE_ENDS: &str = "the lines end in a carriage return alone, as on an old Macintosh; convert \
    the file with: tr '\\r' '\\n' < FILE > NEW_FILE";

/// Whether the whole of a file, which is its first line then, has lines that end in `\r` alone.
fn has_old_line_ends(first_line: &[u8]) -> bool {
    !first_line.ends_with(b"\n") && first_line.trim_ascii_end().contains(&b'\r')
}

#[cfg(test)]
mod tests;
