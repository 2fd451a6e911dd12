//! How many values fall where.

use super::axis::{Axis, Frame};
use super::markup::{Markup, attr};
use super::number::{count_text, value_text};

const WIDTH: f64 = 350.0;
const HEIGHT: f64 = 230.0;
const EDGES: [f64; 4] = [54.0, 32.0, 340.0, 186.0];
const N_BINS: usize = 24;

/// A histogram of the finite `values`, or nothing without any.
///
/// `what` names what is counted; it labels the vertical axis.
pub(super) fn draw(values: &[f64], title: &str, x_title: &str, what: &str) -> Option<String> {
    let x = Axis::linear(values.iter().copied())?;
    let width = (x.high() - x.low()) / N_BINS as f64;
    let mut counts = [0_u64; N_BINS];
    for value in values.iter().filter(|value| value.is_finite()) {
        let bin = ((value - x.low()) / width) as usize;
        counts[bin.min(N_BINS - 1)] += 1;
    }
    let highest = counts.iter().copied().max().unwrap_or(0) as f64;
    // Counts are whole numbers, so the axis has at least two whole ticks.
    let y = Axis::linear([0.0, highest.max(2.0)])?;
    let frame = Frame::new(x, y, EDGES);

    let mut svg = Markup::new();
    svg.open(
        "svg",
        &[
            attr("viewBox", format!("0 0 {WIDTH} {HEIGHT}")),
            attr("role", "img"),
            attr("aria-label", title),
        ],
    );
    svg.leaf(
        "text",
        &[attr("class", "title"), attr("x", EDGES[0]), attr("y", 18.0)],
        title,
    );
    frame.draw(&mut svg, x_title, what);
    for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let from = x.low() + bin as f64 * width;
        let corners = (
            frame.point(from, count as f64),
            frame.point(from + width, 0.0),
        );
        let (Some((x1, y1)), Some((x2, y2))) = corners else {
            continue;
        };
        svg.open(
            "rect",
            &[
                attr("class", "bar"),
                attr("x", x1 + 0.5),
                attr("y", y1),
                attr("width", (x2 - x1 - 1.0).max(1.0)),
                attr("height", y2 - y1),
            ],
        );
        let tip = format!(
            "{} {what} from {} to {}",
            count_text(count),
            value_text(from),
            value_text(from + width),
        );
        svg.leaf("title", &[], &tip).close();
    }
    Some(svg.finish())
}

#[cfg(test)]
mod tests {
    use super::super::markup::assert_well_formed;
    use super::*;

    #[test]
    fn histogram_counts_every_finite_value_once() {
        let cases: [&[f64]; 4] = [
            &[1.0],
            &[0.0, 1.0, f64::NAN],
            &[-5.0, -5.0, 5.0],
            &[0.1, 0.2, 0.3, 0.4, 0.5, f64::INFINITY],
        ];
        for values in cases {
            let text = draw(values, "t", "x", "genes").expect("one value is finite");
            assert_well_formed(&text);
            let n_counted: u64 = text
                .split("<title>")
                .skip(1)
                .filter_map(|tip| tip.split(' ').next()?.parse::<u64>().ok())
                .sum();
            let n_finite = values.iter().filter(|value| value.is_finite()).count();
            assert_eq!(n_counted, n_finite as u64, "{values:?}");
        }
        assert!(draw(&[], "t", "x", "genes").is_none());
        assert!(draw(&[f64::NAN], "t", "x", "genes").is_none());
    }
}
