//! `seq2exp check`.

use anyhow::Result;

use crate::check::{CheckReport, Estimation};
use crate::cli::CheckArgs;
use crate::commands::{print_json, print_text, read_experiment};
use crate::device::OpenDevice;
use crate::error::RunError;

/// Prints what an experiment will do; any problem is an error, below the table of the files.
pub fn execute(args: &CheckArgs) -> Result<()> {
    let (config, _) = read_experiment(&args.experiment)?;
    let device = OpenDevice::open(args.device.device)?;
    let estimation = match args.estimate {
        true => Estimation::Measure,
        false => Estimation::Skip,
    };
    let report = match CheckReport::new(&config, estimation, &device) {
        Err(RunError::Files { table, problems }) if !args.json => {
            print_text(&table)?;
            return Err(RunError::Files { table, problems }.into());
        }
        report => report?,
    };
    if args.json {
        print_json(&report)
    } else {
        print_text(&report.to_string())
    }
}
