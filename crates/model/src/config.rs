//! What a network is made of, as a user writes it in an experiment file.
//!
//! A config names a published network (`kind`) and overrides what differs; saving it again writes every field.

mod kind;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value};

pub use self::kind::NetworkKind;
pub use crate::caduceus::{CaduceusConfig, ReverseComplement};
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
pub use crate::seq2exp::Seq2ExpConfig;

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

/// What a backbone reads at each base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackboneInput {
    /// The one-hot base.
    Sequence,
    /// The one-hot base and the track values.
    SequenceAndTracks,
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
