//! Weights and settings in one safetensors file, and weights of the released code.

mod atomic;
mod lightning;
mod pretrained;
mod released;
mod released_config;
mod released_values;
mod seal;
mod state_dict;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use burn::tensor::Device;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

pub use atomic::write_atomic;
pub use pretrained::with_pretrained;
pub use released::{ReleasedName, released_names};
pub use released_config::released_config;
pub use released_values::import_values;
pub use seal::{is_sealed, seal};
pub(crate) use state_dict::parse_safetensors;
pub use state_dict::{NamedTensor, StateDict, read_state_dict};

use crate::config::NetworkConfig;
use crate::error::ModelError;
use crate::network::Network;

/// Entry of the file's metadata that holds [`CheckpointMeta`] as JSON.
const META: &str = "seq2exp";

/// What a checkpoint says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointMeta {
    /// Complete settings of the network.
    pub config: NetworkConfig,
    /// Version of this crate that wrote the file.
    pub version: String,
    /// `git describe` of the program that wrote the file.
    #[serde(default)]
    pub git_describe: Option<String>,
    /// Digest of the manifest of the prepared data.
    #[serde(default)]
    pub manifest_digest: Option<String>,
    /// The whole resolved experiment.
    #[serde(default)]
    pub experiment: Option<serde_json::Value>,
    /// Optimiser steps taken.
    #[serde(default)]
    pub step: u64,
    /// Seed of the run.
    #[serde(default)]
    pub seed: u64,
    /// The device it was trained on.
    #[serde(default)]
    pub device: Option<String>,
    /// Validation and other figures at this step, by name.
    #[serde(default)]
    pub metrics: serde_json::Map<String, serde_json::Value>,
}

impl CheckpointMeta {
    /// A description with everything but the settings left open.
    pub fn new(config: NetworkConfig) -> Self {
        Self {
            config,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_describe: None,
            manifest_digest: None,
            experiment: None,
            step: 0,
            seed: 0,
            device: None,
            metrics: serde_json::Map::new(),
        }
    }
}

/// Writes a checkpoint; an existing file is replaced only once the new one is on the disk.
///
/// # Errors
/// [`ModelError::Io`] when writing fails (the existing file is then as it was), [`ModelError::Device`] when the
/// weights cannot be read.
pub fn save(path: &Path, network: &Network, meta: &CheckpointMeta) -> Result<(), ModelError> {
    save_through(path, network, meta, |file, bytes| file.write_all(bytes))
}

/// As [`save`], with the bytes passing through `write` on their way to the temporary file.
///
/// # Errors
/// As [`save`].
pub fn save_through(
    path: &Path,
    network: &Network,
    meta: &CheckpointMeta,
    write: impl FnOnce(&mut File, &[u8]) -> io::Result<()>,
) -> Result<(), ModelError> {
    let format_error = |message: String| ModelError::Format {
        path: path.to_owned(),
        message,
    };
    let named = network.named_parameters();
    let bytes: Vec<Vec<u8>> = network
        .read_parameters()?
        .into_iter()
        .map(|values| values.into_iter().flat_map(f32::to_le_bytes).collect())
        .collect();
    let mut views = Vec::with_capacity(named.len());
    for (parameter, bytes) in named.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, parameter.shape.clone(), bytes)
            .map_err(|error| format_error(format!("parameter `{}`: {error}", parameter.name)))?;
        views.push((parameter.name.as_str(), view));
    }
    let text = serde_json::to_string(meta)
        .map_err(|error| format_error(format!("describing it: {error}")))?;
    let metadata = HashMap::from([(META.to_owned(), seal(&text, &views))]);
    let file = safetensors::serialize(views, Some(metadata))
        .map_err(|error| format_error(format!("laying it out: {error}")))?;
    write_atomic(path, |temporary| write(temporary, &file))
}

/// Reads a checkpoint onto a device.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::Format`] when the file is damaged or was not written by [`save`],
/// [`ModelError::StateDict`] naming every missing, extra or misshapen tensor.
pub fn load(path: &Path, device: &Device) -> Result<(Network, CheckpointMeta), ModelError> {
    let bytes = read(path)?;
    let meta = parse_meta(path, &bytes)?;
    let network = build(path, &bytes, &meta.config, device)?;
    Ok((network, meta))
}

/// As [`load`], for an experiment with these settings.
///
/// # Errors
/// As [`load`], and [`ModelError::ConfigMismatch`] with every field in which the checkpoint differs.
pub fn load_for(
    path: &Path,
    config: &NetworkConfig,
    device: &Device,
) -> Result<(Network, CheckpointMeta), ModelError> {
    load_if(path, config, device, |_| true)
}

/// As [`load_for`], for an experiment whose windows may be of another length than those trained on: settings that only
/// tell the window (`promoter`, `n_positions`, `filter_length`, `crop`, `n_bins`) are taken from `config`.
///
/// # Errors
/// As [`load_for`]; [`ModelError::StateDict`] too for a network with weights for each position of its window.
pub fn load_for_window(
    path: &Path,
    config: &NetworkConfig,
    device: &Device,
) -> Result<(Network, CheckpointMeta), ModelError> {
    const WINDOW_FIELDS: [&str; 5] = ["promoter", "n_positions", "filter_length", "crop", "n_bins"];
    load_if(path, config, device, |difference| {
        let field = difference.split(' ').next().unwrap_or(difference);
        !WINDOW_FIELDS.contains(&field)
    })
}

/// The network of a checkpoint with these settings, from which its own differ in nothing that counts.
fn load_if(
    path: &Path,
    config: &NetworkConfig,
    device: &Device,
    counts: impl Fn(&str) -> bool,
) -> Result<(Network, CheckpointMeta), ModelError> {
    let bytes = read(path)?;
    let meta = parse_meta(path, &bytes)?;
    let mut differences = meta.config.differences(config);
    differences.retain(|line| counts(line));
    if !differences.is_empty() {
        return Err(ModelError::ConfigMismatch {
            path: path.to_owned(),
            differences,
        });
    }
    let network = build(path, &bytes, config, device)?;
    Ok((network, meta))
}

/// The network of these settings with the values of a file, which must hold exactly its parameters.
fn build(
    path: &Path,
    bytes: &[u8],
    config: &NetworkConfig,
    device: &Device,
) -> Result<Network, ModelError> {
    let state = parse_safetensors(bytes).map_err(|message| ModelError::Format {
        path: path.to_owned(),
        message,
    })?;
    // Every value is replaced, so the seed does not matter.
    let network = Network::init(config, 0, device)?;
    let mut problems = Vec::new();
    let named = network.named_parameters();
    let mut values = Vec::with_capacity(named.len());
    for parameter in &named {
        match state.get(&parameter.name) {
            None => problems.push(format!("`{}` is missing", parameter.name)),
            Some(tensor) if tensor.shape != parameter.shape => {
                problems.push(format!(
                    "`{}` has shape {:?}, needed {:?}",
                    parameter.name, tensor.shape, parameter.shape
                ));
            }
            Some(tensor) => values.push(tensor.to_f32()),
        }
    }
    let extra = state
        .keys()
        .filter(|name| !named.iter().any(|parameter| parameter.name == **name));
    problems.extend(extra.map(|name| format!("`{name}` is not part of this network")));
    if !problems.is_empty() {
        return Err(ModelError::StateDict {
            path: path.to_owned(),
            problems,
        });
    }
    network.with_parameters(values)
}

/// What a checkpoint says about itself, without building the network.
///
/// # Errors
/// [`ModelError::Io`], [`ModelError::Format`] when the file is damaged or was not written by [`save`].
pub fn read_meta(path: &Path) -> Result<CheckpointMeta, ModelError> {
    parse_meta(path, &read(path)?)
}

/// Builds a network with the weights of the released code, from any file that [`read_state_dict`] reads.
///
/// # Errors
/// As [`read_state_dict`], and [`ModelError::StateDict`] naming every missing, extra, misshapen or disagreeing tensor.
pub fn import(path: &Path, config: &NetworkConfig, device: &Device) -> Result<Network, ModelError> {
    let network = Network::init(config, 0, device)?;
    let state = read_state_dict(path)?;
    let values = import_values(&network, &state).map_err(|problems| ModelError::StateDict {
        path: path.to_owned(),
        problems,
    })?;
    network.with_parameters(values)
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    fs::read(path).map_err(|source| ModelError::Io {
        path: path.to_owned(),
        action: "reading",
        source,
    })
}

/// What the file says about itself, once its tensors are those that were written with that.
fn parse_meta(path: &Path, bytes: &[u8]) -> Result<CheckpointMeta, ModelError> {
    let format_error = |message: String| ModelError::Format {
        path: path.to_owned(),
        message,
    };
    let truncated = |error| {
        format_error(format!(
            "not a whole safetensors file ({error}); was it truncated?"
        ))
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(truncated)?;
    let text = header.metadata().as_ref().and_then(|metadata| metadata.get(META)).ok_or_else(|| {
        format_error("it holds no settings of this program; released weights are read with `seq2exp import`".to_owned())
    })?;
    let file = SafeTensors::deserialize(bytes).map_err(truncated)?;
    if !is_sealed(text, &file) {
        return Err(format_error(
            "damaged or changed since it was written (its SHA-256 is another); restore it from a copy".to_owned(),
        ));
    }
    serde_json::from_str(text)
        .map_err(|error| format_error(format!("its settings cannot be read ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{NetworkKind, NetworkSize};

    /// A network of a few numbers.
    pub(super) fn small(kind: NetworkKind) -> NetworkConfig {
        kind.preset().with_size(NetworkSize {
            d_model: 8,
            n_layer: 1,
            promoter: 7,
            length: 23,
        })
    }

    #[test]
    fn save_then_load_is_identity_for_every_network() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        for kind in NetworkKind::ALL {
            let config = small(kind);
            let network = Network::init(&config, 22, &device).unwrap();
            let mut meta = CheckpointMeta::new(config.clone());
            (meta.step, meta.seed, meta.manifest_digest) = (17, 22, Some("d1gest".to_owned()));
            meta.experiment = Some(serde_json::json!({"train": {"lr": 5e-4}}));
            let path = folder.path().join(kind.name());
            save(&path, &network, &meta).unwrap();
            let (loaded, read) = load_for(&path, &config, &device).unwrap();
            assert_eq!(read, meta);
            assert_eq!(
                loaded.read_parameters().unwrap(),
                network.read_parameters().unwrap()
            );
            assert_eq!(loaded.config(), config);
        }
    }

    #[test]
    fn save_full_disk_keeps_the_good_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        let device = Device::flex();
        let config = small(NetworkKind::Caduceus);
        let meta = CheckpointMeta::new(config.clone());
        let good = Network::init(&config, 2, &device).unwrap();
        save(&path, &good, &meta).unwrap();
        let next = Network::init(&config, 3, &device).unwrap();
        let error = save_through(&path, &next, &meta, |file, bytes| {
            file.write_all(&bytes[..bytes.len() / 2])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(error.to_string().contains("best.safetensors"), "{error}");
        let (loaded, _) = load(&path, &device).unwrap();
        assert_eq!(
            loaded.read_parameters().unwrap(),
            good.read_parameters().unwrap()
        );
    }

    #[test]
    fn load_for_other_settings_names_the_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Device::flex();
        let config = small(NetworkKind::Seq2ExpSoft);
        save(
            &path,
            &Network::init(&config, 2, &device).unwrap(),
            &CheckpointMeta::new(config.clone()),
        )
        .unwrap();
        let NetworkConfig::Seq2Exp(mut other) = config else {
            panic!("not Seq2Exp")
        };
        other.mask.beta_min = 0.25;
        other.d_model = 16;
        let error = load_for(&path, &NetworkConfig::Seq2Exp(other), &device)
            .unwrap_err()
            .to_string();
        assert!(error.contains("d_model is 8 here and 16 there"), "{error}");
        assert!(
            error.contains("mask.beta_min is 1.0 here and 0.25 there"),
            "{error}"
        );
    }

    #[test]
    fn load_damaged_file_is_an_error_at_every_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Device::flex();
        let config = small(NetworkKind::Caduceus);
        save(
            &path,
            &Network::init(&config, 2, &device).unwrap(),
            &CheckpointMeta::new(config),
        )
        .unwrap();
        let bytes = fs::read(&path).unwrap();
        for cut in (0..bytes.len()).step_by(bytes.len() / 37) {
            fs::write(&path, &bytes[..cut]).unwrap();
            let error = load(&path, &device).unwrap_err().to_string();
            assert!(error.contains("truncated"), "{cut}: {error}");
        }
        fs::write(&path, b"some text that is no checkpoint").unwrap();
        assert!(matches!(
            load(&path, &device),
            Err(ModelError::Format { .. })
        ));
    }

    #[test]
    fn load_overwritten_bytes_are_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Device::flex();
        let config = small(NetworkKind::Caduceus);
        let network = Network::init(&config, 2, &device).unwrap();
        let mut meta = CheckpointMeta::new(config);
        meta.seed = 22;
        save(&path, &network, &meta).unwrap();
        let bytes = fs::read(&path).unwrap();
        // The settings are a string inside the header, so their quotes are escaped.
        let seed = br#"\"seed\":22,"#;
        let found = bytes.windows(seed.len()).position(|text| text == seed);
        let last_digit = found.unwrap() + seed.len() - 2;
        for place in [last_digit, bytes.len() - 40, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let error = load(&path, &device).unwrap_err().to_string();
            assert!(
                error.contains("model.safetensors: damaged or changed"),
                "{place}: {error}"
            );
        }
    }

    #[test]
    fn load_missing_extra_and_misshapen_tensors_are_all_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let meta =
            serde_json::to_string(&CheckpointMeta::new(small(NetworkKind::Caduceus))).unwrap();
        let data = [0_u8; 16];
        let view = |shape: Vec<usize>| TensorView::new(Dtype::F32, shape, &data).unwrap();
        let views = [
            ("input.weight", view(vec![2, 2])),
            ("surprise", view(vec![4])),
        ];
        let file =
            safetensors::serialize(views, Some(HashMap::from([(META.to_owned(), meta)]))).unwrap();
        fs::write(&path, file).unwrap();
        let ModelError::StateDict { problems, .. } = load(&path, &Device::flex()).unwrap_err()
        else {
            panic!("another error")
        };
        assert!(
            problems.contains(&"`input.weight` has shape [2, 2], needed [8, 4]".to_owned()),
            "{problems:?}"
        );
        assert!(problems.contains(&"`surprise` is not part of this network".to_owned()));
        assert!(problems.contains(&"`head.output.bias` is missing".to_owned()));
    }

    #[test]
    fn load_for_window_takes_what_only_tells_the_window() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Device::flex();
        let promoter = small(NetworkKind::Caduceus).with_promoter(5);
        let NetworkConfig::Hyena(mut filter) = small(NetworkKind::Hyena) else {
            panic!("not HyenaDNA")
        };
        filter.filter_length += 6;
        let NetworkConfig::Enformer(mut crop) = small(NetworkKind::Enformer) else {
            panic!("not Enformer")
        };
        (crop.crop, crop.n_bins) = (2 * crop.crop, 2 * crop.n_bins);
        let of_window = [
            promoter,
            NetworkConfig::Hyena(filter),
            NetworkConfig::Enformer(crop),
        ];
        let save = |config: &NetworkConfig| {
            let network = Network::init(config, 2, &device).unwrap();
            save(&path, &network, &CheckpointMeta::new(config.clone())).unwrap();
            network.read_parameters().unwrap()
        };
        for config in of_window {
            let values = save(&small(config.kind()));
            let (loaded, _) = load_for_window(&path, &config, &device).unwrap();
            assert_eq!(loaded.config(), config);
            assert_eq!(loaded.read_parameters().unwrap(), values);
            let error = load_for(&path, &config, &device).unwrap_err();
            assert!(
                matches!(error, ModelError::ConfigMismatch { .. }),
                "{error}"
            );
        }
        // A weight for each position is one of another window; what is no window's is refused as ever.
        let NetworkConfig::Seq2Exp(mut other) = small(NetworkKind::Seq2ExpHard) else {
            panic!("not Seq2Exp")
        };
        save(&NetworkConfig::Seq2Exp(other.clone()));
        other.n_positions = 31;
        let error = load_for_window(&path, &NetworkConfig::Seq2Exp(other.clone()), &device);
        let ModelError::StateDict { problems, .. } = error.unwrap_err() else {
            panic!("another error")
        };
        assert_eq!(
            problems,
            ["`embedding.position` has shape [23, 8], needed [31, 8]"]
        );
        other.mask.beta_min = 0.25;
        let error = load_for_window(&path, &NetworkConfig::Seq2Exp(other), &device).unwrap_err();
        let ModelError::ConfigMismatch { differences, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(
            differences[0].starts_with("mask.beta_min is "),
            "{differences:?}"
        );
    }
}
