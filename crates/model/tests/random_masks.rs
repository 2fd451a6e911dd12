//! Masks that nobody chose: their distribution, and what the predictor sees of them.

use burn::tensor::{Device, Tensor, TensorData};
use model::config::{NetworkConfig, NetworkKind, NetworkSize};
use model::{ModelInput, Network, Pass, RandomShare};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BATCH: usize = 3;
const LENGTH: usize = 203;
const PROMOTER: usize = 21;
const RESOLUTION: usize = 8;

fn network(device: &Device) -> Network {
    let mut config = NetworkKind::Seq2ExpDelta.preset().with_size(NetworkSize {
        d_model: 16,
        n_layer: 1,
        promoter: PROMOTER,
        length: LENGTH,
    });
    if let NetworkConfig::Seq2Exp(config) = &mut config {
        config.mask.resolution = RESOLUTION;
        // Masks of zeros and ones in equal parts.
        config.mask.initial_logits = [0.5, 0.5];
    }
    Network::init(&config, 22, device).unwrap()
}

/// Random bases and tracks; position 3 of the second example is excluded.
fn input(batch: usize, device: &Device) -> ModelInput {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut sequence = vec![0.0_f32; batch * LENGTH * 4];
    for base in sequence.chunks_mut(4) {
        base[rng.random_range(0..4)] = 1.0;
    }
    let mut overwrite = vec![-1.0_f32; batch * LENGTH];
    if batch > 1 {
        overwrite[LENGTH + 3] = 0.0;
    }
    let plane = |values: Vec<f32>, width| {
        Tensor::<3>::from_data(TensorData::new(values, [batch, LENGTH, width]), device)
    };
    let tracks: Vec<f32> = (0..batch * LENGTH * 3).map(|i| (i % 7) as f32).collect();
    ModelInput {
        sequence: plane(sequence, 4),
        tracks: plane(tracks, 3),
        overwrite: Tensor::from_data(TensorData::new(overwrite, [batch, LENGTH]), device),
        peaks: None,
        candidates: None,
        features: Tensor::zeros([batch, 9], device),
    }
}

fn rows(tensor: Tensor<2>) -> Vec<Vec<f32>> {
    let [_, width] = tensor.dims();
    let values = tensor.without_autodiff().into_data().try_to_vec::<f32>();
    values.unwrap().chunks(width).map(<[f32]>::to_vec).collect()
}

fn promoter() -> std::ops::Range<usize> {
    let start = LENGTH / 2 - PROMOTER / 2;
    start..start + PROMOTER
}

#[test]
fn random_mask_is_constant_within_bins_keeps_what_is_forced_and_repeats() {
    let device = Device::flex();
    let (network, input) = (network(&device), input(BATCH, &device));
    let draw = |seeds: [u64; BATCH]| {
        let mask = network.random_mask(&input, &seeds, RandomShare::Any);
        rows(mask.unwrap().expect("a mask is learned"))
    };
    let masks = draw([1, 2, 3]);
    for (example, mask) in masks.iter().enumerate() {
        assert!(mask[promoter()].iter().all(|value| *value == 1.0));
        for (bin, values) in mask.chunks(RESOLUTION).enumerate() {
            let first = bin * RESOLUTION;
            let free: Vec<f32> = (first..first + values.len())
                .filter(|at| !promoter().contains(at) && (example, *at) != (1, 3))
                .map(|at| mask[at])
                .collect();
            assert!(free.iter().all(|value| *value == free[0]), "bin {bin}");
        }
    }
    assert_eq!(masks[1][3], 0.0);
    assert_eq!(masks, draw([1, 2, 3]));
    // An example's mask depends on its own seed alone.
    let others = draw([1, 5, 3]);
    assert_eq!((&masks[0], &masks[2]), (&others[0], &others[2]));
    assert_ne!(masks[1], others[1]);
}

#[test]
fn shares_follow_their_distributions() {
    let device = Device::flex();
    let (network, n) = (network(&device), 2000);
    let input = input(n, &device);
    let seeds: Vec<u64> = (0..n as u64).collect();
    let shares = |share| {
        let mask = network.random_mask(&input, &seeds, share).unwrap();
        let share_of = |mask: Vec<f32>| {
            let free = mask[..promoter().start].iter().step_by(RESOLUTION);
            let n = free.len() as f32;
            free.sum::<f32>() / n
        };
        rows(mask.unwrap())
            .into_iter()
            .map(share_of)
            .collect::<Vec<_>>()
    };
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
    let (any, little) = (shares(RandomShare::Any), shares(RandomShare::Little));
    // E min(1, 5u/4) = 0.2 + 0.8 / 2; E u² = 1/3. Five standard errors of 2,000 examples whose spread is below 0.4.
    assert!((mean(&any) - 0.6).abs() < 0.045, "{}", mean(&any));
    assert!(
        (mean(&little) - 1.0 / 3.0).abs() < 0.045,
        "{}",
        mean(&little)
    );
    // A fifth is everything, and of the others a 13th selects all of these 12 bins: the integral of s^12.
    let whole = any.iter().filter(|share| **share == 1.0).count() as f32 / n as f32;
    assert!((whole - (0.2 + 0.8 / 13.0)).abs() < 0.05, "{whole}");
}

#[test]
fn predictor_sees_the_mask_and_what_is_revealed_and_the_mask_is_returned_without_it() {
    let device = Device::flex();
    let (network, input) = (network(&device), input(BATCH, &device));
    let seeds = vec![1, 2, 3];
    let alone = network
        .forward(
            input.clone(),
            &Pass::Train {
                seeds: seeds.clone(),
            },
        )
        .unwrap();
    let revealed = network.random_mask(&input, &seeds, RandomShare::Little);
    let revealed = revealed.unwrap().expect("a mask is learned");
    let pass = Pass::TrainRevealing {
        seeds,
        revealed: revealed.clone(),
    };
    let beside = network.forward(input.clone(), &pass).unwrap();
    let mask = rows(alone.mask.unwrap());
    assert_eq!(mask, rows(beside.mask.unwrap()));
    let free = &mask[0][..promoter().start];
    assert!(free.contains(&0.0) && free.contains(&1.0), "{free:?}");
    for bin in free.chunks(RESOLUTION) {
        assert!(bin.iter().all(|value| *value == bin[0]), "{free:?}");
    }
    let union: Vec<f32> = mask
        .concat()
        .into_iter()
        .zip(rows(revealed).concat())
        .map(|(mask, revealed)| mask.max(revealed))
        .collect();
    let union = Tensor::from_data(TensorData::new(union, [BATCH, LENGTH]), &device);
    let expected = network.predict_with_mask(&input, union).unwrap();
    assert_eq!(rows(beside.prediction), rows(expected));
}

#[test]
fn generator_learns_nothing_where_everything_is_revealed() {
    let device = Device::flex().autodiff();
    let (network, input) = (network(&device), input(BATCH, &device));
    let gradient_norm = |revealed: f32| {
        let pass = Pass::TrainRevealing {
            seeds: vec![1, 2, 3],
            revealed: Tensor::full([BATCH, LENGTH], revealed, &device),
        };
        let output = network.forward(input.clone(), &pass).unwrap();
        let gradients = network
            .read_gradients(&output.prediction.sum().backward())
            .unwrap();
        let names = network.named_parameters();
        let of_generator = names.iter().zip(gradients);
        of_generator
            .filter(|(parameter, _)| parameter.name.starts_with("generator."))
            .flat_map(|(_, gradient)| gradient.unwrap_or_default())
            .map(|value| f64::from(value).powi(2))
            .sum::<f64>()
    };
    assert_eq!(gradient_norm(1.0), 0.0);
    assert!(gradient_norm(0.0) > 0.0);
}

#[test]
fn network_that_learns_no_mask_has_no_random_one() {
    let device = Device::flex();
    let config = NetworkKind::CaduceusSignals
        .preset()
        .with_size(NetworkSize {
            d_model: 16,
            n_layer: 1,
            promoter: PROMOTER,
            length: LENGTH,
        });
    let network = Network::init(&config, 1, &device).unwrap();
    let mask = network.random_mask(&input(1, &device), &[1], RandomShare::Any);
    assert!(mask.unwrap().is_none());
}
