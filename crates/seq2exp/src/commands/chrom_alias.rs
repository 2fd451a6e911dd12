//! The value of `--chrom-alias`: one pair, or a file of pairs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::RunError;

/// Reads `NAME=CHROM`, or a tab-separated file with the other name and the genome's name in each line.
///
/// Empty lines, lines that start with `#` and further columns are skipped.
///
/// # Errors
/// [`RunError::Argument`] for text that is neither; [`RunError::Io`]; [`RunError::ConfigInvalid`]
/// with the line of the file that is no pair, or gives a name a second meaning.
pub(super) fn read_argument(text: &str) -> Result<Vec<(String, String)>, RunError> {
    let path = Path::new(text);
    if path.is_file() {
        let content = std::fs::read_to_string(path).map_err(|source| RunError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        return parse_table(&content).map_err(|(line, problem)| RunError::ConfigInvalid {
            path: PathBuf::from(format!("{text}:{line}")),
            problems: vec![problem],
        });
    }
    match text.split_once('=') {
        Some((alias, chrom)) if !alias.is_empty() && !chrom.is_empty() => {
            Ok(vec![(alias.to_string(), chrom.to_string())])
        }
        _ => Err(RunError::Argument {
            argument: format!("--chrom-alias {text}"),
            message: "it is neither NAME=CHROM, for example 22=chr22, nor a file".to_string(),
        }),
    }
}

/// The pairs of a table, or the number of the first bad line and what is wrong with it.
fn parse_table(content: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut meanings: HashMap<&str, &str> = HashMap::new();
    for (index, line) in content.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split('\t').map(str::trim);
        match (fields.next(), fields.next()) {
            (Some(alias), Some(chrom)) if !alias.is_empty() && !chrom.is_empty() => {
                if let Some(first) = meanings.insert(alias, chrom)
                    && first != chrom
                {
                    let problem = format!(
                        "{alias:?} is called {first:?} in a line above and {chrom:?} here; keep one of the two"
                    );
                    return Err((index + 1, problem));
                }
                pairs.push((alias.to_string(), chrom.to_string()));
            }
            _ => {
                let problem = format!(
                    "{line:?} is no pair; write the name in the files, a tab, and the genome's name"
                );
                return Err((index + 1, problem));
            }
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_argument_takes_a_pair_or_a_file() {
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(
            read_argument("22=chr22").expect("a pair"),
            [pair("22", "chr22")]
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("alias.tsv");
        std::fs::write(&path, "# file\tgenome\r\n1\tchr1\r\n\nMT\tchrM\tmore\n").expect("written");
        let path = path.to_str().expect("UTF-8");
        let found = read_argument(path).expect("a table");
        assert_eq!(found, [pair("1", "chr1"), pair("MT", "chrM")]);
        std::fs::write(path, "1\tchr1\n2 chr2\n").expect("written");
        let message = read_argument(path).expect_err("no tab").to_string();
        assert!(message.contains("alias.tsv:2"), "{message}");
        std::fs::write(path, "1\tchr1\n1\tchr1\n1\tchr2\n").expect("written");
        let message = read_argument(path).expect_err("two meanings").to_string();
        assert!(message.contains("alias.tsv:3"), "{message}");
        assert!(message.contains("keep one of the two"), "{message}");
        for text in ["22", "=chr22", "22=", ""] {
            let message = read_argument(text).expect_err(text).to_string();
            let expected = format!("--chrom-alias {text}: ");
            assert!(message.starts_with(&expected), "{message}");
            assert!(message.contains("22=chr22"), "{message}");
        }
    }
}
