//! What every fuzz target does with its bytes.
//!
//! The binaries of `fuzz_targets` hand random bytes to one function each; the ordinary tests hand the same
//! functions the committed corpus (`crates/dataset/tests/data_sets/fuzz_corpus.rs`). Readers take a path, so the
//! bytes go into a file first.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use dataset::{DATA_FILE_NAME, ExampleSource, MANIFEST_FILE_NAME, PreparedReader};
use genome::{ChromSizes, Interval, ReadFilter, TrackFile};
use sha2::{Digest, Sha256};

/// A name, and what is done with the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name.
pub const TARGETS: [Target; 15] = [
    ("alignment", alignment),
    ("annotation", annotation),
    ("bed_graph", bed_graph),
    ("bigwig", bigwig),
    ("contact_map", contact_map),
    ("fasta", fasta),
    ("gene_table", gene_table),
    ("manifest", manifest),
    ("prepared", prepared),
    ("region_pairs", region_pairs),
    ("regions", regions),
    ("stored_contacts", stored_contacts),
    ("tables", tables),
    ("two_bit", two_bit),
    ("variants", variants),
];

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Writes the bytes into a file of this name and calls `read` with its path.
///
/// The folder is the process's own, in memory where the system has such a place; files beside it (an
/// index that a reader writes) are removed first.
fn with_file(name: &str, bytes: &[u8], read: impl FnOnce(&Path)) {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            match memory.is_dir() {
                true => tempfile::tempdir_in(memory),
                false => tempfile::tempdir(),
            }
            .expect("a folder for temporary files")
        });
        for entry in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("the temporary folder takes a file");
        read(&path);
    });
}

/// An error must say something; a reader's message is what a user acts on.
fn check<T, E: std::fmt::Display>(result: Result<T, E>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

/// Places to ask a file for: both ends and the middle of its first chromosomes.
fn places(sizes: &ChromSizes, length: u64) -> Vec<Interval> {
    let mut places = Vec::new();
    for (chrom, size) in sizes.iter().take(3) {
        for start in [0, size / 2, size.saturating_sub(length)] {
            let end = start.saturating_add(length).min(size);
            places.extend(Interval::try_new(chrom, start.min(end), end).ok());
        }
    }
    places
}

/// The genome that the seeds of tracks lie on.
const GENOME: &str = include_str!("../../crates/genome/tests/golden/sources/genome.fa");

/// Opens a track of a file of this name beside the genome and reads some of its values.
fn read_track(name: &str, bytes: &[u8]) {
    with_file(name, bytes, |path| {
        let genome = path.with_file_name("genome.fa");
        fs::write(&genome, GENOME).expect("the temporary folder takes a file");
        let sizes = [("chr1", 3_000), ("chr2", 700), ("HLA-A*01:01", 1)];
        let sizes = ChromSizes::new(sizes.map(|(name, size)| (name.to_string(), size)).into());
        let filter = ReadFilter::default();
        if let Some(track) = check(TrackFile::open(path, &sizes, &genome, &filter)) {
            for place in places(track.chrom_sizes(), 1000) {
                if let Some(values) = check(track.read_values(&place)) {
                    assert_eq!(values.len() as u64, place.len());
                }
            }
        }
    });
}

/// BAM, or CRAM when the first byte is odd, as coverage.
pub fn alignment(bytes: &[u8]) {
    if let Some((choice, bytes)) = bytes.split_first() {
        read_track(["r.bam", "r.cram"][usize::from(choice % 2)], bytes);
    }
}

/// GTF and GFF3, and the choice of transcripts.
pub fn annotation(bytes: &[u8]) {
    with_file("a.gtf", bytes, |path| {
        if let Some(annotation) = check(genome::read_annotation(path)) {
            for gene in annotation.genes() {
                if let Some((transcript, _)) = annotation.representative(gene) {
                    assert!(transcript.cds_len() <= transcript.mrna_len());
                }
            }
        }
    });
}

/// bedGraph, plain, gzip and bgzip.
pub fn bed_graph(bytes: &[u8]) {
    read_track("t.bedGraph", bytes);
}

/// bigWig.
pub fn bigwig(bytes: &[u8]) {
    read_track("t.bw", bytes);
}

/// `.hic`, `.cool` and `.mcool`; the first byte chooses the normalisation.
pub fn contact_map(bytes: &[u8]) {
    use genome::Normalization::{Kr, None, Scale, Vc, VcSqrt, Weight};
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let normalization = [None, Weight, Vc, VcSqrt, Kr, Scale][usize::from(choice % 6)];
    with_file("m", bytes, |path| {
        let Some(map) = check(genome::ContactMap::open(path, 5_000, normalization)) else {
            return;
        };
        for place in places(map.chrom_sizes(), 200_000) {
            if place.is_empty() {
                continue;
            }
            let tss = (place.start() + place.end()) / 2;
            check(map.read_profile(place.chrom(), tss, &place));
        }
    });
}

/// FASTA, plain and bgzip, and the index that is built.
pub fn fasta(bytes: &[u8]) {
    with_file("g.fa", bytes, |path| {
        if let Some(fasta) = check(genome::Fasta::open(path)) {
            for place in places(fasta.chrom_sizes(), 100) {
                if let Some(bases) = check(fasta.read_bases(&place)) {
                    assert_eq!(bases.len() as u64, place.len());
                }
            }
        }
    });
}

/// Gene tables.
pub fn gene_table(bytes: &[u8]) {
    with_file("genes.tsv", bytes, |path| {
        check(genome::read_gene_table(path));
    });
}

/// A prepared data set of five genes, and its manifest.
const PREPARED: &[u8] = include_bytes!("../prepared/examples.arrow");
const MANIFEST: &str = include_str!("../prepared/manifest.json");

/// Reads every example of a prepared data set with this data file and this manifest.
fn read_prepared(data: &[u8], manifest: &[u8]) {
    with_file(MANIFEST_FILE_NAME, manifest, |path| {
        let data_path = path.with_file_name(DATA_FILE_NAME);
        fs::write(data_path, data).expect("the temporary folder takes a file");
        let folder = path.parent().unwrap_or(path);
        let Some(reader) = check(PreparedReader::open(folder)) else {
            return;
        };
        for index in 0..reader.len() {
            if let Some(example) = check(reader.read(index)) {
                assert_eq!(example.base_codes().len(), ExampleSource::length(&reader));
            }
        }
    });
}

/// The manifest of a prepared data set; the data file is sound.
pub fn manifest(bytes: &[u8]) {
    read_prepared(PREPARED, bytes);
}

/// The data file of a prepared data set, under a manifest with its size and digest.
pub fn prepared(bytes: &[u8]) {
    let mut manifest: serde_json::Value = serde_json::from_str(MANIFEST).expect("JSON");
    let digest: String = (Sha256::digest(bytes).iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    manifest["data"]["size_bytes"] = bytes.len().into();
    manifest["data"]["sha256"] = digest.into();
    read_prepared(bytes, manifest.to_string().as_bytes());
}

/// BEDPE.
pub fn region_pairs(bytes: &[u8]) {
    with_file("p.bedpe", bytes, |path| {
        check(genome::read_pairs(path));
    });
}

/// BED, narrowPeak, pickled masks; plain, gzip, bgzip.
pub fn regions(bytes: &[u8]) {
    with_file("r.bed", bytes, |path| {
        if let Some(regions) = check(genome::read_regions(path)) {
            for region in &regions {
                assert!(region.summit().is_none_or(|s| region.interval.contains(s)));
            }
        }
    });
}

/// `hic_feat_<chrom>.h5` of the released data set.
pub fn stored_contacts(bytes: &[u8]) {
    with_file("hic_feat_chr1.h5", bytes, |path| {
        let folder = path.parent().unwrap_or(path);
        if let Some(contacts) = check(genome::StoredContacts::open(folder)) {
            for tss in [700, 12_345] {
                if let Some(values) = check(contacts.read("chr1", tss)) {
                    assert!(values.len().is_multiple_of(2));
                }
            }
        }
    });
}

/// Expression, mRNA features, split tables, enhancers, chromosome sizes; commas when the first byte is one.
pub fn tables(bytes: &[u8]) {
    let (name, bytes) = match bytes.split_first() {
        Some((b',', rest)) => ("t.csv", rest),
        _ => ("t.tsv", bytes),
    };
    with_file(name, bytes, |path| {
        check(genome::read_expression(path, "gene", "tpm"));
        check(genome::read_transformed_expression(
            path,
            "ENSID",
            "Actual_K562",
        ));
        check(genome::read_mrna_table(path));
        check(genome::read_standardised_mrna(path));
        check(genome::read_text_column(path, "ENSID", "fold_1"));
        check(genome::read_enhancer_links(path, |_| true));
        check(genome::read_chrom_sizes(path));
    });
}

/// UCSC's 2bit.
pub fn two_bit(bytes: &[u8]) {
    with_file("g.2bit", bytes, |path| {
        if let Some(genome) = check(genome::TwoBit::open(path)) {
            for place in places(genome.chrom_sizes(), 100) {
                if let Some(bases) = check(genome.read_bases(&place)) {
                    assert_eq!(bases.len() as u64, place.len());
                }
            }
        }
    });
}

/// VCF, plain and compressed, or BCF when the first byte is odd.
pub fn variants(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let name = ["v.vcf", "v.bcf"][usize::from(choice % 2)];
    with_file(name, bytes, |path| {
        let Some(mut file) = check(genome::VariantFile::open(path)) else {
            return;
        };
        while let Some(Some(record)) = check(file.next_record()) {
            assert!(!record.reference.is_empty());
            check(record.interval());
        }
    });
}
