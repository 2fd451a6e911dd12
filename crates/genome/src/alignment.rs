//! Aligned reads: BAM or CRAM in, the number of reads over each base out.

mod depth;
mod reads;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::depth::DepthSweep;
use self::reads::for_each_read;
use crate::bigwig::write_bigwig_with;
use crate::error::GenomeError;

/// Which aligned reads count, and which of their bases.
///
/// Never counted are reads that are unmapped, secondary, supplementary, duplicates or marked as
/// failed (SAM flags 4, 256, 2048, 1024, 512). The mates of a pair count one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadFilter {
    /// Smallest mapping quality of a read that counts. Default: 0, every read; a read whose
    /// quality is not known (255) counts.
    #[serde(default)]
    pub min_mapping_quality: u8,
    /// Which bases of a read count. Default: `aligned`.
    #[serde(default)]
    pub span: ReadSpan,
}

/// Which bases of a read count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadSpan {
    /// Those that are aligned to a base; neither deletions nor skipped introns.
    #[default]
    Aligned,
    /// The first base that was sequenced, where the enzyme cut, for DNase and ATAC; without a
    /// shift.
    FivePrime,
}

impl ReadFilter {
    /// The settings in a few characters, for the name of a file.
    pub(crate) fn label(&self) -> String {
        let span = match self.span {
            ReadSpan::Aligned => "",
            ReadSpan::FivePrime => "-5prime",
        };
        format!("q{}{span}", self.min_mapping_quality)
    }
}

/// The genome that a CRAM is decoded with.
#[derive(Debug, Clone)]
pub struct CramReference {
    path: PathBuf,
    other_names: BTreeMap<String, String>,
}

impl CramReference {
    /// Names the genome's file, and its chromosomes by the names that a CRAM may use instead.
    pub fn new(path: impl Into<PathBuf>, other_names: BTreeMap<String, String>) -> Self {
        CramReference {
            path: path.into(),
            other_names,
        }
    }
}

impl From<&Path> for CramReference {
    /// A genome whose chromosomes have no other names.
    fn from(path: &Path) -> Self {
        CramReference::new(path, BTreeMap::new())
    }
}

impl From<&PathBuf> for CramReference {
    /// A genome whose chromosomes have no other names.
    fn from(path: &PathBuf) -> Self {
        CramReference::from(path.as_path())
    }
}

/// A BAM or CRAM file sorted by position.
pub(crate) struct AlignmentFile {
    path: PathBuf,
    reference: CramReference,
}

impl AlignmentFile {
    /// Names the file, and the genome that a CRAM is decoded with.
    pub(crate) fn new(path: &Path, reference: CramReference) -> Self {
        AlignmentFile {
            path: path.to_path_buf(),
            reference,
        }
    }

    /// Writes the depth of reads per million counted reads as a bigWig; bases without a read are 0.
    ///
    /// The file is read twice, front to back: the first time the reads are counted. Memory holds
    /// the ends of the reads over one base, and for a CRAM one chromosome of the reference.
    ///
    /// # Errors
    /// [`GenomeError::InvalidRecord`] for a read that is out of order, outside its chromosome or
    /// damaged; [`GenomeError::Empty`] when no read counts.
    pub(crate) fn write_cpm(
        &self,
        target: &Path,
        filter: &ReadFilter,
    ) -> Result<String, GenomeError> {
        let mut n_reads = 0_u64;
        let (chrom_sizes, n_records) = for_each_read(&self.path, &self.reference, filter, |_| {
            n_reads += 1;
            Ok(())
        })?;
        if n_reads == 0 {
            return Err(GenomeError::Empty {
                path: self.path.clone(),
                what: "read that counts (mapped, primary, no duplicate, of enough mapping quality)",
            });
        }
        let per_million = 1e6 / n_reads as f64;
        write_bigwig_with(target, &chrom_sizes, |rows| {
            let chroms = chrom_sizes
                .iter()
                .map(|(name, length)| (Arc::from(name), length))
                .collect();
            let mut sweep = DepthSweep::new(chroms, |interval, depth| {
                rows.push(interval, (depth as f64 * per_million) as f32)
            });
            for_each_read(&self.path, &self.reference, filter, |read| sweep.add(read))?;
            sweep.finish()
        })?;
        Ok(format!(
            "{n_reads} of {n_records} reads counted, values per million of them"
        ))
    }
}
