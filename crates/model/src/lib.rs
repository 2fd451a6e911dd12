//! Seq2Exp and the networks it is compared with, losses and checkpoints.
//!
//! A [`NetworkConfig`] names a published network and what differs from it; [`Network::init`] builds it,
//! [`Network::forward`] predicts expression and the mask of a batch, [`loss()`](loss::loss) scores it, and
//! [`checkpoint`] keeps weights and settings in one file. [`parity`] compares any of it with recorded vectors of the
//! released code.

pub mod batch_norm;
pub mod caduceus;
pub mod checkpoint;
pub mod config;
mod dropout;
pub mod embedding;
pub mod enformer;
pub mod epinformer;
pub mod error;
pub mod fixed_mask;
pub mod generator;
pub mod head;
pub mod hyena;
pub mod initialization;
pub mod input;
pub mod layer_norm;
pub mod linear;
pub mod loss;
pub mod mamba;
pub mod mamba_regressor;
pub mod mask;
pub mod network;
pub mod parity;
pub mod predictor;
pub mod prism;
pub mod retrained;
pub mod seq2exp;
pub mod token_embedding;
mod window_mean;

pub use batch_norm::{BATCH_MOMENTUM, BatchStatistic, is_statistic};
pub use config::{NetworkConfig, NetworkKind, NetworkSize};
pub use epinformer::Candidates;
pub use error::ModelError;
pub use input::ModelInput;
pub use loss::{Loss, MaskCost, loss, smooth_l1};
pub use mask::RandomShare;
pub use network::{Intervention, NamedParameter, Network, Output, Pass, no_decay};
pub use parity::{ParityReport, run_parity};
pub use retrained::is_frozen;
