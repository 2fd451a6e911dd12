//! The benchmark file: which models, data sets, seeds and folds.

use std::path::{Path, PathBuf};

use model::NetworkKind;
use serde::Deserialize;
use toml::Spanned;

use super::published::PublishedData;
use crate::config::{FOLDER_NAME, is_folder_name};
use crate::error::RunError;

/// One benchmark: every model is trained on every data set, fold and seed.
///
/// A cell's settings are those of its model's experiment file, in which a data set's `[data]` replaces the file's own
/// (but for `length` and `promoter`, unless the data set gives them), and in which `set` of the benchmark, of the data
/// set and of the model then change single settings, in this order. Paths are relative to the benchmark file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkConfig {
    /// Name of the benchmark; the default output folder is `out/<name>`.
    pub name: String,
    /// Experiment file of every model that names none itself. Default: none.
    #[serde(default)]
    pub base: Option<PathBuf>,
    /// One network per seed. Default: the seeds of each model's experiment file.
    #[serde(default)]
    pub seeds: Option<Vec<u64>>,
    /// Folds to train and test on. Default: the split as each experiment has it.
    #[serde(default)]
    pub folds: Option<Folds>,
    /// The model that the others are compared with. Default: `seq2exp_soft`, when there is one of that name.
    #[serde(default)]
    pub reference: Option<String>,
    /// Size of every model that is given by its kind. Default: the published one.
    #[serde(default)]
    pub size: Option<TrialSize>,
    /// Settings of an experiment file that are changed for every cell.
    #[serde(default)]
    pub set: toml::Table,
    /// Data sets, such as cell types. Default: one, that of the experiment files.
    #[serde(default, rename = "dataset")]
    pub datasets: Vec<Spanned<DatasetEntry>>,
    /// Models.
    #[serde(rename = "model")]
    pub models: Vec<Spanned<ModelEntry>>,
}

/// Which folds of a data set's split are run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "\"all\" or a list of folds such as [1, 11]")]
pub enum Folds {
    /// `"all"`: every fold, so that each gene is tested once.
    All(AllFolds),
    /// These folds, counted from 1.
    Listed(Vec<usize>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllFolds {
    /// All of them.
    All,
}

/// A size that every network can be given, for trials on another scale than the published one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSize {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Blocks of each backbone.
    pub n_layer: usize,
}

/// One data set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// Its name in the table and of its folder.
    pub name: String,
    /// Experiment file whose `[data]` it is. Default: none; `data` says it, or each model's own experiment file.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// Its `[data]`, written here. Default: none.
    #[serde(default)]
    pub data: Option<toml::Table>,
    /// The published data set that it is, whose published scores are then printed beside ours. Default: none.
    #[serde(default)]
    pub published: Option<PublishedData>,
    /// Settings that are changed for its cells.
    #[serde(default)]
    pub set: toml::Table,
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Its name in the table and of its folders. Default: `kind`, or the name in its experiment file.
    #[serde(default)]
    pub name: Option<String>,
    /// Its experiment file. Default: `base`.
    #[serde(default)]
    pub config: Option<PathBuf>,
    /// Network that replaces `[model]` of the experiment file, in the published settings fitted to the window's length
    /// and to `size`. Default: `[model]` stays.
    #[serde(default)]
    pub kind: Option<NetworkKind>,
    /// The model of this benchmark whose trained generator it takes, for a `seq2exp_retrain`. Default: `seq2exp_soft`, when
    /// there is one of that name; else `generator` of its own settings.
    #[serde(default)]
    pub generator_of: Option<String>,
    /// Settings that are changed for its cells.
    #[serde(default)]
    pub set: toml::Table,
}

impl BenchmarkConfig {
    /// Reads a benchmark file; returns it with its text, in which places of mistakes are counted.
    ///
    /// # Errors
    /// [`RunError::Io`]; [`RunError::ConfigSyntax`] with line and column; [`RunError::ConfigInvalid`] with all problems
    /// that can be seen without the experiment files, each with its line.
    pub fn read(path: &Path) -> Result<(Self, String), RunError> {
        let text = std::fs::read_to_string(path).map_err(|source| RunError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let config: Self =
            toml::from_str(&text).map_err(|source: toml::de::Error| RunError::ConfigSyntax {
                path: path.to_path_buf(),
                message: source.to_string().trim_end().to_string(),
            })?;
        let problems = config.problems(&text);
        match problems.is_empty() {
            true => Ok((config, text)),
            false => Err(RunError::ConfigInvalid {
                path: path.to_path_buf(),
                problems,
            }),
        }
    }

    fn problems(&self, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        if !is_folder_name(&self.name) {
            problems.push(format!("name {:?} must be {FOLDER_NAME}", self.name));
        }
        if self.models.is_empty() {
            problems.push("no [[model]] is given, so there is nothing to compare".to_string());
        }
        if self.seeds.as_ref().is_some_and(Vec::is_empty) {
            problems.push("seeds is empty; give at least one, or leave it out".to_string());
        }
        for (what, list) in [
            ("seeds", self.seeds.clone().unwrap_or_default()),
            ("folds", self.listed_folds()),
        ] {
            if let Some(twice) = repeated(&list) {
                problems.push(format!("{what} holds {twice} twice"));
            }
        }
        if self.folds == Some(Folds::Listed(Vec::new())) {
            problems.push("folds is empty; name one, write \"all\", or leave it out".to_string());
        }
        for entry in &self.datasets {
            let (line, dataset) = (line_of(text, entry.span().start), entry.get_ref());
            let mut problem = |message: String| {
                problems.push(format!(
                    "line {line}: data set {:?} {message}",
                    dataset.name
                ));
            };
            if !is_folder_name(&dataset.name) {
                problem(format!("must have a name {FOLDER_NAME}"));
            }
            if dataset.config.is_some() && dataset.data.is_some() {
                problem("has config and data; remove one of the two".to_string());
            }
        }
        for entry in &self.models {
            let (line, model) = (line_of(text, entry.span().start), entry.get_ref());
            if model.config.is_none() && self.base.is_none() {
                problems.push(format!(
                    "line {line}: the model has no config and the benchmark no base; give one of them an experiment file"
                ));
            }
            if let Some(name) = model.name.as_ref().filter(|name| !is_folder_name(name)) {
                problems.push(format!(
                    "line {line}: model name {name:?} must be {FOLDER_NAME}"
                ));
            }
        }
        problems
    }

    fn listed_folds(&self) -> Vec<u64> {
        match &self.folds {
            Some(Folds::Listed(folds)) => folds.iter().map(|&fold| fold as u64).collect(),
            _ => Vec::new(),
        }
    }
}

/// The line, from 1, of a byte of a text.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count()
}

fn repeated(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BenchmarkConfig, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("benchmark.toml");
        std::fs::write(&path, text).expect("writable");
        match BenchmarkConfig::read(&path) {
            Ok((config, _)) => Ok(config),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn whole_file_is_read() {
        let config = read(
            "name = 'b'\nbase = 'e.toml'\nseeds = [2, 22]\nfolds = 'all'\nreference = 'a'\n\
             size = { d_model = 8, n_layer = 1 }\nset.train.steps = 5\n\
             [[dataset]]\nname = 'K562'\npublished = 'K562'\ndata.released = { folder = 'd', cell = 'K562' }\n\
             [[model]]\nname = 'a'\nkind = 'seq2exp_soft'\n\
             [[model]]\nconfig = 'c.toml'\nset = { train.lr = 1e-3 }\n",
        )
        .expect("sound");
        assert_eq!(config.folds, Some(Folds::All(AllFolds::All)));
        assert_eq!(config.models.len(), 2);
        assert_eq!(
            config.datasets[0].get_ref().published,
            Some(PublishedData::K562)
        );
        assert_eq!(config.set["train"]["steps"].as_integer(), Some(5));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let model = "[[model]]\nkind = 'hyena'\n";
        let cases = [
            ("name = 'b'\nsede = 1\n".to_string() + model, "line 2"),
            ("name = 'b'\n[[model]]\nkind = 'hyna'\n".into(), "line 3"),
            (
                "name = 'b'\n".to_string() + model,
                "line 2: the model has no config",
            ),
            (format!("name = 'a/b'\nbase = 'e'\n{model}"), "folder name"),
            (
                format!("name = 'b'\nbase = 'e'\nseeds = [2, 2]\n{model}"),
                "seeds holds 2 twice",
            ),
            (
                format!("name = 'b'\nbase = 'e'\nseeds = []\n{model}"),
                "seeds is empty",
            ),
            (
                format!("name = 'b'\nbase = 'e'\nfolds = []\n{model}"),
                "folds is empty",
            ),
            (
                format!("name = 'b'\nbase = 'e'\nfolds = [3, 1, 3]\n{model}"),
                "folds holds 3 twice",
            ),
            (
                format!("name = 'b'\nbase = 'e'\nfolds = 'some'\n{model}"),
                "\"all\" or a list",
            ),
            (
                format!(
                    "name = 'b'\nbase = 'e'\n{model}[[dataset]]\nname = 'x'\nconfig = 'e'\ndata.length = 4\n"
                ),
                "line 5: data set \"x\" has config and data",
            ),
            (
                format!(
                    "name = 'b'\nbase = 'e'\n{model}[[dataset]]\nname = 'x'\npublished = 'HeLa'\n"
                ),
                "line 7",
            ),
        ];
        for (text, part) in cases {
            let error = read(&text).expect_err(part);
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
