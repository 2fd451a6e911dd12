//! `seq2exp benchmark` on the tiny experiment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use predicates::str::contains;

use crate::seq2exp;
use crate::tiny_experiment::TinyExperiment;

const BENCHMARK: &str = "name = 'bench'\nbase = 'experiment.toml'\nseeds = [2, 3]\n\
    size = { d_model = 8, n_layer = 1 }\n\
    [[model]]\nkind = 'seq2exp_soft'\n\
    [[model]]\nkind = 'caduceus_signals'\n";

/// Exit code, standard output and standard error of a benchmark of the experiment's folder.
fn benchmark(experiment: &TinyExperiment, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = seq2exp()
        .current_dir(experiment.folder())
        .args(["benchmark", "benchmark.toml", "-o", "out"])
        .args(arguments)
        .output()
        .expect("the binary starts");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A column of a TSV with a header, after lines that begin with `#`.
fn column(text: &str, name: &str) -> Vec<String> {
    let mut rows = text.lines().filter(|line| !line.starts_with('#'));
    let header: Vec<&str> = rows.next().expect("a header").split('\t').collect();
    let place = header.iter().position(|field| *field == name).expect(name);
    rows.map(|row| row.split('\t').nth(place).expect(name).to_string())
        .collect()
}

#[test]
fn benchmark_runs_each_cell_once_and_writes_the_table() {
    let experiment = TinyExperiment::new();
    experiment.write("benchmark.toml", BENCHMARK);
    let (code, markdown, messages) = benchmark(&experiment, &["--jobs", "2"]);
    assert_eq!(code, Some(0), "{messages}");
    assert!(messages.contains("4 cells, 2 at a time"), "{messages}");
    assert!(markdown.contains("| seq2exp_soft | "), "{markdown}");

    // A cell's folder is an ordinary run: the other commands take it.
    let cell = "out/cells/data/seq2exp_soft/seed_3";
    for arguments in [["evaluate", cell], ["discover", cell], ["report", cell]] {
        seq2exp()
            .current_dir(experiment.folder())
            .args(arguments)
            .assert()
            .success();
    }

    // The table's error is the mean over the cells' own files.
    let own = |seed: u64| -> f64 {
        let path = format!("out/cells/data/seq2exp_soft/seed_{seed}/metrics.json");
        let metrics: serde_json::Value =
            serde_json::from_str(&experiment.read(&path)).expect("JSON");
        metrics["ensemble"][2]["network"]["mse"]["value"]
            .as_f64()
            .expect("a number")
    };
    let table = experiment.read("out/table.tsv");
    let mse: Vec<f64> = column(&table, "mse")
        .iter()
        .map(|x| x.parse().expect("a number"))
        .collect();
    // Both are sums of the same two f32 differences, squared in f64; predictions.tsv holds f32 in shortest form.
    assert!((mse[0] - 0.5 * (own(2) + own(3))).abs() < 1e-12, "{table}");
    assert_eq!(
        column(&table, "model"),
        ["seq2exp_soft", "caduceus_signals"]
    );
    assert_eq!(column(&table, "n_genes"), ["2", "2"]);
    assert_eq!(column(&table, "p_seeds")[0], "NA");
    assert_ne!(column(&table, "p_seeds")[1], "NA");
    assert_eq!(column(&table, "mask_ratio")[1], "NA");

    // Nothing runs again, and the same table comes of it.
    let before = std::fs::read(experiment.path("out/table.tsv")).expect("a table");
    let checkpoint = experiment.path("out/cells/data/seq2exp_soft/seed_2/seed_2/best.safetensors");
    let modified = |path: &Path| {
        path.metadata()
            .and_then(|file| file.modified())
            .expect("a file")
    };
    let written = modified(&checkpoint);
    let (code, _, messages) = benchmark(&experiment, &[]);
    assert_eq!(code, Some(0), "{messages}");
    assert_eq!(modified(&checkpoint), written);
    assert_eq!(
        std::fs::read(experiment.path("out/table.tsv")).expect("a table"),
        before
    );
    let html = experiment.read("out/report.html");
    assert!(
        html.contains("caduceus_signals") && html.contains("</html>"),
        "{html}"
    );
}

#[test]
fn retrained_predictor_takes_the_generator_that_the_benchmark_trained() {
    let experiment = TinyExperiment::new();
    let text = BENCHMARK
        .replace("[2, 3]", "[3]")
        .replace("caduceus_signals", "seq2exp_retrain");
    experiment.write("benchmark.toml", text);
    let (code, _, messages) = benchmark(&experiment, &["--jobs", "2"]);
    assert_eq!(code, Some(0), "{messages}");
    let config = experiment.read("out/cells/data/seq2exp_retrain/seed_3/config.toml");
    assert!(
        config.contains("cells/data/seq2exp_soft/seed_3"),
        "{config}"
    );
    // The frozen generator is in the checkpoint, but no step trains it: what is trained is less than soft's.
    let table = experiment.read("out/table.tsv");
    let counts: Vec<usize> = column(&table, "n_parameters")
        .iter()
        .map(|count| count.parse().expect("trained values"))
        .collect();
    assert_eq!(column(&table, "model"), ["seq2exp_soft", "seq2exp_retrain"]);
    assert!(counts[1] < counts[0], "{counts:?}");
}

#[test]
fn cell_made_of_a_network_that_was_trained_anew_is_refused() {
    let experiment = TinyExperiment::new();
    let cell = |model: &str| experiment.path(&format!("out/cells/data/{model}/seed_3"));
    let one = |rate: &str| {
        let soft = format!("kind = 'seq2exp_soft'\nset.train.lr = {rate}");
        BENCHMARK
            .replace("[2, 3]", "[3]")
            .replace("kind = 'seq2exp_soft'", &soft)
            .replace("caduceus_signals", "seq2exp_retrain")
    };
    experiment.write("benchmark.toml", one("1e-3"));
    assert_eq!(benchmark(&experiment, &[]).0, Some(0));
    // Its network anew, of the same settings: the same.
    std::fs::remove_dir_all(cell("seq2exp_soft")).expect("it is there");
    let (code, _, messages) = benchmark(&experiment, &[]);
    assert_eq!(code, Some(0), "{messages}");
    assert!(
        messages.contains("seq2exp_retrain seed 3: finished before"),
        "{messages}"
    );
    // Of other settings: its own are as they were, but it holds the generator of another network.
    std::fs::remove_dir_all(cell("seq2exp_soft")).expect("it is there");
    experiment.write("benchmark.toml", one("2e-3"));
    for (arguments, expected) in [(vec![], 1), (vec!["--dry-run"], 0)] {
        let (code, markdown, messages) = benchmark(&experiment, &arguments);
        assert_eq!(code, Some(expected), "{messages}");
        let part = "made of the network of data seq2exp_soft seed 3, which was trained anew since";
        assert!(markdown.contains(part), "{markdown}");
        assert_eq!(
            column(&experiment.read("out/cells.tsv"), "state"),
            ["finished", "failed"]
        );
    }
    // As the message says.
    std::fs::remove_dir_all(cell("seq2exp_retrain")).expect("it is there");
    assert_eq!(benchmark(&experiment, &[]).0, Some(0));
}

#[test]
fn cells_that_need_a_failed_one_are_counted_aloud() {
    let experiment = TinyExperiment::new();
    let text = BENCHMARK
        .replace("[2, 3]", "[2]")
        .replace("size", "set.data.exclude = 'absent.bed'\nsize")
        .replace("caduceus_signals", "seq2exp_retrain");
    experiment.write("benchmark.toml", text);
    let (code, _, messages) = benchmark(&experiment, &[]);
    assert_eq!(code, Some(1), "{messages}");
    let part =
        "[2/2] data seq2exp_retrain seed 2: FAILED: needs data seq2exp_soft seed 2, which failed";
    assert!(messages.contains(part), "{messages}");
}

#[test]
fn failed_cell_is_in_the_table_and_stops_nothing() {
    let experiment = TinyExperiment::new();
    // The first data set's blocklist is not there.
    let text = BENCHMARK.to_string()
        + "[[dataset]]\nname = 'broken'\nset.data.exclude = 'absent.bed'\n\
           [[dataset]]\nname = 'whole'\n";
    experiment.write("benchmark.toml", text.replace("[2, 3]", "[2]"));
    let (code, markdown, messages) = benchmark(&experiment, &[]);
    assert_eq!(code, Some(1), "{messages}");
    assert!(messages.contains("2 of 4 cells failed"), "{messages}");
    assert!(markdown.contains("absent.bed"), "{markdown}");
    let cells = experiment.read("out/cells.tsv");
    let states = column(&cells, "state");
    assert_eq!(states, ["failed", "failed", "finished", "finished"]);
    assert!(column(&cells, "error")[0].contains("absent.bed"), "{cells}");
    let table = experiment.read("out/table.tsv");
    assert_eq!(column(&table, "n_seeds"), ["0", "0", "1", "1"]);
    assert_eq!(column(&table, "mse")[0], "NA");
}

#[test]
fn cell_of_other_settings_is_refused_by_name() {
    let experiment = TinyExperiment::new();
    let one = BENCHMARK.replace("[2, 3]", "[2]");
    experiment.write("benchmark.toml", &one);
    assert_eq!(benchmark(&experiment, &[]).0, Some(0));
    experiment.write(
        "benchmark.toml",
        one.replace("size", "set.train.lr = 1e-4\nsize"),
    );
    // The old results are not shown as if they were of the new settings, whether cells are run or only listed.
    for (arguments, expected) in [(vec!["--dry-run"], 0), (vec![], 1)] {
        let (code, markdown, _) = benchmark(&experiment, &arguments);
        assert_eq!(code, Some(expected));
        for model in ["seq2exp_soft", "caduceus_signals"] {
            let part =
                format!("/out/cells/data/{model}/seed_2: run with other settings (train.lr is ");
            assert!(markdown.contains(&part), "{markdown}");
        }
        let part = "this run has 0.0001); delete this folder to run the cell with the new ones, go back to";
        assert!(markdown.contains(part), "{markdown}");
    }
    let table = experiment.read("out/table.tsv");
    assert_eq!(column(&table, "mse"), ["NA"; 2], "{table}");
    std::fs::remove_dir_all(experiment.path("out/cells/data/seq2exp_soft")).expect("it is there");
    assert_eq!(benchmark(&experiment, &[]).0, Some(1));
    let cells = experiment.read("out/cells.tsv");
    assert_eq!(column(&cells, "state"), ["finished", "failed"], "{cells}");
}

#[test]
fn half_deleted_cell_is_completed_and_the_others_are_kept() {
    let experiment = TinyExperiment::new();
    experiment.write("benchmark.toml", BENCHMARK.replace("[2, 3]", "[2]"));
    assert_eq!(benchmark(&experiment, &[]).0, Some(0));
    let table = experiment.read("out/table.tsv");
    let predictions = "out/cells/data/seq2exp_soft/seed_2/predictions.tsv";
    std::fs::remove_file(experiment.path(predictions)).expect("it is there");
    let (code, _, messages) = benchmark(&experiment, &[]);
    assert_eq!(code, Some(0), "{messages}");
    assert!(
        messages.contains("seq2exp_soft seed 2: finished, ")
            && messages.contains("caduceus_signals seed 2: finished before"),
        "{messages}"
    );
    assert_eq!(experiment.read("out/table.tsv"), table);
}

/// The first cell of the benchmark below.
const FIRST_CELL: &str = "out/cells/data/seq2exp_soft/seed_2";

/// Steps of training that the first cell has recorded.
fn n_records(experiment: &TinyExperiment) -> usize {
    let path = experiment.path(FIRST_CELL).join("seed_2/metrics.jsonl");
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Starts a benchmark and sends it a signal in the middle of its first cell.
fn signalled_benchmark(experiment: &TinyExperiment, n_steps: u32, signal: &str) -> Child {
    let set = format!("set.train = {{ steps = {n_steps}, checkpoint_every = 1 }}\nsize");
    let one = BENCHMARK.replace("[2, 3]", "[2]");
    experiment.write("benchmark.toml", one.replace("size", &set));
    let mut child = Command::new(env!("CARGO_BIN_EXE_seq2exp"))
        .current_dir(experiment.folder())
        .args(["benchmark", "benchmark.toml", "-o", "out", "-t", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    while n_records(experiment) < 3 {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "it ended early"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    let kill = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(kill.expect("kill is there").success());
    child
}

#[test]
fn killed_benchmark_takes_its_cell_along() {
    let experiment = TinyExperiment::new();
    // Many more steps than are done before the cell has seen that it is alone.
    let child = signalled_benchmark(&experiment, 100_000, "-KILL");
    child.wait_with_output().expect("it ends");
    // The last line of a process that saved and stopped.
    let log = experiment.path(FIRST_CELL).join("log.txt");
    let has_stopped = || {
        let text = std::fs::read_to_string(&log).expect("a log");
        text.contains("stopped by SIGTERM")
    };
    let started = Instant::now();
    while !has_stopped() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "the cell lives on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(n_records(&experiment) < 100_000);
}

#[test]
fn stopped_benchmark_continues_from_the_checkpoint() {
    let experiment = TinyExperiment::new();
    let child = signalled_benchmark(&experiment, 60, "-TERM");
    let run = &format!("{FIRST_CELL}/seed_2");
    let ended = child.wait_with_output().expect("it ends");
    let messages = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(143), "{messages}");
    assert!(messages.contains("it continues"), "{messages}");
    assert!(n_records(&experiment) < 60, "it was not stopped");
    assert_eq!(
        column(&experiment.read("out/cells.tsv"), "state"),
        ["unfinished"; 2]
    );

    let (code, _, messages) = benchmark(&experiment, &[]);
    assert_eq!(code, Some(0), "{messages}");
    // One run without a stop gives the same network.
    let config = experiment.path("out/cells/data/seq2exp_soft/seed_2/config.toml");
    seq2exp()
        .current_dir(experiment.folder())
        .arg("train")
        .arg(&config)
        .args(["-o", "whole"])
        .assert()
        .success();
    let bytes = |folder: &str| {
        std::fs::read(experiment.path(folder).join("best.safetensors")).expect("a checkpoint")
    };
    assert!(bytes(run) == bytes("whole/seed_2"));
}

#[test]
fn folds_are_pooled_with_each_gene_once() {
    let experiment = TinyExperiment::new();
    let text = BENCHMARK.replace("[2, 3]", "[2]")
        + "[[dataset]]\nname = 'blocks'\n\
           set.data.split = { by = 'blocks', n_blocks = 3, test_block = 0 }\n";
    experiment.write(
        "benchmark.toml",
        text.replace("seeds", "folds = 'all'\nseeds"),
    );
    let (code, markdown, messages) = benchmark(&experiment, &["-j", "2"]);
    assert_eq!(code, Some(0), "{messages}");
    assert!(markdown.contains("| pooled |"), "{markdown}");
    let table = experiment.read("out/table.tsv");
    let (folds, genes) = (column(&table, "fold"), column(&table, "n_genes"));
    assert_eq!(folds, ["pooled", "pooled", "1", "1", "2", "2", "3", "3"]);
    assert_eq!(genes, ["12", "12", "4", "4", "4", "4", "4", "4"]);
}

#[test]
fn dry_run_lists_the_cells_and_writes_nothing() {
    let experiment = TinyExperiment::new();
    experiment.write("benchmark.toml", BENCHMARK);
    seq2exp()
        .current_dir(experiment.folder())
        .args(["benchmark", "benchmark.toml", "-o", "out", "--dry-run"])
        .assert()
        .success()
        .stdout(contains("data caduceus_signals seed 3"));
    assert!(!experiment.path("out").exists());
}

#[test]
fn networks_are_evaluated_on_windows_of_another_length() {
    let experiment = TinyExperiment::new();
    experiment.write(
        "short.toml",
        experiment
            .read("experiment.toml")
            .replace("length = 600", "length = 400"),
    );
    experiment.write(
        "wide.toml",
        experiment
            .read("experiment.toml")
            .replace("d_model = 8", "d_model = 16"),
    );
    let run = |arguments: &[&str]| {
        seq2exp()
            .current_dir(experiment.folder())
            .args(arguments)
            .assert()
    };
    run(&["train", "experiment.toml", "-o", "run"]).success();
    run(&["evaluate", "run", "--on", "short.toml", "-o", "short"]).success();
    let predictions = experiment.read("short/predictions.tsv");
    assert_eq!(column(&predictions, "seed_2").len(), 12);
    run(&["evaluate", "run"]).success();
    assert_ne!(
        column(&predictions, "seed_2"),
        column(&experiment.read("run/predictions.tsv"), "seed_2")
    );
    run(&["evaluate", "run", "--on", "wide.toml", "-o", "wide"])
        .failure()
        .stderr(contains("d_model"));
    // The folder is not taken by what was refused.
    run(&["evaluate", "run", "--on", "short.toml", "-o", "wide"]).success();
    std::fs::remove_file(experiment.path("wide/predictions.tsv")).expect("it is there");
    run(&["evaluate", "short", "wide"])
        .failure()
        .stderr(contains("run `seq2exp evaluate` on its folder first"));
}

#[test]
fn ablation_runs_every_variant_and_compares_it_with_the_full_model() {
    let experiment = TinyExperiment::new();
    let output = seq2exp()
        .current_dir(experiment.folder())
        .args([
            "ablate",
            "experiment.toml",
            "-o",
            "out",
            "--jobs",
            "2",
            "--lengths",
            "400",
        ])
        .output()
        .expect("the binary starts");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let table = experiment.read("out/table.tsv");
    let expected = [
        "full",
        "no_generator",
        "random_mask",
        "no_kl",
        "one_backbone",
        "sequence_only",
        "tracks_only",
        "without_h3k27ac",
        "without_dnase",
        "without_contact",
        "train_400",
        "test_400",
    ];
    assert_eq!(column(&table, "model"), expected);
    assert_eq!(column(&table, "n_seeds"), ["1"; 12]);
    let number = |name: &str, row: usize| -> f64 {
        column(&table, name)[row]
            .parse()
            .unwrap_or_else(|_| panic!("{name}: {table}"))
    };
    assert_eq!(number("mask_ratio", 1), 1.0);
    // Without the generator there is less to train, with an idle one there would be as much.
    for row in [1, 2] {
        assert!(
            number("n_parameters", row) < number("n_parameters", 0),
            "{table}"
        );
    }
    // Blocks of 100 bases in windows of 600: the share is met on average only.
    let (full, random) = (number("mask_ratio", 0), number("mask_ratio", 2));
    assert!(random > 0.0 && random < 1.0 && full > 0.0, "{table}");
    assert_eq!(column(&table, "mask_ratio")[4], "NA");
    // The full model's network on shorter windows, and one trained on them, are two.
    assert_ne!(number("mse", 10), number("mse", 11));
    assert_ne!(number("mse", 0), number("mse", 11));
}
