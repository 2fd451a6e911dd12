//! The settings of Enformer.

use serde::{Deserialize, Serialize};

use crate::config::{NetworkSize, positive};

/// Bins that a window of another size has at least, if its length allows: attention over fewer has little to weigh.
const ENOUGH_BINS: usize = 128;

/// Settings of an Enformer regressor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnformerConfig {
    /// Width of the transformer; 1,536. Released name: `dim`.
    pub d_model: usize,
    /// Transformer blocks; 11. Released name: `depth`.
    pub n_layer: usize,
    /// Attention heads; 8. Released name: `heads`.
    pub n_heads: usize,
    /// Width of each head's keys; 64. Released name: `attn_dim_key`.
    pub d_key: usize,
    /// Convolutions, each of which halves the length; 7. Released name: `num_downsamples`.
    pub n_halvings: usize,
    /// What the widths of the convolutions are multiples of; 128. Released name: `dim_divisible_by`.
    pub width_multiple: usize,
    /// Central bases that are read, in bp; 196,608. Released name: `valid_len`.
    pub crop: usize,
    /// Central bins that are pooled; 896. Released name: `target_length`.
    pub n_bins: usize,
    /// Width of the hidden layers in the expression head; 128. Released name: `d_model`.
    pub d_head: usize,
    /// Share of values that a training pass sets to 0 after attention and feed-forward parts; 0.4. Released name:
    /// `dropout_rate`.
    pub dropout: f64,
    /// Central bases of the data's promoter, which this network does not need, in bp; 2,000.
    pub promoter: usize,
    /// Signal tracks per base, which the data must have and this network ignores; 3.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
}

impl EnformerConfig {
    /// The published Enformer baseline, for windows of 200,000 bp.
    pub fn published() -> Self {
        Self {
            d_model: 1536,
            n_layer: 11,
            n_heads: 8,
            d_key: 64,
            n_halvings: 7,
            width_multiple: 128,
            crop: 196_608,
            n_bins: 896,
            d_head: 128,
            dropout: 0.4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
        }
    }

    /// Lowers the crop, and the bins with it, to what a shorter window holds.
    pub(crate) fn shorten(&mut self, length: usize) {
        let share = self.n_bins as f64 / (self.crop / self.bin()) as f64;
        let n_bins = (length / self.bin()).max(1);
        self.crop = n_bins * self.bin();
        self.n_bins = ((share * n_bins as f64) as usize).max(1);
    }

    /// Takes another width, with two heads, and another length. Bins have the published 128 bp where a window holds
    /// [`ENOUGH_BINS`] of them, and are shorter where not, down to 8 bp: attention costs the square of their number.
    pub(crate) fn resize(&mut self, size: NetworkSize) {
        (self.n_layer, self.n_heads, self.d_key) = (size.n_layer, 2, 8);
        (self.d_head, self.width_multiple) = (size.d_model, 2);
        // What six kinds of positions per head allow.
        self.d_model = size.d_model.next_multiple_of(12);
        self.n_halvings = (3..=self.n_halvings)
            .rev()
            .find(|n_halvings| size.length >> n_halvings >= ENOUGH_BINS)
            .unwrap_or(3);
        let n_bins = size.length / self.bin();
        (self.crop, self.n_bins) = (n_bins * self.bin(), n_bins.div_ceil(2));
    }

    /// Bases of one bin.
    pub(super) fn bin(&self) -> usize {
        1 << self.n_halvings
    }

    /// Features of a relative position, six kinds of equal number.
    pub(super) fn n_position_features(&self) -> usize {
        self.d_model / self.n_heads
    }

    /// Widths of the convolutions: `d_model / 2` twice, then growing geometrically to `d_model`.
    pub(super) fn widths(&self) -> Vec<usize> {
        let half = self.d_model / 2;
        let steps = self.n_halvings.saturating_sub(2).max(1) as f64;
        let multiple = self.width_multiple as f64;
        let base = (self.d_model as f64 / half as f64).ln() / steps;
        let grown = (0..self.n_halvings.saturating_sub(1)).map(|step| {
            let width = half as f64 * (base * step as f64).exp();
            ((width / multiple).round() * multiple) as usize
        });
        std::iter::once(half).chain(grown).collect()
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (field, value) in [
            ("n_layer", self.n_layer),
            ("n_heads", self.n_heads),
            ("d_key", self.d_key),
            ("width_multiple", self.width_multiple),
            ("n_bins", self.n_bins),
            ("d_head", self.d_head),
            ("promoter", self.promoter),
        ] {
            positive(&mut problems, field, value);
        }
        if !problems.is_empty() {
            return problems;
        }
        if self.d_model == 0 || !self.d_model.is_multiple_of(6 * self.n_heads) {
            problems.push(format!(
                "d_model is {}; it must be a multiple of 6 n_heads ({}), for six kinds of relative positions",
                self.d_model,
                6 * self.n_heads
            ));
        }
        if !(3..=16).contains(&self.n_halvings) {
            problems.push(format!(
                "n_halvings is {}; it must be 3 to 16",
                self.n_halvings
            ));
        } else if self.crop == 0 || !self.crop.is_multiple_of(self.bin()) {
            problems.push(format!(
                "crop is {}; it must be a multiple of the {} bp that n_halvings make a bin",
                self.crop,
                self.bin()
            ));
        } else if self.crop / self.bin() < self.n_bins {
            problems.push(format!(
                "n_bins is {}, but crop makes {} bins",
                self.n_bins,
                self.crop / self.bin()
            ));
        } else if self.widths().last() != Some(&self.d_model) || self.widths().contains(&0) {
            problems.push(format!(
                "width_multiple is {}, which does not divide d_model ({})",
                self.width_multiple, self.d_model
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            problems.push(format!(
                "dropout is {}; it must be at least 0 and below 1",
                self.dropout
            ));
        }
        problems
    }
}
