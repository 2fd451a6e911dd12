//! Everything that can go wrong between a config, a checkpoint and a prediction.

use std::path::PathBuf;

use kernels::ShapeError;

/// Why a network could not be built, loaded, saved or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A tensor has another shape than the network needs.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The settings cannot be built.
    #[error("bad model settings: {}", problems.join("; "))]
    Config {
        /// Each problem with its field and remedy.
        problems: Vec<String>,
    },
    /// A mask that packs leaves out a base that is pooled.
    #[error(
        "example {example}: the mask is 0 at position {position}, inside the promoter; set it to 1 there"
    )]
    PromoterMasked {
        /// Index in the batch.
        example: usize,
        /// 0-based position in the window.
        position: usize,
    },
    /// The positional embedding was built for another window.
    #[error(
        "the window has {length} bp but the positional embedding {n_positions}; set model.n_positions = {length}"
    )]
    Positions {
        /// Bases per window.
        length: usize,
        /// Positions of the embedding.
        n_positions: usize,
    },
    /// The window is longer than the filters of a HyenaDNA network.
    #[error(
        "the window has {length} bp but model.filter_length is {filter_length}; set it to at least {length}, or 0"
    )]
    FilterLength {
        /// Bases per window.
        length: usize,
        /// Positions of the filters.
        filter_length: usize,
    },
    /// A mask that is the data's peaks, without any.
    #[error("this network's mask is the data's peaks, and the data have none; set data.peaks")]
    NoPeaks,
    /// A network on candidate enhancers, for data without them.
    #[error("this network reads candidate enhancers, and the data have none; set data.candidates")]
    NoCandidates,
    /// A frozen generator that was trained with other settings.
    #[error("the generator was trained with other settings: {}; use its settings", differences.join("; "))]
    OtherGenerator {
        /// Each field with its value in this network ("here") and in the trained one ("there").
        differences: Vec<String>,
    },
    /// A sample needs one seed per example.
    #[error("{n_seeds} seeds for {batch} examples; give one per example")]
    Seeds {
        /// Seeds given.
        n_seeds: usize,
        /// Examples in the batch.
        batch: usize,
    },
    /// The device could not hand back values.
    #[error("reading a tensor failed: {message}")]
    Device {
        /// The device's message.
        message: String,
    },
    /// Values do not fit the network's parameters.
    #[error("parameters do not fit the network: {}", problems.join("; "))]
    Parameters {
        /// Each parameter that does not fit.
        problems: Vec<String>,
    },
    /// A file could not be read or written.
    #[error("{}: {action} failed: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {message}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and the remedy.
        message: String,
    },
    /// The weights in a file do not fit the network.
    #[error("{}: weights do not fit the network ({} problems): {}", path.display(), problems.len(), shorten(problems))]
    StateDict {
        /// The file.
        path: PathBuf,
        /// Each missing, extra, misshapen or disagreeing tensor.
        problems: Vec<String>,
    },
    /// A checkpoint was written with other settings.
    #[error("{}: the checkpoint has other model settings: {}; use its settings or another checkpoint", path.display(), differences.join("; "))]
    ConfigMismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Each field with its value in the checkpoint ("here") and in the experiment ("there").
        differences: Vec<String>,
    },
}

/// The first problems of a long list; the error's field holds all.
fn shorten(problems: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = problems
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    match problems.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{shown}; and {more} more"),
        _ => shown,
    }
}
