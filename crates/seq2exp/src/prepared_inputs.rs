//! Whether the input files of a prepared data set are still those that it was made of.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::UNIX_EPOCH;

use dataset::{DataConfig, DataDescription, SourceFile};
use serde::{Deserialize, Serialize};

use crate::difference::differing_fields;

/// Digests of input files by size and time of their last change, in the folder of a prepared data set.
///
/// Only that makes a comparison fast: a file that it does not know, or that was touched since, is digested again.
pub(crate) const INPUTS_FILE: &str = "inputs.json";

/// What tells, without reading a file, that it is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    /// Size in bytes; of all its files for a folder.
    size_bytes: u64,
    /// Last change, in nanoseconds since 1970; the latest one for a folder.
    modified_ns: u64,
}

/// A file's stamp, and the digest of what it held then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    #[serde(flatten)]
    stamp: Stamp,
    sha256: String,
}

impl Stamp {
    /// Of a file or folder; none when the system does not tell.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = |metadata: &std::fs::Metadata| {
            let since = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            u64::try_from(since.as_nanos()).ok()
        };
        let mut stamp = Self {
            size_bytes: metadata.len(),
            modified_ns: modified(&metadata)?,
        };
        if metadata.is_dir() {
            stamp.size_bytes = 0;
            for entry in std::fs::read_dir(path).ok()? {
                let metadata = std::fs::metadata(entry.ok()?.path()).ok()?;
                if metadata.is_file() {
                    stamp.size_bytes += metadata.len();
                    stamp.modified_ns = stamp.modified_ns.max(modified(&metadata)?);
                }
            }
        }
        Some(stamp)
    }
}

/// The stamps of input files before a data set is made of them, so that a change while it is made is seen later.
pub(crate) struct InputStamps(BTreeMap<String, Stamp>);

impl InputStamps {
    /// Of all input files.
    pub(crate) fn of(data: &DataConfig) -> Self {
        let files = data.source_files().into_iter();
        Self(
            files
                .filter_map(|(_, path)| Some((path.display().to_string(), Stamp::of(path)?)))
                .collect(),
        )
    }

    /// Saves them with the digests of the data set in `folder`.
    pub(crate) fn save(self, folder: &Path, description: &DataDescription) {
        let known = description.sources.iter().filter_map(|source| {
            let path = source.path.display().to_string();
            let (stamp, sha256) = (*self.0.get(&path)?, source.sha256.clone());
            Some((path, Known { stamp, sha256 }))
        });
        write_known(folder, &known.collect());
    }
}

/// Digests of input files, each read once as long as the file is not touched.
struct InputDigests<'a> {
    /// The folder of the data set, which keeps them.
    folder: &'a Path,
    saved: BTreeMap<String, Known>,
    known: BTreeMap<String, Known>,
}

impl<'a> InputDigests<'a> {
    /// Those kept with the data set in `folder`.
    fn of(folder: &'a Path) -> Self {
        let saved = read_known(folder);
        Self {
            folder,
            known: saved.clone(),
            saved,
        }
    }

    /// Whether the file at `path` holds what `source` held; nothing when it is not there or cannot be read.
    fn is_same(&mut self, path: &Path, source: &SourceFile) -> Option<bool> {
        let name = path.display().to_string();
        let stamp = Stamp::of(path)?;
        let with_stamp = |name: &str| self.known.get(name).filter(|known| known.stamp == stamp);
        // A copy that kept size and time of change is known under the place of the original.
        let known = with_stamp(&name).or_else(|| with_stamp(&source.path.display().to_string()));
        let sha256 = match known {
            Some(known) => known.sha256.clone(),
            // Another size is another content.
            None if stamp.size_bytes != source.size_bytes => return Some(false),
            None => SourceFile::read(source.role.clone(), path).ok()?.sha256,
        };
        let is_same = sha256 == source.sha256;
        self.known.insert(name, Known { stamp, sha256 });
        Some(is_same)
    }

    /// Keeps what was read.
    fn save(self) {
        if self.known != self.saved {
            write_known(self.folder, &self.known);
        }
    }
}

/// The input files and settings that differ from what the data set in `folder` was made of, one line each.
///
/// A file that is not there any more, or cannot be read, is not compared: the prepared data set stands for it.
pub(crate) fn changed_inputs(
    folder: &Path,
    description: &DataDescription,
    data: &DataConfig,
) -> Vec<String> {
    let settings = changed_settings(description, data);
    if !settings.is_empty() {
        return settings;
    }
    let mut digests = InputDigests::of(folder);
    let mut changes = Vec::new();
    for ((role, path), source) in data.source_files().into_iter().zip(&description.sources) {
        if digests.is_same(path, source) == Some(false) {
            changes.push(format!(
                "{} ({role}) is not the file that the data set was prepared of",
                path.display()
            ));
        }
    }
    digests.save();
    changes
}

/// Whether the data set in `folder` was made with these settings of input files that all lie where they name them.
pub(crate) fn is_made_of(folder: &Path, description: &DataDescription, data: &DataConfig) -> bool {
    let files = data.source_files();
    let is_there = |((role, path), source): (&(String, &Path), &SourceFile)| {
        *role == source.role && path.exists()
    };
    files.len() == description.sources.len()
        && files.iter().zip(&description.sources).all(is_there)
        && changed_inputs(folder, description, data).is_empty()
}

/// The input files of a prepared data set, wherever they lie.
pub(crate) struct RecordedInputs<'a> {
    sources: Vec<SourceFile>,
    digests: InputDigests<'a>,
}

impl<'a> RecordedInputs<'a> {
    /// Those of the data set in `folder`; none when there is no whole one.
    pub(crate) fn of(folder: &'a Path) -> Self {
        let manifest = dataset::read_manifest(folder);
        Self {
            sources: manifest.map_or(Vec::new(), |manifest| manifest.description.sources),
            digests: InputDigests::of(folder),
        }
    }

    /// Whether the file at `path` holds what one of them held.
    pub(crate) fn hold(&mut self, path: &Path) -> bool {
        let Self { sources, digests } = self;
        sources
            .iter()
            .any(|source| digests.is_same(path, source) == Some(true))
    }

    /// Keeps what was read for the next time.
    pub(crate) fn save(self) {
        self.digests.save();
    }
}

/// The settings of `[data]` that decide the examples and differ, one line each.
fn changed_settings(description: &DataDescription, data: &DataConfig) -> Vec<String> {
    // A number that passed through JSON may differ in its last bit, so both sides pass through it.
    let Ok(value) = serde_json::to_value(data) else {
        return Vec::new();
    };
    let Ok(data) = serde_json::from_str::<DataConfig>(&value.to_string()) else {
        return Vec::new();
    };
    let other = DataDescription {
        settings: data,
        ..description.clone()
    };
    if other.digest() == description.digest() {
        return Vec::new();
    }
    let found = serde_json::to_value(&description.settings).unwrap_or_default();
    differing_fields(&found, &value, &[])
        .into_iter()
        .map(|line| format!("data.{line}"))
        .collect()
}

fn read_known(folder: &Path) -> BTreeMap<String, Known> {
    let text = std::fs::read_to_string(folder.join(INPUTS_FILE)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn write_known(folder: &Path, known: &BTreeMap<String, Known>) {
    // Without it, as in a folder that cannot be written to, files are digested again.
    if let Ok(json) = serde_json::to_vec_pretty(known) {
        let path = folder.join(INPUTS_FILE);
        let _ = genome::remove_abandoned(&path);
        let _ = genome::write_atomic(&path, |file| file.write_all(&json));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> DataConfig {
        let text = "genome = 'genome.fa'\ngenes = 'genes.tsv'\n\
                    expression = { path = 'expression.tsv', value = 'tpm' }\nsplit = { by = 'column' }\n\
                    tracks = [{ name = 'a', path = 'a.bw', scale = 0.3 }]\n";
        let config: DataConfig = toml::from_str(text).expect("settings");
        config.resolve(folder)
    }

    fn description(config: &DataConfig) -> DataDescription {
        let sources: Vec<SourceFile> = config
            .source_files()
            .into_iter()
            .map(|(role, path)| SourceFile::read(role, path).expect("a file"))
            .collect();
        let json = serde_json::json!({
            "settings": config, "sources": sources, "tracks": ["a"], "contact": "absent", "absent": {},
            "features": {
                "n_genes": 1,
                "length_mean_log10p1": [0.0, 0.0, 0.0, 0.0],
                "length_sd_log10p1": [0.0, 0.0, 0.0, 0.0],
                "ratio_mean": [0.0, 0.0, 0.0, 0.0],
            },
            "examples": {"train": 1, "valid": 1, "test": 1}, "tss": null, "overlaps": [],
            "genes_without_mrna": [], "skipped": [],
            "left_out": {"gene_type": 0, "no_expression": 0, "not_listed": 0, "overlaps": 0},
        });
        serde_json::from_str(&json.to_string()).expect("a description")
    }

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).expect("writable");
    }

    #[test]
    fn changed_inputs_names_files_of_another_content_and_only_those() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        for name in ["genome.fa", "genes.tsv", "expression.tsv", "a.bw"] {
            write(path, name, name);
        }
        let config = config(path);
        let stamps = InputStamps::of(&config);
        let description = description(&config);
        stamps.save(path, &description);
        let changed = || changed_inputs(path, &description, &config);
        assert_eq!(changed(), [""; 0]);

        // The same content, written again.
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(path, "genes.tsv", "genes.tsv");
        assert_eq!(changed(), [""; 0]);
        // Nothing is known of any file, as for a data set of an earlier version.
        std::fs::remove_file(path.join(INPUTS_FILE)).expect("it was saved");
        assert_eq!(changed(), [""; 0]);

        for text in ["expression.TSV", "longer than before"] {
            std::thread::sleep(std::time::Duration::from_millis(20));
            write(path, "expression.tsv", text);
            let changes = changed();
            assert!(
                changes.len() == 1 && changes[0].contains("expression.tsv (expression)"),
                "{changes:?}"
            );
        }
        std::fs::remove_file(path.join("expression.tsv")).expect("it is there");
        assert_eq!(changed(), [""; 0]);
    }

    #[test]
    fn changed_inputs_names_settings_but_no_moved_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        for name in ["genome.fa", "genes.tsv", "expression.tsv", "a.bw"] {
            write(path, name, name);
        }
        let mut config = config(path);
        let description = description(&config);
        std::fs::rename(path.join("genome.fa"), path.join("moved.fa")).expect("renamed");
        config.genome = path.join("moved.fa");
        assert_eq!(changed_inputs(path, &description, &config), [""; 0]);
        config.genome = path.join("genome.fa");
        config.length = 4_000;
        let changes = changed_inputs(path, &description, &config);
        assert_eq!(changes, ["data.length is 200000, this run has 4000"]);
    }
}
