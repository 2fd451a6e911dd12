//! Every recorded vector in this repository, and what the comparison does when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};

use model::checkpoint::{StateDict, read_state_dict};
use model::parity::{ParityReport, TensorReport};
use model::run_parity;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

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

/// The files of a folder of vectors, without the folders in it.
fn copy_of(folder: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    copy
}

/// Compares a copy of a folder, of which the tensors of one file were changed.
fn run_changed(folder: &str, file: &str, change: impl FnOnce(&mut StateDict)) -> ParityReport {
    let copy = copy_of(folder);
    let path = copy.path().join(file);
    let mut state = read_state_dict(&path).unwrap();
    change(&mut state);
    // In double precision, which holds every value that was read.
    let bytes: Vec<Vec<u8>> = state
        .values()
        .map(|tensor| tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = state.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let view = TensorView::new(Dtype::F64, tensor.shape.clone(), bytes).unwrap();
        (name, view)
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
    run_parity(copy.path()).unwrap()
}

/// The compared tensor of this name of a file.
fn named<'a>(report: &'a ParityReport, file: &str, name: &str) -> &'a TensorReport {
    let mut tensors = report.folders.iter().flat_map(|folder| &folder.tensors);
    let found = tensors.find(|tensor| tensor.file == file && tensor.name == name);
    found.unwrap_or_else(|| panic!("{file}: {name} was not compared: {report}"))
}

#[test]
fn run_parity_reference_of_every_kind_that_differs_a_little_fails_by_name() {
    const SOFT: &str = "seq2exp_soft/L1000_pert";
    const CADUCEUS: &str = "caduceus/L1000_pert";
    const EPINFORMER: &str = "epinformer/n8_pert";
    const KERNELS: &str = "../../../kernels/tests/golden";
    let grad = "gradpred.generator.backbone.layers.0.mixer.mamba_fwd.D";
    let bias = "grad.seq_encoder.conv_tower.0.0.bias";
    // Folder, file, the tensors that are multiplied, by what, and the name that fails. Several where one says how exact
    // the other is.
    for (folder, file, tensors, factor, name) in [
        (CADUCEUS, "eval", vec!["f64_pred"], 1.0001, "pred"),
        (
            CADUCEUS,
            "train_plain",
            vec!["grad.pToExpr.4.weight"],
            1.001,
            "grad.pToExpr.4.weight",
        ),
        (
            CADUCEUS,
            "train_plain",
            vec!["grad.pToExpr.4.weight"],
            0.0,
            "grad.pToExpr.4.weight",
        ),
        (SOFT, "eval", vec!["z_alpha"], 1.0001, "kl_map"),
        (
            SOFT,
            "train_mean",
            vec!["dpred_dmask", "f64_dpred_dmask"],
            1.001,
            "dpred_dmask",
        ),
        // Only through samples may it differ by 7e-4.
        (SOFT, "train_mean", vec![grad], 1.0005, grad),
        (
            EPINFORMER,
            "train",
            vec!["after.conv_out.1.running_mean"],
            1.0001,
            "after.conv_out.1.running_mean",
        ),
        // What is 0 but for rounding is held to the size of the recorded rounding.
        (EPINFORMER, "train", vec![bias], 1e-4, bias),
        (
            "seq2exp_soft/ckpt",
            "steps_final",
            vec!["pToExpr.4.weight"],
            1.000001,
            "all weights",
        ),
        ("", "smooth_l1", vec!["grad"], 1.0001, "grad"),
        (
            KERNELS,
            "beta_kl",
            vec!["exact.soft_10_90.kl"],
            1.0001,
            "exact.soft_10_90.kl",
        ),
        (
            KERNELS,
            "rmsnorm_add_d7",
            vec!["dx", "f64.dx"],
            1.0001,
            "dx",
        ),
    ] {
        let file = format!("{file}.safetensors");
        let report = run_changed(folder, &file, |state| {
            for tensor in tensors {
                let values = &mut state.get_mut(tensor).expect(tensor).values;
                values.iter_mut().for_each(|value| *value *= factor);
            }
        });
        let file = if name == "all weights" {
            "plain.ckpt"
        } else {
            &file
        };
        assert!(
            !named(&report, file, name).passed(),
            "{folder} {name} x {factor}: {report}"
        );
        assert!(!report.passed());
    }
}

#[test]
fn run_parity_reference_that_is_odd_or_of_another_size_fails() {
    let (folder, file) = ("caduceus/L1000_pert", "eval.safetensors");
    let report = run_changed(folder, file, |state| {
        state.get_mut("f64_pred").unwrap().values[0] = f64::NAN
    });
    assert_eq!(named(&report, file, "pred").share(), f64::INFINITY);
    let report = run_changed(folder, file, |state| {
        let tensor = state.get_mut("f64_pred").unwrap();
        tensor.values.push(0.0);
        tensor.shape = vec![tensor.values.len()];
    });
    let failures = &report.folders[0].failures;
    assert!(
        failures.len() == 1 && failures[0].starts_with("eval.safetensors: pred has "),
        "{failures:?}"
    );
    // The rest was compared and is well.
    assert!(
        !report.passed() && report.worst().unwrap().1.passed(),
        "{report}"
    );

    // A weight that the prediction's gradient should not reach, but does.
    let (folder, file) = ("seq2exp_soft/L1000_pert", "train_mean.safetensors");
    let unused = "gradpred_unused.mask_output.weight";
    let report = run_changed(folder, file, |state| {
        let gradient = state["gradpred.mask_output.weight"].clone();
        state.insert(unused.to_owned(), gradient);
    });
    assert!(!named(&report, file, unused).passed(), "{report}");

    let settings_alone = tempfile::tempdir().unwrap();
    fs::write(settings_alone.path().join("config.json"), "{}").unwrap();
    let report = run_parity(settings_alone.path()).unwrap();
    assert_eq!(report.folders[0].missing, ["weights.safetensors"]);
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
