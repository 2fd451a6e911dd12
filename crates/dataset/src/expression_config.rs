//! Where the target is and what is done to it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the target is and what is done to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpressionConfig {
    /// TSV with a header.
    pub path: PathBuf,
    /// Column with the gene's name. Default: `gene`.
    #[serde(default = "default_expression_key")]
    pub key: String,
    /// What `key` holds. Default: `symbol`.
    #[serde(default)]
    pub key_holds: GeneKey,
    /// Column with the value, for example `tpm`.
    pub value: String,
    /// Default and published: `log10p1`.
    #[serde(default)]
    pub transform: ExpressionTransform,
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
