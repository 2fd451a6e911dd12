//! The index beside a bgzip file, `.gzi`: where each block starts.

use std::io::{self, Write};
use std::path::Path;

use super::blocks::BlockStart;
use crate::error::GenomeError;

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
