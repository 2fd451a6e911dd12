//! `seq2exp ablate`.

use anyhow::Result;

use crate::benchmark::Plan;
use crate::cli::{AblateArgs, ExperimentArgs};
use crate::commands::benchmark::run_plan;
use crate::commands::read_experiment;

/// Runs the ablations of an experiment and writes the table.
pub fn execute(args: &AblateArgs) -> Result<()> {
    let (config, _) = read_experiment(&ExperimentArgs {
        config: args.config.clone(),
        overrides: args.overrides.clone(),
        chrom_alias: args.chrom_alias.clone(),
        output: None,
    })?;
    let lengths = args.lengths.as_deref();
    let plan = Plan::ablate(&config, &args.config, lengths, &args.only)?;
    let command = format!("seq2exp ablate {}", args.config.display());
    run_plan(&plan, &args.cells, &command)
}
