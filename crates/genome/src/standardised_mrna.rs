//! Properties of mature transcripts that someone else has standardised already.

use std::collections::HashMap;
use std::path::Path;

use crate::error::GenomeError;
use crate::table::Table;

/// Number of values of a gene.
pub const N_STANDARDISED: usize = 8;

/// Columns of the released expression table, in the order of the values.
///
/// # Reference
/// divelab/AIRS, OpenBio/Seq2Exp, `promo_enhan_inter.py`; the values are those of Xpresso.
const COLUMNS: [&str; N_STANDARDISED] = [
    "UTR5LEN_log10zscore",
    "CDSLEN_log10zscore",
    "INTRONLEN_log10zscore",
    "UTR3LEN_log10zscore",
    "UTR5GC",
    "CDSGC",
    "UTR3GC",
    "ORFEXONDENSITY",
];

/// Reads lengths of 5'UTR, CDS, introns and 3'UTR (z-scores of their logarithms), GC of 5'UTR, CDS
/// and 3'UTR, and ORF exon density, by the gene of column `ENSID`, and by its name of a column
/// `Gene name` where no other gene has that name; nothing when the table has no column of such
/// lengths.
///
/// # Errors
/// [`GenomeError`] with path and line: a missing column, a value that is no finite number, a gene
/// that occurs twice, no gene at all.
pub fn read_standardised_mrna(
    path: impl AsRef<Path>,
) -> Result<Option<HashMap<String, [f64; N_STANDARDISED]>>, GenomeError> {
    let path = path.as_ref();
    let mut table = Table::open(path)?;
    if table.find(COLUMNS[0]).is_none() {
        return Ok(None);
    }
    let key = table.require("ENSID")?;
    let name = table.find("Gene name");
    let mut columns = [0; N_STANDARDISED];
    for (column, name) in columns.iter_mut().zip(COLUMNS) {
        *column = table.require(name)?;
    }
    let mut values = HashMap::new();
    let mut by_name: HashMap<String, Option<[f64; N_STANDARDISED]>> = HashMap::new();
    let mut first_lines: HashMap<String, u64> = HashMap::new();
    while let Some(row) = table.next_row()? {
        let gene = row.text(key)?.to_string();
        if let Some(first_line) = first_lines.insert(gene.clone(), row.line()) {
            return Err(row.duplicate(key, first_line));
        }
        let mut own = [0.0; N_STANDARDISED];
        for (value, column) in own.iter_mut().zip(columns) {
            *value = row.finite(column, "a finite number")?;
        }
        if let Some(name) = name
            .map(|name| row.get(name))
            .filter(|name| !name.is_empty())
        {
            let named = by_name.entry(name.to_string());
            named.and_modify(|first| *first = None).or_insert(Some(own));
        }
        values.insert(gene, own);
    }
    for (name, own) in by_name {
        if let Some(own) = own {
            values.entry(name).or_insert(own);
        }
    }
    match values.is_empty() {
        true => Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "gene",
        }),
        false => Ok(Some(values)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<HashMap<String, [f64; N_STANDARDISED]>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, text).unwrap();
        read_standardised_mrna(&path).map_err(|e| {
            e.to_string()
                .replace(&format!("{}/", folder.path().display()), "")
        })
    }

    #[test]
    fn read_standardised_mrna_order_is_that_of_the_features() {
        // Columns in another order than the values.
        let text = "ORFEXONDENSITY,UTR3GC,CDSGC,UTR5GC,UTR3LEN_log10zscore,INTRONLEN_log10zscore,CDSLEN_log10zscore,UTR5LEN_log10zscore,ENSID\n8,7,6,5,4,3,-2,1e-1,E\n";
        let expected = [0.1, -2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(
            read(text).unwrap().unwrap(),
            HashMap::from([("E".to_string(), expected)])
        );
        assert_eq!(read("gene,utr5_len\nA,1\n").unwrap(), None);
        // Two genes called T, one called N, one without a name.
        let rows = ["a,T", "b,N", "c,T", "d,"].map(|row| format!("1,1,1,1,1,1,1,1,{row}\n"));
        let named = text.lines().next().unwrap().to_string() + ",Gene name\n" + &rows.concat();
        let found = read(&named).unwrap().unwrap();
        let mut keys: Vec<&str> = found.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["N", "a", "b", "c", "d"]);
        let cases = [
            (
                text.replace("3,-2", "x,-2"),
                "x.csv:2: INTRONLEN_log10zscore \"x\" is not a finite number",
            ),
            (
                format!("{text}1,1,1,1,1,1,1,1,E\n"),
                "x.csv:3: ENSID \"E\" occurs already on line 2; keep one of the two",
            ),
            (
                format!("{text}1,1\n"),
                "x.csv:3: 2 comma-separated fields where 9 (as in the header) are expected",
            ),
            (text.replace("CDSGC", "x"), "x.csv:1: no column \"CDSGC\"; "),
        ];
        for (text, expected) in cases {
            let message = read(&text).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
