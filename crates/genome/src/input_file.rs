//! Opening an input file, and saying what it is when it is not what was asked for.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::GenomeError;

/// Opens a file that is read more than once, or out of order.
///
/// # Errors
/// [`GenomeError::Io`]; for a named pipe, which would be waited for and can be read once only, too.
pub(crate) fn open_input(path: &Path) -> Result<File, GenomeError> {
    let refuse = GenomeError::io(path, "open");
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let is_once = |kind: std::fs::FileType| kind.is_fifo() || kind.is_socket();
        if std::fs::metadata(path).is_ok_and(|metadata| is_once(metadata.file_type())) {
            return Err(refuse(io::Error::other(
                "it is a pipe, and inputs are read more than once; write it to a file first",
            )));
        }
    }
    File::open(path).map_err(refuse)
}

/// Number of bytes that [`foreign_content`] looks at.
const HEAD_BYTES: u64 = 64;

/// The first bytes of a file, fewer when there are no more.
///
/// # Errors
/// As [`open_input`]; [`GenomeError::Io`] when it cannot be read.
pub(crate) fn read_head(path: &Path) -> Result<Vec<u8>, GenomeError> {
    let mut head = Vec::new();
    open_input(path)?
        .take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(GenomeError::io(path, "read"))?;
    Ok(head)
}

/// The first bytes of a file; none when it cannot be read.
pub(crate) fn head_of(path: &Path) -> Vec<u8> {
    read_head(path).unwrap_or_default()
}

/// What a file that begins with these bytes is, with the remedy, when it is of a kind that is often
/// given in the place of another; it completes "this is".
///
/// Plain text is none of these, and neither is gzip, which many formats are packed with.
pub(crate) fn foreign_content(head: &[u8]) -> Option<&'static str> {
    let found = CONTENTS.iter().find(|(magic, _)| head.starts_with(magic));
    if let Some((_, content)) = found {
        return Some(content);
    }
    let lower = head.to_ascii_lowercase();
    let text = lower.trim_ascii_start();
    if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") {
        return Some("a web page, as a failed download leaves it; get the file again");
    }
    // Every other byte of ASCII in UTF-16 is 0; with a byte-order mark it is among the above.
    match head {
        [first, 0, second, 0, ..] | [0, first, 0, second, ..]
            if [first, second].into_iter().all(|byte| is_text(*byte)) =>
        {
            Some(UTF_16)
        }
        _ => None,
    }
}

fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace()
}

const UTF_16: &str = "text in UTF-16; save it as UTF-8, or convert it with: iconv -f UTF-16 -t UTF-8 FILE > NEW_FILE";
const BIGWIG: &str = "a bigWig file; name it .bw where a track is wanted";
const BIGBED: &str = "a bigBed file; convert it with bigBedToBed to give it as regions";
const TWO_BIT: &str = "a 2bit file, which holds a genome";
const SAM: &str = "a SAM file; sort and convert it with: samtools sort -o sorted.bam FILE";

/// How each kind of file begins.
const CONTENTS: [(&[u8], &str); 23] = [
    (
        b"PK\x03\x04",
        "a zip archive or an Excel workbook (.xlsx); unpack it, or save its sheet as tab-separated text",
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "an old Excel workbook (.xls); save its sheet as tab-separated text",
    ),
    (b"BZh", "compressed with bzip2; unpack it with bunzip2"),
    (b"\xfd7zXZ\0", "compressed with xz; unpack it with unxz"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed with zstd; unpack it with unzstd",
    ),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file (.cool, .mcool or .h5), which holds contacts",
    ),
    (b"HIC\0", "a .hic file, which holds contacts"),
    (b"\x26\xfc\x8f\x88", BIGWIG),
    (b"\x88\x8f\xfc\x26", BIGWIG),
    (b"\xeb\xf2\x89\x87", BIGBED),
    (b"\x87\x89\xf2\xeb", BIGBED),
    (b"\x43\x27\x41\x1a", TWO_BIT),
    (b"\x1a\x41\x27\x43", TWO_BIT),
    (b"BAM\x01", "a BAM file, which holds aligned reads"),
    (b"CRAM", "a CRAM file, which holds aligned reads"),
    (b"@HD\t", SAM),
    (b"@SQ\t", SAM),
    (b"BCF\x02", "a BCF file, which holds variants"),
    (
        b"TBI\x01",
        "a tabix index; give the file that it belongs to",
    ),
    (b"CSI\x01", "a CSI index; give the file that it belongs to"),
    (
        b"version https://git-lfs",
        "a pointer of Git LFS and not the file; fetch it with: git lfs pull",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_content_cases() {
        let utf_16 = |text: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(order).collect()
        };
        let cases: [(&[u8], Option<&str>); 12] = [
            (b"", None),
            (b"chr1\t0\t5\n", None),
            (b"\x1f\x8b\x08", None),
            (b"gene\ttpm", None),
            (b"\xef\xbb\xbfgene", None),
            (b"PK\x03\x04\x14", Some("Excel workbook (.xlsx)")),
            (b"\n<!DOCTYPE HTML>", Some("a web page")),
            (
                b"version https://git-lfs.github.com/spec/v1",
                Some("git lfs pull"),
            ),
            (b"@HD\tVN:1.6", Some("samtools sort")),
            (&utf_16("gene", u16::to_le_bytes), Some("UTF-16")),
            (&utf_16("gene", u16::to_be_bytes), Some("UTF-16")),
            (&utf_16("\u{feff}gene", u16::to_be_bytes), Some("UTF-16")),
        ];
        for (head, expected) in cases {
            let found = foreign_content(head);
            assert_eq!(found.is_some(), expected.is_some(), "{head:?}");
            if let (Some(found), Some(part)) = (found, expected) {
                assert!(found.contains(part), "{found}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn open_input_of_a_pipe_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genes.tsv");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let message = open_input(&path).unwrap_err().to_string();
        assert!(message.contains("genes.tsv: it is a pipe"), "{message}");
        assert_eq!(head_of(&path), b"");
    }
}
