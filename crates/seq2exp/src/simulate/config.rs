//! The settings of a simulation.

use serde::{Deserialize, Serialize};

/// What is simulated; every field has a default, so that an empty file is a complete one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationConfig {
    /// Determines every byte of every file; default 1.
    pub seed: u64,
    /// Genes; 70 % are trained on, 15 % validated, 15 % tested, each on a chromosome of its own; default 600.
    pub n_genes: usize,
    /// Window of a gene in bp, a multiple of twice `bin`; windows do not overlap; default 1,024.
    pub length: u64,
    /// Central bases of a window without planted elements, in bp, a multiple of twice `bin`; default 128.
    pub promoter: u64,
    /// Bases per bin of the contact map; each bin outside promoters holds at most one element; default 64.
    pub bin: u64,
    /// Length of an element in bp, at most `bin`; default 48.
    pub element_length: u64,
    /// Fewest and most elements of each class per gene.
    pub elements: ElementCounts,
    /// Bases of the motif that a sequence cue is made of; default `TGACGTCATCAG`.
    pub motif: String,
    /// Copies of the motif in an element with a sequence cue; default 3.
    pub motif_copies: u64,
    /// Share of the copies that stand on the reverse strand; default 0.
    pub motif_reverse: f64,
    /// Share of a copy's bases that are drawn anew; default 0.05.
    pub motif_mutation: f64,
    /// Mean height of a DNase peak, in reads per million; default 1.
    pub dnase_height: f64,
    /// Mean height of an H3K27ac peak, in reads per million; default 3.
    pub h3k27ac_height: f64,
    /// Standard deviation of the natural logarithm of a peak's height; default 0.4.
    pub height_spread: f64,
    /// Standard deviation of the tracks' background, as a share of the mean peak height; default 0.1.
    pub signal_noise: f64,
    /// Expected contacts of a start site with a bin in contact; default 40.
    pub contact_count: f64,
    /// Expected contacts with a bin out of contact, as a share of `contact_count`; default 0.1.
    pub no_contact: f64,
    /// Share of the bins without active elements that are in contact; default 0.5.
    pub in_contact: f64,
    /// `log10(TPM + 1)` of a gene without active elements; default 0.5.
    pub baseline: f64,
    /// What one active element in full contact adds to `log10(TPM + 1)`; default 0.4.
    pub effect: f64,
    /// Standard deviation of what nothing explains, in `log10(TPM + 1)`; default 0.1.
    pub expression_noise: f64,
}

/// Most bases of a simulated genome: more than a human one has, and the most that its files can name.
const MOST_BASES: u64 = u32::MAX as u64;

/// Fewest and most elements per gene; every number between is equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ElementCounts {
    /// Motif, DNase, H3K27ac and contact: what expression depends on; default 0 to 4.
    pub active: [u64; 2],
    /// Motif and DNase without H3K27ac; default 1 to 2.
    pub open_inactive: [u64; 2],
    /// Motif, DNase and H3K27ac out of contact; default 0 to 2.
    pub out_of_contact: [u64; 2],
    /// Motif alone; default 1 to 2.
    pub sequence_only: [u64; 2],
    /// DNase and H3K27ac without motif; default 2 to 4.
    pub signal_only: [u64; 2],
}

impl Default for ElementCounts {
    fn default() -> Self {
        Self {
            active: [0, 4],
            open_inactive: [1, 2],
            out_of_contact: [0, 2],
            sequence_only: [1, 2],
            signal_only: [2, 4],
        }
    }
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            n_genes: 600,
            length: 1024,
            promoter: 128,
            bin: 64,
            element_length: 48,
            elements: ElementCounts::default(),
            motif: "TGACGTCATCAG".to_string(),
            motif_copies: 3,
            motif_reverse: 0.0,
            motif_mutation: 0.05,
            dnase_height: 1.0,
            h3k27ac_height: 3.0,
            height_spread: 0.4,
            signal_noise: 0.1,
            contact_count: 40.0,
            no_contact: 0.1,
            in_contact: 0.5,
            baseline: 0.5,
            effect: 0.4,
            expression_noise: 0.1,
        }
    }
}

impl SimulationConfig {
    /// Bins of a window outside the promoter.
    pub fn n_free_bins(&self) -> u64 {
        self.length.saturating_sub(self.promoter) / self.bin.max(1)
    }

    /// Every problem of the settings, empty when they are sound.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |is_sound: bool, problem: String| {
            if !is_sound {
                problems.push(problem);
            }
        };
        require(
            self.n_genes >= 7,
            format!(
                "n_genes is {}; 7 are needed for training, validation and test genes",
                self.n_genes
            ),
        );
        let n_bases = (self.n_genes as u64).checked_mul(self.length);
        require(
            n_bases.is_some_and(|n_bases| n_bases <= MOST_BASES),
            format!(
                "n_genes {} times length {} is a genome of more than {MOST_BASES} bases; lower one of the two",
                self.n_genes, self.length
            ),
        );
        require(self.bin > 0, "bin is 0; it must be at least 1".to_string());
        let twice_bin = self.bin.saturating_mul(2);
        for (name, value) in [("length", self.length), ("promoter", self.promoter)] {
            require(
                value > 0 && self.bin > 0 && value.is_multiple_of(twice_bin),
                format!("{name} is {value}; it must be a multiple of twice bin, {twice_bin}"),
            );
        }
        require(
            self.promoter < self.length,
            format!(
                "promoter is {}, which leaves nothing of length {}",
                self.promoter, self.length
            ),
        );
        require(
            self.element_length > 0 && self.element_length <= self.bin,
            format!(
                "element_length is {}; it must be 1 to bin, {}",
                self.element_length, self.bin
            ),
        );
        require(
            !self.motif.is_empty() && self.motif.bytes().all(|base| b"ACGT".contains(&base)),
            format!("motif {:?} must be letters A, C, G and T", self.motif),
        );
        let motif_bases = self.motif_copies.saturating_mul(self.motif.len() as u64);
        require(
            self.motif_copies > 0 && motif_bases <= self.element_length,
            format!(
                "motif_copies is {}; at least one, and all of them ({motif_bases} bases) must fit element_length {}",
                self.motif_copies, self.element_length
            ),
        );
        let counts = self.elements;
        let mut most = 0_u64;
        for (name, [low, high]) in [
            ("active", counts.active),
            ("open_inactive", counts.open_inactive),
            ("out_of_contact", counts.out_of_contact),
            ("sequence_only", counts.sequence_only),
            ("signal_only", counts.signal_only),
        ] {
            require(
                low <= high,
                format!("elements.{name} is [{low}, {high}]; write the fewest, then the most"),
            );
            most = most.saturating_add(high);
        }
        require(
            most <= self.n_free_bins(),
            format!(
                "a gene can have {most} elements, but only {} bins outside the promoter",
                self.n_free_bins()
            ),
        );
        for (name, value) in [
            ("motif_reverse", self.motif_reverse),
            ("motif_mutation", self.motif_mutation),
            ("no_contact", self.no_contact),
            ("in_contact", self.in_contact),
        ] {
            require(
                (0.0..=1.0).contains(&value),
                format!("{name} is {value}; it must lie in [0, 1]"),
            );
        }
        for (name, value) in [
            ("dnase_height", self.dnase_height),
            ("h3k27ac_height", self.h3k27ac_height),
            ("contact_count", self.contact_count),
        ] {
            require(
                (1e-3..=1e4).contains(&value),
                format!("{name} is {value}; it must lie in [0.001, 10000]"),
            );
        }
        for (name, value) in [
            ("height_spread", self.height_spread),
            ("signal_noise", self.signal_noise),
            ("baseline", self.baseline),
            ("effect", self.effect),
            ("expression_noise", self.expression_noise),
        ] {
            require(
                (0.0..=3.0).contains(&value),
                format!("{name} is {value}; it must lie in [0, 3]"),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_survive_toml() {
        let config = SimulationConfig::default();
        assert_eq!(config.validate(), Vec::<String>::new());
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<SimulationConfig>(&text).unwrap(), config);
        assert_eq!(toml::from_str::<SimulationConfig>("").unwrap(), config);
    }

    #[test]
    fn genome_larger_than_any_is_refused() {
        for (n_genes, length) in [
            (usize::MAX / 2, 1024),
            (600, 1 << 60),
            (1_000_000_000, 1024),
        ] {
            let config = SimulationConfig {
                n_genes,
                length,
                ..SimulationConfig::default()
            };
            let problems = config.validate();
            assert!(
                problems.len() == 1 && problems[0].contains("4294967295 bases"),
                "{problems:?}"
            );
        }
        let config = SimulationConfig {
            bin: u64::MAX / 2 + 1,
            ..SimulationConfig::default()
        };
        assert!(!config.validate().is_empty());
    }

    #[test]
    fn every_problem_is_named() {
        let config = SimulationConfig {
            n_genes: 2,
            length: 2000,
            promoter: 128,
            element_length: 200,
            motif: "TGAN".to_string(),
            motif_copies: 0,
            elements: ElementCounts {
                active: [3, 1],
                signal_only: [0, 40],
                ..ElementCounts::default()
            },
            motif_mutation: 2.0,
            contact_count: 0.0,
            effect: f64::NAN,
            ..SimulationConfig::default()
        };
        let problems = config.validate();
        for word in [
            "n_genes",
            "length is 2000",
            "element_length",
            "motif \"TGAN\"",
            "motif_copies",
            "elements.active",
            "a gene can have",
            "motif_mutation",
            "contact_count",
            "effect",
        ] {
            assert!(
                problems.iter().any(|problem| problem.starts_with(word)),
                "{word}: {problems:?}"
            );
        }
    }
}
