//! EPInformer, whose vectors are an evaluation, its gradients, and a training pass.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};

use super::folder::{Folder, Reference, tensor, values};
use super::gradient::{PlainGradients, compare_statistics};
use crate::checkpoint::import;
use crate::config::NetworkConfig;
use crate::epinformer::Candidates;
use crate::error::ModelError;
use crate::input::ModelInput;
use crate::network::{Network, Pass};

/// Error of the released code's own gradients in single precision, relative to their norm, where the folder does not
/// record it (`f32_relerr.*`, which oracle/epinformer_shadow.py adds): the largest that it found is 1.3e-4.
const UNRECORDED_ERROR: f64 = 3e-4;

/// Elements and positions of them that the recorded encoder output holds.
const RECORDED_ELEMENTS: usize = 3;
const RECORDED_POSITIONS: usize = 64;

/// Compares predictions, inner tensors, losses, statistics and gradients.
pub(super) fn compare(folder: &mut Folder, config: &NetworkConfig) -> Result<(), ModelError> {
    let weights = folder.path_of("weights.safetensors");
    let device = Device::flex().autodiff();
    let Some(inputs) = folder.read("inputs.safetensors") else {
        return Ok(());
    };
    let Some((input, target)) = model_input(folder, &inputs, config.n_tracks(), &device)? else {
        return Ok(());
    };
    let network = import(&weights, config, &device)?;
    if let Some(reference) = folder.read("eval.safetensors") {
        compare_evaluation(folder, &network, &input, &reference)?;
    }
    for (file, pass) in [
        ("evalgrad.safetensors", Pass::Evaluate),
        ("train.safetensors", Pass::TrainMean),
    ] {
        let Some(reference) = folder.read(file) else {
            continue;
        };
        let output = network.forward(input.clone(), &pass)?;
        folder.forward(&reference, "pred", &values(&output.prediction)?);
        let is_normalised = matches!(pass, Pass::TrainMean);
        if is_normalised {
            compare_statistics(folder, &network, &output.statistics, &reference)?;
        }
        let gradients = PlainGradients {
            unrecorded_error: UNRECORDED_ERROR,
            is_normalised,
        };
        let target = target.clone();
        gradients.compare(folder, &network, output.prediction, target, &reference)?;
        folder.finish(&reference, "not part of the loss");
    }
    Ok(())
}

fn compare_evaluation(
    folder: &mut Folder,
    network: &Network,
    input: &ModelInput,
    reference: &Reference,
) -> Result<(), ModelError> {
    let mut seen = BTreeMap::new();
    let mut look = |name: &str, x: &Tensor<3>| {
        seen.insert(name.to_owned(), x.clone());
    };
    let output = network.forward_observed(input, &Pass::Evaluate, &mut look)?;
    folder.forward_f64(reference, "pred", &values(&output.prediction)?);
    let batch = input.batch();
    if let Some(encoder) = seen.get("encoder") {
        // Ours has a row per element; theirs an axis of elements behind the channels.
        let [rows, channels, length] = encoder.dims();
        let first = encoder
            .clone()
            .reshape([batch, rows / batch, channels, length])
            .slice([
                0..batch,
                0..RECORDED_ELEMENTS,
                0..channels,
                0..RECORDED_POSITIONS,
            ])
            .swap_dims(1, 2);
        folder.forward(reference, "seq_encoder_first3", &values(&first)?);
    }
    if let Some(reduced) = seen.get("reduced") {
        let [rows, channels, width] = reduced.dims();
        let reduced = reduced
            .clone()
            .reshape([batch, rows / batch, channels, width])
            .swap_dims(1, 2);
        folder.forward(reference, "conv_out", &values(&reduced)?);
    }
    if let Some(elements) = seen.get("elements") {
        let elements = elements.clone().swap_dims(1, 2);
        folder.forward(reference, "add_pos_conv", &values(&elements)?);
    }
    let attention: Vec<Tensor<3>> = (0..)
        .map_while(|layer| seen.get(&format!("attention.{layer}")).cloned())
        .collect();
    folder.forward(
        reference,
        "attn",
        &values(&Tensor::stack::<4>(attention, 0))?,
    );
    folder.finish(reference, "not part of the prediction");
    Ok(())
}

/// The promoter is the first element of a recorded gene, and the middle of our window.
fn model_input(
    folder: &mut Folder,
    inputs: &Reference,
    n_tracks: usize,
    device: &Device,
) -> Result<Option<(ModelInput, Tensor<2>)>, ModelError> {
    let code = folder.expect(inputs, "pe_code").cloned();
    let features = folder.expect(inputs, "pe_feat").map(tensor::<3>);
    let rna = folder.expect(inputs, "rna_feat").map(tensor::<2>);
    let target = folder.expect(inputs, "target").map(tensor::<2>);
    let (Some(code), Some(features), Some(rna), Some(target)) = (code, features, rna, target)
    else {
        return Ok(None);
    };
    let code: Tensor<4> = tensor::<4>(&code)?.to_device(device);
    let features: Tensor<3> = features?.to_device(device);
    let [batch, n_elements, length, n_bases] = code.dims();
    let [_, _, n_features] = features.dims();
    let promoter = code
        .clone()
        .slice([0..batch, 0..1, 0..length, 0..n_bases])
        .squeeze_dim::<3>(1);
    let input = ModelInput {
        sequence: promoter,
        tracks: Tensor::zeros([batch, length, n_tracks], device),
        overwrite: Tensor::zeros([batch, length], device) - 1.0,
        features: rna?.to_device(device),
        peaks: None,
        candidates: Some(Candidates {
            sequence: code.slice([0..batch, 1..n_elements, 0..length, 0..n_bases]),
            features: features.slice([0..batch, 1..n_elements, 0..n_features]),
        }),
    };
    Ok(Some((input, target?.to_device(device))))
}
