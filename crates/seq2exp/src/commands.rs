//! One file per subcommand; each prints results to standard output and messages to standard error.

mod ablate;
mod bench;
mod benchmark;
mod check;
mod chrom_alias;
mod discover;
mod evaluate;
mod import;
mod info;
mod parity;
mod peaks;
mod predict;
mod prepare;
mod report;
mod run;
mod score_elements;
mod simulate;
mod train;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use dataset::{Split, SplitConfig};
use serde::Serialize;

use crate::check::CheckReport;
use crate::cli::{Cli, Command, DeviceArgs, ExperimentArgs};
use crate::config::ExperimentConfig;
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::experiment::{Machine, refuse_device};
use crate::interrupt::Interrupt;
use crate::progress::ProgressMode;

/// Does what the command line says; the exit code is 0 for success, or that of the signal that stopped a run.
///
/// # Errors
/// Whatever goes wrong, for `main` to print; the exit code is then 1.
pub fn execute(cli: Cli) -> Result<ExitCode> {
    start_threads(cli.threads.map(usize::from))?;
    let result = match &cli.command {
        Command::Run(args) => run::execute(args),
        Command::Check(args) => check::execute(args),
        Command::Prepare(args) => prepare::execute(args),
        Command::Train(args) => train::execute(args),
        Command::Evaluate(args) => evaluate::execute(args),
        Command::Predict(args) => predict::execute(args),
        Command::Discover(args) => discover::execute(args),
        Command::Report(args) => report::execute(args),
        Command::Ablate(args) => ablate::execute(args),
        Command::Benchmark(args) => benchmark::execute(args),
        Command::Parity(args) => parity::execute(args),
        Command::Bench(args) => bench::execute(args),
        Command::Peaks(args) => peaks::execute(args),
        Command::Simulate(args) => simulate::execute(args),
        Command::ScoreElements(args) => score_elements::execute(args),
        Command::Import(args) => import::execute(args),
        Command::Info(args) => info::execute(args),
    };
    match result {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<RunError>() {
            Some(interrupted @ RunError::Interrupted { signal, .. }) => {
                eprintln!("{interrupted}");
                Ok(ExitCode::from(signal.exit_code()))
            }
            _ => Err(error),
        },
    }
}

/// Threads for each core that are still started; more would only wait for each other.
const THREADS_OF_A_CORE: usize = 4;

/// Starts the worker threads, as many as there are cores unless told otherwise.
fn start_threads(wanted: Option<usize>) -> Result<()> {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = THREADS_OF_A_CORE * n_cores;
    if let Some(wanted) = wanted.filter(|wanted| *wanted > most) {
        eprintln!(
            "note     --threads {wanted} is more than {THREADS_OF_A_CORE} for each of the {n_cores} cores; {most} are started"
        );
    }
    // 0 stands for all cores. Threads that cannot be started are an error here, and a panic where they are first needed.
    rayon::ThreadPoolBuilder::new()
        .num_threads(wanted.map_or(0, |wanted| wanted.min(most)))
        .build_global()
        .context("starting the worker threads; try fewer with --threads")
}

/// The experiment that a command line names.
fn read_experiment(args: &ExperimentArgs) -> Result<ExperimentConfig> {
    let mut config = ExperimentConfig::read(&args.config, &args.overrides)?;
    for text in &args.chrom_alias {
        config
            .data
            .chrom_alias
            .extend(chrom_alias::read_argument(text)?);
    }
    let problems = config.validate();
    if !problems.is_empty() {
        return Err(RunError::ConfigInvalid {
            path: args.config.clone(),
            problems,
        }
        .into());
    }
    Ok(config)
}

/// The folder that an experiment's results go to, `given` or not.
fn output_folder(given: &Option<PathBuf>, config: &ExperimentConfig) -> PathBuf {
    given.clone().unwrap_or_else(|| config.default_output())
}

/// Refuses an experiment that cannot be trained here before anything of it is read.
fn refuse_training(config: &ExperimentConfig, device: &OpenDevice) -> Result<(), RunError> {
    if matches!(config.data.split, SplitConfig::All {}) {
        return Err(RunError::EmptySplit {
            split: Split::Train,
        });
    }
    refuse_device(config, device)
}

/// Prints what a command would do, and where it would write.
fn dry_run(report: &CheckReport, output: &Path) -> Result<()> {
    print_text(&format!(
        "{report}dry run  nothing was written to {}, where the results would go; indexes and converted tracks \
         stay beside the input files\n",
        output.display()
    ))
}

/// This process on the chosen device, which it names on standard error; watched for signals, with progress there.
fn machine(args: DeviceArgs) -> Result<Machine> {
    let machine = machine_on(OpenDevice::open(args.device)?)?;
    if args.stop_with_stdin {
        machine
            .interrupt
            .watch_stdin()
            .context("watching standard input")?;
    }
    eprintln!("{machine}");
    Ok(machine)
}

/// This process on an open device.
fn machine_on(device: OpenDevice) -> Result<Machine> {
    Ok(Machine {
        device,
        interrupt: Interrupt::watch_signals().context("watching for signals")?,
        progress: ProgressMode::of_stderr(),
    })
}

/// Prints one JSON value and a line end.
fn print_json(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints text to standard output; a closed pipe is an error that `main` takes for success.
fn print_text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
