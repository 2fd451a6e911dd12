//! One track and what is done to its values.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One bigWig track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackConfig {
    /// Name of the track, unique, for example `dnase`.
    pub name: String,
    /// bigWig file.
    pub path: PathBuf,
    /// Every value is multiplied by it, before the transform; for tracks in another unit than the
    /// published reads per million. Default: 1.
    #[serde(default = "default_scale")]
    pub scale: f32,
    /// Default and published: `raw`.
    #[serde(default)]
    pub transform: TrackTransform,
}

fn default_scale() -> f32 {
    1.0
}

/// What is done to a track's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackTransform {
    /// The value itself.
    #[default]
    Raw,
    /// `log10(value + 1)`; a value of -1 or less is an error.
    Log10p1,
}
