//! Replaces a file only once its successor is safely on the disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::ModelError;

/// Writes `path` through `write`: into a temporary neighbour that is flushed to the disk and renamed, so that a
/// failure (a full disk, say) leaves an existing file as it was and no neighbour behind.
///
/// # Errors
/// [`ModelError::Io`] with the step that failed; [`ModelError::Format`] when `path` is a folder, a device or a pipe.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), ModelError> {
    // A symbolic link stays, and the file that it leads to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if path.exists() && !path.is_file() {
        return Err(ModelError::Format {
            path: path.to_owned(),
            message: "this is no file, and a file cannot take its place".to_owned(),
        });
    }
    let temporary = neighbour(path)?;
    let result = write_and_rename(path, &temporary, write);
    if result.is_err() {
        // The first error is the one to report; a neighbour that cannot be removed does no harm.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn write_and_rename(
    path: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), ModelError> {
    let failed = |action| {
        move |source| ModelError::Io {
            path: path.to_owned(),
            action,
            source,
        }
    };
    let mut file =
        File::create(temporary).map_err(failed("creating a temporary file beside it"))?;
    write(&mut file).map_err(failed("writing"))?;
    file.sync_all().map_err(failed("flushing"))?;
    drop(file);
    fs::rename(temporary, path).map_err(failed("renaming the temporary file"))?;
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        // The data is safe; flushing the folder only makes the rename durable, and not every system allows it.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

fn neighbour(path: &Path) -> Result<PathBuf, ModelError> {
    let name = path.file_name().ok_or_else(|| ModelError::Format {
        path: path.to_owned(),
        message: "this is not a file name".to_owned(),
    })?;
    Ok(path.with_file_name(format!(
        ".{}.{}.tmp",
        name.to_string_lossy(),
        std::process::id()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn write_atomic_failing_writer_keeps_the_old_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("best.safetensors");
        write_atomic(&path, |file| file.write_all(b"good")).unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(b"ha")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("best.safetensors: writing failed"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"good");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn write_atomic_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent/best.safetensors");
        assert!(matches!(
            write_atomic(&path, |_| Ok(())),
            Err(ModelError::Io { .. })
        ));
        for taken in ["/", "/dev/null"] {
            assert!(matches!(
                write_atomic(Path::new(taken), |_| Ok(())),
                Err(ModelError::Format { .. })
            ));
        }
    }

    #[cfg(unix)]
    #[test]
    fn write_atomic_through_a_link_replaces_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write_atomic(&link, |file| file.write_all(b"new")).unwrap();
        assert!(link.is_symlink() && file.is_file() && !file.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }
}
