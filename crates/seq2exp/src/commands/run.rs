//! `seq2exp run`.

use anyhow::Result;

use crate::check::CheckReport;
use crate::cli::RunArgs;
use crate::commands::discover::discover;
use crate::commands::evaluate::{evaluate, table};
use crate::commands::report::report;
use crate::commands::train::train;
use crate::commands::{machine, print_text, read_experiment};
use crate::experiment::{Experiment, Resume};

/// Does everything: check, prepare, train, evaluate, discover, report.
pub fn execute(args: &RunArgs) -> Result<()> {
    let (config, output) = read_experiment(&args.experiment)?;
    let machine = machine(args.device)?;
    eprint!("{}", CheckReport::new(&config, &machine.device)?);
    let resume = if args.resume { Resume::Yes } else { Resume::No };
    let experiment = Experiment::open(config, &output, resume, machine)?;
    train(&experiment)?;
    let metrics = evaluate(&experiment)?;
    discover(&experiment)?;
    report(&experiment)?;
    print_text(&table(&metrics))
}
