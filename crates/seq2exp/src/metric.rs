//! How well predicted expression agrees with observed expression, with bootstrap intervals.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// A score of predicted against observed values, over all genes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Mean squared error; 0 is best.
    Mse,
    /// Mean absolute error; 0 is best.
    Mae,
    /// Pearson correlation; 1 is best.
    Pearson,
    /// Spearman rank correlation, ties given their mean rank; 1 is best.
    Spearman,
}

impl Metric {
    /// All metrics, in the order of the published tables.
    pub const ALL: [Self; 4] = [Self::Mse, Self::Mae, Self::Pearson, Self::Spearman];

    /// The name in `metrics.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mse => "mse",
            Self::Mae => "mae",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
        }
    }

    /// The score of `predicted` against `observed`, `None` where it is undefined.
    ///
    /// Errors are undefined without genes, correlations with fewer than two genes or when one side is constant;
    /// every metric is undefined when a value is NaN or infinite.
    ///
    /// # Shapes
    /// - `predicted`, `observed`: `[n_genes]`; genes past the shorter of the two are not compared
    pub fn score(self, predicted: &[f64], observed: &[f64]) -> Option<f64> {
        let n_genes = predicted.len().min(observed.len());
        let (predicted, observed) = (&predicted[..n_genes], &observed[..n_genes]);
        if n_genes == 0
            || !predicted
                .iter()
                .chain(observed)
                .all(|value| value.is_finite())
        {
            return None;
        }
        match self {
            Self::Mse => Some(mean_of(predicted, observed, |p, o| (p - o) * (p - o))),
            Self::Mae => Some(mean_of(predicted, observed, |p, o| (p - o).abs())),
            Self::Pearson => correlation(predicted, observed),
            Self::Spearman => correlation(&ranks(predicted), &ranks(observed)),
        }
    }
}

/// A score and its bootstrap percentile interval; `None` (JSON `null`) where undefined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The score over all genes.
    pub value: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
}

/// How bootstrap intervals are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// Resamples of the genes, with replacement; default 2,000.
    pub n_resamples: usize,
    /// Share of resamples inside the interval; default 0.95.
    pub level: f64,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            n_resamples: 2_000,
            level: 0.95,
        }
    }
}

/// Scores `predicted` against `observed` with each of `metrics`, every interval from the same resamples.
///
/// A resample in which a metric is undefined (all its genes equal, say) is left out of that metric's interval.
///
/// # Shapes
/// - `predicted`, `observed`: `[n_genes]`; output: one estimate per metric, in their order
///
/// # Reference
/// Efron & Tibshirani 1993, percentile method over resampled genes
pub fn bootstrap(
    metrics: &[Metric],
    predicted: &[f64],
    observed: &[f64],
    config: BootstrapConfig,
    rng: &mut impl Rng,
) -> Vec<Estimate> {
    let n_genes = predicted.len().min(observed.len());
    let mut resampled: Vec<Vec<f64>> = vec![Vec::with_capacity(config.n_resamples); metrics.len()];
    let (mut some_predicted, mut some_observed) = (vec![0.0; n_genes], vec![0.0; n_genes]);
    // Without genes there is nothing to draw from.
    let n_resamples = if n_genes == 0 { 0 } else { config.n_resamples };
    for _ in 0..n_resamples {
        for place in 0..n_genes {
            let gene_index = rng.random_range(0..n_genes);
            some_predicted[place] = predicted[gene_index];
            some_observed[place] = observed[gene_index];
        }
        for (metric, values) in metrics.iter().zip(&mut resampled) {
            values.extend(metric.score(&some_predicted, &some_observed));
        }
    }
    let tail = 0.5 * (1.0 - config.level);
    metrics
        .iter()
        .zip(resampled)
        .map(|(metric, mut values)| {
            values.sort_by(f64::total_cmp);
            Estimate {
                value: metric.score(predicted, observed),
                low: quantile(&values, tail),
                high: quantile(&values, 1.0 - tail),
            }
        })
        .collect()
}

fn mean_of(predicted: &[f64], observed: &[f64], distance: impl Fn(f64, f64) -> f64) -> f64 {
    let sum: f64 = predicted
        .iter()
        .zip(observed)
        .map(|(&p, &o)| distance(p, o))
        .sum();
    sum / predicted.len() as f64
}

fn correlation(left: &[f64], right: &[f64]) -> Option<f64> {
    // Rounding of the mean can leave a constant side with a tiny variance, so constancy is tested on the values.
    let is_constant = |values: &[f64]| values.windows(2).all(|pair| pair[0] == pair[1]);
    if is_constant(left) || is_constant(right) {
        return None;
    }
    let n_values = left.len() as f64;
    let left_mean = left.iter().sum::<f64>() / n_values;
    let right_mean = right.iter().sum::<f64>() / n_values;
    let (mut left_square, mut right_square, mut product) = (0.0, 0.0, 0.0);
    for (l, r) in left.iter().zip(right) {
        let (l, r) = (l - left_mean, r - right_mean);
        left_square += l * l;
        right_square += r * r;
        product += l * r;
    }
    let scale = left_square.sqrt() * right_square.sqrt();
    // Values closer together than their squares can tell apart have no direction either.
    (scale > 0.0).then(|| (product / scale).clamp(-1.0, 1.0))
}

/// Ranks from 1; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for run in order.chunk_by(|&a, &b| values[a] == values[b]) {
        // The ranks first + 1 ..= first + run.len() have this mean.
        let shared = first as f64 + 0.5 * (run.len() as f64 + 1.0);
        for &index in run {
            ranks[index] = shared;
        }
        first += run.len();
    }
    ranks
}

/// The quantile of sorted values with linear interpolation (numpy's default).
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (place - below as f64) * (sorted[above] - sorted[below]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    // The numbers below are printed by oracle/metric_expected.py (numpy 2.4.6, scipy 1.17.1).
    const OBSERVED: [f64; 12] = [
        0.0, 0.0, 0.31, 1.72, 0.31, 2.45, 3.08, 0.9, 1.72, 2.2, 0.05, 2.9,
    ];
    const PREDICTED: [f64; 12] = [
        0.12, 0.4, 0.12, 1.2, 0.8, 2.6, 2.4, 1.1, 1.9, 1.9, 0.3, 2.05,
    ];

    /// Two double-precision sums of twelve terms in different orders.
    const ATOL: f64 = 1e-14;

    #[test]
    fn score_matches_scipy() {
        let cases = [
            (Metric::Mse, 0.17944166666666672),
            (Metric::Mae, 0.36083333333333334),
            (Metric::Pearson, 0.9450258448931296),
            (Metric::Spearman, 0.9188726812945324),
        ];
        for (metric, expected) in cases {
            let found = metric.score(&PREDICTED, &OBSERVED).expect("defined");
            assert!(
                (found - expected).abs() <= ATOL,
                "{}: {found}, expected {expected}",
                metric.name()
            );
        }
    }

    #[test]
    fn ranks_share_ties_as_in_scipy() {
        assert_eq!(
            ranks(&OBSERVED),
            [
                1.5, 1.5, 4.5, 7.5, 4.5, 10.0, 12.0, 6.0, 7.5, 9.0, 3.0, 11.0
            ]
        );
        assert_eq!(ranks(&[0.0, -0.0]), [1.5, 1.5]);
    }

    #[test]
    fn quantile_interpolates_as_in_numpy() {
        let mut sorted = PREDICTED;
        sorted.sort_by(f64::total_cmp);
        for (share, expected) in [(0.025, 0.12), (0.25, 0.375), (0.5, 1.15), (0.975, 2.545)] {
            let found = quantile(&sorted, share).expect("not empty");
            assert!(
                (found - expected).abs() <= ATOL,
                "{share}: {found}, expected {expected}"
            );
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.975), Some(3.0));
        // Shares outside [0, 1] are the ends.
        assert_eq!(quantile(&[3.0, 5.0], 1.5), Some(5.0));
        assert_eq!(quantile(&[3.0, 5.0], -0.5), Some(3.0));
    }

    #[expect(clippy::type_complexity, reason = "a table of cases, read once")]
    #[test]
    fn score_of_degenerate_input_is_defined() {
        let cases: [(&[f64], &[f64], [Option<f64>; 4]); 8] = [
            (&[], &[], [None; 4]),
            (&[1.0], &[3.0], [Some(4.0), Some(2.0), None, None]),
            // The mean of three 0.1 is not 0.1, which must not turn into a correlation.
            (
                &[0.1, 0.1, 0.1],
                &[1.1, 2.1, 3.1],
                [Some(14.0 / 3.0), Some(2.0), None, None],
            ),
            (
                &[1.0, 2.0],
                &[5.0, 5.0],
                [Some(12.5), Some(3.5), None, None],
            ),
            (
                &[1.0, 2.0],
                &[4.0, 3.0],
                [Some(5.0), Some(2.0), Some(-1.0), Some(-1.0)],
            ),
            (&[f64::NAN, 2.0], &[4.0, 3.0], [None; 4]),
            // Values whose squares, 1e-400, are 0 have ranks but no variance.
            (
                &[1e-200, 2e-200],
                &[4.0, 3.0],
                [Some(12.5), Some(3.5), None, Some(-1.0)],
            ),
            // Genes past the shorter side are not compared, not even where they have no number.
            (
                &[1.0, 2.0, f64::NAN],
                &[4.0, 3.0],
                [Some(5.0), Some(2.0), Some(-1.0), Some(-1.0)],
            ),
        ];
        for (predicted, observed, expected) in cases {
            for (metric, expected) in Metric::ALL.into_iter().zip(expected) {
                let found = metric.score(predicted, observed);
                match (found, expected) {
                    (Some(found), Some(expected)) => {
                        assert!(
                            (found - expected).abs() < 1e-12,
                            "{} of {predicted:?}: {found}",
                            metric.name()
                        );
                    }
                    _ => assert_eq!(found, expected, "{} of {predicted:?}", metric.name()),
                }
            }
        }
    }

    #[test]
    fn correlation_does_not_leave_its_range_by_rounding() {
        // Their sum of squares over the square of its root is 1 + 2^-52 in double precision.
        let values = [0.1, 0.2, 1.7];
        let opposite = values.map(|value: f64| -value);
        assert_eq!(Metric::Pearson.score(&values, &values), Some(1.0));
        assert_eq!(Metric::Pearson.score(&values, &opposite), Some(-1.0));
    }

    #[test]
    fn bootstrap_interval_matches_scipy_within_resampling_error() {
        // scipy.stats.bootstrap, percentile method; the ends move by about 0.002 between seeds at 20,000 resamples,
        // more for the rank correlation, whose distribution over 12 genes is coarse.
        let expected = [
            (0.0759, 0.3088, 0.005),
            (0.2442, 0.4933, 0.005),
            (0.8959, 0.9809, 0.005),
            (0.6727, 0.9945, 0.01),
        ];
        let config = BootstrapConfig {
            n_resamples: 20_000,
            level: 0.95,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let found = bootstrap(&Metric::ALL, &PREDICTED, &OBSERVED, config, &mut rng);
        for ((metric, found), (low, high, atol)) in Metric::ALL.iter().zip(found).zip(expected) {
            let (found_low, found_high) =
                (found.low.expect("defined"), found.high.expect("defined"));
            assert!(
                (found_low - low).abs() < atol && (found_high - high).abs() < atol,
                "{}: {found_low:.4} {found_high:.4}, expected {low} {high}",
                metric.name()
            );
        }
    }

    #[test]
    fn bootstrap_depends_on_its_seed_only() {
        let config = BootstrapConfig {
            n_resamples: 50,
            ..BootstrapConfig::default()
        };
        let draw = |seed| {
            bootstrap(
                &[Metric::Mse],
                &PREDICTED,
                &OBSERVED,
                config,
                &mut ChaCha8Rng::seed_from_u64(seed),
            )
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn bootstrap_of_undefined_metric_serialises_as_null() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for observed in [&[][..], &[1.0, 1.0]] {
            let found = bootstrap(
                &[Metric::Pearson],
                observed,
                observed,
                BootstrapConfig::default(),
                &mut rng,
            );
            let json = serde_json::to_string(&found).expect("estimates are JSON");
            assert_eq!(json, r#"[{"value":null,"low":null,"high":null}]"#);
        }
    }
}
