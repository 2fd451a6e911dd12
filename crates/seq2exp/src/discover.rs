//! Discovery: the masks of many genes become element and mask files, one gene at a time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use genome::{ChromSizes, Interval, Region, Strand, write_bed_tabix, write_bigwig};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;
use crate::elements::{Element, ElementClass, MaskedWindow, find_elements, selection_limit};
use crate::error::RunError;

/// The elements of all genes, in the output folder.
pub const ELEMENTS_FILE: &str = "elements.bed.gz";

/// The folder of the per-gene masks, in the output folder.
pub const MASKS_FOLDER: &str = "masks";

/// Masks are stored as multiples of 1/1000: finer than any screen shows, and four to ten times
/// smaller than exact values.
const MASK_STEPS: f32 = 1000.0;

/// Which positions of a mask belong to elements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Those whose mask is at least this value, in [0, 1].
    Threshold(f64),
    /// This fraction, in (0, 1], of the positions of each window that the network decides: those
    /// with the largest mask. [`selection_limit`] says what happens to ties.
    TopFraction(f64),
}

/// Whether the promoter, whose mask is 1 whatever the network says, is among the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromoterElements {
    /// One element of class `promoter` per gene.
    Report,
    /// No element.
    LeaveOut,
}

/// How elements are made from masks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverConfig {
    /// Which positions belong to elements: `{ threshold = 0.5 }` or `{ top_fraction = 0.1 }`;
    /// default the top 0.1, as Seq2Exp-retrain reads its masks.
    pub select: Selection,
    /// Runs closer than this many bases become one element; default 150, about one nucleosome.
    pub merge_within: u64,
    /// Shorter elements are dropped, in bases; default 150, the shortest candidate cis-regulatory
    /// element of the ENCODE registry.
    pub min_length: u64,
    /// Whether the promoter is reported, `report` (default) or `leave_out`.
    pub promoter: PromoterElements,
}

impl Default for DiscoverConfig {
    fn default() -> Self {
        Self {
            select: Selection::TopFraction(0.1),
            merge_within: 150,
            min_length: 150,
            promoter: PromoterElements::Report,
        }
    }
}

impl DiscoverConfig {
    /// Every problem of the settings, empty when they are sound.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.select {
            Selection::Threshold(value) if !(0.0..=1.0).contains(&value) => problems.push(format!(
                "select.threshold is {value}; a mask lies in [0, 1]"
            )),
            Selection::TopFraction(value) if !(value > 0.0 && value <= 1.0) => problems.push(
                format!("select.top_fraction is {value}; give a fraction in (0, 1], such as 0.1"),
            ),
            _ => {}
        }
        problems
    }
}

/// What the outputs were made from and by; it is written into their headers.
///
/// It holds nothing that changes between two equal runs: no time, path, thread count or device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this tool.
    pub version: String,
    /// SHA-256 of the weights.
    pub model_digest: String,
    /// SHA-256 of the genome.
    pub genome_digest: String,
    /// SHA-256 of the data manifest.
    pub data_digest: String,
    /// Where the contact comes from: `measured`, `power_law`, or nothing without a contact track.
    pub contact: String,
    /// Tracks that have no data for some chromosomes, with these: `dnase:chrY`.
    pub absent_tracks: Vec<String>,
    /// Seeds of the networks.
    pub seeds: Vec<u64>,
}

impl Provenance {
    /// Name and value of each entry that is not empty.
    pub fn entries(&self) -> Vec<(&'static str, String)> {
        let seeds: Vec<String> = self.seeds.iter().map(ToString::to_string).collect();
        [
            ("seq2exp", self.version.clone()),
            ("model_sha256", self.model_digest.clone()),
            ("genome_sha256", self.genome_digest.clone()),
            ("data_sha256", self.data_digest.clone()),
            ("contact", self.contact.clone()),
            ("absent_tracks", self.absent_tracks.join(",")),
            ("seeds", seeds.join(",")),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }
}

/// One element and the gene whose mask holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneElement {
    /// The gene.
    pub symbol: String,
    /// The strand the gene is read from.
    pub strand: Strand,
    /// Number of the element within its gene, from 1, left to right.
    pub number: usize,
    /// The element.
    pub element: Element,
}

/// What one mask said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GeneMaskSummary {
    /// The gene.
    pub symbol: String,
    /// Mean mask over the whole window, promoter included.
    pub mask_ratio: f64,
    /// Mean mask over the positions the network decides; NaN when there is none.
    pub chosen_ratio: f64,
    /// Smallest mask value that is selected; nothing when no value is.
    pub limit: Option<f32>,
    /// Share of the positions the network decides that lie in elements; NaN when there is none.
    pub element_ratio: f64,
    /// Elements of the gene, the promoter's included where it is reported.
    pub n_elements: usize,
    /// The mask file, relative to the output folder.
    pub mask_file: PathBuf,
}

/// What a discovery found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Discovery {
    /// All elements, in the order of `elements.bed.gz`: chromosome, start, end, gene.
    pub elements: Vec<GeneElement>,
    /// One row per gene, in the order they were added.
    pub genes: Vec<GeneMaskSummary>,
}

impl Discovery {
    /// Mean over the genes of the share of the positions the network decides that lie in elements; nothing without such
    /// positions.
    pub fn mean_element_ratio(&self) -> Option<f64> {
        let ratios = self.genes.iter().map(|gene| gene.element_ratio);
        let (sum, n_genes) = ratios
            .filter(|ratio| ratio.is_finite())
            .fold((0.0, 0_u64), |(sum, n), ratio| (sum + ratio, n + 1));
        (n_genes > 0).then(|| sum / n_genes as f64)
    }

    /// A sentence on the genes most of whose window became elements although little of it was selected; none when there
    /// are none.
    pub fn note_flat_masks(&self, config: &DiscoverConfig) -> Option<String> {
        let Selection::TopFraction(fraction) = config.select else {
            return None;
        };
        let is_flat = |gene: &&GeneMaskSummary| gene.element_ratio > 0.5 && fraction < 0.5;
        let n_flat = self.genes.iter().filter(is_flat).count();
        let first = self.genes.iter().find(is_flat)?;
        Some(format!(
            "in {n_flat} of {} genes, the first is {}, elements cover over half of the bases that the network decides, of \
             which only {:.0} % were selected: the mask is nearly flat there, and gaps shorter than {} bp were merged; \
             column element_ratio of masks.tsv and column selected of the elements tell where",
            self.genes.len(),
            first.symbol,
            100.0 * fraction,
            config.merge_within,
        ))
    }
}

/// Writes the mask of each gene as it comes, and all elements at the end.
///
/// Holds one mask at a time and about 200 bytes per element.
///
/// # Units
/// - `elements.bed.gz`: BGZF with a tabix index, 0-based half-open; columns 1 to 9 are those of
///   BED9 (score = 1000 times the mean mask), the others are named in the last header line
/// - `masks/<symbol>.bw`: the mask over the part of the window that lies on the chromosome,
///   rounded to 1/1000
#[derive(Debug)]
pub struct DiscoveryWriter {
    folder: PathBuf,
    chrom_sizes: ChromSizes,
    config: DiscoverConfig,
    track_names: Vec<String>,
    provenance: Provenance,
    used_names: HashSet<String>,
    found: Discovery,
}

impl DiscoveryWriter {
    /// Prepares the output folder.
    ///
    /// `track_names` head the columns of the elements' track means; give none when
    /// [`MaskedWindow::with_tracks`] is not used.
    ///
    /// # Errors
    /// [`RunError::Io`] when the folder of the masks cannot be made.
    pub fn create(
        folder: impl Into<PathBuf>,
        chrom_sizes: ChromSizes,
        config: DiscoverConfig,
        track_names: Vec<String>,
        provenance: Provenance,
    ) -> Result<Self, RunError> {
        let folder = folder.into();
        let masks = folder.join(MASKS_FOLDER);
        std::fs::create_dir_all(&masks).map_err(|source| RunError::Io {
            path: masks,
            source,
        })?;
        Ok(Self {
            folder,
            chrom_sizes,
            config,
            track_names,
            provenance,
            used_names: HashSet::new(),
            found: Discovery::default(),
        })
    }

    /// Writes the mask of one gene, finds its elements and returns them, left to right.
    ///
    /// # Errors
    /// [`RunError::Genome`] when the mask file cannot be written or its chromosome is not among
    /// the chromosome sizes.
    pub fn add(&mut self, gene: &MaskedWindow) -> Result<&[GeneElement], RunError> {
        let mask_file = Path::new(MASKS_FOLDER).join(self.mask_file_name(gene.symbol()));
        write_bigwig(
            self.folder.join(&mask_file),
            &self.chrom_sizes,
            mask_runs(gene),
        )?;
        let first = self.found.elements.len();
        let elements = find_elements(gene, &self.config);
        self.found.genes.push(GeneMaskSummary {
            symbol: gene.symbol().to_string(),
            mask_ratio: gene.mask_ratio(),
            chosen_ratio: gene.chosen_ratio(),
            limit: selection_limit(gene, self.config.select),
            element_ratio: gene.element_ratio(&elements),
            n_elements: elements.len(),
            mask_file,
        });
        self.found
            .elements
            .extend((1..).zip(elements).map(|(number, element)| GeneElement {
                symbol: gene.symbol().to_string(),
                strand: gene.strand(),
                number,
                element,
            }));
        Ok(&self.found.elements[first..])
    }

    /// Sorts and writes the elements of all genes.
    ///
    /// # Errors
    /// [`RunError::Genome`] when the file cannot be written.
    pub fn finish(self) -> Result<Discovery, RunError> {
        let mut found = self.found;
        found.elements.sort_by_cached_key(|row| {
            let interval = &row.element.interval;
            (
                self.chrom_sizes.index_of(interval.chrom()),
                interval.start(),
                interval.end(),
                row.symbol.clone(),
            )
        });
        write_bed_tabix(
            self.folder.join(ELEMENTS_FILE),
            &header_lines(&self.config, &self.track_names, &self.provenance),
            found.elements.iter().map(bed_row),
        )?;
        Ok(found)
    }

    /// A file name for a gene's mask that no other gene of this run has.
    fn mask_file_name(&mut self, symbol: &str) -> String {
        let mut stem = file_stem(symbol);
        // Two symbols that differ in case only are one file on some systems.
        if !self.used_names.insert(stem.to_lowercase()) {
            stem = format!("{stem}-{}", short_digest(symbol));
            self.used_names.insert(stem.to_lowercase());
        }
        format!("{stem}.bw")
    }
}

/// A file name without extension for a gene symbol.
///
/// Letters, digits, `.`, `_` and `-` are kept. A symbol with anything else, that starts with a
/// dot, or is longer than 100 bytes gets `_` in their place and the start of its SHA-256 at the
/// end, so that different symbols keep different names.
pub fn file_stem(symbol: &str) -> String {
    const MAX_BYTES: usize = 100;
    let mut stem: String = symbol
        .chars()
        .take(MAX_BYTES)
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    if stem.starts_with('.') {
        stem.replace_range(..1, "_");
    }
    if stem != symbol || stem.is_empty() {
        stem = format!("{stem}-{}", short_digest(symbol));
    }
    stem
}

fn short_digest(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes())[..4])
}

/// The mask as runs of equal values, rounded to 1/[`MASK_STEPS`].
fn mask_runs(gene: &MaskedWindow) -> impl Iterator<Item = (Interval, f32)> {
    let window = gene.window();
    let chrom = window.inside().shared_chrom();
    let left = window.left_padding() as usize;
    let mask = gene
        .mask()
        .get(left..left + window.inside().len() as usize)
        .unwrap_or(&[]);
    let steps = |value: f32| (value * MASK_STEPS).round();
    let mut start = window.inside().start();
    mask.chunk_by(move |a, b| steps(*a) == steps(*b))
        .filter_map(move |run| {
            let interval =
                Interval::try_new(chrom.clone(), start, start + run.len() as u64).ok()?;
            start = interval.end();
            Some((interval, steps(*run.first()?) / MASK_STEPS))
        })
}

/// The header: one line per fact, then the names of the columns.
fn header_lines(
    config: &DiscoverConfig,
    track_names: &[String],
    provenance: &Provenance,
) -> Vec<String> {
    let select = match config.select {
        Selection::Threshold(value) => format!("mask at least {value}"),
        Selection::TopFraction(value) => format!("top {value} of each window"),
    };
    let mut lines: Vec<String> = provenance
        .entries()
        .into_iter()
        .map(|(name, value)| format!("# {name}: {}", one_line(&value)))
        .collect();
    lines.push(format!(
        "# elements: {select}, merged within {} bp, at least {} bp",
        config.merge_within, config.min_length
    ));
    lines.push(
        "# score: 1000 x mean mask; summit: 0-based; distance: bp from the TSS, negative upstream; selected: share of \
         the bases whose mask made the element, the rest lies between merged runs"
            .to_string(),
    );
    let mut columns: Vec<String> = [
        "#chrom",
        "start",
        "end",
        "name",
        "score",
        "strand",
        "thickStart",
        "thickEnd",
        "itemRgb",
        "gene",
        "geneStrand",
        "class",
        "meanMask",
        "maxMask",
        "maskSum",
        "summit",
        "distance",
        "selected",
    ]
    .map(str::to_string)
    .to_vec();
    columns.extend(
        track_names
            .iter()
            .map(|name| format!("mean_{}", one_word(name))),
    );
    lines.push(columns.join("\t"));
    lines
}

/// One row of the BED file.
fn bed_row(row: &GeneElement) -> Region {
    let element = &row.element;
    let gene = one_word(&row.symbol);
    let (name, strand, rgb) = match element.class {
        ElementClass::Element => (format!("{gene}|e{}", row.number), None, "213,94,0"),
        ElementClass::Promoter => (format!("{gene}|promoter"), Some(row.strand), "0,114,178"),
        ElementClass::Included => (format!("{gene}|i{}", row.number), None, "0,158,115"),
    };
    let mut rest = vec![
        element.interval.start().to_string(),
        element.interval.end().to_string(),
        rgb.to_string(),
        gene,
        row.strand.to_string(),
        element.class.to_string(),
        format!("{:.4}", element.mean),
        format!("{:.4}", element.max),
        format!("{:.1}", element.area),
        element.summit.to_string(),
        element.distance.to_string(),
        format!("{:.4}", element.selected),
    ];
    rest.extend(element.track_means.iter().map(|mean| format!("{mean:.4}")));
    Region {
        interval: element.interval.clone(),
        name: Some(name),
        score: Some((1000.0 * element.mean).round().clamp(0.0, 1000.0)),
        strand,
        rest,
    }
}

/// The text with white space and control characters replaced, as one BED column.
fn one_word(text: &str) -> String {
    let word = |c: char| {
        if c.is_whitespace() || c.is_control() {
            '_'
        } else {
            c
        }
    };
    let text: String = text.chars().map(word).collect();
    if text.is_empty() {
        ".".to_string()
    } else {
        text
    }
}

/// The text on one line.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests;
