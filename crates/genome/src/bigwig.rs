//! One track file: bigWig in, one value per base out; and bigWig out.

mod index_nodes;
mod tile_cache;
mod write;

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bigwig::BigWigReader;

use self::index_nodes::IndexNodes;
use self::tile_cache::{Run, TILE_LENGTH, Tile, TileCache};
pub use self::write::{BigWigRows, write_bigwig, write_bigwig_with};
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::input_file::{foreign_content, head_of, open_input};
use crate::interval::Interval;
use crate::panic_guard::catch_panic;
use crate::positional_file::PositionalFile;

/// A bigWig file, open for reading from any number of threads.
///
/// Opening reads the header, the chromosome names and, once, the index; a query reads the index nodes
/// and the data blocks that it needs, and keeps what it decoded (up to 32 MiB) for the next. Files of either
/// byte order and with bedGraph, variableStep or fixedStep sections are read.
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
    tiles: TileCache,
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
    /// bigWig, is cut off or is damaged where opening reads it: header, names and index.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let open = GenomeError::io(path, "open");
        let file = Arc::new(open_input(path)?);
        let source = PositionalFile::new(Arc::clone(&file)).map_err(&open)?;
        let first = catch_panic(|| BigWigReader::new(source))
            .map_err(|message| damaged_region(path, None, &message))?
            .map_err(|error| refuse(path, None, error))?;
        IndexNodes::new(path, &file)?.check()?;
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
            tiles: TileCache::default(),
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
        let length = self.chrom_sizes.check(&self.path, interval)?;
        let too_long = || GenomeError::CorruptRegion {
            path: self.path.clone(),
            region: interval.to_string(),
            reason: "it is too long to be held in memory".to_string(),
        };
        let query = Query {
            chrom_index: self
                .chrom_sizes
                .index_of(interval.chrom())
                .unwrap_or(usize::MAX),
            chrom_length: u32::try_from(length).map_err(|_| too_long())?,
            start: u32::try_from(interval.start()).map_err(|_| too_long())?,
            end: u32::try_from(interval.end()).map_err(|_| too_long())?,
        };
        let n_values = usize::try_from(interval.len()).map_err(|_| too_long())?;
        let mut values = Vec::new();
        values.try_reserve_exact(n_values).map_err(|_| too_long())?;
        values.resize(n_values, f32::NAN);

        if let Some(tiles) = self.find_tiles(&query, interval)? {
            for run in tiles.iter().flat_map(|tile| tile.iter()) {
                query.fill(&mut values, run);
            }
            return Ok(values);
        }
        self.with_reader(interval, |reader| {
            let (chrom, start, end) = (interval.chrom(), query.start, query.end);
            reader
                .values_into(chrom, start, end, &mut values, f32::NAN)
                .map(|_covered| ())
        })?;
        Ok(values)
    }

    /// The tiles over a query, decoded now or before; `None` when it should be read directly.
    fn find_tiles(
        &self,
        query: &Query,
        interval: &Interval,
    ) -> Result<Option<Vec<Tile>>, GenomeError> {
        let numbers = query.start / TILE_LENGTH..query.end.div_ceil(TILE_LENGTH);
        if numbers.len() > MAX_TILES {
            return Ok(None);
        }
        let mut found = self.tiles.find(query.chrom_index, numbers.clone());
        let mut next = 0;
        while let Some(first) = found.iter().skip(next).position(Option::is_none) {
            let first = first + next;
            let n_missing = found
                .iter()
                .skip(first)
                .take_while(|tile| tile.is_none())
                .count();
            next = first + n_missing;
            let Some(tiles) = self.decode_tiles(
                query,
                interval,
                numbers.start + first as u32..numbers.start + next as u32,
            )?
            else {
                return Ok(None);
            };
            for (place, tile) in found.iter_mut().skip(first).zip(tiles) {
                *place = Some(tile);
            }
        }
        Ok(Some(found.into_iter().flatten().collect()))
    }

    /// Decodes neighbouring tiles in one query and keeps them; `None` when values overlap.
    fn decode_tiles(
        &self,
        query: &Query,
        interval: &Interval,
        numbers: Range<u32>,
    ) -> Result<Option<Vec<Tile>>, GenomeError> {
        // Tiles start inside the chromosome, whose length fits in 32 bits.
        let start = numbers.start * TILE_LENGTH;
        let end = numbers
            .end
            .saturating_mul(TILE_LENGTH)
            .min(query.chrom_length);
        let mut tiles: Vec<Vec<Run>> = vec![Vec::new(); numbers.len()];
        let mut n_free_bases = end - start;
        let fits = self.with_reader(interval, |reader| {
            for item in reader.items(interval.chrom(), start, end)? {
                let item = item?;
                let (mut from, to) = (item.start.max(start), item.end.min(end));
                // Only a faulty file has more values than bases; it must not cost more memory.
                match n_free_bases.checked_sub(to.saturating_sub(from)) {
                    Some(n_bases) => n_free_bases = n_bases,
                    None => return Ok(false),
                }
                while from < to {
                    let number = from / TILE_LENGTH;
                    let cut = to.min((number + 1).saturating_mul(TILE_LENGTH));
                    if let Some(tile) = tiles.get_mut((number - numbers.start) as usize) {
                        tile.push(Run {
                            start: from,
                            end: cut,
                            value: item.value,
                        });
                    }
                    from = cut;
                }
            }
            Ok(true)
        })?;
        if !fits {
            return Ok(None);
        }
        let tiles: Vec<Tile> = tiles.into_iter().map(Tile::from).collect();
        for (number, tile) in numbers.zip(&tiles) {
            self.tiles
                .store(query.chrom_index, number, Arc::clone(tile));
        }
        Ok(Some(tiles))
    }

    /// Lends a reader of the file to `work`, one that no other thread uses meanwhile.
    fn with_reader<T>(
        &self,
        interval: &Interval,
        work: impl FnOnce(&mut BigWigReader<PositionalFile>) -> bigwig::Result<T>,
    ) -> Result<T, GenomeError> {
        let mut reader = self.take_reader()?;
        // A reader whose query panicked is dropped here, not used again.
        let (reader, result) = catch_panic(move || {
            let result = work(&mut reader);
            (reader, result)
        })
        .map_err(|message| damaged_region(&self.path, Some(interval), &message))?;
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

/// Queries over more tiles than this, about 2 Mb, are read directly and not kept.
const MAX_TILES: usize = 64;

/// An interval of a chromosome in the terms of the format.
struct Query {
    chrom_index: usize,
    chrom_length: u32,
    start: u32,
    end: u32,
}

impl Query {
    /// Writes a run's value to the bases of the query that it covers.
    fn fill(&self, values: &mut [f32], run: &Run) {
        let (start, end) = (run.start.max(self.start), run.end.min(self.end));
        if start < end
            && let Some(covered) =
                values.get_mut((start - self.start) as usize..(end - self.start) as usize)
        {
            covered.fill(run.value);
        }
    }
}

/// What to do about damage.
const REMEDY: &str = "the bigWig is cut off or damaged, copy it again";

/// An error for bytes at `offset` that make no sense, with the likely cause.
fn damaged(path: &Path, offset: u64, reason: &str) -> GenomeError {
    GenomeError::CorruptAtByte {
        path: path.to_path_buf(),
        offset,
        reason: format!("{reason}; {REMEDY}"),
    }
}

/// An error for damage whose place in the file is not known, only what was asked for.
fn damaged_region(path: &Path, interval: Option<&Interval>, reason: &str) -> GenomeError {
    GenomeError::CorruptRegion {
        path: path.to_path_buf(),
        region: interval.map_or_else(|| "header or index".to_string(), Interval::to_string),
        reason: format!("{reason}; {REMEDY}"),
    }
}

/// What a file that starts with these four bytes (little-endian) is likely to be, and what to do.
fn likely_content(path: &Path, first: u32) -> String {
    if let Some(content) = foreign_content(&head_of(path)) {
        return format!("it is {content}");
    }
    let bytes = first.to_le_bytes();
    match bytes {
        [0, 0, 0, 0] => "it is empty or overwritten with zeros; copy it again".to_string(),
        [0x1f, 0x8b, ..] => {
            "it is gzip; a compressed bedGraph is read when its name ends in .bedGraph.gz"
                .to_string()
        }
        _ if bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) => format!(
            "it starts with the text {:?}; a bedGraph is read when its name ends in .bedGraph",
            String::from_utf8_lossy(&bytes)
        ),
        _ => format!("it starts with {first:#010x}"),
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
            format!("this is no bigWig file, {}", likely_content(path, found)),
        ),
        bigwig::Error::IsBigBed => no_bigwig(
            0,
            "this is a bigBed file; convert it with bigBedToBed to give it as regions, or give a bigWig"
                .to_string(),
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
        other => damaged_region(path, interval, &other.to_string()),
    }
}
