//! The `seq2exp` command.

fn main() {}
