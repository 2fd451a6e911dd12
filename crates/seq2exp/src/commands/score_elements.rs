//! `seq2exp score-elements`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use burn::tensor::{Device, Tensor};
use dataset::{Example, ExampleSource, PreparedReader, RegionCode, Split};
use genome::{AtomicFile, ChromSizes, Gene, Region, RegionIndex, read_regions};
use model::{Network, Pass};
use serde::Serialize;

use crate::batch::{Batch, read_values};
use crate::cli::ScoreElementsArgs;
use crate::commands::{machine, print_json, print_text};
use crate::ensemble::EnsemblePredictions;
use crate::error::RunError;
use crate::experiment::Experiment;
use crate::metric::{BootstrapConfig, Estimate};
use crate::recovery::{
    CurvePoint, KnownElements, KnownWindow, NetworkMask, Recovery, RecoveryTally, SPARSITIES,
    SparseAccuracy, SparseTally, positions,
};

/// Which scores find the known elements of the test genes.
#[derive(Debug, Serialize)]
struct RecoveryReport {
    /// Test genes.
    n_genes: usize,
    scores: Vec<Recovery>,
    /// Accuracy of each run on the same genes.
    runs: Vec<RunAccuracy>,
}

#[derive(Debug, Serialize)]
struct RunAccuracy {
    run: String,
    mse: Estimate,
    pearson: Estimate,
    /// Mean of the evaluation mask over the free bases; none without a mask.
    free_mask_ratio: Option<f64>,
    /// Accuracy when only the highest part of the mask is kept; empty without a mask.
    at: Vec<SparseAccuracy>,
}

/// Compares masks, input gradients and tracks with known elements.
pub fn execute(args: &ScoreElementsArgs) -> Result<()> {
    let known = KnownElements::read(&args.truth)?;
    let curves_file = args.curves.as_ref().map(AtomicFile::create).transpose()?;
    let mut report = RecoveryReport {
        n_genes: 0,
        scores: Vec::new(),
        runs: Vec::new(),
    };
    let mut first: Option<(&Path, Vec<Gene>)> = None;
    for folder in &args.folders {
        let experiment = Experiment::reopen(folder, machine(args.device)?)?;
        let prepared = experiment.prepared()?;
        let genes = prepared.indices_of(Split::Test);
        let of_genes: Vec<&Gene> = genes.iter().map(|&gene| prepared.gene(gene)).collect();
        let sizes = ChromSizes::new(prepared.manifest().description.chrom_sizes.clone());
        let note = known
            .compare(&of_genes, prepared.length() as u64, &sizes)
            .map_err(|reason| RunError::OtherTruth {
                path: args.truth.clone(),
                folder: folder.clone(),
                reason,
            })?;
        if let Some(note) = note {
            eprintln!("note     {}: {note}", folder.display());
        }
        let test_genes: Vec<Gene> = of_genes.into_iter().cloned().collect();
        if let Some((first, genes)) = &first {
            if *genes != test_genes {
                bail!(
                    "{}: its test genes are not those of {}; compare runs on the same genes",
                    folder.display(),
                    first.display()
                );
            }
        } else {
            first = Some((folder, test_genes));
            report.n_genes = genes.len();
            report.scores = score_tracks(&prepared, &genes, &known, &experiment)?;
            for path in &args.regions {
                let name = name_among(path, &args.regions);
                let found = score_regions(name, path, &prepared, &genes, &known)?;
                report.scores.push(found);
            }
        }
        let name = name_among(folder, &args.folders);
        score_run(name, &experiment, prepared, &genes, &known, &mut report)?;
    }
    if let Some(file) = curves_file {
        file.finish(|out| out.write_all(curves(&report.scores).as_bytes()))?;
    }
    if args.json {
        print_json(&report)
    } else {
        print_text(&table(&report))
    }
}

/// The last part of a path, or all of it where another path ends in the same, as the cells of a benchmark do.
fn name_among(path: &Path, paths: &[PathBuf]) -> String {
    fn last(path: &Path) -> &OsStr {
        path.file_name().unwrap_or(path.as_os_str())
    }
    let is_shared = paths
        .iter()
        .filter(|other| last(other) == last(path))
        .count()
        > 1;
    let name = if is_shared {
        path.as_os_str()
    } else {
        last(path)
    };
    name.to_string_lossy().into_owned()
}

/// Everything that is asked about an example's window, with the bases whose mask is free.
fn window_of<'a>(
    example: &Example,
    is_free: &'a [bool],
    known: &'a KnownElements,
) -> KnownWindow<'a> {
    let window = example.window();
    KnownWindow {
        start: window.inside().start() as i64 - window.left_padding() as i64,
        is_free,
        elements: known.of(example.gene()),
    }
}

fn free_bases(example: &Example) -> Vec<bool> {
    let regions = example.regions().iter();
    regions.map(|code| *code == RegionCode::Keep).collect()
}

/// The tracks themselves, their product, and chance, which has no highest bases.
fn score_tracks(
    prepared: &PreparedReader,
    genes: &[usize],
    known: &KnownElements,
    experiment: &Experiment,
) -> Result<Vec<Recovery>> {
    let names = experiment.config().data.track_names();
    let mut tallies: Vec<RecoveryTally> = names.iter().map(RecoveryTally::new).collect();
    let mut product = RecoveryTally::new("product of all tracks");
    let mut chance = RecoveryTally::new("chance");
    for &gene in genes {
        let example = prepared.read(gene)?;
        let is_free = free_bases(&example);
        let window = window_of(&example, &is_free, known);
        let rows = || example.tracks().chunks_exact(names.len().max(1));
        for (track, tally) in tallies.iter_mut().enumerate() {
            tally.add(window, &rows().map(|row| row[track]).collect::<Vec<_>>());
        }
        let products: Vec<f32> = rows().map(|row| row.iter().product()).collect();
        product.add(window, &products);
        chance.add(window, &vec![0.0; example.length()]);
    }
    if names.len() > 1 {
        tallies.push(product);
    }
    let mut found: Vec<Recovery> = tallies.into_iter().map(RecoveryTally::finish).collect();
    found.push(Recovery {
        // Nothing is highest: the first bases of each window are as good as any.
        at: Vec::new(),
        ..chance.finish()
    });
    Ok(found)
}

/// Regions that are called by something else: 1 inside, 0 outside.
fn score_regions(
    name: String,
    path: &Path,
    prepared: &PreparedReader,
    genes: &[usize],
    known: &KnownElements,
) -> Result<Recovery> {
    let regions = read_regions(path)?;
    let is_on = |region: &Region, gene: &Gene| region.interval.chrom() == gene.chrom;
    let is_of_genes =
        |region: &Region| genes.iter().any(|&gene| is_on(region, prepared.gene(gene)));
    if !regions.iter().any(is_of_genes) {
        let chrom = genes.first().map_or("", |&gene| &prepared.gene(gene).chrom);
        bail!(
            "{}: no region lies on a chromosome of a test gene, such as {chrom:?}; is it of another genome?",
            path.display()
        );
    }
    let regions = RegionIndex::new(regions);
    let mut tally = RecoveryTally::new(name);
    for &gene in genes {
        let example = prepared.read(gene)?;
        let is_free = free_bases(&example);
        let window = window_of(&example, &is_free, known);
        let mut inside = vec![0.0; example.length()];
        for region in regions.overlapping(example.window().inside()) {
            let (start, end) = (region.interval.start(), region.interval.end());
            inside[positions(start..end, window.start, example.length())].fill(1.0);
        }
        tally.add(window, &inside);
    }
    Ok(tally.finish())
}

/// A run's mask and input gradient, and how well it predicts.
fn score_run(
    run: String,
    experiment: &Experiment,
    prepared: PreparedReader,
    genes: &[usize],
    known: &KnownElements,
    report: &mut RecoveryReport,
) -> Result<()> {
    let device = &experiment.machine().device.device;
    let networks = experiment.networks()?;
    let tracked = networks
        .networks
        .iter()
        .map(|(_, network)| on_autodiff(network, device))
        .collect::<Result<Vec<_>>>()?;
    let mut mask_tally = RecoveryTally::new(format!("{run}: mask"));
    let mut gradient_tally = RecoveryTally::new(format!("{run}: gradient x input"));
    let (mut mask_sum, mut n_free, mut has_mask) = (0.0, 0_usize, false);
    let mut sparse = SparseTally::default();
    for &gene in genes {
        let example = prepared.read(gene)?;
        let is_free = free_bases(&example);
        let window = window_of(&example, &is_free, known);
        if let Some(masks) = NetworkMask::of_each(&networks, &example, device)? {
            has_mask = true;
            sparse.add(&networks, &masks, &example, &is_free, device)?;
            let mut means = vec![0.0; example.length()];
            for NetworkMask { mask, mean } in &masks {
                for (place, _) in is_free.iter().enumerate().filter(|(_, free)| **free) {
                    mask_sum += f64::from(mask[place]);
                    n_free += 1;
                    means[place] += mean[place];
                }
            }
            mask_tally.add(window, &means);
        }
        let mut gradient = vec![0.0; example.length()];
        for network in &tracked {
            for (sum, value) in gradient
                .iter_mut()
                .zip(input_gradient(network, &example, device)?)
            {
                *sum += value;
            }
        }
        gradient_tally.add(window, &gradient);
    }
    if has_mask {
        report.scores.push(mask_tally.finish());
    }
    report.scores.push(gradient_tally.finish());

    let source: Arc<dyn ExampleSource> = Arc::new(prepared);
    let predictions = EnsemblePredictions::new(experiment, &networks, &source)?;
    let bootstrap = BootstrapConfig::default();
    let (ensemble, _, _) = predictions.evaluate(source.as_ref(), None, bootstrap);
    let test = ensemble
        .into_iter()
        .find(|evaluation| evaluation.split == Split::Test)
        .context("the test genes were not evaluated")?;
    report.runs.push(RunAccuracy {
        run,
        mse: test.network.mse,
        pearson: test.network.pearson,
        free_mask_ratio: has_mask.then(|| mask_sum / n_free.max(1) as f64),
        at: match has_mask {
            // The same resamples of the genes as for the whole mask.
            true => sparse.finish(
                bootstrap,
                networks.networks.first().map_or(0, |(seed, _)| *seed),
            ),
            false => Vec::new(),
        },
    });
    Ok(())
}

/// The same network with a graph.
fn on_autodiff(network: &Network, device: &Device) -> Result<Network> {
    let tracked = Network::init(&network.config(), 0, &device.clone().autodiff())?;
    Ok(tracked.with_parameters(network.read_parameters()?)?)
}

/// |gradient x input| of the prediction, summed over each base's letters and tracks.
fn input_gradient(network: &Network, example: &Example, device: &Device) -> Result<Vec<f32>> {
    let mut batch = Batch::new(std::slice::from_ref(example), &device.clone().autodiff())?;
    batch.input.sequence = batch.input.sequence.require_grad();
    batch.input.tracks = batch.input.tracks.require_grad();
    let output = network.forward(batch.input.clone(), &Pass::Evaluate)?;
    let gradients = output.prediction.sum().backward();
    let mut sums = vec![0.0; example.length()];
    for input in [&batch.input.sequence, &batch.input.tracks] {
        // An input that the network does not read has no gradient.
        let Some(gradient) = input.grad(&gradients) else {
            continue;
        };
        let values: Tensor<3> = input.clone().without_autodiff() * gradient;
        let values = read_values(values.abs().sum_dim(2))?;
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
    }
    Ok(sums)
}

fn table(report: &RecoveryReport) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
    let mut text = format!("{:<28} {:>8} {:>8}", "score", "AP bases", "AP elem.");
    for sparsity in SPARSITIES {
        let _ = write!(
            text,
            "   top {:>3.0} %: bases elem. recall",
            100.0 * sparsity
        );
    }
    text.push('\n');
    for row in &report.scores {
        let _ = write!(
            text,
            "{:<28} {:>8} {:>8}",
            row.score,
            number(row.base_average_precision),
            number(row.element_average_precision)
        );
        for at in &row.at {
            let _ = write!(
                text,
                "   {:>16.3} {:>5} {:>6}",
                at.base_precision,
                number(at.element_precision),
                number(at.element_recall)
            );
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "AP: average precision; bases and elem.: share of what is selected that is active; recall: share of the active elements found."
    );
    let _ = write!(
        text,
        "{:<28} {:>8} {:>8} {:>10}",
        "run", "MSE", "Pearson", "mean mask"
    );
    for sparsity in SPARSITIES {
        let _ = write!(text, "   top {:>3.0} %: MSE  Pearson", 100.0 * sparsity);
    }
    text.push('\n');
    for run in &report.runs {
        let _ = write!(
            text,
            "{:<28} {:>8} {:>8} {:>10}",
            run.run,
            number(run.mse.value),
            number(run.pearson.value),
            number(run.free_mask_ratio)
        );
        for at in &run.at {
            let (mse, pearson) = (number(at.mse.value), number(at.pearson.value));
            let _ = write!(text, "   {mse:>15} {pearson:>8}");
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "top: predicted with the mask's highest bases alone, the others 0. {} test genes; promoters left out.",
        report.n_genes
    );
    text
}

/// Precision over recall of every score, one point a line.
fn curves(scores: &[Recovery]) -> String {
    let mut text = "score\tof\trecall\tprecision\tthreshold\n".to_string();
    for row in scores {
        for (of, curve) in [("bases", &row.base_curve), ("elements", &row.element_curve)] {
            for point in curve {
                let CurvePoint {
                    threshold,
                    recall,
                    precision,
                } = point;
                let _ = writeln!(
                    text,
                    "{}\t{of}\t{recall}\t{precision}\t{threshold:e}",
                    row.score
                );
            }
        }
    }
    text
}
