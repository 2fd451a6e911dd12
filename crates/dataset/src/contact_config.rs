//! Where the contact of each position with the start site comes from.

use std::path::PathBuf;

use genome::Normalization;
use serde::{Deserialize, Serialize};

/// Hi-C contact with the start site, or its declared substitute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactConfig {
    /// `.hic`, `.mcool` or `.cool` file. Default: none, which needs a `fallback`.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Bin size in bases. Default and published: 5,000.
    #[serde(default = "default_resolution")]
    pub resolution: u32,
    /// Which normalised counts to read. Default: raw counts; published: VC.
    #[serde(default = "default_normalization")]
    pub normalization: Normalization,
    /// What stands in for the contact when there is no file. Default: nothing.
    #[serde(default)]
    pub fallback: Option<ContactFallback>,
}

fn default_resolution() -> u32 {
    5_000
}

fn default_normalization() -> Normalization {
    Normalization::None
}

/// What stands in for a missing contact file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactFallback {
    /// The average contact at the same distance, [`genome::power_law_contact`].
    PowerLaw,
}
