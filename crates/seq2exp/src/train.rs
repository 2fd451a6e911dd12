//! Training a network.

mod config;

pub use config::TrainConfig;
