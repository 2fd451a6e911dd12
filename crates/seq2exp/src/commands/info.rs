//! `seq2exp info`.

use std::path::Path;

use anyhow::{Result, bail};
use model::NetworkKind;
use model::checkpoint::read_meta;
use serde_json::{Value, json};

use crate::cli::InfoArgs;
use crate::commands::{print_json, print_text};
use crate::device::{GPU_BUILD_REMEDY, adapters};
use crate::ensemble::METRICS_FILE;
use crate::experiment::{DATA_FOLDER, read_config};

/// Describes a checkpoint, a prepared data set or a run folder; without one, the networks or the devices.
pub fn execute(args: &InfoArgs) -> Result<()> {
    if args.devices {
        return list_devices(args.json);
    }
    let description = match &args.path {
        Some(path) => describe(path)?,
        None => describe_networks(),
    };
    if args.json {
        return print_json(&description);
    }
    let mut text = String::new();
    flatten("", &description, &mut text);
    print_text(&text)
}

/// Prints what `--device` can name on this machine.
fn list_devices(as_json: bool) -> Result<()> {
    let adapters = adapters();
    if as_json {
        return print_json(
            &json!({ "has_gpu_support": adapters.is_some(), "adapters": adapters.unwrap_or_default() }),
        );
    }
    let simd = kernels::SimdLevel::detect().name();
    let mut text = format!("cpu {} threads, {simd}\n", rayon::current_num_threads());
    match adapters {
        None => text.push_str(&format!(
            "gpu: this build has no GPU support; {GPU_BUILD_REMEDY}\n"
        )),
        Some(adapters) if adapters.is_empty() => text.push_str("gpu: no adapter found\n"),
        Some(adapters) => adapters
            .iter()
            .for_each(|adapter| text.push_str(&format!("{adapter}\n"))),
    }
    print_text(&text)
}

/// What may stand for `kind` under `[model]`.
fn describe_networks() -> Value {
    let networks =
        NetworkKind::ALL.map(|kind| (kind.name().to_string(), json!(kind.description())));
    json!({ "networks": networks.into_iter().collect::<serde_json::Map<_, _>>() })
}

fn describe(path: &Path) -> Result<Value> {
    if !path.exists() {
        bail!("{}: no such file or folder", path.display());
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if path.is_dir() && path.join(dataset::MANIFEST_FILE_NAME).is_file() {
        return describe_data(path);
    }
    if path.is_dir() {
        return describe_run(path);
    }
    if name == dataset::DATA_FILE_NAME || name == dataset::MANIFEST_FILE_NAME {
        return describe_data(path.parent().unwrap_or(Path::new(".")));
    }
    Ok(json!({ "checkpoint": read_meta(path)? }))
}

fn describe_data(folder: &Path) -> Result<Value> {
    let prepared = dataset::PreparedReader::open(folder)?;
    Ok(json!({ "genes": prepared.genes().len(), "prepared": prepared.manifest() }))
}

fn describe_run(folder: &Path) -> Result<Value> {
    let config = read_config(folder)?;
    let metrics = match std::fs::read_to_string(folder.join(METRICS_FILE)) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Value::Null,
    };
    let is_prepared = folder
        .join(DATA_FOLDER)
        .join(dataset::MANIFEST_FILE_NAME)
        .is_file();
    Ok(json!({ "experiment": config, "is_prepared": is_prepared, "metrics": metrics }))
}

/// One line per value: its dotted path and the value.
fn flatten(path: &str, value: &Value, text: &mut String) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_string()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, inner)| flatten(&below(key), inner, text)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, inner)| flatten(&below(&index.to_string()), inner, text));
        }
        _ => text.push_str(&format!("{path} = {value}\n")),
    }
}
