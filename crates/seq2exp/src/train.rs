//! Training a network.

mod config;
mod order;
mod record;
mod state;

pub use config::TrainConfig;
pub use order::{Visit, VisitOrder};
pub use record::{Record, RecordFile, StepRecord, ValidationRecord, read_records};
pub use state::{Best, RunProgress, SavedParameter, TrainState};
