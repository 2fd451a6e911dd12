//! The index of a bigWig, looked at once from end to end.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use super::damaged;
use crate::error::GenomeError;
use crate::positional_file::read_exact_at;

/// Bytes of an R-tree's header, of a node's, and of a slot of each kind of node.
const TREE_BYTES: u64 = 48;
const NODE_BYTES: u64 = 4;
const LEAF_SLOT: u64 = 32;
const INNER_SLOT: u64 = 24;

/// The nodes of the index (an R-tree) of a bigWig's data.
///
/// Nodes that were overwritten with zeros, as a broken copy leaves them, lead to no data, and the bases
/// below them would read as if nothing had been measured there.
///
/// # Reference
/// Kent et al. 2010, supplement, tables 5 and 14 to 17
pub(super) struct IndexNodes<'a> {
    path: &'a Path,
    file: &'a File,
    length: u64,
    is_big_endian: bool,
    /// Where the index starts.
    index: u64,
    /// Number of data sections by the data's own header; 0 when it does not say.
    n_sections: u64,
}

impl<'a> IndexNodes<'a> {
    /// Reads where the index is; the header was found to be one of a bigWig.
    pub(super) fn new(path: &'a Path, file: &'a File) -> Result<Self, GenomeError> {
        let metadata = file.metadata().map_err(GenomeError::io(path, "read"))?;
        let mut nodes = IndexNodes {
            path,
            file,
            length: metadata.len(),
            is_big_endian: false,
            index: 0,
            n_sections: 0,
        };
        let header: [u8; 64] = nodes.read(0)?;
        nodes.is_big_endian = header[0] == 0x88;
        nodes.index = nodes.u64_of(&header[24..32]);
        let data = nodes.u64_of(&header[16..24]);
        nodes.n_sections = u64::from(nodes.u32_of(&nodes.read::<4>(data)?));
        Ok(nodes)
    }

    /// Refuses an index with a node or a slot that is empty where it should not be.
    ///
    /// Reads every node once and keeps one at a time.
    pub(super) fn check(&self) -> Result<(), GenomeError> {
        let tree: [u8; TREE_BYTES as usize] = self.read(self.index)?;
        let n_items = self.u64_of(&tree[8..16]);
        if n_items == 0 && self.n_sections == 0 {
            // A track without a value.
            return Ok(());
        }
        if n_items == 0 {
            return Err(self.damaged(
                self.index + 8,
                &format!(
                    "the index has no items for {} data sections",
                    self.n_sections
                ),
            ));
        }
        let root = self.index + TREE_BYTES;
        let (mut pending, mut seen) = (vec![root], HashSet::new());
        while let Some(at) = pending.pop() {
            if !seen.insert(at) {
                return Err(self.damaged(at, "a node of the index is there twice"));
            }
            let head: [u8; NODE_BYTES as usize] = self.read(at)?;
            let n_slots = u64::from(match self.is_big_endian {
                true => u16::from_be_bytes([head[2], head[3]]),
                false => u16::from_le_bytes([head[2], head[3]]),
            });
            if n_slots == 0 {
                return Err(self.damaged(at, "a node of the index is empty"));
            }
            let slot = match head[0] {
                0 => INNER_SLOT,
                1 => LEAF_SLOT,
                other => {
                    return Err(
                        self.damaged(at, &format!("a node of the index is of kind {other}"))
                    );
                }
            };
            let mut slots = vec![0_u8; (n_slots * slot) as usize];
            self.read_into(at + NODE_BYTES, &mut slots)?;
            for (number, bytes) in (0..).zip(slots.chunks_exact(slot as usize)) {
                if bytes.iter().all(|&byte| byte == 0) {
                    let at = at + NODE_BYTES + number * slot;
                    return Err(self.damaged(at, "an entry of the index is all zeros"));
                }
                if slot == INNER_SLOT {
                    pending.push(self.u64_of(&bytes[16..24]));
                }
            }
        }
        Ok(())
    }

    fn read<const N: usize>(&self, offset: u64) -> Result<[u8; N], GenomeError> {
        let mut bytes = [0; N];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<(), GenomeError> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.length) {
            let reason = format!("{} bytes are not in the file", bytes.len());
            return Err(self.damaged(offset, &reason));
        }
        read_exact_at(self.file, bytes, offset).map_err(GenomeError::io(self.path, "read"))
    }

    fn u32_of(&self, bytes: &[u8]) -> u32 {
        bytes
            .first_chunk()
            .map_or(0, |&bytes| match self.is_big_endian {
                true => u32::from_be_bytes(bytes),
                false => u32::from_le_bytes(bytes),
            })
    }

    fn u64_of(&self, bytes: &[u8]) -> u64 {
        bytes
            .first_chunk()
            .map_or(0, |&bytes| match self.is_big_endian {
                true => u64::from_be_bytes(bytes),
                false => u64::from_le_bytes(bytes),
            })
    }

    fn damaged(&self, offset: u64, reason: &str) -> GenomeError {
        damaged(self.path, offset, reason)
    }
}
