//! `seq2exp parity`.

use anyhow::{Result, bail};

use crate::cli::ParityArgs;
use crate::commands::{print_json, print_text};
use crate::parity::run_parity;

/// Compares this build with golden vectors; a missing or differing tensor is an error.
pub fn execute(args: &ParityArgs) -> Result<()> {
    let report = run_parity(&args.folder)?;
    if args.json {
        print_json(&report)?;
    } else {
        print_text(&report.to_string())?;
    }
    if report.passed() {
        return Ok(());
    }
    if report.folders.iter().all(|folder| {
        folder.tensors.is_empty() && folder.missing.is_empty() && folder.failures.is_empty()
    }) {
        bail!(
            "{}: nothing to compare; name a folder of golden vectors (`config.json`, `weights.safetensors` and what the released \
             code made of them), such as crates/model/tests/golden",
            args.folder.display()
        );
    }
    let mut problems = Vec::new();
    for folder in report.folders.iter().filter(|folder| !folder.passed()) {
        let differing = folder
            .tensors
            .iter()
            .filter(|tensor| !tensor.passed())
            .count();
        problems.push(format!("{}: {differing} differ", folder.path.display()));
        problems.extend(
            folder
                .missing
                .iter()
                .map(|name| format!("  missing: {name}")),
        );
        problems.extend(
            folder
                .failures
                .iter()
                .map(|failure| format!("  failed: {failure}")),
        );
    }
    bail!(
        "{}: parity fails\n{}",
        args.folder.display(),
        problems.join("\n")
    )
}
