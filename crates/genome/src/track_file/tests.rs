use std::io::Write;

use proptest::prelude::*;

use super::*;

fn sizes() -> ChromSizes {
    ChromSizes::new(vec![
        ("chr1".into(), 100),
        ("chr2".into(), 50),
        ("one".into(), 1),
    ])
}

fn open(path: &Path) -> Result<TrackFile, GenomeError> {
    TrackFile::open(path, &sizes(), Path::new("none.fa"), &ReadFilter::default())
}

fn values(track: &TrackFile, chrom: &str, start: u64, end: u64) -> Vec<Option<f32>> {
    let interval = Interval::try_new(chrom, start, end).unwrap();
    let values = track.read_values(&interval).unwrap();
    values
        .into_iter()
        .map(|value| (!value.is_nan()).then_some(value))
        .collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn kind_of_name() {
    use TrackKind::{Alignment, BedGraph, BigWig};
    let cases = [
        ("a/x.bw", BigWig),
        ("x.bigWig", BigWig),
        ("x", BigWig),
        ("x.bedGraph", BedGraph),
        ("x.bedgraph.gz", BedGraph),
        ("x.BDG.bgz", BedGraph),
        ("x.bg", BedGraph),
        ("x.bam", Alignment),
        ("x.cram", Alignment),
        ("x.bam.bw", BigWig),
        ("bam", BigWig),
    ];
    for (name, expected) in cases {
        assert_eq!(TrackKind::of(Path::new(name)), expected, "{name}");
    }
}

#[test]
fn bed_graph_is_converted_once() {
    let folder = tempfile::tempdir().unwrap();
    // The file lists its chromosomes in another order than the genome, and lacks chr1.
    let text = b"chr2\t0\t2\t1.5\nchr2\t49\t50\t-1\nchrUn\t0\t9\t9\none\t0\t1\t7\n";
    for (name, bytes) in [("a.bedGraph", text.to_vec()), ("a.bdg.gz", gzip(text))] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let track = open(&path).unwrap();
        assert_eq!(
            track.chrom_sizes().iter().collect::<Vec<_>>(),
            [("chr2", 50), ("one", 1)]
        );
        assert_eq!(values(&track, "chr2", 0, 3), [Some(1.5), Some(1.5), None]);
        assert_eq!(values(&track, "chr2", 48, 50), [None, Some(-1.0)]);
        assert_eq!(values(&track, "one", 0, 1), [Some(7.0)]);
        let written = track.conversion().unwrap();
        assert_eq!(written.place, ConversionPlace::Written);
        assert_eq!(
            written.note,
            "3 rows; 1 rows on 1 chromosomes that the genome does not have, chrUn among them, \
             were left out"
        );
        let found = open(&path).unwrap();
        let found = found.conversion().unwrap();
        assert_eq!(found.place, ConversionPlace::Found);
        assert_eq!(found.bigwig, written.bigwig);
        // What was left out is told by every run.
        assert_eq!(found.note, written.note);
        let told = found.to_string();
        assert!(told.contains(&format!("{name} is read from ")), "{told}");
        let part = ", which it was converted to (3 rows; 1 rows on 1 chromosomes that the genome";
        assert!(told.contains(part), "{told}");

        // Another file of that name is converted anew, and so is the same one for another genome.
        std::fs::write(&path, "chr1\t0\t1\t4\n").unwrap();
        let changed = open(&path).unwrap();
        assert_eq!(values(&changed, "chr1", 0, 2), [Some(4.0), None]);
        let longer = ChromSizes::new(vec![("chr1".into(), 101)]);
        let filter = ReadFilter::default();
        let longer = TrackFile::open(&path, &longer, Path::new("none.fa"), &filter).unwrap();
        assert_eq!(longer.chrom_sizes().get("chr1"), Some(101));
    }
}

#[test]
fn bed_graph_of_two_namings_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bedGraph");
    // file, and the message behind its name
    let cases = [
        (
            "chr1\t0\t9\t1\nchrUn\t0\t9\t1\n2\t0\t9\t1\n2\t9\t10\t1\n",
            Some(
                ":3: no chromosome \"2\" in the genome; it is called \"chr2\" there, and other rows \
                 of this file are named as there; rename these rows, or declare the name with \
                 --chrom-alias 2=chr2",
            ),
        ),
        (
            "2\t0\t9\t1\n1\t0\t9\t1\nchr2\t9\t10\t1\n",
            Some(
                ":1: no chromosome \"2\" in the genome; it is called \"chr2\" there, a name that \
                 other rows of this file have; rename these rows, or remove them",
            ),
        ),
        ("chr1\t0\t9\t1\nchr22\t0\t9\t1\n", None),
    ];
    for (text, expected) in cases {
        std::fs::write(&path, text).unwrap();
        let message = open(&path).err().map(|error| error.to_string());
        let expected = expected.map(|part| format!("{}{part}", path.display()));
        assert_eq!(message, expected);
    }
}

#[test]
fn bed_graph_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bedGraph");
    let gz = folder.path().join("a.bedGraph.gz");
    let many: String = (0..50)
        .map(|at| format!("chr1\t{at}\t{}\t{at}\n", at + 1))
        .collect();
    let packed = gzip(many.as_bytes());
    let cases: [(&Path, &[u8], &str); 5] = [
        (
            &path,
            b"chr1\t0\t5\t1\nchr1\t4\t6\t1\n",
            "a.bedGraph:2: chr1:5-6 overlaps",
        ),
        (&path, b"", "a.bedGraph: no row in the file"),
        (
            &path,
            b"1\t0\t5\t1\n",
            "a.bedGraph:1: no chromosome \"1\" in the genome; it is called \"chr1\" there",
        ),
        (
            &path,
            b"\x26\xfc\x8f\x88\0\0",
            "a.bedGraph: byte 0: this is a bigWig file; name it .bw",
        ),
        (
            &gz,
            &packed[..packed.len() / 2],
            "the compressed data is cut off or damaged here",
        ),
    ];
    for (path, bytes, expected) in cases {
        std::fs::write(path, bytes).unwrap();
        let message = open(path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        let n_files = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(n_files, 1, "{expected}");
        std::fs::remove_file(path).unwrap();
    }
    let message = open(&path).unwrap_err().to_string();
    assert!(message.starts_with("cannot open"), "{message}");
}

#[test]
fn bed_graph_in_a_folder_that_cannot_be_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bedGraph");
    std::fs::write(&path, "chr1\t0\t1\t4\n").unwrap();
    let key = Key::new(&path, "bedgraph").unwrap();
    let (bigwig, converted) = conversion::open_in(&path, &key, false, |target| {
        convert_bed_graph(&path, target, &sizes())
    })
    .unwrap();
    let conversion = converted.conversion().clone();
    assert_eq!(conversion.place, ConversionPlace::Temporary);
    assert!(
        conversion
            .to_string()
            .contains("every run converts it again")
    );
    let interval = Interval::try_new("chr1", 0, 1).unwrap();
    assert_eq!(bigwig.read_values(&interval).unwrap(), [4.0]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    drop(converted);
    assert!(!conversion.bigwig.exists());
}

#[test]
fn alignment_bad_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bam");
    let whole =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sources/reads.bam"))
            .unwrap();
    let cases: [(&[u8], &str); 4] = [
        (b"", "byte 0: this is neither a BAM nor a CRAM file"),
        (
            b"chr1\t0\t1\t2\n",
            "byte 0: this is neither a BAM nor a CRAM file",
        ),
        (&whole[..whole.len() / 2], "the file was cut off"),
        (
            &gzip(b"no reads"),
            "byte 0: this is packed with gzip, and a BAM is with",
        ),
    ];
    for (bytes, expected) in cases {
        std::fs::write(&path, bytes).unwrap();
        let message = open(&path).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // A real BAM with a few bytes changed; the end marker stays, so that the reads are decoded.
    #[test]
    fn alignment_any_bytes_never_panics(
        changes in proptest::collection::vec((0_usize..12_000, any::<u8>()), 1..5),
        is_cram in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sources");
        let name = if is_cram { "reads.cram" } else { "reads.bam" };
        let mut bytes = std::fs::read(golden.join(name)).unwrap();
        let n_kept = bytes.len() - 40;
        for (at, value) in changes {
            bytes[at % n_kept] = value;
        }
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let reference = golden.join("genome.fa");
        let _ = TrackFile::open(&path, &sizes(), &reference, &ReadFilter::default());
    }
}
