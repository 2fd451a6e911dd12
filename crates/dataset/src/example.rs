//! One gene as the arrays a model reads.

mod reader;

use genome::Gene;

use crate::candidate::Candidates;
use crate::error::DatasetError;
use crate::features::N_FEATURES;
use crate::fold::Split;
use crate::one_hot::one_hot;
use crate::region_mask::RegionCode;
use crate::window::Window;

pub use reader::ExampleReader;
pub(crate) use reader::read_genes;

/// One gene, its window, and every input and target of a model.
///
/// # Shapes
/// - base codes, regions, peaks: `[length]`; tracks: `[length, n_tracks]`, row-major; features: `[9]`
///
/// Offset `i` of every array is base `window.start() + i` of the forward strand.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    gene: Gene,
    window: Window,
    base_codes: Vec<u8>,
    tracks: Vec<f32>,
    n_tracks: usize,
    regions: Vec<RegionCode>,
    peaks: Option<Vec<bool>>,
    candidates: Option<Candidates>,
    features: [f32; N_FEATURES],
    target: Option<f32>,
    split: Split,
}

/// The parts of an [`Example`], before they are checked against each other.
///
/// For examples that come from somewhere else than this crate's readers.
///
/// # Shapes
/// - `base_codes`, `regions`, `peaks`: `[length]`; `tracks`: `[length, n_tracks]`, row-major; `features`: `[9]`
#[derive(Debug)]
pub struct ExampleParts {
    /// The gene.
    pub gene: Gene,
    /// Its window.
    pub window: Window,
    /// Bases: 0 = A, 1 = C, 2 = G, 3 = T, [`NO_BASE`](crate::NO_BASE) for N and padding.
    pub base_codes: Vec<u8>,
    /// Track values, all finite.
    pub tracks: Vec<f32>,
    /// Number of tracks.
    pub n_tracks: usize,
    /// What is fixed of the mask.
    pub regions: Vec<RegionCode>,
    /// Whether each position lies in a peak; nothing when the data set has no peaks.
    pub peaks: Option<Vec<bool>>,
    /// Candidate enhancers; nothing when the data set has none.
    pub candidates: Option<Candidates>,
    /// The features named in [`FEATURE_NAMES`](crate::FEATURE_NAMES).
    pub features: [f32; N_FEATURES],
    /// Transformed expression, if it was measured.
    pub target: Option<f32>,
    /// What the example is used for.
    pub split: Split,
}

impl TryFrom<ExampleParts> for Example {
    type Error = DatasetError;

    /// Checks that every array covers the window and every number is finite.
    fn try_from(parts: ExampleParts) -> Result<Self, DatasetError> {
        let length = parts.window.length() as usize;
        let reason = if parts.base_codes.len() != length {
            "the sequence does not cover the window"
        } else if parts.base_codes.iter().any(|&code| code > crate::NO_BASE) {
            "a base code is above 4"
        } else if parts.tracks.len() != length * parts.n_tracks {
            "the tracks do not cover the window"
        } else if parts.regions.len() != length {
            "the regions do not cover the window"
        } else if parts
            .peaks
            .as_ref()
            .is_some_and(|peaks| peaks.len() != length)
        {
            "the peaks do not cover the window"
        } else if parts.window.chrom() != parts.gene.chrom || parts.window.tss() != parts.gene.tss {
            "the window is not that of the gene"
        } else if !all_finite(&parts.tracks) {
            "a track value is not finite"
        } else if !parts.candidates.as_ref().is_none_or(is_sound) {
            "a candidate is longer than is read, or a feature of it is not finite"
        } else if !parts.features.iter().all(|value| value.is_finite()) {
            "a feature is not finite"
        } else if !parts.target.is_none_or(f32::is_finite) {
            "the target is not finite"
        } else {
            return Ok(Example {
                gene: parts.gene,
                window: parts.window,
                base_codes: parts.base_codes,
                tracks: parts.tracks,
                n_tracks: parts.n_tracks,
                regions: parts.regions,
                peaks: parts.peaks,
                candidates: parts.candidates,
                features: parts.features,
                target: parts.target,
                split: parts.split,
            });
        };
        Err(DatasetError::InvalidExample {
            symbol: parts.gene.symbol,
            line: parts.gene.line,
            region: parts.window.inside().to_string(),
            reason,
        })
    }
}

/// Whether every candidate can become numbers.
fn is_sound(candidates: &Candidates) -> bool {
    candidates.list.iter().all(|candidate| {
        let length = candidate.end.checked_sub(candidate.start);
        let features = [
            candidate.distance_kb,
            candidate.contact_log10p1,
            candidate.activity,
        ];
        length.is_some_and(|length| length <= candidates.element_length) && all_finite(&features)
    })
}

/// Looks at every value, without stopping early, so that it runs many at a time.
fn all_finite(values: &[f32]) -> bool {
    values
        .iter()
        .fold(true, |all, value| all & value.is_finite())
}

impl Example {
    /// The gene.
    pub fn gene(&self) -> &Gene {
        &self.gene
    }

    /// Its window.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Number of positions.
    pub fn length(&self) -> usize {
        self.base_codes.len()
    }

    /// Bases: 0 = A, 1 = C, 2 = G, 3 = T, [`NO_BASE`](crate::NO_BASE) for N and padding; `[length]`.
    pub fn base_codes(&self) -> &[u8] {
        &self.base_codes
    }

    /// Bases as rows of A, C, G, T; `[length, 4]`, row-major.
    pub fn one_hot(&self) -> Vec<f32> {
        one_hot(&self.base_codes)
    }

    /// Track values, the contact (`log10(x + 1)`) last; 0 = no data or padding; `[length, n_tracks]`,
    /// row-major.
    pub fn tracks(&self) -> &[f32] {
        &self.tracks
    }

    /// Number of tracks.
    pub fn n_tracks(&self) -> usize {
        self.n_tracks
    }

    /// What is fixed of the mask; `[length]`.
    pub fn regions(&self) -> &[RegionCode] {
        &self.regions
    }

    /// Whether each position lies in a peak; nothing when the data set has no peaks; `[length]`.
    pub fn peaks(&self) -> Option<&[bool]> {
        self.peaks.as_deref()
    }

    /// Candidate enhancers, nearest first; nothing when the data set has none.
    pub fn candidates(&self) -> Option<&Candidates> {
        self.candidates.as_ref()
    }

    /// The nine features, named in [`FEATURE_NAMES`](crate::FEATURE_NAMES).
    pub fn features(&self) -> &[f32; N_FEATURES] {
        &self.features
    }

    /// Transformed expression, if it was measured.
    pub fn target(&self) -> Option<f32> {
        self.target
    }

    /// What the example is used for.
    pub fn split(&self) -> Split {
        self.split
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Candidate;
    use genome::Strand;

    fn parts() -> ExampleParts {
        ExampleParts {
            gene: Gene {
                gene_id: "ID".to_string(),
                symbol: "GENE".to_string(),
                chrom: "c".to_string(),
                tss: 1,
                strand: Strand::Forward,
                gene_type: None,
                split: None,
                line: 2,
            },
            window: Window::centered_on("c", 1, 4, 3).unwrap(),
            base_codes: vec![4, 0, 1, 2],
            tracks: vec![0.0; 8],
            n_tracks: 2,
            regions: vec![RegionCode::Keep; 4],
            peaks: Some(vec![true, false, false, true]),
            candidates: None,
            features: [0.0; N_FEATURES],
            target: Some(1.0),
            split: Split::Test,
        }
    }

    #[test]
    fn try_from_parts_that_disagree_is_an_error() {
        assert!(Example::try_from(parts()).is_ok());
        type Change = fn(&mut ExampleParts);
        let cases: [(Change, &str); 11] = [
            (
                |parts| parts.base_codes.truncate(3),
                "the sequence does not cover",
            ),
            (|parts| parts.base_codes[0] = 5, "a base code is above 4"),
            (|parts| parts.tracks.truncate(7), "the tracks do not cover"),
            (|parts| parts.regions.clear(), "the regions do not cover"),
            (
                |parts| parts.peaks = Some(vec![true; 3]),
                "the peaks do not cover",
            ),
            (
                |parts| {
                    let candidate = Candidate {
                        start: 0,
                        end: 5,
                        distance_kb: 1.0,
                        contact_log10p1: 0.0,
                        activity: 0.0,
                    };
                    parts.candidates = Some(Candidates {
                        element_length: 4,
                        list: vec![candidate],
                    });
                },
                "a candidate is longer than is read",
            ),
            (
                |parts| parts.gene.tss = 2,
                "the window is not that of the gene",
            ),
            (
                |parts| parts.gene.chrom = "d".into(),
                "the window is not that of the gene",
            ),
            (
                |parts| parts.tracks[7] = f32::NAN,
                "a track value is not finite",
            ),
            (
                |parts| parts.features[0] = f32::INFINITY,
                "a feature is not finite",
            ),
            (
                |parts| parts.target = Some(f32::NAN),
                "the target is not finite",
            ),
        ];
        for (change, part) in cases {
            let mut changed = parts();
            change(&mut changed);
            let error = Example::try_from(changed).unwrap_err().to_string();
            assert!(
                error.starts_with("gene \"GENE\" (line 2 of the gene table), window c:1-3: ")
                    && error.contains(part),
                "{error}"
            );
        }
    }
}
