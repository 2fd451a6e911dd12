//! Seq2Exp and Caduceus networks, losses and checkpoints.
//!
//! A [`NetworkConfig`] names a published network and what differs from it; [`Network::init`] builds it,
//! [`Network::forward`] predicts expression and the mask of a batch, [`loss()`](loss::loss) scores it, and
//! [`checkpoint`] keeps weights and settings in one file. [`parity`] compares any of it with recorded vectors of the
//! released code.

pub mod caduceus;
pub mod checkpoint;
pub mod config;
pub mod embedding;
pub mod error;
pub mod generator;
pub mod head;
pub mod initialization;
pub mod input;
pub mod linear;
pub mod loss;
pub mod mamba;
pub mod mask;
pub mod network;
pub mod parity;
pub mod predictor;
pub mod seq2exp;

pub use config::{NetworkConfig, NetworkKind};
pub use error::ModelError;
pub use input::ModelInput;
pub use loss::{Loss, loss};
pub use network::{NamedParameter, Network, Output, Pass, no_decay};
pub use parity::{ParityReport, run_parity};
