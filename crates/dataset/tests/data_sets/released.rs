//! A miniature of the released data set, as it is, against pyfaidx, pyBigWig, h5py and pandas.
//!
//! Files and expected values: `python oracle/released_layout.py`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use dataset::{
    AbsentChrom, DataConfig, ExampleReader, ExampleSource, FileTable, PreparedReader, RegionCode,
    Released, SkipReason, describe_data, write_prepared,
};
use genome::{ChromSizes, Interval, write_bigwig};

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

#[test]
fn stored_contacts_may_lack_a_chromosome_or_have_it_under_another_name() {
    let contacts = tempfile::tempdir().unwrap();
    let of = |chrom: &str| contacts.path().join(format!("hic_feat_{chrom}.h5"));
    for chrom in ["chr1", "chr22"] {
        let from = folder().join(format!("promo_enhan_inter/HiC/K562/hic_feat_{chrom}.h5"));
        std::fs::copy(from, of(chrom)).unwrap();
    }
    let mut config = config(&folder(), "");
    let expected = ExampleReader::open(&config).unwrap();
    let on_chr3: Vec<bool> = expected
        .genes()
        .iter()
        .map(|gene| gene.chrom == "chr3")
        .collect();
    let n_on_chr3 = on_chr3.iter().filter(|is_there| **is_there).count();
    assert!(n_on_chr3 > 0);
    config.contact.as_mut().unwrap().path = Some(contacts.path().to_path_buf());
    let message = ExampleReader::open(&config).unwrap_err().to_string();
    let part = format!("no chromosome \"chr3\" ({n_on_chr3} genes); there are chr1, chr22;");
    assert!(message.contains(&part), "{message}");
    assert_eq!(FileTable::read(&config).problems, [message]);

    // Declared: no contact there, and what it was elsewhere.
    config.contact.as_mut().unwrap().absent = AbsentChrom::NoData;
    assert_eq!(FileTable::read(&config).problems, [""; 0]);
    let reader = ExampleReader::open(&config).unwrap();
    assert_eq!(reader.absent_chroms()["contact"]["chr3"], n_on_chr3);
    for (index, is_on_chr3) in on_chr3.iter().enumerate() {
        let (found, before) = (reader.read(index).unwrap(), expected.read(index).unwrap());
        for (row, row_before) in found
            .tracks()
            .chunks_exact(3)
            .zip(before.tracks().chunks_exact(3))
        {
            assert_eq!(row[..2], row_before[..2]);
            assert_eq!(row[2], if *is_on_chr3 { 0.0 } else { row_before[2] });
        }
    }

    // Under an alias the file is found; its data sets have the file's name of the chromosome too.
    std::fs::rename(of("chr1"), of("1")).unwrap();
    config.chrom_alias.insert("1".into(), "chr1".into());
    assert_eq!(FileTable::read(&config).problems, [""; 0]);
    let reader = ExampleReader::open(&config).unwrap();
    let message = reader.read(0).unwrap_err().to_string();
    assert!(
        message.contains("hic_feat_1.h5: 1_12345: no contact is stored for this start site"),
        "{message}"
    );
    assert!(message.ends_with("or give a contact map"), "{message}");
}

/// A folder with what H1 needs, made of the files of K562: genes by name, CAGE as a track.
fn h1_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pairs = folder.path().join("promo_enhan_inter");
    let copy = |from: &str, to: &str| {
        let to = folder.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(self::folder().join(from), to).unwrap();
    };
    let in_pairs = |name: &str| format!("promo_enhan_inter/{name}");
    for name in ["hg38/hg38.ml.fa", "hg38_blacklist_dict_v1.pkl"] {
        copy(name, name);
    }
    for (from, to) in [
        (
            "H3K27ac/K562/ENCFF465GBD.bigWig",
            "H3K27ac/H1/ENCFF771GNB.bigWig",
        ),
        (
            "DNase-seq/K562/ENCFF414OGC.bigWig",
            "DNase-seq/H1/ENCFF232GUZ.bigWig",
        ),
        ("HiC/K562/hic_feat_chr1.h5", "HiC/H1/hic_feat_chr1.h5"),
        ("HiC/K562/hic_feat_chr3.h5", "HiC/H1/hic_feat_chr3.h5"),
        ("HiC/K562/hic_feat_chr22.h5", "HiC/H1/hic_feat_chr22.h5"),
    ] {
        copy(&in_pairs(from), &in_pairs(to));
    }
    // Two genes of the miniature share a name; here each has its own.
    let named = |name: &str, to: &str| {
        let text = std::fs::read_to_string(self::folder().join(in_pairs(name))).unwrap();
        let lines = text
            .lines()
            .map(|line| match line.starts_with("ENSG00000000004") {
                true => line.replace("CCC3", "DDD4") + "\n",
                false => line.to_string() + "\n",
            });
        std::fs::write(pairs.join(to), lines.collect::<String>()).unwrap();
    };
    for table in [
        "GM12878_K562_18377_gene_expr_fromXpresso.csv",
        "leave_chrom_out_crossvalidation_split_18377genes.csv",
    ] {
        named(table, table);
    }
    std::fs::create_dir_all(pairs.join("H1_ABC/Neighborhoods")).unwrap();
    let list = "K562_DNase_ENCFF257HEE_hic_4DNFITUOMFUQ_1MB_ABC_nominated/DNase_ENCFF257HEE_Neighborhoods/GeneList.txt";
    named(list, "H1_ABC/Neighborhoods/GeneList.txt");
    let list = pairs.join("H1_ABC/Neighborhoods/GeneList.txt");
    let mut text = std::fs::read_to_string(&list).unwrap();
    for (number, name) in ["AAA1", "BBB2", "CCC3", "DDD4", "EEE5"].iter().enumerate() {
        text = text.replace(&format!("ENSG0000000000{}", number + 1), name);
    }
    std::fs::write(&list, text).unwrap();
    let sizes = [("chr1", 30_000), ("chr3", 15_000), ("chr22", 15_000)];
    let sizes = ChromSizes::new(
        sizes
            .map(|(name, length)| (name.to_string(), length))
            .into(),
    );
    // 2 a base at the start of chr1, up to the start site of BBB2 and 100 bases on.
    let row = (Interval::try_new("chr1", 0, 800).unwrap(), 2.0);
    std::fs::create_dir_all(pairs.join("CAGE/H1")).unwrap();
    write_bigwig(pairs.join("CAGE/H1/H1_CAGE_CNhs13964.bw"), &sizes, [row]).unwrap();
    folder
}

#[test]
fn released_h1_is_keyed_by_names_and_reads_its_cage_track() {
    let h1 = h1_folder();
    let text = format!("{{ \"folder\": {:?}, \"cell\": \"H1\" }}", h1.path());
    let released: Released = serde_json::from_str(&text).unwrap();
    let mut keys = released.data_keys();
    keys.insert("length".into(), 4_000.into());
    keys.insert("promoter".into(), 2.into());
    let reader = ExampleReader::open(&serde_json::from_value(keys.into()).unwrap()).unwrap();
    let k562 = ExampleReader::open(&config(&folder(), "")).unwrap();
    assert_eq!((reader.len(), reader.skipped().len()), (5, 1));
    // BBB2 starts at 700: [508, 892) has 800 - 508 bases of 2.
    let targets = [0.0, (2.0 * 292.0 + 1.0_f64).log10(), 0.0, 0.0, 0.0];
    for (index, target) in targets.into_iter().enumerate() {
        let (found, expected) = (reader.read(index).unwrap(), k562.read(index).unwrap());
        assert_eq!(found.gene().tss, expected.gene().tss);
        assert_eq!(found.split(), expected.split());
        assert_eq!(found.base_codes(), expected.base_codes());
        assert_eq!(found.tracks(), expected.tracks());
        assert_eq!(found.features(), expected.features());
        assert_eq!(found.target(), Some(target as f32));
    }
    let links = released.enhancer_links();
    assert!(
        links.ends_with("H1_ABC/Predictions/EnhancerPredictionsAllPutative.txt.gz"),
        "{}",
        links.display()
    );
    let rna = text.replace("\"H1\"", "\"H1\", \"target\": \"rna\"");
    let mut problems = Vec::new();
    let released: Released = serde_json::from_str(&rna).unwrap();
    released.validate(&mut problems);
    assert!(problems[0].contains("no RNA-seq of H1"), "{problems:?}");
}
