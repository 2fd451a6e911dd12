//! How a cube divides its channels, and the floats that its units share.

use cubecl::prelude::*;

use super::super::channel::CHANNELS;
use crate::bimamba_block::layout::BlockSizes;

/// Steps whose states are held at a time.
pub(super) const RUN: usize = 4;

/// Steps whose step sizes a cube shares at a time on its first way through a chunk.
pub(super) const STAGE: usize = 8;

/// What a unit leaves of each of its channels at each step: output, gradients of input and step size. It also reads as much:
/// step size, input and the output's gradient.
pub(super) const CHANNEL_SUMS: usize = 3;

/// Units that own a channel, where the states can be divided by as many.
const PARTS: usize = 2;

/// Floats of the widest access to shared memory.
pub(super) const VECTOR: usize = 4;

/// How a cube divides its channels, and the floats that its units share.
///
/// Rows are padded by a vector of four floats, so that the units of a plane meet different banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::bimamba_block::gpu) struct Places {
    pub(super) sizes: BlockSizes,
    /// Whether positions have a mask.
    pub(super) masked: bool,
    pub(super) channels: usize,
    /// Units that own a channel, at different steps.
    pub(super) parts: usize,
    /// Groups of states.
    pub(super) n_group: usize,
    /// States of a group.
    pub(super) per_group: usize,
    /// Channels whose pairs with a group of states a unit walks.
    pub(super) per_column: usize,
}

impl Places {
    fn new(sizes: BlockSizes, masked: bool, channels: usize) -> Self {
        let parts = 1 + usize::from(sizes.d_state.is_multiple_of(PARTS) && channels > 1);
        let n_pair = sizes.d_state / parts;
        let mut per_column: usize = 1;
        while (2 * per_column).pow(2) <= n_pair
            && n_pair.is_multiple_of(2 * per_column)
            && channels.is_multiple_of(2 * per_column)
        {
            per_column *= 2;
        }
        let per_group = n_pair / per_column;
        Self {
            sizes,
            masked,
            channels,
            parts,
            n_group: sizes.d_state / per_group,
            per_group,
            per_column,
        }
    }

    /// As many channels as a cube has, at most, whose shared memory fits in `bytes`.
    pub(super) fn that_fit(sizes: BlockSizes, masked: bool, bytes: usize) -> Self {
        let mut places = Self::new(sizes, masked, CHANNELS);
        while places.channels > 1 && places.bytes() > bytes {
            places = Self::new(sizes, masked, places.channels / 2);
        }
        places
    }

    pub(super) fn units(&self) -> usize {
        self.channels * self.parts
    }

    /// Units that walk the same group of states.
    pub(super) fn n_column(&self) -> usize {
        self.channels / self.per_column
    }

    pub(super) fn rows(&self) -> usize {
        STAGE.max(RUN) * self.sizes.d_x_proj()
    }

    pub(super) fn weights(&self) -> usize {
        self.draw_pitch() * self.sizes.dt_rank
    }

    pub(super) fn scalars(&self) -> usize {
        (2 * STAGE).max(CHANNEL_SUMS * RUN) * self.channels
    }

    pub(super) fn channel_sums(&self) -> usize {
        let of_a_run = RUN * CHANNEL_SUMS * self.n_group;
        of_a_run.max((self.parts - 1) * (self.sizes.dt_rank + 2)) * self.channels
    }

    pub(super) fn before(&self) -> usize {
        RUN * self.n_pair().next_multiple_of(VECTOR) * self.units()
    }

    pub(super) fn state_pitch(&self) -> usize {
        self.n_column() + VECTOR
    }

    pub(super) fn state_sums(&self) -> usize {
        RUN * 2 * self.sizes.d_state * self.state_pitch()
    }

    pub(super) fn draw_pitch(&self) -> usize {
        self.channels + VECTOR
    }

    pub(super) fn draws(&self) -> usize {
        RUN * (1 + usize::from(self.masked)) * self.draw_pitch()
    }

    /// Pairs of channel and state that a unit walks.
    pub(super) fn n_pair(&self) -> usize {
        self.per_column * self.per_group
    }

    /// Rounds in which the units load a run's rows.
    pub(super) fn row_turns(&self) -> usize {
        (RUN * self.sizes.d_x_proj()).div_ceil(self.units())
    }

    fn bytes(&self) -> usize {
        let sums = self.channel_sums() + self.state_sums() + self.draws();
        (self.rows() + self.scalars() + self.before() + sums + self.weights()) * size_of::<f32>()
    }

    /// Sums over channels at each step: step-size inputs, B and C, and under a mask the mask.
    pub(super) fn row_sums(&self) -> usize {
        self.sizes.d_x_proj() + usize::from(self.masked)
    }
}

/// What the units of a cube share.
#[derive(CubeType)]
pub(super) struct Exchange {
    /// Step-size inputs, B and C of a run's steps, or a stage's.
    pub(super) rows: Shared<[f32]>,
    /// Step size, input and output's gradient of each channel at each step of a run; of a stage the first two.
    pub(super) scalars: Shared<[f32]>,
    /// What each group of states has of [`CHANNEL_SUMS`].
    pub(super) channel_sums: Shared<[f32]>,
    /// What each column of channels has of the gradients of B and C.
    pub(super) state_sums: Shared<[f32]>,
    /// The states before each step of a run, a vector a unit.
    pub(super) before: Shared<[f32]>,
    /// Gradients of the raw step sizes and, under a mask, of the mask.
    pub(super) draws: Shared<[f32]>,
    /// The projection to step sizes, `[dt_rank, channel]`.
    pub(super) weights: Shared<[f32]>,
}

#[cube]
impl Exchange {
    pub(super) fn new(#[comptime] places: Places) -> Exchange {
        Exchange {
            rows: Shared::<[f32]>::new_slice(comptime!(places.rows())),
            scalars: Shared::<[f32]>::new_slice(comptime!(places.scalars())),
            channel_sums: Shared::<[f32]>::new_slice(comptime!(places.channel_sums())),
            state_sums: Shared::<[f32]>::new_slice(comptime!(places.state_sums())),
            before: Shared::<[f32]>::new_slice(comptime!(places.before())),
            draws: Shared::<[f32]>::new_slice(comptime!(places.draws())),
            weights: Shared::<[f32]>::new_slice(comptime!(places.weights())),
        }
    }
}

/// What a unit does in its cube.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Role {
    pub(super) unit: usize,
    /// First channel of the cube.
    pub(super) block_first: usize,
    /// Which of the columns of channels the unit walks, and which of the groups of states.
    pub(super) column: usize,
    pub(super) group: usize,
    /// First channel, counted from the cube's, and first state of the pairs.
    pub(super) first_channel: usize,
    pub(super) first_state: usize,
    /// The channel that the unit owns, counted from the cube's, at every `parts`-th step from `part` on.
    pub(super) owned: usize,
    pub(super) part: usize,
    /// The same channel among all. A unit without one stays for the barriers, on the last, and adds nothing.
    pub(super) own: usize,
    pub(super) active: bool,
}

#[cube]
impl Role {
    pub(super) fn new(#[comptime] places: Places) -> Role {
        let unit = UNIT_POS_X as usize;
        let block_first = CUBE_POS_X as usize * comptime!(places.channels);
        let column = unit % comptime!(places.n_column());
        let group = unit / comptime!(places.n_column());
        let owned = unit % comptime!(places.channels);
        let d_inner = comptime!(places.sizes.d_inner);
        Role {
            unit,
            block_first,
            column,
            group,
            first_channel: column * comptime!(places.per_column),
            first_state: group * comptime!(places.per_group),
            owned,
            part: unit / comptime!(places.channels),
            own: clamp_max::<usize>(block_first + owned, d_inner - 1),
            active: block_first + owned < d_inner,
        }
    }

    /// The `k`-th channel of the pairs among all, the last one behind it.
    pub(super) fn channel(&self, #[comptime] k: usize, #[comptime] places: Places) -> usize {
        clamp_max::<usize>(
            self.block_first + self.first_channel + k,
            comptime!(places.sizes.d_inner - 1),
        )
    }
}
