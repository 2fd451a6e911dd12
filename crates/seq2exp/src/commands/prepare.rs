//! `seq2exp prepare`.

use anyhow::Result;

use crate::check::{CheckReport, Estimation};
use crate::cli::PrepareArgs;
use crate::commands::{dry_run, machine_on, output_folder, read_experiment};
use crate::device::OpenDevice;
use crate::experiment::{Experiment, Resume};

/// Writes the prepared data set of an experiment.
pub fn execute(args: &PrepareArgs) -> Result<()> {
    let config = read_experiment(&args.experiment)?;
    let output = output_folder(&args.output, &config);
    let device = OpenDevice::cpu();
    if args.dry_run {
        let report = CheckReport::new(&config, &[], Estimation::Measure, &device)?;
        return dry_run(&report, &output);
    }
    let experiment = Experiment::open(config, &output, Resume::Yes, machine_on(device)?)?;
    let prepared = experiment.prepare()?;
    let description = &prepared.manifest().description;
    for note in description.notes() {
        eprintln!("note     {note}");
    }
    let counts = description.examples;
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
