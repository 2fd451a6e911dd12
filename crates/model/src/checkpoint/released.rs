//! The released code's names: of parameters, in both directions, and of settings.

use std::collections::BTreeSet;

use serde_json::Value;

use super::state_dict::{NamedTensor, StateDict};
use crate::config::{
    BackboneInput, CaduceusConfig, MaskDecoding, MaskSite, NetworkConfig, Packing,
    PredictorWeights, Seq2ExpConfig, TrainDecoding,
};
use crate::network::{NamedParameter, Network};

/// Where one of our parameters is found in the released code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedName {
    /// Our name.
    pub name: String,
    /// Their name, first, and every further name under which the same tensor is saved.
    pub released: Vec<String>,
    /// Their shape.
    pub shape: Vec<usize>,
}

/// Constants that the released code saves beside its parameters.
const CONSTANTS: [&str; 2] = ["prior_weights", "signal_betas"];

/// Our last path component and theirs, inside one direction of a block.
const DIRECTION: [(&str, &str); 7] = [
    ("conv_weight", "conv1d.weight"),
    ("conv_bias", "conv1d.bias"),
    ("x_proj", "x_proj.weight"),
    ("dt_weight", "dt_proj.weight"),
    ("dt_bias", "dt_proj.bias"),
    ("a_log", "A_log"),
    ("d", "D"),
];

/// Our prefixes and theirs, outside the blocks.
const PREFIXES: [(&str, &str); 9] = [
    ("embedding.sequence.", "seq_input_layer."),
    ("embedding.tracks.", "signal_input_layer."),
    ("generator.output.", "mask_output."),
    ("predictor.head.hidden1.", "pToExpr.0."),
    ("predictor.head.hidden2.", "pToExpr.2."),
    ("predictor.head.output.", "pToExpr.4."),
    ("head.hidden1.", "pToExpr.0."),
    ("head.hidden2.", "pToExpr.2."),
    ("head.output.", "pToExpr.4."),
];

/// The released name of each parameter of a network, in the order of [`Network::named_parameters`].
pub fn released_names(network: &Network) -> Vec<ReleasedName> {
    let shared = matches!(
        network,
        Network::Seq2Exp(network) if network.config().predictor_weights == PredictorWeights::Shared
    );
    network
        .named_parameters()
        .into_iter()
        .map(|parameter| released_name(parameter, shared))
        .collect()
}

fn released_name(parameter: NamedParameter, shared: bool) -> ReleasedName {
    let NamedParameter {
        name, mut shape, ..
    } = parameter;
    let backbones: [(&str, &[&str]); 3] = [
        (
            "generator.backbone.",
            if shared {
                &["generator.backbone.", "encoder.backbone."]
            } else {
                &["generator.backbone."]
            },
        ),
        ("predictor.backbone.", &["encoder.backbone."]),
        ("backbone.", &["caduceus.backbone."]),
    ];
    let backbone = backbones
        .iter()
        .find_map(|(ours, theirs)| Some((name.strip_prefix(ours)?, theirs)));
    let mut released = Vec::new();
    if let Some((rest, theirs)) = backbone {
        let inner = inside_backbone(rest);
        for prefix in theirs.iter() {
            released.extend(inner.iter().map(|inner| format!("{prefix}{inner}")));
        }
    } else if name == "embedding.position" {
        released.push("pos_emb".to_owned());
        shape.insert(0, 1);
    } else if let Some(rest) = name.strip_prefix("input.") {
        released.push(format!("input_layer.{rest}"));
    } else if let Some((ours, theirs)) = PREFIXES.iter().find(|(ours, _)| name.starts_with(ours)) {
        released.push(name.replacen(ours, theirs, 1));
    }
    if name.ends_with(".conv_weight") {
        shape.insert(1, 1);
    }
    ReleasedName {
        name,
        released,
        shape,
    }
}

/// Names of a tensor below `backbone.`; the second is a tied copy.
fn inside_backbone(rest: &str) -> Vec<String> {
    let Some((index, field)) = rest
        .strip_prefix("blocks.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return vec!["norm_f.weight".to_owned()];
    };
    let layer = format!("layers.{index}");
    match field.split_once('.') {
        None if field == "norm_weight" => vec![format!("{layer}.norm.weight")],
        None => ["fwd", "rev"]
            .iter()
            .map(|direction| format!("{layer}.mixer.mamba_{direction}.{field}.weight"))
            .collect(),
        Some((direction, field)) => {
            let direction = if direction == "forward" { "fwd" } else { "rev" };
            let theirs = DIRECTION
                .iter()
                .find(|(ours, _)| *ours == field)
                .map_or(field, |(_, theirs)| theirs);
            vec![format!("{layer}.mixer.mamba_{direction}.{theirs}")]
        }
    }
}

/// Finds the values of every parameter of a network among released tensors, in the network's order.
///
/// A `model.` before every name, as Lightning adds it, is allowed. Copies of tied tensors must agree; constants must
/// agree with the settings.
///
/// # Errors
/// Every missing, extra, misshapen or disagreeing tensor, one message each.
pub fn import_values(network: &Network, state: &StateDict) -> Result<Vec<Vec<f32>>, Vec<String>> {
    let prefix = if !state.is_empty() && state.keys().all(|name| name.starts_with("model.")) {
        "model."
    } else {
        ""
    };
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    let mut values = Vec::new();
    for expected in released_names(network) {
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
            Some((_, tensor)) => values.push(tensor.to_f32()),
            None => problems.push(format!(
                "`{}` is missing",
                expected.released.first().unwrap_or(&expected.name)
            )),
        }
    }
    if let Network::Seq2Exp(network) = network {
        let mask = &network.config().mask;
        let log_weight = mask
            .track_weight
            .iter()
            .map(|weight| f64::from(*weight).ln())
            .collect();
        let beta = mask
            .track_beta
            .iter()
            .map(|beta| f64::from(*beta))
            .collect();
        for (constant, expected) in CONSTANTS.iter().zip::<[Vec<f64>; 2]>([log_weight, beta]) {
            let name = format!("{prefix}{constant}");
            if let Some(tensor) = state.get(&name) {
                if !agree(&tensor.values, &expected) {
                    problems.push(format!(
                        "`{constant}` is {:?} but the settings say {expected:?}",
                        tensor.values
                    ));
                }
                known.insert(name);
            }
        }
    }
    problems.extend(
        state
            .keys()
            .filter(|name| !known.contains(*name))
            .map(|name| format!("`{name}` is not part of this network")),
    );
    if problems.is_empty() {
        Ok(values)
    } else {
        Err(problems)
    }
}

/// Saved constants are single precision, and logarithms of weights that sum to 1.
const CONSTANT_TOLERANCE: f64 = 1e-6;

fn agree(found: &[f64], expected: &[f64]) -> bool {
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() <= CONSTANT_TOLERANCE)
}

/// Turns the released code's resolved settings (`config.json` of a golden folder, or a checkpoint's
/// hyper-parameters) into ours; batches are padded as the released code does.
///
/// # Errors
/// What is missing, or which network it is instead.
pub fn released_config(settings: &Value) -> Result<NetworkConfig, String> {
    let config = if settings.get("gen_n_layer").is_some() {
        seq2exp_config(settings).map(NetworkConfig::Seq2Exp)
    } else if settings.get("bidirectional_strategy").is_some()
        && settings.get("n_context").is_none()
    {
        caduceus_config(settings).map(NetworkConfig::Caduceus)
    } else {
        Err("these are not settings of Seq2Exp or Caduceus".to_owned())
    }?;
    let problems = config.validate();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems.join("; "))
    }
}

fn seq2exp_config(settings: &Value) -> Result<Seq2ExpConfig, String> {
    let hard = boolean(settings, "post_hard_dist")?;
    let mut config = if hard {
        Seq2ExpConfig::hard()
    } else {
        Seq2ExpConfig::soft()
    };
    config.d_model = integer(settings, "d_model")?;
    config.n_layer_generator = integer(settings, "gen_n_layer")?;
    config.n_layer_predictor = integer(settings, "enc_n_layer")?;
    config.promoter = integer(settings, "center_len")?;
    config.n_tracks = integer(settings, "signal_size")?;
    config.n_features = integer(settings, "rna_feat_dim")?;
    let shared = boolean(settings, "enc_prd_ps")?;
    config.predictor_weights = if shared {
        PredictorWeights::Shared
    } else {
        PredictorWeights::Own
    };
    config.n_positions = if boolean(settings, "pos_enc")? {
        integer(settings, "seq_range")?
    } else {
        0
    };
    config.packing = Packing::PaddedBatch;
    config.mamba.d_state = integer(field(settings, "ssm_cfg")?, "d_state")?;
    config.mamba.d_conv = integer(field(settings, "ssm_cfg")?, "d_conv")?;
    config.mamba.expand = integer(field(settings, "ssm_cfg")?, "expand")?;
    let mask = &mut config.mask;
    mask.track_beta = list(settings, "prior_beta")?;
    let weight = list(settings, "prior_weight")?;
    let sum: f32 = weight.iter().sum();
    mask.track_weight = weight.into_iter().map(|weight| weight / sum).collect();
    mask.prior_scale_factor = number(settings, "prior_scale_factor")? as f32;
    mask.beta_min = number(settings, "beta_min")? as f32;
    mask.z_scale = number(settings, "z_scale")? as f32;
    mask.marginal_mean = number(settings, "marginal_mean")?;
    mask.marginal_scale = number(settings, "marginal_scale")?;
    let threshold = number(settings, "sample_threshold")? as f32;
    config.mask_site = if hard {
        MaskSite::Pack
    } else {
        MaskSite::Scale
    };
    mask.train = if hard {
        TrainDecoding::Threshold(threshold)
    } else {
        TrainDecoding::Sample
    };
    mask.evaluate = if boolean(settings, "test_top")? {
        MaskDecoding::TopFraction(number(settings, "test_top_percent")? as f32)
    } else if boolean(settings, "test_hard")? {
        MaskDecoding::Threshold(threshold)
    } else {
        MaskDecoding::Mean
    };
    Ok(config)
}

fn caduceus_config(settings: &Value) -> Result<CaduceusConfig, String> {
    let input = match field(settings, "interact")?.as_str() {
        Some("no_signal") => BackboneInput::Sequence,
        Some("concat") => BackboneInput::SequenceAndTracks,
        other => {
            return Err(format!(
                "`interact` is {other:?}; known are \"no_signal\" and \"concat\""
            ));
        }
    };
    let mut config = CaduceusConfig::published(input);
    config.d_model = integer(settings, "d_model")?;
    config.n_layer = integer(settings, "n_layer")?;
    config.promoter = integer(settings, "center_len")?;
    config.n_tracks = integer(settings, "signal_size")?;
    config.n_features = integer(settings, "rna_feat_dim")?;
    config.mamba.d_state = integer(field(settings, "ssm_cfg")?, "d_state")?;
    config.mamba.d_conv = integer(field(settings, "ssm_cfg")?, "d_conv")?;
    config.mamba.expand = integer(field(settings, "ssm_cfg")?, "expand")?;
    Ok(config)
}

fn field<'a>(settings: &'a Value, name: &str) -> Result<&'a Value, String> {
    settings
        .get(name)
        .ok_or_else(|| format!("the setting `{name}` is missing"))
}

fn number(settings: &Value, name: &str) -> Result<f64, String> {
    field(settings, name)?
        .as_f64()
        .ok_or_else(|| format!("the setting `{name}` is not a number"))
}

fn integer(settings: &Value, name: &str) -> Result<usize, String> {
    let value = field(settings, name)?
        .as_u64()
        .and_then(|value| usize::try_from(value).ok());
    value.ok_or_else(|| format!("the setting `{name}` is not a whole number"))
}

fn boolean(settings: &Value, name: &str) -> Result<bool, String> {
    field(settings, name)?
        .as_bool()
        .ok_or_else(|| format!("the setting `{name}` is not true or false"))
}

/// Numbers between commas in one string, as the released settings hold them.
fn list(settings: &Value, name: &str) -> Result<Vec<f32>, String> {
    let text = field(settings, name)?.as_str().unwrap_or_default();
    let numbers: Result<Vec<f32>, _> = text
        .split(',')
        .map(|number| number.trim().parse::<f32>())
        .collect();
    numbers.map_err(|_| format!("the setting `{name}` is not a list of numbers, but \"{text}\""))
}
