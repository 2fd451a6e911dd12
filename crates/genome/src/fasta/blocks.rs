//! Bytes at any offset of a file, whether it is plain or packed in BGZF blocks.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use libdeflater::Decompressor;

use crate::error::GenomeError;
use crate::input_file::{foreign_content, head_of, open_input};
use crate::packing::{Packing, bgzf_end};
use crate::positional_file::read_exact_at;

/// Bytes of a BGZF block's header up to and with the size field (SAM specification, 4.1).
const HEADER_BYTES: u64 = 18;
/// CRC-32 and uncompressed size behind the data of a block.
const TRAILER_BYTES: usize = 8;
/// No block holds more uncompressed bytes.
const MAX_BLOCK_BYTES: usize = 1 << 16;
/// Blocks kept unpacked, 128 MiB at most: all of a small genome, or what the windows of
/// neighbouring genes share.
const MAX_CACHED_BLOCKS: usize = 2048;

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
    /// Size of the file on disk, without zeros behind the last BGZF block.
    n_stored: u64,
    /// Number of bytes after unpacking.
    length: u64,
    /// Block starts in order, the first at 0; empty for a plain file. From one to the next is
    /// a segment: one block, and perhaps empty ones.
    blocks: Vec<BlockStart>,
    /// Unpacked segments, each in the slot of its number modulo the number of slots, so that
    /// neighbours never drive each other out.
    cache: Vec<Slot>,
}

/// A segment's number and its unpacked bytes.
type Slot = Mutex<Option<(usize, Arc<Vec<u8>>)>>;

thread_local! {
    /// Buffers that each reading thread keeps.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        stored: Vec::new(),
        decompressor: Decompressor::new(),
    });
}

struct Scratch {
    stored: Vec<u8>,
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
        let mut file = open_input(path)?;
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
            cache: Vec::new(),
        };
        match packing {
            Packing::Plain => {
                if let Some(content) = foreign_content(&head_of(path)) {
                    return Err(GenomeError::CorruptAtByte {
                        path: path.to_path_buf(),
                        offset: 0,
                        reason: format!("this is {content}; a genome is FASTA or .2bit"),
                    });
                }
            }
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
                let n_stored = bgzf_end(path, &mut bytes.file)?;
                bytes.n_stored = n_stored;
                bytes.blocks = read_blocks(&bytes.file, n_stored)?;
                bytes.length = unpacked_length(path, &bytes)?;
                // An index may list fewer blocks than there are; reading needs them all.
                let starts = bytes.blocks.iter().map(|block| block.uncompressed);
                let ends = starts.clone().skip(1).chain([bytes.length]);
                if starts
                    .zip(ends)
                    .any(|(start, end)| end - start > MAX_BLOCK_BYTES as u64)
                {
                    bytes.blocks = walk_blocks(path, &bytes.file, n_stored)?;
                }
                let n_slots = bytes.blocks.len().min(MAX_CACHED_BLOCKS);
                bytes.cache.resize_with(n_slots, Mutex::default);
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
        self.unpack(start, end, out)
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

    /// Appends the bytes `start..end` of a BGZF file, segment by segment.
    fn unpack(&self, start: u64, end: u64, out: &mut Vec<u8>) -> Result<(), GenomeError> {
        // The last segment that starts at or before `start`; the first one starts at 0.
        let first = self
            .blocks
            .partition_point(|block| block.uncompressed <= start)
            .saturating_sub(1);
        out.reserve((end - start) as usize);
        for (segment, from) in self.blocks.iter().enumerate().skip(first) {
            if from.uncompressed >= end {
                break;
            }
            let bytes = self.segment(segment, *from)?;
            let cut = |position: u64| {
                (position.saturating_sub(from.uncompressed) as usize).min(bytes.len())
            };
            out.extend_from_slice(bytes.get(cut(start)..cut(end)).unwrap_or_default());
        }
        Ok(())
    }

    /// The unpacked bytes of a segment, from the cache or from the file.
    fn segment(&self, segment: usize, from: BlockStart) -> Result<Arc<Vec<u8>>, GenomeError> {
        let slot = segment
            .checked_rem(self.cache.len())
            .and_then(|index| self.cache.get(index));
        // A poisoned lock guards a whole value all the same: it is replaced in one step.
        let lock = |slot: &'_ Slot| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((cached, bytes)) = slot.and_then(lock)
            && cached == segment
        {
            return Ok(bytes);
        }
        let (stored_end, unpacked_end) = self
            .blocks
            .get(segment + 1)
            .map_or((self.n_stored, self.length), |b| {
                (b.compressed, b.uncompressed)
            });
        let n_unpacked = unpacked_end.saturating_sub(from.uncompressed) as usize;
        let bytes = SCRATCH.with_borrow_mut(|scratch| {
            scratch
                .stored
                .resize(stored_end.saturating_sub(from.compressed) as usize, 0);
            self.read_stored(from.compressed, &mut scratch.stored)?;
            self.inflate(from.compressed, n_unpacked, scratch)
        })?;
        let bytes = Arc::new(bytes);
        if let Some(slot) = slot {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((segment, Arc::clone(&bytes)));
        }
        Ok(bytes)
    }

    /// Unpacks the stored bytes of a segment; `offset` is where they lie in the file.
    fn inflate(
        &self,
        offset: u64,
        n_unpacked: usize,
        scratch: &mut Scratch,
    ) -> Result<Vec<u8>, GenomeError> {
        let mut out = vec![0; n_unpacked];
        let (mut at, mut n_done) = (0, 0);
        while at < scratch.stored.len() {
            let offset = offset + at as u64;
            let block = scratch
                .stored
                .get(at..)
                .and_then(Block::parse)
                .ok_or_else(|| self.corrupt(offset, NO_BLOCK))?;
            let place = out
                .get_mut(n_done..n_done + block.n_unpacked)
                .ok_or_else(|| self.corrupt(offset, OTHER_GZI))?;
            block
                .unpack(place, &mut scratch.decompressor)
                .ok_or_else(|| self.corrupt(offset, "the data of this bgzip block is damaged"))?;
            n_done += block.n_unpacked;
            at += block.n_stored;
        }
        if n_done != n_unpacked {
            return Err(self.corrupt(offset, OTHER_GZI));
        }
        Ok(out)
    }
}

const NO_BLOCK: &str = "no complete bgzip block starts here: the file is damaged, or its .gzi \
                        belongs to another version of it (delete the .gzi, it is then built again)";
const OTHER_GZI: &str =
    "the .gzi belongs to another version of the file; delete it, it is then built again";

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

/// Number of bytes of a BGZF file after unpacking, by the blocks from the last known one on.
fn unpacked_length(path: &Path, bytes: &Bytes) -> Result<u64, GenomeError> {
    let mut length = 0;
    if let Some(last) = bytes.blocks.last() {
        walk_from(path, &bytes.file, bytes.n_stored, *last, |_, end| {
            length = end.uncompressed;
        })?;
    }
    Ok(length)
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
            reason: NO_BLOCK.to_string(),
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
