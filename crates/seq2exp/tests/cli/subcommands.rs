//! Every subcommand does its work on the tiny experiment.

use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use crate::tiny_experiment::{CONTIG_LENGTH, N_GENES, TinyExperiment};
use crate::{run_in, seq2exp};

/// Runs a command that must succeed: standard output, standard error.
pub(super) fn succeeds(experiment: &TinyExperiment, arguments: &[&str]) -> (String, String) {
    let (code, stdout, stderr) = run_in(experiment.folder(), arguments);
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    (stdout, stderr)
}

#[test]
fn run_writes_every_result() {
    let experiment = TinyExperiment::new();
    let (_, messages) = succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    assert!(messages.contains("device"), "{messages}");
    for name in [
        "config.toml",
        "predictions.tsv",
        "metrics.json",
        "elements.bed.gz",
        "elements.bed.gz.tbi",
        "report.html",
        "seed_2/metrics.jsonl",
        "seed_2/best.safetensors",
        "data/manifest.json",
    ] {
        assert!(
            experiment.path("result").join(name).is_file(),
            "{name} is missing"
        );
    }
    let predictions = experiment.read("result/predictions.tsv");
    let rows: Vec<&str> = predictions
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(rows.len() as u64, N_GENES + 1, "{predictions}");
    let elements = genome::read_regions(experiment.path("result/elements.bed.gz")).expect("BED");
    assert!(
        elements
            .iter()
            .all(|element| element.interval.end() <= CONTIG_LENGTH)
    );
    let metrics: serde_json::Value = serde_json::from_str(&experiment.read("result/metrics.json"))
        .expect("metrics.json is JSON");
    assert!(metrics.is_object());
}

#[test]
fn steps_one_by_one_give_the_bytes_of_run() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "whole"]);
    succeeds(&experiment, &["prepare", "experiment.toml", "-o", "parts"]);
    succeeds(&experiment, &["train", "experiment.toml", "-o", "parts"]);
    succeeds(&experiment, &["evaluate", "parts"]);
    succeeds(&experiment, &["discover", "parts"]);
    succeeds(&experiment, &["report", "parts"]);
    for name in [
        "predictions.tsv",
        "metrics.json",
        "elements.bed.gz",
        "seed_2/best.safetensors",
    ] {
        let bytes = |folder: &str| std::fs::read(experiment.path(folder).join(name)).expect(name);
        assert!(bytes("whole") == bytes("parts"), "{name} differs");
    }
}

#[test]
fn parity_of_a_folder_without_vectors_says_what_it_takes() {
    let experiment = TinyExperiment::new();
    let (code, _, message) = run_in(experiment.folder(), &["parity", "."]);
    assert!(
        code == 1 && message.contains("nothing to compare") && message.contains("config.json"),
        "{message}"
    );
}

#[test]
fn results_do_not_depend_on_threads() {
    let experiment = TinyExperiment::new();
    succeeds(
        &experiment,
        &["-t", "1", "run", "experiment.toml", "-o", "one"],
    );
    succeeds(
        &experiment,
        &["-t", "3", "run", "experiment.toml", "-o", "three"],
    );
    for name in [
        "predictions.tsv",
        "metrics.json",
        "elements.bed.gz",
        "data/examples.arrow",
    ] {
        let bytes = |folder: &str| std::fs::read(experiment.path(folder).join(name)).expect(name);
        assert!(bytes("one") == bytes("three"), "{name} differs");
    }
}

/// Trains into `output` and ends it with SIGTERM after its second step; exit code and messages.
pub fn terminate_training(experiment: &TinyExperiment, output: &str) -> (Option<i32>, String) {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_seq2exp"))
        .current_dir(experiment.folder())
        .args(["-t", "1", "train", "experiment.toml", "-o", output])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let records = experiment.path(output).join("seed_2/metrics.jsonl");
    while std::fs::read_to_string(&records).map_or(0, |text| text.lines().count()) < 2 {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended before its second step"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let kill = std::process::Command::new("kill")
        .arg(child.id().to_string())
        .status();
    assert!(kill.expect("kill is there").success());
    let ended = child.wait_with_output().expect("it ends");
    (
        ended.status.code(),
        String::from_utf8_lossy(&ended.stderr).into_owned(),
    )
}

#[test]
fn terminated_run_resumes_to_the_bytes_of_the_uninterrupted_one() {
    let experiment = TinyExperiment::new();
    experiment.replace("experiment.toml", "steps = 6", "steps = 60");
    succeeds(&experiment, &["train", "experiment.toml", "-o", "whole"]);
    let (code, message) = terminate_training(&experiment, "parts");
    assert_eq!(code, Some(143), "{message}");
    assert!(message.contains("--resume"), "{message}");

    succeeds(
        &experiment,
        &[
            "-t",
            "3",
            "train",
            "experiment.toml",
            "-o",
            "parts",
            "--resume",
        ],
    );
    for name in ["best.safetensors", "last.safetensors", "metrics.jsonl"] {
        let bytes = |folder: &str| {
            std::fs::read(experiment.path(folder).join("seed_2").join(name)).expect(name)
        };
        assert!(bytes("whole") == bytes("parts"), "{name} differs");
    }
}

#[test]
fn check_prints_files_device_and_estimates() {
    let experiment = TinyExperiment::new();
    let (table, _) = succeeds(&experiment, &["check", "experiment.toml"]);
    for part in ["genome.fa", "dnase.bw", "chrT", "40000", "cpu", "power law"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    assert!(!table.contains("memory"), "{table}");
    let (table, _) = succeeds(&experiment, &["check", "experiment.toml", "--estimate"]);
    for part in ["memory   about", "disk     about", "to prepare and"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    let arguments = ["check", "experiment.toml", "--json", "--estimate"];
    let (json, _) = succeeds(&experiment, &arguments);
    let value: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(value["files"][0]["role"], "genome", "{json}");
    assert_eq!(value["files"][0]["chroms"][0]["length"], 40_000, "{json}");
    assert!(
        value["estimate"]["memory_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{json}"
    );
}

#[test]
fn dry_run_reports_and_writes_nothing() {
    let experiment = TinyExperiment::new();
    let files = || {
        let entries = std::fs::read_dir(experiment.folder()).expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("a file").file_name())
            .collect();
        names.sort();
        names
    };
    let before = files();
    for command in ["run", "train", "prepare"] {
        let arguments = [command, "experiment.toml", "-o", "result", "--dry-run"];
        let (report, _) = succeeds(&experiment, &arguments);
        for part in ["memory   about", "nothing was written", "result"] {
            assert!(report.contains(part), "{command}: no {part:?} in\n{report}");
        }
    }
    // The index that opening the genome leaves beside it is no result.
    let after: Vec<_> = files()
        .into_iter()
        .filter(|name| name != "genome.fa.fai")
        .collect();
    assert_eq!(after, before);
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_read() {
    let experiment = TinyExperiment::new();
    let all = TinyExperiment::new();
    all.replace(
        "experiment.toml",
        "split = { by = \"column\" }",
        "split = { by = \"all\" }",
    );
    for command in ["run", "train"] {
        for dry_run in [&[][..], &["--dry-run"]] {
            let mut arguments = vec![command, "experiment.toml", "-o", "result"];
            arguments.extend(dry_run);
            let (code, _, message) = run_in(all.folder(), &arguments);
            assert_eq!(code, 1, "{message}");
            assert!(
                message.contains("no gene is in the train split"),
                "{message}"
            );

            arguments.extend(["--set", "train.precision=\"f16\""]);
            let (code, _, message) = run_in(experiment.folder(), &arguments);
            assert_eq!(code, 1, "{message}");
            assert!(message.contains("train.precision = \"f16\""), "{message}");
        }
    }
    assert!(!all.path("result").exists() && !experiment.path("result").exists());
    // Another machine may train what this one checks.
    let precision = "train.precision=\"f16\"";
    let arguments = ["check", "experiment.toml", "--set", precision];
    let (report, _) = succeeds(&experiment, &arguments);
    assert!(
        report.contains("will not be trained on this device: cpu"),
        "{report}"
    );
    succeeds(&all, &["check", "experiment.toml"]);
}

#[test]
fn chrom_alias_on_the_command_line_is_that_of_the_config() {
    let experiment = TinyExperiment::new();
    experiment.write_track("dnase.bw", "T", CONTIG_LENGTH, 2);
    let pair = ["check", "experiment.toml", "--chrom-alias", "T=chrT"];
    succeeds(&experiment, &pair);
    experiment.write("alias.tsv", "T\tchrT\n");
    let file = ["check", "experiment.toml", "--chrom-alias", "alias.tsv"];
    succeeds(&experiment, &file);
}

/// Kills `prepare` with SIGKILL at many moments and expects the bytes of an undisturbed one.
#[cfg(unix)]
#[test]
fn killed_preparation_continues_to_the_same_bytes() {
    let experiment = TinyExperiment::new();
    let mut genes = String::from("gene_id\tsymbol\tchrom\ttss\tstrand\tsplit\n");
    let mut expression = String::from("gene\ttpm\n");
    for gene in 0..1500 {
        let split = ["train", "train", "valid", "test"][gene % 4];
        let tss = 13 + 26 * gene;
        genes += &format!("G{gene}\tGENE{gene}\tchrT\t{tss}\t+\t{split}\n");
        expression += &format!("GENE{gene}\t{gene}\n");
    }
    experiment.write("genes.tsv", genes);
    experiment.write("expression.tsv", expression);
    experiment.replace("experiment.toml", "length = 600", "length = 30000");
    let bytes = |output: &str| {
        ["examples.arrow", "manifest.json"].map(|name| {
            let path = experiment.path(output).join("data").join(name);
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
    };
    let begun = std::time::Instant::now();
    succeeds(&experiment, &["prepare", "experiment.toml", "-o", "whole"]);
    let undisturbed = begun.elapsed();

    let (mut n_killed, mut n_continued) = (0, 0);
    // A sixteenth of the time more each time: kills fall before, into and behind the writing.
    for attempt in 1..100_u32 {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_seq2exp"))
            .current_dir(experiment.folder())
            .args(["prepare", "experiment.toml", "-o", "parts", "-t"])
            .arg((1 + attempt % 3).to_string())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        std::thread::sleep(undisturbed * attempt / 16);
        child.kill().expect("SIGKILL is sent");
        let output = child.wait_with_output().expect("it ended");
        let message = String::from_utf8_lossy(&output.stderr);
        n_continued += usize::from(message.contains("continuing at gene"));
        if output.status.success() {
            break;
        }
        n_killed += 1;
    }
    succeeds(&experiment, &["prepare", "experiment.toml", "-o", "parts"]);
    assert!(bytes("parts") == bytes("whole"), "after {n_killed} kills");
    assert!(n_killed > 0, "no kill came in time");
    println!("{n_killed} kills, {n_continued} continued by a later one");
    let left = std::fs::read_dir(experiment.path("parts/data")).expect("the folder");
    let mut names: Vec<_> = left
        .map(|entry| entry.expect("a file").file_name())
        .collect();
    names.sort_unstable();
    // Nothing unfinished is left.
    let expected = ["examples.arrow", "inputs.json", "manifest.json"];
    assert_eq!(names, expected, "after {n_killed} kills");
}

#[test]
fn predict_reads_another_gene_table() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["train", "experiment.toml", "-o", "result"]);
    experiment.write("new.tsv", "gene_id\tchrom\ttss\tstrand\nEDGE\tchrT\t5\t-\n");
    let (table, _) = succeeds(&experiment, &["predict", "result", "--genes", "new.tsv"]);
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(rows.len(), 2, "{table}");
    assert!(rows[1].starts_with("EDGE\t"), "{table}");
}

#[test]
fn bench_prints_the_documented_object() {
    for kind in ["forward", "train"] {
        let output = seq2exp()
            .args(["bench", kind, "--length", "2000", "--runs", "1", "--json"])
            .output()
            .expect("the binary starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let value: serde_json::Value = serde_json::from_str(&text).expect("one JSON object");
        for key in [
            "device",
            "seconds",
            "runs",
            "flops",
            "gflops",
            "peak_rss_bytes",
            "threads",
            "simd",
            "length",
            "batch",
            "version",
        ] {
            assert!(!value[key].is_null(), "{key} is missing: {text}");
        }
        // The processor's traffic is not counted.
        for key in ["bytes", "gbytes_per_second"] {
            assert_eq!(value.get(key), Some(&serde_json::Value::Null), "{text}");
        }
    }
}

#[test]
fn bench_refuses_options_that_it_would_ignore() {
    for (arguments, refused) in [
        (
            &["forward", "--storage", "bf16"][..],
            "`bench forward` takes no --storage",
        ),
        (
            &["copy", "--precision", "bf16"],
            "`bench copy` takes no --precision",
        ),
        (
            &["matmul-half", "--batch", "2"],
            "`bench matmul-half` takes no --batch",
        ),
        (
            &["block", "--layers", "2", "--verify"],
            "`bench block` takes no --layers and no --verify",
        ),
        (&["forward", "--precision", "f16"], "f16"),
    ] {
        let output = seq2exp()
            .arg("bench")
            .args(arguments)
            .args(["--length", "2000", "--runs", "1", "--json"])
            .output()
            .expect("the binary starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(refused), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn info_describes_checkpoint_data_set_and_folder() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    for (path, part) in [
        ("result", "seed"),
        ("result/data/examples.arrow", "12"),
        ("result/seed_2/best.safetensors", "seq2exp_soft"),
        (
            "result/seed_2/best.safetensors",
            "checkpoint.device = \"cpu\"",
        ),
        ("result", "metrics.device = \"cpu\""),
    ] {
        let (text, _) = succeeds(&experiment, &["info", path]);
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn info_lists_the_devices() {
    let experiment = TinyExperiment::new();
    let (text, _) = succeeds(&experiment, &["info", "--devices"]);
    assert!(text.starts_with("cpu "), "{text}");
    let (json, _) = succeeds(&experiment, &["info", "--devices", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(value["has_gpu_support"], cfg!(feature = "gpu"), "{json}");
    assert!(value["adapters"].is_array(), "{json}");
}

#[test]
fn device_is_named_at_the_start() {
    let experiment = TinyExperiment::new();
    let arguments = [
        "train",
        "experiment.toml",
        "-o",
        "result",
        "--device",
        "cpu",
    ];
    let (_, messages) = succeeds(&experiment, &arguments);
    assert!(messages.starts_with("device cpu, "), "{messages}");
    for command in ["evaluate", "predict", "discover"] {
        let (_, messages) = succeeds(&experiment, &[command, "result"]);
        assert!(
            messages.starts_with("device cpu, "),
            "{command}: {messages}"
        );
    }
}

#[test]
fn parity_passes_on_a_golden_and_fails_on_a_missing_tensor() {
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../model/tests/golden/caduceus/L1000_pert");
    seq2exp()
        .arg("parity")
        .arg(&golden)
        .assert()
        .success()
        .stdout(contains("0 beyond tolerance"));

    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["config.json", "inputs.safetensors", "weights.safetensors"] {
        std::fs::copy(golden.join(name), folder.path().join(name)).expect(name);
    }
    seq2exp()
        .arg("parity")
        .arg(folder.path())
        .assert()
        .code(1)
        .stderr(contains("eval.safetensors"));
}

#[test]
fn usage_errors_exit_with_2() {
    for arguments in [
        vec!["run"],
        vec!["nonsense"],
        vec!["-t", "0", "check", "x.toml"],
        vec!["train", "x.toml", "--device", "tpu"],
        vec!["info", "result", "--devices"],
        vec![
            "import",
            "x.pt",
            "-o",
            "y",
            "--settings",
            "s.json",
            "--config",
            "c.toml",
        ],
    ] {
        seq2exp().args(&arguments).assert().code(2);
    }
    let neither = seq2exp()
        .args(["import", "x.pt", "-o", "y"])
        .assert()
        .code(2);
    neither.stderr(contains("<--settings <JSON>|--config <TOML>>"));
}

#[test]
fn closed_pipe_is_success() {
    let experiment = TinyExperiment::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_seq2exp"))
        .current_dir(experiment.folder())
        .args(["check", "experiment.toml"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("the binary ends").success());
}

#[test]
fn import_released_weights_become_a_checkpoint_and_foreign_ones_name_their_tensors() {
    let goldens = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let import = |weights: &str, settings: &str, output: &str| {
        let output = seq2exp()
            .arg("import")
            .arg(goldens.join(weights))
            .arg("--settings")
            .arg(goldens.join(settings))
            .arg("-o")
            .arg(folder.path().join(output))
            .output()
            .expect("the binary starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), stderr)
    };
    for (weights, settings, kind) in [
        (
            "seq2exp_soft/ckpt/plain.ckpt",
            "seq2exp_soft/ckpt/config.json",
            "seq2exp_soft",
        ),
        (
            "seq2exp_soft/ckpt/omegaconf.ckpt",
            "seq2exp_soft/ckpt/config.json",
            "seq2exp_soft",
        ),
        (
            "prism/L1000_pert/weights.safetensors",
            "prism/L1000_pert/config.json",
            "prism",
        ),
        (
            "hyena/L1000_pert/weights.safetensors",
            "hyena/L1000_pert/config.json",
            "hyena",
        ),
        (
            "seq2exp_hard/L1000_pert/weights.safetensors",
            "seq2exp_hard/L1000_pert/config.json",
            "seq2exp_hard",
        ),
        (
            "enformer_tiny/pert/weights.safetensors",
            "enformer_tiny/pert/config.json",
            "enformer",
        ),
    ] {
        let (success, stderr) = import(weights, settings, kind);
        assert!(success, "{weights}: {stderr}");
        seq2exp()
            .args(["info", "--json"])
            .arg(folder.path().join(kind))
            .assert()
            .success()
            .stdout(contains(format!("\"kind\": \"{kind}\"")));
    }
    let mamba = "mamba/L1000_pert/weights.safetensors";
    let (success, stderr) = import(mamba, "caduceus/L1000_pert/config.json", "none");
    assert!(!success);
    assert!(
        stderr.contains("`input_layer.weight` is missing"),
        "{stderr}"
    );
    assert!(!folder.path().join("none").exists());
}

#[test]
fn info_without_a_path_lists_the_networks() {
    seq2exp()
        .arg("info")
        .assert()
        .success()
        .stdout(contains("networks.hyena").and(contains("networks.seq2exp_soft")));
}
