//! The reference sequence: an indexed FASTA file, plain or bgzip.

mod blocks;
mod fai;
mod gzi;
mod scan;
mod write;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::atomic::write_atomic;
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::interval::Interval;

use blocks::Bytes;
use fai::Record;

pub use write::write_fasta;

/// Where the index of a [`Fasta`] came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexSource {
    /// It lay beside the file.
    Found,
    /// At least a part of it was missing; it was built and written beside the file.
    Written,
    /// It was built, but could not be written beside the file: the next run builds it again.
    InMemory,
}

/// A reference sequence from which any window can be read.
///
/// Many threads may read at once; each read is one access to the file.
#[derive(Debug)]
pub struct Fasta {
    path: PathBuf,
    bytes: Bytes,
    records: Vec<Record>,
    sizes: ChromSizes,
    index_source: IndexSource,
}

impl Fasta {
    /// Opens a FASTA file, plain or bgzip, with its `.fai` (and `.gzi`).
    ///
    /// An index that is missing is built and written beside the file; where the folder cannot be
    /// written to it stays in memory, see [`index_source`](Self::index_source). An index that is
    /// there is compared with the file: every header line must stand where it says.
    ///
    /// # Errors
    /// [`GenomeError`] with path and line or byte: a file that is gzip but not bgzip, cut off or
    /// damaged, without a sequence, with a name twice, with lines of unequal length, with bytes
    /// that are no bases; an index that belongs to another version of the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let mut index_source = IndexSource::Found;
        let mut keep = |written: Result<(), GenomeError>| {
            index_source = match (index_source, written) {
                (IndexSource::Found | IndexSource::Written, Ok(())) => IndexSource::Written,
                _ => IndexSource::InMemory,
            };
        };

        let gzi_path = beside(path, ".gzi");
        let bytes = Bytes::open(path, |file, n_stored| {
            if gzi_path.exists() {
                return gzi::read_gzi(&gzi_path, path, n_stored);
            }
            let blocks = blocks::walk_blocks(path, file, n_stored)?;
            keep(write_atomic(&gzi_path, |out| gzi::write_gzi(&blocks, out)));
            Ok(blocks)
        })?;

        let fai_path = beside(path, ".fai");
        let records = if fai_path.exists() {
            let records = fai::read_fai(&fai_path)?;
            fai::check_fai(&fai_path, path, &records, &bytes)?;
            records
        } else {
            let records = scan::find_records(path, &bytes)?;
            keep(write_atomic(&fai_path, |out| fai::write_fai(&records, out)));
            records
        };

        let sizes = records.iter().map(|r| (r.name.clone(), r.length)).collect();
        Ok(Fasta {
            path: path.to_path_buf(),
            bytes,
            sizes: ChromSizes::new(sizes),
            records,
            index_source,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names and lengths of the sequences, in the order of the index.
    pub fn chrom_sizes(&self) -> &ChromSizes {
        &self.sizes
    }

    /// Where the index came from.
    pub fn index_source(&self) -> IndexSource {
        self.index_source
    }

    /// Reads the bases of an interval as they are stored: ASCII letters of either case, IUPAC
    /// codes, `*` and `-`; `interval.len()` of them.
    ///
    /// # Errors
    /// [`GenomeError::UnknownChrom`] and [`GenomeError::OutsideChrom`] when the interval is not
    /// in the file; [`GenomeError::CorruptAtByte`] and [`GenomeError::CorruptRegion`] when its
    /// bytes cannot be decoded or do not lie as the index says.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("a.fa");
    /// std::fs::write(&path, ">chr1\nACGT\nNNac\n")?;
    /// let fasta = genome::Fasta::open(&path)?;
    /// let interval = genome::Interval::try_new("chr1", 2, 7)?;
    /// assert_eq!(fasta.read_bases(&interval)?, b"GTNNa");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_bases(&self, interval: &Interval) -> Result<Vec<u8>, GenomeError> {
        self.sizes.check(&self.path, interval)?;
        let corrupt = |reason: String| GenomeError::CorruptRegion {
            path: self.path.clone(),
            region: interval.to_string(),
            reason,
        };
        let record = self
            .sizes
            .index_of(interval.chrom())
            .and_then(|index| self.records.get(index));
        let Some(record) = record.filter(|_| !interval.is_empty()) else {
            return Ok(Vec::new());
        };
        let range = record.byte_of(interval.start()).zip(
            record
                .byte_of(interval.end() - 1)
                .and_then(|byte| byte.checked_add(1)),
        );
        let (first, end) = range
            .filter(|(_, end)| *end <= self.bytes.len())
            .ok_or_else(|| corrupt("the file ends before these bases".to_string()))?;
        let mut stored = Vec::new();
        self.bytes.read(first, end, &mut stored)?;
        let bases = without_line_ends(&stored, record, interval).ok_or_else(|| {
            corrupt(
                "the lines are not as long as the .fai says; the file was changed after it was \
                 indexed, or its lines differ in length; delete the .fai, it is then built again"
                    .to_string(),
            )
        })?;
        if let Some(bad) = scan::invalid_base(&bases) {
            return Err(corrupt(format!(
                "{:?} is no base; delete the .fai, so that the whole file is checked",
                char::from(bad)
            )));
        }
        Ok(bases)
    }
}

/// Joins the lines of stored bytes; `None` when a line end is not where the index has it.
fn without_line_ends(stored: &[u8], record: &Record, interval: &Interval) -> Option<Vec<u8>> {
    let mut bases = Vec::with_capacity(interval.len() as usize);
    let line_end: &[u8] = match record.line_width - record.line_bases {
        0 => b"",
        1 => b"\n",
        _ => b"\r\n",
    };
    let in_first_line = record.line_bases - interval.start() % record.line_bases;
    let mut n_bases = in_first_line.min(stored.len() as u64) as usize;
    let mut rest = stored;
    loop {
        let (line, after) = rest.split_at_checked(n_bases)?;
        bases.extend_from_slice(line);
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(line_end)?;
        n_bases = (record.line_bases as usize).min(rest.len());
    }
    (bases.len() as u64 == interval.len()).then_some(bases)
}

/// The path with a suffix behind its whole name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
