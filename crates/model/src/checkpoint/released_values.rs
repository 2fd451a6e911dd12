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
