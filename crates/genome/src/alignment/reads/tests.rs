use std::num::NonZero;
use std::path::PathBuf;

use noodles::core::Position;
use noodles::sam::alignment::RecordBuf;
use noodles::sam::alignment::io::Write as _;
use noodles::sam::alignment::record::cigar::Op;
use noodles::sam::header::record::value::Map;
use noodles::sam::header::record::value::map::ReferenceSequence;

use super::*;

/// Chromosome, start (1-based, 0 = none), flags, and one aligned block of that many bases.
type Row = (usize, usize, u16, usize);

fn write_bam(path: &Path, rows: &[Row]) {
    let chrom = |length| Map::<ReferenceSequence>::new(NonZero::new(length).unwrap());
    let header = Header::builder()
        .add_reference_sequence("c", chrom(10))
        .add_reference_sequence("d", chrom(1))
        .build();
    let mut out = bam::io::Writer::new(File::create(path).unwrap());
    out.write_header(&header).unwrap();
    for (chrom_index, start, flags, n_bases) in rows {
        let mut record = RecordBuf::builder().set_flags(Flags::from(*flags));
        if let Some(start) = Position::new(*start) {
            record = record
                .set_reference_sequence_id(*chrom_index)
                .set_alignment_start(start)
                .set_cigar([Op::new(Kind::Match, *n_bases)].into_iter().collect());
        }
        out.write_alignment_record(&header, &record.build())
            .unwrap();
    }
    out.try_finish().unwrap();
}

fn read(path: &Path, reference: &Path) -> Result<(Vec<(u64, u64)>, u64), String> {
    let mut blocks = Vec::new();
    let (_, n_records) = for_each_read(path, &reference.into(), &ReadFilter::default(), |read| {
        blocks.extend(&read.blocks);
        Ok(())
    })
    .map_err(|error| error.to_string())?;
    Ok((blocks, n_records))
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/sources")
        .join(name)
}

#[test]
fn for_each_read_both_ends_and_flags_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bam");
    let rows = [
        (0, 1, 0, 1),
        (0, 1, 4, 3),
        (0, 2, 256, 3),
        (0, 2, 512, 3),
        (0, 2, 1024, 3),
        (0, 2, 2048, 3),
        (0, 10, 16, 1),
        (1, 1, 0, 1),
        (0, 0, 4, 0),
    ];
    write_bam(&path, &rows);
    let none = Path::new("none.fa");
    assert_eq!(
        read(&path, none).unwrap(),
        (vec![(0, 1), (9, 10), (0, 1)], 9)
    );
    // Zeros behind it, as a tape leaves them.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, [bytes, vec![0; 512]].concat()).unwrap();
    assert_eq!(read(&path, none).unwrap().1, 9);
    write_bam(&path, &[]);
    assert_eq!(read(&path, none).unwrap(), (vec![], 0));
}

#[test]
fn for_each_read_bad_order_or_place_names_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bam");
    let cases: [(&[Row], &str); 4] = [
        (
            &[(0, 5, 0, 1), (0, 4, 0, 1)],
            "a.bam: record 2: it lies before the read above it; sort",
        ),
        // A read that does not count is out of order all the same.
        (
            &[(1, 1, 0, 1), (0, 4, 1024, 1)],
            "a.bam: record 2: it lies before",
        ),
        (
            &[(0, 10, 0, 2)],
            "a.bam: record 1: the read at c:10 reaches past the end of c (10 bp)",
        ),
        (
            &[(1, 2, 0, 1)],
            "record 1: the read at d:2 reaches past the end of d (1 bp)",
        ),
    ];
    for (rows, expected) in cases {
        write_bam(&path, rows);
        let message = read(&path, Path::new("none.fa")).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn for_each_read_cram_needs_its_reference() {
    let folder = tempfile::tempdir().unwrap();
    let cram = golden("reads.cram");
    let other = folder.path().join("other.fa");
    std::fs::write(&other, ">1\nACGT\n").unwrap();
    let message = read(&cram, &other).unwrap_err();
    assert!(
        message.contains("there is no chromosome \"chr1\"; it is called \"1\" there"),
        "{message}"
    );
    let wrong = folder.path().join("wrong.fa");
    std::fs::write(&wrong, format!(">chr1\n{}\n", "A".repeat(3000))).unwrap();
    let message = read(&cram, &wrong).unwrap_err();
    assert!(
        message.contains("checksum mismatch")
            && message.contains("needs the sequence that its reads were aligned to"),
        "{message}"
    );
    let bytes = std::fs::read(&cram).unwrap();
    let cut = folder.path().join("cut.cram");
    std::fs::write(&cut, &bytes[..bytes.len() - 38]).unwrap();
    let message = read(&cut, &golden("genome.fa")).unwrap_err();
    assert!(
        message.contains("the container that ends a CRAM file is missing"),
        "{message}"
    );
}
