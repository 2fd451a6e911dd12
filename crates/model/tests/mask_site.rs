//! What the mask does at each site: positions under 0, hard masks against packing, and the gradient that reaches it.

use burn::tensor::{Device, Tensor, TensorData};
use model::config::{MaskSite, NetworkConfig, NetworkKind, NetworkSize};
use model::loss::smooth_l1;
use model::{MaskCost, ModelInput, Network, Pass, loss};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LENGTH: usize = 700;
const PROMOTER: usize = 41;

fn network(site: MaskSite, device: &Device) -> Network {
    let mut config = NetworkKind::Seq2ExpSoft.preset().with_size(NetworkSize {
        d_model: 16,
        n_layer: 2,
        promoter: PROMOTER,
        length: LENGTH,
    });
    if let NetworkConfig::Seq2Exp(config) = &mut config {
        config.mask_site = site;
        if site == MaskSite::Pack {
            config.mask.train = model::config::TrainDecoding::Threshold(0.5);
            config.mask.evaluate = model::config::MaskDecoding::Threshold(0.5);
        }
    }
    Network::init(&config, 22, device).unwrap()
}

fn input(seed: u64, device: &Device) -> ModelInput {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sequence = vec![0.0_f32; 4 * LENGTH];
    for base in sequence.chunks_mut(4) {
        base[rng.random_range(0..4)] = 1.0;
    }
    let tracks: Vec<f32> = (0..3 * LENGTH)
        .map(|_| rng.random_range(0.0_f32..4.0))
        .collect();
    let features: Vec<f32> = (0..9).map(|_| rng.random_range(-1.0_f32..1.0)).collect();
    let tensor = |values: Vec<f32>, width| {
        Tensor::from_data(TensorData::new(values, [1, LENGTH, width]), device)
    };
    ModelInput {
        sequence: tensor(sequence, 4),
        tracks: tensor(tracks, 3),
        overwrite: Tensor::zeros([1, LENGTH], device) - 1.0,
        peaks: None,
        candidates: None,
        features: Tensor::from_data(TensorData::new(features, [1, 9]), device),
    }
}

/// A mask drawn by `draw`, 1 in the promoter.
fn mask(seed: u64, device: &Device, draw: impl Fn(&mut ChaCha8Rng) -> f32) -> Tensor<2> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let start = LENGTH / 2 - PROMOTER / 2;
    let values: Vec<f32> = (0..LENGTH)
        .map(|i| match (start..start + PROMOTER).contains(&i) {
            true => 1.0,
            false => draw(&mut rng),
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [1, LENGTH]), device)
}

fn hard(rng: &mut ChaCha8Rng) -> f32 {
    f32::from(rng.random_bool(0.3))
}

fn scalar(tensor: Tensor<2>) -> f32 {
    tensor
        .without_autodiff()
        .into_data()
        .try_to_vec::<f32>()
        .unwrap()[0]
}

#[test]
fn delta_with_a_hard_mask_is_packing() {
    let device = Device::flex();
    let (delta, pack) = (
        network(MaskSite::Delta, &device),
        network(MaskSite::Pack, &device),
    );
    for seed in 0..5 {
        let input = input(seed, &device);
        let mask = mask(seed, &device, hard);
        let found = scalar(delta.predict_with_mask(&input, mask.clone()).unwrap());
        let expected = scalar(pack.predict_with_mask(&input, mask).unwrap());
        // The same additions, cut at other tile boundaries: a few roundings of 6e-8.
        assert!((found - expected).abs() <= 1e-6, "{found} {expected}");
    }
}

#[test]
fn delta_with_a_mask_of_one_is_the_plain_predictor() {
    let device = Device::flex();
    let input = input(3, &device);
    let ones = || Tensor::<2>::ones([1, LENGTH], &device);
    let [delta, scale] = [MaskSite::Delta, MaskSite::Scale].map(|site| {
        let network = network(site, &device);
        scalar(network.predict_with_mask(&input, ones()).unwrap())
    });
    assert_eq!(delta, scale);
}

#[test]
fn bases_under_a_mask_of_zero_move_nothing() {
    let device = Device::flex();
    let network = network(MaskSite::Delta, &device);
    let mask = mask(8, &device, hard);
    let (first, second) = (input(1, &device), input(2, &device));
    // The second gene's bases and tracks where the mask is 0, the first's elsewhere.
    let kept = mask.clone().unsqueeze_dim::<3>(2);
    let mixed =
        |a: &Tensor<3>, b: &Tensor<3>| a.clone() * kept.clone() + b.clone() * (1.0 - kept.clone());
    let changed = ModelInput {
        sequence: mixed(&first.sequence, &second.sequence),
        tracks: mixed(&first.tracks, &second.tracks),
        ..first.clone()
    };
    let predict =
        |input: &ModelInput| scalar(network.predict_with_mask(input, mask.clone()).unwrap());
    assert_eq!(predict(&first), predict(&changed));
    assert_ne!(predict(&first), predict(&second));
}

/// Mean over genes of the norm of the prediction loss's gradient into the mask outside the promoter.
fn gradient_norm(site: MaskSite) -> f64 {
    let device = Device::flex().autodiff();
    let network = network(site, &device);
    let n_genes = 8;
    let norms = (0..n_genes).map(|seed| {
        let input = input(seed, &device);
        let drawn = mask(seed, &device, |rng| rng.random_range(0.05_f32..0.6)).require_grad();
        let prediction = network.predict_with_mask(&input, drawn.clone()).unwrap();
        let target = prediction.clone().without_autodiff() + 0.7;
        let target = Tensor::from_data(target.into_data(), &device);
        let gradients = smooth_l1(prediction, target).backward();
        let gradient = drawn.grad(&gradients).unwrap().into_data();
        let start = LENGTH / 2 - PROMOTER / 2;
        let squares = gradient
            .try_to_vec::<f32>()
            .unwrap()
            .into_iter()
            .enumerate();
        let free = squares.filter(|(i, _)| !(start..start + PROMOTER).contains(i));
        free.map(|(_, g)| f64::from(g).powi(2)).sum::<f64>().sqrt()
    });
    norms.sum::<f64>() / n_genes as f64
}

#[test]
fn prediction_loss_reaches_the_mask_through_delta() {
    let (scale, delta) = (
        gradient_norm(MaskSite::Scale),
        gradient_norm(MaskSite::Delta),
    );
    println!(
        "gradient into the mask at initialisation: scale {scale:.3e}, delta {delta:.3e}, ratio {:.0}",
        delta / scale
    );
    // Measured: 1.5e-6 and 8.2e-6.
    assert!(delta > 2.0 * scale, "scale {scale:e}, delta {delta:e}");
}

#[test]
fn seq2exp_delta_starts_with_every_position_selected_and_its_cost_moves_the_mask() {
    let device = Device::flex().autodiff();
    let size = NetworkSize {
        d_model: 16,
        n_layer: 2,
        promoter: PROMOTER,
        length: LENGTH,
    };
    let config = NetworkKind::Seq2ExpDelta.preset().with_size(size);
    let network = Network::init(&config, 22, &device).unwrap();
    let input = input(1, &device);
    let output = network.forward(input.clone(), &Pass::Evaluate).unwrap();
    let alone = network.evaluation_mask(&input).unwrap().unwrap();
    let values = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
    let mask = values(output.mask.unwrap());
    assert!(mask.iter().all(|m| *m == 1.0));
    assert_eq!(values(alone.mask), mask);
    // Beta(1 + softplus(3), 1 + softplus(-3)) has mean 0.794; the logits scatter around their biases.
    let mean = values(alone.mean);
    let mean = mean.iter().sum::<f32>() / LENGTH as f32;
    assert!((0.7..0.9).contains(&mean), "{mean}");

    // The cost of the mask's mean alone: it lowers the logit toward 1 and raises the one toward 0.
    let pass = Pass::Train { seeds: vec![5] };
    let mut output = network.forward(input, &pass).unwrap();
    output.prediction = output.prediction * 0.0;
    output.kl = None;
    let target = output.prediction.clone().without_autodiff();
    let target = Tensor::from_data(target.into_data(), &device);
    let cost = MaskCost { kl: 0.0, mean: 1.0 };
    let gradients = loss(&output, target, cost).total.backward();
    let names = network.named_parameters();
    let place = names.iter().position(|p| p.name == "generator.output.bias");
    let bias = &network.read_gradients(&gradients).unwrap()[place.unwrap()];
    let [toward_0, toward_1] = bias.as_deref().unwrap() else {
        panic!("two logits");
    };
    assert!(*toward_0 < 0.0 && *toward_1 > 0.0, "{bias:?}");
}
