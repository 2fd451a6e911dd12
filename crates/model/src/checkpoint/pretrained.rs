//! Weights of pretrained Caduceus language models, as Hugging Face keeps them, for a backbone to start from.

use std::collections::BTreeMap;
use std::path::Path;

use super::released::released_names;
use super::released_values::import_values;
use super::state_dict::{NamedTensor, StateDict, read_state_dict};
use crate::caduceus::{Caduceus, ReverseComplement};
use crate::error::ModelError;
use crate::network::Network;

/// Where a mixer lies whose parameters both strands share.
const SHARED: &str = ".mixer.submodule.";

/// Parts that predicting bases needs and predicting expression does not.
const LANGUAGE_HEAD: &str = "lm_head.";

/// Where the vectors of the tokens lie; the second name is that of models that share parameters between strands.
const EMBEDDINGS: [&str; 2] = [
    "caduceus.backbone.embeddings.word_embeddings.weight",
    "caduceus.backbone.embeddings.word_embeddings.embedding.weight",
];

/// The constant complement of each token.
const COMPLEMENT_MAP: &str = "caduceus.backbone.embeddings.word_embeddings.complement_map";

/// Tokens of A, C, G, T and N.
const BASES: [usize; 4] = [7, 8, 9, 10];
const UNKNOWN: usize = 11;

/// Columns of the input's map that belong to the bases, before those of the tracks.
const N_BASES: usize = 4;

/// A Caduceus network whose backbone has the weights of a pretrained one, and whose input maps each base to its vector
/// there; the head keeps its initial weights, and so do the columns of the tracks.
///
/// With shared parameters the published blocks each read the other half of the channels, with both axes flipped; here
/// both strands run through plain blocks, so the weights of every second block are flipped instead
/// (docs/divergences.md).
///
/// # Errors
/// As [`read_state_dict`]; [`ModelError::StateDict`] naming every missing, extra or misshapen tensor, or the setting that
/// does not fit.
pub fn with_pretrained(network: Network, path: &Path) -> Result<Network, ModelError> {
    let refuse = |problems| ModelError::StateDict {
        path: path.to_owned(),
        problems,
    };
    let Network::Caduceus(caduceus) = &network else {
        let kind = network.config().kind().name();
        return Err(refuse(vec![format!("{kind} has no Caduceus backbone")]));
    };
    let file = read_state_dict(path)?;
    let is_shared = file.keys().any(|name| name.contains(SHARED));
    let needed = match is_shared {
        true => ReverseComplement::ParameterSharing,
        false => ReverseComplement::None,
    };
    if caduceus.config().reverse_complement != needed {
        return Err(refuse(vec![format!(
            "these weights are of model.reverse_complement = \"{}\"; set it",
            needed.name()
        )]));
    }
    let n_layer = caduceus.config().n_layer;
    let mut values = import(&network, caduceus, file).map_err(refuse)?;
    if is_shared {
        unfold(&mut values, n_layer);
    }
    let named = network.named_parameters();
    let values = named.iter().map(|parameter| {
        let values = values.remove(&parameter.name);
        values.unwrap_or_default()
    });
    let values = values.collect();
    network.with_parameters(values)
}

/// The values of every parameter by our name, those of the head as they are.
fn import(
    network: &Network,
    caduceus: &Caduceus,
    file: StateDict,
) -> Result<BTreeMap<String, Vec<f32>>, Vec<String>> {
    let own = network
        .read_parameters()
        .map_err(|error| vec![error.to_string()])?;
    let mut state = StateDict::new();
    let mut table = None;
    for (name, tensor) in file {
        if EMBEDDINGS.contains(&name.as_str()) {
            table = Some((name, tensor));
        } else if !name.starts_with(LANGUAGE_HEAD) && name != COMPLEMENT_MAP {
            state.insert(name.replace(SHARED, ".mixer."), tensor);
        }
    }
    // What is not in the file is given as it is, so that what must be there is looked for by the strict import.
    let names = released_names(network);
    for (name, values) in names.iter().zip(&own) {
        if name.name.starts_with("backbone.") {
            continue;
        }
        let tensor = NamedTensor {
            shape: name.shape.clone(),
            values: values.iter().map(|&value| f64::from(value)).collect(),
        };
        let released = name.released.iter().cloned();
        state.extend(released.map(|released| (released, tensor.clone())));
    }
    let mut problems = Vec::new();
    let values = import_values(network, &state).unwrap_or_else(|found| {
        problems = found;
        Vec::new()
    });
    let d_model = caduceus.config().d_model;
    match &table {
        None => problems.push(format!("`{}` is missing", EMBEDDINGS[0])),
        Some((name, table))
            if table.shape.len() != 2 || table.shape[0] <= UNKNOWN || table.shape[1] != d_model =>
        {
            problems.push(format!(
                "`{name}` has shape {:?}, needed [at least {}, {d_model}]",
                table.shape,
                UNKNOWN + 1
            ));
        }
        Some(_) => {}
    }
    let (Some((_, table)), true) = (table, problems.is_empty()) else {
        return Err(problems);
    };
    let mut values: BTreeMap<String, Vec<f32>> = names
        .into_iter()
        .map(|name| name.name)
        .zip(values)
        .collect();
    let vector = |token: usize| &table.values[token * d_model..(token + 1) * d_model];
    // A base is a column and the bias; an unknown one the bias alone.
    for (name, values) in &mut values {
        let n_in = values.len() / d_model;
        match name.as_str() {
            "input.weight" => {
                for (row, weights) in values.chunks_exact_mut(n_in).enumerate() {
                    for (weight, token) in weights.iter_mut().take(N_BASES).zip(BASES) {
                        *weight = (vector(token)[row] - vector(UNKNOWN)[row]) as f32;
                    }
                }
            }
            "input.bias" => {
                let unknown = vector(UNKNOWN).iter().map(|&value| value as f32);
                *values = unknown.collect();
            }
            _ => {}
        }
    }
    Ok(values)
}

/// Turns blocks that each read both axes of the stream flipped into blocks that do not.
///
/// Block f of a flipped stream is the flipped output of f', whose maps have their channels of the stream reversed and
/// whose directions are swapped; two flips in a row cancel, so that every second block, from the first on, becomes f' and
/// the others stay. Behind an odd number of blocks the last norm is reversed too.
fn unfold(values: &mut BTreeMap<String, Vec<f32>>, n_layer: usize) {
    if n_layer % 2 == 1
        && let Some(norm) = values.get_mut("backbone.norm_weight")
    {
        norm.reverse();
    }
    for index in (0..n_layer).step_by(2) {
        let block = format!("backbone.blocks.{index}.");
        let Some(norm) = values.get_mut(&format!("{block}norm_weight")) else {
            continue;
        };
        norm.reverse();
        let d_model = norm.len();
        if let Some(in_proj) = values.get_mut(&format!("{block}in_proj")) {
            in_proj.chunks_exact_mut(d_model).for_each(<[f32]>::reverse);
        }
        if let Some(out_proj) = values.get_mut(&format!("{block}out_proj")) {
            let width = out_proj.len() / d_model;
            let rows: Vec<f32> = out_proj
                .chunks_exact(width)
                .rev()
                .flatten()
                .copied()
                .collect();
            *out_proj = rows;
        }
        let fields: Vec<String> = values
            .keys()
            .filter_map(|name| name.strip_prefix(&format!("{block}forward.")))
            .map(str::to_owned)
            .collect();
        for field in fields {
            let (forward, backward) = (
                format!("{block}forward.{field}"),
                format!("{block}reverse.{field}"),
            );
            if let (Some(a), Some(b)) = (values.remove(&forward), values.remove(&backward)) {
                values.insert(forward, b);
                values.insert(backward, a);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BackboneInput, CaduceusConfig, MambaConfig, NetworkConfig};
    use crate::head::NORM_EPSILON;
    use crate::input::ModelInput;
    use crate::network::Pass;
    use burn::tensor::{Device, Tensor, TensorData};

    /// Sums of eight to sixteen single-precision products, through three blocks, on states of size 1 to 4.
    const TOLERANCE: f64 = 2e-5;

    const LENGTH: usize = 13;
    const D_MODEL: usize = 8;

    fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
        let values = crate::mask::read(tensor).unwrap();
        values.into_iter().map(f64::from).collect()
    }

    fn golden(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/caduceus_pretrained")
            .join(name)
    }

    fn network(reverse_complement: ReverseComplement, input: BackboneInput) -> Network {
        let config = NetworkConfig::Caduceus(CaduceusConfig {
            d_model: D_MODEL,
            n_layer: 3,
            promoter: 5,
            reverse_complement,
            mamba: MambaConfig {
                d_state: 4,
                ..MambaConfig::default()
            },
            ..CaduceusConfig::published(input)
        });
        Network::init(&config, 2, &Device::flex()).unwrap()
    }

    /// The two recorded sequences, the second the reverse complement of the first.
    fn input() -> ModelInput {
        let device = Device::flex();
        let expected = read_state_dict(&golden("expected.safetensors")).unwrap();
        let tokens = &expected["tokens"].values;
        let one_hot: Vec<f32> = tokens
            .iter()
            .flat_map(|token| BASES.map(|base| f32::from(u8::from(base as f64 == *token))))
            .collect();
        let tracks: Vec<f32> = (0..LENGTH)
            .flat_map(|i| [i as f32, 1.0, 0.5 * i as f32])
            .collect();
        let reversed: Vec<f32> = tracks.chunks(3).rev().flatten().copied().collect();
        ModelInput {
            sequence: Tensor::from_data(TensorData::new(one_hot, [2, LENGTH, 4]), &device),
            tracks: Tensor::from_data(
                TensorData::new([tracks, reversed].concat(), [2, LENGTH, 3]),
                &device,
            ),
            overwrite: Tensor::zeros([2, LENGTH], &device) - 1.0,
            features: Tensor::zeros([2, 9], &device),
            peaks: None,
            candidates: None,
        }
    }

    /// The normed states behind the last block, `[rows, length, d_model]`; both strands of every sequence with shared
    /// parameters, the other strands last.
    fn states(network: &Network, n_rows: usize) -> Vec<f64> {
        let Network::Caduceus(caduceus) = network else {
            panic!("not Caduceus")
        };
        let mut last = None;
        let mut look = |name: &str, x: &Tensor<3>| {
            if name == "backbone.2" {
                last = Some(x.clone());
            }
        };
        network
            .forward_observed(&input(), &Pass::Evaluate, &mut look)
            .unwrap();
        let last = last.unwrap();
        assert_eq!(last.dims(), [n_rows, LENGTH, D_MODEL]);
        let scale = (last.clone().square().mean_dim(2) + NORM_EPSILON)
            .sqrt()
            .recip();
        let weight = caduceus.backbone.norm_weight.val().reshape([1, 1, D_MODEL]);
        values(&(last * scale * weight))
    }

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (index, (a, b)) in found.iter().zip(expected).enumerate() {
            assert!(
                (a - b).abs() <= TOLERANCE * b.abs().max(1.0),
                "{index}: {a} {b}"
            );
        }
    }

    #[test]
    fn plain_weights_give_the_recorded_states() {
        let network = network(ReverseComplement::None, BackboneInput::Sequence);
        let network = with_pretrained(network, &golden("ph.safetensors")).unwrap();
        let expected = read_state_dict(&golden("expected.safetensors")).unwrap();
        assert_close(&states(&network, 2), &expected["ph"].values);
    }

    #[test]
    fn shared_weights_give_the_recorded_states_of_both_halves() {
        let network = network(ReverseComplement::ParameterSharing, BackboneInput::Sequence);
        let network = with_pretrained(network, &golden("ps.safetensors")).unwrap();
        let expected = read_state_dict(&golden("expected.safetensors")).unwrap();
        let found = states(&network, 4);
        // Behind an odd number of blocks the first half of the recorded channels is the other strand's, both axes
        // flipped, and the second half is this strand's.
        let at = |row: usize, position: usize, channel: usize| {
            found[(row * LENGTH + position) * D_MODEL + channel]
        };
        let mut recorded = Vec::new();
        for row in 0..2 {
            for position in 0..LENGTH {
                recorded.extend(
                    (0..D_MODEL)
                        .map(|channel| at(2 + row, LENGTH - 1 - position, D_MODEL - 1 - channel)),
                );
                recorded.extend((0..D_MODEL).map(|channel| at(row, position, channel)));
            }
        }
        assert_close(&recorded, &expected["ps"].values);
    }

    #[test]
    fn both_strands_have_the_same_prediction_with_shared_parameters() {
        for input_kind in [BackboneInput::Sequence, BackboneInput::SequenceAndTracks] {
            let network = network(ReverseComplement::ParameterSharing, input_kind);
            let output = network.forward(input(), &Pass::Evaluate).unwrap();
            let prediction = values(&output.prediction);
            assert!(
                (prediction[0] - prediction[1]).abs() < 1e-6,
                "{prediction:?}"
            );
        }
        // Without, they differ: the test above would see a network that ignores its input.
        let plain = network(ReverseComplement::None, BackboneInput::Sequence);
        let output = plain.forward(input(), &Pass::Evaluate).unwrap();
        let prediction = values(&output.prediction);
        assert!(
            (prediction[0] - prediction[1]).abs() > 1e-4,
            "{prediction:?}"
        );
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let cases = [
            (
                "ph.safetensors",
                ReverseComplement::ParameterSharing,
                "reverse_complement = \"none\"",
            ),
            (
                "ps.safetensors",
                ReverseComplement::None,
                "reverse_complement = \"parameter_sharing\"",
            ),
            (
                "expected.safetensors",
                ReverseComplement::None,
                "`caduceus.backbone.norm_f.weight` is missing",
            ),
        ];
        for (name, strands, part) in cases {
            let network = network(strands, BackboneInput::Sequence);
            let error = with_pretrained(network, &golden(name)).unwrap_err();
            let ModelError::StateDict { problems, .. } = error else {
                panic!("{error}")
            };
            assert!(
                problems.iter().any(|problem| problem.contains(part)),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn table_needs_a_vector_for_every_base_and_for_an_unknown_one() {
        let file = read_state_dict(&golden("ph.safetensors")).unwrap();
        // Token 11 is that of N: of 12 vectors it is the last.
        for (n_tokens, is_enough) in [(UNKNOWN + 1, true), (UNKNOWN, false)] {
            let mut file = file.clone();
            let table = file.get_mut(EMBEDDINGS[0]).unwrap();
            table.shape[0] = n_tokens;
            table.values.truncate(n_tokens * D_MODEL);
            let network = network(ReverseComplement::None, BackboneInput::Sequence);
            let Network::Caduceus(caduceus) = &network else {
                panic!("not Caduceus")
            };
            let found = import(&network, caduceus, file);
            assert_eq!(found.is_ok(), is_enough, "{n_tokens}");
            let problem = found.err().into_iter().flatten().next();
            assert!(
                problem.is_none_or(|text| text.ends_with("has shape [11, 8], needed [at least 12, 8]"))
            );
        }
    }
}
