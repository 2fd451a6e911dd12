//! `seq2exp run`.

use anyhow::Result;

use crate::check::{CheckReport, Estimation};
use crate::cli::RunArgs;
use crate::commands::discover::discover;
use crate::commands::evaluate::{evaluate, table};
use crate::commands::report::report;
use crate::commands::train::train;
use crate::commands::{
    dry_run, machine, output_folder, print_text, read_experiment, refuse_training,
};
use crate::experiment::{Experiment, Resume};

/// Does everything: check, prepare, train, evaluate, discover, report.
pub fn execute(args: &RunArgs) -> Result<()> {
    let config = read_experiment(&args.experiment)?;
    let output = output_folder(&args.output, &config);
    let machine = machine(args.device)?;
    refuse_training(&config, &machine.device)?;
    let checked = CheckReport::new(&config, &[], Estimation::Measure, &machine.device)?;
    if args.dry_run {
        return dry_run(&checked, &output);
    }
    eprint!("{checked}");
    let resume = if args.resume { Resume::Yes } else { Resume::No };
    let experiment = Experiment::open(config, &output, resume, machine)?;
    train(&experiment)?;
    let metrics = evaluate(&experiment)?;
    discover(&experiment)?;
    report(&experiment)?;
    print_text(&table(&metrics))
}
