//! Scores with their intervals, one row per predictor.

use super::MetricKind;
use super::MetricRow;
use super::axis::{Axis, line};
use super::markup::{Markup, attr};
use super::number::{fixed_text, optional_text};
use super::scatter_chart::shortened;
use crate::metric::Estimate;

const WIDTH: f64 = 1000.0;
const ROW: f64 = 26.0;
const TOP: f64 = 30.0;

/// Left and right edge of the two panels.
const PANELS: [[f64; 2]; 2] = [[270.0, 600.0], [650.0, 980.0]];

/// Mean squared error and Pearson correlation of `rows`, or nothing when no score is known.
pub(super) fn draw(rows: &[&MetricRow]) -> Option<String> {
    let bottom = TOP + ROW * rows.len() as f64;
    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            attr("viewBox", format!("0 0 {WIDTH} {}", bottom + 30.0)),
            attr("role", "img"),
            attr("aria-label", "scores with bootstrap intervals"),
        ],
    );
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        svg.open(
            "text",
            &[
                attr("class", "label end"),
                attr("x", PANELS[0][0] - 14.0),
                attr("y", y + 4.0),
            ],
        );
        svg.text(&shortened(&row.label, 40));
        svg.leaf("title", &[], &row.label).close();
    }
    type Score = fn(&MetricRow) -> &Estimate;
    let panels: [(&str, Score); 2] = [
        ("mean squared error (lower is better)", |row| &row.mse),
        ("Pearson correlation (higher is better)", |row| &row.pearson),
    ];
    let mut n_drawn = 0;
    for ([left, right], (title, score)) in PANELS.into_iter().zip(panels) {
        let values = rows.iter().flat_map(|row| {
            let score = score(row);
            [score.value, score.low, score.high].into_iter().flatten()
        });
        let Some(axis) = Axis::linear(values) else {
            continue;
        };
        let axis = axis.over(left, right);
        n_drawn += 1;
        svg.leaf(
            "text",
            &[attr("class", "title"), attr("x", left), attr("y", 16.0)],
            title,
        );
        for tick in axis.ticks(5) {
            let Some(x) = axis.pixel(tick) else { continue };
            svg.empty("line", &line("grid", x, TOP, x, bottom));
            svg.leaf(
                "text",
                &[
                    attr("class", "tick middle"),
                    attr("x", x),
                    attr("y", bottom + 16.0),
                ],
                &axis.tick_text(tick, 5),
            );
        }
        for (index, row) in rows.iter().enumerate() {
            let y = TOP + ROW * (index as f64 + 0.5);
            draw_row(&mut svg, &axis, y, row, score(row));
        }
    }
    (n_drawn > 0).then(|| svg.finish())
}

fn draw_row(svg: &mut Markup, axis: &Axis, y: f64, row: &MetricRow, score: &Estimate) {
    let Some((value, x)) = score
        .value
        .and_then(|value| Some((value, axis.pixel(value)?)))
    else {
        return;
    };
    let kind = match row.kind {
        MetricKind::Network => "network",
        MetricKind::Baseline => "baseline",
    };
    svg.open("g", &[attr("class", kind)]);
    let tip = format!(
        "{}: {} [{}, {}]",
        row.label,
        fixed_text(value, 3),
        optional_text(score.low, 3),
        optional_text(score.high, 3),
    );
    svg.leaf("title", &[], &tip);
    if let (Some(low), Some(high)) = (score.low, score.high)
        && let (Some(x1), Some(x2)) = (axis.pixel(low), axis.pixel(high))
    {
        svg.empty("line", &line("interval", x1, y, x2, y));
        svg.empty("line", &line("interval", x1, y - 4.0, x1, y + 4.0));
        svg.empty("line", &line("interval", x2, y - 4.0, x2, y + 4.0));
    }
    svg.empty(
        "circle",
        &[
            attr("class", "score"),
            attr("cx", x),
            attr("cy", y),
            attr("r", 4.5),
        ],
    );
    svg.close();
}

#[cfg(test)]
mod tests {
    use dataset::Split;

    use super::super::markup::assert_well_formed;
    use super::*;

    fn row(value: Option<f64>, low: Option<f64>, high: Option<f64>) -> MetricRow {
        let score = Estimate { value, low, high };
        MetricRow {
            label: "a <very> long label, longer than the gutter is wide".to_string(),
            kind: MetricKind::Network,
            split: Split::Test,
            n_genes: 12,
            mse: score,
            mae: score,
            pearson: score,
            spearman: score,
        }
    }

    #[test]
    fn chart_draws_known_scores_and_skips_unknown_ones() {
        assert!(draw(&[]).is_none());
        assert!(draw(&[&row(None, None, None)]).is_none());
        assert!(draw(&[&row(Some(f64::NAN), None, None)]).is_none());
        for known in [
            row(Some(0.5), None, None),
            row(Some(0.5), Some(0.1), Some(0.9)),
        ] {
            let text = draw(&[&known, &row(None, None, None)]).expect("one score is known");
            assert_well_formed(&text);
            assert_eq!(
                text.matches("class=\"score\"").count(),
                2,
                "one in each panel"
            );
        }
    }
}
