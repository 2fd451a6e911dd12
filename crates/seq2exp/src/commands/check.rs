//! `seq2exp check`.

use anyhow::Result;

use crate::check::CheckReport;
use crate::cli::CheckArgs;
use crate::commands::{print_json, print_text, read_experiment};
use crate::device::OpenDevice;

/// Prints what an experiment will do; any problem is an error.
pub fn execute(args: &CheckArgs) -> Result<()> {
    let (config, _) = read_experiment(&args.experiment)?;
    let device = OpenDevice::open(args.device.device)?;
    let report = CheckReport::new(&config, &device)?;
    if args.json {
        print_json(&report)
    } else {
        print_text(&report.to_string())
    }
}
