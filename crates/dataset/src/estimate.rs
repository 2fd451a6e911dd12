//! How large a data set is before it is written.

use std::path::Path;

use arrow_ipc::writer::FileWriter;

use crate::error::DatasetError;
use crate::example::{Example, ExampleReader};
use crate::prepared::{RowLayout, batch_of, rows_per_batch};
use crate::source::ExampleSource;

/// Sizes of a data set, on disk and in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// Number of examples.
    pub n_examples: usize,
    /// Number of examples that were read and encoded for this.
    pub n_sampled: usize,
    /// Bytes of one example in a prepared file, measured on a sample of the examples.
    pub prepared_bytes_per_example: u64,
    /// Bytes of one example in memory; exact but for the names of the gene.
    pub memory_bytes_per_example: u64,
}

impl Estimate {
    /// Bytes of the prepared file.
    pub fn prepared_bytes(&self) -> u64 {
        self.prepared_bytes_per_example * self.n_examples as u64
    }
}

/// Examples that are encoded to measure their size.
const MAX_SAMPLE: usize = 8;

/// Measures a few examples, evenly spaced in the list, as they would be written.
///
/// # Errors
/// Whatever reading those examples causes.
pub fn estimate(reader: &ExampleReader) -> Result<Estimate, DatasetError> {
    let n_examples = reader.len();
    let layout = RowLayout::of(reader.config());
    let length = reader.config().length;
    let path = Path::new(crate::DATA_FILE_NAME);
    let n_sample = n_examples.min(MAX_SAMPLE);
    let sample = (0..n_sample)
        .map(|rank| reader.read(rank * n_examples / n_sample))
        .collect::<Result<Vec<Example>, DatasetError>>()?;
    let mut batches = Vec::new();
    for examples in sample.chunks(rows_per_batch(length)) {
        batches.push(batch_of(examples, &layout, path)?);
    }
    let size_of = |n_batches: usize| -> Result<usize, arrow_schema::ArrowError> {
        let mut writer = FileWriter::try_new(Vec::new(), layout.schema())?;
        for batch in batches.iter().take(n_batches) {
            writer.write(batch)?;
        }
        writer.finish()?;
        Ok(writer.into_inner()?.len())
    };
    let empty = size_of(0).map_err(DatasetError::arrow(path, "write"))?;
    let full = size_of(batches.len()).map_err(DatasetError::arrow(path, "write"))?;
    // One byte for the base, one for the region, four for each track.
    let memory = length * (2 + 4 * reader.n_tracks() as u64) + size_of_struct();
    Ok(Estimate {
        n_examples,
        n_sampled: n_sample,
        prepared_bytes_per_example: ((full - empty) as u64).div_ceil(n_sample.max(1) as u64),
        memory_bytes_per_example: memory,
    })
}

fn size_of_struct() -> u64 {
    std::mem::size_of::<Example>() as u64
}
