//! What a network costs before it runs: floating-point operations and memory.

use model::NetworkConfig;
use model::config::{BackboneInput, MambaConfig};

/// Floating-point operations and bytes of one pass over one window.
///
/// Multiply and add count as two operations, an exponential as one. Embeddings, the mask and the head are left out:
/// together they stay below 2 % of the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Operations of a forward pass per base.
    forward_flops_per_base: u64,
    /// BiMamba blocks run per pass.
    n_blocks: u64,
    d_model: u64,
    d_inner: u64,
}

/// Bytes of an `f32`.
const FLOAT: u64 = 4;

/// Residual streams that live beside the saved ones: input, masked input, gradient in, gradient out.
const LIVE_STREAMS: u64 = 4;

/// Buffers of `[length, d_inner]` that a block's forward or backward keeps: both directions' scan outputs and gates.
const INNER_BUFFERS: u64 = 3;

/// Weights, optimiser moments, code and the allocator's slack.
const FIXED_BYTES: u64 = 120 << 20;

impl Cost {
    /// The cost of a network.
    pub fn of(config: &NetworkConfig) -> Self {
        let (mamba, n_blocks) = match config {
            NetworkConfig::Seq2Exp(config) => (
                &config.mamba,
                config.n_layer_generator + config.n_layer_predictor,
            ),
            NetworkConfig::Caduceus(config) => (&config.mamba, config.n_layer),
        };
        let d_model = config.d_model();
        let tracks_read = match config {
            NetworkConfig::Caduceus(config) if config.input == BackboneInput::Sequence => 0,
            _ => config.n_tracks(),
        };
        let embedding = 2 * d_model * (5 + tracks_read);
        Self {
            forward_flops_per_base: (n_blocks * block_flops(mamba, d_model) + embedding) as u64,
            n_blocks: n_blocks as u64,
            d_model: d_model as u64,
            d_inner: mamba.d_inner(d_model) as u64,
        }
    }

    /// Bytes that an evaluation pass moves between a device and its memory at least, when each stage of a block reads its
    /// input and writes its output once, in single precision.
    ///
    /// Per base and block: the residual stream in and out, both halves of the input projection, and in either direction
    /// the convolution's output (written, read by projection and scan) and the scan's.
    pub fn forward_traffic_bytes(&self, length: usize, batch: usize) -> u64 {
        let per_base = 2 * self.d_model + 4 * self.d_inner + 2 * 5 * self.d_inner;
        FLOAT * self.n_blocks * per_base * (length * batch) as u64
    }

    /// As [`Cost::forward_traffic_bytes`], of a training step: the forward pass, the same again in the backward pass, and
    /// there for every tensor its gradient, read and written as often.
    pub fn train_traffic_bytes(&self, length: usize, batch: usize) -> u64 {
        3 * self.forward_traffic_bytes(length, batch)
    }

    /// Operations of one evaluation pass over `batch` windows of `length` bases.
    pub fn forward_flops(&self, length: usize, batch: usize) -> u64 {
        self.forward_flops_per_base * (length * batch) as u64
    }

    /// Operations of one training step: forward, the recomputation inside backward, and backward at twice forward.
    pub fn train_flops(&self, length: usize, batch: usize) -> u64 {
        4 * self.forward_flops(length, batch)
    }

    /// Bytes that one training step needs at its peak: each block's saved input, the streams and buffers beside them.
    pub fn train_bytes(&self, length: usize, batch: usize) -> u64 {
        let stream = self.d_model * FLOAT;
        let inner = self.d_inner * FLOAT * INNER_BUFFERS;
        let per_base = (self.n_blocks + LIVE_STREAMS) * stream + inner;
        FIXED_BYTES + per_base * (length * batch) as u64
    }
}

/// Operations of one BiMamba block per base: tied projections once, the rest once per direction.
fn block_flops(mamba: &MambaConfig, d_model: usize) -> usize {
    let (d_inner, dt_rank) = (mamba.d_inner(d_model), mamba.dt_rank(d_model));
    let projections = 2 * d_model * 2 * d_inner + 2 * d_inner * d_model;
    let convolution = 2 * mamba.d_conv * d_inner;
    let selection = 2 * d_inner * (dt_rank + 2 * mamba.d_state) + 2 * dt_rank * d_inner;
    // Per channel and state: delta*A, exp, decay*h, +, delta*u*B, C*h, +.
    let scan = 7 * d_inner * mamba.d_state;
    projections + 2 * (convolution + selection + scan)
}

#[cfg(test)]
mod tests {
    use model::NetworkKind;

    use super::*;

    #[test]
    fn forward_flops_of_the_published_network_add_up() {
        // d_model 128, d_inner 256, dt_rank 8, d_state 16, d_conv 4:
        // projections 2*128*512 + 2*256*128 = 196608; per direction 2048 + 2*256*40 + 2*8*256 + 7*256*16 = 55296;
        // block 307200; eight blocks 2457600; embedding 2*128*8 = 2048.
        let cost = Cost::of(&NetworkKind::Seq2ExpSoft.preset());
        assert_eq!(cost.forward_flops(1, 1), 2_457_600 + 2_048);
        assert_eq!(cost.forward_flops(1000, 2), 2000 * cost.forward_flops(1, 1));
        assert_eq!(cost.train_flops(10, 1), 4 * cost.forward_flops(10, 1));
    }

    #[test]
    fn train_bytes_grow_linearly_with_bases() {
        let cost = Cost::of(&NetworkKind::Caduceus.preset());
        let bytes = |length| cost.train_bytes(length, 1) - FIXED_BYTES;
        assert_eq!(bytes(3000), 3 * bytes(1000));
        assert_eq!(cost.train_bytes(1000, 3), cost.train_bytes(3000, 1));
    }
}
