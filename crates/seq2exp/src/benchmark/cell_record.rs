//! What a cell's folder says of its running, beside the files of a run.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::evaluate::write_json;

/// How a cell was run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct CellRecord {
    /// Seconds over all attempts.
    pub(super) seconds: f64,
    /// How often it was started.
    pub(super) attempts: u32,
    /// Digest of the network of another cell that it is made of, if it needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<String>,
    /// Why the last attempt failed.
    pub(super) error: Option<String>,
}

/// File of the [`CellRecord`].
const RECORD_FILE: &str = "cell.json";

impl CellRecord {
    /// That of a cell's folder; none when it was never run, or by hand.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(RECORD_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes it into a cell's folder; one that cannot be written to fails the cell itself.
    pub(super) fn write(&self, folder: &Path) {
        let _ = write_json(&folder.join(RECORD_FILE), self);
    }
}
