//! What a network costs before it runs: floating-point operations and memory.

use kernels::bimamba_block::layout::{
    BlockSizes, DEVICE_CHANNELS, DEVICE_CHUNK, DEVICE_CHUNKS_OF_A_CUBE, TILE,
};
use model::NetworkConfig;
use model::config::{BackboneInput, EnformerConfig, EpinformerConfig, HyenaConfig, MambaConfig};

/// Floating-point operations and bytes of one pass over one window.
///
/// Multiply and add count as two operations, an exponential as one. Embeddings, the mask and the head are left out:
/// together they stay below 2 % of the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Operations of a forward pass per base, without transforms.
    forward_flops_per_base: u64,
    /// Rows that a forward pass transforms, there or back, each padded to twice its length.
    n_transforms: u64,
    /// Windows that a training pass runs for each of the batch.
    n_branches: u64,
    /// Floats that a training pass keeps of every window at its peak, per base.
    kept_floats_per_base: u64,
    /// Floats that it works in, of one window at a time, per base.
    working_floats_per_base: u64,
    /// What its blocks move; none for networks whose traffic is not counted.
    traffic: Option<Traffic>,
    /// Its blocks' sizes, which say what a device allocates; none for networks without blocks, whose tensors are not counted.
    block: Option<BlockSizes>,
}

/// Bytes between a device and its memory, per base, when every launch of the device's kernels reads its inputs and writes
/// its outputs once, what both directions read once for each: the table "Bytes moved" of `docs/kernels/bimamba_block.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Traffic {
    forward: PassTraffic,
    backward: PassTraffic,
}

/// One pass over one base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PassTraffic {
    /// Activations, which half precision halves.
    activations: u64,
    /// Floats of what is single precision always.
    singles: u64,
    /// Floats that half precision reads to round them.
    rounded: u64,
}

impl PassTraffic {
    fn bytes(self, bytes_per_activation: u64) -> u64 {
        let rounded = match bytes_per_activation < FLOAT {
            true => self.rounded * (FLOAT + bytes_per_activation),
            false => 0,
        };
        self.activations * bytes_per_activation + self.singles * FLOAT + rounded
    }
}

impl Traffic {
    /// Of `n_blocks` blocks.
    fn of(mamba: &MambaConfig, d_model: usize, n_blocks: usize) -> Self {
        let (d_inner, dt_rank) = (mamba.d_inner(d_model), mamba.dt_rank(d_model));
        // Of both directions: step size before its projection, B and C; and what a chunk keeps for each position, its
        // states and its sums of step sizes.
        let rows = 2 * (dt_rank + 2 * mamba.d_state);
        let states = 2 * mamba.d_state * d_inner / DEVICE_CHUNK;
        let sums = 2 * d_inner / DEVICE_CHUNK;
        let row_parts = d_inner.div_ceil(DEVICE_CHANNELS) * rows;
        // The parameters' gradients, in parts: of the scan a cube's, of the convolution a chunk's.
        let scan_params =
            2 * d_inner * (dt_rank + 2 + mamba.d_state) / (DEVICE_CHUNKS_OF_A_CUBE * DEVICE_CHUNK);
        let params = scan_params + 2 * d_inner * (mamba.d_conv + 1) / DEVICE_CHUNK;
        let pass = |activations: usize, singles: usize, rounded: usize| PassTraffic {
            activations: (n_blocks * activations) as u64,
            singles: (n_blocks * singles) as u64,
            rounded: (n_blocks * rounded) as u64,
        };
        let forward = 5 * d_model + 3 * rows + 4 * states + 2 * sums;
        let backward = 8 * d_model + 3 * rows + 2 * row_parts + 5 * states + 2 * sums + 2 * params;
        Self {
            forward: pass(19 * d_inner + 3 * d_model, forward, 0),
            backward: pass(48 * d_inner + 7 * d_model + 3 * rows, backward, d_model),
        }
    }
}

/// Bytes of an `f32`.
const FLOAT: u64 = 4;

/// Residual streams that live beside the blocks' saved inputs: the gradients that a block reads and writes.
const LIVE_STREAMS: usize = 2;

/// Buffers of `[length, d_inner]` that a block's backward pass works in, for one window after the other: convolution input,
/// gate, scan outputs, and the gradients of the first and of the gated output. On many cores a few windows are worked on at once.
const INNER_BUFFERS: usize = 5;

/// Transforms of one channel in a forward pass: the gated value's and the filter's, and the product's back.
const HYENA_TRANSFORMS: usize = 3;

/// Weights, optimiser moments, code and the allocator's slack.
const FIXED_BYTES: u64 = 120 << 20;

impl Cost {
    /// The cost of a network.
    pub fn of(config: &NetworkConfig) -> Self {
        let d_model = config.d_model();
        let n_tracks = config.n_tracks();
        match config {
            NetworkConfig::Seq2Exp(config) => {
                let n_blocks = config.n_layer_generator + config.n_layer_predictor;
                Self::of_blocks(&config.mamba, n_blocks, d_model, n_tracks)
            }
            NetworkConfig::FixedMask(config) => {
                Self::of_blocks(&config.mamba, config.n_layer, d_model, n_tracks)
            }
            NetworkConfig::Retrained(config) => {
                let n_blocks = config.n_layer_generator + config.n_layer_predictor;
                Self::of_blocks(&config.mamba, n_blocks, d_model, n_tracks)
            }
            NetworkConfig::Caduceus(config) => {
                let sees_tracks = config.input == BackboneInput::SequenceAndTracks;
                let n_read = if sees_tracks { n_tracks } else { 0 };
                Self::of_blocks(&config.mamba, config.n_layer, d_model, n_read)
            }
            NetworkConfig::Mamba(config) => {
                Self::of_blocks(&config.mamba, config.n_layer, d_model, 0)
            }
            NetworkConfig::Prism(config) => Self {
                n_branches: 1 + config.n_context as u64,
                ..Self::of_blocks(&config.mamba, config.n_layer, d_model, n_tracks)
            },
            NetworkConfig::Hyena(config) => Self::of_hyena(config),
            NetworkConfig::Enformer(config) => Self::of_enformer(config),
            NetworkConfig::Epinformer(config) => Self::of_epinformer(config),
        }
    }

    fn of_blocks(mamba: &MambaConfig, n_blocks: usize, d_model: usize, n_tracks: usize) -> Self {
        let embedding = 2 * d_model * (5 + n_tracks);
        let streams = (n_blocks + LIVE_STREAMS) * d_model;
        let d_inner = mamba.d_inner(d_model);
        let states = n_blocks * 2 * d_inner * mamba.d_state / TILE;
        Self {
            forward_flops_per_base: (n_blocks * block_flops(mamba, d_model) + embedding) as u64,
            n_transforms: 0,
            n_branches: 1,
            kept_floats_per_base: (streams + states) as u64,
            working_floats_per_base: (INNER_BUFFERS * d_inner) as u64,
            traffic: Some(Traffic::of(mamba, d_model, n_blocks)),
            block: Some(block_sizes(mamba, d_model)),
        }
    }

    fn of_hyena(config: &HyenaConfig) -> Self {
        let (d_model, d_inner) = (config.d_model, config.d_inner);
        let linear = |n_in: usize, n_out: usize| 2 * n_in * n_out;
        let mixer = linear(d_model, 3 * d_model) + linear(d_model, d_model);
        let short = 2 * config.d_short * 3 * d_model + 4 * d_model;
        let filter = linear(config.filter_features, config.filter_order)
            + 2 * linear(config.filter_order, config.filter_order)
            + linear(config.filter_order, d_model);
        let feed_forward = 2 * linear(d_model, d_inner) + 8 * d_inner;
        let block = mixer + short + filter + feed_forward;
        // Burn keeps the arguments of every elementwise operation: an estimate, neither counted nor measured.
        let kept = HYENA_KEPT_STREAMS * d_model + HYENA_KEPT_INNER * d_inner;
        Self {
            forward_flops_per_base: (config.n_layer * block + linear(5, d_model)) as u64,
            n_transforms: (HYENA_TRANSFORMS * config.n_layer * d_model) as u64,
            n_branches: 1,
            kept_floats_per_base: (config.n_layer * kept + LIVE_STREAMS * d_model) as u64,
            working_floats_per_base: 0,
            traffic: None,
            block: None,
        }
    }

    fn of_enformer(config: &EnformerConfig) -> Self {
        let half = config.d_model / 2;
        let linear = |n_in: usize, n_out: usize| 2 * n_in * n_out;
        // The first convolution and its residual block at every base; the tower halves the length as its width
        // doubles over all of it, so its layers together cost about as much as a layer of mean width at half length.
        let stem = linear(4 * 15, half) + 2 * linear(half, half);
        let tower = linear(5 * half, config.d_model) + 2 * linear(half, config.d_model);
        let d_keys = config.n_heads * config.d_key;
        let n_bins = config.crop >> config.n_halvings;
        let attention = 2 * linear(config.d_model, d_keys)
            + 2 * linear(config.d_model, config.d_model)
            + 2 * linear(n_bins, d_keys)
            + linear(n_bins, config.d_model);
        let block = attention + 2 * linear(config.d_model, 2 * config.d_model);
        let per_bin = config.n_layer * block;
        Self {
            forward_flops_per_base: (stem + tower / 2 + (per_bin >> config.n_halvings)) as u64,
            n_transforms: 0,
            n_branches: 1,
            kept_floats_per_base: (ENFORMER_KEPT_HALVES * half) as u64,
            working_floats_per_base: 0,
            traffic: None,
            block: None,
        }
    }

    /// EPInformer's work does not depend on the window: that of its elements is spread over the promoter's bases, of which
    /// a window has at least as many.
    fn of_epinformer(config: &EpinformerConfig) -> Self {
        let linear = |n_in: usize, n_out: usize| 2 * n_in * n_out;
        // Channels 4, 256, 128, 64, 64, 128; the length halves behind each convolution of three positions.
        let per_base = linear(4 * 8, 256)
            + linear(3 * 256, 128)
            + (linear(128, 128) + linear(3 * 128, 64)) / 2
            + (linear(64, 64) + linear(3 * 64, 64)) / 4
            + (linear(64, 64) + linear(3 * 64, 128)) / 8
            + (linear(128, 128) + linear(3 * 128, 64) + 2 * linear(3 * 64, 64)) / 16;
        let elements = (1 + config.n_candidates) * config.element_length;
        let spread = |per_base: usize| (elements * per_base / config.promoter.max(1)) as u64;
        Self {
            forward_flops_per_base: spread(per_base),
            n_transforms: 0,
            n_branches: 1,
            kept_floats_per_base: spread(EPINFORMER_KEPT),
            working_floats_per_base: 0,
            traffic: None,
            block: None,
        }
    }

    /// The cost of one block.
    pub fn of_block(mamba: &MambaConfig, d_model: usize) -> Self {
        Self {
            forward_flops_per_base: block_flops(mamba, d_model) as u64,
            ..Self::of_blocks(mamba, 1, d_model, 0)
        }
    }

    /// Bytes that an evaluation pass moves between a device and its memory at least, for activations of so many bytes;
    /// none for HyenaDNA, Enformer and EPInformer, which are not counted.
    pub fn forward_traffic_bytes(
        &self,
        length: usize,
        batch: usize,
        bytes_per_activation: u64,
    ) -> Option<u64> {
        let per_base = self.traffic?.forward.bytes(bytes_per_activation);
        Some(per_base * (length * batch) as u64)
    }

    /// As [`Cost::forward_traffic_bytes`], of a training step: a forward and a backward pass of every branch.
    pub fn train_traffic_bytes(
        &self,
        length: usize,
        batch: usize,
        bytes_per_activation: u64,
    ) -> Option<u64> {
        let Traffic { forward, backward } = self.traffic?;
        let per_base = forward.bytes(bytes_per_activation) + backward.bytes(bytes_per_activation);
        Some(per_base * self.n_branches * (length * batch) as u64)
    }

    /// Operations of one evaluation pass over `batch` windows of `length` bases.
    pub fn forward_flops(&self, length: usize, batch: usize) -> u64 {
        // A real transform of n values costs 5/2 n log2(n).
        let n = 2.0 * length.max(1) as f64;
        let transform = (2.5 * n * n.log2()) as u64;
        batch as u64 * (self.forward_flops_per_base * length as u64 + self.n_transforms * transform)
    }

    /// Operations of one training step: forward, the recomputation inside backward, and backward at twice forward.
    pub fn train_flops(&self, length: usize, batch: usize) -> u64 {
        4 * self.n_branches * self.forward_flops(length, batch)
    }

    /// Sizes of the network's blocks, if it has any.
    pub fn block(&self) -> Option<BlockSizes> {
        self.block
    }

    /// Bytes of the largest tensor that a device allocates in one piece: inside a block, which may compute windows in turn,
    /// `of_window` floats a position ([`kernels::widest_block_temporary`]), between blocks `d_model` of every window. None
    /// for networks without blocks.
    pub fn largest_tensor_bytes(
        &self,
        length: usize,
        batch: usize,
        of_window: usize,
    ) -> Option<u64> {
        let of_batch = self.block?.d_model * batch;
        Some(FLOAT * (length * of_window.max(of_batch)) as u64)
    }

    /// Bytes that one training step needs on the processor at its peak: each block's saved input and states, the streams and
    /// buffers beside them.
    pub fn train_bytes(&self, length: usize, batch: usize) -> u64 {
        let kept = self.kept_floats_per_base * self.n_branches * batch as u64;
        FIXED_BYTES + FLOAT * (kept + self.working_floats_per_base) * length as u64
    }
}

/// Floats of `d_model` and of `d_inner` per base and block that a training pass of HyenaDNA keeps; estimated.
const HYENA_KEPT_STREAMS: usize = 20;
const HYENA_KEPT_INNER: usize = 8;

/// Floats of half the width per base that a training pass of Enformer keeps, most of them before the first pooling;
/// estimated.
const ENFORMER_KEPT_HALVES: usize = 24;

/// Floats per base of an element that a training pass of EPInformer keeps, most of them before the first pooling;
/// estimated.
const EPINFORMER_KEPT: usize = 3_000;

/// Sizes of a network's blocks.
pub(crate) fn block_sizes(mamba: &MambaConfig, d_model: usize) -> BlockSizes {
    BlockSizes {
        d_model,
        d_inner: mamba.d_inner(d_model),
        d_state: mamba.d_state,
        d_conv: mamba.d_conv,
        dt_rank: mamba.dt_rank(d_model),
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
    use model::config::Seq2ExpConfig;

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
    fn forward_flops_of_the_other_published_networks_add_up() {
        // A block of d_model 128 takes 307200, as above (causal Mamba runs the same block, one direction of it silent); an
        // embedding of n values 2 * 128 * n.
        let caduceus = 4 * 307_200 + 256 * 5;
        // EPInformer, per base: 2*32*256 + 2*768*128 + (2*128*128 + 2*384*64) / 2 + (2*64*64 + 2*192*64) / 4
        // + (2*64*64 + 2*192*128) / 8 + (2*128*128 + 2*384*64 + 2*2*192*64) / 16 = 16384 + 196608 + 40960 + 8192 + 7168
        // + 8192 = 277504, for a promoter and 60 candidates of 2,000 bases, over the promoter's 2,000.
        let epinformer = 61 * 277_504;
        // Enformer of widths 768 to 1536: stem 2*60*768 + 2*2*768*768 = 2451456; tower 2*3840*1536 + 2*2*768*1536
        // = 16515072; attention to 196608 / 128 = 1536 bins 2*2*1536*512 + 2*2*1536*1536 + 2*2*1536*512 + 2*1536*1536
        // = 20447232, feed-forward 2*2*1536*3072 = 18874368, of 11 blocks at every 128th base.
        let enformer = 2_451_456 + 16_515_072 / 2 + 11 * (20_447_232 + 18_874_368) / 128;
        for (kind, expected) in [
            (NetworkKind::Caduceus, caduceus),
            (NetworkKind::CaduceusSignals, caduceus + 256 * 3),
            (NetworkKind::Mamba, caduceus),
            (NetworkKind::Prism, caduceus + 256 * 3),
            (NetworkKind::Epinformer, epinformer),
            (NetworkKind::Enformer, enformer),
        ] {
            let cost = Cost::of(&kind.preset());
            assert_eq!(cost.forward_flops(7, 3), 21 * expected, "{kind:?}");
            // PRISM trains a branch for its windows and one for each of its two contexts.
            let n_branches = if kind == NetworkKind::Prism { 3 } else { 1 };
            assert_eq!(
                cost.train_flops(7, 3),
                4 * n_branches * 21 * expected,
                "{kind:?}"
            );
        }
        // HyenaDNA, per base of a block: mixer 2*128*384 + 2*128*128 = 131072; short convolution and gates 2*3*3*128
        // + 4*128 = 2816; filter 2*5*64 + 2*2*64*64 + 2*64*128 = 33408; feed-forward 2*2*128*512 + 8*512 = 266240.
        // In 4 blocks of 128 channels, 3 transforms of 2 * 1024 values: 5/2 * 2048 * 11 = 56320 each.
        let per_base = 4 * (131_072 + 2_816 + 33_408 + 266_240) + 2 * 5 * 128;
        let hyena = Cost::of(&NetworkKind::Hyena.preset());
        assert_eq!(
            hyena.forward_flops(1024, 2),
            2 * (1024 * per_base + 4 * 128 * 3 * 56_320)
        );
    }

    #[test]
    fn traffic_is_that_of_the_kernels_document() {
        // d_inner 256, d_model 128, 80 step-size inputs, B and C of both directions, 64 states, 4 sums:
        // forward 19 * 256 + 3 * 128 = 5,248 activations and 5 * 128 + 3 * 80 + 4 * 64 + 2 * 4 = 1,144 floats;
        // backward 48 * 256 + 7 * 128 + 3 * 80 = 13,424 and 8 * 128 + 3 * 80 + 2 * 4 * 80 + 5 * 64 + 2 * 4 + 2 * (13 + 20)
        // = 2,298, in half precision 128 floats rounded. 25.6 and 15.1 kB forward, 62.9 and 36.8 kB backward.
        let block = Cost::of_block(&Seq2ExpConfig::soft().mamba, 128);
        assert_eq!(block.forward_traffic_bytes(1, 1, 4), Some(25_568));
        assert_eq!(block.forward_traffic_bytes(1, 1, 2), Some(15_072));
        assert_eq!(block.train_traffic_bytes(1, 1, 4), Some(25_568 + 62_888));
        assert_eq!(block.train_traffic_bytes(1, 1, 2), Some(15_072 + 36_808));
        // Seq2Exp-soft at 200,000 positions, batch 8: 1.13 TB, 0.66 TB in half precision.
        let soft = Cost::of(&NetworkKind::Seq2ExpSoft.preset());
        let terabytes = |bytes: u64| bytes as f64 / 1e12;
        for (bytes_per_activation, expected) in [(4, 1.13), (2, 0.66)] {
            let found = soft.train_traffic_bytes(200_000, 8, bytes_per_activation);
            let found = terabytes(found.expect("counted"));
            assert!((found - expected).abs() < 0.005, "{found}");
        }
    }

    #[test]
    fn largest_tensor_is_a_blocks_own_until_a_batch_is_larger() {
        // Both directions of d_inner 256 in one window, or d_model 128 of every window.
        let cost = Cost::of(&NetworkKind::Seq2ExpSoft.preset());
        for (batch, floats) in [(1, 512), (4, 512), (8, 1024)] {
            let bytes = cost.largest_tensor_bytes(1000, batch, 512);
            assert_eq!(bytes, Some(4 * 1000 * floats));
        }
    }

    #[test]
    fn train_bytes_are_near_what_training_takes() {
        // Peak memory of `seq2exp bench train --length L --batch B` on 2 cores (and, with 4 blocks, `--layers 2`), in GB.
        let mut small = Seq2ExpConfig::soft();
        (small.n_layer_generator, small.n_layer_predictor) = (2, 2);
        let published = NetworkConfig::Seq2Exp(Seq2ExpConfig::soft());
        for (network, length, batch, measured) in [
            (&published, 20_000, 1, 0.32),
            (&published, 20_000, 4, 0.73),
            (&published, 50_000, 4, 1.61),
            (&published, 200_000, 1, 2.36),
            (&NetworkConfig::Seq2Exp(small), 100_000, 1, 0.95),
        ] {
            let estimate = Cost::of(network).train_bytes(length, batch) as f64 / 1e9;
            assert!(
                (estimate / measured - 1.0).abs() < 0.12,
                "{length} x {batch}: {estimate}"
            );
        }
    }

    #[test]
    fn train_bytes_grow_with_bases_and_with_every_window_that_is_kept() {
        let cost = Cost::of(&NetworkKind::Caduceus.preset());
        let bytes = |length, batch| cost.train_bytes(length, batch) - FIXED_BYTES;
        assert_eq!(bytes(3000, 1), 3 * bytes(1000, 1));
        assert_eq!(
            bytes(1000, 3) - bytes(1000, 2),
            bytes(1000, 2) - bytes(1000, 1)
        );
        assert!(bytes(1000, 2) < 2 * bytes(1000, 1));
    }
}
