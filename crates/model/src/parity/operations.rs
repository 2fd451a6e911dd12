//! Single operations, through the differentiable ones that networks are made of.

use std::path::Path;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use kernels::beta_mask::CONCENTRATION_FLOOR;
use kernels::{
    BetaMaskConfig, BimambaParams, BlockOptions, DirectionParams, MaskDecoding, MaskDraw,
    beta_mask, bimamba_block, rms_norm_linear,
};

use super::folder::{Folder, Reference, values};
use super::{FORWARD_TOLERANCE, FolderReport, GRADIENT_FACTOR, GRADIENT_FLOOR, Measure};
use crate::error::ModelError;
use crate::head::NORM_EPSILON;
use crate::loss::smooth_l1;

/// Compares one operation with its file.
type Comparison = fn(&mut Folder, &Reference) -> Result<(), ModelError>;

/// Compares every file whose operation this crate can run; the others are listed.
pub(super) fn compare(path: &Path, files: &[String]) -> FolderReport {
    let mut folder = Folder::new(path, files, "operations");
    for file in folder.files(|file| file.ends_with(".safetensors")) {
        let run: Option<Comparison> = match file.as_str() {
            name if name.starts_with("bimamba_") => Some(compare_bimamba),
            name if name.starts_with("mamba_") => Some(compare_mamba),
            name if name.starts_with("rmsnorm_add_") => Some(compare_norm),
            "beta_kl.safetensors" => Some(compare_divergence),
            "smooth_l1.safetensors" => Some(compare_smooth_l1),
            _ => None,
        };
        let Some(run) = run else {
            folder.report.skipped.push(format!(
                "{file} (compared by the tests of the crate it belongs to)"
            ));
            continue;
        };
        let Some(reference) = folder.read(&file) else {
            continue;
        };
        if let Err(error) = run(&mut folder, &reference) {
            folder.report.failures.push(format!("{file}: {error}"));
        }
    }
    if folder.report.tensors.is_empty() && folder.report.failures.is_empty() {
        folder.report.subject = "unknown".to_owned();
    }
    folder.report
}

fn compare_smooth_l1(folder: &mut Folder, reference: &Reference) -> Result<(), ModelError> {
    let device = Device::flex().autodiff();
    let (Some(input), Some(target)) = (
        load::<2>(folder, reference, "input", &device),
        load::<2>(folder, reference, "target", &device),
    ) else {
        return Ok(());
    };
    let input = input.require_grad();
    let value = smooth_l1(input.clone(), target);
    folder.forward(reference, "loss", &values(&value)?);
    let gradient = gradient_of(&input, &value.backward())?;
    folder.forward(reference, "grad", &gradient);
    Ok(())
}

/// The divergence of the whole mask operation: a single track of weight 1 carries alpha, a logit carries beta.
fn compare_divergence(folder: &mut Folder, reference: &Reference) -> Result<(), ModelError> {
    let (Some(alpha), Some(beta)) = (reference.values("alpha"), reference.values("beta")) else {
        folder
            .report
            .missing
            .push(format!("{}: alpha, beta", reference.file));
        return Ok(());
    };
    let n = alpha.len();
    let device = Device::flex();
    // softplus(-200) is 0 in single precision, and softplus(ln(exp(beta) - 1)) is beta. The operation adds its floor
    // once to beta, and twice to alpha.
    let inverse = |beta: f64| (beta + (-(-beta).exp_m1()).ln()) as f32;
    let logits: Vec<f32> = beta
        .iter()
        .flat_map(|&beta| [inverse(beta - CONCENTRATION_FLOOR), -200.0])
        .collect();
    let logits = Tensor::<3>::from_data(TensorData::new(logits, [1, n, 2]), &device);
    let track: Vec<f32> = alpha
        .iter()
        .map(|&alpha| (alpha - 2.0 * CONCENTRATION_FLOOR) as f32)
        .collect();
    let track = Tensor::<3>::from_data(TensorData::new(track, [1, n, 1]), &device);
    let free = Tensor::<2>::full([1, n], -1.0, &device);
    for name in reference
        .tensors
        .keys()
        .filter_map(|name| name.strip_suffix(".marginal"))
    {
        let Some(&[first, second]) = reference.values(&format!("{name}.marginal")) else {
            continue;
        };
        let config = BetaMaskConfig {
            track_beta: vec![0.0],
            track_weight: vec![1.0],
            prior_scale_factor: 1.0,
            beta_min: 0.0,
            z_scale: 1.0,
            marginal: (first, second),
            decoding: MaskDecoding::Soft,
            minus_one: false,
        };
        let planes = beta_mask(
            logits.clone(),
            track.clone(),
            free.clone(),
            &config,
            MaskDraw::Mean,
        )?;
        let divergence = values(&planes.slice([1..2, 0..1, 0..n]))?;
        folder.forward(reference, &format!("exact.{name}.kl"), &divergence);
    }
    Ok(())
}

/// The norm of `x` and of `x + residual`, each beside an unnormed output with a gradient of its own.
fn compare_norm(folder: &mut Folder, reference: &Reference) -> Result<(), ModelError> {
    let device = Device::flex().autodiff();
    let (Some(x), Some(residual), Some(weight), Some(dy), Some(dresidual)) = (
        load::<3>(folder, reference, "x", &device),
        load::<3>(folder, reference, "residual", &device),
        load::<1>(folder, reference, "weight", &device),
        load::<3>(folder, reference, "dy", &device),
        load::<3>(folder, reference, "dresidual", &device),
    ) else {
        return Ok(());
    };
    let [_, _, d] = x.dims();
    let identity = Tensor::<2>::eye(d, &device);
    let bias = Tensor::<1>::zeros([d], &device);
    let (x, weight) = (x.require_grad(), weight.require_grad());
    for (prefix, stream) in [("", x.clone() + residual), ("nores.", x.clone())] {
        let out = rms_norm_linear(
            stream.clone(),
            weight.clone(),
            identity.clone(),
            bias.clone(),
        )?;
        folder.forward(reference, &format!("f64.{prefix}out"), &values(&out)?);
        let scalar = (out * dy.clone()).sum() + (stream * dresidual.clone()).sum();
        let gradients = scalar.backward();
        gradient(
            folder,
            reference,
            &format!("{prefix}dx"),
            &gradient_of(&x, &gradients)?,
        );
        gradient(
            folder,
            reference,
            &format!("{prefix}dweight"),
            &gradient_of(&weight, &gradients)?,
        );
    }
    Ok(())
}

fn compare_bimamba(folder: &mut Folder, reference: &Reference) -> Result<(), ModelError> {
    compare_scan(folder, reference, &["mamba_fwd.", "mamba_rev."])
}

fn compare_mamba(folder: &mut Folder, reference: &Reference) -> Result<(), ModelError> {
    compare_scan(folder, reference, &[""])
}

/// Mean square to which a row is completed; any number above those of the rows works.
const MEAN_SQUARE: f64 = 16.0;

/// A bare Mamba inside a block that also norms and adds.
///
/// One more channel, which no projection reads or writes, completes every row to the same mean square, so that the
/// norm's scale is a constant that its weight takes back. A single direction is a block whose reverse direction is 0.
fn compare_scan(
    folder: &mut Folder,
    reference: &Reference,
    prefixes: &[&str],
) -> Result<(), ModelError> {
    let device = Device::flex().autodiff();
    let Some(x) = load::<3>(folder, reference, "x", &device) else {
        return Ok(());
    };
    let Some(upstream) = load::<3>(folder, reference, "dy", &device) else {
        return Ok(());
    };
    let [batch, length, d_model] = x.dims();
    let wider = d_model + 1;
    let completed: Vec<f32> = values(&x)?
        .chunks(d_model)
        .map(|row| {
            (MEAN_SQUARE * wider as f64 - row.iter().map(|value| value * value).sum::<f64>()).sqrt()
                as f32
        })
        .collect();
    let last = Tensor::<3>::from_data(TensorData::new(completed, [batch, length, 1]), &device);
    let padded = Tensor::cat(vec![x, last], 2);

    let mut weights = Weights {
        folder,
        reference,
        device: &device,
        leaves: Vec::new(),
    };
    let Some(params) = weights.block(prefixes, wider) else {
        return Ok(());
    };
    let leaves = weights.leaves;
    let out = (bimamba_block(padded.clone(), params, BlockOptions::default())? - padded).slice([
        0..batch,
        0..length,
        0..d_model,
    ]);
    folder.forward(reference, "f64.out", &values(&out)?);
    let gradients = (out * upstream).sum().backward();
    for (name, gradient_from) in leaves {
        gradient(
            folder,
            reference,
            &format!("grad.{name}"),
            &gradient_from(&gradients)?,
        );
    }
    folder.finish(
        reference,
        "single precision, or the input's gradient, which here would pass the norm",
    );
    Ok(())
}

/// Reads a leaf's gradient from a backward pass.
type GradientOf = Box<dyn Fn(&Gradients) -> Result<Vec<f64>, ModelError>>;

/// The recorded weights of a Mamba, kept as leaves.
struct Weights<'a> {
    folder: &'a mut Folder,
    reference: &'a Reference,
    device: &'a Device,
    leaves: Vec<(String, GradientOf)>,
}

impl Weights<'_> {
    /// The block's parameters, for `wider` channels of which the projections leave out the last.
    fn block(&mut self, prefixes: &[&str], wider: usize) -> Option<BimambaParams> {
        let (first, second) = (prefixes.first()?, prefixes.get(1));
        let in_proj = self.take::<2>(format!("{first}in_proj.weight"))?;
        let out_proj = self.take::<2>(format!("{first}out_proj.weight"))?;
        let forward = self.direction(first)?;
        let reverse = match second {
            Some(second) => self.direction(second)?,
            // A convolution of zeros gives 0, and a scan of it too.
            None => DirectionParams {
                conv_weight: forward.conv_weight.zeros_like(),
                conv_bias: forward.conv_bias.zeros_like(),
                x_proj: forward.x_proj.clone().detach(),
                dt_weight: forward.dt_weight.clone().detach(),
                dt_bias: forward.dt_bias.clone().detach(),
                a_log: forward.a_log.clone().detach(),
                d: forward.d.clone().detach(),
            },
        };
        let ([n_rows, _], [_, d_inner]) = (in_proj.dims(), out_proj.dims());
        Some(BimambaParams {
            norm_weight: Tensor::full([wider], (MEAN_SQUARE + NORM_EPSILON).sqrt(), self.device),
            in_proj: Tensor::cat(vec![in_proj, Tensor::zeros([n_rows, 1], self.device)], 1),
            out_proj: Tensor::cat(vec![out_proj, Tensor::zeros([1, d_inner], self.device)], 0),
            forward,
            reverse,
        })
    }

    fn direction(&mut self, prefix: &str) -> Option<DirectionParams> {
        Some(DirectionParams {
            conv_weight: self
                .take::<3>(format!("{prefix}conv1d.weight"))?
                .squeeze_dim::<2>(1),
            conv_bias: self.take(format!("{prefix}conv1d.bias"))?,
            x_proj: self.take(format!("{prefix}x_proj.weight"))?,
            dt_weight: self.take(format!("{prefix}dt_proj.weight"))?,
            dt_bias: self.take(format!("{prefix}dt_proj.bias"))?,
            a_log: self.take(format!("{prefix}A_log"))?,
            d: self.take(format!("{prefix}D"))?,
        })
    }

    fn take<const D: usize>(&mut self, name: String) -> Option<Tensor<D>> {
        let leaf = load::<D>(
            self.folder,
            self.reference,
            &format!("w.{name}"),
            self.device,
        )?
        .require_grad();
        let kept = leaf.clone();
        self.leaves.push((
            name,
            Box::new(move |gradients| gradient_of(&kept, gradients)),
        ));
        Some(leaf)
    }
}

/// Compares a gradient with its double-precision shadow; the tolerance follows from the reference's own error.
fn gradient(folder: &mut Folder, reference: &Reference, name: &str, found: &[f64]) {
    let single = folder.expect(reference, name);
    let exact = folder.expect(reference, &format!("f64.{name}"));
    let (Some(single), Some(exact)) = (single, exact) else {
        return;
    };
    let difference: f64 = single
        .values
        .iter()
        .zip(&exact.values)
        .map(|(a, b)| (a - b) * (a - b))
        .sum();
    let norm: f64 = exact.values.iter().map(|value| value * value).sum();
    let own_error = if norm > 0.0 {
        (difference / norm).sqrt()
    } else {
        0.0
    };
    let tolerance = GRADIENT_FACTOR * own_error + GRADIENT_FLOOR;
    let exact = exact.values.clone();
    folder.push(
        reference,
        name,
        Measure::RelativeNorm,
        found,
        &exact,
        tolerance.min(FORWARD_TOLERANCE),
    );
}

fn gradient_of<const D: usize>(
    leaf: &Tensor<D>,
    gradients: &Gradients,
) -> Result<Vec<f64>, ModelError> {
    match leaf.grad(gradients) {
        Some(gradient) => values(&gradient),
        None => Ok(vec![0.0; leaf.shape().num_elements()]),
    }
}

fn load<const D: usize>(
    folder: &mut Folder,
    reference: &Reference,
    name: &str,
    device: &Device,
) -> Option<Tensor<D>> {
    let tensor = folder.expect(reference, name)?;
    let shape: Option<[usize; D]> = tensor.shape.clone().try_into().ok();
    match shape.filter(|shape| shape.iter().product::<usize>() == tensor.values.len()) {
        Some(shape) => Some(Tensor::from_data(
            TensorData::new(tensor.to_f32(), shape),
            device,
        )),
        None => {
            let message = format!(
                "{}: {name} has shape {:?}, not {D} axes",
                reference.file, tensor.shape
            );
            folder.report.failures.push(message);
            None
        }
    }
}
