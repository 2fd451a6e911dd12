//! Reading a prepared data set.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, root_as_footer};
use genome::{Gene, catch_panic};

use super::decode::{example_of, gene_of, split_of};
use super::manifest::{Manifest, digest_file};
use super::{DATA_FILE_NAME, FORMAT_VERSION, MANIFEST_FILE_NAME, RowLayout};
use crate::error::DatasetError;
use crate::example::Example;
use crate::fold::Split;
use crate::source::ExampleSource;

/// Reads examples of a prepared data set; for any number of threads.
///
/// Opening compares the data file with the manifest and keeps the genes in memory; reading an
/// example reads its record batch, about one window of 200,000 bases, and nothing else.
#[derive(Debug)]
pub struct PreparedReader {
    path: PathBuf,
    file: File,
    file_size: u64,
    manifest: Manifest,
    layout: RowLayout,
    decoder: FileDecoder,
    blocks: Vec<Block>,
    /// batch and row within it, of each example
    places: Vec<(usize, usize)>,
    genes: Vec<Gene>,
    splits: Vec<Split>,
}

/// Bytes after the footer of an Arrow file: its length and the magic number.
const TRAILER_BYTES: usize = 10;

impl PreparedReader {
    /// Opens the data set in `folder`.
    ///
    /// # Errors
    /// [`DatasetError::NoManifest`] as after an interrupted preparation; [`DatasetError::NotPrepared`]
    /// when the data file is missing or the manifest unreadable; [`DatasetError::PreparedVersion`];
    /// [`DatasetError::PreparedDigest`] when the data file is not the one that was written;
    /// [`DatasetError::Arrow`], [`DatasetError::CorruptRow`].
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, DatasetError> {
        let folder = folder.as_ref();
        let manifest = read_manifest(folder)?;
        let path = folder.join(DATA_FILE_NAME);
        check_digest(&path, &manifest)?;

        let file = File::open(&path).map_err(DatasetError::io(&path, "open"))?;
        let layout = RowLayout::of(&manifest.description.settings);
        let (decoder, genes_decoder, blocks) =
            read_footer(&file, manifest.data.size_bytes, &layout, &path)?;
        let mut reader = PreparedReader {
            file_size: manifest.data.size_bytes,
            path,
            file,
            manifest,
            layout,
            decoder,
            blocks,
            places: Vec::new(),
            genes: Vec::new(),
            splits: Vec::new(),
        };
        reader.read_genes(&genes_decoder)?;
        Ok(reader)
    }

    /// What the data set was made of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The genes of the examples, in order.
    pub fn genes(&self) -> &[Gene] {
        &self.genes
    }

    /// Reads one example.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchExample`] past the last one; [`DatasetError::CorruptRow`],
    /// [`DatasetError::Io`] or [`DatasetError::Arrow`] when the file changed since it was opened.
    pub fn read(&self, index: usize) -> Result<Example, DatasetError> {
        let &(batch, row) = self.places.get(index).ok_or(DatasetError::NoSuchExample {
            index,
            len: self.places.len(),
        })?;
        let batch = self.read_batch(batch, &self.decoder)?;
        if row >= batch.num_rows() {
            return Err(self.corrupt(index, "the record batch is shorter than before"));
        }
        example_of(&batch, row, &self.layout).map_err(|error| self.corrupt(index, &error.0))
    }

    fn read_genes(&mut self, decoder: &FileDecoder) -> Result<(), DatasetError> {
        for index in 0..self.blocks.len() {
            let batch = self.read_batch(index, decoder)?;
            for row in 0..batch.num_rows() {
                let number = self.genes.len();
                let gene = gene_of(&batch, row).map_err(|error| self.corrupt(number, &error.0))?;
                let split =
                    split_of(&batch, row).map_err(|error| self.corrupt(number, &error.0))?;
                self.genes.push(gene);
                self.splits.push(split);
                self.places.push((index, row));
            }
        }
        Ok(())
    }

    fn read_batch(&self, index: usize, decoder: &FileDecoder) -> Result<RecordBatch, DatasetError> {
        let corrupt = |reason: &str| DatasetError::NotPrepared {
            path: self.path.clone(),
            reason: format!("record batch {index}: {reason}"),
        };
        let block = self
            .blocks
            .get(index)
            .ok_or_else(|| corrupt("it is not in the footer"))?;
        let offset = u64::try_from(block.offset()).ok();
        let metadata = u64::try_from(block.metaDataLength()).ok();
        let body = u64::try_from(block.bodyLength()).ok();
        let (Some(offset), Some(length)) = (
            offset,
            metadata.zip(body).and_then(|(a, b)| a.checked_add(b)),
        ) else {
            return Err(corrupt("its place in the file is negative"));
        };
        if offset
            .checked_add(length)
            .is_none_or(|end| end > self.file_size)
        {
            return Err(corrupt("it reaches over the end of the file"));
        }
        let buffer = read_at(&self.file, offset, length as usize)
            .map_err(DatasetError::io(&self.path, "read"))?;
        // The Arrow reader checks values, but not every offset in the batch's description.
        catch_panic(|| decoder.read_record_batch(block, &buffer))
            .map_err(|reason| corrupt(&reason))?
            .map_err(DatasetError::arrow(&self.path, "read"))?
            .ok_or_else(|| corrupt("it is empty"))
    }

    fn corrupt(&self, row: usize, reason: &str) -> DatasetError {
        DatasetError::CorruptRow {
            path: self.path.clone(),
            row,
            reason: reason.to_string(),
        }
    }
}

impl ExampleSource for PreparedReader {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn gene(&self, index: usize) -> &Gene {
        &self.genes[index]
    }

    fn split(&self, index: usize) -> Split {
        self.splits[index]
    }

    fn length(&self) -> usize {
        self.manifest.description.settings.length as usize
    }

    fn n_tracks(&self) -> usize {
        self.layout.n_tracks()
    }

    fn read(&self, index: usize) -> Result<Example, DatasetError> {
        PreparedReader::read(self, index)
    }
}

/// What the data set in `folder` was made of, by its manifest alone.
///
/// # Errors
/// [`DatasetError::NoManifest`] as after an interrupted preparation; [`DatasetError::NotPrepared`] when the manifest is
/// unreadable; [`DatasetError::PreparedVersion`].
pub fn read_manifest(folder: &Path) -> Result<Manifest, DatasetError> {
    /// All that a manifest of any version has.
    #[derive(serde::Deserialize)]
    struct Version {
        format_version: u32,
    }
    let path = folder.join(MANIFEST_FILE_NAME);
    let refuse = |reason: String| DatasetError::NotPrepared {
        path: path.clone(),
        reason,
    };
    let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DatasetError::NoManifest { path: path.clone() },
        _ => DatasetError::io(&path, "read")(error),
    })?;
    let unreadable = |error: serde_json::Error| refuse(format!("no manifest: {error}"));
    let version: Version = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if version.format_version != FORMAT_VERSION {
        return Err(DatasetError::PreparedVersion {
            path,
            found: version.format_version,
            expected: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(&bytes).map_err(unreadable)
}

fn check_digest(path: &Path, manifest: &Manifest) -> Result<(), DatasetError> {
    let expected = &manifest.data;
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => DatasetError::NotPrepared {
            path: path.to_path_buf(),
            reason: "the data file is missing".to_string(),
        },
        _ => DatasetError::io(path, "open")(error),
    })?;
    let differs = |what, found: String, expected: String| DatasetError::PreparedDigest {
        path: path.to_path_buf(),
        what,
        found,
        expected,
    };
    if metadata.len() != expected.size_bytes {
        return Err(differs(
            "size",
            format!("{} bytes", metadata.len()),
            format!("{} bytes", expected.size_bytes),
        ));
    }
    let (_, sha256) = digest_file(path)?;
    if sha256 != expected.sha256 {
        return Err(differs("sha256", sha256, expected.sha256.clone()));
    }
    Ok(())
}

/// Reads the columns and the places of the record batches; the second decoder reads genes only.
fn read_footer(
    file: &File,
    file_size: u64,
    layout: &RowLayout,
    path: &Path,
) -> Result<(FileDecoder, FileDecoder, Vec<Block>), DatasetError> {
    let refuse = |reason: &str| DatasetError::NotPrepared {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    };
    let read = |offset: u64, length: usize| {
        read_at(file, offset, length).map_err(DatasetError::io(path, "read"))
    };
    let trailer_start = file_size
        .checked_sub(TRAILER_BYTES as u64)
        .ok_or_else(|| refuse("the file is too short"))?;
    let trailer: [u8; TRAILER_BYTES] = read(trailer_start, TRAILER_BYTES)?
        .as_slice()
        .try_into()
        .map_err(|_| refuse("the file is too short"))?;
    let footer_length = read_footer_length(trailer).map_err(DatasetError::arrow(path, "read"))?;
    let footer_start = trailer_start
        .checked_sub(footer_length as u64)
        .ok_or_else(|| refuse("the footer is longer than the file"))?;
    let bytes = read(footer_start, footer_length)?;
    let footer = root_as_footer(&bytes)
        .map_err(|error| refuse(&format!("the footer is damaged: {error}")))?;
    let schema = footer
        .schema()
        .ok_or_else(|| refuse("the footer has no columns"))?;
    let schema = try_fb_to_schema(schema).map_err(DatasetError::arrow(path, "read"))?;
    if schema != **layout.schema() {
        return Err(refuse(
            "the columns are not those of the manifest's settings",
        ));
    }
    let blocks = footer
        .recordBatches()
        .map(|blocks| blocks.iter().copied().collect())
        .unwrap_or_default();
    let decoder = || FileDecoder::new(Arc::clone(layout.schema()), footer.version());
    let genes_decoder = decoder().with_projection(RowLayout::gene_columns());
    Ok((decoder(), genes_decoder, blocks))
}

/// Reads `length` bytes at `offset` into aligned memory; does not move any cursor.
fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Buffer> {
    let mut buffer = MutableBuffer::from_len_zeroed(length);
    #[cfg(unix)]
    std::os::unix::fs::FileExt::read_exact_at(file, buffer.as_slice_mut(), offset)?;
    #[cfg(windows)]
    {
        use std::os::windows::fs::FileExt;
        let mut done = 0;
        while done < length {
            let n = file.seek_read(&mut buffer.as_slice_mut()[done..], offset + done as u64)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            done += n;
        }
    }
    Ok(buffer.into())
}
