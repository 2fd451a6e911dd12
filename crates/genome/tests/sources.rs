//! 2bit, aligned reads and variants against py2bit, deepTools and pysam; `oracle/source_expected.py`.

use std::path::{Path, PathBuf};

use genome::{
    ChromSizes, CramReference, Fasta, Interval, ReadFilter, ReadSpan, Reference, ReferenceCheck,
    TrackFile, TssSignal, TwoBit, VariantFile, VariantPlace,
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/sources")
        .join(name)
}

/// Rows of a table of expected values: a comment and a header come first.
fn rows(name: &str) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(golden(name)).unwrap();
    let rows = table.lines().skip(2);
    rows.map(|line| line.split('\t').map(String::from).collect())
        .collect()
}

fn interval(chrom: &str, start: &str, end: &str) -> Interval {
    Interval::try_new(chrom, start.parse().unwrap(), end.parse().unwrap()).unwrap()
}

#[test]
fn two_bit_bases_equal_py2bit_and_the_fasta() {
    let two_bit = TwoBit::open(golden("small.2bit")).unwrap();
    let fasta = Fasta::open(golden("genome.fa")).unwrap();
    assert_eq!(two_bit.chrom_sizes(), fasta.chrom_sizes());
    let rows = rows("two_bit.tsv");
    assert_eq!(rows.len(), 44); // 11 windows of 4 sequences
    for row in rows {
        let window = interval(&row[0], &row[1], &row[2]);
        let found = String::from_utf8(two_bit.read_bases(&window).unwrap()).unwrap();
        // py2bit writes N in upper case where the file masks it; twoBitToFa and the FASTA do not.
        assert_eq!(
            found.replace('n', "N"),
            row[3].replace('n', "N"),
            "{window}"
        );
        assert_eq!(
            found.as_bytes(),
            fasta.read_bases(&window).unwrap(),
            "{window}"
        );
    }
    let by_name = Reference::open(golden("small.2bit")).unwrap();
    assert!(matches!(by_name, Reference::TwoBit(_)));
}

/// The fixtures in a folder of their own, because a bigWig is written beside them.
fn copied(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::copy(golden(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn coverage_equals_bam_coverage() {
    // bamCoverage passes its values through text of six significant digits (`{:g}` in
    // deeptools/writeBedGraph.py): half a unit of the sixth digit is at most 5e-6 of the value.
    const RTOL: f32 = 5.1e-6;
    let folder = copied(&["reads.bam", "reads.cram", "genome.fa", "genome.fa.fai"]);
    let reference = folder.path().join("genome.fa");
    let filters = [
        ("q0", 0, ReadSpan::Aligned),
        ("q20", 20, ReadSpan::Aligned),
        ("q0-5prime", 0, ReadSpan::FivePrime),
    ];
    let rows = rows("coverage.tsv");
    for name in ["reads.bam", "reads.cram"] {
        for (setting, min_mapping_quality, span) in filters {
            let filter = ReadFilter {
                min_mapping_quality,
                span,
            };
            let path = folder.path().join(name);
            let none = ChromSizes::default();
            let track = TrackFile::open(&path, &none, &reference, &filter).unwrap();
            let lengths: Vec<u64> = track.chrom_sizes().iter().map(|chrom| chrom.1).collect();
            assert_eq!(lengths, [3000, 700, 1, 40]);
            let mut n_bases = 0;
            for row in rows.iter().filter(|row| row[0] == setting) {
                let run = interval(&row[1], &row[2], &row[3]);
                let expected: f32 = row[4].parse().unwrap();
                for value in track.read_values(&run).unwrap() {
                    assert!(
                        (value - expected).abs() <= RTOL * expected,
                        "{name} {setting} {run}: {value} instead of {expected}"
                    );
                    n_bases += 1;
                }
            }
            // Every base of every chromosome, the one without a read included.
            assert_eq!(n_bases, 3741, "{setting}");
        }
    }
}

#[test]
fn cram_is_decoded_by_another_name_of_its_chromosomes() {
    let genome = std::fs::read_to_string(golden("genome.fa")).unwrap();
    let folder = copied(&[]);
    let renamed = folder.path().join("renamed.fa");
    std::fs::write(&renamed, genome.replace('>', ">renamed_")).unwrap();
    // Each in a folder of its own, beside which the bigWig is kept.
    let read = |reference: CramReference| {
        let folder = copied(&["reads.cram"]);
        let path = folder.path().join("reads.cram");
        let filter = ReadFilter::default();
        let track = TrackFile::open(&path, &ChromSizes::default(), reference, &filter)?;
        track.read_values(&interval("chr1", "0", "3000"))
    };
    let expected = read((&golden("genome.fa")).into()).unwrap();
    assert!(expected.iter().any(|value| *value > 0.0));
    let message = read((&renamed).into()).unwrap_err().to_string();
    let part = "there is no chromosome \"chr1\"";
    assert!(message.contains(part), "{message}");
    let names = genome.lines().filter_map(|line| line.strip_prefix('>'));
    let other_names = names
        .map(|name| (name.to_string(), format!("renamed_{name}")))
        .collect();
    assert_eq!(
        read(CramReference::new(&renamed, other_names)).unwrap(),
        expected
    );
}

#[test]
fn variants_equal_pysam() {
    let genome = Reference::open(golden("genome.fa")).unwrap();
    let rows = rows("variants.tsv");
    assert_eq!(rows.len(), 62);
    let mut n_different = 0;
    for name in ["variants.vcf", "variants.vcf.gz", "variants.bcf"] {
        let mut file = VariantFile::open(golden(name)).unwrap();
        assert_eq!(file.declared_sizes(), genome.chrom_sizes(), "{name}");
        for (index, row) in rows.iter().enumerate() {
            let record = file.next_record().unwrap().unwrap();
            let alternates: Vec<String> =
                record.alternates.iter().map(ToString::to_string).collect();
            let found = [
                record.chrom.clone(),
                record.start.to_string(),
                record.id.clone().unwrap_or(".".into()),
                record.reference.clone(),
                match alternates.is_empty() {
                    true => ".".into(),
                    false => alternates.join(","),
                },
            ];
            assert_eq!(found, row[..5], "{name} {}", record.place);
            if name.ends_with("bcf") {
                assert_eq!(record.place, VariantPlace::Record(index as u64 + 1));
            }
            let is_same = record.check_reference(&genome).unwrap() == ReferenceCheck::Same;
            assert_eq!(is_same, row[5] == "True", "{name} {}", record.place);
            n_different += usize::from(!is_same);
        }
        assert_eq!(file.next_record().unwrap(), None);
    }
    assert!(
        n_different > 0,
        "the fixture has records that differ from the genome"
    );
}

#[test]
fn tss_sums_of_real_cage_equal_pybigwig() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/cage_windows");
    if !folder.exists() {
        println!("skipped: {} is not there", folder.display());
        return;
    }
    let open = |strand: &str| {
        let path = folder.join(format!("cage_cd4_tcell_{strand}.bw"));
        let none = ChromSizes::default();
        TrackFile::open(path, &none, Path::new("none.fa"), &ReadFilter::default()).unwrap()
    };
    let signal = TssSignal::new(open("plus"), Some(open("minus")), genome::TSS_SIGNAL_BASES);
    let rows = rows("cage_tss.tsv");
    assert_eq!(rows.len(), 40);
    for row in rows {
        let (tss, strand) = (row[2].parse().unwrap(), row[3].parse().unwrap());
        let expected: f64 = row[4].parse().unwrap();
        // The same additions of the same values in the same order.
        assert_eq!(
            signal.read(&row[1], tss, strand).unwrap(),
            expected,
            "{}",
            row[0]
        );
    }
}
