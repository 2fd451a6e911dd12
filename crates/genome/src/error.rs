//! The one error type of the crate: every variant says where in which file.

use std::path::PathBuf;

use crate::lines::check_packed;

/// Why a genome file or a coordinate was refused.
///
/// Lines count from 1, bytes from 0. Messages print an interval as a region string
/// (1-based, inclusive) and quote the offending value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenomeError {
    /// The operating system refused to open, read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "open", "read", "write to", "rename to".
        action: &'static str,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },

    /// Three values that are no interval.
    #[error("{chrom:?} from {start} to {end} (0-based, half-open) is no interval: {reason}")]
    InvalidInterval {
        /// Chromosome as given.
        chrom: String,
        /// First base, 0-based.
        start: u64,
        /// One past the last base, 0-based.
        end: u64,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// Text that is no region string.
    #[error("region {text:?}: {reason}; write it as chr3:1001-2000 (1-based, both ends included)")]
    InvalidRegion {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A table lacks a column.
    #[error("{}:{line}: no column {wanted}; the columns are {found}", path.display())]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// Line of the header.
        line: u64,
        /// The column, or the columns of which one is needed.
        wanted: String,
        /// The columns that exist, joined by commas.
        found: String,
    },

    /// A line has too few or too many fields.
    #[error("{}:{line}: {found} tab-separated fields where {expected} are expected", path.display())]
    FieldCount {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// How many there should be, in words.
        expected: String,
        /// How many there are.
        found: usize,
    },

    /// A field does not hold what its column promises.
    #[error("{}:{line}: {column} {value:?} is not {expected}", path.display())]
    InvalidField {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The column's name.
        column: String,
        /// The value, shortened when it is long.
        value: String,
        /// What it should have been, with the remedy if there is one.
        expected: &'static str,
    },

    /// A line of a text file breaks the format.
    #[error("{}:{line}: {reason}", path.display())]
    InvalidLine {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },

    /// A name that must be unique occurs twice.
    #[error("{}:{line}: {column} {value:?} occurs already on line {first_line}; keep one of the two", path.display())]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The second occurrence.
        line: u64,
        /// What the name names: a column, "chromosome" or "sequence".
        column: String,
        /// The name.
        value: String,
        /// The first occurrence.
        first_line: u64,
    },

    /// A file holds no record at all.
    #[error("{}: no {what} in the file; is it the right one, and whole?", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },

    /// A chromosome that the file does not have.
    #[error("{}: no chromosome {chrom:?}; {hint}", path.display())]
    UnknownChrom {
        /// The file that was asked.
        path: PathBuf,
        /// The chromosome asked for.
        chrom: String,
        /// The names it has, and the likely mistake.
        hint: String,
    },

    /// A record of a table names a chromosome that the genome does not have.
    #[error("{}:{line}: no chromosome {chrom:?} in the genome; {hint}", path.display())]
    UnknownChromOnLine {
        /// The table.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The chromosome on that line.
        chrom: String,
        /// The names the genome has, and the likely mistake.
        hint: String,
    },

    /// An interval reaches over the end of its chromosome.
    #[error("{}: {chrom}:{}-{end} is outside {chrom} ({length} bp)", path.display(), start + 1)]
    OutsideChrom {
        /// The file that was asked.
        path: PathBuf,
        /// The chromosome.
        chrom: String,
        /// First base asked for, 0-based.
        start: u64,
        /// One past the last base asked for, 0-based.
        end: u64,
        /// The chromosome's length in bases.
        length: u64,
    },

    /// A region of a file reaches over the end of its chromosome in the genome.
    #[error("{}{}: {chrom}:{}-{end} is outside {chrom} ({length} bp); is this the same assembly as the genome?", path.display(), at_line(*line), start + 1)]
    RegionOutsideChrom {
        /// The file of the regions.
        path: PathBuf,
        /// The line, in files that have lines.
        line: Option<u64>,
        /// The chromosome.
        chrom: String,
        /// First base of the region, 0-based.
        start: u64,
        /// One past its last base, 0-based.
        end: u64,
        /// The chromosome's length in the genome, in bases.
        length: u64,
    },

    /// A gene starts past the end of its chromosome.
    #[error("{}:{line}: tss {tss} is past the end of {chrom} ({length} bp); is this {assembly}?", path.display())]
    TssOutsideChrom {
        /// The gene table.
        path: PathBuf,
        /// The gene's line.
        line: u64,
        /// The start site, 0-based.
        tss: u64,
        /// The chromosome.
        chrom: String,
        /// The chromosome's length in bases.
        length: u64,
        /// The assembly that the genes may come from.
        assembly: &'static str,
    },

    /// Bytes of a binary or compressed file do not follow its format.
    #[error("{}: byte {offset}: {reason}", path.display())]
    CorruptAtByte {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong.
        reason: String,
    },

    /// A record of a binary file cannot be used.
    #[error("{}: record {record}: {reason}", path.display())]
    InvalidRecord {
        /// The file.
        path: PathBuf,
        /// The record, counted from 1.
        record: u64,
        /// What is wrong, with the remedy if there is one.
        reason: String,
    },

    /// The data of a region cannot be decoded.
    #[error("{}: {region}: {reason}", path.display())]
    CorruptRegion {
        /// The file.
        path: PathBuf,
        /// The region, as a region string.
        region: String,
        /// What is wrong.
        reason: String,
    },

    /// An object inside a structured file is missing or cannot be decoded.
    #[error("{}: {object}: {reason}", path.display())]
    CorruptObject {
        /// The file.
        path: PathBuf,
        /// The object: a data set's path, a chromosome's matrix.
        object: String,
        /// What is wrong.
        reason: String,
    },

    /// A contact map was not binned at this resolution.
    #[error("{}: no contacts in bins of {wanted} bp; the file has {available}, choose one of these as resolution", path.display())]
    UnknownResolution {
        /// The contact map.
        path: PathBuf,
        /// Bin size asked for, in bases.
        wanted: u64,
        /// The bin sizes it has, in bases, joined by commas.
        available: String,
    },

    /// A contact map lacks the factors of this normalisation.
    #[error("{}: no {wanted} normalisation of {object} in bins of {resolution} bp; normalization can be {available}", path.display())]
    UnknownNormalization {
        /// The contact map.
        path: PathBuf,
        /// The normalisation asked for.
        wanted: String,
        /// What it was asked for: a chromosome, or the file.
        object: String,
        /// Bin size in bases.
        resolution: u64,
        /// The normalisations it has, joined by commas.
        available: String,
    },

    /// A window lies on another chromosome than what it is a window of.
    #[error("{}: window {window} is not on {chrom}", path.display())]
    WindowOnOtherChrom {
        /// The file that was asked.
        path: PathBuf,
        /// The window, as a region string.
        window: String,
        /// The chromosome it should be on.
        chrom: String,
    },

    /// An index does not describe the file beside it.
    #[error("{}: the index does not fit {}: {reason}; delete the index, it is then built again", path.display(), indexed.display())]
    StaleIndex {
        /// The index.
        path: PathBuf,
        /// The file that it should describe.
        indexed: PathBuf,
        /// Where they disagree.
        reason: String,
    },

    /// A file to be written is one that is read.
    #[error("{}: the output would replace the input {}; give the output another name", path.display(), input.display())]
    OutputIsInput {
        /// The file to be written.
        path: PathBuf,
        /// The file that is read, under the name that the user gave.
        input: PathBuf,
    },

    /// Records to be written are not in order.
    #[error("{}: row {row} ({region}) comes before the row above it; sort by chromosome, then start", path.display())]
    Unsorted {
        /// The file to be written.
        path: PathBuf,
        /// The row, counted from 1.
        row: u64,
        /// Its interval, as a region string.
        region: String,
    },

    /// Records to be written share a base.
    #[error("{}: row {row} ({region}) overlaps the row above it; merge or cut the two", path.display())]
    Overlapping {
        /// The file to be written.
        path: PathBuf,
        /// The row, counted from 1.
        row: u64,
        /// Its interval, as a region string.
        region: String,
    },

    /// A record to be written would not read back as itself.
    #[error("{}: row {row}: {column} {value:?} cannot be written: {reason}", path.display())]
    Unwritable {
        /// The file to be written.
        path: PathBuf,
        /// The row, counted from 1.
        row: u64,
        /// The column.
        column: &'static str,
        /// The value, shortened when it is long.
        value: String,
        /// Why it cannot stand there.
        reason: &'static str,
    },
}

impl GenomeError {
    /// Returns a closure that wraps a system error with the file and what was tried.
    pub fn io<'a>(
        path: &'a std::path::Path,
        action: &'static str,
    ) -> impl Fn(std::io::Error) -> GenomeError + 'a {
        move |source| GenomeError::Io {
            path: path.to_path_buf(),
            action,
            source,
        }
    }

    /// This error; or, when it is about a line of a compressed text file that is damaged, that.
    ///
    /// A checksum stands behind the text that it is about, so that damaged text is read, and refused
    /// for what it says, before. The whole file is unpacked to find out.
    pub fn or_damage(self) -> Self {
        let (GenomeError::MissingColumn { path, .. }
        | GenomeError::FieldCount { path, .. }
        | GenomeError::InvalidField { path, .. }
        | GenomeError::InvalidLine { path, .. }
        | GenomeError::Duplicate { path, .. }
        | GenomeError::UnknownChromOnLine { path, .. }
        | GenomeError::RegionOutsideChrom { path, .. }
        | GenomeError::TssOutsideChrom { path, .. }) = &self
        else {
            return self;
        };
        match check_packed(path) {
            Err(damage @ GenomeError::InvalidLine { .. }) => damage,
            _ => self,
        }
    }
}

/// A line behind a path, where there is one.
fn at_line(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(":{line}"))
}

/// Shortens a value from a file so that a message stays one readable line.
pub(crate) fn shorten(value: &str) -> String {
    const MAX_CHARS: usize = 60;
    match value.char_indices().nth(MAX_CHARS) {
        Some((byte, _)) => format!("{}…", &value[..byte]),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_path_line_and_remedy() {
        let cases = [
            (
                GenomeError::TssOutsideChrom {
                    path: "genes.tsv".into(),
                    line: 412,
                    tss: 59_000_000,
                    chrom: "chr19".into(),
                    length: 58_617_616,
                    assembly: "hg19",
                },
                "genes.tsv:412: tss 59000000 is past the end of chr19 (58617616 bp); is this hg19?",
            ),
            (
                GenomeError::OutsideChrom {
                    path: "g.fa".into(),
                    chrom: "chr1".into(),
                    start: 9,
                    end: 11,
                    length: 10,
                },
                "g.fa: chr1:10-11 is outside chr1 (10 bp)",
            ),
            (
                GenomeError::RegionOutsideChrom {
                    path: "a.bed".into(),
                    line: Some(7),
                    chrom: "chr1".into(),
                    start: 9,
                    end: 11,
                    length: 10,
                },
                "a.bed:7: chr1:10-11 is outside chr1 (10 bp); is this the same assembly as the genome?",
            ),
            (
                GenomeError::InvalidField {
                    path: "genes.tsv".into(),
                    line: 3,
                    column: "tss".into(),
                    value: "x\t1".into(),
                    expected: "a whole number",
                },
                "genes.tsv:3: tss \"x\\t1\" is not a whole number",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn shorten_long_value_cuts_at_a_character() {
        assert_eq!(shorten("abc"), "abc");
        assert_eq!(shorten(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
    }
}
