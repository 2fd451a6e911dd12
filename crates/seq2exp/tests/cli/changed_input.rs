//! An input file that was replaced after `prepare` is never ignored.

use crate::run_in;
use crate::subcommands::succeeds;
use crate::tiny_experiment::TinyExperiment;

/// Replaces the expression of all genes by ten times as much.
fn change_expression(experiment: &TinyExperiment) {
    let text = experiment.read("expression.tsv");
    let rows = text.lines().map(|line| match line.split_once("\tt") {
        Some(_) => line.to_string(),
        None => format!("{line}0"),
    });
    let changed: Vec<String> = rows.collect();
    experiment.write("expression.tsv", changed.join("\n") + "\n");
}

/// The observed expression of every gene in a `predictions.tsv`.
fn observed(experiment: &TinyExperiment, name: &str) -> Vec<String> {
    let text = experiment.read(name);
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|row| row.split('\t').nth(6).expect("observed").to_string())
        .collect()
}

#[test]
fn file_replaced_after_prepare_is_prepared_anew() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["prepare", "experiment.toml", "-o", "result"]);
    // Written again with the same content: nothing to say.
    experiment.write("expression.tsv", experiment.read("expression.tsv"));
    let (_, messages) = succeeds(&experiment, &["prepare", "experiment.toml", "-o", "result"]);
    assert!(!messages.contains("expression.tsv"), "{messages}");

    change_expression(&experiment);
    let (_, messages) = succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    assert!(
        messages.contains("expression.tsv (expression) is not the file")
            && messages.contains("prepared anew"),
        "{messages}"
    );
    succeeds(&experiment, &["run", "experiment.toml", "-o", "fresh"]);
    let [changed, fresh] = ["result", "fresh"]
        .map(|folder| observed(&experiment, &format!("{folder}/predictions.tsv")));
    assert_eq!(changed, fresh);
}

#[test]
fn file_replaced_after_training_is_refused_by_name() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    let before = observed(&experiment, "result/predictions.tsv");
    change_expression(&experiment);
    for arguments in [
        &["run", "experiment.toml", "-o", "result", "--resume"][..],
        &["train", "experiment.toml", "-o", "result", "--resume"],
        &["prepare", "experiment.toml", "-o", "result"],
    ] {
        let (code, _, message) = run_in(experiment.folder(), arguments);
        assert_eq!(code, 1, "{arguments:?}: {message}");
        for part in ["error: result: ", "expression.tsv", "-o"] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    }
    // The networks that there are keep the data that they were trained on, with a note.
    let (_, messages) = succeeds(&experiment, &["evaluate", "result"]);
    let n_notes = messages.matches("expression.tsv (expression)").count();
    assert_eq!(n_notes, 1, "{messages}");
    assert_eq!(observed(&experiment, "result/predictions.tsv"), before);
    // A file that is not there any more is needed by nothing that was prepared.
    std::fs::remove_file(experiment.path("expression.tsv")).expect("it is there");
    succeeds(&experiment, &["evaluate", "result"]);
}

#[test]
fn setting_changed_behind_the_back_of_a_folder_is_prepared_anew() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["prepare", "experiment.toml", "-o", "result"]);
    std::fs::remove_file(experiment.path("result/config.toml")).expect("it is there");
    let arguments = ["prepare", "experiment.toml", "-o", "result", "--set"];
    let longer = [&arguments[..], &["data.length=800"]].concat();
    let (_, messages) = succeeds(&experiment, &longer);
    assert!(
        messages.contains("data.length is 600, this run has 800"),
        "{messages}"
    );
}

#[test]
fn repeated_benchmark_names_the_changed_file() {
    let experiment = TinyExperiment::new();
    let benchmark = "name = 'bench'\nbase = 'experiment.toml'\nseeds = [2]\n\
                     size = { d_model = 8, n_layer = 1 }\n[[model]]\nkind = 'caduceus_signals'\n";
    experiment.write("benchmark.toml", benchmark);
    let arguments = ["benchmark", "benchmark.toml", "-o", "out"];
    succeeds(&experiment, &arguments);
    change_expression(&experiment);
    let (code, _, messages) = run_in(experiment.folder(), &arguments);
    assert_eq!(code, 1, "{messages}");
    assert!(
        messages.contains("FAILED") && messages.contains("expression.tsv (expression)"),
        "{messages}"
    );
    // Without what was trained, the cell is run on the new file.
    let cell = "out/cells/data/caduceus_signals/seed_2";
    std::fs::remove_dir_all(experiment.path(&format!("{cell}/seed_2"))).expect("a network");
    std::fs::remove_file(experiment.path(&format!("{cell}/metrics.json"))).expect("scores");
    succeeds(&experiment, &arguments);
    succeeds(&experiment, &["run", "experiment.toml", "-o", "fresh"]);
    let found = observed(&experiment, &format!("{cell}/predictions.tsv"));
    assert_eq!(found, observed(&experiment, "fresh/predictions.tsv"));
}
