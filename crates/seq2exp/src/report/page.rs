//! The page: its sections in order, from the verdict to the fine print.

use dataset::Split;

use super::markup::{Attribute, Markup, attr};
use super::number::{UNKNOWN, count_text, fixed_text, optional_text, percent_text};
use super::{
    GenePicture, MetricKind, MetricRow, ReportInput, curve_chart, discovery_section, gene_picture,
    interval_chart, scatter_chart,
};
use crate::metric::Estimate;

const STYLE: &str = include_str!("style.css");

/// Below this many genes the page says that the test set is small.
const FEW_GENES: usize = 50;

const SECTIONS: [(&str, &str); 5] = [
    ("predictions", "Predictions"),
    ("elements", "Elements"),
    ("genes", "Genes"),
    ("training", "Training"),
    ("run", "Run"),
];

/// The whole page.
pub(super) fn render(input: &ReportInput) -> String {
    let name = if input.name.is_empty() {
        "Report"
    } else {
        &input.name
    };
    let mut page = Markup::new();
    head(&mut page, &format!("{name}: seq2exp report"));
    header(&mut page, input, name);
    predictions(&mut page, input);
    section(&mut page, 1);
    discovery_section::draw(&mut page, input);
    page.close();
    genes(&mut page, input);
    training(&mut page, input);
    run(&mut page, input);
    page.finish()
}

/// Begins a page, up to and with its open body.
pub(super) fn head(page: &mut Markup, title: &str) {
    page.raw("<!DOCTYPE html>\n");
    page.open("html", &[attr("lang", "en")]).open("head", &[]);
    page.empty("meta", &[attr("charset", "utf-8")]);
    page.empty(
        "meta",
        &[
            attr("name", "viewport"),
            attr("content", "width=device-width, initial-scale=1"),
        ],
    );
    page.leaf("title", &[], title);
    page.open("style", &[]).raw(STYLE).close();
    page.close().open("body", &[]);
}

/// Opens a section and writes its title.
fn section(page: &mut Markup, index: usize) {
    let (id, title) = SECTIONS[index];
    page.open("section", &[attr("id", id)])
        .leaf("h2", &[], title);
}

fn absent(page: &mut Markup, text: &str) {
    page.leaf("p", &[attr("class", "absent")], text);
}

fn header(page: &mut Markup, input: &ReportInput, name: &str) {
    page.open("header", &[]).leaf("h1", &[], name);
    if !input.summary.is_empty() {
        page.leaf("p", &[attr("class", "lead")], &input.summary);
    }
    if let Some(text) = verdict(input) {
        page.leaf("p", &[attr("class", "lead")], &text);
    }
    key_figures(page, input);
    if !input.notes.is_empty() {
        page.open("ul", &[attr("class", "notes")]);
        for note in &input.notes {
            page.leaf("li", &[], note);
        }
        page.close();
    }
    page.open("nav", &[]);
    for (id, title) in SECTIONS {
        page.leaf("a", &[attr("href", format!("#{id}"))], title);
    }
    page.close().close();
}

/// The split that speaks for the run: the last of train, valid, test that has a network's scores.
fn deciding_split(input: &ReportInput) -> Option<Split> {
    Split::ALL.into_iter().rev().find(|split| {
        input
            .metrics
            .iter()
            .any(|row| row.split == *split && row.kind == MetricKind::Network)
    })
}

/// The first network and the baseline with the lowest error on the deciding split.
fn deciding_rows(input: &ReportInput) -> Option<(&MetricRow, Option<&MetricRow>)> {
    let split = deciding_split(input)?;
    let mut rows = input.metrics.iter().filter(|row| row.split == split);
    let network = rows.clone().find(|row| row.kind == MetricKind::Network)?;
    let error = |row: &&MetricRow| row.mse.value.unwrap_or(f64::INFINITY);
    let baseline = rows
        .by_ref()
        .filter(|row| row.kind == MetricKind::Baseline)
        .min_by(|a, b| error(a).total_cmp(&error(b)));
    Some((network, baseline))
}

/// What the scores say, in two sentences.
fn verdict(input: &ReportInput) -> Option<String> {
    let (network, baseline) = deciding_rows(input)?;
    let genes = format!(
        "{} {} genes",
        count_text(network.n_genes as u64),
        network.split
    );
    let mut text = format!(
        "On {genes} the mean squared error is {} ({})",
        estimate_text(&network.mse, 3),
        network.label
    );
    match baseline {
        Some(baseline) => {
            text.push_str(&format!(
                ", against {} for the best simple predictor ({}). ",
                estimate_text(&baseline.mse, 3),
                baseline.label
            ));
            text.push_str(comparison(&network.mse, &baseline.mse));
        }
        None => text.push('.'),
    }
    if network.n_genes < FEW_GENES {
        text.push_str(&format!(
            " {genes} are few: read the intervals, not the values."
        ));
    }
    Some(text)
}

/// What two errors with their intervals allow to say.
fn comparison(ours: &Estimate, theirs: &Estimate) -> &'static str {
    let (Some(ours_value), Some(theirs_value)) = (ours.value, theirs.value) else {
        return "The two cannot be compared.";
    };
    let apart =
        |low: Option<f64>, high: Option<f64>| matches!((low, high), (Some(l), Some(h)) if h < l);
    if apart(theirs.low, ours.high) {
        "The intervals do not overlap: the network predicts better."
    } else if apart(ours.low, theirs.high) {
        "The intervals do not overlap: the network predicts worse."
    } else if ours_value < theirs_value {
        "The network's error is lower, but the intervals overlap: these genes alone do not settle it."
    } else {
        "The network's error is not lower."
    }
}

/// `0.45 [0.31, 0.62]`.
fn estimate_text(score: &Estimate, decimals: usize) -> String {
    let value = optional_text(score.value, decimals);
    match range_text(score, decimals) {
        Some(range) => format!("{value} {range}"),
        None => value,
    }
}

/// `[0.31, 0.62]`, when both ends are known.
fn range_text(score: &Estimate, decimals: usize) -> Option<String> {
    let (low, high) = (score.low?, score.high?);
    Some(format!(
        "[{}, {}]",
        fixed_text(low, decimals),
        fixed_text(high, decimals)
    ))
}

fn key_figures(page: &mut Markup, input: &ReportInput) {
    let mut figures: Vec<(String, String, String)> = Vec::new();
    if let Some((network, baseline)) = deciding_rows(input) {
        let split = network.split;
        let scores: [(&str, &Estimate, Option<&Estimate>); 2] = [
            (
                "Pearson",
                &network.pearson,
                baseline.map(|row| &row.pearson),
            ),
            (
                "mean squared error",
                &network.mse,
                baseline.map(|row| &row.mse),
            ),
        ];
        for (name, score, other) in scores {
            let mut range = range_text(score, 2).unwrap_or_default();
            if let Some(value) = other.and_then(|other| other.value) {
                let separator = if range.is_empty() { "" } else { "; " };
                range.push_str(&format!(
                    "{separator}best simple predictor {}",
                    fixed_text(value, 2)
                ));
            }
            figures.push((
                format!("{split} {name}"),
                optional_text(score.value, 2),
                range,
            ));
        }
    }
    if !input.masks.is_empty() {
        let ratio = discovery_section::finite_mean(input.masks.iter().map(|mask| mask.mask_ratio));
        figures.push((
            "mean mask".to_string(),
            ratio.map_or_else(|| UNKNOWN.to_string(), percent_text),
            "of the window, promoter included".to_string(),
        ));
        let n_chosen = discovery_section::chosen(input).count() as u64;
        figures.push((
            "elements".to_string(),
            count_text(n_chosen),
            format!(
                "of {} genes, promoters not counted",
                count_text(input.masks.len() as u64)
            ),
        ));
    }
    if figures.is_empty() {
        return;
    }
    page.open("div", &[attr("class", "figures")]);
    for (what, much, range) in figures {
        page.open("div", &[]);
        for (class, text) in [("what", what), ("much", much), ("range", range)] {
            page.leaf("span", &[attr("class", class)], &text);
        }
        page.close();
    }
    page.close();
}

fn predictions(page: &mut Markup, input: &ReportInput) {
    section(page, 0);
    let scatter = scatter_chart::draw(&input.predictions, &input.target);
    if scatter.is_none() && input.metrics.is_empty() {
        absent(page, "No predictions of genes with measured expression.");
        page.close();
        return;
    }
    page.open("div", &[attr("class", "side")]).open("div", &[]);
    match scatter {
        Some(scatter) => {
            page.open("figure", &[]).raw(&scatter).close();
        }
        None => absent(page, "No predictions of genes with measured expression."),
    }
    page.close().open("div", &[]);
    metric_table(page, input);
    page.close().close();
    let rows: Vec<&MetricRow> = match deciding_split(input) {
        Some(split) => input
            .metrics
            .iter()
            .filter(|row| row.split == split)
            .collect(),
        None => Vec::new(),
    };
    if rows.len() > 1
        && let Some(chart) = interval_chart::draw(&rows)
    {
        page.open("figure", &[]).raw(&chart);
        let text = format!(
            "Scores on the {} genes with {} bootstrap intervals over genes; grey: simple predictors.",
            rows[0].split,
            level_text(input.interval_level)
        );
        page.leaf("figcaption", &[attr("class", "muted")], &text)
            .close();
    }
    page.close();
}

/// `95 %`, or nothing when the level is not a share.
fn level_text(level: f64) -> String {
    if level > 0.0 && level < 1.0 {
        format!("{} %", (1000.0 * level).round() / 10.0)
    } else {
        String::new()
    }
}

fn metric_table(page: &mut Markup, input: &ReportInput) {
    if input.metrics.is_empty() {
        absent(page, "No scores: fewer than two genes were measured.");
        return;
    }
    page.open("div", &[attr("class", "wide")])
        .open("table", &[]);
    let caption = format!(
        "Scores over all genes of a split at once; in brackets {} bootstrap intervals over genes.",
        level_text(input.interval_level)
    );
    page.leaf("caption", &[], &caption)
        .open("thead", &[])
        .open("tr", &[]);
    page.leaf("th", &[], "predictor");
    for name in ["MSE", "MAE", "Pearson", "Spearman"] {
        page.leaf("th", &[attr("class", "n")], name);
    }
    page.close().close();
    for split in [Split::Test, Split::Valid, Split::Train] {
        let mut rows = input
            .metrics
            .iter()
            .filter(|row| row.split == split)
            .peekable();
        let Some(first) = rows.peek() else { continue };
        let title = format!("{split}, {} genes", count_text(first.n_genes as u64));
        page.open("tbody", &[])
            .open("tr", &[attr("class", "split")]);
        page.leaf("th", &[attr("colspan", "5")], &title).close();
        for row in rows {
            metric_row(page, row);
        }
        page.close();
    }
    page.close().close();
}

fn metric_row(page: &mut Markup, row: &MetricRow) {
    let attributes: &[Attribute] = match row.kind {
        MetricKind::Network => &[],
        MetricKind::Baseline => &[attr("class", "baseline")],
    };
    page.open("tr", attributes).leaf("td", &[], &row.label);
    for score in [&row.mse, &row.mae, &row.pearson, &row.spearman] {
        page.open("td", &[attr("class", "n")])
            .text(&optional_text(score.value, 3));
        if let Some(range) = range_text(score, 2) {
            page.leaf("span", &[attr("class", "range")], &range);
        }
        page.close();
    }
    page.close();
}

fn genes(page: &mut Markup, input: &ReportInput) {
    section(page, 2);
    if input.genes.is_empty() {
        absent(page, "No genes were drawn.");
        page.close();
        return;
    }
    page.leaf(
        "p",
        &[],
        "Genes with at least median expression that are predicted best: a choice that flatters the network, made to \
         show what it looks at. Each column shows the largest value of the bases it covers.",
    );
    page.open("p", &[attr("class", "legend")]);
    for (class, text) in [
        ("element", "element"),
        ("promoter", "promoter, mask fixed to 1"),
        ("included", "included region, mask fixed to 1"),
    ] {
        page.open("span", &[attr("class", "item")]);
        page.open("span", &[attr("class", format!("swatch {class}"))])
            .close();
        page.text(text).close();
    }
    page.open("span", &[attr("class", "item")]);
    page.open("span", &[attr("class", "key limit")]).close();
    page.text("smallest mask that is selected").close().close();
    for gene in &input.genes {
        page.open("figure", &[]);
        gene_title(page, gene);
        for picture in gene_picture::draw(gene) {
            page.raw(&picture);
        }
        page.close();
    }
    page.close();
}

fn gene_title(page: &mut Markup, gene: &GenePicture) {
    let n_elements = gene
        .elements
        .iter()
        .filter(|element| element.class == crate::elements::ElementClass::Element)
        .count();
    let mut facts = vec![
        gene.window.inside().to_string(),
        format!("strand {}", gene.strand),
    ];
    facts.extend(gene.split.map(|split| format!("{split} gene")));
    facts.extend(
        gene.observed
            .map(|value| format!("observed {}", fixed_text(value, 2))),
    );
    facts.extend(
        gene.predicted
            .map(|value| format!("predicted {}", fixed_text(value, 2))),
    );
    let elements = if n_elements == 1 {
        "element"
    } else {
        "elements"
    };
    facts.push(format!("{n_elements} {elements}"));
    page.open("h3", &[]).text(&gene.symbol);
    page.leaf("span", &[attr("class", "where")], &facts.join(" · "))
        .close();
}

fn training(page: &mut Markup, input: &ReportInput) {
    section(page, 3);
    match curve_chart::draw(&input.training) {
        Some(charts) => {
            page.leaf(
                "p",
                &[],
                "Losses against optimiser steps, one line per network. Thin: each step; thick: the mean over nearby \
                 steps. The ring marks the weights that are used.",
            );
            page.open("figure", &[]).raw(&charts).close();
        }
        None => absent(page, "No training: the weights were given."),
    }
    page.close();
}

fn run(page: &mut Markup, input: &ReportInput) {
    section(page, 4);
    if !input.command.is_empty() {
        page.open("p", &[attr("class", "command")]);
        page.leaf("code", &[], &input.command).close();
    }
    if input.facts.is_empty() {
        absent(page, "Nothing was recorded about data, model and machine.");
    }
    page.open("div", &[attr("class", "facts")]);
    for group in &input.facts {
        page.open("div", &[])
            .leaf("h3", &[], &group.title)
            .open("dl", &[]);
        for (name, value) in &group.rows {
            page.leaf("dt", &[], name).leaf("dd", &[], value);
        }
        page.close().close();
    }
    page.close().close();
}

#[cfg(test)]
mod tests {
    use super::super::markup::assert_well_formed;
    use super::*;

    fn score(value: f64, low: f64, high: f64) -> Estimate {
        Estimate {
            value: Some(value),
            low: Some(low),
            high: Some(high),
        }
    }

    fn row(kind: MetricKind, split: Split, mse: Estimate) -> MetricRow {
        MetricRow {
            label: format!("{kind:?} <b>"),
            kind,
            split,
            n_genes: 12,
            mse,
            mae: mse,
            pearson: mse,
            spearman: Estimate {
                value: None,
                low: None,
                high: None,
            },
        }
    }

    #[test]
    fn comparison_claims_only_what_the_intervals_allow() {
        let low = score(0.2, 0.1, 0.3);
        let middle = score(0.35, 0.25, 0.5);
        let high = score(0.9, 0.6, 1.2);
        let unknown = Estimate {
            value: None,
            low: None,
            high: None,
        };
        let cases = [
            (low, high, "better"),
            (high, low, "worse"),
            (low, middle, "do not settle"),
            (middle, low, "not lower"),
            (low, low, "not lower"),
            (low, unknown, "cannot be compared"),
        ];
        for (ours, theirs, expected) in cases {
            assert!(comparison(&ours, &theirs).contains(expected), "{expected}");
        }
    }

    #[test]
    fn verdict_reads_the_best_baseline_of_the_last_split() {
        let input = ReportInput {
            metrics: vec![
                row(MetricKind::Network, Split::Train, score(0.0, 0.0, 0.0)),
                row(MetricKind::Network, Split::Test, score(0.5, 0.4, 0.6)),
                row(MetricKind::Baseline, Split::Test, score(0.9, 0.8, 1.0)),
                row(MetricKind::Baseline, Split::Test, score(0.7, 0.65, 1.0)),
            ],
            ..ReportInput::default()
        };
        let text = verdict(&input).expect("a network was scored");
        assert!(text.contains("12 test genes") && text.contains("0.500 [0.400, 0.600]"));
        assert!(text.contains("0.700") && text.contains("better") && text.contains("few"));
        let html = render(&input);
        assert_well_formed(&html);
        assert!(!html.contains("<b>"));
    }

    #[test]
    fn level_is_a_percentage() {
        assert_eq!(level_text(0.95), "95 %");
        assert_eq!(level_text(0.999), "99.9 %");
        assert_eq!(level_text(0.0), "");
    }
}
