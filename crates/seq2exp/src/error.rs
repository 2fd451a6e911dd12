//! What can go wrong in a run.

use std::path::PathBuf;

/// An error of the toolkit above the level of single files, data sets and networks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The experiment file is not valid TOML, or holds a wrong type or an unknown key.
    #[error("{}: {message}", path.display())]
    ConfigSyntax {
        /// The experiment file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// The experiment file is well formed, but its values do not work together.
    #[error("{}: {} problem(s):\n  - {}", path.display(), problems.len(), problems.join("\n  - "))]
    ConfigInvalid {
        /// The experiment file.
        path: PathBuf,
        /// All problems.
        problems: Vec<String>,
    },
    /// A `--set` override does not fit the configuration.
    #[error("--set {item}: {message}")]
    Override {
        /// The override as given.
        item: String,
        /// Why it does not fit.
        message: String,
    },
}
