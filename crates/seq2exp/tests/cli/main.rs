//! The command line as a user meets it: every subcommand, and every kind of bad input.

mod bad_input;
mod benchmark;
mod real_data;
mod released;
mod subcommands;
mod tiny_experiment;
mod variants;

use assert_cmd::Command;

/// The `seq2exp` binary of this build.
fn seq2exp() -> Command {
    Command::new(env!("CARGO_BIN_EXE_seq2exp"))
}
