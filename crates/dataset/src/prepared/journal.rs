//! The notes of an unfinished preparation, by which a later one continues it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::DatasetError;

/// How far the data file had come when a note was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Record batches that are whole.
    pub(super) n_batches: usize,
    /// Bytes of the file up to their end.
    pub(super) n_bytes: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub(super) sha256: String,
}

/// A text file: the digest of the data's description, then one line per checkpoint.
///
/// Nothing in it is trusted: the bytes it speaks of are read and digested again.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal of the data with this digest, and its last checkpoint.
    ///
    /// A journal of other data is begun anew.
    ///
    /// # Errors
    /// [`DatasetError::Io`].
    pub(super) fn open(
        path: &Path,
        data_digest: &str,
    ) -> Result<(Self, Option<Checkpoint>), DatasetError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::InvalidData
                ) =>
            {
                String::new()
            }
            Err(error) => return Err(DatasetError::io(path, "read")(error)),
        };
        // A line that a crash cut off has no line end.
        let mut lines = text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'));
        let is_ours = lines.next() == Some(data_digest);
        let last = lines.filter_map(Checkpoint::parse).next_back();
        let mut journal = Journal {
            path: path.to_path_buf(),
            file: OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(DatasetError::io(path, "open"))?,
        };
        match last.filter(|_| is_ours) {
            Some(checkpoint) => {
                if !text.ends_with('\n') {
                    journal.write("\n")?;
                }
                Ok((journal, Some(checkpoint)))
            }
            None => {
                journal.restart(data_digest)?;
                Ok((journal, None))
            }
        }
    }

    /// Forgets every checkpoint.
    pub(super) fn restart(&mut self, data_digest: &str) -> Result<(), DatasetError> {
        self.file
            .set_len(0)
            .map_err(DatasetError::io(&self.path, "write to"))?;
        self.write(&format!("{data_digest}\n"))
    }

    /// Adds a checkpoint.
    pub(super) fn note(&mut self, checkpoint: &Checkpoint) -> Result<(), DatasetError> {
        self.write(&format!(
            "{}\t{}\t{}\n",
            checkpoint.n_batches, checkpoint.n_bytes, checkpoint.sha256
        ))
    }

    fn write(&mut self, text: &str) -> Result<(), DatasetError> {
        self.file
            .write_all(text.as_bytes())
            .map_err(DatasetError::io(&self.path, "write to"))
    }
}

impl Checkpoint {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let checkpoint = Checkpoint {
            n_batches: fields.next()?.parse().ok()?,
            n_bytes: fields.next()?.parse().ok()?,
            sha256: fields.next()?.to_string(),
        };
        fields.next().is_none().then_some(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(n: u64) -> Checkpoint {
        Checkpoint {
            n_batches: n as usize,
            n_bytes: 100 * n,
            sha256: format!("digest{n}"),
        }
    }

    #[test]
    fn open_finds_the_last_whole_checkpoint_of_the_same_data() {
        // what the file holds → the checkpoint that is found for the data "ours"
        let cases = [
            ("", None),
            ("ours\n", None),
            ("ours\n1\t100\tdigest1\n", Some(1)),
            ("ours\n1\t100\tdigest1\n2\t200\tdigest2\n", Some(2)),
            ("ours\n1\t100\tdigest1\n2\t200\tdig", Some(1)),
            ("ours\n1\t100\tdigest1\nnonsense\n", Some(1)),
            ("theirs\n1\t100\tdigest1\n", None),
            ("our", None),
            ("ours", None),
        ];
        for (text, expected) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("journal");
            std::fs::write(&path, text).unwrap();
            let (mut journal, found) = Journal::open(&path, "ours").unwrap();
            assert_eq!(found, expected.map(checkpoint), "{text:?}");
            // What is noted now is found by the next one, whatever was there.
            journal.note(&checkpoint(7)).unwrap();
            let (_, found) = Journal::open(&path, "ours").unwrap();
            assert_eq!(found, Some(checkpoint(7)), "{text:?}");
        }
    }

    #[test]
    fn open_without_a_file_begins_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        assert_eq!(Journal::open(&path, "ours").unwrap().1, None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "ours\n");
    }
}
