//! Running the cells of a plan: several at a time, each in processes of its own, none stopped by another's failure.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use dataset::{DataConfig, read_manifest};

use super::cell_process::{CellProcess, Ended};
use super::cell_record::CellRecord;
use super::outcome::{is_finished, network_digest};
use super::random_mask::{share_outside, write_blocks};
use super::{Cell, CellOutcome, CellWork, Plan};
use crate::device::DeviceChoice;
use crate::error::RunError;
use crate::experiment::{
    ChangedInputs, DATA_FOLDER, is_trained, open_folder, prepare_data, settings_changed_since,
};
use crate::interrupt::Interrupt;
use crate::prepared_inputs::{INPUTS_FILE, changed_inputs, is_made_of};
use crate::progress::ProgressMode;
use crate::run_folder::{CONFIG_FILE, Existing};

/// How the cells are run; no result depends on it.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Cells at a time.
    pub n_jobs: usize,
    /// Threads of each cell.
    pub n_threads: usize,
    /// Where networks run.
    pub device: DeviceChoice,
    /// The program that runs a cell: this one.
    pub program: PathBuf,
}

/// What became of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum CellState {
    /// It is finished; this many seconds of running, over all attempts.
    Finished {
        /// Seconds, none for a cell that was run by hand.
        seconds: Option<f64>,
    },
    /// It failed, with the reason.
    Failed(String),
    /// It was not reached, or stopped in the middle; the same command goes on with it.
    Unfinished,
}

/// File of the messages of a cell's processes.
const LOG_FILE: &str = "log.txt";

/// Runs every cell of the plan that is not finished, in the plan's order as far as cells need each other.
///
/// Each cell's folder becomes an ordinary run's. One that was interrupted goes on from its checkpoint; one that failed is
/// tried again. The states are in the order of the cells.
///
/// # Errors
/// [`RunError::FolderInUse`] when another process runs this benchmark; [`RunError::Io`] when its folder cannot be made.
pub fn run_cells(
    plan: &Plan,
    folder: &Path,
    options: &RunnerOptions,
    interrupt: &Interrupt,
) -> Result<Vec<CellState>, RunError> {
    std::fs::create_dir_all(folder).map_err(|source| RunError::Io {
        path: folder.to_path_buf(),
        source,
    })?;
    let _lock = crate::run_folder::lock(folder)?;
    find_moved_data(plan, folder);
    let runner = Runner {
        plan,
        folder,
        options,
        interrupt,
        places: Mutex::new(vec![Place::Waiting; plan.cells.len()]),
        changed: Condvar::new(),
        data: Mutex::default(),
    };
    std::thread::scope(|scope| {
        // This thread works too: where the system refuses more of them, fewer cells run at a time.
        for _ in 1..options.n_jobs.min(plan.cells.len()) {
            let started = std::thread::Builder::new().spawn_scoped(scope, || runner.work());
            if let Err(error) = started {
                eprintln!("note     fewer cells at a time than --jobs says: {error}");
                break;
            }
        }
        runner.work();
    });
    let places = runner.places.into_inner();
    let places = places.unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(places.into_iter().map(Place::state).collect())
}

/// The states of the cells as their folders tell them, without running any. A cell that was run with other settings has
/// failed.
pub fn cell_states(plan: &Plan, folder: &Path) -> Vec<CellState> {
    let state = |cell: &Cell| {
        let compared =
            compare_settings(cell, folder).and_then(|()| compare_network(plan, cell, folder));
        if let Err(error) = compared {
            return CellState::Failed(error.to_string());
        }
        let folder = cell.folder(folder);
        let record = CellRecord::read(&folder);
        match (is_finished(&folder), record) {
            (true, record) => CellState::Finished {
                seconds: record.map(|record| record.seconds),
            },
            (
                false,
                Some(CellRecord {
                    error: Some(error), ..
                }),
            ) => CellState::Failed(error),
            (false, _) => CellState::Unfinished,
        }
    };
    plan.cells.iter().map(state).collect()
}

/// Where a cell is on its way.
#[derive(Debug, Clone)]
enum Place {
    Waiting,
    Running,
    Done(CellState),
}

impl Place {
    fn state(self) -> CellState {
        match self {
            Self::Done(state) => state,
            Self::Waiting | Self::Running => CellState::Unfinished,
        }
    }
}

struct Runner<'a> {
    plan: &'a Plan,
    folder: &'a Path,
    options: &'a RunnerOptions,
    interrupt: &'a Interrupt,
    places: Mutex<Vec<Place>>,
    /// Told whenever a cell is done.
    changed: Condvar,
    /// One lock for each prepared data set, so that it is written once.
    data: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
}

/// What a worker does next.
enum Next {
    Run(usize),
    Wait,
    Stop,
}

/// The value behind a lock; a worker that panicked held no half-made value.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Runner<'_> {
    /// Takes one cell after the other until none is left.
    fn work(&self) {
        loop {
            let mut places = held(&self.places);
            match self.next(&mut places) {
                Next::Stop => return,
                Next::Wait => {
                    // A signal does not wake us, so we look again soon.
                    let pause = Duration::from_millis(200);
                    drop(self.changed.wait_timeout(places, pause));
                }
                Next::Run(index) => {
                    places[index] = Place::Running;
                    drop(places);
                    let was_finished = is_finished(&self.plan.cells[index].folder(self.folder));
                    let state = self.run_cell(&self.plan.cells[index]);
                    self.settle(&mut held(&self.places), index, state, was_finished);
                    self.changed.notify_all();
                }
            }
        }
    }

    /// Chooses the next cell; those that need a failed one are marked as failed.
    fn next(&self, places: &mut [Place]) -> Next {
        if self.interrupt.requested().is_some() {
            return Next::Stop;
        }
        let mut is_waiting = false;
        for index in 0..places.len() {
            if !matches!(places[index], Place::Waiting) {
                continue;
            }
            let Some(needed) = self.plan.cells[index].needs() else {
                return Next::Run(index);
            };
            match &places[needed] {
                Place::Done(CellState::Finished { .. }) => return Next::Run(index),
                Place::Done(CellState::Failed(_)) => {
                    let label = self.plan.cells[needed].label();
                    let state = CellState::Failed(format!("needs {label}, which failed"));
                    self.settle(places, index, state, false);
                }
                Place::Done(CellState::Unfinished) => {
                    places[index] = Place::Done(CellState::Unfinished);
                }
                Place::Waiting | Place::Running => is_waiting = true,
            }
        }
        match is_waiting {
            true => Next::Wait,
            false => Next::Stop,
        }
    }

    /// Notes what became of a cell, and says it.
    fn settle(&self, places: &mut [Place], index: usize, state: CellState, was_finished: bool) {
        let what = match &state {
            CellState::Finished {
                seconds: Some(seconds),
            } if !was_finished => format!("finished, {seconds:.0} s"),
            CellState::Finished { .. } => "finished before".to_string(),
            CellState::Failed(reason) => format!("FAILED: {reason}"),
            CellState::Unfinished => "stopped".to_string(),
        };
        places[index] = Place::Done(state);
        let is_done = |place: &&Place| matches!(place, Place::Done(_));
        let n_done = places.iter().filter(is_done).count();
        let label = self.plan.cells[index].label();
        eprintln!("[{n_done}/{}] {label}: {what}", self.plan.cells.len());
    }

    fn run_cell(&self, cell: &Cell) -> CellState {
        let folder = cell.folder(self.folder);
        let started = Instant::now();
        let before = CellRecord::read(&folder);
        // The settings in the folder are compared with the cell's even when it is finished.
        let config = cell.config_in(self.folder);
        if let Err(error) = open_folder(&config, &folder, Existing::Continue) {
            let error = match error {
                RunError::OtherConfig { differences, .. } => RunError::CellOfOtherSettings {
                    path: folder,
                    differences,
                },
                other => other,
            };
            return CellState::Failed(error.to_string());
        }
        let is_finished = is_finished(&folder);
        let mut compared = compare_network(self.plan, cell, self.folder);
        if is_finished || is_trained(&folder, &cell.config.seeds) {
            compared = compared.and_then(|()| self.compare_inputs(cell, &folder));
        }
        if let Err(error) = compared {
            return CellState::Failed(error.to_string());
        }
        if is_finished {
            return CellState::Finished {
                seconds: before.map(|record| record.seconds),
            };
        }
        let mut record = CellRecord {
            attempts: before.as_ref().map_or(0, |before| before.attempts) + 1,
            seconds: before.map_or(0.0, |before| before.seconds),
            network: self
                .plan
                .needed_by(cell)
                .and_then(|needed| network_digest(&needed.folder(self.folder))),
            error: None,
        };
        // Before anything is made of that network, should this process be killed.
        record.write(&folder);
        let ended = self
            .make_mask(cell, &folder)
            .and_then(|()| self.prepare(cell, &folder))
            .and_then(|()| self.process(cell, &folder));
        record.seconds += started.elapsed().as_secs_f64();
        if let Err(Ended::Failed(reason)) = &ended {
            record.error = Some(reason.clone());
        }
        record.write(&folder);
        match ended {
            Ok(()) => CellState::Finished {
                seconds: Some(record.seconds),
            },
            Err(Ended::Failed(reason)) => CellState::Failed(reason),
            Err(Ended::Stopped) => CellState::Unfinished,
        }
    }

    /// Writes the regions of a random mask, unless they are there.
    fn make_mask(&self, cell: &Cell, folder: &Path) -> Result<(), Ended> {
        let CellWork::TrainUnderRandom { like } = cell.work else {
            return Ok(());
        };
        let path = folder.join(Cell::MASK_FILE);
        if path.exists() {
            return Ok(());
        }
        let other = CellOutcome::read(&self.plan.cells[like], self.folder);
        let other = other.map_err(|error| Ended::Failed(error.to_string()))?;
        let ratio = other
            .and_then(|outcome| outcome.mask_ratio)
            .ok_or_else(|| Ended::Failed("the network to compare with has no mask".to_string()))?;
        let data = &cell.config.data;
        let share = share_outside(ratio, data.promoter, data.length);
        write_blocks(&path, &data.genome, share, cell.seed)
            .map_err(|error| Ended::Failed(error.to_string()))
    }

    /// Compares the input files with the data set that the cell's networks or results are of.
    ///
    /// # Errors
    /// [`RunError::InputsChanged`].
    fn compare_inputs(&self, cell: &Cell, folder: &Path) -> Result<(), RunError> {
        let path = folder.join(DATA_FOLDER);
        // What is missing or damaged there, the cell's own process says.
        let Ok(manifest) = read_manifest(&path) else {
            return Ok(());
        };
        let data = cell.config_in(self.folder).data;
        let changes = changed_inputs(&path, &manifest.description, &data);
        match changes.is_empty() {
            true => Ok(()),
            false => Err(RunError::InputsChanged {
                path: folder.to_path_buf(),
                changes,
            }),
        }
    }

    /// Makes the cell's prepared data set, or links that of another cell with the same `[data]`.
    fn prepare(&self, cell: &Cell, folder: &Path) -> Result<(), Ended> {
        let data_folder = cell.data_folder(self.folder);
        let lock = Arc::clone(held(&self.data).entry(data_folder.clone()).or_default());
        let _guard = held(&lock);
        let prepared = prepare_data(
            &cell.config_in(self.folder).data,
            &data_folder,
            ChangedInputs::PrepareAnew,
            self.interrupt,
            ProgressMode::Lines,
        );
        match prepared {
            Ok(_) => {}
            Err(RunError::Interrupted { .. }) => return Err(Ended::Stopped),
            Err(error) => return Err(Ended::Failed(error.to_string())),
        }
        let own = folder.join(DATA_FOLDER);
        let failed = |error: std::io::Error| Ended::Failed(format!("{}: {error}", own.display()));
        std::fs::create_dir_all(&own).map_err(failed)?;
        let manifest = |folder: &Path| std::fs::read(folder.join(dataset::MANIFEST_FILE_NAME)).ok();
        let has_data = own.join(dataset::DATA_FILE_NAME).exists();
        if has_data && manifest(&own) == manifest(&data_folder) {
            return Ok(());
        }
        // The manifest makes a data set complete, so an old one goes first and the new one comes last.
        let names = [
            dataset::MANIFEST_FILE_NAME,
            dataset::DATA_FILE_NAME,
            INPUTS_FILE,
        ];
        for name in names {
            match std::fs::remove_file(own.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(error));
                }
                _ => {}
            }
        }
        for name in names.into_iter().rev() {
            let file = data_folder.join(name);
            // What the comparison of inputs goes by may be missing.
            if name != INPUTS_FILE || file.exists() {
                std::fs::hard_link(file, own.join(name)).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn process(&self, cell: &Cell, folder: &Path) -> Result<(), Ended> {
        let config = folder.join(CONFIG_FILE);
        let text = |path: &Path| path.display().to_string();
        let evaluate = vec!["evaluate".to_string(), text(folder)];
        let commands = match cell.work {
            CellWork::Train
            | CellWork::TrainUnderRandom { .. }
            | CellWork::TrainOnGenerator { .. } => {
                let train = ["train".to_string(), text(&config), "--resume".to_string()];
                let output = ["--output".to_string(), text(folder)];
                vec![train.into_iter().chain(output).collect(), evaluate]
            }
            CellWork::EvaluateNetworkOf(other) => {
                let network = self.plan.cells[other].folder(self.folder);
                let mut evaluate = vec!["evaluate".to_string(), text(&network)];
                evaluate.extend(["--on".to_string(), text(&config)]);
                evaluate.extend(["--output".to_string(), text(folder)]);
                vec![evaluate]
            }
        };
        for mut arguments in commands {
            arguments.extend(["--device".to_string(), self.options.device.to_string()]);
            arguments.extend(["--threads".to_string(), self.options.n_threads.to_string()]);
            arguments.push("--stop-with-stdin".to_string());
            CellProcess {
                program: &self.options.program,
                arguments,
                log: folder.join(LOG_FILE),
                interrupt: self.interrupt,
            }
            .run()?;
        }
        Ok(())
    }
}

/// Gives the shared data sets of a benchmark that was moved or copied the names that they have at its new place.
///
/// Their names follow from where the input files lie. What is not found here is prepared anew.
fn find_moved_data(plan: &Plan, folder: &Path) {
    let wanted: BTreeMap<PathBuf, DataConfig> = plan
        .cells
        .iter()
        .map(|cell| (cell.data_folder(folder), cell.config_in(folder).data))
        .collect();
    let Ok(entries) = std::fs::read_dir(Cell::data_sets(folder)) else {
        return;
    };
    let is_unclaimed = |path: &PathBuf| !wanted.contains_key(path);
    for path in entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(is_unclaimed)
    {
        let Ok(manifest) = read_manifest(&path) else {
            continue;
        };
        let is_here = |(new, data): &(&PathBuf, &DataConfig)| {
            !new.exists() && is_made_of(&path, &manifest.description, data)
        };
        if let Some((new, _)) = wanted.iter().find(is_here) {
            // One that cannot be renamed stays, and is prepared anew.
            let _ = std::fs::rename(&path, new);
        }
    }
}

/// Compares the settings in the folder of a cell, if it has any, with those that the cell has now.
///
/// # Errors
/// [`RunError::CellOfOtherSettings`]; as [`settings_changed_since`].
fn compare_settings(cell: &Cell, benchmark: &Path) -> Result<(), RunError> {
    let path = cell.folder(benchmark);
    let differences = settings_changed_since(&cell.config_in(benchmark), &path)?;
    match differences.is_empty() {
        true => Ok(()),
        false => Err(RunError::CellOfOtherSettings { path, differences }),
    }
}

/// Compares the network that a cell was made of, or has begun with, with the one that the cell it needs has now.
///
/// # Errors
/// [`RunError::CellOfOtherNetwork`].
fn compare_network(plan: &Plan, cell: &Cell, benchmark: &Path) -> Result<(), RunError> {
    let path = cell.folder(benchmark);
    let is_begun = is_finished(&path)
        || is_trained(&path, &cell.config.seeds)
        || path.join(Cell::MASK_FILE).exists();
    let Some(needed) = plan.needed_by(cell).filter(|_| is_begun) else {
        return Ok(());
    };
    let was = CellRecord::read(&path).and_then(|record| record.network);
    // Nothing is known of a cell of an earlier version, nor of a network that is not there.
    match was.zip(network_digest(&needed.folder(benchmark))) {
        Some((was, is)) if was != is => Err(RunError::CellOfOtherNetwork {
            path,
            needed: needed.label(),
        }),
        _ => Ok(()),
    }
}
