//! The K562 example against pyfaidx, pyBigWig and cooler.
//!
//! Expected values: `python oracle/dataset_expected.py` (pyfaidx 0.9.2.2, pyBigWig 0.3.29,
//! cooler 0.11.0).

use std::path::{Path, PathBuf};

use dataset::{DataConfig, ExampleReader, ExampleSource, Split, SplitCounts};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/k562_chr22")
}

fn open(contact: &str, features: &str, split: &str) -> ExampleReader {
    let text = format!(
        r#"
genome = "genome.fa.gz"
genes = "genes.tsv"
{features}
expression = {{ path = "expression.tsv", value = "tpm" }}
contact = {{ {contact} }}
length = 20000
split = {{ {split} }}
tracks = [
  {{ name = "h3k27ac", path = "h3k27ac.bw" }},
  {{ name = "dnase", path = "dnase.bw" }},
]
"#
    );
    let config: DataConfig = toml::from_str(&text).unwrap();
    ExampleReader::open(&config.resolve(&folder())).unwrap()
}

const TABLE: &str = "mrna_features = \"mrna_features.tsv\"";
const GTF: &str = "annotation = \"genes.gtf.gz\"";
const COLUMN: &str = "by = \"column\"";
const RAW: &str = "path = \"hic.mcool\"";

/// Relative, of values above 1, else absolute: sums of 20,000 f32 values, each rounded once, and
/// features that are standardised by a mean and a deviation in f32.
const TOLERANCE: f64 = 1e-6;

/// As above, for features made of the table's values, which have four decimals.
const TOLERANCE_TABLE: f64 = 1e-4;

fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let tolerance = tolerance * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found} against {expected}"
    );
}

/// What the oracle prints for one gene.
struct Expected {
    symbol: &'static str,
    split: Split,
    n_bases: [usize; 4],
    first_bases: &'static str,
    last_bases: &'static str,
    /// sum, value at the start site
    h3k27ac: [f64; 2],
    dnase: [f64; 2],
    /// sum, first, at the start site, last
    contact: [f64; 4],
    contact_weight: [f64; 4],
    features: [f64; 9],
    target: f64,
}

const EXPECTED: [Expected; 5] = [
    Expected {
        symbol: "XKR3",
        split: Split::Valid,
        n_bases: [6430, 3762, 3352, 6456],
        first_bases: "CTTTCTTATTAA",
        last_bases: "GTACACGG",
        h3k27ac: [227604.95434570312, 0.0],
        dnase: [151517.54612350464, 0.0],
        contact: [
            43884.26279859137,
            1.7160136095327094,
            2.620137335146932,
            1.5797976446264648,
        ],
        contact_weight: [
            2093.9088902869144,
            0.018010269376258436,
            0.2355566524289318,
            0.030064555380855607,
        ],
        features: [
            -0.0733419901560254,
            0.08800452760363627,
            0.6546345270892832,
            -1.1612717072464294,
            0.3981,
            0.3987,
            0.2429,
            1.4524,
            0.0,
        ],
        target: 0.9694159123539814,
    },
    Expected {
        symbol: "COMT",
        split: Split::Train,
        n_bases: [5184, 4889, 4875, 5052],
        first_bases: "CAATCCTTCCAC",
        last_bases: "GAAGTGGG",
        h3k27ac: [9480597.4605484, 3651.45068359375],
        dnase: [2337729.394470215, 682.1271362304688],
        contact: [
            55597.984790290815,
            2.2552754708320726,
            3.228143923288343,
            2.136724463730172,
        ],
        contact_weight: [
            1136.1286903242362,
            0.019159846596764812,
            0.09584251928751308,
            0.014085389010106796,
        ],
        features: [
            0.7367817153604738,
            -0.8540632710182846,
            0.49865939834728823,
            0.5863370612944845,
            0.7461,
            0.6187,
            0.5539,
            3.69,
            1578.2121523694436,
        ],
        target: 2.299005816450637,
    },
    Expected {
        symbol: "PRODH", // no contact at its start site: no usable Hi-C
        split: Split::Train,
        n_bases: [5353, 5243, 4896, 4508],
        first_bases: "AGGGTACCTGGC",
        last_bases: "GGGACATG",
        h3k27ac: [0.0, 0.0],
        dnase: [0.0, 0.0],
        contact: [0.0; 4],
        contact_weight: [0.0; 4],
        features: [
            0.5125782219187087,
            0.5670821736868507,
            0.4097874049094023,
            -0.5383948792957111,
            0.6692,
            0.6289,
            0.6288,
            7.2222,
            0.0,
        ],
        target: 0.0,
    },
    Expected {
        symbol: "HIC2",
        split: Split::Test,
        n_bases: [4095, 4978, 5695, 5232],
        first_bases: "TCACTAGCCCAG",
        last_bases: "TGATTTGC",
        h3k27ac: [61791.60118103027, 17.654743194580078],
        dnase: [163403.8543701172, 0.0],
        contact: [0.0; 4],
        contact_weight: [0.0; 4],
        features: [
            0.7203408061336416,
            0.6112465290424594,
            -0.6469777253132346,
            1.9020293545091695,
            0.6317,
            0.6515,
            0.566,
            0.542,
            38.99154594394431,
        ],
        target: 1.4967913157000425,
    },
    Expected {
        symbol: "FAM230B", // no coding transcript
        split: Split::Test,
        n_bases: [6140, 3642, 3763, 6455],
        first_bases: "AAAAGATTACTA",
        last_bases: "CGATCTAA",
        h3k27ac: [0.0, 0.0],
        dnase: [0.0, 0.0],
        contact: [0.0; 4],
        contact_weight: [0.0; 4],
        features: [
            0.0,
            0.0,
            0.0,
            0.0,
            0.7175677419354837,
            0.6228363636363636,
            0.5659060606060606,
            5.244827272727274,
            0.0,
        ],
        target: 0.28330122870354957,
    },
];

fn index_of(reader: &ExampleReader, symbol: &str) -> usize {
    reader
        .genes()
        .iter()
        .position(|gene| gene.symbol == symbol)
        .unwrap()
}

fn summary(column: &[f64]) -> [f64; 4] {
    let last = column.len() - 1;
    [
        column.iter().sum(),
        column[0],
        column[column.len() / 2],
        column[last],
    ]
}

#[test]
fn examples_equal_those_of_other_tools() {
    let raw = open(RAW, TABLE, COLUMN);
    let weighted = open(
        "path = \"hic.mcool\", normalization = \"weight\"",
        TABLE,
        COLUMN,
    );
    assert_eq!(raw.len(), 66);
    assert_eq!(raw.skipped().len(), 9);
    let counts = SplitCounts::of(&raw);
    assert_eq!(
        counts,
        SplitCounts {
            train: 37,
            valid: 17,
            test: 12
        }
    );
    assert_eq!(raw.feature_scaling().n_genes, 33);

    for expected in &EXPECTED {
        let symbol = expected.symbol;
        let index = index_of(&raw, symbol);
        let example = ExampleReader::read(&raw, index).unwrap();
        assert_eq!(example.split(), expected.split, "{symbol}");
        let letters: String = example
            .base_codes()
            .iter()
            .map(|&code| char::from(b"ACGTN"[code as usize]))
            .collect();
        assert!(letters.starts_with(expected.first_bases), "{symbol}");
        assert!(letters.ends_with(expected.last_bases), "{symbol}");
        let n_bases = ["A", "C", "G", "T"].map(|base| letters.matches(base).count());
        assert_eq!(n_bases, expected.n_bases, "{symbol}");

        let column = |tracks: &[f32], column: usize| -> Vec<f64> {
            tracks
                .iter()
                .skip(column)
                .step_by(3)
                .map(|value| f64::from(*value))
                .collect()
        };
        for (index, track) in [expected.h3k27ac, expected.dnase].iter().enumerate() {
            let [sum, _, at_tss, _] = summary(&column(example.tracks(), index));
            assert_close(sum, track[0], TOLERANCE, symbol);
            assert_close(at_tss, track[1], TOLERANCE, symbol);
        }
        let weighted = ExampleReader::read(&weighted, index).unwrap();
        for (tracks, contact) in [
            (example.tracks(), expected.contact),
            (weighted.tracks(), expected.contact_weight),
        ] {
            for (found, expected) in summary(&column(tracks, 2)).iter().zip(contact) {
                assert_close(*found, expected, TOLERANCE, &format!("{symbol} contact"));
            }
        }
        for (found, expected) in example.features().iter().zip(expected.features) {
            assert_close(
                f64::from(*found),
                expected,
                TOLERANCE,
                &format!("{symbol} features"),
            );
        }
        let target = f64::from(example.target().unwrap());
        assert_close(target, expected.target, TOLERANCE, symbol);
    }
}

#[test]
fn features_from_the_annotation_equal_those_of_the_table() {
    let (table, computed) = (open(RAW, TABLE, COLUMN), open(RAW, GTF, COLUMN));
    for index in 0..table.len() {
        let (a, b) = (
            ExampleReader::read(&table, index).unwrap(),
            ExampleReader::read(&computed, index).unwrap(),
        );
        for (found, expected) in b.features().iter().zip(a.features()) {
            let what = format!("{} {:?}", a.gene().symbol, b.features());
            assert_close(
                f64::from(*found),
                f64::from(*expected),
                TOLERANCE_TABLE,
                &what,
            );
        }
    }
}

#[test]
fn hic_and_mcool_give_the_same_examples() {
    let (mcool, hic) = (
        open(RAW, TABLE, COLUMN),
        open("path = \"hic.hic\"", TABLE, COLUMN),
    );
    for index in 0..mcool.len() {
        assert_eq!(
            ExampleReader::read(&mcool, index).unwrap(),
            ExampleReader::read(&hic, index).unwrap()
        );
    }
}

#[test]
fn blocks_leave_one_out_cover_every_gene_once() {
    let mut n_tested = 0;
    for test_block in 0..5 {
        let split = format!("by = \"blocks\", n_blocks = 5, test_block = {test_block}");
        let reader = open(RAW, TABLE, &split);
        n_tested += reader.indices_of(Split::Test).len();
        for overlap in reader.split_overlaps() {
            assert_eq!(overlap.n_windows, 0, "block {test_block}: {overlap:?}");
        }
        // Nothing is lost unseen: 75 genes are examples or listed.
        assert_eq!(reader.len() + reader.skipped().len(), 75);
    }
    assert_eq!(n_tested, 66);
}
