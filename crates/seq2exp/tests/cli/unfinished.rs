//! Runs that are not finished, or of which a part was deleted.

use crate::run_in;
use crate::subcommands::{succeeds, terminate_training};
use crate::tiny_experiment::TinyExperiment;

#[test]
fn run_without_networks_is_said_before_anything_is_prepared() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["prepare", "experiment.toml", "-o", "result"]);
    std::fs::remove_dir_all(experiment.path("result/data")).expect("it is there");
    for command in ["evaluate", "discover", "report", "predict"] {
        let (code, _, message) = run_in(experiment.folder(), &[command, "result"]);
        assert!(
            code == 1 && message.contains("run `seq2exp train` first"),
            "{message}"
        );
        assert!(!experiment.path("result/data").exists(), "{command}");
    }
}

#[test]
fn report_of_a_half_deleted_run_says_what_to_repeat() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    // What was written while training comes back with nothing short of training, so the report goes without.
    std::fs::remove_file(experiment.path("result/seed_2/metrics.jsonl")).expect("it is there");
    succeeds(&experiment, &["report", "result"]);
    let page = experiment.read("result/report.html");
    assert!(page.contains("The training of seed 2 is not shown"));
    for (name, command) in [
        ("predictions.tsv", "evaluate"),
        ("metrics.json", "evaluate"),
        ("masks.tsv", "discover"),
    ] {
        let whole = experiment.read(&format!("result/{name}"));
        std::fs::remove_file(experiment.path(&format!("result/{name}"))).expect("it is there");
        let (code, _, message) = run_in(experiment.folder(), &["report", "result"]);
        assert!(
            code == 1 && message.contains(name) && message.contains(command),
            "{message}"
        );
        experiment.write(&format!("result/{name}"), whole);
    }
    let metrics = experiment.read("result/metrics.json");
    let (_, digest) = metrics.split_once("model_digest\": \"").expect("a digest");
    experiment.replace("result/metrics.json", &digest[..64], &"0".repeat(64));
    let (code, _, message) = run_in(experiment.folder(), &["report", "result"]);
    assert!(
        code == 1 && message.contains("scores of other networks"),
        "{message}"
    );
}

#[test]
fn run_that_is_not_finished_is_not_passed_off_as_one() {
    let experiment = TinyExperiment::new();
    experiment.replace("experiment.toml", "steps = 6", "steps = 60");
    experiment.replace(
        "experiment.toml",
        "validation_every = 3",
        "validation_every = 50",
    );
    assert_eq!(terminate_training(&experiment, "early").0, Some(143));
    let (code, _, message) = run_in(experiment.folder(), &["evaluate", "early"]);
    assert!(
        code == 1 && message.contains("not there yet") && message.contains("--resume"),
        "{message}"
    );
    experiment.replace(
        "experiment.toml",
        "validation_every = 50",
        "validation_every = 1",
    );
    assert_eq!(terminate_training(&experiment, "parts").0, Some(143));
    for command in ["evaluate", "discover", "report", "predict"] {
        let (_, message) = succeeds(&experiment, &[command, "parts"]);
        assert!(
            message.contains("note     the training of seed 2 stopped at step"),
            "{command}: {message}"
        );
    }
    let page = experiment.read("parts/report.html");
    assert!(page.contains("The training of seed 2 stopped at step"));
    succeeds(
        &experiment,
        &["train", "experiment.toml", "-o", "parts", "--resume"],
    );
    let (_, message) = succeeds(&experiment, &["evaluate", "parts"]);
    assert!(!message.contains("stopped at step"), "{message}");
    // The elements are still those of the earlier network.
    let (code, _, message) = run_in(experiment.folder(), &["report", "parts"]);
    assert!(
        code == 1 && message.contains("elements of other networks"),
        "{message}"
    );
    succeeds(&experiment, &["discover", "parts"]);
    succeeds(&experiment, &["report", "parts"]);
}
