//! bigWig files read and written: against pyBigWig, against themselves, and damaged.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use genome::{BigWig, ChromSizes, GenomeError, Interval, write_bigwig};
use proptest::prelude::*;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/k562_chr22")
        .join(name)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn interval(chrom: &str, start: u64, end: u64) -> Interval {
    Interval::try_new(chrom, start, end).unwrap()
}

/// Windows of the example with what pyBigWig 0.3.29 reads there; `oracle/genome_expected.py`.
fn expected_rows() -> Vec<(String, Interval, u64, f64, f64)> {
    let table = std::fs::read_to_string(golden("bigwig.tsv")).unwrap();
    let rows = table.lines().skip(2).map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let interval = interval(
            "chr22",
            fields[1].parse().unwrap(),
            fields[2].parse().unwrap(),
        );
        (
            fields[0].to_string(),
            interval,
            fields[3].parse().unwrap(),
            fields[4].parse().unwrap(),
            fields[5].parse().unwrap(),
        )
    });
    rows.collect()
}

/// Number of bases with data, sum, and sum of value times (offset + 1), added in order.
fn digest(values: &[f32]) -> (u64, f64, f64) {
    let (mut n_data, mut sum, mut weighted) = (0, 0.0, 0.0);
    for (offset, &value) in values.iter().enumerate() {
        if !value.is_nan() {
            n_data += 1;
            sum += f64::from(value);
            weighted += f64::from(value) * (offset + 1) as f64;
        }
    }
    (n_data, sum, weighted)
}

/// Equal as values, NaN with NaN.
fn same(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

#[test]
fn read_values_example_equals_pybigwig() {
    let rows = expected_rows();
    assert_eq!(rows.len(), 20);
    for (name, interval, n_data, sum, weighted) in rows {
        let track = BigWig::open(example(&name)).unwrap();
        assert_eq!(
            track.chrom_sizes().iter().collect::<Vec<_>>(),
            [("chr22", 50_818_468)]
        );
        let values = track.read_values(&interval).unwrap();
        assert_eq!(values.len() as u64, interval.len());
        // The same additions in the same order: not even the last bit differs.
        assert_eq!(
            digest(&values),
            (n_data, sum, weighted),
            "{name} {interval}"
        );
    }
}

#[test]
fn read_values_all_section_types() {
    // tests/golden/mixed.bw, written by pyBigWig; values by hand from the script's arguments.
    let nan = f32::NAN;
    let track = BigWig::open(golden("mixed.bw")).unwrap();
    let cases: [(&str, u64, u64, &[f32]); 12] = [
        ("chr1", 0, 6, &[1.5, 1.5, 1.5, 1.5, 1.5, nan]),
        ("chr1", 4, 11, &[1.5, nan, nan, nan, nan, nan, -2.0]),
        ("chr1", 19, 20, &[-2.0]),
        ("chr1", 20, 20, &[]),
        ("chr1", 29, 32, &[nan, 0.0, nan]),
        ("chr1", 109, 111, &[3.0, nan]),
        ("chr1", 128, 134, &[4.0, 4.0, nan, nan, nan, 5.0]),
        ("chr1", 8_999, 9_001, &[nan, 0.0]),
        ("chr1", 9_993, 9_996, &[99.0, 99.0, nan]),
        ("chr1", 10_000, 10_000, &[]),
        ("chr2", 0, 2, &[nan, nan]),
        ("chr2", 494, 500, &[nan, 7.0, 8.0, 9.0, 10.0, 11.0]),
    ];
    for (chrom, start, end, expected) in cases {
        let found = track.read_values(&interval(chrom, start, end)).unwrap();
        assert!(same(&found, expected), "{chrom}:{start}-{end}: {found:?}");
    }
}

#[test]
fn read_values_both_byte_orders() {
    let folder = tempfile::tempdir().unwrap();
    for order in [bigwig::ByteOrder::Little, bigwig::ByteOrder::Big] {
        let path = folder.path().join("order.bw");
        let mut writer = bigwig::WriterOptions::new()
            .byte_order(order)
            .create(&path, &[bigwig::ChromInfo::new("chrZ", 50)])
            .unwrap();
        writer
            .push_fixed_step("chrZ", 2, 3, 2, &[1.0, 2.0])
            .unwrap();
        writer.push_interval("chrZ", 49, 50, -0.5).unwrap();
        writer.finish().unwrap();
        let values = BigWig::open(&path)
            .unwrap()
            .read_values(&interval("chrZ", 0, 50))
            .unwrap();
        let mut expected = [f32::NAN; 50];
        expected[2..4].fill(1.0);
        expected[5..7].fill(2.0);
        expected[49] = -0.5;
        assert!(same(&values, &expected), "{order:?}: {values:?}");
    }
}

#[test]
fn read_values_outside_chromosome_is_an_error() {
    let track = BigWig::open(golden("mixed.bw")).unwrap();
    let cases = [
        ("chr2", 499, 501, ": chr2:500-501 is outside chr2 (500 bp)"),
        ("chr2", 501, 501, "is outside chr2 (500 bp)"),
        ("chr2", 0, 1 << 40, "is outside chr2 (500 bp)"),
        (
            "2",
            0,
            1,
            ": no chromosome \"2\"; it is called \"chr2\" there",
        ),
        (
            "chr3",
            0,
            1,
            ": no chromosome \"chr3\"; there are chr1, chr2",
        ),
    ];
    for (chrom, start, end, expected) in cases {
        let error = track.read_values(&interval(chrom, start, end)).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(expected) && message.contains("mixed.bw"),
            "{message}"
        );
    }
}

#[test]
fn open_other_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 5] = [
        (
            "empty.bw",
            b"",
            "empty.bw: byte 0: this is no bigWig file, it is empty or overwritten with zeros",
        ),
        ("short.bw", &[0x26, 0xfc, 0x8f, 0x88], "byte"),
        (
            "text.bw",
            b"chr1\t0\t100\t1.5\n",
            "text.bw: byte 0: this is no bigWig file, it starts with the text \"chr1\"; a bedGraph",
        ),
        ("regions.bw", &[0xeb, 0xf2, 0x89, 0x87, 4, 0], "byte"),
        (
            "gzip.bw",
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0],
            "byte 0: this is no bigWig file, it is gzip; a compressed bedGraph",
        ),
    ];
    for (name, bytes, expected) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let message = BigWig::open(&path).unwrap_err().to_string();
        assert!(
            message.contains(name) && message.contains(expected),
            "{message}"
        );
    }
    let message = BigWig::open(folder.path().join("none.bw"))
        .unwrap_err()
        .to_string();
    assert!(message.starts_with("cannot open "), "{message}");
    let message = BigWig::open(folder.path()).unwrap_err().to_string();
    assert!(message.starts_with("cannot "), "{message}");
}

#[test]
fn read_values_many_threads_agree() {
    let track = BigWig::open(example("dnase.bw")).unwrap();
    let rows = expected_rows();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (track, rows) = (&track, &rows);
            scope.spawn(move || {
                for index in 0..40 {
                    let (name, interval, n_data, sum, weighted) =
                        &rows[(index * 3 + thread) % rows.len()];
                    if name == "dnase.bw" {
                        let values = track.read_values(interval).unwrap();
                        assert_eq!(digest(&values), (*n_data, *sum, *weighted));
                    }
                }
            });
        }
    });
}

/// Opens a damaged file and reads all of the region that has data, and both chromosome ends.
fn read_damaged(path: &Path) -> Result<Vec<f32>, GenomeError> {
    let track = BigWig::open(path)?;
    track.read_values(&interval("chr22", 0, 1000))?;
    track.read_values(&interval("chr22", 50_818_000, 50_818_468))?;
    track.read_values(&interval("chr22", 16_300_000, 21_700_000))
}

#[test]
fn read_values_cut_file_is_an_error_or_right() {
    let whole = std::fs::read(example("dnase.bw")).unwrap();
    let expected = read_damaged(&example("dnase.bw")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.bw");
    let cuts = (0..700).step_by(13).chain((700..whole.len()).step_by(397));
    let mut n_errors = 0;
    for length in cuts {
        std::fs::write(&path, &whole[..length]).unwrap();
        match read_damaged(&path) {
            // Only the zoom levels, which are not read here, can be missing.
            Ok(values) => assert!(same(&values, &expected), "cut at {length}"),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("cut.bw: byte "), "{message}");
                n_errors += 1;
            }
        }
    }
    assert!(n_errors > 50, "{n_errors}");
}

#[test]
fn open_of_an_index_that_was_overwritten_with_zeros_is_an_error() {
    let whole = std::fs::read(example("dnase.bw")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zeros.bw");
    let index = u64::from_le_bytes(whole[24..32].try_into().unwrap()) as usize;
    // Kent et al. 2010, supplement, tables 14 to 17: the number of items, the root node, its first entry.
    for (at, n_bytes, part) in [
        (index + 8, 8, "the index has no items for"),
        (index + 48, 400, "a node of the index is empty"),
        (index + 52, 32, "an entry of the index is all zeros"),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + n_bytes].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let message = BigWig::open(&path).unwrap_err().to_string();
        assert!(message.contains("zeros.bw: byte "), "{message}");
        assert!(message.contains(part), "{message}");
    }
    // Where the index is, in the header.
    let mut bytes = whole;
    bytes[24..32].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let message = BigWig::open(&path).unwrap_err().to_string();
    assert!(message.contains("zeros.bw: byte "), "{message}");
}

/// Moves everything behind the headers of a little-endian bigWig `shift` bytes away, into a file with a hole.
///
/// Layout: Kent et al. 2010, supplement, tables 5, 6 and 14 to 17.
fn write_with_hole(small: &[u8], shift: u64, path: &Path) {
    let mut bytes = small.to_vec();
    let u16_at = |at: usize| u16::from_le_bytes(small[at..at + 2].try_into().unwrap());
    let u64_at = |at: usize| u64::from_le_bytes(small[at..at + 8].try_into().unwrap());
    let n_zoom_levels = usize::from(u16_at(6));
    let head = 64 + 24 * n_zoom_levels;
    // Chromosome tree, data, index, summary; data and index of each zoom level.
    let mut offsets = vec![8, 16, 24, 44];
    let mut indices = vec![u64_at(24)];
    for level in 0..n_zoom_levels {
        let header = 64 + 24 * level;
        offsets.extend([header + 8, header + 16]);
        indices.push(u64_at(header + 16));
    }
    // A node of an index: leaf u8, reserved u8, count u16, then items of 24 or 32 bytes.
    let mut nodes: Vec<u64> = indices.iter().map(|index| index + 48).collect();
    while let Some(node) = nodes.pop() {
        let node = node as usize;
        let is_leaf = small[node] == 1;
        for item in 0..usize::from(u16_at(node + 2)) {
            let offset = node + 4 + item * if is_leaf { 32 } else { 24 } + 16;
            offsets.push(offset);
            if !is_leaf {
                nodes.push(u64_at(offset));
            }
        }
    }
    for at in offsets {
        let moved = u64_at(at) + shift;
        bytes[at..at + 8].copy_from_slice(&moved.to_le_bytes());
    }
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&bytes[..head]).unwrap();
    file.seek(SeekFrom::Start(head as u64 + shift)).unwrap();
    file.write_all(&bytes[head..]).unwrap();
}

#[test]
fn read_values_beyond_4_gb_are_those_of_the_small_file() {
    let folder = tempfile::tempdir().unwrap();
    let (small, large) = (folder.path().join("s.bw"), folder.path().join("l.bw"));
    let chroms = (1..=700).map(|number| (format!("contig_{number}"), 400 + number));
    let sizes = ChromSizes::new(chroms.collect());
    let rows = sizes.iter().flat_map(|(chrom, length)| {
        let starts = (0..length - 3).step_by(5);
        starts.map(move |start| (interval(chrom, start, start + 3), (start % 17) as f32 + 0.5))
    });
    write_bigwig(&small, &sizes, rows).unwrap();
    write_with_hole(&std::fs::read(&small).unwrap(), 5 << 30, &large);
    let (small, large) = (BigWig::open(&small).unwrap(), BigWig::open(&large).unwrap());
    assert_eq!(large.chrom_sizes(), &sizes);
    for (chrom, length) in sizes.iter() {
        let whole = interval(chrom, 0, length);
        let values = large.read_values(&whole).unwrap();
        assert!(
            same(&values, &small.read_values(&whole).unwrap()),
            "{chrom}"
        );
        assert_eq!(values[5..8], [5.5; 3], "{chrom}");
        assert!(values[8].is_nan(), "{chrom}");
    }
}

#[test]
fn write_bigwig_layout_is_what_browsers_need() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.bw");
    let sizes = ChromSizes::new(vec![("chr1".into(), 1_000_000), ("chr2".into(), 0)]);
    let rows = (0..5000).map(|i| (interval("chr1", i * 100, i * 100 + 50), (i % 7) as f32));
    write_bigwig(&path, &sizes, rows).unwrap();
    // bigWig header: magic u32, version u16, zoomLevels u16, chromTreeOffset u64,
    // fullDataOffset u64, fullIndexOffset u64 (Kent et al. 2010, supplement, table 5).
    let bytes = std::fs::read(&path).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(bytes[..6], [0x26, 0xfc, 0x8f, 0x88, 4, 0]);
    assert!(u16::from_le_bytes([bytes[6], bytes[7]]) >= 2, "zoom levels");
    assert!(word(8) < word(16) && word(16) < word(24));
    let track = BigWig::open(&path).unwrap();
    assert_eq!(
        track.chrom_sizes().iter().collect::<Vec<_>>(),
        [("chr1", 1_000_000)]
    );
}

#[test]
fn write_bigwig_bad_rows_are_errors_and_leave_no_file() {
    let sizes = ChromSizes::new(vec![("chr1".into(), 100), ("chr2".into(), 50)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.bw");
    let row = |chrom, start, end, value| (interval(chrom, start, end), value);
    let cases = [
        (
            vec![row("chr1", 0, 5, 1.0), row("chr1", 4, 6, 1.0)],
            "row 2 (chr1:5-6) overlaps the row above it",
        ),
        (
            vec![row("chr1", 7, 8, 1.0), row("chr1", 4, 6, 1.0)],
            "row 2 (chr1:5-6) comes before the row above it",
        ),
        (
            vec![row("chr2", 0, 1, 1.0), row("chr1", 4, 6, 1.0)],
            "row 2 (chr1:5-6) comes before the row above it",
        ),
        (
            vec![row("chr1", 99, 101, 1.0)],
            "chr1:100-101 is outside chr1 (100 bp)",
        ),
        (vec![row("chr3", 0, 1, 1.0)], "no chromosome \"chr3\""),
        (vec![row("chr1", 3, 3, 1.0)], "it holds no base"),
        (
            vec![row("chr1", 3, 4, f32::NAN)],
            "value \"NaN\" cannot be written",
        ),
        (
            vec![row("chr1", 3, 4, f32::INFINITY)],
            "value \"inf\" cannot be written",
        ),
    ];
    for (rows, expected) in cases {
        let message = write_bigwig(&path, &sizes, rows).unwrap_err().to_string();
        assert!(
            message.contains(expected) && message.contains("bad.bw"),
            "{message}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    let long = ChromSizes::new(vec![("chr1".into(), 1 << 32)]);
    let message = write_bigwig(&path, &long, []).unwrap_err().to_string();
    assert!(message.contains("up to 4294967295 bp"), "{message}");
    let message = write_bigwig(&path, &ChromSizes::default(), [])
        .unwrap_err()
        .to_string();
    assert!(message.contains("no chromosome with any base"), "{message}");
    let message = write_bigwig(folder.path().join("none/a.bw"), &sizes, []).unwrap_err();
    assert!(matches!(message, GenomeError::Io { .. }), "{message}");
}

#[test]
fn write_bigwig_without_rows_reads_as_no_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.bw");
    let sizes = ChromSizes::new(vec![("chr1".into(), 100)]);
    write_bigwig(&path, &sizes, []).unwrap();
    let values = BigWig::open(&path)
        .unwrap()
        .read_values(&interval("chr1", 0, 100))
        .unwrap();
    assert!(values.iter().all(|value| value.is_nan()));
}

/// Sorted intervals of two chromosomes that do not overlap: gaps and lengths mostly small, as in
/// a per-base mask, and sometimes long.
fn tracks() -> impl Strategy<Value = Vec<(bool, u64, u64, f32)>> {
    let step = prop_oneof![4 => 0_u64..3, 1 => 0_u64..400];
    let length = prop_oneof![4 => 1_u64..3, 1 => 1_u64..400];
    prop::collection::vec((any::<bool>(), step, length, -1.0e3_f32..1.0e3), 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn write_then_read_is_identity(track in tracks()) {
        let lengths = [200_000, 170_003];
        let names = ["chr2", "chr10"];
        let sizes = ChromSizes::new(
            names.iter().zip(lengths).map(|(name, length)| (name.to_string(), length)).collect(),
        );
        let mut expected = lengths.map(|length| vec![f32::NAN; length as usize]);
        let mut rows = Vec::new();
        for chrom_index in 0..2 {
            let mut position = 0;
            for &(on_second, step, length, value) in &track {
                if usize::from(on_second) == chrom_index {
                    let (start, end) = (position + step, position + step + length);
                    expected[chrom_index][start as usize..end as usize].fill(value);
                    rows.push((interval(names[chrom_index], start, end), value));
                    position = end;
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (path, again) = (folder.path().join("a.bw"), folder.path().join("b.bw"));
        write_bigwig(&path, &sizes, rows.clone()).unwrap();
        write_bigwig(&again, &sizes, rows).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
        let read = BigWig::open(&path).unwrap();
        prop_assert_eq!(read.chrom_sizes(), &sizes);
        for chrom_index in 0..2 {
            let whole = interval(names[chrom_index], 0, lengths[chrom_index]);
            prop_assert!(same(&read.read_values(&whole).unwrap(), &expected[chrom_index]));
        }
    }

    #[test]
    fn damaged_bytes_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_header in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(example("dnase.bw")).unwrap();
        for (index, value) in flips {
            let within = if in_header { 700 } else { bytes.len() };
            bytes[index.index(within)] = value;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.bw");
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = read_damaged(&path) {
            prop_assert!(error.to_string().contains("damaged.bw"), "{}", error);
        }
    }

    #[test]
    fn any_bytes_never_panic(
        magic in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any.bw");
        let mut file = if magic { vec![0x26, 0xfc, 0x8f, 0x88, 4, 0, 1, 0] } else { Vec::new() };
        file.extend(bytes);
        std::fs::write(&path, file).unwrap();
        if let Ok(track) = BigWig::open(&path) {
            let chrom = track.chrom_sizes().iter().next().map(|(name, length)| (name.to_string(), length));
            if let Some((name, length)) = chrom {
                let _ = track.read_values(&interval(&name, 0, length.min(1000)));
            }
        }
    }
}
