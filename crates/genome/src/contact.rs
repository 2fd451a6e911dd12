//! Hi-C contact of a gene's start with the bins around it.

mod cool;
mod hic;
mod profile_cache;
mod stored;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use self::cool::CoolMap;
use self::hic::HicMap;
use self::profile_cache::ProfileCache;
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::input_file::{foreign_content, read_head};
use crate::interval::Interval;

pub use cool::{ContactPixel, write_cool};
pub use stored::StoredContacts;

/// How raw contact counts are corrected for how well each bin is seen.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Normalization {
    /// Counts as they are.
    #[default]
    None,
    /// Iterative correction as cooler stores it: count * weight_i * weight_j.
    Weight,
    /// Vanilla coverage: count / (factor_i * factor_j), as the three below.
    Vc,
    /// Square root of vanilla coverage.
    VcSqrt,
    /// Knight-Ruiz balancing.
    Kr,
    /// Juicer's SCALE balancing.
    Scale,
}

impl Normalization {
    const ALL: [Normalization; 6] = [
        Normalization::None,
        Normalization::Weight,
        Normalization::Vc,
        Normalization::VcSqrt,
        Normalization::Kr,
        Normalization::Scale,
    ];

    /// The name in configuration files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Normalization::None => "none",
            Normalization::Weight => "weight",
            Normalization::Vc => "vc",
            Normalization::VcSqrt => "vc_sqrt",
            Normalization::Kr => "kr",
            Normalization::Scale => "scale",
        }
    }
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no normalisation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no normalisation; there are none, weight, vc, vc_sqrt, kr, scale")]
pub struct UnknownNormalizationName(String);

impl FromStr for Normalization {
    type Err = UnknownNormalizationName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Normalization::ALL
            .into_iter()
            .find(|normalization| normalization.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownNormalizationName(crate::error::shorten(text)))
    }
}

/// A Hi-C contact map in one bin size and one normalisation, for any number of threads.
///
/// Opening reads names, bin sizes and where things are. A profile reads the stored blocks that
/// hold it: of a `.cool` or `.mcool` the rows of the pixel table from the first bin of the
/// window to the gene's bin, of a `.hic` the compressed blocks. Factors and row offsets of a
/// chromosome are read once and kept, as are the profiles (up to 32 MiB); pixels are never read
/// as a whole.
#[derive(Debug)]
pub struct ContactMap {
    path: PathBuf,
    source: Source,
    profiles: ProfileCache,
}

#[derive(Debug)]
enum Source {
    Cool(Box<CoolMap>),
    Hic(Box<HicMap>),
}

/// Contacts of one bin with the bins around it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContactProfile {
    /// Bases per bin; bin `i` covers `[i * resolution, (i + 1) * resolution)`, 0-based.
    pub resolution: u64,
    /// The bin that `contacts[0]` belongs to.
    pub first_bin: u64,
    /// One value per bin in order of position. NaN: the normalisation masks this bin or the
    /// gene's own; 0: both are seen and no contact was.
    pub contacts: Vec<f64>,
}

impl ContactMap {
    /// Opens a `.hic`, `.mcool` or `.cool` file; its first bytes tell which.
    ///
    /// `resolution_bp` is the bin size in bases, and must be one that the file was binned at.
    ///
    /// # Errors
    /// [`GenomeError::Io`]; [`GenomeError::UnknownResolution`] and
    /// [`GenomeError::UnknownNormalization`], naming what the file has;
    /// [`GenomeError::CorruptAtByte`] or [`GenomeError::CorruptObject`] when it is none of the
    /// three, cut off or damaged.
    pub fn open(
        path: impl AsRef<Path>,
        resolution_bp: u32,
        normalization: Normalization,
    ) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let resolution = u64::from(resolution_bp);
        let head = read_head(path)?;
        let source = if head.starts_with(HDF5_MAGIC) {
            Source::Cool(Box::new(CoolMap::open(path, resolution, normalization)?))
        } else if head.starts_with(HIC_MAGIC) {
            Source::Hic(Box::new(HicMap::open(path, resolution, normalization)?))
        } else {
            return Err(GenomeError::CorruptAtByte {
                path: path.to_path_buf(),
                offset: 0,
                reason: match foreign_content(&head) {
                    Some(content) => {
                        format!("this is {content}; give a .hic, .cool or .mcool file")
                    }
                    None => "this is neither a .hic nor a .cool or .mcool file; give one of these"
                        .to_string(),
                },
            });
        };
        Ok(ContactMap {
            path: path.to_path_buf(),
            source,
            profiles: ProfileCache::default(),
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The chromosomes with their lengths, in the file's order.
    pub fn chrom_sizes(&self) -> &ChromSizes {
        match &self.source {
            Source::Cool(map) => map.chrom_sizes(),
            Source::Hic(map) => map.chrom_sizes(),
        }
    }

    /// Bases per bin.
    pub fn resolution(&self) -> u64 {
        match &self.source {
            Source::Cool(map) => map.resolution(),
            Source::Hic(map) => map.resolution(),
        }
    }

    /// Reads the contact of the TSS's bin with every bin that overlaps the window.
    ///
    /// `tss` is 0-based. The map is symmetric: bins before and after the TSS are read alike. The
    /// first and last bin may reach over the window's ends, and the last bin of a chromosome
    /// over the chromosome's end.
    ///
    /// # Errors
    /// [`GenomeError::UnknownChrom`], [`GenomeError::OutsideChrom`] and
    /// [`GenomeError::WindowOnOtherChrom`] for places that the map does not have;
    /// [`GenomeError::UnknownNormalization`] when this chromosome has no factors;
    /// [`GenomeError::CorruptAtByte`] or [`GenomeError::CorruptObject`] for damaged data.
    pub fn read_profile(
        &self,
        chrom: &str,
        tss: u64,
        window: &Interval,
    ) -> Result<ContactProfile, GenomeError> {
        if window.chrom() != chrom {
            return Err(GenomeError::WindowOnOtherChrom {
                path: self.path.clone(),
                window: window.to_string(),
                chrom: crate::error::shorten(chrom),
            });
        }
        self.chrom_sizes().check(&self.path, window)?;
        let tss_base = Interval::try_new(chrom, tss, tss.saturating_add(1))?;
        self.chrom_sizes().check(&self.path, &tss_base)?;

        let resolution = self.resolution();
        let bins = match window.is_empty() {
            true => window.start() / resolution..window.start() / resolution,
            false => window.start() / resolution..window.end().div_ceil(resolution),
        };
        let (first_bin, tss_bin) = (bins.start, tss / resolution);
        let contacts = if bins.is_empty() {
            Vec::new()
        } else {
            let chrom_index = self.chrom_sizes().index_of(chrom).unwrap_or(usize::MAX);
            self.profiles
                .find_or_read(chrom_index, tss_bin, &bins, || match &self.source {
                    Source::Cool(map) => map.read_row(chrom, tss_bin, bins.clone()),
                    Source::Hic(map) => map.read_row(chrom, tss_bin, bins.clone()),
                })?
        };
        Ok(ContactProfile {
            resolution,
            first_bin,
            contacts,
        })
    }
}

const HDF5_MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";
const HIC_MAGIC: &[u8] = b"HIC\0";

/// Number of bins of a chromosome; the last one may be shorter than the others.
fn n_bins_of(length: u64, resolution: u64) -> u64 {
    length.div_ceil(resolution)
}

/// Joins what a file has for an error message.
fn listing<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    match names.is_empty() {
        true => "none".to_string(),
        false => names.join(", "),
    }
}

/// Applies per-bin factors to one row: NaN wherever a factor is missing, NaN or, to divide by, 0.
fn apply_factors(contacts: &mut [f64], bins: &Range<u64>, bin: u64, factors: &Factors) {
    let own = factors.get(bin);
    for (contact, other_bin) in contacts.iter_mut().zip(bins.clone()) {
        let other = factors.get(other_bin);
        *contact = match factors.kind {
            FactorKind::Multiply => *contact * own * other,
            FactorKind::Divide => *contact / (own * other),
        };
    }
}

/// One factor per bin of a chromosome.
#[derive(Debug)]
struct Factors {
    values: Vec<f64>,
    kind: FactorKind,
}

/// What is done with a bin's factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FactorKind {
    Multiply,
    Divide,
}

impl Factors {
    fn get(&self, bin: u64) -> f64 {
        let value = usize::try_from(bin)
            .ok()
            .and_then(|bin| self.values.get(bin))
            .copied()
            .unwrap_or(f64::NAN);
        match self.kind {
            FactorKind::Divide if value == 0.0 => f64::NAN,
            _ if value.is_infinite() => f64::NAN,
            _ => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error as ValueError, StrDeserializer};

    use super::*;

    #[test]
    fn normalization_names_read_back() {
        for normalization in Normalization::ALL {
            assert_eq!(normalization.to_string().parse(), Ok(normalization));
            let text: StrDeserializer<'_, ValueError> = normalization.name().into_deserializer();
            assert_eq!(Normalization::deserialize(text), Ok(normalization));
        }
        assert_eq!("KR".parse(), Ok(Normalization::Kr));
        let error = "ice".parse::<Normalization>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"ice\" is no normalisation; there are none, weight, vc, vc_sqrt, kr, scale"
        );
    }

    #[test]
    fn apply_factors_masks_and_scales() {
        let nan = f64::NAN;
        // bins 1, 2, 3 of factors [2, 4, NaN, 0, 5]; own bin 0 (factor 2).
        let cases = [
            (FactorKind::Multiply, 0, [8.0, nan, 0.0]),
            (FactorKind::Divide, 0, [0.125, nan, nan]),
            (FactorKind::Multiply, 2, [nan, nan, nan]),
            (FactorKind::Divide, 9, [nan, nan, nan]),
        ];
        for (kind, bin, expected) in cases {
            let factors = Factors {
                values: vec![2.0, 4.0, nan, 0.0, 5.0],
                kind,
            };
            let mut contacts = [1.0; 3];
            apply_factors(&mut contacts, &(1..4), bin, &factors);
            for (found, expected) in contacts.into_iter().zip(expected) {
                assert!(
                    found == expected || (found.is_nan() && expected.is_nan()),
                    "{kind:?} {bin}: {contacts:?}"
                );
            }
        }
    }

    #[test]
    fn infinite_factors_mask_their_bin() {
        for kind in [FactorKind::Multiply, FactorKind::Divide] {
            for value in [f64::INFINITY, f64::NEG_INFINITY] {
                let factors = Factors {
                    values: vec![2.0, value],
                    kind,
                };
                let mut contacts = [1.0; 2];
                apply_factors(&mut contacts, &(0..2), 0, &factors);
                assert!(!contacts[0].is_nan() && contacts[1].is_nan(), "{kind:?}");
            }
        }
    }

    #[test]
    fn open_other_files_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.hic");
        for bytes in [&b""[..], b"HIC", b"chr1\t0\t5000", b"\x89HDF"] {
            std::fs::write(&path, bytes).unwrap();
            let error = ContactMap::open(&path, 5000, Normalization::None).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains("a.hic: byte 0: this is neither"),
                "{message}"
            );
        }
        std::fs::write(&path, "<!DOCTYPE html><title>404</title>").unwrap();
        let error = ContactMap::open(&path, 5000, Normalization::None).unwrap_err();
        assert!(error.to_string().contains("this is a web page"), "{error}");
        let error = ContactMap::open(folder.path().join("b"), 5000, Normalization::None);
        assert!(matches!(error, Err(GenomeError::Io { .. })));
    }
}
