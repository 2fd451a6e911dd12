//! `seq2exp check`.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

use crate::check::{CheckReport, Estimation};
use crate::cli::CheckArgs;
use crate::commands::{print_json, print_text, read_experiment};
use crate::device::OpenDevice;
use crate::error::RunError;

/// Prints what an experiment will do; any problem is an error, below the table of the files.
pub fn execute(args: &CheckArgs) -> Result<()> {
    let config = read_experiment(&args.experiment)?;
    let device = OpenDevice::open(args.device.device)?;
    let estimation = match args.estimate {
        true => Estimation::Measure,
        false => Estimation::Skip,
    };
    let report = match CheckReport::new(&config, &args.variants, estimation, &device) {
        Err(RunError::Files(inputs)) => {
            print(args, &*inputs)?;
            return Err(RunError::Files(inputs).into());
        }
        report => report?,
    };
    print(args, &report)
}

fn print(args: &CheckArgs, report: &(impl fmt::Display + Serialize)) -> Result<()> {
    match args.json {
        true => print_json(report),
        false => print_text(&report.to_string()),
    }
}
