//! A file read by position, so that threads share one handle without sharing a cursor.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

/// A cursor of its own over a shared file.
///
/// There is no buffer: each read is one system call for exactly the bytes asked for.
#[derive(Debug)]
pub(crate) struct PositionalFile {
    file: Arc<File>,
    length: u64,
    position: u64,
}

impl PositionalFile {
    /// Starts at the first byte.
    pub(crate) fn new(file: Arc<File>) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(PositionalFile {
            file,
            length,
            position: 0,
        })
    }
}

impl Read for PositionalFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let n_bytes = std::os::unix::fs::FileExt::read_at(&*self.file, buffer, self.position)?;
        #[cfg(windows)]
        let n_bytes = std::os::windows::fs::FileExt::seek_read(&*self.file, buffer, self.position)?;
        self.position += n_bytes as u64;
        Ok(n_bytes)
    }
}

impl Seek for PositionalFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// Reads at an offset without moving a cursor that other threads share.
pub(crate) fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
    }
    #[cfg(windows)]
    {
        let mut n_read = 0;
        while n_read < out.len() {
            let at = offset + n_read as u64;
            match std::os::windows::fs::FileExt::seek_read(file, &mut out[n_read..], at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => n_read += n,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn cursors_on_one_file_do_not_move_each_other() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        let file = Arc::new(file);
        let mut first = PositionalFile::new(Arc::clone(&file)).unwrap();
        let mut second = PositionalFile::new(file).unwrap();
        let mut buffer = [0; 2];
        first.seek(SeekFrom::Start(2)).unwrap();
        second.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"ab");
        first.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"cd");
    }

    #[test]
    fn seek_cases() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abcdef").unwrap();
        let mut source = PositionalFile::new(Arc::new(file)).unwrap();
        let cases = [
            (SeekFrom::End(0), Some(6)),
            (SeekFrom::End(-6), Some(0)),
            (SeekFrom::Current(3), Some(3)),
            (SeekFrom::Current(-4), None),
            (SeekFrom::Start(u64::MAX), Some(u64::MAX)),
            (SeekFrom::Current(1), None),
        ];
        for (to, expected) in cases {
            assert_eq!(source.seek(to).ok(), expected, "{to:?}");
        }
    }
}
