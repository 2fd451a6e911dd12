//! The report of a run: one HTML file that needs nothing else, for the screen and for paper.
//!
//! Fill a [`ReportInput`] and call [`write_report`]. Every part may be empty: the report then says
//! so in a sentence. All text is escaped; nothing is loaded from anywhere.

use std::io::Write;
use std::path::Path;

use dataset::{Split, Window};
use genome::{Strand, write_atomic};
use serde::{Deserialize, Serialize};

use crate::benchmark::ResultTable;
use crate::discover::{DiscoverConfig, GeneElement, GeneMaskSummary};
use crate::elements::{Element, MaskedWindow};
use crate::error::RunError;
use crate::metric::Estimate;

mod axis;
mod benchmark_page;
mod curve_chart;
mod discovery_section;
mod gene_picture;
mod histogram;
mod interval_chart;
mod markup;
mod number;
mod page;
mod scatter_chart;

/// Everything a report shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReportInput {
    /// Name of the experiment, the title of the page.
    pub name: String,
    /// One or two sentences: what was run on what.
    pub summary: String,
    /// The command line; empty when there was none.
    pub command: String,
    /// Named values in groups such as "Data", "Model", "Machine", "Provenance".
    pub facts: Vec<FactGroup>,
    /// What a reader must know before believing the numbers: genes left out, few test genes.
    pub notes: Vec<String>,
    /// What is predicted, with its unit: `log10(TPM + 1)`.
    pub target: String,
    /// One curve per trained network.
    pub training: Vec<TrainingCurve>,
    /// One row per gene and the network (or mean of networks) that the report is about.
    pub predictions: Vec<PredictionPoint>,
    /// Scores of the networks and of what they are compared with.
    pub metrics: Vec<MetricRow>,
    /// Share of resamples inside the intervals of `metrics`, such as 0.95.
    pub interval_level: f64,
    /// How elements were made; `None` when no discovery was run.
    pub discover: Option<DiscoverConfig>,
    /// One row per mask.
    pub masks: Vec<GeneMaskSummary>,
    /// All elements, in any order; the report shows the strongest.
    pub elements: Vec<GeneElement>,
    /// Names of the elements' track means, in their order.
    pub track_names: Vec<String>,
    /// The genes to draw, in this order; [`choose_genes`] picks them.
    pub genes: Vec<GenePicture>,
}

/// A titled list of named values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FactGroup {
    /// Title of the list.
    pub title: String,
    /// Name and value of each fact, in order.
    pub rows: Vec<(String, String)>,
}

/// How the training of one network went.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainingCurve {
    /// The network's seed.
    pub seed: u64,
    /// One row per step, ascending.
    pub steps: Vec<TrainingStep>,
    /// One row per validation, ascending.
    pub validations: Vec<ValidationStep>,
    /// The step whose weights are used, if validation chose one.
    pub best_step: Option<u64>,
}

/// The losses of one step, over the examples of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingStep {
    /// Optimiser updates done, from 1.
    pub step: u64,
    /// What is minimised: prediction loss plus weighted KL.
    pub loss: f64,
    /// Smooth L1 between prediction and target.
    pub prediction_loss: f64,
    /// Mean KL divergence of the mask from its marginal, not weighted; `None` without a mask.
    pub kl: Option<f64>,
}

/// The scores of one validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValidationStep {
    /// Optimiser updates done before it.
    pub step: u64,
    /// Mean squared error over the validation genes.
    pub mse: f64,
}

/// Predicted and observed expression of one gene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictionPoint {
    /// The gene.
    pub symbol: String,
    /// What the gene was used for.
    pub split: Split,
    /// Measured expression, transformed as the target is; `None` when not measured.
    pub observed: Option<f64>,
    /// Predicted expression; the mean when several networks predict.
    pub predicted: f64,
    /// Standard deviation between networks; `None` for a single one.
    pub spread: Option<f64>,
}

/// Whether a row of the metric table is ours or what ours is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// A trained network.
    Network,
    /// A simple predictor that the networks are compared with: the mean, or regression on the features.
    Baseline,
}

/// Scores of one predictor on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// What predicted: `Seq2Exp-soft, mean of 3 seeds`.
    pub label: String,
    /// Whether it is ours.
    pub kind: MetricKind,
    /// On which genes.
    pub split: Split,
    /// Number of genes.
    pub n_genes: usize,
    /// Mean squared error.
    pub mse: Estimate,
    /// Mean absolute error.
    pub mae: Estimate,
    /// Pearson correlation.
    pub pearson: Estimate,
    /// Spearman correlation.
    pub spearman: Estimate,
}

/// One gene with everything its picture shows.
#[derive(Debug, Clone, PartialEq)]
pub struct GenePicture {
    /// The gene.
    pub symbol: String,
    /// The part of the genome that is drawn.
    pub window: Window,
    /// The strand the gene is read from.
    pub strand: Strand,
    /// What the gene was used for.
    pub split: Option<Split>,
    /// Measured expression.
    pub observed: Option<f64>,
    /// Predicted expression.
    pub predicted: Option<f64>,
    /// Tracks from top to bottom.
    pub tracks: Vec<PictureTrack>,
    /// The mask, `[length]`.
    pub mask: Vec<f32>,
    /// Smallest mask value that is selected.
    pub limit: Option<f32>,
    /// The gene's elements.
    pub elements: Vec<Element>,
    /// Start sites of other genes in the window.
    pub neighbours: Vec<Neighbour>,
}

/// One track of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureTrack {
    /// Its name, with the unit where it has one.
    pub name: String,
    /// Its values, `[length]`; NaN is drawn as a gap.
    pub values: Vec<f32>,
}

/// Another gene's start site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// The gene.
    pub symbol: String,
    /// Its start site, 0-based.
    pub tss: u64,
    /// The strand it is read from.
    pub strand: Strand,
}

impl GenePicture {
    /// Copies what a picture needs from a gene's mask and tracks; the expression and the
    /// neighbours are still to be filled in.
    ///
    /// # Shapes
    /// - `tracks`: `[length, track_names.len()]`, row-major, as an example holds them; a track
    ///   without values is drawn as empty
    pub fn new(
        gene: &MaskedWindow,
        tracks: &[f32],
        track_names: &[String],
        elements: Vec<Element>,
        limit: Option<f32>,
    ) -> Self {
        let n_tracks = track_names.len();
        Self {
            symbol: gene.symbol().to_string(),
            window: gene.window().clone(),
            strand: gene.strand(),
            split: None,
            observed: None,
            predicted: None,
            tracks: track_names
                .iter()
                .enumerate()
                .map(|(index, name)| PictureTrack {
                    name: name.clone(),
                    values: tracks
                        .iter()
                        .skip(index)
                        .step_by(n_tracks)
                        .copied()
                        .collect(),
                })
                .collect(),
            mask: gene.mask().to_vec(),
            limit,
            elements,
            neighbours: Vec::new(),
        }
    }
}

/// Picks up to `n_genes` genes to draw: of the genes of the last split that has any measured one
/// (test, then validation, then training), those with at least median expression, best predicted
/// first. The report says that they were chosen so.
pub fn choose_genes(predictions: &[PredictionPoint], n_genes: usize) -> Vec<String> {
    for split in [Split::Test, Split::Valid, Split::Train] {
        let mut measured: Vec<(&str, f64, f64)> = predictions
            .iter()
            .filter(|point| point.split == split && point.predicted.is_finite())
            .filter_map(|point| {
                let observed = point.observed.filter(|value| value.is_finite())?;
                Some((
                    point.symbol.as_str(),
                    observed,
                    (point.predicted - observed).abs(),
                ))
            })
            .collect();
        if measured.is_empty() {
            continue;
        }
        measured.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        measured.truncate(measured.len().div_ceil(2));
        measured.sort_by(|a, b| a.2.total_cmp(&b.2).then_with(|| a.0.cmp(b.0)));
        return measured
            .into_iter()
            .take(n_genes)
            .map(|(symbol, _, _)| symbol.to_string())
            .collect();
    }
    Vec::new()
}

/// The report as HTML.
pub fn render_report(input: &ReportInput) -> String {
    page::render(input)
}

/// Writes the report as one HTML file.
///
/// # Errors
/// [`RunError::Genome`] when the file cannot be written; an older report then stays as it was.
pub fn write_report(path: &Path, input: &ReportInput) -> Result<(), RunError> {
    let html = render_report(input);
    write_atomic(path, |out| out.write_all(html.as_bytes()))?;
    Ok(())
}

/// Writes the page of a benchmark as one HTML file; `command` is the line that makes it again.
///
/// # Errors
/// As [`write_report`].
pub fn write_benchmark_report(
    path: &Path,
    table: &ResultTable,
    command: &str,
) -> Result<(), RunError> {
    let html = benchmark_page::render(table, command);
    write_atomic(path, |out| out.write_all(html.as_bytes()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::markup::assert_well_formed;
    use super::*;

    fn point(symbol: &str, split: Split, observed: Option<f64>, predicted: f64) -> PredictionPoint {
        PredictionPoint {
            symbol: symbol.to_string(),
            split,
            observed,
            predicted,
            spread: None,
        }
    }

    #[test]
    fn choose_genes_takes_the_best_predicted_of_the_expressed() {
        let predictions = [
            point("SILENT", Split::Test, Some(0.0), 0.0),
            point("LOW", Split::Test, Some(0.5), 0.5),
            point("FAIR", Split::Test, Some(2.0), 1.5),
            point("GOOD", Split::Test, Some(1.0), 1.1),
            point("UNMEASURED", Split::Test, None, 3.0),
            point("NAN", Split::Test, Some(9.0), f64::NAN),
            point("TRAINED", Split::Train, Some(2.0), 2.0),
        ];
        assert_eq!(choose_genes(&predictions, 5), ["GOOD", "FAIR"]);
        assert_eq!(choose_genes(&predictions, 1), ["GOOD"]);
        assert_eq!(choose_genes(&predictions[6..], 5), ["TRAINED"]);
        assert!(choose_genes(&predictions[4..5], 5).is_empty());
        assert!(choose_genes(&[], 5).is_empty());
    }

    #[test]
    fn report_of_nothing_is_well_formed_and_says_so() {
        let html = render_report(&ReportInput::default());
        assert_well_formed(&html);
        assert!(html.contains("No training"));
        assert!(html.contains("No predictions"));
        assert!(html.contains("No elements"));
    }
}
