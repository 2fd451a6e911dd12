//! How good predictions are, beside simple predictors.

use std::io::Write;
use std::path::Path;

use dataset::Split;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::baseline::{BaselineKind, Baselines};
use crate::error::RunError;
use crate::metric::{BootstrapConfig, Estimate, Metric, bootstrap};
use crate::predict::{Prediction, mean_mask_ratio};

/// All metrics of one predictor on one set of genes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Genes with observed expression.
    pub n_genes: usize,
    /// Mean squared error.
    pub mse: Estimate,
    /// Mean absolute error.
    pub mae: Estimate,
    /// Pearson correlation.
    pub pearson: Estimate,
    /// Spearman correlation.
    pub spearman: Estimate,
}

impl Scores {
    /// Scores `predicted` against `observed`; bootstrap intervals are drawn with `seed`.
    ///
    /// # Shapes
    /// - `predicted`, `observed`: `[n_genes]`
    pub fn new(predicted: &[f64], observed: &[f64], config: BootstrapConfig, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let estimates = bootstrap(&Metric::ALL, predicted, observed, config, &mut rng);
        let undefined = Estimate {
            value: None,
            low: None,
            high: None,
        };
        let of = |metric| {
            let place = Metric::ALL.iter().position(|known| *known == metric);
            place
                .and_then(|place| estimates.get(place))
                .copied()
                .unwrap_or(undefined)
        };
        Self {
            n_genes: predicted.len().min(observed.len()),
            mse: of(Metric::Mse),
            mae: of(Metric::Mae),
            pearson: of(Metric::Pearson),
            spearman: of(Metric::Spearman),
        }
    }
}

/// The scores of a network on one split, beside simple predictors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The genes that were scored.
    pub split: Split,
    /// The network's scores.
    pub network: Scores,
    /// Mean of the evaluation mask over genes and positions, promoter included; `null` without a mask.
    pub mask_ratio: Option<f64>,
    /// Scores of the baselines on the same genes, intervals from the same resamples.
    pub baselines: Vec<BaselineScores>,
}

/// The scores of one baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineScores {
    /// What it predicts from.
    pub name: BaselineKind,
    /// Its scores.
    #[serde(flatten)]
    pub scores: Scores,
}

impl Evaluation {
    /// Scores `predictions` of one split; genes without observed expression are left out.
    pub fn new(
        split: Split,
        predictions: &[Prediction],
        baselines: Option<&Baselines>,
        config: BootstrapConfig,
        seed: u64,
    ) -> Self {
        let measured: Vec<(&Prediction, f64)> = predictions
            .iter()
            .filter_map(|p| Some((p, f64::from(p.observed?))))
            .collect();
        let observed: Vec<f64> = measured.iter().map(|(_, observed)| *observed).collect();
        let predicted: Vec<f64> = measured
            .iter()
            .map(|(p, _)| f64::from(p.predicted))
            .collect();
        let score_baseline = |baselines: &Baselines, kind| {
            let predicted: Vec<f64> = measured
                .iter()
                .map(|(p, _)| baselines.predict(kind, &p.features))
                .collect();
            BaselineScores {
                name: kind,
                scores: Scores::new(&predicted, &observed, config, seed),
            }
        };
        Self {
            split,
            network: Scores::new(&predicted, &observed, config, seed),
            mask_ratio: mean_mask_ratio(predictions),
            baselines: baselines
                .map(|baselines| {
                    BaselineKind::ALL
                        .map(|kind| score_baseline(baselines, kind))
                        .to_vec()
                })
                .unwrap_or_default(),
        }
    }
}

/// Writes a value as indented JSON, for example `metrics.json`.
///
/// # Errors
/// [`RunError::Genome`] when the file cannot be written; an older one then survives.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    genome::write_atomic(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        writeln!(file)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::N_FEATURES;

    fn prediction(gene_index: usize, predicted: f32, observed: Option<f32>) -> Prediction {
        Prediction {
            gene_index,
            predicted,
            observed,
            mask_ratio: Some(0.25),
            features: [0.0; N_FEATURES],
        }
    }

    #[test]
    fn evaluation_scores_measured_genes_beside_baselines() {
        let predictions = [
            prediction(0, 1.0, Some(1.0)),
            prediction(1, 9.0, None),
            prediction(2, 2.0, Some(3.0)),
            prediction(3, 4.0, Some(5.0)),
        ];
        let mut training = [([0.0; N_FEATURES], 2.0), ([0.0; N_FEATURES], 4.0)];
        training[0].0[N_FEATURES - 1] = 1.0;
        let baselines = Baselines::fit_to(&training);
        let config = BootstrapConfig {
            n_resamples: 50,
            ..BootstrapConfig::default()
        };
        let evaluation = Evaluation::new(Split::Test, &predictions, baselines.as_ref(), config, 1);
        assert_eq!(evaluation.network.n_genes, 3);
        // Errors 0, -1, -1: mean square 2/3. Means 7/3 and 3; covariance sum 6, variances 14/3 and 8:
        // 6 / sqrt(14/3 * 8) = 0.98198.
        assert!((evaluation.network.mse.value.expect("defined") - 2.0 / 3.0).abs() < 1e-12);
        assert!((evaluation.network.pearson.value.expect("defined") - 0.981_980_506).abs() < 1e-9);
        assert!((evaluation.network.spearman.value.expect("defined") - 1.0).abs() < 1e-12);
        assert_eq!(evaluation.mask_ratio, Some(0.25));
        // The mean of the training genes is 3: errors 2, 0, -2, mean square 8/3; it has no correlation.
        let mean = &evaluation.baselines[0];
        assert_eq!(mean.name, BaselineKind::TrainMean);
        assert!((mean.scores.mse.value.expect("defined") - 8.0 / 3.0).abs() < 1e-12);
        assert_eq!(mean.scores.pearson.value, None);
        // Activity 1 gives 2 and 0 gives 4; all scored genes have activity 0: errors 3, 1, -1, mean square 11/3.
        let activity = &evaluation.baselines[2];
        assert_eq!(activity.name, BaselineKind::PromoterActivity);
        assert!((activity.scores.mse.value.expect("defined") - 11.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn evaluation_survives_json() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.json");
        let evaluation = Evaluation::new(Split::Valid, &[], None, BootstrapConfig::default(), 1);
        write_json(&path, &evaluation).expect("written");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(
            text.contains("\"n_genes\": 0") && text.contains("null") && text.ends_with("}\n"),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<Evaluation>(&text).expect("just written"),
            evaluation
        );
    }
}
