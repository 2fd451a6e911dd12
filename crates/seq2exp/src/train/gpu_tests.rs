//! Whole training runs on a graphics adapter, Mesa's software Vulkan if there is nothing else, against the CPU.

use std::path::Path;

use burn::tensor::Device;
use dataset::ExampleSource;
use model::checkpoint::load;
use model::config::MaskSite;
use model::{MaskCost, NamedParameter, Network, NetworkConfig, NetworkKind, Pass};

use super::tests::{Fixture, LENGTH, folder, tiny};
use super::*;
use crate::batch::{Batch, read_values};
use crate::device::{DeviceChoice, OpenDevice, adapters};
use crate::error::RunError;
use crate::interrupt::Signal;
use crate::synthetic::{SyntheticSource, example};

/// The first adapter of any kind, of those not reached through CUDA if `SEQ2EXP_TEST_GRAPHICS` is set; prints why not when
/// there is none, unless `SEQ2EXP_NEEDS_GPU` is set.
fn any_adapter() -> Option<OpenDevice> {
    let mut adapters = adapters().expect("this build has GPU support");
    if std::env::var_os("SEQ2EXP_TEST_GRAPHICS").is_some() {
        adapters.retain(|adapter| adapter.api != "CUDA");
    }
    let Some(first) = adapters.first() else {
        assert!(
            std::env::var_os("SEQ2EXP_NEEDS_GPU").is_none(),
            "no adapter"
        );
        eprintln!("skipped: no adapter; on Debian, mesa-vulkan-drivers brings one in software");
        return None;
    };
    let open = OpenDevice::open(DeviceChoice::Adapter(first.number)).expect("the adapter starts");
    eprintln!("on {}", open.name);
    Some(open)
}

fn steps_of(folder: &Path) -> Vec<StepRecord> {
    let records = read_records(&folder.join(RECORD_FILE)).expect("records");
    let step = |record| match record {
        Record::Step(step) => Some(step),
        Record::Validation(_) => None,
    };
    records.into_iter().filter_map(step).collect()
}

/// Largest difference of two networks' parameters.
fn largest_difference(left: &Path, right: &Path) -> f32 {
    let read = |path: &Path| {
        let (network, _) = load(path, &OpenDevice::cpu().device).expect("a checkpoint");
        network.read_parameters().expect("parameters").concat()
    };
    let (left, right) = (read(left), read(right));
    assert_eq!(left.len(), right.len());
    left.iter()
        .zip(&right)
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, f32::max)
}

#[test]
fn first_steps_equal_those_of_the_cpu() {
    let Some(gpu) = any_adapter() else { return };
    for kind in [NetworkKind::Seq2ExpSoft, NetworkKind::Seq2ExpHard] {
        let (on_cpu, on_gpu) = (folder(), folder());
        let fixture = Fixture::new(kind, 3);
        fixture.run(on_cpu.path()).expect("trained on the CPU");
        fixture
            .run_on(&gpu, on_gpu.path())
            .expect("trained on the adapter");
        // The first step starts from equal parameters: single-precision rounding in another order, through two blocks.
        // From the second on the parameters differ: AdamW divides a gradient by its own size, so that a gradient within
        // rounding of zero moves its parameter by up to the learning rate either way.
        let (cpu, gpu) = (steps_of(on_cpu.path()), steps_of(on_gpu.path()));
        assert_eq!((cpu.len(), gpu.len()), (3, 3));
        for (step, (cpu, gpu)) in cpu.iter().zip(&gpu).enumerate() {
            let tolerance = if step == 0 { 1e-4 } else { 2e-2 };
            for (what, cpu, gpu) in [
                ("loss", cpu.loss, gpu.loss),
                ("gradient norm", cpu.gradient_norm, gpu.gradient_norm),
            ] {
                assert!(
                    (cpu - gpu).abs() <= tolerance * cpu.abs(),
                    "{kind:?}, step {}: {what} {gpu}, on the CPU {cpu}",
                    step + 1
                );
            }
        }
        let difference = largest_difference(
            &on_cpu.path().join(LAST_FILE),
            &on_gpu.path().join(LAST_FILE),
        );
        let largest_step = fixture.config.lr as f32;
        assert!(
            difference <= 3.0 * 2.0 * largest_step,
            "{kind:?}: {difference}"
        );
    }
}

/// Mask, gradient of the loss in every parameter, and the parameters' names, of one training pass.
type Step = (Option<Vec<f32>>, Vec<Option<Vec<f32>>>, Vec<NamedParameter>);

/// Bases of the windows that every network takes: more than one chunk of a scan, a multiple of Enformer's and Prism's poolings.
const STEP_LENGTH: usize = 256;

fn step_of(config: &NetworkConfig, device: &Device) -> Step {
    let device = device.clone().autodiff();
    let source = SyntheticSource::new(2, STEP_LENGTH);
    let examples = [0, 1].map(|index| source.read(index).expect("an example"));
    let network = Network::init(config, 2, &device).expect("sound settings");
    let batch = Batch::new(&examples, &device).expect("a batch");
    let targets = batch.targets().expect("targets");
    // Bins of several bases come with random ones beside the mask, as they are trained.
    let masks = match config {
        NetworkConfig::Seq2Exp(config) if config.mask.resolution > 1 => RandomMasks::Beside,
        _ => RandomMasks::Absent,
    };
    let pass = masks.pass(&network, &batch.input, vec![5, 6]);
    let pass = pass.expect("sound masks");
    let output = network.forward(batch.input, &pass).expect("a pass");
    let mask = output
        .mask
        .clone()
        .map(|mask| read_values(mask).expect("values"));
    let cost = MaskCost { kl: 0.1, mean: 0.1 };
    let loss = model::loss(&output, targets, cost);
    let gradients = network.read_gradients(&loss.total.backward());
    (
        mask,
        gradients.expect("gradients"),
        network.named_parameters(),
    )
}

#[test]
fn gradients_of_a_step_of_every_network_equal_those_of_the_cpu() {
    let Some(gpu) = any_adapter() else { return };
    let mut delta = tiny(NetworkKind::Seq2ExpSoft, STEP_LENGTH);
    let NetworkConfig::Seq2Exp(config) = &mut delta else {
        panic!("not a Seq2Exp network")
    };
    config.mask_site = MaskSite::Delta;
    let mut binned = tiny(NetworkKind::Seq2ExpDelta, STEP_LENGTH);
    let NetworkConfig::Seq2Exp(config) = &mut binned else {
        panic!("not a Seq2Exp network")
    };
    config.mask.resolution = 7;
    let networks = NetworkKind::ALL.map(|kind| tiny(kind, STEP_LENGTH));
    for config in networks.iter().chain([&delta, &binned]) {
        let (is_delta, is_binned) = (config == &delta, config == &binned);
        let what = format!("{:?}, delta: {is_delta}, bins: {is_binned}", config.kind());
        let (mask, gradients, parameters) = step_of(config, &OpenDevice::cpu().device);
        let (gpu_mask, gpu_gradients, _) = step_of(config, &gpu.device);
        // Samples come from the same random bits.
        assert_eq!(mask.is_some(), gpu_mask.is_some(), "{what}");
        for (index, (cpu, gpu)) in mask
            .iter()
            .flatten()
            .zip(gpu_mask.iter().flatten())
            .enumerate()
        {
            assert!(
                (cpu - gpu).abs() <= 1e-4,
                "{what}: mask[{index}]: {gpu}, on the CPU {cpu}"
            );
        }
        // Relative to the tensor's largest: sums over all positions, in another order. A parameter before a batch norm or a
        // softmax has a gradient of zero but for rounding of the whole gradient's size; our blocks alone have neither.
        let largest = gradients
            .iter()
            .flatten()
            .flatten()
            .fold(0.0_f32, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.0, "{what}");
        let floor = match config.has_blocks() && config.kind() != NetworkKind::Prism {
            true => 1e-6,
            false => 1e-3 * largest,
        };
        for ((parameter, cpu), gpu) in parameters.iter().zip(&gradients).zip(&gpu_gradients) {
            let name = format!("{what}: {}", parameter.name);
            let (Some(cpu), Some(gpu)) = (cpu, gpu) else {
                assert!(cpu.is_none() && gpu.is_none(), "{name}");
                continue;
            };
            assert_eq!(cpu.len(), gpu.len(), "{name}");
            let scale = cpu
                .iter()
                .fold(floor, |scale, value| scale.max(value.abs()));
            for (index, (cpu, gpu)) in cpu.iter().zip(gpu).enumerate() {
                assert!(
                    (cpu - gpu).abs() <= 1e-3 * scale,
                    "{name}[{index}]: {gpu}, on the CPU {cpu}, of at most {scale}"
                );
            }
        }
    }
}

#[test]
fn run_goes_on_on_the_other_device() {
    let Some(gpu) = any_adapter() else { return };
    let folder = folder();
    let mut fixture = Fixture::new(NetworkKind::Seq2ExpSoft, 4);
    // One pass an update: a run that is asked to stop before its first finishes that.
    fixture.config.accumulation = 1;
    let cpu = OpenDevice::cpu();
    for device in [&gpu, &cpu, &gpu] {
        fixture.interrupt.request(Signal::Terminate);
        let error = fixture
            .run_on(device, folder.path())
            .expect_err("interrupted");
        assert!(matches!(error, RunError::Interrupted { .. }), "{error}");
    }
    fixture.interrupt = Default::default();
    let summary = fixture.run_on(&cpu, folder.path()).expect("finished");
    assert_eq!((summary.steps, summary.steps_before), (4, 3));
    // Either device reads what the other wrote, with the same prediction.
    let bases: String = "GATTACAC".chars().cycle().take(LENGTH).collect();
    let examples = [example("A", &bases, 1.0)];
    let predicted = [&cpu.device, &gpu.device].map(|device| {
        let (network, _) = load(&folder.path().join(BEST_FILE), device).expect("a checkpoint");
        let batch = Batch::new(&examples, device).expect("a batch");
        let output = network
            .forward(batch.input, &Pass::Evaluate)
            .expect("a pass");
        read_values(output.prediction).expect("a prediction")[0]
    });
    assert!(
        (predicted[0] - predicted[1]).abs() <= 1e-4 * predicted[0].abs().max(1.0),
        "{predicted:?}"
    );
}

/// Trains a few steps in half precision and in single, from the same start.
#[test]
fn first_steps_in_half_precision_follow_those_in_single_on_a_gpu() {
    let Some(gpu) = any_adapter() else { return };
    let network = NetworkKind::Seq2ExpSoft.preset();
    if numerics(Storage::F32, Precision::F16, &network, &gpu).is_err() {
        eprintln!("skipped: the adapter has no half precision");
        return;
    }
    let losses = [Precision::F32, Precision::F16].map(|precision| {
        let folder = folder();
        let mut fixture = Fixture::new(NetworkKind::Seq2ExpSoft, 2);
        fixture.config.precision = precision;
        fixture.run_on(&gpu, folder.path()).expect("trained");
        let step = &steps_of(folder.path())[0];
        [step.loss, step.gradient_norm]
    });
    // Roundings of 2^-11 = 5e-4 through four blocks of eight roundings each, and not one of them alike.
    for (single, half) in losses[0].iter().zip(losses[1]) {
        assert!((single - half).abs() <= 1.6e-2 * single.abs(), "{losses:?}");
    }
    assert_ne!(losses[0], losses[1]);
}
