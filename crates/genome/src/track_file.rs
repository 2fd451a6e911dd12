//! One track in any file that is read as a track.

mod conversion;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::alignment::{AlignmentFile, CramReference, ReadFilter};
use crate::bed_graph::{BedGraphRows, LeftOutRows};
use crate::bigwig::{BigWig, write_bigwig_with};
use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::interval::Interval;

pub use self::conversion::{Conversion, ConversionPlace};
use self::conversion::{Converted, Key};

/// Values along the genome, from a bigWig, a bedGraph or aligned reads.
///
/// A bigWig is read where it lies. Every other kind has no way to the values of a window, or only
/// a slow one; it is read once, from front to back, into a bigWig that is kept beside it for the
/// next run, see [`conversion`](Self::conversion). Memory does not grow with the file.
#[derive(Debug)]
pub struct TrackFile {
    path: PathBuf,
    values: BigWig,
    converted: Option<Converted>,
}

/// How a track's file is read, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackKind {
    /// bigWig, and every name that is none of the others.
    BigWig,
    /// `.bedgraph`, `.bdg` or `.bg`, in any case; with `.gz` or `.bgz`, compressed.
    BedGraph,
    /// `.bam` or `.cram`: the number of reads over each base, per million reads.
    Alignment,
}

impl TrackKind {
    /// The kind of a file of that name.
    pub fn of(path: &Path) -> Self {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        let plain = [".gz", ".bgz"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending))
            .unwrap_or(&name);
        if [".bedgraph", ".bdg", ".bg"]
            .iter()
            .any(|ending| plain.ends_with(ending))
        {
            TrackKind::BedGraph
        } else if name.ends_with(".bam") || name.ends_with(".cram") {
            TrackKind::Alignment
        } else {
            TrackKind::BigWig
        }
    }
}

impl TrackFile {
    /// Opens a track of a genome.
    ///
    /// `chrom_sizes` holds the genome's chromosomes under every name that the file may use: a
    /// bedGraph does not say how long they are. `reference` is the genome's file, which a CRAM is
    /// decoded with. `filter` chooses among aligned reads; other kinds do not have any.
    ///
    /// # Errors
    /// As [`BigWig::open`]; for a bedGraph the path and line of a row that is out of order,
    /// overlaps another, is past the end of its chromosome or has no finite value, and
    /// [`GenomeError::UnknownChrom`] when no row lies on the genome,
    /// [`GenomeError::UnknownChromOnLine`] when some lie on one of its chromosomes by another name;
    /// for reads the number of a
    /// record that is out of order or damaged, and [`GenomeError::Empty`] without a read.
    pub fn open(
        path: impl AsRef<Path>,
        chrom_sizes: &ChromSizes,
        reference: impl Into<CramReference>,
        filter: &ReadFilter,
    ) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let (values, converted) = match TrackKind::of(path) {
            TrackKind::BigWig => (BigWig::open(path)?, None),
            TrackKind::BedGraph => {
                let key = Key::new(path, "bedgraph")?.with_chrom_sizes(chrom_sizes);
                let (values, converted) = conversion::open(path, &key, |target| {
                    convert_bed_graph(path, target, chrom_sizes)
                })?;
                (values, Some(converted))
            }
            TrackKind::Alignment => {
                let key = Key::new(path, &format!("cpm-{}", filter.label()))?;
                let (values, converted) = conversion::open(path, &key, |target| {
                    AlignmentFile::new(path, reference.into()).write_cpm(target, filter)
                })?;
                (values, Some(converted))
            }
        };
        Ok(TrackFile {
            path: path.to_path_buf(),
            values,
            converted,
        })
    }

    /// The file that the user gave.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The chromosomes that the file has values for, with their lengths.
    pub fn chrom_sizes(&self) -> &ChromSizes {
        self.values.chrom_sizes()
    }

    /// Reads one value per base of the interval; NaN where the file has no data.
    ///
    /// # Errors
    /// As [`BigWig::read_values`].
    pub fn read_values(&self, interval: &Interval) -> Result<Vec<f32>, GenomeError> {
        self.values.read_values(interval)
    }

    /// What the file was read into, when it is no bigWig; [`Display`](std::fmt::Display) says it
    /// in a sentence for the user.
    pub fn conversion(&self) -> Option<&Conversion> {
        self.converted.as_ref().map(Converted::conversion)
    }
}

/// Refuses a bedGraph that uses two namings, so that rows would be left out of chromosomes that the
/// genome does have.
///
/// A file without a row on the genome is refused elsewhere.
fn refuse_other_naming(
    path: &Path,
    chrom_sizes: &ChromSizes,
    found: &[(String, u64)],
    left_out: &BTreeMap<String, LeftOutRows>,
) -> Result<(), GenomeError> {
    let named_otherwise = left_out
        .iter()
        .filter_map(|(chrom, rows)| {
            Some((rows.first_line, chrom, chrom_sizes.similar_name(chrom)?))
        })
        .min();
    let Some((line, chrom, name)) = named_otherwise.filter(|_| !found.is_empty()) else {
        return Ok(());
    };
    // Two names of one chromosome in one file cannot both be declared.
    let has_both = found.iter().any(|(found, _)| found == name);
    let hint = match has_both {
        true => format!(
            "it is called {name:?} there, a name that other rows of this file have; rename these \
             rows, or remove them"
        ),
        false => format!(
            "it is called {name:?} there, and other rows of this file are named as there; rename \
             these rows, or declare the name with --chrom-alias {chrom}={name}"
        ),
    };
    Err(GenomeError::UnknownChromOnLine {
        path: path.to_path_buf(),
        line,
        chrom: chrom.clone(),
        hint,
    })
}

/// Writes a bedGraph as a bigWig of the chromosomes that have a row; says what was left out.
///
/// The file is read twice: the first time every row is checked and the order of the chromosomes
/// found, which a bigWig lists before its values.
fn convert_bed_graph(
    path: &Path,
    target: &Path,
    chrom_sizes: &ChromSizes,
) -> Result<String, GenomeError> {
    let mut found: Vec<(String, u64)> = Vec::new();
    let mut n_rows = 0_u64;
    let mut rows = BedGraphRows::open(path, chrom_sizes)?;
    while let Some((interval, _)) = rows.next_row()? {
        n_rows += 1;
        let chrom = interval.chrom();
        if found.last().is_none_or(|(last, _)| last != chrom) {
            let length = chrom_sizes.get(chrom).unwrap_or(interval.end());
            found.push((chrom.to_string(), length));
        }
    }
    let left_out = rows.left_out();
    refuse_other_naming(path, chrom_sizes, &found, left_out)?;
    if found.is_empty() {
        let first = left_out.iter().min_by_key(|(_, rows)| rows.first_line);
        return Err(match first {
            Some((chrom, rows)) => GenomeError::UnknownChromOnLine {
                path: path.to_path_buf(),
                line: rows.first_line,
                hint: chrom_sizes.hint(chrom),
                chrom: chrom.clone(),
            },
            None => GenomeError::Empty {
                path: path.to_path_buf(),
                what: "row",
            },
        });
    }
    let mut note = format!("{n_rows} rows");
    if let Some((first, _)) = left_out.first_key_value() {
        let n_left_out: u64 = left_out.values().map(|rows| rows.n_rows).sum();
        note += &format!(
            "; {n_left_out} rows on {} chromosomes that the genome does not have, {first} among \
             them, were left out",
            left_out.len()
        );
    }
    let mut rows = BedGraphRows::open(path, chrom_sizes)?;
    write_bigwig_with(target, &ChromSizes::new(found), |out| {
        while let Some((interval, value)) = rows.next_row()? {
            out.push(interval, value)?;
        }
        Ok(())
    })?;
    Ok(note)
}

#[cfg(test)]
mod tests;
