//! A run that was moved, with its inputs or without them.

use std::fs;
use std::path::Path;

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

/// Copies a folder, and nothing of it into itself.
fn copy_all(from: &Path, to: &Path) {
    fs::create_dir(to).expect("writable");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy_all(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), target).expect("copied");
            }
        }
    }
}

#[test]
fn copied_project_reads_its_own_files_and_no_others() {
    let experiment = TinyExperiment::new();
    let outer = tempfile::tempdir().expect("a temporary folder");
    succeeds(&experiment, &["run", "experiment.toml", "-o", "out/a"]);
    let copy = outer.path().join("copy");
    copy_all(experiment.folder(), &copy);
    let evaluate = || {
        let (code, _, messages) = run_in(&copy, &["evaluate", "out/a"]);
        assert_eq!(code, 0, "{messages}");
        messages
    };
    // What becomes of the original does not matter to the copy.
    experiment.replace("expression.tsv", "GENE1\t20", "GENE1\t30");
    let messages = evaluate();
    assert!(!messages.contains("expression.tsv"), "{messages}");
    // A file of the copy that is another one is not taken for the input; the original, which is another one too, is named.
    fs::copy(
        experiment.path("expression.tsv"),
        copy.join("expression.tsv"),
    )
    .expect("copied");
    let messages = evaluate();
    let original = experiment.path("expression.tsv").display().to_string();
    let note = format!("{original} (expression) is not the file");
    assert!(messages.contains(&note), "{messages}");
}

#[test]
fn moved_benchmark_finds_its_data_sets() {
    let experiment = TinyExperiment::new();
    let benchmark = "name = 'bench'\nbase = 'experiment.toml'\nseeds = [2]\n\
                     size = { d_model = 8, n_layer = 1 }\n[[model]]\nkind = 'caduceus_signals'\n\
                     [[dataset]]\nname = 'short'\nset.data.length = 400\n[[dataset]]\nname = 'long'\n";
    experiment.write("benchmark.toml", benchmark);
    succeeds(&experiment, &["benchmark", "benchmark.toml", "-o", "out"]);
    move_all(&experiment, "elsewhere");
    let predictions = "elsewhere/out/cells/long/caduceus_signals/seed_2/predictions.tsv";
    fs::remove_file(experiment.path(predictions)).expect("it is there");
    let again = [
        "benchmark",
        "elsewhere/benchmark.toml",
        "-o",
        "elsewhere/out",
    ];
    let (_, messages) = succeeds(&experiment, &again);
    assert!(
        messages.contains("long caduceus_signals seed 2: finished, ")
            && messages.contains("short caduceus_signals seed 2: finished before"),
        "{messages}"
    );
    assert!(!messages.contains("prepare"), "{messages}");
    let n_sets = fs::read_dir(experiment.path("elsewhere/out/data")).expect("a folder");
    assert_eq!(n_sets.count(), 2);
    // Another input is another data set.
    experiment.replace("elsewhere/expression.tsv", "GENE1\t20", "GENE1\t30");
    move_all(&experiment, "third");
    for model in ["short", "long"] {
        let cell = format!("third/elsewhere/out/cells/{model}");
        fs::remove_dir_all(experiment.path(&cell)).expect("it is there");
    }
    let again = [
        "benchmark",
        "third/elsewhere/benchmark.toml",
        "-o",
        "third/elsewhere/out",
    ];
    let (_, messages) = succeeds(&experiment, &again);
    assert!(messages.contains("prepare"), "{messages}");
}
