//! One track and what is done to its values.

use std::path::PathBuf;

use genome::{ReadFilter, TrackKind};
use serde::{Deserialize, Serialize};

use crate::mask_prior::validate_constants;

/// One signal track of any assay.
///
/// A value goes through `scale`, then `clip`, then `transform`; a base without data is 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrackConfig {
    /// Name of the track, unique, for example `dnase`.
    pub name: String,
    /// bigWig; or bedGraph (`.bedgraph`, `.bdg`, `.bg`, also with `.gz`) or aligned reads (`.bam`,
    /// `.cram`: reads over each base per million), which are read once into a bigWig beside them,
    /// see [`genome::TrackFile`].
    pub path: PathBuf,
    /// Which aligned reads count. Default: all that are mapped, primary and no duplicates.
    #[serde(default)]
    pub reads: ReadFilter,
    /// What was measured, in words, for the reader of the manifest. Default: none.
    #[serde(default)]
    pub assay: Option<String>,
    /// Every value is multiplied by it first; for tracks in another unit than the published reads
    /// per million. Default: 1.
    #[serde(default = "default_scale")]
    pub scale: f32,
    /// Lowest and highest scaled value; what lies outside is set to the nearer of the two.
    /// Default: none.
    #[serde(default)]
    pub clip: Option<[f32; 2]>,
    /// What is done to the value in the end. Default and published: `raw` (also called `none`).
    #[serde(default)]
    pub transform: TrackTransform,
    /// What it means that the file lacks a chromosome that genes lie on. Default: `error`.
    #[serde(default)]
    pub absent: AbsentChrom,
    /// Concentration of the mask toward 0 that this track stands for. Default: the published one
    /// of a track of this name (`h3k27ac` 1.5, `dnase` 0.2). Reference name: `prior_beta`.
    #[serde(default)]
    pub beta: Option<f32>,
    /// Weight of this track in the mask. Default: the published one of a track of this name
    /// (`h3k27ac` 0.4, `dnase` 0.4). Reference name: `prior_weight`.
    #[serde(default)]
    pub weight: Option<f32>,
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
    #[serde(alias = "none")]
    Raw,
    /// `log10(value + 1)`; a value of -1 or less is an error.
    Log10p1,
}

/// What it means that a file lacks a chromosome that genes lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AbsentChrom {
    /// A mistake.
    #[default]
    Error,
    /// There is no data: the track is 0 there. Counted in the manifest; at least one chromosome
    /// that genes lie on must be there.
    NoData,
}

/// What is wrong with an infinite value of a track, and what to do.
pub(crate) const NOT_FINITE: &str = "a track value must be finite; write the track again without it, a base without a value has no data";

impl TrackConfig {
    /// Adds every problem that can be seen without opening the file.
    pub(crate) fn validate(&self, problems: &mut Vec<String>) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            problems.push(format!(
                "track name {:?} must be letters, digits, - or _",
                self.name
            ));
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            problems.push(format!(
                "track {:?} has scale {}; it must be above 0",
                self.name, self.scale
            ));
        }
        if let Some([low, high]) = self.clip
            && !(low.is_finite() && high.is_finite() && low < high)
        {
            problems.push(format!(
                "track {:?} has clip [{low}, {high}]; write the lowest value, then a higher one",
                self.name
            ));
        }
        if self.reads != ReadFilter::default() && TrackKind::of(&self.path) != TrackKind::Alignment
        {
            problems.push(format!(
                "track {:?} says which reads count, but its file is no .bam or .cram",
                self.name
            ));
        }
        validate_constants(&self.name, self.beta, self.weight, problems);
    }

    /// The value a model sees, of a scaled one; no data (NaN) is 0.
    ///
    /// # Errors
    /// What is wrong with an infinite value, or one that the transform does not take.
    pub(crate) fn transformed(&self, scaled: f32) -> Result<f32, &'static str> {
        if scaled.is_nan() {
            return Ok(0.0);
        }
        if scaled.is_infinite() {
            return Err(NOT_FINITE);
        }
        let value = match self.clip {
            // Not f32::clamp, which panics on limits that validation refuses.
            Some([low, high]) => scaled.max(low).min(high),
            None => scaled,
        };
        match self.transform {
            TrackTransform::Raw => Ok(value),
            TrackTransform::Log10p1 if value > -1.0 => Ok((f64::from(value) + 1.0).log10() as f32),
            TrackTransform::Log10p1 => {
                Err("log10(value + 1) needs a value above -1; use transform = \"raw\"")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(more: &str) -> TrackConfig {
        toml::from_str(&format!("name = \"t\"\npath = \"t.bw\"\n{more}")).unwrap()
    }

    #[test]
    fn transformed_clips_before_the_logarithm() {
        let (raw, log, clip) = ("", "transform = \"log10p1\"", "clip = [0, 9]");
        let both = format!("{log}\n{clip}");
        let cases: [(&str, f32, Option<f32>); 14] = [
            (raw, 2.5, Some(2.5)),
            (raw, -3.0, Some(-3.0)),
            (raw, f32::NAN, Some(0.0)),
            (raw, f32::INFINITY, None),
            (log, 9.0, Some(1.0)), // log10(10)
            (log, 0.0, Some(0.0)),
            (log, f32::NAN, Some(0.0)),
            (log, -1.0, None),
            (clip, 12.0, Some(9.0)),
            (clip, -1.0, Some(0.0)),
            (clip, 4.5, Some(4.5)),
            (clip, f32::NEG_INFINITY, None),
            (&both, 1e30, Some(1.0)),
            (&both, -5.0, Some(0.0)),
        ];
        for (text, scaled, expected) in cases {
            let found = track(text).transformed(scaled).ok();
            assert_eq!(found, expected, "{text} {scaled}");
        }
    }

    #[test]
    fn transform_none_is_raw() {
        let config = track("transform = \"none\"");
        assert_eq!(config.transform, TrackTransform::Raw);
    }

    #[test]
    fn scale_without_one_is_1() {
        assert_eq!(track("").scale, 1.0);
    }

    #[test]
    fn validate_names_each_problem() {
        let cases = [
            ("scale = 0", "must be above 0"),
            ("clip = [1, 1]", "then a higher one"),
            ("clip = [2, 1]", "then a higher one"),
            ("clip = [nan, 1]", "then a higher one"),
            ("clip = [0, inf]", "then a higher one"),
            ("clip = [-inf, 0]", "then a higher one"),
            ("reads = { min_mapping_quality = 9 }", "is no .bam or .cram"),
            ("beta = -1", "has beta -1"),
            ("weight = inf", "has weight inf"),
        ];
        for (text, part) in cases {
            let mut problems = Vec::new();
            track(text).validate(&mut problems);
            assert!(
                problems.len() == 1 && problems[0].contains(part),
                "{text}: {problems:?}"
            );
        }
        for sound in ["scale = 1e-9", "clip = [-1, 1]", "beta = 0", "weight = 0.0"] {
            let mut problems = Vec::new();
            track(sound).validate(&mut problems);
            assert_eq!(problems, [""; 0], "{sound}");
        }
    }
}
