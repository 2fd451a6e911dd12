//! The command line as a user meets it: every subcommand, and every kind of bad input.

mod bad_input;
mod benchmark;
mod changed_input;
mod discovery;
mod large_settings;
mod moved;
mod networks;
mod output_folder;
mod real_data;
mod released;
mod subcommands;
mod tiny_experiment;
mod unfinished;
mod variants;

use std::path::Path;

use assert_cmd::Command;

/// The `seq2exp` binary of this build.
fn seq2exp() -> Command {
    Command::new(env!("CARGO_BIN_EXE_seq2exp"))
}

/// Runs a command in a folder: exit code, standard output, standard error.
fn run_in(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = seq2exp()
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().expect("an exit code"),
        text(&output.stdout),
        text(&output.stderr),
    )
}
