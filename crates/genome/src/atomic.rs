//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::error::GenomeError;

/// A file being written under a temporary name in the folder of its final one.
///
/// [`commit`](Self::commit) gives it its name; dropped before that, it disappears and whatever
/// had that name stays as it was.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("a.txt");
/// use std::io::Write;
/// let mut file = genome::AtomicFile::create(&path)?;
/// writeln!(file.writer(), "whole")?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "whole\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    // Declared before `temporary`, so that it is closed before the file is removed.
    writer: BufWriter<File>,
    temporary: TempPath,
    path: PathBuf,
}

impl AtomicFile {
    /// Opens a temporary neighbour of `path`.
    ///
    /// # Errors
    /// [`GenomeError::Io`] when the folder does not exist or cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let refuse = GenomeError::io(path, "create");
        let name = path.file_name().ok_or_else(|| {
            refuse(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path has no file name",
            ))
        })?;
        if path.is_dir() {
            return Err(refuse(io::Error::new(
                io::ErrorKind::IsADirectory,
                "a folder has that name",
            )));
        }
        let folder = folder_of(path);
        let prefix = temporary_prefix(name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(TEMPORARY_SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The user's umask still applies; the default would be readable by the owner only.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let (file, temporary) = builder.tempfile_in(folder).map_err(refuse)?.into_parts();
        Ok(AtomicFile {
            writer: BufWriter::with_capacity(1 << 16, file),
            temporary,
            path: path.to_path_buf(),
        })
    }

    /// Where to write.
    pub fn writer(&mut self) -> &mut BufWriter<File> {
        &mut self.writer
    }

    /// The final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Brings all bytes to the disk, then renames the file to its final name.
    ///
    /// # Errors
    /// [`GenomeError::Io`], for example when the disk is full; the temporary file is then
    /// removed and an older file of that name survives.
    pub fn commit(mut self) -> Result<(), GenomeError> {
        self.writer
            .flush()
            .and_then(|()| self.writer.get_ref().sync_all())
            .map_err(GenomeError::io(&self.path, "write to"))?;
        self.temporary.persist(&self.path).map_err(|error| {
            GenomeError::io(&self.path, "rename a temporary file to")(error.error)
        })?;
        // The rename itself is durable once the folder is; not every file system offers that.
        #[cfg(unix)]
        if let Ok(folder) = File::open(folder_of(&self.path)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Removes the temporary neighbours of `path` that killed processes left behind.
///
/// Only for a folder that no other process writes into: theirs would go too.
///
/// # Errors
/// [`GenomeError::Io`] when the folder cannot be listed or a file of it not removed.
pub fn remove_abandoned(path: &Path) -> Result<(), GenomeError> {
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    let (folder, prefix) = (folder_of(path), temporary_prefix(name));
    for entry in std::fs::read_dir(folder).map_err(GenomeError::io(folder, "list"))? {
        let entry = entry.map_err(GenomeError::io(folder, "list"))?;
        let found = entry.file_name();
        let found = found.as_encoded_bytes();
        if found.starts_with(prefix.as_encoded_bytes())
            && found.ends_with(TEMPORARY_SUFFIX.as_bytes())
        {
            let found = entry.path();
            std::fs::remove_file(&found).map_err(GenomeError::io(&found, "remove"))?;
        }
    }
    Ok(())
}

/// The folder of a file, `.` for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// How the names of temporary neighbours end.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// How the names of a file's temporary neighbours begin.
fn temporary_prefix(name: &std::ffi::OsStr) -> std::ffi::OsString {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

/// Writes a file through a temporary neighbour: after success `path` holds all of it, after a
/// failure what it held before.
///
/// # Errors
/// [`GenomeError::Io`] with the path, also for an error that `write` returns.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("a.txt");
/// use std::io::Write;
/// genome::write_atomic(&path, |file| writeln!(file, "whole"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), GenomeError> {
    let mut file = AtomicFile::create(path)?;
    let result = write(file.writer());
    result.map_err(GenomeError::io(file.path(), "write to"))?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn write_atomic_success_leaves_only_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for text in ["first", ""] {
            write_atomic(&path, |file| file.write_all(text.as_bytes())).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn write_atomic_failure_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(&[b'x'; 100_000])?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot write to {}", path.display()))
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn remove_abandoned_takes_the_temporary_neighbours_of_this_file_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        // What a process leaves that is killed before it renames the file.
        std::mem::forget(AtomicFile::create(&path).unwrap());
        for other in ["a.txt", ".b.txt.x.tmp", ".a.txt.swp"] {
            std::fs::write(folder.path().join(other), "").unwrap();
        }
        assert_eq!(names(folder.path()).len(), 4);
        remove_abandoned(&path).unwrap();
        assert_eq!(
            names(folder.path()),
            [".a.txt.swp", ".b.txt.x.tmp", "a.txt"]
        );
    }

    #[test]
    fn write_atomic_bad_place_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let bad = [
            folder.path().join("none/a.txt"),
            folder.path().to_path_buf(),
            PathBuf::from("/"),
        ];
        for path in bad {
            let error = write_atomic(&path, |_| Ok(())).unwrap_err();
            assert!(
                error.to_string().contains(&path.display().to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn write_atomic_relative_name_goes_to_the_working_folder() {
        let name = format!("atomic-{}.txt", std::process::id());
        write_atomic(&name, |file| file.write_all(b"x")).unwrap();
        assert_eq!(std::fs::read(&name).unwrap(), b"x");
        std::fs::remove_file(&name).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn write_atomic_file_is_readable_like_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomic(&ours, |_| Ok(())).unwrap();
        std::fs::write(&plain, "").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
