//! Bytes at any offset of a file, whether it is plain or packed in BGZF blocks.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use libdeflater::Decompressor;

use crate::error::GenomeError;
use crate::table::{Packing, check_bgzf_end};

/// Bytes of a BGZF block's header up to and with the size field (SAM specification, 4.1).
const HEADER_BYTES: u64 = 18;
/// CRC-32 and uncompressed size behind the data of a block.
const TRAILER_BYTES: usize = 8;
/// No block holds more uncompressed bytes.
const MAX_BLOCK_BYTES: usize = 1 << 16;

/// Where a block starts, in the file and in the uncompressed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockStart {
    pub(super) compressed: u64,
    pub(super) uncompressed: u64,
}

/// A file that many threads read at once; each read names its own offset.
#[derive(Debug)]
pub(super) struct Bytes {
    path: PathBuf,
    file: File,
    /// Size of the file on disk.
    n_stored: u64,
    /// Number of bytes after unpacking.
    length: u64,
    /// Block starts in order, the first at 0; empty for a plain file.
    blocks: Vec<BlockStart>,
}

thread_local! {
    /// Buffers that each reading thread keeps.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        stored: Vec::new(),
        block: Vec::new(),
        decompressor: Decompressor::new(),
    });
}

struct Scratch {
    stored: Vec<u8>,
    block: Vec<u8>,
    decompressor: Decompressor,
}

impl Bytes {
    /// Opens a file; `read_blocks` is asked for the block starts when it is BGZF.
    ///
    /// It gets the file and its size and may call [`walk_blocks`].
    pub(super) fn open(
        path: &Path,
        read_blocks: impl FnOnce(&File, u64) -> Result<Vec<BlockStart>, GenomeError>,
    ) -> Result<Self, GenomeError> {
        let mut file = File::open(path).map_err(GenomeError::io(path, "open"))?;
        let refuse = GenomeError::io(path, "read");
        let metadata = file.metadata().map_err(&refuse)?;
        if metadata.is_dir() {
            return Err(refuse(io::ErrorKind::IsADirectory.into()));
        }
        let n_stored = metadata.len();
        let packing = Packing::of(&mut file).map_err(&refuse)?;
        let mut bytes = Bytes {
            path: path.to_path_buf(),
            file,
            n_stored,
            length: n_stored,
            blocks: Vec::new(),
        };
        match packing {
            Packing::Plain => {}
            Packing::Gzip => {
                return Err(GenomeError::CorruptAtByte {
                    path: path.to_path_buf(),
                    offset: 0,
                    reason: "compressed with gzip, which has no way into the middle; \
                             unpack it with gunzip, or pack it again with bgzip"
                        .to_string(),
                });
            }
            Packing::Bgzf => {
                check_bgzf_end(path, &mut bytes.file)?;
                bytes.blocks = read_blocks(&bytes.file, n_stored)?;
                let last = bytes.blocks.last().copied().unwrap_or(BlockStart {
                    compressed: 0,
                    uncompressed: 0,
                });
                walk_from(path, &bytes.file, n_stored, last, |_, end| {
                    bytes.length = end.uncompressed;
                })?;
            }
        }
        Ok(bytes)
    }

    /// Number of bytes after unpacking.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Appends the uncompressed bytes `start..end` to `out`.
    ///
    /// The range must lie inside the file, `end <= self.len()`.
    pub(super) fn read(&self, start: u64, end: u64, out: &mut Vec<u8>) -> Result<(), GenomeError> {
        if start >= end {
            return Ok(());
        }
        if self.blocks.is_empty() {
            let first = out.len();
            out.resize(first + (end - start) as usize, 0);
            return self.read_stored(start, &mut out[first..]);
        }
        SCRATCH.with_borrow_mut(|scratch| self.inflate(start, end, out, scratch))
    }

    /// Reads bytes of the file as they are stored.
    fn read_stored(&self, offset: u64, out: &mut [u8]) -> Result<(), GenomeError> {
        read_exact_at(&self.file, out, offset).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                self.corrupt(
                    offset,
                    "the file ends before the bytes that its index promises",
                )
            } else {
                GenomeError::io(&self.path, "read")(error)
            }
        })
    }

    fn corrupt(&self, offset: u64, reason: &str) -> GenomeError {
        GenomeError::CorruptAtByte {
            path: self.path.clone(),
            offset,
            reason: reason.to_string(),
        }
    }

    /// Reads all blocks of a range at once and unpacks them one after the other.
    fn inflate(
        &self,
        start: u64,
        end: u64,
        out: &mut Vec<u8>,
        scratch: &mut Scratch,
    ) -> Result<(), GenomeError> {
        // The last block that starts at or before `start`; the first one starts at 0.
        let first = self
            .blocks
            .partition_point(|block| block.uncompressed <= start)
            .saturating_sub(1);
        let after = self
            .blocks
            .partition_point(|block| block.uncompressed < end);
        let (Some(from), stored_end) = (
            self.blocks.get(first),
            self.blocks
                .get(after)
                .map_or(self.n_stored, |b| b.compressed),
        ) else {
            return Err(self.corrupt(0, "the file has no block"));
        };
        let n_stored = stored_end.saturating_sub(from.compressed) as usize;
        scratch.stored.resize(n_stored, 0);
        self.read_stored(from.compressed, &mut scratch.stored)?;

        out.reserve((end - start) as usize);
        let (mut at, mut position, mut known) = (0, from.uncompressed, first);
        while position < end {
            let offset = from.compressed + at as u64;
            let block = scratch
                .stored
                .get(at..)
                .and_then(Block::parse)
                .ok_or_else(|| {
                    self.corrupt(
                        offset,
                        "no complete bgzip block starts here: the file is damaged, or its .gzi \
                     belongs to another version of it (delete the .gzi, it is then built again)",
                    )
                })?;
            // Blocks that the index knows must start where it says.
            while let Some(next) = self.blocks.get(known).filter(|b| b.compressed <= offset) {
                if next.compressed == offset && next.uncompressed != position {
                    return Err(self.corrupt(
                        offset,
                        "the .gzi belongs to another version of the file; \
                         delete it, it is then built again",
                    ));
                }
                known += 1;
            }
            let block_end = position + block.n_unpacked as u64;
            if block_end > start {
                let damaged = || self.corrupt(offset, "the data of this bgzip block is damaged");
                if position >= start && block_end <= end {
                    let first = out.len();
                    out.resize(first + block.n_unpacked, 0);
                    block
                        .unpack(&mut out[first..], &mut scratch.decompressor)
                        .ok_or_else(damaged)?;
                } else {
                    scratch.block.resize(block.n_unpacked, 0);
                    block
                        .unpack(&mut scratch.block, &mut scratch.decompressor)
                        .ok_or_else(damaged)?;
                    let from = start.saturating_sub(position) as usize;
                    let to = (end.min(block_end) - position) as usize;
                    out.extend_from_slice(&scratch.block[from..to]);
                }
            }
            position = block_end;
            at += block.n_stored;
        }
        Ok(())
    }
}

/// One packed block.
struct Block<'a> {
    /// Bytes of the whole block.
    n_stored: usize,
    data: &'a [u8],
    crc32: u32,
    n_unpacked: usize,
}

impl<'a> Block<'a> {
    /// Reads the frame of the block at the start of `bytes`, if a whole one is there.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let head = bytes.first_chunk::<{ HEADER_BYTES as usize }>()?;
        let n_stored = block_size(head)?;
        let frame = bytes.get(HEADER_BYTES as usize..n_stored)?;
        let (data, trailer) = frame.split_last_chunk::<TRAILER_BYTES>()?;
        let (crc32, n_unpacked) = trailer_values(trailer);
        (n_unpacked <= MAX_BLOCK_BYTES).then_some(Block {
            n_stored,
            data,
            crc32,
            n_unpacked,
        })
    }

    /// Unpacks into exactly as many bytes as the block promises and compares the check sum.
    fn unpack(&self, out: &mut [u8], decompressor: &mut Decompressor) -> Option<()> {
        let n_bytes = decompressor.deflate_decompress(self.data, out).ok()?;
        (n_bytes == out.len() && libdeflater::crc32(out) == self.crc32).then_some(())
    }
}

/// Size of the block with this header; bgzip writes the size as the only extra field.
fn block_size(head: &[u8; HEADER_BYTES as usize]) -> Option<usize> {
    let fixed = head.starts_with(&[0x1f, 0x8b, 8, 4]) && head[10..16] == [6, 0, b'B', b'C', 2, 0];
    let n_stored = usize::from(u16::from_le_bytes([head[16], head[17]])) + 1;
    (fixed && n_stored >= HEADER_BYTES as usize + TRAILER_BYTES).then_some(n_stored)
}

/// Check sum and uncompressed size.
fn trailer_values(trailer: &[u8; TRAILER_BYTES]) -> (u32, usize) {
    let [a, b, c, d, e, f, g, h] = *trailer;
    (
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]) as usize,
    )
}

/// Finds the starts of all blocks of a BGZF file by going from header to header.
pub(super) fn walk_blocks(
    path: &Path,
    file: &File,
    n_stored: u64,
) -> Result<Vec<BlockStart>, GenomeError> {
    let mut blocks = Vec::new();
    let first = BlockStart {
        compressed: 0,
        uncompressed: 0,
    };
    walk_from(path, file, n_stored, first, |start, end| {
        if end.uncompressed > start.uncompressed || blocks.is_empty() {
            blocks.push(start);
        }
    })?;
    Ok(blocks)
}

/// Goes from block to block until the end of the file and reports where each starts and ends.
fn walk_from(
    path: &Path,
    file: &File,
    n_stored: u64,
    mut at: BlockStart,
    mut report: impl FnMut(BlockStart, BlockStart),
) -> Result<(), GenomeError> {
    let refuse = GenomeError::io(path, "read");
    while at.compressed < n_stored {
        let corrupt = || GenomeError::CorruptAtByte {
            path: path.to_path_buf(),
            offset: at.compressed,
            reason: "no complete bgzip block starts here: the file is damaged, or its .gzi \
                     belongs to another version of it (delete the .gzi, it is then built again)"
                .to_string(),
        };
        let mut head = [0_u8; HEADER_BYTES as usize];
        if at.compressed + HEADER_BYTES > n_stored {
            return Err(corrupt());
        }
        read_exact_at(file, &mut head, at.compressed).map_err(&refuse)?;
        let size = block_size(&head).ok_or_else(corrupt)?;
        let next = at.compressed + size as u64;
        if next > n_stored {
            return Err(corrupt());
        }
        let mut trailer = [0_u8; TRAILER_BYTES];
        read_exact_at(file, &mut trailer, next - TRAILER_BYTES as u64).map_err(&refuse)?;
        let (_, n_unpacked) = trailer_values(&trailer);
        if n_unpacked > MAX_BLOCK_BYTES {
            return Err(corrupt());
        }
        let end = BlockStart {
            compressed: next,
            uncompressed: at.uncompressed + n_unpacked as u64,
        };
        report(at, end);
        at = end;
    }
    Ok(())
}

/// Reads at an offset without moving a cursor that other threads share.
fn read_exact_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
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
