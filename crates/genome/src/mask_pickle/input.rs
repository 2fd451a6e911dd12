//! The bytes of a pickle, and masks of one byte a base as runs.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::MAX_STRING;
use crate::error::GenomeError;
use crate::input_file::open_input;

/// The bytes of the file and the position in them.
pub(super) struct Input {
    path: PathBuf,
    reader: BufReader<File>,
    offset: u64,
    n_stored: u64,
}

impl Input {
    /// Opens a file at its first byte.
    pub(super) fn open(path: &Path) -> Result<Self, GenomeError> {
        let file = open_input(path)?;
        let metadata = file.metadata().map_err(GenomeError::io(path, "read"))?;
        Ok(Input {
            path: path.to_path_buf(),
            reader: BufReader::with_capacity(1 << 18, file),
            offset: 0,
            n_stored: metadata.len(),
        })
    }

    /// An error at this position.
    pub(super) fn refuse(&self, reason: impl Into<String>) -> GenomeError {
        GenomeError::CorruptAtByte {
            path: self.path.clone(),
            offset: self.offset,
            reason: reason.into(),
        }
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], GenomeError> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => {
                self.offset += N as u64;
                Ok(bytes)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(self.refuse("the pickle was cut off here; get the file again"))
            }
            Err(error) => Err(GenomeError::io(&self.path, "read")(error)),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, GenomeError> {
        Ok(self.bytes::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u64, GenomeError> {
        Ok(u64::from(u32::from_le_bytes(self.bytes()?)))
    }

    pub(super) fn u64(&mut self) -> Result<u64, GenomeError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    /// A short string, as bytes.
    pub(super) fn string(&mut self, length: u64) -> Result<Rc<[u8]>, GenomeError> {
        self.check_length(length)?;
        let mut bytes = vec![0; length as usize];
        for byte in &mut bytes {
            *byte = self.byte()?;
        }
        Ok(bytes.into())
    }

    /// A line without its end, as the text operations write names.
    pub(super) fn line(&mut self) -> Result<String, GenomeError> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
                _ if line.len() as u64 == MAX_STRING => {
                    return Err(self.refuse("a name is too long"));
                }
                byte => line.push(byte),
            }
        }
    }

    fn check_length(&self, length: u64) -> Result<(), GenomeError> {
        match length <= self.n_stored.saturating_sub(self.offset) {
            true => Ok(()),
            false => Err(self.refuse("the pickle was cut off here; get the file again")),
        }
    }

    /// The runs of ones in a string of zeros and ones.
    pub(super) fn runs(&mut self, length: u64, max_runs: usize) -> Result<Runs, GenomeError> {
        self.check_length(length)?;
        let mut runs = Runs {
            length,
            ones: Vec::new(),
        };
        let mut position = 0;
        let mut open = None;
        while position < length {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) => return Err(GenomeError::io(&self.path, "read")(error)),
            };
            let n = (buffer.len() as u64).min(length - position) as usize;
            if n == 0 {
                return Err(self.refuse("the pickle was cut off here; get the file again"));
            }
            let bad = runs.extend(&buffer[..n], position, &mut open);
            self.reader.consume(n);
            if let Some(index) = bad {
                self.offset += index as u64;
                return Err(self.refuse("a mask holds zeros and ones, and here is something else"));
            }
            if runs.ones.len() > max_runs {
                return Err(self.refuse("the masks have too many pieces to be regions"));
            }
            self.offset += n as u64;
            position += n as u64;
        }
        runs.ones.extend(open.map(|start| (start, length)));
        Ok(runs)
    }
}

/// Where an array is true.
#[derive(Debug)]
pub(super) struct Runs {
    /// Bases of the mask.
    pub(super) length: u64,
    /// First base and one past the last, in order.
    pub(super) ones: Vec<(u64, u64)>,
}

impl Runs {
    /// Goes on at `position`; `open` is the start of a run that has not ended. Gives the index of a
    /// byte that is neither 0 nor 1.
    fn extend(&mut self, bytes: &[u8], position: u64, open: &mut Option<u64>) -> Option<usize> {
        let mut index = 0;
        while index < bytes.len() {
            // Eight bases at a time where nothing changes, which is nearly everywhere.
            if let Some(eight) = bytes.get(index..index + 8)
                && let Ok(eight) = <[u8; 8]>::try_from(eight)
                && eight == [u8::from(open.is_some()); 8]
            {
                index += 8;
                continue;
            }
            let at = position + index as u64;
            match (bytes[index], *open) {
                (1, None) => *open = Some(at),
                (0, Some(start)) => {
                    self.ones.push((start, at));
                    *open = None;
                }
                (0 | 1, _) => {}
                _ => return Some(index),
            }
            index += 1;
        }
        None
    }

    /// The runs of ones in a string of zeros and ones; nothing for another string.
    pub(super) fn of(bytes: &[u8]) -> Option<Runs> {
        let mut runs = Runs {
            length: bytes.len() as u64,
            ones: Vec::new(),
        };
        let mut open = None;
        match runs.extend(bytes, 0, &mut open) {
            Some(_) => None,
            None => {
                runs.ones.extend(open.map(|start| (start, runs.length)));
                Some(runs)
            }
        }
    }
}
