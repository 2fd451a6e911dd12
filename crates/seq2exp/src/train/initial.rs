//! The network that a run begins with.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use model::checkpoint;
use model::{Network, NetworkConfig};

use super::BEST_FILE;
use crate::error::RunError;

/// A network with seeded weights on a device, and with the pretrained weights or the frozen generator that its settings
/// name.
///
/// # Errors
/// [`RunError::NotTrained`] when that network is not there; [`model::ModelError`] when its checkpoint is damaged or was
/// trained with other settings.
pub fn initial_network(
    config: &NetworkConfig,
    seed: u64,
    device: &Device,
) -> Result<Network, RunError> {
    let network = Network::init(config, seed, device)?;
    let settings = match config {
        NetworkConfig::Retrained(settings) => settings,
        NetworkConfig::Caduceus(settings) => {
            return Ok(match &settings.pretrained {
                Some(path) => checkpoint::with_pretrained(network, path)?,
                None => network,
            });
        }
        _ => return Ok(network),
    };
    let path = checkpoint_of(&settings.generator, seed);
    if !path.exists() {
        return Err(RunError::NotTrained { path });
    }
    let (trained, _) = checkpoint::load(&path, &Device::flex())?;
    network
        .with_generator(&trained)
        .map_err(|source| RunError::OtherNetwork { path, source })
}

/// The checkpoint itself, or that of a seed in a run's output folder.
fn checkpoint_of(path: &Path, seed: u64) -> PathBuf {
    match path.is_dir() {
        true => path.join(format!("seed_{seed}")).join(BEST_FILE),
        false => path.to_path_buf(),
    }
}
