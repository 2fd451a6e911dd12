use std::path::Path;

use genome::{
    BigWig, ContactMap, Fasta, Interval, Normalization, read_expression, read_gene_table,
    read_regions,
};

use dataset::{ExampleSource, Split};
use model::NetworkKind;

use super::*;
use crate::config::ExperimentConfig;

fn small() -> SimulationConfig {
    SimulationConfig {
        n_genes: 20,
        motif_mutation: 0.0,
        signal_noise: 0.0,
        expression_noise: 0.0,
        ..SimulationConfig::default()
    }
}

fn written(config: &SimulationConfig) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    simulate(config, folder.path()).unwrap();
    folder
}

fn all_files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn same_settings_give_the_same_bytes_and_another_seed_others() {
    let (first, second) = (written(&small()), written(&small()));
    let (first, second) = (all_files(first.path()), all_files(second.path()));
    assert_eq!(
        first.len(),
        14,
        "{:?}",
        first.iter().map(|f| &f.0).collect::<Vec<_>>()
    );
    assert!(first == second);
    let other = written(&SimulationConfig { seed: 2, ..small() });
    for ((name, a), (_, b)) in first.iter().zip(all_files(other.path())) {
        // Where genes lie does not depend on the seed.
        let is_fixed = [EXPERIMENT_FILE, DELTA_FILE, "genome.fa.gz.fai"].contains(&name.as_str());
        assert!(is_fixed || name.ends_with(".gzi") || *a != b, "{name}");
    }
}

#[test]
fn expression_is_the_documented_function_of_what_is_planted() {
    let config = small();
    let folder = written(&config);
    let expression = read_expression(folder.path().join("expression.tsv"), "gene", "tpm").unwrap();
    let truth = read_regions(folder.path().join(TRUTH_FILE)).unwrap();
    let genes = read_gene_table(folder.path().join("genes.tsv")).unwrap();
    assert_eq!(genes.len(), 20);
    let mut numbers_of_active = std::collections::BTreeSet::new();
    for gene in &genes {
        let count = |class: PlantedClass| {
            let is_own = |rest: &[String]| rest[0] == gene.symbol && rest[1] == class.name();
            truth.iter().filter(|region| is_own(&region.rest)).count() as f64
        };
        let active = count(PlantedClass::Active);
        // baseline 0.5, 0.4 per active element in full contact, a tenth of it out of contact
        let expected = 0.5 + 0.4 * active + 0.04 * count(PlantedClass::OutOfContact);
        let found = (expression.get(&gene.symbol).unwrap() + 1.0).log10();
        assert!(
            (found - expected).abs() < 1e-5,
            "{}: {found} {expected}",
            gene.symbol
        );
        numbers_of_active.insert(active as u64);
    }
    assert!(numbers_of_active.len() > 2);
}

#[test]
fn cues_lie_where_the_classes_say() {
    let config = small();
    let folder = written(&config);
    let path = |name: &str| folder.path().join(name);
    let genome = Fasta::open(path("genome.fa.gz")).unwrap();
    let tracks = ["dnase.bw", "h3k27ac.bw"].map(|name| BigWig::open(path(name)).unwrap());
    let contacts = ContactMap::open(path("contacts.cool"), 64, Normalization::None).unwrap();
    let mut n_found = [0; 5];
    for region in read_regions(path(TRUTH_FILE)).unwrap() {
        let interval = &region.interval;
        let class = PlantedClass::ALL
            .into_iter()
            .position(|class| class.name() == region.rest[1])
            .unwrap();
        n_found[class] += 1;
        // Motif, DNase, H3K27ac, in the order of PlantedClass::ALL.
        let [motif, dnase, h3k27ac] = [
            [true, true, true],
            [true, true, false],
            [true, true, true],
            [true, false, false],
            [false, true, true],
        ][class];
        let bases = String::from_utf8(genome.read_bases(interval).unwrap()).unwrap();
        assert_eq!(
            bases.matches("TGACGTCATCAG").count() == 3,
            motif,
            "{region:?}"
        );
        let middle = (interval.start() + interval.end()) / 2;
        let middle = Interval::try_new(interval.shared_chrom(), middle, middle + 1).unwrap();
        for (track, has) in tracks.iter().zip([dnase, h3k27ac]) {
            let height = track.read_values(&middle).unwrap()[0];
            assert_eq!(height > 0.1, has, "{region:?}: {height}");
        }
        let window = interval.start() / 1024 * 1024;
        let tss = window + 512;
        let profile = contacts
            .read_profile(interval.chrom(), tss, interval)
            .unwrap();
        // 40 and 4 expected: 12 is 4.4 standard deviations below the one and 4 above the other.
        match PlantedClass::ALL[class] {
            PlantedClass::Active => assert!(profile.contacts[0] > 12.0, "{region:?}"),
            PlantedClass::OutOfContact => assert!(profile.contacts[0] < 14.0, "{region:?}"),
            _ => {}
        }
        // Outside the promoter.
        assert!(interval.end() <= tss - 64 || interval.start() >= tss + 64);
    }
    assert!(n_found.iter().all(|n| *n > 5), "{n_found:?}");
}

#[test]
fn experiments_are_accepted_as_they_are() {
    let folder = written(&small());
    for (file, kind) in [
        (EXPERIMENT_FILE, NetworkKind::Seq2ExpSoft),
        (DELTA_FILE, NetworkKind::Seq2ExpDelta),
    ] {
        let config = ExperimentConfig::read(&folder.path().join(file), &[]).unwrap();
        assert_eq!(config.model.kind(), kind);
        let reader = dataset::ExampleReader::open(&config.data).unwrap();
        assert_eq!(reader.len(), 20);
        let splits = [Split::Train, Split::Valid, Split::Test].map(|s| reader.indices_of(s).len());
        assert_eq!(splits, [14, 3, 3]);
        let example = reader.read(0).unwrap();
        assert_eq!((example.length(), example.n_tracks()), (1024, 3));
        assert!(example.tracks().iter().all(|value| value.is_finite()));
    }
}
