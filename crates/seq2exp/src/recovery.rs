//! How well a score per base finds elements that are known.
//!
//! Candidates are all known elements, those that decide expression being the ones to find; so a score that only finds
//! open chromatin, or only the motif, ranks the others among them. Promoters are left out: their mask is given.

mod curve;
mod known;
mod sparse_mask;

use serde::Serialize;

pub use self::curve::{CurvePoint, average_precision, precision_recall};
pub use self::known::{KnownElement, KnownElements, positions};
pub use self::sparse_mask::{NetworkMask, SparseAccuracy, SparseTally, keep_highest};

/// Shares of each window's bases that are selected, those with the highest score.
pub const SPARSITIES: [f64; 3] = [0.05, 0.1, 0.2];

/// What one score found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recovery {
    /// Name of the score.
    pub score: String,
    /// Average precision of the bases of active elements among all free bases of all windows; none without any.
    pub base_average_precision: Option<f64>,
    /// Average precision of the active elements among all known ones, each with the mean score of its bases.
    pub element_average_precision: Option<f64>,
    /// What the highest scores of each window hold; empty for chance.
    pub at: Vec<AtSparsity>,
    /// Precision over recall of the bases that the first average is made of.
    #[serde(skip)]
    pub base_curve: Vec<CurvePoint>,
    /// Precision over recall of the elements that the second is made of.
    #[serde(skip)]
    pub element_curve: Vec<CurvePoint>,
}

/// What the selected bases hold; an element is found when at least half of its bases are selected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AtSparsity {
    /// Share of each window's free bases that is selected.
    pub sparsity: f64,
    /// Selected bases that lie in an active element, as a share of the selected ones.
    pub base_precision: f64,
    /// Found elements that are active, as a share of those found; none when none is.
    pub element_precision: Option<f64>,
    /// Active elements that are found, as a share of all; none without any.
    pub element_recall: Option<f64>,
}

/// Collects the scores of one gene after the other.
#[derive(Debug, Clone)]
pub struct RecoveryTally {
    score: String,
    bases: Vec<(f32, bool)>,
    elements: Vec<(f32, bool)>,
    at: [Counts; SPARSITIES.len()],
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    n_selected: usize,
    n_selected_active: usize,
    n_found: usize,
    n_found_active: usize,
}

/// A window as the tally sees it.
#[derive(Debug, Clone, Copy)]
pub struct KnownWindow<'a> {
    /// First base of the window on the chromosome; negative when it reaches over its start.
    pub start: i64,
    /// Bases that count: those whose mask is the network's own choice.
    pub is_free: &'a [bool],
    /// Known elements of the gene.
    pub elements: &'a [KnownElement],
}

impl RecoveryTally {
    /// An empty tally of a score.
    pub fn new(score: impl Into<String>) -> Self {
        Self {
            score: score.into(),
            bases: Vec::new(),
            elements: Vec::new(),
            at: [Counts::default(); SPARSITIES.len()],
        }
    }

    /// Adds the scores of one window, one per base; a score that is NaN counts as the lowest.
    pub fn add(&mut self, window: KnownWindow<'_>, scores: &[f32]) {
        let scores: Vec<f32> = scores
            .iter()
            .map(|score| {
                if score.is_nan() {
                    f32::NEG_INFINITY
                } else {
                    *score
                }
            })
            .collect();
        let mut is_active = vec![false; scores.len()];
        // Each element's free bases.
        let places: Vec<Vec<usize>> = window
            .elements
            .iter()
            .map(|element| positions(element.start..element.end, window.start, scores.len()))
            .map(|places| places.filter(|&i| window.is_free[i]).collect())
            .collect();
        for (element, places) in window.elements.iter().zip(&places) {
            if places.is_empty() {
                continue;
            }
            let sum: f64 = places.iter().map(|&i| f64::from(scores[i])).sum();
            let mean = (sum / places.len() as f64) as f32;
            self.elements.push((mean, element.is_active));
            for &i in places.iter().filter(|_| element.is_active) {
                is_active[i] = true;
            }
        }
        let free = highest_first(&scores, window.is_free);
        self.bases
            .extend(free.iter().map(|&i| (scores[i], is_active[i])));
        for (counts, sparsity) in self.at.iter_mut().zip(SPARSITIES) {
            let n_selected = (sparsity * free.len() as f64).round() as usize;
            let mut is_selected = vec![false; scores.len()];
            for &i in &free[..n_selected] {
                is_selected[i] = true;
                counts.n_selected += 1;
                counts.n_selected_active += usize::from(is_active[i]);
            }
            for (element, places) in window.elements.iter().zip(&places) {
                let n = places.iter().filter(|&&i| is_selected[i]).count();
                if !places.is_empty() && 2 * n >= places.len() {
                    counts.n_found += 1;
                    counts.n_found_active += usize::from(element.is_active);
                }
            }
        }
    }

    /// What was found in all windows.
    pub fn finish(mut self) -> Recovery {
        let n_active = self.elements.iter().filter(|(_, active)| *active).count();
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        let at = self
            .at
            .iter()
            .zip(SPARSITIES)
            .map(|(counts, sparsity)| AtSparsity {
                sparsity,
                base_precision: share(counts.n_selected_active, counts.n_selected).unwrap_or(0.0),
                element_precision: share(counts.n_found_active, counts.n_found),
                element_recall: share(counts.n_found_active, n_active),
            });
        Recovery {
            at: at.collect(),
            base_average_precision: average_precision(&mut self.bases),
            element_average_precision: average_precision(&mut self.elements),
            base_curve: precision_recall(&mut self.bases),
            element_curve: precision_recall(&mut self.elements),
            score: self.score,
        }
    }
}

/// The free bases from the highest score down; of equal ones the first comes first.
pub(crate) fn highest_first(scores: &[f32], is_free: &[bool]) -> Vec<usize> {
    let mut free: Vec<usize> = (0..scores.len()).filter(|&i| is_free[i]).collect();
    free.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tally_counts_free_bases_and_whole_elements() {
        let element = |start, end, is_active| KnownElement {
            start,
            end,
            is_active,
        };
        // Window of 20 bases from 100; base 109 is not free. The third element lies outside.
        let elements = [
            element(102, 104, true),
            element(108, 112, false),
            element(130, 140, true),
        ];
        let mut is_free = [true; 20];
        is_free[9] = false;
        let window = KnownWindow {
            start: 100,
            is_free: &is_free,
            elements: &elements,
        };
        let mut scores = [0.0; 20];
        scores[2] = 0.9;
        scores[3] = 0.5;
        scores[9] = 1.0;
        scores[10] = 0.7;
        scores[11] = f32::NAN;
        let mut tally = RecoveryTally::new("by hand");
        tally.add(window, &scores);
        let found = tally.finish();
        // Free bases by score: 2 (+), 10 (-), 3 (+): (1 + 2/3) / 2.
        assert_eq!(found.base_average_precision, Some((1.0 + 2.0 / 3.0) / 2.0));
        // The second element's mean is minus infinity through the NaN.
        assert_eq!(found.element_average_precision, Some(1.0));
        // 19 free bases: 0.05 selects 1 (base 2, half of the first element), 0.1 selects 2 (bases 2, 10),
        // 0.2 selects 4 (2, 10, 3 and the first of the zeros, 0).
        let at = |index: usize| found.at[index];
        assert_eq!(at(0).base_precision, 1.0);
        assert_eq!(
            (at(0).element_precision, at(0).element_recall),
            (Some(1.0), Some(1.0))
        );
        assert_eq!(at(1).base_precision, 0.5);
        assert_eq!(at(2).base_precision, 0.5);
        assert_eq!(at(2).element_precision, Some(1.0));
    }

    #[test]
    fn elements_rank_by_mean_score_and_count_when_half_is_selected() {
        let element = |start, end, is_active| KnownElement {
            start,
            end,
            is_active,
        };
        let elements = [
            element(0, 4, false),
            element(6, 7, true),
            element(7, 9, true),
        ];
        let window = KnownWindow {
            start: 0,
            is_free: &[true; 10],
            elements: &elements,
        };
        let mut tally = RecoveryTally::new("by hand");
        tally.add(window, &[0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.9, 0.6, 0.0, 0.0]);
        let found = tally.finish();
        // Means 0.9 (+), 0.5 (-), 0.3 (+): (1 + 2/3) / 2. By sums the long one, 2, would come first.
        assert_eq!(
            found.element_average_precision,
            Some((1.0 + 2.0 / 3.0) / 2.0)
        );
        // 0.1 of 10 bases is base 6, the whole of the second element; 0.2 adds base 7, half of the third.
        let at = |index: usize| {
            (
                found.at[index].element_precision,
                found.at[index].element_recall,
            )
        };
        assert_eq!(at(1), (Some(1.0), Some(0.5)));
        assert_eq!(at(2), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn tally_without_windows_finds_nothing() {
        let found = RecoveryTally::new("empty").finish();
        assert_eq!(found.base_average_precision, None);
        assert_eq!(found.element_average_precision, None);
        assert_eq!(found.at[0].element_recall, None);
    }
}
