//! The cells of a benchmark, with complete settings each.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use dataset::{DataConfig, FOLDS, SplitConfig};
use model::config::RetrainedConfig;
use model::{NetworkConfig, NetworkKind, NetworkSize};

use super::config::{BenchmarkConfig, DatasetEntry, Folds, ModelEntry, line_of};
use super::published::PublishedData;
use super::{Cell, CellWork};
use crate::config::{ExperimentConfig, folder_of, resolve_model, write_out_released};
use crate::error::RunError;

/// Cells, and how they are shown.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the benchmark.
    pub name: String,
    /// Every cell: by data set, then fold, seed and model.
    pub cells: Vec<Cell>,
    /// Names of the models in the order of the table.
    pub models: Vec<String>,
    /// The model that the others are compared with.
    pub reference: Option<String>,
    /// Data sets in the order of the table, and the published one that each is.
    pub datasets: Vec<(String, Option<PublishedData>)>,
    /// What was left out although nobody asked for that, and why.
    pub notes: Vec<String>,
}

/// The data set of a benchmark that declares none.
const ONLY_DATASET: &str = "data";

impl Plan {
    /// The cells of a benchmark file.
    ///
    /// # Errors
    /// As [`BenchmarkConfig::read`]; [`RunError::ConfigInvalid`] with every model and data set whose settings do not fit
    /// together, each with its line.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let (config, text) = BenchmarkConfig::read(path)?;
        Planner {
            config: &config,
            text: &text,
            path,
            problems: Vec::new(),
        }
        .plan()
    }

    /// The folder that results go to when none is given.
    pub fn default_output(&self) -> PathBuf {
        Path::new("out").join(&self.name)
    }

    /// The cell whose result `cell` needs, if it needs one.
    pub(super) fn needed_by(&self, cell: &Cell) -> Option<&Cell> {
        Some(&self.cells[cell.needs()?])
    }
}

struct Planner<'a> {
    config: &'a BenchmarkConfig,
    text: &'a str,
    path: &'a Path,
    problems: Vec<String>,
}

/// A model with the table of its experiment file.
struct Template<'a> {
    name: String,
    line: usize,
    entry: &'a ModelEntry,
    path: PathBuf,
    table: toml::Table,
}

/// A data set with its `[data]`, if it brings one.
struct Dataset<'a> {
    name: String,
    line: usize,
    entry: Option<&'a DatasetEntry>,
    data: Option<toml::Table>,
}

impl<'a> Planner<'a> {
    fn plan(mut self) -> Result<Plan, RunError> {
        let templates = self.templates()?;
        let datasets = self.datasets()?;
        let mut cells = Vec::new();
        for dataset in &datasets {
            let mut of_dataset = Vec::new();
            for template in &templates {
                match self.cells_of(dataset, template) {
                    Ok(found) => of_dataset.extend(found),
                    Err(problems) => self.problems.extend(problems),
                }
            }
            // All models of one fold and seed come before the next seed: a table of few seeds is there early.
            of_dataset.sort_by_key(|cell: &(usize, Cell)| (cell.1.fold, cell.0));
            cells.extend(of_dataset.into_iter().map(|(_, cell)| cell));
        }
        self.connect_generators(&templates, &mut cells);
        let models: Vec<String> = templates
            .iter()
            .map(|template| template.name.clone())
            .collect();
        let reference = self.reference(&models);
        if !self.problems.is_empty() {
            return Err(self.invalid(self.problems.clone()));
        }
        Ok(Plan {
            name: self.config.name.clone(),
            cells,
            models,
            reference,
            datasets: datasets
                .into_iter()
                .map(|dataset| {
                    let published = dataset.entry.and_then(|entry| entry.published);
                    (dataset.name, published)
                })
                .collect(),
            notes: Vec::new(),
        })
    }

    /// Lets every retrained model wait for the cell that trains its generator: of the same data set, fold and seed.
    fn connect_generators(&mut self, templates: &[Template<'_>], cells: &mut [Cell]) {
        let soft = NetworkKind::Seq2ExpSoft.name();
        for template in templates {
            let given = template.entry.generator_of.as_deref();
            let wanted = given.unwrap_or(soft);
            let takes = |cell: &Cell| {
                cell.model == template.name
                    && matches!(cell.config.model, NetworkConfig::Retrained(_))
            };
            if given.is_some() && !cells.iter().any(takes) {
                self.problems.push(format!(
                    "line {}: model {:?} has generator_of, but is no {}",
                    template.line,
                    template.name,
                    NetworkKind::Seq2ExpRetrain.name()
                ));
            }
            for index in (0..cells.len())
                .filter(|&index| takes(&cells[index]))
                .collect::<Vec<_>>()
            {
                let cell = &cells[index];
                let of = cells.iter().position(|other| {
                    other.model == wanted
                        && (&other.dataset, other.fold, other.seed)
                            == (&cell.dataset, cell.fold, cell.seed)
                });
                match of {
                    Some(of) => {
                        let folder = cells[of].folder(Path::new(""));
                        cells[index].work = CellWork::TrainOnGenerator { of, folder };
                    }
                    None if given.is_some() => self.problems.push(format!(
                        "line {}: no cell trains the generator {wanted:?} of {}",
                        template.line,
                        cell.label()
                    )),
                    None if takes_absent_default(&cell.config.model) => {
                        self.problems.push(format!(
                            "line {}: model {:?} takes the generator of a trained {soft}, and none is named; add that model, name \
                             one with generator_of, or set model.generator",
                            template.line, template.name
                        ));
                        break;
                    }
                    None => {}
                }
            }
        }
    }

    fn invalid(&self, problems: Vec<String>) -> RunError {
        RunError::ConfigInvalid {
            path: self.path.to_path_buf(),
            problems,
        }
    }

    fn reference(&mut self, models: &[String]) -> Option<String> {
        match &self.config.reference {
            Some(name) if !models.contains(name) => {
                self.problems.push(format!(
                    "reference {name:?} is no model; there are {}",
                    models.join(", ")
                ));
                None
            }
            Some(name) => Some(name.clone()),
            None => {
                let soft = NetworkKind::Seq2ExpSoft.name();
                models.iter().find(|model| *model == soft).cloned()
            }
        }
    }

    fn templates(&mut self) -> Result<Vec<Template<'a>>, RunError> {
        let folder = folder_of(self.path)?;
        let mut templates = Vec::new();
        let mut names = HashSet::new();
        for spanned in &self.config.models {
            let (line, entry) = (line_of(self.text, spanned.span().start), spanned.get_ref());
            let Some(file) = entry.config.as_ref().or(self.config.base.as_ref()) else {
                continue;
            };
            let path = folder.join(file);
            let mut table = ExperimentConfig::read_table(&path)?;
            resolve_model(&mut table, &folder_of(&path)?);
            let written = table.get("name").and_then(toml::Value::as_str);
            let name = match (&entry.name, entry.kind) {
                (Some(name), _) => name.clone(),
                (None, Some(kind)) => kind.name().to_string(),
                (None, None) => written.unwrap_or_default().to_string(),
            };
            if !names.insert(name.clone()) {
                self.problems.push(format!(
                    "line {line}: two models are called {name:?}; give one of them another name"
                ));
            }
            templates.push(Template {
                name,
                line,
                entry,
                path,
                table,
            });
        }
        Ok(templates)
    }

    fn datasets(&mut self) -> Result<Vec<Dataset<'a>>, RunError> {
        let folder = folder_of(self.path)?;
        let mut datasets = Vec::new();
        let mut names = HashSet::new();
        for spanned in &self.config.datasets {
            let (line, entry) = (line_of(self.text, spanned.span().start), spanned.get_ref());
            if !names.insert(&entry.name) {
                self.problems.push(format!(
                    "line {line}: two data sets are called {:?}",
                    entry.name
                ));
            }
            let data = match (&entry.config, &entry.data) {
                (Some(file), _) => {
                    let path = folder.join(file);
                    let table = ExperimentConfig::read_table(&path)?;
                    data_of(&table).map(|data| absolute(data, &path))
                }
                (None, Some(data)) => Some(absolute(data.clone(), self.path)),
                (None, None) => None,
            };
            let data = match data.transpose() {
                Ok(data) => data,
                Err(problem) => {
                    self.problems
                        .push(format!("line {line}: data set {:?}: {problem}", entry.name));
                    continue;
                }
            };
            datasets.push(Dataset {
                name: entry.name.clone(),
                line,
                entry: Some(entry),
                data,
            });
        }
        if self.config.datasets.is_empty() {
            datasets.push(Dataset {
                name: ONLY_DATASET.to_string(),
                line: 1,
                entry: None,
                data: None,
            });
        }
        Ok(datasets)
    }

    /// The cells of one model on one data set, each with the place of its seed; or every problem, with its line.
    fn cells_of(
        &self,
        dataset: &Dataset<'_>,
        template: &Template<'_>,
    ) -> Result<Vec<(usize, Cell)>, Vec<String>> {
        let place = |problem: String| {
            format!(
                "line {}: model {:?} on data set {:?} (line {}): {problem}",
                template.line, template.name, dataset.name, dataset.line
            )
        };
        let config = self
            .experiment(dataset, template)
            .map_err(|problems| problems.into_iter().map(place).collect::<Vec<_>>())?;
        let folds = folds_of(self.config.folds.as_ref(), &config.data.split)
            .map_err(|problem| vec![place(problem)])?;
        let mut cells = Vec::new();
        for fold in folds {
            let mut config = config.clone();
            if let Some(fold) = fold {
                set_fold(&mut config.data.split, fold);
            }
            let problems = config.validate();
            if !problems.is_empty() {
                return Err(problems.into_iter().map(place).collect());
            }
            let seeds = config.seeds.clone();
            for (index, seed) in seeds.into_iter().enumerate() {
                let config = ExperimentConfig {
                    name: template.name.clone(),
                    seeds: vec![seed],
                    ..config.clone()
                };
                let cell = Cell {
                    dataset: dataset.name.clone(),
                    fold,
                    model: template.name.clone(),
                    seed,
                    config,
                    work: CellWork::Train,
                };
                cells.push((index, cell));
            }
        }
        Ok(cells)
    }

    /// The settings of one model on one data set, with all seeds and the data's own split.
    fn experiment(
        &self,
        dataset: &Dataset<'_>,
        template: &Template<'_>,
    ) -> Result<ExperimentConfig, Vec<String>> {
        let mut table = template.table.clone();
        let own = data_of(&table).unwrap_or_default();
        let mut data = absolute(own, &template.path).map_err(|problem| vec![problem])?;
        if let Some(given) = &dataset.data {
            let mut given = given.clone();
            let raw = dataset.entry.and_then(|entry| entry.data.as_ref());
            for key in ["length", "promoter"] {
                // What a data set does not write is a default there, which an experiment's own value goes before.
                let is_given = raw.is_none_or(|raw| raw.contains_key(key));
                if let Some(own) = data.get(key).filter(|_| !is_given) {
                    given.insert(key.to_string(), own.clone());
                }
            }
            data = given;
        }
        table.insert("data".into(), toml::Value::Table(data));
        if template.entry.kind.is_some() {
            table.insert("model".into(), toml::Value::Table(toml::Table::new()));
        }
        merge(&mut table, &self.config.set);
        if let Some(entry) = dataset.entry {
            merge(&mut table, &entry.set);
        }
        merge(&mut table, &template.entry.set);
        if let Some(kind) = template.entry.kind {
            let number = |key: &str, default: i64| {
                let found = table["data"].get(key).and_then(toml::Value::as_integer);
                found.unwrap_or(default) as usize
            };
            let size = [number("length", 200_000), number("promoter", 2_000)];
            let preset = self.preset(kind, size)?;
            let overrides = table.remove("model");
            table.insert("model".into(), toml::Value::Table(preset));
            if let Some(toml::Value::Table(model)) = overrides {
                merge(
                    &mut table,
                    &toml::Table::from_iter([("model".into(), toml::Value::Table(model))]),
                );
            }
        }
        if let Some(seeds) = &self.config.seeds {
            let seeds = seeds.iter().map(|&seed| toml::Value::Integer(seed as i64));
            table.insert("seeds".into(), toml::Value::Array(seeds.collect()));
        }
        let mut config = ExperimentConfig::from_table(table, self.path, &[])
            .map_err(|error| vec![without_path(&error, self.path)])?;
        let length = config.data.length as usize;
        if config.model.window_problem(length).is_some() {
            config.model = config.model.with_length(length);
        }
        // What only another model reads is not opened for this one, so that a missing file fails no other cell.
        if !config.model.needs_peaks() {
            config.data.peaks.clear();
        }
        if !config.model.needs_candidates() {
            config.data.candidates = None;
        }
        Ok(config)
    }

    /// `[model]` of a kind for windows of this length and promoter; the tracks follow from the data.
    fn preset(
        &self,
        kind: NetworkKind,
        [length, promoter]: [usize; 2],
    ) -> Result<toml::Table, Vec<String>> {
        let preset = match self.config.size {
            Some(size) => kind.preset().with_size(NetworkSize {
                d_model: size.d_model,
                n_layer: size.n_layer,
                promoter,
                length,
            }),
            None => kind.preset().with_length(length).with_promoter(promoter),
        };
        let mut table = toml::Table::try_from(&preset).map_err(|error| vec![error.to_string()])?;
        // What is not written is taken from the data set's tracks.
        table.remove("n_tracks");
        // The default is a folder of the current one, not of this file.
        table.remove("generator");
        if let Some(toml::Value::Table(mask)) = table.get_mut("mask") {
            mask.remove("track_beta");
            mask.remove("track_weight");
        }
        Ok(table)
    }
}

/// Whether the generator is the one that is taken when none is named, which is not there.
fn takes_absent_default(model: &NetworkConfig) -> bool {
    let NetworkConfig::Retrained(fields) = model else {
        return false;
    };
    let default = std::path::absolute(RetrainedConfig::published().generator);
    default.is_ok_and(|default| default == fields.generator && !default.exists())
}

fn data_of(table: &toml::Table) -> Option<toml::Table> {
    table.get("data")?.as_table().cloned()
}

/// `[data]` with every file named by its absolute path; relative ones belong to the folder of `path`.
fn absolute(data: toml::Table, path: &Path) -> Result<toml::Table, String> {
    let mut table = toml::Table::from_iter([("data".to_string(), toml::Value::Table(data))]);
    write_out_released(&mut table).map_err(|problems| problems.join("; "))?;
    let data = data_of(&table).unwrap_or_default();
    let data: DataConfig = data
        .try_into()
        .map_err(|error: toml::de::Error| format!("[data] {}", error.message()))?;
    let folder = folder_of(path).map_err(|error| error.to_string())?;
    toml::Table::try_from(data.resolve(&folder)).map_err(|error| error.to_string())
}

/// An error's message without the benchmark file's name, which the list of problems begins with.
fn without_path(error: &RunError, path: &Path) -> String {
    let text = error.to_string();
    let prefix = format!("{}: ", path.display());
    text.strip_prefix(&prefix).unwrap_or(&text).to_string()
}

/// Puts `changes` into `table`: tables are merged, every other value is replaced, and so is a table whose kind changes.
fn merge(table: &mut toml::Table, changes: &toml::Table) {
    let says_kind = |table: &toml::Table| ["by", "kind"].iter().any(|tag| table.contains_key(*tag));
    for (key, value) in changes {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(changes))
                if !says_kind(changes) =>
            {
                merge(inner, changes);
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// The folds to run; one that is none when the split is used as it is.
fn folds_of(folds: Option<&Folds>, split: &SplitConfig) -> Result<Vec<Option<usize>>, String> {
    let Some(folds) = folds else {
        return Ok(vec![None]);
    };
    let n_folds = match split {
        SplitConfig::Fold { .. } => FOLDS.len(),
        SplitConfig::Blocks { n_blocks, .. } => *n_blocks,
        SplitConfig::Table { column, .. } if column.starts_with(FOLD_COLUMN) => FOLDS.len(),
        _ => {
            return Err(
                "folds are given, but the split has none; split by fold, by blocks, or by a table with columns fold_1, \
                 fold_2, …"
                    .to_string(),
            );
        }
    };
    match folds {
        Folds::All(_) => Ok((1..=n_folds).map(Some).collect()),
        Folds::Listed(listed) => match listed.iter().find(|fold| !(1..=n_folds).contains(*fold)) {
            Some(fold) => Err(format!("folds names {fold}; it must be 1 to {n_folds}")),
            None => Ok(listed.iter().copied().map(Some).collect()),
        },
    }
}

/// Beginning of the columns of a table of folds.
const FOLD_COLUMN: &str = "fold_";

/// Makes a split that has folds test another one.
fn set_fold(split: &mut SplitConfig, wanted: usize) {
    match split {
        SplitConfig::Fold { fold } => *fold = wanted,
        SplitConfig::Blocks {
            test_block,
            valid_block,
            ..
        } => {
            *test_block = wanted - 1;
            // The block after the test block.
            *valid_block = None;
        }
        SplitConfig::Table { column, .. } => *column = format!("{FOLD_COLUMN}{wanted}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
