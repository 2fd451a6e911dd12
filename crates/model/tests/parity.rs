//! Every recorded vector in this repository, and what the comparison does when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use model::run_parity;

fn golden(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(folder)
}

/// Number of tensors that must have been compared, so that a comparison cannot pass by finding nothing:
/// counted in the golden files (forward tensors, one gradient per parameter, prediction gradients).
const CASES: [(&str, usize); 10] = [
    ("seq2exp_soft", 225),
    ("seq2exp_hard", 150),
    ("caduceus/", 45),
    ("caduceus_signals", 45),
    ("seq2exp_soft/ckpt", 6),
    ("mamba", 35),
    ("hyena", 61),
    ("prism", 70),
    ("enformer_tiny", 106),
    ("epinformer", 200),
];

#[test]
fn run_parity_every_network_is_within_tolerance() {
    for (folder, at_least) in CASES {
        let report = run_parity(&golden(folder)).unwrap();
        assert!(report.passed(), "{report}");
        assert!(
            report.n_compared() >= at_least,
            "{folder}: {} compared",
            report.n_compared()
        );
    }
}

#[test]
fn run_parity_operations_of_the_kernels_are_within_tolerance() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/tests/golden");
    let report = run_parity(&folder).unwrap();
    assert!(report.passed(), "{report}");
    assert!(report.n_compared() > 80, "{report}");
    let skipped = &report.folders[0].skipped;
    assert!(
        skipped
            .iter()
            .any(|line| line.starts_with("selective_scan_L7_z")),
        "{report}"
    );
}

fn copy_of(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(folder)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn run_parity_without_a_file_or_a_tensor_fails_and_names_it() {
    let copy = copy_of("caduceus/L1000_pert");
    fs::remove_file(copy.path().join("train_plain.safetensors")).unwrap();
    let report = run_parity(copy.path()).unwrap();
    assert!(!report.passed());
    assert_eq!(report.folders[0].missing, ["train_plain.safetensors"]);

    // The inputs in place of the evaluation lack every tensor of it.
    fs::copy(
        copy.path().join("inputs.safetensors"),
        copy.path().join("eval.safetensors"),
    )
    .unwrap();
    let report = run_parity(copy.path()).unwrap();
    let missing = &report.folders[0].missing;
    assert!(
        missing.contains(&"eval.safetensors: f64_pred".to_owned()),
        "{missing:?}"
    );
    assert!(
        missing.contains(&"eval.safetensors: layer.caduceus.backbone.layers.1.hidden".to_owned())
    );
}

#[test]
fn run_parity_changed_weight_fails_and_says_where() {
    let copy = copy_of("caduceus/L1000_pert");
    let path = copy.path().join("weights.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    // The last tensor is the head's output weight: 32 values in single precision, little-endian. Another exponent.
    let last = bytes.len() - 4 * 32;
    for value in bytes[last..].chunks_mut(4) {
        value[3] ^= 0x01;
    }
    fs::write(&path, bytes).unwrap();
    let report = run_parity(copy.path()).unwrap();
    assert!(!report.passed());
    let (_, worst) = report.worst().unwrap();
    assert!(worst.share() > 1.0);
    assert!(report.to_string().contains("beyond tolerance"), "{report}");
}

#[test]
fn run_parity_damaged_weights_or_foreign_settings_are_reported() {
    let copy = copy_of("caduceus/L1000_pert");
    let path = copy.path().join("weights.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let report = run_parity(copy.path()).unwrap();
    assert!(
        report.folders[0].failures[0].contains("truncated"),
        "{report}"
    );
    fs::write(
        copy.path().join("config.json"),
        r#"{"d_model": 4, "layer": {}}"#,
    )
    .unwrap();
    let report = run_parity(copy.path()).unwrap();
    assert!(!report.passed(), "nothing was compared");
    assert!(
        report.folders[0].skipped[0].contains("not settings of a network of this program"),
        "{report}"
    );
    assert!(run_parity(Path::new("absent")).is_err());
}

#[test]
fn parity_report_as_json_holds_every_tensor() {
    let report = run_parity(&golden("seq2exp_soft/ckpt")).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["folders"][0]["subject"], "checkpoints");
    assert_eq!(
        json["folders"][0]["tensors"].as_array().unwrap().len(),
        report.n_compared()
    );
}
