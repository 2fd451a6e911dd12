//! `seq2exp train`.

use anyhow::Result;

use crate::check::{CheckReport, Estimation};
use crate::cli::RunArgs;
use crate::commands::{dry_run, machine, output_folder, read_experiment, refuse_training};
use crate::experiment::{Experiment, Resume};

/// Trains one network per seed.
pub fn execute(args: &RunArgs) -> Result<()> {
    let config = read_experiment(&args.experiment)?;
    let output = output_folder(&args.output, &config);
    let machine = machine(args.device)?;
    refuse_training(&config, &machine.device)?;
    if args.dry_run {
        let report = CheckReport::new(&config, &[], Estimation::Measure, &machine.device)?;
        return dry_run(&report, &output);
    }
    let resume = if args.resume { Resume::Yes } else { Resume::No };
    train(&Experiment::open(config, &output, resume, machine)?)
}

/// Trains, and says what came of it.
pub fn train(experiment: &Experiment) -> Result<()> {
    let summaries = experiment.train()?;
    for (seed, summary) in experiment.config().seeds.iter().zip(summaries) {
        eprintln!(
            "seed {seed}: {} parameters, {} steps, lowest validation error {:.4} at step {}",
            summary.n_parameters, summary.steps, summary.best.mse, summary.best.step
        );
    }
    Ok(())
}
