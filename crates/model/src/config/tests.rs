use super::*;

#[test]
fn network_config_each_preset_is_valid_and_survives_a_round_trip() {
    for kind in NetworkKind::ALL {
        let config = kind.preset();
        assert_eq!(config.validate(), Vec::<String>::new(), "{}", kind.name());
        assert_eq!(config.kind(), kind);
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<NetworkConfig>(&text).unwrap(),
            config
        );
    }
}

#[test]
fn network_config_with_logits_that_are_not_written_survives_a_round_trip() {
    let mut delta = Seq2ExpConfig::delta();
    delta.mask.initial_logits = [0.0; 2];
    let mut soft = Seq2ExpConfig::soft();
    soft.mask_site = MaskSite::Delta;
    for config in [delta, soft] {
        let config = NetworkConfig::Seq2Exp(config);
        let text = serde_json::to_string(&config).unwrap();
        // Runs of earlier versions are compared with what is written now.
        assert!(!text.contains("initial_logits") && text.contains("seq2exp_soft"));
        let read: NetworkConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(read, config);
    }
}

#[test]
fn network_config_with_single_bases_that_are_not_written_survives_a_round_trip() {
    let mut delta = Seq2ExpConfig::delta();
    delta.mask.resolution = 1;
    let config = NetworkConfig::Seq2Exp(delta);
    let text = serde_json::to_string(&config).unwrap();
    assert!(!text.contains("resolution"), "{text}");
    assert_eq!(
        serde_json::from_str::<NetworkConfig>(&text).unwrap(),
        config
    );
}

#[test]
fn network_config_kind_alone_is_the_published_network() {
    let config: NetworkConfig = serde_json::from_str(r#"{"kind": "seq2exp_hard"}"#).unwrap();
    let NetworkConfig::Seq2Exp(config) = config else {
        panic!("not Seq2Exp")
    };
    assert_eq!(config, Seq2ExpConfig::hard());
    // Beta(0.1, 0.1 * 0.55 / 0.45)
    let (alpha, beta) = config.mask.marginal();
    assert_eq!(alpha, 0.1);
    assert!((beta - 0.122_222_222_222).abs() < 1e-9);
}

#[test]
fn network_config_override_changes_only_that_field() {
    let text = r#"{"kind": "seq2exp_soft", "d_model": 32, "mask": {"beta_min": 0.5, "evaluate": {"top_fraction": 0.1}}}"#;
    let NetworkConfig::Seq2Exp(config) = serde_json::from_str(text).unwrap() else {
        panic!("not Seq2Exp")
    };
    let mut expected = Seq2ExpConfig::soft();
    expected.d_model = 32;
    expected.mask.beta_min = 0.5;
    expected.mask.evaluate = MaskDecoding::TopFraction(0.1);
    assert_eq!(config, expected);
    let text = r#"{"kind": "seq2exp_hard", "mask": {"evaluate": {"top_fraction": 0.1}}}"#;
    let NetworkConfig::Seq2Exp(config) = serde_json::from_str(text).unwrap() else {
        panic!("not Seq2Exp")
    };
    assert_eq!(config.mask.evaluate, MaskDecoding::TopFraction(0.1));
}

#[test]
fn network_config_bad_text_names_the_field() {
    for (text, needle) in [
        (r#"{"d_model": 32}"#, "kind"),
        (r#"{"kind": "transformer"}"#, "transformer"),
        (r#"{"kind": "caduceus", "layers": 3}"#, "layers"),
        (
            r#"{"kind": "seq2exp_soft", "mask": {"betamin": 3}}"#,
            "betamin",
        ),
        (r#"{"kind": "seq2exp_soft", "d_model": "wide"}"#, "wide"),
    ] {
        let error = serde_json::from_str::<NetworkConfig>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(needle), "{text}: {error}");
    }
}

#[test]
fn validate_several_mistakes_reports_each() {
    let mut config = Seq2ExpConfig::hard();
    config.d_model = 0;
    config.n_layer_predictor = 3;
    config.mask.track_beta = vec![1.0];
    config.mask.marginal_mean = 1.0;
    config.mask.evaluate = MaskDecoding::Mean;
    let problems = NetworkConfig::Seq2Exp(config).validate();
    for needle in [
        "d_model",
        "n_layer_predictor",
        "mask.track_beta",
        "mask.marginal_mean",
        "mask.evaluate",
    ] {
        assert!(
            problems.iter().any(|problem| problem.contains(needle)),
            "{needle} in {problems:?}"
        );
    }
    assert_eq!(problems.len(), 5, "{problems:?}");
}

#[test]
fn out_proj_scale_fixed_and_own_match_the_published_divisors() {
    // released Seq2Exp: 1 / sqrt(64); plain Caduceus with 4 layers: 1 / sqrt(4)
    assert_eq!(
        Seq2ExpConfig::soft().initialization.out_proj_scale(4),
        0.125
    );
    assert_eq!(
        CaduceusConfig::published(BackboneInput::Sequence)
            .initialization
            .out_proj_scale(4),
        0.5
    );
}

#[test]
fn differences_two_configs_name_path_and_values() {
    let a = NetworkKind::Seq2ExpSoft.preset();
    let mut b = Seq2ExpConfig::soft();
    b.mask.beta_min = 0.0;
    b.d_model = 64;
    let differences = a.differences(&NetworkConfig::Seq2Exp(b));
    assert_eq!(
        differences,
        [
            "d_model is 128 here and 64 there",
            "mask.beta_min is 1.0 here and 0.0 there"
        ]
    );
    assert!(a.differences(&a).is_empty());
}

#[test]
fn networks_say_what_they_leave_to_the_processor() {
    for kind in NetworkKind::ALL {
        let part = kind.preset().left_to_processor();
        assert_eq!(part.is_some(), kind == NetworkKind::Hyena, "{part:?}");
    }
}
