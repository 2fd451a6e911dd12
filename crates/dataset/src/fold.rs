//! Which genes are trained on, validated and tested.

use std::fmt;
use std::path::Path;

use genome::{ChromSizes, Gene, read_text_column};
use serde::{Deserialize, Serialize};

use crate::error::DatasetError;
use crate::split_config::{SplitConfig, SplitRows};
use crate::split_overlap::leave_out_overlaps;

/// What an example is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The parameters are fitted to it.
    Train,
    /// The checkpoint is chosen by it.
    Valid,
    /// The result is reported on it.
    Test,
}

impl Split {
    /// All three, in the order train, valid, test.
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// `train`, `valid` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Valid => "valid",
            Split::Test => "test",
        }
    }

    /// Reads [`name`](Self::name) back; nothing for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        Split::ALL.into_iter().find(|split| split.name() == text)
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One fold of the leave-chromosomes-out scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fold {
    /// Test chromosomes, without `chr`.
    pub test: &'static [&'static str],
    /// Validation chromosomes, without `chr`.
    pub valid: &'static [&'static str],
}

/// The twelve folds; fold 11 (index 10) is the one Seq2Exp was published on.
///
/// Every autosome and X is tested exactly once.
///
/// # Reference
/// EPInformer's published gene table; chromosomes 5, 15, 21 and 22 follow its pattern.
pub const FOLDS: [Fold; 12] = [
    fold(&["2", "12"], &["1", "11"]),
    fold(&["3", "13"], &["2", "12"]),
    fold(&["4", "14"], &["3", "13"]),
    fold(&["5", "15"], &["4", "14"]),
    fold(&["6", "16"], &["5", "15"]),
    fold(&["7", "17"], &["6", "16"]),
    fold(&["8", "18"], &["7", "17"]),
    fold(&["9", "19"], &["8", "18"]),
    fold(&["10", "20"], &["9", "19"]),
    fold(&["11", "21"], &["10", "20"]),
    fold(&["22", "X"], &["3", "21"]),
    fold(&["1"], &["2", "22"]),
];

const fn fold(test: &'static [&'static str], valid: &'static [&'static str]) -> Fold {
    Fold { test, valid }
}

impl Fold {
    /// The split of a chromosome, which may be written with or without `chr`.
    pub fn split_of(&self, chrom: &str) -> Split {
        let bare = chrom.strip_prefix("chr").unwrap_or(chrom);
        if self.test.contains(&bare) {
            Split::Test
        } else if self.valid.contains(&bare) {
            Split::Valid
        } else {
            Split::Train
        }
    }
}

/// What becomes of one gene when the genes are divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// It belongs to a split.
    Use(Split),
    /// It is left out, because the table of the split does not list it.
    NotListed,
    /// It is left out, because its window overlaps that of a gene of another split.
    Overlaps {
        /// The other gene's split.
        split: Split,
        /// The other gene's symbol.
        symbol: String,
    },
}

/// Divides genes as the configuration says; the output is in the order of `genes`.
///
/// `path` is the gene table, for messages. Only [`SplitConfig::Blocks`] and [`SplitConfig::Table`]
/// leave genes out.
///
/// # Units
/// - `length`: bases of a window
///
/// # Errors
/// [`DatasetError::UnknownSplit`] when a gene's column `split` is empty or something else;
/// [`DatasetError::Genome`] when the table of a split cannot be read;
/// [`DatasetError::Config`] when a chromosome list names a chromosome the genome does not have.
pub fn assign_splits(
    config: &SplitConfig,
    genes: &[Gene],
    sizes: &ChromSizes,
    length: u64,
    path: &Path,
) -> Result<Vec<Assignment>, DatasetError> {
    match config {
        SplitConfig::Column {} => genes
            .iter()
            .map(|gene| {
                gene.split
                    .as_deref()
                    .and_then(Split::parse)
                    .map(Assignment::Use)
                    .ok_or_else(|| DatasetError::UnknownSplit {
                        path: path.to_path_buf(),
                        line: gene.line,
                        symbol: gene.symbol.clone(),
                        found: gene.split.clone(),
                    })
            })
            .collect(),
        SplitConfig::Chromosomes { valid, test } => {
            let problems: Vec<String> = valid
                .iter()
                .chain(test)
                .filter(|chrom| sizes.get(chrom).is_none())
                .map(|chrom| {
                    let hint = sizes.hint(chrom);
                    format!("split: no chromosome {chrom:?} in the genome; {hint}")
                })
                .collect();
            if !problems.is_empty() {
                return Err(DatasetError::Config { problems });
            }
            Ok(by_chrom(genes, |chrom| {
                if test.iter().any(|name| name == chrom) {
                    Split::Test
                } else if valid.iter().any(|name| name == chrom) {
                    Split::Valid
                } else {
                    Split::Train
                }
            }))
        }
        SplitConfig::Fold { fold } => {
            let fold = fold
                .checked_sub(1)
                .and_then(|index| FOLDS.get(index))
                .ok_or_else(|| DatasetError::Config {
                    problems: vec![format!("split: fold {fold} must be 1 to {}", FOLDS.len())],
                })?;
            Ok(by_chrom(genes, |chrom| fold.split_of(chrom)))
        }
        SplitConfig::Blocks {
            n_blocks,
            test_block,
            valid_block,
            exclusion_zone,
        } => {
            let valid_block = valid_block.unwrap_or((test_block + 1) % (*n_blocks).max(1));
            let blocks = position_blocks(genes, sizes, *n_blocks);
            let splits: Vec<Split> = blocks
                .iter()
                .map(|block| match *block {
                    block if block == *test_block => Split::Test,
                    block if block == valid_block => Split::Valid,
                    _ => Split::Train,
                })
                .collect();
            Ok(match exclusion_zone {
                true => leave_out_overlaps(genes, &splits, length),
                false => splits.into_iter().map(Assignment::Use).collect(),
            })
        }
        SplitConfig::Table {
            path: table,
            key,
            rows,
            column,
        } => {
            let key = key.as_deref().unwrap_or(rows.default_key());
            let words = read_text_column(table, key, column)?;
            let word_of = |gene: &Gene| match rows {
                SplitRows::Genes => words.get(&gene.gene_id).or_else(|| words.get(&gene.symbol)),
                SplitRows::Chromosomes => words.get(&gene.chrom),
            };
            if *rows == SplitRows::Chromosomes
                && let Some(gene) = genes.first()
                && genes.iter().all(|gene| word_of(gene).is_none())
            {
                return Err(DatasetError::Config {
                    problems: vec![format!(
                        "split: {} has no row for {:?}, nor for the chromosome of any other gene; \
                         write the names of the genome into its column {key:?}",
                        table.display(),
                        gene.chrom
                    )],
                });
            }
            let assign = |gene: &Gene| match word_of(gene) {
                None => Ok(Assignment::NotListed),
                Some((word, line)) => Split::parse(word).map(Assignment::Use).ok_or_else(|| {
                    DatasetError::UnknownSplit {
                        path: table.clone(),
                        line: *line,
                        symbol: gene.symbol.clone(),
                        found: Some(word.clone()),
                    }
                }),
            };
            genes.iter().map(assign).collect()
        }
        SplitConfig::All {} => Ok(by_chrom(genes, |_| Split::Test)),
    }
}

fn by_chrom(genes: &[Gene], split_of: impl Fn(&str) -> Split) -> Vec<Assignment> {
    genes
        .iter()
        .map(|gene| Assignment::Use(split_of(&gene.chrom)))
        .collect()
}

/// Index of the block of each gene: the genes sorted by chromosome (in the genome's order), start
/// site and symbol are cut into `n_blocks` runs whose sizes differ by at most one.
fn position_blocks(genes: &[Gene], sizes: &ChromSizes, n_blocks: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..genes.len()).collect();
    order.sort_by_key(|&index| {
        let gene = &genes[index];
        (sizes.index_of(&gene.chrom), gene.tss, &gene.symbol)
    });
    let mut blocks = vec![0; genes.len()];
    for (rank, &index) in order.iter().enumerate() {
        blocks[index] = rank * n_blocks / genes.len();
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use genome::Strand;

    fn gene(symbol: &str, chrom: &str, tss: u64, split: Option<&str>) -> Gene {
        Gene {
            gene_id: symbol.to_string(),
            symbol: symbol.to_string(),
            chrom: chrom.to_string(),
            tss,
            strand: Strand::Forward,
            gene_type: None,
            split: split.map(str::to_string),
            line: 7,
        }
    }

    fn sizes() -> ChromSizes {
        let names = ["chr1", "chr3", "chr22", "chrX"];
        ChromSizes::new(names.map(|name| (name.to_string(), 1_000_000)).into())
    }

    fn assign(config: &SplitConfig, genes: &[Gene]) -> Result<Vec<Assignment>, DatasetError> {
        assign_splits(config, genes, &sizes(), 100, Path::new("genes.tsv"))
    }

    #[test]
    fn folds_test_every_chromosome_once_and_never_validate_on_it() {
        let mut tested: Vec<&str> = FOLDS.iter().flat_map(|fold| fold.test).copied().collect();
        tested.sort_unstable();
        let mut expected: Vec<String> = (1..=22).map(|n| n.to_string()).collect();
        expected.push("X".to_string());
        expected.sort_unstable();
        assert_eq!(tested, expected);
        for fold in &FOLDS {
            assert!(fold.valid.iter().all(|chrom| !fold.test.contains(chrom)));
        }
    }

    #[test]
    fn split_of_the_published_fold_takes_both_spellings() {
        let cases = [
            ("chr22", Split::Test),
            ("22", Split::Test),
            ("chrX", Split::Test),
            ("3", Split::Valid),
            ("chr21", Split::Valid),
            ("chr2", Split::Train),
            ("chrY", Split::Train),
            ("chr22_random", Split::Train),
        ];
        for (chrom, expected) in cases {
            assert_eq!(FOLDS[10].split_of(chrom), expected, "{chrom}");
        }
    }

    #[test]
    fn assign_splits_by_column_names_the_line_of_an_unknown_split() {
        let good = [gene("A", "chr1", 5, Some("valid"))];
        assert_eq!(
            assign(&SplitConfig::Column {}, &good).unwrap(),
            [Assignment::Use(Split::Valid)]
        );
        for (split, part) in [
            (None, "genes.tsv:7: gene \"A\" has no split; write train"),
            (
                Some("dev"),
                "genes.tsv:7: gene \"A\" has split \"dev\"; write",
            ),
        ] {
            let error =
                assign(&SplitConfig::Column {}, &[gene("A", "chr1", 5, split)]).unwrap_err();
            assert!(error.to_string().starts_with(part), "{error}");
        }
    }

    #[test]
    fn assign_splits_by_a_chromosome_that_is_not_there_is_an_error() {
        let config = SplitConfig::Chromosomes {
            valid: vec!["chr3".into()],
            test: vec!["22".into()],
        };
        let error = assign(&config, &[gene("A", "chr1", 5, None)]).unwrap_err();
        assert!(error.to_string().contains("\"chr22\""), "{error}");
    }

    #[test]
    fn assign_splits_by_chromosomes_and_fold_agree() {
        let genes = [
            gene("A", "chr1", 5, None),
            gene("B", "chr3", 5, None),
            gene("C", "chr22", 5, None),
            gene("D", "chrX", 5, None),
        ];
        let lists = SplitConfig::Chromosomes {
            valid: vec!["chr3".into()],
            test: vec!["chr22".into(), "chrX".into()],
        };
        let expected = [Split::Train, Split::Valid, Split::Test, Split::Test].map(Assignment::Use);
        assert_eq!(assign(&lists, &genes).unwrap(), expected);
        let fold = SplitConfig::Fold { fold: 11 };
        assert_eq!(assign(&fold, &genes).unwrap(), expected);
    }

    #[test]
    fn assign_splits_by_blocks_leaves_out_genes_whose_windows_overlap() {
        // Windows of 100 overlap when the start sites are less than 100 apart.
        let tss = [1000, 1200, 1300, 1399, 1498, 1598, 5000];
        let genes: Vec<Gene> = ["A", "B", "C", "D", "E", "F", "G"]
            .iter()
            .zip(tss)
            .map(|(symbol, tss)| gene(symbol, "chr1", tss, None))
            .collect();
        // Ranks 0..7 times 3 over 7: blocks 0 0 0 1 1 2 2.
        let config = SplitConfig::Blocks {
            n_blocks: 3,
            test_block: 1,
            valid_block: None,
            exclusion_zone: true,
        };
        let overlaps = |symbol: &str| Assignment::Overlaps {
            split: Split::Test,
            symbol: symbol.to_string(),
        };
        let expected = [
            Assignment::Use(Split::Train),
            Assignment::Use(Split::Train),
            overlaps("D"), // 1399 - 1300 = 99
            Assignment::Use(Split::Test),
            Assignment::Use(Split::Test),
            Assignment::Use(Split::Valid), // 1598 - 1498 = 100: the windows touch
            Assignment::Use(Split::Valid),
        ];
        assert_eq!(assign(&config, &genes).unwrap(), expected);
        let without = SplitConfig::Blocks {
            n_blocks: 3,
            test_block: 1,
            valid_block: None,
            exclusion_zone: false,
        };
        assert_eq!(
            assign(&without, &genes).unwrap()[2],
            Assignment::Use(Split::Train)
        );
    }

    #[test]
    fn assign_splits_by_a_table_of_chromosomes_takes_all_of_their_genes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("folds.tsv");
        let table = |text: &str, column: &str| {
            std::fs::write(&path, text).unwrap();
            let toml = format!(
                "by = \"table\"\nrows = \"chromosomes\"\ncolumn = \"{column}\"\npath = {path:?}"
            );
            let config: SplitConfig = toml::from_str(&toml).unwrap();
            let genes = [
                gene("A", "chr1", 5, None),
                gene("B", "chr22", 5, None),
                gene("C", "chr1", 9, None),
                gene("D", "chrX", 5, None),
            ];
            assign(&config, &genes).map_err(|error| error.to_string())
        };
        let folds =
            "chrom\tfold_1\tfold_2\nchr1\ttest\ttrain\nchr22\ttrain\tvalid\nchr9\ttest\ttest\n";
        let used = Assignment::Use;
        assert_eq!(
            table(folds, "fold_1").unwrap(),
            [
                used(Split::Test),
                used(Split::Train),
                used(Split::Test),
                Assignment::NotListed
            ]
        );
        assert_eq!(
            table(folds, "fold_2").unwrap(),
            [
                used(Split::Train),
                used(Split::Valid),
                used(Split::Train),
                Assignment::NotListed
            ]
        );
        for (text, part) in [
            (
                "chrom\tfold_1\n1\ttest\n",
                "folds.tsv has no row for \"chr1\", nor for",
            ),
            (
                "chrom\tfold_1\nchr1\tdev\n",
                "folds.tsv:2: gene \"A\" has split \"dev\"",
            ),
            (
                "contig\tfold_1\nchr1\ttest\n",
                "no column \"chrom\"; the columns are contig",
            ),
        ] {
            let message = table(text, "fold_1").unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn position_blocks_follow_the_genome_order_of_chromosomes() {
        let genes = [
            gene("A", "chrX", 1, None),
            gene("B", "chr1", 9, None),
            gene("C", "chr22", 5, None),
            gene("D", "chr1", 3, None),
        ];
        assert_eq!(position_blocks(&genes, &sizes(), 4), [3, 1, 2, 0]);
        assert_eq!(position_blocks(&[], &sizes(), 4), [0_usize; 0]);
    }
}
