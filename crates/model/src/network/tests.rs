use super::*;
use crate::checkpoint::released_names;
use crate::config::{NetworkKind, NetworkSize};
use std::collections::BTreeSet;

/// Parameters that the released optimiser decays and does not, by released name, for two layers.
fn released_groups(kind: &str) -> [BTreeSet<String>; 2] {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/optim_groups.json"
    );
    let groups: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let names = |list: &serde_json::Value| -> BTreeSet<String> {
        let names = list
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned());
        names
            .filter(|name| !name.contains("requires_grad=False"))
            .collect()
    };
    let other = groups[kind]["other"].as_object().unwrap();
    [
        names(&groups[kind]["weight_decay_1e-6"]),
        other.values().flat_map(names).collect(),
    ]
}

fn small(kind: NetworkKind) -> Network {
    let size = NetworkSize {
        d_model: 32,
        n_layer: 2,
        promoter: 200,
        length: 1000,
    };
    Network::init(&kind.preset().with_size(size), 2, &Device::flex()).unwrap()
}

#[test]
fn no_decay_groups_are_those_of_the_released_optimiser() {
    for kind in [
        NetworkKind::Seq2ExpSoft,
        NetworkKind::Seq2ExpHard,
        NetworkKind::Caduceus,
        NetworkKind::Mamba,
        NetworkKind::Hyena,
    ] {
        let [decayed, free] = released_groups(kind.name());
        let mut ours = [BTreeSet::new(), BTreeSet::new()];
        for name in released_names(&small(kind)) {
            ours[usize::from(no_decay(&name.name))].insert(name.released[0].clone());
        }
        assert_eq!(ours, [decayed, free], "{}", kind.name());
    }
}

#[test]
fn n_parameters_of_the_published_sizes_match_a_count_by_hand() {
    // d_model 128, d_inner 256, d_state 16, d_conv 4, dt_rank 8. A direction: conv 256*4 + 256, x_proj 40*256,
    // dt 256*8 + 256, a_log 256*16, d 256 = 18176. A block: norm 128, in_proj 512*128, out_proj 128*256, two
    // directions = 134784. A backbone of 4: 539136 + 128. The head: 137*128+128 + 128*128+128 + 128+1 = 34305.
    // Caduceus: 4*128+128 more; Seq2Exp-soft: two backbones, 4*128+128 + 3*128+128, 128*2+2.
    let count = |kind: NetworkKind| {
        Network::init(&kind.preset(), 2, &Device::flex())
            .unwrap()
            .n_parameters()
    };
    assert_eq!(count(NetworkKind::Caduceus), 539_264 + 34_305 + 640);
    assert_eq!(
        count(NetworkKind::CaduceusSignals),
        539_264 + 34_305 + 640 + 384
    );
    assert_eq!(
        count(NetworkKind::Seq2ExpSoft),
        2 * 539_264 + 34_305 + 640 + 512 + 258
    );
    // Mamba: 12 tokens; a block has one direction: 128 + 512*128 + 128*256 + 18176 = 116608.
    assert_eq!(
        count(NetworkKind::Mamba),
        12 * 128 + 4 * 116_608 + 128 + 34_305
    );
    // Hyena: a filter 64*5+64 + 2*(64*64+64) + 64 + 128*64 = 16960; a mixer 384*128+384 + 384*3+384 + 16960 + 128
    // + 128*128+128 = 84672; a block two norms 512, 512*128+512 + 128*512+128 = 216896 in all.
    assert_eq!(
        count(NetworkKind::Hyena),
        12 * 128 + 4 * 216_896 + 256 + 34_305
    );
    // Prism: Caduceus' backbone and head; 4*128+128 + 3*128+128; convolutions 3*32*7+32, 32*64*5+64, 64*128*3+128,
    // two values per channel of their norms 2*(32+64+128); 128*256+256 for the weights.
    assert_eq!(
        count(NetworkKind::Prism),
        539_264 + 34_305 + 640 + 512 + 704 + 10_304 + 24_704 + 448 + 33_024
    );
    // Hard: one backbone less, one vector per position more.
    assert_eq!(
        count(NetworkKind::Seq2ExpHard),
        539_264 + 34_305 + 640 + 512 + 258 + 200_000 * 128
    );
}

#[test]
fn with_parameters_written_values_are_read_back_and_keep_their_identity() {
    let network = small(NetworkKind::Caduceus);
    let (named, before) = (
        network.named_parameters(),
        network.read_parameters().unwrap(),
    );
    let doubled: Vec<Vec<f32>> = before
        .iter()
        .map(|values| values.iter().map(|value| 2.0 * value).collect())
        .collect();
    let network = network.with_parameters(doubled.clone()).unwrap();
    assert_eq!(network.read_parameters().unwrap(), doubled);
    assert_eq!(network.named_parameters(), named);
    let mut short = doubled;
    short[3].pop();
    let error = network.with_parameters(short).unwrap_err().to_string();
    assert!(error.contains(&named[3].name), "{error}");
}

#[test]
fn read_gradients_after_with_parameters_are_still_there() {
    let device = Device::flex().autodiff();
    let config = small(NetworkKind::Caduceus).config();
    let network = Network::init(&config, 2, &device).unwrap();
    let values = network.read_parameters().unwrap();
    let network = network.with_parameters(values).unwrap();
    let Network::Caduceus(caduceus) = &network else {
        panic!("not Caduceus")
    };
    // d(sum of bias)/d(bias) is 1.
    let gradients = caduceus.input.bias.val().sum().backward();
    let named = network.named_parameters();
    for (parameter, gradient) in named
        .iter()
        .zip(network.read_gradients(&gradients).unwrap())
    {
        match parameter.name.as_str() {
            "input.bias" => assert_eq!(gradient, Some(vec![1.0; 32])),
            other => assert_eq!(gradient, None, "{other}"),
        }
    }
}

#[test]
fn with_generator_names_every_setting_that_moves_the_mask() {
    let retrain = small(NetworkKind::Seq2ExpRetrain);
    assert!(
        retrain
            .clone()
            .with_generator(&small(NetworkKind::Seq2ExpSoft))
            .is_ok()
    );
    let delta = small(NetworkKind::Seq2ExpDelta);
    let Err(ModelError::OtherGenerator { differences }) = retrain.with_generator(&delta) else {
        panic!("a generator of other settings was taken");
    };
    assert_eq!(
        differences,
        [
            "generator_input is Sequence here and SequenceAndTracks there",
            "mask.prior_scale_factor is 10.0 here and 0.0 there",
            "mask.resolution is 1 here and 8 there",
        ]
    );
}
