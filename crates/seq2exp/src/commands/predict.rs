//! `seq2exp predict`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use dataset::{
    DATA_FILE_NAME, DataConfig, DataDescription, ExampleReader, ExampleSource, MANIFEST_FILE_NAME,
    MissingExpression, PreparedReader, SplitConfig,
};
use genome::{AtomicFile, refuse_input_as_output};

use crate::cli::PredictArgs;
use crate::commands::machine;
use crate::ensemble::EnsemblePredictions;
use crate::error::RunError;
use crate::experiment::Experiment;
use crate::predictions_table::write_predictions_table;
use crate::run_folder::CONFIG_FILE;
use crate::train::BEST_FILE;
use crate::trained_genes::{Relabelled, TrainedGenes};

/// Predicts the genes of a run, or of another gene table in the same genome and tracks.
pub fn execute(args: &PredictArgs) -> Result<()> {
    let experiment = Experiment::reopen(&args.folder, machine(args.device)?)?;
    check_output(&experiment, args)?;
    // Made now, so that a folder that is not there is no surprise at the end.
    let file = (args.output != Path::new("-"))
        .then(|| AtomicFile::create(&args.output))
        .transpose()?;
    let prepared = experiment.prepared()?;
    let networks = experiment.networks()?;
    let provenance = experiment.provenance(&networks, &prepared);
    let source: Arc<dyn ExampleSource> = match &args.genes {
        Some(genes) => {
            let seen = TrainedGenes::new(&prepared);
            let source =
                other_genes(&experiment.config().data, genes, &prepared).map_err(|error| {
                    match genes.exists() {
                        true => experiment.moved(error),
                        false => error,
                    }
                })?;
            if let Some(note) = seen.note(&source) {
                eprintln!("note     {note}; column split says which");
            }
            Arc::new(Relabelled::new(source, &seen))
        }
        None => Arc::new(prepared),
    };
    let predictions = EnsemblePredictions::new(&experiment, &networks, &source)?;
    let write = |mut out: &mut dyn Write| {
        write_predictions_table(&mut out, source.as_ref(), &predictions, None, &provenance)
    };
    match file {
        Some(file) => file.finish(|out| write(out))?,
        None => write(&mut std::io::stdout().lock())?,
    }
    Ok(())
}

/// Makes sure that the predictions replace none of the files that they are made from.
fn check_output(experiment: &Experiment, args: &PredictArgs) -> Result<()> {
    let config = experiment.config();
    let mut of_run = vec![experiment.path().join(CONFIG_FILE)];
    for name in [DATA_FILE_NAME, MANIFEST_FILE_NAME] {
        of_run.push(experiment.data_folder().join(name));
    }
    for &seed in &config.seeds {
        of_run.push(experiment.seed_folder(seed).join(BEST_FILE));
    }
    let sources = config.data.source_files();
    let inputs = sources
        .iter()
        .map(|(_, path)| *path)
        .chain(of_run.iter().map(PathBuf::as_path))
        .chain(args.genes.as_deref());
    Ok(refuse_input_as_output(&args.output, inputs)?)
}

/// Genes of another table, standardised as the run's training genes were; expression is shown where it is known.
///
/// What a reader of the predictions must know about them goes to standard error.
fn other_genes(
    config: &DataConfig,
    genes: &Path,
    prepared: &PreparedReader,
) -> Result<ExampleReader, RunError> {
    let config = DataConfig {
        genes: genes.to_path_buf(),
        split: SplitConfig::All {},
        missing_expression: MissingExpression::Keep,
        gene_types: None,
        ..config.clone()
    };
    let scaling = &prepared.manifest().description.features;
    let reader = ExampleReader::open_with_scaling(&config, scaling)?;
    for note in DataDescription::without_sources(&reader).notes() {
        eprintln!("note     {note}");
    }
    Ok(reader)
}
