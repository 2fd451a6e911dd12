//! What masks, tracks and peaks find of a simulation's known elements.

use crate::run_in;

/// Runs a command in a folder and expects success; its standard output.
fn succeed(folder: &std::path::Path, arguments: &[&str]) -> String {
    let (code, text, message) = run_in(folder, arguments);
    assert_eq!(code, 0, "{arguments:?}: {message}");
    text
}

#[test]
fn score_elements_compares_runs_tracks_and_peaks_at_every_sparsity() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    succeed(path, &["simulate", "sim", "--set", "n_genes=20"]);
    let train = |output: &str, model: &[&str]| {
        let mut arguments = vec!["train", "sim/experiment.toml", "-o", output];
        let short = [
            "train.steps=2",
            "train.warmup_steps=1",
            "train.validation_every=2",
        ];
        for setting in short.iter().chain(&["model.d_model=8"]).chain(model) {
            arguments.extend(["--set", setting]);
        }
        succeed(path, &arguments);
    };
    train(
        "soft",
        &["model.n_layer_generator=1", "model.n_layer_predictor=1"],
    );
    let text = std::fs::read_to_string(path.join("sim/experiment.toml")).expect("simulated");
    let (data, rest) = text.split_once("[model]").expect("a model");
    let (_, settings) = rest.split_once("[train]").expect("settings");
    let plain = format!(
        "{data}[model]\nkind = \"caduceus_signals\"\npromoter = 128\nd_model = 8\nn_layer = 1\n\n[train]{settings}"
    );
    std::fs::write(path.join("sim/plain.toml"), plain).expect("writable");
    let short = ["--set", "train.steps=2", "--set", "train.warmup_steps=1"];
    succeed(
        path,
        &[&["train", "sim/plain.toml", "-o", "plain"], &short[..]].concat(),
    );
    let peaks = [
        "peaks",
        "sim/dnase.bw",
        "--cutoff",
        "0.3",
        "--min-length",
        "24",
    ];
    succeed(path, &[&peaks[..], &["-o", "p.narrowPeak"]].concat());

    let score = ["score-elements", "sim/truth.bed.gz", "soft", "plain"];
    let score = [&score[..], &["--regions", "p.narrowPeak"]].concat();
    let text = succeed(
        path,
        &[&score[..], &["--json", "--curves", "c.tsv"]].concat(),
    );
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    // 15 % of 20 genes.
    assert_eq!(report["n_genes"], 3);
    let runs = report["runs"].as_array().expect("runs");
    let sparsities = |run: usize| -> Vec<f64> {
        let at = runs[run]["at"].as_array().expect("sparsities").iter();
        at.map(|at| {
            assert!(
                at["mse"]["value"].as_f64().is_some_and(|mse| mse >= 0.0),
                "{at}"
            );
            at["sparsity"].as_f64().expect("a share")
        })
        .collect()
    };
    assert_eq!(sparsities(0), [0.05, 0.1, 0.2]);
    // Without a mask there is nothing to keep a part of.
    assert_eq!(sparsities(1), [0.0; 0]);
    assert!(runs[1]["free_mask_ratio"].is_null());

    // Nor does chance order the bases.
    for row in report["scores"].as_array().expect("scores") {
        let n = row["at"].as_array().expect("sparsities").len();
        assert_eq!(n, if row["score"] == "chance" { 0 } else { 3 }, "{row}");
    }

    let curves = std::fs::read_to_string(path.join("c.tsv")).expect("written");
    let rows: Vec<Vec<&str>> = curves
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!(rows[0], ["score", "of", "recall", "precision", "threshold"]);
    let of = |score: &str, of: &str| -> Vec<[f64; 3]> {
        let rows = rows.iter().filter(|row| row[..2] == [score, of]);
        rows.map(|row| [2, 3, 4].map(|column| row[column].parse().expect("a number")))
            .collect()
    };
    // What was planted for the test genes, as the truth says it: column 8 is the class.
    let truth = genome::read_regions(path.join("sim/truth.bed.gz")).expect("written");
    let count = |classes: &[&str]| -> f64 {
        let of_test = truth
            .iter()
            .filter(|region| region.interval.chrom() == "chrTest");
        of_test
            .filter(|region| classes.contains(&region.rest[1].as_str()))
            .count() as f64
    };
    let open = ["active", "open_inactive", "out_of_contact", "signal_only"];
    let n_active = count(&["active"]);
    // Every open element lies in a peak as a whole and no other does, so one point finds all; chance selects all.
    let peaks = [1.0, n_active / count(&open), 1.0];
    assert_eq!(of("p.narrowPeak", "elements"), [peaks]);
    let all = n_active / (count(&open) + count(&["sequence_only"]));
    assert_eq!(of("chance", "elements"), [[1.0, all, 0.0]]);
    let ([inside], [chance]) = (&of("p.narrowPeak", "bases")[..], &of("chance", "bases")[..])
    else {
        panic!("{curves}");
    };
    assert_eq!((inside[0], inside[2], chance[0]), (1.0, 1.0, 1.0));
    assert!(inside[1] > chance[1], "{inside:?} {chance:?}");
    for score in [
        "soft: mask",
        "soft: gradient x input",
        "plain: gradient x input",
        "dnase",
    ] {
        let (bases, elements) = (of(score, "bases"), of(score, "elements"));
        assert_eq!(bases.last().map(|point| point[0]), Some(1.0), "{score}");
        assert_eq!(elements.last().map(|point| point[0]), Some(1.0), "{score}");
    }
    assert!(of("plain: mask", "bases").is_empty());
    let table = succeed(path, &score);
    assert!(table.contains("top   5 %: MSE  Pearson"), "{table}");

    // Runs of one name, as a benchmark's cells have, are told apart.
    let twice = ["score-elements", "sim/truth.bed.gz", "soft", "sim/../soft"];
    let table = succeed(path, &twice);
    assert!(
        table.contains("\nsoft: mask ") && table.contains("\nsim/../soft: mask "),
        "{table}"
    );

    // Files of other chromosomes, and runs on other genes.
    let truth: String = truth
        .iter()
        .map(|region| {
            let (interval, rest) = (&region.interval, region.rest.join("\t"));
            let (start, end) = (interval.start(), interval.end());
            format!("test\t{start}\t{end}\tx\t0\t.\t{rest}\n")
        })
        .collect();
    std::fs::write(path.join("truth.bed"), truth).expect("writable");
    std::fs::write(path.join("peaks.bed"), "test\t1\t900\n").expect("writable");
    succeed(
        path,
        &[
            "simulate",
            "other",
            "--set",
            "n_genes=20",
            "--set",
            "length=2048",
        ],
    );
    let other = ["train", "other/experiment.toml", "-o", "long"];
    succeed(
        path,
        &[&other[..], &short[..], &["--set", "model.d_model=8"]].concat(),
    );
    let of_sim = "sim/truth.bed.gz";
    for (arguments, part) in [
        (
            vec!["truth.bed", "soft"],
            "no known element lies in the window of its gene, the first being test:",
        ),
        (
            vec![of_sim, "soft", "--regions", "peaks.bed"],
            "peaks.bed: no region lies on",
        ),
        (
            vec!["other/truth.bed.gz", "soft"],
            "lies behind the end of chrTest (3072 bp), in soft; is it another simulation's truth?",
        ),
        (
            vec![of_sim, "soft", "long"],
            "compare runs on the same genes",
        ),
    ] {
        let (code, _, message) = run_in(path, &[&["score-elements"], &arguments[..]].concat());
        assert!(
            code == 1 && message.contains(part),
            "{arguments:?}: {message}"
        );
    }
}
