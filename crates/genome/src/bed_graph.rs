//! Track values as text: bedGraph, plain or compressed, row by row.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chrom_sizes::ChromSizes;
use crate::error::{GenomeError, shorten};
use crate::interval::Interval;
use crate::lines::Lines;

/// What to do about rows that are not in order.
const SORT: &str = "sort the file with: LC_ALL=C sort -k1,1 -k2,2n";

/// The rows of a bedGraph file, checked one after the other; memory does not grow with the file.
///
/// Comments, `track` and `browser` lines are passed over. Rows on a chromosome without a known
/// length are left out and counted.
pub(crate) struct BedGraphRows<'a> {
    path: PathBuf,
    lines: Lines,
    chrom_sizes: &'a ChromSizes,
    previous: Option<Interval>,
    /// Chromosomes that came before the one of `previous`.
    finished: HashSet<Arc<str>>,
    left_out: BTreeMap<String, LeftOutRows>,
}

/// The rows of a chromosome that has no known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOutRows {
    pub(crate) n_rows: u64,
    /// The line of the first of them, from 1.
    pub(crate) first_line: u64,
}

impl<'a> BedGraphRows<'a> {
    /// Opens a file whose chromosomes have the lengths of `chrom_sizes`.
    pub(crate) fn open(path: &Path, chrom_sizes: &'a ChromSizes) -> Result<Self, GenomeError> {
        Ok(BedGraphRows {
            path: path.to_path_buf(),
            lines: Lines::open(path)?,
            chrom_sizes,
            previous: None,
            finished: HashSet::new(),
            left_out: BTreeMap::new(),
        })
    }

    /// Chromosomes that have no known length, each with its rows so far.
    pub(crate) fn left_out(&self) -> &BTreeMap<String, LeftOutRows> {
        &self.left_out
    }

    /// The next row: its interval and a finite value.
    ///
    /// # Errors
    /// With path and line: a row that has not four fields, is empty or past the end of its
    /// chromosome, overlaps or comes before the one above it, or has a value that is no finite
    /// number; compressed data that is cut off.
    pub(crate) fn next_row(&mut self) -> Result<Option<(Interval, f32)>, GenomeError> {
        loop {
            let Some((line, text)) = self.lines.next_line()? else {
                return Ok(None);
            };
            if is_no_data(text) {
                continue;
            }
            let row = parse_row(&self.path, line, text)?;
            let Some(length) = self.chrom_sizes.get(row.chrom) else {
                let rows = self.left_out.entry(row.chrom.to_string());
                let none = LeftOutRows {
                    n_rows: 0,
                    first_line: line,
                };
                rows.or_insert(none).n_rows += 1;
                continue;
            };
            let refuse = |reason: String| GenomeError::InvalidLine {
                path: self.path.clone(),
                line,
                reason,
            };
            // One shared name for all rows of a chromosome.
            let chrom = match &self.previous {
                Some(previous) if previous.chrom() == row.chrom => previous.shared_chrom(),
                _ => Arc::from(row.chrom),
            };
            let interval = Interval::try_new(chrom, row.start, row.end)
                .map_err(|error| refuse(error.to_string()))?;
            if interval.is_empty() {
                return Err(refuse(format!(
                    "{}:{} to {} (0-based, half-open) holds no base; remove the line",
                    row.chrom, row.start, row.end
                )));
            }
            if interval.end() > length {
                return Err(refuse(format!(
                    "{interval} is past the end of {} ({length} bp); is the track of another \
                     assembly?",
                    row.chrom
                )));
            }
            match &self.previous {
                Some(previous) if previous.chrom() == row.chrom => {
                    if interval.start() < previous.start() {
                        return Err(refuse(format!(
                            "{interval} comes before the row above it; {SORT}"
                        )));
                    }
                    if interval.start() < previous.end() {
                        return Err(refuse(format!(
                            "{interval} overlaps the row above it; a base has one value, merge or \
                             cut the two rows"
                        )));
                    }
                }
                Some(previous) => {
                    self.finished.insert(previous.shared_chrom());
                    if self.finished.contains(row.chrom) {
                        return Err(refuse(format!(
                            "{} comes again after other chromosomes; {SORT}",
                            row.chrom
                        )));
                    }
                }
                None => {}
            }
            self.previous = Some(interval.clone());
            return Ok(Some((interval, row.value)));
        }
    }
}

struct ParsedRow<'a> {
    chrom: &'a str,
    start: u64,
    end: u64,
    value: f32,
}

/// Whether a line is blank, a comment or an instruction to a browser.
fn is_no_data(text: &str) -> bool {
    let first = text.split_ascii_whitespace().next();
    first.is_none_or(|word| word.starts_with('#') || word == "track" || word == "browser")
}

fn parse_row<'a>(path: &Path, line: u64, text: &'a str) -> Result<ParsedRow<'a>, GenomeError> {
    let mut fields = text.split_ascii_whitespace();
    let (Some(chrom), Some(start), Some(end), Some(value), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return Err(GenomeError::FieldCount {
            path: path.to_path_buf(),
            line,
            expected: "4 (chromosome, start, end, value)".to_string(),
            found: text.split_ascii_whitespace().count(),
        });
    };
    let invalid = |column: &str, text: &str, expected| GenomeError::InvalidField {
        path: path.to_path_buf(),
        line,
        column: column.to_string(),
        value: shorten(text),
        expected,
    };
    let position = |column: &str, text: &str| {
        text.parse()
            .map_err(|_| invalid(column, text, "a position: a whole number from 0"))
    };
    let number = value.parse::<f32>().ok().filter(|value| value.is_finite());
    Ok(ParsedRow {
        chrom,
        start: position("start", start)?,
        end: position("end", end)?,
        value: number.ok_or_else(|| {
            let expected = "a finite number; leave the line out where there is no data";
            invalid("value", value, expected)
        })?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows by interval, and by chromosome the number of rows left out and the line of the first.
    type Rows = (Vec<(String, f32)>, Vec<(String, u64, u64)>);

    fn read_all(text: &[u8]) -> Result<Rows, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.bedGraph");
        std::fs::write(&path, text).unwrap();
        let sizes = ChromSizes::new(vec![("chr1".into(), 100), ("HLA-A*01:01".into(), 1)]);
        let read = || {
            let mut rows = BedGraphRows::open(&path, &sizes)?;
            let mut found = Vec::new();
            while let Some((interval, value)) = rows.next_row()? {
                found.push((interval.to_string(), value));
            }
            let left_out = rows.left_out().clone().into_iter();
            let left_out = left_out.map(|(chrom, rows)| (chrom, rows.n_rows, rows.first_line));
            Ok((found, left_out.collect()))
        };
        read().map_err(|error: GenomeError| {
            error
                .to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn next_row_both_ends_headers_crlf_and_left_out() {
        let text = b"browser position chr1:1-9\r\ntrack type=bedGraph\r\n#c\r\n\r\n\
            chr1\t0\t1\t-1.5\r\nchr1 1 100 2e1\r\nchrUn\t5\t9\t1\r\nHLA-A*01:01\t0\t1\t0\r\n\
            chrUn\t1\t2\t1\r\n";
        let (rows, left_out) = read_all(text).unwrap();
        let expected = [
            ("chr1:1-1".to_string(), -1.5),
            ("chr1:2-100".to_string(), 20.0),
            ("HLA-A*01:01:1-1".to_string(), 0.0),
        ];
        assert_eq!(rows, expected);
        assert_eq!(left_out, [("chrUn".to_string(), 2, 7)]);
        assert_eq!(read_all(b"").unwrap(), (Vec::new(), Vec::new()));
    }

    #[test]
    fn next_row_bad_rows_name_line_and_remedy() {
        let number = "is not a finite number; leave the line out where there is no data";
        let cases: [(&str, &str); 12] = [
            (
                "chr1\t5\t9\t1\nchr1\t4\t5\t1\n",
                "t.bedGraph:2: chr1:5-5 comes before the row above",
            ),
            (
                "chr1\t5\t9\t1\nchr1\t8\t10\t1\n",
                "t.bedGraph:2: chr1:9-10 overlaps the row above",
            ),
            (
                "chr1\t5\t9\t1\nHLA-A*01:01\t0\t1\t1\nchr1\t9\t10\t1\n",
                "t.bedGraph:3: chr1 comes again after other chromosomes; sort the file",
            ),
            (
                "chr1\t99\t101\t1\n",
                "t.bedGraph:1: chr1:100-101 is past the end of chr1 (100 bp); is the track of",
            ),
            (
                "chr1\t5\t5\t1\n",
                "t.bedGraph:1: chr1:5 to 5 (0-based, half-open) holds no base",
            ),
            ("chr1\t6\t5\t1\n", "it ends before it starts"),
            (
                "chr1\t-1\t5\t1\n",
                "t.bedGraph:1: start \"-1\" is not a position",
            ),
            (
                "chr1\t1\t5.0\t1\n",
                "t.bedGraph:1: end \"5.0\" is not a position",
            ),
            ("chr1\t1\t5\tNaN\n", number),
            ("chr1\t1\t5\t1e39\n", number),
            ("chr1\t1\t5\t-inf\n", number),
            (
                "chr1\t1\t5\n",
                "t.bedGraph:1: 3 tab-separated fields where 4",
            ),
        ];
        for (text, expected) in cases {
            let message = read_all(text.as_bytes()).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    proptest! {
        // Half of the cases are near a real file, half are any bytes.
        #[test]
        fn next_row_any_bytes_never_panics(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "((chr1|HLA-A\\*01:01|x)[\t ][0-9]{0,3}[\t ][0-9]{0,3}[\t ][0-9.e+-]{0,4}\r?\n){0,5}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            if let Ok((rows, _)) = read_all(&bytes) {
                prop_assert!(rows.iter().all(|(_, value)| value.is_finite()));
            }
        }
    }
}
