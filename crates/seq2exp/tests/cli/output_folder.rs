//! No command writes over what it has not made, and folders that cannot be written to can be read.

use crate::run_in;
use crate::subcommands::succeeds;
use crate::tiny_experiment::TinyExperiment;

/// Runs a command that must be refused: its message, which names `parts`.
fn refused(experiment: &TinyExperiment, arguments: &[&str], parts: &[&str]) {
    let (code, _, message) = run_in(experiment.folder(), arguments);
    assert_eq!(code, 1, "{arguments:?}: {message}");
    for part in parts {
        assert!(
            message.contains(part),
            "{arguments:?}: no {part:?} in {message}"
        );
    }
}

#[test]
fn simulate_keeps_what_it_has_not_made() {
    let experiment = TinyExperiment::new();
    let before = ["genes.tsv", "experiment.toml"].map(|name| experiment.read(name));
    let small = ["--set", "n_genes=7"];
    let own = [&["simulate", "."][..], &small].concat();
    refused(&experiment, &own, &["holds", "a simulation"]);
    assert_eq!(
        ["genes.tsv", "experiment.toml"].map(|name| experiment.read(name)),
        before
    );
    let new = [&["simulate", "sim"][..], &small].concat();
    succeeds(&experiment, &new);
    succeeds(&experiment, &new);
}

#[test]
fn results_of_another_kind_are_not_written_over() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "run"]);
    let report = experiment.read("run/report.html");
    let ablate = ["ablate", "experiment.toml", "--only", "no_kl", "-o"];
    let into = |folder| [&ablate[..], &[folder]].concat();
    refused(&experiment, &into("run"), &["run", "config.toml of a run"]);
    assert_eq!(experiment.read("run/report.html"), report);

    succeeds(&experiment, &into("bench"));
    let report = experiment.read("bench/report.html");
    let train = ["run", "experiment.toml", "-o", "bench"];
    refused(&experiment, &train, &["bench", "cells of a benchmark"]);
    assert_eq!(experiment.read("bench/report.html"), report);
    // Each goes on in its own folder.
    succeeds(&experiment, &into("bench"));

    experiment.write("predictions.tsv", "mine\n");
    let here = ["run", "experiment.toml", "-o", "."];
    refused(&experiment, &here, &["predictions.tsv", "a run"]);
    assert_eq!(experiment.read("predictions.tsv"), "mine\n");
    assert!(!experiment.path("config.toml").exists());
}

#[test]
fn name_that_leaves_the_folder_of_outputs_is_refused() {
    let experiment = TinyExperiment::new();
    for name in ["..", ".", "a/b"] {
        let set = format!("name={name}");
        let arguments = ["prepare", "experiment.toml", "--set", &set];
        refused(&experiment, &arguments, &[name, "folder name"]);
    }
}

#[test]
fn each_cause_of_an_error_is_printed_once() {
    let experiment = TinyExperiment::new();
    let (_, _, message) = run_in(experiment.folder(), &["check", "absent.toml"]);
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
}

#[test]
fn lost_network_is_noticed_by_training_and_evaluation() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["train", "experiment.toml", "-o", "result"]);
    let best = experiment.path("result/seed_2/best.safetensors");
    std::fs::remove_file(&best).expect("it was saved");
    let resume = ["train", "experiment.toml", "-o", "result", "--resume"];
    let expected = ["best.safetensors", "delete result/seed_2", "train again"];
    refused(&experiment, &resume, &expected);
    refused(&experiment, &["evaluate", "result"], &expected);
    std::fs::write(&best, "").expect("the folder is writable");
    refused(&experiment, &resume, &expected);
    refused(&experiment, &["evaluate", "result"], &expected);
    // What the message says helps.
    std::fs::remove_dir_all(experiment.path("result/seed_2")).expect("a folder");
    succeeds(&experiment, &resume);
    succeeds(&experiment, &["evaluate", "result"]);
}

#[test]
fn network_of_another_seed_is_refused() {
    let experiment = TinyExperiment::new();
    let both = [
        "train",
        "experiment.toml",
        "-o",
        "result",
        "--set",
        "seeds=[2, 3]",
    ];
    succeeds(&experiment, &both);
    let best = |seed: u32| experiment.path(&format!("result/seed_{seed}/best.safetensors"));
    std::fs::copy(best(2), best(3)).expect("copied");
    let expected = ["seed_3/best.safetensors", "seed 2, not of seed 3"];
    refused(&experiment, &["evaluate", "result"], &expected);
}

#[test]
fn genes_that_were_trained_on_are_said_and_labelled() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["train", "experiment.toml", "-o", "result"]);
    let arguments = ["predict", "result", "--genes", "genes.tsv"];
    let (table, messages) = succeeds(&experiment, &arguments);
    assert!(
        messages.contains("8 of 12 genes were trained on by this run, and 2 validated"),
        "{messages}"
    );
    let split = |symbol: &str| {
        let row = table
            .lines()
            .find(|row| row.contains(&format!("\t{symbol}\t")));
        row.and_then(|row| row.split('\t').nth(5))
            .map(str::to_string)
    };
    assert_eq!(split("GENE0").as_deref(), Some("train"));
    assert_eq!(split("GENE8").as_deref(), Some("valid"));
    assert_eq!(split("GENE11").as_deref(), Some("test"));

    let all = experiment
        .read("experiment.toml")
        .replace("by = \"column\"", "by = \"all\"");
    experiment.write("all.toml", all);
    let on = ["evaluate", "result", "--on", "all.toml", "-o", "other"];
    let (_, messages) = succeeds(&experiment, &on);
    assert!(
        messages.contains("8 of 12 genes were trained on by this run"),
        "{messages}"
    );
    // Its own test genes are: nothing is said.
    let (_, messages) = succeeds(&experiment, &["evaluate", "result"]);
    assert!(!messages.contains("trained on"), "{messages}");
}

/// As [`run_in`], by somebody who may not write to `folder`.
#[cfg(unix)]
fn run_without_rights(
    experiment: &TinyExperiment,
    folder: &str,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("own files");
    };
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_seq2exp"));
    // No folder is closed to the superuser, who therefore becomes somebody else.
    let owner = experiment.folder().metadata().expect("a folder").uid();
    if owner == 0 {
        command.uid(65_534).gid(65_534);
        mode(experiment.folder(), 0o755);
    }
    let paths = ["", "/data", "/seed_2"].map(|part| experiment.path(&format!("{folder}{part}")));
    for path in &paths {
        mode(path, 0o555);
    }
    let output = command
        .current_dir(experiment.folder())
        .args(arguments)
        .output()
        .expect("the binary starts");
    for path in &paths {
        mode(path, 0o755);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[cfg(unix)]
#[test]
fn folder_that_cannot_be_written_to_is_read() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    std::fs::remove_file(experiment.path("result/.lock")).expect("it was made");
    let before = experiment.read("result/metrics.json");
    let (code, table, message) = run_without_rights(&experiment, "result", &["predict", "result"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(table.contains("GENE11"), "{table}");
    let (code, table, message) = run_without_rights(&experiment, "result", &["evaluate", "result"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(table.contains("network"), "{table}");
    assert!(message.contains("cannot be written to"), "{message}");
    assert_eq!(experiment.read("result/metrics.json"), before);
    // What writes there says so, once.
    let resume = ["train", "experiment.toml", "-o", "result", "--resume"];
    let (code, _, message) = run_without_rights(&experiment, "result", &resume);
    assert_eq!(code, Some(1), "{message}");
    assert_eq!(message.matches("Permission denied").count(), 1, "{message}");
}
