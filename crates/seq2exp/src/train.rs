//! Training a network.

mod config;
mod failed_step;
mod initial;
mod numerics;
mod order;
mod random_masks;
mod record;
mod run;
mod state;
mod tensor_file;
mod trainee;

pub use config::TrainConfig;
pub use initial::initial_network;
pub use numerics::{Precision, Storage, numerics};
pub use order::{Visit, VisitOrder};
pub use random_masks::RandomMasks;
pub use record::{Record, RecordFile, StepRecord, ValidationRecord, read_records};
pub use run::{BEST_FILE, LAST_FILE, RECORD_FILE, STATE_FILE, TrainRun, TrainSummary};
pub use state::{Best, RunProgress, SavedParameter, TrainState};

#[cfg(all(test, feature = "gpu"))]
mod gpu_tests;
#[cfg(test)]
mod stop_tests;
#[cfg(test)]
mod tests;
