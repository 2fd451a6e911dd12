//! `seq2exp benchmark`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::benchmark::{
    CELLS_FILE, Cell, CellOutcome, CellState, MARKDOWN_FILE, Plan, ResultTable, RunnerOptions,
    TABLE_FILE, cell_states, markdown, run_cells, write_tables,
};
use crate::cli::{BenchmarkArgs, CellArgs};
use crate::commands::print_text;
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::interrupt::{Interrupt, Signal};
use crate::output_folder::{FolderKind, REPORT_FILE};
use crate::report::write_benchmark_report;

/// Runs the cells of a benchmark file and writes the table.
pub fn execute(args: &BenchmarkArgs) -> Result<()> {
    let plan = Plan::read(&args.config)?;
    let command = format!("seq2exp benchmark {}", args.config.display());
    run_plan(&plan, &args.cells, &command)
}

/// Runs the cells of a plan that are not finished, and writes the table of all that are.
pub fn run_plan(plan: &Plan, args: &CellArgs, command: &str) -> Result<()> {
    for note in &plan.notes {
        eprintln!("note     {note}");
    }
    let output = args.output.clone().unwrap_or_else(|| plan.default_output());
    let folder = std::path::absolute(&output)
        .with_context(|| format!("{}: no absolute path", output.display()))?;
    FolderKind::Benchmark.check_free(&folder)?;
    let (mut states, signal) = match args.dry_run {
        true => (cell_states(plan, &folder), None),
        false => run(plan, args, &folder)?,
    };
    let outcomes = outcomes(plan, &folder, &mut states);
    let table = ResultTable::new(plan, &states, &outcomes);
    if args.dry_run {
        print_text(&listing(plan, &states, &folder))?;
        if outcomes.iter().all(Option::is_none) {
            return Ok(());
        }
    }
    write_tables(&folder, &table, plan, &states, &outcomes)?;
    write_benchmark_report(&folder.join(REPORT_FILE), &table, command)?;
    print_text(&markdown(&table))?;
    eprintln!(
        "{TABLE_FILE}, {MARKDOWN_FILE}, {CELLS_FILE} and {REPORT_FILE} in {}",
        output.display()
    );
    match signal {
        Some(signal) => Err(stopped(signal)),
        None => verdict(&states, &folder, args.dry_run),
    }
}

/// Runs what is not finished; the states of the cells, and the signal that stopped it, if one did.
fn run(plan: &Plan, args: &CellArgs, folder: &Path) -> Result<(Vec<CellState>, Option<Signal>)> {
    // Each cell's process opens the device for itself; here it is only asked whether there is one.
    let device = OpenDevice::open(args.device.device)?.name;
    let n_jobs = usize::from(args.jobs);
    let n_threads = (rayon::current_num_threads() / n_jobs).max(1);
    let options = RunnerOptions {
        n_jobs,
        n_threads,
        device: args.device.device,
        program: std::env::current_exe().context("finding this program")?,
    };
    eprintln!(
        "{} cells, {n_jobs} at a time with {n_threads} threads each, device {device}",
        plan.cells.len()
    );
    let interrupt = Interrupt::watch_signals().context("watching for signals")?;
    let states = run_cells(plan, folder, &options, &interrupt)?;
    Ok((states, interrupt.requested()))
}

fn stopped(signal: Signal) -> anyhow::Error {
    RunError::Interrupted {
        signal,
        remedy: "run the same command again; it continues".to_string(),
    }
    .into()
}

/// What every finished cell left; one that left something unreadable has failed.
fn outcomes(plan: &Plan, folder: &Path, states: &mut [CellState]) -> Vec<Option<CellOutcome>> {
    let cells = plan.cells.iter().zip(states);
    let read = |(cell, state): (&Cell, &mut CellState)| match CellOutcome::read(cell, folder) {
        Ok(outcome) => outcome.filter(|_| !matches!(state, CellState::Failed(_))),
        Err(error) => {
            *state = CellState::Failed(error.to_string());
            None
        }
    };
    cells.map(read).collect()
}

/// One cell a line: its state and folder.
fn listing(plan: &Plan, states: &[CellState], folder: &Path) -> String {
    let line = |(cell, state): (&Cell, &CellState)| {
        let state = match state {
            CellState::Finished { .. } => "finished".to_string(),
            CellState::Failed(reason) => format!("failed: {reason}"),
            CellState::Unfinished => "to do".to_string(),
        };
        format!(
            "{}\t{}\t{state}\n",
            cell.label(),
            cell.folder(folder).display()
        )
    };
    plan.cells.iter().zip(states).map(line).collect()
}

/// An error when a cell failed.
fn verdict(states: &[CellState], folder: &Path, is_dry: bool) -> Result<()> {
    let is_failed = |state: &&CellState| matches!(state, CellState::Failed(_));
    let n_failed = states.iter().filter(is_failed).count();
    if n_failed == 0 || is_dry {
        return Ok(());
    }
    Err(RunError::CellsFailed {
        n_failed,
        n_cells: states.len(),
        table: PathBuf::from(folder).join(CELLS_FILE),
    }
    .into())
}
