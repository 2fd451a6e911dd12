//! Measured expression of genes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::GenomeError;
use crate::table::Table;

/// Expression values by gene; a gene can be listed without having been measured.
#[derive(Debug, Clone)]
pub struct Expression {
    path: PathBuf,
    values: HashMap<String, Measurement>,
}

#[derive(Debug, Clone, Copy)]
struct Measurement {
    value: Option<f64>,
    line: u64,
}

impl Expression {
    /// Keeps values that were found in another way than in a table; `None` is not measured.
    ///
    /// A gene given twice keeps its last value. [`line`](Self::line) is its place in the list.
    pub fn new(
        path: impl Into<PathBuf>,
        values: impl IntoIterator<Item = (String, Option<f64>)>,
    ) -> Self {
        let values = (1..)
            .zip(values)
            .map(|(line, (key, value))| (key, Measurement { value, line }))
            .collect();
        Expression {
            path: path.into(),
            values,
        }
    }

    /// The file the values come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of a gene: finite, in the unit of the table, and not negative unless the table was
    /// read with [`read_transformed_expression`]. `None` when the
    /// gene is not in the table or was not measured.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.values
            .get(key)
            .and_then(|measurement| measurement.value)
    }

    /// Whether the table has a row for the gene, measured or not.
    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Line of a gene's row in the table, from 1.
    pub fn line(&self, key: &str) -> Option<u64> {
        self.values.get(key).map(|measurement| measurement.line)
    }

    /// Number of rows, measured or not.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the table has no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Each gene and its value, in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        let mut rows: Vec<(&String, &Measurement)> = self.values.iter().collect();
        rows.sort_unstable_by_key(|(_, measurement)| measurement.line);
        rows.into_iter()
            .map(|(key, measurement)| (key.as_str(), measurement.value))
    }
}

/// Reads expression from a tab-separated table (or a `.csv`) with a header line.
///
/// `key_column` holds the gene (symbol or identifier), `value_column` a number that is not
/// negative. An empty value or `NA` means that the gene was not measured.
///
/// # Errors
/// [`GenomeError`] with path and line: a missing column (the message lists those that exist), a
/// value that is negative, `NaN`, infinite or no number, a gene that occurs twice, no row at all.
pub fn read_expression(
    path: impl AsRef<Path>,
    key_column: &str,
    value_column: &str,
) -> Result<Expression, GenomeError> {
    const EXPECTED: &str =
        "a number of at least 0; leave it empty or write NA when it was not measured";
    read_values(path.as_ref(), key_column, value_column, 0.0, EXPECTED)
}

/// Reads expression that was transformed already, for example its logarithm: any finite number.
///
/// # Errors
/// As [`read_expression`], but for negative values.
pub fn read_transformed_expression(
    path: impl AsRef<Path>,
    key_column: &str,
    value_column: &str,
) -> Result<Expression, GenomeError> {
    const EXPECTED: &str = "a finite number; leave it empty or write NA when it was not measured";
    read_values(path.as_ref(), key_column, value_column, f64::MIN, EXPECTED)
}

fn read_values(
    path: &Path,
    key_column: &str,
    value_column: &str,
    least: f64,
    expected: &'static str,
) -> Result<Expression, GenomeError> {
    let mut table = Table::open(path)?;
    let key = table.require(key_column)?;
    let value = table.require(value_column)?;
    let mut values: HashMap<String, Measurement> = HashMap::new();
    while let Some(row) = table.next_row()? {
        let measured = match row.get(value) {
            "" | "NA" => None,
            _ => {
                let number = row.finite(value, expected)?;
                if number < least {
                    return Err(row.invalid(value, expected));
                }
                Some(number)
            }
        };
        let measurement = Measurement {
            value: measured,
            line: row.line(),
        };
        if let Some(first) = values.insert(row.text(key)?.to_string(), measurement) {
            return Err(row.duplicate(key, first.line));
        }
    }
    if values.is_empty() {
        return Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "gene",
        });
    }
    Ok(Expression {
        path: path.to_path_buf(),
        values,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: impl AsRef<[u8]>) -> Result<Expression, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.tsv");
        std::fs::write(&path, bytes).unwrap();
        read_expression(&path, "gene", "tpm").map_err(|e| {
            e.to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn read_expression_example_has_66_genes() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/k562_chr22/expression.tsv"
        );
        let expression = read_expression(path, "gene", "tpm").unwrap();
        // SOURCES.md: 66 genes; the first row is CCT8L2 with 0.
        assert_eq!(expression.len(), 66);
        assert_eq!(expression.iter().next(), Some(("CCT8L2", Some(0.0))));
        assert_eq!(expression.line("CCT8L2"), Some(2));
    }

    #[test]
    fn read_expression_values_and_gaps() {
        let text = "x\tgene\ttpm\r\n1\tA\t0\r\n1\tB\tNA\r\n\r\n1\tC\t\r\n1\tD\t1.5e3\r\n";
        let expression = read(text).unwrap();
        let rows: Vec<_> = expression.iter().collect();
        assert_eq!(
            rows,
            [
                ("A", Some(0.0)),
                ("B", None),
                ("C", None),
                ("D", Some(1500.0))
            ]
        );
        assert_eq!(
            (
                expression.get("D"),
                expression.get("B"),
                expression.get("Z")
            ),
            (Some(1500.0), None, None)
        );
        assert_eq!(
            (expression.contains("B"), expression.contains("Z")),
            (true, false)
        );
    }

    #[test]
    fn read_expression_bad_input_names_line_and_remedy() {
        let number = "a number of at least 0; leave it empty or write NA when it was not measured";
        let cases = [
            (
                "gene\ttpm\n",
                "e.tsv: no gene in the file; is it the right one, and whole?".to_string(),
            ),
            (
                "gene\tTPM\n",
                "e.tsv:1: no column \"tpm\"; the columns are gene, TPM".to_string(),
            ),
            (
                "gene\ttpm\nA\tNaN\n",
                format!("e.tsv:2: tpm \"NaN\" is not {number}"),
            ),
            (
                "gene\ttpm\nA\tinf\n",
                format!("e.tsv:2: tpm \"inf\" is not {number}"),
            ),
            (
                "gene\ttpm\nA\t-0.1\n",
                format!("e.tsv:2: tpm \"-0.1\" is not {number}"),
            ),
            (
                "gene\ttpm\nA\t1,5\n",
                "e.tsv:2: tpm \"1,5\" is not a number as it is read; write a decimal point, and \
                 nothing between the thousands"
                    .to_string(),
            ),
            (
                "gene\ttpm\nA\tmany, many\n",
                format!("e.tsv:2: tpm \"many, many\" is not {number}"),
            ),
            (
                "gene\ttpm\n\t1\n",
                "e.tsv:2: gene \"\" is not a name: it is empty".to_string(),
            ),
            (
                "gene\ttpm\nA\t1\nB\t2\nA\tNA\n",
                "e.tsv:4: gene \"A\" occurs already on line 2; keep one of the two".to_string(),
            ),
            (
                "gene\ttpm\nA\n",
                "e.tsv:2: 1 tab-separated fields where 2 (as in the header) are expected"
                    .to_string(),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).unwrap_err(), expected);
        }
    }

    proptest! {
        // Half of the cases are near a real table, half are any bytes.
        #[test]
        fn read_expression_any_bytes_never_panics(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                "gene\ttpm\r?\n([A-C]{0,2}\t?(NA|[0-9.e+-]{0,5})\r?\n){0,4}"
                    .prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(expression) = read(bytes) {
                for (_, value) in expression.iter() {
                    prop_assert!(value.is_none_or(|value| value.is_finite() && value >= 0.0));
                }
            }
        }
    }
}
