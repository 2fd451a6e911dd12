//! The training loop on made-up genes and a tiny network.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use dataset::ExampleSource;
use model::checkpoint::{CheckpointMeta, load};
use model::{ModelInput, Network, NetworkConfig, NetworkKind, NetworkSize, Pass};

use super::*;
use crate::batch::read_values;
use crate::device::OpenDevice;
use crate::error::RunError;
use crate::interrupt::{Interrupt, Signal};
use crate::progress::ProgressMode;
use crate::synthetic::{PROMOTER, SyntheticSource};

pub(super) const LENGTH: usize = 37;

pub(super) fn tiny(kind: NetworkKind, length: usize) -> NetworkConfig {
    kind.preset().with_size(NetworkSize {
        d_model: 8,
        n_layer: 1,
        promoter: PROMOTER,
        length,
    })
}

fn settings(steps: u64) -> TrainConfig {
    TrainConfig {
        steps,
        batch: 3,
        accumulation: 2,
        lr: 1e-2,
        warmup_steps: 2,
        warmup_lr: 1e-3,
        final_lr: 1e-3,
        validation_every: Some(3),
        checkpoint_every: 2,
        ..TrainConfig::default()
    }
}

/// Everything a run in a test needs.
pub(super) struct Fixture {
    pub(super) config: TrainConfig,
    pub(super) meta: CheckpointMeta,
    pub(super) source: SyntheticSource,
    pub(super) interrupt: Interrupt,
}

impl Fixture {
    pub(super) fn new(kind: NetworkKind, steps: u64) -> Self {
        Self {
            config: settings(steps),
            meta: CheckpointMeta {
                seed: 2,
                ..CheckpointMeta::new(tiny(kind, LENGTH))
            },
            source: SyntheticSource::new(23, LENGTH),
            interrupt: Interrupt::new(),
        }
    }

    pub(super) fn run(&self, folder: &Path) -> Result<TrainSummary, RunError> {
        self.run_on(&OpenDevice::cpu(), folder)
    }

    pub(super) fn run_on(
        &self,
        device: &OpenDevice,
        folder: &Path,
    ) -> Result<TrainSummary, RunError> {
        let source: Arc<dyn ExampleSource> = Arc::new(self.source.clone());
        TrainRun {
            config: &self.config,
            meta: &self.meta,
            source: &source,
            folder,
            device,
            interrupt: &self.interrupt,
            progress: ProgressMode::Silent,
        }
        .run()
    }
}

#[test]
fn retrained_network_takes_the_generator_of_its_seed_and_leaves_it_alone() {
    let (soft, retrained) = (folder(), folder());
    let generator = Fixture::new(NetworkKind::Seq2ExpSoft, 4);
    generator
        .run(&soft.path().join("seed_2"))
        .expect("a trained generator");
    let mut fixture = Fixture::new(NetworkKind::Seq2ExpRetrain, 4);
    let NetworkConfig::Retrained(config) = &mut fixture.meta.config else {
        panic!("not retrained")
    };
    config.generator = soft.path().to_path_buf();
    // Decay that would show on a parameter that is not left out.
    fixture.config.weight_decay = 0.5;
    fixture.run(retrained.path()).expect("trained");

    let parameters = |path: &Path| {
        let (network, _) = load(path, &Device::flex()).expect("a checkpoint");
        let names = network.named_parameters().into_iter().map(|p| p.name);
        let values = network.read_parameters().expect("readable");
        names
            .zip(values)
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let theirs = parameters(&soft.path().join("seed_2").join(BEST_FILE));
    // The checkpoint holds the generator: the trained network is not needed any more.
    drop(soft);
    let ours = parameters(&retrained.path().join(LAST_FILE));
    let before = Network::init(&fixture.meta.config, 2, &Device::flex()).expect("sound settings");
    let drawn: std::collections::BTreeMap<_, _> = before
        .named_parameters()
        .into_iter()
        .map(|p| p.name)
        .zip(before.read_parameters().expect("readable"))
        .collect();
    let mut n_frozen = 0;
    for (name, values) in &ours {
        match name.strip_prefix("frozen.") {
            Some(name) => {
                assert_eq!(values, &theirs[name], "{name}");
                n_frozen += 1;
            }
            // Every other parameter was trained.
            None => assert_ne!(values, &drawn[name], "{name}"),
        }
    }
    // Two linear maps of embedding, a block's 17 parameters, the last norm, one linear map of output.
    assert_eq!(n_frozen, 4 + 17 + 1 + 2);
    let n_values = |names: &dyn Fn(&str) -> bool| {
        let kept = ours.iter().filter(|(name, _)| names(name));
        kept.map(|(_, values)| values.len()).sum::<usize>()
    };
    assert_eq!(
        before.n_parameters(),
        n_values(&|name| !name.starts_with("frozen."))
    );
}

#[test]
fn retrained_network_without_its_generator_or_with_another_is_refused() {
    let empty = folder();
    let mut fixture = Fixture::new(NetworkKind::Seq2ExpRetrain, 4);
    let generator = Fixture::new(NetworkKind::Seq2ExpSoft, 3);
    let soft = folder();
    generator.run(soft.path()).expect("a trained generator");
    let cases = [
        (
            empty.path().to_path_buf(),
            "best.safetensors: not there yet",
        ),
        (
            soft.path().join(BEST_FILE),
            "mask.beta_min is 0.25 here and 1.0 there",
        ),
    ];
    for (path, part) in cases {
        let NetworkConfig::Retrained(config) = &mut fixture.meta.config else {
            panic!("not retrained")
        };
        (config.generator, config.mask.beta_min) = (path, 0.25);
        let error = fixture.run(folder().path()).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// The bytes of every file of a run.
fn files(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    [RECORD_FILE, BEST_FILE, LAST_FILE, STATE_FILE]
        .map(|name| {
            (
                name,
                fs::read(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}")),
            )
        })
        .to_vec()
}

pub(super) fn assert_same_files(left: &Path, right: &Path) {
    for ((name, left), (_, right)) in files(left).into_iter().zip(files(right)) {
        assert!(left == right, "{name} differs");
    }
}

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn random_masks_alone_teach_the_predictor_and_leave_the_generator_its_own() {
    let trained = |random_mask_steps| {
        let folder = folder();
        let mut fixture = Fixture::new(NetworkKind::Seq2ExpDelta, 2);
        fixture.config.random_mask_steps = random_mask_steps;
        // One norm for all gradients would let one part feel the other.
        fixture.config.clip_norm = 1e9;
        fixture.config.checkpoint_every = 1;
        fixture.config.accumulation = 1;
        fixture.interrupt.request(Signal::Terminate);
        fixture
            .run(folder.path())
            .expect_err("stopped after a step");
        let (network, _) = load(&folder.path().join(LAST_FILE), &Device::flex()).expect("saved");
        let losses = match &read_records(&folder.path().join(RECORD_FILE)).expect("written")[0] {
            Record::Step(record) => (record.prediction_loss, record.random_mask_loss),
            other => panic!("{other:?}"),
        };
        let names = network.named_parameters().into_iter().map(|p| p.name);
        let values = network.read_parameters().expect("readable");
        (names.zip(values).collect::<Vec<_>>(), losses)
    };
    let ((plain, plain_losses), (random, random_losses)) = (trained(0), trained(1));
    let (of_generator, of_others): (Vec<_>, Vec<_>) = plain
        .iter()
        .zip(&random)
        .map(|((name, plain), (_, random))| (name, plain == random))
        .partition(|(name, _)| name.starts_with("generator."));
    assert!(of_generator.iter().all(|(_, is_same)| *is_same));
    // Adam's first step is the gradient's sign times the rate, so that a few small tensors may agree.
    let n_same = of_others.iter().filter(|(_, is_same)| *is_same).count();
    assert!(2 * n_same < of_others.len(), "{of_others:?}");
    assert_eq!(plain_losses.0, random_losses.0);
    assert_eq!(plain_losses.1, None);
    let under_random = random_losses.1.expect("recorded");
    assert!(under_random > 0.0 && under_random != random_losses.0);
}

#[test]
fn run_does_not_depend_on_threads() {
    let (one, many) = (folder(), folder());
    let mut fixture = Fixture::new(NetworkKind::Seq2ExpSoft, 4);
    for (n_threads, folder) in [(1, &one), (3, &many)] {
        fixture.config.loader_threads = n_threads;
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .expect("threads");
        threads
            .install(|| fixture.run(folder.path()))
            .expect("trained");
    }
    for name in [RECORD_FILE, BEST_FILE, LAST_FILE] {
        let read =
            |folder: &tempfile::TempDir| fs::read(folder.path().join(name)).expect("written");
        assert!(read(&one) == read(&many), "{name} differs");
    }
}

#[test]
fn run_killed_between_saves_repeats_the_lost_steps() {
    let (whole, killed) = (folder(), folder());
    let fixture = Fixture::new(NetworkKind::Caduceus, 5);
    fixture.run(whole.path()).expect("trained");
    fixture.run(killed.path()).expect("trained");
    // A process killed in step 3: the state of step 2 is the last one, later lines are in the records.
    let mut first_two = Fixture::new(NetworkKind::Caduceus, 5);
    let half = folder();
    first_two.source.unreadable = Some(genes_first_seen_in_step(&fixture, 3)[0]);
    assert!(first_two.run(half.path()).is_err());
    fs::copy(half.path().join(STATE_FILE), killed.path().join(STATE_FILE)).expect("copied");
    fixture.run(killed.path()).expect("continued");
    assert_same_files(whole.path(), killed.path());
}

/// The genes of `step` that no step before visits, in the order of their visits.
fn genes_first_seen_in_step(fixture: &Fixture, step: u64) -> Vec<usize> {
    let order = VisitOrder::new(
        fixture.source.indices_of(dataset::Split::Train),
        fixture.meta.seed,
    );
    let per_step = fixture.config.genes_per_step() as u64;
    let before = order.visits(0, (step - 1) * per_step);
    let found = order.visits((step - 1) * per_step, step * per_step);
    let is_new = |visit: &Visit| {
        !before
            .iter()
            .any(|seen| seen.gene_index == visit.gene_index)
    };
    found
        .into_iter()
        .filter(is_new)
        .map(|visit| visit.gene_index)
        .collect()
}

#[test]
fn loss_falls_on_a_learnable_task() {
    let folder = folder();
    let mut fixture = Fixture::new(NetworkKind::Seq2ExpSoft, 60);
    fixture.config.accumulation = 1;
    fixture.config.batch = 8;
    fixture.config.validation_every = Some(30);
    fixture.source = SyntheticSource::new(40, LENGTH);
    let summary = fixture.run(folder.path()).expect("trained");
    let records = read_records(&folder.path().join(RECORD_FILE)).expect("records");
    let steps: Vec<&StepRecord> = records
        .iter()
        .filter_map(|r| {
            if let Record::Step(step) = r {
                Some(step)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(steps.len(), 60);
    let mean = |part: &[&StepRecord]| {
        part.iter().map(|s| s.prediction_loss).sum::<f64>() / part.len() as f64
    };
    let (first, last) = (mean(&steps[..5]), mean(&steps[55..]));
    assert!(last < 0.5 * first, "prediction loss {first} -> {last}");
    // Expression is uniform on [0, 2): its variance is 1/3.
    assert!(summary.best.mse < 1.0 / 3.0, "{:?}", summary.best);
    assert!(
        steps
            .iter()
            .all(|step| step.kl.is_some() && step.gradient_norm > 0.0)
    );
    // 24 training genes, 8 a step: three steps an epoch.
    assert_eq!(steps[5].epoch, 2.0);
    assert_eq!(
        records
            .iter()
            .filter(|r| matches!(r, Record::Validation(_)))
            .count(),
        2
    );
}

#[test]
fn checkpoints_hold_the_best_and_the_last_network() {
    let folder = folder();
    let fixture = Fixture::new(NetworkKind::Seq2ExpSoft, 7);
    let summary = fixture.run(folder.path()).expect("trained");
    let (_, last) = load(&folder.path().join(LAST_FILE), &Device::flex()).expect("a checkpoint");
    assert_eq!((last.step, last.seed), (7, 2));
    let (_, best) = load(&folder.path().join(BEST_FILE), &Device::flex()).expect("a checkpoint");
    assert_eq!(best.step, summary.best.step);
    let records = read_records(&folder.path().join(RECORD_FILE)).expect("records");
    let errors = records.iter().filter_map(|r| {
        if let Record::Validation(v) = r {
            Some((v.step, v.mse))
        } else {
            None
        }
    });
    let lowest = errors
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("validated");
    assert_eq!(lowest, (summary.best.step, summary.best.mse));
}

#[test]
fn finished_run_is_left_as_it_is() {
    let (first, second) = (folder(), folder());
    let fixture = Fixture::new(NetworkKind::Caduceus, 3);
    let summary = fixture.run(first.path()).expect("trained");
    fixture.run(second.path()).expect("trained");
    let again = fixture.run(second.path()).expect("nothing to do");
    assert_eq!((again.steps_before, again.best), (3, summary.best));
    assert_same_files(first.path(), second.path());
}

#[test]
fn run_with_other_settings_is_refused_with_the_fields() {
    let folder = folder();
    let mut fixture = Fixture::new(NetworkKind::Caduceus, 3);
    fixture.run(folder.path()).expect("trained");
    fixture.config.lr = 2e-2;
    fixture.meta.seed = 3;
    let error = fixture
        .run(folder.path())
        .expect_err("another run")
        .to_string();
    assert!(
        error.contains("train.lr is 0.01, this run has 0.02") && error.contains("seed is 2"),
        "{error}"
    );
    fixture = Fixture::new(NetworkKind::Caduceus, 3);
    fixture.source = SyntheticSource::new(24, LENGTH);
    let error = fixture
        .run(folder.path())
        .expect_err("other genes")
        .to_string();
    assert!(error.contains("data.n_genes"), "{error}");
}

#[test]
fn failed_write_keeps_what_was_saved_and_the_run_can_go_on() {
    let (whole, failed) = (folder(), folder());
    let mut fixture = Fixture::new(NetworkKind::Caduceus, 5);
    fixture.config.accumulation = 1;
    fixture.run(whole.path()).expect("trained");
    // Stop after the first step, then let a folder stand where the next checkpoint is to be written.
    fixture.interrupt.request(Signal::Interrupt);
    fixture.run(failed.path()).expect_err("interrupted");
    fixture.interrupt = Interrupt::new();
    let obstacle = failed.path().join(LAST_FILE);
    let saved = fs::read(&obstacle).expect("saved");
    fs::remove_file(&obstacle).expect("removed");
    fs::create_dir(&obstacle).expect("made");
    let error = fixture
        .run(failed.path())
        .expect_err("cannot be written")
        .to_string();
    assert!(error.contains(LAST_FILE), "{error}");
    fs::remove_dir(&obstacle).expect("removed");
    fs::write(&obstacle, saved).expect("written");
    fixture.run(failed.path()).expect("goes on");
    assert_same_files(whole.path(), failed.path());
}

#[test]
fn infinite_loss_stops_with_step_and_genes_and_keeps_the_checkpoint() {
    let folder = folder();
    let mut fixture = Fixture::new(NetworkKind::Caduceus, 5);
    fixture.config.checkpoint_every = 1;
    // The first three of the step are one batch: their errors add up to three times the largest f32.
    let genes = genes_first_seen_in_step(&fixture, 2)[..3].to_vec();
    fixture.source.enormous = genes.clone();
    let message = fixture
        .run(folder.path())
        .expect_err("not finite")
        .to_string();
    let symbols: Vec<String> = genes.iter().map(|index| format!("G{index}")).collect();
    let inputs = folder.path().join("not_finite_step_2.safetensors");
    assert!(
        message.contains("step 2")
            && message.contains(&symbols.join(", "))
            && message.contains(&inputs.display().to_string()),
        "{message}"
    );
    assert!(repeated_loss(&inputs, &fixture).is_infinite());
    let (_, meta) =
        load(&folder.path().join(LAST_FILE), &Device::flex()).expect("the checkpoint of step 1");
    assert_eq!(meta.step, 1);
}

/// The loss of a failed step, computed again from its file alone.
fn repeated_loss(path: &Path, fixture: &Fixture) -> f32 {
    let bytes = fs::read(path).expect("the step's inputs");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let device = Device::flex();
    let values = |name: &str| -> Vec<f32> {
        let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (words, _) = tensor.data().as_chunks::<4>();
        words.iter().map(|word| f32::from_le_bytes(*word)).collect()
    };
    let data = |name: &str| {
        let shape = file.tensor(name).expect(name).shape().to_vec();
        TensorData::new(values(name), shape)
    };
    let network = Network::init(&fixture.meta.config, 0, &device).expect("sound settings");
    let parameters = network
        .named_parameters()
        .iter()
        .map(|parameter| values(&format!("parameter.{}", parameter.name)))
        .collect();
    let network = network.with_parameters(parameters).expect("all parameters");
    let input = ModelInput {
        sequence: Tensor::from_data(data("sequence"), &device),
        tracks: Tensor::from_data(data("tracks"), &device),
        overwrite: Tensor::from_data(data("overwrite"), &device),
        features: Tensor::from_data(data("features"), &device),
        peaks: None,
        candidates: None,
    };
    let seeds = file.tensor("sample_seeds").expect("seeds").data().to_vec();
    let (words, _) = seeds.as_chunks::<8>();
    let seeds = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let output = network
        .forward(input, &Pass::Train { seeds })
        .expect("the inputs fit the network");
    let targets = Tensor::from_data(data("targets"), &device);
    let loss = model::loss(&output, targets, fixture.config.mask_cost_at(0));
    read_values(loss.total).expect("a loss")[0]
}

#[test]
fn damaged_state_is_refused_with_a_remedy() {
    let folder = folder();
    let fixture = Fixture::new(NetworkKind::Caduceus, 3);
    fs::write(folder.path().join(STATE_FILE), b"nonsense").expect("written");
    let error = fixture.run(folder.path()).expect_err("damaged").to_string();
    assert!(
        error.contains(STATE_FILE) && error.contains("remove it"),
        "{error}"
    );
}

#[test]
fn lost_damaged_or_foreign_best_network_is_noticed() {
    let folder = folder();
    let mut fixture = Fixture::new(NetworkKind::Caduceus, 3);
    fixture.meta.manifest_digest = Some("digest".to_string());
    fixture.run(folder.path()).expect("trained");
    let best = folder.path().join(BEST_FILE);
    let bytes = fs::read(&best).expect("saved");
    let refused = || fixture.run(folder.path()).expect_err("refused").to_string();
    let expected = format!("delete {}", folder.path().display());

    fs::remove_file(&best).expect("removed");
    let error = refused();
    assert!(
        error.contains("not there") && error.contains(&expected),
        "{error}"
    );
    for n_bytes in [0, 100, bytes.len() - 4] {
        fs::write(&best, &bytes[..n_bytes]).expect("written");
        let error = refused();
        assert!(
            error.contains(BEST_FILE) && error.contains(&expected),
            "{error}"
        );
    }
    let (network, meta) = {
        fs::write(&best, &bytes).expect("written");
        load(&best, &Device::flex()).expect("whole")
    };
    let other = CheckpointMeta { seed: 22, ..meta };
    model::checkpoint::save(&best, &network, &other).expect("saved");
    let error = refused();
    assert!(
        error.contains("seed 22, not of seed 2") && error.contains(&expected),
        "{error}"
    );
    fs::write(&best, &bytes).expect("written");
    fixture.run(folder.path()).expect("nothing to do");
}

#[test]
fn empty_split_is_an_error() {
    let mut fixture = Fixture::new(NetworkKind::Caduceus, 3);
    // Genes 0 to 2 are all training genes.
    fixture.source = SyntheticSource::new(3, LENGTH);
    let error = fixture
        .run(folder().path())
        .expect_err("no validation genes")
        .to_string();
    assert!(error.contains("valid"), "{error}");
}

#[test]
fn unreadable_example_is_an_error() {
    let mut fixture = Fixture::new(NetworkKind::Caduceus, 3);
    fixture.source.unreadable = Some(genes_first_seen_in_step(&fixture, 1)[0]);
    assert!(matches!(
        fixture.run(folder().path()),
        Err(RunError::Dataset(_))
    ));
}
