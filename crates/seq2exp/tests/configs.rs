//! The committed settings of the published rows.

use std::fs;
use std::path::{Path, PathBuf};

use model::{NetworkConfig, NetworkKind};
use seq2exp::benchmark::{Plan, published_row};
use seq2exp::config::ExperimentConfig;

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

/// The dotted paths of all values below a table.
fn paths(prefix: &str, value: &toml::Value, found: &mut Vec<String>) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                paths(&format!("{prefix}.{name}"), value, found);
            }
        }
        _ => found.push(prefix.to_owned()),
    }
}

fn paths_of(table: &toml::Table, section: &str) -> Vec<String> {
    let mut found = Vec::new();
    paths(section, &table[section], &mut found);
    found.sort();
    found
}

#[test]
fn every_network_has_a_complete_file_equal_to_its_preset() {
    for kind in NetworkKind::ALL {
        let path = configs().join(format!("{}.toml", kind.name()));
        let config = ExperimentConfig::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.name, kind.name());
        if let NetworkConfig::Retrained(fields) = &config.model {
            // Where `seq2exp run configs/seq2exp_soft.toml` writes, started above configs/.
            assert_eq!(fields.generator, configs().join("../out/seq2exp_soft"));
        }
        assert_eq!(
            config.model.differences(&kind.preset()),
            [""; 0],
            "{}",
            kind.name()
        );
        assert_eq!(config.seeds, [2, 22, 222, 2222, 22222]);
        let written: toml::Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let resolved: toml::Table = toml::from_str(&config.to_toml().unwrap()).unwrap();
        for section in ["model", "train"] {
            assert_eq!(
                paths_of(&written, section),
                paths_of(&resolved, section),
                "{}: a field of [{section}] is not written out",
                kind.name()
            );
        }
    }
}

#[test]
fn every_file_belongs_to_a_network() {
    // A data set's own file is called `<network>_<data set>.toml`.
    let is_of = |name: &str, kind: NetworkKind| {
        let rest = name.strip_prefix(kind.name());
        rest.is_some_and(|rest| rest.starts_with('_') || rest == ".toml")
    };
    for entry in fs::read_dir(configs()).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let has_network = NetworkKind::ALL.into_iter().any(|kind| is_of(&name, kind));
        assert!(name == "README.md" || has_network, "{name}");
    }
}

#[test]
fn every_benchmark_definition_is_sound_and_the_published_one_has_published_rows() {
    let definitions = configs().join("../benchmarks/definitions");
    for entry in fs::read_dir(&definitions).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        if !text.contains("[[model]]") {
            ExperimentConfig::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
            continue;
        }
        let plan = Plan::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(!plan.cells.is_empty(), "{}", path.display());
    }
    let paper = Plan::read(&definitions.join("paper.toml")).unwrap();
    assert_eq!(paper.datasets.len(), 2);
    // One fold, five seeds.
    assert_eq!(paper.cells.len(), 2 * 5 * paper.models.len());
    for name in &paper.models {
        for (_, published) in &paper.datasets {
            let data = published.expect("a published data set");
            assert!(published_row(data, name).is_some(), "{name}");
        }
    }
    for cell in &paper.cells {
        let config = &cell.config;
        let released = dataset::Released {
            folder: "GeneExp".into(),
            cell: match cell.dataset.as_str() {
                "K562" => dataset::ReleasedCell::K562,
                _ => dataset::ReleasedCell::GM12878,
            },
            fold: 11,
            target: dataset::ReleasedTarget::Cage,
        };
        // Each cell names the files that its network reads, so that a missing one fails no other row.
        let links = config.data.candidates.as_ref().map(|c| c.links.as_ref());
        match links {
            Some(links) => assert!(links.unwrap().ends_with(released.enhancer_links())),
            None => assert_ne!(cell.model, "epinformer"),
        }
        assert_eq!(
            links.is_some(),
            cell.model == "epinformer",
            "{}",
            cell.model
        );
        assert_eq!(config.data.peaks.len(), usize::from(cell.model == "macs3"));
        assert_eq!(
            config.model.differences(&config.model.kind().preset()),
            [""; 0]
        );
    }
}
