//! Regions of BED files under the genome's chromosome names.

use std::path::{Path, PathBuf};

use genome::{ChromSizes, GenomeError, Interval, Region, RegionIndex, read_regions};
use serde::{Deserialize, Deserializer};

use crate::chrom_alias::ChromAlias;
use crate::error::DatasetError;

/// Reads regions of any number of files under the genome's names.
///
/// Regions on chromosomes that the genome does not have are left out, unless those are all of a file.
pub(crate) fn read_region_files<'a>(
    paths: impl IntoIterator<Item = &'a PathBuf>,
    alias: &ChromAlias,
    sizes: &ChromSizes,
) -> Result<RegionIndex, DatasetError> {
    let mut kept = Vec::new();
    for path in paths {
        kept.extend(read_region_file(path, alias, sizes)?);
    }
    Ok(RegionIndex::new(kept))
}

fn read_region_file(
    path: &Path,
    alias: &ChromAlias,
    sizes: &ChromSizes,
) -> Result<Vec<Region>, DatasetError> {
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
        _ => Ok(kept),
    }
}

/// Reads one path, or a list of them.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected one path or a list of paths")]
    enum OneOrMany {
        One(PathBuf),
        Many(Vec<PathBuf>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(path) => vec![path],
        OneOrMany::Many(paths) => paths,
    })
}
