//! Variants: VCF, plain or compressed, and BCF, record by record.

mod bcf;
mod vcf;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::chrom_sizes::ChromSizes;
use crate::error::GenomeError;
use crate::interval::Interval;
use crate::reference::Reference;

/// One record of a variant file, not yet split into alleles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantRecord {
    /// The chromosome's name in the file.
    pub chrom: String,
    /// First base of the reference allele, 0-based.
    pub start: u64,
    /// Names of the variant, joined by `;`; `None` when it has none.
    pub id: Option<String>,
    /// The reference allele as it is written: at least one base, either case.
    pub reference: String,
    /// The alternate alleles in the order of the record; empty when it has none.
    pub alternates: Vec<Allele>,
    /// Where in the file it is.
    pub place: VariantPlace,
}

/// One alternate allele.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allele {
    /// Its bases, at least one, either case.
    Bases(String),
    /// Only named, `<DEL>` or `<*>`; with the brackets.
    Symbolic(String),
    /// Joined to another place, `G]chr2:321]`, or to none, `G.`.
    Breakend(String),
    /// `*`: the base is gone, because a variant further left deletes it.
    Deleted,
}

/// Where a record stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariantPlace {
    /// On this line of a VCF, from 1.
    Line(u64),
    /// The record of that number of a BCF, from 1.
    Record(u64),
}

/// How a record's reference allele compares with the genome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceCheck {
    /// It is what the genome has there.
    Same,
    /// The genome has other bases there.
    Differs {
        /// Those bases.
        genome: String,
    },
    /// The genome does not have that place.
    NotThere {
        /// Why not, in a clause.
        reason: String,
    },
}

impl fmt::Display for VariantPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VariantPlace::Line(line) => write!(f, "line {line}"),
            VariantPlace::Record(record) => write!(f, "record {record}"),
        }
    }
}

impl VariantPlace {
    /// The place with its file, as messages begin: `a.vcf:12`, or `a.bcf: record 12`.
    pub fn in_file(self, path: &Path) -> String {
        match self {
            VariantPlace::Line(line) => format!("{}:{line}", path.display()),
            VariantPlace::Record(_) => format!("{}: {self}", path.display()),
        }
    }
}

impl fmt::Display for Allele {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Allele::Bases(text) | Allele::Symbolic(text) | Allele::Breakend(text) => text,
            Allele::Deleted => "*",
        })
    }
}

impl VariantRecord {
    /// The bases that the reference allele covers.
    ///
    /// # Errors
    /// [`GenomeError::InvalidInterval`] for a name that is no chromosome's.
    pub fn interval(&self) -> Result<Interval, GenomeError> {
        let end = self.start.saturating_add(self.reference.len() as u64);
        Interval::try_new(self.chrom.as_str(), self.start, end)
    }

    /// Compares the reference allele with the genome, in any case.
    ///
    /// An ambiguous base of the genome (R, Y, …) also equals the first base of the alphabet that
    /// it stands for, because that is what a VCF must write for it (VCF specification, REF).
    ///
    /// # Errors
    /// [`GenomeError`] when the genome's file cannot be read there.
    pub fn check_reference(&self, genome: &Reference) -> Result<ReferenceCheck, GenomeError> {
        let sizes = genome.chrom_sizes();
        let Some(length) = sizes.get(&self.chrom) else {
            return Ok(ReferenceCheck::NotThere {
                reason: format!(
                    "no chromosome {:?}; {}",
                    self.chrom,
                    sizes.hint(&self.chrom)
                ),
            });
        };
        let interval = self.interval()?;
        if interval.end() > length {
            return Ok(ReferenceCheck::NotThere {
                reason: format!("{interval} is past the end of {} ({length} bp)", self.chrom),
            });
        }
        let found = genome.read_bases(&interval)?;
        let is_same = found.iter().zip(self.reference.bytes()).all(|(a, b)| {
            a.eq_ignore_ascii_case(&b) || first_base(*a) == Some(b.to_ascii_uppercase())
        });
        Ok(if is_same {
            ReferenceCheck::Same
        } else {
            ReferenceCheck::Differs {
                genome: String::from_utf8_lossy(&found).into_owned(),
            }
        })
    }
}

/// The first base of the alphabet that an ambiguous code stands for.
fn first_base(code: u8) -> Option<u8> {
    match code.to_ascii_uppercase() {
        b'R' | b'W' | b'M' | b'D' | b'H' | b'V' => Some(b'A'),
        b'Y' | b'S' | b'B' => Some(b'C'),
        b'K' => Some(b'G'),
        _ => None,
    }
}

/// The records of a variant file, one after the other; memory does not grow with the file.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("a.vcf");
/// # let header = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";
/// std::fs::write(&path, format!("{header}chr1\t3\trs1\tG\tA,<DEL>\t.\t.\t.\n"))?;
/// let mut file = genome::VariantFile::open(&path)?;
/// let record = file.next_record()?.expect("one record");
/// assert_eq!((record.start, record.reference.as_str()), (2, "G"));
/// assert_eq!(record.alternates[1], genome::Allele::Symbolic("<DEL>".into()));
/// assert!(file.next_record()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct VariantFile {
    path: PathBuf,
    format: Format,
}

enum Format {
    Vcf(vcf::VcfLines),
    Bcf(Box<bcf::BcfRecords>),
}

impl VariantFile {
    /// Opens a BCF or a VCF, plain, gzip or bgzip, whatever its name.
    ///
    /// # Errors
    /// [`GenomeError`] for a file that cannot be read, is cut off, or has no VCF header.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GenomeError> {
        let path = path.as_ref();
        let format = if bcf::is_bcf(path)? {
            Format::Bcf(Box::new(bcf::BcfRecords::open(path)?))
        } else {
            Format::Vcf(vcf::VcfLines::open(path)?)
        };
        Ok(VariantFile {
            path: path.to_path_buf(),
            format,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names and lengths of the chromosomes whose lengths the header declares.
    pub fn declared_sizes(&self) -> &ChromSizes {
        match &self.format {
            Format::Vcf(lines) => lines.declared_sizes(),
            Format::Bcf(records) => records.declared_sizes(),
        }
    }

    /// The next record, `None` behind the last one.
    ///
    /// # Errors
    /// [`GenomeError`] with path and line (VCF) or record (BCF): too few fields, a position that
    /// is none, an allele that is neither bases nor one of the other kinds, damaged data. Reading
    /// cannot go on after an error.
    pub fn next_record(&mut self) -> Result<Option<VariantRecord>, GenomeError> {
        match &mut self.format {
            Format::Vcf(lines) => lines.next_record(),
            Format::Bcf(records) => records.next_record(),
        }
    }
}

/// Whether text is an allele written out in bases.
fn is_bases(text: &str) -> bool {
    let is_base = |byte: u8| b"ACGTNRYSWKMBDHV".contains(&byte.to_ascii_uppercase());
    !text.is_empty() && text.bytes().all(is_base)
}

/// The kind of an alternate allele; `None` for text that is none.
fn parse_allele(text: &str) -> Option<Allele> {
    let has_name = text.len() > 2 && text.starts_with('<') && text.ends_with('>');
    let is_joined = || text.contains(['[', ']']);
    let is_single_end = || {
        let bases = text.strip_prefix('.').or_else(|| text.strip_suffix('.'));
        bases.is_some_and(is_bases)
    };
    if is_bases(text) {
        Some(Allele::Bases(text.to_string()))
    } else if text == "*" {
        Some(Allele::Deleted)
    } else if has_name {
        Some(Allele::Symbolic(text.to_string()))
    } else if is_joined() || is_single_end() {
        Some(Allele::Breakend(text.to_string()))
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
