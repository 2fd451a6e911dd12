//! Simple predictors beside the network: two ignore the window, two see one number of it, the promoter activity.

use std::sync::Arc;

use dataset::{ExampleSource, Loader, N_FEATURES, Split};
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::ridge::{PENALTIES, Ridge};

/// A simple predictor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineKind {
    /// The mean of the training targets; ignores the window.
    TrainMean,
    /// Ridge regression on the eight features of the messenger RNA; ignores the window.
    MrnaFeatures,
    /// Least squares on the promoter activity alone.
    PromoterActivity,
    /// Ridge regression on all nine features.
    Features,
}

impl BaselineKind {
    /// All kinds, the simplest first.
    pub const ALL: [Self; 4] = [
        Self::TrainMean,
        Self::MrnaFeatures,
        Self::PromoterActivity,
        Self::Features,
    ];

    /// The name in `predictions.tsv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TrainMean => "train_mean",
            Self::MrnaFeatures => "mrna_features",
            Self::PromoterActivity => "promoter_activity",
            Self::Features => "features",
        }
    }

    /// How tables name it.
    pub fn label(self) -> &'static str {
        match self {
            Self::TrainMean => "mean of the training genes",
            Self::MrnaFeatures => "eight mRNA features, ridge",
            Self::PromoterActivity => "promoter activity, linear",
            Self::Features => "nine features, ridge",
        }
    }
}

/// The baselines, fitted to the training genes.
#[derive(Debug, Clone, PartialEq)]
pub struct Baselines {
    train_mean: Ridge,
    mrna_features: Ridge,
    promoter_activity: Ridge,
    features: Ridge,
}

/// The promoter activity's place among the nine features.
const ACTIVITY_INDEX: usize = N_FEATURES - 1;

impl Baselines {
    /// Fits all baselines to the measured training genes of a source; none when there are none.
    ///
    /// # Errors
    /// What reading an example causes.
    pub fn fit(
        source: &Arc<dyn ExampleSource>,
        loader_threads: usize,
    ) -> Result<Option<Self>, RunError> {
        let training = source.indices_of(Split::Train);
        let mut genes = Vec::with_capacity(training.len());
        for example in Loader::start(
            Arc::clone(source),
            training,
            loader_threads,
            2 * loader_threads.max(1),
        )? {
            let example = example?;
            genes.extend(example.target().map(|target| (*example.features(), target)));
        }
        Ok(Self::fit_to(&genes))
    }

    /// Fits all baselines to features and observed expression of training genes; none without genes.
    pub fn fit_to(genes: &[([f32; N_FEATURES], f32)]) -> Option<Self> {
        let targets: Vec<f64> = genes.iter().map(|(_, target)| f64::from(*target)).collect();
        let rows = |kind| {
            genes
                .iter()
                .map(|(features, _)| inputs(kind, features))
                .collect::<Vec<_>>()
        };
        Some(Self {
            train_mean: Ridge::fit(&rows(BaselineKind::TrainMean), &targets, &[0.0])?,
            mrna_features: Ridge::fit(&rows(BaselineKind::MrnaFeatures), &targets, &PENALTIES)?,
            promoter_activity: Ridge::fit(&rows(BaselineKind::PromoterActivity), &targets, &[0.0])?,
            features: Ridge::fit(&rows(BaselineKind::Features), &targets, &PENALTIES)?,
        })
    }

    /// What a baseline predicts for a gene with these features.
    pub fn predict(&self, kind: BaselineKind, features: &[f32; N_FEATURES]) -> f64 {
        let ridge = match kind {
            BaselineKind::TrainMean => &self.train_mean,
            BaselineKind::MrnaFeatures => &self.mrna_features,
            BaselineKind::PromoterActivity => &self.promoter_activity,
            BaselineKind::Features => &self.features,
        };
        ridge.predict(&inputs(kind, features))
    }
}

fn inputs(kind: BaselineKind, features: &[f32; N_FEATURES]) -> Vec<f64> {
    let used = match kind {
        BaselineKind::TrainMean => &[],
        BaselineKind::MrnaFeatures => &features[..ACTIVITY_INDEX],
        BaselineKind::PromoterActivity => &features[ACTIVITY_INDEX..],
        BaselineKind::Features => &features[..],
    };
    used.iter().map(|&value| f64::from(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::SyntheticSource;

    fn features(activity: f32, gc: f32) -> [f32; N_FEATURES] {
        let mut features = [0.0; N_FEATURES];
        features[4] = gc;
        features[ACTIVITY_INDEX] = activity;
        features
    }

    #[test]
    fn baselines_see_no_more_than_their_features() {
        // target = 1 + 2 * activity, whatever the GC; the mean of 1, 3, 5, 7 is 4
        let genes: Vec<_> = [(0.0, 0.3), (1.0, 0.9), (2.0, 0.1), (3.0, 0.5)]
            .map(|(a, gc)| (features(a, gc), 1.0 + 2.0 * a))
            .to_vec();
        let baselines = Baselines::fit_to(&genes).expect("genes");
        let new = features(5.0, -4.0);
        assert!((baselines.predict(BaselineKind::TrainMean, &new) - 4.0).abs() < 1e-12);
        assert!((baselines.predict(BaselineKind::PromoterActivity, &new) - 11.0).abs() < 1e-12);
        // Without the activity only the GC content is left, which says little here.
        let mrna = baselines.predict(BaselineKind::MrnaFeatures, &new);
        assert_eq!(
            mrna,
            baselines.predict(BaselineKind::MrnaFeatures, &features(-7.0, -4.0))
        );
        let both = baselines.predict(BaselineKind::Features, &new);
        assert!((both - 11.0).abs() < 1.0, "{both}");
    }

    #[test]
    fn fit_uses_training_genes_only() {
        let source: Arc<dyn ExampleSource> = Arc::new(SyntheticSource::new(20, 16));
        let training = source.indices_of(Split::Train);
        let targets = training.iter().map(|&i| {
            source
                .read(i)
                .ok()
                .and_then(|e| e.target())
                .map_or(0.0, f64::from)
        });
        let mean = targets.sum::<f64>() / training.len() as f64;
        let baselines = Baselines::fit(&source, 2)
            .expect("readable")
            .expect("genes");
        let found = baselines.predict(BaselineKind::TrainMean, &[0.0; N_FEATURES]);
        assert!((found - mean).abs() < 1e-12, "{found}, expected {mean}");
    }

    #[test]
    fn fit_without_genes_is_none() {
        assert_eq!(Baselines::fit_to(&[]), None);
    }
}
