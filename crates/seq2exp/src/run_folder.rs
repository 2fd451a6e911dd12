//! The folder a run writes to: one run at a time, one configuration for ever.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::difference::differing_fields;
use crate::error::RunError;
use crate::output_folder::FolderKind;
use crate::saved_paths::{SAVED_IN, moved, replace_paths, saved_in};

/// The resolved configuration inside a run folder.
pub const CONFIG_FILE: &str = "config.toml";

/// The file whose lock marks a run folder as in use.
const LOCK_FILE: &str = ".lock";

/// What to do when the folder already holds a run of the same configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, so that nothing is lost.
    Refuse,
    /// Go on with it.
    Continue,
    /// Read it; that of a folder that cannot be written to too.
    Read,
}

/// An output folder that belongs to this process until dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    is_continued: bool,
    // Held for the lock alone; the operating system releases it when the process ends, however it ends.
    // None in a folder that cannot be written to, where nobody else of the same rights can write either.
    lock: Option<File>,
}

impl RunFolder {
    /// Opens `path` for one run of the resolved configuration `config_toml`, which is saved in it.
    ///
    /// The folder is made when absent. Keys named in `ignored` (dotted, for example `train.loader_threads`) may differ
    /// from the configuration the folder already holds, because they do not change any result. So may the places of
    /// input files, whose content is compared when the data are opened, and that of another network when it lies
    /// where the folder's configuration names it after both were moved. A run that goes on saves the new ones.
    ///
    /// # Errors
    /// - [`RunError::FolderInUse`] when another process runs in it
    /// - [`RunError::OtherConfig`] with the differing fields when it holds a run of another configuration
    /// - [`RunError::FolderOccupied`] when it holds a run of this configuration and `existing` is `Refuse`
    /// - [`RunError::FolderOfOther`] when it holds another result, or a file that a run would write over
    /// - [`RunError::Io`] when it cannot be made, read or written
    pub fn open(
        path: impl Into<PathBuf>,
        config_toml: &str,
        existing: Existing,
        ignored: &[&str],
    ) -> Result<Self, RunError> {
        let path = path.into();
        FolderKind::Run.check_free(&path)?;
        fs::create_dir_all(&path).map_err(|source| RunError::Io {
            path: path.clone(),
            source,
        })?;
        let lock = match lock(&path) {
            Err(RunError::Io { source, .. })
                if existing == Existing::Read && is_read_only(&source) =>
            {
                None
            }
            lock => Some(lock?),
        };
        let config_path = path.join(CONFIG_FILE);
        let found = read_saved(&config_path)?;
        let is_continued = found.is_some();
        match found {
            None => {
                genome::write_atomic(&config_path, |file| file.write_all(config_toml.as_bytes()))?
            }
            Some(found) => {
                let differences = differences(&config_path, &found, config_toml, ignored)?;
                if !differences.is_empty() {
                    return Err(RunError::OtherConfig {
                        path: config_path,
                        differences,
                    });
                }
                match existing {
                    Existing::Refuse => return Err(RunError::FolderOccupied { path }),
                    Existing::Continue if found != config_toml => {
                        genome::write_atomic(&config_path, |file| {
                            file.write_all(config_toml.as_bytes())
                        })?
                    }
                    Existing::Continue | Existing::Read => {}
                }
            }
        }
        Ok(Self {
            path,
            is_continued,
            lock,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the folder already held a run of this configuration.
    pub fn is_continued(&self) -> bool {
        self.is_continued
    }

    /// Whether it can be written to; if not, it was opened to be read.
    pub fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    /// The path of a file in it.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

/// The settings in which the run that `folder` holds differs from the resolved configuration `config_toml`; none when it
/// holds no run. What may differ is as for [`RunFolder::open`].
///
/// # Errors
/// [`RunError::Io`] and [`RunError::ConfigSyntax`] when its settings cannot be read.
pub(crate) fn differing_settings(
    folder: &Path,
    config_toml: &str,
    ignored: &[&str],
) -> Result<Vec<String>, RunError> {
    let path = folder.join(CONFIG_FILE);
    match read_saved(&path)? {
        Some(found) => differences(&path, &found, config_toml, ignored),
        None => Ok(Vec::new()),
    }
}

/// The resolved configuration that a run has saved; none when there is no such file.
fn read_saved(path: &Path) -> Result<Option<String>, RunError> {
    match fs::read_to_string(path) {
        Ok(found) => Ok(Some(found)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RunError::Io {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// Whether the system refused to write, for whatever reason lies in the folder.
fn is_read_only(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
    )
}

/// Marks a folder, which must be there, as in use until the file is closed.
///
/// # Errors
/// [`RunError::FolderInUse`] when another process runs in it; [`RunError::Io`].
pub(crate) fn lock(folder: &Path) -> Result<File, RunError> {
    let path = folder.join(LOCK_FILE);
    let io = |source| RunError::Io {
        path: path.clone(),
        source,
    };
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // The number only helps the message; a file that cannot be read still means a folder in use.
            let _ = (&file).take(32).read_to_string(&mut process);
            return Err(RunError::FolderInUse {
                path: folder.to_path_buf(),
                process: process.trim().to_string(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    let write_process = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_process(&mut file).map_err(io)?;
    Ok(file)
}

/// The settings in which the configuration of the file `path` differs from the expected one.
fn differences(
    path: &Path,
    found: &str,
    expected: &str,
    ignored: &[&str],
) -> Result<Vec<String>, RunError> {
    let syntax = |message: String| RunError::ConfigSyntax {
        path: path.to_path_buf(),
        message,
    };
    let parse = |text: &str| {
        text.parse::<Table>()
            .map_err(|source| syntax(source.to_string().trim_end().to_string()))
    };
    let (mut found, mut expected) = (parse(found)?, parse(expected)?);
    compare_moved(&mut found, &expected);
    for settings in [&mut found, &mut expected] {
        settings.remove(SAVED_IN);
        if let Some(data) = settings.get_mut("data") {
            replace_paths(data, &mut |_| Some(PathBuf::new()));
        }
    }
    let to_json = |table| serde_json::to_value(table).map_err(|error| syntax(error.to_string()));
    Ok(differing_fields(
        &to_json(found)?,
        &to_json(expected)?,
        ignored,
    ))
}

/// Makes the paths of `found` those of `expected` where they are the same after a move of the folder.
fn compare_moved(found: &mut Table, expected: &Table) {
    let (Some(before), Some(after)) = (saved_in(found), saved_in(expected)) else {
        return;
    };
    let mut paths = HashSet::new();
    let mut expected = Value::Table(expected.clone());
    replace_paths(&mut expected, &mut |path| {
        paths.insert(path.to_path_buf());
        None
    });
    for (_, value) in found.iter_mut() {
        replace_paths(value, &mut |path| {
            let moved = moved(path, &before, &after)?;
            (!paths.contains(path) && paths.contains(&moved)).then_some(moved)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "name = 'a'\n[train]\nsteps = 5\nloader_threads = 1\n";

    fn open(path: &Path, config: &str, existing: Existing) -> Result<RunFolder, RunError> {
        RunFolder::open(path, config, existing, &["train.loader_threads"])
    }

    #[test]
    fn folder_is_made_and_holds_the_configuration() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let path = outer.path().join("out/deep");
        let folder = open(&path, CONFIG, Existing::Refuse).expect("a new folder");
        assert!(!folder.is_continued());
        assert_eq!(
            fs::read_to_string(folder.file(CONFIG_FILE)).expect("written"),
            CONFIG
        );
    }

    #[test]
    fn second_run_in_one_folder_is_refused_until_the_first_ends() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let first = open(outer.path(), CONFIG, Existing::Refuse).expect("an empty folder");
        let error = open(outer.path(), CONFIG, Existing::Continue)
            .expect_err("in use")
            .to_string();
        let expected = format!("process {}", std::process::id());
        assert!(
            error.contains(&expected) && error.contains("another output folder"),
            "{error}"
        );
        drop(first);
        assert!(
            open(outer.path(), CONFIG, Existing::Continue)
                .expect("free again")
                .is_continued()
        );
    }

    #[test]
    fn folder_of_the_same_run_needs_permission_to_continue() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        drop(open(outer.path(), CONFIG, Existing::Refuse).expect("an empty folder"));
        let error = open(outer.path(), CONFIG, Existing::Refuse)
            .expect_err("occupied")
            .to_string();
        assert!(error.contains("--resume"), "{error}");
    }

    #[test]
    fn folder_of_another_configuration_is_refused_with_the_fields() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        drop(open(outer.path(), CONFIG, Existing::Refuse).expect("an empty folder"));
        let other = "name = 'a'\n[train]\nsteps = 6\nloader_threads = 9\n";
        let error = open(outer.path(), other, Existing::Continue)
            .expect_err("another run")
            .to_string();
        assert!(
            error.contains("train.steps") && !error.contains("loader_threads"),
            "{error}"
        );
        // The refusal leaves the folder as it was.
        assert_eq!(
            fs::read_to_string(outer.path().join(CONFIG_FILE)).expect("kept"),
            CONFIG
        );
    }

    #[test]
    fn folder_moved_with_its_inputs_is_the_same_run() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let config = |project: &str, network: &str, folder: &Path| {
            format!(
                "saved_in = '{}'\n[data]\ngenome = '{project}/genome.fa'\n[model]\ngenerator = '{network}'\n",
                folder.display()
            )
        };
        let old = config("/old", "/old/out/soft", Path::new("/old/out/x"));
        let folder = outer.path().join("out/x");
        drop(open(&folder, &old, Existing::Refuse).expect("a new folder"));
        let project = outer.path().display().to_string();
        let new = config(&project, &format!("{project}/out/soft"), &folder);
        drop(open(&folder, &new, Existing::Continue).expect("the same run"));
        let saved = || fs::read_to_string(folder.join(CONFIG_FILE)).expect("written");
        assert_eq!(saved(), new);
        // Input files may lie anywhere, another network only where the move has brought it.
        let elsewhere = config("/mnt", &format!("{project}/out/soft"), &folder);
        drop(open(&folder, &elsewhere, Existing::Continue).expect("the same run"));
        let other = config(&project, "/other/soft", &folder);
        let error = open(&folder, &other, Existing::Continue)
            .expect_err("another network")
            .to_string();
        assert!(
            error.contains("model.generator") && !error.contains("genome"),
            "{error}"
        );
        assert_eq!(saved(), elsewhere);
    }

    #[test]
    fn folder_with_a_broken_configuration_names_the_file() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        fs::write(outer.path().join(CONFIG_FILE), "name = ").expect("writable");
        let error = open(outer.path(), CONFIG, Existing::Continue)
            .expect_err("not TOML")
            .to_string();
        assert!(error.contains("config.toml"), "{error}");
    }

    #[test]
    fn folder_that_is_a_file_is_an_error() {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let path = outer.path().join("taken");
        fs::write(&path, "text").expect("writable");
        let error = open(&path, CONFIG, Existing::Refuse)
            .expect_err("a file")
            .to_string();
        assert!(error.contains("taken"), "{error}");
    }
}
