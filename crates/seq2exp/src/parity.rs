//! `seq2exp parity`: every golden vector of a folder, the optimiser's and the schedule's included.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use model::checkpoint::{
    NamedTensor, StateDict, import, import_values, read_state_dict, released_config,
};
use model::parity::{FolderReport, Measure, ParityReport, TensorReport};
use model::{MaskCost, ModelInput, Network, Pass, no_decay};
use serde_json::Value;

use crate::batch::read_values;
use crate::error::RunError;
use crate::optimizer::{AdamW, Gradients, clip_global_norm};
use crate::schedule::LearningRateSchedule;
use crate::train::TrainConfig;

/// Parameters and losses after a few updates: f32 gradients summed in another order, through AdamW's division by
/// their size, leave parameters of size 1 equal to this.
const STEP_TOLERANCE: f64 = 1e-4;

/// Learning rates, relative: a few operations in double precision.
const RATE_TOLERANCE: f64 = 1e-12;

/// The schedule's step at which the recorded four steps begin.
const FIRST_RECORDED_STEP: u64 = 2_500;

/// Compares everything in a folder of recorded vectors, or in all folders below it.
///
/// To what [`model::run_parity`] compares this adds four whole training steps (`steps_*.safetensors`), AdamW with
/// clipping (`adamw_clip.safetensors`) and learning rates (`lr_schedule_*.safetensors`).
///
/// # Errors
/// [`RunError::Model`] when the folder cannot be listed; anything inside it that fails is in the report.
pub fn run_parity(folder: &Path) -> Result<ParityReport, RunError> {
    let mut report = model::run_parity(folder)?;
    for folder in &mut report.folders {
        let comparisons: [(&str, &str, Comparison); 4] = [
            (
                "steps_log.safetensors",
                "the optimiser's steps",
                compare_steps,
            ),
            (
                "adamw_clip.safetensors",
                "adamw_clip.safetensors",
                compare_adamw,
            ),
            (
                "lr_schedule_seq2exp.safetensors",
                "lr_schedule_seq2exp.safetensors",
                compare_published_rates,
            ),
            (
                "lr_schedule_enformer.safetensors",
                "lr_schedule_enformer.safetensors",
                compare_enformer_rates,
            ),
        ];
        for (file, skipped_as, compare) in comparisons {
            if !folder.path.join(file).exists() {
                continue;
            }
            folder.skipped.retain(|line| !line.starts_with(skipped_as));
            let mut comparer = Comparer { folder, file };
            if let Err(error) = compare(&mut comparer) {
                folder.failures.push(format!("{file}: {error}"));
            }
        }
    }
    Ok(report)
}

type Comparison = fn(&mut Comparer<'_>) -> Result<(), RunError>;

/// Collects the tensors of one reference file.
struct Comparer<'a> {
    folder: &'a mut FolderReport,
    file: &'a str,
}

impl Comparer<'_> {
    fn read(&self, file: &str) -> Result<StateDict, RunError> {
        Ok(read_state_dict(&self.folder.path.join(file))?)
    }

    /// Notes a reference tensor, or that it is missing.
    fn expect<'s>(&mut self, state: &'s StateDict, name: &str) -> Option<&'s NamedTensor> {
        let tensor = state.get(name);
        if tensor.is_none() {
            self.folder.missing.push(format!("{}: {name}", self.file));
        }
        tensor
    }

    fn push(
        &mut self,
        name: &str,
        found: &[f64],
        expected: &[f64],
        tolerance: impl Fn(f64) -> f64,
    ) {
        if found.len() != expected.len() {
            let message = format!(
                "{}: {name} has {} values, ours {}",
                self.file,
                expected.len(),
                found.len()
            );
            self.folder.failures.push(message);
            return;
        }
        // The place that uses most of its own tolerance stands for the tensor; NaN counts as worst.
        let share = |(f, e): (&f64, &f64)| {
            let share = (f - e).abs() / tolerance(*e);
            if share.is_nan() { f64::INFINITY } else { share }
        };
        let shares: Vec<f64> = found.iter().zip(expected).map(share).collect();
        let worst = (0..shares.len()).max_by(|&a, &b| shares[a].total_cmp(&shares[b]));
        let Some(index) = worst else { return };
        self.folder.tensors.push(TensorReport {
            file: self.file.to_string(),
            name: name.to_string(),
            measure: Measure::Absolute,
            error: (found[index] - expected[index]).abs(),
            tolerance: tolerance(expected[index]),
            index,
            found: found[index],
            expected: expected[index],
        });
    }
}

/// Absolute near 0, relative above 1.
fn step_tolerance(expected: f64) -> f64 {
    STEP_TOLERANCE * expected.abs().max(1.0)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

fn compare_steps(comparer: &mut Comparer<'_>) -> Result<(), RunError> {
    let settings_path = comparer.folder.path.join("config.json");
    let text = std::fs::read_to_string(&settings_path).map_err(|source| RunError::Io {
        path: settings_path.clone(),
        source,
    })?;
    let syntax = |message| RunError::ConfigSyntax {
        path: settings_path.clone(),
        message,
    };
    let settings: Value = serde_json::from_str(&text).map_err(|error| syntax(error.to_string()))?;
    let config = released_config(&settings).map_err(syntax)?;
    let device = Device::flex().autodiff();
    let mut network = import(
        &comparer.folder.path.join("steps_init.safetensors"),
        &config,
        &device,
    )?;
    let inputs = comparer.read("steps_inputs.safetensors")?;
    let log = comparer.read("steps_log.safetensors")?;
    let uses_include = settings
        .get("use_include_list")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let Some((input, target)) = model_input(comparer, &inputs, uses_include, &device) else {
        return Ok(());
    };
    let train = TrainConfig::default();
    let parameters = network.named_parameters();
    let described = parameters
        .iter()
        .map(|p| (p.name.clone(), p.len(), !no_decay(&p.name)));
    let mut optimizer = AdamW::new(train.adamw(), described);
    let mut values = network.read_parameters()?;
    let n_steps = (0..)
        .take_while(|step| log.contains_key(&format!("step{step}.loss")))
        .count();
    for step in 0..n_steps {
        // The recorded steps replace the sample by the mean, so that no random numbers are compared.
        let output = network.forward(input.clone(), &Pass::TrainMean)?;
        let loss = model::loss(&output, target.clone(), MaskCost::PUBLISHED).total;
        let found_loss = read_values(loss.clone())?;
        let mut gradients: Gradients = network.read_gradients(&loss.backward())?;
        let norm = clip_global_norm(&mut gradients, train.clip_norm);
        let lr = train.schedule().at(FIRST_RECORDED_STEP + step as u64);
        optimizer.update(lr, &mut values, &gradients);
        network = network.with_parameters(values.clone())?;
        let of_step = |name: &str| format!("step{step}.{name}");
        for (name, found) in [
            ("loss", wide(&found_loss)),
            ("grad_norm_before_clip", vec![norm]),
        ] {
            if let Some(expected) = comparer.expect(&log, &of_step(name)) {
                comparer.push(&of_step(name), &found, &expected.values, step_tolerance);
            }
        }
        if let Some(expected) = comparer.expect(&log, &of_step("lr")) {
            comparer.push(&of_step("lr"), &[lr], &expected.values, |e| {
                RATE_TOLERANCE * e.abs()
            });
        }
    }
    compare_final(comparer, &network, input, &values)
}

fn compare_final(
    comparer: &mut Comparer<'_>,
    network: &Network,
    input: ModelInput,
    values: &[Vec<f32>],
) -> Result<(), RunError> {
    let last = comparer.read("steps_final.safetensors")?;
    let expected = import_values(network, &last).map_err(|problems| {
        RunError::Model(model::ModelError::StateDict {
            path: comparer.folder.path.join("steps_final.safetensors"),
            problems,
        })
    })?;
    for ((parameter, found), expected) in
        network.named_parameters().iter().zip(values).zip(expected)
    {
        comparer.push(
            &format!("after the steps: {}", parameter.name),
            &wide(found),
            &wide(&expected),
            step_tolerance,
        );
    }
    let evaluation = comparer.read("eval_after_steps.safetensors")?;
    let output = network.forward(input, &Pass::Evaluate)?;
    let mut compare = |name: &str, found: Vec<f32>| {
        if let Some(expected) = comparer.expect(&evaluation, name) {
            comparer.push(
                &format!("after the steps: {name}"),
                &wide(&found),
                &expected.values,
                step_tolerance,
            );
        }
    };
    compare("pred", read_values(output.prediction)?);
    if let (Some(mask), Some(kl)) = (output.mask, output.kl) {
        compare("mask", read_values(mask)?);
        compare("kl_loss", read_values(kl)?);
    }
    Ok(())
}

/// The network's input and the targets, `[batch, 1]`; none when a tensor is missing or has another number of axes.
fn model_input(
    comparer: &mut Comparer<'_>,
    inputs: &StateDict,
    uses_include: bool,
    device: &Device,
) -> Option<(ModelInput, Tensor<2>)> {
    let mut tensors = Vec::new();
    for name in ["seqs", "signals", "rna_feat", "mask_regions", "target"] {
        tensors.push(comparer.expect(inputs, name));
    }
    let tensors: Vec<&NamedTensor> = tensors.into_iter().collect::<Option<_>>()?;
    let [sequence, tracks, features, regions, target] = tensors[..] else {
        return None;
    };
    let overwrite = NamedTensor {
        shape: regions.shape.iter().take(2).copied().collect(),
        values: regions
            .values
            .chunks(2)
            .map(|pair| match pair {
                [included, _] if uses_include && *included > 0.0 => 1.0,
                [_, excluded] if *excluded > 0.0 => 0.0,
                _ => -1.0,
            })
            .collect(),
    };
    let input = ModelInput {
        sequence: tensor(sequence, device)?,
        tracks: tensor(tracks, device)?,
        overwrite: tensor(&overwrite, device)?,
        features: tensor(features, device)?,
        peaks: None,
        candidates: None,
    };
    Some((input, tensor(target, device)?))
}

fn tensor<const D: usize>(named: &NamedTensor, device: &Device) -> Option<Tensor<D>> {
    let shape: [usize; D] = named.shape.clone().try_into().ok()?;
    Some(Tensor::from_data(
        TensorData::new(named.to_f32(), shape),
        device,
    ))
}

fn compare_adamw(comparer: &mut Comparer<'_>) -> Result<(), RunError> {
    let golden = comparer.read(comparer.file)?;
    let names: Vec<String> = golden
        .keys()
        .filter_map(|key| key.strip_prefix("init."))
        .map(str::to_string)
        .collect();
    let mut values: Vec<Vec<f32>> = names
        .iter()
        .filter_map(|name| Some(golden.get(&format!("init.{name}"))?.to_f32()))
        .collect();
    // The golden uses the released names: biases and A_log are not decayed.
    let is_decayed = |name: &str| !name.ends_with("bias") && !name.ends_with("A_log");
    let train = TrainConfig::default();
    let described: Vec<_> = names
        .iter()
        .zip(&values)
        .map(|(name, v)| (name.clone(), v.len(), is_decayed(name)))
        .collect();
    let mut optimizer = AdamW::new(train.adamw(), described);
    let n_steps = (0..)
        .take_while(|step| golden.contains_key(&format!("step{step}.lr")))
        .count();
    for step in 0..n_steps {
        let mut gradients = Gradients::new();
        for name in &names {
            let gradient = comparer.expect(&golden, &format!("step{step}.grad.{name}"));
            gradients.push(gradient.map(NamedTensor::to_f32));
        }
        let is_whole = |(gradient, values): (&Option<Vec<f32>>, &Vec<f32>)| {
            gradient
                .as_ref()
                .is_some_and(|gradient| gradient.len() == values.len())
        };
        let lr = comparer
            .expect(&golden, &format!("step{step}.lr"))
            .and_then(|lr| lr.values.first().copied());
        let (true, Some(lr)) = (gradients.iter().zip(&values).all(is_whole), lr) else {
            comparer
                .folder
                .failures
                .push(format!("{}: step {step} is incomplete", comparer.file));
            return Ok(());
        };
        let norm = clip_global_norm(&mut gradients, train.clip_norm);
        optimizer.update(lr, &mut values, &gradients);
        let norm_name = format!("step{step}.total_norm");
        if let Some(expected) = comparer.expect(&golden, &norm_name) {
            comparer.push(&norm_name, &[norm], &expected.values, |e| 1e-6 * e.abs());
        }
        for (name, found) in names.iter().zip(&values) {
            let name = format!("step{step}.param.{name}");
            if let Some(expected) = comparer.expect(&golden, &name) {
                comparer.push(&name, &wide(found), &expected.values, |_| 3e-7);
            }
        }
    }
    Ok(())
}

fn compare_published_rates(comparer: &mut Comparer<'_>) -> Result<(), RunError> {
    compare_rates(comparer, TrainConfig::default().schedule())
}

fn compare_enformer_rates(comparer: &mut Comparer<'_>) -> Result<(), RunError> {
    // Recorded up to step 60,000: the Enformer rate warms up over 50,000 steps and then stays.
    let schedule = LearningRateSchedule {
        peak_lr: 7e-6,
        warmup_lr: 0.0,
        final_lr: 7e-6,
        n_warmup: 50_000,
        n_steps: 200_000,
    };
    compare_rates(comparer, schedule)
}

fn compare_rates(
    comparer: &mut Comparer<'_>,
    schedule: LearningRateSchedule,
) -> Result<(), RunError> {
    let golden = comparer.read(comparer.file)?;
    let (steps, rates) = (
        comparer.expect(&golden, "step"),
        comparer.expect(&golden, "lr"),
    );
    if let (Some(steps), Some(rates)) = (steps, rates) {
        let found: Vec<f64> = steps
            .values
            .iter()
            .map(|&step| schedule.at(step as u64))
            .collect();
        comparer.push("lr", &found, &rates.values, |e| RATE_TOLERANCE * e.abs());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn golden(folder: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
    }

    #[test]
    fn four_training_steps_match_the_released_code() {
        let report =
            run_parity(&golden("../model/tests/golden/seq2exp_soft/ckpt")).expect("listed");
        assert!(report.passed(), "{report}");
        let folder = &report.folders[0];
        let compared = |name: &str| folder.tensors.iter().any(|tensor| tensor.name == name);
        for name in [
            "step3.loss",
            "step3.grad_norm_before_clip",
            "step3.lr",
            "after the steps: pred",
        ] {
            assert!(compared(name), "{name} missing from {report}");
        }
        assert!(
            folder
                .tensors
                .iter()
                .filter(|t| t.name.starts_with("after the steps: "))
                .count()
                > 40
        );
    }

    #[test]
    fn optimiser_and_schedules_match_torch_and_timm() {
        let report = run_parity(&golden("tests/golden")).expect("listed");
        assert!(report.passed(), "{report}");
        // 6 steps of a norm and 3 parameters, and one tensor of rates in each of two files.
        assert_eq!(report.n_compared(), 6 * 4 + 2, "{report}");
        assert_eq!(report.folders[0].skipped, Vec::<String>::new());
    }

    #[test]
    fn missing_and_differing_tensors_fail() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lr_schedule_seq2exp.safetensors");
        let view = |data| {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F64, vec![1], data)
                .expect("one f64")
        };
        let (step, wrong) = (0.0_f64.to_le_bytes(), 2e-5_f64.to_le_bytes());
        let write = |views: Vec<(&str, _)>| {
            let bytes = safetensors::serialize(views, None).expect("serialised");
            std::fs::write(&path, bytes).expect("written");
        };
        write(vec![("step", view(&step)), ("lr", view(&wrong))]);
        assert!(!run_parity(folder.path()).expect("listed").passed());
        write(vec![("step", view(&step))]);
        let report = run_parity(folder.path()).expect("listed");
        assert!(
            !report.passed() && report.folders[0].missing.len() == 1,
            "{report}"
        );
    }

    /// Compares a copy of a file of vectors, beside the others of its folder, after a change.
    fn run_changed(folder: &str, file: &str, change: impl FnOnce(&mut StateDict)) -> FolderReport {
        let copy = tempfile::tempdir().expect("a temporary folder");
        for entry in std::fs::read_dir(golden(folder)).expect("listed") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name");
            std::fs::copy(&path, copy.path().join(name)).expect("copied");
        }
        let path = copy.path().join(file);
        let mut state = read_state_dict(&path).expect("vectors");
        change(&mut state);
        let bytes: Vec<Vec<u8>> = state
            .values()
            .map(|tensor| tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let views = state.iter().zip(&bytes).map(|((name, tensor), bytes)| {
            let shape = tensor.shape.clone();
            let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F64, shape, bytes);
            (name, view.expect("as many values as before"))
        });
        safetensors::serialize_to_file(views, None, &path).expect("written");
        run_parity(copy.path()).expect("listed").folders.remove(0)
    }

    #[test]
    fn reference_of_every_kind_that_differs_a_little_fails_by_name() {
        const OPTIMISER: &str = "tests/golden";
        const STEPS: &str = "../model/tests/golden/seq2exp_soft/ckpt";
        for (folder, file, tensor, factor, name) in [
            (OPTIMISER, "lr_schedule_seq2exp", "lr", 1.0 + 1e-9, "lr"),
            (
                OPTIMISER,
                "adamw_clip",
                "step5.total_norm",
                1.0001,
                "step5.total_norm",
            ),
            (
                OPTIMISER,
                "adamw_clip",
                "step5.param.w.weight",
                1.001,
                "step5.param.w.weight",
            ),
            (
                OPTIMISER,
                "adamw_clip",
                "step5.param.w.weight",
                f64::NAN,
                "step5.param.w.weight",
            ),
            (STEPS, "steps_log", "step3.loss", 1.01, "step3.loss"),
            (STEPS, "steps_log", "step3.lr", 1.0 + 1e-9, "step3.lr"),
            (
                STEPS,
                "eval_after_steps",
                "mask",
                1.01,
                "after the steps: mask",
            ),
        ] {
            let report = run_changed(folder, &format!("{file}.safetensors"), |state| {
                let values = &mut state.get_mut(tensor).expect(tensor).values;
                values.iter_mut().for_each(|value| *value *= factor);
            });
            let mut tensors = report.tensors.iter();
            let found = tensors.find(|t| t.name == name && !t.passed());
            assert!(
                found.is_some() && !report.passed(),
                "{file} {tensor} x {factor}"
            );
        }
    }

    #[test]
    fn vectors_that_are_cut_short_or_no_vectors_are_failures() {
        let file = "lr_schedule_seq2exp.safetensors";
        let report = run_changed("tests/golden", file, |state| {
            let lr = state.get_mut("lr").expect("rates");
            lr.values.pop();
            lr.shape = vec![lr.values.len()];
        });
        let n_rates = report.failures.clone();
        assert_eq!(n_rates, [format!("{file}: lr has 49 values, ours 50")]);

        let file = "adamw_clip.safetensors";
        let report = run_changed("tests/golden", file, |state| {
            state.remove("step3.grad.A_log");
        });
        assert_eq!(report.missing, [format!("{file}: step3.grad.A_log")]);
        assert_eq!(report.failures, [format!("{file}: step 3 is incomplete")]);

        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(file), "no vectors").expect("written");
        let report = run_parity(folder.path()).expect("listed");
        let failures = &report.folders[0].failures;
        assert!(
            failures.len() == 1 && failures[0].starts_with(file),
            "{failures:?}"
        );
    }
}
