//! How genes are divided into training, validation and test genes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fold::FOLDS;

/// How genes are divided.
///
/// Every split must keep at least one gene; [`SplitConfig::All`] is the exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum SplitConfig {
    /// By the gene table's column `split` (`train`, `valid`, `test`).
    Column {},
    /// By lists of chromosomes, as the genome names them; the rest is trained on.
    Chromosomes {
        /// Validation chromosomes.
        valid: Vec<String>,
        /// Test chromosomes.
        test: Vec<String>,
    },
    /// By the built-in leave-chromosomes-out table, see [`crate::FOLDS`].
    Fold {
        /// 1 to 12; the published one is 11 (test 22 and X, validation 3 and 21).
        fold: usize,
    },
    /// By contiguous blocks of start sites with nearly equal numbers of genes.
    ///
    /// A gene whose window overlaps the window of a test gene is neither trained on nor validated,
    /// and one whose window overlaps that of a validation gene is not trained on; they are
    /// counted and listed.
    Blocks {
        /// Number of blocks, at least 3.
        n_blocks: usize,
        /// Index of the test block, from 0.
        test_block: usize,
        /// Index of the validation block. Default: the one after the test block, or the first.
        #[serde(default)]
        valid_block: Option<usize>,
        /// Leave out genes whose windows overlap those of another split. Default: true; without
        /// it the overlaps are counted, as for every other split.
        #[serde(default = "default_exclusion_zone")]
        exclusion_zone: bool,
    },
    /// By a table of genes, for example the folds of the released data set, or of chromosomes; genes
    /// that it does not list are left out.
    Table {
        /// TSV, or CSV when its name ends in `.csv`.
        path: PathBuf,
        /// Column with the gene's identifier or symbol, or the chromosome. Default: `gene_id`, or
        /// `chrom`.
        #[serde(default)]
        key: Option<String>,
        /// What a row stands for. Default: a gene.
        #[serde(default)]
        rows: SplitRows,
        /// Column that holds `train`, `valid` or `test`, for example `fold_11`.
        column: String,
    },
    /// Every gene is a test gene: for prediction with a trained model.
    All {},
}

fn default_exclusion_zone() -> bool {
    true
}

/// What a row of the table of a split stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitRows {
    /// A gene, by its identifier or its symbol.
    #[default]
    Genes,
    /// A chromosome, as the genome names it: the split of all of its genes.
    Chromosomes,
}

impl SplitRows {
    /// Column with the name of a row when none is given.
    pub(crate) fn default_key(self) -> &'static str {
        match self {
            SplitRows::Genes => "gene_id",
            SplitRows::Chromosomes => "chrom",
        }
    }
}

impl SplitConfig {
    /// The file of the split, if it has one of its own.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match self {
            SplitConfig::Table { path, .. } => Some(path),
            _ => None,
        }
    }

    /// As [`path`](Self::path), to be changed.
    pub(crate) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            SplitConfig::Table { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Adds every problem that can be seen without looking at genes.
    pub(crate) fn validate(&self, problems: &mut Vec<String>) {
        match self {
            SplitConfig::Column {} | SplitConfig::Table { .. } | SplitConfig::All {} => {}
            SplitConfig::Chromosomes { valid, test } => {
                for chrom in valid.iter().filter(|chrom| test.contains(chrom)) {
                    problems.push(format!("split: {chrom:?} is both in valid and in test"));
                }
                for (name, list) in [("valid", valid), ("test", test)] {
                    if list.is_empty() {
                        problems.push(format!("split: {name} names no chromosome"));
                    }
                }
            }
            SplitConfig::Fold { fold } => {
                if !(1..=FOLDS.len()).contains(fold) {
                    problems.push(format!(
                        "split: fold {fold} must be 1 to {}; the published one is 11",
                        FOLDS.len()
                    ));
                }
            }
            SplitConfig::Blocks {
                n_blocks,
                test_block,
                valid_block,
                ..
            } => {
                if *n_blocks < 3 {
                    problems.push(format!(
                        "split: n_blocks {n_blocks} must be at least 3, one for each split"
                    ));
                }
                for (name, block) in [("test", Some(test_block)), ("valid", valid_block.as_ref())] {
                    if let Some(block) = block.filter(|block| *block >= n_blocks) {
                        problems.push(format!(
                            "split: {name}_block {block} must be below n_blocks ({n_blocks})"
                        ));
                    }
                }
                if *valid_block == Some(*test_block) {
                    problems.push("split: valid_block and test_block are the same".into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_names_each_problem() {
        let splits = [
            (SplitConfig::Fold { fold: 0 }, "fold 0 must be 1 to 12"),
            (SplitConfig::Fold { fold: 13 }, "fold 13 must be 1 to 12"),
            (blocks(2, 0, None), "at least 3"),
            (blocks(3, 3, None), "test_block 3 must be below"),
            (blocks(3, 0, Some(4)), "valid_block 4 must be below"),
            (blocks(3, 1, Some(1)), "are the same"),
            (chromosomes(&["a"], &["a"]), "both in valid and in test"),
            (chromosomes(&[], &["a"]), "valid names no chromosome"),
        ];
        for (split, part) in splits {
            let mut problems = Vec::new();
            split.validate(&mut problems);
            assert!(
                problems.len() == 1 && problems[0].contains(part),
                "{part}: {problems:?}"
            );
        }
    }

    fn blocks(n_blocks: usize, test_block: usize, valid_block: Option<usize>) -> SplitConfig {
        SplitConfig::Blocks {
            n_blocks,
            test_block,
            valid_block,
            exclusion_zone: true,
        }
    }

    fn chromosomes(valid: &[&str], test: &[&str]) -> SplitConfig {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        SplitConfig::Chromosomes {
            valid: owned(valid),
            test: owned(test),
        }
    }
}
