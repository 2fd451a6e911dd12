//! The experiment file: everything one run needs, in one TOML document.

mod overrides;

use std::path::{Path, PathBuf};

use dataset::{DataConfig, RELEASED_KEYS, Released};
use model::NetworkConfig;
use model::config::PredictorWeights;
use serde::{Deserialize, Serialize};

pub(crate) use self::overrides::{apply_override, name_override};
use crate::discover::DiscoverConfig;
use crate::error::RunError;
use crate::saved_paths::follow_move;
use crate::setting_limits::size_problems;
use crate::track_settings::connect_tracks;
use crate::train::TrainConfig;

/// One experiment: data, network, training and discovery.
///
/// Paths are relative to the folder of the experiment file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentConfig {
    /// Name of the experiment; the default output folder is `out/<name>`.
    pub name: String,
    /// One network is trained per seed; the published results use 2, 22, 222, 2222 and 22222.
    #[serde(default = "default_seeds")]
    pub seeds: Vec<u64>,
    /// The folder of the run that saved these settings, written by the program. A file that is not where they name it
    /// is then looked for at the same place relative to the folder that they are read from. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_in: Option<PathBuf>,
    /// Files, windows and splits.
    pub data: DataConfig,
    /// The network.
    pub model: NetworkConfig,
    /// Optimisation.
    #[serde(default)]
    pub train: TrainConfig,
    /// From masks to elements.
    #[serde(default)]
    pub discover: DiscoverConfig,
}

fn default_seeds() -> Vec<u64> {
    vec![2]
}

impl ExperimentConfig {
    /// Reads an experiment file, applies `overrides` of the form `a.b=value`, resolves its paths and validates it.
    ///
    /// # Errors
    /// [`RunError::Io`] when the file cannot be read, [`RunError::ConfigSyntax`] with line and column for
    /// malformed TOML, a wrong type or an unknown key, [`RunError::Override`] for an override that does not
    /// fit, [`RunError::ConfigInvalid`] with every problem that validation finds.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self, RunError> {
        let table = Self::read_table(path)?;
        let parse = |overrides: &[String]| {
            let mut table = table.clone();
            for item in overrides {
                apply_override(&mut table, item)?;
            }
            Self::from_table(table, path, overrides)
        };
        let config = parse(overrides)
            .map_err(|error| name_override(error, overrides, |some| parse(some).err()))?;
        let problems = config.validate();
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(RunError::ConfigInvalid {
                path: path.to_path_buf(),
                problems,
            })
        }
    }

    /// The experiment file as a table, for settings to be changed before [`from_table`](Self::from_table) reads it.
    ///
    /// # Errors
    /// [`RunError::Io`] and [`RunError::ConfigSyntax`] as [`read`](Self::read).
    pub(crate) fn read_table(path: &Path) -> Result<toml::Table, RunError> {
        let text = std::fs::read_to_string(path).map_err(|source| RunError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let syntax = |source: toml::de::Error| RunError::ConfigSyntax {
            path: path.to_path_buf(),
            message: source.to_string().trim_end().to_string(),
        };
        let table: toml::Table = toml::from_str(&text).map_err(syntax)?;
        // The text itself is read first, so that its mistakes are reported with line and column.
        if released_of(&table).is_none() {
            toml::from_str::<Self>(&text).map_err(syntax)?;
        }
        Ok(table)
    }

    /// Reads the table of an experiment file, changed by `overrides` (for messages), and resolves its paths against the
    /// folder of `path`; it is not yet validated.
    ///
    /// # Errors
    /// As [`read`](Self::read), without line and column.
    pub(crate) fn from_table(
        mut table: toml::Table,
        path: &Path,
        overrides: &[String],
    ) -> Result<Self, RunError> {
        let invalid = |problems| RunError::ConfigInvalid {
            path: path.to_path_buf(),
            problems,
        };
        write_out_released(&mut table).map_err(invalid)?;
        let folder = folder_of(path)?;
        follow_move(&mut table, &folder);
        resolve_model(&mut table, &folder);
        let written = match table.get("model") {
            Some(toml::Value::Table(model)) => model.clone(),
            _ => toml::Table::new(),
        };
        let mut config: Self = table.try_into().map_err(|source: toml::de::Error| {
            let message = source.to_string().trim_end().to_string();
            match overrides.is_empty() {
                true => RunError::ConfigSyntax {
                    path: path.to_path_buf(),
                    message,
                },
                false => RunError::Override {
                    item: overrides.join(" "),
                    message,
                },
            }
        })?;
        let problems = connect_tracks(&config.data, &mut config.model, &written);
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        config.data = config.data.resolve(&folder);
        if let NetworkConfig::Retrained(fields) = &mut config.model
            && fields.generator.is_relative()
            && let Ok(default) = std::path::absolute(&fields.generator)
        {
            // What is written is absolute by now; the default is a folder of the current one, also for a later command.
            fields.generator = default;
        }
        Ok(config)
    }

    /// Every problem of the configuration, empty when it is sound.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !is_folder_name(&self.name) {
            problems.push(format!("name {:?} must be {FOLDER_NAME}", self.name));
        }
        if self.seeds.is_empty() {
            problems.push("seeds is empty; give at least one, for example seeds = [2]".to_string());
        }
        let mut seen = self.seeds.clone();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() < self.seeds.len() {
            problems.push("seeds holds the same seed twice".to_string());
        }
        problems.extend(
            self.data
                .validate()
                .into_iter()
                .map(|p| format!("[data] {p}")),
        );
        let sizes = size_problems(&self.model);
        let is_too_large = !sizes.is_empty();
        // What follows from such sizes cannot be computed.
        let model = match is_too_large {
            true => sizes,
            false => self.model.validate(),
        };
        problems.extend(model.into_iter().map(|p| format!("[model] {p}")));
        problems.extend(
            self.train
                .validate()
                .into_iter()
                .map(|p| format!("[train] {p}")),
        );
        if !is_too_large {
            problems.extend(self.disagreements());
        }
        problems.extend(
            self.discover
                .validate()
                .into_iter()
                .map(|p| format!("[discover] {p}")),
        );
        problems
    }

    /// Settings of data and network that must be equal and are not.
    fn disagreements(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.data.promoter != self.model.promoter() as u64 {
            problems.push(format!(
                "data.promoter is {} and model.promoter {}; make them equal",
                self.data.promoter,
                self.model.promoter()
            ));
        }
        if self.data.n_tracks() != self.model.n_tracks() {
            problems.push(format!(
                "[data] gives {} tracks ({}) and model.n_tracks is {}; make them equal",
                self.data.n_tracks(),
                self.data.track_names().join(", "),
                self.model.n_tracks()
            ));
        }
        let generates_mask = matches!(self.model, NetworkConfig::Seq2Exp(_));
        if !generates_mask && self.train != self.train.clone().without_learned_mask() {
            problems.push(format!(
                "train.mask_weight, mask_start_step, mask_warmup_steps or random_mask_steps is set, but model.kind \"{}\" learns no mask; remove them",
                self.model.kind().name()
            ));
        }
        if let NetworkConfig::Seq2Exp(network) = &self.model
            && network.predictor_weights == PredictorWeights::Shared
            && self.train.random_mask_steps > 0
        {
            problems.push(
                "train.random_mask_steps is set, but generator and predictor share their blocks, which cannot learn from two \
                 masks; set model.predictor_weights = \"own\", or remove it"
                    .to_string(),
            );
        }
        if self.model.needs_peaks() && self.data.peaks.is_empty() {
            problems.push(format!(
                "model.kind \"{}\" takes its mask from peaks; set data.peaks to a narrowPeak or BED file",
                self.model.kind().name()
            ));
        }
        if let NetworkConfig::Epinformer(network) = &self.model {
            match &self.data.candidates {
                None => problems.push(
                    "model.kind \"epinformer\" reads candidate enhancers; set data.candidates to elements or links"
                        .to_string(),
                ),
                Some(data) => {
                    if self.data.length <= data.element_length {
                        problems.push(format!(
                            "data.length is {} and data.candidates.element_length {}: no candidate fits beside the \
                             promoter; lengthen the windows, or shorten element_length of both data.candidates and model",
                            self.data.length, data.element_length
                        ));
                    }
                    for (ours, theirs, field) in [
                        (data.most, network.n_candidates, ("most", "n_candidates")),
                        (
                            data.element_length as usize,
                            network.element_length,
                            ("element_length", "element_length"),
                        ),
                    ] {
                        if ours != theirs {
                            problems.push(format!(
                                "data.candidates.{} is {ours} and model.{} {theirs}; make them equal",
                                field.0, field.1
                            ));
                        }
                    }
                }
            }
        }
        problems.extend(self.model.window_problem(self.data.length as usize));
        problems
    }

    /// The output folder when none is given: `out/<name>` under the current folder.
    pub fn default_output(&self) -> PathBuf {
        Path::new("out").join(&self.name)
    }

    /// The resolved configuration as TOML.
    ///
    /// # Errors
    /// [`RunError::ConfigInvalid`] when a value has no TOML form.
    pub fn to_toml(&self) -> Result<String, RunError> {
        toml::to_string_pretty(self).map_err(|source| RunError::ConfigInvalid {
            path: PathBuf::from("config.toml"),
            problems: vec![source.to_string()],
        })
    }
}

/// What [`is_folder_name`] asks for, in words.
pub(crate) const FOLDER_NAME: &str =
    "usable as a folder name: not empty, no leading dot, none of / \\ : * ? \" < > |";

/// Whether a name can be that of a folder on every system.
pub(crate) fn is_folder_name(name: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !"/\\:*?\"<>|".contains(c);
    !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain)
}

/// The absolute folder of a file, which the paths inside it are relative to.
pub(crate) fn folder_of(path: &Path) -> Result<PathBuf, RunError> {
    let absolute = std::path::absolute(path).map_err(|source| RunError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_path_buf())
}

/// Joins the relative paths that `[model]` names with `folder`.
pub(crate) fn resolve_model(table: &mut toml::Table, folder: &Path) {
    let Some(toml::Value::Table(model)) = table.get_mut("model") else {
        return;
    };
    for key in NetworkConfig::PATH_FIELDS {
        if let Some(toml::Value::String(text)) = model.get_mut(key) {
            // Joining with an absolute path gives that path; an empty one is a mistake that validation names.
            if let Some(joined) = folder.join(&*text).to_str().filter(|_| !text.is_empty()) {
                *text = joined.to_string();
            }
        }
    }
}

/// The key that stands for the files of the released data set.
fn released_of(table: &toml::Table) -> Option<&toml::Value> {
    table.get("data")?.get("released")
}

/// Replaces `data.released` by the keys that it stands for, and names the released links to `data.candidates` that name no
/// file.
///
/// # Errors
/// Every problem: a value that is no [`Released`], and each key that is given beside it.
pub(crate) fn write_out_released(table: &mut toml::Table) -> Result<(), Vec<String>> {
    let Some(released) = released_of(table).cloned() else {
        return Ok(());
    };
    let released: Released = released
        .try_into()
        .map_err(|error: toml::de::Error| vec![format!("[data] released: {}", error.message())])?;
    let mut problems = Vec::new();
    released.validate(&mut problems);
    let Some(toml::Value::Table(data)) = table.get_mut("data") else {
        return Ok(());
    };
    for key in RELEASED_KEYS.iter().filter(|key| data.contains_key(**key)) {
        problems.push(format!(
            "{key} is given beside released, which stands for it; remove one of the two"
        ));
    }
    if !problems.is_empty() {
        return Err(problems.iter().map(|p| format!("[data] {p}")).collect());
    }
    data.remove("released");
    // Candidates without a file of their own are the released ones.
    if let Some(toml::Value::Table(candidates)) = data.get_mut("candidates")
        && !["elements", "links"]
            .iter()
            .any(|key| candidates.contains_key(*key))
        && let Ok(links) = toml::Value::try_from(released.enhancer_links())
    {
        candidates.insert("links".to_string(), links);
    }
    for (key, value) in released.data_keys() {
        // Strings, numbers and lists of them: TOML holds them all.
        if let Ok(value) = toml::Value::try_from(value) {
            data.insert(key, value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::overrides::tests::overridden;

    #[test]
    fn name_that_is_no_folder_of_out_is_refused() {
        for (name, is_sound) in [
            ("k562", true),
            ("K562 soft.2", true),
            ("", false),
            (".", false),
            ("..", false),
            (".hidden", false),
            ("a/b", false),
            ("../a", false),
            ("/a", false),
            ("a\\b", false),
        ] {
            assert_eq!(is_folder_name(name), is_sound, "{name:?}");
        }
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../configs/seq2exp_soft_k562.toml"
        );
        for name in ["..", ".", "a/b"] {
            let error = ExperimentConfig::read(Path::new(path), &[format!("name={name}")])
                .expect_err(name)
                .to_string();
            assert!(error.contains("usable as a folder name"), "{error}");
        }
    }

    #[test]
    fn seeds_must_be_there_and_differ() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../configs/seq2exp_soft_k562.toml"
        );
        for (item, part) in [
            ("seeds=[]", "seeds is empty"),
            ("seeds=[22, 2, 22]", "seeds holds the same seed twice"),
        ] {
            let error = ExperimentConfig::read(Path::new(path), &[item.to_string()])
                .expect_err(item)
                .to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn published_config_is_what_the_paper_used() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../configs/seq2exp_soft_k562.toml"
        );
        let config = ExperimentConfig::read(Path::new(path), &[]).expect("a sound config");
        assert_eq!(config.model, model::NetworkKind::Seq2ExpSoft.preset());
        assert_eq!(config.train, TrainConfig::default());
        assert_eq!(config.discover, DiscoverConfig::default());
        assert_eq!(config.seeds, [2, 22, 222, 2222, 22222]);
        assert_eq!(config.data.track_names(), ["h3k27ac", "dnase", "contact"]);
        // The constants are written, not only inherited from the names.
        let written = config
            .data
            .tracks
            .iter()
            .map(|track| track.beta.zip(track.weight));
        assert_eq!(
            written.collect::<Vec<_>>(),
            [Some((1.5, 0.4)), Some((0.2, 0.4))]
        );
    }

    #[test]
    fn what_concerns_a_learned_mask_is_refused_where_none_is_learned() {
        let problems = |file: &str, item: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");
            let overrides = [item.to_string()];
            match ExperimentConfig::read(&Path::new(folder).join(file), &overrides) {
                Ok(_) => Vec::new(),
                Err(RunError::ConfigInvalid { problems, .. }) => problems,
                Err(error) => panic!("{error}"),
            }
        };
        for item in ["train.mask_weight=0.1", "train.random_mask_steps=9"] {
            assert_eq!(problems("seq2exp_soft.toml", item), [""; 0]);
            let refused = problems("caduceus.toml", item);
            assert!(
                refused.len() == 1 && refused[0].contains("\"caduceus\" learns no mask"),
                "{refused:?}"
            );
        }
        // The published hard network has one stack of blocks for generator and predictor.
        for n_steps in [1, 9] {
            let item = format!("train.random_mask_steps={n_steps}");
            let refused = problems("seq2exp_hard.toml", &item);
            assert!(
                refused.len() == 1 && refused[0].contains("predictor_weights"),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn released_is_written_out_and_excludes_what_it_stands_for() {
        let text = "[data]\nlength = 4000\nreleased = { folder = '/d', cell = 'K562', fold = 2 }\n";
        let mut table = overridden(text, "data.released.cell=GM12878").expect("a cell type");
        write_out_released(&mut table).expect("nothing is in the way");
        let data: DataConfig = table["data"].clone().try_into().expect("a configuration");
        assert_eq!(data.length, 4000);
        assert_eq!(data.expression.value, "GM12878_CAGE_128*3_sum");
        assert_eq!(data.genome, Path::new("/d/hg38/hg38.ml.fa"));
        assert_eq!(data.validate(), [] as [String; 0]);
        assert_eq!(data.candidates, None);

        for (line, links) in [
            ("candidates = {}", "EnhancerPredictionsAllPutative.txt.gz"),
            (
                "candidates.most = 3",
                "EnhancerPredictionsAllPutative.txt.gz",
            ),
            ("candidates.links = 'own.txt'", "own.txt"),
        ] {
            let text = format!("{text}{line}\n");
            let mut table: toml::Table = toml::from_str(&text).expect("TOML");
            write_out_released(&mut table).expect("nothing is in the way");
            let data: DataConfig = table["data"].clone().try_into().expect("a configuration");
            let found = data
                .candidates
                .clone()
                .and_then(|candidates| candidates.links);
            assert!(found.as_ref().expect(line).ends_with(links), "{found:?}");
            assert_eq!(data.validate(), [] as [String; 0]);
        }

        for (line, part) in [
            ("genome = 'g.fa'", "[data] genome is given beside released"),
            ("released.fold = 13", "fold 13 must be 1 to 12"),
            (
                "released.cell = 'HeLa'",
                "expected one of `K562`, `GM12878`, `H1`",
            ),
            ("released.x = 1", "unknown field `x`"),
        ] {
            let text = format!("[data]\nreleased.folder = '/d'\nreleased.cell = 'K562'\n{line}\n");
            let text = match line.contains("cell") {
                true => text.replace("released.cell = 'K562'\n", ""),
                false => text,
            };
            let mut table: toml::Table = toml::from_str(&text).expect("TOML");
            let problems = write_out_released(&mut table).expect_err(line);
            assert!(problems[0].contains(part), "{problems:?}");
        }
    }
}
