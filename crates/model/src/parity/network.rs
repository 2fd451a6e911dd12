//! Whole networks: forward tensors, gradients, checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use kernels::beta_mask::reference::divergence_reference;
use kernels::concentrations;
use serde_json::Value;

use super::enformer;
use super::epinformer;
use super::folder::{Folder, Reference, tensor, values};
use super::gradient::compare_training;
use super::{FORWARD_TOLERANCE, FolderReport, Measure};
use crate::caduceus::{Backbone, Caduceus};
use crate::checkpoint::{NamedTensor, import, import_values, read_state_dict, released_config};
use crate::config::NetworkConfig;
use crate::error::ModelError;
use crate::head::NORM_EPSILON;
use crate::input::ModelInput;
use crate::layer_norm::LayerNorm;
use crate::mask::read;
use crate::network::{Network, Output, Pass};
use crate::prism::Prism;

/// Compares evaluation, training passes and gradients of one network.
pub(super) fn compare(path: &Path, files: &[String]) -> FolderReport {
    let mut folder = Folder::new(path, files, "network");
    let Some(settings) = folder.settings() else {
        return folder.report;
    };
    let config = match released_config(&settings) {
        Ok(config) => config,
        Err(reason) => {
            folder.report.skipped.push(format!("the folder: {reason}"));
            return folder.report;
        }
    };
    folder.report.subject = config.kind().name().to_owned();
    if let Err(error) = compare_network(&mut folder, &settings, &config) {
        folder.report.failures.push(error.to_string());
    }
    folder.report
}

fn compare_network(
    folder: &mut Folder,
    settings: &Value,
    config: &NetworkConfig,
) -> Result<(), ModelError> {
    if let NetworkConfig::Enformer(_) = config {
        return enformer::compare(folder, config);
    }
    if let NetworkConfig::Epinformer(_) = config {
        return epinformer::compare(folder, config);
    }
    let weights = folder.path_of("weights.safetensors");
    let device = Device::flex();
    let Some(inputs) = folder.read("inputs.safetensors") else {
        return Ok(());
    };
    let Some(input) = model_input(folder, settings, &inputs, &device) else {
        return Ok(());
    };
    let network = import(&weights, config, &device)?;
    if let Some(reference) = folder.read("eval.safetensors") {
        compare_evaluation(folder, &network, &input, &reference)?;
    }
    let passes: &[&str] = match config {
        NetworkConfig::Seq2Exp(_) => &["train_mean.safetensors", "train_sample.safetensors"],
        _ => &["train_plain.safetensors"],
    };
    let trained = import(&weights, config, &device.autodiff())?;
    for file in passes {
        if let Some(reference) = folder.read(file) {
            let Some(target) = folder.expect(&inputs, "target").map(tensor::<2>) else {
                return Ok(());
            };
            compare_training(folder, &trained, &input, target?, &reference)?;
        }
    }
    Ok(())
}

/// Compares the weights in every `.ckpt` with each other and with the run they come from, and an evaluation of them.
pub(super) fn compare_checkpoints(path: &Path, files: &[String]) -> FolderReport {
    let mut folder = Folder::new(path, files, "checkpoints");
    if let Some(settings) = folder.settings() {
        let result = released_config(&settings)
            .map_err(|reason| ModelError::Config {
                problems: vec![reason],
            })
            .and_then(|config| compare_imports(&mut folder, &settings, &config));
        if let Err(error) = result {
            folder.report.failures.push(error.to_string());
        }
    }
    folder.report
}

fn compare_imports(
    folder: &mut Folder,
    settings: &Value,
    config: &NetworkConfig,
) -> Result<(), ModelError> {
    let device = Device::flex();
    let Some(last) = folder.read("steps_final.safetensors") else {
        return Ok(());
    };
    let network = Network::init(config, 0, &device)?;
    let expected =
        import_values(&network, &last.tensors).map_err(|problems| ModelError::StateDict {
            path: folder.path_of("steps_final.safetensors"),
            problems,
        })?;
    let flat = |values: Vec<Vec<f32>>| -> Vec<f64> {
        values.into_iter().flatten().map(f64::from).collect()
    };
    for file in folder.files(|file| file.ends_with(".ckpt")) {
        let path = folder.path_of(&file);
        let state = read_state_dict(&path)?;
        let found = import_values(&network, &state)
            .map_err(|problems| ModelError::StateDict { path, problems })?;
        let reference = Reference {
            file,
            tensors: state,
        };
        // The same run wrote both, so the bytes are the same.
        folder.push(
            &reference,
            "all weights",
            Measure::Absolute,
            &flat(found),
            &flat(expected.clone()),
            0.0,
        );
    }
    let network = network.with_parameters(expected)?;
    let Some(inputs) = folder.read("steps_inputs.safetensors") else {
        return Ok(());
    };
    let Some(input) = model_input(folder, settings, &inputs, &device) else {
        return Ok(());
    };
    if let Some(reference) = folder.read("eval_after_steps.safetensors") {
        let output = network.forward(input, &Pass::Evaluate)?;
        folder.forward(&reference, "pred", &values(&output.prediction)?);
        if let (Some(mask), Some(kl)) = (&output.mask, &output.kl) {
            folder.forward(&reference, "mask", &values(mask)?);
            folder.forward(&reference, "kl_loss", &values(kl)?);
        }
    }
    folder
        .report
        .skipped
        .push("the optimiser's steps (compared by the tests of the training crate)".to_owned());
    Ok(())
}

fn model_input(
    folder: &mut Folder,
    settings: &Value,
    inputs: &Reference,
    device: &Device,
) -> Option<ModelInput> {
    let sequence = tensor::<3>(folder.expect(inputs, "seqs")?);
    let tracks = tensor::<3>(folder.expect(inputs, "signals")?);
    let features = tensor::<2>(folder.expect(inputs, "rna_feat")?);
    let regions = folder.expect(inputs, "mask_regions")?;
    let include = settings
        .get("use_include_list")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let forced = regions.values.chunks(2).map(|pair| match pair {
        [included, _] if include && *included > 0.0 => 1.0,
        [_, excluded] if *excluded > 0.0 => 0.0,
        _ => -1.0,
    });
    let overwrite = NamedTensor {
        shape: regions.shape.iter().take(2).copied().collect(),
        values: forced.collect(),
    };
    let built = (|| {
        Ok::<_, ModelError>(ModelInput {
            sequence: sequence?.to_device(device),
            tracks: tracks?.to_device(device),
            overwrite: tensor::<2>(&overwrite)?.to_device(device),
            features: features?.to_device(device),
            peaks: None,
            candidates: None,
        })
    })();
    built
        .map_err(|error| folder.report.failures.push(error.to_string()))
        .ok()
}

fn compare_evaluation(
    folder: &mut Folder,
    network: &Network,
    input: &ModelInput,
    reference: &Reference,
) -> Result<(), ModelError> {
    let (output, streams) = observe(network, input)?;
    compare_output(folder, &output, reference)?;
    compare_streams(folder, network, &streams, reference)?;
    if let (Network::Prism(_), Some(contexts)) = (network, streams.get("contexts")) {
        folder.forward(reference, "out.weight_generator", &values(contexts)?);
    }
    if let (Network::Seq2Exp(network), Some(logits)) = (network, streams.get("logits")) {
        folder.forward(reference, "gen_logits", &values(logits)?);
        let mask = &network.config().mask;
        let kernel = mask.beta_mask(kernels::MaskDecoding::Soft);
        let parts = concentrations(&read(logits)?, &read(&input.tracks)?, &kernel)?;
        let wide =
            |values: &[f32]| -> Vec<f64> { values.iter().map(|&value| f64::from(value)).collect() };
        folder.forward(reference, "seq_alpha", &wide(&parts.sequence_alpha));
        folder.forward(reference, "seq_beta", &wide(&parts.sequence_beta));
        for (index, (alpha, beta)) in parts.track_alpha.iter().zip(&parts.track_beta).enumerate() {
            folder.forward(reference, &format!("sig_alpha_{index}"), &wide(alpha));
            folder.forward(reference, &format!("sig_beta_{index}"), &[f64::from(*beta)]);
        }
        folder.forward(reference, "z_alpha", &wide(&parts.alpha));
        folder.forward(reference, "z_beta", &wide(&parts.beta));
        folder.forward(reference, "z_mean", &wide(&parts.mean));
        let (alpha, beta) = mask.marginal();
        folder.forward(reference, "marginal_alpha", &[alpha]);
        folder.forward(reference, "marginal_beta", &[beta]);
        let drawn = mask.draw(
            logits.clone(),
            input,
            network.config().promoter,
            &Pass::Evaluate,
        )?;
        compare_divergence(folder, reference, &values(&drawn.kl)?, (alpha, beta));
    }
    folder.finish(reference, "not part of prediction, mask or loss");
    Ok(())
}

/// The recorded map was computed in single precision, whose own error (up to 4e-5 of the scale) exceeds the tolerance;
/// it is computed again from the recorded concentrations.
fn compare_divergence(
    folder: &mut Folder,
    reference: &Reference,
    found: &[f64],
    marginal: (f64, f64),
) {
    folder.expect(reference, "kl_map");
    let (Some(alpha), Some(beta)) = (reference.values("z_alpha"), reference.values("z_beta"))
    else {
        return;
    };
    let exact: Vec<f64> = alpha
        .iter()
        .zip(beta)
        .map(|(&alpha, &beta)| divergence_reference(alpha, beta, marginal))
        .collect();
    let scale = exact
        .iter()
        .fold(0.0_f64, |scale, value| scale.max(value.abs()));
    folder.push(
        reference,
        "kl_map",
        Measure::Absolute,
        found,
        &exact,
        FORWARD_TOLERANCE * scale,
    );
}

pub(super) fn compare_output(
    folder: &mut Folder,
    output: &Output,
    reference: &Reference,
) -> Result<(), ModelError> {
    folder.forward_f64(reference, "pred", &values(&output.prediction)?);
    for (name, found) in [
        ("mask", output.mask.as_ref().map(values)),
        ("kl_loss", output.kl.as_ref().map(values)),
    ] {
        let Some(found) = found.transpose()? else {
            continue;
        };
        if reference.tensors.contains_key(&format!("f64_{name}")) {
            folder.forward_f64(reference, name, &found);
        } else {
            folder.forward(reference, name, &found);
        }
    }
    if let Some(intervention) = &output.intervention {
        let prediction = values(&intervention.prediction)?;
        folder.forward(reference, "intervention_logits", &prediction);
        folder.forward(
            reference,
            "uniform_loss",
            &values(&intervention.uniformity)?,
        );
    }
    Ok(())
}

/// What turns the last residual stream into the recorded output.
enum LastNorm<'a> {
    Rms(&'a Param<Tensor<1>>),
    Layer(&'a LayerNorm),
}

/// Our residual stream is the sum of what the released code keeps as `hidden` and `residual`; the last one, normed,
/// is its output.
fn compare_streams(
    folder: &mut Folder,
    network: &Network,
    streams: &BTreeMap<String, Tensor<3>>,
    reference: &Reference,
) -> Result<(), ModelError> {
    let mut backbones = Vec::new();
    let caduceus = |backbone: &Backbone| backbone.blocks.len();
    match network {
        Network::Seq2Exp(network) => {
            let generator = &network.generator.backbone;
            let norm = LastNorm::Rms(&generator.norm_weight);
            match &network.predictor.backbone {
                Some(predictor) => {
                    let n_generator = caduceus(generator);
                    backbones.push(("generator", "generator.backbone", n_generator, norm));
                    let norm = LastNorm::Rms(&predictor.norm_weight);
                    backbones.push(("predictor", "encoder.backbone", caduceus(predictor), norm));
                }
                // Shared blocks run twice; the second run, the predictor's, is the one recorded.
                None => {
                    backbones.push(("predictor", "generator.backbone", caduceus(generator), norm));
                }
            }
        }
        Network::Caduceus(Caduceus { backbone, .. }) | Network::Prism(Prism { backbone, .. }) => {
            let norm = LastNorm::Rms(&backbone.norm_weight);
            backbones.push(("backbone", "caduceus.backbone", caduceus(backbone), norm));
        }
        Network::Mamba(network) => {
            let norm = LastNorm::Rms(&network.norm_weight);
            backbones.push(("backbone", "model", network.blocks.len(), norm));
        }
        Network::Hyena(network) => {
            let norm = LastNorm::Layer(&network.norm);
            backbones.push(("backbone", "model", network.blocks.len(), norm));
        }
        // Nothing was recorded of their streams.
        Network::Enformer(_)
        | Network::Epinformer(_)
        | Network::FixedMask(_)
        | Network::Retrained(_) => {}
    }
    for (ours, theirs, n_blocks, norm) in backbones {
        // Small copies of vectors hold a backbone's output and none of its blocks.
        let records_blocks = !reference.tensors.contains_key(&format!("out.{theirs}"))
            || reference
                .tensors
                .keys()
                .any(|name| name.starts_with("layer."));
        for index in 0..n_blocks {
            let Some(stream) = streams.get(&format!("{ours}.{index}")) else {
                continue;
            };
            let found = values(stream)?;
            let layer = format!("layer.{theirs}.layers.{index}");
            let (hidden, residual) = if records_blocks {
                (
                    folder.expect(reference, &format!("{layer}.hidden")),
                    folder.expect(reference, &format!("{layer}.residual")),
                )
            } else {
                (None, None)
            };
            if let (Some(hidden), Some(residual)) = (hidden, residual) {
                let sum: Vec<f64> = hidden
                    .values
                    .iter()
                    .zip(&residual.values)
                    .map(|(a, b)| a + b)
                    .collect();
                let scale = sum
                    .iter()
                    .fold(0.0_f64, |scale, value| scale.max(value.abs()));
                let tolerance = FORWARD_TOLERANCE * scale;
                folder.push(
                    reference,
                    &layer,
                    Measure::Absolute,
                    &found,
                    &sum,
                    tolerance,
                );
            }
            if index + 1 == n_blocks {
                let normed = match &norm {
                    LastNorm::Rms(weight) => rms_normed(&found, &values(&weight.val())?),
                    LastNorm::Layer(norm) => values(&norm.forward(stream.clone()))?,
                };
                folder.forward(reference, &format!("out.{theirs}"), &normed);
            }
        }
    }
    Ok(())
}

fn rms_normed(stream: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(stream.len());
    for row in stream.chunks(weight.len()) {
        let mean_square = row.iter().map(|value| value * value).sum::<f64>() / row.len() as f64;
        let scale = (mean_square + NORM_EPSILON).sqrt().recip();
        out.extend(
            row.iter()
                .zip(weight)
                .map(|(value, weight)| value * scale * weight),
        );
    }
    out
}

/// An evaluation pass with every intermediate tensor; of Prism with its intervened branches.
fn observe(
    network: &Network,
    input: &ModelInput,
) -> Result<(Output, BTreeMap<String, Tensor<3>>), ModelError> {
    let mut streams = BTreeMap::new();
    let mut observe = |name: &str, stream: &Tensor<3>| {
        streams.insert(name.to_owned(), stream.clone());
    };
    let output = match network {
        Network::Prism(network) => network.evaluate_intervened(input, &mut observe)?,
        _ => network.forward_observed(input, &Pass::Evaluate, &mut observe)?,
    };
    Ok((output, streams))
}
