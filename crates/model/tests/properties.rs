//! What holds for every input: ranges, forced positions, independence of batch mates and threads.

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use model::config::{MaskDecoding, NetworkConfig, NetworkKind, NetworkSize};
use model::predictor::Packing;
use model::{Candidates, MaskCost, ModelInput, Network, Pass, is_statistic, loss};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LENGTH: usize = 211;
const PROMOTER: usize = 37;

/// A narrow network whose parameters are all moved from their initial values, so that each matters.
fn network(kind: NetworkKind, change: impl Fn(&mut NetworkConfig)) -> Network {
    let mut config = kind.preset().with_size(NetworkSize {
        d_model: 16,
        n_layer: 2,
        promoter: PROMOTER,
        length: LENGTH,
    });
    change(&mut config);
    let network = Network::init(&config, 22, &Device::flex()).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut values = network.read_parameters().unwrap();
    for value in values.iter_mut().flatten() {
        // Variances start at 1, so they stay positive.
        *value += rng.random_range(-0.2_f32..0.2);
    }
    network.with_parameters(values).unwrap()
}

/// Realistic genes: mostly known bases, tracks that are 0 almost everywhere with peaks, a few forced positions.
fn input(batch: usize, seed: u64) -> ModelInput {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let n = batch * LENGTH;
    let (mut sequence, mut tracks, mut overwrite) = (
        vec![0.0_f32; 4 * n],
        vec![0.0_f32; 3 * n],
        vec![-1.0_f32; n],
    );
    for position in 0..n {
        if rng.random_bool(0.97) {
            sequence[4 * position + rng.random_range(0..4)] = 1.0;
        }
        for track in 0..3 {
            if rng.random_bool(0.1) {
                tracks[3 * position + track] = rng.random_range(0.0..60.0);
            }
        }
        if rng.random_bool(0.1) {
            overwrite[position] = if rng.random_bool(0.5) { 0.0 } else { 1.0 };
        }
    }
    let peaks: Vec<f32> = (0..n)
        .map(|position| f32::from(u8::from(position / 20 % 4 == 1)))
        .collect();
    let features = (0..9 * batch)
        .map(|_| rng.random_range(-1.0_f32..1.0))
        .collect();
    let device = Device::flex();
    ModelInput {
        sequence: Tensor::from_data(TensorData::new(sequence, [batch, LENGTH, 4]), &device),
        tracks: Tensor::from_data(TensorData::new(tracks, [batch, LENGTH, 3]), &device),
        overwrite: Tensor::from_data(TensorData::new(overwrite, [batch, LENGTH]), &device),
        features: Tensor::from_data(TensorData::new::<f32, _>(features, [batch, 9]), &device),
        candidates: Some(candidates(batch, &mut rng)),
        peaks: Some(Tensor::from_data(
            TensorData::new(peaks, [batch, LENGTH]),
            &device,
        )),
    }
}

/// Two candidates of 400 bases, the second of a gene in the middle of unknown ones.
fn candidates(batch: usize, rng: &mut ChaCha8Rng) -> Candidates {
    let mut sequence = vec![0.0_f32; batch * 2 * 400 * 4];
    for (position, base) in sequence.chunks_exact_mut(4).enumerate() {
        if position / 400 % 2 == 0 || (100..300).contains(&(position % 400)) {
            base[rng.random_range(0..4)] = 1.0;
        }
    }
    let features: Vec<f32> = (0..batch * 2 * 3)
        .map(|_| rng.random_range(0.0..5.0))
        .collect();
    let device = Device::flex();
    Candidates {
        sequence: Tensor::from_data(TensorData::new(sequence, [batch, 2, 400, 4]), &device),
        features: Tensor::from_data(TensorData::new(features, [batch, 2, 3]), &device),
    }
}

fn row(input: &ModelInput, index: usize) -> ModelInput {
    let rows = index..index + 1;
    ModelInput {
        sequence: input
            .sequence
            .clone()
            .slice([rows.clone(), 0..LENGTH, 0..4]),
        tracks: input.tracks.clone().slice([rows.clone(), 0..LENGTH, 0..3]),
        overwrite: input.overwrite.clone().slice([rows.clone(), 0..LENGTH]),
        features: input.features.clone().slice([rows.clone(), 0..9]),
        candidates: input.candidates.clone().map(|candidates| Candidates {
            sequence: candidates
                .sequence
                .slice([rows.clone(), 0..2, 0..400, 0..4]),
            features: candidates.features.slice([rows.clone(), 0..2, 0..3]),
        }),
        peaks: input
            .peaks
            .clone()
            .map(|peaks| peaks.slice([rows, 0..LENGTH])),
    }
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor
        .clone()
        .without_autodiff()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap()
}

/// Every network and way to read the mask.
fn networks() -> [Network; 4] {
    [
        network(NetworkKind::Seq2ExpSoft, |_| {}),
        network(NetworkKind::Seq2ExpHard, |_| {}),
        network(NetworkKind::Seq2ExpHard, |config| {
            if let NetworkConfig::Seq2Exp(config) = config {
                config.packing = Packing::PaddedBatch;
            }
        }),
        network(NetworkKind::CaduceusSignals, |_| {}),
    ]
}

#[test]
fn prediction_is_the_same_when_somebody_watches() {
    // A watched network computes its last block at every position, an unwatched one at the promoter only; sums over
    // sixteen channels differ by roundings, 6e-8 each.
    let tolerance = 1e-5;
    for network in networks() {
        let input = input(3, 5);
        let unwatched = network.forward(input.clone(), &Pass::Evaluate).unwrap();
        let mut n_seen = 0;
        let watched = network
            .forward_observed(&input, &Pass::Evaluate, &mut |_: &str, _: &Tensor<3>| {
                n_seen += 1;
            })
            .unwrap();
        assert!(n_seen >= 2);
        let pairs = values(&unwatched.prediction);
        for (found, expected) in pairs.iter().zip(values(&watched.prediction)) {
            assert!(
                (found - expected).abs() <= tolerance * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn mask_lies_in_0_to_1_and_forced_positions_hold(seed: u64, hard: bool, fraction in prop::option::of(0.01_f32..0.9), train: bool) {
        let kind = if hard { NetworkKind::Seq2ExpHard } else { NetworkKind::Seq2ExpSoft };
        let network = network(kind, |config| {
            if let (NetworkConfig::Seq2Exp(config), Some(fraction)) = (config, fraction) {
                config.mask.evaluate = MaskDecoding::TopFraction(fraction);
            }
        });
        let input = input(2, seed);
        let pass = if train { Pass::Train { seeds: vec![seed, seed ^ 1] } } else { Pass::Evaluate };
        let output = network.forward(input.clone(), &pass).unwrap();
        let mask = values(&output.mask.unwrap());
        let forced = values(&input.overwrite);
        let start = LENGTH / 2 - PROMOTER / 2;
        for (index, (mask, forced)) in mask.iter().zip(&forced).enumerate() {
            prop_assert!((0.0..=1.0).contains(mask));
            let position = index % LENGTH;
            if (start..start + PROMOTER).contains(&position) {
                prop_assert_eq!(*mask, 1.0, "promoter beats exclude at {}", position);
            } else if *forced >= 0.0 {
                prop_assert_eq!(mask, forced);
            }
            if hard || (fraction.is_some() && !train) {
                prop_assert!(*mask == 0.0 || *mask == 1.0);
            }
        }
        prop_assert!(values(&output.prediction).iter().all(|prediction| prediction.is_finite()));
        prop_assert!(values(&output.kl.unwrap())[0] >= 0.0);
    }

    #[test]
    fn hard_mask_bases_under_0_do_not_move_the_prediction(seed: u64) {
        let network = network(NetworkKind::Seq2ExpHard, |_| {});
        let input = input(1, seed);
        let mask = network.forward(input.clone(), &Pass::Evaluate).unwrap().mask.unwrap();
        let before = network.predict_with_mask(&input, mask.clone()).unwrap();
        let mut changed = input;
        // Other bases and tracks wherever the mask is 0.
        let hidden = (mask.clone() * -1.0 + 1.0).unsqueeze_dim::<3>(2);
        let noise = Tensor::<3>::random([1, LENGTH, 4], Distribution::Uniform(-1.0, 1.0), &Device::flex());
        changed.sequence = changed.sequence + noise * hidden.clone();
        changed.tracks = changed.tracks + hidden * 9.0;
        let after = network.predict_with_mask(&changed, mask).unwrap();
        prop_assert_eq!(values(&before), values(&after));
    }
}

#[test]
fn prediction_alone_equals_its_prediction_in_a_batch_bit_for_bit() {
    for kind in NetworkKind::ALL {
        let network = network(kind, |_| {});
        let batch = input(3, 5);
        // A batch normalises itself in training, so only its evaluation is independent of batch mates.
        let named = network.named_parameters();
        let is_normalised = named.iter().any(|parameter| is_statistic(&parameter.name));
        for train in [false, true] {
            if train && is_normalised {
                continue;
            }
            let pass = |seeds: &[u64]| {
                if train {
                    Pass::Train {
                        seeds: seeds.to_vec(),
                    }
                } else {
                    Pass::Evaluate
                }
            };
            let together = network
                .forward(batch.clone(), &pass(&[11, 12, 13]))
                .unwrap();
            for index in 0..3 {
                let alone = network
                    .forward(row(&batch, index), &pass(&[11 + index as u64]))
                    .unwrap();
                let bits = |tensor: &Tensor<2>| {
                    values(tensor)
                        .iter()
                        .map(|value| value.to_bits())
                        .collect::<Vec<_>>()
                };
                assert_eq!(
                    bits(&alone.prediction)[0],
                    bits(&together.prediction)[index],
                    "{} example {index}, training {train}",
                    kind.name()
                );
                if let (Some(alone), Some(together)) = (&alone.mask, &together.mask) {
                    assert_eq!(
                        bits(alone),
                        bits(together)[index * LENGTH..(index + 1) * LENGTH]
                    );
                }
            }
        }
    }
}

/// Number of threads for which this test runs itself again, in a process of its own.
const CHILD: &str = "MODEL_TEST_PRINT_GRADIENTS";

#[test]
fn results_and_gradients_do_not_depend_on_the_number_of_threads() {
    if std::env::var_os(CHILD).is_some() {
        return print_gradients();
    }
    let run = |threads: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "results_and_gradients_do_not_depend_on_the_number_of_threads",
            ])
            .env(CHILD, "1")
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<String> = text
            .lines()
            .filter(|line| line.contains("digest"))
            .map(str::to_owned)
            .collect();
        assert_eq!(lines.len(), NetworkKind::ALL.len(), "{text}");
        lines
    };
    let one = run("1");
    assert_eq!(run("2"), one);
    assert_eq!(run("5"), one);
}

fn print_gradients() {
    for kind in NetworkKind::ALL {
        let network = network(kind, |_| {}).train();
        let output = network
            .forward(input(2, 3), &Pass::Train { seeds: vec![1, 2] })
            .unwrap();
        let target = Tensor::<2>::from_data(TensorData::from([[0.5_f32], [3.0]]), &Device::flex());
        let total = loss(&output, target, MaskCost::PUBLISHED).total;
        let gradients = network.read_gradients(&total.backward()).unwrap();
        let all = gradients
            .into_iter()
            .flatten()
            .flatten()
            .chain(values(&total))
            .chain(values(&output.prediction));
        let digest = all.fold(0_u64, |hash, value| {
            (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3)
        });
        println!("digest {} {digest:x}", kind.name());
    }
}

#[test]
fn train_sample_depends_on_its_seed_alone() {
    let network = network(NetworkKind::Seq2ExpSoft, |_| {});
    let mask = |seeds: [u64; 2]| {
        values(
            &network
                .forward(
                    input(2, 9),
                    &Pass::Train {
                        seeds: seeds.to_vec(),
                    },
                )
                .unwrap()
                .mask
                .unwrap(),
        )
    };
    assert_eq!(mask([4, 5]), mask([4, 5]));
    assert_ne!(mask([4, 5]), mask([6, 5]));
    assert_eq!(mask([4, 5])[LENGTH..], mask([6, 5])[LENGTH..]);
    assert!(
        network
            .forward(input(2, 9), &Pass::Train { seeds: vec![1] })
            .is_err()
    );
}

#[test]
fn hard_mask_that_leaves_out_the_promoter_or_another_window_is_an_error() {
    let network = network(NetworkKind::Seq2ExpHard, |_| {});
    let input = input(1, 1);
    let error = network
        .predict_with_mask(&input, Tensor::zeros([1, LENGTH], &Device::flex()))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("position 87, inside the promoter"),
        "{error}"
    );
    let mut longer = input;
    longer.sequence = Tensor::cat(vec![longer.sequence.clone(), longer.sequence], 1);
    longer.tracks = Tensor::cat(vec![longer.tracks.clone(), longer.tracks], 1);
    longer.overwrite = Tensor::cat(vec![longer.overwrite.clone(), longer.overwrite], 1);
    longer.peaks = None;
    let error = network.forward(longer, &Pass::Evaluate).unwrap_err();
    assert!(
        error.to_string().contains("model.n_positions = 422"),
        "{error}"
    );
}
