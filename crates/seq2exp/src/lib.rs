//! Predict gene expression from DNA and epigenomic tracks, and discover the elements that drive it.
//!
//! The library behind the `seq2exp` command: training, evaluation, discovery and reports over the crates
//! `dataset` (files to examples) and `model` (networks). ARCHITECTURE.md shows the walk of one gene.

mod allocator;
pub mod baseline;
pub mod batch;
pub mod bench;
pub mod benchmark;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod cost;
pub mod device;
pub mod difference;
mod digest;
pub mod discover;
pub mod discovery_tables;
pub mod elements;
pub mod ensemble;
pub mod error;
pub mod evaluate;
pub mod experiment;
pub mod interrupt;
pub mod metric;
pub mod optimizer;
pub mod output_folder;
pub mod parity;
pub mod pool;
pub mod predict;
pub mod predictions_table;
mod prepared_inputs;
pub mod progress;
pub mod recovery;
pub mod report;
pub mod ridge;
pub mod run_folder;
mod saved_paths;
pub mod schedule;
mod setting_limits;
pub mod simulate;
#[cfg(test)]
mod synthetic;
pub mod target_summary;
mod track_settings;
pub mod train;
pub mod trained_genes;
pub mod trained_networks;

pub use error::RunError;
