//! Regions of BED files under the genome's chromosome names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use genome::{ChromSizes, GenomeError, Interval, Region, RegionIndex, for_each_region};
use serde::{Deserialize, Deserializer, Serialize};

use crate::chrom_alias::ChromAlias;
use crate::error::DatasetError;

/// Regions of one file that are left out, because the genome does not have their chromosomes; or that
/// the file has no region at all, where that may be meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionsLeftOut {
    /// What the file is used for, for example `exclude`.
    pub role: String,
    /// Where it was.
    pub path: PathBuf,
    /// Number of its regions that are left out; 0 for a file without a region.
    pub n_regions: usize,
    /// Number of the chromosomes that they lie on.
    pub n_chroms: usize,
    /// The first of these chromosomes in the file, under its name there; empty without a region.
    pub first_chrom: String,
    /// Those of these chromosomes that the genome has under another name: name in the file → name in
    /// the genome.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named_otherwise: BTreeMap<String, String>,
}

impl fmt::Display for RegionsLeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.n_regions == 0 {
            let path = self.path.display();
            return write!(f, "{} {path}: there is no {REGION} in the file", self.role);
        }
        write!(
            f,
            "{} {}: {} regions left out, on {} chromosomes that the genome does not have; the first is {:?}",
            self.role,
            self.path.display(),
            self.n_regions,
            self.n_chroms,
            self.first_chrom
        )?;
        let mut names = self.named_otherwise.iter();
        let Some((name, chrom)) = names.next() else {
            return Ok(());
        };
        write!(f, "; {name:?} is called {chrom:?} in the genome")?;
        if names.len() > 0 {
            write!(f, " (and so for {} more)", names.len())?;
        }
        write!(
            f,
            ": rename the regions, or give --chrom-alias {name}={chrom}"
        )
    }
}

/// What a file of regions holds.
const REGION: &str = "region";

/// The role of a file that may hold no region: there may be nothing to exclude.
const MAY_BE_EMPTY: &str = "exclude";

/// The role of a file whose summits count.
const HAS_SUMMITS: &str = "tss_peaks";

/// Reads the regions of any number of files of one role under the genome's names.
///
/// Regions on chromosomes that the genome does not have are left out and added to `left_out`, unless
/// those are all of a file. So is a file of `exclude` that has no region.
///
/// # Errors
/// [`DatasetError::Genome`] naming the line: a file that cannot be read, that has no region, none of
/// whose regions lies on the genome, or one of whose regions reaches over the end of its chromosome; for
/// `tss_peaks` also one of whose narrowPeak summits lies outside its peak.
pub(crate) fn read_region_files<'a>(
    role: &str,
    paths: impl IntoIterator<Item = &'a PathBuf>,
    alias: &ChromAlias,
    sizes: &ChromSizes,
    left_out: &mut Vec<RegionsLeftOut>,
) -> Result<RegionIndex, DatasetError> {
    let mut kept = Vec::new();
    for path in paths {
        left_out.extend(read_region_file(role, path, alias, sizes, &mut kept)?);
    }
    Ok(RegionIndex::new(kept))
}

/// Adds the regions of a file to `kept`.
fn read_region_file(
    role: &str,
    path: &Path,
    alias: &ChromAlias,
    sizes: &ChromSizes,
    kept: &mut Vec<Region>,
) -> Result<Option<RegionsLeftOut>, DatasetError> {
    let n_before = kept.len();
    let mut first: Option<(Option<u64>, String)> = None;
    // Each with the name that the genome may have for it.
    let mut unknown: BTreeMap<String, Option<&str>> = BTreeMap::new();
    let mut n_left_out = 0;
    for_each_region(path, |line, region| {
        let (start, end) = (region.interval.start(), region.interval.end());
        let chrom = alias.genome_name(region.interval.chrom());
        let Some(length) = sizes.get(chrom) else {
            let name = region.interval.chrom();
            n_left_out += 1;
            first.get_or_insert_with(|| (line, name.to_string()));
            if !unknown.contains_key(name) {
                unknown.insert(name.to_string(), sizes.similar_name(name));
            }
            return Ok(());
        };
        if end > length {
            return Err(GenomeError::RegionOutsideChrom {
                path: path.to_path_buf(),
                line,
                chrom: chrom.to_string(),
                start,
                end,
                length,
            });
        }
        if let (HAS_SUMMITS, Some(line), Some(offset)) = (role, line, region.summit_outside()) {
            return Err(GenomeError::InvalidField {
                path: path.to_path_buf(),
                line,
                column: "summit (column 10)".to_string(),
                value: offset.to_string(),
                expected: "the offset of a base of the peak from its start, or -1 for a peak without a summit; were \
                           the peaks cut since?",
            });
        }
        let interval = Interval::try_new(chrom, start, end)?;
        kept.push(Region { interval, ..region });
        Ok(())
    })?;
    let Some((line, chrom)) = first else {
        return match kept.len() > n_before {
            true => Ok(None),
            false if role == MAY_BE_EMPTY => Ok(Some(RegionsLeftOut {
                role: role.to_string(),
                path: path.to_path_buf(),
                n_regions: 0,
                n_chroms: 0,
                first_chrom: String::new(),
                named_otherwise: BTreeMap::new(),
            })),
            false => Err(GenomeError::Empty {
                path: path.to_path_buf(),
                what: REGION,
            }
            .into()),
        };
    };
    if kept.len() > n_before {
        return Ok(Some(RegionsLeftOut {
            role: role.to_string(),
            path: path.to_path_buf(),
            n_regions: n_left_out,
            n_chroms: unknown.len(),
            first_chrom: chrom,
            named_otherwise: unknown
                .into_iter()
                .filter_map(|(name, chrom)| Some((name, chrom?.to_string())))
                .collect(),
        }));
    }
    let path = path.to_path_buf();
    let hint = sizes.hint(&chrom);
    Err(match line {
        Some(line) => GenomeError::UnknownChromOnLine {
            path,
            line,
            chrom,
            hint,
        },
        None => GenomeError::UnknownChrom {
            path,
            hint: format!("in the genome {hint}"),
            chrom,
        },
    }
    .into())
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
