//! Values of a network's parameters out of released tensors, each named, shaped and tied as it must be.

use std::collections::BTreeSet;

use super::released::{COUNTER, ENFORMER_HEADS, ReleasedName, released_names};
use super::released_config::wide;
use super::state_dict::{NamedTensor, StateDict};
use crate::config::MaskConfig;
use crate::hyena::{decay_rates, position_features, relative_position};
use crate::network::Network;

/// Constants that the released code saves beside a network's parameters, with the values that the settings imply;
/// `found` gives the number of values of a saved one.
fn constants(network: &Network, found: impl Fn(&str) -> Option<usize>) -> Vec<(String, Vec<f64>)> {
    match network {
        Network::Seq2Exp(network) => mask_constants("", &network.config().mask),
        Network::Retrained(network) => mask_constants("mask_model.", &network.config().mask),
        Network::Hyena(network) => {
            let config = network.config();
            let mut constants = Vec::new();
            for index in 0..config.n_layer {
                let filter = format!("model.layers.{index}.mixer.filter_fn");
                constants.push((
                    format!("{filter}.modulation.deltas"),
                    wide(&decay_rates(config.d_model)),
                ));
                let position = format!("{filter}.pos_emb.t");
                let period = match (config.filter_length, found(&position)) {
                    (0, Some(saved)) => saved,
                    (period, _) => period,
                };
                let positions: Vec<f32> =
                    (0..period).map(|t| relative_position(t, period)).collect();
                constants.push((position, wide(&positions)));
                let features = position_features(period, config.filter_features, period);
                constants.push((format!("{filter}.pos_emb.z"), wide(&features)));
            }
            constants
        }
        _ => Vec::new(),
    }
}

/// Says what tensors hold instead of a network's.
fn none_of_them(names: &[ReleasedName], state: &StateDict) -> String {
    if names.iter().any(|name| state.contains_key(&name.name)) {
        return "these are weights of this program, not released ones; they are a checkpoint already".to_owned();
    }
    let wanted = names.iter().flat_map(|name| &name.released).next();
    let found: Vec<String> = state
        .keys()
        .take(3)
        .map(|name| format!("`{name}`"))
        .collect();
    format!(
        "none of the network's {} tensors (`{}`, …) is there, but {} others ({}, …); are they another network's, or inside a \
         dictionary of another name than state_dict?",
        names.len(),
        wanted.map_or("", String::as_str),
        state.len(),
        found.join(", ")
    )
}

fn mask_constants(prefix: &str, mask: &MaskConfig) -> Vec<(String, Vec<f64>)> {
    let log_weight = mask
        .track_weight
        .iter()
        .map(|weight| f64::from(*weight).ln());
    vec![
        (format!("{prefix}prior_weights"), log_weight.collect()),
        (format!("{prefix}signal_betas"), wide(&mask.track_beta)),
    ]
}

/// What may stand before every name, by the wrapper that the network was saved in.
const PREFIXES: [&str; 7] = [
    "",
    "model.",
    "module.",
    "_orig_mod.",
    "model._orig_mod.",
    "module.model.",
    "_orig_mod.model.",
];

/// Finds the values of every parameter of a network among released tensors, in the network's order.
///
/// A `model.` before every name, as Lightning adds it, is allowed, and so are those of data-parallel and compiled modules
/// (`module.`, `_orig_mod.`). Every value must be finite in single precision. Copies of tied tensors must agree; the constants that
/// the released code saves must be there and agree with the settings.
///
/// # Errors
/// Every missing, extra, misshapen, disagreeing or not finite tensor, one message each; what there is instead when no
/// name is one of the network's.
pub fn import_values(network: &Network, state: &StateDict) -> Result<Vec<Vec<f32>>, Vec<String>> {
    let names = released_names(network);
    let is_there = |prefix: &&&str| {
        let mut released = names.iter().flat_map(|name| &name.released);
        released.any(|name| state.contains_key(&format!("{prefix}{name}")))
    };
    let Some(prefix) = PREFIXES.iter().find(is_there) else {
        return Err(vec![none_of_them(&names, state)]);
    };
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    let mut values = Vec::new();
    for expected in names {
        let mut first: Option<(&String, &NamedTensor)> = None;
        for released in &expected.released {
            let name = format!("{prefix}{released}");
            let Some(tensor) = state.get(&name) else {
                continue;
            };
            known.insert(name);
            if tensor.shape != expected.shape {
                problems.push(format!(
                    "`{released}` has shape {:?}, needed {:?}",
                    tensor.shape, expected.shape
                ));
            } else if let Some((tied, other)) = first.filter(|(_, other)| *other != tensor) {
                let worst = other
                    .values
                    .iter()
                    .zip(&tensor.values)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f64::max);
                problems.push(format!(
                    "`{released}` is tied to `{tied}` but differs from it by up to {worst:e}"
                ));
            }
            first.get_or_insert((released, tensor));
        }
        match first {
            Some((released, tensor)) => {
                let found = tensor.to_f32();
                let n_odd = found.iter().filter(|value| !value.is_finite()).count();
                if n_odd > 0 {
                    problems.push(format!(
                        "`{released}` holds {n_odd} of {} values that are NaN or infinite in single precision",
                        found.len()
                    ));
                }
                values.push(found);
            }
            None => problems.push(format!(
                "`{}` is missing",
                expected.released.first().unwrap_or(&expected.name)
            )),
        }
    }
    let n_values = |name: &str| Some(state.get(&format!("{prefix}{name}"))?.values.len());
    for (constant, expected) in constants(network, n_values) {
        let name = format!("{prefix}{constant}");
        match state.get(&name) {
            None => problems.push(format!("`{constant}`, a constant, is missing")),
            Some(tensor) if !agree(&tensor.values, &expected) => {
                problems.push(disagreement(&constant, &tensor.values, &expected));
            }
            Some(_) => {}
        }
        known.insert(name);
    }
    let has_track_heads = matches!(network, Network::Enformer(_));
    problems.extend(
        state
            .keys()
            .filter(|name| {
                let is_head = has_track_heads && name.contains(ENFORMER_HEADS);
                let is_unused = name.ends_with(COUNTER) || is_head;
                !known.contains(*name) && !is_unused
            })
            .map(|name| format!("`{name}` is not part of this network")),
    );
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(problems)
    }
}

/// Saved constants are single precision up to 16, some the sines of phases up to 2 pi.
const CONSTANT_TOLERANCE: f64 = 2e-6;

/// Says how a saved constant differs: its values when they are few, else the first that differs.
fn disagreement(name: &str, found: &[f64], expected: &[f64]) -> String {
    const SHOWN: usize = 8;
    if found.len() <= SHOWN || found.len() != expected.len() {
        let values = |values: &[f64]| match values.len() {
            n if n > SHOWN => format!("{n} values"),
            _ => format!("{values:?}"),
        };
        return format!(
            "`{name}` is {} but the settings say {}",
            values(found),
            values(expected)
        );
    }
    let differs = |(_, (a, b)): &(usize, (&f64, &f64))| !agree(&[**a], &[**b]);
    let first = found.iter().zip(expected).enumerate().find(differs);
    match first {
        Some((index, (a, b))) => {
            format!("`{name}` is {a} at {index} but the settings say {b}")
        }
        None => format!("`{name}` disagrees with the settings"),
    }
}

fn agree(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() <= CONSTANT_TOLERANCE)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::checkpoint::tests::small;
    use crate::checkpoint::{read_state_dict, released_config};
    use crate::config::{NetworkConfig, NetworkKind, Seq2ExpConfig};

    #[test]
    fn import_finds_the_wrapper_and_refuses_values_that_are_not_finite() {
        let network = Network::init(&small(NetworkKind::Caduceus), 2, &Device::flex()).unwrap();
        let values = network.read_parameters().unwrap();
        let state_with = |prefix: &str| {
            let mut state = StateDict::new();
            for (name, values) in released_names(&network).into_iter().zip(&values) {
                for released in name.released {
                    let tensor = NamedTensor {
                        shape: name.shape.clone(),
                        values: values.iter().map(|&value| f64::from(value)).collect(),
                    };
                    state.insert(format!("{prefix}{released}"), tensor);
                }
            }
            state
        };
        for prefix in ["", "model.", "module.", "_orig_mod.", "module.model."] {
            assert_eq!(
                import_values(&network, &state_with(prefix)).unwrap(),
                values
            );
        }
        let problems = import_values(&network, &state_with("other.")).unwrap_err();
        let part = format!("but {} others (`other.", state_with("").len());
        assert!(
            problems.len() == 1 && problems[0].contains(&part),
            "{problems:?}"
        );
        let own = network.named_parameters().into_iter().map(|parameter| {
            let shape = parameter.shape;
            let values = vec![0.0; shape.iter().product()];
            (parameter.name, NamedTensor { shape, values })
        });
        let problems = import_values(&network, &own.collect()).unwrap_err();
        assert!(problems[0].contains("a checkpoint already"), "{problems:?}");
        // The largest of single precision is 3.4e38.
        for odd in [f64::NAN, f64::NEG_INFINITY, 1e39] {
            let mut state = state_with("");
            let bias = state.get_mut("head.output.bias");
            let name = match bias {
                Some(tensor) => {
                    tensor.values[0] = odd;
                    "head.output.bias".to_owned()
                }
                None => {
                    let (name, tensor) = state.iter_mut().next().unwrap();
                    tensor.values[0] = odd;
                    name.clone()
                }
            };
            let problems = import_values(&network, &state).unwrap_err();
            assert!(
                problems
                    .iter()
                    .any(|problem| problem.starts_with(&format!("`{name}` holds 1 of "))),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn import_tied_tensors_that_disagree_are_named() {
        let device = Device::flex();
        let network = Network::init(
            &NetworkConfig::Seq2Exp(Seq2ExpConfig {
                d_model: 8,
                promoter: 7,
                n_positions: 23,
                ..Seq2ExpConfig::hard()
            }),
            2,
            &device,
        )
        .unwrap();
        let values = network.read_parameters().unwrap();
        let mut state = StateDict::new();
        for (name, values) in released_names(&network).into_iter().zip(&values) {
            let tensor = NamedTensor {
                shape: name.shape,
                values: values.iter().map(|&value| f64::from(value)).collect(),
            };
            for released in name.released {
                state.insert(released, tensor.clone());
            }
        }
        // The published settings: weights 0.4, 0.4 and 0.2, saved as logarithms.
        let constants = [
            ("prior_weights", [0.4_f64.ln(), 0.4_f64.ln(), 0.2_f64.ln()]),
            ("signal_betas", [1.5, 0.2, 1.0]),
        ];
        let problems = import_values(&network, &state).unwrap_err();
        let missing = constants.map(|(name, _)| format!("`{name}`, a constant, is missing"));
        assert_eq!(problems, missing);
        for (name, values) in constants {
            let (shape, values) = (vec![3], values.to_vec());
            state.insert(name.to_owned(), NamedTensor { shape, values });
        }
        assert_eq!(import_values(&network, &state).unwrap(), values);
        // Only Enformer has heads for tracks.
        let head = "enformer._heads.human.0.weight".to_owned();
        state.insert(
            head.clone(),
            NamedTensor {
                shape: vec![1],
                values: vec![0.0],
            },
        );
        let problems = import_values(&network, &state).unwrap_err();
        assert_eq!(problems, [format!("`{head}` is not part of this network")]);
        state.remove(&head);
        state
            .get_mut("encoder.backbone.layers.3.mixer.mamba_rev.in_proj.weight")
            .unwrap()
            .values[5] += 0.5;
        state.insert(
            "prior_weights".to_owned(),
            NamedTensor {
                shape: vec![3],
                values: vec![0.0; 3],
            },
        );
        state.remove("pos_emb");
        let problems = import_values(&network, &state).unwrap_err();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("mamba_rev.in_proj.weight` is tied to `generator"))
        );
        assert!(
            problems
                .iter()
                .any(|problem| problem.contains("prior_weights"))
        );
        assert!(problems.contains(&"`pos_emb` is missing".to_owned()));
    }

    #[test]
    fn import_compares_saved_positions_with_those_of_the_settings() {
        let golden = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/golden/hyena/L1000_pert/"
        );
        let text = std::fs::read_to_string(golden.to_owned() + "config.json").unwrap();
        let config = released_config(&serde_json::from_str(&text).unwrap()).unwrap();
        let NetworkConfig::Hyena(mut config) = config else {
            panic!("not HyenaDNA")
        };
        let mut state =
            read_state_dict((golden.to_owned() + "weights.safetensors").as_ref()).unwrap();
        let import = |config: &crate::config::HyenaConfig, state: &StateDict| {
            let config = NetworkConfig::Hyena(config.clone());
            import_values(&Network::init(&config, 2, &Device::flex()).unwrap(), state)
        };
        import(&config, &state).unwrap();
        // Filters of any length have the positions that were saved.
        assert_eq!(config.filter_length, 1002);
        config.filter_length = 0;
        import(&config, &state).unwrap();
        let t = "model.layers.0.mixer.filter_fn.pos_emb.t";
        state.get_mut(t).unwrap().values[3] += 1e-5;
        let problems = import(&config, &state).unwrap_err();
        assert!(
            problems.len() == 1
                && problems[0].starts_with(&format!("`{t}` is "))
                && problems[0].contains(" at 3 but "),
            "{problems:?}"
        );
    }
}
