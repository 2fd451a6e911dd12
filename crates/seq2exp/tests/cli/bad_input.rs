//! Every bad input gives exit code 1, one message with the place and the remedy, and never a panic.

use std::path::Path;

use crate::seq2exp;
use crate::subcommands::terminate_training;
use crate::tiny_experiment::{CONTIG_LENGTH, TinyExperiment};

/// Runs `check` and expects exit code 1 and every part of `expected` in the message.
fn check_fails(experiment: &TinyExperiment, expected: &[&str]) {
    let arguments = ["check", "experiment.toml"];
    fails(experiment, &arguments, expected);
}

fn fails(experiment: &TinyExperiment, arguments: &[&str], expected: &[&str]) {
    let output = seq2exp()
        .current_dir(experiment.folder())
        .args(arguments)
        .output()
        .expect("the binary starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {message}");
    assert!(!message.contains("panicked"), "{message}");
    let n_messages = message
        .lines()
        .filter(|line| line.starts_with("error:"))
        .count();
    assert_eq!(n_messages, 1, "one message, not several: {message}");
    for part in expected {
        assert!(
            message.contains(part),
            "{arguments:?}: no {part:?} in:\n{message}"
        );
    }
}

#[test]
fn missing_file_is_named() {
    let opened_first = "No such file";
    for (name, reason) in [
        ("genome.fa", opened_first),
        ("genes.tsv", opened_first),
        ("expression.tsv", "missing: expression "),
        ("dnase.bw", opened_first),
    ] {
        let experiment = TinyExperiment::new();
        std::fs::remove_file(experiment.path(name)).expect(name);
        check_fails(&experiment, &[name, reason]);
    }
    let experiment = TinyExperiment::new();
    fails(
        &experiment,
        &["check", "absent.toml"],
        &["absent.toml", "No such file"],
    );
    fails(
        &experiment,
        &["info", "absent.safetensors"],
        &["absent.safetensors"],
    );
}

#[test]
fn device_that_is_not_there_is_refused_not_replaced() {
    let expected = if cfg!(feature = "gpu") {
        ["--device gpu:99: no adapter", "--device"]
    } else {
        [
            "--device gpu:99: this build has no GPU support",
            "--features gpu",
        ]
    };
    let experiment = TinyExperiment::new();
    for command in ["check", "train", "run"] {
        let arguments = [command, "experiment.toml", "--device", "gpu:99"];
        fails(&experiment, &arguments, &expected);
    }
    assert!(!experiment.path("out").exists(), "nothing was written");
    fails(
        &experiment,
        &["bench", "forward", "--device", "gpu:99"],
        &expected,
    );
}

#[test]
fn config_with_unknown_key_names_line_and_key() {
    let experiment = TinyExperiment::new();
    experiment.replace("experiment.toml", "steps = 6", "stepz = 6");
    check_fails(&experiment, &["experiment.toml", "line", "stepz", "steps"]);
}

#[test]
fn config_with_wrong_values_reports_all_of_them() {
    let experiment = TinyExperiment::new();
    experiment.replace("experiment.toml", "steps = 6", "steps = 0");
    experiment.replace("experiment.toml", "seeds = [2]", "seeds = []");
    check_fails(&experiment, &["experiment.toml", "steps", "seeds"]);
}

#[test]
fn override_of_unknown_key_is_an_error() {
    let experiment = TinyExperiment::new();
    fails(
        &experiment,
        &["check", "experiment.toml", "--set", "train.stepz=4"],
        &["train.stepz", "steps"],
    );
}

#[test]
fn truncated_bigwig_is_named() {
    for n_bytes in [0, 10, 64, 300] {
        let experiment = TinyExperiment::new();
        experiment.truncate("dnase.bw", n_bytes);
        check_fails(&experiment, &["dnase.bw"]);
    }
}

#[test]
fn fasta_that_is_not_fasta_is_named() {
    let experiment = TinyExperiment::new();
    experiment.write("genome.fa", "ACGT\nACGT\n");
    check_fails(&experiment, &["genome.fa"]);
    experiment.write("genome.fa", "");
    check_fails(&experiment, &["genome.fa"]);
}

#[test]
fn truncated_bgzip_fasta_is_named() {
    let experiment = TinyExperiment::new();
    let bytes = std::fs::read(example("genome.fa.gz")).expect("the example's genome");
    experiment.write("genome.fa.gz", &bytes[..bytes.len() / 2]);
    experiment.replace(
        "experiment.toml",
        "genome = \"genome.fa\"",
        "genome = \"genome.fa.gz\"",
    );
    check_fails(&experiment, &["genome.fa.gz"]);
}

#[test]
fn truncated_contact_maps_are_named() {
    for (name, n_bytes) in [
        ("hic.mcool", 100_000),
        ("hic.mcool", 10),
        ("hic.hic", 100_000),
        ("hic.hic", 10),
    ] {
        let experiment = TinyExperiment::new();
        let bytes = std::fs::read(example(name)).expect(name);
        experiment.write(name, &bytes[..n_bytes]);
        let contact = format!(
            "contact = {{ path = \"{name}\", resolution = 5000, normalization = \"none\" }}"
        );
        experiment.replace(
            "experiment.toml",
            "contact = { fallback = \"power_law\" }",
            &contact,
        );
        check_fails(&experiment, &[name]);
    }
}

#[test]
fn corrupted_gtf_names_the_line() {
    let experiment = TinyExperiment::new();
    experiment.write(
        "genes.gtf",
        "chrT\tx\texon\t10\tnot-a-number\t.\t+\t.\tgene_id \"G00\"; transcript_id \"T\";\n",
    );
    experiment.replace(
        "experiment.toml",
        "length = 600",
        "annotation = \"genes.gtf\"\nlength = 600",
    );
    check_fails(&experiment, &["genes.gtf:1", "not-a-number"]);
}

#[test]
fn chromosome_name_mismatch_shows_both_names() {
    let experiment = TinyExperiment::new();
    experiment.write_genome("T");
    check_fails(&experiment, &["chrT", "\"T\"", "chrom_alias"]);

    let experiment = TinyExperiment::new();
    experiment.write_track("dnase.bw", "T", CONTIG_LENGTH, 2);
    check_fails(&experiment, &["dnase.bw", "chrT"]);
}

#[test]
fn chromosome_length_mismatch_asks_for_the_assembly() {
    let experiment = TinyExperiment::new();
    experiment.write_track("dnase.bw", "chrT", CONTIG_LENGTH + 500, 2);
    check_fails(&experiment, &["dnase.bw", "40500", "40000"]);
}

#[test]
fn tss_beyond_the_chromosome_names_line_and_length() {
    let experiment = TinyExperiment::new();
    experiment.replace("genes.tsv", "\t9000\t", "\t90000\t");
    check_fails(&experiment, &["genes.tsv:4", "90000", "40000"]);
}

#[test]
fn duplicate_gene_names_both_lines() {
    let experiment = TinyExperiment::new();
    experiment.replace("genes.tsv", "GENE3\t", "GENE1\t");
    check_fails(&experiment, &["genes.tsv:5", "GENE1", "3"]);
}

#[test]
fn expression_that_is_not_a_number_names_the_line() {
    for value in ["NaN", "inf", "-3", "many"] {
        let experiment = TinyExperiment::new();
        let row = experiment
            .read("expression.tsv")
            .lines()
            .nth(2)
            .expect("a third line")
            .to_string();
        experiment.replace("expression.tsv", &row, &format!("GENE1\t{value}"));
        check_fails(&experiment, &["expression.tsv:3", value]);
    }
}

#[test]
fn empty_split_is_named() {
    let experiment = TinyExperiment::new();
    let genes = experiment.read("genes.tsv").replace("\tvalid", "\ttrain");
    experiment.write("genes.tsv", genes);
    check_fails(&experiment, &["valid", "no gene"]);
}

#[test]
fn second_run_in_the_same_folder_is_refused() {
    let experiment = TinyExperiment::new();
    let arguments = ["train", "experiment.toml", "-o", "result"];
    seq2exp()
        .current_dir(experiment.folder())
        .args(arguments)
        .assert()
        .success();
    // Finished runs are not overwritten either: the message names --resume and -o.
    fails(&experiment, &arguments, &["result", "--resume"]);
}

#[test]
fn resume_with_another_config_names_the_setting() {
    let experiment = TinyExperiment::new();
    seq2exp()
        .current_dir(experiment.folder())
        .args(["train", "experiment.toml", "-o", "result"])
        .assert()
        .success();
    let arguments = [
        "train",
        "experiment.toml",
        "-o",
        "result",
        "--resume",
        "--set",
        "model.d_model=16",
    ];
    fails(&experiment, &arguments, &["d_model", "8", "16"]);
}

#[test]
fn checkpoint_that_is_damaged_is_named() {
    let experiment = TinyExperiment::new();
    seq2exp()
        .current_dir(experiment.folder())
        .args(["train", "experiment.toml", "-o", "result"])
        .assert()
        .success();
    let best = Path::new("result/seed_2/best.safetensors");
    let bytes =
        std::fs::read(experiment.path(best.to_str().expect("ASCII"))).expect("the best checkpoint");
    for n_bytes in [0, 7, 100, bytes.len() - 4] {
        experiment.write(best.to_str().expect("ASCII"), &bytes[..n_bytes]);
        fails(&experiment, &["evaluate", "result"], &["best.safetensors"]);
    }
}

#[test]
fn folder_in_use_by_another_run_is_refused() {
    let experiment = TinyExperiment::new();
    std::fs::create_dir(experiment.path("result")).expect("a new folder");
    let lock = std::fs::File::create(experiment.path("result/.lock")).expect("a new file");
    lock.lock().expect("nobody else holds it");
    fails(
        &experiment,
        &["train", "experiment.toml", "-o", "result"],
        &["result", "in use", "-o"],
    );
}

#[test]
fn output_that_is_an_input_is_refused_and_the_input_survives() {
    let experiment = TinyExperiment::new();
    let track = std::fs::read(experiment.path("h3k27ac.bw")).expect("the track");
    let arguments = ["peaks", "h3k27ac.bw", "-c", "2", "-o", "./h3k27ac.bw"];
    fails(
        &experiment,
        &arguments,
        &["would replace the input h3k27ac.bw"],
    );
    assert!(track == std::fs::read(experiment.path("h3k27ac.bw")).expect("the track"));

    seq2exp()
        .current_dir(experiment.folder())
        .args(["train", "experiment.toml", "-o", "result"])
        .assert()
        .success();
    experiment.write("new.tsv", "gene_id\tchrom\ttss\tstrand\nEDGE\tchrT\t5\t-\n");
    for input in ["new.tsv", "genome.fa", "result/config.toml"] {
        let before = std::fs::read(experiment.path(input)).expect(input);
        let arguments = ["predict", "result", "--genes", "new.tsv", "-o", input];
        fails(&experiment, &arguments, &["would replace the input", input]);
        assert!(before == std::fs::read(experiment.path(input)).expect(input));
    }
    // A folder that is not there is said before anything is predicted.
    let arguments = ["predict", "result", "-o", "absent/p.tsv"];
    let (code, _, message) = crate::run_in(experiment.folder(), &arguments);
    assert!(
        code == 1 && message.contains("absent/p.tsv") && !message.contains("predict "),
        "{message}"
    );
}

/// What a script says that ends with exit code 1; its `$0` is the program.
fn fails_in_bash(experiment: &TinyExperiment, script: &str) -> String {
    let output = std::process::Command::new("bash")
        .current_dir(experiment.folder())
        .args(["-c", script, env!("CARGO_BIN_EXE_seq2exp")])
        .output()
        .expect("bash is there");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    message
}

/// A limit on the address space stands in for a machine that has no room for another thread's stack.
#[cfg(target_os = "linux")]
#[test]
fn thread_that_the_system_refuses_is_an_error_with_a_remedy() {
    let experiment = TinyExperiment::new();
    experiment.replace(
        "experiment.toml",
        "batch = 4",
        "batch = 4\nloader_threads = 256",
    );
    let command = "ulimit -v 900000; exec \"$0\" -t 1 train experiment.toml -o result";
    let message = fails_in_bash(&experiment, command);
    for part in ["error: cannot start thread ", "lower loader_threads"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn damaged_data_set_is_prepared_again_as_the_message_says() {
    type Damage = fn(&TinyExperiment);
    let damages: [Damage; 4] = [
        |experiment| experiment.truncate("result/data/examples.arrow", 1000),
        |experiment| {
            std::fs::remove_file(experiment.path("result/data/examples.arrow"))
                .expect("it is there");
        },
        |experiment| experiment.truncate("result/data/manifest.json", 100),
        |experiment| experiment.truncate("result/data/manifest.json", 0),
    ];
    let experiment = TinyExperiment::new();
    let prepare = ["prepare", "experiment.toml", "-o", "result"];
    let prepared = || {
        seq2exp()
            .current_dir(experiment.folder())
            .args(prepare)
            .assert()
            .success();
        ["examples.arrow", "manifest.json"].map(|name| {
            std::fs::read(experiment.path("result/data").join(name)).expect("it was prepared")
        })
    };
    let expected = prepared();
    for damage in damages {
        damage(&experiment);
        let remedy = "; delete result/data/manifest.json and run seq2exp prepare again";
        fails(&experiment, &prepare, &[remedy]);
        std::fs::remove_file(experiment.path("result/data/manifest.json")).expect("it is there");
        assert!(prepared() == expected);
    }
}

/// A limit on the size of written files stands in for a full disk: the write fails in the middle.
#[cfg(target_os = "linux")]
#[test]
fn full_disk_keeps_the_good_checkpoint() {
    let experiment = TinyExperiment::new();
    experiment.replace("experiment.toml", "steps = 6", "steps = 60");
    let (code, message) = terminate_training(&experiment, "result");
    assert_eq!(code, Some(143), "{message}");
    let names = ["best.safetensors", "last.safetensors", "resume.safetensors"];
    let files =
        || names.map(|name| std::fs::read(experiment.path("result/seed_2").join(name)).ok());
    let before = files();
    assert!(before[2].is_some(), "the interrupted run saved its state");

    let command = "trap '' XFSZ; ulimit -f 8; exec \"$0\" train experiment.toml -o result --resume";
    let message = fails_in_bash(&experiment, command);
    assert!(message.contains("result/seed_2"), "{message}");
    assert!(before == files(), "a failed write changed a checkpoint");

    seq2exp()
        .current_dir(experiment.folder())
        .args(["train", "experiment.toml", "-o", "result", "--resume"])
        .assert()
        .success();
}

fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/k562_chr22")
        .join(name)
}
