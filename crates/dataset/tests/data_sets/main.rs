//! Data sets from files: the walk of one gene, prepared data sets, and input that is wrong.

mod agreement;
mod bad_input;
mod candidates;
#[path = "../../../genome/tests/foreign_bigwig/writer.rs"]
mod foreign_bigwig;
mod fuzz_corpus;
mod hidden_input;
mod hostile;
mod k562_chr22;
mod polars;
mod prepared;
mod released;
mod sources;
mod tiny_genome;
mod walk;
