//! The `seq2exp` command.

use std::process::ExitCode;

use clap::Parser;
use seq2exp::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match seq2exp::commands::execute(cli) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Whether a reader of our standard output went away, as in `seq2exp … | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
