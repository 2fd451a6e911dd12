//! The nine features of a gene that do not come from its window's positions.

use genome::{MrnaFeatures, N_STANDARDISED};
use serde::{Deserialize, Serialize};

/// Number of features.
pub const N_FEATURES: usize = 9;

/// Names of the features, in order.
///
/// Lengths are `log10(bases + 1)`, z-scored; GC is a fraction; the density is exon junctions in the
/// reading frame per 1,000 bases of it; the activity is in the unit of its tracks.
pub const FEATURE_NAMES: [&str; N_FEATURES] = [
    "utr5_length",
    "cds_length",
    "intron_length",
    "utr3_length",
    "utr5_gc",
    "cds_gc",
    "utr3_gc",
    "orf_junctions_per_kb",
    "promoter_activity",
];

const N_LENGTHS: usize = 4;
const N_RATIOS: usize = 4;

/// Means and deviations over the training genes, by which features are standardised.
///
/// They are rounded to f32 before use, so that they survive a JSON file unchanged.
///
/// # Units
/// - lengths: `log10(bases + 1)`; `+ 1` because genes without introns or untranslated regions
///   exist, and log10(0) does not
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureScaling {
    /// Training genes with a coding transcript.
    pub n_genes: u64,
    /// Mean of the lengths of 5'UTR, CDS, introns, 3'UTR.
    pub length_mean_log10p1: [f32; N_LENGTHS],
    /// Standard deviation (of the population) of the same; 0 when all are equal.
    pub length_sd_log10p1: [f32; N_LENGTHS],
    /// Mean GC of 5'UTR, CDS, 3'UTR, and mean junction density, over the genes that have them.
    pub ratio_mean: [f32; N_RATIOS],
}

impl FeatureScaling {
    /// Takes mean and deviation over the training genes that have a coding transcript.
    ///
    /// Without any, all means and deviations are 0.
    pub fn of<'a>(training: impl IntoIterator<Item = &'a MrnaFeatures>) -> Self {
        let mut n_genes = 0;
        let mut lengths: [Vec<f64>; N_LENGTHS] = Default::default();
        let mut ratios: [Vec<f64>; N_RATIOS] = Default::default();
        for mrna in training {
            n_genes += 1;
            for (list, value) in lengths.iter_mut().zip(lengths_log10p1(mrna)) {
                list.push(value);
            }
            for (list, value) in ratios.iter_mut().zip(known_ratios(mrna)) {
                list.extend(value);
            }
        }
        FeatureScaling {
            n_genes,
            length_mean_log10p1: lengths.each_ref().map(|list| mean(list) as f32),
            length_sd_log10p1: lengths.each_ref().map(|list| population_sd(list) as f32),
            ratio_mean: ratios.each_ref().map(|list| mean(list) as f32),
        }
    }

    /// For features that were standardised before: lengths are left as they are, and a gene without
    /// any takes the mean of the training genes, which is all that is computed here.
    pub fn of_standardised<'a>(
        training: impl IntoIterator<Item = &'a [f64; N_STANDARDISED]>,
    ) -> Self {
        let mut n_genes = 0;
        let mut ratios: [Vec<f64>; N_RATIOS] = Default::default();
        for values in training {
            n_genes += 1;
            for (list, value) in ratios.iter_mut().zip(&values[N_LENGTHS..]) {
                list.push(*value);
            }
        }
        FeatureScaling {
            n_genes,
            length_mean_log10p1: [0.0; N_LENGTHS],
            length_sd_log10p1: [1.0; N_LENGTHS],
            ratio_mean: ratios.each_ref().map(|list| mean(list) as f32),
        }
    }

    /// The nine features of a gene whose first eight were standardised before.
    pub fn standardised_features(
        &self,
        values: Option<&[f64; N_STANDARDISED]>,
        promoter_activity: f64,
    ) -> [f32; N_FEATURES] {
        let mut features = self.features(None, promoter_activity);
        for (feature, value) in features.iter_mut().zip(values.into_iter().flatten()) {
            *feature = *value as f32;
        }
        features
    }

    /// The nine features of a gene.
    ///
    /// What a gene does not have takes the mean of the training genes: everything but the activity
    /// for a gene without a coding transcript (its z-scored lengths are 0), the GC of an empty
    /// untranslated region.
    ///
    /// # Units
    /// - `promoter_activity`: as the tracks it is made of
    pub fn features(
        &self,
        mrna: Option<&MrnaFeatures>,
        promoter_activity: f64,
    ) -> [f32; N_FEATURES] {
        let mut features = [0.0; N_FEATURES];
        if let Some(mrna) = mrna {
            for (index, value) in lengths_log10p1(mrna).into_iter().enumerate() {
                let mean = f64::from(self.length_mean_log10p1[index]);
                let sd = f64::from(self.length_sd_log10p1[index]);
                if sd > 0.0 {
                    features[index] = ((value - mean) / sd) as f32;
                }
            }
        }
        let known = mrna.map_or([None; N_RATIOS], known_ratios);
        for (index, value) in known.into_iter().enumerate() {
            features[N_LENGTHS + index] =
                value.map_or(self.ratio_mean[index], |value| value as f32);
        }
        features[N_FEATURES - 1] = promoter_activity as f32;
        features
    }
}

/// Geometric mean of the activities of the tracks at the start site; of two, sqrt(a * b).
///
/// A negative activity counts as 0, and so does having no track.
///
/// # Units
/// - each activity: mean track value over TSS ± 500 bp. The published unit is reads per million;
///   with a track in another unit the feature is in that unit.
pub fn promoter_activity(activities: &[f64]) -> f64 {
    match activities {
        [] => 0.0,
        [a, b] => (a.max(0.0) * b.max(0.0)).sqrt(),
        list => list
            .iter()
            .map(|activity| activity.max(0.0))
            .product::<f64>()
            .powf(1.0 / list.len() as f64),
    }
}

fn lengths_log10p1(mrna: &MrnaFeatures) -> [f64; N_LENGTHS] {
    [mrna.utr5_len, mrna.cds_len, mrna.intron_len, mrna.utr3_len]
        .map(|length| (length as f64 + 1.0).log10())
}

fn known_ratios(mrna: &MrnaFeatures) -> [Option<f64>; N_RATIOS] {
    let of = |length: u64, value: f64| (length > 0).then_some(value);
    [
        of(mrna.utr5_len, mrna.utr5_gc),
        of(mrna.cds_len, mrna.cds_gc),
        of(mrna.utr3_len, mrna.utr3_gc),
        of(mrna.cds_len, mrna.orf_junctions_per_kb),
    ]
}

fn mean(values: &[f64]) -> f64 {
    match values.len() {
        0 => 0.0,
        n => values.iter().sum::<f64>() / n as f64,
    }
}

fn population_sd(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: Vec<f64> = values
        .iter()
        .map(|value| (value - center).powi(2))
        .collect();
    mean(&squares).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mrna(lengths: [u64; 4], utr5_gc: f64) -> MrnaFeatures {
        MrnaFeatures {
            utr5_len: lengths[0],
            cds_len: lengths[1],
            intron_len: lengths[2],
            utr3_len: lengths[3],
            utr5_gc,
            cds_gc: 0.5,
            utr3_gc: 0.25,
            n_junctions: 2,
            n_orf_junctions: 1,
            orf_junctions_per_kb: 2.0,
        }
    }

    #[test]
    fn of_two_genes_gives_mean_and_population_deviation() {
        // CDS: log10(10) = 1 and log10(1000) = 3: mean 2, deviation 1. Introns: both
        // log10(0 + 1) = 0. 5'UTR: log10(100) = 2 and 0: mean 1, deviation 1; the second gene
        // has none, so the mean of its GC is that of the first gene.
        let genes = [mrna([99, 9, 0, 9], 0.6), mrna([0, 999, 0, 99], 0.0)];
        // One base is a part with a GC content.
        let short = FeatureScaling::of(&[mrna([1, 9, 0, 9], 1.0), mrna([1, 9, 0, 9], 0.0)]);
        assert_eq!(short.ratio_mean[0], 0.5);
        let scaling = FeatureScaling::of(&genes);
        let expected = FeatureScaling {
            n_genes: 2,
            length_mean_log10p1: [1.0, 2.0, 0.0, 1.5],
            length_sd_log10p1: [1.0, 1.0, 0.0, 0.5],
            ratio_mean: [0.6, 0.5, 0.25, 2.0],
        };
        assert_eq!(scaling, expected);
        assert_eq!(
            scaling.features(Some(&genes[1]), 7.0),
            [-1.0, 1.0, 0.0, 1.0, 0.6, 0.5, 0.25, 2.0, 7.0]
        );
        assert_eq!(
            scaling.features(None, 7.0),
            [0.0, 0.0, 0.0, 0.0, 0.6, 0.5, 0.25, 2.0, 7.0]
        );
    }

    #[test]
    fn of_no_gene_makes_features_zero() {
        let scaling = FeatureScaling::of(&[]);
        assert_eq!(scaling.features(None, 0.0), [0.0; N_FEATURES]);
        let gene = mrna([9, 9, 9, 9], 0.5);
        assert_eq!(scaling.features(Some(&gene), 0.0)[..4], [0.0; 4]);
    }

    #[test]
    fn standardised_features_are_left_as_they_are() {
        let training = [
            [-1.0, 0.5, 2.0, 0.0, 0.25, 0.5, 1.0, -2.0],
            [1.0, 0.5, 3.0, 0.0, 0.75, 0.5, 3.0, 0.0],
        ];
        let scaling = FeatureScaling::of_standardised(&training);
        let expected = FeatureScaling {
            n_genes: 2,
            length_mean_log10p1: [0.0; 4],
            length_sd_log10p1: [1.0; 4],
            // (0.25 + 0.75) / 2, 0.5, (1 + 3) / 2, (-2 + 0) / 2
            ratio_mean: [0.5, 0.5, 2.0, -1.0],
        };
        assert_eq!(scaling, expected);
        assert_eq!(
            scaling.standardised_features(Some(&training[0]), 7.0),
            [-1.0, 0.5, 2.0, 0.0, 0.25, 0.5, 1.0, -2.0, 7.0]
        );
        assert_eq!(
            scaling.standardised_features(None, 7.0),
            [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 2.0, -1.0, 7.0]
        );
    }

    #[test]
    fn promoter_activity_is_the_geometric_mean() {
        let cases: [(&[f64], f64); 6] = [
            (&[], 0.0),
            (&[3.0], 3.0),
            (&[4.0, 9.0], 6.0),
            (&[4.0, 0.0], 0.0),
            (&[-4.0, -9.0], 0.0),
            (&[1.0, 1.0, 1.0], 1.0),
        ];
        for (activities, expected) in cases {
            assert_eq!(promoter_activity(activities), expected, "{activities:?}");
        }
        // The cube root of 1 * 8 * 27 = 216, rounded; negative ones count as 0 each, whatever the sign of their product.
        assert!((promoter_activity(&[1.0, 8.0, 27.0]) - 6.0).abs() < 1e-12);
        assert_eq!(promoter_activity(&[-1.0, -1.0, 1.0]), 0.0);
    }
}
