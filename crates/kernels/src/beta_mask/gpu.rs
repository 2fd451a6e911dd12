//! The Beta mask on a device: one unit a position each way, in single precision throughout.
//!
//! `docs/kernels/beta_mask.md` gives the rearrangements that single precision needs and the bounds that follow.

use std::sync::Arc;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{DType, Shape, TensorMetadata};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::concentrations::{Combination, SOFTPLUS_THRESHOLD};
use super::divergence::Marginal;
use super::sample_gradient::{NODE, NODES, WEIGHT};
use super::{BetaMaskBackend, CONCENTRATION_FLOOR, MaskDecoding, MaskPlan, PlannedDraw};
use crate::device_math::{exp, held_between, is_nan, ln_1p};
use crate::random::gpu::sample_beta_logit;
use divergence::{divergence_from_marginal, divergence_gradient};
use sample_gradient::{gradient_of_sample, held, point_of_logit, point_of_value};

mod divergence;
mod gamma_functions;
mod sample_gradient;

/// Units of a cube, each with a position of its own.
const UNITS: u32 = 64;

/// Where the value behind the mask comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Mean,
    Sample,
    Given,
}

/// What a kernel is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Variant {
    source: Source,
    is_threshold: bool,
    n_tracks: usize,
}

// Places in the array of settings; the quadrature's nodes and weights come next, then the tracks' weights.
const BETA_MIN: usize = 0;
const PRIOR_SCALE_FACTOR: usize = 1;
const Z_SCALE: usize = 2;
const ALPHA_OFFSET: usize = 3;
const BETA_OFFSET: usize = 4;
const MARGINAL_ALPHA: usize = 5;
const MARGINAL_BETA: usize = 6;
const MARGINAL_LN_BETA: usize = 7;
const THRESHOLD: usize = 8;
const RULE: usize = 9;
const TRACK_WEIGHT: usize = RULE + 2 * NODES;

const FLOOR: f32 = CONCENTRATION_FLOOR as f32;
const SOFTPLUS_IDENTITY_ABOVE: f32 = SOFTPLUS_THRESHOLD as f32;

/// Concentrations of a position; an active floor stops that concentration's gradient. `poison` is NaN where an argument
/// is NaN, else 0: comparisons and bit operations on the way would lose it.
#[derive(CubeType, Clone, Copy)]
struct DevicePair {
    alpha: f32,
    beta: f32,
    alpha_slope: f32,
    beta_slope: f32,
    poison: f32,
}

/// Concentration that the sequence gives, before any floor.
#[cube]
fn sequence(logit: f32) -> f32 {
    let is_large = logit > SOFTPLUS_IDENTITY_ABOVE;
    select(is_large, logit, ln_1p(exp(logit)))
}

/// Derivative of the softplus: 1 / (1 + e^-logit), or 1 above the threshold.
#[cube]
fn sigmoid(logit: f32) -> f32 {
    let odds = exp(-logit.abs());
    let slope = select(logit < 0.0, odds, 1.0f32) / (1.0 + odds);
    select(logit > SOFTPLUS_IDENTITY_ABOVE, 1.0f32, slope)
}

#[cube]
fn pair_at(
    index: usize,
    logits: &Tensor<f32>,
    tracks: &Tensor<f32>,
    constants: &Tensor<f32>,
    #[comptime] n_tracks: usize,
) -> DevicePair {
    let toward_0 = logits[2 * index];
    let toward_1 = logits[2 * index + 1];
    let beta_min = constants[BETA_MIN];
    let scale = constants[PRIOR_SCALE_FACTOR];
    let z_scale = constants[Z_SCALE];
    let mut alpha = sequence(toward_1) + beta_min + FLOOR + constants[ALPHA_OFFSET];
    let mut poison = toward_0 + toward_1;
    #[unroll]
    for track in 0..n_tracks {
        let value = tracks[n_tracks * index + track];
        alpha += constants[TRACK_WEIGHT + track] * ((value + beta_min) * scale + FLOOR);
        poison += value;
    }
    let alpha = alpha * z_scale;
    let beta = (sequence(toward_0) + beta_min + FLOOR + constants[BETA_OFFSET]) * z_scale;
    let alpha_is_floored = alpha < FLOOR;
    let beta_is_floored = beta < FLOOR;
    DevicePair {
        alpha: select(alpha_is_floored, FLOOR, alpha),
        beta: select(beta_is_floored, FLOOR, beta),
        alpha_slope: select(alpha_is_floored, 0.0f32, z_scale),
        beta_slope: select(beta_is_floored, 0.0f32, z_scale),
        poison: select(is_nan(poison), poison, 0.0f32),
    }
}

/// Rounds what would overflow to the largest finite number; NaN stays.
#[cube]
fn finite(value: f32) -> f32 {
    held_between(value, f32::MIN, f32::MAX)
}

#[cube(launch)]
fn mask_kernel(
    logits: &Tensor<f32>,
    tracks: &Tensor<f32>,
    overwrite: &Tensor<f32>,
    given: &Tensor<f32>,
    seeds: &Tensor<u32>,
    constants: &Tensor<f32>,
    output: &mut Tensor<f32>,
    #[comptime] variant: Variant,
) {
    let n_positions = overwrite.len();
    let index = ABSOLUTE_POS;
    if index < n_positions {
        let pair = pair_at(
            index,
            logits,
            tracks,
            constants,
            comptime!(variant.n_tracks),
        );
        let forced = overwrite[index];
        let mut mask = forced;
        let is_forced = forced >= 0.0;
        if !is_forced {
            let value = if comptime!(variant.source == Source::Mean) {
                pair.alpha / (pair.alpha + pair.beta) + pair.poison
            } else if comptime!(variant.source == Source::Sample) {
                let length = overwrite.shape(1);
                let row = index / length;
                let position = u32::cast_from(index % length);
                let logit = sample_beta_logit(
                    pair.alpha,
                    pair.beta,
                    seeds[2 * row],
                    seeds[2 * row + 1],
                    position,
                );
                point_of_logit(logit).low + pair.poison
            } else {
                given[index]
            };
            let value = held(value);
            mask = if comptime!(variant.is_threshold) {
                let chosen = select(value >= constants[THRESHOLD], 1.0f32, 0.0f32);
                select(is_nan(value), value, chosen)
            } else {
                value
            };
        }
        output[index] = mask;
        output[n_positions + index] = divergence_from_marginal(
            pair.alpha,
            pair.beta,
            constants[MARGINAL_ALPHA],
            constants[MARGINAL_BETA],
            constants[MARGINAL_LN_BETA],
        ) + pair.poison;
    }
}

#[cube(launch)]
fn gradient_kernel(
    gradient: &Tensor<f32>,
    logits: &Tensor<f32>,
    tracks: &Tensor<f32>,
    overwrite: &Tensor<f32>,
    given: &Tensor<f32>,
    seeds: &Tensor<u32>,
    constants: &Tensor<f32>,
    logits_gradient: &mut Tensor<f32>,
    tracks_gradient: &mut Tensor<f32>,
    #[comptime] variant: Variant,
) {
    let n_positions = overwrite.len();
    let index = ABSOLUTE_POS;
    if index < n_positions {
        let n_tracks = comptime!(variant.n_tracks);
        let pair = pair_at(index, logits, tracks, constants, n_tracks);
        let of_divergence = gradient[n_positions + index];
        let (divergence_alpha, divergence_beta) = divergence_gradient(
            pair.alpha,
            pair.beta,
            constants[MARGINAL_ALPHA],
            constants[MARGINAL_BETA],
        );
        let mut dalpha = of_divergence * divergence_alpha;
        let mut dbeta = of_divergence * divergence_beta;
        let of_mask = gradient[index];
        if overwrite[index] < 0.0 && of_mask != 0.0 {
            let (value_alpha, value_beta) = if comptime!(variant.source == Source::Mean) {
                let sum = pair.alpha + pair.beta;
                (pair.beta / sum / sum, -pair.alpha / sum / sum)
            } else {
                let point = if comptime!(variant.source == Source::Sample) {
                    let length = overwrite.shape(1);
                    let row = index / length;
                    let position = u32::cast_from(index % length);
                    point_of_logit(sample_beta_logit(
                        pair.alpha,
                        pair.beta,
                        seeds[2 * row],
                        seeds[2 * row + 1],
                        position,
                    ))
                } else {
                    point_of_value(given[index])
                };
                gradient_of_sample(&point, pair.alpha, pair.beta, constants, RULE, NODES)
            };
            dalpha += of_mask * value_alpha;
            dbeta += of_mask * value_beta;
        }
        let dalpha = dalpha * pair.alpha_slope + pair.poison;
        let dbeta = dbeta * pair.beta_slope + pair.poison;
        logits_gradient[2 * index] = finite(dbeta * sigmoid(logits[2 * index]));
        logits_gradient[2 * index + 1] = finite(dalpha * sigmoid(logits[2 * index + 1]));
        #[unroll]
        for track in 0..n_tracks {
            let slope = constants[TRACK_WEIGHT + track] * constants[PRIOR_SCALE_FACTOR];
            tracks_gradient[n_tracks * index + track] = finite(dalpha * slope);
        }
    }
}

/// Contiguous arguments of a call on their device, settings and seeds included.
struct DeviceCall {
    logits: CubeTensor,
    tracks: CubeTensor,
    overwrite: CubeTensor,
    given: CubeTensor,
    seeds: CubeTensor,
    settings: CubeTensor,
    variant: Variant,
}

impl DeviceCall {
    fn new([logits, tracks, overwrite, given]: [CubeTensor; 4], plan: &MaskPlan) -> Self {
        let [_, _, n_tracks] = tracks.shape().dims::<3>();
        let (source, seeds) = match &plan.draw {
            PlannedDraw::Mean => (Source::Mean, vec![0, 0]),
            PlannedDraw::Sample { seeds } => {
                let halves = seeds
                    .iter()
                    .flat_map(|seed| [*seed as u32, (*seed >> 32) as u32]);
                (Source::Sample, halves.collect())
            }
            PlannedDraw::Given => (Source::Given, vec![0, 0]),
        };
        let seeds: Vec<u8> = seeds.into_iter().flat_map(u32::to_le_bytes).collect();
        let settings: Vec<u8> = settings(plan)
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect();
        let upload = |bytes: &[u8], dtype| {
            CubeTensor::new_contiguous(
                logits.client.clone(),
                logits.device.clone(),
                Shape::new([bytes.len() / 4]),
                logits.client.create_from_slice(bytes),
                dtype,
            )
        };
        let (seeds, settings) = (upload(&seeds, DType::U32), upload(&settings, DType::F32));
        let overwrite = into_contiguous(overwrite);
        Self {
            // A kernel without tracks reads none, but a binding must not be empty.
            tracks: if n_tracks == 0 {
                overwrite.clone()
            } else {
                into_contiguous(tracks)
            },
            logits: into_contiguous(logits),
            overwrite,
            given: into_contiguous(given),
            seeds,
            settings,
            variant: Variant {
                source,
                is_threshold: matches!(plan.config.decoding, MaskDecoding::Threshold(_)),
                n_tracks,
            },
        }
    }

    fn empty(&self, shape: impl Into<Shape>) -> CubeTensor {
        empty_device_contiguous_dtype(
            self.logits.client.clone(),
            self.logits.device.clone(),
            shape.into(),
            DType::F32,
        )
    }

    fn grid(&self) -> (CubeCount, CubeDim) {
        let dim = CubeDim::new_1d(UNITS);
        let n_positions = self.overwrite.shape().num_elements();
        (
            calculate_cube_count_elemwise(&self.logits.client, n_positions, dim),
            dim,
        )
    }
}

/// The settings as the kernels read them.
fn settings(plan: &MaskPlan) -> Vec<f32> {
    let combination = Combination::new(&plan.config);
    let marginal = Marginal::new(plan.config.marginal);
    let threshold = match plan.config.decoding {
        MaskDecoding::Threshold(threshold) => threshold,
        MaskDecoding::Soft => 0.0,
    };
    let mut settings = vec![0.0; TRACK_WEIGHT + combination.tracks.len()];
    let mut set = |place: usize, value: f64| settings[place] = value as f32;
    set(BETA_MIN, combination.beta_min);
    set(PRIOR_SCALE_FACTOR, combination.prior_scale_factor);
    set(Z_SCALE, combination.z_scale);
    set(ALPHA_OFFSET, combination.alpha_offset);
    set(BETA_OFFSET, combination.beta_offset);
    set(MARGINAL_ALPHA, marginal.alpha);
    set(MARGINAL_BETA, marginal.beta);
    set(MARGINAL_LN_BETA, marginal.ln_beta);
    set(THRESHOLD, f64::from(threshold));
    for (place, value) in NODE.into_iter().chain(WEIGHT).enumerate() {
        set(RULE + place, value);
    }
    for (place, track) in combination.tracks.iter().enumerate() {
        set(TRACK_WEIGHT + place, track.weight);
    }
    settings
}

impl BetaMaskBackend for CubeBackend {
    fn beta_mask(
        logits: CubeTensor,
        tracks: CubeTensor,
        overwrite: CubeTensor,
        given: CubeTensor,
        plan: Arc<MaskPlan>,
    ) -> CubeTensor {
        let [batch, length] = overwrite.shape().dims();
        let call = DeviceCall::new([logits, tracks, overwrite, given], &plan);
        let output = call.empty([2, batch, length]);
        let (count, dim) = call.grid();
        let client = call.logits.client.clone();
        mask_kernel::launch(
            &client,
            count,
            dim,
            call.logits.into_tensor_arg(),
            call.tracks.into_tensor_arg(),
            call.overwrite.into_tensor_arg(),
            call.given.into_tensor_arg(),
            call.seeds.into_tensor_arg(),
            call.settings.into_tensor_arg(),
            output.clone().into_tensor_arg(),
            call.variant,
        );
        output
    }

    fn beta_mask_backward(
        gradient: CubeTensor,
        logits: CubeTensor,
        tracks: CubeTensor,
        overwrite: CubeTensor,
        given: CubeTensor,
        plan: Arc<MaskPlan>,
    ) -> (CubeTensor, CubeTensor) {
        let (logits_shape, tracks_shape) = (logits.shape(), tracks.shape());
        let call = DeviceCall::new([logits, tracks, overwrite, given], &plan);
        let logits_gradient = call.empty(logits_shape);
        // As for the tracks themselves: without any, the kernel writes none, and to a place of its own.
        let tracks_gradient = match call.variant.n_tracks {
            0 => call.empty([1]),
            _ => call.empty(tracks_shape.clone()),
        };
        let (count, dim) = call.grid();
        let client = call.logits.client.clone();
        gradient_kernel::launch(
            &client,
            count,
            dim,
            into_contiguous(gradient).into_tensor_arg(),
            call.logits.into_tensor_arg(),
            call.tracks.into_tensor_arg(),
            call.overwrite.into_tensor_arg(),
            call.given.into_tensor_arg(),
            call.seeds.into_tensor_arg(),
            call.settings.into_tensor_arg(),
            logits_gradient.clone().into_tensor_arg(),
            tracks_gradient.clone().into_tensor_arg(),
            call.variant,
        );
        let tracks_gradient = match call.variant.n_tracks {
            0 => CubeBackend::float_zeros(tracks_shape, &tracks_gradient.device, DType::F32.into()),
            _ => tracks_gradient,
        };
        (logits_gradient, tracks_gradient)
    }
}
