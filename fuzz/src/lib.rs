//! What the fuzz targets share: readers take a path, so the bytes go into a file.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use genome::Interval;

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Writes the bytes into a file of this name and calls `read` with its path.
///
/// The folder is the process's own, in memory where the system has such a place; files beside it (an
/// index that a reader writes) are removed first.
pub fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            match memory.is_dir() {
                true => tempfile::tempdir_in(memory),
                false => tempfile::tempdir(),
            }
            .expect("a folder for temporary files")
        });
        for entry in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("the temporary folder takes a file");
        read(&path);
    });
}

/// An error must say something; a reader's message is what a user acts on.
pub fn check<T, E: std::fmt::Display>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Places to ask a file for: both ends and the middle of its first chromosomes.
pub fn places(sizes: &genome::ChromSizes, length: u64) -> Vec<Interval> {
    let mut places = Vec::new();
    for (chrom, size) in sizes.iter().take(3) {
        for start in [0, size / 2, size.saturating_sub(length)] {
            let end = start.saturating_add(length).min(size);
            places.extend(Interval::try_new(chrom, start.min(end), end).ok());
        }
    }
    places
}
