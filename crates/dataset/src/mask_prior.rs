//! What the mask is told about a track before any training.

use serde::{Deserialize, Serialize};

/// Constants of a track's Beta belief about the mask: toward 1 with the track's value, toward 0
/// with `beta`, both counted `weight` times.
///
/// # Reference
/// Seq2Exp's `prior_beta` and `prior_weight`: 1.5, 0.2, 1.0 and 0.4, 0.4, 0.2 for H3K27ac, DNase
/// and contact.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskPrior {
    /// Concentration toward 0, before scaling.
    pub beta: f32,
    /// Weight among the tracks.
    pub weight: f32,
}

/// The published constants, by the name of the track.
const PUBLISHED: [(&str, MaskPrior); 3] = [
    ("h3k27ac", prior(1.5, 0.4)),
    ("dnase", prior(0.2, 0.4)),
    ("contact", prior(1.0, 0.2)),
];

const fn prior(beta: f32, weight: f32) -> MaskPrior {
    MaskPrior { beta, weight }
}

impl MaskPrior {
    /// The constants of a track: those that are declared, else the published ones of its name;
    /// nothing when one of the two is neither declared nor published.
    pub(crate) fn of_track(name: &str, beta: Option<f32>, weight: Option<f32>) -> Option<Self> {
        let published = PUBLISHED
            .iter()
            .find(|(track, _)| *track == name)
            .map(|(_, prior)| prior);
        Some(MaskPrior {
            beta: beta.or(published.map(|prior| prior.beta))?,
            weight: weight.or(published.map(|prior| prior.weight))?,
        })
    }
}

/// Adds a problem for each declared constant that no Beta distribution takes.
pub(crate) fn validate_constants(
    track: &str,
    beta: Option<f32>,
    weight: Option<f32>,
    problems: &mut Vec<String>,
) {
    for (field, value) in [("beta", beta), ("weight", weight)] {
        if let Some(value) = value.filter(|value| !(value.is_finite() && *value >= 0.0)) {
            problems.push(format!(
                "track {track:?} has {field} {value}; it must be finite and not negative"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_track_fills_what_is_not_declared_with_the_published_constants() {
        let cases = [
            ("h3k27ac", None, None, Some((1.5, 0.4))),
            ("dnase", None, Some(0.3), Some((0.2, 0.3))),
            ("contact", Some(2.0), None, Some((2.0, 0.2))),
            ("h3k4me3", Some(1.0), Some(0.1), Some((1.0, 0.1))),
            ("h3k4me3", Some(1.0), None, None),
            ("h3k4me3", None, None, None),
        ];
        for (name, beta, weight, expected) in cases {
            let found = MaskPrior::of_track(name, beta, weight).map(|p| (p.beta, p.weight));
            assert_eq!(found, expected, "{name} {beta:?} {weight:?}");
        }
    }
}
