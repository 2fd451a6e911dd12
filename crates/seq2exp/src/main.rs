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
            eprintln!("error: {}", message(&error));
            ExitCode::from(1)
        }
    }
}

/// The error and its causes, each once: many messages end with that of their cause.
fn message(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .fold(error.to_string(), |text, cause| {
            let cause = cause.to_string();
            match text.contains(&cause) {
                true => text,
                false => format!("{text}: {cause}"),
            }
        })
}

/// Whether a reader of our standard output went away, as in `seq2exp … | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn message_has_each_cause_once() {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let path = std::path::PathBuf::from("a.toml");
        let source = missing();
        let shown = format!("a.toml: {source}");
        let error = seq2exp::RunError::Io { path, source };
        assert_eq!(message(&error.into()), shown);
        let error = Err::<(), _>(missing())
            .context("reading")
            .expect_err("missing");
        assert_eq!(message(&error), format!("reading: {}", missing()));
        assert_eq!(message(&anyhow!("alone")), "alone");
    }
}
