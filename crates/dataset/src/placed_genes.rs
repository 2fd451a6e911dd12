//! The genes that the settings ask for, each where it lies on the genome.

use std::collections::HashSet;

use genome::{ChromSizes, Gene};

use crate::chrom_alias::ChromAlias;
use crate::config::DataConfig;
use crate::error::DatasetError;
use crate::fold::{Assignment, assign_splits};
use crate::region_file::RegionsLeftOut;
use crate::selection::{SkipReason, SkippedGene};
use crate::split_config::SplitConfig;
use crate::tss_peaks::{TssCounts, move_to_peaks};

/// The genes that the settings ask for, in the order of the table, at their final start sites.
///
/// Chromosomes have the genome's names. Whether a gene becomes an example also depends on its
/// expression and its split.
#[derive(Debug)]
pub(crate) struct PlacedGenes {
    pub(crate) genes: Vec<Gene>,
    pub(crate) skipped: Vec<SkippedGene>,
    pub(crate) tss: Option<TssCounts>,
    /// Peaks of start sites that lie on no chromosome of the genome.
    pub(crate) peaks_left_out: Vec<RegionsLeftOut>,
}

impl PlacedGenes {
    /// Leaves out what the settings do not ask for, and moves start sites to peaks where they say so.
    ///
    /// # Errors
    /// A gene of a kind that is not known although kinds are chosen; one that does not lie on the
    /// genome; peaks that cannot be read.
    pub(crate) fn find(
        config: &DataConfig,
        genes: Vec<Gene>,
        sizes: &ChromSizes,
        alias: &ChromAlias,
    ) -> Result<Self, DatasetError> {
        let (mut genes, skipped) = leave_out_unwanted(config, genes, sizes, alias)?;
        genome::check_genes_against(&config.genes, &genes, sizes)?;
        let mut peaks_left_out = Vec::new();
        let tss = config
            .tss_peaks
            .as_ref()
            .map(|peaks| move_to_peaks(peaks, &mut genes, sizes, alias, &mut peaks_left_out))
            .transpose()?;
        Ok(PlacedGenes {
            genes,
            skipped,
            tss,
            peaks_left_out,
        })
    }
}

/// Gives genes the genome's names of their chromosomes, and leaves out those that the table of the
/// split does not list and those of other kinds, wherever they lie: a list of genes is often of
/// more than what matters, and of more chromosomes than the genome has.
///
/// # Errors
/// [`DatasetError::NoGeneType`]; a table of a split that cannot be read.
pub(crate) fn leave_out_unwanted(
    config: &DataConfig,
    mut genes: Vec<Gene>,
    sizes: &ChromSizes,
    alias: &ChromAlias,
) -> Result<(Vec<Gene>, Vec<SkippedGene>), DatasetError> {
    for gene in &mut genes {
        gene.chrom = alias.genome_name(&gene.chrom).to_string();
    }
    let unlisted = lines_not_listed(config, &genes, sizes)?;
    let (mut kept, mut skipped) = (Vec::new(), Vec::new());
    for gene in genes {
        if unlisted.contains(&gene.line) {
            skipped.push(SkippedGene::new(&gene, SkipReason::NotListed));
            continue;
        }
        if let Some(kept_types) = &config.gene_types {
            let gene_type = gene
                .gene_type
                .clone()
                .ok_or_else(|| DatasetError::NoGeneType {
                    path: config.genes.clone(),
                    line: gene.line,
                    symbol: gene.symbol.clone(),
                })?;
            if !kept_types.contains(&gene_type) {
                skipped.push(SkippedGene::new(&gene, SkipReason::GeneType { gene_type }));
                continue;
            }
        }
        kept.push(gene);
    }
    Ok((kept, skipped))
}

/// Lines of the genes that the table of the split does not list.
fn lines_not_listed(
    config: &DataConfig,
    genes: &[Gene],
    sizes: &ChromSizes,
) -> Result<HashSet<u64>, DatasetError> {
    if !matches!(config.split, SplitConfig::Table { .. }) {
        return Ok(HashSet::new());
    }
    let assignments = assign_splits(&config.split, genes, sizes, config.length, &config.genes)?;
    Ok(genes
        .iter()
        .zip(assignments)
        .filter(|(_, assignment)| *assignment == Assignment::NotListed)
        .map(|(gene, _)| gene.line)
        .collect())
}
