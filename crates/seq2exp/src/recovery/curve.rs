//! Precision over recall, from the highest score down.

use serde::Serialize;

/// Points of a curve, at most: recall moves by at least this share from one to the next.
const RECALL_STEP: f64 = 1e-3;

/// What is selected when everything from a score upwards is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// The lowest score that is selected.
    pub threshold: f32,
    /// Found ones, as a share of all that are to be found.
    pub recall: f64,
    /// Found ones, as a share of what is selected.
    pub precision: f64,
}

/// The area under the steps of precision over recall, from the highest score down; equal scores are one step. None
/// when nothing is to be found.
///
/// # Reference
/// `sklearn.metrics.average_precision_score`
pub fn average_precision(scored: &mut [(f32, bool)]) -> Option<f64> {
    let n_positive = sort(scored);
    let area: f64 = steps(scored)
        .map(|step| step.n_new as f64 * step.n_found as f64 / step.n_seen as f64)
        .sum();
    (n_positive > 0).then(|| area / n_positive as f64)
}

/// Precision over recall, from the highest score down, with at most a thousand points: those at which recall has moved
/// by a thousandth, and the last that finds something. Empty when nothing is to be found.
///
/// # Reference
/// `sklearn.metrics.precision_recall_curve`
pub fn precision_recall(scored: &mut [(f32, bool)]) -> Vec<CurvePoint> {
    let n_positive = sort(scored);
    let mut points: Vec<CurvePoint> = Vec::new();
    for step in steps(scored).filter(|step| step.n_new > 0) {
        let recall = step.n_found as f64 / n_positive as f64;
        let before = points.last().map_or(0.0, |point| point.recall);
        if recall - before >= RECALL_STEP || step.n_found == n_positive {
            points.push(CurvePoint {
                threshold: step.threshold,
                recall,
                precision: step.n_found as f64 / step.n_seen as f64,
            });
        }
    }
    points
}

/// Sorts from the highest score down, and counts what is to be found.
fn sort(scored: &mut [(f32, bool)]) -> usize {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.iter().filter(|(_, positive)| *positive).count()
}

/// All that have one score.
struct Step {
    threshold: f32,
    /// What this step finds.
    n_new: usize,
    /// What is found up to it.
    n_found: usize,
    /// What is selected up to it.
    n_seen: usize,
}

fn steps(sorted: &[(f32, bool)]) -> impl Iterator<Item = Step> {
    let (mut n_seen, mut n_found) = (0, 0);
    sorted.chunk_by(|a, b| a.0 == b.0).map(move |equal| {
        let n_new = equal.iter().filter(|(_, positive)| *positive).count();
        n_seen += equal.len();
        n_found += n_new;
        Step {
            threshold: equal[0].0,
            n_new,
            n_found,
            n_seen,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_by_hand_and_with_ties() {
        // Down the list: + - + : (1/1 + 2/3) / 2
        let mut mixed = [(0.1, false), (0.9, true), (0.5, true), (0.7, false)];
        assert_eq!(average_precision(&mut mixed), Some((1.0 + 2.0 / 3.0) / 2.0));
        // One step of all four: 2 found among 4.
        let mut tied = [(1.0, true), (1.0, false), (1.0, true), (1.0, false)];
        assert_eq!(average_precision(&mut tied), Some(0.5));
        assert_eq!(
            average_precision(&mut [(0.0, true), (1.0, true)]),
            Some(1.0)
        );
        assert_eq!(average_precision(&mut [(0.0, false)]), None);
        assert_eq!(average_precision(&mut []), None);
        let mut with_lowest = [(f32::NEG_INFINITY, true), (0.0, false)];
        assert_eq!(average_precision(&mut with_lowest), Some(0.5));
    }

    #[test]
    fn precision_recall_by_hand_and_with_ties() {
        let point = |threshold, recall, precision| CurvePoint {
            threshold,
            recall,
            precision,
        };
        // Down the list: + - + -; what finds nothing is no point.
        let mut mixed = [(0.1, false), (0.9, true), (0.5, true), (0.7, false)];
        assert_eq!(
            precision_recall(&mut mixed),
            [point(0.9, 0.5, 1.0), point(0.5, 1.0, 2.0 / 3.0)]
        );
        let mut tied = [(1.0, true), (1.0, false), (1.0, true), (1.0, false)];
        assert_eq!(precision_recall(&mut tied), [point(1.0, 1.0, 0.5)]);
        assert_eq!(precision_recall(&mut [(0.0, false)]), []);
        assert_eq!(precision_recall(&mut []), []);
    }

    #[test]
    fn precision_recall_of_many_is_thinned_and_ends_at_the_last_found() {
        // 10,000 to be found, one after the other, each followed by one that is not: precision falls to
        // 10,000 / 19,999 at the last.
        let mut many: Vec<(f32, bool)> = (0..20_000).map(|i| (-(i as f32), i % 2 == 0)).collect();
        let points = precision_recall(&mut many);
        assert!((900..=1001).contains(&points.len()), "{}", points.len());
        let last = points[points.len() - 1];
        assert_eq!((last.recall, last.precision), (1.0, 10_000.0 / 19_999.0));
        assert!(
            points
                .windows(2)
                .all(|pair| pair[0].recall < pair[1].recall)
        );
    }
}
