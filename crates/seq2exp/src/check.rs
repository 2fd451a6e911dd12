//! What an experiment will do, found out before anything long: files, genes, machine, memory, time.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Device;
use dataset::{
    DataDescription, ExampleReader, ExampleSource, FileRow, FileTable, Split, VariantCheck,
};
use model::NetworkConfig;
use serde::Serialize;

use crate::bench::{Bench, BenchKind};
use crate::config::ExperimentConfig;
use crate::cost::Cost;
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::experiment::refuse_device;
use crate::target_summary::TargetSummary;
use crate::train::initial_network;

/// The answer of `seq2exp check`.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The input files beside each other.
    #[serde(flatten)]
    pub inputs: InputReport,
    /// Genes of each split.
    pub genes: Vec<SplitGenes>,
    /// Their measured expression; none when nothing was measured.
    pub target: Option<TargetSummary>,
    /// Genes of the table that are no examples, with the reason.
    pub skipped: Vec<String>,
    /// What a reader of the results must know.
    pub notes: Vec<String>,
    /// Where tensors live.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// Vector instructions in use.
    pub simd: String,
    /// Trained values of each network.
    pub n_parameters: usize,
    /// Memory, disk and time, when they were asked for.
    pub estimate: Option<RunEstimate>,
}

/// The input files beside each other, and what does not fit together.
#[derive(Debug, Serialize)]
pub struct InputReport {
    /// Every input file with its chromosomes.
    pub files: Vec<FileReport>,
    /// Variant files against the genome, as many as were asked for.
    pub variants: Vec<VariantCheck>,
    /// What is wrong, one sentence each; empty when all files fit together.
    pub problems: Vec<String>,
    /// The files as a table for people.
    #[serde(skip)]
    table: String,
}

/// One input file.
#[derive(Debug, Serialize)]
pub struct FileReport {
    /// What it is used for, for example `genome` or `track dnase`.
    pub role: String,
    /// Where it is.
    pub path: PathBuf,
    /// The assembly that its chromosomes' lengths give away.
    pub assembly: Option<&'static str>,
    /// Its chromosomes, in its own order.
    pub chroms: Vec<ChromReport>,
    /// Why it cannot be read.
    pub error: Option<String>,
}

/// One chromosome of one file.
#[derive(Debug, Serialize)]
pub struct ChromReport {
    /// Name in the file.
    pub name: String,
    /// Length in bases, in files that store it.
    pub length: Option<u64>,
    /// Number of genes on it, in a gene table.
    pub n_genes: Option<usize>,
}

/// What a run will take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RunEstimate {
    /// Peak memory of training, in bytes.
    pub memory_bytes: u64,
    /// Size of the prepared data set, in bytes.
    pub disk_bytes: u64,
    /// Seconds of preparing, from a few examples on one thread and the number of threads.
    pub prepare_seconds: f64,
    /// Seconds of training and validating all seeds, from one short step on this machine.
    pub time_seconds: f64,
}

/// How many genes a split has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SplitGenes {
    /// The split.
    pub split: Split,
    /// Its genes.
    pub n_genes: usize,
}

/// Whether a check estimates what the run will take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimation {
    /// Reads a few examples and times one short training step.
    Measure,
    /// Only compares the files.
    Skip,
}

/// Bases of the window on which the time of a step is measured, at least the promoter.
const TRIAL_LENGTH: usize = 4096;

impl CheckReport {
    /// Opens every file and compares them, `variants` too; measures what the run will take when asked to.
    ///
    /// # Errors
    /// [`RunError::Files`] with every problem that comparing the files finds, and whatever opening or reading them
    /// causes.
    pub fn new(
        config: &ExperimentConfig,
        variants: &[PathBuf],
        estimation: Estimation,
        device: &OpenDevice,
    ) -> Result<Self, RunError> {
        let inputs = InputReport::read(config, variants);
        if !inputs.problems.is_empty() {
            return Err(RunError::Files(Box::new(inputs)));
        }
        let reader = ExampleReader::open(&config.data)?;
        let genes: Vec<SplitGenes> = Split::ALL
            .into_iter()
            .map(|split| SplitGenes {
                split,
                n_genes: reader.indices_of(split).len(),
            })
            .collect();
        let skipped = reader
            .skipped()
            .iter()
            .map(|gene| format!("{} (line {}): {}", gene.symbol, gene.line, gene.reason))
            .collect();
        let estimate = match estimation {
            Estimation::Measure => Some(RunEstimate::measure(config, &reader, &genes, device)?),
            Estimation::Skip => None,
        };
        Ok(Self {
            inputs,
            notes: DataDescription::without_sources(&reader)
                .notes()
                .into_iter()
                .chain(reader.conversions().map(ToString::to_string))
                .chain(
                    refuse_device(config, device)
                        .err()
                        .map(|refusal| format!("it will not be trained on this device: {refusal}")),
                )
                .collect(),
            target: TargetSummary::of(&reader),
            skipped,
            device: device.name.clone(),
            threads: rayon::current_num_threads(),
            simd: kernels::SimdLevel::detect().name().to_string(),
            n_parameters: n_parameters(config)?,
            estimate,
            genes,
        })
    }
}

impl InputReport {
    fn read(config: &ExperimentConfig, variants: &[PathBuf]) -> Self {
        let mut files = FileTable::read(&config.data);
        let variants = variants
            .iter()
            .filter_map(|path| files.add_variants(&config.data, path))
            .collect();
        Self {
            files: files.rows.iter().map(FileReport::of).collect(),
            variants,
            table: files.to_string(),
            problems: files.problems,
        }
    }
}

impl fmt::Display for InputReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)?;
        for variants in &self.variants {
            writeln!(f, "variants {variants}")?;
        }
        Ok(())
    }
}

impl FileReport {
    fn of(row: &FileRow) -> Self {
        let chroms = row.chroms.iter().flatten().map(|chrom| ChromReport {
            name: chrom.name.clone(),
            length: chrom.length,
            n_genes: chrom.n_genes,
        });
        Self {
            role: row.role.clone(),
            path: row.path.clone(),
            assembly: row.assembly(),
            chroms: chroms.collect(),
            error: row.chroms.as_ref().err().map(ToString::to_string),
        }
    }
}

impl RunEstimate {
    fn measure(
        config: &ExperimentConfig,
        reader: &ExampleReader,
        genes: &[SplitGenes],
        device: &OpenDevice,
    ) -> Result<Self, RunError> {
        let started = Instant::now();
        // Reads a few examples on the way, so that damaged data is found here.
        let estimate = dataset::estimate(reader)?;
        let per_example = started.elapsed().as_secs_f64() / estimate.n_sampled.max(1) as f64;
        let n_threads = rayon::current_num_threads() as f64;
        let length = config.data.length as usize;
        Ok(Self {
            memory_bytes: Cost::of(&config.model).train_bytes(length, config.train.batch),
            disk_bytes: estimate.prepared_bytes(),
            prepare_seconds: per_example * estimate.n_examples as f64 / n_threads,
            time_seconds: time_seconds(config, genes, device)?,
        })
    }
}

/// Counts the trained values of a network that is built as training will build it: for every seed when each takes
/// parts of its own trained network.
fn n_parameters(config: &ExperimentConfig) -> Result<usize, RunError> {
    let is_retrained = matches!(config.model, NetworkConfig::Retrained(_));
    let n_seeds = if is_retrained { config.seeds.len() } else { 1 };
    let mut n_parameters = 0;
    for &seed in config.seeds.iter().take(n_seeds) {
        n_parameters = initial_network(&config.model, seed, &Device::flex())?.n_parameters();
    }
    Ok(n_parameters)
}

/// Times a step on a short window and scales it to the run: cost is linear in bases.
fn time_seconds(
    config: &ExperimentConfig,
    genes: &[SplitGenes],
    device: &OpenDevice,
) -> Result<f64, RunError> {
    let full_length = config.data.length as usize;
    let length = TRIAL_LENGTH.max(config.model.promoter()).min(full_length);
    let network = config.model.clone().with_length(length);
    let bench = Bench {
        kind: BenchKind::Train,
        network,
        length,
        batch: 1,
        n_runs: 1,
        storage: config.train.storage,
        precision: config.train.precision,
    };
    let step_per_gene = bench.run(device)?.timing.seconds * full_length as f64 / length as f64;
    let of_split = |split| {
        genes
            .iter()
            .find(|row| row.split == split)
            .map_or(0, |row| row.n_genes)
    };
    let trained = config.train.steps as f64 * config.train.genes_per_step() as f64;
    let n_validations =
        config.train.steps / config.train.validation_interval(of_split(Split::Train));
    // A validation is a forward pass, about a quarter of a step.
    let validated = 0.25 * n_validations as f64 * of_split(Split::Valid) as f64;
    Ok(step_per_gene * (trained + validated) * config.seeds.len() as f64)
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Genes that are left out and named.
        const MAX_NAMED: usize = 20;
        write!(f, "{}", self.inputs)?;
        let genes: Vec<String> = self
            .genes
            .iter()
            .map(|row| format!("{} {}", row.n_genes, row.split))
            .collect();
        writeln!(
            f,
            "genes    {}; {} of the table left out",
            genes.join(", "),
            self.skipped.len()
        )?;
        for skipped in self.skipped.iter().take(MAX_NAMED) {
            writeln!(f, "         left out: {skipped}")?;
        }
        if self.skipped.len() > MAX_NAMED {
            let n_more = self.skipped.len() - MAX_NAMED;
            writeln!(f, "         … and {n_more} more; --json lists all")?;
        }
        if let Some(target) = &self.target {
            writeln!(f, "target   {target}")?;
        }
        for note in &self.notes {
            writeln!(f, "note     {note}")?;
        }
        writeln!(
            f,
            "device   {}, {} threads, {}",
            self.device, self.threads, self.simd
        )?;
        writeln!(f, "network  {} parameters", self.n_parameters)?;
        let Some(estimate) = &self.estimate else {
            return Ok(());
        };
        writeln!(f, "memory   about {}", bytes_text(estimate.memory_bytes))?;
        writeln!(f, "disk     about {}", bytes_text(estimate.disk_bytes))?;
        writeln!(
            f,
            "time     about {} to prepare and {} to train",
            duration_text(estimate.prepare_seconds),
            duration_text(estimate.time_seconds)
        )
    }
}

fn bytes_text(n_bytes: u64) -> String {
    match n_bytes as f64 {
        bytes if bytes < 1e6 => format!("{:.0} kB", bytes / 1e3),
        bytes if bytes < 1e9 => format!("{:.0} MB", bytes / 1e6),
        bytes => format!("{:.1} GB", bytes / 1e9),
    }
}

fn duration_text(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        seconds => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_a_fitting_unit() {
        assert_eq!(bytes_text(2_500), "2 kB");
        assert_eq!(bytes_text(34_000_000), "34 MB");
        assert_eq!(bytes_text(1_260_000_000), "1.3 GB");
        assert_eq!(duration_text(12.4), "12 s");
        assert_eq!(duration_text(600.0), "10 min");
        assert_eq!(duration_text(7200.0), "2.0 h");
        assert_eq!(duration_text(259_200.0), "3.0 days");
    }
}
