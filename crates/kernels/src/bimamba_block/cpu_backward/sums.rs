//! Sums of the parameters' gradients.

use crate::bimamba_block::weights::{Padded, Weights, flatten_gradients, fold_into_first};
use crate::scratch::Scratch;

/// Sums of the parameters' gradients of one sequence, kept apart by slot or block of channels.
pub(super) struct Sums {
    /// `[n_slot]` of shared gradients.
    pub(super) shared: Scratch,
    /// Per direction, `[n_slot]` of its gradients.
    pub(super) directions: [Scratch; 2],
    /// `[2, n_block]` of channel sums.
    pub(super) channels: Scratch,
}

impl Sums {
    pub(super) fn new(padded: &Padded, n_slot: usize) -> Self {
        Self {
            shared: Scratch::zeroed(n_slot * padded.shared_len()),
            directions: [(); 2].map(|()| Scratch::zeroed(n_slot * padded.direction_len())),
            channels: Scratch::zeroed(2 * padded.n_block * padded.channel_len()),
        }
    }

    /// Adds all slots to the first.
    pub(super) fn fold_slots(&mut self, padded: &Padded) {
        fold_into_first(&mut self.shared, padded.shared_len());
        for sums in &mut self.directions {
            fold_into_first(sums, padded.direction_len());
        }
    }

    /// Adds the folded sums of another sequence.
    pub(super) fn add(&mut self, other: &Self, padded: &Padded) {
        let (shared_len, direction_len) = (padded.shared_len(), padded.direction_len());
        let [forward, reverse] = &mut self.directions;
        let [other_forward, other_reverse] = &other.directions;
        for (sums, other) in [
            (&mut self.shared[..shared_len], &other.shared[..shared_len]),
            (
                &mut forward[..direction_len],
                &other_forward[..direction_len],
            ),
            (
                &mut reverse[..direction_len],
                &other_reverse[..direction_len],
            ),
            (&mut self.channels[..], &other.channels[..]),
        ] {
            for (sum, other) in sums.iter_mut().zip(other) {
                *sum += other;
            }
        }
    }

    pub(super) fn finish(mut self, weights: &Weights) -> Vec<f32> {
        let padded = &weights.padded;
        let mut directions = Vec::with_capacity(2 * padded.direction_len());
        for sums in &self.directions {
            directions.extend_from_slice(&sums[..padded.direction_len()]);
        }
        flatten_gradients(
            weights,
            &mut self.shared[..padded.shared_len()],
            &mut directions,
            &mut self.channels,
        )
    }
}
