//! The files of a simulation.

use std::fmt::Write as _;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use genome::{
    ChromSizes, ContactPixel, GenomeError, Interval, Region, write_atomic, write_bed_tabix,
    write_bigwig_with, write_cool, write_fasta,
};

use super::config::SimulationConfig;
use super::landscape::{Locus, TRACK_STEP};
use crate::error::RunError;

/// The experiment that `seq2exp run` takes.
pub const EXPERIMENT_FILE: &str = "experiment.toml";
/// The same with the mask that acts inside the predictor's blocks.
pub const DELTA_FILE: &str = "delta.toml";
/// The settings that the simulation was made with.
pub const SETTINGS_FILE: &str = "simulation.toml";
/// Every planted element: BED6, then gene, class and effect.
pub const TRUTH_FILE: &str = "truth.bed.gz";

/// Chromosomes of the training, validation and test genes.
const CHROMS: [&str; 3] = ["chrTrain", "chrValid", "chrTest"];

/// Track values are stored as multiples of 1/1000.
const TRACK_STEPS: f64 = 1000.0;

/// Loci of one chromosome, one window after the other.
struct Chrom<'a> {
    name: Arc<str>,
    loci: &'a [Locus],
    /// Index of the first among all genes.
    first: usize,
}

pub(super) fn write(
    config: &SimulationConfig,
    loci: &[Locus],
    folder: &Path,
) -> Result<(), RunError> {
    std::fs::create_dir_all(folder).map_err(|source| RunError::Io {
        path: folder.to_path_buf(),
        source,
    })?;
    let settings = toml::to_string(config).map_err(|error| RunError::ConfigSyntax {
        path: folder.join(SETTINGS_FILE),
        message: error.to_string(),
    })?;
    // First, so that the folder of a simulation that was stopped can be written to again.
    write_atomic(folder.join(SETTINGS_FILE), |out| {
        out.write_all(settings.as_bytes())
    })?;
    let n = loci.len();
    let bounds = [0, n * 70 / 100, n * 85 / 100, n];
    let chroms: Vec<Chrom<'_>> = CHROMS
        .iter()
        .zip(bounds.windows(2))
        .map(|(name, bounds)| Chrom {
            name: Arc::from(*name),
            loci: &loci[bounds[0]..bounds[1]],
            first: bounds[0],
        })
        .collect();
    let sizes = chroms.iter().map(|chrom| {
        (
            chrom.name.to_string(),
            chrom.loci.len() as u64 * config.length,
        )
    });
    let sizes = ChromSizes::new(sizes.collect());

    let sequences: Vec<Vec<u8>> = chroms
        .iter()
        .map(|chrom| {
            chrom
                .loci
                .iter()
                .flat_map(|locus| locus.bases.clone())
                .collect()
        })
        .collect();
    let named = chroms.iter().map(|chrom| &*chrom.name);
    write_fasta(
        folder.join("genome.fa.gz"),
        named.zip(sequences.iter().map(Vec::as_slice)),
    )?;
    for (file, track) in [
        (
            "dnase.bw",
            (|locus| &locus.dnase) as fn(&Locus) -> &Vec<f64>,
        ),
        ("h3k27ac.bw", |locus| &locus.h3k27ac),
    ] {
        write_track(&folder.join(file), config, &chroms, &sizes, track)?;
    }
    write_cool(
        folder.join("contacts.cool"),
        &sizes,
        u32::try_from(config.bin).unwrap_or(u32::MAX),
        &pixels(config, loci),
    )?;
    write_truth(&folder.join(TRUTH_FILE), config, &chroms)?;
    for (file, text) in [
        ("genes.tsv", gene_table(config, &chroms)),
        ("expression.tsv", expression_table(&chroms)),
        ("mrna_features.tsv", mrna_table(&chroms)),
        (EXPERIMENT_FILE, experiment(config, &SOFT)),
        (DELTA_FILE, experiment(config, &DELTA)),
    ] {
        write_atomic(folder.join(file), |out| out.write_all(text.as_bytes()))?;
    }
    Ok(())
}

fn symbol(index: usize) -> String {
    format!("SIM{:05}", index + 1)
}

impl Chrom<'_> {
    /// Each gene's symbol, first base of its window, and locus.
    fn genes(&self, length: u64) -> impl Iterator<Item = (String, u64, &Locus)> {
        self.loci.iter().enumerate().map(move |(row, locus)| {
            let start = row as u64 * length;
            (symbol(self.first + row), start, locus)
        })
    }

    fn interval(&self, bases: Range<u64>) -> Result<Interval, GenomeError> {
        Interval::try_new(Arc::clone(&self.name), bases.start, bases.end)
    }
}

fn write_track(
    path: &Path,
    config: &SimulationConfig,
    chroms: &[Chrom<'_>],
    sizes: &ChromSizes,
    track: fn(&Locus) -> &Vec<f64>,
) -> Result<(), GenomeError> {
    write_bigwig_with(path, sizes, |rows| {
        for chrom in chroms {
            for (_, window, locus) in chrom.genes(config.length) {
                for (start, value) in (0..config.length)
                    .step_by(TRACK_STEP as usize)
                    .zip(track(locus))
                {
                    let end = (start + TRACK_STEP).min(config.length);
                    let value = (value * TRACK_STEPS).round() / TRACK_STEPS;
                    rows.push(chrom.interval(window + start..window + end)?, value as f32)?;
                }
            }
        }
        Ok(())
    })
}

/// Contacts of every start site's bin; bins of all windows follow each other as their windows do.
fn pixels(config: &SimulationConfig, loci: &[Locus]) -> Vec<ContactPixel> {
    let n_bin = config.length / config.bin;
    let mut pixels = Vec::new();
    for (index, locus) in loci.iter().enumerate() {
        let first = index as u64 * n_bin;
        let tss = first + n_bin / 2;
        for (bin, &count) in (first..).zip(&locus.contacts) {
            if count > 0 {
                pixels.push(ContactPixel {
                    bin1: bin.min(tss),
                    bin2: bin.max(tss),
                    count,
                });
            }
        }
    }
    pixels
}

fn write_truth(
    path: &Path,
    config: &SimulationConfig,
    chroms: &[Chrom<'_>],
) -> Result<(), GenomeError> {
    let mut rows = Vec::new();
    for chrom in chroms {
        for (symbol, window, locus) in chrom.genes(config.length) {
            for element in &locus.elements {
                let bases = window + element.bases.start..window + element.bases.end;
                rows.push(Region {
                    interval: chrom.interval(bases)?,
                    name: Some(format!("{symbol}|{}", element.class)),
                    score: Some((1000.0 * element.effect).round().clamp(0.0, 1000.0)),
                    strand: None,
                    rest: vec![
                        symbol.clone(),
                        element.class.to_string(),
                        format!("{:.4}", element.effect),
                    ],
                });
            }
        }
    }
    let header = "#chrom\tstart\tend\tname\tscore\tstrand\tgene\tclass\teffect";
    write_bed_tabix(path, &[header.to_string()], rows)
}

fn gene_table(config: &SimulationConfig, chroms: &[Chrom<'_>]) -> String {
    let mut text = "gene_id\tsymbol\tchrom\ttss\tstrand\n".to_string();
    for chrom in chroms {
        for (symbol, window, locus) in chrom.genes(config.length) {
            let tss = window + config.length / 2;
            let _ = writeln!(
                text,
                "{symbol}\t{symbol}\t{}\t{tss}\t{}",
                chrom.name, locus.strand
            );
        }
    }
    text
}

fn expression_table(chroms: &[Chrom<'_>]) -> String {
    let mut text = "gene\ttpm\n".to_string();
    for chrom in chroms {
        for (symbol, _, locus) in chrom.genes(0) {
            let tpm = 10_f64.powf(locus.expression) - 1.0;
            let _ = writeln!(text, "{symbol}\t{tpm:.5}");
        }
    }
    text
}

fn mrna_table(chroms: &[Chrom<'_>]) -> String {
    let mut text = "symbol\tutr5_len\tcds_len\tutr3_len\tintron_len\tutr5_gc\tcds_gc\tutr3_gc\tn_junctions\tn_orf_junctions\torf_junctions_per_kb\n".to_string();
    for chrom in chroms {
        for (symbol, _, locus) in chrom.genes(0) {
            let [utr5, cds, utr3, introns] = locus.mrna.lengths;
            let [gc5, gc, gc3] = locus.mrna.gc;
            let n = locus.mrna.n_junctions;
            let density = n as f64 * 1000.0 / cds as f64;
            let _ = writeln!(
                text,
                "{symbol}\t{utr5}\t{cds}\t{utr3}\t{introns}\t{gc5:.4}\t{gc:.4}\t{gc3:.4}\t{n}\t{n}\t{density:.4}"
            );
        }
    }
    text
}

/// In what the experiments of a simulation differ.
struct Recipe {
    /// Name of the experiment.
    name: &'static str,
    /// The network.
    kind: &'static str,
    /// Settings of its training.
    train: &'static str,
    /// Selection of bases.
    select: &'static str,
}

/// The published soft mask, trained in minutes.
const SOFT: Recipe = Recipe {
    name: "simulation",
    kind: "seq2exp_soft",
    train: "steps = 1500\nlr = 2e-3\nvalidation_every = 50",
    select: "top_fraction = 0.1",
};

/// Its mask is free while the predictor learns, and then pays for what it selects.
const DELTA: Recipe = Recipe {
    name: "simulation_delta",
    kind: "seq2exp_delta",
    train: "steps = 9000\nlr = 3e-3\nvalidation_every = 250\nkl_weight = 0.0\nmask_weight = 0.2\n\
            mask_start_step = 3000\nmask_warmup_steps = 1500\nrandom_mask_steps = 6000",
    select: "threshold = 0.5",
};

/// An experiment on the simulated files.
fn experiment(config: &SimulationConfig, recipe: &Recipe) -> String {
    let Recipe {
        name,
        kind,
        train,
        select,
    } = recipe;
    format!(
        r#"# Made by seq2exp simulate with the settings of {SETTINGS_FILE}; {TRUTH_FILE} holds what was planted.
name = "{name}"

[data]
genome = "genome.fa.gz"
genes = "genes.tsv"
mrna_features = "mrna_features.tsv"
expression = {{ path = "expression.tsv", value = "tpm" }}
contact = {{ path = "contacts.cool", resolution = {bin} }}
length = {length}
promoter = {promoter}
split = {{ by = "chromosomes", valid = ["{valid}"], test = ["{test}"] }}

[[data.tracks]]
name = "h3k27ac"
path = "h3k27ac.bw"

[[data.tracks]]
name = "dnase"
path = "dnase.bw"

[model]
kind = "{kind}"
promoter = {promoter}
d_model = 16
n_layer_generator = 2
n_layer_predictor = 2

[train]
{train}
batch = 8
final_lr = 1e-4
warmup_steps = 100
warmup_lr = 1e-5

[discover]
select = {{ {select} }}
merge_within = {merge}
min_length = {min_length}
"#,
        bin = config.bin,
        length = config.length,
        promoter = config.promoter,
        valid = CHROMS[1],
        test = CHROMS[2],
        merge = config.element_length / 4,
        min_length = config.element_length / 2,
    )
}
