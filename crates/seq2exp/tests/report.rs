//! A report of a realistic run: complete, offline, escaped and light.

use dataset::{RegionCode, Split, Window};
use genome::Strand;
use seq2exp::discover::{DiscoverConfig, GeneElement, GeneMaskSummary};
use seq2exp::elements::{MaskedWindow, find_elements, selection_limit};
use seq2exp::metric::Estimate;
use seq2exp::report::{
    FactGroup, GenePicture, MetricKind, MetricRow, Neighbour, PredictionPoint, ReportInput,
    TrainingCurve, TrainingStep, ValidationStep, choose_genes, render_report, write_report,
};

const HOSTILE: &str = "<script>alert(\"1\")</script>";

/// A plain deterministic sequence in [0, 1), enough for pictures.
fn noise(index: u64) -> f64 {
    let mixed = (index ^ 0x9e37_79b9).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 40) as f64 / (1_u64 << 24) as f64
}

fn training(seed: u64) -> TrainingCurve {
    let steps = (1..=600)
        .map(|step| {
            let progress = step as f64 / 600.0;
            let jitter = 0.5 + noise(seed * 1000 + step);
            let prediction_loss = (0.08 + 0.9 * (-4.0 * progress).exp()) * jitter;
            let kl = 12.0 * (-3.0 * progress).exp() + 1.5 + 0.4 * noise(seed * 77 + step);
            TrainingStep {
                step,
                loss: prediction_loss + 0.01 * kl,
                prediction_loss,
                kl: Some(kl),
            }
        })
        .collect();
    let validations = (1..=30)
        .map(|index| {
            let progress = index as f64 / 30.0;
            let mse = 0.35 + 0.8 * (-5.0 * progress).exp() + 0.25 * progress * progress;
            ValidationStep {
                step: index * 20,
                mse: mse + 0.05 * noise(seed * 31 + index),
            }
        })
        .collect();
    TrainingCurve {
        seed,
        steps,
        validations,
        best_step: Some(340 + 20 * (seed % 3)),
    }
}

fn predictions() -> Vec<PredictionPoint> {
    (0..75)
        .map(|index| {
            let observed = (2.6 * noise(index) - 0.5).max(0.0);
            let error = noise(index + 500) - 0.5;
            let split = match index {
                0..12 => Split::Test,
                12..29 => Split::Valid,
                _ => Split::Train,
            };
            let scale = if split == Split::Train { 0.5 } else { 1.3 };
            PredictionPoint {
                symbol: match index {
                    1 => HOSTILE.to_string(),
                    2 => "ANKRD62P1-PARP4P3".to_string(),
                    _ => format!("GENE{index}"),
                },
                split,
                observed: (index % 19 != 0).then_some(observed),
                predicted: 0.25 + 0.7 * observed + scale * error,
                spread: Some(0.05 + 0.1 * noise(index + 900)),
            }
        })
        .collect()
}

fn score(value: f64, reach: f64) -> Estimate {
    Estimate {
        value: Some(value),
        low: Some(value - reach),
        high: Some(value + 0.8 * reach),
    }
}

fn metrics() -> Vec<MetricRow> {
    let row = |label: &str, kind, split, n_genes, mse: f64, pearson: f64, reach: f64| MetricRow {
        label: label.to_string(),
        kind,
        split,
        n_genes,
        mse: score(mse, 0.5 * reach),
        mae: score(mse.sqrt() * 0.8, 0.3 * reach),
        pearson: score(pearson, reach),
        spearman: score(pearson - 0.04, reach),
    };
    let mut rows = Vec::new();
    for (split, n_genes, ours, r) in [
        (Split::Test, 12, 0.36, 0.71),
        (Split::Valid, 17, 0.41, 0.62),
        (Split::Train, 37, 0.09, 0.95),
    ] {
        let reach = 1.0 / f64::from(n_genes).sqrt();
        let n = n_genes as usize;
        rows.push(row(
            "Seq2Exp-soft, mean of 3 seeds",
            MetricKind::Network,
            split,
            n,
            ours,
            r,
            reach,
        ));
        rows.push(row(
            "mRNA features only",
            MetricKind::Baseline,
            split,
            n,
            0.58,
            0.41,
            reach,
        ));
        rows.push(MetricRow {
            pearson: Estimate {
                value: None,
                low: None,
                high: None,
            },
            spearman: Estimate {
                value: None,
                low: None,
                high: None,
            },
            ..row(
                "training mean",
                MetricKind::Baseline,
                split,
                n,
                0.71,
                0.0,
                reach,
            )
        });
    }
    rows
}

/// Tracks with peaks, a contact profile that falls with distance, and a mask that follows both.
fn gene_arrays(window: &Window, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let length = window.length() as usize;
    let tss = length as f64 / 2.0;
    let peaks: Vec<(f64, f64, f64)> = (0..14)
        .map(|index| {
            let place = noise(seed * 100 + index) * length as f64;
            (
                place,
                250.0 + 600.0 * noise(seed * 200 + index),
                30.0 * noise(seed * 300 + index),
            )
        })
        .chain([(tss, 700.0, 34.0)])
        .collect();
    let (mut tracks, mut mask) = (Vec::with_capacity(3 * length), Vec::with_capacity(length));
    for offset in 0..length {
        let place = offset as f64;
        let inside = window.position_at(offset).is_some();
        let height: f64 = peaks
            .iter()
            .filter(|(centre, width, _)| (place - centre).abs() < *width)
            .map(|(_, _, height)| height)
            .sum();
        let bin = ((place / 5_000.0).floor() + 0.5) * 5_000.0;
        let contact = (4_000.0 / ((bin - tss).abs() + 5_000.0) * 60.0 + 1.0).log10();
        let dnase = if height > 8.0 {
            height * 0.12 + 0.2
        } else {
            0.0
        };
        let values = [height, dnase, contact].map(|value| if inside { value as f32 } else { 0.0 });
        tracks.extend(values);
        let near = (-(place - tss).abs() / 60_000.0).exp();
        let value = 0.08 + 0.02 * height * near + 0.04 * noise(seed * 999 + offset as u64 / 40);
        let is_promoter = (place - tss).abs() < 1_000.0;
        mask.push(if is_promoter {
            1.0
        } else {
            value.clamp(0.0, 1.0) as f32
        });
    }
    (tracks, mask)
}

fn input(length: u64) -> ReportInput {
    let track_names: Vec<String> = ["H3K27ac", "DNase", "Hi-C contact, log10(x + 1)"]
        .map(str::to_string)
        .to_vec();
    let discover = DiscoverConfig::default();
    let predictions = predictions();
    let mut input = ReportInput {
        name: "k562_chr22".to_string(),
        summary: "Seq2Exp-soft trained on 37 genes of K562 chr22 (hg38), with H3K27ac, DNase and Hi-C; three seeds."
            .to_string(),
        command: "seq2exp run examples/k562_chr22/experiment.toml".to_string(),
        facts: ["Data", "Model", "Machine", "Provenance"]
            .into_iter()
            .map(|title| FactGroup {
                title: title.to_string(),
                rows: vec![
                    ("window".to_string(), "40,000 bp".to_string()),
                    ("sha256".to_string(), "9f86d081884c7d659a2feaa0c55ad015".repeat(2)),
                    ("seeds".to_string(), "2, 22, 222".to_string()),
                ],
            })
            .collect(),
        notes: vec!["9 of 75 genes have no measured expression and were left out.".to_string()],
        target: "log10(TPM + 1)".to_string(),
        training: [2, 22, 222].map(training).to_vec(),
        metrics: metrics(),
        interval_level: 0.95,
        discover: Some(discover),
        track_names: track_names.clone(),
        ..ReportInput::default()
    };
    let drawn = choose_genes(&predictions, 4);
    for (index, symbol) in drawn.iter().enumerate() {
        let tss = if index == 1 {
            length / 3
        } else {
            20_000_000 + index as u64 * 1_234_567
        };
        let window = Window::centered_on("chr22", tss, length, 50_818_468).expect("a valid window");
        let strand = if index % 2 == 0 {
            Strand::Forward
        } else {
            Strand::Reverse
        };
        let (tracks, mask) = gene_arrays(&window, index as u64 + 3);
        let regions = vec![RegionCode::Keep; length as usize];
        let gene = MaskedWindow::try_new(symbol, &window, strand, 2_000, &regions, &mask)
            .and_then(|gene| gene.with_tracks(&tracks, 3))
            .expect("mask and tracks fit the window");
        let elements = find_elements(&gene, &discover);
        let limit = selection_limit(&gene, discover.select);
        input.masks.push(GeneMaskSummary {
            symbol: symbol.clone(),
            mask_ratio: gene.mask_ratio(),
            chosen_ratio: gene.chosen_ratio(),
            limit,
            element_ratio: gene.element_ratio(&elements),
            n_elements: elements.len(),
            mask_file: "masks/x.bw".into(),
        });
        input
            .elements
            .extend((1..).zip(&elements).map(|(number, element)| GeneElement {
                symbol: symbol.clone(),
                strand,
                number,
                element: element.clone(),
            }));
        let point = predictions.iter().find(|point| &point.symbol == symbol);
        input.genes.push(GenePicture {
            split: point.map(|point| point.split),
            observed: point.and_then(|point| point.observed),
            predicted: point.map(|point| point.predicted),
            neighbours: [(HOSTILE, 0.31), ("DGCR8", 0.32), ("COMT", 0.72)]
                .map(|(symbol, share)| Neighbour {
                    symbol: symbol.to_string(),
                    tss: (window.start() + (share * length as f64) as i64).max(0) as u64,
                    strand: Strand::Forward,
                })
                .to_vec(),
            ..GenePicture::new(&gene, &tracks, &track_names, elements, limit)
        });
    }
    input.predictions = predictions;
    input
}

#[test]
fn report_of_200_kb_windows_is_offline_escaped_and_light() {
    let html = render_report(&input(200_000));
    assert!(html.len() < 2_000_000, "{} bytes", html.len());
    for forbidden in ["http", "<script", "src=", "url(", "@import", "NaN"] {
        assert!(!html.contains(forbidden), "the report holds {forbidden}");
    }
    assert!(
        html.contains("&lt;script&gt;"),
        "the hostile name is shown as text"
    );
    for expected in [
        "k562_chr22",
        "log10(TPM + 1)",
        "Seq2Exp-soft, mean of 3 seeds",
        "seed 222",
        "chr22:",
        "from the TSS",
        "mRNA features only",
        "seq2exp run examples",
    ] {
        assert!(html.contains(expected), "the report lacks {expected}");
    }
}

#[test]
fn report_is_the_same_every_time_and_replaces_an_older_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("report.html");
    std::fs::write(&path, "old").expect("the folder is writable");
    let input = input(40_000);
    write_report(&path, &input).expect("the folder is writable");
    let written = std::fs::read_to_string(&path).expect("the report is there");
    assert_eq!(written, render_report(&input));
    // Left for people to look at: target/tmp/report.html.
    std::fs::write(
        format!("{}/report.html", env!("CARGO_TARGET_TMPDIR")),
        written,
    )
    .expect("the target folder is writable");
}

#[test]
fn report_in_a_missing_folder_is_an_error_with_the_path() {
    let error = write_report(
        "no/such/folder/report.html".as_ref(),
        &ReportInput::default(),
    )
    .expect_err("the folder does not exist");
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn report_survives_values_that_are_not_numbers() {
    let mut input = input(2_001);
    for curve in &mut input.training {
        for step in &mut curve.steps {
            step.loss = f64::NAN;
        }
        curve.validations.truncate(1);
    }
    for point in &mut input.predictions {
        point.predicted = f64::INFINITY;
    }
    for gene in &mut input.genes {
        for track in &mut gene.tracks {
            track.values.fill(f32::NAN);
        }
        gene.mask.truncate(7);
        gene.limit = Some(f32::NAN);
    }
    for row in &mut input.metrics {
        row.mse.value = Some(f64::NAN);
        row.pearson.value = None;
    }
    let html = render_report(&input);
    assert!(
        !html.contains("NaN") && !html.contains("inf"),
        "no number is printed raw"
    );
}
