//! A run that was moved, with its inputs or without them.

use std::fs;

use crate::run_in;
use crate::subcommands::succeeds;
use crate::tiny_experiment::TinyExperiment;

/// Everything that an experiment's folder holds, into a folder of its own inside it.
fn move_all(experiment: &TinyExperiment, folder: &str) {
    let outer = experiment.path(folder);
    let entries: Vec<_> = fs::read_dir(experiment.folder())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    fs::create_dir(&outer).expect("writable");
    for path in entries {
        let name = path.file_name().expect("a name");
        fs::rename(&path, outer.join(name)).expect("moved");
    }
}

#[test]
fn project_moved_whole_is_used_and_continued() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "out/a"]);
    let [elements, predictions] = ["elements.bed.gz", "predictions.tsv"]
        .map(|name| fs::read(experiment.path(&format!("out/a/{name}"))).expect("written"));
    move_all(&experiment, "elsewhere");
    for command in ["evaluate", "discover", "report"] {
        succeeds(&experiment, &[command, "elsewhere/out/a"]);
    }
    let genes = "elsewhere/genes.tsv";
    succeeds(
        &experiment,
        &["predict", "elsewhere/out/a", "--genes", genes],
    );
    for (name, before) in [
        ("elements.bed.gz", elements),
        ("predictions.tsv", predictions),
    ] {
        let now = fs::read(experiment.path(&format!("elsewhere/out/a/{name}"))).expect("written");
        assert_eq!(now, before, "{name}");
    }
    let config = "elsewhere/experiment.toml";
    let resume = ["train", config, "-o", "elsewhere/out/a", "--resume"];
    succeeds(&experiment, &resume);
    // The folder now names the files where they are.
    let saved = experiment.read("elsewhere/out/a/config.toml");
    assert_eq!(saved.matches("elsewhere/genome.fa").count(), 1, "{saved}");
}

#[test]
fn run_without_its_inputs_needs_them_for_other_genes_alone() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "out/a"]);
    let before = fs::read(experiment.path("out/a/elements.bed.gz")).expect("written");
    fs::rename(experiment.path("out/a"), experiment.path("alone")).expect("moved");
    // The inputs are where they were.
    succeeds(&experiment, &["predict", "alone", "--genes", "genes.tsv"]);
    for name in ["genome.fa", "genome.fa.fai", "dnase.bw"] {
        let apart = experiment.path(&format!("apart.{name}"));
        fs::rename(experiment.path(name), apart).expect("moved");
    }
    for command in ["evaluate", "discover", "report", "predict"] {
        succeeds(&experiment, &[command, "alone"]);
    }
    let after = fs::read(experiment.path("alone/elements.bed.gz")).expect("written");
    assert_eq!(after, before);
    let other = ["predict", "alone", "--genes", "genes.tsv"];
    let (code, _, message) = run_in(experiment.folder(), &other);
    assert_eq!(code, 1, "{message}");
    for part in [
        "genome.fa",
        "track dnase",
        "alone/config.toml",
        "correct the paths",
    ] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    let (_, _, message) = run_in(
        experiment.folder(),
        &["predict", "alone", "--genes", "absent.tsv"],
    );
    assert!(message.contains("absent.tsv"), "{message}");
    // As the message says.
    let text = experiment.read("alone/config.toml");
    let corrected = text
        .replace("/genome.fa", "/apart.genome.fa")
        .replace("/dnase.bw", "/apart.dnase.bw");
    experiment.write("alone/config.toml", corrected);
    succeeds(&experiment, &other);
}
