//! Pairs of regions of a BEDPE file.

use std::path::Path;

use crate::bed::{BedRow, fields_of, is_comment, known};
use crate::error::GenomeError;
use crate::interval::{Interval, Strand};
use crate::lines::Lines;

/// One row of a BEDPE file: two regions that belong together, for example an element and a gene.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionPair {
    /// Columns 1 to 3; nothing when the chromosome is `.`: this end is not known.
    pub first: Option<Interval>,
    /// Columns 4 to 6, in the same way.
    pub second: Option<Interval>,
    /// Column 7, unless it is `.`.
    pub name: Option<String>,
    /// Column 8, unless it is `.`; finite.
    pub score: Option<f64>,
    /// Column 9, unless it is `.`.
    pub first_strand: Option<Strand>,
    /// Column 10, unless it is `.`.
    pub second_strand: Option<Strand>,
    /// The columns from the 11th on, as text.
    pub rest: Vec<String>,
}

/// Reads a BEDPE file with 6 or more columns; plain, gzip or bgzip.
///
/// Lines, separators and order are those of [`read_regions`](crate::read_regions). An end of
/// chromosome `.` and positions -1 is not known; a row must have one that is.
///
/// # Errors
/// [`GenomeError`] with path and line: too few columns, a position that is no number, an end before
/// its start, a score that is no finite number, a strand that is not `+`, `-` or `.`, two ends that
/// are not known.
pub fn read_pairs(path: impl AsRef<Path>) -> Result<Vec<RegionPair>, GenomeError> {
    let path = path.as_ref();
    let mut lines = Lines::open(path)?;
    let mut pairs = Vec::new();
    while let Some((line, text)) = lines.next_line()? {
        if !is_comment(text) {
            pairs.push(parse_row(path, line, text)?);
        }
    }
    Ok(pairs)
}

fn parse_row(path: &Path, line: u64, text: &str) -> Result<RegionPair, GenomeError> {
    let fields = fields_of(text);
    let [chrom1, start1, end1, chrom2, start2, end2, others @ ..] = fields.as_slice() else {
        return Err(GenomeError::FieldCount {
            path: path.to_path_buf(),
            line,
            expected: "at least 6 (chromosome, start, end, twice)".to_string(),
            found: fields.len(),
        });
    };
    let row = |suffix| BedRow { path, line, suffix };
    let end_of = |suffix, place: [&str; 3]| match place {
        [".", "-1", "-1"] => Ok(None),
        [chrom, start, end] => row(suffix).interval(chrom, start, end).map(Some),
    };
    let (first, second) = (
        end_of(" 1", [chrom1, start1, end1])?,
        end_of(" 2", [chrom2, start2, end2])?,
    );
    if first.is_none() && second.is_none() {
        return Err(GenomeError::InvalidLine {
            path: path.to_path_buf(),
            line,
            reason: "neither of the two ends is known; remove the row".to_string(),
        });
    }
    let column = |index: usize| others.get(index).copied();
    Ok(RegionPair {
        first,
        second,
        name: known(column(0)).map(str::to_string),
        score: row("").score(column(1))?,
        first_strand: row(" 1").strand(column(2))?,
        second_strand: row(" 2").strand(column(3))?,
        rest: others.iter().skip(4).map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: impl AsRef<[u8]>) -> Result<Vec<RegionPair>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.bedpe");
        std::fs::write(&path, bytes).unwrap();
        read_pairs(&path).map_err(|e| {
            e.to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    }

    fn interval(chrom: &str, start: u64, end: u64) -> Option<Interval> {
        Some(Interval::try_new(chrom, start, end).unwrap())
    }

    #[test]
    fn read_pairs_columns_headers_and_line_ends() {
        let text = "track name=x\n#chrom1\tstart1\n\
                    chr9\t5\t9\tchr1\t0\t0\tloop\t1.5\t-\t.\tmore\tcolumns\n\n\
                    chr1\t1\t2\t.\t-1\t-1\n\
                    chr2 3 4 chr2 7 8\n";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        for bytes in [
            text.as_bytes().to_vec(),
            text.replace('\n', "\r\n").into_bytes(),
            packed,
        ] {
            let pairs = read(bytes).unwrap();
            assert_eq!(pairs.len(), 3);
            assert_eq!(
                pairs[0],
                RegionPair {
                    first: interval("chr9", 5, 9),
                    second: interval("chr1", 0, 0),
                    name: Some("loop".into()),
                    score: Some(1.5),
                    first_strand: Some(Strand::Reverse),
                    second_strand: None,
                    rest: vec!["more".into(), "columns".into()],
                }
            );
            assert_eq!((&pairs[1].second, &pairs[1].name), (&None, &None));
            assert_eq!(pairs[2].second, interval("chr2", 7, 8));
        }
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn read_pairs_bad_row_names_the_line_and_the_end() {
        let good = "a\t1\t2\tb\t3\t4";
        let cases = [
            (
                "a\t1\t2".to_string(),
                "p.bedpe:1: 3 tab-separated fields where at least 6 (chromosome, start, end, twice) are expected",
            ),
            (
                format!("{good}\na\t1\t2\tb\t-1\t4"),
                "p.bedpe:2: start 2 \"-1\" is not a whole number (0-based position)",
            ),
            (
                "a\t3\t2\tb\t1\t4".to_string(),
                "p.bedpe:1: end 1 \"2\" is not at or after the start of the row",
            ),
            (
                format!("{good}\tx\tnan"),
                "p.bedpe:1: score \"nan\" is not a finite number or \".\"",
            ),
            (
                format!("{good}\tx\t1\t+\t*"),
                "p.bedpe:1: strand 2 \"*\" is not +, - or \".\"",
            ),
            (
                ".\t-1\t-1\t.\t-1\t-1".to_string(),
                "p.bedpe:1: neither of the two ends is known; remove the row",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }

    proptest! {
        // Half of the cases are near a real file, half are any bytes.
        #[test]
        fn read_pairs_any_bytes_never_panics(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "(c\t[0-9]{1,20}\t[0-9]{1,20}\t[.c]\t-?[0-9]\t-?[0-9](\tn\t[0-9e.]{1,4}\t[+.*])?\r?\n){0,4}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(pairs) = read(bytes) {
                prop_assert!(pairs.iter().all(|p| p.first.is_some() || p.second.is_some()));
            }
        }
    }
}
