//! Axes: from values to pixels, with ticks at round values.

use super::markup::{Markup, attr};
use super::number::{count_text, fixed_text};

/// Maps values to pixels, linearly or by logarithm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    first_pixel: f64,
    last_pixel: f64,
}

impl Axis {
    /// A linear axis over all finite `values`, widened to round numbers; `None` without any.
    pub(super) fn linear(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (low, high) = extent(values)?;
        // A single value, or values equal up to rounding, get room on both sides.
        let (low, high) = if high - low > 1e-9 * low.abs().max(high.abs()) {
            (low, high)
        } else {
            let room = if high == 0.0 { 1.0 } else { 0.5 * high.abs() };
            (low - room, high + room)
        };
        let step = round_step((high - low) / 5.0);
        Self::exact((low / step).floor() * step, (high / step).ceil() * step)
    }

    /// A linear axis from exactly `low` to exactly `high`; `None` unless `low < high`, both finite.
    pub(super) fn exact(low: f64, high: f64) -> Option<Self> {
        (low.is_finite() && high.is_finite() && low < high && (high - low).is_finite()).then_some(
            Self {
                low,
                high,
                is_log: false,
                first_pixel: 0.0,
                last_pixel: 1.0,
            },
        )
    }

    /// A logarithmic axis when all finite values are positive and span more than a factor of 30,
    /// else a linear one.
    pub(super) fn loss(values: impl IntoIterator<Item = f64> + Clone) -> Option<Self> {
        let (low, high) = extent(values.clone())?;
        if low > 0.0 && high / low > 30.0 && (high / low).is_finite() {
            return Some(Self {
                low,
                high,
                is_log: true,
                first_pixel: 0.0,
                last_pixel: 1.0,
            });
        }
        Self::linear(values)
    }

    /// The axis with its low end at `first_pixel` and its high end at `last_pixel`.
    pub(super) fn over(mut self, first_pixel: f64, last_pixel: f64) -> Self {
        self.first_pixel = first_pixel;
        self.last_pixel = last_pixel;
        self
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// The pixel of a value, also outside the axis; `None` when it has none.
    pub(super) fn pixel(&self, value: f64) -> Option<f64> {
        let share = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        let pixel = self.first_pixel + share * (self.last_pixel - self.first_pixel);
        pixel.is_finite().then_some(pixel)
    }

    /// About `n_wanted` round values on the axis.
    pub(super) fn ticks(&self, n_wanted: usize) -> Vec<f64> {
        let n_wanted = n_wanted.max(2) as f64;
        if self.is_log {
            let decades = (self.high / self.low).log10();
            let multiples: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 3.0] };
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            let every = ((f64::from(last - first) / n_wanted).ceil() as i32).max(1);
            return (first..=last)
                .step_by(every as usize)
                .flat_map(|power| multiples.iter().map(move |m| m * 10_f64.powi(power)))
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
        }
        let step = round_step((self.high - self.low) / n_wanted);
        let first = (self.low / step - 1e-6).ceil() as i64;
        let last = (self.high / step + 1e-6).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }

    /// The label of a tick: as many decimals as its neighbours need.
    pub(super) fn tick_text(&self, tick: f64, n_wanted: usize) -> String {
        if self.is_log {
            return if (1e-3..1e5).contains(&tick) {
                let decimals = (-tick.log10().floor()).max(0.0) as usize;
                fixed_text(tick, decimals)
            } else {
                format!("{tick:.0e}").replace('-', "−")
            };
        }
        let step = round_step((self.high - self.low) / n_wanted.max(2) as f64);
        let decimals = (-(step * 1.000_1).log10().floor()).clamp(0.0, 9.0) as usize;
        if decimals == 0 && tick.abs() >= 1000.0 && tick.abs() < 1e15 {
            let text = count_text(tick.abs().round() as u64);
            return if tick < 0.0 {
                format!("−{text}")
            } else {
                text
            };
        }
        fixed_text(tick, decimals)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `size`.
fn round_step(size: f64) -> f64 {
    let power = 10_f64.powf(size.abs().max(f64::MIN_POSITIVE).log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= size * (1.0 - 1e-9))
        .unwrap_or(10.0);
    (factor * power).max(f64::MIN_POSITIVE)
}

/// Smallest and largest finite value.
fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .into_iter()
        .filter(|value| value.is_finite() && value.abs() < 1e300)
        .fold(None, |range, value| match range {
            None => Some((value, value)),
            Some((low, high)) => Some((value.min(low), value.max(high))),
        })
}

/// The plotting area of a chart: its axes, inside a viewBox.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) x: Axis,
    pub(super) y: Axis,
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    /// Lays two axes over the rectangle with these edges.
    pub(super) fn new(x: Axis, y: Axis, [left, top, right, bottom]: [f64; 4]) -> Self {
        Self {
            x: x.over(left, right),
            y: y.over(bottom, top),
            left,
            top,
            right,
            bottom,
        }
    }

    /// The pixel of a point; `None` when a coordinate is not finite.
    pub(super) fn point(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x.pixel(x)?, self.y.pixel(y)?))
    }

    /// Draws grid lines, ticks and axis titles.
    pub(super) fn draw(&self, svg: &mut Markup, x_title: &str, y_title: &str) {
        let n_x = (((self.right - self.left) / 70.0) as usize).clamp(2, 8);
        let n_y = (((self.bottom - self.top) / 40.0) as usize).clamp(2, 8);
        for tick in self.y.ticks(n_y) {
            let Some(y) = self.y.pixel(tick) else {
                continue;
            };
            svg.empty("line", &line("grid", self.left, y, self.right, y));
            let label = self.y.tick_text(tick, n_y);
            svg.leaf(
                "text",
                &[
                    attr("class", "tick end"),
                    attr("x", self.left - 6.0),
                    attr("y", y + 4.0),
                ],
                &label,
            );
        }
        svg.empty(
            "line",
            &line("axis", self.left, self.bottom, self.right, self.bottom),
        );
        for tick in self.x.ticks(n_x) {
            let Some(x) = self.x.pixel(tick) else {
                continue;
            };
            svg.empty("line", &line("axis", x, self.bottom, x, self.bottom + 4.0));
            let label = self.x.tick_text(tick, n_x);
            svg.leaf(
                "text",
                &[
                    attr("class", "tick middle"),
                    attr("x", x),
                    attr("y", self.bottom + 17.0),
                ],
                &label,
            );
        }
        let middle = (self.left + self.right) / 2.0;
        svg.leaf(
            "text",
            &[
                attr("class", "label middle"),
                attr("x", middle),
                attr("y", self.bottom + 34.0),
            ],
            x_title,
        );
        if !y_title.is_empty() {
            let (x, y) = (self.left - 44.0, (self.top + self.bottom) / 2.0);
            let turn = format!("rotate(-90 {x:.0} {y:.0})");
            svg.leaf(
                "text",
                &[
                    attr("class", "label middle"),
                    attr("x", x),
                    attr("y", y),
                    attr("transform", turn),
                ],
                y_title,
            );
        }
    }
}

/// The attributes of a straight line.
pub(super) fn line(
    class: &str,
    x1: f64,
    y1: f64,
    x2: f64,
    y2: f64,
) -> [super::markup::Attribute; 5] {
    [
        attr("class", class),
        attr("x1", x1),
        attr("y1", y1),
        attr("x2", x2),
        attr("y2", y2),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axis_ends_at_round_values() {
        let axis = Axis::linear([0.13, 2.9]).expect("finite values");
        assert_eq!((axis.low(), axis.high()), (0.0, 3.0));
        assert_eq!(axis.ticks(6), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]);
        let axis = axis.over(10.0, 40.0);
        assert_eq!(axis.pixel(0.0), Some(10.0));
        assert_eq!(axis.pixel(1.5), Some(25.0));
        assert_eq!(axis.pixel(f64::NAN), None);
    }

    #[test]
    fn axis_survives_degenerate_values() {
        assert!(Axis::linear([]).is_none());
        assert!(Axis::linear([f64::NAN, f64::INFINITY]).is_none());
        for single in [0.0, 1.0, -3.5, 1e-12, 1e15, -1e200] {
            let axis = Axis::linear([single]).expect("one value is enough");
            assert!(axis.low() < single && single < axis.high(), "{single}");
            assert!((2..=12).contains(&axis.ticks(5).len()), "{single}");
        }
        assert!(Axis::exact(1.0, 1.0).is_none());
        assert!(Axis::exact(f64::NAN, 1.0).is_none());
    }

    #[test]
    fn loss_axis_is_logarithmic_for_wide_positive_values() {
        let axis = Axis::loss([0.01, 10.0]).expect("finite").over(0.0, 3.0);
        assert_eq!(
            axis.pixel(0.1).map(|pixel| (pixel * 1e6).round()),
            Some(1e6)
        );
        assert_eq!(axis.pixel(0.0), None);
        assert_eq!(axis.pixel(-1.0), None);
        assert!(axis.ticks(4).len() >= 3);
        let axis = Axis::loss([0.0, 10.0]).expect("finite");
        assert!(
            axis.pixel(0.0).is_some(),
            "0 has no logarithm, so the axis is linear"
        );
    }

    #[test]
    fn tick_labels_have_the_decimals_they_need() {
        let axis = Axis::linear([0.0, 0.02]).expect("finite");
        let labels: Vec<String> = axis
            .ticks(4)
            .iter()
            .map(|&t| axis.tick_text(t, 4))
            .collect();
        assert_eq!(labels, ["0.000", "0.005", "0.010", "0.015", "0.020"]);
        let axis = Axis::linear([0.0, 20_000.0]).expect("finite");
        let labels: Vec<String> = axis
            .ticks(4)
            .iter()
            .map(|&t| axis.tick_text(t, 4))
            .collect();
        assert_eq!(labels, ["0", "5,000", "10,000", "15,000", "20,000"]);
    }
}
