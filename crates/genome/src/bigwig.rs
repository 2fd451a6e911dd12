//! One track file: bigWig in, one value per base out; and bigWig out.

mod positional_file;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bigwig::BigWigReader;

use self::positional_file::PositionalFile;
pub use self::write::write_bigwig;
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::interval::Interval;
use crate::panic_guard::catch_panic;

/// A bigWig file, open for reading from any number of threads.
///
/// Opening reads the header and the chromosome names; a query reads the index nodes and the data
/// blocks that it needs, nothing else. Files of either byte order and with bedGraph,
/// variableStep or fixedStep sections are read.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("signal.bw");
/// use genome::{BigWig, ChromSizes, Interval, write_bigwig};
/// let sizes = ChromSizes::new(vec![("chr1".to_string(), 100)]);
/// write_bigwig(&path, &sizes, [(Interval::try_new("chr1", 2, 4)?, 1.5)])?;
///
/// let track = BigWig::open(&path)?;
/// let values = track.read_values(&Interval::try_new("chr1", 1, 4)?)?;
/// assert!(values[0].is_nan());
/// assert_eq!(values[1..], [1.5, 1.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BigWig {
    path: PathBuf,
    chrom_sizes: ChromSizes,
    file: Arc<File>,
    readers: Mutex<Readers>,
}

/// The readers of one file that no thread is using; all share what was parsed on opening.
struct Readers {
    /// Never lent out, so that another reader can always be made from it.
    first: BigWigReader<PositionalFile>,
    idle: Vec<BigWigReader<PositionalFile>>,
}

impl BigWig {
    /// Opens a bigWig file.
    ///
    /// # Errors
    /// [`GenomeError::Io`] when it cannot be read, [`GenomeError::CorruptAtByte`] when it is no
    /// bigWig, is cut off or is damaged where opening reads it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let open = GenomeError::io(path, "open");
        let file = Arc::new(File::open(path).map_err(&open)?);
        let source = PositionalFile::new(Arc::clone(&file)).map_err(&open)?;
        let first = catch_panic(|| BigWigReader::new(source))
            .map_err(|message| damaged(path, 0, &message))?
            .map_err(|error| refuse(path, None, error))?;
        let chrom_sizes = first
            .chroms()
            .iter()
            .map(|chrom| (chrom.name.clone(), u64::from(chrom.length)))
            .collect();
        Ok(BigWig {
            path: path.to_path_buf(),
            chrom_sizes: ChromSizes::new(chrom_sizes),
            file,
            readers: Mutex::new(Readers {
                first,
                idle: Vec::new(),
            }),
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The chromosomes with their lengths, in the file's own numbering.
    pub fn chrom_sizes(&self) -> &ChromSizes {
        &self.chrom_sizes
    }

    /// Reads one value per base of the interval; NaN where the file has no data.
    ///
    /// # Errors
    /// [`GenomeError::UnknownChrom`] and [`GenomeError::OutsideChrom`] for an interval that the
    /// file's chromosomes do not hold; [`GenomeError::CorruptAtByte`] for data that is cut off
    /// or damaged; [`GenomeError::Io`].
    pub fn read_values(&self, interval: &Interval) -> Result<Vec<f32>, GenomeError> {
        self.chrom_sizes.check(&self.path, interval)?;
        let outside = |_| GenomeError::CorruptRegion {
            path: self.path.clone(),
            region: interval.to_string(),
            reason: "it is too long to be held in memory".to_string(),
        };
        let start = u32::try_from(interval.start()).map_err(|_| outside(()))?;
        let end = u32::try_from(interval.end()).map_err(|_| outside(()))?;
        let length = usize::try_from(interval.len()).map_err(|_| outside(()))?;
        let mut values = Vec::new();
        values.try_reserve_exact(length).map_err(|_| outside(()))?;
        values.resize(length, f32::NAN);

        let mut reader = self.take_reader()?;
        // A reader whose query panicked is dropped here, not used again.
        let (reader, result) = catch_panic(move || {
            let result = reader.values_into(interval.chrom(), start, end, &mut values, f32::NAN);
            (reader, result.map(|_covered| values))
        })
        .map_err(|message| damaged(&self.path, 0, &message))?;
        self.put_back(reader);
        result.map_err(|error| refuse(&self.path, Some(interval), error))
    }

    fn take_reader(&self) -> Result<BigWigReader<PositionalFile>, GenomeError> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = readers.idle.pop() {
            return Ok(reader);
        }
        let source = PositionalFile::new(Arc::clone(&self.file))
            .map_err(GenomeError::io(&self.path, "read"))?;
        Ok(readers.first.with_source(source))
    }

    fn put_back(&self, reader: BigWigReader<PositionalFile>) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.idle.push(reader);
    }
}

impl std::fmt::Debug for BigWig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BigWig")
            .field("path", &self.path)
            .field("chrom_sizes", &self.chrom_sizes)
            .finish_non_exhaustive()
    }
}

/// An error for bytes at `offset` that make no sense, with the likely cause.
fn damaged(path: &Path, offset: u64, reason: &str) -> GenomeError {
    GenomeError::CorruptAtByte {
        path: path.to_path_buf(),
        offset,
        reason: format!("{reason}; the bigWig is cut off or damaged, copy it again"),
    }
}

/// Says in the crate's own terms what the bigWig library refused.
fn refuse(path: &Path, interval: Option<&Interval>, error: bigwig::Error) -> GenomeError {
    let no_bigwig = |offset, reason: String| GenomeError::CorruptAtByte {
        path: path.to_path_buf(),
        offset,
        reason,
    };
    match error {
        bigwig::Error::Io(source) => GenomeError::io(path, "read")(source),
        bigwig::Error::NotBigWig { found } => no_bigwig(
            0,
            format!("this is no bigWig file, it starts with {found:#010x}"),
        ),
        bigwig::Error::IsBigBed => no_bigwig(
            0,
            "this is a bigBed file; give it as regions, or a bigWig as a track".to_string(),
        ),
        bigwig::Error::UnsupportedVersion(version) => {
            no_bigwig(4, format!("bigWig version {version} is none of 1 to 4"))
        }
        bigwig::Error::Corrupt { offset, reason } => damaged(path, offset, &reason),
        bigwig::Error::Decompress { offset, reason } => damaged(
            path,
            offset,
            &format!("a data block cannot be decompressed ({reason})"),
        ),
        other => GenomeError::CorruptRegion {
            path: path.to_path_buf(),
            region: interval.map_or_else(|| "the whole file".to_string(), Interval::to_string),
            reason: other.to_string(),
        },
    }
}
