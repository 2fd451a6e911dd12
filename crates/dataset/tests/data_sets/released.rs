//! A miniature of the released data set, as it is, against pyfaidx, pyBigWig, h5py and pandas.
//!
//! Files and expected values: `python oracle/released_layout.py`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dataset::{
    DataConfig, ExampleReader, ExampleSource, PreparedReader, RegionCode, Released, SkipReason,
    describe_data, write_prepared,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/released")
}

/// The configuration of the folder, with windows that fit the miniature's profiles of 6,000 bases.
fn config(folder: &Path, more: &str) -> DataConfig {
    let text = format!("{{ \"folder\": {folder:?}, \"cell\": \"K562\"{more} }}");
    let released: Released = serde_json::from_str(&text).unwrap();
    let mut keys = released.data_keys();
    keys.insert("length".into(), 4_000.into());
    keys.insert("promoter".into(), 2.into());
    serde_json::from_value(keys.into()).unwrap()
}

/// Relative: sums of 4,000 values in single precision.
const RTOL: f64 = 2e-6;

fn assert_close(found: f64, expected: &str, what: &str) {
    let expected: f64 = expected.parse().unwrap();
    let tolerance = RTOL * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found} against {expected}"
    );
}

#[test]
fn released_folder_gives_what_its_own_loader_gives() {
    let table = std::fs::read_to_string(folder().join("expected.tsv")).unwrap();
    let reader = ExampleReader::open(&config(&folder(), "")).unwrap();
    let rna = ExampleReader::open(&config(&folder(), ", \"target\": \"rna\"")).unwrap();
    let rows: Vec<Vec<&str>> = (table.lines().skip(2))
        .map(|line| line.split('\t').collect())
        .collect();
    assert_eq!((rows.len(), reader.genes().len()), (5, 5));
    for (index, row) in rows.iter().enumerate() {
        let example = reader.read(index).unwrap();
        let gene = row[0];
        assert_eq!(example.gene().gene_id, gene);
        assert_eq!(example.split().name(), row[1], "{gene}");
        let every_97th: String = (example.base_codes().iter().step_by(97))
            .map(|code| char::from(b"ACGTN"[usize::from(*code)]))
            .collect();
        assert_eq!(every_97th, row[2], "{gene}");
        let weighted = |column: usize| -> f64 {
            (example.tracks().chunks_exact(3).zip(1..))
                .map(|(values, weight)| f64::from(values[column]) * f64::from(weight))
                .sum()
        };
        for (column, name) in ["h3k27ac", "dnase", "contact"].iter().enumerate() {
            assert_close(weighted(column), row[3 + column], &format!("{gene} {name}"));
        }
        let blocked: usize = (example.regions().iter().zip(1..))
            .filter(|(code, _)| **code == RegionCode::Zero)
            .map(|(_, weight)| weight)
            .sum();
        assert_eq!(blocked.to_string(), row[6], "{gene}");
        for (feature, expected) in example.features().iter().zip(row[7].split(',')) {
            assert_close(f64::from(*feature), expected, gene);
        }
        assert_close(f64::from(example.target().unwrap()), row[8], gene);
        let target = rna.read(index).unwrap().target().unwrap();
        assert_close(f64::from(target), row[9], gene);
    }
    // GeneList.txt has a gene that the split table lacks, on a chromosome that the genome lacks.
    assert_eq!(reader.skipped().len(), 1);
    assert_eq!(reader.skipped()[0].reason, SkipReason::NotListed);
}

#[test]
fn released_folder_can_be_prepared_and_read_back() {
    let reader = ExampleReader::open(&config(&folder(), "")).unwrap();
    let output = tempfile::tempdir().unwrap();
    write_prepared(
        &reader,
        output.path(),
        &mut |_, _| ControlFlow::Continue(()),
    )
    .unwrap();
    let prepared = PreparedReader::open(output.path()).unwrap();
    for index in 0..reader.len() {
        assert_eq!(prepared.read(index).unwrap(), reader.read(index).unwrap());
    }
    // The folder of the contacts is one source, with the size of its three files.
    let description = describe_data(&reader).unwrap();
    let contact = (description.sources.iter())
        .find(|source| source.role == "contact")
        .unwrap();
    assert_eq!(contact.size_bytes, 98_048 + 98_048 + 50_048); // ls -l
}

#[test]
fn released_enhancer_links_are_read_as_they_are() {
    let text = format!("{{ \"folder\": {:?}, \"cell\": \"K562\" }}", folder());
    let released: Released = serde_json::from_str(&text).unwrap();
    let links = genome::read_enhancer_links(released.enhancer_links(), |link| {
        link.gene == "ENSG00000000001" && link.distance > 1_000.0
    })
    .unwrap();
    // Three elements at -9,000, 3,000 and 800 bases of the start site 12,345; each is 500 bases long.
    let found: Vec<_> = (links.iter())
        .map(|link| (link.element.start(), link.distance, link.contact))
        .collect();
    assert_eq!(
        found,
        [
            (3_345, 8_750.0, Some(0.5)),
            (15_345, 3_250.0, None),
            (13_145, 1_050.0, Some(2.5))
        ]
    );
}

#[test]
fn released_folder_names_every_missing_file_at_once() {
    let empty = tempfile::tempdir().unwrap();
    let error = ExampleReader::open(&config(empty.path(), "")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("10 file(s) are missing: genome "),
        "{message}"
    );
    for part in [
        "hg38/hg38.ml.fa",
        "Neighborhoods/GeneList.txt",
        "GM12878_K562_18377_gene_expr_fromXpresso.csv",
        "H3K27ac/K562/ENCFF465GBD.bigWig",
        "DNase-seq/K562/ENCFF414OGC.bigWig",
        "HiC/K562",
        "hg38_blacklist_dict_v1.pkl",
        "leave_chrom_out_crossvalidation_split_18377genes.csv",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn released_window_wider_than_the_stored_contacts_is_an_error() {
    let mut config = config(&folder(), "");
    config.length = 6_002;
    let reader = ExampleReader::open(&config).unwrap();
    let message = reader.read(0).unwrap_err().to_string();
    assert!(
        message.contains("chr1_12345: the window is wider than the stored profile"),
        "{message}"
    );
}
