//! `seq2exp ablate`.

use anyhow::Result;

use crate::benchmark::Plan;
use crate::cli::AblateArgs;
use crate::commands::benchmark::run_plan;
use crate::commands::read_experiment;

/// Runs the ablations of an experiment and writes the table.
pub fn execute(args: &AblateArgs) -> Result<()> {
    let config = read_experiment(&args.experiment)?;
    let lengths = args.lengths.as_deref();
    let plan = Plan::ablate(&config, &args.experiment.config, lengths, &args.only)?;
    let command = format!("seq2exp ablate {}", args.experiment.config.display());
    run_plan(&plan, &args.cells, &command)
}
