//! `seq2exp predict`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use dataset::{
    DataConfig, ExampleReader, ExampleSource, MissingExpression, PreparedReader, SplitConfig,
};

use crate::cli::PredictArgs;
use crate::commands::machine;
use crate::ensemble::EnsemblePredictions;
use crate::experiment::Experiment;
use crate::predictions_table::write_predictions_table;

/// Predicts the genes of a run, or of another gene table in the same genome and tracks.
pub fn execute(args: &PredictArgs) -> Result<()> {
    let experiment = Experiment::reopen(&args.folder, machine(args.device)?)?;
    let prepared = experiment.prepare()?;
    let networks = experiment.networks()?;
    let provenance = experiment.provenance(&networks, &prepared);
    let source: Arc<dyn ExampleSource> = match &args.genes {
        Some(genes) => Arc::new(other_genes(&experiment.config().data, genes, &prepared)?),
        None => Arc::new(prepared),
    };
    let predictions = EnsemblePredictions::new(&experiment, &networks, &source)?;
    if args.output == Path::new("-") {
        let mut out = std::io::stdout().lock();
        write_predictions_table(&mut out, source.as_ref(), &predictions, None, &provenance)?;
    } else {
        genome::write_atomic(&args.output, |out| {
            write_predictions_table(out, source.as_ref(), &predictions, None, &provenance)
        })?;
    }
    Ok(())
}

/// Genes of another table, standardised as the run's training genes were; expression is shown where it is known.
fn other_genes(
    config: &DataConfig,
    genes: &Path,
    prepared: &PreparedReader,
) -> Result<ExampleReader> {
    let config = DataConfig {
        genes: genes.to_path_buf(),
        split: SplitConfig::All {},
        missing_expression: MissingExpression::Keep,
        gene_types: None,
        ..config.clone()
    };
    Ok(ExampleReader::open_with_scaling(
        &config,
        &prepared.manifest().description.features,
    )?)
}
