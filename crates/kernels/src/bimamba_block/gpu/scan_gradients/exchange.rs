//! What the units of a cube share.

use cubecl::prelude::*;

use super::places::Places;

/// What the units of a cube share, in vectors of a column's channels, `N`, or of a group's states, `S`.
#[derive(CubeType)]
pub(super) struct Exchange<N: Size, S: Size> {
    /// Step-size inputs of a stage's steps, or of two runs', one that is walked and the next.
    pub(super) inputs: Shared<[f32]>,
    /// B and C of the same steps.
    pub(super) states: Shared<[Vector<f32, S>]>,
    /// [`RUN_SCALARS`](super::places::RUN_SCALARS) of each channel at each step of a run, or
    /// [`STAGE_SCALARS`](super::places::STAGE_SCALARS) of a stage.
    pub(super) scalars: Shared<[Vector<f32, N>]>,
    /// What each unit has of [`CHANNEL_SUMS`](super::places::CHANNEL_SUMS) at each step; once they are added up, under a mask, the
    /// mask's gradients in place of the first.
    pub(super) channel_sums: Shared<[Vector<f32, N>]>,
    /// What each column of channels has of the gradients of B and C.
    pub(super) state_sums: Shared<[Vector<f32, S>]>,
    /// What each part of the columns has of them.
    pub(super) state_parts: Shared<[Vector<f32, S>]>,
    /// The states before each step of a run.
    pub(super) before: Shared<[Vector<f32, S>]>,
    /// Gradients of the raw step sizes.
    pub(super) draws: Shared<[Vector<f32, N>]>,
    /// What each part of the columns has of the gradients of step-size inputs.
    pub(super) draw_parts: Shared<[f32]>,
    /// The projection to step sizes, `[dt_rank, column]`, then its bias and d.
    pub(super) weights: Shared<[Vector<f32, N>]>,
}

#[cube]
impl<N: Size, S: Size> Exchange<N, S> {
    pub(super) fn new(#[comptime] places: Places) -> Exchange<N, S> {
        Exchange::<N, S> {
            inputs: Shared::<[f32]>::new_slice(comptime!(
                places.row_steps() * places.sizes.dt_rank
            )),
            states: Shared::<[Vector<f32, S>]>::new_slice(comptime!(
                places.row_steps() * 2 * places.n_group()
            )),
            scalars: Shared::<[Vector<f32, N>]>::new_slice(comptime!(places.scalars())),
            channel_sums: Shared::<[Vector<f32, N>]>::new_slice(comptime!(places.channel_sums())),
            state_sums: Shared::<[Vector<f32, S>]>::new_slice(comptime!(places.state_sums())),
            state_parts: Shared::<[Vector<f32, S>]>::new_slice(comptime!(
                places.n_state_sum() * places.state_parts()
            )),
            before: Shared::<[Vector<f32, S>]>::new_slice(comptime!(places.before())),
            draws: Shared::<[Vector<f32, N>]>::new_slice(comptime!(places.draws())),
            draw_parts: Shared::<[f32]>::new_slice(comptime!(
                places.n_draw_sum() * places.draw_parts()
            )),
            weights: Shared::<[Vector<f32, N>]>::new_slice(comptime!(places.weights())),
        }
    }
}

/// The place `at` among `len`, as a number of so few bits that a compiler sees sums with it that do not wrap, and leaves what is
/// constant in them to the instruction that reads or writes.
#[cube]
pub(super) fn within(at: usize, #[comptime] len: usize) -> usize {
    at % comptime!(len.next_power_of_two())
}
