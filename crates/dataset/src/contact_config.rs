//! Where the contact of each position with the start site comes from.

use std::path::PathBuf;

use genome::Normalization;
use serde::{Deserialize, Serialize};

use crate::config::CONTACT_TRACK;
use crate::mask_prior::validate_constants;
use crate::track_config::AbsentChrom;

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
    /// What it means that the file lacks a chromosome that genes lie on. Default: `error`.
    #[serde(default)]
    pub absent: AbsentChrom,
    /// Concentration of the mask toward 0 that the contact stands for. Default and published: 1.0.
    #[serde(default)]
    pub beta: Option<f32>,
    /// Weight of the contact in the mask. Default and published: 0.2.
    #[serde(default)]
    pub weight: Option<f32>,
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

impl ContactConfig {
    /// Adds every problem that can be seen without opening the file.
    pub(crate) fn validate(&self, problems: &mut Vec<String>) {
        match (&self.path, self.fallback) {
            (None, None) => problems
                .push("contact has no path; give one, or write fallback = \"power_law\"".into()),
            (Some(_), Some(_)) => {
                problems.push("contact has a path and a fallback; remove one of the two".into())
            }
            _ => {}
        }
        if self.resolution == 0 {
            problems.push("contact resolution must be at least 1 bp".into());
        }
        if self.path.is_none() && self.absent == AbsentChrom::NoData {
            problems.push(
                "contact has absent = \"no_data\" but no file that could lack a chromosome; \
                 remove it"
                    .into(),
            );
        }
        validate_constants(CONTACT_TRACK, self.beta, self.weight, problems);
    }
}
