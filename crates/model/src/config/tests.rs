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

/// The published network of a kind with some fields replaced.
fn with(kind: &str, fields: &str) -> NetworkConfig {
    let text = format!("{{\"kind\": \"{kind}\", {fields}}}");
    serde_json::from_str(&text).expect("settings")
}

#[test]
fn validate_names_the_field_that_is_wrong() {
    // Each problem with the value that is just wrong, and the nearest that is sound.
    let cases = [
        ("seq2exp_soft", "n_positions", "1999", "2000"),
        ("seq2exp_soft", "n_layer_generator", "0", "1"),
        ("macs3", "d_model", "0", "1"),
        ("macs3", "n_layer", "0", "1"),
        ("macs3", "n_tracks", "0", "1"),
        ("macs3", "n_positions", "1999", "2000"),
        ("caduceus", "d_model", "0", "1"),
        ("caduceus", "n_layer", "0", "1"),
        ("caduceus", "promoter", "0", "1"),
        ("caduceus_signals", "n_tracks", "0", "1"),
        ("mamba", "d_model", "0", "1"),
        ("mamba", "n_layer", "0", "1"),
        ("mamba", "promoter", "0", "1"),
        ("hyena", "d_inner", "0", "1"),
        ("hyena", "filter_order", "0", "1"),
        ("hyena", "d_short", "0", "1"),
        ("hyena", "filter_features", "1", "3"),
        ("hyena", "filter_features", "4", "5"),
        ("hyena", "embedding_dropout", "1.0", "0.0"),
        ("hyena", "embedding_dropout", "-0.1", "0.99"),
        ("prism", "n_context", "0", "1"),
        ("prism", "context_channels", "0", "1"),
        ("prism", "intervention_weight", "-0.1", "0.0"),
        ("enformer", "n_heads", "0", "1"),
        ("enformer", "d_key", "0", "1"),
        // Multiples of a width of 128; one of 6 x 8 heads must it be too: 1280 = 26.7 x 48, 1152 = 24 x 48.
        ("enformer", "d_model", "1280", "1152"),
        ("enformer", "n_halvings", "2", "7"),
        ("enformer", "n_halvings", "17", "7"),
        ("enformer", "crop", "0", "196608"),
        ("enformer", "crop", "196607", "196608"),
        // 896 bins of 128 bases.
        ("enformer", "crop", "114560", "114688"),
        ("enformer", "n_bins", "1537", "1536"),
        ("enformer", "width_multiple", "1000", "256"),
        ("enformer", "dropout", "1.0", "0.99"),
        ("epinformer", "d_head", "0", "1"),
        ("epinformer", "d_model", "0", "32"),
        ("epinformer", "d_model", "48", "64"),
        ("epinformer", "n_heads", "0", "1"),
        ("epinformer", "n_heads", "5", "8"),
        ("epinformer", "element_length", "384", "400"),
        ("epinformer", "element_length", "408", "416"),
        ("seq2exp_retrain", "top_fraction", "0.0", "1.0"),
        ("seq2exp_retrain", "top_fraction", "1.01", "0.01"),
        ("seq2exp_retrain", "generator", "\"\"", "\"out\""),
    ];
    for (kind, field, bad, sound) in cases {
        let problems = with(kind, &format!("\"{field}\": {bad}")).validate();
        // The largest number of bins is that of the crop, the smallest crop that of the bins.
        let named = if field == "crop" && bad == "114560" {
            "n_bins"
        } else {
            field
        };
        assert!(
            problems.len() == 1 && problems[0].starts_with(named),
            "{kind} {field} {bad}: {problems:?}"
        );
        let problems = with(kind, &format!("\"{field}\": {sound}")).validate();
        assert_eq!(problems, [""; 0], "{kind} {field} {sound}");
    }
    // What blocks share, of every network that has some.
    for kind in [
        "seq2exp_soft",
        "seq2exp_retrain",
        "macs3",
        "caduceus",
        "mamba",
        "prism",
    ] {
        for (table, bad, sound) in [
            ("mamba", "\"d_state\": 0", "\"d_state\": 1"),
            ("mamba", "\"d_conv\": 0", "\"d_conv\": 1"),
            ("mamba", "\"expand\": 0", "\"expand\": 1"),
            (
                "initialization",
                "\"out_proj_layers\": {\"fixed\": 0}",
                "\"out_proj_layers\": {\"fixed\": 1}",
            ),
            ("initialization", "\"dt_min\": 0.0", "\"dt_min\": 0.1"),
            ("initialization", "\"dt_min\": 0.2", "\"dt_min\": 1e-9"),
            (
                "initialization",
                "\"dt_init_floor\": 0.0",
                "\"dt_init_floor\": 1e-9",
            ),
        ] {
            let problems = with(kind, &format!("\"{table}\": {{{bad}}}")).validate();
            assert!(
                problems.len() == 1 && problems[0].starts_with(table),
                "{kind} {bad}: {problems:?}"
            );
            let problems = with(kind, &format!("\"{table}\": {{{sound}}}")).validate();
            assert_eq!(problems, [""; 0], "{kind} {sound}");
        }
    }
}

#[test]
fn validate_names_the_setting_of_a_mask_that_is_wrong() {
    let cases = [
        ("track_beta", "[1.5, 0.2, -0.1]", "[1.5, 0.0, 0.2]"),
        ("track_weight", "[0.4, 0.4]", "[0.0, 0.0, 0.0]"),
        ("resolution", "0", "1"),
        ("prior_scale_factor", "-0.1", "0.0"),
        ("beta_min", "-0.1", "0.0"),
        ("z_scale", "0.0", "0.1"),
        ("marginal_mean", "0.0", "0.01"),
        ("marginal_mean", "1.0", "0.99"),
        ("marginal_scale", "0.0", "0.1"),
        ("train", "{\"threshold\": 0.0}", "{\"threshold\": 0.01}"),
        ("train", "{\"threshold\": 1.0}", "{\"threshold\": 0.99}"),
        ("evaluate", "{\"threshold\": 0.0}", "{\"threshold\": 0.01}"),
        ("evaluate", "{\"threshold\": 1.0}", "{\"threshold\": 0.99}"),
        (
            "evaluate",
            "{\"top_fraction\": 0.0}",
            "{\"top_fraction\": 0.01}",
        ),
        (
            "evaluate",
            "{\"top_fraction\": 1.01}",
            "{\"top_fraction\": 1.0}",
        ),
    ];
    for (field, bad, sound) in cases {
        let validate = |value| {
            with(
                "seq2exp_soft",
                &format!("\"mask\": {{\"{field}\": {value}}}"),
            )
            .validate()
        };
        let problems = validate(bad);
        assert!(
            problems.len() == 1 && problems[0].starts_with(&format!("mask.{field}")),
            "{field} {bad}: {problems:?}"
        );
        assert_eq!(validate(sound), [""; 0], "{field} {sound}");
    }
}

#[test]
fn window_problem_names_what_does_not_fit_the_length() {
    let cases = [
        ("seq2exp_soft", "\"n_positions\": 0", 4000, None),
        ("seq2exp_soft", "\"n_positions\": 4000", 4000, None),
        (
            "seq2exp_soft",
            "\"n_positions\": 4001",
            4000,
            Some("n_positions 4001"),
        ),
        (
            "macs3",
            "\"n_positions\": 3999",
            4000,
            Some("n_positions 3999"),
        ),
        ("hyena", "\"filter_length\": 0", 4000, None),
        ("hyena", "\"filter_length\": 4000", 4000, None),
        (
            "hyena",
            "\"filter_length\": 3999",
            4000,
            Some("filter_length 3999"),
        ),
        ("enformer", "\"crop\": 196608", 196_608, None),
        ("enformer", "\"crop\": 196608", 196_607, Some("crop 196608")),
        ("prism", "\"n_layer\": 1", 64, None),
        ("prism", "\"n_layer\": 1", 63, Some("at least 64")),
        ("caduceus", "\"n_layer\": 1", 1, None),
    ];
    for (kind, fields, length, part) in cases {
        let problem = with(kind, fields).window_problem(length);
        match part {
            None => assert_eq!(problem, None, "{kind} {fields} {length}"),
            Some(part) => assert!(
                problem.as_ref().is_some_and(|text| text.contains(part)),
                "{kind} {fields} {length}: {problem:?}"
            ),
        }
    }
}

#[test]
fn with_length_moves_what_depends_on_the_length() {
    let cases = [
        // 0 stands for what follows from the window.
        ("seq2exp_soft", "\"n_positions\": 0", "\"n_positions\": 0"),
        (
            "seq2exp_soft",
            "\"n_positions\": 200000",
            "\"n_positions\": 100000",
        ),
        (
            "macs3",
            "\"n_positions\": 200000",
            "\"n_positions\": 100000",
        ),
        ("macs3", "\"n_positions\": 0", "\"n_positions\": 0"),
        ("hyena", "\"filter_length\": 0", "\"filter_length\": 0"),
        (
            "hyena",
            "\"filter_length\": 200002",
            "\"filter_length\": 100002",
        ),
        // 781 whole bins of 128 bases in 100,000; 896 of 1,536 of them: 455.6.
        (
            "enformer",
            "\"crop\": 196608",
            "\"crop\": 99968, \"n_bins\": 455",
        ),
        // A crop that fits stays.
        (
            "enformer",
            "\"crop\": 99968, \"n_bins\": 3",
            "\"crop\": 99968, \"n_bins\": 3",
        ),
    ];
    for (kind, before, after) in cases {
        let found = with(kind, before).with_length(100_000);
        assert_eq!(found, with(kind, after), "{kind} {before}");
    }
    // A window of less than a bin has one.
    let short = with("enformer", "\"n_layer\": 1").with_length(100);
    assert_eq!(
        short,
        with("enformer", "\"n_layer\": 1, \"crop\": 128, \"n_bins\": 1")
    );
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
