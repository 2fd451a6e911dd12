//! The training loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use dataset::{Example, ExampleSource, Loader, Split};
use model::checkpoint::{self, CheckpointMeta};
use model::{Network, NetworkConfig, no_decay};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::batch::{Batch, read_values};
use crate::device::OpenDevice;
use crate::digest::hexadecimal;
use crate::error::RunError;
use crate::interrupt::{Interrupt, Signal};
use crate::metric::Metric;
use crate::optimizer::{AdamW, Gradients, accumulate, clip_global_norm, global_norm, scale};
use crate::predict::{PredictConfig, mean_mask_ratio, predict};
use crate::progress::{Progress, ProgressMode};
use crate::train::failed_step::FailedStep;
use crate::train::trainee::Trainee;
use crate::train::{
    Best, Record, RecordFile, RunProgress, StepRecord, TrainConfig, TrainState, ValidationRecord,
    Visit, VisitOrder, initial_network, numerics,
};
use crate::trained_networks::{check_seed, with_remedy};

/// The network with the lowest validation error, inside a run's folder.
pub const BEST_FILE: &str = "best.safetensors";
/// The network after the last saved step.
pub const LAST_FILE: &str = "last.safetensors";
/// What an interrupted run continues from.
pub const STATE_FILE: &str = "resume.safetensors";
/// One JSON object per step and validation.
pub const RECORD_FILE: &str = "metrics.jsonl";

/// Visits whose order is held at a time, as far as whole updates have so few; tests cross its end.
const VISITS_AT_ONCE: u64 = if cfg!(test) { 16 } else { 1 << 16 };

/// One training run: what is trained on what, and where its files go.
///
/// The result is a function of the settings, the seed and the examples. It does not depend on the number of threads,
/// nor on how often the run was interrupted and continued.
pub struct TrainRun<'a> {
    /// How to train.
    pub config: &'a TrainConfig,
    /// What every checkpoint of the run says about itself: settings of the network, seed, digest of the data. Step and
    /// figures are filled in as the run goes on.
    pub meta: &'a CheckpointMeta,
    /// Training and validation genes.
    pub source: &'a Arc<dyn ExampleSource>,
    /// The folder of the run's files, made when absent; a run found there is continued.
    pub folder: &'a Path,
    /// Where the network lives, without autodiff.
    pub device: &'a OpenDevice,
    /// Raised to stop after the current pass; an update that it was part of is made again later.
    pub interrupt: &'a Interrupt,
    /// How progress is shown.
    pub progress: ProgressMode,
}

/// What a finished run amounts to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainSummary {
    /// Completed updates.
    pub steps: u64,
    /// Updates that were already there when this process began.
    pub steps_before: u64,
    /// The validation whose network is kept as the best.
    pub best: Best,
    /// Number of trained values.
    pub n_parameters: usize,
}

/// Means over the genes of one update.
#[derive(Default)]
struct Losses {
    total: f64,
    prediction: f64,
    kl: Option<f64>,
    random_mask: Option<f64>,
}

impl TrainRun<'_> {
    /// Trains to the last step, or continues the run in the folder to there.
    ///
    /// Writes [`RECORD_FILE`], [`BEST_FILE`] after each validation that is the best so far, and [`STATE_FILE`] with
    /// [`LAST_FILE`] at every validation, every `checkpoint_every` steps, and when interrupted. Each is replaced only
    /// once its successor is whole.
    ///
    /// # Errors
    /// - [`RunError::EmptySplit`] without training or validation genes
    /// - [`RunError::OtherConfig`] when the folder holds a run with other settings, with the fields that differ
    /// - [`RunError::BadState`] when the state to continue from is damaged
    /// - [`RunError::LostNetwork`], [`RunError::BadNetwork`] and [`RunError::OtherSeed`] when the best network so far was
    ///   lost, damaged or taken from another seed
    /// - [`RunError::NotFinite`] when a loss, gradient or prediction is NaN or infinite; the inputs of a failed step are
    ///   saved beside the checkpoints
    /// - [`RunError::Interrupted`] when asked to stop; the state is then saved
    /// - whatever reading an example or writing a file causes
    pub fn run(&self) -> Result<TrainSummary, RunError> {
        std::fs::create_dir_all(self.folder).map_err(|source| RunError::Io {
            path: self.folder.to_path_buf(),
            source,
        })?;
        let order = VisitOrder::new(self.genes_of(Split::Train)?, self.meta.seed);
        let validation_genes = self.genes_of(Split::Valid)?;
        let mut trainee = self.start()?;
        if trainee.progress.best.is_some() {
            self.check_best()?;
        }
        let steps_before = trainee.progress.step;
        let is_kept = {
            let RunProgress {
                step,
                is_validation_pending,
                ..
            } = trainee.progress;
            move |record: &Record| match record {
                Record::Step(record) => record.step <= step,
                Record::Validation(record) => {
                    record.step < step || (record.step == step && !is_validation_pending)
                }
            }
        };
        let mut records = RecordFile::open(&self.file(RECORD_FILE), is_kept)?;
        let genes_per_step = self.config.genes_per_step().max(1) as u64;
        let steps_at_once = (VISITS_AT_ONCE / genes_per_step).max(1);
        let interval = self.config.validation_interval(order.n_genes());
        let epoch_of = |step: u64| (step * genes_per_step) as f64 / order.n_genes() as f64;
        let label = format!("train seed {}", self.meta.seed);
        let mut progress = Progress::new(self.progress, &label, self.config.steps, steps_before);
        if trainee.progress.is_validation_pending {
            self.validate(
                &mut trainee,
                &validation_genes,
                epoch_of(steps_before),
                &mut records,
                &progress,
            )?;
        }
        for begun in (steps_before..self.config.steps).step_by(steps_at_once as usize) {
            let end = self.config.steps.min(begun + steps_at_once);
            let visits = order.visits(begun * genes_per_step, end * genes_per_step);
            let mut loader = self.loader(&visits)?;
            for of_step in visits.chunks(genes_per_step as usize) {
                let lr = self.config.schedule().at(trainee.progress.step);
                let updated = self.step(&mut trainee, lr, of_step, &order, &mut loader)?;
                let Some((losses, gradient_norm)) = updated else {
                    self.save(&trainee)?;
                    return Err(RunError::Interrupted {
                        signal: self.interrupt.requested().unwrap_or(Signal::Interrupt),
                        remedy: self.how_to_continue(trainee.progress.step),
                    });
                };
                let step = trainee.progress.step;
                records.append(&Record::Step(StepRecord {
                    step,
                    epoch: epoch_of(step),
                    lr,
                    loss: losses.total,
                    prediction_loss: losses.prediction,
                    kl: losses.kl,
                    random_mask_loss: losses.random_mask,
                    gradient_norm,
                }))?;
                let kl = losses.kl.map_or(String::new(), |kl| format!(" kl {kl:.3}"));
                progress.advance(1, &format!("loss {:.4}{kl} lr {lr:.2e}", losses.total));
                let is_validation_due = step % interval == 0 || step == self.config.steps;
                let interrupted = self.interrupt.requested();
                trainee.progress.is_validation_pending = is_validation_due;
                if is_validation_due
                    || step % self.config.checkpoint_every == 0
                    || interrupted.is_some()
                {
                    self.save(&trainee)?;
                }
                if let Some(signal) = interrupted {
                    return Err(RunError::Interrupted {
                        signal,
                        remedy: self.how_to_continue(step),
                    });
                }
                if is_validation_due {
                    self.validate(
                        &mut trainee,
                        &validation_genes,
                        epoch_of(step),
                        &mut records,
                        &progress,
                    )?;
                }
            }
        }
        let best = trainee.progress.best.ok_or_else(|| RunError::BadState {
            path: self.file(STATE_FILE),
            message: "the run ended without a validation".to_string(),
        })?;
        Ok(TrainSummary {
            steps: trainee.progress.step,
            steps_before,
            best,
            n_parameters: trainee.network.n_parameters(),
        })
    }

    /// Threads that read the genes of these visits ahead.
    fn loader(&self, visits: &[Visit]) -> Result<Loader, RunError> {
        Ok(Loader::start(
            Arc::clone(self.source),
            visits.iter().map(|visit| visit.gene_index).collect(),
            self.config.loader_threads,
            2 * self.config.batch,
        )?)
    }

    /// Refuses to go on without the best network so far: the state does not hold it.
    fn check_best(&self) -> Result<(), RunError> {
        let path = self.file(BEST_FILE);
        if !path.exists() {
            return Err(RunError::LostNetwork {
                path,
                folder: self.folder.to_path_buf(),
            });
        }
        let (_, meta) = checkpoint::load_for(&path, &self.meta.config, &self.device.device)
            .map_err(|error| with_remedy(error.into(), self.folder))?;
        check_seed(&path, &meta, self.meta.seed)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn genes_of(&self, split: Split) -> Result<Vec<usize>, RunError> {
        let genes = self.source.indices_of(split);
        if genes.is_empty() {
            Err(RunError::EmptySplit { split })
        } else {
            Ok(genes)
        }
    }

    fn how_to_continue(&self, step: u64) -> String {
        format!(
            "step {step} of {} is saved in {}; add --resume to the same command to go on",
            self.config.steps,
            self.folder.display()
        )
    }

    /// The settings and data that a continued run must share.
    fn identity(&self) -> Result<Value, RunError> {
        let to_value = |result: serde_json::Result<Value>| {
            result.map_err(|error| RunError::BadState {
                path: self.file(STATE_FILE),
                message: error.to_string(),
            })
        };
        let mut genes = Sha256::new();
        for index in 0..self.source.len() {
            let gene = self.source.gene(index);
            let split = self.source.split(index);
            genes.update(format!(
                "{}\t{}\t{}\t{split}\n",
                gene.symbol, gene.chrom, gene.tss
            ));
        }
        let genes_digest = hexadecimal(&genes.finalize());
        Ok(json!({
            "model": to_value(serde_json::to_value(&self.meta.config))?,
            "train": to_value(serde_json::to_value(self.config))?,
            "seed": self.meta.seed,
            "data": {
                "manifest_digest": self.meta.manifest_digest,
                "n_genes": self.source.len(),
                "genes_sha256": genes_digest,
                "length": self.source.length(),
                "n_tracks": self.source.n_tracks(),
            },
        }))
    }

    /// A new network, or the one the folder's state describes.
    fn start(&self) -> Result<Trainee, RunError> {
        let device = self.device.device.clone().autodiff();
        let path = self.file(STATE_FILE);
        let (config, seed) = (&self.meta.config, self.meta.seed);
        // A continued run has every weight in its state.
        let network = match path.exists() {
            true => Network::init(config, seed, &device)?,
            false => initial_network(config, seed, &device)?,
        }
        .with_numerics(numerics(
            self.config.storage,
            self.config.precision,
            config,
            self.device,
        )?);
        let named = network.named_parameters();
        if !path.exists() {
            let parameters = named
                .iter()
                .map(|p| (p.name.clone(), p.len(), !no_decay(&p.name)));
            return Ok(Trainee {
                values: network.read_parameters()?,
                optimizer: AdamW::new(self.config.adamw(), parameters),
                network,
                progress: RunProgress::default(),
            });
        }
        let free = TrainConfig::FREE_FIELDS.map(|field| format!("train.{field}"));
        let places = NetworkConfig::PATH_FIELDS.map(|field| format!("model.{field}"));
        let free: Vec<&str> = free.iter().chain(&places).map(String::as_str).collect();
        let state = TrainState::read(&path, &self.identity()?, &free)?;
        let is_same = state.parameters.len() == named.len()
            && state
                .parameters
                .iter()
                .zip(&named)
                .all(|(saved, p)| saved.name == p.name && saved.shape == p.shape);
        if !is_same {
            let message = "its parameters are not those of this version's network".to_string();
            return Err(RunError::BadState { path, message });
        }
        let values: Vec<Vec<f32>> = state
            .parameters
            .into_iter()
            .map(|saved| saved.values)
            .collect();
        Ok(Trainee {
            network: network.with_parameters(values.clone())?,
            values,
            optimizer: AdamW::restore(self.config.adamw(), state.moments),
            progress: state.progress,
        })
    }

    /// One update; returns the losses before it and the gradient's norm before clipping. None when it was asked to stop
    /// between two passes of the update, which then has changed nothing.
    fn step(
        &self,
        trainee: &mut Trainee,
        lr: f64,
        visits: &[Visit],
        order: &VisitOrder,
        loader: &mut Loader,
    ) -> Result<Option<(Losses, f64)>, RunError> {
        let device = self.device.device.clone().autodiff();
        let step = trainee.progress.step + 1;
        let mut total = Gradients::new();
        let mut losses = Losses::default();
        let mut statistics = Vec::new();
        let weight = 1.0 / self.config.accumulation as f64;
        for (pass, visits) in visits.chunks(self.config.batch).enumerate() {
            if pass > 0 && self.interrupt.requested().is_some() {
                return Ok(None);
            }
            let examples: Vec<Example> = loader
                .by_ref()
                .take(visits.len())
                .collect::<Result<_, _>>()?;
            let batch = Batch::new(&examples, &device)?;
            let targets = batch.targets()?;
            let seeds: Vec<u64> = visits
                .iter()
                .map(|visit| order.sample_seed(*visit))
                .collect();
            let masks = self.config.random_masks_at(trainee.progress.step);
            let pass = masks.pass(&trainee.network, &batch.input, seeds.clone())?;
            let output = trainee.network.forward(batch.input.clone(), &pass)?;
            let cost = self.config.mask_cost_at(trainee.progress.step);
            let loss = model::loss(&output, targets, cost);
            let scalar = |tensor| -> Result<f64, RunError> {
                Ok(read_values(tensor)?.into_iter().map(f64::from).sum())
            };
            let value = scalar(loss.total.clone())?;
            if !value.is_finite() {
                return Err(self.not_finite("the loss", trainee, &batch, &seeds));
            }
            losses.total += weight * value;
            losses.prediction += weight * scalar(loss.prediction)?;
            if let Some(kl) = loss.kl {
                *losses.kl.get_or_insert(0.0) += weight * scalar(kl)?;
            }
            let mut gradients = trainee.network.read_gradients(&loss.total.backward())?;
            let under_random =
                masks.replace_gradients(&trainee.network, &batch, &seeds, &mut gradients)?;
            if let Some(value) = under_random {
                *losses.random_mask.get_or_insert(0.0) += weight * value;
            }
            for statistic in output.statistics {
                statistics.push((statistic.name, read_values(statistic.value)?));
            }
            if !global_norm(&gradients).is_finite() {
                return Err(self.not_finite("the gradient", trainee, &batch, &seeds));
            }
            accumulate(&mut total, gradients);
        }
        for (name, values) in &statistics {
            trainee.blend(name, values);
        }
        if self.config.accumulation > 1 {
            scale(&mut total, weight as f32);
        }
        let norm = clip_global_norm(&mut total, self.config.clip_norm);
        trainee.optimizer.update(lr, &mut trainee.values, &total);
        let network = trainee.network.clone();
        trainee.network = network.with_parameters(trainee.values.clone())?;
        trainee.progress.step = step;
        Ok(Some((losses, norm)))
    }

    /// The error of a step that gave NaN or infinity, after what it was computed from is saved.
    fn not_finite(
        &self,
        what: &'static str,
        trainee: &Trainee,
        batch: &Batch,
        sample_seeds: &[u64],
    ) -> RunError {
        let failed = FailedStep {
            step: trainee.progress.step + 1,
            what,
            batch,
            sample_seeds,
            parameters: trainee.parameters(),
        };
        let path = self.file(&failed.file_name());
        match failed.write(&path, self) {
            Ok(()) => RunError::NotFinite {
                what,
                step: Some(failed.step),
                genes: batch.symbols.clone(),
                inputs: Some(path),
            },
            Err(error) => error,
        }
    }

    /// Scores all validation genes, keeps the network if it is the best so far, and saves the state.
    fn validate(
        &self,
        trainee: &mut Trainee,
        genes: &[usize],
        epoch: f64,
        records: &mut RecordFile,
        shown: &Progress,
    ) -> Result<(), RunError> {
        let step = trainee.progress.step;
        let config = PredictConfig {
            batch: self.config.batch,
            loader_threads: self.config.loader_threads,
        };
        let mut part = shown.part("validate", genes.len() as u64);
        let network = trainee.network.valid();
        let predictions = predict(
            &network,
            self.source,
            genes,
            config,
            &self.device.device,
            self.interrupt,
            &mut part,
        )
        .map_err(|error| match error {
            RunError::Interrupted { signal, .. } => RunError::Interrupted {
                signal,
                remedy: self.how_to_continue(step),
            },
            RunError::NotFinite {
                what,
                genes,
                inputs,
                ..
            } => RunError::NotFinite {
                what,
                step: Some(step),
                genes,
                inputs,
            },
            other => other,
        })?;
        let (mut predicted, mut observed) = (Vec::new(), Vec::new());
        for prediction in &predictions {
            let Some(value) = prediction.observed else {
                let symbol = self.source.gene(prediction.gene_index).symbol.clone();
                return Err(RunError::NoTarget { symbol });
            };
            predicted.push(f64::from(prediction.predicted));
            observed.push(f64::from(value));
        }
        let score = |metric: Metric| metric.score(&predicted, &observed);
        let (Some(mse), Some(mae)) = (score(Metric::Mse), score(Metric::Mae)) else {
            return Err(RunError::EmptySplit {
                split: Split::Valid,
            });
        };
        let validated = Best { step, mse };
        let settled_step = self.config.settled_step();
        let best = trainee.progress.best;
        let is_best = best.is_none_or(|best| best.gives_way_to(validated, settled_step));
        let record = ValidationRecord {
            step,
            epoch,
            mse,
            mae,
            pearson: score(Metric::Pearson),
            spearman: score(Metric::Spearman),
            mask_ratio: mean_mask_ratio(&predictions),
            is_best,
        };
        if is_best {
            trainee.progress.best = Some(validated);
            checkpoint::save(
                &self.file(BEST_FILE),
                &network,
                &self.meta_at(step, Some(&record)),
            )?;
        }
        records.append(&Record::Validation(record))?;
        trainee.progress.is_validation_pending = false;
        self.save(trainee)?;
        let pearson = record
            .pearson
            .map_or("undefined".to_string(), |value| format!("{value:.3}"));
        let mark = if is_best { ", best so far" } else { "" };
        shown.note(&format!(
            "step {step}: validation mse {mse:.4}, pearson {pearson}{mark}"
        ));
        Ok(())
    }

    fn meta_at(&self, step: u64, validation: Option<&ValidationRecord>) -> CheckpointMeta {
        let mut meta = CheckpointMeta {
            step,
            ..self.meta.clone()
        };
        if let Some(record) = validation {
            let figures = [
                ("validation_mse", Some(record.mse)),
                ("validation_mae", Some(record.mae)),
                ("validation_pearson", record.pearson),
                ("validation_spearman", record.spearman),
            ];
            meta.metrics
                .extend(figures.map(|(name, value)| (name.to_string(), json!(value))));
        }
        meta
    }

    /// Writes the state first: whatever happens then, the run can continue.
    fn save(&self, trainee: &Trainee) -> Result<(), RunError> {
        let state = TrainState {
            progress: trainee.progress,
            parameters: trainee.parameters(),
            moments: trainee.optimizer.moments().to_vec(),
        };
        state.write(&self.file(STATE_FILE), &self.identity()?)?;
        let meta = self.meta_at(trainee.progress.step, None);
        Ok(checkpoint::save(
            &self.file(LAST_FILE),
            &trainee.network,
            &meta,
        )?)
    }
}
