//! The Beta mask on the CPU: one pass over the positions each way, in double precision per position,
//! divided into fixed runs of positions for the threads.

use std::sync::Arc;

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::concentrations::{Combination, ConcentrationPair};
use super::divergence::Marginal;
use super::sample_gradient::{SampleGradient, UnitPoint};
use super::{BetaMaskBackend, MaskDecoding, MaskPlan, PlannedDraw};
use crate::flex_tensor::{contiguous, elements, from_values};
use crate::random::PositionStream;

/// Positions a thread takes at a time.
const RUN: usize = 1024;

/// Checked, contiguous arguments of a call.
#[derive(Debug, Clone, Copy)]
struct Arguments<'a> {
    logits: &'a [f32],
    tracks: &'a [f32],
    overwrite: &'a [f32],
    given: &'a [f32],
    length: usize,
    n_tracks: usize,
}

/// What every position of a call shares.
struct Call<'a> {
    arguments: Arguments<'a>,
    combination: Combination,
    marginal: Marginal,
    plan: &'a MaskPlan,
}

impl<'a> Call<'a> {
    fn new(arguments: Arguments<'a>, plan: &'a MaskPlan) -> Self {
        Self {
            arguments,
            combination: Combination::new(&plan.config),
            marginal: Marginal::new(plan.config.marginal),
            plan,
        }
    }

    fn logits(&self, index: usize) -> &'a [f32] {
        &self.arguments.logits[2 * index..][..2]
    }

    #[inline]
    fn concentrations(&self, index: usize) -> ConcentrationPair {
        let n_tracks = self.arguments.n_tracks;
        let tracks = &self.arguments.tracks[n_tracks * index..][..n_tracks];
        self.combination.at(self.logits(index), tracks)
    }

    /// Returns the sample or given value of a position, `None` where the mean is asked for.
    #[inline]
    fn point(&self, index: usize, pair: ConcentrationPair) -> Option<UnitPoint> {
        match &self.plan.draw {
            PlannedDraw::Mean => None,
            PlannedDraw::Sample { seeds } => {
                let (row, position) =
                    (index / self.arguments.length, index % self.arguments.length);
                let mut stream = PositionStream::new(seeds[row], position as u64);
                Some(UnitPoint::from_logit(
                    stream.sample_beta_logit(pair.alpha, pair.beta),
                ))
            }
            PlannedDraw::Given => Some(UnitPoint::from_value(f64::from(
                self.arguments.given[index],
            ))),
        }
    }

    #[inline]
    fn mask(&self, index: usize, pair: ConcentrationPair) -> f32 {
        let overwrite = self.arguments.overwrite[index];
        if overwrite >= 0.0 {
            return overwrite;
        }
        let value = match self.point(index, pair) {
            None => UnitPoint::clamp_single(pair.alpha / (pair.alpha + pair.beta)),
            Some(point) => UnitPoint::clamp_single(point.low),
        };
        match self.plan.config.decoding {
            MaskDecoding::Soft => value,
            MaskDecoding::Threshold(_) if value.is_nan() => value,
            MaskDecoding::Threshold(threshold) => f32::from(value >= threshold),
        }
    }

    /// Returns the gradient of the two concentrations of a position from that of its mask and divergence.
    #[inline]
    fn concentration_gradient(
        &self,
        sample_gradient: &SampleGradient,
        index: usize,
        pair: ConcentrationPair,
        mask_gradient: f64,
        divergence_gradient: f64,
    ) -> (f64, f64) {
        let (mut dalpha, mut dbeta) = self.marginal.divergence_gradient(pair.alpha, pair.beta);
        dalpha *= divergence_gradient;
        dbeta *= divergence_gradient;
        if self.arguments.overwrite[index] < 0.0 && mask_gradient != 0.0 {
            let (value_dalpha, value_dbeta) = match self.point(index, pair) {
                None => {
                    let sum = pair.alpha + pair.beta;
                    (pair.beta / sum / sum, -pair.alpha / sum / sum)
                }
                Some(point) => sample_gradient.at(point, pair.alpha, pair.beta),
            };
            dalpha += mask_gradient * value_dalpha;
            dbeta += mask_gradient * value_dbeta;
        }
        (
            if pair.alpha_is_floored { 0.0 } else { dalpha },
            if pair.beta_is_floored { 0.0 } else { dbeta },
        )
    }
}

/// Computes mask and divergence, `[2, batch, length]` flattened.
fn forward(arguments: Arguments<'_>, plan: &MaskPlan) -> Vec<f32> {
    let call = Call::new(arguments, plan);
    let n_positions = arguments.overwrite.len();
    let mut output = vec![0.0; 2 * n_positions];
    let (masks, divergences) = output.split_at_mut(n_positions);
    masks
        .par_chunks_mut(RUN)
        .zip(divergences.par_chunks_mut(RUN))
        .enumerate()
        .for_each(|(run, (masks, divergences))| {
            for (offset, (mask, divergence)) in masks.iter_mut().zip(divergences).enumerate() {
                let index = run * RUN + offset;
                let pair = call.concentrations(index);
                *mask = call.mask(index, pair);
                *divergence = finite_single(call.marginal.divergence_of(pair.alpha, pair.beta));
            }
        });
    output
}

/// Computes the gradients of `logits`, `[batch, length, 2]`, and `tracks`, `[batch, length, n_tracks]`.
fn backward(gradient: &[f32], arguments: Arguments<'_>, plan: &MaskPlan) -> (Vec<f32>, Vec<f32>) {
    let call = Call::new(arguments, plan);
    let sample_gradient = SampleGradient::new();
    let n_tracks = arguments.n_tracks;
    let (mask_gradients, divergence_gradients) = gradient.split_at(arguments.overwrite.len());
    let mut logits_gradient = vec![0.0; arguments.logits.len()];
    let mut tracks_gradient = vec![0.0; arguments.tracks.len()];
    // With no tracks there is nothing to divide, and no length to divide it by.
    let mut track_runs: Vec<&mut [f32]> = if n_tracks == 0 {
        Vec::new()
    } else {
        tracks_gradient.chunks_mut(RUN * n_tracks).collect()
    };
    track_runs.resize_with(arguments.overwrite.len().div_ceil(RUN), Default::default);
    logits_gradient
        .par_chunks_mut(2 * RUN)
        .zip(track_runs)
        .enumerate()
        .for_each(|(run, (logits_gradient, tracks_gradient))| {
            for (offset, logit_gradients) in logits_gradient.chunks_exact_mut(2).enumerate() {
                let index = run * RUN + offset;
                let (dalpha, dbeta) = call.concentration_gradient(
                    &sample_gradient,
                    index,
                    call.concentrations(index),
                    f64::from(mask_gradients[index]),
                    f64::from(divergence_gradients[index]),
                );
                let logits = call.logits(index);
                logit_gradients[0] = finite_single(dbeta * call.combination.logit_slope(logits[0]));
                logit_gradients[1] =
                    finite_single(dalpha * call.combination.logit_slope(logits[1]));
                for (track, gradient) in tracks_gradient[offset * n_tracks..][..n_tracks]
                    .iter_mut()
                    .enumerate()
                {
                    *gradient = finite_single(dalpha * call.combination.track_slope(track));
                }
            }
        });
    (logits_gradient, tracks_gradient)
}

/// Rounds to single precision; what would overflow becomes the largest finite number, NaN stays.
#[inline]
fn finite_single(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}

impl BetaMaskBackend for Flex {
    fn beta_mask(
        logits: FlexTensor,
        tracks: FlexTensor,
        overwrite: FlexTensor,
        given: FlexTensor,
        plan: Arc<MaskPlan>,
    ) -> FlexTensor {
        let [batch, length, _] = logits.shape().dims();
        let tensors = [logits, tracks, overwrite, given].map(contiguous);
        let output = forward(arguments(&tensors), &plan);
        from_values(output, [2, batch, length])
    }

    fn beta_mask_backward(
        gradient: FlexTensor,
        logits: FlexTensor,
        tracks: FlexTensor,
        overwrite: FlexTensor,
        given: FlexTensor,
        plan: Arc<MaskPlan>,
    ) -> (FlexTensor, FlexTensor) {
        let (logits_shape, tracks_shape): ([usize; 3], [usize; 3]) =
            (logits.shape().dims(), tracks.shape().dims());
        let gradient = contiguous(gradient);
        let tensors = [logits, tracks, overwrite, given].map(contiguous);
        let (logits, tracks) = backward(elements(&gradient), arguments(&tensors), &plan);
        (
            from_values(logits, logits_shape),
            from_values(tracks, tracks_shape),
        )
    }
}

fn arguments([logits, tracks, overwrite, given]: &[FlexTensor; 4]) -> Arguments<'_> {
    let [_, length, n_tracks] = tracks.shape().dims();
    Arguments {
        logits: elements(logits),
        tracks: elements(tracks),
        overwrite: elements(overwrite),
        given: elements(given),
        length,
        n_tracks,
    }
}
