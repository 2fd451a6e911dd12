//! The released code's names of settings.

use serde_json::Value;

use crate::config::{
    BackboneInput, CaduceusConfig, EnformerConfig, EpinformerConfig, HyenaConfig, MambaConfig,
    MambaRegressorConfig, MaskDecoding, MaskSite, NetworkConfig, Packing, PredictorWeights,
    PrismConfig, Seq2ExpConfig, TrainDecoding,
};
use crate::epinformer::N_CANDIDATE_FEATURES;

/// The values in double precision.
pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// Turns the released code's resolved settings (`config.json` of a golden folder, or a checkpoint's
/// hyper-parameters) into ours; batches are padded as the released code does.
///
/// # Errors
/// What is missing, or which network it is instead.
pub fn released_config(settings: &Value) -> Result<NetworkConfig, String> {
    let has = |name: &str| settings.get(name).is_some();
    let config = if has("gen_n_layer") {
        seq2exp_config(settings).map(NetworkConfig::Seq2Exp)
    } else if has("n_context") {
        prism_config(settings).map(NetworkConfig::Prism)
    } else if has("bidirectional_strategy") {
        caduceus_config(settings).map(NetworkConfig::Caduceus)
    } else if has("attn_dim_key") {
        enformer_config(settings).map(NetworkConfig::Enformer)
    } else if has("n_enhancers") {
        epinformer_config(settings).map(NetworkConfig::Epinformer)
    } else if has("layer") && has("interact") {
        hyena_config(settings).map(NetworkConfig::Hyena)
    } else if has("ssm_cfg") && has("interact") {
        mamba_config(settings).map(NetworkConfig::Mamba)
    } else {
        Err("these are not settings of a network of this program".to_owned())
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
    config.mamba = block_config(settings)?;
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
    config.mamba = block_config(settings)?;
    Ok(config)
}

fn mamba_config(settings: &Value) -> Result<MambaRegressorConfig, String> {
    sequence_only(settings)?;
    Ok(MambaRegressorConfig {
        d_model: integer(settings, "d_model")?,
        n_layer: integer(settings, "n_layer")?,
        promoter: integer(settings, "center_len")?,
        n_tracks: integer(settings, "signal_size")?,
        n_features: integer(settings, "rna_feat_dim")?,
        mamba: block_config(settings)?,
        ..MambaRegressorConfig::published()
    })
}

fn hyena_config(settings: &Value) -> Result<HyenaConfig, String> {
    sequence_only(settings)?;
    let layer = field(settings, "layer")?;
    Ok(HyenaConfig {
        d_model: integer(settings, "d_model")?,
        n_layer: integer(settings, "n_layer")?,
        d_inner: integer(settings, "d_inner")?,
        promoter: integer(settings, "center_len")?,
        n_tracks: integer(settings, "signal_size")?,
        n_features: integer(settings, "rna_feat_dim")?,
        filter_order: integer(layer, "filter_order")?,
        filter_features: integer(layer, "emb_dim")?,
        filter_frequency: number(layer, "w")? as f32,
        filter_length: integer(layer, "l_max")?,
        d_short: integer(layer, "local_order")?,
        embedding_dropout: number(settings, "embed_dropout")?,
    })
}

fn enformer_config(settings: &Value) -> Result<EnformerConfig, String> {
    let published = EnformerConfig::published();
    Ok(EnformerConfig {
        d_model: integer(settings, "dim")?,
        n_layer: integer(settings, "depth")?,
        n_heads: integer(settings, "heads")?,
        d_key: integer(settings, "attn_dim_key")?,
        n_halvings: integer(settings, "num_downsamples")?,
        width_multiple: integer(settings, "dim_divisible_by")?,
        crop: integer(settings, "valid_len")?,
        n_bins: integer(settings, "target_length")?,
        d_head: integer(settings, "d_model")?,
        // The network does not read them, so its settings do not hold them.
        promoter: published.promoter.min(integer(settings, "valid_len")?),
        ..published
    })
}

fn epinformer_config(settings: &Value) -> Result<EpinformerConfig, String> {
    for (name, needed) in [("useBN", true), ("useFeat", true), ("useLN", true)] {
        if boolean(settings, name)? != needed {
            return Err(format!("the setting `{name}` is not {needed}"));
        }
    }
    let n_features = integer(settings, "n_extraFeat")?;
    if n_features != N_CANDIDATE_FEATURES {
        return Err(format!(
            "the setting `n_extraFeat` is {n_features}; known is {N_CANDIDATE_FEATURES}"
        ));
    }
    Ok(EpinformerConfig {
        d_model: integer(settings, "out_dim")?,
        n_layer: integer(settings, "n_encoder")?,
        n_heads: integer(settings, "head")?,
        n_candidates: integer(settings, "n_enhancers")?,
        ..EpinformerConfig::published()
    })
}

fn prism_config(settings: &Value) -> Result<PrismConfig, String> {
    Ok(PrismConfig {
        d_model: integer(settings, "d_model")?,
        n_layer: integer(settings, "n_layer")?,
        promoter: integer(settings, "center_len")?,
        n_tracks: integer(settings, "signal_size")?,
        n_features: integer(settings, "rna_feat_dim")?,
        n_context: integer(settings, "n_context")?,
        context_channels: integer(settings, "cnn_dim")?,
        intervention_weight: number(settings, "intervention_loss_weight")?,
        mamba: block_config(settings)?,
        ..PrismConfig::published()
    })
}

fn sequence_only(settings: &Value) -> Result<(), String> {
    match field(settings, "interact")?.as_str() {
        Some("no_signal") => Ok(()),
        other => Err(format!(
            "`interact` is {other:?}; this network reads the sequence alone, \"no_signal\""
        )),
    }
}

fn block_config(settings: &Value) -> Result<MambaConfig, String> {
    let block = field(settings, "ssm_cfg")?;
    Ok(MambaConfig {
        d_state: integer(block, "d_state")?,
        d_conv: integer(block, "d_conv")?,
        expand: integer(block, "expand")?,
        ..MambaConfig::default()
    })
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The recorded settings of a network, changed.
    fn changed(network: &str, changes: Value) -> Result<NetworkConfig, String> {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
        let text = std::fs::read_to_string(format!("{golden}/{network}/config.json")).unwrap();
        let mut settings: Value = serde_json::from_str(&text).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            settings[name] = value.clone();
        }
        released_config(&settings)
    }

    #[test]
    fn released_config_takes_over_what_decides_the_mask() {
        let soft = |changes| match changed("seq2exp_soft/L1000_pert", changes).unwrap() {
            NetworkConfig::Seq2Exp(config) => config.mask,
            other => panic!("{other:?}"),
        };
        assert_eq!(soft(json!({})).evaluate, MaskDecoding::Mean);
        let hard = soft(json!({"test_hard": true, "sample_threshold": 0.25}));
        assert_eq!(hard.evaluate, MaskDecoding::Threshold(0.25));
        // The highest part counts before the threshold.
        let top = json!({"test_top": true, "test_top_percent": 0.2, "test_hard": true});
        assert_eq!(soft(top).evaluate, MaskDecoding::TopFraction(0.2));
        let mask = soft(json!({"z_scale": 2.5, "marginal_scale": 20.0, "marginal_mean": 0.2}));
        assert_eq!(mask.z_scale, 2.5);
        // Beta(20, 20 * 0.8 / 0.2).
        assert_eq!(mask.marginal(), (20.0, 80.0));
    }

    #[test]
    fn released_config_takes_over_dropout_and_refuses_what_is_not_built() {
        match changed("hyena/L1000_pert", json!({"embed_dropout": 0.3})).unwrap() {
            NetworkConfig::Hyena(config) => assert_eq!(config.embedding_dropout, 0.3),
            other => panic!("{other:?}"),
        }
        for (network, changes, part) in [
            (
                "epinformer/n8_pert",
                json!({"useBN": false}),
                "`useBN` is not true",
            ),
            (
                "epinformer/n8_pert",
                json!({"n_extraFeat": 4}),
                "`n_extraFeat` is 4; known is 3",
            ),
            ("seq2exp_soft/L1000_pert", json!({"d_model": 0}), "d_model"),
            (
                "caduceus/L1000_pert",
                json!({"interact": "both"}),
                "`interact` is Some(\"both\")",
            ),
            (
                "hyena/L1000_pert",
                json!({"interact": "concat"}),
                "reads the sequence alone",
            ),
            (
                "seq2exp_soft/L1000_pert",
                json!({"prior_beta": "1.5;0.2"}),
                "not a list of numbers",
            ),
        ] {
            let error = changed(network, changes).unwrap_err();
            assert!(error.contains(part), "{network}: {error}");
        }
    }
}
