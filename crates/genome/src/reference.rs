//! The reference sequence, whatever file it is in.

use std::path::Path;

use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::fasta::Fasta;
use crate::interval::Interval;
use crate::two_bit::TwoBit;

/// A reference sequence from which any window can be read, by any number of threads.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reference {
    /// FASTA, plain or bgzip.
    Fasta(Fasta),
    /// UCSC's 2bit.
    TwoBit(TwoBit),
}

impl Reference {
    /// Opens a file as 2bit when it begins so or its name ends in `.2bit`, in any case, and as FASTA
    /// otherwise.
    ///
    /// # Errors
    /// As [`Fasta::open`] and [`TwoBit::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let is_named_so = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("2bit"));
        if is_named_so || TwoBit::is_at(path) {
            Ok(Reference::TwoBit(TwoBit::open(path)?))
        } else {
            Ok(Reference::Fasta(Fasta::open(path)?))
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Reference::Fasta(file) => file.path(),
            Reference::TwoBit(file) => file.path(),
        }
    }

    /// Names and lengths of the sequences, in the order of the file.
    pub fn chrom_sizes(&self) -> &ChromSizes {
        match self {
            Reference::Fasta(file) => file.chrom_sizes(),
            Reference::TwoBit(file) => file.chrom_sizes(),
        }
    }

    /// Reads the bases of an interval as they are stored, ASCII letters of either case.
    ///
    /// # Errors
    /// As [`Fasta::read_bases`] and [`TwoBit::read_bases`].
    pub fn read_bases(&self, interval: &Interval) -> Result<Vec<u8>, GenomeError> {
        match self {
            Reference::Fasta(file) => file.read_bases(interval),
            Reference::TwoBit(file) => file.read_bases(interval),
        }
    }
}
