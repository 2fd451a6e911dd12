//! What a prepared data set was made of.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use genome::ChosenBy;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::empty_tracks::empty_tracks;
use crate::config::DataConfig;
use crate::error::DatasetError;
use crate::example::ExampleReader;
use crate::features::FeatureScaling;
use crate::fold::Split;
use crate::misnamed::MisnamedGenes;
use crate::region_file::RegionsLeftOut;
use crate::selection::{SkipCounts, SkippedGene};
use crate::source::ExampleSource;
use crate::split_overlap::SplitOverlap;
use crate::stray_starts::StrayStarts;
use crate::tss_peaks::TssCounts;

/// The file `manifest.json` of a prepared data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT_VERSION`](super::FORMAT_VERSION) of the program that wrote it.
    pub format_version: u32,
    /// Version of the program that wrote it.
    pub tool_version: String,
    /// The data file.
    pub data: DataFile,
    /// What it was made of.
    pub description: DataDescription,
}

/// The data file as its manifest knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// Name in the manifest's folder.
    pub name: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Everything that decides the content of a data set, prepared or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataDescription {
    /// The settings, with paths as they were resolved.
    pub settings: DataConfig,
    /// Every input file.
    pub sources: Vec<SourceFile>,
    /// Names of the tracks in order.
    pub tracks: Vec<String>,
    /// Where the contact comes from.
    pub contact: ContactSource,
    /// Tracks without data for chromosomes that genes lie on: track → chromosome → examples there.
    pub absent: BTreeMap<String, BTreeMap<String, usize>>,
    /// Tracks that are 0 at every base of every window that was looked at, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub empty_tracks: Vec<String>,
    /// How features were standardised.
    pub features: FeatureScaling,
    /// Number of examples of each split.
    pub examples: SplitCounts,
    /// What became of the annotated start sites; none when they were not compared with peaks.
    pub tss: Option<TssCounts>,
    /// Windows that share bases with one of a split before.
    pub overlaps: Vec<SplitOverlap>,
    /// How the transcripts of the mRNA features were chosen, with the number of genes of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub transcripts: BTreeMap<ChosenBy, usize>,
    /// Genes whose MANE Select or canonical transcript begins outside their promoter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stray_starts: Option<StrayStarts>,
    /// Genes without a coding transcript, whose mRNA features are the mean.
    pub genes_without_mrna: Vec<String>,
    /// Number of genes of the table that are no examples, by reason.
    pub left_out: SkipCounts,
    /// Genes of the table that are no examples.
    pub skipped: Vec<SkippedGene>,
    /// Genes among those without measured expression that the table has under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub misnamed: Option<MisnamedGenes>,
    /// Files of regions some of which lie on chromosomes that the genome does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions_left_out: Vec<RegionsLeftOut>,
    /// Name and length in bases of each chromosome of the genome, in its order; none in data sets of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chrom_sizes: Vec<(String, u64)>,
}

/// One input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// What it is used for, for example `genome` or `track dnase`.
    pub role: String,
    /// Where it was.
    pub path: PathBuf,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl SourceFile {
    /// Reads the file, or the files of the folder, at `path` once, for its digest.
    ///
    /// # Errors
    /// [`DatasetError::Io`] when it cannot be read.
    pub fn read(role: String, path: &Path) -> Result<Self, DatasetError> {
        let (size_bytes, sha256) = digest_source(path)?;
        Ok(Self {
            role,
            path: path.to_path_buf(),
            size_bytes,
            sha256,
        })
    }
}

/// Where the contact of a data set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactSource {
    /// There is no contact track.
    Absent,
    /// A Hi-C map.
    Measured,
    /// The average contact at the same distance.
    PowerLaw,
}

/// Number of examples of each split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitCounts {
    /// Training examples.
    pub train: usize,
    /// Validation examples.
    pub valid: usize,
    /// Test examples.
    pub test: usize,
}

impl SplitCounts {
    /// Counts the examples of a source.
    pub fn of(source: &dyn ExampleSource) -> Self {
        let mut counts = SplitCounts::default();
        for index in 0..source.len() {
            match source.split(index) {
                Split::Train => counts.train += 1,
                Split::Valid => counts.valid += 1,
                Split::Test => counts.test += 1,
            }
        }
        counts
    }
}

/// Describes the data set of a reader; reads every input file once, for its digest.
///
/// # Errors
/// [`DatasetError::Io`] when a file cannot be read.
pub fn describe_data(reader: &ExampleReader) -> Result<DataDescription, DatasetError> {
    // One file a task; the results keep the order of the list.
    let sources = reader
        .config()
        .source_files()
        .into_par_iter()
        .map(|(role, path)| SourceFile::read(role, path))
        .collect::<Result<Vec<SourceFile>, DatasetError>>()?;
    Ok(DataDescription {
        sources,
        ..DataDescription::without_sources(reader)
    })
}

impl DataDescription {
    /// Describes the data set of a reader without its input files, which are not read.
    pub fn without_sources(reader: &ExampleReader) -> Self {
        let config = reader.config();
        let contact = match &config.contact {
            None => ContactSource::Absent,
            Some(contact) if contact.path.is_some() => ContactSource::Measured,
            Some(_) => ContactSource::PowerLaw,
        };
        DataDescription {
            settings: config.clone(),
            sources: Vec::new(),
            tracks: config.track_names(),
            contact,
            absent: reader.absent_chroms(),
            empty_tracks: empty_tracks(reader),
            features: *reader.feature_scaling(),
            examples: SplitCounts::of(reader),
            tss: reader.tss_counts(),
            overlaps: reader.split_overlaps(),
            transcripts: reader.transcript_choices().clone(),
            stray_starts: reader.stray_starts().cloned(),
            genes_without_mrna: reader
                .genes_without_mrna()
                .map(|gene| gene.symbol.clone())
                .collect(),
            left_out: SkipCounts::of(reader.skipped()),
            skipped: reader.skipped().to_vec(),
            misnamed: reader.misnamed_genes().cloned(),
            regions_left_out: reader.regions_left_out().to_vec(),
            chrom_sizes: reader
                .chrom_sizes()
                .iter()
                .map(|(chrom, length)| (chrom.to_string(), length))
                .collect(),
        }
    }

    /// SHA-256, in hexadecimal, of everything that decides the examples: settings and the content
    /// of the files, but not where they lie.
    ///
    /// The same for raw files and for the data set prepared from them.
    pub fn digest(&self) -> String {
        let mut content = self.clone();
        content.settings.keep_content();
        // They follow from the files and the settings.
        content.regions_left_out.clear();
        content.misnamed = None;
        content.stray_starts = None;
        content.empty_tracks.clear();
        content.chrom_sizes.clear();
        for source in &mut content.sources {
            source.path = PathBuf::new();
        }
        // Plain structs of strings and numbers: there is nothing that JSON cannot hold.
        let bytes = serde_json::to_vec(&content).unwrap_or_default();
        hex(&Sha256::digest(bytes))
    }
}

/// Size in bytes and SHA-256 in hexadecimal of a file, or of names, sizes and digests of the files
/// of a folder, sorted.
fn digest_source(path: &Path) -> Result<(u64, String), DatasetError> {
    if !path.is_dir() {
        return digest_file(path);
    }
    let entries = std::fs::read_dir(path).map_err(DatasetError::io(path, "open"))?;
    let mut files = entries
        .map(|entry| Ok(entry.map_err(DatasetError::io(path, "read"))?.path()))
        .collect::<Result<Vec<PathBuf>, DatasetError>>()?;
    files.retain(|file| file.is_file());
    files.sort_unstable();
    let mut hasher = Sha256::new();
    let mut total = 0;
    for file in &files {
        let (size, digest) = digest_file(file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        hasher.update(format!("{name}\t{size}\t{digest}\n"));
        total += size;
    }
    Ok((total, hex(&hasher.finalize())))
}

/// Size in bytes and SHA-256 in hexadecimal of a file.
pub(super) fn digest_file(path: &Path) -> Result<(u64, String), DatasetError> {
    let mut file = File::open(path).map_err(DatasetError::io(path, "open"))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut size = 0;
    loop {
        let n = file
            .read(&mut buffer)
            .map_err(DatasetError::io(path, "read"))?;
        if n == 0 {
            return Ok((size, hex(&hasher.finalize())));
        }
        size += n as u64;
        hasher.update(&buffer[..n]);
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_file_is_sha256() {
        // printf abc | sha256sum
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_file(&path).unwrap(), (3, expected.to_string()));
        let error = digest_file(&folder.path().join("none")).unwrap_err();
        assert!(error.to_string().starts_with("cannot open "), "{error}");
    }
}
