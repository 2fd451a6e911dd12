//! Input that a network does not get to see, for ablations.

use serde::{Deserialize, Serialize};

/// A part of every example that is blanked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenInput {
    /// Every base is unknown, as N. The mRNA features stay, which are those of a transcript and not of the window.
    Sequence,
    /// Every track, the contact included, is 0, and so is what is made of tracks: the promoter activity, and activity and
    /// contact of candidate enhancers.
    Tracks,
}
