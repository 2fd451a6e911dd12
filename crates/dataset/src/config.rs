//! What a data set is made of: files, window, split.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use genome::CramReference;
use serde::{Deserialize, Serialize};

use crate::activity_table::ActivityConfig;
use crate::candidate::CandidateConfig;
use crate::contact_config::ContactConfig;
use crate::expression_config::{ExpressionConfig, MissingExpression};
use crate::hidden_input::HiddenInput;
use crate::mask_prior::MaskPrior;
use crate::region_file::one_or_many;
use crate::split_config::SplitConfig;
use crate::track_config::{AbsentChrom, TrackConfig, TrackTransform};
use crate::tss_peaks::TssPeaksConfig;

/// Everything needed to turn one gene into the arrays a model reads.
///
/// Relative paths belong to the folder of the configuration file; [`resolve`](Self::resolve) joins
/// them with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Reference genome: FASTA, plain or bgzip, or `.2bit`. Its chromosome names are the ones that count.
    pub genome: PathBuf,
    /// Gene table (TSV, see [`genome::read_gene_table`]), or a GTF or GFF3 when the name ends in `.gtf`,
    /// `.gff` or `.gff3`, also with `.gz`.
    pub genes: PathBuf,
    /// Peaks that the genes' start sites are moved to. Default: none, they are as annotated.
    #[serde(default)]
    pub tss_peaks: Option<TssPeaksConfig>,
    /// GTF or GFF3 from which the mRNA features are computed. Default: none.
    #[serde(default)]
    pub annotation: Option<PathBuf>,
    /// Table of ready mRNA features ([`genome::read_mrna_table`], or standardised already as
    /// [`genome::read_standardised_mrna`] reads them); goes before `annotation` when both are given. Default: none.
    #[serde(default)]
    pub mrna_features: Option<PathBuf>,
    /// Measured expression, the target.
    pub expression: ExpressionConfig,
    /// Tracks in the order the model sees them; published: `h3k27ac`, `dnase`. Default: none.
    #[serde(default)]
    pub tracks: Vec<TrackConfig>,
    /// Contact of each position with the start site, the last track. Default: no such track.
    #[serde(default)]
    pub contact: Option<ContactConfig>,
    /// Table of promoter activities; goes before `activity_tracks`. Default: none.
    #[serde(default)]
    pub promoter_activity: Option<ActivityConfig>,
    /// Names of the tracks whose geometric mean around the start site is the promoter activity.
    /// Default: `h3k27ac` and `dnase`, as far as there are tracks of that name.
    #[serde(default)]
    pub activity_tracks: Option<Vec<String>>,
    /// What is done to the promoter activity. Default and published: `raw`; take `log10p1` when the
    /// tracks are in a unit of hundreds or thousands, which would drown the other features.
    #[serde(default)]
    pub activity_transform: TrackTransform,
    /// Regions where the mask is 1 (BED). Default: none.
    #[serde(default)]
    pub include: Option<PathBuf>,
    /// Regions where the mask is 0 (BED), published: the ENCODE blocklist. Default: none.
    #[serde(default)]
    pub exclude: Option<PathBuf>,
    /// Peaks (BED or narrowPeak), one file or a list of them; a base that any of them covers is 1 in the mask of a
    /// network whose mask is not learned. Default: none.
    #[serde(
        default,
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub peaks: Vec<PathBuf>,
    /// Candidate enhancers of each gene, for a network that reads them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates: Option<CandidateConfig>,
    /// Window length in bases, even. Default and published: 200,000 (reference name `max_length`).
    #[serde(default = "default_length")]
    pub length: u64,
    /// Central bases that are always used, even. Default and published: 2,000.
    #[serde(default = "default_promoter")]
    pub promoter: u64,
    /// Input that is blanked, for ablations. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<HiddenInput>,
    /// Which genes are trained on, validated and tested.
    pub split: SplitConfig,
    /// Kinds of genes to keep, for example `["protein_coding"]`. Default: all.
    #[serde(default)]
    pub gene_types: Option<Vec<String>>,
    /// What happens to a gene whose expression was not measured. Default: `skip`.
    #[serde(default)]
    pub missing_expression: MissingExpression,
    /// Other names of the genome's chromosomes, `{ "22" = "chr22" }`: a file that calls `chr22` by
    /// the name `22` is then read under that name. Default: none; nothing is renamed by itself.
    #[serde(default)]
    pub chrom_alias: BTreeMap<String, String>,
}

fn default_length() -> u64 {
    200_000
}

fn default_promoter() -> u64 {
    2_000
}

impl DataConfig {
    /// The configuration with every relative path joined with `folder`.
    pub fn resolve(&self, folder: &Path) -> DataConfig {
        let mut resolved = self.clone();
        for path in resolved.paths_mut() {
            // Joining with an absolute path gives that path.
            *path = folder.join(&*path);
        }
        resolved
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [
            Some(&mut self.genome),
            Some(&mut self.genes),
            Some(&mut self.expression.path),
            self.annotation.as_mut(),
            self.mrna_features.as_mut(),
            self.expression.minus.as_mut(),
            self.include.as_mut(),
            self.exclude.as_mut(),
            self.tss_peaks.as_mut().map(|peaks| &mut peaks.path),
            self.promoter_activity.as_mut().map(|table| &mut table.path),
            self.split.path_mut(),
            self.contact
                .as_mut()
                .and_then(|contact| contact.path.as_mut()),
        ]
        .into_iter()
        .flatten()
        .chain(self.tracks.iter_mut().map(|track| &mut track.path))
        .chain(&mut self.peaks)
        .chain(
            self.candidates
                .iter_mut()
                .flat_map(|config| [config.elements.as_mut(), config.links.as_mut()])
                .flatten(),
        )
    }

    /// Every input file with what it is used for, for example `genome` or `track dnase`.
    pub fn source_files(&self) -> Vec<(String, &Path)> {
        let mut files = vec![
            ("genome".to_string(), self.genome.as_path()),
            ("genes".to_string(), self.genes.as_path()),
            ("expression".to_string(), self.expression.path.as_path()),
        ];
        for track in &self.tracks {
            files.push((format!("track {}", track.name), &track.path));
        }
        let contact = self
            .contact
            .as_ref()
            .and_then(|contact| contact.path.as_ref());
        for (role, path) in [
            (CONTACT_TRACK, contact),
            (
                "tss_peaks",
                self.tss_peaks.as_ref().map(|peaks| &peaks.path),
            ),
            ("annotation", self.annotation.as_ref()),
            ("mrna_features", self.mrna_features.as_ref()),
            ("expression minus", self.expression.minus.as_ref()),
            ("include", self.include.as_ref()),
            ("exclude", self.exclude.as_ref()),
            (
                "promoter_activity",
                self.promoter_activity.as_ref().map(|table| &table.path),
            ),
            ("split", self.split.path()),
        ] {
            files.extend(path.map(|path| (role.to_string(), path.as_path())));
        }
        files.extend(
            self.peaks
                .iter()
                .map(|path| ("peaks".to_string(), path.as_path())),
        );
        if let Some(config) = &self.candidates {
            for (role, path) in [
                ("candidates", &config.elements),
                ("candidate links", &config.links),
            ] {
                files.extend(path.iter().map(|path| (role.to_string(), path.as_path())));
            }
        }
        files
    }

    /// What is declared about chromosomes that the file of a role (`contact`, `track dnase`) lacks;
    /// nothing for one of which it cannot be declared.
    pub(crate) fn absent_chrom(&self, role: &str) -> Option<AbsentChrom> {
        let is_role = |track: &&TrackConfig| role.strip_prefix("track ") == Some(&track.name);
        match &self.contact {
            Some(contact) if role == CONTACT_TRACK => Some(contact.absent),
            _ => self.tracks.iter().find(is_role).map(|track| track.absent),
        }
    }

    /// Forgets what does not decide the examples: where files lie, and what only the network uses.
    pub(crate) fn keep_content(&mut self) {
        for path in self.paths_mut() {
            path.clear();
        }
        for track in &mut self.tracks {
            (track.beta, track.weight, track.assay) = (None, None, None);
        }
        if let Some(contact) = &mut self.contact {
            (contact.beta, contact.weight) = (None, None);
        }
    }

    /// The genome that a CRAM is decoded with, its chromosomes also by the names that `chrom_alias` gives them.
    pub(crate) fn cram_reference(&self) -> CramReference {
        CramReference::new(&self.genome, self.chrom_alias.clone())
    }

    /// Number of tracks of an example, the contact included.
    pub fn n_tracks(&self) -> usize {
        self.tracks.len() + usize::from(self.contact.is_some())
    }

    /// Names of the tracks of an example, in order; the contact is called `contact`.
    pub fn track_names(&self) -> Vec<String> {
        let contact = self.contact.as_ref().map(|_| CONTACT_TRACK.to_string());
        self.tracks
            .iter()
            .map(|track| track.name.clone())
            .chain(contact)
            .collect()
    }

    /// The mask's constants of each track of an example, in order; nothing for a track that declares
    /// none and whose name has no published ones.
    pub fn mask_priors(&self) -> Vec<Option<MaskPrior>> {
        let tracks = self
            .tracks
            .iter()
            .map(|track| MaskPrior::of_track(&track.name, track.beta, track.weight));
        let contact = self
            .contact
            .iter()
            .map(|contact| MaskPrior::of_track(CONTACT_TRACK, contact.beta, contact.weight));
        tracks.chain(contact).collect()
    }

    /// Indices into `tracks` of those that make up the promoter activity.
    pub fn activity_track_indices(&self) -> Vec<usize> {
        let index_of = |name: &str| self.tracks.iter().position(|track| track.name == name);
        match &self.activity_tracks {
            Some(names) => names.iter().filter_map(|name| index_of(name)).collect(),
            None => ACTIVITY_TRACKS
                .iter()
                .filter_map(|name| index_of(name))
                .collect(),
        }
    }

    /// Every problem that can be seen without opening a file; empty when there is none.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (role, path) in self.source_files() {
            if path.to_str().is_none() {
                problems.push(format!(
                    "{role}: the path {} is no UTF-8 text, as which settings are saved; rename the file or its folder",
                    path.display()
                ));
            }
        }
        self.validate_tracks(&mut problems);
        if self.length == 0 || !self.length.is_multiple_of(2) {
            problems.push(format!(
                "length {} must be even and at least 2, so that the start site is the center",
                self.length
            ));
        }
        if self.length > MAX_LENGTH {
            problems.push(format!(
                "length {} is longer than {MAX_LENGTH} bases",
                self.length
            ));
        }
        if self.promoter == 0 || !self.promoter.is_multiple_of(2) || self.promoter > self.length {
            problems.push(format!(
                "promoter {} must be even, at least 2 and at most length ({})",
                self.promoter, self.length
            ));
        }
        if self.gene_types.as_ref().is_some_and(Vec::is_empty) {
            problems.push("gene_types is empty, so no gene is left; name one or remove it".into());
        }
        for (alias, chrom) in &self.chrom_alias {
            if self.chrom_alias.contains_key(chrom) {
                problems.push(format!(
                    "chrom_alias {alias:?} leads to {chrom:?}, which is itself an alias; \
                     name the genome's chromosome"
                ));
            }
        }
        if self
            .promoter_activity
            .as_ref()
            .is_some_and(|table| table.columns.is_empty())
        {
            problems.push("promoter_activity names no column".into());
        }
        if let Some(candidates) = &self.candidates {
            candidates.validate(&mut problems);
        }
        self.split.validate(&mut problems);
        self.expression.validate(&mut problems);
        problems
    }

    fn validate_tracks(&self, problems: &mut Vec<String>) {
        let mut names = HashSet::new();
        for track in &self.tracks {
            track.validate(problems);
            if track.name == CONTACT_TRACK {
                problems.push(format!(
                    "track name {CONTACT_TRACK:?} is kept for the contact; choose another"
                ));
            }
            if !names.insert(&track.name) {
                problems.push(format!("track name {:?} is used twice", track.name));
            }
        }
        if let Some(contact) = &self.contact {
            contact.validate(problems);
        }
        for name in self.activity_tracks.iter().flatten() {
            if !names.contains(name) {
                problems.push(format!("activity_tracks names {name:?}, which is no track"));
            }
        }
    }
}

/// Name of the contact among the tracks.
pub const CONTACT_TRACK: &str = "contact";

/// Tracks of the published promoter activity, sqrt(H3K27ac x DNase).
const ACTIVITY_TRACKS: [&str; 2] = ["h3k27ac", "dnase"];

/// Longest window: array indices and run lengths of the prepared file are 32 bits wide, and no
/// human chromosome is longer than 250 million bases.
const MAX_LENGTH: u64 = 1 << 28;

#[cfg(test)]
mod tests;
