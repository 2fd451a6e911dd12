//! Examples straight from the files a user gives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use genome::{
    ChosenBy, ChromSizes, Conversion, Gene, Interval, Reference, RegionIndex, TrackFile,
    UnstrandedGene, read_annotation, read_gene_table,
};

use super::{Example, ExampleParts};
use crate::activity_table::ActivityTable;
use crate::candidate::{CandidateSource, Candidates};
use crate::chrom_alias::{ChromAlias, count_genes_by_chrom};
use crate::config::{CONTACT_TRACK, DataConfig};
use crate::contact_track::ContactTrack;
use crate::error::DatasetError;
use crate::features::{FeatureScaling, promoter_activity};
use crate::fold::Split;
use crate::hidden_input::HiddenInput;
use crate::misnamed::MisnamedGenes;
use crate::mrna::{Mrna, Transcripts};
use crate::one_hot::{NO_BASE, base_code};
use crate::placed_genes::PlacedGenes;
use crate::region_file::{RegionsLeftOut, read_region_files};
use crate::region_mask::{covered, region_codes};
use crate::selection::{Selection, SkipReason, SkippedGene, select_genes};
use crate::source::ExampleSource;
use crate::split_overlap::{SplitOverlap, count_overlaps};
use crate::stray_starts::StrayStarts;
use crate::target::read_target;
use crate::track_config::TrackTransform;
use crate::tracks::Track;
use crate::tss_peaks::TssCounts;
use crate::window::Window;

/// Reads examples from the files of a [`DataConfig`]; for any number of threads.
///
/// Opening reads the tables and compares chromosome names and lengths of every file with the
/// genome's; sequence, tracks and contacts are read window by window.
#[derive(Debug)]
pub struct ExampleReader {
    config: DataConfig,
    genome: Reference,
    selection: Selection,
    mrna: Mrna,
    transcripts: Transcripts,
    activity_table: Option<ActivityTable>,
    scaling: FeatureScaling,
    tracks: Vec<Track>,
    activity_tracks: Vec<usize>,
    contact: Option<ContactTrack>,
    exclude: RegionIndex,
    include: RegionIndex,
    peaks: Option<RegionIndex>,
    candidates: Option<CandidateSource>,
    regions_left_out: Vec<RegionsLeftOut>,
}

impl ExampleReader {
    /// Opens every file of the configuration; features are standardised over its training genes.
    ///
    /// # Errors
    /// [`DatasetError`] naming file and line: a configuration that contradicts itself, a file that
    /// is missing or damaged, names or lengths of chromosomes that disagree, a start site past the
    /// end of its chromosome, a gene without what is needed, a split without a gene.
    pub fn open(config: &DataConfig) -> Result<Self, DatasetError> {
        Self::open_scaled(config, None)
    }

    /// Opens every file of the configuration; features are standardised as `scaling` says.
    ///
    /// For genes that a trained model has not seen: they must be scaled as its training genes were.
    /// None of them needs to have a coding transcript.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with_scaling(
        config: &DataConfig,
        scaling: &FeatureScaling,
    ) -> Result<Self, DatasetError> {
        Self::open_scaled(config, Some(scaling))
    }

    fn open_scaled(
        config: &DataConfig,
        scaling: Option<&FeatureScaling>,
    ) -> Result<Self, DatasetError> {
        let problems = config.validate();
        if !problems.is_empty() {
            return Err(DatasetError::Config { problems });
        }
        check_files(config)?;
        let genome = Reference::open(&config.genome)?;
        let sizes = genome.chrom_sizes();
        let alias = ChromAlias::try_new(&config.chrom_alias, &config.genome, sizes)?;
        let (genes, unstranded) = read_genes(&config.genes)?;
        let mut placed = PlacedGenes::find(config, genes, sizes, &alias)?;
        placed.skipped.extend(unstranded);
        let mut regions_left_out = std::mem::take(&mut placed.peaks_left_out);
        let expression = read_target(config, &placed.genes, &alias)?;
        let selection = select_genes(config, placed, &expression, sizes)?;
        let needed = count_genes_by_chrom(&selection.genes);

        let known = alias.sizes_by_any_name();
        let tracks = config
            .tracks
            .iter()
            .map(|track| {
                let reference = config.cram_reference();
                let file = TrackFile::open(&track.path, &known, reference, &track.reads)?;
                let names =
                    alias.names_in(&track.path, file.chrom_sizes(), &needed, Some(track.absent))?;
                Ok(Track::new(track, file, names))
            })
            .collect::<Result<Vec<Track>, DatasetError>>()?;
        let contact = config
            .contact
            .as_ref()
            .map(|contact| ContactTrack::open(contact, &alias, &needed))
            .transpose()?;
        let mut read_regions = |role: &str, paths: Vec<&PathBuf>| {
            read_region_files(role, paths, &alias, sizes, &mut regions_left_out)
        };
        let exclude = read_regions("exclude", config.exclude.iter().collect())?;
        let include = read_regions("include", config.include.iter().collect())?;
        let peaks = match config.peaks.is_empty() {
            true => None,
            false => Some(read_regions("peaks", config.peaks.iter().collect())?),
        };

        let candidates = match &config.candidates {
            None => None,
            Some(candidates) => Some(match &candidates.links {
                Some(path) => CandidateSource::read_links(candidates, path, &selection.genes)?,
                None => CandidateSource::Elements(read_regions(
                    "candidates",
                    candidates.elements.iter().collect(),
                )?),
            }),
        };

        let (mrna, transcripts) = Mrna::read(config, &selection.genes, &genome, &alias)?;
        // Genes that a scaling is brought for may all be without one; training genes may not.
        if scaling.is_none() {
            mrna.check(config, &selection.genes)?;
        }
        let scaling = scaling
            .copied()
            .unwrap_or_else(|| mrna.scaling_of(&selection.splits));
        let activity_table = config
            .promoter_activity
            .as_ref()
            .map(ActivityTable::open)
            .transpose()?;
        Ok(ExampleReader {
            activity_tracks: config.activity_track_indices(),
            config: config.clone(),
            genome,
            selection,
            mrna,
            transcripts,
            activity_table,
            scaling,
            tracks,
            contact,
            exclude,
            include,
            peaks,
            candidates,
            regions_left_out,
        })
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &DataConfig {
        &self.config
    }

    /// Names and lengths of the genome's chromosomes.
    pub fn chrom_sizes(&self) -> &ChromSizes {
        self.genome.chrom_sizes()
    }

    /// The genes of the examples, in the order of the gene table.
    pub fn genes(&self) -> &[Gene] {
        &self.selection.genes
    }

    /// The genes of the table that are no examples, with the reason, in the order of the table.
    pub fn skipped(&self) -> &[SkippedGene] {
        &self.selection.skipped
    }

    /// The genes among those without measured expression that the table has under another name.
    pub fn misnamed_genes(&self) -> Option<&MisnamedGenes> {
        self.selection.misnamed.as_ref()
    }

    /// The transformed expression of an example; none when it was not measured, or past the last example.
    pub fn target(&self, index: usize) -> Option<f32> {
        self.selection.targets.get(index).copied().flatten()
    }

    /// The files of regions some of which lie on chromosomes that the genome does not have.
    pub fn regions_left_out(&self) -> &[RegionsLeftOut] {
        &self.regions_left_out
    }

    /// What each track that is no bigWig was converted into.
    pub fn conversions(&self) -> impl Iterator<Item = &Conversion> {
        self.tracks.iter().filter_map(Track::conversion)
    }

    /// How features are standardised.
    pub fn feature_scaling(&self) -> &FeatureScaling {
        &self.scaling
    }

    /// The genes without a coding transcript, whose mRNA features are therefore the mean.
    pub fn genes_without_mrna(&self) -> impl Iterator<Item = &Gene> {
        self.selection
            .genes
            .iter()
            .enumerate()
            .filter(|(index, _)| !self.mrna.has(*index))
            .map(|(_, gene)| gene)
    }

    /// How the transcripts were chosen from which mRNA features were computed, with the number of
    /// genes of each; empty when the features were read.
    pub fn transcript_choices(&self) -> &BTreeMap<ChosenBy, usize> {
        &self.transcripts.choices
    }

    /// The genes whose MANE Select or canonical transcript begins outside their promoter; none when there are none.
    pub fn stray_starts(&self) -> Option<&StrayStarts> {
        Some(&self.transcripts.strays).filter(|strays| strays.n_genes > 0)
    }

    /// The chromosomes without data of each track that lacks some, each with the number of examples
    /// there whose track is therefore 0.
    pub fn absent_chroms(&self) -> BTreeMap<String, BTreeMap<String, usize>> {
        let tracks = self
            .config
            .tracks
            .iter()
            .zip(&self.tracks)
            .map(|(config, track)| (config.name.as_str(), track.absent_chroms()));
        let contact = self.contact.iter().filter_map(|contact| {
            let absent = contact.absent_chroms()?;
            Some((CONTACT_TRACK, absent))
        });
        tracks
            .chain(contact)
            .filter(|(_, absent)| !absent.is_empty())
            .map(|(name, absent)| (name.to_string(), absent.clone()))
            .collect()
    }

    /// How many windows share bases with one of a split before, for each pair of splits.
    pub fn split_overlaps(&self) -> Vec<SplitOverlap> {
        count_overlaps(
            &self.selection.genes,
            &self.selection.splits,
            self.config.length,
        )
    }

    /// What became of the annotated start sites, when they were compared with peaks.
    pub fn tss_counts(&self) -> Option<TssCounts> {
        self.selection.tss
    }

    /// The window of an example.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchExample`] past the last one.
    pub fn window(&self, index: usize) -> Result<Window, DatasetError> {
        let gene = self.gene_at(index)?;
        let sizes = self.genome.chrom_sizes();
        // A chromosome that is not there has length 0, which is refused.
        let chrom_length = sizes.get(&gene.chrom).unwrap_or(0);
        Window::centered_on(&gene.chrom, gene.tss, self.config.length, chrom_length)
    }

    fn gene_at(&self, index: usize) -> Result<&Gene, DatasetError> {
        let genes = &self.selection.genes;
        genes.get(index).ok_or(DatasetError::NoSuchExample {
            index,
            len: genes.len(),
        })
    }

    /// Reads one example.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchExample`] past the last one; [`DatasetError::InvalidTrackValue`];
    /// [`DatasetError::Genome`] for a file that is damaged there.
    pub fn read(&self, index: usize) -> Result<Example, DatasetError> {
        let window = self.window(index)?;
        let gene = self.gene_at(index)?.clone();
        let n_tracks = self.config.n_tracks();
        let mut tracks = vec![0.0; window.length() as usize * n_tracks];
        let mut activities = vec![0.0; self.tracks.len()];
        for (column, track) in self.tracks.iter().enumerate() {
            let read = track.read(&window)?;
            activities[column] = read.activity;
            for (row, value) in tracks.chunks_exact_mut(n_tracks).zip(read.values) {
                row[column] = value;
            }
        }
        if let Some(contact) = &self.contact {
            let bins = contact.read(&window)?;
            bins.fill(&window, &mut tracks, n_tracks, self.tracks.len());
        }
        let mut candidates = self.read_candidates(&gene, &window, &tracks)?;
        let activities: Vec<f64> = self
            .activity_tracks
            .iter()
            .map(|&column| activities[column])
            .collect();
        let activity = match &self.activity_table {
            Some(table) => table.get(&gene, &self.config.genes)?,
            None => promoter_activity(&activities),
        };
        // What is hidden is read all the same, so that it fails where the whole example does.
        let is_hidden = |input| self.config.hidden == Some(input);
        let mut base_codes = self.read_base_codes(&window)?;
        if is_hidden(HiddenInput::Sequence) {
            base_codes.fill(NO_BASE);
        }
        let activity = match is_hidden(HiddenInput::Tracks) {
            true => {
                tracks.fill(0.0);
                for candidate in candidates.iter_mut().flat_map(|found| &mut found.list) {
                    (candidate.activity, candidate.contact_log10p1) = (0.0, 0.0);
                }
                0.0
            }
            false => activity,
        };
        let activity = match self.config.activity_transform {
            TrackTransform::Raw => activity,
            TrackTransform::Log10p1 => (activity + 1.0).log10(),
        };
        let regions = region_codes(
            &window,
            self.exclude
                .overlapping(window.inside())
                .map(|region| &region.interval),
            self.include
                .overlapping(window.inside())
                .map(|region| &region.interval),
            self.config.promoter,
        );
        let peaks = self.peaks.as_ref().map(|peaks| {
            let near = peaks.overlapping(window.inside());
            covered(&window, near.map(|region| &region.interval))
        });
        Example::try_from(ExampleParts {
            base_codes,
            gene,
            tracks,
            n_tracks,
            regions,
            peaks,
            candidates,
            features: self.mrna.features(index, &self.scaling, activity),
            target: self.selection.targets[index],
            split: self.selection.splits[index],
            window,
        })
    }

    /// The candidates of a gene; `tracks` are those of its window, of which the last is the contact.
    fn read_candidates(
        &self,
        gene: &Gene,
        window: &Window,
        tracks: &[f32],
    ) -> Result<Option<Candidates>, DatasetError> {
        let (Some(source), Some(config)) = (&self.candidates, &self.config.candidates) else {
            return Ok(None);
        };
        let n_tracks = self.config.n_tracks();
        let measure = |element: &Interval, middle: u64| {
            let means = self
                .activity_tracks
                .iter()
                .map(|&column| self.tracks[column].mean(element))
                .collect::<Result<Vec<f64>, _>>()?;
            let contact = match (&self.contact, window.offset_of(middle)) {
                (Some(_), Some(offset)) => tracks[(offset + 1) * n_tracks - 1],
                _ => 0.0,
            };
            Ok((promoter_activity(&means), contact))
        };
        source.of_gene(gene, window, config, measure).map(Some)
    }

    fn read_base_codes(&self, window: &Window) -> Result<Vec<u8>, DatasetError> {
        let mut codes = vec![NO_BASE; window.length() as usize];
        let letters = self.genome.read_bases(window.inside())?;
        let left = window.left_padding() as usize;
        for (code, letter) in codes[left..].iter_mut().zip(letters) {
            *code = base_code(letter);
        }
        Ok(codes)
    }
}

impl ExampleSource for ExampleReader {
    fn len(&self) -> usize {
        self.selection.genes.len()
    }

    fn gene(&self, index: usize) -> &Gene {
        &self.selection.genes[index]
    }

    fn split(&self, index: usize) -> Split {
        self.selection.splits[index]
    }

    fn length(&self) -> usize {
        self.config.length as usize
    }

    fn n_tracks(&self) -> usize {
        self.config.n_tracks()
    }

    fn read(&self, index: usize) -> Result<Example, DatasetError> {
        ExampleReader::read(self, index)
    }
}

/// Names every file of the configuration that does not exist, not only the first.
fn check_files(config: &DataConfig) -> Result<(), DatasetError> {
    let missing: Vec<_> = config
        .source_files()
        .into_iter()
        .filter(|(_, path)| !path.exists())
        .map(|(role, path)| (role, path.to_path_buf()))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(DatasetError::MissingFiles { missing }),
    }
}

/// Reads the gene table, or the genes of a GTF or GFF3; genes without a strand are left out.
pub(crate) fn read_genes(path: &Path) -> Result<(Vec<Gene>, Vec<SkippedGene>), DatasetError> {
    let name = path.to_string_lossy().to_lowercase();
    let bare = name.strip_suffix(".gz").unwrap_or(&name);
    if [".gtf", ".gff", ".gff3"]
        .iter()
        .any(|end| bare.ends_with(end))
    {
        let annotation = read_annotation(path)?;
        let skip = |gene: &UnstrandedGene| SkippedGene {
            symbol: gene.symbol.clone(),
            line: gene.line,
            reason: SkipReason::NoStrand,
        };
        let skipped = annotation.unstranded_genes().iter().map(skip).collect();
        return Ok((annotation.genes().to_vec(), skipped));
    }
    Ok((read_gene_table(path)?, Vec::new()))
}
