//! What a network is made of, as a user writes it in an experiment file.
//!
//! A config names a published network (`kind`) and overrides what differs; saving it again writes every field.

mod kind;

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

pub use self::kind::NetworkKind;
pub use crate::caduceus::ReverseComplement;
pub use crate::enformer::EnformerConfig;
pub use crate::epinformer::EpinformerConfig;
pub use crate::fixed_mask::{FixedMaskConfig, FixedMaskSource};
pub use crate::hyena::HyenaConfig;
pub use crate::initialization::{InitializationConfig, OutProjLayers};
pub use crate::mamba::MambaConfig;
pub use crate::mamba_regressor::MambaRegressorConfig;
pub use crate::mask::{MaskConfig, MaskDecoding, TrainDecoding};
pub use crate::predictor::{MaskSite, Packing, PredictorWeights};
pub use crate::prism::PrismConfig;
pub use crate::retrained::RetrainedConfig;

/// Complete settings of one network.
#[derive(Clone, Debug, PartialEq)]
pub enum NetworkConfig {
    /// Mask generator and predictor.
    Seq2Exp(Seq2ExpConfig),
    /// A predictor under a mask that is given.
    FixedMask(FixedMaskConfig),
    /// A predictor on the positions that a frozen generator ranks highest.
    Retrained(RetrainedConfig),
    /// One backbone and an expression head.
    Caduceus(CaduceusConfig),
    /// Causal blocks and an expression head.
    Mamba(MambaRegressorConfig),
    /// Long convolutions and an expression head.
    Hyena(HyenaConfig),
    /// Caduceus with intervened branches.
    Prism(PrismConfig),
    /// Convolutions, attention over bins and an expression head.
    Enformer(EnformerConfig),
    /// Convolutions over promoter and candidate enhancers, attention between them.
    Epinformer(EpinformerConfig),
}

/// Evaluates an expression with the settings of whatever network bound to a name.
macro_rules! with_fields {
    ($config:expr, $fields:ident => $value:expr) => {
        match $config {
            NetworkConfig::Seq2Exp($fields) => $value,
            NetworkConfig::FixedMask($fields) => $value,
            NetworkConfig::Retrained($fields) => $value,
            NetworkConfig::Caduceus($fields) => $value,
            NetworkConfig::Mamba($fields) => $value,
            NetworkConfig::Hyena($fields) => $value,
            NetworkConfig::Prism($fields) => $value,
            NetworkConfig::Enformer($fields) => $value,
            NetworkConfig::Epinformer($fields) => $value,
        }
    };
}

/// Sizes that every network has, for trials on another scale than the published one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSize {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Blocks of each backbone.
    pub n_layer: usize,
    /// Central bases that are pooled, in bp.
    pub promoter: usize,
    /// Bases per window.
    pub length: usize,
}

/// Settings of Seq2Exp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seq2ExpConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// BiMamba blocks of the mask generator; 4. Released name: `gen_n_layer`.
    pub n_layer_generator: usize,
    /// BiMamba blocks of the predictor, equal to the generator's when shared; 4. Released name: `enc_n_layer`.
    pub n_layer_predictor: usize,
    /// Central bases that are always selected and pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base; 3 (H3K27ac, DNase, contact). Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// What the generator sees: the sequence (soft) or sequence and tracks (hard).
    pub generator_input: BackboneInput,
    /// Whether the predictor has blocks of its own (soft) or uses the generator's (hard).
    pub predictor_weights: PredictorWeights,
    /// Positions of the learned positional embedding, the window's length in bp; 0 = none (soft). Released name: `pos_enc`.
    pub n_positions: usize,
    /// How the mask reaches the predictor: `scale` (soft), `pack` (hard), or `delta`.
    pub mask_site: MaskSite,
    /// How hard masks are batched; without effect unless `mask_site = "pack"`.
    pub packing: Packing,
    /// The latent mask.
    pub mask: MaskConfig,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights.
    pub initialization: InitializationConfig,
}

/// Settings of a Caduceus regressor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaduceusConfig {
    /// Width of the residual stream; 128. Released name: `d_model`.
    pub d_model: usize,
    /// BiMamba blocks; 4. Released name: `n_layer`.
    pub n_layer: usize,
    /// Central bases that are pooled, in bp; 2,000. Released name: `center_len`.
    pub promoter: usize,
    /// Signal tracks per base; 3. Released name: `signal_size`.
    pub n_tracks: usize,
    /// Features of the messenger RNA in the head; 9. Released name: `rna_feat_dim`.
    pub n_features: usize,
    /// What the backbone sees. Released name: `interact` (`no_signal` or `concat`).
    pub input: BackboneInput,
    /// Whether both strands are read with the same parameters; `none`. Released name: `rcps`.
    pub reverse_complement: ReverseComplement,
    /// Weights of a pretrained Caduceus (`model.safetensors` of a Hugging Face model) that the backbone starts from;
    /// none. Relative to the experiment file. Released name: `pretrained_model_name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<PathBuf>,
    /// The Mamba block.
    pub mamba: MambaConfig,
    /// Initial weights.
    pub initialization: InitializationConfig,
}

/// What a backbone reads at each base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackboneInput {
    /// The one-hot base.
    Sequence,
    /// The one-hot base and the track values.
    SequenceAndTracks,
}

impl Seq2ExpConfig {
    /// The published Seq2Exp-soft.
    pub fn soft() -> Self {
        Self {
            d_model: 128,
            n_layer_generator: 4,
            n_layer_predictor: 4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            generator_input: BackboneInput::Sequence,
            predictor_weights: PredictorWeights::Own,
            n_positions: 0,
            mask_site: MaskSite::Scale,
            packing: Packing::PerExample,
            mask: MaskConfig {
                track_beta: vec![1.5, 0.2, 1.0],
                track_weight: vec![0.4, 0.4, 0.2],
                prior_scale_factor: 10.0,
                beta_min: 1.0,
                z_scale: 1.0,
                marginal_mean: 0.1,
                marginal_scale: 10.0,
                minus_one: false,
                initial_logits: [0.0; 2],
                resolution: 1,
                train: TrainDecoding::Sample,
                evaluate: MaskDecoding::Mean,
            },
            mamba: MambaConfig::default(),
            initialization: InitializationConfig::with_layers(OutProjLayers::Fixed(64)),
        }
    }

    /// The published Seq2Exp-hard, for windows of 200,000 bp.
    pub fn hard() -> Self {
        let soft = Self::soft();
        Self {
            generator_input: BackboneInput::SequenceAndTracks,
            predictor_weights: PredictorWeights::Shared,
            n_positions: 200_000,
            mask_site: MaskSite::Pack,
            mask: MaskConfig {
                prior_scale_factor: 1.0,
                beta_min: 0.0,
                marginal_mean: 0.45,
                marginal_scale: 0.1,
                train: TrainDecoding::Threshold(0.5),
                evaluate: MaskDecoding::Threshold(0.5),
                ..soft.mask
            },
            ..soft
        }
    }

    /// Seq2Exp-delta: a hard mask from sequence and tracks together, without the tracks' own prior, that starts near 1
    /// and closes positions inside the predictor's blocks. It is made for `train.mask_weight`, without a divergence.
    ///
    /// Not published; `docs/mask_site.md` says why each setting is what it is.
    pub fn delta() -> Self {
        let soft = Self::soft();
        Self {
            generator_input: BackboneInput::SequenceAndTracks,
            mask_site: MaskSite::Delta,
            mask: MaskConfig {
                prior_scale_factor: 0.0,
                initial_logits: [-3.0, 3.0],
                resolution: 8,
                train: TrainDecoding::Threshold(0.5),
                evaluate: MaskDecoding::Threshold(0.5),
                ..soft.mask
            },
            initialization: InitializationConfig::with_layers(OutProjLayers::Own),
            ..soft
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "d_model", self.d_model);
        positive(&mut problems, "n_layer_generator", self.n_layer_generator);
        positive(&mut problems, "n_layer_predictor", self.n_layer_predictor);
        positive(&mut problems, "promoter", self.promoter);
        positive(&mut problems, "n_tracks", self.n_tracks);
        self.mamba.add_problems(&mut problems);
        self.initialization.add_problems(&mut problems);
        self.mask.add_problems(&mut problems, self.n_tracks);
        if self.predictor_weights == PredictorWeights::Shared
            && self.n_layer_predictor != self.n_layer_generator
        {
            problems.push(format!(
                "n_layer_predictor is {} but the predictor shares the generator's {} layers; make them equal",
                self.n_layer_predictor, self.n_layer_generator
            ));
        }
        if self.mask_site == MaskSite::Pack {
            if self.mask.train == TrainDecoding::Sample {
                problems.push(
                    "mask_site = \"pack\" needs a hard mask: set mask.train = { threshold = 0.5 }"
                        .into(),
                );
            }
            if self.mask.evaluate == MaskDecoding::Mean {
                problems.push("mask_site = \"pack\" needs a hard mask: set mask.evaluate = { threshold = 0.5 }".into());
            }
        }
        if self.n_positions != 0 && self.n_positions < self.promoter {
            problems.push(format!(
                "n_positions ({}) is smaller than promoter ({})",
                self.n_positions, self.promoter
            ));
        }
        problems
    }
}

impl CaduceusConfig {
    /// The published Caduceus baseline.
    pub fn published(input: BackboneInput) -> Self {
        Self {
            d_model: 128,
            n_layer: 4,
            promoter: 2000,
            n_tracks: 3,
            n_features: 9,
            input,
            reverse_complement: ReverseComplement::None,
            pretrained: None,
            mamba: MambaConfig::default(),
            initialization: InitializationConfig::with_layers(OutProjLayers::Own),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        positive(&mut problems, "d_model", self.d_model);
        positive(&mut problems, "n_layer", self.n_layer);
        positive(&mut problems, "promoter", self.promoter);
        if self.input == BackboneInput::SequenceAndTracks {
            positive(&mut problems, "n_tracks", self.n_tracks);
        }
        self.mamba.add_problems(&mut problems);
        self.initialization.add_problems(&mut problems);
        problems
    }
}

impl NetworkConfig {
    /// What other devices leave to the processor, moving tensors there and back; none for most networks.
    pub fn left_to_processor(&self) -> Option<&'static str> {
        matches!(self, Self::Hyena(_)).then_some("the long convolution of hyena")
    }

    /// Whether the network has BiMamba or Mamba blocks, which alone keep and compute numbers as a run asks.
    pub fn has_blocks(&self) -> bool {
        !matches!(
            self,
            Self::Hyena(_) | Self::Enformer(_) | Self::Epinformer(_)
        )
    }

    /// The network that these settings are closest to; it is written as `kind`.
    pub fn kind(&self) -> NetworkKind {
        match self {
            Self::Seq2Exp(config) if config.mask_site == MaskSite::Pack => NetworkKind::Seq2ExpHard,
            // What is not written out, logits of zero and single bases, is not what the preset of this kind has.
            Self::Seq2Exp(config)
                if config.mask_site == MaskSite::Delta
                    && config.mask.initial_logits != [0.0; 2]
                    && config.mask.resolution != 1 =>
            {
                NetworkKind::Seq2ExpDelta
            }
            Self::Seq2Exp(_) => NetworkKind::Seq2ExpSoft,
            Self::FixedMask(_) => NetworkKind::Macs3,
            Self::Retrained(_) => NetworkKind::Seq2ExpRetrain,
            Self::Caduceus(config) if config.input == BackboneInput::Sequence => {
                NetworkKind::Caduceus
            }
            Self::Caduceus(_) => NetworkKind::CaduceusSignals,
            Self::Mamba(_) => NetworkKind::Mamba,
            Self::Hyena(_) => NetworkKind::Hyena,
            Self::Prism(_) => NetworkKind::Prism,
            Self::Enformer(_) => NetworkKind::Enformer,
            Self::Epinformer(_) => NetworkKind::Epinformer,
        }
    }

    /// Every problem of these settings, each with its field and the remedy; empty when they can be built.
    pub fn validate(&self) -> Vec<String> {
        with_fields!(self, fields => fields.problems())
    }

    /// Width of the residual stream.
    pub fn d_model(&self) -> usize {
        with_fields!(self, fields => fields.d_model)
    }

    /// Central bases that are pooled, in bp.
    pub fn promoter(&self) -> usize {
        with_fields!(self, fields => fields.promoter)
    }

    /// Signal tracks per base that an input must carry.
    pub fn n_tracks(&self) -> usize {
        with_fields!(self, fields => fields.n_tracks)
    }

    /// Sets the signal tracks per base that an input must carry.
    pub fn set_n_tracks(&mut self, n_tracks: usize) {
        with_fields!(self, fields => fields.n_tracks = n_tracks);
    }

    /// The latent mask, of a network that has one.
    pub fn mask_mut(&mut self) -> Option<&mut MaskConfig> {
        match self {
            Self::Seq2Exp(config) => Some(&mut config.mask),
            Self::Retrained(config) => Some(&mut config.mask),
            _ => None,
        }
    }

    /// Whether the network selects positions, by a mask of its own or one that is given.
    pub fn has_mask(&self) -> bool {
        matches!(
            self,
            Self::Seq2Exp(_) | Self::FixedMask(_) | Self::Retrained(_)
        )
    }

    /// Whether an input must carry peaks.
    pub fn needs_peaks(&self) -> bool {
        matches!(self, Self::FixedMask(config) if config.mask_source == FixedMaskSource::Peaks)
    }

    /// Whether an input must carry candidate enhancers.
    pub fn needs_candidates(&self) -> bool {
        matches!(self, Self::Epinformer(_))
    }

    /// Features of the messenger RNA that an input must carry.
    pub fn n_features(&self) -> usize {
        with_fields!(self, fields => fields.n_features)
    }

    /// The same network for windows of another length.
    pub fn with_length(mut self, length: usize) -> Self {
        match &mut self {
            Self::Seq2Exp(fields) if fields.n_positions != 0 => fields.n_positions = length,
            Self::FixedMask(fields) if fields.n_positions != 0 => fields.n_positions = length,
            Self::Hyena(fields) if fields.filter_length != 0 => fields.filter_length = length + 2,
            Self::Enformer(fields) if fields.crop > length => fields.shorten(length),
            _ => {}
        }
        self
    }

    /// The same network that pools another number of central bases.
    pub fn with_promoter(mut self, promoter: usize) -> Self {
        with_fields!(&mut self, fields => fields.promoter = promoter);
        self
    }

    /// The same network in another size.
    pub fn with_size(self, size: NetworkSize) -> Self {
        let NetworkSize {
            d_model, n_layer, ..
        } = size;
        let mut config = self.with_length(size.length);
        with_fields!(&mut config, fields => {
            fields.d_model = d_model;
            fields.promoter = size.promoter;
        });
        match &mut config {
            Self::Seq2Exp(fields) => {
                (fields.n_layer_generator, fields.n_layer_predictor) = (n_layer, n_layer);
            }
            Self::FixedMask(fields) => fields.n_layer = n_layer,
            Self::Retrained(fields) => {
                (fields.n_layer_generator, fields.n_layer_predictor) = (n_layer, n_layer);
            }
            Self::Caduceus(fields) => fields.n_layer = n_layer,
            Self::Mamba(fields) => fields.n_layer = n_layer,
            Self::Hyena(fields) => (fields.n_layer, fields.d_inner) = (n_layer, 4 * d_model),
            Self::Prism(fields) => {
                (fields.n_layer, fields.context_channels) = (n_layer, d_model.div_ceil(4));
            }
            Self::Epinformer(fields) => {
                // The least that the convolutions and the heads allow.
                (fields.n_layer, fields.n_heads) = (n_layer, 4);
                fields.d_model = d_model.next_multiple_of(32);
                (fields.n_candidates, fields.element_length) = (2, 400);
                fields.d_head = d_model;
            }
            Self::Enformer(fields) => fields.resize(size),
        }
        config
    }

    /// Positions of the learned positional embedding; 0 for a network without one.
    pub fn n_positions(&self) -> usize {
        match self {
            Self::Seq2Exp(fields) => fields.n_positions,
            Self::FixedMask(fields) => fields.n_positions,
            _ => 0,
        }
    }

    /// Why these settings do not fit windows of this length, if they do not.
    pub fn window_problem(&self, length: usize) -> Option<String> {
        let n_positions = self.n_positions();
        match self {
            _ if ![0, length].contains(&n_positions) => Some(format!(
                "data.length is {length} and model.n_positions {n_positions}; make them equal"
            )),
            Self::Hyena(fields) if (1..length).contains(&fields.filter_length) => Some(format!(
                "data.length is {length} and model.filter_length {}; raise it, or set it to 0",
                fields.filter_length
            )),
            Self::Enformer(fields) if fields.crop > length => Some(format!(
                "data.length is {length} and model.crop {}; lower it, and model.n_bins with it",
                fields.crop
            )),
            Self::Prism(_) if length < crate::prism::SHORTEST => Some(format!(
                "data.length is {length}; Prism needs at least {}",
                crate::prism::SHORTEST
            )),
            _ => None,
        }
    }

    /// Fields that name files which only the first weights come from.
    pub const PATH_FIELDS: [&str; 2] = ["generator", "pretrained"];

    /// The fields, by dotted path, in which two configs differ, each with both values, [`PATH_FIELDS`](Self::PATH_FIELDS)
    /// left out: files may be moved, and a trained network has its own weights.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let value = |config: &Self| {
            // Through text, so that an f32 shows its short form.
            let text = serde_json::to_string(config)?;
            let mut fields: Map<String, Value> = serde_json::from_str(&text)?;
            fields.retain(|name, _| !Self::PATH_FIELDS.contains(&name.as_str()));
            serde_json::Result::Ok(Value::Object(fields))
        };
        if let (Ok(a), Ok(b)) = (value(self), value(other)) {
            compare("", &a, &b, &mut differences);
        }
        differences
    }
}

impl Serialize for NetworkConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Tagged<'a, T> {
            kind: NetworkKind,
            #[serde(flatten)]
            fields: &'a T,
        }
        let kind = self.kind();
        with_fields!(self, fields => Tagged { kind, fields }.serialize(serializer))
    }
}

impl<'de> Deserialize<'de> for NetworkConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut overrides = Map::<String, Value>::deserialize(deserializer)?;
        let kind = overrides
            .remove("kind")
            .ok_or_else(|| D::Error::missing_field("kind"))?;
        let kind = NetworkKind::deserialize(kind).map_err(D::Error::custom)?;
        let mut config = kind.preset();
        let mut value = with_fields!(&config, fields => serde_json::to_value(fields))
            .map_err(D::Error::custom)?;
        if let Value::Object(fields) = &mut value {
            override_fields(fields, overrides);
        }
        with_fields!(&mut config, fields => {
            *fields = serde_json::from_value(value).map_err(D::Error::custom)?;
        });
        Ok(config)
    }
}

/// Tables whose fields are overridden one by one; every other value is replaced whole.
const TABLES: [&str; 3] = ["mask", "mamba", "initialization"];

fn override_fields(fields: &mut Map<String, Value>, overrides: Map<String, Value>) {
    for (name, value) in overrides {
        match (fields.get_mut(&name), value) {
            (Some(Value::Object(table)), Value::Object(inner))
                if TABLES.contains(&name.as_str()) =>
            {
                table.extend(inner)
            }
            (_, value) => {
                fields.insert(name, value);
            }
        }
    }
}

pub(crate) fn positive(problems: &mut Vec<String>, field: &str, value: usize) {
    if value == 0 {
        problems.push(format!("{field} is 0; it must be at least 1"));
    }
}

fn compare(path: &str, a: &Value, b: &Value, differences: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                let absent = Value::Null;
                compare(
                    &path,
                    a.get(name).unwrap_or(&absent),
                    b.get(name).unwrap_or(&absent),
                    differences,
                );
            }
        }
        _ if a != b => differences.push(format!("{path} is {a} here and {b} there")),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
