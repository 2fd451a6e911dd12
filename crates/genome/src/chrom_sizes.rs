//! Names and lengths of a genome's chromosomes.

use std::collections::HashMap;
use std::path::Path;

use crate::error::GenomeError;
use crate::interval::Interval;
use crate::lines::Lines;

/// Chromosomes and their lengths in bases, in the order of the file they come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChromSizes {
    sizes: Vec<(String, u64)>,
    index: HashMap<String, usize>,
}

impl ChromSizes {
    /// Keeps names and lengths in the given order; a name given twice keeps its first length.
    ///
    /// Readers refuse repeated names before they come here.
    pub fn new(sizes: Vec<(String, u64)>) -> Self {
        let mut unique = ChromSizes::default();
        for (name, length) in sizes {
            if !unique.index.contains_key(&name) {
                unique.index.insert(name.clone(), unique.sizes.len());
                unique.sizes.push((name, length));
            }
        }
        unique
    }

    /// Length in bases of a chromosome, if it is there.
    pub fn get(&self, chrom: &str) -> Option<u64> {
        self.index_of(chrom).map(|index| self.sizes[index].1)
    }

    /// Position of a chromosome in the order, from 0.
    pub fn index_of(&self, chrom: &str) -> Option<usize> {
        self.index.get(chrom).copied()
    }

    /// Name and length of each chromosome, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.sizes
            .iter()
            .map(|(name, length)| (name.as_str(), *length))
    }

    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.sizes.iter().map(|(name, _)| name.as_str())
    }

    /// Number of chromosomes.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is no chromosome.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Makes sure that an interval lies inside its chromosome and returns the chromosome's length.
    ///
    /// `path` is the file that was asked; it goes into the message.
    ///
    /// # Errors
    /// [`GenomeError::UnknownChrom`], [`GenomeError::OutsideChrom`].
    pub fn check(&self, path: &Path, interval: &Interval) -> Result<u64, GenomeError> {
        let length = self
            .get(interval.chrom())
            .ok_or_else(|| GenomeError::UnknownChrom {
                path: path.to_path_buf(),
                chrom: interval.chrom().to_string(),
                hint: self.hint(interval.chrom()),
            })?;
        if interval.end() > length {
            return Err(GenomeError::OutsideChrom {
                path: path.to_path_buf(),
                chrom: interval.chrom().to_string(),
                start: interval.start(),
                end: interval.end(),
                length,
            });
        }
        Ok(length)
    }

    /// The name under which the same chromosome may be listed here: with or without `chr`, `M` for `MT`.
    pub fn similar_name(&self, chrom: &str) -> Option<&str> {
        let key = naming_key(chrom);
        self.names()
            .find(|name| *name != chrom && naming_key(name) == key)
    }

    /// One clause for an error about a missing chromosome: the likely mistake, or the names that exist.
    pub fn hint(&self, chrom: &str) -> String {
        const MAX_NAMES: usize = 6;
        if let Some(name) = self.similar_name(chrom) {
            return format!("it is called {name:?} there; use the same names in all files");
        }
        let mut hint = String::from("there are ");
        for (index, name) in self.names().take(MAX_NAMES).enumerate() {
            if index > 0 {
                hint.push_str(", ");
            }
            hint.push_str(name);
        }
        match self.len() {
            0 => String::from("there is none at all"),
            n if n > MAX_NAMES => format!("{hint}, … ({n} in all)"),
            _ => hint,
        }
    }
}

/// What two spellings of one chromosome's name have in common.
fn naming_key(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_prefix("chr").unwrap_or(&lower);
    match bare {
        "mt" => "m".to_string(),
        _ => bare.to_string(),
    }
}

/// Reads a `chrom.sizes` table: name and length, tab-separated, no header.
///
/// Further columns are ignored, so a `.fai` is read too.
///
/// # Errors
/// [`GenomeError`] with path and line: a missing or repeated name, a length that is no number.
pub fn read_chrom_sizes(path: impl AsRef<Path>) -> Result<ChromSizes, GenomeError> {
    let path = path.as_ref();
    let mut lines = Lines::open(path)?;
    let mut sizes = Vec::new();
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    while let Some((line, text)) = lines.next_line()? {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        let mut fields = text.split('\t');
        let (Some(name), Some(length)) = (fields.next(), fields.next()) else {
            return Err(GenomeError::FieldCount {
                path: path.to_path_buf(),
                line,
                expected: "at least 2".to_string(),
                found: 1,
            });
        };
        let invalid = |column: &str, value: &str, expected| GenomeError::InvalidField {
            path: path.to_path_buf(),
            line,
            column: column.to_string(),
            value: crate::error::shorten(value),
            expected,
        };
        let length: u64 = length
            .trim()
            .parse()
            .map_err(|_| invalid("length", length, "a whole number"))?;
        Interval::try_new(name, 0, length)
            .map_err(|_| invalid("chromosome", name, "a chromosome's name, or it is too long"))?;
        if let Some(first_line) = first_lines.insert(name.to_string(), line) {
            return Err(GenomeError::Duplicate {
                path: path.to_path_buf(),
                line,
                column: "chromosome".to_string(),
                value: name.to_string(),
                first_line,
            });
        }
        sizes.push((name.to_string(), length));
    }
    if sizes.is_empty() {
        return Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "chromosome",
        });
    }
    Ok(ChromSizes::new(sizes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> ChromSizes {
        ChromSizes::new(vec![
            ("chr1".into(), 100),
            ("chrM".into(), 10),
            ("X".into(), 0),
        ])
    }

    #[test]
    fn check_interval_against_length() {
        let cases = [
            ("chr1", 0, 100, Ok(100)),
            ("chr1", 100, 100, Ok(100)),
            (
                "chr1",
                99,
                101,
                Err("a.bw: chr1:100-101 is outside chr1 (100 bp)"),
            ),
            ("X", 0, 1, Err("a.bw: X:1-1 is outside X (0 bp)")),
            (
                "1",
                0,
                1,
                Err(
                    "a.bw: no chromosome \"1\"; it is called \"chr1\" there; use the same names in all files",
                ),
            ),
            (
                "chr7",
                0,
                1,
                Err("a.bw: no chromosome \"chr7\"; there are chr1, chrM, X"),
            ),
        ];
        for (chrom, start, end, expected) in cases {
            let interval = Interval::try_new(chrom, start, end).unwrap();
            let found = sizes().check(Path::new("a.bw"), &interval);
            assert_eq!(
                found.map_err(|e| e.to_string()),
                expected.map_err(String::from)
            );
        }
    }

    #[test]
    fn similar_name_knows_both_conventions() {
        let cases = [
            ("1", Some("chr1")),
            ("MT", Some("chrM")),
            ("chrMT", Some("chrM")),
            ("chrX", Some("X")),
            ("Chr1", Some("chr1")),
            ("chr1", None),
            ("2", None),
        ];
        for (chrom, expected) in cases {
            assert_eq!(sizes().similar_name(chrom), expected, "{chrom}");
        }
    }

    #[test]
    fn hint_no_chromosome() {
        assert_eq!(ChromSizes::default().hint("chr1"), "there is none at all");
    }

    #[test]
    fn new_repeated_name_keeps_first() {
        let repeated = ChromSizes::new(vec![("a".into(), 1), ("a".into(), 2), ("b".into(), 3)]);
        assert_eq!(repeated.iter().collect::<Vec<_>>(), [("a", 1), ("b", 3)]);
        assert_eq!(repeated.index_of("b"), Some(1));
    }

    #[test]
    fn read_chrom_sizes_cases() {
        let cases = [
            ("chr1\t5\nchr2\t7\n", Ok(vec![("chr1", 5), ("chr2", 7)])),
            (
                "chr1\t5\r\n\r\n# x\r\nchr2\t7\r\n",
                Ok(vec![("chr1", 5), ("chr2", 7)]),
            ),
            ("chr1\t5\t6\t60\t61", Ok(vec![("chr1", 5)])),
            (
                "",
                Err(": no chromosome in the file; is it the right one, and whole?"),
            ),
            (
                "chr1\n",
                Err(":1: 1 tab-separated fields where at least 2 are expected"),
            ),
            ("chr1\t-5\n", Err(":1: length \"-5\" is not a whole number")),
            (
                "a\t1\nb\t1\na\t1\n",
                Err(":3: chromosome \"a\" occurs already on line 1; keep one of the two"),
            ),
            (
                "\t1\n",
                Err(":1: chromosome \"\" is not a chromosome's name, or it is too long"),
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chrom.sizes");
        for (text, expected) in cases {
            std::fs::write(&path, text).unwrap();
            match (read_chrom_sizes(&path), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.iter().collect::<Vec<_>>(), expected),
                (Err(error), Err(expected)) => {
                    assert_eq!(error.to_string(), format!("{}{expected}", path.display()));
                }
                (found, expected) => panic!("{text:?}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
