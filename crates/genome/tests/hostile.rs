//! Files that other programs write and no format allows, cut files, odd names and far offsets.

#[path = "foreign_bigwig/writer.rs"]
mod foreign_bigwig;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use genome::{
    BigWig, ChromSizes, ContactMap, ContactPixel, Interval, Normalization, ReadFilter, Region,
    RegionIndex, Strand, TrackFile, TssSignal, TwoBit, VariantFile, read_annotation, read_regions,
    write_bed_tabix, write_bigwig, write_cool,
};
use noodles::bam;
use noodles::core::Position;
use noodles::sam::Header;
use noodles::sam::alignment::RecordBuf;
use noodles::sam::alignment::io::Write as _;
use noodles::sam::alignment::record::Flags;
use noodles::sam::alignment::record::cigar::{Op, op::Kind};
use noodles::sam::header::record::value::Map;
use noodles::sam::header::record::value::map::ReferenceSequence;

use foreign_bigwig::write_foreign_bigwig;

/// Names as in hg38's HLA contigs, and with a character that other formats separate by.
const ODD_NAMES: [&str; 3] = ["HLA-A*01:01", "c|x", "1,2;3=4"];

fn interval(chrom: &str, start: u64, end: u64) -> Interval {
    Interval::try_new(chrom, start, end).unwrap()
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/sources")
        .join(name)
}

#[test]
fn bigwig_items_that_overlap_are_unsorted_or_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bw");
    let nan = f32::NAN;
    // items, then the values of [0, 8): where items overlap, the later one in the file counts
    // (`pyBigWig` fills in the same order).
    type Items<'a> = &'a [(u32, u32, f32)];
    let cases: [(Items, [f32; 8]); 5] = [
        (
            &[(0, 4, 1.0), (2, 6, 2.0)],
            [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, nan, nan],
        ),
        (
            &[(0, 8, 1.0), (0, 8, 2.0), (1, 2, 3.0)],
            [2.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
        ),
        (
            &[(5, 7, 1.0), (0, 2, 2.0), (90_000, 90_001, 4.0), (3, 4, 3.0)],
            [2.0, 2.0, nan, 3.0, nan, 1.0, 1.0, nan],
        ),
        (
            &[(1, 1, 9.0), (2, 3, 1.0), (3, 3, 9.0)],
            [nan, nan, 1.0, nan, nan, nan, nan, nan],
        ),
        (
            &[(0, 1, f32::INFINITY), (1, 2, -f32::INFINITY), (2, 3, nan)],
            [f32::INFINITY, -f32::INFINITY, nan, nan, nan, nan, nan, nan],
        ),
    ];
    for (items, expected) in cases {
        write_foreign_bigwig(&path, &[("c", 100_000, items), ("d", 1, &[(0, 1, 5.0)])]);
        let track = BigWig::open(&path).unwrap();
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let found = track.read_values(&interval("c", 0, 8)).unwrap();
        assert_eq!(bits(&found), bits(&expected), "{items:?}: {found:?}");
        // Also within one base, and beside it on a chromosome of one base.
        for (base, value) in (0..8).zip(expected) {
            let found = track.read_values(&interval("c", base, base + 1)).unwrap();
            assert_eq!(bits(&found), bits(&[value]), "{items:?} {base}");
        }
        assert_eq!(track.read_values(&interval("d", 0, 1)).unwrap(), [5.0]);
    }
}

#[test]
fn infinite_expression_names_its_base() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cage.bw");
    let items = [(499, 500, f32::NAN), (500, 502, f32::NEG_INFINITY)];
    write_foreign_bigwig(&path, &[("c", 1_000, &items)]);
    let sizes = ChromSizes::new(vec![("c".into(), 1_000)]);
    let track = TrackFile::open(&path, &sizes, Path::new("none"), &ReadFilter::default()).unwrap();
    let signal = TssSignal::new(track, None, 4);
    let read = |tss| {
        let sum = signal.read("c", tss, Strand::Forward);
        sum.map_err(|error| error.to_string())
    };
    assert_eq!(read(498), Ok(0.0)); // [496, 500) has no data but NaN
    for (tss, base) in [(499, 501), (500, 501), (503, 502)] {
        let message = read(tss).unwrap_err();
        let part = format!(
            "cage.bw: c:{base}-{base}: the value is -inf; an expression must be finite, write"
        );
        assert!(message.contains(&part), "{message}");
    }
}

#[test]
fn mapped_read_without_a_cigar_covers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bam");
    let header = Header::builder()
        .add_reference_sequence("c", Map::<ReferenceSequence>::new(NonZero::new(9).unwrap()))
        .build();
    let mut out = bam::io::Writer::new(File::create(&path).unwrap());
    out.write_header(&header).unwrap();
    for n_bases in [0, 2] {
        let ops = (n_bases > 0).then(|| Op::new(Kind::Match, n_bases));
        let record = RecordBuf::builder()
            .set_flags(Flags::empty())
            .set_reference_sequence_id(0)
            .set_alignment_start(Position::new(3).unwrap())
            .set_cigar(ops.into_iter().collect())
            .build();
        out.write_alignment_record(&header, &record).unwrap();
    }
    out.try_finish().unwrap();
    let sizes = ChromSizes::new(vec![("c".into(), 9)]);
    let track = TrackFile::open(&path, &sizes, Path::new("none"), &ReadFilter::default()).unwrap();
    // Only the second read has a base: one read that counts, so a million per million over [2, 4).
    let found = track.read_values(&interval("c", 0, 9)).unwrap();
    assert_eq!(found[2], found[3]);
    assert!(found[2] > 0.0, "{found:?}");
    assert_eq!(found[..2], [0.0; 2]);
    assert_eq!(found[4..], [0.0; 5]);
}

#[test]
fn bcf_and_cram_cut_in_the_middle_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let cut = |name: &str, part: usize| {
        let whole = std::fs::read(golden(name)).unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, &whole[..whole.len() * part / 8]).unwrap();
        path
    };
    let sizes = genome::Fasta::open(golden("genome.fa"))
        .unwrap()
        .chrom_sizes()
        .clone();
    for part in 1..8 {
        let path = cut("variants.bcf", part);
        let read = || -> Result<u64, genome::GenomeError> {
            let mut file = VariantFile::open(&path)?;
            let mut n_records = 0;
            while file.next_record()?.is_some() {
                n_records += 1;
            }
            Ok(n_records)
        };
        let message = read().unwrap_err().to_string();
        assert!(message.contains("variants.bcf: "), "{message}");
        assert!(message.contains("cut off"), "{message}");

        let path = cut("reads.cram", part);
        let reads = ReadFilter::default();
        let opened = TrackFile::open(&path, &sizes, &golden("genome.fa"), &reads);
        let message = opened.unwrap_err().to_string();
        assert!(message.contains("reads.cram: "), "{message}");
        assert!(message.contains("cut off"), "{message}");
    }
}

#[test]
fn kinds_of_file_are_told_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hg38.fa");
    std::fs::copy(golden("small.2bit"), &path).unwrap();
    let genome = genome::Reference::open(&path).unwrap();
    assert!(matches!(genome, genome::Reference::TwoBit(_)));
    let reads = ReadFilter::default();
    let mut cram = std::fs::read(golden("reads.cram")).unwrap();
    cram[4..6].copy_from_slice(&[2, 1]);
    let workbook = b"PK\x03\x04".to_vec();
    for (name, bytes, part) in [
        (
            "a.cram",
            cram,
            "byte 4: CRAM version 2.1 is none of 3; convert",
        ),
        ("a.bam", b"@HD\tVN:1.6\n".to_vec(), "but a SAM file; sort"),
        (
            "b.bam",
            b"\x1f\x8b\x08\0\0\0\0\0".to_vec(),
            "packed with gzip, and a BAM is with",
        ),
        ("a.sam", b"@HD\tVN:1.6\n".to_vec(), "it is a SAM file; sort"),
        ("a.bw", workbook.clone(), "Excel workbook (.xlsx)"),
        ("a.bed.gz", workbook, "Excel workbook (.xlsx)"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let opened = TrackFile::open(&path, genome.chrom_sizes(), genome.path(), &reads);
        let message = opened.unwrap_err().to_string();
        assert!(message.contains(part), "{name}: {message}");
    }
}

#[test]
fn two_bit_sequence_behind_four_gigabytes() {
    // Version 1 has offsets of 64 bits. `far` is 5 bases, ACGTA, behind a hole of 5 GB.
    let far = 5_u64 << 30;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("far.2bit");
    let mut file = File::create(&path).unwrap();
    let mut header = Vec::new();
    for value in [0x1a41_2743_u32, 1, 1, 0] {
        header.extend(value.to_le_bytes());
    }
    header.extend([3, b'f', b'a', b'r']);
    header.extend(far.to_le_bytes());
    file.write_all(&header).unwrap();
    file.seek(SeekFrom::Start(far)).unwrap();
    let mut record = Vec::new();
    for value in [5_u32, 0, 0, 0] {
        record.extend(value.to_le_bytes());
    }
    record.extend([0b10_01_11_00, 0b10_00_00_00]);
    file.write_all(&record).unwrap();
    drop(file);
    let genome = TwoBit::open(&path).unwrap();
    assert_eq!(genome.read_bases(&interval("far", 0, 5)).unwrap(), b"ACGTA");
    assert_eq!(genome.read_bases(&interval("far", 3, 5)).unwrap(), b"TA");
}

#[test]
fn odd_names_are_read_and_written_by_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sizes = ChromSizes::new(ODD_NAMES.map(|name| (name.to_string(), 1)).into());

    let mut fasta = String::new();
    for name in ODD_NAMES {
        fasta += &format!(">{name} HLA\n{}\n", if name == "c|x" { "r" } else { "N" });
    }
    std::fs::write(path("g.fa"), fasta).unwrap();
    let genome = genome::Fasta::open(path("g.fa")).unwrap();
    assert_eq!(genome.chrom_sizes(), &sizes);
    assert_eq!(genome.read_bases(&interval("c|x", 0, 1)).unwrap(), b"r");

    let rows = ODD_NAMES.map(|name| (interval(name, 0, 1), 2.5));
    write_bigwig(path("a.bw"), &sizes, rows).unwrap();
    let track = BigWig::open(path("a.bw")).unwrap();
    assert_eq!(track.chrom_sizes(), &sizes);

    let pixel = |bin| ContactPixel {
        bin1: bin,
        bin2: bin,
        count: 7,
    };
    write_cool(path("a.cool"), &sizes, 10, &[pixel(0), pixel(1), pixel(2)]).unwrap();
    let map = ContactMap::open(path("a.cool"), 10, Normalization::None).unwrap();
    assert_eq!(map.chrom_sizes(), &sizes);

    let regions = ODD_NAMES.map(|name| Region::new(interval(name, 0, 1)));
    write_bed_tabix(path("a.bed.gz"), &["# x".to_string()], &regions).unwrap();
    assert_eq!(read_regions(path("a.bed.gz")).unwrap(), regions);

    for name in ODD_NAMES {
        let whole = interval(name, 0, 1);
        assert_eq!(track.read_values(&whole).unwrap(), [2.5], "{name}");
        let profile = map.read_profile(name, 0, &whole).unwrap();
        assert_eq!(profile.contacts, [7.0], "{name}");
        let text = whole.to_string();
        assert_eq!(Interval::parse_region(&text).unwrap(), whole, "{text}");
    }
}

#[test]
fn gff3_chromosome_names_are_unescaped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.gff3");
    let mut text = "##gff-version 3\n".to_string();
    // The GFF3 specification writes what is not [a-zA-Z0-9.:^*$@!+_?-|] as %XX: %2C is a comma, %3B
    // a semicolon, %3D an equals sign; names without an escape stay as they are.
    for (number, name) in ["HLA-A*01:01", "c|x", "1%2C2%3B3%3d4", "5%"]
        .iter()
        .enumerate()
    {
        text += &format!("{name}\ts\tgene\t3\t9\t.\t-\t.\tID=gene:G{number};Name=N{number}\n");
    }
    std::fs::write(&path, text).unwrap();
    let annotation = read_annotation(&path).unwrap();
    let found: Vec<(&str, u64)> = annotation
        .genes()
        .iter()
        .map(|gene| (gene.chrom.as_str(), gene.tss))
        .collect();
    let expected = ["HLA-A*01:01", "c|x", "1,2;3=4", "5%"];
    assert_eq!(found, expected.map(|name| (name, 8)));

    std::fs::write(
        &path,
        "##gff-version 3\na%09b\ts\tgene\t3\t9\t.\t-\t.\tID=G\n",
    )
    .unwrap();
    let message = read_annotation(&path).unwrap_err().to_string();
    assert!(
        message.contains("a.gff3:2: chromosome \"a\\tb\" is not"),
        "{message}"
    );
}

#[test]
fn regions_without_a_base_are_kept_and_cover_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bed");
    std::fs::write(&path, "c\t0\t0\nc\t5\t5\nc\t5\t6\nc\t9\t9\n").unwrap();
    let regions = read_regions(&path).unwrap();
    assert_eq!(regions.len(), 4);
    let index = RegionIndex::new(regions);
    let whole = interval("c", 0, 9);
    let found: Vec<&Interval> = index.overlapping(&whole).map(|r| &r.interval).collect();
    assert_eq!(found, [&interval("c", 5, 6)]);
}
