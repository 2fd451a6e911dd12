//! Enformer, whose vectors are one evaluation with its gradients.

use burn::tensor::{Device, Tensor};

use super::folder::{Folder, Reference, tensor, values};
use super::gradient::PlainGradients;
use crate::checkpoint::{NamedTensor, import};
use crate::config::NetworkConfig;
use crate::error::ModelError;
use crate::input::ModelInput;
use crate::network::Pass;

/// Tokens of A, C, G and T.
const BASES: [f64; 4] = [7.0, 8.0, 9.0, 10.0];

/// Error of gradients in single precision, relative to their norm, where the folder has no shadow that says it.
///
/// In the recorded case one ReLU lies 1.4e-7 from its kink and the released code rounds to the other side: its own
/// gradients differ from those in double precision by up to 5.8e-4 (oracle/enformer_shadow.py).
const UNRECORDED_ERROR: f64 = 3e-4;

/// Compares prediction, embeddings, loss and gradients in evaluation mode.
///
/// Gradients are held to the double-precision shadow `f64_grad.*` where the folder has it.
pub(super) fn compare(folder: &mut Folder, config: &NetworkConfig) -> Result<(), ModelError> {
    let weights = folder.path_of("weights.safetensors");
    let device = Device::flex().autodiff();
    let inputs = folder.read("inputs.safetensors");
    let reference = folder.read("eval_and_grad.safetensors");
    let (Some(inputs), Some(reference)) = (inputs, reference) else {
        return Ok(());
    };
    let Some((input, target)) = model_input(folder, &inputs, config.n_tracks(), &device)? else {
        return Ok(());
    };
    let network = import(&weights, config, &device)?;
    let mut embeddings = None;
    let output =
        network.forward_observed(&input, &Pass::Evaluate, &mut |name: &str, x: &Tensor<3>| {
            if name == "embeddings" {
                embeddings = Some(x.clone());
            }
        })?;
    folder.forward(&reference, "pred", &values(&output.prediction)?);
    if let Some(embeddings) = embeddings {
        folder.forward(&reference, "embeddings", &values(&embeddings)?);
    }
    let gradients = PlainGradients {
        unrecorded_error: UNRECORDED_ERROR,
        is_normalised: false,
    };
    gradients.compare(folder, &network, output.prediction, target, &reference)?;
    folder.finish(&reference, "not part of the expression head's prediction");
    Ok(())
}

fn model_input(
    folder: &mut Folder,
    inputs: &Reference,
    n_tracks: usize,
    device: &Device,
) -> Result<Option<(ModelInput, Tensor<2>)>, ModelError> {
    let tokens = folder.expect(inputs, "tokens").cloned();
    let features = folder.expect(inputs, "rna_feat").map(tensor::<2>);
    let target = folder.expect(inputs, "target").map(tensor::<2>);
    let (Some(tokens), Some(features), Some(target)) = (tokens, features, target) else {
        return Ok(None);
    };
    let [batch, length] = tokens.shape[..] else {
        return Ok(None);
    };
    let one_hot = tokens
        .values
        .iter()
        .flat_map(|token| BASES.map(|base| f64::from(u8::from(base == *token))));
    let sequence = NamedTensor {
        shape: vec![batch, length, BASES.len()],
        values: one_hot.collect(),
    };
    let input = ModelInput {
        sequence: tensor::<3>(&sequence)?.to_device(device),
        tracks: Tensor::zeros([batch, length, n_tracks], device),
        overwrite: Tensor::zeros([batch, length], device),
        features: features?.to_device(device),
        peaks: None,
        candidates: None,
    };
    Ok(Some((input, target?.to_device(device))))
}
