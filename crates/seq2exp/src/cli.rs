//! The command line: subcommands and their options.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::device::DeviceChoice;
use crate::train::{Precision, Storage};

/// Predict gene expression from 200 kb of DNA and a cell's epigenomic tracks, and discover the regulatory elements.
#[derive(Debug, Parser)]
#[command(name = "seq2exp", version, propagate_version = true)]
pub struct Cli {
    /// Worker threads, at most four for each core; results do not depend on it [default: all cores]
    #[arg(short, long, global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do everything: check, prepare, train, evaluate, discover, report
    Run(RunArgs),
    /// Compare all input files and say what will run where, before anything long
    Check(CheckArgs),
    /// Read every gene's window once and write the prepared data set
    Prepare(PrepareArgs),
    /// Train one network per seed
    Train(RunArgs),
    /// Predict every gene of a trained run and score the splits
    Evaluate(EvaluateArgs),
    /// Predict expression with a trained run, for its own genes or another gene table
    Predict(PredictArgs),
    /// Turn a trained run's masks into elements.bed.gz and bigWig tracks
    Discover(FolderArgs),
    /// Write report.html of a trained run
    Report(FolderArgs),
    /// Train and evaluate models x seeds x data sets x folds, and write one table
    Benchmark(BenchmarkArgs),
    /// Train and evaluate an experiment without each of its parts, and write one table
    Ablate(AblateArgs),
    /// Compare this build with golden vectors of the released code
    Parity(ParityArgs),
    /// Time the network or its block on this machine
    Bench(BenchArgs),
    /// Call peaks from a bigWig, or with macs3 from aligned reads, for data.peaks
    Peaks(PeaksArgs),
    /// Write a small genome with tracks, contacts and genes whose regulatory elements are known
    Simulate(SimulateArgs),
    /// Compare masks, tracks and input gradients with known elements
    ScoreElements(ScoreElementsArgs),
    /// Turn released PyTorch weights into a checkpoint of this program
    Import(ImportArgs),
    /// Describe a checkpoint, a prepared data set or a run folder; without one list the networks, or the devices
    Info(InfoArgs),
}

/// An experiment.
#[derive(Debug, Args)]
pub struct ExperimentArgs {
    /// Experiment file (TOML)
    pub config: PathBuf,
    /// Change a setting, for example --set train.steps=100 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Another name of a chromosome, for example --chrom-alias 22=chr22, or a file with two columns, the
    /// other name and the genome's (repeatable)
    #[arg(long, value_name = "NAME=CHROM or TSV")]
    pub chrom_alias: Vec<String>,
}

/// The device of a command that runs networks.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceArgs {
    /// Where networks run: cpu, gpu, or gpu:N for adapter N of `seq2exp info --devices`
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceChoice,
    /// Stop as at SIGTERM when standard input ends: a benchmark holds the other end while it lives
    #[arg(long, hide = true)]
    pub stop_with_stdin: bool,
}

/// A run that may continue an interrupted one.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The experiment.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Output folder [default: out/NAME]
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Where it runs.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Continue an interrupted run in the same output folder
    #[arg(long)]
    pub resume: bool,
    /// Check everything, say what the run would take and write, and stop before it writes any result
    #[arg(long)]
    pub dry_run: bool,
}

/// A preparation.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// The experiment.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Output folder [default: out/NAME]
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Check everything, say what the data set would take, and stop before it is written
    #[arg(long)]
    pub dry_run: bool,
}

/// A check of an experiment.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The experiment.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Where it would run.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Compare the reference alleles of a variant file (VCF or BCF) with the genome too (repeatable)
    #[arg(long, value_name = "VCF or BCF")]
    pub variants: Vec<PathBuf>,
    /// Estimate memory, time and disk too, from a few examples and one short training step
    #[arg(long)]
    pub estimate: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub json: bool,
}

/// A finished or partly finished run.
#[derive(Debug, Args)]
pub struct FolderArgs {
    /// Output folder of `run` or `train`
    pub folder: PathBuf,
    /// Where it runs.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// An evaluation.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Output folders of `run` or `train`; several are pooled gene by gene (leave-out blocks)
    #[arg(required = true)]
    pub folders: Vec<PathBuf>,
    /// Where it runs.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Evaluate the networks on the `[data]` of this experiment file (TOML) instead of their own, for example another
    /// cell type or window length; its [model] must be the run's, but for what depends on the window
    #[arg(long, value_name = "TOML", requires = "output")]
    pub on: Option<PathBuf>,
    /// Where the results of --on go
    #[arg(short, long, value_name = "FOLDER", requires = "on")]
    pub output: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// How the cells of a benchmark are run.
#[derive(Debug, Clone, Args)]
pub struct CellArgs {
    /// Output folder [default: out/NAME, of ablate out/NAME_ablation]; finished cells found there are kept, interrupted ones continued
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Cells at a time, each a process with its share of the threads and with memory of its own
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: u16,
    /// Where networks run.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// List the cells and what became of them, and make the table of those that are finished; run nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A benchmark.
#[derive(Debug, Args)]
pub struct BenchmarkArgs {
    /// Benchmark file (TOML)
    pub config: PathBuf,
    /// How it is run.
    #[command(flatten)]
    pub cells: CellArgs,
}

/// An ablation.
#[derive(Debug, Args)]
pub struct AblateArgs {
    /// The experiment.
    #[command(flatten)]
    pub experiment: ExperimentArgs,
    /// Window lengths to train on and to test on, in bases, for example 500,2000,20000 [default: from 500 to 200000, as
    /// far as they are shorter than the experiment's]
    #[arg(long, value_delimiter = ',', value_name = "BASES", value_parser = clap::value_parser!(u64).range(2..))]
    pub lengths: Option<Vec<u64>>,
    /// Only these variants, for example no_kl,random_mask; the full model is always there
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<String>,
    /// How it is run.
    #[command(flatten)]
    pub cells: CellArgs,
}

/// A prediction.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Output folder of `run` or `train`
    pub folder: PathBuf,
    /// Gene table (TSV), GTF or GFF3 to predict instead of the run's own genes
    #[arg(long, value_name = "TSV")]
    pub genes: Option<PathBuf>,
    /// Where it runs.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Where the predictions go; - is standard output
    #[arg(short, long, default_value = "-", value_name = "TSV")]
    pub output: PathBuf,
}

/// A comparison with golden vectors.
#[derive(Debug, Args)]
pub struct ParityArgs {
    /// Folder of golden vectors, or a folder of such folders
    pub folder: PathBuf,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// What to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchTarget {
    /// One evaluation pass
    Forward,
    /// Forward, loss, backward and optimiser step
    Train,
    /// Reading and writing --length numbers, the device's ceiling for memory
    Copy,
    /// A product of square matrices of --length rows, its ceiling for arithmetic
    Matmul,
    /// The same in half precision
    MatmulHalf,
    /// One BiMamba block beside its own matrix products, from 2 kb to 1 Mb
    Block,
}

/// A timing.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to time
    pub kind: BenchTarget,
    /// Where it runs.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Experiment file (TOML) whose network is timed; forward and train [default: Seq2Exp-soft as published]
    #[arg(long, value_name = "TOML")]
    pub config: Option<PathBuf>,
    /// Window lengths in bases [default: the experiment's; without one 20000; block: 2000, 20000, 200000 and 1000000]
    #[arg(long, value_delimiter = ',')]
    pub length: Vec<usize>,
    /// Genes at once, for each length
    #[arg(long, value_delimiter = ',', default_value = "1")]
    pub batch: Vec<usize>,
    /// Blocks of the generator, and as many of the predictor; forward and train
    #[arg(long, conflicts_with = "config", value_parser = clap::value_parser!(u16).range(1..))]
    pub layers: Option<u16>,
    /// How activations are kept for the backward pass; train and block [default: f32]
    #[arg(long, value_enum)]
    pub storage: Option<Storage>,
    /// What blocks compute in; forward, train and block
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32")]
    pub precision: Vec<Precision>,
    /// First compare one training pass with the CPU's, and stop when it differs; train
    #[arg(long)]
    pub verify: bool,
    /// Repetitions after one warm-up; the median is reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Print one JSON object for each precision, length (but of a block, which has one for all) and batch
    #[arg(long)]
    pub json: bool,
}

/// What peaks are called from, and how.
#[derive(Debug, Args)]
pub struct PeaksArgs {
    /// A bigWig, whose peaks are called here as `macs3 bdgpeakcall` does; or a BAM, which is given to `macs3 callpeak`
    pub input: PathBuf,
    /// Lowest value inside a peak, in the unit of the bigWig
    #[arg(short, long)]
    pub cutoff: Option<f32>,
    /// Shortest peak of a bigWig, in bases [default: 200]
    #[arg(short = 'l', long, value_parser = clap::value_parser!(u64).range(1..))]
    pub min_length: Option<u64>,
    /// Longest gap inside a peak of a bigWig, in bases [default: 30]
    #[arg(short = 'g', long)]
    pub max_gap: Option<u64>,
    /// The narrowPeak file; with .gz at its end it is compressed and indexed
    #[arg(short, long, value_name = "NARROWPEAK")]
    pub output: PathBuf,
    /// Options of `macs3 callpeak`, after --, for example -- -g hs -q 0.01
    #[arg(last = true)]
    pub macs3: Vec<String>,
}

/// A simulation.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Folder of the files, made when absent
    pub folder: PathBuf,
    /// Settings (TOML) that differ from the defaults of docs/simulate.md
    #[arg(long, value_name = "TOML")]
    pub settings: Option<PathBuf>,
    /// Change a setting, for example --set n_genes=200 (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// A comparison with known elements.
#[derive(Debug, Args)]
pub struct ScoreElementsArgs {
    /// Known elements: truth.bed.gz of `simulate`
    pub truth: PathBuf,
    /// Output folders of `run` or `train` on that data
    #[arg(required = true)]
    pub folders: Vec<PathBuf>,
    /// Regions to compare too, such as peaks (BED or narrowPeak): 1 inside, 0 outside (repeatable)
    #[arg(long, value_name = "BED")]
    pub regions: Vec<PathBuf>,
    /// Write precision over recall of every score too: score, of (bases or elements), recall, precision, threshold
    #[arg(long, value_name = "TSV")]
    pub curves: Option<PathBuf>,
    /// Where networks run.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Released weights and what they belong to.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("network").required(true))]
pub struct ImportArgs {
    /// Weights: a PyTorch or Lightning checkpoint (.ckpt, .pt, .pth) or safetensors with the released names
    pub weights: PathBuf,
    /// The released code's resolved settings (JSON)
    #[arg(long, value_name = "JSON", group = "network")]
    pub settings: Option<PathBuf>,
    /// An experiment file (TOML) whose [model] the weights fit
    #[arg(long, value_name = "TOML", group = "network")]
    pub config: Option<PathBuf>,
    /// Where the checkpoint goes
    #[arg(short, long, value_name = "SAFETENSORS")]
    pub output: PathBuf,
}

/// A description.
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Checkpoint (.safetensors), prepared data set (.arrow) or run folder
    #[arg(conflicts_with = "devices")]
    pub path: Option<PathBuf>,
    /// List the devices that --device can name
    #[arg(long)]
    pub devices: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
