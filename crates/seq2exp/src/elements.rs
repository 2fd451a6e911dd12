//! Regulatory elements: runs of a gene's mask in genome coordinates.

use std::fmt;
use std::ops::Range;

use dataset::{RegionCode, Window};
use genome::{Interval, Strand};
use serde::{Deserialize, Serialize};

use crate::discover::{DiscoverConfig, PromoterElements, Selection};
use crate::error::RunError;

/// Why the bases of an element carry a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElementClass {
    /// The network chose them.
    Element,
    /// The central promoter, whose mask is always 1.
    Promoter,
    /// A region that the user's `include` file fixes to 1.
    Included,
}

impl ElementClass {
    /// `element`, `promoter` or `included`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Element => "element",
            Self::Promoter => "promoter",
            Self::Included => "included",
        }
    }
}

impl fmt::Display for ElementClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One run of the mask, with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Where it lies, inside both the window and the chromosome.
    pub interval: Interval,
    /// Why its bases carry a mask.
    pub class: ElementClass,
    /// Share of its bases that were selected themselves, in [0, 1]; the others lie in gaps between
    /// runs that were merged.
    pub selected: f64,
    /// Mean mask over its bases, in [0, 1].
    pub mean: f64,
    /// Largest mask of its bases, in [0, 1].
    pub max: f64,
    /// Sum of the mask over its bases: the expected number of regulatory bases.
    pub area: f64,
    /// The first base that carries the largest mask, 0-based.
    pub summit: u64,
    /// Bases from the TSS to the nearest base of the element: 0 when it holds the TSS, negative
    /// upstream and positive downstream as the gene is read.
    pub distance: i64,
    /// Mean value of each track over its bases, in track order; empty without tracks.
    pub track_means: Vec<f64>,
}

/// The mask of one gene at its place in the genome.
///
/// Holds one finite value in [0, 1] and one [`RegionCode`] per position of the window.
#[derive(Debug, Clone)]
pub struct MaskedWindow<'a> {
    symbol: &'a str,
    window: &'a Window,
    strand: Strand,
    promoter: Range<usize>,
    regions: &'a [RegionCode],
    mask: &'a [f32],
    tracks: &'a [f32],
    n_tracks: usize,
}

impl<'a> MaskedWindow<'a> {
    /// Joins the mask of a gene with its window.
    ///
    /// # Shapes
    /// - `regions`, `mask`: `[length]` of `window`
    ///
    /// # Units
    /// - `promoter`: length in bases of the central stretch whose mask is always 1
    ///
    /// # Errors
    /// [`RunError::MaskLength`] when `mask` or `regions` has another length than the window,
    /// [`RunError::MaskValue`] for a value that is NaN or outside [0, 1].
    pub fn try_new(
        symbol: &'a str,
        window: &'a Window,
        strand: Strand,
        promoter: u64,
        regions: &'a [RegionCode],
        mask: &'a [f32],
    ) -> Result<Self, RunError> {
        let length = window.length();
        for found in [mask.len(), regions.len()] {
            if found as u64 != length {
                return Err(RunError::MaskLength {
                    gene: symbol.to_string(),
                    expected: length,
                    found: found as u64,
                });
            }
        }
        if let Some(offset) = mask.iter().position(|value| !(0.0..=1.0).contains(value)) {
            return Err(RunError::MaskValue {
                gene: symbol.to_string(),
                chrom: window.chrom().to_string(),
                position: window.start() + offset as i64 + 1,
                value: mask[offset],
            });
        }
        let half = promoter.min(length) / 2;
        let first = (length / 2).saturating_sub(half);
        Ok(Self {
            symbol,
            window,
            strand,
            promoter: first as usize..(first + promoter.min(length)).min(length) as usize,
            regions,
            mask,
            tracks: &[],
            n_tracks: 0,
        })
    }

    /// Adds the gene's tracks, so that elements carry their mean values.
    ///
    /// # Shapes
    /// - `tracks`: `[length, n_tracks]`, row-major
    ///
    /// # Errors
    /// [`RunError::MaskLength`] when `tracks` does not hold `length * n_tracks` values.
    pub fn with_tracks(mut self, tracks: &'a [f32], n_tracks: usize) -> Result<Self, RunError> {
        let expected = self.window.length() * n_tracks as u64;
        if tracks.len() as u64 != expected {
            return Err(RunError::MaskLength {
                gene: self.symbol.to_string(),
                expected,
                found: tracks.len() as u64,
            });
        }
        self.tracks = tracks;
        self.n_tracks = n_tracks;
        Ok(self)
    }

    /// The gene.
    pub fn symbol(&self) -> &'a str {
        self.symbol
    }

    /// Where the mask lies.
    pub fn window(&self) -> &'a Window {
        self.window
    }

    /// The strand the gene is read from.
    pub fn strand(&self) -> Strand {
        self.strand
    }

    /// The mask, `[length]`.
    pub fn mask(&self) -> &'a [f32] {
        self.mask
    }

    /// Mean mask over all positions, promoter and padding included (the published mask ratio).
    pub fn mask_ratio(&self) -> f64 {
        mean(self.mask.iter().copied())
    }

    /// Mean mask over the positions the network decides: on the chromosome, neither promoter nor
    /// included nor excluded. NaN when there is none.
    pub fn chosen_ratio(&self) -> f64 {
        mean(self.chosen())
    }

    /// Share of the positions the network decides that lie in `elements` of its choice. NaN when
    /// the network decides none.
    pub fn element_ratio(&self, elements: &[Element]) -> f64 {
        let covered: u64 = elements
            .iter()
            .filter(|element| element.class == ElementClass::Element)
            .map(|element| element.interval.len())
            .sum();
        covered as f64 / self.chosen().count() as f64
    }

    /// Mask values of the positions the network decides, in order.
    fn chosen(&self) -> impl Iterator<Item = f32> + '_ {
        self.inside()
            .filter(|&offset| self.class_at(offset) == Some(ElementClass::Element))
            .map(|offset| self.mask[offset])
    }

    /// Offsets on the chromosome.
    fn inside(&self) -> Range<usize> {
        let left = self.window.left_padding() as usize;
        left..left + self.window.inside().len() as usize
    }

    /// The class an element at this offset has; nothing where the mask is excluded.
    fn class_at(&self, offset: usize) -> Option<ElementClass> {
        if self.promoter.contains(&offset) {
            return Some(ElementClass::Promoter);
        }
        match self.regions[offset] {
            RegionCode::Keep => Some(ElementClass::Element),
            RegionCode::One => Some(ElementClass::Included),
            RegionCode::Zero => None,
        }
    }
}

fn mean(values: impl Iterator<Item = f32>) -> f64 {
    let (mut sum, mut n_values) = (0.0, 0_u64);
    for value in values {
        sum += f64::from(value);
        n_values += 1;
    }
    sum / n_values as f64
}

/// The smallest mask value that is selected, or nothing when no value is.
///
/// For [`Selection::TopFraction`] it is the value that the fraction of the positions which the
/// network decides reaches; positions equal to it are taken too. A position at the floor, the
/// smallest value of these positions, is never selected: a mask that is the same
/// everywhere points nowhere, and a hard mask selects its ones, not its zeros.
pub fn selection_limit(gene: &MaskedWindow, selection: Selection) -> Option<f32> {
    let fraction = match selection {
        Selection::Threshold(threshold) => return Some(threshold as f32),
        Selection::TopFraction(fraction) => fraction,
    };
    let mut values: Vec<f32> = gene.chosen().collect();
    let floor = values.iter().copied().reduce(f32::min)?;
    let n_wanted = (fraction * values.len() as f64).ceil() as usize;
    let index = n_wanted.clamp(1, values.len()) - 1;
    let (_, &mut limit, _) = values.select_nth_unstable_by(index, |a, b| b.total_cmp(a));
    if limit > floor {
        return Some(limit);
    }
    values.into_iter().filter(|&v| v > floor).reduce(f32::min)
}

/// Finds the elements of one gene, sorted by position and disjoint.
///
/// Positions whose mask reaches the [`selection_limit`] form runs. Two runs closer than
/// `merge_within` become one when the network decides every base between them; then runs shorter
/// than `min_length` are dropped. The promoter and included regions are elements of their own
/// class whatever the limit, are never merged with others and never dropped for their length.
/// No element reaches over an end of the chromosome or an excluded base.
pub fn find_elements(gene: &MaskedWindow, config: &DiscoverConfig) -> Vec<Element> {
    let limit = selection_limit(gene, config.select);
    let mut runs: Vec<(ElementClass, Range<usize>)> = Vec::new();
    for offset in gene.inside() {
        let Some(class) = gene.class_at(offset) else {
            continue;
        };
        let selected =
            class != ElementClass::Element || limit.is_some_and(|limit| gene.mask[offset] >= limit);
        if !selected {
            continue;
        }
        if let Some((last_class, last)) = runs.last_mut()
            && *last_class == class
            && (last.end == offset
                || ((offset - last.end) as u64) < config.merge_within
                    && (last.end..offset).all(|between| gene.class_at(between) == Some(class)))
        {
            last.end = offset + 1;
        } else {
            runs.push((class, offset..offset + 1));
        }
    }
    runs.into_iter()
        .filter(|(class, run)| match class {
            ElementClass::Element => run.len() as u64 >= config.min_length,
            ElementClass::Promoter => config.promoter == PromoterElements::Report,
            ElementClass::Included => true,
        })
        .filter_map(|(class, run)| describe(gene, class, run, limit))
        .collect()
}

/// Measures one run; nothing for an empty one.
fn describe(
    gene: &MaskedWindow,
    class: ElementClass,
    run: Range<usize>,
    limit: Option<f32>,
) -> Option<Element> {
    let start = gene.window.position_at(run.start)?;
    let interval = Interval::try_new(
        gene.window.inside().shared_chrom(),
        start,
        start + run.len() as u64,
    )
    .ok()?;
    let mask = gene.mask.get(run.clone())?;
    let (summit, max) = mask
        .iter()
        .enumerate()
        .fold((0, f32::MIN), |best, (index, &value)| {
            if value > best.1 { (index, value) } else { best }
        });
    let selected = match class {
        ElementClass::Element => mean(mask.iter().map(|&value| {
            let is_selected = limit.is_some_and(|limit| value >= limit);
            f32::from(u8::from(is_selected))
        })),
        ElementClass::Promoter | ElementClass::Included => 1.0,
    };
    let area: f64 = mask.iter().copied().map(f64::from).sum();
    let track_means = (0..gene.n_tracks)
        .map(|track| {
            mean(
                run.clone()
                    .map(|offset| gene.tracks[offset * gene.n_tracks + track]),
            )
        })
        .collect();
    Some(Element {
        distance: signed_distance(&interval, gene.window.tss(), gene.strand),
        class,
        selected,
        mean: area / run.len() as f64,
        max: f64::from(max),
        area,
        summit: start + summit as u64,
        track_means,
        interval,
    })
}

/// Bases from the TSS to the nearest base of `interval`, negative upstream of a gene on `strand`.
fn signed_distance(interval: &Interval, tss: u64, strand: Strand) -> i64 {
    let to_the_right = if interval.contains(tss) {
        0
    } else if interval.start() > tss {
        (interval.start() - tss) as i64
    } else {
        -((tss + 1 - interval.end()) as i64)
    };
    match strand {
        Strand::Forward => to_the_right,
        Strand::Reverse => -to_the_right,
    }
}

#[cfg(test)]
mod tests;
