//! Writing a prepared data set.

use std::io::{self, Write};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use genome::{AtomicFile, write_atomic};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

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
/// not depend on their number. `progress` is told how many examples are written, and of how many.
/// Both files get their names only when they are whole, the manifest last; until then an older
/// data set in the folder stays as it was.
///
/// # Errors
/// Whatever reading an example causes, with the first example in order; [`DatasetError::Genome`],
/// [`DatasetError::Io`] or [`DatasetError::Arrow`] when something cannot be written.
pub fn write_prepared(
    reader: &ExampleReader,
    folder: impl AsRef<Path>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Manifest, DatasetError> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder).map_err(DatasetError::io(folder, "create"))?;
    let data_path = folder.join(DATA_FILE_NAME);
    let description = describe_data(reader)?;

    let mut file = AtomicFile::create(&data_path)?;
    let digest = write_data(reader, &mut file, &data_path, progress)?;
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_string(),
        data: digest,
        description,
    };
    let manifest_path = folder.join(MANIFEST_FILE_NAME);
    let mut json = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| DatasetError::io(&manifest_path, "write to")(error.into()))?;
    json.push(b'\n');
    file.commit()?;
    write_atomic(&manifest_path, |file| file.write_all(&json))?;
    Ok(manifest)
}

fn write_data(
    reader: &ExampleReader,
    file: &mut AtomicFile,
    path: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<DataFile, DatasetError> {
    let layout = RowLayout::of(reader.config());
    let n_examples = reader.len();
    let rows = rows_per_batch(reader.config().length);
    let sink = DigestWriter::new(file.writer());
    let mut writer =
        FileWriter::try_new(sink, layout.schema()).map_err(DatasetError::arrow(path))?;
    let batches: Vec<std::ops::Range<usize>> = (0..n_examples)
        .step_by(rows)
        .map(|first| first..(first + rows).min(n_examples))
        .collect();
    // As many batches in memory as keep every thread busy.
    for group in batches.chunks(2 * rayon::current_num_threads()) {
        let encoded: Vec<Result<RecordBatch, DatasetError>> = group
            .par_iter()
            .map(|range| {
                let examples = range
                    .clone()
                    .map(|index| reader.read(index))
                    .collect::<Result<Vec<Example>, _>>()?;
                batch_of(&examples, &layout, path)
            })
            .collect();
        for batch in encoded {
            writer.write(&batch?).map_err(DatasetError::arrow(path))?;
        }
        progress(group.last().map_or(0, |range| range.end), n_examples);
    }
    writer.finish().map_err(DatasetError::arrow(path))?;
    let sink = writer.into_inner().map_err(DatasetError::arrow(path))?;
    Ok(DataFile {
        name: DATA_FILE_NAME.to_string(),
        size_bytes: sink.n_bytes,
        sha256: hex(&sink.hasher.finalize()),
    })
}

/// Counts and digests what it passes on.
struct DigestWriter<W> {
    inner: W,
    hasher: Sha256,
    n_bytes: u64,
}

impl<W: Write> DigestWriter<W> {
    fn new(inner: W) -> Self {
        DigestWriter {
            inner,
            hasher: Sha256::new(),
            n_bytes: 0,
        }
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
