//! What a finished cell left in its folder.

use std::path::Path;

use dataset::Split;
use model::{is_frozen, is_statistic};
use safetensors::SafeTensors;

use super::Cell;
use crate::ensemble::{METRICS_FILE, MetricsFile};
use crate::error::RunError;
use crate::experiment::seed_folder;
use crate::metric::Metric;
use crate::predictions_table::{PREDICTIONS_FILE, PredictionRow, read_predictions_table};
use crate::train::BEST_FILE;

/// One test gene.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The gene's symbol.
    pub symbol: String,
    /// Measured expression.
    pub observed: f64,
    /// Predicted expression.
    pub predicted: f64,
}

/// The result of one cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellOutcome {
    /// Test genes with measured expression, in the order of the data set.
    pub genes: Vec<Scored>,
    /// Mean of the evaluation mask over the windows of the test genes; none without a mask.
    pub mask_ratio: Option<f64>,
    /// Number of trained values; none when its checkpoint is another cell's.
    pub n_parameters: Option<usize>,
}

/// Whether the folder of a cell holds its whole result.
pub(super) fn is_finished(folder: &Path) -> bool {
    [METRICS_FILE, PREDICTIONS_FILE]
        .iter()
        .all(|name| folder.join(name).exists())
}

impl CellOutcome {
    /// Reads what a finished cell left; nothing when it is not finished.
    ///
    /// # Errors
    /// [`RunError::Io`], [`RunError::BadTable`] or [`RunError::BadOutcome`] when a file cannot be read.
    pub fn read(cell: &Cell, benchmark: &Path) -> Result<Option<Self>, RunError> {
        let folder = cell.folder(benchmark);
        if !is_finished(&folder) {
            return Ok(None);
        }
        let metrics = read_metrics(&folder)?;
        let table = read_predictions_table(&folder.join(PREDICTIONS_FILE))?;
        // The table holds single-precision numbers in their shortest form.
        let single = |value: f64| f64::from(value as f32);
        let scored = |row: PredictionRow| {
            Some(Scored {
                observed: single(row.observed?),
                predicted: single(*row.predicted.first()?),
                symbol: row.symbol,
            })
        };
        let test = table
            .rows
            .into_iter()
            .filter(|row| row.split == Split::Test);
        let evaluation = metrics.ensemble.iter().find(|e| e.split == Split::Test);
        let checkpoint = seed_folder(&folder, cell.seed).join(BEST_FILE);
        Ok(Some(Self {
            genes: test.filter_map(scored).collect(),
            mask_ratio: evaluation.and_then(|evaluation| evaluation.mask_ratio),
            n_parameters: match checkpoint.exists() {
                true => Some(n_parameters(&checkpoint)?),
                false => None,
            },
        }))
    }

    /// The score over the test genes.
    pub fn score(&self, metric: Metric) -> Option<f64> {
        metric.score(&self.predicted(), &self.observed())
    }

    /// Measured expression of the genes.
    pub fn observed(&self) -> Vec<f64> {
        self.genes.iter().map(|gene| gene.observed).collect()
    }

    /// Predicted expression of the genes.
    pub fn predicted(&self) -> Vec<f64> {
        self.genes.iter().map(|gene| gene.predicted).collect()
    }
}

/// Digest of the network whose result the folder of a cell holds; none when there is no result.
pub(super) fn network_digest(folder: &Path) -> Option<String> {
    Some(read_metrics(folder).ok()?.model_digest)
}

/// The scores in the folder of a finished cell.
fn read_metrics(folder: &Path) -> Result<MetricsFile, RunError> {
    let path = folder.join(METRICS_FILE);
    let bytes = std::fs::read(&path).map_err(|source| RunError::Io {
        path: path.clone(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| RunError::BadOutcome {
        path,
        message: source.to_string(),
    })
}

/// Trained values of a checkpoint.
fn n_parameters(path: &Path) -> Result<usize, RunError> {
    let bytes = std::fs::read(path).map_err(|source| RunError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| RunError::BadOutcome {
        path: path.to_path_buf(),
        message: error.to_string(),
    })?;
    let is_trained = |name: &str| !is_statistic(name) && !is_frozen(name);
    let trained = tensors.iter().filter(|(name, _)| is_trained(name));
    Ok(trained
        .map(|(_, tensor)| tensor.shape().iter().product::<usize>())
        .sum())
}
