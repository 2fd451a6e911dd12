//! Sizes of a block and the place of each parameter in one flat array.

use std::ops::Range;

/// Positions from one saved state of the scans to the next, on the processor: a tile's activations fit its second-level cache.
///
/// Results depend on this constant (it fixes the places where sums are cut), never on the number of threads.
pub const TILE: usize = 256;

/// Positions from one saved state to the next on a device.
pub const DEVICE_CHUNK: usize = 128;

/// Most chunks over which one cube of a device sums up the gradients of the scan's parameters.
pub const DEVICE_CHUNKS_OF_A_CUBE: usize = 8;

/// Channels that one cube works on, each such block with its part of the gradients of step-size inputs, B and C, on a device with
/// enough shared memory.
pub const DEVICE_CHANNELS: usize = 64;

/// Sizes that define a BiMamba block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockSizes {
    /// Channels of the residual stream.
    pub d_model: usize,
    /// Channels inside the mixer.
    pub d_inner: usize,
    /// States per channel.
    pub d_state: usize,
    /// Taps of the causal convolution.
    pub d_conv: usize,
    /// Rank of the step-size projection.
    pub dt_rank: usize,
}

/// Places of one direction's parameters in the flat array, each row-major in its PyTorch layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectionLayout {
    /// `[d_inner, d_conv]`
    pub conv_weight: Range<usize>,
    /// `[d_inner]`
    pub conv_bias: Range<usize>,
    /// `[dt_rank + 2 d_state, d_inner]`, rows in the order step size, B, C
    pub x_proj: Range<usize>,
    /// `[d_inner, dt_rank]`
    pub dt_weight: Range<usize>,
    /// `[d_inner]`
    pub dt_bias: Range<usize>,
    /// `[d_inner, d_state]`
    pub a_log: Range<usize>,
    /// `[d_inner]`
    pub d: Range<usize>,
}

/// Places of all parameters of a block in the flat array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamLayout {
    /// `[d_model]`
    pub norm_weight: Range<usize>,
    /// `[2 d_inner, d_model]`, rows in the order convolution input, gate
    pub in_proj: Range<usize>,
    /// `[d_model, d_inner]`
    pub out_proj: Range<usize>,
    /// Forward direction, then reverse direction.
    pub directions: [DirectionLayout; 2],
    /// Floats in the flat array.
    pub len: usize,
}

impl BlockSizes {
    /// The block of the published models: d_model 128, and Mamba's defaults for the rest.
    pub const PUBLISHED: Self = Self {
        d_model: 128,
        d_inner: 256,
        d_state: 16,
        d_conv: 4,
        dt_rank: 8,
    };

    /// Columns of the projection that gives step size, B and C.
    pub fn d_x_proj(&self) -> usize {
        self.dt_rank + 2 * self.d_state
    }

    /// Places the parameters one after the other.
    pub fn layout(&self) -> ParamLayout {
        let mut end = 0;
        let mut next = |len: usize| {
            let start = end;
            end += len;
            start..end
        };
        let norm_weight = next(self.d_model);
        let in_proj = next(2 * self.d_inner * self.d_model);
        let out_proj = next(self.d_model * self.d_inner);
        let directions = [(); 2].map(|()| DirectionLayout {
            conv_weight: next(self.d_inner * self.d_conv),
            conv_bias: next(self.d_inner),
            x_proj: next(self.d_x_proj() * self.d_inner),
            dt_weight: next(self.d_inner * self.dt_rank),
            dt_bias: next(self.d_inner),
            a_log: next(self.d_inner * self.d_state),
            d: next(self.d_inner),
        });
        ParamLayout {
            norm_weight,
            in_proj,
            out_proj,
            directions,
            len: end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_places_parameters_without_gaps() {
        let sizes = BlockSizes {
            d_model: 3,
            d_inner: 5,
            d_state: 2,
            d_conv: 4,
            dt_rank: 1,
        };
        let layout = sizes.layout();
        // 3 + 10*3 + 3*5 = 48; a direction: 20 + 5 + 5*5 + 5 + 5 + 10 + 5 = 75.
        assert_eq!(layout.directions[0].conv_weight, 48..68);
        assert_eq!(layout.directions[0].d, 118..123);
        assert_eq!(layout.directions[1].conv_weight, 123..143);
        assert_eq!(layout.len, 198);
    }
}
