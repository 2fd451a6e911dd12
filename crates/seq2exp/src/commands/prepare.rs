//! `seq2exp prepare`.

use anyhow::Result;

use crate::cli::ExperimentArgs;
use crate::commands::{machine_on, read_experiment};
use crate::device::OpenDevice;
use crate::experiment::{Experiment, Resume};

/// Writes the prepared data set of an experiment.
pub fn execute(args: &ExperimentArgs) -> Result<()> {
    let (config, output) = read_experiment(args)?;
    let experiment =
        Experiment::open(config, &output, Resume::Yes, machine_on(OpenDevice::cpu())?)?;
    let prepared = experiment.prepare()?;
    let counts = prepared.manifest().description.examples;
    eprintln!(
        "prepared {} genes ({} train, {} valid, {} test) in {}",
        prepared.genes().len(),
        counts.train,
        counts.valid,
        counts.test,
        experiment.data_folder().display()
    );
    Ok(())
}
