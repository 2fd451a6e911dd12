//! The networks by name.

use serde::{Deserialize, Serialize};

use super::{
    BackboneInput, CaduceusConfig, EnformerConfig, EpinformerConfig, FixedMaskConfig, HyenaConfig,
    MambaRegressorConfig, NetworkConfig, PrismConfig, RetrainedConfig, Seq2ExpConfig,
};

/// The networks that this crate builds, published ones but for Seq2Exp-delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// Seq2Exp with a soft mask that scales the predictor's input.
    #[serde(rename = "seq2exp_soft")]
    Seq2ExpSoft,
    /// Seq2Exp with a hard mask that selects the predictor's positions.
    #[serde(rename = "seq2exp_hard")]
    Seq2ExpHard,
    /// Seq2Exp with a hard mask that removes positions inside the predictor's blocks; not published, ours.
    #[serde(rename = "seq2exp_delta")]
    Seq2ExpDelta,
    /// The predictor of Seq2Exp-soft on the highest positions of a trained, frozen generator.
    #[serde(rename = "seq2exp_retrain")]
    Seq2ExpRetrain,
    /// The predictor of Seq2Exp-soft with the data's peaks as mask.
    Macs3,
    /// Caduceus on the sequence alone.
    Caduceus,
    /// Caduceus on the sequence and the tracks.
    CaduceusSignals,
    /// Mamba, causal, on the sequence alone.
    Mamba,
    /// HyenaDNA on the sequence alone.
    Hyena,
    /// Prism: Caduceus on sequence and tracks, with interventions on the tracks in training.
    Prism,
    /// Enformer on the sequence alone.
    Enformer,
    /// EPInformer on the promoter and candidate enhancers.
    Epinformer,
}

impl NetworkKind {
    /// Every kind, in the order they are listed to a user.
    pub const ALL: [Self; 12] = [
        Self::Seq2ExpSoft,
        Self::Seq2ExpHard,
        Self::Seq2ExpDelta,
        Self::Seq2ExpRetrain,
        Self::Macs3,
        Self::Caduceus,
        Self::CaduceusSignals,
        Self::Mamba,
        Self::Hyena,
        Self::Prism,
        Self::Enformer,
        Self::Epinformer,
    ];

    /// The name in an experiment file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seq2ExpSoft => "seq2exp_soft",
            Self::Seq2ExpHard => "seq2exp_hard",
            Self::Seq2ExpDelta => "seq2exp_delta",
            Self::Seq2ExpRetrain => "seq2exp_retrain",
            Self::Macs3 => "macs3",
            Self::Caduceus => "caduceus",
            Self::CaduceusSignals => "caduceus_signals",
            Self::Mamba => "mamba",
            Self::Hyena => "hyena",
            Self::Prism => "prism",
            Self::Enformer => "enformer",
            Self::Epinformer => "epinformer",
        }
    }

    /// What it is and reads, in one line.
    pub fn description(self) -> &'static str {
        match self {
            Self::Seq2ExpSoft => "Seq2Exp, a learned soft mask scales the predictor's input",
            Self::Seq2ExpHard => "Seq2Exp, a learned hard mask selects the predictor's positions",
            Self::Seq2ExpDelta => {
                "Seq2Exp, a learned hard mask that acts inside the predictor's blocks"
            }
            Self::Seq2ExpRetrain => {
                "Seq2Exp, a new predictor on the highest positions of a trained mask"
            }
            Self::Macs3 => "the Seq2Exp predictor with peaks as its mask",
            Self::Caduceus => "bidirectional Mamba on the sequence",
            Self::CaduceusSignals => "bidirectional Mamba on sequence and tracks",
            Self::Mamba => "causal Mamba on the sequence",
            Self::Hyena => "HyenaDNA, long convolutions on the sequence",
            Self::Prism => {
                "Prism, Caduceus on sequence and tracks with interventions on the tracks"
            }
            Self::Enformer => "Enformer, convolutions and attention on the sequence",
            Self::Epinformer => {
                "EPInformer, convolutions and attention on promoter and candidate enhancers"
            }
        }
    }

    /// The published settings of this network; of Seq2Exp-delta, which is ours, those of `docs/mask_site.md`.
    pub fn preset(self) -> NetworkConfig {
        match self {
            Self::Seq2ExpSoft => NetworkConfig::Seq2Exp(Seq2ExpConfig::soft()),
            Self::Seq2ExpHard => NetworkConfig::Seq2Exp(Seq2ExpConfig::hard()),
            Self::Seq2ExpDelta => NetworkConfig::Seq2Exp(Seq2ExpConfig::delta()),
            Self::Seq2ExpRetrain => NetworkConfig::Retrained(RetrainedConfig::published()),
            Self::Macs3 => NetworkConfig::FixedMask(FixedMaskConfig::published()),
            Self::Caduceus => {
                NetworkConfig::Caduceus(CaduceusConfig::published(BackboneInput::Sequence))
            }
            Self::CaduceusSignals => {
                NetworkConfig::Caduceus(CaduceusConfig::published(BackboneInput::SequenceAndTracks))
            }
            Self::Mamba => NetworkConfig::Mamba(MambaRegressorConfig::published()),
            Self::Hyena => NetworkConfig::Hyena(HyenaConfig::published()),
            Self::Prism => NetworkConfig::Prism(PrismConfig::published()),
            Self::Enformer => NetworkConfig::Enformer(EnformerConfig::published()),
            Self::Epinformer => NetworkConfig::Epinformer(EpinformerConfig::published()),
        }
    }
}
