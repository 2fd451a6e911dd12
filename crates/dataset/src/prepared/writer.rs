//! Writing a prepared data set.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::ArrowError;
use genome::{GenomeError, catch_panic, remove_abandoned, write_atomic};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::journal::{Checkpoint, Journal};
use super::manifest::{DataFile, Manifest, describe_data, hex};
use super::{DATA_FILE_NAME, FORMAT_VERSION, MANIFEST_FILE_NAME};
use super::{RowLayout, batch_of, rows_per_batch};
use crate::error::DatasetError;
use crate::example::{Example, ExampleReader};
use crate::source::ExampleSource;

/// Writes the data file and the manifest of a prepared data set into `folder`, which is made when
/// it is missing.
///
/// Examples are read by the threads of the current rayon pool and written in order: the bytes do
/// not depend on their number. Both files get their names only when they are whole, the manifest
/// last; until then an older data set in the folder stays as it was.
///
/// `progress` is told how many examples are written, and of how many; first at the start. When it
/// breaks, or the process is killed, what was written stays in the folder (`examples.arrow.partial`
/// and `examples.arrow.journal`), and the next call for the same data continues there; the finished
/// file is the same byte for byte. An error in the input removes it, since mended input is other
/// data. One process at a time may write into a folder.
///
/// # Errors
/// Whatever reading an example causes, with the first example in order; [`DatasetError::Genome`],
/// [`DatasetError::Io`] or [`DatasetError::Arrow`] when something cannot be written;
/// [`DatasetError::Stopped`] when `progress` breaks.
pub fn write_prepared(
    reader: &ExampleReader,
    folder: impl AsRef<Path>,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Manifest, DatasetError> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder).map_err(DatasetError::io(folder, "create"))?;
    let manifest_path = folder.join(MANIFEST_FILE_NAME);
    remove_abandoned(&manifest_path)?;
    let description = describe_data(reader)?;
    let unfinished = Unfinished::in_folder(folder);
    let data = match unfinished.write(reader, &description.digest(), progress) {
        Ok(data) => data,
        Err(error) => {
            if !is_worth_continuing(&error) {
                unfinished.remove()?;
            }
            return Err(error);
        }
    };
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_string(),
        data,
        description,
    };
    let mut json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| DatasetError::io(&manifest_path, "write to")(error.into()))?;
    json.push(b'\n');
    let data_path = folder.join(DATA_FILE_NAME);
    std::fs::rename(&unfinished.data, &data_path)
        .map_err(DatasetError::io(&data_path, "rename a temporary file to"))?;
    // The manifest comes last: with it the data set counts as whole and nobody cleans up after a kill.
    unfinished.remove()?;
    write_atomic(&manifest_path, |file| file.write_all(&json))?;
    Ok(manifest)
}

/// Whether the same input could succeed later: it was stopped, or the system refused something.
fn is_worth_continuing(error: &DatasetError) -> bool {
    matches!(
        error,
        DatasetError::Stopped
            | DatasetError::Io { .. }
            | DatasetError::Genome(GenomeError::Io { .. })
            | DatasetError::Arrow {
                source: ArrowError::IoError(..),
                ..
            }
    )
}

/// The files of a preparation that is not finished.
struct Unfinished {
    data: PathBuf,
    journal: PathBuf,
}

impl Unfinished {
    fn in_folder(folder: &Path) -> Self {
        Unfinished {
            data: folder.join(format!("{DATA_FILE_NAME}.partial")),
            journal: folder.join(format!("{DATA_FILE_NAME}.journal")),
        }
    }

    fn remove(&self) -> Result<(), DatasetError> {
        for path in [&self.data, &self.journal] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(DatasetError::io(path, "remove")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the whole data file, from where an earlier call for the same data stopped.
    fn write(
        &self,
        reader: &ExampleReader,
        data_digest: &str,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<DataFile, DatasetError> {
        let layout = RowLayout::of(reader.config());
        let n_examples = reader.len();
        let rows = rows_per_batch(reader.config().length);
        let (mut writer, mut journal, n_done) = self.open(&layout, data_digest)?;
        let batches: Vec<Range<usize>> = (0..n_examples)
            .step_by(rows)
            .map(|first| first..(first + rows).min(n_examples))
            .skip(n_done)
            .collect();
        let mut tell = |n_written| match progress(n_written, n_examples) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DatasetError::Stopped),
        };
        let encode = |group: Option<&[Range<usize>]>| -> Vec<Result<RecordBatch, DatasetError>> {
            let encode_batch = |range: &Range<usize>| {
                let examples = range
                    .clone()
                    .map(|index| reader.read(index))
                    .collect::<Result<Vec<Example>, _>>()?;
                batch_of(&examples, &layout, &self.data)
            };
            let ranges = group.unwrap_or_default();
            ranges.par_iter().map(encode_batch).collect()
        };

        let mut n_written = n_done;
        tell((n_done * rows).min(n_examples))?;
        // As many batches in memory as keep every thread busy; one group is written while the
        // next is read.
        let mut groups = batches.chunks(2 * rayon::current_num_threads());
        let mut encoded = encode(groups.next());
        while !encoded.is_empty() {
            let (written, next) = rayon::join(
                || -> Result<(), DatasetError> {
                    for batch in encoded {
                        writer
                            .write(&batch?)
                            .map_err(DatasetError::arrow(&self.data, "write"))?;
                        n_written += 1;
                    }
                    let sink = writer.get_mut();
                    sink.flush()
                        .map_err(DatasetError::io(&self.data, "write to"))?;
                    journal.note(&Checkpoint {
                        n_batches: n_written,
                        n_bytes: sink.n_bytes,
                        sha256: sink.sha256(),
                    })
                },
                || encode(groups.next()),
            );
            written?;
            tell((n_written * rows).min(n_examples))?;
            encoded = next;
        }
        writer
            .finish()
            .map_err(DatasetError::arrow(&self.data, "write"))?;
        let sink = writer
            .into_inner()
            .map_err(DatasetError::arrow(&self.data, "write"))?;
        sink.finish()
            .map_err(DatasetError::io(&self.data, "write to"))
    }

    /// A writer behind the record batches that an earlier call left, and their number.
    fn open(
        &self,
        layout: &RowLayout,
        data_digest: &str,
    ) -> Result<(FileWriter<DataSink>, Journal, usize), DatasetError> {
        let (mut journal, checkpoint) = Journal::open(&self.journal, data_digest)?;
        if let Some(checkpoint) = checkpoint
            && let Some(writer) = self.continued(layout, &checkpoint)?
        {
            return Ok((writer, journal, checkpoint.n_batches));
        }
        journal.restart(data_digest)?;
        let sink = DataSink::open(&self.data, 0).map_err(DatasetError::io(&self.data, "create"))?;
        let writer = FileWriter::try_new(sink, layout.schema())
            .map_err(DatasetError::arrow(&self.data, "write"))?;
        Ok((writer, journal, 0))
    }

    /// A writer behind the batches of a checkpoint; nothing when the file does not hold the bytes
    /// that the checkpoint speaks of.
    ///
    /// The batches are read back and pass through the writer, which so learns their places, while
    /// the sink compares instead of writing.
    fn continued(
        &self,
        layout: &RowLayout,
        checkpoint: &Checkpoint,
    ) -> Result<Option<FileWriter<DataSink>>, DatasetError> {
        let n_stored = std::fs::metadata(&self.data).map_or(0, |metadata| metadata.len());
        if n_stored < checkpoint.n_bytes {
            return Ok(None);
        }
        let replay = || -> Result<FileWriter<DataSink>, ArrowError> {
            let sink = DataSink::open(&self.data, checkpoint.n_bytes)?;
            let mut writer = FileWriter::try_new(sink, layout.schema())?;
            let n_header = writer.get_ref().n_bytes;
            let n_batch_bytes = checkpoint.n_bytes.saturating_sub(n_header);
            let mut file = File::open(&self.data)?;
            file.seek(SeekFrom::Start(n_header))?;
            // What lies behind the header of a file is what a stream has behind its schema.
            let schema = StreamWriter::try_new(Vec::new(), layout.schema())?;
            let stream = schema
                .get_ref()
                .chain(BufReader::with_capacity(1 << 20, file).take(n_batch_bytes));
            for batch in StreamReader::try_new(stream, None)?.take(checkpoint.n_batches) {
                writer.write(&batch?)?;
            }
            Ok(writer)
        };
        // The Arrow reader may panic on bytes that are not its own.
        let Ok(Ok(writer)) = catch_panic(replay) else {
            return Ok(None);
        };
        let sink = writer.get_ref();
        let is_same = sink.n_bytes == checkpoint.n_bytes && sink.sha256() == checkpoint.sha256;
        Ok(is_same.then_some(writer))
    }
}

/// The data file being written; counts and digests what passes.
struct DataSink {
    file: BufWriter<File>,
    hasher: Sha256,
    n_bytes: u64,
    /// The first bytes, which the file holds already; they are counted and not written again.
    n_stored: u64,
}

impl DataSink {
    /// Opens the file behind its first `n_stored` bytes; what follows them is cut off.
    fn open(path: &Path, n_stored: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)?;
        file.set_len(n_stored)?;
        file.seek(SeekFrom::End(0))?;
        Ok(DataSink {
            file: BufWriter::with_capacity(1 << 16, file),
            hasher: Sha256::new(),
            n_bytes: 0,
            n_stored,
        })
    }

    fn sha256(&self) -> String {
        hex(&self.hasher.clone().finalize())
    }

    /// Brings all bytes to the disk.
    fn finish(mut self) -> io::Result<DataFile> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(DataFile {
            name: DATA_FILE_NAME.to_string(),
            size_bytes: self.n_bytes,
            sha256: self.sha256(),
        })
    }
}

impl Write for DataSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_known = self.n_stored.saturating_sub(self.n_bytes);
        let n_known = n_known.min(bytes.len() as u64) as usize;
        self.file.write_all(&bytes[n_known..])?;
        self.hasher.update(bytes);
        self.n_bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
