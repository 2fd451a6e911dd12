//! `seq2exp import`.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use burn::tensor::Device;
use model::NetworkConfig;
use model::checkpoint::{self, CheckpointMeta, released_config};

use crate::cli::ImportArgs;
use crate::commands::print_text;
use crate::config::ExperimentConfig;

/// Reads released weights and writes them as a checkpoint; a missing, extra or misshapen tensor is an error.
pub fn execute(args: &ImportArgs) -> Result<()> {
    let config = match (&args.settings, &args.config) {
        (Some(settings), None) => read_settings(settings)?,
        (None, Some(config)) => ExperimentConfig::read(config, &[])?.model,
        _ => bail!("give either --settings or --config"),
    };
    let network = checkpoint::import(&args.weights, &config, &Device::flex())?;
    let kind = config.kind().name();
    checkpoint::save(&args.output, &network, &CheckpointMeta::new(config))?;
    print_text(&format!(
        "{}: {kind}, {} parameters\n",
        args.output.display(),
        network.n_parameters()
    ))
}

fn read_settings(path: &Path) -> Result<NetworkConfig> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let settings = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    released_config(&settings).map_err(|reason| anyhow!("{}: {reason}", path.display()))
}
