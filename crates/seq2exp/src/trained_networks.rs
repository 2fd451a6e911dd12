//! The networks that a run has trained, as its folders hold them.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use model::checkpoint::{self, CheckpointMeta};
use model::{ModelError, Network, NetworkConfig};
use sha2::{Digest, Sha256};

use crate::config::ExperimentConfig;
use crate::digest::hexadecimal;
use crate::error::RunError;
use crate::experiment::{read_config, seed_folder};
use crate::progress::ProgressMode;
use crate::train::{BEST_FILE, STATE_FILE, TrainState};

/// One trained network per seed, with the digest of all their files.
#[derive(Debug)]
pub struct TrainedNetworks {
    /// Seed and network, in the order of the experiment's seeds.
    pub networks: Vec<(u64, Network)>,
    /// SHA-256 over the checkpoint files, in that order.
    pub digest: String,
    /// Trainings that were not finished, each in words.
    pub unfinished: Vec<String>,
}

impl TrainedNetworks {
    /// Loads the best network of every seed of a run, to be used on other data by an experiment with these settings of
    /// the network.
    ///
    /// # Errors
    /// [`RunError::NotARun`], and of its networks as [`Experiment::networks`](crate::experiment::Experiment::networks); [`RunError::Model`] when its networks are
    /// not those of the settings, but for what depends on the window.
    pub fn of_run(run: &Path, model: &NetworkConfig, device: &Device) -> Result<Self, RunError> {
        Self::load(&read_config(run)?, run, |path| {
            Ok(checkpoint::load_for_window(path, model, device)?)
        })
    }

    /// Says on standard error which trainings were not finished.
    pub fn note(&self, mode: ProgressMode) {
        if mode != ProgressMode::Silent {
            for line in &self.unfinished {
                eprintln!("note     {line}");
            }
        }
    }

    /// The best network of every seed of the run in `folder`, each through `load`.
    ///
    /// # Errors
    /// As [`best_file`] and `load`, [`RunError::BadNetwork`] for a damaged file; [`RunError::OtherSeed`].
    pub(crate) fn load(
        config: &ExperimentConfig,
        folder: &Path,
        load: impl Fn(&Path) -> Result<(Network, CheckpointMeta), RunError>,
    ) -> Result<Self, RunError> {
        let mut digest = Sha256::new();
        let mut networks = Vec::with_capacity(config.seeds.len());
        for &seed in &config.seeds {
            let seed_folder = seed_folder(folder, seed);
            let path = best_file(&seed_folder)?;
            let (network, meta) = load(&path).map_err(|error| with_remedy(error, &seed_folder))?;
            check_seed(&path, &meta, seed)?;
            let bytes = std::fs::read(&path).map_err(|source| RunError::Io { path, source })?;
            digest.update(&bytes);
            networks.push((seed, network));
        }
        let digest = hexadecimal(&digest.finalize());
        let unfinished = config
            .seeds
            .iter()
            .filter_map(|&seed| unfinished(&seed_folder(folder, seed), seed, config.train.steps))
            .collect();
        Ok(Self {
            networks,
            digest,
            unfinished,
        })
    }
}

/// What a reader of results must know of a seed whose training has not come to its end.
fn unfinished(seed_folder: &Path, seed: u64, n_steps: u64) -> Option<String> {
    // Without a state that can be read, as of an imported network, nothing is known.
    let state = TrainState::read_progress(&seed_folder.join(STATE_FILE)).ok()?;
    (state.step < n_steps || state.is_validation_pending).then(|| {
        format!(
            "the training of seed {seed} stopped at step {} of {n_steps}, the best network until then is used; `seq2exp train \
             --resume` goes on",
            state.step
        )
    })
}

/// The best network in the folder of a seed.
///
/// # Errors
/// [`RunError::NotTrained`] when there is none yet, [`RunError::LostNetwork`] when there was one.
pub(crate) fn best_file(seed_folder: &Path) -> Result<PathBuf, RunError> {
    let path = seed_folder.join(BEST_FILE);
    if path.exists() {
        return Ok(path);
    }
    let state = seed_folder.join(STATE_FILE);
    // A training that stopped before its first validation has no best network yet.
    let had_one = TrainState::read_progress(&state).map_or(state.exists(), |p| p.best.is_some());
    Err(match had_one {
        false => RunError::NotTrained { path },
        true => RunError::LostNetwork {
            path,
            folder: seed_folder.to_path_buf(),
        },
    })
}

/// Refuses the network of another seed in the file `path`; one that was imported has none.
///
/// # Errors
/// [`RunError::OtherSeed`].
pub(crate) fn check_seed(path: &Path, meta: &CheckpointMeta, seed: u64) -> Result<(), RunError> {
    if meta.manifest_digest.is_some() && meta.seed != seed {
        return Err(RunError::OtherSeed {
            path: path.to_path_buf(),
            found: meta.seed,
            expected: seed,
            folder: path.parent().unwrap_or(Path::new(".")).to_path_buf(),
        });
    }
    Ok(())
}

/// Says what to do about a file that cannot be a network of the run.
pub(crate) fn with_remedy(error: RunError, folder: &Path) -> RunError {
    match error {
        RunError::Model(
            source @ (ModelError::Format { .. }
            | ModelError::Io { .. }
            | ModelError::StateDict { .. }),
        ) => RunError::BadNetwork {
            folder: folder.to_path_buf(),
            source,
        },
        other => other,
    }
}
