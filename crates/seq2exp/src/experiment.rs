//! One experiment in its output folder: from files to elements, step by step.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use dataset::{
    ContactSource, DataConfig, DatasetError, ExampleReader, ExampleSource, PreparedReader,
    write_prepared,
};
use genome::{ChromSizes, Reference};
use model::checkpoint::{self, CheckpointMeta};

use crate::allocator::keep_freed_memory;
use crate::config::{ExperimentConfig, folder_of};
use crate::device::OpenDevice;
use crate::discover::Provenance;
use crate::error::RunError;
use crate::interrupt::{Interrupt, Signal};
use crate::prepared_inputs::{InputStamps, changed_inputs};
use crate::progress::{Progress, ProgressMode};
use crate::run_folder::{CONFIG_FILE, Existing, RunFolder, differing_settings};
use crate::train::{BEST_FILE, STATE_FILE, TrainConfig, TrainRun, TrainSummary, numerics};
use crate::trained_networks::{TrainedNetworks, best_file};

/// The folder of the prepared data set, inside the output folder.
pub const DATA_FOLDER: &str = "data";

/// Whether a run may go on in a folder that already holds trained networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Go on where it stopped.
    Yes,
    /// Refuse, so that nothing is lost.
    No,
}

/// How this process runs an experiment; no result depends on it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where tensors live.
    pub device: OpenDevice,
    /// Raised to stop after the current pass over a batch.
    pub interrupt: Interrupt,
    /// How progress is shown.
    pub progress: ProgressMode,
}

/// An experiment and its output folder, which belongs to this process until dropped.
#[derive(Debug)]
pub struct Experiment {
    config: ExperimentConfig,
    folder: RunFolder,
    machine: Machine,
    /// Whether the settings are those saved in the folder.
    is_reopened: bool,
    /// Set once the input files were compared with the prepared data set.
    compared: OnceLock<()>,
}

/// What happens to a prepared data set whose input files or settings are no longer those that it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangedInputs {
    /// It is written anew, with a note.
    PrepareAnew,
    /// It is an error: networks were trained on it.
    Refuse,
    /// It is used as it is, with a note: it is what the networks were trained on.
    Keep,
}

/// The folder of one seed's network, inside the output folder of its run.
pub(crate) fn seed_folder(run: &Path, seed: u64) -> PathBuf {
    run.join(format!("seed_{seed}"))
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "device {}, {} threads, {}",
            self.device.name,
            rayon::current_num_threads(),
            kernels::SimdLevel::detect().name()
        )
    }
}

impl Experiment {
    /// Opens `output` for an experiment, whose resolved settings are saved in it.
    ///
    /// # Errors
    /// As [`numerics`], [`OpenDevice::check_buffers`] and [`RunFolder::open`]; [`RunError::FolderOccupied`] when the folder
    /// already holds trained networks and `resume` is [`Resume::No`].
    pub fn open(
        config: ExperimentConfig,
        output: &Path,
        resume: Resume,
        machine: Machine,
    ) -> Result<Self, RunError> {
        Self::open_existing(config, output, resume, Existing::Continue, machine)
    }

    fn open_existing(
        config: ExperimentConfig,
        output: &Path,
        resume: Resume,
        existing: Existing,
        machine: Machine,
    ) -> Result<Self, RunError> {
        refuse_device(&config, &machine.device)?;
        machine.device.note_parts_without_kernel(&config.model);
        if machine.device.is_cpu() && !config.model.has_blocks() {
            keep_freed_memory();
        }
        let folder = open_folder(&config, output, existing)?;
        let experiment = Self {
            config,
            folder,
            machine,
            is_reopened: existing == Existing::Read,
            compared: OnceLock::new(),
        };
        let is_begun = |seed: &u64| experiment.seed_folder(*seed).join(STATE_FILE).exists();
        if resume == Resume::No && experiment.config.seeds.iter().any(is_begun) {
            return Err(RunError::FolderOccupied {
                path: output.to_path_buf(),
            });
        }
        Ok(experiment)
    }

    /// Opens the output folder of an earlier run with the settings saved in it; one that cannot be written to is read.
    ///
    /// # Errors
    /// [`RunError::NotARun`] for a folder without saved settings; as [`Experiment::open`].
    pub fn reopen(output: &Path, machine: Machine) -> Result<Self, RunError> {
        let config = read_config(output)?;
        Self::open_existing(config, output, Resume::Yes, Existing::Read, machine)
    }

    /// The resolved settings.
    pub fn config(&self) -> &ExperimentConfig {
        &self.config
    }

    /// The output folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether the output folder can be written to.
    pub fn is_writable(&self) -> bool {
        self.folder.is_writable()
    }

    /// How this process runs.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The folder of one seed's network.
    pub fn seed_folder(&self, seed: u64) -> PathBuf {
        seed_folder(self.path(), seed)
    }

    /// The folder of the prepared data set.
    pub fn data_folder(&self) -> PathBuf {
        self.folder.file(DATA_FOLDER)
    }

    /// Opens the prepared data set, which is written first when it is absent or incomplete, or when its input files have
    /// changed.
    ///
    /// # Errors
    /// What the input files cause, or a write that fails; [`RunError::InputsChanged`] when input files have changed and
    /// networks were trained on what they were.
    pub fn prepare(&self) -> Result<PreparedReader, RunError> {
        self.open_data(match self.is_trained() {
            true => ChangedInputs::Refuse,
            false => ChangedInputs::PrepareAnew,
        })
    }

    /// As [`prepare`](Self::prepare), to use networks that were trained: the data set is then used as it is, with a note when
    /// input files have changed since.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare), without [`RunError::InputsChanged`]; [`RunError::NotTrained`] and
    /// [`RunError::LostNetwork`] for an earlier run without its networks, before anything is prepared.
    pub fn prepared(&self) -> Result<PreparedReader, RunError> {
        if self.is_reopened {
            for &seed in &self.config.seeds {
                best_file(&self.seed_folder(seed))?;
            }
        }
        self.open_data(match self.is_trained() {
            true => ChangedInputs::Keep,
            false => ChangedInputs::PrepareAnew,
        })
    }

    fn open_data(&self, changed: ChangedInputs) -> Result<PreparedReader, RunError> {
        let folder = self.data_folder();
        let is_compared = self.compared.set(()).is_err();
        // Once for each process: its steps all use the same data set.
        if is_compared && folder.join(dataset::MANIFEST_FILE_NAME).exists() {
            return Ok(PreparedReader::open(&folder)?);
        }
        let Machine {
            interrupt,
            progress,
            ..
        } = &self.machine;
        prepare_data(&self.config.data, &folder, changed, interrupt, *progress)
            .map_err(|error| self.moved(error))
    }

    fn is_trained(&self) -> bool {
        is_trained(self.path(), &self.config.seeds)
    }

    /// Trains one network per seed, or continues where an earlier process stopped.
    ///
    /// # Errors
    /// As [`TrainRun::run`], and as [`Experiment::prepare`].
    pub fn train(&self) -> Result<Vec<TrainSummary>, RunError> {
        let prepared = self.prepare()?;
        let digest = prepared.manifest().description.digest();
        let source: Arc<dyn ExampleSource> = Arc::new(prepared);
        let train_seed = |&seed: &u64| {
            let folder = self.seed_folder(seed);
            std::fs::create_dir_all(&folder).map_err(|source| RunError::Io {
                path: folder.clone(),
                source,
            })?;
            let meta = CheckpointMeta {
                manifest_digest: Some(digest.clone()),
                seed,
                device: Some(self.machine.device.name.clone()),
                ..CheckpointMeta::new(self.config.model.clone())
            };
            TrainRun {
                config: &self.config.train,
                meta: &meta,
                source: &source,
                folder: &folder,
                device: &self.machine.device,
                interrupt: &self.machine.interrupt,
                progress: self.machine.progress,
            }
            .run()
        };
        self.config.seeds.iter().map(train_seed).collect()
    }

    /// Loads the best network of every seed.
    ///
    /// # Errors
    /// [`RunError::NotTrained`] when one is missing; [`RunError::OtherData`] when it was trained on other data;
    /// [`RunError::LostNetwork`], [`RunError::BadNetwork`] and [`RunError::OtherSeed`] when its file was lost, damaged
    /// or taken from another seed.
    pub fn networks(&self) -> Result<TrainedNetworks, RunError> {
        let data_digest = self.prepared()?.manifest().description.digest();
        let device = &self.machine.device.device;
        let networks = TrainedNetworks::load(&self.config, self.path(), |path| {
            let (network, meta) = checkpoint::load_for(path, &self.config.model, device)?;
            let trained_on = meta.manifest_digest.as_ref();
            match trained_on.is_some_and(|digest| *digest != data_digest) {
                true => Err(RunError::OtherData {
                    path: path.to_path_buf(),
                }),
                false => Ok((network, meta)),
            }
        })?;
        networks.note(self.machine.progress);
        Ok(networks)
    }

    /// The chromosomes of the genome, from the prepared data set, or from the genome's file for one of an earlier version
    /// that does not hold them.
    ///
    /// # Errors
    /// What the file causes.
    pub fn chrom_sizes(&self, prepared: &PreparedReader) -> Result<ChromSizes, RunError> {
        let sizes = &prepared.manifest().description.chrom_sizes;
        if !sizes.is_empty() {
            return Ok(ChromSizes::new(sizes.clone()));
        }
        let path = &self.config.data.genome;
        if !path.exists() {
            let missing = vec![("genome".to_string(), path.clone())];
            return Err(self.moved(DatasetError::MissingFiles { missing }.into()));
        }
        Ok(Reference::open(path)?.chrom_sizes().clone())
    }

    /// Says where the settings of an earlier run name files that are not there.
    pub(crate) fn moved(&self, error: RunError) -> RunError {
        match error {
            RunError::Dataset(source @ DatasetError::MissingFiles { .. }) if self.is_reopened => {
                RunError::MovedInputs {
                    config: self.folder.file(CONFIG_FILE),
                    source: Box::new(source),
                }
            }
            other => other,
        }
    }

    /// Where results of these networks come from, for the headers of output files.
    pub fn provenance(&self, networks: &TrainedNetworks, prepared: &PreparedReader) -> Provenance {
        let description = &prepared.manifest().description;
        let genome = description
            .sources
            .iter()
            .find(|source| source.role == "genome");
        Provenance {
            version: env!("CARGO_PKG_VERSION").to_string(),
            model_digest: networks.digest.clone(),
            genome_digest: genome
                .map(|source| source.sha256.clone())
                .unwrap_or_default(),
            data_digest: description.digest(),
            contact: match description.contact {
                ContactSource::Absent => "",
                ContactSource::Measured => "measured",
                ContactSource::PowerLaw => "power_law",
            }
            .to_string(),
            absent_tracks: description
                .absent
                .iter()
                .flat_map(|(track, chroms)| {
                    chroms.keys().map(move |chrom| format!("{track}:{chrom}"))
                })
                .collect(),
            seeds: self.config.seeds.clone(),
        }
    }
}

/// Refuses a device that cannot train an experiment: for its precision or storage, or because no buffer holds a window.
///
/// # Errors
/// [`RunError::Numerics`], or as [`OpenDevice::check_buffers`].
pub(crate) fn refuse_device(
    config: &ExperimentConfig,
    device: &OpenDevice,
) -> Result<(), RunError> {
    numerics(
        config.train.storage,
        config.train.precision,
        &config.model,
        device,
    )?;
    device.check_buffers(
        &config.model,
        config.data.length as usize,
        config.train.batch,
    )
}

/// Opens `output` for the run of an experiment, whose resolved settings are saved in it.
///
/// # Errors
/// As [`RunFolder::open`].
pub(crate) fn open_folder(
    config: &ExperimentConfig,
    output: &Path,
    existing: Existing,
) -> Result<RunFolder, RunError> {
    with_free_fields(|free| {
        RunFolder::open(output, &saved_settings(config, output)?, existing, free)
    })
}

/// The settings in which the run in `output` differs from an experiment; none when there is no run.
///
/// # Errors
/// As [`differing_settings`].
pub(crate) fn settings_changed_since(
    config: &ExperimentConfig,
    output: &Path,
) -> Result<Vec<String>, RunError> {
    with_free_fields(|free| differing_settings(output, &saved_settings(config, output)?, free))
}

/// Hands the settings that may differ between two processes of one run to `compare`.
fn with_free_fields<T>(compare: impl FnOnce(&[&str]) -> T) -> T {
    let free = TrainConfig::FREE_FIELDS.map(|field| format!("train.{field}"));
    compare(&free.each_ref().map(String::as_str))
}

/// The settings of an experiment as the folder of its run saves them.
fn saved_settings(config: &ExperimentConfig, output: &Path) -> Result<String, RunError> {
    let saved = ExperimentConfig {
        saved_in: Some(folder_of(&output.join(CONFIG_FILE))?),
        ..config.clone()
    };
    saved.to_toml()
}

/// Whether the training of one of these seeds has left a network or a state in the run at `folder`.
pub(crate) fn is_trained(folder: &Path, seeds: &[u64]) -> bool {
    let has = |seed: u64, file: &str| seed_folder(folder, seed).join(file).exists();
    seeds
        .iter()
        .any(|&seed| has(seed, STATE_FILE) || has(seed, BEST_FILE))
}

/// Opens the prepared data set in `folder`, which is written first when it is absent or incomplete.
///
/// # Errors
/// What the input files cause, or a write that fails; [`RunError::InputsChanged`] as `changed` says;
/// [`RunError::Interrupted`].
pub(crate) fn prepare_data(
    data: &DataConfig,
    folder: &Path,
    changed: ChangedInputs,
    interrupt: &Interrupt,
    mode: ProgressMode,
) -> Result<PreparedReader, RunError> {
    if folder.join(dataset::MANIFEST_FILE_NAME).exists() {
        let reader = PreparedReader::open(folder)?;
        let changes = changed_inputs(folder, &reader.manifest().description, data);
        if changes.is_empty() {
            return Ok(reader);
        }
        if changed == ChangedInputs::Refuse {
            return Err(RunError::InputsChanged {
                path: folder.parent().unwrap_or(folder).to_path_buf(),
                changes,
            });
        }
        let (done, is_kept) = match changed {
            ChangedInputs::Keep => ("the networks and their results are of what it was", true),
            _ => ("the data set is prepared anew", false),
        };
        if mode != ProgressMode::Silent {
            for change in &changes {
                eprintln!("note     {change}; {done}");
            }
        }
        if is_kept {
            return Ok(reader);
        }
    }
    let stamps = InputStamps::of(data);
    let reader = ExampleReader::open(data)?;
    if mode != ProgressMode::Silent {
        for conversion in reader.conversions() {
            eprintln!("{conversion}");
        }
    }
    let mut progress: Option<(Progress, usize)> = None;
    let mut advance = |n_done: usize, n_genes: usize| {
        let (progress, n_shown) = progress.get_or_insert_with(|| {
            let (total, done) = (n_genes as u64, n_done as u64);
            let progress = Progress::new(mode, "prepare", total, done);
            if n_done > 0 {
                progress.note(&format!("continuing at gene {n_done} of {n_genes}"));
            }
            (progress, n_done)
        });
        progress.advance((n_done - *n_shown) as u64, "");
        *n_shown = n_done;
        match interrupt.requested() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    };
    match write_prepared(&reader, folder, &mut advance) {
        Err(DatasetError::Stopped) => {
            return Err(RunError::Interrupted {
                signal: interrupt.requested().unwrap_or(Signal::Interrupt),
                remedy: "run the same command again; it continues".to_string(),
            });
        }
        written => stamps.save(folder, &written?.description),
    };
    Ok(PreparedReader::open(folder)?)
}

/// The settings saved in an output folder.
///
/// # Errors
/// [`RunError::NotARun`] for a folder without them; as [`ExperimentConfig::read`].
pub fn read_config(output: &Path) -> Result<ExperimentConfig, RunError> {
    let path = output.join(CONFIG_FILE);
    if !path.is_file() {
        return Err(RunError::NotARun {
            path: output.to_path_buf(),
        });
    }
    ExperimentConfig::read(&path, &[])
}
