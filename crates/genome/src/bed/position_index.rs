//! The index of a BGZF BED file, by which tabix finds the rows of a region.

use std::io::{self, Write};

use noodles::core::Position;
use noodles::csi::binning_index::Indexer;
use noodles::csi::binning_index::index::header::{self, ReferenceSequenceNames};
use noodles::csi::binning_index::index::reference_sequence::bin::Chunk;
use noodles::csi::binning_index::index::reference_sequence::index::{BinnedIndex, LinearIndex};
use noodles::csi::binning_index::index::{Index, reference_sequence};
use noodles::{csi, tabix};

use crate::interval::Interval;

/// Bits of the smallest bin, in both kinds of index.
const MIN_SHIFT: u8 = 14;

/// Levels of bins of a tabix index, which reaches 2^(14 + 3 x 5) bases.
const TABIX_DEPTH: u8 = 5;

/// Levels of bins of a CSI index: it reaches 2^(14 + 3 x 6) bases, as far as a bigWig.
const CSI_DEPTH: u8 = 6;

/// One past the last base that an index of so many levels reaches, 0-based.
const fn reach(depth: u8) -> u64 {
    1 << (MIN_SHIFT + 3 * depth)
}

/// Where each row of a file is: tabix's own kind of index, or CSI where that does not reach.
#[derive(Default)]
pub(super) struct PositionIndex {
    chroms: ReferenceSequenceNames,
    /// Number of the chromosome, first and last base (1-based), place in the file.
    rows: Vec<(usize, Position, Position, Chunk)>,
    /// One past the last base of all rows, 0-based.
    end: u64,
}

impl PositionIndex {
    /// How the names of indexes end behind that of their file.
    pub(super) const ENDINGS: [&str; 2] = [".tbi", ".csi"];

    /// Adds the row behind those added so far; `false` when no index reaches it. An empty interval counts as the base at
    /// its start.
    pub(super) fn add(&mut self, interval: &Interval, chunk: Chunk) -> bool {
        let end = interval.end().max(interval.start() + 1);
        let position = |base: u64| Position::try_from(usize::try_from(base).ok()?).ok();
        let places = position(interval.start() + 1).zip(position(end));
        let Some((first, last)) = places.filter(|_| end <= reach(CSI_DEPTH)) else {
            return false;
        };
        let (chrom, _) = self.chroms.insert_full(interval.chrom().into());
        self.rows.push((chrom, first, last, chunk));
        self.end = self.end.max(end);
        true
    }

    fn is_tabix(&self) -> bool {
        self.end <= reach(TABIX_DEPTH)
    }

    /// How the name of the index ends.
    pub(super) fn ending(&self) -> &'static str {
        let [tabix, csi] = Self::ENDINGS;
        if self.is_tabix() { tabix } else { csi }
    }

    /// Writes the index.
    pub(super) fn write(self, out: impl Write) -> io::Result<()> {
        if self.is_tabix() {
            let mut writer = tabix::io::Writer::new(out);
            writer.write_index(&self.build::<LinearIndex>(TABIX_DEPTH)?)?;
            return writer.try_finish();
        }
        let mut writer = csi::io::Writer::new(out);
        writer.write_index(&self.build::<BinnedIndex>(CSI_DEPTH)?)?;
        writer.into_inner().finish().map(|_| ())
    }

    fn build<I>(self, depth: u8) -> io::Result<Index<I>>
    where
        I: reference_sequence::Index + Default,
    {
        let invalid = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
        let n_chroms = self.chroms.len();
        let mut header = header::Builder::bed().build();
        *header.reference_sequence_names_mut() = self.chroms;
        let mut indexer = Indexer::<I>::new(MIN_SHIFT, depth)
            .ok_or_else(|| invalid("an index of so many levels"))?
            .set_header(header);
        for (chrom, first, last, chunk) in self.rows {
            indexer
                .add_record(Some((chrom, first, last, true)), chunk)
                .map_err(io::Error::other)?;
        }
        Ok(indexer.build(n_chroms))
    }
}
