//! Several networks as one: mean predictions, and how far the networks disagree.

use std::sync::Arc;

use burn::tensor::Tensor;
use dataset::{Example, ExampleSource, Split};
use model::Network;
use serde::{Deserialize, Serialize};

use crate::baseline::Baselines;
use crate::batch::{Batch, read_values};
use crate::error::RunError;
use crate::evaluate::{Evaluation, Scores};
use crate::experiment::Experiment;
use crate::metric::BootstrapConfig;
use crate::predict::{PredictConfig, Prediction, predict};
use crate::progress::Progress;
use crate::trained_networks::TrainedNetworks;

/// File of the scores, in a run's output folder.
pub const METRICS_FILE: &str = "metrics.json";

/// What [`METRICS_FILE`] holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricsFile {
    /// Version of this tool.
    pub version: String,
    /// The device that predicted.
    #[serde(default)]
    pub device: String,
    /// SHA-256 over the checkpoints.
    pub model_digest: String,
    /// Digest of the data's description.
    pub data_digest: String,
    /// Scores of the mean prediction of all networks, per split.
    pub ensemble: Vec<Evaluation>,
    /// Mean and standard deviation over the networks' own scores, per split.
    pub over_seeds: Vec<SeedSpread>,
    /// Scores of each network, per split.
    pub seeds: Vec<SeedEvaluation>,
}

/// The scores of one seed's network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedEvaluation {
    /// The seed.
    pub seed: u64,
    /// One entry per split.
    pub evaluations: Vec<Evaluation>,
}

/// How scores vary from seed to seed on one split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeedSpread {
    /// The genes scored.
    pub split: Split,
    /// Mean squared error.
    pub mse: Spread,
    /// Mean absolute error.
    pub mae: Spread,
    /// Pearson correlation.
    pub pearson: Spread,
    /// Spearman correlation.
    pub spearman: Spread,
}

/// Mean and sample standard deviation; `None` (JSON `null`) where a network's score is undefined, and the standard
/// deviation of a single network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean over networks.
    pub mean: Option<f64>,
    /// Sample standard deviation over networks.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of the scores of all networks.
    pub fn of(values: &[Option<f64>]) -> Self {
        let defined = values.iter().copied().collect::<Option<Vec<f64>>>();
        let Some(values) = defined.filter(|values| !values.is_empty()) else {
            return Self {
                mean: None,
                sd: None,
            };
        };
        let n_values = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n_values;
        let squares: f64 = values
            .iter()
            .map(|value| (value - mean) * (value - mean))
            .sum();
        let sd = (values.len() > 1).then(|| (squares / (n_values - 1.0)).sqrt());
        Self {
            mean: Some(mean),
            sd,
        }
    }
}

/// The predictions of every network and of all together, in the order of the genes.
#[derive(Debug, Clone)]
pub struct EnsemblePredictions {
    /// Seed and predictions of each network.
    pub by_seed: Vec<(u64, Vec<Prediction>)>,
    /// The mean prediction and mean mask ratio of each gene.
    pub mean: Vec<Prediction>,
    /// Sample standard deviation of each gene's prediction between networks; none for a single network.
    pub spread: Vec<Option<f64>>,
}

impl EnsemblePredictions {
    /// Predicts all genes of `source` with every network.
    ///
    /// # Errors
    /// As [`predict`].
    pub fn new(
        experiment: &Experiment,
        networks: &TrainedNetworks,
        source: &Arc<dyn ExampleSource>,
    ) -> Result<Self, RunError> {
        let machine = experiment.machine();
        let train = &experiment.config().train;
        let config = PredictConfig {
            batch: train.batch,
            loader_threads: train.loader_threads,
        };
        let genes: Vec<usize> = (0..source.len()).collect();
        let total = (genes.len() * networks.networks.len()) as u64;
        let mut progress = Progress::new(machine.progress, "predict", total, 0);
        let mut by_seed = Vec::with_capacity(networks.networks.len());
        for (seed, network) in &networks.networks {
            let predictions = predict(
                network,
                source,
                &genes,
                config,
                &machine.device.device,
                &machine.interrupt,
                &mut progress,
            )?;
            by_seed.push((*seed, predictions));
        }
        let (mean, spread) = (0..genes.len()).map(|row| combine(&by_seed, row)).unzip();
        Ok(Self {
            by_seed,
            mean,
            spread,
        })
    }

    /// Scores every split, with bootstrap intervals drawn from the first seed.
    pub fn evaluate(
        &self,
        source: &dyn ExampleSource,
        baselines: Option<&Baselines>,
        config: BootstrapConfig,
    ) -> (Vec<Evaluation>, Vec<SeedEvaluation>, Vec<SeedSpread>) {
        let bootstrap_seed = self.by_seed.first().map_or(0, |(seed, _)| *seed);
        let evaluate = |predictions: &[Prediction]| -> Vec<Evaluation> {
            let of_split = |split| {
                let is_member = |p: &&Prediction| source.split(p.gene_index) == split;
                let genes: Vec<Prediction> =
                    predictions.iter().filter(is_member).copied().collect();
                Evaluation::new(split, &genes, baselines, config, bootstrap_seed)
            };
            Split::ALL.into_iter().map(of_split).collect()
        };
        let seeds: Vec<SeedEvaluation> = self
            .by_seed
            .iter()
            .map(|(seed, predictions)| SeedEvaluation {
                seed: *seed,
                evaluations: evaluate(predictions),
            })
            .collect();
        let spreads = Split::ALL
            .into_iter()
            .enumerate()
            .map(|(place, split)| seed_spread(split, place, &seeds))
            .collect();
        (evaluate(&self.mean), seeds, spreads)
    }
}

/// Mean prediction of one gene, and its spread.
fn combine(by_seed: &[(u64, Vec<Prediction>)], row: usize) -> (Prediction, Option<f64>) {
    let all: Vec<Prediction> = by_seed
        .iter()
        .map(|(_, predictions)| predictions[row])
        .collect();
    let predicted: Vec<Option<f64>> = all.iter().map(|p| Some(f64::from(p.predicted))).collect();
    let masks: Vec<Option<f64>> = all.iter().map(|p| p.mask_ratio.map(f64::from)).collect();
    let Spread { mean, sd } = Spread::of(&predicted);
    let prediction = Prediction {
        predicted: mean.unwrap_or(f64::NAN) as f32,
        mask_ratio: Spread::of(&masks).mean.map(|ratio| ratio as f32),
        ..all[0]
    };
    (prediction, sd)
}

fn seed_spread(split: Split, place: usize, seeds: &[SeedEvaluation]) -> SeedSpread {
    let of = |score: fn(&Scores) -> Option<f64>| {
        let scores = seeds
            .iter()
            .map(|seed| score(&seed.evaluations[place].network));
        Spread::of(&scores.collect::<Vec<_>>())
    };
    SeedSpread {
        split,
        mse: of(|scores| scores.mse.value),
        mae: of(|scores| scores.mae.value),
        pearson: of(|scores| scores.pearson.value),
        spearman: of(|scores| scores.spearman.value),
    }
}

/// The mean evaluation mask of one gene over networks, `[length]`; none when the networks have no mask.
///
/// # Errors
/// What running a network causes.
pub fn mean_mask(
    networks: &TrainedNetworks,
    example: &Example,
    device: &burn::tensor::Device,
) -> Result<Option<Vec<f32>>, RunError> {
    let batch = Batch::new(std::slice::from_ref(example), device)?;
    let mut sum: Option<Tensor<2>> = None;
    for (_, network) in &networks.networks {
        let Some(mask) = mask_of(network, &batch)? else {
            return Ok(None);
        };
        sum = Some(match sum {
            Some(sum) => sum + mask,
            None => mask,
        });
    }
    let n_networks = networks.networks.len() as f32;
    let mean = |sum| -> Result<Vec<f32>, RunError> {
        // Rounding of the sum may pass 1 by an ulp.
        Ok(read_values(sum)?
            .into_iter()
            .map(|value| (value / n_networks).min(1.0))
            .collect())
    };
    sum.map(mean).transpose()
}

fn mask_of(network: &Network, batch: &Batch) -> Result<Option<Tensor<2>>, RunError> {
    let found = network.evaluation_mask(&batch.input)?;
    Ok(found.map(|found| found.mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_the_sample_standard_deviation() {
        // mean of 1, 2, 6 is 3; squares 4 + 1 + 9 = 14; 14 / 2 = 7
        let spread = Spread::of(&[Some(1.0), Some(2.0), Some(6.0)]);
        assert_eq!(
            spread,
            Spread {
                mean: Some(3.0),
                sd: Some(7.0_f64.sqrt())
            }
        );
        assert_eq!(
            Spread::of(&[Some(2.5)]),
            Spread {
                mean: Some(2.5),
                sd: None
            }
        );
        assert_eq!(
            Spread::of(&[Some(1.0), None]),
            Spread {
                mean: None,
                sd: None
            }
        );
        assert_eq!(
            Spread::of(&[]),
            Spread {
                mean: None,
                sd: None
            }
        );
    }
}
