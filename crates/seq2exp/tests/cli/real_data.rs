//! Real data sets that lie beside the repository, from files to report by their configuration.

use std::path::{Path, PathBuf};

use crate::seq2exp;

/// The configuration of a data set, or nothing, with a message, when the data set is not there.
fn config_of(name: &str) -> Option<PathBuf> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = crate_folder.join("../../../shared/data").join(name);
    if !data.is_dir() {
        println!("skipped: there is no {}", data.display());
        return None;
    }
    Some(
        crate_folder
            .join("tests/configs")
            .join(name)
            .with_extension("toml"),
    )
}

/// Runs the whole experiment and returns its output folder.
fn run(config: &Path) -> tempfile::TempDir {
    let output = tempfile::tempdir().expect("a temporary folder");
    let result = seq2exp()
        .arg("run")
        .arg(config)
        .arg("-o")
        .arg(output.path().join("result"))
        .output()
        .expect("the binary starts");
    assert!(
        result.status.success(),
        "{}",
        String::from_utf8_lossy(&result.stderr)
    );
    output
}

fn read(output: &tempfile::TempDir, name: &str) -> String {
    let path = output.path().join("result").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest(output: &tempfile::TempDir) -> serde_json::Value {
    serde_json::from_str(&read(output, "data/manifest.json")).expect("JSON")
}

/// Genes of the predictions by split, and the lines of the header.
fn predicted_splits(output: &tempfile::TempDir) -> ([usize; 3], String) {
    let text = read(output, "predictions.tsv");
    let count = |split: &str| {
        let field = format!("\t{split}\t");
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        rows.filter(|line| line.contains(&field)).count()
    };
    let header = text.lines().filter(|line| line.starts_with('#'));
    (
        ["train", "valid", "test"].map(count),
        header.collect::<Vec<_>>().join("\n"),
    )
}

#[test]
fn k562_multilocus_runs_from_files_to_report() {
    let Some(config) = config_of("k562_multilocus") else {
        return;
    };
    let output = run(&config);
    let manifest = manifest(&output);
    let description = &manifest["description"];
    // SOURCES.md of the data: protein-coding genes with TPM, by split.
    assert_eq!(
        description["examples"],
        serde_json::json!({ "train": 77, "valid": 37, "test": 57 })
    );
    // 199 genes, 81 + 37 + 57 of them protein-coding, of which 77 + 37 + 57 were measured.
    assert_eq!(
        description["left_out"],
        serde_json::json!({ "gene_type": 24, "no_expression": 4, "not_listed": 0, "overlaps": 0 })
    );
    assert_eq!(description["contact"], "power_law");
    let overlaps = description["overlaps"].as_array().expect("a list");
    assert!(overlaps.iter().all(|row| row["n_windows"] == 0));
    let (splits, header) = predicted_splits(&output);
    assert_eq!(splits, [77, 37, 57]);
    assert!(header.contains("contact=power_law"), "{header}");
    for name in ["elements.bed.gz", "elements.bed.gz.tbi", "report.html"] {
        let path = output.path().join("result").join(name);
        assert!(path.metadata().is_ok_and(|file| file.len() > 0), "{name}");
    }
}

#[test]
fn cage_windows_run_from_files_to_report() {
    let Some(config) = config_of("cage_windows") else {
        return;
    };
    let output = run(&config);
    let manifest = manifest(&output);
    let description = &manifest["description"];
    assert_eq!(
        description["tracks"],
        serde_json::json!(["cage_plus", "cage_minus", "dnase_gm12865", "rna_k562"])
    );
    assert_eq!(description["contact"], "absent");
    // The table's own columns say which genes can be examples.
    let table = config.with_file_name("../../../../../shared/data/cage_windows/genes.tsv");
    let table = std::fs::read_to_string(table).expect("the gene table");
    let expected = ["train", "valid", "test"].map(|split| {
        let fields = |line: &str| line.split('\t').map(str::to_string).collect::<Vec<_>>();
        let rows = table.lines().skip(1).map(fields);
        rows.filter(|row| row[6] != "NA" && row[7] == split).count()
    });
    assert!(expected.iter().sum::<usize>() > 20, "{expected:?}");
    let (splits, header) = predicted_splits(&output);
    assert_eq!(splits, expected);
    assert!(!header.contains("contact="), "{header}");
    // The constants of [data] are those of the trained network.
    let config = read(&output, "config.toml");
    let config: toml::Table = config.parse().expect("TOML");
    let mask = &config["model"]["mask"];
    let numbers = |field: &str| -> Vec<f64> {
        let values = mask[field].as_array().expect("a list").iter();
        values.filter_map(toml::Value::as_float).collect()
    };
    let close = |found: Vec<f64>, expected: [f64; 4]| {
        found.len() == 4
            && found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6)
    };
    assert!(close(numbers("track_beta"), [1.0, 1.0, 0.2, 1.0]), "{mask}");
    assert!(
        close(numbers("track_weight"), [0.2, 0.2, 0.4, 0.2]),
        "{mask}"
    );
}
