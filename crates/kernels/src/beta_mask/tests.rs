use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;

use super::golden::{assert_close, assert_within, double};
#[cfg(feature = "gpu")]
use super::reference::concentrations_reference;
use super::reference::{
    ReferenceArguments, ReferenceDraw, ReferenceMask, beta_mask_backward_reference,
    beta_mask_reference,
};
use super::targets::{self, Arithmetic, Target, tensor_on, values};
use super::{BetaMaskConfig, MaskDecoding, MaskDraw, beta_mask};
use crate::random::PositionStream;
use crate::test_device::suite;

/// Single-precision outputs of double-precision arithmetic: a rounding and a half.
const OUTPUT_TOLERANCE: f64 = 1e-7;

/// One call's arguments; batch and length prime, tracks of realistic range.
struct Case {
    batch: usize,
    length: usize,
    logits: Vec<f32>,
    tracks: Vec<f32>,
    overwrite: Vec<f32>,
    given: Vec<f32>,
    gradient: Vec<f32>,
}

impl Case {
    fn new(batch: usize, length: usize) -> Self {
        let n = batch * length;
        let mut stream = PositionStream::new(2, n as u64);
        let mut normal = |count: usize, scale: f64| -> Vec<f32> {
            (0..count)
                .map(|_| (scale * stream.sample_normal()) as f32)
                .collect()
        };
        let logits = normal(2 * n, 4.0);
        let tracks = normal(3 * n, 2.0)
            .iter()
            .map(|x| (x.exp() - 1.0).max(0.0))
            .collect();
        let overwrite = normal(n, 1.0)
            .iter()
            .map(|x| {
                if *x < 1.2 {
                    -1.0
                } else if *x < 1.7 {
                    0.0
                } else {
                    1.0
                }
            })
            .collect();
        let given = normal(n, 2.0)
            .iter()
            .map(|x| 1.0 / (1.0 + x.exp()))
            .collect();
        let gradient = normal(2 * n, 1.0);
        Self {
            batch,
            length,
            logits,
            tracks,
            overwrite,
            given,
            gradient,
        }
    }

    fn rows(&self, first: usize, count: usize) -> Self {
        let cut = |values: &[f32], width: usize| {
            let row = self.length * width;
            values[first * row..(first + count) * row].to_vec()
        };
        let n = self.batch * self.length;
        Self {
            batch: count,
            length: self.length,
            logits: cut(&self.logits, 2),
            tracks: cut(&self.tracks, 3),
            overwrite: cut(&self.overwrite, 1),
            given: cut(&self.given, 1),
            gradient: [cut(&self.gradient[..n], 1), cut(&self.gradient[n..], 1)].concat(),
        }
    }

    fn draw(&self, draw: Draw, seeds: &[u64], device: &Device) -> MaskDraw {
        match draw {
            Draw::Mean => MaskDraw::Mean,
            Draw::Sample => MaskDraw::Sample {
                seeds: seeds.to_vec(),
            },
            Draw::Given => {
                MaskDraw::Given(tensor_on(&self.given, [self.batch, self.length], device))
            }
        }
    }

    /// Returns mask and divergence, gradient of the logits, gradient of the tracks.
    fn run(
        &self,
        target: &Target,
        config: &BetaMaskConfig,
        draw: Draw,
        seeds: &[u64],
    ) -> [Vec<f32>; 3] {
        let device = target.device.clone().autodiff();
        let leaf = |values: &[f32], width: usize| {
            let data = TensorData::new(values.to_vec(), [self.batch, self.length, width]);
            Tensor::<3>::from_data(data, &device).require_grad()
        };
        let (logits, tracks) = (leaf(&self.logits, 2), leaf(&self.tracks, 3));
        let overwrite = tensor_on(&self.overwrite, [self.batch, self.length], &target.device);
        let output = beta_mask(
            logits.clone(),
            tracks.clone(),
            overwrite,
            config,
            self.draw(draw, seeds, &target.device),
        )
        .unwrap();
        assert_eq!(output.dims(), [2, self.batch, self.length]);
        let gradient = TensorData::new(self.gradient.clone(), [2, self.batch, self.length]);
        let gradients = (output.clone() * Tensor::from_data(gradient, &device))
            .sum()
            .backward();
        [
            values(output),
            values(logits.grad(&gradients).unwrap()),
            values(tracks.grad(&gradients).unwrap()),
        ]
    }

    /// Returns what [`Case::run`] should, by the reference.
    fn expected(&self, config: &BetaMaskConfig, draw: Draw, seeds: &[u64]) -> [Vec<f64>; 3] {
        let [logits, tracks, overwrite, given, gradient] = [
            &self.logits,
            &self.tracks,
            &self.overwrite,
            &self.given,
            &self.gradient,
        ]
        .map(|v| double(v));
        let arguments = ReferenceArguments {
            logits: &logits,
            tracks: &tracks,
            overwrite: &overwrite,
            length: self.length,
        };
        let draw = match draw {
            Draw::Mean => ReferenceDraw::Mean,
            Draw::Sample => ReferenceDraw::Sample(seeds),
            Draw::Given => ReferenceDraw::Given(&given),
        };
        let output = beta_mask_reference(arguments, config, draw).unwrap();
        let (mask, divergence) = gradient.split_at(overwrite.len());
        let gradient = ReferenceMask {
            mask: mask.to_vec(),
            divergence: divergence.to_vec(),
        };
        let logits_gradient =
            beta_mask_backward_reference(&gradient, arguments, config, draw).unwrap();
        // dalpha/dtrack_i = w_i s, dalpha/dlogit_1 = sigmoid(logit_1), both times z_scale.
        let mut tracks_gradient = Vec::new();
        for (logit, gradient) in logits.chunks_exact(2).zip(logits_gradient.chunks_exact(2)) {
            let slope = if logit[1] > 20.0 {
                1.0
            } else {
                1.0 / (1.0 + (-logit[1]).exp())
            };
            for weight in &config.track_weight {
                let scale = f64::from(*weight) * f64::from(config.prior_scale_factor);
                tracks_gradient.push(gradient[1] / slope * scale);
            }
        }
        [
            [output.mask, output.divergence].concat(),
            logits_gradient,
            tracks_gradient,
        ]
    }
}

impl Case {
    /// How far each value of [`Case::run`] may be off.
    fn allowed(
        &self,
        arithmetic: Arithmetic,
        config: &BetaMaskConfig,
        draw: Draw,
        seeds: &[u64],
    ) -> [Vec<f64>; 3] {
        match arithmetic {
            // Divergence and gradient cancel to about 1e-11 of their terms' size.
            Arithmetic::Double => self.expected(config, draw, seeds).map(|part| {
                part.iter()
                    .map(|e| OUTPUT_TOLERANCE * e.abs() + 1e-9)
                    .collect()
            }),
            #[cfg(feature = "gpu")]
            Arithmetic::Single => self.allowed_in_single_precision(config, draw, seeds),
        }
    }

    /// The bounds of `docs/kernels/beta_mask.md`: a logit's rounding moves a sample
    /// by 1e-5 of itself at most; terms of the divergence are of the size of its own and of the marginal's
    /// concentrations; a sample's gradient feels the rounding of its concentrations by the root of their size.
    #[cfg(feature = "gpu")]
    fn allowed_in_single_precision(
        &self,
        config: &BetaMaskConfig,
        draw: Draw,
        seeds: &[u64],
    ) -> [Vec<f64>; 3] {
        let n = self.batch * self.length;
        let mut through_mask = self.rows(0, self.batch);
        let mut through_divergence = self.rows(0, self.batch);
        through_mask.gradient[n..].fill(0.0);
        through_divergence.gradient[..n].fill(0.0);
        let [output, mask_logits, mask_tracks] = through_mask.expected(config, draw, seeds);
        let [_, divergence_logits, divergence_tracks] =
            through_divergence.expected(config, Draw::Mean, seeds);
        let of_output = output.iter().enumerate().map(|(index, expected)| {
            if index < n {
                1e-5 * expected.abs() + 1e-7
            } else {
                1e-6 * (expected.abs() + 1.0 + config.marginal.0 + config.marginal.1)
            }
        });
        let [logits, tracks, overwrite] =
            [&self.logits, &self.tracks, &self.overwrite].map(|v| double(v));
        let arguments = ReferenceArguments {
            logits: &logits,
            tracks: &tracks,
            overwrite: &overwrite,
            length: self.length,
        };
        let of_gradient = |through_mask: &[f64], through_divergence: &[f64]| -> Vec<f64> {
            let width = through_mask.len() / n;
            (0..through_mask.len())
                .map(|index| {
                    let (alpha, beta) = concentrations_reference(arguments, config, index / width);
                    let relative = 5e-6 + 1e-6 * (alpha + beta).sqrt();
                    let divergence = through_divergence[index].abs() + 0.1;
                    relative * through_mask[index].abs() + 2e-5 * divergence
                })
                .collect()
        };
        [
            of_output.collect(),
            of_gradient(&mask_logits, &divergence_logits),
            of_gradient(&mask_tracks, &divergence_tracks),
        ]
    }
}

suite!(
    crate::beta_mask::targets:
    output_and_gradients_agree_with_reference,
    rows_do_not_depend_on_their_batch,
    overwritten_positions_pass_no_gradient_to_the_mask_but_keep_their_divergence,
    threshold_is_inclusive_and_straight_through,
    extreme_arguments_give_finite_results_and_nan_stays_visible,
    strided_arguments_give_the_result_of_contiguous_ones,
);

#[derive(Debug, Clone, Copy)]
enum Draw {
    Mean,
    Sample,
    Given,
}

const DRAWS: [Draw; 3] = [Draw::Mean, Draw::Sample, Draw::Given];

fn configs() -> [(&'static str, BetaMaskConfig); 4] {
    let soft = BetaMaskConfig::seq2exp_soft();
    [
        ("hard", BetaMaskConfig::seq2exp_hard()),
        (
            "minus one",
            BetaMaskConfig {
                minus_one: true,
                z_scale: 0.5,
                ..soft.clone()
            },
        ),
        (
            "hard, soft decoding",
            BetaMaskConfig {
                decoding: MaskDecoding::Soft,
                ..BetaMaskConfig::seq2exp_hard()
            },
        ),
        ("soft", soft),
    ]
}
fn output_and_gradients_agree_with_reference(target: &Target) {
    // Lengths around the runs that threads take (1024 positions).
    for (batch, length) in [(1, 1), (1, 2), (2, 37), (1, 1023), (1, 1024), (1, 4099)] {
        let case = Case::new(batch, length);
        let seeds: Vec<u64> = (0..batch as u64)
            .map(|row| (row << 40) + 1000 + row)
            .collect();
        for (name, config) in configs() {
            for draw in DRAWS {
                let found = case.run(target, &config, draw, &seeds);
                let expected = case.expected(&config, draw, &seeds);
                let allowed = case.allowed(target.arithmetic, &config, draw, &seeds);
                for (part, what) in ["output", "logits", "tracks"].into_iter().enumerate() {
                    assert_within(
                        &format!("{name}, {draw:?}, [{batch}, {length}], {what}"),
                        &double(&found[part]),
                        &expected[part],
                        &allowed[part],
                    );
                }
            }
        }
    }
}

#[test]
fn reference_gradient_agrees_with_finite_differences() {
    const STEP: f64 = 1e-5;
    let case = Case::new(2, 5);
    let [logits, tracks, overwrite, gradient] =
        [&case.logits, &case.tracks, &case.overwrite, &case.gradient].map(|v| double(v));
    for (name, mut config) in configs() {
        config.decoding = MaskDecoding::Soft;
        let loss = |logits: &[f64]| {
            let arguments = ReferenceArguments {
                logits,
                tracks: &tracks,
                overwrite: &overwrite,
                length: 5,
            };
            let output = beta_mask_reference(arguments, &config, ReferenceDraw::Mean).unwrap();
            let output = [output.mask, output.divergence].concat();
            output
                .iter()
                .zip(&gradient)
                .map(|(o, g)| o * g)
                .sum::<f64>()
        };
        let numeric: Vec<f64> = (0..logits.len())
            .map(|index| {
                let at = |step: f64| {
                    let mut moved = logits.clone();
                    moved[index] += step;
                    loss(&moved)
                };
                (at(STEP) - at(-STEP)) / (2.0 * STEP)
            })
            .collect();
        let [_, expected, _] = case.expected(&config, Draw::Mean, &[]);
        // Central differences of a sum of about 1e3: 1e-13 / STEP of rounding.
        assert_close(name, &expected, &numeric, 1e-6, 1e-6);
    }
}

fn rows_do_not_depend_on_their_batch(target: &Target) {
    let case = Case::new(3, 1201);
    let seeds = [11, 12, 13];
    for (_, config) in configs() {
        for draw in DRAWS {
            let [output, logits, tracks] = case.run(target, &config, draw, &seeds);
            for row in 0..3 {
                let alone = case
                    .rows(row, 1)
                    .run(target, &config, draw, &seeds[row..=row]);
                let part = |values: &[f32], width: usize| {
                    values[row * 1201 * width..][..1201 * width].to_vec()
                };
                let planes = [part(&output[..3 * 1201], 1), part(&output[3 * 1201..], 1)].concat();
                assert_eq!(alone, [planes, part(&logits, 2), part(&tracks, 3)]);
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let case = Case::new(2, 3001);
    let config = BetaMaskConfig::seq2exp_soft();
    let cpu = targets::cpu().unwrap();
    let on_threads = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| case.run(&cpu, &config, Draw::Sample, &[5, 6]))
    };
    let one = on_threads(1);
    assert_eq!(one, on_threads(2));
    assert_eq!(one, on_threads(3));
}

fn overwritten_positions_pass_no_gradient_to_the_mask_but_keep_their_divergence(target: &Target) {
    let mut case = Case::new(1, 67);
    for (_, config) in configs() {
        for draw in DRAWS {
            let seeds = [3];
            case.overwrite = (0..67)
                .map(|i| if i % 3 == 0 { 1.0 } else { 0.0 })
                .collect();
            let [forced, with_mask_gradient, _] = case.run(target, &config, draw, &seeds);
            assert_eq!(&forced[..67], &case.overwrite[..]);
            case.overwrite = vec![-1.0; 67];
            let [free, _, _] = case.run(target, &config, draw, &seeds);
            assert_eq!(&forced[67..], &free[67..]);
            case.gradient[..67].fill(0.0);
            let [_, divergence_only, _] = case.run(target, &config, draw, &seeds);
            assert_eq!(with_mask_gradient, divergence_only);
            assert!(divergence_only.iter().any(|gradient| *gradient != 0.0));
        }
    }
}

fn threshold_is_inclusive_and_straight_through(target: &Target) {
    // Logits (l, l) without tracks: alpha = beta, mean exactly 1/2.
    let config = BetaMaskConfig {
        track_beta: vec![],
        track_weight: vec![],
        decoding: MaskDecoding::Threshold(0.5),
        ..BetaMaskConfig::seq2exp_hard()
    };
    let soft = BetaMaskConfig {
        decoding: MaskDecoding::Soft,
        ..config.clone()
    };
    let gradient_of = |config: &BetaMaskConfig| {
        let device = target.device.clone().autodiff();
        let logits = Tensor::<3>::from_data([[[0.3_f32, 0.3], [0.3, 0.2], [-1.0, 2.0]]], &device)
            .require_grad();
        let tracks = Tensor::<3>::zeros([1, 3, 0], &device);
        let keep = tensor_on(&[-1.0; 3], [1, 3], &target.device);
        let output = beta_mask(logits.clone(), tracks, keep, config, MaskDraw::Mean).unwrap();
        let mask = output.clone().narrow(0, 0, 1);
        let gradients = mask.clone().sum().backward();
        (values(mask), values(logits.grad(&gradients).unwrap()))
    };
    let ((hard_mask, hard_gradient), (_, soft_gradient)) =
        (gradient_of(&config), gradient_of(&soft));
    assert_eq!(hard_mask, [1.0, 0.0, 1.0]);
    assert_eq!(hard_gradient, soft_gradient);
}

fn extreme_arguments_give_finite_results_and_nan_stays_visible(target: &Target) {
    let extremes = [-80.0, -30.0, 0.0, 19.99, 20.01, 80.0];
    let tracks = [0.0, 1e-6, 1.0, 1e6];
    let mut case = Case::new(1, extremes.len() * extremes.len() * tracks.len());
    let grid = |index: usize| (index % 6, index / 6 % 6, index / 36);
    case.overwrite.fill(-1.0);
    for index in 0..case.length {
        let (low, high, track) = grid(index);
        case.logits[2 * index..][..2].copy_from_slice(&[extremes[low], extremes[high]]);
        case.tracks[3 * index..][..3].fill(tracks[track]);
        case.given[index] = [0.0, 1e-30, 0.5, 1.0][index % 4];
    }
    for (name, config) in configs() {
        for draw in DRAWS {
            for result in case.run(target, &config, draw, &[4]) {
                assert!(
                    result.iter().all(|value| value.is_finite()),
                    "{name}, {draw:?}"
                );
            }
        }
    }
    case.logits[2] = f32::NAN;
    for (name, config) in configs() {
        for draw in DRAWS {
            let [output, logits, _] = case.run(target, &config, draw, &[4]);
            let given = matches!(draw, Draw::Given);
            assert_eq!(output[1].is_nan(), !given, "{name}, {draw:?}: mask");
            assert!(
                output[case.length + 1].is_nan(),
                "{name}, {draw:?}: divergence"
            );
            assert!(logits[2].is_nan(), "{name}, {draw:?}: gradient");
        }
    }
}

#[test]
fn evaluation_keeps_nothing_for_a_backward_pass() {
    let case = Case::new(1, 7);
    let device = Device::flex().autodiff();
    let constant = |values: &[f32], width: usize| {
        Tensor::<3>::from_data(TensorData::new(values.to_vec(), [1, 7, width]), &device)
    };
    let overwrite = tensor_on(&case.overwrite, [1, 7], &Device::flex());
    let config = BetaMaskConfig::seq2exp_soft();
    let output = beta_mask(
        constant(&case.logits, 2),
        constant(&case.tracks, 3),
        overwrite,
        &config,
        MaskDraw::Mean,
    );
    assert!(!output.unwrap().is_tracked());
}

fn strided_arguments_give_the_result_of_contiguous_ones(target: &Target) {
    let case = Case::new(2, 41);
    let config = BetaMaskConfig::seq2exp_soft();
    let run = |logits: Tensor<3>, tracks: Tensor<3>| {
        let overwrite = tensor_on(&case.overwrite, [2, 41], &target.device);
        let draw = case.draw(Draw::Given, &[], &target.device);
        values(beta_mask(logits, tracks, overwrite, &config, draw).unwrap())
    };
    let (logits, tracks) = (
        tensor_on(&case.logits, [2, 41, 2], &target.device),
        tensor_on(&case.tracks, [2, 41, 3], &target.device),
    );
    let strided = |tensor: &Tensor<3>| {
        let copied = tensor.clone().swap_dims(1, 2).reshape([-1]);
        let [batch, length, width] = tensor.dims();
        copied.reshape([batch, width, length]).swap_dims(1, 2)
    };
    assert_eq!(run(strided(&logits), strided(&tracks)), run(logits, tracks));
}

proptest! {
    // Logits and tracks weighted toward what networks and assays give, with rare extremes.
    #[test]
    fn mask_lies_in_zero_to_one_and_gradients_are_finite(
        logits in prop::collection::vec(prop_oneof![8 => -10.0f32..10.0, 1 => -90.0f32..90.0], 2 * 11),
        tracks in prop::collection::vec(prop_oneof![4 => Just(0.0f32), 8 => 0.0f32..50.0, 1 => 0.0f32..1e6], 3 * 11),
        given in prop::collection::vec(0.0f32..=1.0, 11),
        seed in any::<u64>(),
    ) {
        let case = Case { logits, tracks, given, ..Case::new(1, 11) };
        let cpu = targets::cpu().unwrap();
        for (_, config) in configs() {
            for draw in DRAWS {
                let [output, logits, tracks] = case.run(&cpu, &config, draw, &[seed]);
                prop_assert!(output[..11].iter().all(|mask| (0.0..=1.0).contains(mask)));
                prop_assert!(output[11..].iter().all(|divergence| *divergence > -1e-6));
                prop_assert!(logits.iter().chain(&tracks).all(|gradient| gradient.is_finite()));
            }
        }
    }
}
