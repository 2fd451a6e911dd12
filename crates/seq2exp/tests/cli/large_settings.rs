//! Settings and options far beyond anything are refused with their bound, not by the allocator.

use crate::run_in;
use crate::subcommands::succeeds;
use crate::tiny_experiment::TinyExperiment;

#[test]
fn setting_beyond_its_bound_is_refused_by_name() {
    let experiment = TinyExperiment::new();
    let largest = i64::MAX.to_string();
    for (key, value, bound) in [
        (
            "model.d_model",
            "1000000",
            "d_model is 1000000; it must be at most 8192",
        ),
        ("model.d_model", &largest, "it must be at most 8192"),
        (
            "model.n_layer_generator",
            "1000000000",
            "it must be at most 256",
        ),
        ("model.mamba.d_state", &largest, "mamba.d_state"),
        (
            "train.batch",
            "1000000000",
            "batch is 1000000000; it must be at most 65536",
        ),
        ("train.batch", &largest, "it must be at most 65536"),
        ("train.steps", &largest, "it must be at most 1099511627776"),
        ("train.accumulation", &largest, "it must be at most 65536"),
    ] {
        let set = format!("{key}={value}");
        let arguments = ["check", "experiment.toml", "--set", &set];
        let (code, _, message) = run_in(experiment.folder(), &arguments);
        assert!(
            code == 1 && message.contains(bound),
            "{set}: {code} {message}"
        );
    }
    let folder = experiment.folder();
    for settings in ["n_genes=1000000000000", "length=1152921504606846976"] {
        let (code, _, message) = run_in(folder, &["simulate", "sim", "--set", settings]);
        assert!(
            code == 1 && message.contains("a genome of more than"),
            "{message}"
        );
    }
    assert!(!experiment.path("sim").exists());
}

#[test]
fn bench_of_nothing_or_of_too_much_is_refused() {
    let experiment = TinyExperiment::new();
    let largest = usize::MAX.to_string();
    for (arguments, expected) in [
        (&["matmul", "--length", "0"][..], "--length is 0"),
        (&["forward", "--batch", "0"], "--batch is 0"),
        (&["block", "--length", "0"], "--length is 0"),
        (&["matmul", "--length", &largest], "more than 1 TiB"),
        (
            &["matmul-half", "--length", "4294967296"],
            "more than 1 TiB",
        ),
        (&["copy", "--length", &largest], "more than 1 TiB"),
        (&["forward", "--length", &largest], "more than 1 TiB"),
        (&["train", "--batch", &largest], "more than 1 TiB"),
        (&["block", "--batch", "1000000000"], "more than 1 TiB"),
        (&["train", "--layers", "60000"], "it must be at most 256"),
    ] {
        let arguments = [&["bench"][..], arguments].concat();
        let (code, _, message) = run_in(experiment.folder(), &arguments);
        assert!(
            code == 1 && message.contains(expected),
            "{arguments:?}: {message}"
        );
    }
}

#[test]
fn more_threads_than_cores_can_use_are_not_started() {
    let experiment = TinyExperiment::new();
    let arguments = ["-t", "65535", "train", "experiment.toml", "-o", "result"];
    let (_, messages) = succeeds(&experiment, &arguments);
    assert!(
        messages.contains("--threads 65535 is more than 4 for each of the"),
        "{messages}"
    );
    let (_, messages) = succeeds(&experiment, &["-t", "2", "evaluate", "result"]);
    assert!(!messages.contains("--threads"), "{messages}");
}
