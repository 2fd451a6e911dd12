//! Where the genes' expression comes from: a table, or a track at the start sites.

use std::path::Path;

use genome::{
    Expression, Gene, ReadFilter, TrackFile, TssSignal, read_expression,
    read_transformed_expression,
};

use crate::chrom_alias::{ChromAlias, count_genes_by_chrom};
use crate::config::DataConfig;
use crate::error::DatasetError;
use crate::expression_config::{ExpressionTransform, GeneKey};

/// The name under which the expression of a gene is kept: as a table has it; of a track by its symbol, since two genes may
/// share an identifier, as on X and Y.
pub(crate) fn expression_key<'a>(config: &DataConfig, gene: &'a Gene) -> &'a str {
    match config.expression.key_holds {
        GeneKey::GeneId if !config.expression.is_track() => &gene.gene_id,
        _ => &gene.symbol,
    }
}

/// Reads the expression of genes that lie on the genome, each keyed as the configuration says; of a
/// track, around where their start sites are now.
///
/// # Errors
/// [`DatasetError::Genome`] for a file that cannot be read, or a start site whose values are no
/// counts; [`DatasetError::AbsentChroms`] for genes on a chromosome that a track does not have.
pub(crate) fn read_target(
    config: &DataConfig,
    genes: &[Gene],
    alias: &ChromAlias,
) -> Result<Expression, DatasetError> {
    let expression = &config.expression;
    if !expression.is_track() {
        let read = match expression.transform {
            ExpressionTransform::Log10p1 => read_expression,
            ExpressionTransform::None => read_transformed_expression,
        };
        return Ok(read(&expression.path, &expression.key, &expression.value)?);
    }
    let known = alias.sizes_by_any_name();
    let needed = count_genes_by_chrom(genes);
    let filter = ReadFilter::default();
    let open = |path: &Path| TrackFile::open(path, &known, config.cram_reference(), &filter);
    let forward = open(&expression.path)?;
    let reverse = expression.minus.as_deref().map(open).transpose()?;
    let names_in =
        |file: &TrackFile| alias.names_in(file.path(), file.chrom_sizes(), &needed, None);
    let forward_names = names_in(&forward)?;
    let reverse_names = reverse.as_ref().map(names_in).transpose()?;
    let signal = TssSignal::new(forward, reverse, expression.tss_bases);
    let values = genes
        .iter()
        .map(|gene| {
            let names = match (&reverse_names, gene.strand) {
                (Some(names), genome::Strand::Reverse) => names,
                _ => &forward_names,
            };
            let sum = names
                .get(&gene.chrom)?
                .map(|chrom| signal.read(&chrom, gene.tss, gene.strand))
                .transpose()?;
            Ok((expression_key(config, gene).to_string(), sum))
        })
        .collect::<Result<Vec<_>, DatasetError>>()?;
    Ok(Expression::new(&expression.path, values))
}
