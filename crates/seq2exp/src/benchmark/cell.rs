//! One cell of a benchmark: a model on a data set, a fold and a seed.

use std::path::{Path, PathBuf};

use model::NetworkConfig;
use sha2::{Digest, Sha256};

use crate::config::ExperimentConfig;
use crate::digest::hexadecimal;
use crate::output_folder::CELLS_FOLDER;

/// One run of a benchmark.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Name of the data set.
    pub dataset: String,
    /// The fold, from 1; none when the data's split is used as it is.
    pub fold: Option<usize>,
    /// Name of the model.
    pub model: String,
    /// The only seed of its experiment.
    pub seed: u64,
    /// Complete settings; files without a folder lie in the cell's own, see [`config_in`](Self::config_in).
    pub config: ExperimentConfig,
    /// What is done.
    pub work: CellWork,
}

/// What a cell does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellWork {
    /// Trains a network and evaluates it.
    Train,
    /// Trains a network whose mask is given by [`MASK_FILE`](Cell::MASK_FILE), which is made first: random blocks, as much
    /// of the windows as the mask of another cell.
    TrainUnderRandom {
        /// The other cell, by its index in the plan.
        like: usize,
    },
    /// Trains on the frozen generator of another cell's network.
    TrainOnGenerator {
        /// The other cell, by its index in the plan.
        of: usize,
        /// Its folder, inside that of the benchmark.
        folder: PathBuf,
    },
    /// Evaluates the network of another cell, by its index in the plan, on its own data.
    EvaluateNetworkOf(usize),
}

impl Cell {
    /// Regions of a random mask that are 1 (`data.peaks`), in the cell's folder.
    pub const MASK_FILE: &str = "mask.bed";

    /// The settings with every file named by its absolute path.
    pub fn config_in(&self, benchmark: &Path) -> ExperimentConfig {
        let mut config = self.config.clone();
        config.data = config.data.resolve(&self.folder(benchmark));
        if let (CellWork::TrainOnGenerator { folder, .. }, NetworkConfig::Retrained(fields)) =
            (&self.work, &mut config.model)
        {
            fields.generator = benchmark.join(folder);
        }
        config
    }

    /// The cell's output folder, inside that of the benchmark.
    pub fn folder(&self, benchmark: &Path) -> PathBuf {
        let mut folder = benchmark.join(CELLS_FOLDER).join(&self.dataset);
        if let Some(fold) = self.fold {
            folder.push(format!("fold_{fold}"));
        }
        folder.push(&self.model);
        folder.push(format!("seed_{}", self.seed));
        folder
    }

    /// The folder of its prepared data set, inside that of the benchmark: one for all cells with the same `[data]`.
    pub fn data_folder(&self, benchmark: &Path) -> PathBuf {
        // A configuration is made of values that JSON holds.
        let data = self.config_in(benchmark).data;
        let settings = serde_json::to_string(&data).unwrap_or_default();
        let digest = Sha256::digest(settings.as_bytes());
        let name = hexadecimal(&digest[..8]);
        Self::data_sets(benchmark).join(name)
    }

    /// The folder of the prepared data sets of all cells.
    pub(super) fn data_sets(benchmark: &Path) -> PathBuf {
        benchmark.join("data")
    }

    /// The cell whose result must be there first.
    pub fn needs(&self) -> Option<usize> {
        match self.work {
            CellWork::Train => None,
            CellWork::TrainUnderRandom { like: other }
            | CellWork::TrainOnGenerator { of: other, .. }
            | CellWork::EvaluateNetworkOf(other) => Some(other),
        }
    }

    /// Data set, fold, model and seed in words.
    pub fn label(&self) -> String {
        let fold = self
            .fold
            .map_or(String::new(), |fold| format!(" fold {fold}"));
        format!("{}{fold} {} seed {}", self.dataset, self.model, self.seed)
    }
}
