//! Contact maps of cooler (`.cool`, `.mcool`), read with the crate hdf5-pure.

mod node;
mod write;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{Dataset, File};

use self::node::Node;
pub(super) use self::node::{check_chunks, check_number, check_size, damaged, refuse};
pub use self::write::{ContactPixel, write_cool};
use super::{FactorKind, Factors, Normalization, apply_factors, n_bins_of};
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::panic_guard::catch_panic;

/// One bin size and one normalisation of a cooler file.
///
/// The pixel table is sorted by row (`bin1_id`), `indexes/bin1_offset` tells where a row
/// starts, and only the upper triangle is stored: a bin's contacts with bins before it are in
/// the rows of those bins. So a profile reads the rows from the window's first bin to the gene's
/// bin, decompressing the chunks that they lie in and no others. Each pixel's own row is compared
/// with the index, because a damaged index would make a map of other rows, or an empty one.
#[derive(Debug)]
pub(super) struct CoolMap {
    path: PathBuf,
    /// The bin size's group inside the file, `""` for the root of a `.cool`.
    group: String,
    /// Size of the file in bytes.
    n_stored: u64,
    chrom_sizes: ChromSizes,
    resolution: u64,
    /// First bin of each chromosome, then the number of all bins.
    chrom_offsets: Vec<u64>,
    n_pixels: u64,
    bin1_offset: Dataset,
    bin1_id: Dataset,
    bin2_id: Dataset,
    count: Dataset,
    /// Name of their data set, the data set and what is done with them.
    factors: Option<(String, Dataset, FactorKind)>,
    /// What was read of the chromosomes asked for so far.
    chroms: Mutex<HashMap<usize, Arc<ChromIndex>>>,
}

/// What is kept of a chromosome.
#[derive(Debug)]
struct ChromIndex {
    /// Its first bin in the file's numbering.
    first_bin: u64,
    /// Where each row starts in the pixel table, then where the last one ends; never decreasing.
    row_offsets: Vec<u64>,
    factors: Option<Factors>,
}

impl CoolMap {
    pub(super) fn open(
        path: &Path,
        resolution: u64,
        normalization: Normalization,
    ) -> Result<Self, GenomeError> {
        catch_panic(|| Self::open_unguarded(path, resolution, normalization))
            .map_err(|message| damaged(path, "/", &message))?
    }

    fn open_unguarded(
        path: &Path,
        resolution: u64,
        normalization: Normalization,
    ) -> Result<Self, GenomeError> {
        let file = File::open_streaming(path).map_err(|error| refuse(path, "/", error))?;
        let node = Node::choose(path, &file, resolution)?;
        node.check_kind()?;
        let (sizes, chrom_offsets) = read_chroms(&node, resolution)?;
        let [bin1_id, bin2_id, count] = node.pixel_columns()?;
        let map = CoolMap {
            path: path.to_path_buf(),
            chrom_sizes: sizes,
            resolution,
            chrom_offsets,
            n_pixels: node.n_rows("pixels/bin1_id", &bin1_id)?,
            bin1_offset: node.dataset("indexes/bin1_offset")?,
            bin1_id,
            bin2_id,
            count,
            factors: node.open_factors(normalization, resolution)?,
            chroms: Mutex::new(HashMap::new()),
            n_stored: node.n_stored(),
            group: node.into_group(),
        };
        map.check_index_ends()?;
        Ok(map)
    }

    /// Refuses an index that does not span all pixels.
    fn check_index_ends(&self) -> Result<(), GenomeError> {
        for (bin, expected) in [(0, 0), (self.n_bins(), self.n_pixels)] {
            let found = self.read(
                "indexes/bin1_offset",
                &self.bin1_offset,
                bin,
                1,
                Dataset::read_i64_rows,
            )?;
            let found = found.first().copied().unwrap_or(-1);
            if u64::try_from(found) != Ok(expected) {
                return Err(self.damaged(
                    "indexes/bin1_offset",
                    &format!("row {bin} starts at pixel {found}, not at pixel {expected}"),
                ));
            }
        }
        Ok(())
    }

    /// Number of bins of all chromosomes.
    fn n_bins(&self) -> u64 {
        self.chrom_offsets.last().copied().unwrap_or(0)
    }

    pub(super) fn chrom_sizes(&self) -> &ChromSizes {
        &self.chrom_sizes
    }

    pub(super) fn resolution(&self) -> u64 {
        self.resolution
    }

    /// Contacts of one bin with a range of bins; `chrom` and the bins exist.
    pub(super) fn read_row(
        &self,
        chrom: &str,
        bin: u64,
        bins: Range<u64>,
    ) -> Result<Vec<f64>, GenomeError> {
        catch_panic(|| self.read_row_unguarded(chrom, bin, bins))
            .map_err(|message| self.damaged("pixels", &message))?
    }

    fn read_row_unguarded(
        &self,
        chrom: &str,
        bin: u64,
        bins: Range<u64>,
    ) -> Result<Vec<f64>, GenomeError> {
        let index = self.chrom_index(chrom)?;
        let no_row = || self.damaged("indexes/bin1_offset", "it lacks a row");
        // Rows before the bin hold its contacts with them, its own row those with bins after it.
        let rows = bins.start.min(bin)..bins.end.min(bin + 1).max(bins.start.min(bin) + 1);
        let (Ok(first), Ok(last)) = (usize::try_from(rows.start), usize::try_from(rows.end)) else {
            return Err(no_row());
        };
        let offsets = index.row_offsets.get(first..=last).ok_or_else(no_row)?;
        let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) else {
            return Err(no_row());
        };
        let n_pixels = end - start;
        self.check_rows(index.first_bin + rows.start, offsets)?;
        let columns = self.read(
            "pixels/bin2_id",
            &self.bin2_id,
            start,
            n_pixels,
            Dataset::read_i64_rows,
        )?;
        let counts = self.read(
            "pixels/count",
            &self.count,
            start,
            n_pixels,
            Dataset::read_f64_rows,
        )?;

        let n_bins = usize::try_from(bins.end - bins.start).map_err(|_| no_row())?;
        let mut contacts = vec![0.0; n_bins];
        let mut pixels = columns.into_iter().zip(counts);
        for (row, bounds) in rows.zip(offsets.windows(2)) {
            let row_len = usize::try_from(bounds[1] - bounds[0]).map_err(|_| no_row())?;
            for (column, count) in pixels.by_ref().take(row_len) {
                let column = u64::try_from(column)
                    .ok()
                    .and_then(|column| column.checked_sub(index.first_bin))
                    .filter(|column| *column >= row && *column + index.first_bin < self.n_bins())
                    .ok_or_else(|| {
                        let row = index.first_bin + row;
                        self.damaged(
                            "pixels/bin2_id",
                            &format!(
                                "column {column} of row {row} is below the diagonal or past the \
                                 last bin"
                            ),
                        )
                    })?;
                let other = match (row == bin, column == bin) {
                    (true, _) => column,
                    (false, true) => row,
                    (false, false) => continue,
                };
                if bins.contains(&other)
                    && let Some(contact) = contacts.get_mut((other - bins.start) as usize)
                {
                    if count.is_nan() {
                        return Err(self.not_a_count(chrom, row, column));
                    }
                    *contact += count;
                }
            }
        }
        if let Some(factors) = &index.factors {
            apply_factors(&mut contacts, &bins, bin, factors);
        }
        Ok(contacts)
    }

    /// Compares where neighbouring rows start, and the last one ends, with the rows that the pixels
    /// themselves are of; `first_row` is numbered as the file does.
    fn check_rows(&self, first_row: u64, offsets: &[u64]) -> Result<(), GenomeError> {
        let (Some(&start), Some(&end)) = (offsets.first(), offsets.last()) else {
            return Ok(());
        };
        // One pixel more on each side, which must be of another row.
        let first = start.saturating_sub(1);
        let n_pixels = end.saturating_add(1).min(self.n_pixels);
        let rows = self.read(
            "pixels/bin1_id",
            &self.bin1_id,
            first,
            n_pixels.saturating_sub(first),
            Dataset::read_i64_rows,
        )?;
        for (pixel, found) in (first..).zip(rows) {
            // The number of rows that start at or before the pixel, one too many for an index.
            let n_started = offsets.partition_point(|&offset| offset <= pixel) as u64;
            let is_right = u64::try_from(found).is_ok_and(|found| {
                if n_started == 0 {
                    found < first_row
                } else if n_started == offsets.len() as u64 {
                    found + 1 >= first_row + n_started
                } else {
                    found + 1 == first_row + n_started
                }
            });
            if !is_right {
                let expected = (first_row + n_started).saturating_sub(1);
                return Err(self.damaged(
                    "indexes/bin1_offset",
                    &format!("pixel {pixel} is of row {found}, but of row {expected} by the index"),
                ));
            }
        }
        Ok(())
    }

    /// The row offsets and factors of a chromosome, read on first use.
    fn chrom_index(&self, chrom: &str) -> Result<Arc<ChromIndex>, GenomeError> {
        let bounds = self.chrom_sizes.index_of(chrom).and_then(|number| {
            let first = self.chrom_offsets.get(number)?;
            let end = self.chrom_offsets.get(number + 1)?;
            Some((number, *first, *end))
        });
        let Some((number, first_bin, end_bin)) = bounds else {
            return Err(GenomeError::UnknownChrom {
                path: self.path.clone(),
                chrom: chrom.to_string(),
                hint: self.chrom_sizes.hint(chrom),
            });
        };
        let mut chroms = self.chroms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = chroms.get(&number) {
            return Ok(Arc::clone(index));
        }
        let n_bins = end_bin - first_bin;
        let offsets = self.read(
            "indexes/bin1_offset",
            &self.bin1_offset,
            first_bin,
            n_bins + 1,
            Dataset::read_i64_rows,
        )?;
        let mut row_offsets: Vec<u64> = Vec::with_capacity(offsets.len());
        for offset in offsets {
            let last = row_offsets.last().copied().unwrap_or(0);
            match u64::try_from(offset) {
                Ok(offset) if offset >= last => row_offsets.push(offset),
                _ => {
                    return Err(self.damaged("indexes/bin1_offset", "its rows are not in order"));
                }
            }
        }
        let factors = match &self.factors {
            None => None,
            Some((name, dataset, kind)) => Some(Factors {
                values: self.read(name, dataset, first_bin, n_bins, Dataset::read_f64_rows)?,
                kind: *kind,
            }),
        };
        let index = Arc::new(ChromIndex {
            first_bin,
            row_offsets,
            factors,
        });
        chroms.insert(number, Arc::clone(&index));
        Ok(index)
    }

    /// Reads a stretch of a data set, all of it or nothing.
    fn read<T>(
        &self,
        name: &str,
        dataset: &Dataset,
        start: u64,
        count: u64,
        read: impl Fn(&Dataset, u64, u64) -> Result<Vec<T>, hdf5_pure::Error>,
    ) -> Result<Vec<T>, GenomeError> {
        let object = format!("{}/{name}", self.group);
        let rows = Some((start, count));
        check_size(&self.path, &object, dataset, self.n_stored, rows)?;
        let values =
            read(dataset, start, count).map_err(|error| refuse(&self.path, &object, error))?;
        check_number(&self.path, &object, values.len(), count)?;
        Ok(values)
    }

    fn damaged(&self, name: &str, reason: &str) -> GenomeError {
        damaged(&self.path, &format!("{}/{name}", self.group), reason)
    }

    /// The error for two bins whose count is NaN; bins count from the chromosome's first.
    fn not_a_count(&self, chrom: &str, row: u64, column: u64) -> GenomeError {
        let place = |bin: u64| bin.saturating_mul(self.resolution).saturating_add(1);
        GenomeError::CorruptObject {
            path: self.path.clone(),
            object: format!("{}/pixels/count", self.group),
            reason: format!(
                "the count of the bins at {chrom}:{} and {chrom}:{} is NaN; leave out what was not \
                 measured, or make the map again",
                place(row),
                place(column)
            ),
        }
    }
}

/// Reads the chromosomes and the first bin of each, and checks one against the other.
fn read_chroms(node: &Node<'_>, resolution: u64) -> Result<(ChromSizes, Vec<u64>), GenomeError> {
    let names = node.read("chroms/name", Dataset::read_string)?;
    let lengths = node.read("chroms/length", Dataset::read_i64)?;
    let offsets = node.read("indexes/chrom_offset", Dataset::read_i64)?;
    if names.len() != lengths.len() || names.len() + 1 != offsets.len() {
        return Err(node.damaged(
            "indexes/chrom_offset",
            &format!(
                "{} names, {} lengths and {} offsets of chromosomes do not fit together",
                names.len(),
                lengths.len(),
                offsets.len()
            ),
        ));
    }
    let mut sizes = Vec::with_capacity(names.len());
    let mut chrom_offsets = vec![0];
    let mut first_bin = 0_u64;
    for ((name, length), offset) in names
        .into_iter()
        .zip(lengths)
        .zip(offsets.into_iter().skip(1))
    {
        let length = u64::try_from(length)
            .map_err(|_| node.damaged("chroms/length", &format!("{name:?} has {length} bp")))?;
        let end_bin = first_bin.saturating_add(n_bins_of(length, resolution));
        if u64::try_from(offset) != Ok(end_bin) {
            return Err(node.damaged(
                "indexes/chrom_offset",
                &format!("{name:?} ({length} bp) ends at bin {offset}, not at bin {end_bin}"),
            ));
        }
        chrom_offsets.push(end_bin);
        first_bin = end_bin;
        sizes.push((name, length));
    }
    let sizes = ChromSizes::new(sizes);
    if sizes.len() + 1 != chrom_offsets.len() {
        return Err(node.damaged("chroms/name", "a chromosome's name occurs twice"));
    }
    Ok((sizes, chrom_offsets))
}
