//! `seq2exp report`.

use std::path::Path;

use anyhow::{Context, Result, bail};
use dataset::{MANIFEST_FILE_NAME, PreparedReader};

use crate::cli::FolderArgs;
use crate::commands::machine;
use crate::config::ExperimentConfig;
use crate::discover::{Discovery, ELEMENTS_FILE};
use crate::discovery_tables::{discovered_by, read_discovery};
use crate::elements::{MaskedWindow, find_elements, selection_limit};
use crate::ensemble::{METRICS_FILE, MetricsFile, mean_mask};
use crate::evaluate::{Evaluation, Scores};
use crate::experiment::{DATA_FOLDER, Experiment};
use crate::metric::BootstrapConfig;
use crate::output_folder::REPORT_FILE;
use crate::predictions_table::{PREDICTIONS_FILE, PredictionRow, read_predictions_table};
use crate::report::{
    FactGroup, GenePicture, MetricKind, MetricRow, Neighbour, PredictionPoint, ReportInput,
    TrainingCurve, TrainingStep, ValidationStep, choose_genes, write_report,
};
use crate::train::{RECORD_FILE, Record, read_records};
use crate::trained_networks::TrainedNetworks;

mod data_facts;

use data_facts::{data_facts, file_name};

/// Genes whose masks are drawn.
const N_PICTURES: usize = 6;

/// Writes the report of a trained run.
pub fn execute(args: &FolderArgs) -> Result<()> {
    report(&Experiment::reopen(&args.folder, machine(args.device)?)?)
}

/// Writes `report.html` from what the earlier steps left in the folder.
pub fn report(experiment: &Experiment) -> Result<()> {
    let prepared = experiment.prepared()?;
    let networks = experiment.networks()?;
    let metrics = read_metrics(experiment.path())?;
    if metrics.model_digest != networks.digest {
        bail!(
            "{}: scores of other networks than those of the folder; run `seq2exp evaluate` again",
            experiment.path().join(METRICS_FILE).display()
        );
    }
    let discovery = read_elements(experiment.path(), &networks.digest)?;
    let predictions = read_points(&experiment.path().join(PREDICTIONS_FILE))?;
    let config = experiment.config();
    let mut notes = notes(&prepared);
    notes.extend(networks.unfinished.iter().map(|line| sentence(line)));
    let training = training(experiment, &mut notes)?;
    let mut input = ReportInput {
        name: config.name.clone(),
        summary: summary(config, &prepared),
        command: format!("seq2exp report {}", experiment.path().display()),
        facts: facts(experiment, &networks, &prepared),
        notes,
        target: config.data.expression.target_name(),
        training,
        metrics: metric_rows(&metrics),
        interval_level: BootstrapConfig::default().level,
        track_names: config.data.track_names(),
        genes: pictures(experiment, &networks, &prepared, &predictions)?,
        predictions,
        ..ReportInput::default()
    };
    if let Some(discovery) = discovery {
        let flat = discovery.note_flat_masks(&config.discover);
        input.notes.extend(flat.map(|note| sentence(&note)));
        let Discovery { elements, genes } = discovery;
        input.discover = Some(config.discover);
        input.elements = elements;
        input.masks = genes;
    }
    let path = experiment.path().join(REPORT_FILE);
    write_report(&path, &input)?;
    eprintln!("report in {}", path.display());
    Ok(())
}

/// What the networks with this digest discovered, if anything was discovered.
fn read_elements(folder: &Path, digest: &str) -> Result<Option<Discovery>> {
    let path = folder.join(ELEMENTS_FILE);
    if !path.exists() {
        return Ok(None);
    }
    if discovered_by(folder)?.is_some_and(|found| found != digest) {
        bail!(
            "{}: elements of other networks than those of the folder; run `seq2exp discover` again",
            path.display()
        );
    }
    let discovery = read_discovery(folder).context("run `seq2exp discover` again to mend it")?;
    Ok(Some(discovery))
}

fn read_metrics(folder: &Path) -> Result<MetricsFile> {
    let path = folder.join(METRICS_FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: run `seq2exp evaluate` first", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "{}: not a metrics file of this version; run `seq2exp evaluate` again",
            path.display()
        )
    })
}

fn read_points(path: &Path) -> Result<Vec<PredictionPoint>> {
    let table = read_predictions_table(path)?;
    let point = |row: PredictionRow| PredictionPoint {
        predicted: row.predicted.first().copied().unwrap_or(f64::NAN),
        symbol: row.symbol,
        split: row.split,
        observed: row.observed,
        spread: row.spread,
    };
    Ok(table.rows.into_iter().map(point).collect())
}

fn summary(config: &ExperimentConfig, prepared: &PreparedReader) -> String {
    let counts = prepared.manifest().description.examples;
    format!(
        "{} on windows of {} bp around the start sites of {} genes ({} train, {} validation, {} test).",
        config.model.kind().name(),
        config.data.length,
        prepared.genes().len(),
        counts.train,
        counts.valid,
        counts.test
    )
}

fn facts(
    experiment: &Experiment,
    networks: &TrainedNetworks,
    prepared: &PreparedReader,
) -> Vec<FactGroup> {
    let config = experiment.config();
    let group = |title: &str, rows: Vec<(&str, String)>| FactGroup {
        title: title.to_string(),
        rows: rows
            .into_iter()
            .map(|(name, value)| (name.to_string(), value))
            .collect(),
    };
    let sources = &prepared.manifest().description.sources;
    let files = sources
        .iter()
        .map(|source| (source.role.clone(), file_name(&source.path)));
    let data = FactGroup {
        title: "Data".to_string(),
        rows: files.chain(data_facts(&config.data)).collect(),
    };
    let n_parameters = networks
        .networks
        .first()
        .map_or(0, |(_, network)| network.n_parameters());
    let seeds: Vec<String> = config.seeds.iter().map(u64::to_string).collect();
    let train = &config.train;
    vec![
        data,
        group(
            "Model",
            vec![
                ("network", config.model.kind().name().to_string()),
                ("d_model", config.model.d_model().to_string()),
                ("parameters", n_parameters.to_string()),
                ("window", format!("{} bp", config.data.length)),
                ("promoter", format!("{} bp", config.data.promoter)),
            ],
        ),
        group(
            "Training",
            vec![
                ("seeds", seeds.join(", ")),
                ("steps", train.steps.to_string()),
                ("genes per step", train.genes_per_step().to_string()),
                ("learning rate", train.lr.to_string()),
            ],
        ),
        group(
            "Provenance",
            experiment
                .provenance(networks, prepared)
                .entries()
                .into_iter()
                .chain([("machine", experiment.machine().to_string())])
                .collect(),
        ),
    ]
}

/// What `check` says of the data, as sentences.
fn notes(prepared: &PreparedReader) -> Vec<String> {
    let description = &prepared.manifest().description;
    let mut notes: Vec<String> = description
        .notes()
        .iter()
        .map(|note| sentence(note))
        .collect();
    if !description.skipped.is_empty() {
        notes.push(format!(
            "{DATA_FOLDER}/{MANIFEST_FILE_NAME} lists the genes that were left out."
        ));
    }
    notes
}

/// A line with a large first letter and a full stop, unless it ends like a sentence.
fn sentence(line: &str) -> String {
    let mut letters = line.chars();
    let first: String = letters
        .next()
        .iter()
        .flat_map(|c| c.to_uppercase())
        .collect();
    let stop = match line.ends_with(['.', '?']) {
        true => "",
        false => ".",
    };
    format!("{first}{}{stop}", letters.as_str())
}

/// The training of each seed whose record is there; the others are noted.
fn training(experiment: &Experiment, notes: &mut Vec<String>) -> Result<Vec<TrainingCurve>> {
    let mut curves = Vec::new();
    for &seed in &experiment.config().seeds {
        let path = experiment.seed_folder(seed).join(RECORD_FILE);
        if !path.exists() {
            notes.push(format!(
                "The training of seed {seed} is not shown: its {RECORD_FILE} is not there."
            ));
            continue;
        }
        let records = read_records(&path)?;
        let mut curve = TrainingCurve {
            seed,
            ..TrainingCurve::default()
        };
        for record in records {
            match record {
                Record::Step(step) => curve.steps.push(TrainingStep {
                    step: step.step,
                    loss: step.loss,
                    prediction_loss: step.prediction_loss,
                    kl: step.kl,
                }),
                Record::Validation(validation) => {
                    if validation.is_best {
                        curve.best_step = Some(validation.step);
                    }
                    curve.validations.push(ValidationStep {
                        step: validation.step,
                        mse: validation.mse,
                    });
                }
            }
        }
        curves.push(curve);
    }
    Ok(curves)
}

/// The network's and the baselines' scores, split by split.
fn metric_rows(metrics: &MetricsFile) -> Vec<MetricRow> {
    let row = |label: &str, kind, evaluation: &Evaluation, scores: &Scores| MetricRow {
        label: label.to_string(),
        kind,
        split: evaluation.split,
        n_genes: scores.n_genes,
        mse: scores.mse,
        mae: scores.mae,
        pearson: scores.pearson,
        spearman: scores.spearman,
    };
    let label = match metrics.seeds.len() {
        1 => "network".to_string(),
        n_seeds => format!("mean of {n_seeds} networks"),
    };
    let mut rows = Vec::new();
    for (place, evaluation) in metrics
        .ensemble
        .iter()
        .enumerate()
        .filter(|(_, e)| e.network.n_genes > 0)
    {
        rows.push(row(
            &label,
            MetricKind::Network,
            evaluation,
            &evaluation.network,
        ));
        for seed in metrics.seeds.iter().filter(|_| metrics.seeds.len() > 1) {
            if let Some(own) = seed.evaluations.get(place) {
                rows.push(row(
                    &format!("network of seed {}", seed.seed),
                    MetricKind::Network,
                    own,
                    &own.network,
                ));
            }
        }
        for baseline in &evaluation.baselines {
            rows.push(row(
                baseline.name.label(),
                MetricKind::Baseline,
                evaluation,
                &baseline.scores,
            ));
        }
    }
    rows
}

/// Tracks, mask and elements around the start sites of the genes that a reader wants to see first.
fn pictures(
    experiment: &Experiment,
    networks: &TrainedNetworks,
    prepared: &PreparedReader,
    predictions: &[PredictionPoint],
) -> Result<Vec<GenePicture>> {
    let config = experiment.config();
    let mut pictures = Vec::new();
    for symbol in choose_genes(predictions, N_PICTURES) {
        let Some(index) = prepared
            .genes()
            .iter()
            .position(|gene| gene.symbol == symbol)
        else {
            continue;
        };
        let example = prepared.read(index)?;
        let Some(mask) = mean_mask(networks, &example, &experiment.machine().device.device)? else {
            return Ok(Vec::new());
        };
        let gene = example.gene();
        let window = example.window();
        let masked = MaskedWindow::try_new(
            &gene.symbol,
            window,
            gene.strand,
            config.data.promoter,
            example.regions(),
            &mask,
        )?
        .with_tracks(example.tracks(), example.n_tracks())?;
        let limit = selection_limit(&masked, config.discover.select);
        let elements = find_elements(&masked, &config.discover);
        let point = predictions.iter().find(|point| point.symbol == symbol);
        let others = prepared.genes().iter().filter(|other| {
            other.symbol != gene.symbol
                && other.chrom == gene.chrom
                && window.inside().contains(other.tss)
        });
        pictures.push(GenePicture {
            split: Some(example.split()),
            observed: example.target().map(f64::from),
            predicted: point.map(|point| point.predicted),
            neighbours: others
                .map(|other| Neighbour {
                    symbol: other.symbol.clone(),
                    tss: other.tss,
                    strand: other.strand,
                })
                .collect(),
            ..GenePicture::new(
                &masked,
                example.tracks(),
                &config.data.track_names(),
                elements,
                limit,
            )
        });
    }
    Ok(pictures)
}
