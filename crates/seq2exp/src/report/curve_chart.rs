//! How losses fell during training: one panel per loss, one line per network.

use std::fmt::Write;

use super::TrainingCurve;
use super::axis::{Axis, Frame, line};
use super::markup::{Markup, attr, pixels_text};
use super::number::{count_text, value_text};

const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 250.0;
const EDGES: [f64; 4] = [62.0, 34.0, 508.0, 204.0];

/// A line is drawn through at most this many points; more are joined to ranges.
const MAX_POINTS: usize = 220;

/// Colours for networks; a further network begins again at the first.
const N_COLOURS: usize = 5;

/// One line of a panel.
struct Curve {
    seed: u64,
    colour: usize,
    points: Vec<(f64, f64)>,
    best_step: Option<u64>,
}

/// All panels of the training, or nothing without a step.
pub(super) fn draw(training: &[TrainingCurve]) -> Option<String> {
    let curves = |points: &dyn Fn(&TrainingCurve) -> Vec<(f64, f64)>, marks_best: bool| {
        training
            .iter()
            .enumerate()
            .map(|(index, curve)| Curve {
                seed: curve.seed,
                colour: index % N_COLOURS,
                points: finite(points(curve)),
                best_step: curve.best_step.filter(|_| marks_best),
            })
            .collect::<Vec<_>>()
    };
    let steps = |value: fn(&super::TrainingStep) -> f64| {
        move |curve: &TrainingCurve| {
            let rows = curve.steps.iter();
            rows.map(|row| (row.step as f64, value(row))).collect()
        }
    };
    let panels = [
        panel(
            "Training loss",
            &curves(&steps(|row| row.loss), false),
            "prediction loss + weighted KL",
        ),
        panel(
            "Prediction loss",
            &curves(&steps(|row| row.prediction_loss), false),
            "smooth L1",
        ),
        panel(
            "KL of the mask",
            &curves(&steps(|row| row.kl.unwrap_or(f64::NAN)), false),
            "KL to the marginal",
        ),
        panel(
            "Validation error",
            &curves(
                &|curve| {
                    let rows = curve.validations.iter();
                    rows.map(|row| (row.step as f64, row.mse)).collect()
                },
                true,
            ),
            "mean squared error",
        ),
    ];
    let panels: Vec<String> = panels.into_iter().flatten().collect();
    if panels.is_empty() {
        return None;
    }
    let mut markup = Markup::new();
    markup.open("p", &[attr("class", "legend")]);
    for (index, curve) in training.iter().enumerate() {
        let class = format!("key seed{}", index % N_COLOURS);
        markup.open("span", &[attr("class", "item")]);
        markup.open("span", &[attr("class", class)]).close();
        markup.text(&format!("seed {}", curve.seed)).close();
    }
    markup.close();
    markup.open("div", &[attr("class", "panels two")]);
    for panel in panels {
        markup.raw(&panel);
    }
    markup.close();
    Some(markup.finish())
}

fn finite(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut points = points;
    points.retain(|(x, y)| x.is_finite() && y.is_finite());
    points
}

/// One chart, or nothing when no curve has a point.
fn panel(title: &str, curves: &[Curve], y_title: &str) -> Option<String> {
    let all = || curves.iter().flat_map(|curve| curve.points.iter());
    let last = all().map(|point| point.0).fold(f64::NAN, f64::max);
    let x = Axis::linear([0.0, last].into_iter().filter(|value| value.is_finite()))?;
    // The axis ends at the last step, not at the next round number.
    let x = Axis::exact(0.0, last.max(1.0)).unwrap_or(x);
    let values: Vec<f64> = all().map(|point| point.1).collect();
    let y = Axis::loss(values.iter().copied())?;
    let frame = Frame::new(x, y, EDGES);

    let mut svg = Markup::new();
    let view = format!("0 0 {WIDTH} {HEIGHT}");
    svg.open(
        "svg",
        &[
            attr("viewBox", view),
            attr("role", "img"),
            attr("aria-label", format!("{title} against step")),
        ],
    );
    svg.leaf(
        "text",
        &[attr("class", "title"), attr("x", EDGES[0]), attr("y", 18.0)],
        title,
    );
    frame.draw(&mut svg, "step", y_title);
    for curve in curves {
        draw_curve(&mut svg, &frame, title, curve);
    }
    Some(svg.finish())
}

fn draw_curve(svg: &mut Markup, frame: &Frame, title: &str, curve: &Curve) {
    let (Some(&first), Some(&last)) = (curve.points.first(), curve.points.last()) else {
        return;
    };
    svg.open("g", &[attr("class", format!("seed{}", curve.colour))]);
    let tip = format!(
        "seed {}: {title} {} at step {}, {} at step {}",
        curve.seed,
        value_text(first.1),
        count_text(first.0 as u64),
        value_text(last.1),
        count_text(last.0 as u64),
    );
    svg.leaf("title", &[], &tip);
    let is_dense = curve.points.len() > 40;
    if is_dense {
        svg.empty(
            "path",
            &[
                attr("class", "faint"),
                attr("d", path(frame, &thinned(&curve.points))),
            ],
        );
    }
    let smooth = if is_dense {
        smoothed(&curve.points)
    } else {
        curve.points.clone()
    };
    svg.empty(
        "path",
        &[attr("class", "curve"), attr("d", path(frame, &smooth))],
    );
    if !is_dense {
        for &(x, y) in &curve.points {
            if let Some((cx, cy)) = frame.point(x, y) {
                svg.open(
                    "circle",
                    &[
                        attr("class", "dot"),
                        attr("cx", cx),
                        attr("cy", cy),
                        attr("r", 2.4),
                    ],
                );
                let tip = format!("step {}: {}", count_text(x as u64), value_text(y));
                svg.leaf("title", &[], &tip).close();
            }
        }
    }
    let best = curve
        .best_step
        .and_then(|step| curve.points.iter().find(|point| point.0 == step as f64));
    if let Some(&(x, y)) = best
        && let Some((cx, cy)) = frame.point(x, y)
    {
        svg.empty("line", &line("best", cx, EDGES[1], cx, EDGES[3]));
        svg.open(
            "circle",
            &[
                attr("class", "ring"),
                attr("cx", cx),
                attr("cy", cy),
                attr("r", 5.0),
            ],
        );
        let tip = format!(
            "used weights: step {}, {}",
            count_text(x as u64),
            value_text(y)
        );
        svg.leaf("title", &[], &tip).close();
    }
    svg.close();
}

/// A path through points; those without a pixel interrupt it.
fn path(frame: &Frame, points: &[(f64, f64)]) -> String {
    let mut text = String::new();
    let mut is_drawing = false;
    for &(x, y) in points {
        let Some((x, y)) = frame.point(x, y) else {
            is_drawing = false;
            continue;
        };
        let command = if is_drawing { 'L' } else { 'M' };
        let _ = write!(text, "{command}{} {}", pixels_text(x), pixels_text(y));
        is_drawing = true;
    }
    text
}

/// At most [`MAX_POINTS`] points: the smallest and the largest value of each of equal groups.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    points
        .chunks(points.len().div_ceil(MAX_POINTS / 2))
        .flat_map(|group| {
            let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
            let low = group.iter().min_by(by_value).copied();
            let high = group.iter().max_by(by_value).copied();
            let mut pair: Vec<(f64, f64)> = low.into_iter().chain(high).collect();
            pair.sort_by(|a, b| a.0.total_cmp(&b.0));
            pair
        })
        .collect()
}

/// The mean of the values within 1/30 of all points to either side, at up to 110 places.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = (points.len() / 30).max(1);
    let every = points.len().div_ceil(MAX_POINTS / 2).max(1);
    let mut places: Vec<usize> = (0..points.len()).step_by(every).collect();
    if places.last() != Some(&(points.len() - 1)) {
        places.push(points.len() - 1);
    }
    places
        .into_iter()
        .map(|at| {
            let near = &points[at.saturating_sub(reach)..(at + reach + 1).min(points.len())];
            let sum: f64 = near.iter().map(|point| point.1).sum();
            (points[at].0, sum / near.len() as f64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::markup::assert_well_formed;
    use super::super::{TrainingStep, ValidationStep};
    use super::*;

    fn curve(n_steps: u64, loss: impl Fn(u64) -> f64) -> TrainingCurve {
        TrainingCurve {
            seed: 2,
            steps: (1..=n_steps)
                .map(|step| TrainingStep {
                    step,
                    loss: loss(step),
                    prediction_loss: loss(step),
                    kl: None,
                })
                .collect(),
            validations: vec![ValidationStep {
                step: 1,
                mse: loss(1),
            }],
            best_step: Some(1),
        }
    }

    #[test]
    fn curves_without_a_finite_point_draw_nothing() {
        assert!(draw(&[]).is_none());
        assert!(draw(&[TrainingCurve::default()]).is_none());
        assert!(draw(&[curve(5, |_| f64::NAN)]).is_none());
    }

    #[test]
    fn curves_of_any_length_are_well_formed_and_small() {
        for n_steps in [1, 2, 41, 1_000, 100_000] {
            let text = draw(&[curve(n_steps, |step| 1.0 / step as f64)]).expect("it has points");
            assert_well_formed(&text);
            assert!(text.len() < 30_000, "{n_steps} steps: {} bytes", text.len());
            assert!(
                !text.contains("KL of the mask"),
                "without a mask there is no KL"
            );
            assert!(!text.contains("NaN"));
        }
    }

    #[test]
    fn thinning_keeps_extremes_and_smoothing_keeps_means() {
        let mut points: Vec<(f64, f64)> = (0..5_000).map(|i| (f64::from(i), 1.0)).collect();
        assert!(smoothed(&points).iter().all(|point| point.1 == 1.0));
        points[1234].1 = 50.0;
        points[4321].1 = -50.0;
        let thin = thinned(&points);
        assert!(thin.len() <= MAX_POINTS);
        assert!(thin.contains(&(1234.0, 50.0)) && thin.contains(&(4321.0, -50.0)));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
    }
}
