//! How a cube divides its channels, and the floats that its units share.

use cubecl::prelude::*;

use super::super::channel::CHANNELS;
use crate::bimamba_block::layout::BlockSizes;

/// Steps whose states are held at a time.
pub(super) const RUN: usize = 4;

/// Steps whose step sizes a cube shares at a time on its first way through a chunk.
pub(super) const STAGE: usize = 8;

/// What is shared of a channel at a step of a stage: step size and input.
pub(super) const STAGE_SCALARS: usize = 2;

/// And at a step of a run: those, the output's gradient and the step size's slope, its derivative by the raw one.
pub(super) const RUN_SCALARS: usize = 4;

/// What a unit leaves of each of its channels at each step of a run: output, gradients of input and step size.
pub(super) const CHANNEL_SUMS: usize = 3;

/// Channels of a column, where they can be divided by as many.
const COLUMN: usize = 2;

/// Most states of a group.
const GROUP: usize = 4;

/// Floats of the widest access to shared memory.
pub(super) const VECTOR: usize = 4;

/// Most units of a cube, as many as WebGPU promises.
const UNITS: usize = 256;

/// How a cube divides its channels, and the floats that its units share.
///
/// Channels are divided into columns and states into groups, and a unit has the pairs of a column and a group.
/// Rows are padded by a vector of four floats, so that the units of a plane meet different banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::bimamba_block::gpu) struct Places {
    pub(super) sizes: BlockSizes,
    /// Whether positions have a mask.
    pub(super) masked: bool,
    pub(super) channels: usize,
    /// Channels of a column, a divisor of the block's channels: all of a column exist, or none.
    pub(super) per_column: usize,
    /// States of a group.
    pub(super) per_group: usize,
}

impl Places {
    fn new(sizes: BlockSizes, masked: bool, channels: usize) -> Self {
        let divides = |n: usize| sizes.d_inner.is_multiple_of(n) && channels.is_multiple_of(n);
        let per_column = if divides(COLUMN) { COLUMN } else { 1 };
        let per_group = (1..=GROUP).rev().find(|&n| sizes.d_state.is_multiple_of(n));
        Self {
            sizes,
            masked,
            channels,
            per_column,
            per_group: per_group.unwrap_or(1),
        }
    }

    /// As many channels as a cube has, at most, whose shared memory fits in `bytes`.
    pub(super) fn that_fit(sizes: BlockSizes, masked: bool, bytes: usize) -> Self {
        let mut places = Self::new(sizes, masked, CHANNELS);
        while places.channels > 1 && (places.bytes() > bytes || places.units() > UNITS) {
            places = Self::new(sizes, masked, places.channels / 2);
        }
        places
    }

    pub(super) fn n_column(&self) -> usize {
        self.channels / self.per_column
    }

    pub(super) fn n_group(&self) -> usize {
        self.sizes.d_state / self.per_group
    }

    pub(super) fn units(&self) -> usize {
        self.n_column() * self.n_group()
    }

    /// Pairs of channel and state that a unit walks.
    pub(super) fn n_pair(&self) -> usize {
        self.per_column * self.per_group
    }

    /// Steps, of as many as `steps`, at which a unit owns its column's channels.
    pub(super) fn n_own(&self, steps: usize) -> usize {
        steps.div_ceil(self.n_group())
    }

    /// Rounds in which the units load the rows of `steps` steps.
    pub(super) fn row_turns(&self, steps: usize) -> usize {
        (steps * self.sizes.d_x_proj()).div_ceil(self.units())
    }

    /// Step-size inputs whose weights' gradients a unit adds up, at most.
    pub(super) fn n_weight(&self) -> usize {
        self.sizes.dt_rank.div_ceil(self.n_group())
    }

    /// Parts in which a run's sums over channels for step-size inputs are taken, so that every unit has one.
    pub(super) fn draw_parts(&self) -> usize {
        let mut parts = 1;
        while 2 * parts * RUN * self.sizes.dt_rank <= self.units()
            && self.channels.is_multiple_of(2 * parts)
        {
            parts *= 2;
        }
        parts
    }

    /// Rows of two runs, the one that is walked and the next, or of a stage.
    fn rows(&self) -> usize {
        STAGE.max(2 * RUN) * self.sizes.d_x_proj()
    }

    pub(super) fn draw_pitch(&self) -> usize {
        self.channels + VECTOR
    }

    pub(super) fn weights(&self) -> usize {
        self.draw_pitch() * (self.sizes.dt_rank + 2)
    }

    /// From a step's scalars to the next step's, of which each channel has `n`.
    pub(super) fn scalar_pitch(&self, n: usize) -> usize {
        n * self.channels
    }

    pub(super) fn scalars(&self) -> usize {
        let of_a_run = RUN * self.scalar_pitch(RUN_SCALARS);
        of_a_run.max(STAGE * self.scalar_pitch(STAGE_SCALARS))
    }

    /// From a step's sums over groups of states to the next step's.
    pub(super) fn sum_pitch(&self) -> usize {
        CHANNEL_SUMS * self.n_group() * self.channels
    }

    pub(super) fn channel_sums(&self) -> usize {
        RUN * self.sum_pitch()
    }

    fn before(&self) -> usize {
        RUN * self.n_pair().next_multiple_of(VECTOR) * self.units()
    }

    pub(super) fn state_pitch(&self) -> usize {
        self.n_column() + VECTOR
    }

    fn state_sums(&self) -> usize {
        RUN * 2 * self.sizes.d_state * self.state_pitch()
    }

    pub(super) fn draws(&self) -> usize {
        RUN * self.draw_pitch()
    }

    fn draw_sums(&self) -> usize {
        RUN * self.sizes.dt_rank * self.draw_parts()
    }

    fn bytes(&self) -> usize {
        let sums = self.channel_sums() + self.state_sums() + self.draws() + self.draw_sums();
        (self.rows() + self.scalars() + self.before() + sums + self.weights()) * size_of::<f32>()
    }
}

/// What the units of a cube share.
#[derive(CubeType)]
pub(super) struct Exchange {
    /// Step-size inputs, B and C of a stage's steps, or of two runs', one that is walked and the next.
    pub(super) rows: Shared<[f32]>,
    /// [`RUN_SCALARS`] of each channel at each step of a run, or [`STAGE_SCALARS`] of a stage.
    pub(super) scalars: Shared<[f32]>,
    /// What each group of states has of [`CHANNEL_SUMS`]; once they are added up, under a mask, the mask's gradients in place of
    /// the first.
    pub(super) channel_sums: Shared<[f32]>,
    /// What each column of channels has of the gradients of B and C.
    pub(super) state_sums: Shared<[f32]>,
    /// The states before each step of a run, a vector a unit.
    pub(super) before: Shared<[f32]>,
    /// Gradients of the raw step sizes.
    pub(super) draws: Shared<[f32]>,
    /// What each part of the channels has of the gradients of step-size inputs.
    pub(super) draw_sums: Shared<[f32]>,
    /// The projection to step sizes, `[dt_rank, channel]`, then its bias and d.
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
            draw_sums: Shared::<[f32]>::new_slice(comptime!(places.draw_sums())),
            weights: Shared::<[f32]>::new_slice(comptime!(places.weights())),
        }
    }
}

/// The place `at` among `len`, as a number of so few bits that a compiler sees sums with it that do not wrap, and leaves what is
/// constant in them to the instruction that reads or writes.
#[cube]
pub(super) fn within(at: usize, #[comptime] len: usize) -> usize {
    at % comptime!(len.next_power_of_two())
}

/// What a unit does in its cube.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Role {
    pub(super) unit: usize,
    /// The unit's column of channels and group of states. It owns the column's channels at every step that leaves the
    /// group as a remainder, divided by the number of groups.
    pub(super) column: usize,
    pub(super) group: usize,
    /// The column's first channel, counted from the cube's, and the group's first state.
    pub(super) first_channel: usize,
    pub(super) first_state: usize,
    /// The column's first channel among all. A unit without channels stays for the barriers, on the last, and adds nothing.
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
        let first_channel = column * comptime!(places.per_column);
        let d_inner = comptime!(places.sizes.d_inner);
        Role {
            unit,
            column,
            group,
            first_channel,
            first_state: group * comptime!(places.per_group),
            own: clamp_max::<usize>(
                block_first + first_channel,
                comptime!(places.sizes.d_inner - places.per_column),
            ),
            active: block_first + first_channel < d_inner,
        }
    }
}
