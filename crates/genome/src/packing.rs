//! How a file's bytes are packed: not at all, with gzip, or with bgzip.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::GzDecoder;

use crate::error::GenomeError;

/// The empty block that ends every complete BGZF file (SAM specification, section 4.1.2).
const BGZF_EOF: [u8; 28] = [
    0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff, 0x06, 0, 0x42, 0x43, 0x02, 0, 0x1b, 0, 0x03, 0, 0,
    0, 0, 0, 0, 0, 0, 0,
];

/// How a file's bytes are packed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Not compressed.
    Plain,
    /// gzip, of one or more members.
    Gzip,
    /// gzip in blocks that can be read one by one, as bgzip writes it.
    Bgzf,
}

impl Packing {
    /// Looks at the first bytes of an open file and goes back to its start.
    pub(crate) fn of(file: &mut File) -> io::Result<Packing> {
        let mut head = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        (&mut *file).take(16).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(if !head.starts_with(&[0x1f, 0x8b]) {
            Packing::Plain
        } else if head.len() == 16 && head[3] & 4 != 0 && head[12..16] == [b'B', b'C', 2, 0] {
            Packing::Bgzf
        } else {
            Packing::Gzip
        })
    }
}

/// Finds where a BGZF file ends, and goes back to its start: behind the empty block that bgzip writes last. Only zeros
/// may follow, which fill up the last record of a tape.
///
/// # Errors
/// [`GenomeError::CorruptAtByte`] for a file that does not end so; [`GenomeError::Io`].
pub(crate) fn bgzf_end(path: &Path, file: &mut File) -> Result<u64, GenomeError> {
    let refuse = GenomeError::io(path, "read");
    let length = file.seek(SeekFrom::End(0)).map_err(&refuse)?;
    let n_zeros = BGZF_EOF.iter().rev().take_while(|&&byte| byte == 0).count();
    let end = (length_without_zeros(file, length).map_err(&refuse)? + n_zeros as u64).min(length);
    let mut last = [0_u8; BGZF_EOF.len()];
    if let Some(start) = end.checked_sub(last.len() as u64) {
        file.seek(SeekFrom::Start(start)).map_err(&refuse)?;
        file.read_exact(&mut last).map_err(&refuse)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(&refuse)?;
    if last == BGZF_EOF {
        return Ok(end);
    }
    Err(GenomeError::CorruptAtByte {
        path: path.to_path_buf(),
        offset: length,
        reason: "the file was cut off: the block that ends a bgzip file is missing; get it again"
            .to_string(),
    })
}

/// Number of a file's first `length` bytes up to and with the last one that is not 0.
fn length_without_zeros(file: &mut File, mut length: u64) -> io::Result<u64> {
    let mut bytes = [0_u8; 1 << 12];
    while length > 0 {
        let start = length.saturating_sub(bytes.len() as u64);
        let piece = &mut bytes[..(length - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(piece)?;
        if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        length = start;
    }
    Ok(0)
}

/// Unpacks the members of a gzip file one after the other. Zeros behind the last one are passed over, as gzip(1) does.
pub(crate) struct GzipMembers<R> {
    /// None behind the last member.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipMembers<R> {
    /// Unpacks what `packed`, which must not be empty, holds.
    pub(crate) fn new(packed: R) -> Self {
        GzipMembers {
            member: Some(GzDecoder::new(packed)),
        }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n_bytes = member.read(buffer)?;
            if n_bytes > 0 || buffer.is_empty() {
                return Ok(n_bytes);
            }
            let packed = self.member.take().map(GzDecoder::into_inner);
            self.member = match packed {
                Some(packed) => next_member(packed)?,
                None => None,
            };
        }
        Ok(0)
    }
}

/// The member that follows, if any does.
fn next_member<R: BufRead>(mut packed: R) -> io::Result<Option<GzDecoder<R>>> {
    let mut is_padded = false;
    loop {
        let bytes = packed.fill_buf()?;
        let n_bytes = bytes.len();
        match bytes.iter().position(|&byte| byte != 0) {
            None if n_bytes == 0 => return Ok(None),
            None => {
                is_padded = true;
                packed.consume(n_bytes);
            }
            Some(0) if !is_padded => return Ok(Some(GzDecoder::new(packed))),
            Some(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "more than zeros lies behind its end",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Write};

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn gzip_members_end_in_zeros_and_nothing_else() {
        let unpack = |packed: &[u8]| {
            let mut text = Vec::new();
            // Small pieces, so that members and zeros lie across them.
            let members = GzipMembers::new(BufReader::with_capacity(7, packed));
            { members }.read_to_end(&mut text).map(|_| text)
        };
        let two = [gzip(b"ab"), gzip(b""), gzip(b"c")].concat();
        for n_zeros in [0, 1, 7, 512, 10_000] {
            let packed = [two.clone(), vec![0; n_zeros]].concat();
            assert_eq!(unpack(&packed).unwrap(), b"abc", "{n_zeros}");
        }
        for garbage in [
            b"x".as_slice(),
            b"\0x",
            b"\x1f\x8b",
            &[vec![0; 512], gzip(b"d")].concat(),
        ] {
            let packed = [&two, garbage].concat();
            assert!(unpack(&packed).is_err(), "{garbage:?}");
        }
        // Checksum and length, 8 bytes, are missing.
        let cut = &two[..two.len() - 8];
        assert!(unpack(&[cut, &[0; 512]].concat()).is_err());
    }

    #[test]
    fn bgzf_end_is_that_of_the_empty_block() {
        let end_of = |bytes: &[u8]| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.gz");
            std::fs::write(&path, bytes).unwrap();
            bgzf_end(&path, &mut File::open(&path).unwrap())
        };
        let whole = [b"text".as_slice(), &BGZF_EOF].concat();
        for n_zeros in [0, 1, 9, 512, 5_000, 1 << 17] {
            let end = end_of(&[whole.clone(), vec![0; n_zeros]].concat());
            assert_eq!(end.unwrap(), 4 + 28, "{n_zeros}");
        }
        let bad: [&[u8]; 5] = [
            b"",
            &[0; 5_000],
            &whole[..31],
            &BGZF_EOF[..27],
            &[whole.clone(), b"\0x".to_vec()].concat(),
        ];
        for bytes in bad {
            let message = end_of(bytes).unwrap_err().to_string();
            assert!(message.contains("cut off"), "{message}");
        }
    }
}
