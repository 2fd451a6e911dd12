//! VCF: one record a line.

use std::path::{Path, PathBuf};

use super::{Allele, VariantPlace, VariantRecord, is_bases, parse_allele};
use crate::chrom_sizes::ChromSizes;
use crate::error::{GenomeError, shorten};
use crate::lines::Lines;

/// The columns that every VCF has, in this order.
const COLUMNS: [&str; 8] = [
    "#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO",
];

/// The lines of a VCF behind its header.
pub(super) struct VcfLines {
    path: PathBuf,
    lines: Lines,
    declared: ChromSizes,
}

impl VcfLines {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, GenomeError> {
        let mut lines = Lines::open(path)?;
        let mut declared = Vec::new();
        loop {
            let Some((line, text)) = lines.next_line()? else {
                return Err(GenomeError::Empty {
                    path: path.to_path_buf(),
                    what: "header line (#CHROM, POS, …)",
                });
            };
            if line == 1 && !text.starts_with("##fileformat=VCF") {
                return Err(GenomeError::InvalidLine {
                    path: path.to_path_buf(),
                    line,
                    reason: "this is no BCF, and a VCF starts with ##fileformat=VCF".into(),
                });
            }
            if text.starts_with("##") {
                declared.extend(parse_contig(text));
                continue;
            }
            if !text.split('\t').take(COLUMNS.len()).eq(COLUMNS) {
                return Err(GenomeError::InvalidLine {
                    path: path.to_path_buf(),
                    line,
                    reason: format!(
                        "the header line with the columns {} is missing",
                        COLUMNS.join(", ")
                    ),
                });
            }
            return Ok(VcfLines {
                path: path.to_path_buf(),
                lines,
                declared: ChromSizes::new(declared),
            });
        }
    }

    /// The contigs of the header that have a length.
    pub(super) fn declared_sizes(&self) -> &ChromSizes {
        &self.declared
    }

    pub(super) fn next_record(&mut self) -> Result<Option<VariantRecord>, GenomeError> {
        loop {
            match self.lines.next_line()? {
                None => return Ok(None),
                Some((_, text)) if text.trim().is_empty() => {}
                Some((line, text)) => return parse_record(&self.path, line, text).map(Some),
            }
        }
    }
}

/// Name and length of a header line such as `##contig=<ID=chr1,length=248956422>`; nothing for another
/// line, or one without a length.
fn parse_contig(text: &str) -> Option<(String, u64)> {
    let fields = text
        .strip_prefix("##contig=<")?
        .trim_end()
        .strip_suffix('>')?;
    let value_of = |key: &str| {
        let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
        fields
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    };
    Some((
        value_of("ID")?.to_string(),
        value_of("length")?.parse().ok()?,
    ))
}

fn parse_record(path: &Path, line: u64, text: &str) -> Result<VariantRecord, GenomeError> {
    let mut fields = text.split('\t');
    // The first five are read; the rest must be there.
    let (Some(chrom), Some(position), Some(id), Some(reference), Some(alternates), Some(_)) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.nth(2),
    ) else {
        return Err(GenomeError::FieldCount {
            path: path.to_path_buf(),
            line,
            expected: format!("at least {}", COLUMNS.len()),
            found: text.split('\t').count(),
        });
    };
    let invalid = |column: &str, text: &str, expected| GenomeError::InvalidField {
        path: path.to_path_buf(),
        line,
        column: column.to_string(),
        value: shorten(text),
        expected,
    };
    // Position 0, the end of a chromosome before its first base, has no base to compare.
    let start = position
        .parse::<u64>()
        .ok()
        .and_then(|position| position.checked_sub(1))
        .ok_or_else(|| invalid("POS", position, "a position: a whole number from 1"))?;
    if !is_bases(reference) {
        return Err(invalid("REF", reference, "one or more bases"));
    }
    let alternates: Vec<Allele> = match alternates {
        "." => Vec::new(),
        list => list
            .split(',')
            .map(|text| {
                let expected = "bases, *, a <name> or a breakend";
                parse_allele(text).ok_or_else(|| invalid("ALT", text, expected))
            })
            .collect::<Result<_, _>>()?,
    };
    let record = VariantRecord {
        chrom: chrom.to_string(),
        start,
        id: (id != "." && !id.is_empty()).then(|| id.to_string()),
        reference: reference.to_string(),
        alternates,
        place: VariantPlace::Line(line),
    };
    match record.interval() {
        Ok(_) => Ok(record),
        Err(error) => Err(GenomeError::InvalidLine {
            path: path.to_path_buf(),
            line,
            reason: error.to_string(),
        }),
    }
}
