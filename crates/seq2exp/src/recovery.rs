//! How well a score per base finds elements that are known.
//!
//! Candidates are all known elements, those that decide expression being the ones to find; so a score that only finds
//! open chromatin, or only the motif, ranks the others among them. Promoters are left out: their mask is given.

mod known;

use serde::Serialize;

pub use self::known::{KnownElement, KnownElements, positions};

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
    /// What the highest scores of each window hold.
    pub at: Vec<AtSparsity>,
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
        let mut free: Vec<usize> = (0..scores.len()).filter(|&i| window.is_free[i]).collect();
        self.bases
            .extend(free.iter().map(|&i| (scores[i], is_active[i])));
        free.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
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
            score: self.score,
        }
    }
}

/// The area under the steps of precision over recall, from the highest score down; equal scores are one step. None
/// when nothing is to be found.
///
/// # Reference
/// `sklearn.metrics.average_precision_score`
pub fn average_precision(scored: &mut [(f32, bool)]) -> Option<f64> {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n_positive = scored.iter().filter(|(_, positive)| *positive).count();
    if n_positive == 0 {
        return None;
    }
    let (mut n_seen, mut n_found, mut area) = (0, 0, 0.0);
    for step in scored.chunk_by(|a, b| a.0 == b.0) {
        let found = step.iter().filter(|(_, positive)| *positive).count();
        n_seen += step.len();
        n_found += found;
        area += found as f64 * n_found as f64 / n_seen as f64;
    }
    Some(area / n_positive as f64)
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
    fn tally_without_windows_finds_nothing() {
        let found = RecoveryTally::new("empty").finish();
        assert_eq!(found.base_average_precision, None);
        assert_eq!(found.element_average_precision, None);
        assert_eq!(found.at[0].element_recall, None);
    }
}
