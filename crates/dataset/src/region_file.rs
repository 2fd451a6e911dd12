//! Regions of a BED file under the genome's chromosome names.

use std::path::Path;

use genome::{ChromSizes, GenomeError, Interval, Region, RegionIndex, read_regions};

use crate::chrom_alias::ChromAlias;
use crate::error::DatasetError;

/// Reads regions under the genome's names.
///
/// Regions on chromosomes that the genome does not have are left out, unless that is all of them.
pub(crate) fn read_region_file(
    path: Option<&Path>,
    alias: &ChromAlias,
    sizes: &ChromSizes,
) -> Result<RegionIndex, DatasetError> {
    let Some(path) = path else {
        return Ok(RegionIndex::default());
    };
    let mut kept = Vec::new();
    let mut left_out: Option<String> = None;
    for region in read_regions(path)? {
        let chrom = alias.genome_name(region.interval.chrom());
        if sizes.get(chrom).is_none() {
            left_out.get_or_insert_with(|| chrom.to_string());
            continue;
        }
        let interval = Interval::try_new(chrom, region.interval.start(), region.interval.end())?;
        sizes.check(path, &interval)?;
        kept.push(Region { interval, ..region });
    }
    match left_out {
        Some(chrom) if kept.is_empty() => Err(GenomeError::UnknownChrom {
            path: path.to_path_buf(),
            hint: format!("in the genome {}", sizes.hint(&chrom)),
            chrom,
        }
        .into()),
        _ => Ok(RegionIndex::new(kept)),
    }
}
