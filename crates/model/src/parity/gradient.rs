//! Training passes: losses, gradients of every parameter, gradients of the prediction alone.

use burn::tensor::Tensor;

use super::folder::{Folder, Reference, tensor, values};
use super::network::compare_output;
use super::{GRADIENT_FACTOR, GRADIENT_FLOOR, Measure};
use crate::batch_norm::{BATCH_MOMENTUM, BatchStatistic, is_statistic};
use crate::checkpoint::{NamedTensor, ReleasedName, released_names};
use crate::error::ModelError;
use crate::input::ModelInput;
use crate::loss::{MaskCost, loss, smooth_l1};
use crate::network::{Network, Pass};

/// Compares a training pass: outputs, losses, and every gradient.
pub(super) fn compare_training(
    folder: &mut Folder,
    network: &Network,
    input: &ModelInput,
    target: Tensor<2>,
    reference: &Reference,
) -> Result<(), ModelError> {
    let pass = match folder_pass(reference) {
        Some(values) => {
            let sample = folder.expect(reference, values).map(tensor::<2>);
            let Some(sample) = sample else { return Ok(()) };
            Pass::TrainGiven(sample?)
        }
        None => Pass::TrainMean,
    };
    let output = network.forward(input.clone(), &pass)?;
    compare_output(folder, &output, reference)?;
    let parts = loss(&output, target.clone(), MaskCost::PUBLISHED);
    folder.forward_f64(reference, "loss", &values(&parts.total)?);
    folder.forward(reference, "pred_loss", &values(&parts.prediction)?);
    if let Some(intervention) = &parts.intervention {
        folder.forward(reference, "intervention_loss", &values(intervention)?);
    }
    compare_statistics(folder, network, &output.statistics, reference)?;
    let gradients = network.read_gradients(&parts.total.backward())?;
    let names = released_names(network);
    for (name, gradient) in names.iter().zip(&gradients) {
        let Some(released) = name.released.first() else {
            continue;
        };
        if is_statistic(&name.name) {
            continue;
        }
        compare_gradient(folder, reference, released, gradient.as_deref());
    }
    // Constants of the reference receive no gradient; ours are settings and cannot.
    for constant in reference
        .tensors
        .keys()
        .filter(|name| name.starts_with("nograd."))
    {
        folder.mark(reference, constant);
    }
    if let Some(mask) = output.mask {
        compare_prediction_gradients(folder, network, input, &target, &pass, reference, &names)?;
        compare_mask_gradient(folder, network, input, mask, reference)?;
    }
    folder.finish(reference, "not part of prediction, mask or loss");
    Ok(())
}

/// The running statistics after the pass: the batch's, blended into those before.
pub(super) fn compare_statistics(
    folder: &mut Folder,
    network: &Network,
    found: &[BatchStatistic],
    reference: &Reference,
) -> Result<(), ModelError> {
    let before = network.read_parameters()?;
    for (name, before) in released_names(network).iter().zip(before) {
        if !is_statistic(&name.name) {
            continue;
        }
        let Some(released) = name.released.first() else {
            continue;
        };
        let Some(statistic) = found.iter().find(|statistic| statistic.name == name.name) else {
            folder
                .report
                .failures
                .push(format!("{}: not collected", name.name));
            continue;
        };
        let after: Vec<f64> = values(&statistic.value)?
            .into_iter()
            .zip(before)
            .map(|(batch, before)| {
                (1.0 - BATCH_MOMENTUM) * f64::from(before) + BATCH_MOMENTUM * batch
            })
            .collect();
        folder.forward(reference, &format!("after.{released}"), &after);
    }
    Ok(())
}

/// The name of the stored sample, when the pass used one.
fn folder_pass(reference: &Reference) -> Option<&'static str> {
    reference.file.contains("sample").then_some("sample")
}

fn compare_gradient(
    folder: &mut Folder,
    reference: &Reference,
    released: &str,
    found: Option<&[f32]>,
) {
    let Some(expected) = folder.expect(reference, &format!("grad.{released}")) else {
        return;
    };
    let expected = expected.values.clone();
    let recorded = folder
        .expect(reference, &format!("f32_relerr.{released}"))
        .and_then(scalar);
    let norm = folder
        .expect(reference, &format!("f64_gradnorm.{released}"))
        .and_then(scalar);
    let (Some(recorded), Some(_)) = (recorded, norm) else {
        return;
    };
    let tolerance = GRADIENT_FACTOR * recorded + GRADIENT_FLOOR;
    let found = or_zero(found, expected.len());
    folder.push(
        reference,
        &format!("grad.{released}"),
        Measure::RelativeNorm,
        &found,
        &expected,
        tolerance,
    );
}

/// Error of PyTorch's gradient of a Beta sample, which is an approximation in either precision: up to 7e-4 relative
/// within two standard deviations of the mean, up to 0.17 in the tails (`unit/beta_implicit_grad`, measured against
/// its exact values). Ours is exact, so the gradients that pass only through samples differ by about this much.
const TORCH_SAMPLE_GRADIENT: f64 = 7e-4;

/// What gradients of a network without a recorded mask are held to.
pub(super) struct PlainGradients {
    /// Error of the released code's own gradients in single precision, relative to their norm, where the folder does not
    /// tell it: as `f32_relerr.*`, or by the double-precision shadow `f64_grad.*`.
    pub unrecorded_error: f64,
    /// Whether the pass normalised by the batch's own mean. A bias before such a normalisation has no effect: its exact
    /// gradient is 0, and what was recorded is rounding, whose size is the tolerance.
    pub is_normalised: bool,
}

impl PlainGradients {
    /// Compares the prediction's loss and its gradient in every parameter.
    pub(super) fn compare(
        &self,
        folder: &mut Folder,
        network: &Network,
        prediction: Tensor<2>,
        target: Tensor<2>,
        reference: &Reference,
    ) -> Result<(), ModelError> {
        let loss = smooth_l1(prediction, target);
        folder.forward(reference, "loss", &values(&loss)?);
        let gradients = network.read_gradients(&loss.backward())?;
        for (name, gradient) in released_names(network).iter().zip(&gradients) {
            let Some(released) = name.released.first().filter(|_| !is_statistic(&name.name)) else {
                continue;
            };
            let gradient_name = format!("grad.{released}");
            let Some(single) = folder.expect(reference, &gradient_name) else {
                continue;
            };
            let single = single.values.clone();
            let (recorded, shadow) = (
                format!("f32_relerr.{released}"),
                format!("f64_{gradient_name}"),
            );
            folder.mark(reference, &recorded);
            folder.mark(reference, &shadow);
            let (expected, own_error) = match reference.values(&shadow) {
                Some(exact) => (exact.to_vec(), relative_norm(&single, exact)),
                None => {
                    let recorded = reference.scalar(&recorded);
                    (single, recorded.unwrap_or(self.unrecorded_error))
                }
            };
            let found = or_zero(gradient.as_deref(), expected.len());
            let is_zero = self.is_normalised && name.name.ends_with("convolution.bias");
            let (measure, expected, tolerance) = if is_zero {
                let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
                let zeros = vec![0.0; expected.len()];
                (Measure::Absolute, zeros, GRADIENT_FACTOR * largest)
            } else {
                let tolerance = GRADIENT_FACTOR * own_error + GRADIENT_FLOOR;
                (Measure::RelativeNorm, expected, tolerance)
            };
            folder.push(
                reference,
                &gradient_name,
                measure,
                &found,
                &expected,
                tolerance,
            );
        }
        Ok(())
    }
}

/// Gradients of the prediction's loss alone. The reference records its own single-precision error only for the
/// mask's output layer; the largest of those is taken for all, as each passes through that layer.
fn compare_prediction_gradients(
    folder: &mut Folder,
    network: &Network,
    input: &ModelInput,
    target: &Tensor<2>,
    pass: &Pass,
    reference: &Reference,
    names: &[ReleasedName],
) -> Result<(), ModelError> {
    let output = network.forward(input.clone(), pass)?;
    let gradients =
        network.read_gradients(&smooth_l1(output.prediction, target.clone()).backward())?;
    let mut own_error = 0.0_f64;
    for (name, exact) in reference
        .tensors
        .iter()
        .filter(|(name, _)| name.starts_with("f64_gradpred."))
    {
        folder.mark(reference, name);
        if let Some(single) = reference.values(name.trim_start_matches("f64_")) {
            own_error = own_error.max(relative_norm(single, &exact.values));
        }
    }
    for (name, gradient) in names.iter().zip(&gradients) {
        let Some(released) = name.released.first() else {
            continue;
        };
        let unused = format!("gradpred_unused.{released}");
        if reference.tensors.contains_key(&unused) {
            folder.mark(reference, &unused);
            let found = or_zero(gradient.as_deref(), gradient.as_ref().map_or(1, Vec::len));
            folder.push(
                reference,
                &unused,
                Measure::Absolute,
                &found,
                &vec![0.0; found.len()],
                0.0,
            );
        }
        let name = format!("gradpred.{released}");
        let Some(single) = reference.values(&name) else {
            continue;
        };
        folder.mark(reference, &name);
        let expected = reference.values(&format!("f64_{name}")).unwrap_or(single);
        let recorded = reference
            .scalar(&format!("f32_relerr.{released}"))
            .unwrap_or(0.0);
        // Where the prediction does not reach the mask, nothing passes through samples.
        let sampled = matches!(pass, Pass::TrainGiven(_)) && own_error > 0.0;
        let approximate = if sampled { TORCH_SAMPLE_GRADIENT } else { 0.0 };
        let tolerance = GRADIENT_FACTOR * own_error.max(recorded) + GRADIENT_FLOOR + approximate;
        let found = or_zero(gradient.as_deref(), expected.len());
        folder.push(
            reference,
            &name,
            Measure::RelativeNorm,
            &found,
            expected,
            tolerance,
        );
    }
    Ok(())
}

/// Gradient of the summed predictions with respect to the mask that the predictor is given.
fn compare_mask_gradient(
    folder: &mut Folder,
    network: &Network,
    input: &ModelInput,
    mask: Tensor<2>,
    reference: &Reference,
) -> Result<(), ModelError> {
    let leaf = mask.without_autodiff().autodiff().require_grad();
    let prediction = network.predict_with_mask(input, leaf.clone())?;
    let gradients = prediction.sum().backward();
    let found = leaf
        .grad(&gradients)
        .map(|gradient| values(&gradient))
        .transpose()?;
    folder.mark(reference, "dpred_dmask_unused");
    let single = folder.expect(reference, "dpred_dmask");
    let exact = folder.expect(reference, "f64_dpred_dmask");
    if let (Some(single), Some(exact)) = (single, exact) {
        let own_error = relative_norm(&single.values, &exact.values);
        let found = found.unwrap_or_else(|| vec![0.0; exact.values.len()]);
        let tolerance = GRADIENT_FACTOR * own_error + GRADIENT_FLOOR;
        let exact = exact.values.clone();
        folder.push(
            reference,
            "dpred_dmask",
            Measure::RelativeNorm,
            &found,
            &exact,
            tolerance,
        );
    }
    Ok(())
}

/// Euclidean norm of the difference over that of the exact values; the norm of the difference where those are 0.
pub(super) fn relative_norm(found: &[f64], exact: &[f64]) -> f64 {
    let difference: f64 = found
        .iter()
        .zip(exact)
        .map(|(a, b)| (a - b) * (a - b))
        .sum();
    let norm: f64 = exact.iter().map(|value| value * value).sum();
    if norm > 0.0 {
        (difference / norm).sqrt()
    } else {
        difference.sqrt()
    }
}

fn or_zero(found: Option<&[f32]>, len: usize) -> Vec<f64> {
    found.map_or_else(
        || vec![0.0; len],
        |values| values.iter().map(|&value| f64::from(value)).collect(),
    )
}

fn scalar(tensor: &NamedTensor) -> Option<f64> {
    tensor.values.first().copied()
}
