//! Files that appear whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::error::GenomeError;

/// A file being written under a temporary name in the folder of its final one.
///
/// [`commit`](Self::commit) gives it its name; dropped before that, it disappears and whatever
/// had that name stays as it was. Where a symbolic link has the name, all this happens to the file
/// that it leads to, and the link stays. What has the name and is no file (a device, a pipe, a
/// socket, `/dev/stdout`) is not replaced: it is opened and takes what is written at once.
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
    // Declared before `pending`, so that it is closed before the file is removed.
    writer: BufWriter<File>,
    /// Nothing when what is written cannot be taken back.
    pending: Option<Pending>,
    path: PathBuf,
}

/// A temporary file, and the name that it gets.
#[derive(Debug)]
struct Pending {
    temporary: TempPath,
    target: PathBuf,
}

impl AtomicFile {
    /// Opens a temporary neighbour of `path`, or `path` itself when it is a device, a pipe or a
    /// socket.
    ///
    /// # Errors
    /// [`GenomeError::Io`] when the folder does not exist or cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let (file, pending) = open(path).map_err(GenomeError::io(path, "create"))?;
        Ok(AtomicFile {
            writer: BufWriter::with_capacity(1 << 16, file),
            pending,
            path: path.to_path_buf(),
        })
    }

    /// Writes all of it through `write`, and [`commit`](Self::commit)s it.
    ///
    /// # Errors
    /// [`GenomeError::Io`].
    pub fn finish(
        mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), GenomeError> {
        write(&mut self.writer).map_err(GenomeError::io(&self.path, "write to"))?;
        self.commit()
    }

    /// Where to write.
    pub fn writer(&mut self) -> &mut BufWriter<File> {
        &mut self.writer
    }

    /// The final name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the older file that [`commit`](Self::commit) would replace, if there is one.
    ///
    /// # Errors
    /// [`GenomeError::Io`].
    pub fn remove_older(&self) -> Result<(), GenomeError> {
        let Some(Pending { target, .. }) = &self.pending else {
            return Ok(());
        };
        match std::fs::remove_file(target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(GenomeError::io(&self.path, "replace")(error))
            }
            _ => Ok(()),
        }
    }

    /// Brings all bytes to the disk, then renames the file to its final name.
    ///
    /// # Errors
    /// [`GenomeError::Io`], for example when the disk is full; the temporary file is then
    /// removed and an older file of that name survives.
    pub fn commit(mut self) -> Result<(), GenomeError> {
        let refuse = GenomeError::io(&self.path, "write to");
        self.writer.flush().map_err(&refuse)?;
        let Some(Pending { temporary, target }) = self.pending else {
            return Ok(());
        };
        self.writer.get_ref().sync_all().map_err(&refuse)?;
        temporary.persist(&target).map_err(|error| {
            GenomeError::io(&self.path, "rename a temporary file to")(error.error)
        })?;
        // The rename itself is durable once the folder is; not every file system offers that.
        #[cfg(unix)]
        if let Ok(folder) = File::open(folder_of(&target)) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

/// Opens what is written to: a temporary neighbour, or what is no file.
fn open(path: &Path) -> io::Result<(File, Option<Pending>)> {
    if path.file_name().is_none() {
        let reason = "the path has no file name";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    if let Some(stream) = standard_stream(path) {
        return Ok((stream?, None));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            let reason = "a folder has that name";
            return Err(io::Error::new(io::ErrorKind::IsADirectory, reason));
        }
        Ok(found) if !found.is_file() => {
            return Ok((File::options().write(true).open(path)?, None));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let target = end_of_links(path);
    let prefix = temporary_prefix(target.file_name().unwrap_or_default());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(TEMPORARY_SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The user's umask still applies; the default would be readable by the owner only.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let (file, temporary) = builder.tempfile_in(folder_of(&target))?.into_parts();
    Ok((file, Some(Pending { temporary, target })))
}

/// A standard stream of this process, when the path is one of its names.
///
/// The stream may be a file, whose end a second opening would not know.
#[cfg(unix)]
fn standard_stream(path: &Path) -> Option<io::Result<File>> {
    use std::os::fd::AsFd;
    let stream = match path.to_str()? {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => {
            std::io::stdout().as_fd().try_clone_to_owned()
        }
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => {
            std::io::stderr().as_fd().try_clone_to_owned()
        }
        _ => return None,
    };
    Some(stream.map(File::from))
}

#[cfg(not(unix))]
fn standard_stream(_path: &Path) -> Option<io::Result<File>> {
    None
}

/// The path that symbolic links lead to, whether or not a file is there.
fn end_of_links(path: &Path) -> PathBuf {
    /// As many as Linux follows.
    const MAX_LINKS: usize = 40;
    let mut end = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let Ok(next) = std::fs::read_link(&end) else {
            break;
        };
        end = folder_of(&end).join(next);
    }
    end
}

/// Removes the temporary neighbours of `path` that killed processes left behind.
///
/// Only for a folder that no other process writes into: theirs would go too.
///
/// # Errors
/// [`GenomeError::Io`] when the folder cannot be listed or a file of it not removed.
pub fn remove_abandoned(path: &Path) -> Result<(), GenomeError> {
    let target = end_of_links(path);
    let Some(name) = target.file_name() else {
        return Ok(());
    };
    let (folder, prefix) = (folder_of(&target), temporary_prefix(name));
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

/// Removes a file that may be missing.
///
/// # Errors
/// [`GenomeError::Io`].
pub(crate) fn remove_if_there(path: &Path) -> Result<(), GenomeError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(GenomeError::io(path, "replace")(error))
        }
        _ => Ok(()),
    }
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
/// failure what it held before. Links and what is no file are treated as by [`AtomicFile`].
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
    AtomicFile::create(path)?.finish(write)
}

/// Makes sure that a file to be written is none of those that are read.
///
/// Files are the same when the system says so, whatever their names.
///
/// # Errors
/// [`GenomeError::OutputIsInput`].
pub fn refuse_input_as_output<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), GenomeError> {
    let identity = identity_of(output);
    match inputs
        .into_iter()
        .find(|input| identity.is_some() && identity_of(input) == identity)
    {
        None => Ok(()),
        Some(input) => Err(GenomeError::OutputIsInput {
            path: output.to_path_buf(),
            input: input.to_path_buf(),
        }),
    }
}

/// What two names of one file have in common; nothing for what is no file.
fn identity_of(path: &Path) -> Option<impl PartialEq + use<>> {
    let metadata = std::fs::metadata(path)
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        std::fs::canonicalize(path).ok()
    }
}

#[cfg(test)]
mod tests;
