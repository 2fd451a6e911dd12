//! Contact maps of Juicer (`.hic`, versions 6 to 9), read with the crate gwseq-io.

mod tile_cache;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gwseq_io::hic::{HiCReader, HiCRequest, Unit, header};
use gwseq_io::source::ByteSource;

use self::tile_cache::{TILE_BINS, Tile, TileCache};
use super::{FactorKind, Factors, Normalization, apply_factors, listing, n_bins_of};
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::panic_guard::catch_panic;

/// Threads that decompress blocks: as many as the machine has.
const ONE_PER_CORE: i64 = 0;

/// One bin size and one normalisation of a `.hic` file.
///
/// The library's own normalisation is not used: it knows no factor of a bin without contacts, so
/// a masked bin would read as an empty one, and it divides in single precision.
pub(super) struct HicMap {
    path: PathBuf,
    chrom_sizes: ChromSizes,
    resolution: u64,
    normalization: Normalization,
    reader: HiCReader,
    /// The same file once more, for the vectors that the reader keeps to itself.
    source: Arc<dyn ByteSource>,
    factors: Mutex<HashMap<String, Arc<Factors>>>,
    tiles: TileCache,
}

impl HicMap {
    pub(super) fn open(
        path: &Path,
        resolution: u64,
        normalization: Normalization,
    ) -> Result<Self, GenomeError> {
        let name = path.to_str().ok_or_else(|| {
            GenomeError::io(path, "open")(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path of a .hic file must be valid UTF-8",
            ))
        })?;
        let (reader, source) = catch_panic(|| {
            let reader = HiCReader::open(name, ONE_PER_CORE, None, None)?;
            Ok((reader, gwseq_io::source::open(name, None, None)?))
        })
        .map_err(|message| damaged_object(path, "header or index", &message))?
        .map_err(|error| refuse(path, "header or index", error))?;

        let map = HicMap {
            path: path.to_path_buf(),
            chrom_sizes: read_sizes(path, &reader)?,
            resolution,
            normalization,
            reader,
            source,
            factors: Mutex::new(HashMap::new()),
            tiles: TileCache::default(),
        };
        let mut resolutions = map.reader.bin_sizes(Unit::Bp).to_vec();
        let same = |&bin: &i64| u64::try_from(bin) == Ok(resolution);
        if resolution == 0 || !resolutions.iter().any(same) {
            resolutions.sort_unstable();
            return Err(GenomeError::UnknownResolution {
                path: path.to_path_buf(),
                wanted: resolution,
                available: listing(resolutions),
            });
        }
        match vector_name(normalization) {
            None if normalization != Normalization::None => Err(map.no_vector("the file")),
            Some(name) if !map.vector_names().contains(&name) => Err(map.no_vector("the file")),
            _ => Ok(map),
        }
    }

    pub(super) fn chrom_sizes(&self) -> &ChromSizes {
        &self.chrom_sizes
    }

    pub(super) fn resolution(&self) -> u64 {
        self.resolution
    }

    /// Contacts of one bin with a range of bins; `chrom` and the bins exist, and there is one.
    pub(super) fn read_row(
        &self,
        chrom: &str,
        bin: u64,
        bins: Range<u64>,
    ) -> Result<Vec<f64>, GenomeError> {
        let mut contacts = Vec::new();
        usize::try_from(bins.end - bins.start)
            .ok()
            .filter(|n_bins| contacts.try_reserve_exact(*n_bins).is_ok())
            .ok_or_else(|| self.too_long(chrom))?;
        let chrom_index = self.chrom_sizes.index_of(chrom).unwrap_or(usize::MAX);
        let row_tile = bin / TILE_BINS;
        for column_tile in bins.start / TILE_BINS..bins.end.div_ceil(TILE_BINS) {
            // The matrix is symmetric: a tile below the diagonal is the one above it, transposed.
            let (low, high) = (row_tile.min(column_tile), row_tile.max(column_tile));
            let tile = self.tiles.find_or_read((chrom_index, low, high), || {
                self.read_tile(chrom, low, high)
            })?;
            let first = bins.start.max(column_tile * TILE_BINS);
            let end = bins.end.min((column_tile + 1) * TILE_BINS);
            for other in first..end {
                let (row, column) = match row_tile <= column_tile {
                    true => (bin, other),
                    false => (other, bin),
                };
                let index = (row % TILE_BINS) * TILE_BINS + column % TILE_BINS;
                let count = tile.get(index as usize).copied().unwrap_or(0.0);
                contacts.push(f64::from(count));
            }
        }
        if let Some(factors) = self.factors_of(chrom)? {
            apply_factors(&mut contacts, &bins, bin, &factors);
        }
        Ok(contacts)
    }

    /// Decodes the blocks that a tile shares bins with.
    fn read_tile(&self, chrom: &str, row: u64, column: u64) -> Result<Tile, GenomeError> {
        let n_bins = n_bins_of(self.chrom_sizes.get(chrom).unwrap_or(0), self.resolution);
        let position = |bin: u64| {
            bin.min(n_bins)
                .checked_mul(self.resolution)
                .and_then(|position| i64::try_from(position).ok())
                .ok_or_else(|| self.too_long(chrom))
        };
        let (first_row, first_column) = (row * TILE_BINS, column * TILE_BINS);
        let mut request = HiCRequest::new(
            vec![chrom.to_string(), chrom.to_string()],
            vec![position(first_row)?, position(first_column)?],
            vec![
                position(first_row + TILE_BINS)?,
                position(first_column + TILE_BINS)?,
            ],
        );
        request.bin_size = i64::try_from(self.resolution).ok();
        // Without it the library drops the last bin of a chromosome, which is a partial one.
        request.full_bin = true;
        let object = format!("contacts of {chrom}");
        let sparse = catch_panic(|| self.reader.read_sparse_values(&request))
            .map_err(|message| damaged_object(&self.path, &object, &message))?
            .map_err(|error| refuse(&self.path, &object, error))?;
        let mut tile = vec![0.0_f32; (TILE_BINS * TILE_BINS) as usize];
        for ((&row, &column), &value) in sparse.row.iter().zip(&sparse.col).zip(&sparse.values) {
            let is_inside = u64::from(row) < TILE_BINS && u64::from(column) < TILE_BINS;
            let index = u64::from(row) * TILE_BINS + u64::from(column);
            if let (true, Some(count)) = (is_inside, tile.get_mut(index as usize)) {
                *count = value;
            }
        }
        Ok(tile.into())
    }

    fn too_long(&self, chrom: &str) -> GenomeError {
        GenomeError::CorruptObject {
            path: self.path.clone(),
            object: format!("contacts of {chrom}"),
            reason: format!(
                "a chromosome of {:?} bp is too long",
                self.chrom_sizes.get(chrom)
            ),
        }
    }

    /// The factors of a chromosome's bins, read on first use; none without a normalisation.
    fn factors_of(&self, chrom: &str) -> Result<Option<Arc<Factors>>, GenomeError> {
        let Some(name) = vector_name(self.normalization) else {
            return Ok(None);
        };
        let mut cache = self.factors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(factors) = cache.get(chrom) {
            return Ok(Some(Arc::clone(factors)));
        }
        let entry = self.reader.chr_sizes().get(chrom);
        let index = entry.and_then(|entry| i64::try_from(entry.index).ok());
        let bin_size = i64::try_from(self.resolution).ok();
        let (Some(index), Some(bin_size)) = (index, bin_size) else {
            return Err(self.no_vector(chrom));
        };
        let (footer, unit) = (self.reader.footer(), Unit::Bp.as_str());
        let key = header::vector_key(name, bin_size, unit, Some(index));
        if !footer.normalization_vectors.contains_key(&key) {
            return Err(self.no_vector(chrom));
        }
        let object = format!("{} factors of {chrom}", self.normalization);
        let version = self.reader.header().version;
        let source = self.source.as_ref();
        let values = catch_panic(|| {
            header::read_normalization_vector(source, footer, version, index, unit, bin_size, name)
        })
        .map_err(|message| damaged_object(&self.path, &object, &message))?
        .map_err(|error| refuse(&self.path, &object, error))?;
        let n_bins = n_bins_of(self.chrom_sizes.get(chrom).unwrap_or(0), self.resolution);
        if (values.len() as u64) < n_bins {
            return Err(GenomeError::CorruptObject {
                path: self.path.clone(),
                object,
                reason: format!("there are {} for {n_bins} bins", values.len()),
            });
        }
        let factors = Arc::new(Factors {
            values: values.into_iter().map(f64::from).collect(),
            kind: FactorKind::Divide,
        });
        cache.insert(chrom.to_string(), Arc::clone(&factors));
        Ok(Some(factors))
    }

    /// The names of all vectors at this bin size, in lower case as the library keeps them.
    fn vector_names(&self) -> Vec<&str> {
        let vectors = self.reader.footer().normalization_vectors.values();
        let mut names: Vec<&str> = vectors
            .filter(|vector| {
                vector.unit == Unit::Bp.as_str()
                    && u64::try_from(vector.bin_size) == Ok(self.resolution)
            })
            .map(|vector| vector.normalization.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn no_vector(&self, object: &str) -> GenomeError {
        let mut available = vec!["none"];
        available.extend(self.vector_names());
        GenomeError::UnknownNormalization {
            path: self.path.clone(),
            wanted: self.normalization.to_string(),
            object: object.to_string(),
            resolution: self.resolution,
            available: listing(available),
        }
    }
}

impl std::fmt::Debug for HicMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HicMap")
            .field("path", &self.path)
            .field("chrom_sizes", &self.chrom_sizes)
            .field("resolution", &self.resolution)
            .field("normalization", &self.normalization)
            .finish_non_exhaustive()
    }
}

/// The chromosomes that the file has contacts of, within them.
///
/// Its header names all of the assembly, whether or not there are any.
fn read_sizes(path: &Path, reader: &HiCReader) -> Result<ChromSizes, GenomeError> {
    let matrices = &reader.footer().master_index;
    if matrices.is_empty() {
        return Err(damaged_object(path, "index", "it lists no contacts"));
    }
    let mut sizes = Vec::new();
    for chrom in reader.chr_sizes().iter() {
        // Juicer stores its whole-genome view as a chromosome of that name.
        let matrix = format!("{0}_{0}", chrom.index);
        if chrom.id.eq_ignore_ascii_case("all") || !matrices.contains_key(&matrix) {
            continue;
        }
        let length = u64::try_from(chrom.size).map_err(|_| GenomeError::CorruptObject {
            path: path.to_path_buf(),
            object: format!("chromosome {:?}", crate::error::shorten(&chrom.id)),
            reason: format!("its length is {}", chrom.size),
        })?;
        sizes.push((chrom.id.clone(), length));
    }
    Ok(ChromSizes::new(sizes))
}

/// The library's name of a vector.
fn vector_name(normalization: Normalization) -> Option<&'static str> {
    match normalization {
        Normalization::None | Normalization::Weight => None,
        Normalization::Vc => Some("vc"),
        Normalization::VcSqrt => Some("vc_sqrt"),
        Normalization::Kr => Some("kr"),
        Normalization::Scale => Some("scale"),
    }
}

/// What to do about damage.
const REMEDY: &str = "the .hic file is cut off or damaged, copy it again";

fn damaged(path: &Path, offset: u64, reason: &str) -> GenomeError {
    GenomeError::CorruptAtByte {
        path: path.to_path_buf(),
        offset,
        reason: format!("{reason}; {REMEDY}"),
    }
}

/// Damage whose place in the file is not known, only what was being read.
fn damaged_object(path: &Path, object: &str, reason: &str) -> GenomeError {
    GenomeError::CorruptObject {
        path: path.to_path_buf(),
        object: object.to_string(),
        reason: format!("{reason}; {REMEDY}"),
    }
}

/// Says in the crate's own terms what the library refused.
fn refuse(path: &Path, object: &str, error: gwseq_io::Error) -> GenomeError {
    match error {
        gwseq_io::Error::Io { source, .. } => GenomeError::io(path, "read")(source),
        gwseq_io::Error::Corrupt { offset, what, .. } => damaged(path, offset, &what),
        gwseq_io::Error::Format { what, .. } => damaged_object(path, object, &what),
        other => damaged_object(path, object, &other.to_string()),
    }
}
