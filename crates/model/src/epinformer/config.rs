//! The settings of EPInformer.

use serde::{Deserialize, Serialize};

use super::{LOST, POOLED, REDUCED};
use crate::config::positive;

/// Settings of an EPInformer regressor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpinformerConfig {
    /// Width of the elements' vectors, a multiple of 32; 64. Released name: `out_dim`.
    pub d_model: usize,
    /// Attention layers; 3. Released name: `n_encoder`.
    pub n_layer: usize,
    /// Attention heads; 4. Released name: `head`.
    pub n_heads: usize,
    /// Candidate enhancers per gene at most, nearest first; 60. Released name: `n_enhancers`.
    pub n_candidates: usize,
    /// Bases of the promoter and of a candidate, a multiple of 16 and at least 400; 2,000.
    pub element_length: usize,
    /// Width of the hidden layers in the expression head; 128.
    pub d_head: usize,
    /// Central bases of the data's promoter, which this network does not need, in bp; 2,000.
    pub promoter: usize,
    /// Signal tracks per base, which the data must have and this network ignores; 3.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9.
    pub n_features: usize,
}

impl EpinformerConfig {
    /// The published EPInformer baseline.
    pub fn published() -> Self {
        Self {
            d_model: 64,
            n_layer: 3,
            n_heads: 4,
            n_candidates: 60,
            element_length: 2000,
            d_head: 128,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
        }
    }

    /// Positions of an element behind the convolutions.
    pub(super) fn n_positions(&self) -> usize {
        self.element_length / POOLED - LOST
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (field, value) in [
            ("n_layer", self.n_layer),
            ("n_heads", self.n_heads),
            ("d_head", self.d_head),
            ("promoter", self.promoter),
        ] {
            positive(&mut problems, field, value);
        }
        let narrow = REDUCED[3];
        if self.d_model == 0 || !self.d_model.is_multiple_of(narrow) {
            problems.push(format!(
                "d_model is {}; it must be a multiple of {narrow}",
                self.d_model
            ));
        } else if self.n_heads != 0 && !self.d_model.is_multiple_of(self.n_heads) {
            problems.push(format!(
                "n_heads is {}, which does not divide d_model ({})",
                self.n_heads, self.d_model
            ));
        }
        if !self.element_length.is_multiple_of(POOLED) || self.element_length / POOLED <= LOST {
            problems.push(format!(
                "element_length is {}; it must be a multiple of {POOLED} and at least {}",
                self.element_length,
                POOLED * (LOST + 1)
            ));
        }
        problems
    }
}
