//! One column of words of a table, by gene.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use crate::error::GenomeError;
use crate::table::Table;

/// Reads a column of words from a tab-separated table (or a `.csv`) with a header line, by the gene
/// of `key_column`, with the line of each.
///
/// # Errors
/// [`GenomeError`] with path and line: a missing column (the message lists those that exist), a gene
/// without a name or that occurs twice with other words, no row at all.
pub fn read_text_column(
    path: impl AsRef<Path>,
    key_column: &str,
    text_column: &str,
) -> Result<HashMap<String, (String, u64)>, GenomeError> {
    let path = path.as_ref();
    let mut table = Table::open(path)?;
    let key = table.require(key_column)?;
    let text = table.require(text_column)?;
    let mut words: HashMap<String, (String, u64)> = HashMap::new();
    while let Some(row) = table.next_row()? {
        let word = row.get(text).to_string();
        match words.entry(row.text(key)?.to_string()) {
            Entry::Vacant(entry) => {
                entry.insert((word, row.line()));
            }
            // Names of genes repeat in large tables; only a contradiction is a mistake.
            Entry::Occupied(entry) if entry.get().0 == word => {}
            Entry::Occupied(entry) => return Err(row.duplicate(key, entry.get().1)),
        }
    }
    match words.is_empty() {
        true => Err(GenomeError::Empty {
            path: path.to_path_buf(),
            what: "gene",
        }),
        false => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_text_column_words_and_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_text_column(&path, "ENSID", "fold_11").map_err(|e| e.to_string())
        };
        let words = read("ENSID,fold_1,fold_11\r\nA,train,test\r\n\r\nB,test,\r\n").unwrap();
        let word = |text: &str, line| (text.to_string(), line);
        let twice = read("ENSID,fold_11\nA,x\nB,y\nA,x\n").unwrap();
        assert_eq!(twice["A"], word("x", 2));
        assert_eq!(
            words,
            HashMap::from([("A".into(), word("test", 2)), ("B".into(), word("", 4))])
        );
        for (text, part) in [
            (
                "ENSID,fold_1\n",
                "f.csv:1: no column \"fold_11\"; the columns are ENSID, fold_1",
            ),
            ("ENSID,fold_11\n", "f.csv: no gene in the file"),
            (
                "ENSID,fold_11\nA,x\nA,y\n",
                "f.csv:3: ENSID \"A\" occurs already on line 2",
            ),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
