//! How a cube divides its channels, and what each of its units does.

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

/// Most channels of a column.
const COLUMN: usize = 2;

/// Most states of a group.
const GROUP: usize = 4;

/// Most units of a cube, as many as WebGPU promises.
const UNITS: usize = 256;

/// Shared memory that a cube uses at most, where the device has it: several cubes then share a processor.
pub(in crate::bimamba_block::gpu) const SHARED_BYTES: usize = 56 * 1024;

/// How a cube divides its channels, and how much its units share.
///
/// Channels are divided into columns and states into groups; a unit has the pairs of a column and a group. Both are vectors that
/// move in one access: lengths are counted in vectors of a column's channels or of a group's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::bimamba_block::gpu) struct Places {
    pub(super) sizes: BlockSizes,
    /// Whether positions have a mask.
    pub(super) masked: bool,
    pub(super) channels: usize,
    /// Channels of a column, a divisor of the block's channels: all of a column exist, or none.
    pub(in crate::bimamba_block::gpu) per_column: usize,
    /// States of a group, a divisor of dt_rank too: step-size inputs, B and C are whole vectors of a row.
    pub(in crate::bimamba_block::gpu) per_group: usize,
}

impl Places {
    fn new(sizes: BlockSizes, masked: bool, channels: usize) -> Self {
        // The largest power of two that divides both numbers, or `most`, another one.
        let divisor = |most: usize, a: usize, b: usize| most.min(1 << (a | b).trailing_zeros());
        Self {
            sizes,
            masked,
            channels,
            per_column: divisor(COLUMN, sizes.d_inner, channels),
            per_group: divisor(GROUP, sizes.d_state, sizes.dt_rank),
        }
    }

    /// As many channels as a cube has, at most, whose shared memory fits in a device's, of `device_bytes`, and in
    /// [`SHARED_BYTES`].
    pub(in crate::bimamba_block::gpu) fn that_fit(
        sizes: BlockSizes,
        masked: bool,
        device_bytes: usize,
    ) -> Self {
        let bytes = SHARED_BYTES.min(device_bytes);
        let mut places = Self::new(sizes, masked, CHANNELS);
        while places.channels > 1 && (places.bytes() > bytes || places.units() > UNITS) {
            places = Self::new(sizes, masked, places.channels / 2);
        }
        places
    }

    /// Blocks of channels, each with its part of the rows' gradients.
    pub(in crate::bimamba_block::gpu) fn n_block(&self) -> usize {
        self.sizes.d_inner.div_ceil(self.channels)
    }

    pub(super) fn n_column(&self) -> usize {
        self.channels / self.per_column
    }

    pub(super) fn n_group(&self) -> usize {
        self.sizes.d_state / self.per_group
    }

    pub(in crate::bimamba_block::gpu) fn units(&self) -> usize {
        self.n_column() * self.n_group()
    }

    /// Columns of all channels.
    pub(super) fn n_column_of_all(&self) -> usize {
        self.sizes.d_inner / self.per_column
    }

    /// Vectors of a row's step-size inputs.
    pub(super) fn n_input(&self) -> usize {
        self.sizes.dt_rank / self.per_group
    }

    /// Vectors of a row: step-size inputs, B and C.
    pub(super) fn row_len(&self) -> usize {
        self.n_input() + 2 * self.n_group()
    }

    /// Steps, of as many as `steps`, at which a unit owns its column's channels.
    pub(super) fn n_own(&self, steps: usize) -> usize {
        steps.div_ceil(self.n_group())
    }

    /// Whether every unit owns [`n_own`](Self::n_own) of as many as `steps` steps.
    pub(super) fn own_all(&self, steps: usize) -> bool {
        steps.is_multiple_of(self.n_group())
    }

    /// Rounds in which the units load the rows of `steps` steps.
    pub(super) fn row_turns(&self, steps: usize) -> usize {
        (steps * self.row_len()).div_ceil(self.units())
    }

    /// Step-size inputs whose weights' gradients a unit adds up, at most.
    pub(super) fn n_weight(&self) -> usize {
        self.sizes.dt_rank.div_ceil(self.n_group())
    }

    /// Parts in which a run's sums over columns are taken, of which there are `n_sum`, so that many units have one.
    fn parts(&self, n_sum: usize) -> usize {
        let mut parts = 1;
        while 2 * parts * n_sum <= self.units() && self.n_column().is_multiple_of(2 * parts) {
            parts *= 2;
        }
        parts
    }

    /// Sums over columns for a run's step-size inputs.
    pub(super) fn n_draw_sum(&self) -> usize {
        RUN * self.sizes.dt_rank
    }

    pub(super) fn draw_parts(&self) -> usize {
        self.parts(self.n_draw_sum())
    }

    /// Sums over columns for a run's B and C, in vectors of a group.
    pub(super) fn n_state_sum(&self) -> usize {
        RUN * 2 * self.n_group()
    }

    pub(super) fn state_parts(&self) -> usize {
        self.parts(self.n_state_sum())
    }

    /// Steps whose rows are shared at a time: a stage's, or those of the run that is walked and of the next.
    pub(super) fn row_steps(&self) -> usize {
        STAGE.max(2 * RUN)
    }

    /// Columns from a step's draws, or an input's weights, to the next. Padded, so that the units of a plane meet different banks.
    pub(super) fn draw_pitch(&self) -> usize {
        self.n_column() + GROUP / self.per_column
    }

    pub(super) fn draws(&self) -> usize {
        RUN * self.draw_pitch()
    }

    pub(super) fn weights(&self) -> usize {
        (self.sizes.dt_rank + 2) * self.draw_pitch()
    }

    /// Columns from a step's scalars to the next step's, of which each channel has `n`.
    pub(super) fn scalar_pitch(&self, n: usize) -> usize {
        n * self.n_column()
    }

    pub(super) fn scalars(&self) -> usize {
        let of_a_run = RUN * self.scalar_pitch(RUN_SCALARS);
        of_a_run.max(STAGE * self.scalar_pitch(STAGE_SCALARS))
    }

    pub(super) fn channel_sums(&self) -> usize {
        RUN * CHANNEL_SUMS * self.units()
    }

    pub(super) fn before(&self) -> usize {
        RUN * self.per_column * self.units()
    }

    /// Groups from a sum for B or C to the next; padded as draws are.
    pub(super) fn state_pitch(&self) -> usize {
        self.n_column() + 1
    }

    pub(super) fn state_sums(&self) -> usize {
        self.n_state_sum() * self.state_pitch()
    }

    /// Bytes that the units share. Metal allots each array in whole units of sixteen, which brings no size past a limit that it
    /// was within.
    pub(in crate::bimamba_block::gpu) fn bytes(&self) -> usize {
        let columns = self.scalars() + self.channel_sums() + self.draws() + self.weights();
        let of_states = self.state_sums() + self.n_state_sum() * self.state_parts();
        let groups = self.row_steps() * 2 * self.n_group() + self.before() + of_states;
        let single = self.row_steps() * self.sizes.dt_rank + self.n_draw_sum() * self.draw_parts();
        (columns * self.per_column + groups * self.per_group + single) * size_of::<f32>()
    }
}

/// What a unit does in its cube.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Role {
    pub(super) unit: usize,
    /// The unit's column of channels and group of states. It owns the column's channels at every step that leaves the
    /// group as a remainder, divided by the number of groups.
    pub(super) column: usize,
    pub(super) group: usize,
    /// The column among all. A unit without channels stays for the barriers, on the last, and adds nothing.
    pub(super) own: usize,
    pub(super) active: bool,
}

#[cube]
impl Role {
    pub(super) fn new(#[comptime] places: Places) -> Role {
        let unit = UNIT_POS_X as usize;
        let column = unit % comptime!(places.n_column());
        let own = CUBE_POS_X as usize * comptime!(places.n_column()) + column;
        let n_column = comptime!(places.n_column_of_all());
        Role {
            unit,
            column,
            group: unit / comptime!(places.n_column()),
            own: clamp_max::<usize>(own, n_column - 1),
            active: own < n_column,
        }
    }
}
