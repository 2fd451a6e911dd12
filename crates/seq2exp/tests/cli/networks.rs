//! Networks that take more than windows: peaks, a finished run's generator, candidate elements.

use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

use crate::seq2exp;
use crate::subcommands::succeeds;
use crate::tiny_experiment::{N_GENES, TinyExperiment, tss};

#[test]
fn peaks_become_the_mask_of_a_network() {
    let experiment = TinyExperiment::new();
    // The track is above 2 at the promoters of the genes of level 2 to 4 alone, 400 bases each.
    let (said, _) = succeeds(
        &experiment,
        &["peaks", "h3k27ac.bw", "-c", "2", "-o", "peaks.narrowPeak"],
    );
    let peaks = genome::read_regions(experiment.path("peaks.narrowPeak")).expect("narrowPeak");
    let levels = (0..N_GENES).map(|gene| gene * 7 % 5);
    assert_eq!(peaks.len(), levels.filter(|level| *level >= 2).count());
    assert!(
        said.contains(&format!(
            "{} peaks, {} bases",
            peaks.len(),
            400 * peaks.len()
        )),
        "{said}"
    );

    experiment.replace(
        "experiment.toml",
        "promoter = 100\n",
        "promoter = 100\npeaks = \"peaks.narrowPeak\"\n",
    );
    experiment.replace(
        "experiment.toml",
        "kind = \"seq2exp_soft\"\nd_model = 8\nn_layer_generator = 1\nn_layer_predictor = 1",
        "kind = \"macs3\"\nd_model = 8\nn_layer = 1",
    );
    succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    let metrics: serde_json::Value =
        serde_json::from_str(&experiment.read("result/metrics.json")).expect("JSON");
    // Of 600 bases, 400 are a peak at a gene with one, else the promoter's 100 are 1.
    for ensemble in metrics["ensemble"].as_array().expect("splits") {
        let ratio = ensemble["mask_ratio"].as_f64().expect("a mask");
        assert!(
            (100.0 / 600.0 - 1e-6..=400.0 / 600.0 + 1e-6).contains(&ratio),
            "{ratio}"
        );
    }
    assert!(experiment.path("result/elements.bed.gz").is_file());
}

#[cfg(unix)]
#[test]
fn peaks_go_to_standard_output_alone() {
    let experiment = TinyExperiment::new();
    let peaks = ["peaks", "h3k27ac.bw", "-c", "2", "-o"];
    let run = |output| succeeds(&experiment, &[&peaks[..], &[output]].concat());
    run("peaks.narrowPeak");
    let (peaks, messages) = run("/dev/stdout");
    assert_eq!(peaks, experiment.read("peaks.narrowPeak"));
    assert!(messages.contains(" peaks, "), "{messages}");
}

#[test]
fn peaks_refuse_what_they_cannot_do_with_a_remedy() {
    let experiment = TinyExperiment::new();
    experiment.write("reads.bam", "");
    let cases: [(&[&str], &str); 5] = [
        (&["h3k27ac.bw"], "give --cutoff"),
        (&["h3k27ac.bw", "-c", "0"], "above 0"),
        (&["h3k27ac.bw", "-c", "99"], "no peak was found"),
        (&["reads.bam", "-c", "1"], "after --"),
        (&["reads.bam"], "pip install macs3"),
    ];
    for (arguments, part) in cases {
        seq2exp()
            .current_dir(experiment.folder())
            // Nothing is installed there.
            .env("PATH", experiment.folder())
            .args(["peaks", "-o", "out.narrowPeak"])
            .args(arguments)
            .assert()
            .failure()
            .code(1)
            .stderr(contains(part));
    }
    assert!(!experiment.path("out.narrowPeak").exists());
}

#[test]
fn retrained_run_takes_the_generators_of_a_finished_one() {
    let experiment = TinyExperiment::new();
    succeeds(&experiment, &["train", "experiment.toml", "-o", "soft"]);
    let text = experiment.read("experiment.toml").replace(
        "kind = \"seq2exp_soft\"",
        "kind = \"seq2exp_retrain\"\ngenerator = \"soft\"\ntop_fraction = 0.5",
    );
    experiment.write("retrain.toml", text);
    succeeds(&experiment, &["run", "retrain.toml", "-o", "result"]);
    let metrics: serde_json::Value =
        serde_json::from_str(&experiment.read("result/metrics.json")).expect("JSON");
    for ensemble in metrics["ensemble"].as_array().expect("splits") {
        let ratio = ensemble["mask_ratio"].as_f64().expect("a mask");
        assert!((ratio - 0.5).abs() < 1e-6, "{ratio}");
    }
    // Without the other run the checkpoint still predicts.
    std::fs::remove_dir_all(experiment.path("soft")).expect("removed");
    succeeds(&experiment, &["evaluate", "result"]);
    seq2exp()
        .current_dir(experiment.folder())
        .args(["check", "retrain.toml"])
        .assert()
        .failure()
        .stderr(contains("soft").and(contains("seq2exp train")));
}

#[test]
fn retrained_run_that_names_no_generator_keeps_the_one_it_took() {
    let experiment = TinyExperiment::new();
    let soft = ["train", "experiment.toml", "-o", "out/seq2exp_soft"];
    succeeds(&experiment, &soft);
    let text = experiment.read("experiment.toml");
    let text = text.replace("kind = \"seq2exp_soft\"", "kind = \"seq2exp_retrain\"");
    experiment.write("retrain.toml", text);
    succeeds(&experiment, &["train", "retrain.toml", "-o", "result"]);
    // From another folder too: the settings that were saved name it by its whole path.
    let elsewhere = experiment.path("elsewhere");
    std::fs::create_dir(&elsewhere).expect("writable");
    let (code, _, messages) = crate::run_in(&elsewhere, &["evaluate", "../result"]);
    assert_eq!(code, 0, "{messages}");
    let generator = experiment.path("out/seq2exp_soft").display().to_string();
    assert!(
        experiment
            .read("result/config.toml")
            .contains(&format!("generator = \"{generator}\""))
    );
}

#[test]
fn epinformer_reads_candidates_of_a_bed_file() {
    let experiment = TinyExperiment::new();
    // An element between every two genes, and one on each start site, which is no candidate.
    let rows = (0..N_GENES).map(|gene| {
        let tss = tss(gene);
        format!(
            "chrT\t{}\t{}\nchrT\t{tss}\t{}\n",
            tss + 250,
            tss + 290,
            tss + 10
        )
    });
    experiment.write("elements.bed", rows.collect::<String>());
    experiment.replace(
        "experiment.toml",
        "promoter = 100\n",
        "promoter = 100\ncandidates = { elements = \"elements.bed\", most = 2, element_length = 400 }\n",
    );
    experiment.replace(
        "experiment.toml",
        "kind = \"seq2exp_soft\"\nd_model = 8\nn_layer_generator = 1\nn_layer_predictor = 1",
        "kind = \"epinformer\"\nd_model = 32\nn_layer = 1\nn_candidates = 2\nelement_length = 400",
    );
    succeeds(&experiment, &["run", "experiment.toml", "-o", "result"]);
    let prepared = dataset::PreparedReader::open(experiment.path("result/data")).expect("prepared");
    let first = prepared.read(0).expect("an example");
    let candidates = first.candidates().expect("the settings name them");
    assert_eq!(candidates.list.len(), 1);
    // The middle of [tss + 250, tss + 290) is 270 bases away.
    assert_eq!(candidates.list[0].distance_kb, 0.27);
    assert!(experiment.read("result/predictions.tsv").lines().count() > N_GENES as usize);

    experiment.replace("experiment.toml", "most = 2", "most = 3");
    seq2exp()
        .current_dir(experiment.folder())
        .args(["check", "experiment.toml"])
        .assert()
        .failure()
        .stderr(contains(
            "data.candidates.most is 3 and model.n_candidates 2",
        ));
}
