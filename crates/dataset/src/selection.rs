//! Which genes of the table become examples.

use std::fmt;

use genome::{ChromSizes, Expression, Gene};
use serde::{Deserialize, Serialize};

use crate::config::DataConfig;
use crate::error::DatasetError;
use crate::expression_config::{GeneKey, MissingExpression};
use crate::fold::{Assignment, Split, assign_splits};
use crate::misnamed::MisnamedGenes;
use crate::placed_genes::PlacedGenes;
use crate::split_config::SplitConfig;
use crate::target::expression_key;
use crate::tss_peaks::TssCounts;

/// A gene of the table that is no example, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedGene {
    /// Symbol of the gene.
    pub symbol: String,
    /// Its line in the gene table, from 1.
    pub line: u64,
    /// Why it is left out.
    pub reason: SkipReason,
}

impl SkippedGene {
    pub(crate) fn new(gene: &Gene, reason: SkipReason) -> Self {
        SkippedGene {
            symbol: gene.symbol.clone(),
            line: gene.line,
            reason,
        }
    }
}

/// Why a gene is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SkipReason {
    /// Its kind is not one of [`DataConfig::gene_types`].
    GeneType {
        /// Its kind.
        gene_type: String,
    },
    /// Its expression was not measured ([`MissingExpression::Skip`]).
    NoExpression,
    /// The annotation does not know its strand (`?`), and so it has no start site.
    NoStrand,
    /// The table of the split does not list it ([`SplitConfig::Table`]).
    NotListed,
    /// Its window overlaps the window of a gene of another split ([`SplitConfig::Blocks`]).
    Overlaps {
        /// The other gene's split.
        split: Split,
        /// The other gene's symbol.
        symbol: String,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::GeneType { gene_type } => write!(f, "gene type {gene_type} is not kept"),
            SkipReason::NoExpression => f.write_str("no measured expression"),
            SkipReason::NoStrand => {
                f.write_str("its strand is not known (?), and a start site needs one")
            }
            SkipReason::NotListed => f.write_str("not listed in the table of the split"),
            SkipReason::Overlaps { split, symbol } => {
                write!(f, "its window overlaps that of {symbol} ({split})")
            }
        }
    }
}

/// Number of genes that are left out, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkipCounts {
    /// Their kind is not kept.
    pub gene_type: usize,
    /// Their expression was not measured.
    pub no_expression: usize,
    /// Their strand is not known; not written when there is none, so that the digest of other data sets stays what it was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub no_strand: usize,
    /// The table of the split does not list them.
    pub not_listed: usize,
    /// Their window overlaps that of a gene of another split.
    pub overlaps: usize,
}

impl SkipCounts {
    /// Counts a list.
    pub fn of(skipped: &[SkippedGene]) -> Self {
        let mut counts = SkipCounts::default();
        for gene in skipped {
            match gene.reason {
                SkipReason::GeneType { .. } => counts.gene_type += 1,
                SkipReason::NoExpression => counts.no_expression += 1,
                SkipReason::NoStrand => counts.no_strand += 1,
                SkipReason::NotListed => counts.not_listed += 1,
                SkipReason::Overlaps { .. } => counts.overlaps += 1,
            }
        }
        counts
    }
}

impl fmt::Display for SkipCounts {
    /// `21 without measured expression, 1 whose window shares bases with one of another split`; nothing for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<String> = [
            (self.gene_type, "of a kind that is not kept"),
            (self.no_expression, "without measured expression"),
            (self.no_strand, "whose strand is not known"),
            (self.not_listed, "that the table of the split does not list"),
            (
                self.overlaps,
                "whose window shares bases with one of another split",
            ),
        ]
        .into_iter()
        .filter(|(n_genes, _)| *n_genes > 0)
        .map(|(n_genes, why)| format!("{n_genes} {why}"))
        .collect();
        f.write_str(&reasons.join(", "))
    }
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The genes that become examples, in the order of the table, with what is known of each.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) genes: Vec<Gene>,
    pub(crate) splits: Vec<Split>,
    pub(crate) targets: Vec<Option<f32>>,
    pub(crate) skipped: Vec<SkippedGene>,
    /// Genes among those without measured expression that the table has under another name.
    pub(crate) misnamed: Option<MisnamedGenes>,
    pub(crate) tss: Option<TssCounts>,
}

/// Chooses among genes on the genome by measured expression and split, in this order.
///
/// # Errors
/// A gene that has no expression or no split where one is needed; an expression table without any
/// of the genes; a split without a gene.
pub(crate) fn select_genes(
    config: &DataConfig,
    placed: PlacedGenes,
    expression: &Expression,
    sizes: &ChromSizes,
) -> Result<Selection, DatasetError> {
    let PlacedGenes {
        genes,
        mut skipped,
        tss,
        ..
    } = placed;
    check_expression_names(config, &genes, expression)?;
    let n_genes = genes.len() + skipped.len();
    let mut skip = |gene: &Gene, reason| skipped.push(SkippedGene::new(gene, reason));

    let lacks_row = |gene: &&Gene| !expression.contains(expression_key(config, gene));
    let misnamed = match config.missing_expression {
        MissingExpression::Skip => MisnamedGenes::find(
            expression,
            config.expression.key_holds,
            genes.iter().filter(lacks_row),
        ),
        MissingExpression::Error | MissingExpression::Keep => None,
    };
    let mut kept = Vec::new();
    for gene in genes {
        let value = expression.get(expression_key(config, &gene));
        match (value, config.missing_expression) {
            (None, MissingExpression::Skip) => skip(&gene, SkipReason::NoExpression),
            (None, MissingExpression::Error) => {
                return Err(DatasetError::NoExpression {
                    path: config.genes.clone(),
                    line: gene.line,
                    symbol: gene.symbol,
                    expression: config.expression.path.clone(),
                });
            }
            (value, _) => {
                let target = value.map(|value| config.expression.transform.apply(value));
                kept.push((gene, target));
            }
        }
    }

    let (kept_genes, targets): (Vec<Gene>, Vec<Option<f32>>) = kept.into_iter().unzip();
    let assignments = assign_splits(
        &config.split,
        &kept_genes,
        sizes,
        config.length,
        &config.genes,
    )?;
    let mut selection = Selection {
        genes: Vec::new(),
        splits: Vec::new(),
        targets: Vec::new(),
        skipped: Vec::new(),
        misnamed,
        tss,
    };
    for ((gene, target), assignment) in kept_genes.into_iter().zip(targets).zip(assignments) {
        match assignment {
            Assignment::Use(split) => {
                selection.genes.push(gene);
                selection.splits.push(split);
                selection.targets.push(target);
            }
            Assignment::NotListed => skip(&gene, SkipReason::NotListed),
            Assignment::Overlaps { split, symbol } => {
                skip(&gene, SkipReason::Overlaps { split, symbol });
            }
        }
    }
    skipped.sort_by_key(|gene| gene.line);
    selection.skipped = skipped;
    selection.check_splits(config, n_genes)?;
    Ok(selection)
}

impl Selection {
    /// # Errors
    /// [`DatasetError::EmptySplit`].
    fn check_splits(&self, config: &DataConfig, n_genes: usize) -> Result<(), DatasetError> {
        let needed: &[Split] = match config.split {
            SplitConfig::All {} => &[Split::Test],
            _ => &Split::ALL,
        };
        match needed.iter().find(|split| !self.splits.contains(split)) {
            None => Ok(()),
            Some(empty) => Err(DatasetError::EmptySplit {
                path: config.genes.clone(),
                split: empty.name(),
                n_genes,
                n_skipped: self.skipped.len(),
                left_out: SkipCounts::of(&self.skipped),
                hint: self.empty_split_hint(config),
            }),
        }
    }

    fn empty_split_hint(&self, config: &DataConfig) -> String {
        if let Some(misnamed) = &self.misnamed {
            return misnamed.to_string();
        }
        match (self.skipped.first(), &config.split) {
            (Some(first), _) if self.genes.is_empty() => {
                format!("{} was left out because: {}", first.symbol, first.reason)
            }
            (_, SplitConfig::Column {}) => {
                "write train, valid and test into its column split, or choose another split".into()
            }
            (_, SplitConfig::Table { column, .. }) => {
                format!(
                    "write train, valid and test into column {column:?} of its table, or choose another column"
                )
            }
            (_, SplitConfig::Chromosomes { .. } | SplitConfig::Fold { .. }) => {
                "the genes lie on too few chromosomes; choose other chromosomes, or split by blocks"
                    .into()
            }
            (_, SplitConfig::Blocks { .. }) if SkipCounts::of(&self.skipped).overlaps == 0 => {
                "too few genes are left for these blocks; use fewer, or more genes".into()
            }
            (_, SplitConfig::Blocks { .. }) => {
                "use a shorter window or other blocks, so that not every gene overlaps".into()
            }
            (_, SplitConfig::All {}) => "the table must list a gene".into(),
        }
    }
}

/// # Errors
/// [`DatasetError::NoCommonGene`] when no gene has a row in the table.
fn check_expression_names(
    config: &DataConfig,
    genes: &[Gene],
    expression: &Expression,
) -> Result<(), DatasetError> {
    // Genes to predict need not have been measured; that no gene is left is said by its split.
    if config.missing_expression == MissingExpression::Keep
        || genes.is_empty()
        || genes
            .iter()
            .any(|gene| expression.contains(expression_key(config, gene)))
    {
        return Ok(());
    }
    let key = match config.expression.key_holds {
        GeneKey::Symbol => "symbol",
        GeneKey::GeneId => "gene_id",
    };
    let first = expression.iter().next().map_or("", |(name, _)| name);
    let gene = genes
        .first()
        .map_or("", |gene| expression_key(config, gene));
    Err(DatasetError::NoCommonGene {
        path: config.expression.path.clone(),
        genes: config.genes.clone(),
        key,
        first: first.to_string(),
        gene: gene.to_string(),
    })
}
