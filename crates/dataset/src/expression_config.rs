//! Where the target is and what is done to it.

use std::path::PathBuf;

use genome::{TSS_SIGNAL_BASES, TrackKind};
use serde::{Deserialize, Serialize};

/// Where the target is and what is done to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpressionConfig {
    /// TSV with a header; or a track of transcript counts, CAGE or RNA-seq, by the ending of its
    /// name (`.bw`, `.bigwig`, or one that [`TrackKind::of`] knows), whose sum around each start
    /// site is the expression, see [`genome::TssSignal::read`].
    pub path: PathBuf,
    /// The track of genes on the minus strand, when `path` is the one of the plus strand.
    /// Default: none, `path` holds both.
    #[serde(default)]
    pub minus: Option<PathBuf>,
    /// Bases around the start site that are summed, even. Default and published: 384, three bins
    /// of 128 (reference name `<cell>_CAGE_128*3_sum`).
    #[serde(default = "default_tss_bases")]
    pub tss_bases: u64,
    /// Column with the gene's name. Default: `gene`.
    #[serde(default = "default_expression_key")]
    pub key: String,
    /// What `key` holds, in a table. Default: `symbol`.
    #[serde(default)]
    pub key_holds: GeneKey,
    /// Column with the value, for example `tpm`; for a track, what it counts, for example `cage`.
    pub value: String,
    /// Default and published: `log10p1`.
    #[serde(default)]
    pub transform: ExpressionTransform,
}

fn default_tss_bases() -> u64 {
    TSS_SIGNAL_BASES
}

impl ExpressionConfig {
    /// Whether the expression is read from a track.
    pub fn is_track(&self) -> bool {
        let ending = self
            .path
            .extension()
            .map(|ending| ending.to_ascii_lowercase());
        ending.is_some_and(|ending| ending == "bw" || ending == "bigwig")
            || TrackKind::of(&self.path) != TrackKind::BigWig
    }

    /// What is predicted, in words: `log10(TPM + 1)`; names of small letters alone are abbreviations.
    pub fn target_name(&self) -> String {
        let value = match self.value.bytes().all(|byte| byte.is_ascii_lowercase()) {
            true => self.value.to_uppercase(),
            false => self.value.clone(),
        };
        match self.transform {
            ExpressionTransform::Log10p1 => format!("log10({value} + 1)"),
            ExpressionTransform::None => self.value.clone(),
        }
    }

    /// Adds what contradicts itself.
    pub(crate) fn validate(&self, problems: &mut Vec<String>) {
        if self.minus.is_some() && !self.is_track() {
            problems.push(
                "expression has a track of the minus strand, but its path is a table; give the \
                 track of the plus strand as path"
                    .into(),
            );
        }
        if self.tss_bases == 0 || !self.tss_bases.is_multiple_of(2) {
            problems.push(format!(
                "expression tss_bases {} must be even and at least 2",
                self.tss_bases
            ));
        }
    }
}

fn default_expression_key() -> String {
    "gene".to_string()
}

/// How a table names a gene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneKey {
    /// By [`genome::Gene::symbol`], which is unique.
    #[default]
    Symbol,
    /// By [`genome::Gene::gene_id`].
    GeneId,
}

/// What is done to a measured expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpressionTransform {
    /// `log10(value + 1)`.
    #[default]
    Log10p1,
    /// The value itself.
    None,
}

impl ExpressionTransform {
    /// The target of a measured value (not negative).
    pub fn apply(self, value: f64) -> f32 {
        match self {
            ExpressionTransform::Log10p1 => (value + 1.0).log10() as f32,
            ExpressionTransform::None => value as f32,
        }
    }
}

/// What happens to a gene whose expression was not measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingExpression {
    /// It is left out, counted and listed.
    #[default]
    Skip,
    /// It is an error.
    Error,
    /// It is kept without a target, for prediction.
    Keep,
}
