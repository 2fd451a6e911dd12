//! One gene's window: what is planted where, and the expression that follows.

use std::fmt;
use std::ops::Range;

use genome::Strand;
use rand_chacha::ChaCha8Rng;

use super::config::SimulationConfig;
use super::draw::{base, between, generator, normal, poisson, unit};

/// What an element has of the cues motif, DNase, H3K27ac and contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlantedClass {
    /// All four: it decides expression.
    Active,
    /// No H3K27ac.
    OpenInactive,
    /// No contact with the start site.
    OutOfContact,
    /// The motif alone.
    SequenceOnly,
    /// No motif.
    SignalOnly,
}

impl PlantedClass {
    /// Every class.
    pub const ALL: [Self; 5] = [
        Self::Active,
        Self::OpenInactive,
        Self::OutOfContact,
        Self::SequenceOnly,
        Self::SignalOnly,
    ];

    /// The name in the truth file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::OpenInactive => "open_inactive",
            Self::OutOfContact => "out_of_contact",
            Self::SequenceOnly => "sequence_only",
            Self::SignalOnly => "signal_only",
        }
    }

    fn has_motif(self) -> bool {
        self != Self::SignalOnly
    }

    fn has_dnase(self) -> bool {
        self != Self::SequenceOnly
    }

    fn has_h3k27ac(self) -> bool {
        matches!(self, Self::Active | Self::OutOfContact | Self::SignalOnly)
    }

    fn n_per_gene(self, config: &SimulationConfig) -> [u64; 2] {
        let counts = &config.elements;
        match self {
            Self::Active => counts.active,
            Self::OpenInactive => counts.open_inactive,
            Self::OutOfContact => counts.out_of_contact,
            Self::SequenceOnly => counts.sequence_only,
            Self::SignalOnly => counts.signal_only,
        }
    }
}

impl fmt::Display for PlantedClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An element; positions are 0-based from the window's first base.
#[derive(Debug, Clone, PartialEq)]
pub struct PlantedElement {
    /// Its class.
    pub class: PlantedClass,
    /// Its bases.
    pub bases: Range<u64>,
    /// Contact with the start site, as a share of full contact.
    pub contact: f64,
    /// What it adds to `log10(TPM + 1)`.
    pub effect: f64,
}

/// Height of a track around an element, as a share of the peak: 1 on it, falling to 0 over this many bases beside it.
const DNASE_FLANK: f64 = 8.0;
/// H3K27ac marks the nucleosomes beside an element too.
const H3K27AC_FLANK: f64 = 24.0;

/// Bases per value of a track.
pub(super) const TRACK_STEP: u64 = 8;

/// A gene, its window and everything in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Locus {
    pub(super) strand: Strand,
    /// Left to right.
    pub(super) elements: Vec<PlantedElement>,
    /// The window's bases.
    pub(super) bases: Vec<u8>,
    /// DNase of each step.
    pub(super) dnase: Vec<f64>,
    /// H3K27ac of each step.
    pub(super) h3k27ac: Vec<f64>,
    /// Contacts of the start site's bin with each bin of the window.
    pub(super) contacts: Vec<u32>,
    /// `log10(TPM + 1)`.
    pub(super) expression: f64,
    /// Lengths of 5' UTR, CDS, 3' UTR and introns, and exon junctions; nothing depends on them.
    pub(super) mrna: MrnaDraw,
}

/// Properties of a messenger RNA that have no part in the expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MrnaDraw {
    pub(super) lengths: [u64; 4],
    pub(super) gc: [f64; 3],
    pub(super) n_junctions: u64,
}

impl Locus {
    /// Draws gene `index` of a simulation.
    pub(super) fn draw(config: &SimulationConfig, index: usize) -> Self {
        let rng = &mut generator(config.seed, index);
        let strand = match unit(rng) < 0.5 {
            true => Strand::Forward,
            false => Strand::Reverse,
        };
        let elements = plant(config, rng);
        let levels = contact_levels(config, &elements, rng);
        let bases = draw_bases(config, &elements, rng);
        let track = |has: fn(PlantedClass) -> bool, flank, height, rng: &mut ChaCha8Rng| {
            draw_track(config, &elements, has, flank, height, rng)
        };
        let dnase = track(
            PlantedClass::has_dnase,
            DNASE_FLANK,
            config.dnase_height,
            rng,
        );
        let h3k27ac = track(
            PlantedClass::has_h3k27ac,
            H3K27AC_FLANK,
            config.h3k27ac_height,
            rng,
        );
        let contacts = levels
            .iter()
            .map(|level| poisson(rng, config.contact_count * level))
            .collect();
        let effects: f64 = elements.iter().map(|element| element.effect).sum();
        let noise = config.expression_noise * normal(rng);
        let mut length = |mean: f64| (mean * (0.5 * normal(rng)).exp()).ceil() as u64;
        let lengths = [
            length(200.0),
            length(1500.0),
            length(1000.0),
            length(20_000.0),
        ];
        let mrna = MrnaDraw {
            lengths,
            gc: [(); 3].map(|()| 0.4 + 0.2 * unit(rng)),
            n_junctions: between(rng, 1, 12),
        };
        Self {
            strand,
            elements,
            bases,
            dnase,
            h3k27ac,
            contacts,
            expression: (config.baseline + effects + noise).max(0.0),
            mrna,
        }
    }
}

/// Chooses bins outside the promoter and a place in each.
fn plant(config: &SimulationConfig, rng: &mut ChaCha8Rng) -> Vec<PlantedElement> {
    let n_bins = config.length / config.bin;
    let promoter = config.promoter / config.bin;
    let first = (n_bins - promoter) / 2;
    let mut free: Vec<u64> = (0..first).chain(first + promoter..n_bins).collect();
    let mut elements = Vec::new();
    for class in PlantedClass::ALL {
        let [low, high] = class.n_per_gene(config);
        for _ in 0..between(rng, low, high) {
            let bin = free.swap_remove(between(rng, 0, free.len() as u64 - 1) as usize);
            let start = bin * config.bin + between(rng, 0, config.bin - config.element_length);
            let contact = match class {
                PlantedClass::Active => 1.0,
                PlantedClass::OutOfContact => config.no_contact,
                _ => any_contact(config, rng),
            };
            elements.push(PlantedElement {
                class,
                bases: start..start + config.element_length,
                contact,
                effect: match class {
                    PlantedClass::Active | PlantedClass::OutOfContact => config.effect * contact,
                    _ => 0.0,
                },
            });
        }
    }
    elements.sort_by_key(|element| element.bases.start);
    elements
}

/// Contact of a bin that no active element lies in.
fn any_contact(config: &SimulationConfig, rng: &mut ChaCha8Rng) -> f64 {
    if unit(rng) < config.in_contact {
        1.0
    } else {
        config.no_contact
    }
}

/// Contact of every bin, as a share of full contact; the start site's own and its promoter's are full.
fn contact_levels(
    config: &SimulationConfig,
    elements: &[PlantedElement],
    rng: &mut ChaCha8Rng,
) -> Vec<f64> {
    let half = config.length / 2;
    let promoter = half - config.promoter / 2..half + config.promoter / 2;
    (0..config.length / config.bin)
        .map(|bin| {
            let own = |element: &&PlantedElement| element.bases.start / config.bin == bin;
            match elements.iter().find(own) {
                Some(element) => element.contact,
                None if promoter.contains(&(bin * config.bin)) => 1.0,
                None => any_contact(config, rng),
            }
        })
        .collect()
}

/// Random bases, with copies of the motif in even steps where an element has a sequence cue.
fn draw_bases(
    config: &SimulationConfig,
    elements: &[PlantedElement],
    rng: &mut ChaCha8Rng,
) -> Vec<u8> {
    let mut bases: Vec<u8> = (0..config.length).map(|_| base(rng)).collect();
    let motif = config.motif.as_bytes();
    let step = config.element_length / config.motif_copies;
    for element in elements.iter().filter(|element| element.class.has_motif()) {
        for copy in 0..config.motif_copies {
            let start = (element.bases.start + copy * step) as usize;
            let reverse = unit(rng) < config.motif_reverse;
            for offset in 0..motif.len() {
                let planted = match reverse {
                    true => complement(motif[motif.len() - 1 - offset]),
                    false => motif[offset],
                };
                let mutated = unit(rng) < config.motif_mutation;
                bases[start + offset] = if mutated { base(rng) } else { planted };
            }
        }
    }
    bases
}

fn complement(base: u8) -> u8 {
    match base {
        b'A' => b'T',
        b'C' => b'G',
        b'G' => b'C',
        _ => b'A',
    }
}

/// Peaks of the elements that have this cue and of the promoter, each of its own height, over background noise.
fn draw_track(
    config: &SimulationConfig,
    elements: &[PlantedElement],
    has_cue: fn(PlantedClass) -> bool,
    flank: f64,
    mean_height: f64,
    rng: &mut ChaCha8Rng,
) -> Vec<f64> {
    let half = config.length / 2;
    let promoter = half - config.bin..half + config.bin;
    let mut height = |bases: Range<u64>| {
        let spread = config.height_spread;
        // The mean of the exponential is 1 with this shift.
        let height = mean_height * (spread * normal(rng) - spread * spread / 2.0).exp();
        (bases, height)
    };
    let mut peaks = vec![height(promoter)];
    for element in elements.iter().filter(|element| has_cue(element.class)) {
        peaks.push(height(element.bases.clone()));
    }
    (0..config.length)
        .step_by(TRACK_STEP as usize)
        .map(|start| {
            let middle = start as f64 + TRACK_STEP as f64 / 2.0;
            let peak = peaks.iter().map(|(bases, height)| {
                let outside = (bases.start as f64 - middle).max(middle - bases.end as f64);
                height * (1.0 - outside.max(0.0) / flank).max(0.0)
            });
            let noise = config.signal_noise * mean_height * normal(rng);
            peak.fold(0.0, f64::max) + noise.abs()
        })
        .collect()
}
