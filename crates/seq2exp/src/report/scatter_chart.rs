//! Predicted against observed expression.

use std::collections::HashSet;
use std::fmt::Write;

use dataset::Split;

use super::PredictionPoint;
use super::axis::{Axis, Frame, line};
use super::markup::{Markup, attr, pixels_text};
use super::number::{count_text, fixed_text};

const SIZE: f64 = 520.0;
const EDGES: [f64; 4] = [62.0, 16.0, 504.0, 458.0];

/// A split with more genes is drawn as one path without tooltips.
const MAX_MARKS: usize = 400;

/// Names are written at this many of the worst predicted test genes.
const N_LABELS: usize = 4;

/// The chart, or nothing when no gene has both values.
pub(super) fn draw(predictions: &[PredictionPoint], target: &str) -> Option<String> {
    let measured: Vec<(&PredictionPoint, f64)> = predictions
        .iter()
        .filter(|point| point.predicted.is_finite())
        .filter_map(|point| Some((point, point.observed.filter(|value| value.is_finite())?)))
        .collect();
    let values = measured
        .iter()
        .flat_map(|(point, observed)| [point.predicted, *observed]);
    let axis = Axis::linear(values)?;
    let frame = Frame::new(axis, axis, EDGES);

    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            attr("viewBox", format!("0 0 {SIZE} 500")),
            attr("role", "img"),
            attr("aria-label", "predicted against observed expression"),
        ],
    );
    let target = if target.is_empty() {
        "expression"
    } else {
        target
    };
    frame.draw(
        &mut svg,
        &format!("observed {target}"),
        &format!("predicted {target}"),
    );
    if let (Some((x1, y1)), Some((x2, y2))) = (
        frame.point(axis.low(), axis.low()),
        frame.point(axis.high(), axis.high()),
    ) {
        svg.open("line", &line("identity", x1, y1, x2, y2));
        svg.leaf("title", &[], "predicted = observed").close();
    }
    // The test genes come last, on top.
    for split in Split::ALL {
        let points: Vec<(&PredictionPoint, f64)> = measured
            .iter()
            .filter(|(point, _)| point.split == split)
            .copied()
            .collect();
        draw_split(&mut svg, &frame, split, &points);
    }
    draw_labels(&mut svg, &frame, &measured);
    svg.close();

    let mut markup = Markup::new();
    markup.raw(&svg.finish());
    markup.open("p", &[attr("class", "legend")]);
    for split in Split::ALL {
        let n_genes = measured
            .iter()
            .filter(|(point, _)| point.split == split)
            .count();
        if n_genes > 0 {
            markup.open("span", &[attr("class", "item")]);
            markup.open(
                "svg",
                &[attr("class", "mark"), attr("viewBox", "-7 -7 14 14")],
            );
            draw_mark(&mut markup, split, 0.0, 0.0);
            markup.close().close();
            let genes = if n_genes == 1 { "gene" } else { "genes" };
            markup
                .text(&format!(
                    "{}, {} {genes}",
                    split.name(),
                    count_text(n_genes as u64)
                ))
                .close();
        }
    }
    markup.open("span", &[attr("class", "item")]);
    markup
        .open("span", &[attr("class", "key identity")])
        .close();
    markup.text("predicted = observed").close().close();
    Some(markup.finish())
}

fn draw_split(svg: &mut Markup, frame: &Frame, split: Split, points: &[(&PredictionPoint, f64)]) {
    if points.len() > MAX_MARKS {
        let mut taken = HashSet::new();
        let mut path = String::new();
        for (point, observed) in points {
            let Some((x, y)) = frame.point(*observed, point.predicted) else {
                continue;
            };
            if taken.insert((x.round() as i64, y.round() as i64)) {
                let _ = write!(path, "M{} {}h0", pixels_text(x), pixels_text(y));
            }
        }
        let class = format!("cloud {}", split.name());
        svg.empty("path", &[attr("class", class), attr("d", path)]);
        return;
    }
    for (point, observed) in points {
        let Some((x, y)) = frame.point(*observed, point.predicted) else {
            continue;
        };
        if let Some(spread) = point.spread.filter(|spread| spread.is_finite())
            && let (Some(y1), Some(y2)) = (
                frame.y.pixel(point.predicted - spread),
                frame.y.pixel(point.predicted + spread),
            )
        {
            let (top, bottom) = (y2.max(EDGES[1]), y1.min(EDGES[3]));
            svg.empty(
                "line",
                &line(&format!("spread {}", split.name()), x, top, x, bottom),
            );
        }
        draw_mark(svg, split, x, y);
        let spread = point.spread.map_or_else(String::new, |spread| {
            format!(" ± {}", fixed_text(spread, 2))
        });
        let tip = format!(
            "{} ({}): observed {}, predicted {}{spread}",
            point.symbol,
            split.name(),
            fixed_text(*observed, 2),
            fixed_text(point.predicted, 2),
        );
        svg.leaf("title", &[], &tip).close();
    }
}

/// Opens the mark of a split, which has its own shape as well as its own colour.
fn draw_mark(svg: &mut Markup, split: Split, x: f64, y: f64) {
    let class = attr("class", format!("point {}", split.name()));
    match split {
        Split::Train => svg.open(
            "circle",
            &[class, attr("cx", x), attr("cy", y), attr("r", 3.6)],
        ),
        Split::Valid => svg.open(
            "rect",
            &[
                class,
                attr("x", x - 3.6),
                attr("y", y - 3.6),
                attr("width", 7.2),
                attr("height", 7.2),
            ],
        ),
        Split::Test => {
            let corners = [(x, y - 5.6), (x + 5.6, y), (x, y + 5.6), (x - 5.6, y)]
                .map(|(x, y)| format!("{},{}", pixels_text(x), pixels_text(y)));
            svg.open("polygon", &[class, attr("points", corners.join(" "))])
        }
    };
}

/// Names the test genes that are predicted worst, where there is room.
fn draw_labels(svg: &mut Markup, frame: &Frame, measured: &[(&PredictionPoint, f64)]) {
    let mut worst: Vec<_> = measured
        .iter()
        .filter(|(point, _)| point.split == Split::Test)
        .filter_map(|(point, observed)| {
            let (x, y) = frame.point(*observed, point.predicted)?;
            Some((
                (point.predicted - observed).abs(),
                point.symbol.as_str(),
                x,
                y,
            ))
        })
        .collect();
    worst.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (_, symbol, x, y) in worst.into_iter().take(N_LABELS) {
        let symbol = shortened(symbol, 16);
        // Labels stand on the side that has room; two closer than a line of text are not written.
        let is_left = x > (EDGES[0] + EDGES[2]) / 2.0;
        let is_free = taken
            .iter()
            .all(|(other_x, other_y)| (y - other_y).abs() > 12.0 || (x - other_x).abs() > 110.0);
        if !is_free {
            continue;
        }
        taken.push((x, y));
        let (class, x) = if is_left {
            ("name end", x - 9.0)
        } else {
            ("name", x + 9.0)
        };
        svg.leaf(
            "text",
            &[attr("class", class), attr("x", x), attr("y", y + 4.0)],
            &symbol,
        );
    }
}

/// At most `n_chars` characters, with an ellipsis where some are missing.
pub(super) fn shortened(text: &str, n_chars: usize) -> String {
    if text.chars().count() <= n_chars {
        return text.to_string();
    }
    let mut short: String = text.chars().take(n_chars.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::super::markup::assert_well_formed;
    use super::*;

    fn points(n_genes: usize, split: Split) -> Vec<PredictionPoint> {
        (0..n_genes)
            .map(|index| PredictionPoint {
                symbol: format!("<script>{index}"),
                split,
                observed: Some((index % 97) as f64 / 10.0),
                predicted: (index % 89) as f64 / 9.0,
                spread: Some(0.1),
            })
            .collect()
    }

    #[test]
    fn chart_without_a_measured_gene_is_nothing() {
        assert!(draw(&[], "").is_none());
        let mut gene = points(1, Split::Test);
        gene[0].observed = None;
        assert!(draw(&gene, "").is_none());
        gene[0].observed = Some(1.0);
        gene[0].predicted = f64::NAN;
        assert!(draw(&gene, "").is_none());
    }

    #[test]
    fn chart_of_any_size_is_well_formed_escaped_and_small() {
        for n_genes in [1, 2, 400, 401, 20_000] {
            let text = draw(&points(n_genes, Split::Test), "a < b").expect("genes are measured");
            assert_well_formed(&text);
            assert!(!text.contains("<script"));
            assert!(
                text.len() < 250_000,
                "{n_genes} genes: {} bytes",
                text.len()
            );
        }
    }

    #[test]
    fn legend_names_only_splits_that_are_there() {
        let text = draw(&points(3, Split::Valid), "").expect("genes are measured");
        assert!(text.contains("valid, 3 genes"));
        assert!(!text.contains("train,") && !text.contains("test,"));
    }
}
