//! The walk of one gene, step by step, on a genome of 600 bases: a tutorial that is checked.
//!
//! ARCHITECTURE.md draws the same walk. Every expected number is worked out by hand beside it.

use std::path::Path;

use burn::tensor::Device;
use dataset::{DataConfig, ExampleReader, RegionCode, Split, Window};
use genome::{BigWig, ChromSizes, Fasta, Interval, Strand, read_gene_table, write_bigwig};
use model::{Network, NetworkConfig, Pass};
use seq2exp::batch::{Batch, read_values};
use seq2exp::discover::DiscoverConfig;
use seq2exp::elements::{ElementClass, MaskedWindow, find_elements};

/// Bases of the only contig.
const CHROM_LENGTH: u64 = 600;
/// Window and promoter of this tutorial, in bases.
const LENGTH: u64 = 100;
const PROMOTER: u64 = 20;

#[test]
fn walk_of_one_gene_from_files_to_elements() {
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/walk");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    for name in ["genome.fa", "genes.tsv", "expression.tsv"] {
        std::fs::copy(inputs.join(name), scratch.path().join(name)).expect(name);
    }

    // A row of the gene table is a gene. Its start site is 0-based: the first transcribed base.
    let genes = read_gene_table(scratch.path().join("genes.tsv")).expect("a gene table");
    let gene = &genes[0];
    assert_eq!(
        (gene.symbol.as_str(), gene.tss, gene.strand),
        ("LEFT", 40, Strand::Forward)
    );

    // Its window is centred on the start site: 40 - 50 = -10 to 90. Ten bases lie before the contig.
    let window =
        Window::centered_on(&gene.chrom, gene.tss, LENGTH, CHROM_LENGTH).expect("a window");
    assert_eq!(window.start(), -10);
    assert_eq!((window.left_padding(), window.right_padding()), (10, 0));
    assert_eq!(
        *window.inside(),
        Interval::try_new("chrW", 0, 90).expect("an interval")
    );

    // Readers see the contig only: nothing outside it may be asked for.
    let fasta = Fasta::open(scratch.path().join("genome.fa")).expect("a FASTA file");
    let bases = fasta.read_bases(window.inside()).expect("bases");
    assert_eq!(bases.len(), 90);
    assert_eq!(&bases[..5], &first_line(&inputs)[..5]);
    let outside = Interval::try_new("chrW", 590, 601).expect("an interval");
    assert!(fasta.read_bases(&outside).is_err());

    // A track: one peak of height 3 over 30..50. Where there is no record there is no data.
    let sizes = ChromSizes::new(vec![("chrW".to_string(), CHROM_LENGTH)]);
    let peak = Interval::try_new("chrW", 30, 50).expect("an interval");
    let track_path = scratch.path().join("dnase.bw");
    write_bigwig(&track_path, &sizes, [(peak, 3.0)]).expect("a bigWig");
    let values = BigWig::open(&track_path)
        .expect("a bigWig")
        .read_values(window.inside())
        .expect("values");
    assert!(values[29].is_nan());
    assert_eq!(values[30..50], [3.0; 20]);

    // All of it together is an example: padded, no data = 0, the promoter forced.
    let config = data_config(scratch.path());
    let reader = ExampleReader::open(&config).expect("all files agree");
    let example = reader.read(0).expect("an example");
    assert_eq!(example.split(), Split::Train);
    assert_eq!(example.length(), 100);
    assert_eq!(
        example.one_hot()[..40],
        [0.0; 40],
        "ten padded positions are zero rows"
    );
    // Base 30 is position 40; tracks are [length, n_tracks] with one track.
    assert_eq!(example.tracks()[39..41], [0.0, 3.0]);
    // The promoter is the central 20 bases: positions 40 to 60.
    assert_eq!(
        example.regions()[39..41],
        [RegionCode::Keep, RegionCode::One]
    );
    assert_eq!(
        example.regions()[59..61],
        [RegionCode::One, RegionCode::Keep]
    );
    // log10(9 + 1) = 1
    assert_eq!(example.target(), Some(1.0));

    // Examples become tensors in one place only.
    let device = Device::flex();
    let batch = Batch::new(std::slice::from_ref(&example), &device).expect("a batch");
    assert_eq!(batch.input.sequence.dims(), [1, 100, 4]);
    assert_eq!(batch.input.tracks.dims(), [1, 100, 1]);

    // The network: embed, generate a mask, mask, predict.
    let network = Network::init(&network_config(), 2, &device).expect("sound settings");
    let output = network
        .forward(batch.input, &Pass::Evaluate)
        .expect("shapes agree");
    assert_eq!(output.prediction.dims(), [1, 1]);
    let mask = read_values(output.mask.expect("Seq2Exp has a mask")).expect("values");
    assert_eq!(mask[40..60], [1.0; 20], "the promoter is always used");
    assert!(mask.iter().all(|value| (0.0..=1.0).contains(value)));

    // Runs of the mask, in genome coordinates, are the elements; none leaves the contig.
    let masked = MaskedWindow::try_new(
        &example.gene().symbol,
        example.window(),
        example.gene().strand,
        PROMOTER,
        example.regions(),
        &mask,
    )
    .expect("the mask fits the window");
    let elements = find_elements(
        &masked,
        &DiscoverConfig {
            min_length: 1,
            ..DiscoverConfig::default()
        },
    );
    let promoter = elements
        .iter()
        .find(|element| element.class == ElementClass::Promoter)
        .expect("it is reported");
    // Positions 40 to 60 are bases 30 to 50.
    assert_eq!(
        (promoter.interval.start(), promoter.interval.end()),
        (30, 50)
    );
    assert!(
        elements
            .iter()
            .all(|element| element.interval.end() <= CHROM_LENGTH)
    );
}

fn first_line(inputs: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(inputs.join("genome.fa")).expect("the tutorial's genome");
    text.lines()
        .nth(1)
        .expect("a line of bases")
        .as_bytes()
        .to_vec()
}

fn data_config(folder: &Path) -> DataConfig {
    let text = format!(
        r#"{{
            "genome": "genome.fa", "genes": "genes.tsv", "length": {LENGTH}, "promoter": {PROMOTER},
            "expression": {{ "path": "expression.tsv", "value": "tpm" }},
            "tracks": [{{ "name": "dnase", "path": "dnase.bw" }}],
            "split": {{ "by": "column" }}
        }}"#
    );
    serde_json::from_str::<DataConfig>(&text)
        .expect("valid settings")
        .resolve(folder)
}

fn network_config() -> NetworkConfig {
    let text = format!(
        r#"{{
            "kind": "seq2exp_soft", "d_model": 16, "n_layer_generator": 1, "n_layer_predictor": 1,
            "promoter": {PROMOTER}, "n_tracks": 1,
            "mask": {{ "track_beta": [0.2], "track_weight": [1.0] }}
        }}"#
    );
    serde_json::from_str(&text).expect("valid settings")
}
