//! The released code's names of parameters, in both directions.

use crate::config::PredictorWeights;
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

/// Our parts of a name and theirs, outside the blocks, for each network; the first that fits is taken.
type Renames = &'static [(&'static str, &'static str)];

const SEQ2EXP: Renames = &[
    ("embedding.sequence.", "seq_input_layer."),
    ("embedding.tracks.", "signal_input_layer."),
    ("embedding.position", "pos_emb"),
    ("generator.output.", "mask_output."),
    ("predictor.head.hidden1.", "pToExpr.0."),
    ("predictor.head.hidden2.", "pToExpr.2."),
    ("predictor.head.output.", "pToExpr.4."),
];

const FIXED_MASK: Renames = &[
    ("embedding.sequence.", "seq_input_layer."),
    ("embedding.tracks.", "signal_input_layer."),
    ("predictor.head.hidden1.", "pToExpr.0."),
    ("predictor.head.hidden2.", "pToExpr.2."),
    ("predictor.head.output.", "pToExpr.4."),
    // Seq2Exp-retrain
    ("frozen.embedding.sequence.", "mask_model.seq_input_layer."),
    ("frozen.embedding.tracks.", "mask_model.signal_input_layer."),
    ("frozen.generator.output.", "mask_model.mask_output."),
];

const REGRESSORS: Renames = &[
    ("head.hidden1.", "pToExpr.0."),
    ("head.hidden2.", "pToExpr.2."),
    ("head.output.", "pToExpr.4."),
    // Caduceus
    ("input.", "input_layer."),
    // Prism
    ("sequence.", "seq_input_layer."),
    ("tracks.", "signal_input_layer."),
    ("context.output.", "weight_generator.weight_projector.0."),
    (
        "context.convolutions.0.norm.",
        "weight_generator.cnn_encoder.1.",
    ),
    ("context.convolutions.0.", "weight_generator.cnn_encoder.0."),
    (
        "context.convolutions.1.norm.",
        "weight_generator.cnn_encoder.5.",
    ),
    ("context.convolutions.1.", "weight_generator.cnn_encoder.4."),
    (
        "context.convolutions.2.norm.",
        "weight_generator.cnn_encoder.9.",
    ),
    ("context.convolutions.2.", "weight_generator.cnn_encoder.8."),
    // Mamba
    ("norm_weight", "model.norm_f.weight"),
];

const MAMBA_EMBEDDING: (&str, &str) = ("embedding.weight", "model.embedding.weight");

const HYENA: Renames = &[
    (
        "embedding.weight",
        "model.embeddings.word_embeddings.weight",
    ),
    ("norm.", "model.ln_f."),
    ("head.hidden1.", "pToExpr.0."),
    ("head.hidden2.", "pToExpr.2."),
    ("head.output.", "pToExpr.4."),
];

/// Inside a Hyena block; the three sines share one frequency, saved under the name of each.
const HYENA_BLOCK: &[(&str, &[&str])] = &[
    ("mixer.short_weight", &["mixer.short_filter.weight"]),
    ("mixer.short_bias", &["mixer.short_filter.bias"]),
    ("mixer.skip", &["mixer.filter_fn.bias"]),
    (
        "mixer.filter.hidden1.weight",
        &["mixer.filter_fn.implicit_filter.0.weight"],
    ),
    (
        "mixer.filter.hidden1.bias",
        &["mixer.filter_fn.implicit_filter.0.bias"],
    ),
    (
        "mixer.filter.hidden2.weight",
        &["mixer.filter_fn.implicit_filter.2.weight"],
    ),
    (
        "mixer.filter.hidden2.bias",
        &["mixer.filter_fn.implicit_filter.2.bias"],
    ),
    (
        "mixer.filter.hidden3.weight",
        &["mixer.filter_fn.implicit_filter.4.weight"],
    ),
    (
        "mixer.filter.hidden3.bias",
        &["mixer.filter_fn.implicit_filter.4.bias"],
    ),
    (
        "mixer.filter.frequency",
        &[
            "mixer.filter_fn.implicit_filter.1.freq",
            "mixer.filter_fn.implicit_filter.3.freq",
            "mixer.filter_fn.implicit_filter.5.freq",
        ],
    ),
    (
        "mixer.filter.output",
        &["mixer.filter_fn.implicit_filter.6.weight"],
    ),
    ("hidden.weight", &["mlp.fc1.weight"]),
    ("hidden.bias", &["mlp.fc1.bias"]),
    ("output.weight", &["mlp.fc2.weight"]),
    ("output.bias", &["mlp.fc2.bias"]),
];

/// Counters that PyTorch saves beside running statistics; nothing depends on them.
pub(super) const COUNTER: &str = ".num_batches_tracked";

/// The released name of each parameter of a network, in the order of [`Network::named_parameters`].
pub fn released_names(network: &Network) -> Vec<ReleasedName> {
    let named = network.named_parameters().into_iter();
    match network {
        Network::Seq2Exp(network) => {
            let shared = network.config().predictor_weights == PredictorWeights::Shared;
            let generator: &[&str] = if shared {
                &["generator.backbone.", "encoder.backbone."]
            } else {
                &["generator.backbone."]
            };
            let backbones: [Backbone; 2] = [
                ("generator.backbone.", generator),
                ("predictor.backbone.", &["encoder.backbone."]),
            ];
            named
                .map(|parameter| released_name(parameter, &backbones, SEQ2EXP))
                .collect()
        }
        Network::FixedMask(_) | Network::Retrained(_) => {
            let backbones: [Backbone; 2] = [
                (
                    "frozen.generator.backbone.",
                    &["mask_model.generator.backbone."],
                ),
                ("predictor.backbone.", &["encoder.backbone."]),
            ];
            named
                .map(|parameter| released_name(parameter, &backbones, FIXED_MASK))
                .collect()
        }
        Network::Caduceus(_) | Network::Prism(_) => {
            let backbones: [Backbone; 1] = [("backbone.", &["caduceus.backbone."])];
            named
                .map(|parameter| released_name(parameter, &backbones, REGRESSORS))
                .collect()
        }
        Network::Mamba(_) => named.map(mamba_name).collect(),
        Network::Enformer(_) => named.map(enformer_name).collect(),
        Network::Epinformer(_) => named.map(epinformer_name).collect(),
        Network::Hyena(_) => named.map(hyena_name).collect(),
    }
}

/// Our prefix of a backbone and every prefix of its copies in the released code.
type Backbone<'a> = (&'a str, &'a [&'a str]);

/// The first prefix of `name` that `renames` lists, replaced.
fn renamed(name: &str, renames: Renames) -> Vec<String> {
    let found = renames
        .iter()
        .find_map(|(ours, theirs)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)));
    found.into_iter().collect()
}

/// The index and the rest of a name below `blocks.`.
fn in_block(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("blocks.")?.split_once('.')
}

fn mamba_name(parameter: NamedParameter) -> ReleasedName {
    let NamedParameter {
        name, mut shape, ..
    } = parameter;
    let released = match in_block(&name) {
        Some((index, "norm_weight")) => vec![format!("model.layers.{index}.norm.weight")],
        Some((index, field)) => {
            let theirs = match field.strip_prefix("forward.") {
                Some(field) => direction_field(field).to_owned(),
                None => format!("{field}.weight"),
            };
            vec![format!("model.layers.{index}.mixer.{theirs}")]
        }
        None if name == MAMBA_EMBEDDING.0 => vec![MAMBA_EMBEDDING.1.to_owned()],
        None => renamed(&name, REGRESSORS),
    };
    if name.ends_with(".conv_weight") {
        shape.insert(1, 1);
    }
    ReleasedName {
        name,
        released,
        shape,
    }
}

/// Inside Enformer's blocks; `*` stands for an index.
const ENFORMER: Renames = &[
    ("stem_residual.norm.", "stem.1.fn.0."),
    ("stem_residual.", "stem.1.fn.2."),
    ("stem_pool", "stem.2.to_attn_logits.weight"),
    ("stem_", "stem.0."),
    ("tower.*.convolution.norm.", "conv_tower.*.0.0."),
    ("tower.*.convolution.", "conv_tower.*.0.2."),
    ("tower.*.residual.norm.", "conv_tower.*.1.fn.0."),
    ("tower.*.residual.", "conv_tower.*.1.fn.2."),
    ("tower.*.pool", "conv_tower.*.2.to_attn_logits.weight"),
    ("transformer.*.norm1.", "transformer.*.0.fn.0."),
    (
        "transformer.*.attention.query",
        "transformer.*.0.fn.1.to_q.weight",
    ),
    (
        "transformer.*.attention.key",
        "transformer.*.0.fn.1.to_k.weight",
    ),
    (
        "transformer.*.attention.value",
        "transformer.*.0.fn.1.to_v.weight",
    ),
    (
        "transformer.*.attention.position_key",
        "transformer.*.0.fn.1.to_rel_k.weight",
    ),
    (
        "transformer.*.attention.content_bias",
        "transformer.*.0.fn.1.rel_content_bias",
    ),
    (
        "transformer.*.attention.position_bias",
        "transformer.*.0.fn.1.rel_pos_bias",
    ),
    (
        "transformer.*.attention.output.",
        "transformer.*.0.fn.1.to_out.",
    ),
    ("transformer.*.norm2.", "transformer.*.1.fn.0."),
    ("transformer.*.hidden.", "transformer.*.1.fn.1."),
    ("transformer.*.output.", "transformer.*.1.fn.4."),
    ("last.norm.", "final_pointwise.1.0."),
    ("last.", "final_pointwise.1.2."),
];

/// Second names of Enformer's parts, as children of one sequence.
const ENFORMER_COPIES: Renames = &[
    ("stem.", "_trunk.1."),
    ("conv_tower.", "_trunk.2."),
    ("transformer.", "_trunk.4."),
    ("final_pointwise.", "_trunk.6."),
];

/// Heads for the tracks Enformer was made for, which the expression head does not read.
pub(super) const ENFORMER_HEADS: &str = "enformer._heads.";

fn enformer_name(parameter: NamedParameter) -> ReleasedName {
    let NamedParameter {
        name, mut shape, ..
    } = parameter;
    let parts: Vec<&str> = name.splitn(3, '.').collect();
    let released = match parts[..] {
        ["head", ..] => renamed(&name, REGRESSORS),
        [part @ ("tower" | "transformer"), index, rest] => {
            renamed(&format!("{part}.*.{rest}"), ENFORMER)
                .into_iter()
                .map(|theirs| theirs.replacen('*', index, 1))
                .collect()
        }
        _ => renamed(&name, ENFORMER),
    };
    let released = match parts[..] {
        ["head", ..] => released,
        _ => released
            .iter()
            .flat_map(|theirs| {
                let copies = renamed(theirs, ENFORMER_COPIES);
                std::iter::once(theirs.clone()).chain(copies)
            })
            .map(|theirs| format!("enformer.{theirs}"))
            .collect(),
    };
    if name.ends_with("pool") {
        shape.extend([1, 1]);
    } else if name.ends_with("content_bias") || name.ends_with("position_bias") {
        shape = vec![1, shape[0], 1, shape[1]];
    }
    ReleasedName {
        name,
        released,
        shape,
    }
}

/// Inside EPInformer.
const EPINFORMER: Renames = &[
    ("stem.", "seq_encoder.stem_conv.0."),
    ("flatten.", "conv_out.12."),
    ("element1.", "add_pos_conv.0."),
    ("element2.", "add_pos_conv.2."),
    ("head.hidden1.", "pToExpr.0."),
    ("head.hidden2.", "pToExpr.2."),
    ("head.output.", "pToExpr.4."),
];

/// Inside a layer of EPInformer's attention.
const EPINFORMER_ATTENTION: Renames = &[
    ("projection.weight", "self_attn.in_proj_weight"),
    ("projection.bias", "self_attn.in_proj_bias"),
    ("output.", "self_attn.out_proj."),
    ("norm", "norm"),
    ("hidden1.", "ff.0."),
    ("hidden2.", "ff.2."),
];

fn epinformer_name(parameter: NamedParameter) -> ReleasedName {
    let NamedParameter {
        name, mut shape, ..
    } = parameter;
    let parts: Vec<&str> = name.splitn(3, '.').collect();
    let number = |text: &str| text.parse::<usize>().unwrap_or_default();
    let released = match parts[..] {
        ["attention", index, rest] => renamed(rest, EPINFORMER_ATTENTION)
            .into_iter()
            .map(|theirs| format!("attn_encoder.{index}.{theirs}"))
            .collect(),
        // Their list holds each layer and, after it, the map of its residual.
        ["tower", index, rest] => renamed(
            rest,
            &[
                ("convolution.", "0.0."),
                ("norm.", "0.1."),
                ("residual.", "1.0."),
            ],
        )
        .into_iter()
        .filter_map(|theirs| {
            let (offset, rest) = theirs.split_once('.')?;
            let place = 2 * number(index) + number(offset);
            Some(format!("seq_encoder.conv_tower.{place}.{rest}"))
        })
        .collect(),
        ["reduction", index, rest] => renamed(rest, &[("convolution.", "0."), ("norm.", "1.")])
            .into_iter()
            .filter_map(|theirs| {
                let (offset, rest) = theirs.split_once('.')?;
                Some(format!(
                    "conv_out.{}.{rest}",
                    3 * number(index) + number(offset)
                ))
            })
            .collect(),
        _ => renamed(&name, EPINFORMER),
    };
    // Their convolutions have an axis of elements, or are maps of one position.
    if name.ends_with("convolution.weight")
        || name.ends_with("residual.weight")
        || name == "stem.weight"
    {
        shape.insert(2, 1);
    } else if name == "element1.weight" || name == "element2.weight" {
        shape.push(1);
    }
    ReleasedName {
        name,
        released,
        shape,
    }
}

fn hyena_name(parameter: NamedParameter) -> ReleasedName {
    let NamedParameter {
        name, mut shape, ..
    } = parameter;
    let released = match in_block(&name) {
        Some((index, field)) => {
            let known = HYENA_BLOCK.iter().find(|(ours, _)| *ours == field);
            let theirs = known.map_or(vec![field], |(_, theirs)| theirs.to_vec());
            let full = theirs
                .iter()
                .map(|theirs| format!("model.layers.{index}.{theirs}"));
            full.collect()
        }
        None => renamed(&name, HYENA),
    };
    if name.ends_with(".short_weight") {
        shape.insert(1, 1);
    } else if name.ends_with(".frequency") {
        shape.insert(0, 1);
    }
    ReleasedName {
        name,
        released,
        shape,
    }
}

fn released_name(
    parameter: NamedParameter,
    backbones: &[Backbone<'_>],
    renames: Renames,
) -> ReleasedName {
    let NamedParameter {
        name, mut shape, ..
    } = parameter;
    let backbone = backbones
        .iter()
        .find_map(|(ours, theirs)| Some((name.strip_prefix(ours)?, theirs)));
    let released = match backbone {
        Some((rest, theirs)) => {
            let inner = inside_backbone(rest);
            let copies = theirs.iter();
            copies
                .flat_map(|prefix| inner.iter().map(move |inner| format!("{prefix}{inner}")))
                .collect()
        }
        None => renamed(&name, renames),
    };
    if name.ends_with(".conv_weight") {
        shape.insert(1, 1);
    } else if name == "embedding.position" {
        shape.insert(0, 1);
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
            let theirs = direction_field(field);
            vec![format!("{layer}.mixer.mamba_{direction}.{theirs}")]
        }
    }
}

/// The released name of a field of one direction.
fn direction_field(field: &str) -> &str {
    DIRECTION
        .iter()
        .find(|(ours, _)| *ours == field)
        .map_or(field, |(_, theirs)| theirs)
}
