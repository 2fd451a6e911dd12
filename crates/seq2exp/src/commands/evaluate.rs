//! `seq2exp evaluate`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use dataset::{ExampleSource, PreparedReader, Split};

use crate::baseline::{BaselineKind, Baselines};
use crate::cli::{DeviceArgs, EvaluateArgs};
use crate::commands::{machine, print_json, print_text};
use crate::config::ExperimentConfig;
use crate::ensemble::{EnsemblePredictions, METRICS_FILE, MetricsFile, Spread};
use crate::evaluate::{Evaluation, Scores, write_json};
use crate::experiment::{DATA_FOLDER, Experiment, Resume, read_config};
use crate::metric::{BootstrapConfig, Estimate};
use crate::pool::{PoolReport, pool};
use crate::predictions_table::{PREDICTIONS_FILE, write_predictions_table};
use crate::trained_genes::TrainedGenes;
use crate::trained_networks::TrainedNetworks;

/// Scores one run, or pools the test genes of several.
pub fn execute(args: &EvaluateArgs) -> Result<()> {
    if let [folder] = args.folders.as_slice() {
        let metrics = match (&args.on, &args.output) {
            (Some(on), Some(output)) => evaluate_on(args.device, folder, on, output)?,
            _ => evaluate(&Experiment::reopen(folder, machine(args.device)?)?)?,
        };
        return if args.json {
            print_json(&metrics)
        } else {
            print_text(&table(&metrics))
        };
    }
    if args.on.is_some() {
        bail!(
            "--on takes the networks of one folder, not of {}",
            args.folders.len()
        );
    }
    let files: Vec<PathBuf> = args
        .folders
        .iter()
        .map(|folder| folder.join(PREDICTIONS_FILE))
        .collect();
    let report = pool(&files, BootstrapConfig::default())?;
    if args.json {
        print_json(&report)
    } else {
        print_text(&pool_table(&report))
    }
}

/// Evaluates the networks of a run on the data of another experiment, whose results go to `output`.
fn evaluate_on(device: DeviceArgs, folder: &Path, on: &Path, output: &Path) -> Result<MetricsFile> {
    let config = ExperimentConfig {
        seeds: read_config(folder)?.seeds,
        ..ExperimentConfig::read(on, &[])?
    };
    let machine = machine(device)?;
    // Before the output folder is taken for these settings.
    let networks = TrainedNetworks::of_run(folder, &config.model, &machine.device.device)?;
    networks.note(machine.progress);
    let experiment = Experiment::open(config, output, Resume::Yes, machine)?;
    let metrics = evaluate_networks(&experiment, &networks)?;
    note_trained_genes(folder, &experiment)?;
    Ok(metrics)
}

/// Says how many test genes of an experiment the networks of the run in `folder` have seen.
fn note_trained_genes(folder: &Path, experiment: &Experiment) -> Result<()> {
    let data = folder.join(DATA_FOLDER);
    if !data.join(dataset::MANIFEST_FILE_NAME).exists() {
        eprintln!(
            "note     {} is not there, so it cannot be said which genes the networks were trained on",
            data.display()
        );
        return Ok(());
    }
    let seen = TrainedGenes::new(&PreparedReader::open(data)?);
    if let Some(note) = seen.note(&experiment.prepared()?) {
        eprintln!("note     {note}");
    }
    Ok(())
}

/// Predicts and scores all genes; writes `predictions.tsv` and `metrics.json` into a folder that can be written to.
pub fn evaluate(experiment: &Experiment) -> Result<MetricsFile> {
    evaluate_networks(experiment, &experiment.networks()?)
}

fn evaluate_networks(experiment: &Experiment, networks: &TrainedNetworks) -> Result<MetricsFile> {
    let prepared = experiment.prepared()?;
    let provenance = experiment.provenance(networks, &prepared);
    let source: Arc<dyn ExampleSource> = Arc::new(prepared);
    let baselines = Baselines::fit(&source, experiment.config().train.loader_threads)?;
    let predictions = EnsemblePredictions::new(experiment, networks, &source)?;
    let (ensemble, seeds, over_seeds) = predictions.evaluate(
        source.as_ref(),
        baselines.as_ref(),
        BootstrapConfig::default(),
    );
    let is_writable = experiment.is_writable();
    if is_writable {
        genome::write_atomic(experiment.path().join(PREDICTIONS_FILE), |out| {
            write_predictions_table(
                out,
                source.as_ref(),
                &predictions,
                baselines.as_ref(),
                &provenance,
            )
        })?;
    } else {
        eprintln!(
            "note     {} cannot be written to, so {PREDICTIONS_FILE} and {METRICS_FILE} stay as they are",
            experiment.path().display()
        );
    }
    let metrics = MetricsFile {
        version: provenance.version,
        device: experiment.machine().device.name.clone(),
        model_digest: provenance.model_digest,
        data_digest: provenance.data_digest,
        ensemble,
        over_seeds,
        seeds,
    };
    if is_writable {
        write_json(&experiment.path().join(METRICS_FILE), &metrics)?;
    }
    if let Some(note) = note_worse_than_mean(&metrics.ensemble) {
        eprintln!("note     {note}");
    }
    Ok(metrics)
}

/// A sentence on networks that predict the validation genes worse than one number does; none when they do better.
fn note_worse_than_mean(ensemble: &[Evaluation]) -> Option<String> {
    let valid = ensemble.iter().find(|row| row.split == Split::Valid)?;
    let of_mean = valid
        .baselines
        .iter()
        .find(|row| row.name == BaselineKind::TrainMean)?;
    let (mse, mse_of_mean) = (valid.network.mse.value?, of_mean.scores.mse.value?);
    (mse > mse_of_mean).then(|| {
        format!(
            "on the validation genes the predictions are worse than the mean of the training genes (mse {mse:.3} against \
             {mse_of_mean:.3}), so nothing should be read from these networks: train longer or at another rate, and bring \
             tracks that are far from the published unit, reads per million, near it with scale"
        )
    })
}

/// The scores as a table for people.
pub fn table(metrics: &MetricsFile) -> String {
    let mut text = heading();
    for evaluation in &metrics.ensemble {
        if evaluation.network.n_genes == 0 {
            continue;
        }
        let label = match metrics.seeds.len() {
            1 => "network".to_string(),
            n_seeds => format!("mean of {n_seeds} networks"),
        };
        row(&mut text, evaluation.split, &label, &evaluation.network);
        let spread = metrics
            .over_seeds
            .iter()
            .find(|spread| spread.split == evaluation.split);
        if let Some(spread) = spread.filter(|_| metrics.seeds.len() > 1) {
            let columns =
                [spread.mse, spread.mae, spread.pearson, spread.spearman].map(spread_text);
            let _ = writeln!(
                text,
                "{:<6} {:<28} {:>5} {}",
                "",
                "  each network, mean ± sd",
                "",
                columns.join(" ")
            );
        }
        for baseline in &evaluation.baselines {
            row(
                &mut text,
                evaluation.split,
                baseline.name.label(),
                &baseline.scores,
            );
        }
    }
    text.push_str("Brackets: 95 % bootstrap intervals over genes.\n");
    text
}

fn pool_table(report: &PoolReport) -> String {
    let mut text = heading();
    for predictor in &report.predictors {
        row(&mut text, Split::Test, &predictor.name, &predictor.scores);
    }
    text.push_str(&format!(
        "Test genes of {} runs, each gene once. Brackets: 95 % bootstrap intervals.\n",
        report.n_runs
    ));
    text
}

fn heading() -> String {
    format!(
        "{:<6} {:<28} {:>5} {:>22} {:>22} {:>22} {:>22}\n",
        "split", "predictor", "genes", "MSE", "MAE", "Pearson", "Spearman"
    )
}

fn row(text: &mut String, split: Split, label: &str, scores: &Scores) {
    let columns = [scores.mse, scores.mae, scores.pearson, scores.spearman].map(estimate_text);
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{split:<6} {label:<28} {:>5} {}",
        scores.n_genes,
        columns.join(" ")
    );
}

fn estimate_text(estimate: Estimate) -> String {
    let text = match (estimate.value, estimate.low, estimate.high) {
        (Some(value), Some(low), Some(high)) => format!("{value:.3} [{low:.3}, {high:.3}]"),
        (Some(value), ..) => format!("{value:.3}"),
        (None, ..) => "undefined".to_string(),
    };
    format!("{text:>22}")
}

fn spread_text(spread: Spread) -> String {
    let text = match (spread.mean, spread.sd) {
        (Some(mean), Some(sd)) => format!("{mean:.3} ± {sd:.3}"),
        (Some(mean), None) => format!("{mean:.3}"),
        (None, _) => "undefined".to_string(),
    };
    format!("{text:>22}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::BaselineScores;

    /// Scores of predictions that are off by 1 and `error` for two genes.
    fn scores(error: f64) -> Scores {
        Scores::new(&[1.0, error], &[0.0, 0.0], BootstrapConfig::default(), 2)
    }

    #[test]
    fn networks_worse_than_the_mean_on_validation_genes_are_noted() {
        let evaluation = |split, error, error_of_mean| Evaluation {
            split,
            network: scores(error),
            mask_ratio: None,
            baselines: vec![BaselineScores {
                name: BaselineKind::TrainMean,
                scores: scores(error_of_mean),
            }],
        };
        // (1 + 9) / 2 = 5 and (1 + 4) / 2 = 2.5.
        let note = note_worse_than_mean(&[
            evaluation(Split::Train, 2.0, 3.0),
            evaluation(Split::Valid, 3.0, 2.0),
        ]);
        assert!(note.unwrap().contains("(mse 5.000 against 2.500)"));
        // Of other splits nothing is said: test genes choose no setting.
        let others = [
            evaluation(Split::Valid, 2.0, 3.0),
            evaluation(Split::Test, 3.0, 2.0),
        ];
        assert_eq!(note_worse_than_mean(&others), None);
    }
}
