//! Whether an output folder is free for a result, or holds something else.

use std::path::Path;

use crate::benchmark::{CELLS_FILE, MARKDOWN_FILE, TABLE_FILE};
use crate::discover::{ELEMENTS_FILE, MASKS_FOLDER};
use crate::discovery_tables::MASKS_FILE;
use crate::ensemble::METRICS_FILE;
use crate::error::RunError;
use crate::predictions_table::PREDICTIONS_FILE;
use crate::run_folder::CONFIG_FILE;
use crate::simulate::SETTINGS_FILE;

/// File of the report, of a run and of a benchmark.
pub const REPORT_FILE: &str = "report.html";

/// Folder of the cells of a benchmark or an ablation.
pub(crate) const CELLS_FOLDER: &str = "cells";

/// A result that fills a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FolderKind {
    /// Of `run`, `train` and `prepare`.
    Run,
    /// Of `benchmark` and `ablate`.
    Benchmark,
    /// Of `simulate`.
    Simulation,
}

/// What a folder of each kind holds, whatever else is in it, and a prepared data set too.
const MARKS: [(&str, Option<FolderKind>); 5] = [
    (CONFIG_FILE, Some(FolderKind::Run)),
    (CELLS_FOLDER, Some(FolderKind::Benchmark)),
    (CELLS_FILE, Some(FolderKind::Benchmark)),
    (SETTINGS_FILE, Some(FolderKind::Simulation)),
    (dataset::DATA_FILE_NAME, None),
];

impl FolderKind {
    fn name(self) -> &'static str {
        match self {
            Self::Run => "a run",
            Self::Benchmark => "a benchmark",
            Self::Simulation => "a simulation",
        }
    }

    /// Whether `folder` holds a result of this kind, which the command compares with its own.
    fn is_in(self, folder: &Path) -> bool {
        let has = |name: &str| folder.join(name).exists();
        match self {
            Self::Run => has(CONFIG_FILE),
            Self::Benchmark => folder.join(CELLS_FOLDER).is_dir() && !has(CONFIG_FILE),
            Self::Simulation => has(SETTINGS_FILE),
        }
    }

    /// Whether a result of this kind writes over a file or folder of this name.
    fn writes(self, name: &str) -> bool {
        match self {
            Self::Run => {
                let seed = name.strip_prefix("seed_");
                [
                    PREDICTIONS_FILE,
                    METRICS_FILE,
                    ELEMENTS_FILE,
                    MASKS_FILE,
                    MASKS_FOLDER,
                    REPORT_FILE,
                ]
                .contains(&name)
                    || [".tbi", ".csi"]
                        .iter()
                        .any(|ending| name.strip_suffix(ending) == Some(ELEMENTS_FILE))
                    || seed.is_some_and(|seed| seed.parse::<u64>().is_ok())
            }
            Self::Benchmark => [TABLE_FILE, MARKDOWN_FILE, CELLS_FILE, REPORT_FILE].contains(&name),
            // Its files have everyday names, so it takes an empty folder only.
            Self::Simulation => true,
        }
    }

    /// Refuses `folder` when a result of this kind would write over, or into, something else; one that is not there, is
    /// empty or holds a result of this kind is free.
    ///
    /// # Errors
    /// [`RunError::FolderOfOther`] with what was found; [`RunError::Io`] when the folder cannot be read.
    pub(crate) fn check_free(self, folder: &Path) -> Result<(), RunError> {
        let refuse = |found: String| RunError::FolderOfOther {
            path: folder.to_path_buf(),
            found,
            kind: self.name(),
        };
        if self.is_in(folder) {
            return Ok(());
        }
        let io = |source| RunError::Io {
            path: folder.to_path_buf(),
            source,
        };
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(
                entry
                    .map_err(io)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        names.sort_unstable();
        for (mark, kind) in MARKS {
            if kind != Some(self) && names.iter().any(|name| name == mark) {
                let of = kind.map_or("a prepared data set", Self::name);
                return Err(refuse(format!("{mark} of {of}")));
            }
        }
        match names.into_iter().find(|name| self.writes(name)) {
            Some(name) => Err(refuse(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FolderKind::{Benchmark, Run, Simulation};

    #[test]
    fn check_free_refuses_what_would_be_written_over() {
        // what lies in the folder → the kinds that take it
        let cases: [(&[&str], &[FolderKind]); 11] = [
            (&[], &[Run, Benchmark, Simulation]),
            (&["notes.txt", "genes.tsv"], &[Run, Benchmark]),
            (&[".lock"], &[Run, Benchmark]),
            (&["config.toml", "report.html", "seed_2"], &[Run]),
            (&["cells/", "table.tsv", "report.html"], &[Benchmark]),
            (&["simulation.toml", "genes.tsv"], &[Simulation]),
            (&["examples.arrow", "manifest.json"], &[]),
            (&["predictions.tsv"], &[Benchmark]),
            (&["report.html"], &[]),
            (&["seed_22", "seed_bank"], &[Benchmark]),
            (&["table.md", "seed_bank"], &[Run]),
        ];
        for (names, expected) in cases {
            let folder = tempfile::tempdir().expect("a temporary folder");
            for name in names {
                match name.strip_suffix('/') {
                    Some(name) => std::fs::create_dir(folder.path().join(name)).expect("made"),
                    None => std::fs::write(folder.path().join(name), "").expect("written"),
                }
            }
            for kind in [Run, Benchmark, Simulation] {
                let checked = kind.check_free(folder.path());
                assert_eq!(
                    checked.is_ok(),
                    expected.contains(&kind),
                    "{names:?} {kind:?}"
                );
                if let Err(error) = checked {
                    let text = error.to_string();
                    let is_named = names
                        .iter()
                        .any(|name| text.contains(name.trim_end_matches('/')));
                    assert!(is_named && text.contains("an empty one"), "{text}");
                }
            }
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(Run.check_free(&folder.path().join("absent")).is_ok());
    }
}
